"""FreezeProof: what it says is what an independent look at the kernel and the bytes says."""

import copy
import fcntl
import hashlib
import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import embedfreeze as ef
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.errors import FileError, FormatError, FrozenBytesChanged, FrozenError
from embedfreeze.pooling import MaskedPooling
from embedfreeze.proof import FreezeProof, TableProof
from embedfreeze.sealed import seal_array
from embedfreeze.table import Table

VOCABULARY = ef.Vocabulary([f"word{i}" for i in range(598)])
VALUES = np.random.default_rng(0).normal(size=(600, 512)).astype("float32")  # two blocks
IDS = np.arange(60, dtype="int32").reshape(12, 5)
LABELS = np.ones((12, 1), "float32")


def sealed() -> AlignedEmbeddings:
    return AlignedEmbeddings(seal_array(VALUES), VOCABULARY)


def digest_of(values: bytes) -> str:
    """The design's definition, written out again."""
    blocks = [values[at : at + 2**20] for at in range(0, len(values), 2**20)]
    joined = b"".join(hashlib.sha256(block).digest() for block in blocks)
    return hashlib.sha256(joined).hexdigest()


def compiled(source: Any, **options: Any) -> Any:
    return ef.build_model(source, hidden_units=[], optimizer="sgd", loss="mse", **options)


def test_of_sealed_memory() -> None:
    model = compiled(sealed(), name="texts")
    proof = ef.verify(model)
    assert isinstance(proof, ef.FreezeProof)
    (table,) = proof.tables
    assert (proof.model, proof.steps) == ("texts", 0)
    assert (table.layer, table.shape, table.dtype) == ("embedding", (600, 512), "float32")
    assert (table.guarantee, table.how, table.file, table.path) == ("sealed", "address", None, None)
    assert table.digest == digest_of(VALUES.tobytes())
    maps = Path("/proc/self/maps").read_text("utf-8").splitlines()
    (line,) = [line for line in maps if line.startswith(f"{table.address:x}-")]
    assert " r--s " in line
    assert "memfd:embedfreeze" in line
    inode = int(line.split()[4])
    seals = {
        fcntl.fcntl(int(fd), fcntl.F_GET_SEALS)
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}") and os.stat(f"/proc/self/fd/{fd}").st_ino == inode
        if "memfd" in os.readlink(f"/proc/self/fd/{fd}")
    }
    assert seals == {sum(getattr(fcntl, name) for name in table.seals)}
    assert ef.verify(model, deep=True).tables[0].how == "deep"


def test_of_a_watched_store(tmp_path: Path) -> None:
    sealed().save(tmp_path / "t.safetensors")
    proof = ef.verify(ef.FrozenEmbedding(ef.read(tmp_path / "t.safetensors"), name="words"))
    (table,) = proof.tables
    status = os.stat(tmp_path / "t.safetensors")
    assert (table.guarantee, table.seals) == ("watched", [])
    assert table.path == str(tmp_path / "t.safetensors")
    assert table.to_dict()["file"] == {
        "device": status.st_dev,
        "inode": status.st_ino,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }
    assert table.digest == digest_of(VALUES.tobytes())


def test_it_is_a_sentence_and_json(tmp_path: Path) -> None:
    model = compiled(sealed(), name="texts")
    model.fit(IDS, LABELS, 4, 2, verbose=0)
    proof = ef.verify(model, deep=True)
    table = proof.tables[0]
    assert str(proof) == (
        "no frozen byte of 'texts' changed, over 6 checked training steps: layer 'embedding' "
        f"(600 x 512 float32, sealed memory at {table.address:#x}, digest {table.digest}): "
        "by the digest of every byte"
    )
    assert json.loads(proof.to_json()) == proof.to_dict()
    assert proof.to_dict()["tables"][0]["shape"] == [600, 512]
    scalar = ef.verify(ef.frozen_scalar(5.0, name="factor"))
    assert re.fullmatch(
        r"no frozen byte of 'factor' changed: the variable \(scalar .*", str(scalar)
    )


def test_it_is_kept_beside_or_in_a_model(tmp_path: Path) -> None:
    proof = ef.verify(compiled(sealed()))
    (tmp_path / "model.keras").write_bytes(b"")
    written = [proof.save(tmp_path / "model.keras"), proof.save(tmp_path)]
    names = ["model.keras.proof.json", "freeze-proof.json"]
    assert written == [str(tmp_path / name) for name in names]
    proof.save(tmp_path)  # again
    for path in written:
        assert json.loads(Path(path).read_text("utf-8")) == proof.to_dict()


@pytest.mark.parametrize("steps", [1, 5])
def test_the_guard_counts_what_it_checked(steps: int) -> None:
    layers = [ef.FrozenEmbedding(sealed(), name="words"), MaskedPooling(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers], name="theirs")
    model.compile("sgd", "mse", steps_per_execution=steps)
    guard = ef.FreezeGuard()
    with pytest.raises(FrozenError, match="a guard that checked nothing"):
        guard.proof()
    model.fit(IDS, LABELS, 1, 2, verbose=0, callbacks=[guard])  # 12 steps are 5 + 5 + 2
    assert (guard.proof().model, guard.proof().steps) == ("theirs", 24)
    model.fit(IDS, LABELS, 4, verbose=0, callbacks=[guard])
    model.evaluate(IDS, LABELS, verbose=0, callbacks=[guard])
    assert (guard.proof().steps, guard.proof().tables[0].how) == (27, "address")
    assert ef.verify(model).steps == 0  # nobody else watched


