"""A progress bar, such as over the bytes of a corpus."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from embedfreeze.batch.texts import Part
from embedfreeze.formats.progress import PATIENCE

__all__ = ["shown_bar", "tracked"]

R = TypeVar("R")


@contextmanager
def shown_bar(total: int, what: str, unit: str = "B") -> Iterator[Callable[[int], object]]:
    """A bar on standard error, if that is a terminal: what is called with how much is done."""
    if not sys.stderr.isatty():
        yield lambda size: None
        return
    from tqdm import tqdm

    with tqdm(
        total=total, desc=what, unit=unit, unit_scale=unit == "B", delay=PATIENCE, leave=False
    ) as bar:
        yield bar.update


def tracked(parts: Sequence[Part], results: Iterable[R], what: str) -> Iterator[R]:
    """The results of parts, with a bar."""
    with shown_bar(sum(part.size for part in parts), what) as bar:
        for part, result in zip(parts, results, strict=True):
            yield result
            bar(part.size)
