"""Writing Parquet and Arrow: a column ``token`` of strings, a column ``vector`` of lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from embedfreeze import storage
from embedfreeze.files import Output
from embedfreeze.formats.arrow.tables import needed_pyarrow
from embedfreeze.formats.base import Batch, Rows, only_utf8

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["refuse", "write_arrow", "write_parquet"]

GROUP_BYTES = 16 << 20


refuse = only_utf8("Arrow and Parquet files")


def _schema(rows: Rows) -> pa.Schema:
    import pyarrow as pa

    value = pa.float16() if rows.dtype == "float16" else pa.float32()
    item = pa.field("element", value, nullable=False)
    return pa.schema(
        [
            pa.field("token", pa.string(), nullable=False),
            pa.field("vector", pa.list_(item, rows.dim), nullable=False),
        ]
    )


def _record_batch(batch: Batch, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    kind = schema.field("vector").type
    matrix = batch.matrix if batch.matrix.dtype == np.float16 else storage.decode(batch.matrix)
    values = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    offsets = (batch.tokens.offsets - batch.tokens.offsets[0]).astype(np.int32)
    low, high = int(batch.tokens.offsets[0]), int(batch.tokens.offsets[-1])
    text = pa.py_buffer(bytes(batch.tokens.blob[low:high]))
    strings = pa.StringArray.from_buffers(len(batch.tokens), pa.py_buffer(offsets), text)
    vectors = pa.FixedSizeListArray.from_arrays(values, type=kind)
    return pa.record_batch([strings, vectors], schema=schema)


def _groups(rows: Rows, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows in groups of a size that does not depend on how they come."""
    import pyarrow as pa

    step = max(1, GROUP_BYTES // (4 * rows.dim))
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in rows.batches:
        waiting.append(_record_batch(batch, schema))
        count += len(batch.tokens)
        while count >= step:
            table = pa.Table.from_batches(waiting, schema)
            yield table.slice(0, step)
            count -= step
            waiting = table.slice(step).to_batches()
    if count:
        yield pa.Table.from_batches(waiting, schema)


def write_parquet(rows: Rows, output: Output) -> None:
    """Write row groups of at most 16 MB of float32."""
    needed_pyarrow("Parquet")
    import pyarrow.parquet

    schema = _schema(rows)
    packed: Any = {"token": "zstd", "vector.list.element": "none"}
    with pyarrow.parquet.ParquetWriter(
        output.file,
        schema,
        compression=packed,
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
    ) as writer:
        for table in _groups(rows, schema):
            writer.write_table(table, row_group_size=len(table))


def write_arrow(rows: Rows, output: Output) -> None:
    """Write record batches of at most 16 MB of float32, not compressed: they can be mapped."""
    needed_pyarrow("Arrow")
    import pyarrow.ipc

    schema = _schema(rows)
    writer: Any
    with pyarrow.ipc.new_file(output.file, schema) as writer:
        for table in _groups(rows, schema):
            writer.write_batch(table.combine_chunks().to_batches()[0])
