"""Which datasets of an HDF5 file are the matrix and the tokens, and which are not touched.

Nothing outside of the file is opened, no object is unpickled, and no shape is believed that the
file does not fill.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from embedfreeze.errors import EmbedFreezeError, FormatError
from embedfreeze.files import Source

__all__ = [
    "datasets",
    "described",
    "is_matrix",
    "is_pickled",
    "is_strings",
    "links_of",
    "own",
    "refuse_other_floats",
    "understood",
    "unusable_labels",
]

UNWRITTEN_BYTES = 64 << 20  # of rows that nobody wrote are taken as what HDF5 fills them with
LARGEST_RATIO = 1100  # gzip packs zeros 1032 times
SHOWN = 20  # datasets in a message


@contextmanager
def understood(source: Source, what: str) -> Iterator[None]:
    """What h5py raises over damaged data, as one error."""
    try:
        yield
    except (
        OSError,
        RuntimeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        zlib.error,
    ) as error:
        if isinstance(error, EmbedFreezeError):
            raise
        raise FormatError(
            f"HDF5 cannot read {what} ({error}): the file is damaged or a filter is missing, get "
            f"the file again",
            path=source.name,
        ) from error


def datasets(source: Source, file: Any) -> dict[str, Any]:
    """The datasets of a file by name; links are not followed."""
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    with understood(source, "the list of its datasets"):
        file.visititems(visit)
    return found


def _dtype(dataset: Any) -> Any:
    """The dtype, or None where NumPy has none."""
    try:
        return dataset.dtype
    except TypeError:
        return None


def is_strings(dataset: Any) -> bool:
    """Strings [n] or [n, 1]?"""
    import h5py

    dtype = _dtype(dataset)
    one = dataset.shape is not None and (dataset.ndim == 1 or dataset.shape[1:] == (1,))
    return one and dtype is not None and h5py.check_string_dtype(dtype) is not None


def is_matrix(dataset: Any, kinds: str = "f") -> bool:
    """Numbers [n, dim] of some of NumPy's kinds?"""
    dtype = _dtype(dataset)
    wide = dataset.shape is not None and dataset.ndim == 2 and dataset.shape[1] > 0
    return bool(wide and dtype is not None and dtype.kind in kinds)


def _kind(dataset: Any) -> str:
    """What a dataset holds, for a message."""
    import h5py

    dtype = _dtype(dataset)
    if dtype is None:
        return "of a type that NumPy has not"
    return "strings" if h5py.check_string_dtype(dtype) else str(dtype)


def described(found: dict[str, Any]) -> str:
    """Datasets with shape and dtype, as many as a message has room for."""
    shown = [
        f"{name} {'empty' if dataset.shape is None else list(dataset.shape)} {_kind(dataset)}"
        for name, dataset in islice(found.items(), SHOWN)
    ]
    return ", ".join(shown) + (", ..." if len(found) > SHOWN else "") or "none"


def links_of(file: Any) -> str:
    """The links of a file, for a message: they are not followed."""
    import h5py

    found = []

    def visit(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            found.append(f"{name} -> {link.filename}:{link.path}")
        elif isinstance(link, h5py.SoftLink):
            found.append(f"{name} -> {link.path}")

    file.visititems_links(visit)
    return f" (links are not followed: {', '.join(found[:SHOWN])})" if found else ""


def refuse_other_floats(source: Source, dataset: Any) -> None:
    """HDF5 would convert them, and NumPy has no type to check that against."""
    import h5py

    stored = dataset.id.get_type()
    if not stored.equal(h5py.h5t.py_create(dataset.dtype)):
        _, *sizes = stored.get_fields()
        raise FormatError(
            f"dataset {dataset.name} must hold IEEE floats of 16, 32 or 64 bits, received floats "
            f"of {stored.get_precision()} bits with {sizes[1]} of exponent (bfloat16 has 16 and "
            f"8): convert it to float32 first",
            path=source.name,
        )


def own(source: Source, dataset: Any) -> Any:
    """A dataset whose data lie in this file, in no other, and were written."""
    if dataset.external or dataset.is_virtual:
        raise FormatError(
            f"dataset {dataset.name} lies in other files, which are not opened: copy it into one",
            path=source.name,
        )
    _refuse_large_chunks(source, dataset)
    claimed, held = _claimed_and_held(dataset)
    if claimed > 2 * held + UNWRITTEN_BYTES:
        raise FormatError(
            f"a dataset must hold what its shape says, received {dataset.name} "
            f"{list(dataset.shape)} of {claimed} bytes, of which {held} were ever written: its "
            f"writer was cut off, or the shape is wrong",
            path=source.name,
        )
    return dataset


def _refuse_large_chunks(source: Source, dataset: Any) -> None:
    """The library takes memory for a whole chunk, whatever is in it."""
    if dataset.chunks is None:
        return
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if size > UNWRITTEN_BYTES + LARGEST_RATIO * stored:
        raise FormatError(
            f"a chunk of a dataset must not be far larger than what is stored, received "
            f"{list(dataset.chunks)} ({size} bytes) in {dataset.name}, which has {stored} bytes: "
            f"the file is damaged, get it again",
            path=source.name,
        )


def _claimed_and_held(dataset: Any) -> tuple[int, int]:
    """Bytes that the shape asks for, and those that are in the file (unpacked)."""
    item = dataset.dtype.itemsize
    claimed = math.prod(dataset.shape) * item
    if dataset.chunks is None:
        return claimed, min(dataset.id.get_storage_size(), dataset.file.id.get_filesize())
    return claimed, dataset.id.get_num_chunks() * math.prod(dataset.chunks) * item


def unusable_labels(found: dict[str, Any], rows: int) -> str:
    """What else may be the labels, for a message: pickles and attributes are not read."""
    pickled = [n for n, dataset in found.items() if is_pickled(dataset)]
    labelled = [
        f"{name}@{key}"
        for name, dataset in found.items()
        for key in dataset.attrs
        if _lists_strings(dataset, key, rows)
    ]
    told = ""
    if pickled:
        told += f" and pickled objects in {', '.join(pickled)}, which can run any code and are "
        told += "not opened"
    if labelled:
        told += f" and attributes {', '.join(labelled)}, which are not read"
    return told


def _lists_strings(dataset: Any, key: str, count: int) -> bool:
    """Is an attribute so many strings? It is not read: what it claims to hold may be anything."""
    import h5py

    attribute = h5py.h5a.open(dataset.id, key.encode("utf-8", "surrogateescape"))
    return math.prod(attribute.shape or ()) == count and isinstance(
        attribute.get_type(), h5py.h5t.TypeStringID
    )


def is_pickled(dataset: Any) -> bool:
    """Opaque or of bytes of any number, as PyTables and pandas keep objects?"""
    import h5py

    dtype = _dtype(dataset)
    if dtype is None:
        return False
    return h5py.check_vlen_dtype(dtype) == np.uint8 or (dtype.kind == "V" and not dtype.names)
