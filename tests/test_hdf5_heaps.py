"""Heaps of HDF5 strings: a damaged chain is refused before the library follows it for ever."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from samples import put, spelled

import embedfreeze as ef
from embedfreeze import _kernel
from embedfreeze.errors import FormatError

TOKENS = [f"token{i}" for i in range(600)] + [""]
LAYOUTS: list[dict[str, Any]] = [
    {},
    {"chunks": (100,)},
    {"chunks": (100,), "compression": "gzip"},
    {"chunks": (100,), "maxshape": (None,)},
]


def made(path: Path, layout: dict[str, Any]) -> bytes:
    with h5py.File(path, "w") as file:
        file["vectors"] = np.ones((len(TOKENS), 2), np.float32)
        file.create_dataset("tokens", data=TOKENS, dtype=h5py.string_dtype(), **layout)
    return path.read_bytes()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("which", ["first", "last"])
def test_a_chain_that_leads_nowhere(layout: dict[str, Any], which: str, tmp_path: Path) -> None:
    data = bytearray(made(tmp_path / "f.h5", layout))
    assert spelled(ef.read(tmp_path / "f.h5")) == [token.encode() for token in TOKENS]
    start = data.index(b"GCOL\1\0\0\0") if which == "first" else data.rindex(b"GCOL\1\0\0\0")
    for broken in (
        bytes(16),
        b"\1\0\0\0\0\0\0\0" + b"\xff" * 8,
        b"\1\0\0\0\0\0\0\0\xf1" + b"\xff" * 7,
    ):
        data[start + 16 : start + 32] = broken
        put(tmp_path / "f.h5", bytes(data))
        with pytest.raises(FormatError, match=f"a heap at byte {start} "):
            ef.read(tmp_path / "f.h5")


def test_a_heap_that_is_cut_off(tmp_path: Path) -> None:
    data = bytearray(made(tmp_path / "f.h5", {}))
    start = data.rindex(b"GCOL\1\0\0\0")
    data[start + 8 : start + 16] = (1 << 40).to_bytes(8, "little")
    put(tmp_path / "f.h5", bytes(data))
    with pytest.raises(FormatError, match="damaged"):
        ef.read(tmp_path / "f.h5")


def by_the_library(path: Path) -> list[bytes]:
    with h5py.File(path) as file:
        return [bytes(token) for token in file["tokens"][:].reshape(-1)]


def found_in_the_file(path: Path) -> bool:
    """Are the strings found without the library?"""
    data = path.read_bytes()
    with h5py.File(path) as file:
        start, count = file["tokens"].id.get_offset(), file["tokens"].size
        shift = file.userblock_size
    spans = np.empty((count, 2), np.int64)
    references = np.frombuffer(data, np.uint8, 16 * count, start)
    return not shift and _kernel.find_heap_strings(data, references, spans)


AWKWARD = [b"", b"a", b"", "caf\u00e9".encode(), b"x" * 70_000, b"b" * 4065, b"c" * 4000, b"d", b""]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strings_of_any_length_are_those_of_the_library(
    layout: dict[str, Any], tmp_path: Path
) -> None:
    spellings = AWKWARD + [b"t" * (i * 37 % 300) + b"%d" % i for i in range(3000)]
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["vectors"] = np.ones((len(spellings), 2), np.float32)
        out = file.create_dataset("tokens", (len(spellings),), h5py.string_dtype(), **layout)
        rng = np.random.default_rng(0)
        for rows in np.array_split(rng.permutation(len(spellings)), 50):  # heaps are mixed
            for row in rows.tolist():
                out[row] = spellings[row]
    assert by_the_library(tmp_path / "f.h5") == spellings
    e = ef.read(tmp_path / "f.h5", unicode_errors="strict", on_duplicate="first")
    assert spelled(e) == list(dict.fromkeys(spellings))


def test_strings_written_in_order_are_found_without_the_library(tmp_path: Path) -> None:
    made(tmp_path / "f.h5", {})
    assert found_in_the_file(tmp_path / "f.h5")


def test_a_string_ends_at_its_nul_as_in_the_library(tmp_path: Path) -> None:
    data = made(tmp_path / "f.h5", {})
    assert data.count(b"token17\0") == 1
    (tmp_path / "f.h5").write_bytes(data.replace(b"token17\0", b"tok\0n17\0"))
    assert by_the_library(tmp_path / "f.h5")[17] == b"tok"
    assert found_in_the_file(tmp_path / "f.h5")
    assert spelled(ef.read(tmp_path / "f.h5"))[17] == b"tok"


def test_a_user_block_before_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w", userblock_size=512) as file:
        file["vectors"] = np.ones((len(TOKENS), 2), np.float32)
        file.create_dataset("tokens", data=TOKENS, dtype=h5py.string_dtype())
    assert spelled(ef.read(tmp_path / "f.h5", format="hdf5")) == by_the_library(tmp_path / "f.h5")
    assert by_the_library(tmp_path / "f.h5") == [token.encode() for token in TOKENS]
