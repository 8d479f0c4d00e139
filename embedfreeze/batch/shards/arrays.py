"""Columns as plain arrays: ragged rows and texts are their values and where each row begins."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from embedfreeze.batch.columns import Block, Column, Ragged, Values, text_bytes, texts_of
from embedfreeze.formats.arrays.npyheader import LONGEST_HEADER, array_header

__all__ = ["ArraySpec", "ArraysReader", "StoredArrays", "array_specs", "mapped_array"]

VALUES, SPLITS = ".values", ".row_splits"


@dataclass(frozen=True)
class ArraySpec:
    """An array of a shard: its name, the dtype of its values, and the shape of one of its rows."""

    name: str
    dtype: str
    row_shape: tuple[int, ...] = ()


def array_specs(columns: Sequence[Column]) -> list[ArraySpec]:
    """The arrays of columns."""
    specs = []
    for column in columns:
        dtype = "uint8" if column.is_text else column.dtype
        if column.is_text or column.is_ragged:
            specs.append(ArraySpec(column.name + VALUES, dtype))
            specs.append(ArraySpec(column.name + SPLITS, "int64"))
        else:
            specs.append(ArraySpec(column.name, dtype, column.row_shape))
    return specs


class StoredArrays:
    """Writes the arrays of blocks into files, one behind the other.

    Parameters
    ----------
    files : mapping of str to file
        A file for each array, where its values are to begin.
    columns : sequence of Column
        What the blocks hold.

    Attributes
    ----------
    rows : dict
        How long each array has become.
    """

    def __init__(self, files: Mapping[str, IO[bytes]], columns: Sequence[Column]) -> None:
        self.files, self.columns = files, columns
        self.rows = dict.fromkeys(files, 0)
        self._ends: dict[str, int] = {}
        for column in columns:
            if column.name + SPLITS in files:
                self._ends[column.name] = 0
                self._put(column.name + SPLITS, np.zeros(1, np.int64))

    def write(self, block: Block) -> None:
        for column in self.columns:
            values: Any = block[column.name]
            if column.name not in self._ends:
                self._put(column.name, values)
                continue
            ragged = text_bytes(values) if column.is_text else values
            self._put(column.name + VALUES, ragged.values)
            self._put(column.name + SPLITS, ragged.row_splits[1:] + self._ends[column.name])
            self._ends[column.name] += len(ragged.values)

    def _put(self, name: str, array: npt.NDArray[Any]) -> None:
        self.files[name].write(np.ascontiguousarray(array).data)
        self.rows[name] += len(array)


class ArraysReader:
    """Reads columns out of arrays, which may be mapped or datasets of a file.

    Raises
    ------
    ValueError
        The arrays are not those of the columns, or of different lengths.
    """

    def __init__(self, arrays: Mapping[str, Any], columns: Sequence[Column]) -> None:
        self.arrays, self.columns = arrays, columns
        for spec in array_specs(columns):
            found = arrays[spec.name]
            if found.dtype != spec.dtype or found.shape[1:] != spec.row_shape or not found.ndim:
                raise ValueError(f"{spec.name} of {found.dtype} {[*found.shape]}")
        rows = [self._rows(column) for column in columns]
        if len(set(rows)) != 1 or rows[0] < 0:
            raise ValueError(f"columns of {rows} records")
        self.rows = rows[0]

    def _rows(self, column: Column) -> int:
        if column.name in self.arrays:
            return int(self.arrays[column.name].shape[0])
        return int(self.arrays[column.name + SPLITS].shape[0]) - 1

    def read(self, start: int, stop: int) -> Block:
        return {column.name: self._read(column, start, stop) for column in self.columns}

    def _read(self, column: Column, start: int, stop: int) -> Values:
        if column.name in self.arrays:
            return self.arrays[column.name][start:stop]  # type: ignore[no-any-return]
        values, splits = self.arrays[column.name + VALUES], self.arrays[column.name + SPLITS]
        bounds: npt.NDArray[np.int64] = np.array(splits[start : stop + 1], np.int64)
        if bounds[0] < 0 or (np.diff(bounds) < 0).any() or bounds[-1] > values.shape[0]:
            raise ValueError(f"rows of {column.name} that leave its {values.shape[0]} values")
        found = Ragged(values[bounds[0] : bounds[-1]], bounds - bounds[0])
        return texts_of(found) if column.is_text else found


def mapped_array(file: IO[bytes], offset: int = 0) -> npt.NDArray[Any]:
    """The array that begins, with its header, at a byte of a file: mapped, not read."""
    header = array_header(os.pread(file.fileno(), LONGEST_HEADER, offset), str(file.name))
    if header.dtype.hasobject or header.by_columns:
        raise ValueError(f"an array of {header}")
    if not header.nbytes:
        return np.empty(header.shape, header.dtype)
    if offset + header.start + header.nbytes > os.fstat(file.fileno()).st_size:
        raise ValueError(f"an array of {header} in a file that ends before")
    mapped = np.memmap(file, header.dtype, "r", offset + header.start, header.shape)
    return np.asarray(mapped)


def described(arrays: StoredArrays, specs: Sequence[ArraySpec]) -> Iterator[tuple[ArraySpec, Any]]:
    """Each array that was written, and its shape."""
    for spec in specs:
        yield spec, (arrays.rows[spec.name], *spec.row_shape)
