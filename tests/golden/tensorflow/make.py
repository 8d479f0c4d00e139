"""Make the golden checkpoints with TensorFlow; run ``python tests/golden/tensorflow/make.py``.

Every matrix is `values(rows, dim)`, so that the tests know it.
"""

import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
KINDS = ("float32", "float64", "float16", "bfloat16")


def values(rows: int, dim: int) -> np.ndarray:
    """Small numbers of both signs [rows, dim] that all kinds of floats hold."""
    return (np.arange(rows * dim).reshape(rows, dim) - rows * dim // 2) / 8


def checkpoint() -> None:
    """Objects with a variable of each kind of float, beside others."""
    made = {kind: tf.Variable(tf.cast(values(4, 3), kind), name=kind) for kind in KINDS}
    other = {"count": tf.Variable(7), "line": tf.Variable(np.ones(4, np.float32))}
    objects = tf.train.Checkpoint(**made, **other)
    tf.train.CheckpointManager(objects, str(HERE / "objects"), 1).save()


def saved_model() -> None:
    """A SavedModel of one variable."""
    module = tf.Module()
    module.words = tf.Variable(values(4, 3).astype(np.float32), name="words/embeddings")
    module.kernel = tf.Variable(values(3, 3).astype(np.float32), name="dense/kernel")
    tf.saved_model.save(module, str(HERE / "savedmodel"))
    (HERE / "savedmodel" / "fingerprint.pb").unlink()
    (HERE / "savedmodel" / "assets").rmdir()


def first_version() -> None:
    """TensorFlow 1: a variable in three parts, on two devices, and the format before."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session(config=v1.ConfigProto(device_count={"CPU": 2})) as run:
        parts = tf.compat.v1.fixed_size_partitioner(3)
        with tf.device("/cpu:0"):
            v1.get_variable(
                "words", (10, 3), initializer=_constant(values(10, 3)), partitioner=parts
            )
        with tf.device("/cpu:1"):
            v1.get_variable("other", (2, 3), initializer=_constant(values(2, 3)))
        run.run(v1.global_variables_initializer())
        for name, options in (("parts", {"sharded": True}), ("version1", {"write_version": 1})):
            (HERE / name).mkdir(exist_ok=True)
            saver = v1.train.Saver(**options)
            saver.save(run, str(HERE / name / "model.ckpt"), write_meta_graph=False)
            latest = HERE / name / "checkpoint"
            text = latest.read_text(encoding="utf-8")
            latest.write_text(text.replace(str(HERE), "/where/it/was"), encoding="utf-8")


def _constant(matrix: np.ndarray):
    """An initializer that gives a part of a matrix."""

    def initializer(shape, dtype=None, partition_info=None):
        first = 0 if partition_info is None else partition_info.var_offset[0]
        return tf.constant(matrix[first : first + shape[0]], tf.float32)

    return initializer


if __name__ == "__main__":
    checkpoint()
    saved_model()
    first_version()
