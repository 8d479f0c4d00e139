"""Decimal text <-> float32 in the kernel, against Python's own correctly rounded conversions.

What is read must be bit-equal to ``numpy.float32(float(text))``; what is written must read back
bit-equal with no more digits than NumPy's shortest spelling. These tests need no TensorFlow and run
under the sanitizers too.
"""

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from itertools import chain

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from embedfreeze import _kernel

TAB = 9  # a field may then hold spaces
FAR = 200  # bytes behind a line that leave it off the end of the window
GRAMMAR = re.compile(
    rb"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity|nan)",
    re.IGNORECASE,
)
EXACT = Context(prec=2000)
INFINITY_BITS = 0x7F800000


def parse(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Bits of the values (uint32), and which rows are good, of lines of one field each.

    The kernel reads numbers far from the end of its window in another way than those near it, so
    each text is read both ways.
    """
    lines = [b"t\t" + text + b"\n" for text in texts]
    near = [parse_lines([line], 0) for line in lines]
    values, good = parse_lines(lines, FAR)
    assert [int(value[0]) for value, is_good in near if is_good[0]] == values[good].tolist()
    assert [bool(is_good[0]) for _, is_good in near] == good.tolist()
    return values, good


def parse_lines(lines: list[bytes], further: int) -> tuple[np.ndarray, np.ndarray]:
    """Parse lines of one field, with so many other bytes behind them in the window."""
    starts = np.cumsum([0, *map(len, lines)], dtype=np.int64)
    values = np.full(len(lines), 0xDEADBEEF, dtype=np.uint32)
    spans = np.empty((len(lines), 2), dtype=np.int64)
    window = b"".join(lines) + b"7" * further
    bad = _kernel.parse_rows(window, len(window), TAB, 1, starts[:-1].copy(), values, spans)
    good = spans[:, 0] >= 0
    assert bad == int((~good).sum())
    return values, good


def parse_in_one_row(texts: list[bytes]) -> np.ndarray:
    """Bits of the values of one line that holds all the fields."""
    line = b"\t".join([b"t", *texts]) + b"\n" + b"7" * FAR
    values = np.full(len(texts), 0xDEADBEEF, dtype=np.uint32)
    spans = np.empty((1, 2), dtype=np.int64)
    starts = np.zeros(1, dtype=np.int64)
    assert _kernel.parse_rows(line, len(line), TAB, len(texts), starts, values, spans) == 0
    assert spans.tolist() == [[0, 1]]
    return values


def oracle(texts: list[bytes]) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.array([float(t) for t in texts], np.float64).astype(np.float32).view(np.uint32)


def assert_read_as_python_does(texts: list[bytes]) -> None:
    values, good = parse(texts)
    expected = oracle(texts)
    wrong = np.flatnonzero((values != expected) | ~good)
    assert not wrong.size, [(texts[i], hex(values[i]), hex(expected[i])) for i in wrong[:5]]
    assert np.array_equal(parse_in_one_row(texts), expected)
    assert all(map(_kernel.is_number, texts))


def format_values(bits: np.ndarray) -> list[bytes]:
    """The texts of float32 values given as bits."""
    offsets = np.zeros(len(bits) + 1, dtype=np.int64)
    room = bytearray(len(bits) * 18)
    used = _kernel.format_rows(b"", offsets, bits.astype(np.uint32), 1, TAB, room)
    lines = bytes(room[:used]).split(b"\n")
    assert lines.pop() == b""
    assert all(line[:1] == b"\t" for line in lines)
    return [line[1:] for line in lines]


def digit_count(text: bytes | str) -> int:
    """Significant digits of a decimal, trailing zeros not counted."""
    text = text.decode() if isinstance(text, bytes) else text
    mantissa = text.lstrip("-").partition("e")[0]
    return max(len(mantissa.replace(".", "").strip("0")), 1)


def assert_written_shortest(bits: np.ndarray) -> None:
    """Finite values read back bit-equal, here and in Python, in no more digits than NumPy's."""
    texts = format_values(bits)
    assert max(map(len, texts)) <= 16
    read, good = parse(texts)
    assert good.all()
    assert np.array_equal(read, bits)
    assert np.array_equal(oracle(texts), bits)
    for text, value in zip(texts, bits.view(np.float32), strict=True):
        shortest = np.format_float_scientific(value, unique=True, trim="-")
        assert digit_count(text) <= digit_count(shortest), (text, shortest)


def scientific(value: Decimal) -> bytes:
    return f"{value:e}".encode()


def plain(value: Decimal) -> bytes:
    return f"{value:f}".encode()


def around(exact: Decimal) -> list[bytes]:
    """A decimal, the ones beside it, one digit further and far behind, in several spellings."""
    digits = exact.normalize(EXACT)
    last = Decimal((0, (1,), digits.as_tuple().exponent))
    far = Decimal((0, (1,), digits.as_tuple().exponent - 40))
    values = [
        digits,
        EXACT.add(digits, last),
        EXACT.subtract(digits, last),
        EXACT.add(digits, far),
        EXACT.subtract(digits, far),
    ]
    return [spell(value) for value in values for spell in (scientific, plain)]


def exact_decimal(value: Fraction) -> Decimal:
    return EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))


