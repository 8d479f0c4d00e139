"""The layout of a fastText model: arguments, a dictionary, and a matrix of words and n-grams.

All numbers are little-endian. Source: the code that writes and reads them, ``args.cc``,
``dictionary.cc``, ``densematrix.cc``, ``quantmatrix.cc`` and ``productquantizer.cc`` of
https://github.com/facebookresearch/fastText. Before version 11 a model had neither the magic number
and the version, nor pruned n-grams, nor the marks of quantised matrices.
"""

from __future__ import annotations

import mmap
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.errors import FormatError

__all__ = ["Arguments", "Cursor", "Dictionary", "Matrix", "arguments_of", "known_start"]

MAGIC = (793712314).to_bytes(4, "little")
VERSION = 12
SUPERVISED = 3
LONGEST_NGRAM = 1 << 10  # characters; it bounds the work for a token
TAIL = struct.Struct("<qb")  # of an entry: count and type
PORTION = 1 << 16  # entries that are walked at a time
CENTROIDS = 256
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


class Cursor:
    """Goes through a buffer, whose end is an error that names the place."""

    def __init__(self, buffer: mmap.mmap, path: str, at: int = 0) -> None:
        self.buffer, self.path, self.at = buffer, path, at

    @property
    def left(self) -> int:
        return len(self.buffer) - self.at

    def take(self, layout: str) -> tuple[Any, ...]:
        """The next numbers, little-endian."""
        values = struct.Struct("<" + layout)
        start = self.skip(values.size, "its next numbers")
        return values.unpack_from(self.buffer, start)

    def skip(self, size: int, what: str) -> int:
        """Where so many bytes begin, which must be there."""
        if not 0 <= size <= self.left:
            raise self.error(
                f"{what} take {size} bytes, received {self.left}: the file is truncated or "
                f"damaged, get it again"
            )
        self.at += size
        return self.at - size

    def array(self, dtype: str, count: int, what: str) -> npt.NDArray[Any]:
        """A copy of the next values."""
        start = self.skip(count * np.dtype(dtype).itemsize, what)
        return np.frombuffer(self.buffer[start : self.at], dtype)

    def error(self, message: str) -> FormatError:
        return FormatError(message, path=self.path, offset=self.at)


@dataclass(frozen=True)
class Arguments:
    """What a model was trained with, as far as its vectors need it.

    Attributes
    ----------
    version : int
        0 for the older layout.
    dim : int
        Values in a row.
    supervised : bool
        Is it a classifier?
    buckets : int
        Rows that n-grams share; 0 where there are none.
    minn, maxn : int
        Characters of an n-gram.
    """

    version: int
    dim: int
    supervised: bool
    buckets: int
    minn: int
    maxn: int

    @property
    def has_ngrams(self) -> bool:
        return self.buckets > 0 and self.maxn >= max(self.minn, 1)


def known_start(head: bytes) -> bool:
    """The magic number, or what an older model has in its first numbers?"""
    if head.startswith(MAGIC):
        return True
    if len(head) < 76:
        return False
    dim, window, epoch, least, negative, ngrams, loss, model, buckets, minn, maxn, rate = (
        struct.unpack_from("<12i", head)
    )
    sample, size, words, labels, tokens = struct.unpack_from("<d3iq", head, 48)
    small = 0 < dim < 1 << 16 and all(0 <= n < 1 << 16 for n in (window, epoch, least, negative))
    kinds = 1 <= loss <= 4 and 1 <= model <= 3 and 0 <= ngrams < 1 << 10 and rate >= 0
    lengths = buckets >= 0 and 0 <= minn <= LONGEST_NGRAM and 0 <= maxn <= LONGEST_NGRAM
    counts = words > 0 and labels >= 0 and words + labels == size and tokens >= 0
    return small and kinds and lengths and counts and 0 <= sample <= 1


