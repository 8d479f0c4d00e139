"""Where a model that is being loaded finds its table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal

from embedfreeze import formats
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import EmbedFreezeError, FileError, FrozenError
from embedfreeze.table import Table, TableRecord, live_tables

__all__ = ["find_table", "open_table", "searching"]


@dataclass(frozen=True)
class Search:
    """Where a model that is being loaded looks for its table."""

    directory: str | None = None
    table: Table | None = None


_search: ContextVar[Search] = ContextVar("search", default=Search())  # noqa: B039


@contextmanager
def searching(directory: str, table: Table | None) -> Iterator[None]:
    """While a model is loaded: look in its directory too, or take the one table given."""
    token = _search.set(Search(directory, table))
    try:
        yield
    finally:
        _search.reset(token)


def find_table(record: TableRecord, *, in_files: bool) -> Table | None:
    """The table of a record: the one given, else one this process holds, else a store.

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
        The table given is another, or no store holds this one.
    """
    given = _search.get().table
    if given is not None:
        return _as_recorded(record, given)
    live = live_tables.get(record.key)
    if in_files and (live is None or live.store_path is None):
        return _find_in_files(record)
    return live


def _find_in_files(record: TableRecord) -> Table:
    reasons = []
    for path in _places(record):
        try:
            return open_table(record, path)
        except (EmbedFreezeError, OSError) as error:
            reasons.append(f"{path}: {error}")
    raise FrozenError(
        f"the model needs the store with the digest {record.digest}; looked at "
        + "; ".join(reasons)
        + ": give it with embedfreeze.load_model(path, table=...)"
    )


def _places(record: TableRecord) -> list[str]:
    """Where the store may be: as it was named, beside the model's file, where it was."""
    path, directory = record.path, _search.get().directory
    places = [path, record.absolute_path]
    if path is not None and directory is not None:
        beside = [os.path.join(directory, path), os.path.join(directory, os.path.basename(path))]
        places[1:1] = beside
    return list(dict.fromkeys(place for place in places if place is not None))


def open_table(
    record: TableRecord, path: str, *, seal: Literal["watch", "copy"] = "watch"
) -> Table:
    """The table of a store: watched in place, or a sealed copy of one that a model's file holds.

    Raises
    ------
    FrozenError
        It is another table.
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
    record.refuse_other(table)
    if isinstance(table.embeddings, Embeddings) and record.special is not None:
        table = Table.of(replace(table.embeddings, special=record.special))
        live_tables[record.key] = table  # the model's other layers over it will ask for it, too
    return table
