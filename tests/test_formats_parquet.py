"""Parquet, Arrow and Feather: columns as libraries write them, damage, rows that are wanted."""

import contextlib
import gzip
import random
import runpy
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from samples import ODD_TOKENS, assert_is, bits, child, put, table

import embedfreeze as ef
from embedfreeze import storage
from embedfreeze.errors import EmbedFreezeError, FormatError
from embedfreeze.files import open_source
from embedfreeze.formats.arrow import rows as arrowrows
from embedfreeze.formats.arrow import writer as arrowwriter
from embedfreeze.formats.arrow.columns import chosen_columns
from embedfreeze.formats.base import ReadOptions
from embedfreeze.tokens import Tokens

GOLDEN = Path(__file__).parent / "golden" / "parquet"
NAMES = sorted(p.name for p in GOLDEN.iterdir() if p.suffix in (".parquet", ".feather", ".arrows"))
MADE = runpy.run_path(str(GOLDEN / "make.py"))
TOKENS, MATRIX = MADE["TOKENS"], MADE["matrix"]()


def expected(name: str) -> np.ndarray:
    return MATRIX.astype(np.float16).astype(np.float32) if name.startswith("half") else MATRIX


def error_of(columns: dict[str, Any], tmp_path: Path, **options: object) -> FormatError:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(FormatError) as caught:
        ef.read(path, **options)
    return caught.value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("packed", [False, True])
