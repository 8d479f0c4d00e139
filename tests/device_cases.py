"""Tables copied to a device; tests/test_on_device.py runs this in a process for each device.

The device is the one that the environment names: the second logical CPU, or a GPU.
"""

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import op_callbacks
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
from embedfreeze import ondevice, placement, storage
from embedfreeze.errors import EmbedFreezeError, FrozenBytesChanged, FrozenError
from embedfreeze.frozen import FrozenEmbedding, FrozenVariable
from embedfreeze.model import FrozenModel
from embedfreeze.sealed import seal_array

divide_cpu()
DEVICE = os.environ["EMBEDFREEZE_TEST_DEVICE"]
ON_CPU = DEVICE.startswith("CPU")
ALL = (1 << 64) - 1


def expected_digest(array: npt.NDArray[Any]) -> bytes:
    """The sums as the module's text defines them, in Python's integers."""
    padded = array.tobytes() + bytes(-array.nbytes % 4)
    words = np.frombuffer(padded, "<u4").tolist()
    sums = []
    for seed in ondevice.SEEDS.tolist():
        total = 0
        for place, word in enumerate(words, start=1):
            mixed = (seed + place * 0x9E3779B97F4A7C15) & ALL
            mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & ALL
            mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & ALL
            total = (total + word * ((mixed ^ mixed >> 31) | 1)) & ALL
        sums.append(total)
    return np.array(sums, np.uint64).tobytes()


def on_device(values: npt.NDArray[Any]) -> Any:
    with tf.device(DEVICE):
        return tf.identity(tf.constant(values))


def digest(values: npt.NDArray[Any]) -> bytes:
    return ondevice.device_digest(on_device(values), DEVICE)


STORED = ["float32", "float16", "bfloat16", "int8", "float64"]


def stored(dtype: str, rows: int = 33, dim: int = 7) -> npt.NDArray[Any]:
    """A matrix of a storage dtype, with an odd number of values in a row."""
    values = np.random.default_rng(rows).normal(size=(rows, dim)).astype("float32")
    values.flat[:3] = np.nan, np.inf, -0.0
    if dtype == "float64":
        return values.astype(dtype)
    if dtype == "int8":
        values.flat[:3] = 1
    return storage.converted(values, dtype)


