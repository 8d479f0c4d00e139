"""Embeddings x Vocabulary -> AlignedEmbeddings and Coverage."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedfreeze.aligning.filling import OwnStore, Target
from embedfreeze.aligning.folds import Match, stages_of
from embedfreeze.aligning.gathering import Combine, Gathered, Request, gather, gather_or_own
from embedfreeze.aligning.sources import EmbeddingsSource, FileSource, RowSource
from embedfreeze.aligning.transforms import Transforms
from embedfreeze.aligning.unknown import Oov, Policies, SpecialRow
from embedfreeze.coverage import Coverage
from embedfreeze.coveragerecord import record_of_coverage
from embedfreeze.embeddings import Alignment, Embeddings
from embedfreeze.errors import FormatError, VocabularyError
from embedfreeze.files import PathLike, PathOrFile
from embedfreeze.formats import ReadOptions, write
from embedfreeze.sealed import SealedMatrix
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = ["AlignedEmbeddings", "align", "load"]

Origin = PathOrFile | Embeddings


@dataclass(frozen=True, eq=False)
class AlignedEmbeddings:
    """A sealed matrix whose row i belongs to id i of a vocabulary. `load` and `align` make it.

    Attributes
    ----------
    sealed : SealedMatrix
        The memory that holds the matrix.
    vocabulary : Vocabulary
        Its tokens are those of the rows.
    coverage : Coverage or None
        Which ids found a row in the file, and how.
    source : str or None
        Where the rows come from.
    provenance : dict
        How the matrix with this digest was made: sources, match stages, policies and transforms,
        ready for JSON.
    """

    sealed: SealedMatrix
    vocabulary: Vocabulary
    coverage: Coverage | None = None
    source: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.sealed.array) != len(self.vocabulary):
            raise VocabularyError(
                f"each id needs a row, received {len(self.vocabulary)} ids and "
                f"{len(self.sealed.array)} rows"
            )

    @property
    def matrix(self) -> npt.NDArray[Any]:
        """The matrix [ids, dim], read-only, in place."""
        return self.sealed.array

    @property
    def dim(self) -> int:
        """Values in a row."""
        return int(self.matrix.shape[1])

    @property
    def tokens(self) -> tuple[str, ...]:
        """The token of each row."""
        return self.vocabulary.tokens

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the SHA-256 of each 1 MiB block of the matrix."""
        return self.sealed.digest

    def __len__(self) -> int:
        return len(self.matrix)

    def __repr__(self) -> str:
        return (
            f"AlignedEmbeddings({len(self)} x {self.dim} {self.matrix.dtype}, "
            f"{self.sealed.guarantee}, {self.coverage!r})"
        )

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Write a store with the matrix, the tokens, the vocabulary, coverage and provenance.

        Raises
        ------
        FileError
            The file exists or cannot be written.
        VocabularyError
            The vocabulary's splitter is a callable of the user's.
        """
        record = None if self.coverage is None else record_of_coverage(self.coverage)
        alignment = Alignment(self._counts(), record, self.provenance)
        tokens = Tokens.from_strings(self.tokens)
        embeddings = Embeddings(tokens, self.matrix, self._source_names(), alignment=alignment)
        write(embeddings, path, format="store", overwrite=overwrite, vocabulary=self.vocabulary)

    def _source_names(self) -> str | None:
        """Of several sources, whose names are joined, without the folders of each."""
        parts = () if self.coverage is None else self.coverage.sources
        names = [os.path.basename(part.source) for part in parts if part.source is not None]
        return ", ".join(names) or self.source

    def _counts(self) -> npt.NDArray[np.int64] | None:
        counts = self.vocabulary.counts
        if counts is None:
            return None
        return np.fromiter((counts.get(token, -1) for token in self.tokens), np.int64, len(self))

    def extend(
        self,
        tokens: Iterable[str],
        source: Origin | Sequence[Origin],
        *,
        counts: Mapping[str, int] | None = None,
        match: Match = ("exact", "lower"),
        fold_file: bool = False,
        oov: Oov = "zeros",
        seed: int = 0,
        format: str | None = None,
        member: str | None = None,
        **options: Any,
    ) -> AlignedEmbeddings:
        """A table with the rows of new tokens behind its own, which stay as they are.

        Parameters
        ----------
        tokens : iterable of str
            They get the ids after the last one.
        source : str, os.PathLike, binary file object or Embeddings, or a sequence of them
            Where their rows come from; the first that has a token gives its row.
        counts : mapping of str to int, optional
            How often they occur.
        match, fold_file, oov, seed, format, member, **options
            As for `load`. "mean" and "normal" take all rows of the new table that were found.

        Returns
        -------
        AlignedEmbeddings
            A new one; this one stays as it is.

        Raises
        ------
        VocabularyError
            A token has an id already, or this table was centred or projected: what its rows went
            through cannot be repeated; or the rows of the source went through something else.
        FormatError
            The rows of the source have another dim or dtype.
        """
        policies = Policies(oov, {}, seed)
        request = Request(stages_of(match), fold_file, policies, self._repeated_transforms())
        vocabulary, n = self.vocabulary.extended(tokens, counts), len(self)
        added = Vocabulary(vocabulary.tokens[n:], padding=None, unknown=None)
        origins = _sources_of(source, ReadOptions.of("extend", options), format, member)
        found = gather(added, origins, request)
        step = {"tokens": len(added), **request.described(origins, found.origins)}
        self._check_new_rows(found.target.array, step["steps"], origins[0].name)
        target = Target(len(vocabulary), sealed=True)
        target.start(self.dim, str(self.matrix.dtype), origins[0].name)
        target.array[:n], target.array[n:] = self.matrix, found.target.array
        coverage = Coverage.extended(self.coverage, found.coverage, vocabulary)
        everything = np.concatenate([np.ones(n, bool), found.has_row])
        Gathered(target, everything, coverage, found.origins).complete(vocabulary, policies)
        provenance = {**self.provenance, "extended": [*self.provenance.get("extended", []), step]}
        sealed = target.builder.seal()
        return AlignedEmbeddings(sealed, vocabulary, coverage, coverage.source, provenance)

    def _check_new_rows(self, rows: npt.NDArray[Any], steps: list[str], name: str) -> None:
        """Refuse rows of another shape, or that went through something else than the table's."""
        if (rows.shape[1], rows.dtype) != (self.dim, self.matrix.dtype):
            raise FormatError(
                f"new rows must be {self.dim} x {self.matrix.dtype} as those of the table are, "
                f"received {rows.shape[1]} x {rows.dtype}: name another source, or where the "
                f'dtype differs pass dtype="{self.matrix.dtype}"',
                path=name,
            )
        done = self.provenance.get("steps", [])
        if steps != done:
            raise VocabularyError(
                f"a table is extended by rows that went through the same, received rows with "
                f"{steps} for a table with {done}: name another source"
            )

    def _repeated_transforms(self) -> Transforms:
        done = Transforms(**self.provenance.get("transforms", {}))
        if not done.by_row or self.provenance.get("steps", []) != list(done.steps):
            raise VocabularyError(
                f"a table is extended by rows that went through the same, received one with "
                f"{', '.join(self.provenance['steps'])}, which depends on all its rows or was done "
                f"before it was loaded: load it anew with the longer vocabulary"
            )
        return done


