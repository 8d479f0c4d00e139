"""Ids of the tokens of many texts at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from embedfreeze.batch.columns import Ragged
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import UnknownTokenError, VocabularyError
from embedfreeze.splitters import (
    ASCII_WHITE_SPACE,
    MARK,
    SplitterLike,
    cuts_at_lines,
    splitter_from_config,
    token_rows,
)
from embedfreeze.tokens import Tokens, spans_of

__all__ = ["TextIds"]

PIECE = 1 << 20  # characters that are looked at together
Ids = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]
WIDE_SPACE = re.compile("[\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
ONE_SPACE = re.compile("[ \n]")
HALVES = re.compile("[\ud800-\udfff]+")  # of surrogate pairs


def _space_table(characters: bytes) -> npt.NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(characters)] = True
    return table


ASCII_SPACE = _space_table(b"\t\n\v\f\r ")
ANY_SPACE = _space_table(b"\t\n\v\f\r\x1c\x1d\x1e\x1f ")


class TextIds:
    """Cuts texts into tokens, and finds their ids in the index of a table.

    No token is an object in memory where the splitter cuts at white space: what is looked up are
    places in the bytes of many texts.

    Parameters
    ----------
    table : Embeddings
        Whose rows are ids: with the settings of a vocabulary.
    splitter : Splitter or callable, optional
        Default: the vocabulary's.
    max_length : int, optional
        Tokens of a text beyond it are left out.

    Raises
    ------
    VocabularyError
        The table has no vocabulary, or one whose splitter could not be saved with it.
    """

    def __init__(
        self,
        table: Embeddings,
        splitter: SplitterLike | None = None,
        max_length: int | None = None,
    ) -> None:
        settings = table.special
        if settings is None:
            raise VocabularyError(
                f"a table must be aligned to a vocabulary, received {table.path or 'one without'}: "
                f"make one with embedfreeze.load (embedfreeze align)"
            )
        if splitter is None and settings["splitter"] is None:
            raise VocabularyError(
                "the splitter of this vocabulary is a function that could not be saved with it: "
                "give it as splitter= (--tokenizer MODULE:FUNCTION)"
            )
        self.splitter = splitter or splitter_from_config(settings["splitter"])
        self.max_length = max_length
        self._tokens: Tokens = table.tokens
        padding, unknown = settings["padding"], settings["unknown"]
        self.padding_id = None if padding is None else table.index(padding)
        self._unknown_id = None if unknown is None else table.index(unknown)
        hashed = settings.get("unknown_buckets", 1) > 1
        self._vocabulary = table.vocabulary if hashed else None

    def __call__(self, texts: Sequence[str]) -> Ragged:
        """Ids of the tokens of texts, int32."""
        found = list(self._pieces(texts))
        ids = np.concatenate([ids for ids, _ in found]) if found else np.empty(0, np.int32)
        counts, total = [], 0
        for piece, ends in found:
            counts.append(ends + total)
            total += len(piece)
        splits = np.concatenate([np.zeros(1, np.int64), *counts])
        return _cut(Ragged(ids, splits), self.max_length)

    def _pieces(self, texts: Sequence[str]) -> Iterator[tuple[Ids, Places]]:
        """Ids in turn, and how many of them stand before the end of each text that ends there."""
        splitter = self.splitter
        if not texts:
            return
        if self._vocabulary is not None:
            rows = self._vocabulary.id_rows(_spellable_rows(token_rows(splitter, texts)))
            flat = [i for row in rows for i in row]
            yield np.array(flat, np.int32), _ends(rows)
        elif cuts_at_lines(splitter):
            only_ascii = splitter.separators == ASCII_WHITE_SPACE
            table = ASCII_SPACE if only_ascii else ANY_SPACE
            for text in map(splitter.prepared, _short_pieces(_lines_of(texts))):
                if not text.isascii():
                    # What `Splitter` puts between tokens is also a separator where a text has it.
                    text = text.replace(MARK, " ") if only_ascii else WIDE_SPACE.sub(" ", text)
                data = _bytes_of(text)
                spans, ends = _token_spans(data, table)
                yield self._ids(data, spans), ends
        else:
            rows_of_tokens = _spellable_rows(token_rows(splitter, texts))
            tokens = Tokens.from_strings(token for row in rows_of_tokens for token in row)
            yield self._ids(tokens.blob, spans_of(tokens.offsets)), _ends(rows_of_tokens)

    def _ids(self, data: bytes | memoryview, spans: Places) -> Ids:
        ids = self._tokens.find_spans(data, spans)
        missing = ids < 0
        if self._unknown_id is not None:
            ids[missing] = self._unknown_id
        elif missing.any():
            start, length = spans[int(missing.argmax())].tolist()
            token = bytes(data[start : start + length]).decode("utf-8", "replace")
            raise UnknownTokenError(
                f"the vocabulary has no token {token!r}, and no unknown token: give it unknown="
            )
        return ids


def _spellable_rows(rows: list[list[str]]) -> list[list[str]]:
    return [[*map(_spellable, row)] for row in rows]


def _bytes_of(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _spellable(text).encode("utf-8", "surrogateescape")


def _spellable(text: str) -> str:
    """A text that bytes can spell."""
    return text if text.isascii() or HALVES.search(text) is None else HALVES.sub(_spelled, text)


def _spelled(halves: re.Match[str]) -> str:
    """Bytes that are not UTF-8 as they stand, other halves of surrogate pairs as no token is."""
    found = halves[0]
    with suppress(UnicodeEncodeError):
        if found.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") == found:
            return found
    return found.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")


def _ends(rows: Sequence[Sequence[object]]) -> Places:
    return np.cumsum([len(row) for row in rows], dtype=np.int64)


def _lines_of(texts: Sequence[str]) -> str:
    """Texts with a line feed behind each, and none in it."""
    joined = "\n".join(texts) + "\n"
    if joined.count("\n") == len(texts):
        return joined
    return "\n".join(text.replace("\n", " ") for text in texts) + "\n"


def _short_pieces(text: str) -> Iterator[str]:
    """A text, cut behind spaces where it is long; a token longer than a piece stays whole."""
    low = 0
    while low < len(text):
        high = len(text)
        if high - low > PIECE:
            space = ONE_SPACE.search(text, low + PIECE)
            high = high if space is None else space.end()
        yield text[low:high]
        low = high


def _token_spans(data: bytes, space: npt.NDArray[np.bool_]) -> tuple[Places, Places]:
    """Where tokens stand between white space, (start, length) [n, 2]; how many before each line."""
    characters = np.frombuffer(data, np.uint8)
    between = np.ones(len(data) + 2, np.bool_)
    space.take(characters, out=between[1:-1])
    changes = np.flatnonzero(between[1:] != between[:-1]).reshape(-1, 2)
    starts = changes[:, 0]
    spans = np.stack([starts, changes[:, 1] - starts], axis=1)
    return spans, np.searchsorted(starts, np.flatnonzero(characters == ord("\n")))


def _cut(rows: Ragged, most: int | None) -> Ragged:
    """Rows of at most so many values."""
    lengths = np.diff(rows.row_splits)
    if most is None or not (lengths > most).any():
        return rows
    starts = np.repeat(rows.row_splits[:-1], lengths)
    kept = np.arange(len(rows.values)) - starts < most
    splits = np.concatenate([[0], np.cumsum(np.minimum(lengths, most))])
    return Ragged(rows.values[kept], splits.astype(np.int64))
