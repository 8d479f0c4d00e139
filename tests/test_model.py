"""`build_model`: pooling against NumPy, padding, saving."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from embedfreeze.align import AlignedEmbeddings
from embedfreeze.errors import VocabularyError
from embedfreeze.frozen import frozen_variables
from embedfreeze.head import build_head
from embedfreeze.model import FrozenModel, build_model
from embedfreeze.pooling import AttentionPooling, MaskedPooling, pooling_layer
from embedfreeze.sealed import seal_array
from embedfreeze.vocabulary import Vocabulary

ONE_VECTOR = ["mean", "max", "sum", "sqrtn", "attention", "flatten"]
POOLINGS = [*ONE_VECTOR, None]
LENGTH, DIM = 6, 4
VOCABULARY = Vocabulary([f"word{i}" for i in range(30)])
# Small whole numbers: their sums are exact in any order, so NumPy must agree bit for bit.
VALUES = np.random.default_rng(0).integers(-9, 10, (len(VOCABULARY), DIM)).astype("float32")
VALUES[0] = np.nan  # padding must never be looked at
IDS = np.random.default_rng(1).integers(0, len(VOCABULARY), (40, LENGTH)).astype("int32")
IDS[:4] = [[0] * LENGTH, [0, 5, 0, 0, 7, 0], [5, 0, 0, 0, 0, 0], [9, 0, 3, 4, 0, 9]]
LABELS = (np.arange(40) % 2).astype("float32")


def source() -> AlignedEmbeddings:
    return AlignedEmbeddings(seal_array(VALUES), VOCABULARY)


def made(pooling: str | None, **options: Any) -> FrozenModel:
    keras.utils.set_random_seed(3)
    return build_model(source(), pooling=pooling, max_length=LENGTH, **options)  # type: ignore[arg-type]


def pooled(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, model.get_layer("pooling").output)


def expected_pool(method: str, ids: np.ndarray) -> np.ndarray:
    """One text after the other, in NumPy."""
    rows = []
    for row in ids:
        vectors = VALUES[row[row != 0]]
        count = np.float32(max(len(vectors), 1))
        match method:
            case "mean" | "attention":  # attention starts as the mean
                pool = vectors.sum(axis=0, dtype="float32") / count
            case "sqrtn":
                pool = vectors.sum(axis=0, dtype="float32") / np.sqrt(count)
            case "sum":
                pool = vectors.sum(axis=0, dtype="float32")
            case "max":
                pool = vectors.max(axis=0) if len(vectors) else np.zeros(DIM, "float32")
            case "flatten":
                pool = np.where(row[:, None] != 0, VALUES[row], np.float32(0)).reshape(-1)
        rows.append(pool)
    return np.array(rows, "float32")


def equal_values(left: np.ndarray, right: np.ndarray) -> bool:
    """Bit equality but for the sign of a zero, which a sum may give either way."""
    return (left + np.float32(0)).tobytes() == (right + np.float32(0)).tobytes()


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("pooling", ONE_VECTOR)
def test_pooling_is_what_numpy_says(pooling: str, jit: bool) -> None:
    ids = IDS
    if pooling == "sqrtn":
        # Graphs turn the division by a root into a product with its inverse, which is not the same
        # bits but where the root is a power of two.
        ids = IDS[np.isin((IDS != 0).sum(axis=1), (0, 1, 4))]
    model = pooled(made(pooling))
    found = tf.function(model, jit_compile=jit)(tf.constant(ids)).numpy()
    assert equal_values(found, expected_pool(pooling, ids))
    assert not found[0].any()  # padding alone


@pytest.mark.parametrize("pooling", ONE_VECTOR)
def test_nothing_of_padding_reaches_weights(pooling: str) -> None:
    """The padding row is NaN and one text is padding alone, yet every weight stays a number."""
    model = made(pooling, optimizer="adam", loss="mse", dropout=0.2)
    model.fit(IDS, LABELS, batch_size=8, epochs=2, verbose=0)
    assert all(np.isfinite(weight.numpy()).all() for weight in model.trainable_weights)


def test_attention_learns_which_tokens_matter() -> None:
    layer = AttentionPooling()
    x = tf.constant(
        [[[1.0, 2.0], [500.0, 3.0], [1000.0, 9.0]], [[1.0, 2.0], [1000.0, 3.0], [0, 0]]]
    )
    mask = tf.constant([[True, True, False], [True, False, False]])
    layer(x, mask=mask)
    layer.query.assign([1.0, 0.0])
    # Softmax over scores that differ by 499 is one for the highest that is kept, zero elsewhere.
    assert layer(x, mask=mask).numpy().tolist() == [[500.0, 3.0], [1.0, 2.0]]
    layer.query.assign([-1e4, 0.0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, mask=mask) ** 2)
    assert np.isfinite(tape.gradient(loss, layer.query.value).numpy()).all()


@pytest.mark.parametrize("pooling", [pooling for pooling in ONE_VECTOR if pooling != "flatten"])
def test_texts_without_tokens(pooling: str) -> None:
    layer = pooling_layer(pooling)  # type: ignore[arg-type]
    empty = np.zeros((2, 0, 3), "float32")
    assert layer(empty).numpy().tolist() == [[0.0] * 3] * 2
    assert layer(empty, mask=np.zeros((2, 0), bool)).numpy().tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_source_without_vocabulary_has_no_padding(pooling: str | None) -> None:
    values = np.random.default_rng(2).normal(size=(5, DIM)).astype("float32")
    model = build_model(seal_array(values), pooling=pooling, max_length=2)  # type: ignore[arg-type]
    shape = (3, 2, 1) if pooling is None else (3, 1)
    assert model(np.array([[0, 1], [2, 3], [4, 4]])).shape == shape
    if pooling == "sum":
        assert np.array_equal(pooled(model)(np.array([[0, 4]]))[0], values[0] + values[4])
    with pytest.raises(VocabularyError, match="vocabulary"):
        build_model(seal_array(values), inputs="text")


def test_layers_and_shapes() -> None:
    model = made("mean", hidden_units=[8, 4], output_units=3, dropout=0.5, name="texts")
    names = [layer.name for layer in model.layers]
    assert names == [
        *("ids", "embedding", "pooling", "dropout_1", "hidden_1"),
        *("dropout_2", "hidden_2", "dropout_3", "output"),
    ]
    assert model.name == "texts"
    assert model(IDS).shape == (40, 3)
    assert not model.compiled
    assert model.get_layer("output").activation is keras.activations.linear
    assert model.get_layer("hidden_1").activation is keras.activations.relu
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    assert "FrozenEmbedding" in "\n".join(lines)
    assert [v.trainable for _, v in frozen_variables(model)] == [False]
    assert all("embedding" not in weight.path for weight in model.trainable_weights)


def test_activations_and_no_hidden_layer() -> None:
    model = made("sum", hidden_units=(), output_activation="sigmoid")
    assert [layer.name for layer in model.layers] == ["ids", "embedding", "pooling", "output"]
    assert model.get_layer("output").activation is keras.activations.sigmoid


def test_ids_of_any_length_without_max_length() -> None:
    model = build_model(source())
    assert model(IDS).shape == model(IDS[:, :2]).shape == (40, 1)


def test_compiled_only_with_optimizer_and_loss() -> None:
    assert made("mean", optimizer="sgd", loss="mse", metrics=["mae"]).compiled
    for options in ({"optimizer": "sgd"}, {"loss": "mse"}, {"metrics": ["mae"]}):
        with pytest.raises(ValueError, match="optimizer and loss"):
            made("mean", **options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pooling": "average"}, "pooling must be one of .*received 'average'"),
        ({"pooling": "flatten"}, "max_length="),
        ({"inputs": "words"}, "inputs must be one of .*received 'words'"),
        ({"check": "sometimes"}, "check must be one of .*received 'sometimes'"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        build_model(source(), **options)


@pytest.mark.parametrize(("given", "remedy"), [(64, "[64]"), (None, "[]")])
def test_hidden_units_that_are_no_sequence(given: Any, remedy: str) -> None:
    expected = f"hidden_units must be a sequence .*received {given}: give {re.escape(remedy)}"
    with pytest.raises(TypeError, match=expected):
        build_model(source(), hidden_units=given)
    with pytest.raises(TypeError, match=expected):
        build_head(DIM, hidden_units=given)


def test_wrong_pooling_method() -> None:
    with pytest.raises(ValueError, match=r"method must be one of .*'attention'"):
        MaskedPooling("attention")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fixed length"):
        MaskedPooling("flatten")(keras.Input((None, 3)))


def test_a_clone_and_a_config_are_functional_and_checked() -> None:
    model = made("attention", optimizer="sgd", loss="mse", check="deep")
    clone = keras.models.clone_model(model)
    assert (type(clone), clone.compiled, clone.check) == (FrozenModel, True, "address")
    rebuilt = FrozenModel.from_config(model.get_config())
    assert (type(rebuilt), rebuilt.check) == (FrozenModel, "deep")
    for other in (clone, rebuilt):
        assert [layer.name for layer in other.layers] == [layer.name for layer in model.layers]
        assert other.get_layer("embedding").digest == model.get_layer("embedding").digest
        assert type(other).__mro__[1] is type(keras.Model(model.inputs, model.outputs))


LOADED = """
import json, sys
import keras, numpy as np, tensorflow as tf
import embedfreeze as ef
ids = np.load("ids.npy")
found = {}
for name in sys.argv[1:]:
    model = ef.load_model(name)
    found[name] = [type(model).__name__, model.check, model(ids).numpy().tobytes().hex()]
