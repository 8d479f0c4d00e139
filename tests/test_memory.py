"""Memory: anonymous and shared pages at their peak, above the level after the imports."""

import gzip
from pathlib import Path

import pytest
from samples import child

MEGABYTE = 1_000_000
MEASURE = """
import sys, threading, time, warnings
import numpy, h5py, gzip, tempfile, concurrent.futures
import embedfreeze as ef
from embedfreeze.sealed import SealedMatrixBuilder

def resident():
    fields = dict(line.split(":") for line in open("/proc/self/status"))
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem")) * 1024

def peak_of(work):
    peak, done = [resident()], threading.Event()
    def watch():
        while not done.is_set():
            peak.append(max(peak.pop(), resident()))
            time.sleep(0.001)
    watcher = threading.Thread(target=watch, daemon=True)
    before = resident()
    watcher.start()
    result = work()
    done.set()
    watcher.join()
    print(max(*peak, resident()) - before)
    return result

"""


def generate(path: Path, megabytes: int, dim: int = 300) -> int:
    """GloVe text of about a size; the number of rows."""
    tails = [
        b"".join(
            b" %.5f" % (((i * 7919 + j * 104729) % 200_003 - 100_000) / 70_000) for j in range(dim)
        )
        for i in range(500)
    ]
    rows = megabytes * MEGABYTE // len(tails[0])
    with open(path, "wb") as file:
        for low in range(0, rows, 500):
            count = min(500, rows - low)
            file.write(b"".join(b"token%d%s\n" % (low + i, tails[i]) for i in range(count)))
    return rows


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("memory") / "f.txt"
    generate(path, 100)
    return path


LOAD = (
    MEASURE
    + """
v = ef.Vocabulary([f"token{i}" for i in range(0, 30_000, 3)] + [f"none{i}" for i in range(10_000)])
a = peak_of(lambda: ef.load(sys.argv[1], v))
assert a.coverage.found() == 10_000
print(a.matrix.nbytes)
"""
)


@pytest.mark.parametrize("kind", ["txt", "txt.gz", "bin", "bin.gz", "h5", "safetensors"])
def test_load_takes_the_memory_of_the_vocabulary(kind: str, text: Path, tmp_path: Path) -> None:
    path = text
    if kind == "txt.gz":
        path = tmp_path / "f.txt.gz"
        path.write_bytes(gzip.compress(text.read_bytes(), 1))
    elif kind == "bin.gz":
        path = tmp_path / "f.bin.gz"
        child(MEASURE + "ef.convert(*sys.argv[1:])", text, tmp_path / "f.bin")
        path.write_bytes(gzip.compress((tmp_path / "f.bin").read_bytes(), 1))
    elif kind != "txt":
        path = tmp_path / f"f.{kind}"
        child(MEASURE + "ef.convert(*sys.argv[1:])", text, path)
    used, matrix = map(int, child(LOAD, path).split())
    assert used < 100 * MEGABYTE + matrix


CONVERT = (
    MEASURE
    + """
import os
done = peak_of(lambda: ef.convert(*sys.argv[1:]))
print(done.rows)
os.unlink(sys.argv[2])
"""
)


def convert_everything(source: Path, tmp_path: Path) -> None:
    for suffix in ("txt", "vec", "bin", "h5", "safetensors"):
        told = child(CONVERT, source, tmp_path / f"t.{suffix}", timeout=900)
        used, rows = map(int, told.split())
        assert rows > 10_000
        assert used < 300 * MEGABYTE, suffix


def test_convert_takes_no_memory_for_the_matrix(text: Path, tmp_path: Path) -> None:
    convert_everything(text, tmp_path)


@pytest.mark.large
@pytest.mark.parametrize("megabytes", [300, 1000])
@pytest.mark.parametrize("dim", [50, 300])
@pytest.mark.parametrize("kind", ["txt", "bin", "h5", "safetensors", "vec.gz"])
def test_convert_of_a_large_file(megabytes: int, dim: int, kind: str, tmp_path: Path) -> None:
    source = tmp_path / "f.txt"
    generate(source, megabytes, dim)
    if kind != "txt":
        packed = tmp_path / f"f.{kind}"
        child(MEASURE + "ef.convert(*sys.argv[1:])", source, packed, timeout=900)
        source.unlink()
        source = packed
    convert_everything(source, tmp_path)


@pytest.mark.large
def test_a_full_read_takes_the_matrix_and_little_more(tmp_path: Path) -> None:
    generate(tmp_path / "f.txt", 1000)
    code = MEASURE + "print(peak_of(lambda: ef.read(sys.argv[1])).matrix.nbytes)"
    used, matrix = map(int, child(code, tmp_path / "f.txt").split())
    assert used < 100 * MEGABYTE + matrix
