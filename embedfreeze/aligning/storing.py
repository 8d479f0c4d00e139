"""Rows of ids in sealed memory, in the storage dtype that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.aligning.filling import Target
from embedfreeze.errors import FormatError
from embedfreeze.sealed import SealedMatrix, SealedMatrixBuilder
from embedfreeze.vocabulary import Vocabulary

__all__ = ["sealed_as", "sealed_target"]


def sealed_as(
    rows: npt.NDArray[Any],
    dtype: str,
    tokens: Sequence[str],
    path: str | None,
    kept: npt.NDArray[Any] | None = None,
) -> SealedMatrix:
    """Rows stored in another dtype, a portion at a time, in new sealed memory.

    Parameters
    ----------
    rows : numpy.ndarray
        [n, columns] of a storage dtype.
    dtype : str
        The storage dtype that is wanted.
    tokens : sequence of str
        Of the rows, and `path` where they come from: for messages.
    kept : numpy.ndarray, optional
        [k, columns] of `dtype`: the first k rows as they are stored already.

    Raises
    ------
    FormatError
        A row cannot be stored so.
    """

    def refuse(row: int, rule: str) -> FormatError:
        return FormatError(f"token {tokens[n + row]!r}: {rule}", path=path, row=n + row)

    n = 0 if kept is None else len(kept)
    dim = storage.dim_of(str(rows.dtype), rows.shape[1])
    shape, made = storage.shape_of(len(rows), dim, dtype), storage.numpy_dtype(dtype)
    builder = SealedMatrixBuilder(shape, made)
    if kept is not None:
        np.copyto(builder.array[:n], kept)
    storage.encode(rows[n:], builder.array[n:], refuse=refuse)
    return builder.seal()


def sealed_target(
    target: Target,
    dtype: str | None,
    vocabulary: Vocabulary,
    path: str | None,
    kept: npt.NDArray[Any] | None = None,
) -> SealedMatrix:
    """A filled target in sealed memory: as it is, or encoded as `sealed_as` does."""
    if dtype not in storage.ENCODED:
        return target.builder.seal()
    return sealed_as(target.array, dtype, vocabulary.tokens, path, kept)
