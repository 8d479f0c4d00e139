"""GloVe and word2vec text: what is read, what is refused; cutting a file up changes nothing."""

import gzip
import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors
from hypothesis import given
from hypothesis import strategies as st
from samples import (
    ODD_TOKENS,
    assert_is,
    bits,
    canonical,
    child,
    glove_bytes,
    pipe,
    put,
    spelled,
    table,
)

import embedfreeze as ef
from embedfreeze import files
from embedfreeze.errors import FileError, FormatError
from embedfreeze.formats.texts import text

ODD = [token.encode() for token in ODD_TOKENS]


def rows_text(lines: bytes, tmp_path: Path, name: str = "file.txt") -> ef.Embeddings:
    return ef.read(put(tmp_path / name, lines))


def error_of(data: bytes, tmp_path: Path, **options: object) -> FormatError:
    with pytest.raises(FormatError) as caught:
        ef.read(put(tmp_path / "bad.txt", data), **options)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)
    assert str(tmp_path / "bad.txt") in str(caught.value)
    return caught.value


# ---- what is read ---------------------------------------------------------------------------


def test_values_are_those_of_numpy_and_tokens_those_of_the_file(tmp_path: Path) -> None:
    spellings = [
        *("0", "-0", "+1", "1.", ".5", "-.25", "00012.5000", "1e5", "1E-5", "1e+05", "1e400"),
        *("nan", "-nan", "NaN", "inf", "-INF", "infinity", "3.4028235677973366e38", "1e-46"),
        *("1.0000000596046447753907", "0.1" + "0" * 60 + "1", "9" * 40, "1e-400", "7e-46"),
        *("123456789.123456789", "-2.2250738585072011e-308", "1.17549435e-38", "16777217"),
    ]
    lines = [f"token{i} {s} {s} 1.5" for i, s in enumerate(spellings)]
    e = rows_text("\n".join(lines).encode(), tmp_path)
    with np.errstate(over="ignore"):
        expected = np.array([[np.float32(float(s))] * 2 + [1.5] for s in spellings], np.float32)
    assert bits(e.matrix) == bits(expected)
    assert list(e.tokens) == [f"token{i}" for i in range(len(spellings))]


NUMBERS = st.one_of(
    st.floats(allow_nan=False).map(repr),
    st.floats(width=32, allow_nan=False).map(lambda x: f"{x:.9g}"),
    st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 30)).map(
        lambda pair: f"{pair[0]:.{pair[1]}e}"
    ),
    st.from_regex(r"\A[+-]?([0-9]{1,25}(\.[0-9]{0,25})?|\.[0-9]{1,25})([eE][+-]?[0-9]{1,3})?\Z"),
)


@given(fields=st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5))
def test_any_spelling_of_a_number_is_what_numpy_says(
    fields: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("numbers") / "file.txt"
    path.write_text("".join(f"t{i} {' '.join(row)}\n" for i, row in enumerate(fields)), "ascii")
    with np.errstate(over="ignore"):
        expected = np.array([[np.float32(float(s)) for s in row] for row in fields], np.float32)
    assert bits(ef.read(path).matrix) == bits(expected)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" \n", b" \r\n"])
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n\n", None])
def test_line_ends_headers_and_marks(
    end: bytes, header: bool, bom: bytes, tail: bytes | None, tmp_path: Path
) -> None:
    matrix = table(len(ODD), 5)
    data = glove_bytes(ODD, matrix, end)
    if header:
        data = b"%d 5" % len(ODD) + end + data
    data = data.removesuffix(b"\n") if tail is None else data + tail
    e = rows_text(bom + data, tmp_path)
    assert_is(e, ODD, matrix)
    assert ef.inspect(tmp_path / "file.txt").format == ("word2vec-text" if header else "glove")


def test_the_last_fields_are_the_vector(tmp_path: Path) -> None:
    e = rows_text(b"New York 1 2\n 3 4\na  5 6\nroom 101 7 8\nb 9 10\nc 1 1\n", tmp_path)
    assert_is(
        e,
        ["New York", "", "a ", "room 101", "b", "c"],
        np.array([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [1, 1]], np.float32),
    )


