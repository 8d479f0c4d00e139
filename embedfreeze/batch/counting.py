"""How often each token occurs in a corpus: exactly, in bounded memory whatever its rare ones."""

from __future__ import annotations

import heapq
import os
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice, takewhile
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from embedfreeze.batch.corpus import Corpus
from embedfreeze.batch.processes import process_count, process_imap
from embedfreeze.batch.progress import tracked
from embedfreeze.batch.tally import Tally, TextCounter, in_order, items_of
from embedfreeze.batch.texts import Columns, OnBadRecord, Part
from embedfreeze.errors import VocabularyError
from embedfreeze.files import PathLike, open_source
from embedfreeze.splitters import DEFAULT_SPLITTER, SplitterLike, byte_table
from embedfreeze.threads import spans, thread_imap
from embedfreeze.tokens import Tokens

__all__ = ["CorpusCounts", "count_corpus"]

MOST_TOKENS = 3_000_000  # different ones in memory
RUN_TOKENS = 1 << 9  # that are written and read at a time, of each file
MOST_FILES = 100  # that are merged at once
ASCII, MOST_OTHERS = 128, 0.1  # bytes of other characters, as a share of the start of a corpus
Counted = tuple[str, int]


class CorpusCounts(Mapping[str, int]):
    """Tokens of a corpus and how often they occur, by falling count, equal counts in order.

    Parameters
    ----------
    counts : iterable of (str, int)
        In that order.

    Attributes
    ----------
    n_texts : int
        Records that were counted.
    n_tokens : int
        Occurrences of all tokens, of rare ones too.
    n_types : int
        Different tokens, rare ones too.
    skipped : int
        Bad records that were left out.
    first_skipped : str or None
        What was wrong with the first of them.
    """

    def __init__(
        self,
        counts: Iterable[Counted],
        n_texts: int,
        n_tokens: int,
        n_types: int,
        skipped: int = 0,
        first_skipped: str | None = None,
    ) -> None:
        self._counts = dict(counts)
        self.n_texts: int = n_texts
        self.n_tokens: int = n_tokens
        self.n_types: int = n_types
        self.skipped: int = skipped
        self.first_skipped: str | None = first_skipped

    def __getitem__(self, token: str) -> int:
        return self._counts[token]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __repr__(self) -> str:
        return (
            f"CorpusCounts({len(self):,} of {self.n_types:,} tokens, which occur "
            f"{self.n_tokens:,} times in {self.n_texts:,} texts)"
        )


@dataclass
class _Seen:
    """How many texts there were, and what was left out."""

    n_texts: int = 0
    skipped: int = 0
    first_skipped: str | None = None

    def add(self, other: _Seen) -> None:
        """What was seen behind it."""
        self.n_texts += other.n_texts
        self.skipped += other.skipped
        self.first_skipped = self.first_skipped or other.first_skipped


@dataclass
class _Counted:
    """What was counted, ready to be sent."""

    blob: bytes
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    files: list[str]


class _Totals:
    """Counts that are added up in memory, and beyond `most` tokens in sorted files of a folder."""

    def __init__(self, splitter: SplitterLike, most: int, folder: str) -> None:
        self.most, self.folder = most, folder
        self.tally, self.counter = Tally(), TextCounter(splitter)
        self.files: list[str] = []
        self.is_wanted = True  # another thread may no longer

    def count(self, corpus: Corpus, part: Part) -> _Seen:
        """Count the texts of a part."""
        seen, reader = _Seen(), corpus.reader(part)
        for batch in takewhile(lambda _: self.is_wanted, reader):
            seen.n_texts += len(batch.texts)
            self.counter.count(batch.texts, self.tally)
            self._bound()
        seen.skipped, seen.first_skipped = reader.bad.count, reader.bad.first
        return seen

    def add(self, other: _Counted) -> None:
        """Add what was counted elsewhere."""
        self.files += other.files
        self.tally.add_tokens(Tokens(other.blob, other.offsets), other.counts)
        self._bound()

    def counted(self) -> _Counted:
        """All of it, ready to be sent."""
        tokens, counts = self.tally.taken()
        return _Counted(bytes(tokens.blob), tokens.offsets, counts, self.files)

    def _bound(self) -> None:
        if len(self.tally) > self.most:
            self.files.append(_written(_sorted(*self.tally.taken()), self.folder))
        if len(self.files) > MOST_FILES:
            merged = _written(_added(map(_read, self.files)), self.folder)
            for file in self.files:
                os.unlink(file)
            self.files = [merged]


