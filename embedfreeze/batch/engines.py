"""Where the tasks of a job run: in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

from embedfreeze.batch.features import Features, Task, chunks
from embedfreeze.batch.processes import process_count, process_imap
from embedfreeze.batch.progress import shown_bar

__all__ = ["ENGINES", "Engine", "Run", "running"]

Engine = Literal["local", "ray"]
ENGINES: tuple[str, ...] = get_args(Engine)


Run = Callable[[str, Sequence[Task], frozenset[str], str], Generator[Any]]


@contextmanager
def running(
    maker: Features, engine: str, *, processes: int | None, address: str | None
) -> Iterator[Run]:
    """What runs tasks: called with the name of a method of `Features`, tasks, shards that are done,
    and what a bar is to show; it gives the results as they come.

    Parameters
    ----------
    maker : Features
        What has the method.
    engine, processes, address
        As for `encode`.
    """
    if engine == "local":
        yield partial(_run_locally, maker, processes)
        return
    from embedfreeze.batch.onray import absolute, connect, table_on_nodes

    connect(address)
    with table_on_nodes(absolute(maker)) as there:
        yield partial(_run_on_ray, there)


def _run_on_ray(
    maker: Features, method: str, tasks: Sequence[Task], done: frozenset[str], what: str
) -> Generator[Any]:
    from embedfreeze.batch.onray import absolute_task, ray_imap

    left = [absolute_task(task) for task in tasks if task.name not in done]
    work = partial(getattr(_without_paths(maker), method), done=done)
    with shown_bar(sum(task.part.size for task in left), what) as bar:
        for task, result in ray_imap(work, left):
            yield result
            bar(task.part.size)


def _run_locally(
    maker: Features,
    processes: int | None,
    method: str,
    tasks: Sequence[Task],
    done: frozenset[str],
    what: str,
) -> Generator[Any]:
    left = [task for task in tasks if task.name not in done]
    work = getattr(_without_paths(maker), method)
    sizes: deque[int] = deque()
    with shown_bar(sum(task.part.size for task in left), what) as bar:
        pieces = _pieces(maker, left, done, sizes)
        for result in process_imap(work, pieces, _processes(processes, left)):
            yield result
            bar(sizes.popleft())


def _without_paths(maker: Features) -> Features:
    """What is sent with every task, which names its file itself."""
    return replace(maker, corpus=replace(maker.corpus, paths=maker.corpus.paths[:1]))


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
