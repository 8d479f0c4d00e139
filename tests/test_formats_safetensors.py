"""safetensors files of others: which tensor, which tokens, bits of the safetensors library."""

import contextlib
import gzip
import io
import json
import shutil
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from model2vec import StaticModel
from safetensors.numpy import load_file, save_file
from samples import assert_is, bits, put, table
from tokenizers import Tokenizer, models

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError
from embedfreeze.formats.arrays import batches as arrays
from embedfreeze.formats.tensors import safetensors

GOLDEN = Path(__file__).parent / "golden" / "safetensors"
TOKENS = ["[UNK]", "king", "caf\u00e9", "New York"]
WORDS = [f"w{i}" for i in range(30)]


def saved(path: Path, **tensors: npt.NDArray[Any]) -> Path:
    save_file({name.replace("__", "."): array for name, array in tensors.items()}, path)
    return path


def listed(path: Path, tokens: list[str] = WORDS) -> Path:
    return put(path, "".join(f"{token}\n" for token in tokens).encode())


def refused(path: Path, words: str, **options: Any) -> None:
    with pytest.raises(FileError, match=words) as caught:
        ef.read(path, **options)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ml_dtypes.bfloat16])
@pytest.mark.parametrize("batch", [1, 200, 1 << 24])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_values_are_those_of_the_library(
    dtype: Any, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "BATCH_BYTES", batch)
    with np.errstate(over="ignore"):
        matrix = table(30, 5).astype(dtype)
    path = saved(tmp_path / "m.safetensors", odd=np.ones(3, np.uint8), w=matrix)
    listed(tmp_path / "vocab.txt")
    expected = load_file(path)["w"].astype(np.float32)
    assert_is(ef.read(path), WORDS, expected)
    assert_is(ef.read(path, limit=3), WORDS[:3], expected[:3])
    a = ef.load(path, ef.Vocabulary(["w9", "none", "w3"], unknown=None, padding=None))
    assert bits(a.matrix[[0, 2]]) == bits(expected[[9, 3]])
    packed = put(tmp_path / "m.safetensors.gz", gzip.compress(path.read_bytes()))
    assert_is(ef.read(packed), WORDS, expected)
    memory = io.BytesIO(path.read_bytes())
    assert_is(ef.read(memory, tokens=tmp_path / "vocab.txt"), WORDS, expected)
    if dtype != "f8":
        name = str(matrix.dtype)
        assert bits(ef.read(path, dtype=name).matrix) == bits(matrix)


def test_which_tensor(tmp_path: Path) -> None:
    listed(tmp_path / "vocab.txt")
    a, b = table(30, 5), table(30, 4, seed=1)
    path = saved(tmp_path / "m.safetensors", a=a, b=b, v=np.ones(3, np.float32))
    refused(
        path, r"one 2-D tensor .* member= \(--member\) names one, .* a \[30, 5\] F32, b \[30, 4"
    )
    assert_is(ef.read(path, member="b"), WORDS, b)
    refused(
        path, r"must name a 2-D tensor of floats, received 'v'; the file has a \[30", member="v"
    )
    refused(path, "received 'x'", member="x")
    ints = saved(tmp_path / "i.safetensors", a=np.ones((3, 4), np.int32), b=np.ones(4, np.float32))
    refused(ints, r"one 2-D tensor of floats is needed .* received b \[4\] F32, a \[3, 4\] I32")


def test_a_tensor_known_by_its_name_is_taken_and_said(tmp_path: Path) -> None:
    listed(tmp_path / "vocab.txt")
    a, b = table(30, 5), table(7, 5, seed=1)
    path = saved(tmp_path / "m.safetensors", model__embed_tokens__weight=a, lm__weight=b)
    assert_is(ef.read(path), WORDS, a)
    assert any("of 2 2-D tensors of floats model.embed" in n for n in ef.inspect(path).notes)
    path = saved(tmp_path / "m.safetensors", shared__weight=a, decoder__embed_tokens__weight=a, x=b)
    refused(path, r"received (shared|decoder)\S+weight \[30, 5\] F32, \S+weight \[30, 5\] F32$")
    assert_is(ef.read(path, member="shared.weight"), WORDS, a)
    path = saved(tmp_path / "m.safetensors", my_embeddings=a, x=b)
    refused(path, "one 2-D tensor of floats is needed")


