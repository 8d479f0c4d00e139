"""Vocabularies of tokenizer.json files: the tokenizers library is the oracle."""

import io
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import put
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

import embedfreeze as ef
from embedfreeze.errors import FileError, FormatError, VocabularyError
from embedfreeze.splitters import TokenizerSplitter

DATA = Path(__file__).parents[1] / "data"
SENTENCES = [
    line.split("\t")[2]
    for line in (DATA / "sentences.tsv").read_bytes().decode().rstrip("\n").split("\n")[1:300]
]
HARD = [
    "",
    " ",
    "Good case, EXCELLENT value!",
    "naïve ÉCLAIR e\u0301 straße",
    "日本語 \U0001f600\U0001f44d\U0001f3fd",
    "[CLS] hello [MASK] [PAD] [UNK] <s> <pad> <extra>",
    "nul\0 tab\t line\nfeed\u2028 \u00a0\u3000",
    "▁the ##ing Ġthe",
    "xyzzy " * 50,
]
TEXTS = [*HARD, *SENTENCES[:60]]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def trained(tokenizer: Tokenizer, trainer: Any) -> Tokenizer:
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def word_piece() -> Tokenizer:
    """As BERT's: normalizer, pre-tokenizer, template, padding and truncation."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trained(
        tokenizer,
        trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False),
    )
    pairs = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, pairs)
    return tokenizer


def other_prefix() -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordPiece(
            unk_token="<unk>", continuing_subword_prefix="@@", max_input_chars_per_word=9
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordPieceTrainer(
        vocab_size=250,
        special_tokens=["<unk>"],
        continuing_subword_prefix="@@",
        show_progress=False,
    )
    return trained(tokenizer, trainer)


def byte_level_bpe() -> Tokenizer:
    """As GPT-2's: no unknown token, a special token behind the merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained(tokenizer, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def plain_bpe() -> Tokenizer:
    tokenizer = Tokenizer(
        models.BPE(unk_token="<unk>", fuse_unk=True, end_of_word_suffix="</w>", dropout=None)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=200,
        special_tokens=["<pad>", "<unk>"],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    return trained(tokenizer, trainer)


def byte_fallback_bpe() -> Tokenizer:
    """As Llama's: bytes are tokens, and the space is one."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    vocab |= {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    for piece in ("▁", "t", "h", "e", "th", "the", "▁the", "g", "o", "d"):
        vocab[piece] = len(vocab)
    merges = [("t", "h"), ("th", "e"), ("▁", "the")]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def unigram() -> Tokenizer:
    """As XLNet's or T5's: an unknown token that is neither first nor called so."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "</s>", "<oov>"],
        unk_token="<oov>",
        show_progress=False,
    )
    return trained(tokenizer, trainer)


def unigram_with_bytes() -> Tokenizer:
    pieces = [("<unk>", 0.0), ("▁", -2.0), ("▁the", -3.0), ("good", -4.0)]
    pieces += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def word_level() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(
        vocab_size=200, special_tokens=SPECIAL[1:], show_progress=False
    )
    trained(tokenizer, trainer)
    tokenizer.add_tokens(["<extra>", AddedToken("xyzzy", single_word=True), "good"])
    tokenizer.add_special_tokens(["[PAD]"])
    return tokenizer


MAKERS = [
    *(word_piece, other_prefix, byte_level_bpe, plain_bpe, byte_fallback_bpe),
    *(unigram, unigram_with_bytes, word_level),
]


def ids_of(vocabulary: ef.Vocabulary, text: str) -> list[int]:
    return vocabulary.encode([text])[0].tolist()


@pytest.mark.parametrize("make", MAKERS)
def test_every_model(make: Callable[[], Tokenizer], tmp_path: Path) -> None:
    tokenizer = make()
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    v = ef.Vocabulary.from_tokenizer(path)
    theirs = tokenizer.get_vocab(with_added_tokens=True)
    assert {token: i for i, token in enumerate(v.tokens)} == theirs
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert [ids_of(v, text) for text in TEXTS] == expected
    v.save(tmp_path / "v.json")
    again = ef.Vocabulary.from_file(tmp_path / "v.json")
    assert again == v
    assert [ids_of(again, text) for text in TEXTS] == expected


