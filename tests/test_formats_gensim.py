"""gensim's own files: opened by gensim, only on request; and what shares memory with gensim."""

import gzip
import io
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from gensim.models import Doc2Vec, FastText, KeyedVectors, Word2Vec
from gensim.models.doc2vec import TaggedDocument
from gensim.models.poincare import PoincareModel
from samples import ODD_TOKENS, assert_is, bits, child, put, spelled, table

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.formats import gensimfiles
from embedfreeze.formats.base import ReadOptions
from embedfreeze.formats.verbs import open_reading
from embedfreeze.tokens import Tokens

GOLDEN = Path(__file__).parent / "golden" / "gensim"
TEXTS = [["king", "queen", "caf\u00e9"], ["a b", "king", ""]] * 4
SMALL = {"vector_size": 5, "min_count": 1, "workers": 1, "seed": 1, "epochs": 1}


def keyed(tokens: list[str], dtype: str = "float32") -> KeyedVectors:
    vectors = KeyedVectors(4, dtype=np.dtype(dtype))
    rows = np.random.default_rng(0).standard_normal((len(tokens), 4)).astype(dtype)
    vectors.add_vectors(tokens, rows)
    return vectors


def read(path: object, **options: object) -> ef.Embeddings:
    return ef.read(path, allow_pickle=True, **options)


