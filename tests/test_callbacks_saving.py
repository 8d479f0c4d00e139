"""What Keras' callbacks save and restore: small files, and never a copy of the table."""

import json
from pathlib import Path
from typing import Any

import pytest
from samples import child

CALLBACKS = """
import json, os, re, sys
from pathlib import Path
import keras, numpy as np
import embedfreeze as ef
from embedfreeze.table import live_tables

folder = Path(sys.argv[1])
os.chdir(folder)
ROWS, DIM = 200_000, 128
words = ef.Tokens.from_strings([f"t{i}" for i in range(ROWS)])
matrix = np.random.default_rng(0).standard_normal((ROWS, DIM), np.float32)
(folder / "tables").mkdir()
ef.write(ef.Embeddings(words, matrix), folder / "tables" / "x.safetensors")
del matrix
table = ef.read(folder / "tables" / "x.safetensors")
x = np.random.default_rng(1).integers(0, ROWS, (64, 5)).astype(np.int32)
y = np.arange(64, dtype=np.float32)[:, None] % 2

def private():
    status = Path("/proc/self/status").read_text()
    return sum(int(n) << 10 for n in re.findall(r"Rss(?:Anon|Shmem):\\s+(\\d+) kB", status))

def built():
    keras.utils.set_random_seed(1)
    model = ef.build_model(table, hidden_units=[])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model

def outputs(model):
    return model.predict(x, verbose=0).tobytes()

def sizes():
    return {str(p): p.stat().st_size for p in Path("out").rglob("*") if p.is_file()}

def checkpoints():
    model = built()
    model.fit(x, y, epochs=2, verbose=0, callbacks=[
        keras.callbacks.ModelCheckpoint("out/whole-{epoch}.keras"),
        keras.callbacks.ModelCheckpoint("out/{epoch}.weights.h5", save_weights_only=True),
    ])
    return model

class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

def backup():
    state = keras.callbacks.BackupAndRestore("out/backup", delete_checkpoint=False)
    model = built()
    try:
        model.fit(x, y, epochs=4, verbose=0, shuffle=False, callbacks=[state, Stop()])
    except KeyboardInterrupt:
        pass
    again = built()
    state = keras.callbacks.BackupAndRestore("out/backup", delete_checkpoint=False)
    history = again.fit(x, y, epochs=4, verbose=0, shuffle=False, callbacks=[state])
    assert len(history.history["loss"]) == 2, history.history
    straight = built()
    straight.fit(x, y, epochs=4, verbose=0, shuffle=False)
    found["resumed"] = outputs(again) == outputs(straight)
    return again

def stopping():
    model = built()
    model.optimizer.learning_rate = 9.0  # it gets worse, so that the best weights come back
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    model.fit(x, y, epochs=9, verbose=0, validation_data=(x, y), callbacks=[stop])
    found["best"] = stop.stopped_epoch > 0 and model.evaluate(x, y, verbose=0) == stop.best
    return model

def averaged():
    model = built()
    model.compile(keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=None), "mse")
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    keep = keras.callbacks.ModelCheckpoint("out/averaged-{epoch}.keras")
    model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y), callbacks=[swap, keep])
    return model

built().fit(x, y, verbose=0)  # what TensorFlow needs once
found = {}
for way in (checkpoints, backup, stopping, averaged):
    before, model = private(), way()
    layer = model.get_layer("embedding")
    layer.table.verify(deep=True)
    assert layer.table.sealed.address == table.sealed.address
    found[way.__name__] = private() - before
twin = built()
twin.fit(x, y, verbose=0)
checkpointed, before = checkpoints(), private()
twin.load_weights("out/2.weights.h5")
found["weights"] = outputs(twin) == outputs(checkpointed)
loaded = ef.load_model("out/whole-2.keras")
found["whole"] = outputs(loaded) == outputs(checkpointed)
found["address"] = loaded.get_layer("embedding").table.sealed.address == table.sealed.address
live_tables.clear()
moved = ef.load_model("out/whole-2.keras")
found["path"] = moved.get_layer("embedding").table.sealed.path
found["load"] = private() - before
found["sizes"] = sizes()
found["nbytes"] = table.matrix.nbytes
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("callbacks")
    lines = child(CALLBACKS, folder, TF_CPP_MIN_LOG_LEVEL="3").splitlines()
    return {**json.loads(lines[-1]), "folder": str(folder)}


@pytest.mark.parametrize("way", ["checkpoints", "backup", "stopping", "averaged", "load"])
def test_no_callback_copies_the_table(found: dict[str, Any], way: str) -> None:
    assert found["nbytes"] > 100_000_000
    assert found[way] < found["nbytes"] // 2  # graphs of new models take some 10 MB each


def test_checkpoints_are_small(found: dict[str, Any]) -> None:
    names = {Path(name).name for name in found["sizes"]}
    assert {"whole-1.keras", "whole-2.keras", "1.weights.h5", "latest.weights.h5"} <= names
    assert {"averaged-1.keras", "averaged-2.keras"} <= names
    assert max(found["sizes"].values()) < found["nbytes"] // 500


def test_checkpoints_load(found: dict[str, Any]) -> None:
    assert (found["weights"], found["whole"], found["address"]) == (True, True, True)
    assert (found["resumed"], found["best"]) == (True, True)


def test_a_checkpoint_refers_to_the_table_from_its_own_folder(found: dict[str, Any]) -> None:
    assert found["path"] == f"{found['folder']}/tables/x.safetensors"
