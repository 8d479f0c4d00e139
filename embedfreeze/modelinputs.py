"""What a model is given: texts as Python and NumPy hold them, and ids that may have no row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from embedfreeze.backend import keras, tf
from embedfreeze.frozen import FrozenEmbedding, FrozenVariable

__all__ = ["as_inputs", "as_validation_data", "telling_rows"]

Owned = tuple[keras.layers.Layer | None, FrozenVariable]
# How TensorFlow says that an id has no row, of lookups and of pooled ones.
_OUTSIDE = ("is not in [0, ", "out of range [0, ")


def as_inputs(model: keras.Model, x: Any) -> Any:
    """The inputs of a model as Keras takes them: texts become a string tensor.

    Parameters
    ----------
    model : keras.Model
        With one input; what others are given stays as it is.
    x : Any
        Texts: a list or tuple of str, or a NumPy array of str. All else stays as it is.

    Raises
    ------
    TypeError
        Texts for a model of ids; one bare str; or something else among the texts.
    """
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1 or not _is_text(x):
        return x
    if inputs[0].dtype != "string":
        raise TypeError(
            f"the inputs of model {model.name!r} must be ids [batch, length], received texts: this "
            "model takes ids, give it vocabulary.encode(texts), or build it with inputs='text'"
        )
    if isinstance(x, str | bytes):
        raise TypeError(
            f"the inputs of model {model.name!r} must be a list of texts, received one "
            f"{type(x).__name__}: put it into a list, [text]"
        )
    return x if tf.is_tensor(x) else tf.constant(_encoded(x), tf.string)


def _is_text(x: Any) -> bool:
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "US" or (
            x.dtype.kind == "O" and _is_text(x.reshape(-1)[:1].tolist())
        )
    if isinstance(x, list | tuple):
        return bool(x) and isinstance(x[0], str | bytes)
    return isinstance(x, str | bytes) or (tf.is_tensor(x) and x.dtype == tf.string)


def _encoded(texts: Any) -> Any:
    """Bytes: of a `str` that holds bytes which are not UTF-8, TensorFlow takes nothing else."""
    if isinstance(texts, np.ndarray):
        flat = np.array([_bytes(text) for text in texts.reshape(-1).tolist()], object)
        return flat.reshape(texts.shape)
    return [_bytes(text) for text in texts]


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str | bytes):
        raise TypeError(
            f"texts must be str, received {text!r:.50} among them: leave it out, or give '' for it"
        )
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


def as_validation_data(model: keras.Model, data: Any) -> Any:
    """`validation_data` of `fit`, of whose tuple the first part are inputs."""
    if not isinstance(data, list | tuple) or not data:
        return data
    return (as_inputs(model, data[0]), *data[1:])


@contextmanager
def telling_rows(variables: Sequence[Owned]) -> Iterator[None]:
    """TensorFlow's error of an id without a row gets a note of which ids have one."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if any(said in str(error) for said in _OUTSIDE):
            for note in _ranges(variables):
                error.add_note(note)
        raise


def _ranges(variables: Sequence[Owned]) -> list[str]:
    return [
        f"ids of layer {layer.name!r} must be 0 to {variable.shape[0] - 1}, the rows of its "
        "table: encode texts with its vocabulary; check_ids=True tells all ids of the batch"
        for layer, variable in variables
        if isinstance(layer, FrozenEmbedding)
    ]
