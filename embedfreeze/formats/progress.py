"""A progress bar over the batches of a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from embedfreeze.files import Source
from embedfreeze.formats.base import Batch, Reading

__all__ = ["tracked"]

PATIENCE = 1.0  # seconds; shorter work shows no bar


def tracked(source: Source, reading: Reading, what: str) -> Iterator[Batch]:
    """The batches of a reading, with a bar on standard error if that is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield from reading.counted(source.name)
        return
    from tqdm import tqdm

    with tqdm(
        total=source.size, desc=what, unit="B", unit_scale=True, delay=PATIENCE, leave=False
    ) as bar:
        for batch in reading.counted(source.name):
            yield batch
            bar.update(batch.position - bar.n)