# ---- the digest


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests are summed up from portions of two words."""
    monkeypatch.setattr(ondevice, "_CHUNK", 8)
    again = tf.function(ondevice._sums.python_function, jit_compile=True, autograph=False)
    monkeypatch.setattr(ondevice, "_sums", again)


@pytest.mark.parametrize("dtype", STORED)
def test_the_digest_is_its_definition_on_every_device(dtype: str) -> None:
    matrix = stored(dtype)
    assert digest(matrix) == expected_digest(matrix)
    assert ondevice.device_digest(tf.constant(matrix), "CPU:0") == expected_digest(matrix)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dtype", STORED)
def test_the_digest_is_the_same_in_portions(dtype: str) -> None:
    matrix = stored(dtype)
    assert digest(matrix) == expected_digest(matrix)


@pytest.mark.parametrize("shape", [(), (0, 4), (3, 0)])
def test_digests_of_little(shape: tuple[int, ...]) -> None:
    values = np.ones(shape, np.float32)
    assert digest(values) == expected_digest(values)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dtype", STORED)
def test_every_single_bit_shows(dtype: str) -> None:
    """In both sums, wherever it is, and in NaNs."""
    matrix = stored(dtype, 5, 3)
    whole = np.frombuffer(digest(matrix), np.uint64)
    seen = set()
    for bit in range(matrix.nbytes * 8):
        changed = matrix.copy()
        changed.reshape(-1).view(np.uint8)[bit // 8] ^= 1 << bit % 8
        sums = np.frombuffer(digest(changed), np.uint64)
        assert (sums != whole).all()
        assert sums.tobytes() == expected_digest(changed)
        seen.add(sums.tobytes())
    assert len(seen) == matrix.nbytes * 8


def test_exchanged_rows_and_flipped_signs_show() -> None:
    """What a sum of words, or one with factors of 32 bits, would not see."""
    matrix = stored("float32", 64, 8)[1:]
    whole = digest(matrix)
    for other in range(1, len(matrix)):
        exchanged = matrix.copy()
        exchanged[[0, other]] = matrix[[other, 0]]
        assert digest(exchanged) != whole
        flipped = matrix.copy()
        flipped[[0, other], 0] *= -1
        assert digest(flipped) != whole


def test_seeds_are_drawn_anew() -> None:
    before = ondevice.SEEDS.tobytes()
    spec = importlib.util.find_spec("embedfreeze.ondevice")
    assert spec is not None
    assert spec.loader is not None
    other = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(other)
    assert other.SEEDS.tobytes() != before
    assert len(set(ondevice.SEEDS.tolist())) == 2


@pytest.mark.slow
def test_a_digest_needs_no_memory_of_the_size_of_the_table() -> None:
    values = on_device(np.ones((1 << 18, 128), np.float32))  # 128 MiB
    ondevice.device_digest(values[:3], DEVICE)  # what XLA needs once
    before = anonymous_bytes()
    ondevice.device_digest(values, DEVICE)
    assert anonymous_bytes() - before < 64 << 20  # TensorFlow keeps what it took


# ---- the variable


def test_a_copy_on_the_device() -> None:
    table = source()
    variable = FrozenVariable(table, device=DEVICE.lower())
    locked = variable.tf_variable
    assert (variable.device, variable.how) == (DEVICE, "device")
    assert locked.device.endswith(DEVICE)
    assert address(locked) != table.sealed.address
    assert variable.numpy().tobytes() == VALUES.tobytes()
    assert not variable.numpy().flags.writeable
    variable.check()
    variable.verify(deep=True)
    (proof,) = ef.verify(variable).tables
    assert (proof.how, proof.address, proof.digest) == ("device", None, table.digest)
    assert "digest computed on the device" in str(proof)


def test_names_of_devices() -> None:
    for name in ("cpu", "CPU", "cpu:0", "/device:CPU:0", "/job:localhost/task:0/device:CPU:0"):
        variable = FrozenVariable(source(), device=name)
        assert (variable.device, variable.how) == ("CPU:0", "address")
    for name in ("", "tpu", "cpu:x", "cpu:-1", "gpus", 1, None):
        with pytest.raises(EmbedFreezeError, match="device must be 'cpu' or 'gpu'"):
            FrozenVariable(source(), device=name)
    with pytest.raises(EmbedFreezeError, match=r"CPU:0, CPU:1.*'GPU:9'.*device='cpu'"):
        FrozenEmbedding(source(), device="gpu:9")


WRITES: dict[str, Callable[[Any], Any]] = {
    "assign": lambda v: tf.raw_ops.AssignVariableOp(resource=v.handle, value=changed()),
    "scatter": lambda v: tf.raw_ops.ResourceScatterUpdate(
        resource=v.handle, indices=[ROW], updates=changed()[ROW : ROW + 1]
    ),
    "add": lambda v: tf.raw_ops.ResourceScatterAdd(
        resource=v.handle, indices=[ROW], updates=np.ones((1, 16), np.float32)
    ),
}


def changed() -> npt.NDArray[np.float32]:
    values = VALUES.copy()
    values[ROW, 3] = np.nextafter(values[ROW, 3], np.float32(9))
    return values


@pytest.mark.parametrize("write", WRITES)
def test_a_raw_write_is_caught_with_its_row_and_token(write: str) -> None:
    variable = FrozenVariable(source(), device=DEVICE)
    with tf.device(DEVICE):
        WRITES[write](variable.tf_variable)
    for deep in (False, True):
        with pytest.raises(FrozenBytesChanged, match="sealed original differs") as caught:
            variable.verify(deep)
        assert (caught.value.row, caught.value.token) == (ROW, VOCABULARY.tokens[ROW])


def test_another_shape_and_a_digest_that_is_no_longer_the_same() -> None:
    variable = FrozenVariable(source(), device=DEVICE)
    handle = variable.tf_variable.handle
    tf.raw_ops.AssignVariableOp(resource=handle, value=on_device(VALUES[:5]))
    with pytest.raises(FrozenBytesChanged, match=r"its shape is now \[5, 16\]"):
        variable.check()
    tf.raw_ops.AssignVariableOp(resource=handle, value=on_device(VALUES))
    variable.check()  # of a change that was undone nothing is left


def test_a_digest_that_differs_is_an_error_even_if_the_bytes_are_equal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when another thread writes, and writes back while the rows are compared."""
    variable = FrozenVariable(source(), device=DEVICE)
    monkeypatch.setattr(ondevice, "SEEDS", ondevice.SEEDS + np.uint64(1))
    with pytest.raises(FrozenBytesChanged, match="changed back"):
        variable.check()


