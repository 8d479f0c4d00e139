"""The verbs `read` and `write`, over the table of formats."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FileError, FormatError
from embedfreeze.files import (
    Output,
    PathLike,
    PathOrFile,
    Source,
    atomic_files,
    atomic_folder,
    byte_count,
    name_of,
    open_source,
    split_packed,
    streamed_output,
)
from embedfreeze.formats.base import Batch, Format, Reading, ReadOptions, Rows, Writer
from embedfreeze.formats.duplicates import Duplicates, without_rows
from embedfreeze.formats.encoding import encoded
from embedfreeze.formats.folders import main_file
from embedfreeze.formats.progress import tracked
from embedfreeze.formats.table import FORMATS
from embedfreeze.plainlines import counted
from embedfreeze.threads import spans
from embedfreeze.tokens import UnicodeErrors
from embedfreeze.vocabulary import Vocabulary

__all__ = [
    "check_target",
    "open_reading",
    "read",
    "warn_of_skipped",
    "write",
    "write_rows",
]

WRITE_BATCH_BYTES = 16 << 20


def _named(name: str) -> Format:
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
        named = None if format is None else _named(format)
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
    chosen = ReadOptions.of("read", options)
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


def check_target(path: PathLike | BinaryIO, format: str | None = None) -> str:
    """The name of the format to write a file in: the one named, or that of the file's name.

    Raises
    ------
    FileError
        The file's name asks for none, the format cannot be written, or it cannot be compressed.
    """
    return _target(path, format)[0]


def _target(path: PathLike | BinaryIO, format: str | None) -> tuple[str, Writer]:
    name = name_of(path)
    plain, packed = split_packed(name)
    suffix = os.path.splitext(plain.lower())[1]
    found = _written_as(suffix, name) if format is None else _named(format)
    if found.writer is None:
        written = ", ".join(n for n, f in FORMATS.items() if f.writer is not None)
        raise FileError(
            f"{found.name} files can be read, not written: choose one of {written}", path=name
        )
    if packed and not found.writer.packable:
        raise FileError(f"a {found.name} target cannot be compressed: drop the suffix", path=name)
    return found.name, found.writer


def _written_as(suffix: str, path: str) -> Format:
    writers = {f: f.writer for f in FORMATS.values() if f.writer is not None}
    for found, writer in writers.items():
        if suffix in writer.suffixes:
            return found
    known = ", ".join(f"{s} ({f.name})" for f, writer in writers.items() for s in writer.suffixes)
    raise FileError(
        f"the name must end in one of {known} unless format= (--to) names the format", path=path
    )


def write_rows(
    rows: Rows, path: PathLike | BinaryIO, *, format: str | None = None, overwrite: bool = False
) -> None:
    """Write rows as they come; the target appears whole or not at all."""
    _, writer = _target(path, format)
    with _output(writer, path, overwrite) as output, _naming(path):
        writer.write(replace(rows, batches=_holdable(writer, rows.batches)), output)


def _output(
    writer: Writer, path: PathLike | BinaryIO, overwrite: bool
) -> contextlib.AbstractContextManager[Output]:
    if isinstance(path, str | os.PathLike):
        target = atomic_folder if writer.folder else atomic_files
        return target(path, overwrite=overwrite)
    if writer.folder:
        raise FileError("this format is a folder: name one", path=name_of(path))
    return streamed_output(path)


@contextlib.contextmanager
def _naming(path: PathLike | BinaryIO) -> Iterator[None]:
    """An error that names no file is one of the target's."""
    try:
        yield
    except FormatError as error:
        if error.path is not None:  # it is the source that is bad
            raise
        raise FormatError(str(error), path=name_of(path)) from None


def _holdable(writer: Writer, batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches, whose tokens a format is asked about before they are written."""
    first = 0
    for batch in batches:
        writer.refuse(batch.tokens, first)
        first += len(batch.tokens)
        yield batch


def write(
    embeddings: Embeddings,
    path: PathLike,
    *,
    format: str | None = None,
    overwrite: bool = False,
    vocabulary: Vocabulary | None = None,
) -> None:
    """Write embeddings to a file, which appears whole or not at all.

    Parameters
    ----------
    embeddings : Embeddings
        What to write.
    path : str or os.PathLike
        ``.gz .bz2 .xz .zst .zip`` behind the name compress.
    format : str, optional
        One of `FORMATS`; default: what the name asks for.
    overwrite : bool
        Replace a file that exists.
    vocabulary : Vocabulary, optional
        Kept in a store: the vocabulary whose ids are the rows.

    Raises
    ------
    FileError
        The target exists or cannot be written.
    FormatError
        The format cannot hold a token.
    """
    if not len(embeddings):
        raise FormatError("a file must have rows, received none to write", path=name_of(path))
    with _naming(path):
        _target(path, format)[1].refuse(embeddings.tokens, 0)
    rows = Rows(
        embeddings.dim,
        embeddings.dtype,
        len(embeddings),
        _parts(embeddings),
        None if embeddings.path is None else os.path.basename(embeddings.path),
        vocabulary or embeddings.vocabulary,
        embeddings.alignment,
    )
    write_rows(rows, path, format=format, overwrite=overwrite)


def _parts(embeddings: Embeddings) -> Iterator[Batch]:
    step = max(1, WRITE_BATCH_BYTES // max(1, 4 * embeddings.dim))
    for low, high in spans(0, len(embeddings), step):
        tokens = embeddings.tokens.part(low, high)
        yield Batch(tokens, embeddings.matrix[low:high], high, lambda row: {"row": row})
