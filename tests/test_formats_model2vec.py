"""model2vec folders: what the library's own model gives for each token, and folders it loads."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from model2vec import StaticModel
from safetensors.numpy import load_file, save_file
from samples import ODD_TOKENS, assert_is, bits, put, table
from tokenizers import Tokenizer, models, pre_tokenizers

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.tokens import Tokens

GOLDEN = Path(__file__).parent / "golden" / "model2vec"
SAMPLE = Path(__file__).parent.parent / "data" / "glove.6B.50d.sample.txt"
WORDS = ["[UNK]", "a", "b", "c"]
SPACES = "\t\n\x0b\x0c\r "
OTHER_SPACES = "\x1c\x1f\x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"


def loaded(folder: Path) -> StaticModel:
    return StaticModel.from_pretrained(folder, force_download=False)


def model(values: npt.NDArray[Any], **options: Any) -> StaticModel:
    vocab = {token: i for i, token in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return StaticModel(values, tokenizer, **options)


def each(model: StaticModel) -> npt.NDArray[np.float32]:
    """What the model takes the mean of, for a, b and c alone."""
    return np.concatenate(model.encode_as_sequence(WORDS[1:])).astype(np.float32)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1"])
@pytest.mark.parametrize("weights", [None, "f2", "f4", "f8"])
@pytest.mark.parametrize("mapping", [None, "i4", "i8"])
def test_vectors_are_those_of_the_library(
    dtype: str, weights: str | None, mapping: str | None, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((4 if mapping is None else 2, 5)) * 50).astype(dtype)
    options: dict[str, Any] = {}
    if weights is not None:
        options["weights"] = rng.random(4).astype(weights)
    if mapping is not None:
        options["token_mapping"] = np.array([1, 0, 1, 0], mapping)
    model(values, **options).save_pretrained(tmp_path / "m")
    library = loaded(tmp_path / "m")
    e = ef.read(tmp_path / "m")
    assert e.tokens[:] == WORDS
    assert bits(e.matrix[1:]) == bits(each(library))
    if weights is None or dtype != "f2":  # a mean of float16 is rounded to it
        assert bits(e.matrix[1:]) == bits(library.encode(WORDS[1:]).astype(np.float32))
    a = ef.load(tmp_path / "m", ef.Vocabulary(["c", "a"], unknown=None, padding=None))
    assert bits(a.matrix) == bits(e.matrix[[3, 1]])
    assert ef.inspect(tmp_path / "m").format == "model2vec"


def test_the_sample_as_a_model(tmp_path: Path) -> None:
    e = ef.read(SAMPLE)
    ef.convert(SAMPLE, tmp_path / "m", to_format="model2vec")
    library = loaded(tmp_path / "m")
    assert bits(library.embedding[:-1]) == bits(e.matrix)
    assert not library.embedding[-1].any()
    encoded = library.tokenizer.encode_batch(list(e.tokens))
    assert [found.ids for found in encoded] == [[row] for row in range(len(e))]
    assert bits(library.encode(list(e.tokens))) == bits(e.matrix)
    text = library.tokenizer.encode("the king nosuchword")
    assert text.ids == [e.index("the"), e.index("king"), library.unk_token_id]
    expected = e[["the", "king"]].mean(axis=0)
    assert bits(library.encode("the nosuchword king")) == bits(expected)
    assert_is(ef.read(tmp_path / "m"), list(e.tokens), e.matrix)
    notes = ef.inspect(tmp_path / "m").notes
    assert "left out '[UNK]', which was added when it was written" in notes


def test_odd_tokens(tmp_path: Path) -> None:
    tokens = [*dict.fromkeys([*ODD_TOKENS, "nul\0", *OTHER_SPACES])]
    tokens = [token for token in tokens if not set(token) & set(SPACES)]
    e = ef.Embeddings(tokens, table(len(tokens), 3))
    ef.write(e, tmp_path / "m", format="model2vec")
    library = loaded(tmp_path / "m")
    assert [library.tokenizer.token_to_id(t) for t in tokens] == list(range(len(tokens)))
    assert [library.tokenizer.encode(t).ids for t in tokens] == [[i] for i in range(len(tokens))]
    assert_is(ef.read(tmp_path / "m"), tokens, e.matrix)
    ef.write(e, tmp_path / "n", format="model2vec")
    for file in sorted((tmp_path / "m").iterdir()):
        assert (tmp_path / "n" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("unknown", ["[UNK]", "<unk>"])
def test_a_token_of_unknown_words_is_used(unknown: str, tmp_path: Path) -> None:
    e = ef.Embeddings(["a", unknown, "b"], table(3, 4))
    ef.write(e, tmp_path / "m", format="model2vec")
    library = loaded(tmp_path / "m")
    assert library.unk_token_id == 1
    assert bits(library.embedding) == bits(e.matrix)
    assert_is(ef.read(tmp_path / "m"), ["a", unknown, "b"], e.matrix)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_dtypes(dtype: str, tmp_path: Path) -> None:
    values = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    e = ef.Embeddings(["a", "b", "c"], ef.storage.converted(values, dtype))
    ef.write(e, tmp_path / "m", format="model2vec")
    expected = e.matrix if dtype == "float16" else ef.storage.decode(e.matrix)
    library = loaded(tmp_path / "m")
    assert library.embedding.dtype == expected.dtype
    assert library.embedding_dtype == library.config["embedding_dtype"]
    assert bits(library.embedding[:3]) == bits(expected)
    assert_is(ef.read(tmp_path / "m", dtype=str(expected.dtype)), ["a", "b", "c"], expected)


@pytest.mark.parametrize("token", [b"", b"caf\xe9", *(f"a{s}b".encode() for s in SPACES)])
def test_tokens_that_the_tokenizer_never_gives(token: bytes, tmp_path: Path) -> None:
    e = ef.Embeddings(Tokens.from_bytes([b"a", token], "surrogateescape"), table(2, 3))
    with pytest.raises(FormatError, match="as row 1: write a store") as caught:
        ef.write(e, tmp_path / "m", format="model2vec")
    assert repr(token) in str(caught.value)
    assert not list(tmp_path.iterdir())


def golden(name: str, folder: Path) -> tuple[Path, dict[str, npt.NDArray[Any]]]:
    shutil.copytree(GOLDEN / name, folder / "m")
    return folder / "m", load_file(folder / "m" / "model.safetensors")


@pytest.mark.parametrize("name", ["plain", "quantised"])
def test_golden_models(name: str) -> None:
    e = ef.read(GOLDEN / name)
    assert e.tokens[:] == ["[UNK]", "king", "caf\u00e9", "queen"]
    assert bits(e[["king", "caf\u00e9", "queen"]]) == bits(
        np.concatenate(
            loaded(GOLDEN / name).encode_as_sequence(["king", "caf\u00e9", "queen"])
        ).astype(np.float32)
    )


BAD: list[tuple[dict[str, npt.NDArray[Any]], str]] = [
    ({"mapping": np.array([0, 1, 2, 0])}, "mapping must name rows of the 2"),
    ({"mapping": np.array([0, -1, 1, 0])}, "mapping must name rows of the 2"),
    ({"mapping": np.array([[0, 1, 1, 0]])}, r"mapping must be I64 or I32 \[ids\]"),
    ({"mapping": np.array([0.0, 1, 1, 0])}, "mapping must be I64"),
    ({"weights": np.ones(3)}, "weights must be as many as there are ids, 4"),
    ({"weights": np.ones(4, np.int32)}, "weights must be F16 or F32 or F64"),
    ({"embeddings": np.ones((2, 3), np.int32)}, "embeddings must be F16 or F32"),
    ({"embeddings": np.ones(2, np.float32)}, "embeddings must be F16 or F32"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_damaged_models(change: dict[str, npt.NDArray[Any]], words: str, tmp_path: Path) -> None:
    folder, tensors = golden("quantised", tmp_path)
    save_file({**tensors, **change}, folder / "model.safetensors")
    with pytest.raises(FileError, match=words) as caught:
        ef.read(folder)
    assert "format='safetensors' (--from)" in str(caught.value)


def test_damaged_files_beside(tmp_path: Path) -> None:
    folder, _ = golden("plain", tmp_path)
    for bad in (b"[]", b"{", b'{"embedfreeze_added_tokens": 1}', b"\xff", b"[" * 100_000):
        put(folder / "config.json", bad)
        with pytest.raises(FileError, match=r"config\.json"):
            ef.read(folder)
    put(folder / "config.json", json.dumps({}).encode())
    assert len(ef.read(folder)) == 4
    put(folder / "tokenizer.json", b'{"model": {"vocab": {"a": 9}}}')
    with pytest.raises(FileError, match="0 to 3, received 9 for b'a'"):
        ef.read(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_changed_bytes(name: str, tmp_path: Path) -> None:
    folder, _ = golden("quantised", tmp_path)
    seed, rng = (folder / name).read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(seed)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        put(folder / name, bytes(data))
        with contextlib.suppress(EmbedFreezeError):
            assert len(ef.read(folder, unicode_errors="replace")) <= 4
