"""`report`: what there is to see of a table, on one page."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.align import AlignedEmbeddings, align
from embedfreeze.aligning.folds import Match
from embedfreeze.cosines import neighbours
from embedfreeze.coverage import Coverage
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FileError, FrozenError
from embedfreeze.files import (
    PathLike,
    PathOrFile,
    atomic_folder,
    atomic_output,
    check_output,
    name_of,
)
from embedfreeze.formats import embeddings_of, read
from embedfreeze.formats.inspecting.inspection import Inspection, inspect
from embedfreeze.formats.inspecting.scanning import quiet
from embedfreeze.plainlines import shown_token
from embedfreeze.proof import FreezeProof, TableProof
from embedfreeze.reports.choosing import first_rows, with_direction, words_of
from embedfreeze.reports.figures import picture_bytes, picture_style
from embedfreeze.reports.findings import Findings
from embedfreeze.reports.page import page_of
from embedfreeze.reports.rows import Rows
from embedfreeze.reports.tokenmap import map_of
from embedfreeze.table import Table
from embedfreeze.vocabulary import Vocabulary

__all__ = ["Report", "report"]

_INSPECTED = ("tokens", "allow_pickle", "spool_limit")  # options that `inspect` has, too
Int64 = npt.NDArray[np.int64]


class Report(Findings):
    """What there is to see of a table: `report` makes it.

    Attributes
    ----------
    name, embeddings, rows, inspection, coverage, map, neighbours, proof, listed
        What was found, as `Findings` describes it.
    """

    def __repr__(self) -> str:
        size = f"{len(self.embeddings)} x {self.embeddings.dim} {self.embeddings.dtype}"
        return f"Report({self.name!r}, {size})"

    def _repr_html_(self) -> str:
        from embedfreeze.notebook import facts_html

        problem = None if self.inspection is None else self.inspection.problem
        found = {
            "dtype": self.embeddings.dtype,
            "coverage": None if self.coverage is None else f"{self.coverage!r}",
            "rows of zeros": len(self.rows.zero) or None,
            "rows that are not finite": len(self.rows.not_finite) or None,
            "rows that repeat another": self.rows.repeated or None,
            "neighbours of": ", ".join(map(shown_token, self.neighbours)) or None,
            "proof": None if self.proof is None else self.proof.summary,
            "cannot be loaded": problem,
            "the page": "save(path) writes it, html is its text",
        }
        rows, dim = len(self.embeddings), self.embeddings.dim
        return facts_html(f"Report of {self.name}: {rows:,} rows of {dim}", found)

    @cached_property
    def html(self) -> str:
        """The page: one file, without scripts, that asks no network for anything.

        Raises
        ------
        EmbedFreezeError
            matplotlib is not installed.
        """
        return page_of(self)

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Write the page.

        Parameters
        ----------
        path : path
            Of the file.
        overwrite : bool
            May a file be replaced?

        Raises
        ------
        FileError
            The file exists and `overwrite` is false, or it cannot be written.
        EmbedFreezeError
            matplotlib is not installed.
        """
        check_output(path, overwrite=overwrite)
        page = self.html.encode()
        with atomic_output(path, overwrite=overwrite) as file:
            file.write(page)

    def save_pictures(self, folder: PathLike, *, overwrite: bool = False) -> list[str]:
        """Write the charts as PNG files into a folder, which appears whole or not at all.

        Parameters
        ----------
        folder : path
            New, or empty.
        overwrite : bool
            May charts of an earlier report be replaced?

        Returns
        -------
        list of str
            Their paths.

        Raises
        ------
        FileError
            The folder holds something and `overwrite` is false, or holds other files, or cannot be
            written.
        EmbedFreezeError
            matplotlib is not installed.
        """
        with atomic_folder(folder, overwrite=overwrite) as output:
            for name, chart in self.charts.items():
                with picture_style():
                    output.beside(f"{name}.png").write(picture_bytes(chart.figure(), "png"))
        return [os.path.join(folder, f"{name}.png") for name in self.charts]


