"""JSON: an object of tokens and their lists of numbers, and four shapes like it, as a stream.

An entry is found by a pattern, its numbers are left to the kernel that reads all text. Sources:
RFC 8259, and Python's `json`, which also writes ``NaN`` and ``Infinity``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.errors import FormatError
from embedfreeze.files import Output, Source
from embedfreeze.formats.base import Batch, Format, Place, Reading, ReadOptions, Rows, Writer
from embedfreeze.formats.jsons.entries import SHOWN, Entry, entries_of
from embedfreeze.formats.jsons.shapes import SHAPES, is_json, shape_of
from embedfreeze.formats.texts.layout import BOM
from embedfreeze.formats.texts.writer import formatted
from embedfreeze.tokens import Tokens

__all__ = ["JSON"]

BATCH_BYTES = 4 << 20  # of entries as text, and what else they take
ENTRY_BYTES = 64
ODD_BLANK = re.compile(rb"[^\s,]\s+[^\s,]")
WORD = re.compile(rb",(?!NaN[,\n]|-?Infinity[,\n])-?[A-Za-z]")
MINUS_ZERO = re.compile(rb",-0(?![0-9.])")


def sniff(source: Source) -> bool:
    """An object, or a list of lists or objects?"""
    return is_json(source.head.removeprefix(BOM))


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a JSON file of tokens and vectors."""
    shape = shape_of(source.head.removeprefix(BOM))
    if shape is None:
        shapes = ", ".join(dict.fromkeys(shape.shown for shape in SHAPES))
        raise FormatError(
            f"JSON of embeddings must be one of {shapes}, received {source.head[:SHOWN]!r}: write "
            f"it so",
            path=source.name,
        )
    entries = entries_of(source, shape)
    first = next(entries)
    dim = first.numbers.count(b",") + 1
    reading = Reading(dim, options.rows_dtype, None)
    reading.notes.append(f"the shape of {shape.shown}")
    reading.batches = _batches(source, options, reading, _chained(first, entries))
    return reading


def _chained(first: Entry, others: Iterator[Entry]) -> Iterator[Entry]:
    yield first
    yield from others


def _batches(
    source: Source, options: ReadOptions, reading: Reading, entries: Iterator[Entry]
) -> Iterator[Batch]:
    portion: list[Entry] = []
    size = 0
    for count, entry in enumerate(entries):
        if count == options.limit:
            break
        portion.append(entry)
        size += ENTRY_BYTES + len(entry.token) + len(entry.numbers) + 4 * reading.dim
        if size > BATCH_BYTES:
            yield from _batch(source, options, reading, portion)
            portion, size = [], 0
    if portion:
        yield from _batch(source, options, reading, portion)


def _numbers(entry: Entry) -> bytes | None:
    """The numbers of an entry with a comma before each and no blanks; None if they are none."""
    numbers = entry.numbers.replace(b", ", b",").rstrip()
    if b" " in numbers or b"\n" in numbers or b"\t" in numbers or b"\r" in numbers:
        if ODD_BLANK.search(numbers):
            return None
        numbers = numbers.translate(None, b" \t\r\n")
    return b"," + numbers + b"\n"


