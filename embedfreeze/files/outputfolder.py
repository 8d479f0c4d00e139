"""Writing a folder of files, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from embedfreeze.errors import FileError
from embedfreeze.files.hidden import (
    hidden_folder,
    hidden_name,
    opened,
    remove_left_behind,
)
from embedfreeze.files.inputs import PathLike, name_of
from embedfreeze.files.output import Output, check_place, errors_of, exists
from embedfreeze.files.remote import refuse_remote

__all__ = ["atomic_folder", "check_folder"]

_RENAME_EXCHANGE = 2  # of renameat2(2)


class _OutputFolder(Output):
    """A folder that is a target; the writer names the files in it."""

    @property
    def file(self) -> IO[bytes]:
        raise TypeError("a target that is a folder has no file of its own: use beside(name)")

    def beside(self, name: str) -> IO[bytes]:
        """A file of the folder, open for reading and writing."""

        def opener(name: str, flags: int) -> int:
            return os.open(name, flags, 0o666, dir_fd=self._folder)

        if name not in self._beside:
            if os.path.basename(name) != name:
                raise ValueError(f"a name without a folder is needed, received {name!r}")
            self._beside[name] = self._files.enter_context(open(name, "x+b", opener=opener))  # noqa: SIM115
        return self._beside[name]

    def on_disk(self) -> frozenset[str]:
        """Wait until all is on the disk; the names of the files."""
        for file in self._beside.values():
            file.flush()
            os.fsync(file.fileno())
        os.fsync(self._folder)
        return frozenset(self._beside)


@contextmanager
def atomic_folder(path: PathLike, *, overwrite: bool = False) -> Iterator[Output]:
    """A folder of files that appears when the block ends without an error.

    Until then it stands beside the target, hidden and locked; what killed processes left there so
    is removed. Only a folder that holds nothing but files that are written anew is replaced.

    Raises
    ------
    FileError
        The target exists, is not empty and `overwrite` is false; or it holds other files; or it
        cannot be written.
    """
    check_folder(path, overwrite=overwrite)
    name = name_of(path).rstrip(os.sep)
    with errors_of(name), opened(os.path.dirname(name) or os.curdir) as beside:
        remove_left_behind(beside)
        with hidden_folder(beside) as (hidden, inner), contextlib.ExitStack() as files:
            output = _OutputFolder(os.path.basename(name), inner, files)
            yield output
            written = output.on_disk()
            _publish(hidden, name, beside, written if overwrite else frozenset())


def check_folder(path: PathLike, *, overwrite: bool = False) -> None:
    """Refuse what `atomic_folder` cannot write, before there is anything to write.

    Raises
    ------
    FileError
        The target is no folder, or it is one that is not empty and `overwrite` is false.
    """
    name = name_of(path).rstrip(os.sep) or os.sep
    refuse_remote(name)
    if os.path.lexists(name) and (os.path.islink(name) or not os.path.isdir(name)):
        raise FileError("is no folder, and would be replaced by one: name another", path=name)
    check_place(name)
    if os.path.isdir(name) and not overwrite:
        with errors_of(name):
            if os.listdir(name):
                raise exists(name)


def _publish(hidden: str, path: str, beside: int, written: frozenset[str]) -> None:
    """Give a finished folder its name; a folder there may hold files that are `written` anew."""
    name = os.path.basename(path)
    try:  # this replaces a folder only if it is empty
        os.rename(hidden, name, src_dir_fd=beside, dst_dir_fd=beside)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not written:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
        _replace(hidden, path, beside, written)
    os.fsync(beside)


def _replace(hidden: str, path: str, beside: int, written: frozenset[str]) -> None:
    name = os.path.basename(path)
    _check_only(written, name, path, beside)
    _exchange(hidden, name, beside)
    try:
        _check_only(written, hidden, path, beside)  # something may have come meanwhile
    except FileError:
        _exchange(hidden, name, beside)
        raise


def _check_only(written: frozenset[str], name: str, path: str, beside: int) -> None:
    """Refuse to replace, and with that to delete, what was not written here."""
    with opened(name, beside) as folder, os.scandir(folder) as entries:
        for entry in entries:
            if entry.name not in written or entry.is_dir(follow_symlinks=False):
                raise FileError(
                    f"a folder is only replaced if it holds nothing but files that are written "
                    f"anew, received one with {entry.name!r}: name another",
                    path=path,
                )


def _exchange(one: str, other: str, folder: int) -> None:
    """Let two names change places, in one step where the system can."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    with contextlib.suppress(AttributeError):  # no such function in the library
        names = os.fsencode(one), os.fsencode(other)
        if not libc.renameat2(folder, names[0], folder, names[1], _RENAME_EXCHANGE):
            return
        number = ctypes.get_errno()
        if number not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(number, os.strerror(number))
    spare = hidden_name(folder=True)
    for old, new in ((other, spare), (one, other), (spare, one)):
        os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)
