"""Tokens: the words of a file as one blob of bytes, with offsets and a hash index."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal, NoReturn, overload

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.errors import EmbedFreezeError, FormatError, UnknownTokenError, not_pickled

__all__ = [
    "HASH_NAME",
    "Tokens",
    "TokensBuilder",
    "UnicodeErrors",
    "build_slots",
    "not_utf8",
    "slot_count",
    "spans_of",
]

HASH_NAME = "embedfreeze-1"  # the hash that the slots of a store are made with
UnicodeErrors = Literal["strict", "replace", "ignore", "surrogateescape", "backslashreplace"]
Offsets = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int32]


def slot_count(n: int) -> int:
    """Slots of an index over n tokens: the power of two that is at least 2n, and at least 8."""
    return 1 << max(3, (2 * n - 1).bit_length())


def build_slots(blob: Any, offsets: Offsets, size: int | None = None) -> tuple[Slots, Rows]:
    """The index of tokens, and for each token the earlier row that spells the same, or -1."""
    n = len(offsets) - 1
    slots = np.full(slot_count(n) if size is None else size, -1, dtype=np.int32)
    found = np.empty(n, dtype=np.int32)
    _kernel.index_insert(blob, offsets, slots, 0, n, found)
    return slots, found


def spans_of(offsets: Offsets) -> npt.NDArray[np.int64]:
    """Spans (start, length) [n, 2] of the tokens at offsets [n + 1]."""
    return np.stack([offsets[:-1], np.diff(offsets)], axis=1)


def not_utf8(token: bytes, **place: Any) -> FormatError:
    """The error of a token that is not UTF-8 under ``unicode_errors="strict"``."""
    return FormatError(
        f'tokens must be UTF-8, received {token!r}: pass unicode_errors="replace" or '
        f'"surrogateescape" (--unicode-errors) to take it',
        **place,
    )


class Tokens(Sequence[str]):
    """A read-only sequence of str over the bytes that a file has.

    Parameters
    ----------
    blob : bytes-like
        The tokens one after the other.
    offsets : numpy.ndarray
        int64 [n + 1]: token i is ``blob[offsets[i]:offsets[i + 1]]``.
    slots : numpy.ndarray, optional
        The hash index, int32 [power of two], as a store holds it; made when first needed.
    unicode_errors : str
        How tokens that are not UTF-8 are shown (the bytes stay as they are).
    path : str, optional
        The file that they are mapped from, which was not read to check them.
    """

    def __init__(
        self,
        blob: Any,
        offsets: Offsets,
        *,
        slots: Slots | None = None,
        unicode_errors: UnicodeErrors = "strict",
        path: str | None = None,
    ) -> None:
        self.path = path
        self.blob: memoryview = memoryview(blob).cast("B") if len(blob) else memoryview(b"")
        self.offsets = offsets
        self.unicode_errors: UnicodeErrors = unicode_errors
        if slots is not None:
            self.__dict__["slots"] = slots

    @classmethod
    def from_strings(cls, tokens: Iterable[str]) -> Tokens:
        """Tokens of str, as UTF-8; lone surrogates stand for bytes that are not.

        Parameters
        ----------
        tokens : iterable of str
            In the order of their rows.

        Returns
        -------
        Tokens
            Of the same spellings.
        """
        tokens = list(tokens)
        try:
            blob = "".join(tokens).encode()  # at once: a third of the time of one by one
        except UnicodeEncodeError:
            return cls.from_bytes([_escaped(token) for token in tokens], "surrogateescape")
        except TypeError:
            place, token = next((i, t) for i, t in enumerate(tokens) if not isinstance(t, str))
            raise TypeError(
                f"tokens must be str, received {token!r:.60} of {type(token).__name__} as item "
                f"{place} (from 0): give their spellings"
            ) from None
        offsets = _offsets_of(tokens)
        if len(blob) > offsets[-1]:  # a character may be several bytes
            offsets = _first_bytes(blob)[offsets]
        return cls(blob, offsets, unicode_errors="surrogateescape")

    @classmethod
    def from_bytes(cls, tokens: Sequence[bytes], unicode_errors: UnicodeErrors) -> Tokens:
        """Tokens spelled as bytes.

        Parameters
        ----------
        tokens : sequence of bytes
            In the order of their rows.
        unicode_errors : str
            How what is not UTF-8 is shown, as for `read`.

        Returns
        -------
        Tokens
            Of the same bytes.
        """
        return cls(b"".join(tokens), _offsets_of(tokens), unicode_errors=unicode_errors)

    @classmethod
    def from_spans(
        cls,
        buffer: Any,
        spans: npt.NDArray[np.int64],
        unicode_errors: UnicodeErrors = "strict",
    ) -> Tokens:
        """Copies of the pieces of a buffer at spans (start, length) [n, 2].

        Parameters
        ----------
        buffer : bytes-like
            What the tokens stand in.
        spans : numpy.ndarray
            int64 [n, 2].
        unicode_errors : str
            How what is not UTF-8 is shown, as for `read`.

        Returns
        -------
        Tokens
            n tokens.
        """
        offsets = np.zeros(len(spans) + 1, dtype=np.int64)
        np.cumsum(spans[:, 1], out=offsets[1:])
        blob = bytearray(int(offsets[-1]))
        _kernel.gather_spans(buffer, np.ascontiguousarray(spans), blob)
        return cls(blob, offsets, unicode_errors=unicode_errors)

    @classmethod
    def joined(cls, parts: Sequence[Tokens]) -> Tokens:
        """The tokens of several, one behind the other.

        Parameters
        ----------
        parts : sequence of Tokens
            At least one.

        Returns
        -------
        Tokens
            All of them.
        """
        sizes = np.concatenate([np.zeros(1, np.int64), *(np.diff(p.offsets) for p in parts)])
        blob = b"".join(part._used_blob() for part in parts)
        return cls(blob, np.cumsum(sizes), unicode_errors=parts[0].unicode_errors)

    @cached_property
    def slots(self) -> Slots:
        """The hash index, int32 [power of two]: rows, or -1."""
        return build_slots(self.blob, self.offsets)[0]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def bytes_at(self, row: int) -> bytes:
        """The bytes of one token; FormatError where the offsets of a mapped file do not fit.

        Parameters
        ----------
        row : int
            Counted from 0.

        Returns
        -------
        bytes
            As the file spells it.
        """
        start, stop = int(self.offsets[row]), int(self.offsets[row + 1])
        if not 0 <= start <= stop <= len(self.blob):
            raise FormatError(
                f"offsets of tokens must rise from 0 to {len(self.blob)}, received {start} and "
                f"{stop}: the file is damaged, get it again",
                path=self.path,
                row=row,
            )
        return bytes(self.blob[start:stop])

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        row = operator.index(row)
        if not -len(self) <= row < len(self):
            raise IndexError(f"rows are from 0 to {len(self) - 1}, received {row}")
        row %= len(self)
        spelled = self.bytes_at(row)
        try:
            return spelled.decode("utf-8", self.unicode_errors)
        except UnicodeDecodeError:
            raise not_utf8(spelled, path=self.path, row=row) from None

    def __iter__(self) -> Iterator[str]:
        blob, errors = self.blob, self.unicode_errors
        row = -1
        self._check_offsets()
        try:
            for row, (start, end) in enumerate(pairwise(self.offsets.tolist())):  # noqa: B007
                yield str(blob[start:end], "utf-8", errors)
        except UnicodeDecodeError:
            raise not_utf8(self.bytes_at(row), path=self.path, row=row) from None

    def _check_offsets(self) -> None:
        """Offsets that are not those of this process are not trusted."""
        if self.path is not None and len(self):
            starts, stops = self.offsets[:-1], self.offsets[1:]
            bad = (starts < 0) | (stops < starts) | (stops > len(self.blob))
            self.bytes_at(int(np.argmax(bad)))  # raises if there is a bad one

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"Tokens({len(self)}: {shown}{', ...' if len(self) > 3 else ''})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        return (
            len(self) == len(other)
            and np.array_equal(np.diff(self.offsets), np.diff(other.offsets))
            and self._used_blob() == other._used_blob()
        )

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the lengths of the tokens, int64, and over their bytes."""
        digest = hashlib.sha256(np.diff(self.offsets).astype("<i8").tobytes())
        digest.update(self._used_blob())
        return digest.hexdigest()

    def _used_blob(self) -> memoryview:
        return self.blob[self.offsets[0] : self.offsets[-1]]

    def __reduce__(self) -> NoReturn:
        raise not_pickled("the tokens of a table")

    def find(self, tokens: Tokens | Iterable[str]) -> Rows:
        """Row of each token, int32 [tokens]; -1 where there is none.

        Parameters
        ----------
        tokens : Tokens or iterable of str
            n tokens.

        Returns
        -------
        numpy.ndarray
            int32 [n].
        """
        if isinstance(tokens, str):
            raise TypeError("find takes several tokens, received one str: put it in a list")
        if not isinstance(tokens, Tokens):
            tokens = Tokens.from_strings(tokens)
        return self.find_spans(tokens.blob, spans_of(tokens.offsets))

    def find_spans(self, buffer: Any, spans: npt.NDArray[np.int64]) -> Rows:
        """Row of each token that stands in a buffer at spans (start, length) [n, 2], or -1.

        Parameters
        ----------
        buffer : bytes-like
            What the tokens stand in.
        spans : numpy.ndarray
            int64 [n, 2].

        Returns
        -------
        numpy.ndarray
            int32 [n].
        """
        rows = np.empty(len(spans), dtype=np.int32)
        spans = np.ascontiguousarray(spans)
        if not _kernel.index_find(self.blob, self.offsets, self.slots, buffer, spans, rows):
            raise FormatError(
                "the index of the tokens must lead to tokens, received one that does not: the "
                "file is damaged, get it again",
                path=self.path,
            )
        return rows

    def __contains__(self, token: object) -> bool:
        return isinstance(token, str) and self._row(token) >= 0

    def index(self, token: str, *_: int) -> int:
        """Row of a token; `UnknownTokenError` (a `KeyError` and a `ValueError`) if none has it.

        Parameters
        ----------
        token : str
            The one that is looked for.

        Returns
        -------
        int
            Counted from 0.
        """
        row = self._row(token)
        if row < 0:
            raise UnknownTokenError(f"the table has no token {token!r}")
        return row

    def _row(self, token: str) -> int:
        try:
            wanted = Tokens.from_strings([token])
        except EmbedFreezeError:  # half of a character stands in no file
            return -1
        return int(self.find(wanted)[0])

    def part(self, low: int, high: int) -> Tokens:
        """The tokens of the rows low to high - 1, over the same bytes.

        Parameters
        ----------
        low, high : int
            Rows, counted from 0.

        Returns
        -------
        Tokens
            high - low tokens.
        """
        return Tokens(self.blob, self.offsets[low : high + 1], unicode_errors=self.unicode_errors)

    def escaped(self) -> Tokens:
        """The same bytes, shown with surrogates for what is not UTF-8, so that nothing is lost."""
        return Tokens(self.blob, self.offsets, unicode_errors="surrogateescape")

    def take(self, rows: npt.ArrayLike) -> Tokens:
        """The tokens of some rows.

        Parameters
        ----------
        rows : array of int
            n rows, counted from 0.

        Returns
        -------
        Tokens
            n tokens, in the order of these rows.
        """
        chosen = np.asarray(rows, dtype=np.int64)
        starts = self.offsets[chosen]
        spans = np.stack([starts, self.offsets[chosen + 1] - starts], axis=1)
        return Tokens.from_spans(self.blob, spans, self.unicode_errors)

    def first_not_utf8(self) -> int | None:
        """The first row whose bytes are not UTF-8, or None."""
        row: int = _kernel.first_not_utf8(self.blob, self.offsets)
        return None if row < 0 else row


