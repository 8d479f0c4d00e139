"""Batches of a matrix that lies in pieces, or in a library's hands, and of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.files import Source
from embedfreeze.formats.arrays.batches import wanted_of
from embedfreeze.formats.base import Batch, Place, Reading, ReadOptions
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens

__all__ = ["BATCH_BYTES", "row_batches"]

BATCH_BYTES = 16 << 20  # as float32
Int64 = npt.NDArray[np.int64]
Fill = Callable[[npt.NDArray[Any], Int64], None]


def row_batches(
    source: Source,
    options: ReadOptions,
    reading: Reading,
    tokens: Tokens,
    fill: Fill,
    step: int,
) -> Iterator[Batch]:
    """The rows of a matrix, or those of wanted tokens, `step` of its rows at a time.

    Parameters
    ----------
    tokens : Tokens
        One for each row of the matrix.
    fill : callable
        Puts some rows of the matrix, their numbers rising, into an array [n, dim].
    """
    total = max(1, len(tokens))
    for low, high in spans(0, reading.rows or 0, step):
        rows = wanted_of(tokens, low, high, options)
        if not len(rows):
            continue
        matrix = reading.allocate(len(rows), reading.dim, reading.dtype)
        fill(matrix, rows)
        position = source.size * (int(rows[-1]) + 1) // total
        batch = Batch(tokens.take(rows), matrix, position, _place(rows))
        yield batch.checked(source.name)


def _place(rows: Int64) -> Callable[[int], Place]:
    return lambda row: {"row": int(rows[row])}
