"""finalfusion: against its own package, bit by bit, and by hand where that writes no such file."""

import gzip
import itertools
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from finalfusion import Embeddings, load_finalfusion
from finalfusion.metadata import Metadata
from finalfusion.norms import Norms
from finalfusion.storage import NdArray, QuantizedArray
from finalfusion.storage.quantized import PQ
from finalfusion.subword import ExplicitIndexer, FastTextIndexer, FinalfusionHashIndexer
from finalfusion.vocab import ExplicitVocab, FastTextVocab, FinalfusionBucketVocab, SimpleVocab
from samples import ODD_TOKENS, assert_is, bits, put, spelled, table

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FormatError
from embedfreeze.formats.base import ReadOptions
from embedfreeze.formats.finalfusion import fifu as finalfusion
from embedfreeze.formats.finalfusion import subwords as finalfusionsubwords
from embedfreeze.formats.verbs import open_reading
from embedfreeze.tokens import Tokens

GOLDEN = Path(__file__).parent / "golden" / "finalfusion"
FILES = sorted(GOLDEN.glob("*.fifu"))
WORDS = [*ODD_TOKENS, "a b", "", "x\ny"]
UNKNOWN = [
    "kingly",
    "caf\u00e9s",
    "\u6771\u4eac\u90fd",
    "x",
    "\U0001f600 smile",
    "e\u0301",
    "kkkkkkkk" * 20,
]
DIM = 6
VOCABULARIES = {
    "simple": SimpleVocab(WORDS),
    "buckets": FinalfusionBucketVocab(WORDS, FinalfusionHashIndexer(7, 1, 5)),
    "fasttext": FastTextVocab(WORDS, FastTextIndexer(97, 3, 6)),
    "explicit": FastTextVocab(WORDS, FastTextIndexer(97, 2, 3)).to_explicit(),
    "shared": ExplicitVocab(
        WORDS, ExplicitIndexer(["<ki", "ing", "kk"], 2, 3, {"<ki": 0, "ing": 1, "kk": 0})
    ),
}


