"""What every format module shares: options, batches of rows, and the row of the format table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import Any, Literal, SupportsIndex

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.embeddings import Alignment, Embeddings
from embedfreeze.errors import FormatError
from embedfreeze.files import SPOOL_LIMIT, Output, PathLike, Source, byte_count
from embedfreeze.files.containers import CONTAINERS
from embedfreeze.files.inputs import MAGIC_BYTES
from embedfreeze.files.tararchive import is_tar
from embedfreeze.formats.findings import Finding, Place, values_not_finite
from embedfreeze.sealed import SealedMatrix
from embedfreeze.threads import thread_count
from embedfreeze.tokens import Slots, Tokens, TokensBuilder, UnicodeErrors, not_utf8
from embedfreeze.vocabulary import Vocabulary

__all__ = [
    "Batch",
    "Format",
    "Place",
    "ReadOptions",
    "Reading",
    "Rows",
    "Writer",
    "index_buffers",
    "only_utf8",
    "refuse_packed_lines",
]

OnBadRow = Literal["error", "skip"]
OnDuplicate = Literal["first", "last", "error"]


@dataclass(frozen=True, eq=False)
class ReadOptions:
    """How to read a file.

    Parameters
    ----------
    limit : int, optional
        Read at most this many rows from the start of the file.
    dtype : {"float32", "float16", "bfloat16", "int8"}, optional
        How the rows are stored in memory; int8 with a scale per row, in four columns more. Default:
        float32, and for a store what it holds.
    unicode_errors : str
        "strict" refuses tokens that are not UTF-8; the others say how such tokens are shown.
    on_bad_row : {"error", "skip"}
        What to do with a row of text that is not a token and dim numbers.
    on_duplicate : {"first", "last", "error"}
        Which row of a repeated token is kept.
    threads : int, optional
        Default: the cores that this process may run on.
    tokens : str or os.PathLike, optional
        For formats that hold a matrix: what holds the tokens inside of the file (a dataset, a
        tensor, a column), or a file that lists them.
    seal : {"watch", "copy"}
        For a store: map the file and watch it, or seal a verified copy of it in memory.
    allow_pickle : bool
        Read formats that are Python pickles, which can run any code: only of files that you trust.
    spool_limit : int or str
        Bytes, or a text such as "8G": what may be unpacked into a temporary file, where a format
        cannot be read as a stream.
    wanted : Tokens, optional
        Only rows of these tokens (rows of a few others may come with them).
    """

    limit: int | None = None
    dtype: str | None = None
    unicode_errors: UnicodeErrors = "strict"
    on_bad_row: OnBadRow = "error"
    on_duplicate: OnDuplicate = "first"
    threads: int | None = None
    tokens: PathLike | None = None
    seal: Literal["watch", "copy"] = "watch"
    allow_pickle: bool = False
    spool_limit: int | str = SPOOL_LIMIT
    wanted: Tokens | None = None

    @classmethod
    def of(cls, caller: Any, options: dict[str, Any]) -> ReadOptions:
        """The options that a function was given by name, beside its own."""
        known = [item.name for item in fields(cls) if item.name != "wanted"]
        unknown = [name for name in options if name not in known]
        if unknown:
            own = ", ".join(caller.__kwdefaults__)
            raise TypeError(
                f"{caller.__name__} has no option {unknown[0]!r}; its own are {own}, and those of "
                f"reading are {', '.join(known)}"
            )
        return cls(**options)

    def __post_init__(self) -> None:
        choices: dict[str, tuple[str | None, ...]] = {
            "dtype": (None, *storage.DTYPES),
            "unicode_errors": (
                "strict",
                "replace",
                "ignore",
                "surrogateescape",
                "backslashreplace",
            ),
            "on_bad_row": ("error", "skip"),
            "on_duplicate": ("first", "last", "error"),
            "seal": ("watch", "copy"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(filter(None, allowed))}, received "
                    f"{getattr(self, name)!r}"
                )
        byte_count(self.spool_limit)
        for name in ("limit", "threads"):
            if not isinstance(number := getattr(self, name), SupportsIndex | None):
                raise TypeError(
                    f"{name} must be a whole number, received {number!r} of "
                    f"{type(number).__name__}: give an int"
                )
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"limit must not be negative, received {self.limit}")

    @property
    def rows_dtype(self) -> str:
        """What a reader makes of a file's values, before they are stored as `dtype` says."""
        return storage.working_dtype(self.dtype or "float32")

    @property
    def n_threads(self) -> int:
        return thread_count(self.threads)

    def limited(self, rows: int) -> int:
        """A number of rows, cut to the limit."""
        return rows if self.limit is None else min(rows, self.limit)


@dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive rows of a file.

    Attributes
    ----------
    tokens : Tokens
        n tokens, as the file spells them.
    matrix : numpy.ndarray
        Their rows, as stored: [n, dim], for int8 [n, dim + 4].
    position : int
        Bytes of the file on the disk that were consumed with this batch.
    place : callable
        Where row i of the batch stands in the file.
    skipped : int
        Bad rows that were left out.
    first_skipped : dict or None
        Where the first of them stands.
    findings : tuple of Finding
        What is odd about rows that are kept.
    """

    tokens: Tokens
    matrix: npt.NDArray[Any]
    position: int
    place: Callable[[int], Place]
    skipped: int = 0
    first_skipped: Place | None = None
    findings: tuple[Finding, ...] = ()

    def checked(self, path: str, *, finite: bool = False) -> Batch:
        """This batch if its tokens are UTF-8 or need not be; values not known as `finite` noted."""
        if self.tokens.unicode_errors == "strict":
            row = self.tokens.first_not_utf8()
            if row is not None:
                raise not_utf8(self.tokens.bytes_at(row), path=path, **self.place(row))
        if finite:
            return self
        found = values_not_finite(self.tokens, self.matrix, self.place)
        return replace(self, findings=self.findings + found) if found else self


@dataclass(eq=False)
class Reading:
    """An opened file of a known format, about to be read.

    Attributes
    ----------
    dim : int
        Values in a row.
    dtype : str
        How the rows in the batches are stored.
    rows : int or None
        Rows in the file (or up to the limit), where that is known before reading; never too few.
    batches : iterator of Batch
        Reads the file.
    allocate : callable
        Gives the array for so many rows of dim values that the next batch is read into.
    ready : Embeddings, optional
        The whole table, where the file can be mapped as it is.
    sealed : SealedMatrix, optional
        The memory of a store, whose digests can be compared.
    notes : list of str
        What is odd about the file.
    skipped : int
        Bad rows that were left out so far.
    first_skipped : dict or None
        Where the first of them stands.
    findings : dict of str to Finding
        What is odd about the rows that came so far.
    alignment : Alignment
        What a store says of how its rows came about.
    subwords : callable, optional
        Vectors of any tokens from their n-grams, float32 [n, dim]; zeros where there are none of a
        token. It may be called as long as the source is open.
    """

    dim: int
    dtype: str
    rows: int | None
    batches: Iterator[Batch] = field(default_factory=lambda: iter(()))
    allocate: Callable[[int, int, str], npt.NDArray[Any]] = storage.empty
    ready: Embeddings | None = None
    sealed: SealedMatrix | None = None
    notes: list[str] = field(default_factory=list)
    skipped: int = 0
    first_skipped: Place | None = None
    findings: dict[str, Finding] = field(default_factory=dict)
    alignment: Alignment = field(default_factory=Alignment)
    subwords: Callable[[Tokens], npt.NDArray[np.float32]] | None = None

    def close(self) -> None:
        """End the batches here and now: left to the garbage collector, their threads might be
        joined from inside of another thread's start, which never ends."""
        if isinstance(self.batches, Generator):
            self.batches.close()

    def counted(self, path: str) -> Iterator[Batch]:
        """The batches, while what they skip and find is added up; findings end in warnings."""
        for batch in self.batches:
            self.skipped += batch.skipped
            self.first_skipped = self.first_skipped or batch.first_skipped
            for found in batch.findings:
                earlier = self.findings.get(found.what)
                count = found.count + (earlier.count if earlier else 0)
                self.findings[found.what] = replace(earlier or found, count=count)
            yield batch
        for _, found in sorted(self.findings.items()):  # the same order whatever the batches
            self.warn(path, str(found))

    def warn(self, path: str, message: str) -> None:
        """Note something odd that was found while reading, and warn of it."""
        self.notes.append(message)
        warnings.warn(f"{path}: {message}", stacklevel=2)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows on their way into a file: what a writer takes.

    Attributes
    ----------
    dim : int
        Values in a row.
    dtype : str
        How they are stored.
    expected : int or None
        Number of rows, where it is known before they come; never too few.
    batches : iterable of Batch
        The rows.
    source : str or None
        Where they come from.
    vocabulary : Vocabulary, optional
        Whose ids are the rows.
    alignment : Alignment
        How the rows came about.
    index : TokensBuilder, optional
        The tokens of the batches that came so far, all different, where the giver collects them.
    """

    dim: int
    dtype: str
    expected: int | None
    batches: Iterable[Batch]
    source: str | None = None
    vocabulary: Vocabulary | None = None
    alignment: Alignment = field(default_factory=Alignment)
    index: TokensBuilder | None = None


def _refuse_none(tokens: Tokens, first: int) -> None:
    """There is no token that the format cannot hold."""


def only_utf8(holder: str) -> Callable[[Tokens, int], None]:
    """What `Writer.refuse` is where tokens must be UTF-8; messages say what holds them."""

    def refuse(tokens: Tokens, first: int) -> None:
        row = tokens.first_not_utf8()
        if row is not None:
            raise FormatError(
                f"{holder} cannot hold a token that is not UTF-8, received "
                f"{tokens.bytes_at(row)!r} as row {first + row}: write a store (.safetensors)"
            )

    return refuse


def refuse_packed_lines(tokens: Tokens) -> None:
    """Refuse a list of one token a line that readers would take for packed data."""
    lines = (tokens.bytes_at(row) + b"\n" for row in range(len(tokens)))
    head = b"".join(islice(lines, MAGIC_BYTES))[:MAGIC_BYTES]
    if is_tar(head) or any(head.startswith(container.starts) for container in CONTAINERS):
        raise FormatError(
            f"a list of one token a line must not begin as packed data does, received "
            f"{head[:8]!r}: write a store (.safetensors)"
        )


@dataclass(frozen=True, eq=False)
class Writer:
    """How a format is written.

    Attributes
    ----------
    suffixes : tuple of str
        File names that ask for the format.
    write : callable
        Writes rows as they come.
    refuse : callable
        `FormatError` for the first of some tokens that the format cannot hold; the number of their
        first row comes with them. It is asked before they are written.
    packable : bool
        May a target be compressed? Not one that is mapped, or that needs files beside it.
    folder : bool
        Is a target a folder?
    """

    suffixes: tuple[str, ...]
    write: Callable[[Rows, Output], None]
    refuse: Callable[[Tokens, int], None] = _refuse_none
    packable: bool = True
    folder: bool = False


@dataclass(frozen=True, eq=False)
class Format:
    """A row of the format table.

    Attributes
    ----------
    name : str
        As `format=` and ``--from`` take it.
    sniff : callable
        Does an opened file hold this format? Its content decides, not its name.
    read : callable
        Reads the header of an opened file; what it gives reads the rows.
    writer : Writer, optional
        A format without one can only be read.
    main : tuple of str
        Paths inside of a folder, of which one is the file that is opened when a folder of this
        format is named.
    parts : bool
        Does `member` choose among what a file holds, such as datasets?
    """

    name: str
    sniff: Callable[[Source], bool]
    read: Callable[[Source, ReadOptions], Reading]
    writer: Writer | None = None
    main: tuple[str, ...] = ()
    parts: bool = False


_NO_BLOB, _NO_OFFSETS, _NO_SLOTS = b"", np.zeros(1, np.int64), np.zeros(0, np.int32)


def index_buffers(wanted: Tokens | None) -> tuple[Any, npt.NDArray[np.int64], Slots]:
    """The three buffers of a token index, as the kernel takes it; empty ones filter nothing."""
    if wanted is None:
        return _NO_BLOB, _NO_OFFSETS, _NO_SLOTS
    return wanted.blob, wanted.offsets, wanted.slots
