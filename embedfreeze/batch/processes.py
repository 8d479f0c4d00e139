"""Work on the parts of a corpus in several processes, with results in order.

The processes are loky's: they start anew (a fork of a process with threads, such as TensorFlow's,
may never end), need no guard in the caller's script, and take functions of a notebook.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from embedfreeze.threads import thread_count

__all__ = ["process_count", "process_imap"]

T = TypeVar("T")
R = TypeVar("R")
IDLE_SECONDS = 10  # that processes wait for more work
RESTARTS = 3  # of processes that were killed, by the kernel where memory ends, say


def process_count(processes: int | None = None) -> int:
    """Number of processes to use: the caller's, or the cores this process may run on."""
    if processes is not None and processes < 1:
        raise ValueError(f"processes must be at least 1, received {processes}")
    return thread_count(processes)


def process_imap(work: Callable[[T], R], items: Iterable[T], processes: int) -> Iterator[R]:
    """Results of `work` in the order of `items`, while later ones are worked on.

    One process is the caller's own. What a killed process had begun is begun again.
    """
    if processes == 1:
        yield from map(work, items)
        return
    left, waiting = iter(items), deque[tuple[T, Any]]()
    restarts, pool = 0, _Pool(processes)
    there = partial(_work_at, os.getcwd(), work)

    def begin(begun: Iterable[T]) -> None:
        waiting.extend((item, pool.submit(there, item)) for item in begun)

    try:
        begin(islice(left, processes + 1))
        while waiting:
            try:
                result = waiting[0][1].result()
            except _killed():
                restarts += 1
                if restarts > RESTARTS:
                    raise
                begun = [item for item, _ in waiting]
                waiting.clear()
                begin(begun)
                continue
            waiting.popleft()
            begin(islice(left, 1))
            yield result
    except BaseException:
        pool.end()
        raise


def _work_at(folder: str, work: Callable[[T], R], item: T) -> R:
    """The caller may have gone elsewhere since the processes were started."""
    if os.getcwd() != folder:
        os.chdir(folder)
    return work(item)


class _Pool:
    """Processes that are started when work is there for them."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._executor: Any = None

    def submit(self, work: Callable[[T], R], item: T) -> Any:
        """A future of the work on an item."""
        try:
            return self._submit(work, item)
        except _killed():  # between its last result and this
            return self._submit(work, item)

    def _submit(self, work: Callable[[T], R], item: T) -> Any:
        from loky import get_reusable_executor

        _begin_quiet_tracker()
        self._executor = get_reusable_executor(self._processes, timeout=IDLE_SECONDS)
        with _deaf_processes():
            return self._executor.submit(work, item)

    def end(self) -> None:
        """Kill those that were started."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)


def _begin_quiet_tracker() -> None:
    """loky's tracker removes what ended processes leave; after Ctrl-C it would also warn of it."""
    from loky.backend.resource_tracker import ensure_running

    before = os.environ.get("PYTHONWARNINGS")
    quiet = "ignore:resource_tracker:UserWarning"
    os.environ["PYTHONWARNINGS"] = quiet if before is None else f"{before},{quiet}"
    try:
        ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


@contextmanager
def _deaf_processes() -> Iterator[None]:
    """Processes that are started here do not hear Ctrl-C, which a terminal sends to all of a group.

    This one hears it as soon as they are started, and can end them then.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing.resource_tracker import ensure_running

    ensure_running()  # where it is started, Python 3.11 unblocks what was blocked
    with _later_interrupts():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _later_interrupts() -> Iterator[None]:
    """Ctrl-C waits, also one that reached a thread that does not block it, such as OpenBLAS'."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        for number in heard[:1]:
            signal.raise_signal(number)


def _killed() -> type[Exception]:
    from loky.process_executor import TerminatedWorkerError

    killed: type[Exception] = TerminatedWorkerError
    return killed
