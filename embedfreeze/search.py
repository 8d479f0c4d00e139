"""Where a model that is being loaded finds its table, and where one that is saved lies."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from embedfreeze import formats
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import EmbedFreezeError, FileError, TableNotFound
from embedfreeze.files import PathLike, open_source
from embedfreeze.formats.stores.header import read_layout
from embedfreeze.table import Table, live_tables
from embedfreeze.tablerecord import TableRecord

__all__ = [
    "SEARCH_PATH",
    "Search",
    "chosen_table",
    "find_store",
    "find_table",
    "given_tables",
    "open_table",
    "reference",
    "saving_in",
    "searching",
]

SEARCH_PATH = "EMBEDFREEZE_PATH"


@dataclass(frozen=True)
class Search:
    """Where a model that is being loaded looks for its tables.

    Attributes
    ----------
    directory : str or None
        The folder of the model's file.
    given : sequence of Table
        What was given in their place.
    folders : sequence of str
        Where stores may lie.
    """

    directory: str | None = None
    given: Sequence[Table] = ()
    folders: Sequence[str] = ()

    @classmethod
    def of(cls, path: PathLike, table: object, search: PathLike | Sequence[PathLike]) -> Search:
        """The search of a model's file, with the options of `embedfreeze.load_model`."""
        several = [search] if isinstance(search, str | os.PathLike) else search
        directory = os.path.dirname(os.path.abspath(path))
        return cls(directory, given_tables(table), [os.fspath(folder) for folder in several])


_search: ContextVar[Search] = ContextVar("search", default=Search())  # noqa: B039
_saving: ContextVar[str | None] = ContextVar("saving", default=None)


@contextmanager
def searching(search: Search) -> Iterator[None]:
    """While a model is loaded: look there for its tables."""
    token = _search.set(search)
    try:
        yield
    finally:
        _search.reset(token)


@contextmanager
def saving_in(folder: str) -> Iterator[None]:
    """While a model is saved: its file lies in that folder, so references start there."""
    token = _saving.set(folder)
    try:
        yield
    finally:
        _saving.reset(token)


def reference(record: TableRecord) -> TableRecord:
    """The record as the model that is being saved holds it."""
    folder = _saving.get()
    return record if folder is None else record.seen_from(folder)


def given_tables(table: object) -> list[Table]:
    """What was given as the table of a model, or the tables of one that has several.

    Raises
    ------
    FileError
        A path is not that of a file that can be read.
    TypeError
        It is neither a path nor embeddings, nor a sequence of them; or not in a store.
    """
    several = list(table) if isinstance(table, list | tuple) else [table]
    read = [
        formats.read(os.fspath(one)) if isinstance(one, str | os.PathLike) else one
        for one in several
        if one is not None
    ]
    return [Table.of(one) for one in read]


def find_table(record: TableRecord, *, in_files: bool) -> Table | None:
    """The table of a record: one of those given, else one this process holds, else a store.

    What a store should hold is not taken from a table of equal content that no store holds.

    Parameters
    ----------
    record : TableRecord
        What the model says.
    in_files : bool
        Whether a store holds the table; if not, None says that the model's own file does.

    Raises
    ------
    FrozenError
        The tables given are others; or `TableNotFound`, no store holds this one.
    """
    given = _search.get().given
    if given:
        return chosen_table(record, given)
    live = live_tables.find(record, in_store=in_files)
    return find_store(record, _search.get()) if live is None and in_files else live


def chosen_table(record: TableRecord, given: Sequence[Table]) -> Table:
    """The table of a record among those given.

    Raises
    ------
    FrozenError
        None is.
    """
    record.refuse_others([table.record for table in given])
    names = record.digest, record.tokens_digest
    fitting = (t for t in given if (t.record.digest, t.record.tokens_digest) == names)
    return _as_recorded(record, next(fitting))


def find_store(record: TableRecord, search: Search) -> Table:
    """The table of a record in the first store that holds it.

    Raises
    ------
    TableNotFound
        No place that is looked at has it; with each place and the reason.
    """
    reasons = []
    for path in chain(_places(record, search), _renamed(record, search)):
        if not os.path.isfile(path):  # a pipe, which anyone may name in a model, would wait
            reasons.append(f"{path}: no such file")
            continue
        try:
            return open_table(record, path)
        except (EmbedFreezeError, OSError) as error:
            said = str(error)
            reasons.append(said if path in said else f"{path}: {said}")
    raise TableNotFound(
        f"the model needs the store with the digest {record.digest}; looked at "
        + "; ".join(dict.fromkeys(reasons) or ["no place, as none is recorded"])
        + ": give it with embedfreeze.load_model(path, table=...), or its folder with search=[...] "
        f"or the environment variable {SEARCH_PATH}; on the command line, with --table or --search"
    )


def _places(record: TableRecord, search: Search) -> list[str]:
    """Where the store may be: seen from the model's file, beside it, in a folder, where it was."""
    path, beside = record.path, search.directory or os.curdir
    folders = [beside, *_folders(search)]
    places = []
    if path is not None:
        if not os.path.isabs(path):
            places.append(os.path.join(os.path.realpath(beside), path))
        places += [os.path.join(folder, os.path.basename(path)) for folder in folders]
    places += [place for place in (path, record.absolute_path) if place is not None]
    return list(dict.fromkeys(map(os.path.abspath, places)))


def _folders(search: Search) -> list[str]:
    more = os.environ.get(SEARCH_PATH, "").split(os.pathsep)
    return [*search.folders, *(folder for folder in more if folder)]


def _renamed(record: TableRecord, search: Search) -> Iterator[str]:
    """The stores in the folders of the search, under any name, whose header has the digest."""
    for folder in _folders(search):
        for path in sorted(Path(folder).absolute().glob("*.safetensors")):
            if path.is_file() and _recorded_digest(path) == record.digest:
                yield str(path)


def _recorded_digest(path: Path) -> str | None:
    with suppress(EmbedFreezeError, OSError), open_source(path) as source:
        if source.buffer is not None:
            return read_layout(source, source.buffer).metadata.get("digest")
    return None


def open_table(
    record: TableRecord, path: str, *, seal: Literal["watch", "copy"] = "watch"
) -> Table:
    """The table of a store: watched in place, or a sealed copy of one that a model's file holds.

    Raises
    ------
    FrozenError
        It is another table.
    FrozenBytesChanged
        Of a sealed copy: the bytes do not have their recorded digest.
    FileError
        It is no store, or cannot be opened.
    """
    stored = formats.read(path, seal=seal)
    if stored.sealed is None:
        raise FileError("a table must be a store, received another format", path=path)
    if seal == "copy":  # of a file that is gone when the model is loaded
        stored.sealed.path = None
    return _as_recorded(record, Table.of(stored))


def _as_recorded(record: TableRecord, table: Table) -> Table:
    """A table of equal content with the vocabulary that the model was saved with."""
    record.refuse_others([table.record])
    if isinstance(table.embeddings, Embeddings) and record.special is not None:
        return Table.of(replace(table.embeddings, special=record.special))
    return table
