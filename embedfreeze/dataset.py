"""A `tf.data.Dataset` over the features that a batch job wrote."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count as counted
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.backend import tf
from embedfreeze.batch.columns import Block, Column, Ragged
from embedfreeze.batch.manifest import Manifest
from embedfreeze.batch.records import Records, worker_spans
from embedfreeze.batch.shards import shard_files
from embedfreeze.files import PathLike, name_of

__all__ = ["dataset"]

FEATURES, LABEL = ("features", "ids"), "label"
SHUFFLE_BUFFER = 16_384
READ_RECORDS = 256  # at a time, where no batches are asked for
RUNNING = 4  # iterations that wait in the middle of their records
READ_BYTES = 1 << 20
FILES_AT_ONCE, RECORDS_OF_A_FILE = 8, 16


def dataset(
    path: PathLike,
    *,
    batch_size: int | None = None,
    columns: Sequence[str] | None = None,
    shuffle_seed: int | None = None,
    shuffle_buffer: int = SHUFFLE_BUFFER,
    shard: tuple[int, int] | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """A `tf.data.Dataset` over the features that `encode` wrote into a folder.

    Parameters
    ----------
    path : path
        The folder.
    batch_size : int, optional
        Records in a batch. Default: single records, which take much longer than batches of them.
    columns : sequence of str, optional
        Give a dict of these columns.
    shuffle_seed : int, optional
        Shuffle: another order in each iteration, and in a new process the same orders one after the
        other. Default: the order of the corpus.
    shuffle_buffer : int
        So many records are held in memory and mixed. They come from windows all over the shards,
        of 256 records or more (of TFRecord files, from eight shards at a time).
    shard : (int, int), optional
        ``(index, count)``: read what worker `index` of `count` reads. Each record is in one worker:
        whole shards where there are at least `count`, else consecutive records. Strategies do not
        divide such a dataset again.
    drop_remainder : bool
        Leave out a last batch that is not full.

    Returns
    -------
    tf.data.Dataset
        Of pairs (features, label), or of features where there are no labels, or of dicts. Features
        are float32 [batch, dim]; ids are int32 [batch, length], or a `tf.RaggedTensor` where texts
        have their own lengths. Labels are int64 or float32 [batch]. Its length is known. What is
        wrong with a shard is raised as an error of TensorFlow's that has the message of ours.

    Raises
    ------
    FileError
        The folder has no manifest: the job that writes it is not finished.
    FormatError
        The manifest is damaged.
    ValueError
        An argument is not one of those above, or names a column that is not there.

    Examples
    --------
    >>> import embedfreeze as ef
    >>> counts = ef.count_corpus("data/sentences.tsv", min_count=2)
    >>> aligned = ef.load("data/glove.6B.50d.sample.txt", ef.Vocabulary.from_counts(counts))
    >>> manifest = ef.encode(aligned, "data/sentences.tsv", "features", label="label")
    >>> train = ef.dataset("features", batch_size=32, shuffle_seed=0)
    >>> features, labels = next(iter(train))
    >>> len(train), features.shape, labels.dtype
    (94, TensorShape([32, 50]), tf.int64)
    """
    _check(batch_size, shuffle_seed, shuffle_buffer, drop_remainder)
    folder, index, count = name_of(path), *_checked_shard(shard)
    manifest = Manifest.read(folder)
    chosen = _chosen(manifest, columns)
    records = Records(folder, manifest, chosen, worker_spans(manifest, index, count))
    plan = _Plan(records, batch_size or READ_RECORDS, shuffle_seed, shuffle_buffer, drop_remainder)
    batches = _of_examples if manifest.output == "tfrecord" else _of_batches
    found = batches(plan, _pair if columns is None else dict)
    if batch_size is None:
        found = found.unbatch()
    length = plan.n_batches if batch_size is not None else plan.n_records
    return _settled(found.apply(tf.data.experimental.assert_cardinality(length)), shard is not None)


@dataclass(frozen=True)
class _Plan:
    """Which records, and how they come."""

    records: Records
    size: int
    seed: int | None
    buffer: int
    drop_remainder: bool

    @property
    def n_records(self) -> int:
        return sum(span.rows for span in self.records.spans)

    @property
    def n_batches(self) -> int:
        return (self.n_records + (0 if self.drop_remainder else self.size - 1)) // self.size

    def generator(self, iteration: int) -> np.random.Generator:
        """What the order of an iteration depends on."""
        return np.random.default_rng([self.seed or 0, iteration])

    def batches(self, iteration: int) -> Iterator[Block]:
        if self.seed is None:
            return self.records.in_order(self.size)
        return self.records.shuffled(self.size, self.buffer, self.generator(iteration))


def _check(
    batch_size: int | None, seed: int | None, shuffle_buffer: int, drop_remainder: bool
) -> None:
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, received {batch_size}")
    if seed is not None and seed < 0:
        raise ValueError(f"shuffle_seed must not be negative, received {seed}")
    if shuffle_buffer < 1:
        raise ValueError(f"shuffle_buffer must be at least 1, received {shuffle_buffer}")
    if drop_remainder and batch_size is None:
        raise ValueError("drop_remainder=True needs batches: give batch_size=")


def _checked_shard(shard: tuple[int, int] | None) -> tuple[int, int]:
    index, count = shard or (0, 1)
    if not 0 <= index < count:
        raise ValueError(
            f"shard must be (index, count) with an index from 0 on and below count, received "
            f"{shard}"
        )
    return index, count


def _chosen(manifest: Manifest, names: Sequence[str] | None) -> list[Column]:
    there = {column.name: column for column in manifest.columns}
    if names is None:
        features = next((name for name in FEATURES if name in there), FEATURES[0])
        names = [features, LABEL] if LABEL in there else [features]
    unknown = [name for name in names if name not in there]
    if unknown or not names or isinstance(names, str):
        raise ValueError(
            f"columns must be a list of some of {', '.join(there)}, received {names!r}: name others"
        )
    return [there[name] for name in dict.fromkeys(names)]


def _pair(columns: dict[str, Any]) -> Any:
    features, *label = columns.values()
    return (features, label[0]) if label else features


def _settled(found: tf.data.Dataset, divided: bool) -> tf.data.Dataset:
    """What is read while the batch before is worked on; workers' parts are not divided again."""
    found = found.prefetch(2)
    if not divided:
        return found
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return found.with_options(options)


