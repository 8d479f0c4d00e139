"""Clones, copies and pickles of models, layers and variables."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import keras

from thaw import subjects
from thaw.subjects import OTHER, Subject
from thaw.trial import UNCHANGED, Attempt, Trial

Load = Callable[[Trial], object]


def cloned(trial: Trial) -> None:
    trial.subject.also.append(keras.models.clone_model(trial.model))


def from_config(trial: Trial) -> None:
    model = trial.model
    trial.subject.also.append(type(model).from_config(model.get_config()))


def from_json(trial: Trial) -> None:
    trial.subject.also.append(keras.models.model_from_json(trial.model.to_json()))


def layer_from_config(trial: Trial) -> None:
    kind, layer = trial.subject.kind, trial.layer
    again = subjects.network(kind, type(layer).from_config(layer.get_config()))
    trial.subject.also.append(again)


def copied(make: Callable[[Any], Any]) -> Load:
    return lambda trial: trial.subject.also.append(make(trial.model))


def layer_copied(make: Callable[[Any], Any]) -> Load:
    """A model over a copy of the layer, trained with `trainable = True`."""

    def act(trial: Trial) -> None:
        kind = trial.subject.kind
        trial.subject = Subject(
            kind, subjects.network(kind, make(trial.layer)), trial.subject.folder
        )
        trial.layer.trainable = True
        trial.train()

    return act


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def variable_copied(make: Callable[[Any], Any]) -> Load:
    """Write to a copy of the variable."""
    return lambda trial: make(trial.variable).assign(OTHER)


LOST = {"stock": UNCHANGED, "ours": UNCHANGED}
ATTEMPTS = [
    Attempt("`clone_model`", cloned, ours=UNCHANGED),
    Attempt("`from_config(model.get_config())`", from_config, ours=UNCHANGED),
    Attempt("`model_from_json(model.to_json())`", from_json, ours=UNCHANGED),
    Attempt("`from_config(layer.get_config())`", layer_from_config, ours=UNCHANGED),
    Attempt("pickling the model", copied(pickled), **LOST),
    Attempt("`copy.copy(model)`", copied(copy.copy), **LOST),
    Attempt("`copy.deepcopy(model)`", copied(copy.deepcopy), **LOST),
    Attempt("pickling the layer, and `trainable = True`", layer_copied(pickled), ours=UNCHANGED),
    Attempt("`copy.copy(layer)`, and `trainable = True`", layer_copied(copy.copy), ours=UNCHANGED),
    Attempt(
        "`copy.deepcopy(layer)`, and `trainable = True`",
        layer_copied(copy.deepcopy),
        ours=UNCHANGED,
    ),
    Attempt(
        "pickling the variable, and `assign`",
        variable_copied(pickled),
        stock=UNCHANGED,
        variable=UNCHANGED,
    ),
    Attempt("`copy.copy(variable)`, and `assign`", variable_copied(copy.copy)),
    Attempt(
        "`copy.deepcopy(variable)`, and `assign`",
        variable_copied(copy.deepcopy),
        stock=UNCHANGED,
        variable=UNCHANGED,
    ),
]
