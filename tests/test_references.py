"""A saved model refers to its table: how that is found again, moved, given, embedded once."""

import copy
import gc
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import child

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.cli import main
from embedfreeze.errors import (
    FileError,
    FormatError,
    FrozenBytesChanged,
    FrozenError,
    TableNotFound,
)
from embedfreeze.frozen import FrozenEmbedding
from embedfreeze.sealed import seal_array
from embedfreeze.table import live_tables

ROWS, DIM = 502, 30
RANDOM = np.random.default_rng(11)
MATRIX = RANDOM.standard_normal((ROWS, DIM)).astype(np.float32)
OTHER = MATRIX.copy()
OTHER[400, 7] = np.nextafter(OTHER[400, 7], np.float32(9))
IDS = RANDOM.integers(0, ROWS, (4, 6)).astype(np.int32)
WORDS = [f"t{i}" for i in range(ROWS - 2)]


def aligned(matrix: np.ndarray = MATRIX, words: list[str] = WORDS) -> AlignedEmbeddings:
    return AlignedEmbeddings(seal_array(matrix), ef.Vocabulary(words))


def store(path: Path, matrix: np.ndarray = MATRIX) -> ef.Embeddings:
    path.parent.mkdir(parents=True, exist_ok=True)
    aligned(matrix).save(path)
    return ef.read(path)


def small(source: Any) -> keras.Model:
    return ef.build_model(source, hidden_units=[])


def predicted(model: keras.Model) -> bytes:
    return model(tf.constant(IDS)).numpy().tobytes()


def forget() -> None:
    """As if this were another process."""
    live_tables.clear()


def where(model: keras.Model) -> str | None:
    return model.get_layer("embedding").table.sealed.path


def recorded(path: Path) -> dict[str, Any]:
    """What a `.keras` file says of its table, read by hand."""
    config = json.loads(zipfile.ZipFile(path).read("config.json"))
    (layer,) = [x for x in config["config"]["layers"] if x["class_name"] == "FrozenEmbedding"]
    return layer["config"]["table"]


# ---- moving

PLACES = {
    "beside": ("models/beside", "models/beside/x.safetensors", "x.safetensors"),
    "below": ("models/below", "models/below/deep/er/x.safetensors", "deep/er/x.safetensors"),
    "sibling": ("models/sibling", "tables/x.safetensors", "../../tables/x.safetensors"),
}
MOVED = """
import json, sys
from pathlib import Path
import numpy as np
import embedfreeze as ef
root, found = Path(sys.argv[1]), {}
ids = np.load(root / "ids.npy")
for name in ("beside", "below", "sibling"):
    folder = root / "models" / name
    model = ef.load_model(folder / "model.keras")
    model.load_weights(folder / "model.weights.h5")
    layer = model.get_layer("embedding")
    layer.table.verify(deep=True)
    equal = model(ids).numpy().tobytes() == (folder / "expected").read_bytes()
    found[name] = [equal, layer.table.sealed.path, layer.table.sealed.guarantee, layer.save_mode]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Models saved with tables around them, moved together; at the old places lie others."""
    old = tmp_path_factory.mktemp("old") / "root"
    for name, (folder, table, relative) in PLACES.items():
        (old / folder).mkdir(parents=True)
        # A matrix for each, so that no model may take the table of another.
        model = small(store(old / table, MATRIX + len(name)))
        model.save(old / folder / "model.keras")
        model.save_weights(old / folder / "model.weights.h5")
        (old / folder / "expected").write_bytes(predicted(model))
        assert recorded(old / folder / "model.keras")["path"] == relative
        assert recorded(old / folder / "model.keras")["absolute_path"] == str(old / table)
    np.save(old / "ids.npy", IDS)
    new = tmp_path_factory.mktemp("new") / "root"
    shutil.move(old, new)
    for _, table, _ in PLACES.values():
        store(old / table, OTHER)
    return new, json.loads(child(MOVED, new).splitlines()[-1])


@pytest.mark.parametrize("name", PLACES)
def test_a_model_and_its_table_move_together(moved: tuple[Path, dict[str, Any]], name: str) -> None:
    folder, found = moved
    table = folder / PLACES[name][1]
    assert found[name] == [True, str(table), "watched", "reference"]