def quantized(rows: int, kind: str) -> QuantizedArray:
    rng = np.random.default_rng(rows)
    projection = rng.standard_normal((DIM, DIM)).astype(np.float32) if "project" in kind else None
    norms = np.abs(rng.standard_normal(rows)).astype(np.float32) if "scale" in kind else None
    centroids = rng.standard_normal((3, 5, DIM // 3)).astype(np.float32)
    codes = rng.integers(0, 5, (rows, 3)).astype(np.uint8)
    return QuantizedArray(PQ(centroids, projection), codes, norms)


def floats(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, DIM)).astype(np.float32)


def expected(library: Embeddings, norms: bool) -> np.ndarray:
    """The rows of words, each multiplied by its norm."""
    rows = []
    for word in library.vocab.words:
        row = np.array(library.embedding(word))
        rows.append(row * library.embedding_with_norm(word)[1] if norms else row)
    return np.array(rows, np.float32)


def subwords_of(path: Path, tokens: list[str]) -> np.ndarray:
    source, _, reading = open_reading(path, ReadOptions())
    with source:
        assert reading.subwords is not None
        return reading.subwords(Tokens.from_strings(tokens))


def assert_subwords(path: Path, library: Embeddings) -> None:
    for token, row in zip(UNKNOWN, subwords_of(path, UNKNOWN), strict=True):
        known = library.embedding(token)
        assert bits(row) == (bits(np.zeros_like(row)) if known is None else bits(known)), token


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize(
    "kind", ["plain", "codes", "codes project", "codes scale", "codes scale project"]
)
@pytest.mark.parametrize("norms", [False, True])
def test_as_the_library_reads(vocabulary: str, kind: str, norms: bool, tmp_path: Path) -> None:
    known, path = VOCABULARIES[vocabulary], tmp_path / "f.fifu"
    rows = known.upper_bound
    array = NdArray(floats(rows)) if kind == "plain" else quantized(rows, kind)
    scales = Norms(np.abs(floats(len(WORDS))[:, 0])) if norms else None
    Embeddings(array, known, scales, Metadata({"a": 1})).write(path)
    library = load_finalfusion(path)
    e = ef.read(path)
    assert_is(e, WORDS, expected(library, norms))
    a = ef.load(path, ef.Vocabulary(["king", "zz", "caf\u00e9"]), match=("exact",))
    assert bits(a.matrix[2]) == bits(e["king"])
    assert bits(a.matrix[4]) == bits(e["caf\u00e9"])
    if vocabulary == "simple":
        source, _, reading = open_reading(path, ReadOptions())
        with source:
            assert reading.subwords is None
    else:
        assert_subwords(path, library)
        others = ef.Vocabulary(WORDS[1:], padding=None, unknown=None)
        behind = ef.load(path, others, limit=1, oov="subword", match=("exact",))
        assert bits(behind.matrix) == bits(e.matrix[1:])


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_golden_files(path: Path, tmp_path: Path) -> None:
    library = load_finalfusion(path)
    e = ef.read(path)
    assert_is(e, library.vocab.words, expected(library, library.norms is not None))
    if path.stem != "simple":
        assert_subwords(path, library)
    packed = put(tmp_path / "f.gz", gzip.compress(path.read_bytes()))
    assert_is(ef.read(packed), library.vocab.words, e.matrix)
    found = ef.inspect(packed)
    assert (found.format, found.rows, found.dim) == ("finalfusion", len(e), e.dim)


def test_by_hand() -> None:
    """Every byte of the file is in the README of its folder; the hashes are worked out here."""
    assert_is(
        ef.read(GOLDEN / "by_hand.fifu"), ["hi", "you"], np.array([[1, 2], [3, 4]], np.float32)
    )
    rows = {0: np.array([5, 6], np.float32), 1: np.array([8, 6], np.float32)}
    total = np.zeros(2, np.float32)
    for ngram in ("<a", "<", "a>", "a", ">"):
        total += rows[fnv1a(struct.pack("<Q", len(ngram)) + ngram.encode("utf-32-le")) % 2]
    assert bits(subwords_of(GOLDEN / "by_hand.fifu", ["a"])[0]) == bits(
        total / np.linalg.norm(total)
    )


def fnv1a(data: bytes) -> int:
    """FNV-1a of 64 bits."""
    found = 0xCBF29CE484222325
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 % 2**64
    return found


def test_the_metadata_are_shown() -> None:
    notes = ef.inspect(GOLDEN / "simple.fifu").notes
    assert "metadata: made = 'for tests'" in notes
    assert "metadata: model.dims = 4" in notes
    assert any("norms" in note for note in notes)
    assert any(
        "quantised: 2 parts of one in 3 centroids" in n
        for n in ef.inspect(GOLDEN / "quantized.fifu").notes
    )
    assert any("n-grams of 2 to 4" in note for note in ef.inspect(GOLDEN / "buckets.fifu").notes)


def file(words: bytes, count: int, rows: np.ndarray, *more: tuple[int, bytes]) -> bytes:
    """A file with a simple vocabulary, an array, and more chunks."""
    data = struct.pack("<4sIIII", b"FiFu", 0, 2, 1, 2)
    data += struct.pack("<IQQ", 1, 8 + len(words), count) + words
    pad = 4 - (len(data) + 28) % 4
    data += struct.pack("<IQQII", 2, 16 + pad + rows.nbytes, len(rows), rows.shape[1], 10)
    data += bytes(pad) + rows.tobytes()
    return data + b"".join(struct.pack("<IQ", kind, len(chunk)) + chunk for kind, chunk in more)


def items(*words: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(word)) + word for word in words)


@pytest.mark.parametrize("letters", [1, 2, 3, 4])
def test_padding_is_of_one_to_four_bytes(letters: int, tmp_path: Path) -> None:
    word = b"x" * letters
    path = put(tmp_path / "f", file(items(word), 1, rows := floats(1)))
    assert_is(ef.read(path), [word], rows)
    ef.write(ef.Embeddings([word.decode()], rows), tmp_path / "out.fifu")
    assert (tmp_path / "out.fifu").read_bytes() == path.read_bytes()
    assert bits(np.array(load_finalfusion(tmp_path / "out.fifu").storage)) == bits(rows)


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    matrix, path = table(len(WORDS), 7), tmp_path / "out.fifu"
    ef.write(ef.Embeddings(WORDS, matrix), path)
    for mapped in (False, True):
        library = load_finalfusion(path, mmap=mapped)
        assert library.vocab.words == WORDS
        assert bits(np.array(library.storage)) == bits(matrix)
        assert library.norms is None
    assert_is(ef.read(path), WORDS, matrix)
    ef.write(ef.Embeddings(WORDS, matrix), tmp_path / "out.fifu.gz")
    assert gzip.decompress((tmp_path / "out.fifu.gz").read_bytes()) == path.read_bytes()


def test_half_precision(tmp_path: Path) -> None:
    matrix = floats(9)
    half = ef.Embeddings([f"t{i}" for i in range(9)], matrix.astype(np.float16))
    ef.write(half, tmp_path / "f.fifu")
    assert bits(ef.read(tmp_path / "f.fifu").matrix) == bits(half.matrix.astype(np.float32))
    assert bits(ef.read(tmp_path / "f.fifu", dtype="float16").matrix) == bits(half.matrix)


