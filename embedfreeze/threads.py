"""Python threads over the parts of the work that run without the GIL."""

from __future__ import annotations

import os
from collections import deque
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
    items = list(items)
    return list(thread_imap(work, items, min(threads, max(1, len(items)))))


def thread_imap(
    work: Callable[[T], R],
    items: Iterable[T],
    threads: int,
    *,
    stop: Callable[[], object] = lambda: None,
) -> Iterator[R]:
    """Results of `work` in the order of `items`, while later ones are worked on.

    Items are taken as they are needed: no more than one a thread, and one, are on their way. An
    error of the items comes behind the results of those before it, as with one thread. Where work
    is not gone through to its end, `stop` is called before what is on its way is waited for.
    """
    if threads == 1:
        yield from map(work, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # brings logging: takes a while

    waiting: deque[Future[R]] = deque()
    errors: list[Exception] = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in _up_to_an_error(items, errors):
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            stop()
            raise
    if errors:
        raise errors.pop()  # kept here, it would keep all frames that it went through


def _up_to_an_error(items: Iterable[T], errors: list[Exception]) -> Iterator[T]:
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 (it is raised when it is its turn)
        errors.append(error)


def spans(start: int, stop: int, size: int) -> list[tuple[int, int]]:
    """Consecutive (start, stop) pairs of at most `size` that cover the range."""
    return [(low, min(low + size, stop)) for low in range(start, stop, size)]
