"""What stands on top of pooled texts: dense layers, alone as a model or as part of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from embedfreeze.backend import keras

__all__ = ["Compiling", "build_head", "dense_layers"]


@dataclass(frozen=True, eq=False)
class Compiling:
    """What a model is compiled with, if it is.

    Attributes
    ----------
    optimizer, loss, metrics
        As for `keras.Model.compile`; all None for a model that is not compiled.

    Raises
    ------
    ValueError
        Some are given without an optimizer or a loss.
    """

    optimizer: Any
    loss: Any
    metrics: Any

    def __post_init__(self) -> None:
        optimizer, loss = self.optimizer, self.loss
        if (optimizer is None) != (loss is None) or (self.metrics is not None and loss is None):
            raise ValueError(
                f"a compiled model needs both, optimizer and loss, received {optimizer=}, {loss=}: "
                "give both, or neither and call compile"
            )

    def apply(self, model: keras.Model) -> None:
        """Compile a model, if there is something to compile it with."""
        if self.optimizer is not None:
            model.compile(optimizer=self.optimizer, loss=self.loss, metrics=self.metrics)


def dense_layers(
    x: Any,
    *,
    hidden_units: Sequence[int],
    output_units: int,
    activation: Any,
    output_activation: Any,
    dropout: float,
) -> Any:
    """`hidden_1` and on, then `output`, made in this order, with dropout before each."""
    if isinstance(hidden_units, str) or not isinstance(hidden_units, Sequence):
        raise TypeError(
            f"hidden_units must be a sequence of int, the sizes of the layers, received "
            f"{hidden_units!r}: give {[] if hidden_units is None else [hidden_units]!r}"
        )
    for number, size in enumerate(hidden_units, start=1):
        x = _dropped(x, dropout, number)
        x = keras.layers.Dense(size, activation=activation, name=f"hidden_{number}")(x)
    x = _dropped(x, dropout, len(hidden_units) + 1)
    return keras.layers.Dense(output_units, activation=output_activation, name="output")(x)


def _dropped(x: Any, dropout: float, number: int) -> Any:
    if not dropout:
        return x
    return keras.layers.Dropout(dropout, name=f"dropout_{number}")(x)


def build_head(
    dim: int,
    *,
    hidden_units: Sequence[int] = (64,),
    output_units: int = 1,
    activation: Any = "relu",
    output_activation: Any = None,
    dropout: float = 0.0,
    optimizer: Any = None,
    loss: Any = None,
    metrics: Any = None,
    name: str | None = None,
) -> keras.Model:
    """The dense layers of `build_model` alone, to be trained on features that were made once.

    Features are pooled texts, float32 [batch, dim]. After the same `keras.utils.set_random_seed`
    the layers begin with the same weights as those of `build_model` with the same arguments, and
    drop the same values out. `assemble` puts lookup and pooling before the trained head.

    Parameters
    ----------
    dim : int
        Values of a feature: the dim of the table.
    hidden_units, output_units, activation, output_activation, dropout
        As for `build_model`.
    optimizer, loss, metrics
        As for `keras.Model.compile`. The model is compiled if an optimizer and a loss are given.
    name : str, optional
        Of the model.

    Returns
    -------
    keras.Model
        A functional model from ``features``, float32 [batch, dim], to [batch, output_units].

    Raises
    ------
    ValueError
        An argument is not one of those above.
    TypeError
        `hidden_units` is no sequence.

    Notes
    -----
    Training on features gives bit for bit the weights that training the model of `build_model`
    gives, with the same batches, where the features have the bits that its pooling makes. On a CPU,
    without `jit_compile` (Keras' default there), these are

    - for "sum" and "mean" of texts padded to at most 15 tokens: the sum of the vectors, one after
      the other in float32, and that divided by the number of tokens;
    - for "max" of any texts: the maximum.

    Elsewhere TensorFlow and XLA add in orders of their own, and for "sqrtn" graphs multiply by the
    inverse of the root. A feature then differs from the pooled text of n tokens by at most
    (n + 4) * 2**-23 times the same pooling of the magnitudes; the weights differ by what training
    makes of that, which on the sample of this package is less than 1e-5 after an epoch.

    Examples
    --------
    >>> head = build_head(50, hidden_units=[8])
    >>> [layer.name for layer in head.layers]
    ['features', 'hidden_1', 'output']
    """
    if isinstance(dim, bool) or dim != int(dim) or dim < 1:
        raise ValueError(
            f"dim must be an int of at least 1, received {dim!r}: give that of the table"
        )
    compiling = Compiling(optimizer, loss, metrics)
    features = keras.Input((int(dim),), dtype="float32", name="features")
    outputs = dense_layers(
        features,
        hidden_units=hidden_units,
        output_units=output_units,
        activation=activation,
        output_activation=output_activation,
        dropout=dropout,
    )
    model = keras.Model(features, outputs, name=name)
    compiling.apply(model)
    return model
