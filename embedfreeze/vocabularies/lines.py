"""Bytes and lines of files that list tokens."""

from __future__ import annotations

import os

from embedfreeze.errors import FileError, FormatError, reason
from embedfreeze.files import PathLike, open_source

__all__ = ["decode", "read_bytes", "read_lines"]

_BLOCK_BYTES = 1 << 20
_LARGEST_RATIO = 100  # of what is packed to its size, where that is more than this:
_SMALL_BYTES = 256 << 20


def read_bytes(path: PathLike) -> bytes:
    """What a file holds, decompressed, without a BOM.

    Raises
    ------
    FileError
        The file cannot be read.
    FormatError
        The compressed bytes are damaged, or become far more than a list of tokens does.
    """
    name = os.fspath(path)
    try:
        if os.path.isfile(name) and not os.path.getsize(name):
            return b""
    except OSError as error:
        raise FileError(f"cannot be read: {reason(error)}", path=name) from error
    parts, size = [], 0
    with open_source(path) as source:
        block = bytearray(_BLOCK_BYTES)
        most = max(_SMALL_BYTES, _LARGEST_RATIO * source.size)
        while got := source.readinto(memoryview(block)):
            parts.append(bytes(block[:got]))
            size += got
            if source.container is not None and size > most:
                raise FormatError(
                    f"a packed file must hold at most {most} bytes, received more: if it is what "
                    f"you expect, unpack it first",
                    path=source.name,
                )
    return b"".join(parts).removeprefix(b"\xef\xbb\xbf")


def read_lines(path: PathLike) -> list[bytes]:
    r"""The lines of a file without the ``\n`` or ``\r\n`` that ends them, and without a BOM.

    Raises
    ------
    FileError
        The file cannot be read.
    FormatError
        The compressed bytes are damaged.
    """
    lines = read_bytes(path).split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def decode(line: bytes, number: int, path: str) -> str:
    """A line as text; `FormatError` if it is not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"tokens must be UTF-8, received {line!r}", path=path, line=number
        ) from error
