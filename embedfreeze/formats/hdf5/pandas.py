"""Frames that pandas wrote into HDF5 in its fixed format, as those of ConceptNet Numberbatch.

A frame is a group: ``axis1`` holds the labels of its rows, and each ``block<i>_values`` the columns
of one dtype, which ``block<i>_items`` names. Source: pandas/io/pytables.py. Labels that pandas
pickled are not opened.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from embedfreeze.errors import FormatError
from embedfreeze.files import Source
from embedfreeze.formats.hdf5.layout import (
    is_matrix,
    is_pickled,
    is_strings,
    own,
    refuse_other_floats,
)
from embedfreeze.formats.hdf5.matrix import Block, Matrix
from embedfreeze.formats.hdf5.strings import text_attribute

__all__ = ["REMEDY", "frame_matrix", "frames", "is_table_frame", "labels_said"]

FRAME_KINDS = "fiu"
UTF8 = ("utf-8", "utf8", "ascii", "us-ascii")
LARGEST_COLUMNS = 1 << 20
REMEDY = "write it with frame.set_index('token').to_hdf(path, key='frame', format='fixed')"
_VALUES = re.compile(r"block\d{1,6}_values")


def _kind(dataset: Any) -> str | None:
    return text_attribute(dataset.parent, "pandas_type")


def frames(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The datasets of each frame of a file, by the name of its group."""
    groups: dict[str, dict[str, Any]] = {}
    for name, dataset in found.items():
        group, _, inner = name.rpartition("/")
        if _VALUES.fullmatch(inner) and _kind(dataset) == "frame":
            groups[group] = {}
    for name, dataset in found.items():
        group, _, inner = name.rpartition("/")
        if group in groups:
            groups[group][inner] = dataset
    return groups


def is_table_frame(found: dict[str, Any]) -> bool:
    """Did pandas write a frame with format="table"?"""
    named = (dataset for name, dataset in found.items() if name.endswith("/table"))
    return any(_kind(dataset) == "frame_table" for dataset in named)


def frame_matrix(source: Source, name: str, parts: dict[str, Any]) -> Matrix:
    """A frame as a matrix, with its row labels.

    Raises
    ------
    FormatError
        A column holds no numbers, or the frame is damaged.
    """
    values = {n: dataset for n, dataset in parts.items() if _VALUES.fullmatch(n)}
    for n, dataset in values.items():
        if not is_matrix(dataset, FRAME_KINDS) or "value_type" in dataset.attrs:
            raise FormatError(
                f"a frame of pandas must have numbers alone beside its labels, received {n} of "
                f"{'pickled objects, which are not opened' if is_pickled(dataset) else 'others'}: "
                f"{REMEDY}",
                path=source.name,
            )
        refuse_other_floats(source, own(source, dataset))
    rows = {len(dataset) for dataset in values.values()}
    dim = sum(int(dataset.shape[1]) for dataset in values.values())
    if len(rows) != 1:
        raise _damaged(source, name, f"blocks of {' and '.join(map(str, sorted(rows)))} rows")
    blocks = _blocks(source, name, parts, values, dim)
    return Matrix(f"/{name}", rows.pop(), dim, blocks, _labels(source, parts))


def _damaged(source: Source, name: str, received: str) -> FormatError:
    return FormatError(
        f"the blocks of a frame of pandas must be its columns, received {received} in {name}: its "
        f"writer was cut off, write the frame again",
        path=source.name,
    )


def _blocks(
    source: Source, name: str, parts: dict[str, Any], values: dict[str, Any], dim: int
) -> tuple[Block, ...]:
    if len(values) == 1:
        return (Block(*values.values()),)
    places = {label: i for i, label in enumerate(_names(source, parts, "axis0", dim))}
    blocks, seen = [], np.zeros(dim, np.int64)
    for n, dataset in values.items():
        items = _names(source, parts, n.replace("_values", "_items"), int(dataset.shape[1]))
        columns = np.array([places.get(item, -1) for item in items], np.int64)
        if (columns < 0).any():
            raise _damaged(source, name, f"columns in {n} that axis0 does not name")
        seen[columns] += 1
        blocks.append(Block(dataset, columns))
    if len(places) != dim or (seen != 1).any():
        raise _damaged(source, name, "columns that are named twice or not at all")
    return tuple(blocks)


def _names(source: Source, parts: dict[str, Any], name: str, count: int) -> list[Any]:
    """The labels of columns, as numbers or bytes."""
    dataset = parts.get(name)
    plain = dataset is not None and (is_strings(dataset) or dataset.dtype.kind in "iuf")
    if dataset is None or not plain or dataset.shape != (count,) or count > LARGEST_COLUMNS:
        raise FormatError(
            f"the columns of a frame of pandas must be named by numbers or strings in {name} where "
            f"they have several dtypes, received others: give all columns one dtype with "
            f"frame.astype('float32')",
            path=source.name,
        )
    found: list[Any] = own(source, dataset)[:].tolist()
    return found


def _labels(source: Source, parts: dict[str, Any]) -> Any:
    """The dataset of the row labels, if they are strings."""
    labels = parts.get("axis1")
    if labels is None or not is_strings(labels):
        return None
    encoding = text_attribute(labels.parent, "encoding")
    if encoding is not None and encoding != "N." and encoding.lower() not in UTF8:
        raise FormatError(
            f"labels must be in UTF-8, received {encoding}: write the frame again with "
            f"encoding='utf-8'",
            path=source.name,
        )
    return labels


def labels_said(parts: dict[str, Any]) -> str:
    """What the row labels are that cannot be tokens, for a message."""
    labels = parts.get("axis1")
    if labels is None:
        return "several levels of labels"
    if is_pickled(labels):
        return "labels that pandas pickled, which can run any code and are not opened"
    return f"labels of {labels.dtype}"
