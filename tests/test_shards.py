"""Shards of features: each format against its own library, whole files or none, equal bytes."""

import contextlib
import itertools
import json
import os
import resource
import struct
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from samples import bits, child, put, table

from embedfreeze.batch.columns import (
    Block,
    Column,
    Ragged,
    Rebatcher,
    block_rows,
    joined,
    part,
    taken,
)
from embedfreeze.batch.manifest import Manifest
from embedfreeze.batch.shards import (
    SHARD_FORMATS,
    parquet,
    read_shard,
    shard_files,
    shard_writer,
    verbs,
)
from embedfreeze.batch.shards.examples import _numbers, _varints
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError

pytest.importorskip("pyarrow")
tf = pytest.importorskip("tensorflow")

FORMATS = [*SHARD_FORMATS]
POOLED = [
    Column("features", "float32", (7,)),
    Column("label", "int64"),
    Column("id", "str"),
]
IDS = [
    Column("features", "int32", (None,)),
    Column("label", "float32"),
    Column("weights", "float32", (None,)),
    Column("pair", "int32", (2,)),
    Column("counts", "int64", (None,)),
]
EXTREMES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


def some(columns: Sequence[Column], n: int, seed: int = 0) -> Block:
    """Records with special values of every kind."""
    rng = np.random.default_rng(seed)

    def numbers(dtype: str, size: int) -> Any:
        if dtype == "float32":
            return table(size, 1, seed).reshape(-1)
        low, high = EXTREMES[dtype]
        found = rng.integers(low, high, size, dtype, endpoint=True) >> rng.integers(0, 62, size)
        found[:2] = (low, high)[: len(found)]
        return found.astype(dtype)

    block: Block = {}
    for column in columns:
        if column.is_text:
            odd = ["", "caf\u00e9", "\U0001f600", "a\nb", " "]
            block[column.name] = [odd[i] if i < len(odd) else f"text-{i}" for i in range(n)]
        elif column.is_ragged:
            splits = np.concatenate([[0], np.cumsum(rng.integers(0, 5, n))]).astype(np.int64)
            block[column.name] = Ragged(numbers(column.dtype, int(splits[-1])), splits)
        else:
            size = n * int(np.prod(column.row_shape, dtype=int))
            block[column.name] = numbers(column.dtype, size).reshape(n, *column.row_shape)
    return block


def pieces(block: Block, sizes: Sequence[int]) -> Iterator[Block]:
    """A block, cut into batches of these sizes; the last one has what is left."""
    n, low = block_rows(block), 0
    for size in [*sizes, n]:
        high = min(n, low + size)
        yield {name: part(values, low, high) for name, values in block.items()}
        low = high


def write(
    folder: Path,
    format: str,
    columns: Sequence[Column],
    block: Block,
    sizes: Sequence[int] = (),
    stem: str = "part-0",
) -> dict[str, bytes]:
    """The files of a shard."""
    with shard_writer(format, folder, stem, columns) as writer:
        for piece in pieces(block, sizes):
            writer.append(piece)
    assert writer.rows == block_rows(block)
    assert sorted(os.listdir(folder)) == sorted(shard_files(format, stem, columns))
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}


def append(folder: Path, format: str, *batches: Block) -> None:
    """Write a shard, in a single statement."""
    with shard_writer(format, folder, "part-0", POOLED) as writer:
        for batch in batches:
            writer.append(batch)


def remove_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def plain(block: Block) -> dict[str, Any]:
    """What two blocks must have in common: dtypes, shapes, the bits of all values, texts."""

    def one(values: Any) -> Any:
        if isinstance(values, Ragged):
            return one(values.values), one(values.row_splits)
        if isinstance(values, list):
            return values
        return values.dtype.name, values.shape, bits(values)

    return {name: one(values) for name, values in block.items()}


# ---- other libraries read the same


