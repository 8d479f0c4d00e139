"""Models are saved with a reference to their table or with the table, and loaded elsewhere."""

import copy
import json
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from embedfreeze import formats
from embedfreeze.align import AlignedEmbeddings, align
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FileError, FrozenBytesChanged, FrozenError
from embedfreeze.frozen import FrozenEmbedding, FrozenVariable
from embedfreeze.model import load_model
from embedfreeze.sealed import seal_array
from embedfreeze.splitters import Splitter
from embedfreeze.table import live_tables
from embedfreeze.vocabulary import Vocabulary

ROWS, DIM = 3002, 40
RANDOM = np.random.default_rng(5)
EMBEDDED = RANDOM.standard_normal((ROWS, DIM)).astype(np.float32)
STORED = RANDOM.standard_normal((ROWS, DIM)).astype(np.float32)
HALF = STORED.astype(np.float16)
X = RANDOM.integers(0, ROWS, (4, 6)).astype(np.int32)
X[:, 4:] = 0
SPLITTER = Splitter(delete=None, separators="[^a-z0-9']+")


def words(**options: Any) -> Vocabulary:
    return Vocabulary([f"t{i}" for i in range(ROWS - 2)], **options)


def aligned(matrix: np.ndarray, **options: Any) -> AlignedEmbeddings:
    return AlignedEmbeddings(seal_array(matrix), words(**options))


def write_store(path: Path, matrix: np.ndarray, vocabulary: Vocabulary | None = None) -> Embeddings:
    tokens = (vocabulary or words()).tokens
    formats.write(Embeddings(tokens, matrix), path, vocabulary=vocabulary)
    return formats.read(path)


def network(source: Any, **options: Any) -> keras.Model:
    """A functional model; layers[1] is the FrozenEmbedding."""
    keras.utils.set_random_seed(1)
    ids = keras.Input((6,), dtype="int32", name="ids")
    vectors = FrozenEmbedding(source, name="words", **options)(ids)
    pooled = keras.layers.GlobalAveragePooling1D()(vectors)
    return keras.Model(ids, keras.layers.Dense(2)(pooled))


