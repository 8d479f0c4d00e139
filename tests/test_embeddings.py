"""Embeddings: lookups, what is refused, and that nothing is lost on the way through any format."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import ODD_TOKENS, assert_is, bits, spelled, table, tables

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FormatError, UnknownTokenError
from embedfreeze.sealed import block_digests, combine_digests

SUFFIXES = {".txt": "glove", ".vec": "word2vec-text", ".bin": "word2vec", ".h5": "hdf5"}
SUFFIXES[".safetensors"] = "store"


def example() -> ef.Embeddings:
    return ef.Embeddings(["king", "queen", "New York", ""], table(4, 3))


# ---- lookups ------------------------------------------------------------------------------------


def test_lookups() -> None:
    e = example()
    assert (len(e), e.dim, e.matrix.shape, e.matrix.dtype) == (4, 3, (4, 3), np.float32)
    assert bits(e["queen"]) == bits(e.matrix[1])
    assert np.shares_memory(e["queen"], e.matrix)
    assert bits(e[["", "king", "king"]]) == bits(e.matrix[[3, 0, 0]])
    assert e[[]].shape == (0, 3)
    assert [t in e for t in ("king", "King", "", "New York", 7, None)] == [1, 0, 1, 1, 0, 0]
    assert e.index("New York") == 2
    assert repr(e) == "Embeddings(4 x 3 float32)"
    assert list(e.tokens) == ["king", "queen", "New York", ""]
    assert e.tokens[-1] == ""
    assert e.tokens[1:3] == ["queen", "New York"]
    with pytest.raises(IndexError):
        e.tokens[4]


def test_unknown_tokens_are_key_errors() -> None:
    e = example()
    for call in (
        lambda: e["prince"],
        lambda: e[["king", "prince", "duke"]],
        lambda: e.index("prince"),
    ):
        with pytest.raises(UnknownTokenError, match="no token 'prince'") as caught:
            call()
        assert isinstance(caught.value, KeyError)
        assert isinstance(caught.value, EmbedFreezeError)
        assert not str(caught.value).startswith(("'", '"'))
    with pytest.raises(UnknownTokenError, match="2 of 3 missing"):
        e[["king", "prince", "duke"]]


def test_nothing_can_be_changed() -> None:
    e = example()
    for array in (e.matrix, e["king"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        e.matrix = table(4, 3)  # type: ignore[misc]


def test_what_is_no_table() -> None:
    tokens = ["a", "b"]
    for matrix in (
        table(2, 3).astype(np.float64),
        table(3, 3),
        table(2, 3).reshape(-1),
        np.asfortranarray(table(2, 3)),
        table(4, 3)[::2],
        np.ones((2, 3), np.int32),
    ):
        with pytest.raises(EmbedFreezeError, match="received"):
            ef.Embeddings(tokens, matrix)


def test_half_of_a_character_is_no_text() -> None:
    with pytest.raises(EmbedFreezeError, match="half of a character"):
        ef.Embeddings(["\ud83d"], table(1, 1))
    assert "\ud83d" not in example()
    assert ef.Embeddings(["\udcff"], table(1, 1)).tokens.bytes_at(0) == b"\xff"


def test_digest_is_of_the_values_alone() -> None:
    matrix = np.random.default_rng(0).standard_normal((700, 400)).astype(np.float32)
    tokens = [f"t{i}" for i in range(700)]
    e = ef.Embeddings(tokens, matrix)
    assert e.digest == ef.Embeddings(tokens[::-1], matrix).digest
    assert e.digest == combine_digests(block_digests(matrix, threads=1))
    other = matrix.copy()
    other.reshape(-1).view(np.uint32)[-1] ^= 1
    assert ef.Embeddings(tokens, other).digest != e.digest


def test_to_gensim() -> None:
    e = example()
    vectors = e.to_gensim()
    assert vectors.index_to_key == list(e.tokens)
    assert np.shares_memory(vectors.vectors, e.matrix)
    assert bits(vectors["New York"]) == bits(e["New York"])
    rng = np.random.default_rng(0)
    usual = ef.Embeddings(["a", "b", "c"], rng.standard_normal((3, 5)).astype(np.float32))
    assert usual.to_gensim().most_similar("a", topn=2)


def test_an_empty_table_is_not_written(tmp_path: Path) -> None:
    e = ef.Embeddings([], np.empty((0, 3), np.float32))
    assert (len(e), list(e.tokens), "a" in e) == (0, [], False)
    for suffix in SUFFIXES:
        with pytest.raises(FormatError, match="must have rows"):
            ef.write(e, tmp_path / f"f{suffix}")
    assert os.listdir(tmp_path) == []


# ---- through every format and back ---------------------------------------------------------------


@pytest.mark.parametrize(("one", "two"), itertools.permutations(SUFFIXES, 2))
@pytest.mark.parametrize("packing", ["", ".gz", ".zip"])
def test_there_and_back(one: str, two: str, packing: str, tmp_path: Path) -> None:
    """A, B, A: the same bytes in the file, and the same tokens and values on the way."""
    tokens = [*ODD_TOKENS, "", "x1", "2"]
    if ".bin" not in (one, two):
        tokens += ["New York", "room 101", " ", "two  spaces", " first", "last "]
    matrix = table(len(tokens), 5)
    e = ef.Embeddings(tokens, matrix)
    names = [f"1{one}", f"2{two}", f"3{one}"]
    if packing:
        names = [n if n.endswith(".safetensors") else n + packing for n in names]
    first, second, third = (tmp_path / name for name in names)
    ef.write(e, first)
    assert ef.inspect(first).format == SUFFIXES[one]
    done = ef.convert(first, second)
    assert (done.rows, done.dim, done.target_format) == (len(tokens), 5, SUFFIXES[two])
    assert_is(ef.read(second), tokens, matrix)
    ef.convert(second, third)
    assert_is(ef.read(third), tokens, matrix)
    if one in (".txt", ".vec") and not packing:
        assert first.read_bytes() == third.read_bytes()
    v = ef.Vocabulary(tokens[3:], padding="[PAD]")
    a = ef.load(third, v, match=("exact",))
    assert bits(a.matrix[2:]) == bits(matrix[3:])
    assert a.coverage.found() == len(tokens) - 3


ANY = st.text(max_size=6)
ALPHABETS = {
    ".txt": ANY.filter(lambda t: "\n" not in t),
    ".vec": ANY.filter(lambda t: "\n" not in t),
    ".bin": ANY.filter(lambda t: " " not in t and not t.startswith("\n")),
    ".h5": ANY.filter(lambda t: "\0" not in t),
    ".safetensors": ANY,
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data())
def test_any_table_comes_back_or_is_refused(
    suffix: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    e = data.draw(tables(ALPHABETS[suffix]))
    path = tmp_path_factory.mktemp("any") / f"f{suffix}"
    try:
        ef.write(e, path)
    except FormatError:
        assert suffix in (".txt", ".vec")
        assert not path.exists()
        assert e.dim == 1 or any(t.startswith("\ufeff") or " " in t for t in e.tokens)
        return
    again = ef.read(path, format=SUFFIXES[suffix])
    assert_is(again, spelled(e), e.matrix)
    found = ef.read(path)
    assert_is(found, spelled(e), e.matrix)


def test_half_precision_stays_half_where_it_can(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float16)
    e = ef.Embeddings(list("abcd"), matrix)
    for suffix in SUFFIXES:
        path = tmp_path / f"f{suffix}"
        ef.write(e, path)
        found = ef.read(path)
        assert found.matrix.dtype == (np.float16 if suffix == ".safetensors" else np.float32)
        assert bits(found.matrix.astype(np.float16)) == bits(matrix)
        assert_is(ef.read(path, dtype="float16"), list("abcd"), matrix)


def test_tables_from_every_reader_are_of_one_kind(tmp_path: Path) -> None:
    e = example()
    for suffix in set(SUFFIXES) - {".bin"}:
        ef.write(e, tmp_path / f"f{suffix}")
        found = ef.read(tmp_path / f"f{suffix}")
        assert found.matrix.flags.c_contiguous
        assert not found.matrix.flags.writeable
        assert found.tokens == e.tokens
        assert found.digest == e.digest
        assert str(tmp_path) in repr(found)
