"""`thaw`: ordinary trainable embeddings of the same values, for a second phase of training."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import child
from test_memory import MEASURE

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.errors import FrozenError
from embedfreeze.frozen import FrozenEmbedding, FrozenVariable, frozen_scalar, frozen_variables
from embedfreeze.ordinary import MaskedEmbedding
from embedfreeze.sealed import seal_array

WORDS = [f"t{i}" for i in range(20)]
DIM = 6
X = np.random.default_rng(1).integers(0, 22, (12, 5)).astype(np.int32)
X[:, 3:] = 0
Y = np.random.default_rng(2).standard_normal((12, 1)).astype(np.float32)


def aligned(vocabulary: ef.Vocabulary | None = None, **options: Any) -> AlignedEmbeddings:
    values = np.random.default_rng(0).standard_normal((15, DIM)).astype(np.float32)
    source = ef.Embeddings(WORDS[:15], values)
    return ef.align(source, vocabulary or ef.Vocabulary(WORDS), oov="normal", **options)


@pytest.fixture(scope="module")
def table() -> AlignedEmbeddings:
    return aligned()


def trained(model: keras.Model, **options: Any) -> keras.Model:
    model.compile(keras.optimizers.Adam(0.01), "mse", **options)
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    return model


def the_embedding(model: keras.Model) -> Any:
    (found,) = (la for la in model._flatten_layers() if isinstance(la, keras.layers.Embedding))
    return found


def assert_thawed(model: keras.Model, thawed: keras.Model) -> None:
    """Equal predictions; training moves the copy and nothing of the original."""
    before = [weight.numpy().tobytes() for weight in model.weights]
    predicted = model.predict(X, verbose=0).tobytes()
    assert thawed.predict(X, verbose=0).tobytes() == predicted
    assert not thawed.compiled
    assert not frozen_variables(thawed)
    every = [weight.numpy().copy() for weight in thawed.weights]
    trained(thawed)
    assert all((old != new.numpy()).any() for old, new in zip(every, thawed.weights, strict=True))
    assert [weight.numpy().tobytes() for weight in model.weights] == before
    assert model.predict(X, verbose=0).tobytes() == predicted
    ef.verify(model, deep=True)


# ---- a layer


def test_a_layer(table: AlignedEmbeddings) -> None:
    layer = FrozenEmbedding(table, name="words")
    thawed = layer.thaw()
    assert type(thawed) is keras.layers.Embedding
    assert (thawed.name, thawed.trainable, thawed.mask_zero) == ("words", True, True)
    assert [weight.path for weight in thawed.trainable_weights] == ["words/embeddings"]
    assert thawed.embeddings.numpy().tobytes() == table.matrix.tobytes()
    assert thawed(X).numpy().tobytes() == layer(X).numpy().tobytes()
    assert thawed.compute_mask(X).numpy().tolist() == layer.compute_mask(X).numpy().tolist()
    assert ef.thaw(layer).embeddings.numpy().tobytes() == table.matrix.tobytes()
    assert layer.thaw(name="tuned").name == "tuned"
    again = keras.layers.Embedding.from_config(thawed.get_config())
    assert again(X).shape == (12, 5, DIM)


def test_open_rows_are_thawed_as_they_were_trained(table: AlignedEmbeddings) -> None:
    layer = FrozenEmbedding(table, trainable_oov=True)
    layer.oov.assign(-layer.oov)
    expected = table.matrix.copy()
    expected[layer.open_rows] *= -1
    assert layer.thaw().embeddings.numpy().tobytes() == expected.tobytes()
    assert table.matrix.tobytes() != expected.tobytes()


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "float16", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_storage_and_policy(dtype: str, policy: str) -> None:
    """The copy has the variable's dtype, and looks up the very bits that the frozen layer does."""
    values = np.random.default_rng(3).standard_normal((9, DIM)).astype(np.float32)
    stored = ef.Embeddings([f"t{i}" for i in range(9)], values).astype(dtype)
    layer = FrozenEmbedding(seal_array(stored.matrix), dtype=policy)
    thawed = layer.thaw()
    assert thawed.dtype_policy.name == policy
    assert thawed.embeddings.dtype == layer.variable_dtype
    ids = np.arange(9)
    assert thawed(ids).dtype == layer(ids).dtype
    assert thawed(ids).numpy().tobytes() == layer(ids).numpy().tobytes()


def test_a_table_of_several_parts() -> None:
    matrix = np.random.default_rng(4).standard_normal((3000, 800)).astype(np.float32)
    assert (
        FrozenEmbedding(seal_array(matrix)).thaw().embeddings.numpy().tobytes() == matrix.tobytes()
    )