def run_child(program: str, folder: Path, *arguments: str) -> Any:
    """The JSON that a fresh process prints last, started in another folder than this one."""
    child = subprocess.run(
        [sys.executable, "-c", program, str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.returncode == 0, child.stderr[-4000:]
    return json.loads(child.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Saved:
    """Everything written by one process, and what others found in it."""

    folder: Path
    found: dict[str, Any]
    served: dict[str, Any]


LOAD = """
import json, os, sys, warnings
import numpy as np, keras, tensorflow as tf
from embedfreeze import formats
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.errors import FrozenError
from embedfreeze.frozen import FrozenEmbedding
from embedfreeze.model import load_model
from embedfreeze.sealed import seal_array
from embedfreeze.splitters import Splitter
from embedfreeze.vocabulary import Vocabulary

x, found = np.load("x.npy"), {}

def describe(name, model):
    layer = model.get_layer("words")
    layer.table.verify(deep=True)
    vocabulary = layer.vocabulary
    found[name] = {
        "equal": model.predict(x, verbose=0).tobytes() == np.load(name + ".npy").tobytes(),
        "guarantee": layer.table.sealed.guarantee,
        "save": layer.save_mode,
        "dtype": layer.table.dtype,
        "trainable": [v.path for v in model.trainable_weights if "table" in v.path],
        "token": layer.tokens[7],
        "mask": layer.compute_mask(x)[0].numpy().tolist(),
        "ids": vocabulary.encode(["T5 don't"]).tolist() if vocabulary else None,
    }
    return model

def refused(name, attempt):
    try:
        attempt()
        found[name] = "no error"
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"

refused("other table", lambda: load_model("reference.keras", table="other.safetensors"))
refused("missing", lambda: keras.saving.load_model("lost/reference.keras"))
describe("reference", keras.saving.load_model("reference.keras"))
describe("half", load_model("moved/half.keras"))
given = formats.read("elsewhere/third.safetensors")
describe("given", load_model("given.keras", table=given))
embedded = describe("embedded", keras.saving.load_model("embedded.keras"))
table = embedded.get_layer("words").table

def rebuilt(source):
    ids = keras.Input((6,), dtype="int32")
    pooled = keras.layers.GlobalAveragePooling1D()(FrozenEmbedding(source, name="words")(ids))
    return keras.Model(ids, keras.layers.Dense(2)(pooled))

source = AlignedEmbeddings(table.sealed, embedded.get_layer("words").vocabulary)
other = AlignedEmbeddings(given.sealed, source.vocabulary)
model = rebuilt(source)
model.load_weights("embedded.weights.h5")
describe("embedded", model)
refused("other weights", lambda: rebuilt(other).load_weights("embedded.weights.h5"))
model = rebuilt(source)
tf.train.Checkpoint(model=model).read("checkpoint").assert_consumed()
describe("embedded", model)
refused("other checkpoint", lambda: tf.train.Checkpoint(model=rebuilt(other)).read("checkpoint"))
refused("retrained", lambda: load_model("moved/half.keras", table=given))
print(json.dumps(found))
"""

SERVE = """
import json, sys
import numpy as np, tensorflow as tf
x, found = np.load("x.npy"), {}
for name in ("exported", "saved_model"):
    loaded = tf.saved_model.load(name)
    serve = loaded.serve if name == "exported" else loaded.signatures["serving_default"]
    out = serve(tf.constant(x))
    out = out if tf.is_tensor(out) else list(out.values())[0]
    found[name] = out.numpy().tobytes() == np.load("embedded.npy").tobytes()
found["imported"] = [name for name in sys.modules if name.startswith("embedfreeze")]
print(json.dumps(found))
"""


def keep(model: keras.Model, folder: Path, name: str) -> None:
    model.save(folder / f"{name}.keras")
    np.save(folder / f"{Path(name).name}.npy", model.predict(X, verbose=0))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    folder = tmp_path_factory.mktemp("saved")
    for name in ("moved", "elsewhere", "lost"):
        (folder / name).mkdir()
    np.save(folder / "x.npy", X)
    vocabulary = words(splitter=SPLITTER)
    embedded = network(aligned(EMBEDDED, splitter=SPLITTER))
    keep(embedded, folder, "embedded")
    embedded.save_weights(folder / "embedded.weights.h5")
    embedded.export(folder / "exported", verbose=False)
    tf.saved_model.save(embedded, str(folder / "saved_model"))
    tf.train.Checkpoint(model=embedded).write(str(folder / "checkpoint"))
    keep(
        network(write_store(folder / "stored.safetensors", STORED, vocabulary)), folder, "reference"
    )
    half = network(write_store(folder / "half.safetensors", HALF, vocabulary))
    keep(half, folder, "moved/half")
    (folder / "half.safetensors").rename(folder / "moved" / "half.safetensors")
    write_store(folder / "other.safetensors", STORED + 1, vocabulary)
    third = network(write_store(folder / "third.safetensors", STORED - 1, vocabulary))
    keep(third, folder, "given")
    third.save(folder / "lost" / "reference.keras")
    (folder / "third.safetensors").rename(folder / "elsewhere" / "third.safetensors")
    return Saved(folder, run_child(LOAD, folder), run_child(SERVE, folder))


@pytest.mark.parametrize(
    ("name", "guarantee", "save", "dtype"),
    [
        ("embedded", "sealed", "embed", "float32"),
        ("reference", "watched", "reference", "float32"),
        ("half", "watched", "reference", "float16"),
        ("given", "watched", "reference", "float32"),
    ],
)
def test_a_fresh_process_loads_the_model(
    saved: Saved, name: str, guarantee: str, save: str, dtype: str
) -> None:
    assert saved.found[name] == {
        "equal": True,
        "guarantee": guarantee,
        "save": save,
        "dtype": dtype,
        "trainable": [],
        "token": "t5",
        "mask": [True, True, True, True, False, False],
        "ids": [[7, 1]],  # this splitter keeps the apostrophe of don't
    }


def test_another_table_is_refused_with_both_digests(saved: Saved) -> None:
    def digest(path: str) -> str:
        return formats.read(saved.folder / path).digest

    stored, other, third = map(
        digest, ["stored.safetensors", "other.safetensors", "elsewhere/third.safetensors"]
    )
    for attempt, needed, given in [
        ("other table", stored, other),
        ("retrained", digest("moved/half.safetensors"), third),
        ("other weights", third, None),
    ]:
        message = saved.found[attempt]
        assert message.startswith("FrozenError" if given else "ValueError")
        assert needed in message
        assert given is None or given in message


def test_what_is_not_equal_is_refused(saved: Saved) -> None:
    assert "received others in row 0" in saved.found["other checkpoint"]
    assert saved.found["other checkpoint"].startswith("FrozenError")


def test_a_lost_store_says_where_it_was_looked_for(saved: Saved) -> None:
    message = saved.found["missing"]
    assert message.startswith("TableNotFound")
    assert "third.safetensors" in message
    assert "load_model(path, table=...)" in message


def test_saved_models_serve_without_this_library(saved: Saved) -> None:
    assert saved.served == {"exported": True, "saved_model": True, "imported": []}


def test_the_table_is_stored_once(saved: Saved) -> None:
    def size(name: str) -> int:
        path = saved.folder / name
        return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")))

    assert size("reference.keras") < 40_000
    assert size("embedded.weights.h5") < 40_000
    for name in ("embedded.keras", "exported", "saved_model"):
        assert EMBEDDED.nbytes <= size(name) < 1.5 * EMBEDDED.nbytes


def test_an_embedded_table_is_a_store(saved: Saved, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved.folder / "embedded.keras") as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".safetensors")]
        archive.extract(name, tmp_path)
    stored = formats.read(tmp_path / name)
    assert stored.matrix.tobytes() == EMBEDDED.tobytes()
    assert tuple(stored.tokens) == words().tokens


def test_a_damaged_embedded_table_is_refused(saved: Saved, tmp_path: Path) -> None:
    """A flipped bit in the archive (its checksum made to fit) is found by the digest."""
    live_tables.clear()
    tampered = tmp_path / "tampered.keras"
    with (
        zipfile.ZipFile(saved.folder / "embedded.keras") as archive,
        zipfile.ZipFile(tampered, "w") as target,
    ):
        for name in archive.namelist():
            data = bytearray(archive.read(name))
            if name.endswith(".safetensors"):
                data[data.index(EMBEDDED[1700].tobytes())] ^= 1
            target.writestr(name, bytes(data))
    with pytest.raises(ValueError, match=r"block 0.*recorded digest"):
        load_model(tampered)


def test_a_missing_embedded_table_is_refused(saved: Saved, tmp_path: Path) -> None:
    cut = tmp_path / "cut.keras"
    with zipfile.ZipFile(saved.folder / "embedded.keras") as old, zipfile.ZipFile(cut, "w") as new:
        for name in old.namelist():
            if not name.endswith(".safetensors"):
                new.writestr(name, old.read(name))
    live_tables.clear()
    with pytest.raises(FrozenError, match="waits for its table"):
        load_model(cut)


# ---- in the same process


def test_a_referenced_store_must_keep_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "stored.safetensors"
    model = network(write_store(path, STORED, words()))
    table = model.get_layer("words").table
    model.predict(X, verbose=0)
    table.check()
    os.utime(path)
    table.check()  # touched, but equal
    data = path.read_bytes()
    place = data.index(STORED[1700].tobytes())
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\0\0\0\0")
    with pytest.raises(FrozenBytesChanged, match="block 0") as caught:
        table.check()
    assert (caught.value.layer, caught.value.block) == ("words", 0)


def test_a_store_beside_the_model_is_found(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    model = network(write_store(first / "stored.safetensors", STORED + 2, words()))
    model.save(first / "model.keras")
    expected = model.predict(X, verbose=0)
    live_tables.clear()
    first.rename(second)
    with pytest.raises(FrozenError, match=r"stored\.safetensors"):
        keras.saving.load_model(second / "model.keras")
    loaded = load_model(second / "model.keras")
    assert loaded.predict(X, verbose=0).tobytes() == expected.tobytes()
    assert loaded.get_layer("words").table.sealed.guarantee == "watched"


def test_a_table_given_need_not_be_in_a_store(tmp_path: Path) -> None:
    """It serves a model that refers to a store, and is embedded when that is saved anew."""
    path = tmp_path / "stored.safetensors"
    model = network(write_store(path, STORED + 6, words()))
    model.save(tmp_path / "model.keras")
    path.unlink()
    loaded = load_model(tmp_path / "model.keras", table=aligned(STORED + 6))
    layer = loaded.get_layer("words")
    assert (layer.save_mode, layer.table.sealed.guarantee) == ("embed", "sealed")
    assert loaded.predict(X, verbose=0).tobytes() == model.predict(X, verbose=0).tobytes()


def test_a_reference_is_to_the_store_even_beside_an_equal_table(tmp_path: Path) -> None:
    path = tmp_path / "stored.safetensors"
    network(write_store(path, STORED + 7, words())).save(tmp_path / "model.keras")
    live_tables.clear()
    equal = network(aligned(STORED + 7))
    assert equal.to_json()  # this process now knows the equal table, which no store holds
    layer = load_model(tmp_path / "model.keras").get_layer("words")
    assert (layer.save_mode, layer.table.sealed.path) == ("reference", str(path))


def test_a_store_aligned_with_its_own_vocabulary_is_referred_to(tmp_path: Path) -> None:
    path = tmp_path / "stored.safetensors"
    source = align(write_store(path, STORED + 8, words()), words())
    assert source.sealed.guarantee == "watched"
    network(source).save(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_size < STORED.nbytes // 4
    live_tables.clear()
    layer = load_model(tmp_path / "model.keras").get_layer("words")
    assert (layer.save_mode, layer.table.sealed.path) == ("reference", str(path))
    assert layer.vocabulary == words()


def test_layers_over_one_embedded_table_share_it_when_loaded(tmp_path: Path) -> None:
    source = aligned(STORED + 9)
    ids = keras.Input((6,), dtype="int32")
    pairs = [FrozenEmbedding(source, name=name)(ids) for name in ("left", "right")]
    keras.Model(ids, keras.layers.Subtract()(pairs)).save(tmp_path / "model.keras")
    live_tables.clear()
    loaded = load_model(tmp_path / "model.keras")
    left, right = (loaded.get_layer(name).table for name in ("left", "right"))
    assert left.sealed is right.sealed is not source.sealed
    assert (left.digest, left.sealed.path) == (source.digest, None)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nothing\.keras.*no such file"):
        load_model(tmp_path / "nothing.keras")


def test_a_store_can_be_embedded(tmp_path: Path) -> None:
    path = tmp_path / "stored.safetensors"
    model = network(write_store(path, STORED + 3, words()), save="embed")
    model.save(tmp_path / "model.keras")
    expected = model.predict(X, verbose=0)
    live_tables.clear()
    path.unlink()
    loaded = load_model(tmp_path / "model.keras")
    table = loaded.get_layer("words").table
    assert table.sealed.guarantee == "sealed"
    assert loaded.predict(X, verbose=0).tobytes() == expected.tobytes()
    loaded.save(tmp_path / "again.keras")
    with zipfile.ZipFile(tmp_path / "again.keras") as archive:
        assert b"/tmp" not in archive.read("config.json")


def test_a_splitter_that_cannot_be_written_down(tmp_path: Path) -> None:
    model = network(aligned(STORED + 4, splitter=str.split))
    model.save(tmp_path / "model.keras")
    expected = model.predict(X, verbose=0)
    live_tables.clear()
    loaded = load_model(tmp_path / "model.keras")
    vocabulary = loaded.get_layer("words").vocabulary
    assert loaded.predict(X, verbose=0).tobytes() == expected.tobytes()
    assert (vocabulary.tokens, vocabulary.padding_id, vocabulary.unknown_id) == (
        words().tokens,
        0,
        1,
    )
    with pytest.raises(FrozenError, match="without its splitter"):
        vocabulary.encode(["t1 t2"])


def test_a_bare_matrix_cannot_be_embedded(tmp_path: Path) -> None:
    model = network(seal_array(STORED))
    assert model(X).shape == (4, 2)
    with pytest.raises(FrozenError, match="needs tokens"):
        model.save(tmp_path / "model.keras")


def test_other_tokens_are_another_table(tmp_path: Path) -> None:
    model = network(aligned(STORED))
    model.save(tmp_path / "model.keras")
    live_tables.clear()  # as if this were another process
    renamed = Vocabulary([f"u{i}" for i in range(ROWS - 2)])
    given = AlignedEmbeddings(seal_array(STORED), renamed)
    with pytest.raises(FrozenError, match="other tokens"):
        load_model(tmp_path / "model.keras", table=given)


def test_copies_of_a_model_share_the_table(tmp_path: Path) -> None:
    model = network(aligned(EMBEDDED))
    sealed = model.get_layer("words").table.sealed
    model.save(tmp_path / "model.keras")
    for twin in (
        load_model(tmp_path / "model.keras"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        keras.models.model_from_json(model.to_json()),
    ):
        assert twin.get_layer("words").table.sealed is sealed


def test_a_model_without_its_table_says_so() -> None:
    model = network(aligned(STORED + 5))
    description = model.to_json()
    live_tables.clear()
    empty = keras.models.model_from_json(description)
    with pytest.raises(FrozenError, match="waits for its table"):
        empty(X)


class Scaled(keras.Model):
    """A user's model with a bare FrozenVariable, which Keras saves by value."""

    def __init__(self, matrix: np.ndarray) -> None:
        super().__init__()
        self.words = FrozenVariable(aligned(matrix), name="words")
        self.head = keras.layers.Dense(1)

    def call(self, ids: Any) -> Any:
        return self.head(tf.reduce_mean(tf.gather(self.words, ids), axis=1))


def test_a_bare_variable_is_saved_by_value_and_compared(tmp_path: Path) -> None:
    model = Scaled(STORED)
    expected = model(X).numpy()
    model.save_weights(tmp_path / "scaled.weights.h5")
    twin = Scaled(STORED)
    twin(X)
    twin.load_weights(tmp_path / "scaled.weights.h5")
    assert twin(X).numpy().tobytes() == expected.tobytes()
    other = Scaled(EMBEDDED)
    other(X)
    with pytest.raises(ValueError, match="row 0"):  # Keras repeats our message in its error
        other.load_weights(tmp_path / "scaled.weights.h5")
    assert other.words.numpy().tobytes() == EMBEDDED.tobytes()
