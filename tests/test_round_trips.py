"""For every two formats that can be written: A to B to A, tokens byte-equal, values bit-equal.

The table of formats is gone over, so a format that is added is tried, too. A token that a format
cannot hold is refused before anything is there, and the other tokens go round.
"""

import itertools
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from samples import ODD_TOKENS, assert_is, bits, canonical, table

import embedfreeze as ef
from embedfreeze.errors import FormatError
from embedfreeze.formats import FORMATS
from embedfreeze.tokens import Tokens

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

WRITABLE = [name for name, found in FORMATS.items() if found.writer is not None]
# Those that spell values in decimal digits, where a NaN has no payload.
SPELLED = {"glove", "word2vec-text", "csv", "tsv", "projector", "json"}
WITHOUT_SIGN = {"json"}  # of NaN, as Python's own reader knows but one
AWKWARD = [
    *(token.encode() for token in ODD_TOKENS),
    b"",
    b" ",
    b"  ",
    b" first",
    b"last ",
    b"New York",
    b"room 101",
    b"a 0.5 0.25",
    b"\t",
    b"\ttab",
    b"tab\t",
    b"'single'",
    b'"',
    b'""',
    b'a"b',
    b"a,b",
    b",",
    b"a;b|c",
    b"a\\nb",
    b"\\",
    b"a\\",
    b"#comment",
    b"# 1",
    b"nul\0nul",
    b"\0",
    b"nul at the end\0",
    b"line\nfeed",
    b"\nfirst",
    b"last\n",
    b"\n",
    b"return\r",
    b"\r",
    b"\r\n",
    b"cr\r\nlf",
    b"0",
    b"-1",
    b"1e5",
    b"inf",
    b"None",
    b"null",
    b"true",
    b"[1, 2]",
    b"{}",
    b"7074 5",
    b"a/b",
    b"..",
    b"%s",
    b"e\xcc\x81",  # decomposed
    b"\xc3\xa9",  # composed
    b"\xef\xb7\x90",  # no character
    b"x" * 300,
    "\u6771\u4eac".encode() * 50,
    b"caf\xe9",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # half of a pair
    b"ends inside \xf0\x9f\x98",
]
AWKWARD = list(dict.fromkeys(token for token in AWKWARD if token != b"king"))
PLAIN = [b"king", b"queen"]
# First in a file, these might be taken for its header or its beginning.
FIRST = [t for t in AWKWARD if t[:1] in b"\xef#\0\n\r\t ,\"'[{" or t.isdigit()] + [b"7074 5", b"PK"]
DIM = 5


def values(rows: int) -> npt.NDArray[np.float32]:
    """Values of all sizes, zeros of both signs, infinities, NaN of both signs."""
    matrix = table(rows, DIM)
    matrix[-1] = canonical([0x7FC00000, 0xFFC00000, 1, 0x80000001, 0xFF7FFFFF])
    return matrix


def made(tokens: Sequence[bytes], matrix: npt.NDArray[np.float32] | None = None) -> ef.Embeddings:
    rows = values(len(tokens)) if matrix is None else matrix
    return ef.Embeddings(Tokens.from_bytes(tokens, "surrogateescape"), rows)


def target(folder: Path, name: str) -> Path:
    writer = FORMATS[name].writer
    assert writer is not None
    return folder / f"f{next(iter(writer.suffixes), '')}"


def read(path: Path, format: str | None = None) -> ef.Embeddings:
    return ef.read(path, format=format, unicode_errors="surrogateescape", allow_pickle=True)


def convert(source: Path, goal: Path, name: str) -> None:
    options = {"unicode_errors": "surrogateescape", "allow_pickle": True}
    ef.convert(source, goal, to_format=name, **options)


def goes_round(name: str, tokens: Sequence[bytes], folder: Path) -> bool:
    """Can a format hold a table? If it refuses, nothing is there; else it gives it back."""
    e, folder = made(tokens), folder / os.urandom(8).hex()
    folder.mkdir()
    path = target(folder, name)
    try:
        ef.write(e, path, format=name)
    except FormatError as error:
        told = str(error)
    else:
        told = ""
    if told:
        assert str(path) in told
        assert os.listdir(folder) == []
        return False
    for format in (None, name):
        assert_is(read(path, format), tokens, expected(e.matrix, name))
    return True


