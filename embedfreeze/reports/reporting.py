"""`report`: what there is to see of a table, on one page."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable
from functools import cached_property, partial
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
from embedfreeze.formats import read
from embedfreeze.formats.inspecting.inspection import Inspection, inspect
from embedfreeze.formats.inspecting.scanning import quiet
from embedfreeze.proof import FreezeProof, TableProof
from embedfreeze.reports.charts import draw_map, draw_norms
from embedfreeze.reports.coverageplot import draw_sizes, draw_stages
from embedfreeze.reports.figures import new_figure, picture_bytes, picture_style
from embedfreeze.reports.findings import Findings
from embedfreeze.reports.page import SQUARE, WIDE, page_of
from embedfreeze.reports.rows import Rows
from embedfreeze.reports.tokenmap import map_of
from embedfreeze.table import Table
from embedfreeze.vocabulary import Vocabulary

__all__ = ["Report", "report"]

SHORTEST_WORD, WORDS, EARLY = 4, 6, 2000  # letters; tokens that are chosen, out of so many
_INSPECTED = ("tokens", "allow_pickle", "spool_limit")  # options that `inspect` has, too
Int64 = npt.NDArray[np.int64]


class Report(Findings):
    """What there is to see of a table: `report` makes it.

    Attributes
    ----------
    name, embeddings, rows, inspection, coverage, map, neighbours, proof, listed
        What was found, as `Findings` describes it.
    """

    @cached_property
    def html(self) -> str:
        """The page: one file, without scripts, that asks no network for anything.

        Raises
        ------
        EmbedFreezeError
            matplotlib is not installed.
        """
        return page_of(self)

    @property
    def charts(self) -> dict[str, tuple[Callable[[Any], None], tuple[float, float]]]:
        """What draws each chart on axes, and its width and height in inches."""
        found: dict[str, tuple[Callable[[Any], None], tuple[float, float]]] = {}
        if self.coverage is not None:
            found["coverage-stages"] = partial(draw_stages, coverage=self.coverage), WIDE
            found["coverage-sizes"] = partial(draw_sizes, coverage=self.coverage), WIDE
        if len(self.rows.ordinary):
            found["norms"] = partial(draw_norms, rows=self.rows), WIDE
        if self.map is not None:
            found["map"] = partial(draw_map, found=self.map), SQUARE
        return found

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
            for name, (draw, size) in self.charts.items():
                with picture_style():
                    figure = new_figure(*size)
                    draw(figure.subplots())
                    output.beside(f"{name}.png").write(picture_bytes(figure, "png"))
        return [os.path.join(folder, f"{name}.png") for name in self.charts]


def report(
    table: PathOrFile | Embeddings | AlignedEmbeddings,
    *,
    vocabulary: Vocabulary | None = None,
    match: Match = ("exact", "lower"),
    neighbours_of: Iterable[str] | None = None,
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
    neighbours_of : iterable of str, optional
        Tokens whose nearest neighbours are listed. Default: some of the frequent words.
    proof : FreezeProof or path, optional
        What `FreezeGuard` or `verify` found of a model that holds this table, or the JSON file of
        that. Default: every byte of a store, or of sealed memory, is hashed now.
    points : int
        How many tokens the map has: the most frequent where counts are known, else the first.
    listed : int
        How many missing tokens, and rows of other kinds, are listed.
    format, member, **options
        As for `read`.

    Returns
    -------
    Report
        Its ``html`` is the page, which ``save`` writes.

    Raises
    ------
    FileError, FormatError
        As for `read`.
    FrozenBytesChanged
        A store does not hold the bytes that it was written with.
    UnknownTokenError
        A token of `neighbours_of` has no row.

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
    given, name, inspection = _opened(table, format, member, options)
    embeddings = given if isinstance(given, Embeddings) else given.to_embeddings()
    coverage = given.coverage
    if vocabulary is not None:
        coverage = align(embeddings, vocabulary, match=match).coverage
    if coverage is not None:
        _look_up(coverage, listed)
    rows = Rows.of(embeddings.matrix)
    known = embeddings.vocabulary if vocabulary is None else vocabulary
    first, order = _first_rows(embeddings, known, rows)
    first_tokens = [embeddings.tokens[i] for i in first[:points].tolist()]
    values = storage.decode(embeddings.matrix[first[:points]])
    chosen = _words(embeddings, first)
    if neighbours_of is not None:
        chosen = _with_direction(embeddings, list(neighbours_of), rows)
    return Report(
        name,
        embeddings,
        rows,
        inspection,
        coverage,
        map_of(first_tokens, values, order),
        neighbours(embeddings, chosen),
        _proof_of(given, name, proof),
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


def _look_up(coverage: Coverage, n: int) -> None:
    """Near spellings of missing tokens, where the source can be asked again."""
    with contextlib.suppress(FileError):
        coverage.nearest(n)


def _first_rows(
    embeddings: Embeddings, vocabulary: Vocabulary | None, rows: Rows
) -> tuple[Int64, str]:
    """The rows that have a direction, the most frequent first as far as that is known."""
    if vocabulary is None:
        return rows.ordinary, "first tokens of the file"
    tokens, order = vocabulary.tokens, "first tokens of the vocabulary"
    counts = vocabulary.counts
    if counts is not None:
        tokens = tuple(sorted(tokens, key=lambda token: -counts.get(token, 0)))
        order = "most frequent tokens of the vocabulary"
    found = embeddings.rows(tokens).astype(np.int64)
    return found[np.isin(found, rows.ordinary)], order


def _with_direction(embeddings: Embeddings, asked: list[str], rows: Rows) -> list[str]:
    """Tokens, without those whose rows point nowhere, of which a warning tells."""
    found = embeddings.rows(asked).astype(np.int64)
    nowhere = (found >= 0) & ~np.isin(found, rows.ordinary)
    left_out = [token for token, is_so in zip(asked, nowhere.tolist(), strict=True) if is_so]
    if left_out:
        warnings.warn(
            f"a row must point somewhere to have neighbours: {', '.join(map(repr, left_out))} left "
            f"out, whose rows are zeros or not finite",
            stacklevel=3,
        )
    return [token for token in asked if token not in left_out]


def _words(embeddings: Embeddings, first: Int64) -> list[str]:
    """Some words out of the frequent ones, from the first on in equal steps."""
    early = [embeddings.tokens[i] for i in first[:EARLY].tolist()]
    words = [word for word in early if word.isalpha() and len(word) >= SHORTEST_WORD] or early
    places = np.linspace(0, len(words) - 1, min(WORDS, len(words))).astype(int)
    return [words[i] for i in places.tolist()]


def _proof_of(
    given: Embeddings | AlignedEmbeddings, name: str, proof: FreezeProof | PathLike | None
) -> FreezeProof | None:
    if proof is None:
        if given.sealed is None:
            return None
        given.sealed.verify(deep=True)
        return FreezeProof(name, (TableProof.of(None, Table.of(given), "deep"),))
    found = proof if isinstance(proof, FreezeProof) else FreezeProof.load(proof)
    if given.digest not in {one.digest for one in found.tables}:
        raise FrozenError(
            f"a proof must speak of this table, received one of {found.model!r}, none of whose "
            f"tables has the digest {given.digest}: give the proof of a model that holds it"
        )
    return found