def from_arrays(arrays: dict[str, Any], columns: Sequence[Column]) -> Block:
    block: Block = {}
    for column in columns:
        if not column.is_ragged and not column.is_text:
            block[column.name] = arrays[column.name]
            continue
        ragged = Ragged(arrays[f"{column.name}.values"], arrays[f"{column.name}.row_splits"])
        block[column.name] = ragged
        if column.is_text:
            block[column.name] = [ragged[i].tobytes().decode() for i in range(len(ragged))]
    return block


def by_numpy(folder: Path, columns: Sequence[Column]) -> Block:
    names = [path.name for path in folder.iterdir()]
    arrays = {name[len("part-0.") : -len(".npy")]: np.load(folder / name) for name in names}
    return from_arrays(arrays, columns)


def by_numpy_archive(folder: Path, columns: Sequence[Column]) -> Block:
    with np.load(folder / "part-0.npz") as arrays:
        return from_arrays(dict(arrays), columns)


def by_pyarrow(folder: Path, columns: Sequence[Column]) -> Block:
    import pyarrow.parquet

    found = pyarrow.parquet.read_table(folder / "part-0.parquet")
    block: Block = {}
    for column in columns:
        rows = found.column(column.name).to_pylist()
        if column.is_text:
            block[column.name] = rows
        elif column.is_ragged:
            block[column.name] = Ragged.of(rows, column.dtype)
        else:
            block[column.name] = np.array(rows, column.dtype).reshape(-1, *column.row_shape)
    return block


def by_h5py(folder: Path, columns: Sequence[Column]) -> Block:
    import h5py

    with h5py.File(folder / "part-0.h5") as file:
        arrays = {name: dataset[()] for name, dataset in file.items()}
    texts = {c.name: [t.decode() for t in arrays[c.name]] for c in columns if c.is_text}
    return {**from_arrays(arrays, [c for c in columns if not c.is_text]), **texts}


def by_tensorflow(folder: Path, columns: Sequence[Column]) -> Block:
    messages = list(tf.data.TFRecordDataset(str(folder / "part-0.tfrecord")))
    features = {}
    for column in columns:
        dtype = {"float32": tf.float32, "str": tf.string}.get(column.dtype, tf.int64)
        fixed = tf.io.FixedLenFeature(column.row_shape, dtype)
        features[column.name] = tf.io.RaggedFeature(dtype) if column.is_ragged else fixed
    found = tf.io.parse_example(tf.constant([m.numpy() for m in messages], tf.string), features)
    block: Block = {}
    for column in columns:
        values = found[column.name]
        if column.is_text:
            block[column.name] = [text.decode() for text in values.numpy().tolist()]
        elif column.is_ragged:
            flat = values.values.numpy().astype(column.dtype)
            block[column.name] = Ragged(flat, values.row_splits.numpy().astype(np.int64))
        else:
            block[column.name] = values.numpy().astype(column.dtype)
    return block


READ = {
    "npy": by_numpy,
    "npz": by_numpy_archive,
    "parquet": by_pyarrow,
    "tfrecord": by_tensorflow,
    "hdf5": by_h5py,
}


@pytest.mark.parametrize("columns", [POOLED, IDS], ids=["pooled", "ids"])
@pytest.mark.parametrize("format", FORMATS)
def test_other_libraries_read_it(format: str, columns: list[Column], tmp_path: Path) -> None:
    n = verbs.BLOCK_ROWS + 900
    block = some(columns, n)
    files = write(tmp_path, format, columns, block, [1, 0, 1000, 2])
    assert plain(READ[format](tmp_path, columns)) == plain(block)
    for start, stop in ((0, n), (0, 0), (n, n), (7, 8), (n - 1000, n - 1), (4096, n)):
        found = read_shard(format, tmp_path, "part-0", columns, start, stop)
        expected = {name: part(values, start, stop) for name, values in block.items()}
        assert plain(found) == plain(expected)
    assert write(tmp_path, format, columns, block, [4096]) == files  # in the place of the others


