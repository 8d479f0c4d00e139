"""Vectors of words that a finalfusion file has not, from the rows of their n-grams.

The n-grams of a word are those of ``<word>``, by characters. Their rows are added, from the first
character on and the longest first, and the sum is divided by its norm, as finalfusion does. A row
is found by the FNV-1a hash of 64 bits over the number of characters (uint64) and the characters
(uint32), modulo a power of two; by fastText's hash of 32 bits over the bytes, modulo any number; or
in a list of n-grams. Source: https://finalfusion.github.io/spec.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.formats.finalfusion.arrays import Array
from embedfreeze.formats.finalfusion.chunks import EXPLICIT, FASTTEXT, Bytes, Words
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens

__all__ = ["Subwords"]

CHUNK_WORDS = 1024
FNV64_START, FNV64_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
FNV32_START, FNV32_PRIME = np.uint32(2166136261), np.uint32(16777619)
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


class _Text:
    """Words in brackets, one behind the other: their characters and bytes.

    Attributes
    ----------
    characters : numpy.ndarray
        uint32 [n]: code points.
    data : bytes
        The same in UTF-8.
    starts : numpy.ndarray
        int64 [n + 1]: where each character begins in `data`, and the end.
    word : numpy.ndarray
        int64 [n]: the word that each character is of.
    ends : numpy.ndarray
        int64 [n]: the character behind that word.
    """

    def __init__(self, words: list[str]) -> None:
        text = "".join(words)
        sizes = np.fromiter(map(len, words), np.int64, len(words))
        self.characters = np.frombuffer(text.encode("utf-32-le"), "<u4")
        self.data = text.encode()
        leads = (np.frombuffer(self.data, np.uint8) & 0xC0) != 0x80
        self.starts = np.append(np.flatnonzero(leads), len(self.data))
        self.word = np.repeat(np.arange(len(words)), sizes)
        self.ends = np.repeat(np.cumsum(sizes), sizes)
        self.longest = int(sizes.max(initial=0))

    def ngrams(self, length: int) -> Int64:
        """The first character of each n-gram of a length."""
        firsts = np.arange(len(self.characters))
        return firsts[firsts + length <= self.ends]


def _hashed64(text: _Text, firsts: Int64, length: int, buckets: int) -> Int64:
    """FNV-1a, 64 bits, modulo a power of two."""
    found = np.full(len(firsts), FNV64_START)
    words = [np.full(len(firsts), length, np.uint64)]
    words += [text.characters[firsts + i].astype(np.uint64) for i in range(length)]
    for word, size in zip(words, [8] + length * [4], strict=True):
        for byte in range(size):
            found ^= (word >> np.uint64(8 * byte)) & np.uint64(0xFF)
            found *= FNV64_PRIME
    return (found & np.uint64(buckets - 1)).astype(np.int64)


def _hashed32(text: _Text, firsts: Int64, length: int, buckets: int) -> Int64:
    """fastText's hash: FNV-1a, 32 bits, over bytes that are taken as signed, modulo any number."""
    data = np.frombuffer(text.data, np.int8)
    found = np.full(len(firsts), FNV32_START)
    starts, stops = text.starts[firsts], text.starts[firsts + length]
    for i in range(int((stops - starts).max(initial=0))):
        inside = starts + i < stops
        values = data[starts[inside] + i].astype(np.int32).view(np.uint32)
        found[inside] = (found[inside] ^ values) * FNV32_PRIME
    return (found % np.uint32(buckets)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Ngrams:
    """A list of n-grams and their rows."""

    tokens: Tokens
    rows: Int64

    def find(self, text: _Text, firsts: Int64, length: int, _: int) -> Int64:
        starts = text.starts[firsts]
        places = np.stack([starts, text.starts[firsts + length] - starts], axis=1)
        found = self.tokens.find_spans(text.data, places)
        return np.where(found < 0, -1, self.rows[found])


class Subwords:
    """Vectors of unknown words.

    Parameters
    ----------
    data : Bytes
        The file.
    words : Words
        Its vocabulary, one with n-grams.
    array : Array
        Its rows: those of words, then those of n-grams.
    """

    def __init__(self, data: Bytes, words: Words, array: Array) -> None:
        self._words = words
        self._array = array
        self._find: Callable[[_Text, Int64, int, int], Int64] = _hashed64
        if words.kind == FASTTEXT:
            self._find = _hashed32
        elif words.kind == EXPLICIT and words.ngrams is not None and words.indices is not None:
            ngrams = Tokens.from_spans(data.buffer, words.ngrams, "surrogateescape")
            self._find = _Ngrams(ngrams, words.indices).find

    def __call__(self, tokens: Tokens) -> Float32:
        """Vectors [n, dim]; zeros for a token that has no n-gram with a row."""
        matrix = np.zeros((len(tokens), self._array.dim), np.float32)
        for low, high in spans(0, len(tokens), CHUNK_WORDS):
            words = [_bracketed(tokens.bytes_at(row)) for row in range(low, high)]
            of_word, rows = self._rows(_Text(words))
            cuts = np.searchsorted(of_word, np.arange(high - low + 1))
            for word in np.flatnonzero(np.diff(cuts)).tolist():
                matrix[low + word] = self._sum(rows[cuts[word] : cuts[word + 1]])
        return matrix

    def _rows(self, text: _Text) -> tuple[Int64, Int64]:
        """The rows of all n-grams, in the order in which they are added, behind their words."""
        firsts, sizes, rows = [], [], []
        for length in range(self._words.min_n, min(self._words.max_n, text.longest) + 1):
            first = text.ngrams(length)
            found = self._find(text, first, length, self._words.buckets)
            firsts.append(first[found >= 0])
            rows.append(found[found >= 0])
            sizes.append(np.full(len(rows[-1]), length))
        none = np.zeros(0, np.int64)
        first, size, row = (np.concatenate([none, *parts]) for parts in (firsts, sizes, rows))
        order = np.lexsort((-size, first))
        return text.word[first[order]], row[order] + self._words.count

    def _sum(self, rows: Int64) -> Float32:
        """As finalfusion computes it, to the bit, but that zeros stay zeros."""
        vector: Float32 = np.add.reduce(self._array.together(rows), 0)
        norm: Any = np.linalg.norm(vector)
        return vector / norm if norm else vector


def _bracketed(token: bytes) -> str:
    """A word in brackets; bytes that are not UTF-8 have no characters, so no n-grams."""
    try:
        return f"<{token.decode()}>"
    except UnicodeDecodeError:
        return ""
