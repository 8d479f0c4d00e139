"""`kill -9` of `embedfreeze encode`: the same command again ends with the same bytes."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from encode_cases import WORDS, aligned, content, end, ran, started, workers_of
from samples import child, put

import embedfreeze as ef


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "t.safetensors"
    aligned(dim=20).save(path)
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, rows = random.Random(0), ["text\tlabel\tid"]
    for number in range(20_000):
        words = rng.choices([*WORDS, "none"], k=rng.randrange(8))
        rows.append(f"{' '.join(words)}\t{number % 3}\t{number}")
    return put(tmp_path_factory.mktemp("corpus") / "t.tsv", "\n".join(rows).encode())


def killed(job: list[object], folder: Path, kills: int, seed: str) -> dict[str, int]:
    """Kills at random moments, each followed by the same command, until one ends by itself."""
    rng, whole, out = random.Random(seed), folder / "whole", folder / "out"
    start = time.monotonic()
    assert ran(*job, "-o", whole).returncode == 0
    took = time.monotonic() - start
    expected, seen = content(whole), {"killed": 0, "going on": 0, "finished": 0}
    while seen["killed"] < kills:
        process = started(*job, "-o", out)
        time.sleep(rng.random() * took)
        seen["going on"] += (out / "progress.jsonl").exists()
        status, err = end(process, signal.SIGKILL)
        assert status in (0, -signal.SIGKILL), err
        seen["killed"] += status != 0
        if (out / "manifest.json").exists():
            assert content(out).items() >= expected.items()
            assert ran(*job, "-o", out).returncode == 0
            assert content(out) == expected
            shutil.rmtree(out)
            seen["finished"] += 1
    done = ran(*job, "-o", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert content(out) == expected  # nothing hidden, nothing of the job's own
    assert not list(folder.glob(".*"))
    return seen


@pytest.mark.parametrize(("to", "processes"), [("npy", 2), ("parquet", 1), ("tfrecord", 2)])
def test_a_few_kills(to: str, processes: int, table: Path, corpus: Path, tmp_path: Path) -> None:
    job = [table, corpus, "--label", "label", "--shard-size", 10_000, "--to", to]
    job += ["--weights", "tfidf"] if to == "npy" else []
    assert killed([*job, "--processes", processes], tmp_path, 3, to)["killed"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "processes", "weights"),
    [
        *((to, processes, []) for to in ("npy", "parquet", "tfrecord") for processes in (1, 2)),
        *(("npy", processes, ["--weights", "tfidf"]) for processes in (1, 2)),
        *((to, 2, []) for to in ("npz", "hdf5")),
    ],
)
def test_kills_at_random_moments(
    to: str, processes: int, weights: list[object], table: Path, corpus: Path, tmp_path: Path
) -> None:
    job = [table, corpus, "--label", "label", "--id", "id", "--shard-size", 5000, "--to", to]
    seen = killed([*job, *weights, "--processes", processes], tmp_path, 20, f"{to}{processes}")
    assert seen["going on"] > 0


# ---- at each step --------------------------------------------------------------------------------

STEPS = """
import json, os, shutil, signal, sys
from pathlib import Path
import embedfreeze as ef
from embedfreeze.cli import main

given = json.loads(sys.argv[1])
out, before = Path(given["out"]), given["before"] and Path(given["before"])
table = ef.read(given["table"])
if given["in memory"]:
    store = table
    table = ef.align(ef.Embeddings(list(table.tokens), table.matrix.copy()), table.vocabulary)

def job():
    ef.encode(table, given["corpus"], out, shard_bytes=30, processes=1, **given["options"])

def forked(kill_at, *, told=None):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    calls = [0]
    def around(real):
        def step(*args, **more):
            for moment in (0, 1):
                if calls[0] == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                calls[0] += 1
                if not moment:
                    result = real(*args, **more)
            return result
        return step
    for step in ("link", "rename", "replace", "unlink", "mkdir", "fsync"):
        setattr(os, step, around(getattr(os, step)))
    try:
        job()
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    if told is not None:
        os.write(told, str(calls[0]).encode())
    os._exit(0)

def reset():
    shutil.rmtree(out, ignore_errors=True)
    if before:
        shutil.copytree(before, out)

def content():
    return {path.name: path.read_bytes() for path in out.iterdir()}

reset()
from_child, to_parent = os.pipe()
assert forked(-1, told=to_parent) == 0
moments, expected = int(os.read(from_child, 20)), content()
print(moments)
manifests = [expected["manifest.json"]]
manifests += [(before / "manifest.json").read_bytes()] if before else []
for moment in range(moments):
    reset()
    assert forked(moment) == signal.SIGKILL, moment
    if (out / "manifest.json").exists():
        assert (out / "manifest.json").read_bytes() in manifests, moment
    assert forked(-1) == 0, moment
    assert content() == expected, (moment, sorted(content()), sorted(expected))
"""


@pytest.mark.parametrize(
    ("options", "before", "in_memory"),
    [
        ({"features": "ragged", "output": "npz"}, None, True),
        ({"weights": "tfidf"}, {"weights": "tfidf", "less": True}, False),
        *(
            pytest.param(*case, False, marks=pytest.mark.slow)
            for case in (
                ({"weights": "tfidf", "label": "label"}, None),
                ({"overwrite": True}, {"output": "npz", "weights": "tfidf"}),
                ({"overwrite": True}, {"label": "label"}),
            )
        ),
    ],
)
def test_a_kill_at_each_step(
    options: dict[str, Any],
    before: dict[str, Any] | None,
    in_memory: bool,
    table: Path,
    tmp_path: Path,
) -> None:
    """Before and after each link, rename, unlink and fsync, also where another job is replaced."""
    corpus = put(tmp_path / "t.tsv", b"text\tlabel\n" + b"good case\t1\nbad\t0\n" * 3)
    given = {"out": str(tmp_path / "out"), "table": str(table), "corpus": str(corpus)}
    if before is not None:
        less = before.pop("less", False)
        old = tmp_path / "before"
        ef.encode(table, corpus, old, shard_bytes=30, processes=1, **before)
        if less:  # a finished job that lacks a file
            (old / "part-00001.features.npy").unlink()
    given |= {"before": before and str(tmp_path / "before")}
    more = {"options": options, "in memory": in_memory}
    assert int(child(STEPS, json.dumps({**given, **more}), timeout=300)) > 20
    assert not list(tmp_path.glob("out/.*"))


# ---- single processes ----------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["npy", pytest.param("tfrecord", marks=pytest.mark.slow)])
def test_a_killed_worker_changes_nothing(
    to: str, table: Path, corpus: Path, tmp_path: Path
) -> None:
    job = [table, corpus, "--label", "label", "--shard-size", 4000, "--to", to]
    assert ran(*job, "-o", tmp_path / "whole", "--processes", 1).returncode == 0
    for round in range(2):
        out = tmp_path / f"out{round}"
        process = started(*job, "-o", out, "--processes", 2)
        until, killed = time.monotonic() + 60, 0
        while process.poll() is None and time.monotonic() < until and killed < 2:
            workers = workers_of(process)
            if len(list(out.glob("part-*"))) >= 10 * (1 + killed) and workers:
                os.kill(random.Random(killed).choice(workers), signal.SIGKILL)
                killed += 1
            time.sleep(0.005)
        _, err = process.communicate(timeout=120)
        assert (process.returncode, killed) == (0, 2), err
        assert content(out) == content(tmp_path / "whole")
