"""The header of a NumPy array file, which is not trusted.

Source: NEP 1 and `numpy.lib.format`, whose functions read it here.
"""

from __future__ import annotations

import io
import math
import tokenize
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedfreeze.errors import FormatError

__all__ = ["HEADER_BYTES", "MAGIC", "ArrayHeader", "array_header", "header_bytes", "refused_kind"]

MAGIC = b"\x93NUMPY"
HEADER_BYTES = 128  # of what is written: NumPy's own are as long
LONGEST_HEADER = 1 << 16
FLOAT_BYTES = (2, 4, 8)
PICKLED = (
    "pickled Python objects, which can run any code and are not opened: save numbers with "
    "numpy.save(path, matrix.astype('float32')), and words with dtype=str"
)
_KINDS = {
    "i": "integers, which may be quantised values whose scale is not in the file",
    "u": "integers, which may be quantised values whose scale is not in the file",
    "c": "complex numbers, of which each is two values",
    "b": "truth values",
    "V": "records of fields, or a type that NumPy does not know, such as bfloat16",
    "U": "strings",
    "S": "strings",
    "M": "dates",
    "m": "times",
    "f": "floats of a size that only some computers have",
}


@dataclass(frozen=True)
class ArrayHeader:
    """What an array file holds, and where it starts.

    Attributes
    ----------
    dtype : numpy.dtype
        Of any kind.
    shape : tuple of int
        Not negative.
    by_columns : bool
        Fortran order: the first index runs fastest.
    start : int
        Bytes before the values.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    by_columns: bool
    start: int

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_matrix(self) -> bool:
        """Floats [rows, dim] that this package reads?"""
        return len(self.shape) == 2 and self.is_float and self.shape[1] > 0

    @property
    def is_float(self) -> bool:
        return self.dtype.kind == "f" and self.dtype.itemsize in FLOAT_BYTES

    def __str__(self) -> str:
        name = self.dtype.str if self.dtype.kind in "US" else self.dtype.name
        return f"{list(self.shape)} {'record' if self.dtype.names else name}"


def array_header(head: bytes, path: str) -> ArrayHeader:
    """The header at the start of some bytes.

    Raises
    ------
    FormatError
        It is none, or one that is damaged or too long.
    """
    stream = io.BytesIO(head)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = None
    try:
        version = np.lib.format.read_magic(stream)
        with warnings.catch_warnings():  # that a header of Python 2 took longer to read
            warnings.simplefilter("ignore")
            shape, by_columns, dtype = read[version](stream, max_header_size=LONGEST_HEADER)
        if min(shape, default=0) < 0:
            raise ValueError(f"the shape is {shape}")
    except KeyError:
        raise _damaged(f"it has version {version}, of records alone", path) from None
    except _NUMPY_RAISES as error:
        raise _damaged(f"{error!s:.200}", path) from error
    return ArrayHeader(dtype, tuple(map(int, shape)), by_columns, stream.tell())


_NUMPY_RAISES = (
    ValueError,
    TypeError,
    SyntaxError,
    LookupError,
    AttributeError,
    RecursionError,
    MemoryError,
    OverflowError,
    tokenize.TokenError,
)


def _damaged(why: str, path: str) -> FormatError:
    return FormatError(
        f"an array must begin with a header of NumPy's, versions 1 and 2 ({why}): the file is "
        f"damaged or no array, get it again",
        path=path,
        offset=0,
    )


def refused_kind(header: ArrayHeader, path: str, what: str = "the array") -> FormatError:
    """The error of an array that is no matrix of floats."""
    if header.dtype.hasobject:
        found = PICKLED
    elif header.is_float:
        found = f"{header}: save it as one row for each token"
    else:
        kind = _KINDS.get(header.dtype.kind, "another type")
        found = f"{header}, {kind}: save it as float32"
    return FormatError(
        f"{what} must be floats of 16, 32 or 64 bits [rows, dim], received {found}", path=path
    )


def header_bytes(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header of an array by rows, as `numpy.save` writes it."""
    stream = io.BytesIO()
    described = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()
