"""`trainable_oov`: the rows of special and unfound tokens are trained, all others stay sealed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.errors import EmbedFreezeError, FrozenError
from embedfreeze.frozen import FrozenEmbedding
from embedfreeze.sealed import seal_array

DIM = 4
FOUND = ["t0", "t2", "t4", "t6"]
VOCABULARY = ef.Vocabulary([f"t{i}" for i in range(8)], special=["[A]", "[B]"], unknown_buckets=2)
KNOWN = [VOCABULARY.tokens.index(token) for token in FOUND]
OPEN = [1, 2, 3, 5, 7, 9, 11]  # [UNK], [A], [B], t1, t3, t5, t7
X = np.array([[1, 2, 3, 4, 5, 0], [7, 9, 4, 4, 6, 0], [8, 10, 5, 5, 1, 3], [9, 4, 0, 0, 0, 0]])
X = X.astype(np.int32)  # id 11 is in no text
Y = np.array([[1.0], [-2.0], [3.0], [0.5]], np.float32)
EVERY = np.arange(len(VOCABULARY), dtype=np.int32)


def aligned(vocabulary: ef.Vocabulary = VOCABULARY, **options: Any) -> AlignedEmbeddings:
    """Rows of small whole numbers for the tokens that are found, and others as the policy says."""
    values = np.random.default_rng(0).integers(-9, 10, (len(FOUND), DIM)).astype(np.float32)
    given = {"oov": "normal", "special": {"[A]": np.full(DIM, 7.5)}, **options}
    return ef.align(ef.Embeddings(FOUND, values), vocabulary, **given)


@pytest.fixture(scope="module")
def table() -> AlignedEmbeddings:
    return aligned()


def network(source: Any, **options: Any) -> keras.Model:
    """Lookup, masked mean and a dense layer; layers[1] is the FrozenEmbedding."""
    keras.utils.set_random_seed(1)
    layer = FrozenEmbedding(source, **{"trainable_oov": True, "name": "words", **options})
    return model_over(layer)


def model_over(layer: keras.layers.Layer) -> keras.Model:
    ids = keras.Input((X.shape[1],), dtype="int32", name="ids")
    pooled = keras.layers.GlobalAveragePooling1D()(layer(ids))
    return keras.Model(ids, keras.layers.Dense(1)(pooled))


def vectors_of(model: keras.Model) -> np.ndarray:
    """What the model looks up for every id."""
    found: np.ndarray = model.layers[1](EVERY).numpy()
    return found


def moved_rows(model: keras.Model, table: AlignedEmbeddings) -> list[int]:
    """Ids whose vectors are not those of the table, bit for bit."""
    bits = vectors_of(model).view(np.uint32) != table.matrix.view(np.uint32)
    return np.flatnonzero(bits.any(axis=1)).tolist()


# ---- which rows


def test_the_open_rows_are_special_and_unfound_tokens_without_padding(
    table: AlignedEmbeddings,
) -> None:
    layer = FrozenEmbedding(table, trainable_oov=True)
    assert layer.open_rows.tolist() == OPEN
    assert sorted([0, *OPEN, *KNOWN]) == EVERY.tolist()
    assert layer.oov.numpy().tobytes() == table.matrix[OPEN].tobytes()
    assert table.matrix[2].tolist() == [7.5] * DIM  # as special= gave it
    assert layer(X).numpy().tobytes() == table.matrix[X].tobytes()


def test_a_store_keeps_which_rows(table: AlignedEmbeddings, tmp_path: Path) -> None:
    table.save(tmp_path / "table.safetensors")
    layer = FrozenEmbedding(ef.read(tmp_path / "table.safetensors"), trainable_oov=True)
    assert layer.open_rows.tolist() == OPEN
    assert layer.save_mode == "reference"


def test_rows_found_in_any_source_stay_frozen() -> None:
    first = ef.Embeddings(["t0"], np.ones((1, DIM), np.float32))
    second = ef.Embeddings(["t1", "T2"], np.ones((2, DIM), np.float32))
    vocabulary = ef.Vocabulary(["t0", "t1", "t2", "t3"], padding=None)
    table = ef.align([first, second], vocabulary, match=("exact", "upper"))
    assert FrozenEmbedding(table, trainable_oov=True).open_rows.tolist() == [0, 4]


def test_padding_anywhere_is_not_opened() -> None:
    vocabulary = ef.Vocabulary(["t0", "t1", "[UNK]", "<pad>"], padding="<pad>", special_first=False)
    layer = FrozenEmbedding(aligned(vocabulary, special={}), trainable_oov=True)
    assert layer.open_rows.tolist() == [1, 2]


@pytest.mark.parametrize("choice", [True, False, []])
def test_nothing_to_train_is_an_ordinary_frozen_layer(choice: Any) -> None:
    table = aligned(ef.Vocabulary(FOUND, unknown=None), special={})
    layer = FrozenEmbedding(table, trainable_oov=choice)
    assert (layer.oov, layer.trainable, layer.weights) == (None, False, [layer.table])
    assert layer.open_rows.tolist() == []
    assert layer.get_config()["trainable_oov"] is False


def test_rows_by_id() -> None:
    matrix = np.arange(20, dtype=np.float32).reshape(5, 4)
    layer = FrozenEmbedding(seal_array(matrix), trainable_oov=[1, 4])
    layer.oov.assign(-layer.oov)
    expected = matrix * np.array([[1], [-1], [1], [1], [-1]], np.float32)
    assert layer(np.arange(5)).numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("ids", [[-1], [12], [0, 1], [[1]], [1.0], [False, True], ["a"], 1])
def test_wrong_ids_are_refused(table: AlignedEmbeddings, ids: Any) -> None:
    with pytest.raises(FrozenError, match=r"row ids from 0 to 11 .*padding \(id 0\).*index"):
        FrozenEmbedding(table, trainable_oov=ids)


def test_ids_in_any_order_and_numpys_true(table: AlignedEmbeddings) -> None:
    assert FrozenEmbedding(table, trainable_oov=[3, 1, 3]).open_rows.tolist() == [1, 3]
    assert FrozenEmbedding(table, trainable_oov=np.array([], np.int32)).oov is None
    everything = FrozenEmbedding(table, trainable_oov=True).open_rows
    assert np.array_equal(FrozenEmbedding(table, trainable_oov=np.True_).open_rows, everything)


def test_a_table_without_coverage_is_refused_with_a_remedy() -> None:
    matrix = np.zeros((len(VOCABULARY), DIM), np.float32)
    for source in (seal_array(matrix), AlignedEmbeddings(seal_array(matrix), VOCABULARY)):
        with pytest.raises(FrozenError, match=r"coverage.*embedfreeze\.align"):
            FrozenEmbedding(source, trainable_oov=True)


# ---- training


def runs(optimizers: list[str], fast: list[str]) -> pytest.MarkDecorator:
    """All optimizers with jit and without; those named `fast` in every run of the tests."""
    cases = [(name, mode) for name in optimizers for mode in ("graph", "jit")]
    return pytest.mark.parametrize(
        ("optimizer", "jit"),
        [
            pytest.param(
                name,
                mode == "jit",
                id=f"{name}-{mode}",
                marks=[] if f"{name}-{mode}" in fast else pytest.mark.slow,
            )
            for name, mode in cases
        ],
    )


@runs(
    ["SGD", "Adam", "AdamW", "RMSprop", "Lion", "Adafactor"],
    fast=["SGD-jit", "Adam-graph", "AdamW-jit", "Lion-graph", "Adafactor-graph"],
)
def test_only_open_rows_move(table: AlignedEmbeddings, optimizer: str, jit: bool) -> None:
    model, before = network(table), table.matrix.tobytes()
    model.compile(getattr(keras.optimizers, optimizer)(0.1), "mse", jit_compile=jit)
    model.fit(X, Y, epochs=4, batch_size=2, verbose=0, callbacks=[ef.FreezeGuard()])
    # Id 11 is in no text: only weight decay moves it.
    assert moved_rows(model, table) == (OPEN if optimizer == "AdamW" else OPEN[:-1])
    assert table.matrix.tobytes() == before
    ef.verify(model, deep=True)


@runs(["SGD", "RMSprop", "Adagrad", "Adafactor"], fast=["RMSprop-jit"])
def test_a_single_row_trains(table: AlignedEmbeddings, optimizer: str, jit: bool) -> None:
    """XLA fails on some such steps of an ordinary `Embedding` with one row."""
    model = network(table, trainable_oov=[5])
    model.compile(getattr(keras.optimizers, optimizer)(0.1), "mse", jit_compile=jit)
    model.fit(X, Y, batch_size=2, verbose=0)
    assert moved_rows(model, table) == [5]


def test_a_gradient_step_is_the_sum_over_the_places_of_a_row(table: AlignedEmbeddings) -> None:
    """Against arithmetic: of a sum of w * vector the gradient is w, once for each place."""
    layer = FrozenEmbedding(table, trainable_oov=True)
    before = np.arange(len(OPEN) * DIM, dtype=np.float32).reshape(-1, DIM)
    layer.oov.assign(before)
    weight = np.array([1, 2, 3, 4], np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X) * weight)
    (gradient,) = tape.gradient(loss, layer.trainable_weights)
    assert isinstance(gradient, tf.IndexedSlices)
    keras.optimizers.SGD(0.5).apply([gradient], layer.trainable_weights)
    counts = np.array([(i == X).sum() for i in OPEN], np.float32)
    expected = before - 0.5 * counts[:, None] * weight
    assert layer.oov.numpy().tobytes() == expected.astype(np.float32).tobytes()


@runs(["SGD", "Adam", "AdamW"], fast=["SGD-graph", "AdamW-jit"])
def test_open_rows_move_as_in_an_ordinary_embedding(
    table: AlignedEmbeddings, optimizer: str, jit: bool
) -> None:
    """Against a wholly trainable table whose known rows are put back after every step."""
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    stock = keras.layers.Embedding(*table.matrix.shape, mask_zero=True, name="words")
    closed = [i for i in EVERY if i not in OPEN]
    trained = []
    for layer in (FrozenEmbedding(table, trainable_oov=True, name="words"), stock):
        keras.utils.set_random_seed(1)
        model = model_over(layer)
        if layer is stock:
            stock.set_weights([table.matrix])
        rate = getattr(keras.optimizers, optimizer)(0.1, **options)
        model.compile(rate, "mse", jit_compile=jit)
        for texts in (X[:2], X[2:], X[3:], X[1:2]):  # rows come and go: momentum moves them on
            model.train_on_batch(texts, Y[: len(texts)])
            if layer is stock:
                values = stock.embeddings.numpy()
                values[closed] = table.matrix[closed]
                stock.embeddings.assign(values)
        trained.append(
            [vectors_of(model).tobytes(), *(w.tobytes() for w in model.get_weights()[-2:])]
        )
    assert trained[0] == trained[1]


def test_trainable_freezes_and_frees_the_open_rows(table: AlignedEmbeddings) -> None:
    model = network(table)
    layer = model.layers[1]
    assert layer.weights == [layer.oov, layer.table]
    assert (layer.trainable_weights, layer.non_trainable_weights) == ([layer.oov], [layer.table])
    assert layer.count_params() == (len(OPEN) + len(VOCABULARY)) * DIM
    assert layer.oov.path == "words/oov"
    for owner in (layer, model):
        owner.trainable = False
        assert layer.trainable_weights == []
        model.compile("sgd", "mse")
        before = layer.oov.numpy().tobytes()
        model.train_on_batch(X, Y)
        assert layer.oov.numpy().tobytes() == before
        owner.trainable = True
        assert layer.trainable_weights == [layer.oov]
        model.compile("sgd", "mse")
        model.train_on_batch(X, Y)
        assert layer.oov.numpy().tobytes() != before
    assert not any(weight is layer.table for weight in model.trainable_weights)
    ef.verify(model, deep=True)


def test_created_untrainable_and_trained_later(table: AlignedEmbeddings) -> None:
    layer = FrozenEmbedding(table, trainable_oov=True, trainable=False)
    assert layer.trainable_weights == []
    again = FrozenEmbedding.from_config(layer.get_config())
    assert (again.trainable, again.open_rows.tolist()) == (False, OPEN)
    again.trainable = True
    assert again.trainable_weights == [again.oov]


# ---- lookup

MODES = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "jit": lambda f: tf.function(f, autograph=False, jit_compile=True),
}


@pytest.fixture(params=["float32", "mixed_bfloat16", "float16", "float64"])
def policy(request: pytest.FixtureRequest) -> Iterator[str]:
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("mode", MODES)
def test_lookups(table: AlignedEmbeddings, policy: str, mode: str) -> None:
    layer = FrozenEmbedding(table, trainable_oov=True)
    layer.oov.assign(layer.oov + 1)
    policy_ = keras.config.dtype_policy()
    assert (layer.oov.dtype, layer.compute_dtype) == (
        policy_.variable_dtype,
        policy_.compute_dtype,
    )
    rows = tf.cast(table.matrix, policy_.variable_dtype).numpy()
    rows[OPEN] += rows.dtype.type(1)
    found = MODES[mode](layer)(tf.constant(X))
    assert found.dtype == policy_.compute_dtype
    assert found.numpy().tobytes() == tf.cast(rows[X], policy_.compute_dtype).numpy().tobytes()
    assert layer.compute_mask(X).numpy().tolist() == (X != 0).tolist()


@pytest.mark.parametrize("mode", MODES)
def test_checked_ids(table: AlignedEmbeddings, mode: str) -> None:
    layer = FrozenEmbedding(table, trainable_oov=True, check_ids=True)
    layer.oov.assign(-layer.oov)
    look = MODES[mode](layer)
    expected = table.matrix.copy()
    expected[OPEN] *= -1
    assert look(tf.constant(X)).numpy().tobytes() == expected[X].tobytes()
    bad = tf.constant([1, 12, 4])
    if mode == "jit":
        assert np.isnan(look(bad).numpy()).any(axis=1).tolist() == [False, True, False]
    else:
        with pytest.raises((EmbedFreezeError, tf.errors.InvalidArgumentError), match="0 to 11"):
            look(bad)


def test_texts_in_and_predictions_out(table: AlignedEmbeddings) -> None:
    model = ef.build_model(
        table, inputs="text", trainable_oov=True, hidden_units=[], optimizer="sgd", loss="mse"
    )
    texts = tf.constant(["t0 t1 strange", "t2 t4"])
    model.fit(texts, np.ones(2), epochs=2, verbose=0)
    layer = model.get_layer("embedding")
    unknown = VOCABULARY.encode(["strange"])[0, 0]
    bits = layer(EVERY).numpy() != table.matrix
    assert np.flatnonzero(bits.any(axis=1)).tolist() == sorted([unknown, 5])


# ---- saving


LOADED = """
import json, sys
import keras, numpy as np, tensorflow as tf
import embedfreeze as ef
from embedfreeze.frozen import FrozenEmbedding

