"""Guards: a mapped file that is cut reads as zeros, and a mark tells; SIGBUS is else as it was.

These tests need no TensorFlow and run under the sanitizers too.
"""

import errno
import mmap
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from embedfreeze import _kernel

PAGE = mmap.PAGESIZE
NO_INDEX = (b"", np.zeros(1, np.int64), np.empty(0, np.int32))


def mapped(path: Path, data: bytes) -> mmap.mmap:
    path.write_bytes(data)
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@contextmanager
def guarded(mapping: object) -> Iterator[int]:
    guard = _kernel.guard_enter(mapping)
    try:
        yield guard
    finally:
        _kernel.guard_leave(guard)


def is_caught() -> bool:
    """Has this process a handler for SIGBUS?"""
    caught = re.search(r"SigCgt:\s*(\w+)", Path("/proc/self/status").read_text("utf-8"))
    assert caught is not None
    return bool(int(caught[1], 16) >> (signal.SIGBUS - 1) & 1)


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE + 17, 19 * PAGE])
def test_a_cut_file_reads_as_zeros_behind_its_end(size: int, tmp_path: Path) -> None:
    data = bytes(range(1, 251)) * (20 * PAGE // 250)
    mapping = mapped(tmp_path / "f", data)
    with guarded(mapping) as guard:
        assert mapping[:] == data
        assert not _kernel.guard_hit(guard)
        os.truncate(tmp_path / "f", size)
        assert mapping[:] == data[:size].ljust(len(data), b"\0")
        assert _kernel.guard_hit(guard)
        assert mapping[:] == data[:size].ljust(len(data), b"\0")


def test_a_cut_within_the_last_page_hits_nothing(tmp_path: Path) -> None:
    mapping = mapped(tmp_path / "f", b"x" * 1000)
    with guarded(mapping) as guard:
        os.truncate(tmp_path / "f", 10)
        assert mapping[:] == b"x" * 10 + b"\0" * 990
        assert not _kernel.guard_hit(guard)  # the size of the file tells
        assert mapping.size() < len(mapping)


def test_leaving_tells_of_a_hit(tmp_path: Path) -> None:
    mappings = [mapped(tmp_path / name, b"x" * 4 * PAGE) for name in "ab"]
    guards = [_kernel.guard_enter(mapping) for mapping in mappings]
    os.truncate(tmp_path / "b", 0)
    assert mappings[1][2 * PAGE] == 0
    assert [_kernel.guard_leave(guard) for guard in guards] == [False, True]
    mapping = mapped(tmp_path / "c", b"x")
    with guarded(mapping) as guard:  # a mark does not stay with the number
        assert not _kernel.guard_hit(guard)


def test_every_function_of_the_kernel_ends(tmp_path: Path) -> None:
    rows = b"token 1.5 -2.5\n" * 100_000
    spans = np.array([[i * 15, 5] for i in range(100_000)], np.int64)
    mapping = mapped(tmp_path / "f", rows)
    with guarded(mapping) as guard:
        os.truncate(tmp_path / "f", 15_000)
        assert _kernel.count_lines(mapping, 0, len(rows)) == 1000
        starts = np.empty(100_001, np.int64)
        written, end = _kernel.find_lines(mapping, 0, len(rows), 32, *NO_INDEX, starts)
        assert (written, end) == (1001, len(rows))
        values, found = np.empty((100_000, 2), np.float32), np.empty((100_000, 2), np.int64)
        starts = np.arange(0, len(rows), 15)
        bad = _kernel.parse_rows(mapping, len(rows), 32, 2, starts, values, found)
        assert (bad, _kernel.guard_hit(guard)) == (99_000, True)
        assert (values[:1000] == [1.5, -2.5]).all()
        blob = bytearray(500_000)
        _kernel.gather_spans(mapping, spans, blob)
        assert blob == b"token" * 1000 + bytes(495_000)
        _kernel.copy_rows(mapping, spans[:-1], np.empty((99_999, 2), np.float32))
        _kernel.find_records(mapping, 0, len(rows), 8, 10, *NO_INDEX, spans)
        assert _kernel.guess_record(mapping, 20_000, 8) == -1


def test_many_threads_fault_at_once(tmp_path: Path) -> None:
    size = 500 * PAGE
    mappings = [mapped(tmp_path / str(i), b"\n" * size) for i in range(4)]
    counts: list[int] = []
    ready = threading.Barrier(9)

    def work(mapping: mmap.mmap, start: int) -> None:
        ready.wait()
        counts.append(_kernel.count_lines(mapping, start, size))

    threads = [
        threading.Thread(target=work, args=(mapping, start))
        for mapping in mappings
        for start in (0, 250 * PAGE)
    ]
    guards = [_kernel.guard_enter(mapping) for mapping in mappings]
    for thread in threads:
        thread.start()
    for i in range(4):
        os.truncate(tmp_path / str(i), 100 * PAGE)
    ready.wait()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0] * 4 + [100 * PAGE] * 4
    assert list(map(_kernel.guard_leave, guards)) == [True] * 4


