"""Repeated tokens: which rows repeat one, and which of them are dropped."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError
from embedfreeze.formats.base import Batch, ReadOptions
from embedfreeze.plainlines import counted
from embedfreeze.tokens import TokensBuilder

__all__ = ["Duplicates", "FirstRows", "without_rows"]

Bool = npt.NDArray[np.bool_]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


def _refuse(path: str, batch: Batch, found: Int32) -> None:
    """The error of the first repeated token; found[i] is the row that row i repeats, or -1."""
    repeats = np.flatnonzero(found >= 0)
    if repeats.size:
        row = int(repeats[0])
        raise FormatError(
            f"tokens must differ, received {batch.tokens.bytes_at(row)!r}, which row "
            f"{found[row]} (from 0) has too: keep one with on_duplicate= (--on-duplicate)",
            path=path,
            **batch.place(row),
        )


class FirstRows:
    """Which rows are the first of their token, while they come.

    Attributes
    ----------
    index : TokensBuilder
        The tokens of these rows alone, so that a writer of them needs no second index.
    """

    def __init__(self, path: str, options: ReadOptions) -> None:
        self.index = TokensBuilder()
        self._path = path
        self._errors = options.on_duplicate == "error"

    def add(self, batch: Batch) -> Bool:
        """Which rows of the next batch these are; others may be an error."""
        found = self.index.add_new(batch.tokens)
        if self._errors:
            _refuse(self._path, batch, found)
        return found < 0


class Duplicates:
    """Which rows repeat a token, and which of them to drop."""

    def __init__(self, path: str, options: ReadOptions, expected: int | None = None) -> None:
        self.builder = TokensBuilder(expected or 0)
        self._path = path
        self._keep = options.on_duplicate
        self._rows: list[Int64] = []
        self._firsts: list[Int64] = []

    def add(self, batch: Batch) -> None:
        """Note the rows of the next batch that repeat an earlier token."""
        first = len(self.builder)
        found = self.builder.add(batch.tokens)
        if self._keep == "error":
            _refuse(self._path, batch, found)
        repeats = np.flatnonzero(found >= 0)
        if repeats.size:
            self._rows.append(repeats + first)
            self._firsts.append(found[repeats].astype(np.int64))

    def dropped(self) -> Int64:
        """All rows to drop, rising; a warning tells of them."""
        if not self._rows:
            return np.empty(0, np.int64)
        rows, firsts = np.concatenate(self._rows), np.concatenate(self._firsts)
        token = self.builder.token(int(rows[0]))
        warnings.warn(
            f"{self._path}: {counted(len(rows), 'row repeats', 'rows repeat')} an earlier token "
            f"(the first is {token!r}); of each token the {self._keep} row is kept",
            stacklevel=3,
        )
        if self._keep == "first":
            return rows
        last = dict(zip(firsts.tolist(), rows.tolist(), strict=True))
        every = np.concatenate([rows, firsts])
        return np.setdiff1d(every, np.fromiter(last.values(), np.int64, len(last)))


def without_rows(matrix: npt.NDArray[Any], dropped: Int64) -> npt.NDArray[Any]:
    """The matrix without some rows, moved together in place."""
    if not dropped.size:
        return matrix
    target = int(dropped[0])
    for row, following in zip(dropped, [*dropped[1:], len(matrix)], strict=True):
        n = int(following) - int(row) - 1
        matrix[target : target + n] = matrix[row + 1 : following]
        target += n
    return matrix[:target]
