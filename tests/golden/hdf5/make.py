"""Make the golden files of HDF5 with the libraries that people have them from.

``python tests/golden/hdf5/make.py`` writes them beside itself; run it only to add one. Every matrix
is `values(rows, dim)`, so that the tests know it; what else is in a file is a decoy.
"""

import warnings
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd

HERE = Path(__file__).parent
CONCEPTS = ["/c/en/king", "/c/en/queen", "/c/de/k\u00f6nig", "/c/en/##_years"]
WORDS = ["king", "queen", "caf\u00e9", "New York"]


def values(rows: int, dim: int, dtype: str = "float32") -> np.ndarray:
    """Small numbers of both signs [rows, dim]."""
    numbers = np.arange(rows * dim).reshape(rows, dim) - rows * dim // 2
    return (numbers if dtype == "int8" else numbers / 7).astype(dtype)


def pandas_files() -> None:
    """ConceptNet Numberbatch's mini.h5 in small, and a frame of two dtypes."""
    frame = pd.DataFrame(values(4, 5, "int8"), index=CONCEPTS)
    frame.to_hdf(HERE / "numberbatch.h5", key="mat", mode="w", format="fixed")
    columns = values(4, 5)
    mixed = pd.DataFrame({f"d{i}": columns[:, i] for i in range(5)}, index=WORDS)
    mixed["d1"] = mixed["d1"].astype("float64")
    mixed["d3"] = mixed["d3"].astype("float64")
    mixed.to_hdf(HERE / "frame.h5", key="frame", mode="w", format="fixed")


def h5py_files() -> None:
    """What this package writes, and AllenNLP's layout with the list of its vocabulary."""
    with h5py.File(HERE / "generic.h5", "w", libver="earliest") as file:
        file["embedding"] = values(4, 3)
        file.create_dataset("tokens", data=WORDS, dtype=h5py.string_dtype("utf-8"))
    with h5py.File(HERE / "allennlp.h5", "w", libver="earliest") as file:
        file["embedding"] = values(4, 3)
    (HERE / "allennlp.tokens.txt").write_text("@@UNKNOWN@@\nking\nqueen\n", encoding="utf-8")


def model() -> keras.Sequential:
    """An embedding, a kernel of the same shape, and the momentum of both."""
    layers = keras.layers
    text = layers.TextVectorization(name="text")
    text.adapt(["king king queen"])
    made = keras.Sequential(
        [
            keras.Input((), dtype="string"),
            text,
            layers.Embedding(4, 4, name="words"),
            layers.Dense(4, use_bias=False, name="dense"),
        ],
        name="model",
    )
    made.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    made.optimizer.build(made.trainable_variables)
    made.get_layer("words").set_weights([values(4, 4)])
    made.get_layer("dense").set_weights([values(4, 4)[::-1]])
    return made


def keras_files() -> None:
    """Keras 3 as an archive and as weights alone; Keras 2, whose text layer stays outside."""
    made = model()
    made.save(HERE / "keras3.keras")
    made.save_weights(HERE / "keras3.weights.h5")
    ids = keras.Sequential([keras.Input((3,), dtype="int32"), *made.layers[1:]], name="model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ids.save(HERE / "keras2.h5")


if __name__ == "__main__":
    pandas_files()
    h5py_files()
    keras_files()
