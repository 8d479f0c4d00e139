"""`verify(path)`: a saved model against its table, byte for byte, without building the model."""

import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.checkpoints import Bundle
from embedfreeze.errors import (
    EmbedFreezeError,
    FileError,
    FormatError,
    FrozenBytesChanged,
    FrozenError,
)
from embedfreeze.frozen import FrozenEmbedding, frozen_scalar
from embedfreeze.sealed import seal_array
from embedfreeze.table import live_tables

ROWS, DIM = 3002, 100  # more than one block of 1 MiB
MATRIX = np.random.default_rng(21).standard_normal((ROWS, DIM)).astype(np.float32)
WORDS = [f"t{i}" for i in range(ROWS - 2)]


def aligned(matrix: np.ndarray = MATRIX, words: list[str] = WORDS) -> AlignedEmbeddings:
    return AlignedEmbeddings(seal_array(matrix), ef.Vocabulary(words))


SOURCE = aligned()


def small(source: Any) -> keras.Model:
    return ef.build_model(source, hidden_units=[])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model with its table inside, one with a reference, each saved in every way."""
    folder = tmp_path_factory.mktemp("saved")
    SOURCE.save(folder / "table.safetensors")
    for name, source in (("inside", SOURCE), ("outside", ef.read(folder / "table.safetensors"))):
        model = small(source)
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}_folder", zipped=False)
        model.save_weights(folder / f"{name}.weights.h5")
        model.export(folder / f"{name}_exported", verbose=False)
    tf.saved_model.save(model, str(folder / "unrecorded"))
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    """All of them, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "copied"))


def flip(path: Path, row: int = 2900) -> None:
    """Change one bit of a row of the matrix, wherever it lies in a file."""
    data = path.read_bytes()
    place = data.index(MATRIX[row].tobytes())
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes([data[place] ^ 1]))


