"""Mapped files: what happens if they are cut meanwhile, and pages that are done with."""

from __future__ import annotations

import mmap
from typing import Any

from embedfreeze import _kernel

__all__ = ["Guard", "release_pages"]

KEPT_BYTES = 2 << 30


class Guard:
    """A context in which the pages of a mapping that its file no longer has read as zeros.

    Without it they end the process with SIGBUS. The mapping must outlive the context.

    Parameters
    ----------
    mapping : mmap.mmap or other buffer
        It begins at a page.
    """

    def __init__(self, mapping: Any) -> None:
        self._mapping = mapping
        self._place: int | None = None
        self._hit = False

    @property
    def hit(self) -> bool:
        """Was a page replaced by zeros?"""
        return self._hit if self._place is None else _kernel.guard_hit(self._place)

    def __enter__(self) -> Guard:
        self._place = _kernel.guard_enter(self._mapping)
        return self

    def __exit__(self, *_: object) -> None:
        if self._place is not None:
            self._hit = _kernel.guard_leave(self._place)
            self._place = None


def release_pages(buffer: mmap.mmap, start: int, stop: int, *, again: bool = False) -> None:
    """Let the kernel take back the pages of a mapped file that a scan is done with.

    Pages that are read `again` are kept where the file is not large: mapping a page takes longer
    than scanning it.
    """
    if again and len(buffer) <= KEPT_BYTES:
        return
    low = start - start % mmap.PAGESIZE
    if stop > low:
        buffer.madvise(mmap.MADV_DONTNEED, low, stop - low)
