"""The forms of a file that lists tokens, read without a Python object that stays for each token."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError
from embedfreeze.tokens import Tokens, UnicodeErrors
from embedfreeze.vocabularies.tables import FIELD, TOKEN_NAMES

__all__ = ["Listing", "TokenList", "column_listing", "json_listing", "text_listing"]

BLOCK_BYTES = 16 << 20
BOM = b"\xef\xbb\xbf"
ROW_NAMES = {b"id", b"index", b"row"}
MAP_SIGN, LIST_SIGN = ord("{"), ord("[")
_SPACE = rb"[ \t\r\n]*+"
_STRING = rb'"([^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+)"'
_FIRST = re.compile(_SPACE + rb"([\[{])" + _SPACE + rb"([\]}]?)")
_ITEM = re.compile(_SPACE + _STRING + _SPACE + rb"([,\]])")
_ENTRY = re.compile(
    _SPACE + _STRING + _SPACE + rb":" + _SPACE + rb"(-?[0-9]{1,18})" + _SPACE + rb"([,}])"
)
_END = re.compile(_SPACE + rb"\Z")
_FIELDS = {  # what a field is, unquoted, and what ends it
    "csv": re.compile(FIELD.pattern.encode()),
    "tsv": re.compile(rb"()([^\t\n]*+)(\t|\n|\Z)"),
}


@dataclass(frozen=True, eq=False)
class Listing:
    """Tokens as a file lists them.

    Attributes
    ----------
    tokens : Tokens
        In the order of the file.
    rows : numpy.ndarray or None
        int64 [n]: the row that each token names; None where token i stands for row i.
    named : bool
        The first token may be the name of a column.
    """

    tokens: Tokens
    rows: npt.NDArray[np.int64] | None = None
    named: bool = False


class TokenList:
    """Collects the bytes of tokens one by one."""

    def __init__(self) -> None:
        self._blob = bytearray()
        self._sizes = array("q", [0])

    def __len__(self) -> int:
        return len(self._sizes) - 1

    def add(self, token: bytes) -> None:
        self._blob += token
        self._sizes.append(len(token))

    def finish(self, unicode_errors: UnicodeErrors) -> Tokens:
        offsets = np.cumsum(np.frombuffer(self._sizes, np.int64))
        return Tokens(self._blob, offsets, unicode_errors=unicode_errors)


def _start(data: Any) -> int:
    return len(BOM) if data[: len(BOM)] == BOM else 0


def text_listing(data: Any, unicode_errors: UnicodeErrors) -> Listing:
    r"""One token a line; a line ends at ``\n``, and one ``\r`` before it belongs to its end."""
    start, size = _start(data), len(data)
    found = [np.empty(0, np.int64)]
    for low in range(start, size, BLOCK_BYTES):
        block = np.frombuffer(data, np.uint8, min(BLOCK_BYTES, size - low), low)
        found.append(np.flatnonzero(block == ord("\n")) + low)
    stops = np.concatenate(found)
    if size > start and (not len(stops) or stops[-1] != size - 1):
        stops = np.append(stops, size)
    starts = np.concatenate([[start], stops[:-1] + 1])[: len(stops)]
    lengths = stops - starts
    last = np.frombuffer(data, np.uint8)[stops - 1] if size else np.empty(0, np.uint8)
    lengths -= (last == ord("\r")) & (lengths > 0)
    return Listing(Tokens.from_spans(data, np.stack([starts, lengths], axis=1), unicode_errors))


def json_listing(data: Any, path: str, unicode_errors: UnicodeErrors) -> Listing:
    """A list of strings, or a map of strings to rows.

    Raises
    ------
    FormatError
        The file is anything else.
    """
    first = _FIRST.match(data, _start(data))
    if first is None:
        raise _not_json(data, _start(data), path)
    tokens, rows, at = TokenList(), array("q"), first.end()
    is_map = first[1] == b"{"
    pattern, more = _ENTRY if is_map else _ITEM, not first[2]
    while more:
        match = pattern.match(data, at)
        if match is None:
            raise _not_json(data, at, path)
        tokens.add(_unescaped(match[1], at, path))
        if is_map:
            rows.append(int(match[2]))
        more = match[match.lastindex or 0] == b","
        at = match.end()
    if _END.match(data, at) is None:
        raise _not_json(data, at, path)
    numbers = np.array(rows, np.int64) if is_map else None
    return Listing(tokens.finish(unicode_errors), numbers)


def _not_json(data: Any, at: int, path: str) -> FormatError:
    return FormatError(
        "the JSON of a side file must be a list of tokens, or a map of tokens to rows, received "
        f"{bytes(data[at : at + 40])!r}: name another file with tokens= (--tokens)",
        path=path,
        offset=at,
    )


def _unescaped(inner: bytes, at: int, path: str) -> bytes:
    """The bytes of a string of JSON; half a surrogate pair may stand for a byte, as Python says."""
    if b"\\" not in inner:
        return inner
    try:
        text: str = json.loads(b'"' + inner + b'"')
        return text.encode("utf-8", "surrogateescape")
    except ValueError as error:
        raise FormatError(
            f"a token must be a string of JSON in UTF-8, received {inner[:40]!r} ({error})",
            path=path,
            offset=at,
        ) from error


def column_listing(
    data: Any, form: str, column: str | None, path: str, unicode_errors: UnicodeErrors
) -> Listing:
    """A column of a ``"csv"`` (RFC 4180) or ``"tsv"`` file (nothing is quoted).

    Parameters
    ----------
    data : bytes-like
        The file.
    form : str
        One of the two.
    column : str or None
        Its name in a header row, or its place from 0. Default: the only one, or the only one whose
        name is usual for tokens.
    path : str
        For messages.
    unicode_errors : str
        As for `Tokens`.

    Raises
    ------
    FormatError
        Columns cannot be told apart, rows differ in length, or a quote has no end.
    """
    rows = _records(data, form, path)
    first = next(rows, None)
    if first is None:
        return Listing(TokenList().finish(unicode_errors))
    place, header = _place(first, column, path)
    numbered = _numbered(first) if header else None
    tokens, numbers = TokenList(), array("q")
    if not header:
        tokens.add(first[place])
    for number, cells in enumerate(rows, start=2):
        if len(cells) != len(first):
            raise FormatError(
                f"rows must have as many fields as the first, {len(first)}, received "
                f"{len(cells)} in row {number} of the file: name another file with tokens= "
                f"(--tokens)",
                path=path,
                line=number if form == "tsv" else None,  # a quoted token may hold line feeds
            )
        tokens.add(cells[place])
        if numbered is not None and re.fullmatch(rb"[0-9]{1,18}", cells[numbered]):
            numbers.append(int(cells[numbered]))
    if numbered is not None:
        _refuse_other_order(np.array(numbers, np.int64), len(tokens), first[numbered], path)
    named = not header and _is_usual(first[place])
    return Listing(tokens.finish(unicode_errors), named=named)


def _numbered(names: list[bytes]) -> int | None:
    """The column whose name says that it numbers the rows, if there is one."""
    found = [i for i, name in enumerate(names) if name.strip().lower() in ROW_NAMES]
    return found[0] if len(found) == 1 else None


def _refuse_other_order(numbers: npt.NDArray[np.int64], rows: int, name: bytes, path: str) -> None:
    """Numbers of all rows that are not in order say that the file's order is not the matrix's."""
    places = np.arange(rows)
    if len(numbers) == rows and (np.sort(numbers) == places).all() and (numbers != places).any():
        raise FormatError(
            f"tokens must stand in the order of the rows, received a column {name.decode()!r} that "
            f"numbers them otherwise: sort the file by it, or leave it out",
            path=path,
        )


def _records(data: Any, form: str, path: str) -> Iterator[list[bytes]]:
    """The cells of each row; blank lines at the end are none, unless there is but one column."""
    field, at, size = _FIELDS[form], _start(data), len(data)
    cells: list[bytes] = []
    blank = width = 0
    while at < size or cells:
        match = field.match(data, at)
        if match is None:
            raise FormatError(
                "a field that begins with a quotation mark must end with one, before a comma or "
                f"the end of the line, received {bytes(data[at : at + 40])!r}: double the "
                "quotation marks that belong to the token and quote the field",
                path=path,
                offset=at,
            )
        quoted, plain, end = match.groups()
        cells.append(quoted.replace(b'""', b'"') if quoted else plain or b"")
        at = match.end()
        if end in (b",", b"\t"):
            continue
        cells[-1] = cells[-1] if quoted else cells[-1].removesuffix(b"\r")
        width = width or len(cells)
        if width > 1 and cells == [b""]:
            blank += 1
        else:
            yield from ([b""] for _ in range(blank))
            yield cells
            blank = 0
        cells = []


def _is_usual(name: bytes) -> bool:
    return name.decode("utf-8", "replace").lower() in TOKEN_NAMES


def _place(first: list[bytes], column: str | None, path: str) -> tuple[int, bool]:
    """Which column holds the tokens, and whether the first row is a header for certain."""
    if column is not None:
        if column.isdecimal() and int(column) < len(first):
            return int(column), False
        found = [i for i, name in enumerate(first) if name == column.encode()]
    elif len(first) == 1:
        return 0, False
    else:
        found = [i for i, name in enumerate(first) if _is_usual(name)]
    if len(found) == 1:
        return found[0], True
    shown = ", ".join(repr(name.decode("utf-8", "replace")) for name in first[:8])
    raise FormatError(
        f"the column of the tokens must be known, received {len(first)} columns, the first row "
        f"being {shown}: name it behind the file, by its name or its place from 0, as in "
        f"tokens={path + ':0'!r} (--tokens)",
        path=path,
    )
