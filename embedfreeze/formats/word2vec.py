"""word2vec binary: a header line ``<rows> <dim>``, then records.

A record is a token, one space, and dim little-endian float32; the C program writes a line feed
after it, gensim and the GoogleNews file do not. Line feeds before a token are skipped; nothing else
of a token is. Source: the word2vec program of https://code.google.com/archive/p/word2vec/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel, storage
from embedfreeze.errors import FormatError
from embedfreeze.files import Output, Source, release_pages
from embedfreeze.formats.base import (
    Batch,
    Format,
    Place,
    Reading,
    ReadOptions,
    Rows,
    Writer,
    index_buffers,
)
from embedfreeze.formats.texts.glove import layout_of
from embedfreeze.formats.texts.layout import other_separator
from embedfreeze.formats.texts.word2vec_text import write_with_header
from embedfreeze.threads import spans, thread_imap, thread_map
from embedfreeze.tokens import Tokens

__all__ = ["WORD2VEC"]

HEADER = re.compile(rb"\s{0,8}(\d{1,18})[ \t]+(\d{1,9})[ \t]*\r?\n")
BATCH_BYTES = 16 << 20
WALK_BYTES = 64 << 20
REST_BYTES = 4096  # looked at behind the last row
Int64 = npt.NDArray[np.int64]


def _header(source: Source) -> tuple[int, int, int] | None:
    """Rows, dim, and where the records start."""
    match = HEADER.match(source.head)
    if match is None or not int(match[2]):
        return None
    return int(match[1]), int(match[2]), match.end()


def sniff(source: Source) -> bool:
    """A header line; text with a header is recognised before this format is asked."""
    return _header(source) is not None and other_separator(source.head) is None


@dataclass(eq=False)
class _Walk:
    """Records in memory: the spans of their tokens, each followed by a byte and the values."""

    buffer: Any
    offset: int  # of the buffer in the file
    spans: Int64
    walked: int
    end: int  # in the buffer


@dataclass(frozen=True, eq=False)
class _Part:
    """Records to copy, and where to."""

    walk: _Walk
    spans: Int64
    matrix: npt.NDArray[Any]
    position: int  # of the source, when they were found


class _BinaryReader:
    def __init__(self, source: Source, options: ReadOptions, rows: int, dim: int) -> None:
        self.source = source
        self.options = options
        self.declared = rows
        self.limit = options.limited(rows)
        self.dim = dim
        self.row_bytes = 4 * dim

    def walk(self, buffer: Any, start: int, until: int, limit: int) -> _Walk:
        """Walk the records that begin in [start, until)."""
        index = index_buffers(self.options.wanted)
        parts, walked, at = [np.empty((0, 2), np.int64)], 0, start
        while at < until and walked < limit:
            stop = min(until, at + WALK_BYTES)
            found = np.empty(((stop - at) // (self.row_bytes + 1) + 2, 2), dtype=np.int64)
            count, written, end = _kernel.find_records(
                buffer, at, stop, self.row_bytes, limit - walked, *index, found
            )
            parts.append(found[:written].copy())
            walked += count
            if self.source.buffer is not None and buffer is self.source.buffer:
                again = self.options.wanted is None
                release_pages(self.source.buffer, at, end, again=again)
            if not count:
                break
            at = end
        return _Walk(buffer, 0, np.concatenate(parts), walked, at)

    def walk_mapped(self, buffer: Any, start: int) -> _Walk:
        """Walk a mapped file, several parts at once.

        Where a record begins is known only by walking there; a later part starts at a guess, and
        counts only if the walk of the part before it ends exactly there.
        """
        size, threads = len(buffer), self.options.n_threads
        if self.options.limit is not None or size < WALK_BYTES:
            threads = 1
        cuts = [start]
        for i in range(1, threads):
            guess = _kernel.guess_record(
                buffer, start + (size - start) * i // threads, self.row_bytes
            )
            if guess > cuts[-1]:
                cuts.append(guess)
        ends = [*cuts[1:], size]
        parts = thread_map(
            lambda part: self.walk(buffer, *part, self.limit),
            list(zip(cuts, ends, strict=True)),
            threads,
        )
        joined = all(part.end == cut for part, cut in zip(parts, cuts[1:], strict=False))
        walked = sum(part.walked for part in parts)
        if not joined or walked > self.limit:
            return self.walk(buffer, start, size, self.limit)
        return _Walk(buffer, 0, np.concatenate([p.spans for p in parts]), walked, parts[-1].end)

    def walks(self, start: int) -> Iterator[_Walk]:
        """Walks over the whole file; the last one is held to what the header says."""
        if self.source.buffer is not None:
            walk = self.walk_mapped(self.source.buffer, start)
            yield walk
            self.check_end(walk.walked, walk.end, len(self.source.buffer) - walk.end)
            self.check_rest(self.source.buffer[walk.end : walk.end + REST_BYTES], walk.end)
            return
        block, kept, offset, total = bytearray(BATCH_BYTES), 0, 0, 0
        while True:
            with memoryview(block) as view:
                filled = kept + self.source.readinto(view[kept:])
            buffer = memoryview(block)[:filled]
            walk = self.walk(buffer, start, filled, self.limit - total)
            walk.offset = offset
            total += walk.walked
            yield walk
            rest = block[walk.end : filled]
            if filled < len(block) or total >= self.limit:
                self.check_end(total, offset + walk.end, len(rest))
                rest += self.next_bytes()
                self.check_rest(rest, offset + walk.end)
                return
            block = bytearray(max(BATCH_BYTES, 2 * len(rest)))
            block[: len(rest)] = rest
            kept, offset, start = len(rest), offset + walk.end, 0

    def next_bytes(self) -> bytearray:
        rest = bytearray(REST_BYTES)
        return rest[: self.source.readinto(memoryview(rest))]

    def check_rest(self, rest: bytes | bytearray, end: int) -> None:
        """Behind the rows that the header promises stand line feeds alone."""
        if self.options.limit is None and rest.strip(b"\n"):
            raise FormatError(
                f"the header promises {self.declared} rows of {self.dim} values, received more "
                f"bytes behind them: the header is wrong, or read no more than it promises with "
                f"limit={self.declared} (--limit)",
                path=self.source.name,
                offset=end,
            )

    def check_end(self, walked: int, end: int, left: int) -> None:
        if walked < self.limit:
            some = f" (or read what is there with limit={walked}, --limit)" if walked else ""
            raise FormatError(
                f"the header promises {self.declared} rows of {self.dim} values, received "
                f"{walked} whole rows and {left} bytes: the file is truncated at byte "
                f"{end + left}, get it again{some}",
                path=self.source.name,
                offset=end,
            )

    def batches(self, reading: Reading, walks: Iterable[_Walk]) -> Iterator[Batch]:
        for walk in walks:
            parts = self.parts(reading, walk)
            yield from thread_imap(self.copy, parts, self.options.n_threads)

    def parts(self, reading: Reading, walk: _Walk) -> Iterator[_Part]:
        """Records of a walk in portions, each with the memory for its values."""
        for low, high in spans(0, len(walk.spans), max(1, BATCH_BYTES // self.row_bytes)):
            matrix = reading.allocate(high - low, self.dim, reading.dtype)
            yield _Part(walk, walk.spans[low:high], matrix, self.source.position)

    def copy(self, part: _Part) -> Batch:
        walk, found, matrix = part.walk, part.spans, part.matrix
        values = matrix
        if matrix.dtype != np.float32:
            values = np.empty((len(found), self.dim), np.float32)
        mapped = walk.buffer is self.source.buffer
        finite: bool = _kernel.copy_rows(walk.buffer, found, values)
        if matrix.dtype != values.dtype:
            matrix[:] = values
        tokens = Tokens.from_spans(walk.buffer, found, self.options.unicode_errors)
        if mapped:
            release_pages(walk.buffer, int(found[0, 0]), int(found[-1, 0]))
        last = walk.offset + int(found[-1].sum()) + 1 + self.row_bytes

        def place(row: int) -> Place:
            return {"offset": walk.offset + int(found[row, 0])}

        batch = Batch(tokens, matrix, last if mapped else part.position, place)
        return batch.checked(self.source.name, finite=finite and matrix is values)


def _refuse_text(source: Source, dim: int) -> None:
    """The digits of text would be taken for values."""
    layout = layout_of(source)
    if layout is not None and layout.header is not None and layout.dim == dim:
        raise FormatError(
            "word2vec binary must hold float32 values, received rows of text: leave format= "
            "(--from) out to have the format recognised",
            path=source.name,
            offset=layout.start,
        )


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a word2vec binary file; one that ends early is an error."""
    header = _header(source)
    if header is None:
        raise FormatError(
            "word2vec binary must begin with a line of two numbers, rows and dim: leave format= "
            "out to have the format recognised",
            path=source.name,
            offset=0,
        )
    rows, dim, start = header
    _refuse_text(source, dim)
    reader = _BinaryReader(source, options, rows, dim)
    if source.buffer is not None:
        holds = (source.size - start) // (4 * dim + 1)
        if holds < reader.limit:  # before anything is allocated for what a header claims
            walk = reader.walk_mapped(source.buffer, start)
            reader.check_end(walk.walked, walk.end, source.size - walk.end)
    reading = Reading(dim, options.rows_dtype, reader.limit)
    reading.notes.append(f"the header says {rows} rows of {dim} values")
    reading.batches = reader.batches(reading, reader.walks(start))
    if source.buffer is None:
        reading.rows = None
    return reading


