"""Shards as NPZ archives whose arrays are stored, so that they can be mapped."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy.typing as npt

from embedfreeze.batch.columns import Column
from embedfreeze.batch.shards.arrays import (
    ArraySpec,
    ArraysReader,
    StoredArrays,
    array_specs,
    described,
    mapped_array,
)
from embedfreeze.batch.shards.base import ShardFormat, Write, one_file
from embedfreeze.files import Output
from embedfreeze.formats.arrays.npyheader import header_bytes

if TYPE_CHECKING:
    import zipfile

__all__ = ["NPZ"]

COPY_BYTES = 4 << 20
ALIGNMENT = 64
LOCAL_HEADER, ZIP64_EXTRA, EXTRA_HEADER = 30, 20, 4  # bytes before an array in a zip
PADDING = 0xD935  # the kind of extra field that Android's zipalign pads with

_files = one_file(".npz")


@contextmanager
def _writing(output: Output, _: list[str], columns: Sequence[Column]) -> Iterator[Write]:
    import zipfile

    specs = array_specs(columns)
    files = {spec.name: output.spare() for spec in specs}
    arrays = StoredArrays(files, columns)
    yield arrays.write
    with zipfile.ZipFile(output.file, "w") as archive:
        for spec, shape in described(arrays, specs):
            _copy(files[spec.name], archive, output.file, spec, shape)


def _copy(
    values: IO[bytes],
    archive: zipfile.ZipFile,
    target: IO[bytes],
    spec: ArraySpec,
    shape: tuple[int, ...],
) -> None:
    import zipfile

    info = zipfile.ZipInfo(f"{spec.name}.npy")  # its date is fixed: equal input gives equal bytes
    begun = target.tell() + LOCAL_HEADER + len(info.filename) + EXTRA_HEADER + ZIP64_EXTRA
    room = -begun % ALIGNMENT
    info.extra = struct.pack("<HH", PADDING, room) + bytes(room)
    values.seek(0)
    with archive.open(info, "w", force_zip64=True) as member:
        member.write(header_bytes(spec.dtype, shape))
        for piece in iter(lambda: values.read(COPY_BYTES), b""):
            member.write(piece)


@contextmanager
def _opened(folder: str, stem: str, columns: Sequence[Column]) -> Iterator[ArraysReader]:
    arrays = _mapped(os.path.join(folder, f"{stem}.npz"), array_specs(columns))
    yield ArraysReader(arrays, columns)


def _mapped(path: str, specs: Sequence[ArraySpec]) -> dict[str, npt.NDArray[Any]]:
    import zipfile

    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                infos = [archive.getinfo(f"{spec.name}.npy") for spec in specs]
        except zipfile.BadZipFile as error:
            raise ValueError(str(error)) from error
        return {
            spec.name: mapped_array(file, _start(file, info))
            for spec, info in zip(specs, infos, strict=True)
        }


def _start(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin."""
    if info.compress_type:
        raise ValueError(f"{info.filename}, which is packed")
    local = os.pread(file.fileno(), LOCAL_HEADER, info.header_offset)
    name, extra = struct.unpack_from("<HH", local, 26)
    return int(info.header_offset + LOCAL_HEADER + name + extra)


NPZ = ShardFormat(_files, _writing, _opened)