def test_without_a_mask(table: AlignedEmbeddings) -> None:
    for layer in (
        FrozenEmbedding(table, mask_padding=False),
        FrozenEmbedding(aligned(ef.Vocabulary(WORDS, padding=None))),
    ):
        assert type(layer.thaw()) is keras.layers.Embedding
        assert layer.thaw().compute_mask(X) is None


LOADED = """
import sys
import numpy as np
import embedfreeze as ef
model = ef.load_model("m.keras")
x = np.load("x.npy")
print(model.predict(x, verbose=0).tobytes().hex(), model.layers[1].compute_mask(x).numpy().sum())
"""


def test_padding_anywhere_keeps_its_mask(tmp_path: Path) -> None:
    vocabulary = ef.Vocabulary([*WORDS, "[UNK]", "<pad>"], padding="<pad>", special_first=False)
    x = np.where(X == 0, vocabulary.padding_id, X).astype(np.int32)
    model = ef.build_model(aligned(vocabulary), max_length=5)
    thawed = model.thaw()
    layer = thawed.get_layer("embedding")
    assert (type(layer), layer.padding_id) == (MaskedEmbedding, len(vocabulary) - 1)
    assert layer.compute_mask(x).numpy().tolist() == (x != len(vocabulary) - 1).tolist()
    thawed.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    predicted, kept = done.stdout.split()[-2:]
    assert predicted == thawed.predict(x, verbose=0).tobytes().hex()
    assert int(kept) == (x != len(vocabulary) - 1).sum()
    assert predicted == model.predict(x, verbose=0).tobytes().hex()


# ---- models


def sequential(table: AlignedEmbeddings) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32", name="ids"),
            FrozenEmbedding(table),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1),
        ],
        name="texts",
    )


def deferred(table: AlignedEmbeddings) -> keras.Model:
    """A sequential model without an input: it learns its shape when it is called."""
    model = keras.Sequential(sequential(table).layers)
    model(X)
    return model


def nested(table: AlignedEmbeddings) -> keras.Model:
    """A layer and a model that are used twice, and operations that are no layers."""
    words = FrozenEmbedding(table, name="words")
    inner_ids = keras.Input((None,), dtype="int32")
    pooled = keras.layers.GlobalAveragePooling1D()(words(inner_ids))
    inner = keras.Model(inner_ids, keras.layers.Dense(4, "relu")(pooled), name="inner")
    ids = keras.Input((5,), dtype="int32")
    halves = [inner(ids[:, :3]), inner(ids[:, 2:])]
    direct = keras.ops.mean(words(ids), axis=1)
    x = keras.layers.Concatenate()([*halves, direct])
    x = keras.layers.BatchNormalization()(keras.Sequential([keras.layers.Dense(3)])(x))
    return keras.Model(ids, keras.layers.Dense(1)(x))


def built(table: AlignedEmbeddings) -> keras.Model:
    return ef.build_model(
        table, pooling="attention", hidden_units=[8], dropout=0.2, max_length=5, trainable_oov=True
    )


def recurrent(table: AlignedEmbeddings) -> keras.Model:
    ids = keras.Input((5,), dtype="int32")
    x = keras.layers.Bidirectional(keras.layers.GRU(4))(FrozenEmbedding(table)(ids))
    return keras.Model(ids, keras.layers.Dense(1)(x))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(sequential, marks=pytest.mark.slow),
        deferred,
        nested,
        built,
        pytest.param(recurrent, marks=pytest.mark.slow),
    ],
)
def test_models(table: AlignedEmbeddings, make: Callable[[Any], keras.Model]) -> None:
    model = trained(make(table))
    thawed = ef.thaw(model)
    assert type(thawed) is (
        keras.Sequential if isinstance(model, keras.Sequential) else type(keras.Model(X_, X_))
    )
    assert thawed.name == model.name
    assert [layer.name for layer in thawed.layers] == [layer.name for layer in model.layers]
    assert the_embedding(thawed).embeddings.shape == table.matrix.shape
    assert model.compiled
    assert_thawed(model, thawed)


X_ = keras.Input((1,))


def test_jit_after_thawing(table: AlignedEmbeddings) -> None:
    model = built(table)
    thawed = trained(model.thaw(), jit_compile=True)
    assert (the_embedding(thawed).embeddings.numpy() != table.matrix).any()
    ef.verify(model, deep=True)


def test_named_inputs_and_several_outputs(table: AlignedEmbeddings) -> None:
    ids = {name: keras.Input((5,), dtype="int32", name=name) for name in ("title", "body")}
    words = FrozenEmbedding(table)
    pool = keras.layers.GlobalAveragePooling1D()
    outputs = {name: keras.layers.Dense(1)(pool(words(entry))) for name, entry in ids.items()}
    model = keras.Model(ids, outputs)
    thawed = ef.thaw(model)
    x = {"title": X, "body": X[::-1].copy()}
    found, expected = thawed(x), model(x)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].numpy().tobytes() == values.numpy().tobytes()