def arguments_of(cursor: Cursor) -> Arguments:
    """Read the first part of a model."""
    version = 0
    if cursor.buffer[: len(MAGIC)] == MAGIC:
        cursor.skip(len(MAGIC), "the magic number")
        (version,) = cursor.take("i")
        if not 0 < version <= VERSION:
            raise cursor.error(
                f"the version of a fastText model must be 1 to {VERSION}, received {version}: "
                f"a newer embedfreeze may read it"
            )
    elif not known_start(cursor.buffer[:128]):
        raise cursor.error(
            f"a fastText model must begin with the number {int.from_bytes(MAGIC, 'little')} or, if "
            f"it is old, with its arguments, received {cursor.buffer[:8]!r}: leave format= "
            f"(--from) out to have the format recognised"
        )
    dim, *_, model, buckets, minn, maxn, _, sample = cursor.take("12id")
    if 0 < sample < sys.float_info.min:
        raise cursor.error(
            "the model must be fastText's own, received one with two numbers more, as floret "
            "writes it: save its vectors with save_vectors() or, for n-grams, "
            "save_floret_vectors(), and make a spaCy folder of these"
        )
    if dim < 1 or buckets < 0 or not 0 <= minn <= LONGEST_NGRAM or not maxn <= LONGEST_NGRAM:
        raise cursor.error(
            f"a model must have a dim above 0, buckets from 0 on and n-grams of at most "
            f"{LONGEST_NGRAM} characters, received dim {dim}, {buckets} buckets and n-grams of "
            f"{minn} to {maxn}: the file is damaged, get it again"
        )
    if version < VERSION and model == SUPERVISED:  # those had no n-grams, whatever they say
        maxn = 0
    return Arguments(version, dim, model == SUPERVISED, buckets, minn, maxn)


@dataclass(frozen=True, eq=False)
class Dictionary:
    """The words of a model, in the order of their rows; labels stand behind them.

    Attributes
    ----------
    words, labels : int
        How many.
    portions : tuple of int
        Where every `PORTION`-th word begins, and then of the labels.
    kept, places : numpy.ndarray or None
        int32: of a pruned model the buckets that have a row, rising, and the row of each behind
        those of the words.
    """

    words: int
    labels: int
    portions: tuple[int, ...]
    kept: Int32 | None
    places: Int32 | None

    @classmethod
    def read(cls, cursor: Cursor, arguments: Arguments) -> Dictionary:
        size, words, labels, _ = cursor.take("3iq")
        (pruned,) = cursor.take("q") if arguments.version else (-1,)
        if words < 1 or labels < 0 or words + labels != size or size > cursor.left // 10:
            raise cursor.error(
                f"the dictionary must hold words and labels in at least 10 bytes each, received "
                f"{size} entries, {words} words and {labels} labels before {cursor.left} bytes: "
                f"the file is truncated or damaged, get it again"
            )
        portions = (*_walked(cursor, words, 0), *_walked(cursor, labels, 1))
        kept = places = None
        if pruned >= 0:
            pairs = cursor.array("<i4", 2 * pruned, "the pairs of pruned n-grams")
            kept, places = _pruned(pairs.reshape(-1, 2))
        return cls(words, labels, portions, kept, places)

    def spans(self, buffer: mmap.mmap, limit: int) -> Iterator[Int64]:
        """Spans (start, length) [n, 2] of the words, some at a time."""
        for low, start in zip(range(0, limit, PORTION), self.portions, strict=False):
            found = np.empty((min(PORTION, limit - low), 2), np.int64)
            count, _ = _kernel.find_entries(buffer, start, TAIL.size, found)
            yield found[:count]


