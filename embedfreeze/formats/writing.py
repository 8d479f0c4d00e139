"""The verb `write`, over the table of formats."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import BinaryIO

from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FileError, FormatError
from embedfreeze.files import (
    Output,
    PathLike,
    atomic_files,
    atomic_folder,
    name_of,
    split_packed,
    streamed_output,
)
from embedfreeze.formats.base import Batch, Format, Rows, Writer
from embedfreeze.formats.table import FORMATS
from embedfreeze.formats.verbs import TableLike, embeddings_of, format_named
from embedfreeze.threads import spans
from embedfreeze.vocabulary import Vocabulary

__all__ = ["check_store_name", "check_target", "write", "write_rows"]

WRITE_BATCH_BYTES = 16 << 20


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
    found = _written_as(suffix, name) if format is None else format_named(format)
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
        f"the name must end in one of {known} unless format= (of convert to_format=, --to) names "
        "the format",
        path=path,
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


def check_store_name(path: PathLike) -> None:
    """Refuse to write a table that was aligned under the name of another format.

    Raises
    ------
    FileError
        The name does not end as that of a store.
    """
    writer = FORMATS["store"].writer
    if writer is None or not name_of(path).lower().endswith(writer.suffixes):
        raise FileError(
            "an aligned table is written as a store: name it *.safetensors (convert it then)",
            path=name_of(path),
        )


def write(
    embeddings: TableLike,
    path: PathLike,
    *,
    format: str | None = None,
    overwrite: bool = False,
    vocabulary: Vocabulary | None = None,
) -> None:
    """Write embeddings to a file, which appears whole or not at all.

    Parameters
    ----------
    embeddings : Embeddings, AlignedEmbeddings, or path
        What to write; of a path the whole file is read into memory, which `convert` does not need.
    path : str or os.PathLike
        ``.gz .bz2 .xz .zst .zip`` behind the name compress.
    format : str, optional
        One of `FORMATS`; default: what the name asks for.
    overwrite : bool
        Replace a file that exists.
    vocabulary : Vocabulary, optional
        Kept in a store: the vocabulary whose ids are the rows. Default: that of a store, or of
        `AlignedEmbeddings`.

    Raises
    ------
    FileError
        The target exists or cannot be written.
    FormatError
        The format cannot hold a token.
    """
    check_target(path, format)
    embeddings = embeddings_of(embeddings)
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
