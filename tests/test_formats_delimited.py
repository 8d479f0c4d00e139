"""CSV and TSV: what is read, by whom it was written, what is refused; and what others read back."""

import contextlib
import csv
import gzip
import io
import random
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import ODD_TOKENS, assert_is, bits, put, spelled, table

import embedfreeze as ef
from embedfreeze.errors import FormatError
from embedfreeze.formats.texts import delimitedrows, delimitedsample, text
from embedfreeze.tokens import Tokens

GOLDEN = Path(__file__).parent / "golden" / "csv"
VALUES = np.array(
    [[0.5, -0.25, 1e-05], [1, 2, 3], [0.1, -0.2, 0.3], [7e20, -0.0, 0.0625], [0.7, 0.8, 0.9]],
    np.float32,
)
QUOTED = ["king", "New York, NY", 'say "hi"', "caf\u00e9", "2003"]
PLAIN = ["king", "New York", "queen", "caf\u00e9", "2003"]
GOLDEN_TOKENS = {
    "pandas.csv": QUOTED,
    "pandas-index.csv": QUOTED,
    "pandas-numbered.csv": QUOTED,
    "polars.csv": QUOTED,
    "line-feeds.csv": ["two\nlines", "a,b", "c", '"', "d"],
    "tab-then-spaces.tsv": ["a", "b", "c", "d", "e"],
    "header.tsv": ["king", "New_York", "queen", "caf\u00e9", "2003"],
}
NAMES = sorted(p.name for p in GOLDEN.iterdir() if p.suffix in (".csv", ".tsv"))
AWKWARD = [
    *ODD_TOKENS,
    *("", " ", " a ", "New York, NY", "a\nb", "a\r\nb", 'x"y', '"', '""', ",", ";", "\t", "a,b\nc"),
    *("1,2", "a\n\nb", "\0", "'", "a;b|c"),
]


def read(data: bytes, tmp_path: Path, **options: object) -> ef.Embeddings:
    return ef.read(put(tmp_path / "file", data), **options)


def error_of(data: bytes, tmp_path: Path, **options: object) -> FormatError:
    with pytest.raises(FormatError) as caught:
        read(data, tmp_path, **options)
    assert str(tmp_path / "file") in str(caught.value)
    return caught.value


# ---- what is read ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("packed", [False, True])
def test_golden_files(name: str, packed: bool, tmp_path: Path) -> None:
    data = (GOLDEN / name).read_bytes()
    path = put(tmp_path / name, gzip.compress(data) if packed else data)
    tokens = GOLDEN_TOKENS.get(name, PLAIN)
    e = ef.read(path)
    assert_is(e, tokens, VALUES)
    assert ef.inspect(path).format == Path(name).suffix[1:]
    for limit in (1, 3):
        few = ef.read(path, limit=limit)
        assert_is(few, tokens[:limit], VALUES[:limit])
    for i in range(len(tokens)):
        a = ef.load(path, ef.Vocabulary([tokens[i], "absent"], padding=None), match=("exact",))
        assert bits(a.matrix[a.vocabulary.tokens.index(tokens[i])]) == bits(VALUES[i])


def test_golden_files_are_read_alike_by_pandas() -> None:
    found = pd.read_csv(GOLDEN / "pandas.csv", float_precision="round_trip", dtype={"token": str})
    assert list(found["token"]) == QUOTED
    values = np.array([[np.float32(x) for x in row] for row in found.iloc[:, 1:].to_numpy()])
    assert bits(values) == bits(VALUES)


