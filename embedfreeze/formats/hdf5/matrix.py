"""The matrix that is read from an HDF5 file: a dataset, or several side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.files import Source
from embedfreeze.formats.hdf5.layout import own, refuse_other_floats, understood
from embedfreeze.formats.hdf5.values import put_rows

__all__ = ["Block", "Matrix", "matrix_of"]

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Block:
    """A dataset [n, k], and which k columns of the matrix it is; None: all of them."""

    dataset: Any
    columns: Int64 | None = None


@dataclass(frozen=True, eq=False)
class Matrix:
    """Datasets of as many rows each.

    Attributes
    ----------
    name : str
        As `member` names it.
    rows, dim : int
        Its shape.
    blocks : tuple of Block
        The datasets.
    labels : h5py.Dataset, optional
        That of the tokens, where it is known with the matrix.
    """

    name: str
    rows: int
    dim: int
    blocks: tuple[Block, ...]
    labels: Any = None

    @property
    def dtypes(self) -> str:
        """What the values are in the file."""
        return ", ".join(dict.fromkeys(str(block.dataset.dtype) for block in self.blocks))

    @property
    def integers(self) -> bool:
        """Are there values that are whole numbers?"""
        return any(block.dataset.dtype.kind != "f" for block in self.blocks)

    @property
    def chunk_rows(self) -> int:
        """Rows that are unpacked together."""
        chunks = [b.dataset.chunks[0] for b in self.blocks if b.dataset.chunks is not None]
        return max(chunks, default=1)

    def fill(self, source: Source, matrix: npt.NDArray[Any], rows: Int64) -> None:
        """Put some rows, their numbers rising, into an array."""
        low, high = int(rows[0]), int(rows[-1]) + 1
        for block in self.blocks:
            columns = slice(None) if block.columns is None else block.columns
            with understood(source, f"rows {low} to {high} of {block.dataset.name}"):
                put_rows(source, block.dataset, rows, matrix, columns)


def matrix_of(source: Source, dataset: Any) -> Matrix:
    """A dataset as the whole matrix.

    Raises
    ------
    FormatError
        It lies in other files, was not written, or has floats that NumPy has not.
    """
    refuse_other_floats(source, dataset)
    rows, dim = own(source, dataset).shape
    return Matrix(dataset.name, int(rows), int(dim), (Block(dataset),))
