"""Writing rows as text, in the fewest digits that read back to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel, storage
from embedfreeze.errors import FormatError
from embedfreeze.files import HEAD_BYTES
from embedfreeze.formats.base import Rows
from embedfreeze.formats.texts.layout import detect
from embedfreeze.threads import spans, thread_count, thread_imap
from embedfreeze.tokens import Tokens

__all__ = ["RowsWriter", "check_written", "formatted", "refuse_line_feeds", "write_rows"]

PIECE_BYTES = 1 << 20
LONGEST_VALUE = 17  # bytes, with its delimiter
RowsWriter = Callable[[Rows, IO[bytes]], int]


def formatted(tokens: Tokens, matrix: npt.NDArray[Any], delimiter: bytes) -> Iterator[memoryview]:
    """Rows as text: tokens, and the values [n, dim] of a matrix, each after a delimiter."""
    dim = storage.decode(matrix[:0]).shape[1]
    step = max(1, PIECE_BYTES // (LONGEST_VALUE * dim))

    def piece(span: tuple[int, int]) -> memoryview:
        low, high = span
        values, offsets = storage.decode(matrix[low:high]), tokens.offsets[low : high + 1]
        size = int(offsets[-1] - offsets[0]) + (high - low) * (LONGEST_VALUE * dim + 1)
        text = np.empty(size, np.uint8)
        used = _kernel.format_rows(tokens.blob, offsets, values, dim, delimiter[0], text)
        return text[:used].data

    return thread_imap(piece, spans(0, len(tokens), step), thread_count())


def write_rows(rows: Rows, file: IO[bytes]) -> int:
    """Write rows as text into a file; the number of them."""
    count = 0
    for batch in rows.batches:
        for text in formatted(batch.tokens, batch.matrix, b" "):
            file.write(text)
        count += len(batch.tokens)
    return count


def check_written(file: IO[bytes], dim: int, start: int) -> None:
    """Refuse a text whose first lines say something else than was written.

    Raises
    ------
    FormatError
        Tokens that end in numbers or begin with a byte order mark make the file another.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    layout = detect(head, complete=len(head) < HEAD_BYTES)
    if layout is None or (layout.dim, layout.start) != (dim, start):
        raise FormatError(
            "a text file cannot hold these tokens: they look like numbers, a header or a byte "
            "order mark to a reader; write a store (.safetensors) or HDF5"
        )


def refuse_line_feeds(tokens: Tokens, first: int) -> None:
    """`FormatError` for a token with a line feed, which no text file can hold."""
    blob = tokens.blob
    if _kernel.count_lines(blob, int(tokens.offsets[0]), int(tokens.offsets[-1])):
        at = bytes(blob).index(b"\n", int(tokens.offsets[0]))
        row = int(np.searchsorted(tokens.offsets, at, side="right")) - 1
        raise FormatError(
            f"a text file cannot hold a token with a line feed, received {tokens.bytes_at(row)!r} "
            f"as row {first + row}: write a store (.safetensors) or HDF5"
        )
