"""The verb `read`, over the table of formats, and what callers give in place of a file."""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FileError, FormatError
from embedfreeze.files import (
    PathOrFile,
    Source,
    byte_count,
    open_source,
)
from embedfreeze.files.inputs import remedy_for
from embedfreeze.formats.base import Batch, Format, Reading, ReadOptions
from embedfreeze.formats.duplicates import Duplicates, without_rows
from embedfreeze.formats.encoding import encoded
from embedfreeze.formats.folders import main_file
from embedfreeze.formats.progress import tracked
from embedfreeze.formats.table import FORMATS
from embedfreeze.plainlines import counted
from embedfreeze.tokens import UnicodeErrors

__all__ = [
    "HasEmbeddings",
    "TableLike",
    "embeddings_of",
    "format_named",
    "open_reading",
    "read",
    "warn_of_skipped",
]


@runtime_checkable
class HasEmbeddings(Protocol):
    """What can be had as embeddings, as `AlignedEmbeddings` can."""

    def to_embeddings(self) -> Embeddings:
        """The same rows."""
        ...


TableLike = PathOrFile | Embeddings | HasEmbeddings


def format_named(name: str) -> Format:
    """A format by its name; `ValueError` for one that there is not."""
    try:
        return FORMATS[name]
    except KeyError:
        known = ", ".join(FORMATS)
        raise ValueError(f"format must be one of {known}, received {name!r}") from None


def _recognised(source: Source) -> Format:
    known = FORMATS.recognised(source)
    if known is not None:
        return known
    from embedfreeze.formats.inspecting.strangers import stranger

    found = stranger(source)
    raise FormatError(
        f"the content is {found.what}: {found.remedy}; it must be one of {', '.join(FORMATS)}",
        path=source.name,
    )


def open_reading(
    path: PathOrFile, options: ReadOptions, *, format: str | None = None, member: str | None = None
) -> tuple[Source, Format, Reading]:
    """Open a file, recognise its format, read its header; the caller closes the source."""
    with contextlib.ExitStack() as failed:
        named = None if format is None else format_named(format)
        source = failed.enter_context(open_source(main_file(path, format), member))
        source.spool_limit = byte_count(options.spool_limit)
        found = _recognised(source) if named is None else named
        if source.part is not None and not found.parts:
            raise FileError(
                f"member names a member of an archive or a part of a file that has several, such "
                f"as an HDF5 dataset, received {member!r} for a {found.name} file: leave it out",
                path=source.name,
            )
        reading = found.read(source, options)
        if options.dtype not in (None, reading.dtype):
            reading = encoded(source, reading, options.dtype, options.n_threads)
        reading.batches = source.watched(reading.batches)
        source.resources.callback(reading.close)
        failed.pop_all()
    return source, found, reading


class _Collector:
    """Puts batches together in one matrix; straight into it where the rows are known."""

    def __init__(self, reading: Reading, path: str, options: ReadOptions) -> None:
        self._dim, self._dtype = reading.dim, reading.dtype
        self._whole = None
        if reading.rows is not None:
            self._whole = storage.empty(reading.rows, reading.dim, reading.dtype)
        self._parts: list[npt.NDArray[Any]] = []
        self._duplicates = Duplicates(path, options, reading.rows)
        self._given = self._used = 0
        self._unicode_errors: UnicodeErrors = options.unicode_errors

    def allocate(self, rows: int, dim: int, dtype: str) -> npt.NDArray[Any]:
        if self._whole is None:
            return storage.empty(rows, dim, dtype)
        self._given += rows
        return self._whole[self._given - rows : self._given]

    def add(self, batch: Batch) -> None:
        n = len(batch.tokens)
        if self._whole is None:
            self._parts.append(batch.matrix)
        else:
            target = self._whole[self._used : self._used + n]
            if batch.matrix.ctypes.data != target.ctypes.data:  # bad rows before it were left out
                target[:] = batch.matrix
        self._duplicates.add(batch)
        self._used += n

    def finish(self, path: str) -> Embeddings:
        if not self._used:
            raise FormatError("has no rows", path=path)
        matrix = self._join() if self._whole is None else self._whole[: self._used]
        dropped = self._duplicates.dropped()
        tokens = self._duplicates.builder.finish(dropped, self._unicode_errors)
        return Embeddings(tokens, without_rows(matrix, dropped), path)

    def _join(self) -> npt.NDArray[Any]:
        matrix, low = storage.empty(self._used, self._dim, self._dtype), 0
        while self._parts:  # each part is freed when it is copied
            part = self._parts.pop(0)
            matrix[low : low + len(part)] = part
            low += len(part)
        return matrix


def read(
    path: PathOrFile, *, format: str | None = None, member: str | None = None, **options: Any
) -> Embeddings:
    """Read a whole embedding file.

    Parameters
    ----------
    path : str, os.PathLike or binary file object
        A file, which may be packed (gz, bz2, xz, zst, zip, tar); content decides, not the name. A
        path may be a URL (https, s3, gs, hf). A file object, such as ``open(path, "rb")`` or
        `io.BytesIO`, is read from where it stands and stays open; where it stands afterwards is not
        defined.
    format : str, optional
        One of `FORMATS`; default: recognised by content.
    member : str, optional
        The member of an archive, or the dataset of an HDF5 file.
    **options
        ``limit``, ``dtype``, ``unicode_errors``, ``on_bad_row``, ``on_duplicate``, ``threads``,
        ``tokens`` and ``seal``, as `ReadOptions` describes them.

    Returns
    -------
    Embeddings
        Float32 [n, dim] unless asked otherwise with ``dtype``. A store is mapped, not copied.

    Raises
    ------
    FileError
        The file cannot be opened.
    FormatError
        Its content is not what its format asks for.

    Examples
    --------
    >>> e = read("data/glove.6B.50d.sample.txt")
    >>> len(e), e.dim, float(e["king"][0])
    (7074, 50, 0.5045099854469299)
    """
    chosen = ReadOptions.of(read, options)
    source, _, reading = open_reading(path, chosen, format=format, member=member)
    with source:
        if reading.ready is not None:
            return reading.ready
        collector = _Collector(reading, source.name, chosen)
        reading.allocate = collector.allocate
        for batch in tracked(source, reading, "read"):
            collector.add(batch)
        warn_of_skipped(source.name, reading)
        return collector.finish(source.name)


def warn_of_skipped(path: str, reading: Reading) -> None:
    """Warn of the bad rows that were skipped, if any."""
    if reading.first_skipped is not None:
        (kind, value), *_ = reading.first_skipped.items()
        warnings.warn(
            f"{path}: {counted(reading.skipped, 'bad row was', 'bad rows were')} skipped, the "
            f"first at {kind} {value}",
            stacklevel=3,
        )


def embeddings_of(table: TableLike) -> Embeddings:
    """The embeddings that a caller gives, or those of a file, as `read` gives them.

    Parameters
    ----------
    table : path, binary file object, Embeddings or AlignedEmbeddings
        Of `AlignedEmbeddings` counts, coverage and provenance stay.

    Raises
    ------
    FileError, FormatError
        As for `read`.
    TypeError
        It is something else.
    """
    if isinstance(table, Embeddings):
        return table
    if isinstance(table, HasEmbeddings):
        return table.to_embeddings()
    if isinstance(table, str | os.PathLike) or callable(getattr(table, "read", None)):
        return read(table)
    raise TypeError(
        "a table must be a path, an open binary file, Embeddings or AlignedEmbeddings, received "
        f"{type(table).__name__}{remedy_for(table)}"
    )
