"""The checksums of TensorFlow's files: those of LevelDB's tables and of TFRecord.

Source: https://github.com/google/leveldb/blob/main/util/crc32c.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embedfreeze import _kernel

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["masked_crc32c"]


def masked_crc32c(data: Buffer) -> int:
    """The CRC-32C of some bytes, turned by 15 bits and raised: one of bytes that hold one.

    Examples
    --------
    >>> hex(masked_crc32c(b"123456789"))
    '0xc78ab0e5'
    """
    crc = _kernel.crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
