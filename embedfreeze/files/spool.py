"""Temporary files for data that libraries seek in, with a limit on what they may grow to."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any, BinaryIO

from embedfreeze.errors import FileError, reason
from embedfreeze.files.hidden import opened, remove_left_behind, unnamed_file

__all__ = ["SPOOL_LIMIT", "byte_count", "spooled", "spooled_input"]

SPOOL_LIMIT = 16 << 30  # bytes that are unpacked into a temporary file, unless the caller says else
_COPY_BYTES = 4 << 20
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_COUNT = re.compile(r"([0-9]{1,15})([KMGT]?)")


def byte_count(given: int | str) -> int:
    """A number of bytes, also as text such as ``8G``: K, M, G and T are powers of 1024.

    Raises
    ------
    ValueError
        It is none.

    Examples
    --------
    >>> byte_count("8G")
    8589934592
    """
    found = _COUNT.fullmatch(str(given).upper())
    if found is None or isinstance(given, bool):
        raise ValueError(f"a number of bytes such as 500M or 8G is needed, received {given!r}")
    return int(found[1]) << _UNITS[found[2]]


@contextlib.contextmanager
def spooled_input(file: BinaryIO, limit: int = SPOOL_LIMIT) -> Iterator[BinaryIO]:
    """A file object that can seek, with what another one gives from where it stands.

    Raises
    ------
    FileError
        It gives more than the limit.
    """
    if file.seekable():
        yield file
        return
    with contextlib.ExitStack() as resources:
        blocks = (memoryview(block) for block in iter(lambda: file.read(_COPY_BYTES), b""))
        copy: Any = spooled(blocks, limit, str(file.name), resources)
        copy.raw.name = file.name  # as messages say it
        yield copy


def spooled(
    blocks: Iterable[memoryview], limit: int, path: str, resources: contextlib.ExitStack
) -> IO[bytes]:
    """What the blocks hold, in a file without a name that lives as long as the resources.

    Raises
    ------
    FileError
        They are more than the limit, or than there is room for.
    """
    import tempfile

    folder = tempfile.gettempdir()
    try:
        # Not Python's TemporaryFile: SQLite needs a file that can be given a name.
        at = resources.enter_context(opened(folder))
        remove_left_behind(at)
        file = resources.enter_context(unnamed_file(at))
        for block in blocks:
            if file.tell() + len(block) > limit:
                raise FileError(
                    f"it must be unpacked into a temporary file in {folder}, which may have "
                    f"{limit} bytes, and it is larger: if it is what you expect, pass spool_limit= "
                    f'(--spool-limit), such as "32G", and set TMPDIR to a folder with room',
                    path=path,
                )
            file.write(block)
        file.seek(0)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            f"cannot be unpacked into {folder} ({reason(error)}): set TMPDIR to a folder with room",
            path=path,
        ) from error
    return file