def test_batches_limit_and_repeated_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finalfusion, "BATCH_BYTES", 4 * DIM * 7)
    monkeypatch.setattr(finalfusionsubwords, "CHUNK_WORDS", 3)
    tokens = [f"t{i}".encode() for i in range(40)]
    rows, norms = floats(40), np.abs(floats(40)[:, 0])
    chunk = struct.pack("<QI", 40, 10)
    data = file(items(*tokens), 40, rows)
    chunk += bytes(4 - (len(data) + 12 + len(chunk)) % 4) + norms.tobytes()
    path = put(tmp_path / "f", file(items(*tokens), 40, rows, (6, chunk)))
    whole = rows * norms[:, None]
    assert_is(ef.read(path), tokens, whole)
    assert_is(ef.read(path, limit=15), tokens[:15], whole[:15])
    a = ef.load(path, ef.Vocabulary([f"t{i}" for i in range(39, 0, -5)], padding=None))
    assert bits(a.matrix[1:]) == bits(whole[39:0:-5])
    assert_subwords(GOLDEN / "fasttext.fifu", load_finalfusion(GOLDEN / "fasttext.fifu"))
    repeated = put(tmp_path / "g", file(items(b"a", b"b", b"a"), 3, rows := floats(3)))
    with pytest.warns(UserWarning, match="1 row repeats"):
        assert_is(ef.read(repeated), ["a", "b"], rows[:2])
    with pytest.raises(FormatError, match="row 2"):
        ef.read(repeated, on_duplicate="error")


def test_tokens_that_are_not_utf8(tmp_path: Path) -> None:
    path = put(tmp_path / "f", file(items(b"ok", b"caf\xe9"), 2, rows := floats(2)))
    with pytest.raises(FormatError, match=r"UTF-8.*unicode_errors") as caught:
        ef.read(path)
    assert caught.value.row == 1
    assert_is(ef.read(path, unicode_errors="surrogateescape"), [b"ok", b"caf\xe9"], rows)
    with pytest.raises(FormatError, match=r"is not UTF-8, received b'caf\\xe9' as row 1"):
        ef.convert(path, tmp_path / "g.fifu", unicode_errors="surrogateescape")
    assert os.listdir(tmp_path) == ["f"]
    tokens = Tokens.from_bytes([b"caf\xe9", b"kingly"], "surrogateescape")
    source, _, reading = open_reading(GOLDEN / "buckets.fifu", ReadOptions())
    with source:
        assert reading.subwords is not None
        found = reading.subwords(tokens)
    assert not found[0].any()
    assert found[1].any()


def test_chunks_that_nobody_knows_and_metadata_that_are_none(tmp_path: Path) -> None:
    rows = floats(1)
    path = put(tmp_path / "f", file(items(b"a"), 1, rows, (77, b"abc"), (5, b"= no")))
    assert_is(ef.read(path), ["a"], rows)
    assert any("no TOML" in note for note in ef.inspect(path).notes)


