"""Attributes of layers and variables, private ones too, that are set to something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from embedfreeze.sealed import seal_array
from thaw.layers import ATTRIBUTE_ERROR, of_error, then_train
from thaw.subjects import IDS, OTHER
from thaw.trial import CAUGHT, CHANGED, UNCHANGED, Attempt, Trial

Act = Callable[[Trial], None]


def _attribute(trial: Trial) -> str:
    return "_embeddings" if trial.subject.kind == "stock" else "table"


def attribute_set(trial: Trial) -> None:
    setattr(trial.layer, _attribute(trial), tf.Variable(OTHER))


def attribute_added_to(trial: Trial) -> None:
    trial.layer.table += 1


def dictionary_set(trial: Trial) -> None:
    vars(trial.layer)[_attribute(trial)] = tf.Variable(OTHER)


def attribute_deleted(trial: Trial) -> None:
    delattr(trial.layer, _attribute(trial))


def value_set(trial: Trial) -> None:
    trial.variable._value = tf.Variable(OTHER)


def value_in_the_dictionary(trial: Trial) -> None:
    vars(trial.variable)["_value"] = tf.Variable(OTHER)


def initialized_anew(trial: Trial) -> None:
    trial.variable._initialize(tf.Variable(OTHER))


def made_anew(trial: Trial) -> None:
    source = seal_array(OTHER) if trial.subject.ours else OTHER
    trial.variable.__init__(source)


def handle_set(trial: Trial) -> None:
    other = tf.Variable(OTHER)
    trial.subject.also.append(trial.model)
    vars(trial.tf_variable)["kept"] = other
    trial.tf_variable._handle = other.handle


def untracked(trial: Trial) -> None:
    """Take the variable off every list of the layer, and write to it."""
    for names in ("_trainable_variables", "_non_trainable_variables"):
        getattr(trial.layer, names).clear()
    tf.raw_ops.AssignVariableOp(resource=trial.handle, value=OTHER)


def during(change: Callable[[Trial], object]) -> Act:
    return lambda trial: trial.during(lambda: change(trial))


def stateless(trial: Trial) -> None:
    """Values for the variables of one call: does the table that it looks up in differ?"""
    model = trial.model
    frozen = [OTHER if v is trial.variable else v.value for v in model.non_trainable_variables]
    found, _ = model.stateless_call([v.value for v in model.trainable_variables], frozen, IDS)
    trial.subject.differs = found.numpy().tobytes() != np.asarray(model(IDS)).tobytes()


# A traced step goes on with the variable that it was traced with.
GONE_LATER = {"eager": f"{CHANGED} (AttributeError)", "": CHANGED}
GONE: dict[Any, dict[str, Any]] = {
    then_train: dict.fromkeys(("stock", "variable"), f"{CHANGED} (AttributeError)"),
    during: {"stock": GONE_LATER, "variable": GONE_LATER},
}
ANEW: dict[Any, dict[str, Any]] = {
    then_train: {},
    during: {"stock": {"eager": f"{CHANGED} (ValueError)", "": CHANGED}},
}
ATTEMPTS = [
    *(
        Attempt(f"{title}{when}", how(change), **expected)
        for when, how in ((", before `fit`", then_train), (", in a callback", during))
        for title, change, expected in (
            ("the layer's attribute set to another variable", attribute_set, {}),
            (
                "`layer.table += 1`",
                attribute_added_to,
                {"stock": ATTRIBUTE_ERROR, "variable": of_error("RuntimeError")},
            ),
            ("the layer's attribute deleted", attribute_deleted, GONE[how]),
            ("`vars(layer)` given another variable", dictionary_set, {"ours": UNCHANGED}),
            ("`variable._value` set", value_set, {"variable": UNCHANGED, "ours": CAUGHT}),
            (
                "`vars(variable)['_value']` set",
                value_in_the_dictionary,
                {"variable": UNCHANGED, "ours": CAUGHT},
            ),
            ("`variable._initialize(other)`", initialized_anew, {"variable": ATTRIBUTE_ERROR}),
            ("`variable.__init__(other)`", made_anew, ANEW[how]),
            ("`variable.value._handle` set", handle_set, {"ours": CAUGHT}),
            ("taken off the lists of the layer, and written to", untracked, {"ours": CAUGHT}),
        )
    ),
    Attempt("`stateless_call` with other values", stateless, variable=UNCHANGED, ours=UNCHANGED),
]
