"""Packing a finished file, as the name of its target asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from embedfreeze.files.containers import CONTAINERS
from embedfreeze.files.hidden import unnamed_file

__all__ = ["packed", "split_packed"]

_SUFFIXES = {container.suffix: container for container in CONTAINERS}


def split_packed(name: str) -> tuple[str, str]:
    """A name without what asks for packing, and that: ``.gz .bz2 .xz .zst .zip`` or nothing."""
    stem, suffix = os.path.splitext(name)
    return (stem, suffix.lower()) if suffix.lower() in _SUFFIXES else (name, "")


@contextmanager
def packed(file: IO[bytes], name: str, folder: int) -> Iterator[IO[bytes]]:
    """The file, or one that holds it compressed if the name asks for that."""
    stem, suffix = split_packed(name)
    if not suffix:
        yield file
        return
    file.flush()
    with unnamed_file(folder) as target:
        _SUFFIXES[suffix].pack(file, target, stem)
        yield target
