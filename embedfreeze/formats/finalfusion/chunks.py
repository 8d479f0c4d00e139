"""What stands where in a finalfusion file: found without believing a number that is in it.

Little-endian: ``FiFu``, uint32 version 0, uint32 n, uint32 [n] ids of the chunks; then each chunk:
uint32 id, uint64 length, content. Source: https://finalfusion.github.io/spec.
"""

from __future__ import annotations

import math
import struct
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError

__all__ = [
    "ARRAY",
    "EXPLICIT",
    "FASTTEXT",
    "MAGIC",
    "METADATA",
    "NORMS",
    "QUANTIZED",
    "SIMPLE",
    "Bytes",
    "Chunk",
    "Layout",
    "Words",
    "float_padding",
    "layout_of",
]

MAGIC = b"FiFu"
SIMPLE, ARRAY, BUCKETS, QUANTIZED, METADATA, NORMS, FASTTEXT, EXPLICIT, FLORET = range(1, 10)
VOCABULARIES = (SIMPLE, BUCKETS, FASTTEXT, EXPLICIT)
MOST_CHUNKS = 64
INDEX_BYTES = 8  # behind each n-gram of an explicit vocabulary
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Chunk:
    """A chunk whose content is the bytes start to stop of the file."""

    kind: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Words:
    """The vocabulary of a file.

    Attributes
    ----------
    kind : int
        Of its chunk.
    count : int
        Words: no more than the bytes of the chunk can hold.
    start, stop : int
        Where their items stand: uint32 length, then so many bytes of UTF-8.
    min_n, max_n : int
        Characters of an n-gram.
    buckets : int
        Rows of n-grams behind those of words.
    ngrams : numpy.ndarray, optional
        Of an explicit vocabulary: spans (start, length) [n, 2] of the n-grams in the file.
    indices : numpy.ndarray, optional
        int64 [n]: their rows, counted from the first that is no word's.
    """

    kind: int
    count: int
    start: int
    stop: int
    min_n: int = 0
    max_n: int = 0
    buckets: int = 0
    ngrams: Int64 | None = None
    indices: Int64 | None = None


def float_padding(position: int) -> int:
    """Bytes before float32 values, which begin at a multiple of 4: four where none are needed."""
    return 4 - position % 4


@dataclass(frozen=True, eq=False)
class Bytes:
    """The bytes of a finalfusion file, which `path` names in messages."""

    buffer: Any
    path: str

    def error(self, rule: str, offset: int) -> FormatError:
        """The error for what breaks a rule."""
        return FormatError(
            f"{rule}: the file is damaged, get it again", path=self.path, offset=offset
        )

    def unpack(self, layout: str, at: int, stop: int) -> tuple[int, ...]:
        """Little-endian numbers, which must end before `stop`."""
        if at + struct.calcsize(f"<{layout}") > stop:
            raise self.error(f"numbers must not end behind byte {stop}, received some that do", at)
        return struct.unpack_from(f"<{layout}", self.buffer, at)

    def floats(self, at: int, shape: tuple[int, ...], stop: int) -> npt.NDArray[np.float32]:
        """Values of a shape, which must end before `stop`: not copied."""
        count = math.prod(shape)
        if at + 4 * count > stop or max(shape) > stop:  # so many rows of nothing are none
            raise self.error(
                f"an array must fit its chunk, which ends at byte {stop}, received float32 "
                f"{list(shape)}",
                at,
            )
        return np.frombuffer(self.buffer, "<f4", count, at).reshape(shape)

    def items(self, at: int, count: int, stop: int, extra: int = 0) -> tuple[Int64, int]:
        """Spans (start, length) [count, 2] of strings behind their lengths, and their end.

        So many `extra` bytes stand behind each.
        """
        if (stop - at) // (4 + extra) < count:
            raise self.error(f"{count} strings must fit {stop - at} bytes, received too many", at)
        starts, buffer, size_of = array("q"), self.buffer, struct.Struct("<I").unpack_from
        for _ in range(count):
            size = size_of(buffer, at)[0] if at + 4 <= stop else stop
            if at + 4 + size + extra > stop:
                raise self.error(f"a string must end before byte {stop}, received a longer one", at)
            starts.append(at + 4)
            at += 4 + size + extra
        begins = np.array(starts, np.int64)
        ends = np.append(begins[1:] - 4, at)[: len(begins)] - extra
        return np.stack([begins, ends - begins], axis=1), at


