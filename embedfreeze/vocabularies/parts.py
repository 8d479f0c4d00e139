"""What a vocabulary is made of, and the ids of tokens that are listed with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from embedfreeze.errors import VocabularyError
from embedfreeze.splitters import DEFAULT_SPLITTER, SplitterLike
from embedfreeze.vocabularies.arguments import checked_token, integer

__all__ = [
    "Parts",
    "fill_gaps",
    "ids_of_special",
    "in_id_order",
    "new_name",
    "tokens_by_id",
]

# More than any model has; a file that asks for more is damaged, and names would fill the memory.
_MOST_GAPS = 1_000_000


@dataclass(frozen=True, eq=False)
class Parts:
    """The arguments of a `Vocabulary` whose special tokens stand among its tokens."""

    tokens: Sequence[str]
    padding: str | None = None
    unknown: str | None = None
    special: Sequence[str] = ()
    splitter: SplitterLike = DEFAULT_SPLITTER
    counts: Mapping[str, int] | None = None
    unknown_buckets: int = 1
    unknown_salt: Sequence[int] | None = None


def tokens_by_id(ids: Mapping[str, int]) -> dict[int, str]:
    """A map the other way round.

    Raises
    ------
    VocabularyError
        An id is not an integer, negative, or that of two tokens.
    """
    tokens: dict[int, str] = {}
    for token, given in ids.items():
        i = integer(given, "ids", checked_token(token))
        if i < 0:
            raise VocabularyError(f"ids must not be negative, received {i} for the token {token!r}")
        if i in tokens:
            raise VocabularyError(
                f"ids must differ, received {i} for the token {tokens[i]!r} and for {token!r}"
            )
        tokens[i] = token
    return tokens


def ids_of_special(tokens: dict[int, str], special: Iterable[str]) -> None:
    """Give special tokens that have no id the lowest free ones."""
    known, free = set(tokens.values()), 0
    for token in special:
        if token in known:
            continue
        while free in tokens:
            free += 1
        tokens[free] = token
        known.add(token)


def in_id_order(tokens: Mapping[int, str]) -> list[str]:
    """Tokens in the order of their ids.

    Raises
    ------
    VocabularyError
        Ids are missing.
    """
    order = sorted(tokens)
    if order and order[-1] != len(order) - 1:
        gap = next(place for place, i in enumerate(order) if i != place)
        before = f"after {tokens[gap - 1]!r} (id {gap - 1})" if gap else "at the beginning"
        raise VocabularyError(
            f"ids must run from 0 without gaps, received no token for id {gap}, {before} and "
            f"before {tokens[order[gap]]!r} (id {order[gap]}): name special tokens, which fill "
            "gaps, with padding=, unknown= or special="
        )
    return [tokens[i] for i in order]


def fill_gaps(tokens: dict[int, str]) -> list[str]:
    """Give the ids without a token placeholders, which are returned.

    Raises
    ------
    VocabularyError
        There are more gaps than any model has.
    """
    size = max(tokens, default=-1) + 1
    if size - len(tokens) > _MOST_GAPS:
        raise VocabularyError(
            f"ids must run from 0 with at most {_MOST_GAPS} gaps, received {len(tokens)} tokens "
            f"and {tokens[size - 1]!r} with id {size - 1}"
        )
    taken = set(tokens.values())
    found = {i: new_name(f"[GAP:{i}]", taken) for i in range(size) if i not in tokens}
    tokens.update(found)
    return list(found.values())


def new_name(name: str, taken: set[str]) -> str:
    """A name that is not taken, and is from now on."""
    while name in taken:
        name += "'"
    taken.add(name)
    return name