def _sources_of(
    origins: Origin | Sequence[Origin],
    options: ReadOptions,
    format: str | None = None,
    member: str | None = None,
) -> list[RowSource]:
    several: list[Any] = [origins]
    if isinstance(origins, Sequence) and not isinstance(origins, str | bytes | bytearray):
        several = list(origins)
    if not several:
        raise ValueError("at least one source is needed, received none")
    return [
        EmbeddingsSource(origin, options)
        if isinstance(origin, Embeddings)
        else FileSource(origin, options, format, member)
        for origin in several
    ]


def _aligned(
    vocabulary: Vocabulary, sources: Sequence[RowSource], request: Request
) -> AlignedEmbeddings:
    request.policies.refuse(vocabulary)
    found = gather_or_own(vocabulary, sources, request)
    if isinstance(found, OwnStore):
        e = found.embeddings
        coverage = e.coverage_of(vocabulary)
        return AlignedEmbeddings(found.sealed, vocabulary, coverage, e.path, e.provenance)
    wanted = request.policies.from_file(vocabulary)
    without = [vocabulary.tokens[i] for i in wanted if not found.has_row[i]]
    if without:
        warnings.warn(
            f"{', '.join(source.name for source in sources)}: no row for the special tokens "
            f"{', '.join(map(repr, without))}: theirs are as oov= says",
            stacklevel=3,
        )
    found.complete(vocabulary, request.policies)
    return AlignedEmbeddings(
        found.target.builder.seal(),
        vocabulary,
        found.coverage,
        found.coverage.source,
        request.described(sources, found.origins),
    )


def align(
    embeddings: Embeddings | Sequence[Embeddings],
    vocabulary: Vocabulary,
    *,
    match: Match = ("exact", "lower"),
    fold_file: bool = False,
    oov: Oov = "zeros",
    special: Mapping[str, SpecialRow] | None = None,
    seed: int = 0,
    combine: Combine = "first",
    normalize: Literal["l2"] | None = None,
    center: bool = False,
    dim: int | None = None,
    reduce: Literal["first", "pca"] = "first",
    all_but_the_top: int = 0,
) -> AlignedEmbeddings:
    """Rows of embeddings in the order of a vocabulary's ids, in sealed memory.

    Parameters, errors and result are those of `load`; several embeddings are combined likewise.
    """
    vocabulary = _checked(vocabulary, "align")
    several = [embeddings] if isinstance(embeddings, Embeddings) else list(embeddings)
    for given in several:
        if not isinstance(given, Embeddings):
            raise TypeError(
                f"align needs Embeddings, received {type(given).__name__}: read them with "
                f"embedfreeze.read, or align a file with embedfreeze.load"
            )
    policies = Policies(oov, special or {}, seed)
    transforms = Transforms(center, all_but_the_top, dim, reduce, normalize)
    request = Request(stages_of(match), fold_file, policies, transforms, combine)
    return _aligned(vocabulary, _sources_of(several, ReadOptions()), request)


