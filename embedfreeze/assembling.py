"""Models from ids or texts to outputs, put together out of a table and a head that was trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy.typing as npt

from embedfreeze.backend import keras
from embedfreeze.batch.encoding import WEIGHTS
from embedfreeze.batch.features import load_weights
from embedfreeze.batch.manifest import Manifest
from embedfreeze.checks import Check
from embedfreeze.errors import FrozenError
from embedfreeze.files import PathLike, name_of
from embedfreeze.head import Compiling
from embedfreeze.model import FrozenModel
from embedfreeze.splitters import splitter_config
from embedfreeze.table import Table
from embedfreeze.textvectors import text_vectors

__all__ = ["assemble"]

OneVector = Literal["mean", "sum", "sqrtn", "max"]


def assemble(
    source: Any,
    head: keras.Model,
    *,
    features: PathLike | None = None,
    pooling: OneVector = "mean",
    token_weights: npt.ArrayLike | None = None,
    pooled_lookup: bool = False,
    max_length: int | None = None,
    inputs: Literal["ids", "text"] = "ids",
    trainable_oov: bool | Sequence[int] = False,
    device: str = "cpu",
    save: Literal["reference", "embed"] | None = None,
    check_ids: bool = False,
    check: Check = "address",
    optimizer: Any = None,
    loss: Any = None,
    metrics: Any = None,
    name: str | None = None,
) -> FrozenModel:
    """A model that looks texts up in a frozen table, pools them and gives them to a head.

    The head is one layer of the model, with the layers and weights that it has: training one trains
    the other. It may have been trained on features, the pooled texts that this model makes; see
    `build_head`.

    Parameters
    ----------
    source : AlignedEmbeddings or Embeddings
        The table, as for `build_model`.
    head : keras.Model
        Any model that takes float32 [batch, dim], such as one of `build_head`.
    features : path, optional
        The folder that `encode` wrote, on which the head was trained: pooling, weights of tokens
        and `max_length` are those of its manifest, and the table must be the one it was made with.
    pooling : {"mean", "sum", "sqrtn", "max"}
        How the vectors of a text become one; that of the features. "attention" is for `build_model`
        alone: it has weights of its own, which must be trained together with the head.
    token_weights : array_like, optional
        float32 [rows], a weight for each id: each vector is multiplied by the weight of its token
        before pooling, which stays as it is, so that a mean is the weighted sum over the number of
        tokens. They are saved with the model and never trained.
    pooled_lookup : bool
        As for `build_model`; not with `token_weights`.
    max_length, inputs, trainable_oov, device, save, check_ids, check
        As for `build_model`. Rows that are trained are no longer those of the features.
    optimizer, loss, metrics
        As for `keras.Model.compile`. The model is compiled if an optimizer and a loss are given;
        what the head is compiled with stays the head's.
    name : str, optional
        Of the model.

    Returns
    -------
    FrozenModel
        A functional Keras model from ids or texts to what the head gives. It is saved, loaded,
        exported, checked and thawed as one of `build_model`.

    Raises
    ------
    TypeError
        The head is no Keras model.
    ValueError
        The head takes something else than [batch, dim of the table]; the weights are no finite
        numbers, one for each row; or an argument is not one of those above.
    FrozenError
        The features were made with another table, or texts were cut in another way; or as for
        `build_model`.
    FileError, FormatError
        The folder of features has no manifest that can be read.
    VocabularyError
        As for `build_model`.

    Warns
    -----
    UserWarning
        Text inputs, and the splitter can never produce some tokens of the vocabulary.

    Examples
    --------
    ``head = embedfreeze.build_head(aligned.dim, optimizer="adam", loss="mse")``, then
    ``head.fit(features, labels)`` and ``model = embedfreeze.assemble(aligned, head)``.
    """
    compiling = Compiling(optimizer, loss, metrics)
    if features is not None:
        if (pooling, token_weights, max_length) != ("mean", None, None):
            raise ValueError(
                "pooling, token_weights and max_length are those of features: leave them out"
            )
        pooling, token_weights, max_length = _as_encoded(features, source)
    _refuse_pooling(pooling)
    entry, vectors = text_vectors(
        source,
        pooling=pooling,
        token_weights=token_weights,
        pooled_lookup=pooled_lookup,
        max_length=max_length,
        inputs=inputs,
        trainable_oov=trainable_oov,
        device=device,
        save=save,
        check_ids=check_ids,
    )
    _refuse_head(head, int(vectors.shape[-1]))
    model = FrozenModel(entry, head(vectors), name=name, check=check)
    compiling.apply(model)
    return model


def _as_encoded(features: PathLike, source: Any) -> tuple[OneVector, Any, int | None]:
    """Pooling, weights of tokens and length of the texts that a folder of features was made of."""
    folder = name_of(features)
    job = Manifest.read(folder).job
    table = Table.of(source)
    if job["table"]["digest"] != table.sealed.digest:
        raise FrozenError(
            f"{folder}: the features were made with a table of the digest "
            f"{job['table']['digest']}, received one of {table.sealed.digest}: give that table, or "
            "encode the corpus again"
        )
    splitter = None if table.vocabulary is None else splitter_config(table.vocabulary.splitter)
    if splitter is not None and splitter != job["splitter"]:
        raise FrozenError(
            f"{folder}: the texts of the features were cut by {job['splitter']!r:.300}, and the "
            f"table's vocabulary cuts them by {splitter!r:.300}: align with a vocabulary that has "
            "the splitter of the features"
        )
    weights = None
    if job["weights"] is not None:
        weights = load_weights(os.path.join(folder, WEIGHTS), table.shape[0])
    return job["features"], weights, job["max_length"]


def _refuse_pooling(pooling: str | None) -> None:
    allowed = get_args(OneVector)
    if pooling == "attention":
        raise ValueError(
            f"pooling must be one of {[*allowed]}, received 'attention', whose weights are trained "
            "together with the dense layers, and not on features: use embedfreeze.build_model"
        )
    if pooling not in allowed:
        raise ValueError(
            f"pooling must be one of {[*allowed]}, which make one vector [dim] of a text, received "
            f"{pooling!r}: take that of the features"
        )


def _refuse_head(head: Any, dim: int) -> None:
    """Refuse what tells that it takes no vectors; a model without declared inputs tells when it is
    called."""
    if not isinstance(head, keras.Model):
        raise TypeError(
            f"head must be a Keras model, received {type(head).__name__}: make one with "
            f"embedfreeze.build_head({dim})"
        )
    entries = keras.tree.flatten(getattr(head, "inputs", None) or [])
    taken = [(tuple(entry.shape), entry.dtype) for entry in entries]
    if taken and not (len(taken) == 1 and taken[0][0][1:] == (dim,) and "float" in taken[0][1]):
        raise ValueError(
            f"head must take one input, floats [batch, {dim}] for the vectors of the table, "
            f"received a model of {taken}: train a head on features of this table"
        )
