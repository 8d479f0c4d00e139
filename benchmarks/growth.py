"""How the cost grows with rows, dim, the size of a vocabulary, and threads."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.inputs import Inputs
from benchmarks.suite import OURS, run_once

Points = list[tuple[float, float]]
# The contenders of these cases take any file.
READ, ROWS = "text, 300 MB, all", "text, 1 GB, 20,000 tokens"
DIM, SOME_ROWS = 50, 50_000
ROW_COUNTS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
STORE_ROW_COUNTS = (*ROW_COUNTS, 3_000_000)
DIMS = (50, 100, 200, 300, 512, 1024)
VOCABULARIES = (100, 1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Point:
    """One measurement of a curve: where it stands, and what runs there."""

    series: str
    at: float
    files: Callable[[], Sequence[Path]]
    case: str = READ
    contender: str = OURS
    cores: int | None = None


def over_rows(inputs: Inputs) -> Iterator[Point]:
    """Reading files of more and more rows of 50 values."""
    for rows in map(inputs.rows, ROW_COUNTS):
        yield Point("text", rows, lambda rows=rows: [inputs.text(rows, DIM)])
        yield Point("word2vec binary", rows, lambda rows=rows: [inputs.dense("bin", rows, DIM)])
    for rows in map(inputs.rows, STORE_ROW_COUNTS):
        yield Point("store", rows, lambda rows=rows: [inputs.dense("safetensors", rows, DIM)])


def over_dim(inputs: Inputs) -> Iterator[Point]:
    """Reading 50,000 rows of more and more values."""
    rows = inputs.rows(SOME_ROWS)
    for dim in DIMS:
        yield Point("text", dim, lambda dim=dim: [inputs.text(rows, dim)])
        yield Point("word2vec binary", dim, lambda dim=dim: [inputs.dense("bin", rows, dim)])
        yield Point("store", dim, lambda dim=dim: [inputs.dense("safetensors", rows, dim)])


def over_vocabulary(inputs: Inputs) -> Iterator[Point]:
    """More and more rows out of 1.2 GB of text."""
    for words in map(inputs.rows, VOCABULARIES):
        yield Point(
            "rows of a vocabulary",
            words,
            lambda words=words: [inputs.glove(4), inputs.vocabulary(inputs.glove(4), words)],
            case=ROWS,
        )


def over_threads(inputs: Inputs) -> Iterator[Point]:
    """All of a file on one core and on two."""
    for cores in range(1, len(os.sched_getaffinity(0)) + 1):
        yield Point("text", cores, lambda: [inputs.glove()], cores=cores)
        yield Point("polars, text", cores, lambda: [inputs.glove()], READ, "polars", cores)
        yield Point("word2vec binary", cores, lambda: [inputs.binary()], cores=cores)
        yield Point(
            "rows of a vocabulary",
            cores,
            lambda: [inputs.glove(4), inputs.vocabulary(inputs.glove(4))],
            case=ROWS,
            cores=cores,
        )


CURVES: dict[str, Callable[[Inputs], Iterator[Point]]] = {
    "rows": over_rows,
    "dim": over_dim,
    "vocabulary": over_vocabulary,
    "threads": over_threads,
}


@contextmanager
def held_to(cores: int | None) -> Iterator[None]:
    """This process and those that it starts run on so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(over: str, inputs: Inputs, repeats: int) -> dict[str, Points]:
    """The curves over one quantity: medians of seconds, all points taking turns."""
    found: dict[Point, list[float]] = {}
    # Scaled sizes may fall together.
    places = {(point.series, point.at): point for point in CURVES[over](inputs)}
    for _ in range(repeats):
        for point in places.values():
            arguments = [str(path) for path in point.files()]
            with held_to(point.cores):
                run = run_once(point.case, point.contender, arguments)
            found.setdefault(point, []).append(run["seconds"])
            seconds = run["seconds"]
            print(f"over {over:31} {point.series:20} {point.at:,}: {seconds:.6g}", flush=True)
    series: dict[str, Points] = {}
    for point, seconds_of_runs in found.items():
        median = statistics.median(seconds_of_runs)
        series.setdefault(point.series, []).append((point.at, median))
    return series