def load(
    path: Origin | Sequence[Origin],
    vocabulary: Vocabulary | None = None,
    *,
    match: Match = ("exact", "lower"),
    fold_file: bool = False,
    oov: Oov = "zeros",
    special: Mapping[str, SpecialRow] | None = None,
    seed: int = 0,
    combine: Combine = "first",
    normalize: Literal["l2"] | None = None,
    center: bool = False,
    dim: int | None = None,
    reduce: Literal["first", "pca"] = "first",
    all_but_the_top: int = 0,
    format: str | None = None,
    member: str | None = None,
    **options: Any,
) -> AlignedEmbeddings:
    """Read from a file the rows that a vocabulary needs, in one pass, into sealed memory.

    Memory grows with the vocabulary, not with the file: rows of other tokens are not parsed.
    A store that was saved with this very vocabulary stays as it is, mapped and watched, unless
    other rows are asked for (by transforms, `special` or another `oov`). What was filled in when
    a store was made is no row of any token.

    Parameters
    ----------
    path : str, os.PathLike or binary file object, or a sequence of them
        Files that `read` can read; among them also Embeddings.
    vocabulary : Vocabulary
        Row i of the result belongs to its id i. Its special tokens are not looked up.
    match : sequence of str or callable
        How an id may find its row, tried in this order: "exact", "lower", "upper", "title",
        "casefold", "nfc", "nfkc", "strip_accents", "digits" (each becomes ``#``), "digits0" (each
        becomes ``0``), "underscore" (for a space), "piece" (without the mark of a subword piece),
        several in turn as "piece+lower", or a callable from str to str. A stage folds the
        vocabulary's token and looks for that spelling.
    fold_file : bool
        Fold the file's tokens too: the vocabulary's "king" finds the file's "King". Of rows that
        fold alike the one that is spelled as the vocabulary spells it counts, else the earliest.
        All rows are then parsed; with ``on_duplicate="last"`` the file is read twice.
    oov : str or callable
        The rows of tokens that the file has not: "zeros"; the "mean" of the rows found; "normal"
        draws with their mean and standard deviation; "hash", values in [-0.5, 0.5) made of a hash
        of the token; "error"; "nearest", the row of the closest spelling within one edit (else
        zeros), for which the file is read twice more; or what a callable makes of their list,
        numbers [tokens, dim]. Special tokens follow the first four, and are zeros otherwise.
        Padding is always zeros.
    special : mapping of str to str or array-like, optional
        Rows of single special tokens: "zeros", "mean", "normal", "hash", "file" (the file's row of
        that spelling, else with a warning as `oov` says), or a vector [dim].
    seed : int
        For "normal" and "hash".
    combine : {"first", "concat"}
        Of several files the first that has a token gives its row, or the rows are put side by side:
        where one has no part of a row, that part follows `oov` (a callable makes whole rows).
    normalize, center, dim, reduce, all_but_the_top
        As for `Transforms`: what is done to the rows that were found. Off by default.
    format, member, **options
        As for `read`.

    Returns
    -------
    AlignedEmbeddings
        Matrix [len(vocabulary), dim], sealed, with its coverage and provenance.

    Raises
    ------
    TypeError
        Without a vocabulary: `read` reads a whole file.
    FileError, FormatError
        As for `read`; rows that are not needed are not checked. Several files must have rows of one
        dim, unless they are put side by side.
    UnknownTokenError
        With ``oov="error"``: tokens have no row.
    VocabularyError
        `special` names what is no special token.

    Examples
    --------
    >>> a = load("data/glove.6B.50d.sample.txt", Vocabulary(["king", "Queen", "zzzz"]))
    >>> a
    AlignedEmbeddings(5 x 50 float32, sealed, 2 of 3 types found)
    """
    vocabulary = _checked(vocabulary, "load")
    transforms = Transforms(center, all_but_the_top, dim, reduce, normalize)
    policies = Policies(oov, special or {}, seed)
    request = Request(stages_of(match), fold_file, policies, transforms, combine)
    sources = _sources_of(path, ReadOptions.of("load", options), format, member)
    return _aligned(vocabulary, sources, request)


def _checked(vocabulary: Vocabulary | None, caller: str) -> Vocabulary:
    if not isinstance(vocabulary, Vocabulary):
        raise TypeError(
            f"{caller} needs a Vocabulary, received {type(vocabulary).__name__}: make one with "
            f"embedfreeze.Vocabulary, or read the whole file with embedfreeze.read"
        )
    return vocabulary
