"""model2vec: a folder with the vectors of a static model and the tokenizer that numbers them.

``model.safetensors`` holds ``embeddings`` [rows, dim] and, where the vocabulary is quantised,
``mapping`` [ids], the row of each id, and ``weights`` [ids], which its vector is multiplied by;
``tokenizer.json`` numbers the tokens. model2vecwriter.py writes it. Source: the package model2vec,
https://github.com/MinishLab/model2vec.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError
from embedfreeze.files import Source, name_of
from embedfreeze.formats.arrays.batches import TokenMatrix, mapped_batches
from embedfreeze.formats.base import Format, Reading, ReadOptions, Writer
from embedfreeze.formats.side.tokens import TokenRows
from embedfreeze.formats.tensors.header import Tensor, header_length
from embedfreeze.formats.tensors.model2vecwriter import (
    ADDED,
    CONFIG,
    EMBEDDINGS,
    TOKENIZER,
    refuse,
    write,
)
from embedfreeze.formats.tensors.safetensors import FLOATS, opened_tensors, rows_with_tokens, shown
from embedfreeze.tokens import Tokens
from embedfreeze.vocabularies.lines import read_bytes

__all__ = ["MODEL2VEC"]

MAPPING, WEIGHTS = "mapping", "weights"
# Not bfloat16: model2vec reads with NumPy, which has none.
WEIGHT_TYPES = {code: dtype for code, dtype in FLOATS.items() if code != "BF16"}
VALUE_TYPES = {**WEIGHT_TYPES, "I8": "|i1"}
ROW_TYPES = {"I64": "<i8", "I32": "<i4"}


def sniff(source: Source) -> bool:
    """A safetensors file with a tensor ``embeddings``, beside a tokenizer?"""
    length = header_length(source)
    if length is None or source.located is None:
        return False
    named = f'"{EMBEDDINGS}"'.encode() in source.head[8 : 8 + length]
    return named and os.path.isfile(_beside(source, TOKENIZER))


def _beside(source: Source, name: str) -> str:
    return os.path.join(os.path.dirname(source.located or ""), name)


@dataclass(frozen=True, eq=False)
class _Model:
    """What a model says of the ids of its tokenizer.

    Attributes
    ----------
    embeddings : Tensor
        [rows, dim].
    values : numpy.ndarray
        The same, mapped.
    mapping : numpy.ndarray or None
        int64 [ids], the row of each id.
    weights : numpy.ndarray or None
        Floats [ids].
    """

    embeddings: Tensor
    values: npt.NDArray[Any]
    mapping: npt.NDArray[np.int64] | None
    weights: npt.NDArray[Any] | None

    @property
    def ids(self) -> int:
        return len(self.values) if self.mapping is None else len(self.mapping)


def _model(source: Source, tensors: dict[str, Tensor], buffer: Any) -> _Model:
    def fail(rule: str) -> FormatError:
        return FormatError(
            f"{rule}, received {shown(tensors)}: it is no model of model2vec, name its tensor with "
            f"format='safetensors' (--from) and member= (--member)",
            path=source.name,
        )

    def vector(name: str, types: dict[str, str]) -> npt.NDArray[Any] | None:
        tensor = tensors.get(name)
        if tensor is None:
            return None
        if tensor.dtype not in types or len(tensor.shape) != 1:
            raise fail(f"{name} must be {' or '.join(types)} [ids]")
        return tensor.array(buffer, types[tensor.dtype])

    matrix = tensors.get(EMBEDDINGS)
    if matrix is None or matrix.dtype not in VALUE_TYPES or len(matrix.shape) != 2:
        raise fail(f"{EMBEDDINGS} must be {' or '.join(VALUE_TYPES)} [rows, dim]")
    mapping, weights = vector(MAPPING, ROW_TYPES), vector(WEIGHTS, WEIGHT_TYPES)
    rows = matrix.shape[0]
    if mapping is not None and len(mapping) and not 0 <= mapping.min() <= mapping.max() < rows:
        raise fail(f"{MAPPING} must name rows of the {rows}")
    model = _Model(matrix, matrix.array(buffer, VALUE_TYPES[matrix.dtype]), mapping, weights)
    if weights is not None and len(weights) != model.ids:
        raise fail(f"{WEIGHTS} must be as many as there are ids, {model.ids}")
    return model


def read(source: Source, options: ReadOptions) -> Reading:
    """Read the vector that the model has for each token of its tokenizer.

    It is ``embeddings[mapping[id]] * weights[id]``, what the model takes the mean of: rounded to
    float32 in the end, and not of unit length where ``normalize`` in ``config.json`` makes the
    vectors of texts so.
    """
    tensors, buffer = opened_tensors(source)
    model = _model(source, tensors, buffer)
    notes = [f"{name} {tensors[name]}" for name in (MAPPING, WEIGHTS) if name in tensors]
    path = _beside(source, TOKENIZER) if options.tokens is None else name_of(options.tokens)
    found = _without_added(source, rows_with_tokens(path, model.ids, options, notes), notes)
    reading = Reading(
        model.embeddings.shape[1], options.rows_dtype, options.limited(len(found.rows))
    )
    reading.notes += [f"tensor {EMBEDDINGS} {model.embeddings}", *notes]
    ids, mapping, weights = found.rows, model.mapping, model.weights
    table = TokenMatrix(
        model.values,
        model.embeddings.start,
        found.tokens,
        ids if mapping is None else mapping[ids],
        None if weights is None else weights[ids],
    )
    reading.batches = mapped_batches(source, options, reading, table, buffer)
    return reading


def _without_added(source: Source, found: TokenRows, notes: list[str]) -> TokenRows:
    """The tokens without those that `write` added, as the configuration says."""
    path = _beside(source, CONFIG)
    if source.located is None or not os.path.isfile(path):
        return found
    try:
        config = json.loads(read_bytes(path))
        added = Tokens.from_strings(config.get(ADDED, []))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise FormatError(
            f"the configuration of a model must be a JSON object ({error}): get the file again",
            path=path,
        ) from error
    kept = np.flatnonzero(added.find(found.tokens) < 0)
    if len(kept) == len(found.rows):
        return found
    notes.append(f"left out {', '.join(map(repr, added))}, which was added when it was written")
    return TokenRows(found.tokens.take(kept), found.rows[kept])


MODEL2VEC = Format(
    "model2vec",
    sniff,
    read,
    Writer((), write, refuse, packable=False, folder=True),
    main=("model.safetensors",),
)
