"""Tasks on a Ray cluster: Ray Data runs them, and begins again what a dead worker had begun."""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from embedfreeze.batch.features import Features, Task, open_table
from embedfreeze.errors import EmbedFreezeError
from embedfreeze.files import atomic_output, is_remote

__all__ = ["absolute", "absolute_task", "connect", "ray_imap", "table_on_nodes"]

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


def connect(address: str | None) -> None:
    """Use the cluster this process is connected to, else the one at an address.

    Without an address it is one that runs on this machine, or a new one.

    The process stays connected, as it does after any call of Ray's; ``ray.shutdown()`` ends that.

    Raises
    ------
    EmbedFreezeError
        Ray is not installed, or there is no cluster at the address.
    """
    ray = _ray()
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    begin = partial(ray.init, log_to_driver=False, logging_level="ERROR")
    try:
        try:
            begin(address=address)
        except ConnectionError:
            if address is not None or "RAY_ADDRESS" in os.environ:
                raise
            begin(address="local")  # what Ray remembers of a cluster on this machine is no more
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise EmbedFreezeError(
            f"Ray has no cluster at {address or 'this machine'}: {error}: check address= "
            f"(--address)"
        ) from error


def ray_imap(work: Callable[[Task], R], tasks: Sequence[Task]) -> Iterator[tuple[Task, R]]:
    """Tasks and what `work` made of them, in the order in which they are done.

    Raises
    ------
    EmbedFreezeError
        A node cannot load `work`. Errors of `work` itself come as they are.
    """
    if not tasks:
        return
    ray = _ray()
    # Pickled here: Ray would try for ever to run a task whose arguments a worker cannot load.
    sent = ray.put(ray.cloudpickle.dumps((work, list(tasks))))

    def done(row: dict[str, Any]) -> dict[str, Any]:
        return {"number": row["id"], "result": _worked(ray.get(sent), row["id"])}

    with _quiet(ray):
        numbers = ray.data.range(len(tasks), override_num_blocks=len(tasks))
        with closing(iter(numbers.map(done).iter_rows())) as rows:  # its tasks end before Ray does
            for row in rows:
                result = pickle.loads(row["result"])  # noqa: S301 (of our own workers)
                if isinstance(result, _Failure):
                    raise result.error
                yield tasks[row["number"]], result


def absolute(maker: Features) -> Features:
    """The maker for workers, which have other working folders than this process."""
    corpus = replace(maker.corpus, paths=tuple(map(_absolute, maker.corpus.paths)))
    return replace(
        maker,
        table=_absolute(maker.table),
        corpus=corpus,
        weights=None if maker.weights is None else _absolute(maker.weights),
        folder=_absolute(maker.folder),
    )


def absolute_task(task: Task) -> Task:
    """The task for them."""
    return replace(task, part=replace(task.part, path=_absolute(task.part.path)))


def _absolute(path: str) -> str:
    return path if is_remote(path) else os.path.abspath(path)


@dataclass(frozen=True)
class _Failure:
    """What `work` raised."""

    error: Exception


def _worked(sent: bytes, number: int) -> bytes:
    """What `work` makes of a task, or its error, pickled."""
    try:
        work, tasks = pickle.loads(sent)  # noqa: S301 (of our own driver)
    except Exception as error:  # noqa: BLE001 (modules of the user's may raise anything)
        told = f"a node cannot load what is to be done: {error!r}: install the modules there too"
        return pickle.dumps(_Failure(EmbedFreezeError(told)))
    try:
        return pickle.dumps(work(tasks[number]))
    except Exception as error:  # noqa: BLE001 (the driver raises it)
        return _pickled_failure(error)


def _pickled_failure(error: Exception) -> bytes:
    try:
        data = pickle.dumps(_Failure(error))
        pickle.loads(data)  # noqa: S301 (some errors can be written only)
    except Exception:  # noqa: BLE001
        return pickle.dumps(_Failure(EmbedFreezeError(f"a worker failed: {error!r}")))
    return data


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
    try:
        seen = _on_each_node(_sees, maker.table, maker.digest)
    except ray.exceptions.RayError as error:
        raise EmbedFreezeError(
            f"a node of the Ray cluster cannot be used: {str(error).strip().splitlines()[-1]}: "
            f"install embedfreeze there too"
        ) from error
    if all(seen):
        yield maker
        return
    sent = ray.put(np.asarray(np.memmap(maker.table, np.uint8, "r")))
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


def _receive(path: str, content: npt.NDArray[np.uint8]) -> None:
    with atomic_output(path, overwrite=True) as file:
        file.write(content.data)


def _forget(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
