"""Where rows come from when they are aligned: an embedding file, or embeddings in memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.aligning.matching import Lookup
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FileError
from embedfreeze.files import PathOrFile, name_of
from embedfreeze.formats import ReadOptions, open_reading, tracked, warn_of_skipped
from embedfreeze.formats.base import Place
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens

__all__ = ["EmbeddingsSource", "FileSource", "Opened", "Piece", "RowSource"]

PIECE_ROWS = 1 << 16


@dataclass(frozen=True)
class Piece:
    """Some rows of a source.

    Attributes
    ----------
    tokens : Tokens
        n tokens.
    matrix : numpy.ndarray
        [rows, dim]; it may hold other rows as well.
    rows : numpy.ndarray
        int64 [n]: the row of each token in `matrix`.
    place : callable
        Where row i of the piece stands in the file.
    """

    tokens: Tokens
    matrix: npt.NDArray[Any]
    rows: npt.NDArray[np.int64]
    place: Callable[[int], Place]


@dataclass(frozen=True)
class Opened:
    """A source whose rows can be gone through once.

    Attributes
    ----------
    dim, dtype
        Of the rows.
    pieces : iterator of Piece
        The rows.
    ready : Embeddings or None
        The whole of it, if it is mapped.
    provenance : dict
        How the rows of a store were made.
    """

    dim: int
    dtype: str
    pieces: Iterator[Piece]
    ready: Embeddings | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EmbeddingsSource:
    """Embeddings in memory or in a mapped store."""

    embeddings: Embeddings
    options: ReadOptions = field(default_factory=ReadOptions)

    @property
    def name(self) -> str:
        """For messages, and for the coverage."""
        return self.embeddings.path or "embeddings"

    @contextmanager
    def opened(self, lookups: Sequence[Lookup]) -> Iterator[Opened]:
        """The rows that the lookups may find."""
        e = self.embeddings
        pieces = iter([self._wanted(lookups[0])]) if len(lookups) == 1 else self._all()
        yield Opened(e.dim, str(e.matrix.dtype), pieces, e, e.provenance)

    def _wanted(self, lookup: Lookup) -> Piece:
        found = self.embeddings.tokens.find(lookup.keys)
        rows = np.sort(found[found >= 0]).astype(np.int64)
        return self._piece(self.embeddings.tokens.take(rows), rows)

    def _all(self) -> Iterator[Piece]:
        for low, high in spans(0, len(self.embeddings), PIECE_ROWS):
            yield self._piece(self.embeddings.tokens.part(low, high), np.arange(low, high))

    def _piece(self, tokens: Tokens, rows: npt.NDArray[np.int64]) -> Piece:
        return Piece(tokens, self.embeddings.matrix, rows, lambda i: {"row": int(rows[i])})

    def needed_again(self) -> None:
        """They can be gone through any number of times."""

    @property
    def tokens(self) -> Callable[[], Iterator[Tokens]]:
        """What gives all tokens. It holds no matrix."""
        tokens = self.embeddings.tokens
        return lambda: iter([tokens])


@dataclass(frozen=True)
class FileSource:
    """An embedding file, opened anew each time its rows are gone through."""

    path: PathOrFile
    options: ReadOptions
    format: str | None = None
    member: str | None = None

    @property
    def name(self) -> str:
        """For messages, and for the coverage."""
        return name_of(self.path)

    @contextmanager
    def opened(self, lookups: Sequence[Lookup]) -> Iterator[Opened]:
        """The rows that the lookups may find; those of other tokens are not parsed.

        Folded lookups need the tokens of all rows, which are then all parsed, and not kept.
        """
        wanted = lookups[0].keys if len(lookups) == 1 else None
        options = replace(self.options, wanted=wanted)
        source, _, reading = open_reading(
            self.path, options, format=self.format, member=self.member
        )
        with source:
            if source.input.again:
                source.needed_again()  # for `tokens`
            if reading.ready is not None:
                with EmbeddingsSource(reading.ready).opened(lookups) as opened:
                    yield opened
                return
            batches = tracked(source, reading, "load")
            pieces = (Piece(b.tokens, b.matrix, np.arange(len(b.tokens)), b.place) for b in batches)
            yield Opened(reading.dim, reading.dtype, pieces, None, reading.provenance)
            warn_of_skipped(source.name, reading)

    def needed_again(self) -> None:
        """`FileError` for a pipe: opened a second time it would wait for ever."""
        if _is_pipe(self.path):
            raise FileError("a pipe can be read once: write it to a file first", path=self.name)

    def tokens(self) -> Iterator[Tokens]:
        """All tokens, in another pass over the file."""
        self.needed_again()
        source, _, reading = open_reading(
            self.path, self.options, format=self.format, member=self.member
        )
        with source:
            source.needed_again()
            if reading.ready is not None:
                yield reading.ready.tokens
                return
            for batch in tracked(source, reading, "tokens"):
                yield batch.tokens


def _is_pipe(path: PathOrFile) -> bool:
    try:
        if not isinstance(path, str | os.PathLike):
            seekable = getattr(path, "seekable", None)
            return not (seekable and seekable())
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # not there, or closed: opening it says so
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


RowSource = FileSource | EmbeddingsSource
