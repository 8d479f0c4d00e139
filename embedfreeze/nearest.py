"""The spellings of a file that are one edit away from tokens that it does not have.

An edit inserts, deletes or replaces one character, or swaps two neighbours. Two strings within one
edit are equal, or become so when at most one character of each is deleted; so the hashes of all
such deletions are compared, and what agrees is looked at closely. Source of the idea: deletion
neighbourhoods (Mor and Fraenkel, "A hash code method for detecting and correcting spelling errors",
CACM 25(12), 1982).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens

__all__ = ["NearestSpellings", "within_one_edit"]

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]
BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
INVERSE = pow(BASE, -1, 2**64)
PART = 1 << 16  # tokens at a time: bounds the memory
LONGEST = 1 << 10  # characters; longer tokens have no near spellings


def within_one_edit(a: str, b: str) -> bool:
    """Does at most one insertion, deletion, replacement or swap of neighbours lead from a to b?"""
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[at:] == b[at + 1 :]
    swapped = a[at : at + 2] == b[at : at + 2][::-1] and a[at + 2 :] == b[at + 2 :]
    return a[at + 1 :] == b[at + 1 :] or swapped


@dataclass(frozen=True, eq=False)
class _Hashes:
    """Hashes of tokens and of what remains of them when one character is deleted."""

    values: UInt64
    owners: Int64  # which token each belongs to


def _powers(base: int, n: int) -> UInt64:
    powers = np.full(n, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _hashes(tokens: Sequence[str]) -> _Hashes:
    """A polynomial of the characters modulo 2^64, for the tokens and all their deletions."""
    sizes = np.fromiter(map(len, tokens), np.int64, len(tokens))
    text = "".join(tokens).encode("utf-32-le", "surrogatepass")
    characters = np.frombuffer(text, "<u4").astype(np.uint64) + np.uint64(1)
    ends = np.cumsum(sizes)
    owners = np.repeat(np.arange(len(tokens)), sizes)
    place = np.arange(len(characters)) - (ends - sizes)[owners]
    longest = int(sizes.max(initial=0)) + 1
    terms = characters * _powers(BASE, longest)[place]
    before = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    starts, stops = before[ends - sizes], before[ends]
    prefix = before[:-1] - starts[owners]
    suffix = stops[owners] - before[1:]
    deleted = prefix + suffix * np.uint64(INVERSE)
    return _Hashes(
        np.concatenate([stops - starts, deleted]),
        np.concatenate([np.arange(len(tokens)), owners]),
    )


class NearestSpellings:
    """Finds, for tokens that a file has not, its spellings within one edit.

    Parameters
    ----------
    wanted : sequence of str
        Different tokens.

    Attributes
    ----------
    found : dict of str to list of str
        For each wanted token its near spellings, in file order, at most `most` of them.
    """

    def __init__(self, wanted: Sequence[str], most: int = 3) -> None:
        self._wanted = [token for token in wanted if len(token) <= LONGEST]
        self._most = most
        hashes = _hashes(self._wanted)
        order = np.argsort(hashes.values, kind="stable")
        self._values, self._owners = hashes.values[order], hashes.owners[order]
        self.found: dict[str, list[str]] = {token: [] for token in wanted}

    def add(self, tokens: Tokens) -> None:
        """Look at more tokens of the file."""
        for low, high in spans(0, len(tokens), PART):
            shown = tokens.part(low, high).escaped()
            self._add_part([token for token in shown if len(token) <= LONGEST])

    def _add_part(self, tokens: list[str]) -> None:
        if not len(self._values) or not tokens:
            return
        hashes = _hashes(tokens)
        first = np.searchsorted(self._values, hashes.values, side="left")
        known = self._values[np.minimum(first, len(self._values) - 1)] == hashes.values
        last = np.searchsorted(self._values, hashes.values[known], side="right")
        for row, low, high in sorted(
            zip(hashes.owners[known].tolist(), first[known].tolist(), last.tolist(), strict=True)
        ):
            self._compare(tokens[row], self._owners[low:high].tolist())

    def _compare(self, token: str, owners: Iterable[int]) -> None:
        for owner in owners:
            wanted = self._wanted[owner]
            near = self.found[wanted]
            new = len(near) < self._most and token not in near and token != wanted
            if new and within_one_edit(token, wanted):
                near.append(token)