def repacked(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A `.keras` file with changed members; None leaves one out."""
    target = path.with_name(f"changed_{path.name}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


INSIDE = ["inside.keras", "inside_folder", "inside_exported", "outside_exported"]
OUTSIDE = ["outside.keras", "outside_folder", "outside.weights.h5"]


@pytest.mark.parametrize("name", INSIDE + OUTSIDE)
def test_a_saved_model_is_what_it_was(saved: Path, name: str) -> None:
    live_tables.clear()
    proof = ef.verify(saved / name)
    (table,) = proof.tables
    assert (table.layer, table.shape, table.dtype) == ("embedding", (ROWS, DIM), "float32")
    assert (table.digest, table.how) == (SOURCE.digest, "deep")
    assert table.guarantee == ("stored" if name in INSIDE else "watched")
    assert not len(live_tables)  # nothing was taken into a model
    assert json.loads(proof.to_json())["model"] == str(saved / name)
    assert SOURCE.digest in str(proof)


@pytest.mark.parametrize("name", INSIDE + OUTSIDE)
def test_it_must_be_the_table_that_is_given(saved: Path, name: str) -> None:
    given = SOURCE if name in INSIDE else saved / "table.safetensors"
    assert ef.verify(saved / name, table=given).tables[0].digest == SOURCE.digest
    other = aligned(MATRIX + 1)
    with pytest.raises(FrozenError) as caught:
        ef.verify(saved / name, table=[other])
    assert SOURCE.digest in str(caught.value)
    assert other.digest in str(caught.value)
    with pytest.raises(FrozenError, match="other tokens"):
        ef.verify(saved / name, table=aligned(MATRIX, ["u", *WORDS[1:]]))


def damage_file(folder: Path, name: str) -> Path:
    """Flip a bit of the table of a model; where it is packed, the checksum is made to fit."""
    if name == "inside.keras":

        def change(member: str, data: bytes) -> bytes:
            if not member.endswith(".safetensors"):
                return data
            place = data.index(MATRIX[2900].tobytes())
            return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

        return repacked(folder / name, change)
    if name == "inside_folder":
        (table,) = (folder / name).rglob("*.safetensors")
    elif name.endswith("exported"):
        table = folder / name / "variables" / "variables.data-00000-of-00001"
    else:
        table = folder / "table.safetensors"
    flip(table)
    return folder / name


@pytest.mark.parametrize("name", INSIDE + OUTSIDE)
def test_one_bit_is_found(copied: Path, name: str) -> None:
    path = damage_file(copied, name)
    with pytest.raises(FrozenBytesChanged) as caught:
        ef.verify(path)
    assert (caught.value.layer, caught.value.block) == ("embedding", 1)
    assert path.name in str(caught.value)


def test_a_bit_in_an_archive_is_found_by_its_checksum_too(copied: Path) -> None:
    flip(copied / "inside.keras")
    with pytest.raises(FileError, match="inside.keras: .*CRC"):
        ef.verify(copied / "inside.keras")


def test_other_tokens_are_found(copied: Path) -> None:
    (copied / "table.safetensors").unlink()
    aligned(MATRIX, ["u", *WORDS[1:]]).save(copied / "table.safetensors")
    for name in ("outside.keras", "outside.weights.h5"):
        path = copied / name
        (copied / "alone").mkdir(exist_ok=True)
        with pytest.raises(FrozenError, match="other tokens"):
            ef.verify(path, table=copied / "table.safetensors")


def test_tables_are_found_as_loading_finds_them(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (copied / "table.safetensors").rename(tmp_path / "elsewhere" / "table.safetensors")
    for name in OUTSIDE:
        proof = ef.verify(copied / name, search=[tmp_path / "elsewhere"])
        assert proof.tables[0].path == str(tmp_path / "elsewhere" / "table.safetensors")


def test_weights_of_an_embedded_table_hold_none(saved: Path) -> None:
    with pytest.raises(FrozenError, match="does not hold: give it with table="):
        ef.verify(saved / "inside.weights.h5")
    assert ef.verify(saved / "inside.weights.h5", table=SOURCE).tables[0].guarantee == "sealed"


def test_a_saved_model_without_a_record_needs_the_table(saved: Path) -> None:
    with pytest.raises(FrozenError, match="give them with table="):
        ef.verify(saved / "unrecorded")
    assert ef.verify(saved / "unrecorded", table=SOURCE).tables[0].guarantee == "stored"
    with pytest.raises(FrozenBytesChanged, match="block 0"):
        ef.verify(saved / "unrecorded", table=aligned(MATRIX + 1))
    with pytest.raises(FrozenError, match=r"needs a variable \[3002, 50\]"):
        ef.verify(saved / "unrecorded", table=aligned(MATRIX[:, :50].copy()))


def test_a_folder_of_the_working_directory(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved)
    for name in ("outside.keras", "inside_folder", "inside_exported"):
        assert ef.verify(name).model == name


class Subclassed(keras.Model):
    """Its description does not tell of its layers; its weights do."""

    def __init__(self) -> None:
        super().__init__()
        self.words = FrozenEmbedding(SOURCE, name="words")

    def call(self, ids: Any) -> Any:
        return self.words(ids)


def test_a_model_of_another_class(tmp_path: Path) -> None:
    model = Subclassed()
    model(np.zeros((1, 2), np.int32))
    model.save(tmp_path / "model.keras")
    (table,) = ef.verify(tmp_path / "model.keras").tables
    assert (table.layer, table.digest, table.guarantee) == ("words", SOURCE.digest, "stored")


def test_several_tables(tmp_path: Path) -> None:
    """In nested models, too; one that two layers share is inside once, and told of both."""
    ids = keras.Input((6,), dtype="int32")
    inner = keras.Model(ids, FrozenEmbedding(SOURCE, name="inner")(ids))
    other = aligned(MATRIX + 1)
    vectors = [inner(ids)] + [
        FrozenEmbedding(source, name=name)(ids)
        for source, name in ((SOURCE, "same"), (other, "other"))
    ]
    keras.Model(ids, keras.layers.Add()(vectors)).save(tmp_path / "model.keras")
    found = {t.layer: t.digest for t in ef.verify(tmp_path / "model.keras").tables}
    assert found == {"inner": SOURCE.digest, "same": SOURCE.digest, "other": other.digest}


# ---- damaged and hostile files


def test_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.keras.*no such file"):
        ef.verify(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("not a zip archive", encoding="utf-8")
    (tmp_path / "empty.weights.h5").write_bytes(b"")
    (tmp_path / "zip.weights.h5").write_bytes(b"PK\x03\x04")
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme", "hello")
    for name in ("text.keras", "empty.weights.h5", "zip.weights.h5", "folder", "other.keras"):
        with pytest.raises(FileError, match=name):
            ef.verify(tmp_path / name)


def test_a_model_without_a_frozen_table(tmp_path: Path) -> None:
    ids = keras.Input((3,))
    model = keras.Model(ids, keras.layers.Dense(1)(ids))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    for name in ("model.keras", "model.weights.h5"):
        with pytest.raises(FrozenError, match="tell of a table"):
            ef.verify(tmp_path / name)


def changed_config(change: Callable[[dict[str, Any]], Any]) -> Callable[[str, bytes], bytes]:
    """A member's new bytes: of the description, with the record of the table changed."""

    def apply(name: str, data: bytes) -> bytes:
        if name != "config.json":
            return data
        config = json.loads(data)
        (layer,) = [x for x in config["config"]["layers"] if x["name"] == "embedding"]
        layer["config"]["table"] = change(layer["config"]["table"])
        return json.dumps(config).encode()

    return apply


HOSTILE: dict[str, tuple[Callable[[str, bytes], bytes | None], type[EmbedFreezeError], str]] = {
    "no description": (
        lambda name, data: None if name == "config.json" else data,
        FileError,
        "must hold config.json",
    ),
    "no weights": (
        lambda name, data: None if name.endswith(".h5") else data,
        FileError,
        "must hold model.weights.h5",
    ),
    "half a description": (
        lambda name, data: data[:-9] if name == "config.json" else data,
        FileError,
        "must be one that can be read",
    ),
    "a deep description": (
        lambda name, data: b"[" * 99_999 if name == "config.json" else data,
        FileError,
        "recursion",
    ),
    "no UTF-8": (
        lambda name, data: b'"\xff"' if name == "config.json" else data,
        FileError,
        "utf-8",
    ),
    "half of the weights": (
        lambda name, data: data[: len(data) // 2] if name.endswith(".h5") else data,
        FileError,
        "must be one that can be read",
    ),
    "no record": (changed_config(lambda record: None), FileError, "received None"),
    "a record without a shape": (
        changed_config(lambda record: {k: v for k, v in record.items() if k != "shape"}),
        FileError,
        "with a shape",
    ),
    "a digest of another type": (
        changed_config(lambda record: {**record, "digest": 5}),
        FileError,
        "with a digest",
    ),
    "another digest": (
        changed_config(lambda record: {**record, "digest": "0" * 64}),
        FrozenError,
        "0000, received|digest 0000.*does not hold",
    ),
    "another digest of tokens": (
        changed_config(lambda record: {**record, "tokens_digest": "0" * 64}),
        FrozenError,
        "tokens with the digest 0000.*does not hold",
    ),
    "no table": (
        lambda name, data: None if name.endswith(".safetensors") else data,
        FrozenError,
        "does not hold",
    ),
    "half a table": (
        lambda name, data: data[: len(data) // 2] if name.endswith(".safetensors") else data,
        FileError,
        "table.safetensors: the tensor vectors.*does not fit",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_damaged_archives(copied: Path, case: str) -> None:
    change, kind, said = HOSTILE[case]
    path = repacked(copied / "inside.keras", change)
    with pytest.raises(kind, match=f"(?s){path.name}.*({said})"):
        ef.verify(path)


def test_archives_cut_anywhere(copied: Path, tmp_path: Path) -> None:
    data = (copied / "inside.keras").read_bytes()
    for size in range(0, len(data), len(data) // 40):
        (tmp_path / "cut.keras").write_bytes(data[:size])
        with pytest.raises(FileError):
            ef.verify(tmp_path / "cut.keras")


def test_names_that_lead_elsewhere_are_not_followed(copied: Path, tmp_path: Path) -> None:
    """No member is ever written to a place that its name chooses."""
    before = sorted(tmp_path.rglob("*"))
    with zipfile.ZipFile(copied / "inside.keras", "a") as archive:
        (table,) = [n for n in archive.namelist() if n.endswith(".safetensors")]
        store = archive.read(table)
        for name in ("assets/../../../escaped/table.safetensors", "/tmp/escaped.safetensors"):
            archive.writestr(name, store)
    assert ef.verify(copied / "inside.keras").tables[0].digest == SOURCE.digest
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/escaped.safetensors").exists()


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("config.json", "w", force_zip64=True) as file,
    ):
        for _ in range(300):
            file.write(bytes(1 << 20))
    with pytest.raises(FileError, match="made to harm"):
        ef.verify(tmp_path / "bomb.keras")


@pytest.mark.parametrize("kind", ["huge", "external", "text", "link", "group"])
def test_hostile_weights(copied: Path, tmp_path: Path, kind: str) -> None:
    path = copied / "outside.weights.h5"
    with h5py.File(path, "r+") as file:
        groups: list[Any] = []
        file.visititems(lambda name, at: groups.append(at) if "table" in at else None)
        (group,) = groups
        del group["table"]
        if kind == "huge":
            group.create_dataset("table", (1 << 40,), "u1", chunks=(1 << 20,))
        elif kind == "external":
            (tmp_path / "outside").write_bytes(b"secret")
            external = [(str(tmp_path / "outside"), 0, 6)]
            group.create_dataset("table", (6,), "u1", external=external)
        elif kind == "text":
            group["table"] = np.frombuffer(b'{"digest": 3}', np.uint8)
        elif kind == "link":
            group["table"] = h5py.ExternalLink(str(tmp_path / "none.h5"), "/table")
        else:
            group.create_group("table")
    with pytest.raises(FileError, match="outside.weights.h5"):
        ef.verify(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "cannot be read"),
        (b"[" * 99_999, "recursion"),
        (b"[]", "cannot be read"),
        (b'{"format": "other", "tables": []}', "format must be"),
        (b'{"format": "embedfreeze-saved-model"}', "'tables'"),
        (b'{"format": "embedfreeze-saved-model", "tables": [{}]}', "'table'"),
        (b'{"format": "embedfreeze-saved-model", "tables": [{"table": {}}]}', "with a digest"),
    ],
)
def test_damaged_records_of_saved_models(copied: Path, content: bytes, said: str) -> None:
    path = copied / "inside_exported" / "assets.extra" / "embedfreeze.json"
    path.write_bytes(content)
    with pytest.raises(FileError, match=f"embedfreeze.json: .*{said}"):
        ef.verify(copied / "inside_exported")


def test_a_record_whose_blocks_do_not_fit(copied: Path) -> None:
    path = copied / "inside_exported" / "assets.extra" / "embedfreeze.json"
    record = json.loads(path.read_bytes())
    record["tables"][0]["blocks"] = "00" * 64
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(FileError, match="digests of the blocks"):
        ef.verify(copied / "inside_exported")


def test_a_checkpoint_that_is_cut_or_gone(copied: Path) -> None:
    variables = copied / "inside_exported" / "variables"
    data = variables / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(FileError, match=r"data-00000.*cut off"):
        ef.verify(copied / "inside_exported")
    data.unlink()
    with pytest.raises(FileError, match="inside_exported"):
        ef.verify(copied / "inside_exported")
    (variables / "variables.index").unlink()
    with pytest.raises(FileError, match="inside_exported"):
        ef.verify(copied / "inside_exported")


# ---- the index of checkpoints


def test_the_index_of_a_checkpoint_is_read_as_tensorflow_reads_it(tmp_path: Path) -> None:
    """Many variables, so that keys share beginnings and the index has several blocks."""
    variables = {
        f"v{i:04d}_{'x' * (i % 50)}": tf.Variable(np.full((i % 7, 3), i, np.float32))
        for i in range(700)
    }
    variables |= {"scalar": tf.Variable(3, dtype=tf.int64), "text": tf.Variable("word")}
    prefix = tf.train.Checkpoint(**variables).write(str(tmp_path / "checkpoint"))
    reader = tf.train.load_checkpoint(prefix)
    bundle = Bundle(prefix)
    shapes = reader.get_variable_to_shape_map()
    assert {k.decode(): list(v.shape) for k, v in bundle.variables.items()} == shapes
    for key, stored in bundle.variables.items():
        value = reader.get_tensor(key.decode())
        if isinstance(value, np.ndarray):
            assert bundle.bytes_of(stored).tobytes() == value.tobytes()


def test_a_damaged_index(tmp_path: Path) -> None:
    prefix = tf.train.Checkpoint(a=tf.Variable([1.0, 2.0])).write(str(tmp_path / "checkpoint"))
    index = tmp_path / "checkpoint.index"
    data = index.read_bytes()
    for size in range(0, len(data), 7):
        index.write_bytes(data[:size])
        with pytest.raises(FileError):
            Bundle(prefix)
    rng = np.random.default_rng(0)
    for _ in range(100):
        changed = bytearray(data)
        changed[rng.integers(len(data) - 8)] ^= 1 << rng.integers(8)
        index.write_bytes(changed)
        try:
            bundle = Bundle(prefix)
            for stored in bundle.variables.values():
                bundle.bytes_of(stored)
        except (FileError, FileNotFoundError):
            pass  # anything else fails the test
    index.write_bytes(data[:-8] + struct.pack("<Q", 0))
    with pytest.raises(FileError, match="does not end in"):
        Bundle(prefix)


def test_scalars_and_odd_shapes(tmp_path: Path) -> None:
    """A frozen number is a table, too."""

    class Scaled(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.factor = frozen_scalar(5.0, name="factor")
            self.words = FrozenEmbedding(SOURCE, name="words")

        def call(self, ids: Any) -> Any:
            return self.words(ids) * self.factor

    model = Scaled()
    model(np.zeros((1, 2), np.int32))
    tf.saved_model.save(model, str(tmp_path / "model"))
    five, six = (frozen_scalar(x).table for x in (5.0, 6.0))
    assert [t.shape for t in ef.verify(tmp_path / "model", table=[five, SOURCE]).tables] == [
        (),
        (ROWS, DIM),
    ]
    with pytest.raises(FrozenBytesChanged):
        ef.verify(tmp_path / "model", table=[six])


def test_weights_whose_record_is_empty(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layer/vars/digest"] = "0"
        file["layer/vars/table"] = h5py.Empty("uint8")
    with pytest.raises(FormatError, match="weights must hold the record of a table"):
        ef.verify(tmp_path / "m.weights.h5")


def test_a_store_is_known_by_its_content(saved: Path, tmp_path: Path) -> None:
    store = saved / "table.safetensors"
    for path in (store, shutil.copy(store, tmp_path / "zz.bin")):
        proof = ef.verify(path)
        assert [(t.layer, t.digest, t.how) for t in proof.tables] == [(None, SOURCE.digest, "deep")]
        assert proof.model == str(path)
        with pytest.raises(ValueError, match="leave them out"):
            ef.verify(path, table=SOURCE)
    data = bytearray((tmp_path / "zz.bin").read_bytes())
    data[-1] ^= 1
    (tmp_path / "zz.bin").write_bytes(data)
    with pytest.raises(FormatError, match="zz.bin: .* must have the recorded digest"):
        ef.verify(tmp_path / "zz.bin")
    (tmp_path / "zz.bin").write_bytes(b"king 1 2\n")
    with pytest.raises(FormatError, match="or a store, received another file"):
        ef.verify(tmp_path / "zz.bin")
