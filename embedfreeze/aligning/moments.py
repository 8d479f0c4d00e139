"""Means and variances of rows, in double precision, a portion at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.threads import spans

__all__ = ["CHUNK_ROWS", "covariance_of", "deviation_of", "finite_rows", "mean_of"]

CHUNK_ROWS = 4096
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Matrix = npt.NDArray[Any]


def _chunks(matrix: Matrix, rows: Int64) -> Iterator[Float64]:
    for low, high in spans(0, len(rows), CHUNK_ROWS):
        yield matrix[rows[low:high]].astype(np.float64)


def finite_rows(matrix: Matrix, rows: Int64) -> Int64:
    """The rows without NaN and infinities, of which no mean could be taken."""
    finite = [np.isfinite(chunk).all(axis=1) for chunk in _chunks(matrix, rows)]
    kept: Int64 = rows[np.concatenate([np.empty(0, bool), *finite])]
    return kept


def mean_of(matrix: Matrix, rows: Int64) -> Float64:
    """Mean [dim] of some rows; zeros if there are none."""
    total = sum((x.sum(axis=0) for x in _chunks(matrix, rows)), np.zeros(matrix.shape[1]))
    return total / max(1, len(rows))


def deviation_of(matrix: Matrix, rows: Int64, mean: Float64) -> Float64:
    """Standard deviation [dim] of some rows from their mean."""
    squares = (((x - mean) ** 2).sum(axis=0) for x in _chunks(matrix, rows))
    return np.sqrt(sum(squares, np.zeros(matrix.shape[1])) / max(1, len(rows)))


def covariance_of(matrix: Matrix, rows: Int64, mean: Float64) -> Float64:
    """Covariance [dim, dim] of some rows around their mean."""
    centred = (x - mean for x in _chunks(matrix, rows))
    total = sum((x.T @ x for x in centred), np.zeros((matrix.shape[1],) * 2))
    return total / max(1, len(rows))
