"""Vocabularies of Keras layers, and layers of vocabularies: the layer itself is the oracle."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from embedfreeze.align import load
from embedfreeze.errors import FrozenError, VocabularyError
from embedfreeze.formats import read
from embedfreeze.graphtext import GraphSplitter
from embedfreeze.splitters import ASCII_WHITE_SPACE, PUNCTUATION, Splitter
from embedfreeze.textids import TextToIds
from embedfreeze.vocabulary import Vocabulary

DATA = Path(__file__).parents[1] / "data"
SENTENCES = [
    line.split("\t")[2]
    for line in (DATA / "sentences.tsv").read_bytes().decode().rstrip("\n").split("\n")[1:200]
]
HARD = [
    "",
    " ",
    "...",
    "Good case, Excellent VALUE.",
    "ÉCLAIR éclair İI K",  # only A to Z have lower case for Keras
    "no\u00a0break thin\u2009space \u3000 next\u0085line",
    "nul\0inside \0 end\0",
    "tab\tand\x0bvertical\x1ftab\x1c",
    "[UNK] [unk] unk [UNK:1] [MASK] mask",
    "smile \U0001f600\U0001f600 \ufeffbom",
]
TEXTS = [*HARD, *SENTENCES[:100]]


def split_at_e(texts: Any) -> Any:
    return tf.strings.split(texts, "e")


def without_a(texts: Any) -> Any:
    return tf.strings.regex_replace(texts, "a", "")


def same_rows(layer: Any, vocabulary: Vocabulary, texts: Sequence[str]) -> None:
    expected = np.asarray(layer(np.array(texts, dtype=object)[:, None]))
    found = vocabulary.encode(texts)
    assert expected.shape == (len(texts), max(1, found.shape[1]))
    assert np.array_equal(expected[:, : found.shape[1]], found)
    assert not expected[:, found.shape[1] :].any()


def vocabulary_of(splitter: Splitter) -> Vocabulary:
    """Of every second text, without the tokens that Keras cannot take or that are special."""
    tokens = {token for text in TEXTS[::2] for token in splitter(text)} - {"", "[UNK]"}
    return Vocabulary(sorted(t for t in tokens if not t.endswith("\0")), splitter=splitter)


@pytest.mark.parametrize("split", ["whitespace", "character", None])
@pytest.mark.parametrize(
    "standardize", [None, "lower", "strip_punctuation", "lower_and_strip_punctuation"]
)
@pytest.mark.parametrize("ngrams", [None, 2, (3, 1)])
def test_named_settings(standardize: str | None, split: str | None, ngrams: Any) -> None:
    layer = keras.layers.TextVectorization(
        standardize=standardize, split=split, ngrams=ngrams, max_tokens=500
    )
    layer.adapt(TEXTS[::2])
    v = Vocabulary.from_keras(layer)
    # get_vocabulary takes NUL from the ends of tokens; the layer's table has it.
    assert [token.rstrip("\0") for token in v.tokens] == [*map(str, layer.get_vocabulary())]
    same_rows(layer, v, TEXTS)
    assert Vocabulary.from_dict(json.loads(json.dumps(v.to_dict()))) == v


@pytest.mark.parametrize(
    ("lowercase", "delete", "separators", "ngrams"),
    [
        ("ascii", PUNCTUATION, ASCII_WHITE_SPACE, ()),
        (False, None, "", (1, 2)),
        ("ascii", None, None, (1,)),
        (True, None, "[^a-z\0]+", (2,)),
        (False, "[\0é]", ASCII_WHITE_SPACE, ()),
    ],
)
def test_graph_gives_the_same_ids(
    lowercase: Any, delete: str | None, separators: str | None, ngrams: tuple[int, ...]
) -> None:
    splitter = Splitter(lowercase, delete, separators, ngrams)
    v = vocabulary_of(splitter)
    layer = TextToIds(v)
    assert np.array_equal(layer(tf.constant(TEXTS)), v.encode(TEXTS))
    same_rows(v.to_keras("vectorization"), v, TEXTS)


def test_ascii_cutting_equals_keras_for_every_code_point() -> None:
    layer = keras.layers.TextVectorization(vocabulary=["a"])
    split = Vocabulary.from_keras(layer).splitter
    assert split == Splitter("ascii", PUNCTUATION, ASCII_WHITE_SPACE)
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    theirs = layer._preprocess([f"A{character}B" for character in points])
    expected = [split(f"A{character}B") for character in points]
    assert theirs.row_lengths().numpy().tolist() == [len(row) for row in expected]
    flat = b"\n\n".join(theirs.flat_values.numpy().tolist())
    assert flat == "\n\n".join(token for row in expected for token in row).encode()


@pytest.mark.parametrize(
    "options",
    [
        {"split": split_at_e},
        {"standardize": without_a},
        {"standardize": without_a, "split": split_at_e, "ngrams": 2},
        {"standardize": without_a, "split": None},
    ],
)
def test_callables_ask_the_layer(options: dict[str, Any]) -> None:
    layer = keras.layers.TextVectorization(**options)
    layer.adapt(TEXTS[::2])
    v = Vocabulary.from_keras(layer)
    same_rows(layer, v, TEXTS)
    assert v.settings()["splitter"] is None
    with pytest.raises(VocabularyError, match="must be an embedfreeze"):
        v.to_dict()
    again = Vocabulary.from_settings(v.tokens, v.settings())
    with pytest.raises(FrozenError, match="without its splitter"):
        again.encode(["a"])


TOKENS = ["good", "case", "[UNK]", "[UNK:1]", "x\u2028y", "a\u00a0b", "é", "12", "nan", " ", "\n"]
LOOKED_UP = [*TOKENS, "bad", "worse", "", "[MASK]", "\0", "other\0token", "[UNK:2]", "\U0001f600"]


@pytest.mark.parametrize("buckets", [1, 2, 7])
@pytest.mark.parametrize("mask", [None, "", "[MASK]", "[UNK]"])
@pytest.mark.parametrize("options", [{}, {"salt": [3, 4]}, {"salt": 2**40}, {"oov_token": "?"}])
def test_lookup(buckets: int, mask: str | None, options: dict[str, Any]) -> None:
    tokens = [token for token in TOKENS if token != mask]
    layer = keras.layers.StringLookup(
        vocabulary=tokens, num_oov_indices=buckets, mask_token=mask, **options
    )
    v = Vocabulary.from_keras(layer)
    assert len(v) == layer.vocabulary_size()
    assert v.padding == mask
    assert [v.index(token) for token in tokens] == layer(tokens).numpy().tolist()
    expected = np.asarray(layer(np.array(LOOKED_UP, dtype=object)))[:, None]
    assert np.array_equal(v.encode(LOOKED_UP), expected)
    assert len(v.unknown_ids) == buckets
    assert set(v.unknown_ids) <= set(v.special_ids)
    assert [row[0] for row in v.decode(np.array(v.unknown_ids)[:, None])] == [
        v.tokens[i] for i in v.unknown_ids
    ]
    again = Vocabulary.from_settings(v.tokens, json.loads(json.dumps(v.settings())))
    assert again == v
    assert np.array_equal(again.encode(LOOKED_UP), expected)


def test_lookup_without_unknown_tokens() -> None:
    layer = keras.layers.StringLookup(vocabulary=["a", "b"], num_oov_indices=0)
    v = Vocabulary.from_keras(layer)
    assert (v.tokens, v.unknown_ids, v.padding_id) == (("a", "b"), (), None)
    assert v.encode(["b", "a"]).tolist() == [[1], [0]]
    with pytest.raises(KeyError, match="no token 'c'"):
        v.encode(["c"])


def test_buckets_in_a_graph(tmp_path: Path) -> None:
    layer = keras.layers.StringLookup(vocabulary=TOKENS[:2], num_oov_indices=5, mask_token="")
    v = Vocabulary.from_keras(layer, splitter=Splitter())
    assert v.tokens[1:6] == ("[UNK]", "[UNK:1]", "[UNK:2]", "[UNK:3]", "[UNK:4]")
    words = sorted({word for text in TEXTS for word in Splitter()(text)})
    expected = layer(np.array(words, dtype=object)).numpy().tolist()
    assert [v.encode([word])[0].tolist() for word in words] == [[i] for i in expected]
    assert set(expected) > set(range(1, 6))
    ids = TextToIds(v)
    assert np.array_equal(ids(tf.constant(TEXTS)), v.encode(TEXTS))
    copy = TextToIds.from_config(json.loads(json.dumps(ids.get_config())))
    assert np.array_equal(copy(tf.constant(TEXTS)), v.encode(TEXTS))
    v.save(tmp_path / "v.json")
    again = Vocabulary.from_file(tmp_path / "v.json")
    assert np.array_equal(again.encode(TEXTS), v.encode(TEXTS))
    same_buckets = v.to_keras()(np.array(words, dtype=object)).numpy().tolist()
    assert same_buckets == expected


def test_buckets_in_a_store(tmp_path: Path) -> None:
    layer = keras.layers.StringLookup(vocabulary=["good"], num_oov_indices=3, salt=[1, 2])
    v = Vocabulary.from_keras(layer, splitter=Splitter())
    aligned = load(DATA / "glove.6B.50d.sample.txt", v)
    aligned.save(tmp_path / "a.safetensors")
    again = read(tmp_path / "a.safetensors").vocabulary
    assert again == v
    assert [again.encode([word])[0].tolist() for word in LOOKED_UP[9:12]] == [
        v.encode([word])[0].tolist() for word in LOOKED_UP[9:12]
    ]


def test_where_the_vocabulary_comes_from(tmp_path: Path) -> None:
    """Adapted, given, set later, from a file, saved and loaded."""
    file = tmp_path / "v.txt"
    file.write_bytes("good\nex\u2028cellent\n[UNK]\nend\0\n".encode())
    from_file = keras.layers.TextVectorization(vocabulary=str(file))
    v = Vocabulary.from_keras(from_file)
    assert v.tokens[2:] == ("good", "ex\u2028cellent", "[UNK]", "end\0")
    assert v.unknown == "[UNK]'"  # its name is an ordinary token's
    same_rows(from_file, v, ["good ex\u2028cellent end\0 end bad [UNK]", "UNK unk"])
    set_later = keras.layers.TextVectorization(standardize=None)
    set_later.set_vocabulary(["", "[UNK]", "A", "b"])
    assert Vocabulary.from_keras(set_later).tokens == ("", "[UNK]", "A", "b")
    model = keras.Sequential([keras.Input((1,), dtype="string"), set_later])
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras").layers[-1]
    assert Vocabulary.from_keras(loaded) == Vocabulary.from_keras(set_later)


def test_a_token_that_the_mask_hides() -> None:
    layer = keras.layers.StringLookup(mask_token="m")
    layer._has_input_vocabulary = True
    layer.lookup_table = layer._lookup_table_from_tokens(["a", "m", "b"])
    v = Vocabulary.from_keras(layer)
    assert v.tokens == ("m", "[UNK]", "a", "[GAP:3]", "b")
    assert v.special_ids == (0, 1, 3)
    expected = layer(np.array(["a", "m", "b", "c"])).numpy().tolist()
    assert v.encode(["a", "m", "b", "c"])[:, 0].tolist() == expected


@pytest.mark.parametrize("mode", ["multi_hot", "count", "tf_idf"])
def test_other_output_modes_have_columns(mode: str) -> None:
    layer = keras.layers.TextVectorization(output_mode=mode)
    layer.adapt(SENTENCES)
    v = Vocabulary.from_keras(layer)
    assert list(v.tokens) == layer.get_vocabulary()
    assert (v.padding_id, v.unknown_id) == (None, 0)
    columns = np.flatnonzero(layer(["good zzzz good"])[0]).tolist()
    assert columns == sorted(v.encode(["good zzzz"])[0].tolist())


def test_inverted_lookup() -> None:
    layer = keras.layers.StringLookup(vocabulary=["a", "b"], invert=True, mask_token="")
    v = Vocabulary.from_keras(layer)
    assert [v.tokens[i].encode() for i in range(len(v))] == layer(range(len(v))).numpy().tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.IntegerLookup(vocabulary=[1, 2]),
        lambda: keras.layers.Dense(1),
        lambda: object(),
    ],
)
def test_other_objects_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(VocabularyError, match="TextVectorization or StringLookup, received"):
        Vocabulary.from_keras(make())


@pytest.mark.parametrize("kind", ["TextVectorization", "StringLookup"])
def test_a_layer_must_have_a_vocabulary(kind: str) -> None:
    layer = getattr(keras.layers, kind)(name="words")
    with pytest.raises(VocabularyError, match="received 'words' without one: call adapt"):
        Vocabulary.from_keras(layer)


@pytest.mark.parametrize(
    "vocabulary",
    [
        Vocabulary(["good", "case"]),
        Vocabulary(["good", "[UNK]"], unknown="<u>"),
        Vocabulary(["good", "", " "], padding=None, unknown="<u>"),
        Vocabulary(["good"], unknown=None, padding="[MASK]"),
        Vocabulary(["good", "Case"], unknown=None, padding=None),
        Vocabulary(["good"], padding="[PAD]", special=["[CLS]", "[SEP]"]),
        Vocabulary(["good"], special=["[A]", "[B]"], unknown_buckets=3, unknown_salt=[1, 2]),
    ],
)
def test_to_lookup_and_back(vocabulary: Vocabulary) -> None:
    layer = vocabulary.to_keras()
    known = list(vocabulary.tokens)
    if vocabulary.unknown_buckets == 1:
        assert layer(np.array(known, dtype=object)).numpy().tolist() == list(range(len(known)))
    again = Vocabulary.from_keras(layer)
    names = list(again.tokens)
    assert [names[i] for i in again.unknown_ids[:1]] == [vocabulary.unknown] * bool(
        vocabulary.unknown_ids
    )
    assert (len(names), again.padding_id, again.unknown_ids, again.unknown_salt) == (
        *(len(known), vocabulary.padding_id, vocabulary.unknown_ids, vocabulary.unknown_salt),
    )
    if vocabulary.unknown is not None:
        probes = [*LOOKED_UP, *known]
        expected = layer(np.array(probes, dtype=object)).numpy().tolist()
        assert again.encode(probes)[:, 0].tolist() == expected


@pytest.mark.parametrize(
    "splitter",
    [
        Splitter("ascii", separators=ASCII_WHITE_SPACE, ngrams=(1, 2)),
        Splitter(False, None, ""),
        Splitter(),
        Splitter(False, None, None),
        Splitter(delete=None, separators="[^a-zé]+", ngrams=(2,)),
    ],
)
def test_to_vectorization_and_back(splitter: Splitter, tmp_path: Path) -> None:
    v = vocabulary_of(splitter)
    layer = v.to_keras("vectorization")
    same_rows(layer, v, TEXTS)
    assert Vocabulary.from_keras(layer) == v
    model = keras.Sequential([keras.Input((1,), dtype="string"), layer])
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras").layers[-1]
    same_rows(loaded, v, TEXTS)


@pytest.mark.parametrize(
    ("vocabulary", "kind", "message"),
    [
        (Vocabulary.from_ids({"a": 0}, padding="p"), "lookup", r"here \['p'\], received \['a'\]"),
        (Vocabulary(["a"], padding="p"), "vectorization", "padding token ''.*received padding='p'"),
        (Vocabulary(["a"], unknown=None), "vectorization", "unknown=None"),
        (Vocabulary([]), "lookup", "needs a token besides"),
        (Vocabulary(["a\0"]), "lookup", r"NUL from the ends of tokens, received 'a\\x00'"),
        (Vocabulary(["a\udcff"]), "lookup", "are UTF-8, received"),
        (Vocabulary(["a"], splitter=str.split), "vectorization", "embedfreeze.Splitter"),
        (Vocabulary(["a"], splitter=Splitter(delete="(a)\\1")), "vectorization", "RE2"),
    ],
)
def test_what_keras_cannot_do(vocabulary: Vocabulary, kind: str, message: str) -> None:
    with pytest.raises(VocabularyError, match=f"(?s){message}"):
        vocabulary.to_keras(kind)


def test_kinds() -> None:
    with pytest.raises(ValueError, match=r"one of \['lookup', 'vectorization'\], received 'x'"):
        Vocabulary(["a"]).to_keras("x")


def test_bytes_that_are_not_utf8_become_replacement_characters() -> None:
    for lowercase in (True, False, "ascii"):
        tokens = GraphSplitter(Splitter(lowercase))(tf.constant([b"a\xffb\xc3 c"])).to_list()
        assert tokens == [["a\ufffdb\ufffd".encode(), b"c"]]
