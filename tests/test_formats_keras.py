"""Models and weights of Keras: Keras itself, and h5py, are the other readers."""

import contextlib
import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from samples import assert_is, bits, child, put

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.formats.hdf5 import keras as keras_reader
from embedfreeze.formats.hdf5 import kerasparts

GOLDEN = Path(__file__).parent / "golden" / "hdf5"
VALUES = ((np.arange(16) - 8) / 7).astype(np.float32).reshape(4, 4)
WORDS = ["", "[UNK]", "king", "queen"]
WEIGHTS = "model.weights.h5"


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return put(tmp_path / "words.txt", "\n".join(WORDS).encode())


def saved(path: Path, *layers: Any, shape: tuple[int, ...] = (3,)) -> Path:
    """A model of some layers, built."""
    kind = "string" if isinstance(layers[0], keras.layers.StringLookup) else "int32"
    keras.Sequential([keras.Input(shape, dtype=kind), *layers]).save(path)
    return path


def repacked(path: Path, target: Path, **changed: bytes | None) -> Path:
    """An archive with some members replaced, or left out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = changed.get(name.replace(".", "_").replace("/", "_"), old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


def test_an_archive() -> None:
    """Its only embedding layer, with the vocabulary that the archive holds."""
    path = GOLDEN / "keras3.keras"
    assert_is(ef.read(path), WORDS, VALUES)
    assert_is(ef.read(io.BytesIO(path.read_bytes())), WORDS, VALUES)
    model = keras.saving.load_model(path)
    assert model.get_layer("text").get_vocabulary() == WORDS
    assert bits(model.get_layer("words").get_weights()[0]) == bits(VALUES)
    for member in ("layers/embedding/vars/0", f"{WEIGHTS}:layers/embedding/vars/0", WEIGHTS):
        assert_is(ef.read(path, member=member), WORDS, VALUES)
    assert_is(ef.read(path, member="layers/dense/vars/0"), WORDS, VALUES[::-1])
    assert_is(ef.read(path, limit=3), WORDS[:3], VALUES[:3])
    a = ef.load(path, ef.Vocabulary(["queen"]))
    assert bits(a.matrix[2]) == bits(VALUES[3])
    notes = ef.inspect(path).notes
    assert any("layers/embedding/vars/0 is taken as the one matrix of an emb" in n for n in notes)
    assert "tokens are the vocabulary assets/layers/text_vectorization/vocabulary.txt" in notes


def test_a_folder_that_is_not_packed(tmp_path: Path) -> None:
    with zipfile.ZipFile(GOLDEN / "keras3.keras") as archive:
        archive.extractall(tmp_path / "model")
    for path in (tmp_path / "model", tmp_path / "model" / WEIGHTS):
        assert_is(ef.read(path), WORDS, VALUES)


@pytest.mark.parametrize("name", ["keras3.weights.h5", "keras2.h5"])
def test_weights_alone(name: str, words: Path, tmp_path: Path) -> None:
    path = GOLDEN / name
    with pytest.raises(FormatError, match="the file has none: name a file that lists 4 tokens"):
        ef.read(path)
    assert_is(ef.read(path, tokens=words), WORDS, VALUES)
    moved = shutil.copy(path, tmp_path / "m.h5")
    shutil.copy(words, tmp_path / "m.tokens.txt")
    assert_is(ef.read(moved), WORDS, VALUES)
    with pytest.raises(FormatError, match=r"2 tokens for 4 rows.*\(here '' and '\[UNK\]'\)"):
        ef.read(path, tokens=put(tmp_path / "two.txt", b"king\nqueen"))
    with pytest.raises(FormatError, match=r"3 tokens for 4 rows.*\(here '\[UNK\]'\)"):
        ef.read(path, tokens=put(tmp_path / "three.txt", b"king\nqueen\nman"))
    with pytest.raises(FormatError, match="5 tokens for 4 rows: name another file"):
        ef.read(path, tokens=put(tmp_path / "five.txt", b"a\nb\nc\nd\ne"))
    with pytest.raises(FormatError, match=r"received 'none'; the file has.*\[4, 4\] float32"):
        ef.read(path, member="none")


def test_weights_of_keras_2(tmp_path: Path, words: Path) -> None:
    """Written as Keras 2 did: at the root, with names that end in :0."""
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"tokens", b"dense"])
        file["tokens/tokens/embeddings:0"] = VALUES
        file["tokens"].attrs["weight_names"] = np.array([b"tokens/embeddings:0"])
        file["dense/dense/kernel:0"] = VALUES[::-1]
        file["dense/dense/bias:0"] = VALUES[0]
    assert_is(ef.read(path, tokens=words), WORDS, VALUES)
    other = ef.read(path, tokens=words, member="dense/dense/kernel:0")
    assert_is(other, WORDS, VALUES[::-1])


def test_candidates_are_told_apart(tmp_path: Path, words: Path) -> None:
    layers = keras.layers
    ids = keras.Input((3,), dtype="int32")
    one, two = layers.Embedding(4, 4, name="one"), layers.Embedding(5, 4, name="two")
    joined = layers.LSTM(2, name="reader")(one(ids) + two(ids))
    model = keras.Model(ids, layers.Dense(4, name="out")(joined))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    for name in ("m.keras", "m.weights.h5", "m.h5"):
        path = tmp_path / name
        model.save_weights(path) if "weights" in name else model.save(path)
        with pytest.raises(FormatError) as caught:
            ef.read(path)
        told = str(caught.value)
        assert "unless member= (--member) names one" in told
        found = re.findall(r"(embedding layer|kernel|optimizer)\)", told)
        assert found == ["embedding layer"] * 2 + ["kernel"] * 3 + ["optimizer"] * 10
        if name == "m.keras":  # weights alone do not tell the names
            assert "layers/embedding/vars/0 [4, 4] float32 (one, embedding layer)" in told
    expected = model.get_layer("one").get_weights()[0]
    found = ef.read(tmp_path / "m.keras", member="layers/embedding/vars/0", tokens=words)
    assert_is(found, WORDS, expected)


@keras.saving.register_keras_serializable("test_formats_keras")
class Named(keras.Model):
    """A model whose layer has the name of its attribute."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lookup = keras.layers.Embedding(4, 4, name="table")
        self.other = keras.layers.Dense(4)

    def build(self, shape: Any) -> None:
        self.lookup.build(shape)
        self.other.build((None, 4))

    def call(self, ids: Any) -> Any:
        return self.other(self.lookup(ids))


