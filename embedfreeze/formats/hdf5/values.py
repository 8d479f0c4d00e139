"""The values of a dataset: out of the mapped file where they lie there plainly or in gzip's chunks.

Several threads do that at once, which in the library wait for each other. The rest it reads.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.files import Inflater, Source, release_pages

__all__ = ["put_rows"]

GZIP, SHUFFLE = 1, 2  # as HDF5 numbers its filters
UNPACKED_HERE: tuple[list[int], ...] = ([], [GZIP], [SHUFFLE], [SHUFFLE, GZIP])
Values = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]
Columns = slice | Int64


def put_rows(source: Source, dataset: Any, rows: Int64, matrix: Values, columns: Columns) -> None:
    """Put rows of a dataset [n, k], their numbers rising, into columns of a matrix."""
    low, high = int(rows[0]), int(rows[-1]) + 1
    picked = slice(None) if len(rows) == high - low else rows - low
    plain = _is_plain(dataset)
    if plain and dataset.chunks is None and (offset := dataset.id.get_offset()) is not None:
        mapping, dim = source.whole(), dataset.shape[1]
        start = offset + low * dim * dataset.dtype.itemsize
        all_of_them = isinstance(picked, slice) and isinstance(columns, slice)
        if all_of_them and dataset.dtype == matrix.dtype and matrix.flags.c_contiguous:
            source.copy_into(start, matrix.data.cast("B"))
            return
        values = np.frombuffer(mapping, dataset.dtype, (high - low) * dim, start)
        matrix[:, columns] = values.reshape(-1, dim)[picked]
        release_pages(mapping, start, start + values.nbytes)
        return
    found = _of_chunks(source, dataset, low, high) if plain and dataset.chunks else None
    # NumPy converts: HDF5 makes 0.5 of the float64 next below 1.
    matrix[:, columns] = (dataset[low:high] if found is None else found)[picked]


def _is_plain(dataset: Any) -> bool:
    """Does NumPy's dtype say all about the bytes of a value?"""
    import h5py

    return bool(dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype)))


def _filters(dataset: Any) -> list[int]:
    written = dataset.id.get_create_plist()
    return [written.get_filter(place)[0] for place in range(written.get_nfilters())]


def _of_chunks(source: Source, dataset: Any, low: int, high: int) -> Values | None:
    """Rows out of chunks; None where one was not written, or in another way than known here."""
    filters = _filters(dataset)
    if filters not in UNPACKED_HERE:
        return None
    (rows, columns), dim = dataset.chunks, dataset.shape[1]
    values: Values = np.empty((high - low, dim), dataset.dtype)
    for place in product(range(low - low % rows, high, rows), range(0, dim, columns)):
        stored = dataset.id.get_chunk_info_by_coord(place)
        if not stored.size or stored.byte_offset is None or stored.filter_mask:
            return None
        chunk = _unpacked(source, dataset, stored, filters)
        first, last = max(low, place[0]), min(high, place[0] + rows)
        target = values[first - low : last - low, place[1] : place[1] + columns]
        target[:] = chunk[first - place[0] : last - place[0], : target.shape[1]]
    return values


def _unpacked(source: Source, dataset: Any, stored: Any, filters: list[int]) -> Values:
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    mapping, end = source.whole(), stored.byte_offset + stored.size
    data: Any = memoryview(mapping)[stored.byte_offset : end]
    if GZIP in filters:
        inflate = Inflater(gzip=False)
        data = inflate.decompress(data, size + 1)  # up to the checksum behind the last byte
        if not inflate.eof:
            raise ValueError("a chunk does not end where its values do")
    if len(data) != size:
        raise ValueError(f"a chunk must have {size} bytes, received {len(data)}")
    values = np.frombuffer(data, np.uint8)
    if SHUFFLE in filters:
        values = np.ascontiguousarray(values.reshape(dataset.dtype.itemsize, -1).T)
    release_pages(mapping, stored.byte_offset, end)
    chunk: Values = values.reshape(-1).view(dataset.dtype).reshape(dataset.chunks)
    return chunk
