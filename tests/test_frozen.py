"""A freeze that holds: nothing that TensorFlow or Keras does moves or copies the sealed bytes."""

import copy
import ctypes
import mmap
import os
import pickle
import subprocess
import sys
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from embedfreeze.align import AlignedEmbeddings
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import EmbedFreezeError, FrozenBytesChanged, FrozenError
from embedfreeze.frozen import (
    FrozenEmbedding,
    FrozenVariable,
    frozen_scalar,
    frozen_variables,
)
from embedfreeze.sealed import seal_array
from embedfreeze.vocabulary import Vocabulary

ROWS, DIM = 102, 8
MATRIX = np.random.default_rng(2).standard_normal((ROWS, DIM)).astype(np.float32)
OTHER = MATRIX.copy()
OTHER[7, 3] = np.nextafter(OTHER[7, 3], np.float32(9))
IDS = np.array([[3, 4, 0], [101, 7, 7]], dtype=np.int32)
MODES = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "jit": lambda f: tf.function(f, autograph=False, jit_compile=True),
}


def aligned(matrix: np.ndarray = MATRIX, **options: Any) -> AlignedEmbeddings:
    """A sealed copy of a matrix whose ordinary tokens are t0, t1, ..."""
    special = len(
        [t for t in (options.get("padding", ""), options.get("unknown", "u")) if t is not None]
    )
    tokens = [f"t{i}" for i in range(len(matrix) - special)]
    return AlignedEmbeddings(seal_array(matrix), Vocabulary(tokens, **options))


def address(variable: Any) -> int:
    """Where TensorFlow reads the variable, found on another way than the library's."""
    value = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)._numpy()
    return int(value.__array_interface__["data"][0])


def assert_untouched(table: AlignedEmbeddings, variable: Any, matrix: np.ndarray = MATRIX) -> None:
    assert address(variable) == table.sealed.address
    assert table.matrix.tobytes() == matrix.tobytes()
    assert tf.convert_to_tensor(variable).numpy().tobytes() == matrix.tobytes()


