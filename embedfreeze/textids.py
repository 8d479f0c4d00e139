"""Texts to ids inside a TensorFlow graph: the same ids as `Vocabulary.encode`."""

from __future__ import annotations

from typing import Any

from embedfreeze.backend import keras, tf
from embedfreeze.errors import VocabularyError
from embedfreeze.graphtext import GraphSplitter, bucket_of
from embedfreeze.splitters import Splitter
from embedfreeze.vocabulary import Vocabulary

__all__ = ["TextToIds"]


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
        self._split = GraphSplitter(_own_splitter(vocabulary))
        self._table = _lookup_table(vocabulary)

    def call(self, inputs: Any) -> Any:
        tokens = self._split(inputs)
        ids = tokens.with_flat_values(self._ids(tokens.flat_values))
        return ids.to_tensor(self._padding_id, shape=(None, self.max_length))

    def _ids(self, tokens: Any) -> Any:
        """Ids int32 [n] of tokens [n]."""
        found = self._table.lookup(tokens)
        v = self.vocabulary
        if v.unknown_buckets == 1:
            return tf.where(found < 0, self._unknown_id, found)
        buckets = bucket_of(tokens, v.unknown_buckets, v.unknown_salt)
        return tf.where(found < 0, tf.gather(list(v.unknown_ids), buckets), found)

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


def _lookup_table(vocabulary: Vocabulary) -> tf.lookup.StaticHashTable:
    """Tokens to ids; -1 stands for unknown ones."""
    found = vocabulary.lookup
    tokens = [token.encode("utf-8", "surrogateescape") for token in found]
    with tf.init_scope():
        entries = tf.lookup.KeyValueTensorInitializer(
            tf.constant(tokens, tf.string), tf.constant(list(found.values()), tf.int32)
        )
        return tf.lookup.StaticHashTable(entries, default_value=-1)
