"""`ef.dataset`: the records that were written, in order or shuffled, each in one worker."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import bits, child

import embedfreeze as ef
from embedfreeze.batch.columns import Block, Column, Ragged, block_rows, part
from embedfreeze.batch.manifest import Manifest
from embedfreeze.batch.records import worker_spans
from embedfreeze.batch.shards import SHARD_FORMATS, shard_writer
from embedfreeze.dataset import RUNNING
from embedfreeze.errors import FileError

pytest.importorskip("pyarrow")

FORMATS = [*SHARD_FORMATS]
SLOW = pytest.mark.slow
# Each way of reading once in the fast suite: mapped arrays, and TensorFlow's own records.
FEW_FORMATS = [
    name if name in ("npy", "tfrecord") else pytest.param(name, marks=SLOW) for name in FORMATS
]
N = 700
POOLED = [Column("features", "float32", (3,)), Column("label", "int64"), Column("id", "str")]
IDS = [Column("features", "int32", (None,)), Column("label", "float32")]


def pooled(n: int = N) -> Block:
    """Record i has the label i."""
    features = np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32)
    return {"features": features, "label": np.arange(n), "id": [f"\u00e9{i}" for i in range(n)]}


def made(
    folder: Path, format: str, columns: Sequence[Column], block: Block, shards: Sequence[int]
) -> Path:
    """A folder of shards of these sizes; the last one has what is left."""
    n, low, listed = block_rows(block), 0, []
    for number, size in enumerate([*shards, n]):
        high = min(n, low + size)
        with shard_writer(format, folder, f"part-{number}", columns) as writer:
            writer.append({name: part(values, low, high) for name, values in block.items()})
        listed.append({"name": f"part-{number}", "texts": high - low, "skipped": 0})
        low = high
    Manifest(format, list(columns), listed).write(folder)
    return folder


@pytest.fixture(params=FEW_FORMATS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return made(tmp_path, request.param, POOLED, pooled(), [300, 0, 260])


def labels(batches: Any) -> list[int]:
    return [label for _, batch in batches for label in np.atleast_1d(batch.numpy()).tolist()]


# ---- in order


@pytest.mark.parametrize("size", [1, 256, 700, 5000])
def test_batches_in_order(size: int, folder: Path) -> None:
    found = ef.dataset(folder, batch_size=size)
    batches = list(found)
    assert len(found) == len(batches) == -(-N // size)
    assert [len(label) for _, label in batches[:-1]] == [size] * (N // size - (N % size == 0))
    features = np.concatenate([features.numpy() for features, _ in batches])
    assert bits(features) == bits(pooled()["features"])  # type: ignore[arg-type]
    assert labels(batches) == [*range(N)]
    assert [spec.shape.as_list() for spec in found.element_spec] == [[None, 3], [None]]
    assert [spec.dtype for spec in found.element_spec] == [tf.float32, tf.int64]


def test_full_batches_alone(folder: Path) -> None:
    found = ef.dataset(folder, batch_size=64, drop_remainder=True)
    assert len(found) == N // 64
    assert labels(found) == [*range(N // 64 * 64)]
    assert [spec.shape.as_list() for spec in found.element_spec] == [[64, 3], [64]]
    assert len(list(ef.dataset(folder, batch_size=N + 1, drop_remainder=True))) == 0


def test_single_records(folder: Path) -> None:
    found = ef.dataset(folder)
    assert len(found) == N
    assert labels(found) == [*range(N)]
    assert [spec.shape.as_list() for spec in found.element_spec] == [[3], []]


def test_columns(folder: Path) -> None:
    batches = list(ef.dataset(folder, batch_size=300, columns=["id", "label"]))
    assert [sorted(batch) for batch in batches] == [["id", "label"]] * 3
    ids = [one.decode() for batch in batches for one in batch["id"].numpy().tolist()]
    assert ids == pooled()["id"]
    (only,) = ef.dataset(folder, batch_size=N, columns=["features"])
    assert [*only] == ["features"]


@pytest.mark.parametrize("format", FEW_FORMATS)
def test_rows_of_their_own_lengths(format: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [rng.integers(-5, 2**31, rng.integers(0, 6)).tolist() for _ in range(N)]
    scores = rng.random(N, np.float32)
    block: Block = {"features": Ragged.of(rows, np.int64), "label": scores}
    columns = [Column("features", "int64", (None,)), IDS[1]]
    rows32 = [[value % 1000 for value in row] for row in rows]
    for kinds, expected in ((columns, rows), (IDS, rows32)):
        dtype = kinds[0].dtype
        made(tmp_path, format, kinds, {**block, "features": Ragged.of(expected, dtype)}, [300, 260])
        for shuffle_seed in (None, 3):
            batches = list(ef.dataset(tmp_path, batch_size=64, shuffle_seed=shuffle_seed))
            assert all(isinstance(ids, tf.RaggedTensor) for ids, _ in batches)
            assert {ids.dtype for ids, _ in batches} == {tf.as_dtype(dtype)}
            found = [row for ids, _ in batches for row in ids.to_list()]
            by_score = dict(zip(scores.tolist(), expected, strict=True))
            assert found == [by_score[score] for _, s in batches for score in s.numpy().tolist()]
            assert (found == expected) == (shuffle_seed is None)
        single = list(ef.dataset(tmp_path))
        assert [ids.numpy().tolist() for ids, _ in single] == expected
        full = ef.dataset(tmp_path, batch_size=64, drop_remainder=True)
        assert full.element_spec[0].shape.as_list() == [64, None]
        assert [row for ids, _ in full for row in ids.to_list()] == expected[:640]


@pytest.mark.parametrize("format", FORMATS)
def test_features_without_labels(format: str, tmp_path: Path) -> None:
    block = {"features": pooled()["features"]}
    made(tmp_path, format, POOLED[:1], block, [])
    (found,) = ef.dataset(tmp_path, batch_size=N)
    assert bits(found.numpy()) == bits(block["features"])  # type: ignore[arg-type]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shuffle_seed", [None, 1])
def test_no_records_at_all(format: str, shuffle_seed: int | None, tmp_path: Path) -> None:
    made(tmp_path, format, POOLED, pooled(0), [])
    for batch_size in (None, 5):
        found = ef.dataset(tmp_path, batch_size=batch_size, shuffle_seed=shuffle_seed)
        assert (len(found), list(found)) == (0, [])


# ---- shuffled


def orders(folder: Path, seed: int, iterations: int = 3, **options: Any) -> list[list[int]]:
    found = ef.dataset(folder, batch_size=64, shuffle_seed=seed, **options)
    return [labels(found) for _ in range(iterations)]


CHILD = """
import json, sys
from pathlib import Path
import embedfreeze as ef
import tensorflow as tf
tf.random.set_seed(5)  # which has no part in it
for folder in sys.argv[1:]:
    found = ef.dataset(folder, batch_size=64, shuffle_seed=7, shuffle_buffer=200)
    orders = [[int(i) for _, batch in found for i in batch.numpy()] for _ in range(3)]
    print(json.dumps(orders))