def network(source: Any, **options: Any) -> keras.Sequential:
    """Lookup, pooling and a dense layer; layers[0] is the FrozenEmbedding."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            FrozenEmbedding(source, **options),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1),
        ]
    )


X = np.random.default_rng(3).integers(0, ROWS, (32, 3)).astype(np.int32)
Y = np.random.default_rng(4).standard_normal((32, 1)).astype(np.float32)


@pytest.fixture
def table() -> AlignedEmbeddings:
    return aligned()


@pytest.fixture
def float16_policy() -> Iterator[None]:
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


# ---- reading


READS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "tf.gather": (lambda v: tf.gather(v, IDS), MATRIX[IDS]),
    "embedding_lookup": (lambda v: tf.nn.embedding_lookup(v, IDS), MATRIX[IDS]),
    "ops.take": (lambda v: keras.ops.take(v, IDS, axis=0), MATRIX[IDS]),
    "sparse_read": (lambda v: v.sparse_read(IDS), MATRIX[IDS]),
    "gather_nd": (lambda v: tf.gather_nd(v, IDS[..., None]), MATRIX[IDS]),
    "slice": (lambda v: v[3:5], MATRIX[3:5]),
    "dense": (lambda v: tf.convert_to_tensor(v), MATRIX),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("locked", [False, True], ids=["keras", "tf"])
def test_reads_see_the_sealed_memory(
    table: AlignedEmbeddings, read: str, mode: str, locked: bool
) -> None:
    variable = FrozenVariable(table)
    look, expected = READS[read]
    seen = MODES[mode](lambda: look(variable.tf_variable if locked else variable))()
    assert seen.numpy().tobytes() == np.ascontiguousarray(expected).tobytes()
    assert_untouched(table, variable.tf_variable)


@pytest.mark.parametrize("locked", [False, True], ids=["keras", "tf"])
def test_a_variable_as_an_argument_of_a_function(table: AlignedEmbeddings, locked: bool) -> None:
    variable = FrozenVariable(table)
    given = variable.tf_variable if locked else variable
    seen = tf.function(lambda v: tf.gather(v, IDS), autograph=False)(given)
    assert seen.numpy().tobytes() == MATRIX[IDS].tobytes()
    assert_untouched(table, variable.tf_variable)


@pytest.mark.parametrize("jit", [False, True])
def test_fit_and_predict_see_the_sealed_memory(table: AlignedEmbeddings, jit: bool) -> None:
    model = network(table)
    model.compile("adam", "mse", jit_compile=jit)
    model.fit(X, Y, epochs=2, verbose=0)
    model.evaluate(X, Y, verbose=0)
    assert model.predict(X, verbose=0).shape == (32, 1)
    assert_untouched(table, model.layers[0].table.tf_variable)


def test_it_is_a_real_tf_variable_and_keras_variable(table: AlignedEmbeddings) -> None:
    variable = FrozenVariable(table, name="words")
    assert isinstance(variable, keras.Variable)
    assert isinstance(variable.tf_variable, tf.Variable)
    assert not variable.trainable
    assert not variable.tf_variable.trainable
    assert (variable.name, tuple(variable.shape), variable.dtype) == ("words", (102, 8), "float32")
    assert variable.digest == table.digest
    assert "words" in repr(variable)


def test_numpy_is_a_view_that_cannot_be_written(table: AlignedEmbeddings) -> None:
    variable = FrozenVariable(table)
    for view in (variable.numpy(), variable.tf_variable.numpy()):
        assert view.__array_interface__["data"][0] == table.sealed.address
        with pytest.raises(ValueError, match="read-only"):
            view[0, 0] = 1


def test_numpy_copies_where_it_is_asked_to(table: AlignedEmbeddings) -> None:
    variable = FrozenVariable(table)
    copied = np.array(variable)
    copied[0, 0] = 1
    assert np.shares_memory(np.asarray(variable), table.matrix)
    assert np.asarray(variable, dtype=np.float64).dtype == np.float64
    assert_untouched(table, variable.tf_variable)


def test_float16_storage() -> None:
    half = MATRIX.astype(np.float16)
    table = aligned(half)
    layer = FrozenEmbedding(table)
    assert layer.table.dtype == "float16"
    assert layer(IDS).numpy().tobytes() == half[IDS].astype(np.float32).tobytes()
    layer.table.assign(half)
    with pytest.raises(FrozenError):
        layer.table.assign(half + np.float16(1))
    assert_untouched(table, layer.table.tf_variable, half)


def anonymous_bytes() -> int:
    """RssAnon of this process: what a copy would add to."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def test_no_read_and_no_equal_assignment_copies_the_table() -> None:
    big = seal_array(np.arange(64 << 20, dtype=np.float32).reshape(-1, 128))
    same_bytes = seal_array(big.array)
    model = network(AlignedEmbeddings(big, Vocabulary(map(str, range(len(big.array) - 2)))))
    variable = model.layers[0].table
    model.compile("adam", "mse", jit_compile=True)
    model.fit(X, Y, verbose=0)  # what TensorFlow needs once
    before = anonymous_bytes()
    for look, _ in (READS[name] for name in READS if name != "dense"):
        for mode in MODES.values():
            mode(lambda: look(variable))()  # noqa: B023
    model.fit(X, Y, epochs=2, verbose=0)
    model.predict(X, verbose=0)
    model.set_weights(model.get_weights())
    variable.assign(same_bytes.array)
    copy.deepcopy(variable)
    repr(variable)
    variable.verify(deep=True)
    assert anonymous_bytes() - before < big.array.nbytes // 2
    assert address(variable) == big.address


# ---- refusals


def in_graph(f: Callable[[], Any]) -> Any:
    return tf.function(f, autograph=True)()


