"""safetensors files of others: one 2-D tensor of floats, and tokens that lie inside or beside it.

Tokens are those of ``tokenizer.json``, ``vocab.json`` or ``vocab.txt`` in the same folder (or of
``tokenizer.json`` above the folder ``0_StaticEmbedding`` of sentence-transformers), of any file
that is named, or of a tensor: uint8 [rows, width], padded with NUL, or uint8 [bytes] together with
int64 offsets [rows + 1]. Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from embedfreeze import storage
from embedfreeze.errors import FormatError
from embedfreeze.files import Source, name_of
from embedfreeze.formats.arrays.batches import TokenMatrix, mapped_batches
from embedfreeze.formats.base import Format, Reading, ReadOptions
from embedfreeze.formats.side.tokens import TokenRows, token_rows, tokens_beside
from embedfreeze.formats.tensors.header import Tensor, all_tensors, header_length
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens

__all__ = ["FLOATS", "SAFETENSORS", "opened_tensors", "rows_with_tokens", "shown", "tokens_file"]

FLOATS = {"F16": "<f2", "BF16": "bfloat16", "F32": "<f4", "F64": "<f8"}
# The table of tokens has one of these names, or ends in one behind a dot, in models that have more.
WELL_KNOWN = (
    "embeddings",
    "embedding.weight",
    "embeddings.weight",
    "word_embeddings.weight",
    "embed_tokens.weight",
    "wte.weight",
    "shared.weight",
)
BESIDE = ("tokenizer.json", "vocab.json", "vocab.txt")
MODULE_ENDS = "_StaticEmbedding"
PADDED_BYTES = 4 << 20  # of padded tokens that are looked at together
SPELLED, OFFSETS = "token_bytes", "token_offsets"


def sniff(source: Source) -> bool:
    """A header length, then JSON?"""
    return header_length(source) is not None


def opened_tensors(source: Source) -> tuple[dict[str, Tensor], Any]:
    """The tensors of a file, and the whole file, mapped.

    Raises
    ------
    FormatError
        Its header is damaged.
    """

    def fail(rule: str) -> FormatError:
        return FormatError(f"{rule}: the file is damaged, get it again", path=source.name)

    if not sniff(source):
        raise fail(
            f"a safetensors file must begin with the length of its header and the header, received "
            f"{source.head[:9]!r}"
        )
    buffer = source.whole()
    return all_tensors(buffer, fail), buffer


def read(source: Source, options: ReadOptions) -> Reading:
    """Read the one table of a file; several are listed in an error, and `member` names one."""
    tensors, buffer = opened_tensors(source)
    notes: list[str] = []
    name = _table_name(source, tensors, notes)
    tensor = tensors[name]
    found = _tokens(source, tensors, buffer, name, options, notes)
    values = tensor.array(
        buffer, storage.numpy_dtype("bfloat16") if tensor.dtype == "BF16" else FLOATS[tensor.dtype]
    )
    reading = Reading(tensor.shape[1], options.rows_dtype, options.limited(len(found.rows)))
    reading.notes += [f"tensor {name} {tensor}", *notes]
    table = TokenMatrix(values, tensor.start, found.tokens, found.rows)
    reading.batches = mapped_batches(source, options, reading, table, buffer)
    return reading


def is_table(tensor: Tensor) -> bool:
    """Floats [rows, dim]?"""
    return tensor.dtype in FLOATS and len(tensor.shape) == 2 and tensor.shape[1] > 0


def shown(tensors: dict[str, Tensor]) -> str:
    """Tensors for a message."""
    listed = [f"{name} {tensor}" for name, tensor in list(tensors.items())[:20]]
    more = f" and {len(tensors) - 20} more" if len(tensors) > 20 else ""
    return f"{', '.join(listed) or 'none'}{more}"


def _table_name(source: Source, tensors: dict[str, Tensor], notes: list[str]) -> str:
    if (name := source.part) is not None:
        if name in tensors and is_table(tensors[name]):
            return name
        raise FormatError(
            f"member must name a 2-D tensor of floats, received {name!r}; the file has "
            f"{shown(tensors)}",
            path=source.name,
        )
    candidates = {name: tensor for name, tensor in tensors.items() if is_table(tensor)}
    known = {n: t for n, t in candidates.items() if f".{n}".endswith(_ENDS)}
    if len(candidates) > 1 and len(known) == 1:
        (name,) = known
        notes.append(
            f"of {len(candidates)} 2-D tensors of floats {name} was taken for its name: member= "
            f"(--member) names another"
        )
        return name
    if len(candidates) != 1:
        raise FormatError(
            f"one 2-D tensor of floats is needed unless member= (--member) names one, received "
            f"{shown(known or candidates or tensors)}",
            path=source.name,
        )
    return next(iter(candidates))


_ENDS = tuple(f".{name}" for name in WELL_KNOWN)


def _tokens(
    source: Source,
    tensors: dict[str, Tensor],
    buffer: Any,
    name: str,
    options: ReadOptions,
    notes: list[str],
) -> TokenRows:
    rows = tensors[name].shape[0]
    named = None if options.tokens is None else name_of(options.tokens)
    if named is None and {SPELLED, OFFSETS} <= tensors.keys():
        named = SPELLED
    if named in tensors:
        tokens = _tensor_tokens(source, tensors, buffer, named, rows, options)
        return TokenRows(tokens, np.arange(rows))
    path = named or tokens_file(source)
    if path is None:
        raise FormatError(
            f"the tokens of the {rows} rows of {name} must lie beside the file, in "
            f"{', '.join(BESIDE)} or <stem>.tokens.json, received none of these: name a file or a "
            f"tensor of them with tokens= (--tokens); the file has {shown(tensors)}",
            path=source.name,
        )
    return rows_with_tokens(path, rows, options, notes)


def tokens_file(source: Source) -> str | None:
    """The file beside a safetensors file that holds its tokens, if there is one."""
    if source.located is None:
        return None
    if (own := tokens_beside(source)) is not None:
        return own
    folder = os.path.dirname(os.path.abspath(source.located))
    names = [os.path.join(folder, name) for name in BESIDE]
    if folder.endswith(MODULE_ENDS):
        names.append(os.path.join(os.path.dirname(folder), BESIDE[0]))
    return next(filter(os.path.isfile, names), None)


def rows_with_tokens(path: str, rows: int, options: ReadOptions, notes: list[str]) -> TokenRows:
    """The rows that a file has tokens for; those without one are counted in a note.

    Raises
    ------
    FileError, FormatError
        As for `token_rows`.
    """
    found = token_rows(path, rows, options)
    notes.append(f"tokens of {path}")
    if left := rows - len(found.rows):
        notes.append(f"{left} rows have no token there and are left out")
    return found


def _tensor_tokens(
    source: Source,
    tensors: dict[str, Tensor],
    buffer: Any,
    name: str,
    rows: int,
    options: ReadOptions,
) -> Tokens:
    tensor = tensors[name]
    if tensor.dtype == "U8" and len(tensor.shape) == 2 and tensor.shape[0] == rows:
        return _padded_tokens(tensor, buffer, options)
    offsets = {n: t for n, t in tensors.items() if (t.dtype, t.shape) == ("I64", (rows + 1,))}
    own = name.removesuffix("_bytes") + "_offsets"
    offsets = {own: offsets[own]} if own in offsets else offsets
    if tensor.dtype != "U8" or len(tensor.shape) != 1 or len(offsets) != 1:
        raise FormatError(
            f"a tensor of tokens must be U8 [{rows}, width] padded with NUL, or U8 [bytes] "
            f"together with one of offsets, I64 [{rows + 1}], received {name} {tensor} and "
            f"{shown(offsets)}: name another tensor or a file with tokens= (--tokens)",
            path=source.name,
        )
    ((other, found),) = offsets.items()
    stops, blob = found.array(buffer, "<i8").copy(), tensor.array(buffer, "u1")
    if stops[0] or stops[-1] != len(blob) or (np.diff(stops) < 0).any():
        raise FormatError(
            f"{other} must rise from 0 to {len(blob)}: the file is damaged, get it again",
            path=source.name,
        )
    return Tokens(blob.tobytes(), stops, unicode_errors=options.unicode_errors)


def _padded_tokens(tensor: Tensor, buffer: Any, options: ReadOptions) -> Tokens:
    bytes_ = tensor.array(buffer, "u1")
    rows, width = tensor.shape
    lengths = np.zeros(rows, np.int64)
    for low, high in spans(0, rows if width else 0, max(1, PADDED_BYTES // max(1, width))):
        used = bytes_[low:high] != 0
        last = width - np.argmax(used[:, ::-1], axis=1)
        lengths[low:high] = np.where(used.any(axis=1), last, 0)
    starts = np.arange(rows) * width + tensor.start
    return Tokens.from_spans(buffer, np.stack([starts, lengths], axis=1), options.unicode_errors)


SAFETENSORS = Format(
    "safetensors",
    sniff,
    read,
    main=("model.safetensors", "0_StaticEmbedding/model.safetensors"),
    parts=True,
)
