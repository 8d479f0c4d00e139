"""Magnitude: an SQLite file of vectors as whole numbers.

Table ``magnitude`` (key, dim_0, ..., magnitude): a value is dim_i / 10 ** precision of a vector of
unit length, whose norm is in the last column; table ``magnitude_format`` holds the precision. Rows
are read with their norms, as they were trained: what `pymagnitude.Magnitude` gives with
``normalized=False``. Source: https://github.com/plasticityai/magnitude.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError
from embedfreeze.files import Source
from embedfreeze.formats.base import Batch, Format, Place, Reading, ReadOptions
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens

if TYPE_CHECKING:
    from embedfreeze.formats.magnitude.database import Database, Table

__all__ = ["MAGNITUDE"]

SIGNATURE = b"SQLite format 3\0"
BATCH_VALUES = 1 << 18  # as Python's numbers they take forty bytes each
KEYS = 500  # looked for at once
SCANNED = 10_000
LOOKUP_STEPS = 100  # that SQLite takes for one of them, and more for each value
MOST_PRECISION = 30  # 10 to this power still is a float32


def sniff(source: Source) -> bool:
    """The signature of SQLite? Which tables there are is found out by reading."""
    return source.head.startswith(SIGNATURE)


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a Magnitude file; other SQLite files are refused."""
    from embedfreeze.formats.magnitude.database import opened_database

    if not sniff(source):
        raise FormatError(
            "a Magnitude file must be an SQLite database, received none: leave format= out to "
            "have the format recognised",
            path=source.name,
            offset=0,
        )
    database = opened_database(source)
    table = database.table()
    reader = _Reader(source, options, database, table)
    reading = Reading(table.dim, options.rows_dtype, reader.most_rows)
    reading.notes.append(
        f"the header says {reader.declared} rows, values are whole numbers / 10 ** "
        f"{reader.precision}"
    )
    reading.notes.append(
        "rows are multiplied by their norms (magnitude)"
        if table.with_magnitude
        else "the file has no norms (magnitude): all rows have unit length"
    )
    reading.batches = reader.batches(reading)
    return reading


