"""The records of a folder of features: those of one worker, in batches, in order or shuffled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedfreeze.batch.columns import Block, Column, Rebatcher, block_rows, joined, taken
from embedfreeze.batch.manifest import Manifest
from embedfreeze.batch.shards import OpenedShard, open_shard, shard_format
from embedfreeze.errors import FormatError
from embedfreeze.threads import spans

__all__ = ["Records", "Span", "worker_spans"]

SEQUENTIAL_ROWS = 4096  # that are read at a time in order


@dataclass(frozen=True)
class Span:
    """Records of a shard, from `start` on and before `stop`."""

    name: str
    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def windows(self, size: int) -> list[Span]:
        """It in pieces of at most so many records."""
        return [Span(self.name, low, high) for low, high in spans(self.start, self.stop, size)]


def worker_spans(manifest: Manifest, index: int, count: int) -> list[Span]:
    """What worker `index` of `count` reads: of each of these, each record is in one worker.

    Workers take turns with the shards where each gets one at least, else each gets consecutive
    records.
    """
    shards = [Span(s["name"], 0, s["texts"]) for s in manifest.shards if s["texts"]]
    if len(shards) >= count:
        return shards[index::count]
    low, high = (manifest.texts * i // count for i in (index, index + 1))
    found, first = [], 0
    for shard in shards:
        start, stop = max(low, first), min(high, first + shard.rows)
        if start < stop:
            found.append(Span(shard.name, start - first, stop - first))
        first += shard.rows
    return found


@dataclass(frozen=True)
class Records:
    """The records of some spans.

    Attributes
    ----------
    folder : str
        Where the shards lie.
    manifest : Manifest
        Of that folder.
    columns : sequence of Column
        What is read of each record.
    spans : sequence of Span
        Which records, in order.
    """

    folder: str
    manifest: Manifest
    columns: Sequence[Column]
    spans: Sequence[Span]

    def in_order(self, size: int) -> Iterator[Block]:
        """Batches of so many records, but for the last."""
        return _batches(self._in_order(), size)

    def shuffled(self, size: int, buffer: int, rng: np.random.Generator) -> Iterator[Block]:
        """Batches of records in another order, which depends on the generator alone.

        Windows of consecutive records are read in a random order, and of as many as the buffer
        holds, the records are mixed.
        """
        return _batches(self._shuffled(size, buffer, rng), size)

    def _opened(self, name: str) -> Iterator[OpenedShard]:
        """The shard, for as long as it is iterated over: it has the records of the manifest."""
        with open_shard(self.manifest.output, self.folder, name, self.columns) as shard:
            texts = {shard["name"]: shard["texts"] for shard in self.manifest.shards}[name]
            if shard.rows != texts:
                raise FormatError(
                    f"a shard must have the {texts} records of the manifest, received "
                    f"{shard.rows}: delete this file and run the same embedfreeze encode again",
                    path=shard.path,
                )
            yield shard

    def _in_order(self) -> Iterator[Block]:
        for span in self.spans:
            for shard in self._opened(span.name):
                for window in span.windows(SEQUENTIAL_ROWS):
                    yield shard.read(window.start, window.stop)

    def _shuffled(self, size: int, buffer: int, rng: np.random.Generator) -> Iterator[Block]:
        rows = min(shard_format(self.manifest.output).window_rows, buffer)
        windows = [window for span in self.spans for window in span.windows(rows)]
        order = rng.permutation(len(windows))
        for low, high in spans(0, len(windows), buffer // rows):
            block = self._read([windows[i] for i in np.sort(order[low:high])])
            mixed = rng.permutation(block_rows(block))
            for start, stop in spans(0, len(mixed), size):
                yield _taken(block, mixed[start:stop])

    def _read(self, windows: list[Span]) -> Block:
        """Windows in the order of their shards, of which each is opened once."""
        blocks = []
        for name in dict.fromkeys(window.name for window in windows):
            for shard in self._opened(name):
                mine = (window for window in windows if window.name == name)
                blocks += [shard.read(window.start, window.stop) for window in mine]
        return {name: joined([block[name] for block in blocks]) for name in blocks[0]}


def _taken(block: Block, rows: npt.NDArray[np.int64]) -> Block:
    return {name: taken(values, rows) for name, values in block.items()}


def _batches(blocks: Iterator[Block], size: int) -> Iterator[Block]:
    cut = Rebatcher(size)
    for block in blocks:
        yield from cut.add(block)
    yield from cut.rest()
