"""Writing NPZ while rows come, in memory that does not grow with the matrix.

The matrix is ``vectors``, stored. The tokens are ``tokens``, a deflated array of strings (``U``),
where such an array can hold them: UTF-8, at most 256 characters (each takes four bytes in every
row), no NUL at the end, which NumPy takes away. Else they are the bytes ``token_bytes`` and
``token_offsets`` [n + 1], which hold every token.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.files import Output
from embedfreeze.formats.arrays.npy import write_values
from embedfreeze.formats.arrays.npyheader import header_bytes
from embedfreeze.formats.base import Batch, Rows
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens

if TYPE_CHECKING:
    import zipfile

__all__ = ["OFFSETS", "SPELLED", "TOKENS", "VECTORS", "write"]

VECTORS, TOKENS = "vectors", "tokens"
SPELLED, OFFSETS = "token_bytes", "token_offsets"
MOST_CHARACTERS = 256
TOKEN_ROWS = 1 << 14
ROOM = 4096  # more than stands before the values in the end
COPY_BYTES = 4 << 20
STORED, DEFLATED = 0, 8  # of the zip format


def write(rows: Rows, output: Output) -> None:
    """Write `vectors` and the tokens; equal rows give equal bytes."""
    import zipfile  # late, as in npzarchive.py

    file, dtype = output.file, storage.working_dtype(rows.dtype)
    parts: list[Tokens] = []
    file.seek(ROOM)
    count = write_values(_collecting(rows, parts), file, dtype)
    file.flush()
    size = os.fstat(file.fileno()).st_size - ROOM
    file.seek(0)
    with zipfile.ZipFile(file, "w") as archive:
        with _member(archive, VECTORS) as member:
            member.write(header_bytes(dtype, (count, rows.dim)))
            for low, high in spans(ROOM, ROOM + size, COPY_BYTES):  # it never overtakes itself
                member.write(os.pread(file.fileno(), high - low, low))
        _write_tokens(archive, Tokens.joined(parts))
    file.truncate(file.tell())


def _collecting(rows: Rows, parts: list[Tokens]) -> Rows:
    def batches() -> Iterator[Batch]:
        for batch in rows.batches:
            parts.append(batch.tokens)
            yield batch

    return replace(rows, batches=batches())


def _member(archive: zipfile.ZipFile, name: str, packing: int = STORED) -> IO[bytes]:
    import zipfile

    info = zipfile.ZipInfo(f"{name}.npy")  # its date is fixed: equal input gives equal bytes
    info.compress_type = packing
    return archive.open(info, "w", force_zip64=True)


def _write_tokens(archive: zipfile.ZipFile, tokens: Tokens) -> None:
    width = _characters(tokens)
    if width is None:
        _write_array(archive, SPELLED, np.frombuffer(tokens.blob, np.uint8))
        _write_array(archive, OFFSETS, tokens.offsets)
        return
    dtype = f"<U{width}"
    with _member(archive, TOKENS, DEFLATED) as member:
        member.write(header_bytes(dtype, (len(tokens),)))
        for low, high in spans(0, len(tokens), TOKEN_ROWS):
            member.write(np.array(list(tokens.part(low, high)), dtype).tobytes())


def _write_array(archive: zipfile.ZipFile, name: str, array: npt.NDArray[np.generic]) -> None:
    with _member(archive, name) as member:
        member.write(header_bytes(array.dtype.str, array.shape))
        member.write(array.data)


def _characters(tokens: Tokens) -> int | None:
    """The most characters of a token, or None if an array of strings cannot hold them."""
    if tokens.first_not_utf8() is not None:
        return None
    longest = 1
    for low, high in spans(0, len(tokens), TOKEN_ROWS):
        part = tokens.part(low, high)
        start, stop = int(part.offsets[0]), int(part.offsets[-1])
        blob, offsets = np.frombuffer(part.blob[start:stop], np.uint8), part.offsets - start
        if not blob[offsets[1:][np.diff(offsets) > 0] - 1].all():  # a NUL at the end of one
            return None
        begun = np.concatenate([[0], np.cumsum((blob & 0xC0) != 0x80)])  # characters before a byte
        longest = max(longest, int(np.diff(begun[offsets]).max()))
    return longest if longest <= MOST_CHARACTERS else None
