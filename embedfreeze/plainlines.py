"""Tokens and tables in plain text, as people read them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["plain_table", "shown_token"]


def shown_token(token: str) -> str:
    """A token on one line, with nothing in it that cannot be seen.

    Examples
    --------
    >>> shown_token("king"), shown_token("New York"), shown_token(""), shown_token("a\\tb")
    ('king', 'New York', "''", "'a\\\\tb'")
    """
    return token if token.strip() == token != "" and token.isprintable() else repr(token)


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
