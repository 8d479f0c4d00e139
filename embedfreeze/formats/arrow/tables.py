"""Parquet and Arrow files as tables that are read a bounded piece at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from embedfreeze.errors import EmbedFreezeError, FormatError
from embedfreeze.files import Source

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ARROW_FILE",
    "FEATHER_1",
    "PARQUET_MAGIC",
    "ArrowTable",
    "Piece",
    "arrow_table",
    "is_arrow_stream",
    "needed_pyarrow",
    "parquet_table",
    "understood",
]

PARQUET_MAGIC = b"PAR1"
ARROW_FILE = b"ARROW1\0\0"
FEATHER_1 = b"FEA1\0\0\0\0"
STREAM_START = b"\xff\xff\xff\xff"
READ_BYTES = 1 << 20
LONGEST_NAME = 1 << 20
MOST_PARTS = 1 << 20
Needed = Callable[[int, int], bool]


@dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive rows of a table, the number of the first of them, and where they are read."""

    first: int
    rows: pa.RecordBatch
    position: int


class ArrowTable(Protocol):
    """An opened table, of which some columns can be read, as often as needed."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        ...

    @property
    def rows(self) -> int:
        """Rows, as the file says."""
        ...

    def pieces(self, columns: list[str], step: int, needed: Needed) -> Iterator[Piece]:
        """Columns in pieces of at most so many rows; parts that are not `needed` are left out."""
        ...


def needed_pyarrow(what: str) -> Any:
    """The module pyarrow; what to do if it is missing."""
    try:
        import pyarrow
    except ImportError as error:
        raise EmbedFreezeError(
            f'{what} needs the package pyarrow, which is missing: pip install "embedfreeze[arrow]"'
        ) from error
    return pyarrow


@contextlib.contextmanager
def understood(source: Source, what: str) -> Iterator[None]:
    """Errors of pyarrow, and of the values that it gives, become those of the file."""
    import pyarrow

    try:
        yield
    except EmbedFreezeError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        said = str(error).partition("\n")[0][:200]
        raise FormatError(
            f"{what} cannot be read ({said}): the file is damaged or cut off, get it again",
            path=source.name,
        ) from error


@dataclass(frozen=True, eq=False)
class _Parquet:
    """Row groups of a Parquet file."""

    source: Source
    file: Any
    schema: pa.Schema

    @property
    def rows(self) -> int:
        return int(self.file.metadata.num_rows)

    def pieces(self, columns: list[str], step: int, needed: Needed) -> Iterator[Piece]:
        first, count = 0, self.rows
        for group in range(self.file.metadata.num_row_groups):
            last = first + self.file.metadata.row_group(group).num_rows
            if needed(first, last):
                yield from self.group_pieces(group, columns, step, first, last)
            first = last
        if first != count:
            raise FormatError(
                f"the row groups must hold the {count} rows of the file, received {first}: the "
                f"file is damaged, get it again",
                path=self.source.name,
            )

    def group_pieces(
        self, group: int, columns: list[str], step: int, first: int, last: int
    ) -> Iterator[Piece]:
        parts = self.file.iter_batches(step, [group], columns, use_threads=False)
        for rows in parts:
            if first + len(rows) > last:
                break
            rows.validate(full=True)  # pyarrow trusts the indices of dictionaries
            position = self.source.size * (first + len(rows)) // max(1, self.rows)
            yield Piece(first, rows, position)
            first += len(rows)
        if first != last:
            raise FormatError(
                f"row group {group} must end with row {last}, received {first} rows: the file is "
                f"damaged, get it again",
                path=self.source.name,
            )


def parquet_table(source: Source) -> ArrowTable:
    """Open a Parquet file; what its footer claims is bounded by what the file holds."""
    needed_pyarrow("Parquet")
    import pyarrow
    import pyarrow.parquet

    with understood(source, "Parquet"):
        file = pyarrow.parquet.ParquetFile(
            pyarrow.BufferReader(source.whole()),
            buffer_size=READ_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
            thrift_string_size_limit=LONGEST_NAME,
            thrift_container_size_limit=MOST_PARTS,
        )
        return _Parquet(source, file, file.schema_arrow)


@dataclass(frozen=True, eq=False)
class _Batches:
    """Record batches of an Arrow file or stream."""

    source: Source
    buffer: pa.Buffer
    schema: pa.Schema
    stream: bool

    @property
    def rows(self) -> int:
        if self.stream:
            return sum(len(batch) for batch in self.opened(list(range(len(self.schema)))))
        return int(self.opened(None).count_rows())

    def opened(self, fields: list[int] | None) -> Any:
        import pyarrow

        options = pyarrow.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        open_any = pyarrow.ipc.open_stream if self.stream else pyarrow.ipc.open_file
        return open_any(pyarrow.BufferReader(self.buffer), options=options)

    def batches(self, fields: list[int]) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Batches, and how much of the file was read with each, as far as that is known."""
        reader = self.opened(fields)
        if self.stream:
            yield from ((batch, 0) for batch in reader)
            return
        count = reader.num_record_batches
        for number in range(count):
            yield reader.get_batch(number), self.source.size * (number + 1) // count

    def pieces(self, columns: list[str], step: int, needed: Needed) -> Iterator[Piece]:
        first = 0
        fields = sorted(self.schema.get_field_index(name) for name in columns)
        for batch, position in self.batches(fields):
            if needed(first, first + len(batch)):
                batch.validate(full=True)  # pyarrow trusts offsets
                for low in range(0, len(batch), step):
                    yield Piece(first + low, batch.slice(low, step), position)
            first += len(batch)


def arrow_table(source: Source) -> ArrowTable:
    """Open an Arrow IPC file, which Feather version 2 is, or an IPC stream."""
    needed_pyarrow("Arrow")
    if source.head.startswith(FEATHER_1):
        raise FormatError(
            "Feather must be of version 2, received version 1: read it with pandas or R and write "
            "it anew",
            path=source.name,
        )
    import pyarrow
    import pyarrow.ipc

    with understood(source, "Arrow"):
        buffer, stream = pyarrow.py_buffer(source.whole()), not source.head.startswith(ARROW_FILE)
        open_any = pyarrow.ipc.open_stream if stream else pyarrow.ipc.open_file
        return _Batches(source, buffer, open_any(pyarrow.BufferReader(buffer)).schema, stream)


def is_arrow_stream(head: bytes) -> bool:
    """Does a file that begins so hold an IPC stream: a mark, a length, and a schema behind it?"""
    length = int.from_bytes(head[4:8], "little")
    return head.startswith(STREAM_START) and 16 <= length <= LONGEST_NAME and length % 8 == 0