@dataclass(frozen=True, eq=False)
class Layout:
    """The chunks of a file by id, and its vocabulary; chunks that nobody knows are passed over."""

    chunks: dict[int, Chunk]
    words: Words


def layout_of(data: Bytes) -> Layout:
    """What stands where in a file."""
    end = len(data.buffer)
    version, count = data.unpack("II", 4, end)
    if version or count > MOST_CHUNKS:
        raise data.error(
            f"a finalfusion file must be of version 0 with at most {MOST_CHUNKS} chunks, received "
            f"version {version} with {count}",
            4,
        )
    named, at = data.unpack(f"{count}I", 12, end), 12 + 4 * count
    chunks, words = dict[int, Chunk](), dict[int, Words]()
    for _ in range(MOST_CHUNKS):
        if at >= end:
            break
        chunk, vocabulary = _chunk(data, at)
        if vocabulary is not None:
            words.setdefault(chunk.kind, vocabulary)
        chunks.setdefault(chunk.kind, chunk)
        at = chunk.stop
    for kind in set(named) - set(chunks):
        raise FormatError(
            f"the chunks that the header names must be there, received none of kind {kind}: the "
            f"file is cut off at byte {end}, get it again",
            path=data.path,
            offset=end,
        )
    return Layout(chunks, _only(data, chunks, words))


def _chunk(data: Bytes, at: int) -> tuple[Chunk, Words | None]:
    """The chunk that begins at an offset, and the vocabulary in it if it is one."""
    end = len(data.buffer)
    kind, size = data.unpack("IQ", at, end)
    chunk = Chunk(kind, at + 12, at + 12 + size)
    if kind == EXPLICIT:  # finalfusion for Python leaves the indices out of its length
        words = _explicit_words(data, Chunk(kind, chunk.start, end))
        return Chunk(kind, chunk.start, words.stop), words
    if chunk.stop > end:
        raise data.error(f"chunk {kind} must end before byte {end}, received {size} bytes", at)
    return chunk, _words(data, chunk) if kind in VOCABULARIES else None


def _only(data: Bytes, chunks: dict[int, Chunk], words: dict[int, Words]) -> Words:
    if len(words) == 1:
        return next(iter(words.values()))
    what = "a floret one, without words" if FLORET in chunks else f"{len(words)}"
    raise FormatError(
        f"a finalfusion file must hold one vocabulary of words, received {what}: write the words "
        f"and their vectors as text or word2vec binary",
        path=data.path,
    )


def _words(data: Bytes, chunk: Chunk) -> Words:
    (count,) = data.unpack("Q", chunk.start, chunk.stop)
    start, low, high, buckets = chunk.start + 8, 0, 0, 0
    if chunk.kind != SIMPLE:
        low, high, buckets = data.unpack("III", start, chunk.stop)
        start += 12
        _check_lengths(data, low, high, start - 12)
    if chunk.kind == BUCKETS:
        if not 0 < buckets < 64:
            raise data.error(f"buckets must be 2 ** 1 to 2 ** 63, received {buckets}", start - 4)
        buckets = 1 << buckets
    if (chunk.stop - start) // 4 < count:
        raise data.error(
            f"{count} words must fit {chunk.stop - start} bytes, received too many", chunk.start
        )
    return Words(chunk.kind, count, start, chunk.stop, low, high, buckets)


def _check_lengths(data: Bytes, low: int, high: int, at: int) -> None:
    if not 0 < low <= high:
        raise data.error(f"n-grams must have 1 or more characters, received {low} to {high}", at)


def _explicit_words(data: Bytes, chunk: Chunk) -> Words:
    count, ngrams, low, high = data.unpack("QQII", chunk.start, chunk.stop)
    start = chunk.start + 24
    _check_lengths(data, low, high, start - 8)
    _, words_end = data.items(start, count, chunk.stop)
    spans, end = data.items(words_end, ngrams, chunk.stop, INDEX_BYTES)
    places = (spans.sum(axis=1)[:, None] + np.arange(INDEX_BYTES)).reshape(-1)
    indices = np.frombuffer(data.buffer, np.uint8)[places].view("<u8")
    most = int(indices.max(initial=0))
    if most >= max(1, ngrams):
        raise data.error(f"{ngrams} n-grams must have rows below that, received {most}", words_end)
    buckets = most + 1 if ngrams else 0
    return Words(EXPLICIT, count, start, end, low, high, buckets, spans, indices.astype(np.int64))
