"""From a store to vectors out of a frozen layer of a model; and four processes over one store."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import LARGE_DIM, Inputs
from benchmarks.measuring import Result, digest, measured, private_bytes
from benchmarks.suite import OURS, ROOT, Bar, Case, Runs, figure, times_faster

ROWS = (100_000, 1_000_000, 3_000_000)
FEWEST = "100,000 rows"
PROCESSES = 4
IDS = 1000
CHILD = "from benchmarks.cases.frozen import child; child({kind!r}, {path!r})"


def matrix(path: str) -> np.ndarray:
    """The rows of a store without a copy, by the layout that safetensors documents."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))["vectors"]
    return np.memmap(
        path, np.float32, "r", 8 + size + header["data_offsets"][0], tuple(header["shape"])
    )


def ours(path: str) -> Any:
    """A layer over the store."""
    import embedfreeze as ef

    return ef.FrozenEmbedding(ef.read(path))


def weights(path: str) -> Any:
    """Keras' layer, its weights given as Keras' own guide to pretrained vectors gives them."""
    import keras

    table = matrix(path)
    return keras.layers.Embedding(*table.shape, weights=[table], trainable=False)


def constant(path: str) -> Any:
    """Keras' layer with the matrix as its initial value."""
    import keras

    table = matrix(path)
    initial = keras.initializers.Constant(table)
    return keras.layers.Embedding(*table.shape, embeddings_initializer=initial, trainable=False)


LAYERS = {OURS: ours, "Embedding(weights=)": weights, "Embedding(Constant)": constant}


def imported(kind: str) -> Callable[[str], Any]:
    """What makes a layer, all that it needs being imported and started."""
    import keras
    import tensorflow as tf

    import embedfreeze as ef

    small = keras.Sequential([keras.layers.Embedding(2, 2)])
    small(tf.constant([[0, 1]]))
    if kind == OURS:
        _ = ef.FrozenEmbedding  # its module is imported when it is first asked for
    return LAYERS[kind]


def first_lookup(kind: str, path: str, *_: str) -> Result:
    """From the file to vectors out of a model."""
    layer = imported(kind)
    import keras
    import tensorflow as tf

    ids = tf.constant(np.random.default_rng(5).integers(0, len(matrix(path)), (1, IDS)))
    result: Result = {}
    with measured(result, path):
        model = keras.Sequential([layer(path)])
        vectors = model(ids).numpy()
    del result["mb_a_second"]  # it does not read the file
    return digest(result, vectors[0])


def fewest(_: str, path: str) -> Result:
    """Ours over the small store."""
    return first_lookup(OURS, path)


def share_of_fewest(key: str) -> Callable[[Runs], float]:
    """How many times as much the most rows take as the fewest."""
    return lambda runs: float(runs[OURS][key] / runs[FEWEST][key])


# ---- four processes


def child(kind: str, path: str) -> None:
    """A process that serves a table: it says how far it is, and goes on when it is told to."""
    layer = imported(kind)
    import keras
    import tensorflow as tf

    def report() -> None:
        print("here", flush=True)
        sys.stdin.readline()

    report()
    model = keras.Sequential([layer(path)])
    rows = len(matrix(path))
    for low in range(0, rows, 10 * IDS):  # all of it is read, and so is in memory
        model(tf.range(low, min(low + 10 * IDS, rows))[tf.newaxis])
    report()


def pss(process: int) -> int:
    """Memory of a process in bytes, what it shares being divided by those who share it."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


@contextmanager
def children(kind: str, path: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Four processes, which are told to go on until they end."""
    command = [sys.executable, "-c", CHILD.format(kind=kind, path=path)]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.communicate()


def wait(processes: list[subprocess.Popen[str]]) -> tuple[list[int], int]:
    """Private memory of each process once all have reported, and memory of all together."""
    for process in processes:
        if process.stdout is None or process.stdout.readline() != "here\n":
            raise SystemExit("a process ended early")
    pids = [process.pid for process in processes]
    return [private_bytes(str(pid)) for pid in pids], sum(map(pss, pids))


def four(kind: str, path: str) -> Result:
    """Memory of four processes that read all of a table, above its level after imports."""
    table = matrix(path).nbytes
    with children(kind, path) as processes:
        before, whole_before = wait(processes)
        start = time.perf_counter()
        for process in processes:
            print(file=process.stdin, flush=True)
        after, whole = wait(processes)
        seconds = time.perf_counter() - start
    most = max(now - then for now, then in zip(after, before, strict=True))
    return {
        "seconds": seconds,
        "private_mb": most / 1e6,
        "private_percent_of_table": 100 * most / table,
        "whole_percent_of_table": 100 * (whole - whole_before) / table,
    }


def store_of(inputs: Inputs, rows: int) -> Path:
    """A store of so many rows."""
    return inputs.dense("safetensors", inputs.rows(rows), LARGE_DIM)


CASES = [
    *(
        Case(
            f"store to first lookup, {rows:,} rows",
            lambda inputs, rows=rows: [store_of(inputs, rows)],  # type: ignore[misc]
            {kind: partial(first_lookup, kind) for kind in LAYERS},
            (Bar("against the fastest peer", 1, times_faster()),),
            same=tuple(kind for kind in LAYERS if kind != OURS),
        )
        for rows in ROWS
    ),
    Case(
        "store to first lookup, more rows",
        lambda inputs: [store_of(inputs, ROWS[-1]), store_of(inputs, ROWS[0])],
        {OURS: partial(first_lookup, OURS), FEWEST: fewest},
        (
            Bar(
                "seconds, of those with 100,000 rows",
                1.5,
                share_of_fewest("seconds"),
                "times",
                False,
            ),
            Bar(
                "memory, of that with 100,000 rows",
                1.5,
                share_of_fewest("private_mb"),
                "times",
                False,
            ),
        ),
        references=(FEWEST,),
    ),
    Case(
        "four processes on one store",
        lambda inputs: [store_of(inputs, ROWS[1])],
        {kind: partial(four, kind) for kind in LAYERS},
        (
            Bar("memory of each", 5, figure("private_percent_of_table"), "% of the table", False),
            Bar("memory of all", 120, figure("whole_percent_of_table"), "% of the table", False),
        ),
        counts="private_percent_of_table",
    ),
]
