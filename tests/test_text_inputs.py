"""Texts to ids in a graph: the ids of `Vocabulary.encode`, on real text and on all of Unicode."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from embedfreeze.align import AlignedEmbeddings
from embedfreeze.errors import VocabularyError
from embedfreeze.model import build_model
from embedfreeze.sealed import seal_array
from embedfreeze.splitters import Splitter
from embedfreeze.textids import TextToIds
from embedfreeze.training import train_step
from embedfreeze.vocabulary import Vocabulary

DATA = Path(__file__).parents[1] / "data"
SENTENCES = [
    line.split("\t")[2]
    for line in (DATA / "sentences.tsv").read_bytes().decode().rstrip("\n").split("\n")[1:]
]
HARD = [
    "",
    " ",
    "...",
    "Éclair ÉCLAIR é e\u0301",
    "CAFÉ\u3000NOIR",
    "next\u0085line line\u2028separator",
    "no\u00a0break thin\u2009space",
    "smile \U0001f600\U0001f600 \U0001f44d\U0001f3fd fin",
    "İstanbul IŞIK ısı",
    "ΟΔΥΣΣΕΥΣ ΑΣ. Σ ΑΣΑ",
    "straße STRASSE ẞ",
    "nul\0inside \0 end\0",
    "tab\tand\x0bvertical\x1ftab",
    "\ufeffbom zero\u200bwidth",
    "Ⱟ \U00010570 Ꟁ",
    "\U0010ffff last",
    "long " * 4000,
]
EVERYTHING = SENTENCES + HARD


def vocabulary_of(texts: list[str], **options: object) -> Vocabulary:
    return Vocabulary.from_texts(texts, **options)


def table(vocabulary: Vocabulary, dim: int = 4) -> AlignedEmbeddings:
    values = np.random.default_rng(0).normal(size=(len(vocabulary), dim)).astype("float32")
    return AlignedEmbeddings(seal_array(values), vocabulary)


def same_ids(vocabulary: Vocabulary, texts: list[str], **options: int) -> bool:
    layer = TextToIds(vocabulary, **options)
    expected = vocabulary.encode(texts, **options)
    eager = layer(tf.constant(texts)).numpy()
    graph = tf.function(layer)(tf.constant(texts)).numpy()
    return all(
        found.dtype == expected.dtype and np.array_equal(found, expected)
        for found in (eager, graph)
    )


@pytest.mark.parametrize(
    "splitter",
    [
        Splitter(),
        Splitter(lowercase=False),
        Splitter(delete=None, separators="[^a-z0-9']+"),
        Splitter(delete="[^a-z ]", separators=" "),
        Splitter(delete=None, separators=""),
        Splitter(delete="[\0é]", separators="[ .,]|(?:--)+"),
    ],
)
def test_ids_equal_encode(splitter: Splitter) -> None:
    """Every second sentence makes the vocabulary, so that there are unknown tokens too."""
    vocabulary = vocabulary_of(EVERYTHING[::2], splitter=splitter)
    assert same_ids(vocabulary, EVERYTHING)


@pytest.mark.parametrize("max_length", [1, 7, 5000])
def test_max_length(max_length: int) -> None:
    assert same_ids(vocabulary_of(HARD), HARD, max_length=max_length)


def test_empty_batches_and_texts() -> None:
    vocabulary = vocabulary_of(["good case"])
    assert same_ids(vocabulary, ["", ""])
    assert TextToIds(vocabulary)(tf.constant([], tf.string)).shape == (0, 0)


def test_special_tokens_anywhere_in_texts() -> None:
    vocabulary = Vocabulary(
        ["good", "case"], padding="<pad>", unknown="<unk>", splitter=Splitter(delete=None)
    )
    assert same_ids(vocabulary, ["good <pad> case", "<unk> bad", "<PAD>"])


# Every code point but the surrogates, which no UTF-8 has.
CODE_POINTS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]


@pytest.mark.slow
def test_every_code_point_between_two_letters() -> None:
    splitter = Splitter()
    layer = TextToIds(vocabulary_of(["a b"]))
    texts = [f"A{character}B" for character in CODE_POINTS]
    tokens = layer._split(tf.constant(texts))
    expected = [splitter(text) for text in texts]
    assert tokens.row_lengths().numpy().tolist() == [len(row) for row in expected]
    found = b"\n\n".join(tokens.flat_values.numpy().tolist())
    assert found == "\n\n".join(token for row in expected for token in row).encode()


LOCALES = """
import json, sys
import tensorflow as tf
from embedfreeze.graphtext import _lowered_differently
from embedfreeze.textids import TextToIds
from embedfreeze.vocabulary import Vocabulary
texts = json.loads(sys.stdin.read())
vocabulary = Vocabulary.from_texts(texts)
same = (TextToIds(vocabulary)(tf.constant(texts)).numpy() == vocabulary.encode(texts)).all()
raw = tf.strings.lower(tf.constant("I\\u0130"), encoding="utf-8").numpy().decode()
print(json.dumps({"same": bool(same), "raw": raw, "replaced": len(_lowered_differently())}))
"""


@pytest.mark.parametrize(("locale", "raw"), [("tr_TR.UTF-8", "ıi"), ("lt_LT.UTF-8", "ii̇")])
def test_the_locale_of_the_process_changes_nothing(locale: str, raw: str) -> None:
    """TensorFlow's lower-casing follows LC_ALL, Python's does not."""
    texts = [*HARD[:-1], "TITLE I I\u0301 I\u0307 J\u0301 Į\u0301 Ì Í Ĩ Dİ", *SENTENCES[:50]]
    child = subprocess.run(
        [sys.executable, "-c", LOCALES],
        input=json.dumps(texts),
        env={**os.environ, "LC_ALL": locale, "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = json.loads(child.stdout.splitlines()[-1])
    assert (found["same"], found["raw"]) == (True, raw)


def test_final_sigma() -> None:
    assert same_ids(vocabulary_of(SIGMAS), SIGMAS)
    assert TextToIds(Vocabulary(["ας", "ασα", "σ"]))(
        tf.constant(["ΑΣ ΑΣΑ Σ"])
    ).numpy().tolist() == [[2, 3, 4]]


SIGMAS = ["ΑΣ", "ΑΣ.", "ΑΣ\u0301", "ΑΣ\u0301Α", "Σ", "1Σ", "Α\u0301Σ", "ΑΣ ΑΣ", "ΑΣ\0Α", "Α’Σ"]


def test_nothing_but_the_form_of_a_sigma_may_differ() -> None:
    """The documented limit: beside a character that one of two Unicode versions does not know."""
    layer = TextToIds(vocabulary_of(["a"]))
    characters = [character for character in CODE_POINTS if ord(character) < 0x20000]
    texts = [f"A{character}Σ AΣ{character}B" for character in characters]
    rows = layer._split(tf.constant(texts)).to_list()
    expected = [Splitter()(text) for text in texts]
    found = [[token.decode() for token in row] for row in rows]
    differing = [i for i, row in enumerate(expected) if row != found[i]]
    assert len(differing) < 500
    for i in differing:
        assert " ".join(expected[i]).replace("ς", "σ") == " ".join(found[i]).replace("ς", "σ")
        assert ord(characters[i]) > 0x5FF  # no Latin, Greek or Cyrillic letter of living languages


@pytest.mark.parametrize(
    ("splitter", "reason"),
    [
        (str.split, "Splitter"),
        (Splitter(separators="(?= )"), "RE2.*invalid perl operator"),
        (Splitter(delete=r"(a)\1"), "RE2.*invalid escape sequence"),
        (Splitter(separators=r"\u0020+"), "RE2.*invalid escape sequence"),
        (Splitter(separators=r"\s+"), "mean the same"),  # no vertical tab in RE2
        (Splitter(delete="x{,2}"), "mean the same"),  # a literal brace in RE2
        (Splitter(delete="b$"), "mean the same"),  # before a last line feed, too, in Python
        (Splitter(delete="(?i)k", lowercase=False), "mean the same"),  # the Kelvin sign in RE2
    ],
)
def test_a_splitter_that_tensorflow_cannot_do(splitter: object, reason: str) -> None:
    vocabulary = Vocabulary(["good"], splitter=splitter)  # type: ignore[arg-type]
    with pytest.raises(VocabularyError, match=f"(?s){reason}"):
        TextToIds(vocabulary)
    with pytest.raises(VocabularyError, match=f"(?s){reason}"):
        build_model(table(vocabulary), inputs="text")
    build_model(table(vocabulary), inputs="ids")


@pytest.mark.parametrize("missing", ["padding", "unknown"])
def test_special_tokens_are_needed(missing: str) -> None:
    vocabulary = Vocabulary(["good"], **{missing: None})  # type: ignore[arg-type]
    with pytest.raises(VocabularyError, match=f"{missing}=None"):
        build_model(table(vocabulary), inputs="text")


def test_unreachable_tokens_are_reported() -> None:
    vocabulary = Vocabulary(["good", "New York", "U.S."])
    with pytest.warns(UserWarning, match=r"2 of the 5 .*'New York', 'U\.S\.'$") as caught:
        build_model(table(vocabulary), inputs="text")
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_model(table(Vocabulary(["good"])), inputs="text")
        build_model(table(vocabulary), inputs="ids")


def test_config_holds_vocabulary_and_splitter() -> None:
    vocabulary = vocabulary_of(HARD, splitter=Splitter(lowercase=False), padding="<p>")
    layer = TextToIds(vocabulary, max_length=9)
    copy = TextToIds.from_config(json.loads(json.dumps(layer.get_config())))
    assert (copy.vocabulary, copy.max_length, copy.name) == (vocabulary, 9, layer.name)
    texts = tf.constant(HARD)
    assert np.array_equal(copy(texts), layer(texts))


def test_text_models_train_on_tensors_and_datasets() -> None:
    texts = SENTENCES[:64]
    labels = np.arange(64, dtype="float32") % 2
    model = build_model(table(vocabulary_of(texts)), inputs="text", optimizer="sgd", loss="mse")
    model.fit(tf.constant(texts), labels, verbose=0)
    dataset = tf.data.Dataset.from_tensor_slices((texts, labels)).batch(16)
    model.fit(dataset, verbose=0)
    predicted = model.predict(tf.constant(texts), verbose=0)
    assert predicted.shape == (64, 1)
    assert np.array_equal(predicted, model.predict(np.array(texts, dtype=object), verbose=0))


LOADED = """
import json, sys
import keras, numpy as np, tensorflow as tf
import embedfreeze.model
texts = json.loads(sys.stdin.read())
for path in sys.argv[1:]:
    if path.endswith(".keras"):
        model = keras.saving.load_model(path)
        vocabulary = model.get_layer("ids").vocabulary
        ids = model.get_layer("ids")(tf.constant(texts))
        assert np.array_equal(ids, vocabulary.encode(texts))
        found = model.predict(tf.constant(texts), verbose=0)
    else:
        served = tf.saved_model.load(path)
        found = served.serve(tf.constant(texts)).numpy()
    print(json.dumps(found.tobytes().hex()))
