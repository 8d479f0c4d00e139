"""What can be read from: paths, pipes, and the binary file objects of the caller."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Protocol

from embedfreeze.errors import FileError, reason, without_secrets
from embedfreeze.files.remote import RemoteFile, is_remote

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "BinaryFile",
    "Input",
    "PathLike",
    "PathOrFile",
    "Stream",
    "name_of",
    "open_input",
    "remedy_for",
]

MAGIC_BYTES = 512  # a tar archive is known by its first header


class BinaryFile(Protocol):
    """An open file that gives bytes, such as ``open(path, "rb")`` or `io.BytesIO`."""

    def read(self, size: int = ..., /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


PathLike = str | os.PathLike[str]
PathOrFile = PathLike | BinaryFile


def name_of(source: PathOrFile | BinaryIO) -> str:
    """What messages call a path or a file object; a URL without its credentials."""
    if isinstance(source, str | os.PathLike):
        return without_secrets(os.fsdecode(source))
    name = getattr(source, "name", None)
    return name if isinstance(name, str) and name else f"<{type(source).__name__}>"


class Stream(io.RawIOBase):
    """The bytes of a file from where it stands, which is position 0 here.

    The first ones can be looked at before they are read. Closing it closes the file behind it only
    if that is `owned`.
    """

    def __init__(self, file: Any, *, owned: bool = False) -> None:
        super().__init__()
        self._file = file
        self.owned = owned
        seekable = getattr(file, "seekable", None)
        self._seekable = bool(seekable and seekable())
        self.start = int(file.tell()) if self._seekable else 0
        self._into = getattr(file, "readinto", None)
        self._peeked = b""
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_CUR:  # what was looked at is not yet read here
            offset, whence = offset + self._position, os.SEEK_SET
        self._file.seek(offset + self.start if whence == os.SEEK_SET else offset, whence)
        self._peeked = b""
        self._position = int(self._file.tell()) - self.start
        return self._position

    def peek(self, size: int) -> bytes:
        """The first bytes, which stay to be read; fewer only at the end."""
        block = bytearray(size)
        while len(self._peeked) < size:
            try:
                got = self._fill(memoryview(block)[: size - len(self._peeked)])
            except BlockingIOError:  # who reads on is told
                if not self._peeked:
                    raise
                break
            if not got:
                break
            self._peeked += block[:got]
        return self._peeked

    def readinto(self, buffer: Buffer, /) -> int:
        target = memoryview(buffer).cast("B")
        if self._peeked:
            got = min(len(target), len(self._peeked))
            target[:got] = self._peeked[:got]
            self._peeked = self._peeked[got:]
        else:
            got = self._fill(target)
        self._position += got
        return got

    def _fill(self, target: memoryview) -> int:
        if self._into is not None:
            got = self._into(target)
        else:
            data = self._file.read(len(target))
            if isinstance(data, str):
                raise _text_file(self._file)
            got = data if data is None else len(data)
            target[: got or 0] = data or b""
        if got is None:  # taken for the end, it would cut the file off
            raise BlockingIOError(errno.EAGAIN, "it does not wait for its data")
        return int(got)

    def close(self) -> None:
        if self.owned and not self.closed:
            self._file.close()
        super().close()


@dataclass(frozen=True)
class Input:
    """An opened path or file object.

    Attributes
    ----------
    name : str
        For messages.
    raw : file
        Its bytes; where reading starts is position 0. Closing it leaves a caller's file open.
    magic : bytes
        The first of them.
    size : int
        Their number, or 0 where that is not known, as of a pipe.
    regular : file or None
        A file of ours over the regular file that they are read from.
    end : int
        The size of that file.
    whole : bool
        Does reading start with its first byte?
    located : str or None
        The path of that file, if it has one.
    reopens : bool
        Can it be opened by its name once more?
    """

    name: str
    raw: IO[bytes] | Stream
    magic: bytes
    size: int = 0
    regular: IO[bytes] | None = None
    end: int = 0
    whole: bool = False
    located: str | None = None
    reopens: bool = False

    @property
    def again(self) -> bool:
        """Can it be read a second time?"""
        return self.whole or self.reopens or self.raw.seekable()

    @property
    def borrowed(self) -> bool:
        """Is it a file object of the caller's?"""
        return isinstance(self.raw, Stream) and not self.raw.owned

    @property
    def link(self) -> str:
        """A name by which this process can open the regular file anew.

        It leads to the file that was opened, whatever has its path now; only where there is no
        /proc it is the path.
        """
        if self.regular is None:
            return self.name
        opened = f"/proc/self/fd/{self.regular.fileno()}"
        return self.located if self.located and not os.path.exists(opened) else opened

    def end_now(self) -> int:
        """The size that the regular file has now."""
        return os.fstat(self.regular.fileno()).st_size if self.regular else self.end

    def rewind(self) -> None:
        """Put a caller's file back to where reading started, if it can seek."""
        if self.borrowed and self.raw.seekable():
            with contextlib.suppress(OSError, ValueError):  # it was closed meanwhile
                self.raw.seek(0)

    def close(self) -> None:
        """Close what was opened here."""
        if self.regular is not None:
            self.regular.close()
        self.raw.close()


