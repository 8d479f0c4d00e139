"""Tasks on a Ray cluster: Ray Data runs them, and begins again what a dead worker had begun."""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from embedfreeze.batch.features import Features, Task, open_table
from embedfreeze.errors import EmbedFreezeError
from embedfreeze.files import atomic_output

__all__ = ["cluster", "ray_imap", "table_on_nodes"]

R = TypeVar("R")


def _ray() -> Any:
    try:
        import ray
        import ray.data  # noqa: F401 (so that `ray.data` is there)
    except ModuleNotFoundError as error:
        raise EmbedFreezeError(
            f'the engine "ray" needs Ray, received: {error}: pip install "embedfreeze[ray]"'
        ) from error
    return ray


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """The cluster this process is connected to, else the one at an address, else a new one.

    Raises
    ------
    EmbedFreezeError
        Ray is not installed, or there is no cluster at the address.
    """
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise EmbedFreezeError(
            f"Ray has no cluster at {address or 'this machine'}: {error}: check address= "
            f"(--address)"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def ray_imap(work: Callable[[Task], R], tasks: Sequence[Task]) -> Iterator[tuple[Task, R]]:
    """Tasks and what `work` made of them, in the order in which they are done.

    Errors of `work` that are the package's come as they are.
    """
    if not tasks:
        return
    ray = _ray()
    sent = ray.put((work, list(tasks)))

    def done(row: dict[str, Any]) -> dict[str, Any]:
        call, items = ray.get(sent)
        try:
            result = call(items[row["id"]])
        except EmbedFreezeError as error:
            result = error
        return {"number": row["id"], "result": pickle.dumps(result)}

    with _quiet(ray):
        numbers = ray.data.range(len(tasks), override_num_blocks=len(tasks))
        for row in numbers.map(done).iter_rows():
            result = pickle.loads(row["result"])  # noqa: S301 (of our own workers)
            if isinstance(result, EmbedFreezeError):
                raise result
            yield tasks[row["number"]], result


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Ray Data shows no bars, and says of its work only what is wrong."""
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        logger.setLevel(before[1])


@contextmanager
def table_on_nodes(maker: Features) -> Iterator[Features]:
    """The maker for a cluster: nodes that do not see its table receive it, once each."""
    ray = _ray()
    if all(_on_each_node(_sees, maker.table, maker.digest)):
        yield maker
        return
    with open(maker.table, "rb") as file:
        sent = ray.put(file.read())
    place = os.path.join(tempfile.gettempdir(), f"embedfreeze-{maker.job}.safetensors")
    try:
        _on_each_node(_receive, place, sent)
        yield replace(maker, table=place)
    finally:
        _on_each_node(_forget, place)


def _on_each_node(function: Callable[..., R], *arguments: Any) -> list[R]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray = _ray()
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    results: list[R] = ray.get(
        [
            ray.remote(num_cpus=0)(function)
            .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            .remote(*arguments)
            for node in nodes
        ]
    )
    return results


def _sees(path: str, digest: str) -> bool:
    try:
        return open_table(path).digest == digest
    except EmbedFreezeError:
        return False


def _receive(path: str, content: bytes) -> None:
    with atomic_output(path, overwrite=True) as file:
        file.write(content)


def _forget(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
