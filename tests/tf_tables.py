"""Checkpoints of TensorFlow made by hand, from the description of their files."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

MAGIC = 0xDB4775248B80FB57
DTYPES = {"float32": 1, "float64": 2, "float16": 19}


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def crc32c(data: bytes) -> int:
    """Bit by bit, after the definition; masked as LevelDB does."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def block(entries: Mapping[bytes, bytes], kind: int = 0, packed: bytes | None = None) -> bytes:
    """A block whose keys share nothing, and its trailer; `packed` stands in for its bytes."""
    body = b"".join(
        varint(0) + varint(len(key)) + varint(len(value)) + key + value
        for key, value in entries.items()
    )
    body += struct.pack("<II", 0, 1)
    body = (body if packed is None else packed) + bytes([kind])
    return body + struct.pack("<I", crc32c(body))


def handle(offset: int, size: int) -> bytes:
    return varint(offset) + varint(size)


def index(*blocks: bytes) -> bytes:
    """An index of finished blocks."""
    at, handles = 0, {}
    for i, data in enumerate(blocks):
        handles[b"%d" % i] = handle(at, len(data) - 5)
        at += len(data)
    meta, own = block({}), block(handles)
    footer = handle(at, len(meta) - 5) + handle(at + len(meta), len(own) - 5)
    return b"".join([*blocks, meta, own, footer.ljust(40, b"\0"), struct.pack("<Q", MAGIC)])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (1 << 64) - 1)
    return varint(number << 3 | 2) + varint(len(value)) + value


def entry(
    dtype: int, shape: tuple[int, ...], size: int, *, offset: int = 0, shard: int = 0
) -> bytes:
    dims = b"".join(field(2, field(1, dim)) for dim in shape)
    message = field(1, dtype) + field(2, dims) + field(3, shard)
    return message + field(4, offset) + field(5, size)


def header(shards: int = 1) -> bytes:
    return field(1, shards) + field(3, field(1, 1))


def save(prefix: Path, **matrices: npt.NDArray[np.generic]) -> Path:
    """A checkpoint of some matrices in one file; the path of its index."""
    entries, at = {b"": header()}, 0
    with open(f"{prefix}.data-00000-of-00001", "wb") as file:
        for name, matrix in sorted(matrices.items()):
            kind = DTYPES[str(matrix.dtype)]
            entries[name.encode()] = entry(kind, matrix.shape, matrix.nbytes, offset=at)
            matrix.tofile(file)
            at += matrix.nbytes
    path = Path(f"{prefix}.index")
    path.write_bytes(index(block(entries)))
    return path
