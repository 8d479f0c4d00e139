"""Numbers that may change while a compiled model trains."""

from __future__ import annotations

from typing import Any

from embedfreeze.backend import keras

__all__ = ["Hyperparameter"]


class Hyperparameter(keras.Variable):  # type: ignore[misc]
    """A number that may change while a compiled model trains, such as a learning rate.

    It is a non-trainable `keras.Variable` and works as ``learning_rate=`` of every Keras optimizer.
    A new value takes effect at the next step, with jit and without. Reading and setting
    ``optimizer.learning_rate``, and so Keras' `LearningRateScheduler` and `ReduceLROnPlateau`, read
    and set it. One may serve several optimizers.

    Parameters
    ----------
    value : float
        To begin with.
    name : str, optional
        Of the variable.
    dtype : str
        Of the variable.

    Notes
    -----
    A saved model holds the value as its optimizer's learning rate: after loading,
    ``model.optimizer.learning_rate`` is a variable with that value and an ``assign`` of its own.

    Examples
    --------
    >>> rate = Hyperparameter(0.5)
    >>> optimizer = keras.optimizers.SGD(learning_rate=rate)
    >>> _ = rate.assign(0.25)
    >>> float(optimizer.learning_rate)
    0.25
    """

    def __init__(self, value: float, name: str | None = None, dtype: str = "float32") -> None:
        super().__init__(
            float(value),
            dtype=dtype,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name=name or "hyperparameter",
        )

    def __call__(self, step: Any = None) -> Hyperparameter:
        """Itself. Keras takes only a float or a callable for a learning rate; and as it keeps what
        it was given, it then finds the variable."""
        return self
