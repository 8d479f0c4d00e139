"""Shards as HDF5: a dataset a column, two for ragged ones, texts of variable length."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from embedfreeze.batch.columns import Block, Column, text_bytes
from embedfreeze.batch.shards.arrays import SPLITS, VALUES, ArraysReader, array_specs
from embedfreeze.batch.shards.base import ShardFormat, ShardReader, Write, one_file
from embedfreeze.errors import FormatError
from embedfreeze.files import Output, PatientFile

__all__ = ["HDF5"]

CHUNK_BYTES = 256 << 10
TEXT_BYTES = 16  # of a text in a chunk: where it lies in a heap

_files = one_file(".h5")


@contextmanager
def _writing(output: Output, _: list[str], columns: Sequence[Column]) -> Iterator[Write]:
    import h5py

    with PatientFile(output.file) as patient, h5py.File(patient, "w", libver="earliest") as out:
        for column in columns:
            if column.is_text:
                _create(out, column.name, h5py.string_dtype(), (), TEXT_BYTES)
        for spec in array_specs([column for column in columns if not column.is_text]):
            width = np.dtype(spec.dtype).itemsize * int(np.prod(spec.row_shape, dtype=np.int64))
            _create(out, spec.name, np.dtype(spec.dtype).newbyteorder("<"), spec.row_shape, width)
        for column in columns:
            if column.is_ragged:
                _append(out[column.name + SPLITS], np.zeros(1, np.int64))

        def write(block: Block) -> None:
            for column in columns:
                _write_column(out, column, block[column.name])
            patient.check()

        yield write


def _create(out: Any, name: str, dtype: Any, row_shape: tuple[int, ...], width: int) -> None:
    out.create_dataset(
        name,
        (0, *row_shape),
        dtype,
        maxshape=(None, *row_shape),
        chunks=(max(1, CHUNK_BYTES // width), *row_shape),
        track_times=False,
    )


def _write_column(out: Any, column: Column, values: Any) -> None:
    if column.is_ragged:
        splits = out[column.name + SPLITS]
        _append(splits, values.row_splits[1:] + len(out[column.name + VALUES]))
        _append(out[column.name + VALUES], values.values)
        return
    if column.is_text:
        text_bytes(values)
        bad = next((text for text in values if "\0" in text), None)
        if bad is not None:
            raise FormatError(
                f"HDF5 cannot hold a text with a NUL character, received {bad!r:.60} in column "
                f"{column.name!r}: choose another output, such as npy or parquet"
            )
        values = np.array(values, object)
    _append(out[column.name], values)


def _append(dataset: Any, values: Any) -> None:
    first = len(dataset)
    dataset.resize(first + len(values), axis=0)
    if len(values):
        dataset[first:] = values


class _Reader:
    """Texts, and columns that are arrays."""

    def __init__(self, file: Mapping[str, Any], columns: Sequence[Column]) -> None:
        import h5py

        self._texts = {column.name: file[column.name] for column in columns if column.is_text}
        for name, dataset in self._texts.items():
            if not h5py.check_string_dtype(dataset.dtype) or dataset.ndim != 1:
                raise ValueError(f"{name} of {dataset.dtype} {[*dataset.shape]}")
        others = [column for column in columns if not column.is_text]
        self._arrays = ArraysReader(file, others) if others else None
        rows = [dataset.shape[0] for dataset in self._texts.values()]
        rows += [self._arrays.rows] if self._arrays else []
        if len(set(rows)) != 1:
            raise ValueError(f"columns of {rows} records")
        self.rows = int(rows[0])

    def read(self, start: int, stop: int) -> Block:
        block = self._arrays.read(start, stop) if self._arrays else {}
        for name, dataset in self._texts.items():
            block[name] = [text.decode() for text in dataset[start:stop].tolist()]
        return block


@contextmanager
def _opened(folder: str, stem: str, columns: Sequence[Column]) -> Iterator[ShardReader]:
    import h5py

    with h5py.File(os.path.join(folder, f"{stem}.h5"), "r") as file:
        yield _Reader(file, columns)


HDF5 = ShardFormat(_files, _writing, _opened, in_blocks=True, window_rows=1024)
