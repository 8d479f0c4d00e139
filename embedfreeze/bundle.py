"""Where the variables of a TensorFlow checkpoint lie in its files, so that they can be mapped.

A checkpoint is an index, a sorted string table as LevelDB's, and files of raw values. Sources:
https://github.com/google/leveldb/blob/main/doc/table_format.md and, for the messages in it,
tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap

import numpy as np
import numpy.typing as npt
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

from embedfreeze.errors import FormatError

__all__ = ["Bundle", "Stored"]

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_PLAIN = 0  # blocks that are not compressed, as TensorFlow writes them


@dataclass(frozen=True)
class Stored:
    """Where the value of a variable lies.

    Attributes
    ----------
    shape : tuple of int
        Of the variable.
    shard, offset, size : int
        The file, and the bytes in it.
    """

    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


class Bundle:
    """The index of a checkpoint, read whole; values are mapped when they are asked for.

    Parameters
    ----------
    prefix : str
        The path of the checkpoint, without ``.index``.

    Raises
    ------
    FormatError
        The index is damaged.
    OSError
        It cannot be read.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._index = f"{prefix}.index"
        with open(self._index, "rb") as file:
            data = file.read()
        self.variables: dict[bytes, Stored] = {}
        self._shards = 1
        try:
            self._read(memoryview(data))
        except (IndexError, ValueError, struct.error) as error:
            raise FormatError(
                f"the index of a checkpoint must be a sorted string table ({error}): the file is "
                "damaged, save the model again",
                path=self._index,
            ) from error

    def _read(self, data: memoryview) -> None:
        footer = data[-_FOOTER_BYTES:]
        if len(footer) != _FOOTER_BYTES or struct.unpack("<Q", footer[-8:]) != (_MAGIC,):
            raise ValueError("it does not end in the number of such a table")
        _, _, at = _handle(footer, 0)
        offset, size, _ = _handle(footer, at)
        for _, handle in _entries(_block(data, offset, size)):
            place, length, _ = _handle(handle, 0)
            for key, value in _entries(_block(data, place, length)):
                self._add(key, bytes(value))

    def _add(self, key: bytes, message: bytes) -> None:
        from google.protobuf.message import DecodeError

        try:
            if not key:
                self._shards = BundleHeaderProto.FromString(message).num_shards
                return
            entry = BundleEntryProto.FromString(message)
        except DecodeError as error:
            raise ValueError(str(error)) from error
        if not entry.slices:  # a variable in one piece
            shape = tuple(dim.size for dim in entry.shape.dim)
            self.variables[key] = Stored(shape, entry.shard_id, entry.offset, entry.size)

    def bytes_of(self, stored: Stored) -> npt.NDArray[np.uint8]:
        """The value of a variable, uint8 [1, size], mapped from its file.

        Raises
        ------
        FormatError
            The file ends before it.
        OSError
            The file cannot be read.
        """
        path = f"{self._prefix}.data-{stored.shard:05d}-of-{self._shards:05d}"
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not 0 <= stored.offset <= stored.offset + stored.size <= size:
                raise FormatError(
                    f"a variable must lie in the file, received one that ends at byte "
                    f"{stored.offset + stored.size} of {size}: the file is damaged or cut off, "
                    "save the model again",
                    path=path,
                )
            mapped = mmap(file.fileno(), 0, access=ACCESS_READ)
        return np.frombuffer(mapped, np.uint8, stored.size, stored.offset).reshape(1, -1)

    def of_shape(self, shape: tuple[int, ...]) -> list[Stored]:
        """The variables of a shape."""
        return [stored for stored in self.variables.values() if stored.shape == shape]


def _number(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")


def _handle(data: memoryview, at: int) -> tuple[int, int, int]:
    """Offset and size of a block, and where the handle ends."""
    offset, at = _number(data, at)
    size, at = _number(data, at)
    return offset, size, at


def _block(data: memoryview, offset: int, size: int) -> memoryview:
    """A block without its index of restarts."""
    if offset + size + 5 > len(data):
        raise ValueError("a block ends behind the file")
    if data[offset + size] != _PLAIN:
        raise ValueError("a block is compressed")
    block = data[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    if 4 * (restarts + 1) > size:
        raise ValueError("a block is too short for its index")
    return block[: size - 4 * (restarts + 1)]


def _entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values; a key has what it shares with the one before it left out."""
    at, key = 0, b""
    while at < len(block):
        shared, at = _number(block, at)
        more, at = _number(block, at)
        length, at = _number(block, at)
        if shared > len(key) or at + more + length > len(block):
            raise ValueError("an entry ends behind its block")
        key = key[:shared] + bytes(block[at : at + more])
        at += more
        yield key, block[at : at + length]
        at += length
