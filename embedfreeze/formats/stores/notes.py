"""The JSON in a store's metadata, which is not trusted: each value is held to its type."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

__all__ = ["check_settings", "coverage_notes", "provenance_notes", "vocabulary_notes"]

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _one_of(*choices: Any) -> Check:
    return lambda value: any(type(value) is type(c) and value == c for c in choices)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _object_of(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


# New rows of a table that is extended go through its transforms: they must be of those there are.
TRANSFORMS = {
    "center": _one_of(True, False),
    "all_but_the_top": _is_count,
    "dim": lambda value: value is None or (_is_count(value) and value > 0),
    "reduce": _one_of("first", "pca"),
    "normalize": _one_of("l2", None),
}
PROVENANCE = {
    "sources": _list_of(_is_text),
    "origins": _list_of(_is_object),
    "transforms": _is_object,
    "steps": _list_of(_is_text),
    "extended": _list_of(_is_object),
    "storage": _list_of(_is_text),
}
COVERAGE = {
    "match": _list_of(_is_text),
    "sources": _list_of(_is_object),
    "nearest": _object_of(_list_of(_is_text)),
}
SOURCE = {
    "source": _or_none(_is_text),
    "special_in_file": _list_of(_is_text),
    "duplicates": _object_of(_is_count),
}
VOCABULARY = {
    "padding": _or_none(_is_text),
    "unknown": _or_none(_is_text),
    "special": _list_of(_is_text),
    "splitter": _or_none(_is_object),
}
BUCKETS = {
    "unknown_buckets": _is_count,
    "unknown_salt": _or_none(_list_of(_is_count)),
}
SPLITTER = {
    "tokenizer": _is_text,
    "lowercase": _one_of(True, False, "ascii"),
    "delete": _or_none(_is_text),
    "separators": _or_none(_is_text),
    "ngrams": _list_of(_is_count),
}


def _hold(notes: Any, checks: dict[str, Check], what: str, *, optional: bool = False) -> None:
    """Refuse notes that have a value of another type, or lack a key that is not optional."""
    if not isinstance(notes, dict):
        raise ValueError(f"{what} must be an object, received {notes!r:.60}")
    for key, check in checks.items():
        if key not in notes and not optional:
            raise ValueError(f"{what} must have {key}")
        if key in notes and not check(notes[key]):
            raise ValueError(f"{key} of {what} cannot be {notes[key]!r:.60}")


def vocabulary_notes(text: str) -> dict[str, Any]:
    """The settings of a vocabulary, as `Vocabulary.from_settings` takes them.

    Raises
    ------
    KeyError, TypeError, ValueError, RecursionError
        It is no JSON, or not that of settings.
    """
    settings: dict[str, Any] = json.loads(text)
    check_settings(settings)
    del settings["padding_id"], settings["unknown_id"]
    return settings


def check_settings(settings: Any) -> None:
    """`ValueError` if they are not those of a vocabulary."""
    _hold(settings, VOCABULARY, "the vocabulary")
    _hold(settings, BUCKETS, "the vocabulary", optional=True)
    _hold(settings["splitter"] or {}, SPLITTER, "the splitter", optional=True)


def coverage_notes(text: str) -> dict[str, Any] | None:
    """The notes of a `CoverageRecord`; ``null`` stands for none.

    Raises
    ------
    TypeError, ValueError, RecursionError
        It is no JSON, or not that of a coverage.
    """
    notes: dict[str, Any] | None = json.loads(text)
    if notes is None:
        return None
    _hold(notes, COVERAGE, "the coverage")
    for source in notes["sources"]:
        _hold(source, SOURCE, "a source")
    return notes


def provenance_notes(text: str) -> dict[str, Any]:
    """How a matrix was made; of what is there the library itself uses some, which is checked.

    Raises
    ------
    TypeError, ValueError, RecursionError
        It is no JSON, or not that of a provenance.
    """
    notes: dict[str, Any] = json.loads(text)
    _hold(notes, PROVENANCE, "the provenance", optional=True)
    if done := notes.get("transforms"):
        if unknown := done.keys() - TRANSFORMS:
            raise ValueError(f"there is no transform {min(unknown)!r}")
        _hold(done, TRANSFORMS, "the transforms")
        if "steps" not in notes or (done["reduce"] == "pca" and done["dim"] is None):
            raise ValueError('transforms need steps, and reduce="pca" a dim')
    return notes
