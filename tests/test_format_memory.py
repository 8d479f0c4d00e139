"""A gigabyte in each format, written and read in bounded memory."""

import shutil
from pathlib import Path

import pytest
from samples import child
from test_memory import MEASURE, MEGABYTE

from embedfreeze.formats import FORMATS

GIGABYTE_ROWS = 850_000  # of 300 float32
LARGEST = 300 * MEGABYTE

GENERATE = """
import sys
import numpy as np
from embedfreeze.formats.base import Batch, Rows
from embedfreeze.formats.writing import write_rows
from embedfreeze.tokens import Tokens

rows, dim, step = int(sys.argv[2]), 300, 10_000

def batches():
    random = np.random.default_rng(1)
    for low in range(0, rows, step):
        tokens = Tokens.from_strings([f"token{i}" for i in range(low, min(low + step, rows))])
        values = random.integers(-99_999, 99_999, (len(tokens), dim)).astype(np.float32)
        yield Batch(tokens, values / np.float32(70_000), low, lambda row: {"row": row})

write_rows(Rows(dim, "float32", rows, batches()), sys.argv[1])
"""

CONVERT = (
    MEASURE
    + """
import gensim.models, pyarrow.parquet  # imports are not counted
source, target, to = sys.argv[1:]
done = peak_of(lambda: ef.convert(source, target, to_format=to, allow_pickle=True))
print(done.rows)
print(ef.read(target).digest if to == "store" else "")
"""
)


def convert(source: Path, target: Path, to: str) -> list[str]:
    """Rows and digest of what was written, after a look at the memory it took."""
    used, *told = child(CONVERT, source, target, to, timeout=1800).split()
    assert int(used) < LARGEST, f"{source.name} -> {target.name}: {int(used) // MEGABYTE} MB"
    return told


DIGEST = "import sys, embedfreeze as ef; print(ef.read(sys.argv[1]).digest)"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gigabyte") / "f.safetensors"
    child(GENERATE, path, GIGABYTE_ROWS, timeout=600)
    return path


@pytest.mark.large
@pytest.mark.parametrize("name", [n for n, f in FORMATS.items() if f.writer and n != "store"])
def test_a_gigabyte_there_and_back(name: str, store: Path, tmp_path: Path) -> None:
    suffix = FORMATS[name].writer.suffixes[0] if FORMATS[name].writer.suffixes else ""
    there, back = tmp_path / f"there{suffix}", tmp_path / "back.safetensors"
    convert(store, there, name)
    _, digest = convert(there, back, "store")
    assert [digest] == child(DIGEST, store).split()
    shutil.rmtree(tmp_path)
