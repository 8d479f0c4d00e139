"""Conversion in Python: options, places of errors, and a target that is whole or not there."""

import gzip
import itertools
import os
import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import assert_is, glove_bytes, put, spelled, table, tables

import embedfreeze as ef
from embedfreeze.errors import FileError, FormatError
from embedfreeze.formats import word2vec
from embedfreeze.formats.texts import text, writer

SUFFIXES = [".txt", ".vec", ".bin", ".h5", ".safetensors"]
TEXT = b"a 1 1\nb 2 2\na 3 3\nc 4 4\nb 5 5\na 6 6\n"


def rows(path: Path) -> dict[str, float]:
    e = ef.read(path)
    return dict(zip(e.tokens, e.matrix[:, 0].tolist(), strict=True))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("packed", [False, True])
def test_repeated_tokens(suffix: str, packed: bool, tmp_path: Path) -> None:
    source = put(tmp_path / "source", gzip.compress(TEXT) if packed else TEXT)
    target = tmp_path / f"target{suffix}"
    done = ef.convert(source, target)
    assert rows(target) == {"a": 1, "b": 2, "c": 4}
    assert (done.rows, done.dropped, done.skipped, done.dim) == (3, 3, 0, 2)
    assert str(done).endswith("3 rows of 2 (left out: 3 repeated rows)")
    with pytest.warns(UserWarning, match="3 rows repeat"):
        ef.convert(source, target, on_duplicate="last", overwrite=True)
    assert rows(target) == {"c": 4, "b": 5, "a": 6}
    assert spelled(ef.read(target)) == [b"c", b"b", b"a"]
    os.unlink(target)
    with pytest.raises(FormatError, match=r"source: line 3: tokens must differ"):
        ef.convert(source, target, on_duplicate="error")
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bad_rows(suffix: str, tmp_path: Path) -> None:
    source = put(tmp_path / "source", b"a 1 1\nb x 2\nc 3 3\nd\ne 5 5\n")
    target = tmp_path / f"target{suffix}"
    with pytest.raises(FormatError, match=r"source: line 2, column 2"):
        ef.convert(source, target)
    assert os.listdir(tmp_path) == ["source"]
    with pytest.warns(UserWarning, match="2 bad rows were skipped, the first at line 2"):
        done = ef.convert(source, target, on_bad_row="skip")
    assert (done.rows, done.skipped) == (3, 2)
    assert "2 bad rows" in str(done)
    assert rows(target) == {"a": 1, "c": 3, "e": 5}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_wrong_header_does_not_travel(suffix: str, tmp_path: Path) -> None:
    source = put(tmp_path / "source", b"%d 2\n" % 10**12 + b"a 1 1\nb 2 2\n")
    with pytest.warns(UserWarning, match=r"header says 10{12} rows, found 2"):
        ef.convert(source, tmp_path / f"target{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rows(tmp_path / f"target{suffix}") == {"a": 1, "b": 2}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_vocabulary_and_limit(suffix: str, tmp_path: Path) -> None:
    source = put(tmp_path / "source", b"the 1 1\nNew York 2 2\nNew 3 3\nking 4 4\nKing 5 5\n")
    v = ef.Vocabulary(["king", "New York", "zzz"], padding=None, unknown=None)
    target = tmp_path / f"target{suffix}"
    if suffix == ".bin":  # which cannot hold a space
        v = ef.Vocabulary(["king", "the", "zzz"], padding=None, unknown=None)
    ef.convert(source, target, vocabulary=v)
    assert rows(target) == (
        {"the": 1, "king": 4} if suffix == ".bin" else {"New York": 2, "king": 4}
    )
    ef.convert(source, target, vocabulary=v, limit=3, overwrite=True)
    assert rows(target) == ({"the": 1} if suffix == ".bin" else {"New York": 2})
    before = target.read_bytes()
    with pytest.raises(FormatError, match="has no rows that are wanted"):
        ef.convert(source, target, vocabulary=ef.Vocabulary(["zzz"]), overwrite=True)
    assert target.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == sorted(["source", target.name])


def test_a_limit_counts_rows_of_the_file(tmp_path: Path) -> None:
    source = put(tmp_path / "source", TEXT)
    for limit, kept in ((1, 1), (3, 2), (4, 3), (99, 3)):
        done = ef.convert(source, tmp_path / "t.bin", limit=limit, overwrite=True)
        assert done.rows == kept


def test_a_file_can_be_converted_into_itself(tmp_path: Path) -> None:
    source = put(tmp_path / "f.txt", glove_bytes([b"a", b"b"], matrix := table(2, 3)))
    with pytest.raises(FileError, match="exists"):
        ef.convert(source, source)
    ef.convert(source, source, to_format="store", overwrite=True)
    assert_is(ef.read(source), ["a", "b"], matrix)
    ef.convert(source, source, overwrite=True)
    assert source.read_bytes().startswith(b"a 0 ")
    assert_is(ef.read(source), ["a", "b"], matrix)
    assert os.listdir(tmp_path) == ["f.txt"]


def test_half_precision(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    source = put(tmp_path / "f.txt", glove_bytes([b"a", b"b", b"c"], matrix))
    for suffix in SUFFIXES:
        target = tmp_path / f"t{suffix}"
        ef.convert(source, target, dtype="float16")
        found = ef.read(target)
        expected = matrix.astype(np.float16)
        if suffix == ".safetensors":
            assert_is(found, ["a", "b", "c"], expected)
        else:
            assert_is(found, ["a", "b", "c"], expected.astype(np.float32))
    with h5py.File(tmp_path / "t.h5") as file:
        assert file["embedding"].dtype == np.float16
    ef.convert(tmp_path / "t.safetensors", tmp_path / "back.safetensors")
    assert ef.read(tmp_path / "back.safetensors").matrix.dtype == np.float16
    ef.convert(tmp_path / "t.safetensors", tmp_path / "wide.safetensors", dtype="float32")
    assert ef.read(tmp_path / "wide.safetensors").matrix.dtype == np.float32


def test_tokens_that_are_not_utf8_keep_their_bytes(tmp_path: Path) -> None:
    source = put(tmp_path / "f.txt", b"a 1 1\ncaf\xe9 2 2\nb 3 3\n")
    for suffix in SUFFIXES:
        target = tmp_path / f"t{suffix}"
        with pytest.raises(FormatError, match="line 2: tokens must be UTF-8"):
            ef.convert(source, target)
        for mode in ("surrogateescape", "replace", "ignore", "backslashreplace"):
            ef.convert(source, target, unicode_errors=mode, overwrite=True)
            e = ef.read(target, unicode_errors="surrogateescape")
            assert spelled(e) == [b"a", b"caf\xe9", b"b"]


def test_named_formats(tmp_path: Path) -> None:
    source = put(tmp_path / "f", b"2 1\na 1\nb 2\n")
    done = ef.convert(source, tmp_path / "t.txt", to_format="word2vec", from_format="word2vec-text")
    assert (done.source_format, done.target_format) == ("word2vec-text", "word2vec")
    assert ef.inspect(tmp_path / "t.txt").format == "word2vec"
    with pytest.raises(FormatError, match="word2vec binary|promises"):
        ef.convert(source, tmp_path / "u.txt", from_format="word2vec")
    for options in ({"from_format": "excel"}, {"to_format": "excel"}):
        with pytest.raises(ValueError, match="format must be one of"):
            ef.convert(source, tmp_path / "u.txt", **options)
    assert sorted(os.listdir(tmp_path)) == ["f", "t.txt"]


def test_the_source_is_named_in_a_store(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    source = put(tmp_path / "deep" / "f.txt", TEXT)
    ef.convert(source, tmp_path / "t.safetensors")
    ef.convert(tmp_path / "t.safetensors", tmp_path / "t.h5")
    assert b'"source":"f.txt"' in (tmp_path / "t.safetensors").read_bytes()
    assert str(tmp_path).encode() not in (tmp_path / "t.safetensors").read_bytes()
    with h5py.File(tmp_path / "t.h5") as file:
        assert file.attrs["source"] == "t.safetensors"


def test_a_store_keeps_what_it_was_saved_with(tmp_path: Path) -> None:
    """Converted as it is, a store of a vocabulary is one still."""
    a = ef.align(ef.Embeddings(["king"], table(1, 2)), ef.Vocabulary(["king", "x"]))
    a.save(tmp_path / "a.safetensors")
    ef.write(ef.read(tmp_path / "a.safetensors"), tmp_path / "b.safetensors")
    assert ef.read(tmp_path / "b.safetensors").vocabulary == a.vocabulary


def test_the_error_that_is_told_is_that_of_the_source(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file") as caught:
        ef.convert(tmp_path / "none", tmp_path / "t.bin")
    assert caught.value.path == str(tmp_path / "none")
    with pytest.raises(FileError, match="the name must end"):
        ef.convert(tmp_path / "none", tmp_path / "t.unknown")
    source = put(tmp_path / "f.txt", TEXT)
    bad = put(tmp_path / "bad.txt", TEXT + b"bad\n")
    with pytest.raises(FileError, match="exists"):  # told before the work, not after it
        ef.convert(bad, source)
    with pytest.raises(FileError, match="cannot be written") as caught:
        ef.convert(source, tmp_path / "none" / "t.bin")
    assert caught.value.path == str(tmp_path / "none" / "t.bin")


@pytest.mark.parametrize("size", [64, 200])
@settings(max_examples=settings.default.max_examples // 3)
@given(e=tables(st.text(st.sampled_from("ab\u00a0\u3000\u00e9"), min_size=1, max_size=8)))
def test_many_small_batches(
    size: int, e: ef.Embeddings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("many")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BATCH_BYTES", size)
        patch.setattr(text, "SCAN_BYTES", size)
        patch.setattr(text, "STREAM_BYTES", size)
        patch.setattr(writer, "PIECE_BYTES", size)
        patch.setattr(word2vec, "BATCH_BYTES", size)
        patch.setattr(word2vec, "WALK_BYTES", size)
        ef.write(e, folder / "0.vec.gz")
        names = ["0.vec.gz", "1.bin", "2.vec", "3.safetensors", "4.bin.gz", "5.h5", "6.vec.gz"]
        for one, two in itertools.pairwise(names):
            ef.convert(folder / one, folder / two)
        assert_is(ef.read(folder / "6.vec.gz"), spelled(e), e.matrix)
    assert (folder / "0.vec.gz").read_bytes() == (folder / "6.vec.gz").read_bytes()
    shutil.rmtree(folder)
