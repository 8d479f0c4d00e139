"""What tells a file from an edited or replaced one."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["FileIdentity"]


@dataclass(frozen=True)
class FileIdentity:
    """What tells a file from an edited or replaced one, without reading it."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, fd: int) -> FileIdentity:
        """Of an open file."""
        return cls._from(os.fstat(fd))

    @classmethod
    def at(cls, path: str) -> FileIdentity:
        """Of the file of that name."""
        return cls._from(os.stat(path))

    @classmethod
    def _from(cls, status: os.stat_result) -> FileIdentity:
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )
