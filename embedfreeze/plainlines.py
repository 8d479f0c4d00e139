"""Tokens and tables in plain text, as people read them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["plain_table", "shown_token"]


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