@pytest.mark.parametrize(
    ("make", "padding", "unknown", "special"),
    [
        (word_piece, "[PAD]", "[UNK]", ("[CLS]", "[SEP]", "[MASK]")),
        (other_prefix, None, "<unk>", ()),
        (byte_level_bpe, None, None, ("<|endoftext|>",)),
        (plain_bpe, "<pad>", "<unk>", ()),
        (byte_fallback_bpe, None, "<unk>", ("<s>", "</s>")),
        (unigram, "<pad>", "<oov>", ("</s>",)),
        (unigram_with_bytes, None, "<unk>", ()),
        (word_level, "[PAD]", "[UNK]", ("[CLS]", "[SEP]", "[MASK]")),
    ],
)
def test_special_tokens_of_the_file(
    make: Callable[[], Tokenizer], padding: str | None, unknown: str | None, special: tuple[str]
) -> None:
    v = ef.Vocabulary.from_tokenizer(make())
    assert (v.padding, v.unknown, v.special) == (padding, unknown, special)


def test_special_tokens_of_the_caller() -> None:
    tokenizer = byte_fallback_bpe()
    v = ef.Vocabulary.from_tokenizer(tokenizer, padding="</s>", unknown=None, special=["<0x00>"])
    assert (v.padding_id, v.unknown_id, v.special) == (2, None, ("<unk>", "<s>", "<0x00>"))
    v = ef.Vocabulary.from_tokenizer(tokenizer, padding="[PAD]")
    assert v.padding_id == tokenizer.get_vocab_size() == len(v) - 1
    rows = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    width = max(map(len, rows))
    padded = [row + [v.padding_id] * (width - len(row)) for row in rows]
    assert v.encode(TEXTS).tolist() == padded
    with pytest.raises(VocabularyError, match="received '<unk>' for both: name another"):
        ef.Vocabulary.from_tokenizer(tokenizer, padding="<unk>")
    with pytest.raises(TypeError, match=r"unexpected arguments \['pading'\]"):
        ef.Vocabulary.from_tokenizer(tokenizer, pading="")


def test_padding_and_truncation_of_the_file() -> None:
    tokenizer = word_piece()
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=12, direction="left")
    tokenizer.enable_truncation(12)
    v = ef.Vocabulary.from_tokenizer(tokenizer)
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert v.encode(TEXTS).tolist() == expected
    tokenizer.enable_padding(pad_id=4, pad_token="[MASK]")
    assert ef.Vocabulary.from_tokenizer(tokenizer).padding_id == 4
    tokenizer.enable_padding(pad_id=0, pad_token="none such")
    assert ef.Vocabulary.from_tokenizer(tokenizer).padding_id == 0


def test_files_and_objects(tmp_path: Path) -> None:
    tokenizer = word_level()
    v = ef.Vocabulary.from_tokenizer(tokenizer, counts={"good": 3})
    assert v.counts == {"good": 3}
    text = tokenizer.to_str()
    path = put(tmp_path / "tokenizer.json", b"\xef\xbb\xbf" + text.encode())
    for source in (str(path), path, io.BytesIO(text.encode()), io.StringIO(text)):
        assert ef.Vocabulary.from_tokenizer(source) == v
    assert ef.Vocabulary.from_tokenizer(path, splitter=str.split).encode(["good"])[0, 0] == (
        tokenizer.token_to_id("good")
    )


def test_the_splitter_travels_in_a_store(tmp_path: Path) -> None:
    v = ef.Vocabulary.from_tokenizer(word_piece())
    aligned = ef.load(DATA / "glove.6B.50d.sample.txt", v)
    aligned.save(tmp_path / "a.safetensors")
    again = ef.read(tmp_path / "a.safetensors").vocabulary
    assert again is not None
    assert again.splitter == v.splitter
    assert np.array_equal(again.encode(TEXTS), v.encode(TEXTS))


def edited(tokenizer: Tokenizer, **vocab: int) -> tuple[dict[str, Any], Tokenizer]:
    config = json.loads(tokenizer.to_str())
    config["model"]["vocab"].update(vocab)
    return config, Tokenizer.from_str(json.dumps(config))


