"""The `test_data` folder of gensim's wheel: every file reads as gensim reads it, or is refused.

No file is left out: each stands in one of the lists below, or must be refused with a reason.
"""

import bz2
import gzip
import re
from pathlib import Path

import fasttext
import fasttext_pybind
import gensim
import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.models.fasttext import load_facebook_model
from gensim.utils import SaveLoad
from samples import GENSIM_DATA, assert_is, bits

import embedfreeze as ef
from embedfreeze.errors import FileError, FormatError

FOLDER = Path(gensim.__file__).parent / GENSIM_DATA
NAMES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file())
# Embeddings, by the format that they are recognised as.
EMBEDDINGS = {
    "EN.1-10.cbow1_wind5_hs0_neg10_size300_smpl1e-05.txt": "word2vec-text",
    "IT.1-10.cbow1_wind5_hs0_neg10_size300_smpl1e-05.txt": "word2vec-text",
    "crime-and-punishment.vec": "word2vec-text",
    "high_precision.kv.txt": "word2vec-text",
    "lee_fasttext.vec": "word2vec-text",
    "pang_lee_polarity_fasttext.vec": "word2vec-text",
    "pretrained.vec": "word2vec-text",
    "toy-model.vec": "word2vec-text",
    "w2v_keyedvectors_load_test.modeldata": "word2vec-text",
    "word2vec_pre_kv_c": "word2vec-text",
    "test_glove.txt": "glove",
    "euclidean_vectors.bin": "word2vec",
    "high_precision.kv.bin": "word2vec",
    "poincare_vectors.bin": "word2vec",
    "cp852_fasttext.bin": "fasttext",
    "crime-and-punishment.bin": "fasttext",
    "lee_fasttext.bin": "fasttext",
    "lee_fasttext_new.bin": "fasttext",
    "non_ascii_fasttext.bin": "fasttext",
    "pang_lee_polarity_fasttext.bin": "fasttext",
    "toy-model-pretrained.bin": "fasttext",
    "toy-model.bin": "fasttext",
}
# Words or numbers in columns: no embeddings, but their content does not tell.
TABLES = {
    "DTM/sstats_test.txt",
    "head500.noblanks.cor_wordids.txt",
    "ldavowpalwabbit.dict.txt",
    "similarities0-1.txt",
    "simlex999.txt",
    "w2v_keyedvectors_load_test.vocab",
    "wordsim353.tsv",
}
FAILURES = (AttributeError, ImportError, TypeError, ValueError, EOFError, LookupError, OSError)


def first_bytes(name: str) -> bytes:
    data = (FOLDER / name).read_bytes()
    unpack = {b"\x1f\x8b": gzip.decompress, b"BZ": bz2.decompress}.get(data[:2], bytes)
    return unpack(data)[:4]


PICKLES = {name for name in NAMES if re.match(rb"\x80[\2-\5]|\(dp", first_bytes(name))}
REFUSED = {*NAMES} - {*EMBEDDINGS} - TABLES - PICKLES


def test_the_folder_is_the_one_that_is_known() -> None:
    assert {*EMBEDDINGS, *TABLES} <= {*NAMES}
    assert not PICKLES & {*EMBEDDINGS, *TABLES}
    assert len(PICKLES) > 80
    assert len(REFUSED) > 60