ROWS_0_1 = tf.IndexedSlices(tf.zeros((2, DIM)), tf.constant([0, 1]))
REFUSED: dict[str, Callable[[FrozenVariable], Any]] = {
    "assign": lambda v: v.assign(OTHER),
    "assign another shape": lambda v: v.assign(MATRIX[:5]),
    "assign_add": lambda v: v.assign_add(MATRIX),
    "assign_sub": lambda v: v.assign_sub(MATRIX),
    "value.assign": lambda v: v.value.assign(tf.constant(OTHER)),
    "tf assign_add": lambda v: v.tf_variable.assign_add(tf.zeros((ROWS, DIM))),
    "tf assign_sub": lambda v: v.tf_variable.assign_sub(tf.zeros((ROWS, DIM))),
    "in a graph": lambda v: in_graph(lambda: v.assign(v + 1)),
    "in a graph, tf": lambda v: in_graph(lambda: v.tf_variable.assign(v + 1)),
    "strided slice": lambda v: v.tf_variable[0].assign(MATRIX[1]),
    "trainable": lambda v: setattr(v, "trainable", True),
    "tf trainable": lambda v: setattr(v.tf_variable, "trainable", True),
    "batch_scatter_update": lambda v: v.tf_variable.batch_scatter_update(ROWS_0_1),
    "scatter_nd_update": lambda v: v.tf_variable.scatter_nd_update([[0]], MATRIX[:1]),
    "scatter_nd_add": lambda v: v.tf_variable.scatter_nd_add([[0]], MATRIX[:1]),
    "scatter_nd_sub": lambda v: v.tf_variable.scatter_nd_sub([[0]], MATRIX[:1]),
    "scatter_nd_max": lambda v: v.tf_variable.scatter_nd_max([[0]], MATRIX[:1]),
    "scatter_nd_min": lambda v: v.tf_variable.scatter_nd_min([[0]], MATRIX[:1]),
    "pickle": pickle.dumps,
    "tf pickle": lambda v: pickle.dumps(v.tf_variable),
} | {
    f"scatter_{kind}": lambda v, kind=kind: getattr(v.tf_variable, f"scatter_{kind}")(ROWS_0_1)
    for kind in ("add", "div", "max", "min", "mul", "sub", "update")
}


@pytest.mark.parametrize("attempt", REFUSED)
def test_refused_with_a_remedy(table: AlignedEmbeddings, attempt: str) -> None:
    variable = FrozenVariable(table, name="words")
    with pytest.raises(FrozenError, match=r"'words'.*thaw"):
        REFUSED[attempt](variable)
    assert_untouched(table, variable.tf_variable)
    variable.verify(deep=True)


def test_the_refusal_names_the_row_and_the_token(table: AlignedEmbeddings) -> None:
    with pytest.raises(FrozenError, match=r"row 7 \(token 't5'\)"):
        FrozenVariable(table).assign(OTHER)


@pytest.mark.parametrize(
    "same",
    [
        MATRIX,
        MATRIX.tolist(),
        MATRIX.astype(np.float64),
        np.asfortranarray(MATRIX),
        tf.constant(MATRIX),
        tf.Variable(MATRIX),
        keras.Variable(MATRIX),
    ],
    ids=["array", "list", "float64", "fortran", "tensor", "tf.Variable", "keras.Variable"],
)
def test_equal_bytes_pass_silently(table: AlignedEmbeddings, same: Any) -> None:
    variable = FrozenVariable(table)
    variable.assign(same)
    assert variable.tf_variable.assign(same) is variable.tf_variable
    variable.assign(variable)
    variable.trainable = False
    assert_untouched(table, variable.tf_variable)


def test_equal_floats_are_not_equal_bytes() -> None:
    zeros = np.zeros((4, 2), dtype=np.float32)
    table = aligned(zeros)
    with pytest.raises(FrozenError, match="row 0"):
        FrozenVariable(table).assign(-zeros)
    nans = np.full((4, 2), np.nan, dtype=np.float32)
    FrozenVariable(aligned(nans)).assign(nans)


