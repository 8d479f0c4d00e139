"""What stands without a name, or hidden and locked, until it is whole; and what was left of it.

A killed process leaves a file without a name to the kernel. What is hidden is locked by its owner
for as long as that lives, so that the next run can tell what nobody owns.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = [
    "briefly_named",
    "hidden_file",
    "hidden_folder",
    "hidden_name",
    "lock",
    "opened",
    "publish",
    "remove_left_behind",
    "unnamed_file",
]

_FOLDER_END = ".folder"  # so that no folder of somebody else is taken for ours
_FILE = re.compile(r"\.embedfreeze-[0-9a-f]{16}")
_FOLDER = re.compile(_FILE.pattern + re.escape(_FOLDER_END))


def hidden_name(*, folder: bool = False) -> str:
    """A name that nothing has."""
    return f".embedfreeze-{os.urandom(8).hex()}{_FOLDER_END if folder else ''}"


@contextmanager
def opened(folder: str, at: int | None = None) -> Iterator[int]:
    """A descriptor of a folder: what is named through it stays there, whatever is renamed."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if at is None else os.O_NOFOLLOW)
    fd = os.open(folder, flags, dir_fd=at)
    try:
        yield fd
    finally:
        os.close(fd)


def remove_left_behind(folder: int) -> None:
    """Remove what killed processes left hidden: what nobody holds locked."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if _FILE.fullmatch(entry.name):
                    _remove_unowned(entry.name, folder)
                elif _FOLDER.fullmatch(entry.name):
                    _remove_unowned_folder(entry.name, folder)


def _remove_unowned(name: str, folder: int) -> None:
    # To lock a file on a network file system it must be open for writing.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=folder)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=folder)
    finally:
        os.close(fd)


def _remove_unowned_folder(name: str, folder: int) -> None:
    with opened(name, folder) as inner:
        fcntl.flock(inner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_folder(name, folder, inner)


def _remove_folder(name: str, folder: int, inner: int) -> None:
    for entry in os.listdir(inner):
        os.unlink(entry, dir_fd=inner)
    os.rmdir(name, dir_fd=folder)


@contextmanager
def hidden_folder(folder: int) -> Iterator[tuple[str, int]]:
    """A hidden and locked folder: its name, under which it is removed at the end, and itself."""
    name, inner = _new_hidden_folder(folder)
    try:
        yield name, inner
    finally:
        os.close(inner)
        with contextlib.suppress(FileNotFoundError), opened(name, folder) as left:
            _remove_folder(name, folder, left)


def _new_hidden_folder(folder: int) -> tuple[str, int]:
    while True:
        name = hidden_name(folder=True)
        os.mkdir(name, dir_fd=folder)
        with contextlib.suppress(FileNotFoundError):  # another run took it for one left behind
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
            if lock(inner) and os.path.samestat(os.stat(name, dir_fd=folder), os.fstat(inner)):
                return name, inner
            os.close(inner)


def lock(file: IO[bytes] | int) -> bool:
    """Hold a file or folder for as long as it is open. False: somebody took it for left behind."""
    fd = file if isinstance(file, int) else file.fileno()
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here, so nobody can take it for one left behind
        return True
    return os.fstat(fd).st_nlink > 0


@contextmanager
def unnamed_file(folder: int) -> Iterator[IO[bytes]]:
    """A file without a name, or where there are none a hidden one, which is its `name`."""
    try:
        flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
        fd = os.open(os.curdir, flags, 0o666, dir_fd=folder)
    except (OSError, AttributeError):
        with hidden_file(folder) as file:
            yield file
        return
    with open(fd, "w+b") as file:
        yield file


@contextmanager
def hidden_file(folder: int) -> Iterator[IO[bytes]]:
    """A file with a hidden name, under which it is removed at the end."""
    file = _new_hidden_file(folder)
    try:
        with file:
            yield file
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file.name, dir_fd=folder)


def _new_hidden_file(folder: int) -> IO[bytes]:
    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, 0o666, dir_fd=folder)

    while True:
        file = open(hidden_name(), "x+b", opener=opener)  # noqa: SIM115 (the caller closes it)
        if lock(file):
            return file
        file.close()


def publish(file: IO[bytes], name: str, folder: int, *, overwrite: bool) -> None:
    """Give a file that is whole and on the disk its name, in one step.

    Raises
    ------
    FileExistsError
        The name is taken, and `overwrite` is false.
    """
    if isinstance(file.name, str):
        _rename(file.name, name, folder, overwrite)
    elif overwrite:
        _link_over(file, name, folder)
    else:
        _link(file, name, folder)
    os.fsync(folder)


def _link(file: IO[bytes], name: str, folder: int) -> None:
    # A directory descriptor makes Python call linkat, which alone follows the link in /proc.
    link = f"/proc/self/fd/{file.fileno()}"
    os.link(link, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)


def _link_over(file: IO[bytes], name: str, folder: int) -> None:
    lock(file)  # nobody knows it yet
    beside = hidden_name()
    _link(file, beside, folder)
    try:
        os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(beside, dir_fd=folder)
        raise


def _rename(hidden: str, name: str, folder: int, overwrite: bool) -> None:
    """Name a hidden file, also on a file system without hard links, such as FAT."""
    if not overwrite:
        try:
            os.link(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
            return
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
        if os.access(name, os.F_OK, dir_fd=folder, follow_symlinks=False):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
    os.replace(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)


@contextmanager
def briefly_named(file: IO[bytes], folder: str) -> Iterator[str]:
    """A path of a file of `unnamed_file` in a folder, for a library that opens by name."""
    if isinstance(file.name, str):
        yield os.path.join(folder, file.name)
        return
    lock(file)
    name = hidden_name()
    with opened(folder) as at:
        _link(file, name, at)
        try:
            yield os.path.join(folder, name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=at)