@st.composite
def shards(draw: Any, characters: Any) -> tuple[list[Column], Block, list[int]]:
    """Columns, records, and the sizes of batches."""
    n = draw(st.integers(0, 9))
    columns, block = [], Block()
    for name in draw(st.lists(st.sampled_from("cab"), min_size=1, unique=True)):
        dtype = draw(st.sampled_from(["float32", "int32", "int64", "str"]))
        shape = () if dtype == "str" else draw(st.sampled_from([(), (1,), (3,), (None,)]))
        column = Column(name, dtype, shape)
        low, high = EXTREMES.get(dtype, (0, 2**32 - 1))
        words = st.integers(low, high)

        def numbers(size: int, dtype: Any = dtype, words: Any = words) -> Any:
            found = draw(st.lists(words, min_size=size, max_size=size))
            if dtype == "float32":
                return np.array(found, np.uint32).view(np.float32)
            return np.array(found, dtype)

        if column.is_text:
            text = st.text(characters, max_size=5)
            block[name] = draw(st.lists(text, min_size=n, max_size=n))
        elif column.is_ragged:
            lengths = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
            splits = np.cumsum([0, *lengths], dtype=np.int64)
            block[name] = Ragged(numbers(int(splits[-1])), splits)
        else:
            width = int(np.prod(column.row_shape, dtype=int))
            block[name] = numbers(n * width).reshape(n, *column.row_shape)
        columns.append(column)
    return columns, block, draw(st.lists(st.integers(0, 5), max_size=4))


