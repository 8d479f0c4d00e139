"""A training step over a frozen table: lookup, mean over the tokens, two dense layers, Adam."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.measuring import Result
from benchmarks.suite import Bar, Case, times_faster

BATCH, LENGTH, UNITS = 256, 64, 64
BATCHES, WARM, STEPS = 16, 16, 160
STOCK = "stock Embedding"
SPARSE = "embedding_lookup_sparse"
# Of the logits: float32 sums of 64 tokens and of 300 products, each in any order.
BOUND = 1e-5


def table(path: str) -> Any:
    """The store, its first row for padding."""
    import embedfreeze as ef

    read = ef.read(path)
    vocabulary = ef.Vocabulary([str(read.tokens[0])], padding=str(read.tokens[0]), unknown=None)
    return replace(read, special=vocabulary.settings())


def batch_of_ids(random: np.random.Generator, rows: int) -> np.ndarray:
    """Ids by Zipf's law, frequent words being the first rows; texts end in padding, id 0."""
    ids = (rows ** random.random((BATCH, LENGTH))).astype(np.int32)
    lengths = random.integers(LENGTH // 4, LENGTH + 1, (BATCH, 1))
    return np.where(np.arange(LENGTH) < lengths, ids, 0).astype(np.int32)


def ours(path: str, *, jit: bool, pooled_lookup: bool = False) -> Result:
    """The model that `build_model` makes."""
    import embedfreeze as ef

    embeddings = table(path)
    model = ef.build_model(embeddings, pooled_lookup=pooled_lookup, hidden_units=[UNITS])
    return trained(model, embeddings.matrix, jit)


def stock(path: str, *, jit: bool) -> Result:
    """The same network with Keras' own layers."""
    import keras

    matrix = table(path).matrix
    embedding = keras.layers.Embedding(
        *matrix.shape, weights=[matrix], mask_zero=True, trainable=False
    )
    pooling = keras.layers.GlobalAveragePooling1D()
    return trained(network(lambda ids: pooling(embedding(ids))), matrix, jit)


def sparse(path: str, *, jit: bool) -> Result:
    """TensorFlow's own pooled lookup in a layer, as its documentation of such lookups has it."""
    import keras
    import tensorflow as tf

    matrix = table(path).matrix

    class Bag(keras.layers.Layer):
        def build(self, _: object) -> None:
            self.table = self.add_weight(shape=matrix.shape, trainable=False)
            self.table.assign(matrix)

        def call(self, ids: Any) -> Any:
            return tf.nn.safe_embedding_lookup_sparse(
                self.table.value, tf.sparse.from_dense(ids), combiner="mean"
            )

    return trained(network(Bag()), matrix, jit)


def network(pooled: Callable[[Any], Any]) -> Any:
    """The network of `build_model`, with another beginning."""
    import keras

    ids = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Dense(UNITS, activation="relu")(pooled(ids))
    return keras.Model(ids, keras.layers.Dense(1)(hidden))


def trained(model: Any, matrix: np.ndarray, jit: bool) -> Result:
    """The median of many steps; the first logits must be those of NumPy."""
    import keras
    import tensorflow as tf

    random = np.random.default_rng(4)
    ids = [batch_of_ids(random, len(matrix)) for _ in range(BATCHES)]
    weights = same_weights(model, matrix.shape[1], random)
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=jit)
    check_logits(model.predict_on_batch(ids[0]), ids[0], matrix, weights)
    labels = random.integers(0, 2, (BATCHES, BATCH, 1)).astype(np.float32)
    batches = [(tf.constant(x), tf.constant(y)) for x, y in zip(ids, labels, strict=True)]
    for batch in batches[:WARM]:
        step(model, *batch)
    cpu, seconds = time.process_time(), []
    for number in range(STEPS):
        start = time.perf_counter()
        step(model, *batches[number % BATCHES])
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": statistics.median(seconds),
        "cpu_seconds": (time.process_time() - cpu) / STEPS,
        "digest": hashlib.sha256(pooled_texts(model, ids[0], jit).tobytes()).hexdigest()[:16],
    }


def step(model: Any, ids: Any, labels: Any) -> float:
    """The loss of a step."""
    return float(model.train_on_batch(ids, labels))


def pooled_texts(model: Any, ids: np.ndarray, jit: bool) -> np.ndarray:
    """What the first dense layer takes; from there on threads add in an order of the moment."""
    import keras

    beginning = keras.Model(model.input, model.layers[-2].input)
    beginning.compile(jit_compile=jit)
    return np.asarray(beginning.predict_on_batch(ids))


def same_weights(model: Any, dim: int, random: np.random.Generator) -> list[np.ndarray]:
    """Give the dense layers weights that do not depend on what else drew random numbers."""
    first = random.normal(0, 0.05, (dim, UNITS)).astype(np.float32)
    second = random.normal(0, 0.2, (UNITS, 1)).astype(np.float32)
    weights = [first, np.zeros(UNITS, np.float32), second, np.zeros(1, np.float32)]
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(value)
    return weights


def check_logits(
    found: np.ndarray, ids: np.ndarray, matrix: np.ndarray, weights: list[np.ndarray]
) -> None:
    """Hold the logits of a batch to NumPy's in float64."""
    means = np.array([matrix[text[text != 0]].mean(axis=0, dtype=np.float64) for text in ids])
    hidden = np.maximum(means @ weights[0].astype(np.float64), 0)
    wrong = np.abs(hidden @ weights[2].astype(np.float64) - found).max()
    if not wrong <= BOUND:
        raise SystemExit(f"logits are wrong by {wrong}, more than {BOUND}")


def case(name: str, contenders: dict[str, Any], same: str, *, jit: bool = False) -> Case:
    """A case in which a peer must come to the same bits of pooled texts."""
    return Case(
        name,
        lambda inputs: [inputs.store(500)],
        {key: partial(run, jit=jit) for key, run in contenders.items()},
        (Bar("against the fastest peer", 1, times_faster()),),
        same=(same,),
    )


CASES = [
    case("training step", {"embedfreeze": ours, STOCK: stock}, STOCK),
    case("training step, compiled by XLA", {"embedfreeze": ours, STOCK: stock}, STOCK, jit=True),
    case(
        "training step, pooled lookup",
        {
            "embedfreeze": partial(ours, pooled_lookup=True),
            STOCK: stock,
            SPARSE: sparse,
        },
        SPARSE,
    ),
]