def test_layers_of_a_class_of_ones_own(tmp_path: Path, words: Path) -> None:
    model = Named()
    model(np.zeros((1, 3), np.int32))
    model.save(tmp_path / "m.keras")
    expected = model.lookup.get_weights()[0]
    assert_is(ef.read(tmp_path / "m.keras", tokens=words), WORDS, expected)


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({}, ["[UNK]"]),
        ({"mask_token": ""}, ["", "[UNK]"]),
        ({"mask_token": "pad", "oov_token": "?"}, ["pad", "?"]),
        ({"num_oov_indices": 0}, []),
    ],
)
def test_vocabularies_in_the_description(
    options: dict[str, Any], first: list[str], tmp_path: Path
) -> None:
    """Of a StringLookup that was given its tokens, in the order of its ids."""
    own = ["king", "caf\u00e9", "a\u00a0b"]
    lookup = keras.layers.StringLookup(vocabulary=own, **options)
    assert lookup.get_vocabulary() == first + own
    layer = keras.layers.Embedding(len(first) + 3, 2)
    path = saved(tmp_path / "m.keras", lookup, layer, shape=())
    assert_is(ef.read(path), first + own, layer.get_weights()[0])


def test_a_vocabulary_that_is_shorter_than_its_table(tmp_path: Path) -> None:
    """A table is often made for more tokens than there are."""
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"])
    layer = keras.layers.Embedding(7, 2)
    path = saved(tmp_path / "m.keras", lookup, layer, shape=())
    expected = layer.get_weights()[0]
    assert_is(ef.read(path), ["[UNK]", "a", "b"], expected[:3])
    assert_is(ef.read(path, limit=2), ["[UNK]", "a"], expected[:2])
    assert "rows 3 to 6 have no token in it and are left out" in ef.inspect(path).notes
    with pytest.raises(FormatError, match="3 tokens for 7 rows"):
        ef.read(path, tokens=put(tmp_path / "t.txt", b"[UNK]\na\nb"))


def test_several_vocabularies(tmp_path: Path) -> None:
    layers = keras.layers
    text = keras.Input((), dtype="string")
    one = layers.StringLookup(vocabulary=["a", "b"], name="one")
    two = layers.StringLookup(vocabulary=["c", "d"], name="two")
    table = layers.Embedding(3, 2)
    keras.Model(text, [table(one(text)), two(text)]).save(tmp_path / "m.keras")
    path = tmp_path / "m.keras"
    words = r"one vocabulary is needed for the 3 rows.*one \(3 tokens\), two \(3 tokens\)"
    with pytest.raises(FormatError, match=words):
        ef.read(path)
    expected = table.get_weights()[0]
    assert_is(ef.read(path, tokens="two"), ["[UNK]", "c", "d"], expected)