# ---- reading -------------------------------------------------------------------------------------

signs = st.sampled_from(["", "-", "+"])
digits = st.text("0123456789", max_size=45)
exponents = st.one_of(
    st.just(""),
    st.tuples(
        st.sampled_from("eE"),
        signs,
        st.one_of(
            st.integers(0, 60).map(str),
            st.integers(0, 400).map(str),
            st.text("0123456789", min_size=1, max_size=25),
        ),
    ).map("".join),
)
decimals = (
    st.tuples(signs, digits, st.sampled_from(["", ".", "."]), digits, exponents)
    .filter(lambda parts: parts[1] or (parts[2] and parts[3]))
    .map(lambda parts: "".join(parts).encode())
)
float32_bits = st.integers(0, 2**32 - 1)
finite_bits = st.integers(0, 2**32 - 1).filter(lambda b: b & INFINITY_BITS != INFINITY_BITS)


@given(st.lists(decimals, min_size=1, max_size=20))
def test_decimals_of_the_grammar(texts: list[bytes]) -> None:
    assert_read_as_python_does(texts)


@given(st.text("0123456789", max_size=30), st.text("0123456789", min_size=1, max_size=30))
def test_plain_decimals(whole: str, fraction: str) -> None:
    texts = [f"{sign}{whole}.{fraction}" for sign in ("", "-", "+")]
    assert_read_as_python_does([text.encode() for text in texts])


@pytest.mark.parametrize("n", range(40))
def test_every_count_of_digits_after_the_point(n: int) -> None:
    texts = [f"{first}.{(d * 40)[:n]}" for first in "019" for d in ("0", "9", "5", "123456789")]
    texts += [f"-{text}" for text in texts] + [f"7{text}" for text in texts]
    assert_read_as_python_does([text.encode() for text in texts])


@given(st.floats(), st.integers(1, 20))
def test_reprs_of_doubles(value: float, precision: int) -> None:
    texts = [repr(value), f"{value:.{precision}e}", f"{value:.{precision}g}", f"{value:.17g}"]
    assert_read_as_python_does([text.encode() for text in texts])


@given(finite_bits)
def test_reprs_of_floats_read_back(bits: int) -> None:
    value = np.array([bits], np.uint32).view(np.float32)[0]
    texts = [f"{value:.{n}e}".encode() for n in (8, 9, 16, 17, 18)]
    texts.append(plain(Decimal(float(value))))
    assert_read_as_python_does(texts)
    assert parse(texts)[0].tolist() == [bits] * len(texts)
    assert_read_as_python_does([f"{value:.{n}e}".encode() for n in range(8)])


def middle(bits: int) -> Fraction:
    """Half-way between a positive finite float and the next one, or 2^128 after the last."""
    low, high = (np.array([b], np.uint32).view(np.float32)[0] for b in (bits, bits + 1))
    return (Fraction(float(low)) + (Fraction(float(high)) if np.isfinite(high) else 2**128)) / 2


