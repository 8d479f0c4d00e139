"""The ids and counts of gensim's `Dictionary` and `KeyedVectors`, without importing gensim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embedfreeze.errors import VocabularyError

__all__ = ["ids_and_counts"]


def ids_and_counts(source: Any) -> tuple[Mapping[str, int], dict[str, int] | None]:
    """Token to id, and token to count where gensim has counted.

    Raises
    ------
    VocabularyError
        The object is of another kind.
    """
    if hasattr(source, "token2id"):
        return source.token2id, _counts_of_dictionary(source)
    vectors = getattr(source, "wv", source)  # a whole model has its vectors there
    if hasattr(vectors, "key_to_index"):
        return vectors.key_to_index, _counts_of_vectors(vectors)
    raise VocabularyError(
        "a vocabulary can be made of a gensim Dictionary or KeyedVectors (or a model that has "
        f"them as .wv), received {type(source).__name__}"
    )


def _counts_of_dictionary(dictionary: Any) -> dict[str, int] | None:
    if not dictionary.cfs:
        return None
    return {token: dictionary.cfs.get(i, 0) for token, i in dictionary.token2id.items()}


def _counts_of_vectors(vectors: Any) -> dict[str, int] | None:
    if "count" not in getattr(vectors, "expandos", {}):
        return None
    return {token: vectors.get_vecattr(token, "count") for token in vectors.key_to_index}
