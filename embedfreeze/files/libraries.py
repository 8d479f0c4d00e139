"""Files for libraries that seek in them and do not bear what files may do, such as HDF5's."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["PatientFile", "WholeFile"]


class WholeFile(io.RawIOBase):
    """A file to seek in, whose missing parts are errors.

    The HDF5 library itself takes them for zeros, of which some make it search for ever.

    Parameters
    ----------
    file : io.FileIO
        A regular file, which stays open.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._fd = file.fileno()
        self._at = 0  # its own: a position of the descriptor's would be the caller's too

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        end = os.fstat(self._fd).st_size
        self._at = offset + (0, self._at, end)[whence]
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        target, filled = memoryview(buffer).cast("B"), 0
        while filled < len(target):
            got = os.preadv(self._fd, [target[filled:]], self._at + filled)
            if not got:
                raise OSError(errno.EIO, f"the file ends {len(target) - filled} bytes too early")
            filled += got
        self._at += filled
        return filled


class PatientFile(io.RawIOBase):
    """A file to write in, whose first error waits until the context ends.

    From then on nothing more is written. The HDF5 library itself crashes where a file that it
    closes cannot be written.

    Parameters
    ----------
    file : file
        It stays open.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file: Any = file
        self._error: OSError | None = None
        self._end = file.seek(0, os.SEEK_END)
        self._at = 0

    def check(self) -> None:
        """Raise the error that waits, if there is one."""
        if self._error is not None:
            raise self._error

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + (0, self._at, self._end)[whence]
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        target = memoryview(buffer).cast("B")
        target[:] = bytes(len(target))
        self._attempt(self._file.readinto, target)
        self._at += len(target)
        return len(target)

    def write(self, data: Buffer, /) -> int:
        size = memoryview(data).nbytes
        self._attempt(self._file.write, data)
        self._at += size
        self._end = max(self._end, self._at)
        return size

    def truncate(self, size: int | None = None, /) -> int:
        self._end = self._at if size is None else size
        self._attempt(self._file.truncate, self._end)
        return self._end

    def _attempt(self, action: Callable[[Any], object], argument: object) -> None:
        if self._error is None:
            try:
                self._file.seek(self._at)
                action(argument)
            except OSError as error:
                self._error = error

    def __exit__(self, *_: object) -> None:
        self.check()
