"""fastText models: bit-equal to fastText itself, within a last place of gensim."""

import gzip
import io
import random
import struct
import warnings
from pathlib import Path
from typing import Any

import gensim
import numpy as np
import pytest
from gensim.models.fasttext import load_facebook_vectors
from samples import GENSIM_DATA, bits, pipe, put, spelled

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError

GOLDEN = Path(__file__).parent / "golden" / "fasttext"
MODELS = sorted(path.name for path in GOLDEN.iterdir() if path.suffix in (".bin", ".ftz"))
UNKNOWN = (GOLDEN / "unknown.txt").read_text(encoding="utf-8").split("\n")
HEAD = struct.Struct("<2i12id3iqq")
ARGUMENTS = ["dim", "ws", "epoch", "minCount", "neg", "wordNgrams", "loss", "model", "bucket"]
COUNTS = ["size", "nwords", "nlabels", "ntokens", "pruned"]
NAMES = ["magic", "version", *ARGUMENTS, "minn", "maxn", "rate", "t", *COUNTS]
CORPUS = Path(gensim.__file__).parent / GENSIM_DATA
SKIPGRAM = (GOLDEN / "skipgram.bin").read_bytes()


def read(path: Any, **options: Any) -> ef.Embeddings:
    return ef.read(path, unicode_errors="surrogateescape", **options)


def told(name: str) -> np.ndarray:
    """What fastText says of the words and of UNKNOWN; the older layout holds the same values."""
    rows: np.ndarray = np.load(GOLDEN / f"{name.replace('older', 'skipgram')}.npy")
    return rows


def changed(data: bytes, **fields: int) -> bytes:
    """A model with other numbers in its head."""
    values = list(HEAD.unpack_from(data))
    for name, value in fields.items():
        values[NAMES.index(name)] = value
    return HEAD.pack(*values) + data[HEAD.size :]


def entries_end(data: bytes) -> int:
    at = HEAD.size
    for _ in range(HEAD.unpack_from(data)[NAMES.index("size")]):
        at = data.index(b"\0", at) + 10
    return at


@pytest.mark.parametrize("name", MODELS)
def test_words_as_fasttext_has_them(name: str) -> None:
    e = read(GOLDEN / name)
    rows = told(name)[: -len(UNKNOWN)]
    assert bits(e.matrix) == bits(rows)
    assert b"</s>" in spelled(e)
    assert b"\x80\x80x" in spelled(e) or "ftz" in name
    assert not any(token.startswith(b"__label__") for token in spelled(e))


@pytest.mark.parametrize("name", MODELS)
def test_unknown_words_as_fasttext_has_them(name: str) -> None:
    asked = [token for token in UNKNOWN if token]
    v = ef.Vocabulary(asked, padding=None, unknown=None)
    a = ef.load(GOLDEN / name, v, oov="subword", match=["exact"], unicode_errors="surrogateescape")
    rows = told(name)[-len(UNKNOWN) :]
    assert bits(a.matrix) == bits(rows[[UNKNOWN.index(token) for token in asked]])


@pytest.mark.parametrize("name", MODELS)
def test_it_is_recognised(name: str, tmp_path: Path) -> None:
    assert ef.inspect(GOLDEN / name).format == "fasttext"
    packed = put(tmp_path / "m.bin.gz", gzip.compress((GOLDEN / name).read_bytes()))
    whole = bits(read(GOLDEN / name).matrix)
    assert bits(read(packed).matrix) == whole
    assert bits(read(io.BytesIO((GOLDEN / name).read_bytes())).matrix) == whole
    with pipe(tmp_path / "pipe", (GOLDEN / name).read_bytes()) as fifo:
        assert bits(read(fifo).matrix) == whole


def test_what_is_told() -> None:
    said = ef.inspect(GOLDEN / "pruned.ftz").notes
    assert said[0].startswith("version 12, ")
    assert said[0].endswith(", 2 labels")
    assert "the rows are product-quantised" in said
    assert any(note.endswith(" of 300 rows of n-grams are kept") for note in said)
    assert ef.inspect(GOLDEN / "older.bin").notes[0] == "the older layout, 56 words"
    assert "n-grams of 3 to 6 characters share 50 rows" in ef.inspect(GOLDEN / "skipgram.bin").notes
    assert "it has no n-grams" in ef.inspect(GOLDEN / "version11.bin").notes


@pytest.mark.parametrize("name", ["skipgram.bin", "pruned.ftz"])
def test_a_part_of_the_words(name: str) -> None:
    e = read(GOLDEN / name)
    for limit in (1, 7, len(e), len(e) + 5):
        assert bits(read(GOLDEN / name, limit=limit).matrix) == bits(e.matrix[:limit])
    for threads in (1, 3):
        assert bits(read(GOLDEN / name, threads=threads).matrix) == bits(e.matrix)
    half = read(GOLDEN / name, dtype="float16")
    assert bits(half.matrix) == bits(e.matrix.astype(np.float16))
    chosen = list(e.tokens)[1::9]
    a = ef.load(GOLDEN / name, ef.Vocabulary(chosen), unicode_errors="surrogateescape")
    assert a.coverage is not None
    assert a.coverage.found("exact") == len(chosen)
    assert bits(a.matrix[2:]) == bits(e[chosen])


