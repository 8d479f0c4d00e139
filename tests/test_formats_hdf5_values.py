"""Values that are taken out of the mapped file are those that the library reads."""

from pathlib import Path

import h5py
import numpy as np
import pytest

import embedfreeze as ef
from embedfreeze.errors import FormatError

ROWS, DIM = 50, 13
VALUES = np.random.default_rng(5).standard_normal((ROWS, DIM))
LAYOUTS = {
    "contiguous": {},
    "chunks": {"chunks": (7, 5)},
    "gzip": {"chunks": (7, 5), "compression": "gzip"},
    "shuffle": {"chunks": (8, 13), "compression": "gzip", "shuffle": True},
    "checksum": {"chunks": (8, 4), "compression": "gzip", "fletcher32": True},
    "lzf": {"chunks": (8, 4), "compression": "lzf"},
}


def written(path: Path, dtype: str, **layout) -> Path:
    with h5py.File(path, "w", userblock_size=layout.pop("userblock_size", 0)) as file:
        file.create_dataset("vectors", data=VALUES.astype(dtype), **layout)
        file["tokens"] = [f"w{i}" for i in range(ROWS)]
    return path


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout: str, dtype: str, tmp_path: Path) -> None:
    path = written(tmp_path / "f.h5", dtype, **LAYOUTS[layout])
    expected = VALUES.astype(dtype).astype(np.float32)
    assert np.array_equal(ef.read(path).matrix, expected)
    rows = ef.load(path, ef.Vocabulary(["w31", "w4"], padding=None, unknown=None))
    assert np.array_equal(rows.matrix, expected[[31, 4]])


def test_chunks_that_were_not_written_and_those_without_their_filter(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset(
            "vectors", (ROWS, DIM), "<f4", chunks=(10, DIM), compression="gzip", fillvalue=2.5
        )
        made[:20] = VALUES[:20]
        made.id.write_direct_chunk((30, 0), VALUES[30:40].astype("<f4").tobytes(), 1)
        file["tokens"] = [f"w{i}" for i in range(ROWS)]
    with h5py.File(path) as file:
        expected = file["vectors"][:]
    assert np.array_equal(ef.read(path).matrix, expected)


def test_damage_in_a_chunk_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "f.h5", "<f4", chunks=(ROWS, DIM), compression="gzip")
    with h5py.File(path) as file:
        place = file["vectors"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[place.byte_offset + place.size - 1] ^= 1  # the checksum
    path.write_bytes(data)
    with pytest.raises(FormatError, match="HDF5 cannot read rows 0 to 50"):
        ef.read(path)