SPELLINGS = [
    *("0", "-0", "+1", "1.", ".5", "-.25", "00012.5000", "1e5", "1E-5", "1e+05", "1e400"),
    *("nan", "-nan", "NaN", "inf", "-INF", "infinity", "3.4028235677973366e38", "1e-46"),
    *("1.0000000596046447753907", "0.1" + "0" * 60 + "1", "9" * 40, "1e-400", "7e-46"),
]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("quote", ["", '"', " "])
def test_values_are_those_of_numpy(delimiter: str, quote: str, tmp_path: Path) -> None:
    rows = [
        [f"t{i}", *(f"{quote}{s}{quote.strip()}" for s in (s, s, "1.5"))]
        for i, s in enumerate(SPELLINGS)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        e = read("\n".join(map(delimiter.join, rows)).encode(), tmp_path)
    with np.errstate(over="ignore"):
        expected = [[np.float32(float(s))] * 2 + [np.float32(1.5)] for s in SPELLINGS]
    assert_is(e, [row[0] for row in rows], np.array(expected, np.float32))


def test_decimal_commas_are_read_where_they_are_beyond_doubt(tmp_path: Path) -> None:
    e = read(b"king;0,5;-1,25e2;3\nqueen;,5;2;1,0\n", tmp_path)
    assert_is(e, ["king", "queen"], np.array([[0.5, -125, 3], [0.5, 2, 1]], np.float32))
    assert "decimal commas" in str(ef.inspect(tmp_path / "file"))
    mixed = error_of(b"king;0,5;0,25\nqueen;0,5;0,25\nman;0,5;0.25\n", tmp_path)
    assert (mixed.line, mixed.column) == (3, 3)
    assert "'0.25'" in str(mixed)


@pytest.mark.parametrize(
    ("data", "tokens"),
    [
        (b"a,1,2,3\nb,4,5,6\n", ["a", "b"]),
        (b"token,0,1,2\na,1,2,3\nb,4,5,6\n", ["a", "b"]),
        (b",0,1,2\n7,1,2,3\n8,4,5,6\n", ["7", "8"]),  # tokens that are numbers
        (b"7,1,2,3\n8,4,5,6\n", ["7", "8"]),
        (b"id,x,y,z\na,1,2,3\nb,4,5,6\n", ["a", "b"]),
        (b"a,1,2,3,\nb,4,5,6,\n", ["a", "b"]),  # a comma at the end of each line
        (b"\xef\xbb\xbfa,1,2,3\r\nb,4,5,6\r\n\r\n\n", ["a", "b"]),
    ],
)
def test_header_rows_and_line_ends(data: bytes, tokens: list[str], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        e = read(data, tmp_path)
    assert_is(e, tokens, np.array([[1, 2, 3], [4, 5, 6]], np.float32))


@pytest.mark.parametrize(
    "head",
    [
        ",word,0,1,2",  # pandas' row numbers over columns without names
        "Unnamed: 0,word,0,1,2",
        ",word,freq,0,1,2",
    ],
)
def test_header_rows_of_numbers_over_numbered_rows(head: str, tmp_path: Path) -> None:
    count = b"9," if "freq" in head else b""
    rows = b"0,king,%s.5,1.5,2\n1,queen,%s.25,3,4\n2,2003,%s1,0,1\n" % (count, count, count)
    e = read(head.encode() + b"\n" + rows, tmp_path)
    expected = np.array([[0.5, 1.5, 2], [0.25, 3, 4], [1, 0, 1]], np.float32)
    assert_is(e, ["king", "queen", "2003"], expected)


def test_the_numbers_of_a_frame_without_names_are_a_header_row(tmp_path: Path) -> None:
    frame = pd.DataFrame([["king", 0.5, 1.5, 2.0], ["queen", 0.25, 3.0, 4.0]])
    frame.to_csv(tmp_path / "f.csv", index=False)
    expected = np.array([[0.5, 1.5, 2], [0.25, 3, 4]], np.float32)
    assert_is(ef.read(tmp_path / "f.csv"), ["king", "queen"], expected)
    frame = frame.set_axis(["word", 0, 1, 2], axis=1)[[0, 1, "word", 2]]
    frame.to_csv(tmp_path / "f.csv", index=False)
    assert_is(ef.read(tmp_path / "f.csv"), ["king", "queen"], expected)


def test_columns_whose_names_count_up_are_ordered_as_numbers(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(12)
    matrix = np.arange(24, dtype=np.float32).reshape(2, 12) / 4
    for first in ("d0", "V1", "0", "1"):
        prefix, low = first[:-1], int(first[-1])
        frame = pd.DataFrame({f"{prefix}{i + low}": matrix[:, i] for i in order})
        frame.insert(5, "n", [7, 8])
        frame.insert(0, "word", ["king", "queen"])
        frame.to_csv(tmp_path / "f.csv", index=False)
        assert_is(ef.read(tmp_path / "f.csv"), ["king", "queen"], matrix)
        notes = ef.inspect(tmp_path / "f.csv").notes
        assert "left out: column n ('7', ...)" in notes
        assert "columns in the order of the numbers in their names" in notes


def test_counts_among_vectors_are_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"whole numbers of column freq \('9', ...\)") as caught:
        e = read(b"word,freq,a,b,c\nking,9,.5,1.5,0.0\nqueen,8,.25,3,0.5\n", tmp_path)
    assert len(caught) == 1
    assert e.dim == 4


@pytest.mark.parametrize(
    ("row", "received"),
    [
        (b"%s\t%d,1.5,-2\n", "rows with commas between the fields: separate all fields alike"),
        (b"%s,[%d, 1.5, -2]\n", "rows whose numbers stand in brackets: take the brackets out"),
        (b"%s\t[%d, 1.5, -2]\n", "rows whose numbers stand in brackets: take the brackets out"),
    ],
)
def test_no_first_number_is_taken_for_an_end_of_the_token(
    row: bytes, received: str, tmp_path: Path
) -> None:
    data = b"".join(row % (word, i) for i, word in enumerate([b"king", b"queen", b"man"]))
    assert received in str(error_of(data, tmp_path))


def test_delimiters_in_tokens_that_are_not_quoted(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="2 tokens hold the delimiter ',' and are not quoted"):
        e = read(b'a,1,2\nNew York, NY,3,4\n,,5,6\n",a",7,8\nb,1,2\n', tmp_path)
    assert spelled(e) == [b"a", b"New York, NY", b",", b",a", b"b"]


def test_quotes_that_close_nowhere_belong_to_the_token(tmp_path: Path) -> None:
    e = read(b'a,1,2\n",3,4\n"b,5,6\n"c"d,7,8\n5",9,0\n', tmp_path)
    assert spelled(e) == [b"a", b'"', b'"b', b'"c"d', b'5"']


def test_a_column_is_named_where_several_can_be_the_tokens(tmp_path: Path) -> None:
    data = b"word,tag,x,y\nking,NN,1,2\nqueen,NN,3,4\n"
    assert_is(read(data, tmp_path), ["king", "queen"], np.array([[1, 2], [3, 4]], np.float32))
    data = data.replace(b"word", b"w")
    said = str(error_of(data, tmp_path))
    assert "w ('king', ...), tag ('NN', ...)" in said
    assert "tokens= (--tokens)" in said
    for tokens in ("w", "1"):
        e = read(data, tmp_path, tokens=tokens)
        assert_is(e, ["king", "queen"], np.array([[1, 2], [3, 4]], np.float32))
    assert "left out: column tag" in str(ef.inspect(tmp_path / "file", tokens="w"))
    assert "which is not 'v'" in str(error_of(data, tmp_path, tokens="v"))
    assert "1 ('a', ...), 2 ('b', ...)" in str(error_of(b"a\tb\t1\t2\n", tmp_path))


# ---- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", "\t", ", "])
def test_bad_rows(end: str, delimiter: str, tmp_path: Path) -> None:
    rows = [["token", "x", "y"], ["a", "1", "2"], ["b", "u", "4"], ["c", "5"], ["d", "6", "7"]]
    rows += [[token, "8", "9"] for token in "efg"]
    data = end.join(map(delimiter.join, rows)).encode()
    error = error_of(data, tmp_path)
    assert (error.line, error.column) == (3, 2)
    assert "'u' where a number must stand" in str(error)
    with pytest.warns(UserWarning, match="2 bad rows were skipped, the first at line 3"):
        e = read(data, tmp_path, on_bad_row="skip")
    assert_is(e, list("adefg"), np.array([[1, 2], [6, 7], *[[8, 9]] * 3], np.float32))


def test_bad_rows_where_the_token_stands_last(tmp_path: Path) -> None:
    error = error_of(b"1.5,2,a\n3,4,b\n5,x,c\n", tmp_path)
    assert (error.line, error.column) == (3, 2)
    error = error_of(b"1.5,2,a\n3,4,b\n5,6\n", tmp_path)
    assert error.line == 3
    assert "3 fields, received 2" in str(error)
    assert error_of(b"1.5,2,a\n\n3,4,b\n5,6,c\n", tmp_path).line == 2


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\nc,d\n",
        b"word\tcount\nking\t10\nqueen\t20\n",
        b"1\tking\t10\n4\tqueen\t20\n",
        b"king\t0.1,0.2\nqueen\t0.3,0.4\n",
        b"hello, world\n",
        b",\n",
    ],
)
def test_tables_of_something_else(data: bytes, tmp_path: Path) -> None:
    assert "; it must be one of" in str(error_of(data, tmp_path))


