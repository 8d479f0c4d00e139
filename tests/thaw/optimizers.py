"""Optimizers: of Keras, with every option, and of compat.v1; in `fit`, and handed the variable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from thaw.subjects import DIM, ROWS
from thaw.trial import CAUGHT, CHANGED, REFUSED, UNCHANGED, Attempt, Trial

NAMES = [
    *("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion"),
    *("Muon", "Nadam", "RMSprop", "SGD", "ScheduleFreeAdamW"),
]
NO_PATH = f"{UNCHANGED} (AttributeError)"  # that optimizer asks for what this variable has not
ALL_UNCHANGED = {"stock": UNCHANGED, "variable": UNCHANGED, "ours": UNCHANGED}
WRAPPERS = ["LossScaleOptimizer", "MultiOptimizer"]
OPTIONS: dict[str, dict[str, Any]] = {
    "weight_decay": {"weight_decay": 0.1},
    "clipnorm": {"clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.1},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "use_ema": {"use_ema": True},
    "use_ema, ema_overwrite_frequency=2": {"use_ema": True, "ema_overwrite_frequency": 2},
    "gradient_accumulation_steps=2": {"gradient_accumulation_steps": 2},
    "loss_scale_factor": {"loss_scale_factor": 8.0},
}
V1: dict[str, Callable[[Any], Any]] = {
    "Adadelta": lambda v1: v1.AdadeltaOptimizer(0.5),
    "Adagrad": lambda v1: v1.AdagradOptimizer(0.5),
    "Adam": lambda v1: v1.AdamOptimizer(0.5),
    "Ftrl": lambda v1: v1.FtrlOptimizer(0.5),
    "GradientDescent": lambda v1: v1.GradientDescentOptimizer(0.5),
    "Momentum": lambda v1: v1.MomentumOptimizer(0.5, 0.9),
    "ProximalAdagrad": lambda v1: v1.ProximalAdagradOptimizer(0.5),
    "ProximalGradientDescent": lambda v1: v1.ProximalGradientDescentOptimizer(0.5),
    "RMSProp": lambda v1: v1.RMSPropOptimizer(0.5),
}


def made(name: str, **options: Any) -> keras.optimizers.Optimizer:
    return getattr(keras.optimizers, name)(0.5, **options)


def wrapped(name: str) -> keras.optimizers.Optimizer:
    if name == "LossScaleOptimizer":
        return keras.optimizers.LossScaleOptimizer(made("SGD"), initial_scale=8.0)
    others = {"words.*": made("Adam", weight_decay=0.1)}
    optimizer_map = keras.optimizers.OptimizerMap(made("SGD"))
    for key, optimizer in others.items():
        optimizer_map[key] = optimizer
    return keras.optimizers.MultiOptimizer(optimizer_map)


def gradient() -> Any:
    return tf.ones((ROWS, DIM))


def rows_gradient() -> Any:
    return tf.IndexedSlices(tf.ones((2, DIM)), tf.constant([0, 1]), tf.constant([ROWS, DIM]))


def applied(
    make: Callable[[], Any], grown: Callable[[], Any] = gradient
) -> Callable[[Trial], None]:
    """Each step hands an optimizer, built for the variable, a gradient of it."""

    def act(trial: Trial) -> None:
        optimizer = make()
        optimizer.build([trial.variable])
        trial.inside(lambda: optimizer.apply([grown()], [trial.variable]))

    return act


def applied_unknown(trial: Trial) -> None:
    """An optimizer that was built for the trainable variables alone."""
    optimizer = made("SGD")
    optimizer.build(trial.model.trainable_variables)
    trial.inside(lambda: optimizer.apply([gradient()], [trial.variable]))


def built_on_all(make: Callable[[], Any]) -> Callable[[Trial], None]:
    """A model is trained with an optimizer that was built for all of its variables."""

    def act(trial: Trial) -> None:
        optimizer = make()
        optimizer.build([*trial.model.trainable_variables, trial.variable])
        trial.train(optimizer=optimizer)

    return act


def applied_v1(
    make: Callable[[Any], Any], name: str, grown: Callable[[], Any] = gradient
) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        optimizer, variable = make(tf.compat.v1.train), getattr(trial, name)
        trial.inside(lambda: optimizer.apply_gradients([(grown(), variable)]))

    return act


FITTED = [
    *(
        Attempt(
            f"`fit` with `{name}`",
            lambda trial, name=name: trial.train(optimizer=made(name)),
            **ALL_UNCHANGED,
        )
        for name in NAMES
    ),
    *(
        Attempt(
            f"`fit` with `{name}`",
            lambda trial, name=name: trial.train(optimizer=wrapped(name)),
            **ALL_UNCHANGED,
        )
        for name in WRAPPERS
    ),
    *(
        Attempt(
            f"`fit` with `Adam`, {title}",
            lambda trial, options=options: trial.train(optimizer=made("Adam", **options)),
            **ALL_UNCHANGED,
        )
        for title, options in OPTIONS.items()
    ),
]
APPLIED = [
    *(
        Attempt(
            f"`{name}.apply([gradient], [variable])`",
            applied(lambda name=name: made(name)),
            variable=NO_PATH if name == "Muon" else CHANGED,
        )
        for name in NAMES
    ),
    *(
        Attempt(
            f"`{name}.apply([gradient], [variable])`",
            applied(lambda name=name: wrapped(name)),
            variable=NO_PATH if name == "MultiOptimizer" else CHANGED,
        )
        for name in WRAPPERS
    ),
    *(
        Attempt(
            f"`Adam.apply([gradient], [variable])`, {title}",
            applied(lambda options=options: made("Adam", **options)),
        )
        for title, options in OPTIONS.items()
    ),
    *(
        Attempt(
            f"`{name}.apply` of the gradient of some rows",
            applied(lambda name=name: made(name), rows_gradient),
        )
        for name in ("Adam", "SGD")
    ),
]
NOT_JIT = {"jit": UNCHANGED, "": CHANGED}  # compiled, Keras leaves the averages where they are
OVERWRITTEN = {"stock": NOT_JIT, "variable": NOT_JIT}
BUILT = [
    Attempt(
        f"`Adam.build` with the variable among those of the model, then `fit`, {title}",
        built_on_all(lambda options=options: made("Adam", **options)),
        **(OVERWRITTEN if "ema_overwrite_frequency" in title else ALL_UNCHANGED),
    )
    for title, options in {"no options": {}, **OPTIONS}.items()
]
# In eager mode these two ask for the handle alone, and Adagrad first for the base of a dtype.
ASKS_HANDLE = {
    "stock": {"eager": CHANGED, "": NO_PATH},
    "ours": {"eager": CAUGHT, "": REFUSED},
}
GIVEN_KERAS: dict[str, dict[str, Any]] = {
    "GradientDescent": ASKS_HANDLE,
    "ProximalGradientDescent": ASKS_HANDLE,
    "Adagrad": {"stock": NO_PATH, "ours": {"eager": NO_PATH, "": REFUSED}},
}
COMPAT = [
    *(
        Attempt(
            f"`tf.compat.v1.train.{name}Optimizer`, given the `tf.Variable`",
            applied_v1(make, "tf_variable"),
            ours=CAUGHT,
        )
        for name, make in V1.items()
    ),
    *(
        Attempt(
            f"`tf.compat.v1.train.{name}Optimizer`, given the variable of Keras",
            applied_v1(make, "variable"),
            **GIVEN_KERAS.get(name, {"stock": NO_PATH}),
        )
        for name, make in V1.items()
    ),
    *(
        Attempt(
            f"`tf.compat.v1.train.{name}Optimizer`, given the gradient of some rows",
            applied_v1(V1[name], "tf_variable", rows_gradient),
            ours=ours,
        )
        for name, ours in (("Adam", REFUSED), ("GradientDescent", CAUGHT))
    ),
]
UNKNOWN = f"{UNCHANGED} (ValueError)"
OTHERS = [
    Attempt(
        "`SGD.apply([gradient], [variable])`, built for other variables",
        applied_unknown,
        *(UNKNOWN, UNKNOWN, UNKNOWN),
        note="Keras says so of every variable that an optimizer was not built for",
    ),
]
ATTEMPTS = [*FITTED, *APPLIED, *BUILT, *COMPAT, *OTHERS]
