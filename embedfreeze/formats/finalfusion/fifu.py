"""finalfusion: words, a matrix, and where the rows were divided by their norms these too.

Files of words with and without n-grams are read, plain or quantised; rows of words are multiplied
by their norms where the file has them, so that they are what was trained. Written are words and
float32 rows as they are, without norms: a row that was divided by its norm and is multiplied again
would not be the same to the bit. Source: https://finalfusion.github.io/spec.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.errors import FormatError
from embedfreeze.files import Output, Source, move_body, release_pages
from embedfreeze.formats.base import (
    Batch,
    Format,
    Place,
    Reading,
    ReadOptions,
    Rows,
    Writer,
    only_utf8,
)
from embedfreeze.formats.finalfusion.arrays import Array, array_of, norms_of
from embedfreeze.formats.finalfusion.chunks import (
    ARRAY,
    MAGIC,
    METADATA,
    NORMS,
    SIMPLE,
    Bytes,
    Chunk,
    Words,
    float_padding,
    layout_of,
)
from embedfreeze.formats.finalfusion.subwords import Subwords
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens

__all__ = ["FINALFUSION"]

BATCH_BYTES = 16 << 20
FLOAT32 = 10
METADATA_BYTES = 1 << 16
METADATA_NOTES, METADATA_SHOWN = 20, 100  # values, and characters of one


def sniff(source: Source) -> bool:
    """The signature, and a version that is no text."""
    return source.head.startswith(MAGIC) and source.head[5:8] == b"\0\0\0"


def _metadata(data: Bytes, chunk: Chunk | None) -> list[str]:
    """The values of the metadata that stand at its top, or one level below."""
    import tomllib

    if chunk is None:
        return []
    try:
        text = data.buffer[chunk.start : min(chunk.stop, chunk.start + METADATA_BYTES)].decode()
        found = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        return [f"the metadata are no TOML ({error})"]
    flat: dict[str, Any] = {}
    for name, value in found.items():
        inner = value if isinstance(value, dict) else {"": value}
        flat |= {f"{name}.{key}".rstrip("."): item for key, item in inner.items()}
    shown = {name: repr(value)[:METADATA_SHOWN] for name, value in flat.items()}
    return [f"metadata: {name} = {value}" for name, value in list(shown.items())[:METADATA_NOTES]]


def read(source: Source, options: ReadOptions) -> Reading:
    """Read the words of a finalfusion file and their rows."""
    if not sniff(source):
        raise FormatError(
            "a finalfusion file must begin with FiFu and its version, received none: leave "
            "format= out to have the format recognised",
            path=source.name,
            offset=0,
        )
    data = Bytes(source.whole(), source.name)  # norms stand behind the rows that they are of
    layout = layout_of(data)
    words, array = layout.words, array_of(data, layout.chunks)
    if array.rows < words.count + words.buckets:
        raise data.error(
            f"the array must have a row for each of {words.count} words and {words.buckets} "
            f"buckets of n-grams, received {array.rows}",
            layout.chunks[words.kind].start,
        )
    norms = norms_of(data, layout.chunks.get(NORMS), words.count)
    reading = Reading(array.dim, options.rows_dtype, options.limited(words.count))
    reading.notes += _metadata(data, layout.chunks.get(METADATA))
    reading.notes += [array.note] if array.note else []
    if norms is not None:
        reading.notes.append("rows are multiplied by their norms, which the file holds apart")
    if words.buckets:
        reading.notes.append(
            f'n-grams of {words.min_n} to {words.max_n} characters: oov="subword" makes vectors '
            f"of them"
        )
    rows = _Rows(source, options, data, words, array, norms)
    if words.buckets:
        ngrams = Subwords(data, words, array)
        reading.subwords = lambda tokens: rows.put_words(tokens, ngrams(tokens))
    reading.batches = rows.batches(reading)
    return reading


class _Rows:
    """The rows of words, portion by portion."""

    def __init__(
        self,
        source: Source,
        options: ReadOptions,
        data: Bytes,
        words: Words,
        array: Array,
        norms: npt.NDArray[np.float32] | None,
    ) -> None:
        self.source, self.options, self.data = source, options, data
        self.words, self.array, self.norms = words, array, norms

    def batches(self, reading: Reading) -> Iterator[Batch]:
        step = max(1, BATCH_BYTES // (4 * reading.dim))
        at = self.words.start
        for low, high in spans(0, reading.rows or 0, step):
            found, end = self.data.items(at, high - low, self.words.stop)
            kept = np.arange(high - low)
            if self.options.wanted is not None:
                kept = np.flatnonzero(self.options.wanted.find_spans(self.data.buffer, found) >= 0)
            if len(kept):
                yield self.batch(reading, low + kept, found[kept])
            release_pages(self.data.buffer, at, end)
            first = self.array.start + low * self.array.row_bytes
            release_pages(self.data.buffer, first, first + (high - low) * self.array.row_bytes)
            at = end

    def put_words(self, tokens: Tokens, out: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The vectors of any tokens: those of the file's words, such as those behind a limit, are
        their rows."""
        step, at = max(1, BATCH_BYTES // (4 * out.shape[1])), self.words.start
        for low, high in spans(0, self.words.count, step):
            found, at = self.data.items(at, high - low, self.words.stop)
            asked = tokens.find_spans(self.data.buffer, found)
            known = np.flatnonzero(asked >= 0)
            if len(known):
                out[asked[known]] = self.values(low + known)
        return out

    def values(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """float32 [n, dim]: some rows, with their norms."""
        values = self.array.take(rows)
        if self.norms is not None:
            values *= self.norms[rows, None]
        return values

    def batch(
        self, reading: Reading, rows: npt.NDArray[np.int64], found: npt.NDArray[np.int64]
    ) -> Batch:
        matrix = reading.allocate(len(rows), reading.dim, reading.dtype)
        matrix[:] = self.values(rows)
        tokens = Tokens.from_spans(self.data.buffer, found, self.options.unicode_errors)
        last = self.array.start + (int(rows[-1]) + 1) * self.array.row_bytes

        def place(row: int) -> Place:
            return {"row": int(rows[row])}

        position = last if self.source.container is None else self.source.position
        return Batch(tokens, matrix, position, place).checked(self.source.name)


def write(rows: Rows, output: Output) -> None:
    """Write a simple vocabulary and a float32 array.

    Words stand before the rows but come with them: they wait in memory, and the rows are moved.
    """
    file, items, count = output.file, bytearray(), 0
    for batch in rows.batches:
        for row in range(len(batch.tokens)):
            token = batch.tokens.bytes_at(row)
            items += struct.pack("<I", len(token)) + token
        file.write(np.ascontiguousarray(storage.decode(batch.matrix), "<f4"))
        count += len(batch.tokens)
    head = struct.pack("<4sIIII", MAGIC, 0, 2, SIMPLE, ARRAY)
    head += struct.pack("<IQQ", SIMPLE, 8 + len(items), count)
    at = len(head) + len(items) + 12 + 16
    padding = float_padding(at)
    size = 16 + padding + 4 * rows.dim * count
    tail = struct.pack(f"<IQQII{padding}x", ARRAY, size, count, rows.dim, FLOAT32)
    file.flush()
    move_body(file, 0, at + padding)
    file.seek(0)
    for part in (head, items, tail):
        file.write(part)


FINALFUSION = Format(
    "finalfusion", sniff, read, Writer((".fifu",), write, only_utf8("finalfusion"))
)
