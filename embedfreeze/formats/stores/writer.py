"""Writing a store, as store.py describes it, while its rows come."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.embeddings import Alignment
from embedfreeze.errors import FormatError
from embedfreeze.files import Output, move_body
from embedfreeze.formats.base import Rows
from embedfreeze.formats.tensors.header import METADATA
from embedfreeze.sealed import BLOCK_BYTES, combine_digests, sha256
from embedfreeze.threads import spans, thread_count, thread_map
from embedfreeze.tokens import HASH_NAME, Tokens, TokensBuilder, slot_count

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "DTYPES",
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "PAGE",
    "REST_DIGEST",
    "rest_digest",
    "write",
]

FORMAT_NAME = "embedfreeze-store"
FORMAT_VERSION = "1"
REST_DIGEST = "rest_digest"
PAGE = 4096
HEADER_RESERVE = 4096
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "I8": "int8"}
DTYPE_CODES = {name: code for code, name in DTYPES.items()}


Part = tuple[str, str, npt.NDArray[Any]]  # a tensor: name, dtype, values


class _BlockHasher:
    """SHA-256 of each block of a stream of bytes."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._rest = sha256()
        self._filled = 0

    def update(self, data: memoryview) -> None:
        head = min(len(data), (BLOCK_BYTES - self._filled) % BLOCK_BYTES)
        self._rest.update(data[:head])
        self._filled += head
        if self._filled == BLOCK_BYTES:
            self._close()
        whole = head + (len(data) - head) // BLOCK_BYTES * BLOCK_BYTES
        blocks = spans(head, whole, BLOCK_BYTES)
        self._digests += thread_map(
            lambda span: sha256(data[span[0] : span[1]]).digest(), blocks, thread_count()
        )
        self._rest.update(data[whole:])
        self._filled += len(data) - whole

    def _close(self) -> None:
        self._digests.append(self._rest.digest())
        self._rest, self._filled = sha256(), 0

    def digests(self) -> npt.NDArray[np.uint8]:
        if self._filled:
            self._close()
        return np.frombuffer(b"".join(self._digests), np.uint8).reshape(-1, 32)


