"""`embedfreeze encode` with corpora, folders and disks that nobody wishes for."""

import gzip
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encode_cases import WORDS, aligned, content, encoded, end, ran, records, started
from hypothesis import example, given
from hypothesis import strategies as st
from samples import put
from test_containers import PACK

import embedfreeze as ef
from embedfreeze.batch import features, lined, tokenids
from embedfreeze.batch.jobfolder import JobFolder, ShardRecord
from embedfreeze.batch.texts import Columns
from embedfreeze.errors import FileError, FormatError
from embedfreeze.splitters import ASCII_WHITE_SPACE

TEXTS = ["good case", "", "bad value the a", "unheard of", "a b a b"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "t.safetensors"
    aligned().save(path)
    return path


def ids_of(texts: list[str]) -> list[list[int]]:
    """By the vocabulary, one text after the other."""
    vocabulary = aligned().vocabulary
    return vocabulary.id_rows(vocabulary.splitter(text) for text in texts)


def ragged(folder: Path) -> list[list[int]]:
    found = records(folder)["ids"]
    return [found[row].tolist() for row in range(len(found))]


# ---- texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["mean", "ragged", "ids"])
def test_a_corpus_without_a_text(
    how: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, out = put(tmp_path / "empty.txt", b""), tmp_path / "out"
    options = ["--features", how, "--max-length", 3]
    assert encoded(table, empty, "-o", out, *options) == 4
    assert "must have texts, received none in" in capsys.readouterr().err
    put(tmp_path / "some.txt", b"good\n")
    assert encoded(table, empty, tmp_path / "some.txt", empty, "-o", out, *options) == 0
    assert ef.encode(table, tmp_path / "some.txt", tmp_path / "one", features="mean").texts == 1
    assert len(next(iter(records(out).values()))) == 1


@pytest.mark.parametrize("to", ["npy", "npz", "parquet", "tfrecord", "hdf5"])
def test_texts_that_are_empty_are_records(to: str, table: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "t.txt", b"\n" * 5000 + b"\r\n \n\t")
    assert encoded(table, path, "-o", tmp_path / "o", "--to", to, "--shard-size", 2000) == 0
    found = records(tmp_path / "o")["features"]
    assert found.shape == (5003, 4)
    assert not found.any()
    assert encoded(table, path, "-o", tmp_path / "r", "--to", to, "--features", "ragged") == 0
    assert ragged(tmp_path / "r") == [[]] * 5003


def test_line_ends(table: Path, tmp_path: Path) -> None:
    data = b"\xef\xbb\xbfgood\r\nbad\nthe\ra\r\r\ncase\0b\n\nend"
    texts = ["good", "bad", "the\ra\r", "case\0b", "", "end"]
    for size in (1, 7, 1000):
        out = tmp_path / str(size)
        path = put(tmp_path / "t.txt", data)
        assert encoded(table, path, "-o", out, "--features", "ragged", "--shard-size", size) == 0
        assert ragged(out) == ids_of(texts)
    path = put(tmp_path / "t.txt.gz", gzip.compress(data))
    assert encoded(table, path, "-o", tmp_path / "gz", "--features", "ragged") == 0
    assert ragged(tmp_path / "gz") == ids_of(texts)


ODD = [
    "a\nb",
    "\n",
    "the\r\ncase",
    "a\u2028b\x85a\x1cb",
    "\u039f\u03a3\n\u039f\u03a3",
    "",
    '"a","b"',
]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_texts_with_line_feeds(kind: str, table: Path, tmp_path: Path) -> None:
    path = tmp_path / f"t.{kind}"
    if kind == "jsonl":
        put(path, "".join(json.dumps({"text": text}) + "\n" for text in ODD).encode())
    elif kind == "csv":
        rows = ['"' + text.replace('"', '""') + '"' for text in ODD]
        put(path, ("text\r\n" + "\r\n".join(rows)).encode())
    else:
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet

        pyarrow.parquet.write_table(pa.table({"text": ODD}), path)
    assert encoded(table, path, "-o", tmp_path / "o", "--features", "ragged") == 0
    assert ragged(tmp_path / "o") == ids_of(ODD)


def test_half_a_surrogate_pair(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["a \ud800 b", "\udc80", "x\udfff\ud83d", "\ud83d\ude00 a"]
    lines = [json.dumps({"text": text, "id": text, "n": i}) for i, text in enumerate(texts)]
    path = put(tmp_path / "t.jsonl", "\n".join(lines).encode())
    for name in ("keras", "whitespace"):
        out = tmp_path / name
        assert encoded(table, path, "-o", out, "--features", "ragged", "--tokenizer", name) == 0
        assert ragged(out) == [[9, 1, 10], [1], [1], [1, 9]]
    more = ["--separators", "[^a-z\ud800-\udfff]+", "--tokenizer", "keras"]
    assert encoded(table, path, "-o", tmp_path / "r", "--features", "ragged", *more) == 0
    assert len(ragged(tmp_path / "r")) == 4
    out = tmp_path / "ids"
    assert encoded(table, path, "-o", out, "--id", "id") == 4
    assert "t.jsonl: line 1: an id must be UTF-8" in capsys.readouterr().err
    assert encoded(table, path, "-o", out, "--id", "id", "--on-bad-record", "skip") == 0
    assert "warning: 3 bad records were left out, the first: " in capsys.readouterr().err
    assert records(out)["id"] == ["\U0001f600 a"]


# ---- bad records ---------------------------------------------------------------------------------


def test_bytes_that_are_not_utf_8(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "t.txt", b"good\nbad \xff\ncase\n\xc3\n\xed\xa0\x80\nend\n")
    for size in (5, 1000):
        out = tmp_path / f"o{size}"
        options = [table, path, "-o", out, "--shard-size", size, "--features", "ragged"]
        assert encoded(*options) == 4
        assert re.search(r"t\.txt: line 2: a record must be UTF-8", capsys.readouterr().err)
        assert encoded(*options, "--on-bad-record", "skip", "--force") == 0
        said = capsys.readouterr().err
        assert "3 bad records were left out, the first: " in said
        assert "t.txt: line 2: " in said
        assert ragged(out) == ids_of(["good", "case", "end"])
        manifest = json.loads((out / "manifest.json").read_text("utf-8"))
        assert sum(shard["skipped"] for shard in manifest["shards"]) == 3


def corpus_of(kind: str, folder: Path, labels: list[Any]) -> Path:
    path = folder / f"t.{kind}"
    if kind == "parquet":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet

        texts = ["good"] * len(labels)
        made = pa.table({"text": texts, "label": [str(label) for label in labels]})
        pyarrow.parquet.write_table(made, path)
    elif kind == "jsonl":
        rows = [json.dumps({"text": "good", "label": label}) for label in labels]
        put(path, "\n".join(rows).encode())
    else:
        tab = "\t" if kind == "tsv" else ","
        rows = [f"good{tab}{label}" for label in labels]
        put(path, "\n".join([f"text{tab}label", *rows]).encode())
    return path


@pytest.mark.parametrize(
    ("kind", "place"),
    [("tsv", "line 3"), ("csv", "line 3"), ("jsonl", "line 2"), ("parquet", "row 1")],
)
def test_labels_that_are_none(
    kind: str, place: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [1, "one", -(2**63) + 1, 2**63, 0.5, "", "1_0", 2**63 - 1, "9" * 5000, "nan", "inf"]
    path = corpus_of(kind, tmp_path, labels)
    options = [table, path, "-o", tmp_path / "o", "--label", "label"]
    assert encoded(*options) == 4
    said = capsys.readouterr().err
    assert f"t.{kind}: {place}: a label must be a whole number, received 'one'" in said
    assert encoded(*options, "--on-bad-record", "skip", "--force") == 0
    assert "8 bad records were left out" in capsys.readouterr().err
    found = records(tmp_path / "o")["label"]
    assert (found.dtype, found.tolist()) == (np.int64, [1, -(2**63) + 1, 2**63 - 1])


def test_labels_that_are_decimals(table: Path, tmp_path: Path) -> None:
    from decimal import Decimal

    assert Columns(label="l").record(["", Decimal(3)])[1] == 3
    assert Columns(label="l", label_dtype="float32").record(["", Decimal("1.5")])[1] == 1.5
    with pytest.raises(ValueError, match="a label must be a whole number, received Decimal"):
        Columns(label="l").record(["", Decimal("1.5")])


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_labels_with_names(
    dtype: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = corpus_of("csv", tmp_path, ["neg", "pos", "neg", "Neg"])
    options = [table, path, "-o", tmp_path / "o", "--label", "label", "--label-names", "neg,pos"]
    options += ["--label-dtype", dtype]
    assert encoded(*options) == 4
    assert "line 5: a label must be one of neg, pos, received 'Neg'" in capsys.readouterr().err
    assert encoded(*options, "--on-bad-record", "skip", "--force") == 0
    found = records(tmp_path / "o")["label"]
    assert (found.dtype, found.tolist()) == (np.int64, [0, 1, 0])


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "parquet", "txt"])
@pytest.mark.parametrize("column", ["--column", "--label", "--id"])
def test_a_column_that_is_missing(
    column: str, kind: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if (kind, column) == ("txt", "--column"):
        pytest.skip("a text on each line has no column")
    path = corpus_of(kind, tmp_path, [1, 2])
    assert encoded(table, path, "-o", tmp_path / "o", column, "nothing") == 4
    said = capsys.readouterr().err
    assert f"t.{kind}: " in said
    assert ("nothing" if kind != "txt" else f"no {column[2:]}") in said
    assert not list((tmp_path / "o").glob("part-*"))


def test_a_bad_record_far_behind_names_its_line(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [b'{"text": "good"}'] * 1000
    lines[700] = lines[701] = b'{"text": 3}'
    path = put(tmp_path / "t.jsonl", b"\n".join(lines))
    options = [table, path, "-o", tmp_path / "o", "--shard-size", 999]
    assert encoded(*options) == 4
    assert "t.jsonl: line 701: 'text' must be a text, received 3" in capsys.readouterr().err
    assert encoded(*options, "--on-bad-record", "skip", "--force") == 0
    assert "2 bad records were left out, the first: " in capsys.readouterr().err
    assert len(records(tmp_path / "o")["features"]) == 998


# ---- files ---------------------------------------------------------------------------------------


def test_names_of_corpora(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c").mkdir()
    b = put(tmp_path / "c" / "b.txt", b"bad\n")
    a = put(tmp_path / "c" / "a.txt", b"good\n")
    assert encoded(table, b, a, b, "-o", tmp_path / "d", "--features", "ragged") == 0
    assert ragged(tmp_path / "d") == ids_of(["bad", "good", "bad"])
    assert (
        encoded(table, tmp_path / "c" / "*.txt", "-o", tmp_path / "g", "--features", "ragged") == 0
    )
    assert ragged(tmp_path / "g") == ids_of(["good", "bad"])
    for wrong, said in (
        (tmp_path / "c", "is a folder: name its files"),
        (tmp_path / "none*", "no such file, and no file that fits"),
    ):
        assert encoded(table, wrong, "-o", tmp_path / "w") == 3
        assert said in capsys.readouterr().err
        assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst", "zip"])
def test_packed_corpora(kind: str, table: Path, tmp_path: Path) -> None:
    data = "\n".join(TEXTS * 200).encode()
    path = tmp_path / f"t.txt.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("t.txt", data)
    else:
        put(path, PACK[kind](data))
    options = ["--features", "ragged", "--shard-size", 2000]
    assert encoded(table, path, "-o", tmp_path / "o", *options) == 0
    assert ragged(tmp_path / "o") == ids_of(TEXTS * 200)
    assert len(list((tmp_path / "o").glob("part-*"))) > 6
    done = ran(table, path, "-o", tmp_path / "two", *options, "--processes", 2)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "two") == content(tmp_path / "o")


def test_a_packed_corpus_that_is_cut_off(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = gzip.compress(os.urandom(300_000).hex().encode())
    path = put(tmp_path / "t.txt.gz", data[: len(data) // 2])
    assert encoded(table, path, "-o", tmp_path / "o") == 4
    assert "t.txt.gz: " in capsys.readouterr().err
    assert not (tmp_path / "o" / "manifest.json").exists()


def test_a_corpus_that_is_changed_between_two_runs(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = put(tmp_path / "t.txt", b"good\nbad\n\xff\n"), tmp_path / "out"
    assert encoded(table, path, "-o", out, "--shard-size", 5) == 4
    assert list(out.glob("part-*"))
    before = content(out)
    put(path, b"bad\ngood\ncase\n")
    capsys.readouterr()
    assert encoded(table, path, "-o", out, "--shard-size", 5) == 3
    assert "holds another job, which differs in: corpus: name another" in capsys.readouterr().err
    assert content(out) == before
    assert encoded(table, path, "-o", out, "--shard-size", 5, "--force") == 0
    assert encoded(table, path, "-o", tmp_path / "new", "--shard-size", 5) == 0
    assert content(out) == content(tmp_path / "new")


def test_a_corpus_that_is_changed_while_it_is_read(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = put(tmp_path / "t.txt", b"good\nbad\n"), tmp_path / "out"
    real = JobFolder.record

    def changing(folder: JobFolder, shard: ShardRecord) -> None:
        if shard.name == "part-00000":
            put(path, b"case\nend\n")
            os.utime(path, (1, 1))
        real(folder, shard)

    with monkeypatch.context() as patch:
        patch.setattr(JobFolder, "record", changing)
        assert encoded(table, path, "-o", out, "--shard-size", 4) == 3
    assert "a corpus must stay as it is while a job reads it" in capsys.readouterr().err
    assert not (out / "manifest.json").exists()
    assert encoded(table, path, "-o", out, "--shard-size", 4) == 3
    assert encoded(table, path, "-o", out, "--shard-size", 4, "--force") == 0
    assert records(out)["features"].tolist() == [
        aligned().matrix[ids_of([word])[0][0]].tolist() for word in ("case", "end")
    ]


@pytest.mark.parametrize("kind", ["txt", "tsv", "csv"])
def test_a_corpus_that_is_cut_while_it_is_read(
    kind: str,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(lined, "BLOCK_BYTES", 1000)
    path, out = (
        put(tmp_path / f"t.{kind}", b"text\n" + b"good case\n" * 600_000),
        tmp_path / "out",
    )
    real = features.Features._block

    def cutting(self: features.Features, batch: Any) -> Any:
        os.truncate(path, 5000)
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(features.Features, "_block", cutting)
        assert encoded(table, path, "-o", out) in ((3, 4) if kind == "csv" else (3,))
    said = capsys.readouterr().err
    if kind == "csv":  # which may have been read ahead to its end
        assert "the file shrank from" in said or "must stay as it is" in said
    else:
        assert "was cut while it was read" in said
    assert not (out / "manifest.json").exists()
    assert encoded(table, path, "-o", out, "--force") == 0
    assert len(records(out)["features"]) in (500, 501)


# ---- folders -------------------------------------------------------------------------------------


def test_places_that_cannot_be_the_folder(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "t.txt", b"good\n")
    file = put(tmp_path / "file", b"mine")
    for out, said in (
        (file, "is a file: name a folder"),
        (tmp_path / "no" / "where", "cannot be written: No such file or directory: check the path"),
        (file / "in", "cannot be written: Not a directory: check the path"),
    ):
        for more in ((), ("--force",)):
            assert encoded(table, path, "-o", out, *more) == 3
            assert f"{out}: {said}" in capsys.readouterr().err
    assert file.read_bytes() == b"mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "t.txt"]


def test_a_folder_that_may_not_be_written(table: Path, tmp_path: Path) -> None:
    code = """
import locale, os, sys  # what lies where only root may read
from embedfreeze.cli import main
from embedfreeze.commands import encode
import embedfreeze as ef
arguments = sys.argv[1:]
ef.encode(arguments[0], arguments[1], arguments[3] + "-warm")
if os.getuid() == 0:
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
sys.exit(main(["encode", *arguments, "--processes", "1"]))
"""
    path = put(tmp_path / "t.txt", b"good\n")
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o555)
    for parent in (*table.parents, tmp_path, *tmp_path.parents):
        if parent.is_relative_to(tempfile.gettempdir()):
            parent.chmod(parent.stat().st_mode | 0o555)
    done = subprocess.run(
        [sys.executable, "-c", code, table, path, "-o", out], capture_output=True, text=True
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert "cannot be written: Permission denied: change the rights" in done.stderr
    assert os.listdir(out) == []


@pytest.mark.parametrize(
    "names",
    [
        ["mine.txt"],
        ["part-00000-0a1b.snappy.parquet"],  # Spark's
        ["part-00000.parquet"],
        ["job.json"],
        ["table.safetensors"],
        ["manifest.json"],
        ["progress.jsonl", "weights.npy"],
        ["part-00000.features.npy/"],
        [".hidden"],
    ],
)
def test_files_of_somebody_else_stay(
    names: list[str], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = put(tmp_path / "t.txt", b"good\n"), tmp_path / "out"
    out.mkdir()
    for name in names:
        if name.endswith("/"):
            (out / name).mkdir()
        else:
            put(out / name, b'{"mine": 1}\n')
    for more in ((), ("--force",)):
        assert encoded(table, path, "-o", out, *more) in (3, 4)
        assert "another" in capsys.readouterr().err.replace("new folder", "another")
        assert sorted(os.listdir(out)) == sorted(name.rstrip("/") for name in names)
        assert all(p.is_dir() or p.read_bytes() == b'{"mine": 1}\n' for p in out.iterdir())


def test_somebody_elses_file_in_the_folder_of_a_job(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = put(tmp_path / "t.txt", b"good\n"), tmp_path / "out"
    assert encoded(table, path, "-o", out) == 0
    for name in ("notes.txt", "part-00000-0a1b.snappy.parquet"):
        put(out / name, b"mine")
        before = content(out)
        assert encoded(table, path, "-o", out, "--features", "sum", "--force") == 3
        assert f"is not empty, it holds {name}: name a new folder" in capsys.readouterr().err
        assert content(out) == before
        (out / name).unlink()


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "first", [["--to", "npz"], ["--shard-size", 3], ["--weights", "tfidf"], []]
)
def test_another_job_is_replaced_as_a_whole(
    first: list[object],
    finished: bool,
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = (
        put(tmp_path / "t.txt", b"good\nbad\n\ncase\n" + b"\xff" * (not finished)),
        tmp_path / "o",
    )
    job = [table, path, "-o", out, "--shard-size", 7, "--features", "sum"]
    assert encoded(*job, *first) == (0 if finished else 4)
    before = content(out)
    capsys.readouterr()
    skip = ["--on-bad-record", "skip", "--features", "ragged"]
    if finished or not first or "--to" not in first:
        status = encoded(*job, *skip)
        assert (status, content(out) == before) == (3, True) or not any(
            name.startswith("part") for name in before
        )
    assert encoded(*job, *skip, "--force") == 0
    assert encoded(table, path, "-o", tmp_path / "new", *job[4:], *skip) == 0
    assert content(out) == content(tmp_path / "new")


def test_two_jobs_in_one_folder(table: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "t.txt", "\n".join(TEXTS * 20_000).encode())
    job = [table, path, "--shard-size", 5000]
    assert encoded(*job, "-o", tmp_path / "alone") == 0
    first = started(*job, "-o", tmp_path / "out", "--processes", 2)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("out/part-*")) and time.monotonic() < until:
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGSTOP)
    for more in ([], ["--force"], ["--features", "sum", "--force"]):
        second = ran(*job, "-o", tmp_path / "out", *more)
        assert second.returncode == 3
        assert second.stderr.count("\n") == 1
        assert "another job works on this folder: wait for its end" in second.stderr
    os.killpg(first.pid, signal.SIGCONT)
    _, err = first.communicate(timeout=120)
    assert (first.returncode, err) == (0, "")
    assert content(tmp_path / "out") == content(tmp_path / "alone")


# ---- disks ---------------------------------------------------------------------------------------

ON_A_SMALL_DISK = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
out = os.fsencode(sys.argv.pop(1))
if (libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, 0x44000, None)
        or libc.mount(b"tmpfs", out, b"tmpfs", 0, b"size=" + sys.argv.pop(1).encode())):
    sys.exit(77)
import shutil
kept = os.fsencode(sys.argv.pop(1))
shutil.copytree(kept, out, dirs_exist_ok=True)
def save():
    shutil.rmtree(kept)
    shutil.copytree(out, kept)
sys.argv[0] = "embedfreeze"
from embedfreeze.cli import main
status = main()
save()
sys.exit(status)
"""


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    "more", [["--weights", "tfidf"], ["--to", "tfrecord"], ["--to", "parquet"], ["--to", "npz"]]
)
def test_a_full_disk(more: list[str], processes: int, table: Path, tmp_path: Path) -> None:
    """One error, and with more room the same command ends with the same bytes."""
    path = put(tmp_path / "t.txt", "\n".join(TEXTS * 2000).encode())
    out, kept = tmp_path / "out", tmp_path / "kept"
    out.mkdir()
    kept.mkdir()
    job = [table, path, "-o", out, "--shard-size", 5000, *more]
    how = ["-c", ON_A_SMALL_DISK, out, "128k", kept, "encode", *job, "--processes", processes]
    done = subprocess.run(
        [sys.executable, *map(str, how)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode == 77:
        pytest.skip("no right to mount a small file system")
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert "cannot be written: No space left on device: free space there" in done.stderr
    assert not list(kept.glob(".*"))
    assert list(kept.glob("part-*"))
    job[3] = kept
    assert encoded(*job) == 0
    job[3] = tmp_path / "whole"
    assert encoded(*job) == 0
    assert content(kept) == content(tmp_path / "whole")


@pytest.mark.parametrize("limit", [300, 6000])
def test_files_that_may_not_grow(limit: int, table: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "t.txt", "\n".join(TEXTS * 2000).encode())
    job = [table, path, "-o", tmp_path / "out", "--weights", "tfidf", "--shard-size", 5000]
    done = ran(
        *job,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)
        ),
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert "cannot be written: File too large: raise the limit of file sizes" in done.stderr
    assert encoded(*job) == 0
    job[3] = tmp_path / "whole"
    assert encoded(*job) == 0
    assert content(tmp_path / "out") == content(tmp_path / "whole")


# ---- Ctrl-C --------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c(processes: int, table: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "t.txt", "\n".join(TEXTS * 50_000).encode())
    job = [table, path, "--shard-size", 5000, "--processes", processes]
    assert ran(*job, "-o", tmp_path / "whole").returncode == 0
    out = tmp_path / "out"
    for shards in (0, 1, 20):  # when the processes begin, and while they work
        there, until = len(list(out.glob("part-*"))), time.monotonic() + 60
        process = started(*job, "-o", out)
        while time.monotonic() < until and not (
            (out / "job.json").exists() and len(list(out.glob("part-*"))) >= there + shards
        ):
            time.sleep(0.002)
        time.sleep(0.05)
        status, err = end(process, signal.SIGINT)
        assert status == 130
        assert err == (
            f"embedfreeze: what is done stays in {out}: the same command goes on\n"
            "embedfreeze: interrupted\n"
        )
    assert not (out / "manifest.json").exists()
    before = {p: p.stat().st_mtime_ns for p in out.glob("part-*")}
    assert ran(*job, "-o", out).returncode == 0
    kept = [p for p, then in before.items() if p.stat().st_mtime_ns == then]
    assert len(kept) >= len(before) - 4
    assert content(out) == content(tmp_path / "whole")


# ---- damaged folders -----------------------------------------------------------------------------


def interrupted(table: Path, folder: Path) -> tuple[list[object], Path, dict[str, bytes]]:
    """A job that is not finished, its folder, and what it will hold."""
    path, out = put(folder / "t.txt", "\n".join(TEXTS).encode()), folder / "out"
    job: list[object] = [table, path, "--shard-size", 4, "--weights", "tfidf"]
    assert encoded(*job, "-o", folder / "whole") == 0
    real, seen = JobFolder.record, []

    def until_two(self: JobFolder, shard: ShardRecord) -> None:
        seen.append(shard)
        if len(seen) > 2:
            raise KeyboardInterrupt
        real(self, shard)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobFolder, "record", until_two)
        assert encoded(*job, "-o", out) == 130
    assert len((out / "progress.jsonl").read_bytes().splitlines()) == 2
    assert not (out / "manifest.json").exists()
    return [*job, "-o", out], out, content(folder / "whole")


LINE = b'{"name": "part-00000", "texts": 1, "skipped": 0, "first_skipped": null}\n'
DAMAGE = [
    b"",
    b"\0" * 100,
    b"\xff\xfe",
    LINE[:20],
    LINE[:-1],
    LINE + LINE[:30],
    LINE + b"[]\n5\n",
    b"[" * 100_000,
    b'{"name": ["part-00000"], "texts": 2}\n',
    b'{"name": "../../x", "texts": 2}\n',
    b'{"name": "part-00001/../part-00000", "texts": 2}\n',
    b'{"name": "part-00000", "texts": "2"}\n',
    b'{"name": "part-00000", "texts": -2}\n',
    b'{"name": "part-00000", "texts": true}\n',
    b'{"name": "part-00000", "texts": 2, "first_skipped": 5}\n',
    b'{"name": "part-00000", "texts": 2, "more": 1}\n',
    b'{"name": "part-00000"}\n',
    b'{"name": "part-00099", "texts": 1}\n' + LINE,
]


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_damaged_progress(damage: bytes, table: Path, tmp_path: Path) -> None:
    job, out, whole = interrupted(table, tmp_path)
    put(out / "progress.jsonl", damage)
    put(tmp_path / "x.features.npy", b"")
    assert encoded(*job) == 0
    assert content(out) == whole


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b'{"table": 1}', b"[" * 100_000, b"\xff"]
)
def test_a_damaged_job(
    damage: bytes, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job, out, _ = interrupted(table, tmp_path)
    put(out / "job.json", damage)
    before = content(out)
    for more in ((), ("--force",)):  # nobody knows whose it is
        assert encoded(*job, *more) == 3
        assert "is not empty, it holds job.json: name a new folder" in capsys.readouterr().err
        assert content(out) == before


def test_files_that_are_missing_are_made_again(table: Path, tmp_path: Path) -> None:
    job, out, whole = interrupted(table, tmp_path)
    (out / "part-00000.features.npy").unlink()
    (out / "weights.npy").unlink()
    assert encoded(*job) == 0
    assert content(out) == whole
    for name in whole:
        if name != "manifest.json":
            (out / name).unlink()
            assert encoded(*job) == 0
            assert content(out) == whole, name


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"half", b"of another shape", b"objects"])
def test_damaged_weights(
    damage: bytes, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job, out, whole = interrupted(table, tmp_path)
    if damage == b"half":
        damage = whole["weights.npy"][:-3]
    put(out / "weights.npy", damage)
    if damage == b"of another shape":
        np.save(out / "weights.npy", np.ones(3, np.float32))
    elif damage == b"objects":
        np.save(out / "weights.npy", np.array([{}], object), allow_pickle=True)
    features._last.clear()  # another process
    assert encoded(*job) == 4
    assert "weights.npy: the weights of a job must be float32 [12]" in capsys.readouterr().err
    (out / "weights.npy").unlink()
    assert encoded(*job) == 0
    assert content(out) == whole


def test_damaged_manifests(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, out, whole = interrupted(table, tmp_path)
    assert encoded(*job) == 0
    good = json.loads(whole["manifest.json"])

    def changed(**parts: Any) -> bytes:
        return json.dumps({**good, **parts}).encode()

    def shard(**parts: Any) -> bytes:
        return changed(shards=[{**good["shards"][0], **parts}, *good["shards"][1:]])

    damaged = [
        *(b"", whole["manifest.json"][:-30], b"[]", b"5", b"\xff", b"[" * 100_000),
        *(changed(format="x"), changed(version="1"), changed(version=2), changed(output="x")),
        *(changed(columns=[]), changed(columns=5), changed(shards=5), changed(shards=["a"])),
        *(changed(job=5), shard(name="../x"), shard(name=5), shard(name="part-00001")),
        *(shard(texts="1"), shard(texts=-1), shard(skipped=None)),
    ]
    for damage in damaged:
        put(out / "manifest.json", damage)
        capsys.readouterr()
        for more in ((), ("--force",)):
            assert encoded(*job, *more) == 4
            said = capsys.readouterr().err
            assert "manifest.json: the manifest " in said
            assert "into another folder" in said or "newer embedfreeze" in said
        assert {**content(out), "manifest.json": b""} == {**whole, "manifest.json": b""}
    for name in ("..", "part-00077", "progress"):  # of no shard there
        put(out / "manifest.json", shard(name=name))
        put(out / f"{'' if name == 'part-00077' else name}.features.npy", b"")
        assert encoded(*job) == 0
        (out / f"{'' if name == 'part-00077' else name}.features.npy").unlink()
        assert content(out) == whole


def test_a_damaged_shard_is_made_again_when_it_is_deleted(table: Path, tmp_path: Path) -> None:
    """As the error says."""
    job, out, whole = interrupted(table, tmp_path)
    assert encoded(*job) == 0
    os.truncate(out / "part-00001.features.npy", 140)
    with pytest.raises(FormatError, match="run the same embedfreeze encode again"):
        records(out)
    (out / "part-00001.features.npy").unlink()
    with pytest.raises(FileError, match="run the same embedfreeze encode again"):
        records(out)
    assert encoded(*job) == 0
    assert content(out) == whole


def test_shards_with_more_digits_come_later(tmp_path: Path) -> None:
    numbers = [99_998, 99_999, 100_000, 100_001, 1_000_000]
    with JobFolder.opened(str(tmp_path), {}, "npy", [], overwrite=False) as folder:
        for number in reversed(numbers):
            for piece in (100_000, 99_999):
                name = f"part-{number:05}-{piece:05}"
                folder.done[name] = ShardRecord(name, 1)
        found = [record.name for record in folder.in_order()]
    assert found == [f"part-{n}-{piece}" for n in numbers for piece in (99999, 100000)]


# ---- ids -----------------------------------------------------------------------------------------


def of_two(text: str) -> list[str]:
    """Pairs of characters, some with halves of surrogate pairs."""
    return [text[low : low + 2] for low in range(0, len(text), 2)]


SPLITTERS = [
    ef.Splitter(),
    ef.Splitter(lowercase=False),
    ef.Splitter(lowercase="ascii"),
    ef.Splitter(delete=None),
    ef.Splitter(separators=ASCII_WHITE_SPACE),
    ef.Splitter("ascii", None, ASCII_WHITE_SPACE),
    ef.Splitter(ngrams=(1, 2)),
    ef.Splitter(separators="[^a-z]+"),
    ef.Splitter(delete="a|\\n", separators=" +"),
    ef.Splitter(separators=""),
    ef.Splitter(separators=None),
    ef.Splitter(delete="x.y"),
    of_two,
]
SPACES = " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b\ufeff"
PIECES = [
    *WORDS,
    *SPACES,
    "\u039f\u03a3",
    "\u0130",
    "\u00df",
    "A",
    "good.",
    "-",
    "'",
    "\0",
    "\ud800",
]
PIECES += ["a b", "\u1e9e", "x\ny", "\ud83d", "\ude00", "\udcc3\udca9", "\U0001f600", "end\r"]
ANY_TEXT = st.text(st.characters(codec=None), max_size=20)  # halves of surrogate pairs too
TEXT_LISTS = st.lists(
    st.one_of(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), ANY_TEXT), max_size=6
)


@pytest.mark.parametrize("piece", [1 << 20, 1, 3])
@pytest.mark.parametrize("unknown", ["[UNK]", None])
@pytest.mark.parametrize("splitter", SPLITTERS, ids=range(len(SPLITTERS)))
def test_ids_are_those_of_the_vocabulary(splitter: Any, unknown: str | None, piece: int) -> None:
    tokens = [
        *WORDS,
        "\u03bf\u03c3",
        "a b",
        "ss",
        "i\u0307",
        "\u00e9",
        "\u200b",
        "\udc80",
        "A",
        "x",
    ]
    vocabulary = ef.Vocabulary(tokens, splitter=splitter, unknown=unknown)
    matrix = np.zeros((len(tokens), 1), np.float32)
    table = ef.align(ef.Embeddings(tokens, matrix), vocabulary).to_embeddings()

    @given(TEXT_LISTS, st.one_of(st.none(), st.integers(1, 4)))
    @example(["a\nb", "\n\n", "\u039f\u03a3\n", "", "\u039f\u03a3 a", "a\r"], None)
    @example(["a\ud800b \udc80", "\ud83d\ude00", "\udcc3\udca9"], 2)
    def equal(texts: list[str], max_length: int | None) -> None:
        find = tokenids.TextIds(table, splitter, max_length)
        cut = [splitter(text) for text in texts]
        if unknown is None and any(t not in vocabulary for tokens in cut for t in tokens):
            with pytest.raises(ef.errors.UnknownTokenError, match="no token"):
                find(texts)
            return
        found = find(texts)
        assert found.values.dtype == np.int32
        assert len(found) == len(texts)
        expected = vocabulary.id_rows(tokens[:max_length] for tokens in cut)
        assert [found[row].tolist() for row in range(len(found))] == expected

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenids, "PIECE", piece)
        equal()


def test_ids_of_several_unknown_tokens() -> None:
    vocabulary = ef.Vocabulary(WORDS, special=["[UNK2]"], unknown_buckets=2)
    table = ef.align(
        ef.Embeddings(WORDS, np.zeros((len(WORDS), 1), np.float32)), vocabulary
    ).to_embeddings()
    texts = ["good", "x\ny z", "", "\u00df\x85\u2028w good", "\udc80 v"]
    expected = vocabulary.encode(texts, max_length=2)
    found = tokenids.TextIds(table, max_length=2)(texts)
    assert len(set(found.values.tolist()) & set(vocabulary.unknown_ids)) == 2
    for row, ids in enumerate(expected.tolist()):
        assert found[row].tolist() == [i for i in ids if i != vocabulary.padding_id]
    assert len(tokenids.TextIds(table)(["a \ud800"]).values) == 2
