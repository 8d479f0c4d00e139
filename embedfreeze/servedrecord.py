"""What a SavedModel says about its tables, in a file that servers pass over.

A SavedModel holds its tables by value, among the variables of a checkpoint. Files of other programs
belong in its folder ``assets.extra``
(https://github.com/tensorflow/tensorflow/blob/master/tensorflow/python/saved_model/README.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError
from embedfreeze.files import atomic_output
from embedfreeze.sealed import combine_digests
from embedfreeze.table import Table
from embedfreeze.tablerecord import TableRecord

__all__ = ["ServedTable", "read_served", "served_path", "write_served"]

_FORMAT = "embedfreeze-saved-model"


@dataclass(frozen=True, eq=False)
class ServedTable:
    """What a SavedModel says about one of its tables.

    Attributes
    ----------
    layer : str or None
        The layer that held it.
    record : TableRecord
        What tells the table.
    blocks : numpy.ndarray
        SHA-256 of each 1 MiB block of it, uint8 [blocks, 32].
    """

    layer: str | None
    record: TableRecord
    blocks: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, layer: str | None, table: Table) -> ServedTable:
        """Of a table in use."""
        return cls(layer, table.record, table.sealed.block_digests)

    @classmethod
    def from_dict(cls, found: Any) -> ServedTable:
        """What `to_dict` wrote down; `ValueError`, `KeyError` or `TypeError` if it is not that."""
        record = TableRecord.from_dict(found["table"])
        blocks = np.frombuffer(bytes.fromhex(found["blocks"]), np.uint8).reshape(-1, 32)
        if combine_digests(blocks) != record.digest:
            raise ValueError("the digests of the blocks do not have the digest of the table")
        if not isinstance(found["layer"], str | None):
            raise ValueError(f"a layer must have a name, received {found['layer']!r:.60}")
        return cls(found["layer"], record, blocks)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "layer": self.layer,
            "table": self.record.without_place().to_dict(),
            "blocks": self.blocks.tobytes().hex(),
        }


def served_path(folder: str) -> str:
    """Where the record of a SavedModel lies."""
    return os.path.join(folder, "assets.extra", "embedfreeze.json")


def write_served(folder: str, tables: Iterable[ServedTable]) -> None:
    """Write the record into the folder of a SavedModel."""
    path = served_path(folder)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    content = {"format": _FORMAT, "tables": [table.to_dict() for table in tables]}
    with atomic_output(path, overwrite=True) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")


def read_served(folder: str) -> list[ServedTable] | None:
    """The record of a SavedModel; None if it has none.

    Raises
    ------
    FormatError
        It cannot be read.
    """
    path = served_path(folder)
    if not os.path.exists(path):
        return None
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
        if content["format"] != _FORMAT:
            raise ValueError(f"the format must be {_FORMAT}, received {content['format']!r:.60}")
        return [ServedTable.from_dict(table) for table in content["tables"]]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(
            f"the record of the tables cannot be read ({error}): it is damaged, export the model "
            "again",
            path=path,
        ) from error
