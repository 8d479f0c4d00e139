"""The header of a store, which is not trusted: every claim of it is held to the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from embedfreeze import storage
from embedfreeze.errors import FormatError
from embedfreeze.files import Source
from embedfreeze.formats.stores.writer import (
    DTYPES,
    FORMAT_NAME,
    FORMAT_VERSION,
    PAGE,
    REST_DIGEST,
    rest_digest,
)
from embedfreeze.formats.tensors.header import (
    METADATA,
    Tensor,
    check_cover,
    header_length,
    read_header,
    tensor,
)
from embedfreeze.sealed import BLOCK_BYTES
from embedfreeze.tokens import HASH_NAME

__all__ = ["StoreLayout", "check_rest", "damaged", "read_layout", "sniff"]

OWN_TENSORS = (b'"token_index"', b'"block_digests"')
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
    """The header of a safetensors file that names the format, or tensors that only stores have?

    Either is enough: a store that is damaged in the other is no file of others.
    """
    length = header_length(source)
    if length is None:
        return False
    header = source.head[8 : 8 + length]
    return FORMAT_NAME.encode() in header or all(name in header for name in OWN_TENSORS)


@dataclass(frozen=True)
class StoreLayout:
    """A checked header, and where the tensors start."""

    header: dict[str, Any]
    base: int
    metadata: dict[str, str]
    more: dict[str, Tensor]  # of a table that was aligned
    offsets: Tensor
    index: Tensor
    digests: Tensor
    vectors: Tensor
    blob: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.vectors.shape[0], self.vectors.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        return storage.numpy_dtype(DTYPES[self.vectors.dtype])


def damaged(source: Source | str, rule: str) -> FormatError:
    """The error of a store, or of one by its name, that breaks a rule."""
    return FormatError(
        f"{rule}: the file is damaged or no store of this library, get it or make it again",
        path=source if isinstance(source, str) else source.name,
    )


def read_layout(source: Source, buffer: Any) -> StoreLayout:
    """Read a header and hold it to the file, of which nothing else is read.

    Raises
    ------
    FormatError
        It is no header of a store, or does not fit the file.
    """
    fail = partial(damaged, source)
    if header_length(source) is None:
        raise fail(
            f"a store must begin with the length of its header and the header, received "
            f"{source.head[:9]!r}"
        )
    header, base = read_header(buffer, fail)
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
    tensors = [tensor(header, name, base, len(buffer), fail) for name in names]
    more = {
        name: tensor(header, name, base, len(buffer), fail, code)
        for name, code in ALIGNMENT_TENSORS.items()
        if name in header
    }
    layout = StoreLayout(header, base, metadata, more, *tensors)
    _check_shapes(source, layout)
    check_cover(header, base, len(buffer), fail)
    return layout


def check_rest(name: str, layout: StoreLayout, buffer: Any) -> None:
    """Hold all that a store has beside its matrix to its recorded digest.

    A store that was written before there was one passes.

    Parameters
    ----------
    name : str
        What messages call the file.
    layout : StoreLayout
        What `read_layout` made of it.
    buffer : bytes-like
        The whole file, of which all but the matrix is read.

    Raises
    ------
    FormatError
        They differ.
    """
    recorded = layout.metadata.get(REST_DIGEST)
    if recorded is None:
        # One whose name was damaged must not count as none.
        if others := sorted(set(layout.metadata) - EARLIER_KEYS):
            raise damaged(name, f"metadata must have a {REST_DIGEST} beside {others[0]!r}")
        return
    whole = memoryview(buffer)
    pieces = whole[layout.base : layout.vectors.start], whole[layout.vectors.stop :]
    try:
        found = rest_digest(layout.header, pieces)
    except RecursionError as error:  # in what it holds beside tensors
        raise damaged(name, f"the header must be that of a store ({error})") from error
    if found != recorded:
        raise damaged(
            name,
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
    for part, width in ((layout.offsets, 8), (layout.index, 4)):
        if part.start % width:
            raise damaged(source, f"a tensor at byte {part.start} is not aligned to {width}")
