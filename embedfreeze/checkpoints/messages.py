"""The fields of a message of protocol buffers, and the numbers they are made of.

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["fields", "number", "signed"]

Field = tuple[int, int | memoryview]
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_FIXED = {_EIGHT: "<Q", _FOUR: "<I"}


def number(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends.

    Raises
    ------
    ValueError, IndexError
        It has more than 64 bits, or the data end in it.
    """
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")


def signed(value: int) -> int:
    """A number as the int64 that its 64 bits are."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def fields(message: memoryview) -> Iterator[Field]:
    """The number and the value of each field: an int, or bytes that are text or a message.

    Raises
    ------
    ValueError, IndexError, struct.error
        It is no message.
    """
    at = 0
    while at < len(message):
        tag, at = number(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = number(message, at)
            yield tag >> 3, value
        elif kind == _BYTES:
            size, at = number(message, at)
            if at + size > len(message):
                raise ValueError("a field ends behind its message")
            yield tag >> 3, message[at : at + size]
            at += size
        elif kind in _FIXED:
            (value,) = struct.unpack_from(_FIXED[kind], message, at)
            yield tag >> 3, value
            at += struct.calcsize(_FIXED[kind])
        else:
            raise ValueError(f"a field has the unknown type {kind}")
