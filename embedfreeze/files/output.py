"""Writing files whole or not at all, and what a killed process left of that."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from embedfreeze.errors import FileError, reason
from embedfreeze.files.inputs import PathLike, name_of

__all__ = ["Output", "atomic_files", "atomic_output", "check_output", "move_body"]

HIDDEN = re.compile(r"\.embedfreeze-[0-9a-f]{16}")
_COPY_BYTES = 4 << 20


def move_body(file: IO[bytes], start: int, target: int) -> None:
    """Move what a file holds from `start` to its end so that it begins at `target`."""
    end = file.seek(0, os.SEEK_END)
    pieces = range(start, end, _COPY_BYTES)
    for low in reversed(pieces) if target > start else pieces:
        piece = os.pread(file.fileno(), min(_COPY_BYTES, end - low), low)
        os.pwrite(file.fileno(), piece, low + target - start)
    file.truncate(end + target - start)


@dataclass(eq=False)
class Output:
    """Where a writer writes: a target, and the files that appear beside it.

    Attributes
    ----------
    name : str
        The target's name, without its folder.
    file : file
        What becomes the target, open for reading and writing.
    """

    name: str
    file: IO[bytes]
    _folder: int
    _files: contextlib.ExitStack
    _beside: dict[str, IO[bytes]] = field(default_factory=dict)

    def beside(self, name: str) -> IO[bytes]:
        """A further file of the target's folder, open for reading and writing; it appears first."""
        if name not in self._beside:
            self._beside[name] = self._files.enter_context(_unnamed_file(self._folder))
        return self._beside[name]

    def publish(self, *, overwrite: bool) -> None:
        """Give all files their names; one beside the target that is there already may stay.

        What was killed in between leaves no target, so that one never stands beside the files of
        another.
        """
        new = {n: f for n, f in self._beside.items() if not _holds(n, f, self._folder)}
        if not overwrite:
            for name in filter(lambda n: os.access(n, os.F_OK, dir_fd=self._folder), new):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        elif new:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=self._folder)
        for name, file in new.items():
            _publish(file, name, self._folder, overwrite)
        with _packed(self.file, self.name, self._folder) as whole:
            _publish(whole, self.name, self._folder, overwrite)


def _holds(name: str, file: IO[bytes], folder: int) -> bool:
    """Does a file of that name hold the same bytes already?"""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return False
    with open(fd, "rb", buffering=0) as present:
        file.flush()
        if not stat.S_ISREG(os.fstat(fd).st_mode) or os.fstat(fd).st_size != file.seek(0, 2):
            return False
        file.seek(0)
        return all(
            present.read(len(block)) == block for block in iter(lambda: file.read(_COPY_BYTES), b"")
        )


@contextmanager
def atomic_files(path: PathLike, *, overwrite: bool = False) -> Iterator[Output]:
    """A target, and files beside it, that appear when the block ends without an error.

    A file has no name until it is whole and on the disk, so that nothing is left behind by an
    error or by a killed process. Only to replace a target, and where the file system has no files
    without a name, it stands beside the target for a while, hidden and locked. What killed
    processes left there so is removed. A path that ends in ``.gz`` or ``.zip`` is compressed.

    Raises
    ------
    FileError
        The target, or another file beside it, exists and `overwrite` is false; or one cannot be
        written.
    """
    check_output(path, overwrite=overwrite)
    name = name_of(path)
    try:
        with _opened(os.path.dirname(name) or os.curdir) as folder, contextlib.ExitStack() as files:
            remove_left_behind(folder)
            file = files.enter_context(_unnamed_file(folder))
            output = Output(os.path.basename(name), file, folder, files)
            yield output
            output.publish(overwrite=overwrite)
    except FileExistsError as error:
        beside = os.path.join(os.path.dirname(name), error.filename or os.path.basename(name))
        raise _exists(beside) from None
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot be written: {reason(error)}", path=name) from error


