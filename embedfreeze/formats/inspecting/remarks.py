"""What `inspect` remarks on: a kind for programs, and a sentence for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedfreeze.formats.findings import Place
from embedfreeze.tokens import Tokens

__all__ = ["KINDS", "Collected", "Remark"]

# Stable: programs ask for them. docs/formats/inspect.md says what each means.
KINDS = (
    "bad-rows",
    "bfloat16-values",
    "constant-rows",
    "delimiters-in-tokens",
    "float16-values",
    "header-rows",
    "integer-values",
    "keras-model",
    "lower-case",
    "marker",
    "name",
    "not-finite",
    "numbers-in-tokens",
    "odd-rows",
    "pickle",
    "repeated-tokens",
    "repeated-vectors",
    "special-first",
    "token-byte-order-mark",
    "token-control-character",
    "token-direction-mark",
    "token-empty",
    "token-ideographic-space",
    "token-line-separator",
    "token-long",
    "token-next-line",
    "token-no-break-space",
    "token-not-nfc",
    "token-not-utf8",
    "token-replacement-character",
    "token-space",
    "token-unicode-space",
    "token-zero-width",
    "unit-length",
    "zero-rows",
)
Int64 = npt.NDArray[np.int64]
PLACE_WORDS = {"line": "on line", "offset": "at byte offset", "row": "of row"}


@dataclass(frozen=True)
class Remark:
    """Something to know about a file.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    message : str
        A sentence; it names the first row of the kind, if rows are meant.
    count : int or None
        Rows of this kind.
    token : str or None
        The token of the first of them.
    place : dict
        Where that stands: its ``line`` (1-based), ``offset`` or ``row`` (both 0-based).
    """

    kind: str
    message: str
    count: int | None = None
    token: str | None = None
    place: Place = field(default_factory=dict)


@dataclass(eq=False)
class Collected:
    """Rows of one kind, while they come: their number and the first."""

    count: int = 0
    token: str = ""
    place: Place = field(default_factory=dict)
    first: int = 0  # what else is to be said of the first

    def add(
        self,
        rows: Sequence[int] | Int64,
        tokens: Tokens,
        place: Callable[[int], Place],
        first: int = 0,
    ) -> None:
        """Add rows (rising) of a batch."""
        if len(rows) and not self.count:
            row = int(rows[0])
            self.token = tokens.bytes_at(row).decode("utf-8", "backslashreplace")
            self.place, self.first = dict(place(row)), first
        self.count += len(rows)

    @property
    def where(self) -> str:
        """Where the first stands, in words."""
        (kind, value), *_ = self.place.items()
        return f"{PLACE_WORDS[kind]} {value}"

    @property
    def more(self) -> str:
        """How many there are, where these are several."""
        return f"; {self.count:,} tokens do" if self.count > 1 else ""

    def remark(self, kind: str, message: str) -> Remark:
        """The remark on these rows."""
        return Remark(kind, message, self.count, self.token, self.place)
