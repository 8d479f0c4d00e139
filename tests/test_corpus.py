"""Corpora: every format and every way it may be cut or damaged, against Python's own readers."""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from samples import put

from embedfreeze.batch import lined, tables
from embedfreeze.batch.corpus import Corpus
from embedfreeze.batch.texts import Columns
from embedfreeze.errors import FileError, FormatError

TEXTS = [
    "Good case.",
    "",
    "tab and caf\u00e9",
    "\u4e2d\u6587 \U0001f600",
    " spaces ",
    "x" * 300,
    "last",
]
LABELS = [1, 0, 1, 1, 0, 0, 1]


def jsonl(texts: list[str], labels: list[int]) -> bytes:
    records = [json.dumps({"text": t, "label": n}) for t, n in zip(texts, labels, strict=True)]
    return "\n".join(records).encode()


def as_csv(texts: list[str], labels: list[int]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([("label", "text"), *zip(labels, texts, strict=True)])
    return out.getvalue().encode()


def tsv(texts: list[str], labels: list[int]) -> bytes:
    rows = [f"{n}\t{t}" for t, n in zip(texts, labels, strict=True)]
    return "\n".join(["label\ttext", *rows, ""]).encode()


def parquet_file(texts: list[str], labels: list[int]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.table({"label": labels, "text": texts}), out, row_group_size=3)
    return out.getvalue()


MAKE: dict[str, Callable[[list[str], list[int]], bytes]] = {
    "jsonl": jsonl,
    "csv": as_csv,
    "tsv": tsv,
    "parquet": parquet_file,
}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def read(corpus: Corpus) -> tuple[list[str], list[Any], int]:
    """Texts, labels, and how many bad records were left out."""
    texts: list[str] = []
    labels: list[Any] = []
    skipped = 0
    for part in corpus.parts():
        reader = corpus.reader(part)
        for batch in reader:
            texts += batch.texts
            labels += batch.labels or []
        skipped += reader.bad.count
    return texts, labels, skipped


@pytest.fixture(params=["whole", "small parts"])
def _sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in one part, and cut wherever they can be."""
    if request.param == "small parts":
        monkeypatch.setattr(lined, "PART_BYTES", 7)
        monkeypatch.setattr(lined, "BLOCK_BYTES", 5)
        monkeypatch.setattr(tables, "ROWS", 2)


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("format", MAKE)
@pytest.mark.usefixtures("_sizes")
def test_texts_and_labels(format: str, suffix: str, tmp_path: Path) -> None:
    path = put(tmp_path / f"f.{format}{suffix}", PACK[suffix](MAKE[format](TEXTS, LABELS)))
    texts, labels, skipped = read(Corpus.of(path, columns=Columns(label="label")))
    assert (texts, [int(label) for label in labels], skipped) == (TEXTS, LABELS, 0)
    assert read(Corpus.of(path))[:2] == (TEXTS, [])


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.usefixtures("_sizes")
def test_lines_of_text(suffix: str, tmp_path: Path) -> None:
    data = b"\xef\xbb\xbfone\r\ntwo\n\nwith\rin it\nlast"
    path = put(tmp_path / f"f.txt{suffix}", PACK[suffix](data))
    assert read(Corpus.of(path))[0] == ["one", "two", "", "with\rin it", "last"]
    assert read(Corpus.of(put(tmp_path / f"g.txt{suffix}", PACK[suffix](b"a\n"))))[0] == ["a"]


lines = st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])))


@given(lines, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.integers(1, 40))
def test_any_lines_in_any_parts(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], end: str, last: bool, size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lined, "PART_BYTES", size)
        check_lines(tmp_path_factory.mktemp("lines"), texts, end, last=last)


def check_lines(folder: Path, texts: list[str], end: str, *, last: bool) -> None:
    data = end.join(texts).encode() + (end.encode() if last else b"")
    path = put(folder / "f.txt", data)
    expected = [line.removesuffix("\r") for line in data.decode().split("\n")]
    if data.endswith(b"\n") or not data:
        expected.pop()
    if expected and data.startswith(b"\xef\xbb\xbf"):
        expected[0] = expected[0].removeprefix("\ufeff")
    parts = lined.line_parts(str(path), len(data))
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert sum(part.size for part in parts) == len(data)
    corpus = Corpus.of(path)
    found = [text for part in parts for batch in corpus.reader(part) for text in batch.texts]
    assert found == expected


def test_several_files_and_patterns(tmp_path: Path) -> None:
    for name, data in (("b.txt", b"2\n"), ("a.txt", b"1\n"), ("c[1].txt", b"3\n"), ("d.x", b"4")):
        put(tmp_path / name, data)
    (tmp_path / "folder.txt").mkdir()
    put(tmp_path / "empty.txt", b"")
    assert read(Corpus.of(tmp_path / "?.txt"))[0] == ["1", "2"]
    assert read(Corpus.of([tmp_path / "*.x", tmp_path / "c[1].txt"]))[0] == ["4", "3"]
    assert read(Corpus.of(f"{tmp_path}/*.txt"))[0] == ["1", "2", "3"]
    assert read(Corpus.of(tmp_path / "empty.txt"))[0] == []


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no file that fits it as a pattern"):
        Corpus.of(tmp_path / "none.txt")
    with pytest.raises(FileError, match="is a folder: name its files"):
        Corpus.of(tmp_path)
    with pytest.raises(FileError, match="a pipe or a device"):
        Corpus.of("/dev/null").parts()
    with pytest.raises(ValueError, match="format must be one of text, jsonl"):
        Corpus.of(put(tmp_path / "a", b"a"), format="pdf")
    with pytest.raises(ValueError, match="on_bad_record must be one of error, skip"):
        Corpus.of(tmp_path / "a", on_bad_record="stop")
    with pytest.raises(ValueError, match="must have a file"):
        Corpus.of([])


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    corpus = Corpus.of(put(tmp_path / "f.txt", b"one\ntwo\n"))
    (part,) = corpus.parts()
    put(tmp_path / "f.txt", b"one\n")
    with pytest.raises(FileError, match="was cut while it was read"):
        list(corpus.reader(part))


@pytest.mark.parametrize(
    ("name", "data", "line", "rule"),
    [
        ("f.txt", b"one\ntw\xff\nthree", 2, r"must be UTF-8, received b'\\xff'"),
        ("f.jsonl", b'{"text": "one"}\n{"text"\n{"text": "three"}', 2, "must be JSON: Expecting"),
        ("f.jsonl", b'{"text": "one"}\n\n[1]\n{"text": "three"}', 3, "an object of JSON"),
        ("f.jsonl", b'{"text": "one"}\n{"t": 1}\n{"text": "three"}', 2, "must have 'text'"),
        ("f.jsonl", b'{"text": "one"}\n{"text": 5}\n{"text": "three"}', 2, "must be a text"),
        ("f.tsv", b"n\ttext\n1\tone\n2\n3\tthree\n", 3, "as many fields as the first, 2"),
        ("f.csv", b"n,text\n1,one\n2\n3,three\n", 3, "as many fields as the first, 2"),
        ("f.csv", b"n,text\n1,one\n2,tw\xff\n3,three\n", 3, "must be UTF-8"),
    ],
)
@pytest.mark.usefixtures("_sizes")
def test_bad_records(name: str, data: bytes, line: int, rule: str, tmp_path: Path) -> None:
    path = put(tmp_path / name, data)
    with pytest.raises(FormatError, match=rf"/{name}: line {line}: ") as told:
        read(Corpus.of(path))
    assert told.match(rule)
    assert told.match("--on-bad-record skip")
    corpus = Corpus.of(path, on_bad_record="skip")
    assert read(corpus) == (["one", "three"], [], 1)
    firsts = []
    for part in corpus.parts():
        reader = corpus.reader(part)
        list(reader)
        firsts += [reader.bad.first] if reader.bad.first else []
    assert len(firsts) == 1
    assert f"line {line}" in firsts[0]


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("blank", [1, 4096, 9000])
def test_blank_lines_in_csv_are_no_rows(rows: int, blank: int, tmp_path: Path) -> None:
    lines = [f"row {i}" for i in range(rows)] + [""] * blank + ["behind", "", "last"]
    path = put(tmp_path / "t.csv", "\n".join(["", "text", *lines]).encode())
    assert read(Corpus.of(path))[0] == [line for line in lines if line]


def test_the_limit_of_fields_is_given_back() -> None:
    before = csv.field_size_limit()
    with tables._large_fields, tables._large_fields:
        assert csv.field_size_limit() == tables.LARGEST_FIELD
    assert csv.field_size_limit() == before


def test_texts_that_are_null_in_parquet(tmp_path: Path) -> None:
    table = pa.table({"text": ["one", None, "three", None]})
    parquet.write_table(table, tmp_path / "f.parquet", row_group_size=2)
    with pytest.raises(
        FormatError, match=r"f\.parquet: row 1: 'text' must be a text, received None"
    ):
        read(Corpus.of(tmp_path / "f.parquet"))
    assert read(Corpus.of(tmp_path / "f.parquet", on_bad_record="skip"))[0] == ["one", "three"]


@pytest.mark.parametrize(
    ("data", "columns", "expected"),
    [
        (b"a\tb\n1\t2\n", Columns("b"), ["2"]),
        (b"a\tb\n1\t2\n", Columns(1), ["b", "2"]),
        (b"a\tb\n1\t2\n", Columns(1, header=True), ["2"]),
        (b"only\n1\n", Columns(), ["1"]),
        (b"only\n1\n", Columns(header=False), ["only", "1"]),
    ],
)
@pytest.mark.parametrize("suffix", ["tsv", "csv"])
def test_columns(
    suffix: str, data: bytes, columns: Columns, expected: list[str], tmp_path: Path
) -> None:
    path = put(tmp_path / f"f.{suffix}", data.replace(b"\t", b"," if suffix == "csv" else b"\t"))
    assert read(Corpus.of(path, columns=columns))[0] == expected


@pytest.mark.parametrize("suffix", ["tsv", "csv"])
def test_columns_that_are_not_there(suffix: str, tmp_path: Path) -> None:
    path = put(
        tmp_path / f"f.{suffix}", b"a\tb\n1\t2\n".replace(b"\t", b",\t"[suffix == "tsv" :][:1])
    )
    with pytest.raises(FormatError, match="column of the texts must be known, received 'a', 'b'"):
        read(Corpus.of(path))
    with pytest.raises(FormatError, match="one column named 'c', received 0"):
        read(Corpus.of(path, columns=Columns("c")))
    with pytest.raises(FormatError, match="one column named 9"):
        read(Corpus.of(path, columns=Columns(9)))
    with pytest.raises(FormatError, match="one column named 'label'"):
        read(Corpus.of(path, columns=Columns("a", label="label")))


def test_csv_with_line_ends_in_quotes_and_large_fields(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    texts = ['two\nlines, "quoted"', "x" * (limit + 9), "end"]
    path = put(tmp_path / "f.csv", as_csv(texts, [1, 2, 3]))
    assert read(Corpus.of(path))[0] == texts
    assert csv.field_size_limit() == limit
    with pytest.raises(FormatError, match=r"g\.csv: line 2: CSV must be as RFC 4180 says"):
        read(Corpus.of(put(tmp_path / "g.csv", b'text\n"open')))


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    data = parquet_file(TEXTS, LABELS)
    with pytest.raises(FormatError, match="Parquet cannot be read"):
        read(Corpus.of(put(tmp_path / "f.parquet", data[:-9])))
