"""Strings of HDF5: where they claim more than the file holds, and where they never end."""

import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from samples import assert_is, child, put, table

import embedfreeze as ef
from embedfreeze.errors import FormatError
from embedfreeze.formats.hdf5.file import HeapCheckedFile, _ends

TOKENS = [f"token{i}" for i in range(300)]
STORAGE: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunks": {"chunks": 7},
    "growing": {"chunks": 64, "maxshape": None},
    "gzip": {"chunks": 9, "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": 9, "compression": "lzf"},
}


def make(path: Path, storage: str, columns: int = 0) -> Path:
    options = dict(STORAGE[storage])
    for name in ("chunks", "maxshape"):
        if name in options:
            options[name] = (options[name], *[1] * columns)
    data = np.array(TOKENS, object).reshape(-1, *[1] * columns)
    with h5py.File(path, "w") as file:
        file["v"] = table(300, 2)
        file.create_dataset("t", data=data, dtype=h5py.string_dtype(), **options)
    return path


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("columns", [0, 1])
def test_any_storage(storage: str, columns: int, tmp_path: Path) -> None:
    assert_is(ef.read(make(tmp_path / "f.h5", storage, columns)), TOKENS, table(300, 2))


def reference(path: Path, row: int) -> int:
    """Where the reference of a string stands that is not packed."""
    with h5py.File(path) as file:
        dataset = file["t"].id
        if file["t"].chunks is None:
            return int(dataset.get_offset()) + 16 * row
        number, inside = divmod(row, file["t"].chunks[0])
        return int(dataset.get_chunk_info(number).byte_offset) + 16 * inside


@pytest.mark.parametrize("storage", ["contiguous", "chunks"])
@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFF0, 100_000])
def test_a_length_that_the_file_does_not_hold(storage: str, length: int, tmp_path: Path) -> None:
    """The library would take the memory first."""
    path = make(tmp_path / "f.h5", storage)
    data = bytearray(path.read_bytes())
    at = reference(path, 123)
    assert struct.unpack_from("<I", data, at) == (8,)
    struct.pack_into("<I", data, at, length)
    with pytest.raises(FormatError, match=r"strings must lie in the file, received more than \d+"):
        ef.read(put(path, data))


def test_references_to_one_string(tmp_path: Path) -> None:
    """A small file that would become as many copies of its largest string as it has rows."""
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["v"] = table(300, 2)
        strings = ["x" * 30_000, *["y"] * 299]
        file.create_dataset("t", data=strings, dtype=h5py.string_dtype())
    data, at = bytearray(path.read_bytes()), reference(path, 0)
    data[at : at + 16 * 300] = data[at : at + 16] * 300
    with pytest.raises(FormatError, match="strings must lie in the file"):
        ef.read(put(path, data))


def test_a_packed_length(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    make(path, "gzip")
    with h5py.File(path, "a") as file:
        dataset = file["t"].id
        mask, raw = dataset.read_direct_chunk((0,))
        plain = bytearray(zlib.decompress(raw))
        struct.pack_into("<I", plain, 16, 0xF0000000)
        dataset.write_direct_chunk((0,), zlib.compress(bytes(plain)), mask)
    with pytest.raises(FormatError, match="strings must lie in the file"):
        ef.read(path)


READ = """
import resource, sys, embedfreeze as ef
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
try:
    ef.read(sys.argv[1])
except ef.errors.FormatError as error:
    print(error)
"""


@pytest.mark.parametrize("size", [0, 1 << 40, 12])
def test_a_heap_that_leads_nowhere(size: int, tmp_path: Path) -> None:
    """An object of no size would keep the library busy for ever: it must not be asked."""
    path = make(tmp_path / "f.h5", "contiguous")
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    struct.pack_into("<HHIQ", data, heap + 16, 0, 0, 0, size)
    told = child(READ, put(path, data), timeout=60)
    assert f"a heap at byte {heap} has damaged objects" in told
    struct.pack_into("<Q", data, heap + 8, 1 << 40)
    with pytest.raises(FormatError, match=f"a heap at byte {heap} ends behind the file"):
        ef.read(put(path, data))


def test_heaps_are_walked_as_the_library_does() -> None:
    """All at once gives what going from object to object does."""
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(3000):
        heap = bytearray(8 * int(rng.integers(2, 40)))
        at = 16
        while at + 16 <= len(heap):
            index, size = int(rng.integers(0, 3)), 8 * int(rng.integers(0, 6))
            if rng.random() < 0.4:
                size = len(heap) - at - 16 * (index > 0)
            elif rng.random() < 0.05:
                size = int(rng.integers(1 << 40))
            struct.pack_into("<HHIQ", heap, at, index, 0, 0, max(0, size))
            at += 16 + (size + 7 & -8) if index else max(8, size + 7 & -8)
        file = HeapCheckedFile.__new__(HeapCheckedFile)
        file._mapping, file._object = bytes(heap), struct.Struct("<H6xQ").unpack_from
        expected = file._walked(0, len(heap))
        assert _ends(np.frombuffer(heap, "<u8")) == expected
        found.add(expected)
    assert found == {True, False}


def test_a_chunk_far_larger_than_what_is_stored(tmp_path: Path) -> None:
    """Of ten rows that nobody wrote, each read would take a gigabyte."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("v", (10, 300), "f4", chunks=(1 << 20, 300), maxshape=(None, 300))
        file.create_dataset("t", data=TOKENS[:10], dtype=h5py.string_dtype())
    with pytest.raises(FormatError, match=r"far larger than what is stored.*\[1048576, 300\]"):
        ef.read(tmp_path / "f.h5")
