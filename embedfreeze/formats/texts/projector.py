"""The TensorBoard projector's pair of files: vectors as TSV without tokens, and their metadata.

Metadata of one column have no header row, of several they have one. Source:
https://projector.tensorflow.org, and gensim's word2vec2tensor, which names the pair
``*_tensor.tsv`` and ``*_metadata.tsv``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.errors import FormatError
from embedfreeze.files import HEAD_BYTES, Output, Source, name_of, open_source, release_pages
from embedfreeze.formats.base import (
    Batch,
    Format,
    Place,
    Reading,
    ReadOptions,
    Rows,
    Writer,
    refuse_packed_lines,
)
from embedfreeze.formats.side.lists import column_listing, text_listing
from embedfreeze.formats.side.tokens import listed_tokens, tokens_beside
from embedfreeze.formats.texts.delimited import sampled
from embedfreeze.formats.texts.delimitedsample import BLANKS, TOKEN_NAMES
from embedfreeze.formats.texts.layout import BOM, TextLayout
from embedfreeze.formats.texts.text import Window, windows
from embedfreeze.formats.texts.writer import formatted
from embedfreeze.tokens import Tokens, UnicodeErrors

__all__ = ["PROJECTOR", "write_vectors"]

PIECE_BYTES = 4 << 20
VECTORS = re.compile(r"vectors?|tensors?|embeddings?", re.IGNORECASE)
UNUSABLE = re.compile(rb"[\t\r\n]")
Float32 = npt.NDArray[np.float32]


def _layout(source: Source) -> TextLayout | None:
    """The layout of lines that are nothing but numbers; None if they are not."""
    start = len(BOM) if source.head.startswith(BOM) else 0
    sample = sampled(source)
    if sample is not None and not sample.texts and sample.delimiter != BLANKS and not sample.names:
        return TextLayout(sample.width, start, None, None, sample.delimiter)
    lines = source.head[start:].split(b"\n")
    if len(source.head) == HEAD_BYTES:
        lines.pop()
    lines = [line.removesuffix(b"\r") for line in lines[:50] if line.strip()]
    one = bool(lines) and all(map(_kernel.is_number, lines))
    return TextLayout(1, start, None, None, b"\t") if one else None


def _metadata_names(located: str) -> list[str]:
    """Where the metadata of a file of vectors may be, the likeliest first."""
    folder, name = os.path.split(located)
    stem, suffix = os.path.splitext(name)
    names = [f"{stem}.metadata.tsv", f"{stem}_metadata.tsv", "metadata.tsv"]
    if found := list(VECTORS.finditer(stem)):
        low, high = found[-1].span()
        names.insert(0, f"{stem[:low]}metadata{stem[high:]}{suffix}")
    return [os.path.join(folder, name) for name in names]


def _metadata_beside(source: Source) -> str | None:
    if source.located is None:
        return None
    there = filter(os.path.isfile, _metadata_names(source.located))
    return next((name for name in there if name != source.located), None)


def sniff(source: Source) -> bool:
    """Lines of numbers, none of which is a token for sure?"""
    layout = _layout(source)
    if layout is None:
        return False
    sample = sampled(source)
    return (sample is not None and sample.bare) or _metadata_beside(source) is not None


def _tokens(source: Source, options: ReadOptions) -> Tokens:
    """The tokens of the metadata that are named, or that stand beside the vectors."""
    path = options.tokens or _metadata_beside(source)
    if path is not None and name_of(path).endswith(".tsv"):
        return _labels(name_of(path), options.unicode_errors)
    path = path or tokens_beside(source)
    if path is None:
        raise FormatError(
            "rows without tokens need a file of tokens, received none beside them such as "
            "metadata.tsv: name one with tokens= (--tokens)",
            path=source.name,
        )
    return listed_tokens(path, 0, options)


def _labels(path: str, unicode_errors: UnicodeErrors) -> Tokens:
    """The column of tokens in metadata; several columns have a header row."""
    with open_source(path) as metadata:
        data, head = metadata.whole(), metadata.head.removeprefix(BOM)
        names = head.partition(b"\n")[0].removesuffix(b"\r").lower().split(b"\t")
        if len(names) == 1:
            return text_listing(data, unicode_errors).tokens
        column = next((i for i, name in enumerate(names) if name in TOKEN_NAMES), 0)
        tokens = column_listing(data, "tsv", str(column), path, unicode_errors).tokens
        return tokens.part(1, len(tokens))


@dataclass(frozen=True)
class _Vectors:
    """Rows of numbers."""

    values: Float32
    first_line: int
    position: int


def _pieces(window: Window) -> Iterator[tuple[int, int]]:
    """A window in pieces of whole lines."""
    low, stop = window.start, window.content_end()
    while low < stop:
        high = min(window.line_end(min(low + PIECE_BYTES, stop) - 1) + 1, stop)
        yield low, high
        low = high


def _vectors(source: Source, layout: TextLayout) -> Iterator[_Vectors]:
    """All rows of numbers, piece by piece."""
    line = layout.first_line
    for window in windows(source, layout):
        for low, high in _pieces(window):
            values = _parsed(source, layout, bytes(window.buffer[low:high]), line)
            if window.mapped:
                release_pages(window.buffer, low, high)
            yield _Vectors(values, line, high if window.mapped else source.position)
            line += len(values)


def _parsed(source: Source, layout: TextLayout, piece: bytes, line: int) -> Float32:
    """The values of lines, as those of rows whose tokens are empty."""
    delimiter, dim = layout.delimiter, layout.dim
    piece = piece.removesuffix(b"\n").removesuffix(b"\r")
    text = delimiter + piece.replace(b"\n", b"\n" + delimiter) + b"\n"
    starts = np.empty(text.count(b"\n"), np.int64)
    none = b"", np.zeros(1, np.int64), np.zeros(0, np.int32)
    _kernel.find_lines(text, 0, len(text), delimiter[0], *none, starts)
    values, spans = np.empty((len(starts), dim), np.float32), np.empty((len(starts), 2), np.int64)
    _kernel.parse_rows(text, len(text), delimiter[0], dim, starts, values, spans)
    bad = np.flatnonzero((spans[:, 0] < 0) | (spans[:, 1] > 0))
    if bad.size:
        row = int(bad[0])
        field = piece.split(b"\n")[row].removesuffix(b"\r").split(delimiter)
        wrong = [i for i, text in enumerate(field) if not _kernel.is_number(text)]
        received = f"{len(field)} fields" if len(field) != dim else f"{field[wrong[0]][:40]!r}"
        raise FormatError(
            f"a row of vectors must be {dim} numbers, received {received}: mend the file",
            path=source.name,
            line=line + row,
            column=wrong[0] + 1 if wrong else None,
        )
    return values


def read(source: Source, options: ReadOptions) -> Reading:
    """Read vectors and the tokens of their metadata; rows of one file are those of the other."""
    layout = _layout(source)
    if layout is None:
        raise FormatError(
            "vectors for the projector must be lines of numbers with tabs between them, received "
            "none: leave format= (--from) out to have the format recognised",
            path=source.name,
        )
    tokens = _tokens(source, options)
    reading = Reading(layout.dim, options.rows_dtype, None)
    if source.buffer is not None:
        (window,) = windows(source, layout)
        rows = _kernel.count_lines(source.buffer, layout.start, window.content_end()) + 1
        if rows != len(tokens):
            raise _mismatch(source, tokens, rows)
        reading.rows = options.limited(rows)
    reading.batches = _batches(source, options, reading, layout, tokens)
    return reading


def _mismatch(source: Source, tokens: Tokens, rows: int) -> FormatError:
    return FormatError(
        f"each row needs a token, received {len(tokens)} tokens for {rows} rows: name their "
        f"file with tokens= (--tokens)",
        path=source.name,
    )


def _batches(
    source: Source, options: ReadOptions, reading: Reading, layout: TextLayout, tokens: Tokens
) -> Iterator[Batch]:
    first, limit = 0, options.limited(len(tokens))
    for part in _vectors(source, layout):
        last = first + len(part.values)
        rows = np.arange(first, min(last, limit))
        if options.wanted is not None:
            rows = rows[options.wanted.find(tokens.take(rows)) >= 0]
        if rows.size:
            yield _batch(source, reading, tokens, part, rows, first)
        first = last
        if options.limit is not None and first >= options.limit:
            return
    if first != len(tokens):
        raise _mismatch(source, tokens, first)


def _batch(
    source: Source,
    reading: Reading,
    tokens: Tokens,
    part: _Vectors,
    rows: npt.NDArray[np.int64],
    first: int,
) -> Batch:
    matrix = reading.allocate(len(rows), reading.dim, reading.dtype)
    matrix[:] = part.values[rows - first]

    def place(row: int) -> Place:
        return {"line": part.first_line + int(rows[row]) - first}

    return Batch(tokens.take(rows), matrix, part.position, place).checked(source.name)


def write(rows: Rows, output: Output) -> None:
    """Write the vectors, and beside them the tokens as metadata of one column."""
    metadata = output.beside(os.path.basename(_metadata_names(output.name)[0]))
    for batch in rows.batches:
        write_vectors(batch.matrix, output.file)
        tokens = batch.tokens
        metadata.write(b"".join(tokens.bytes_at(row) + b"\n" for row in range(len(tokens))))


def write_vectors(matrix: npt.NDArray[Any], file: IO[bytes]) -> None:
    """Write stored rows as lines of numbers with tabs between them."""
    none = Tokens(b"", np.zeros(len(matrix) + 1, np.int64))
    for text in formatted(none, matrix, b"\t"):
        file.write(bytes(text[1:]).replace(b"\n\t", b"\n"))


def _refuse(tokens: Tokens, first: int) -> None:
    if not first:
        refuse_packed_lines(tokens)
    if first == 0 and tokens.bytes_at(0).startswith(BOM):
        raise FormatError(
            f"the first token must not begin with a byte order mark, which readers drop, received "
            f"{tokens.bytes_at(0)!r}: write a store (.safetensors)"
        )
    for row in range(len(tokens)):
        token = tokens.bytes_at(row)
        if UNUSABLE.search(token) or not token.strip():
            raise FormatError(
                f"the projector cannot hold a token with a tab or a line end, or of blanks "
                f"alone, received {token!r} as row {first + row}: write a store (.safetensors)"
            )


PROJECTOR = Format("projector", sniff, read, Writer((), write, _refuse, packable=False))
