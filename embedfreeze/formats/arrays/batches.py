"""Batches of a matrix whose values lie in a file by rows or by columns, and of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.errors import FormatError
from embedfreeze.files import Source, release_pages
from embedfreeze.formats.base import Batch, Place, Reading, ReadOptions
from embedfreeze.threads import spans, thread_imap
from embedfreeze.tokens import Tokens

__all__ = [
    "TokenMatrix",
    "mapped_batches",
    "row_step",
    "streamed_batches",
    "tokens_of",
    "wanted_of",
]

BATCH_BYTES = 16 << 20
COLUMN_BYTES = 64 << 20  # of a file whose columns lie one behind the other, in memory at once
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TokenMatrix:
    """The values of a mapped file and the tokens that belong to them.

    Attributes
    ----------
    values : numpy.ndarray
        [rows, dim] of any kind of float.
    start : int
        Where they begin in what is mapped.
    tokens : Tokens
        n tokens.
    rows : numpy.ndarray, optional
        int64 [n], the row of each token; default: token i belongs to row i.
    factors : numpy.ndarray, optional
        Floats [n] that the vector of each token is multiplied by.
    """

    values: npt.NDArray[Any]
    start: int
    tokens: Tokens
    rows: Int64 | None = None
    factors: npt.NDArray[Any] | None = None

    def rows_of(self, chosen: Int64) -> Int64:
        return chosen if self.rows is None else self.rows[chosen]


def row_step(dim: int) -> int:
    """Rows of a batch."""
    return max(1, BATCH_BYTES // (4 * max(1, dim)))


def wanted_of(tokens: Tokens, low: int, high: int, options: ReadOptions) -> Int64:
    """Those from low to high - 1 of some tokens that are wanted."""
    chosen = np.arange(low, high)
    if options.wanted is None:
        return chosen
    return chosen[options.wanted.find(tokens.part(low, high)) >= 0]


def tokens_of(tokens: Tokens, rows: Int64) -> Tokens:
    """The tokens of some rows, rising and at least one; what is one run is not copied."""
    low, high = int(rows[0]), int(rows[-1]) + 1
    return tokens.part(low, high) if len(rows) == high - low else tokens.take(rows)


def mapped_batches(
    source: Source, options: ReadOptions, reading: Reading, table: TokenMatrix, buffer: Any
) -> Iterator[Batch]:
    """Batches of a matrix in a mapped file, whose pages are released behind them."""
    count, step = options.limited(len(table.tokens)), row_step(reading.dim)
    parts = [wanted_of(table.tokens, *part, options) for part in spans(0, count, step)]
    kept = np.concatenate([np.empty(0, np.int64), *parts])

    def filled(part: tuple[Int64, npt.NDArray[Any], int]) -> Batch:
        chosen, matrix, position = part
        if not (buffer is source.buffer and _copied(source, table, chosen, matrix)):
            _gather(table, chosen, matrix, buffer)
        rows = table.rows_of(chosen)

        def place(row: int) -> Place:
            return {"row": int(rows[row])}

        tokens = tokens_of(table.tokens, chosen)
        return Batch(tokens, matrix, position, place).checked(source.name)

    allocated = (
        (
            kept[low:high],
            reading.allocate(high - low, reading.dim, reading.dtype),
            source.size * high // len(kept),
        )
        for low, high in spans(0, len(kept), step)
    )
    yield from thread_imap(filled, allocated, options.n_threads)


def _copied(source: Source, table: TokenMatrix, chosen: Int64, matrix: npt.NDArray[Any]) -> bool:
    """Put rows that lie in the file as they are wanted into a matrix; False for others."""
    values, rows = table.values, table.rows_of(chosen)
    same = values.dtype == matrix.dtype and table.factors is None
    if not (same and values.flags.c_contiguous and (np.diff(rows) == 1).all()):
        return False
    start = table.start + int(rows[0]) * values.shape[1] * values.itemsize
    source.copy_into(start, matrix.data.cast("B"))
    return True


def _gather(table: TokenMatrix, chosen: Int64, matrix: npt.NDArray[Any], buffer: Any) -> None:
    values, rows = table.values, table.rows_of(chosen)
    one_run = len(rows) == rows[-1] + 1 - rows[0] and (np.diff(rows) == 1).all()
    picked = slice(int(rows[0]), int(rows[-1]) + 1) if one_run else rows
    dim = values.shape[1]
    by_columns = not values.flags.c_contiguous and dim > 1
    width = max(1, COLUMN_BYTES // max(1, values[:, :1].nbytes)) if by_columns else dim
    for low, high in spans(0, dim, width):
        found = values[picked, low:high]
        if table.factors is not None:
            found = found * table.factors[chosen, None]
        matrix[:, low:high] = storage.decode(found) if found.dtype.kind == "V" else found
        if by_columns:
            first, last = low * len(values), high * len(values)
        else:
            first, last = int(rows.min()) * dim, (int(rows.max()) + 1) * dim
        start = table.start
        release_pages(buffer, start + first * values.itemsize, start + last * values.itemsize)


def streamed_batches(
    source: Source,
    options: ReadOptions,
    reading: Reading,
    dtype: np.dtype[Any],
    tokens: Tokens,
    readinto: Callable[[memoryview], int],
) -> Iterator[Batch]:
    """Batches of a matrix that comes row after row, one for each token.

    Parameters
    ----------
    source, options, reading
        As `Format.read` has them.
    dtype : numpy.dtype
        Of the values in the stream.
    tokens : Tokens
        One for each row.
    readinto : callable
        Fills memory with the next bytes; fewer only at the end.
    """
    count, step = options.limited(len(tokens)), row_step(reading.dim)
    for low, high in spans(0, count, step):
        raw = np.empty((high - low, reading.dim), dtype)
        got = readinto(memoryview(raw.reshape(-1).view(np.uint8)))
        if got != raw.nbytes:
            raise FormatError(
                f"the header promises {len(tokens)} rows of {reading.dim} values, received "
                f"{low + got // raw[:1].nbytes}: the file is truncated, get it again",
                path=source.name,
                row=low + got // raw[:1].nbytes,
            )
        chosen = wanted_of(tokens, low, high, options)
        if not len(chosen):
            continue
        matrix = reading.allocate(len(chosen), reading.dim, reading.dtype)
        matrix[:] = raw if len(chosen) == len(raw) else raw[chosen - low]

        def place(row: int, rows: Int64 = chosen) -> Place:
            return {"row": int(rows[row])}

        yield Batch(tokens_of(tokens, chosen), matrix, source.position, place).checked(source.name)
    if count == len(tokens) and readinto(memoryview(bytearray(1))):
        reading.warn(source.name, "there are more bytes behind its rows, which were not read")
