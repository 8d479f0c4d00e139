"""A learning rate that changes while a compiled model trains, for every optimizer of Keras."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from embedfreeze.hyperparameter import Hyperparameter

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(64, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
BATCH = 8
STEPS = len(X) // BATCH

Make = Callable[[object], keras.optimizers.Optimizer]


def shipped() -> dict[str, Make]:
    """How to make each optimizer that Keras ships around one learning rate."""
    makers: dict[str, Make] = {}
    for name in dir(keras.optimizers):
        kind = getattr(keras.optimizers, name)
        if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer):
            makers[name] = lambda rate, kind=kind: kind(learning_rate=rate)
    del makers["Optimizer"]  # the abstract base
    makers["LossScaleOptimizer"] = lambda rate: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(rate)
    )
    makers.pop("MultiOptimizer", None)  # takes no learning rate; see its own test
    return makers


OPTIMIZERS = shipped()


def make_model(optimizer: keras.optimizers.Optimizer, jit: bool = False) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(1)]
    )
    model.compile(optimizer=optimizer, loss="mse", jit_compile=jit)
    return model


def fit(model: keras.Model, **options: object) -> keras.callbacks.History:
    return model.fit(X, Y, batch_size=BATCH, shuffle=False, verbose=0, **options)


def weights(model: keras.Model) -> list[bytes]:
    return [weight.tobytes() for weight in model.get_weights()]


def at_step(step: int, act: Callable[[], object]) -> keras.callbacks.Callback:
    """Act between the steps: before step `step` (1-based) of the first epoch."""

    def on_train_batch_begin(batch: int, logs: object = None) -> None:
        if batch + 1 == step:
            act()

    return keras.callbacks.LambdaCallback(on_train_batch_begin=on_train_batch_begin)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_it(name: str) -> None:
    """Bit-equal to the optimizer's own variable, assigned at the same step."""
    rate = Hyperparameter(0.01)
    model = make_model(OPTIMIZERS[name](rate))
    fit(model, callbacks=[at_step(4, lambda: rate.assign(0.003))])
    plain = make_model(OPTIMIZERS[name](0.01))
    fit(plain, callbacks=[at_step(4, lambda: plain.optimizer.learning_rate.assign(0.003))])
    assert weights(model) == weights(plain)
    assert model.optimizer.learning_rate is rate


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="not in this Keras")
def test_one_rate_for_several_optimizers() -> None:
    def make(rate: object) -> keras.optimizers.Optimizer:
        by_path = keras.optimizers.OptimizerMap(
            keras.optimizers.Adam(rate), {".*kernel": keras.optimizers.SGD(rate)}
        )
        return keras.optimizers.MultiOptimizer(by_path)

    rate = Hyperparameter(0.01)
    model, plain = make_model(make(rate)), make_model(make(0.003))
    rate.assign(0.003)
    fit(model)
    fit(plain)
    assert weights(model) == weights(plain)


@pytest.mark.parametrize("jit", [False, True])
def test_a_new_value_takes_effect_at_the_next_step(jit: bool) -> None:
    """Three steps at one rate and five at another are those of two runs at constant rates."""
    rate = Hyperparameter(0.1)
    model = make_model(keras.optimizers.SGD(rate), jit)
    fit(model, callbacks=[at_step(4, lambda: rate.assign(0.02))])

    first = make_model(keras.optimizers.SGD(0.1), jit)
    first.fit(X[: 3 * BATCH], Y[: 3 * BATCH], batch_size=BATCH, shuffle=False, verbose=0)
    second = make_model(keras.optimizers.SGD(0.02), jit)
    second.set_weights(first.get_weights())
    second.fit(X[3 * BATCH :], Y[3 * BATCH :], batch_size=BATCH, shuffle=False, verbose=0)
    assert weights(model) == weights(second)
    assert float(rate) == float(np.float32(0.02))


@pytest.mark.parametrize("jit", [False, True])
def test_learning_rate_scheduler(jit: bool) -> None:
    def halve(epoch: int, rate: float) -> float:
        return rate / 2

    rate = Hyperparameter(0.1)
    model = make_model(keras.optimizers.Adam(rate), jit)
    history = fit(model, epochs=3, callbacks=[keras.callbacks.LearningRateScheduler(halve)])
    plain = make_model(keras.optimizers.Adam(0.1), jit)
    fit(plain, epochs=3, callbacks=[keras.callbacks.LearningRateScheduler(halve)])
    assert weights(model) == weights(plain)
    assert history.history["learning_rate"][-1] == float(rate)
    assert float(rate) == float(np.float32(0.1)) / 8


