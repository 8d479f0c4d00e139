"""Embeddings x Vocabulary -> AlignedEmbeddings and Coverage."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.aligning.extending import check_new_rows, repeated_transforms
from embedfreeze.aligning.filling import OwnStore, Target
from embedfreeze.aligning.folds import Match, stages_of
from embedfreeze.aligning.gathering import Combine, Gathered, Request, gather, gather_or_own
from embedfreeze.aligning.origins import Origin, sources_of
from embedfreeze.aligning.sources import RowSource
from embedfreeze.aligning.storing import sealed_as, sealed_target
from embedfreeze.aligning.transforms import Transforms
from embedfreeze.aligning.unknown import Oov, Policies, SpecialRow
from embedfreeze.coverage import Coverage
from embedfreeze.coveragerecord import record_of_coverage
from embedfreeze.embeddings import Alignment, Embeddings, provenance_stored_as
from embedfreeze.errors import VocabularyError
from embedfreeze.files import PathLike
from embedfreeze.files.inputs import remedy_for
from embedfreeze.formats import ReadOptions, check_store_name, write
from embedfreeze.sealed import SealedMatrix, told_memory
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = ["AlignedEmbeddings", "align", "load"]


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
        storage.dim_of(self.dtype, self.matrix.shape[1])  # refuses int8 without scales
        if len(self.sealed.array) != len(self.vocabulary):
            raise VocabularyError(
                f"each id needs a row, received {len(self.vocabulary)} ids and "
                f"{len(self.sealed.array)} rows"
            )

    @property
    def matrix(self) -> npt.NDArray[Any]:
        """What is stored, read-only, in place: [ids, dim], of int8 [ids, dim + 4] with scales."""
        return self.sealed.array

    @property
    def dim(self) -> int:
        """Values in a row."""
        return storage.dim_of(self.dtype, self.matrix.shape[1])

    @property
    def dtype(self) -> str:
        """How the rows are stored: "float32", "float16", "bfloat16" or "int8"."""
        return str(self.matrix.dtype)

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
            f"AlignedEmbeddings({len(self)} x {self.dim} {self.dtype}, "
            f"{self.sealed.guarantee}, {self.coverage!r})"
        )

    def _repr_html_(self) -> str:
        from embedfreeze.notebook import SHOWN_TOKENS, rows_html
        from embedfreeze.plainlines import bytes_told

        found = {
            "dtype": self.dtype,
            "memory": f"{bytes_told(self.matrix.nbytes)}, {told_memory(self.sealed)}",
            "vocabulary": f"{self.vocabulary!r}",
            "coverage": None if self.coverage is None else f"{self.coverage!r}",
            "source": self.source,
            "digest": self.digest if self.sealed.digest_known else None,
        }
        tokens = self.tokens[:SHOWN_TOKENS]
        values = storage.decode(self.matrix[: len(tokens)])
        return rows_html("AlignedEmbeddings", (len(self), self.dim), found, tokens, values)

    def astype(self, dtype: str) -> AlignedEmbeddings:
        """These rows stored in another dtype, in new sealed memory.

        Parameters, errors and result are those of `Embeddings.astype`; vocabulary and coverage
        stay, and the provenance tells of it.
        """
        if storage.checked_dtype(dtype) == self.dtype:
            return self
        sealed = sealed_as(self.matrix, dtype, self.tokens, self.source)
        provenance = provenance_stored_as(self.provenance, dtype)
        return replace(self, sealed=sealed, provenance=provenance)

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Write a store with the matrix, the tokens, the vocabulary, coverage and provenance.

        Parameters
        ----------
        path : str or os.PathLike
            A name that ends in ``.safetensors``.
        overwrite : bool
            Replace a file of that name.

        Raises
        ------
        FileError
            The file exists or cannot be written, or the name ends otherwise.
        VocabularyError
            The vocabulary's splitter is a callable of the user's.
        """
        check_store_name(path)
        stored = self.to_embeddings()
        write(stored, path, format="store", overwrite=overwrite, vocabulary=self.vocabulary)

    def to_embeddings(self) -> Embeddings:
        """The same rows as `Embeddings`, with what a store keeps of the alignment."""
        record = None if self.coverage is None else record_of_coverage(self.coverage)
        alignment = Alignment(self._counts(), record, self.provenance)
        tokens = Tokens.from_strings(self.tokens)
        special = self.vocabulary.settings()
        return Embeddings(
            tokens, self.matrix, self._source_names(), special=special, alignment=alignment
        )

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
        """A table with the rows of new tokens behind its own, whose bytes stay as they are.

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
        transforms = repeated_transforms(self.provenance)
        request = Request(stages_of(match), fold_file, policies, transforms)
        vocabulary, n = self.vocabulary.extended(tokens, counts), len(self)
        added = Vocabulary(vocabulary.tokens[n:], padding=None, unknown=None)
        read_options = ReadOptions.of(AlignedEmbeddings.extend, options)
        if read_options.dtype is None and self.dtype in storage.ENCODED:
            read_options = replace(read_options, dtype=self.dtype)
        origins = sources_of(source, read_options, format, member)
        found = gather(added, origins, request)
        step = {"tokens": len(added), **request.described(origins, found.origins)}
        rows, done, name = found.target.array, self.provenance.get("steps", []), origins[0].name
        check_new_rows(rows, (self.dim, self.dtype), step["steps"], done, name)
        target = Target(len(vocabulary), sealed=True)
        target.start(self.dim, storage.working_dtype(self.dtype), name)
        storage.encode(self.matrix, target.array[:n])
        target.array[n:] = rows
        coverage = Coverage.extended(self.coverage, found.coverage, vocabulary)
        everything = np.concatenate([np.ones(n, bool), found.has_row])
        Gathered(target, everything, coverage, found.origins).complete(vocabulary, policies)
        provenance = {**self.provenance, "extended": [*self.provenance.get("extended", []), step]}
        sealed = sealed_target(target, self.dtype, vocabulary, name, kept=self.matrix)
        return AlignedEmbeddings(sealed, vocabulary, coverage, coverage.source, provenance)


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
    missing = found.coverage.missing_ids
    if len(missing) and len(missing) == found.coverage.total() and not found.has_row[missing].any():
        warnings.warn(
            f"no token of the vocabulary has a row in {', '.join(s.name for s in sources)}: check "
            f"that they are the same language and spelling; match={request.stage_names} (--match)",
            stacklevel=3,
        )
    found.complete(vocabulary, request.policies)
    dtype, path = request.dtype or found.dtype, found.coverage.source
    sealed = sealed_target(found.target, dtype, vocabulary, path)
    provenance = request.described(sources, found.origins)
    if dtype in storage.ENCODED:
        provenance = provenance_stored_as(provenance, dtype)
    return AlignedEmbeddings(sealed, vocabulary, found.coverage, path, provenance)


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
    dtype: str | None = None,
) -> AlignedEmbeddings:
    """Rows of embeddings in the order of a vocabulary's ids, in sealed memory.

    Parameters, errors and result are those of `load`; several embeddings are combined likewise.
    """
    vocabulary = _checked(vocabulary, "align")
    several = list(embeddings) if isinstance(embeddings, Iterable) else [embeddings]
    for given in several:
        if not isinstance(given, Embeddings):
            remedy = ": read them with embedfreeze.read, or align a file with embedfreeze.load"
            raise TypeError(
                f"align needs Embeddings, received {type(given).__name__}"
                f"{remedy_for(given) or remedy}"
            )
    policies = Policies(oov, special or {}, seed)
    transforms = Transforms(center, all_but_the_top, dim, reduce, normalize)
    options = ReadOptions(dtype=dtype)
    request = Request(stages_of(match), fold_file, policies, transforms, combine, dtype)
    return _aligned(vocabulary, sources_of(several, options), request)


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
        zeros), for which the file is read twice more; "subword", what the n-grams of a fastText
        model, a spaCy folder in floret mode or a finalfusion file make of the token (else zeros),
        for which the file is opened once more; or what a callable makes of their list, numbers
        [tokens, dim]. Special tokens follow the first four, and are zeros otherwise.
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
        As for `read`. With ``dtype`` "bfloat16" or "int8" all of the above is done to float32 rows,
        which are stored so at the end; rows of such a store are decoded, unless it stays as it is.

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

    Warns
    -----
    UserWarning
        No ordinary token has a row.

    Examples
    --------
    >>> a = load("data/glove.6B.50d.sample.txt", Vocabulary(["king", "Queen", "zzzz"]))
    >>> a
    AlignedEmbeddings(5 x 50 float32, sealed, 2 of 3 types found)
    """
    vocabulary = _checked(vocabulary, "load")
    transforms = Transforms(center, all_but_the_top, dim, reduce, normalize)
    policies = Policies(oov, special or {}, seed)
    read_options = ReadOptions.of(load, options)
    dtype = read_options.dtype
    request = Request(stages_of(match), fold_file, policies, transforms, combine, dtype)
    sources = sources_of(path, read_options, format, member)
    return _aligned(vocabulary, sources, request)


def _checked(vocabulary: Vocabulary | None, caller: str) -> Vocabulary:
    if not isinstance(vocabulary, Vocabulary):
        raise TypeError(
            f"{caller} needs a Vocabulary, received {type(vocabulary).__name__}: make one with "
            f"embedfreeze.Vocabulary, or read the whole file with embedfreeze.read"
        )
    return vocabulary
