"""Which tokens a report shows."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from embedfreeze.embeddings import Embeddings
from embedfreeze.reports.rows import Rows
from embedfreeze.vocabulary import Vocabulary

__all__ = ["first_rows", "with_direction", "words_of"]

SHORTEST_WORD, WORDS, EARLY = 4, 6, 2000  # letters; tokens that are chosen, out of so many
Int64 = npt.NDArray[np.int64]


def first_rows(
    embeddings: Embeddings, vocabulary: Vocabulary | None, rows: Rows
) -> tuple[Int64, str]:
    """The rows that have a direction, the most frequent first as far as that is known.

    What a store's maker filled in for special and missing tokens is none of them.
    """
    ordinary, given = rows.ordinary, embeddings.alignment.found
    if given is not None:
        ordinary = ordinary[given[ordinary]]
    if vocabulary is None:
        return ordinary, "first tokens of the file"
    tokens, order = vocabulary.tokens, "first tokens of the vocabulary"
    counts = vocabulary.counts
    if counts is not None:
        tokens = tuple(sorted(tokens, key=lambda token: -counts.get(token, 0)))
        order = "most frequent tokens of the vocabulary"
    found = embeddings.rows(tokens).astype(np.int64)
    return found[np.isin(found, ordinary)], order


def with_direction(embeddings: Embeddings, asked: list[str], rows: Rows) -> list[str]:
    """Tokens, without those whose rows point nowhere, of which a warning tells."""
    found = embeddings.rows(asked).astype(np.int64)
    nowhere = (found >= 0) & ~np.isin(found, rows.ordinary)
    left_out = [token for token, is_so in zip(asked, nowhere.tolist(), strict=True) if is_so]
    if left_out:
        warnings.warn(
            f"a row must point somewhere to have neighbours: {', '.join(map(repr, left_out))} left "
            f"out, whose rows are zeros or not finite",
            stacklevel=3,
        )
    return [token for token in asked if token not in left_out]


def words_of(embeddings: Embeddings, first: Int64) -> list[str]:
    """Some words out of the frequent ones, from the first on in equal steps."""
    early = [embeddings.tokens[i] for i in first[:EARLY].tolist()]
    words = [word for word in early if word.isalpha() and len(word) >= SHORTEST_WORD] or early
    places = np.linspace(0, len(words) - 1, min(WORDS, len(words))).astype(int)
    return [words[i] for i in places.tolist()]
