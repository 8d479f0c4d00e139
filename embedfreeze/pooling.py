"""Pooling over the tokens of a text, with padding left out: small Keras layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from embedfreeze.backend import keras

__all__ = [
    "AttentionPooling",
    "MaskedPooling",
    "Pooling",
    "SumMethod",
    "masked_sum",
    "of_sum",
    "pooling_layer",
]

ops = keras.ops

SumMethod = Literal["mean", "sum", "sqrtn"]
Method = Literal["mean", "max", "sum", "sqrtn", "flatten"]
Pooling = Literal["mean", "max", "sum", "sqrtn", "flatten", "attention"]

# Every function takes vectors [batch, length, dim] and `kept`, bool [batch, length, 1].


def _selected(x: Any, kept: Any) -> Any:
    """Zeros for what is not kept; a product would not do, as zero times NaN is NaN."""
    return ops.where(kept, x, ops.zeros((), x.dtype))


def masked_sum(x: Any, kept: Any) -> Any:
    """The sum over the tokens of each text, [batch, dim]."""
    return ops.sum(_selected(x, kept), axis=1)


def _count(x: Any, kept: Any) -> Any:
    """Tokens of each text, at least 1, so that a text of padding alone divides zeros by one."""
    return ops.maximum(ops.sum(ops.cast(kept, x.dtype), axis=1), 1)


def of_sum(method: SumMethod, total: Any, kept: Any) -> Any:
    """What a method makes of the sums [batch, dim] of texts."""
    if method == "sum":
        return total
    count = _count(total, kept)
    return total / (count if method == "mean" else ops.sqrt(count))


def _from_sum(method: SumMethod) -> Callable[[Any, Any], Any]:
    return lambda x, kept: of_sum(method, masked_sum(x, kept), kept)


def _max(x: Any, kept: Any) -> Any:
    return ops.squeeze(_highest(x, kept), axis=1)


def _highest(x: Any, kept: Any) -> Any:
    """The maximum over the tokens of each text, [batch, 1, dim]; zeros where none is kept."""
    lowest = float("-inf")
    selected = ops.where(kept, x, ops.full((), lowest, x.dtype))
    highest = ops.max(selected, axis=1, keepdims=True, initial=lowest)
    return ops.where(ops.any(kept, axis=1, keepdims=True), highest, ops.zeros_like(highest))


def _flatten(x: Any, kept: Any) -> Any:
    return ops.reshape(_selected(x, kept), (-1, x.shape[1] * x.shape[2]))


_METHODS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "mean": _from_sum("mean"),
        "max": _max,
        "sum": masked_sum,
        "sqrtn": _from_sum("sqrtn"),
        "flatten": _flatten,
    }
)


def _kept(x: Any, mask: Any) -> Any:
    """Which vectors count, bool [batch, length, 1]; all of them without a mask."""
    if mask is None:
        return ops.ones_like(x[..., :1], dtype="bool")
    return ops.expand_dims(mask, -1)


class _PoolingLayer(keras.layers.Layer):  # type: ignore[misc]
    """Uses the mask of its input up: its output has one vector a text, and no mask."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        return None

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[2])

    def get_config(self) -> dict[str, Any]:
        # A layer without this method gets a config that Keras guesses, without the layer's name.
        config: dict[str, Any] = super().get_config()
        return config


@keras.saving.register_keras_serializable(package="embedfreeze")
class MaskedPooling(_PoolingLayer):
    """One vector a text: [batch, length, dim] to [batch, dim], padding left out.

    Parameters
    ----------
    method : {"mean", "max", "sum", "sqrtn", "flatten"}
        ``"sqrtn"`` divides the sum by the square root of the number of tokens; ``"flatten"`` puts
        the vectors beside each other, [batch, length * dim], with zeros where padding stands, and
        needs a fixed length.
    **options
        As for `keras.layers.Layer`.

    Notes
    -----
    A text of padding alone gives zeros. Without a mask every vector counts.
    """

    def __init__(self, method: Method = "mean", **options: Any) -> None:
        if method not in _METHODS:
            raise ValueError(f"method must be one of {[*_METHODS]}, received {method!r}")
        super().__init__(**options)
        self.method = method

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return _METHODS[self.method](inputs, _kept(inputs, mask))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, length, dim = input_shape
        if self.method != "flatten":
            return (batch, dim)
        if length is None or dim is None:
            raise ValueError("flatten needs texts of a fixed length: give max_length=")
        return (batch, length * dim)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "method": self.method}


@keras.saving.register_keras_serializable(package="embedfreeze")
class AttentionPooling(_PoolingLayer):
    """A weighted mean whose weights are learned: [batch, length, dim] to [batch, dim].

    The weight of a token is the softmax over its text of the dot product of its vector with a
    trainable query [dim]. The query starts as zeros, so that training starts from the mean.
    A text of padding alone gives zeros.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.query = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="query")

    def call(self, inputs: Any, mask: Any = None) -> Any:
        kept = _kept(inputs, mask)
        x = _selected(inputs, kept)
        scores: Any = ops.sum(x * self.query, axis=-1, keepdims=True)
        highest = ops.stop_gradient(_highest(scores, kept))
        # Selected twice: the exponential of what padding leaves may be infinite, its gradient NaN.
        weights = _selected(ops.exp(_selected(scores - highest, kept)), kept)
        # The highest score has weight 1, so the total is below 1 only where no token is kept.
        total: Any = ops.maximum(ops.sum(weights, axis=1), 1)
        weighted: Any = ops.sum(x * weights, axis=1)
        return weighted / total


def pooling_layer(pooling: Pooling, name: str = "pooling") -> keras.layers.Layer:
    """The layer of a pooling by its name."""
    if pooling not in get_args(Pooling):
        allowed = [*get_args(Pooling), None]
        raise ValueError(f"pooling must be one of {allowed}, received {pooling!r}")
    if pooling == "attention":
        return AttentionPooling(name=name)
    return MaskedPooling(pooling, name=name)
