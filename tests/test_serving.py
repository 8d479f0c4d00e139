"""A SavedModel holds the table once and serves where this package cannot even be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.sealed import seal_array

WORDS = ["good", "case", "the", "café", "naïve", "東京", "straße", "i̇stanbul", "ας", "bad"]
TEXTS = [
    "Good case!",
    "",
    "   ",
    "nothing known here",
    "CAFÉ naïve 東京 STRASSE",
    "ΑΣ İstanbul",
    "the\u00a0good\u3000case\u2028bad",
    "nul\0inside good",
    "good " * 300,
    "\ufeffgood \U0001f600",
]
NOT_UTF8 = [b"good \xff case", b"\xc3", b"\xed\xa0\x80 good", b"\xf8\x88\x80\x80\x80"]
ROWS, DIM = 4002, 50
RANDOM = np.random.default_rng(31)
MATRIX = RANDOM.standard_normal((ROWS, DIM)).astype(np.float32)
IDS = RANDOM.integers(0, ROWS, (5, 8)).astype(np.int32)
IDS[:, 6:] = 0


def source(**options: Any) -> AlignedEmbeddings:
    tokens = WORDS + [f"t{i}" for i in range(ROWS - 2 - len(WORDS))]
    return AlignedEmbeddings(seal_array(MATRIX), ef.Vocabulary(tokens, **options))


# Only strings and ids go in, and only bytes come out, so that nothing is rounded on the way.
SERVE = """
import importlib.abc, json, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "embedfreeze":
            raise ImportError("blocked")

sys.meta_path.insert(0, Blocked())
import numpy as np
import tensorflow as tf

ids = np.load("ids.npy")
texts = [bytes.fromhex(text) for text in json.load(open("texts.json"))]
found = {}
for name in ("text", "ids", "ids_saved", "text_saved", "ids_archive", "text_archive"):
    loaded = tf.saved_model.load(name)
    given = tf.constant(texts) if name.startswith("text") else tf.constant(ids)
    signature = loaded.signatures["serving_default"]
    (spec,) = signature.structured_input_signature[1].values()
    (out,) = signature(given).values()
    entry = {"signature": spec.dtype.name, "out": out.numpy().tobytes().hex()}
    if hasattr(loaded, "serve"):
        entry["serve"] = loaded.serve(given).numpy().tobytes().hex()
    if name == "text":  # one at a time, in a graph, and all at once
        single = tf.function(lambda text: loaded.serve(text[tf.newaxis]))
        entry["single"] = [single(text).numpy().tobytes().hex() for text in given]
    found[name] = entry
try:
    import embedfreeze
    found["importable"] = True
except ImportError:
    found["importable"] = False
found["modules"] = [name for name in sys.modules if name.startswith("embedfreeze")]
print(json.dumps(found))
"""


def archive(model: keras.Model, path: Path, spec: tf.TensorSpec) -> None:
    exported = keras.export.ExportArchive()
    exported.track(model)
    exported.add_endpoint("serve", model.call, input_signature=[spec])
    exported.write_out(str(path), verbose=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("served")
    np.save(folder / "ids.npy", IDS)
    texts = [text.encode() for text in TEXTS] + NOT_UTF8
    (folder / "texts.json").write_text(json.dumps([t.hex() for t in texts]), encoding="utf-8")
    keras.utils.set_random_seed(4)
    by_id = ef.build_model(source(), hidden_units=[8])
    by_text = ef.build_model(source(), inputs="text", hidden_units=[8])
    expected: dict[str, Any] = {
        "ids": by_id(tf.constant(IDS)).numpy().tobytes().hex(),
        "text": by_text(tf.constant(texts)).numpy().tobytes().hex(),
        "single": [by_text(tf.constant([t])).numpy().tobytes().hex() for t in texts],
    }
    for name, model, spec in (
        ("ids", by_id, tf.TensorSpec((None, None), tf.int32)),
        ("text", by_text, tf.TensorSpec((None,), tf.string)),
    ):
        model.export(folder / name, verbose=False)
        tf.saved_model.save(model, str(folder / f"{name}_saved"))
        archive(model, folder / f"{name}_archive", spec)
    child = subprocess.run(
        [sys.executable, "-c", SERVE],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert child.returncode == 0, child.stderr[-4000:]
    return folder, expected, json.loads(child.stdout.splitlines()[-1])


def test_this_package_is_not_there(served: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    _, _, found = served
    assert (found["importable"], found["modules"]) == (False, [])


WAYS = ["ids", "text", "ids_saved", "text_saved", "ids_archive", "text_archive"]


@pytest.mark.parametrize("name", WAYS)
def test_predictions_are_bit_equal(
    served: tuple[Path, dict[str, Any], dict[str, Any]], name: str
) -> None:
    _, expected, found = served
    kind = name.partition("_")[0]
    assert found[name]["signature"] == {"ids": "int32", "text": "string"}[kind]
    assert found[name]["out"] == expected[kind]
    assert found[name].get("serve", expected[kind]) == expected[kind]
    assert ("serve" in found[name]) == (not name.endswith("_saved"))


def test_odd_texts_one_by_one(served: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    _, expected, found = served
    assert found["text"]["single"] == expected["single"]
    assert len(set(expected["single"])) >= 9  # they differ


@pytest.mark.parametrize("name", WAYS)
def test_the_matrix_is_stored_once(
    served: tuple[Path, dict[str, Any], dict[str, Any]], name: str
) -> None:
    folder, _, _ = served
    variables = sum(p.stat().st_size for p in (folder / name / "variables").iterdir())
    assert MATRIX.nbytes < variables < 1.03 * MATRIX.nbytes + 40_000  # the dense layers
    assert (folder / name / "saved_model.pb").stat().st_size < 300_000


def test_a_model_whose_input_has_no_dtype(tmp_path: Path) -> None:
    """Keras gives it float32; ids are exact in it, and int32 where the input says so."""
    layer = ef.FrozenEmbedding(source())
    model = keras.Sequential([keras.Input((8,)), layer, keras.layers.GlobalAveragePooling1D()])
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    expected = model(tf.constant(IDS)).numpy().tobytes()
    assert loaded.serve(tf.constant(IDS, tf.float32)).numpy().tobytes() == expected
    model = keras.Sequential(
        [keras.Input((8,), dtype="int32"), layer, keras.layers.GlobalAveragePooling1D()]
    )
    model.export(tmp_path / "integers", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "integers"))
    assert loaded.serve(tf.constant(IDS)).numpy().tobytes() == expected


@pytest.mark.slow
def test_a_loaded_model_exports_again(tmp_path: Path) -> None:
    model = ef.build_model(source(), inputs="text")
    texts = tf.constant(TEXTS)
    expected = model(texts).numpy().tobytes()
    model.save(tmp_path / "model.keras")
    again = ef.load_model(tmp_path / "model.keras")
    again.export(tmp_path / "exported", verbose=False)
    assert (
        tf.saved_model.load(str(tmp_path / "exported")).serve(texts).numpy().tobytes() == expected
    )
    assert ef.verify(tmp_path / "exported").tables[0].digest == source().digest


def test_other_formats_get_no_record(tmp_path: Path) -> None:
    """`export` of another format is Keras' own."""
    model = ef.build_model(source())
    with pytest.raises(ValueError, match="format"):
        model.export(tmp_path / "model", format="unknown")
    assert not (tmp_path / "model").exists()
