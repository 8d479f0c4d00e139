"""Checked training of any Keras model: in `fit`, and by hand with a tape."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, cast

from embedfreeze.backend import keras, tf
from embedfreeze.checklog import CheckLog
from embedfreeze.checks import (
    Check,
    Owned,
    StepCounter,
    Steps,
    check_frozen,
    checked_mode,
    need_frozen_variables,
    proof_of,
    retracing,
    step_range,
    steps_done,
)
from embedfreeze.errors import FrozenError
from embedfreeze.files import PathLike
from embedfreeze.model import FrozenModel
from embedfreeze.proof import FreezeProof
from embedfreeze.refusals import unwrapped
from embedfreeze.savedmodels import verify_saved

__all__ = ["FreezeGuard", "train_step", "verify"]


def verify(
    model: keras.layers.Layer | str | os.PathLike[str],
    deep: bool = False,
    *,
    table: object = None,
    search: PathLike | Sequence[PathLike] = (),
) -> FreezeProof:
    """Check every frozen variable of a model or layer, a saved model, or a store.

    Parameters
    ----------
    model : keras.Model, keras.layers.Layer, FrozenVariable or path
        Holds at least one frozen variable, through any nesting. Of a saved model (a ``.keras`` or
        ``.weights.h5`` file, or the folder of a SavedModel) every byte of the tables is hashed, and
        of a store every byte.
    deep : bool
        Also hash all bytes. Without it the check takes microseconds whatever the size, but for a
        copy on a device, of which a digest is computed.
    table, search
        Where the tables of a saved model are, as for `load_model`.

    Returns
    -------
    FreezeProof
        What was found, to print or to keep.

    Raises
    ------
    FrozenBytesChanged
        A frozen byte changed; with the layer, and the row and token or the block.
    FrozenError
        The model holds no frozen variable; a function traced since the last check would write to
        one; or a saved model's table is another one, or not found.
    FileError
        The file is no saved model and no store; or what lies beside the matrix of a store changed.
    """
    if isinstance(model, str | os.PathLike):
        return verify_saved(model, table=table, search=search)
    if table is not None or search:
        raise TypeError(
            "table= and search= say where the tables of a saved model are, received a model in "
            "use, which has its tables: leave them out"
        )
    variables = need_frozen_variables(model)
    check_frozen(variables, "deep" if deep else "address")
    return proof_of(model.name, variables, deep, getattr(model, "steps_checked", 0))


class FreezeGuard(keras.callbacks.Callback):  # type: ignore[misc]
    """Checks the frozen variables of any Keras model after every execution in `fit`.

    In `evaluate` and `predict` too. Models of `build_model` are checked without it.

    Parameters
    ----------
    check : {"address", "deep", "off"}
        As for `build_model`.
    log_dir : path, optional
        Write for TensorBoard, at the end of each epoch, what a check costs
        (``freeze_guard/microseconds_per_check``) and how many steps were checked so far
        (``freeze_guard/steps_checked``). Epochs are numbered from 0, over all fits that this guard
        sees. It needs ``pip install "embedfreeze[tensorboard]"``.

    Raises
    ------
    EmbedFreezeError
        TensorBoard is not installed, which TensorFlow needs to write for it.
    FileError
        From `fit`: the system says that the log cannot be written.
    FrozenBytesChanged
        From `fit`, with layer, step, and row and token or block. Steps are numbered from 1, over
        all fits that this guard sees; under `steps_per_execution` it is a range of steps. Changes
        between fits are found when the next one begins, without a step.
    FrozenError
        From `fit`: the model holds no frozen variable, or a traced function would write to one.

    Examples
    --------
    ``model.fit(x, y, callbacks=[FreezeGuard()])``
    """

    def __init__(self, check: Check = "address", *, log_dir: PathLike | None = None) -> None:
        super().__init__()
        self._check: Check = checked_mode(check)
        if log_dir is not None and check == "off":
            raise ValueError("log_dir tells of checks, received check='off': leave one of them out")
        self._log = None if log_dir is None else CheckLog(log_dir)
        self._check_step: Callable[[Callable[[], Steps]], None] = self._check_now
        if self._log is not None:
            self._check_step = self._log.timed(self._check_now)
        self._variables: list[Owned] = []
        self._steps: StepCounter | None = None

    def proof(self) -> FreezeProof:
        """Of the model, checked now, over all steps that this guard has checked.

        Raises
        ------
        FrozenBytesChanged
            A frozen byte changed.
        FrozenError
            The guard watches nothing: it was not used in a `fit` yet, or has ``check="off"``.
        """
        if not self._variables:
            raise FrozenError(
                "a proof speaks of what was checked, received a guard that checked nothing: give "
                "it to fit as a callback, with check='address' or 'deep'"
            )
        check_frozen(self._variables, self._check)
        return proof_of(self._watched.name, self._variables, self._check == "deep", self._checked)

    @property
    def _checked(self) -> int:
        return 0 if self._steps is None else self._steps.checked

    @property
    def _watched(self) -> keras.Model:
        """The model of the fit, without which Keras calls nothing here."""
        return cast(keras.Model, self.model)

    def _begin(self) -> None:
        if self._check != "off":
            self._variables = need_frozen_variables(self._watched)
        self._check_now()

    def on_train_begin(self, logs: Any = None) -> None:
        self._begin()
        self._steps = StepCounter(self._watched, self._checked)
        if self._log is not None:
            self._log.begin()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._steps is not None:
            self._steps.begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._steps is not None:
            self._check_step(self._executed)
            self._steps.end()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check_now(lambda: self._checked)
        if self._log is not None:
            self._log.write(self._checked)

    def on_train_end(self, logs: Any = None) -> None:
        if self._log is not None:
            self._log.end()

    def on_test_begin(self, logs: Any = None) -> None:
        self._begin()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._check_now()

    def on_predict_begin(self, logs: Any = None) -> None:
        self._begin()

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self._check_now()

    def _check_now(self, find_steps: Callable[[], Steps] | None = None) -> None:
        with retracing(self._watched):
            check_frozen(self._variables, self._check, find_steps)

    def _executed(self) -> Steps:
        made = 1 if self._steps is None else self._steps.made()
        return step_range(self._checked + 1, self._checked + made)


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
        One batch; texts as for `fit` of the model.
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
    if isinstance(model, FrozenModel) and check != "off":
        model.steps_checked += 1
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
        own: Any = model.compute_loss(x=x, y=y, y_pred=predicted, training=True)
        return own
    chosen: Any = keras.losses.get(loss)
    if not isinstance(chosen, keras.losses.Loss):
        chosen = _LossOf(chosen)
    parts: list[Any] = [chosen(y, predicted), *model.losses]
    return tf.add_n(parts)


class _LossOf(keras.losses.Loss):  # type: ignore[misc]
    """A loss function as `compile` takes it: in full precision, without what is masked."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        single = tf.is_tensor(y_pred) and y_pred.shape[-1:] == (1,)
        if single and len(y_true.shape) == len(y_pred.shape) - 1:
            y_true = y_true[..., tf.newaxis]  # else each would be compared with every prediction
        return self.function(y_true, y_pred)
