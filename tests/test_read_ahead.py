"""Packed files are unpacked by a thread while what it gave is parsed."""

import gzip
import io
import threading
import zlib
from pathlib import Path

import pytest

import embedfreeze as ef
from embedfreeze.errors import FormatError
from embedfreeze.files import open_source
from embedfreeze.files.ahead import AheadStream

LARGE = b"".join(b"t%d %d.5\n" % (i, i) for i in range(400_000))


class Counted(io.BytesIO):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.asked = 0

    def readinto(self, buffer) -> int:
        self.asked += 1
        return super().readinto(buffer)


def test_all_bytes_come_in_order_and_the_end_stays_the_end() -> None:
    stream = AheadStream(Counted(LARGE * 8))
    assert b"".join(iter(lambda: stream.read(12_345), b"")) == LARGE * 8
    assert stream.read(1) == b""
    stream.stop()


def test_nothing_is_read_before_the_first_use_and_after_the_stop() -> None:
    file = Counted(LARGE * 40)
    stream = AheadStream(file)
    assert file.asked == 0
    assert stream.read(10) == LARGE[:10]
    stream.stop()
    asked, before = file.asked, threading.active_count()
    assert file.tell() < len(LARGE) * 40
    assert file.asked == asked
    assert threading.active_count() == before


def test_an_error_comes_where_it_is(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(LARGE, 1))
    packed[-8] ^= 1  # the checksum
    path = tmp_path / "f.txt.gz"
    path.write_bytes(packed)
    with pytest.raises(FormatError, match="gzip data cannot be read to its end"):
        ef.read(path)
    path.write_bytes(packed[:-100])
    with pytest.raises(FormatError, match="gzip data cannot be read to its end"):
        ef.read(path)


def test_members_and_padding_of_gzip(tmp_path: Path) -> None:
    path = tmp_path / "f.txt.gz"
    first, second = LARGE[: len(LARGE) // 2], LARGE[len(LARGE) // 2 :]
    path.write_bytes(gzip.compress(first, 1) + bytes(700) + gzip.compress(second, 0) + bytes(9))
    with open_source(path) as source:
        assert b"".join(map(bytes, source.blocks())) == LARGE
    path.write_bytes(gzip.compress(LARGE, 1) + b"no gzip")
    with pytest.raises(FormatError, match="gzip"):
        ef.read(path)


def test_a_borrowed_file_is_put_back_when_the_thread_is_done(tmp_path: Path) -> None:
    path = tmp_path / "f.txt.gz"
    packer = zlib.compressobj(0, wbits=31)
    path.write_bytes(packer.compress(LARGE * 5) + packer.flush())
    with open(path, "rb") as file:
        with open_source(file) as source:
            source.needed_again()
            source.readinto(memoryview(bytearray(3 << 20)))
        assert file.tell() == 0
