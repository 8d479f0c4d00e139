"""Where the variables of a TensorFlow checkpoint lie in its files, so that they can be mapped.

A checkpoint is an index, a sorted string table, and files of raw values. Source, for the messages
in the index: tensorflow/core/protobuf/tensor_bundle.proto; for the keys of a variable's parts:
tensorflow/core/lib/strings/ordered_code.cc and tensorflow/core/util/saved_tensor_slice_util.cc.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from mmap import ACCESS_READ, mmap

import numpy as np
import numpy.typing as npt

from embedfreeze.checkpoints.messages import fields, number, signed
from embedfreeze.checkpoints.sortedtable import entries
from embedfreeze.errors import FormatError

__all__ = ["Bundle", "Stored"]

# Of tensorflow/core/framework/types.proto: those that have values of one size.
DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
LARGEST_INDEX = 64 << 20  # one entry takes about 100 bytes
_GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"
_LARGEST_GRAPH = 64 << 20
_BIG_ENDIAN = 1
_MOST_DIMENSIONS = 254  # of TensorFlow
_WHOLE = -1  # the length of a slice that is a whole dimension

Extent = tuple[int, int]  # start and length in one dimension


@dataclass(frozen=True)
class Stored:
    """Where the value of a variable lies.

    Attributes
    ----------
    shape : tuple of int
        Of the variable.
    dtype : str
        One of `DTYPES`, or the number that TensorFlow has for another kind.
    shard, offset, size : int
        The file, and the bytes in it.
    slices : tuple of tuple of (int, int)
        The parts that the value is cut into, if it is: start and length in each dimension.
    checksum : int
        The CRC-32C of those bytes.
    """

    shape: tuple[int, ...]
    dtype: str
    shard: int
    offset: int
    size: int
    slices: tuple[tuple[Extent, ...], ...] = ()
    checksum: int = 0


class Bundle:
    """The index of a checkpoint, read whole; values are mapped when they are asked for.

    Parameters
    ----------
    prefix : str
        The path of the checkpoint, without ``.index``.

    Attributes
    ----------
    variables : dict of bytes to Stored
        By their names in the checkpoint.

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
            data = file.read(LARGEST_INDEX + 1)
        self.variables: dict[bytes, Stored] = {}
        self._parts: dict[bytes, Stored] = {}
        self._shards = 1
        try:
            if len(data) > LARGEST_INDEX:
                raise ValueError(f"it has more than {LARGEST_INDEX} bytes")
            for key, value in entries(memoryview(data)):
                self._add(key, value)
        except (IndexError, ValueError, struct.error) as error:
            raise FormatError(
                f"the index of a checkpoint must be a sorted string table ({error}): the file is "
                "damaged, save the model again",
                path=self._index,
            ) from error

    def _add(self, key: bytes, message: memoryview) -> None:
        if not key:
            self._shards = _shards(message)
        elif key.startswith(b"\0"):  # a part of a variable, whose name is inside of the key
            self._parts[key] = _stored(message)
        else:
            self.variables[key] = _stored(message)

    def parts(self, key: bytes) -> list[Stored]:
        """The pieces that a variable lies in: all of its rows, in their order.

        Raises
        ------
        FormatError
            A piece is missing, or the variable is cut otherwise than between rows.
        """
        stored = self.variables[key]
        if not stored.slices:
            return [stored]
        found, rows = [], 0
        for extents in sorted(stored.slices):
            part = self._parts.get(_part_key(key, extents))
            if part is None or not _follows(stored, extents, part, rows):
                raise FormatError(
                    f"the parts of a variable must be rows that follow each other, received others "
                    f"for {key.decode('utf-8', 'replace')} {list(stored.shape)}, such as the one "
                    f"that begins at {[start for start, _ in extents]}: save the variable in one "
                    f"piece",
                    path=self._index,
                )
            found.append(part)
            rows += part.shape[0]
        if rows != stored.shape[0]:
            raise FormatError(
                f"the parts of a variable must be all of its rows, received {rows} of "
                f"{stored.shape[0]} for {key.decode('utf-8', 'replace')}: save the model again",
                path=self._index,
            )
        return found

    def path_of(self, stored: Stored) -> str:
        """The file that holds a value."""
        return f"{self._prefix}.data-{stored.shard:05d}-of-{self._shards:05d}"

    def mapped(self, stored: Stored) -> mmap:
        """The file that holds a value, mapped whole.

        Raises
        ------
        FormatError
            The file ends before the value does.
        OSError
            The file cannot be read.
        """
        path = self.path_of(stored)
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not 0 <= stored.offset <= stored.offset + stored.size <= size:
                raise FormatError(
                    f"a variable must lie in the file, received one that ends at byte "
                    f"{stored.offset + stored.size} of {size}: the file is damaged or cut off, "
                    "save the model again",
                    path=path,
                )
            return mmap(file.fileno(), 0, access=ACCESS_READ)

    def bytes_of(self, stored: Stored) -> npt.NDArray[np.uint8]:
        """The value of a variable in one piece, uint8 [1, size], mapped from its file.

        Raises
        ------
        FormatError
            The file ends before it.
        OSError
            The file cannot be read.
        """
        mapped = self.mapped(stored)
        return np.frombuffer(mapped, np.uint8, stored.size, stored.offset).reshape(1, -1)

    def of_shape(self, shape: tuple[int, ...]) -> list[Stored]:
        """The variables of a shape that lie in one piece."""
        return [s for s in self.variables.values() if s.shape == shape and not s.slices]

    def full_names(self) -> dict[bytes, str]:
        """The names that variables have in their model, where the checkpoint keeps them.

        A checkpoint of objects names a variable by the way to it; what it is called beside that is
        in a description of the objects. One that cannot be read tells no names.
        """
        stored = self.variables.get(_GRAPH)
        if stored is None or stored.slices or stored.size > _LARGEST_GRAPH:
            return {}
        try:
            graph = _string(memoryview(self.bytes_of(stored).tobytes()))
            return {
                key: name
                for node in _messages(graph, 1)
                for key, name in map(_attribute, _messages(node, 2))
                if key and name
            }
        except (OSError, IndexError, ValueError, struct.error):
            return {}