@given(st.integers(0, 0x7F7FFFFF))
@example(0)  # half of the smallest subnormal
@example(0x007FFFFF)  # the largest subnormal
@example(0x7F7FFFFF)  # half-way to infinity
@example(0x3F800000)
def test_half_way_between_floats(bits: int) -> None:
    assert_read_as_python_does(around(exact_decimal(middle(bits))))


@given(st.integers(0, 0x7F7FFFFF), st.sampled_from([-1, 1]))
@example(0x3F800000, 1)
@example(0x3F800000, -1)
def test_half_way_between_the_doubles_beside_a_middle(bits: int, side: int) -> None:
    """Rounding twice differs from rounding once just here."""
    between = middle(bits)
    double = float(between)
    beside = math.nextafter(double, side * math.inf)
    assert_read_as_python_does(around(exact_decimal((between + Fraction(beside)) / 2)))


@given(st.integers(0, 0x7F7FFFFF), st.integers(1, 25), st.integers(-3, 3))
def test_few_digits_near_a_middle(bits: int, precision: int, nudge: int) -> None:
    near = exact_decimal(middle(bits)).normalize(Context(prec=precision))
    last = Decimal((0, (1,), near.as_tuple().exponent))
    assert_read_as_python_does([scientific(near + nudge * last), plain(near + nudge * last)])


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("1.0000000596046447753907", 0x3F800000),  # rounded once it would be 0x3f800001
        ("1.000000059604644775390625", 0x3F800000),
        ("1.0000000596046449", 0x3F800001),
        ("16777217", 0x4B800000),
        ("16777219", 0x4B800002),
        ("9007199254740993", 0x5A000000),
        ("0.1", 0x3DCCCCCD),
        ("3.4028235e38", 0x7F7FFFFF),
        ("3.4028235677973362e38", 0x7F7FFFFF),
        ("3.4028235677973366e38", INFINITY_BITS),
        ("340282356779733661637539395458142568447", INFINITY_BITS),  # by way of the double
        ("340282356779733623858607532500980858880", 0x7F7FFFFF),
        ("340282356779733661637539395458142568448", INFINITY_BITS),
        ("1e39", INFINITY_BITS),
        ("-1e400", 0xFF800000),
        ("1e99999999999999999999999999", INFINITY_BITS),
        ("0e99999999999999999999999999", 0),
        ("-0e-99999999999999999999999", 0x80000000),
        ("1e-99999999999999999999999999", 0),
        ("1.1754944e-38", 0x00800000),
        ("1.17549435e-38", 0x00800000),
        ("1.1754942e-38", 0x007FFFFF),
        ("1e-45", 1),
        ("7.006492321624085e-46", 0),
        ("7.006492321624087e-46", 1),
        ("-0", 0x80000000),
        ("-0.0", 0x80000000),
        ("nan", 0x7FC00000),
        ("-nan", 0xFFC00000),
        ("+InFiNiTy", INFINITY_BITS),
        ("-INF", 0xFF800000),
    ],
)
def test_known_values(text: str, bits: int) -> None:
    assert_read_as_python_does([text.encode()])
    assert parse([text.encode()])[0].tolist() == [bits]


@pytest.mark.parametrize(
    "text",
    [
        "1" * 100,
        "9" * 400,
        "1" * 5000 + "e-4990",
        "0." + "0" * 44 + "1",
        "0." + "0" * 400 + "1",
        "0." + "0" * 5000 + "1e5001",
        "0" * 5000 + ".5",
        "1" + "0" * 5000 + "e-5000",
        "1." + "0" * 5000 + "1",
        "0." + "123456789" * 50,
        "123456789012345678",
        "1234567890123456789",
        "12345678901234567890",
        "18446744073709551615",
        "18446744073709551616",
        "1e22",
        "1e23",
        "9007199254740992e22",
        "9007199254740993e22",
        "9007199254740992e-22",
        "9007199254740993e-22",
        "1e-22",
        "1e-23",
        "1e-44",
        "1.5e-44",
        "1e-45",
        "1e+0000000000000000000000038",
        "1e-0000000000000000000000038",
        ".5",
        "5.",
        "+5",
        "+.5e1",
        "5.e1",
        "00005",
        "-.0",
        "1E5",
    ],
)
def test_unusual_spellings(text: str) -> None:
    assert_read_as_python_does([text.encode(), b"-" + text.lstrip("+-").encode()])


