"""A table above 2 GB, where constants of TensorFlow end: it trains, is saved, served, loaded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samples import child

ROWS, DIM = 1_900_000, 300  # 2.28 GB
COMMON = """
import json, os, re, sys, threading
from pathlib import Path
import keras, numpy as np, tensorflow as tf
import embedfreeze as ef

folder = Path(sys.argv[1])
os.chdir(folder)

def private():
    status = Path("/proc/self/status").read_text()
    return sum(int(n) << 10 for n in re.findall(r"Rss(?:Anon|Shmem):\\s+(\\d+) kB", status))

class Peak(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.done = private(), threading.Event()
    def run(self):
        while not self.done.wait(0.005):
            self.peak = max(self.peak, private())

start, peak = private(), Peak()
peak.start()
found = {}
def took(name):
    found[name] = max(peak.peak, private()) - start
"""
TRAIN = """
table = ef.read("x.safetensors")
x = np.concatenate([np.arange(8), np.arange(len(table) - 56, len(table))])
x = x.astype(np.int32).reshape(8, 8)
np.save("x.npy", x)
y = np.arange(8, dtype=np.float32)[:, None]
for jit in (False, True):
    keras.utils.set_random_seed(1)
    model = ef.build_model(table, hidden_units=[4])
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=jit)
    model.fit(x, y, epochs=2, verbose=0)
    took("jit" if jit else "train")
model.save("m.keras")
model.save_weights("m.weights.h5")
took("save")
model.export("exported", verbose=False)
took("export")
np.save("expected.npy", model(x).numpy())
print(json.dumps(found))
"""
LOAD = """
x, expected = np.load("x.npy"), np.load("expected.npy").tobytes()
model = ef.load_model("m.keras")
found["equal"] = model(x).numpy().tobytes() == expected
model.load_weights("m.weights.h5")
found["weights"] = model(x).numpy().tobytes() == expected
took("load")
proofs = [ef.verify(path).tables[0] for path in ("m.keras", "m.weights.h5", "exported")]
found["digests"] = [proof.digest for proof in proofs]
took("verify")
# Serving holds the table in memory of TensorFlow's own, once.
loaded = tf.saved_model.load("exported")
found["served"] = loaded.serve(tf.constant(x)).numpy().tobytes() == expected
took("serve")
print(json.dumps(found))
"""
MAKE = """
import sys
import numpy as np
import embedfreeze as ef
rows, dim, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
matrix = np.zeros((rows, dim), np.float32)  # pages that stay empty cost no memory
matrix[:8], matrix[-56:] = np.arange(dim) / 99, -np.arange(dim) / 99
ef.write(ef.Embeddings(ef.Tokens.from_strings(map(str, range(rows))), matrix), path)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("large")
    try:
        child(MAKE, ROWS, DIM, folder / "x.safetensors", timeout=300)
        found: dict[str, Any] = {}
        for program in (TRAIN, LOAD):
            lines = child(COMMON + program, folder, timeout=600, TF_CPP_MIN_LOG_LEVEL="3")
            found |= json.loads(lines.splitlines()[-1])
        yield folder, found
    finally:
        for path in (folder / "x.safetensors", *folder.glob("exported/variables/*")):
            path.unlink(missing_ok=True)


@pytest.mark.large
@pytest.mark.parametrize("done", ["train", "jit", "save", "export", "load", "verify"])
def test_private_memory_stays_far_below_the_table(
    large: tuple[Path, dict[str, Any]], done: str
) -> None:
    _, found = large
    assert found[done] < 4 * ROWS * DIM // 8


@pytest.mark.large
def test_it_is_stored_once(large: tuple[Path, dict[str, Any]]) -> None:
    folder, found = large
    nbytes = 4 * ROWS * DIM
    assert nbytes > 1 << 31
    for name in ("m.keras", "m.weights.h5", "exported/saved_model.pb"):
        assert (folder / name).stat().st_size < 1 << 20
    variables = sum(path.stat().st_size for path in (folder / "exported" / "variables").iterdir())
    assert nbytes < variables < 1.01 * nbytes
    assert found["serve"] < 1.2 * nbytes


@pytest.mark.large
def test_it_loads_and_serves(large: tuple[Path, dict[str, Any]]) -> None:
    _, found = large
    assert (found["equal"], found["weights"], found["served"]) == (True, True, True)
    assert len(set(found["digests"])) == 1