# ---- the messages of an index


def _shards(header: memoryview) -> int:
    found = dict(fields(header))
    if found.get(2, 0) == _BIG_ENDIAN:
        raise ValueError("it was written on a big-endian machine")
    return int(found.get(1, 0))


def _stored(message: memoryview) -> Stored:
    numbers = {n: signed(value) for n, value in fields(message) if isinstance(value, int)}
    kind, shard, offset, size, checksum = (numbers.get(field, 0) for field in (1, 3, 4, 5, 6))
    shape = tuple(n for inner in _messages(message, 2) for n in _shape(inner))
    slices = tuple(tuple(_slice(inner)) for inner in _messages(message, 7))
    dtype = DTYPES.get(kind, f"type {kind}")
    if min(0, shard, offset, size, *shape) < 0:
        raise ValueError("an entry has a negative number")
    if len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"a variable has {len(shape)} dimensions")
    if not slices and kind in DTYPES and prod(shape) * _itemsize(dtype) != size:
        raise ValueError(f"{size} bytes are not a {dtype} value {list(shape)}")
    return Stored(shape, dtype, shard, offset, size, slices, checksum)


def _itemsize(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The messages, or texts, of one field."""
    for field, value in fields(message):
        if field == wanted and isinstance(value, memoryview):
            yield value


def _shape(message: memoryview) -> Iterator[int]:
    for dim in _messages(message, 2):
        yield signed(int(dict(fields(dim)).get(1, 0)))


def _slice(message: memoryview) -> Iterator[Extent]:
    for extent in _messages(message, 1):
        found = dict(fields(extent))
        yield signed(int(found.get(1, 0))), signed(int(found.get(2, _WHOLE)))


def _attribute(message: memoryview) -> tuple[bytes, str]:
    """Key and full name of a variable, in the description of the objects."""
    found = {field: bytes(v) for field, v in fields(message) if isinstance(v, memoryview)}
    return found.get(3, b""), found.get(2, b"").decode("utf-8", "replace")


def _string(data: memoryview) -> memoryview:
    """A value that is one string: its length, the checksum of that, and its bytes."""
    length, at = number(data, 0)
    if at + 4 + length != len(data):
        raise ValueError("a string does not have its length")
    return data[at + 4 :]


# ---- the parts of a variable


def _follows(stored: Stored, extents: tuple[Extent, ...], part: Stored, rows: int) -> bool:
    """Is a part all of some rows, the first of which is row `rows`?"""
    if len(extents) != len(stored.shape) or part.slices or part.dtype != stored.dtype:
        return False
    wide = zip(extents[1:], stored.shape[1:], strict=True)
    if any(start or length not in (_WHOLE, size) for (start, length), size in wide):
        return False
    start, length = extents[0]
    count = stored.shape[0] if length == _WHOLE else length
    return start == rows and part.shape == (count, *stored.shape[1:])


_ESCAPED = {0: b"\0\xff", 0xFF: b"\xff\0"}


def _part_key(name: bytes, extents: tuple[Extent, ...]) -> bytes:
    escaped = b"".join(_ESCAPED.get(byte, bytes([byte])) for byte in name)
    numbers = (_ordered(n) for extent in extents for n in extent)
    return b"\0" + escaped + b"\0\1" + b"\1" + bytes([len(extents)]) + b"".join(numbers)


def _ordered(value: int) -> bytes:
    """A number in as few bytes as it needs, whose first bits tell how many there are."""
    size, magnitude = 1, value if value >= 0 else ~value
    while magnitude >> (7 * size - 1):
        size += 1
    header = ((1 << size) - 1) << (7 * size)
    return ((value & ((1 << 8 * size) - 1)) ^ header).to_bytes(size, "big")