def test_another_table_in_a_place_is_passed_over(tmp_path: Path) -> None:
    """It looks the same but for one bit; where all are others, each place is told, and why."""
    model = small(store(tmp_path / "old" / "x.safetensors"))
    (tmp_path / "new").mkdir()
    model.save(tmp_path / "new" / "model.keras")
    (tmp_path / "old" / "x.safetensors").unlink()
    other = store(tmp_path / "old" / "x.safetensors", OTHER)
    (tmp_path / "new" / "x.safetensors").write_text("no table", encoding="utf-8")
    store(tmp_path / "right" / "x.safetensors")
    forget()
    found = ef.load_model(tmp_path / "new" / "model.keras", search=tmp_path / "right")
    assert where(found) == str(tmp_path / "right" / "x.safetensors")
    forget()
    with pytest.raises(FrozenError) as caught:
        ef.load_model(tmp_path / "new" / "model.keras", search=[tmp_path / "none"])
    message = str(caught.value)
    assert message.index(f"digest {other.digest}") < message.index("new/x.safetensors: the content")
    assert f"{tmp_path}/none/x.safetensors: no such file" in message
    assert message.count(model.get_layer("embedding").digest) == 2
    for remedy in ("table=", "search=", "EMBEDFREEZE_PATH"):
        assert remedy in message


def test_a_linked_folder_does_not_mislead(tmp_path: Path) -> None:
    """`..` is that of the folder itself, wherever a link to it stands."""
    model = small(store(tmp_path / "a" / "tables" / "x.safetensors"))
    (tmp_path / "a" / "models").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a" / "models")
    model.save(tmp_path / "link" / "model.keras")
    shutil.move(tmp_path / "a", tmp_path / "b")
    (tmp_path / "link").unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link").symlink_to(tmp_path / "b" / "models")
    forget()
    loaded = ef.load_model(tmp_path / "other" / "link" / "model.keras")
    assert where(loaded) == str(tmp_path / "b" / "tables" / "x.safetensors")


# ---- the order of places


def test_the_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal tables lie everywhere; each time the first that is there is taken, then removed."""
    monkeypatch.chdir(tmp_path)
    order = [
        "models/deep/x.safetensors",  # relative to the model
        "models/x.safetensors",  # beside it
        "first/x.safetensors",  # search
        "second/x.safetensors",
        "third/x.safetensors",  # EMBEDFREEZE_PATH
        "fourth/x.safetensors",
        "old/deep/x.safetensors",  # where it was
    ]
    monkeypatch.setenv("EMBEDFREEZE_PATH", "third::fourth")
    model = small(store(tmp_path / "old/deep/x.safetensors"))
    model.save("old/model.keras")
    expected = predicted(model)
    for place in order[:-1]:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(order[-1], place)
    shutil.copy("old/model.keras", "models/model.keras")
    given = store(tmp_path / "given.safetensors")
    live = ef.load_model("models/model.keras", table=given)
    assert where(live) == str(tmp_path / "given.safetensors")
    assert where(ef.load_model("models/model.keras")) == where(live)  # of this process
    for place in order:
        forget()
        loaded = ef.load_model("models/model.keras", search=["first", "second"])
        assert where(loaded) == str(tmp_path / place)
        assert predicted(loaded) == expected
        (tmp_path / place).unlink()
    forget()
    with pytest.raises(FrozenError, match="deep/x.safetensors: no such file"):
        ef.load_model("models/model.keras", search=["first", "second"])


def test_a_renamed_table_is_told_by_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all places, in the folders of the search alone, whatever else lies there."""
    model = small(store(tmp_path / "old" / "x.safetensors"))
    (new := tmp_path / "new").mkdir()
    model.save(new / "model.keras")
    (tmp_path / "old" / "x.safetensors").rename(new / "renamed.safetensors")
    store(new / "a.safetensors", OTHER)
    aligned(words=[*WORDS[:-1], "other"]).save(new / "b.safetensors")  # the matrix alone is equal
    (new / "c.safetensors").write_text("no table", encoding="utf-8")
    (new / "d.safetensors").write_bytes(b"")
    os.mkfifo(new / "e.safetensors")  # would wait
    (new / "f.safetensors").mkdir()
    forget()
    with pytest.raises(FrozenError, match="looked at"):
        ef.load_model(new / "model.keras")
    assert where(ef.load_model(new / "model.keras", search=new)) == f"{new}/renamed.safetensors"
    assert ef.verify(new / "model.keras", search=[new]).tables[0].path is not None
    forget()
    monkeypatch.setenv("EMBEDFREEZE_PATH", str(new))
    assert where(ef.load_model(new / "model.keras")) == f"{new}/renamed.safetensors"
    (new / "renamed.safetensors").unlink()
    forget()
    with pytest.raises(FrozenError, match=r"b\.safetensors: .*tokens") as caught:
        ef.load_model(new / "model.keras")
    assert "a.safetensors" not in str(caught.value)


