"""Sums of the rows of texts, made as the rows are read: no vector of a token is ever copied."""

from __future__ import annotations

from typing import Any, get_args

from embedfreeze.backend import colocate_with, in_xla_context, tf
from embedfreeze.errors import EmbedFreezeError
from embedfreeze.openrows import OpenRows
from embedfreeze.pooling import SumMethod
from embedfreeze.refusals import unwrapped
from embedfreeze.threads import thread_count
from embedfreeze.variable import FrozenVariable

__all__ = ["check_pooling", "compiled_by_xla", "pooled_sums", "refuse_other_shapes"]

_PARTS = 8  # of a batch, at most


def check_pooling(pooling: str | None, dtype: str) -> None:
    """Refuse what a layer cannot pool by.

    Raises
    ------
    ValueError
        There is no such method.
    EmbedFreezeError
        The table is not float32.
    """
    if pooling is None:
        return
    if pooling not in get_args(SumMethod):
        allowed = [*get_args(SumMethod), None]
        raise ValueError(f"pooling must be one of {allowed}, received {pooling!r}")
    if dtype != "float32":
        raise EmbedFreezeError(
            f"pooling= adds rows as they are stored and needs a table of float32, received "
            f"{dtype}: leave it out and put embedfreeze.pooling.MaskedPooling({pooling!r}) behind"
        )


def refuse_other_shapes(shape: Any, name: str) -> None:
    """`EmbedFreezeError` for ids that are not [batch, length]."""
    if len(shape) != 2:
        raise unwrapped(
            EmbedFreezeError(
                f"layer {name!r} pools texts and needs ids [batch, length], received shape "
                f"{list(shape)}"
            )
        )


def compiled_by_xla() -> bool:
    """Whether what is traced now goes to XLA, which has none of the operations below."""
    return bool(in_xla_context(tf.compat.v1.get_default_graph()))


def pooled_sums(
    table: FrozenVariable, opened: OpenRows | None, trained: Any, ids: Any, kept: Any
) -> Any:
    """The sum of the vectors of each text.

    Parameters
    ----------
    table : FrozenVariable
        float32 [rows, dim].
    opened, trained : OpenRows, tf.Variable
        Rows that are trained, and their values [k, dim]; or None.
    ids : tf.Tensor
        [batch, length].
    kept : tf.Tensor
        bool [batch, length]: which are added. Rows of others are not looked at.

    Returns
    -------
    tf.Tensor
        float32 [batch, dim]; zeros where no token is kept.
    """
    texts = tf.shape(ids)[0]
    places = tf.where(kept)
    ids, of_text = tf.gather_nd(ids, places), places[:, 0]
    rows = table.tf_variable.value()
    if opened is None:
        return _sums(rows, ids, of_text, texts)
    slots = tf.gather(opened.slots, ids)
    frozen, others = tf.where(slots < 0)[:, 0], tf.where(slots >= 0)[:, 0]
    values = tf.cast(tf.convert_to_tensor(trained), tf.float32)
    still = _sums(rows, tf.gather(ids, frozen), tf.gather(of_text, frozen), texts)
    return still + _sums(values, tf.gather(slots, others), tf.gather(of_text, others), texts)


def _sums(rows: Any, ids: Any, of_text: Any, texts: Any) -> Any:
    """Sums [texts, dim] of rows [n, dim]; `of_text`, int64 and ascending, says whose each id is.

    TensorFlow sums on one core, so that the texts are cut into parts that it may run side by side.
    """
    parts = min(thread_count(), _PARTS)
    texts = tf.cast(texts, tf.int64)
    firsts = [texts * part // parts for part in range(parts + 1)]
    cuts = tf.unstack(tf.searchsorted(of_text, tf.stack(firsts)))
    with colocate_with(rows):  # else the table would go to where the ids are
        sums = [
            tf.sparse.segment_sum(rows, ids[a:b], of_text[a:b] - first, num_segments=end - first)
            for first, end, a, b in zip(firsts, firsts[1:], cuts, cuts[1:], strict=False)
        ]
        return tf.concat(sums, axis=0)
