"""A sorted string table, LevelDB's file format: TensorFlow keeps the index of a checkpoint in one.

Sources: https://github.com/google/leveldb/blob/main/doc/table_format.md and, for packed blocks,
https://github.com/google/snappy/blob/main/format_description.txt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from embedfreeze.checkpoints.checksums import masked_crc32c
from embedfreeze.checkpoints.messages import number

__all__ = ["MAGIC", "entries"]

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5  # how a block is packed, and the checksum of both
_PLAIN, _SNAPPY = 0, 1
_LARGEST_RATIO = 22  # three bytes of snappy can stand for 64
_LARGEST_BLOCK = 64 << 20  # unpacked
_LARGEST_KEYS = 64 << 20  # of all: a key in four bytes can be as long as all before it together
_KEY_BYTES = 64  # that each of them takes in memory beside its own


def entries(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The keys and values of a table.

    Raises
    ------
    ValueError, IndexError, struct.error
        It is no such table, or damaged.
    """
    footer = data[-_FOOTER_BYTES:]
    if len(footer) != _FOOTER_BYTES or footer[-len(MAGIC) :] != MAGIC:
        raise ValueError("it does not end in the number of such a table")
    _, _, at = _handle(footer, 0)
    offset, size, _ = _handle(footer, at)
    behind = 0  # a block that two handles name would be read for each
    left = _LARGEST_KEYS
    for _, handle in _of_block(_block(data, offset, size)):
        place, length, _ = _handle(handle, 0)
        if place < behind:
            raise ValueError("its blocks do not follow each other")
        behind = place + length
        for key, value in _of_block(_block(data, place, length)):
            left -= len(key) + _KEY_BYTES
            if left < 0:
                raise ValueError(f"its keys take more than {_LARGEST_KEYS} bytes")
            yield key, value


def _handle(data: memoryview, at: int) -> tuple[int, int, int]:
    """Offset and size of a block, and where the handle ends."""
    offset, at = number(data, at)
    size, at = number(data, at)
    return offset, size, at


def _block(data: memoryview, offset: int, size: int) -> memoryview:
    """A block without its index of restarts."""
    if offset + size + _TRAILER_BYTES > len(data):
        raise ValueError("a block ends behind the file")
    block, kind = data[offset : offset + size], data[offset + size]
    (checksum,) = struct.unpack_from("<I", data, offset + size + 1)
    if checksum != masked_crc32c(data[offset : offset + size + 1]):
        raise ValueError(f"the block at byte {offset} does not have its checksum")
    if kind == _SNAPPY:
        block = memoryview(_unpacked(block))
    elif kind != _PLAIN:
        raise ValueError(f"the block at byte {offset} is packed in the unknown way {kind}")
    (restarts,) = struct.unpack("<I", block[-4:])
    if 4 * (restarts + 1) > len(block):
        raise ValueError("a block is too short for its index")
    return block[: len(block) - 4 * (restarts + 1)]


def _of_block(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values; a key has what it shares with the one before it left out."""
    at, key = 0, b""
    while at < len(block):
        shared, at = number(block, at)
        more, at = number(block, at)
        length, at = number(block, at)
        if shared > len(key) or at + more + length > len(block):
            raise ValueError("an entry ends behind its block")
        key = key[:shared] + bytes(block[at : at + more])
        at += more
        yield key, block[at : at + length]
        at += length


# ---- packed blocks


def _unpacked(data: memoryview) -> bytes:
    """A block that snappy packed."""
    size, at = number(data, 0)
    if size > min(_LARGEST_RATIO * len(data), _LARGEST_BLOCK):
        raise ValueError(f"a block of {len(data)} packed bytes cannot hold {size}")
    out = bytearray()
    while at < len(data) and len(out) <= size:
        kind = data[at] & 3
        at = _copy(data, at, kind, out) if kind else _literal(data, at, out)
    if len(out) != size:
        raise ValueError(f"a packed block must hold {size} bytes, received {len(out)}")
    return bytes(out)


def _literal(data: memoryview, at: int, out: bytearray) -> int:
    """Append bytes that stand there as they are."""
    length, at = (data[at] >> 2) + 1, at + 1
    if length > 60:  # the length itself stands in one to four bytes
        extra = length - 60
        length, at = int.from_bytes(data[at : at + extra], "little") + 1, at + extra
    if at + length > len(data):
        raise ValueError("a packed block ends too early")
    out += data[at : at + length]
    return at + length


def _copy(data: memoryview, at: int, kind: int, out: bytearray) -> int:
    """Append bytes that came before; they may overlap with what is appended."""
    if kind == 1:
        length, back = (data[at] >> 2 & 7) + 4, data[at] >> 5 << 8 | data[at + 1]
        at += 2
    else:
        width = 2 * (kind - 1)
        length, back = (data[at] >> 2) + 1, int.from_bytes(data[at + 1 : at + 1 + width], "little")
        at += 1 + width
    if not 0 < back <= len(out):
        raise ValueError("a packed block refers to what is before it")
    start = len(out) - back
    while length:
        piece = out[start : start + length]
        out += piece
        start, length = start + len(piece), length - len(piece)
    return at