def open_input(source: PathOrFile) -> Input:
    """Open a path, or take a file object from where it stands.

    Raises
    ------
    FileError
        It cannot be opened or read, or it is empty.
    TypeError
        It is neither a path nor a binary file.
    """
    name = name_of(source)
    try:
        if isinstance(source, str | os.PathLike):
            path = os.fsdecode(source)
            return _from_url(path) if is_remote(path) else _from_path(path)
        return _from_file(name, source)
    except (OSError, ValueError) as error:  # ValueError: a closed file, a NUL in a name
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot be read: {reason(error)}", path=name) from error


def _from_path(name: str) -> Input:
    file = open(name, "rb", buffering=0)  # noqa: SIM115 (closed with the Input)
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            stream = Stream(file, owned=True)
            return Input(name, stream, _magic(name, stream))
        if not status.st_size:
            raise FileError("the file is empty: was its download or copy cut off?", path=name)
        magic, size = os.pread(file.fileno(), MAGIC_BYTES, 0), status.st_size
        return Input(name, file, magic, size, file, size, True, name)
    except BaseException:
        file.close()
        raise


def _from_url(url: str) -> Input:
    file = RemoteFile(url)
    try:
        stream = Stream(file, owned=True)
        name = without_secrets(url)
        return Input(name, stream, _magic(name, stream), file.size, reopens=True)
    except BaseException:
        file.close()
        raise


def _magic(name: str, stream: Stream) -> bytes:
    magic = stream.peek(MAGIC_BYTES)
    if not magic:
        raise FileError(
            "the file is empty, or was read to its end before: seek(0) goes back", path=name
        )
    return magic


def _from_file(name: str, file: Any) -> Input:
    if isinstance(file, io.TextIOBase):
        raise _text_file(file)
    if not callable(getattr(file, "read", None)):
        raise TypeError(
            f"a path or an open binary file is needed, received {type(file).__name__}"
            f"{remedy_for(file)}"
        )
    real = _real_file(file)
    if real is not None:
        real.flush()  # what its owner wrote belongs to it
    stream = Stream(file)
    magic = _magic(name, stream)
    status = None if real is None else os.fstat(real.fileno())
    if real is not None and status is not None and stat.S_ISREG(status.st_mode):
        end, located = status.st_size, name if _is_at(name, status) else None
        own = os.dup(real.fileno())  # the caller may close its own
        regular = open(own, "rb", buffering=0)  # noqa: SIM115 (closed with the Input)
        size, whole = end - stream.start, not stream.start
        if whole:  # it will be mapped, and its position stays
            stream.seek(0)
        return Input(name, stream, magic, size, regular, end, whole, located)
    size = len(file.getbuffer()) - stream.start if isinstance(file, io.BytesIO) else 0
    return Input(name, stream, magic, size)


def remedy_for(given: object) -> str:
    """What whoever gave that in place of a file can do, to stand behind a message; or nothing."""
    if isinstance(given, bytes | bytearray):
        return ": wrap content in io.BytesIO"
    if type(given).__module__.partition(".")[0] == "gensim":
        return ": make it a table with embedfreeze.Embeddings.from_gensim"
    return ": call its to_embeddings" if hasattr(given, "to_embeddings") else ""


def _text_file(file: Any) -> TypeError:
    return TypeError(
        f"a file must be open for reading bytes, received the text file {name_of(file)}: open it "
        f'with mode "rb" (or wrap encoded bytes in io.BytesIO)'
    )


def _real_file(file: Any) -> Any | None:
    """The file of the operating system whose bytes an object gives as they are, if it is one."""
    if type(file).__module__ == "tempfile":  # its files are wrapped
        file = getattr(file, "file", file)
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    return file if type(raw) is io.FileIO else None


def _is_at(name: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(name), status)
    except OSError:
        return False
