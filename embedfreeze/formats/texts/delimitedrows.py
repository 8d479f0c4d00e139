"""Rows of delimited files that need more care than speed: each field by Python's `csv`.

They have quoted numbers or line feeds, blanks around numbers, decimal commas, or their tokens not
in the first column. The numbers go through the same kernel as those of all text.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter

import numpy as np

from embedfreeze import _kernel
from embedfreeze.errors import FormatError
from embedfreeze.files import Source, release_pages
from embedfreeze.formats.base import Batch, Place, Reading, ReadOptions
from embedfreeze.formats.texts.badrow import NOT_A_NUMBER, BadRow
from embedfreeze.formats.texts.text import LONGEST_LINE, Window
from embedfreeze.tokens import Tokens

__all__ = ["DelimitedColumns", "ExactRows"]

BATCH_BYTES = 4 << 20  # of text in a batch
RELEASE_BYTES = 8 << 20
TAB = b"\t"
BLANKS = " \r\n"
NO_ENDS = bytes.maketrans(b"\t\n\r", b"???")


@dataclass(frozen=True)
class DelimitedColumns:
    """Which columns of a delimited file hold what.

    Attributes
    ----------
    delimiter : bytes
        A space stands for any number of tabs and spaces.
    width : int
        Number of columns.
    token : int
        The column of the tokens.
    values : tuple of int
        Those of the values.
    decimal_comma : bool
        Do the numbers have a comma where others have a point?
    """

    delimiter: bytes
    width: int
    token: int
    values: tuple[int, ...]
    decimal_comma: bool

    @property
    def dim(self) -> int:
        """Values in a row."""
        return len(self.values)


@dataclass(frozen=True)
class _Row:
    """A row: its token, its values as text with tabs between them, its 1-based line."""

    token: bytes
    values: bytes
    line: int
    position: int
    fields: int


class ExactRows:
    """Reads windows of lines field by field."""

    def __init__(self, source: Source, options: ReadOptions, columns: DelimitedColumns) -> None:
        self.source = source
        self.options = options
        self.columns = columns
        self.position = 0
        self.pick = _picker(columns.values)

    def batches(
        self, reading: Reading, windows: Iterator[Window], limit: int | None
    ) -> Iterator[Batch]:
        """All rows of the windows, up to a limit."""
        for rows in self.portions(self.rows(windows), limit):
            if self.options.wanted is not None:
                tokens = Tokens.from_bytes([row.token for row in rows], "surrogateescape")
                found = self.options.wanted.find(tokens).tolist()
                rows = [row for row, at in zip(rows, found, strict=True) if at >= 0]
            if rows:
                yield self.batch(reading, rows)

    def portions(self, rows: Iterable[_Row], limit: int | None) -> Iterator[list[_Row]]:
        portion: list[_Row] = []
        size = 0
        for count, row in enumerate(rows):
            if count == limit:
                break
            portion.append(row)
            size += len(row.values) + len(row.token) + 4 * self.columns.dim
            if size >= BATCH_BYTES:
                yield portion
                portion, size = [], 0
        if portion:
            yield portion

    def lines(self, windows: Iterator[Window]) -> Iterator[bytes]:
        """Lines with their ends, but for blank ones at the very end."""
        for window in windows:
            at = released = window.start
            stop = window.content_end()
            while at < stop:
                end = min(window.line_end(at) + 1, window.stop)
                if end - at > LONGEST_LINE:
                    raise FormatError(
                        f"a line is longer than {LONGEST_LINE} bytes: this is no text of "
                        f"embeddings, get the file again",
                        path=self.source.name,
                        line=window.line_number(at),
                    )
                self.position = end if window.mapped else self.source.position
                yield bytes(window.buffer[at:end])
                if window.mapped and end - released > RELEASE_BYTES:
                    release_pages(window.buffer, released, end)
                    released = end
                at = end

    def rows(self, windows: Iterator[Window]) -> Iterator[_Row]:
        first = next(windows, None)
        if first is None:
            return
        lines = self.lines(chain([first], windows))
        if self.columns.delimiter == b" ":
            for number, line in enumerate(lines, first.first_line):
                yield self.cut_at_blanks(line, number)
            return
        text = (line.decode("latin-1") for line in lines)
        reader = csv.reader(text, delimiter=self.columns.delimiter.decode())
        number = first.first_line
        while (fields := self.next_fields(reader, number)) is not None:
            yield self.row(fields, number)
            number = first.first_line + reader.line_num

    def next_fields(self, reader: Iterator[list[str]], number: int) -> list[str] | None:
        try:
            return next(reader, None)
        except csv.Error as error:
            raise FormatError(
                f"the fields of a row must be quoted as RFC 4180 says ({error}): mend the file",
                path=self.source.name,
                line=number,
            ) from error

    def row(self, fields: list[str], line: int) -> _Row:
        columns = self.columns
        if len(fields) == columns.width + 1 and not fields[-1]:
            fields.pop()
        if len(fields) != columns.width:
            return _Row(b"", b"", line, self.position, len(fields))
        values = _joined(self.pick(fields))
        if columns.decimal_comma:
            values = values.replace(b".", b"?").replace(b",", b".")
        token = fields[columns.token].encode("latin-1")
        return _Row(token, values, line, self.position, len(fields))

    def cut_at_blanks(self, line: bytes, number: int) -> _Row:
        fields = line.rsplit(None, self.columns.dim)
        token = fields[0].strip() if fields else b""
        return _Row(token, TAB.join(fields[1:]), number, self.position, len(fields))

    def batch(self, reading: Reading, rows: list[_Row]) -> Batch:
        """Parse rows, and refuse or leave out the bad ones."""
        dim = self.columns.dim
        text = b"".join(TAB + row.values + b"\n" for row in rows)
        sizes = np.fromiter((len(row.values) + 2 for row in rows), np.int64, len(rows))
        values = np.empty((len(rows), dim), np.float32)
        spans = np.empty((len(rows), 2), np.int64)
        starts = np.cumsum(sizes) - sizes
        bad = []
        if _kernel.parse_rows(text, len(text), TAB[0], dim, starts, values, spans):
            bad = np.flatnonzero(spans[:, 0] < 0).tolist()
        bad = sorted({*bad, *(i for i, row in enumerate(rows) if row.fields != self.columns.width)})
        if bad and self.options.on_bad_row == "error":
            raise self.explain(rows[bad[0]], spans[bad[0]].tolist())
        good = np.delete(np.arange(len(rows)), bad)
        matrix = reading.allocate(len(good), dim, reading.dtype)
        matrix[:] = values[good]
        kept = [rows[i] for i in good.tolist()]
        tokens = Tokens.from_bytes([row.token for row in kept], self.options.unicode_errors)

        def place(row: int) -> Place:
            return {"line": kept[row].line}

        first: Place | None = {"line": rows[bad[0]].line} if bad else None
        batch = Batch(tokens, matrix, rows[-1].position, place, len(bad), first)
        return batch.checked(self.source.name)

    def explain(self, row: _Row, span: list[int]) -> FormatError:
        """What is wrong with a row."""
        if row.fields != self.columns.width and self.columns.delimiter != b" ":
            return FormatError(
                f"a row must be {self.columns.width} fields, received "
                f"{row.fields or 'a blank line'}: mend the file "
                f"(a token that holds the delimiter must stand in quotes), or skip such rows with "
                f'on_bad_row="skip" (--on-bad-row skip)',
                path=self.source.name,
                line=row.line,
            )
        reason, good = -span[0], span[1]
        column = None
        if reason == NOT_A_NUMBER:
            column = self.columns.values[self.columns.dim - 1 - good] + 1
        values = row.values
        if self.columns.decimal_comma:
            values = values.replace(b".", b",").replace(b"?", b".")
        bad = BadRow(row.token + TAB + values, row.line, False, TAB)
        return bad.error(self.source.name, self.columns.dim, reason, good, column)


def _picker(places: tuple[int, ...]) -> Callable[[list[str]], Sequence[str]]:
    """Takes the fields at some places."""
    if places == tuple(range(places[0], places[-1] + 1)):
        return itemgetter(slice(places[0], places[-1] + 1))
    return itemgetter(*places)


def _joined(values: Sequence[str]) -> bytes:
    """Values with tabs between them, without blanks around each; those inside are no number's."""
    text = "\t".join(values)
    text = text.replace("\t ", "\t").removeprefix(" ")
    if text.count("\t") >= len(values) or any(blank in text for blank in BLANKS):
        fields = (value.encode("latin-1").strip().translate(NO_ENDS) for value in values)
        return TAB.join(fields)
    return text.encode("latin-1")
