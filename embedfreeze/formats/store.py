"""The store: a plain safetensors file whose matrix maps straight into memory.

Tensors, in this order, without holes: ``token_offsets`` int64 [n + 1]; ``token_index`` int32, an
open-addressing hash table; ``block_digests`` uint8 [blocks, 32]; ``vectors`` [n, dim], which begin
at a multiple of 4096 in the file; ``token_bytes`` uint8. The header is padded with spaces to that
end. README.md gives every byte. Source: https://github.com/huggingface/safetensors, "Format".
storewriter.py writes it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FormatError
from embedfreeze.files import Source
from embedfreeze.formats.base import Batch, Format, Place, Reading, ReadOptions
from embedfreeze.formats.storewriter import DTYPES, FORMAT_NAME, FORMAT_VERSION, PAGE, write
from embedfreeze.sealed import BLOCK_BYTES, SealedMatrix, combine_digests
from embedfreeze.threads import spans
from embedfreeze.tokens import HASH_NAME, Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = ["STORE", "open_store"]

LONGEST_HEADER = 100_000_000  # the limit of the safetensors library
BATCH_BYTES = 16 << 20


def sniff(source: Source) -> bool:
    """A header length, then JSON, as every safetensors file begins?"""
    if len(source.head) < 10:
        return False
    (length,) = struct.unpack("<Q", source.head[:8])
    return length <= LONGEST_HEADER and source.head[8:9] == b"{"


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    def array(self, buffer: Any, dtype: str) -> npt.NDArray[Any]:
        return np.frombuffer(buffer, dtype, math.prod(self.shape), self.start).reshape(self.shape)


@dataclass(frozen=True)
class _Layout:
    """A checked header."""

    metadata: dict[str, str]
    offsets: _Tensor
    index: _Tensor
    digests: _Tensor
    vectors: _Tensor
    blob: _Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.vectors.shape[0], self.vectors.shape[1]

    @property
    def dtype(self) -> str:
        return DTYPES[self.vectors.dtype]


def _bad(source: Source, rule: str) -> FormatError:
    return FormatError(
        f"{rule}: the file is damaged, or no store of this library", path=source.name
    )


def _header(source: Source, buffer: Any) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors start."""
    if not sniff(source):
        raise _bad(source, "a store must begin with the length of its header and the header")
    (length,) = struct.unpack("<Q", source.head[:8])
    if 8 + length > len(buffer):
        raise _bad(source, f"a header of {length} bytes does not lie in {len(buffer)} bytes")
    try:
        header = json.loads(bytes(buffer[8 : 8 + length]))
    except (ValueError, RecursionError) as error:
        raise _bad(source, f"the header must be JSON ({error})") from error
    if not isinstance(header, dict):
        raise _bad(source, "the header must be a JSON object")
    return header, 8 + length


def _tensor(source: Source, header: dict[str, Any], name: str, base: int, size: int) -> _Tensor:
    entry: Any = header.get(name)
    try:
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        start, stop = (base + int(offset) for offset in entry["data_offsets"])
        width = {"I64": 8, "I32": 4, "U8": 1, "F32": 4, "F16": 2}[dtype]
        fits = base <= start <= stop <= size and stop - start == width * math.prod(shape)
        fits = fits and all(isinstance(n, int) and n >= 0 for n in shape)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _bad(source, f"the header must describe the tensor {name}") from error
    if not fits:
        raise _bad(source, f"the tensor {name} {list(shape)} does not fit its bytes in the file")
    return _Tensor(dtype, shape, start, stop)


def _layout(source: Source, buffer: Any) -> _Layout:
    header, base = _header(source, buffer)
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT_NAME:
        raise FormatError(
            "a safetensors file must be a store of this library, received another one: its "
            "tensors cannot be read as embeddings by this version",
            path=source.name,
        )
    if (metadata.get("format_version"), metadata.get("hash")) != (FORMAT_VERSION, HASH_NAME):
        raise _bad(
            source,
            f"the store must have version {FORMAT_VERSION} and hash {HASH_NAME}, received "
            f"{metadata.get('format_version')!r} and {metadata.get('hash')!r}",
        )
    names = ("token_offsets", "token_index", "block_digests", "vectors", "token_bytes")
    tensors = [_tensor(source, header, name, base, len(buffer)) for name in names]
    layout = _Layout(metadata, *tensors)
    _check_shapes(source, layout)
    return layout


