"""TokenWeights: a layer that scales the vector of each token by a weight of that token."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from embedfreeze.backend import keras, tf

__all__ = ["TokenWeights"]

# Weights that layers of this process hold, by their digest: a clone has no others to take.
_live: WeakValueDictionary[str, npt.NDArray[np.float32]] = WeakValueDictionary()


@keras.saving.register_keras_serializable(package="embedfreeze")
class TokenWeights(keras.layers.Layer):  # type: ignore[misc]
    """Multiplies each vector of a text by the weight of its token, such as tf-idf.

    Parameters
    ----------
    weights : array_like
        float32 [rows]: a weight for each id. They are saved with the model and never trained.
    **options
        As for `keras.layers.Layer`.

    Raises
    ------
    ValueError
        They are no finite numbers [rows].

    Notes
    -----
    It is called with vectors [batch, length, dim] and int32 or int64 ids [batch, length], and gives
    ``vectors * weights[ids]``, with the mask of the vectors. Weights are cast to the compute dtype
    after the lookup. A layer made of a config alone, whose weights no layer of this process has,
    gives NaN until they are loaded.

    Examples
    --------
    >>> layer = TokenWeights([1.0, 0.5])
    >>> vectors = [[[2.0, 4.0], [2.0, 4.0]]]
    >>> layer(np.array(vectors), np.array([[0, 1]])).numpy().tolist()
    [[[2.0, 4.0], [1.0, 2.0]]]
    """

    def __init__(self, weights: npt.ArrayLike, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True
        self._held = _finite(weights)
        self.values = self.add_weight(
            shape=self._held.shape,
            initializer=lambda *_, **__: tf.constant(self._held),
            dtype="float32",
            trainable=False,
            autocast=False,
            name="values",
        )

    def call(self, vectors: Any, ids: Any) -> Any:
        """Vectors [batch, length, dim], scaled."""
        weights = tf.cast(tf.gather(tf.convert_to_tensor(self.values), ids), vectors.dtype)
        return vectors * weights[..., tf.newaxis]

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs; weights are told by their digest."""
        self._held = self.values.numpy()
        digest = hashlib.sha256(self._held.tobytes()).hexdigest()
        _live[digest] = self._held
        return {**super().get_config(), "rows": len(self._held), "digest": digest}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TokenWeights:
        """The layer, with the weights of the layer that the config is of while that is there."""
        options = dict(config)
        rows, weights = options.pop("rows"), _live.get(options.pop("digest"))
        layer = cls(np.zeros(rows, np.float32) if weights is None else weights, **options)
        if weights is None:
            layer.values.assign(np.full(rows, np.nan, np.float32))
        return layer


def _finite(weights: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Weights as float32 [rows], a copy.

    Raises
    ------
    ValueError
        They are none.
    """
    given = np.asarray(weights)
    if given.ndim != 1 or given.dtype.kind not in "fiu":
        raise ValueError(
            f"weights must be numbers [rows], received {given.dtype} {list(given.shape)}: give one "
            "for each id"
        )
    with np.errstate(over="ignore"):  # what overflows is refused below
        values = given.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ValueError(
            f"weights must be finite, received {given[wrong[0]]} for id {wrong[0]}, the first of "
            f"{len(wrong)}: give such tokens a weight, or 0 to leave them out of the sum"
        )
    return values
