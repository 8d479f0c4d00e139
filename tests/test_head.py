"""Heads trained on features that were made once, on the real sample; models assembled of them."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import embedfreeze as ef
from embedfreeze.errors import FileError, FormatError, FrozenBytesChanged, FrozenError
from embedfreeze.frozen import frozen_variables
from embedfreeze.model import FrozenModel
from embedfreeze.pooling import MaskedPooling
from embedfreeze.sealed import seal_array

DATA = Path(__file__).parents[1] / "data"
SPLITTER = ef.Splitter(delete=None, separators="[^a-z0-9']+")
METHODS = ["mean", "sum", "sqrtn", "max"]
DIM, TEXTS, BATCH = 50, 1000, 32
SHORT = 15  # tokens, up to which TensorFlow adds one after the other
HEAD = {"hidden_units": [16, 8], "dropout": 0.2}
LOSS = keras.losses.BinaryCrossentropy(from_logits=True)
# Of weights after `trained`, where features are rounded in another way than pooled texts.
BOUND = 1e-5

SLOW = pytest.mark.slow


@cache
def sample() -> tuple[list[str], np.ndarray]:
    """Sentences and labels float32 [texts, 1]."""
    with (DATA / "sentences.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:TEXTS]
    return [row["text"] for row in rows], np.array([[row["label"]] for row in rows], "float32")


@cache
def source() -> ef.AlignedEmbeddings:
    vocabulary = ef.Vocabulary.from_texts(sample()[0], splitter=SPLITTER)
    return ef.load(DATA / "glove.6B.50d.sample.txt", vocabulary)


@cache
def token_weights() -> np.ndarray:
    """Smooth inverse frequencies of the sample's tokens."""
    counts = np.bincount(ids_of(None).ravel(), minlength=len(source().vocabulary))
    return (1e-3 / (1e-3 + counts / counts[1:].sum())).astype("float32")


@cache
def ids_of(length: int | None) -> np.ndarray:
    return source().vocabulary.encode(sample()[0], max_length=length)


def pooled_by_numpy(ids: np.ndarray, method: str, weights: np.ndarray | None) -> np.ndarray:
    """Features float32 [texts, dim]: token after token, then a division."""
    vectors = source().matrix[ids]
    if weights is not None:
        vectors = vectors * weights[ids][..., None]
    kept = (ids != 0)[..., None]
    if method == "max":
        highest = np.where(kept, vectors, np.float32(-np.inf)).max(axis=1)
        return np.where(kept.any(axis=1), highest, np.float32(0))
    total = np.zeros((len(ids), DIM), "float32")
    for place in range(ids.shape[1]):
        total = np.where(kept[:, place], total + vectors[:, place], total)
    count = np.maximum(kept.sum(axis=1), 1).astype("float32")
    return total / {"sum": np.float32(1), "mean": count, "sqrtn": np.sqrt(count)}[method]


def pooled_bound(ids: np.ndarray, method: str, weights: np.ndarray | None) -> np.ndarray:
    """How far a feature may be from a pooled text, as the documentation has it."""
    rows = np.abs(source().matrix.astype("float64"))
    if weights is not None:
        rows = rows * np.abs(weights.astype("float64"))[:, None]
    kept = ids != 0
    count = np.maximum(kept.sum(axis=1, keepdims=True), 1)
    total = (rows[ids] * kept[..., None]).sum(axis=1)
    divisor = {"sum": 1, "mean": count, "sqrtn": np.sqrt(count)}[method]
    return (count + 4) * 2.0**-23 * total / divisor


