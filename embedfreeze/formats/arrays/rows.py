"""Batches of a matrix that lies in pieces, or in a library's hands, and of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.files import Source
from embedfreeze.formats.arrays.batches import tokens_of, wanted_of
from embedfreeze.formats.base import Batch, Reading, ReadOptions
from embedfreeze.threads import spans, thread_imap
from embedfreeze.tokens import Tokens

__all__ = ["BATCH_BYTES", "row_batches"]

BATCH_BYTES = 8 << 20  # as float32; several are on their way at a time
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
        Puts some rows of the matrix, their numbers rising, into an array [n, dim]; several threads
        call it at once.
    """
    total = max(1, len(tokens))

    def allocated() -> Iterator[tuple[Int64, npt.NDArray[Any]]]:
        for low, high in spans(0, reading.rows or 0, step):
            rows = wanted_of(tokens, low, high, options)
            if len(rows):
                yield rows, reading.allocate(len(rows), reading.dim, reading.dtype)

    def filled(part: tuple[Int64, npt.NDArray[Any]]) -> Batch:
        rows, matrix = part
        fill(matrix, rows)
        position = source.size * (int(rows[-1]) + 1) // total
        batch = Batch(
            tokens_of(tokens, rows), matrix, position, lambda row: {"row": int(rows[row])}
        )
        return batch.checked(source.name)

    yield from thread_imap(filled, allocated(), options.n_threads)