def test_vectors_that_are_text(tmp_path: Path) -> None:
    pd.DataFrame({"token": ["a"], "vector": [[0.5, 1.0]]}).to_csv(tmp_path / "f.csv")
    with pytest.raises(FormatError, match="vectors are text in one column"):
        ef.read(tmp_path / "f.csv")


def test_a_field_that_is_too_long(tmp_path: Path) -> None:
    data = b'"x\ny",1,2\n"' + b"a" * (1 << 18) + b'\nb",1,2\n'
    assert "quoted as RFC 4180 says" in str(error_of(data, tmp_path))


def test_many_blank_lines_take_no_time(tmp_path: Path) -> None:
    data = b"1.5,2,a\n3,4,b\n" + b"\n" * 20_000 + b"5,6,c\n"
    with pytest.warns(UserWarning, match="20,000 bad rows"):
        assert len(read(data, tmp_path, on_bad_row="skip")) == 3
    assert len(read(b"1.5,2,a\n3,4,b\n" + b"\n" * 500_000, tmp_path)) == 2


def test_mutants_are_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(0)
    seeds = [(GOLDEN / name).read_bytes() for name in NAMES]
    for _ in range(250):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.choice(b',;\t" \r\n.-0e\0\xff|')
        with warnings.catch_warnings(), contextlib.suppress(FormatError):
            warnings.simplefilter("ignore")
            assert read(bytes(data), tmp_path).matrix.nbytes <= 4 * len(data)


