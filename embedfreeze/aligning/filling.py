"""Filling a matrix whose rows are the ids of a vocabulary, from the rows of one or more sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel, storage
from embedfreeze.aligning.folds import Stage
from embedfreeze.aligning.matching import Found, lookups_of
from embedfreeze.aligning.sources import Piece, RowSource, no_subwords
from embedfreeze.coverage import MISSING, NOT_ASKED, SPECIAL, Coverage
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FormatError
from embedfreeze.sealed import SealedMatrix, SealedMatrixBuilder
from embedfreeze.threads import spans, thread_map
from embedfreeze.tokens import Tokens, TokensBuilder
from embedfreeze.vocabulary import Vocabulary

__all__ = ["NEAREST", "SUBWORD", "Filler", "OwnStore", "Target", "Wish"]

Int64 = npt.NDArray[np.int64]
COPY_BYTES = 4 << 20  # for one thread
NEAREST = Stage("nearest", lambda token: token, by_line=False)
SUBWORD = "subword"
NOTHING = 1 << 30  # the rank of no row
_NO_ROWS: Int64 = np.empty(0, np.int64)


class Target:
    """The matrix [n, dim] that is filled: of zeros, made when the first row is there.

    Until then its dim is only what a header says.

    Parameters
    ----------
    n : int
        Number of rows.
    sealed : bool
        Make it in the memory that is sealed at the end.
    """

    def __init__(self, n: int, *, sealed: bool) -> None:
        self.n, self.sealed = n, sealed
        self.dim, self.dtype = 0, "float32"

    def start(self, dim: int, dtype: str, name: str) -> None:
        """Take the shape of a source; a second source must have that of the first."""
        if self.dim and (dim, dtype) != (self.dim, self.dtype):
            raise FormatError(
                f"the first source that has a token gives its row, so all need one dim and dtype, "
                f"received {dim} x {dtype} after {self.dim} x {self.dtype}: pass "
                f'combine="concat" to put them side by side, or read them with dtype="float32"',
                path=name,
            )
        self.dim, self.dtype = dim, dtype

    @cached_property
    def builder(self) -> SealedMatrixBuilder:
        """The memory that is sealed at the end."""
        return SealedMatrixBuilder((self.n, self.dim), self.dtype)

    @cached_property
    def _plain(self) -> npt.NDArray[Any]:
        return np.zeros((self.n, self.dim), self.dtype)

    @property
    def array(self) -> npt.NDArray[Any]:
        """[n, dim]."""
        return self.builder.array if self.sealed else self._plain


@dataclass(eq=False)
class _Rows:
    """Which row each id has so far."""

    ranks: Int64
    owners: Int64  # which of the spellings

    @classmethod
    def none(cls, n: int) -> _Rows:
        return cls(np.full(n, NOTHING, np.int64), np.full(n, -1, np.int64))


@dataclass(frozen=True, eq=False)
class OwnStore:
    """A store that was saved with the very vocabulary that is aligned: it serves as it is."""

    sealed: SealedMatrix
    embeddings: Embeddings


@dataclass(frozen=True, eq=False)
class Wish:
    """Which ids need a row of a source, and how they may find it.

    Attributes
    ----------
    stages : tuple of Stage
        In the caller's order.
    ids : numpy.ndarray
        int64, the ordinary ids.
    special : numpy.ndarray
        int64, ids of the special tokens that take the file's row.
    fold_file : bool
        Fold the file's tokens, too.
    """

    stages: tuple[Stage, ...]
    ids: Int64
    special: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    fold_file: bool = False


class Filler:
    """Puts the rows of a source into a target, for each id the best one."""

    def __init__(
        self, vocabulary: Vocabulary, wish: Wish, target: Target, source: RowSource
    ) -> None:
        self.vocabulary, self.wish = vocabulary, wish
        self.target, self.source = target, source
        self.lookups = lookups_of(
            vocabulary, wish.stages, wish.ids, special=wish.special, fold_file=wish.fold_file
        )
        self.special_keys = self.lookups[0].keys.find(vocabulary.special_tokens)
        self.rows = _Rows.none(len(vocabulary))
        self.spellings = TokensBuilder()
        self.seen_special = np.zeros(len(self.special_keys), bool)
        self.repeated: dict[int, int] = {}  # spellings, and how many more rows they have
        self.provenance: dict[str, Any] = {}
        self.n_rows = 0  # of the pieces before
        self.last_rows: Int64 | None = None
        self.has_subwords: Callable[[], bool] = lambda: False
        self.file_has_subwords = False

    def fill(
        self, suits: Callable[[Embeddings], bool] | None = None, *, subwords: bool = False
    ) -> OwnStore | None:
        """Take what is wanted of the source, which must have vectors of n-grams for `subwords`.

        A store that was saved with this very vocabulary is given back instead if it `suits`.
        """
        if len(self.lookups) > 1 and self.source.options.on_duplicate == "last":
            self.last_rows = self._last_rows()
        with self.source.opened(self.lookups) as opened:
            e = opened.ready
            if suits and e and e.sealed and e.belongs_to(self.vocabulary) and suits(e):
                return OwnStore(e.sealed, e)
            self.target.start(opened.dim, opened.dtype, self.source.name)
            self.provenance, self.has_subwords = opened.provenance, opened.has_subwords
            self.file_has_subwords = opened.ready is None and opened.has_subwords()
            if subwords and not self.has_subwords():
                raise no_subwords(self.source.name)
            for piece in opened.pieces:
                self.add(piece)
                self.n_rows += len(piece.tokens)
        return None

    def _last_rows(self) -> Int64:
        """The last row of each spelling that is wanted, rising, in another pass over the source.

        Of rows that fold alike the earliest counts, so rows that will be replaced must not.
        """
        spellings, owners, rows, n = TokensBuilder(), [_NO_ROWS], [_NO_ROWS], 0
        for tokens in self.source.tokens():
            keys = [lookup.find(tokens) for lookup in self.lookups]
            chosen = np.flatnonzero(self._wanted(keys))
            owners.append(spellings.number(tokens.take(chosen)))
            rows.append(chosen + n)
            n += len(tokens)
        _, last = np.unique(np.concatenate(owners)[::-1], return_index=True)
        return np.sort(np.concatenate(rows)[::-1][last])

    def _wanted(self, keys: list[Int64]) -> npt.NDArray[np.bool_]:
        """Which rows an id wants; `keys` are those of their tokens in each lookup."""
        pairs = zip(self.lookups, keys, strict=True)
        wanted: npt.NDArray[np.bool_] = np.logical_or.reduce(
            [lookup.wishes.any_of(found) for lookup, found in pairs]
        )
        return wanted

    def add(self, piece: Piece) -> None:
        """Take what is wanted of some rows."""
        keys = [lookup.find(piece.tokens) for lookup in self.lookups]
        self.seen_special |= np.isin(self.special_keys, keys[0], kind="table")
        rows, owners = self._without_repeated(piece, np.flatnonzero(self._wanted(keys)))
        for lookup, found in zip(self.lookups, keys, strict=True):
            chosen = np.flatnonzero(found[rows] >= 0)
            offers = lookup.offers(chosen, found[rows[chosen]])
            self._take(piece, rows, owners, offers, folded=lookup.stage is not None)

    def _without_repeated(self, piece: Piece, rows: Int64) -> tuple[Int64, Int64]:
        """Of rows whose tokens are spelled alike only the first, or the last; and its spelling."""
        first = len(self.spellings)
        found = self.spellings.add(piece.tokens.take(rows)).astype(np.int64)
        repeated = np.flatnonzero(found >= 0)
        owners = np.where(found >= 0, found, np.arange(first, first + len(rows)))
        if not len(repeated) and self.last_rows is None:
            return rows, owners
        if self.source.options.on_duplicate == "error":
            row = int(rows[repeated[0]])
            raise FormatError(
                f"tokens must differ, received {piece.tokens[row]!r} again: keep one with "
                f"on_duplicate= (--on-duplicate)",
                path=self.source.name,
                **piece.place(row),
            )
        for owner in owners[repeated].tolist():
            self.repeated[owner] = self.repeated.get(owner, 0) + 1
        if self.source.options.on_duplicate == "first":
            kept = found < 0
        elif self.last_rows is not None:
            kept = np.isin(rows + self.n_rows, self.last_rows)
        else:
            _, last = np.unique(owners[::-1], return_index=True)
            kept = np.zeros(len(rows), bool)
            kept[len(rows) - 1 - last] = True
        return rows[kept], owners[kept]

    def _take(
        self, piece: Piece, rows: Int64, owners: Int64, offers: Found, *, folded: bool
    ) -> None:
        """Give rows to the ids that want them and have no better one."""
        for rank in np.flatnonzero(np.bincount(offers.ranks)).tolist():
            chosen = np.flatnonzero(offers.ranks == rank)
            ids, offered = offers.ids[chosen], offers.rows[chosen]
            if folded:  # of several spellings the earliest
                ids, first = np.unique(ids, return_index=True)
                offered = offered[first]
            old = self.rows.ranks[ids]
            better = (rank < old) | ((rank == old) & (owners[offered] == self.rows.owners[ids]))
            ids, offered = ids[better], offered[better]
            self.rows.ranks[ids], self.rows.owners[ids] = rank, owners[offered]
            self._copy(piece, piece.rows[rows[offered]], ids)

    def _copy(self, piece: Piece, rows: Int64, ids: Int64) -> None:
        row_bytes = piece.matrix.itemsize * piece.matrix.shape[1]
        target = self.target.array
        thread_map(
            lambda span: _kernel.scatter_rows(
                piece.matrix, rows[slice(*span)], target, ids[slice(*span)], row_bytes
            ),
            spans(0, len(ids), max(1, COPY_BYTES // row_bytes)),
            self.source.options.n_threads,
        )

    def fill_nearest(self, ids: Int64) -> None:
        """Give ids that are still without a row that of the closest spelling."""
        from embedfreeze.nearest import NearestSpellings

        asked = {self.vocabulary.tokens[i]: i for i in np.intersect1d(ids, self.wish.ids).tolist()}
        if not asked:
            return
        search = NearestSpellings(list(asked), most=1)
        for tokens in self.source.tokens():
            search.add(tokens)
        near = {token: found[0] for token, found in search.found.items() if found}
        stage = Stage(NEAREST.name, lambda token: near[token], by_line=False)
        wish = Wish((stage,), np.array([asked[token] for token in near], np.int64))
        second = Filler(self.vocabulary, wish, self.target, self.source)
        second.fill()
        found, first = np.flatnonzero(second.has_row), len(self.spellings)
        self.spellings.add(second.spellings.finish(_NO_ROWS, "surrogateescape"))
        self.rows.ranks[found] = 2 * len(self.wish.stages) + 1
        self.rows.owners[found] = second.rows.owners[found] + first
        self.repeated |= {owner + first: more for owner, more in second.repeated.items()}

    def fill_subwords(self, ids: Int64) -> None:
        """Give ids that are still without a row what the source's n-grams make of their tokens."""
        ids = np.intersect1d(ids, self.wish.ids)
        asked = Tokens.from_strings(self.vocabulary.tokens[i] for i in ids.tolist())
        rows = self.source.subword_rows(asked)
        if rows.shape[1] != self.target.dim:  # embeddings whose file is another now
            raise FormatError(
                f"vectors of n-grams must have {self.target.dim} values as the rows have, received "
                f"{rows.shape[1]}: read the file again",
                path=self.source.name,
            )
        made = rows.any(axis=1)  # zeros where a token has no n-grams
        self.target.array[ids[made]] = storage.converted(rows[made], self.target.dtype)
        self.rows.ranks[ids[made]] = 2 * len(self.wish.stages)

    @property
    def has_row(self) -> npt.NDArray[np.bool_]:
        """Which ids [ids] have a row of this source."""
        return self.rows.ranks < NOTHING

    def coverage(self, match: tuple[str, ...], wanted: Sequence[int]) -> Coverage:
        """What was found, and how.

        Parameters
        ----------
        match : tuple of str
            The names of the stages.
        wanted : sequence of int
            Ids of the special tokens that take a row of this source or of one before it.
        """
        stages = np.full(len(self.vocabulary), NOT_ASKED, np.int8)
        stages[self.wish.ids] = MISSING
        stages[self.has_row] = self.rows.ranks[self.has_row] // 2
        stages[list(self.vocabulary.special_ids)] = SPECIAL
        taken = {self.vocabulary.tokens[i] for i in wanted}
        seen = zip(self.vocabulary.special_tokens, self.seen_special.tolist(), strict=True)
        return Coverage(
            self.vocabulary,
            match,
            stages,
            tuple(token for token, there in seen if there and token not in taken),
            self._duplicates(),
            self._found_as(stages),
            self.source.name,
            file_tokens=self.source.reader(),
            has_subwords=self.file_has_subwords,
        )

    def _duplicates(self) -> dict[str, int]:
        """Of the spellings whose rows were taken those that have more; how many more."""
        if not self.repeated:
            return {}
        taken = set(self.rows.owners[self.has_row].tolist())
        spelled = self.spellings.finish(_NO_ROWS, "surrogateescape")
        return {spelled[i]: more for i, more in self.repeated.items() if i in taken}

    def _found_as(self, stages: npt.NDArray[np.int8]) -> Tokens | None:
        """The file's spelling of each id, where that is another."""
        found = np.flatnonzero((stages >= 0) & (self.rows.ranks % 2 == 1))
        if not len(found):
            return None
        spelled = self.spellings.finish(_NO_ROWS, "surrogateescape")
        spellings = [""] * len(stages)
        taken = spelled.take(self.rows.owners[found])
        for i, spelling in zip(found.tolist(), taken, strict=True):
            spellings[i] = spelling
        return Tokens.from_strings(spellings)
