"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, BinaryIO

from embedfreeze.errors import FileError, reason
from embedfreeze.files.hidden import opened, publish, remove_left_behind, unnamed_file
from embedfreeze.files.inputs import PathLike, name_of
from embedfreeze.files.packing import packed
from embedfreeze.files.remote import refuse_remote

__all__ = [
    "Output",
    "atomic_files",
    "atomic_output",
    "check_output",
    "check_place",
    "errors_of",
    "exists",
    "move_body",
    "refuse_input",
    "streamed_output",
]

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
    """

    name: str
    _folder: int
    _files: contextlib.ExitStack
    _beside: dict[str, IO[bytes]] = field(default_factory=dict)
    _file: IO[bytes] | None = None

    @property
    def file(self) -> IO[bytes]:
        """What becomes the target, open for reading and writing."""
        if self._file is None:
            self._file = self._files.enter_context(unnamed_file(self._folder))
        return self._file

    def beside(self, name: str) -> IO[bytes]:
        """A further file of the target's folder, open for reading and writing; it appears first.

        Raises
        ------
        FileError
            It is the target's own name, or that of something that is no file.
        """
        if name not in self._beside:
            self._check_name(name)
            self._beside[name] = self._files.enter_context(unnamed_file(self._folder))
        return self._beside[name]

    def spare(self) -> IO[bytes]:
        """A file on the target's disk that never gets a name, open for reading and writing."""
        return self._files.enter_context(unnamed_file(self._folder))

    def _check_name(self, name: str) -> None:
        if name == self.name:
            raise FileError("a file of that name stands beside the target: name another", path=name)
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=self._folder)
            if not stat.S_ISREG(status.st_mode):
                raise FileError("is no file, and must stand beside the target", path=name)

    def publish(self, *, overwrite: bool) -> None:
        """Give all files their names, when all are on the disk; an equal one beside may stay.

        What was killed in between leaves no target, so that one never stands beside the files of
        another.
        """
        new = {n: f for n, f in self._beside.items() if not _holds(n, f, self._folder)}
        with packed(self.file, self.name, self._folder) as whole:
            for file in (*new.values(), whole):
                file.flush()
                os.fsync(file.fileno())
            if new:
                self._make_room(new, overwrite)
            with contextlib.ExitStack() as failed:
                for name, file in new.items():
                    publish(file, name, self._folder, overwrite=overwrite)
                    failed.callback(os.unlink, name, dir_fd=self._folder)
                publish(whole, self.name, self._folder, overwrite=overwrite)
                failed.pop_all()

    def _make_room(self, new: dict[str, IO[bytes]], overwrite: bool) -> None:
        if overwrite:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=self._folder)
            return
        for name in (self.name, *new):
            if os.access(name, os.F_OK, dir_fd=self._folder, follow_symlinks=False):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def _holds(name: str, file: IO[bytes], folder: int) -> bool:
    """Does a file of that name hold the same bytes already?"""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return False
    with open(fd, "rb") as present:
        status, size = os.fstat(fd), file.seek(0, os.SEEK_END)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return False
        file.seek(0)
        return all(
            present.read(len(block)) == block for block in iter(lambda: file.read(_COPY_BYTES), b"")
        )


@contextmanager
def atomic_files(path: PathLike, *, overwrite: bool = False, tidy: bool = True) -> Iterator[Output]:
    """A target, and files beside it, that appear when the block ends without an error.

    A file has no name until it is whole and on the disk, so that nothing is left behind by an
    error or by a killed process. Only to replace a target, and where the file system has no files
    without a name, it stands beside the target for a while, hidden and locked. What killed
    processes left there so is removed, unless somebody else saw to that (`tidy`). A path that ends
    in ``.gz`` or ``.zip`` is compressed.

    Raises
    ------
    FileError
        The target, or another file beside it, exists and `overwrite` is false; or one cannot be
        written.
    """
    check_output(path, overwrite=overwrite)
    name = name_of(path)
    place = os.path.dirname(name)
    with errors_of(name), opened(place or os.curdir) as folder, contextlib.ExitStack() as files:
        if tidy:
            remove_left_behind(folder)
        output = Output(os.path.basename(name), folder, files)
        yield output
        output.publish(overwrite=overwrite)