def expected(matrix: npt.NDArray[np.float32], *names: str) -> npt.NDArray[np.float32]:
    """What is left of values that went through some formats."""
    if WITHOUT_SIGN.isdisjoint(names):
        return matrix
    return np.where(np.isnan(matrix), np.float32(np.nan), matrix)


@cache
def held(name: str, folder: Path) -> frozenset[bytes]:
    """The awkward tokens that a format can hold, anywhere but in the first row."""

    def of(tokens: Sequence[bytes]) -> list[bytes]:
        if not tokens or goes_round(name, [*PLAIN, *tokens], folder):
            return list(tokens)
        half = len(tokens) // 2
        return of(tokens[:half]) + of(tokens[half:]) if half else []

    return frozenset(of(AWKWARD))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("held")


@pytest.mark.parametrize("name", WRITABLE)
def test_awkward_tokens_are_held_or_refused(name: str, shared: Path) -> None:
    found = held(name, shared)
    assert {token.encode() for token in ("caf\u00e9", "a\u00a0b", "\u3000", "x\u2028y")} <= found
    assert {b"'single'", b"#comment", b"1e5", b"x" * 300, b"None"} <= found


@pytest.mark.parametrize("name", WRITABLE)
def test_awkward_tokens_in_the_first_row(name: str, shared: Path) -> None:
    for token in FIRST:
        goes_round(name, [token, *PLAIN], shared)


@pytest.mark.parametrize(("one", "two"), itertools.permutations(WRITABLE, 2))
def test_there_and_back(one: str, two: str, shared: Path, tmp_path: Path) -> None:
    both = held(one, shared) & held(two, shared)
    tokens = [*PLAIN, *(token for token in AWKWARD if token in both)]
    folders = [tmp_path / step for step in ("1", "2", "3")]
    for folder in folders:
        folder.mkdir()
    first, second, third = map(target, folders, (one, two, one))
    e = made(tokens)
    ef.write(e, first, format=one)
    convert(first, second, two)
    assert_is(read(second, two), tokens, expected(e.matrix, one, two))
    convert(second, third, one)
    assert_is(read(third, one), tokens, expected(e.matrix, one, two))


@pytest.mark.parametrize("name", WRITABLE)
def test_a_conversion_refuses_what_writing_does(name: str, shared: Path, tmp_path: Path) -> None:
    """Tokens that come late, from a file: the target and what stands beside it do not appear."""
    source = tmp_path / "source.safetensors"
    for token in [t for t in AWKWARD if t not in held(name, shared)]:
        ef.write(made([*PLAIN, token]), source, overwrite=True)
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        with pytest.raises(FormatError):
            convert(source, target(folder, name), name)
        assert os.listdir(folder) == []


@pytest.mark.parametrize("name", WRITABLE)
def test_a_payload_of_nan(name: str, tmp_path: Path) -> None:
    """Its bits stay, except where values are spelled, and there it stays NaN."""
    matrix = np.ones((2, DIM), np.float32)
    matrix.view(np.uint32)[1] = [0x7FC00001, 0xFFC12345, 0x7F800001, 0xFFFFFFFF, 0x7FFFFFFF]
    path = target(tmp_path, name)
    ef.write(made(PLAIN, matrix), path, format=name)
    found = read(path).matrix
    assert (np.isnan(found) == np.isnan(matrix)).all()
    assert name in SPELLED or bits(found) == bits(matrix)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITABLE)
def test_each_awkward_token_alone(name: str, shared: Path) -> None:
    for token in AWKWARD:
        goes_round(name, [token, *PLAIN], shared)
        goes_round(name, [*PLAIN, token], shared)
        goes_round(name, [token], shared)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITABLE)
@given(tokens=st.lists(st.binary(max_size=8), min_size=1, max_size=5, unique=True))
@example(tokens=[b"PK\x05\x06"])
def test_any_bytes(name: str, tokens: list[bytes], shared: Path) -> None:
    goes_round(name, tokens, shared)
