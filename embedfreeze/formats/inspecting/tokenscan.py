"""What is to be known about the tokens of a file, found while its batches come by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedfreeze.formats.base import Batch
from embedfreeze.formats.inspecting.remarks import Collected, Remark
from embedfreeze.tokens import Tokens, TokensBuilder

__all__ = ["ENOUGH", "TokenScan"]

ENOUGH = 100  # rows from which a share of them says something
SAMPLE = 50_000  # rows in which marks of keys are looked for
SHARE = 0.05
LONG = 1000  # bytes
Int64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

# Characters by what they do to who reads tokens: a kind, what is said of it, code points.
CUTS = "str.split() and str.splitlines() cut it there"
CHARACTERS: tuple[tuple[str, str, tuple[tuple[int, int], ...]], ...] = (
    ("space", "a space: readers that split lines at spaces cut it", ((0x20, 0x20),)),
    ("control-character", "a control character", ((0, 0x1F), (0x7F, 0x84), (0x86, 0x9F))),
    ("next-line", f"next line: {CUTS}", ((0x85, 0x85),)),
    ("no-break-space", f"no-break space: {CUTS}", ((0xA0, 0xA0),)),
    ("line-separator", f"a line or paragraph separator: {CUTS}", ((0x2028, 0x2029),)),
    ("ideographic-space", f"ideographic space: {CUTS}", ((0x3000, 0x3000),)),
    (
        "unicode-space",
        f"another space of Unicode: {CUTS}",
        ((0x1680, 0x1680), (0x2000, 0x200A), (0x202F, 0x202F), (0x205F, 0x205F)),
    ),
    (
        "zero-width",
        "which has no width: tokens look equal and are not",
        ((0xAD, 0xAD), (0x180E, 0x180E), (0x200B, 0x200D), (0x2060, 0x2064)),
    ),
    (
        "direction-mark",
        "a mark of direction, which has no width",
        ((0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069)),
    ),
    ("byte-order-mark", "a byte order mark, which belongs before a text", ((0xFEFF, 0xFEFF),)),
    (
        "replacement-character",
        "which stands for bytes that somebody could not decode",
        ((0xFFFD, 0xFFFD),),
    ),
)
COMBINING = len(CHARACTERS) + 1
KIND_OF = np.zeros(1 << 16, np.uint8)  # of a code point: 1 + its place in CHARACTERS
for _number, (_, _, _spans) in enumerate(CHARACTERS, 1):
    for _low, _high in _spans:
        KIND_OF[_low : _high + 1] = _number
KIND_OF[0x300:0x370] = COMBINING
# The first byte of the UTF-8 of each of them, and how many bytes it begins.
LENGTHS = np.zeros(256, np.uint8)
for _code in np.flatnonzero(KIND_OF).tolist():
    _spelled = chr(_code).encode("utf-8", "surrogatepass")
    LENGTHS[_spelled[0]] = len(_spelled)

MARKS: tuple[tuple[str, re.Pattern[bytes], str], ...] = (
    ("/c/en/", re.compile(rb"/c/[a-z]{2,3}/."), "keys of ConceptNet: name them so to find them"),
    ("\u2581", re.compile(b"\xe2\x96\x81"), "pieces of words (SentencePiece): a word begins so"),
    ("##", re.compile(rb"##."), "pieces of words (WordPiece): the rest of a word begins so"),
    ("\u0120", re.compile(b"\xc4\xa0"), "pieces of words (byte-level BPE): a word begins so"),
    ("__label__", re.compile(rb"__label__."), "labels of a classifier"),
    ("ENTITY/", re.compile(rb"ENTITY/."), "names of entities"),
    (
        "_NOUN",
        re.compile(rb".+_(?:ADJ|ADP|ADV|AUX|CCONJ|DET|INTJ|NOUN|NUM|PART|PRON|PROPN|SCONJ|VERB)$"),
        "words with their part of speech behind them",
    ),
)


@dataclass(frozen=True, eq=False)
class _Found:
    """Characters in tokens: the rows that have them, their code points and kinds."""

    rows: Int64
    codes: Int64
    kinds: Bytes


def _characters(tokens: Tokens) -> _Found:
    """The characters of `KIND_OF` that stand in tokens."""
    low, high = int(tokens.offsets[0]), int(tokens.offsets[-1])
    blob = np.zeros(high - low + 2, np.uint8)
    blob[:-2] = np.frombuffer(tokens.blob, np.uint8)[low:high]
    at = np.flatnonzero(LENGTHS[blob[:-2]])
    lead, one, two = (blob[at + i].astype(np.int64) for i in range(3))
    length = LENGTHS[lead]
    codes = np.where(length == 1, lead, (lead & 0x1F) << 6 | (one & 0x3F))
    codes = np.where(length == 3, (lead & 0xF) << 12 | (one & 0x3F) << 6 | (two & 0x3F), codes)
    fits = (length < 2) | (one >> 6 == 2)
    fits &= (length < 3) | (two >> 6 == 2)
    kinds = KIND_OF[codes]
    used = np.flatnonzero(fits & (kinds > 0))
    ends = tokens.offsets[1:] - low
    rows = np.searchsorted(ends, at[used], side="right")
    inside = at[used] + length[used] <= ends[rows]
    used, rows = used[inside], rows[inside]
    return _Found(rows, codes[used], kinds[used])


def _not_utf8(tokens: Tokens) -> list[int]:
    rows, first = [], 0
    while (row := tokens.part(first, len(tokens)).first_not_utf8()) is not None:
        rows.append(first + row)
        first += row + 1
    return rows


@dataclass(eq=False)
class TokenScan:
    """Looks at the tokens of each batch; `remarks` says what it found."""

    rows: int = 0
    collected: dict[str, Collected] = field(default_factory=dict)
    builder: TokensBuilder = field(default_factory=TokensBuilder)
    lower: bool = True
    sampled: int = 0
    marked: dict[str, int] = field(default_factory=dict)
    first_token: bytes = b""

    def add(self, batch: Batch) -> None:
        """Look at the tokens of the next batch."""
        tokens = batch.tokens
        if not self.rows and len(tokens):
            self.first_token = tokens.bytes_at(0)
        lengths = np.diff(tokens.offsets)
        self._note("empty", np.flatnonzero(lengths == 0), batch)
        self._note("long", np.flatnonzero(lengths > LONG), batch)
        self._note("not-utf8", _not_utf8(tokens), batch)
        self._add_characters(batch)
        self._add_repeated(batch)
        self._add_case(tokens)
        self._add_marks(tokens)
        self.rows += len(tokens)

    def _note(self, kind: str, rows: Int64 | list[int], batch: Batch, first: int = 0) -> None:
        if len(rows):
            found = self.collected.setdefault(kind, Collected())
            found.add(rows, batch.tokens, batch.place, first)

    def _add_characters(self, batch: Batch) -> None:
        found = _characters(batch.tokens)
        for number, (kind, _, _) in enumerate(CHARACTERS, 1):
            ours = np.flatnonzero(found.kinds == number)
            if ours.size:
                code = int(found.codes[ours[0]])
                self._note(kind, np.unique(found.rows[ours]), batch, code)
        combined = np.unique(found.rows[found.kinds == COMBINING]).tolist()
        self._note("not-nfc", [row for row in combined if _not_nfc(batch.tokens, row)], batch)

    def _add_repeated(self, batch: Batch) -> None:
        found = self.builder.add(batch.tokens)
        rows = np.flatnonzero(found >= 0)
        if rows.size:
            self._note("repeated", rows, batch, int(found[rows[0]]))

    def _add_case(self, tokens: Tokens) -> None:
        """Is there a capital letter, at last?"""
        if not self.lower:
            return
        text = str(tokens.blob[tokens.offsets[0] : tokens.offsets[-1]], "utf-8", "ignore")
        self.lower = text == text.lower()

    def _add_marks(self, tokens: Tokens) -> None:
        count = min(len(tokens), SAMPLE - self.sampled)
        spelled = [tokens.bytes_at(row) for row in range(count)]
        for name, pattern, _ in MARKS:
            self.marked[name] = self.marked.get(name, 0) + sum(
                map(bool, map(pattern.match, spelled))
            )
        self.sampled += count

    def remarks(self) -> Iterator[Remark]:
        """What was found, the rarest things first."""
        yield from self._of_bytes()
        for kind, what, _ in CHARACTERS:
            if found := self.collected.get(kind):
                code = f"U+{found.first:04X} ({what})"
                message = f"token {found.where} contains {code}: {found.token!r}{found.more}"
                yield found.remark(f"token-{kind}", message)
        yield from self._of_all()

    def _of_bytes(self) -> Iterator[Remark]:
        says = {
            "not-utf8": "is not UTF-8: reading asks for unicode_errors= (--unicode-errors)",
            "not-nfc": "is not in the composed form NFC, in which most texts are",
            "empty": "is empty",
            "long": f"is longer than {LONG} bytes",
        }
        for kind, what in says.items():
            if found := self.collected.get(kind):
                message = f"token {found.where} {what}: {found.token[:60]!r}"
                more = f"; {found.count:,} tokens are so" if found.count > 1 else ""
                yield found.remark(f"token-{kind}", message + more)
        if found := self.collected.get("repeated"):
            share = f"{found.count:,} ({found.count / self.rows:.1%})".replace("%", " %")
            message = (
                f"repeated tokens: {share}; the first is {found.token!r} {found.where}, which row "
                f"{found.first} (from 0) has too: on_duplicate= (--on-duplicate) chooses"
            )
            yield found.remark("repeated-tokens", message)

    def _of_all(self) -> Iterator[Remark]:
        if self.first_token in (b"</s>", b"<s>", b"<pad>", b"<unk>", b"[PAD]", b"[UNK]", b"<PAD>"):
            token = self.first_token.decode()
            message = f"row 0 is {token!r}, no word"
            yield Remark("special-first", message, 1, token, {"row": 0})
        if self.rows < ENOUGH:
            return
        if self.lower:
            message = "all tokens are lower case: the default match stages find your capitals"
            yield Remark("lower-case", message, self.rows)
        for name, _, what in MARKS:
            if self.marked[name] >= SHARE * self.sampled:
                share = f"{self.marked[name] / self.sampled:.1%}".replace("%", " %")
                yield Remark("marker", f"{share} of the tokens are as with {name!r}: {what}")


def _not_nfc(tokens: Tokens, row: int) -> bool:
    text = tokens.bytes_at(row).decode("utf-8", "replace")
    return not unicodedata.is_normalized("NFC", text)
