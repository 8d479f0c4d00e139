"""What rows may be aligned from: files and embeddings, one or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embedfreeze.aligning.sources import EmbeddingsSource, FileSource, RowSource
from embedfreeze.embeddings import Embeddings
from embedfreeze.files import PathOrFile
from embedfreeze.formats import ReadOptions

__all__ = ["Origin", "sources_of"]

Origin = PathOrFile | Embeddings


def sources_of(
    origins: Origin | Sequence[Origin],
    options: ReadOptions,
    format: str | None = None,
    member: str | None = None,
) -> list[RowSource]:
    """The sources that a caller named; `ValueError` for none."""
    several: list[Any] = [origins]
    if isinstance(origins, Sequence) and not isinstance(origins, str | bytes | bytearray):
        several = list(origins)
    if not several:
        raise ValueError("at least one source is needed, received none")
    return [
        EmbeddingsSource(origin, options)
        if isinstance(origin, Embeddings)
        else FileSource(origin, options, format, member)
        for origin in several
    ]
