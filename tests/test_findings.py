"""Odd rows that are kept: each is counted, the first is named, once for a file."""

import gzip
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import assert_is, glove_bytes, put, word2vec_bytes

import embedfreeze as ef
from embedfreeze.formats import word2vec
from embedfreeze.formats.hdf5 import generic as hdf5
from embedfreeze.formats.stores import store
from embedfreeze.formats.texts import text

FINITE = "rows have values that are not finite (nan or inf), which are kept as they are"
NUMBERED = (
    "tokens end in a number after a space: the last 3 fields of a line are its vector, so these "
    "rows may have too many numbers"
)
TOKENS = [b"token%d" % i for i in range(400)]


def matrix() -> np.ndarray:
    """Rows 123, 124 and 399 have a value that is not finite."""
    values = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    values[123, 1], values[124, 0], values[399, 2] = np.nan, np.inf, -np.inf
    return values


def told(call: Callable[[], Any]) -> list[str]:
    """The warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught]


def cut_up(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    for module in (text, word2vec, hdf5, store):
        monkeypatch.setattr(module, "BATCH_BYTES", size)
    monkeypatch.setattr(text, "SCAN_BYTES", size)
    monkeypatch.setattr(text, "STREAM_BYTES", max(size, 64))


@pytest.mark.parametrize("size", [100, 5000, 1 << 24])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_values_that_are_not_finite(
    size: int, threads: int, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {
        "line 124": glove_bytes(TOKENS, matrix()),
        "line 125": b"400 3\n" + glove_bytes(TOKENS, matrix()),
    }
    binary = word2vec_bytes(TOKENS, matrix())
    data[f"byte offset {binary.index(b'token123 ')}"] = binary
    cut_up(monkeypatch, size)
    wanted = ef.Vocabulary([token.decode() for token in TOKENS[124:]], padding=None)
    for place, content in data.items():
        path = put(tmp_path / "f", gzip.compress(content) if packed else content)
        message = f"{path}: 3 {FINITE}; the first is 'token123' at {place}"
        assert told(lambda p=path: ef.read(p, threads=threads)) == [message]
        assert told(lambda p=path: ef.read(p, threads=threads, limit=123)) == []
        (loaded,) = told(lambda p=path: ef.load(p, wanted, threads=threads))
        assert loaded.startswith(f"{path}: 2 {FINITE}; the first is 'token124' at ")
    assert_is(ef.read(path), TOKENS, matrix())


@pytest.mark.parametrize("size", [100, 1 << 24])
def test_values_of_tables(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5; and a store where it is copied, not where it is mapped as it is."""
    e = ef.Embeddings([token.decode() for token in TOKENS], matrix())
    cut_up(monkeypatch, size)
    for name in ("f.h5", "f.safetensors"):
        path = tmp_path / name
        ef.write(e, path)
        message = f"{path}: 3 {FINITE}; the first is 'token123' at row 123"
        assert told(lambda p=path: ef.convert(p, tmp_path / "t.bin", overwrite=True)) == [message]
        assert told(lambda p=path: ef.read(p, limit=200)) == [message.replace("3 rows", "2 rows")]
    assert told(lambda: ef.read(tmp_path / "f.h5")) != []
    assert told(lambda: ef.read(tmp_path / "f.safetensors")) == []


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_values_that_leave_float16(tmp_path: Path) -> None:
    values = np.array([[1, 2], [70000, 3]], np.float32)
    for data in (glove_bytes([b"a", b"b"], values), word2vec_bytes([b"a", b"b"], values)):
        path = put(tmp_path / "f", data)
        assert told(lambda p=path: ef.read(p)) == []
        found = [m for m in told(lambda p=path: ef.read(p, dtype="float16")) if "overflow" not in m]
        assert len(found) == 1
        assert f"1 {FINITE}; the first is 'b' at " in found[0]


def test_rows_that_are_skipped_are_not_counted(tmp_path: Path) -> None:
    path = put(tmp_path / "f", b"a 1 2\nb nan x\nc 1e999 3\nd inf\ne 4 5\nf 6 nan\n")
    assert told(lambda: ef.read(path, on_bad_row="skip")) == [
        f"{path}: 2 {FINITE}; the first is 'c' at line 3",
        f"{path}: 2 bad rows were skipped, the first at line 2",
    ]


@pytest.mark.parametrize("size", [60, 1 << 24])
def test_tokens_that_end_in_numbers(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_up(monkeypatch, size)
    rows = [*TOKENS[:50], b"New York", b"room 101", b"king 0.1 0.2", b"so 1e-5", b"a nan", b"a 1_0"]
    rows += [b"x \xc2\xa07", b"7", b"7 ", b"in 1999,", *TOKENS[50:90]]
    path = put(tmp_path / "f", glove_bytes(rows, np.ones((len(rows), 3), np.float32)))
    message = f"{path}: 4 {NUMBERED}; the first is 'room 101' at line 52"
    assert told(lambda: ef.read(path)) == [message]
    assert told(lambda: ef.read(path, limit=51)) == []
    wanted = ef.Vocabulary(["so 1e-5", "New York", "token3"])
    message = f"{path}: 1 {NUMBERED}; the first is 'so 1e-5' at line 54"
    assert message in told(lambda: ef.load(path, wanted))


def test_a_warning_shows_any_token(tmp_path: Path) -> None:
    path = put(tmp_path / "f", b"a 1 2\n\xff\n 0.5 inf 2\n".replace(b"\n 0.5", b" 0.5"))
    found = told(lambda: ef.read(path, unicode_errors="surrogateescape"))
    assert [message.rpartition("; ")[2] for message in found] == [
        "the first is '\\\\xff 0.5' at line 2",
        "the first is '\\\\xff 0.5' at line 2",
    ]