# ---- what Keras does to all the weights of a model


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1, clipnorm=1.0),
    "ema": lambda: keras.optimizers.Adam(0.1, use_ema=True, ema_overwrite_frequency=1),
    "lion": lambda: keras.optimizers.Lion(0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_leave_it(table: AlignedEmbeddings, name: str) -> None:
    model = network(table)
    model.compile(OPTIMIZERS[name](), "mse")
    kernel = model.layers[-1].kernel.numpy()
    model.fit(X, Y, epochs=2, verbose=0)
    assert (model.layers[-1].kernel.numpy() != kernel).any()
    assert_untouched(table, model.layers[0].table.tf_variable)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_built_on_all_variables(table: AlignedEmbeddings, name: str) -> None:
    model = network(table)
    optimizer = OPTIMIZERS[name]()
    model.compile(optimizer, "mse")
    optimizer.build(model.variables)
    if name == "ema":  # it overwrites every variable with its average
        with pytest.raises(FrozenError, match=r"trainable_variables"):
            model.fit(X, Y, verbose=0)
    else:
        model.fit(X, Y, verbose=0)
    assert_untouched(table, model.layers[0].table.tf_variable)


def tape_step(model: keras.Model, variables: str, watch: bool) -> None:
    """One step that hands an optimizer more than the trainable variables."""
    frozen = model.layers[0].table
    with tf.GradientTape() as tape:
        if watch:
            tape.watch(frozen.tf_variable)
        loss = tf.reduce_mean((model(X) - Y) ** 2)
    chosen = {
        "weights": model.weights,
        "explicit": [*model.trainable_weights, frozen],
        "watched": tape.watched_variables(),
    }[variables]
    gradients = tape.gradient(loss, chosen)
    keras.optimizers.SGD(0.1, weight_decay=0.1).apply_gradients(zip(gradients, chosen, strict=True))


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("variables", ["weights", "explicit", "watched"])
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_a_tape_over_all_weights(table: AlignedEmbeddings, mode: str, variables: str) -> None:
    model = network(table)
    if mode == "eager":
        tape_step(model, variables, watch=False)
    else:
        optimizer = keras.optimizers.SGD(0.1)

        @tf.function
        def step() -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(X) - Y) ** 2)
            gradients = tape.gradient(loss, model.weights)
            optimizer.apply_gradients(zip(gradients, model.weights, strict=True))

        step()
    assert_untouched(table, model.layers[0].table.tf_variable)


@pytest.mark.parametrize("variables", ["weights", "explicit", "watched"])
def test_a_tape_told_to_watch_it_is_refused(table: AlignedEmbeddings, variables: str) -> None:
    model = network(table)
    with pytest.raises(FrozenError, match="trainable_variables"):
        tape_step(model, variables, watch=True)
    assert_untouched(table, model.layers[0].table.tf_variable)


def test_trainable_toggles_do_not_thaw(table: AlignedEmbeddings) -> None:
    model = network(table)
    for owner in (model, model.layers[0]):
        owner.trainable = False
        owner.trainable = True
    assert model.layers[0].table in model.non_trainable_weights
    assert [v.path for v in model.trainable_weights] == [v.path for v in model.layers[-1].weights]
    model.compile(keras.optimizers.AdamW(0.1), "mse")
    model.fit(X, Y, verbose=0)
    assert_untouched(table, model.layers[0].table.tf_variable)
    with pytest.raises(FrozenError, match="trainable=True"):
        FrozenEmbedding(table, trainable=True)


def test_set_weights(table: AlignedEmbeddings) -> None:
    model = network(table)
    weights = model.get_weights()
    model.set_weights(weights)
    model.set_weights([w.copy() for w in weights])
    with pytest.raises(FrozenError, match="row 7"):
        model.set_weights([OTHER, *weights[1:]])
    assert_untouched(table, model.layers[0].table.tf_variable)


def test_early_stopping_restores_the_best_weights(table: AlignedEmbeddings) -> None:
    model = network(table)
    model.compile(keras.optimizers.SGD(5.0), "mse")
    stop = keras.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True)
    model.fit(X, Y, epochs=5, callbacks=[stop], verbose=0)
    assert stop.stopped_epoch
    assert_untouched(table, model.layers[0].table.tf_variable)


# ---- the proof


