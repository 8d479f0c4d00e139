"""Records as messages of `tf.train.Example`, as protocol buffers spell them, without TensorFlow.

The features stand in the order of their names, as TensorFlow's own deterministic messages have
them. Source: tensorflow/core/example/feature.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.batch.columns import Block, Column, Ragged, Values
from embedfreeze.checkpoints.messages import fields

__all__ = ["examples", "records"]

_FIELD_1, _FIELD_2 = b"\x0a", b"\x12"  # of bytes
_KINDS = {"str": b"\x0a", "float32": b"\x12", "int32": b"\x1a", "int64": b"\x1a"}
_NUMBERS = {"str": 1, "float32": 2, "int32": 3, "int64": 3}
_LONGEST = 10  # bytes of a number


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@lru_cache(4096)
def _field(tag: bytes, size: int) -> bytes:
    """What stands before a field of so many bytes."""
    return tag + _varint(size)


@lru_cache(4096)
def _before(column: Column, size: int) -> bytes:
    """What stands in an Example before the values of a column, which take so many bytes."""
    # A field of no numbers is left out as a whole, one of an empty text is not.
    inner = _field(_FIELD_1, size) if size or column.is_text else b""
    feature = _field(_KINDS[column.dtype], len(inner) + size) + inner
    name = column.name.encode()
    entry = _field(_FIELD_1, len(name)) + name + _field(_FIELD_2, len(feature) + size) + feature
    return _field(_FIELD_1, len(entry) + size) + entry


def examples(block: Block, columns: Sequence[Column]) -> Iterator[bytes]:
    """The message of each record."""
    ordered = sorted(columns, key=lambda column: column.name)
    parts = [_parts(column, block[column.name]) for column in ordered]
    for row in zip(*parts, strict=True):
        pieces: list[memoryview | bytes] = []
        for column, packed in zip(ordered, row, strict=True):
            pieces += (_before(column, len(packed)), packed)
        features = b"".join(pieces)
        yield _field(_FIELD_1, len(features)) + features


def _parts(column: Column, values: Any) -> Iterator[memoryview | bytes]:
    """The values of each record, as its message holds them."""
    if column.is_text:
        return (text.encode() for text in values)
    flat = values.values if isinstance(values, Ragged) else values.reshape(-1)
    if isinstance(values, Ragged):
        ends = values.row_splits
    else:
        ends = np.arange(len(values) + 1) * (column.row_shape[0] if column.shape else 1)
    if column.dtype == "float32":
        blob, ends = flat.tobytes(), 4 * ends
    else:
        blob, lengths = _varints(flat)
        ends = np.concatenate([[0], np.cumsum(lengths)])[ends]
    view = memoryview(blob)
    return (view[low:high] for low, high in pairwise(ends.tolist()))


def _varints(numbers: npt.NDArray[Any]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Integers of seven bits a byte, one behind the other, and how many bytes each takes."""
    words = numbers.astype(np.int64).view(np.uint64)
    lengths = np.ones(len(words), np.int64)
    for place in range(1, _LONGEST):
        lengths += words >= np.uint64(1 << 7 * place)
    blob = np.empty(int(lengths.sum()), np.uint8)
    starts = np.cumsum(lengths) - lengths
    for place in range(int(lengths.max(initial=0))):
        there = lengths > place
        septet = (words[there] >> np.uint64(7 * place)) & np.uint64(0x7F)
        more = (lengths[there] > place + 1).astype(np.uint8) << 7
        blob[starts[there] + place] = septet.astype(np.uint8) | more
    return blob.tobytes(), lengths


def records(messages: Sequence[memoryview], columns: Sequence[Column]) -> Block:
    """The values of messages.

    Raises
    ------
    ValueError, LookupError, struct.error
        They are not those of the columns.
    """
    found: dict[str, list[bytes]] = {column.name: [] for column in columns}
    for message in messages:
        features = dict(_features(message))
        for column in columns:
            found[column.name].append(_packed(features[column.name], _NUMBERS[column.dtype]))
    return {column.name: _unpacked(column, found[column.name]) for column in columns}


def _features(message: memoryview) -> Iterator[tuple[str, memoryview]]:
    ((_, inner),) = fields(message)
    for _, entry in fields(_bytes(inner)):
        parts = dict(fields(_bytes(entry)))
        yield bytes(_bytes(parts[1])).decode(), _bytes(parts[2])


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message must be")
    return value


def _packed(feature: memoryview, number: int) -> bytes:
    ((kind, inner),) = fields(feature)
    if kind != number:
        raise ValueError(f"a feature of kind {kind}")
    return b"".join(_bytes(value) for _, value in fields(_bytes(inner)))


def _unpacked(column: Column, parts: list[bytes]) -> Values:
    if column.is_text:
        return [part.decode() for part in parts]
    sizes = np.array([len(part) for part in parts], np.int64)
    blob = np.frombuffer(b"".join(parts), np.uint8)
    if column.dtype == "float32":
        flat: npt.NDArray[Any] = blob.view("<f4")
        lengths = sizes // 4
    else:
        last = np.concatenate([[0], np.cumsum(blob < 0x80)])
        ends = np.concatenate([[0], np.cumsum(sizes)])
        lengths = np.diff(last[ends])
        flat = _numbers(blob).astype(column.dtype)
    if column.is_ragged:
        return Ragged(flat, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))
    width = column.row_shape[0] if column.shape else 1
    if (lengths != width).any():
        raise ValueError(f"a record of {column.name} with {set(lengths.tolist())} values")
    return flat.reshape(len(parts), *column.row_shape)


def _numbers(blob: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    ends = np.flatnonzero(blob < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    lengths = ends - starts + 1
    if lengths.max(initial=0) > _LONGEST or (len(blob) and blob[-1] >= 0x80):
        raise ValueError("a number that is too long")
    words = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max(initial=0))):
        there = lengths > place
        septets = (blob[starts[there] + place] & 0x7F).astype(np.uint64)
        words[there] |= septets << np.uint64(7 * place)
    return words.view(np.int64)