TEXT = st.characters(exclude_categories=["Cs"])
WITHOUT_NUL = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.data())
def test_any_records(format: str, data: st.DataObject) -> None:
    """In blocks of three records, so that a few of them are many."""
    columns, block, sizes = data.draw(shards(WITHOUT_NUL if format == "hdf5" else TEXT))
    n = block_rows(block)
    with (
        mock.patch.object(verbs, "BLOCK_ROWS", 3),
        mock.patch.object(parquet, "BLOCK_ROWS", 3),
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        files = write(folder, format, columns, block, sizes)
        found = read_shard(format, folder, "part-0", columns)
        assert plain(found) == plain(block)
        assert plain(READ[format](folder, columns)) == plain(unsignalled(block, format))
        start = data.draw(st.integers(0, n))
        stop = data.draw(st.integers(start, n))
        some_columns = columns[: data.draw(st.integers(1, len(columns)))]
        found = read_shard(format, folder, "part-0", some_columns, start, stop)
        expected = {c.name: part(block[c.name], start, stop) for c in some_columns}
        assert plain(found) == plain(expected)
        assert write(folder, format, columns, block) == files


def unsignalled(block: Block, format: str) -> Block:
    """Parquet is compared by way of Python's floats, which make NaN quiet."""

    def one(values: Any) -> Any:
        if isinstance(values, Ragged):
            return Ragged(one(values.values), values.row_splits)
        if isinstance(values, list) or values.dtype != np.float32:
            return values
        return values.astype(np.float64).astype(np.float32)

    return {k: one(v) for k, v in block.items()} if format == "parquet" else block


def test_npy_is_mapped(tmp_path: Path) -> None:
    for format in ("npy", "npz"):
        write(tmp_path, format, POOLED, some(POOLED, 100))
        found: Any = read_shard(format, tmp_path, "part-0", POOLED, 3, 90)["features"]
        assert not found.flags.writeable
        assert found.ctypes.data % 4 == 0
        base = found
        while isinstance(base.base, np.ndarray):
            base = base.base
        assert isinstance(base, np.memmap)
        remove_all(tmp_path)
    write(tmp_path, "npy", POOLED, some(POOLED, 100))
    assert isinstance(np.load(tmp_path / "part-0.features.npy", mmap_mode="r"), np.memmap)


def test_an_archive_has_no_dates_and_begins_arrays_at_even_places(tmp_path: Path) -> None:
    write(tmp_path, "npz", POOLED, some(POOLED, 100))
    data = (tmp_path / "part-0.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "part-0.npz") as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            at = info.header_offset
            assert (at + 30 + sum(struct.unpack_from("<HH", data, at + 26))) % 64 == 0
    with zipfile.ZipFile(tmp_path / "part-0.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("label.npy", b"")
    with pytest.raises(FormatError, match="label.npy, which is packed"):
        read_shard("npz", tmp_path, "part-0", POOLED[1:2])


def test_hdf5_has_no_dates(tmp_path: Path) -> None:
    files = write(tmp_path, "hdf5", IDS, some(IDS, 5))
    time.sleep(1.01)  # what it would keep are seconds
    assert write(tmp_path, "hdf5", IDS, some(IDS, 5)) == files


# ---- TFRecord


def test_records_are_those_of_tensorflow(tmp_path: Path) -> None:
    """The frames are those of its writer, the messages its own deterministic ones."""
    columns = [*IDS, Column("id", "str")]
    block = some(columns, 40)
    data = write(tmp_path, "tfrecord", columns, block)["part-0.tfrecord"]
    payloads = []
    for i in range(40):
        feature = {}
        for column in columns:
            values: Any = block[column.name]
            row = values[i]
            if column.is_text:
                made = tf.train.Feature(bytes_list=tf.train.BytesList(value=[row.encode()]))
            elif column.dtype == "float32":
                made = tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(row)))
            else:
                made = tf.train.Feature(int64_list=tf.train.Int64List(value=np.ravel(row)))
            feature[column.name] = made
        message = tf.train.Example(features=tf.train.Features(feature=feature))
        payloads.append(message.SerializeToString(deterministic=True))
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for payload in payloads:
            writer.write(payload)
    assert data == (tmp_path / "theirs").read_bytes()


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
@example([0, 127, 128, 2**63 - 1, -(2**63), -1])
def test_numbers_of_messages(numbers: list[int]) -> None:
    blob, lengths = _varints(np.array(numbers, np.int64))
    assert lengths.sum() == len(blob)
    assert _numbers(np.frombuffer(blob, np.uint8)).tolist() == numbers


def test_workers_write_without_tensorflow(tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
from embedfreeze.batch.columns import Column
from embedfreeze.batch.shards import shard_writer
for format in ("npy", "npz", "tfrecord"):
    with shard_writer(format, sys.argv[1], "a", [Column("x", "float32", (2,))]) as writer:
        writer.append({"x": np.ones((3, 2), np.float32)})
heavy = ("tensorflow", "google", "keras", "pyarrow", "h5py")
print([name for name in heavy if name in sys.modules])
"""
    assert child(code, tmp_path) == "[]\n"
    assert len(list(tmp_path.iterdir())) == 3


# ---- whole or not at all


@contextmanager
def small_files(largest: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("format", FORMATS)
def test_an_error_leaves_nothing(format: str, tmp_path: Path) -> None:
    block = some(POOLED, 5000)
    with (
        contextlib.suppress(ZeroDivisionError),
        shard_writer(format, tmp_path, "part-0", POOLED) as writer,
    ):
        writer.append(block)
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    files = write(tmp_path, format, POOLED, some(POOLED, 3))
    with pytest.raises(ValueError, match="a batch must have"):
        append(tmp_path, format, block, {})
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == files


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk(format: str, tmp_path: Path) -> None:
    block = some(POOLED, 5000)
    told = r"part-0\..*cannot be written: File too large: raise"
    with small_files(8192), pytest.raises(FileError, match=told):
        append(tmp_path, format, block, block)
    assert not list(tmp_path.iterdir())
    with (
        pytest.raises(FileError, match="check the path"),
        shard_writer(format, tmp_path / "none", "part-0", POOLED),
    ):
        pass


@pytest.mark.parametrize("format", FORMATS)
def test_texts_that_are_none(format: str, tmp_path: Path) -> None:
    for text in ("\ud800", "a\0b"):
        refused = text != "a\0b" or format == "hdf5"
        told = "HDF5 cannot hold a text with a NUL" if text == "a\0b" else "UTF-8 can hold"
        block: Block = {"id": ["x", text]}
        if refused:
            with pytest.raises(FormatError, match=told):
                write(tmp_path, format, POOLED[2:], block)
            assert not list(tmp_path.iterdir())
        else:
            write(tmp_path, format, POOLED[2:], block)
            assert read_shard(format, tmp_path, "part-0", POOLED[2:]) == block
            remove_all(tmp_path)


# ---- wrong calls


RAGGED = Column("r", "int32", (None,))


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ({}, r"columns \['features', 'label', 'id'\], received \[\]"),
        ({"label": np.zeros(1)}, "'label' must be int64 \\['n'\\], received float64 \\[1\\]"),
        ({"label": np.zeros((1, 1), np.int64)}, "received int64 \\[1, 1\\]"),
        ({"label": np.int64(1)}, "received int64 \\[\\]"),
        ({"label": np.zeros(2, np.int64)}, "same number of records"),
        ({"features": np.zeros((1, 6), np.float32)}, "float32 \\['n', 7\\], received"),
        ({"id": [1]}, "'id' must be of str, received \\[1\\]"),
        ({"id": [None]}, "'id' must be of str, received \\[None\\]"),
    ],
)
def test_wrong_batches(batch: dict[str, Any], told: str, tmp_path: Path) -> None:
    whole = {**some(POOLED, 1), **batch} if batch else batch
    with (
        pytest.raises(ValueError, match=told),
        shard_writer("npy", tmp_path, "a", POOLED) as writer,
    ):
        writer.append(whole)


@pytest.mark.parametrize("splits", [[], [0], [1, 2], [0, 3], [0, 2, 1, 2], [[0, 2]], [0.0, 2.0]])
def test_wrong_splits(splits: Any, tmp_path: Path) -> None:
    values = Ragged(np.zeros(2, np.int32), np.array(splits, None if splits else np.int64))
    for wrong in (values, np.zeros(2, np.int32)):
        with (
            pytest.raises(ValueError, match="must rise|int64 and rise|must be Ragged"),
            shard_writer("npy", tmp_path, "a", [RAGGED]) as writer,
        ):
            writer.append({"r": wrong})


@pytest.mark.parametrize(
    "column",
    [("", "str"), ("a.b", "str"), ("a/b", "str"), ("a", "float64"), ("a", "str", (2,))]
    + [("a", "int32", shape) for shape in [(0,), (-1,), (1, 2), (True,), ("3",)]],
)
def test_wrong_columns(column: Any) -> None:
    with pytest.raises(ValueError, match="the (name|dtype|shape) of"):
        Column(*column)


def test_wrong_formats_and_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be one of npy, npz, .*, received 'csv'"):
        shard_files("csv", "a", POOLED)
    for columns in ([], [RAGGED, RAGGED]):
        with pytest.raises(ValueError, match="columns must be some with different names"):
            shard_files("npy", "a", columns)


@pytest.mark.parametrize("format", FORMATS)
def test_ranges_that_are_not_there(format: str, tmp_path: Path) -> None:
    write(tmp_path, format, POOLED, some(POOLED, 3))
    for start, stop in ((-1, 2), (2, 1), (0, 4), (4, None), (4, 4)):
        with pytest.raises(ValueError, match="must lie in the 3 records"):
            read_shard(format, tmp_path, "part-0", POOLED, start, stop)


# ---- damage


@pytest.mark.parametrize("format", FORMATS)
def test_files_that_are_missing_or_cut_off(format: str, tmp_path: Path) -> None:
    files = write(tmp_path, format, POOLED, some(POOLED, 600))
    for name, data in files.items():
        for size in (0, 5, 40, len(data) // 2, len(data) - 1):
            put(tmp_path / name, data[:size])
            if (format, size) == ("tfrecord", 0):
                assert read_shard(format, tmp_path, "part-0", POOLED)["id"] == []
                continue
            with pytest.raises(FileError) as error:
                read_shard(format, tmp_path, "part-0", POOLED)
            assert str(error.value).startswith(str(tmp_path / "part-0"))
        (tmp_path / name).unlink()
        with pytest.raises(FileError, match="is missing: run the same embedfreeze encode again"):
            read_shard(format, tmp_path, "part-0", POOLED)
        put(tmp_path / name, data)


@pytest.mark.parametrize("format", FORMATS)
def test_other_columns_than_were_written(format: str, tmp_path: Path) -> None:
    write(tmp_path, format, POOLED, some(POOLED, 6))
    for column in (Column("features", "float32", (8,)), Column("label", "float32"), RAGGED):
        with pytest.raises((FormatError, FileError), match="run the same embedfreeze encode again"):
            read_shard(format, tmp_path, "part-0", [column])


def test_columns_of_different_lengths(tmp_path: Path) -> None:
    write(tmp_path, "npy", POOLED, some(POOLED, 6))
    np.save(tmp_path / "part-0.label.npy", np.zeros(5, np.int64))
    with pytest.raises(FormatError, match=r"received columns of \[6, 5, 6\] records"):
        read_shard("npy", tmp_path, "part-0", POOLED)
    np.save(tmp_path / "part-0.id.row_splits.npy", np.array([0, 9, 3, 9, 9, 9, 10**9]))
    for start in (0, 4):
        with pytest.raises(FormatError, match="leave its"):
            read_shard("npy", tmp_path, "part-0", POOLED[2:], start, 6)


@pytest.mark.parametrize("place", [0, 9, 20, -1])
def test_records_without_their_checksum(place: int, tmp_path: Path) -> None:
    data = write(tmp_path, "tfrecord", POOLED, some(POOLED, 6))["part-0.tfrecord"]
    changed = bytearray(data)
    changed[place] ^= 1
    put(tmp_path / "part-0.tfrecord", bytes(changed))
    with pytest.raises(FormatError, match="without its checksum at byte"):
        read_shard("tfrecord", tmp_path, "part-0", POOLED)


def test_without_pyarrow(tmp_path: Path) -> None:
    with (
        mock.patch.dict("sys.modules", {"pyarrow": None}),
        pytest.raises(EmbedFreezeError, match=r'pip install "embedfreeze\[arrow\]"'),
        shard_writer("parquet", tmp_path, "a", POOLED),
    ):
        pass
    assert not list(tmp_path.iterdir())


# ---- values in memory


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=9), st.data())
def test_ragged_rows_are_lists(rows: list[list[int]], data: st.DataObject) -> None:
    ragged = Ragged.of(rows, np.int32)

    def lists(values: Any) -> list[list[int]]:
        return [values[i].tolist() for i in range(len(values))]

    assert lists(ragged) == rows
    low = data.draw(st.integers(0, len(rows)))
    high = data.draw(st.integers(low, len(rows)))
    cut = part(ragged, low, high)
    assert lists(cut) == rows[low:high]
    assert lists(joined([cut, ragged, cut])) == rows[low:high] + rows + rows[low:high]
    order = data.draw(st.permutations(range(low, high)))
    assert lists(taken(ragged, np.array(order, np.int64))) == [rows[i] for i in order]
    with pytest.raises(IndexError):
        ragged[len(rows)]


@given(st.lists(st.integers(0, 20), max_size=6), st.integers(1, 7))
def test_blocks_of_one_size(sizes: list[int], size: int) -> None:
    cut, blocks = Rebatcher(size), []
    for piece in np.split(np.arange(sum(sizes)), np.cumsum(sizes)):
        blocks += cut.add({"x": piece})
    blocks += cut.rest()
    assert [*itertools.chain.from_iterable(block["x"] for block in blocks)] == [*range(sum(sizes))]
    assert all(block_rows(block) == size for block in blocks[:-1])


def test_what_the_caller_fills_again_was_taken(tmp_path: Path) -> None:
    for format in FORMATS:
        values = np.empty((2, 3), np.float32)
        with shard_writer(format, tmp_path, "a", [Column("x", "float32", (3,))]) as writer:
            for i in range(4):
                values[:] = i
                writer.append({"x": values})
        found: Any = read_shard(format, tmp_path, "a", [Column("x", "float32", (3,))])["x"]
        assert found[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


# ---- the manifest


def shard(name: str = "part-0", texts: int = 3, skipped: int = 0) -> dict[str, Any]:
    return {"name": name, "texts": texts, "skipped": skipped}


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = {"b": [1, 2.5, None], "a": "caf\u00e9"}
    manifest = Manifest("npz", [*POOLED, RAGGED], [shard("x", 3, 1), shard("y", 4)], job)
    manifest.write(tmp_path)
    data = (tmp_path / "manifest.json").read_bytes()
    assert Manifest.read(tmp_path) == manifest
    assert manifest.texts == 7
    turned = Manifest("npz", manifest.columns, manifest.shards, dict(reversed(job.items())))
    turned.write(str(tmp_path))
    assert (tmp_path / "manifest.json").read_bytes() == data
    found = json.loads(data)
    assert data.endswith(b"}\n")
    assert (found["format"], found["version"]) == ("embedfreeze-features", 1)


def test_a_job_that_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"manifest.json: is missing.* run the same embedfreeze"):
        Manifest.read(tmp_path)


GOOD: dict[str, Any] = {
    "format": "embedfreeze-features",
    "version": 1,
    "output": "npy",
    "columns": [{"name": "x", "dtype": "int32", "shape": [None]}],
    "shards": [shard()],
    "job": {},
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "version 1, received 2: it was written by a newer embedfreeze"),
        ({"version": True}, "damaged"),
        ({"version": "1"}, "damaged"),
        ({"format": "other"}, "the format must be embedfreeze-features, received 'other'"),
        ({"output": "csv"}, "output must be one of npy"),
        ({"output": []}, "damaged"),
        ({"columns": []}, "columns must be some"),
        ({"columns": [{"name": "x", "dtype": [], "shape": []}]}, "damaged"),
        ({"columns": [1]}, "damaged"),
        ({"shards": [shard("../x")]}, "the name of a file, received '../x'"),
        ({"shards": [shard(""), shard("")]}, "the name of a file"),
        ({"shards": [shard(), shard()]}, "different names"),
        ({"shards": [shard(texts=-1)]}, "texts of shard 'part-0' must be a number, received -1"),
        ({"shards": [shard(texts=True)]}, "texts of shard"),
        ({"shards": [{"name": "x", "texts": 1}]}, "skipped"),
        ({"shards": 1}, "damaged"),
        ({"job": []}, "job must be a mapping"),
    ],
)
def test_damaged_manifests(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    put(tmp_path / "manifest.json", json.dumps(GOOD).encode())
    assert Manifest.read(tmp_path).texts == 3
    put(tmp_path / "manifest.json", json.dumps({**GOOD, **change}).encode())
    with pytest.raises(FormatError, match=told):
        Manifest.read(tmp_path)
    for key in change:
        without = {k: v for k, v in GOOD.items() if k != key}
        put(tmp_path / "manifest.json", json.dumps(without).encode())
        with pytest.raises(FormatError, match=f"KeyError: '{key}'"):
            Manifest.read(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000])
def test_manifests_that_are_none(data: bytes, tmp_path: Path) -> None:
    put(tmp_path / "manifest.json", data)
    with pytest.raises(FormatError, match="the manifest cannot be read"):
        Manifest.read(tmp_path)
