"""word2vec text: a header line ``<rows> <dim>``, then rows (also fastText's ``.vec``)."""

from __future__ import annotations

from typing import IO

from embedfreeze.errors import FormatError
from embedfreeze.files import Output, Source, move_body
from embedfreeze.formats.base import Format, Reading, ReadOptions, Rows, Writer
from embedfreeze.formats.texts.glove import layout_of
from embedfreeze.formats.texts.text import read_text
from embedfreeze.formats.texts.writer import (
    RowsWriter,
    check_written,
    refuse_line_feeds,
    write_rows,
)

__all__ = ["WORD2VEC_TEXT", "header_line", "write_with_header"]


def sniff(source: Source) -> bool:
    """A header line before rows of text?"""
    layout = layout_of(source)
    return layout is not None and layout.header is not None


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a word2vec text file. A header that miscounts the rows gives a warning."""
    layout = layout_of(source)
    if layout is None or layout.header is None:
        raise FormatError(
            "word2vec text must begin with a line of two numbers, rows and dim, that fits the "
            "lines after it: leave format= out to have the format recognised",
            path=source.name,
            line=1,
        )
    reading = read_text(source, options, layout)
    reading.notes.append(f"the header says {layout.header.decode('ascii').strip()!r}")
    return reading


def header_line(count: int, dim: int) -> bytes:
    """The first line of a word2vec file, text or binary."""
    return b"%d %d\n" % (count, dim)


def write_with_header(rows: Rows, file: IO[bytes], body: RowsWriter) -> int:
    """Write a header and a body, which a header of unexpected length moves; the header's length."""
    expected = header_line(rows.expected or 0, rows.dim)
    file.write(expected)
    header = header_line(body(rows, file), rows.dim)
    file.flush()
    if len(header) != len(expected):
        move_body(file, len(expected), len(header))
    file.seek(0)
    file.write(header)
    return len(header)


def write(rows: Rows, output: Output) -> None:
    """Write a header and rows."""
    start = write_with_header(rows, output.file, write_rows)
    check_written(output.file, rows.dim, start)


WORD2VEC_TEXT = Format(
    "word2vec-text", sniff, read, Writer((".vec", ".w2v"), write, refuse_line_feeds)
)
