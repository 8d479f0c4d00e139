"""Opening files (mapped, compressed, in an archive) and writing them whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from embedfreeze.errors import FileError, FormatError

__all__ = [
    "HEAD_BYTES",
    "Container",
    "PathLike",
    "Source",
    "atomic_output",
    "move_body",
    "open_source",
    "release_pages",
]

PathLike = str | os.PathLike[str]
Container = Literal["gzip", "zip"]
HEAD_BYTES = 1 << 20
KEPT_BYTES = 2 << 30
_COPY_BYTES = 4 << 20


# The libraries of compressed and temporary files are imported where they are needed: plain files
# are the usual ones, and a short start is a promise.
def _damage() -> tuple[type[Exception], ...]:
    """What reading damaged compressed data raises."""
    import lzma
    import zipfile
    import zlib

    return EOFError, OSError, zlib.error, zipfile.BadZipFile, lzma.LZMAError


@dataclass(eq=False)
class Source:
    """An opened file: mapped if it is plain, else a stream of its decompressed bytes.

    Attributes
    ----------
    path : str
        As the caller spelled it.
    container : {"gzip", "zip"} or None
        What the bytes are packed in.
    member : str or None
        The member of an archive, or what the caller named inside a plain file.
    size : int
        Bytes of the file as it lies on the disk.
    head : bytes
        The first MiB, decompressed.
    buffer : mmap.mmap or None
        The whole file, if it is plain.
    resources : contextlib.ExitStack
        What a reader opened on top; it is closed with the source.
    """

    path: str
    container: Container | None
    member: str | None
    size: int
    head: bytes
    buffer: mmap.mmap | None
    _raw: IO[bytes]
    _stream: Any  # io.RawIOBase has readinto, IO[bytes] has not
    _unread: memoryview
    resources: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def name(self) -> str:
        """The path, and the member of an archive behind it."""
        return f"{self.path}:{self.member}" if self.container == "zip" else self.path

    @property
    def position(self) -> int:
        """Bytes of the file on the disk that were consumed so far, for a progress bar."""
        return min(self._raw.tell(), self.size) if self.size else 0  # a pipe cannot tell

    def needed_again(self) -> None:
        """Refuse a pipe, before it is opened a second time and waits for ever."""
        if not self.size:
            raise FileError("a pipe can be read once: write it to a file first", path=self.path)

    def readinto(self, target: memoryview) -> int:
        """Fill `target` with the next decompressed bytes; fewer only at the end of the file."""
        filled = min(len(target), len(self._unread))
        target[:filled] = self._unread[:filled]
        self._unread = self._unread[filled:]
        try:
            while filled < len(target):
                got: int = self._stream.readinto(target[filled:])
                if not got:
                    break
                filled += got
        except _damage() as error:
            raise _damaged(self.path, self.container, error) from error
        return filled

    def as_file(self) -> Any:
        """What a library can seek in: the path, or an open file with the decompressed bytes."""
        if self.buffer is not None:
            return self.path
        import tempfile

        spool = tempfile.TemporaryFile(prefix="embedfreeze-")  # noqa: SIM115 (closed with self)
        self.resources.callback(spool.close)
        block = memoryview(bytearray(_COPY_BYTES))
        while got := self.readinto(block):
            spool.write(block[:got])
        spool.seek(0)
        return spool

    def close(self) -> None:
        """Close the file; a mapping that is still in use is left to its users."""
        self.resources.close()
        if self.buffer is not None:
            with contextlib.suppress(BufferError):
                self.buffer.close()
        self._stream.close()
        self._raw.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(path: PathLike, member: str | None = None) -> Source:
    """Open a file for reading and recognise by its first bytes what it is packed in.

    Raises
    ------
    FileError
        The file cannot be opened, is a directory or empty, or its archive has not one member.
    FormatError
        The compressed bytes are damaged.
    """
    name = os.fspath(path)
    try:
        raw = open(name, "rb", buffering=0)  # noqa: SIM115 (closed by Source)
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", path=name) from error
    try:
        return _recognise(name, raw, member)
    except BaseException:
        raw.close()
        raise


def _recognise(name: str, raw: IO[bytes], member: str | None) -> Source:
    status = os.fstat(raw.fileno())
    regular = stat.S_ISREG(status.st_mode)
    if regular and not status.st_size:
        raise FileError("the file is empty: was its download or copy cut off?", path=name)
    magic = os.pread(raw.fileno(), 4, 0) if regular else b""
    container: Container | None = None
    stream: Any = raw
    if magic[:2] == b"\x1f\x8b":
        import gzip

        container, stream = "gzip", gzip.GzipFile(fileobj=raw, mode="rb")
    elif magic in (b"PK\x03\x04", b"PK\x05\x06"):
        container = "zip"
        member, stream = _open_member(name, raw, member)
    buffer = None
    if regular and container is None:
        buffer = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
    source = Source(
        name, container, member, status.st_size, b"", buffer, raw, stream, memoryview(b"")
    )
    head = bytearray(HEAD_BYTES)
    if buffer is not None:
        source.head = buffer[:HEAD_BYTES]
    else:
        source.head = bytes(head[: source.readinto(memoryview(head))])
        source._unread = memoryview(source.head)
    return source


def _open_member(name: str, raw: IO[bytes], member: str | None) -> tuple[str, IO[bytes]]:
    import zipfile

    try:
        archive = zipfile.ZipFile(raw)
        members = [info.filename for info in archive.infolist() if not info.is_dir()]
        if member is None:
            real = [m for m in members if not m.startswith("__MACOSX/")]
            if len(real) != 1:
                listed = ", ".join(real[:20]) or "none"
                raise FileError(
                    f"an archive needs member= unless it has one member, received {len(real)}: "
                    f"{listed}",
                    path=name,
                )
            member = real[0]
        if member not in members:
            raise FileError(
                f"the archive has no member {member!r}; it has {', '.join(members[:20])}",
                path=name,
            )
        return member, archive.open(member)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise _damaged(name, "zip", error) from error


def _damaged(path: str, container: Container | None, error: Exception) -> FormatError:
    what = f"the {container} data" if container else "the file"
    return FormatError(
        f"{what} cannot be read to its end ({error}): it is damaged or cut off, get it again",
        path=path,
    )


def release_pages(buffer: mmap.mmap, start: int, stop: int, *, again: bool = False) -> None:
    """Let the kernel take back the pages of a mapped file that a scan is done with.

    Pages that are read `again` are kept where the file is not large: mapping a page takes longer
    than scanning it.
    """
    if again and len(buffer) <= KEPT_BYTES:
        return
    low = start - start % mmap.PAGESIZE
    if stop > low:
        buffer.madvise(mmap.MADV_DONTNEED, low, stop - low)


def move_body(file: IO[bytes], start: int, target: int) -> None:
    """Move what a file holds from `start` to its end so that it begins at `target`."""
    end = file.seek(0, os.SEEK_END)
    pieces = range(start, end, _COPY_BYTES)
    for low in reversed(pieces) if target > start else pieces:
        piece = os.pread(file.fileno(), min(_COPY_BYTES, end - low), low)
        os.pwrite(file.fileno(), piece, low + target - start)
    file.truncate(end + target - start)


@contextmanager
def atomic_output(path: PathLike, *, overwrite: bool = False) -> Iterator[IO[bytes]]:
    """A seekable file that becomes `path` when the block ends without an error.

    The file has no name until it is whole and on the disk, so that nothing is left behind by an
    error or by a killed process (where the file system cannot do that, a hidden temporary file
    stands beside the target). A path that ends in ``.gz`` or ``.zip`` is compressed.

    Raises
    ------
    FileError
        The target exists and `overwrite` is false, or it cannot be written.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        raise FileError("is a directory: name a file in it", path=name)
    if not overwrite and os.path.lexists(name):
        raise _exists(name)
    folder = os.path.dirname(os.path.abspath(name))
    try:
        with _unnamed_file(folder) as file:
            yield file
            file.flush()
            if pack := _PACKERS.get(os.path.splitext(name)[1].lower()):
                with _unnamed_file(folder) as packed:
                    pack(file, packed, os.path.basename(os.path.splitext(name)[0]))
                    _publish(packed, name, overwrite)
            else:
                _publish(file, name, overwrite)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot be written: {error.strerror or error}", path=name) from error


