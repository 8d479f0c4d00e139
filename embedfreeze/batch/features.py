"""From texts to the columns of features: what each process of a job does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.batch.columns import Column, Ragged
from embedfreeze.batch.corpus import Corpus
from embedfreeze.batch.jobfolder import ShardRecord
from embedfreeze.batch.pooled import POOLINGS, pool
from embedfreeze.batch.shards import shard_writer
from embedfreeze.batch.texts import Part, Texts
from embedfreeze.batch.tokenids import TextIds
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FileError, FormatError, VocabularyError, reason
from embedfreeze.formats import read
from embedfreeze.splitters import SplitterLike
from embedfreeze.threads import spans

__all__ = ["FEATURES", "Features", "Task", "chunks", "load_weights", "open_table", "part_tasks"]

FEATURES = ("ids", "ragged", *POOLINGS)
BLOCK_BYTES = 16 << 20  # of features that are made at a time, however short texts are


@dataclass(frozen=True)
class Task:
    """What becomes a shard, or several: a part of a corpus, or texts that were read of it.

    Attributes
    ----------
    name : str
        Of the shard; of several, what their names begin with.
    part : Part
        Of the corpus.
    texts : list of Texts or None
        None: they are still to be read.
    skipped, first_skipped : int, str or None
        Bad records that were left out of `texts`.
    """

    name: str
    part: Part
    texts: list[Texts] | None = None
    skipped: int = 0
    first_skipped: str | None = None

    @property
    def is_stream(self) -> bool:
        """Is it a file that is read as a whole, and becomes several shards?"""
        return self.texts is None and self.part.start is None


def chunks(corpus: Corpus, task: Task, characters: int) -> Iterator[tuple[Task, int]]:
    """The texts of a stream, so many characters or a little more at a time, and bytes read so far.

    Where it is cut depends on nothing but the file.
    """
    reader = corpus.reader(task.part)
    held: list[Texts] = []
    size = number = told = 0

    def chunk() -> Task:
        name = f"{task.name}-{number:05}"
        first = None if told else reader.bad.first
        return Task(name, task.part, held, reader.bad.count - told, first)

    for texts in reader:
        # A text has an end, as lines have, so that many empty ones are not nothing.
        ends = np.cumsum([0, *(len(text) + 1 for text in texts.texts)])
        low = 0
        while low < len(texts.texts):
            high = int(np.searchsorted(ends[1:], ends[low] + characters - size)) + 1
            held.append(texts.part(low, high))
            size += int(ends[min(high, len(texts.texts))] - ends[low])
            low = high
            if size >= characters:
                yield chunk(), reader.position
                held, size, number, told = [], 0, number + 1, reader.bad.count
    if any(batch.texts for batch in held) or reader.bad.count > told:
        yield chunk(), reader.position


@dataclass(frozen=True)
class Features:
    """Turns tasks into shards; it is sent to other processes, which map the same table.

    Attributes
    ----------
    table, digest : str
        The store, aligned to a vocabulary, and the digest of its matrix.
    job : str
        Tells the job from every other, so that a process keeps nothing of another one.
    corpus : Corpus
        Where texts are.
    splitter : Splitter or callable or None
        None for that of the vocabulary.
    kind : str
        One of `FEATURES`.
    max_length : int or None
        Tokens of a text.
    weights : str or None
        A .npy file of float32 [rows].
    output : str
        Format of the shards.
    folder : str
        Where they go.
    chunk_size : int
        Characters of a stream in a shard.
    """

    table: str
    digest: str
    job: str
    corpus: Corpus
    splitter: SplitterLike | None
    kind: str
    max_length: int | None
    weights: str | None
    output: str
    folder: str
    chunk_size: int

    def columns(self, dim: int) -> list[Column]:
        """What each record of the shards has."""
        wanted = self.corpus.columns
        found = [self._features(dim)]
        if wanted.label is not None:
            found.append(Column("label", wanted.label_kind))
        return found if wanted.id is None else [*found, Column("id", "str")]

    def _features(self, dim: int) -> Column:
        if self.kind == "ragged":
            return Column("ids", "int32", (None,))
        if self.kind == "ids":
            return Column("ids", "int32", (self.max_length,))
        return Column("features", "float32", (dim,))

    def shards(self, task: Task, done: frozenset[str] = frozenset()) -> list[ShardRecord]:
        """The shards of a task that are not done."""
        if not task.is_stream:
            return [self._write(task)]
        pieces = chunks(self.corpus, task, self.chunk_size)
        return [self._write(piece) for piece, _ in pieces if piece.name not in done]

    def _write(self, task: Task) -> ShardRecord:
        texts, skipped, first, n = task.texts, task.skipped, task.first_skipped, 0
        reader = self.corpus.reader(task.part) if texts is None else None
        columns = self.columns(self._maker.table.dim)
        most = max(1, BLOCK_BYTES // (4 * max(1, sum(columns[0].row_shape))))
        with shard_writer(self.output, self.folder, task.name, columns) as writer:
            for batch in texts if reader is None else reader:  # type: ignore[union-attr]
                for low, high in spans(0, len(batch.texts), most):
                    writer.append(self._block(batch.part(low, high)))
                n += len(batch.texts)
        if reader is not None:
            skipped, first = reader.bad.count, reader.bad.first
        return ShardRecord(task.name, n, skipped, first)

    def _block(self, batch: Texts) -> dict[str, Any]:
        block: dict[str, Any] = self._maker(batch.texts)
        if batch.labels is not None:
            block["label"] = np.array(batch.labels, self.corpus.columns.label_kind)
        if batch.ids is not None:
            block["id"] = batch.ids
        return block

    @property
    def _maker(self) -> _Maker:
        return _maker_of(self)

    def texts_with(
        self, task: Task, done: frozenset[str] = frozenset()
    ) -> tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """How many texts a task has, which ids occur in them, and each in how many texts."""
        n, counts = 0, np.zeros(len(self._maker.table), np.int64)
        for batch in self.corpus.reader(task.part) if task.texts is None else task.texts:
            ids = self._maker.text_ids(batch.texts)
            n += len(batch.texts)
            found, more = _texts_with(ids, len(counts))
            counts[found] += more
        found = np.flatnonzero(counts)
        return n, found, counts[found]


def _texts_with(ids: Ragged, rows: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which ids occur, and each in how many texts."""
    of_text = np.repeat(np.arange(len(ids.row_splits) - 1), np.diff(ids.row_splits))
    pairs = np.unique(of_text * rows + ids.values)
    return np.unique(pairs % rows, return_counts=True)


