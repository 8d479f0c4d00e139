"""Work on the parts of a corpus in several processes, with results in order.

The processes are loky's: they start anew (a fork of a process with threads, such as TensorFlow's,
may never end), need no guard in the caller's script, and take functions of a notebook.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
    pool, restarts = _Pool(processes), 0

    def begin() -> None:
        for item in left:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > processes:
                return

    try:
        begin()
        while waiting:
            try:
                result = waiting[0][1].result()
            except _killed():
                restarts += 1
                if restarts > RESTARTS:
                    raise
                begun = [item for item, _ in waiting]
                waiting = deque((item, pool.submit(work, item)) for item in begun)
                continue
            waiting.popleft()
            begin()
            yield result
    except BaseException:
        pool.end()
        raise


@dataclass(frozen=True)
class _Pool:
    """Processes, begun anew where one was killed."""

    processes: int

    def submit(self, work: Callable[[T], R], item: T) -> Any:
        try:
            return self._submit(work, item)
        except _killed():  # between its last result and this
            return self._submit(work, item)

    def _submit(self, work: Callable[[T], R], item: T) -> Any:
        from multiprocessing.resource_tracker import ensure_running

        executor = self._executor()
        ensure_running()  # which unblocks signals when it begins: loky would call it in the block
        with _interrupts_blocked():
            return executor.submit(work, item)

    def end(self) -> None:
        self._executor().shutdown(wait=True, kill_workers=True)

    def _executor(self) -> Any:
        from loky import get_reusable_executor

        return get_reusable_executor(self.processes, timeout=IDLE_SECONDS)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Threads and processes that begin here leave Ctrl-C to the caller, which ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _killed() -> type[Exception]:
    from loky.process_executor import TerminatedWorkerError

    killed: type[Exception] = TerminatedWorkerError
    return killed
