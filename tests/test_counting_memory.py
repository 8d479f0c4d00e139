"""Counting takes the memory of so many tokens as were allowed, however many others there are."""

import subprocess
import sys
from pathlib import Path

import pytest
from samples import child
from test_memory import MEGABYTE

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.inputs import Inputs

# What `most_tokens` promises of each thread or process, and what a megabyte of text takes on its
# way to tokens, more where those are objects of Python.
A_TOKEN, A_BLOCK = 100, {"kernel": 25 * MEGABYTE, "python": 45 * MEGABYTE}
MOST, KEPT = 50_000, 20_000

COUNT = """
import hashlib, os, sys, threading, time
import heapq, pickle, tempfile, concurrent.futures, loky
import embedfreeze as ef
from embedfreeze.batch import counting

def resident(process):
    fields = dict(line.split(":", 1) for line in open(f"/proc/{process}/status"))
    return sum(int(fields.get(name, "0").split()[0]) for name in ("RssAnon", "RssShmem")) * 1024

peaks, done = {}, threading.Event()
def watch():
    while not done.is_set():
        children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
        for process in ("self", *children):
            try:
                peaks[process] = max(peaks.get(process, 0), resident(process))
            except (FileNotFoundError, ProcessLookupError):
                pass
        time.sleep(0.002)

path, how, *numbers = sys.argv[1:]
processes, most, size = map(int, numbers)
splitter = {"kernel": ef.Splitter(), "python": str.split}[how]
level = resident("self")
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
counts = ef.count_corpus(
    path, splitter=splitter, processes=processes, most_tokens=most, max_size=size
)
done.set()
watcher.join()
print(max(peaks.values()) - level, len(peaks), counts.n_types, counts.n_tokens)
for token, count in counts.items():
    sys.stdout.buffer.write(f"{token} {count}\\n".encode())
    sys.stdout.flush()
"""

# An independent count: GNU sort and uniq, by bytes, which is by code points.
SORTED = (
    """tr -s ' ' '\\n' < "$1" | LC_ALL=C sort -S 200M | LC_ALL=C uniq -c | awk '{print $2, $1}'"""
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of Zipf's law, 1.6 million different tokens, already lower-case and bare."""
    source = Inputs(tmp_path_factory.mktemp("corpus")).corpus(100)
    path = source.with_name("bare.txt")
    deleted = bytes(range(33, 48)) + b":;<=>?@[\\]^_`{|}~"
    text = source.read_text("utf-8").lower().encode().translate(None, deleted)
    path.write_bytes(text)
    return path


@pytest.fixture(scope="module")
def expected(corpus: Path) -> tuple[int, int, list[tuple[str, int]]]:
    """Types, tokens, and the most frequent."""
    done = subprocess.run(
        ["bash", "-c", SORTED, "-", str(corpus)], check=True, capture_output=True, text=True
    )
    pairs = [line.split(" ") for line in done.stdout.splitlines()]
    counts = sorted((-int(count), token) for token, count in pairs)
    ranked = [(token, -count) for count, token in counts[:KEPT]]
    return len(counts), -sum(count for count, _ in counts), ranked


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("how", ["kernel", "python"])
def test_counting_takes_the_memory_of_the_most_tokens(
    how: str, processes: int, corpus: Path, expected: tuple[int, int, list[tuple[str, int]]]
) -> None:
    told, *lines = child(COUNT, corpus, how, processes, MOST, KEPT, timeout=600).splitlines()
    used, n_processes, n_types, n_tokens = map(int, told.split())
    assert used < processes * (A_TOKEN * MOST + A_BLOCK[how])
    assert (n_processes > 1) == (how == "python" and processes > 1)
    pairs = [line.split(" ") for line in lines]
    assert (n_types, n_tokens, [(token, int(n)) for token, n in pairs]) == expected


@pytest.mark.slow
def test_the_bound_is_one_that_all_tokens_do_not_keep(corpus: Path) -> None:
    told, *_ = child(COUNT, corpus, "kernel", 1, 10**7, KEPT, timeout=600).splitlines()
    used, *_ = map(int, told.split())
    assert used > 2 * (A_TOKEN * MOST + A_BLOCK["kernel"])
