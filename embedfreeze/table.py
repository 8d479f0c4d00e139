"""Table: a sealed matrix with its tokens, as a model holds it and writes it down."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import Any
from weakref import ReferenceType, ref

import numpy as np
import numpy.typing as npt

from embedfreeze import formats
from embedfreeze.align import AlignedEmbeddings
from embedfreeze.coverage import Coverage
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FrozenError
from embedfreeze.sealed import SealedMatrix
from embedfreeze.storage import dim_of
from embedfreeze.tablerecord import TableRecord
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = ["Table", "first_difference", "live_tables"]

_CHUNK_BYTES = 1 << 20


def first_difference(found: Any, original: npt.NDArray[Any]) -> int | None:
    """The first row whose bytes differ, or None; at most about 1 MiB is copied at a time.

    Parameters
    ----------
    found : array-like
        Sliceable [rows, dim], in memory or in a file; values are cast to the original's dtype.
    original : numpy.ndarray
        C-contiguous [rows, dim].
    """
    if isinstance(found, np.ndarray) and _same_memory(found, original):
        return None
    bits = f"u{original.itemsize}"
    rows = max(_CHUNK_BYTES // max(original.strides[0], 1), 1)
    for low, high in spans(0, len(original), rows):
        chunk = np.ascontiguousarray(found[low:high], dtype=original.dtype)
        different = (chunk.view(bits) != original[low:high].view(bits)).any(axis=1)
        if different.any():
            return low + int(different.argmax())
    return None


def _same_memory(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return (
        a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        and a.dtype == b.dtype
        and a.shape == b.shape
        and a.strides == b.strides
    )


@dataclass(frozen=True, eq=False)
class Table:
    """A sealed or watched matrix and, where it has rows of tokens, what they are.

    Parameters
    ----------
    sealed : SealedMatrix
        The matrix [rows, dim].
    shape : tuple of int
        How a variable sees it: [rows, dim], or [] for a scalar.
    embeddings : Embeddings or AlignedEmbeddings, optional
        Where the tokens are, and what can be saved.
    """

    sealed: SealedMatrix
    shape: tuple[int, ...]
    embeddings: Embeddings | AlignedEmbeddings | None = None

    @classmethod
    def of(cls, source: object) -> Table:
        """The table of what a frozen variable can be made from.

        Raises
        ------
        TypeError
            The source is something else, or embeddings that are not in sealed memory.
        """
        if isinstance(source, Table):
            return source
        if isinstance(source, SealedMatrix):
            return cls(source, source.array.shape)
        if isinstance(source, Embeddings | AlignedEmbeddings) and source.sealed is not None:
            return cls(source.sealed, source.sealed.array.shape, source)
        kind = type(source).__name__
        if isinstance(source, Embeddings):
            kind = f"Embeddings that are not in a store ({source.path or 'made in memory'})"
        raise TypeError(
            "a frozen table must be AlignedEmbeddings, or Embeddings read from a store, received "
            f"{kind}: load a file with embedfreeze.load(path, vocabulary), align embeddings with "
            "embedfreeze.align(e, vocabulary), or write them to a store and read that; seal a bare "
            "array with embedfreeze.sealed.seal_array"
        )

    @property
    def dtype(self) -> str:
        """How the rows are stored."""
        return self.sealed.array.dtype.name

    @property
    def dim(self) -> int:
        """Values in a row."""
        return dim_of(self.dtype, self.shape[1])

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary whose ids are the rows, where there is one."""
        return None if self.embeddings is None else self.embeddings.vocabulary

    @property
    def coverage(self) -> Coverage | None:
        """Which ids found a row, where that is known."""
        return None if self.embeddings is None else self.embeddings.coverage

    @property
    def tokens(self) -> Sequence[str] | None:
        """The tokens of the rows, where there are any."""
        return None if self.embeddings is None else self.embeddings.tokens

    @property
    def _special(self) -> dict[str, Any] | None:
        """All of the vocabulary but its tokens, of which a store may have millions."""
        if isinstance(self.embeddings, Embeddings):
            return self.embeddings.special
        return None if self.vocabulary is None else self.vocabulary.settings()

    @cached_property
    def padding_id(self) -> int | None:
        """The vocabulary's padding id, where there is one."""
        padding = None if self._special is None else self._special["padding"]
        if padding is None or self.embeddings is None:
            return None
        owner = self.embeddings
        index = owner.index if isinstance(owner, Embeddings) else owner.vocabulary.index
        return index(padding)

    @cached_property
    def open_rows(self) -> npt.NDArray[np.int64]:
        """Ids of special tokens, but for padding, and of tokens that no source gave a row.

        Raises
        ------
        FrozenError
            The table does not know its coverage.
        """
        stages = self._stages()
        if stages is None:
            raise FrozenError(
                "trainable_oov needs a table that knows which tokens found a row, received one "
                "without coverage: make it with embedfreeze.load or embedfreeze.align, keep it "
                "with its save(path), or name the rows as trainable_oov=[ids]"
            )
        ids = np.flatnonzero(stages < 0)
        return ids if self.padding_id is None else ids[ids != self.padding_id]

    def _stages(self) -> npt.NDArray[np.int8] | None:
        """The stage in which each row was found, below 0 if it was not."""
        if isinstance(self.embeddings, AlignedEmbeddings):
            coverage = self.embeddings.coverage
            return None if coverage is None else coverage.stage_of_id
        record = None if self.embeddings is None else self.embeddings.alignment.coverage
        return None if record is None else record.stages.max(axis=0)

    @property
    def store_path(self) -> str | None:
        """The store that holds the table, if one does."""
        return None if self.embeddings is None else self.sealed.path

    @cached_property
    def record(self) -> TableRecord:
        """What a saved model says about this table."""
        path = self.store_path
        return TableRecord(
            digest=self.sealed.digest,
            tokens_digest=_tokens_digest(self.embeddings),
            shape=list(self.shape),
            dtype=self.dtype,
            path=path,
            absolute_path=None if path is None else os.path.abspath(path),
            padding_id=self.padding_id,
            special=self._special,
        )

    def token(self, row: int | None) -> str | None:
        """The token of a row, if it has one."""
        return None if row is None or self.tokens is None else self.tokens[row]

    def save(self, path: str) -> None:
        """Write a store with the matrix as it is, the tokens, and what else is known of them.

        A splitter that is a callable of the user's is left out, and with it the vocabulary.

        Raises
        ------
        FrozenError
            There are no tokens.
        """
        if self.embeddings is None:
            raise FrozenError(
                "a table that is saved needs tokens, received a bare matrix: make it from "
                "AlignedEmbeddings, which have a vocabulary"
            )
        stored = self.embeddings
        if isinstance(stored, AlignedEmbeddings):
            stored = stored.to_embeddings()
        if self._special is None or self._special["splitter"] is None:
            stored = replace(stored, special=None)
        formats.write(stored, path, format="store", overwrite=True)