def tokenizer(path: Path, ids: dict[str, int]) -> Path:
    content = {"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": ids}}
    return put(path, json.dumps(content).encode())


def test_tokens_beside(tmp_path: Path) -> None:
    """Names of the file's own before those of the folder."""
    matrix = table(30, 5)
    path = saved(tmp_path / "m.safetensors", w=matrix)
    refused(path, "must lie beside the file, in tokenizer.json, vocab.json, vocab.txt or <stem>")
    steps = [
        ("vocab.txt", "\n".join(f"a{i}" for i in range(30))),
        ("vocab.json", json.dumps({f"b{i}": i for i in range(30)})),
        ("m.tokens.json", json.dumps([f"c{i}" for i in range(30)])),
    ]
    for (name, content), first in zip(steps, "abc", strict=True):
        put(tmp_path / name, content.encode())
        assert ef.read(path).tokens[3] == f"{first}3"
        assert any(note == f"tokens of {tmp_path / name}" for note in ef.inspect(path).notes)
    (tmp_path / "m.tokens.json").unlink()
    tokenizer(tmp_path / "tokenizer.json", {f"d{i}": i for i in range(30)})
    assert ef.read(path).tokens[3] == "d3"
    assert_is(ef.read(path, tokens=listed(tmp_path / "other.txt")), WORDS, matrix)


def test_rows_without_a_token_are_left_out_and_counted(tmp_path: Path) -> None:
    """Vocabularies are padded to a multiple of 64, and some ids have no token."""
    matrix = table(30, 5)
    path = saved(tmp_path / "m.safetensors", w=matrix)
    ids = {f"t{i}": i for i in range(20) if i not in (3, 11)}
    tokenizer(tmp_path / "tokenizer.json", ids)
    rows = list(ids.values())
    assert_is(ef.read(path), list(ids), matrix[rows])
    assert_is(ef.read(path, limit=4), list(ids)[:4], matrix[rows[:4]])
    assert "12 rows have no token there and are left out" in ef.inspect(path).notes
    a = ef.load(path, ef.Vocabulary(["t19", "t4"], unknown=None, padding=None))
    assert bits(a.matrix) == bits(matrix[[19, 4]])
    tokenizer(tmp_path / "tokenizer.json", {"a": 0, "b": 30})
    with pytest.raises(FileError, match="0 to 29, received 30 for b'b'"):
        ef.read(path)
    listed(tmp_path / "m.tokens.txt", WORDS[:20])
    with pytest.raises(FileError, match="received 20 tokens for 30 rows"):
        ef.read(path)


