"""Coverage: which ids of a vocabulary found a row in a file, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.vocabulary import Vocabulary

__all__ = ["Coverage"]

MISSING = -1
SPECIAL = -2


@dataclass(frozen=True, eq=False)
class Coverage:
    """Which ids found a row, in which match stage, by type and by token.

    A type is a different token; where the vocabulary knows how often each occurs in the user's
    texts, coverage by token weighs each type with that.

    Attributes
    ----------
    vocabulary : Vocabulary
        Whose ids were looked up. Special tokens are not.
    match : tuple of str
        The match stages in their order.
    stage_of_id : numpy.ndarray
        int8 [ids]: index into `match`; -1 is missing, -2 a special token.
    special_in_file : tuple of str
        Special tokens that the file has too; their rows in the file were not taken.
    repeated : int
        Rows of the file that repeat a token which had a row before.

    Examples
    --------
    >>> v = Vocabulary(["king", "King", "zzzz"], counts={"king": 5, "King": 2, "zzzz": 1})
    >>> stages = np.array([-2, -2, 0, 1, -1], np.int8)
    >>> print(Coverage(v, ("exact", "lower"), stages))
    stage    types        tokens
    exact        1  33.3%     5  62.5%
    lower        1  33.3%     2  25.0%
    found        2  66.7%     7  87.5%
    missing      1  33.3%     1  12.5%
    most frequent missing: 'zzzz' (1)
    """

    vocabulary: Vocabulary
    match: tuple[str, ...]
    stage_of_id: npt.NDArray[np.int8]
    special_in_file: tuple[str, ...] = ()
    repeated: int = 0

    @cached_property
    def _counts(self) -> npt.NDArray[np.int64] | None:
        counts = self.vocabulary.counts
        if counts is None:
            return None
        return np.array([counts.get(token, 0) for token in self.vocabulary.tokens], np.int64)

    def _number(self, chosen: npt.NDArray[np.bool_], by: str) -> int:
        if by == "type":
            return int(np.count_nonzero(chosen))
        if self._counts is None:
            raise ValueError("coverage by token needs a vocabulary with counts: make it from texts")
        return int(self._counts[chosen].sum())

    def total(self, by: str = "type") -> int:
        """Number of ordinary types, or of tokens with ``by="token"``."""
        return self._number(self.stage_of_id != SPECIAL, by)

    def found(self, stage: str | None = None, *, by: str = "type") -> int:
        """How many types (tokens, with ``by="token"``) found a row, in one stage or in any."""
        chosen = self.stage_of_id >= 0
        if stage is not None:
            chosen = self.stage_of_id == self.match.index(stage)
        return self._number(chosen, by)

    def share(self, *, by: str = "type") -> float:
        """Found types (tokens) as a share of all; 1.0 for an empty vocabulary."""
        total = self.total(by)
        return self.found(by=by) / total if total else 1.0

    @cached_property
    def missing_ids(self) -> npt.NDArray[np.int64]:
        """Ids without a row in the file, rising."""
        return np.flatnonzero(self.stage_of_id == MISSING)

    def missing(self, n: int | None = None) -> list[tuple[str, int | None]]:
        """Tokens without a row and their counts (or None), the most frequent first."""
        ids = self.missing_ids
        if self._counts is not None:
            ids = ids[np.argsort(-self._counts[ids], kind="stable")]
        tokens, counts = self.vocabulary.tokens, self._counts
        return [(tokens[i], None if counts is None else int(counts[i])) for i in ids[:n]]

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        kinds = ["type"] if self._counts is None else ["type", "token"]
        return {
            by: {
                "total": self.total(by),
                "found": self.found(by=by),
                "stages": {stage: self.found(stage, by=by) for stage in self.match},
            }
            for by in kinds
        }

    def __repr__(self) -> str:
        return f"{self.found()} of {self.total()} types found"

    def __str__(self) -> str:
        kinds = ["type"] if self._counts is None else ["type", "token"]
        rows = [(stage, [self.found(stage, by=by) for by in kinds]) for stage in self.match]
        rows.append(("found", [self.found(by=by) for by in kinds]))
        rows.append(("missing", [self.total(by) - self.found(by=by) for by in kinds]))
        return "\n".join([_table(kinds, rows, [self.total(by) for by in kinds]), *self._notes()])

    def _notes(self) -> list[str]:
        notes = []
        if len(self.missing_ids):
            shown = [
                repr(token) + ("" if count is None else f" ({count})")
                for token, count in self.missing(5)
            ]
            first = "missing" if self._counts is None else "most frequent missing"
            notes.append(f"{first}: {', '.join(shown)}")
        if self.special_in_file:
            tokens = ", ".join(map(repr, self.special_in_file))
            notes.append(f"special tokens that the file has too (its rows are not taken): {tokens}")
        return notes


def _table(kinds: Sequence[str], rows: list[tuple[str, list[int]]], totals: list[int]) -> str:
    width = max(5, *(len(str(total)) for total in totals))
    first = max(7, *(len(name) for name, _ in rows))
    lines = [f"{'stage':<{first}}  " + "".join(f"{by + 's':<{width + 8}}" for by in kinds).rstrip()]
    for name, numbers in rows:
        cells = (
            f"{number:>{width}} {number / total if total else 1:>6.1%} "
            for number, total in zip(numbers, totals, strict=True)
        )
        lines.append((f"{name:<{first}}  " + "".join(cells)).rstrip())
    return "\n".join(lines)