BAD = {
    "version": (b"FiFu" + struct.pack("<II", 7, 0), "version 0 .*received version 7"),
    "many chunks": (b"FiFu" + struct.pack("<II", 0, 10**6), "at most 64 chunks"),
    "nothing": (b"FiFu" + struct.pack("<II", 0, 0), "one vocabulary of words, received 0"),
    "floret": (
        b"FiFu" + struct.pack("<IIIIQ", 0, 1, 9, 9, 0),
        "received a floret one, without words",
    ),
    "two vocabularies": (
        file(items(b"a"), 1, floats(1), (7, struct.pack("<QIII", 0, 1, 2, 3))),
        "one vocabulary of words, received 2",
    ),
    "two arrays": (
        file(items(b"a"), 1, floats(1), (4, bytes(40))),
        "one array, received 2",
    ),
    "words beyond the chunk": (file(items(b"a"), 2**60, floats(1)), "words must fit 5 bytes"),
    "a long word": (file(struct.pack("<I", 2**31) + b"a", 1, floats(1)), "string must end before"),
    "a row short": (file(items(b"a", b"b"), 2, floats(1)), "a row for each of 2 words.*received 1"),
    "rows beyond the chunk": (
        file(items(b"a"), 1, floats(1)).replace(
            struct.pack("<QII", 1, DIM, 10), struct.pack("<QII", 2**60, DIM, 10)
        ),
        r"fit its chunk.*received float32 \[1152921504606846976, 6\]",
    ),
    "no values": (file(items(b"a"), 1, floats(1)[:, :0]), "a row must have values"),
    "a dtype": (
        file(items(b"a"), 1, floats(1)).replace(
            struct.pack("<QII", 1, DIM, 10), struct.pack("<QII", 1, DIM, 11)
        ),
        r"dtype 10 \(float32\), received 11",
    ),
    "norms short": (
        file(items(b"a", b"b"), 2, floats(2), (6, struct.pack("<QI", 1, 10) + bytes(8))),
        "2 words must have norms, received 1",
    ),
    "a chunk beyond the end": (
        file(items(b"a"), 1, floats(1)) + struct.pack("<IQ", 6, 2**40),
        "chunk 6 must end before byte",
    ),
    "n-grams of none": (
        GOLDEN.joinpath("buckets.fifu")
        .read_bytes()
        .replace(struct.pack("<QIII", 6, 2, 4, 4), struct.pack("<QIII", 6, 0, 4, 4)),
        "1 or more characters, received 0 to 4",
    ),
    "buckets": (
        GOLDEN.joinpath("buckets.fifu")
        .read_bytes()
        .replace(struct.pack("<QIII", 6, 2, 4, 4), struct.pack("<QIII", 6, 2, 4, 64)),
        r"2 \*\* 63, received 64",
    ),
    "many buckets": (
        GOLDEN.joinpath("buckets.fifu")
        .read_bytes()
        .replace(struct.pack("<QIII", 6, 2, 4, 4), struct.pack("<QIII", 6, 2, 4, 62)),
        "4611686018427387904 buckets of n-grams, received 22",
    ),
    "a row of an n-gram": (
        GOLDEN.joinpath("explicit.fifu")
        .read_bytes()
        .replace(items(b"<king>") + bytes(8), items(b"<king>") + bytes(8 * [255])),
        "n-grams must have rows below that, received 18446744073709551615",
    ),
    "a chunk that is not there": (
        b"FiFu" + struct.pack("<III", 0, 1, 6) + file(items(b"a"), 1, floats(1))[20:],
        "received none of kind 6: the file is cut off",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_files(what: str, tmp_path: Path) -> None:
    data, message = BAD[what]
    path = put(tmp_path / "f", data)
    for read in (ef.read, ef.inspect, lambda p: ef.load(p, ef.Vocabulary(["a"]))):
        with pytest.raises(FormatError, match=message):
            read(path)


def test_codes_of_no_centroid(tmp_path: Path) -> None:
    known = SimpleVocab(["a"])
    codes = QuantizedArray(
        PQ(np.zeros((2, 3, 2), np.float32), None), np.array([[2, 3]], np.uint8), None
    )
    Embeddings(codes, known).write(tmp_path / "f")
    with pytest.raises(FormatError, match="below 3, the number of centroids, received 3"):
        ef.read(tmp_path / "f")


def test_another_format(tmp_path: Path) -> None:
    path = put(tmp_path / "f", b"FiFu 0.5 1\nking 1 2\n")
    assert spelled(ef.read(path)) == [b"FiFu", b"king"]
    with pytest.raises(FormatError, match="must begin with FiFu"):
        ef.read(path, format="finalfusion")


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_truncation_is_found(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    for size in range(8, len(data)):
        with pytest.raises(FormatError):
            ef.read(put(tmp_path / "f", data[:size]))


def mutants(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Bytes changed, doubled and left out."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), int(rng.integers(1, 4))).tolist():
            changed[at] = int(rng.choice([0, 1, 0x7F, 0xFF, changed[at] ^ (1 << rng.integers(8))]))
        if rng.random() < 0.2:
            low, high = sorted(rng.integers(0, len(changed), 2).tolist())
            changed[low:high] = changed[low:high] * int(rng.integers(0, 3))
        yield bytes(changed)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_mutants_are_read_or_refused(path: Path, tmp_path: Path) -> None:
    refused = 0
    for data in itertools.islice(mutants(path.read_bytes(), 10**6, len(path.stem)), 150):
        changed = put(tmp_path / "f", data)
        try:
            ef.read(changed, format="finalfusion", unicode_errors="replace")
            source, _, reading = open_reading(changed, ReadOptions(), format="finalfusion")
            with source:
                if reading.subwords is not None:
                    reading.subwords(Tokens.from_strings(UNKNOWN))
        except EmbedFreezeError:
            refused += 1
    assert refused


@pytest.mark.parametrize("packed", [False, True])
def test_unknown_words_in_load(packed: bool, tmp_path: Path) -> None:
    for name in ("buckets", "fasttext", "explicit", "quantized"):
        data = (GOLDEN / f"{name}.fifu").read_bytes()
        path = put(tmp_path / name, gzip.compress(data) if packed else data)
        a = ef.load(path, ef.Vocabulary(["king", *UNKNOWN]), match=("exact",), oov="subword")
        library = load_finalfusion(GOLDEN / f"{name}.fifu")
        assert bits(a.matrix[2]) == bits(ef.read(path)["king"])
        for token, row in zip(UNKNOWN, a.matrix[3:], strict=True):
            known = library.embedding(token)
            assert bits(row) == bits(np.zeros_like(row) if known is None else known)