# ---- what is written ------------------------------------------------------------------------


def written(tokens: list[str], dim: int, path: Path) -> np.ndarray:
    matrix = table(len(tokens), dim)
    ef.write(ef.Embeddings(Tokens.from_strings(tokens), matrix), path, overwrite=True)
    return matrix


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz"])
@pytest.mark.parametrize("dim", [1, 2, 7])
def test_awkward_tokens_go_round_here_and_in_pandas(suffix: str, dim: int, tmp_path: Path) -> None:
    path = tmp_path / f"f{suffix}"
    matrix = written(AWKWARD, dim, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_is(ef.read(path), AWKWARD, matrix)
    found = pd.read_csv(
        path,
        sep="\t" if suffix == ".tsv" else ",",
        keep_default_na=False,
        na_values=[],
        float_precision="round_trip",
        dtype={"token": str},
    )
    assert list(found.columns) == ["token", *(f"d{i}" for i in range(dim))]
    assert list(found["token"]) == AWKWARD
    assert bits(found.iloc[:, 1:].to_numpy().astype(np.float32)) == bits(matrix)


def test_polars_reads_what_is_written(tmp_path: Path) -> None:
    tokens = [t for t in AWKWARD if t and "\r" not in t]
    matrix = written(tokens, 5, tmp_path / "f.csv")
    found = pl.read_csv(
        tmp_path / "f.csv", schema_overrides={"token": pl.String}, infer_schema=False
    )
    assert found["token"].to_list() == tokens
    values = [[np.float32(float(x)) for x in row[1:]] for row in found.rows()]
    assert bits(np.array(values, np.float32)) == bits(matrix)


def test_a_token_that_begins_as_a_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="must not begin as a row does"):
        written(["a", "b,0.5\nc"], 1, tmp_path / "f.csv")
    assert not (tmp_path / "f.csv").exists()
    written(["a", "b,0.5\nc"], 1, tmp_path / "f.tsv")
    assert spelled(ef.read(tmp_path / "f.tsv")) == [b"a", b"b,0.5\nc"]


FIELDS = st.text(st.sampled_from('ab,;\t"\n\r 1.-'), max_size=6)


@given(tokens=st.lists(FIELDS, min_size=1, max_size=6, unique=True), size=st.sampled_from([32, 64]))
def test_any_cut_gives_what_python_reads(
    tokens: list[str], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Against Python's own reader and writer, whatever the pieces in which a file comes."""
    matrix = table(len(tokens), 3)
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(["token", "d0", "d1", "d2"])
    writer.writerows([t, *map(float, row)] for t, row in zip(tokens, matrix, strict=True))
    folder = tmp_path_factory.mktemp("any")
    path = put(folder / "f.csv.gz", gzip.compress(lines.getvalue().encode()))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(text, "STREAM_BYTES", size)
        patch.setattr(text, "SCAN_BYTES", size)
        patch.setattr(text, "BATCH_BYTES", size)
        patch.setattr(delimitedrows, "BATCH_BYTES", size)
        assert_is(ef.read(path), tokens, matrix)
        assert_is(ef.read(put(folder / "f.csv", lines.getvalue().encode())), tokens, matrix)


def test_the_sample_says_what_it_found() -> None:
    found = delimitedsample.sample_of(b"token;x;y\nking;1;2\nqueen;3;4\n", complete=True)
    assert found is not None
    assert (found.delimiter, found.start, found.lines, found.token) == (b";", 10, 1, 0)
    assert found.names == (b"token", b"x", b"y")
