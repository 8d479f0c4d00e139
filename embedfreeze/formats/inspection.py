"""The verb `inspect`: what a file is, without loading it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np

from embedfreeze import storage
from embedfreeze.coverage import MISSING
from embedfreeze.embeddings import Embeddings
from embedfreeze.files import PathLike, PathOrFile
from embedfreeze.formats.base import ReadOptions
from embedfreeze.formats.verbs import open_reading

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True)
class Inspection:
    """What `inspect` finds out about a file.

    Attributes
    ----------
    file_bytes : int or None
        None for a file object that does not tell.
    rows : int or None
        None where counting would mean decompressing the whole file.
    """

    path: str
    format: str
    container: str | None
    member: str | None
    file_bytes: int | None
    rows: int | None
    dim: int
    dtype: str
    first_tokens: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def matrix_bytes(self) -> int | None:
        """Bytes of the whole matrix in memory."""
        if self.rows is None:
            return None
        return self.rows * storage.row_bytes(self.dtype, self.dim)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {**asdict(self), "matrix_bytes": self.matrix_bytes}

    def __str__(self) -> str:
        packed = f" in {self.container}" if self.container else ""
        rows = "not counted (compressed)" if self.rows is None else f"{self.rows:,}"
        size = "" if self.matrix_bytes is None else f", {self.matrix_bytes / 1e6:,.1f} MB in memory"
        file = "" if self.file_bytes is None else f", {self.file_bytes / 1e6:,.1f} MB"
        lines = [
            f"{self.path}",
            f"  format  {self.format}{packed}{file}",
            f"  rows    {rows}",
            f"  dim     {self.dim} ({self.dtype}{size})",
            f"  tokens  {' '.join(map(repr, self.first_tokens))} ...",
        ]
        return "\n".join(lines + [f"  note    {note}" for note in self.notes])


def inspect(
    path: PathOrFile,
    *,
    format: str | None = None,
    member: str | None = None,
    tokens: PathLike | None = None,
) -> Inspection:
    """What a file is, without loading it. Parameters are those of `read`.

    A file object is put back to where it stood; one that cannot seek is refused.

    Raises
    ------
    FileError
        The file cannot be opened.
    FormatError
        It cannot be loaded; the message says why.

    Examples
    --------
    >>> inspect("data/glove.6B.50d.sample.txt").format
    'glove'
    """
    few = ReadOptions(limit=5, unicode_errors="backslashreplace", tokens=tokens)
    source, _, reading = open_reading(path, few, format=format, member=member)
    with source:
        source.needed_again()
        first = tuple(islice((t for batch in reading.batches for t in batch.tokens), 5))
    whole = ReadOptions(tokens=tokens)
    source, found, reading = open_reading(path, whole, format=format, member=member)
    with source:
        source.needed_again()
        if reading.ready is not None:
            reading.notes += _alignment_notes(reading.ready)
        return Inspection(
            path=source.path,
            format=found.name,
            container=source.container,
            member=source.member,
            file_bytes=source.size or None,
            rows=reading.rows,
            dim=reading.dim,
            dtype=reading.dtype,
            first_tokens=first,
            notes=tuple(reading.notes),
        )


def _alignment_notes(store: Embeddings) -> list[str]:
    """What a store says of the vocabulary that it was aligned to."""
    settings, record = store.special, store.alignment.coverage
    if settings is None:
        return []
    further = f", special {settings['special']}" if settings["special"] else ""
    notes = [
        f"aligned to a vocabulary: padding {settings['padding']!r}, unknown "
        f"{settings['unknown']!r}{further}"
    ]
    if record is not None:
        best = record.stages.max(axis=0)
        found, asked = np.count_nonzero(best >= 0), np.count_nonzero(best >= MISSING)
        notes.append(f"{found:,} of {asked:,} types found (ef.read(...).coverage tells more)")
    return notes