model = keras.saving.load_model(sys.argv[1])  # ef.load_model has imported all classes
variable = model.get_layer("embedding").table.tf_variable
changed = np.array(variable.read_value())
changed[7] += 1
try:
    for step in range(4):
        if step == 2:
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=changed)
        model.train_on_batch(ids, np.zeros(len(ids)))
except ef.errors.FrozenBytesChanged as error:
    found["error"] = [error.layer, error.step, error.row, error.token]
print(json.dumps(found))
"""


def test_saved_models_in_a_fresh_process(tmp_path: Path) -> None:
    """Every pooling predicts the same bits; the loaded model is checked, and its steps go on."""
    expected = {}
    for pooling in POOLINGS:
        model = made(pooling, optimizer="sgd", loss="mse", check="address")
        model.train_on_batch(IDS, np.zeros(len(IDS)))
        name = f"{pooling}.keras"
        model.save(tmp_path / name)
        expected[name] = ["FrozenModel", "address", model(IDS).numpy().tobytes().hex()]
    np.save(tmp_path / "ids.npy", IDS)
    child = subprocess.run(
        [sys.executable, "-c", LOADED, *expected],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout.splitlines()[-1])
    assert found.pop("error") == ["embedding", 1 + 3, 7, VOCABULARY.tokens[7]]
    assert found == expected
