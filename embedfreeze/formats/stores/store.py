"""The store: a plain safetensors file whose matrix maps straight into memory.

Tensors, in this order, without holes: ``token_offsets`` int64 [n + 1]; ``token_index`` int32, an
open-addressing hash table; ``block_digests`` uint8 [blocks, 32]; ``vectors`` [n, dim], of
int8 [n, dim + 4] with the scale of each row, which begin at a multiple of 4096 in the file;
``token_bytes`` uint8. The header is padded with spaces to that end. README.md gives every byte.
Source: https://github.com/huggingface/safetensors, "Format". writer.py writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.coveragerecord import CoverageRecord
from embedfreeze.embeddings import Alignment, Embeddings
from embedfreeze.errors import FileError, FrozenBytesChanged
from embedfreeze.files import Source
from embedfreeze.formats.base import Batch, Format, Place, Reading, ReadOptions, Writer
from embedfreeze.formats.stores.header import StoreLayout, check_rest, damaged, read_layout, sniff
from embedfreeze.formats.stores.notes import coverage_notes, provenance_notes, vocabulary_notes
from embedfreeze.formats.stores.writer import write
from embedfreeze.sealed import SealedBytes, SealedMatrix, combine_digests
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = ["STORE", "open_store"]

BATCH_BYTES = 16 << 20


def open_store(source: Source, options: ReadOptions) -> Embeddings:
    """Map a store: nothing of it is read but its header.

    One that comes out of a stream or a container is put in sealed memory, as is all of one with
    ``seal="copy"``, which is then held to its digests.

    Raises
    ------
    FileError
        It is to be held in memory, and is more than ``spool_limit``.
    FormatError
        The header is not that of a store, or does not fit the file. With ``seal="copy"``: what lies
        beside the matrix does not have its recorded digest.
    FrozenBytesChanged
        With ``seal="copy"``: the matrix does not have its recorded digest.
    """
    held = _held(source, options)
    buffer = source.buffer if held is None else held.buffer
    layout = read_layout(source, buffer)
    blocks = _recorded_blocks(source, layout, buffer)
    if held is None:
        sealed = _mapped_matrix(source, layout, blocks)
    else:
        sealed = _held_matrix(held, source, layout, blocks, options)
    sealed.check_rest = partial(check_rest, source.name, layout)
    if options.seal == "copy":
        check_rest(source.name, layout, buffer)
    tokens = Tokens(
        layout.blob.array(buffer, "u1"),
        layout.offsets.array(buffer, "<i8"),
        slots=layout.index.array(buffer, "<i4"),
        unicode_errors=options.unicode_errors,
        path=source.name,
    )
    special, alignment = _special(source, layout), _alignment(source, layout, buffer)
    return Embeddings(tokens, sealed.array, source.path, sealed, special, alignment)


def _held(source: Source, options: ReadOptions) -> SealedBytes | None:
    """A sealed copy of the whole file, where it cannot be mapped or is not trusted."""
    if source.buffer is None:
        return SealedBytes(_limited_blocks(source))
    return SealedBytes([memoryview(source.buffer)]) if options.seal == "copy" else None


def _limited_blocks(source: Source) -> Iterator[memoryview]:
    size = 0
    for block in source.blocks():
        size += len(block)
        if size > source.spool_limit:
            raise FileError(
                f"a store that is no plain file is held in memory, which may take "
                f"{source.spool_limit} bytes, and it is larger: unpack it, or pass spool_limit= "
                f"(--spool-limit)",
                path=source.name,
            )
        yield block


def _recorded_blocks(source: Source, layout: StoreLayout, buffer: Any) -> npt.NDArray[np.uint8]:
    blocks = layout.digests.array(buffer, "u1")
    recorded = layout.metadata.get("digest")
    if (found := combine_digests(blocks)) != recorded:
        raise damaged(
            source,
            f"the block digests must have the recorded digest {recorded}, received {found}",
        )
    return blocks


def _mapped_matrix(
    source: Source, layout: StoreLayout, blocks: npt.NDArray[np.uint8]
) -> SealedMatrix:
    sealed = SealedMatrix.map_file(
        source.input.link,
        layout.shape,
        layout.dtype,
        offset=layout.vectors.start,
        blocks=blocks,
    )
    sealed.path = source.located
    if sealed.array.size:
        source.guard(sealed.array)
    return sealed


def _held_matrix(
    held: SealedBytes,
    source: Source,
    layout: StoreLayout,
    blocks: npt.NDArray[np.uint8],
    options: ReadOptions,
) -> SealedMatrix:
    try:
        sealed = held.matrix(
            layout.shape,
            layout.dtype,
            offset=layout.vectors.start,
            blocks=blocks,
            verify=options.seal == "copy",
        )
    except FrozenBytesChanged as error:
        raise FrozenBytesChanged(
            f"{source.name}: {error}: get the file or make it again", block=error.block
        ) from None
    sealed.path = None if source.buffer is None else source.located
    return sealed


@contextmanager
def _readable(source: Source, what: str) -> Iterator[None]:
    """What is wrong with notes becomes the error of a damaged store."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(source, f"the {what} cannot be read ({error})") from error


