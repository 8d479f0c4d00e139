"""The arrays of an NPZ archive: what each is, and its bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from embedfreeze.errors import EmbedFreezeError, FormatError
from embedfreeze.files import Source
from embedfreeze.files.containers import damage, damaged
from embedfreeze.formats.arrays.npyheader import LONGEST_HEADER, ArrayHeader, array_header

if TYPE_CHECKING:
    import zipfile

__all__ = ["Archive", "Member", "understood"]

SUFFIX = ".npy"
MOST_ARRAYS = 4096
MOST_RATIO = 1032  # of deflated data: 258 bytes for two bits
PACKINGS = (0, 8)  # stored, deflated


@dataclass(frozen=True)
class Member:
    """An array of an archive."""

    name: str
    info: zipfile.ZipInfo
    header: ArrayHeader

    def __str__(self) -> str:
        return f"{self.name} {self.header}"


@contextmanager
def understood(source: Source) -> Iterator[None]:
    """What a damaged archive raises becomes a `FormatError`."""
    try:
        yield
    except EmbedFreezeError:
        raise
    except (NotImplementedError, RuntimeError) as error:
        raise FormatError(
            f"an NPZ archive must be stored or deflated, without a password ({error}): save it "
            f"again",
            path=source.name,
        ) from error
    except damage() as error:
        raise damaged(source.name, "zip", error) from error
    except (ValueError, IndexError) as error:
        raise damaged(source.name, "zip", error) from error


class Archive:
    """An opened archive; it is closed with its source.

    Parameters
    ----------
    source : Source
        A zip of NPY files.

    Raises
    ------
    FormatError
        It is damaged, holds too many arrays, or one that is no array.
    """

    def __init__(self, source: Source) -> None:
        import zipfile  # late: most files are no archives, and a short start is a promise

        self._source = source
        raw: Any = source.input.raw
        plain = source.container is None and raw.seekable()
        with understood(source):
            file = raw if plain else source.as_file()
            self._size = file.seek(0, os.SEEK_END)
            self._zip = source.resources.enter_context(zipfile.ZipFile(file))
            infos = [info for info in self._zip.infolist() if info.filename.endswith(SUFFIX)]
        if len(infos) > MOST_ARRAYS:
            raise FormatError(
                f"an NPZ archive must hold at most {MOST_ARRAYS} arrays, received {len(infos)}: "
                f"save all vectors as one matrix, and the tokens as one array of strings",
                path=source.name,
            )
        self.members = {m.name: m for m in map(self._described, infos)}

    def _described(self, info: zipfile.ZipInfo) -> Member:
        name = info.filename.removesuffix(SUFFIX)
        path = f"{self._source.name}:{info.filename}"
        if info.header_offset + info.compress_size > self._size:
            raise FormatError(
                f"the bytes of an array must lie in the archive, received {info.compress_size} "
                f"from byte {info.header_offset} on of {self._size}: the archive is damaged or "
                f"cut off, get it again",
                path=path,
            )
        if info.file_size > MOST_RATIO * info.compress_size + LONGEST_HEADER:
            raise FormatError(
                f"an array cannot be packed to less than 1/{MOST_RATIO} of its size, received one "
                f"of {info.file_size} bytes in {info.compress_size}: the archive is damaged",
                path=path,
            )
        with understood(self._source), self.opened(info) as file:
            header = array_header(file.read(LONGEST_HEADER), path)
        if header.start + header.nbytes != info.file_size and not header.dtype.hasobject:
            raise FormatError(
                f"the header of the array promises {header}, {header.nbytes} bytes, received "
                f"{info.file_size - header.start}: the archive is damaged, get it again",
                path=path,
            )
        return Member(name, info, header)

    def opened(self, info: zipfile.ZipInfo) -> IO[bytes]:
        """The bytes of an array file."""
        if info.compress_type not in PACKINGS:
            raise NotImplementedError(f"{info.filename} has method {info.compress_type}")
        return self._zip.open(info)

    def values(self, member: Member) -> IO[bytes]:
        """The bytes of an array, from its first value on; they are closed with the source."""
        with understood(self._source):
            file = self._source.resources.enter_context(self.opened(member.info))
            file.read(member.header.start)
        return file

    def named(self, name: str) -> Member | None:
        """The member of a name, with or without the suffix."""
        return self.members.get(name) or self.members.get(name.removesuffix(SUFFIX))

    def __str__(self) -> str:
        shown = [str(member) for member in list(self.members.values())[:20]]
        more = f" and {len(self.members) - 20} more" if len(self.members) > 20 else ""
        return f"{', '.join(shown) or 'none'}{more}"
