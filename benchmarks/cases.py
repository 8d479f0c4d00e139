"""What is measured: one function a case and contender, run in a process of its own.

`python -m benchmarks.cases CASE CONTENDER FILE [VOCABULARY]` prints one line of JSON. Reading ends
for every contender in one C-contiguous float32 matrix plus its tokens.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

Result = dict[str, Any]
WARM_BYTES = 2 << 30
CASES: dict[tuple[str, str], Callable[..., Result]] = {}


def case(name: str, contender: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Enter a function into the table."""

    def enter(function: Callable[..., Result]) -> Callable[..., Result]:
        CASES[name, contender] = function
        return function

    return enter


def private_bytes() -> int:
    """RssAnon + RssShmem of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


def touch(size: int = WARM_BYTES) -> None:
    """Use memory and give it back, so that the measured work gets pages that are there.

    In a virtual machine the first use of a page can take the host longer than a parser takes to
    fill it; which contender draws such pages is chance. Linux hands out first what was freed last.
    """
    block = np.empty(size, dtype=np.uint8)
    block[:: mmap.PAGESIZE] = 1


def warm(path: str) -> None:
    """Bring a file into the page cache, and have each of its pages used once."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        pages = np.frombuffer(mapped, dtype=np.uint8)[:: mmap.PAGESIZE]
        pages.sum()
        del pages


@contextmanager
def measured(result: Result, path: str) -> Iterator[None]:
    """Seconds, CPU seconds, and the peak of private memory above the level at the start."""
    touch()
    warm(path)
    level, peak, done = private_bytes(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.004):
            peak[0] = max(peak[0], private_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    result["seconds"] = time.perf_counter() - wall
    result["cpu_seconds"] = time.process_time() - cpu
    peak[0] = max(peak[0], private_bytes())
    done.set()
    watcher.join()
    result["private_mb"] = max(0, peak[0] - level) / 1e6


def finish(result: Result, matrix: np.ndarray, tokens: Any) -> Result:
    """The digest of what was read, so that contenders can be held to the same result."""
    if matrix.dtype != np.float32 or not matrix.flags.c_contiguous:
        raise SystemExit(f"not a C-contiguous float32 matrix: {matrix.dtype}")
    digest = hashlib.sha256(matrix.data.cast("B"))
    digest.update("\n".join(tokens).encode())
    return {**result, "digest": digest.hexdigest()[:16], "rows": len(matrix)}


def read_words(path: str) -> list[str]:
    """The lines of a vocabulary file."""
    return Path(path).read_text(encoding="utf-8").split("\n")[:-1]


@case("text full", "embedfreeze")
@case("binary full", "embedfreeze")
def _(path: str) -> Result:
    import embedfreeze as ef

    result: Result = {}
    with measured(result, path):
        read = ef.read(path)
    return finish(result, read.matrix, read.tokens)


@case("text vocabulary", "embedfreeze")
@case("binary vocabulary", "embedfreeze")
def _(path: str, words: str) -> Result:
    import embedfreeze as ef

    vocabulary = ef.Vocabulary(read_words(words), padding=None, unknown=None)
    result: Result = {}
    with measured(result, path):
        aligned = ef.load(path, vocabulary)
    result["matrix_mb"] = aligned.matrix.nbytes / 1e6
    return finish(result, aligned.matrix, aligned.tokens)


@case("text full", "polars")
def _(path: str) -> Result:
    import polars as pl

    result: Result = {}
    with measured(result, path):
        with open(path, "rb") as file:
            dim = file.readline().count(b" ")
        columns = {"token": pl.String} | {f"v{i}": pl.Float32 for i in range(dim)}
        frame = pl.read_csv(path, separator=" ", has_header=False, quote_char=None, schema=columns)
        tokens = frame["token"].to_list()
        matrix = frame.drop("token").to_numpy(order="c")
    return finish(result, matrix, tokens)


def _gensim(path: str, **options: Any) -> Result:
    from gensim.models import KeyedVectors

    result: Result = {}
    with measured(result, path):
        vectors = KeyedVectors.load_word2vec_format(path, **options)
    return finish(result, vectors.vectors, vectors.index_to_key)


@case("text full", "gensim")
def _(path: str) -> Result:
    return _gensim(path, no_header=True)


@case("binary full", "gensim")
def _(path: str) -> Result:
    return _gensim(path, binary=True)


@case("store", "embedfreeze")
def _(path: str) -> Result:
    import tensorflow as tf

    import embedfreeze as ef

    ids = tf.constant([[1, 2, 3]])
    embedding = ef.FrozenEmbedding  # imports Keras
    result: Result = {}
    with measured(result, path):
        layer = embedding(ef.read(path))
        layer(ids).numpy()
    return {**result, "rows": layer.table.shape[0]}


@case("check", "embedfreeze")
def _(path: str) -> Result:
    import embedfreeze as ef

    variable = ef.FrozenVariable(ef.read(path))
    times = 2000
    variable.check()
    start = time.perf_counter()
    for _ in range(times):
        variable.check()
    return {"seconds": (time.perf_counter() - start) / times}


@case("convert", "embedfreeze")
def _(path: str, target: str) -> Result:
    import embedfreeze as ef

    result: Result = {}
    with measured(result, path):
        ef.convert(path, target, overwrite=True)
    return result


if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1], sys.argv[2]](*sys.argv[3:])))
