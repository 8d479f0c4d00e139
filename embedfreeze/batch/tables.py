"""Records that are rows of a table: CSV, and what TSV has in common with it.

CSV is read as RFC 4180 says, by Python's `csv`: a field in quotation marks may hold line ends, so
that a file cannot be cut into parts.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from threading import Lock
from typing import Any

from embedfreeze.batch.texts import BadRecords, Columns, Part, Texts, gathered
from embedfreeze.errors import FormatError
from embedfreeze.files import Source, open_source
from embedfreeze.vocabularies.tables import column_of

__all__ = ["CsvRows", "TableLayout", "header_like"]

ROWS = 4096  # in a batch
LARGEST_FIELD = 256 << 20  # characters; a quotation mark that nothing closes ends there
BOM = "\ufeff"
NAME, LOOKED_AT = re.compile(r"[^\W\d]\w{0,31}"), 20  # of a column; lines


def header_like(head: bytes, delimiter: str, text: int | str | None) -> str | None:
    """The first row, if it may be one of names: all are short, and the texts below are not.

    Parameters
    ----------
    head : bytes
        How the file begins.
    delimiter : str
        Between fields.
    text : int, str or None
        The place of the texts.
    """
    lines = head.decode("utf-8", "replace").removeprefix(BOM).splitlines()[:LOOKED_AT]
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return None
    place = text if isinstance(text, int) else 0
    if not rows or not all(NAME.fullmatch(cell) for cell in rows[0]):
        return None
    below = [row[place] for row in rows[1:] if place < len(row)]
    several = sum(len(found.split()) > 1 for found in below)
    return ", ".join(map(repr, rows[0])) if below and 2 * several > len(below) else None


def _text_column(names: list[str], width: int, columns: Columns, path: str) -> int:
    """The place of the texts: as the caller names it, that called "text", or the only one."""
    found = column_of(names, width, columns.text, ("text",), path)
    if found is None and width == 1:
        return 0
    if found is None:
        raise FormatError(
            f"the column of the texts must be known, received "
            f"{', '.join(map(repr, names)) or f'{width} columns without names'}: name it with "
            f"column= (--column)",
            path=path,
        )
    return found


@dataclass(frozen=True)
class TableLayout:
    """Which fields of a row are wanted.

    Attributes
    ----------
    width : int
        Fields of a row.
    has_header : bool
        Are the first row names?
    places : tuple of int
        Of the text, then of the label and the id where those are asked for.
    """

    width: int
    has_header: bool
    places: tuple[int, ...]
    columns: Columns

    @classmethod
    def of(cls, first: list[str], columns: Columns, path: str) -> TableLayout:
        """That of a file with this first row."""
        names = first if columns.has_header else []
        places = [_text_column(names, len(first), columns, path)]
        for wanted in (columns.label, columns.id):
            found = None if wanted is None else column_of(names, len(first), wanted, (), path)
            places += [] if found is None else [found]
        return cls(len(first), columns.has_header, tuple(places), columns)

    def record(
        self, row: list[Any], bad: BadRecords, place: Callable[[], dict[str, int]]
    ) -> list[Any] | None:
        """What is wanted of a row; None for one that is bad."""
        try:
            if len(row) != self.width:
                raise ValueError(
                    f"rows must have as many fields as the first, {self.width}, received {len(row)}"
                )
            return self.columns.record([row[place] for place in self.places])
        except ValueError as error:
            bad.add(str(error), **place())
            return None


class _LargeFields:
    """A context in which the limit of Python's `csv`, one for all threads, is a higher one."""

    def __init__(self) -> None:
        self._lock, self._users, self._before = Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._before = csv.field_size_limit(LARGEST_FIELD)
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                csv.field_size_limit(self._before)


_large_fields = _LargeFields()


class CsvRows:
    """Reads the records of a CSV file."""

    position = 0  # bytes on the disk that were read

    def __init__(self, part: Part, columns: Columns, bad: BadRecords) -> None:
        self.part, self.columns, self.bad = part, columns, bad
        self._damaged = False  # has a block bytes that are not UTF-8?

    def __iter__(self) -> Iterator[Texts]:
        with open_source(self.part.path) as source:
            rows = csv.reader(self._lines(source), strict=True)
            batch = self._next(rows, 1)
            if not batch:
                return
            layout = TableLayout.of(batch[0][0], self.columns, self.part.path)
            if layout.has_header:
                batch = self._next(rows, ROWS)
            while batch:
                found = (self._record(row, line, layout) for row, line in batch)
                good = [record for record in found if record is not None]
                yield gathered(good, self.columns)
                batch = self._next(rows, ROWS)

    def _lines(self, source: Source) -> Iterator[str]:
        """The lines with their ends; bytes that are not UTF-8 as surrogates."""
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        rest, at_start = "", True
        for block in chain(map(bytes, source.blocks()), [b""]):
            self.position = source.position
            text = decoder.decode(block, final=not block)
            self._damaged = self._damaged or not _is_whole(text)
            if at_start:
                text, at_start = text.removeprefix(BOM), False
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                yield line + "\n"
        if rest:
            yield rest

    def _next(self, rows: Any, most: int) -> list[tuple[list[str], int]]:
        """The next rows, and the line where each ends; blank lines are none."""
        try:
            with _large_fields:
                return list(islice(((row, rows.line_num) for row in rows if row), most))
        except csv.Error as error:
            raise FormatError(
                f"CSV must be as RFC 4180 says ({error}): mend it, or name another format with "
                f"format= (--format)",
                path=self.part.path,
                line=rows.line_num,
            ) from error

    def _record(self, row: list[str], line: int, layout: TableLayout) -> list[Any] | None:
        if self._damaged and not all(map(_is_whole, row)):
            self.bad.add("a record must be UTF-8, received other bytes", line=line)
            return None
        return layout.record(row, self.bad, lambda: {"line": line})


def _is_whole(text: str) -> bool:
    """Are there no surrogates, which stand for bytes that are not UTF-8?"""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
