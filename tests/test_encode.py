"""Features of a corpus, against the vocabulary's ids and plain NumPy, in every format of files."""

import csv
import filecmp
import gzip
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from pyarrow import parquet
from samples import put
from sklearn.feature_extraction.text import TfidfVectorizer
from test_cli import shown_on_a_terminal

import embedfreeze as ef
from embedfreeze import storage
from embedfreeze.batch.columns import Ragged
from embedfreeze.batch.jobfolder import JobFolder
from embedfreeze.batch.manifest import Manifest
from embedfreeze.batch.shards import SHARD_FORMATS, read_shard
from embedfreeze.cli import main
from embedfreeze.errors import FileError, FormatError, UnknownTokenError, VocabularyError

DATA = Path(__file__).parents[1] / "data"
SENTENCES = DATA / "sentences.tsv"
ROWS = [line.split("\t") for line in SENTENCES.read_text("utf-8").split("\n")[1:-1]]
SOURCES, LABELS, TEXTS = ([row[i] for row in ROWS] for i in range(3))
FEATURES = ["mean", "sum", "sqrtn", "max"]
SMALL = 20_000  # bytes of the sample in a shard
Float32 = npt.NDArray[np.float32]


@pytest.fixture(scope="module", name="aligned")
def _aligned() -> ef.AlignedEmbeddings:
    vocabulary = ef.Vocabulary.from_counts(ef.count_corpus(SENTENCES, min_count=2))
    return ef.load(DATA / "glove.6B.50d.sample.txt", vocabulary)