def test_a_sparse_read_by_others_does_not_disturb() -> None:
    variable = FrozenVariable(source(), device=DEVICE)
    for _ in range(2):
        tf.raw_ops.ResourceGather(
            resource=variable.tf_variable.handle, indices=[1], dtype=tf.float32
        )
        variable.verify(deep=True)


def test_refusals_are_those_of_every_frozen_variable() -> None:
    variable = FrozenVariable(source(), device=DEVICE)
    variable.assign(VALUES)
    variable.assign(on_device(VALUES))
    for attempt in (
        lambda: variable.assign(changed()),
        lambda: variable.assign_add(VALUES),
        lambda: variable.tf_variable.scatter_nd_update([[0]], VALUES[:1]),
        lambda: setattr(variable, "trainable", True),
    ):
        with pytest.raises(FrozenError, match="thaw"):
            attempt()
    variable.verify(deep=True)


@pytest.mark.parametrize("dtype", STORED[:4])
@pytest.mark.parametrize("mode", ["eager", "jit"])
def test_lookups_are_those_of_the_table_in_place(dtype: str, mode: str) -> None:
    matrix = stored(dtype, dim=8)
    here, there = (FrozenEmbedding(seal_array(matrix), device=d) for d in ("cpu", DEVICE))
    ids = np.arange(1, 33, dtype=np.int32).reshape(4, 8)
    with tf.device(DEVICE):
        assert looked_up(there, ids, mode).tobytes() == here(ids).numpy().tobytes()
    there.table.verify(deep=True)
    overwritten = np.zeros((1, matrix.shape[1]), matrix.dtype)
    handle = there.table.tf_variable.handle
    with tf.device(DEVICE):
        tf.raw_ops.ResourceScatterUpdate(resource=handle, indices=[9], updates=overwritten)
    with pytest.raises(FrozenBytesChanged, match="row 9"):
        there.table.check()


def looked_up(layer: FrozenEmbedding, ids: Any, mode: str) -> Any:
    if mode == "eager":
        return layer(ids).numpy()
    return tf.function(lambda: layer(ids), jit_compile=mode == "jit", autograph=False)().numpy()


@pytest.mark.parametrize("mode", ["eager", "graph", "jit"])
def test_rows_of_int8_keep_every_bit(mode: str) -> None:
    """They are gathered as float32; here each word is a NaN, most of which a sum would change."""
    bits = np.random.default_rng(6).integers(0, 256, (300, 8, 4), dtype=np.uint8)
    bits[..., 3] |= 0x7F
    bits[..., 2] |= 0x80
    scales = np.full((300, 1, 4), np.array([1.0], "<f4").view(np.uint8))
    matrix = np.concatenate([bits, scales], axis=1).reshape(300, 36).view(np.int8)
    ids = np.arange(300, dtype=np.int32)
    with tf.device(DEVICE):
        found = looked_up(FrozenEmbedding(seal_array(matrix), device=DEVICE), ids, mode)
    assert found.tobytes() == matrix[:, :32].astype(np.float32).tobytes()


def test_rows_of_int8_that_are_no_whole_words_are_refused() -> None:
    with pytest.raises(EmbedFreezeError, match=r"multiple of 4, received 6: give device='cpu'"):
        FrozenEmbedding(seal_array(stored("int8", dim=6)), device=DEVICE)


def test_a_scalar() -> None:
    table = placement.Table(seal_array(np.full((1, 1), 5.0, np.float64)), shape=())
    five = FrozenVariable(table, device=DEVICE)
    assert float(five) == 5.0
    five.verify(deep=True)
    tf.raw_ops.AssignVariableOp(resource=five.handle, value=tf.constant(6.0, tf.float64))
    with pytest.raises(FrozenBytesChanged, match="row 0"):
        five.check()


# ---- lookups move rows


def table_moves(look: Callable[[], Any]) -> int:
    """How often an operation's output of the size of the table is on another device than it."""
    found: list[str] = []

    def note(
        op_type: str, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None, graph: Any = None
    ) -> None:
        found.extend(x.backing_device for x in outputs if tuple(x.shape) == VALUES.shape)

    op_callbacks.add_op_callback(note)
    try:
        look()
    finally:
        op_callbacks.remove_op_callback(note)
    assert found
    return sum(device != found[0] for device in found)


