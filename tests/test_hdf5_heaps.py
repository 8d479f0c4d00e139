"""Heaps of HDF5 strings: a damaged chain is refused before the library follows it for ever."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from samples import put, spelled

import embedfreeze as ef
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
