"""What the first lines of a text file say of the others: their width, and if there is a header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from embedfreeze import _kernel

__all__ = [
    "BOM",
    "FLORET",
    "MAC_LINES",
    "NO_TEXT",
    "SAMPLE_LINES",
    "SEVERAL_BLANKS",
    "TextLayout",
    "detect",
    "header_claim",
    "other_separator",
]

BOM = b"\xef\xbb\xbf"
SAMPLE_LINES = 50
# floret's table of buckets: its rows look like those of tokens, and are the buckets' numbers.
FLORET = rb"(?:\d+ ){6}< >\r?\n"
# What packed data, stores and NumPy arrays begin with, and tar archives hold; lines of text may be
# in them.
NO_TEXT = re.compile(
    rb"(?s)\xfd7zXZ\0|\x28\xb5\x2f\xfd|\x1f\x8b|PK\x03\x04|PK\x05\x06|.{4}\0{4}\{|\x93NUMPY|ARROW1\0\0|PAR1|FEA1\0{4}|.{257}ustar|"
    + FLORET
)


@dataclass(frozen=True)
class TextLayout:
    """What the first lines of a text file say.

    Attributes
    ----------
    dim : int
        Numbers after a token.
    start : int
        Byte offset of the first row.
    header : bytes or None
        What stands before the first row, if anything does: the header line.
    declared_rows : int or None
        What it says.
    delimiter : bytes
        What stands between the fields.
    quotes : bool
        May a token stand in quotes?
    """

    dim: int
    start: int
    header: bytes | None
    declared_rows: int | None
    delimiter: bytes = b" "
    quotes: bool = False

    @property
    def first_line(self) -> int:
        """1-based number of the line of the first row."""
        return 1 if self.header is None else self.header.count(b"\n") + 2


def _fields_of(line: bytes) -> list[bytes]:
    """The fields of a line, its end and one space before that taken off."""
    return line.removesuffix(b"\r").removesuffix(b" ").split(b" ")


def _trailing_numbers(line: bytes) -> int:
    """How many fields at the end of a line, the first one apart, are numbers."""
    count = 0
    for field in reversed(_fields_of(line)[1:]):
        if not _kernel.is_number(field):
            break
        count += 1
    return count


def _integers(line: bytes) -> list[int]:
    """What a line is made of that may be a header: one or two integers, else none."""
    fields = _fields_of(line)
    if len(fields) > 2 or not all(field.isdigit() and len(field) < 19 for field in fields):
        return []
    return list(map(int, fields))


def header_claim(line: bytes, rest: list[bytes], dim: int, complete: bool) -> int | None:
    """The rows that a header declares, if the line is one before rows of `dim` numbers."""
    numbers = _integers(line)
    if len(numbers) < 2:
        return numbers[0] if numbers else None
    rows, width = numbers
    if dim == 1:  # "7 1" and "1 7" may be rows as well
        if complete:
            return len(rest) if numbers in ([len(rest), 1], [1, len(rest)]) else None
        return rows if width == 1 else None
    if width == dim:
        return rows
    return width if rows == dim else None


def _claimed_dim(line: bytes, rest: list[bytes], complete: bool) -> int | None:
    """The dim of a header over rows whose tokens all end in numbers, as in "room 101"."""
    numbers = _integers(line)
    if complete and len(numbers) == 2 and numbers[0] == len(rest):
        dim = numbers[1]
        if dim and min(map(_trailing_numbers, rest)) >= dim:
            return dim
    return None


def _as_single_spaces(line: bytes) -> bytes:
    return b" ".join(line.split())


SEVERAL_BLANKS = "tabs or several spaces between the fields"
SEPARATORS: dict[str, Callable[[bytes], bytes]] = {
    SEVERAL_BLANKS: _as_single_spaces,
    "commas between the fields": lambda line: _as_single_spaces(line.replace(b",", b" ")),
    "semicolons between the fields": lambda line: _as_single_spaces(line.replace(b";", b" ")),
    "bars between the fields": lambda line: _as_single_spaces(line.replace(b"|", b" ")),
}
MAC_LINES = "a carriage return alone at the end of a line"


def _has_more_numbers(mended: bytes, line: bytes) -> bool:
    same = mended == b" ".join(_fields_of(line))
    return not same and _trailing_numbers(mended) > _trailing_numbers(line)


def _are_rows(lines: list[bytes]) -> bool:
    return len(lines) > 1 and all(map(_trailing_numbers, lines))


def other_separator(head: bytes) -> str | None:
    """What separates most of the first lines or their fields, if not line feeds and spaces."""
    lines = [line for line in head.split(b"\n", SAMPLE_LINES)[:SAMPLE_LINES] if line.strip()]
    for name, mended in SEPARATORS.items():
        if 2 * sum(_has_more_numbers(mended(line), line) for line in lines) > len(lines):
            return name
    inner = [line.rstrip(b"\r").split(b"\r", SAMPLE_LINES)[:SAMPLE_LINES] for line in lines]
    return MAC_LINES if 2 * sum(map(_are_rows, inner)) > len(lines) else None


@lru_cache(maxsize=1)  # the verbs of both text formats ask, one after the other
def detect(head: bytes, complete: bool) -> TextLayout | None:
    """The layout of a text file, from its first bytes; None if they are no rows of text.

    The width is what most of the first lines agree on, never what one line says.
    """
    if NO_TEXT.match(head):
        return None
    start = len(BOM) if head.startswith(BOM) else 0
    lines = head[start:].split(b"\n", SAMPLE_LINES)
    if len(lines) > SAMPLE_LINES or not complete:
        lines.pop()
        complete = False
    if not lines:
        return None
    first, rest = lines[0], [line for line in lines[1:] if line.removesuffix(b"\r")]
    maybe_header = bool(_integers(first))
    if maybe_header and not rest:
        return None
    widths = Counter(map(_trailing_numbers, rest if maybe_header else [first, *rest]))
    dim = max(widths, key=lambda width: (widths[width], -width))
    if rest and (claimed := _claimed_dim(first, rest, complete)):
        dim = claimed
    if not dim or other_separator(head):
        return None
    declared = header_claim(first, rest, dim, complete) if rest else None
    if declared is None:
        return TextLayout(dim, start, None, None)
    return TextLayout(dim, start + len(first) + 1, first, declared)
