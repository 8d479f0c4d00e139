"""The audit of traced functions: writes that no execution has made yet are found all the same."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from embedfreeze import audit
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.errors import FrozenError
from embedfreeze.frozen import FrozenEmbedding, FrozenVariable
from embedfreeze.model import build_model
from embedfreeze.pooling import MaskedPooling
from embedfreeze.sealed import seal_array
from embedfreeze.training import FreezeGuard, train_step, verify
from embedfreeze.vocabulary import Vocabulary

VOCABULARY = Vocabulary([f"word{i}" for i in range(38)])
VALUES = np.random.default_rng(0).normal(size=(40, 8)).astype("float32")
IDS = np.arange(60, dtype="int32").reshape(12, 5) % 40
LABELS = np.ones((12, 1), "float32")


def source() -> AlignedEmbeddings:
    return AlignedEmbeddings(seal_array(VALUES), VOCABULARY)


def overwrite(handle: Any) -> None:
    tf.raw_ops.AssignVariableOp(resource=handle, value=tf.zeros(VALUES.shape))


def scatter(handle: Any) -> None:
    tf.raw_ops.ResourceScatterUpdate(resource=handle, indices=[0], updates=tf.zeros((1, 8)))


def in_branch(handle: Callable[[], Any], x: Any) -> Any:
    if x > 100:
        overwrite(handle())
    return x


def in_loop(handle: Callable[[], Any], x: Any) -> Any:
    while x > 100:
        scatter(tf.identity(handle()))
        x -= 1
    return x


def in_case(handle: Callable[[], Any], x: Any) -> Any:
    def write() -> Any:
        scatter(handle())
        return x

    return tf.switch_case(tf.minimum(x, 1), [lambda: x, write])


def in_inner_function(handle: Callable[[], Any], x: Any) -> Any:
    @tf.function(jit_compile=True)
    def inner() -> Any:
        tf.raw_ops.AssignAddVariableOp(resource=handle(), value=tf.zeros(VALUES.shape))
        return 1

    return inner() if x > 100 else x


def by_a_returned_handle(handle: Callable[[], Any], x: Any) -> Any:
    returned = tf.function(lambda: tf.identity_n([tf.constant(1), handle()]))()[1]
    if x > 100:
        overwrite(returned)
    return x


def by_a_loop_variable(handle: Callable[[], Any], x: Any) -> Any:
    def body(i: Any, held: Any) -> Any:
        return i + 1, held

    _, held = tf.while_loop(lambda i, held: i < 2, body, [tf.constant(0), handle()])
    if x > 100:
        overwrite(held)
    return x


def in_a_map(handle: Callable[[], Any], x: Any) -> Any:
    def write(i: Any) -> Any:
        scatter(handle())
        return i

    return tf.reduce_sum(tf.map_fn(write, tf.range(x)))


def in_a_dataset(handle: Callable[[], Any], x: Any) -> Any:
    def write(i: Any) -> Any:
        scatter(handle())
        return i

    for i in tf.data.Dataset.range(tf.cast(x, tf.int64)).map(write):
        x += tf.cast(i, tf.int32)
    return x


def in_a_reduction(handle: Callable[[], Any], x: Any) -> Any:
    def write(total: Any, i: Any) -> Any:
        scatter(handle())
        return total + i

    numbers = tf.data.Dataset.range(tf.cast(x, tf.int64))
    return tf.cast(numbers.reduce(tf.constant(0, tf.int64), write), tf.int32)


WRITES = [
    in_a_dataset,
    in_a_reduction,
    in_branch,
    in_loop,
    in_case,
    in_inner_function,
    by_a_returned_handle,
    by_a_loop_variable,
    in_a_map,
]


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_a_write_that_was_not_executed_is_found(write: Callable[..., Any], early: bool) -> None:
    """Also by a handle that was taken before the function was traced, if the function reads too."""
    variable = FrozenVariable(source(), name="words")
    taken = variable.tf_variable.handle

    @tf.function
    def function(x: Any) -> Any:
        read = tf.cast(tf.gather(variable, [0])[0, 0], tf.int32) if early else 0
        return write((lambda: taken) if early else (lambda: variable.tf_variable.handle), x) + read

    function(tf.constant(0))
    with pytest.raises(FrozenError, match=r"'words'.*received the operation .*(Assign|Scatter)"):
        variable.check()
    variable.check()  # said once: the trace is known, and what it writes is seen by its address
    np.testing.assert_array_equal(variable.numpy(), VALUES)


def test_every_way_of_reading_passes() -> None:
    variable = FrozenVariable(source())
    locked = variable.tf_variable

    @tf.function
    def function(x: Any) -> Any:
        total = tf.reduce_sum(variable[1]) + tf.reduce_sum(locked) + tf.reduce_sum(locked[2:4])
        if x > 0:
            total += tf.reduce_sum(tf.gather(locked, [x])) + tf.reduce_sum(
                tf.gather_nd(locked, [[1]])
            )
        for i in tf.range(3):
            total += tf.nn.embedding_lookup(variable, [i])[0, 0]
        shape = tf.raw_ops.VariableShape(input=locked.handle)
        rows = tf.raw_ops.ResourceGather(resource=locked.handle, indices=[1], dtype=tf.float32)
        return total + tf.cast(shape[0], tf.float32) + rows[0, 0]

    with tf.GradientTape() as tape:
        weight = tf.Variable(1.0)
        loss = function(tf.constant(1)) * weight
    assert np.isfinite(tape.gradient(loss, weight))
    list(tf.data.Dataset.range(3).map(lambda i: tf.gather(locked, i)))
    variable.check()


def test_loops_over_datasets_pass() -> None:
    """What the graph of a training loop holds: the functions of datasets, and their captures."""
    variable = FrozenVariable(source())
    ids = tf.data.Dataset.from_tensor_slices(IDS)

    @tf.function
    def epoch(data: Any) -> Any:
        total = tf.constant(0.0)
        for row in data:
            if total > 1e6:
                break
            total += tf.reduce_sum(tf.gather(variable, row))
        total += data.reduce(0.0, lambda sum_, row: sum_ + tf.reduce_sum(tf.gather(variable, row)))
        for rows in data.map(lambda row: tf.gather(variable, row)).batch(2):
            total += tf.reduce_sum(rows)
        return total

    epoch(ids)
    nested = ids.flat_map(
        lambda row: tf.data.Dataset.from_tensor_slices(row).map(lambda i: tf.gather(variable, i))
    )
    groups = ids.unbatch().group_by_window(
        lambda i: tf.cast(tf.gather(variable, i)[0] > 0, tf.int64),
        lambda key, window: window.batch(100).map(lambda i: tf.gather(variable, i)),
        window_size=100,
    )
    assert len(list(nested)) == IDS.size
    assert sum(len(group) for group in groups) == IDS.size
    variable.check()


def test_a_variable_that_is_an_argument() -> None:
    variable = FrozenVariable(source(), name="words")

    @tf.function
    def function(given: Any, x: Any) -> Any:
        return in_branch(lambda: given.handle, x)

    function(variable.tf_variable, tf.constant(0))
    with pytest.raises(FrozenError, match="AssignVariableOp"):
        variable.check()


def test_functions_that_call_functions_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is called twice by the one before it: 1,024 ways lead to the last."""
    variable, seen = FrozenVariable(source()), []
    body = audit._Search._body
    monkeypatch.setattr(
        audit._Search, "_body", lambda self, *callee: (seen.append(callee), body(self, *callee))[1]
    )

    def calling(inner: Callable[[], Any]) -> Callable[[], Any]:
        return tf.function(lambda: inner() + inner())

    function = tf.function(lambda: variable.tf_variable.read_value()[0, 0])
    for _ in range(10):
        function = calling(function)
    function.get_concrete_function()
    variable.check()
    assert 10 <= len(seen) <= 20  # once for writes, and once for what is returned