def test_tokens_of_a_tensor(tmp_path: Path) -> None:
    words = ["a", "", "caf\u00e9", "New York"]
    encoded = [word.encode() for word in words]
    matrix = table(4, 3)
    padded = np.array(encoded, "S9").view(np.uint8).reshape(4, 9)
    blob = np.frombuffer(b"".join(encoded), np.uint8)
    offsets = np.cumsum([0, *map(len, encoded)])
    path = saved(tmp_path / "m.safetensors", w=matrix, p=padded, x_bytes=blob, x_offsets=offsets)
    assert_is(ef.read(path, tokens="p"), words, matrix)
    assert_is(ef.read(path, tokens="x_bytes"), words, matrix)
    refused(path, r"must be U8 \[4, width\] padded with NUL, or U8 \[bytes\]", tokens="w")
    refused(path, "must be U8", tokens="x_offsets")
    path = saved(tmp_path / "m.safetensors", w=matrix, b=blob, o=offsets)
    assert_is(ef.read(path, tokens="b"), words, matrix)
    for bad in (offsets + 1, offsets[::-1].copy(), offsets * 2):
        path = saved(tmp_path / "m.safetensors", w=matrix, b=blob, o=bad)
        refused(path, "o must rise from 0 to", tokens="b")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_padded_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at a few at a time, and of no width at all."""
    words = [f"w{i}" * (i % 4) for i in range(1, 50)]
    padded = np.array([word.encode() for word in words], "S16").view(np.uint8).reshape(-1, 16)
    path = saved(tmp_path / "m.safetensors", w=table(len(words), 3), p=padded)
    for portion in (40, safetensors.PADDED_BYTES):
        monkeypatch.setattr(safetensors, "PADDED_BYTES", portion)
        assert list(ef.read(path, tokens="p").tokens) == list(dict.fromkeys(words))
    none = np.zeros((1, 0), np.uint8)
    path = saved(tmp_path / "n.safetensors", w=table(1, 3), p=none)
    assert_is(ef.read(path, tokens="p"), [""], table(1, 3))


def test_headers(tmp_path: Path) -> None:
    """Held to the file as that of a store is; types that are not known here do not hinder."""
    listed(tmp_path / "vocab.txt", ["a", "b"])
    matrix = table(2, 3)
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [4, 28]}
    other = {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}

    def file(header: dict[str, Any], data: bytes = b"more" + bits(matrix)) -> Path:
        text = json.dumps(header).encode()
        return put(tmp_path / "f", len(text).to_bytes(8, "little") + text + data)

    assert_is(ef.read(file({"x": other, "w": entry})), ["a", "b"], matrix)
    refused(file({"x": other, "w": {**entry, "shape": [2, 4]}}), "does not fit its bytes")
    refused(file({"x": other, "w": {**entry, "shape": [10**18, 3]}}), "does not fit its bytes")
    for shape in (["a", 10**12], [[0], 10**12], [10**18] * 30_000, [True, 6], [6.0]):
        refused(file({"x": other, "w": {**entry, "shape": shape}}), "does not fit its bytes")
    refused(file({"w": entry}), "must lie one behind the other")
    refused(file({"x": other, "w": entry}, b"more"), "must lie one behind the other")
    refused(file({"x": other, "w": 1}), "must describe each tensor")
    refused(file({}, b""), "one 2-D tensor of floats is needed .* received none")
    with pytest.raises(FileError, match="must begin with the length of its header"):
        ef.read(put(tmp_path / "f", b"king 1 2\n"), format="safetensors")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("padded.safetensors", {"tokens": "words"}),
        ("offsets.safetensors", {}),
        ("bert.safetensors", {}),
        ("sentence", {}),
        ("sentence/0_StaticEmbedding", {}),
        ("sentence/0_StaticEmbedding/model.safetensors", {}),
    ],
)
def test_golden_files(name: str, options: dict[str, Any]) -> None:
    matrix = load_file(GOLDEN / "sentence/0_StaticEmbedding/model.safetensors")["embedding.weight"]
    assert_is(ef.read(GOLDEN / name, **options), TOKENS, matrix)


def test_a_tokenizer_above_the_module(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "sentence", tmp_path / "s")
    (tmp_path / "s/0_StaticEmbedding/tokenizer.json").rename(tmp_path / "s/tokenizer.json")
    assert ef.read(tmp_path / "s").tokens[:] == TOKENS


def test_a_sentence_transformers_folder_is_read_as_model2vec_reads_it() -> None:
    library = StaticModel.from_pretrained(GOLDEN / "sentence", force_download=False)
    e = ef.read(GOLDEN / "sentence")
    assert list(e.tokens) == list(library.tokens)
    assert bits(e.matrix) == bits(library.embedding)


def test_ids_are_those_of_the_tokenizer() -> None:
    folder = GOLDEN / "sentence/0_StaticEmbedding"
    oracle = Tokenizer.from_file(str(folder / "tokenizer.json"))
    e = ef.read(folder)
    assert [oracle.token_to_id(token) for token in e.tokens] == list(range(len(e)))
    assert isinstance(oracle.model, models.WordLevel)


@pytest.mark.parametrize("name", ["padded.safetensors", "offsets.safetensors", "bert.safetensors"])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_changed_bytes(name: str, tmp_path: Path) -> None:
    seed, rng = (GOLDEN / name).read_bytes(), np.random.default_rng(0)
    for beside in GOLDEN.glob("*.txt"):
        put(tmp_path / beside.name, beside.read_bytes())
    options = {"tokens": "words"} if name.startswith("padded") else {}
    for _ in range(200):
        data = bytearray(seed)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        path = put(tmp_path / name, bytes(data))
        with contextlib.suppress(EmbedFreezeError):
            assert len(ef.read(path, unicode_errors="replace", **options)) <= 4
