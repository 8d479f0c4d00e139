"""TableRecord: what a saved model says about its table, in place of the table."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from embedfreeze.errors import FormatError, FrozenError
from embedfreeze.formats.stores.notes import check_settings
from embedfreeze.storage import dim_of

__all__ = ["TableRecord"]

_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class TableRecord:
    """What a saved model says about its table: how to tell it, and where it was.

    Attributes
    ----------
    digest : str
        Of the matrix.
    tokens_digest : str
        Of the tokens; empty for a bare matrix.
    shape, dtype : list of int, str
        As a variable sees it.
    path : str or None
        The store: relative to the folder of the model's file where that is known, else as it was
        spelled when it was read.
    absolute_path : str or None
        The store, where it was when the model was saved.
    padding_id : int or None
        The vocabulary's.
    special : dict or None
        The vocabulary but for its tokens.
    """

    digest: str
    tokens_digest: str
    shape: list[int]
    dtype: str
    path: str | None
    absolute_path: str | None
    padding_id: int | None
    special: dict[str, Any] | None

    @classmethod
    def from_dict(cls, found: object) -> TableRecord:
        """The record that `to_dict` wrote down.

        Raises
        ------
        FormatError
            A field is missing, or of another type.
        """
        if not isinstance(found, Mapping):
            raise FormatError(f"a model must describe its table, received {found!r:.60}: {_REMEDY}")
        for name, fits in _FIELDS.items():
            if name not in found or not fits(found[name]):
                raise FormatError(
                    f"a model must describe its table with a {name}, received "
                    f"{found.get(name)!r:.60}: {_REMEDY}"
                )
        return cls(**{field.name: found[field.name] for field in fields(cls)})

    @property
    def dim(self) -> int:
        """Values in a row."""
        return dim_of(self.dtype, self.shape[1])

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells the table from every other."""
        return self.digest, self.tokens_digest, repr(self.special)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def without_place(self) -> TableRecord:
        """Of a table that the model's own file holds."""
        return replace(self, path=None, absolute_path=None)

    def seen_from(self, folder: str) -> TableRecord:
        """With the store's path relative to a folder, so that both may be moved together."""
        if self.absolute_path is None:
            return self
        # A link in the way would make ".." lead elsewhere; the store itself may be one.
        place, name = os.path.split(self.absolute_path)
        return replace(
            self,
            path=os.path.relpath(
                os.path.join(os.path.realpath(place), name), os.path.realpath(folder)
            ),
        )

    def refuse_others(self, found: Sequence[TableRecord]) -> None:
        """`FrozenError` with the digests if none of those found is the table."""
        same = [record for record in found if record.digest == self.digest]
        if not same:
            given = ", ".join(record.digest for record in found)
            several = "one with the digest" if len(found) == 1 else "others, with the digests"
            raise FrozenError(
                f"the model's table has the digest {self.digest}, received {several} {given}: "
                "give the table that the model was saved with"
            )
        if all(record.tokens_digest != self.tokens_digest for record in same):
            raise FrozenError(
                f"the model's tokens have the digest {self.tokens_digest}, received the same "
                f"matrix with other tokens (digest {same[0].tokens_digest}): give the table that "
                "the model was saved with"
            )


_REMEDY = "the file is damaged, save the model again"


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _are_settings(value: object) -> bool:
    try:
        check_settings(value)
    except ValueError:
        return False
    return True


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "digest": _is_digest,
    "tokens_digest": lambda value: value == "" or _is_digest(value),
    "shape": lambda value: isinstance(value, list) and all(map(_is_count, value)),
    "dtype": lambda value: isinstance(value, str),
    "path": _is_text_or_none,
    "absolute_path": _is_text_or_none,
    "padding_id": lambda value: value is None or _is_count(value),
    "special": lambda value: value is None or _are_settings(value),
}
