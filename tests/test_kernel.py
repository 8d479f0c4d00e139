"""The compiled kernel against plain Python: lines, rows, tokens, the index, word2vec records.

Buffers end at a page that may not be touched, so that reading one byte too far ends the process.
These tests need no TensorFlow and run under the sanitizers too; numbers are in test_decimal.py.
"""

import ctypes
import errno
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedfreeze import _kernel
from embedfreeze.tokens import slot_count

SPACE = 32
NO_INDEX = (b"", np.zeros(1, np.int64), np.empty(0, np.int32))
INT64 = np.iinfo(np.int64)
HUGE = (INT64.min, INT64.max, -1, 2**62, -(2**62), 2**61, 2**32)
HUGE_PAIRS = [(a, b) for a in HUGE for b in HUGE]
SMALL_PAIRS = [(a, b) for a in range(-1, 7) for b in range(-1, 7)]

_libc = ctypes.CDLL(None, use_errno=True)
_mprotect, _write = _libc.mprotect, _libc.write
_mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]


class Guarded:
    """A copy of bytes that ends where a page without any access begins."""

    def __init__(self, data: Any) -> None:
        data = bytes(data)
        size = -(-len(data) // mmap.PAGESIZE) * mmap.PAGESIZE
        self._mapping = mmap.mmap(-1, size + mmap.PAGESIZE)
        anchor = ctypes.c_char.from_buffer(self._mapping)
        guard = ctypes.addressof(anchor) + size
        if _mprotect(guard, mmap.PAGESIZE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
        self.view = memoryview(self._mapping)[size - len(data) : size]
        self.view[:] = data

    def array(self, dtype: Any) -> np.ndarray:
        return np.frombuffer(self.view, dtype)


def guarded(data: Any) -> memoryview:
    return Guarded(data).view


def guarded_array(values: Any, dtype: Any) -> np.ndarray:
    return Guarded(np.array(values, dtype).tobytes()).array(dtype)


def test_the_guard_is_there() -> None:
    """The system cannot read behind a guarded buffer either, and says so instead of ending us."""
    view = guarded(b"abc")
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    out, into = os.pipe()
    try:
        assert _write(into, address, 3) == 3
        assert os.read(out, 9) == b"abc"
        assert _write(into, address + 3, 1) == -1
        assert ctypes.get_errno() == errno.EFAULT
    finally:
        os.close(out)
        os.close(into)


def joined(tokens: list[bytes]) -> tuple[memoryview, np.ndarray]:
    """Blob and offsets [n + 1] of tokens."""
    offsets = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
    return guarded(b"".join(tokens)), offsets


def index_of(tokens: list[bytes], size: int | None = None) -> tuple[memoryview, Any, Any]:
    """Blob, offsets and slots of an index over tokens."""
    blob, offsets = joined(tokens)
    slots = guarded_array([-1] * (slot_count(len(tokens)) if size is None else size), np.int32)
    _kernel.index_insert(blob, offsets, slots, 0, len(tokens), np.empty(len(tokens), np.int32))
    return blob, offsets, slots


def find(index: tuple[Any, Any, Any], tokens: list[bytes]) -> list[int]:
    """Rows of tokens, each given as a span of one buffer."""
    blob, offsets = joined(tokens)
    spans = np.stack([offsets[:-1], np.diff(offsets)], axis=1)
    rows = guarded_array([-7] * len(tokens), np.int32)
    _kernel.index_find(*index, blob, spans, rows)
    return rows.tolist()


# ---- the hash ------------------------------------------------------------------------------------

MASK = 2**64 - 1


def mix(h: int, word: int) -> int:
    h = (h ^ word) * 0x9E3779B97F4A7C15 & MASK
    return h ^ h >> 32


def reference_hash(token: bytes) -> int:
    h = mix(0x243F6A8885A308D3, len(token))
    for i in range(0, len(token), 8):
        h = mix(h, int.from_bytes(token[i : i + 8], "little"))
    h = h * 0xBF58476D1CE4E5B9 & MASK
    return h ^ h >> 29


def hashes_of(tokens: list[bytes]) -> list[int]:
    hashes = guarded_array([0] * len(tokens), np.uint64)
    _kernel.hash_tokens(*joined(tokens), hashes)
    return hashes.tolist()


token_bytes = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=12).map(str.encode),
    st.sampled_from([b"", b"\0", b"\0\0", b"a", b"a\0", b"a\0\0", b"the", b"x" * 5000]),
)


@given(st.lists(token_bytes, max_size=20))
def test_hash(tokens: list[bytes]) -> None:
    assert hashes_of(tokens) == list(map(reference_hash, tokens))


GOLDEN_HASHES = {
    b"": 0xEC8B90915D47F28C,
    b"\0": 0x0FA5DEC58FD5BDA7,
    b"a": 0x6890863960109B55,
    b"the": 0x98AF4DA835F60743,
    b"queen": 0x8E62D491CBCAEB90,
    b"[UNK]": 0xF187365178A181D2,
    b"</s>": 0xF035304913BF2359,
    b"12345678": 0xAA1E09D383ACAB18,
    b"123456789": 0xB5593308406F1F37,
    "É\u3000😀".encode(): 0x0E916728CD2D117C,
    bytes(range(256)): 0x20781E9078D40F37,
}


def test_hash_of_version_1_stays() -> None:
    """Stores hold indexes made with it: another hash needs another name (HASH_NAME)."""
    assert dict(zip(GOLDEN_HASHES, hashes_of(list(GOLDEN_HASHES)), strict=True)) == GOLDEN_HASHES


def colliding_tokens(n: int) -> list[bytes]:
    """Different tokens of 16 bytes with one hash: the second word undoes the first."""
    start = mix(0x243F6A8885A308D3, 16)
    after = [mix(start, word) for word in range(n)]
    return [
        word.to_bytes(8, "little") + (h ^ after[0]).to_bytes(8, "little")
        for word, h in enumerate(after)
    ]


# ---- the index -----------------------------------------------------------------------------------


