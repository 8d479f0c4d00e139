"""Where the tasks of a job run: in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, get_args

from embedfreeze.batch.features import Features, Task, chunks
from embedfreeze.batch.processes import process_count, process_imap
from embedfreeze.batch.progress import byte_bar

__all__ = ["ENGINES", "Engine", "run_tasks"]

Engine = Literal["local", "ray"]
ENGINES: tuple[str, ...] = get_args(Engine)
R = TypeVar("R")


def run_tasks(
    maker: Features,
    work: Callable[..., R],
    tasks: Sequence[Task],
    done: frozenset[str],
    what: str,
    *,
    engine: str,
    processes: int | None,
    address: str | None,
) -> Iterator[R]:
    """Results of `work` for the tasks that are not done, with a bar of their bytes.

    Parameters
    ----------
    maker : Features
        What the tasks are for.
    work : callable
        What is done with a task, and with the names in `done`.
    tasks : sequence of Task
        Parts of the corpus.
    done : frozenset of str
        Names of shards.
    what : str
        For the bar.
    engine, processes, address
        As for `encode`.
    """
    left = [task for task in tasks if task.name not in done]
    call = partial(work, done=done)
    with byte_bar(sum(task.part.size for task in left), what) as bar:
        if engine == "ray":
            from embedfreeze.batch.onray import ray_imap

            for task, result in ray_imap(call, left, address):
                yield result
                bar(task.part.size)
            return
        sizes: deque[int] = deque()
        pieces = _pieces(maker, left, done, sizes)
        for result in process_imap(call, pieces, _processes(processes, left)):
            yield result
            bar(sizes.popleft())


def _processes(processes: int | None, tasks: Sequence[Task]) -> int:
    """As many as there can be work for."""
    wanted = process_count(processes)
    return wanted if any(task.is_stream for task in tasks) else min(wanted, max(1, len(tasks)))


def _pieces(
    maker: Features, tasks: Sequence[Task], done: frozenset[str], sizes: deque[int]
) -> Iterator[Task]:
    """Tasks, streams cut into chunks; `sizes` gets the bytes of each."""
    for task in tasks:
        if not task.is_stream:
            sizes.append(task.part.size)
            yield task
            continue
        before = 0
        for piece, position in chunks(maker.corpus, task, maker.chunk_size):
            if piece.name not in done:
                sizes.append(position - before)
                before = position
                yield piece
