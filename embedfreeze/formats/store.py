"""The store: a plain safetensors file whose matrix maps straight into memory.

Tensors, in this order, without holes: ``token_offsets`` int64 [n + 1]; ``token_index`` int32, an
open-addressing hash table; ``block_digests`` uint8 [blocks, 32]; ``vectors`` [n, dim], which begin
at a multiple of 4096 in the file; ``token_bytes`` uint8. The header is padded with spaces to that
end. README.md gives every byte. Source: https://github.com/huggingface/safetensors, "Format".
storewriter.py writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.coverage import CoverageRecord
from embedfreeze.embeddings import Alignment, Embeddings
from embedfreeze.errors import FormatError, FrozenBytesChanged
from embedfreeze.files import Source
from embedfreeze.formats.base import Batch, Format, Place, Reading, ReadOptions
from embedfreeze.formats.storeheader import StoreLayout, damaged, read_layout, sniff
from embedfreeze.formats.storewriter import write
from embedfreeze.sealed import SealedBytes, SealedMatrix, combine_digests
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = ["STORE", "open_store"]

BATCH_BYTES = 16 << 20


def open_store(source: Source, options: ReadOptions) -> Embeddings:
    """Map a store: nothing of it is read but its header.

    One that comes out of a stream is put in sealed memory.

    Raises
    ------
    FormatError
        The header is not that of a store, or does not fit the file.
    FrozenBytesChanged
        With ``seal="copy"``: the bytes do not have their recorded digest.
    """
    if source.container is not None:
        raise FormatError(
            "a store must be a plain file to be mapped: unpack it first", path=source.name
        )
    held = SealedBytes(source.blocks()) if source.buffer is None else None
    buffer = source.buffer if held is None else held.buffer
    layout = read_layout(source, buffer)
    blocks = layout.digests.array(buffer, "u1")
    recorded = layout.metadata.get("digest")
    if (found := combine_digests(blocks)) != recorded:
        raise damaged(
            source,
            f"the block digests must have the recorded digest {recorded}, received {found}",
        )
    try:
        if held is None:
            sealed = _mapped_matrix(source, layout, blocks, options)
        else:
            sealed = _held_matrix(held, layout, blocks, options)
    except FrozenBytesChanged as error:
        raise FrozenBytesChanged(
            f"{source.name}: {error}: get the file or make it again", block=error.block
        ) from None
    tokens = Tokens(
        layout.blob.array(buffer, "u1"),
        layout.offsets.array(buffer, "<i8"),
        slots=layout.index.array(buffer, "<i4"),
        unicode_errors=options.unicode_errors,
        path=source.name,
    )
    special, alignment = _special(source, layout), _alignment(source, layout, buffer)
    return Embeddings(tokens, sealed.array, source.path, sealed, special, alignment)


def _mapped_matrix(
    source: Source, layout: StoreLayout, blocks: npt.NDArray[np.uint8], options: ReadOptions
) -> SealedMatrix:
    sealed = SealedMatrix.map_file(
        source.input.link,
        layout.shape,
        layout.dtype,
        offset=layout.vectors.start,
        blocks=blocks,
        seal=options.seal,
    )
    sealed.path = source.located
    if sealed.guarantee == "watched" and sealed.array.size:
        source.guard(sealed.array)
    return sealed


def _held_matrix(
    held: SealedBytes, layout: StoreLayout, blocks: npt.NDArray[np.uint8], options: ReadOptions
) -> SealedMatrix:
    start = layout.vectors.start
    sealed = held.matrix(layout.shape, layout.dtype, offset=start, blocks=blocks)
    if options.seal == "copy":
        sealed.verify(deep=True)
    return sealed


def _special(source: Source, layout: StoreLayout) -> dict[str, Any] | None:
    """The settings of the vocabulary that the store was saved with."""
    recorded = layout.metadata.get("vocabulary")
    if recorded is None:
        return None
    try:
        settings: dict[str, Any] = json.loads(recorded)
        del settings["padding_id"], settings["unknown_id"]
        named = (settings["padding"], settings["unknown"], *settings["special"])
        Vocabulary.from_settings([token for token in named if token is not None], settings)
        return settings
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(source, f"the vocabulary cannot be read ({error})") from error


def _alignment(source: Source, layout: StoreLayout, buffer: Any) -> Alignment:
    """How the rows came about, where the store was saved with that."""
    counts, rows = layout.more.get("token_counts"), layout.shape[0]
    try:
        notes = json.loads(layout.metadata.get("coverage", "null"))
        provenance = json.loads(layout.metadata.get("provenance", "{}"))
        record = None if notes is None else _coverage_record(layout, buffer, notes)
        if not isinstance(provenance, dict) or (counts is not None and counts.shape != (rows,)):
            raise ValueError(f"counts must be [{rows}], and provenance an object")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(source, f"how the rows came about cannot be read ({error})") from error
    numbers = None if counts is None else counts.array(buffer, "<i8")
    return Alignment(numbers, record, provenance)


def _coverage_record(layout: StoreLayout, buffer: Any, notes: dict[str, Any]) -> CoverageRecord:
    stages, rows = layout.more["match_stages"], layout.shape[0]
    sources = len(notes["sources"])
    if stages.shape != (sources, rows) or not sources:
        raise ValueError(f"match_stages must be [{sources}, {rows}], received {stages.shape}")
    found_as = None
    if offsets := layout.more.get("spelling_offsets"):
        if offsets.shape != (sources * rows + 1,):
            raise ValueError(f"spelling_offsets are not those of {sources * rows} spellings")
        blob = layout.more["spelling_bytes"].array(buffer, "u1")
        found_as = Tokens(blob, offsets.array(buffer, "<i8"), unicode_errors="surrogateescape")
    return CoverageRecord(notes, stages.array(buffer, "i1"), found_as)


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a store: mapped as it is, or in batches."""
    embeddings = open_store(source, options)
    stored = str(embeddings.matrix.dtype)
    rows = options.limited(len(embeddings))
    reading = Reading(embeddings.dim, options.dtype or stored, rows)
    reading.batches = _batches(source, embeddings, reading, rows)
    reading.provenance = embeddings.provenance
    if steps := embeddings.provenance.get("steps"):
        reading.notes.append(f"its rows were transformed: {', '.join(map(str, steps))}")
    if options.limit is None and reading.dtype == stored:
        reading.ready = embeddings
    return reading


def _batches(
    source: Source, embeddings: Embeddings, reading: Reading, rows: int
) -> Iterator[Batch]:
    offsets, size = embeddings.tokens.offsets, len(embeddings.tokens.blob)
    if offsets[0] or offsets[-1] != size or (offsets[:-1] > offsets[1:]).any():
        raise damaged(source, f"token_offsets must rise from 0 to {size}")
    step = max(1, BATCH_BYTES // max(1, embeddings.matrix.itemsize * embeddings.dim))
    for low, high in spans(0, rows, step):
        tokens = embeddings.tokens.part(low, high)

        def place(row: int, first: int = low) -> Place:
            return {"row": first + row}

        matrix = embeddings.matrix[low:high].astype(reading.dtype, copy=False)
        position = source.size * high // rows
        yield Batch(tokens, matrix, position, place).checked(source.name)


STORE = Format("store", (".safetensors",), sniff, read, write)
