"""A corpus: texts in files of any of several formats, in a fixed order."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from embedfreeze.batch.lined import JsonLines, TextLines, TsvLines, line_parts
from embedfreeze.batch.parquet import ParquetRows, parquet_parts
from embedfreeze.batch.tables import CsvRows, header_like
from embedfreeze.batch.texts import BadRecords, Columns, OnBadRecord, Part, Texts
from embedfreeze.errors import FileError
from embedfreeze.files import PathLike, is_remote, open_source, split_packed

__all__ = ["CORPUS_FORMATS", "Corpus", "Reader"]


class Reader(Protocol):
    """What reads the records of a part, once.

    Attributes
    ----------
    bad : BadRecords
        Those that were left out so far.
    position : int
        Bytes on the disk that were read so far, of a file that is read as a stream.
    """

    bad: BadRecords
    position: int

    def __init__(self, part: Part, columns: Columns, bad: BadRecords) -> None: ...

    def __iter__(self) -> Iterator[Texts]: ...


@dataclass(frozen=True)
class _Kind:
    """How a format of corpora is read.

    Attributes
    ----------
    suffixes : tuple of str
        File names that stand for it.
    read : callable
        Reads the records of a part.
    parts : callable or None
        Cuts a plain file into parts; None for one that is read as a whole.
    """

    suffixes: tuple[str, ...]
    read: type[Reader]
    parts: Callable[[str, int, int | None], list[Part]] | None = None


CORPUS_FORMATS = {
    "text": _Kind((), TextLines, line_parts),
    "jsonl": _Kind((".jsonl", ".ndjson", ".json"), JsonLines, line_parts),
    "csv": _Kind((".csv",), CsvRows),
    "tsv": _Kind((".tsv",), TsvLines, line_parts),
    "parquet": _Kind((".parquet",), ParquetRows, parquet_parts),
}


@dataclass(frozen=True)
class Corpus:
    """Texts in files.

    Parameters
    ----------
    paths : tuple of str
        Files in order, each plain or packed (gz, bz2, xz, zst, a member of an archive).
    format : str, optional
        One of `CORPUS_FORMATS`. Default: by the name of each file, else a text on each line.
    columns : Columns
        Where a record has what.
    on_bad_record : {"error", "skip"}
        What to do with a record that holds no text: bytes that are not UTF-8, JSON that is broken,
        a row of another length.
    """

    paths: tuple[str, ...]
    format: str | None = None
    columns: Columns = field(default_factory=Columns)
    on_bad_record: OnBadRecord = "error"

    @classmethod
    def of(cls, paths: PathLike | Iterable[PathLike], **options: Any) -> Corpus:
        """The corpus of one or more files; a name may be a pattern, such as ``"news/*.txt.gz"``.

        Raises
        ------
        FileError
            A file or a match of a pattern is missing, or a folder is named.
        ValueError
            There is no such format, or no such way with bad records.
        """
        given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        found = [path for name in given for path in _matches(os.fspath(name))]
        return cls(tuple(found), **options)

    def __post_init__(self) -> None:
        for name, allowed in (
            ("format", (None, *CORPUS_FORMATS)),
            ("on_bad_record", ("error", "skip")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(filter(None, allowed))}, received "
                    f"{getattr(self, name)!r}"
                )
        if not self.paths:
            raise ValueError("a corpus must have a file, received none")

    def warn_of_header(self) -> None:
        """Warn where the first file of rows, read by places, may begin with names of columns."""
        columns = self.columns
        if columns.header is not None or columns.has_header:
            return
        for path in self.paths:
            delimiter = {CsvRows: ",", TsvLines: "\t"}.get(self._kind(path).read)
            if delimiter is not None and os.path.isfile(path) and os.path.getsize(path):
                with open_source(path) as source:
                    first = header_like(source.head, delimiter, columns.text)
                if first is not None:
                    warnings.warn(
                        f"{path}: the first row, {first}, is read as a record, and may be "
                        f"names of columns: say so with header= (--header, or --no-header)",
                        stacklevel=3,
                    )
                return

    def parts(self, part_bytes: int | None = None) -> list[Part]:
        """What is read by itself, in the order of the corpus; lines in parts of so many bytes.

        Raises
        ------
        FileError
            A file cannot be read.
        """
        return [part for path in self.paths for part in self._parts_of(path, part_bytes)]

    def _parts_of(self, path: str, part_bytes: int | None) -> list[Part]:
        if os.path.exists(path) and not os.path.isfile(path):
            raise FileError("is a pipe or a device, which can be read once: name files", path=path)
        if os.path.isfile(path) and not os.path.getsize(path):
            return []
        with open_source(path) as source:
            size, plain = source.size, source.container is None
        cut = self._kind(path).parts
        if cut is None or not plain or is_remote(path):
            return [Part(path, size=size)]
        return cut(path, size, part_bytes)

    def _kind(self, path: str) -> _Kind:
        if self.format is not None:
            return CORPUS_FORMATS[self.format]
        name = split_packed(path)[0].lower()
        found = (kind for kind in CORPUS_FORMATS.values() if name.endswith(kind.suffixes))
        return next((kind for kind in found if kind.suffixes), CORPUS_FORMATS["text"])

    def is_plain_lines(self, part: Part) -> bool:
        """Is each line a text as it is?"""
        return self._kind(part.path).read is TextLines

    def reader(self, part: Part) -> Reader:
        """What reads the records of a part."""
        bad = BadRecords(part.path, self.on_bad_record)
        return self._kind(part.path).read(part, self.columns, bad)


def _matches(name: str) -> list[str]:
    if is_remote(name) or os.path.lexists(name):
        if os.path.isdir(name):
            raise FileError(f"is a folder: name its files, as {name}/*.txt", path=name)
        return [name]
    found = sorted(path for path in glob.glob(name, recursive=True) if not os.path.isdir(path))
    if not found:
        raise FileError(
            "no such file, and no file that fits it as a pattern: name files of texts; texts in "
            "memory are written to one first",
            path=name,
        )
    return found
