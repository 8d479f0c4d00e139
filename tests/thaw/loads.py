"""Weights that are set, loaded and restored, and callbacks that do so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from thaw import subjects
from thaw.subjects import IDS, LABELS, OTHER
from thaw.trial import CHANGED, UNCHANGED, Attempt, Trial

Load = Callable[[Trial], object]


def other_model(trial: Trial) -> keras.Model:
    """The same model over another table, made of a stock layer or of ours."""
    kind, folder = trial.subject.kind, trial.subject.folder
    if kind == "ours":
        table = subjects.AlignedEmbeddings(subjects.seal_array(OTHER), subjects.VOCABULARY)
        return subjects.network(kind, subjects.FrozenEmbedding(table, name="words"))
    layer = subjects.words(kind, folder)
    model = subjects.network(kind, layer)
    (layer.table if kind == "variable" else layer.embeddings).assign(OTHER)
    return model


def trained_then(load: Load) -> Callable[[Trial], None]:
    """Train, load between two `fit`, train on."""

    def act(trial: Trial) -> None:
        trial.train()
        load(trial)
        trial.fit()

    return act


def in_training(load: Load) -> Callable[[Trial], None]:
    return lambda trial: trial.during(lambda: load(trial))


def set_equal(trial: Trial) -> None:
    trial.model.set_weights([weight.copy() for weight in trial.model.get_weights()])


def set_other(trial: Trial) -> None:
    trial.layer.set_weights([OTHER])


def set_all(trial: Trial) -> None:
    trial.model.set_weights([weight * 2 + 1 for weight in trial.model.get_weights()])


def set_another_shape(trial: Trial) -> None:
    trial.layer.set_weights([OTHER[:5]])


def load_equal(trial: Trial) -> None:
    path = trial.subject.folder / "equal.weights.h5"
    trial.model.save_weights(path)
    trial.model.load_weights(path)


def load_other(trial: Trial, **options: Any) -> None:
    path = trial.subject.folder / "other.weights.h5"
    other_model(trial).save_weights(path)
    trial.model.load_weights(path, **options)


def load_skipping(trial: Trial) -> None:
    load_other(trial, skip_mismatch=True)


def load_of_a_stock_model(trial: Trial) -> None:
    """Weights that a stock layer saved, other values among them."""
    folder = trial.subject.folder
    path = folder / "stock.weights.h5"
    layer = subjects.words("stock", folder)
    stock = subjects.network("stock", layer)
    layer.set_weights([OTHER])
    stock.save_weights(path)
    trial.model.load_weights(path)


def reload_model(trial: Trial) -> None:
    path = trial.subject.folder / "model.keras"
    trial.model.save(path)
    trial.subject.also.append(keras.saving.load_model(path))


def restored(other: bool) -> Load:
    def load(trial: Trial) -> None:
        model = other_model(trial) if other else trial.model
        path = tf.train.Checkpoint(model=model).save(trial.subject.folder / "checkpoint")
        tf.train.Checkpoint(model=trial.model).restore(path).expect_partial()

    return load


def restored_variable(trial: Trial) -> None:
    """A checkpoint of the variable alone, written by an ordinary variable."""
    path = tf.train.Checkpoint(v=tf.Variable(OTHER)).save(trial.subject.folder / "variable")
    tf.train.Checkpoint(v=trial.tf_variable).restore(path)


def restored_late(trial: Trial) -> None:
    """Asked for first, carried out when the variable is attached."""
    path = tf.train.Checkpoint(v=tf.Variable(OTHER)).save(trial.subject.folder / "variable")
    checkpoint = tf.train.Checkpoint()
    checkpoint.restore(path)
    checkpoint.v = trial.variable


def early_stopping(trial: Trial) -> None:
    stop = keras.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True)
    trial.compile(optimizer=keras.optimizers.SGD(5.0))
    trial.fit(stop, epochs=4)
    assert stop.stopped_epoch


def backup(trial: Trial) -> None:
    """Training dies, and goes on in a second `fit` from the backup."""

    def die(epoch: int, logs: Any = None) -> None:
        raise KeyboardInterrupt

    folder = trial.subject.folder / "backup"
    dying = keras.callbacks.LambdaCallback(on_epoch_end=die)
    try:
        trial.train(keras.callbacks.BackupAndRestore(folder, save_freq=5), dying)
    except KeyboardInterrupt:
        trial.fit(keras.callbacks.BackupAndRestore(folder), epochs=2)
        return
    raise AssertionError("the training did not die")


def checkpointed(name: str, **options: Any) -> Load:
    def act(trial: Trial) -> None:
        path = trial.subject.folder / name
        trial.train(keras.callbacks.ModelCheckpoint(path, **options))
        if options.get("save_weights_only"):
            trial.model.load_weights(path)
        else:
            trial.subject.also.append(keras.saving.load_model(path))

    return act


def averaged(build_on_all: bool) -> Load:
    def act(trial: Trial) -> None:
        optimizer = keras.optimizers.SGD(0.1, use_ema=True)
        if build_on_all:
            optimizer.build([*trial.model.trainable_variables, trial.variable])
        trial.compile(optimizer=optimizer)
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        trial.fit(swap, epochs=2, validation_data=(IDS, LABELS))

    return act


def saved_model(trial: Trial) -> None:
    """A SavedModel is loaded, and its variables are written to: they are copies."""
    path = str(trial.subject.folder / "saved")
    trial.model.export(path, verbose=False)
    loaded = tf.saved_model.load(path)
    for variable in loaded.variables:
        variable.assign(np.zeros(variable.shape, variable.dtype.as_numpy_dtype))


def _all(outcome: str) -> dict[str, str]:
    return {"stock": outcome, "variable": outcome, "ours": outcome}


NOT_JIT = {"jit": UNCHANGED, "": CHANGED}  # compiled, Keras leaves the averages where they are
VALUE_ERROR = f"{UNCHANGED} (ValueError)"
SAME = _all(UNCHANGED)
# Keras does not know a bare `tf.Variable`: it neither saves nor loads it.
UNKNOWN = {"variable": UNCHANGED}
SET: dict[str, tuple[Load, dict[str, str]]] = {
    "`set_weights` of equal bytes": (set_equal, SAME),
    "`set_weights` of other bytes": (set_all, UNKNOWN),
    "`layer.set_weights` of other bytes": (set_other, {"variable": VALUE_ERROR}),
    "`load_weights` of equal bytes": (load_equal, SAME),
    "`load_weights` of other bytes": (load_other, UNKNOWN),
    "`load_weights` of a stock layer": (load_of_a_stock_model, UNKNOWN),
    "`load_weights(skip_mismatch=True)` of other bytes": (
        load_skipping,
        {**UNKNOWN, "ours": UNCHANGED},
    ),
    "`tf.train.Checkpoint.restore` of equal bytes": (restored(False), SAME),
    "`tf.train.Checkpoint.restore` of other bytes": (restored(True), {}),
    "`restore` of other bytes into the variable alone": (restored_variable, {}),
    "`restore` of other bytes, deferred": (restored_late, {}),
}
LOADED = [
    *(Attempt(title, trained_then(load), **expected) for title, (load, expected) in SET.items()),
    *(
        Attempt(f"{title}, in a callback", in_training(load), **expected)
        for title, (load, expected) in SET.items()
    ),
    Attempt(
        "`layer.set_weights` of another shape",
        trained_then(set_another_shape),
        **_all(VALUE_ERROR),
        note="Keras says so of every layer",
    ),
    Attempt(
        "`save` and `keras.saving.load_model`",
        trained_then(reload_model),
        **{**SAME, "variable": CHANGED},
    ),
    Attempt("`export`, and writes to what is loaded of it", saved_model, **SAME),
]
CALLBACKS = [
    Attempt("`EarlyStopping(restore_best_weights=True)`", early_stopping, **SAME),
    Attempt("`BackupAndRestore`, after training died", backup, **SAME),
    Attempt(
        "`ModelCheckpoint` of models", checkpointed("m.keras"), **{**SAME, "variable": CHANGED}
    ),
    Attempt(
        "`ModelCheckpoint` of weights",
        checkpointed("m.weights.h5", save_weights_only=True),
        **SAME,
    ),
    Attempt("`SwapEMAWeights`", averaged(False), **SAME),
    Attempt(
        "`SwapEMAWeights`, optimizer built on all variables",
        averaged(True),
        stock=NOT_JIT,
        variable=NOT_JIT,
    ),
]
ATTEMPTS = [*LOADED, *CALLBACKS]
