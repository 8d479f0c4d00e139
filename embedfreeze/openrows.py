"""Rows that a layer trains over a frozen table: which they are, and where their values are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.backend import keras, tf
from embedfreeze.errors import FrozenError
from embedfreeze.lookup import lookup
from embedfreeze.refusals import unwrapped
from embedfreeze.variable import FrozenVariable

__all__ = ["OpenRows", "load_rows", "save_rows"]


@dataclass(frozen=True, eq=False)
class OpenRows:
    """Row ids of a table whose values a trainable variable holds instead.

    Attributes
    ----------
    ids : numpy.ndarray
        int32 [k], ascending. Row `ids[i]` of the table is row i of the variable.
    slots : tf.Tensor
        int32 [rows]: the row of the variable for each id, -1 for what stays frozen.
    """

    ids: npt.NDArray[np.int32]
    slots: Any

    @classmethod
    def chosen(cls, table: FrozenVariable, choice: bool | Sequence[int]) -> OpenRows | None:
        """What `trainable_oov` asks for; None if that is no row at all.

        Raises
        ------
        FrozenError
            The table does not know its coverage; or the ids given are not those of rows, or one is
            the padding's.
        """
        if isinstance(choice, bool | np.bool_):
            ids = table.tf_variable.table.open_rows if choice else np.zeros(0, np.int64)
        else:
            ids = _checked_ids(choice, int(table.shape[0]), table.padding_id)
        if not len(ids):
            return None
        slots = np.full(table.shape[0], -1, dtype=np.int32)
        slots[ids] = np.arange(len(ids), dtype=np.int32)
        with tf.init_scope():
            return cls(ids.astype(np.int32), tf.constant(slots))

    def initial(self, table: FrozenVariable, dtype: str) -> Any:
        """An initializer: the rows of the table, or zeros while a model waits for its table."""
        if table.table is None:
            return "zeros"
        return lambda *_, **__: lookup(table, tf.constant(self.ids), dtype)

    def put(self, vectors: Any, ids: Any, trained: Any) -> Any:
        """`vectors` [..., dim] of `ids` [...], those of open rows taken from `trained` [k, dim]."""
        slots = tf.gather(self.slots, ids)
        if len(self.ids) == 1:
            # Its gradient is dense: of a sparse one with a single row XLA compiles no division, and
            # so no step of RMSprop or Adagrad.
            rows: Any = tf.convert_to_tensor(trained)[0]
        else:
            # A frozen id reads slot 0 and does not use it: its gradient is zero, as of no row.
            rows = keras.ops.take(trained, tf.maximum(slots, 0), axis=0)
        return tf.where(slots[..., tf.newaxis] >= 0, tf.cast(rows, vectors.dtype), vectors)


def _checked_ids(choice: Any, rows: int, padding_id: int | None) -> npt.NDArray[np.int64]:
    """Row ids as they were given, ascending and each once."""
    given = np.asarray(choice)
    if given.size == 0:
        return np.zeros(0, np.int64)
    inside = given.dtype.kind in "iu" and given.ndim == 1
    if not inside or given.min() < 0 or given.max() >= rows or padding_id in given:
        raise FrozenError(
            f"trainable_oov must be True, False, or row ids from 0 to {rows - 1} without the "
            f"padding (id {padding_id}), received {choice!r:.100}: name ids, as "
            "vocabulary.index(token) gives them"
        )
    return np.unique(given.astype(np.int64))


def save_rows(store: Any, opened: OpenRows | None, trained: Any) -> None:
    """Write the trained rows into a layer's part of a weights file, and which they are."""
    if opened is not None:
        store["oov"], store["oov_rows"] = trained, opened.ids


def load_rows(store: Any, opened: OpenRows | None, trained: Any, name: str) -> None:
    """Read what `save_rows` wrote.

    Raises
    ------
    FrozenError
        The weights were trained for other rows, or for none.
    """
    stored = np.asarray(store["oov_rows"]) if "oov_rows" in set(store.keys()) else np.array([])
    ids = np.array([]) if opened is None else opened.ids
    if not np.array_equal(stored, ids):
        found = "others" if len(stored) == len(ids) else len(stored)
        raise unwrapped(
            FrozenError(
                f"layer {name!r} trains {len(ids)} rows of its table, received weights of a layer "
                f"that trains {found}: build the layer with the same trainable_oov, over a table "
                "with the same coverage"
            )
        )
    if opened is not None:
        trained.assign(store["oov"])
