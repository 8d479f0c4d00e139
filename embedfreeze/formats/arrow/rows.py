"""Parquet, Arrow and Feather: a column of strings, and one of lists of numbers or one a dimension.

Read through pyarrow, imported when it is needed. Sources: https://parquet.apache.org,
https://arrow.apache.org/docs/format/Columnar.html, and what pandas, polars and Hugging Face's
datasets write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError
from embedfreeze.files import Source, name_of
from embedfreeze.formats.arrow.columns import (
    ArrowColumns,
    chosen_columns,
    row_lengths,
    tokens_of,
    values_of,
)
from embedfreeze.formats.arrow.tables import (
    ARROW_FILE,
    FEATHER_1,
    PARQUET_MAGIC,
    ArrowTable,
    Piece,
    arrow_table,
    is_arrow_stream,
    parquet_table,
    understood,
)
from embedfreeze.formats.arrow.writer import refuse, write_arrow, write_parquet
from embedfreeze.formats.base import Batch, Format, Place, Reading, ReadOptions, Writer
from embedfreeze.formats.side.tokens import side_tokens, tokens_beside
from embedfreeze.tokens import Tokens

__all__ = ["ARROW", "PARQUET"]

BATCH_BYTES = 8 << 20
TOKEN_ROWS = 1 << 16
MOST_RATIO = 1000  # of the values of a file to its size
SMALL_BYTES = 1 << 24
Int64 = npt.NDArray[np.int64]


def _all(low: int, high: int) -> bool:
    return True


@dataclass(frozen=True, eq=False)
class _Chosen:
    """Rows that are read, rising, and their tokens."""

    rows: Int64
    tokens: Tokens

    def needed(self, low: int, high: int) -> bool:
        return bool(np.searchsorted(self.rows, low) < np.searchsorted(self.rows, high))


@dataclass(frozen=True, eq=False)
class _Reader:
    source: Source
    options: ReadOptions
    table: ArrowTable
    columns: ArrowColumns
    reading: Reading

    def refusal(self, first: int) -> Callable[[int, str], FormatError]:
        return lambda row, rule: FormatError(rule, path=self.source.name, row=first + row)

    def tokens(self, piece: Piece) -> Tokens:
        array = piece.rows.column(self.columns.token)
        return tokens_of(array, self.refusal(piece.first), self.options.unicode_errors)

    def chosen(self) -> _Chosen | None:
        """The rows of wanted tokens, from the column of tokens alone; None if all are read."""
        side = self.columns.token is None
        if self.options.wanted is None and not side:
            return None
        if side:
            tokens = self.side_tokens()
            rows = np.arange(self.options.limited(len(tokens)))
            if self.options.wanted is not None:
                rows = rows[self.options.wanted.find(tokens.take(rows)) >= 0]
            return _Chosen(rows, tokens.take(rows))
        return self.wanted_rows()

    def wanted_rows(self) -> _Chosen:
        rows, parts = [np.empty(0, np.int64)], [Tokens.from_bytes([], self.options.unicode_errors)]
        wanted, limit = self.options.wanted, self.options.limit
        for piece in self.table.pieces([str(self.columns.token)], TOKEN_ROWS, _all):
            tokens = self.tokens(piece)
            if limit is not None:
                tokens = tokens.part(0, max(0, min(len(tokens), limit - piece.first)))
            found = np.flatnonzero(wanted.find(tokens) >= 0) if wanted else np.arange(len(tokens))
            rows.append(found + piece.first)
            parts.append(tokens.take(found))
        return _Chosen(np.concatenate(rows), Tokens.joined(parts))

    def side_tokens(self) -> Tokens:
        path = self.options.tokens or tokens_beside(self.source)
        if path is None:
            raise FormatError(
                "a column of strings is needed for the tokens, received none: name a file of "
                "tokens with tokens= (--tokens)",
                path=self.source.name,
            )
        return side_tokens(name_of(path), self.table.rows, self.options)

    def batches(self) -> Iterator[Batch]:
        with understood(self.source, "a column"):
            chosen = self.chosen()
        step = max(1, BATCH_BYTES // (4 * self.reading.dim))
        needed = _all if chosen is None else chosen.needed
        names = [*self.columns.values]
        if chosen is None:
            names.append(str(self.columns.token))
        pieces = self.table.pieces(names, step, needed)
        while True:
            with understood(self.source, "a row"):
                piece = next(pieces, None)
                if piece is None or self.beyond(piece.first):
                    return
                batch = self.batch(piece, chosen)
            if batch is not None:
                yield batch

    def beyond(self, row: int) -> bool:
        return self.options.limit is not None and row >= self.options.limit

    def batch(self, piece: Piece, chosen: _Chosen | None) -> Batch | None:
        """The rows of a piece that are read, if any."""
        last = piece.first + len(piece.rows)
        if chosen is None:
            tokens = self.tokens(piece)
            rows = np.arange(piece.first, self.options.limited(last))
            tokens = tokens.part(0, len(rows))
        else:
            part = slice(*np.searchsorted(chosen.rows, [piece.first, last]).tolist())
            rows, tokens = chosen.rows[part], chosen.tokens.part(part.start, part.stop)
        if not len(rows):
            return None
        values = values_of(piece.rows, self.columns, self.reading.dim, self.refusal(piece.first))
        matrix = self.reading.allocate(len(rows), self.reading.dim, self.reading.dtype)
        with np.errstate(over="ignore"):
            matrix[:] = values[rows - piece.first]

        def place(row: int) -> Place:
            return {"row": int(rows[row])}

        return Batch(tokens, matrix, piece.position, place).checked(self.source.name)


def _dim(source: Source, table: ArrowTable, columns: ArrowColumns) -> int:
    """Values in a row: as the schema says, or as many as the first row has."""
    if columns.dim is not None:
        dim = columns.dim
    else:
        first = next(table.pieces([columns.values[0]], 1, _all), None)
        dim = 0 if first is None else int(row_lengths(first.rows.column(0))[0])
    if dim < 1:
        raise FormatError(f"vectors must have values, received {dim} of them", path=source.name)
    return dim


def _opened(source: Source, options: ReadOptions, table: ArrowTable) -> Reading:
    with understood(source, "the description of its columns"):
        columns = chosen_columns(source, table.schema, options)
        dim, rows = _dim(source, table, columns), table.rows
    size = max(source.size, len(source.head))
    if rows < 0 or 4 * dim * rows > max(MOST_RATIO * size, SMALL_BYTES):
        raise FormatError(
            f"values must take at most {MOST_RATIO} times the size of the file, received {rows} "
            f"rows of {dim} for {size} bytes: the file is damaged, get it again",
            path=source.name,
        )
    reading = Reading(dim, options.rows_dtype, options.limited(rows))
    reading.notes += columns.notes
    if columns.token is not None:
        reading.notes.append(f"tokens in column {columns.token}")
    reading.batches = _Reader(source, options, table, columns, reading).batches()
    return reading


def sniff_parquet(source: Source) -> bool:
    """The signature of Parquet?"""
    return source.head.startswith(PARQUET_MAGIC)


def sniff_arrow(source: Source) -> bool:
    """The signature of an Arrow file, of Feather's first version, or the start of a stream?"""
    return source.head.startswith((ARROW_FILE, FEATHER_1)) or is_arrow_stream(source.head)


def read_parquet(source: Source, options: ReadOptions) -> Reading:
    """Read a Parquet file."""
    return _opened(source, options, parquet_table(source))


def read_arrow(source: Source, options: ReadOptions) -> Reading:
    """Read an Arrow file, stream, or a Feather file of version 2."""
    return _opened(source, options, arrow_table(source))


PARQUET = Format(
    "parquet",
    sniff_parquet,
    read_parquet,
    Writer((".parquet",), write_parquet, refuse, packable=False),
    parts=True,
)
ARROW = Format(
    "arrow",
    sniff_arrow,
    read_arrow,
    Writer((".arrow", ".feather"), write_arrow, refuse, packable=False),
    parts=True,
)
