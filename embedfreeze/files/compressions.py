"""Compressed data: streams that unpack it in bounded memory, and the packing of finished files."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from embedfreeze.errors import FileError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Inflater",
    "bzip2_stream",
    "copy_whole",
    "damage",
    "gzip_stream",
    "pack_bzip2",
    "pack_gzip",
    "pack_xz",
    "pack_zstd",
    "xz_stream",
    "zstd_stream",
]

_BLOCK_BYTES = 1 << 18
_COPY_BYTES = 4 << 20
_XZ_MEMORY = 256 << 20  # of a dictionary, whose size a header claims; zstd has such a limit itself
_ZSTD = ("compression.zstd", "backports.zstd")  # Python 3.14 has the one


# The libraries of compressed data are imported where they are needed: plain files are the usual
# ones, and a short start is a promise.
def damage() -> tuple[type[Exception], ...]:
    """What reading damaged compressed data raises."""
    import lzma
    import zipfile
    import zlib

    zstd = [sys.modules[name].ZstdError for name in _ZSTD if name in sys.modules]
    return EOFError, OSError, zlib.error, zipfile.BadZipFile, lzma.LZMAError, *zstd


class _Unpacked(io.RawIOBase):
    """What one or more compressed streams, one behind the other, unpack to.

    Parameters
    ----------
    file : file
        The compressed bytes.
    new : callable
        Makes a decompressor, of the kind that bz2, lzma and zstd share.
    padding : bool
        May there be zeros behind a stream?
    """

    def __init__(self, file: IO[bytes], new: Callable[[], Any], *, padding: bool = False) -> None:
        super().__init__()
        self._file, self._new, self._padding = file, new, padding
        self._unpack: Any = None
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        target = memoryview(buffer).cast("B")
        while self._unpack is not None or self._more():
            if self._unpack is None:
                self._unpack = self._new()
            data = b""
            if self._unpack.needs_input:
                if not self._more():
                    raise EOFError("it ends before the mark of its end")
                data, self._rest = self._rest, b""
            found = self._unpack.decompress(data, len(target))
            if self._unpack.eof:
                self._rest, self._unpack = self._unpack.unused_data, None
            if found:
                target[: len(found)] = found
                return len(found)
        return 0

    def _more(self) -> bool:
        """Are there compressed bytes that were not unpacked?"""
        while True:
            if self._padding and self._unpack is None:
                self._rest = self._rest.lstrip(b"\0")
            if self._rest:
                return True
            self._rest = self._file.read(_BLOCK_BYTES)
            if not self._rest:
                return False


class Inflater:
    """A decompressor of gzip or zlib data, of the kind that bz2, lzma and zstd have.

    ISA-L does it in a third of zlib's time; where that library is missing, zlib does.

    Parameters
    ----------
    gzip : bool
        Data in the frame of gzip, else in that of zlib.

    Raises
    ------
    zlib.error
        By `decompress`, of damaged data.
    """

    def __init__(self, *, gzip: bool = True) -> None:
        import zlib

        library: Any = zlib
        with suppress(ImportError):
            library = importlib.import_module("isal.isal_zlib")
        self._unpack: Any = library.decompressobj(wbits=zlib.MAX_WBITS | (16 if gzip else 0))
        self._refused, self._error = library.error, zlib.error

    @property
    def needs_input(self) -> bool:
        return not self._unpack.unconsumed_tail

    @property
    def eof(self) -> bool:
        return bool(self._unpack.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._unpack.unused_data)

    def decompress(self, data: Buffer, limit: int) -> bytes:
        if self._unpack.unconsumed_tail:
            data = self._unpack.unconsumed_tail + data
        try:
            return bytes(self._unpack.decompress(data, limit))
        except self._refused as error:
            raise self._error(str(error)) from error


def gzip_stream(file: Any) -> Any:
    """What gzip data unpacks to."""
    return _Unpacked(file, Inflater, padding=True)


def bzip2_stream(file: Any) -> Any:
    """What bzip2 data unpacks to."""
    import bz2

    return _Unpacked(file, bz2.BZ2Decompressor)


def xz_stream(file: Any) -> Any:
    """What xz data unpacks to."""
    import lzma

    def new() -> Any:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    return _Unpacked(file, new, padding=True)


def zstd_stream(file: Any) -> Any:
    """What zstd data unpacks to."""
    return _Unpacked(file, _zstd().ZstdDecompressor)


def _zstd() -> Any:
    for name in _ZSTD:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise FileError('zstd data needs a library: pip install "embedfreeze[zstd]"')


def pack_gzip(file: IO[bytes], packed: IO[bytes], _: str) -> None:
    """Compress; equal bytes are packed to equal bytes, here and below."""
    import gzip

    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0) as out:
        copy_whole(file, out)


def pack_bzip2(file: IO[bytes], packed: IO[bytes], _: str) -> None:
    """Compress."""
    import bz2

    with bz2.BZ2File(packed, "wb") as out:
        copy_whole(file, out)


def pack_xz(file: IO[bytes], packed: IO[bytes], _: str) -> None:
    """Compress."""
    import lzma

    # Its usual 6 takes seven times as long on numbers, and saves an eighth.
    with lzma.LZMAFile(packed, "wb", preset=1) as out:
        copy_whole(file, out)


def pack_zstd(file: IO[bytes], packed: IO[bytes], _: str) -> None:
    """Compress."""
    zstd = _zstd()
    checked = {zstd.CompressionParameter.checksum_flag: 1}
    with zstd.ZstdFile(packed, "wb", options=checked) as out:
        copy_whole(file, out)


def copy_whole(file: IO[bytes], out: Any) -> None:
    """Copy a file from its start."""
    import shutil

    file.seek(0)
    shutil.copyfileobj(file, out, _COPY_BYTES)
