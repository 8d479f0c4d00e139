"""The header of a store, which is not trusted: every claim of it is held to the file."""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.errors import FormatError
from embedfreeze.files import Source
from embedfreeze.formats.storewriter import (
    DTYPES,
    FORMAT_NAME,
    FORMAT_VERSION,
    METADATA,
    PAGE,
    REST_DIGEST,
    rest_digest,
)
from embedfreeze.sealed import BLOCK_BYTES
from embedfreeze.tokens import HASH_NAME

__all__ = ["StoreLayout", "check_rest", "damaged", "read_layout", "sniff"]

LONGEST_HEADER = 100_000_000  # the limit of the safetensors library
WIDTHS = {"I64": 8, "I32": 4, "I8": 1, "U8": 1, "F32": 4, "F16": 2, "BF16": 2}
ALIGNMENT_TENSORS = {
    "token_counts": "I64",
    "spelling_offsets": "I64",
    "spelling_bytes": "U8",
    "match_stages": "I8",
}
# All that the metadata of a store held before there was a digest of the rest.
EARLIER_KEYS = {
    *("format", "format_version", "hash", "digest", "creator"),
    *("source", "vocabulary", "coverage", "provenance"),
}


def sniff(source: Source) -> bool:
    """A header length, then JSON, as every safetensors file begins?"""
    if len(source.head) < 10:
        return False
    (length,) = struct.unpack("<Q", source.head[:8])
    return length <= LONGEST_HEADER and source.head[8:9] == b"{"