def test_words_in_every_case() -> None:
    texts = []
    for word in ("inf", "nan", "infinity"):
        for mask in range(2 ** len(word)):
            cased = "".join(c.upper() if mask >> i & 1 else c for i, c in enumerate(word))
            texts += [sign + cased for sign in ("", "-", "+")]
    assert_read_as_python_does([text.encode() for text in texts])


BAD = [
    *("", ".", "-", "+", "-.", "+.e1", "..1", "1..", "1.2.3", "+-1", "-+1", "--1", "1-", "1+"),
    *("1e", "1e+", "1e-", "1E", "e", "e5", ".e5", "1e5.0", "1e5e5", "1e1_0", "1e+-5", "1e 5"),
    *("1_0", "0x10", "0b1", "1d5", "1f", "1j", "1,5", "(1)", " 1", "1 ", "1\r1", "\r1"),
    *("i", "in", "infinit", "infinityy", "infe5", "inf.", "n", "na", "nanx", "nan(1)", "nan0"),
    *("١", "１", "½", "∞", "1\u00a0", "\u00a01", "1\x00", "\x00", "\x00\x001"),
]


@pytest.mark.parametrize("text", BAD)
def test_not_a_number(text: str) -> None:
    field = text.encode()
    values, good = parse([field, b"1.5", field])
    assert good.tolist() == [False, True, False]
    assert values[1] == 0x3FC00000
    assert not _kernel.is_number(field)


ALPHABET = "0123456789.eE+-_ xinfatyINFATY\x00\v\f/:é"


@given(st.text(ALPHABET, max_size=12))
@example("1e400")
@example("infinity")
def test_the_grammar_is_the_whole_grammar(text: str) -> None:
    field = text.encode()
    if GRAMMAR.fullmatch(field):
        assert_read_as_python_does([field])
    else:
        assert not _kernel.is_number(field)
        assert not parse([field])[1][0]


@given(st.binary(max_size=12).filter(lambda field: not set(field) & set(b"\t\n\r")))
def test_any_bytes(field: bytes) -> None:
    assert _kernel.is_number(field) == parse([field])[1][0] == bool(GRAMMAR.fullmatch(field))


def test_every_byte_in_every_place_of_a_usual_number() -> None:
    """The eight digits at a time must see each byte that is no digit."""
    usual = b"-0.123456789012"
    fields = [
        usual[:i] + bytes([byte]) + usual[i + 1 :]
        for i in range(len(usual))
        for byte in range(256)
        if byte not in b"\t\n\r"
    ]
    values, good = parse(fields)
    matched = np.array([GRAMMAR.fullmatch(field) is not None for field in fields])
    assert np.array_equal(good, matched)
    expected = oracle([field for field in fields if GRAMMAR.fullmatch(field)])
    assert np.array_equal(values[good], expected)


def test_many_numbers_off_the_fast_path_in_one_row() -> None:
    """More than the kernel notes down before it asks Python (256), in one row and over rows."""
    texts = [scientific(exact_decimal(middle(0x3F800000 + 977 * i))) for i in range(2000)]
    texts += [b"1e-40", b"3e38", b"-1e60"] * 300
    assert_read_as_python_does(texts)


# ---- writing -------------------------------------------------------------------------------------


@given(st.lists(finite_bits, min_size=1, max_size=50))
def test_written_values_read_back(bits: list[int]) -> None:
    assert_written_shortest(np.array(bits, dtype=np.uint32))


