"""Transforms of the rows that were found: off unless asked for, and always recorded.

All-but-the-top removes the mean and the first principal components, which are much the same for
every word: Mu and Viswanath, "All-but-the-Top: Simple and Effective Postprocessing for Word
Representations", ICLR 2018.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedfreeze.aligning.moments import covariance_of, finite_rows, mean_of

__all__ = ["Transforms"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A row x becomes ``((x - mean) @ basis)[:dim]``, then of length 1 if asked."""

    mean: Float64 | None
    basis: Float64 | None
    dim: int
    normalize: bool

    def apply(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.mean is None and not self.normalize:
            return rows[:, : self.dim]
        x: Float64 = rows.astype(np.float64)
        if self.mean is not None:
            x -= self.mean
        x = x[:, : self.dim] if self.basis is None else x @ self.basis
        if self.normalize:
            lengths = np.linalg.norm(x, axis=1, keepdims=True)
            np.divide(x, lengths, out=x, where=(lengths > 0) & np.isfinite(lengths))
        return x.astype(rows.dtype)


@dataclass(frozen=True)
class Transforms:
    """What is done to the rows that were found, in this order.

    Parameters
    ----------
    center : bool
        Subtract the mean of the rows.
    all_but_the_top : int
        Subtract the mean, and remove this many first principal components.
    dim : int, optional
        Keep this many values of each row: the first ones, or with ``reduce="pca"`` its principal
        components, after subtracting the mean.
    reduce : {"first", "pca"}
        For `dim`.
    normalize : {"l2"}, optional
        Divide each row by its length; rows of zeros, and with NaN or infinities, stay as they are.
    """

    center: bool = False
    all_but_the_top: int = 0
    dim: int | None = None
    reduce: Literal["first", "pca"] = "first"
    normalize: Literal["l2"] | None = None

    def __post_init__(self) -> None:
        if self.normalize not in (None, "l2"):
            raise ValueError(f'normalize must be "l2" or None, received {self.normalize!r}')
        if self.reduce not in ("first", "pca"):
            raise ValueError(f"reduce must be one of first, pca, received {self.reduce!r}")
        object.__setattr__(self, "all_but_the_top", operator.index(self.all_but_the_top))
        if self.dim is not None:
            object.__setattr__(self, "dim", operator.index(self.dim))  # NumPy's are no JSON
        if self.reduce == "pca" and self.dim is None:
            raise ValueError('reduce="pca" needs dim=, the number of values that stay')
        if self.dim is not None and self.dim < 1:
            raise ValueError(f"dim must be at least 1, received {self.dim}")
        if self.all_but_the_top < 0:
            raise ValueError(f"all_but_the_top must not be negative: {self.all_but_the_top}")

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done, in words; empty for rows that stay as they are in the file."""
        steps = {
            "center": self.center and not self.all_but_the_top,
            f"all_but_the_top={self.all_but_the_top}": self.all_but_the_top,
            f"dim={self.dim} ({self.reduce})": self.dim,
            f"normalize={self.normalize}": self.normalize,
        }
        return tuple(step for step, wanted in steps.items() if wanted)

    @property
    def by_row(self) -> bool:
        """Does each row change by itself, whatever the others are?"""
        return not (self.center or self.all_but_the_top or self.reduce == "pca")

    def refuse(self, dim: int) -> None:
        """`ValueError` if rows of this dim cannot be transformed so."""
        if self.dim is not None and self.dim > dim:
            raise ValueError(f"dim must be at most {dim}, that of the file, received {self.dim}")
        if self.all_but_the_top >= dim:
            raise ValueError(
                f"all_but_the_top must be below {dim}, the dim of the file, received "
                f"{self.all_but_the_top}"
            )

    def fit(self, matrix: npt.NDArray[Any], rows: Int64) -> _Fitted:
        """Learn means and components from some rows of a matrix [n, dim], the finite ones."""
        dim = matrix.shape[1]
        kept, normalize = self.dim or dim, self.normalize is not None
        if self.by_row:
            return _Fitted(None, None, kept, normalize)
        rows = finite_rows(matrix, rows)
        mean = mean_of(matrix, rows)
        if not self.all_but_the_top and self.reduce == "first":
            return _Fitted(mean, None, kept, normalize)
        basis, covariance = np.eye(dim), covariance_of(matrix, rows, mean)
        if self.all_but_the_top:
            top = _components(covariance, self.all_but_the_top)
            basis -= top @ top.T
        if self.reduce == "pca":
            basis = basis @ _components(basis @ covariance @ basis, kept)
        return _Fitted(mean, basis[:, :kept], kept, normalize)


def _components(covariance: Float64, n: int) -> Float64:
    """The first n principal components [dim, n]; the largest value of each is positive."""
    _, vectors = np.linalg.eigh(covariance)
    vectors = vectors[:, ::-1][:, :n]
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return vectors * signs  # type: ignore[no-any-return]