def test_golden_files(
    name: str, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (GOLDEN / name).read_bytes()
    path = put(tmp_path / name, gzip.compress(data) if packed else data)
    matrix = expected(name)
    for size in (1, 100, 8 << 20):
        monkeypatch.setattr(arrowrows, "BATCH_BYTES", size)
        assert_is(ef.read(path), TOKENS, matrix)
        assert_is(ef.read(path, limit=5), TOKENS[:5], matrix[:5])
        a = ef.load(path, ef.Vocabulary(["absent", "2003", "a\nb"]), match=("exact",))
        assert bits(a.matrix[3:]) == bits(matrix[[7, 3]])
    found = ef.inspect(path)
    assert found.format == ("parquet" if name.endswith(".parquet") else "arrow")


def test_golden_files_are_read_alike_by_their_libraries() -> None:
    found = pq.read_table(GOLDEN / "fixed.parquet")
    assert found["token"].to_pylist() == TOKENS
    assert bits(np.array(found["vector"].to_pylist(), np.float32)) == bits(MATRIX)
    frame = pd.read_parquet(GOLDEN / "pandas-index.parquet")
    assert bits(frame.loc["queen"].to_numpy()) == bits(MATRIX[5])
    columns = pl.read_ipc(GOLDEN / "columns.feather")
    row = columns.filter(pl.col("token") == "man").select([f"dim_{i}" for i in range(12)]).row(0)
    assert bits(np.array(row, np.float32)) == bits(MATRIX[6])


def test_columns_of_dimensions_are_ordered_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    order = np.random.default_rng(0).permutation(12)
    for start, prefix in ((0, "d"), (1, "V"), (0, "")):
        columns = {f"{prefix}{i + start}": MATRIX[:, i] for i in order}
        pq.write_table(pa.table({**columns, "word": TOKENS, "n": range(10)}), path)
        assert_is(ef.read(path), TOKENS, MATRIX)
    assert "left out: n (int64)" in str(ef.inspect(path))
    pq.write_table(pa.table({"word": ["a"], "y": [1.5], "x": [2.5]}), path)
    assert ef.read(path).matrix.tolist() == [[1.5, 2.5]]
    pq.write_table(pa.table({"word": ["a"], "n": [7], "y": [1.5], "x": [2.5]}), path)
    assert ef.read(path).matrix.tolist() == [[1.5, 2.5]]
    assert "left out: n (int64)" in str(ef.inspect(path))


@pytest.mark.parametrize("names", [["1" * 60_000 + "x"], [f"n{i}" for i in range(12_000)]])
def test_names_take_no_time(names: list[str], tmp_path: Path) -> None:
    """Digits that are no number at the end of a name, and columns of which each is looked at."""
    rows = pa.table({"token": ["a"], **{name: [1.0] for name in names}})
    pa.feather.write_feather(rows, str(tmp_path / "f"), compression="uncompressed")
    with open_source(tmp_path / "f") as source:
        started = time.process_time()
        columns = chosen_columns(source, rows.schema, ReadOptions())
        assert time.process_time() - started < 1
    assert list(columns.values) == names


def test_extension_types(tmp_path: Path) -> None:
    kind = pa.fixed_shape_tensor(pa.float32(), [12])
    stored = pa.FixedSizeListArray.from_arrays(pa.array(MATRIX.reshape(-1)), 12)
    vectors = pa.ExtensionArray.from_storage(kind, stored)
    pq.write_table(pa.table({"token": TOKENS, "vector": vectors}), tmp_path / "f.parquet")
    assert_is(ef.read(tmp_path / "f.parquet"), TOKENS, MATRIX)


def test_candidates_are_listed_and_named(tmp_path: Path) -> None:
    columns = {"w": TOKENS, "t": TOKENS[::-1], "a": list(MATRIX), "b": list(-MATRIX)}
    assert "w (string), t (string)" in str(error_of(columns, tmp_path))
    said = str(error_of(columns, tmp_path, tokens="t"))
    assert "a (list<element: float>), b (list<element: float>)" in said
    assert "member= (--member)" in said
    assert "which is not 'x'" in str(error_of(columns, tmp_path, tokens="t", member="x"))
    e = ef.read(tmp_path / "f.parquet", tokens="t", member="b")
    assert_is(e, TOKENS[::-1], -MATRIX)


def test_tokens_of_a_side_file(tmp_path: Path) -> None:
    assert "received none" in str(error_of({"v": list(MATRIX)}, tmp_path))
    put(tmp_path / "words.json", b'["' + b'", "'.join(b"t%d" % i for i in range(10)) + b'"]')
    for options in ({}, {"limit": 4}):
        e = ef.read(tmp_path / "f.parquet", tokens=tmp_path / "words.json", **options)
        n = options.get("limit", 10)
        assert_is(e, [f"t{i}" for i in range(n)], MATRIX[:n])


def changed(row: int, value: object) -> dict[str, Any]:
    vectors: list[Any] = [row.tolist() for row in MATRIX]
    vectors[row] = value
    return {"token": TOKENS, "vector": vectors}


@pytest.mark.parametrize(
    ("columns", "row", "said"),
    [
        (changed(6, None), 6, "a vector must be 12 numbers, received null"),
        (changed(6, [1.0] * 11), 6, "a vector must be 12 numbers, received 11"),
        (changed(6, [1.0] * 11 + [None]), 6, "a value must be a number, received null"),
        ({"t": [*TOKENS[:3], None, *TOKENS[4:]], "v": list(MATRIX)}, 3, "received null"),
        ({"t": ["a", "b"], "d0": [1.5, None], "d1": [1.0, 2.0]}, 1, "received null"),
        ({"t": ["a"]}, None, "received columns t (string)"),
        ({"t": pa.array([], pa.string()), "d0": pa.array([], pa.float32())}, None, "has no rows"),
        ({"t": ["a"], "v": [[]]}, None, ""),
    ],
)
def test_bad_rows(columns: dict[str, Any], row: int | None, said: str, tmp_path: Path) -> None:
    error = error_of(columns, tmp_path)
    assert error.row == row
    assert said in str(error)


def test_the_first_version_of_feather(tmp_path: Path) -> None:
    frame = pa.table({"token": ["a"], "x": [1.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyarrow.feather.write_feather(frame, str(tmp_path / "f.feather"), version=1)
    with pytest.raises(FormatError, match="received version 1"):
        ef.read(tmp_path / "f.feather")


def test_values_that_are_too_many_for_the_file(tmp_path: Path) -> None:
    path, rows = tmp_path / "f.parquet", 1 << 23
    columns = pa.table({"t": pa.array([""] * rows), "d0": np.zeros(rows, np.float32)})
    pages = {"data_page_size": 1 << 30, "max_rows_per_page": 1 << 30}
    pq.write_table(columns, path, row_group_size=rows, compression="zstd", **pages)
    with pytest.raises(FormatError, match="1000 times the size of the file"):
        ef.read(path)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_what_is_written(
    suffix: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrowwriter, "GROUP_BYTES", 200)
    tokens = [*ODD_TOKENS, "", "a\nb", "\0"]
    matrix = (table(len(tokens), 7) * 0 + np.arange(7)).astype(np.float32)
    matrix[np.isnan(matrix)] = 3
    ef.write(ef.Embeddings(Tokens.from_strings(tokens), matrix), tmp_path / "s.safetensors")
    e = ef.read(tmp_path / "s.safetensors", dtype=dtype)
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second):
        ef.write(e, path)
    assert first.read_bytes() == second.read_bytes()
    found = pq.read_table(first) if suffix == ".parquet" else pyarrow.feather.read_table(first)
    assert found["token"].to_pylist() == tokens
    kept = "halffloat" if dtype == "float16" else "float"
    assert str(found.schema.field("vector").type) == f"fixed_size_list<element: {kept} not null>[7]"
    assert bits(np.array(found["vector"].to_pylist(), np.float32)) == bits(ef.read(first).matrix)
    assert_is(ef.read(first), tokens, storage.decode(e.matrix))
    assert found["vector"].num_chunks > 1


def test_tokens_that_are_not_utf8(tmp_path: Path) -> None:
    e = ef.Embeddings(Tokens.from_bytes([b"a", b"\xff"], "surrogateescape"), table(2, 3))
    for name in ("f.parquet", "f.arrow"):
        with pytest.raises(FormatError, match="row 1"):
            ef.write(e, tmp_path / name)


MISSING = """
import sys
sys.modules["pyarrow"] = None
import embedfreeze as ef
for call in (lambda: ef.read(sys.argv[1]), lambda: ef.write(ef.read(sys.argv[2]), sys.argv[3])):
    try:
        call()
    except ef.errors.EmbedFreezeError as error:
        print(error)
"""


def test_without_pyarrow(tmp_path: Path) -> None:
    text = put(tmp_path / "f.txt", b"a 1 2\n")
    said = child(MISSING, GOLDEN / "fixed.parquet", text, tmp_path / "f.arrow").splitlines()
    assert len(said) == 2
    assert all('pip install "embedfreeze[arrow]"' in line for line in said)


@pytest.mark.parametrize("name", NAMES)
def test_mutants_are_read_or_refused(name: str, tmp_path: Path) -> None:
    rng = random.Random(0)
    seed = (GOLDEN / name).read_bytes()
    for _ in range(25):
        data = bytearray(seed)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        if rng.random() < 0.1:
            del data[rng.randrange(len(data)) :]
        path = put(tmp_path / "f", bytes(data) or b"x")
        with warnings.catch_warnings(), contextlib.suppress(EmbedFreezeError):
            warnings.simplefilter("ignore")
            assert ef.read(path).matrix.nbytes <= 1 << 20
