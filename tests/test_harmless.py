"""What Keras and TensorFlow do with any variable goes on to work, and copies no table."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.errors import FrozenError
from embedfreeze.frozen import FrozenEmbedding, FrozenVariable, frozen_scalar
from embedfreeze.sealed import seal_array

MATRIX = np.random.default_rng(5).standard_normal((40, 8)).astype(np.float32)
IDS = np.arange(30, dtype=np.int32).reshape(10, 3)
VOCABULARY = ef.Vocabulary([f"t{i}" for i in range(40)], padding=None, unknown=None)
OPERATIONS = [
    "sum",
    "mean",
    "abs",
    "exp",
    "sort",
    "transpose",
    "copy",
    "isnan",
    "max",
    "zeros_like",
]


def table() -> FrozenVariable:
    return FrozenVariable(AlignedEmbeddings(seal_array(MATRIX), VOCABULARY), name="words")


def rematerialized(variable: FrozenVariable) -> Any:
    return keras.remat(lambda ids: tf.gather(variable, ids))(IDS)


HARMLESS: dict[str, tuple[Callable[[FrozenVariable], Any], Any]] = {
    "v + 1": (lambda v: v + 1, MATRIX + 1),
    "1 - v": (lambda v: 1 - v, 1 - MATRIX),
    "v * v": (lambda v: v * v, MATRIX * MATRIX),
    "-v": (lambda v: -v, -MATRIX),
    "tf v + 1": (lambda v: v.tf_variable + 1, MATRIX + 1),
    "slice": (lambda v: v[1:3, 2], MATRIX[1:3, 2]),
    "cast": (lambda v: keras.ops.cast(v, "float16"), MATRIX.astype(np.float16)),
    "scatter_update": (
        lambda v: keras.ops.scatter_update(v, [[0]], tf.zeros((1, 8))),
        np.concatenate([np.zeros((1, 8), np.float32), MATRIX[1:]]),
    ),
    "remat": (rematerialized, MATRIX[IDS]),
    "tf.Variable": (lambda v: tf.Variable(v), MATRIX),
    "keras.Variable": (lambda v: keras.Variable(v).value, MATRIX),
    "identity": (lambda v: tf.identity(v), MATRIX),
    "numpy": (lambda v: keras.ops.convert_to_numpy(v), MATRIX),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_expressions(name: str) -> None:
    variable = table()
    compute, expected = HARMLESS[name]
    assert np.asarray(compute(variable)).tobytes() == np.ascontiguousarray(expected).tobytes()
    variable.verify(deep=True)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_keras(name: str) -> None:
    variable, operation = table(), getattr(keras.ops, name)
    expected = np.asarray(operation(tf.constant(MATRIX)))
    assert np.asarray(operation(variable)).tobytes() == expected.tobytes()
    variable.verify(deep=True)


def test_what_a_model_tells_of_itself() -> None:
    layer = FrozenEmbedding(table().table, name="words")
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layer, keras.layers.Dense(1)])
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    assert "words" in "".join(lines)
    assert layer.count_params() == MATRIX.size
    assert model.count_params() == MATRIX.size + 9
    assert copy.copy(layer.table) is layer.table
    assert copy.copy(layer.table.tf_variable) is layer.table.tf_variable
    ef.verify(model, deep=True)


def test_a_model_is_quantized_around_it() -> None:
    layer = FrozenEmbedding(table().table, name="words")
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layer, keras.layers.Dense(4)])
    with pytest.warns(UserWarning, match=r"'words' has a frozen table, which is not quantized: "):
        model.quantize("int8")
    assert model.layers[1].quantization_mode == "int8"
    assert layer(IDS).numpy().tobytes() == MATRIX[IDS].tobytes()


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("embeddings_regularizer", "frozen values need none"),
        ("weights", "give a table as its source"),
        ("mask_zero", "give mask_padding="),
    ],
)
def test_the_options_of_a_stock_layer_have_a_remedy(option: str, remedy: str) -> None:
    with pytest.raises(FrozenError, match=rf"received {option}=: {remedy}"):
        FrozenEmbedding(table().table, **{option: None})


@pytest.mark.parametrize("value", [object(), "words", [["a"] * 8] * 40, [[1.0], [1.0, 2.0]], None])
def test_what_is_no_array_of_numbers_is_refused(value: Any) -> None:
    with pytest.raises(FrozenError, match="only equal bytes can be assigned"):
        table().assign(value)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64", "int32"])
def test_frozen_scalars_of_any_type(dtype: str) -> None:
    five = frozen_scalar(5.0, dtype=dtype)
    assert (float(five), five.dtype, float(five * 2)) == (5.0, dtype, 10.0)
    five.assign(5.0)
    five.verify(deep=True)
    with pytest.raises(FrozenError, match="thaw"):
        five.assign(6.0)


def anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def test_callbacks_copy_no_table(tmp_path: Path) -> None:
    """Restoring the best weights, backups, checkpoints and averages, over a table of 64 MB."""
    matrix = np.zeros((1 << 17, 128), np.float32)
    ef.write(ef.Embeddings(list(map(str, range(len(matrix)))), matrix), tmp_path / "t.safetensors")
    nbytes = matrix.nbytes
    del matrix
    layer = FrozenEmbedding(ef.read(tmp_path / "t.safetensors"), name="words")
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            layer,
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), "mse")
    labels = np.zeros((len(IDS), 1), np.float32)
    model.fit(IDS, labels, verbose=0)  # what TensorFlow needs once
    before = anonymous_bytes()
    callbacks = [
        keras.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        keras.callbacks.ModelCheckpoint(tmp_path / "m.keras"),
        keras.callbacks.ModelCheckpoint(tmp_path / "m.weights.h5", save_weights_only=True),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        ef.FreezeGuard(),
    ]
    model.fit(IDS, labels, epochs=3, verbose=0, callbacks=callbacks)
    model.load_weights(tmp_path / "m.weights.h5")
    assert anonymous_bytes() - before < nbytes // 2
    assert sum(path.stat().st_size for path in tmp_path.glob("m.*")) < nbytes // 50
    ef.verify(model, deep=True)