def test_the_signal_is_as_it_was_afterwards(tmp_path: Path) -> None:
    before = is_caught()
    mapping = mapped(tmp_path / "f", b"x")
    with guarded(mapping), guarded(mapping):
        assert is_caught()
    assert is_caught() == before


def test_a_bounded_number(tmp_path: Path) -> None:
    mapping = mapped(tmp_path / "f", b"x")
    guards = [_kernel.guard_enter(mapping) for _ in range(4096)]
    with pytest.raises(OSError, match="Too many open files") as caught:
        _kernel.guard_enter(mapping)
    assert caught.value.errno == errno.EMFILE
    for guard in guards:
        _kernel.guard_leave(guard)
    with guarded(mapping):
        pass


def test_wrong_calls(tmp_path: Path) -> None:
    mapping = mapped(tmp_path / "f", b"x" * 3 * PAGE)
    for wrong in (b"", memoryview(mapping)[1:], memoryview(mapping)[:0]):
        with pytest.raises(ValueError, match="begins at a page"):
            _kernel.guard_enter(wrong)
    with guarded(mapping) as guard:
        pass
    for number in (guard, -1, 4096, 2**31 - 1):
        with pytest.raises(ValueError, match="is the number of no guard"):
            _kernel.guard_hit(number)
        with pytest.raises(ValueError, match="is the number of no guard"):
            _kernel.guard_leave(number)


PROCESS = """
import faulthandler, mmap, os, signal, sys
from embedfreeze import _kernel
def mapped(name, size=8 * mmap.PAGESIZE):
    with open(os.path.join(sys.argv[1], name), "w+b") as file:
        file.write(b"x" * size)
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
def cut(name):
    os.truncate(os.path.join(sys.argv[1], name), 0)
guarded, other = mapped("guarded"), mapped("other")
guard = _kernel.guard_enter(guarded)
"""


@pytest.mark.parametrize(
    "code",
    [
        "cut('other'); other[0]",
        "_kernel.guard_leave(guard); cut('guarded'); guarded[0]",
        "os.kill(os.getpid(), signal.SIGBUS)",
        # A handler that was there before, and one that was set over ours: both pass it on.
        "faulthandler.enable(); cut('other'); other[0]",
        "_kernel.guard_leave(guard); faulthandler.enable(); _kernel.guard_enter(guarded)\n"
        "cut('other'); other[0]",
        "faulthandler.enable(); _kernel.guard_leave(guard); _kernel.guard_enter(guarded)\n"
        "cut('other'); other[0]",
        # What is mapped where a guarded range was is not guarded.
        "address = _kernel.guard_leave(guard); guarded.close(); m = mapped('new'); cut('new')\n"
        "_kernel.guard_enter(other); m[0]",
    ],
)
def test_other_faults_end_the_process_as_ever(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS + code + "\nprint('alive')", tmp_path],
        capture_output=True,
        timeout=60,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0:handle_sigbus=0"},
    )
    assert (done.returncode, done.stdout) == (-signal.SIGBUS, b"")
    told = done.stderr.count(b"Fatal Python error: Bus error")
    assert told in ((1, 2) if "faulthandler" in code else (0,))


HANDLER = """
_kernel.guard_leave(guard)
signal.signal(signal.SIGBUS, lambda *_: print("handled", flush=True))
guard = _kernel.guard_enter(guarded)
for _ in range(2):
    os.kill(os.getpid(), signal.SIGBUS)
    cut("guarded")
    print(guarded[0], _kernel.guard_hit(guard), flush=True)
signal.signal(signal.SIGBUS, signal.SIG_IGN)
_kernel.guard_leave(guard)
guard = _kernel.guard_enter(other)
os.kill(os.getpid(), signal.SIGBUS)
print("ignored")
"""


def test_a_handler_of_the_caller_is_asked(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS + HANDLER, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.split("\n") == ["handled", "0 True"] * 2 + ["ignored", ""]
