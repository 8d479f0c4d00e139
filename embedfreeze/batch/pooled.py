"""Pooled vectors of texts, and the weights of tokens that may go into them."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel, storage
from embedfreeze.batch.columns import Ragged
from embedfreeze.errors import VocabularyError

__all__ = ["POOLINGS", "Weighting", "inverse_frequencies", "pool", "sif_weights"]

Pooled = Literal["mean", "sum", "sqrtn", "max"]
Weighting = Literal["tfidf", "sif"]
POOLINGS: tuple[str, ...] = get_args(Pooled)
CHUNK = 1 << 16  # rows of a table that is not float32, decoded at a time
Float32 = npt.NDArray[np.float32]
SUM, MAXIMUM = 0, 1  # as the kernel calls them


def pool(
    matrix: npt.NDArray[Any],
    ids: Ragged,
    how: str,
    padding_id: int | None = None,
    weights: Float32 | None = None,
) -> Float32:
    """One vector a text: float32 [texts, dim], zeros for one without tokens.

    Parameters
    ----------
    matrix : numpy.ndarray
        Rows as they are stored, of any storage dtype.
    ids : Ragged
        int32, of each text.
    how : {"mean", "sum", "sqrtn", "max"}
        As `embedfreeze.pooling.MaskedPooling`, whose arithmetic this is: rows are added in float32
        in the order of the tokens, and then divided.
    padding_id : int, optional
        Is left out.
    weights : numpy.ndarray, optional
        float32 [rows]: each row is multiplied by its weight first.
    """
    if padding_id is not None:
        ids = _without(ids, padding_id)
    if matrix.dtype != np.float32:
        pooled = _pool_decoded(matrix, ids, how, weights)
    else:
        pooled = _pool_rows(matrix, ids, how, weights)
    if how in ("mean", "sqrtn"):
        counts = np.maximum(np.diff(ids.row_splits), 1).astype(np.float32)
        pooled /= (counts if how == "mean" else np.sqrt(counts))[:, None]
    return pooled


def _without(ids: Ragged, left_out: int) -> Ragged:
    kept = ids.values != left_out
    if kept.all():
        return ids
    before = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
    return Ragged(ids.values[kept], before[ids.row_splits])


def _pool_rows(values: Float32, ids: Ragged, how: str, weights: Float32 | None) -> Float32:
    dim = values.shape[1]
    pooled = np.empty((len(ids.row_splits) - 1, dim), np.float32)
    _kernel.pool_rows(
        values,
        dim,
        np.ascontiguousarray(ids.values, np.int32),
        ids.row_splits,
        b"" if weights is None else weights,
        MAXIMUM if how == "max" else SUM,
        pooled,
    )
    return pooled


def _pool_decoded(
    matrix: npt.NDArray[Any], ids: Ragged, how: str, weights: Float32 | None
) -> Float32:
    """The same, of rows that are decoded first: of each part those that occur in it, once."""
    dim = storage.dim_of(str(matrix.dtype), matrix.shape[1])
    splits, pooled = ids.row_splits, np.empty((len(ids.row_splits) - 1, dim), np.float32)
    low = 0
    while low < len(pooled):
        high = int(np.searchsorted(splits, splits[low] + CHUNK, "right")) - 1
        high = min(max(high, low + 1), len(pooled))
        rows, places = np.unique(ids.values[splits[low] : splits[high]], return_inverse=True)
        part = Ragged(places.astype(np.int32), splits[low : high + 1] - splits[low])
        own = None if weights is None else weights[rows]
        pooled[low:high] = _pool_rows(storage.decode(matrix[rows]), part, how, own)
        low = high
    return pooled


def inverse_frequencies(texts_with: npt.NDArray[np.int64], texts: int) -> Float32:
    """Inverse document frequencies, float32: ``ln((1 + n) / (1 + df)) + 1``.

    The smooth form of scikit-learn's `TfidfTransformer`. The mean of vectors times these weights is
    their sum weighted by tf-idf, where tf is the share of the text's tokens.

    Parameters
    ----------
    texts_with : numpy.ndarray
        int64 [rows]: how many texts hold the token.
    texts : int
        How many there are.
    """
    weights: Float32 = (np.log((1 + texts) / (1 + texts_with)) + 1).astype(np.float32)
    return weights


def sif_weights(counts: npt.NDArray[np.int64] | None, a: float) -> Float32:
    """Smooth inverse frequencies, float32: ``a / (a + p)``, p the share of a token in the corpus.

    The weights of Arora, Liang and Ma, "A Simple but Tough-to-Beat Baseline for Sentence
    Embeddings" (ICLR 2017). Their removal of the common component, which needs all texts, is not
    part of them. A token whose count is not known has the weight 1.

    Parameters
    ----------
    counts : numpy.ndarray or None
        int64 [rows], -1 where it is not known.
    a : float
        The paper tries 1e-4 to 3e-3.

    Raises
    ------
    VocabularyError
        No count is known.
    """
    known = None if counts is None else np.maximum(counts, 0)
    if known is None or not known.any():
        raise VocabularyError(
            "SIF weights need the counts of the tokens, received a table without: align it to a "
            "vocabulary of embedfreeze.count_corpus (embedfreeze vocabulary)"
        )
    weights: Float32 = (a / (a + known / known.sum())).astype(np.float32)
    return weights
