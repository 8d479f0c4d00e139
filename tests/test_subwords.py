"""Vectors for unknown tokens from n-grams: what `load`, `align` and `extend` make of them."""

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import bits, child, glove_bytes, put, table
from test_memory import MEASURE, MEGABYTE

import embedfreeze as ef
from embedfreeze.cli import main
from embedfreeze.errors import FileError, FormatError

GOLDEN = Path(__file__).parent / "golden" / "fasttext"
UNKNOWN = [t for t in (GOLDEN / "unknown.txt").read_text(encoding="utf-8").split("\n") if t]
FLOAT = np.float32
MODEL = GOLDEN / "supervised.bin"
ROWS = np.load(GOLDEN / "supervised.bin.npy")
OPTIONS: dict[str, Any] = {"oov": "subword", "unicode_errors": "surrogateescape"}


def expected(tokens: list[str]) -> np.ndarray:
    known = (GOLDEN / "unknown.txt").read_text(encoding="utf-8").split("\n")
    rows: np.ndarray = ROWS[-len(known) :][[known.index(token) for token in tokens]]
    return rows


def test_coverage_and_provenance(tmp_path: Path) -> None:
    first = ef.read(MODEL, unicode_errors="surrogateescape").tokens[3]
    v = ef.Vocabulary([first, *UNKNOWN], counts={first: 10, **dict.fromkeys(UNKNOWN, 2)})
    a = ef.load(MODEL, v, **OPTIONS)
    asked = [token for token in UNKNOWN if token != "</s>"]
    assert a.coverage is not None
    assert a.coverage.match == ("exact", "lower", "subword")
    assert [a.coverage.found(stage) for stage in a.coverage.match] == [2, 0, len(asked)]
    assert a.coverage.found("subword", by="token") == 2 * len(asked)
    assert a.coverage.missing() == []
    assert (a.provenance["oov"], a.provenance["match"][-1]) == ("subword", "subword")
    assert bits(a.matrix[[v.index(token) for token in asked]]) == bits(expected(asked))
    assert not a.matrix[[v.padding_id, v.unknown_id]].any()
    a.save(tmp_path / "s.safetensors")
    again = ef.load(tmp_path / "s.safetensors", v, **OPTIONS)  # it serves as it is
    assert again.digest == a.digest
    assert again.coverage is not None
    assert again.coverage.stage_of_id.tolist() == a.coverage.stage_of_id.tolist()


def test_align_and_extend(tmp_path: Path) -> None:
    e = ef.read(MODEL, unicode_errors="surrogateescape")
    v = ef.Vocabulary([e.tokens[1], "unseen"])
    a = ef.align(e, v, oov="subword")
    assert bits(a.matrix[-1:]) == bits(expected(["unseen"]))
    more = a.extend(["漢字", "éé"], MODEL, **OPTIONS)
    assert bits(more.matrix[-2:]) == bits(expected(["漢字", "éé"]))
    assert more.coverage is not None
    assert more.coverage.found("subword") == 3
    assert more.provenance["extended"][0]["oov"] == "subword"
    other = ef.Embeddings(e.tokens, np.ascontiguousarray(e.matrix[:, :3]), e.path)
    with pytest.raises(FormatError, match="vectors of n-grams must have 3 values"):
        ef.align(other, v, oov="subword")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "words.txt", b"unseen\n")
    target = tmp_path / "t.safetensors"
    call = ["align", str(MODEL), str(target), "--vocabulary", str(tmp_path / "words.txt")]
    assert main([*call, "--oov", "subword", "--unicode-errors", "surrogateescape"]) == 0
    assert "subword      1 100.0%" in capsys.readouterr().out
    assert bits(ef.read(target).matrix[-1:]) == bits(expected(["unseen"]))


def test_a_token_without_ngrams_is_missing() -> None:
    a = ef.load(GOLDEN / "words.bin", ef.Vocabulary(["unseen"]), **OPTIONS)
    assert a.coverage is not None
    assert a.coverage.missing() == [("unseen", None)]
    assert not a.matrix.any()
    b = ef.load(MODEL, ef.Vocabulary([], special=["[CLS]"]), **OPTIONS)
    assert not b.matrix.any()  # special tokens are zeros, as with "nearest"


def test_words_behind_a_limit_are_no_unknown_ones() -> None:
    """fastText adds the row of a word to its n-grams."""
    e = ef.read(MODEL, unicode_errors="surrogateescape")
    word = next(token for token in reversed(e.tokens) if token.isascii())
    v = ef.Vocabulary([word, "unseen"], padding=None, unknown=None)
    wanted = bits(np.concatenate([e[[word]], expected(["unseen"])]))
    assert bits(ef.load(MODEL, v, limit=2, **OPTIONS).matrix) == wanted
    first = ef.read(MODEL, limit=2, unicode_errors="surrogateescape")
    assert bits(ef.align(first, v, oov="subword").matrix) == wanted


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_other_dtypes(dtype: str) -> None:
    v = ef.Vocabulary(["unseen", "漢字"])
    a = ef.load(MODEL, v, dtype=dtype, **OPTIONS)
    assert bits(a.matrix) == bits(ef.load(MODEL, v, **OPTIONS).astype(dtype).matrix)


