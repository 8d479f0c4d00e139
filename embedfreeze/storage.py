"""How the rows of a matrix are stored: as float32, float16, bfloat16, or int8 with a scale per row.

A row of the three kinds of floats is its values. A row of int8 is its values as whole numbers
q = -127 ... 127 and, in its last four bytes, the float32 scale (little-endian) they are multiplied
by: value = q * scale. Values and scale stand together so that one gather brings both, as in the
fused row-wise quantisation of FBGEMM's embedding tables (https://github.com/pytorch/FBGEMM).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import EmbedFreezeError, FormatError
from embedfreeze.threads import spans, thread_count, thread_map

__all__ = [
    "DTYPES",
    "ENCODED",
    "SCALE_BYTES",
    "checked_dtype",
    "converted",
    "decode",
    "dim_of",
    "empty",
    "encode",
    "numpy_dtype",
    "row_bytes",
    "shape_of",
    "working_dtype",
]

DTYPES = ("float32", "float16", "bfloat16", "int8")
ENCODED = ("bfloat16", "int8")  # rows are worked on as float32, and stored so at the end
SCALE_BYTES = 4
LARGEST = np.float32(127)
# A scale is a normal float32 with 17 significant bits: TensorFlow takes smaller ones as zero, and
# 127 times one that has more is rounded, so that encoding it again would give another scale.
SMALLEST_SCALE = np.float32(2.0**-126)
SCALE_MASK = np.uint32(0xFFFFFF80)
CHUNK_BYTES = 1 << 20  # of float32, so that what is in between stays in the cache
Matrix = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
Refuse = Callable[[int, str], EmbedFreezeError]  # makes the error of a row that cannot be stored


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a storage dtype; of bfloat16 it is that of `ml_dtypes`.

    Raises
    ------
    EmbedFreezeError
        `ml_dtypes`, which TensorFlow brings, is not installed.
    """
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError as error:
        raise EmbedFreezeError(
            "bfloat16 needs the package ml_dtypes, which comes with TensorFlow and is missing: "
            'install it with: pip install ml_dtypes; or pass another dtype, such as "float16"'
        ) from error
    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return found


def checked_dtype(name: str) -> str:
    """The name of a storage dtype; `ValueError` for another."""
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, received {name!r}")
    return name


def shape_of(rows: int, dim: int, dtype: str) -> tuple[int, int]:
    """The shape of a stored matrix of so many rows of `dim` values."""
    return rows, dim + SCALE_BYTES if dtype == "int8" else dim


def dim_of(dtype: str, columns: int) -> int:
    """Values in a row of a stored matrix of so many columns.

    Raises
    ------
    EmbedFreezeError
        A row of int8 has no room for a value and the scale.
    """
    if dtype != "int8":
        return columns
    if columns <= SCALE_BYTES:
        raise EmbedFreezeError(
            f"a row of int8 must be its values and the {SCALE_BYTES} bytes of its scale, received "
            f"{columns} columns: encode float32 rows with embedfreeze.storage.encode"
        )
    return columns - SCALE_BYTES


def row_bytes(dtype: str, dim: int) -> int:
    """Bytes of a stored row of `dim` values."""
    _, columns = shape_of(0, dim, dtype)
    return columns * numpy_dtype(dtype).itemsize


def empty(rows: int, dim: int, dtype: str) -> Matrix:
    """A new matrix for so many stored rows of `dim` values."""
    return np.empty(shape_of(rows, dim, dtype), numpy_dtype(dtype))


def working_dtype(dtype: str) -> str:
    """What rows of a storage dtype are while something is done to them: float32, or float16."""
    return "float32" if dtype in ENCODED else dtype