def _iterations() -> tf.data.Dataset:
    """One number, which is a new one each time it is iterated over: 0, 1, ..."""
    numbers = counted()
    return tf.data.Dataset.from_generator(
        lambda: iter([next(numbers)]), output_signature=tf.TensorSpec((), tf.int64)
    )


# ---- batches that NumPy reads


class _Running:
    """The batches of iterations by their place, of which each goes on where it was."""

    def __init__(self, batches: Callable[[int], Iterator[Block]], last: int) -> None:
        self._batches, self._last = batches, last
        self._running: dict[int, tuple[int, Iterator[Block]]] = {}
        self._lock = threading.Lock()

    def batch(self, iteration: int, place: int) -> Block:
        with self._lock:
            at, batches = self._running.pop(iteration, (place + 1, iter(())))
        if at > place:  # a new one, or one that was forgotten
            at, batches = 0, self._batches(iteration)
        for _ in range(at, place):
            next(batches)
        found = next(batches)
        if place < self._last:
            self._keep(iteration, (place + 1, batches))
        return found

    def _keep(self, iteration: int, running: tuple[int, Iterator[Block]]) -> None:
        with self._lock:
            self._running[iteration] = running
            for old in sorted(self._running)[:-RUNNING]:
                del self._running[old]


def _of_batches(plan: _Plan, element: Callable[[dict[str, Any]], Any]) -> tf.data.Dataset:
    columns = plan.records.columns
    running = _Running(plan.batches, plan.n_batches - 1)
    dtypes = [dtype for column in columns for dtype in _dtypes(column)]

    def read(iteration: Any, place: Any) -> list[npt.NDArray[Any]]:
        block = running.batch(int(iteration), int(place))
        return [array for column in columns for array in _arrays(block[column.name])]

    def batch(iteration: Any, place: Any) -> Any:
        flat = iter(tf.numpy_function(read, [iteration, place], dtypes))
        rows = plan.size if plan.drop_remainder else None
        return element({column.name: _tensor(column, flat, rows) for column in columns})

    def batches(iteration: Any) -> tf.data.Dataset:
        places = tf.data.Dataset.range(plan.n_batches)
        return places.map(lambda place: batch(iteration, place))

    return _iterations().flat_map(batches)