def test_more_words_than_are_walked_at_a_time(tmp_path: Path) -> None:
    n, tokens = 140_000, b"".join(b"t%d\0" % i + struct.pack("<qb", 1, 0) for i in range(140_000))
    head = HEAD.pack(793712314, 12, 1, 5, 5, 1, 5, 1, 2, 1, 0, 0, 0, 9, 1e-4, n, n, 0, n, -1)
    rows = np.arange(n, dtype=np.float32)
    data = head + tokens + b"\0" + struct.pack("<2q", n, 1) + rows.tobytes()
    path = put(tmp_path / "m.bin", data + b"\0" + struct.pack("<2q", 0, 1))
    e = ef.read(path)
    assert bits(e.matrix) == bits(rows)
    assert list(e.tokens) == [f"t{i}" for i in range(n)]
    assert bits(ef.read(path, limit=70_000).matrix) == bits(rows[:70_000])
    chosen = [0, 1, 65_535, 65_536, 131_071, 131_072, n - 1]
    a = ef.load(path, ef.Vocabulary([f"t{i}" for i in chosen]))
    assert a.matrix[2:, 0].tolist() == chosen


def test_strict_tokens() -> None:
    with pytest.raises(FormatError, match=r"byte offset \d+: tokens must be UTF-8, received b'"):
        ef.read(GOLDEN / "skipgram.bin")


def fasttext_rows(path: Path) -> np.ndarray:
    fasttext = pytest.importorskip("fasttext")
    model = fasttext.FastText._FastText(model_path=str(path))
    return np.array([model.get_word_vector(token) for token in spelled(read(path))], np.float32)


@pytest.mark.parametrize(
    "name", ["lee_fasttext_new", "crime-and-punishment", "toy-model", "pang_lee_polarity_fasttext"]
)
def test_models_of_others_as_fasttext_has_them(name: str) -> None:
    path = CORPUS / f"{name}.bin"
    assert bits(read(path).matrix) == bits(fasttext_rows(path))


@pytest.mark.parametrize(
    "name", ["lee_fasttext", "lee_fasttext_new", "crime-and-punishment", "non_ascii_fasttext"]
)
def test_gensim_differs_by_a_last_place(name: str) -> None:
    """It divides where fastText multiplies, and gives n-grams to the end of a sentence."""
    path = CORPUS / f"{name}.bin"
    e, theirs = read(path), load_facebook_vectors(str(path))
    assert theirs.index_to_key == list(e.tokens)
    usual = [row for row, token in enumerate(e.tokens) if token != "</s>"]
    ours, others = e.matrix[usual].view(np.int32), theirs.vectors[usual].view(np.int32)
    assert np.abs(ours.astype(np.int64) - others).max() == 1
    assert 0.65 < (ours == others).mean() < 0.75
    numbers = struct.unpack_from("<14i", path.read_bytes())
    minn, maxn = numbers[9:11] if numbers[0] != 793712314 else numbers[11:13]
    sizes = np.array([len(e.tokens[row]) + 2 for row in usual])
    counts = 1 + sum(np.maximum(sizes - n + 1, 0) for n in range(minn, maxn + 1))
    exact = np.isin(counts, [1, 2, 4, 8, 16, 32, 64])  # both are exact then
    assert exact.sum() > 10
    assert (ours == others)[exact].all()


def test_bytes_that_are_not_utf8() -> None:
    """gensim spells such words anew before it takes n-grams, fastText and we do not."""
    e = read(CORPUS / "cp852_fasttext.bin")
    assert "kter\udcec" in e
    with pytest.raises(FormatError, match="tokens must be UTF-8"):
        ef.read(CORPUS / "cp852_fasttext.bin")


