"""What cuts texts into tokens and hashes tokens inside a TensorFlow graph."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any

from embedfreeze.backend import keras, tf
from embedfreeze.errors import VocabularyError
from embedfreeze.splitters import Splitter, splitter_config

__all__ = ["GraphSplitter", "bucket_of"]

# No UTF-8 text holds this byte: it stands between tokens for a moment.
_MARK = b"\xff"
# Planes 0 and 1 of Unicode without the surrogates; no character with two cases lies above them.
_CHARACTERS = tuple(map(chr, chain(range(0xD800), range(0xE000, 0x20000))))
_CHUNK = 256
# Ends of texts and lines (`$` means other ends to RE2), NUL, and what else a chunk does not show.
_EDGES = (
    *("", "\n", "a\nb", "\0", "a\0b", "a\0", "I\u0301", "\ufffd\U0010ffff"),
    *(f"x{character}\n" for character in _CHARACTERS[:128]),
)


@keras.saving.register_keras_serializable(package="embedfreeze")
class GraphSplitter:
    """Strings [n] to tokens, ragged [n, tokens], as a `Splitter` cuts one text.

    Keras layers that hold one can be saved; loading them needs this module to be imported.

    Parameters
    ----------
    splitter : Splitter
        What to do.

    Raises
    ------
    VocabularyError
        RE2, TensorFlow's engine, takes the expressions otherwise than Python, or not at all.
    """

    def __init__(self, splitter: Splitter) -> None:
        self.splitter = splitter
        self._split = _tested_split(splitter)

    def __call__(self, texts: Any) -> Any:
        return self._split(texts)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs, ready for JSON."""
        return {"splitter": splitter_config(self.splitter)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GraphSplitter:
        """The splitter that was written down."""
        return cls(Splitter(**config["splitter"]))


def bucket_of(tokens: Any, n: int, salt: Sequence[int] | None) -> Any:
    """The bucket of each token, int64, by the hash that Keras' `StringLookup` uses.

    That is FarmHash's Fingerprint64, or SipHash where there is a salt of two integers.
    """
    if salt is None:
        return tf.strings.to_hash_bucket_fast(tokens, n)
    return tf.strings.to_hash_bucket_strong(tokens, n, key=list(salt))


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
        texts = _cased(texts, splitter)
        if splitter.delete is not None:
            texts = tf.strings.regex_replace(texts, splitter.delete, "")
        tokens = _cut(texts, splitter.separators)
        if splitter.ngrams:
            tokens = tf.strings.ngrams(tokens, ngram_width=splitter.ngrams, separator=" ")
        return tokens

    return split


def _cased(texts: Any, splitter: Splitter) -> Any:
    """Texts in UTF-8, lower-cased as the splitter says."""
    if splitter.lowercase is True:
        return _lower(texts)
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    return tf.strings.lower(texts) if splitter.lowercase else texts


def _cut(texts: Any, separators: str | None) -> Any:
    if separators is None:
        ragged: Any = tf.RaggedTensor  # its makers are nowhere in TensorFlow's types
        return ragged.from_tensor(tf.expand_dims(texts, -1))
    # As a tensor: an attribute, which a str becomes, must be UTF-8.
    marked = tf.strings.regex_replace(texts, separators, tf.constant(_MARK))
    tokens = tf.strings.split(marked, sep=_MARK)
    return tf.ragged.boolean_mask(tokens, tokens != "")


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