def _check_shapes(source: Source, layout: _Layout) -> None:
    vectors = layout.vectors
    if len(vectors.shape) != 2 or vectors.dtype not in DTYPES or vectors.start % PAGE:
        raise _bad(source, f"vectors must be floats [n, dim] at a multiple of {PAGE}")
    n, slots = vectors.shape[0], layout.index.shape
    blocks = -(-(vectors.stop - vectors.start) // BLOCK_BYTES)
    expected = [("I64", (n + 1,)), ("U8", (blocks, 32)), ("U8", (math.prod(layout.blob.shape),))]
    found = [(t.dtype, t.shape) for t in (layout.offsets, layout.digests, layout.blob)]
    if found != expected:
        raise _bad(source, f"the tensors of {n} rows must be {expected}, received {found}")
    if layout.index.dtype != "I32" or len(slots) != 1 or slots[0] & (slots[0] - 1) or slots[0] <= n:
        raise _bad(source, f"token_index must be a power of two above {n}, received {list(slots)}")
    for tensor, width in ((layout.offsets, 8), (layout.index, 4)):
        if tensor.start % width:
            raise _bad(source, f"a tensor at byte {tensor.start} is not aligned to {width}")


def open_store(source: Source, options: ReadOptions) -> Embeddings:
    """Map a store: nothing of it is read but its header.

    Raises
    ------
    FormatError
        The header is not that of a store, or does not fit the file.
    FrozenBytesChanged
        With ``seal="copy"``: the bytes do not have their recorded digest.
    """
    if source.buffer is None:
        raise FormatError(
            "a store must be a plain file to be mapped: unpack it first", path=source.name
        )
    buffer = source.buffer
    layout = _layout(source, buffer)
    blocks = layout.digests.array(buffer, "u1")
    if combine_digests(blocks) != layout.metadata.get("digest"):
        raise _bad(source, "the block digests do not have the recorded digest")
    sealed = SealedMatrix.map_file(
        source.path,
        layout.shape,
        layout.dtype,
        offset=layout.vectors.start,
        blocks=blocks,
        seal=options.seal,
    )
    tokens = Tokens(
        layout.blob.array(buffer, "u1"),
        layout.offsets.array(buffer, "<i8"),
        slots=layout.index.array(buffer, "<i4"),
        unicode_errors=options.unicode_errors,
    )
    return Embeddings(tokens, sealed.array, source.path, sealed, _special(source, layout))


def _special(source: Source, layout: _Layout) -> dict[str, Any] | None:
    """The settings of the vocabulary that the store was saved with."""
    recorded = layout.metadata.get("vocabulary")
    if recorded is None:
        return None
    try:
        found = json.loads(recorded)
        settings = {name: found[name] for name in ("padding", "unknown", "special", "splitter")}
        named = (settings["padding"], settings["unknown"], *settings["special"])
        Vocabulary.from_settings([token for token in named if token is not None], settings)
        return settings
    except (KeyError, TypeError, ValueError) as error:
        raise _bad(source, f"the vocabulary cannot be read ({error})") from error


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a store: mapped as it is, or in batches."""
    embeddings = open_store(source, options)
    stored = str(embeddings.matrix.dtype)
    rows = options.limited(len(embeddings))
    reading = Reading(embeddings.dim, options.dtype or stored, rows)
    reading.batches = _batches(source, embeddings, reading, rows)
    if options.limit is None and reading.dtype == stored:
        reading.ready = embeddings
    return reading


def _batches(
    source: Source, embeddings: Embeddings, reading: Reading, rows: int
) -> Iterator[Batch]:
    offsets, size = embeddings.tokens.offsets, len(embeddings.tokens.blob)
    if offsets[0] or offsets[-1] != size or (offsets[:-1] > offsets[1:]).any():
        raise _bad(source, f"token_offsets must rise from 0 to {size}")
    step = max(1, BATCH_BYTES // max(1, embeddings.matrix.itemsize * embeddings.dim))
    for low, high in spans(0, rows, step):
        tokens = embeddings.tokens.part(low, high)

        def place(row: int, first: int = low) -> Place:
            return {"row": first + row}

        matrix = embeddings.matrix[low:high].astype(reading.dtype, copy=False)
        position = source.size * high // rows
        yield Batch(tokens, matrix, position, place).checked(source.name)


STORE = Format("store", (".safetensors",), sniff, read, write)
