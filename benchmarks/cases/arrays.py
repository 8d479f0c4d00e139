"""Arrays and packed text, against what reads the bare array, or unpacks the bare bytes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.cases.text import arrow_options, columns, gensim, ours
from benchmarks.measuring import Result, digest, measured, read_words
from benchmarks.suite import Bar, Case, times_as_long

PIECE = 1 << 20


def beside(path: str) -> str:
    """Where the tokens of an array are listed."""
    return str(Path(path).with_suffix(".tokens.txt"))


def h5py_array(path: str) -> Result:
    """The array alone: the tokens are not read."""
    import h5py

    result: Result = {}
    with measured(result, path), h5py.File(path) as file:
        matrix = file["vectors"][:]
    return digest(result, matrix)


def h5py_all(path: str) -> Result:
    """The array and the tokens."""
    import h5py

    result: Result = {}
    with measured(result, path), h5py.File(path) as file:
        matrix = file["vectors"][:]
        words = file["tokens"].asstr()[:].tolist()
    return digest(result, matrix, words)


def numpy_array(path: str) -> Result:
    """The array alone: the tokens are not read."""
    result: Result = {}
    with measured(result, path):
        matrix = np.load(path)
    return digest(result, matrix)


def numpy_mapped(path: str) -> Result:
    """The array alone, copied out of the mapped file."""
    result: Result = {}
    with measured(result, path):
        matrix = np.array(np.load(path, mmap_mode="r"))
    return digest(result, matrix)


def numpy_all(path: str) -> Result:
    """The array and the tokens."""
    result: Result = {}
    with measured(result, path, beside(path)):
        matrix = np.load(path)
        words = read_words(beside(path))
    return digest(result, matrix, words)


def unpacking(read: Callable[[str], object]) -> Callable[..., Result]:
    """A contender that unpacks a file, and does nothing with what it unpacks."""

    def contender(path: str, *_: str) -> Result:
        result: Result = {}
        with measured(result, path):
            read(path)
        return result

    return contender


def zlib_bytes(path: str) -> None:
    """As Python's zlib is fastest: pieces of 1 MiB, with the checks that gzip data have."""
    import zlib

    unpack = zlib.decompressobj(wbits=31)
    with open(path, "rb", buffering=0) as file:
        while packed := file.read(PIECE):
            unpack.decompress(packed)


def isal_bytes(path: str) -> None:
    """ISA-L, which the package unpacks with: pieces of 256 KiB, which stay in the cache."""
    from isal import isal_zlib

    unpack = isal_zlib.decompressobj(wbits=31)
    with open(path, "rb", buffering=0) as file:
        while packed := file.read(PIECE // 4):
            while packed:
                unpack.decompress(packed, PIECE)
                packed = unpack.unconsumed_tail


def zstd_bytes(path: str) -> None:
    """As Python's zstd is fastest: a piece of 1 MiB at a time, which stays in the cache."""
    from backports.zstd import ZstdDecompressor

    unpack = ZstdDecompressor()
    with open(path, "rb", buffering=0) as file:
        while not unpack.eof:
            packed = file.read(PIECE // 4) if unpack.needs_input else b""
            unpack.decompress(packed, PIECE)


def program(*command: str) -> Callable[[str], object]:
    """A program that unpacks a file into nothing."""
    return lambda path: subprocess.run([*command, path], check=True, stdout=subprocess.DEVNULL)


def polars(path: str, plain: str) -> Result:
    """It unpacks the file itself; the types of its columns are read from the plain one."""
    import polars as pl

    result: Result = {}
    with measured(result, path):
        schema = columns(plain, pl)
        frame = pl.read_csv(path, separator=" ", has_header=False, quote_char=None, schema=schema)
        words = frame["token"].to_list()
        matrix = frame.drop("token").to_numpy(order="c")
    return digest(result, matrix, words)


def pyarrow(path: str, plain: str) -> Result:
    """It unpacks the file itself."""
    import pyarrow as pa
    from pyarrow import csv

    result: Result = {}
    with measured(result, path):
        options = arrow_options(plain)
        with pa.input_stream(path, compression="detect") as stream:
            table = csv.read_csv(stream, *options)
        words = table.column(0).to_pylist()
        matrix = np.empty((table.num_rows, table.num_columns - 1), np.float32)
        for column in range(matrix.shape[1]):
            matrix[:, column] = table.column(column + 1).to_numpy()
    return digest(result, matrix, words)


def at_most(reference: str) -> Bar:
    """The bar of all cases here."""
    return Bar(f"of the time of {reference}", 1.2, times_as_long(reference), at_least=False)


HDF5 = {
    "embedfreeze": ours,
    "h5py, array alone": h5py_array,
    "h5py": h5py_all,
}
PEERS = {"polars": polars, "pyarrow": pyarrow}

CASES = [
    Case(
        "HDF5, contiguous, 600 MB",
        lambda inputs: [inputs.hdf5()],
        HDF5,
        (at_most("h5py, array alone"),),
        same=("h5py",),
        references=("h5py, array alone",),
    ),
    Case(
        "HDF5, chunks of gzip, 600 MB",
        lambda inputs: [inputs.hdf5(compression="gzip")],
        HDF5,
        (at_most("h5py, array alone"),),
        same=("h5py",),
        references=("h5py, array alone",),
    ),
    Case(
        "NPY, 1.2 GB",
        lambda inputs: [inputs.npy()],
        {
            "embedfreeze": ours,
            "NumPy, array alone": numpy_array,
            "NumPy, mapped": numpy_mapped,
            "NumPy": numpy_all,
        },
        (at_most("NumPy, array alone"),),
        same=("NumPy",),
        references=("NumPy, array alone", "NumPy, mapped"),
    ),
    Case(
        "text in gzip, 300 MB",
        lambda inputs: [inputs.gzipped(), inputs.glove()],
        {
            "embedfreeze": ours,
            "ISA-L, bare": unpacking(isal_bytes),
            "zlib, bare": unpacking(zlib_bytes),
            "gzip -dc": unpacking(program("gzip", "-dc")),
            **PEERS,
            "gensim": gensim,
        },
        (at_most("zlib, bare"), at_most("ISA-L, bare")),
        same=("polars", "gensim"),
        references=("ISA-L, bare", "zlib, bare", "gzip -dc"),
    ),
    Case(
        "text in zstd, 300 MB",
        lambda inputs: [inputs.zstandard(), inputs.glove()],
        {
            "embedfreeze": ours,
            "zstd, bare": unpacking(zstd_bytes),
            "zstd -dc": unpacking(program("zstd", "-dcq")),
            **PEERS,
        },
        (at_most("zstd, bare"),),
        same=("polars",),
        references=("zstd, bare", "zstd -dc"),
    ),
]
