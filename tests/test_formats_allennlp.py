"""AllenNLP's HDF5, whose tokens lie in a text file beside it."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from samples import ODD_TOKENS, assert_is, bits, put, table

import embedfreeze as ef
from embedfreeze.errors import FileError, FormatError
from embedfreeze.tokens import Tokens

GOLDEN = Path(__file__).parent / "golden" / "hdf5"
PADDED = ["@@PADDING@@", "@@UNKNOWN@@", "king", "queen"]
VALUES = ((np.arange(12) - 6) / 7).astype(np.float32).reshape(4, 3)


def test_golden_files() -> None:
    """The list leaves the padding out, as that of AllenNLP's vocabulary does."""
    path = GOLDEN / "allennlp.h5"
    assert_is(ef.read(path), PADDED, VALUES)
    assert_is(ef.read(path, format="allennlp", limit=2), PADDED[:2], VALUES[:2])
    a = ef.load(path, ef.Vocabulary(["queen"]))
    assert bits(a.matrix[2]) == bits(VALUES[3])
    notes = ef.inspect(path).notes
    assert f"tokens are those of {GOLDEN / 'allennlp.tokens.txt'}" in notes
    assert any("row 0 has no line" in note for note in notes)
    words = ["king", "queen", "caf\u00e9", "New York"]
    assert_is(ef.read(GOLDEN / "generic.h5"), words, VALUES)


def test_a_vocabulary_in_the_same_folder(tmp_path: Path) -> None:
    """`tokens.txt` is what AllenNLP calls it; it belongs to a dataset `embedding` alone."""
    put(tmp_path / "f.h5", (GOLDEN / "allennlp.h5").read_bytes())
    listed = put(tmp_path / "tokens.txt", b"@@UNKNOWN@@\nking\nqueen\n")
    assert_is(ef.read(tmp_path / "f.h5"), PADDED, VALUES)
    put(tmp_path / "f.tokens.txt", b"a\nb\nc\nd\n")
    assert_is(ef.read(tmp_path / "f.h5"), ["a", "b", "c", "d"], VALUES)
    os.unlink(tmp_path / "f.tokens.txt")
    put(listed, b"a\nb\n")
    with pytest.raises(FormatError, match="received 2 tokens for 4 rows"):
        ef.read(tmp_path / "f.h5")
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file["vectors"] = VALUES
    with pytest.raises(FormatError, match="one dataset of 4 strings is needed"):
        ef.read(tmp_path / "g.h5")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_written_files(dtype: str, tmp_path: Path) -> None:
    tokens = ["@@PADDING@@", *ODD_TOKENS, "", " ", "New York"]
    matrix = np.arange(3 * len(tokens), dtype=dtype).reshape(-1, 3)
    for first in (0, 1):
        path = tmp_path / f"{first}.hdf5"
        e = ef.Embeddings(tokens[first:], matrix[first:])
        ef.write(e, path, format="allennlp")
        with h5py.File(path) as file:
            assert list(file) == ["embedding"]
            assert file["embedding"].dtype == dtype
            assert bits(file["embedding"][:]) == bits(matrix[first:])
        listed = (tmp_path / f"{first}.tokens.txt").read_bytes().split(b"\n")
        assert listed == [t.encode() for t in tokens[1:]] + [b""]
        assert_is(ef.read(path, dtype=dtype), tokens[first:], matrix[first:])


def test_a_table_of_the_padding_alone(tmp_path: Path) -> None:
    e = ef.Embeddings(["@@PADDING@@"], VALUES[:1])
    ef.write(e, tmp_path / "f.h5", format="allennlp")
    assert_is(ef.read(tmp_path / "f.h5"), ["@@PADDING@@"], VALUES[:1])


def test_tokens_that_are_no_line(tmp_path: Path) -> None:
    for tokens in ([b"a", b"b\nc"], [b"a", b"b\r"], [b"\xef\xbb\xbfa", b"b"], [b"a", b"\n"]):
        e = ef.Embeddings(Tokens.from_bytes(tokens, "strict"), table(2, 3))
        with pytest.raises(FormatError, match=r"one token a line cannot hold.*as row [01]: write"):
            ef.write(e, tmp_path / "f.h5", format="allennlp")
        assert os.listdir(tmp_path) == []
    e = ef.Embeddings(["a", "b\rc", "d\ufeff"], VALUES[:3])
    ef.write(e, tmp_path / "f.h5", format="allennlp")
    assert_is(ef.read(tmp_path / "f.h5"), ["a", "b\rc", "d\ufeff"], VALUES[:3])
    with pytest.raises(FileError, match="cannot be compressed"):
        ef.write(e, tmp_path / "g.h5.gz", format="allennlp")