# ---- damaged and hostile files -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 13}, "the version of a fastText model must be 1 to 12, received 13"),
        ({"version": -1}, "the version of a fastText model must be 1 to 12, received -1"),
        ({"dim": 0}, "a model must have a dim above 0"),
        ({"dim": 5}, "the rows must have the dim that the model says, 5, received 4"),
        ({"bucket": -1}, "received dim 4, -1 buckets"),
        ({"bucket": 51}, "the matrix must have rows for words and n-grams, 107 of them, received"),
        ({"minn": -3}, "n-grams of at most 1024 characters, received"),
        ({"maxn": 2**31 - 1}, "n-grams of at most 1024 characters, received"),
        ({"nwords": 2**31 - 1}, "the dictionary must hold words and labels in at least 10 bytes"),
        ({"size": 2**31 - 1, "nwords": 2**31 - 1}, "received 2147483647 entries"),
        ({"nlabels": -1, "nwords": 57}, "received 56 entries, 57 words and -1 labels"),
        ({"nlabels": 1, "nwords": 55}, "words must stand before labels in the dictionary"),
        ({"size": 0, "nwords": 0}, "received 0 entries"),
        ({"size": 57, "nwords": 57}, "received"),
        ({"pruned": 2**61}, "the pairs of pruned n-grams take"),
        ({"pruned": 0}, "only a quantised model can be pruned"),
    ],
)
def test_numbers_that_cannot_be(fields: dict[str, int], message: str, tmp_path: Path) -> None:
    path = put(tmp_path / "m.bin", changed(SKIPGRAM, **fields))
    with pytest.raises(FormatError, match=message):
        read(path, format="fasttext")


def test_models_of_floret_are_told_apart(tmp_path: Path) -> None:
    """They begin as fastText's do, and have two numbers more: the mode and the hashes."""
    at = 4 * NAMES.index("rate")
    path = put(tmp_path / "m.bin", SKIPGRAM[:at] + struct.pack("<2i", 2, 1) + SKIPGRAM[at:])
    with pytest.raises(FormatError, match=r"as floret writes it: save its vectors with save_vec"):
        read(path)


def test_shapes_of_the_matrix(tmp_path: Path) -> None:
    at = entries_end(SKIPGRAM)
    for shape in [(-1, 4), (2**62, 4), (106, 2**62), (2**31, 2**31), (106, 0), (106, -4), (107, 4)]:
        data = SKIPGRAM[: at + 1] + struct.pack("<2q", *shape) + SKIPGRAM[at + 17 :]
        if shape == (107, 4):  # a row of what stands behind it
            with pytest.warns(UserWarning, match="the end of the file, which no vector needs"):
                read(put(tmp_path / "m.bin", data))
            continue
        with pytest.raises(FormatError, match=r"a matrix must have rows|rows of .* values take"):
            read(put(tmp_path / "m.bin", data))
    data = SKIPGRAM[:at] + b"\2" + SKIPGRAM[at + 1 :]
    with pytest.raises(FormatError, match="the mark of a quantised matrix must be 0 or 1"):
        read(put(tmp_path / "m.bin", data))


def test_pairs_of_a_pruned_model(tmp_path: Path) -> None:
    data = (GOLDEN / "pruned.ftz").read_bytes()
    at = entries_end(data)
    for place in (-1, 2**31 - 1, 184):
        bad = data[: at + 4] + struct.pack("<i", place) + data[at + 8 :]
        with pytest.raises(FormatError, match="the matrix must have rows for words and n-grams"):
            read(put(tmp_path / "m.ftz", bad))
    twice = data[: at + 8] + data[at : at + 4] + data[at + 12 :]
    model = put(tmp_path / "m.ftz", twice)  # of two pairs the last counts
    assert bits(read(model).matrix) == bits(fasttext_rows(model))


@pytest.mark.parametrize("name", ["skipgram.bin", "older.bin", "supervised.bin", "pruned.ftz"])
def test_every_truncation_is_found(name: str, tmp_path: Path) -> None:
    data = (GOLDEN / name).read_bytes()
    whole = read(GOLDEN / name)
    for stop in range(len(data) - 1, 72, -29):
        path = put(tmp_path / "m.bin", data[:stop])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                e = read(path, format="fasttext")
            except FormatError as error:
                assert "truncated" in str(error)  # noqa: PT017
                continue
        assert bits(e.matrix) == bits(whole.matrix)
        assert "the file is truncated" in str(caught[0].message)


def test_no_model(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"king 1 2\nqueen 3 4\n")
    with pytest.raises(FormatError, match="a fastText model must begin with the number 793712314"):
        read(path, format="fasttext")
    with pytest.raises(FileError, match="fasttext files can be read, not written"):
        ef.convert(path, tmp_path / "m.bin", to_format="fasttext")


@pytest.mark.parametrize("name", ["skipgram.bin", "older.bin", "quantised.ftz", "pruned.ftz"])
def test_mutants(name: str, tmp_path: Path) -> None:
    chosen, data = random.Random(3), (GOLDEN / name).read_bytes()
    read_at_all = 0
    for _ in range(150):
        bad = bytearray(data)
        for _ in range(chosen.randint(1, 4)):
            at = chosen.randrange(min(len(bad), chosen.choice([90, 2000, len(bad)])))
            bad[at] = chosen.choice([0, 1, 127, 128, 255, chosen.randrange(256)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                path = put(tmp_path / "m.bin", bytes(bad))
                ef.load(path, ef.Vocabulary(["kalo", "unseen"]), format="fasttext", oov="subword")
                read(path, format="fasttext")
                read_at_all += 1
            except EmbedFreezeError:
                pass
    assert read_at_all > 10
