"""word2vec binary: against gensim, byte by byte, and however the file is walked."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors
from hypothesis import given
from hypothesis import strategies as st
from samples import ODD_TOKENS, assert_is, bits, pipe, put, spelled, table, word2vec_bytes

import embedfreeze as ef
from embedfreeze.errors import FormatError
from embedfreeze.formats import word2vec

ODD = [token.encode() for token in ODD_TOKENS]
TRUNCATED = r"truncated at byte \d+, get it again .*limit=399"
AFTER = {"C": b"\n", "gensim": b""}


@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize("packed", [False, True])
def test_both_dialects(after: bytes, packed: bool, tmp_path: Path) -> None:
    tokens = [*ODD, b"", b"x\ny"]
    matrix = table(len(tokens), 7)
    data = word2vec_bytes(tokens, matrix, after)
    path = put(tmp_path / "file", gzip.compress(data) if packed else data)
    assert_is(ef.read(path), tokens, matrix)
    assert ef.inspect(path).format == "word2vec"
    assert ef.inspect(path, scan=False).rows == (None if packed else len(tokens))
    assert ef.inspect(path).rows == len(tokens)
    a = ef.load(path, ef.Vocabulary(["queen", "king", "zz", "Queen"], padding=None))
    assert bits(a.matrix[[2, 4]]) == bits(matrix[[0, 1]])
    assert a.coverage.found() == 2


@pytest.mark.parametrize("head", [b"2 3\n", b"2 3\r\n", b"2\t3 \n", b"\n 2 3\n"])
def test_headers(head: bytes, tmp_path: Path) -> None:
    matrix = table(2, 3)
    data = head + word2vec_bytes([b"a", b"b"], matrix).split(b"\n", 1)[1]
    assert_is(ef.read(put(tmp_path / "file", data)), ["a", "b"], matrix)


def test_gensim_reads_what_is_written_and_the_other_way(tmp_path: Path) -> None:
    plain = [t for t in ODD_TOKENS if " " not in t and not t.startswith("\n")]
    matrix = table(len(plain), 6)
    ef.write(ef.Embeddings(plain, matrix), tmp_path / "ours.bin")
    loaded = KeyedVectors.load_word2vec_format(str(tmp_path / "ours.bin"), binary=True)
    assert loaded.index_to_key == plain
    assert bits(loaded.vectors) == bits(matrix)
    loaded.save_word2vec_format(str(tmp_path / "theirs.bin"), binary=True, sort_attr="")
    assert_is(ef.read(tmp_path / "theirs.bin"), plain, matrix)


def test_every_truncation_is_found(tmp_path: Path) -> None:
    data = word2vec_bytes([b"a", b"bb", b"ccc"], table(3, 2), b"")
    for packed in (False, True):
        for size in range(4, len(data)):
            path = put(tmp_path / "f", gzip.compress(data[:size]) if packed else data[:size])
            with pytest.raises(
                FormatError, match=r"promises 3 rows of 2 values.*truncated"
            ) as caught:
                ef.read(path)
            assert caught.value.offset is not None
            assert caught.value.offset <= size
            with pytest.raises(FormatError, match="truncated"):
                ef.load(path, ef.Vocabulary(["a"]))


def test_what_a_cut_file_still_holds_can_be_read(tmp_path: Path) -> None:
    data = word2vec_bytes([b"a", b"bb", b"ccc"], matrix := table(3, 2))
    path = put(tmp_path / "f", data[:-5])
    with pytest.raises(
        FormatError, match=rf"2 whole rows.*truncated at byte {len(data) - 5},.*limit=2"
    ) as caught:
        ef.read(path)
    assert caught.value.offset == data.index(b"ccc") - 1
    assert_is(ef.read(path, limit=2), ["a", "bb"], matrix[:2])


@pytest.mark.parametrize("packed", [False, True])
def test_more_than_the_header_promises(packed: bool, tmp_path: Path) -> None:
    data = word2vec_bytes([b"a", b"b", b"c"], matrix := table(3, 2))
    data = b"2" + data[1:]
    path = put(tmp_path / "f", gzip.compress(data) if packed else data)
    for read in (ef.read, lambda p: ef.load(p, ef.Vocabulary(["a"]))):
        with pytest.raises(FormatError, match=r"promises 2 rows.*more bytes.*limit=2") as caught:
            read(path)
        assert caught.value.offset == data.index(b"c ") - 1
    assert_is(ef.read(path, limit=2), ["a", "b"], matrix[:2])
    data = word2vec_bytes([b"a"], matrix[:1]) + b"\n\n"  # line feeds alone are no rows
    assert len(ef.read(put(tmp_path / "f", gzip.compress(data) if packed else data))) == 1


def test_tokens_cut_inside_a_character(tmp_path: Path) -> None:
    tokens = [b"ok", b"caf\xc3", b"end"]
    data = word2vec_bytes(tokens, matrix := table(3, 2))
    for packed in (False, True):
        path = put(tmp_path / "f", gzip.compress(data) if packed else data)
        with pytest.raises(FormatError, match="must be UTF-8.*unicode_errors") as caught:
            ef.read(path)
        assert caught.value.offset == data.index(b"caf")
        e = ef.read(path, unicode_errors="surrogateescape")
        assert_is(e, tokens, matrix)
        assert e.tokens[1] == "caf\udcc3"
        assert bits(e["caf\udcc3"]) == bits(matrix[1])
        a = ef.load(path, ef.Vocabulary(["caf\udcc3"]), unicode_errors="surrogateescape")
        assert bits(a.matrix[2]) == bits(matrix[1])


def test_repeated_tokens_and_limit(tmp_path: Path) -> None:
    data = word2vec_bytes([b"a", b"b", b"a", b"c"], matrix := table(4, 2))
    path = put(tmp_path / "f", data)
    with pytest.warns(UserWarning, match="1 row repeats"):
        assert_is(ef.read(path), ["a", "b", "c"], matrix[[0, 1, 3]])
    with pytest.warns(UserWarning, match="1 row repeats"):
        assert_is(ef.read(path, on_duplicate="last"), ["b", "a", "c"], matrix[[1, 2, 3]])
    with pytest.raises(FormatError, match="byte offset") as caught:
        ef.read(path, on_duplicate="error")
    assert caught.value.offset == data.rindex(b"a ")
    assert spelled(ef.read(path, limit=2)) == [b"a", b"b"]
    assert ef.load(path, ef.Vocabulary(["c"]), limit=3).coverage.found() == 0


def fakes(rows: int, dim: int) -> np.ndarray:
    """Values whose bytes look like records, so that every guess of a boundary is a trap."""
    record = b"x " + b"1 " * (2 * dim - 1)
    return np.frombuffer((record * rows)[: 4 * rows * dim], np.float32).reshape(rows, dim)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("size", [32, 100, 1000, 10_000])
@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize("kind", ["usual", "traps"])
def test_parts_and_threads(
    threads: int,
    size: int,
    after: bytes,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(word2vec, "WALK_BYTES", size)
    monkeypatch.setattr(word2vec, "BATCH_BYTES", size)
    tokens = [b"." * (i % 5) + b"token%d" % i for i in range(400)]
    matrix = table(400, 5) if kind == "usual" else fakes(400, 5)
    data = word2vec_bytes(tokens, matrix, after)
    plain, packed = put(tmp_path / "f", data), put(tmp_path / "f.gz", gzip.compress(data))
    v = ef.Vocabulary([t.decode() for t in tokens[::-37]])
    options = {"threads": threads, "format": "word2vec"}
    for path, pack in ((plain, bytes), (packed, gzip.compress)):
        assert_is(ef.read(path, **options), tokens, matrix)
        assert bits(ef.load(path, v, **options).matrix[2:]) == bits(matrix[::-37])
        assert_is(ef.read(path, limit=123, **options), tokens[:123], matrix[:123])
        put(path, pack(data.replace(b"400 5", b"399 5", 1)))
        with pytest.raises(FormatError, match="more bytes") as caught:
            ef.read(path, **options)
        assert caught.value.offset == data.index(tokens[399] + b" ") - len(after)
        put(path, pack(data[:-7]))
        with pytest.raises(FormatError, match=TRUNCATED) as caught:
            ef.read(path, **options)
        assert caught.value.offset == data.index(tokens[399] + b" ") - len(after)
        put(path, pack(data.replace(b"token350", b"token35\xff")))
        with pytest.raises(FormatError, match="UTF-8") as caught:
            ef.read(path, **options)
        assert caught.value.offset == data.index(tokens[350] + b" ")


def test_a_named_pipe(tmp_path: Path) -> None:
    data = word2vec_bytes(ODD, matrix := table(len(ODD), 3))
    with pipe(tmp_path / "pipe", data) as path:
        assert_is(ef.read(path), ODD, matrix)


def test_half_precision(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    path = put(tmp_path / "f", word2vec_bytes([b"t%d" % i for i in range(20)], matrix))
    e = ef.read(path, dtype="float16")
    assert bits(e.matrix) == bits(matrix.astype(np.float16))
    ef.write(e, tmp_path / "out.bin")
    assert bits(ef.read(tmp_path / "out.bin").matrix) == bits(e.matrix.astype(np.float32))


def test_golden_bytes(tmp_path: Path) -> None:
    matrix = np.array([[1, -0.5, 3e38], [np.nan, np.inf, -0.0]], np.float32)
    tokens = ["king", "caf\u00e9\u3000"]
    golden = Path(__file__).parent / "golden"
    ef.write(ef.Embeddings(tokens, matrix), tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == (golden / "word2vec.bin").read_bytes()
    assert_is(ef.read(golden / "word2vec.bin"), tokens, matrix)
    assert_is(ef.read(golden / "word2vec-gensim.bin"), tokens, matrix)


@pytest.mark.parametrize("token", ["a b", " ", "\nx", "b "])
def test_tokens_that_it_cannot_hold(token: str, tmp_path: Path) -> None:
    for tokens in (["ok", token], [token, "ok"], ["", "ok", token]):
        with pytest.raises(FormatError, match=r"cannot hold.*safetensors") as caught:
            ef.write(ef.Embeddings(tokens, table(len(tokens), 2)), tmp_path / "out.bin")
        assert f"row {tokens.index(token)}" in str(caught.value)
        assert repr(token.encode()) in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("head", [b"\x80\x04\x95", b"\x80\x02}q"])
def test_a_pickle_is_not_opened(head: bytes, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="pickle"):
        ef.read(put(tmp_path / "vectors.bin", head + b"c__builtin__\neval\n" * 20))


@given(data=st.binary(max_size=80))
def test_any_bytes_behind_a_header(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Ten lines of Python read the same, or there is an error."""
    path = put(tmp_path_factory.mktemp("any") / "f", b"2 2\n" + data)
    tokens, at = [], 0
    for _ in range(2):
        while data[at : at + 1] == b"\n":
            at += 1
        space = data.find(b" ", at)
        if space < 0 or space + 9 > len(data):
            break
        tokens.append((data[at:space], data[space + 1 : space + 9]))
        at = space + 9
    else:
        if not data[at:].strip(b"\n") and tokens[0][0] != tokens[1][0]:
            e = ef.read(path, format="word2vec", unicode_errors="surrogateescape")
            assert spelled(e) == [token for token, _ in tokens]
            assert bits(e.matrix) == b"".join(vector for _, vector in tokens)
            return
    if len(tokens) == 2 and not data[at:].strip(b"\n"):
        return  # one token twice: a warning
    with pytest.raises(FormatError):
        ef.read(path, format="word2vec", unicode_errors="surrogateescape")


def test_float_bytes_are_copied_as_they_are(tmp_path: Path) -> None:
    raw = struct.pack("<6I", 0x7F800001, 0xFFC12345, 0x80000000, 1, 0x7FFFFFFF, 0xFF800000)
    path = put(tmp_path / "f", b"2 3\na " + raw[:12] + b"b " + raw[12:])
    assert bits(ef.read(path).matrix) == raw
    ef.convert(path, tmp_path / "s.safetensors")
    ef.convert(tmp_path / "s.safetensors", tmp_path / "h.h5")
    ef.convert(tmp_path / "h.h5", tmp_path / "b.bin")
    assert bits(ef.read(tmp_path / "b.bin").matrix) == raw
