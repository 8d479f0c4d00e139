"""Writes that hide: in branches, loops, losses, metrics, inner functions, later traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

import embedfreeze as ef
from thaw.subjects import BATCH, IDS, LABELS, OTHER
from thaw.trial import CAUGHT, REFUSED, UNCHANGED, Attempt, Trial, batches


def write(trial: Trial) -> None:
    """What nothing can refuse: an operation on the handle."""
    tf.raw_ops.AssignVariableOp(resource=trial.handle, value=tf.constant(OTHER))


def in_a_layer(trial: Trial) -> None:
    trial.inside(lambda: write(trial))


def in_a_loss(trial: Trial) -> None:
    def loss(y: Any, predicted: Any) -> Any:
        write(trial)
        return tf.reduce_mean((y - predicted) ** 2)

    trial.begin()
    trial.train(loss=loss)


def in_a_metric(trial: Trial) -> None:
    def metric(y: Any, predicted: Any) -> Any:
        write(trial)
        return tf.reduce_mean(predicted)

    trial.begin()
    trial.train(metrics=[metric])


def in_an_optimizer(trial: Trial) -> None:
    class Writing(keras.optimizers.SGD):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> Any:
            write(trial)
            return super().update_step(gradient, variable, learning_rate)

    trial.begin()
    trial.train(optimizer=Writing(0.1))


def in_a_regularizer(trial: Trial) -> None:
    def penalty(kernel: Any) -> Any:
        write(trial)
        return tf.reduce_sum(kernel**2)

    trial.model.get_layer("head").kernel_regularizer = penalty
    trial.model.get_layer("head").kernel.regularizer = penalty
    trial.begin()
    trial.train()


def in_an_inner_function(trial: Trial) -> None:
    inner = tf.function(lambda: write(trial), autograph=False)
    trial.inside(inner)


def in_an_inner_function_of_the_variable(trial: Trial) -> None:
    """TensorFlow gives the function a variable of its own class over the same memory."""
    inner = tf.function(lambda variable: variable.assign(OTHER), autograph=False)
    trial.inside(lambda: inner(trial.tf_variable))


def in_python(trial: Trial) -> None:
    trial.inside(lambda: tf.py_function(lambda: write(trial), [], []))


def in_a_gradient(trial: Trial) -> None:
    @tf.custom_gradient
    def same(x: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            write(trial)
            return upstream

        return tf.identity(x), gradient

    trial.begin()
    trial.train(loss=lambda y, predicted: tf.reduce_mean((y - same(predicted)) ** 2))


def in_a_loop(trial: Trial) -> None:
    def body(i: Any) -> Any:
        write(trial)
        return (i + 1,)

    trial.inside(lambda: tf.while_loop(lambda i: i < 2, body, (tf.constant(0),)))


def in_a_scan(trial: Trial) -> None:
    def step(total: Any, x: Any) -> Any:
        write(trial)
        return total + x

    trial.inside(lambda: tf.scan(step, tf.constant([1.0, 2.0])))


def counter() -> Any:
    return tf.Variable(0, trainable=False)


def in_a_branch(taken: bool) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        chosen = tf.Variable(taken, trainable=False)

        def branch() -> Any:
            write(trial)
            return 0

        trial.inside(lambda: tf.cond(chosen, branch, lambda: 0))

    return act


def in_a_case_not_taken(trial: Trial) -> None:
    chosen = counter()

    def branch() -> Any:
        write(trial)
        return 0

    trial.inside(lambda: tf.switch_case(chosen.read_value(), [lambda: 0, branch]))


def in_a_loop_not_entered(trial: Trial) -> None:
    last = counter()

    def body(i: Any) -> Any:
        write(trial)
        return (i + 1,)

    trial.inside(lambda: tf.while_loop(lambda i: i < last.read_value(), body, (tf.constant(0),)))


def in_a_later_step(trial: Trial) -> None:
    """A branch that is taken first when `fit` has begun."""
    steps = counter()

    def branch() -> Any:
        write(trial)
        return 0

    def act() -> None:
        trial.begin(1 + trial.mode.steps)
        tf.cond(steps.assign_add(1) > trial.mode.steps, branch, lambda: 0)

    trial.inside(act)


def in_a_later_trace(trial: Trial) -> None:
    """Texts of another length are traced anew: only that trace has the write."""
    entry = keras.Input((None,), dtype="int32")
    plain = trial.model
    layers = [plain.get_layer(name) for name in ("words", "pool", "head")]

    class Sometimes(keras.layers.Layer):  # type: ignore[misc]
        def call(self, ids: Any) -> Any:
            if ids.shape[1] != 3:
                write(trial)
            return ids

        def compute_output_spec(self, ids: Any) -> Any:
            return keras.KerasTensor(ids.shape, dtype=ids.dtype)

    output = Sometimes()(entry)
    for layer in layers:
        output = layer(output)
    trial.subject.model = type(plain)(entry, output)
    trial.train()
    counts_anew = trial.subject.kind == "guarded"  # each guard counts the steps that it saw
    trial.begin(1 if counts_anew else 1 + int(trial.model.optimizer.iterations.numpy()))
    trial.model.fit(IDS[:, :2], LABELS, BATCH, verbose=0, callbacks=_guards(trial))


def _guards(trial: Trial) -> list[keras.callbacks.Callback]:
    return [ef.FreezeGuard()] if trial.subject.kind == "guarded" else []


def in_the_input(trial: Trial) -> None:
    """Where `tf.data` makes the batches, on threads of its own."""

    def spoiled(ids: Any, labels: Any) -> Any:
        write(trial)
        return ids, labels

    trial.compile()
    trial.begin()
    data = batches(2 * trial.mode.steps).map(spoiled)
    trial.model.fit(data, verbose=0, callbacks=_guards(trial))


def in_a_step_of_its_own(trial: Trial) -> None:
    def step() -> None:
        write(trial)

    trial.by_hand(step)


def in_predict(trial: Trial) -> None:
    """Between two `fit`, where no training step runs: found by the next check."""
    trial.train()
    trial.subject.within.act = lambda: write(trial)
    trial.model.predict(IDS, verbose=0)
    trial.subject.within.act = None
    trial.compile()
    trial.begin()
    trial.fit()


def eager_and_back(trial: Trial) -> None:
    """Other bytes, and then the right ones again: no check sees it, and nothing has changed."""

    def there_and_back() -> None:
        before = tf.identity(tf.raw_ops.ReadVariableOp(resource=trial.handle, dtype=tf.float32))
        write(trial)
        tf.raw_ops.AssignVariableOp(resource=trial.handle, value=before)

    trial.during(there_and_back)


NOT_EAGER = {"eager": UNCHANGED, "": REFUSED}
NEVER = "the branch is found in the graph before it changes anything; in eager mode it never runs"
ATTEMPTS = [
    Attempt("a write in the `call` of a layer", in_a_layer, ours=CAUGHT),
    Attempt("a write in a loss", in_a_loss, ours=CAUGHT),
    Attempt("a write in a metric", in_a_metric, ours=CAUGHT),
    Attempt("a write in an optimizer", in_an_optimizer, ours=CAUGHT),
    Attempt("a write in a regularizer", in_a_regularizer, ours=CAUGHT),
    Attempt("a write in a gradient", in_a_gradient, ours=CAUGHT),
    Attempt("a write in an inner `tf.function`", in_an_inner_function, ours=CAUGHT),
    Attempt(
        "`assign` in an inner `tf.function` that is given the variable",
        in_an_inner_function_of_the_variable,
    ),
    Attempt("a write in a `tf.py_function`", in_python, ours=CAUGHT, runs=("eager", "graph")),
    Attempt("a write in a `tf.while_loop`", in_a_loop, ours=CAUGHT),
    Attempt("a write in a `tf.scan`", in_a_scan, ours=CAUGHT),
    Attempt("a write in a `tf.cond`, branch taken", in_a_branch(True), ours=CAUGHT),
    Attempt(
        "a write in a `tf.cond`, branch not taken",
        in_a_branch(False),
        stock=UNCHANGED,
        variable=UNCHANGED,
        ours=NOT_EAGER,
        note=NEVER,
    ),
    Attempt(
        "a write in a `tf.switch_case`, branch not taken",
        in_a_case_not_taken,
        stock=UNCHANGED,
        variable=UNCHANGED,
        ours=NOT_EAGER,
        note=NEVER,
    ),
    Attempt(
        "a write in a `tf.while_loop` that is not entered",
        in_a_loop_not_entered,
        stock=UNCHANGED,
        variable=UNCHANGED,
        ours=NOT_EAGER,
        note=NEVER,
    ),
    Attempt(
        "a write in a `tf.cond`, taken from the second execution on",
        in_a_later_step,
        ours={"eager": CAUGHT, "": REFUSED},
        note="the branch is found in the graph after the first execution",
    ),
    Attempt(
        "a write in a later trace alone (texts of another length)", in_a_later_trace, ours=CAUGHT
    ),
    Attempt("a write in a step by hand, then `ef.verify`", in_a_step_of_its_own, ours=CAUGHT),
    Attempt("a write in `predict`, between two `fit`", in_predict, ours=CAUGHT),
    Attempt(
        "other bytes, and the right ones again, between two executions",
        eager_and_back,
        stock=UNCHANGED,
        variable=UNCHANGED,
        ours=UNCHANGED,
    ),
    Attempt(
        "a write in a function of `tf.data`, which makes the batches",
        in_the_input,
        ours={"guarded": REFUSED, "": CAUGHT},
    ),
]
