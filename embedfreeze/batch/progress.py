"""A progress bar over the parts of a corpus."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from embedfreeze.batch.texts import Part
from embedfreeze.formats.progress import PATIENCE

__all__ = ["tracked"]

R = TypeVar("R")


def tracked(parts: Sequence[Part], results: Iterable[R], what: str) -> Iterator[R]:
    """The results of parts, with a bar on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        yield from results
        return
    from tqdm import tqdm

    total = sum(part.size for part in parts)
    with tqdm(
        total=total, desc=what, unit="B", unit_scale=True, delay=PATIENCE, leave=False
    ) as bar:
        for part, result in zip(parts, results, strict=True):
            yield result
            bar.update(part.size)
