"""What is odd about rows that are kept all the same: they are counted, and the first is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.tokens import Tokens

__all__ = [
    "Finding",
    "Place",
    "delimiters_in_tokens",
    "numbers_in_tokens",
    "values_not_finite",
]

Place = dict[str, int]  # keyword arguments of FormatError: line, offset, or row
PLACE_NAMES = {"line": "line", "offset": "byte offset", "row": "row"}
NUMBER_ENDS = np.frombuffer(b"0123456789.nNfFyY", np.uint8)  # of digits, nan, inf, infinity


@dataclass(frozen=True)
class Finding:
    """Odd rows of a batch.

    Attributes
    ----------
    what : str
        What is odd, to stand behind the number of rows.
    count : int
        Rows of this kind.
    token : str
        That of the first of them.
    place : dict
        Where that stands.
    kind : str
        What is odd, as programs ask for it.
    """

    what: str
    count: int
    token: str
    place: Place = field(default_factory=dict)
    kind: str = "odd-rows"

    @classmethod
    def of(
        cls,
        what: str,
        rows: npt.NDArray[np.int64],
        tokens: Tokens,
        place: Callable[[int], Place],
        kind: str = "odd-rows",
    ) -> Finding:
        """The finding that `rows` (at least one, rising) of a batch are."""
        row = int(rows[0])
        shown = tokens.bytes_at(row).decode("utf-8", "backslashreplace")
        return cls(what, len(rows), shown, place(row), kind)

    def __str__(self) -> str:
        (kind, value), *_ = self.place.items()
        first = f"{self.token!r} at {PLACE_NAMES[kind]} {value}"
        return f"{self.count} {self.what}; the first is {first}"


def values_not_finite(
    tokens: Tokens, matrix: npt.NDArray[Any], place: Callable[[int], Place]
) -> tuple[Finding, ...]:
    """Rows [n, dim] with NaN or infinity: a damaged training run leaves them, no reader should."""
    if _are_finite(matrix):
        return ()
    rows = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    what = "rows have values that are not finite (nan or inf), which are kept as they are"
    return (Finding.of(what, rows, tokens, place, "not-finite"),)


def _are_finite(matrix: npt.NDArray[Any]) -> bool:
    if matrix.dtype == np.float32 and matrix.flags.c_contiguous:
        return _kernel.are_finite(matrix)
    return bool(np.isfinite(matrix).all())


def numbers_in_tokens(
    tokens: Tokens, dim: int, place: Callable[[int], Place]
) -> tuple[Finding, ...]:
    """Tokens of a text file that end in a number after a space, as a row that is too long has."""
    stops = tokens.offsets[1:]
    blob = np.frombuffer(tokens.blob, np.uint8)
    spaces = np.flatnonzero(blob == ord(" "))
    if not spaces.size:
        return ()
    rows = np.unique(np.searchsorted(stops, spaces, side="right"))
    rows = rows[np.isin(blob[stops[rows] - 1], NUMBER_ENDS)]
    words = [tokens.bytes_at(row).rpartition(b" ")[2] for row in rows.tolist()]
    rows = rows[np.array(list(map(_kernel.is_number, words)), dtype=bool)]
    if not rows.size:
        return ()
    what = (
        f"tokens end in a number after a space: the last {dim} fields of a line are its vector, so "
        f"these rows may have too many numbers"
    )
    return (Finding.of(what, rows, tokens, place, "numbers-in-tokens"),)


def delimiters_in_tokens(
    tokens: Tokens, delimiter: bytes, dim: int, place: Callable[[int], Place]
) -> tuple[Finding, ...]:
    """Tokens of a delimited file that hold its delimiter and do not begin with a quote."""
    at = np.flatnonzero(np.frombuffer(tokens.blob, np.uint8) == ord(delimiter))
    rows = np.unique(np.searchsorted(tokens.offsets[1:], at, side="right"))
    blob = tokens.blob
    rows = rows[[blob[start] != ord('"') for start in tokens.offsets[rows].tolist()]]
    if not rows.size:
        return ()
    what = (
        f"tokens hold the delimiter {delimiter.decode()!r} and are not quoted: the last {dim} "
        f"fields of a line are its vector, so these rows may have too many fields"
    )
    return (Finding.of(what, rows, tokens, place, "delimiters-in-tokens"),)