def _offsets_of(tokens: Sequence[str] | Sequence[bytes]) -> Offsets:
    """Where tokens begin, one behind the other, and where the last ends."""
    offsets = np.zeros(len(tokens) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, tokens), np.int64, len(tokens)), out=offsets[1:])
    return offsets


def _first_bytes(text: bytes) -> Offsets:
    """The place of the first byte of each character of UTF-8, and of the end."""
    first = (np.frombuffer(text, np.uint8) & 0b1100_0000) != 0b1000_0000
    return np.append(np.flatnonzero(first), len(text))


def _escaped(token: str) -> bytes:
    try:
        return token.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise EmbedFreezeError(
            f"tokens must be text, received {token!r}, half of a character: mend or drop it"
        ) from error


class TokensBuilder:
    """Collects tokens batch by batch and tells which of them came before."""

    def __init__(self, expected: int = 0) -> None:
        self._blob = bytearray()
        self._offsets = np.zeros(max(expected, 1024) + 1, dtype=np.int64)
        self._slots = np.full(slot_count(max(expected, 1024)), -1, dtype=np.int32)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, tokens: Tokens) -> Rows:
        """Append tokens; for each the row of the first that spells the same, or -1 if new."""
        first, last = self._n, self._n + len(tokens)
        if last > len(self._offsets) - 1:
            grown = np.zeros(2 * last + 1, dtype=np.int64)  # takes memory where it is written
            grown[: first + 1] = self._offsets[: first + 1]
            self._offsets = grown
        start = len(self._blob) - int(tokens.offsets[0])
        self._blob += tokens._used_blob()
        self._offsets[first + 1 : last + 1] = tokens.offsets[1:] + start
        self._n = last
        if slot_count(last) > len(self._slots):
            del self._slots  # it is made anew: the old one need not stay beside it
            self._slots = np.full(slot_count(last), -1, dtype=np.int32)
            self._insert(0, first)
        return self._insert(first, last)

    def add_new(self, tokens: Tokens) -> Rows:
        """Append the tokens that are new, no repeated one; the result is that of `add`."""
        first = self._n
        found = self.add(tokens)
        if (found >= 0).any():
            self._forget(first)
            self.add(tokens.take(np.flatnonzero(found < 0)))
        return found

    def number(self, tokens: Tokens) -> npt.NDArray[np.int64]:
        """Append the tokens that are new; the row of each token, int64 [tokens]."""
        first = len(self)
        found = self.add_new(tokens).astype(np.int64)
        own = first - 1 + np.cumsum(found < 0)
        if not len(own):
            return own
        again = np.where(found < first, found, own[np.maximum(found - first, 0)])
        return np.where(found < 0, own, again)

    def number_spans(self, buffer: Any, spans: npt.NDArray[np.int64]) -> Rows:
        """Append what is new of the tokens at spans (start, length) [n, 2] of a buffer.

        Returns the row of each, int32 [n].
        """
        rows = np.empty(len(spans), dtype=np.int32)
        offsets = self._offsets[: self._n + 1]
        _kernel.index_find(self._blob, offsets, self._slots, buffer, spans, rows)
        new = rows < 0
        if new.any():
            tokens = Tokens.from_spans(buffer, spans[new])
            before = build_slots(tokens.blob, tokens.offsets)[1]
            own = self._n - 1 + np.cumsum(before < 0, dtype=np.int32)
            rows[new] = np.where(before < 0, own, own[before])
            self.add(tokens.take(np.flatnonzero(before < 0)))
        return rows

    def _forget(self, first: int) -> None:
        """Take the rows from `first` on away: inserted last, they are on no other's path."""
        self._slots[self._slots >= first] = -1
        del self._blob[int(self._offsets[first]) :]
        self._n = first

    def token(self, row: int) -> str:
        """One of the tokens that were added."""
        return bytes(self._blob[self._offsets[row] : self._offsets[row + 1]]).decode(
            "utf-8", "backslashreplace"
        )

    def _insert(self, first: int, last: int) -> Rows:
        found = np.empty(last - first, dtype=np.int32)
        offsets = self._offsets[: self._n + 1]
        _kernel.index_insert(self._blob, offsets, self._slots, first, last, found)
        return found

    def finish(self, dropped: npt.NDArray[np.int64], unicode_errors: UnicodeErrors) -> Tokens:
        """All tokens but those of the dropped rows, which must leave no token twice."""
        offsets = self._offsets[: self._n + 1].copy()
        if not dropped.size:
            slots = self._slots if len(self._slots) == slot_count(self._n) else None
            return Tokens(self._blob, offsets, slots=slots, unicode_errors=unicode_errors)
        kept = np.delete(spans_of(offsets), dropped, axis=0)
        return Tokens.from_spans(self._blob, kept, unicode_errors)