"""


@SLOW
def test_a_new_process_repeats_the_orders(tmp_path: Path) -> None:
    folders = []
    for format in FORMATS:
        (tmp_path / format).mkdir()
        folders.append(made(tmp_path / format, format, POOLED, pooled(), [300, 0, 260]))
    printed = child(CHILD, *folders).splitlines()
    theirs = [json.loads(line) for line in printed if line.startswith("[[")]
    assert theirs == [orders(folder, 7, shuffle_buffer=200) for folder in folders]


def test_each_iteration_has_an_order_of_its_own(folder: Path) -> None:
    first = orders(folder, 0)
    assert first == orders(folder, 0)
    found = [*first, *orders(folder, 1)]
    assert all(sorted(order) == [*range(N)] for order in found)
    assert len({tuple(order) for order in [*found, [*range(N)]]}) == 7
    again = ef.dataset(folder, batch_size=64, shuffle_seed=0).repeat(3)
    assert labels(again) == [*itertools.chain.from_iterable(first)]
    singles = ef.dataset(folder, shuffle_seed=0)
    assert sorted(labels(singles)) == [*range(N)]


@pytest.mark.parametrize("buffer", [1, 200, 10**6])
def test_records_stay_whole(buffer: int, folder: Path) -> None:
    block: Any = pooled()
    found = ef.dataset(folder, batch_size=50, shuffle_seed=2, shuffle_buffer=buffer)
    seen = []
    for features, label in found:
        assert bits(features.numpy()) == bits(block["features"][label.numpy()])
        seen += label.numpy().tolist()
    assert sorted(seen) == [*range(N)]


def test_shards_are_mixed(folder: Path) -> None:
    """Already in the first batch, and where the buffer holds much less than a shard."""
    for buffer in (64, 10**6):
        first = orders(folder, 0, 1, shuffle_buffer=buffer)[0][: 2 * buffer]
        kinds = {label // 300 for label in first}
        assert len(kinds) > 1
    order = np.array(orders(folder, 0, 1, shuffle_buffer=10**6)[0])
    assert abs(np.corrcoef(order, np.arange(N))[0, 1]) < 0.15
    assert np.abs(np.diff(order)).mean() > N / 5


# ---- workers


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=SLOW), 7])
def test_each_record_is_in_one_worker(count: int, folder: Path) -> None:
    for seed in (None, 5):
        parts = [
            ef.dataset(folder, batch_size=64, shard=(index, count), shuffle_seed=seed)
            for index in range(count)
        ]
        found = [labels(one) for one in parts]
        assert sorted(itertools.chain.from_iterable(found)) == [*range(N)]
        assert [len(one) for one in parts] == [-(-len(labels) // 64) for labels in found]
        policy = parts[0].options().experimental_distribute.auto_shard_policy
        assert policy == tf.data.experimental.AutoShardPolicy.OFF
        if count > 3:
            assert max(map(len, found)) - min(map(len, found)) <= 1


def test_workers_take_turns_with_shards() -> None:
    listed = [{"name": str(i), "texts": i % 3, "skipped": 0} for i in range(9)]
    manifest = Manifest("npy", POOLED, listed)
    names = [[span.name for span in worker_spans(manifest, i, 4)] for i in range(4)]
    assert names == [["1", "7"], ["2", "8"], ["4"], ["5"]]
    more = [[(s.name, s.start, s.stop) for s in worker_spans(manifest, i, 10)] for i in range(10)]
    assert more[:3] == [[], [("1", 0, 1)], [("2", 0, 1)]]
    assert sum(map(len, more)) == manifest.texts == 9


# ---- several iterations at a time


@pytest.mark.parametrize("seed", [None, 4])
def test_iterations_that_run_at_the_same_time(seed: int | None, folder: Path) -> None:
    """More of them than are kept in the middle of their records."""
    count = RUNNING + 2
    found = ef.dataset(folder, batch_size=100, shuffle_seed=seed)
    expected = ef.dataset(folder, batch_size=100, shuffle_seed=seed)
    one_by_one = [labels(expected) for _ in range(count)]
    running = [iter(found) for _ in range(count)]
    firsts = [[next(one)] for one in running]
    together = [labels([*first, *rest]) for first, rest in zip(firsts, running, strict=True)]
    if seed is None:
        assert together == one_by_one
    else:  # which one is the first to begin is not told
        assert sorted(together) == sorted(one_by_one)


def test_an_iteration_that_is_left(folder: Path) -> None:
    found = ef.dataset(folder, batch_size=10)
    for _ in range(2 * RUNNING):
        assert labels(found.take(3)) == [*range(30)]
    assert labels(found) == [*range(N)]
    assert labels(found.skip(69)) == [*range(690, N)]


# ---- models


def test_fit(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    train = ef.dataset(folder, batch_size=64, shuffle_seed=0)
    history = model.fit(
        train.map(lambda features, _: (features, tf.reduce_sum(features, 1))), epochs=4, verbose=0
    )
    losses = history.history["loss"]
    assert losses[-1] < losses[0] / 4
    assert len(model.predict(ef.dataset(folder, batch_size=64), verbose=0)) == N


def test_a_strategy_divides_batches(folder: Path) -> None:
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    for shard in (None, (0, 1)):
        divided = strategy.experimental_distribute_dataset(
            ef.dataset(folder, batch_size=64, shard=shard)
        )
        assert labels(divided) == [*range(N)]


# ---- what is wrong


def test_a_job_that_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="run the same embedfreeze encode again"):
        ef.dataset(tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, received 0"),
        ({"shuffle_seed": -1}, "shuffle_seed must not be negative, received -1"),
        ({"shuffle_buffer": 0}, "shuffle_buffer must be at least 1, received 0"),
        ({"drop_remainder": True}, "needs batches: give batch_size="),
        ({"shard": (2, 2)}, r"shard must be \(index, count\).* received \(2, 2\)"),
        ({"shard": (-1, 2)}, r"received \(-1, 2\)"),
        ({"columns": ["x"]}, r"some of features, label, id, received \['x'\]"),
        ({"columns": []}, r"received \[\]"),
        ({"columns": "id"}, "received 'id'"),
    ],
)
def test_wrong_calls(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    made(tmp_path, "npy", POOLED, pooled(2), [])
    with pytest.raises(ValueError, match=told):
        ef.dataset(tmp_path, **options)


def test_a_folder_without_features(tmp_path: Path) -> None:
    made(tmp_path, "npy", POOLED[1:], {"label": np.arange(2), "id": ["a", "b"]}, [])
    with pytest.raises(ValueError, match=r"some of label, id, received \['features', 'label'\]"):
        ef.dataset(tmp_path)
    assert len(list(ef.dataset(tmp_path, columns=["id"]))) == 2


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "tfrecord"])
def test_shards_that_are_not_those_of_the_manifest(format: str, tmp_path: Path) -> None:
    made(tmp_path, format, POOLED, pooled(), [300])
    with shard_writer(format, tmp_path, "part-0", POOLED) as writer:
        writer.append(pooled(5))
    for seed in (None, 1):
        found = ef.dataset(tmp_path, batch_size=64, shuffle_seed=seed)
        with pytest.raises(tf.errors.OpError, match="must have the 300 records of the manifest, "):
            list(found)


def test_records_that_are_missing_in_a_tfrecord_file(tmp_path: Path) -> None:
    made(tmp_path, "tfrecord", POOLED, pooled(), [300])
    with shard_writer("tfrecord", tmp_path, "part-0", POOLED) as writer:
        writer.append(pooled(5))
    for seed in (None, 1):
        found = ef.dataset(tmp_path, batch_size=64, shuffle_seed=seed)
        with pytest.raises(tf.errors.OpError):
            list(found)
