"""A Magnitude file as an SQLite database that may mean harm: read-only, and never for ever.

Nothing of its schema is run: an authorizer lets single tables be read and no function be called,
so that no view, trigger, generated column or index over an expression computes anything. How long
a query may take, and how many rows it may give, is bounded by the size of the file.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from struct import unpack_from
from typing import Any

from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.files import Source
from embedfreeze.files.hidden import briefly_named

__all__ = ["Database", "Table", "opened_database"]

LONGEST = 1 << 20  # bytes of a row, or of a text in it
FETCHED = 64  # rows at a time: with the one above the most that is held before it is counted
CACHE_KIB = 4096
STEPS = 100_000  # of SQLite's virtual machine, between two looks at how many it took
STEPS_PER_BYTE = 64
STEPS_AT_LEAST = 10_000_000
SHOWN = 20  # tables in a message
HEADER_BYTES = 100
ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_PRAGMA)
LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: LONGEST,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
PRAGMAS = (
    "trusted_schema = OFF",
    "query_only = ON",
    "cell_size_check = ON",
    "mmap_size = 0",
    "temp_store = MEMORY",
    f"cache_size = -{CACHE_KIB}",
)


@dataclass(frozen=True)
class Table:
    """The table of vectors.

    Attributes
    ----------
    dim : int
        Columns dim_0 ...
    with_magnitude : bool
        Has it the column of norms, which the first versions had not?
    indexed : bool
        Is there an index over all keys?
    """

    dim: int
    with_magnitude: bool
    indexed: bool


class Database:
    """An opened database; texts are bytes.

    Parameters
    ----------
    connection : sqlite3.Connection
        To a file.
    path : str
        For messages.
    size : int
        Bytes of the file.
    """

    def __init__(self, connection: sqlite3.Connection, path: str, size: int) -> None:
        self._connection = connection
        self.path = path
        self.size = size
        self._steps = STEPS_PER_BYTE * size + STEPS_AT_LEAST
        connection.text_factory = bytes
        with self._understood():
            for limit, most in LIMITS.items():
                connection.setlimit(limit, most)
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            connection.set_authorizer(_authorize)
            connection.set_progress_handler(self._tick, STEPS)

    def _tick(self) -> int:
        self._steps -= STEPS
        return int(self._steps < 0)

    def allow(self, steps: int) -> None:
        """Let queries take more steps, as what the caller asks for needs them."""
        self._steps += steps

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """What SQLite says of damaged data, as an error of ours."""
        try:
            yield
        except (sqlite3.Error, MemoryError, OverflowError, ValueError) as error:
            if isinstance(error, EmbedFreezeError):
                raise
            # A message may be no UTF-8, and what does not fit SQLite's limits is "out of memory".
            said = str(error) or type(error).__name__
            late = " after more steps than a file of its size can need" if self._steps < 0 else ""
            raise FormatError(
                f"SQLite cannot read the file ({said}{late}): it is damaged or cut off, get it "
                f"again",
                path=self.path,
            ) from error

    def rows(self, query: str, parameters: Any = (), *, at_once: int = 1000) -> Iterator[list[Any]]:
        """The rows of a query, so many at once: never more than the bytes of the file.

        Rows of a damaged file can share the pages of one long text.
        """
        given, found = 0, list[Any]()
        with self._understood():
            cursor = self._connection.execute(query, parameters)
        while True:
            with self._understood():
                part = cursor.fetchmany(min(at_once - len(found), FETCHED))
            given += len(part) + sum(len(v) for row in part for v in row if v.__class__ is bytes)
            if given > self.size:
                raise FormatError(
                    f"a table must fit its file of {self.size} bytes, received more rows or longer "
                    f"ones: it is damaged, get it again",
                    path=self.path,
                )
            found += part
            if found and (not part or len(found) == at_once):
                yield found
                found = []
            if not part:
                return

    def all(self, query: str, most: int = 100_000) -> list[Any]:
        """The first rows of a query."""
        return [row for part in self.rows(f"{query} LIMIT {most}") for row in part]

    def tables(self) -> dict[bytes, tuple[bytes, bytes]]:
        """The kind and the SQL of each table and view."""
        found = self.all(
            "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view')"
        )
        return {name: (kind, sql or b"") for name, kind, sql in found}

    def table(self) -> Table:
        """What the table of vectors looks like."""
        tables = self.tables()
        self._check_tables(tables)
        columns = [row for part in self.rows("PRAGMA table_xinfo(magnitude)") for row in part]
        names = [name for _, name, *_ in columns]
        computed = [name for _, name, *_, hidden in columns if hidden]
        dim = sum(name.startswith(b"dim_") for name in names)
        wanted = [b"key", *(b"dim_%d" % i for i in range(dim)), b"magnitude"]
        if not dim or computed or names not in (wanted, wanted[:-1]):
            shown = ", ".join(name.decode(errors="replace") for name in names[:SHOWN])
            raise FormatError(
                f"the table magnitude must have the columns key, dim_0 ... and magnitude, none of "
                f"them computed, received {shown}: it is not Magnitude's, or newer",
                path=self.path,
            )
        return Table(dim, names == wanted, self._indexed())

    def _check_tables(self, tables: dict[bytes, tuple[bytes, bytes]]) -> None:
        for name in (b"magnitude", b"magnitude_format"):
            kind, sql = tables.get(name, (b"", b""))
            if kind != b"table" or not sql.upper().startswith(b"CREATE TABLE"):
                shown = ", ".join(
                    f"{kind.decode()} {found.decode(errors='replace')}"
                    for found, (kind, _) in list(tables.items())[:SHOWN]
                )
                raise FormatError(
                    f"an SQLite file must be Magnitude's, with the plain tables magnitude and "
                    f"magnitude_format, received {shown or 'no tables'}: export it as text",
                    path=self.path,
                )

    def _indexed(self) -> bool:
        for part in self.rows("PRAGMA index_list(magnitude)"):
            for _, name, _, _, partial in part:
                quoted = name.decode(errors="replace").replace('"', '""')
                columns = list(self.rows(f'PRAGMA index_info("{quoted}")'))
                if columns and columns[0][0][2] == b"key" and not partial:
                    return True
        return False


def _authorize(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY


def opened_database(source: Source) -> Database:
    """The database that a source holds; it is closed with the source."""
    with ExitStack() as until_opened:
        if source.buffer is None:
            spool = source.as_file()
            size = spool.seek(0, os.SEEK_END)
            path = until_opened.enter_context(briefly_named(spool, tempfile.gettempdir()))
        else:
            path, size = source.input.link, source.input.end
            _check_beside(source)
        _check_whole(source, size)
        try:
            connection = sqlite3.connect(
                f"file:{path}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise FileError(
                f"SQLite cannot open the file ({error}), which it does by name: write it to a file "
                f"that has one",
                path=source.name,
            ) from error
        source.resources.callback(connection.close)
        return Database(connection, source.name, size)


def _check_whole(source: Source, size: int) -> None:
    """Refuse a database that is cut off: SQLite may take what is missing for zeros."""
    if len(source.head) < HEADER_BYTES:
        return
    (page,), (changes, pages) = (
        unpack_from(">H", source.head, 16),
        unpack_from(">II", source.head, 24),
    )
    (counted,) = unpack_from(">I", source.head, 92)
    whole = pages * (page if page > 1 else 1 << 16)
    if counted == changes and size < whole:  # else the number of pages is none
        raise FormatError(
            f"the header promises {pages} pages of {whole // max(1, pages)} bytes, received {size} "
            f"bytes: the file is truncated, get it again",
            path=source.name,
            offset=size,
        )


def _check_beside(source: Source) -> None:
    """What a program that writes the file keeps beside it is not looked at."""
    for end in ("-wal", "-journal"):
        beside = f"{source.located}{end}"
        if source.located and os.path.isfile(beside) and os.path.getsize(beside):
            raise FormatError(
                f"a database must not be read while it is written, received one with {beside} "
                f"beside it: close what writes it",
                path=source.name,
            )
