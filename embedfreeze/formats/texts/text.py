"""Rows of text: what GloVe's and word2vec's text files and delimited ones have in common.

A line is a token, then dim numbers, each after one delimiter (a space, say); lines end at ``\\n``
(one ``\\r`` before it and one delimiter before that belong to the line end). The last dim fields
are the vector, so a token may contain delimiters. Sources: the GloVe and word2vec programs and what
reads their files.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import mmap
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.errors import FormatError
from embedfreeze.files import Source, release_pages
from embedfreeze.formats.base import Batch, Place, Reading, ReadOptions, index_buffers
from embedfreeze.formats.findings import Finding, delimiters_in_tokens, numbers_in_tokens
from embedfreeze.formats.texts.layout import TextLayout
from embedfreeze.formats.texts.quoting import has_open_quote, spellings, unquoted
from embedfreeze.threads import spans, thread_imap, thread_map
from embedfreeze.tokens import Tokens

__all__ = ["Exact", "Window", "read_text", "windows"]

SCAN_BYTES = 32 << 20  # of text that one thread scans at a time
BATCH_BYTES = 8 << 20  # of text in a batch
STREAM_BYTES = 16 << 20  # of decompressed text in memory
LONGEST_LINE = 1 << 26
LINE_CONTENT = re.compile(rb"[^\r\n]")
Int64 = npt.NDArray[np.int64]


@dataclass(eq=False)
class Window:
    """Whole lines in memory: of a mapped file, or a block of a stream."""

    buffer: Any
    start: int
    stop: int
    first_line: int  # 1-based number of the line at `counted_from`
    counted_from: int
    end: int | None  # of the file in the buffer, if it is there
    mapped: bool

    @classmethod
    def of_mapped(cls, buffer: mmap.mmap, layout: TextLayout) -> Window:
        start, stop = layout.start, len(buffer)
        return cls(buffer, start, stop, layout.first_line, start, stop, True)

    def is_end(self, at: int) -> bool:
        """Does nothing but line ends follow in the file?"""
        return self.end is not None and LINE_CONTENT.search(self.buffer, at, self.end) is None

    def content_end(self) -> int:
        """Where the last line with content ends."""
        if self.end is None:
            return self.stop
        return _content_end(self.buffer, self.start, self.stop)

    def line_number(self, at: int) -> int:
        return self.first_line + int(_kernel.count_lines(self.buffer, self.counted_from, at))

    def line_end(self, at: int) -> int:
        end: int = self.buffer.find(b"\n", at, self.stop)
        return self.stop if end < 0 else end


Exact = Callable[[Reading, Iterator[Window], int | None], Iterator[Batch]]


def _block(size: int) -> mmap.mmap:
    """Memory that is taken where it is used, in large pages, and not filled before."""
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without large pages
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


def _streamed_windows(source: Source, layout: TextLayout) -> Iterator[Window]:
    block = _block(STREAM_BYTES)
    kept, start, first_line = 0, layout.start, layout.first_line
    while True:
        with memoryview(block) as view:
            stop = kept + source.readinto(view[kept:])
        last = stop < len(block)
        end = stop if last else _whole_lines(block, stop)
        if end > start:
            yield Window(block, start, end, first_line, start, stop if last else None, False)
            first_line += int(_kernel.count_lines(block, start, end))
        if last:
            return
        if end == 0 and len(block) >= LONGEST_LINE:
            raise _too_long(source, first_line)
        rest = block[end:stop]
        block = _block(max(STREAM_BYTES, 2 * len(rest)))
        block[: len(rest)] = rest
        kept, start = len(rest), 0


def _content_end(buffer: Any, start: int, stop: int) -> int:
    """Where the last line with content ends in buffer[start:stop]; start if none has any."""
    size = 64
    while stop > start:
        low = max(start, stop - size)
        content = bytes(buffer[low:stop]).rstrip(b"\r\n")
        if content:
            return low + len(content)
        stop, size = low, min(2 * size, 1 << 16)
    return start


def _whole_lines(block: mmap.mmap, stop: int) -> int:
    """End of the last whole line of a block; blank lines wait for what follows them."""
    content = _content_end(block, 0, stop)
    following = block.find(b"\n", content, stop)
    if following < 0 or not content:
        return block.rfind(b"\n", 0, content) + 1
    return following + 1


def windows(source: Source, layout: TextLayout) -> Iterator[Window]:
    """The lines of a source from the first row on."""
    if source.buffer is None:
        return _streamed_windows(source, layout)
    return iter([Window.of_mapped(source.buffer, layout)])


def _pieces(window: Window) -> list[tuple[int, int]]:
    """The window in pieces of whole lines."""
    cuts = [window.start]
    for _, stop in spans(window.start, window.stop, SCAN_BYTES):
        end = window.buffer.find(b"\n", stop - 1, window.stop)
        cuts.append(window.stop if end < 0 else end + 1)
    return [(low, high) for low, high in itertools.pairwise(cuts) if low < high]


@dataclass(frozen=True, eq=False)
class _Part:
    """Lines to parse, and where to."""

    window: Window
    starts: Int64
    matrix: npt.NDArray[Any]
    position: int  # of the source, when they were found


class _TextReader:
    def __init__(
        self, source: Source, options: ReadOptions, layout: TextLayout, exact: Exact | None
    ) -> None:
        self.source = source
        self.options = options
        self.layout = layout
        self.dim = layout.dim
        self.delimiter = layout.delimiter[0]
        self.exact = exact
        self.rest: tuple[Iterator[Window], int | None] | None = None
        self.first_words = (
            None
            if options.wanted is None
            else spellings(options.wanted, layout.delimiter, quotes=layout.quotes)
        )

    def find_lines(self, window: Window, piece: tuple[int, int], wanted: Tokens | None) -> Int64:
        """Starts of the lines of a piece of a window, with `wanted` those that begin so."""
        index = index_buffers(wanted)
        at, stop = piece
        parts = [np.empty(0, np.int64)]
        while at < stop:
            starts = np.empty((stop - at) // (2 * self.dim) + 16, dtype=np.int64)
            count, at = _kernel.find_lines(window.buffer, at, stop, self.delimiter, *index, starts)
            parts.append(starts[:count].copy())
        if window.mapped:
            release_pages(window.buffer, *piece, again=True)
        return np.concatenate(parts)

    def cut(self, window: Window, limit: int) -> int:
        """Cut a window after `limit` lines; the lines it then has."""
        lines = 0
        for piece in _pieces(window):
            starts = self.find_lines(window, piece, None)
            if lines + len(starts) > limit:
                window.stop = int(starts[limit - lines])
                return limit
            lines += len(starts)
        return lines

    def limited_windows(self) -> Iterator[Window]:
        """Windows up to the limit of lines, or up to the first one that must be read exactly."""
        left, found = self.options.limit, windows(self.source, self.layout)
        for window in found:
            if self.exact is not None and self.has_open_quote(window):
                self.rest = itertools.chain([window], found), left
                return
            if left is not None:
                left -= self.cut(window, left)
            yield window
            if left == 0:
                return

    def has_open_quote(self, window: Window) -> bool:
        """Are there lines that a line feed in quotes cuts?"""
        for piece in _pieces(window):
            lines = bytes(window.buffer[slice(*piece)])
            if has_open_quote(lines, self.layout.delimiter, self.dim):
                return True
            if window.mapped:
                release_pages(window.buffer, *piece, again=True)
        return False

    def exact_batches(self, reading: Reading) -> Iterator[Batch]:
        """The rows of the windows that are left, if there are any."""
        if self.exact is not None and self.rest is not None:
            yield from self.exact(reading, *self.rest)

    def scans(self) -> Iterator[tuple[Window, Int64]]:
        """Windows and the starts of all their lines."""
        for window in self.limited_windows():
            find = functools.partial(self.find_lines, window, wanted=None)
            found = thread_map(find, _pieces(window), self.options.n_threads)
            starts = np.concatenate([np.empty(0, np.int64), *found])
            yield window, _without_blank_end(window, starts)

    def batches(self, reading: Reading, scans: Iterable[tuple[Window, Int64]]) -> Iterator[Batch]:
        """Parse all lines; then hold the header to what it says."""
        rows = 0

        def parts() -> Iterator[_Part]:  # while one window is parsed, the next is read
            nonlocal rows
            for window, starts in scans:
                rows += len(starts)
                yield from self.parts(reading, window, starts)

        yield from thread_imap(self.parse, parts(), self.options.n_threads)
        yield from self.exact_batches(reading)
        declared = self.layout.declared_rows
        if declared is not None and declared != rows and self.options.limit is None:
            reading.warn(
                self.source.name,
                f"the header says {declared} rows, found {rows}: "
                + ("the file may be cut off" if rows < declared else "the header is wrong"),
            )

    def parts(self, reading: Reading, window: Window, starts: Int64) -> Iterator[_Part]:
        """Lines of a window in portions, each with the memory for its values."""
        for low, high in spans(0, len(starts), max(1, BATCH_BYTES // (8 * self.dim))):
            matrix = reading.allocate(high - low, self.dim, reading.dtype)
            yield _Part(window, starts[low:high], matrix, self.source.position)

    def wanted_batches(self, reading: Reading) -> Iterator[Batch]:
        """Find and parse the wanted lines, piece by piece while they are in the cache."""

        def work(piece: tuple[Window, tuple[int, int]]) -> Batch | None:
            window, place = piece
            starts = self.find_lines(window, place, self.first_words)
            starts = _without_blank_end(window, starts)
            matrix = reading.allocate(len(starts), self.dim, reading.dtype)
            part = _Part(window, starts, matrix, self.source.position)
            batch = self.parse(part) if len(starts) else None
            if window.mapped:
                release_pages(window.buffer, *place)
            return batch

        pieces = ((w, piece) for w in self.limited_windows() for piece in _pieces(w))
        for batch in thread_imap(work, pieces, self.options.n_threads):
            if batch is not None:
                yield batch
        yield from self.exact_batches(reading)

    def parse(self, part: _Part) -> Batch:
        """The rows that begin at starts."""
        window, starts, matrix = part.window, part.starts, part.matrix
        n = len(starts)
        values = matrix if matrix.dtype == np.float32 else np.empty((n, self.dim), np.float32)
        found, unusual = np.empty((n, 2), dtype=np.int64), np.zeros(n, dtype=bool)
        bad = _kernel.parse_rows(
            window.buffer, window.stop, self.delimiter, self.dim, starts, values, found, unusual
        )
        finite = matrix is values and bool(np.isfinite(values[unusual]).all())
        first, last = int(starts[0]), int(starts[-1])
        consumed = last if window.mapped else part.position
        skipped = np.empty(0, np.int64)
        if bad:
            good, skipped = self.good_rows(window, starts, found)
            values[: len(good)] = values[good]
            values, starts, found = values[: len(good)], starts[good], found[good]
        if matrix.dtype != values.dtype:
            matrix[: len(values)] = values
        tokens = Tokens.from_spans(window.buffer, found, self.options.unicode_errors)
        if window.mapped and self.options.wanted is None:
            release_pages(window.buffer, first, last)

        def place(row: int) -> Place:
            return {"line": window.line_number(int(starts[row]))}

        skipped_at = {"line": window.line_number(int(skipped[0]))} if skipped.size else None
        tokens, odd = self.cut_tokens(tokens, place)
        batch = Batch(tokens, matrix[: len(values)], consumed, place, len(skipped), skipped_at, odd)
        return batch.checked(self.source.name, finite=finite)

    def cut_tokens(
        self, tokens: Tokens, place: Callable[[int], Place]
    ) -> tuple[Tokens, tuple[Finding, ...]]:
        """The tokens of fields, and what is odd about them."""
        if not self.layout.quotes:
            return tokens, numbers_in_tokens(tokens, self.dim, place)
        odd = delimiters_in_tokens(tokens, self.layout.delimiter, self.dim, place)
        return unquoted(tokens), odd

    def good_rows(self, window: Window, starts: Int64, found: Int64) -> tuple[Int64, Int64]:
        """Which rows are good and which are bad; the first bad one is refused unless skipped."""
        bad = np.flatnonzero(found[:, 0] < 0)
        if bad.size and self.options.on_bad_row == "error":
            at, good = int(starts[bad[0]]), int(found[bad[0], 1])
            raise self.explain(window, at, -int(found[bad[0], 0]), good)
        return np.delete(np.arange(len(starts)), bad), starts[bad]

    def explain(self, window: Window, at: int, reason: int, good: int) -> FormatError:
        """What is wrong with the row at `at`."""
        from embedfreeze.formats.texts.badrow import BadRow

        number, end = window.line_number(at), window.line_end(at)
        if end - at > LONGEST_LINE:
            return _too_long(self.source, number)
        line = bytes(window.buffer[at:end])
        row = BadRow(line, number, window.is_end(end), self.layout.delimiter)
        return row.error(self.source.name, self.dim, reason, good)


def _too_long(source: Source, line: int) -> FormatError:
    return FormatError(
        f"a line is longer than {LONGEST_LINE} bytes: this is no text of embeddings, "
        f"get the file again",
        path=source.name,
        line=line,
    )


def _without_blank_end(window: Window, starts: Int64) -> Int64:
    """Blank lines at the very end of a file are no rows."""
    if not len(starts) or not window.is_end(window.stop):
        return starts
    return starts[: int(np.searchsorted(starts, window.content_end()))]


def read_text(
    source: Source, options: ReadOptions, layout: TextLayout, exact: Exact | None = None
) -> Reading:
    """Read rows of text as `layout` describes them.

    Where a line feed stands in quotes, `exact` reads all rows from there on, up to a limit.
    """
    reader = _TextReader(source, options, layout, exact)
    reading = Reading(layout.dim, options.rows_dtype, None)
    if options.wanted is not None:
        reading.batches = reader.wanted_batches(reading)
        return reading
    scans: Iterable[tuple[Window, Int64]] = reader.scans()
    if source.buffer is not None:
        scans = list(scans)
        if reader.rest is None:
            reading.rows = sum(len(starts) for _, starts in scans)
    reading.batches = reader.batches(reading, scans)
    return reading
