"""Keras layers with the ids of a vocabulary, and Keras' hash of unknown tokens.

TensorFlow is imported when a function is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embedfreeze.errors import VocabularyError
from embedfreeze.splitters import Splitter
from embedfreeze.vocabularies.fromkeras import SPLIT, STANDARDIZE
from embedfreeze.vocabularies.parts import Parts

__all__ = ["bucket_numbers", "to_layer"]

KINDS = ("lookup", "vectorization")


def bucket_numbers(tokens: Sequence[str], n: int, salt: Sequence[int] | None) -> list[int]:
    """The bucket of each token, by the hash of Keras' `StringLookup`."""
    from embedfreeze.backend import tf
    from embedfreeze.graphtext import bucket_of

    data = [token.encode("utf-8", "surrogateescape") for token in tokens]
    found: list[int] = bucket_of(tf.constant(data, tf.string), n, salt).numpy().tolist()
    return found


def to_layer(parts: Parts, kind: str) -> Any:
    """A `StringLookup` or `TextVectorization` with the ids of a vocabulary.

    Raises
    ------
    VocabularyError
        Keras cannot number tokens so, or cannot cut texts so.
    ValueError
        There is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {list(KINDS)}, received {kind!r}")
    first = _special_first(parts)
    ordinary = list(parts.tokens[len(first) :])
    _check_tokens(ordinary)
    return _lookup(parts, ordinary) if kind == "lookup" else _vectorization(parts, ordinary)


def _special_first(parts: Parts) -> list[str]:
    """The tokens that Keras numbers itself: padding and unknown ones, from id 0."""
    unknown = [] if parts.unknown is None else [parts.unknown]
    padding = [] if parts.padding is None else [parts.padding]
    first = [*padding, *unknown, *parts.special[: parts.unknown_buckets - 1]]
    found = list(parts.tokens[: len(first)])
    if found != first:
        raise VocabularyError(
            f"Keras numbers padding and unknown tokens first, here {first}, received {found} with "
            "the first ids: give them those (other special tokens may have any ids), or leave "
            "padding and unknown out with None"
        )
    return first


def _check_tokens(ordinary: list[str]) -> None:
    if not ordinary:
        raise VocabularyError("Keras needs a token besides padding and unknown ones, received none")
    for token in ordinary:
        if token.endswith("\0"):
            raise VocabularyError(
                f"Keras takes NUL from the ends of tokens, received {token!r}: leave it out"
            )
        try:
            token.encode()
        except UnicodeEncodeError as error:
            raise VocabularyError(
                f"Keras takes tokens that are UTF-8, received {token!r}: leave it out"
            ) from error


def _lookup(parts: Parts, ordinary: list[str]) -> Any:
    from embedfreeze.backend import keras

    salted: dict[str, Any] = (
        {} if parts.unknown_salt is None else {"salt": list(parts.unknown_salt)}
    )
    return keras.layers.StringLookup(
        vocabulary=ordinary,
        mask_token=parts.padding,
        oov_token="[UNK]" if parts.unknown is None else parts.unknown,
        num_oov_indices=0 if parts.unknown is None else parts.unknown_buckets,
        **salted,
    )


def _vectorization(parts: Parts, ordinary: list[str]) -> Any:
    from embedfreeze.backend import keras

    if parts.padding != "" or parts.unknown is None or parts.unknown_buckets != 1:
        raise VocabularyError(
            "a TextVectorization has the padding token '' with id 0 and one unknown token with id "
            f"1, received padding={parts.padding!r}, unknown={parts.unknown!r}, "
            f"unknown_buckets={parts.unknown_buckets}: name the tokens so, or split texts "
            "beforehand and take kind='lookup'"
        )
    return keras.layers.TextVectorization(vocabulary=ordinary, **_cutting(parts.splitter))


def _cutting(splitter: Any) -> dict[str, Any]:
    """The arguments of a `TextVectorization` that cuts texts as the splitter does."""
    if not isinstance(splitter, Splitter):
        raise VocabularyError(
            "a TextVectorization cuts texts as an embedfreeze.Splitter does, received "
            f"{splitter!r}: split texts beforehand and take kind='lookup'"
        )
    cased = {"lowercase": splitter.lowercase, "delete": splitter.delete}
    standardize = [name for name, options in STANDARDIZE.items() if options == cased]
    split = [name for name, pattern in SPLIT.items() if pattern == splitter.separators]
    # Without splitting Keras gives [batch], not [batch, 1], and takes n-grams across texts.
    if standardize and split and splitter.separators is not None:
        named = {"standardize": standardize[0], "split": split[0]}
        return {**named, "ngrams": splitter.ngrams or None}
    from embedfreeze.graphtext import GraphSplitter

    return {"standardize": None, "split": GraphSplitter(splitter)}