@pytest.fixture(scope="module", name="table")
def _table(aligned: ef.AlignedEmbeddings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "table.safetensors"
    aligned.save(path)
    return path


def blocks(folder: Path) -> Iterator[dict[str, Any]]:
    manifest = Manifest.read(folder)
    for shard in manifest.shards:
        yield read_shard(manifest.output, str(folder), shard["name"], manifest.columns)


def column(folder: Path, name: str) -> Any:
    """A column of all shards: an array, or a list of texts or of rows."""
    found = [block[name] for block in blocks(folder)]
    if isinstance(found[0], Ragged):
        return [row.tolist() for values in found for row in values]
    return np.concatenate(found) if isinstance(found[0], np.ndarray) else [*chain(*found)]


def same_folders(a: Path, b: Path) -> bool:
    names = sorted(os.listdir(a))
    return (
        names == sorted(os.listdir(b)) and filecmp.cmpfiles(a, b, names, shallow=False)[0] == names
    )


def pooled(matrix: Float32, ids: list[int], how: str, weights: Any = None) -> Float32:
    """One text, a token at a time."""
    rows = [matrix[i] for i in ids]
    if weights is not None:
        rows = [row * weights[i] for row, i in zip(rows, ids, strict=True)]
    if not rows:
        return np.zeros(matrix.shape[1], np.float32)
    if how == "max":
        return np.max(rows, axis=0)
    total = np.zeros(matrix.shape[1], np.float32)
    for row in rows:
        total += row
    count = np.float32(len(rows))
    return total / {"sum": np.float32(1), "mean": count, "sqrtn": np.sqrt(count)}[how]


def ids_of(aligned: ef.AlignedEmbeddings, texts: list[str], most: int | None = None) -> Any:
    vocabulary = aligned.vocabulary
    return [vocabulary.id_rows([vocabulary.splitter(text)[:most]])[0] for text in texts]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("how", FEATURES)
def test_pooled_vectors_are_those_of_a_token_at_a_time(
    how: str, processes: int, aligned: ef.AlignedEmbeddings, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    manifest = ef.encode(
        table,
        SENTENCES,
        out,
        features=how,
        label="label",
        id="source",
        shard_bytes=SMALL,
        processes=processes,
    )
    assert manifest.texts == len(TEXTS)
    assert len(manifest.shards) > 5
    expected = np.array([pooled(aligned.matrix, ids, how) for ids in ids_of(aligned, TEXTS)])
    assert column(out, "features").tobytes() == expected.tobytes()
    assert column(out, "label").tolist() == list(map(int, LABELS))
    assert column(out, "id") == SOURCES


@pytest.mark.parametrize("most", [None, 7])
def test_ids_are_those_of_the_vocabulary(
    most: int | None, aligned: ef.AlignedEmbeddings, table: Path, tmp_path: Path
) -> None:
    ef.encode(table, SENTENCES, tmp_path / "ragged", features="ragged", max_length=most)
    assert column(tmp_path / "ragged", "ids") == ids_of(aligned, TEXTS, most)
    length = most or 40
    ef.encode(table, SENTENCES, tmp_path / "ids", features="ids", max_length=length)
    found = column(tmp_path / "ids", "ids")
    assert (found == aligned.vocabulary.encode(TEXTS, max_length=length)).all()
    assert found.dtype == np.int32


def test_tf_idf_weights_are_those_of_scikit_learn(
    aligned: ef.AlignedEmbeddings, table: Path, tmp_path: Path
) -> None:
    vocabulary = aligned.vocabulary
    out = tmp_path / "out"
    ef.encode(table, SENTENCES, out, weights="tfidf", shard_bytes=SMALL)
    weights = np.load(out / "weights.npy")
    peer = TfidfVectorizer(analyzer=vocabulary.splitter, vocabulary=list(vocabulary)[2:])
    peer.fit(TEXTS)
    np.testing.assert_allclose(weights[2:], peer.idf_, rtol=1e-6)
    rows = ids_of(aligned, TEXTS)
    unknown = sum(vocabulary.unknown_id in ids for ids in rows)
    assert weights[1] == np.float32(np.log((1 + len(TEXTS)) / (1 + unknown)) + 1)
    expected = np.array([pooled(aligned.matrix, ids, "mean", weights) for ids in rows])
    assert column(out, "features").tobytes() == expected.tobytes()


def test_sif_weights_are_those_of_the_counts(
    aligned: ef.AlignedEmbeddings, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ef.encode(table, SENTENCES, out, weights="sif", sif_a=1e-2, features="sum")
    counts = aligned.vocabulary.counts
    assert counts is not None
    total = sum(counts.values())
    shares = [counts.get(token, 0) / total for token in aligned.vocabulary]
    weights = np.array([1e-2 / (1e-2 + share) for share in shares], np.float32)
    assert np.load(out / "weights.npy").tobytes() == weights.tobytes()
    expected = [pooled(aligned.matrix, ids, "sum", weights) for ids in ids_of(aligned, TEXTS)]
    assert column(out, "features").tobytes() == np.array(expected).tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_stored_rows_of_other_dtypes(
    dtype: str, aligned: ef.AlignedEmbeddings, tmp_path: Path
) -> None:
    stored = aligned.astype(dtype)
    ef.encode(stored, SENTENCES, tmp_path / "out", features="sqrtn")
    values = storage.decode(stored.matrix)
    expected = [pooled(values, ids, "sqrtn") for ids in ids_of(aligned, TEXTS)]
    assert column(tmp_path / "out", "features").tobytes() == np.array(expected).tobytes()


@pytest.mark.parametrize("output", SHARD_FORMATS)
def test_every_output_holds_the_same(output: str, table: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"label": "label", "id": "source", "shard_bytes": SMALL}
    ef.encode(table, SENTENCES, tmp_path / "npy", **options)
    for processes in (1, 2):
        out = tmp_path / str(processes)
        ef.encode(table, SENTENCES, out, output=output, processes=processes, **options)
    assert same_folders(tmp_path / "1", tmp_path / "2")
    for name in ("features", "label", "id"):
        found, expected = column(tmp_path / "1", name), column(tmp_path / "npy", name)
        assert np.array_equal(found, expected)


MANY = ROWS * 6  # so that a stream has several batches


def as_csv(path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["source", "label", "text"], *MANY])
    return path


def as_tsv(path: Path) -> Path:
    lines = ["source\tlabel\ttext", *map("\t".join, MANY)]
    return put(path, "\n".join(lines).encode())


def as_jsonl(path: Path) -> Path:
    records = [{"text": text, "label": int(label), "source": name} for name, label, text in MANY]
    return put(path, "\n".join(map(json.dumps, records)).encode())


def as_gzip(path: Path) -> Path:
    as_tsv(path)
    return put(path, gzip.compress(path.read_bytes(), mtime=0))


def as_parquet(path: Path) -> Path:
    names, labels, texts = map(list, zip(*MANY, strict=True))
    table = pa.table({"source": names, "label": list(map(int, labels)), "text": texts})
    parquet.write_table(table, path, row_group_size=7000)
    return path


@pytest.mark.parametrize(
    ("name", "make"),
    [("t.csv", as_csv), ("t.jsonl", as_jsonl), ("t.tsv.gz", as_gzip), ("t.parquet", as_parquet)],
)
@pytest.mark.parametrize("weights", [None, "tfidf"])
def test_every_corpus_gives_the_same(
    name: str, make: Any, weights: Any, table: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"label": "label", "id": "source", "weights": weights}
    ef.encode(table, as_tsv(tmp_path / "t.tsv"), tmp_path / "tsv", **options)
    path = make(tmp_path / name)
    for processes in (1, 2):
        out = tmp_path / str(processes)
        ef.encode(table, path, out, processes=processes, shard_bytes=SMALL, **options)
        assert len(Manifest.read(out).shards) > 1
    assert same_folders(tmp_path / "1", tmp_path / "2")
    for column_name in ("features", "label", "id"):
        found = column(tmp_path / "1", column_name)
        assert np.array_equal(found, column(tmp_path / "tsv", column_name))


def test_a_table_in_memory_leaves_no_store_behind(
    aligned: ef.AlignedEmbeddings, table: Path, tmp_path: Path
) -> None:
    ef.encode(aligned, SENTENCES, tmp_path / "memory", shard_bytes=SMALL, processes=2)
    ef.encode(table, SENTENCES, tmp_path / "store", shard_bytes=SMALL)
    assert same_folders(tmp_path / "memory", tmp_path / "store")
    ef.encode(ef.read(table), SENTENCES, tmp_path / "mapped", shard_bytes=SMALL)
    assert same_folders(tmp_path / "mapped", tmp_path / "store")


def test_a_finished_job_does_nothing_and_another_is_refused(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = ef.encode(table, SENTENCES, out, shard_bytes=SMALL)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = ef.encode(table, SENTENCES, out, shard_bytes=SMALL)
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    with pytest.raises(FileError, match="holds another job, which differs in: features: name"):
        ef.encode(table, SENTENCES, out, shard_bytes=SMALL, features="max")
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    ef.encode(table, SENTENCES, out, output="npz", features="max", overwrite=True)
    assert sorted(os.listdir(out)) == ["manifest.json", "part-00000.npz"]


def test_a_job_goes_on_behind_what_is_done(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    ef.encode(table, SENTENCES, whole, shard_bytes=SMALL)
    record, left = JobFolder.record, 4

    def stopping(self: JobFolder, shard: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        record(self, shard)

    monkeypatch.setattr(JobFolder, "record", stopping)
    with pytest.raises(KeyboardInterrupt):
        ef.encode(table, SENTENCES, out, shard_bytes=SMALL, processes=1)
    monkeypatch.undo()
    assert not (out / "manifest.json").exists()
    done = {path: path.stat().st_mtime_ns for path in out.glob("part-0000[012]*")}
    assert len(done) == 3
    ef.encode(table, SENTENCES, out, shard_bytes=SMALL)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert same_folders(whole, out)


def test_the_command(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    call = ["encode", str(table), str(SENTENCES), "-o", str(out), "--label", "label"]
    assert main([*call, "--to", "tfrecord", "--features", "sum", "--shard-size", "50000"]) == 0
    printed = capsys.readouterr()
    assert printed.out == (f"{out}: 3,000 texts in 5 shards: features float32[50], label int64\n")
    assert printed.err == ""
    assert Manifest.read(out).output == "tfrecord"
    assert main(call) == 3
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz"])
def test_a_terminal_shows_a_bar_with_rate_and_time_left(
    name: str, table: Path, tmp_path: Path
) -> None:
    path = as_gzip(tmp_path / name) if name.endswith("gz") else as_tsv(tmp_path / name)
    options = ["--processes", 1, "--shard-size", 50_000]
    shown = shown_on_a_terminal("encode", table, path, "-o", tmp_path / "out", *options)
    assert re.search(
        rb"encode: +\d+%\|.* [\d.]+[kM]/[\d.]+[kM] \[\d\d:\d\d<\d\d:\d\d, .*B/s\]", shown
    )


def test_the_splitter_of_a_vocabulary_may_be_given(tmp_path: Path) -> None:
    vocabulary = ef.Vocabulary(["good", "case"], splitter=str.split)
    aligned = ef.load(DATA / "glove.6B.50d.sample.txt", vocabulary)
    corpus = put(tmp_path / "t.txt", b"good case\nGood, case!\n\n")
    ef.encode(aligned, corpus, tmp_path / "out", features="ragged", processes=1)
    assert column(tmp_path / "out", "ids") == [[2, 3], [1, 1], []]
    ef.encode(aligned, corpus, tmp_path / "keras", features="ragged", splitter=ef.Splitter())
    assert column(tmp_path / "keras", "ids") == [[2, 3], [2, 3], []]


def longest(text: str, n: int) -> list[str]:
    return [token for token in text.lower().split() if len(token) <= n]


@dataclass
class Longest:  # equal ones are no keys of a dict
    n: int

    def __call__(self, text: str) -> list[str]:
        return longest(text, self.n)


@pytest.mark.parametrize("make", [lambda n: partial(longest, n=n), Longest])
def test_functions_that_differ_in_what_they_hold_are_other_jobs(
    make: Any, table: Path, tmp_path: Path
) -> None:
    corpus = put(tmp_path / "t.txt", b"a good case\n")
    options: dict[str, Any] = {"features": "ragged", "processes": 1}
    ef.encode(table, corpus, tmp_path / "out", splitter=make(5), **options)
    ef.encode(table, corpus, tmp_path / "out", splitter=make(5), **options)  # the same job
    assert len(column(tmp_path / "out", "ids")[0]) == 3
    with pytest.raises(FileError, match="holds another job, which differs in: splitter"):
        ef.encode(table, corpus, tmp_path / "out", splitter=make(1), **options)
    ef.encode(table, corpus, tmp_path / "other", splitter=make(1), **options)
    assert len(column(tmp_path / "other", "ids")[0]) == 1


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"features": "median"}, ValueError, "features must be one of ids, ragged, mean"),
        ({"features": "ids"}, ValueError, "padded ids need a length"),
        ({"features": "ragged", "weights": "sif"}, ValueError, "weights are those of pooled"),
        ({"weights": "bm25"}, ValueError, "weights must be one of tfidf, sif"),
        ({"output": "csv"}, ValueError, "output must be one of npy"),
        ({"max_length": 0}, ValueError, "max_length must be at least 1"),
        ({"shard_bytes": 0}, ValueError, "shard_bytes must be at least 1"),
        ({"sif_a": 0.0}, ValueError, "sif_a must be above 0"),
        ({"engine": "spark"}, ValueError, "engine must be one of local, ray"),
        ({"address": "auto"}, ValueError, "an address is that of engine"),
        ({"label": "text"}, FormatError, "line 2: a label must be a whole number, received 'So"),
        ({"label": "lab"}, FormatError, "there must be one column named 'lab'"),
    ],
)
def test_wrong_calls_leave_nothing(
    options: dict[str, Any], kind: type[Exception], message: str, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        ef.encode(table, SENTENCES, tmp_path / "out", **options)
    assert not list(tmp_path.glob("out/part*"))
    ef.encode(table, SENTENCES, tmp_path / "out")  # what failed at once is in nobody's way


def test_tables_that_cannot_be_used(tmp_path: Path) -> None:
    glove = DATA / "glove.6B.50d.sample.txt"
    with pytest.raises(FormatError, match="a table must be a store"):
        ef.encode(glove, SENTENCES, tmp_path / "out")
    ef.convert(glove, tmp_path / "all.safetensors")
    with pytest.raises(VocabularyError, match="a table must be aligned to a vocabulary"):
        ef.encode(tmp_path / "all.safetensors", SENTENCES, tmp_path / "out")
    strict = ef.load(glove, ef.Vocabulary(["good"], unknown=None))
    with pytest.raises(UnknownTokenError, match="no token 'so', and no unknown token"):
        ef.encode(strict, SENTENCES, tmp_path / "out")
    with pytest.raises(VocabularyError, match="SIF weights need the counts"):
        ef.encode(
            ef.load(glove, ef.Vocabulary(["good"])), SENTENCES, tmp_path / "sif", weights="sif"
        )