class Bomb:
    """What a pickle can do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["f.kv", "f.bin", "f.txt", "f.gz"])
def test_a_pickle_is_not_opened(protocol: int, name: str, tmp_path: Path) -> None:
    data = pickle.dumps({"x": Bomb(tmp_path / "run")}, protocol=protocol)
    path = put(tmp_path / name, gzip.compress(data) if name.endswith("gz") else data)
    for look in (ef.read, ef.inspect, lambda p: ef.load(p, ef.Vocabulary(["a"]))):
        with pytest.raises(FormatError, match=r"pickle.*not opened.*allow_pickle=True.*word2vec"):
            look(path)
    assert not (tmp_path / "run").exists()
    with pytest.raises(
        FormatError, match="must hold vectors or a model of gensim, received a dict"
    ):
        read(path)
    assert (tmp_path / "run").exists()  # so it is a real one


@pytest.mark.parametrize("apart", [[], ["vectors"]])
@pytest.mark.parametrize("suffix", ["kv", "bin", "kv.gz", "kv.bz2"])
def test_keyed_vectors(apart: list[str], suffix: str, tmp_path: Path) -> None:
    tokens = [*ODD_TOKENS, "a b", ""]
    vectors, path = keyed(tokens), tmp_path / f"f.{suffix}"
    vectors.save(str(path), separately=apart)
    assert len(os.listdir(tmp_path)) == 1 + len(apart)
    assert_is(read(path), tokens, vectors.vectors)
    assert_is(read(path, limit=3), tokens[:3], vectors.vectors[:3])
    a = ef.load(path, ef.Vocabulary(["king", "zz"]), allow_pickle=True)
    assert bits(a.matrix[2]) == bits(vectors["king"])


def test_packed_otherwise_than_gensim_packs(tmp_path: Path) -> None:
    vectors = keyed(["a", "b"])
    vectors.save(str(tmp_path / "f.kv"))
    data = (tmp_path / "f.kv").read_bytes()
    for name, pack in (("gz.bin", gzip.compress), ("plain.gz", bytes), ("plain.bz2", bytes)):
        assert_is(read(put(tmp_path / name, pack(data))), ["a", "b"], vectors.vectors)
    assert_is(read(io.BytesIO(data)), ["a", "b"], vectors.vectors)
    with open(tmp_path / "f.kv", "rb") as opened:
        (tmp_path / "f.kv").unlink()
        assert_is(read(opened), ["a", "b"], vectors.vectors)


def test_arrays_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = keyed([f"t{i}" for i in range(50)])
    vectors.save(str(tmp_path / "f.kv"), separately=["vectors"])
    monkeypatch.setattr(gensimfiles, "BATCH_BYTES", 4 * 4 * 7)
    monkeypatch.chdir(tmp_path)
    assert_is(read("f.kv"), vectors.index_to_key, vectors.vectors)
    shutil.copy("f.kv", "lone.kv")
    with pytest.raises(FormatError, match=r"lone.kv.vectors.npy'; arrays that gensim put beside"):
        read("lone.kv")
    with pytest.raises(FormatError, match="arrays that gensim put beside"):
        read(io.BytesIO((tmp_path / "f.kv").read_bytes()))
    objects = np.array([[Bomb(tmp_path / "run")]], dtype=object)
    np.save("f.kv.vectors.npy", objects, allow_pickle=True)
    with pytest.raises(FormatError, match="Python objects in dtype"):  # there gensim allows none
        read("f.kv")
    assert not (tmp_path / "run").exists()


def test_models(tmp_path: Path) -> None:
    word2vec, fasttext = Word2Vec(TEXTS, **SMALL), FastText(TEXTS, bucket=50, **SMALL)
    documents = Doc2Vec([TaggedDocument(text, [i]) for i, text in enumerate(TEXTS)], **SMALL)
    poincare = PoincareModel([("a", "b"), ("b", "c")], size=3, negative=1)
    poincare.train(1)
    for model in (word2vec, fasttext, documents, poincare):
        model.save(str(tmp_path / "f.model"))
        vectors = poincare.kv if model is poincare else model.wv
        assert_is(
            read(tmp_path / "f.model"), vectors.index_to_key, vectors.vectors.astype(np.float32)
        )
        vectors.save(str(tmp_path / "f.kv"))
        assert_is(read(tmp_path / "f.kv"), vectors.index_to_key, vectors.vectors.astype(np.float32))


def test_subwords_as_gensim_computes_them(tmp_path: Path) -> None:
    fasttext = FastText(TEXTS, bucket=50, **SMALL)
    fasttext.save(str(tmp_path / "f.model"))
    fasttext.wv.save(str(tmp_path / "f.kv"))
    unknown = ["kings", "x", "", "\u6771\u4eac", "a b c"]
    for name in ("f.model", "f.kv"):
        source, _, reading = open_reading(tmp_path / name, ReadOptions(allow_pickle=True))
        with source:
            assert reading.subwords is not None
            rows = reading.subwords(Tokens.from_strings(unknown))
            none = reading.subwords(Tokens.from_bytes([b"\xff"], "replace"))
        assert bits(rows) == bits(np.array([fasttext.wv.get_vector(token) for token in unknown]))
        assert not none.any()
        v = ef.Vocabulary(["king", *unknown], padding=None)
        a = ef.load(tmp_path / name, v, match=("exact",), oov="subword", allow_pickle=True)
        assert bits(a.matrix[2:]) == bits(rows)
    source, _, reading = open_reading(GOLDEN / "whole.kv", ReadOptions(allow_pickle=True))
    with source:
        assert reading.subwords is None


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats(dtype: str, tmp_path: Path) -> None:
    vectors = keyed(["a", "b", "c"], dtype)
    vectors.save(str(tmp_path / "f.kv"))
    assert_is(read(tmp_path / "f.kv"), ["a", "b", "c"], vectors.vectors.astype(np.float32))
    half = read(tmp_path / "f.kv", dtype="float16")
    assert bits(half.matrix) == bits(vectors.vectors.astype(np.float16))


def test_what_has_no_words(tmp_path: Path) -> None:
    vectors = keyed(["a", "b"])
    vectors.index_to_key = ["a", 7]
    vectors.save(str(tmp_path / "f.kv"))
    with pytest.raises(FormatError, match="keys must be text, received 7 in row 1"):
        read(tmp_path / "f.kv")
    vectors = keyed(["a", "b"])
    vectors.vectors = vectors.vectors[:1]
    vectors.save(str(tmp_path / "f.kv"))
    with pytest.raises(FormatError, match=r"each of 2 keys must have a row.*float32 \[1, 4\]"):
        read(tmp_path / "f.kv")
    from gensim.corpora import Dictionary

    Dictionary(TEXTS).save(str(tmp_path / "f.dict"))
    with pytest.raises(FormatError, match=r"KeyedVectors.*received gensim.corpora.dictionary.Dict"):
        read(tmp_path / "f.dict")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_golden_files() -> None:
    for name in ("whole.kv", "apart.kv", "fasttext.kv"):
        vectors = KeyedVectors.load(str(GOLDEN / name))
        assert_is(read(GOLDEN / name), vectors.index_to_key, vectors.vectors)
    vectors = Word2Vec.load(str(GOLDEN / "word2vec.model")).wv
    assert_is(read(GOLDEN / "word2vec.model"), vectors.index_to_key, vectors.vectors)
    found = ef.inspect(GOLDEN / "apart.kv", allow_pickle=True)
    assert (found.format, found.rows, found.dim) == ("gensim", 5, 4)


def test_truncations(tmp_path: Path) -> None:
    """Changed bytes are not tried: what they would run is up to them."""
    data = (GOLDEN / "whole.kv").read_bytes()
    for size in range(3, len(data), 7):
        with pytest.raises(FormatError, match="the installed gensim opens, received"):
            read(put(tmp_path / "f", data[:size]))


# ---- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gensim_opens_what_is_written(dtype: str, tmp_path: Path) -> None:
    tokens = [*ODD_TOKENS, "a b", "", "x\ny"]
    matrix = np.random.default_rng(1).standard_normal((len(tokens), 6)).astype(dtype)
    ef.write(ef.Embeddings(tokens, matrix), tmp_path / "f.kv")
    assert sorted(os.listdir(tmp_path)) == ["f.kv", "f.kv.vectors.npy"]
    for mapped in (None, "r"):
        vectors = KeyedVectors.load(str(tmp_path / "f.kv"), mmap=mapped)
        assert vectors.index_to_key == tokens
        assert vectors.vectors.dtype == dtype
        assert bits(vectors.vectors) == bits(matrix)
        assert vectors.most_similar("king", topn=1)
        assert isinstance(vectors.vectors, np.memmap) is (mapped == "r")
    vectors = KeyedVectors.load(str(tmp_path / "f.kv"))
    vectors.add_vector("new", np.ones(6, dtype))  # behind the others
    assert vectors.index_to_key[-1] == "new"
    assert bits(vectors.vectors[:-1]) == bits(matrix)
    again = read(tmp_path / "f.kv", dtype=dtype)
    assert_is(again, tokens, matrix)
    ef.write(again, tmp_path / "g.kv")
    assert (tmp_path / "g.kv").read_bytes() == (tmp_path / "f.kv").read_bytes()  # no date, no path


def test_streams_of_unknown_length_and_odd_bytes(tmp_path: Path) -> None:
    rows = b"".join(b"t%d %d 0.5\n" % (i, i) for i in range(1200)) + b"caf\xe9 1 2\n"
    path = put(tmp_path / "f.txt.gz", gzip.compress(rows))
    ef.convert(path, tmp_path / "f.kv", unicode_errors="surrogateescape")
    e = read(tmp_path / "f.kv", unicode_errors="surrogateescape")
    assert spelled(e)[-1] == b"caf\xe9"
    assert (len(e), e["t1199"].tolist()) == (1201, [1199, 0.5])
    with pytest.raises(FormatError, match="UTF-8"):
        read(tmp_path / "f.kv")


def test_a_target_is_not_packed(tmp_path: Path) -> None:
    e = ef.Embeddings(["a"], table(1, 2))
    with pytest.raises(FileError, match="cannot be compressed"):
        ef.write(e, tmp_path / "f.kv.gz")
    put(tmp_path / "f.kv.vectors.npy", b"of somebody else")
    with pytest.raises(FileError, match=r"f.kv.vectors.npy: exists"):
        ef.write(e, tmp_path / "f.kv")
    assert os.listdir(tmp_path) == ["f.kv.vectors.npy"]


# ---- memory that is shared -----------------------------------------------------------------------


def test_from_gensim() -> None:
    vectors = keyed([*ODD_TOKENS, "a b", ""])
    model = Word2Vec(TEXTS, **SMALL)
    for source, found in ((vectors, vectors), (model, model.wv)):
        e = ef.Embeddings.from_gensim(source)
        assert_is(e, found.index_to_key, found.vectors)
        assert np.shares_memory(e.matrix, found.vectors)
        assert not e.matrix.flags.writeable
        assert found.vectors.flags.writeable  # gensim may go on training: then so does `e`
        assert np.shares_memory(e.to_gensim().vectors, found.vectors)
        assert e.to_gensim().next_index == len(e)
        with pytest.raises(ValueError, match="read-only"):
            e.to_gensim().vectors[0] = 1
    vectors.add_vectors(["more"], np.ones((1, 4), np.float32))
    assert len(ef.Embeddings.from_gensim(vectors)) == len(vectors)


def test_from_gensim_copies_what_it_must() -> None:
    double = keyed(["a", "b"], "float64")
    e = ef.Embeddings.from_gensim(double)
    assert_is(e, ["a", "b"], double.vectors.astype(np.float32))
    strided = keyed(["a", "b"])
    strided.vectors = np.asfortranarray(strided.vectors)
    assert_is(ef.Embeddings.from_gensim(strided), ["a", "b"], np.ascontiguousarray(strided.vectors))


@pytest.mark.parametrize("source", [{"a": 1}, np.zeros((2, 2)), "vectors.kv", None])
def test_from_gensim_of_anything_else(source: object) -> None:
    with pytest.raises(EmbedFreezeError, match=r"KeyedVectors, or those of a model.*received"):
        ef.Embeddings.from_gensim(source)


def test_gensim_is_an_extra(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["gensim"] = sys.modules["gensim.models"] = None
import numpy as np
import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError
e = ef.Embeddings(["a"], np.ones((1, 2), np.float32))
for attempt in (e.to_gensim, lambda: ef.read({str(GOLDEN / "whole.kv")!r}, allow_pickle=True),
                lambda: ef.write(e, {str(tmp_path / "f.kv")!r})):
    try:
        attempt()
    except EmbedFreezeError as error:
        print(error)
"""
    said = child(code).splitlines()
    assert len(said) == 3
    assert all('pip install "embedfreeze[gensim]"' in line for line in said)
    assert os.listdir(tmp_path) == []