def neighbours(bits: np.ndarray, reach: int) -> np.ndarray:
    """Finite values at most `reach` steps away, of both signs."""
    near = (bits.astype(np.int64)[:, None] + np.arange(-reach, reach + 1)).ravel()
    near = np.unique(near[(near >= 0) & (near < INFINITY_BITS)])
    return np.concatenate([near, near + 2**31]).astype(np.uint32)


def test_powers_of_two_and_their_neighbours() -> None:
    powers = np.ldexp(np.float32(1), np.arange(-149, 128)).astype(np.float32)
    assert_written_shortest(neighbours(powers.view(np.uint32), 3))


def test_powers_of_ten_and_their_neighbours() -> None:
    texts = [f"{digit}e{e}" for e in range(-45, 39) for digit in (1, 2, 5, 9.5, 9.999999)]
    with np.errstate(over="ignore"):
        values = np.array(texts, dtype=np.float64).astype(np.float32)
    assert_written_shortest(neighbours(values[np.isfinite(values)].view(np.uint32), 3))


def test_subnormals_and_the_ends_of_the_range() -> None:
    rng = np.random.default_rng(1)
    ends = np.array([0, 1, 0x00800000, 0x007FFFFF, 0x7F7FFFFF])
    assert_written_shortest(neighbours(ends, 20))
    assert_written_shortest(rng.integers(1, 0x00800000, 2000).astype(np.uint32))


def test_short_decimals_stay_short() -> None:
    """What a file spells in at most six digits is written in these digits again."""
    rng = np.random.default_rng(2)
    for places in range(1, 7):
        numbers = rng.integers(1, 10**places, 300)
        texts = [f"{n / 10**places:.{places}f}" for n in numbers.tolist()]
        values = np.array(texts, dtype=np.float64).astype(np.float32)
        expected = [text.rstrip("0").rstrip(".").encode() for text in texts]
        assert [Decimal(t.decode()) for t in format_values(values.view(np.uint32))] == [
            Decimal(t.decode()) for t in expected
        ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, b"0"),
        (-0.0, b"-0"),
        (1.0, b"1"),
        (-1.5, b"-1.5"),
        (0.1, b"0.1"),
        (0.0001, b"0.0001"),
        (0.00012345678, b"0.00012345678"),
        (0.00001, b"1e-05"),
        (123456790.0, b"123456790"),
        (999999940.0, b"999999940"),
        (1e9, b"1e+09"),
        (16777216.0, b"16777216"),
        (1e-13, b"1e-13"),
        (1e-20, b"1e-20"),
        (1e21, b"1e+21"),
        (-1e-45, b"-1e-45"),
        (1.17549435e-38, b"1.1754944e-38"),
        (3.4028235e38, b"3.4028235e+38"),
        (-3.4028235e38, b"-3.4028235e+38"),
        (math.inf, b"inf"),
        (-math.inf, b"-inf"),
        (math.nan, b"nan"),
        (-math.nan, b"-nan"),
    ],
)
def test_known_texts(value: float, text: bytes) -> None:
    bits = np.array([value], dtype=np.float32).view(np.uint32)
    assert format_values(bits) == [text]
    assert np.array_equal(parse([text])[0], bits)


def test_every_nan_keeps_its_sign() -> None:
    bits = np.array([0x7F800001, 0x7FC12345, 0xFF800001, 0xFFFFFFFF], dtype=np.uint32)
    assert format_values(bits) == [b"nan", b"nan", b"-nan", b"-nan"]


@pytest.mark.parametrize("dim", [1, 3, 300])
def test_the_text_never_leaves_its_room(dim: int) -> None:
    """The longest texts there are, into a buffer of exactly the size that is asked for."""
    longest = np.array([-1.17549435e-38, -1.2345678e-38, -0.00012345678, -123456784.0], np.float32)
    longest = np.resize(longest, (5, dim))
    offsets = np.zeros(6, dtype=np.int64)
    room = np.full(5 * (dim * 17 + 1), 255, dtype=np.uint8)
    used = _kernel.format_rows(b"", offsets, longest, dim, 32, room)
    assert (room[used:] == 255).all()
    rows = bytes(room[:used]).split(b"\n")[:-1]
    read = [np.array(row.split(), dtype=np.float64).astype(np.float32) for row in rows]
    assert np.array_equal(np.array(read).view(np.uint32), longest.view(np.uint32))


