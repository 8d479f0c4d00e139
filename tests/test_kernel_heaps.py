"""Strings in the heaps of an HDF5 file, found by the compiled kernel, against plain Python.

Buffers end at a page that may not be touched, as in test_kernel.py; these tests run under the
sanitizers too.
"""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernel import guarded

from embedfreeze import _kernel

START = 64  # of the first heap


def heap(*objects: tuple[int, bytes], size: int = 4096) -> bytes:
    """A heap of objects, each with its index."""
    parts = [
        struct.pack("<QQ", index, len(text)) + text + bytes(-len(text) % 8)
        for index, text in objects
    ]
    return (b"GCOL\1\0\0\0" + struct.pack("<Q", size) + b"".join(parts)).ljust(size, b"\0")


def reference(length: int, start: int, index: int) -> bytes:
    return struct.pack("<IQI", length, start, index)


def found(data: bytes, *references: bytes) -> list[bytes] | None:
    """What the kernel finds."""
    spans = np.empty((len(references), 2), np.int64)
    if not _kernel.find_heap_strings(guarded(data), guarded(b"".join(references)), spans):
        return None
    return [data[start : start + length] for start, length in spans.tolist()]


def followed(data: bytes, length: int, start: int, index: int) -> bytes | None:
    """What one reference leads to, object by object."""
    if not start:
        return None if length else b""
    if data[start : start + 5] != b"GCOL\1" or start + 16 > len(data):
        return None
    end, at, text = start + struct.unpack_from("<Q", data, start + 8)[0], start + 16, None
    while end <= len(data) and at + 16 <= end:
        here, size = struct.unpack_from("<H6xQ", data, at)
        if not here or at + 16 + size > end:
            break
        if here == index:
            text = data[at + 16 : at + 16 + size]
        at += 16 + (size + 7) // 8 * 8
    return None if text is None or len(text) != length else text.split(b"\0")[0]


TWO_HEAPS = (
    bytes(START)
    + heap((1, b"one"), (2, b"two and more"), (7, b"a\0b"), (9, b""), size=256)
    + heap((3, b"other"), (1, b"x" * 40), size=128)
)
REFERENCES = [
    (12, START, 2),
    (3, START, 1),  # before the last one
    (5, START + 256, 3),
    (12, START, 2),
    (40, START + 256, 1),
    (3, START, 7),
    (0, START, 9),
    (0, 0, 0),
]


def test_references_into_heaps() -> None:
    texts = [b"two and more", b"one", b"other", b"two and more", b"x" * 40, b"a", b"", b""]
    assert [followed(TWO_HEAPS, *one) for one in REFERENCES] == texts
    assert found(TWO_HEAPS, *(reference(*one) for one in REFERENCES)) == texts
    assert found(TWO_HEAPS) == []


@pytest.mark.parametrize(
    "bad",
    [
        (4, START, 1),  # another length
        (3, START, 3),  # no such object
        (0, START, 0),  # free space
        (3, START, 1 << 16 | 1),
        (3, START + 1, 1),  # no heap
        (3, 1 << 63, 1),
        (3, (1 << 64) - 8, 1),
        (3, len(TWO_HEAPS) - 8, 1),
        (3, 0, 0),
    ],
)
def test_references_that_lead_to_no_string(bad: tuple[int, int, int]) -> None:
    assert followed(TWO_HEAPS, *bad) is None
    assert found(TWO_HEAPS, reference(3, START, 1), reference(*bad)) is None


@pytest.mark.parametrize("size", [(1 << 64) - 1, (1 << 63) - 16, 256, 225])
def test_objects_that_leave_their_heap(size: int) -> None:
    data = TWO_HEAPS[: START + 24] + struct.pack("<Q", size) + TWO_HEAPS[START + 32 :]
    assert found(data, reference(size & 0xFFFFFFFF, START, 1)) is None
    assert found(data, reference(12, START, 2)) is None


def test_heaps_that_end_behind_the_file() -> None:
    data = bytes(START) + heap((1, b"one"))
    for cut in (len(data) - 1, START + 16, START + 15, START):
        assert found(data[:cut], reference(3, START, 1)) is None
    larger = data[: START + 8] + struct.pack("<Q", 1 << 63) + data[START + 16 :]
    assert found(larger, reference(3, START, 1)) is None


def test_a_way_that_is_too_long_is_given_up() -> None:
    """Each reference leads to another heap than the last, whose objects are looked at anew."""
    data = bytes(4096) + 64 * heap(*((i, b"") for i in range(1, 500)), size=8192)
    around = [reference(0, 4096 + 8192 * place, 499) for place in range(64)]
    assert found(data, *around) == [b""] * 64
    assert found(data, *around * 100) is None


places = st.integers(START, len(TWO_HEAPS) - 1)


@given(st.dictionaries(places, st.integers(0, 255), max_size=6), st.integers(0, len(TWO_HEAPS)))
def test_any_damage(changed: dict[int, int], cut: int) -> None:
    damaged = bytearray(TWO_HEAPS)
    for place, byte in changed.items():
        damaged[place] = byte
    for data in (bytes(damaged), bytes(damaged[:cut])):
        for one in REFERENCES:
            expected = followed(data, *one)
            assert found(data, reference(*one)) == (None if expected is None else [expected])


def test_wrong_arguments() -> None:
    for spans in (np.empty((1, 2), np.int64), memoryview(bytearray(40))[1:33]):
        with pytest.raises(ValueError, match=r"."):
            _kernel.find_heap_strings(TWO_HEAPS, reference(3, START, 1) * 2, spans)
    with pytest.raises(TypeError):
        _kernel.find_heap_strings(TWO_HEAPS, reference(3, START, 1), bytes(16))
