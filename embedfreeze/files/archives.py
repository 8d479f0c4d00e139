"""Archives of members: which one is meant, and its bytes."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from embedfreeze.errors import FileError
from embedfreeze.files.compressions import bzip2_stream, copy_whole
from embedfreeze.files.tararchive import TarReader

if TYPE_CHECKING:
    import zipfile

    from typing_extensions import Buffer

__all__ = ["Chosen", "open_tar", "open_zip", "pack_zip"]

_LISTED, _LISTED_CHARACTERS = 20, 100
_PIECE_BYTES = 4096  # of what is packed more than a thousand times
# What Keras packs in a ``.keras`` file; the weights are what others call the file.
_KERAS = frozenset({"config.json", "metadata.json", "model.weights.h5"})
_KERAS_WEIGHTS = "model.weights.h5"


@dataclass(frozen=True)
class Chosen:
    """A member of an archive (None: the archive is a format of its own), and a part of that."""

    member: str | None
    part: str | None
    stream: Any


@dataclass
class _Search:
    """Looks for the member that is meant among the names of an archive, as they come.

    Parameters
    ----------
    member : str or None
        What the caller named: a member, a member and a part of it behind a colon, a part of the
        only member behind a colon, or nothing.
    """

    member: str | None
    real: int = 0
    first: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    of_keras: set[str] = field(default_factory=set)
    names: int = 0
    arrays: int = 0

    def __post_init__(self) -> None:
        named = self.member or ""
        ends = [i for i, letter in enumerate(named) if letter == ":"]
        self._ways = {named: None, **{named[:i]: named[i + 1 :] for i in reversed(ends)}}
        self._ways.pop("", None)
        self.part = named[1:] if named.startswith(":") else None

    def add(self, name: str) -> bool:
        """Take note of a name. Is it just what the caller named?"""
        self.names += 1
        self.arrays += name.endswith(".npy")
        if name in self._ways:
            self.seen.add(name)
        if name in _KERAS:
            self.of_keras.add(name)
        if not _is_rest(name):
            self.real += 1
            if len(self.first) < _LISTED:
                self.first.append(name)
        return name == self.member

    @property
    def is_npz(self) -> bool:
        """Are all members arrays?"""
        return 0 < self.names == self.arrays

    @property
    def is_torch(self) -> bool:
        """Does it hold what `torch.save` writes?"""
        return any(name.rpartition("/")[2] == "data.pkl" for name in self.first)

    @property
    def takes_first(self) -> bool:
        """Did the caller name no member?"""
        return self.member is None or self.part is not None

    def found(self, *, keras: bool = False) -> tuple[str, str | None]:
        """The member that is meant, and the part of it."""
        for member, part in self._ways.items():
            if member in self.seen:
                return member, part
        if keras and self.of_keras == _KERAS:
            return _KERAS_WEIGHTS, self.member
        if self.takes_first:
            if self.real > 1 and self.is_torch:
                raise FileError(
                    "a PyTorch file, pickle: not opened; save its table in PyTorch as safetensors, "
                    "with safetensors.torch.save_file"
                )
            if self.real != 1:
                raise FileError(
                    f"an archive needs member= (--member) unless it has one member, received "
                    f"{self.real}: {self.listed()}"
                )
            return self.first[0], self.part
        raise FileError(f"the archive has no member {self.member!r}; it has {self.listed()}")

    def listed(self) -> str:
        names = [_shown(name) for name in self.first]
        return ", ".join([*names, "..."] if self.real > len(names) else names) or "none"


def _is_rest(name: str) -> bool:
    """Is it what macOS packs beside the files?"""
    last = name.rpartition("/")[2]
    return name.startswith("__MACOSX/") or last.startswith("._") or last == ".DS_Store"


def _shown(name: str) -> str:
    name = name if len(name) <= _LISTED_CHARACTERS else name[: _LISTED_CHARACTERS - 3] + "..."
    return name if name.isprintable() else repr(name)


def open_zip(raw: Any, member: str | None) -> Chosen:
    """A member of a zip archive.

    Raises
    ------
    FileError
        There is no such member, or there are several.
    zipfile.BadZipFile and others
        The archive is damaged.
    """
    import zipfile

    archive = zipfile.ZipFile(raw)
    search = _Search(member)
    for info in archive.infolist():
        if not info.is_dir():
            search.add(info.filename)
    if search.is_npz:
        raw.seek(0)
        return Chosen(None, member, raw)
    name, part = search.found(keras=True)
    info = archive.getinfo(name)
    if info.compress_type == zipfile.ZIP_BZIP2:
        return Chosen(name, part, bzip2_stream(archive.open(_as_stored(info))))
    stream: Any = archive.open(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        stream = _InPieces(stream)
    return Chosen(name, part, stream)


def _as_stored(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """The member whose content is the packed bytes, without the checksum of what they hold.

    `zipfile` unpacks at once all that some packed bytes hold, which in bzip2 may be a gigabyte in a
    kilobyte; bzip2 has checksums of its own.
    """
    stored = copy.copy(info)
    stored.compress_type, stored.file_size = 0, info.compress_size
    del stored.CRC
    return stored


def pack_zip(file: IO[bytes], packed: IO[bytes], member: str) -> None:
    """An archive of one member; equal bytes are packed to equal bytes."""
    import zipfile

    info = zipfile.ZipInfo(member)  # its date is fixed
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(packed, "w") as archive, archive.open(info, "w", force_zip64=True) as out:
        copy_whole(file, out)


class _InPieces(io.RawIOBase):
    """A member that is read in small pieces: Python unpacks all of a piece, whatever it becomes."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        target = memoryview(buffer).cast("B")
        data = self._stream.read(min(len(target), _PIECE_BYTES))
        target[: len(data)] = data
        return len(data)


class _TarMember(io.RawIOBase):
    """A member of a tar archive; of one that cannot be looked through before, the only one."""

    def __init__(self, reader: TarReader, rest: _Search | None, names: Iterator[str]) -> None:
        super().__init__()
        self._reader, self._rest, self._names = reader, rest, names

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        target = memoryview(buffer).cast("B")
        got = self._reader.readinto(target)
        if not got and len(target) and self._rest is not None:
            rest, self._rest = self._rest, None
            for name in self._names:
                rest.add(name)
            rest.found()
        return got


def open_tar(raw: Any, member: str | None, again: Callable[[], Any] | None) -> Chosen:
    """A member of a tar archive.

    Parameters
    ----------
    raw : file
        The archive, at its start.
    member : str or None
        What the caller named.
    again : callable or None
        Gives the archive at its start once more, if it can be read twice.

    Raises
    ------
    FileError
        There is no such member, or there are several.
    EOFError, OSError
        The archive is damaged.
    """
    search = _Search(None if member is None else member.removeprefix("./"))
    names = iter(reader := TarReader(raw))
    if again is None:
        return _first_of_tar(reader, names, search)
    for name in names:
        if search.add(name):
            return Chosen(name, None, _TarMember(reader, None, names))
    wanted, part = search.found()
    names = iter(reader := TarReader(again()))
    if wanted not in names:  # this goes on until it comes
        raise OSError("it changed while it was read")
    return Chosen(wanted, part, _TarMember(reader, None, names))


def _first_of_tar(reader: TarReader, names: Iterator[str], search: _Search) -> Chosen:
    """The first member that can be meant; whether it is the only one shows at its end."""
    for name in names:
        search.add(name)
        if search.seen or (search.real and search.takes_first):
            break
    wanted, part = search.found()
    rest = search if search.takes_first and not search.seen else None
    return Chosen(wanted, part, _TarMember(reader, rest, names))
