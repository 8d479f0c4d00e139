"""Tokens, sizes and tables in plain text, as people read them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["bytes_told", "counted", "plain_table", "shown_token"]


def shown_token(token: str, longest: int | None = None) -> str:
    r"""A token on one line, as it is or as Python spells it: no two tokens look the same.

    Where that is longer than `longest` characters, it is cut, and ends in three dots.

    Examples
    --------
    >>> for token in ["New York", "'s", "", "a\tb", "''"]:
    ...     print(shown_token(token))
    New York
    's
    ''
    'a\tb'
    "''"
    """
    quoted = len(token) > 1 and token[0] in "'\"" and token[0] == token[-1]
    as_it_is = token.isprintable() and token.strip() == token != "" and not quoted
    text = token if as_it_is else repr(token)
    return text if longest is None or len(text) <= longest else text[: longest - 1] + "\u2026"


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things, and what one of them or several are called: by default with an s.

    Examples
    --------
    >>> counted(1, "row"), counted(2000, "row"), counted(0, "row was", "rows were")
    ('1 row', '2,000 rows', '0 rows were')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def bytes_told(number: int) -> str:
    """A number of bytes in the unit that suits it.

    Examples
    --------
    >>> bytes_told(999), bytes_told(1_414_800), bytes_told(3_600_000_000)
    ('999 bytes', '1.4 MB', '3.6 GB')
    """
    if number < 1000:
        return f"{number} bytes"
    size, units = number / 1000, ["kB", "MB", "GB", "TB"]
    while size >= 1000 and units[1:]:
        size, units = size / 1000, units[1:]
    return f"{size:,.1f} {units[0]}"


def plain_table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Cells in columns, two blanks between them; behind the first `left` ones to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
