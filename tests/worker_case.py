"""One of two workers of a MultiWorkerMirroredStrategy; tests/test_strategies.py starts both.

Prints one line of JSON: what this worker saw.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from two_cpus import BATCH, IDS, LABELS, address, anonymous_bytes, network, stock, weights

import embedfreeze as ef
from embedfreeze.errors import FrozenBytesChanged
from embedfreeze.frozen import FrozenEmbedding
from embedfreeze.placement import shared_tensor

STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()


def said(function: Callable[[], Any]) -> str:
    """The first line of the error that a function raises."""
    try:
        function()
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return "nothing"


def custom_step(model: keras.Model, optimizer: Any) -> Any:
    """A step as a user writes it."""

    def one(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.nn.compute_average_loss(tf.reduce_mean((model(x) - y) ** 2, axis=-1))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return tf.function(
        lambda batch: STRATEGY.reduce("SUM", STRATEGY.run(one, args=batch), axis=None)
    )


def batches() -> Any:
    data = tf.data.Dataset.from_tensor_slices((IDS, LABELS)).batch(BATCH)
    return STRATEGY.experimental_distribute_dataset(data)


def try_fit(layer: keras.layers.Layer) -> str:
    with STRATEGY.scope():
        model = network(layer)
        model.compile("sgd", "mse", jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices((IDS, LABELS)).batch(BATCH)
    return said(lambda: model.fit(data, verbose=0))


def main(worker: int, store: str) -> None:
    embeddings = ef.read(store)
    before = anonymous_bytes()
    with STRATEGY.scope():
        model = network(FrozenEmbedding(embeddings))
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(model.trainable_variables)
    added = anonymous_bytes() - before
    table = model.layers[0].table
    with STRATEGY.scope():
        broadcast = tf.Variable(shared_tensor(table.table))
    step, losses = custom_step(model, optimizer), []
    for batch in batches():
        losses.append(float(step(batch)))
        ef.verify(model)
    (proof,) = ef.verify(model, deep=True).tables
    report = {
        "added": added,
        "mapped": address(table.tf_variable) == embeddings.sealed.address,
        "broadcast mapped": address(broadcast) == embeddings.sealed.address,
        "replicas": STRATEGY.num_replicas_in_sync,
        "losses": losses,
        "weights": [w.hex() for w in weights(model)],
        "digest": proof.digest,
        "path": proof.path,
        "guarantee": proof.guarantee,
    }
    if worker == 1:
        handle = table.tf_variable.handle
        tf.raw_ops.ResourceScatterUpdate(
            resource=handle, indices=[7], updates=np.zeros((1, table.shape[1]), np.float32)
        )
    step(next(iter(batches())))
    try:
        ef.verify(model)
        report["after"] = "nothing"
    except FrozenBytesChanged as error:
        report["after"] = [error.layer, error.row, error.token]
    report["fit"] = [try_fit(layer) for layer in (FrozenEmbedding(embeddings), stock())]
    print(json.dumps(report))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
