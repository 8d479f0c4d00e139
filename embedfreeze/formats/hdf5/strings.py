"""The strings of a dataset, and text attributes, without memory that the file does not bear.

A string of variable length is a reference of its length, a heap and a place in it. The library
takes memory for any length that a reference claims, so that they are looked at before it does.
Source: the HDF5 File Format Specification, IV.B and the Global Heap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.errors import FormatError
from embedfreeze.files import Source, release_pages
from embedfreeze.formats.arrays.batches import BATCH_BYTES
from embedfreeze.formats.hdf5.layout import own, understood
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens, UnicodeErrors

__all__ = ["dataset_tokens", "text_attribute"]

TOKEN_ROWS = 1 << 16
LARGEST_ATTRIBUTE = 1 << 16
SHUFFLE = 2
Bytes = npt.NDArray[np.uint8]


def text_attribute(item: Any, name: str) -> str | None:
    """An attribute that is a string of fixed length, if it is there."""
    import h5py

    if name not in item.attrs:
        return None
    attribute = h5py.h5a.open(item.id, name.encode())
    stored = attribute.get_type()
    fixed = isinstance(stored, h5py.h5t.TypeStringID) and not stored.is_variable_str()
    if not fixed or attribute.shape != () or attribute.get_storage_size() > LARGEST_ATTRIBUTE:
        return None
    value = item.attrs[name]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def dataset_tokens(source: Source, dataset: Any, unicode_errors: UnicodeErrors) -> Tokens:
    """The strings of a dataset, fixed or variable, without their padding.

    Raises
    ------
    FormatError
        They lie in other files, or cannot be read.
    """
    import h5py

    dataset = own(source, dataset)
    stored = dataset.id.get_type()
    if stored.is_variable_str():
        with understood(source, f"where the strings of {dataset.name} are"):
            found = _of_heaps(source, dataset, unicode_errors)
        if found is not None:
            return found
    padded = not stored.is_variable_str() and stored.get_strpad() == h5py.h5t.STR_SPACEPAD
    rows = max(1, min(TOKEN_ROWS, BATCH_BYTES // dataset.dtype.itemsize))
    blob, sizes = bytearray(), [np.zeros(1, np.int64)]
    for low, high in spans(0, len(dataset), rows):  # as Python objects they take much memory
        with understood(source, f"the strings {low} to {high} of {dataset.name}"):
            encoded = dataset[low:high].reshape(-1).tolist()
        if padded:
            encoded = [token.rstrip(b" ") for token in encoded]
        blob += b"".join(encoded)
        sizes.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
    offsets = np.cumsum(np.concatenate(sizes))
    return Tokens(blob, offsets, unicode_errors=unicode_errors)


def _of_heaps(source: Source, dataset: Any, unicode_errors: UnicodeErrors) -> Tokens | None:
    """Strings of variable length out of the mapped file; None where the library must find them.

    Raises
    ------
    FormatError
        They are longer than the file, each or together: they are never packed.
    """
    mapping, total = source.whole(), 0
    sizes = tuple(map(int, dataset.file.id.get_create_plist().get_sizes()))
    item = 4 + sizes[0] + 4  # length, heap and place; in memory it is a pointer
    usual = sizes == (8, 8) and not dataset.file.userblock_size
    parts, rows = [Tokens.from_bytes([], unicode_errors)], 0
    for first, references in _references(source, dataset, item):
        lengths = references.reshape(-1, item)[:, :4].copy().view("<u4")
        total += int(lengths.sum(dtype=np.int64))
        if total > len(mapping):
            raise FormatError(
                f"strings must lie in the file, received more than {total} bytes of them in "
                f"{dataset.name} for a file of {len(mapping)}: it is damaged, get it again",
                path=source.name,
            )
        usual = usual and first == rows
        rows += len(lengths)
        for low, high in spans(0, len(lengths) if usual else 0, TOKEN_ROWS):
            places = np.empty((high - low, 2), np.int64)
            usual = _kernel.find_heap_strings(mapping, references[low * item : high * item], places)
            if not usual:
                break
            parts.append(Tokens.from_spans(mapping, places, unicode_errors))
            release_pages(mapping, int(places[:, 0].min()), int(places.sum(axis=1).max()))
    return Tokens.joined(parts) if usual and rows == dataset.size else None


def _references(source: Source, dataset: Any, item: int) -> Iterator[tuple[int, Bytes]]:
    """The references of a dataset, a part at a time, and the first row of each part."""
    mapping, rows = source.whole(), len(dataset)
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        if offset is not None:
            yield 0, np.frombuffer(mapping, np.uint8, rows * item, offset)
        elif dataset.id.get_storage_size():
            raise FormatError(
                f"strings of variable length must not lie in the description of {dataset.name} "
                f"(a compact dataset): write the dataset in another layout",
                path=source.name,
            )
        return
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        first = chunk.chunk_offset[0]
        there = min(dataset.chunks[0], rows - first)
        if dataset.id.get_create_plist().get_nfilters():
            data = _unpacked(dataset, chunk, item)
        else:
            data = np.frombuffer(mapping, np.uint8, chunk.size, chunk.byte_offset)
        yield first, data[: max(0, there) * item]


def _unpacked(dataset: Any, chunk: Any, item: int) -> Bytes:
    """A chunk as its filters leave it; a file in memory, of bytes in place of strings, does it."""
    import h5py

    mask, raw = dataset.id.read_direct_chunk(chunk.chunk_offset)
    written = dataset.id.get_create_plist()
    filters = [written.get_filter(place)[:3] for place in range(written.get_nfilters())]
    shuffled = [values[0] for code, _, values in filters if code == SHUFFLE and values]
    width = int(shuffled[0]) if shuffled else 1  # the filter takes that of the new dataset
    count = math.prod(dataset.chunks) * item // width
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((count,))
    for one in filters:
        plan.set_filter(*one)
    opaque = h5py.h5t.create(h5py.h5t.OPAQUE, width)
    with h5py.File("chunk", "w", driver="core", backing_store=False) as file:
        space = h5py.h5s.create_simple((count,))
        copy = h5py.h5d.create(file.id, b"chunk", opaque, space, plan)
        copy.write_direct_chunk((0,), raw, mask)
        out = np.empty(count, f"V{width}")
        copy.read(h5py.h5s.ALL, h5py.h5s.ALL, out, opaque)
    return out.view(np.uint8)
