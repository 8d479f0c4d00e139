"""Threads: results in order, the parts of a range, how many threads."""

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import embedfreeze as ef
from embedfreeze.formats import ReadOptions, open_reading
from embedfreeze.threads import spans, thread_count, thread_imap, thread_map


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_results_keep_the_order_of_the_items(n: int, threads: int) -> None:
    assert thread_map(lambda i: i * i, iter(range(n)), threads) == [i * i for i in range(n)]


def test_items_run_at_the_same_time() -> None:
    """Three items that wait for each other end only in three threads."""
    barrier = threading.Barrier(3, timeout=30)
    assert sorted(thread_map(lambda _: barrier.wait(), range(3), 3)) == [0, 1, 2]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_one_item_is_raised(threads: int) -> None:
    def work(i: int) -> int:
        if i == 2:
            raise KeyError(i)
        return i

    with pytest.raises(KeyError, match="2"):
        thread_map(work, range(5), threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_the_items_comes_behind_the_results_before_it(threads: int) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise KeyError("items")

    results = thread_imap(lambda i: i * i, items(), threads)
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    with pytest.raises(KeyError, match="items"):
        next(results)


def test_one_thread_or_one_item_stays_in_the_caller() -> None:
    here = threading.get_ident()
    assert thread_map(lambda _: threading.get_ident(), range(4), 1) == [here] * 4
    assert thread_map(lambda _: threading.get_ident(), [0], 8) == [here]


@pytest.mark.parametrize("size", [1, 3, 7, 100])
@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (5, 26), (7, 14)])
def test_spans_cover_the_range(start: int, stop: int, size: int) -> None:
    parts = spans(start, stop, size)
    assert [i for low, high in parts for i in range(low, high)] == list(range(start, stop))
    assert all(0 < high - low <= size for low, high in parts)


def test_thread_count() -> None:
    assert thread_count(7) == 7
    assert thread_count() == len(os.sched_getaffinity(0))
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"at least 1, received {wrong}"):
            thread_count(wrong)


def test_no_thread_outlives_its_source(tmp_path: Path) -> None:
    """Batches that nobody took to the end are closed with the file, not by the collector."""
    path = tmp_path / "f.txt"
    path.write_bytes(b"".join(b"t%d 1.5 2.5\n" % i for i in range(300_000)))
    gc.disable()
    try:
        ef.inspect(path)
        source, _, reading = open_reading(path, ReadOptions(threads=2))
        with source:
            next(reading.batches)
            assert pool_threads()
        assert not pool_threads()
    finally:
        gc.enable()


def pool_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")]
