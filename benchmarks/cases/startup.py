"""Start-up: how long a process takes that imports, says how it is called, or looks at a file."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import Result, measured
from benchmarks.suite import OURS, ROOT, Bar, Case, times_as_long, times_faster

TIMES = 5  # processes of a run, of which the median counts
SAMPLE = ROOT / "data" / "glove.6B.50d.sample.txt"
COMMAND_LINE = "import sys; from embedfreeze.cli import main; sys.exit(main())"
READ = """
import embedfreeze
read = embedfreeze.read({path!r})
matrix, words = read.matrix, read.tokens
"""
READ_POLARS = """
import polars
columns = dict(token=polars.String) | dict((str(i), polars.Float32) for i in range(50))
frame = polars.read_csv(
    {path!r}, separator=" ", has_header=False, quote_char=None, schema=columns
)
words, matrix = frame["token"].to_list(), frame.drop("token").to_numpy(order="c")
"""
READ_GENSIM = """
from gensim.models import KeyedVectors
vectors = KeyedVectors.load_word2vec_format({path!r}, no_header=True)
words, matrix = vectors.index_to_key, vectors.vectors
"""
READ_REACH = """
from reach import Reach
vectors = Reach.load({path!r})
words, matrix = vectors.sorted_items, vectors.vectors
"""
READ_FINALFUSION = """
from finalfusion.compat import load_text
vectors = load_text({path!r})
words, matrix = vectors.vocab.words, vectors.storage
"""
SHAPE = "if matrix.shape != (7074, 50) or len(words) != 7074: raise SystemExit('misread')"


def children_seconds() -> float:
    """CPU seconds of all processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def process(*arguments: str) -> Result:
    """The median of several processes of this Python with arguments."""
    result: Result = {}
    walls, before = [], 0.0
    with measured(result):
        for number in range(TIMES + 1):
            begin = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
            )
            walls.append(time.perf_counter() - begin)
            if number == 0:  # it brings the files into memory
                before = children_seconds()
    result["seconds"] = statistics.median(walls[1:])
    result["cpu_seconds"] = (children_seconds() - before) / TIMES
    del result["private_mb"], result["resident_mb"]  # of this process, not of those
    return result


def code(text: str) -> Callable[..., Result]:
    """A contender: a program, in which the path may stand."""
    return lambda path: process("-c", text.format(path=path))


def reading(text: str) -> Callable[..., Result]:
    """A contender: a program that ends with tokens and matrix of the sample."""
    return code(text + SHAPE)


def command(*arguments: str) -> Callable[..., Result]:
    """A contender: our command line."""
    return lambda path: process("-c", COMMAND_LINE, *(a.format(path=path) for a in arguments))


def sample(*_: object) -> list[Path]:
    """A small real file."""
    return [SAMPLE]


IMPORTS = {"NumPy": code("import numpy"), "gensim": code("import gensim.models")}
LIKE_GENSIM = Bar("against gensim's import", 1, times_faster("gensim"))

CASES = [
    Case(
        "start-up, import",
        sample,
        {OURS: code("import embedfreeze"), **IMPORTS},
        (
            Bar("of the time of NumPy's import", 1.5, times_as_long("NumPy"), at_least=False),
            LIKE_GENSIM,
        ),
        references=("NumPy",),
    ),
    Case(
        "start-up, import and read of 3 MB of text",
        sample,
        {
            OURS: reading(READ),
            "NumPy": IMPORTS["NumPy"],
            "polars": reading(READ_POLARS),
            "gensim": reading(READ_GENSIM),
            "reach": reading(READ_REACH),
            "finalfusion": reading(READ_FINALFUSION),
        },
        (Bar("against the fastest peer", 1, times_faster(without=("NumPy",))),),
        references=("NumPy",),
    ),
    Case(
        "start-up, embedfreeze --help",
        sample,
        {OURS: command("--help"), **IMPORTS},
        (LIKE_GENSIM,),
        references=("NumPy",),
    ),
    Case(
        "start-up, embedfreeze inspect FILE",
        sample,
        {OURS: command("inspect", "{path}"), **IMPORTS},
        (LIKE_GENSIM,),
        references=("NumPy",),
    ),
]
