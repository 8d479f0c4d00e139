"""Where rows come from when they are aligned: an embedding file, or embeddings in memory."""

from __future__ import annotations

import contextlib
import os
import stat
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.aligning.matching import Lookup
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import FileError, FormatError, reason
from embedfreeze.files import PathOrFile, Source, is_remote, name_of
from embedfreeze.formats import Batch, ReadOptions, open_reading, tracked, warn_of_skipped
from embedfreeze.formats.base import Place, Reading
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens

__all__ = ["EmbeddingsSource", "FileSource", "Opened", "Piece", "RowSource", "no_subwords"]

Int64 = npt.NDArray[np.int64]
PIECE_ROWS = 1 << 16
DECODED_BYTES = 16 << 20  # of a piece whose rows are decoded


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class Opened:
    """A source whose rows can be gone through once.

    Attributes
    ----------
    dim, dtype
        Of the rows: float32 or float16.
    pieces : iterator of Piece
        The rows.
    ready : Embeddings or None
        The whole of it, if it is mapped.
    provenance : dict
        How the rows of a store were made.
    has_subwords : callable
        Has the source vectors for any token, from its n-grams?
    """

    dim: int
    dtype: str
    pieces: Iterator[Piece]
    ready: Embeddings | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    has_subwords: Callable[[], bool] = lambda: False


TokensReader = Callable[[], Iterator[Tokens]]


def no_subwords(name: str) -> FormatError:
    """The error of sources that have no n-grams."""
    return FormatError(
        'oov="subword" needs a file with vectors of n-grams: a fastText model (.bin, .ftz), a '
        "spaCy vectors folder in floret mode, or a finalfusion file with subwords; received none: "
        "name such a file, or choose another oov= (--oov)",
        path=name,
    )