class Writer(keras.layers.Layer):
    """Writes to the table in a branch that is only taken for texts of one hundred tokens."""

    def __init__(self, embedding: FrozenEmbedding, writes: bool = True) -> None:
        super().__init__()
        self.embedding = embedding
        self.writes = writes

    def call(self, ids: Any) -> Any:
        if self.writes:
            longer = tf.shape(ids)[1] > 100
            handle = self.embedding.table.tf_variable.handle
            tf.cond(longer, lambda: (scatter(handle), 1)[1], lambda: 1)
        return self.embedding(ids)


def trained(writes: bool, **options: Any) -> keras.Model:
    entry = keras.Input((None,), dtype="int32")
    writer = Writer(FrozenEmbedding(source(), name="words"), writes)
    model = keras.Model(entry, keras.layers.Dense(1)(MaskedPooling()(writer(entry))))
    model.compile("sgd", "mse", **options)
    return model


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("steps", [1, 5])
def test_fit_refuses_a_step_with_a_hidden_write(steps: int, jit: bool) -> None:
    guard = FreezeGuard()
    model = trained(True, steps_per_execution=steps, jit_compile=jit)
    with pytest.raises(FrozenError, match="'words/table'.*ResourceScatterUpdate"):
        model.fit(IDS, LABELS, 2, verbose=0, callbacks=[guard])
    assert int(model.optimizer.iterations.numpy()) in (0, steps)  # the first one at the latest


def test_every_retrace_is_searched() -> None:
    """The first shape traces a step without a write, the second one with it."""
    model, guard = trained(False), FreezeGuard()
    model.fit(IDS, LABELS, 4, verbose=0, callbacks=[guard])
    assert guard.proof().steps == 3
    model.layers[1].writes = True
    model.fit(IDS, LABELS, 4, verbose=0, callbacks=[guard])  # not traced again
    for _ in range(2):  # what was refused is traced again, and not forgotten
        with pytest.raises(FrozenError, match="ResourceScatterUpdate"):
            model.fit(IDS[:, :3], LABELS, 4, verbose=0, callbacks=[guard])
    function = tf.function(model)
    function(IDS[:, :3])
    with pytest.raises(FrozenError, match="ResourceScatterUpdate"):
        verify(model)
    train_step(model, IDS, LABELS)


@pytest.mark.parametrize("run", ["evaluate", "predict"])
@pytest.mark.parametrize("guarded", [False, True])
def test_evaluation_and_prediction_are_searched(run: str, guarded: bool) -> None:
    embedding = FrozenEmbedding(source(), name="words")
    entry = keras.Input((None,), dtype="int32")
    outputs = keras.layers.Dense(1)(MaskedPooling()(Writer(embedding)(entry)))
    model: Any = keras.Model(entry, outputs)
    callbacks = [FreezeGuard()]
    if not guarded:
        model, callbacks = build_model(source(), hidden_units=[]), []
        variable = model.get_layer("embedding").table
        inner = model.call

        def call(*args: Any, **options: Any) -> Any:
            tf.cond(
                tf.shape(args[0])[1] > 100,
                lambda: (scatter(variable.tf_variable.handle), 1)[1],
                lambda: 1,
            )
            return inner(*args, **options)

        model.call = call
    model.compile("sgd", "mse")
    inputs = (IDS,) if run == "predict" else (IDS, LABELS)
    with pytest.raises(FrozenError, match="ResourceScatterUpdate"):
        getattr(model, run)(*inputs, verbose=0, callbacks=callbacks)
