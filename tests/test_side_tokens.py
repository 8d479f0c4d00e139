"""Files that list the tokens of a matrix: their forms, their numbers, and which one is taken."""

import contextlib
import csv
import gzip
import io
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from samples import ODD_TOKENS, put
from tokenizers import Tokenizer, models

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.files import open_source
from embedfreeze.formats.base import ReadOptions
from embedfreeze.formats.side.tokens import (
    listed_tokens,
    side_tokens,
    token_rows,
    tokens_beside,
)
from embedfreeze.tokens import Tokens

OPTIONS = ReadOptions()
ODD = [*ODD_TOKENS, "", "last"]
TEXT = [token for token in ODD if not token.endswith("\r")]


def spelled(tokens: Tokens) -> list[bytes]:
    return [tokens.bytes_at(row) for row in range(len(tokens))]


def expect(path: Path | str, tokens: list[str], rows: int | None = None) -> None:
    found = side_tokens(path, len(tokens) if rows is None else rows, OPTIONS)
    assert spelled(found) == [token.encode() for token in tokens]


def refused(path: Path | str, rows: int, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        side_tokens(path, rows, OPTIONS)
    assert str(path).partition(":")[0] in str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_lines(end: str, last: bool, tmp_path: Path) -> None:
    text = end.join(TEXT) + (end if last else "")
    expect(put(tmp_path / "t.txt", text.encode()), TEXT)
    expect(put(tmp_path / "t.vocab", b"\xef\xbb\xbf" + text.encode()), TEXT)
    expect(put(tmp_path / "t.txt.gz", gzip.compress(text.encode())), TEXT)


def test_lines_of_any_bytes(tmp_path: Path) -> None:
    path = put(tmp_path / "t.txt", b"caf\xe9\n\r\n\n\r\r\nx")
    assert spelled(side_tokens(path, 5, OPTIONS)) == [b"caf\xe9", b"", b"", b"\r", b"x"]


@pytest.mark.parametrize(
    "line", ["{word}\t{row}", "{row}\t{word}", "{word} {row}", "{word}\tNN\t7"]
)
def test_lines_of_tokens_and_numbers_are_a_table(line: str, tmp_path: Path) -> None:
    words = ["king", "queen", "man", "woman"]
    text = "\n".join(line.format(word=word, row=row) for row, word in enumerate(words))
    refused(put(tmp_path / "t.txt", text.encode()), 4, "nothing but a token in each line")
    expect(put(tmp_path / "t.txt", b"a\tb\nroom 101\nc\n\t1\n"), ["a\tb", "room 101", "c", "\t1"])


def test_arrays_and_pickles_are_no_lines(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.array(["king", "queen"]))
    refused(tmp_path / "t.npy", 2, "received a NumPy array: write them as text")
    refused(put(tmp_path / "t.pkl", pickle.dumps(["king"])), 1, "received a pickle")


@pytest.mark.parametrize("block", [1, 3, 64])
def test_lines_in_blocks(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedfreeze.formats.side.lists.BLOCK_BYTES", block)
    expect(put(tmp_path / "t.txt", "\n".join(TEXT).encode()), TEXT)


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("indent", [None, 2])
def test_json(ascii_only: bool, indent: int | None, tmp_path: Path) -> None:
    def dump(content: object) -> bytes:
        return json.dumps(content, ensure_ascii=ascii_only, indent=indent).encode()

    expect(put(tmp_path / "t.json", dump(ODD)), ODD)
    rows = list(enumerate(ODD))
    random.Random(0).shuffle(rows)
    expect(put(tmp_path / "m.json", dump({token: row for row, token in rows})), ODD)


def test_json_with_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    """As Python writes what it read with surrogateescape."""
    path = put(tmp_path / "t.json", json.dumps(["caf\udce9"]).encode())
    assert spelled(side_tokens(path, 1, OPTIONS)) == [b"caf\xe9"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        b'["a"',
        b'["a",]',
        b'["a"] more',
        b'["a" "b"]',
        b'["a", 1]',
        b'["a", null]',
        b'[["a"]]',
        b'{"a"}',
        b'{"a": "b"}',
        b'{"a": 1.0}',
        b'{"a": 0, "b": [1]}',
        b'{"a": 0] ',
        b'["a\nb"]',
        b'["\\x"]',
        b'["\\ud800"]',
        b'["\\',
        b'{"a": 99999999999999999999}',
        b"12",
        b'"a"',
        b"[" * 100_000,
    ],
)
def test_no_json_of_tokens(content: bytes, tmp_path: Path) -> None:
    path = put(tmp_path / "t.json", content)
    with pytest.raises(FileError) as caught:
        side_tokens(path, 1, OPTIONS)
    assert str(path) in str(caught.value)


def test_rows_of_a_map(tmp_path: Path) -> None:
    def with_rows(*rows: int) -> Path:
        named = {f"t{i}": row for i, row in enumerate(rows)}
        return put(tmp_path / "m.json", json.dumps(named).encode())

    expect(with_rows(2, 0, 1), ["t1", "t2", "t0"])
    refused(with_rows(2, 0, 1), 4, "received 3 tokens for 4 rows, none for row 3: name")
    refused(with_rows(2, 0), 3, "none for row 1: name another file with tokens=")
    refused(with_rows(2, 0, 1), 2, r"0 to 1, received 2 for b't0' \(and 0 more")
    refused(with_rows(0, -1), 2, "received -1 for b't1'")
    refused(with_rows(0, 1, 1), 3, "received row 1 for b't1' and for b't2'")
    found = token_rows(with_rows(5, 0, 3), 7, OPTIONS)
    assert (spelled(found.tokens), found.rows.tolist()) == ([b"t1", b"t2", b"t0"], [0, 3, 5])


def test_numbers_that_do_not_match(tmp_path: Path) -> None:
    text, listed = put(tmp_path / "t.txt", b"a\nb\n"), put(tmp_path / "t.json", b'["a", "b"]')
    table = put(tmp_path / "t.tsv", b"word\tn\na\t1\nb\t2\n")
    for path in (text, listed, table):
        for rows in (1, 3):
            refused(path, rows, f"received 2 tokens for {rows} rows: name another file")
            assert len(listed_tokens(path, rows, OPTIONS)) == 2
        with pytest.raises(FormatError, match="received 2 tokens for 3 rows"):
            token_rows(path, 3, OPTIONS)
    assert token_rows(text, 2, OPTIONS).rows.tolist() == [0, 1]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv(end: str, tmp_path: Path) -> None:
    """Python's own module is the oracle for quotes."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end)
    writer.writerow(["count", "Word"])
    writer.writerows([[i, token] for i, token in enumerate(ODD)])
    data = out.getvalue().encode()
    expect(put(tmp_path / "t.csv", data), ODD)
    expect(put(tmp_path / "t.csv", data + b"\n\n"), ODD)
    expect(f"{tmp_path / 't.csv'}:Word", ODD)
    expect(f"{tmp_path / 't.csv'}:count", [str(i) for i in range(len(ODD))])
    refused(f"{tmp_path / 't.csv'}:none", len(ODD), "2 columns, the first row being 'count', 'W")


def test_tsv(tmp_path: Path) -> None:
    tokens = [token for token in TEXT if "\t" not in token]
    one = put(tmp_path / "t.tsv", "".join(f"{token}\n" for token in tokens).encode())
    expect(one, tokens)
    two = put(tmp_path / "t.tsv", "".join(f"{t}\t{i}\n" for i, t in enumerate(tokens)).encode())
    refused(two, len(tokens), "must be known, received 2 columns")
    expect(f"{two}:0", tokens)
    ragged = put(tmp_path / "t.tsv", b"word\tn\na\t1\nb\n")
    refused(ragged, 2, "as many fields as the first, 2, received 1 in row 3")
    quote = put(tmp_path / "t.csv", b'word,n\n"a,1\n')
    refused(quote, 1, "must end with one, before a comma")


def test_a_header_over_one_column_shows_in_the_number(tmp_path: Path) -> None:
    for name in ("t.csv", "t.tsv"):
        path = put(tmp_path / name, b"Word\nking\nqueen\n")
        expect(path, ["king", "queen"])
        expect(path, ["Word", "king", "queen"])
        path = put(tmp_path / name, b"man\nking\nqueen\n")
        refused(path, 2, "received 3 tokens for 2 rows")
        assert len(side_tokens(f"{path}:0", 3, OPTIONS)) == 3


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedfreeze.formats.side.tokens.PARQUET_ROWS", 5)
    path = tmp_path / "t.parquet"
    numbers = pa.array(range(len(ODD)))
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        words = pa.array(ODD, pa.string()).cast(kind)
        pq.write_table(pa.table({"n": numbers, "w": words}), path, row_group_size=7)
        expect(path, ODD)
        expect(f"{path}:w", ODD)
    pq.write_table(pa.table({"n": numbers, "w": words, "v": words}), path)
    refused(path, len(ODD), r"received \['w', 'v'\]: name one behind the file, as in tokens=")
    expect(f"{path}:v", ODD)
    pq.write_table(pa.table({"w": [None, "a"]}), path)
    refused(path, 2, "row 0: a token must be a string, received null")
    data = path.read_bytes()
    for cut in (20, len(data) // 2, len(data) - 1):
        refused(put(path, data[:cut]), 2, "Parquet cannot be read")


def test_tokenizer(tmp_path: Path) -> None:
    words = ["[UNK]", "king", "caf\u00e9"]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.add_tokens(["New York"])
    for pretty in (True, False):
        made.save(str(tmp_path / "tokenizer.json"), pretty=pretty)
        expect(tmp_path / "tokenizer.json", [*words, "New York"])
        refused(tmp_path / "tokenizer.json", 3, "received 3 for b'New York'")
        found = token_rows(tmp_path / "tokenizer.json", 9, OPTIONS)
        assert found.rows.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("model", "added"),
    [
        ({"vocab": {"a": 0.5}}, []),
        ({"vocab": {"a": "0"}}, []),
        ({"vocab": {"a": True}}, []),
        ({"vocab": {"a": None}}, []),
        ({"vocab": {"a": 10**30}}, []),
        ({"vocab": {"\ud800": 0}}, []),
        ({"vocab": [[7, 0.0]]}, []),
        ({"vocab": [["a", 0.0]]}, [{"content": 1, "id": 1}]),
        ({"vocab": "abc"}, []),
        ({"vocab": []}, [{}]),
        ({}, []),
    ],
)
def test_damaged_tokenizers(model: object, added: object, tmp_path: Path) -> None:
    content = {"added_tokens": added, "model": model}
    refused(put(tmp_path / "t.json", json.dumps(content).encode()), 1, "tokenizer.json")


def test_words_that_a_tokenizer_json_has_are_no_tokenizer(tmp_path: Path) -> None:
    expect(put(tmp_path / "t.json", b'{"model": 1, "added_tokens": 0}'), ["added_tokens", "model"])
    expect(put(tmp_path / "t.json", b'["\\"model\\": {", "b"]'), ['"model": {', "b"])


def test_which_file_stands_beside(tmp_path: Path) -> None:
    def beside(name: str) -> str | None:
        with open_source(put(tmp_path / name, b"data" * 9)) as source:
            return tokens_beside(source)

    put(tmp_path / "other.tokens.json", b"[]")
    assert beside("a.npy") is None
    put(tmp_path / "a.tokens.txt.gz", b"")
    for name in ("a.npy", "a.bin", "a"):
        assert beside(name) == str(tmp_path / "a.tokens.txt.gz")
    put(tmp_path / "a.vocab.json", b"[]")
    with pytest.raises(FileError, match=r"received a\.tokens\.txt\.gz, a\.vocab\.json: name one"):
        beside("a.npy")
    with open_source(io.BytesIO(b"data" * 9)) as source:
        assert tokens_beside(source) is None


SEEDS: dict[str, Callable[[], bytes]] = {
    "t.json": lambda: json.dumps(["king", "caf\u00e9", 'a"b']).encode(),
    "m.json": lambda: json.dumps({"king": 1, "caf\u00e9": 0, 'a"b': 2}).encode(),
    "t.csv": lambda: b'n,word\n1,"a""b"\n2,king\n3,\n',
    "t.tsv": lambda: b"n\tword\n1\ta\n2\tking\n3\t\n",
    "t.txt": lambda: b"a\nking\r\ncaf\xc3\xa9\n",
    "t.parquet": lambda: _parquet(),
    "tokenizer.json": lambda: _tokenizer(),
}


def _parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"w": ["a", "king", "b"]}), out)
    return out.getvalue()


def _tokenizer() -> bytes:
    vocab = {"a": 0, "king": 1, "b": 2}
    text: str = Tokenizer(models.WordLevel(vocab, unk_token="a")).to_str()
    return text.encode()


@pytest.mark.parametrize("name", SEEDS)
def test_changed_bytes(name: str, tmp_path: Path) -> None:
    """An error of this package, or one token for each row."""
    seed, rng = SEEDS[name](), np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(seed)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        path = put(tmp_path / name, bytes(data[: rng.integers(1, len(data) + 1)]))
        with contextlib.suppress(EmbedFreezeError):
            assert len(side_tokens(path, 3, OPTIONS)) == 3


def test_a_column_of_row_numbers_in_another_order_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(3, dtype=np.float32))
    for end, cut in (("csv", ","), ("tsv", "\t")):
        for ids, fits in (("012", True), ("120", False), ("789", True), ("1x2", True)):
            lines = ["token,id", *(f"w{i},{n}" for i, n in enumerate(ids))]
            side = put(tmp_path / f"w.{end}", "\n".join(lines).replace(",", cut).encode())
            if fits:
                assert list(ef.read(tmp_path / "v.npy", tokens=side).tokens) == ["w0", "w1", "w2"]
                continue
            with pytest.raises(FormatError, match="numbers them otherwise: sort the file by it"):
                ef.read(tmp_path / "v.npy", tokens=side)


def test_lines_without_end_are_counted_before_they_take_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(3, dtype=np.float32))
    side = put(tmp_path / "w.txt.gz", gzip.compress(b"\n" * 1_000_000))
    with pytest.raises(FormatError, match="received 1000000 lines for 3 rows"):
        ef.read(tmp_path / "v.npy", tokens=side)
