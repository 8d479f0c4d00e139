"""Embeddings x Vocabulary -> AlignedEmbeddings and Coverage."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.coverage import MISSING, SPECIAL, Coverage
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FormatError, VocabularyError
from embedfreeze.files import PathLike
from embedfreeze.formats import Batch, ReadOptions, open_reading, tracked, warn_of_skipped, write
from embedfreeze.sealed import SealedMatrix, SealedMatrixBuilder
from embedfreeze.splitters import Splitter
from embedfreeze.threads import spans, thread_map
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = ["AlignedEmbeddings", "align", "load"]

Oov = Literal["zeros", "mean", "hash"]
Int32 = npt.NDArray[np.int32]
STAGES: dict[str, Callable[[str], str]] = {"exact": str, "lower": str.lower}
OOV = ("zeros", "mean", "hash")
COPY_BYTES = 4 << 20  # for one thread
HASH_ROWS = 4096
HASH_SCALE = 2.0**-24  # 24 random bits become a float32 in [-0.5, 0.5) without rounding


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
    """

    sealed: SealedMatrix
    vocabulary: Vocabulary
    coverage: Coverage | None = None
    source: str | None = None

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
        """Write a store with the matrix, the tokens and the vocabulary's special tokens.

        Raises
        ------
        FileError
            The file exists or cannot be written.
        VocabularyError
            The vocabulary's splitter is a callable of the user's.
        """
        embeddings = Embeddings(Tokens.from_strings(self.tokens), self.matrix, self.source)
        write(embeddings, path, format="store", overwrite=overwrite, vocabulary=self.vocabulary)