LOOKUPS: dict[str, Callable[[FrozenVariable], Any]] = {
    "gather": lambda v: tf.gather(v, IDS),
    "take": lambda v: keras.ops.take(v, IDS, axis=0),
    "embedding_lookup": lambda v: tf.nn.embedding_lookup(v, IDS),
    "gather_nd": lambda v: tf.gather_nd(v, IDS[..., None]),
    "tf gather": lambda v: tf.gather(v.tf_variable, IDS),
    "tf gather_nd": lambda v: tf.gather_nd(v.tf_variable, IDS[..., None]),
}


@pytest.mark.parametrize("table_on", ["CPU:0", DEVICE])
@pytest.mark.parametrize("look", LOOKUPS)
def test_lookups_on_another_device_move_rows(look: str, table_on: str) -> None:
    variable = FrozenVariable(source(), device=table_on)
    other = DEVICE if table_on == "CPU:0" else "CPU:0"
    with tf.device(other):
        assert table_moves(lambda: LOOKUPS[look](variable)) == 0
        assert table_moves(lambda: tf.identity(variable.tf_variable.read_value())) > 0
        graph = tf.function(lambda: LOOKUPS[look](variable), autograph=False)
        assert gathered_elsewhere(graph) == []
        assert graph().numpy().tobytes() == VALUES[IDS].tobytes()


def gathered_elsewhere(function: Any) -> list[str]:
    """The gathers of a function, as TensorFlow runs it, that are not where the table is read."""
    context.enable_run_metadata()
    for _ in range(2):  # the first call in a process tells nothing
        function()
    partitions = context.export_run_metadata().partition_graphs
    context.disable_run_metadata()
    nodes = [node for graph in partitions for node in graph.node]
    (table_on,) = {node.device for node in nodes if node.op == "ReadVariableOp"}
    gathers = [node for node in nodes if node.op in ("GatherV2", "GatherNd")]
    assert gathers
    return [node.name for node in gathers if node.device != table_on]


def test_int8_on_another_device_moves_rows_too() -> None:
    for table_on, other in (("CPU:0", DEVICE), (DEVICE, "CPU:0")):
        layer = FrozenEmbedding(seal_array(stored("int8", dim=8)), device=table_on)
        locked, ids = layer.table.tf_variable, np.arange(33, dtype=np.int32)
        with tf.device(other):
            assert gathered_elsewhere(tf.function(lambda: layer(ids))) == []  # noqa: B023
            moved = tf.function(lambda: tf.gather_nd(locked.read_value(), ids[:, None]))  # noqa: B023
            assert len(gathered_elsewhere(moved)) == 1


# ---- training, saving


def test_training_checks_the_copy() -> None:
    table = source()
    model = ef.build_model(
        table, hidden_units=[3], device=DEVICE, optimizer="adam", loss="mse", name="m"
    )
    guard = ef.FreezeGuard()
    model.fit(IDS, LABELS, BATCH, epochs=2, verbose=0, callbacks=[guard])
    model.predict(IDS, verbose=0)
    assert guard.proof().steps == ef.verify(model, deep=True).steps == 2 * STEPS
    assert "digest computed on the device" in str(guard.proof())
    ef.train_step(model, IDS, LABELS)
    assert model.layers[1].digest == table.digest


@pytest.mark.parametrize("steps", [1, 2], ids=["each step", "steps_per_execution"])
def test_an_in_place_write_stops_training_at_its_execution(steps: int) -> None:
    model = ef.build_model(source(), hidden_units=[], device=DEVICE)
    model.compile("sgd", "mse", steps_per_execution=steps)

    def act(batch: int, logs: Any = None) -> None:
        if batch == 2:
            overwrite_a_row(model.layers[1].table)

    callback = keras.callbacks.LambdaCallback(on_train_batch_begin=act)
    with pytest.raises(FrozenBytesChanged) as caught:
        model.fit(IDS, LABELS, BATCH, verbose=0, callbacks=[callback])
    error = caught.value
    assert (error.layer, error.row, error.token) == ("embedding", ROW, VOCABULARY.tokens[ROW])
    assert error.step == (3 if steps == 1 else (3, 4))
    assert int(model.optimizer.iterations.numpy()) == (3 if steps == 1 else 4)


