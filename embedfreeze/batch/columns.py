"""Columns (placeholder until merged)."""
from __future__ import annotations
from dataclasses import dataclass
from typing import Any
import numpy as np
import numpy.typing as npt
__all__ = ["Column", "Ragged"]

@dataclass(frozen=True, eq=False)
class Ragged:
    values: npt.NDArray[Any]
    row_splits: npt.NDArray[np.int64]

@dataclass(frozen=True)
class Column:
    name: str
    dtype: str
    shape: tuple[int | None, ...]