@pytest.mark.parametrize(
    ("first", "is_row"),
    [
        (b"hello 1", False),
        (b"hello 1 2", True),
        (b"111 222 333", True),
        (b"3 2", False),
        (b"2 3", False),  # reversed
        (b"3", False),  # alone
    ],
)
def test_headers_and_rows_that_look_like_them(first: bytes, is_row: bool, tmp_path: Path) -> None:
    data = first + b"\na 1 2\nb 3 4\nc 5 6\n"
    if first == b"hello 1":  # neither a row of two values nor a header
        assert error_of(data, tmp_path).line == 1
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e = rows_text(data, tmp_path)
    assert len(e) == 3 + is_row


@pytest.mark.parametrize("first", [b"hello 1", b"1 5", b"7 1", b"3 9"])
def test_rows_of_one_value_are_no_headers(first: bytes, tmp_path: Path) -> None:
    e = rows_text(first + b"\n2 6\n3x 7\n", tmp_path)
    assert len(e) == 3
    assert spelled(e)[0] == first.split()[0]


@pytest.mark.parametrize("first", [b"3 1", b"1 3", b"3"])
def test_header_over_rows_of_one_value(first: bytes, tmp_path: Path) -> None:
    assert spelled(rows_text(first + b"\n7 6\n8 7\n9 8\n", tmp_path)) == [b"7", b"8", b"9"]


