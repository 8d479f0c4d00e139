"""MirroredStrategy on two logical CPUs; tests/test_strategies.py runs this in a process."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from two_cpus import (
    BATCH,
    IDS,
    LABELS,
    ROW,
    STEPS,
    VALUES,
    VOCABULARY,
    address,
    anonymous_bytes,
    divide_cpu,
    network,
    overwrite_a_row,
    source,
    stock,
    weights,
)

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.errors import FrozenBytesChanged, FrozenError
from embedfreeze.frozen import FrozenEmbedding
from embedfreeze.model import FrozenModel
from embedfreeze.pooling import MaskedPooling
from embedfreeze.sealed import seal_array

divide_cpu()
STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def fit(model: keras.Model, *callbacks: keras.callbacks.Callback) -> None:
    model.fit(IDS, LABELS, BATCH, epochs=2, verbose=0, shuffle=False, callbacks=[*callbacks])


def assert_whole(model: keras.Model, table: AlignedEmbeddings) -> None:
    """The proof, and what it says found on other ways."""
    (proof,) = ef.verify(model, deep=True).tables
    (layer,) = (x for x in model.layers if isinstance(x, FrozenEmbedding))
    assert proof.digest == table.digest == layer.digest
    assert proof.address == table.sealed.address == address(layer.table.tf_variable)
    assert table.matrix.tobytes() == VALUES.tobytes()


def test_fit_evaluate_and_predict_within_the_scope() -> None:
    table, digest = source(), source().digest
    with STRATEGY.scope():
        model = ef.build_model(table, hidden_units=[3], optimizer="adam", loss="mse")
    guard = ef.FreezeGuard()
    fit(model, guard)
    assert isinstance(model.layers[-1].kernel.value, tf.distribute.DistributedValues)
    assert model.evaluate(IDS, LABELS, BATCH, verbose=0, callbacks=[guard]) > 0
    assert model.predict(IDS, BATCH, verbose=0, callbacks=[guard]).shape == (len(IDS), 1)
    assert int(model.optimizer.iterations.numpy()) == 2 * STEPS
    assert guard.proof().steps == ef.verify(model).steps == 2 * STEPS
    assert_whole(model, table)
    assert table.digest == digest


@pytest.mark.parametrize(
    "where", ["layer outside", pytest.param("model outside", marks=pytest.mark.slow)]
)
def test_built_outside_of_the_scope(where: str) -> None:
    """A layer may come from outside. A model from outside is trained without the strategy."""
    table = source()
    if where == "layer outside":
        layer = FrozenEmbedding(table)
        with STRATEGY.scope():
            model = network(layer)
            model.compile("adam", "mse", jit_compile=False)
    else:
        model = network(FrozenEmbedding(table))
        model.compile("adam", "mse", jit_compile=False)
    guard = ef.FreezeGuard()
    fit(model, guard)
    mirrored = isinstance(model.layers[-1].kernel.value, tf.distribute.DistributedValues)
    assert mirrored == (where == "layer outside")
    assert guard.proof().steps == 2 * STEPS
    assert_whole(model, table)


@pytest.mark.slow
def test_trained_weights_equal_those_over_a_stock_layer() -> None:
    trained = []
    for make in (lambda: FrozenEmbedding(source()), stock):
        with STRATEGY.scope():
            model = network(make())
            model.compile("sgd", "mse", jit_compile=False)
        fit(model)
        trained.append(weights(model))
    assert trained[0] == trained[1]


@pytest.mark.slow
def test_partly_trained_then_thawed() -> None:
    table, rows = source(), [3, 17, ROW]
    with STRATEGY.scope():
        model = network(FrozenEmbedding(table, trainable_oov=rows))
        model.compile("adam", "mse", jit_compile=False)
    fit(model, ef.FreezeGuard())
    (layer,) = (part for part in model.layers if isinstance(part, FrozenEmbedding))
    moved = (layer(np.arange(len(VOCABULARY))).numpy() != VALUES).any(axis=1)
    assert np.flatnonzero(moved).tolist() == [row for row in rows if row in IDS]
    with STRATEGY.scope():
        thawed = ef.thaw(model)
        thawed.compile("adam", "mse", jit_compile=False)
    assert thawed(IDS).numpy().tobytes() == model(IDS).numpy().tobytes()
    fit(thawed)
    assert_whole(model, table)


def replicas(function: Callable[[], Any]) -> list[Any]:
    """What a function gives on each replica."""
    results = STRATEGY.run(lambda: tf.constant(function()))
    return [value.numpy().item() for value in STRATEGY.experimental_local_results(results)]


def test_both_replicas_read_at_one_address() -> None:
    table = source()
    with STRATEGY.scope():
        variable, mirrored = FrozenEmbedding(table).table.tf_variable, tf.Variable(VALUES)
    mirrored.assign_add(VALUES)  # before the first write, TensorFlow may hand on the same memory
    assert replicas(lambda: address(variable)) == [table.sealed.address] * 2
    assert len(set(replicas(lambda: address(mirrored)))) == 2  # so the question is a real one


def test_memory_is_counted_once() -> None:
    big = seal_array(np.ones((1 << 18, 128), np.float32))  # 128 MiB
    names = ef.Vocabulary(map(str, range(len(big.array) - 2)))
    before = anonymous_bytes()
    with STRATEGY.scope():
        model = network(FrozenEmbedding(AlignedEmbeddings(big, names)))
        model.compile("adam", "mse")
    fit(model)
    model.predict(IDS, BATCH, verbose=0)
    ef.verify(model)
    assert anonymous_bytes() - before < big.array.nbytes // 2


class Writer(keras.layers.Layer):
    """Passes its inputs on, and lets one replica act in one step; run eagerly."""

    def __init__(self, replica: int, step: int, act: Callable[[], Any]) -> None:
        super().__init__()
        self.supports_masking = True
        self.replica, self.step, self.act = replica, step, act
        self.calls = [0, 0]

    def call(self, inputs: Any) -> Any:
        context = tf.distribute.get_replica_context()
        if context is not None:  # else Keras only asks for the shape
            replica = int(context.replica_id_in_sync_group)
            self.calls[replica] += 1
            if (replica, self.calls[replica]) == (self.replica, self.step):
                self.act()
        return inputs

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(inputs.shape, inputs.dtype)


@pytest.mark.parametrize("replica", [0, 1])
@pytest.mark.parametrize("by_guard", [False, True], ids=["FrozenModel", "FreezeGuard"])
def test_a_write_by_one_replica_is_caught_at_the_same_execution(
    replica: int, by_guard: bool
) -> None:
    with STRATEGY.scope():
        layer = FrozenEmbedding(source(), name="words")
        entry = keras.Input((5,), dtype="int32")
        writer = Writer(replica, 3, lambda: overwrite_a_row(layer.table))
        outputs = keras.layers.Dense(1)(MaskedPooling()(writer(layer(entry))))
        make = keras.Model if by_guard else FrozenModel
        model = make(entry, outputs)
        model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(FrozenBytesChanged, match=f"row {ROW}") as caught:
        fit(model, *([ef.FreezeGuard()] if by_guard else []))
    error = caught.value
    assert (error.layer, error.step, error.row) == ("words", 3, ROW)
    assert error.token == VOCABULARY.tokens[ROW]
    assert int(model.optimizer.iterations.numpy()) == 3


def test_a_hidden_write_in_the_step_of_a_replica_is_found_before_it_runs() -> None:
    with STRATEGY.scope():
        model = ef.build_model(source(), hidden_units=[], name="hidden")
        handle = model.layers[1].table.tf_variable.handle

        def loss(y: Any, predicted: Any) -> Any:
            def write() -> Any:
                tf.raw_ops.AssignVariableOp(resource=handle, value=VALUES + 1)
                return 0

            replica = tf.distribute.get_replica_context()
            if replica is not None:  # else Keras only asks for the shape
                tf.cond(tf.equal(replica.replica_id_in_sync_group, 9), write, lambda: 0)
            return tf.reduce_mean((y - predicted) ** 2)

        model.compile("sgd", loss, jit_compile=False)
    with pytest.raises(FrozenError, match="AssignVariableOp"):
        fit(model)


def custom_loop(model: keras.Model, optimizer: Any, jit: bool = False) -> Callable[[Any], Any]:
    """A step as a user writes it."""

    def one(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.nn.compute_average_loss(tf.reduce_mean((model(x) - y) ** 2, axis=-1))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    def step(batch: Any) -> Any:
        return STRATEGY.reduce("SUM", STRATEGY.run(one, args=batch), axis=None)

    return tf.function(step, jit_compile=jit)


def batches() -> Any:
    data = tf.data.Dataset.from_tensor_slices((IDS, LABELS)).batch(BATCH, drop_remainder=True)
    return STRATEGY.experimental_distribute_dataset(data)


def test_a_loop_of_ones_own() -> None:
    table = source()
    with STRATEGY.scope():
        model = network(FrozenEmbedding(table))
        optimizer = keras.optimizers.Adam(0.05)
        optimizer.build(model.trainable_variables)
    step = custom_loop(model, optimizer)
    losses = []
    for _ in range(3):
        for batch in batches():
            losses.append(float(step(batch)))
            ef.verify(model)
    assert losses[-1] < losses[0]
    assert int(optimizer.iterations.numpy()) == 3 * STEPS
    assert_whole(model, table)
    overwrite_a_row(model.layers[0].table)
    step(next(iter(batches())))
    with pytest.raises(FrozenBytesChanged, match=f"row {ROW}"):
        ef.verify(model)


# ---- what TensorFlow and Keras cannot do, with our layer or with their own


@pytest.mark.slow
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "stock"])
def test_steps_per_execution(ours: bool) -> None:
    with STRATEGY.scope():
        model = network(FrozenEmbedding(source()) if ours else stock())
        model.compile("sgd", "mse", jit_compile=False, steps_per_execution=2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must feed a value for placeholder"):
        fit(model)
    if ours:
        ef.verify(model, deep=True)


@pytest.mark.slow
def test_jit() -> None:
    """Keras is told that our layer does without; one with a layer of its own fails."""
    with STRATEGY.scope():
        model, theirs = network(FrozenEmbedding(source())), network(stock())
        with pytest.warns(UserWarning, match="Proceeding with `jit_compile=False`"):
            model.compile("sgd", "mse", jit_compile=True)
        theirs.compile("sgd", "mse", jit_compile=True)
    fit(model)
    ef.verify(model, deep=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="on_a_different_device"):
        fit(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "stock"])
def test_a_model_from_outside_compiled_in_the_scope(ours: bool) -> None:
    model = network(FrozenEmbedding(source()) if ours else stock())
    with STRATEGY.scope():
        model.compile("sgd", "mse", jit_compile=False)
    with pytest.raises((AssertionError, RuntimeError)):  # without words, or as adam does
        fit(model)