@given(st.lists(token_bytes, max_size=60), st.lists(token_bytes, max_size=20), st.data())
def test_index_is_a_dict(tokens: list[bytes], others: list[bytes], data: st.DataObject) -> None:
    rows: dict[bytes, int] = {}
    earlier = []
    for row, token in enumerate(tokens):
        earlier.append(rows.get(token, -1))
        rows.setdefault(token, row)
    cut = data.draw(st.integers(0, len(tokens)))
    blob, offsets = joined(tokens)
    slots = guarded_array([-1] * slot_count(len(tokens)), np.int32)
    found = guarded_array([-7] * len(tokens), np.int32)
    _kernel.index_insert(blob, offsets, slots, 0, cut, found[:cut])
    _kernel.index_insert(blob, offsets, slots, cut, len(tokens), found[cut:])
    assert found.tolist() == earlier
    asked = tokens + others
    assert find((blob, offsets, slots), asked) == [rows.get(token, -1) for token in asked]


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_a_full_index_still_answers(n: int) -> None:
    tokens = [b"%d" % i for i in range(n)]
    index = index_of(tokens, size=n)
    assert sorted(index[2].tolist()) == list(range(n))
    assert find(index, [*tokens, b"other"]) == [*range(n), -1]


def test_equal_hashes() -> None:
    tokens = colliding_tokens(300)
    assert len(set(hashes_of(tokens))) == 1
    assert len(set(tokens)) == 300
    index = index_of(tokens[:200])
    assert find(index, tokens) == [*range(200), *[-1] * 100]


def test_tokens_that_differ_by_what_fills_the_last_word() -> None:
    tokens = [b"ab" + b"\0" * i for i in range(40)]
    assert find(index_of(tokens), tokens) == list(range(40))


def test_an_index_without_slots_or_tokens() -> None:
    assert find(NO_INDEX, [b"a", b""]) == [-1, -1]
    assert find(index_of([]), [b"a", b""]) == [-1, -1]
    with pytest.raises(ValueError, match="no slot is free"):
        index_of([b"a"], size=0)
    with pytest.raises(ValueError, match="no slot is free"):
        index_of([b"a", b"b", b"c"], size=2)


def test_spans_that_leave_the_buffer_are_not_found() -> None:
    tokens = {b"": 0, b"a": 1, b"b": 2, b"ab": 3}
    index = index_of(list(tokens))
    spans = [*SMALL_PAIRS, *HUGE_PAIRS]
    rows = np.empty(len(spans), np.int32)
    _kernel.index_find(*index, guarded(b"ab"), np.array(spans, np.int64), rows)
    for (start, length), row in zip(spans, rows.tolist(), strict=True):
        inside = start >= 0 and length >= 0 and start + length <= 2
        assert row == (tokens[b"ab"[start : start + length]] if inside else -1)


hostile_int32 = st.one_of(
    st.integers(-3, 12), st.sampled_from([2**31 - 1, -(2**31), 2**30]), st.just(-1)
)
hostile_int64 = st.one_of(st.integers(-3, 30), st.sampled_from(HUGE))


@given(
    st.binary(max_size=24),
    st.lists(hostile_int64, min_size=1, max_size=10),
    st.lists(hostile_int32, min_size=8, max_size=8),
    st.lists(token_bytes, min_size=1, max_size=8),
)
@example(b"ab", [1, INT64.min], [0] * 8, [b"a"])
@example(b"ab", [0, INT64.max], [0] * 8, [b"a"])
def test_hostile_index(
    blob: bytes, offsets: list[int], slots: list[int], tokens: list[bytes]
) -> None:
    """Wrong rows, no free slot, offsets that fall or leave the blob: only true rows are found."""
    index = (guarded(blob), guarded_array(offsets, np.int64), guarded_array(slots, np.int32))
    asked = tokens * 9  # more than are on their way at a time
    for token, row in zip(asked, find(index, asked), strict=True):
        assert -1 <= row < len(offsets) - 1
        if row >= 0:
            low, high = offsets[row], offsets[row + 1]
            assert 0 <= low <= high <= len(blob)
            assert blob[low:high] == token
    n = len(offsets) - 1
    try:
        _kernel.index_insert(*index, 0, n, np.empty(n, np.int32))
    except ValueError:
        assert slots.count(-1) < n or not all(
            0 <= low <= high <= len(blob) for low, high in pairwise(offsets)
        )


@pytest.mark.parametrize("row", [-2, -(2**31), 3, 2**31 - 1])
def test_an_index_that_leads_nowhere_is_told_of(row: int) -> None:
    """Rows that are found before are true; from there on there is none."""
    tokens = [b"a", b"b", b"c"]
    blob, offsets, slots = index_of(tokens)
    spans, rows = np.array([[0, 1], [1, 1], [2, 1]]), np.zeros(3, np.int32)
    assert _kernel.index_find(blob, offsets, slots, blob, spans, rows) is True
    assert rows.tolist() == [0, 1, 2]
    assert _kernel.index_find(blob, offsets, slots, b"z", spans[:1], rows) is True
    spoiled = np.where(slots == 1, row, slots).astype(np.int32)
    assert _kernel.index_find(blob, offsets, spoiled, blob, spans, rows) is False
    assert rows.tolist() == [0, -1, -1]
    full = np.full(len(slots), 2, np.int32)
    assert _kernel.index_find(blob, offsets, full, blob, spans[::-1].copy(), rows) is False
    assert rows.tolist() == [2, -1, -1]


# ---- tokens --------------------------------------------------------------------------------------


@given(arrays(np.float32, st.integers(0, 70), elements=st.floats(width=32)))
def test_are_finite(values: np.ndarray) -> None:
    assert _kernel.are_finite(guarded(values.tobytes())) == np.isfinite(values).all()


@given(st.binary(max_size=50), st.data())
def test_gather_spans(buffer: bytes, data: st.DataObject) -> None:
    start = st.integers(0, len(buffer))
    pairs = data.draw(st.lists(st.tuples(start, start).map(sorted), max_size=8))
    pieces = b"".join(buffer[low:high] for low, high in pairs)
    spans = guarded_array([(low, high - low) for low, high in pairs], np.int64)
    blob = guarded(b"?" * len(pieces))
    _kernel.gather_spans(guarded(buffer), spans, blob)
    assert bytes(blob) == pieces
    if pieces:
        with pytest.raises(ValueError, match="overflow the blob"):
            _kernel.gather_spans(guarded(buffer), spans, guarded(b"?" * (len(pieces) - 1)))