def decode(rows: Matrix) -> Float32:
    """Values of stored rows.

    Parameters
    ----------
    rows : numpy.ndarray
        [..., columns] of a storage dtype.

    Returns
    -------
    numpy.ndarray
        float32 [..., dim], C-contiguous: a copy, but of float32. All values that a storage dtype
        holds are exact in float32.

    Examples
    --------
    >>> stored = np.array([[127, -1, 0, 0, 0, 0, 0, 63]], np.int8)  # the scale is 0.5
    >>> decode(stored).tolist()
    [[63.5, -0.5, 0.0, 0.0]]
    """
    if rows.dtype != np.int8:
        return np.ascontiguousarray(rows, dtype=np.float32)
    scales = np.ascontiguousarray(rows[..., -SCALE_BYTES:]).view("<f4")
    values: Float32 = rows[..., :-SCALE_BYTES].astype(np.float32, order="C")
    values *= scales
    return values


def _refused(row: int, rule: str) -> EmbedFreezeError:
    return FormatError(rule, row=row)


def encode(
    rows: Matrix, out: Matrix, *, refuse: Refuse = _refused, threads: int | None = None
) -> None:
    """Store rows in another storage dtype, a portion at a time.

    To float16 and bfloat16 values are rounded to the nearest, ties to even. The scale of a row of
    int8 is its largest magnitude / 127, cut to 17 significant bits so that q * scale is exact: what
    was encoded once is encoded again to the same bytes.

    Parameters
    ----------
    rows : numpy.ndarray
        [n, columns] of a storage dtype.
    out : numpy.ndarray
        [n, columns] of the one that is wanted.
    refuse : callable
        Makes the error of a row, from its number and what is wrong with it.
    threads : int, optional
        Default: the cores that this process may run on.

    Raises
    ------
    FormatError
        Or what `refuse` makes: a finite value would become infinite, or one of a row that becomes
        int8 is not finite.
    """
    if rows.dtype == out.dtype:
        out[:] = rows
        return
    store = _to_int8 if out.dtype == np.int8 else _to_floats

    def work(span: tuple[int, int]) -> tuple[int, str] | None:
        low, high = span
        found = store(decode(rows[low:high]), out[low:high])
        return None if found is None else (low + found[0], found[1])

    step = max(1, CHUNK_BYTES // (4 * max(1, rows.shape[1])))
    for bad in thread_map(work, spans(0, len(rows), step), thread_count(threads)):
        if bad is not None:
            raise refuse(*bad)


def converted(rows: Matrix, dtype: str, *, refuse: Refuse = _refused) -> Matrix:
    """Stored rows in a storage dtype: themselves if they have it, else as `encode` makes them."""
    name = str(rows.dtype)
    if name == dtype:
        return rows
    out = empty(len(rows), dim_of(name, rows.shape[1]), dtype)
    encode(rows, out, refuse=refuse)
    return out


def _to_floats(rows: Float32, out: Matrix) -> tuple[int, str] | None:
    """Store a portion of rows; the first that cannot be stored, and why."""
    with np.errstate(over="ignore"):
        out[:] = rows
    if out.dtype == np.float32 or np.isfinite(out).all():
        return None
    lost = np.isinf(out) & np.isfinite(rows)
    if not lost.any():
        return None
    row, column = np.argwhere(lost)[0].tolist()
    others = "float32" if str(out.dtype) == "bfloat16" else "float32, bfloat16 or int8"
    return row, (
        f"{out.dtype} has no finite value as large as {rows[row, column]}: pass dtype= as {others}"
    )


def _to_int8(rows: Float32, out: Matrix) -> tuple[int, str] | None:
    """Store a portion of rows; the first that cannot be stored, and why."""
    largest = np.abs(rows).max(axis=1, initial=0)
    if not np.isfinite(largest).all():
        row = int(np.flatnonzero(~np.isfinite(largest))[0])
        return row, (
            f"int8 holds finite values, received {largest[row]}: pass dtype= as float32, float16 "
            f"or bfloat16, or leave the row out"
        )
    scales = ((largest / LARGEST).view(np.uint32) & SCALE_MASK).view(np.float32)
    scales = np.maximum(scales, SMALLEST_SCALE)
    out[:, :-SCALE_BYTES] = np.rint(rows / scales[:, None])
    scales[np.rint(largest / scales) == 0] = 0
    out[:, -SCALE_BYTES:] = scales.astype("<f4").view(np.int8).reshape(-1, SCALE_BYTES)
    return None