class _Reader:
    """Rows of a database, portion by portion."""

    def __init__(
        self, source: Source, options: ReadOptions, database: Database, table: Table
    ) -> None:
        self.source, self.options, self.database, self.table = source, options, database, table
        settings = {
            key.lower(): value
            for key, value in database.all(
                "SELECT key, value FROM magnitude_format WHERE key IN ('size', 'dim', 'precision')"
            )
            if isinstance(key, bytes) and isinstance(value, int)
        }
        self.precision, self.declared = settings.get(b"precision", -1), settings.get(b"size")
        shown = ", ".join(f"{name.decode()} {value}" for name, value in settings.items()) or "none"
        if settings.get(b"dim") != table.dim or not 0 <= self.precision <= MOST_PRECISION:
            raise FormatError(
                f"magnitude_format must say dim {table.dim}, as the table has, and a precision of "
                f"0 to {MOST_PRECISION}, received {shown}: get the file again",
                path=source.name,
            )
        self.first, self.last = self.end("ASC"), self.end("DESC")
        self.limit = -1 if options.limit is None else options.limit
        self.at_once = max(1, BATCH_VALUES // table.dim)
        self.columns = ", ".join(
            ["rowid", "key", *(f"dim_{i}" for i in range(table.dim))]
            + ["magnitude"] * table.with_magnitude
        )

    def end(self, order: str) -> int:
        """The number of the first or last row; 0 where there is none."""
        query = f"SELECT rowid FROM magnitude ORDER BY rowid {order}"  # noqa: S608
        return next((row for (row,) in self.database.all(query, 1)), 0)

    @property
    def most_rows(self) -> int | None:
        """At least the number of rows, or None where only counting tells."""
        rows = max(0, self.last - self.first + 1)
        if rows > self.database.size // (self.table.dim + 2):  # a byte for each column at least
            return None
        return self.options.limited(rows)

    def batches(self, reading: Reading) -> Iterator[Batch]:
        wanted, count = self.options.wanted, 0
        for part in self.all_rows() if wanted is None else self.wanted_rows(wanted):
            yield self.batch(reading, part)
            count += len(part)
        whole = wanted is None and self.options.limit is None
        if whole and self.declared not in (None, count):
            reading.warn(self.source.name, f"the header says {self.declared} rows, found {count}")

    def all_rows(self) -> Iterator[list[Any]]:
        query = f"SELECT {self.columns} FROM magnitude ORDER BY rowid LIMIT ?"  # noqa: S608 (names of ours)
        last = self.first - 1
        for part in self.database.rows(query, (self.limit,), at_once=self.at_once):
            for row in part:
                if not last < row[0] <= self.last:
                    raise self.error(f"the numbers of rows must rise to {self.last}", row)
                last = row[0]
            yield part

    def wanted_rows(self, wanted: Tokens) -> Iterator[list[Any]]:
        """The rows of wanted keys: their numbers are found first."""
        self.database.allow(len(wanted) * (LOOKUP_STEPS + 10 * self.table.dim))
        for numbers in self.numbers(wanted):
            for low, high in spans(0, len(numbers), min(KEYS, self.at_once)):
                marks = ", ".join("?" * (high - low))
                query = f"SELECT {self.columns} FROM magnitude WHERE rowid IN ({marks})"  # noqa: S608
                yield from self.database.rows(query, numbers[low:high])

    def numbers(self, wanted: Tokens) -> Iterator[list[int]]:
        """The numbers of the rows of wanted keys, through the index of keys if there is one."""
        if not self.table.indexed or self.options.limit is not None:
            query = "SELECT rowid, key FROM magnitude ORDER BY rowid LIMIT ?"
            for part in self.database.rows(query, (self.limit,), at_once=SCANNED):
                yield self.kept(part, wanted)
            return
        for low, high in spans(0, len(wanted), KEYS):
            marks = ", ".join(["CAST(? AS TEXT)"] * (high - low))
            query = f"SELECT rowid, key FROM magnitude WHERE key IN ({marks})"  # noqa: S608
            keys = [wanted.bytes_at(row) for row in range(low, high)]
            for part in self.database.rows(query, keys):  # in any case: the index ignores it
                yield self.kept(part, wanted)

    def kept(self, part: list[Any], wanted: Tokens) -> list[int]:
        found = wanted.find(self.tokens([key for _, key in part], part))
        return [part[i][0] for i in np.flatnonzero(found >= 0).tolist()]

    def tokens(self, keys: list[Any], part: list[Any]) -> Tokens:
        for key, row in zip(keys, part, strict=True):
            if not isinstance(key, bytes):
                raise self.error(f"a key must be text, received {key!r}", row)
        return Tokens.from_bytes(keys, self.options.unicode_errors)

    def error(self, rule: str, row: Any) -> FormatError:
        return FormatError(
            f"{rule}: the file is damaged, get it again", path=self.source.name, row=row[0] - 1
        )

    def batch(self, reading: Reading, part: list[Any]) -> Batch:
        tokens = self.tokens([row[1] for row in part], part)
        matrix = reading.allocate(len(part), self.table.dim, reading.dtype)
        matrix[:] = self.values(part)
        numbers = [row[0] for row in part]

        def place(row: int) -> Place:
            return {"row": numbers[row] - 1}

        position = self.source.size * numbers[-1] // max(1, self.declared or numbers[-1])
        return Batch(tokens, matrix, position, place).checked(self.source.name)

    def values(self, part: list[Any]) -> npt.NDArray[np.float32]:
        """The vectors [n, dim] of rows, computed as pymagnitude does."""
        whole = np.array([row[2 : 2 + self.table.dim] for row in part])
        unit = float(10**self.precision)
        if whole.dtype.kind not in "if":
            bad = next(row for row in part if not all(isinstance(v, int | float) for v in row[2:]))
            raise self.error(f"values must be numbers, received {bad[2:6]} ...", bad)
        rows = whole.astype(np.float32)
        if not self.table.with_magnitude:
            divided: npt.NDArray[np.float32] = rows / np.float32(unit)
            return divided
        norms = [row[-1] for row in part]
        if not all(isinstance(norm, int | float) for norm in norms):
            bad = next(row for row in part if not isinstance(row[-1], int | float))
            raise self.error(f"a magnitude must be a number, received {bad[-1]!r}", bad)
        with np.errstate(over="ignore"):
            scales = (np.array(norms, np.float64) / unit).astype(np.float32)
            rows *= scales[:, None]
        return rows


MAGNITUDE = Format("magnitude", sniff, read)