@pytest.mark.parametrize("name", [n for n, kind in EMBEDDINGS.items() if kind != "fasttext"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_word2vec_and_glove(name: str) -> None:
    kind, path = EMBEDDINGS[name], FOLDER / name
    expected = KeyedVectors.load_word2vec_format(
        str(path),
        binary=kind == "word2vec",
        no_header=kind == "glove",
        unicode_errors="backslashreplace",
        limit=1 if name == "pretrained.vec" else None,
    )
    e = ef.read(path, unicode_errors="backslashreplace")
    assert list(e.tokens) == expected.index_to_key
    assert bits(e.matrix) == bits(expected.vectors)
    assert_loaded(path, e)


def assert_loaded(path: Path, e: ef.Embeddings) -> None:
    """Alone, rows are the same; what they are recognised as is what the list says."""
    assert ef.inspect(path).format == EMBEDDINGS[path.name]
    rows = [row for row in range(len(e)) if is_text(e.tokens.bytes_at(row))][::-7]
    vocabulary = ef.Vocabulary([e.tokens[row] for row in rows], padding=None)
    a = ef.load(path, vocabulary, match=("exact",), unicode_errors="backslashreplace")
    assert bits(a.matrix[1:]) == bits(e.matrix[rows])


def is_text(token: bytes) -> bool:
    return token.decode(errors="ignore").encode() == token


@pytest.mark.parametrize("name", [n for n, kind in EMBEDDINGS.items() if kind == "fasttext"])
def test_fasttext(name: str) -> None:
    path = FOLDER / name
    e = ef.read(path, unicode_errors="backslashreplace")
    try:
        model = fasttext.load_model(str(path)).f
    except ValueError:  # a layout that fastText itself has forgotten
        assert_as_gensim(path, e)
    else:
        assert model.getVocab("replace")[0] == [
            e.tokens.bytes_at(row).decode(errors="replace") for row in range(len(e))
        ]
        vector = fasttext_pybind.Vector(e.dim)
        for row in range(len(e)):
            model.getWordVector(vector, e.tokens.bytes_at(row))
            assert bits(np.array(vector)) == bits(e.matrix[row])
    assert_loaded(path, e)


def assert_as_gensim(path: Path, e: ef.Embeddings) -> None:
    """The rows that gensim reads, put together as fastText does.

    Where gensim divides a sum of rows by their number, fastText multiplies it by the reciprocal,
    and it has no n-grams of </s>. gensim hashes those of other words than there are where a word is
    no UTF-8.
    """
    found = load_facebook_model(str(path)).wv
    assert list(e.tokens) == found.index_to_key
    for row, buckets in enumerate(found.buckets_word):
        token, vector = e.tokens.bytes_at(row), found.vectors_vocab[row].copy()
        used = [] if token == b"</s>" else buckets
        for bucket in used:
            vector += found.vectors_ngrams[bucket]
        if is_text(token):
            assert bits(e.matrix[row]) == bits(vector * np.float32(1 / (len(used) + 1)))


def test_a_header_that_gensim_refuses_is_warned_of() -> None:
    with pytest.raises(EOFError):
        KeyedVectors.load_word2vec_format(str(FOLDER / "pretrained.vec"))
    with pytest.warns(UserWarning, match="header says 3 rows, found 1"):
        ef.read(FOLDER / "pretrained.vec")


def test_values_of_text_are_those_that_are_spelled() -> None:
    """gensim rounds to float16 if it is asked to, and so does this package."""
    path = FOLDER / "high_precision.kv.txt"
    for dtype in ("float32", "float16"):
        expected = KeyedVectors.load_word2vec_format(str(path), datatype=np.dtype(dtype).type)
        rows = ef.read(path, dtype=dtype).matrix
        assert bits(rows) == bits(expected.vectors)


@pytest.mark.parametrize("name", ["cp852_fasttext.bin", "pang_lee_polarity_fasttext.vec"])
def test_tokens_that_gensim_changes_are_named(name: str) -> None:
    with pytest.raises(FormatError, match="UTF-8.*unicode_errors"):
        ef.read(FOLDER / name)


def loaded_by_gensim(name: str) -> KeyedVectors | None:
    """The vectors of a pickle, if gensim opens it and has vectors in it."""
    try:
        found = SaveLoad.load(str(FOLDER / name))
    except FAILURES:
        return None
    for vectors in (found, getattr(found, "wv", None), getattr(found, "kv", None)):
        if isinstance(vectors, KeyedVectors):
            return vectors
    return None


@pytest.mark.parametrize("name", sorted(PICKLES))
def test_a_pickle(name: str) -> None:
    with pytest.raises(FormatError, match=r"pickle.*not opened.*allow_pickle=True"):
        ef.read(FOLDER / name)
    expected = loaded_by_gensim(name)
    if expected is None:
        with pytest.raises(FormatError, match="pickle"):
            ef.read(FOLDER / name, allow_pickle=True)
        return
    e = ef.read(FOLDER / name, allow_pickle=True)
    assert_is(e, expected.index_to_key, expected.vectors.astype(np.float32))


def test_some_pickles_hold_vectors() -> None:
    held = {name for name in PICKLES if loaded_by_gensim(name) is not None}
    known = {
        "compatible-hash-true.model",
        "model-from-gensim-3.8.0.w2v",
        "old_keyedvectors_320.dat",
        "poincare_test_3.4.0",
        "word2vec_3.3",
        "word2vec_old_sep",
        *(f"old_w2v_models/w2v_{version}.mdl" for version in ("1.0.0", "2.3.0", "3.4.0")),
    }
    assert known <= held


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_no_embedding_is_refused(name: str) -> None:
    for read in (ef.read, ef.inspect):
        with pytest.raises(FileError) as caught:
            read(FOLDER / name)
        assert len(str(caught.value)) > len(str(FOLDER / name)) + 20
        assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(TABLES))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_table_of_something_else(name: str) -> None:
    try:
        e = ef.read(FOLDER / name)
    except FormatError:
        return
    assert len(e)
    assert e.dim