RAW_WRITES = {
    "assign": lambda v: tf.raw_ops.AssignVariableOp(resource=v.handle, value=OTHER),
    "add": lambda v: tf.raw_ops.AssignAddVariableOp(resource=v.handle, value=OTHER - MATRIX),
    "scatter": lambda v: tf.raw_ops.ResourceScatterUpdate(
        resource=v.handle, indices=[7], updates=OTHER[7:8]
    ),
    "sgd": lambda v: tf.raw_ops.ResourceApplyGradientDescent(
        var=v.handle, alpha=1.0, delta=MATRIX - OTHER
    ),
    "type(v).assign": lambda v: type(tf.Variable(0.0)).assign(v.tf_variable, OTHER),
}


@pytest.mark.parametrize("write", RAW_WRITES)
def test_a_write_that_cannot_be_refused_is_found(table: AlignedEmbeddings, write: str) -> None:
    layer = FrozenEmbedding(table, name="words")
    layer.table.check()
    RAW_WRITES[write](layer.table)
    for prove in (layer.table.check, layer.table.verify, lambda: layer.table.verify(deep=True)):
        with pytest.raises(FrozenBytesChanged, match=r"row 7, token 't5'") as caught:
            prove()
        assert (caught.value.layer, caught.value.row, caught.value.token) == ("words", 7, "t5")
    assert table.matrix.tobytes() == MATRIX.tobytes()


def test_another_shape_is_found(table: AlignedEmbeddings) -> None:
    variable = FrozenVariable(table)
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=MATRIX[:3])
    with pytest.raises(FrozenBytesChanged, match=r"\[3, 8\]"):
        variable.check()


def test_a_copy_of_equal_bytes_is_dropped(table: AlignedEmbeddings) -> None:
    variable = FrozenVariable(table)
    ids = tf.constant(IDS)
    tf.raw_ops.ResourceGather(resource=variable.handle, indices=ids, dtype=tf.float32)
    assert address(variable) != table.sealed.address  # so the check below has something to do
    variable.check()
    assert_untouched(table, variable.tf_variable)
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=MATRIX)
    variable.check()
    assert_untouched(table, variable.tf_variable)


def test_only_deep_sees_another_mapping_at_the_address() -> None:
    page = mmap.PAGESIZE // 4
    matrix = np.arange(8 * page, dtype=np.float32).reshape(8, page)
    layer = FrozenEmbedding(aligned(matrix), name="words")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    where = layer.table.sealed.address + 3 * mmap.PAGESIZE
    fixed = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10
    assert libc.mmap(where, mmap.PAGESIZE, mmap.PROT_READ, fixed, -1, 0) == where
    layer.table.check()
    with pytest.raises(FrozenBytesChanged, match=r"row 3.*token 't1'") as caught:
        layer.table.verify(deep=True)
    assert (caught.value.layer, caught.value.row, caught.value.token) == ("words", 3, "t1")


@pytest.mark.parametrize("megabytes", [1, 100])
def test_the_check_takes_constant_time(megabytes: int) -> None:
    sealed = seal_array(np.zeros((megabytes << 8, 1024), dtype=np.float32))
    variable = FrozenVariable(sealed)
    variable.check()
    assert min(timeit.repeat(variable.check, number=100, repeat=20)) / 100 < 50e-6


def test_the_check_has_no_meaning_in_a_graph(table: AlignedEmbeddings) -> None:
    variable = FrozenVariable(table)
    with pytest.raises(FrozenError, match=r"outside of tf\.function"):
        in_graph(variable.check)


# ---- the layer


def test_the_layer_tracks_its_table(table: AlignedEmbeddings) -> None:
    layer = FrozenEmbedding(table, name="words")
    assert layer.weights == layer.non_trainable_weights == [layer.table]
    assert layer.trainable_weights == []
    assert layer.table.path == "words/table"
    assert layer.vocabulary is table.vocabulary
    assert layer.tokens[7] == "t5"
    assert layer.digest == table.digest


