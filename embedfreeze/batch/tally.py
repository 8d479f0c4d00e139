"""A tally: tokens and how often each occurred, in arrays, about 45 bytes a token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.splitters import SplitterLike, all_tokens, byte_table
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens, TokensBuilder, spans_of

__all__ = ["Tally", "TextCounter", "in_order", "items_of"]

PIECE_TOKENS = 1 << 16  # that are cut at a time
COMPARED = 1 << 13  # whose bytes are gathered at a time, which takes about 140 bytes each
WORD = 8  # bytes that are compared at once
WORDS = 32  # that are compared so, before tokens are compared whole
Counts = npt.NDArray[np.int64]


class Tally:
    """Tokens, as UTF-8 in which half a surrogate pair may stand, and how often each occurred."""

    def __init__(self) -> None:
        self._builder = TokensBuilder()
        self._counts = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._builder)

    def add_spans(self, buffer: Any, spans: npt.NDArray[np.int64], counts: Counts | int) -> None:
        """Count tokens at spans (start, length) [n, 2] of a buffer, each so many times."""
        rows = self._builder.number_spans(buffer, spans)
        n = len(self._builder)
        if n > len(self._counts):
            grown = np.zeros(2 * n, dtype=np.int64)  # takes memory where it is written
            grown[: len(self._counts)] = self._counts
            self._counts = grown
        np.add.at(self._counts, rows, counts)

    def add_strings(self, tokens: Iterable[str]) -> None:
        """Count tokens."""
        found = Counter(tokens)
        spelled = [token.encode("utf-8", "surrogatepass") for token in found]
        counts = np.fromiter(found.values(), np.int64, len(found))
        self.add_tokens(Tokens.from_bytes(spelled, "strict"), counts)

    def add_tokens(self, tokens: Tokens, counts: Counts) -> None:
        """Count different tokens, each so many times."""
        self.add_spans(tokens.blob, spans_of(tokens.offsets), counts)

    def taken(self) -> tuple[Tokens, Counts]:
        """The tokens and their counts; the tally is empty again."""
        tokens = self._builder.finish(np.empty(0, np.int64), "strict")
        counts = self._counts[: len(tokens)]
        self.__init__()  # type: ignore[misc]
        return tokens, counts


class TextCounter:
    """Counts the tokens of texts into a tally.

    ASCII is cut by the kernel where it can do as the splitter does; the splitter cuts the rest.
    """

    def __init__(self, splitter: SplitterLike) -> None:
        self._splitter = splitter
        self._table = byte_table(splitter)
        self._spans = np.empty((2, PIECE_TOKENS, 2), dtype=np.int64)

    def count(self, texts: Sequence[str], tally: Tally) -> None:
        """Count the tokens of texts."""
        if self._table is None:
            tally.add_strings(all_tokens(self._splitter, texts))
            return
        text = "\n".join([*texts, ""]).encode("utf-8", "surrogatepass")
        folded = bytearray(len(text))
        spans, odd = self._spans
        at, left = 0, list[bytes]()
        while at < len(text):
            n, n_odd, at = _kernel.cut_tokens(text, at, self._table, folded, spans, odd)
            tally.add_spans(folded, spans[:n], 1)
            left.append(bytes(Tokens.from_spans(text, odd[:n_odd]).blob))
        if pieces := b"".join(left):
            tally.add_strings(self._splitter(pieces.decode("utf-8", "surrogatepass")))


def in_order(tokens: Tokens, counts: Counts) -> npt.NDArray[np.int64]:
    """Rows by falling count, those of equal counts by their bytes, which is by code points."""
    order = np.argsort(-counts, kind="stable")
    first = _first_in_group(counts[order])
    for at in range(0, WORD * WORDS, WORD):
        tied = _in_company(first)
        if not len(tied):
            return order
        groups, rows = first[tied], order[tied]
        words = _words(tokens, rows, at)
        by = np.lexsort((words, groups))
        order[tied] = rows[by]
        first[tied] = tied[_first_in_group(groups, words[by])]
    tied = _in_company(first)
    spelled = map(tokens.bytes_at, order[tied].tolist())
    left = sorted(zip(first[tied].tolist(), spelled, order[tied].tolist(), strict=True))
    order[tied] = [row for _, _, row in left]
    return order


def _first_in_group(*keys: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """For each place the first of its neighbours that have the same keys."""
    begins = np.ones(len(keys[0]), dtype=bool)
    begins[1:] = False
    for key in keys:
        begins[1:] |= key[1:] != key[:-1]
    first: npt.NDArray[np.int64] = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    return first


def _in_company(first: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The places whose group has another one."""
    same = np.zeros(len(first) + 1, dtype=bool)
    same[1:-1] = first[1:] == first[:-1]
    return np.flatnonzero(same[1:] | same[:-1])


def _words(tokens: Tokens, rows: npt.NDArray[np.int64], at: int) -> npt.NDArray[np.uint64]:
    """Bytes from `at` on of tokens as numbers that compare as they do, zeros behind the end."""
    found = np.zeros((len(rows), WORD), dtype=np.uint8)
    blob, starts, stops = np.frombuffer(tokens.blob, np.uint8), tokens.offsets, tokens.offsets[1:]
    for low, high in spans(0, len(rows), COMPARED):
        chosen = rows[low:high]
        place = starts[chosen, None] + np.arange(at, at + WORD)
        inside = place < stops[chosen, None]
        found[low:high][inside] = blob[place[inside]]
    return found.view(">u8")[:, 0]


def strings_of(tokens: Tokens) -> list[str]:
    """Tokens as str."""
    text = str(tokens.blob, "utf-8", "surrogatepass")
    offsets = tokens.offsets
    if len(text) < len(tokens.blob):  # a character may be several bytes
        first = (np.frombuffer(tokens.blob, np.uint8) & 0b1100_0000) != 0b1000_0000
        offsets = np.append(0, np.cumsum(first))[offsets]
    return [text[low:high] for low, high in pairwise(offsets.tolist())]


def items_of(tokens: Tokens, counts: Counts) -> Iterator[tuple[str, int]]:
    """Tokens and their counts."""
    return zip(strings_of(tokens), counts.tolist(), strict=True)
