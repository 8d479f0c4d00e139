"""Switches called `trainable`, and tapes and steps of the user's own that name the variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from thaw import subjects
from thaw.subjects import IDS, LABELS
from thaw.trial import CHANGED, REFUSED, UNCHANGED, Attempt, Trial

Switch = Callable[[Trial], object]
SAME = {"stock": UNCHANGED, "variable": UNCHANGED, "ours": UNCHANGED}


def off_and_on(trial: Trial) -> None:
    trial.model.trainable = False
    trial.model.trainable = True


def layer_on(trial: Trial) -> None:
    trial.layer.trainable = True


def each_layer_on(trial: Trial) -> None:
    for layer in trial.model.layers:
        layer.trainable = True


def variable_on(trial: Trial) -> None:
    trial.variable.trainable = True


def private_on(trial: Trial) -> None:
    """Behind the properties: what Keras and TensorFlow keep it in."""
    trial.layer._trainable = True
    vars(trial.variable)["_trainable"] = True
    vars(trial.tf_variable)["_trainable"] = True


def property_on(trial: Trial) -> None:
    keras.Variable.trainable.fset(trial.variable, True)


SWITCHES: dict[str, Switch] = {
    "`model.trainable = False`, then `True` (as GANs do)": off_and_on,
    "`layer.trainable = True`": layer_on,
    "`layer.trainable = True` for each layer": each_layer_on,
    "`variable.trainable = True`": variable_on,
    "`keras.Variable.trainable.fset(variable, True)`": property_on,
    "`_trainable = True` in layer and variables": private_on,
}


def before_compile(switch: Switch) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        switch(trial)
        trial.train(optimizer=keras.optimizers.AdamW(0.1, weight_decay=0.1))

    return act


def between_fits(switch: Switch) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        trial.train()
        switch(trial)
        trial.train()

    return act


def in_a_callback(switch: Switch) -> Callable[[Trial], None]:
    """Inside of `fit`, and on in the next `fit`."""

    def act(trial: Trial) -> None:
        trial.during(lambda: switch(trial))
        trial.train()

    return act


def made_trainable(trial: Trial) -> None:
    trial.again(trainable=True)
    trial.train()


def inside_a_larger_model(trial: Trial) -> None:
    trial.model.trainable = False
    outer = keras.Sequential([keras.Input((3,), dtype="int32"), trial.model])
    outer.trainable = True
    outer.compile("sgd", "mse")
    outer.fit(IDS, LABELS, verbose=0)


def unfrozen_by_its_class(trial: Trial) -> None:
    """A subclass that always says it is trainable."""
    kind, folder = trial.subject.kind, trial.subject.folder
    layer = subjects.words(kind, folder)
    layer.__class__ = type(
        "Thawed", (type(layer),), {"trainable": property(lambda _: True, lambda *_: None)}
    )
    for variable in layer.weights:
        variable.trainable = True
    trial.subject = subjects.Subject(kind, subjects.network(kind, layer), folder)
    trial.train()


def regularized(trial: Trial) -> None:
    """A freeze by `tf.stop_gradient` alone: whatever is not a gradient goes on."""
    if trial.subject.kind == "stock":
        trial.again(trainable=True, embeddings_regularizer=keras.regularizers.L2(0.1))
    else:
        trial.layer.trainable = True
    stopped = keras.layers.Lambda(tf.stop_gradient, output_shape=lambda shape: shape)
    entry = keras.Input((3,), dtype="int32")
    pooled = keras.layers.GlobalAveragePooling1D()(stopped(trial.layer(entry)))
    model = keras.Model(entry, keras.layers.Dense(1)(pooled))
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.1), "mse")
    model.fit(IDS, LABELS, verbose=0)


def with_a(name: str, value: Any) -> Callable[[Trial], None]:
    """Set a regularizer or a constraint on the variable, and train."""

    def act(trial: Trial) -> None:
        setattr(trial.variable, name, value)
        trial.train(optimizer=keras.optimizers.Adam(0.1, weight_decay=0.1))

    return act


Choose = Callable[[Trial, tf.GradientTape], Sequence[Any]]


def all_weights(trial: Trial, tape: tf.GradientTape) -> Sequence[Any]:
    return [*trial.model.trainable_weights, trial.variable]


def the_variable(trial: Trial, tape: tf.GradientTape) -> Sequence[Any]:
    return [trial.variable]


def the_tf_variable(trial: Trial, tape: tf.GradientTape) -> Sequence[Any]:
    return [trial.tf_variable]


def watched(trial: Trial, tape: tf.GradientTape) -> Sequence[Any]:
    return tape.watched_variables()


def taped(choose: Choose, *, watch: bool, decay: float | None = None) -> Callable[[Trial], None]:
    """Steps of the user's own, whose tape is asked for more than the trainable variables."""

    def act(trial: Trial) -> None:
        optimizer = keras.optimizers.SGD(0.1, weight_decay=decay)
        optimizer.build([*trial.model.trainable_weights, trial.tf_variable])

        def step() -> None:
            with tf.GradientTape() as tape:
                if watch:
                    tape.watch(trial.tf_variable)
                loss = tf.reduce_mean((trial.model(IDS) - LABELS) ** 2)
            chosen = list(choose(trial, tape))
            optimizer.apply(tape.gradient(loss, chosen), chosen)

        trial.by_hand(step)

    return act


