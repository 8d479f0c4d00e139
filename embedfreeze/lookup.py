"""Rows of a frozen table by id, inside and outside of graphs: gather first, convert after."""

from __future__ import annotations

from typing import Any

from embedfreeze.backend import tf
from embedfreeze.variable import FrozenVariable

__all__ = ["lookup"]


def lookup(table: FrozenVariable, ids: Any, dtype: str) -> Any:
    """Vectors [..., dim] of ids [...], converted to `dtype` after they were gathered.

    As float32 they are bit for bit what `embedfreeze.storage.decode` makes of the rows, whether
    eager, in a graph or compiled by XLA; the table itself is never converted.
    """
    rows = tf.gather(table, ids)
    return tf.cast(_decoded(rows, table.dim) if rows.dtype == tf.int8 else rows, dtype)


def _decoded(rows: Any, dim: int) -> Any:
    """float32 [..., dim] of int8 rows [..., dim + 4] that end in the bytes of their scale."""
    scales = tf.bitcast(rows[..., dim:], tf.float32)
    return tf.cast(rows[..., :dim], tf.float32) * scales[..., tf.newaxis]
