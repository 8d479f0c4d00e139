"""The rows of a finalfusion file: float32 as they are, or put together from a product quantiser.

A row of the quantised kind is, for each part of a vector, the number of a centroid of that part;
the parts stand side by side, may be multiplied by a projection matrix, and by a norm of the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError
from embedfreeze.formats.finalfusion.chunks import (
    ARRAY,
    QUANTIZED,
    Bytes,
    Chunk,
    float_padding,
)

__all__ = ["Array", "array_of", "norms_of"]

UINT8, FLOAT32 = 1, 10  # the numbers of dtypes
DTYPES = {UINT8: "uint8", FLOAT32: "float32"}
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Quantizer:
    """What codes stand for.

    Attributes
    ----------
    centroids : numpy.ndarray
        [parts, centroids, values of a part].
    projection : numpy.ndarray or None
        [dim, dim].
    norms : numpy.ndarray or None
        [rows].
    """

    data: Bytes
    centroids: Float32
    projection: Float32 | None
    norms: Float32 | None

    def decode(self, codes: npt.NDArray[np.uint8]) -> Float32:
        """The vector of codes [parts], or vectors [n, dim] of several."""
        parts, known = np.arange(len(self.centroids)), self.centroids.shape[1]
        if codes.max(initial=0) >= known:
            raise FormatError(
                f"a code must be below {known}, the number of centroids, received {codes.max()}: "
                f"the file is damaged, get it again",
                path=self.data.path,
            )
        values: Float32 = self.centroids[parts, codes].reshape(*codes.shape[:-1], -1)
        return values if self.projection is None else values.dot(self.projection.T)


@dataclass(frozen=True, eq=False)
class Array:
    """Rows of a file, which stay there until they are asked for.

    Attributes
    ----------
    rows, dim : int
        Its shape.
    start, row_bytes : int
        Where the rows are in the file.
    """

    rows: int
    dim: int
    start: int
    row_bytes: int
    _stored: npt.NDArray[Any]
    _quantizer: _Quantizer | None = None

    def take(self, rows: npt.NDArray[np.int64]) -> Float32:
        """Vectors [n, dim] of rows, each as if it were the only one."""
        quantizer = self._quantizer
        if quantizer is None or quantizer.projection is None:
            return self.together(rows)
        # Of all at once, a product's last bits may depend on the rows beside it.
        each = [quantizer.decode(codes) for codes in self._stored[rows]]
        return self._scaled(np.array(each, np.float32).reshape(len(rows), self.dim), rows)

    def together(self, rows: npt.NDArray[np.int64]) -> Float32:
        """Vectors [n, dim] of rows, in one piece as finalfusion adds them."""
        stored: npt.NDArray[Any] = self._stored[rows]
        if self._quantizer is None:
            return stored
        return self._scaled(self._quantizer.decode(stored), rows)

    def _scaled(self, values: Float32, rows: npt.NDArray[np.int64]) -> Float32:
        if self._quantizer is not None and self._quantizer.norms is not None:
            values *= self._quantizer.norms[rows][:, None]
        return values

    @property
    def note(self) -> str | None:
        """What is lost in the values, where that is so."""
        if self._quantizer is None:
            return None
        parts, centroids, _ = self._quantizer.centroids.shape
        return f"the vectors are quantised: {parts} parts of one in {centroids} centroids each"


def _check_dtype(data: Bytes, found: int, wanted: int, at: int) -> None:
    if found != wanted:
        raise FormatError(
            f"the values must be of dtype {wanted} ({DTYPES[wanted]}), received {found}: write the "
            f"file with float32 values",
            path=data.path,
            offset=at,
        )


def array_of(data: Bytes, found: dict[int, Chunk]) -> Array:
    """The array that the chunks of a file hold."""
    kinds = [kind for kind in (ARRAY, QUANTIZED) if kind in found]
    if len(kinds) != 1:
        raise FormatError(
            f"a finalfusion file must hold one array, received {len(kinds)}: get the file again",
            path=data.path,
        )
    chunk = found[kinds[0]]
    array = _plain(data, chunk) if chunk.kind == ARRAY else _quantized(data, chunk)
    if not array.dim:
        raise data.error("a row must have values, received none", chunk.start)
    return array


def _plain(data: Bytes, chunk: Chunk) -> Array:
    rows, dim, dtype = data.unpack("QII", chunk.start, chunk.stop)
    at = chunk.start + 16
    _check_dtype(data, dtype, FLOAT32, at - 4)
    at += float_padding(at)
    return Array(rows, dim, at, 4 * dim, data.floats(at, (rows, dim), chunk.stop))


def _quantized(data: Bytes, chunk: Chunk) -> Array:
    project, scale, parts, dim, centroids, rows, codes, dtype = data.unpack(
        "IIIIIQII", chunk.start, chunk.stop
    )
    at, stop = chunk.start + 36, chunk.stop
    _check_dtype(data, codes, UINT8, at - 8)
    _check_dtype(data, dtype, FLOAT32, at - 4)
    if not (parts and centroids) or dim % parts:
        raise data.error(
            f"a row of {dim} values must be so many equal parts, received {parts} parts of "
            f"{centroids} centroids",
            chunk.start,
        )
    at += float_padding(at)
    projection = norms = None
    if project:
        projection = data.floats(at, (dim, dim), stop)
        at += projection.nbytes
    values = data.floats(at, (parts, centroids, dim // parts), stop)
    at += values.nbytes
    if scale:
        norms = data.floats(at, (rows,), stop)
        at += norms.nbytes
    if at + rows * parts > stop:
        raise data.error(f"{rows} rows of {parts} codes must fit the chunk", at)
    stored = np.frombuffer(data.buffer, np.uint8, rows * parts, at).reshape(rows, parts)
    return Array(rows, dim, at, parts, stored, _Quantizer(data, values, projection, norms))


def norms_of(data: Bytes, chunk: Chunk | None, count: int) -> Float32 | None:
    """What the rows of words were divided by, [count], where the file says that."""
    if chunk is None:
        return None
    rows, dtype = data.unpack("QI", chunk.start, chunk.stop)
    at = chunk.start + 12
    _check_dtype(data, dtype, FLOAT32, at - 4)
    if rows < count:
        raise data.error(f"{count} words must have norms, received {rows}", chunk.start)
    at += float_padding(at)
    return data.floats(at, (count,), chunk.stop)
