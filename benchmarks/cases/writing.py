"""Writing text, and converting between text and store."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import GLOVE_DIM, GLOVE_ROWS, Inputs
from benchmarks.measuring import Result, digest, measured
from benchmarks.suite import OURS, Bar, Case, Runs, times_faster


def target_of(path: str) -> Path:
    """Where a contender writes: beside its input, under a name of this process's own."""
    return Inputs(Path(path).parent).target(f"{os.getpid()}-{Path(path).stem}")


def writing(write: Callable[[str, Path, Result], Any], suffix: str) -> Callable[[str], Result]:
    """A contender that writes a file, which is read back and removed after it was measured."""

    def contender(path: str) -> Result:
        import embedfreeze as ef

        target, result = Path(f"{target_of(path)}{suffix}"), Result()
        try:
            write(path, target, result)
            result["mb_a_second"] = target.stat().st_size / 1e6 / result["seconds"]
            read = ef.read(target)
            return digest(result, np.array(read.matrix), read.tokens)
        finally:
            target.unlink(missing_ok=True)

    return contender


def ours(path: str, target: Path, result: Result) -> None:
    """The fewest digits that read back to the same bits; on the disk when it returns."""
    import embedfreeze as ef

    read = ef.read(path)
    with measured(result):
        ef.write(read, target)


def gensim(path: str, target: Path, result: Result) -> None:
    """Text with a header, without sorting; values as `str` spells them."""
    from gensim.models import KeyedVectors

    import embedfreeze as ef

    read = ef.read(path)
    vectors = KeyedVectors(read.dim)
    vectors.add_vectors(list(read.tokens), read.matrix)
    with measured(result):
        vectors.save_word2vec_format(target, sort_attr=None, write_header=False)


def pandas(path: str, target: Path, result: Result) -> None:
    """Without quotes and index, which is as fast as its C writer gets."""
    import csv

    import pandas as pd

    import embedfreeze as ef

    read = ef.read(path)
    frame = pd.DataFrame(read.matrix, copy=False)
    frame.insert(0, "token", list(read.tokens))
    with measured(result):
        frame.to_csv(
            target, sep=" ", header=False, index=False, quoting=csv.QUOTE_NONE, chunksize=10_000
        )


def polars(path: str, target: Path, result: Result) -> None:
    """On all cores, values in the fewest digits, without looking for what to quote."""
    import polars as pl

    import embedfreeze as ef

    read = ef.read(path)
    columns = {"token": list(read.tokens)}
    columns |= {f"v{i}": np.ascontiguousarray(read.matrix[:, i]) for i in range(read.dim)}
    frame = pl.DataFrame(columns)
    with measured(result):
        frame.write_csv(target, separator=" ", include_header=False, quote_style="never")


def synced(path: str, target: Path, result: Result) -> None:
    """The finished text copied to the disk: what writing it at all takes."""
    with open(path, "rb") as file:
        text = file.read()
    with measured(result), open(target, "wb", buffering=0) as out:
        out.write(text)
        os.fsync(out.fileno())


def converted(path: str, target: Path, result: Result) -> None:
    """From file to file."""
    import embedfreeze as ef

    with measured(result, path):
        ef.convert(path, target)


def reading(path: str) -> Result:
    """The first half of a conversion: a matrix in memory."""
    import embedfreeze as ef

    result: Result = {}
    with measured(result, path):
        read = ef.read(path)
    return digest(result, np.array(read.matrix), read.tokens)


def share_of_slower(runs: Runs) -> float:
    """Our time as a part of the slower half's."""
    halves = max(runs["read alone"]["seconds"], runs["write alone"]["seconds"])
    return float(runs[OURS]["seconds"] / halves)


SLOWER = Bar("of the time of the slower half", 1.1, share_of_slower, at_least=False)
HALVES = ("read alone", "write alone")

CASES = [
    Case(
        "writing text, 300 MB",
        lambda inputs: [inputs.glove()],
        {
            "embedfreeze": writing(ours, ".txt"),
            "copy and fsync": writing(synced, ".txt"),
            "polars": writing(polars, ".txt"),
            "pandas": writing(pandas, ".txt"),
            "gensim": writing(gensim, ".txt"),
        },
        (
            Bar("against gensim", 10, times_faster("gensim")),
            Bar("against the fastest peer", 2, times_faster(without=("copy and fsync",))),
        ),
        same=("copy and fsync", "polars", "pandas", "gensim"),
        references=("copy and fsync",),
    ),
    Case(
        "text to store, 300 MB",
        lambda inputs: [inputs.glove()],
        {
            "embedfreeze": writing(converted, ".safetensors"),
            "read alone": reading,
            "write alone": writing(ours, ".safetensors"),
        },
        (SLOWER,),
        same=HALVES,
        references=HALVES,
    ),
    Case(
        "store to text, 300 MB",
        lambda inputs: [inputs.dense("safetensors", inputs.rows(GLOVE_ROWS), GLOVE_DIM)],
        {
            "embedfreeze": writing(converted, ".txt"),
            "read alone": reading,
            "write alone": writing(ours, ".txt"),
        },
        (SLOWER,),
        same=HALVES,
        references=HALVES,
    ),
]