def test_a_model_counts_what_it_checked() -> None:
    model = compiled(sealed())
    model.compile("sgd", "mse", steps_per_execution=5)
    model.fit(IDS, LABELS, 1, 2, verbose=0)
    model.compile("adam", "mse")
    model.check = "off"
    model.fit(IDS, LABELS, 4, verbose=0)
    model.check = "deep"
    model.train_on_batch(IDS, LABELS)
    model.predict(IDS, verbose=0)
    assert ef.verify(model).steps == 25


def test_there_is_no_proof_of_what_changed() -> None:
    model, guard = compiled(sealed()), ef.FreezeGuard()
    model.fit(IDS, LABELS, verbose=0, callbacks=[guard])
    handle = model.get_layer("embedding").table.tf_variable.handle
    tf.raw_ops.AssignVariableOp(resource=handle, value=VALUES + 1)
    with pytest.raises(FrozenBytesChanged):
        guard.proof()
    with pytest.raises(FrozenBytesChanged):
        ef.verify(model)


def test_a_kept_proof_must_speak_of_the_models_table(tmp_path: Path) -> None:
    model, path = compiled(sealed()), tmp_path / "model.keras"
    model.save(path)
    kept = Path(ef.verify(model).save(path))
    assert ef.verify(path).tables[0].digest == digest_of(VALUES.tobytes())
    model.export(tmp_path / "served", verbose=False)
    kept_inside = Path(ef.verify(model).save(tmp_path / "served"))
    assert ef.verify(tmp_path / "served").tables[0].guarantee == "stored"
    other = ef.verify(compiled(AlignedEmbeddings(seal_array(VALUES + 1), VOCABULARY)))
    for place, target in ((kept, path), (kept_inside, tmp_path / "served")):
        place.write_text(other.to_json(), encoding="utf-8")
        with pytest.raises(FrozenError, match=f"speaks of {digest_of((VALUES + 1).tobytes())}"):
            ef.verify(target)
        place.write_text(other.to_json()[:-9], encoding="utf-8")
        with pytest.raises(FormatError, match=f"{place}: the proof of a model cannot be read"):
            ef.verify(target)


def test_it_says_no_more_than_was_checked(tmp_path: Path) -> None:
    """A store whose vectors were damaged before it was opened has only a recorded digest."""
    sealed().astype("int8").save(tmp_path / "t.safetensors")
    store = ef.read(tmp_path / "t.safetensors")
    proof = ef.verify(ef.FrozenEmbedding(store, name="words", trainable_oov=[3, 4]))
    table = proof.tables[0]
    assert str(proof) == (
        "no change of the frozen bytes of 'words' was found: layer 'words' (600 x 512 int8, a "
        f"watched file at {table.address:#x}, recorded digest {store.digest}, 2 of its rows are "
        "trained instead): by address and the identity of the file"
    )
    assert (table.to_dict()["digest_is"], table.trained_rows) == ("recorded", 2)
    deep = ef.verify(ef.FrozenEmbedding(store), deep=True)
    assert "no frozen byte" in str(deep)
    assert deep.tables[0].to_dict()["digest_is"] == "verified"


def test_it_is_read_again_and_compared(tmp_path: Path) -> None:
    model = compiled(sealed())
    proof = ef.verify(model)
    assert proof == ef.verify(model)
    assert proof != ef.verify(model, deep=True)
    written = proof.save(tmp_path / "mine.json")
    assert written == str(tmp_path / "mine.json")
    assert ef.FreezeProof.load(written) == proof
    with pytest.raises(FileError, match="there is none: save the model first"):
        proof.save(tmp_path / "missing.keras")
    with pytest.raises(FileError, match="cannot be read"):
        ef.FreezeProof.load(tmp_path / "missing.json")


def test_options_of_saved_models_are_refused_for_others() -> None:
    model = compiled(sealed())
    with pytest.raises(TypeError, match="leave them out"):
        ef.verify(model, search="folder")
    with pytest.raises(TypeError, match="depp"):
        ef.verify(model, depp=True)


@pytest.mark.parametrize("steps", [1, 5])
def test_every_batch_is_a_step(steps: int) -> None:
    """Also where gradients are accumulated over several, and where steps are made by hand."""
    model, guard = compiled(sealed()), ef.FreezeGuard()
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=4)
    model.compile(optimizer, "mse", steps_per_execution=steps)
    model.fit(IDS, LABELS, 1, verbose=0, callbacks=[guard])
    assert (ef.verify(model).steps, guard.proof().steps) == (12, 12)
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=1e38)
    model.compile(scaling, "mse", steps_per_execution=steps)
    model.fit(IDS[:10], LABELS[:10], 1, verbose=0, callbacks=[guard])
    assert (ef.verify(model).steps, guard.proof().steps) == (22, 22)
    ef.train_step(model, IDS, LABELS)
    assert ef.verify(model).steps == 23


def test_a_proof_can_be_pickled(tmp_path: Path) -> None:
    table = ef.align(ef.Embeddings(["king"], np.ones((1, 4), np.float32)), ef.Vocabulary(["king"]))
    late = FreezeProof("m", (TableProof.of("layer", Table.of(table), "address"),))
    digest = hashlib.sha256(hashlib.sha256(table.matrix.tobytes()).digest()).hexdigest()
    for again in (pickle.loads(pickle.dumps(late)), copy.deepcopy(late)):
        assert again == late
        assert again.tables[0].digest == digest
        assert pickle.loads(pickle.dumps(again)) == late
    assert FreezeProof.load(late.save(tmp_path / "proof.json")) == copy.deepcopy(late)
