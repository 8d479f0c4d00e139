"""Training dense layers on features that were made once, against the model that makes them anew.

A step is one of `fit` over batches in memory, and 64 of them are one call of TensorFlow, so that
what Keras does around a step (0.3 ms here, of anyone's step) is no part of either side.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases.training import BATCH, UNITS, batch_of_ids, check_logits, same_weights, table
from benchmarks.measuring import Result
from benchmarks.suite import Bar, Case, times_faster

BATCHES, EPOCHS = 64, 8
FULL = "full model"


def features_of(ids: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The mean of each text, padding left out."""
    kept = [matrix[text[text != 0]] for text in ids]
    return np.array([rows.sum(axis=0) / np.float32(len(rows)) for rows in kept])


def head(path: str) -> Result:
    """On features."""
    import embedfreeze as ef

    matrix = table(path).matrix
    model = ef.build_head(matrix.shape[1], hidden_units=[UNITS])
    return fitted(model, matrix, as_features=True)


def full(path: str, *, jit: bool = False, pooled_lookup: bool = False) -> Result:
    """On ids."""
    import embedfreeze as ef

    embeddings = table(path)
    model = ef.build_model(embeddings, pooled_lookup=pooled_lookup, hidden_units=[UNITS])
    return fitted(model, embeddings.matrix, jit=jit)


def fitted(
    model: Any, matrix: np.ndarray, *, jit: bool = False, as_features: bool = False
) -> Result:
    """The median over epochs of the seconds a step; the first logits must be those of NumPy."""
    import keras

    random = np.random.default_rng(4)
    ids = np.concatenate([batch_of_ids(random, len(matrix)) for _ in range(BATCHES)])
    x = features_of(ids, matrix) if as_features else ids
    weights = same_weights(model, matrix.shape[1], random)
    model.compile(
        "adam",
        keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=jit,
        steps_per_execution=BATCHES,
    )
    check_logits(model.predict_on_batch(x[:BATCH]), ids[:BATCH], matrix, weights)
    labels = random.integers(0, 2, (len(ids), 1)).astype(np.float32)
    seconds, cpu = epochs_of(model, x, labels)
    return {
        "seconds": statistics.median(seconds) / BATCHES,
        "cpu_seconds": cpu / len(seconds) / BATCHES,
    }


def epochs_of(model: Any, x: np.ndarray, labels: np.ndarray) -> tuple[list[float], float]:
    """Seconds of each epoch after the first, and their CPU seconds together."""
    import keras
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((x, labels)).batch(BATCH).cache()
    wall, cpu = [], []
    times = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: wall.append(-time.perf_counter()),
        on_epoch_end=lambda *_: (
            cpu.append(time.process_time()),
            wall.append(wall.pop() + time.perf_counter()),
        ),
    )
    model.fit(data, epochs=1 + EPOCHS, shuffle=False, verbose=0, callbacks=[times])
    return wall[1:], cpu[-1] - cpu[0]


CASES = [
    Case(
        "training on features",
        lambda inputs: [inputs.store(500)],
        {
            "embedfreeze": head,
            FULL: full,
            f"{FULL}, XLA": partial(full, jit=True),
            f"{FULL}, pooled lookup": partial(full, pooled_lookup=True),
        },
        (
            Bar("against the full model", 10, times_faster(FULL)),
            Bar("against the fastest full model", 1, times_faster()),
        ),
    )
]