def test_a_missing_table_is_a_missing_file_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small(store(tmp_path / "x.safetensors"))
    model.save(tmp_path / "model.keras")
    (tmp_path / "x.safetensors").unlink()
    forget()
    for look in (ef.load_model, ef.verify):
        with pytest.raises(TableNotFound) as caught:
            look(tmp_path / "model.keras")
        assert isinstance(caught.value, FrozenError)
        assert isinstance(caught.value, FileError)
    assert main(["verify", str(tmp_path / "model.keras")]) == 3
    assert "--table or --search" in capsys.readouterr().err


# ---- what is no saved model


def test_files_that_cannot_be_loaded_are_told_apart(tmp_path: Path) -> None:
    model = small(aligned())
    model.save(tmp_path / "whole.keras")
    model.export(tmp_path / "served", verbose=False)
    data = (tmp_path / "whole.keras").read_bytes()
    for size in (0, 4, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.keras").write_bytes(data[:size])
        for look in (ef.load_model, ef.verify):
            with pytest.raises(FormatError, match=r"cut\.keras: is no whole .*cut off or damaged"):
                look(tmp_path / "cut.keras")
    (tmp_path / "hist.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "text.keras").write_text("no archive", encoding="utf-8")
    for name in ("hist.png", "text.keras"):
        for look in (ef.load_model, ef.verify):
            with pytest.raises(FormatError, match=f"{name}: .*a .keras.*received another file"):
                look(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(FormatError, match=r"other\.keras: .*must hold config\.json"):
        ef.load_model(tmp_path / "other.keras")
    half = len(data) // 2
    (tmp_path / "bit.keras").write_bytes(data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :])
    with pytest.raises(FormatError, match=r"bit\.keras: .*(CRC|digest)"):
        ef.load_model(tmp_path / "bit.keras")
    with pytest.raises(FormatError, match=r"served: .*received the folder of a SavedModel"):
        ef.load_model(tmp_path / "served")
    assert predicted(ef.load_model(tmp_path / "whole.keras")) == predicted(model)


def test_keras_itself_looks_in_the_search_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small(store(tmp_path / "old" / "x.safetensors"))
    model.save(tmp_path / "model.keras")
    (tmp_path / "old").rename(tmp_path / "new")
    forget()
    with pytest.raises(FrozenError, match="EMBEDFREEZE_PATH"):
        keras.saving.load_model(tmp_path / "model.keras")
    monkeypatch.setenv("EMBEDFREEZE_PATH", str(tmp_path / "new"))
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert predicted(loaded) == predicted(model)
    forget()
    monkeypatch.delenv("EMBEDFREEZE_PATH")
    (tmp_path / "new").rename(tmp_path / "old")
    (tmp_path / "old" / "x.safetensors").rename(tmp_path / "x.safetensors")
    monkeypatch.chdir(tmp_path)
    assert predicted(keras.saving.load_model("model.keras")) == predicted(model)


def test_models_of_other_classes_are_found_beside_their_table(tmp_path: Path) -> None:
    """Keras does not tell where it saves them: they know the table's name and absolute path."""
    ids = keras.Input((6,), dtype="int32")
    layer = FrozenEmbedding(store(tmp_path / "old" / "x.safetensors"), name="embedding")
    model = keras.Model(ids, keras.layers.Flatten()(layer(ids)))
    model.save(tmp_path / "old" / "model.keras")
    shutil.move(tmp_path / "old", tmp_path / "new")
    forget()
    loaded = ef.load_model(tmp_path / "new" / "model.keras")
    assert where(loaded) == str(tmp_path / "new" / "x.safetensors")
    assert predicted(loaded) == predicted(model)


# ---- tables that are given


def pair(left: Any, right: Any) -> keras.Model:
    """A model over two tables."""
    ids = keras.Input((6,), dtype="int32")
    vectors = [
        FrozenEmbedding(source, name=name)(ids)
        for source, name in ((left, "left"), (right, "right"))
    ]
    return keras.Model(ids, keras.layers.Subtract()(vectors))


def test_several_tables_are_told_by_their_digests(tmp_path: Path) -> None:
    left, right = store(tmp_path / "left.safetensors"), store(tmp_path / "right.safetensors", OTHER)
    model = pair(left, right)
    model.save(tmp_path / "model.keras")
    (tmp_path / "left.safetensors").rename(tmp_path / "a.safetensors")
    (tmp_path / "right.safetensors").rename(tmp_path / "b.safetensors")
    forget()
    given = [tmp_path / "b.safetensors", aligned()]
    loaded = ef.load_model(tmp_path / "model.keras", table=given)
    assert predicted(loaded) == predicted(model)
    assert loaded.get_layer("right").table.sealed.path == str(tmp_path / "b.safetensors")
    assert loaded.get_layer("left").table.sealed is given[1].sealed
    third = aligned(MATRIX + 1)
    with pytest.raises(FrozenError) as caught:
        ef.load_model(tmp_path / "model.keras", table=[third, given[1]])
    for digest in (right.digest, third.digest, left.digest):
        assert digest in str(caught.value)


def test_other_tokens_are_refused(tmp_path: Path) -> None:
    model = small(store(tmp_path / "x.safetensors"))
    model.save(tmp_path / "model.keras")
    renamed = aligned(MATRIX, ["other", *WORDS[1:]])
    forget()
    with pytest.raises(FrozenError, match="same matrix with other tokens"):
        ef.load_model(tmp_path / "model.keras", table=renamed)
    (tmp_path / "x.safetensors").unlink()
    renamed.save(tmp_path / "x.safetensors")
    forget()
    with pytest.raises(FrozenError, match="x.safetensors: .*same matrix with other tokens"):
        ef.load_model(tmp_path / "model.keras")


def test_a_table_that_is_given_must_be_one(tmp_path: Path) -> None:
    small(aligned()).save(tmp_path / "model.keras")
    with pytest.raises(FileError, match=r"none\.safetensors"):
        ef.load_model(tmp_path / "model.keras", table=tmp_path / "none.safetensors")
    with pytest.raises(TypeError, match="received int"):
        ef.load_model(tmp_path / "model.keras", table=3)


RECORDS = {
    "no record": None,
    "a list": [],
    "no digest": {"digest": None},
    "a short digest": {"digest": "abc"},
    "a digest of another case": {"digest": "A" * 64},
    "a shape of text": {"shape": ["5", 3]},
    "a negative shape": {"shape": [-5, 3]},
    "a path of numbers": {"path": 3},
    "a list of settings": {"special": []},
    "no settings": {"special": {}},
    "a padding of numbers": {"special": {**ef.Vocabulary(WORDS).settings(), "padding": 3}},
    "a splitter of text": {"special": {**ef.Vocabulary(WORDS).settings(), "splitter": "x"}},
}


@pytest.mark.parametrize("change", RECORDS)
def test_a_damaged_record_is_refused(change: str) -> None:
    layer = FrozenEmbedding(aligned())
    config = layer.get_config()
    changed = RECORDS[change]
    config["table"] = {**config["table"], **changed} if isinstance(changed, dict) else changed
    with pytest.raises(FormatError, match="must describe its table.*save the model again"):
        FrozenEmbedding.from_config(config)
    for name in layer.get_config()["table"]:
        record = layer.get_config()["table"]
        del record[name]
        with pytest.raises(FormatError, match=f"with a {name}"):
            FrozenEmbedding.from_config({**layer.get_config(), "table": record})


def test_a_pipe_that_a_model_names_is_not_opened(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.safetensors")
    layer = FrozenEmbedding(store(tmp_path / "real.safetensors"))
    config = layer.get_config()
    config["table"]["absolute_path"] = config["table"]["path"] = str(tmp_path / "x.safetensors")
    forget()
    with pytest.raises(FrozenError, match="no such file"):
        FrozenEmbedding.from_config(config)


# ---- weights


def test_weights_hold_a_reference(tmp_path: Path) -> None:
    import h5py

    source = store(tmp_path / "tables" / "x.safetensors")
    model = small(source)
    model.save_weights(tmp_path / "m.weights.h5")
    assert (tmp_path / "m.weights.h5").stat().st_size < MATRIX.nbytes // 2
    with h5py.File(tmp_path / "m.weights.h5") as file:
        found: list[Any] = []
        file.visititems(lambda name, at: found.append(at[...]) if name.endswith("/table") else None)
    (record,) = (json.loads(one.tobytes()) for one in found)
    assert record["path"] == "tables/x.safetensors"
    assert (record["digest"], record["shape"]) == (source.digest, [ROWS, DIM])


def test_weights_of_another_table_are_refused(tmp_path: Path) -> None:
    """By the library's own error, also where Keras gathers errors and raises one of its own."""
    path = tmp_path / "m.weights.h5"
    model = small(aligned())
    model.save_weights(path)
    small(aligned()).load_weights(path)
    other = small(aligned(OTHER))
    before = predicted(other)
    with pytest.raises(FrozenError) as caught:
        other.load_weights(path)
    for table in (model, other):
        assert table.get_layer("embedding").digest in str(caught.value)
    assert other.get_layer("embedding").table.numpy().tobytes() == OTHER.tobytes()
    with pytest.raises(FrozenError, match="tokens with the digest"):
        small(aligned(MATRIX, ["u", *WORDS[1:]])).load_weights(path)
    with pytest.warns(UserWarning, match="could not be loaded"):
        other.load_weights(path, skip_mismatch=True)
    assert predicted(other) != before  # the dense layers were loaded
    assert other.get_layer("embedding").table.numpy().tobytes() == OTHER.tobytes()


def test_sharded_weights(tmp_path: Path) -> None:
    model = small(aligned())
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=0.0001)
    keras.utils.set_random_seed(3)
    twin = small(aligned())
    twin.load_weights(tmp_path / "m.weights.json")
    assert predicted(twin) == predicted(model)
    with pytest.raises(FrozenError, match="received weights with the digest"):
        small(aligned(OTHER)).load_weights(tmp_path / "m.weights.json")


# ---- tables inside of a model's file


def tables_in(path: Path) -> list[str]:
    names = zipfile.ZipFile(path).namelist()
    return [name for name in names if name.endswith((".safetensors", "table.json"))]


def test_a_table_of_two_layers_is_embedded_once(tmp_path: Path) -> None:
    source = aligned()
    pair(source, source).save(tmp_path / "one.keras")
    pair(source, aligned(OTHER)).save(tmp_path / "two.keras")
    once, twice = (tables_in(tmp_path / name) for name in ("one.keras", "two.keras"))
    assert sorted(Path(name).name for name in once) == ["table.json", "table.safetensors"]
    assert [Path(name).name for name in twice] == ["table.safetensors"] * 2
    sizes = [(tmp_path / name).stat().st_size for name in ("one.keras", "two.keras")]
    assert sizes[1] - sizes[0] > MATRIX.nbytes
    expected = predicted(pair(source, aligned(OTHER)))
    forget()
    shared, apart = (ef.load_model(tmp_path / name) for name in ("one.keras", "two.keras"))
    left, right = (shared.get_layer(name).table.sealed for name in ("left", "right"))
    assert left is right
    assert predicted(apart) == expected
    assert not np.frombuffer(predicted(shared), np.float32).any()


def test_saving_again_embeds_again(tmp_path: Path) -> None:
    """What was written for an earlier file is gone, or belongs to that."""
    source = aligned()
    model = pair(source, source)
    for name in ("a.keras", "b.keras"):
        model.save(tmp_path / name)
        assert len(tables_in(tmp_path / name)) == 2
    forget()
    assert predicted(ef.load_model(tmp_path / "b.keras")) == predicted(model)


def test_a_link_stays_in_the_file(tmp_path: Path) -> None:
    source = aligned()
    source.save(tmp_path / "table.safetensors")
    pair(source, source).save(tmp_path / "model.keras")
    for number, content in enumerate(
        [
            json.dumps({"table": f"../../../../../..{tmp_path}/table.safetensors"}),
            json.dumps({"table": str(tmp_path / "table.safetensors")}),
            json.dumps({"table": 3}),
            "[]",
            "{",
        ]
    ):
        changed = tmp_path / f"{number}.keras"
        with (
            zipfile.ZipFile(tmp_path / "model.keras") as old,
            zipfile.ZipFile(changed, "w") as new,
        ):
            for name in old.namelist():
                # Without the store that the link is to, so that it must be followed.
                if name.endswith("table.json"):
                    new.writestr(name, content)
                elif not name.endswith("table.safetensors"):
                    new.writestr(name, old.read(name))
        forget()
        with pytest.raises(FormatError, match=r"table\.json: a link must"):
            ef.load_model(changed)


def test_a_model_saved_as_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras alone loses the assets of a folder whose path is relative."""
    monkeypatch.chdir(tmp_path)
    model = small(aligned())
    model.save("folder", zipped=False)
    forget()
    loaded = ef.load_model("folder")
    assert predicted(loaded) == predicted(model)
    assert loaded.get_layer("embedding").table.sealed.guarantee == "sealed"


def test_an_embedded_table_keeps_what_is_known_of_it(tmp_path: Path) -> None:
    e = ef.Embeddings(
        ["good", "Case", "unused"], RANDOM.standard_normal((3, 5)).astype("f4"), "src"
    )
    v = ef.Vocabulary(["good", "CASE", "new"], counts={"good": 3, "new": 1})
    a = ef.align(e, v, match=("exact", "lower"), fold_file=True, oov="hash")
    small(a).save(tmp_path / "model.keras")
    forget()
    layer = ef.load_model(tmp_path / "model.keras").get_layer("embedding")
    assert layer.table.sealed is not a.sealed
    assert (layer.digest, layer.vocabulary) == (a.digest, v)
    assert layer.vocabulary.counts == v.counts
    assert str(layer.coverage) == str(a.coverage)
    assert layer.coverage.to_dict() == a.coverage.to_dict()
    assert layer.table.table.embeddings.provenance == a.provenance


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_narrow_tables_are_embedded_as_they_are(tmp_path: Path, dtype: str) -> None:
    stored = ef.Embeddings(["", "[UNK]", *WORDS], MATRIX).astype(dtype)
    source = AlignedEmbeddings(seal_array(stored.matrix), ef.Vocabulary(WORDS))
    model = small(source)
    model.save(tmp_path / "model.keras")
    forget()
    loaded = ef.load_model(tmp_path / "model.keras")
    table = loaded.get_layer("embedding").table
    assert (table.dtype, table.sealed.array.tobytes()) == (dtype, stored.matrix.tobytes())
    assert predicted(loaded) == predicted(model)
    assert (tmp_path / "model.keras").stat().st_size < MATRIX.nbytes + 100_000


def test_a_damaged_embedded_table_is_our_own_error(tmp_path: Path) -> None:
    model = small(aligned())
    model.save(tmp_path / "model.keras")
    with (
        zipfile.ZipFile(tmp_path / "model.keras") as old,
        zipfile.ZipFile(tmp_path / "bad.keras", "w") as new,
    ):
        for name in old.namelist():
            data = bytearray(old.read(name))
            if name.endswith(".safetensors"):
                data[data.index(MATRIX[300].tobytes())] ^= 1
            new.writestr(name, bytes(data))
    forget()
    with pytest.raises(FrozenBytesChanged) as caught:
        ef.load_model(tmp_path / "bad.keras")
    assert caught.value.block == 0


def test_a_table_in_use_is_found_after_an_equal_one_is_gone(tmp_path: Path) -> None:
    """Clones and copies share the table of their original, whoever looked at an equal one since."""
    model = small(aligned())
    model.save(tmp_path / "model.keras")
    address = model.get_layer("embedding").table.sealed.address
    ef.verify(tmp_path / "model.keras")
    other = small(aligned())
    other.get_config()
    del other
    keras.backend.clear_session()
    gc.collect()
    for again in (
        keras.models.clone_model(model),
        copy.deepcopy(model),
        ef.load_model(tmp_path / "model.keras"),
    ):
        assert again.get_layer("embedding").table.sealed.address == address


def test_a_folder_that_is_written_again_holds_the_tables_of_the_new_model(tmp_path: Path) -> None:
    def over(*values: float) -> keras.Model:
        entry = keras.Input((6,), dtype="int32")
        tables = [aligned(MATRIX + np.float32(value)) for value in values]
        vectors = [FrozenEmbedding(table)(entry) for table in tables]
        return keras.Model(entry, keras.layers.Concatenate()([*vectors, vectors[0]]))

    over(0.0).save(tmp_path / "model", zipped=False)
    shutil.rmtree(tmp_path / "model")
    model = over(1.0, 0.0)
    model.save(tmp_path / "model", zipped=False)
    forget()
    loaded = ef.load_model(tmp_path / "model")
    assert np.array_equal(loaded(IDS), model(IDS))


def test_a_format_that_does_not_load_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(FrozenError, match=r"m\.h5: .* saved as a \.keras file"):
        small(aligned()).save(tmp_path / "m.h5")
    assert not list(tmp_path.iterdir())
    small(aligned()).save_weights(tmp_path / "m.weights.h5")
