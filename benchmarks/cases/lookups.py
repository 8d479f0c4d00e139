"""Rows of a million random tokens, out of a million."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.inputs import BINARY_ROWS
from benchmarks.measuring import Result, measured
from benchmarks.suite import Bar, Case, times_faster

LOOKUPS = 1_000_000
DIM = 50
Find = Callable[[list[str]], np.ndarray]


def drawn(words: Sequence[str]) -> list[str]:
    """Random tokens as a text is split into them: strings that no dictionary has met before."""
    chosen = np.random.default_rng(4).integers(0, len(words), min(LOOKUPS, len(words)))
    return "\n".join([words[row] for row in chosen.tolist()]).split("\n")


def found(words: Sequence[str], find: Find) -> Result:
    """Look the drawn tokens up; what takes time once was done before."""
    tokens = drawn(words)
    find([words[0]])
    result: Result = {}
    with measured(result):
        rows = find(tokens)
    result["digest"] = hashlib.sha256(rows.astype(np.int32).data.cast("B")).hexdigest()[:16]
    return result


def ours(path: str) -> Result:
    """`Embeddings.rows`."""
    import embedfreeze as ef

    embeddings = ef.read(path)
    return found(list(embeddings.tokens), embeddings.rows)


def dictionary(path: str) -> Result:
    """A Python dict at its fastest: no line of Python runs for a token."""
    import embedfreeze as ef

    words = list(ef.read(path).tokens)
    rows = {word: row for row, word in enumerate(words)}
    return found(
        words,
        lambda tokens: np.fromiter(map(rows.__getitem__, tokens), np.int32, len(tokens)),
    )


def gensim(path: str) -> Result:
    """Its dict, token by token."""
    from gensim.models import KeyedVectors

    vectors = KeyedVectors.load_word2vec_format(path, binary=True)
    rows = vectors.key_to_index
    return found(vectors.index_to_key, lambda tokens: np.array([rows[token] for token in tokens]))


def gensim_get_index(path: str) -> Result:
    """Its method, token by token."""
    from gensim.models import KeyedVectors

    vectors = KeyedVectors.load_word2vec_format(path, binary=True)
    return found(
        vectors.index_to_key,
        lambda tokens: np.array([vectors.get_index(token) for token in tokens]),
    )


def pandas(path: str) -> Result:
    """Its index, all tokens at once."""
    import pandas as pd

    import embedfreeze as ef

    words = list(ef.read(path).tokens)
    index = pd.Index(words, dtype=object)
    return found(words, lambda tokens: index.get_indexer(np.array(tokens, dtype=object)))


CASES = [
    Case(
        "lookups, 1,000,000 tokens",
        lambda inputs: [inputs.dense("bin", inputs.rows(BINARY_ROWS), DIM)],
        {
            "embedfreeze": ours,
            "a Python dict": dictionary,
            "gensim": gensim,
            "gensim, get_index": gensim_get_index,
            "pandas": pandas,
        },
        (Bar("against the fastest peer", 1, times_faster()),),
        same=("a Python dict", "gensim", "gensim, get_index", "pandas"),
    )
]
