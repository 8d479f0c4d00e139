"""A source: an opened file, mapped if it is plain, else a stream of its decompressed bytes."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

from embedfreeze.errors import FileError, FormatError, reason
from embedfreeze.files.ahead import AheadStream
from embedfreeze.files.containers import damage, damaged, unpacked
from embedfreeze.files.inputs import Input, PathOrFile, open_input
from embedfreeze.files.libraries import WholeFile
from embedfreeze.files.mapped import Guard
from embedfreeze.files.spool import SPOOL_LIMIT, spooled
from embedfreeze.threads import thread_count

__all__ = ["HEAD_BYTES", "Source", "open_source"]

T = TypeVar("T")
HEAD_BYTES = 1 << 20
_COPY_BYTES = 4 << 20


@dataclass(eq=False)
class Source:
    """An opened file: mapped if it is plain, else a stream of its decompressed bytes.

    Attributes
    ----------
    input : Input
        What was opened.
    container : str or None
        What the bytes are packed in, such as "gzip", "zip" or "tar.xz".
    member : str or None
        The member of an archive.
    part : str or None
        What the caller named inside of the file, or of the member.
    head : bytes
        The first MiB, decompressed.
    buffer : mmap.mmap or None
        The whole file, if it is plain.
    spool_limit : int
        Bytes that may be unpacked into a temporary file.
    resources : contextlib.ExitStack
        What a reader opened on top; it is closed with the source.
    """

    input: Input
    container: str | None
    member: str | None
    part: str | None
    _stream: Any  # io.RawIOBase has readinto, IO[bytes] has not
    head: bytes = b""
    buffer: mmap.mmap | None = None
    spool_limit: int = SPOOL_LIMIT
    resources: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _unread: memoryview = field(default_factory=lambda: memoryview(b""))
    _guards: list[Guard] = field(default_factory=list)
    _spool: IO[bytes] | None = None
    _cut: FormatError | None = None
    _put_back: bool = False

    @property
    def path(self) -> str:
        """As the caller spelled it, or what messages call a file object."""
        return self.input.name

    @property
    def located(self) -> str | None:
        """A path by which the file can be opened anew, if there is one."""
        return self.input.located

    @property
    def size(self) -> int:
        """Bytes of the file as it lies on the disk; 0 if that is not known, as of a pipe."""
        return self.input.size

    @property
    def name(self) -> str:
        """The path, and the member of an archive behind it."""
        return self.path if self.member is None else f"{self.path}:{self.member}"

    @property
    def position(self) -> int:
        """Bytes of the file on the disk that were consumed so far, for a progress bar."""
        return min(self.input.raw.tell(), self.size) if self.size else 0  # a pipe cannot tell

    def needed_again(self) -> None:
        """Say that the input will be opened once more: at the end it is put back to its start.

        A pipe is refused, before it is opened a second time and waits for ever.
        """
        if not self.input.again:
            what = "a file object that cannot seek" if self.input.borrowed else "a pipe"
            raise FileError(f"{what} can be read once: write it to a file first", path=self.path)
        self._put_back = True

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
        except FileError as error:  # what reading an archive found
            raise error if error.path else type(error)(str(error), path=self.path) from error
        except damage() as error:
            raise damaged(self.path, self.container, error) from error
        return filled

    def blocks(self) -> Iterator[memoryview]:
        """The decompressed bytes that are left, in blocks that share one piece of memory."""
        block = memoryview(bytearray(_COPY_BYTES))
        while got := self.readinto(block):
            yield block[:got]

    def as_file(self) -> Any:
        """An open file with the decompressed bytes, for a library that seeks in it.

        Raises
        ------
        FileError
            They must be written to a temporary file, and are more than `spool_limit`.
        """
        if self._spool is None:
            if self.buffer is not None and self.input.regular is not None:
                return WholeFile(self.input.regular)
            self._spool = spooled(self.blocks(), self.spool_limit, self.name, self.resources)
        self._spool.seek(0)
        return self._spool

    def whole(self) -> mmap.mmap:
        """All decompressed bytes, mapped: those of the file, or of one that they are written to."""
        if self.buffer is None:
            spool = self.as_file()
            if not spool.seek(0, os.SEEK_END):
                raise FormatError("the file holds nothing: get it again", path=self.name)
            self.buffer = mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ)
        return self.buffer

    def copy_into(self, offset: int, target: memoryview) -> None:
        """Fill memory with bytes of `whole`: the kernel copies pages faster than it maps them."""
        mapping, filled = self.whole(), 0
        file = self.input.regular if self._spool is None else self._spool
        with contextlib.suppress(OSError):
            while file and (got := os.preadv(file.fileno(), [target[filled:]], offset + filled)):
                filled += got
        # What cannot be read cannot be mapped either, and is noticed there.
        target[filled:] = memoryview(mapping)[offset + filled : offset + len(target)]

    def guard(self, mapping: Any) -> None:
        """Until the source is closed, a file that is cut does not end who reads this mapping."""
        guard = Guard(mapping)
        self.resources.enter_context(guard)
        self._guards.append(guard)

    def check_whole(self) -> None:
        """Refuse a file that was cut while it was read: parts of what was read may be zeros.

        Raises
        ------
        FormatError
            It is shorter than when it was opened, or a part of it could not be read.
        """
        if self._cut is None:
            end, now = self.input.end, self.input.end_now()
            if now < end:
                self._cut = _shrank(self.path, end, now)
            elif any(guard.hit for guard in self._guards):
                self._cut = FormatError(
                    "a part of the file could not be read: it was cut while it was read, or its "
                    "disk fails",
                    path=self.path,
                )
        if self._cut is not None:
            raise self._cut

    def watched(self, items: Iterator[T]) -> Iterator[T]:
        """What is read of the file, piece by piece, if the file is still whole after each."""
        with contextlib.ExitStack() as end:
            if isinstance(items, Generator):
                end.callback(items.close)
            end.push(self._at_end)
            for item in items:
                self.check_whole()
                yield item

    def _at_end(self, kind: type[BaseException] | None, error: object, _: object) -> None:
        """What a cut file leads to, such as a bad row, is not what is wrong with it."""
        if kind is None or (issubclass(kind, Exception) and error is not self._cut):
            self.check_whole()

    def _read_ahead(self) -> None:
        """Unpack while what is unpacked is used, where the file never keeps us waiting."""
        packed = self.container is not None and self.member is None
        if packed and self.input.regular is not None and thread_count() > 1:
            self._stream = AheadStream(self._stream)
            self.resources.callback(self._stream.stop)

    def close(self) -> None:
        """Close the file; a mapping that is still in use is left to its users."""
        self.resources.close()
        if self.buffer is not None:
            with contextlib.suppress(BufferError):
                self.buffer.close()
        self._stream.close()
        self.input.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        try:
            self._at_end(kind, error, trace)
        finally:
            self.resources.close()  # what reads on would move the input behind our back
            if self._put_back or kind is not None:
                self.input.rewind()
            self.close()


def open_source(path: PathOrFile, member: str | None = None) -> Source:
    """Open a file for reading and recognise by its first bytes what it is packed in.

    Parameters
    ----------
    path : str, os.PathLike or binary file object
        A file object is read from where it stands, and stays open.
    member : str, optional
        The member of an archive, a part of what is no archive, or both with a colon in between.

    Raises
    ------
    FileError
        The file cannot be opened, is a directory or empty, or its archive has not one member.
    FormatError
        The compressed bytes are damaged.
    TypeError
        It is neither a path nor a binary file.
    """
    opened = open_input(path)
    try:
        found = unpacked(opened, member)
        source = Source(opened, found.container, found.member, found.part, found.stream)
    except BaseException:
        opened.rewind()
        opened.close()
        raise
    with contextlib.ExitStack() as failed:
        failed.push(source)
        _read_head(source)
        failed.pop_all()
    return source


def _read_head(source: Source) -> None:
    file = source.input.regular
    if source.container is None and source.input.whole and file is not None:
        source.buffer = _mapped(source.input, file)
        source.guard(source.buffer)
        source.head = source.buffer[:HEAD_BYTES]
        return
    head = bytearray(HEAD_BYTES)
    source.head = bytes(head[: source.readinto(memoryview(head))])
    source._unread = memoryview(source.head)
    source._read_ahead()


def _mapped(opened: Input, file: IO[bytes]) -> mmap.mmap:
    try:
        return mmap.mmap(file.fileno(), opened.end, access=mmap.ACCESS_READ)
    except ValueError as error:  # longer than the file
        raise _shrank(opened.name, opened.end, opened.end_now()) from error
    except OSError as error:
        raise FileError(f"cannot be mapped: {reason(error)}", path=opened.name) from error


def _shrank(path: str, before: int, now: int) -> FormatError:
    return FormatError(
        f"the file shrank from {before} to {now} bytes while it was read: wait until what writes "
        f"it has ended, then read it again",
        path=path,
    )