@contextmanager
def errors_of(name: str) -> Iterator[None]:
    """Errors of the operating system become those of a target."""
    try:
        yield
    except FileExistsError as error:  # a link has two names, of which the second was to be
        taken = error.filename2 or error.filename or name
        raise exists(os.path.join(os.path.dirname(name), os.path.basename(taken))) from None
    except BrokenPipeError:  # who reads it has enough
        raise
    except OSError as error:
        if not isinstance(error, FileError):
            raise FileError(f"cannot be written: {reason(error)}", path=name) from error
        if type(error) is FileError and error.path is None:
            raise FileError(str(error), path=name) from error
        raise


@contextmanager
def atomic_output(path: PathLike, *, overwrite: bool = False) -> Iterator[IO[bytes]]:
    """The one file of `atomic_files`."""
    with atomic_files(path, overwrite=overwrite) as output:
        yield output.file


@contextmanager
def streamed_output(file: BinaryIO) -> Iterator[Output]:
    """A target that is made in a temporary file, and copied into an open file when it is whole.

    Raises
    ------
    FileError
        It needs files beside it, or cannot be written.
    """
    import tempfile

    name, place = name_of(file), tempfile.gettempdir()
    with errors_of(name), opened(place) as folder, contextlib.ExitStack() as files:
        remove_left_behind(folder)
        output = _Streamed(name, folder, files)
        yield output
        output.file.seek(0)
        for block in iter(lambda: output.file.read(_COPY_BYTES), b""):
            _write_all(block, file)
        file.flush()


def _write_all(block: bytes, file: BinaryIO) -> None:
    rest = memoryview(block)
    while rest:  # a file without a buffer, as standard output is under ``python -u``, takes a part
        taken = file.write(rest)
        if taken is None:
            raise BlockingIOError(errno.EAGAIN, "it does not wait until it can take more")
        rest = rest[taken:]


class _Streamed(Output):
    def beside(self, name: str) -> IO[bytes]:
        raise FileError(f"needs {name} beside it: name a file, not a stream", path=self.name)


def check_output(path: PathLike, *, overwrite: bool = False) -> None:
    """Refuse what `atomic_output` cannot write, before there is anything to write.

    Raises
    ------
    FileError
        The target is no file, or it exists and `overwrite` is false.
    """
    name = name_of(path)
    refuse_remote(name)
    if os.path.isdir(name):
        raise FileError("is a directory: name a file in it", path=name)
    if not overwrite and os.path.lexists(name):
        raise exists(name)
    if os.path.exists(name) and not os.path.isfile(name):
        raise FileError("is a device or a pipe, which a file would replace: name a file", path=name)
    check_place(name)


def refuse_input(target: PathLike, *inputs: object) -> None:
    """Refuse a target that is one of the files which are read to make it.

    Parameters
    ----------
    target : path
        What is to be written.
    *inputs : object
        Paths of what is read, of files and of folders of them; all else, such as None, is passed
        over.

    Raises
    ------
    FileError
        It is the same file as one of them, or stands in one that is a folder.
    """
    name = name_of(target)
    for one in inputs:
        if isinstance(one, str | os.PathLike) and _is_of(name, os.fspath(one)):
            raise FileError("is one of the files that are read: name another", path=name)


def _is_of(name: str, read: str | bytes) -> bool:
    """Is a file that exists the same as another, or one of a folder?"""
    try:
        if os.path.samefile(name, read):
            return True
        return os.path.isdir(read) and os.path.samefile(os.path.dirname(name) or os.curdir, read)
    except (OSError, ValueError):  # one of them is not there, or on no disk
        return False


def check_place(name: str) -> None:
    """Refuse a target whose folder cannot be opened."""
    with errors_of(name), opened(os.path.dirname(name) or os.curdir):
        pass


def exists(name: str) -> FileError:
    """The error for a target that is there."""
    return FileError("exists: pass overwrite=True (--force) to replace it", path=name)
