"""The projector's pair of files: which metadata belong to vectors, and what cannot be held."""

import contextlib
import gzip
import random
from pathlib import Path

import numpy as np
import pytest
from samples import ODD_TOKENS, assert_is, bits, put, table

import embedfreeze as ef
from embedfreeze.errors import FileError, FormatError
from embedfreeze.formats.texts import projector
from embedfreeze.tokens import Tokens

GOLDEN = Path(__file__).parent / "golden" / "projector"
TOKENS = ["king", "New York", "caf\u00e9", "2003"]
VALUES = np.array([[0.5, -0.25, 1e-05], [1, 2, 3], [0.1, -0.2, 0.3], [0.7, -0.0, 0.9]], np.float32)
VECTORS = b"0.5\t1\n0.25\t2\n"


@pytest.mark.parametrize("name", ["vectors.tsv", "words_tensor.tsv"])
def test_golden_files(name: str) -> None:
    e = ef.read(GOLDEN / name)
    assert_is(e, TOKENS, VALUES)
    assert ef.inspect(GOLDEN / name).format == "projector"
    assert_is(ef.read(GOLDEN / name, limit=2), TOKENS[:2], VALUES[:2])
    a = ef.load(GOLDEN / name, ef.Vocabulary(["2003", "king"]))
    assert bits(a.matrix[2:]) == bits(VALUES[[3, 0]])


def test_a_golden_file_is_read_alike_by_numpy() -> None:
    values = np.loadtxt(GOLDEN / "vectors.tsv", delimiter="\t")
    assert bits(values.astype(np.float32)) == bits(VALUES)


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("vectors.tsv", "metadata.tsv"),
        ("x.tsv", "x.metadata.tsv"),
        ("x.tsv", "x_metadata.tsv"),
        ("my_vectors.tsv", "my_metadata.tsv"),
        ("x_tensor.tsv", "x_metadata.tsv"),
        ("x.tsv", "x.tokens.txt"),
    ],
)
def test_which_metadata_are_taken(name: str, metadata: str, tmp_path: Path) -> None:
    path = put(tmp_path / name, VECTORS)
    with pytest.raises(FormatError, match="received none beside them"):
        ef.read(path)
    put(tmp_path / metadata, b"a b\nc\n")
    assert_is(ef.read(path), ["a b", "c"], np.array([[0.5, 1], [0.25, 2]], np.float32))


def test_metadata_are_named_and_packed_vectors_stream(tmp_path: Path) -> None:
    path = put(tmp_path / "v.tsv.gz", gzip.compress(VECTORS))
    for name in ("m.tsv", "words.txt"):
        put(tmp_path / name, b"a\nb\n")
        e = ef.read(path, tokens=tmp_path / name)
        assert_is(e, ["a", "b"], np.array([[0.5, 1], [0.25, 2]], np.float32))


def test_whole_numbers_with_metadata(tmp_path: Path) -> None:
    path = put(tmp_path / "vectors.tsv", b"1\t2\n3\t4\n")
    put(tmp_path / "metadata.tsv", b"Count\tName\n7\ta\n8\tb\n")
    assert_is(ef.read(path), ["a", "b"], np.array([[1, 2], [3, 4]], np.float32))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("metadata", [b"a\n", b"a\nb\nc\n"])
def test_numbers_of_rows_that_differ(packed: bool, metadata: bytes, tmp_path: Path) -> None:
    path = put(tmp_path / "vectors.tsv", gzip.compress(VECTORS) if packed else VECTORS)
    put(tmp_path / "metadata.tsv", metadata)
    with pytest.raises(FormatError, match=r"received \d tokens for 2 rows"):
        ef.read(path)


@pytest.mark.parametrize(
    ("data", "line", "column", "said"),
    [
        (b"0.5\n", 4, None, "received 1 fields"),
        (b"0.5\t1\t2\n", 4, None, "received 3 fields"),
        (b"0.5\tx\n", 4, 2, "b'x'"),
        (b"\n0.5\t1\n", 4, 1, "must be 2 numbers, received 1 fields"),
    ],
)
def test_bad_rows(data: bytes, line: int, column: int | None, said: str, tmp_path: Path) -> None:
    data = b"0.5\t1\n" * 3 + data
    path = put(tmp_path / "vectors.tsv", data)
    put(tmp_path / "metadata.tsv", b"a\n" * data.count(b"\n"))
    with pytest.raises(FormatError, match=said) as caught:
        ef.read(path, format="projector")
    assert (caught.value.line, caught.value.column) == (line, column)


def test_metadata_with_a_short_line(tmp_path: Path) -> None:
    path = put(tmp_path / "vectors.tsv", VECTORS)
    put(tmp_path / "metadata.tsv", b"Count\tWord\n1\ta\n2\n")
    with pytest.raises(FormatError, match="as many fields as the first, 2, received 1") as caught:
        ef.read(path)
    assert caught.value.line == 3


@pytest.mark.parametrize("dim", [1, 2, 9])
def test_both_files_go_round(dim: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [t for t in ODD_TOKENS if t.strip() and not set(t) & set("\t\r\n")]
    matrix = table(len(tokens), dim)
    path = tmp_path / "vectors.tsv"
    e = ef.Embeddings(Tokens.from_strings(tokens), matrix)
    ef.write(e, path, format="projector")
    assert (tmp_path / "metadata.tsv").read_bytes() == "".join(t + "\n" for t in tokens).encode()
    for size in (16, 100, 1 << 20):
        monkeypatch.setattr(projector, "PIECE_BYTES", size)
        with pytest.warns(UserWarning, match="not finite"):
            assert_is(ef.read(path), tokens, matrix)
    with pytest.raises(FileError, match="exists"):
        ef.write(e, path, format="projector")
    ef.write(e, path, format="projector", overwrite=True)


@pytest.mark.parametrize("token", ["a\tb", "a\nb", "a\rb", "", " "])
def test_tokens_that_it_cannot_hold(token: str, tmp_path: Path) -> None:
    e = ef.Embeddings(Tokens.from_strings(["a", token]), table(2, 3))
    with pytest.raises(FormatError, match="row 1"):
        ef.write(e, tmp_path / "vectors.tsv", format="projector")
    assert not list(tmp_path.iterdir())


def test_mutants_are_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(0)
    files = {name: (GOLDEN / name).read_bytes() for name in ("vectors.tsv", "metadata.tsv")}
    for _ in range(150):
        for name, data in files.items():
            changed = bytearray(data)
            for _ in range(rng.randint(0, 2)):
                changed[rng.randrange(len(data))] = rng.choice(b"\t\n\r ,.-0ex\0\xff")
            put(tmp_path / name, bytes(changed))
        with contextlib.suppress(FormatError):
            assert ef.read(tmp_path / "vectors.tsv").matrix.nbytes < 1000
