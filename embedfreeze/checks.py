"""The check after a training step: it runs outside the graph, so jit and graphs cannot skip it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from embedfreeze.backend import keras
from embedfreeze.errors import FrozenBytesChanged, FrozenError
from embedfreeze.frozen import FrozenVariable, frozen_variables

__all__ = [
    "Check",
    "CheckedFunction",
    "Steps",
    "check_frozen",
    "checked_mode",
    "need_frozen_variables",
    "step_range",
    "steps_done",
]

Check = Literal["address", "deep", "off"]
Steps = int | tuple[int, int]
Owned = tuple[keras.layers.Layer | None, FrozenVariable]


def checked_mode(check: str) -> Check:
    """`check`, if it is one of the three."""
    if check not in get_args(Check):
        raise ValueError(f"check must be one of {[*get_args(Check)]}, received {check!r}")
    return check  # type: ignore[return-value]


def need_frozen_variables(model: keras.layers.Layer) -> list[Owned]:
    """The frozen variables of a model with their layers.

    Raises
    ------
    FrozenError
        It holds none, so that a check would promise what nobody looked at.
    TypeError
        It is nothing that holds variables.
    """
    if not isinstance(model, keras.layers.Layer | FrozenVariable):
        raise TypeError(
            f"only a Keras model or layer or a FrozenVariable can be checked, received "
            f"{type(model).__name__}: check embeddings with their sealed.verify(deep=...)"
        )
    found = frozen_variables(model)
    if not found:
        raise FrozenError(
            f"a model that is checked must hold a FrozenEmbedding or a FrozenVariable, received "
            f"{model.name!r} without one: build it with embedfreeze.FrozenEmbedding(...)"
        )
    return found


def step_range(first: int, last: int) -> Steps:
    """The steps of one execution: a range only if it made several."""
    return last if first == last else (first, last)


def steps_done(optimizer: Any) -> int:
    """How many steps an optimizer has made since it was created, over all fits and loads."""
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


def check_frozen(
    variables: Sequence[Owned], check: Check, find_steps: Callable[[], Steps] | None = None
) -> None:
    """Check variables; `find_steps` is only asked for the step when one has changed.

    Raises
    ------
    FrozenBytesChanged
        With the layer, the step, and the row and token or the block.
    """
    if check == "off":
        return
    for layer, variable in variables:
        try:
            variable.verify(deep=check == "deep")
        except FrozenBytesChanged as error:
            raise _located(error, layer, variable, find_steps and find_steps()) from error


def _located(
    error: FrozenBytesChanged,
    layer: keras.layers.Layer | None,
    variable: FrozenVariable,
    step: Steps | None,
) -> FrozenBytesChanged:
    name = variable.name if layer is None else layer.name
    when = ""
    if isinstance(step, tuple):
        when = f", found after the execution of steps {step[0]} to {step[1]}"
    elif step is not None:
        when = f", found after step {step}"
    return FrozenBytesChanged(
        f"{error} (layer {name!r}{when})",
        layer=name,
        step=step,
        row=error.row,
        token=error.token,
        block=error.block,
    )


class CheckedFunction:
    """The function that Keras calls for each execution of training steps, with a check after it.

    Parameters
    ----------
    function : callable
        What `make_train_function` made: one or, under `steps_per_execution`, several steps.
    model : keras.Model
        With a `check` attribute, looked up each time.
    """

    def __init__(self, function: Callable[[Any], Any], model: Any) -> None:
        self.function = function
        self.model = model
        self.variables = frozen_variables(model)

    def __call__(self, iterator: Any) -> Any:
        # One step is numbered afterwards, if at all. Of several only the range can be known, and
        # the last execution of an epoch may make fewer.
        several = self.model.steps_per_execution > 1
        before = steps_done(self.model.optimizer) if several else None
        logs = self.function(iterator)
        check_frozen(self.variables, self.model.check, lambda: self._steps(before))
        return logs

    def _steps(self, before: int | None) -> Steps:
        done = steps_done(self.model.optimizer)
        return done if before is None else step_range(before + 1, done)