"""


def test_the_vocabulary_travels_in_the_saved_model(tmp_path: Path) -> None:
    """A fresh process takes strings, from a `.keras` file and from an exported SavedModel."""
    splitter = Splitter(delete=None, separators="[^a-zé0-9']+")
    vocabulary = vocabulary_of(EVERYTHING[::2], splitter=splitter)
    model = build_model(table(vocabulary), inputs="text", pooling="max")
    texts = [*HARD, *SENTENCES[:15]]
    expected = model.predict(tf.constant(texts), verbose=0).tobytes().hex()
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "exported", verbose=False)
    child = subprocess.run(
        [sys.executable, "-c", LOADED, "model.keras", "exported"],
        cwd=tmp_path,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    assert [json.loads(line) for line in child.stdout.splitlines()] == [expected, expected]


def test_lists_and_arrays_of_str_are_taken_as_tensors_are() -> None:
    texts = [*HARD[:-1], "bytes \udcff that are no UTF-8", *SENTENCES[:16]]
    texts = [text for text in texts if not text.endswith("\0")]  # which NumPy's <U cuts off
    labels = np.arange(len(texts), dtype="float32") % 2
    model = build_model(table(vocabulary_of(texts)), inputs="text", optimizer="sgd", loss="mse")
    raw = [text.encode("utf-8", "surrogateescape") for text in texts]
    expected = model.predict(tf.constant(raw), verbose=0)
    kinds = [texts, tuple(texts), raw, np.array(texts), np.array(texts, dtype=object)]
    for kind in kinds:
        assert np.array_equal(model.predict(kind, verbose=0), expected)
        assert np.array_equal(model.predict_on_batch(kind), model(kind))
        before = model.evaluate(kind, labels, verbose=0)
        assert before == model.evaluate(tf.constant(raw), labels, verbose=0)
        assert model.test_on_batch(kind, labels) == pytest.approx(before, rel=1e-6)
    for kind in kinds:
        model.fit(kind, labels, verbose=0, validation_data=(kind, labels))
        model.fit(kind, labels, verbose=0, validation_split=0.25)
        model.train_on_batch(kind, labels)
        train_step(model, kind, labels)
    assert not np.array_equal(model.predict(texts, verbose=0), expected)


def test_texts_are_refused_in_few_words() -> None:
    of_text = build_model(table(Vocabulary(["good"])), inputs="text", optimizer="sgd", loss="mse")
    with pytest.raises(TypeError, match=r"list of texts, received one str: .*\[text\]"):
        of_text.predict("good", verbose=0)
    with pytest.raises(TypeError, match="texts must be str, received None among them"):
        of_text.predict(["good", None], verbose=0)
    with pytest.warns(UserWarning, match="jit_compile=False"):
        of_text.compile("sgd", "mse", jit_compile=True)

    model = build_model(table(Vocabulary(["good"])), optimizer="sgd", loss="mse")
    texts, labels = ["good " * 9999] * 9, np.zeros(9)
    calls: list[Callable[[Any], object]] = [
        lambda x: model.fit(x, labels),
        lambda x: model.evaluate(x, labels),
        model.predict,
        model.predict_on_batch,
        lambda x: model.train_on_batch(x, labels),
        lambda x: model.test_on_batch(x, labels),
        model,
        lambda x: train_step(model, x, labels),
        lambda x: model.fit(IDS, labels, validation_data=(x, labels)),
    ]
    for call in calls:
        for x in (texts, np.array(texts), np.array(texts, dtype=object), tf.constant(texts)):
            with pytest.raises(TypeError, match=r"takes ids.*vocabulary\.encode") as caught:
                call(x)
            assert len(str(caught.value)) < 250


IDS = np.zeros((9, 3), "int32")


@pytest.mark.parametrize("pooled_lookup", [False, True])
def test_an_id_without_a_row_is_told_with_the_ids_that_have_one(pooled_lookup: bool) -> None:
    source = table(Vocabulary(["good"]))
    model = build_model(source, optimizer="sgd", loss="mse", pooled_lookup=pooled_lookup)
    for call in (model.predict, lambda ids: model.fit(ids, np.zeros(1), verbose=0)):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            call(np.array([[1, 99]]))
        (note,) = caught.value.__notes__
        assert "layer 'embedding' must be 0 to 2" in note
    assert model.predict(np.array([[1, 2]]), verbose=0).shape == (1, 1)