# ---- large samples -------------------------------------------------------------------------------


def split_lines(buffer: bytearray, used: int) -> tuple[np.ndarray, np.ndarray]:
    data = np.frombuffer(buffer, np.uint8, used)
    ends = np.flatnonzero(data == 10)
    return data, np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)


@pytest.mark.slow
def test_a_256th_of_all_floats_reads_back() -> None:
    """2^24 bit patterns in even steps; Python and NumPy look at one in 64 of them."""
    stride, n = 256, 1 << 20
    room = bytearray(n * 18)
    for part in range(16):
        first = np.uint32(part * n * stride + 37 * part % 256)
        bits = first + np.arange(n, dtype=np.uint32) * np.uint32(stride)
        bits = bits[(bits & INFINITY_BITS) != INFINITY_BITS]
        offsets = np.zeros(len(bits) + 1, dtype=np.int64)
        used = _kernel.format_rows(b"", offsets, bits, 1, TAB, room)
        data, starts = split_lines(room, used)
        read = np.empty_like(bits)
        spans = np.empty((len(bits), 2), dtype=np.int64)
        assert _kernel.parse_rows(data, used, TAB, 1, starts, read, spans) == 0
        assert np.array_equal(read, bits)
        assert_written_shortest(bits[part::64].copy())


def canonical(bits: np.ndarray) -> np.ndarray:
    """The same bits, NaN without the payload that no text can spell."""
    nan = (bits & np.uint32(0x7FFFFFFF)) > INFINITY_BITS
    return np.where(nan, bits & np.uint32(0x80000000) | np.uint32(0x7FC00000), bits)


def not_read_back(first: int) -> list[int]:
    """Which of 2^20 bit patterns come back as others."""
    bits = np.arange(first, first + (1 << 20), dtype=np.uint32)
    room = bytearray(len(bits) * 18)
    offsets = np.zeros(len(bits) + 1, dtype=np.int64)
    used = _kernel.format_rows(b"", offsets, bits, 1, TAB, room)
    data, starts = split_lines(room, used)
    read = np.empty_like(bits)
    spans = np.empty((len(bits), 2), dtype=np.int64)
    assert _kernel.parse_rows(data, used, TAB, 1, starts, read, spans) == 0
    return bits[read != canonical(bits)].tolist()


@pytest.mark.exhaustive
def test_every_float_reads_back() -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = list(chain.from_iterable(pool.map(not_read_back, range(0, 2**32, 1 << 20))))
    assert wrong == []


def digit_strings(rng: np.random.Generator, n: int, longest: int) -> list[bytes]:
    raw = rng.integers(48, 58, (n, longest), dtype=np.uint8)
    lengths = rng.integers(1, longest + 1, n).tolist()
    return [row[:length].tobytes() for row, length in zip(raw, lengths, strict=True)]


def any_point(rng: np.random.Generator, n: int, longest: int) -> Iterator[bytes]:
    """Digits with a point anywhere, before the first and behind the last too."""
    places = rng.random(n).tolist()
    for text, place in zip(digit_strings(rng, n, longest), places, strict=True):
        at = round(place * len(text))
        yield text[:at] + b"." + text[at:]


def with_exponents(
    texts: Iterable[bytes], rng: np.random.Generator, n: int, reach: int
) -> Iterator[bytes]:
    powers = rng.integers(-reach, reach, n, endpoint=True).tolist()
    return (text + b"e%d" % power for text, power in zip(texts, powers, strict=True))


def any_doubles(rng: np.random.Generator, n: int) -> list[float]:
    values = rng.integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
    return np.where(np.isfinite(values), values, 0.0).tolist()


