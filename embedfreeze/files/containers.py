"""What files are packed in: a table of compressions and archives, known by their first bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from embedfreeze.errors import FileError, FormatError
from embedfreeze.files import compressions
from embedfreeze.files.archives import Chosen, open_tar, open_zip, pack_zip
from embedfreeze.files.compressions import damage
from embedfreeze.files.inputs import MAGIC_BYTES, Input, Stream
from embedfreeze.files.tararchive import is_tar

__all__ = ["CONTAINERS", "Container", "Unpacked", "damage", "damaged", "unpacked"]


@dataclass(frozen=True, eq=False)
class Container:
    """A row of the table.

    Attributes
    ----------
    name : str
        As messages and `inspect` say it.
    starts : tuple of bytes
        What its files begin with.
    suffix : str
        File names that ask for it, and how a tar archive in it is called.
    stream : callable or None
        Unpacks an open file; None for an archive of members.
    pack : callable
        Packs a file into another, where an archive calls it so.
    """

    name: str
    starts: tuple[bytes, ...]
    suffix: str
    stream: Callable[[Any], Any] | None
    pack: Callable[[IO[bytes], IO[bytes], str], None]


ZIP = Container("zip", (b"PK\x03\x04", b"PK\x05\x06"), ".zip", None, pack_zip)
_SKIPPABLE = tuple(bytes((first, 0x2A, 0x4D, 0x18)) for first in range(0x50, 0x60))
# A level, then the start of the first block or of the end: text may begin with the first letters.
_BZIP2 = tuple(b"BZh%d" % n + then for n in range(1, 10) for then in (b"1AY", b"\x17rE"))
CONTAINERS = (
    Container("gzip", (b"\x1f\x8b",), ".gz", compressions.gzip_stream, compressions.pack_gzip),
    Container("bzip2", _BZIP2, ".bz2", compressions.bzip2_stream, compressions.pack_bzip2),
    Container("xz", (b"\xfd7zXZ\0",), ".xz", compressions.xz_stream, compressions.pack_xz),
    Container(
        "zstd",
        (b"\x28\xb5\x2f\xfd", *_SKIPPABLE),
        ".zst",
        compressions.zstd_stream,
        compressions.pack_zstd,
    ),
    ZIP,
)


@dataclass(frozen=True, eq=False)
class Unpacked:
    """The bytes of a file, unpacked.

    Attributes
    ----------
    container : str or None
        What they are packed in, such as "gzip", "zip" or "tar.gz".
    member : str or None
        The member of an archive that they are.
    part : str or None
        What the caller named inside of them.
    stream : file
        Where they are read from.
    """

    container: str | None
    member: str | None
    part: str | None
    stream: Any


def unpacked(opened: Input, member: str | None) -> Unpacked:
    """What an opened file holds.

    Parameters
    ----------
    member : str, optional
        A member of an archive, a part of what is no archive, or both with a colon in between.

    Raises
    ------
    FileError
        There is no such member, there are several, or a library is missing.
    FormatError
        The packed data are damaged.
    """
    kind = next((c for c in CONTAINERS if opened.magic.startswith(c.starts)), None)
    name = kind.name if kind else "tar" if is_tar(opened.magic) else None
    try:
        return _opened(opened, kind, name, member)
    except FileError as error:
        raise error if error.path else type(error)(str(error), path=opened.name) from error
    except (NotImplementedError, RuntimeError) as error:
        raise FormatError(
            f"the {name} data must be packed in a way that Python reads, without a password "
            f"({error}): unpack it first",
            path=opened.name,
        ) from error
    except (*damage(), ValueError, IndexError) as error:  # type: ignore[misc]
        raise damaged(opened.name, name, error) from error


def _opened(
    opened: Input, kind: Container | None, name: str | None, member: str | None
) -> Unpacked:
    raw: Any = opened.raw
    if name is None:
        return Unpacked(None, None, member, raw)
    if kind is ZIP:
        if not raw.seekable():
            raise FileError("a zip archive is read from its end: write it to a file first")
        return _of_archive(name, open_zip(raw, member))
    if kind is None or kind.stream is None:
        return _of_archive(name, open_tar(raw, member, _restart(raw, lambda file: file)))
    stream = Stream(kind.stream(raw))
    if not is_tar(stream.peek(MAGIC_BYTES)):
        return Unpacked(name, None, member, stream)
    again = _restart(raw, kind.stream)
    return _of_archive(f"tar{kind.suffix}", open_tar(stream, member, again))


def _of_archive(name: str, chosen: Chosen) -> Unpacked:
    container = None if chosen.member is None else name
    return Unpacked(container, chosen.member, chosen.part, chosen.stream)


def _restart(raw: Any, stream: Callable[[Any], Any]) -> Callable[[], Any] | None:
    """What opens an archive at its start once more, if its file can go back."""

    def again() -> Any:
        raw.seek(0)
        return stream(raw)

    return again if raw.seekable() else None


def damaged(path: str, container: str | None, error: Exception) -> FormatError:
    """The error for data that cannot be decompressed or read."""
    what = f"the {container} data" if container else "the file"
    if "memory" in str(error).lower():
        return FormatError(
            f"{what} asks for more memory than unpacking may take ({error}): unpack it first",
            path=path,
        )
    return FormatError(
        f"{what} cannot be read to its end ({error}): it is damaged or cut off, get it again",
        path=path,
    )
