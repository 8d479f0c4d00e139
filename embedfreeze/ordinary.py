"""The ordinary trainable layer that a frozen one becomes when it is thawed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from embedfreeze.backend import keras, tf
from embedfreeze.threads import spans

__all__ = ["MaskedEmbedding", "ordinary_embedding"]

_CHUNK_VALUES = 1 << 20


@keras.saving.register_keras_serializable(package="embedfreeze")
class MaskedEmbedding(keras.layers.Embedding):  # type: ignore[misc]
    """A `keras.layers.Embedding` that masks one id, whichever that is.

    Parameters
    ----------
    *args, **options
        As for `keras.layers.Embedding`, without `mask_zero`.
    padding_id : int
        The mask is False where this id stands.
    """

    def __init__(self, *args: Any, padding_id: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self.padding_id = padding_id
        self.supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where ids are not padding, bool [...]."""
        return keras.ops.not_equal(inputs, self.padding_id)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {**super().get_config(), "padding_id": self.padding_id}


def ordinary_embedding(
    shape: tuple[Any, ...],
    vectors: Callable[[Any], Any],
    padding_id: int | None,
    **options: Any,
) -> keras.layers.Embedding:
    """A trainable `keras.layers.Embedding` [rows, dim] with given values.

    The values are written part after part into the layer's variable, which so is the only copy.

    Parameters
    ----------
    shape : tuple of int
        Rows and dim.
    vectors : callable
        Vectors [ids, dim] of int32 ids [ids], in the variable's dtype.
    padding_id : int or None
        The id that is masked.
    **options
        Of `keras.layers.Layer`.
    """
    options["embeddings_initializer"] = "zeros"
    if padding_id is None or padding_id == 0:
        layer = keras.layers.Embedding(*shape, mask_zero=padding_id == 0, **options)
    else:
        layer = MaskedEmbedding(*shape, padding_id=padding_id, **options)
    layer.build()
    kernel: Any = layer.embeddings
    replicas = tf.distribute.get_strategy().experimental_local_results(kernel.value)
    for low, high in spans(0, shape[0], max(_CHUNK_VALUES // shape[1], 1)):
        _write(replicas, low, high, vectors(tf.range(low, high)))
    return layer


def _write(variables: tuple[Any, ...], low: int, high: int, rows: Any) -> None:
    """Write rows in place; `variable[low:high].assign` would copy the whole variable first."""
    for variable in variables:
        tf.raw_ops.ResourceStridedSliceAssign(
            ref=variable.handle, begin=[low], end=[high], strides=[1], value=rows
        )
