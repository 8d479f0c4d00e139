"""What the first rows of a delimited file say of the others: delimiter, header row, columns."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from embedfreeze import _kernel
from embedfreeze.formats.texts.layout import (
    BOM,
    NO_TEXT,
    SAMPLE_LINES,
    SEVERAL_BLANKS,
    header_claim,
    other_separator,
)

__all__ = [
    "BLANKS",
    "ROW_NUMBERS",
    "TOKEN_NAMES",
    "DelimitedSample",
    "is_decimal_comma",
    "sample_of",
]

BLANKS = b" "  # stands for any number of tabs and spaces
DELIMITERS = (b"\t", b",", b";", b"|")
TOKEN_NAMES = frozenset(
    b"token tokens word words term terms key label name text string entity".split()
)
DECIMAL_COMMA = re.compile(rb"[+-]?\d*,\d+(?:[eE][+-]?\d+)?|[+-]?\d+(?:[eE][+-]?\d+)?")
MIXED = re.compile(rb"(?s).*(?:[\t ,;|][+-]?\d*\.\d+(?:[eE][+-]?\d+)?|\t[+-]?\d+)")
BRACKET = re.compile(rb"(?s).*[\[(]\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
FEW = 10  # a row of fewer values may count up by chance
SEVERAL = 3  # where more than the values speaks for a header row
ROW_NUMBERS = (b"", b"index", b"id", b"unnamed: 0")
Fields = list[bytes]
Number = Callable[[bytes], bool]


@dataclass(frozen=True)
class DelimitedSample:
    """The first rows of a delimited file.

    Attributes
    ----------
    delimiter : bytes
        What stands between fields; a space for any number of tabs and spaces.
    start : int
        Byte offset of the first row.
    lines : int
        Lines before the first row.
    names : tuple of bytes
        Names of the columns, if there is a header row.
    declared_rows : int or None
        What a header line like word2vec's says.
    rows : tuple of lists of bytes
        Rows that have as many fields as most.
    is_number : tuple of bool
        Which columns hold numbers.
    decimal_comma : bool
        Do the numbers have a comma where others have a point?
    bare_numbers : bool
        Are the fields behind the first numbers as they stand, without quotes and blanks?
    """

    delimiter: bytes
    start: int
    lines: int
    names: tuple[bytes, ...]
    declared_rows: int | None
    rows: tuple[Fields, ...]
    is_number: tuple[bool, ...]
    decimal_comma: bool
    bare_numbers: bool

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.is_number)

    @property
    def numbers(self) -> int:
        """Number of columns of numbers."""
        return sum(self.is_number)

    @property
    def texts(self) -> list[int]:
        """The columns that hold something else than numbers."""
        return [column for column, number in enumerate(self.is_number) if not number]

    @property
    def bare(self) -> bool:
        """Are there but values, and no column of tokens?"""
        if self.texts or self.names:
            return False
        first = [row[0] for row in self.rows]
        return all(map(_is_fraction, first)) or len(set(first)) < len(first)

    @property
    def counts(self) -> bool:
        """Is it a table of words with numbers or counts of theirs, and not of vectors?"""
        used = [c for c, number in enumerate(self.is_number) if number and c != self.token]
        if self.token is None or not all(
            row[column].strip().isdigit() for row in self.rows for column in used
        ):
            return False
        if len(used) == 1:
            return not self.names or self.names[-1] not in (b"d0", b"0")
        return len(used) == 2 and self.token != 0 and not self.names

    @property
    def token(self) -> int | None:
        """The column of the tokens, if there is but one that can be."""
        texts = self.texts
        if not texts:
            return _name_of_tokens(self.names) or 0
        return texts[0] if len(texts) == 1 else _name_of_tokens(self.names, texts)


def _name_of_tokens(names: tuple[bytes, ...], among: list[int] | None = None) -> int | None:
    found = [column for column, name in enumerate(names) if name.lower() in TOKEN_NAMES]
    found = [column for column in found if among is None or column in among]
    return found[0] if len(found) == 1 else None


def _is_fraction(field: bytes) -> bool:
    return b"." in field and _kernel.is_number(field.strip())


def is_decimal_comma(field: bytes) -> bool:
    """Is a field a number with a comma where others have a point?"""
    return DECIMAL_COMMA.fullmatch(field.strip()) is not None


def _is_number(field: bytes) -> bool:
    return bool(_kernel.is_number(field.strip()))


@dataclass(frozen=True)
class _Lines:
    """Rows as one delimiter cuts them, and the line that each begins on."""

    rows: list[Fields]
    lines: list[int]


def _cut(lines: list[bytes], delimiter: bytes, complete: bool) -> _Lines:
    """Whole rows of the first lines."""
    if delimiter == BLANKS:
        return _Lines([line.split() for line in lines], list(range(len(lines))))
    reader = csv.reader((line.decode("latin-1") for line in lines), delimiter=delimiter.decode())
    cut, at = _Lines([], []), 0
    try:
        for fields in reader:
            cut.rows.append([field.encode("latin-1") for field in fields])
            cut.lines.append(at)
            at = reader.line_num
    except csv.Error:
        pass  # what came before says enough, or nothing
    if not complete and len(cut.rows) > 1 and cut.lines[-1] + 1 < at:  # its end may be missing
        cut.rows.pop()
    return cut


def _columns(rows: list[Fields], number: Number) -> tuple[bool, ...]:
    """Which columns are numbers in most rows."""
    return tuple(2 * sum(map(number, column)) >= len(rows) for column in zip(*rows, strict=True))


def _is_any_number(field: bytes) -> bool:
    return _is_number(field) or is_decimal_comma(field)


def _is_header(first: Fields, columns: tuple[bool, ...]) -> bool:
    """Do the fields of the first row name columns of which some are numbers?"""
    number = _is_any_number
    if len(first) == len(columns) - 1:  # R names no column for the names of the rows
        return not any(map(number, first))
    if len(first) != len(columns):
        return False
    over = [field for field, is_number in zip(first, columns, strict=True) if is_number]
    if 2 * sum(map(number, over)) < len(over):
        return True
    texts = [field for field, is_number in zip(first, columns, strict=True) if not is_number]
    named = [field.lower() in (*TOKEN_NAMES, *ROW_NUMBERS) for field in (first[0], *texts)]
    numbered = not number(first[0]) or not texts  # what stands first may number the rows
    behind = over[1:] if columns[0] and numbered else over
    numbers = [field for field in behind if number(field)]
    ordered = numbers if len(numbers) < FEW else sorted(numbers, key=lambda f: (len(f), f))
    counted = any(ordered == _from(low, len(numbers)) for low in (0, 1))
    if not counted or (len(numbers) < SEVERAL and numbers != behind):
        return False
    if any(named):
        return True
    if len(numbers) >= SEVERAL and first == _from(0, len(first)) and not columns[0]:
        return True  # pandas numbers the columns of a frame without names
    return numbers == behind and len(behind) >= FEW and bool(texts)


def _from(low: int, count: int) -> Fields:
    return [b"%d" % (low + i) for i in range(count)]


def _blank_rows(rows: list[Fields], sample: list[Fields]) -> list[Fields]:
    """Rows cut at every blank, as tokens with blanks in them and the numbers at the end."""
    counts = Counter(map(_numbers_behind, sample))
    dim = max(counts, key=lambda n: (counts[n], n), default=0)
    return [[b" ".join(row[:-dim]), *row[-dim:]] for row in rows if dim and len(row) > dim]


def _numbers_behind(row: Fields) -> int:
    count = 0
    while count < len(row) - 1 and _is_number(row[-1 - count]):
        count += 1
    return count


def _described(
    lines: list[bytes], start: int, delimiter: bytes, complete: bool
) -> DelimitedSample | None:
    """The sample if a delimiter is the right one; None where it cuts no numbers out."""
    cut = _cut(lines, delimiter, complete)
    filled = _without_empty_ends([row for row in cut.rows if row])
    rest = filled[1:] or filled
    body = _blank_rows(rest, filled) if delimiter == BLANKS else rest
    body = _of_usual_width(body, body if delimiter == BLANKS else filled)
    if 2 * len(body) < len(rest) or not body:
        return None
    columns, comma = _columns(body, _is_number), _columns(body, is_decimal_comma)
    decimal_comma = delimiter in (b";", b"\t") and sum(comma) > sum(columns)
    columns = comma if decimal_comma else columns
    width = len(columns)
    if width < 2 or not any(columns) or _is_mixed(body, columns):
        return None
    first, declared = filled[0], None
    if len(filled) > 1:
        dim = width - 1 if all(columns) else sum(columns)
        declared = _declared(first, rest, width, dim, complete)
    header = declared is not None or (len(filled) > 1 and _is_header(first, columns))
    skipped = cut.lines[len(cut.rows) - len(_from_second(cut.rows))] if header else 0
    names = tuple([b""] * (width - len(first)) + first) if header and declared is None else ()
    return DelimitedSample(
        delimiter=delimiter,
        start=start + sum(map(len, lines[:skipped])),
        lines=skipped,
        names=names,
        declared_rows=declared,
        rows=tuple(body if header or len(first) != width else [first, *body]),
        is_number=columns,
        decimal_comma=decimal_comma,
        bare_numbers=_are_bare(lines[skipped:], delimiter, width - 1),
    )


def _from_second(rows: list[Fields]) -> list[Fields]:
    """The rows from the second one on that has fields."""
    filled = [at for at, row in enumerate(rows) if row]
    return rows[filled[1] :]


def _without_empty_ends(rows: list[Fields]) -> list[Fields]:
    """The rows without the empty field that a delimiter at their ends makes."""
    ends = sum(len(row) > 2 and not row[-1] for row in rows)
    return rows if 2 * ends <= len(rows) else [r if r[-1] else r[:-1] for r in rows]


def _of_usual_width(rows: list[Fields], sample: list[Fields]) -> list[Fields]:
    widths = Counter(map(len, sample))
    width = max(widths, key=lambda n: (widths[n], n), default=0)
    return [row for row in rows if len(row) == width]


def _are_bare(lines: list[bytes], delimiter: bytes, dim: int) -> bool:
    """Do most lines end in numbers without quotes and blanks?"""
    ends = [
        line.rstrip(b"\r\n").removesuffix(delimiter).rsplit(delimiter, dim)[1:] for line in lines
    ]
    return 2 * sum(len(end) == dim and all(map(_kernel.is_number, end)) for end in ends) > len(ends)


def _declared(
    first: Fields, rest: list[Fields], width: int, dim: int, complete: bool
) -> int | None:
    """The rows that a first line of one or two numbers claims."""
    if len(first) > 2 or (len(first) == width and dim > 1):
        return None
    return header_claim(b" ".join(first), [b" ".join(row) for row in rest], dim, complete)


def _is_mixed(rows: list[Fields], columns: tuple[bool, ...]) -> bool:
    """Does a number end a column of text, behind another delimiter or a bracket, in most rows?"""
    texts = [column for column, is_number in enumerate(columns) if not is_number]
    return (not columns[0] and _most(MIXED, rows, 0)) or any(
        _most(BRACKET, rows, column) for column in texts
    )


def _most(pattern: re.Pattern[bytes], rows: list[Fields], column: int) -> bool:
    return 2 * sum(pattern.fullmatch(row[column]) is not None for row in rows) > len(rows)


@lru_cache(maxsize=1)  # several formats ask, one after the other
def sample_of(head: bytes, complete: bool) -> DelimitedSample | None:
    """The first rows of a delimited file, from its first bytes; None if it is none."""
    if NO_TEXT.match(head):
        return None
    start = len(BOM) if head.startswith(BOM) else 0
    lines = head[start:].split(b"\n", SAMPLE_LINES + 1)
    if len(lines) > SAMPLE_LINES + 1 or not complete:
        lines.pop()
        complete = False
    lines = [line + b"\n" for line in lines]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        return None
    several = other_separator(head) == SEVERAL_BLANKS  # single spaces are GloVe's
    found = [
        sample
        for delimiter in (*DELIMITERS, BLANKS)
        if (several if delimiter == BLANKS else any(delimiter in line for line in lines[:2]))
        if (sample := _described(lines, start, delimiter, complete))
    ]
    return max(found, key=lambda sample: sample.numbers, default=None)
