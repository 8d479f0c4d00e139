"""spaCy's vectors: a folder with ``vectors`` (NPY), ``key2row``, ``strings.json``, ``vectors.cfg``.

In the usual mode ``key2row`` maps keys of strings to rows, of which several may share one. In
floret mode there are no keys: the vector of any string is the mean of the rows that its n-grams are
hashed to, by MurmurHash3_x64_128; it is summed as spaCy does, so that values are bit-equal. A whole
pipeline holds the folder as ``vocab``. Sources: ``vectors.pyx`` of
https://github.com/explosion/spaCy and https://github.com/explosion/floret.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.errors import FormatError
from embedfreeze.files import Source, release_pages
from embedfreeze.formats.arrays.batches import TokenMatrix, mapped_batches, row_step, wanted_of
from embedfreeze.formats.arrays.npy import check_size, values_of
from embedfreeze.formats.arrays.npyheader import MAGIC, ArrayHeader, array_header, refused_kind
from embedfreeze.formats.base import Batch, Format, Place, Reading, ReadOptions, Writer
from embedfreeze.formats.side.lists import json_listing
from embedfreeze.formats.spacy.keys import SYMBOLS, keys_of, read_map
from embedfreeze.formats.spacy.writer import CONFIG, KEYS, STRINGS, VECTORS, refuse, write
from embedfreeze.threads import spans, thread_map
from embedfreeze.tokens import Tokens
from embedfreeze.vocabularies.lines import read_bytes

__all__ = ["SPACY"]

LONGEST_NGRAM = 100  # characters; it bounds the work for a token
MOST_HASHES = 4
LEAST_ROWS = 256  # for a thread
Float32 = npt.NDArray[np.float32]


def sniff(source: Source) -> bool:
    """An array called ``vectors`` beside the keys or the settings?"""
    if source.located is None or os.path.basename(source.located) != VECTORS:
        return False
    there = (os.path.isfile(_beside(source, name)) for name in (KEYS, CONFIG))
    return source.head.startswith(MAGIC) and any(there)


def _beside(source: Source, name: str) -> str:
    return os.path.join(os.path.dirname(source.located or ""), name)


@dataclass(frozen=True)
class _Floret:
    """The settings of floret mode, as spaCy calls them; `ValueError` for what cannot be."""

    minn: int
    maxn: int
    hash_count: int
    hash_seed: int
    bow: str
    eow: str

    def __post_init__(self) -> None:
        lengths = 0 <= self.minn <= self.maxn <= LONGEST_NGRAM
        hashes = 1 <= self.hash_count <= MOST_HASHES and 0 <= self.hash_seed < 1 << 32
        if not lengths or not hashes or len((self.bow + self.eow).encode()) > LONGEST_NGRAM:
            raise ValueError(f"received {self}")

    @classmethod
    def of(cls, settings: Any) -> _Floret:
        if settings["mode"] != "floret":
            raise ValueError(f"received {settings['mode']}")
        return cls(
            minn=int(settings["minn"]),
            maxn=int(settings["maxn"]),
            hash_count=int(settings["hash_count"]),
            hash_seed=int(settings["hash_seed"]),
            bow=str(settings["bow"]),
            eow=str(settings["eow"]),
        )


_SETTINGS_RAISE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
)


def _settings(source: Source) -> _Floret | None:
    """The settings of floret mode; None for the usual one."""
    path = _beside(source, CONFIG)
    if not os.path.isfile(path):
        return None
    try:
        settings = json.loads(read_bytes(path))
        usual = settings.get("mode", "default") == "default"
        return None if usual else _Floret.of(settings)
    except _SETTINGS_RAISE as error:
        raise FormatError(
            f"the settings must name the mode default, or floret with n-grams of at most "
            f"{LONGEST_NGRAM} characters and 1 to {MOST_HASHES} hashes ({error!s:.200}): the file "
            f"is damaged, get it again",
            path=path,
        ) from error


def _strings(source: Source, options: ReadOptions) -> Tokens:
    """The strings of a vocabulary: beside the vectors, or in the folder above."""
    places = [_beside(source, STRINGS), _beside(source, os.path.join(os.pardir, STRINGS))]
    if options.tokens is not None:
        places = [os.fsdecode(options.tokens)]
    path = next(filter(os.path.isfile, places), places[0])
    return json_listing(read_bytes(path), path, options.unicode_errors).tokens


def read(source: Source, options: ReadOptions) -> Reading:
    """Read the strings that have a row; in floret mode those of the vocabulary."""
    header = array_header(source.head, source.name)
    if not header.is_matrix:
        raise refused_kind(header, source.name)
    check_size(source, header, len(source.whole()))
    floret = _settings(source)
    strings = _strings(source, options)
    if floret is not None:
        return _floret_reading(source, options, header, floret, strings)
    return _table_reading(source, options, header, strings)


def _table_reading(
    source: Source, options: ReadOptions, header: ArrayHeader, strings: Tokens
) -> Reading:
    path = _beside(source, KEYS)
    keys, rows = read_map(read_bytes(path), path)
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < header.shape[0]:
        raise FormatError(
            f"the rows of key2row must be from 0 to {header.shape[0] - 1}, received "
            f"{int(rows.min())} to {int(rows.max())}: the files belong to different vectors",
            path=path,
        )
    every = Tokens.joined([strings, SYMBOLS])
    known = keys_of(every)
    order = np.argsort(known, kind="stable")
    at = np.minimum(np.searchsorted(known, keys, sorter=order), len(known) - 1)
    found = known[order[at]] == keys
    kept = np.flatnonzero(found)[np.argsort(rows[found], kind="stable")]
    table = TokenMatrix(
        values_of(source.whole(), header), header.start, every.take(order[at[kept]]), rows[kept]
    )
    reading = Reading(header.shape[1], options.rows_dtype, options.limited(len(kept)))
    reading.notes.append(f"table mode: {len(keys)} keys share {header.shape[0]} rows")
    if missing := len(keys) - len(kept):
        reading.notes.append(f"{missing} keys are of strings that {STRINGS} has not: left out")
    reading.batches = mapped_batches(source, options, reading, table, source.whole())
    return reading


@dataclass(frozen=True, eq=False)
class _Hashed:
    """Vectors in floret mode."""

    floret: _Floret
    buffer: mmap.mmap
    header: ArrayHeader
    threads: int

    def vectors(self, tokens: Tokens) -> Float32:
        """float32 [n, dim]; zeros for the empty token, which has no n-grams."""
        begin, end = self.floret.bow.encode(), self.floret.eow.encode()
        marked = [begin + tokens.bytes_at(i) + end for i in range(len(tokens))]
        padded = Tokens.from_bytes(marked, tokens.unicode_errors)
        out = np.empty((len(tokens), self.header.shape[1]), np.float32)
        pieces = spans(0, len(tokens), max(LEAST_ROWS, -(-len(tokens) // self.threads)))
        thread_map(lambda piece: self._fill(padded, out, *piece), pieces, self.threads)
        out[np.diff(tokens.offsets) == 0] = 0
        start = self.header.start
        release_pages(self.buffer, start, start + self.header.nbytes)
        return out

    def _fill(self, padded: Tokens, out: Float32, low: int, high: int) -> None:
        f, h = self.floret, self.header
        tokens = (padded.blob, padded.offsets[low : high + 1])
        ngrams = (f.minn, f.maxn, f.hash_count, f.hash_seed)
        rows, dim = h.shape
        _kernel.floret_rows(tokens, ngrams, (self.buffer, h.start, rows, dim), out[low:high])


def _floret_reading(
    source: Source, options: ReadOptions, header: ArrayHeader, floret: _Floret, strings: Tokens
) -> Reading:
    if header.dtype != np.dtype("<f4") or header.by_columns or not header.shape[0]:
        raise FormatError(
            f"the rows of floret mode must be float32 one behind the other, received {header}: "
            f"save them with numpy.ascontiguousarray(vectors, 'float32')",
            path=source.name,
        )
    hashed = _Hashed(floret, source.whole(), header, options.n_threads)
    reading = Reading(header.shape[1], options.rows_dtype, options.limited(len(strings)))
    reading.subwords = hashed.vectors
    reading.notes.append(
        f"floret mode: n-grams of {floret.minn} to {floret.maxn} characters are hashed to "
        f"{floret.hash_count} of {header.shape[0]} rows"
    )
    reading.batches = _floret_batches(source, options, reading, hashed, strings)
    return reading


def _floret_batches(
    source: Source, options: ReadOptions, reading: Reading, hashed: _Hashed, strings: Tokens
) -> Iterator[Batch]:
    if options.wanted is not None:
        hashed.buffer.madvise(mmap.MADV_RANDOM)  # a few rows of many: nothing is read ahead
    for low, high in spans(0, reading.rows or 0, row_step(reading.dim)):
        chosen = wanted_of(strings, low, high, options)
        if not len(chosen):
            continue
        tokens = strings.take(chosen)
        matrix: npt.NDArray[Any] = reading.allocate(len(chosen), reading.dim, reading.dtype)
        matrix[:] = hashed.vectors(tokens)

        def place(row: int, rows: npt.NDArray[np.int64] = chosen) -> Place:
            return {"row": int(rows[row])}

        position = source.size * high // len(strings)
        yield Batch(tokens, matrix, position, place).checked(source.name)


SPACY = Format(
    "spacy",
    sniff,
    read,
    Writer((), write, refuse, packable=False, folder=True),
    main=(VECTORS, f"vocab/{VECTORS}"),
)