def report(
    table: PathOrFile | Embeddings | AlignedEmbeddings,
    *,
    vocabulary: Vocabulary | None = None,
    match: Match = ("exact", "lower"),
    neighbours_of: str | Iterable[str] | None = None,
    proof: FreezeProof | PathLike | None = None,
    points: int = 200,
    listed: int = 20,
    format: str | None = None,
    member: str | None = None,
    **options: Any,
) -> Report:
    """What there is to see of a table: coverage, norms, odd rows, a map, neighbours, a proof.

    Of a file it takes two passes, one that looks for what is odd and one that loads it, and the
    memory of the matrix; a store is mapped.

    Parameters
    ----------
    table : path, binary file object, Embeddings or AlignedEmbeddings
        What `read` can read, or what it or `load` returned.
    vocabulary : Vocabulary, optional
        Its coverage is shown. Default: that of a store or of `load`, where there is one.
    match : sequence of str or callable
        The match stages, as for `load`.
    neighbours_of : str or iterable of str, optional
        Tokens whose nearest neighbours are listed. Default: some of the frequent words.
    proof : FreezeProof or path, optional
        What `FreezeGuard` or `verify` found of a model that holds this table, or the JSON file of
        that. Default: every byte of a store, or of sealed memory, is hashed now.
    points : int
        How many tokens the map has: the most frequent where counts are known, else the first.
    listed : int
        How many missing tokens, and rows that serve several tokens, are listed.
    format, member, **options
        As for `read`.

    Returns
    -------
    Report
        Its ``html`` is the page, which ``save`` writes.

    Raises
    ------
    FileError, FormatError
        As for `read`; or what a store holds beside its matrix does not have its recorded digest.
    FrozenBytesChanged
        The matrix of a store does not have its recorded digest.
    UnknownTokenError
        A token of `neighbours_of` has no row.
    ValueError
        `points` or `listed` is less than 1.

    Warns
    -----
    UserWarning
        The row of a token of `neighbours_of` is zeros or not finite; it is left out.

    Examples
    --------
    >>> found = report("data/glove.6B.50d.sample.txt", neighbours_of=["king"])
    >>> found.rows.to_dict()["zero_rows"], found.neighbours["king"][0][0]
    (0, 'prince')
    """
    for name, number in (("points", points), ("listed", listed)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, received {number}")
    given, name, inspection = _opened(table, format, member, options)
    proved = _proof_of(given, name, proof)  # before what is damaged is asked for anything
    embeddings = embeddings_of(given)
    embeddings = replace(embeddings, tokens=embeddings.tokens.escaped())
    coverage = given.coverage
    if vocabulary is not None and not embeddings.belongs_to(vocabulary):
        coverage = _coverage_of(embeddings, vocabulary, match)
    if coverage is not None:
        _look_up(coverage, listed)
    rows = Rows.of(embeddings.matrix)
    known = embeddings.vocabulary if vocabulary is None else vocabulary
    first, order = first_rows(embeddings, known, rows)
    first_tokens = [embeddings.tokens[i] for i in first[:points].tolist()]
    values = storage.decode(embeddings.matrix[first[:points]])
    if neighbours_of is None:
        chosen = words_of(embeddings, first)
    else:
        asked = [neighbours_of] if isinstance(neighbours_of, str) else list(neighbours_of)
        chosen = with_direction(embeddings, asked, rows)
    return Report(
        name,
        embeddings,
        rows,
        inspection,
        coverage,
        map_of(first_tokens, values, order),
        neighbours(embeddings, chosen),
        proved,
        listed,
    )


def _opened(
    table: PathOrFile | Embeddings | AlignedEmbeddings,
    format: str | None,
    member: str | None,
    options: dict[str, Any],
) -> tuple[Embeddings | AlignedEmbeddings, str, Inspection | None]:
    """The table, how it is called, and what its file is."""
    if isinstance(table, Embeddings | AlignedEmbeddings):
        path = table.path if isinstance(table, Embeddings) else table.source
        return table, "a table in memory" if path is None else os.path.basename(path), None
    asked = {name: options[name] for name in _INSPECTED if name in options}
    inspection = inspect(table, format=format, member=member, **asked)
    with quiet([], name_of(table)):  # the inspection has told
        embeddings = read(table, format=format, member=member, **options)
    return embeddings, os.path.basename(inspection.path) or inspection.path, inspection


def _coverage_of(embeddings: Embeddings, vocabulary: Vocabulary, match: Match) -> Coverage | None:
    """The coverage alone: of the tokens with rows of one value, so that no row is copied."""
    values = np.zeros((len(embeddings), 1), np.float32)
    return align(replace(embeddings, matrix=values, sealed=None), vocabulary, match=match).coverage


def _look_up(coverage: Coverage, n: int) -> None:
    """Near spellings of missing tokens, where the source can be asked again."""
    with contextlib.suppress(FileError):
        coverage.nearest(n)


def _proof_of(
    given: Embeddings | AlignedEmbeddings, name: str, proof: FreezeProof | PathLike | None
) -> FreezeProof | None:
    if proof is None:
        if given.sealed is None:
            return None
        given.sealed.verify_store(name)
        return FreezeProof(name, (TableProof.of(None, Table.of(given), "deep"),))
    found = proof if isinstance(proof, FreezeProof) else FreezeProof.load(proof)
    if given.digest not in {one.digest for one in found.tables}:
        raise FrozenError(
            f"a proof must speak of this table, received one of {found.model!r}, none of whose "
            f"tables has the digest {given.digest}: give the proof of a model that holds it"
        )
    return found