def head_made(**options: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    return ef.build_head(DIM, **HEAD, **options)


def full_made(method: str, weights: np.ndarray | None = None, **options: Any) -> FrozenModel:
    """The whole model, which begins as `head_made` does."""
    if weights is not None:
        return ef.assemble(source(), head_made(), pooling=method, token_weights=weights, **options)  # type: ignore[arg-type]
    keras.utils.set_random_seed(3)
    return ef.build_model(source(), pooling=method, **HEAD, **options)  # type: ignore[arg-type]


def bits(arrays: Iterable[np.ndarray]) -> list[bytes]:
    return [array.tobytes() for array in arrays]


# ---- features


WAYS = {
    "eager": lambda pool: pool,
    "graph": lambda pool: tf.function(pool, autograph=False),
    "xla": lambda pool: tf.function(pool, autograph=False, jit_compile=True),
}


def same_bits(method: str, way: str, length: int) -> bool:
    """Where features promise to be bit for bit what the pooling layer makes."""
    if method == "max":
        return True
    return length <= SHORT and (way == "eager" or (way == "graph" and method != "sqrtn"))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("length", [SHORT, None])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
def test_features_against_pooling(
    method: str, way: str, length: int | None, weighted: bool
) -> None:
    ids, weights = ids_of(length), token_weights() if weighted else None
    embedding, pooling = ef.FrozenEmbedding(source()), MaskedPooling(method)  # type: ignore[arg-type]
    scale = ef.TokenWeights(token_weights())

    def pool(given: Any) -> Any:
        vectors = embedding(given)
        scaled = scale(vectors, given) if weighted else vectors
        return pooling(scaled, mask=embedding.compute_mask(given))

    found = WAYS[way](pool)(tf.constant(ids)).numpy()
    expected = pooled_by_numpy(ids, method, weights)
    if same_bits(method, way, ids.shape[1]):
        assert found.tobytes() == expected.tobytes()
    else:
        assert (np.abs(found - expected) <= pooled_bound(ids, method, weights)).all()


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("method", ["mean", "sum", "sqrtn"])
def test_features_against_a_pooled_lookup(method: str, jit: bool) -> None:
    ids = ids_of(None)
    layer = ef.FrozenEmbedding(source(), pooling=method)  # type: ignore[arg-type]
    found = tf.function(layer.__call__, autograph=False, jit_compile=jit)(tf.constant(ids))
    wrong = np.abs(found.numpy() - pooled_by_numpy(ids, method, None))
    assert (wrong <= pooled_bound(ids, method, None)).all()


# ---- training


def optimizer(name: str) -> keras.optimizers.Optimizer:
    if name == "adam":
        return keras.optimizers.Adam(0.01)
    return keras.optimizers.SGD(0.1, momentum=0.9)


def trained(model: keras.Model, x: np.ndarray, rule: str, way: str) -> list[np.ndarray]:
    """The dense weights after an epoch; every way begins with the same random state."""
    labels, before = sample()[1], bits(model.get_weights())
    keras.utils.set_random_seed(5)
    if way == "loop":
        looped(model, x, labels, optimizer(rule))
    else:
        model.compile(optimizer(rule), LOSS, jit_compile=way == "xla")
        model.fit(x, labels, BATCH, verbose=0)
    assert bits(model.get_weights()) != before
    return [variable.numpy() for variable in model.trainable_variables]


def looped(model: keras.Model, x: np.ndarray, labels: np.ndarray, rule: Any) -> None:
    rule.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step(given: Any, wanted: Any) -> None:
        with tf.GradientTape() as tape:
            loss = LOSS(wanted, model(given, training=True))
        values = [variable.value for variable in model.trainable_variables]
        rule.apply(tape.gradient(loss, values), model.trainable_variables)

    for low in range(0, len(x), BATCH):
        step(tf.constant(x[low : low + BATCH]), tf.constant(labels[low : low + BATCH]))


@pytest.mark.parametrize(
    ("rule", "way"),
    [
        ("adam", "fit"),
        *(pytest.param(*two, marks=SLOW) for two in (("sgd", "fit"), ("adam", "loop"))),
    ],
)
@pytest.mark.parametrize(
    ("method", "length", "weighted"),
    [("mean", SHORT, False), ("sum", SHORT, True), ("max", None, False)],
)
def test_training_gives_the_same_bits(
    method: str, length: int | None, weighted: bool, rule: str, way: str
) -> None:
    ids, weights = ids_of(length), token_weights() if weighted else None
    features = pooled_by_numpy(ids, method, weights)
    full = trained(full_made(method, weights), ids, rule, way)
    assert bits(trained(head_made(), features, rule, way)) == bits(full)


@pytest.mark.parametrize(
    ("method", "weighted", "way", "options"),
    [
        ("mean", False, "fit", {}),
        pytest.param("mean", True, "xla", {}, marks=SLOW),
        ("sqrtn", True, "fit", {}),
        ("mean", False, "fit", {"pooled_lookup": True}),
    ],
)
def test_training_within_rounding(
    method: str, weighted: bool, way: str, options: dict[str, Any]
) -> None:
    ids, weights = ids_of(None), token_weights() if weighted else None
    features = pooled_by_numpy(ids, method, weights)
    full = trained(full_made(method, weights, **options), ids, "sgd", way)
    head = trained(head_made(), features, "sgd", way)
    assert max(np.abs(a - b).max() for a, b in zip(full, head, strict=True)) <= BOUND


# ---- heads


def test_a_head_is_what_build_model_puts_on_top() -> None:
    options: dict[str, Any] = {"output_units": 3, "activation": "tanh", **HEAD}
    keras.utils.set_random_seed(3)
    head = ef.build_head(DIM, **options)
    keras.utils.set_random_seed(3)
    full = ef.build_model(source(), **options)
    assert [layer.name for layer in full.layers[:3]] == ["ids", "embedding", "pooling"]
    for ours, theirs in zip(head.layers[1:], full.layers[3:], strict=True):
        assert ours.get_config() == theirs.get_config()
        assert bits(ours.get_weights()) == bits(theirs.get_weights())
        assert bits(v.numpy() for v in ours.variables) == bits(v.numpy() for v in theirs.variables)
    (features,) = head.inputs
    assert (features.name, features.shape, features.dtype) == ("features", (None, DIM), "float32")
    assert type(head) is type(keras.Model(head.inputs, head.outputs))
    assert not head.compiled


def test_a_head_is_compiled_with_optimizer_and_loss() -> None:
    head = ef.build_head(4, optimizer="sgd", loss="mse", metrics=["mae"], name="mine")
    assert head.compiled
    assert head.name == "mine"
    with pytest.raises(ValueError, match="optimizer and loss"):
        ef.build_head(4, loss="mse")


@pytest.mark.parametrize("dim", [0, -3, True, 2.5])
def test_wrong_dims(dim: Any) -> None:
    with pytest.raises(ValueError, match="dim must be an int of at least 1, received"):
        ef.build_head(dim)


# ---- assembled models


def assembled(**options: Any) -> FrozenModel:
    return ef.assemble(source(), head_made(), token_weights=token_weights(), **options)


def test_training_either_trains_both() -> None:
    head = head_made(optimizer="sgd", loss=LOSS)
    model = ef.assemble(source(), head, optimizer="sgd", loss=LOSS, name="whole")
    assert [layer.name for layer in model.layers] == ["ids", "embedding", "pooling", head.name]
    assert model.layers[-1] is head
    assert model.name == "whole"
    start = bits(head.get_weights())
    head.fit(pooled_by_numpy(ids_of(None), "mean", None), sample()[1], verbose=0)
    by_head = bits(head.get_weights())
    model.fit(ids_of(None), sample()[1], verbose=0)
    by_model = bits(head.get_weights())
    assert start != by_head != by_model
    assert bits([variable.numpy() for variable in model.trainable_variables]) == by_model


def test_rows_that_are_trained() -> None:
    model = assembled(trainable_oov=True, optimizer="sgd", loss=LOSS)
    layer, before = model.get_layer("embedding"), model.get_layer("embedding").oov.numpy()
    model.fit(ids_of(None), sample()[1], verbose=0)
    assert not np.array_equal(layer.oov.numpy(), before)
    assert ef.verify(model, deep=True)


def test_fit_is_checked_after_each_step() -> None:
    model = assembled(optimizer="sgd", loss=LOSS)
    ((_, variable),) = frozen_variables(model)
    changed = source().matrix.copy()
    changed[321, 3] += 1

    def corrupt(batch: int, logs: object = None) -> None:
        if batch == 4:
            handle = variable.tf_variable.handle
            tf.raw_ops.AssignVariableOp(resource=handle, value=tf.constant(changed))

    callback = keras.callbacks.LambdaCallback(on_train_batch_begin=corrupt)
    with pytest.raises(FrozenBytesChanged) as caught:
        model.fit(ids_of(None), sample()[1], BATCH, verbose=0, callbacks=[callback])
    error = caught.value
    assert (error.layer, error.step, error.row) == ("embedding", 5, 321)
    assert error.token == source().vocabulary.tokens[321]


LOADED = """
import json, sys
import numpy as np, tensorflow as tf
import embedfreeze as ef
texts = tf.constant(json.load(open("texts.json")))
found = {}
for name in sys.argv[1:]:
    model = ef.load_model(name)
    weights = model.get_layer("token_weights").values
    found[name] = {
        "out": model(texts).numpy().tobytes().hex(),
        "weights": [weights.numpy().tobytes().hex(), weights.trainable],
        "check": model.check,
        "steps": int(model.optimizer.iterations.numpy()),
    }
    model.fit(texts, np.zeros((len(texts), 1)), verbose=0)
    found[name]["steps_checked"] = model.steps_checked
print(json.dumps(found))
"""


def test_saved_models_in_a_fresh_process(tmp_path: Path) -> None:
    """With the table in the file or in its store, and with other token weights in each."""
    source().save(tmp_path / "table.safetensors")
    tables: dict[str, Any] = {
        "embed": source(),
        "reference": ef.read(tmp_path / "table.safetensors"),
    }
    texts, labels, expected = sample()[0][:64], sample()[1][:64], {}
    for number, (save, table) in enumerate(tables.items(), start=1):
        weights = token_weights() * np.float32(number)
        options: dict[str, Any] = {"inputs": "text", "save": save, "check": "deep"}
        model = ef.assemble(
            *(table, head_made()), token_weights=weights, optimizer="adam", loss=LOSS, **options
        )
        model.fit(tf.constant(texts), labels, verbose=0)
        model.save(tmp_path / f"{save}.keras")
        expected[f"{save}.keras"] = {
            "out": model(tf.constant(texts)).numpy().tobytes().hex(),
            "weights": [weights.tobytes().hex(), False],
            "check": "deep",
            "steps": 2,
            "steps_checked": 2,
        }
    (tmp_path / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    child = subprocess.run(
        [sys.executable, "-c", LOADED, *expected],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout.splitlines()[-1]) == expected


def test_weights_files_hold_token_weights(tmp_path: Path) -> None:
    model = assembled()
    other = ef.assemble(source(), head_made(), token_weights=token_weights() * 2)
    model.save_weights(tmp_path / "w.weights.h5")
    other.load_weights(tmp_path / "w.weights.h5")
    assert bits(other.get_weights()) == bits(model.get_weights())


def test_a_saved_model_serves(tmp_path: Path) -> None:
    model = assembled(inputs="text", pooling="sqrtn", trainable_oov=True)
    model.export(tmp_path / "served", verbose=False)
    texts = tf.constant(sample()[0][:64])
    served = tf.saved_model.load(str(tmp_path / "served"))
    assert served.serve(texts).numpy().tobytes() == tf.function(model)(texts).numpy().tobytes()
    assert ef.verify(str(tmp_path / "served"), deep=True)


def test_a_thawed_model() -> None:
    model = assembled(inputs="text")
    tuned, texts = ef.thaw(model), tf.constant(sample()[0][:64])
    assert tuned(texts).numpy().tobytes() == model(texts).numpy().tobytes()
    tuned.compile("sgd", LOSS)
    before = tuned.get_layer("embedding").embeddings.numpy()
    tuned.fit(texts, sample()[1][:64], verbose=0)
    assert not np.array_equal(tuned.get_layer("embedding").embeddings.numpy(), before)
    kept = tuned.get_layer("token_weights").values.numpy()
    assert kept.tobytes() == token_weights().tobytes()
    assert bits(model.get_weights()) == bits(assembled().get_weights())


class Called(keras.Model):  # type: ignore[misc]
    """A model that does not declare what it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


@pytest.mark.parametrize("pooled_lookup", [False, True])
@pytest.mark.parametrize("make", [Called, lambda: keras.Sequential([keras.layers.Dense(2)])])
def test_heads_of_other_kinds(make: Any, pooled_lookup: bool) -> None:
    head = make()
    model = ef.assemble(source(), head, pooled_lookup=pooled_lookup)
    features = pooled_by_numpy(ids_of(SHORT), "mean", None)
    assert model(ids_of(SHORT)).shape == (TEXTS, 2)
    if not pooled_lookup:
        assert model(ids_of(SHORT)).numpy().tobytes() == head(features).numpy().tobytes()


def two_inputs() -> keras.Model:
    entries = [keras.Input((DIM,)), keras.Input((DIM,))]
    return keras.Model(entries, keras.layers.Add()(entries))


@pytest.mark.parametrize(
    ("head", "received"),
    [
        (lambda: ef.build_head(DIM + 1), rf"\(None, {DIM + 1}\)"),
        (lambda: ef.build_model(source(), max_length=DIM), "int32"),
        (lambda: keras.Sequential([keras.Input((3, DIM)), keras.layers.Dense(1)]), r"3, 50\)"),
        (two_inputs, r"50\).*50\)"),
    ],
)
def test_wrong_heads(head: Any, received: str) -> None:
    wanted = rf"head must take one input, floats \[batch, {DIM}\] .*received .*{received}"
    with pytest.raises(ValueError, match=wanted):
        ef.assemble(source(), head())


def test_what_is_no_head() -> None:
    with pytest.raises(TypeError, match="head must be a Keras model, received Dense: .*build_head"):
        ef.assemble(source(), keras.layers.Dense(1))
    called = Called()
    called(np.zeros((1, DIM + 1)))
    with pytest.raises(ValueError, match=f"{DIM + 1}.*{DIM}"):
        ef.assemble(source(), called)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pooling": None}, "pooling must be one of .*one vector .*received None"),
        ({"pooling": "flatten"}, "pooling must be one of .*received 'flatten'"),
        ({"pooling": "attention"}, "received 'attention', whose weights are trained .*build_model"),
        ({"pooling": "max", "pooled_lookup": True}, "pooled_lookup=True needs .*received 'max'"),
        ({"pooled_lookup": True, "token_weights": np.ones(3)}, "pooled_lookup=True adds rows"),
        ({"token_weights": np.ones(3)}, r"token_weights must be \[\d+\], .* received \[3\]"),
        ({"token_weights": np.ones((3, 1))}, r"weights must be numbers .*\[3, 1\]"),
        ({"inputs": "words"}, "inputs must be one of .*received 'words'"),
        ({"loss": "mse"}, "optimizer and loss"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ef.assemble(source(), head_made(), **options)


@pytest.mark.parametrize("make", ["build_model", "assemble"])
def test_unreachable_tokens_are_reported_where_the_model_is_made(make: str) -> None:
    vocabulary = ef.Vocabulary(["New York", "good"], splitter=SPLITTER)
    table = ef.AlignedEmbeddings(seal_array(np.ones((4, DIM), "float32")), vocabulary)
    head = [ef.build_head(DIM)] if make == "assemble" else []
    with pytest.warns(UserWarning, match="never produces 1 of the 4 .*'New York'") as warned:
        getattr(ef, make)(table, *head, inputs="text")
    assert {Path(warning.filename).name for warning in warned} == {Path(__file__).name}


# ---- token weights


VECTORS = np.arange(12, dtype="float32").reshape(1, 3, 4)
IDS = np.array([[2, 0, 1]])


def test_token_weights_scale_and_keep_the_mask() -> None:
    layer = ef.TokenWeights([1.0, 0.5, -3.0], name="mine")
    assert layer.name == "mine"
    expected = VECTORS * np.array([[[-3.0], [1.0], [0.5]]], "float32")
    assert layer(VECTORS, IDS).numpy().tobytes() == expected.tobytes()
    masked = keras.layers.Masking()(VECTORS * np.array([[[1], [0], [1]]]))
    found = MaskedPooling("mean")(layer(masked, tf.constant(IDS)))
    assert found.numpy().tobytes() == ((expected[:, 0] + expected[:, 2]) / 2).tobytes()


def test_token_weights_are_never_trained() -> None:
    model = assembled(optimizer="sgd", loss=LOSS)
    layer = model.get_layer("token_weights")
    layer.trainable = model.trainable = True
    model.fit(ids_of(None), sample()[1], verbose=0)
    assert layer.trainable_variables == []
    assert layer.values.numpy().tobytes() == token_weights().tobytes()


def test_token_weights_under_mixed_precision() -> None:
    layer = ef.TokenWeights([0.1, 1 / 3, 7.0], dtype="mixed_float16")
    found = layer(VECTORS, IDS)
    weights = np.array([0.1, 1 / 3, 7.0], "float32").astype("float16")
    assert layer.values.dtype == "float32"
    assert (
        found.numpy().tobytes() == (VECTORS.astype("float16") * weights[IDS][..., None]).tobytes()
    )


def test_a_clone_takes_the_token_weights() -> None:
    clone = keras.models.clone_model(assembled())
    assert clone.get_layer("token_weights").values.numpy().tobytes() == token_weights().tobytes()


def test_a_config_alone_gives_no_numbers() -> None:
    config = {**ef.TokenWeights([1.0, 2.0, 3.0]).get_config(), "digest": "0" * 64}
    layer = ef.TokenWeights.from_config(config)
    assert np.isnan(layer(VECTORS, IDS)).all()
    layer.set_weights([np.array([1.0, 2.0, 3.0])])
    assert layer(VECTORS, IDS).numpy()[0, 0].tolist() == [0.0, 3.0, 6.0, 9.0]


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ([1.0, np.nan, np.nan], "must be finite, received nan for id 1, the first of 2"),
        ([1.0, 2.0, -np.inf], "must be finite, received -inf for id 2, the first of 1"),
        ([1e39, 1.0], r"must be finite, received 1e\+39 for id 0"),
        (["1", "2"], r"must be numbers \[rows\]"),
        ([[1.0]], r"must be numbers \[rows\], received float64 \[1, 1\]"),
        (3.0, r"must be numbers \[rows\], received float64 \[\]"),
    ],
)
def test_what_is_no_weight(weights: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ef.TokenWeights(weights)


@pytest.fixture(name="encoded")
def _encoded(tmp_path: Path) -> tuple[ef.AlignedEmbeddings, Path]:
    vocabulary = ef.Vocabulary.from_counts(ef.count_corpus(DATA / "sentences.tsv", min_count=2))
    table = ef.load(DATA / "glove.6B.50d.sample.txt", vocabulary)
    ef.encode(
        table,
        DATA / "sentences.tsv",
        tmp_path / "features",
        weights="sif",
        max_length=SHORT,
        label="label",
        processes=1,
    )
    return table, tmp_path / "features"


def test_a_head_is_served_as_its_features_were_made(
    encoded: tuple[ef.AlignedEmbeddings, Path],
) -> None:
    table, folder = encoded
    head = ef.build_head(table.dim)
    model = ef.assemble(table, head, features=folder, inputs="text")
    texts, _ = sample()
    features = np.concatenate([x.numpy() for x, _ in ef.dataset(folder, batch_size=500)])
    given = model(tf.constant(texts)).numpy()
    assert bits(given) == bits(head(features[: len(texts)]).numpy())


def test_features_that_do_not_fit(encoded: tuple[ef.AlignedEmbeddings, Path]) -> None:
    table, folder = encoded
    head = ef.build_head(table.dim)
    with pytest.raises(ValueError, match="are those of features: leave them out"):
        ef.assemble(table, head, features=folder, pooling="sum")
    with pytest.raises(FrozenError, match="the features were made with a table of the digest"):
        ef.assemble(table.astype("float16"), head, features=folder)
    (folder / "weights.npy").write_bytes(b"damaged")
    with pytest.raises(FormatError, match=r"weights\.npy: the weights of a job must be float32"):
        ef.assemble(table, head, features=folder)
    (folder / "weights.npy").unlink()
    with pytest.raises(FileError, match=r"weights\.npy: is missing: run the same"):
        ef.assemble(table, head, features=folder)
    with pytest.raises(FileError, match="is missing, so the job that writes this folder"):
        ef.assemble(table, head, features=folder / "nowhere")