def _special(source: Source, layout: StoreLayout) -> dict[str, Any] | None:
    """The settings of the vocabulary that the store was saved with."""
    recorded = layout.metadata.get("vocabulary")
    if recorded is None:
        return None
    with _readable(source, "vocabulary"):
        settings = vocabulary_notes(recorded)
        named = (settings["padding"], settings["unknown"], *settings["special"])
        Vocabulary.from_settings([token for token in named if token is not None], settings)
    return settings


def _alignment(source: Source, layout: StoreLayout, buffer: Any) -> Alignment:
    """How the rows came about, where the store was saved with that."""
    counts, rows = layout.more.get("token_counts"), layout.shape[0]
    if counts is not None and counts.shape != (rows,):
        raise damaged(source, f"token_counts must be [{rows}], received {list(counts.shape)}")
    with _readable(source, "coverage"):
        notes = coverage_notes(layout.metadata.get("coverage", "null"))
        record = None if notes is None else _coverage_record(layout, buffer, notes)
    with _readable(source, "provenance"):
        provenance = provenance_notes(layout.metadata.get("provenance", "{}"))
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
    stored = embeddings.dtype
    kept = options.dtype in (None, stored)
    rows = options.limited(len(embeddings))
    reading = Reading(embeddings.dim, stored if kept else options.rows_dtype, rows)
    reading.batches = _batches(source, embeddings, reading, rows)
    reading.alignment = embeddings.alignment
    reading.sealed = embeddings.sealed
    if steps := embeddings.provenance.get("steps"):
        reading.notes.append(f"its rows were transformed: {', '.join(steps)}")
    if options.limit is None and kept:
        reading.ready = embeddings
    return reading


def _batches(
    source: Source, embeddings: Embeddings, reading: Reading, rows: int
) -> Iterator[Batch]:
    offsets, size = embeddings.tokens.offsets, len(embeddings.tokens.blob)
    if offsets[0] or offsets[-1] != size or (offsets[:-1] > offsets[1:]).any():
        raise damaged(source, f"token_offsets must rise from 0 to {size}")
    step = max(1, BATCH_BYTES // max(1, 4 * embeddings.dim))
    for low, high in spans(0, rows, step):
        tokens = embeddings.tokens.part(low, high)

        def place(row: int, first: int = low) -> Place:
            return {"row": first + row}

        matrix = embeddings.matrix[low:high]
        if reading.dtype != embeddings.dtype:
            matrix = storage.decode(matrix).astype(reading.dtype, copy=False)
        position = source.size * high // rows
        yield Batch(tokens, matrix, position, place).checked(source.name)


STORE = Format("store", sniff, read, Writer((".safetensors",), write, packable=False))