@pytest.mark.parametrize("span", [*SMALL_PAIRS, *HUGE_PAIRS])
def test_gather_refuses_spans_that_leave_the_buffer(span: tuple[int, int]) -> None:
    buffer, spans, blob = guarded(b"abc"), np.array([span], np.int64), guarded(b"???")
    start, length = span
    if start >= 0 and length >= 0 and start + length <= 3:
        _kernel.gather_spans(buffer, spans, blob)
        assert bytes(blob) == b"abc"[start : start + length].ljust(3, b"?")
    else:
        with pytest.raises(ValueError, match="leave the buffer"):
            _kernel.gather_spans(buffer, spans, blob)


def is_utf8(token: bytes) -> bool:
    try:
        token.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def first_bad(tokens: list[bytes]) -> int:
    return next((i for i, token in enumerate(tokens) if not is_utf8(token)), -1)


@given(st.lists(st.one_of(st.text(max_size=8).map(str.encode), st.binary(max_size=4)), max_size=9))
def test_first_not_utf8(tokens: list[bytes]) -> None:
    assert _kernel.first_not_utf8(*joined(tokens)) == first_bad(tokens)


@given(st.text(min_size=1, max_size=8), st.data())
def test_spoiled_utf8(text: str, data: st.DataObject) -> None:
    token = bytearray(text.encode())
    token[data.draw(st.integers(0, len(token) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(token[: data.draw(st.integers(0, len(token)))])
    for spoiled in (bytes(token), cut):
        assert _kernel.first_not_utf8(*joined([spoiled])) == first_bad([spoiled])


def test_every_boundary_of_utf8() -> None:
    edges = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xFF]
    tokens = [bytes([a]) for a in range(256)]
    tokens += [bytes([a, b]) for a in range(0x80, 256) for b in range(0x70, 256)]
    tokens += [bytes([a, b, c]) for a in range(0xDF, 256) for b in edges for c in edges]
    tokens += [
        bytes([a, b, c, d]) for a in range(0xEF, 0xF8) for b in edges for c in edges for d in edges
    ]
    expected = [is_utf8(token) for token in tokens]
    assert [_kernel.first_not_utf8(*joined([token])) < 0 for token in tokens] == expected


# ---- checksums -----------------------------------------------------------------------------------

ISCSI_READ = (
    "01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018 28000000 00000000"
    "02000000 00000000"
)


def reference_crc32c(data: bytes) -> int:
    """Byte by byte, with a table of what each does."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("by_tables", [False, True])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (bytes.fromhex(ISCSI_READ), 0xD9963A56),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_crc32c_of_rfc_3720(data: bytes, expected: int, by_tables: bool) -> None:
    assert _kernel.crc32c(guarded(data), by_tables) == expected


@given(st.binary(max_size=300), st.integers(0, 9))
def test_crc32c(data: bytes, start: int) -> None:
    """From any address on, of any length."""
    view = guarded(data)[start:]
    expected = reference_crc32c(data[start:])
    assert _kernel.crc32c(view) == _kernel.crc32c(view, True) == expected


# ---- lines ---------------------------------------------------------------------------------------

text_bytes = st.one_of(
    st.lists(st.sampled_from([b"a", b"b", b" ", b"\n", b"\r", b"\t", b"\x00"]), max_size=40).map(
        b"".join
    ),
    st.binary(max_size=60),
)


def ranges(data: st.DataObject, size: int) -> tuple[int, int]:
    start = data.draw(st.integers(0, size))
    return start, data.draw(st.integers(start, size))


@given(text_bytes, st.data())
def test_count_lines(buffer: bytes, data: st.DataObject) -> None:
    start, stop = ranges(data, len(buffer))
    assert _kernel.count_lines(guarded(buffer), start, stop) == buffer[start:stop].count(b"\n")


FOLD = bytes(range(9)) + b"\t \t" + bytes(range(12, 97)) + b"\n" * 3 + bytes(range(100, 256))


def reference_tokens(text: bytes, start: int) -> tuple[list[bytes], list[tuple[int, int]]]:
    """Tokens of text[start:], and spans of the pieces that are left to the caller."""
    tokens, left, at = [], [], start
    for piece in text[start:].translate(FOLD).split(b" "):
        size = min(len(piece) + 1, len(text) - at)
        if b"\t" in piece:
            left.append((at, size))
        elif piece.replace(b"\n", b""):
            tokens.append(piece.replace(b"\n", b""))
        at += size
    return tokens, left


@given(
    st.lists(st.sampled_from([b"a", b"A", b"b", b"c", b" ", b"\t", b"\n", b"\xff"])).map(b"".join),
    st.integers(1, 4),
    st.data(),
)
def test_cut_tokens(text: bytes, room: int, data: st.DataObject) -> None:
    start = at = data.draw(st.integers(0, len(text)))
    tokens, left = [], []
    while at < len(text):
        folded = guarded(b"?" * len(text))
        spans, odd = (guarded_array([-7] * 2 * n, np.int64) for n in (room, 2))
        found, pieces, to = _kernel.cut_tokens(guarded(text), at, FOLD, folded, spans, odd)
        assert at < to <= len(text)
        assert to == len(text) or found == room or pieces == 2
        tokens += [bytes(folded[low : low + n]) for low, n in spans.reshape(-1, 2)[:found]]
        left += list(map(tuple, odd.reshape(-1, 2)[:pieces].tolist()))
        at = to
    assert (tokens, left) == reference_tokens(text, start)


def reference_lines(buffer: bytes, start: int, stop: int) -> list[tuple[int, bytes]]:
    """Starts and contents of the lines of buffer[start:stop]."""
    lines, at = [], start
    for line in buffer[start:stop].split(b"\n"):
        if at < stop:
            lines.append((at, line))
        at += len(line) + 1
    return lines


def all_lines(
    buffer: Any, start: int, stop: int, delimiter: int, index: tuple[Any, Any, Any], room: int
) -> list[int]:
    """What find_lines finds in calls with little room each."""
    found: list[int] = []
    while start < stop:
        starts = guarded_array([-7] * room, np.int64)
        written, at = _kernel.find_lines(buffer, start, stop, delimiter, *index, starts)
        assert start < at <= stop
        assert at == stop or written == room
        found += starts[:written].tolist()
        start = at
    return found


@given(
    text_bytes,
    st.sampled_from([SPACE, 9, ord("b")]),
    st.none() | st.lists(st.sampled_from([b"", b"a", b"b", b"ab", b"a b", b"\r"]), max_size=4),
    st.integers(1, 5),
    st.data(),
)
def test_find_lines(
    buffer: bytes, delimiter: int, wanted: list[bytes] | None, room: int, data: st.DataObject
) -> None:
    start, stop = ranges(data, len(buffer))
    index = NO_INDEX if wanted is None else index_of(wanted)
    expected = [
        at
        for at, line in reference_lines(buffer, start, stop)
        if wanted is None or line.partition(bytes([delimiter]))[0] in wanted
    ]
    assert all_lines(guarded(buffer), start, stop, delimiter, index, room) == expected


def test_find_lines_without_room() -> None:
    assert _kernel.find_lines(b"a\nb\n", 2, 4, SPACE, *NO_INDEX, np.empty(0, np.int64)) == (0, 2)


@pytest.mark.parametrize("length", range(1, 40))
def test_the_end_of_a_token_is_found_in_every_place(length: int) -> None:
    """Eight bytes at a time must not look like a delimiter where there is none."""
    token = bytes(b for b in range(1, 256) if b not in b" \n")[:length][::-1] + b"\x1f\x21\xa0\x8a"
    index = index_of([token, b"x" * length])
    text = b"\n".join([token + b" 1", b"x" * length + b" 2", token, b"x" * length])
    assert len(all_lines(guarded(text), 0, len(text), SPACE, index, 1)) == 4


# ---- rows ----------------------------------------------------------------------------------------


def reference_row(
    line: bytes, delimiter: bytes, dim: int
) -> tuple[tuple[int, int], list[float] | None]:
    """Span relative to the line and values of one line; (-reason, good fields) of a bad one."""
    line = line.removesuffix(b"\r").removesuffix(delimiter)
    fields = line.split(delimiter)
    values: list[float] = []
    while len(values) < dim:
        if len(fields) == 1:
            return (-1, len(values)), None
        field = fields.pop()
        if not _kernel.is_number(field):
            return (-2, len(values)), None
        values.insert(0, float(field))
    return (0, len(delimiter.join(fields))), values


def check_rows(buffer: bytes, stop: int, starts: list[int], delimiter: int, dim: int) -> None:
    values = guarded_array(np.zeros((len(starts), dim)), np.uint32).reshape(-1, dim)
    spans = guarded_array(np.zeros((len(starts), 2)), np.int64).reshape(-1, 2)
    unusual = guarded_array(np.zeros(len(starts)), np.uint8)
    bad = _kernel.parse_rows(
        *(guarded(buffer), stop, delimiter, dim, guarded_array(starts, np.int64), values, spans),
        unusual,
    )
    assert bad == int((spans[:, 0] < 0).sum())
    assert np.isfinite(values.view(np.float32)[unusual == 0]).all()
    for row, start in enumerate(starts):
        line = buffer[start:stop].partition(b"\n")[0]
        span, expected = reference_row(line, bytes([delimiter]), dim)
        if expected is None:
            assert tuple(spans[row].tolist()) == span
        else:
            assert spans[row].tolist() == [start, span[1]]
            with np.errstate(over="ignore"):
                floats = np.array(expected).astype(np.float32)
            assert np.array_equal(values[row], floats.view(np.uint32))


numbers = st.one_of(
    st.floats(-9.99, 9.99).map(lambda x: f"{x:.5f}"),
    st.floats(width=32).map(repr),
    st.sampled_from(["0", "-1", "1e-7", "0.1", "5.", "1e999", "nan", "1.000000059604644775390625"]),
)
words = st.sampled_from(
    ["", "a", "the", "1_0", "new york", "é\u00a0x", "1.5", "-", ".", "0x1", "\0"]
)
line_ends = st.sampled_from(["\n", "\n", "\r\n", " \n", " \r\n", "  \n", "\r\r\n", " \r \n"])


# Numbers near the end of the window are read in another way than those far from it.
FURTHER = st.sampled_from([b"", b"\nfar" + b" 0.5" * 50])


def lines_of(dim: int) -> st.SearchStrategy[str]:
    usual = st.tuples(words, st.lists(numbers, min_size=dim, max_size=dim)).map(
        lambda parts: " ".join([parts[0], *parts[1]])
    )
    odd = st.lists(st.one_of(words, numbers), max_size=dim + 2).map(" ".join)
    return st.tuples(st.one_of(usual, usual, odd), line_ends).map("".join)


@given(st.sampled_from([1, 2, 3, 4, 5, 30]), st.data())
def test_parse_rows(dim: int, data: st.DataObject) -> None:
    text = "".join(data.draw(st.lists(lines_of(dim), min_size=1, max_size=6))).encode()
    buffer = text[: data.draw(st.integers(1, len(text)))] + data.draw(FURTHER)
    starts = [start for start, _ in reference_lines(buffer, 0, len(buffer))]
    check_rows(buffer, len(buffer), starts, SPACE, dim)


@pytest.mark.parametrize("delimiter", [b" ", b"\t", b","])
@pytest.mark.parametrize("digits", range(17))
def test_fields_that_end_anywhere_in_a_block(delimiter: bytes, digits: int) -> None:
    """The ends of fields are looked for in 64 bytes at a time."""
    number = b"-7." + b"1234567890123456"[:digits]
    fields = [number, number[1:], number[:-1] + b"5", b"0.25"] * 5
    for length in range(70):
        lines = [delimiter.join([b"x" * length, *fields]), delimiter.join([b"y", *fields])]
        for spoiled in (b"1_0", b"0.12x4", b"0.1\r2"):
            lines.append(delimiter.join([b"x" * length, *fields[:9], spoiled, *fields[10:]]))
        buffer = b"\n".join([*lines, b"7" * 200])
        starts = [start for start, _ in reference_lines(buffer, 0, len(buffer))]
        check_rows(buffer, len(buffer), starts, delimiter[0], len(fields))


def test_windows_that_end_anywhere() -> None:
    """Also in the middle of a number, of a token, of a line end."""
    usual = b"usual" + b" -0.12345" * 20 + b"\n"
    odd = b"the 0.1234567890 -1.5 2.25\r\na  1.5 0.000000001 -3. \n"
    buffer = odd + usual + odd + b"last 1.25 -1.5 7.5"
    for dim in (1, 3, 20):
        for stop in range(1, len(buffer) + 1):
            for cut in (buffer, buffer[:stop]):
                starts = [start for start, _ in reference_lines(buffer, 0, stop)]
                check_rows(cut, stop, starts, SPACE, dim)


def test_a_start_anywhere_in_the_buffer() -> None:
    buffer = b"the 0.125 -1.5\n\n 7.5 8.5\r\n\r\n  9.5 1.5 "
    check_rows(buffer, len(buffer), list(range(len(buffer))), SPACE, 2)
    check_rows(buffer, len(buffer), list(range(len(buffer)))[::-1], SPACE, 2)


@pytest.mark.parametrize("delimiter", [SPACE, 9, ord(","), 0, 255])
@pytest.mark.parametrize("end", ["\n", "\r\n", "D\n", "D\r\n", ""])
def test_line_ends_and_delimiters(delimiter: int, end: str) -> None:
    line = f"new yorkD0.5D-1.25D3e-5{end}".encode().replace(b"D", bytes([delimiter]))
    buffer = line * (3 if end else 1)
    starts = [i * len(line) for i in range(len(buffer) // len(line))]
    check_rows(buffer, len(buffer), starts, delimiter, 3)
    check_rows(buffer, len(buffer), starts, delimiter, 1)


@pytest.mark.parametrize("spelled", ["1e-300", "1.000000059604644775390625", "3e39", "nan"])
def test_many_rows_of_many_numbers_off_the_fast_path(spelled: str) -> None:
    dim = 700
    fields = [spelled, "0.5"] * (dim // 2)
    rows = [" ".join([f"token{i}", *fields]) for i in range(5)]
    rows.insert(2, " ".join(["bad", "x", *fields[1:]]))
    buffer = "\n".join(rows).encode()
    starts = [start for start, _ in reference_lines(buffer, 0, len(buffer))]
    check_rows(buffer, len(buffer), starts, SPACE, dim)


def test_one_page_exactly() -> None:
    """A file of exactly a page has no byte behind it."""
    for end in (b"1.5", b"0.12345678", b"0.1234567", b"1e-5", b"-7.5\n", b"7.5 ", b"7.5\r", b"9"):
        for head in (b"tok 1.25 ", b"1.25 "):
            filler = mmap.PAGESIZE - len(head) - len(end)
            buffer = b"x" * filler + head + end
            check_rows(buffer, mmap.PAGESIZE, [0, filler], SPACE, 2)
            assert all_lines(guarded(buffer), 0, len(buffer), SPACE, index_of([b"q"]), 3) == []


# ---- word2vec records ----------------------------------------------------------------------------


def reference_records(
    data: bytes, start: int, until: int, row_bytes: int, limit: int, wanted: Any, room: int
) -> tuple[int, list[list[int]], int]:
    spans: list[list[int]] = []
    at, walked = start, 0
    while at < until and walked < limit and len(spans) < room:
        token = at
        while data[token : token + 1] == b"\n":
            token += 1
        space = data.find(b" ", token)
        if space < 0 or len(data) - space - 1 < row_bytes:
            break
        if wanted is None or data[token:space] in wanted:
            spans.append([token, space - token])
        walked += 1
        at = space + 1 + row_bytes
    return walked, spans, at


records = st.lists(
    st.tuples(
        st.sampled_from([b"", b"\n", b"\n\n"]),
        st.sampled_from([b"", b"a", b"the", b"\xff", b"a\tb"]),
        st.binary(min_size=8, max_size=8),
    ).map(lambda parts: parts[0] + parts[1] + b" " + parts[2]),
    max_size=8,
).map(b"".join)


@given(
    st.one_of(records, text_bytes),
    st.sampled_from([1, 4, 8, 12]),
    st.sampled_from([0, 1, 3, 10**9, INT64.max]),
    st.none() | st.just([b"a", b"", b"the"]),
    st.integers(0, 9),
    st.data(),
)
def test_find_records(
    data: bytes, row_bytes: int, limit: int, wanted: Any, room: int, draw: st.DataObject
) -> None:
    start, until = ranges(draw, len(data))
    index = NO_INDEX if wanted is None else index_of(wanted)
    spans = guarded_array(np.zeros((room, 2)), np.int64).reshape(-1, 2)
    walked, written, at = _kernel.find_records(
        guarded(data), start, until, row_bytes, limit, *index, spans
    )
    expected = reference_records(data, start, until, row_bytes, limit, wanted, room)
    assert (walked, spans[:written].tolist(), at) == expected


@pytest.mark.parametrize("row_bytes", [1, 4, 8])
def test_records_of_a_buffer_that_ends_anywhere(row_bytes: int) -> None:
    rows = [token + b" " + b"\xab" * row_bytes for token in (b"a", b"\n\nthe", b"", b"\na")]
    data = b"".join(rows) + b"\n"
    for wanted in (None, [b"the"]):
        index = NO_INDEX if wanted is None else index_of(wanted)
        for stop in range(len(data) + 1):
            spans = i64(2 * 9).reshape(9, 2)
            walked, written, at = _kernel.find_records(
                guarded(data[:stop]), 0, stop, row_bytes, 9, *index, spans
            )
            assert (walked, spans[:written].tolist(), at) == reference_records(
                data[:stop], 0, stop, row_bytes, 9, wanted, 9
            )


def is_chain(data: bytes, at: int, row_bytes: int) -> bool:
    for _ in range(8):
        near = at + 256
        while at < near and data[at : at + 1] == b"\n":
            at += 1
        space = data.find(b" ", at, near)
        token = data[at : max(space, at)]
        if space <= at or len(data) - space - 1 < row_bytes:
            return False
        if not is_utf8(token) or min(token) < 0x20:
            return False
        at = space + 1 + row_bytes
    return True


def reference_guess(data: bytes, start: int, row_bytes: int) -> int:
    for at in range(start, min(start + 4 * row_bytes, len(data))):
        after = at + 1 + row_bytes
        if data[at] == SPACE and len(data) > after and is_chain(data, after, row_bytes):
            return after
    return -1


@given(
    st.lists(st.sampled_from([b"a", b"the", b"\xc3\xa9", b"\nb"]), max_size=15),
    token_bytes,
    st.integers(1, 12),
    st.integers(0, 9),
    st.data(),
)
def test_guess_record(
    tokens: list[bytes], odd_one: bytes, row_bytes: int, seed: int, draw: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    data = b"".join(token + b" " + rng.bytes(row_bytes) for token in [odd_one, *tokens])
    start = draw.draw(st.integers(0, len(data)))
    assert _kernel.guess_record(guarded(data), start, row_bytes) == reference_guess(
        data, start, row_bytes
    )


@pytest.mark.parametrize("line_feed", [b"", b"\n"])
def test_a_guess_in_a_real_file_is_right(line_feed: bytes) -> None:
    rng = np.random.default_rng(5)
    tokens = [b"token%d" % i for i in range(500)]
    rows = [t + b" " + rng.bytes(1200) + line_feed for t in tokens]
    data = b"".join(rows)
    ends = np.cumsum(list(map(len, rows))) - len(line_feed)
    guesses = [_kernel.guess_record(guarded(data), i, 1200) for i in range(0, len(data), 50_021)]
    assert len(guesses) > 10
    assert all(guess in ends for guess in guesses[:-1])


@pytest.mark.parametrize("count", range(12))
@pytest.mark.parametrize("token", [b"a", b"\x1f", b"\x7f", b"\xff", b"", b"\n" * 250, b"x" * 255])
def test_a_guess_wants_eight_plausible_records(token: bytes, count: int) -> None:
    data = b"x \0\0\0\0" + (token + b" \0\0\0\0") * count
    guess = _kernel.guess_record(guarded(data), 0, 4)
    assert guess == reference_guess(data, 0, 4)
    assert (guess == 6) == (count >= 8 and token in (b"a", b"\x7f", b"x" * 255))


def test_a_guess_takes_bounded_time() -> None:
    """Spaces, and then no space to the end of the file: not every one searches to the end."""
    data = b" " * 20_000 + b"x" * 40_000_000
    started = time.monotonic()
    assert _kernel.guess_record(data, 0, 4000) == -1
    assert time.monotonic() - started < 5


@given(st.binary(max_size=60), st.integers(1, 5), st.data())
def test_copy_rows(buffer: bytes, row_bytes: int, data: st.DataObject) -> None:
    last = len(buffer) - row_bytes - 1
    if last < 0:
        return
    ends = data.draw(st.lists(st.integers(0, last), max_size=5))
    starts = [data.draw(st.integers(0, end)) for end in ends]
    spans = guarded_array(
        [(start, end - start) for start, end in zip(starts, ends, strict=True)], np.int64
    )
    values = guarded(b"?" * (row_bytes * len(ends)))
    finite = _kernel.copy_rows(guarded(buffer), spans, values)
    if row_bytes == 4:
        assert finite == np.isfinite(np.frombuffer(values, np.float32)).all()
    assert bytes(values) == b"".join(buffer[end + 1 :][:row_bytes] for end in ends)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40), st.integers(1, 40))
def test_copied_values_that_are_not_finite_are_told_of(words: list[int], dim: int) -> None:
    values = np.array((words * dim)[: len(words) // dim * dim or dim], np.uint32).reshape(-1, dim)
    buffer = b"".join(b"t " + row.tobytes() for row in values)
    spans = np.array([[i * (4 * dim + 2), 1] for i in range(len(values))])
    copy = np.empty_like(values)
    finite = _kernel.copy_rows(buffer, spans, copy)
    assert np.array_equal(copy, values)
    assert finite == np.isfinite(values.view(np.float32)).all()


@pytest.mark.parametrize("span", [*SMALL_PAIRS, *HUGE_PAIRS])
def test_copy_rows_refuses_spans_that_leave_the_buffer(span: tuple[int, int]) -> None:
    buffer, spans, row = guarded(b"a 1234"), np.array([span], np.int64), guarded(b"????")
    if span[0] >= 0 and span[1] >= 0 and sum(span) <= 1:
        _kernel.copy_rows(buffer, spans, row)
        assert bytes(row) == bytes(buffer)[sum(span) + 1 :][:4]
    else:
        with pytest.raises(ValueError, match="spans leave the buffer"):
            _kernel.copy_rows(buffer, spans, row)


@given(st.lists(token_bytes, max_size=6), st.integers(1, 9))
def test_format_records(tokens: list[bytes], row_bytes: int) -> None:
    values = np.random.default_rng(row_bytes).bytes(row_bytes * len(tokens))
    rows = [values[i * row_bytes :][:row_bytes] for i in range(len(tokens))]
    expected = b"".join(t + b" " + row + b"\n" for t, row in zip(tokens, rows, strict=True))
    written = guarded(b"?" * len(expected))
    _kernel.format_records(*joined(tokens), guarded(values), row_bytes, written)
    assert bytes(written) == expected


@given(st.lists(token_bytes, max_size=6), st.integers(1, 6), st.sampled_from([SPACE, 9]), st.data())
def test_format_rows(tokens: list[bytes], dim: int, delimiter: int, data: st.DataObject) -> None:
    size = dim * len(tokens)
    floats = st.lists(st.floats(width=32), min_size=size, max_size=size)
    matrix = np.array(data.draw(floats), np.float32).reshape(-1, dim)
    text = guarded(b"?" * (sum(map(len, tokens)) + len(tokens) * (dim * 17 + 1)))
    blob, offsets = joined([b"before", *tokens])  # as a part of larger tokens
    used = _kernel.format_rows(blob, offsets[1:], guarded(matrix.tobytes()), dim, delimiter, text)
    rest = bytes(text[:used])
    assert bytes(text[used:]) == b"?" * (len(text) - used)
    for token, row in zip(tokens, matrix, strict=True):
        assert rest.startswith(token)
        line, _, rest = rest[len(token) :].partition(b"\n")
        fields = line.split(bytes([delimiter]))
        assert fields[0] == b""
        read = np.array([float(field) for field in fields[1:]]).astype(np.float32)
        same = (read.view(np.uint32) == row.view(np.uint32)) | (np.isnan(read) & np.isnan(row))
        assert same.all()
    assert rest == b""


# ---- wrong arguments -----------------------------------------------------------------------------

ONE = np.zeros(1, np.int64)
TWO = np.array([0, 1], np.int64)
SPAN = np.zeros((1, 2), np.int64)


def odd(dtype: Any, n: int = 8) -> np.ndarray:
    """An array at an odd address."""
    return np.zeros(n * 8 + 1, np.uint8)[1:].view(dtype)[:n]


def f32(n: int) -> np.ndarray:
    return np.zeros(n, np.float32)


def i32(n: int) -> np.ndarray:
    return np.full(n, -1, np.int32)


def i64(n: int) -> np.ndarray:
    return np.zeros(n, np.int64)


INDEX = (b"a", TWO, np.array([0, -1], np.int32))
BAD_INDEXES = {
    "no offsets": (b"a", i64(0), i32(2)),
    "three slots": (b"a", TWO, i32(3)),
    "odd offsets": (b"a", odd(np.int64, 2), i32(2)),
    "odd slots": (b"a", TWO, odd(np.int32, 2)),
}
BAD_OFFSETS = {
    "none": i64(0),
    "odd": odd(np.int64, 2),
    "negative": np.array([-1, 1], np.int64),
    "falling": np.array([1, 0], np.int64),
    "behind": np.array([0, 2], np.int64),
    "far behind": np.array([0, INT64.max], np.int64),
    "far before": np.array([INT64.min, 1], np.int64),
}
BAD_RANGES = [(-1, 1), (1, 0), (0, 3), (3, 3), (INT64.min, 1), (0, INT64.max), (2**62, 2**62)]
BAD_RANGES += [(INT64.min, INT64.max), (INT64.max, INT64.min)]
NEGATIVE_SIZES = [0, -1, -100, -(2**62), INT64.min]
HUGE_SIZES = [2**61, 2**62, INT64.max - 9, INT64.max]

Call = tuple[Callable[..., object], tuple[Any, ...]]


def wrong_index_calls() -> list[Call]:
    calls: list[Call] = []
    for index in BAD_INDEXES.values():
        calls += [
            (_kernel.index_insert, (*index, 0, 0, i32(1))),
            (_kernel.index_find, (*index, b"a", SPAN, i32(1))),
            (_kernel.find_lines, (b"a\n", 0, 2, SPACE, *index, i64(1))),
            (_kernel.find_records, (b"a 1234", 0, 6, 4, 9, *index, i64(2))),
        ]
    calls += [(_kernel.index_insert, (*INDEX, low, high, i32(9))) for low, high in BAD_RANGES]
    calls += [
        (_kernel.index_insert, (*INDEX, 0, 2, i32(9))),
        (_kernel.index_insert, (*INDEX, 0, 1, i32(0))),
        (_kernel.index_insert, (*INDEX, 0, 1, odd(np.int32))),
        (_kernel.index_find, (*INDEX, b"a", SPAN, i32(0))),
        (_kernel.index_find, (*INDEX, b"a", SPAN, odd(np.int32))),
        (_kernel.index_find, (*INDEX, b"a", odd(np.int64, 2), i32(1))),
    ]
    for name, offsets in BAD_OFFSETS.items():
        calls += [
            (_kernel.hash_tokens, (b"a", offsets, i64(9))),
            (_kernel.first_not_utf8, (b"a", offsets)),
            (_kernel.format_rows, (b"a", offsets, f32(9), 1, SPACE, bytearray(99))),
            (_kernel.format_records, (b"a", offsets, f32(9), 4, bytearray(99))),
        ]
        if name != "none":
            calls.append((_kernel.index_insert, (b"a", offsets, i32(2), 0, 1, i32(1))))
    return calls


def wrong_range_calls() -> list[Call]:
    calls: list[Call] = []
    for start, stop in BAD_RANGES:
        calls += [
            (_kernel.count_lines, (b"a\n", start, stop)),
            (_kernel.find_lines, (b"a\n", start, stop, SPACE, *NO_INDEX, i64(1))),
            (_kernel.find_records, (b"a ", start, stop, 4, 9, *NO_INDEX, i64(2))),
        ]
    for size in NEGATIVE_SIZES:
        calls += [
            (_kernel.find_records, (b"a 1234" * 99, 9, 40, size, 9, *NO_INDEX, i64(2))),
            (_kernel.guess_record, (b"a 1234" * 99, 9, size)),
        ]
    for size in NEGATIVE_SIZES + HUGE_SIZES:
        calls += [
            (_kernel.parse_rows, (b"a 1\n", 4, SPACE, size, ONE, f32(9), i64(9))),
            (_kernel.format_rows, (b"a", TWO, f32(9), size, SPACE, bytearray(99))),
            (_kernel.format_records, (b"a", TWO, f32(9), size, bytearray(99))),
        ]
    for start in (-1, 7, *HUGE):
        calls += [
            (_kernel.guess_record, (b"a 1234", start, 4)),
            (_kernel.cut_tokens, (b"a 1234", start, FOLD, bytearray(9), i64(2), i64(2))),
        ]
    return calls


def wrong_buffer_calls() -> list[Call]:
    row = (b"a 1\n", 4, SPACE, 1)
    calls: list[Call] = [
        (_kernel.parse_rows, (b"a 1\n", stop, SPACE, 1, ONE, f32(1), i64(2)))
        for stop in (-1, 0, 5, *HUGE)
    ]
    calls += [
        (_kernel.parse_rows, (*row, np.array([start], np.int64), f32(1), i64(2)))
        for start in (-1, 4, 5, *HUGE)
    ]
    calls += [
        (_kernel.parse_rows, (*row, odd(np.int64, 1), f32(1), i64(2))),
        (_kernel.parse_rows, (*row, ONE, f32(0), i64(2))),
        (_kernel.parse_rows, (*row, ONE, odd(np.float32), i64(2))),
        (_kernel.parse_rows, (*row, ONE, f32(1), i64(1))),
        (_kernel.parse_rows, (*row, ONE, f32(1), odd(np.int64))),
        (_kernel.find_lines, (b"a\n", 0, 2, SPACE, *NO_INDEX, odd(np.int64))),
        (_kernel.cut_tokens, (b"a", 0, FOLD[:255], bytearray(9), i64(2), i64(2))),
        (_kernel.cut_tokens, (b"ab", 0, FOLD, bytearray(1), i64(2), i64(2))),
        (_kernel.cut_tokens, (b"a", 0, FOLD, bytearray(9), odd(np.int64, 2), i64(2))),
        (_kernel.cut_tokens, (b"a", 0, FOLD, bytearray(9), i64(2), odd(np.int64, 2))),
        (_kernel.find_records, (b"a 1234", 0, 6, 4, 9, *NO_INDEX, odd(np.int64))),
        (_kernel.gather_spans, (b"abc", odd(np.int64, 2), bytearray(9))),
        (_kernel.copy_rows, (b"a 1234", odd(np.int64, 2), bytearray(4))),
        (_kernel.hash_tokens, (b"a", TWO, i64(0))),
        (_kernel.hash_tokens, (b"a", TWO, odd(np.uint64))),
        (_kernel.format_rows, (b"a", TWO, f32(0), 1, SPACE, bytearray(99))),
        (_kernel.format_rows, (b"a", TWO, odd(np.float32), 1, SPACE, bytearray(99))),
        (_kernel.format_rows, (b"a", TWO, f32(1), 1, SPACE, bytearray(18))),
        (_kernel.format_records, (b"a", TWO, f32(0), 4, bytearray(99))),
        (_kernel.format_records, (b"a", TWO, f32(1), 4, bytearray(6))),
    ]
    return calls


@pytest.mark.parametrize(
    ("function", "arguments"),
    wrong_index_calls() + wrong_range_calls() + wrong_buffer_calls(),
)
def test_wrong_arguments(function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"."):
        function(*arguments)


@pytest.mark.parametrize("row_bytes", [600, 2**32, *HUGE_SIZES])
def test_records_larger_than_the_buffer(row_bytes: int) -> None:
    data = guarded(b"a 1234" * 99)
    assert _kernel.find_records(data, 6, 40, row_bytes, 9, *NO_INDEX, i64(2)) == (0, 0, 6)
    assert _kernel.guess_record(data, 0, row_bytes) == -1


@pytest.mark.parametrize("arguments", [(), ("text",), (1,), (b"", 0, 0), (np.zeros(9)[::2],)])
def test_a_checksum_is_of_bytes(arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError, BufferError)):
        _kernel.crc32c(*arguments)


def test_what_is_read_only_is_not_written() -> None:
    with pytest.raises(TypeError):
        _kernel.gather_spans(b"abc", SPAN, b"12345")
    with pytest.raises(TypeError):
        _kernel.index_insert(b"a", TWO, b"\xff" * 8, 0, 1, i32(1))


def test_no_reference_is_kept() -> None:
    """A buffer that stays exported could not be resized again, also after an error."""
    buffer, blob, out = bytearray(b"a 1\n"), bytearray(b"a"), bytearray(64)
    _kernel.parse_rows(buffer, 4, SPACE, 1, ONE, f32(1), i64(2))
    _kernel.format_rows(blob, TWO, f32(1), 1, SPACE, out)
    _kernel.gather_spans(buffer, SPAN, out)
    for wrong in (
        lambda: _kernel.parse_rows(buffer, 9, SPACE, 1, ONE, f32(1), i64(2)),
        lambda: _kernel.format_rows(blob, TWO, f32(1), 0, SPACE, out),
        lambda: _kernel.count_lines(buffer, 3, 2),
        lambda: _kernel.guess_record(buffer, 9, 4),
        lambda: _kernel.index_insert(blob, TWO, out, 5, 4, i32(1)),
        lambda: _kernel.find_lines(buffer, 0, 9, SPACE, *NO_INDEX, out),
        lambda: _kernel.index_find(blob, TWO, i32(3), buffer, SPAN, out),
    ):
        with pytest.raises(ValueError, match=r"."):
            wrong()
    for grown in (buffer, blob, out):
        grown += b"more"


# ---- the GIL -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_calls() -> dict[str, Call]:
    """A call of each function that takes some milliseconds, and can be repeated."""
    n = 200_000
    text = b"token 0.125 -1.5\n" * n
    starts = np.arange(n, dtype=np.int64) * 17
    spans = np.stack([starts, np.full(n, 5)], axis=1)
    large = np.array([[0, 10**6]] * 50)
    tokens = [b"%d" % i for i in range(n)]
    blob, offsets = b"".join(tokens), np.cumsum([0, *map(len, tokens)], dtype=np.int64)
    index = (blob, offsets, i32(slot_count(n)))
    values = np.linspace(-9, 9, 2 * n, dtype=np.float32)
    long_token, long_offsets = b"\xc3\xa9" * 20_000_000, np.array([0, 40_000_000])
    rows = bytearray(len(blob) + 35 * n)
    return {
        "are_finite": (_kernel.are_finite, (np.zeros(10**7, np.float32),)),
        "copy_rows": (_kernel.copy_rows, (text, large, bytearray(50 * 10**6))),
        "count_lines": (_kernel.count_lines, (text * 10, 0, 10 * len(text))),
        "crc32c": (_kernel.crc32c, (text * 10, True)),
        "cut_tokens": (
            _kernel.cut_tokens,
            (text, 0, FOLD, bytearray(len(text)), i64(6 * n), i64(2)),
        ),
        "find_lines": (_kernel.find_lines, (text, 0, len(text), SPACE, *index, i64(n))),
        "find_records": (_kernel.find_records, (text, 0, len(text), 10, n, *NO_INDEX, i64(2 * n))),
        "first_not_utf8": (_kernel.first_not_utf8, (long_token, long_offsets)),
        "format_records": (_kernel.format_records, (blob, offsets, values, 8, rows)),
        "format_rows": (_kernel.format_rows, (blob, offsets, values, 2, SPACE, rows)),
        "gather_spans": (_kernel.gather_spans, (text, large, bytearray(50 * 10**6))),
        "hash_tokens": (_kernel.hash_tokens, (long_token, long_offsets, i64(1))),
        "index_find": (_kernel.index_find, (*index, text, spans, i32(n))),
        "index_insert": (_kernel.index_insert, (*index, 0, n, i32(n))),
        "parse_rows": (
            _kernel.parse_rows,
            (text, len(text), SPACE, 2, starts, f32(2 * n), i64(2 * n)),
        ),
    }


LONG_CALLS = [
    *("are_finite", "copy_rows", "count_lines", "crc32c", "cut_tokens", "find_lines"),
    *("find_records", "first_not_utf8"),
    *("format_records", "format_rows", "gather_spans", "hash_tokens", "index_find"),
    *("index_insert", "parse_rows"),
]


@pytest.fixture
def no_forced_switch() -> Iterator[None]:
    """A thread then gets the GIL only where the other one gives it up."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("no_forced_switch")
@pytest.mark.parametrize("name", LONG_CALLS)
def test_another_thread_runs_meanwhile(name: str, long_calls: dict[str, Call]) -> None:
    function, arguments = long_calls[name]
    started = time.monotonic()
    function(*arguments)
    duration = time.monotonic() - started

    def other_thread_ran() -> bool:
        called, ran = [False], []

        def wait_and_note() -> None:
            time.sleep(duration / 4)
            ran.append(called[0])

        thread = threading.Thread(target=wait_and_note)
        thread.start()
        called[0] = True
        function(*arguments)
        meanwhile = ran == [True]
        thread.join()
        return meanwhile

    deadline = time.monotonic() + 30  # a busy machine may wake the thread too late
    while not other_thread_ran():
        assert time.monotonic() < deadline
