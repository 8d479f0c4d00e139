r"""Records that are lines: plain text, JSON lines, and TSV.

A line ends at ``\n``; one ``\r`` before it belongs to its end. A part of a plain file is a range of
bytes, so that several processes read one file.
"""

from __future__ import annotations

import json
import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

from embedfreeze import _kernel
from embedfreeze.batch.tables import TableLayout
from embedfreeze.batch.texts import BadRecords, Columns, Part, Texts, gathered
from embedfreeze.errors import FileError, FormatError, reason
from embedfreeze.files import FileIdentity, open_source
from embedfreeze.threads import spans

__all__ = ["JsonLines", "LinedReader", "TextLines", "TsvLines", "line_parts"]

BLOCK_BYTES = 1 << 20
PART_BYTES = 16 << 20
LONGEST_LINE = 1 << 30
SHOWN, SHOWN_BYTES = 60, 12  # characters of a bad record, bytes that are no characters
Lines = list[str | None]  # None for a line that is not UTF-8
BOM = b"\xef\xbb\xbf"


def line_parts(path: str, size: int, part_bytes: int | None = None) -> list[Part]:
    """Ranges of whole lines of a plain file of so many bytes."""
    most = part_bytes or PART_BYTES
    if size <= most:
        return [Part(path, 0, size, size)] if size else []
    cuts = [0]
    step = -(-size // -(-size // most))  # parts of one size: processes end together
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        while cuts[-1] < size:
            end = mapped.find(b"\n", min(cuts[-1] + step, size) - 1)
            cuts.append(size if end < 0 else end + 1)
    return [Part(path, low, high, high - low) for low, high in pairwise(cuts)]


class LinedReader(ABC):
    """Reads the records of a part, one a line.

    Parameters
    ----------
    part : Part
        Of a file.
    columns : Columns
        Where a record has what.
    bad : BadRecords
        What is done with records that cannot be read.
    """

    header_lines = 0  # of a file
    position = 0  # bytes on the disk that were read

    def __init__(self, part: Part, columns: Columns, bad: BadRecords) -> None:
        self.part, self.columns, self.bad = part, columns, bad

    @abstractmethod
    def records(self, lines: Lines, first: int) -> Texts:
        """The records of lines, of which the first has this number in the part."""

    def __iter__(self) -> Iterator[Texts]:
        read, left = 0, 0 if self.part.start else self.header_lines
        for block in self._blocks():
            lines = self._decoded(block, read)
            yield self.records(lines[left:], read + left)
            read, left = read + len(lines), 0

    def _blocks(self) -> Iterator[bytes]:
        """Whole lines, without the line end of the last one."""
        kept: list[bytes] = []
        size, first = 0, not self.part.start
        for data in self._pieces():
            if first:
                data, first = data.removeprefix(BOM), False
            end = data.rfind(b"\n")
            if end >= 0:
                whole = b"".join([*kept, data[:end]])
                kept, size = [], 0  # before others work on it: a line may be long
                yield whole
            kept.append(data[end + 1 :])
            size += len(kept[-1])
            if size > LONGEST_LINE:
                raise FormatError(
                    f"a line must have at most {LONGEST_LINE} bytes, received more: a corpus has a "
                    f"text on each line",
                    path=self.part.path,
                )
        if size:
            whole = b"".join(kept)
            kept.clear()
            yield whole

    def _pieces(self) -> Iterator[bytes]:
        if self.part.start is None or self.part.stop is None:
            with open_source(self.part.path) as source:
                for block in source.blocks():
                    self.position = source.position
                    yield bytes(block)
            return
        try:
            with open(self.part.path, "rb", buffering=0) as file:
                for low, high in spans(self.part.start, self.part.stop, BLOCK_BYTES):
                    piece = os.pread(file.fileno(), high - low, low)
                    if len(piece) < high - low:
                        raise FileError("was cut while it was read", path=self.part.path)
                    yield piece
        except OSError as error:
            if isinstance(error, FileError):
                raise
            raise FileError(f"cannot be read: {reason(error)}", path=self.part.path) from error

    def _decoded(self, block: bytes, first: int) -> Lines:
        """The lines of a block; None for those that are not UTF-8, which are bad."""
        try:
            lines: Lines = list(block.decode().split("\n"))
        except UnicodeDecodeError:
            lines = [self._line(line, first + i) for i, line in enumerate(block.split(b"\n"))]
        if b"\r" in block:
            lines = [line and line.removesuffix("\r") for line in lines]
        return lines

    def _line(self, line: bytes, i: int) -> str | None:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            found = line[error.start : error.start + SHOWN_BYTES]
            dots = "..." if len(line) > error.start + SHOWN_BYTES else ""
            self.bad.add(f"a record must be UTF-8, received {found!r}{dots}", line=self.number(i))
        return None

    def number(self, i: int) -> int:
        """The number in the file, from 1, of line i of the part."""
        return self._lines_before + i + 1

    @cached_property
    def _lines_before(self) -> int:
        if not self.part.start:
            return 0
        return _lines_before(self.part.path, self.part.start)


_counted: dict[str, tuple[FileIdentity, int, int]] = {}  # lines of a path up to an offset


def _lines_before(path: str, offset: int) -> int:
    """Line feeds of a file before an offset: from where this process counted them last."""
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        identity = FileIdentity.of(file.fileno())
        before, start, lines = _counted.get(path, (identity, 0, 0))
        if before != identity or start > offset:
            start = lines = 0
        stop = min(offset, len(mapped))
        lines += int(_kernel.count_lines(mapped, min(start, stop), stop))
        _counted.clear()
        _counted[path] = identity, stop, lines
    return lines


class TextLines(LinedReader):
    """Each line is a text, empty ones too."""

    def __init__(self, part: Part, columns: Columns, bad: BadRecords) -> None:
        super().__init__(part, columns, bad)
        for what in ("label", "id"):
            if getattr(columns, what) is not None:
                raise FormatError(
                    f"a corpus with a text on each line has no {what}: name its format with "
                    f"format= (--format)",
                    path=part.path,
                )

    def records(self, lines: Lines, first: int) -> Texts:
        return Texts([line for line in lines if line is not None])


class JsonLines(LinedReader):
    """Each line is an object of JSON; blank lines are none."""

    def records(self, lines: Lines, first: int) -> Texts:
        names = [self.columns.text if self.columns.text is not None else "text"]
        names += [name for name in (self.columns.label, self.columns.id) if name is not None]
        found: list[list[Any]] = []
        for i, line in enumerate(lines):
            if line and not line.isspace():
                try:
                    found.append(self.columns.record(_values(line, names)))
                except ValueError as error:
                    self.bad.add(str(error), line=self.number(first + i))
        return gathered(found, self.columns)


def _values(line: str, names: list[str | int]) -> list[Any]:
    """What a record has under some names; `ValueError` for one that is bad."""
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"a record must be JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"a record must be an object of JSON, received {line[:SHOWN]!r}")
    for name in names:
        if name not in record:
            there = ", ".join(map(repr, record))
            raise ValueError(f"a record must have {name!r}, received {there or 'nothing'}")
    return [record[name] for name in names]


class TsvLines(LinedReader):
    """Each line is a row of fields between tabs, which nothing quotes."""

    def __init__(self, part: Part, columns: Columns, bad: BadRecords) -> None:
        super().__init__(part, columns, bad)
        head = _first_line(part.path)
        self.layout = TableLayout.of(head.split("\t"), columns, part.path)
        self.header_lines = int(self.layout.has_header)

    def records(self, lines: Lines, first: int) -> Texts:
        found = []
        for i, line in enumerate(lines):
            if line is not None:
                place = partial(self._place, first + i)
                record = self.layout.record(line.split("\t"), self.bad, place)
                found += [] if record is None else [record]
        return gathered(found, self.columns)

    def _place(self, i: int) -> dict[str, int]:
        return {"line": self.number(i)}


def _first_line(path: str) -> str:
    with open_source(path) as source:
        line = source.head.removeprefix(BOM).split(b"\n")[0]
    return line.decode("utf-8", "replace").removesuffix("\r")
