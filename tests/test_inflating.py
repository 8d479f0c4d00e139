"""gzip and zlib data unpacked by ISA-L, or by zlib where that is missing, against Python's gzip."""

import gzip
import importlib.util
import io
import random
import sys
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedfreeze.files import Inflater
from embedfreeze.files.compressions import gzip_stream

HAS_ISAL = importlib.util.find_spec("isal") is not None
TEXT = b"".join(b"token%d 0.25 -1.5e-3 %d\n" % (i, i * i) for i in range(9000))
NOISE = random.Random(0).randbytes(70_000)
DATA = {"nothing": b"", "one byte": b"a", "text": TEXT, "noise": NOISE, "zeros": bytes(1 << 20)}


@pytest.fixture(params=["ISA-L", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Which library unpacks."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    elif not HAS_ISAL:
        pytest.skip("ISA-L is not installed")
    yield request.param
    assert Inflater()._refused is not zlib.error or request.param == "zlib"


def unpacked(packed: bytes, piece: int = 1 << 18) -> bytes:
    stream, out, target = gzip_stream(io.BytesIO(packed)), bytearray(), bytearray(piece)
    while got := stream.readinto(target):
        out += target[:got]
    return bytes(out)


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("name", DATA)
@pytest.mark.usefixtures("library")
def test_all_levels_and_pieces(name: str, level: int) -> None:
    packed = gzip.compress(DATA[name], level)
    for piece in (1, 1000, 1 << 18) if len(DATA[name]) < 1 << 18 else (1 << 14, 1 << 21):
        assert unpacked(packed, piece) == DATA[name]


@pytest.mark.usefixtures("library")
def test_frames_with_all_that_gzip_may_hold() -> None:
    plain = gzip.compress(TEXT, mtime=0)
    more = b"\x05\0extra" + b"name.txt\0" + b"a comment\0"
    head = plain[:3] + bytes([4 | 8 | 16]) + plain[4:10] + more
    checked = plain[:3] + b"\2" + plain[4:10]
    checked += (zlib.crc32(checked) & 0xFFFF).to_bytes(2, "little")
    for packed in (head + plain[10:], checked + plain[10:], plain + bytes(9) + plain):
        assert unpacked(packed) == gzip.decompress(packed)


@pytest.mark.usefixtures("library")
def test_a_zlib_frame_in_one_piece() -> None:
    inflate, packed = Inflater(gzip=False), zlib.compress(TEXT)
    assert inflate.decompress(memoryview(packed + b"behind"), len(TEXT) + 1) == TEXT
    assert inflate.eof
    assert inflate.unused_data == b"behind"


@pytest.mark.parametrize("at", [1, 2, 3, 12, 5000, -8, -7, -4, -1])
@pytest.mark.usefixtures("library")
def test_a_changed_byte_is_an_error_or_changes_nothing(at: int) -> None:
    packed = bytearray(gzip.compress(TEXT, mtime=0))
    packed[at] ^= 0x55
    try:
        expected = gzip.decompress(bytes(packed))
    except (OSError, EOFError, zlib.error):
        with pytest.raises((EOFError, zlib.error)):
            unpacked(bytes(packed))
    else:
        assert unpacked(bytes(packed)) == expected


@pytest.mark.usefixtures("library")
def test_cut_off_anywhere() -> None:
    packed = gzip.compress(b"abc" * 20, mtime=0)
    for end in range(1, len(packed)):
        with pytest.raises((EOFError, zlib.error)):
            unpacked(packed[:end])


@pytest.mark.skipif(not HAS_ISAL, reason="ISA-L is not installed")
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255), st.integers(1, 300))
def test_any_damage_is_seen_as_by_gzip(data: bytes, at: int, byte: int, piece: int) -> None:
    packed = bytearray(gzip.compress(data, 1, mtime=0))
    packed[at % len(packed)] = byte
    try:
        expected = gzip.decompress(bytes(packed))
    except (OSError, EOFError, zlib.error):
        with pytest.raises((EOFError, zlib.error)):
            unpacked(bytes(packed), piece)
    else:
        assert unpacked(bytes(packed), piece) == expected