def test_texts_as_inputs(table: AlignedEmbeddings) -> None:
    model = ef.build_model(table, inputs="text")
    texts = tf.constant(["t1 t2 strange", "T4", ""])
    assert model.thaw()(texts).numpy().tobytes() == model(texts).numpy().tobytes()


@keras.saving.register_keras_serializable()
class Scaled(keras.layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.factor = frozen_scalar(3.0)

    def call(self, x: Any) -> Any:
        return x * self.factor


def test_other_frozen_variables_stay_frozen(table: AlignedEmbeddings) -> None:
    ids = keras.Input((5,), dtype="int32")
    pooled = keras.layers.GlobalAveragePooling1D()(Scaled()(FrozenEmbedding(table)(ids)))
    model = keras.Model(ids, pooled)
    thawed = ef.thaw(model)
    assert thawed(X).numpy().tobytes() == model(X).numpy().tobytes()
    assert [tuple(variable.shape) for _, variable in frozen_variables(thawed)] == [()]


class Subclassed(keras.Model):
    def __init__(self, words: keras.layers.Layer) -> None:
        super().__init__()
        self.words = words
        self.head = keras.layers.Dense(1)

    def call(self, ids: Any) -> Any:
        return self.head(keras.ops.mean(self.words(ids), axis=1))


def test_a_subclassed_model_names_the_remedy_and_it_works(table: AlignedEmbeddings) -> None:
    model = Subclassed(FrozenEmbedding(table))
    model(X)
    for owner in (model, keras.Sequential([keras.Input((5,), dtype="int32"), model])):
        with pytest.raises(FrozenError, match=r"Subclassed .*embedding\.thaw\(\)"):
            ef.thaw(owner)
    thawed = Subclassed(model.words.thaw())
    thawed(X)
    thawed.head.set_weights(model.head.get_weights())
    assert_thawed(model, thawed)


def test_what_cannot_be_thawed(table: AlignedEmbeddings) -> None:
    with pytest.raises(FrozenError, match="received 'bare' without one"):
        ef.thaw(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="bare"))
    for other in (FrozenVariable(table), table, keras.layers.Dense(1)):
        with pytest.raises(TypeError, match="can be thawed"):
            ef.thaw(other)  # type: ignore[arg-type]
    wrapped = keras.layers.TimeDistributed(FrozenEmbedding(table))
    ids = keras.Input((2, 5), dtype="int32")
    with pytest.raises(FrozenError, match="TimeDistributed"):
        ef.thaw(keras.Model(ids, wrapped(ids)))


def test_refusals_tell_how_to_thaw(table: AlignedEmbeddings) -> None:
    layer = FrozenEmbedding(table)
    with pytest.raises(FrozenError, match=r"layer\.thaw\(\) .*embedfreeze\.thaw\(model\)"):
        layer.table.assign(table.matrix + 1)


PEAK = (
    MEASURE
    + """
import numpy as np, keras, tensorflow as tf
from embedfreeze.frozen import FrozenEmbedding
from embedfreeze.sealed import seal_array
FrozenEmbedding(seal_array(np.zeros((4, 4), np.float32))).thaw()
layer = FrozenEmbedding(seal_array(np.ones((250_000, 200), np.float32)))
layer.table.sealed.array.sum()  # its pages count from the first touch
thawed = peak_of(layer.thaw)
assert float(tf.reduce_min(thawed.embeddings.value)) == 1
"""
)


@pytest.mark.slow
def test_the_peak_is_one_copy_of_the_table() -> None:
    (peak,) = map(int, child(PEAK).split())
    assert 200_000_000 <= peak <= 240_000_000  # a second copy would be 400


def test_what_preprocessing_layers_learned_comes_along(table: AlignedEmbeddings) -> None:
    numbers = np.random.default_rng(8).normal(3, 5, (40, 4)).astype("float32")
    words = [["word1 word2"], ["word3 word1"]]
    scaled, split = (
        keras.layers.Normalization(),
        keras.layers.TextVectorization(output_sequence_length=3),
    )
    scaled.adapt(numbers)
    split.adapt(tf.constant(words))
    given, texts = keras.Input((4,)), keras.Input((1,), dtype="string")
    vectors = keras.layers.Flatten()(FrozenEmbedding(table, mask_padding=False)(split(texts)))
    joined = keras.layers.Concatenate()([scaled(given), vectors])
    model = keras.Model([given, texts], keras.layers.Dense(1)(joined))
    inputs = [tf.constant(numbers[:2]), tf.constant(words)]
    assert ef.thaw(model)(inputs).numpy().tobytes() == model(inputs).numpy().tobytes()
