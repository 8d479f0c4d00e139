"""Rows of a file that are stored in another dtype while they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from embedfreeze import storage
from embedfreeze.errors import FormatError
from embedfreeze.files import Source
from embedfreeze.formats.base import Batch, Reading

__all__ = ["encoded"]


def encoded(source: Source, reading: Reading, dtype: str, threads: int) -> Reading:
    """A reading whose batches are stored in another dtype; its notes are those of the first."""
    result = replace(reading, dtype=dtype)
    result.batches = _batches(source, reading, result, threads)
    return result


def _batches(source: Source, inner: Reading, outer: Reading, threads: int) -> Iterator[Batch]:
    try:
        for batch in inner.batches:
            matrix = outer.allocate(len(batch.tokens), outer.dim, outer.dtype)

            def refuse(row: int, rule: str, batch: Batch = batch) -> FormatError:
                token = batch.tokens.bytes_at(row).decode("utf-8", "backslashreplace")
                rule = f"token {token!r}: {rule}"
                return FormatError(rule, path=source.name, **batch.place(row))

            storage.encode(batch.matrix, matrix, refuse=refuse, threads=threads)
            yield replace(batch, matrix=matrix)
    finally:
        inner.close()
