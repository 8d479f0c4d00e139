"""What the attempts are tried on: the same small model over a stock layer, a variable, and ours."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.frozen import FrozenEmbedding
from embedfreeze.model import FrozenModel
from embedfreeze.sealed import seal_array

ROWS, DIM = 40, 8
BATCH = 4
MATRIX = np.random.default_rng(7).standard_normal((ROWS, DIM)).astype(np.float32)
OTHER = (MATRIX * 2 + 1).astype(np.float32)
IDS = np.random.default_rng(8).integers(0, ROWS, (10 * BATCH, 3)).astype(np.int32)
LABELS = np.random.default_rng(9).standard_normal((len(IDS), 1)).astype(np.float32)
TOKENS = [f"t{row}" for row in range(ROWS)]
VOCABULARY = ef.Vocabulary(TOKENS, padding=None, unknown=None)
STORE = "table.safetensors"
# `watched` and `copied` are ours over a store file, `guarded` is ours in a plain model with a
# FreezeGuard; the other subjects see that file's values once, when they are made.
Kind = Literal["stock", "variable", "ours", "guarded", "watched", "copied"]


@dataclass(frozen=True)
class Mode:
    """How Keras, or a `tf.function`, runs a step, and how many steps are one execution."""

    run: Literal["eager", "graph", "jit"] = "graph"
    steps: int = 1

    def __str__(self) -> str:
        return f"{self.run}-{self.steps}"


MODES = [Mode(run, steps) for run in ("eager", "graph", "jit") for steps in (1, 5)]


@keras.saving.register_keras_serializable(package="thaw")
class Within(keras.layers.Layer):
    """Hands ids on, and runs what an attempt gives it: code inside of the training step."""

    act: Any = None

    def call(self, ids: Any) -> Any:
        if self.act is not None:
            self.act()
        return ids

    def compute_output_spec(self, ids: Any) -> Any:
        return keras.KerasTensor(ids.shape, dtype=ids.dtype)


@keras.saving.register_keras_serializable(package="thaw")
class Lookup(keras.layers.Layer):
    """What people write by hand: rows of a `tf.Variable(trainable=False)`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.table = tf.Variable(tf.zeros((ROWS, DIM)), trainable=False)

    def call(self, ids: Any) -> Any:
        return tf.cast(tf.gather(self.table, ids), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


@dataclass
class Subject:
    """A model with a table in it, and what can be read of that table."""

    kind: Kind
    model: keras.Model
    folder: Path
    also: list[keras.Model] = field(default_factory=list)  # clones and copies that count, too
    differs: bool = False  # what an attempt found by itself

    @property
    def ours(self) -> bool:
        return self.kind not in ("stock", "variable")

    @property
    def layer(self) -> Any:
        """The layer that looks ids up."""
        return self.model.get_layer("words")

    @property
    def within(self) -> Within:
        return self.model.get_layer("within")

    @property
    def variable(self) -> Any:
        """The variable as users of the layer name it: of Keras, or of TensorFlow alone."""
        return self.layer.embeddings if self.kind == "stock" else self.layer.table

    @property
    def tf_variable(self) -> Any:
        """The `tf.Variable`."""
        return self.variable if self.kind == "variable" else self.variable.value

    @property
    def store(self) -> Path:
        """The file that the values came from."""
        return self.folder / STORE

    def is_changed(self) -> bool:
        """Do the stored bytes, or the vectors that a lookup gives, differ from the matrix?"""
        return self.differs or any(_changed(model) for model in [self.model, *self.also])


def _changed(model: keras.Model) -> bool:
    layer = model.get_layer("words")
    try:
        stored = np.asarray(_table(layer))
        if stored.dtype != np.float32 or stored.tobytes() != MATRIX.tobytes():
            return True
        found = layer(tf.range(ROWS))
    except (AttributeError, tf.errors.OpError):  # the table is gone
        return True
    except NotImplementedError:  # the layer looks nothing up any more
        return False
    return found.numpy().tobytes() != tf.cast(MATRIX, layer.compute_dtype).numpy().tobytes()


def _table(layer: Any) -> Any:
    return tf.convert_to_tensor(layer._embeddings if hasattr(layer, "_embeddings") else layer.table)


def words(kind: Kind, folder: Path, **options: Any) -> keras.layers.Layer:
    """The layer that looks ids up, over the matrix."""
    if kind == "variable":
        layer = Lookup(name="words", **options)
        layer.table.assign(MATRIX)
        return layer
    if kind == "stock":
        options = {"trainable": False, **options}
        layer = keras.layers.Embedding(ROWS, DIM, name="words", **options)
        layer.build()
        layer._embeddings.assign(MATRIX)
        return layer
    return FrozenEmbedding(source(kind, folder), name="words", **options)


def source(kind: Kind, folder: Path) -> Any:
    """The table of ours, in sealed memory, or of the store."""
    if kind == "watched":
        return ef.read(write_store(folder))
    if kind == "copied":
        return ef.read(write_store(folder), seal="copy")
    return AlignedEmbeddings(seal_array(MATRIX), VOCABULARY)


def write_store(folder: Path, matrix: np.ndarray = MATRIX) -> Path:
    """The matrix with its tokens as a store, unless it lies there already."""
    if not os.path.exists(folder / STORE):
        ef.write(ef.Embeddings(TOKENS, matrix), folder / STORE)
    return folder / STORE


def network(kind: Kind, layer: keras.layers.Layer) -> keras.Model:
    """Ids through the layer, averaged, into one dense layer."""
    entry = keras.Input((3,), dtype="int32", name="ids")
    vectors = layer(Within(name="within")(entry))
    pooled = keras.layers.GlobalAveragePooling1D(name="pool")(vectors)
    output = keras.layers.Dense(1, name="head")(pooled)
    checked = kind in ("ours", "watched", "copied")
    return (FrozenModel if checked else keras.Model)(entry, output)


def subject(kind: Kind, folder: Path, **options: Any) -> Subject:
    """A new subject; options are those of the layer."""
    keras.utils.set_random_seed(1)
    return Subject(kind, network(kind, words(kind, folder, **options)), folder)