def _dtypes(column: Column) -> list[Any]:
    dtype = tf.string if column.is_text else tf.as_dtype(column.dtype)
    return [dtype, tf.int64] if column.is_ragged else [dtype]


def _arrays(values: Any) -> list[npt.NDArray[Any]]:
    if isinstance(values, Ragged):
        return [values.values, values.row_splits]
    if isinstance(values, list):
        return [np.array([text.encode() for text in values], object)]
    return [values]


def _tensor(column: Column, flat: Iterator[Any], rows: int | None) -> Any:
    values = next(flat)
    if column.is_ragged:
        values.set_shape((None,))
        splits = next(flat)
        splits.set_shape((None if rows is None else rows + 1,))
        ragged: Any = tf.RaggedTensor  # its makers are nowhere in TensorFlow's types
        return ragged.from_row_splits(values, splits, validate=False)
    values.set_shape((rows, *column.row_shape))
    return values


# ---- records that TensorFlow reads


def _of_examples(plan: _Plan, element: Callable[[dict[str, Any]], Any]) -> tf.data.Dataset:
    columns, spans = plan.records.columns, plan.records.spans
    files = [shard_files("tfrecord", span.name, columns)[0] for span in spans]
    names = np.array([os.path.join(plan.records.folder, file) for file in files], str)
    starts = np.array([span.start for span in spans], np.int64)
    rows = np.array([span.rows for span in spans], np.int64)

    def records(*shard: Any) -> tf.data.Dataset:
        name, start, count = shard
        return tf.data.TFRecordDataset(name, buffer_size=READ_BYTES).skip(start).take(count)

    def drawn(iteration: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        rng = plan.generator(int(iteration))
        return rng.permutation(len(spans)), rng.integers(2**62, size=1)

    def shuffled(iteration: Any) -> tf.data.Dataset:
        order, seed = tf.numpy_function(drawn, [iteration], [tf.int64, tf.int64])
        order.set_shape((None,))
        parts = tf.data.Dataset.from_tensor_slices(
            tuple(tf.gather(tf.constant(each), order) for each in (names, starts, rows))
        )
        messages = parts.interleave(
            records, cycle_length=FILES_AT_ONCE, block_length=RECORDS_OF_A_FILE
        )
        groups = messages.batch(plan.buffer).enumerate()
        return groups.flat_map(lambda *pair: _mixed(pair[1], [seed[0], pair[0]]))

    if plan.seed is None:
        found = tf.data.Dataset.from_tensor_slices((names, starts, rows)).flat_map(records)
    else:
        found = _iterations().flat_map(shuffled)
    features = {column.name: _feature(column) for column in columns}

    def parsed(messages: Any) -> Any:
        values = tf.io.parse_example(messages, features)
        return element({c.name: tf.cast(values[c.name], _dtypes(c)[0]) for c in columns})

    return found.batch(plan.size, drop_remainder=plan.drop_remainder).map(parsed)


def _mixed(messages: Any, seed: Any) -> tf.data.Dataset:
    """Records in an order that depends on the seed alone: `shuffle` adds the program's own."""
    random: Any = tf.random
    mixed = random.experimental.stateless_shuffle(messages, seed, alg="philox")
    return tf.data.Dataset.from_tensor_slices(mixed)


def _feature(column: Column) -> Any:
    """How TensorFlow reads a column out of a message, in which all integers are int64."""
    dtype = tf.int64 if column.dtype == "int32" else _dtypes(column)[0]
    if column.is_ragged:
        return tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
    return tf.io.FixedLenFeature(column.row_shape, dtype)
