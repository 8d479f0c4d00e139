"""What the formats of shards share: the row of their table, and the errors of damaged files."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from embedfreeze.batch.columns import Block, Column
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError, reason
from embedfreeze.files import Output

__all__ = ["BLOCK_ROWS", "ShardFormat", "ShardReader", "one_file", "understood"]

BLOCK_ROWS = 4096  # that are written at a time where the file tells how it was written

Columns = Sequence[Column]
Write = Callable[[Block], None]


class ShardReader(Protocol):
    """An opened shard."""

    @property
    def rows(self) -> int:
        """Records of it."""
        ...

    def read(self, start: int, stop: int) -> Block:
        """Consecutive records, which there are."""
        ...


@dataclass(frozen=True)
class ShardFormat:
    """How shards are written and read.

    Attributes
    ----------
    files : callable
        The names of the files, of a stem and columns.
    writing : callable
        A context that gives a function to write blocks with, of the files of an `Output`. The first
        of `files` is its target, the others stand beside that.
    opened : callable
        A context that gives a reader, of a folder, a stem and columns.
    in_blocks : bool
        Write blocks of `BLOCK_ROWS` records (but for the last), however the records come?
    window_rows : int
        Consecutive records that are read at a time where records are read in another order.
    """

    files: Callable[[str, Columns], list[str]]
    writing: Callable[[Output, list[str], Columns], AbstractContextManager[Write]]
    opened: Callable[[str, str, Columns], AbstractContextManager[ShardReader]]
    in_blocks: bool = False
    window_rows: int = 256


def one_file(suffix: str) -> Callable[[str, Columns], list[str]]:
    """The `files` of a format that has but one."""
    return lambda stem, _: [stem + suffix]


@contextmanager
def understood(path: str) -> Iterator[None]:
    """What is raised while a file of a shard is read becomes an error with its path."""
    again = "run the same embedfreeze encode again"
    try:
        yield
    except EmbedFreezeError:
        raise
    except FileNotFoundError:
        raise FileError(f"is missing: {again}", path=path) from None
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, struct.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise FileError(f"cannot be read: {reason(error)}", path=path) from error
        said = str(error).partition("\n")[0][:200]
        raise FormatError(
            f"a file of features must be what was written, received {said}: it is "
            f"damaged, delete this file and {again}",
            path=path,
        ) from error
