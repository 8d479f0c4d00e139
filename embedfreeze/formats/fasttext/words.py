"""fastText models (``.bin``, ``.ftz``): a word's vector is the mean of its row and its n-grams'.

The layout is told in `layout`. Values are those of fastText's own ``get_word_vector``: rows
are added as float32 in its order, and the sum is multiplied by float32(1 / number of rows). The
matrix is mapped, so that only the rows of the words that are asked for are read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.errors import FormatError
from embedfreeze.files import Source, release_pages
from embedfreeze.formats.base import Batch, Format, Place, Reading, ReadOptions
from embedfreeze.formats.fasttext.layout import (
    Arguments,
    Cursor,
    Dictionary,
    Matrix,
    arguments_of,
    known_start,
)
from embedfreeze.threads import spans, thread_map
from embedfreeze.tokens import Tokens

__all__ = ["FASTTEXT"]

BATCH_BYTES = 16 << 20
LEAST_ROWS = 256  # for a thread
Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


def sniff(source: Source) -> bool:
    """The magic number, or the first numbers of an older model."""
    return known_start(source.head)


@dataclass(frozen=True, eq=False)
class _Model:
    """A mapped model whose header was checked."""

    buffer: mmap.mmap
    path: str
    arguments: Arguments
    dictionary: Dictionary
    matrix: Matrix
    threads: int

    def __post_init__(self) -> None:
        needed = self.dictionary.words
        if self.matrix.dim != self.arguments.dim:
            raise FormatError(
                f"the rows must have the dim that the model says, {self.arguments.dim}, received "
                f"{self.matrix.dim}: the file is damaged, get it again",
                path=self.path,
            )
        places = self.dictionary.places
        if places is not None and len(places):
            if places.min() < 0:
                needed = 1 << 62
            needed += int(places.max()) + 1
        elif places is None and self.arguments.has_ngrams:
            needed += self.arguments.buckets
        if self.matrix.rows < needed:
            raise FormatError(
                f"the matrix must have rows for words and n-grams, {needed} of them, received "
                f"{self.matrix.rows}: the file is damaged, get it again",
                path=self.path,
            )

    def subwords(self, tokens: Tokens) -> Float32:
        """float32 [n, dim]: of any tokens. Words, such as those behind a limit, have their row."""
        own, first = np.full(len(tokens), -1), 0
        for found in self.dictionary.spans(self.buffer, self.dictionary.words):
            asked = tokens.find_spans(self.buffer, found)
            rows = np.flatnonzero(asked >= 0)
            own[asked[rows]] = rows + first
            first += len(found)
        return self.vectors(tokens, own)

    def vectors(self, tokens: Tokens, own: Int64) -> Float32:
        """float32 [n, dim]: of the rows `own`, or none where that is -1, and tokens' n-grams."""
        out = np.empty((len(tokens), self.matrix.dim), np.float32)
        pieces = spans(0, len(tokens), max(LEAST_ROWS, -(-len(tokens) // self.threads)))
        thread_map(lambda piece: self._fill(tokens, own, out, *piece), pieces, self.threads)
        return out

    def _fill(self, tokens: Tokens, own: Int64, out: Float32, low: int, high: int) -> None:
        a, d, m = self.arguments, self.dictionary, self.matrix
        offsets = tokens.offsets[low : high + 1]
        ngrams = (a.minn, a.maxn, d.words, a.buckets if a.has_ngrams else 0, d.kept, d.places)
        with memoryview(self.buffer) as whole:
            values = whole if m.centroids is None else m.centroids
            codes = b"" if m.centroids is None else whole[m.codes : m.codes + m.rows * self._parts]
            matrix = (values, m.offset, m.rows, m.dim, codes, b"" if m.norms is None else m.norms)
            bad = _kernel.subword_rows(
                (tokens.blob, offsets, own[low:high]), ngrams, (*matrix, m.step), out[low:high]
            )
        if bad >= 0:
            raise FormatError(
                f"the rows of a word and its n-grams must be among the {m.rows} of the matrix, "
                f"received another for {tokens.bytes_at(low + bad)!r}: the file is damaged, get "
                f"it again",
                path=self.path,
            )

    @property
    def _parts(self) -> int:
        return -(-self.matrix.dim // self.matrix.step)

    def release(self, *, again: bool) -> None:
        """Let the kernel take back the pages of rows, of which n-grams have read some anywhere."""
        if self.matrix.centroids is None:
            size = 4 * self.matrix.rows * self.matrix.dim
            start = self.matrix.offset
            release_pages(self.buffer, start, start + size, again=again)


def read(source: Source, options: ReadOptions) -> Reading:
    """Read the words of a model; labels are none, and what n-grams give is `Reading.subwords`."""
    cursor = Cursor(source.whole(), source.name)
    arguments = arguments_of(cursor)
    dictionary = Dictionary.read(cursor, arguments)
    quantised = arguments.version > 0 and _mark(cursor)
    if dictionary.kept is not None and not quantised:
        raise cursor.error(
            "only a quantised model can be pruned, received one that is pruned alone, which "
            "fastText does not load either: get a newer version of it"
        )
    matrix = Matrix.read(cursor, quantised=quantised)
    model = _Model(cursor.buffer, source.name, arguments, dictionary, matrix, options.n_threads)
    reading = Reading(
        matrix.dim, options.rows_dtype, options.limited(dictionary.words), subwords=model.subwords
    )
    reading.notes += _notes(model)
    _look_at_rest(reading, cursor, arguments, quantised=quantised)
    reading.batches = _batches(source, options, reading, model)
    return reading


def _mark(cursor: Cursor) -> bool:
    (mark,) = cursor.take("B")
    if mark > 1:
        raise cursor.error(
            f"the mark of a quantised matrix must be 0 or 1, received {mark}: the file is damaged, "
            f"get it again"
        )
    return bool(mark)


def _notes(model: _Model) -> Iterator[str]:
    a, d = model.arguments, model.dictionary
    version = f"version {a.version}" if a.version else "the older layout"
    kind = "a supervised model, " if a.supervised else ""
    yield f"{version}, {kind}{d.words} words" + (f", {d.labels} labels" if d.labels else "")
    if model.matrix.centroids is not None:
        yield "the rows are product-quantised"
    if d.kept is not None:
        yield f"{len(d.kept)} of {a.buckets} rows of n-grams are kept"
    if not a.has_ngrams:
        yield "it has no n-grams"
    elif d.kept is None:
        yield f"n-grams of {a.minn} to {a.maxn} characters share {a.buckets} rows"


def _look_at_rest(
    reading: Reading, cursor: Cursor, arguments: Arguments, *, quantised: bool
) -> None:
    """Behind the rows stands the matrix of the training's outputs, which no vector needs."""
    try:
        output_quantised = arguments.version > 0 and _mark(cursor)
        Matrix.read(cursor, quantised=quantised and output_quantised)
    except FormatError as error:
        reading.warn(
            cursor.path,
            f"the end of the file, which no vector needs, is not as it should be ({error})",
        )


def _batches(
    source: Source, options: ReadOptions, reading: Reading, model: _Model
) -> Iterator[Batch]:
    if options.wanted is not None and model.matrix.centroids is None:
        model.buffer.madvise(mmap.MADV_RANDOM)  # a few rows of many: nothing is read ahead
    step, first = max(1, BATCH_BYTES // (4 * reading.dim)), 0
    for found in model.dictionary.spans(model.buffer, reading.rows or 0):
        chosen = np.arange(len(found))
        if options.wanted is not None:
            chosen = np.flatnonzero(options.wanted.find_spans(model.buffer, found) >= 0)
        for low, high in spans(0, len(chosen), step):
            rows = chosen[low:high]
            yield _batch(source, options, reading, model, found[rows], rows + first)
        first += len(found)


def _place(found: Int64, row: int) -> Place:
    return {"offset": int(found[row, 0])}


def _batch(
    source: Source,
    options: ReadOptions,
    reading: Reading,
    model: _Model,
    found: Int64,
    rows: Int64,
) -> Batch:
    tokens = Tokens.from_spans(model.buffer, found, options.unicode_errors)
    matrix = reading.allocate(len(rows), reading.dim, reading.dtype)
    matrix[:] = model.vectors(tokens, rows)
    model.release(again=options.wanted is None)
    position = source.size * (int(rows[-1]) + 1) // model.dictionary.words
    return Batch(tokens, matrix, position, partial(_place, found)).checked(source.name)


FASTTEXT = Format("fasttext", sniff, read)