@pytest.mark.slow
def test_trained_weights_equal_those_over_a_stock_layer() -> None:
    trained = []
    for layer in (FrozenEmbedding(source(), device=DEVICE), FrozenEmbedding(source()), stock()):
        model = network(layer)
        model.compile("sgd", "mse", jit_compile=False)
        model.fit(IDS, LABELS, BATCH, verbose=0, shuffle=False)
        trained.append(weights(model))
    assert trained[0] == trained[1] == trained[2]


def test_jit_where_xla_compiles() -> None:
    """XLA compiles for the first GPU, or for the first CPU."""
    here, there = FrozenEmbedding(source()), FrozenEmbedding(source(), device=DEVICE)
    assert (here.supports_jit, there.supports_jit) == (ON_CPU, DEVICE == "GPU:0")
    assert not FrozenEmbedding(source(), device=DEVICE, check_ids=True).supports_jit
    compiled = tf.function(lambda: there(IDS), jit_compile=True, autograph=False)
    with tf.device(DEVICE):
        assert compiled().numpy().tobytes() == VALUES[IDS].tobytes()
    there.table.verify(deep=True)


def test_a_clone_and_a_loaded_model_are_where_it_was(tmp_path: Path) -> None:
    model = ef.build_model(source(), hidden_units=[], device=DEVICE)
    model.save(tmp_path / "model.keras")
    loaded = ef.load_model(tmp_path / "model.keras")
    for other in (keras.models.clone_model(model), loaded):
        table = other.layers[1].table
        assert (table.device, table.how) == (DEVICE, "device")
        assert table.tf_variable.device.endswith(DEVICE)
        assert table.digest == model.layers[1].digest
        ef.verify(other, deep=True)
    assert loaded.predict(IDS, verbose=0).tobytes() == model.predict(IDS, verbose=0).tobytes()


def test_what_a_model_is_saved_in(tmp_path: Path) -> None:
    """Weights, checkpoints and SavedModels, as for a table in place."""
    model = ef.build_model(source(), hidden_units=[], device=DEVICE)
    expected = model.predict(IDS, verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    model.load_weights(tmp_path / "m.weights.h5")
    path = tf.train.Checkpoint(model).save(tmp_path / "c")
    tf.train.Checkpoint(model).restore(path).assert_existing_objects_matched()
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    assert np.abs(served.serve(IDS).numpy() - expected).max() < 1e-6
    ef.verify(model, deep=True)


def test_trainable_oov_and_thaw() -> None:
    rows = [1, 5]
    model = ef.build_model(source(), hidden_units=[], device=DEVICE, trainable_oov=rows)
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(IDS % 8, LABELS, BATCH, verbose=0)
    vectors = model.layers[1](np.arange(8)).numpy()
    assert [i for i in range(8) if vectors[i].tobytes() != VALUES[i].tobytes()] == rows
    ef.verify(model, deep=True)
    thawed = FrozenEmbedding(source(), device=DEVICE).thaw()
    assert thawed(IDS).numpy().tobytes() == VALUES[IDS].tobytes()
    assert thawed.trainable


@pytest.mark.slow
@pytest.mark.skipif(not ON_CPU, reason="two logical CPUs")
def test_under_a_mirrored_strategy() -> None:
    """One copy, which both replicas read."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = ef.build_model(
            source(), hidden_units=[], device=DEVICE, optimizer="sgd", loss="mse"
        )
    model.fit(IDS, LABELS, BATCH, verbose=0)
    assert ef.verify(model, deep=True).steps == STEPS
    overwrite_a_row(model.layers[1].table)
    with pytest.raises(FrozenBytesChanged, match=f"row {ROW}"):
        model.fit(IDS, LABELS, BATCH, verbose=0)


def test_left_for_the_parent() -> None:
    """A model that tests/test_on_device.py loads and serves where this device is not."""
    home = os.environ.get("EMBEDFREEZE_TEST_HOME")
    if home is None:
        pytest.skip("this module was not started by tests/test_on_device.py")
    model = ef.build_model(source(), hidden_units=[], device=DEVICE, name="left")
    assert isinstance(model, FrozenModel)
    model.save(Path(home) / "left.keras")
    model.export(Path(home) / "served", verbose=False)
    predicted = model.predict(IDS, verbose=0).tolist()
    report = {"device": DEVICE, "digest": model.layers[1].digest, "predicted": predicted}
    (Path(home) / "left.json").write_text(json.dumps(report), encoding="utf-8")
