"""How a functional model begins: ids or texts, lookup in a frozen table, pooling."""

from __future__ import annotations

import warnings
from typing import Any, get_args

import numpy.typing as npt

from embedfreeze.backend import keras
from embedfreeze.errors import VocabularyError
from embedfreeze.frozen import FrozenEmbedding
from embedfreeze.pooling import Pooling, SumMethod, pooling_layer
from embedfreeze.textids import TextToIds
from embedfreeze.tokenweights import TokenWeights
from embedfreeze.vocabulary import Vocabulary

__all__ = ["text_vectors"]


def text_vectors(
    source: Any,
    *,
    pooling: Pooling | None,
    pooled_lookup: bool,
    max_length: int | None,
    inputs: str,
    token_weights: npt.ArrayLike | None = None,
    **options: Any,
) -> tuple[Any, Any]:
    """The input of a model, and what is made of it: [batch, dim], by None [batch, length, dim].

    Parameters
    ----------
    source, pooling, pooled_lookup, max_length, inputs
        As for `build_model`.
    token_weights : array_like, optional
        A weight for each id; see `TokenWeights`.
    **options
        Of `FrozenEmbedding`.

    Raises
    ------
    ValueError
        Arguments do not go together.
    VocabularyError
        Text inputs, and the source has no vocabulary.
    """
    if pooling == "flatten" and max_length is None:
        raise ValueError("pooling='flatten' needs texts of a fixed length: give max_length=")
    _check_pooled_lookup(pooled_lookup, pooling, token_weights)
    method = pooling if pooled_lookup else None
    embedding = FrozenEmbedding(source, pooling=method, name="embedding", **options)  # type: ignore[arg-type]
    weighting = _weighting(token_weights, int(embedding.table.shape[0]))
    entry, ids = _entry(inputs, embedding.vocabulary, max_length)
    x = embedding(ids)
    if weighting is not None:
        x = weighting(x, ids)
    if pooling is not None and not pooled_lookup:
        x = pooling_layer(pooling)(x)
    return entry, x


def _check_pooled_lookup(pooled: bool, pooling: str | None, weights: Any) -> None:
    if pooled and pooling not in get_args(SumMethod):
        raise ValueError(
            f"pooled_lookup=True needs a pooling of {[*get_args(SumMethod)]}, received {pooling!r}"
        )
    if pooled and weights is not None:
        raise ValueError(
            "pooled_lookup=True adds rows as they are stored, received token_weights=: leave one "
            "of them out"
        )


def _weighting(weights: npt.ArrayLike | None, rows: int) -> TokenWeights | None:
    if weights is None:
        return None
    layer = TokenWeights(weights, name="token_weights")
    given = int(layer.values.shape[0])
    if given != rows:
        raise ValueError(
            f"token_weights must be [{rows}], one for each row of the table, received "
            f"[{given}]: give them in the order of the ids"
        )
    return layer


def _entry(inputs: str, vocabulary: Vocabulary | None, max_length: int | None) -> tuple[Any, Any]:
    """The input of the model, and the ids made of it."""
    if inputs == "ids":
        entry = keras.Input((max_length,), dtype="int32", name="ids")
        return entry, entry
    if inputs != "text":
        raise ValueError(f"inputs must be one of ['ids', 'text'], received {inputs!r}")
    if vocabulary is None:
        raise VocabularyError(
            "texts as inputs need a vocabulary, and the source has none: align it to one with "
            "embedfreeze.align(source, vocabulary)"
        )
    entry = keras.Input((), dtype="string", name="text")
    ids = TextToIds(vocabulary, max_length=max_length, name="ids")(entry)
    _warn_of_unreachable(vocabulary)
    return entry, ids


def _warn_of_unreachable(vocabulary: Vocabulary) -> None:
    tokens = vocabulary.unreachable()
    if tokens:
        warnings.warn(
            f"the splitter never produces {len(tokens)} of the {len(vocabulary)} tokens of the "
            f"vocabulary, so no text will find them: {', '.join(map(repr, tokens[:5]))}"
            f"{', ...' if len(tokens) > 5 else ''}",
            stacklevel=5,
        )