@contextmanager
def atomic_output(path: PathLike, *, overwrite: bool = False) -> Iterator[IO[bytes]]:
    """The one file of `atomic_files`."""
    with atomic_files(path, overwrite=overwrite) as output:
        yield output.file


def check_output(path: PathLike, *, overwrite: bool = False) -> None:
    """Refuse what `atomic_output` cannot write, before there is anything to write.

    Raises
    ------
    FileError
        The target is no file, or it exists and `overwrite` is false.
    """
    name = name_of(path)
    if os.path.isdir(name):
        raise FileError("is a directory: name a file in it", path=name)
    if not overwrite and os.path.lexists(name):
        raise _exists(name)
    if os.path.exists(name) and not os.path.isfile(name):
        raise FileError("is a device or a pipe, which a file would replace: name a file", path=name)
    try:
        with _opened(os.path.dirname(name) or os.curdir):
            pass
    except OSError as error:
        raise FileError(f"cannot be written: {reason(error)}", path=name) from error


def _exists(name: str) -> FileError:
    return FileError("exists: pass overwrite=True (--force) to replace it", path=name)


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    """A descriptor of a folder: what is named through it stays there, whatever is renamed."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def remove_left_behind(folder: int) -> None:
    """Remove the hidden files of processes that were killed: those that nobody holds locked."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if HIDDEN.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    _remove_unowned(entry.name, folder)


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


def _lock(file: IO[bytes]) -> bool:
    """Hold a file for as long as it is open. False: somebody took it for one left behind."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here, so nobody can take it for one left behind
        return True
    return os.fstat(file.fileno()).st_nlink > 0


def _hidden_name() -> str:
    return f".embedfreeze-{os.urandom(8).hex()}"


@contextmanager
def _unnamed_file(folder: int) -> Iterator[IO[bytes]]:
    """A file without a name, or where there are none a hidden one, which is its `name`."""
    try:
        flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
        fd = os.open(os.curdir, flags, 0o666, dir_fd=folder)
    except (OSError, AttributeError):
        with _hidden_file(folder) as file:
            yield file
        return
    with open(fd, "w+b") as file:
        yield file


@contextmanager
def _hidden_file(folder: int) -> Iterator[IO[bytes]]:
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
        file = open(_hidden_name(), "x+b", opener=opener)  # noqa: SIM115 (the caller closes it)
        if _lock(file):
            return file
        file.close()


@contextmanager
def _packed(file: IO[bytes], name: str, folder: int) -> Iterator[IO[bytes]]:
    """The file, or one that holds it compressed if the name asks for that."""
    stem, suffix = os.path.splitext(name)
    pack = _PACKERS.get(suffix.lower())
    if pack is None:
        yield file
        return
    file.flush()
    with _unnamed_file(folder) as packed:
        pack(file, packed, stem)
        yield packed


def _publish(file: IO[bytes], name: str, folder: int, overwrite: bool) -> None:
    """Give a finished file its name, in one step."""
    file.flush()
    os.fsync(file.fileno())
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
    _lock(file)  # nobody knows it yet
    beside = _hidden_name()
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
            raise FileExistsError(name)
    os.replace(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)


def _pack_gzip(file: IO[bytes], packed: IO[bytes], _: str) -> None:
    import gzip
    import shutil

    file.seek(0)
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0) as out:
        shutil.copyfileobj(file, out, _COPY_BYTES)


def _pack_zip(file: IO[bytes], packed: IO[bytes], member: str) -> None:
    import shutil
    import zipfile

    file.seek(0)
    info = zipfile.ZipInfo(member)  # its date is fixed: equal input gives equal bytes
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(packed, "w") as archive, archive.open(info, "w", force_zip64=True) as out:
        shutil.copyfileobj(file, out, _COPY_BYTES)


_PACKERS = {".gz": _pack_gzip, ".zip": _pack_zip}