def _exists(name: str) -> FileError:
    return FileError("exists: pass overwrite=True (--force) to replace it", path=name)


@contextmanager
def _unnamed_file(folder: str) -> Iterator[IO[bytes]]:
    """A file without a name, or where there are none a hidden one, which is its `name`."""
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except (OSError, AttributeError):
        with _hidden_file(folder) as file:
            yield file
        return
    with open(fd, "w+b") as file:
        yield file


@contextmanager
def _hidden_file(folder: str) -> Iterator[IO[bytes]]:
    import tempfile

    fd, name = tempfile.mkstemp(prefix=".embedfreeze-", dir=folder)
    os.close(fd)
    umask = os.umask(0)
    os.umask(umask)
    try:
        os.chmod(name, 0o666 & ~umask)
        with open(name, "r+b") as file:
            yield file
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _publish(file: IO[bytes], name: str, overwrite: bool) -> None:
    """Give a finished file its name, in one step."""
    file.flush()
    os.fsync(file.fileno())
    folder, base = os.path.split(os.path.abspath(name))
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if isinstance(file.name, str):
            _rename(file.name, base, folder_fd, overwrite)
        elif overwrite:
            _link_over(file, base, folder_fd)
        else:
            _link(file, base, folder_fd)
        os.fsync(folder_fd)
    except FileExistsError:
        raise _exists(name) from None
    finally:
        os.close(folder_fd)


def _link(file: IO[bytes], name: str, folder_fd: int) -> None:
    # A directory descriptor makes Python call linkat, which alone follows the link in /proc.
    link = f"/proc/self/fd/{file.fileno()}"
    os.link(link, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd, follow_symlinks=True)


def _link_over(file: IO[bytes], name: str, folder_fd: int) -> None:
    beside = f".embedfreeze-{os.urandom(8).hex()}"
    _link(file, beside, folder_fd)
    try:
        os.replace(beside, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except OSError:
        os.unlink(beside, dir_fd=folder_fd)
        raise


def _rename(hidden: str, name: str, folder_fd: int, overwrite: bool) -> None:
    """Name a hidden file, also on a file system without hard links, such as FAT."""
    if not overwrite:
        try:
            os.link(hidden, name, dst_dir_fd=folder_fd)
            return
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
        if os.access(name, os.F_OK, dir_fd=folder_fd, follow_symlinks=False):
            raise FileExistsError(name)
    os.replace(hidden, name, dst_dir_fd=folder_fd)


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