def _not_json(text: bytes, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Rows of text, with a comma before each number, that are numbers but not as JSON spells them.

    Such as +1, .5, 5., 01 and nan.
    """
    data = np.frombuffer(text + b"\n\n", np.uint8)
    first = np.flatnonzero(data == ord(",")) + 1
    first += data[first] == ord("-")
    points = np.flatnonzero(data == ord("."))
    digit = (data >= ord("0")) & (data <= ord("9"))
    no_digit = ~digit[first] & (data[first] != ord("N")) & (data[first] != ord("I"))
    zeros = (data[first] == ord("0")) & digit[first + 1]
    wrong = np.concatenate(
        [first[no_digit | zeros], points[~(digit[points - 1] & digit[points + 1])]]
    )
    odd = np.zeros(len(starts), bool)
    odd[np.searchsorted(starts, wrong, side="right") - 1] = True
    words = np.flatnonzero((data >= ord("A")) & ((data | 0x20) != ord("e")))
    for row in np.unique(np.searchsorted(starts, words, side="right") - 1).tolist():
        line = text[starts[row] : starts[row + 1] if row + 1 < len(starts) else len(text)]
        odd[row] |= WORD.search(line) is not None
    return odd


def _batch(
    source: Source, options: ReadOptions, reading: Reading, entries: list[Entry]
) -> Iterator[Batch]:
    """The entries as a batch, if there are any that are wanted."""
    tokens = Tokens.from_bytes([entry.token for entry in entries], options.unicode_errors)
    if options.wanted is not None:
        rows = np.flatnonzero(options.wanted.find(tokens) >= 0)
        tokens, entries = tokens.take(rows), [entries[row] for row in rows.tolist()]
    if not entries:
        return
    lists = [_numbers(entry) for entry in entries]
    text = b"".join(numbers or b"\n" for numbers in lists)
    sizes = np.fromiter((len(numbers or b"\n") for numbers in lists), np.int64, len(lists))
    values = np.empty((len(entries), reading.dim), np.float32)
    spans = np.empty((len(entries), 2), np.int64)
    starts = np.cumsum(sizes) - sizes
    _kernel.parse_rows(text, len(text), ord(","), reading.dim, starts, values, spans)
    bad = (spans[:, 0] < 0) | (spans[:, 1] > 0) | _not_json(text, starts)
    first: Place | None = None
    if bad.any():
        row = int(np.argmax(bad))
        first = {"offset": entries[row].offset}
        if options.on_bad_row == "error":
            raise _bad_entry(source, entries[row], reading.dim)
        good = np.flatnonzero(~bad)
        tokens, values = tokens.take(good), values[good]
        entries = [entries[row] for row in good.tolist()]
    matrix = reading.allocate(len(values), reading.dim, reading.dtype)
    matrix[:] = values
    offsets = [entry.offset for entry in entries]
    batch = Batch(
        tokens,
        matrix,
        entries[-1].position if entries else 0,
        lambda row: {"offset": offsets[row]},
        int(bad.sum()),
        first,
    )
    yield batch.checked(source.name)


def _bad_entry(source: Source, entry: Entry, dim: int) -> FormatError:
    fields = [field.strip() for field in entry.numbers.split(b",")]
    zero = np.zeros(1, np.int64)
    wrong = [f for f in fields if not _kernel.is_number(f) or _not_json(b",%b\n" % f, zero)[0]]
    received = f"{wrong[0][:SHOWN]!r}" if wrong else f"{len(fields)} numbers"
    token = entry.token[:SHOWN].decode("utf-8", "backslashreplace")
    return FormatError(
        f"token {token!r}: a vector must be {dim} numbers of JSON, received {received}: mend the "
        f'file, or skip such rows with on_bad_row="skip" (--on-bad-row skip)',
        path=source.name,
        offset=entry.offset,
    )


def write(rows: Rows, output: Output) -> None:
    """Write an object of tokens and lists, a line for each entry."""
    opening = b"{"
    for batch in rows.batches:
        row, none = 0, Tokens(b"", np.zeros(len(batch.tokens) + 1, np.int64))
        for text in formatted(none, batch.matrix, b","):
            written = []
            for line in _as_json(bytes(text[:-1])).split(b"\n"):
                name = _string(batch.tokens.bytes_at(row))
                written.append(opening + name + b":[" + line[1:] + b"]")
                opening = b",\n"
                row += 1
            output.file.write(b"".join(written))
    output.file.write(b"}\n")


def _as_json(text: bytes) -> bytes:
    """Numbers spelled as Python's `json` does: -0 would be an integer, and NaN has no sign."""
    if b"n" in text:
        text = text.replace(b"-nan", b"nan").replace(b"nan", b"NaN").replace(b"inf", b"Infinity")
    return MINUS_ZERO.sub(b",-0.0", text) if b",-0" in text else text


def _string(token: bytes) -> bytes:
    """A JSON string; bytes that are not UTF-8 become half of a character, as Python reads them."""
    try:
        return json.dumps(token.decode("utf-8"), ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        return json.dumps(token.decode("utf-8", "surrogateescape")).encode("ascii")


JSON = Format("json", sniff, read, Writer((".json",), write))
