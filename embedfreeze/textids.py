"""Texts to ids inside a TensorFlow graph: the same ids as `Vocabulary.encode`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any

from embedfreeze.backend import keras, tf
from embedfreeze.errors import VocabularyError
from embedfreeze.splitters import Splitter
from embedfreeze.vocabulary import Vocabulary

__all__ = ["TextToIds"]

# Planes 0 and 1 of Unicode without the surrogates; no character with two cases lies above them.
_CHARACTERS = tuple(map(chr, chain(range(0xD800), range(0xE000, 0x20000))))
_CHUNK = 256
# Ends of texts and lines (`$` means other ends to RE2), NUL, and what else a chunk does not show.
_EDGES = (
    *("", "\n", "a\nb", "\0", "a\0b", "a\0", "I\u0301", "\ufffd\U0010ffff"),
    *(f"x{character}\n" for character in _CHARACTERS[:128]),
)


@keras.saving.register_keras_serializable(package="embedfreeze")
class TextToIds(keras.layers.Layer):  # type: ignore[misc]
    """Strings [batch] to ids int32 [batch, length], inside the graph.

    The ids are those of ``vocabulary.encode(texts, max_length=max_length)``: padded at the end, to
    the longest text of the batch or to `max_length`.

    Parameters
    ----------
    vocabulary : Vocabulary
        With a padding and an unknown token, and a `Splitter`; all of it is saved with the layer.
    max_length : int, optional
        Longer texts are cut, shorter ones padded to it.
    **options
        As for `keras.layers.Layer`.

    Raises
    ------
    VocabularyError
        A special token is missing, or TensorFlow cannot split texts as the vocabulary does.

    Notes
    -----
    TensorFlow lower-cases by the Unicode version it was built with and by the locale of the process
    (``LC_ALL=tr_TR`` turns ``I`` into a dotless i); Python by its own version and no locale. The
    layer compares both when it is made and replaces the characters they lower-case differently
    beforehand. What may still differ is the form of a sigma that ends a word (``ς`` or ``σ``) next
    to a character that only one of the two Unicode versions knows. Bytes that are not UTF-8 become
    U+FFFD.
    """

    def __init__(
        self, vocabulary: Vocabulary, *, max_length: int | None = None, **options: Any
    ) -> None:
        super().__init__(**{"dtype": "int32", **options})
        self.vocabulary = vocabulary
        self.max_length = max_length
        self.supports_jit = False  # XLA has no strings
        self._padding_id, self._unknown_id = _special_ids(vocabulary)
        self._split = _tested_split(_own_splitter(vocabulary))
        self._table = _lookup_table(vocabulary, self._unknown_id)

    def call(self, inputs: Any) -> Any:
        tokens = self._split(inputs)
        ids = tokens.with_flat_values(self._table.lookup(tokens.flat_values))
        return ids.to_tensor(self._padding_id, shape=(None, self.max_length))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor((inputs.shape[0], self.max_length), dtype="int32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary": self.vocabulary.to_dict(),
            "max_length": self.max_length,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TextToIds:
        return cls(**{**config, "vocabulary": Vocabulary.from_dict(config["vocabulary"])})


def _special_ids(vocabulary: Vocabulary) -> tuple[int, int]:
    padding, unknown = vocabulary.padding_id, vocabulary.unknown_id
    if padding is None or unknown is None:
        raise VocabularyError(
            "texts in a batch differ in length and hold new words, so the vocabulary must have a "
            f"padding and an unknown token, received padding={vocabulary.padding!r}, "
            f"unknown={vocabulary.unknown!r}: give it both, or encode the texts beforehand"
        )
    return padding, unknown


def _own_splitter(vocabulary: Vocabulary) -> Splitter:
    if not isinstance(vocabulary.splitter, Splitter):
        raise VocabularyError(
            "texts as inputs need a splitter that TensorFlow can repeat, an embedfreeze.Splitter, "
            f"received {vocabulary.splitter!r}: encode the texts beforehand and give ids"
        )
    return vocabulary.splitter


def _lookup_table(vocabulary: Vocabulary, unknown_id: int) -> tf.lookup.StaticHashTable:
    tokens = [token.encode("utf-8", "surrogateescape") for token in vocabulary.tokens]
    with tf.init_scope():
        entries = tf.lookup.KeyValueTensorInitializer(
            tf.constant(tokens, tf.string), tf.range(len(tokens), dtype=tf.int32)
        )
        return tf.lookup.StaticHashTable(entries, default_value=unknown_id)


def _lower(texts: Any) -> Any:
    """`str.lower` of strings [n].

    `tf.strings.lower` drops what follows a NUL, so the pieces between NULs are lower-cased.
    """
    for character, lowered in _lowered_differently():
        texts = tf.strings.regex_replace(texts, character, lowered)
    pieces = tf.strings.split(texts, sep="\0")
    lowered = _tf_lower(pieces.flat_values)
    ended = pieces.with_flat_values(tf.strings.join([lowered, tf.constant("\0")]))
    joined = tf.strings.reduce_join(ended, axis=-1)
    length = tf.maximum(tf.strings.length(joined) - 1, 0)
    return tf.strings.substr(joined, tf.zeros_like(length), length)


def _tf_lower(texts: Any) -> Any:
    return tf.strings.lower(texts, encoding="utf-8")


@functools.cache
def _lowered_differently() -> tuple[tuple[str, str], ...]:
    """Characters that Python and TensorFlow lower-case differently, and Python's way.

    Each is tried alone and before an accent, where a Lithuanian locale adds a dot to an I.
    """
    with tf.init_scope():
        found = []
        for accent in ("", "\u0301"):
            texts = [character + accent for character in _CHARACTERS[1:]]
            theirs = _tf_lower(tf.constant(texts)).numpy().tolist()
            pairs = zip(texts, theirs, strict=True)
            found += [text[0] for text, other in pairs if text.lower().encode() != other]
    return tuple((character, character.lower()) for character in dict.fromkeys(found))


def _graph_split(splitter: Splitter) -> Callable[[Any], Any]:
    """Strings [n] to tokens, ragged [n, tokens], as `splitter` does with one text."""

    def split(texts: Any) -> Any:
        if splitter.lowercase:
            texts = _lower(texts)
        if splitter.delete is not None:
            texts = tf.strings.regex_replace(texts, splitter.delete, "")
        # As a tensor: an attribute, which a str becomes, ends at its first NUL.
        texts = tf.strings.regex_replace(texts, splitter.separators, tf.constant("\0"))
        tokens = tf.strings.split(texts, sep="\0")
        return tf.ragged.boolean_mask(tokens, tokens != "")

    return split


@functools.cache
def _tested_split(splitter: Splitter) -> Callable[[Any], Any]:
    """The splitter in TensorFlow, after a comparison with the one in Python.

    RE2 understands some expressions otherwise than Python (``\\s`` has no vertical tab there), and
    others not at all.
    """
    split = _graph_split(splitter)
    chunks = range(0, len(_CHARACTERS), _CHUNK)
    probes = ["".join(f"a{c}b " for c in _CHARACTERS[low : low + _CHUNK]) for low in chunks]
    probes += _EDGES
    with tf.init_scope():
        try:
            rows = split(tf.constant(probes)).to_list()
        except tf.errors.InvalidArgumentError as error:
            raise VocabularyError(
                f"texts as inputs need expressions that RE2, TensorFlow's engine, understands, "
                f"received {splitter}: {error.message}"
            ) from error
    for probe, theirs in zip(probes, rows, strict=True):
        _compare(splitter, probe, [token.decode() for token in theirs])
    return split


def _compare(splitter: Splitter, probe: str, theirs: list[str]) -> None:
    for mine, other in zip_longest(splitter(probe), theirs):
        if mine != other:
            raise VocabularyError(
                "texts as inputs need expressions that mean the same to Python's re and to RE2, "
                f"TensorFlow's engine, received {splitter}: where Python finds the token "
                f"{mine!r:.50}, RE2 finds {other!r:.50}; write such characters out instead of "
                "classes like \\s"
            )
