"""GloVe text: rows without a header, as the program of https://nlp.stanford.edu/projects/glove/."""

from __future__ import annotations

from embedfreeze.errors import FormatError
from embedfreeze.files import HEAD_BYTES, Output, Source
from embedfreeze.formats.base import Format, Reading, ReadOptions, Rows, Writer
from embedfreeze.formats.texts.layout import TextLayout, detect
from embedfreeze.formats.texts.text import read_text
from embedfreeze.formats.texts.writer import check_written, refuse_line_feeds, write_rows

__all__ = ["GLOVE", "layout_of"]


def layout_of(source: Source) -> TextLayout | None:
    """The layout of a source as text, or None if it is no text of rows."""
    return detect(source.head, complete=len(source.head) < HEAD_BYTES)


def sniff(source: Source) -> bool:
    """Rows of text, and no header before them?"""
    layout = layout_of(source)
    return layout is not None and layout.header is None


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a GloVe text file."""
    layout = layout_of(source)
    if layout is None:
        raise FormatError(
            "GloVe text must be lines of a token and numbers, received none: "
            "leave format= out to have the format recognised",
            path=source.name,
        )
    if layout.header is not None:
        layout = TextLayout(layout.dim, layout.start - len(layout.header) - 1, None, None)
    return read_text(source, options, layout)


def write(rows: Rows, output: Output) -> None:
    """Write rows without a header."""
    write_rows(rows, output.file)
    check_written(output.file, rows.dim, 0)


GLOVE = Format("glove", sniff, read, Writer((".txt", ".glove"), write, refuse_line_feeds))