class _Maker:
    """The features of texts, from a mapped table."""

    def __init__(
        self, table: Embeddings, text_ids: TextIds, kind: str, weights: str | None
    ) -> None:
        self.table, self.text_ids, self.kind = table, text_ids, kind
        self._weights = weights

    @cached_property
    def weights(self) -> npt.NDArray[np.float32] | None:
        return None if self._weights is None else load_weights(self._weights, len(self.table))

    def __call__(self, texts: list[str]) -> dict[str, Any]:
        ids = self.text_ids(texts)
        if self.kind == "ragged":
            return {"ids": ids}
        if self.kind == "ids":
            return {"ids": self._padded(ids)}
        padding = self.text_ids.padding_id
        return {"features": pool(self.table.matrix, ids, self.kind, padding, self.weights)}

    def _padded(self, ids: Ragged) -> npt.NDArray[np.int32]:
        length, padding = self.text_ids.max_length, self.text_ids.padding_id
        lengths = np.diff(ids.row_splits)
        if padding is None and (lengths != length).any():
            raise VocabularyError(
                "texts of different lengths need a padding token: give the vocabulary padding=, or "
                'make features="ragged"'
            )
        padded = np.full((len(lengths), length or 0), padding or 0, np.int32)
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = ids.values
        return padded


def load_weights(path: str, rows: int) -> npt.NDArray[np.float32]:
    """The weights of tokens that a job made.

    Raises
    ------
    FileError
        They are missing.
    FormatError
        The file holds something else.
    """
    try:
        found = np.load(path)
        if found.dtype != np.float32 or found.shape != (rows,):
            raise ValueError(f"{found.dtype} {[*found.shape]}")
    except FileNotFoundError:
        raise FileError("is missing: run the same embedfreeze encode again", path=path) from None
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(
            f"the weights of a job must be float32 [{rows}], received {reason(error)}: the file is "
            f"damaged, delete it and run the same embedfreeze encode again",
            path=path,
        ) from error
    weights: npt.NDArray[np.float32] = found
    return weights


_last: dict[str, _Maker] = {}  # by the job


def _maker_of(features: Features) -> _Maker:
    """One a process: the table is mapped once, and its memory is that of all processes."""
    if features.job not in _last:
        _last.clear()
        _last[features.job] = _new_maker(features)
    return _last[features.job]


def _new_maker(features: Features) -> _Maker:
    table = open_table(features.table)
    if table.digest != features.digest:
        raise FileError("was replaced while a job read it: run the job again", path=features.table)
    text_ids = TextIds(table, features.splitter, features.max_length)
    return _Maker(table, text_ids, features.kind, features.weights)


def open_table(path: str) -> Embeddings:
    """The table in a store.

    Raises
    ------
    FormatError
        It is another file.
    """
    table = read(path)
    if table.sealed is None:
        raise FormatError(
            "a table must be a store: make one with embedfreeze.load(...).save(path) "
            "(embedfreeze align)",
            path=path,
        )
    return table


def part_tasks(parts: Iterable[Part]) -> list[Task]:
    """A task for each part of a corpus."""
    return [Task(f"part-{number:05}", part) for number, part in enumerate(parts)]