def _page_up(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _reserve(rows: Rows) -> int:
    """Where the matrix starts if as many rows come as are expected."""
    n = rows.expected or 0
    blocks = -(-n * storage.row_bytes(rows.dtype, rows.dim) // BLOCK_BYTES)
    metadata = len(json.dumps(_metadata(rows, "0" * 64)))
    more = sum(array.nbytes for _, _, array in _alignment_parts(rows.alignment))
    tokens = 8 * (n + 1) + 4 * slot_count(max(n, 1024))
    return _page_up(HEADER_RESERVE + metadata + tokens + 32 * blocks + more)


def _metadata(rows: Rows, digest: str) -> dict[str, str]:
    from importlib.metadata import version  # 10 ms that reading does not need

    found = {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "hash": HASH_NAME,
        "digest": digest,
        "creator": f"embedfreeze {version('embedfreeze')}",
    }
    if rows.source is not None:
        # Other readers of JSON refuse half of a character, as a name that is not UTF-8 may hold.
        found["source"] = rows.source.encode("utf-8", "backslashreplace").decode()
    if rows.vocabulary is not None:
        described = rows.vocabulary.to_dict()  # refuses a splitter that cannot be written down
        del described["tokens"]
        described["padding_id"] = rows.vocabulary.padding_id
        described["unknown_id"] = rows.vocabulary.unknown_id
        found["vocabulary"] = json.dumps(described)
    if rows.alignment.coverage is not None:
        found["coverage"] = json.dumps(rows.alignment.coverage.notes)
    if rows.alignment.provenance:
        found["provenance"] = json.dumps(rows.alignment.provenance)
    return found


def rest_digest(header: dict[str, Any], pieces: Iterable[Buffer]) -> str:
    """The digest of all that a store holds beside its matrix.

    Parameters
    ----------
    header : dict
        Of the file. It is taken as JSON with sorted keys, without spaces, in ASCII, and without
        this digest.
    pieces : iterable of bytes-like
        The bytes of all tensors but the matrix, in the order of the file.

    Returns
    -------
    str
        Hexadecimal SHA-256.
    """
    metadata = {key: text for key, text in header[METADATA].items() if key != REST_DIGEST}
    canonical = {**header, METADATA: metadata}
    total = sha256(json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode())
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()


def write(rows: Rows, output: Output) -> None:
    """Write a store. Rows that come in unexpected number move the matrix once."""
    file = output.file
    start = _reserve(rows)
    file.seek(start)
    index = TokensBuilder(rows.expected or 0) if rows.index is None else rows.index
    dtype = storage.numpy_dtype(rows.dtype).newbyteorder("<")
    hasher, n = _BlockHasher(), 0
    for batch in rows.batches:
        matrix = np.ascontiguousarray(batch.matrix, dtype=dtype)
        data = memoryview(matrix.reshape(-1).view(np.uint8))
        hasher.update(data)
        file.write(data)
        if rows.index is None:
            _add_different(index, batch.tokens)
        n += len(batch.tokens)
    tokens = index.finish(np.empty(0, np.int64), "surrogateescape")
    digests = hasher.digests()
    file.write(tokens.blob)
    parts: list[Part] = [
        ("token_offsets", "I64", tokens.offsets),
        ("token_index", "I32", tokens.slots),
        ("block_digests", "U8", digests),
        *_alignment_parts(rows.alignment),
    ]
    shape = storage.shape_of(n, rows.dim, rows.dtype)
    _write_head(rows, file, start, parts, shape, tokens.blob)


def _alignment_parts(alignment: Alignment) -> list[Part]:
    """The tensors that only a table has which was aligned, padded to a multiple of 8 bytes."""
    parts: list[Part] = []
    if alignment.counts is not None:
        parts.append(("token_counts", "I64", alignment.counts))
    record = alignment.coverage
    if record is not None and record.found_as is not None:
        parts.append(("spelling_offsets", "I64", record.found_as.offsets))
        parts.append(("spelling_bytes", "U8", np.frombuffer(record.found_as.blob, np.uint8)))
    if record is not None:
        parts.append(("match_stages", "I8", record.stages))
    if rest := -sum(array.nbytes for _, _, array in parts) % 8:
        parts.append(("padding", "U8", np.zeros(rest, np.uint8)))
    return parts


def _add_different(index: TokensBuilder, tokens: Tokens) -> None:
    repeated = np.flatnonzero(index.add(tokens) >= 0)
    if repeated.size:
        token = tokens.bytes_at(int(repeated[0]))
        raise FormatError(f"tokens must differ, received {token!r} twice: leave one out")


def _write_head(
    rows: Rows,
    file: IO[bytes],
    start: int,
    parts: list[Part],
    shape: tuple[int, int],
    blob: memoryview,
) -> None:
    """Write what stands before the matrix, so that the matrix begins at a page."""
    metadata = _metadata(rows, combine_digests(parts[2][2]))
    header: dict[str, Any] = {METADATA: metadata}
    end = 0
    for name, code, array in parts:
        header[name] = _entry(code, array.shape, end, end + array.nbytes)
        end += array.nbytes
    nbytes = shape[0] * storage.row_bytes(rows.dtype, rows.dim)
    header["vectors"] = _entry(DTYPE_CODES[rows.dtype], shape, end, end + nbytes)
    header["token_bytes"] = _entry("U8", (len(blob),), end + nbytes, end + nbytes + len(blob))
    pieces = [_bytes_of(array) for _, _, array in parts]
    metadata[REST_DIGEST] = rest_digest(header, [*pieces, blob])
    text = json.dumps(header, separators=(",", ":")).encode()
    needed = _page_up(8 + len(text) + end)
    file.flush()
    if needed > start:
        move_body(file, start, needed)
        start = needed
    file.seek(0)
    file.write(struct.pack("<Q", start - end - 8))
    file.write(text.ljust(start - end - 8))
    file.writelines(pieces)


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).data.cast("B") if array.size else memoryview(b"")


def _entry(code: str, shape: tuple[int, ...], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": code, "shape": list(shape), "data_offsets": [start, stop]}
