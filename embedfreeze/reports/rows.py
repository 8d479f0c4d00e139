"""What is to be known of the rows of a table: their norms, and which are zero or equal."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.formats.inspecting.valuescan import hashes_of_rows
from embedfreeze.threads import spans, thread_count, thread_map

__all__ = ["Rows"]

CHUNK_BYTES = 1 << 22  # of float64
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a stored matrix [n, columns], looked at a portion at a time.

    Attributes
    ----------
    norms : numpy.ndarray
        float64 [n]: the length of each row in the Euclidean norm; NaN or infinite where a value
        is.
    """

    matrix: npt.NDArray[Any] = field(repr=False)
    norms: npt.NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, matrix: npt.NDArray[Any]) -> Rows:
        """Those of a matrix as `Embeddings` hold it."""
        step = max(1, CHUNK_BYTES // (8 * max(1, matrix.shape[1])))

        def norms(span: tuple[int, int]) -> npt.NDArray[np.float64]:
            values = storage.decode(matrix[slice(*span)]).astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                lengths: npt.NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", values, values))
            return lengths

        parts = thread_map(norms, spans(0, len(matrix), step), thread_count())
        return cls(matrix, np.concatenate([np.empty(0), *parts]))

    @cached_property
    def not_finite(self) -> Int64:
        """Rows with a value that is NaN or infinite, rising."""
        return np.flatnonzero(~np.isfinite(self.norms))

    @cached_property
    def zero(self) -> Int64:
        """Rows of zeros, rising."""
        return np.flatnonzero(self.norms == 0)

    @cached_property
    def ordinary(self) -> Int64:
        """Rows that have a direction: finite and not zero, rising."""
        return np.flatnonzero(np.isfinite(self.norms) & (self.norms > 0))

    @cached_property
    def _groups(self) -> tuple[Int64, Int64]:
        """The rows but those of zeros, so that those of equal bytes are neighbours; the borders."""
        step = max(1, CHUNK_BYTES // max(1, self.matrix.strides[0]))
        parts = [hashes_of_rows(self.matrix[a:b]) for a, b in spans(0, len(self.matrix), step)]
        hashes = np.concatenate([np.empty(0, np.uint64), *parts])
        order = np.argsort(hashes, kind="stable")
        order = order[self.norms[order] != 0]
        new = np.append(True, np.diff(hashes[order]) != 0)[: len(order)]
        return order, np.append(np.flatnonzero(new), len(order))

    def groups(self, n: int) -> list[Int64]:
        """The n largest groups of rows of equal bytes but those of zeros, each group rising."""
        rows, borders = self._groups
        sizes, first = np.diff(borders), rows[borders[:-1]]
        order = np.lexsort((first, -sizes))[:n]
        return [rows[borders[i] : borders[i + 1]] for i in order.tolist() if sizes[i] > 1]

    @property
    def repeated(self) -> int:
        """Rows that have the bytes of an earlier one."""
        rows, borders = self._groups
        return len(rows) - (len(borders) - 1)

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        return {
            "norms": self._lengths(),
            "zero_rows": len(self.zero),
            "not_finite_rows": len(self.not_finite),
            "repeated_rows": self.repeated,
        }

    def _lengths(self) -> dict[str, float] | None:
        lengths = self.norms[self.ordinary]
        if not len(lengths):
            return None
        return {
            "min": float(lengths.min()),
            "median": float(np.median(lengths)),
            "mean": float(lengths.mean()),
            "max": float(lengths.max()),
        }
