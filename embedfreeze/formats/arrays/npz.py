"""NPZ: a zip archive of NumPy arrays, of which one is the matrix and one may hold the tokens.

Tokens are a 1-D array of strings (``U`` or ``S``) of as many elements as there are rows, or the two
arrays ``token_bytes`` uint8 and ``token_offsets`` int64 [n + 1] (token i is
``token_bytes[token_offsets[i]:token_offsets[i + 1]]``), or lie in a file beside the archive.
Sources: https://numpy.org/doc/stable/reference/generated/numpy.savez.html and npy.py.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import EmbedFreezeError, FormatError
from embedfreeze.files import Source, name_of
from embedfreeze.files.spool import spooled
from embedfreeze.formats.arrays.batches import TokenMatrix, mapped_batches, streamed_batches
from embedfreeze.formats.arrays.npy import check_row, values_of
from embedfreeze.formats.arrays.npyheader import ArrayHeader, refused_kind
from embedfreeze.formats.arrays.npzarchive import Archive, Member, understood
from embedfreeze.formats.arrays.npzwriter import OFFSETS, SPELLED, write
from embedfreeze.formats.base import Batch, Format, Reading, ReadOptions, Writer
from embedfreeze.formats.side.tokens import side_tokens, tokens_beside
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens

__all__ = ["NPZ"]

LOCAL_HEADER = b"PK\x03\x04"
SPOOL_BLOCK = 4 << 20
STRING_BYTES = 16 << 20  # of an array of strings, at once


def sniff(source: Source) -> bool:
    """A zip archive, not unpacked, whose first member is a NumPy array?"""
    head = source.head
    length = int.from_bytes(head[26:28], "little")
    return head.startswith(LOCAL_HEADER) and head[30 : 30 + length].endswith(b".npy")


def read(source: Source, options: ReadOptions) -> Reading:
    """Read one matrix of an archive; several are listed in an error, and `member` names one."""
    archive = Archive(source)
    matrix = _matrix(source, archive)
    header = matrix.header
    check_row(source, header)
    tokens = _tokens(source, archive, header.shape[0], options)
    stored = matrix.info.compress_size == matrix.info.file_size
    rows = options.limited(header.shape[0]) if stored else None
    reading = Reading(header.shape[1], options.rows_dtype, rows)
    reading.notes.append(f"array {matrix}{' by columns' if header.by_columns else ''}")
    if header.by_columns:
        batches = _by_columns(source, options, reading, archive, matrix, tokens)
    else:
        readinto = _reader(source, archive, matrix)
        batches = streamed_batches(source, options, reading, header.dtype, tokens, readinto)
    reading.batches = batches
    return reading


def _matrix(source: Source, archive: Archive) -> Member:
    if (name := source.part) is not None:
        found = archive.named(name)
        if found is None:
            raise FormatError(
                f"member must name an array, received {name!r}; the archive has {archive}",
                path=source.name,
            )
        if not found.header.is_matrix:
            raise refused_kind(found.header, source.name, f"the array {name}")
        return found
    candidates = [m for m in archive.members.values() if m.header.is_matrix]
    if len(candidates) == 1:
        return candidates[0]
    if len(archive.members) == 1:
        (only,) = archive.members.values()
        raise refused_kind(only.header, source.name, f"the array {only.name}")
    raise FormatError(
        f"one 2-D array of floats is needed unless member= (--member) names one, received "
        f"{', '.join(map(str, candidates[:20])) or archive}",
        path=source.name,
    )


def _reader(source: Source, archive: Archive, member: Member) -> Callable[[memoryview], int]:
    """What fills memory with the next bytes of an array; fewer only at its end."""
    file: Any = archive.values(member)

    def readinto(target: memoryview) -> int:
        filled = 0
        with understood(source):
            while filled < len(target) and (got := file.readinto(target[filled:])):
                filled += got
        return filled

    return readinto


def _by_columns(
    source: Source,
    options: ReadOptions,
    reading: Reading,
    archive: Archive,
    member: Member,
    tokens: Tokens,
) -> Iterator[Batch]:
    """Batches of an array by columns, unpacked into a file: a row of it lies all over."""
    header = member.header
    file = archive.values(member)
    blocks = (memoryview(block) for block in iter(partial(file.read, SPOOL_BLOCK), b""))
    with understood(source):
        spool = spooled(blocks, source.spool_limit, source.name, source.resources)
    _check_filled(source, member, spool.seek(0, os.SEEK_END))
    if header.nbytes:
        mapped = mmap.mmap(spool.fileno(), header.nbytes, access=mmap.ACCESS_READ)
        values = values_of(mapped, ArrayHeader(header.dtype, header.shape, True, 0))
        table = TokenMatrix(values, 0, tokens)
        yield from mapped_batches(source, options, reading, table, mapped)


def _check_filled(source: Source, member: Member, got: int, least: int | None = None) -> None:
    """Refuse an array that ends before the end that its archive says: the rest would be anything.

    Raises
    ------
    FormatError
        There are fewer than `least` bytes (default: all).
    """
    if got < (member.header.nbytes if least is None else least):
        raise FormatError(
            f"the array {member} must have {member.header.nbytes} bytes, received {got}: the "
            f"archive is damaged, get it again",
            path=source.name,
        )


def _tokens(source: Source, archive: Archive, rows: int, options: ReadOptions) -> Tokens:
    if options.tokens is not None:
        member = archive.named(name_of(options.tokens))
        if member is None:
            return side_tokens(options.tokens, rows, options)
        return _checked(source, _strings(source, archive, member, options), rows, member.name)
    if {SPELLED, OFFSETS} <= archive.members.keys():
        return _checked(source, _spelled(source, archive, options), rows, SPELLED)
    strings = [m for m in archive.members.values() if m.header.dtype.kind in "US"]
    fitting = [m for m in strings if m.header.shape == (rows,)]
    if len(fitting) == 1:
        return _strings(source, archive, fitting[0], options)
    if not fitting and (path := tokens_beside(source)) is not None:
        return side_tokens(path, rows, options)
    pickled = any(m.header.dtype.hasobject for m in archive.members.values())
    what = "; pickled objects can run any code and are not opened: save words with dtype=str"
    raise FormatError(
        f"one array of {rows} strings is needed for the tokens, received "
        f"{', '.join(map(str, fitting)) or archive}: name an array or a file of them with tokens= "
        f"(--tokens){what if pickled else ''}",
        path=source.name,
    )


def _checked(source: Source, tokens: Tokens, rows: int, name: str) -> Tokens:
    if len(tokens) != rows:
        raise FormatError(
            f"each row needs a token, received {len(tokens)} tokens in {name} for {rows} rows: "
            f"name another array or a file of them with tokens= (--tokens)",
            path=source.name,
        )
    return tokens


def _strings(source: Source, archive: Archive, member: Member, options: ReadOptions) -> Tokens:
    """The elements of an array of strings; NumPy has no NUL at the end of one."""
    dtype = member.header.dtype
    size = dtype.itemsize
    if dtype.kind not in "US" or len(member.header.shape) != 1 or not 0 < size <= STRING_BYTES:
        raise FormatError(
            f"tokens must be an array of strings (dtype=str), received {member}: name another "
            f"array or a file of them with tokens= (--tokens)",
            path=source.name,
        )
    readinto = _reader(source, archive, member)
    parts = [Tokens.from_bytes([], options.unicode_errors)]
    for low, high in spans(0, member.header.shape[0], max(1, STRING_BYTES // size // 16)):
        block = np.empty(high - low, dtype)
        got = readinto(memoryview(block.view(np.uint8)))
        _check_filled(source, member, low * size + got, high * size)
        parts.append(_encoded(source, member, block, options))
    return Tokens.joined(parts)


def _encoded(
    source: Source, member: Member, block: npt.NDArray[Any], options: ReadOptions
) -> Tokens:
    if block.dtype.kind == "S":
        return Tokens.from_bytes(block.tolist(), options.unicode_errors)
    try:
        return Tokens.from_strings(block.tolist())
    except (EmbedFreezeError, ValueError, SystemError) as error:
        raise FormatError(
            f"the array {member.name} must hold Unicode text ({error}): it is damaged, get it "
            f"again",
            path=source.name,
        ) from error


def _spelled(source: Source, archive: Archive, options: ReadOptions) -> Tokens:
    """Tokens as the two arrays that hold every token."""
    blob, offsets = (
        _whole(source, archive, archive.members[name], dtype)
        for name, dtype in ((SPELLED, "|u1"), (OFFSETS, "<i8"))
    )
    ends = (0, len(blob)) if not len(offsets) else (offsets[0], offsets[-1])
    if not len(offsets) or ends != (0, len(blob)) or (np.diff(offsets) < 0).any():
        raise FormatError(
            f"{OFFSETS} must rise from 0 to {len(blob)}: the file is damaged, get it again",
            path=source.name,
        )
    return Tokens(blob, offsets, unicode_errors=options.unicode_errors)


def _whole(source: Source, archive: Archive, member: Member, dtype: str) -> npt.NDArray[Any]:
    header = member.header
    if header.dtype != np.dtype(dtype) or len(header.shape) != 1:
        raise FormatError(
            f"{member.name} must be a 1-D array of {np.dtype(dtype).name}, received {header}: "
            f"name other tokens with tokens= (--tokens)",
            path=source.name,
        )
    with understood(source):
        return np.frombuffer(archive.values(member).read(), dtype)


NPZ = Format("npz", sniff, read, Writer((".npz",), write, packable=False), parts=True)
