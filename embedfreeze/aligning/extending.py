"""What rows a table may be extended by: those that went through the same as its own."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.aligning.transforms import Transforms
from embedfreeze.errors import FormatError, VocabularyError

__all__ = ["check_new_rows", "repeated_transforms"]


def repeated_transforms(provenance: dict[str, Any]) -> Transforms:
    """The transforms of a table, to be done to new rows.

    Raises
    ------
    VocabularyError
        They cannot be repeated.
    """
    done = Transforms(**provenance.get("transforms", {}))
    if not done.by_row or provenance.get("steps", []) != list(done.steps):
        raise VocabularyError(
            f"a table is extended by rows that went through the same, received one with "
            f"{', '.join(provenance['steps'])}, which depends on all its rows or was done "
            f"before it was loaded: load it anew with the longer vocabulary"
        )
    return done


def check_new_rows(
    rows: npt.NDArray[Any], table: tuple[int, str], steps: list[str], done: list[str], name: str
) -> None:
    """Refuse rows that are unlike those of the table.

    Parameters
    ----------
    rows : numpy.ndarray
        [n, dim].
    table : tuple
        Dim and storage dtype of the table.
    steps, done : list of str
        What the rows and those of the table went through.
    name : str
        Where the rows come from, for messages.

    Raises
    ------
    FormatError
        Another dim or dtype.
    VocabularyError
        They went through something else.
    """
    dim, dtype = table
    if (rows.shape[1], str(rows.dtype)) != (dim, storage.working_dtype(dtype)):
        raise FormatError(
            f"new rows must be {dim} x {dtype} as those of the table are, received "
            f"{rows.shape[1]} x {rows.dtype}: name another source, or where the dtype differs "
            f'pass dtype="{dtype}"',
            path=name,
        )
    if steps != done:
        raise VocabularyError(
            f"a table is extended by rows that went through the same, received rows with "
            f"{steps} for a table with {done}: name another source"
        )
