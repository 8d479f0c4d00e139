"""CSV and TSV files that list tokens, with a header row or without."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from embedfreeze.errors import FormatError
from embedfreeze.vocabularies.lines import decode, read_bytes, read_lines
from embedfreeze.vocabularies.listed import COUNTED, Listed

__all__ = ["FIELD", "TOKEN_NAMES", "Columns", "column_of", "read_csv", "read_tsv"]

TOKEN_NAMES = ("token", "tokens", "word", "words", "term", "terms")
ID_NAMES = ("id", "ids", "token_id", "index")
COUNT_NAMES = ("count", "counts", "frequency", "freq")

# One field and what ends it. Quoted, it may hold everything, quotes doubled.
FIELD = re.compile(r'(?:"((?:[^"]++|"")*+)"|([^",\n][^,\n]*|))(,|\r?\n|\Z)')


@dataclass(frozen=True)
class Columns:
    """Which columns hold what, by name or 0-based place, as the caller says; None finds out."""

    token: str | int | None = None
    id: str | int | None = None
    count: str | int | None = None
    header: bool | None = None


@dataclass(frozen=True)
class _Row:
    line: int
    cells: list[str]


def read_csv(path: str, columns: Columns) -> Listed:
    """Comma-separated values (RFC 4180): fields that hold commas, quotes or line ends are quoted.

    Raises
    ------
    FileError
        The file cannot be read.
    FormatError
        It is not UTF-8, a quote has no end, rows differ in length, or columns cannot be told.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError("tokens must be UTF-8", path=path, line=line) from error
    return _listed(_rows(text, path), columns, path)


def read_tsv(path: str, columns: Columns) -> Listed:
    """Tab-separated values: no field holds a tab or a line end, quotes are ordinary characters.

    Raises
    ------
    FileError
        The file cannot be read.
    FormatError
        It is not UTF-8, rows differ in length, or columns cannot be told.
    """
    lines = enumerate(read_lines(path), start=1)
    rows = [_Row(i, decode(line, i, path).split("\t")) for i, line in lines]
    return _listed(rows, columns, path)


def _rows(text: str, path: str) -> list[_Row]:
    rows: list[_Row] = []
    place, line = 0, 1
    cells: list[str] = []
    first_line = line
    while place < len(text) or cells:
        match = FIELD.match(text, place)
        if match is None:
            raise FormatError(
                "a field that begins with a quotation mark must end with one, before a comma or "
                f"the end of the line, received {text[place : place + 40]!r}: double the "
                "quotation marks that belong to the token and quote the field",
                path=path,
                line=line,
            )
        quoted, plain, end = match.groups()
        cells.append(_cell(quoted, plain, end))
        line += match[0].count("\n")
        place = match.end()
        if end != ",":
            rows.append(_Row(first_line, cells))
            cells, first_line = [], line
    return rows


def _cell(quoted: str | None, plain: str, end: str) -> str:
    if quoted is not None:
        return quoted.replace('""', '"')
    return plain if end == "," else plain.removesuffix("\r")


def _listed(rows: list[_Row], columns: Columns, path: str) -> Listed:
    if not rows:
        return Listed("line", [], [])
    width = _width(rows, path)
    header = _has_header(rows[0].cells, columns, path)
    names = rows[0].cells if header else []
    body = rows[1:] if header else rows
    token = _token_column(names, width, columns.token, path)
    return Listed(
        "line",
        [row.cells[token] for row in body],
        [row.line for row in body],
        _numbers(body, column_of(names, width, columns.id, ID_NAMES, path), path),
        _numbers(body, column_of(names, width, columns.count, COUNT_NAMES, path), path),
    )


def _width(rows: list[_Row], path: str) -> int:
    """How many fields the rows have; blank lines at the end are taken away."""
    width = len(rows[0].cells)
    while width > 1 and rows[-1].cells == [""]:  # in a single column it is the empty token
        rows.pop()
    for row in rows:
        if len(row.cells) != width:
            raise FormatError(
                f"rows must have as many fields as the first, {width}, received {len(row.cells)}: "
                "give it as many, or remove the line",
                path=path,
                line=row.line,
            )
    return width


def _has_header(cells: list[str], columns: Columns, path: str) -> bool:
    if columns.header is not None:
        return columns.header
    if any(isinstance(name, str) for name in (columns.token, columns.id, columns.count)):
        return True
    if columns.token is not None or not _known(cells, TOKEN_NAMES):
        return False
    if len(cells) == 1:
        raise FormatError(
            f"the first line may be a header or a token, received {cells[0]!r}: pass header=True "
            "or header=False",
            path=path,
            line=1,
        )
    return not any(cell.isdecimal() for cell in cells)


def _known(cells: Sequence[str], names: Sequence[str]) -> list[int]:
    return [i for i, cell in enumerate(cells) if cell.lower() in names]


def _token_column(names: list[str], width: int, wanted: str | int | None, path: str) -> int:
    found = column_of(names, width, wanted, TOKEN_NAMES, path)
    if found is not None:
        return found
    if width == 1:
        return 0
    raise FormatError(
        f"the column of the tokens must be known, received {width} columns"
        f"{f' named {names}' if names else f', of which none is called {TOKEN_NAMES[0]} or so'}: "
        "name it with column= (a name, or a place from 0), and others with id_column= and "
        f"count_column={COUNTED}",
        path=path,
        line=1,
    )


def column_of(
    names: list[str], width: int, wanted: str | int | None, usual: Sequence[str], path: str
) -> int | None:
    """The place of a column as the caller names it, else of the one with a usual name."""
    if isinstance(wanted, int):
        found = [wanted] if 0 <= wanted < width else []
    elif wanted is not None:
        found = [i for i, name in enumerate(names) if name == wanted]
    else:
        found = _known(names, usual)
        if not found:
            return None
    if len(found) != 1:
        said = f"named {wanted!r}" if wanted is not None else f"with one of the names {usual}"
        raise FormatError(
            f"there must be one column {said}, received {len(found)} among {names or width}",
            path=path,
            line=1,
        )
    return found[0]


def _numbers(rows: list[_Row], column: int | None, path: str) -> list[int] | None:
    if column is None:
        return None
    for row in rows:
        if not re.fullmatch(r"[0-9]{1,18}", row.cells[column]):
            raise FormatError(
                "ids and counts must be integers that are not negative, received "
                f"{row.cells[column]!r}",
                path=path,
                line=row.line,
                column=column + 1,
            )
    return [int(row.cells[column]) for row in rows]