def descended_by_hand(trial: Trial) -> None:
    """No optimizer at all."""

    def step() -> None:
        with tf.GradientTape() as tape:
            tape.watch(trial.tf_variable)
            loss = tf.reduce_mean((trial.model(IDS) - LABELS) ** 2)
        found = tf.convert_to_tensor(tape.gradient(loss, trial.tf_variable))
        trial.tf_variable.assign_sub(0.1 * found)

    trial.by_hand(step)


def tape_watches_keras(trial: Trial) -> None:
    with tf.GradientTape() as tape:
        tape.watch(trial.variable)


ERROR = f"{UNCHANGED} (AttributeError)"
# In eager mode the next step meets a variable that the optimizer was not built for.
STOPPED = {"eager": f"{UNCHANGED} (ValueError)", "": CHANGED}
WHEN = {
    "before `compile`": before_compile,
    "between two `fit`": between_fits,
    "in a callback": in_a_callback,
}
TRAINABLE = [
    *(
        Attempt(
            f"{title}, {when}",
            build(switch),
            stock=STOPPED if build is in_a_callback else CHANGED,
            variable=ERROR if switch is variable_on else UNCHANGED,
            ours=REFUSED if switch is variable_on else UNCHANGED,
        )
        for when, build in WHEN.items()
        for title, switch in SWITCHES.items()
    ),
    Attempt("`trainable=True` when the layer is made", made_trainable, variable=UNCHANGED),
    Attempt("a model in a larger one, whose `trainable = True`", inside_a_larger_model, **SAME),
    Attempt(
        "a subclass whose `trainable` is always True", unfrozen_by_its_class, variable=UNCHANGED
    ),
    Attempt(
        "`tf.stop_gradient` as the freeze, with a regularizer and `AdamW`",
        regularized,
        variable=UNCHANGED,
        ours=UNCHANGED,
    ),
    Attempt("`variable.regularizer`", with_a("regularizer", keras.regularizers.L2(0.1)), **SAME),
    Attempt(
        "`variable.constraint`",
        with_a("constraint", keras.constraints.NonNeg()),
        **{**SAME, "variable": ERROR},
    ),
    Attempt(
        "`variable.overwrite_with_gradient = True`",
        with_a("overwrite_with_gradient", True),
        **SAME,
    ),
]
TAPES = [
    Attempt(
        "a tape over all weights", taped(all_weights, watch=False), CHANGED, UNCHANGED, UNCHANGED
    ),
    Attempt("a tape over all weights, told to watch it", taped(all_weights, watch=True)),
    Attempt("a tape over the variable, told to watch it", taped(the_variable, watch=True)),
    Attempt("a tape over the `tf.Variable`, told to watch it", taped(the_tf_variable, watch=True)),
    Attempt(
        "a tape over `tape.watched_variables()`",
        taped(watched, watch=False),
        CHANGED,
        UNCHANGED,
        UNCHANGED,
    ),
    Attempt("a tape over `tape.watched_variables()`, told to watch it", taped(watched, watch=True)),
    Attempt(
        "a tape over all weights, told to watch it, with weight decay",
        taped(all_weights, watch=True, decay=0.1),
    ),
    Attempt("gradient descent by hand, with `assign_sub`", descended_by_hand),
    Attempt(
        "`tape.watch(variable)`, given the variable of Keras",
        tape_watches_keras,
        stock=f"{UNCHANGED} (ValueError)",
        variable=UNCHANGED,
        ours=f"{UNCHANGED} (ValueError)",
        note="TensorFlow says so of every variable of Keras",
    ),
]
ATTEMPTS = [*TRAINABLE, *TAPES]