def doubles_of_floats(rng: np.random.Generator, n: int) -> list[float]:
    """Doubles half-way between two normal floats; every third of them the double beside it."""
    values = rng.integers(0x00800000, 0x7F7FFFFF, n, dtype=np.uint32).view(np.float32)
    middles = values.astype(np.float64) + np.spacing(values).astype(np.float64) / 2
    for beside in (math.inf, -math.inf):
        chosen = rng.integers(0, 6, n) == 0
        middles[chosen] = np.nextafter(middles[chosen], beside)
    return middles.tolist()


def with_digits(values: list[float], rng: np.random.Generator, most: int) -> Iterator[bytes]:
    digits = rng.integers(6, most, len(values), endpoint=True).tolist()
    return (b"%.*e" % (count, value) for count, value in zip(digits, values, strict=True))


SHAPES: dict[str, Callable[[np.random.Generator, int], Iterable[bytes]]] = {
    "GloVe": lambda rng, n: (b"%.5f" % x for x in rng.standard_normal(n).tolist()),
    "word2vec": lambda rng, n: (b"%.6f" % x for x in rng.uniform(-0.5, 0.5, n).tolist()),
    "any point": lambda rng, n: any_point(rng, n, 25),
    "long": lambda rng, n: any_point(rng, n, 60),
    "exponents": lambda rng, n: with_exponents(any_point(rng, n, 25), rng, n, 60),
    "limits": lambda rng, n: with_exponents(any_point(rng, n, 20), rng, n, 400),
    "leading zeros": lambda rng, n: (
        b"-" + b"0" * (len(t) % 30) + t for t in with_exponents(any_point(rng, n, 9), rng, n, 30)
    ),
    "reprs": lambda rng, n: (b"%r" % x for x in any_doubles(rng, n)),
    "17 digits and more": lambda rng, n: with_digits(any_doubles(rng, n), rng, 40),
    "half-way": lambda rng, n: with_digits(doubles_of_floats(rng, n), rng, 120),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_million_random_decimals(shape: str) -> None:
    """A hundred thousand of each shape."""
    for seed in range(2):
        texts = list(SHAPES[shape](np.random.default_rng([3, seed]), 50_000))
        assert len(texts) == 50_000
        values, good = parse_lines([b"t\t" + text + b"\n" for text in texts], FAR)
        assert good.all()
        wrong = np.flatnonzero(values != oracle(texts))
        assert not wrong.size, [texts[i] for i in wrong[:5]]


# ---- hard cases, made by exact arithmetic --------------------------------------------------------


def dyadic(value: Fraction, places: int = 0, nudge: int = 0) -> bytes:
    """A fraction over a power of two in all its digits and more places, the last one nudged."""
    k = value.denominator.bit_length() - 1
    return b"%de%d" % (value.numerator * 5**k * 10**places + nudge, -k - places)


def beside(value: Fraction, most: int) -> list[bytes]:
    """A value, and the next in its last place, in places behind that, and at `most` digits."""
    digits = len(str(value.numerator * 5 ** (value.denominator.bit_length() - 1)))
    places = (0, 1, 25, max(most - digits, 30))
    return [dyadic(value), *(dyadic(value, p, nudge) for p in places for nudge in (-1, 1))]


EDGES = [0, 1, 2, 3, 0x007FFFFE, 0x007FFFFF, 0x00800000, 0x7F7FFFFE, 0x7F7FFFFF]
POWERS = [power + near for power in range(0x00800000, INFINITY_BITS, 1 << 23) for near in (-1, 0)]


def sampled_bits(n: int) -> list[int]:
    rng = np.random.default_rng(5)
    return [*rng.integers(0, 0x7F7FFFFF, n).tolist(), *rng.integers(0, 0x800000, n).tolist()]


@pytest.mark.parametrize("bits", [EDGES, POWERS, sampled_bits(200)], ids=["edges", "2^n", "any"])
def test_every_way_to_lie_beside_a_middle_of_floats(bits: list[int]) -> None:
    """Beside half of a float's last place, and of the doubles next to that middle."""
    texts = []
    for pattern in bits:
        between = middle(pattern)
        texts += beside(between, 800 if pattern % 8 == 0 else 60)
        for side in (-math.inf, math.inf):
            double = Fraction(math.nextafter(float(between), side))
            texts += beside((between + double) / 2, 60)
            texts += [dyadic(double)]
    assert_read_as_python_does(texts)


def test_half_way_between_doubles() -> None:
    rng = np.random.default_rng(6)
    exponents = [-1074, -1022, -160, *rng.integers(-150, 129, 150).tolist(), 1023]
    texts = []
    for exponent in exponents:
        low = Fraction(2) ** exponent * (1 + Fraction(int(rng.integers(2**52)), 2**52))
        step = Fraction(math.nextafter(float(low), math.inf)) - Fraction(float(low))
        texts += beside(Fraction(float(low)) + step / 2, 800)
    assert_read_as_python_does(texts)


@pytest.mark.parametrize("power", [24, 25, 31, 32, 52, 53, 54, 63, 64, 65, 127, 128])
def test_whole_numbers_beside_powers_of_two(power: int) -> None:
    numbers = [2**power + near for near in range(-40, 41)]
    tails = ["", ".", ".0", ".25", ".49999999999999999999", ".5", ".50000000000000000001", "e0"]
    assert_read_as_python_does([f"{n}{tail}".encode() for n in numbers for tail in tails])


MANTISSAS = [1, 2, 3, 5, 7, 9, 12345678, 99999999, 2**24 + 1, 2**53 - 1, 2**53 + 1, 2**64, 10**19]


@pytest.mark.parametrize("mantissa", MANTISSAS)
def test_powers_of_ten(mantissa: int) -> None:
    """In every spelling: by an exponent, by zeros, and by zeros that an exponent takes back."""
    texts = []
    for power in range(-60, 61):
        zeros = "0" * abs(power)
        plain_text = f"{mantissa}{zeros}" if power >= 0 else f"{Decimal(mantissa).scaleb(power):f}"
        texts += [f"{mantissa}e{power}", f"-{mantissa}.000E{power:+}", plain_text]
        texts += [f"{mantissa}{zeros}e{power}", f"0.{zeros}{mantissa}e{power}"]
    assert_read_as_python_does([text.encode() for text in texts])


def test_exponents_at_their_limits() -> None:
    limits = [int(10**p) + near for p in (1, 2, 3, 5, 9, 10, 18, 19, 20) for near in (-1, 0, 1)]
    limits += [2**p + near for p in (15, 16, 31, 32, 63, 64) for near in (-1, 0, 1)]
    texts = [f"{m}e{s}{n}" for m in ("0", "1", "9.9", ".1") for s in ("", "-", "+") for n in limits]
    for n in (30, 45, 308, 324, 400, 5000):
        texts += [f"1{'0' * n}e-{n}", f"0.{'0' * n}1e{n}", f"1.5{'0' * n}e-38", f"{'0' * n}7e-{n}"]
    texts += [f"{m}e{e}" for m in ("1", "3.4028235", "3.4028236", "9") for e in (37, 38, 39, 40)]
    texts += [f"{m}e{e}" for m in ("1", "1.1754943", "7.006", "7.0065") for e in range(-48, -36)]
    assert_read_as_python_does([text.encode() for text in texts])


@pytest.mark.parametrize("rounding", [ROUND_FLOOR, ROUND_CEILING])
def test_one_digit_fewer_does_not_read_back(rounding: str) -> None:
    """The two decimals of one digit fewer that lie beside the exact value are other floats."""
    sample = np.array([*EDGES[1:], *POWERS, *sampled_bits(2000), *range(1, 300)], dtype=np.uint32)
    kept, shorter = [], []
    for text, value in zip(format_values(sample), sample.view(np.float32).tolist(), strict=True):
        digits = digit_count(text)
        if digits > 1:
            fewer = Context(prec=digits - 1, rounding=rounding)
            shorter.append(scientific(fewer.plus(Decimal(value))))
        kept.append(digits > 1)
    assert len(shorter) > 4000
    assert (oracle(shorter) != sample[kept]).all()