@pytest.mark.parametrize(
    "ids",
    [IDS, IDS.astype(np.int64), IDS.tolist(), tf.constant(IDS), IDS.astype(np.uint8)],
    ids=["int32", "int64", "list", "tensor", "uint8"],
)
def test_lookups(table: AlignedEmbeddings, ids: Any) -> None:
    layer = FrozenEmbedding(table)
    assert layer(ids).numpy().tobytes() == MATRIX[IDS].tobytes()
    assert layer(ids[0]).shape == (3, DIM)


@pytest.mark.usefixtures("float16_policy")
def test_vectors_are_cast_after_the_lookup(table: AlignedEmbeddings) -> None:
    layer = FrozenEmbedding(table)
    assert layer.table.dtype == "float32"
    assert layer(IDS).numpy().tobytes() == MATRIX[IDS].astype(np.float16).tobytes()
    model = network(table)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert_untouched(table, model.layers[0].table.tf_variable)


class Lookup(keras.layers.Layer):
    """A user's layer, whose variables Keras casts under a mixed policy."""

    def __init__(self, table: AlignedEmbeddings) -> None:
        super().__init__()
        self.words = FrozenVariable(table)

    def call(self, ids: Any) -> Any:
        return tf.gather(self.words, ids)


@pytest.mark.usefixtures("float16_policy")
def test_a_bare_variable_is_not_cast_as_a_whole(table: AlignedEmbeddings) -> None:
    layer = Lookup(table)
    assert layer(IDS).numpy().tobytes() == MATRIX[IDS].tobytes()
    assert_untouched(table, layer.words.tf_variable)


def test_ids_as_floats_only_where_they_are_exact() -> None:
    layer = FrozenEmbedding(aligned(np.zeros((2049, 1), dtype=np.float32)))
    assert layer(np.array([2048.0], dtype=np.float32)).shape == (1, 1)
    for inexact in (np.array([1.0], dtype=np.float16), np.array(["king"])):
        with pytest.raises(EmbedFreezeError, match="int32 or int64"):
            layer(inexact)
    with pytest.raises(EmbedFreezeError, match=r"keras\.Input"):
        layer(keras.Input((3,), dtype="float16"))


@pytest.mark.parametrize("padding", ["", "<pad>"])
def test_the_mask_is_the_vocabularys_padding(padding: str) -> None:
    layer = FrozenEmbedding(aligned(padding=padding))
    expected = (IDS != 0).tolist()
    assert layer.compute_mask(IDS).numpy().tolist() == expected
    pooled = keras.layers.GlobalAveragePooling1D()(layer(IDS)).numpy()
    unmasked = FrozenEmbedding(layer.table.tf_variable.table, mask_padding=False)
    assert unmasked.compute_mask(IDS) is None
    assert (pooled != keras.layers.GlobalAveragePooling1D()(unmasked(IDS)).numpy()).any()
    assert FrozenEmbedding(aligned(padding=None)).compute_mask(IDS) is None


def test_check_ids(table: AlignedEmbeddings) -> None:
    layer = FrozenEmbedding(table, check_ids=True, name="words")
    assert layer(IDS).numpy().tobytes() == MATRIX[IDS].tobytes()
    for bad in (-1, ROWS):
        ids = tf.constant([[1, 2], [bad, 3]])
        with pytest.raises(EmbedFreezeError, match=rf"0 to 101, received id {bad} at \[1, 0\]"):
            layer(ids)
        with pytest.raises(tf.errors.InvalidArgumentError, match="rows 0 to 101"):
            MODES["graph"](lambda: layer(ids))()  # noqa: B023
        compiled = MODES["jit"](lambda: layer(ids))().numpy()  # noqa: B023
        assert np.isnan(compiled[1, 0]).all()
        assert compiled[[0, 0, 1], [0, 1, 1]].tobytes() == MATRIX[[1, 2, 3]].tobytes()


def test_unchecked_ids_raise_on_a_cpu_without_xla(table: AlignedEmbeddings) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="102"):
        FrozenEmbedding(table)([[102]])


