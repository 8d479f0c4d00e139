"""Memory of `embedfreeze encode`: bounded, and the table once for all processes."""

import gzip
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from encode_cases import records, started, workers_of
from samples import put

import embedfreeze as ef

MEGABYTE = 1_000_000
ROWS, DIM = 250_000, 300  # 300 MB


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "t.safetensors"
    tokens = [f"w{i}" for i in range(ROWS)]
    matrix = np.random.default_rng(0).standard_normal((ROWS, DIM), np.float32)
    ef.align(ef.Embeddings(tokens, matrix), ef.Vocabulary(tokens)).save(path)
    return path


@dataclass
class Seen:
    """Bytes at their peaks: of each process, of all, and of all with each page counted once."""

    anonymous: dict[int, int] = field(default_factory=dict)
    written: dict[int, int] = field(default_factory=dict)
    together: int = 0
    pages: int = 0


def fields_of(path: str) -> dict[str, int]:
    lines = Path(path).read_text("ascii").splitlines()
    found = (line.split() for line in lines if line.endswith("kB"))
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in found}


def send(pids: Sequence[int], what: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def watched(process: "subprocess.Popen[str]", pause: float = 0.005, *, maps: bool = False) -> Seen:
    """What a command and its workers take, until it ends."""
    seen = Seen()
    while process.poll() is None:
        now, pages = dict[int, int](), 0
        pids = (process.pid, *workers_of(process))
        if maps:  # shares of pages change as others map them
            send(pids, signal.SIGSTOP)
        for pid in pids:
            with suppress(OSError):  # it has just ended
                now[pid] = fields_of(f"/proc/{pid}/status").get("RssAnon", 0)
                if maps:
                    found = fields_of(f"/proc/{pid}/smaps_rollup")
                    pages += found.get("Pss", 0)
                    written = found.get("Private_Dirty", 0)
                    seen.written[pid] = max(seen.written.get(pid, 0), written)
        if maps:
            send(pids, signal.SIGCONT)
        for pid, anonymous in now.items():
            seen.anonymous[pid] = max(seen.anonymous.get(pid, 0), anonymous)
        seen.together = max(seen.together, sum(now.values()))
        seen.pages = max(seen.pages, pages)
        time.sleep(pause)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return seen


def words(rows: int, per_text: int) -> bytes:
    """Lines of tokens from everywhere in the table."""
    numbers = np.random.default_rng(1).integers(0, ROWS, (rows, per_text)).tolist()
    return b"".join(b" ".join(b"w%d" % i for i in row) + b"\n" for row in numbers)


SHORT: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"\n" * 600_000,
    "one letter": lambda: b"a\n" * 600_000,
    "words": lambda: words(600_000, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("name", ["t.txt", "t.txt.gz"])
@pytest.mark.parametrize("kind", SHORT)
def test_short_lines(kind: str, name: str, processes: int, table: Path, tmp_path: Path) -> None:
    """Features of 1.2 kB a line, 720 MB of them."""
    data = SHORT[kind]()
    path = put(tmp_path / name, gzip.compress(data, 1) if name.endswith("gz") else data)
    job = [table, path, "-o", tmp_path / "o", "--features", "mean", "--processes", processes]
    seen = watched(started(*job))
    shutil.rmtree(tmp_path / "o")
    most = 180 if name.endswith("gz") else 80  # the texts of a shard are sent to others
    assert max(seen.anonymous.values()) < most * MEGABYTE
    assert seen.together < (330 if processes == 2 else most) * MEGABYTE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t.txt", "t.txt.gz"])
@pytest.mark.parametrize(
    ("how", "times"),
    [
        (["--features", "mean"], 5),
        (["--features", "mean", "--weights", "tfidf"], 8),
        (["--features", "ids", "--max-length", "100"], 7),
        (["--features", "ragged"], 5),
        (["--features", "ragged", "--to", "parquet"], 8),
        (["--features", "ragged", "--to", "tfrecord"], 11),
    ],
)
def test_a_text_of_100_megabytes(
    how: list[str], times: int, name: str, table: Path, tmp_path: Path
) -> None:
    """On one line. It and its ids are there several times, but nothing of each token."""
    data = words(1_000_000, 14).replace(b"\n", b" ")
    path = put(tmp_path / name, gzip.compress(data, 1) if name.endswith("gz") else data)
    seen = watched(started(table, path, "-o", tmp_path / "o", *how, "--processes", 1))
    assert seen.together < times * len(data) + 60 * MEGABYTE
    for values in records(tmp_path / "o").values():
        assert len(values) == 1
        assert how[1] != "ragged" or len(values[0]) == 14_000_000


@pytest.mark.slow
def test_the_table_is_in_memory_once(table: Path, tmp_path: Path) -> None:
    path, size = put(tmp_path / "t.txt", words(200_000, 30)), ROWS * DIM * 4
    job = [table, path, "-o", tmp_path / "o", "--shard-size", "1M", "--processes", 2]
    seen = watched(started(*job), 0.05, maps=True)
    assert len(seen.anonymous) == 3
    assert max(seen.anonymous.values()) < size / 4
    assert max(seen.written.values()) < size / 4
    assert size < seen.pages < 1.6 * size
