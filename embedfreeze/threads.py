"""Python threads over the parts of the work that run without the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

__all__ = ["spans", "thread_count", "thread_imap", "thread_map"]

T = TypeVar("T")
R = TypeVar("R")


def thread_count(threads: int | None = None) -> int:
    """Number of threads to use: the caller's, or the cores this process may run on."""
    if threads is None:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    if threads < 1:
        raise ValueError(f"threads must be at least 1, received {threads}")
    return threads


def thread_map(work: Callable[[T], R], items: Iterable[T], threads: int) -> list[R]:
    """Results of `work` in the order of `items`; one thread or one item starts no pool."""
    return list(thread_imap(work, items, threads))


def thread_imap(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Results of `work` in the order of `items`, each as soon as it and those before are there."""
    items = list(items)
    if threads == 1 or len(items) < 2:
        yield from map(work, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # brings logging, which takes a while

    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        yield from pool.map(work, items)


def spans(start: int, stop: int, size: int) -> list[tuple[int, int]]:
    """Consecutive (start, stop) pairs of at most `size` that cover the range."""
    return [(low, min(low + size, stop)) for low in range(start, stop, size)]
