"""One measurement, in a process of its own: `python -m benchmarks.measuring CASE CONTENDER FILE...`

It prints one line of JSON. A case's function does its imports, then its work within `measured`.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Result = dict[str, Any]
LEAST_WARM, MOST_WARM = 64 << 20, 4 << 30
COLD = "EMBEDFREEZE_BENCH_COLD"


def status_bytes(*names: str, process: str = "self") -> int:
    """The sum of fields of a process's status, such as RssAnon and RssShmem."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return sum(int(fields[name].split()[0]) * 1024 for name in names)


def private_bytes(process: str = "self") -> int:
    """Memory of a process that no file backs."""
    return status_bytes("RssAnon", "RssShmem", process=process)


def touch(size: int) -> None:
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


def cool(path: str) -> None:
    """Have the kernel forget a file's pages; what lies below it may keep them."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class _Peaks(threading.Thread):
    """The most private and resident memory of this process above its level at the start."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.levels = self.now()
        self.peaks = self.levels

    def now(self) -> tuple[int, int]:
        return private_bytes(), status_bytes("VmRSS")

    def look(self) -> None:
        self.peaks = tuple(map(max, self.peaks, self.now()))  # type: ignore[assignment]

    def run(self) -> None:
        while not self.done.wait(0.004):
            self.look()

    def above(self) -> Iterator[float]:
        self.look()
        self.done.set()
        self.join()
        for peak, level in zip(self.peaks, self.levels, strict=True):
            yield max(0, peak - level) / 1e6


@contextmanager
def measured(result: Result, *paths: str) -> Iterator[None]:
    """Seconds, CPU seconds, bytes a second, and the peaks of memory above the level before."""
    size = sum(os.path.getsize(path) for path in paths)
    touch(min(max(4 * size, LEAST_WARM), MOST_WARM))
    for path in paths:
        (cool if os.environ.get(COLD) else warm)(path)
    peaks = _Peaks()
    peaks.start()
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    result["seconds"] = time.perf_counter() - wall
    result["cpu_seconds"] = time.process_time() - cpu
    result["private_mb"], result["resident_mb"] = peaks.above()
    if paths:
        result["mb_a_second"] = size / 1e6 / result["seconds"]


def per_call(result: Result, work: Any, times: int) -> None:
    """Seconds a call, of a call too short to be measured alone."""
    work()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        work()
    result["seconds"] = (time.perf_counter() - wall) / times
    result["cpu_seconds"] = (time.process_time() - cpu) / times


def digest(result: Result, matrix: np.ndarray, tokens: Any = ()) -> Result:
    """What was read, so that contenders can be held to the same result."""
    if matrix.dtype != np.float32 or not matrix.flags.c_contiguous:
        raise SystemExit(f"not a C-contiguous float32 matrix: {matrix.dtype}")
    found = hashlib.sha256(matrix.data.cast("B"))
    found.update("\n".join(tokens).encode())
    result["digest"] = found.hexdigest()[:16]
    result["rows"] = len(matrix)
    return result


def file_digest(result: Result, path: str) -> Result:
    """What was written."""
    with open(path, "rb") as file:
        result["digest"] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return result


def read_words(path: str) -> list[str]:
    """The lines of a vocabulary file."""
    return Path(path).read_text(encoding="utf-8").split("\n")[:-1]


def main() -> None:
    """Run one contender of one case."""
    from benchmarks.cases import find_case

    # Imports are no part of the work, as little as the peers'.
    for late in ("concurrent.futures.thread", "embedfreeze.align", "embedfreeze.convert"):
        import_module(late)
    list(import_module("embedfreeze.formats").FORMATS.values())

    name, contender, *arguments = sys.argv[1:]
    print(json.dumps(find_case(name).contenders[contender](*arguments)))


if __name__ == "__main__":
    main()
