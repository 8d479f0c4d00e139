"""`pooling=` of `FrozenEmbedding`: sums made while rows are read, against the two layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.errors import EmbedFreezeError
from embedfreeze.frozen import FrozenEmbedding
from embedfreeze.pooling import MaskedPooling
from embedfreeze.sealed import seal_array
from embedfreeze.vocabulary import Vocabulary

METHODS = ["mean", "sum", "sqrtn"]
DIM, LENGTH = 5, 7
WORDS = [f"word{i}" for i in range(30)]
VOCABULARIES = {
    "padding first": Vocabulary(WORDS),
    "padding last": Vocabulary([*WORDS, "[UNK]", ""], special_first=False),
    "no padding": Vocabulary(WORDS, padding=None),
}
WAYS: dict[str, Callable[[Any], Any]] = {
    "eager": lambda layer: layer,
    "graph": lambda layer: tf.function(layer.__call__, autograph=False),
    "xla": lambda layer: tf.function(layer.__call__, autograph=False, jit_compile=True),
}


def table(vocabulary: Vocabulary, values: np.ndarray | None = None) -> AlignedEmbeddings:
    """Whole numbers, whose sums are exact in any order; padding is never to be looked at."""
    if values is None:
        values = np.random.default_rng(0).integers(-9, 10, (len(vocabulary), DIM))
    values = values.astype("float32")
    if vocabulary.padding_id is not None:
        values[vocabulary.padding_id] = np.nan
    return AlignedEmbeddings(seal_array(values), vocabulary)


def ids_of(vocabulary: Vocabulary, texts: int = 20) -> np.ndarray:
    """Ids with padding at the end, in between, and in the whole of a text."""
    random = np.random.default_rng(1)
    ids = random.integers(0, len(vocabulary), (texts, LENGTH)).astype("int32")
    if vocabulary.padding_id is not None:
        ids[random.random(ids.shape) < 0.3] = vocabulary.padding_id
        ids[0] = vocabulary.padding_id
        ids[1, 3:] = vocabulary.padding_id
    return ids


def two_layers(source: object, method: str, **options: Any) -> Callable[[Any], Any]:
    """What the layer stands for."""
    embedding, pooling = FrozenEmbedding(source, **options), MaskedPooling(method)  # type: ignore[arg-type]
    return lambda ids: pooling(embedding(ids), mask=embedding.compute_mask(ids))


def same_values(found: Any, expected: Any) -> bool:
    """Bit equality but for the sign of a zero."""
    left, right = np.asarray(found) + np.float32(0), np.asarray(expected) + np.float32(0)
    return left.tobytes() == right.tobytes() and left.shape == right.shape


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_it_is_what_the_two_layers_make(method: str, name: str, way: str, dtype: str) -> None:
    vocabulary = VOCABULARIES[name]
    source, ids = table(vocabulary), tf.constant(ids_of(vocabulary), dtype)
    layer = FrozenEmbedding(source, pooling=method)  # type: ignore[arg-type]
    found = WAYS[way](layer)(ids)
    expected = two_layers(source, method)(ids)
    if method == "sum" or way == "eager":
        assert same_values(found, expected)
    else:  # TensorFlow and XLA divide by multiplying with a rounded inverse
        assert np.allclose(found, expected, rtol=3 * 2.0**-24, atol=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_nothing_to_add(way: str, shape: tuple[int, int]) -> None:
    layer = FrozenEmbedding(table(VOCABULARIES["padding first"]), pooling="mean")
    found = WAYS[way](layer)(tf.zeros(shape, tf.int32)).numpy()
    assert found.tobytes() == np.zeros((shape[0], DIM), "float32").tobytes()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("tokens", [1, 2, 9, 64, 1000])
def test_the_bound_of_its_error(way: str, tokens: int) -> None:
    """Of n tokens at most n * 2**-24 of the magnitudes from the true sum: twice that apart."""
    random = np.random.default_rng(tokens)
    values = random.standard_normal((500, 40)) * 10.0 ** random.integers(-3, 3, (500, 1))
    vocabulary = Vocabulary([f"w{i}" for i in range(500)], padding=None, unknown=None)
    source = table(vocabulary, values)
    ids = random.integers(0, 500, (8, tokens))
    rows = source.matrix[ids].astype(np.float64)
    unit = tokens * 2.0**-24 * np.abs(rows).sum(axis=1)
    found = WAYS[way](FrozenEmbedding(source, pooling="sum"))(tf.constant(ids)).numpy()
    other = np.asarray(two_layers(source, "sum")(tf.constant(ids)))
    assert (np.abs(found - rows.sum(axis=1)) <= unit).all()
    assert (np.abs(found.astype(np.float64) - other) <= 2 * unit).all()


def test_infinite_and_missing_values_of_tokens_stay() -> None:
    vocabulary = VOCABULARIES["padding first"]
    values = np.ones((len(vocabulary), 2))
    values[5], values[6] = [np.inf, np.nan], [-np.inf, 1]
    layer = FrozenEmbedding(table(vocabulary, values), pooling="sum")
    found = layer([[5, 0], [5, 6], [3, 0]]).numpy()
    assert np.array_equal(found, [[np.inf, np.nan], [np.nan, np.nan], [1, 1]], equal_nan=True)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_sums_are_float32_under_every_policy(policy: str) -> None:
    vocabulary = VOCABULARIES["padding first"]
    values = np.full((len(vocabulary), DIM), 1 / 3)
    layer = FrozenEmbedding(table(vocabulary, values), pooling="mean", dtype=policy)
    ids = tf.fill((2, 2000), 3)
    expected = tf.cast(np.float32(1 / 3), layer.compute_dtype)
    for way in WAYS.values():
        found = way(layer)(ids)
        assert found.dtype == layer.compute_dtype
        assert np.allclose(tf.cast(found, "float64"), float(expected), rtol=2e-5)


# ---- ids


def test_only_texts_are_pooled() -> None:
    layer = FrozenEmbedding(table(VOCABULARIES["padding first"]), pooling="mean")
    for shape in ([], [3], [2, 3, 4]):
        with pytest.raises(EmbedFreezeError, match=r"needs ids \[batch, length\], received shape"):
            layer(tf.zeros(shape, tf.int32))


@pytest.mark.parametrize("bad", [-1, 99])
def test_ids_without_a_row(bad: int) -> None:
    source = table(VOCABULARIES["padding first"])
    ids = tf.constant([[2, 3], [4, bad]])
    checked = FrozenEmbedding(source, pooling="mean", check_ids=True)
    with pytest.raises(EmbedFreezeError, match=rf"received id {bad} at \[1, 1\]"):
        checked(ids)
    with pytest.raises(tf.errors.InvalidArgumentError, match="received ids"):
        WAYS["graph"](checked)(ids)
    found = WAYS["xla"](checked)(ids).numpy()
    assert np.isnan(found[1]).all()
    assert same_values(found[0], two_layers(source, "mean")(ids[:1])[0])
    for way in ("eager", "graph"):
        with pytest.raises(tf.errors.InvalidArgumentError):
            WAYS[way](FrozenEmbedding(source, pooling="mean"))(ids)


# ---- training


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows", [[4], [1, 4, 9, 20]])
def test_open_rows_get_the_gradient_of_the_two_layers(way: str, rows: list[int]) -> None:
    source, ids = table(VOCABULARIES["padding first"]), tf.constant(ids_of(Vocabulary(WORDS)))
    pooled = FrozenEmbedding(source, pooling="sum", trainable_oov=rows)
    apart = FrozenEmbedding(source, trainable_oov=rows)
    pooling = MaskedPooling("sum")
    for layer in (pooled, apart):
        layer.oov.assign(layer.oov + 1)

    def gradient(run: Callable[[Any], Any], variable: Any) -> Any:
        with tf.GradientTape() as tape:
            found = run(ids)
            loss = tf.reduce_sum(found * tf.range(1.0, DIM + 1))
        return found, tf.convert_to_tensor(tape.gradient(loss, variable.value))

    run = WAYS[way](pooled)
    found = gradient(run, pooled.oov)
    expected = gradient(lambda x: pooling(apart(x), mask=apart.compute_mask(x)), apart.oov)
    assert same_values(found[0], expected[0])
    assert same_values(found[1], expected[1])


def models(**options: Any) -> tuple[Any, Any]:
    """A model whose lookup pools, and one with two layers; of the same weights."""
    source = table(VOCABULARIES["padding first"])
    made = []
    for pooled_lookup in (True, False):
        keras.utils.set_random_seed(2)
        made.append(ef.build_model(source, pooled_lookup=pooled_lookup, **options))
    return made[0], made[1]


def test_a_model_trains_checked_and_keras_leaves_xla_alone() -> None:
    pooled, apart = models(pooling="sum", hidden_units=[], optimizer="sgd", loss="mse")
    assert not pooled.jit_compile
    assert [layer.name for layer in pooled.layers] == ["ids", "embedding", "output"]
    ids, labels = ids_of(VOCABULARIES["padding first"]), np.arange(20.0)
    apart.compile("sgd", "mse", jit_compile=False)
    for model in (pooled, apart):
        model.fit(ids, labels, batch_size=5, shuffle=False, verbose=0)
    assert same_values(pooled.get_weights()[-2], apart.get_weights()[-2])
    assert pooled.steps_checked == 4
    proof = ef.verify(pooled, deep=True)
    assert proof.tables[0].layer == "embedding"


def test_freeze_guard_finds_a_write() -> None:
    pooled, _ = models(optimizer="sgd", loss="mse")
    layer = pooled.get_layer("embedding")
    plain = keras.Sequential([layer, keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    ids, labels = ids_of(VOCABULARIES["padding first"]), np.arange(20.0)
    plain.fit(ids, labels, verbose=0, callbacks=[ef.FreezeGuard()])
    handle = layer.table.tf_variable.handle

    @tf.function
    def writes() -> Any:
        if tf.shape(layer(ids))[0] < 0:
            tf.raw_ops.AssignVariableOp(resource=handle, value=tf.zeros(layer.table.shape))
        return layer.table.tf_variable.sparse_read([2])

    writes()
    with pytest.raises(ef.errors.FrozenError, match="AssignVariableOp"):
        layer.table.check()


# ---- saving and thawing


@pytest.mark.parametrize("method", METHODS)
def test_saved_and_loaded(method: str, tmp_path: Path) -> None:
    pooled, _ = models(pooling=method, optimizer="sgd", loss="mse")
    ids = ids_of(VOCABULARIES["padding first"])
    expected = pooled.predict(ids, verbose=0)
    pooled.save(tmp_path / "m.keras")
    loaded = ef.load_model(tmp_path / "m.keras")
    assert loaded.get_layer("embedding").pooling == method
    assert same_values(loaded.predict(ids, verbose=0), expected)
    assert len(ef.verify(tmp_path / "m.keras").tables) == 1
    pooled.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    assert same_values(served.serve(ids), expected)
    assert len(ef.verify(tmp_path / "served").tables) == 1
    clone = keras.models.clone_model(pooled)
    assert clone.get_layer("embedding").pooling == method
    assert clone.get_layer("embedding").table.table is pooled.get_layer("embedding").table.table


@pytest.mark.parametrize("name", VOCABULARIES)
def test_thawed(name: str, tmp_path: Path) -> None:
    vocabulary = VOCABULARIES[name]
    model = ef.build_model(table(vocabulary), pooled_lookup=True)
    ids = ids_of(vocabulary)
    thawed = ef.thaw(model)
    assert np.allclose(thawed.predict(ids, verbose=0), model.predict(ids, verbose=0), rtol=1e-6)
    layer = model.get_layer("embedding")
    assert same_values(layer.thaw()(ids), layer(ids))
    assert any(v.shape == layer.table.shape for v in thawed.trainable_variables)
    thawed.compile("adam", "mse")
    thawed.fit(ids, np.arange(20.0), verbose=0)
    thawed.save(tmp_path / "t.keras")
    again = keras.models.load_model(tmp_path / "t.keras")
    assert same_values(again.predict(ids, verbose=0), thawed.predict(ids, verbose=0))


def test_text_inputs() -> None:
    source = table(VOCABULARIES["padding first"])
    pooled, apart = (
        ef.build_model(source, pooling="sum", inputs="text", hidden_units=[], pooled_lookup=on)
        for on in (True, False)
    )
    apart.set_weights(pooled.get_weights())
    texts = tf.constant(["word1 word2", "", "word3 nothing"])
    found = keras.Model(pooled.input, pooled.get_layer("embedding").output)(texts)
    expected = keras.Model(apart.input, apart.get_layer("pooling").output)(texts)
    assert same_values(found, expected)


# ---- what it refuses


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_other_storage_is_refused(dtype: str) -> None:
    vocabulary = VOCABULARIES["no padding"]
    stored = table(vocabulary).astype(dtype)
    with pytest.raises(EmbedFreezeError, match=rf"needs a table of float32, received {dtype}"):
        FrozenEmbedding(stored, pooling="mean")


def test_other_methods_are_refused() -> None:
    source = table(VOCABULARIES["padding first"])
    with pytest.raises(ValueError, match="pooling must be one of .*received 'max'"):
        FrozenEmbedding(source, pooling="max")  # type: ignore[arg-type]
    for pooling in ("max", "attention", "flatten", None):
        with pytest.raises(ValueError, match="pooled_lookup=True needs a pooling of"):
            ef.build_model(source, pooling=pooling, max_length=3, pooled_lookup=True)  # type: ignore[arg-type]
