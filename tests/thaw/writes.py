"""Writes: every way to assign, in the training step, and every operation on the handle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from thaw.subjects import DIM, MATRIX, OTHER, ROWS
from thaw.trial import CAUGHT, REFUSED, UNCHANGED, Attempt, Trial

Write = Callable[[Trial], object]
OPTIMIZER = keras.optimizers.SGD()
EAGER = type(tf.Variable(0.0))
SCATTERS = ["add", "div", "max", "min", "mul", "sub", "update"]
SCATTERS_ND = ["add", "max", "min", "sub", "update"]
V1_REFUSED = ["assign", "assign_add", "assign_sub"]
V1_SCATTERS = [f"scatter_{kind}" for kind in SCATTERS]
V1_SCATTERS_ND = [f"scatter_nd_{kind}" for kind in ("add", "sub", "update")]
WRITING = (
    *("AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp"),
    *("AssignVariableXlaConcatND", "DestroyResourceOp", "ResourceApply", "ResourceScatter"),
    *("ResourceSparseApply", "ResourceStridedSliceAssign"),
)


def in_each_step(write: Write) -> Callable[[Trial], None]:
    return lambda trial: trial.inside(lambda: write(trial))


def from_a_callback(write: Write) -> Callable[[Trial], None]:
    return lambda trial: trial.during(lambda: write(trial))


def some_rows(value: float = 9.0) -> Any:
    return tf.IndexedSlices(tf.fill((2, DIM), value), tf.constant([0, 1]))


def scattered(kind: str) -> Callable[[Trial], None]:
    rows = some_rows(-9.0 if kind == "min" else 9.0)
    return in_each_step(lambda trial: getattr(trial.tf_variable, f"scatter_{kind}")(rows))


def scattered_nd(kind: str) -> Callable[[Trial], None]:
    def write(trial: Trial) -> object:
        scatter = getattr(trial.tf_variable, f"scatter_nd_{kind}")
        return scatter([[0]], tf.fill((1, DIM), -9.0 if kind == "min" else 9.0))

    return in_each_step(write)


KERAS: dict[str, Write] = {
    "`variable.assign(other)`": lambda trial: trial.variable.assign(OTHER),
    "`variable.assign_add(other)`": lambda trial: trial.variable.assign_add(OTHER),
    "`variable.assign_sub(other)`": lambda trial: trial.variable.assign_sub(OTHER),
    "`variable.assign(variable * 2)`": lambda trial: trial.variable.assign(trial.variable * 2),
}
TENSORFLOW: dict[str, Write] = {
    "`variable.value.assign(other)`": lambda trial: trial.tf_variable.assign(OTHER),
    "`variable.value.assign_add(other)`": lambda trial: trial.tf_variable.assign_add(OTHER),
    "`variable.value.assign_sub(other)`": lambda trial: trial.tf_variable.assign_sub(OTHER),
    "`variable.value[0].assign(row)`": lambda trial: trial.tf_variable[0].assign(OTHER[0]),
    "`variable.value.batch_scatter_update`": lambda trial: trial.tf_variable.batch_scatter_update(
        some_rows()
    ),
}
# What the class of the variable would do, called past its refusals.
PAST: dict[str, Write] = {
    "`keras.Variable.assign(variable, other)`": lambda trial: keras.Variable.assign(
        trial.variable, OTHER
    ),
    "`keras.Variable._direct_assign(variable, other)`": lambda trial: keras.Variable._direct_assign(
        trial.variable, OTHER
    ),
}
KERAS_EQUAL: dict[str, Write] = {
    "`variable.assign` of equal bytes": lambda trial: trial.variable.assign(MATRIX),
    "`variable.value.assign` of equal bytes": lambda trial: trial.tf_variable.assign(MATRIX),
}


def assigned_by_type(trial: Trial) -> object:
    """As the class of every eager variable does it."""
    return EAGER.assign(trial.tf_variable, OTHER)


def loaded(trial: Trial) -> object:
    return trial.tf_variable.load(OTHER, session=None)


def optimizer_assigns(trial: Trial) -> object:
    return OPTIMIZER.assign(trial.variable, OTHER)


def over_it(trial: Trial) -> None:
    """Another variable of Keras, a trainable one, over the same variable of TensorFlow."""
    other = keras.Variable(trial.tf_variable)
    assert other.trainable
    trial.inside(lambda: other.assign(OTHER))


def by_v1(name: str) -> Write:
    """A function of `tf.compat.v1` that takes a variable."""
    function = getattr(tf.compat.v1, name)
    filled = -9.0 if name.endswith("min") else 9.0

    def write(trial: Trial) -> object:
        if name.startswith("assign"):
            return function(trial.tf_variable, OTHER)
        indices = [[0], [1]] if "_nd_" in name else [0, 1]
        return function(trial.tf_variable, indices, tf.fill((2, DIM), filled))

    return write


def raw_names() -> list[str]:
    """Every operation that TensorFlow has to write to a variable of floats by its handle."""
    return [name for name in dir(tf.raw_ops) if name.startswith(WRITING)]


def raw(name: str) -> Callable[[Trial], None]:
    """An operation on the handle, in each step; its other variables are made before."""

    def act(trial: Trial) -> None:
        definition = op_def_registry.get(name)
        first, *others = definition.input_arg
        arguments: dict[str, Any] = {}
        for argument in others:
            arguments[argument.name] = _argument(name, argument)
        slots = {key: v for key, v in arguments.items() if isinstance(v, tf.Variable)}

        def write() -> None:
            handles = {key: slot.handle for key, slot in slots.items()}
            options = {**_attributes(name), **arguments, **handles, first.name: trial.handle}
            getattr(tf.raw_ops, name)(**options)

        trial.inside(write)

    return act


def _attributes(name: str) -> Mapping[str, Any]:
    return {"num_concats": [1, 1]} if name == "AssignVariableXlaConcatND" else {}


def _argument(operation: str, argument: Any) -> Any:
    """A value for an input of an operation: of the size it needs, and one that changes rows."""
    sparse = "Sparse" in operation or "Scatter" in operation
    if argument.type == tf.resource.as_datatype_enum:
        return tf.Variable(tf.fill((ROWS, DIM), 0.5), trainable=False)
    if argument.name in ("grad", "delta", "value", "updates"):
        if operation == "ResourceStridedSliceAssign":
            return tf.fill((1, DIM), 9.0)
        filled = -9.0 if "Min" in operation else 9.0
        return tf.fill((2, DIM) if sparse else (ROWS, DIM), filled)
    fixed = {
        "indices": tf.constant([[0], [1]] if "Nd" in operation else [0, 1]),
        "global_step": tf.constant(1, tf.int64),
        "begin": tf.constant([0, 0]),
        "end": tf.constant([1, DIM]),
        "strides": tf.constant([1, 1]),
        "inputs": [tf.constant(OTHER)],
        "lr_power": tf.constant(-0.5),
    }
    return fixed.get(argument.name, tf.constant(0.5))


NOT_EAGER = {"eager": UNCHANGED, "": REFUSED}
NO_XLA: dict[str, Any] = {"runs": ("eager", "graph"), "note": "XLA has no such operation"}
ASSIGNED = [
    *(Attempt(title, in_each_step(write)) for title, write in {**KERAS, **TENSORFLOW}.items()),
    *(Attempt(f"{title}, in a callback", from_a_callback(KERAS[title])) for title in KERAS),
    *(
        Attempt(title, in_each_step(write), variable=f"{UNCHANGED} (AttributeError)")
        for title, write in PAST.items()
    ),
    Attempt(
        "`ResourceVariable.assign(variable, other)`", in_each_step(assigned_by_type), ours=CAUGHT
    ),
    Attempt("`variable.value.load(other, session)`", from_a_callback(loaded)),
    *(
        Attempt(title, from_a_callback(write), UNCHANGED, UNCHANGED, UNCHANGED)
        for title, write in KERAS_EQUAL.items()
    ),
]
SCATTERED = [
    *(Attempt(f"`variable.value.scatter_{kind}`", scattered(kind)) for kind in SCATTERS),
    *(
        Attempt(
            f"`variable.value.scatter_nd_{kind}`",
            scattered_nd(kind),
            **(NO_XLA if kind in ("max", "min") else {}),
        )
        for kind in SCATTERS_ND
    ),
]
SPECIAL: dict[str, dict[str, Any]] = {
    "AssignVariableXlaConcatND": {"runs": ("jit",), "note": "only XLA has it"},
    "DestroyResourceOp": {"stock": UNCHANGED, "variable": UNCHANGED, "ours": NOT_EAGER, **NO_XLA},
    "ResourceApplyAdamWithAmsgrad": NO_XLA,
    "ResourceScatterNdMax": NO_XLA,
    "ResourceScatterNdMin": NO_XLA,
}


def special(name: str) -> dict[str, Any]:
    """What is known of an operation, beside that it writes."""
    return SPECIAL.get(name, NO_XLA if name.startswith("ResourceSparseApply") else {})


RAW = [
    Attempt(f"`tf.raw_ops.{name}`", raw(name), **{"ours": CAUGHT, **special(name)})
    for name in raw_names()
]
V1 = [
    Attempt("`optimizer.assign(variable, other)`", in_each_step(optimizer_assigns)),
    *(
        Attempt(f"`tf.compat.v1.{name}`", in_each_step(by_v1(name)), ours=ours)
        for ours, names in ((REFUSED, V1_REFUSED), (CAUGHT, [*V1_SCATTERS, *V1_SCATTERS_ND]))
        for name in names
    ),
    Attempt("another `keras.Variable` over the `tf.Variable`, and `assign`", over_it),
]
ATTEMPTS = [*ASSIGNED, *SCATTERED, *RAW, *V1]
