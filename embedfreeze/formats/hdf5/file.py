"""A file for the HDF5 library, of which it is told before it reads what would not end.

The library goes from object to object of a heap of strings by the sizes that these claim: a size of
zero keeps it there for ever, and one behind the end lets it read what is not its own. Source: the
HDF5 File Format Specification, III.E, Global Heap.
"""

from __future__ import annotations

import errno
import io
import os
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["HeapCheckedFile"]

SIGNATURE = b"GCOL"
SUPERBLOCK_BYTES = 16  # that are looked at
WORD = 8  # what all parts of a heap are a multiple of
LARGEST_HEAP = 1 << 20  # that is looked at as a whole; the library's own have 65,536 bytes
MOST_OBJECTS = 1 << 16  # in a heap
HEADER_BYTES = 16  # of a heap and of an object in it; a field in it may be shorter than 8 bytes
_OBJECT = struct.Struct("<H6xQ").unpack_from
_SHORT_OBJECT = struct.Struct("<H6xI").unpack_from
_LENGTH_BYTES_AT = {0: 14, 1: 14, 2: 10, 3: 10}  # in the superblock, by its version


class HeapCheckedFile(io.RawIOBase):
    """An open file whose heaps are looked at as they are read.

    Parameters
    ----------
    file : file
        It seeks; it stays open.
    mapping : mmap.mmap
        All bytes of it.
    """

    def __init__(self, file: Any, mapping: Any) -> None:
        super().__init__()
        self._file, self._mapping = file, mapping
        superblock = mapping[:SUPERBLOCK_BYTES].ljust(SUPERBLOCK_BYTES, b"\0")
        short = superblock[_LENGTH_BYTES_AT.get(superblock[8], 14)] == 4
        self._object = _SHORT_OBJECT if short else _OBJECT

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return int(self._file.seek(offset, whence))

    def readinto(self, buffer: Buffer, /) -> int:
        target = memoryview(buffer).cast("B")
        start = int(self._file.seek(0, os.SEEK_CUR))
        got = int(self._file.readinto(target))
        if target[: len(SIGNATURE)] == SIGNATURE:
            self._check_heap(start)
        return got

    def _check_heap(self, start: int) -> None:
        """Go through the objects of a heap as the library will."""
        data, unpack = self._mapping, self._object
        _, size = unpack(data, start) if start + HEADER_BYTES <= len(data) else (0, 0)
        if start + size > len(data) or size < HEADER_BYTES:
            raise OSError(errno.EIO, f"a heap at byte {start} ends behind the file")
        if size <= LARGEST_HEAP and unpack is _OBJECT:
            ends = _ends(np.frombuffer(data, "<u8", size // WORD, start))
        else:
            ends = self._walked(start, start + size)
        if not ends:
            raise OSError(errno.EIO, f"a heap at byte {start} has damaged objects")

    def _walked(self, start: int, end: int) -> bool:
        """Do the objects end where the heap does? One by one: they are few, and large."""
        at = start + HEADER_BYTES
        for _ in range(MOST_OBJECTS):
            if at + HEADER_BYTES > end:
                return True
            index, size = self._object(self._mapping, at)
            step = HEADER_BYTES + (size + WORD - 1 & -WORD) if index else size
            if not 0 < step <= end - at or step % WORD:
                return False
            at += step
        return False


def _ends(words: npt.NDArray[np.uint64]) -> bool:
    """Do the objects end where the heap does? All at once: it is most of the time of a read.

    For each word it is told where the object that began there would end; then where the one behind
    it would, the two behind that, and so on, in twice as long steps.
    """
    count = len(words)
    indexed = words[:-1] & np.uint64(0xFFFF) != 0
    sizes = words[1:]
    inside = sizes <= count * WORD
    steps = np.where(inside, sizes, 0).astype(np.int64)
    steps = np.where(indexed, HEADER_BYTES + (steps + WORD - 1 & -WORD), steps)
    ends = np.arange(count - 1) + steps // WORD
    fits = inside & (steps > 0) & (steps % WORD == 0) & (ends <= count)
    # The last word and what is behind it are the end; what does not fit leads to itself.
    ends = np.concatenate([np.where(fits, ends, np.arange(count - 1)), [count, count]])
    for _ in range(count.bit_length()):
        ends = ends[ends]
    return bool(ends[HEADER_BYTES // WORD] >= count - 1) if count > 2 else True
