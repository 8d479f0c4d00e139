"""Records that are rows of a Parquet file; row groups are read by several processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from embedfreeze.batch.tables import TableLayout
from embedfreeze.batch.texts import BadRecords, Columns, Part, Texts, gathered
from embedfreeze.errors import EmbedFreezeError, FormatError
from embedfreeze.files import open_source

__all__ = ["ParquetRows", "parquet_parts"]

ROWS = 4096  # in a batch


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise FormatError(
            f'Parquet is read by pyarrow, received: {error}: pip install "embedfreeze[arrow]"',
            path=path,
        ) from error
    with open_source(path) as source:
        try:
            yield parquet.ParquetFile(source.as_file())
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, EmbedFreezeError):
                raise
            raise FormatError(
                f"Parquet cannot be read ({error}): it is damaged or cut off, get it again",
                path=path,
            ) from error


def parquet_parts(path: str, size: int, _: int | None = None) -> list[Part]:
    """A part for each row group."""
    with _opened(path) as file:
        n = file.num_row_groups
    return [Part(path, i, i + 1, size // n) for i in range(n)]


class ParquetRows:
    """Reads the records of row groups."""

    position = 0  # of a packed file nobody knows

    def __init__(self, part: Part, columns: Columns, bad: BadRecords) -> None:
        self.part, self.columns, self.bad = part, columns, bad

    def __iter__(self) -> Iterator[Texts]:
        with _opened(self.part.path) as file:
            stop = file.num_row_groups if self.part.stop is None else self.part.stop
            groups = list(range(self.part.start or 0, stop))
            names = file.schema_arrow.names
            layout = TableLayout.of(names, replace(self.columns, header=True), self.part.path)
            chosen = [names[place] for place in layout.places]
            row = sum(file.metadata.row_group(i).num_rows for i in range(self.part.start or 0))
            for batch in file.iter_batches(ROWS, row_groups=groups, columns=chosen):
                yield self._texts([batch.column(name).to_pylist() for name in chosen], row)
                row += batch.num_rows

    def _texts(self, found: list[list[Any]], first: int) -> Texts:
        good = []
        for i, values in enumerate(zip(*found, strict=True)):
            try:
                good.append(self.columns.record(list(values)))
            except ValueError as error:
                self.bad.add(str(error), row=first + i)
        return gathered(good, self.columns)