@pytest.mark.parametrize(
    ("header", "says"), [(b"9 2", "cut off"), (b"2 2", "header is wrong"), (b"%d 2" % 10**12, "")]
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_miscounts_gives_a_warning(
    header: bytes, says: str, packed: bool, tmp_path: Path
) -> None:
    data = header + b"\na 1 2\nb 3 4\nc 5 6\n"
    path = put(tmp_path / "file.vec", gzip.compress(data) if packed else data)
    with pytest.warns(UserWarning, match=f"header says {header.split()[0].decode()} rows.*{says}"):
        assert len(ef.read(path)) == 3


def test_a_lying_header_over_wide_rows(tmp_path: Path) -> None:
    data = b"400000 50\n" + glove_bytes([b"t%d" % i for i in range(9)], table(9, 300))
    error = error_of(data, tmp_path)
    assert error.line == 1
    assert "300 numbers" in str(error)


def test_a_claim_is_no_allocation(tmp_path: Path) -> None:
    rows = b"a 1 2 3\nb 3 4 5\n"
    vector = struct.pack("<3f", 1, 2, 3)
    put(tmp_path / "a.txt", b"%d 3\n" % 10**12 + rows)
    put(tmp_path / "b.bin", b"%d 3\n" % 10**12 + b"a " + vector)
    put(tmp_path / "c.gz", gzip.compress(b"%d 3\n" % 10**12 + b"a " + vector))
    put(tmp_path / "d.gz", gzip.compress(b"2 999999999\na " + vector))
    put(tmp_path / "e.bin", b"2 999999999\na " + vector)
    put(tmp_path / "f.txt", gzip.compress(b"%d 3\n" % 10**12 + rows))
    code = """
import sys, warnings, embedfreeze as ef
import numpy, gzip, concurrent.futures
from pathlib import Path
warnings.simplefilter("ignore")
def peak():
    return int(Path("/proc/self/status").read_text().split("VmPeak:")[1].split()[0])
ef.read("data/glove.6B.50d.sample.txt", limit=3)
before = peak()
for path in sorted(Path(sys.argv[1]).iterdir()):
    for read in (ef.read, lambda p: ef.load(p, ef.Vocabulary(["a"]))):
        try:
            read(path)
        except ef.errors.FormatError as error:
            assert "promises" in str(error), error
        else:
            assert path.suffix == ".txt", path
print(peak() - before)
"""
    # Address space that is only reserved counts too: threads and a stream's block take some.
    assert int(child(code, tmp_path)) < 400_000


@pytest.mark.parametrize("header", [False, True])
def test_gensim_reads_what_is_written_and_the_other_way(header: bool, tmp_path: Path) -> None:
    plain = [t for t in ODD_TOKENS if not set(t) & set("\r\x0b\x0c\x1c\u0085\u2028\u3000\u00a0\t")]
    matrix = table(len(plain), 4)
    suffix = ".vec" if header else ".txt"
    ours, theirs = str(tmp_path / f"ours{suffix}"), str(tmp_path / f"theirs{suffix}")
    ef.write(ef.Embeddings(plain, matrix), ours)
    loaded = KeyedVectors.load_word2vec_format(ours, no_header=not header)
    assert loaded.index_to_key == plain
    assert bits(loaded.vectors) == bits(matrix)
    loaded.save_word2vec_format(theirs, write_header=header, sort_attr="")
    assert_is(ef.read(theirs), plain, matrix)


# ---- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "line", "column", "words"),
    [
        (b"a 1 2\nb 3\nc 5 6\n", 2, None, "received 1 numbers"),
        (b"a 1 2\nb\nc 5 6\n", 2, None, "received 0 numbers"),
        (b"a 1 2\nb 3 x\nc 5 6\n", 2, 3, "'x'"),
        (b"a 1 2\nb x 4\nc 5 6\n", 2, 2, "'x'"),  # the last two fields are the vector
        (b"a 1 2\nb 1_0 4\nc 5 6\n", 2, 2, "'1_0'"),
        (b"a 1 2\nb 0x10 4\nc 5 6\n", 2, 2, "'0x10'"),
        (b"a 1 2\nb 1,5 4\nc 5 6\n", 2, 2, "'1,5'"),
        (b"a 1 2\nb 1\t4\nc 5 6\n", 2, 2, "'1\\t4'"),
        ("a 1 2\nb 1\u00a0 4\nc 5 6\n".encode(), 2, 2, "'1\\xa0'"),
        ("a 1 2\nb \u0661 4\nc 5 6\n".encode(), 2, 2, "'\u0661'"),
        (b"a 1 2\nb 3  4\nc 5 6\n", 2, 3, "an empty field"),
        (b"a 1 2\n\nc 5 6\nd 1 2\n", 2, None, "a blank line"),
        (b"a 1 2\n \r\nc 5 6\nd 1 2\n", 2, None, "a blank line"),
        (b"a 1 2\nb 3 4\nc 5", 3, None, "cut off"),
        (b"a 1 2\nb 3 4\nc 5\n\n\n", 3, None, "cut off"),
        (b"a 1 2\nb 3 4\nc 5 -", 3, 3, "'-'"),
        (b"3 2\na 1 2\nb 3 4\nc 5 x6\n", 4, 3, "'x6'"),
        (b"a 1 2\nb 3 4\nc 5 1\0\n", 3, 3, "'1\\x00'"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_bad_row_is_named_by_line_and_column(
    data: bytes, line: int, column: int | None, words: str, packed: bool, tmp_path: Path
) -> None:
    error = error_of(gzip.compress(data) if packed else data, tmp_path)
    assert (error.line, error.column) == (line, column)
    assert words in str(error)
    assert f"line {line}" in str(error)
    assert "2 numbers" in str(error)


def test_bad_rows_can_be_skipped(tmp_path: Path) -> None:
    data = b"a 1 2\nb x 4\nc 5 6\n\nd 7\ne 8 9\n"
    path = put(tmp_path / "file.txt", data)
    with pytest.warns(UserWarning, match="3 bad rows were skipped, the first at line 2"):
        e = ef.read(path, on_bad_row="skip")
    assert_is(e, ["a", "c", "e"], np.array([[1, 2], [5, 6], [8, 9]], np.float32))
    with pytest.warns(UserWarning, match="1 bad row was skipped, the first at line 2"):
        a = ef.load(path, ef.Vocabulary(["b", "c"], padding=None), on_bad_row="skip")
    assert a.matrix.tolist() == [[0, 0], [0, 0], [5, 6]]


@pytest.mark.parametrize("data", [b"hello\nworld\n", b"a b\nc d\n", b"\n\n\n", b"a\tb\tc\n", b"x"])
def test_what_is_no_text_of_rows_is_refused(data: bytes, tmp_path: Path) -> None:
    assert "it must be one of" in str(error_of(data, tmp_path))


@pytest.mark.parametrize("data", [b"400000 50\n", b"3 2\r\n", b"0 3\n", b"5 2 \n\n"])
def test_a_header_alone_is_no_row(data: bytes, tmp_path: Path) -> None:
    assert "rows" in str(error_of(data, tmp_path))


@pytest.mark.parametrize("data", [b"400000 50", b"1000000\n", b"7"])
def test_a_cut_header_is_no_row(data: bytes, tmp_path: Path) -> None:
    assert "it must be one of" in str(error_of(data, tmp_path))


def test_a_named_format_that_does_not_fit(tmp_path: Path) -> None:
    data = b"a 1 2\nb 3 4\n"
    assert "word2vec text must begin" in str(error_of(data, tmp_path, format="word2vec-text"))
    assert "word2vec binary must begin" in str(error_of(data, tmp_path, format="word2vec"))
    assert "HDF5 cannot open" in str(error_of(data, tmp_path, format="hdf5"))
    assert "store" in str(error_of(data, tmp_path, format="store"))
    assert "store" in str(error_of(b"abc", tmp_path, format="store"))
    assert "GloVe text" in str(error_of(b"\xff\xfe\n", tmp_path, format="glove"))
    assert error_of(b"2 2\n" + data, tmp_path, format="glove").line == 1
    with pytest.raises(ValueError, match="format must be one of"):
        ef.read(tmp_path / "bad.txt", format="excel")


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        ("replace", "caf\ufffd"),
        ("ignore", "caf"),
        ("surrogateescape", "caf\udce9"),
        ("backslashreplace", "caf\\xe9"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_tokens_that_are_not_utf8(mode: str, shown: str, packed: bool, tmp_path: Path) -> None:
    data = b"a 1 2\nb 3 4\ncaf\xe9 5 6\nd 7 8\n"
    path = put(tmp_path / "file.txt", gzip.compress(data) if packed else data)
    with pytest.raises(FormatError, match="line 3: tokens must be UTF-8.*--unicode-errors"):
        ef.read(path)
    e = ef.read(path, unicode_errors=mode)
    assert list(e.tokens) == ["a", "b", shown, "d"]
    assert spelled(e)[2] == b"caf\xe9"  # the bytes stay as they are
    ef.write(e, tmp_path / "copy.txt")
    assert spelled(ef.read(tmp_path / "copy.txt", unicode_errors=mode)) == spelled(e)


def test_options_that_do_not_exist(tmp_path: Path) -> None:
    path = put(tmp_path / "file.txt", b"a 1 2\n")
    for options in (
        {"dtype": "float64"},
        {"on_bad_row": "ignore"},
        {"on_duplicate": "maybe"},
        {"unicode_errors": "loose"},
        {"limit": -1},
        {"threads": 0},
    ):
        with pytest.raises(ValueError, match="must"):
            ef.read(path, **options)
    with pytest.raises(TypeError):
        ef.read(path, limits=3)


# ---- options -----------------------------------------------------------------------------------


def test_repeated_tokens(tmp_path: Path) -> None:
    path = put(tmp_path / "file.txt", b"a 1 1\nb 2 2\na 3 3\nc 4 4\nb 5 5\na 6 6\n")
    with pytest.warns(UserWarning, match=r"3 rows repeat.*'a'.*first row is kept"):
        e = ef.read(path)
    assert_is(e, ["a", "b", "c"], np.array([[1, 1], [2, 2], [4, 4]], np.float32))
    assert e.index("c") == 2
    with pytest.warns(UserWarning, match="last row is kept"):
        e = ef.read(path, on_duplicate="last")
    assert_is(e, ["c", "b", "a"], np.array([[4, 4], [5, 5], [6, 6]], np.float32))
    assert [e.index(t) for t in "cba"] == [0, 1, 2]
    with pytest.raises(FormatError, match="line 3.*b'a'.*row 0") as caught:
        ef.read(path, on_duplicate="error")
    assert caught.value.line == 3


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 99])
def test_limit(limit: int, packed: bool, tmp_path: Path) -> None:
    data = b"4 2\na 1 1\nb 2 2\nc 3 3\nd 4 4\n\n\n"
    path = put(tmp_path / "file.vec", gzip.compress(data) if packed else data)
    assert spelled(ef.read(path, limit=limit)) == [b"a", b"b", b"c", b"d"][:limit]
    a = ef.load(path, ef.Vocabulary(list("abcd")), limit=limit)
    assert a.coverage.found() == min(limit, 4)


def test_limit_stops_before_a_bad_row(tmp_path: Path) -> None:
    path = put(tmp_path / "file.txt", b"a 1 1\nb 2 2\nbad\n")
    assert len(ef.read(path, limit=2)) == 2
    with pytest.raises(FormatError, match="line 3"):
        ef.read(path, limit=3)
    with pytest.raises(FormatError, match="has no rows"):
        ef.read(path, limit=0)


def test_half_precision(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    path = put(tmp_path / "file.txt", glove_bytes([b"t%d" % i for i in range(50)], matrix))
    for data in (path.read_bytes(), gzip.compress(path.read_bytes())):
        path.write_bytes(data)
        e = ef.read(path, dtype="float16")
        assert e.matrix.dtype == np.float16
        assert bits(e.matrix) == bits(matrix.astype(np.float16))
        a = ef.load(path, ef.Vocabulary(["t7", "t3"]), dtype="float16")
        assert bits(a.matrix[2:]) == bits(matrix[[7, 3]].astype(np.float16))


# ---- cutting a file into pieces changes nothing -------------------------------------------------


def cut_up(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(text, "SCAN_BYTES", size)
    monkeypatch.setattr(text, "BATCH_BYTES", size)
    monkeypatch.setattr(text, "STREAM_BYTES", max(size, 64))
    monkeypatch.setattr(files.mapped, "KEPT_BYTES", 0)


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 100, 1000])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("end", [b"\n", b" \r\n"])
def test_pieces_and_threads(
    size: int, threads: int, end: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [*ODD, b"", b"New York", b"room 101", *(b"w%d" % i for i in range(40))]
    matrix = table(len(tokens), 3)
    data = glove_bytes(tokens, matrix, end)
    v = ef.Vocabulary(["w7", "New York", "king", "room 101", "KING", "w39"], padding=None)
    wanted = [tokens.index(t) for t in (b"w7", b"New York", b"king", b"room 101", b"king", b"w39")]
    cut_up(monkeypatch, size)
    for head, tail in ((b"", b""), (b"%d 3\n" % len(tokens), b"\n\r\n\n" * 30)):
        plain = put(tmp_path / "file.txt", head + data + tail)
        packed = put(tmp_path / "file.gz", gzip.compress(head + data + tail))
        for path in (plain, packed):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                assert_is(ef.read(path, threads=threads), tokens, matrix)
                a = ef.load(path, v, threads=threads)
            line = {token: i + 1 + bool(head) for i, token in enumerate(tokens)}
            assert [str(w.message).rpartition("; ")[2] for w in caught] == [
                f"the first is 'king' at line {line[b'king']}",
                f"the first is 'room 101' at line {line[b'room 101']}",
            ] * 2
            assert bits(a.matrix[1:]) == bits(matrix[wanted])
            assert_is(ef.read(path, threads=threads, limit=30), tokens[:30], matrix[:30])
            assert len(ef.read(path, threads=threads, limit=len(tokens) + 7)) == len(tokens)


@pytest.mark.parametrize("size", [1, 30, 64, 500])
@pytest.mark.parametrize("packed", [False, True])
def test_the_place_of_an_error_does_not_depend_on_the_pieces(
    size: int, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [b"token%d 1 2" % i for i in range(60)]
    lines[41] = b"token41 1 x"
    data = b"\n".join([b"60 2", *lines]) + b"\n"
    path = put(tmp_path / "file.vec", gzip.compress(data) if packed else data)
    cut_up(monkeypatch, size)
    for threads in (1, 3):
        with pytest.raises(FormatError) as caught:
            ef.read(path, threads=threads)
        assert (caught.value.line, caught.value.column) == (43, 3)
        with pytest.raises(FormatError) as caught:
            ef.load(path, ef.Vocabulary(["token50", "token41"]), threads=threads)
        assert (caught.value.line, caught.value.column) == (43, 3)
    with pytest.warns(UserWarning, match="first at line 43"):
        assert len(ef.read(path, on_bad_row="skip")) == 59


def test_blank_lines_in_the_middle_of_pieces_stay_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"a 1 2\nb 1 2\n" + b"\n" * 90 + b"c 3 4\n"
    for size in (1, 7, 64, 1000):
        cut_up(monkeypatch, size)
        for packed in (False, True):
            path = put(tmp_path / "f.txt", gzip.compress(data) if packed else data)
            with pytest.raises(FormatError, match="line 3: .*a blank line"):
                ef.read(path)


def test_a_line_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_up(monkeypatch, 64)
    tokens = [b"short", b"long" * 1000, b"end"]
    matrix = table(3, 3)
    path = put(tmp_path / "f.gz", gzip.compress(glove_bytes(tokens, matrix)))
    assert_is(ef.read(path), tokens, matrix)
    monkeypatch.setattr(text, "LONGEST_LINE", 1000)
    with pytest.raises(FormatError, match="line 2: a line is longer than 1000"):
        ef.read(path)


def test_a_named_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    matrix = table(len(ODD), 4)
    data = glove_bytes(ODD, matrix)
    with pipe(tmp_path / "pipe", data) as path:
        assert_is(ef.read(path), ODD, matrix)
    with pipe(tmp_path / "pipe2", data) as path:
        a = ef.load(path, ef.Vocabulary(["king"]))
        assert bits(a.matrix[2]) == bits(matrix[0])
    with pipe(tmp_path / "pipe3", data) as path:
        assert ef.convert(path, tmp_path / "out.bin", limit=2).rows == 2
    with (
        pipe(tmp_path / "pipe4", data) as path,
        pytest.raises(FileError, match="a pipe can be read once"),
    ):
        ef.inspect(path)
    with (
        pipe(tmp_path / "pipe5", data) as path,
        pytest.raises(FileError, match="a pipe can be read once"),
    ):
        ef.convert(path, tmp_path / "last.bin", on_duplicate="last")


# ---- writing -----------------------------------------------------------------------------------


def test_golden_bytes(tmp_path: Path) -> None:
    matrix = canonical([0x3F800000, 0xBE99999A, 0x80000000, 0x7F800000, 1, 0x7FC00000]).reshape(
        2, 3
    )
    e = ef.Embeddings(["New York", "caf\u00e9\u3000"], matrix)
    golden = Path(__file__).parent / "golden"
    for name in ("text.txt", "text.vec"):
        ef.write(e, tmp_path / name)
        assert (tmp_path / name).read_bytes() == (golden / name).read_bytes()
        assert_is(ef.read(golden / name), ["New York", "caf\u00e9\u3000"], matrix)


@pytest.mark.parametrize("suffix", [".txt", ".vec"])
@pytest.mark.parametrize(
    "tokens",
    [
        ["a\nb", "c"],  # a line feed
        ["room 101", "room 102"],  # one more number in every row
        [f"room {i}" for i in range(200)],
    ],
)
def test_tokens_that_no_text_can_hold(tokens: list[str], suffix: str, tmp_path: Path) -> None:
    e = ef.Embeddings(tokens, table(len(tokens), 3))
    path = tmp_path / f"out{suffix}"
    if suffix == ".vec" and tokens == ["room 101", "room 102"]:  # a short file's header tells
        ef.write(e, path)
        assert_is(ef.read(path), tokens, e.matrix)
        return
    with pytest.raises(FormatError, match=r"cannot hold.*safetensors"):
        ef.write(e, path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("tokens", "dim"), [(["\ufeffking", "b"], 2), (["1", "b"], 1), (["7"], 1), (["b 3", "c 4"], 1)]
)
def test_glove_text_that_would_be_read_otherwise(
    tokens: list[str], dim: int, tmp_path: Path
) -> None:
    matrix = np.ones((len(tokens), dim), np.float32)
    with pytest.raises(FormatError, match="cannot hold these tokens"):
        ef.write(ef.Embeddings(tokens, matrix), tmp_path / "out.txt")
    assert os.listdir(tmp_path) == []


def test_blank_lines_at_the_end_take_no_time(tmp_path: Path) -> None:
    path = put(tmp_path / "f", b"a 1 2\nb 3 4\n" + b"\n" * 1_000_000)  # one by one, hours
    assert len(ef.read(path)) == len(ef.read(path, limit=500_000)) == 2
