"""The members of a tar archive, in one pass over its bytes.

After POSIX (pax, ustar) and GNU tar's manual. Python's own reader takes as much memory as the
header of a header claims, so this one reads what is needed here: regular files and their names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, Any

__all__ = ["TarReader", "is_tar"]

BLOCK = 512
_LONGEST_HEADER = 1 << 20  # of a pax header or a long name
_LARGEST = 1 << 60
_SKIP_BYTES = 1 << 20
_REGULAR = b"0\x007"
_WITHOUT_DATA = b"123456"  # links, devices, folders and pipes
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _SPARSE = b"LKxgS"


def is_tar(head: bytes) -> bool:
    """Is this the beginning of a tar archive? Its first header has a sum, in old ones too."""
    return len(head) >= BLOCK and head[0] != 0 and _sum_fits(head[:BLOCK])


def _sum_fits(header: bytes) -> bool:
    try:
        return _number(header[148:156]) == sum(header) - sum(header[148:156]) + 8 * 32
    except OSError:
        return False


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # GNU tar's own, of numbers that are too large for octal digits
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0")[0].strip()
    if digits.strip(b"01234567"):
        raise OSError(f"a number in a tar header is octal, received {field!r}")
    return int(digits or b"0", 8)


class TarReader:
    """Goes through an archive; what it reads is the member that came last.

    Parameters
    ----------
    stream : file
        The archive. It is read from where it stands, and seeks only if it can.
    """

    def __init__(self, stream: Any) -> None:
        self._stream: IO[bytes] = stream
        self._seeks = stream.seekable()
        self._left = self._padding = 0  # of the member that came last

    def __iter__(self) -> Iterator[str]:
        """The names of the regular files in it that stay inside of it."""
        name, size = None, None
        while header := self._header():
            kind = header[156]
            own = _number(header[124:136]) if size is None else size
            if own > _LARGEST:
                raise OSError(f"a tar member has at most {_LARGEST} bytes, received {own}")
            self._left = 0 if kind in _WITHOUT_DATA else own
            self._padding = -self._left % BLOCK
            if kind == _LONG_NAME:
                name = self._content().rstrip(b"\0")
                continue
            if kind == _PAX:
                records = _records(self._content())
                name = records.get(b"path", name)
                size = _decimal(records[b"size"]) if b"size" in records else None
                if any(key.startswith(b"GNU.sparse.") for key in records):
                    name = b""
                continue
            if kind == _SPARSE:
                self._skip_sparse_map(header)
            if kind not in (_LONG_LINK, _PAX_GLOBAL):
                found = _clean(_name(header) if name is None else name)
                if kind in _REGULAR and found is not None:
                    yield found
                name = size = None

    def readinto(self, target: memoryview) -> int:
        """Fill `target` with the next bytes of the member; fewer only at its end."""
        wanted = target[: self._left]
        for low in range(0, len(wanted), _SKIP_BYTES):
            data = self._exactly(len(wanted[low : low + _SKIP_BYTES]))
            wanted[low : low + len(data)] = data
        self._left -= len(wanted)
        return len(wanted)

    def _header(self) -> bytes | None:
        self._skip()
        header = self._stream_read(BLOCK)
        if not header.strip(b"\0"):  # the end; some archives just end
            return None
        if len(header) < BLOCK:
            raise EOFError("it ends inside of a tar header")
        if not _sum_fits(header):
            raise OSError("the sum in a tar header does not fit")
        return header

    def _skip(self) -> None:
        """Go to the end of the member that came last."""
        left, self._left, self._padding = self._left + self._padding, 0, 0
        if self._seeks and left:
            self._stream.seek(left - 1, os.SEEK_CUR)
            left = 1  # is read: behind the end there is nothing to read
        while left:
            left -= len(self._exactly(min(left, _SKIP_BYTES)))

    def _skip_sparse_map(self, header: bytes) -> None:
        more = header[482]
        while more:
            more = self._exactly(BLOCK)[504]

    def _content(self) -> bytes:
        if self._left > _LONGEST_HEADER:
            raise OSError(
                f"a tar header may have {_LONGEST_HEADER} bytes, received one of {self._left}"
            )
        data, self._left = self._exactly(self._left), 0
        return data

    def _exactly(self, size: int) -> bytes:
        data = self._stream_read(size)
        if len(data) < size:
            raise EOFError("it ends inside of a member")
        return data

    def _stream_read(self, size: int) -> bytes:
        parts = []
        while size and (data := self._stream.read(size)):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)


def _records(data: bytes) -> dict[bytes, bytes]:
    """The records of a pax header: length, space, key, equals sign, value, line feed."""
    found, at, end = {}, 0, len(data.rstrip(b"\0"))
    while at < end:
        size = _decimal(data[at : at + 20].partition(b" ")[0])
        _, _, record = data[at : at + size].partition(b" ")
        key, equals, value = record.partition(b"=")
        if size < 5 or not equals or not value.endswith(b"\n"):
            raise OSError("a pax header is damaged")
        found[key] = value[:-1]
        at += size
    return found


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise OSError(f"a number in a pax header is decimal, received {digits[:20]!r}")
    return int(digits)


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0]
    return prefix + b"/" + name if header[257:263] == b"ustar\0" and prefix else name


def _clean(name: bytes) -> str | None:
    """A name as it is shown, None if it is that of a folder or leads out of the archive."""
    while name.startswith(b"./"):
        name = name[2:].lstrip(b"/")
    outside = name.startswith(b"/") or b".." in name.split(b"/")
    if outside or not name or name.endswith(b"/") or b"\0" in name:
        return None
    return name.decode("utf-8", "surrogateescape")
