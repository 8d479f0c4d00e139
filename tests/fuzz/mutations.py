"""Changes of healthy bytes: the same for the same random numbers."""

import contextlib
import gzip
import io
import random
import re
import struct
import zipfile
from collections.abc import Callable, Sequence

__all__ = ["mutate"]

# What the formats' readers look for: magic words, keys of headers, spellings of numbers.
WORDS = (
    *(b"\x1f\x8b\x08", b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"BZh9", b"\xfd7zXZ\0"),
    *(b"\x28\xb5\x2f\xfd", b"\x93NUMPY\x01\0", b"\x89HDF\r\n\x1a\n", b"PAR1", b"ARROW1\0\0"),
    *(b"FiFu", b"SQLite format 3\0", b"\xba\x16\x4f\x2f", b"\x80\x04", b"ustar", b"OHDR", b"TREE"),
    *(b"SNOD", b"HEAP", b"FRHP", b"BTHD", b"'descr': '<f4'", b"'descr': '|O'", b"'<f8'", b"'>f4'"),
    *(b"'fortran_order': True", b"'shape': (", b"(999999999, 9)", b'"dtype":"F32"', b'"F16"'),
    *(b'"BF16"', b'"I8"', b'"shape":[', b'"data_offsets":[', b"[0,0]", b"__metadata__", b'"vocab"'),
    *(b'"model"', b'"type":"Unigram"', b'"added_tokens":[', b"vectors", b"tokens", b"embedding"),
    *(b"nan", b"inf", b"-inf", b"1e999", b"1e-999", b"0x1p3", b"1_0", b"-0", b".", b"-", b"+"),
    *(b"9" * 30, b"0." + b"0" * 400 + b"1", b"\0", b" ", b"  ", b"\t", b"\n", b"\r\n", b"\n\n"),
    *(b",", b'"', b"'", b"[", b"]", b"{", b"}", b":", b"[" * 40, b"{" * 40, b"\\u0000", b"\\ud800"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xc2\xa0", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe3\x80\x80"),
    *(b"\xed\xa0\x80", b"\xf0\x9f\x98", b"</s>", b"__label__", b"<", b"\xff" * 8, b"\0" * 8),
)
SIZES = {1: "b", 2: "h", 4: "i", 8: "q"}
NUMBER = re.compile(rb"\d{1,20}")
HEADER_BYTES = 4096  # in which numbers are changed on purpose
LONGEST = 1 << 18  # a mutant does not grow beyond this
Change = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def mutate(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """One to four changes of `data`; `others` are healthy files to take pieces of."""
    if chance.random() < 0.3 and (inner := _repacked(data, chance, others)) is not None:
        return inner
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        chance.choice(CHANGES)(changed, chance, others)
    return bytes(changed[:LONGEST])


def _place(data: bytearray, chance: random.Random) -> int:
    """Headers and footers are looked at more than what lies between."""
    kind, size = chance.random(), len(data)
    if kind < 0.35:
        return chance.randrange(min(size, 64) + 1)
    if kind < 0.55:
        return chance.randrange(min(size, HEADER_BYTES) + 1)
    if kind < 0.7:
        return max(0, size - chance.randrange(min(size, 256) + 1))
    return chance.randrange(size + 1)


def _number(data: bytearray, chance: random.Random) -> int:
    """Numbers at which code goes wrong."""
    power = 1 << chance.choice((0, 1, 3, 4, 7, 8, 15, 16, 24, 30, 31, 32, 40, 62, 63, 64))
    near = chance.choice((power, -power, len(data), 0)) + chance.choice((-2, -1, 0, 0, 1, 2))
    return chance.choice((near, near, chance.randrange(20), chance.getrandbits(64)))


def _flip(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    at = _place(data, chance)
    if at < len(data):
        data[at] ^= 1 << chance.randrange(8)


def _byte(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    at = _place(data, chance)
    if at < len(data):
        data[at] = chance.choice((0, 1, 9, 10, 13, 32, 127, 128, 255, chance.randrange(256)))


def _integer(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """A number of 1, 2, 4 or 8 bytes replaced, or raised or lowered a little."""
    size = chance.choice((1, 2, 4, 4, 8, 8))
    at = _place(data, chance)
    at -= at % chance.choice((1, 1, size))
    if at + size > len(data):
        return
    order = chance.choice("<<<>")
    number = _number(data, chance)
    if chance.random() < 0.4:
        (before,) = struct.unpack_from(order + SIZES[size], data, at)
        number = before + chance.randrange(-9, 10)
    number %= 1 << (8 * size)
    data[at : at + size] = number.to_bytes(size, "little" if order == "<" else "big")


def _digits(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """A number that a header spells."""
    found = list(NUMBER.finditer(data[:HEADER_BYTES]))
    if found:
        number = chance.choice(found[:8] if chance.random() < 0.5 else found)
        value = int(number[0]) + chance.randrange(-3, 4) if chance.random() < 0.5 else None
        spelled = str(_number(data, chance) if value is None else value)
        data[number.start() : number.end()] = spelled.encode()


def _cut(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    del data[_place(data, chance) :]


def _delete(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    at = _place(data, chance)
    del data[at : at + chance.choice((1, 1, 2, 4, 8, 64, 512))]


def _insert(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    at = _place(data, chance)
    data[at:at] = chance.randbytes(chance.choice((1, 1, 2, 4, 8, 64)))


def _repeat(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    at = _place(data, chance)
    piece = bytes(data[at : at + chance.choice((1, 2, 8, 64, 512))])
    data[at:at] = piece * chance.choice((1, 1, 2, 10, 300))


def _swap(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    one, two = sorted((_place(data, chance), _place(data, chance)))
    size = min(chance.choice((1, 4, 8, 64, 512)), two - one, len(data) - two)
    data[one : one + size], data[two : two + size] = (
        data[two : two + size],
        data[one : one + size],
    )


def _splice(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    """The beginning of one file, the end or a piece of another."""
    other = chance.choice(others)
    at, start = _place(data, chance), _place(bytearray(other), chance)
    if chance.random() < 0.4:
        data[at:] = other[start:]
    else:
        piece = other[start : start + chance.choice((4, 8, 64, 512, 4096))]
        data[at : at + len(piece)] = piece


def _word(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    word, at = chance.choice(WORDS), _place(data, chance)
    data[at : at + chance.choice((0, len(word)))] = word


def _fill(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    at, size = _place(data, chance), chance.choice((4, 8, 64, 512))
    size = min(size, len(data) - at)
    data[at : at + size] = bytes([chance.choice((0, 255, 10, 32, 65))]) * size


CHANGES: tuple[Change, ...] = (
    *(_flip, _byte, _byte, _integer, _integer, _integer, _digits, _digits, _cut, _delete),
    *(_insert, _repeat, _swap, _splice, _word, _word, _fill),
)


def _repacked(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes | None:
    """A change of what is packed, with sums that fit; None where nothing is packed."""
    with contextlib.suppress(zipfile.BadZipFile, OSError, EOFError):
        if data.startswith(b"PK\x03\x04"):
            return _rezipped(data, chance, others)
        if data.startswith(b"\x1f\x8b"):
            return gzip.compress(mutate(gzip.decompress(data), chance, others), 1)
    return None


def _rezipped(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    changed = chance.choice(sorted(members))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", chance.choice((0, 8))) as archive:
        for name, content in members.items():
            archive.writestr(name, mutate(content, chance, others) if name == changed else content)
    return packed.getvalue()
