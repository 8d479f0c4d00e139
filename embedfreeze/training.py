"""Checked training of any Keras model: in `fit`, and by hand with a tape."""

from __future__ import annotations

from typing import Any

from embedfreeze.backend import keras, tf
from embedfreeze.checks import (
    Check,
    Owned,
    Steps,
    check_frozen,
    checked_mode,
    need_frozen_variables,
    step_range,
    steps_done,
)
from embedfreeze.errors import FrozenError
from embedfreeze.locked import unwrapped

__all__ = ["FreezeGuard", "train_step", "verify"]


def verify(model: keras.layers.Layer, deep: bool = False) -> None:
    """Check every frozen variable of a model or layer, through any nesting.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
        Holds at least one `FrozenEmbedding` or `FrozenVariable`.
    deep : bool
        Also hash all bytes. Without it the check takes microseconds whatever the size.

    Raises
    ------
    FrozenBytesChanged
        A frozen byte changed; with the layer, and the row and token or the block.
    FrozenError
        The model holds no frozen variable.
    """
    check_frozen(need_frozen_variables(model), "deep" if deep else "address")


class FreezeGuard(keras.callbacks.Callback):  # type: ignore[misc]
    """Checks the frozen variables of any Keras model after every execution in `fit`.

    Models of `build_model` are checked without it.

    Parameters
    ----------
    check : {"address", "deep", "off"}
        As for `build_model`.

    Raises
    ------
    FrozenBytesChanged
        From `fit`, with layer, step, and row and token or block. Steps are numbered from 1, over
        all fits that this guard sees; under `steps_per_execution` it is a range of steps. Changes
        between fits are found when the next one begins, without a step.
    FrozenError
        From `fit`: the model holds no frozen variable.

    Examples
    --------
    ``model.fit(x, y, callbacks=[FreezeGuard()])``
    """

    def __init__(self, check: Check = "address") -> None:
        super().__init__()
        self._check = checked_mode(check)
        self._variables: list[Owned] = []
        self._steps_before = 0  # in earlier epochs and fits
        self._first = self._last = 0  # of the execution, within its epoch

    def on_train_begin(self, logs: Any = None) -> None:
        if self._check != "off":
            self._variables = need_frozen_variables(self.model)
        check_frozen(self._variables, self._check)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._first = batch + 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        last = self._first - 1 + self.model.steps_per_execution
        # The last execution of an epoch may make fewer steps.
        self._last = min(last, self.params.get("steps") or last)
        check_frozen(self._variables, self._check, self._executed)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._steps_before += self._last
        check_frozen(self._variables, self._check, lambda: self._steps_before)

    def _executed(self) -> Steps:
        return step_range(self._steps_before + self._first, self._steps_before + self._last)


def train_step(
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    loss: Any = None,
    optimizer: Any = None,
    check: Check = "address",
) -> tf.Tensor:
    """One step of training by hand, with a `tf.GradientTape`, checked when it is done.

    Parameters
    ----------
    model : keras.Model
        Any model that holds a `FrozenEmbedding` or a `FrozenVariable`.
    x, y : array or tensor
        One batch; texts as ``tf.constant(texts)``.
    loss : str or callable, optional
        As for `keras.Model.compile`, so that what the model masks, as padding without pooling, does
        not count. Default: the loss that the model was compiled with. Losses that layers add are
        added to it.
    optimizer : keras.optimizers.Optimizer, optional
        Default: the optimizer that the model was compiled with. Give the same one at each step.
    check : {"address", "deep", "off"}
        As for `build_model`.

    Returns
    -------
    tf.Tensor
        The loss before the step, a scalar.

    Raises
    ------
    FrozenBytesChanged
        A frozen byte changed. The error has layer, step (from 1, as ``optimizer.iterations`` counts
        them), and row and token or block.
    FrozenError
        The model holds no frozen variable, or this was called inside a `tf.function`, where a check
        would run once, while the function is traced.
    ValueError
        There is no loss or no optimizer.

    Examples
    --------
    ``for x, y in batches: loss = train_step(model, x, y, loss="mse", optimizer=optimizer)``
    """
    if tf.inside_function():
        raise unwrapped(
            FrozenError(
                "train_step checks outside the graph, so it must be called eagerly, received a "
                "call inside a tf.function: write the step with a tape, and call "
                "embedfreeze.verify(model) after each call of the function"
            )
        )
    check = checked_mode(check)
    variables = [] if check == "off" else need_frozen_variables(model)
    optimizer = _optimizer(model, optimizer)
    with tf.GradientTape() as tape:
        value = _loss(model, x, y, loss)
        scaled = optimizer.scale_loss(value)
    weights = model.trainable_variables
    optimizer.apply(tape.gradient(scaled, weights), weights)
    check_frozen(variables, check, lambda: steps_done(optimizer))
    return value


def _optimizer(model: keras.Model, optimizer: Any) -> keras.optimizers.Optimizer:
    optimizer = model.optimizer if optimizer is None and model.compiled else optimizer
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            f"optimizer must be a keras.optimizers.Optimizer, received {optimizer!r}: give one, or "
            "compile the model"
        )
    return optimizer


def _loss(model: keras.Model, x: Any, y: Any, loss: Any) -> tf.Tensor:
    predicted = model(x, training=True)
    if loss is None and not model.compiled:
        raise ValueError("loss must be given, or the model compiled, received neither")
    if loss is None:
        return model.compute_loss(x=x, y=y, y_pred=predicted, training=True)
    chosen = keras.losses.get(loss)
    if not isinstance(chosen, keras.losses.Loss):
        chosen = _LossOf(chosen)
    return tf.add_n([chosen(y, predicted), *model.losses])


class _LossOf(keras.losses.Loss):  # type: ignore[misc]
    """A loss function as `compile` takes it: in full precision, without what is masked."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def call(self, y: Any, predicted: Any) -> Any:
        single = tf.is_tensor(predicted) and predicted.shape[-1:] == (1,)
        if single and len(y.shape) == len(predicted.shape) - 1:
            y = y[..., tf.newaxis]  # else every y would be compared with every prediction
        return self.function(y, predicted)
