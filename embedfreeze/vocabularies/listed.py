"""The tokens that a file lists, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embedfreeze.errors import VocabularyError

__all__ = ["COUNTED", "Listed"]

COUNTED = "; if these are texts, embedfreeze vocabulary counts their tokens"


@dataclass(frozen=True)
class Listed:
    """Tokens with their places in a file, and ids, counts and settings where it has them.

    Raises
    ------
    VocabularyError
        A token stands at two places.
    """

    unit: str
    tokens: Sequence[str]
    places: Sequence[int]
    ids: Sequence[Any] | None = None
    counts: Sequence[int] | None = None
    settings: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        first: dict[str, int] = {}
        for token, place in zip(self.tokens, self.places, strict=True):
            if (earlier := first.setdefault(token, place)) != place:
                remedy = f"remove one{COUNTED if len(token.split()) > 1 else ''}"
                raise VocabularyError(
                    f"tokens must differ, received {token!r:.60} on {self.unit} {earlier} and on "
                    f"{self.unit} {place}: {remedy}"
                )

    def by_token(self, numbers: Sequence[Any] | None) -> dict[str, Any] | None:
        """Tokens to their ids, or to their counts."""
        return None if numbers is None else dict(zip(self.tokens, numbers, strict=True))
