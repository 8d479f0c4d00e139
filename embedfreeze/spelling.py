"""Tokens as people are shown them, where a token may hold anything."""

from __future__ import annotations

__all__ = ["shown"]


def shown(token: str, longest: int | None = None) -> str:
    """A token as it is where that can be seen, else its repr; cut to a number of characters.

    Examples
    --------
    >>> shown("king"), shown(""), shown("a\\tb"), shown("\\u202eking"), shown("x" * 9, 4)
    ('king', "''", "'a\\\\tb'", "'\\\\u202eking'", 'xxx…')
    """
    visible = token and token.isprintable() and token.strip() == token
    text = token if visible else repr(token)
    return text if longest is None or len(text) <= longest else text[: longest - 1] + "…"