@dataclass(frozen=True)
class StoreTensor:
    """Where a tensor lies in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    def array(self, buffer: Any, dtype: str) -> npt.NDArray[Any]:
        return np.frombuffer(buffer, dtype, math.prod(self.shape), self.start).reshape(self.shape)


@dataclass(frozen=True)
class StoreLayout:
    """A checked header, and where the tensors start."""

    header: dict[str, Any]
    base: int
    metadata: dict[str, str]
    more: dict[str, StoreTensor]  # of a table that was aligned
    offsets: StoreTensor
    index: StoreTensor
    digests: StoreTensor
    vectors: StoreTensor
    blob: StoreTensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.vectors.shape[0], self.vectors.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        return storage.numpy_dtype(DTYPES[self.vectors.dtype])


def damaged(source: Source, rule: str) -> FormatError:
    """The error of a store that breaks a rule."""
    return FormatError(
        f"{rule}: the file is damaged or no store of this library, get it or make it again",
        path=source.name,
    )


def _header(source: Source, buffer: Any) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors start."""
    if not sniff(source):
        raise damaged(
            source,
            f"a store must begin with the length of its header and the header, received "
            f"{source.head[:9]!r}",
        )
    (length,) = struct.unpack("<Q", source.head[:8])
    if 8 + length > len(buffer):
        raise damaged(
            source,
            f"the header must lie in the file, received one of {length} bytes in a file of "
            f"{len(buffer)}",
        )
    try:
        header = json.loads(
            bytes(buffer[8 : 8 + length]), object_pairs_hook=_once, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise damaged(source, f"the header must be JSON ({error})") from error
    if not isinstance(header, dict):
        raise damaged(source, "the header must be a JSON object")
    return header, 8 + length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; readers disagree on what a key means that stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {name!r} stands twice")
    return found


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _check_cover(source: Source, header: dict[str, Any], base: int, size: int) -> None:
    """Tensors lie one behind the other to the end of the file, as safetensors asks for."""
    places: list[tuple[int, int, str]] = []
    try:
        for name, entry in header.items():
            if name != METADATA:
                start, stop = map(int, entry["data_offsets"])
                places.append((start, stop, name))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise damaged(source, "the header must describe each tensor") from error
    end = 0
    for start, stop, name in [*sorted(places), (size - base, size - base, "the end of the file")]:
        if start != end:
            raise damaged(
                source,
                f"tensors must lie one behind the other, received {name} at byte {base + start} "
                f"where the one before it ends at {base + end}",
            )
        end = stop


def _tensor(
    source: Source,
    header: dict[str, Any],
    name: str,
    base: int,
    size: int,
    code: str | None = None,
) -> StoreTensor:
    entry: Any = header.get(name)
    try:
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        start, stop = (base + int(offset) for offset in entry["data_offsets"])
        width = WIDTHS[dtype]
        fits = base <= start <= stop <= size and stop - start == width * math.prod(shape)
        fits = fits and all(isinstance(n, int) and n >= 0 for n in shape)
        fits = fits and code in (None, dtype) and (start - base) % width == 0
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise damaged(source, f"the header must describe the tensor {name}") from error
    if not fits:
        raise damaged(source, f"the tensor {name} {list(shape)} does not fit its bytes in the file")
    return StoreTensor(dtype, shape, start, stop)


def read_layout(source: Source, buffer: Any) -> StoreLayout:
    """Read a header and hold it to the file, of which nothing else is read.

    Raises
    ------
    FormatError
        It is no header of a store, or does not fit the file.
    """
    header, base = _header(source, buffer)
    metadata = header.get(METADATA)
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT_NAME:
        raise FormatError(
            "a safetensors file must be a store of this library, received another one: its "
            "tensors cannot be read as embeddings by this version",
            path=source.name,
        )
    if (metadata.get("format_version"), metadata.get("hash")) != (FORMAT_VERSION, HASH_NAME):
        raise damaged(
            source,
            f"the store must have version {FORMAT_VERSION} and hash {HASH_NAME}, received "
            f"{metadata.get('format_version')!r} and {metadata.get('hash')!r}",
        )
    names = ("token_offsets", "token_index", "block_digests", "vectors", "token_bytes")
    tensors = [_tensor(source, header, name, base, len(buffer)) for name in names]
    more = {
        name: _tensor(source, header, name, base, len(buffer), code)
        for name, code in ALIGNMENT_TENSORS.items()
        if name in header
    }
    layout = StoreLayout(header, base, metadata, more, *tensors)
    _check_shapes(source, layout)
    _check_cover(source, header, base, len(buffer))
    return layout


def check_rest(source: Source, buffer: Any, layout: StoreLayout) -> None:
    """Hold all that a store has beside its matrix to its recorded digest.

    A store that was written before there was one passes.

    Parameters
    ----------
    source : Source
        What messages name.
    buffer : bytes-like
        The whole file, of which all but the matrix is read.
    layout : StoreLayout
        What `read_layout` made of it.

    Raises
    ------
    FormatError
        They differ.
    """
    recorded = layout.metadata.get(REST_DIGEST)
    if recorded is None:
        # One whose name was damaged must not count as none.
        if others := sorted(set(layout.metadata) - EARLIER_KEYS):
            raise damaged(source, f"metadata must have a {REST_DIGEST} beside {others[0]!r}")
        return
    whole = memoryview(buffer)
    pieces = whole[layout.base : layout.vectors.start], whole[layout.vectors.stop :]
    try:
        found = rest_digest(layout.header, pieces)
    except RecursionError as error:  # in what it holds beside tensors
        raise damaged(source, f"the header must be that of a store ({error})") from error
    if found != recorded:
        raise damaged(
            source,
            f"what lies beside the matrix must have the recorded digest {recorded}, received "
            f"{found}",
        )


def _check_shapes(source: Source, layout: StoreLayout) -> None:
    vectors = layout.vectors
    if len(vectors.shape) != 2 or vectors.dtype not in DTYPES or vectors.start % PAGE:
        raise damaged(
            source,
            f"vectors must be floats [n, dim], or int8 [n, dim + {storage.SCALE_BYTES}], at a "
            f"multiple of {PAGE}",
        )
    if vectors.dtype == "I8" and vectors.shape[1] <= storage.SCALE_BYTES:
        raise damaged(
            source,
            f"rows of int8 must be values and {storage.SCALE_BYTES} bytes of a scale, received "
            f"vectors {list(vectors.shape)}",
        )
    n, slots = vectors.shape[0], layout.index.shape
    blocks = -(-(vectors.stop - vectors.start) // BLOCK_BYTES)
    expected = [("I64", (n + 1,)), ("U8", (blocks, 32)), ("U8", (math.prod(layout.blob.shape),))]
    found = [(t.dtype, t.shape) for t in (layout.offsets, layout.digests, layout.blob)]
    if found != expected:
        raise damaged(source, f"the tensors of {n} rows must be {expected}, received {found}")
    power = len(slots) == 1 and slots[0] > n and not slots[0] & (slots[0] - 1)
    if layout.index.dtype != "I32" or not power:
        raise damaged(
            source, f"token_index must be a power of two above {n}, received {list(slots)}"
        )
    for tensor, width in ((layout.offsets, 8), (layout.index, 4)):
        if tensor.start % width:
            raise damaged(source, f"a tensor at byte {tensor.start} is not aligned to {width}")