class _Wanted:
    """The spellings that are looked for in a file, and the ids that want each of them.

    Wish w says: id `ids[w]` wants the row of spelling `keys[w]`, found in stage `stages[w]`. Wishes
    are sorted by key; those of key k are `starts[k]` to `starts[k + 1] - 1`.
    """

    def __init__(self, vocabulary: Vocabulary, match: Sequence[str]) -> None:
        if not match or any(stage not in STAGES for stage in match):
            raise ValueError(f"match must be some of {', '.join(STAGES)}, received {match!r}")
        ordinary = np.delete(np.arange(len(vocabulary)), vocabulary.special_ids)
        spelled = [vocabulary.tokens[i] for i in ordinary.tolist()]
        keys: dict[str, int] = {}
        wishes = [np.empty((0, 3), np.int64)]
        for stage, name in enumerate(match):
            folded = list(map(STAGES[name], spelled))
            chosen: Sequence[int] = range(len(spelled))
            if "exact" in match[:stage]:  # a token that the fold leaves as it is was wished for
                chosen = [j for j, key in enumerate(folded) if key != spelled[j]]
            found = [keys.setdefault(folded[j], len(keys)) for j in chosen]
            wish = np.empty((len(found), 3), np.int64)
            wish[:, 0], wish[:, 1], wish[:, 2] = found, ordinary[chosen], stage
            wishes.append(wish)
        table = np.concatenate(wishes)
        table = table[np.argsort(table[:, 0], kind="stable")]
        self.ids, self.stages = table[:, 1], table[:, 2]
        self.starts = np.searchsorted(table[:, 0], np.arange(len(keys) + 1))
        self.n_keys = len(keys)
        self.special = [vocabulary.tokens[i] for i in vocabulary.special_ids]
        special_keys = (token for token in self.special if token not in keys)
        self.tokens = Tokens.from_strings([*keys, *special_keys])
        self.special_rows = self.tokens.find(self.special)

    def wishes_of(self, keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
        """The wishes of some keys, and for each wish which of the keys it is."""
        counts = self.starts[keys + 1] - self.starts[keys]
        which = np.repeat(np.arange(len(keys)), counts)
        first = np.repeat(self.starts[keys] - np.cumsum(counts) + counts, counts)
        return first + np.arange(len(which)), which


class _Filler:
    """Puts the rows that are found into a matrix, for each id the one of its best stage."""

    def __init__(
        self, vocabulary: Vocabulary, match: Sequence[str], options: ReadOptions, source: str
    ) -> None:
        self.vocabulary = vocabulary
        self.match = tuple(match)
        self.options = options
        self.source = source
        self.wanted = _Wanted(vocabulary, match)
        self.stage_of_id = np.full(len(vocabulary), MISSING, dtype=np.int8)
        self._best = np.full(len(vocabulary), len(match), dtype=np.int64)
        self._seen = np.zeros(self.wanted.n_keys, dtype=bool)
        self._special: set[str] = set()
        self._repeated = 0

    def start(self, dim: int, dtype: str) -> None:
        self._dim, self._dtype = dim, dtype

    @cached_property
    def builder(self) -> SealedMatrixBuilder:
        """The matrix, made when a row is there: until then `dim` is only what a header says."""
        return SealedMatrixBuilder((len(self.vocabulary), self._dim), self._dtype)

    def add(self, batch: Batch) -> None:
        """Take what is wanted of a batch."""
        found = self.wanted.tokens.find(batch.tokens)
        for row in np.flatnonzero(np.isin(found, self.wanted.special_rows)):
            self._special.add(self.wanted.tokens[int(found[row])])
        rows = np.flatnonzero((found >= 0) & (found < self.wanted.n_keys))
        rows = self._without_repeated(batch, rows, found[rows])
        self.take(found[rows].astype(np.int64), batch.matrix, rows)

    def _without_repeated(
        self, batch: Batch, rows: npt.NDArray[np.int64], keys: Int32
    ) -> npt.NDArray[np.int64]:
        """Of rows with the same key only the first, or the last."""
        _, first = np.unique(keys, return_index=True)
        fresh = np.zeros(len(rows), dtype=bool)
        fresh[first] = ~self._seen[keys[first]]
        self._seen[keys] = True
        repeated = np.flatnonzero(~fresh)
        self._repeated += len(repeated)
        if not len(repeated):
            return rows
        if self.options.on_duplicate == "error":
            row = int(rows[repeated[0]])
            raise FormatError(
                f"tokens must differ, received {batch.tokens[row]!r} again: keep one with "
                f"on_duplicate= (--on-duplicate)",
                path=self.source,
                **batch.place(row),
            )
        if self.options.on_duplicate == "first":
            return rows[fresh]
        _, last = np.unique(keys[::-1], return_index=True)
        return rows[np.sort(len(rows) - 1 - last)]

    def take(
        self,
        keys: npt.NDArray[np.int64],
        matrix: npt.NDArray[Any],
        rows: npt.NDArray[np.int64],
    ) -> None:
        """Give the row of each (different) key to the ids that want it and have no better one."""
        wishes, which = self.wanted.wishes_of(keys)
        ids, stages = self.wanted.ids[wishes], self.wanted.stages[wishes]
        for stage in range(len(self.match)):
            better = (stages == stage) & (stage <= self._best[ids])
            chosen = ids[better]
            self._copy(matrix, rows[which[better]], chosen)
            self._best[chosen] = stage
            self.stage_of_id[chosen] = stage

    def _copy(
        self, matrix: npt.NDArray[Any], rows: npt.NDArray[np.int64], ids: npt.NDArray[np.int64]
    ) -> None:
        row_bytes = matrix.itemsize * matrix.shape[1]
        target = self.builder.array
        thread_map(
            lambda span: _kernel.scatter_rows(
                matrix, rows[slice(*span)], target, ids[slice(*span)], row_bytes
            ),
            spans(0, len(ids), max(1, COPY_BYTES // row_bytes)),
            self.options.n_threads,
        )

    def finish(self, oov: Oov, seed: int) -> AlignedEmbeddings:
        """Fill the rows of unknown tokens and seal."""
        self.stage_of_id[list(self.vocabulary.special_ids)] = SPECIAL
        coverage = Coverage(
            self.vocabulary,
            self.match,
            self.stage_of_id,
            tuple(token for token in self.wanted.special if token in self._special),
            self._repeated,
        )
        unknown = self.stage_of_id < 0
        if self.vocabulary.padding_id is not None:
            unknown[self.vocabulary.padding_id] = False
        _fill_unknown(self.builder.array, self.vocabulary, np.flatnonzero(unknown), oov, seed)
        return AlignedEmbeddings(self.builder.seal(), self.vocabulary, coverage, self.source)


def _fill_unknown(
    matrix: npt.NDArray[Any],
    vocabulary: Vocabulary,
    unknown: npt.NDArray[np.int64],
    oov: Oov,
    seed: int,
) -> None:
    if oov == "mean":
        known = np.ones(len(matrix), dtype=bool)
        known[unknown] = False
        if vocabulary.padding_id is not None:
            known[vocabulary.padding_id] = False
        if known.any():
            matrix[unknown] = matrix.mean(axis=0, dtype=np.float64, where=known[:, None])
    elif oov == "hash":
        tokens = Tokens.from_strings(vocabulary.tokens[i] for i in unknown)
        for low, high in spans(0, len(unknown), HASH_ROWS):
            part = tokens.part(low, high)
            matrix[unknown[low:high]] = _hashed_rows(part, matrix.shape[1], seed)


def _hashed_rows(tokens: Tokens, dim: int, seed: int) -> npt.NDArray[np.float32]:
    """Rows in [-0.5, 0.5) that depend on the token and the seed alone, the same everywhere.

    Each value is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) of the token's hash, the seed and
    the column, of which the highest 24 bits become a float without rounding.
    """
    hashes = np.empty(len(tokens), dtype=np.uint64)
    _kernel.hash_tokens(tokens.blob, tokens.offsets, hashes)
    golden = 0x9E3779B97F4A7C15
    start = np.uint64((seed * golden) % 2**64)
    steps = np.arange(1, dim + 1, dtype=np.uint64) * np.uint64(golden)
    x = (hashes + start)[:, None] + steps
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    centred = (x >> np.uint64(40)).astype(np.int32) - (1 << 23)
    rows: npt.NDArray[np.float32] = centred.astype(np.float32) * np.float32(HASH_SCALE)
    return rows


def align(
    embeddings: Embeddings,
    vocabulary: Vocabulary,
    *,
    match: Sequence[str] = ("exact", "lower"),
    oov: Oov = "zeros",
    seed: int = 0,
) -> AlignedEmbeddings:
    """Rows of embeddings in the order of a vocabulary's ids, in sealed memory.

    A store that was saved with this very vocabulary is not copied: it stays mapped and watched.
    Parameters, errors and result are those of `load`.
    """
    _check(vocabulary, oov, "align")
    if embeddings.sealed is not None and _is_own(embeddings, vocabulary):
        return AlignedEmbeddings(embeddings.sealed, vocabulary, None, embeddings.path)
    filler = _Filler(vocabulary, match, ReadOptions(), embeddings.path or "embeddings")
    rows = embeddings.tokens.find(filler.wanted.tokens)
    filler._special.update(t for t in filler.wanted.special if t in embeddings.tokens)
    keys = np.flatnonzero(rows[: filler.wanted.n_keys] >= 0)
    filler.start(embeddings.dim, str(embeddings.matrix.dtype))
    filler.take(keys, embeddings.matrix, rows[keys].astype(np.int64))
    return filler.finish(oov, seed)


def _is_own(embeddings: Embeddings, vocabulary: Vocabulary) -> bool:
    """Is this the vocabulary that the store was saved with?"""
    return (
        embeddings.special is not None
        and len(embeddings) == len(vocabulary)
        and isinstance(vocabulary.splitter, Splitter)
        and embeddings.vocabulary == vocabulary
    )


def load(
    path: PathLike,
    vocabulary: Vocabulary | None = None,
    *,
    match: Sequence[str] = ("exact", "lower"),
    oov: Oov = "zeros",
    seed: int = 0,
    format: str | None = None,
    member: str | None = None,
    **options: Any,
) -> AlignedEmbeddings:
    """Read from a file the rows that a vocabulary needs, in one pass, into sealed memory.

    Memory grows with the vocabulary, not with the file: rows of other tokens are not parsed.

    Parameters
    ----------
    path : str or os.PathLike
        A file that `read` can read.
    vocabulary : Vocabulary
        Row i of the result belongs to its id i. Its special tokens are not looked up.
    match : sequence of {"exact", "lower"}
        How an id may find its row, tried in this order.
    oov : {"zeros", "mean", "hash"}
        The rows of tokens that the file has not, and of the unknown token: zeros, the mean of the
        rows found, or values in [-0.5, 0.5) made of a hash of the token. Padding is always zeros.
    seed : int
        For "hash".
    format, member, **options
        As for `read`.

    Returns
    -------
    AlignedEmbeddings
        Matrix [len(vocabulary), dim], sealed, with its coverage.

    Raises
    ------
    TypeError
        Without a vocabulary: `read` reads a whole file.
    FileError, FormatError
        As for `read`; rows that are not needed are not checked.

    Examples
    --------
    >>> a = load("data/glove.6B.50d.sample.txt", Vocabulary(["king", "Queen", "zzzz"]))
    >>> a
    AlignedEmbeddings(5 x 50 float32, sealed, 2 of 3 types found)
    """
    vocabulary = _check(vocabulary, oov, "load")
    chosen = ReadOptions(**options)
    filler = _Filler(vocabulary, match, chosen, os.fspath(path))
    chosen = replace(chosen, wanted=filler.wanted.tokens)
    source, _, reading = open_reading(path, chosen, format=format, member=member)
    with source:
        if reading.ready is not None:
            return align(reading.ready, vocabulary, match=match, oov=oov, seed=seed)
        filler.start(reading.dim, reading.dtype)
        for batch in tracked(source, reading, "load"):
            filler.add(batch)
        warn_of_skipped(source.name, reading)
    return filler.finish(oov, seed)


def _check(vocabulary: Vocabulary | None, oov: str, caller: str) -> Vocabulary:
    if not isinstance(vocabulary, Vocabulary):
        raise TypeError(
            f"{caller} needs a Vocabulary, received {type(vocabulary).__name__}: make one with "
            f"embedfreeze.Vocabulary, or read the whole file with embedfreeze.read"
        )
    if oov not in OOV:
        raise ValueError(f"oov must be one of {', '.join(OOV)}, received {oov!r}")
    return vocabulary