def test_keras_is_not_needed() -> None:
    code = "import sys, embedfreeze as ef\nprint(ef.read(sys.argv[1]).dim, "
    code += "*{'tensorflow', 'keras'} & {*sys.modules})"
    assert child(code, GOLDEN / "keras3.keras").split() == ["4"]


def test_descriptions_that_tell_nothing(tmp_path: Path, words: Path) -> None:
    """Broken, odd or hostile ones; what the names tell is still known."""
    lookup = {"class_name": "StringLookup", "config": {"name": "x", "vocabulary": ["a"] * 3}}
    deep = b"[" * 100_000 + b"]" * 100_000
    odd = {"name": "x", "vocabulary": ["a", 1, None], "num_oov_indices": 1 << 40}
    for config in (
        b"",
        b"{",
        b"\xff",
        b"[]",
        deep,
        json.dumps({"class_name": "StringLookup", "config": odd}).encode(),
        json.dumps({**lookup, "class_name": ["x"]}).encode(),
        json.dumps({"class_name": "Embedding", "config": {"name": ["dense"]}}).encode(),
    ):
        path = repacked(
            GOLDEN / "keras3.keras",
            tmp_path / "m.keras",
            config_json=config,
            assets_layers_text_vectorization_vocabulary_txt=None,
            assets_layers_text_vectorization__lookup_layer_vocabulary_txt=None,
        )
        assert_is(ef.read(path, tokens=words), WORDS, VALUES)
        with pytest.raises(FormatError, match="the file has none"):
            ef.read(path)
    path = repacked(path, tmp_path / "n.keras", config_json=json.dumps(lookup).encode())
    with pytest.warns(UserWarning, match="repeat"):
        assert len(ef.read(path)) == 2


def test_parts_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        with zipfile.ZipFile(GOLDEN / "keras3.keras") as old:
            new.writestr(WEIGHTS, old.read(WEIGHTS))
            new.writestr("metadata.json", "{}")
        new.writestr("config.json", bytes(1 << 20))
    with pytest.raises(FormatError, match=r"config\.json of 1048576"):
        ef.read(path)
    monkeypatch.setattr(kerasparts, "LARGEST_PART", 100)
    with pytest.raises(FormatError, match="at most 100 bytes"):
        ef.read(GOLDEN / "keras3.keras")


def test_vocabularies_are_small_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name can stand for the same bytes as others, and a number for many tokens."""
    monkeypatch.setattr(keras_reader, "LARGEST_PART", 100_000)
    path = tmp_path / "m.keras"
    files = {f"assets/{i}_vocabulary.txt": b"ab\n" * 20_000 for i in range(2)}
    for count, refusal in (
        (1, "the file has none|one vocabulary"),
        (2, "all vocabularies together"),
    ):
        with zipfile.ZipFile(path, "w") as new:
            with zipfile.ZipFile(GOLDEN / "keras3.keras") as old:
                new.writestr(WEIGHTS, old.read(WEIGHTS))
            new.writestr("metadata.json", "{}")
            new.writestr("config.json", "{}")
            for name, data in [*files.items()][:count]:
                new.writestr(name, data)
        with pytest.raises(FormatError, match=refusal):
            ef.read(path)
    many = {"vocabulary": ["a"], "num_oov_indices": 65_535}
    layers = [{"class_name": "StringLookup", "config": {**many, "name": f"{i}"}} for i in range(99)]
    model = keras_reader.KerasModel()
    keras_reader._describe(model, json.dumps(layers).encode())
    assert 1 << 19 < sum(map(len, model.vocabularies.values())) < 1 << 21


@pytest.mark.parametrize("name", ["keras3.keras", "keras3.weights.h5", "keras2.h5"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_changed_bytes(name: str, tmp_path: Path, words: Path) -> None:
    rng = np.random.default_rng(1)
    data = (GOLDEN / name).read_bytes()
    for _ in range(150):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        path = put(tmp_path / "f.h5", changed)
        with contextlib.suppress(EmbedFreezeError):
            ef.read(path, unicode_errors="replace", tokens=words)
        with contextlib.suppress(EmbedFreezeError):
            ef.read(path, unicode_errors="replace")
    for size in (4, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(FileError):
            ef.read(put(tmp_path / "cut.h5", data[:size]), tokens=words)