def _walked(cursor: Cursor, entries: int, kind: int) -> Iterator[int]:
    """Where each portion of entries begins, while all of them are checked."""
    for low in range(0, entries, PORTION):
        yield cursor.at
        found = np.empty((min(PORTION, entries - low), 2), np.int64)
        count, end = _kernel.find_entries(cursor.buffer, cursor.at, TAIL.size, found)
        if count < len(found):
            cursor.at = end
            raise cursor.error(
                f"the dictionary must hold {entries} {('words', 'labels')[kind]}, each ended by "
                f"a NUL byte, received {low + count}: the file is truncated or damaged, get it "
                f"again"
            )
        # The type is the last byte of an entry, one before the next.
        kinds = np.frombuffer(cursor.buffer, np.uint8)[found.sum(axis=1) + TAIL.size]
        if (kinds != kind).any():
            row = int(np.argmax(kinds != kind))
            cursor.at = int(found[row, 0])
            raise cursor.error(
                f"words must stand before labels in the dictionary, received type {kinds[row]} "
                f"for entry {low + row} of the {('words', 'labels')[kind]}: the file is damaged, "
                f"get it again"
            )
        cursor.at = end


def _pruned(pairs: Int32) -> tuple[Int32, Int32]:
    """Kept buckets, rising, and their rows; of pairs with one bucket the last counts."""
    kept, first = np.unique(pairs[::-1, 0], return_index=True)
    return kept, np.ascontiguousarray(pairs[::-1, 1][first])


@dataclass(frozen=True, eq=False)
class Matrix:
    """Where the rows of a matrix stand, or what its codes mean.

    Attributes
    ----------
    rows, dim : int
        Its shape.
    offset : int
        Where its float32 values begin; of quantised rows 0.
    codes : int
        Where the codes begin, or -1.
    step : int
        Values of a part of a row that has one code.
    centroids : numpy.ndarray or None
        float32: of each part `CENTROIDS` times its values.
    norms : numpy.ndarray or None
        float32 [rows], by which quantised rows are multiplied.
    """

    rows: int
    dim: int
    offset: int = 0
    codes: int = -1
    step: int = 0
    centroids: npt.NDArray[np.float32] | None = None
    norms: npt.NDArray[np.float32] | None = None

    @classmethod
    def read(cls, cursor: Cursor, *, quantised: bool) -> Matrix:
        if quantised:
            return cls._of_codes(cursor)
        rows, dim = _shape(cursor)
        return cls(rows, dim, cursor.skip(4 * rows * dim, f"{rows} rows of {dim} values"))

    @classmethod
    def _of_codes(cls, cursor: Cursor) -> Matrix:
        (has_norms,) = cursor.take("B")
        rows, dim = _shape(cursor)
        (size,) = cursor.take("i")
        codes = cursor.skip(size, "the codes of its rows")
        parts, step, centroids = _quantizer(cursor, dim)
        if size != rows * parts:
            raise cursor.error(
                f"{rows} rows of {parts} parts must have a code each, received {size}: the file "
                f"is damaged, get it again"
            )
        norms = None
        if has_norms:
            numbers = cursor.array("u1", rows, "the codes of its norms")
            norms = _quantizer(cursor, 1)[2][numbers]
        return cls(rows, dim, 0, codes, step, centroids, norms)


def _shape(cursor: Cursor) -> tuple[int, int]:
    rows, dim = cursor.take("2q")
    if rows < 0 or dim < 1:
        raise cursor.error(
            f"a matrix must have rows of at least one value, received {rows} rows of {dim} values: "
            f"the file is damaged, get it again"
        )
    return rows, dim


def _quantizer(cursor: Cursor, dim: int) -> tuple[int, int, npt.NDArray[np.float32]]:
    """Parts of a row, values of a part, and the centroids."""
    found = cursor.take("4i")
    step = found[2]
    parts = -(-dim // max(1, step))
    if found != (dim, parts, step, dim - (parts - 1) * step):
        raise cursor.error(
            f"the parts of a quantised row must be its {dim} values, received values, parts, "
            f"values of a part and of the last part {found}: the file is damaged, get it again"
        )
    return parts, step, cursor.array("<f4", CENTROIDS * dim, "the centroids")
