"""Checks of the tokens, ids and counts that a caller hands to a vocabulary."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from embedfreeze.errors import VocabularyError

__all__ = [
    "PADDING_NAMES",
    "UNKNOWN_NAMES",
    "check_special",
    "checked_counts",
    "checked_text",
    "checked_token",
    "checked_tokens",
    "integer",
    "refuse_duplicates",
    "several",
    "warn_of_special",
    "warn_of_unnamed",
]

T = TypeVar("T")
# What special tokens are called where nobody says which one does what.
PADDING_NAMES = ("[PAD]", "<pad>", "<PAD>", "<|pad|>")
UNKNOWN_NAMES = ("[UNK]", "<unk>", "<UNK>", "<|unk|>")


def several(given: Iterable[T], what: str) -> Iterable[T]:
    """What is given, but for one str, which would count as so many characters, and for a map.

    Raises
    ------
    TypeError
        It is one str, or a map, whose values would be lost.
    """
    if isinstance(given, Mapping):
        raise TypeError(
            f"{what} must be in the order of their ids, received a map: use "
            "Vocabulary.from_ids({token: id}) or Vocabulary.from_counts({token: count})"
        )
    if isinstance(given, str):
        raise TypeError(f"{what} must be an iterable of str, received one str: put it in a list")
    return given


def checked_tokens(given: Iterable[str], what: str) -> list[str]:
    """Tokens as a list, all of them `str`.

    Raises
    ------
    TypeError
        One str is given in place of several.
    VocabularyError
        One is not a str, as the NaN of an empty cell; its place is named.
    """
    tokens = list(several(given, what))
    kinds = set(map(type, tokens))  # a million tokens are but a few types
    if not all(issubclass(kind, str) for kind in kinds):
        items = enumerate(tokens, start=1)
        place, token = next((i, t) for i, t in items if not isinstance(t, str))
        raise VocabularyError(
            f"{what} must be str, received {token!r} of {type(token).__name__} as item {place}: "
            "leave it out, or write it as a str"
        )
    return tokens


def check_special(special: Sequence[str], tokens: Container[str]) -> None:
    """See that special tokens differ, and are tokens.

    Raises
    ------
    VocabularyError
        They do not.
    """
    for token in special:
        if token not in tokens:
            raise VocabularyError(
                f"with special_first=False the tokens must hold the special tokens, received "
                f"none that is {token!r}: name others with padding=, unknown= and special="
            )
    if len(set(special)) != len(special):
        raise VocabularyError(f"special tokens must differ, received {list(special)}")


def refuse_duplicates(tokens: Sequence[str], n_special: int) -> None:
    """Name both places of a token that stands twice; the first `n_special` are special tokens.

    Raises
    ------
    VocabularyError
        A token stands twice.
    """
    first: dict[str, int] = {}
    for i, token in enumerate(tokens):
        if token not in first:
            first[token] = i
        elif first[token] < n_special:
            blank = "" if token else "; in a file, a blank line is the token ''"
            raise VocabularyError(
                f"the special token {token!r} (id {first[token]}) is also an ordinary "
                f"token (id {i}): rename one with padding=, unknown= or special=, or say that "
                f"special tokens stand in the list: special_first=False (--special-listed){blank}"
            )
        else:
            raise VocabularyError(
                f"tokens must differ, received {token!r} as id {first[token]} and as id {i}"
            )


def checked_token(token: object) -> str:
    """A token, which must be a str."""
    if not isinstance(token, str):
        raise VocabularyError(f"tokens must be str, received {token!r} of {type(token).__name__}")
    return token


def checked_text(text: object) -> str:
    """A text, which must be a str."""
    if not isinstance(text, str):
        raise TypeError(
            f"texts must be str, received {text!r:.60} of {type(text).__name__}: of texts that are "
            "cut already, count the tokens and use Vocabulary.from_counts"
        )
    return text


def integer(value: Any, what: str, token: object) -> int:
    """A number that is a whole one, of Python or NumPy; True and 1.0 are none."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise VocabularyError(f"{what} must be integers, received {value!r} for the token {token!r}")


def checked_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts as `int`.

    Raises
    ------
    VocabularyError
        A token is not a str, or a count is not an integer or negative.
    """
    checked = dict(counts)
    numbers = checked.values()
    usual = set(map(type, checked)) <= {str} and set(map(type, numbers)) <= {int}
    if usual and min(numbers, default=0) >= 0:
        return checked  # without a loop: there may be a million
    for token, given in checked.items():
        count = integer(given, "counts", checked_token(token))
        if count < 0:
            raise VocabularyError(
                f"counts must not be negative, received {count} for the token {token!r}"
            )
        checked[token] = count
    return checked


def warn_of_unnamed(tokens: Sequence[str], options: Mapping[str, Any], path: str) -> None:
    """Warn the caller's caller of tokens, early in a list, that look special but are not."""
    named = options.get("padding", ""), options.get("unknown", "[UNK]")
    special = (*named, *options.get("special", ()))
    looks_special = {*PADDING_NAMES, *UNKNOWN_NAMES}.difference(special)
    found = [token for token in tokens[:10] if token in looks_special]
    if found:
        several = "look like special tokens, and come"
        look = several if len(found) > 1 else "looks like a special token, and comes"
        warnings.warn(
            f"{path}: {', '.join(map(repr, found))} in the list {look} "
            "after those of the vocabulary: name them with padding= and unknown= (--padding, "
            "--unknown)",
            stacklevel=3,
        )


def warn_of_special(counts: Mapping[str, int], special: Iterable[str | None], depth: int) -> None:
    """Warn of special tokens that the texts hold as ordinary ones."""
    found = [t for t in dict.fromkeys(special) if t is not None and counts.get(t)]
    if found:
        shown = ", ".join(f"{token!r} ({counts[token]} times)" for token in found[:5])
        warnings.warn(
            f"the counted texts hold special tokens, {shown}: they get the ids of the special "
            "tokens; where they mean something else, name other special tokens with padding=, "
            "unknown= or special= (--padding, --unknown)",
            stacklevel=depth + 1,
        )