def test_gaps_get_placeholders(tmp_path: Path) -> None:
    config, tokenizer = edited(
        Tokenizer(models.WordLevel({"a": 0, "b": 4, "[UNK]": 2}, unk_token="[UNK]"))
    )
    path = put(tmp_path / "t.json", json.dumps(config).encode())
    with pytest.warns(
        UserWarning, match=r"t\.json: 2 ids have no .* \[GAP:1\], \[GAP:3\]"
    ) as caught:
        v = ef.Vocabulary.from_tokenizer(path)
    assert caught[0].filename == __file__
    assert v.tokens == ("a", "[GAP:1]", "[UNK]", "[GAP:3]", "b")
    assert v.special_ids == (2, 1, 3)
    assert ids_of(v, "b") == tokenizer.encode("b").ids == [4]
    with pytest.warns(UserWarning, match=r"1 ids have no token.*\[GAP:3\]"):
        assert ef.Vocabulary.from_tokenizer(path, padding="").padding_id == 1
    config["model"]["vocab"]["far"] = 2**31
    with pytest.raises(VocabularyError, match="'far' with id 2147483648"):
        ef.Vocabulary.from_tokenizer(put(path, json.dumps(config).encode()))


def test_ids_that_contradict_each_other(tmp_path: Path) -> None:
    config, _ = edited(word_level(), other=0)
    path = put(tmp_path / "t.json", json.dumps(config).encode())
    with pytest.raises(
        VocabularyError, match=r"received 0 for the token '\[UNK\]' and for 'other'"
    ):
        ef.Vocabulary.from_tokenizer(path)
    config = json.loads(word_level().to_str())
    config["added_tokens"][-1]["id"] += 5
    theirs = Tokenizer.from_str(json.dumps(config)).token_to_id("[PAD]")
    with pytest.raises(VocabularyError, match=rf"'\[PAD\]' the id {theirs}, .* says {theirs + 5}:"):
        ef.Vocabulary.from_tokenizer(put(path, json.dumps(config).encode()))
    config = json.loads(unigram().to_str())
    config["model"]["vocab"].append(config["model"]["vocab"][7])
    with pytest.raises(VocabularyError, match=r"as id 7 and as id 300"):
        ef.Vocabulary.from_tokenizer(put(path, json.dumps(config).encode()))


@pytest.mark.parametrize("seed", range(40))
def test_added_tokens_are_numbered_as_by_the_library(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.choice(12, size=rng.integers(1, 9), replace=False).tolist()
    names = [f"t{i}" for i in range(len(ids))]
    tokenizer = Tokenizer(models.WordLevel(dict(zip(names, ids, strict=True)), unk_token="t0"))
    for name in rng.choice([*names, "x", "y", "z"], size=4, replace=False).tolist():
        tokenizer.add_tokens([name])
    loaded = Tokenizer.from_str(tokenizer.to_str())  # it may number them anew
    theirs = loaded.get_vocab(with_added_tokens=True)
    said = {t["content"]: t["id"] for t in json.loads(tokenizer.to_str())["added_tokens"]}
    renumbered = any(theirs[token] != i for token, i in said.items())
    if renumbered or len(set(theirs.values())) != len(theirs):
        message = "gives the added token" if renumbered else "ids must differ"
        with pytest.raises(VocabularyError, match=message):
            ef.Vocabulary.from_tokenizer(tokenizer)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gaps
        v = ef.Vocabulary.from_tokenizer(tokenizer)
    assert {token: v.index(token) for token in theirs} == theirs
    assert [v.encode([token])[0].tolist() for token in theirs] == [[i] for i in theirs.values()]


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{}", b"[]", b"not JSON", b'{"a": 0}', b'{"model": {"vocab": 3}}'),
        b'{"model": {"vocab": {}}, "added_tokens": [1]}',
        b'{"model": {"vocab": [["a"]]}}',
    ],
)
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    path = put(tmp_path / "vocab.json", data)
    with pytest.raises(FormatError, match=r"vocab\.json: a tokenizer\.json has model\.vocab"):
        ef.Vocabulary.from_tokenizer(path)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="byte offset 1: JSON must be UTF-8"):
        ef.Vocabulary.from_tokenizer(put(tmp_path / "t.json", b"{\xff"))
    with pytest.raises(FileError, match="cannot be read"):
        ef.Vocabulary.from_tokenizer(tmp_path / "missing.json")
    path = put(tmp_path / "tokenizer.json", word_level().to_str().encode())
    with pytest.raises(
        FormatError, match=r"read a tokenizer\.json with Vocabulary\.from_tokenizer"
    ):
        ef.Vocabulary.from_file(path)


def test_ids_need_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "tokenizer.json", word_level().to_str().encode())
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    v = ef.Vocabulary.from_tokenizer(path)
    assert "good" in v
    assert isinstance(v.splitter, TokenizerSplitter)
    with pytest.raises(VocabularyError, match=r'pip install "embedfreeze\[tokenizers\]"'):
        v.encode(["good"])