def test_reduce_lr_on_plateau() -> None:
    rate = Hyperparameter(0.5)
    model = make_model(keras.optimizers.SGD(rate))
    reduce = keras.callbacks.ReduceLROnPlateau(
        monitor="loss", factor=0.5, patience=1, min_delta=1e9
    )
    fit(model, epochs=3, callbacks=[reduce])
    assert float(rate) == 0.125


def test_setting_the_learning_rate_sets_it() -> None:
    rate = Hyperparameter(0.5)
    optimizer = keras.optimizers.SGD(rate)
    optimizer.learning_rate = 0.25
    assert float(rate) == 0.25
    optimizer.learning_rate.assign(0.125)
    assert float(rate) == 0.125
    other = Hyperparameter(2.0)
    optimizer.learning_rate = other
    assert optimizer.learning_rate is other


def test_two_optimizers_follow_one_rate() -> None:
    rate = Hyperparameter(0.5)
    left, right = keras.optimizers.SGD(rate), keras.optimizers.Adam(rate)
    left.learning_rate = 0.25
    assert float(right.learning_rate) == 0.25


def test_by_hand_with_a_tape() -> None:
    rate = Hyperparameter(0.5)
    optimizer = keras.optimizers.SGD(rate)
    weight = keras.Variable([1.0])

    @tf.function
    def step() -> None:
        optimizer.apply([tf.constant([1.0])], [weight])

    step()
    rate.assign(0.25)
    step()
    assert weight.numpy().tolist() == [0.25]


def test_it_is_a_variable_with_a_name_and_dtype() -> None:
    rate = Hyperparameter(0.1, name="rate", dtype="float64")
    assert (rate.name, rate.dtype, rate.trainable, float(rate)) == ("rate", "float64", False, 0.1)
    assert float(rate * 2) == 0.2
    with pytest.raises(ValueError, match="convert"):
        Hyperparameter("fast")  # type: ignore[arg-type]


def test_checkpoint(tmp_path: Path) -> None:
    rate = Hyperparameter(0.5)
    optimizer = keras.optimizers.SGD(rate)
    path = tf.train.Checkpoint(optimizer=optimizer).save(str(tmp_path / "check"))
    rate.assign(0.25)
    tf.train.Checkpoint(optimizer=optimizer).restore(path)
    assert float(rate) == 0.5


LOADED = """
import json, sys
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
batch = np.load(sys.argv[2])
before = float(model.optimizer.learning_rate)
model.train_on_batch(batch["x"], batch["y"])
after = [weight.tobytes().hex() for weight in model.get_weights()]
model.optimizer.learning_rate.assign(0.0)
model.train_on_batch(batch["x"], batch["y"])
still = [weight.tobytes().hex() for weight in model.get_weights()]
model.optimizer.learning_rate = 0.5
schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
model.fit(batch["x"], batch["y"], verbose=0, callbacks=[schedule])
print(json.dumps({"before": before, "after": after, "still": still,
    "set": float(model.optimizer.learning_rate),
    "iterations": int(model.optimizer.iterations.numpy()),
    "embedfreeze": "embedfreeze" in sys.modules}))
"""


def test_it_survives_saving(tmp_path: Path) -> None:
    """A fresh process, without this package, goes on at the saved rate and may change it."""
    rate = Hyperparameter(0.1)
    model = make_model(keras.optimizers.SGD(rate, momentum=0.9))
    rate.assign(0.03)
    fit(model)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "batch.npz", x=X, y=Y)
    child = subprocess.run(
        [sys.executable, "-c", LOADED, "model.keras", "batch.npz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = json.loads(child.stdout.splitlines()[-1])
    model.train_on_batch(X, Y)
    assert found["before"] == float(np.float32(0.03))
    assert found["after"] == [weight.hex() for weight in weights(model)]
    assert found["still"] != found["after"]  # momentum goes on
    assert (found["set"], found["iterations"]) == (0.25, STEPS + 4)
    assert not found["embedfreeze"]