class LiveTables:
    """The tables that variables of this process hold, so that clones and loaded models share them.

    They are not kept alive, and no digest is computed before one is looked for.
    """

    def __init__(self) -> None:
        self._tables: list[ReferenceType[Table]] = []
        self._lock = Lock()

    def add(self, table: Table) -> None:
        """Take note of a table in use, as the last one."""
        with self._lock:
            self._tables = [one for one in self._tables if one() not in (None, table)]
            self._tables.append(ref(table))

    def find(self, record: TableRecord, *, in_store: bool) -> Table | None:
        """The table of a record that was noted last, if there is one; `in_store` in a store."""
        for one in reversed(self._tables):
            table = one()
            if table is None or (list(table.shape), table.dtype) != (record.shape, record.dtype):
                continue
            if (table.store_path is not None or not in_store) and table.record.key == record.key:
                return table
        return None

    def clear(self) -> None:
        """Forget them, as if this were another process."""
        self._tables = []

    def __len__(self) -> int:
        return sum(one() is not None for one in self._tables)


live_tables = LiveTables()


def _tokens_digest(embeddings: Embeddings | AlignedEmbeddings | None) -> str:
    if embeddings is None:
        return ""
    tokens = embeddings.tokens
    return (tokens if isinstance(tokens, Tokens) else Tokens.from_strings(tokens)).digest
