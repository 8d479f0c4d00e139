"""Writing and reading shards, whatever their format."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from embedfreeze.batch.columns import (
    Block,
    Column,
    Rebatcher,
    block_rows,
    checked_block,
    checked_columns,
)
from embedfreeze.batch.shards.base import BLOCK_ROWS, ShardFormat, ShardReader, Write, understood
from embedfreeze.batch.shards.table import SHARD_FORMATS
from embedfreeze.files import PathLike, atomic_files, name_of

__all__ = [
    "OpenedShard",
    "ShardWriter",
    "open_shard",
    "read_shard",
    "shard_files",
    "shard_format",
    "shard_writer",
]


def shard_format(name: str) -> ShardFormat:
    """A format by its name; `ValueError` if there is none."""
    if name not in SHARD_FORMATS:
        raise ValueError(
            f"the format of shards must be one of {', '.join(SHARD_FORMATS)}, received {name!r}"
        )
    return SHARD_FORMATS[name]


def shard_files(format: str, stem: str, columns: Sequence[Column]) -> list[str]:
    """The names of the files of a shard.

    Examples
    --------
    >>> columns = [Column("features", "float32", (300,)), Column("id", "str")]
    >>> shard_files("npy", "part-0", columns)
    ['part-0.features.npy', 'part-0.id.values.npy', 'part-0.id.row_splits.npy']
    >>> shard_files("hdf5", "part-0", columns)
    ['part-0.h5']
    """
    return shard_format(format).files(stem, checked_columns(columns))


class ShardWriter:
    """Takes the records of a shard, in batches of any size.

    Attributes
    ----------
    rows : int
        Records so far.
    """

    def __init__(self, columns: Sequence[Column], write: Write, *, in_blocks: bool) -> None:
        self._columns, self._write = columns, write
        self._cut = Rebatcher(BLOCK_ROWS) if in_blocks else None
        self.rows = 0

    def append(self, batch: Mapping[str, Any]) -> None:
        """Write records: for each column an array [n, ...], a `Ragged` or a list of str.

        Raises
        ------
        ValueError
            They are not what the columns say.
        FormatError
            A text that the format cannot hold.
        FileError
            They cannot be written.
        """
        block = checked_block(self._columns, batch)
        self.rows += block_rows(block)
        for full in [block] if self._cut is None else self._cut.add(block):
            self._write(full)

    def finish(self) -> None:
        """Write what waits for more."""
        for rest in () if self._cut is None else self._cut.rest():
            self._write(rest)


@contextmanager
def shard_writer(
    format: str, folder: PathLike, stem: str, columns: Sequence[Column]
) -> Iterator[ShardWriter]:
    """A context that takes records, and whose files appear whole when it ends without an error.

    They replace files of the same names. Equal records give equal bytes, however they were cut into
    batches.

    Parameters
    ----------
    format : {"npy", "npz", "parquet", "tfrecord", "hdf5"}
        Of the files.
    folder : path
        Where they are to stand.
    stem : str
        What their names begin with: see `shard_files`.
    columns : sequence of Column
        What a record has.

    Raises
    ------
    FileError
        The files cannot be written.
    EmbedFreezeError
        A package that the format needs is missing.
    """
    kind, columns = shard_format(format), checked_columns(columns)
    names = kind.files(stem, columns)
    path = os.path.join(name_of(folder), names[0])
    with (
        atomic_files(path, overwrite=True, tidy=False) as output,  # the folder may be a large one
        kind.writing(output, names, columns) as write,
    ):
        writer = ShardWriter(columns, write, in_blocks=kind.in_blocks)
        yield writer
        writer.finish()


@dataclass(frozen=True)
class OpenedShard:
    """The records of a shard."""

    reader: ShardReader
    path: str

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.reader.rows

    def read(self, start: int = 0, stop: int | None = None) -> Block:
        """Those from `start` on and before `stop`, as `read_shard` gives them."""
        last = self.rows if stop is None else stop
        if not 0 <= start <= last <= self.rows:
            raise ValueError(
                f"start and stop must lie in the {self.rows} records of {self.path}, received "
                f"{start} and {stop}"
            )
        with understood(self.path):
            return self.reader.read(start, last)


@contextmanager
def open_shard(
    format: str, folder: PathLike, stem: str, columns: Sequence[Column]
) -> Iterator[OpenedShard]:
    """A context that gives the records of a shard, or some of their columns.

    Raises
    ------
    FileError
        A file is missing or cannot be read.
    FormatError
        A file does not hold what the columns say.
    """
    kind, columns, where = shard_format(format), checked_columns(columns), name_of(folder)
    path = os.path.join(where, kind.files(stem, columns)[0])
    with ExitStack() as opened:
        with understood(path):
            reader = opened.enter_context(kind.opened(where, stem, columns))
        yield OpenedShard(reader, path)


def read_shard(
    format: str,
    folder: PathLike,
    stem: str,
    columns: Sequence[Column],
    start: int = 0,
    stop: int | None = None,
) -> Block:
    """The records of a shard from `start` on and before `stop`, for each column its values.

    Those are arrays, `Ragged` or lists of str; NPY and NPZ files are mapped, not read.

    Raises
    ------
    ValueError
        There are no such records.
    FileError, FormatError
        As `open_shard`.
    """
    with open_shard(format, folder, stem, columns) as shard:
        return shard.read(start, stop)
