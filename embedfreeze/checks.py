"""The check after a training step: it runs outside the graph, so jit and graphs cannot skip it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

from embedfreeze.backend import keras
from embedfreeze.errors import FrozenBytesChanged, FrozenError
from embedfreeze.frozen import FrozenEmbedding, FrozenVariable, frozen_variables
from embedfreeze.modelinputs import telling_rows
from embedfreeze.proof import FreezeProof, TableProof

__all__ = [
    "Check",
    "CheckedFunction",
    "StepCounter",
    "Steps",
    "check_frozen",
    "checked_mode",
    "need_frozen_variables",
    "proof_of",
    "retracing",
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


class StepCounter:
    """Counts the training steps that were checked.

    Parameters
    ----------
    model : keras.Model
        Its optimizer tells how many steps an execution made.
    checked : int
        To begin with.

    Attributes
    ----------
    checked : int
        Steps whose execution ended and was checked.
    """

    def __init__(self, model: keras.Model, checked: int = 0) -> None:
        self.checked = checked
        self._model = model
        self._before: int | None = None

    def begin(self) -> None:
        """Before an execution."""
        several = self._model.steps_per_execution > 1
        self._before = steps_done(self._model.optimizer) if several else None

    def made(self) -> int:
        """The steps of the execution that just ended: the last one of an epoch may make fewer.

        A model with a step of its own may have no optimizer that counts, and one that scales the
        loss counts no step whose gradients overflow: then it is as many as there should be.
        """
        if self._before is None:
            return 1
        nominal = self._model.steps_per_execution
        if hasattr(self._model.optimizer, "inner_optimizer"):
            return int(nominal)
        return steps_done(self._model.optimizer) - self._before or int(nominal)

    def end(self) -> None:
        """After an execution that was checked."""
        self.checked += self.made()


def steps_done(optimizer: Any) -> int:
    """How many steps an optimizer has made since it was created, over all fits and loads.

    Each batch is one, also where gradients are accumulated over several before they are applied,
    which is what the optimizer's `iterations` counts.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    steps: Any = keras.ops.convert_to_numpy(getattr(optimizer, "_iterations", 0))
    return int(steps)


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


@contextmanager
def retracing(model: keras.Model) -> Iterator[None]:
    """A model whose traced functions would write to a frozen variable does not keep them.

    They are traced, and searched, again when it is run again.
    """
    try:
        yield
    except FrozenError:
        model.train_function = model.test_function = model.predict_function = None
        raise


class CheckedFunction:
    """A function that Keras calls for each execution of steps, with a check after it.

    Parameters
    ----------
    function : callable
        What Keras made: one or, under `steps_per_execution`, several steps of training,
        evaluation or prediction.
    model : keras.Model
        With a `check` attribute, looked up each time.
    counter : StepCounter, optional
        Of training steps.
    """

    def __init__(self, function: Any, model: Any, counter: StepCounter | None = None) -> None:
        self.function = function
        self.model = model
        self.counter = counter
        self.variables = frozen_variables(model)

    def __call__(self, data: Any) -> Any:
        counter = self.counter
        if counter is None:
            with telling_rows(self.variables):
                result = self.function(data)
            with retracing(self.model):
                check_frozen(self.variables, self.model.check)
            return result
        counter.begin()
        with telling_rows(self.variables):
            result = self.function(data)
        with retracing(self.model):
            check_frozen(self.variables, self.model.check, lambda: self._steps(counter.made()))
        if self.model.check != "off":
            counter.end()
        return result

    def _steps(self, made: int) -> Steps:
        done = steps_done(self.model.optimizer)
        return step_range(done + 1 - made, done)


def proof_of(name: str, variables: Sequence[Owned], deep: bool, steps: int = 0) -> FreezeProof:
    """What was found of variables that were just checked."""
    tables = []
    for layer, variable in variables:
        held = TableProof.of(
            layer and layer.name, variable.tf_variable.table, "deep" if deep else variable.how
        )
        trained = len(layer.open_rows) if isinstance(layer, FrozenEmbedding) else 0
        tables.append(
            held.at(variable.sealed.address, trained)
            if variable.how == "address"
            else held.copied_to(variable.device, trained)
        )
    return FreezeProof(name, tuple(tables), steps)