def _write_records(rows: Rows, file: IO[bytes]) -> int:
    count = 0
    for batch in rows.batches:
        values = storage.decode(batch.matrix)
        offsets, n = batch.tokens.offsets, len(batch.tokens)
        records = bytearray(int(offsets[-1] - offsets[0]) + n * (4 * rows.dim + 2))
        _kernel.format_records(batch.tokens.blob, offsets, values, 4 * rows.dim, records)
        file.write(records)
        count += n
    return count


def _refuse_unreadable(tokens: Tokens, first: int) -> None:
    blob, starts = np.frombuffer(tokens.blob, np.uint8), tokens.offsets[:-1]
    starts = starts[np.diff(tokens.offsets) > 0]
    used = slice(int(tokens.offsets[0]), int(tokens.offsets[-1]))
    spaces = np.flatnonzero(blob[used] == ord(" ")) + used.start
    bad = np.concatenate([spaces, starts[blob[starts] == ord("\n")]])
    if bad.size:
        row = int(np.searchsorted(tokens.offsets, bad[0], side="right")) - 1
        raise FormatError(
            f"a word2vec binary file cannot hold a token with a space or a line feed at its "
            f"start, received {tokens.bytes_at(row)!r} as row {first + row}: write a store "
            f"(.safetensors) or HDF5"
        )


def write(rows: Rows, output: Output) -> None:
    """Write a header and records, each followed by a line feed as the C program does."""
    write_with_header(rows, output.file, _write_records)


WORD2VEC = Format("word2vec", sniff, read, Writer((".bin",), write, _refuse_unreadable))
