"""Two logical CPUs, and what the cases on them share. Import this before TensorFlow has devices.

TensorFlow divides a CPU only before its first operation, so these cases run in a process of their
own: `run_cases` starts pytest on them.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.pooling import MaskedPooling
from embedfreeze.sealed import seal_array

VOCABULARY = ef.Vocabulary([f"word{i}" for i in range(600)])
VALUES = np.random.default_rng(0).normal(size=(len(VOCABULARY), 16)).astype("float32")
BATCH, STEPS = 8, 4
# Without the end of the interpreter, which was seen to take long on a busy machine after strategies
# were used; why is not known.
PYTEST = """
import os, sys, pytest
code = pytest.main(sys.argv[1:])
sys.stdout.flush()
os._exit(code)
"""
IDS = np.random.default_rng(1).integers(0, len(VOCABULARY), (BATCH * STEPS, 5)).astype("int32")
LABELS = (np.arange(len(IDS)) % 2).astype("float32")[:, None]
ROW = 321


def divide_cpu() -> None:
    """Give TensorFlow two logical CPUs."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def run_cases(name: str, home: Path, marks: str = "", **env: str) -> int:
    """Run those cases of a module that have the marks, in a fresh pytest; how many passed."""
    command = [sys.executable, "-c", PYTEST, "-q", "-p", "no:cacheprovider"]
    options = ["--basetemp", str(home / "cases"), "-m", marks, str(Path(__file__).parent / name)]
    done = subprocess.run(
        command + options,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TF_FORCE_GPU_ALLOW_GROWTH": "true", **env},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    return int(found[1])


def source() -> AlignedEmbeddings:
    return AlignedEmbeddings(seal_array(VALUES), VOCABULARY)


def stock() -> keras.layers.Embedding:
    """What Keras has, with the same values."""
    values = keras.initializers.Constant(VALUES)
    return keras.layers.Embedding(
        *VALUES.shape, embeddings_initializer=values, trainable=False, mask_zero=True
    )


def network(layer: keras.layers.Layer) -> keras.Sequential:
    keras.utils.set_random_seed(2)
    layers = [keras.Input((5,), dtype="int32"), layer, MaskedPooling(), keras.layers.Dense(1)]
    return keras.Sequential(layers)


def address(variable: Any) -> int:
    """Where TensorFlow reads a variable, found on another way than the library's."""
    value = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)._numpy()
    return int(value.__array_interface__["data"][0])


def anonymous_bytes() -> int:
    """RssAnon of this process: what a copy would add to."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def overwrite_a_row(variable: Any) -> None:
    """What no variable can refuse: a raw op on its handle."""
    handle = variable.tf_variable.handle
    tf.raw_ops.ResourceScatterUpdate(resource=handle, indices=[ROW], updates=VALUES[:1])


def weights(model: keras.Model) -> list[bytes]:
    return [np.asarray(variable).tobytes() for variable in model.trainable_variables]
