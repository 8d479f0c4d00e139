"""Shards as Parquet: rows as lists of a fixed size, ragged ones as lists, texts as strings."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from embedfreeze.batch.columns import Block, Column, Ragged, Values, text_bytes
from embedfreeze.batch.shards.base import (
    BLOCK_ROWS,
    ShardFormat,
    ShardReader,
    Write,
    one_file,
)
from embedfreeze.files import Output
from embedfreeze.formats.arrow.tables import needed_pyarrow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PARQUET"]

_files = one_file(".parquet")


def _schema(columns: Sequence[Column]) -> pa.Schema:
    import pyarrow as pa

    def kind(column: Column) -> pa.DataType:
        one = pa.string() if column.is_text else pa.from_numpy_dtype(column.dtype)
        if not column.shape:
            return one
        return pa.list_(pa.field("element", one, nullable=False), column.shape[0] or -1)

    return pa.schema([pa.field(c.name, kind(c), nullable=False) for c in columns])


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if isinstance(values, list):
        text_bytes(values)
        return pa.array(values, kind)
    if isinstance(values, Ragged):
        return pa.ListArray.from_arrays(
            pa.array(values.row_splits.astype(np.int32)), pa.array(values.values), type=kind
        )
    if values.ndim == 1:
        return pa.array(values, kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kind)


@contextmanager
def _writing(output: Output, _: list[str], columns: Sequence[Column]) -> Iterator[Write]:
    pa = needed_pyarrow("Parquet")
    import pyarrow.parquet

    schema = _schema(columns)
    packed: Any = {c.name: "zstd" for c in columns if c.is_text} or "none"
    with pyarrow.parquet.ParquetWriter(
        output.file,
        schema,
        compression=packed,
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
    ) as writer:

        def write(block: Block) -> None:
            arrays = [_array(block[field.name], field.type) for field in schema]
            writer.write_table(pa.table(arrays, schema), row_group_size=BLOCK_ROWS)

        yield write


class _Reader:
    """Row groups of a file."""

    def __init__(self, file: Any, columns: Sequence[Column]) -> None:
        self._file, self._columns = file, columns
        expected = _schema(columns)
        for field in expected:
            if file.schema_arrow.field(field.name).type != field.type:
                raise ValueError(f"{field.name} of {file.schema_arrow.field(field.name).type}")
        meta = file.metadata
        groups = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        self._ends = list(itertools.accumulate(groups, initial=0))
        self.rows = self._ends[-1]

    def read(self, start: int, stop: int) -> Block:
        low = max(0, bisect.bisect_right(self._ends, start) - 1)
        high = bisect.bisect_left(self._ends, stop)
        names = [column.name for column in self._columns]
        table = self._file.read_row_groups([*range(low, high)], names, use_threads=False)
        table = table.slice(start - self._ends[low], stop - start).combine_chunks()
        return {c.name: _values(table.column(c.name), c) for c in self._columns}


def _values(chunked: pa.ChunkedArray, column: Column) -> Values:
    import pyarrow as pa

    array = chunked.chunk(0) if chunked.num_chunks else pa.array([], chunked.type)
    if array.null_count:
        raise ValueError(f"{column.name} with nulls")
    if column.is_text:
        return array.to_pylist()  # type: ignore[no-any-return]
    if not column.shape:
        return array.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
    flat = array.flatten().to_numpy(zero_copy_only=False)
    if not column.is_ragged:
        return flat.reshape(len(array), *column.row_shape)  # type: ignore[no-any-return]
    splits = array.offsets.to_numpy().astype(np.int64)
    return Ragged(flat, splits - splits[0])


@contextmanager
def _opened(folder: str, stem: str, columns: Sequence[Column]) -> Iterator[ShardReader]:
    needed_pyarrow("Parquet")
    import pyarrow.parquet

    path = os.path.join(folder, f"{stem}.parquet")
    with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
        yield _Reader(file, columns)


PARQUET = ShardFormat(_files, _writing, _opened, in_blocks=True, window_rows=BLOCK_ROWS)
