"""Shards as TFRecord files of `tf.train.Example`, without TensorFlow.

A record is the length of its message (uint64), the checksum of that, the message, and the checksum
of the message. Source: https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from embedfreeze.batch.columns import Block, Column, part, text_bytes
from embedfreeze.batch.shards.base import ShardFormat, ShardReader, Write, one_file
from embedfreeze.batch.shards.examples import examples, records
from embedfreeze.checkpoints.checksums import masked_crc32c
from embedfreeze.files import Output
from embedfreeze.threads import spans

__all__ = ["TFRECORD"]

WRITE_ROWS = 1024
HEAD_BYTES, TAIL_BYTES = 12, 4

_files = one_file(".tfrecord")


@lru_cache(4096)
def _head(size: int) -> bytes:
    length = struct.pack("<Q", size)
    return length + struct.pack("<I", masked_crc32c(length))


def _framed(messages: Iterator[bytes]) -> Iterator[bytes]:
    for message in messages:
        yield _head(len(message))
        yield message
        yield masked_crc32c(message).to_bytes(4, "little")


@contextmanager
def _writing(output: Output, _: list[str], columns: Sequence[Column]) -> Iterator[Write]:
    def write(block: Block) -> None:
        for column in columns:
            if column.is_text:
                text_bytes(block[column.name])  # type: ignore[arg-type]
        for low, high in spans(0, len(block[columns[0].name]), WRITE_ROWS):
            rows = {name: part(values, low, high) for name, values in block.items()}
            output.file.write(b"".join(_framed(examples(rows, columns))))

    yield write


class _Reader:
    """Finds the records of a file by their lengths."""

    def __init__(self, data: memoryview, columns: Sequence[Column]) -> None:
        self._data, self._columns = data, columns
        self._starts, at = [0], 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            if data[at : at + HEAD_BYTES] != _head(size):
                raise ValueError(f"a length without its checksum at byte {at}")
            at += HEAD_BYTES + size + TAIL_BYTES
            self._starts.append(at)
        if at > len(data):
            raise ValueError("a record that ends behind the file")
        self.rows = len(self._starts) - 1

    def read(self, start: int, stop: int) -> Block:
        return records([self._message(row) for row in range(start, stop)], self._columns)

    def _message(self, row: int) -> memoryview:
        low, high = self._starts[row] + HEAD_BYTES, self._starts[row + 1] - TAIL_BYTES
        message = self._data[low:high]
        if struct.unpack_from("<I", self._data, high) != (masked_crc32c(message),):
            raise ValueError(f"a record without its checksum at byte {low}")
        return message


@contextmanager
def _opened(folder: str, stem: str, columns: Sequence[Column]) -> Iterator[ShardReader]:
    with open(os.path.join(folder, f"{stem}.tfrecord"), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            yield _Reader(memoryview(b""), columns)
            return
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        yield _Reader(memoryview(mapping), columns)


TFRECORD = ShardFormat(_files, _writing, _opened)
