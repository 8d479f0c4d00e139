"""NPY: one matrix of floats, whose tokens lie in a file beside it.

Sources: NEP 1, https://numpy.org/neps/nep-0001-npy-format.html, and `numpy.lib.format`. Written as
``<stem>.npy`` and ``<stem>.tokens.json``, a JSON list of as many tokens as there are rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.errors import FormatError
from embedfreeze.files import Output, Source, move_body, split_packed
from embedfreeze.formats.arrays.batches import (
    BATCH_BYTES,
    TokenMatrix,
    mapped_batches,
    streamed_batches,
)
from embedfreeze.formats.arrays.npyheader import (
    HEADER_BYTES,
    MAGIC,
    ArrayHeader,
    array_header,
    header_bytes,
    refused_kind,
)
from embedfreeze.formats.base import Batch, Format, Reading, ReadOptions, Rows, Writer, only_utf8
from embedfreeze.formats.side.tokens import side_tokens, tokens_beside
from embedfreeze.tokens import Tokens

__all__ = ["NPY", "check_row", "check_size", "values_of", "write_values"]

TOKENS_SUFFIX = ".tokens.json"


def sniff(source: Source) -> bool:
    """The signature of NPY?"""
    return source.head.startswith(MAGIC)


def _tokens(source: Source, rows: int, options: ReadOptions) -> Tokens:
    path = tokens_beside(source) if options.tokens is None else options.tokens
    if path is None:
        raise FormatError(
            f"an array has no tokens, and no file of them stands beside it: name one with tokens= "
            f"(--tokens), or call it <stem>{TOKENS_SUFFIX}; it lists a token for each of the "
            f"{rows} rows",
            path=source.name,
        )
    return side_tokens(path, rows, options)


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a matrix of floats of any width and byte order, by rows or by columns."""
    header = array_header(source.head, source.name)
    if not header.is_matrix:
        raise refused_kind(header, source.name)
    rows, dim = header.shape
    mapped = source.buffer
    if mapped is not None:
        check_size(source, header, len(mapped))
    tokens = _tokens(source, rows, options)
    reading = Reading(dim, options.rows_dtype, None if mapped is None else options.limited(rows))
    reading.notes.append(f"array {header}{' by columns' if header.by_columns else ''}")
    if mapped is not None or header.by_columns:
        mapped = source.whole()
        check_size(source, header, len(mapped))
        if behind := len(mapped) - header.start - header.nbytes:
            reading.notes.append(f"{behind} bytes behind the array are not read")
        table = TokenMatrix(values_of(mapped, header), header.start, tokens)
        reading.batches = mapped_batches(source, options, reading, table, mapped)
        return reading
    check_row(source, header)
    source.readinto(memoryview(bytearray(header.start)))
    reading.batches = streamed_batches(
        source, options, reading, header.dtype, tokens, source.readinto
    )
    return reading


def check_row(source: Source, header: ArrayHeader) -> None:
    """Refuse a row that a packed file may claim and that is no embedding's.

    Raises
    ------
    FormatError
        It is larger than a batch.
    """
    dim = header.shape[1]
    if dim * header.dtype.itemsize > BATCH_BYTES:
        raise FormatError(
            f"a row of a packed array must have at most {BATCH_BYTES} bytes, received {dim} "
            f"values: unpack it first",
            path=source.name,
        )


def check_size(source: Source, header: ArrayHeader, size: int) -> None:
    """Hold a header to the size of its file.

    Raises
    ------
    FormatError
        The header promises more.
    """
    held = size - header.start
    if held < header.nbytes:
        row_bytes = header.shape[1] * header.dtype.itemsize
        raise FormatError(
            f"the header promises {header.shape[0]} rows of {header.shape[1]} values, "
            f"{header.nbytes} bytes, received {held} ({held // row_bytes} rows): the file is "
            f"truncated, get it again",
            path=source.name,
            offset=size,
        )


def values_of(buffer: Any, header: ArrayHeader) -> npt.NDArray[Any]:
    """The matrix that a mapped file holds."""
    rows, dim = header.shape
    flat = np.frombuffer(buffer, header.dtype, rows * dim, header.start)
    return flat.reshape(dim, rows).T if header.by_columns else flat.reshape(rows, dim)


def write_values(rows: Rows, file: IO[bytes], dtype: str) -> int:
    """Write the values of rows as they come: little-endian, one row behind the other."""
    count = 0
    stored = np.dtype(dtype).newbyteorder("<")
    for batch in rows.batches:
        encoded = rows.dtype in storage.ENCODED
        values = storage.decode(batch.matrix) if encoded else batch.matrix
        file.write(np.ascontiguousarray(values, stored).data)
        count += len(values)
    return count


def write(rows: Rows, output: Output) -> None:
    """Write the matrix, and beside it the list of tokens."""
    stem = os.path.splitext(split_packed(output.name)[0])[0]
    listed = output.beside(stem + TOKENS_SUFFIX)
    dtype, file = storage.working_dtype(rows.dtype), output.file
    file.seek(HEADER_BYTES)
    count = write_values(_listing(rows, listed), file, dtype)
    header = header_bytes(dtype, (count, rows.dim))
    if len(header) != HEADER_BYTES:
        move_body(file, HEADER_BYTES, len(header))
    file.seek(0)
    file.write(header)


def _listing(rows: Rows, file: IO[bytes]) -> Rows:
    """The rows, whose tokens are listed in a file as they come."""

    def batches() -> Iterator[Batch]:
        separator = "[\n"
        for batch in rows.batches:
            for token in batch.tokens:
                file.write(f"{separator}{json.dumps(token, ensure_ascii=False)}".encode())
                separator = ",\n"
            yield batch
        file.write(b"\n]\n")

    return replace(rows, batches=batches())


NPY = Format("npy", sniff, read, Writer((".npy",), write, only_utf8("the JSON beside an array")))
