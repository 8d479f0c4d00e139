"""What weights, as in a `.weights.h5` file, hold of a table: what tells it, not the table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from embedfreeze.errors import FormatError, FrozenError
from embedfreeze.tablerecord import TableRecord

__all__ = ["load_record", "refuse_weights", "save_record"]


def save_record(store: Any, record: TableRecord) -> None:
    """Write the digest, and the whole record as JSON, among the weights of a layer.

    Parameters
    ----------
    store : mapping of str to numpy.ndarray
        As Keras gives it to `save_own_variables`.
    record : TableRecord
        Of the layer's table.
    """
    store["digest"] = np.frombuffer(bytes.fromhex(record.digest), dtype=np.uint8)
    store["table"] = np.frombuffer(json.dumps(record.to_dict()).encode(), dtype=np.uint8)


def load_record(store: Mapping[str, Any]) -> TableRecord | None:
    """The record among the weights of a layer; None in those that hold the digest alone.

    Raises
    ------
    FormatError
        It cannot be read.
    """
    if "table" not in set(store.keys()):
        return None
    try:
        return TableRecord.from_dict(json.loads(np.asarray(store["table"]).tobytes()))
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"weights must describe their table in JSON ({error}): the file is damaged, save the "
            "weights again"
        ) from error


def refuse_weights(store: Mapping[str, Any], record: TableRecord, layer: str) -> None:
    """`FrozenError` if the weights of a layer were saved with another table than the record's."""
    digest = "none"
    if "digest" in set(store.keys()):
        digest = np.asarray(store["digest"], dtype=np.uint8).tobytes().hex()
    if digest != record.digest:
        raise FrozenError(
            f"layer {layer!r} has a table with the digest {record.digest}, received weights with "
            f"the digest {digest}: build the model with their table"
        )
    saved = load_record(store)
    if saved is not None and saved.tokens_digest != record.tokens_digest:
        raise FrozenError(
            f"layer {layer!r} has tokens with the digest {record.tokens_digest}, received weights "
            f"that belong to tokens with the digest {saved.tokens_digest}: build the model with "
            "their table"
        )