def count_corpus(
    paths: PathLike | Iterable[PathLike],
    *,
    format: str | None = None,
    column: str | int | None = None,
    header: bool | None = None,
    splitter: SplitterLike = DEFAULT_SPLITTER,
    min_count: int = 1,
    max_size: int | None = None,
    on_bad_record: OnBadRecord = "error",
    processes: int | None = None,
    most_tokens: int = MOST_TOKENS,
) -> CorpusCounts:
    r"""Count how often each token occurs in the texts of files.

    Parameters
    ----------
    paths : path or iterable of paths
        Files, plain or packed (gz, bz2, xz, zst, an archive of one member), or patterns such as
        ``"news/*.txt.gz"``, whose matches are read in the order of their names.
    format : {"text", "jsonl", "csv", "tsv", "parquet"}, optional
        Default: by the name of each file, else a text on each line. Lines end at ``\n`` (one
        ``\r`` before it belongs to the line end).
    column : str or int, optional
        Where a record has its text: the name in an object of JSON, or a column by name or by place
        from 0. Default: "text", or the only column.
    header : bool, optional
        Do CSV and TSV files begin with names of columns? Default: yes, unless `column` is a place.
    splitter : Splitter or callable
        Cuts a text into tokens. A callable is sent to the other processes.
    min_count : int
        Rarer tokens are left out.
    max_size : int, optional
        Largest number of tokens.
    on_bad_record : {"error", "skip"}
        What to do with a record that holds no text: bytes that are not UTF-8, broken JSON, a row of
        another length.
    processes : int, optional
        Default: the cores that this process may run on. Lines of text, most of it ASCII, are
        counted by threads of this process where the kernel can cut as the splitter does (a
        `Splitter` at white space, without n-grams).
    most_tokens : int
        So many different tokens are held in memory, by each of them (about 50 bytes a token, and
        as many again while they are sorted). More are written to temporary files, sorted, and
        merged at the end: the counts are the same. The tokens that are kept take about 150 bytes.

    Returns
    -------
    CorpusCounts
        A mapping for `Vocabulary.from_counts`.

    Raises
    ------
    FileError
        A file is missing or cannot be read.
    FormatError
        A file is not what its format asks for, or a record is bad.
    VocabularyError
        There is no text at all.

    Warns
    -----
    UserWarning
        Bad records were left out.

    Examples
    --------
    >>> counts = count_corpus("data/sentences.tsv", min_count=2)
    >>> counts["good"], len(counts), counts.n_types, counts.n_texts
    (226, 2208, 5400, 3000)
    """
    columns = Columns(column, header=header)
    corpus = Corpus.of(paths, format=format, columns=columns, on_bad_record=on_bad_record)
    corpus.warn_of_header()
    parts = corpus.parts()
    n_workers = min(process_count(processes), max(1, len(parts)))
    with tempfile.TemporaryDirectory(prefix="embedfreeze-") as folder:
        totals, seen = partial(_Totals, splitter, most_tokens, folder), _Seen()
        if n_workers == 1 or _kernel_counts(corpus, parts, splitter):
            counts, found = _count_in_threads(totals, corpus, parts, n_workers)
        else:
            counts, found = _count_in_processes(totals, corpus, parts, n_workers)
        for of_part in tracked(parts, found, "count"):
            seen.add(of_part)
        if not seen.n_texts:
            raise VocabularyError(
                f"a corpus must have texts, received none in {', '.join(corpus.paths)}"
            )
        if seen.first_skipped is not None:
            warnings.warn(
                f"{seen.skipped} bad records were left out, the first: {seen.first_skipped}",
                stacklevel=2,
            )
        return _ranked(counts, seen, min_count, max_size)


def _kernel_counts(corpus: Corpus, parts: Sequence[Part], splitter: SplitterLike) -> bool:
    """Is most of the work the kernel's, which several threads may do at a time?

    That is so for lines of text, most of it ASCII.
    """
    if byte_table(splitter) is None or not all(map(corpus.is_plain_lines, parts)):
        return False
    with open_source(parts[0].path) as source:
        head = np.frombuffer(source.head, np.uint8)
    return bool(np.count_nonzero(head >= ASCII) <= MOST_OTHERS * len(head))