def test_several_sources(tmp_path: Path) -> None:
    glove = put(tmp_path / "g.txt", glove_bytes([b"king", b"queen"], np.eye(2, 4, dtype=FLOAT)))
    v = ef.Vocabulary(["king", "unseen"])
    for sources in ([glove, MODEL], [MODEL, glove]):
        a = ef.load(sources, v, **OPTIONS)
        assert bits(a.matrix[2:3]) == bits(ef.read(glove)[["king"]])
        assert bits(a.matrix[3:]) == bits(expected(["unseen"]))
        b = ef.align(
            [ef.read(path, unicode_errors="replace") for path in sources], v, oov="subword"
        )
        assert b.digest == a.digest
    both = ef.load([MODEL, GOLDEN / "skipgram.bin"], v, combine="concat", **OPTIONS)
    assert both.matrix.shape == (4, 8)
    assert bits(both.matrix[3:, :4]) == bits(expected(["unseen"]))
    with pytest.raises(FormatError, match=r"g.txt, .*g.txt: oov=.*received none: name such a file"):
        ef.load([glove, glove], v, **OPTIONS)
    with pytest.raises(FormatError, match="received none"):
        ef.load([MODEL, glove], v, combine="concat", **OPTIONS)


def test_sources_without_ngrams(tmp_path: Path) -> None:
    glove = put(tmp_path / "g.txt", glove_bytes([b"king", b"queen"], np.eye(2, 4, dtype=FLOAT)))
    v = ef.Vocabulary(["king", "unseen"])
    message = r'g.txt: oov="subword" needs a file with vectors of n-grams: a fastText model'
    with pytest.raises(FormatError, match=message):
        ef.load(glove, v, oov="subword")
    with pytest.raises(FormatError, match=message):
        ef.align(ef.read(glove), v, oov="subword")
    with pytest.raises(FormatError, match="embeddings: oov=.* received none"):
        ef.align(ef.Embeddings(["king"], table(1, 4)), v, oov="subword")
    ef.load(glove, v).save(tmp_path / "s.safetensors")
    with pytest.raises(FormatError, match="received none"):
        ef.load(tmp_path / "s.safetensors", v, oov="subword")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="a pipe can be read once"):
        ef.load(tmp_path / "pipe", v, **OPTIONS)


def sparse_model(path: Path, words: int, buckets: int, dim: int) -> None:
    """A model whose rows of n-grams are a hole in the file, which reads as zeros, but for a few."""
    tokens = b"".join(b"token%d\0" % i + struct.pack("<qb", 1, 0) for i in range(words))
    head = struct.pack("<2i12id", 793712314, 12, dim, 5, 5, 1, 5, 1, 2, 1, buckets, 3, 6, 100, 1e-4)
    head += struct.pack("<3i2q", words, words, 0, words, -1) + tokens + b"\0"
    head += struct.pack("<2q", words + buckets, dim)
    with open(path, "wb") as file:
        file.write(head)
        file.write(np.arange(words * dim, dtype=np.float32).tobytes())
        file.truncate(len(head) + 4 * dim * (words + buckets))
        file.seek(0, 2)
        file.write(b"\0" + struct.pack("<2q", 0, dim))


LOAD = (
    MEASURE
    + """
v = ef.Vocabulary([f"token{i}" for i in range(0, 400, 2)] + [f"none{i}" for i in range(300)])
a = peak_of(lambda: ef.load(sys.argv[1], v, oov="subword"))
print(a.coverage.found("exact"), a.coverage.found(), a.matrix[2 + 7, 5])
"""
)


@pytest.mark.parametrize("kind", ["bin", "bin.gz"])
def test_load_takes_the_memory_of_the_vocabulary(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    sparse_model(path, 20_000, 180_000 if kind == "bin" else 40_000, 300)
    assert path.stat().st_size > (200 if kind == "bin" else 70) * MEGABYTE
    if kind == "bin.gz":
        path = put(tmp_path / "f.bin.gz", gzip.compress(path.read_bytes(), 1))
    used, exact, found, value = child(LOAD, path).split()
    assert (int(exact), int(found)) == (200, 200)  # the n-grams are zeros
    token, rows = 14 * 300 + 5, 1 + sum(10 - n for n in range(3, 7))
    assert float(value) == np.float32(token) * np.float32(1 / rows)
    assert int(used) < 20 * MEGABYTE


def test_who_leaves_n_grams_behind_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read: dict[str, Any] = {"unicode_errors": "surrogateescape"}
    with pytest.warns(UserWarning, match="vectors of n-grams are not converted.*--oov subword"):
        ef.convert(MODEL, tmp_path / "t.safetensors", **read)
    told = "has vectors of n-grams"
    assert any(note.startswith(told) for note in ef.inspect(MODEL).notes)
    assert not any(note.startswith(told) for note in ef.inspect(tmp_path / "t.safetensors").notes)
    token = ef.read(MODEL, **read).tokens[1]
    advice = "--oov subword makes rows of the missing tokens from the n-grams of the file\n"
    for words, source, options, advised in (
        (f"{token}\nunseen\n", MODEL, [], True),
        (f"{token}\nunseen\n", MODEL, ["--oov", "subword"], False),
        (f"{token}\n", MODEL, [], False),
        (f"{token}\nunseen\n", tmp_path / "t.safetensors", [], False),
    ):
        put(tmp_path / "words.txt", words.encode())
        call = ["align", str(source), str(tmp_path / "words.txt"), str(tmp_path / "a.safetensors")]
        call += ["--unicode-errors", "surrogateescape", "--force", *options]
        assert main(call) == 0
        assert (advice in capsys.readouterr().out) == advised
