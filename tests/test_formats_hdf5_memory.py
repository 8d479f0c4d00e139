"""A gigabyte as pandas, Keras and TensorFlow lay it out, converted in bounded memory."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from samples import child
from test_memory import MEASURE, MEGABYTE
from tf_tables import block, entry, field, header, index

from embedfreeze.checkpoints.bundle import _part_key

pytestmark = pytest.mark.large

ROWS, DIM, STEP = 850_000, 300, 10_000
CONVERT = (
    MEASURE
    + """
source, target, tokens = sys.argv[1:]
options = {"tokens": tokens} if tokens else {}
done = peak_of(lambda: ef.convert(source, target, **options))
e = ef.read(target)
print(done.rows, e.tokens[0], e.tokens[len(e) - 1], float(e.matrix[-1, -1]))
"""
)
LOAD = (
    MEASURE
    + """
v = ef.Vocabulary([f"token{i}" for i in range(0, 850_000, 100)])
a = peak_of(lambda: ef.load(sys.argv[1], v, tokens=sys.argv[2] or None))
print(a.matrix.nbytes)
"""
)


def batches() -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    random = np.random.default_rng(1)
    for low in range(0, ROWS, STEP):
        yield low, random.integers(-99, 99, (min(STEP, ROWS - low), DIM)).astype(np.float32)


def fill(group: h5py.Group, name: str, dtype: str = "f4") -> None:
    matrix = group.create_dataset(name, (ROWS, DIM), dtype)
    for low, values in batches():
        matrix[low : low + len(values)] = values


def pandas_frame(folder: Path) -> Path:
    path = folder / "f.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("mat")
        group.attrs["pandas_type"] = np.bytes_("frame")
        group["axis1"] = np.array([b"token%d" % i for i in range(ROWS)], "S12")
        fill(group, "block0_values")
    return path


def keras_weights(folder: Path) -> Path:
    path = folder / "f.weights.h5"
    with h5py.File(path, "w") as file:
        fill(file, "layers/embedding/vars/0")
        file["layers/dense/vars/0"] = np.ones((DIM, 4), "f4")
    return path


def keras_archive(folder: Path) -> Path:
    weights, path = keras_weights(folder), folder / "f.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(weights, "model.weights.h5")
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
    weights.unlink()
    return path


def checkpoint(folder: Path) -> Path:
    """A variable in two parts, in two files."""
    cut, entries, extents = ROWS // STEP // 2 * STEP, {b"": header(2)}, []
    for shard, (low, high) in enumerate(((0, cut), (cut, ROWS))):
        with open(folder / f"f.data-0000{shard}-of-00002", "wb") as file:
            for first, values in batches():
                if low <= first < high:
                    values.tofile(file)
        extents.append(((low, high - low), (0, DIM)))
        shape, size = (high - low, DIM), (high - low) * DIM * 4
        entries[_part_key(b"words", extents[-1])] = entry(1, shape, size, shard=shard)
    entries[b"words"] = entry(1, (ROWS, DIM), 0) + slices(extents)
    path = folder / "f.index"
    path.write_bytes(index(block(entries)))
    return path


def slices(extents: list[tuple[tuple[int, int], ...]]) -> bytes:
    return b"".join(
        field(7, b"".join(field(1, field(1, start) + field(2, size)) for start, size in extent))
        for extent in extents
    )


@pytest.mark.parametrize("make", [pandas_frame, keras_weights, keras_archive, checkpoint])
def test_a_gigabyte(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"".join(b"token%d\n" % i for i in range(ROWS)))
    tokens = "" if make is pandas_frame else listed
    used, *told = child(CONVERT, path, tmp_path / "t.safetensors", tokens, timeout=1800).split()
    *_, (_, last) = batches()
    assert told == [str(ROWS), "token0", f"token{ROWS - 1}", str(float(last[-1, -1]))]
    assert int(used) < 300 * MEGABYTE, int(used) // MEGABYTE
    used, matrix = map(int, child(LOAD, path, tokens, timeout=600).split())
    assert used < 100 * MEGABYTE + matrix, used // MEGABYTE
