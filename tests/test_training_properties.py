"""Two properties of training: the table's digest stays, and nothing else depends on the freeze.

`HYPOTHESIS_PROFILE=thorough` tries many more networks; `EXAMPLES` of them, where that is set.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from tensorflow.python.framework import config as tf_config

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.frozen import FrozenEmbedding
from embedfreeze.pooling import pooling_layer
from embedfreeze.sealed import seal_array

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "Adam": {"clipnorm": 1.0},
    "AdamW": {"weight_decay": 0.1},
    "RMSprop": {"centered": True},
    "Adagrad": {},
    "Adadelta": {},
    "Adamax": {},
    "Nadam": {"use_ema": True},
    "Ftrl": {},
    "Lion": {"gradient_accumulation_steps": 2},
    "Adafactor": {},
}


def examples(fast: int) -> Any:
    """As many as a test that trains networks can afford; a failure is not made smaller."""
    most = int(os.environ.get("EXAMPLES", 200)) if THOROUGH else fast
    return settings(max_examples=most, phases=[Phase.explicit, Phase.generate])


@dataclass(frozen=True)
class Training:
    """A network over a table, and how it is trained."""

    rows: int = 30
    dim: int = 4
    length: int = 6
    pooling: str = "mean"
    hidden: tuple[int, ...] = (8,)
    dropout: float = 0.0
    optimizer: str = "SGD"
    batch_size: int = 8
    steps: int = 5
    policy: str = "float32"
    jit: bool = False
    seed: int = 0

    @property
    def random(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def matrix(self) -> np.ndarray:
        return self.random.standard_normal((self.rows, self.dim)).astype(np.float32)

    def ids(self) -> np.ndarray:
        shape = (self.batch_size * self.steps, self.length)
        return self.random.integers(0, self.rows, shape).astype(np.int32)

    def labels(self) -> np.ndarray:
        return self.random.standard_normal((self.batch_size * self.steps, 1)).astype(np.float32)

    def network(self, embedding: keras.layers.Layer) -> keras.Model:
        """The same layers, drawn from the same seed, over any embedding."""
        keras.utils.set_random_seed(self.seed)
        ids = keras.Input((self.length,), dtype="int32")
        x = pooling_layer(self.pooling)(embedding(ids))  # type: ignore[arg-type]
        for units in self.hidden:
            x = keras.layers.Dense(units, "relu")(keras.layers.Dropout(self.dropout)(x))
        return keras.Model(ids, keras.layers.Dense(1)(x))

    def train(self, model: keras.Model, **options: Any) -> None:
        optimizer = getattr(keras.optimizers, self.optimizer)(0.01, **OPTIMIZERS[self.optimizer])
        model.compile(optimizer, "mse", jit_compile=self.jit, **options)
        x, y = self.ids(), self.labels()
        model.fit(x, y, batch_size=self.batch_size, shuffle=False, verbose=0)


# Of others no weight may move: every text is padding, or gradients are still being accumulated.
CERTAIN = [
    Training(optimizer="SGD"),
    Training(optimizer="SGD", policy="mixed_bfloat16"),
    Training(optimizer="AdamW"),
    Training(optimizer="AdamW", policy="mixed_bfloat16", dropout=0.3),
    Training(optimizer="Adam", policy="mixed_bfloat16", jit=True),
]
TRAININGS = st.builds(
    Training,
    rows=st.integers(3, 60),
    dim=st.integers(1, 33),
    length=st.integers(1, 9),
    pooling=st.sampled_from(["mean", "max", "sum", "sqrtn", "attention", "flatten"]),
    hidden=st.lists(st.integers(1, 17), max_size=2).map(tuple),
    dropout=st.sampled_from([0.0, 0.3]),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    batch_size=st.integers(1, 16),
    steps=st.integers(1, 6),
    policy=st.sampled_from(["float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float64"]),
    jit=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Op determinism, which TensorFlow can turn off again, but does not say so in public."""
    tf.config.experimental.enable_op_determinism()
    yield
    tf_config.disable_op_determinism()


@pytest.fixture
def own_policy() -> Iterator[None]:
    yield
    keras.config.set_dtype_policy("float32")


def weights_of(model: keras.Model) -> list[bytes]:
    return [weight.numpy().tobytes() for weight in model.trainable_weights]


@pytest.mark.usefixtures("deterministic", "own_policy")
@examples(fast=4)
@example(CERTAIN[0])
@example(CERTAIN[1])
@example(CERTAIN[2])
@example(CERTAIN[3])
@example(CERTAIN[4])
@given(TRAININGS)
def test_trained_weights_equal_those_on_a_stock_embedding(training: Training) -> None:
    """The same network with the same seed on a constant stock `Embedding`, bit for bit."""
    keras.config.set_dtype_policy(training.policy)
    matrix = training.matrix()
    vocabulary = ef.Vocabulary([f"t{i}" for i in range(training.rows - 2)])
    frozen = training.network(
        FrozenEmbedding(AlignedEmbeddings(seal_array(matrix), vocabulary), name="embedding")
    )
    stock_layer = keras.layers.Embedding(
        *matrix.shape, weights=[matrix], trainable=False, mask_zero=True, name="embedding"
    )
    stock = training.network(stock_layer)
    start = weights_of(frozen)
    assert weights_of(stock) == start
    training.train(frozen)
    training.train(stock)
    assert weights_of(frozen) == weights_of(stock)
    assert training not in CERTAIN or weights_of(frozen) != start
    ef.verify(frozen, deep=True)


@pytest.mark.usefixtures("own_policy")
@examples(fast=3)
@example(CERTAIN[4], "int8", True, 3)
@given(
    TRAININGS,
    st.sampled_from(["float32", "float16", "bfloat16", "int8"]),
    st.booleans(),
    st.integers(1, 4),
)
def test_the_digest_stays(
    training: Training, storage: str, trainable_oov: bool, per_execution: int
) -> None:
    """Of any storage, also where some rows are trained, however many steps an execution makes."""
    keras.config.set_dtype_policy(training.policy)
    tokens = [f"t{i}" for i in range(training.rows - 2)]
    found = ef.Embeddings(tokens[::2], training.matrix()[: len(tokens[::2])]).astype(storage)
    table = ef.align(found, ef.Vocabulary(tokens), oov="normal")
    model = training.network(FrozenEmbedding(table, trainable_oov=trainable_oov))
    digest, stored, start = table.digest, table.matrix.tobytes(), weights_of(model)
    training.train(model, steps_per_execution=per_execution)
    assert training not in CERTAIN or weights_of(model) != start
    ef.verify(model, deep=True)
    assert seal_array(table.matrix.copy()).digest == digest
    assert table.matrix.tobytes() == stored