x, found = np.load("x.npy"), {}

def describe(name, model):
    layer = model.layers[1]
    ef.verify(model, deep=True)
    before, trained = layer.table.digest, layer.oov.numpy()
    found[name] = [
        model(x).numpy().tobytes().hex(), layer.open_rows.tolist(), len(model.trainable_weights)
    ]
    model.compile("sgd", "mse")
    model.train_on_batch(x, np.ones((len(x), 1)))
    assert (layer.table.digest, layer.oov.numpy().tobytes() == trained.tobytes()) == (before, False)

for name in ("embed", "reference"):
    describe(name, ef.load_model(f"{name}.keras"))
describe("given", ef.load_model("reference.keras", table="table.safetensors"))
saved = tf.saved_model.load("exported")
found["exported"] = saved.serve(x).numpy().tobytes().hex()
print(json.dumps(found))
"""


def test_trained_values_survive_in_a_fresh_process(
    table: AlignedEmbeddings, tmp_path: Path
) -> None:
    table.save(tmp_path / "table.safetensors")
    expected: dict[str, Any] = {}
    for name, source in (
        ("embed", table),
        ("reference", ef.read(tmp_path / "table.safetensors")),
    ):
        model = network(source, save=name)
        model.compile("adam", "mse")
        model.fit(X, Y, epochs=2, verbose=0)
        model.save(tmp_path / f"{name}.keras")
        expected[name] = [model(X).numpy().tobytes().hex(), OPEN, 3]
    model.export(tmp_path / "exported", verbose=False)
    expected |= {"given": expected["reference"], "exported": expected["reference"][0]}
    np.save(tmp_path / "x.npy", X)
    child = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert child.returncode == 0, child.stderr[-3000:]
    assert json.loads(child.stdout.splitlines()[-1]) == expected


def trained_model(table: AlignedEmbeddings, **options: Any) -> keras.Model:
    model = network(table, **options)
    model.compile("sgd", "mse")
    model.train_on_batch(X, Y)
    return model


def test_weights_and_checkpoints_in_this_process(table: AlignedEmbeddings, tmp_path: Path) -> None:
    model = trained_model(table)
    model.save_weights(tmp_path / "m.weights.h5")
    tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    for load in (
        lambda m: m.load_weights(tmp_path / "m.weights.h5"),
        lambda m: tf.train.Checkpoint(model=m).read(str(tmp_path / "checkpoint")),
        lambda m: m.set_weights(model.get_weights()),
    ):
        other = network(table)
        assert vectors_of(other).tobytes() != vectors_of(model).tobytes()
        load(other)
        assert vectors_of(other).tobytes() == vectors_of(model).tobytes()


@pytest.mark.parametrize(
    ("saved", "built", "told"),
    [
        (True, False, "trains 0 rows .* trains 7"),
        (False, True, "trains 7 rows .* trains 0"),
        ([1, 2], [1, 3], "trains 2 rows .* trains others"),
    ],
)
def test_weights_of_other_rows_are_refused(
    table: AlignedEmbeddings, tmp_path: Path, saved: Any, built: Any, told: str
) -> None:
    trained_model(table, trainable_oov=saved).save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ValueError, match=told):
        network(table, trainable_oov=built).load_weights(tmp_path / "m.weights.h5")


def test_a_clone_begins_with_the_table(table: AlignedEmbeddings) -> None:
    clone = keras.models.clone_model(trained_model(table)).layers[1]
    assert clone.table.sealed is table.sealed
    assert clone.oov.numpy().tobytes() == table.matrix[OPEN].tobytes()