@dataclass(frozen=True, eq=False)
class EmbeddingsSource:
    """Embeddings in memory or in a mapped store; those of bfloat16 and int8 are decoded."""

    embeddings: Embeddings
    options: ReadOptions = field(default_factory=ReadOptions)

    @property
    def name(self) -> str:
        """For messages, and for the coverage."""
        return self.embeddings.path or "embeddings"

    @contextmanager
    def opened(self, lookups: Sequence[Lookup]) -> Iterator[Opened]:
        """The rows that the lookups may find. What a store's maker filled in is none of them."""
        e = self.embeddings
        found = e.tokens.find(lookups[0].keys) if len(lookups) == 1 else None
        rows = None if found is None else np.sort(found[found >= 0]).astype(np.int64)
        pieces = map(self._piece, self._portions(rows))
        yield Opened(e.dim, self._dtype, pieces, e, e.provenance, self.has_subwords)

    @property
    def _dtype(self) -> str:
        return storage.working_dtype(self.options.dtype or self.embeddings.dtype)

    def _portions(self, chosen: Int64 | None = None) -> Iterator[Int64]:
        """The rows that tokens may find, of all or of those chosen."""
        e = self.embeddings
        step = PIECE_ROWS if chosen is None else max(1, len(chosen))
        if self._dtype != e.dtype:
            step = max(1, min(step, DECODED_BYTES // (4 * max(1, e.dim))))
        for low, high in spans(0, len(e) if chosen is None else len(chosen), step):
            rows = np.arange(low, high) if chosen is None else chosen[low:high]
            yield rows if e.alignment.filled is None else rows[~e.alignment.filled[rows]]

    def _piece(self, rows: Int64) -> Piece:
        e, places = self.embeddings, rows
        matrix = e.matrix
        if self._dtype != e.dtype:

            def refuse(i: int, rule: str) -> FormatError:
                return e.refuse_row(int(rows[i]), rule)

            matrix = storage.converted(matrix[rows], self._dtype, refuse=refuse)
            places = np.arange(len(rows))
        return Piece(e.tokens.take(rows), matrix, places, lambda i: {"row": int(rows[i])})

    def needed_again(self) -> None:
        """They can be gone through any number of times."""

    def tokens(self) -> Iterator[Tokens]:
        """The tokens of all rows."""
        return map(self.embeddings.tokens.take, self._portions())

    def has_subwords(self) -> bool:
        """Has the file that they were read from vectors of n-grams?"""
        return os.path.isfile(self.name) and FileSource(self.name, self.options).has_subwords()

    def subword_rows(self, tokens: Tokens) -> npt.NDArray[np.float32]:
        """As of a `FileSource`: the file that they were read from is opened once more."""
        return FileSource(self.name, self.options).subword_rows(tokens)

    def reader(self) -> TokensReader:
        """What gives the tokens later. It keeps no matrix alive: a file is opened anew."""
        kept, name = weakref.ref(self.embeddings), self.name
        if not os.path.isfile(name):
            spelled = self.embeddings.tokens
            return lambda: iter([spelled])
        again = FileSource(name, self.options).reader()

        def tokens() -> Iterator[Tokens]:
            e = kept()
            return again() if e is None else EmbeddingsSource(e).tokens()

        return tokens


class FileSource:
    """An embedding file, opened anew each time its rows are gone through.

    Parameters
    ----------
    path : str, os.PathLike or binary file object
        Where it is; a file object is read from where it stands now.
    options : ReadOptions
        How to read it.
    format, member : str, optional
        As for `read`.
    """

    def __init__(
        self,
        path: PathOrFile,
        options: ReadOptions,
        format: str | None = None,
        member: str | None = None,
    ) -> None:
        self.path, self.options = path, options
        self.format, self.member = format, member
        self.name = name_of(path)
        self._anchor = _anchor(path)

    def _open(self, options: ReadOptions) -> tuple[Source, Reading]:
        """Rows that are encoded at the end come as the file has them, a store's as it is."""
        if options.dtype in storage.ENCODED:
            options = replace(options, dtype=None)
        source, _, reading = open_reading(
            self.path, options, format=self.format, member=self.member
        )
        return source, reading

    @contextmanager
    def opened(self, lookups: Sequence[Lookup]) -> Iterator[Opened]:
        """The rows that the lookups may find; those of other tokens are not parsed.

        Folded lookups need the tokens of all rows, which are then all parsed, and not kept.
        """
        wanted = lookups[0].keys if len(lookups) == 1 else None
        source, reading = self._open(replace(self.options, wanted=wanted))
        with source:
            if source.input.again:
                source.needed_again()  # for `tokens`
            if reading.ready is not None:
                with EmbeddingsSource(reading.ready, self.options).opened(lookups) as opened:
                    yield opened
                return
            dtype = storage.working_dtype(self.options.dtype or reading.dtype)
            pieces = _pieces(source, reading, "load", dtype)
            made, found = reading.alignment.provenance, reading.subwords is not None
            yield Opened(reading.dim, dtype, pieces, None, made, lambda: found)
            warn_of_skipped(source.name, reading)

    def needed_again(self) -> None:
        """`FileError` for a pipe: opened a second time it would wait for ever."""
        if _is_pipe(self.path):
            raise FileError("a pipe can be read once: write it to a file first", path=self.name)

    def tokens(self) -> Iterator[Tokens]:
        """The tokens of all rows, in another pass over the file."""
        self.needed_again()
        source, reading = self._open(self.options)
        with source:
            source.needed_again()
            if reading.ready is not None:
                yield from EmbeddingsSource(reading.ready).tokens()
                return
            for piece in _pieces(source, reading, "tokens", reading.dtype):
                yield piece.tokens

    def has_subwords(self) -> bool:
        """Has the file vectors of n-grams? Its header is read anew."""
        source, reading = self._open(self.options)
        with source:
            return reading.subwords is not None

    def subword_rows(self, tokens: Tokens) -> npt.NDArray[np.float32]:
        """Vectors of any tokens from the file's n-grams, [n, dim]; zeros where there are none.

        Raises
        ------
        FormatError
            The file has no n-grams.
        """
        self.needed_again()
        source, reading = self._open(self.options)
        with source:
            source.needed_again()
            if reading.subwords is None:
                raise no_subwords(self.name)
            parts = spans(0, len(tokens), max(1, DECODED_BYTES // (4 * reading.dim)))
            rows = [reading.subwords(tokens.part(low, high)) for low, high in parts]
        return np.concatenate([np.empty((0, reading.dim), np.float32), *rows])

    def reader(self) -> TokensReader:
        """What gives the tokens later, if the file is still the same. It keeps no file alive."""
        anchor, options = self._anchor, (self.options, self.format, self.member)

        def tokens() -> Iterator[Tokens]:
            with anchor.found() as path:
                yield from FileSource(path, *options).tokens()

        return tokens


def _pieces(source: Source, reading: Reading, what: str, dtype: str) -> Iterator[Piece]:
    """The rows of a file as they come, without those that a store's maker filled in."""
    filled, low = reading.alignment.filled, 0
    for batch in tracked(source, reading, what):
        matrix = storage.converted(batch.matrix, dtype)
        if filled is None:
            yield Piece(batch.tokens, matrix, np.arange(len(batch.tokens)), batch.place)
            continue
        rows = np.flatnonzero(~filled[low : low + len(batch.tokens)])
        low += len(batch.tokens)
        yield Piece(batch.tokens.take(rows), matrix, rows, _place_of(batch, rows))


def _place_of(batch: Batch, rows: npt.NDArray[np.int64]) -> Callable[[int], Place]:
    return lambda i: batch.place(int(rows[i]))


@dataclass(frozen=True)
class _PathAnchor:
    """A file by its path, and what it was when it was first looked at."""

    path: str
    identity: tuple[int, ...] | None

    @contextmanager
    def found(self) -> Iterator[PathOrFile]:
        if self.identity is not None and _identity(self.path) not in (None, self.identity):
            raise FileError("was changed since it was loaded: load it again", path=self.path)
        yield self.path


@dataclass(frozen=True)
class _FileAnchor:
    """A file object of the caller's, and where it stood."""

    file: Callable[[], Any]
    name: str
    start: int | None

    @contextmanager
    def found(self) -> Iterator[PathOrFile]:
        file = self.file()
        if file is None or self.start is None:
            raise FileError(
                "the file object is gone or cannot seek: ask while it is there", path=self.name
            )
        try:
            before = file.tell()
            file.seek(self.start)
        except (OSError, ValueError) as error:
            raise FileError(f"cannot be read again: {reason(error)}", path=self.name) from error
        try:
            yield file
        finally:
            file.seek(before)


def _anchor(path: PathOrFile) -> _PathAnchor | _FileAnchor:
    if isinstance(path, str | os.PathLike):
        place = os.fsdecode(path)
        place = place if is_remote(place) else os.path.abspath(place)
        return _PathAnchor(place, _identity(place))
    start = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        start = path.tell() if path.seekable() else None  # type: ignore[attr-defined]
    try:
        return _FileAnchor(weakref.ref(path), name_of(path), start)
    except TypeError:  # it cannot be referred to so, and is not worth keeping
        return _FileAnchor(lambda: None, name_of(path), None)


def _identity(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


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