def test_a_clone_has_the_same_table(table: AlignedEmbeddings) -> None:
    model = network(table, check_ids=True, mask_padding=False)
    clone = keras.models.clone_model(model)
    layer = clone.layers[0]
    assert layer.table.sealed is table.sealed
    assert (layer.check_ids, layer.mask_padding, layer.save_mode) == (True, False, "embed")
    assert layer.vocabulary is table.vocabulary
    assert clone(IDS).shape == (2, 1)
    assert_untouched(table, layer.table.tf_variable)
    assert copy.deepcopy(layer.table) is layer.table


def test_sources_that_are_not_sealed(table: AlignedEmbeddings) -> None:
    loose = Embeddings(table.tokens, MATRIX)
    for source in (MATRIX, loose, "glove.txt"):
        with pytest.raises(TypeError, match="AlignedEmbeddings"):
            FrozenEmbedding(source)
    with pytest.raises(FrozenError, match="safetensors"):
        FrozenEmbedding(table, save="reference")


# ---- finding frozen variables, scalars, the environment


class Holder(keras.Model):
    """Frozen variables as attributes, in containers and in layers, as users write it."""

    def __init__(self, table: AlignedEmbeddings) -> None:
        super().__init__()
        self.bare = FrozenVariable(table, name="bare")
        self.several = {"a": [FrozenVariable(table), keras.Variable(0.0)]}
        self.inner = keras.Sequential([keras.Sequential([FrozenEmbedding(table, name="deep")])])
        self.scale = frozen_scalar(5.0, name="scale")

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs) * self.scale + self.bare[0]


def test_frozen_variables_through_any_nesting(table: AlignedEmbeddings) -> None:
    model = Holder(table)
    assert model(IDS).numpy().tobytes() == (MATRIX[IDS] * np.float32(5) + MATRIX[0]).tobytes()
    found = frozen_variables(model)
    assert [layer.name if layer is not model else "model" for layer, _ in found] == [
        "model",
        "model",
        "model",
        "deep",
    ]
    assert {v.path for _, v in found} >= {"bare", "scale"}
    assert all(any(v is w for w in model.non_trainable_weights) for _, v in found)
    assert frozen_variables(keras.layers.Dense(1)) == []
    assert frozen_variables(model.bare) == [(None, model.bare)]


def test_frozen_scalar() -> None:
    """Five stays five."""
    five = frozen_scalar(5.0)
    assert float(five) == 5.0
    assert (five * 2).numpy() == 10.0
    assert not five.trainable
    five.assign(5.0)
    five.verify(deep=True)
    for attempt in (lambda: five.assign(6.0), lambda: five.assign_add(1.0)):
        with pytest.raises(FrozenError, match="thaw"):
            attempt()
    tf.raw_ops.AssignVariableOp(resource=five.handle, value=6.0)
    with pytest.raises(FrozenBytesChanged, match="row 0"):
        five.check()
    assert frozen_scalar(0.1, dtype="float64").numpy() == 0.1


ENVIRONMENT = """
import json, os, pathlib, sys
home = pathlib.Path(sys.argv[1])
(home / "keras.json").write_text(json.dumps({"backend": "jax"}))
for name, value in (("KERAS_BACKEND", "jax"), ("TF_USE_LEGACY_KERAS", "1"), ("KERAS_HOME", home)):
    os.environ[name] = str(value)
    try:
        import embedfreeze.frozen
    except ValueError as error:
        print(type(error).__name__, error)
    del os.environ[name]
"""


def test_another_keras_is_refused_with_the_remedy(tmp_path: Path) -> None:
    names = ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "KERAS_HOME")
    child = subprocess.run(
        [sys.executable, "-c", ENVIRONMENT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={k: v for k, v in os.environ.items() if k not in names},
    )
    backend, legacy, home = child.stdout.splitlines()
    for line in (backend, legacy, home):
        assert line.startswith("EmbedFreezeError frozen variables need")
    assert "KERAS_BACKEND='jax': unset it" in backend
    assert "which selects Keras 2: unset it" in legacy
    assert "keras.json" in home