Found = tuple[list[_Totals], Iterator[_Seen]]


def _count_in_threads(
    totals: Callable[[], _Totals], corpus: Corpus, parts: Sequence[Part], threads: int
) -> Found:
    """Counts of each thread, once what was seen in each part was gone through."""
    counts = [totals() for _ in range(threads)]
    free = counts.copy()  # taken and given back without the GIL being given up

    def work(part: Part) -> _Seen:
        own = free.pop()
        try:
            return own.count(corpus, part)
        finally:
            free.append(own)

    def stop() -> None:
        for own in counts:
            own.is_wanted = False

    return counts, thread_imap(work, parts, threads, stop=stop)


def _count_in_processes(
    totals: Callable[[], _Totals], corpus: Corpus, parts: Sequence[Part], processes: int
) -> Found:
    """The counts of all parts, once what was seen in each was gone through."""
    counts = totals()

    def seen() -> Iterator[_Seen]:
        work = partial(_count_part, totals, replace(corpus, paths=corpus.paths[:1]))
        for of_part, counted in process_imap(work, parts, processes):
            counts.add(counted)
            yield of_part

    return [counts], seen()


def _count_part(
    totals: Callable[[], _Totals], corpus: Corpus, part: Part
) -> tuple[_Seen, _Counted]:
    counts = totals()
    return counts.count(corpus, part), counts.counted()


def _ranked(
    found: list[_Totals], seen: _Seen, min_count: int, max_size: int | None
) -> CorpusCounts:
    totals, *others = found
    while others:
        totals.add(others.pop().counted())
    tokens, counts = totals.tally.taken()
    kept: Iterable[Counted]
    if totals.files:
        runs = [*map(_read, totals.files), _sorted(tokens, counts)]
        n_types, n_tokens, kept = _merged(runs, min_count, max_size)
    else:
        n_types, n_tokens = len(tokens), int(counts.sum())
        kept = _most_frequent(tokens, counts, min_count, max_size)
    return CorpusCounts(kept, seen.n_texts, n_tokens, n_types, seen.skipped, seen.first_skipped)


def _most_frequent(
    tokens: Tokens, counts: npt.NDArray[np.int64], min_count: int, max_size: int | None
) -> Iterator[Counted]:
    """Tokens and counts, by falling count, equal counts in order."""
    rows = np.flatnonzero(counts >= min_count)
    if max_size is not None and max_size < len(rows):
        least = np.partition(counts[rows], -max_size)[-max_size]
        rows = rows[counts[rows] >= least]
    tokens, counts = tokens.take(rows), counts[rows]
    order = in_order(tokens, counts)[:max_size]
    return items_of(tokens.take(order), counts[order])


def _merged(
    runs: Sequence[Iterator[Counted]], min_count: int, max_size: int | None
) -> tuple[int, int, list[Counted]]:
    """Number of tokens, their occurrences, and the most frequent, of sorted runs."""
    n_types = n_tokens = 0

    def frequent() -> Iterator[tuple[int, str]]:
        nonlocal n_types, n_tokens
        for token, count in _added(runs):
            n_types += 1
            n_tokens += count
            if count >= min_count:
                yield -count, token

    ranked = sorted(frequent()) if max_size is None else heapq.nsmallest(max_size, frequent())
    return n_types, n_tokens, [(token, -count) for count, token in ranked]


def _added(runs: Iterable[Iterator[Counted]]) -> Iterator[Counted]:
    """Each token once, of sorted runs."""
    for token, same in groupby(heapq.merge(*runs), key=itemgetter(0)):
        yield token, sum(count for _, count in same)


def _sorted(tokens: Tokens, counts: npt.NDArray[np.int64]) -> Iterator[Counted]:
    order = in_order(tokens, np.zeros_like(counts))
    for low, high in spans(0, len(order), RUN_TOKENS):
        rows = order[low:high]
        yield from items_of(tokens.take(rows), counts[rows])


def _written(counts: Iterator[Counted], folder: str) -> str:
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        while run := list(islice(counts, RUN_TOKENS)):
            pickle.dump(run, file, pickle.HIGHEST_PROTOCOL)
    return file.name


def _read(path: str) -> Iterator[Counted]:
    with open(path, "rb") as file:
        while True:
            try:
                yield from pickle.load(file)  # noqa: S301 (our own, in a folder of our own)
            except EOFError:
                return
