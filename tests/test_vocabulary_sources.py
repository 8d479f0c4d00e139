"""Vocabularies from maps, counts, gensim and files, and saved ones."""

import csv
import gzip
import io
import json
import re
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gensim.corpora import Dictionary
from gensim.models import KeyedVectors, Word2Vec
from hypothesis import given
from hypothesis import strategies as st
from samples import ODD_TOKENS, put

import embedfreeze as ef
from embedfreeze.errors import FileError, FormatError, FrozenError, VocabularyError
from embedfreeze.vocabularies import lines

# What readers of tables change: missing values, numbers, white space, quotation marks.
TABLE_TOKENS = [
    *ODD_TOKENS,
    *("NA", "null", "NaN", "N/A", "None", "TRUE", " ", " lead", "trail ", "01", "1e5", "'", "''"),
    *('"', '""', 'in"side', "a,b", ",", "=1+1", "a\\b", "-inf"),
]


def test_ids_keep_their_places() -> None:
    v = ef.Vocabulary.from_ids({"b": 1, "a": 0})
    assert (v.tokens, v.padding, v.unknown) == (("a", "b"), None, None)
    index = {"good": 1, "case": 2}  # as the word_index of Keras' old Tokenizer
    v = ef.Vocabulary.from_ids(index, padding="")
    assert (v.tokens, v.padding_id) == (("", "good", "case"), 0)
    v = ef.Vocabulary.from_ids(index, padding="", unknown="[UNK]", special=["[CLS]"])
    assert v.tokens == ("", "good", "case", "[UNK]", "[CLS]")
    v = ef.Vocabulary.from_ids(
        {"a": 4, "[UNK]": 1}, padding="p", unknown="[UNK]", special=["c", "m"]
    )
    assert (v.tokens, v.special_ids) == (("p", "[UNK]", "c", "m", "a"), (0, 1, 2, 3))
    numpy_ids = dict(zip("ab", np.arange(2), strict=True))
    assert ef.Vocabulary.from_ids(numpy_ids).tokens == ("a", "b")
    assert len(ef.Vocabulary.from_ids({})) == 0


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"a": 0, "b": 2}, r"no token for id 1, after 'a' \(id 0\) and before 'b' \(id 2\): name"),
        ({"a": 1}, r"no token for id 0, at the beginning and before 'a' \(id 1\)"),
        ({"a": 0, "b": -1}, "not be negative, received -1 for the token 'b'"),
        ({"a": 0, "b": 0}, "received 0 for the token 'a' and for 'b'"),
        ({"a": 0.0}, r"must be integers, received 0\.0 for the token 'a'"),
        ({"a": True}, "must be integers, received True for the token 'a'"),
        ({"a": "0"}, "must be integers, received '0' for the token 'a'"),
        ({"a": None}, "must be integers, received None for the token 'a'"),
        ({3: 0}, "tokens must be str, received 3 of int"),
        ({b"a": 0}, "tokens must be str, received b'a' of bytes"),
    ],
)
def test_bad_ids(ids: dict[Any, Any], message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        ef.Vocabulary.from_ids(ids)


@given(
    ids=st.permutations(range(12)),
    n=st.integers(0, 12),
    special=st.lists(st.sampled_from(["t0", "t3", "x", "y", "z"]), unique=True),
)
def test_any_ids_for_special_tokens(ids: list[int], n: int, special: list[str]) -> None:
    given_ids = {f"t{i}": i for i in ids[:n]}
    missing = [token for token in special if token not in given_ids]
    size = n + len(missing)
    if max(given_ids.values(), default=-1) >= size:
        with pytest.raises(VocabularyError, match="without gaps"):
            ef.Vocabulary.from_ids(given_ids, special=special)
        return
    v = ef.Vocabulary.from_ids(given_ids, special=special)
    assert all(v.index(token) == i for token, i in given_ids.items())
    free = [i for i in range(size) if i not in given_ids.values()]
    assert [v.index(token) for token in missing] == free
    assert v.special_tokens == tuple(special)


def test_counts() -> None:
    v = ef.Vocabulary.from_counts(Counter("abracadabra"), max_size=2)
    assert v.tokens == ("", "[UNK]", "a", "b")
    assert v.counts == {"a": 5, "b": 2, "r": 2, "c": 1, "d": 1}
    numpy_counts = {"a": np.int64(2), "b": np.uint8(0)}
    assert ef.Vocabulary.from_counts(numpy_counts).counts == {"a": 2, "b": 0}
    for bad in (-1, 1.5, 2.0, float("nan"), True, None, "3"):
        with pytest.raises(VocabularyError, match=re.escape(f"received {bad!r}").replace("'", ".")):
            ef.Vocabulary.from_counts({"a": bad})  # type: ignore[dict-item]


def test_special_tokens_in_texts_are_reported() -> None:
    with pytest.warns(UserWarning, match=r"hold special tokens, '\[UNK\]' \(5 times\): ") as caught:
        v = ef.Vocabulary.from_counts({"a": 1, "[UNK]": 5, "": 0})
    assert v.tokens == ("", "[UNK]", "a")
    splitter = ef.Splitter(delete=None)
    with pytest.warns(UserWarning, match=r"'<s>' \(2 times\)") as again:
        v = ef.Vocabulary.from_texts(["<s> a", "<S> b"], splitter=splitter, special=["<s>"])
    assert v.tokens == ("", "[UNK]", "<s>", "a", "b")
    assert caught[0].filename == again[0].filename == __file__


def test_many_special_tokens() -> None:
    special = ["[CLS]", "[SEP]", "[MASK]"]
    v = ef.Vocabulary(["good"], padding="[PAD]", special=special)
    assert v.tokens == ("[PAD]", "[UNK]", *special, "good")
    assert v.encode(["[CLS] good mask"]).tolist() == [[1, 5, 1]]
    assert v.decode([[2, 5, 1, 3, 0]]) == [["[CLS]", "good", "[UNK]", "[SEP]"]]
    assert v.unreachable() == []
    with pytest.raises(VocabularyError, match=r"special tokens must differ, received \['x', 'x'\]"):
        ef.Vocabulary(["x", "a"], padding="x", unknown="x", special_first=False)
    with pytest.raises(VocabularyError, match="unknown_buckets must be from 1 to .* 1, received 2"):
        ef.Vocabulary(["a"], unknown_buckets=2)


ONE_STR = {
    "tokens": lambda: ef.Vocabulary("abc"),
    "special": lambda: ef.Vocabulary(["a"], special="[CLS]"),
    "special first": lambda: ef.Vocabulary(["x", "y"], special="xy", special_first=False),
    "ids": lambda: ef.Vocabulary.from_ids({"a": 0}, special="[CLS]"),
    "counts": lambda: ef.Vocabulary.from_counts({"a": 1}, special="[CLS]"),
    "texts": lambda: ef.Vocabulary.from_texts(["a"], special="[CLS]"),
    "one text": lambda: ef.Vocabulary.from_texts("a"),
    "tokenizer": lambda: ef.Vocabulary.from_tokenizer(
        io.BytesIO(b'{"model": {"type": "WordLevel", "vocab": {"a": 0}}}'), special="[CLS]"
    ),
    "more": lambda: ef.Vocabulary(["a"]).extended("bc"),
}


@pytest.mark.parametrize("name", ONE_STR)
def test_one_str_is_not_several(name: str) -> None:
    with pytest.raises(TypeError, match="must be an iterable of str, received one str: put it in"):
        ONE_STR[name]()


@pytest.mark.parametrize("odd", [float("nan"), None, 1, b"a", ["a"], np.str_])
def test_tokens_are_str(odd: Any) -> None:
    kind = re.escape(type(odd).__name__)
    refused = rf"must be str, received .* of {kind} as item 2: leave it out"
    for make in (
        lambda: ef.Vocabulary(["a", odd]),
        lambda: ef.Vocabulary(["a"], special=["b", odd]),
        lambda: ef.Vocabulary(["a"]).extended(["b", odd]),
        lambda: ef.Vocabulary.from_counts({"a": 1}, special=["b", odd]),
    ):
        with pytest.raises(VocabularyError, match=refused):
            make()


def test_strings_of_numpy_are_tokens() -> None:
    assert ef.Vocabulary(np.array(["b", "a"])).tokens == ("", "[UNK]", "b", "a")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"a": -5}, "counts must not be negative, received -5 for the token 'a'"),
        ({"a": 1, "b": "x"}, "counts must be integers, received 'x' for the token 'b'"),
        ({"a": 1.0}, r"counts must be integers, received 1\.0 for the token 'a'"),
        ({"a": True}, "counts must be integers, received True for the token 'a'"),
        ({1: 5}, "tokens must be str, received 1 of int"),
    ],
)
def test_counts_of_a_vocabulary(counts: dict[Any, Any], message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        ef.Vocabulary(["a", "b"], counts=counts)
    with pytest.raises(VocabularyError, match=message):
        ef.Vocabulary(["a"]).extended(["b"], counts)


def test_counts_of_numpy_become_int() -> None:
    counts = ef.Vocabulary(["a"], counts={"a": np.int64(3)}).counts
    assert counts == {"a": 3}
    assert type(counts["a"]) is int


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_lines_at_the_end_of_tables(tmp_path: Path, end: str) -> None:
    for name, separator in (("v.csv", ","), ("v.tsv", "\t")):
        rows = [separator.join(row) for row in (("word", "count"), ("a", "5"), ("", "2"))]
        data = end.join([*rows, "", "", ""]).encode()
        v = ef.Vocabulary.from_file(put(tmp_path / name, data), padding=None, unknown=None)
        assert (v.tokens, v.counts) == (("a", ""), {"a": 5, "": 2})
    one = put(tmp_path / "one.csv", f"x{end}a{end}{end}".encode())  # the empty token, as written
    bare = ef.Vocabulary.from_file(one, padding=None, unknown=None)
    assert bare.tokens == ("x", "a", "")
    with pytest.raises(VocabularyError, match="'' .id 0. is also .* a blank line is the token ''"):
        ef.Vocabulary.from_file(one)


def test_splitter_settings() -> None:
    assert ef.Splitter("ascii", None)("ÉA I\u0130") == ["Éa", "i\u0130"]
    assert ef.Splitter(False, None, "")("aé\0 ") == ["a", "é", "\0", " "]
    assert ef.Splitter(False, None, None)("a b") == ["a b"]
    assert ef.Splitter(False, None, None)("") == [""]
    assert ef.Splitter(ngrams=(2, 1))("a b c") == ["a b", "b c", "a", "b", "c"]
    assert ef.Splitter()("a\0b") == ["a\0b"]
    with pytest.raises(VocabularyError, match="lowercase must be True, False or 'ascii'"):
        ef.Splitter("ASCII")  # type: ignore[arg-type]
    with pytest.raises(VocabularyError, match=r"ngrams must be positive integers, received \(0,\)"):
        ef.Splitter(ngrams=(0,))


def test_gensim_dictionary() -> None:
    dictionary = Dictionary([["b", "a", "b"], ["c", "a"]])
    v = ef.Vocabulary.from_gensim(dictionary, padding="")
    assert {t: v.index(t) for t in dictionary.token2id} == dict(dictionary.token2id)
    assert (v.counts, v.padding_id) == ({"b": 2, "a": 2, "c": 1}, 3)
    dictionary.patch_with_special_tokens({"<pad>": 0, "<unk>": 1})
    v = ef.Vocabulary.from_gensim(dictionary, padding="<pad>", unknown="<unk>")
    assert (v.padding_id, v.unknown_id) == (0, 1)
    assert [v.index(token) for token in "abc"] == dictionary.doc2idx(list("abc"))
    del dictionary.token2id["a"]
    with pytest.raises(VocabularyError, match="no token for id"):
        ef.Vocabulary.from_gensim(dictionary)


def test_gensim_vectors(tmp_path: Path) -> None:
    vectors = KeyedVectors(3)
    vectors.add_vectors(["b", "\u3000", "a"], np.ones((3, 3), np.float32))
    v = ef.Vocabulary.from_gensim(vectors)
    assert (v.tokens, v.counts) == (("b", "\u3000", "a"), None)
    model = Word2Vec([["b", "a", "b"], ["c", "a", "b"]], vector_size=4, min_count=1, workers=1)
    v = ef.Vocabulary.from_gensim(model)
    assert v.tokens == tuple(model.wv.index_to_key)
    assert v.counts == {"b": 3, "a": 2, "c": 1}
    assert ef.Vocabulary.from_gensim(model.wv).counts == v.counts
    model.wv.save(str(tmp_path / "v.kv"))
    assert ef.Vocabulary.from_gensim(KeyedVectors.load(str(tmp_path / "v.kv"))).counts == v.counts
    with pytest.raises(VocabularyError, match="received dict"):
        ef.Vocabulary.from_gensim({})


def quoted(token: str) -> str:
    return '"' + token.replace('"', '""') + '"'


PLAIN = {"padding": None, "unknown": None}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_keeps_every_token(end: str, tmp_path: Path) -> None:
    tokens = [*TABLE_TOKENS, "two\nlines", "\r\n", ""]
    rows = "".join(f"{quoted(token)},{i}{end}" for i, token in enumerate(tokens))
    path = put(tmp_path / "v.csv", f"word,freq{end}{rows}".encode())
    v = ef.Vocabulary.from_file(path, **PLAIN)
    assert v.tokens == tuple(tokens)
    assert v.counts == {token: i for i, token in enumerate(tokens)}
    bare = [t for t in TABLE_TOKENS if t.strip('",') == t and "," not in t and not t.endswith("\r")]
    path = put(tmp_path / "bare.csv", end.join(bare).encode())
    assert ef.Vocabulary.from_file(path, **PLAIN).tokens == tuple(bare)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tsv_keeps_every_token(end: str, tmp_path: Path) -> None:
    tokens = [token for token in TABLE_TOKENS if "\t" not in token]
    rows = "".join(f"{i}\t{token}\t{-i % 7}{end}" for i, token in enumerate(tokens))
    path = put(tmp_path / "v.tsv", f"index\tToken\tcount{end}{rows}".encode())
    v = ef.Vocabulary.from_file(path)
    assert v.tokens == tuple(tokens)
    assert v.counts == {token: -i % 7 for i, token in enumerate(tokens)}


WORDS = st.lists(st.text(max_size=6), unique=True, max_size=8)
QUOTING = st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])


@given(tokens=WORDS, quoting=QUOTING, end=st.sampled_from(["\n", "\r\n"]))
def test_csv_of_the_standard_library(tokens: list[str], quoting: int, end: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator=end)
    writer.writerows([["n", "token"], *([i, token] for i, token in enumerate(tokens))])
    with tempfile.TemporaryDirectory() as folder:
        path = put(Path(folder) / "v.csv", text.getvalue().encode())
        assert ef.Vocabulary.from_file(path, id_column="n").tokens == tuple(tokens)


@given(tokens=WORDS)
def test_saved_and_read_back(tokens: list[str]) -> None:
    v = ef.Vocabulary(tokens, **PLAIN)
    with tempfile.TemporaryDirectory() as folder:
        v.save(Path(folder) / "v.json")
        assert ef.Vocabulary.from_file(Path(folder) / "v.json") == v
        try:
            v.save(Path(folder) / "v.txt")
        except VocabularyError:
            assert any("\n" in t or t.endswith("\r") for t in tokens) or tokens[0][0] == "\ufeff"
        else:
            assert ef.Vocabulary.from_file(Path(folder) / "v.txt", **PLAIN) == v


def test_columns(tmp_path: Path) -> None:
    path = put(tmp_path / "v.csv", b"piece,nr,n\nb,1,9\na,0,2\n")
    v = ef.Vocabulary.from_file(path, column="piece", id_column="nr", count_column="n")
    assert (v.tokens, v.counts, v.padding) == (("a", "b"), {"b": 9, "a": 2}, None)
    assert ef.Vocabulary.from_file(path, column="piece").tokens[2:] == ("b", "a")
    path = put(tmp_path / "n.csv", b"the,9\nof,2\n")
    v = ef.Vocabulary.from_file(path, column=0, count_column=1)
    assert (v.tokens[2:], v.counts) == (("the", "of"), {"the": 9, "of": 2})
    assert ef.Vocabulary.from_file(path, column=0, header=True).tokens[2:] == ("of",)
    path = put(tmp_path / "o.csv", b"word\nother\n")
    assert ef.Vocabulary.from_file(path, header=False).tokens[2:] == ("word", "other")
    assert ef.Vocabulary.from_file(path, header=True).tokens[2:] == ("other",)
    assert ef.Vocabulary.from_file(path, column="word").tokens[2:] == ("other",)
    path = put(tmp_path / "w.csv", b"word,9\nother,2\n")  # a number: no header
    assert ef.Vocabulary.from_file(path, column=0).tokens[2:] == ("word", "other")
    assert len(ef.Vocabulary.from_file(put(tmp_path / "e.csv", b""))) == 2
    text = put(tmp_path / "v.dat", b"word\tn\nx\t1\n")
    assert ef.Vocabulary.from_file(text, format="tsv").tokens[2:] == ("x",)


@pytest.mark.parametrize(
    ("name", "data", "options", "error", "message"),
    [
        ("v.csv", b"a\nb\nc\nb\n", {}, VocabularyError, "'b' on line 2 and on line 4: remove one"),
        ("v.csv", b'x\n"a\nb"\n"a\nb"\n', {}, VocabularyError, "on line 2 and on line 4"),
        ("v.csv", b'a\n"b\nc\n', {}, FormatError, r"line 2: a field that begins with a quot"),
        ("v.csv", b'a\n"b"c\n', {}, FormatError, "line 2: a field that begins"),
        ("v.csv", b"a,b\nc\n", {"column": 0}, FormatError, "line 2: rows .* first, 2, received 1"),
        (
            "v.csv",
            b"the,9\n",
            {},
            FormatError,
            "line 1: the column of the tokens .* 2 columns, of which none",
        ),
        (
            "v.csv",
            b"x,y\n1,2\n",
            {"column": "z"},
            FormatError,
            r"named 'z', received 0 among \['x'",
        ),
        ("v.csv", b"x,x\n1,2\n", {"column": "x"}, FormatError, "named 'x', received 2"),
        ("v.csv", b"x,y\n1,2\n", {"column": 2}, FormatError, "named 2, received 0 among 2"),
        ("v.csv", b"word,term\na,b\n", {}, FormatError, "one of the names .* received 2"),
        (
            "v.csv",
            b"word\na\n",
            {},
            FormatError,
            "header or a token, received 'word': pass header=",
        ),
        ("v.csv", b"word,id\na,0\nb,1.0\n", {}, FormatError, "line 3, column 2: .* '1.0'"),
        ("v.csv", b"word,id\na,0\nb,0\n", {}, VocabularyError, "v.csv: .*'a' and for 'b'"),
        ("v.csv", b"word,count\na,-5\n", {}, FormatError, "line 2, column 2: .* received '-5'"),
        ("v.csv", b"a,1\n\nb,2\n", {"column": 0}, FormatError, "line 2: .* remove the line"),
        ("v.csv", b"a\nb\xff\n", {}, FormatError, "line 2: tokens must be UTF-8"),
        ("v.tsv", b"a\nb\xff\n", {}, FormatError, "line 2: tokens must be UTF-8"),
        ("v.json", b'["a", "b", "a"]', {}, VocabularyError, "'a' on item 1 and on item 3"),
        ("v.json", b'{"a": 0, "b": 1, "a": 2}', {}, VocabularyError, "'a' on item 1 and on item 3"),
        ("v.json", b'{"a": 0, "b": 0}', {}, VocabularyError, "v.json: .*'a' and for 'b'"),
        ("v.json", b'{"a": 0.5}', {}, VocabularyError, r"0\.5 for the token 'a'"),
        (
            "v.json",
            b'["a", null]',
            {},
            FormatError,
            "tokens must be strings, received None as item 2",
        ),
        ("v.json", b'["\\ud800"]', {}, FormatError, "half a surrogate pair"),
        ("v.json", b'"a"', {}, FormatError, "the JSON of a vocabulary is a list .* received 'a'"),
        ("v.json", b'["a",\n1 2]', {}, FormatError, "line 2: the file must be JSON"),
        ("v.json", b"\xff", {}, FormatError, "byte offset 0: JSON must be UTF-8"),
        ("v.json", b"[" * 200_000, {}, FormatError, "nested"),
        ("v.json", b"", {}, FormatError, "line 1: the file must be JSON"),
        ("v.txt", b"a\n", {"column": 0}, ValueError, "only CSV and TSV files have columns"),
        ("v.txt", b"a\n", {"format": "xml"}, ValueError, "must be one of .*'csv'.* received 'xml'"),
    ],
)
def test_bad_lists(
    name: str,
    data: bytes,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        ef.Vocabulary.from_file(put(tmp_path / name, data), **options)


def test_json_lists_and_maps(tmp_path: Path) -> None:
    tokens = [*TABLE_TOKENS, "two\nlines", "\0"]
    for ascii_only in (True, False):
        data = json.dumps(tokens, ensure_ascii=ascii_only).encode()
        v = ef.Vocabulary.from_file(put(tmp_path / "v.json", data))
        assert v.tokens == ("", "[UNK]", *tokens)
    ids = {token: i for i, token in enumerate(reversed(tokens))}
    path = put(tmp_path / "v.json", json.dumps(ids).encode())
    v = ef.Vocabulary.from_file(path)
    assert (v.tokens, v.padding) == (tuple(reversed(tokens)), None)
    assert ef.Vocabulary.from_file(path, padding="").padding_id == len(tokens)
    other = put(tmp_path / "words", json.dumps(["a"]).encode())
    assert ef.Vocabulary.from_file(other, format="json").tokens == ("", "[UNK]", "a")
    assert ef.Vocabulary.from_file(other, **PLAIN).tokens == ('["a"]',)


SAVED = [
    ef.Vocabulary([*ODD_TOKENS, "two\nlines", "\0", "end\r"], counts={"king": 2, "nowhere": 1}),
    ef.Vocabulary.from_ids({"a": 1, "[UNK]": 0, "p": 2}, padding="p", unknown="[UNK]"),
    ef.Vocabulary(["a"], special=["x", "y"], unknown_buckets=2, unknown_salt=(1, 2**60)),
    ef.Vocabulary(["a", "bad\udcff"], splitter=ef.Splitter("ascii", None, "", (1, 3))),
    ef.Vocabulary([], padding=None, unknown=None),
]


@pytest.mark.parametrize("vocabulary", SAVED)
@pytest.mark.parametrize("name", ["v.json", "v.json.gz", "v.JSON"])
def test_json_keeps_everything(vocabulary: ef.Vocabulary, name: str, tmp_path: Path) -> None:
    vocabulary.save(tmp_path / name)
    again = ef.Vocabulary.from_file(tmp_path / name)
    assert again == vocabulary
    assert again.counts == vocabulary.counts
    assert again.settings() == vocabulary.settings()
    assert again.special_ids == vocabulary.special_ids


def test_text_keeps_tokens(tmp_path: Path) -> None:
    tokens = [t for t in TABLE_TOKENS if not t.startswith("\ufeff")]
    v = ef.Vocabulary(tokens, counts={"king": 1})
    v.save(tmp_path / "v.txt")
    assert (tmp_path / "v.txt").read_bytes() == ("\n".join(v.tokens) + "\n").encode()
    again = ef.Vocabulary.from_file(tmp_path / "v.txt")
    assert again == v
    assert again.counts == {"king": 1}
    v = ef.Vocabulary.from_ids({"a": 0, "": 1}, padding="")
    v.save(str(tmp_path / "p.txt.gz"))
    assert gzip.decompress((tmp_path / "p.txt.gz").read_bytes()) == b"a\n\n"
    read = ef.Vocabulary.from_file(tmp_path / "p.txt.gz", unknown=None, special_first=False)
    assert (read, read.padding_id) == (v, 1)


def test_what_stands_beside_a_text_of_tokens(tmp_path: Path) -> None:
    splitter = ef.Splitter(lowercase=False, delete=None)
    v = ef.Vocabulary(
        ["Good", "case"],
        padding=None,
        unknown="<u>",
        special=["<s>"],
        splitter=splitter,
        counts={"Good": 5, "case": 2},
    )
    v.save(tmp_path / "v.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.settings.json", "v.txt"]
    again = ef.Vocabulary.from_file(tmp_path / "v.txt")
    assert (again, again.counts, again.splitter) == (v, v.counts, splitter)
    assert ef.Vocabulary.from_file(tmp_path / "v.txt", counts=None).counts is None
    plain = ef.Vocabulary.from_file(tmp_path / "v.txt", unknown=None, special=())
    assert (plain.unknown, plain.index("<u>"), plain.splitter) == (None, 0, splitter)
    with pytest.raises(FileError, match="exists"):
        v.save(tmp_path / "v.txt")
    put(tmp_path / "v.txt", b"<u>\n<s>\nother\n")
    with pytest.raises(FormatError, match=r"v\.settings\.json.*other tokens than v\.txt has now"):
        ef.Vocabulary.from_file(tmp_path / "v.txt")
    ef.Vocabulary(["new"]).save(tmp_path / "v.txt", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["v.txt"]
    assert ef.Vocabulary.from_file(tmp_path / "v.txt").tokens[2:] == ("new",)


def test_a_splitter_that_no_file_holds(tmp_path: Path) -> None:
    v = ef.Vocabulary(["a"], splitter=str.split, counts={"a": 1})
    v.save(tmp_path / "v.txt")
    again = ef.Vocabulary.from_file(tmp_path / "v.txt")
    assert again.counts == {"a": 1}
    with pytest.raises(FrozenError, match="saved without its splitter"):
        again.encode(["a"])


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"format": "other", "version": 1}',
        b"\xff",
        b'{"format": "embedfreeze.vocabulary-settings", "version": 9, "tokens": ""}',
    ],
)
def test_something_else_beside_a_text_of_tokens(content: bytes, tmp_path: Path) -> None:
    put(tmp_path / "v.txt", b"a\n")
    put(tmp_path / "v.settings.json", content)
    with pytest.raises(FormatError, match=r"beside v\.txt must be the settings.*move it away"):
        ef.Vocabulary.from_file(tmp_path / "v.txt")
    ef.Vocabulary(["a"]).save(tmp_path / "v.txt", overwrite=True)
    assert (tmp_path / "v.settings.json").exists() == (b"vocabulary-settings" not in content)


@pytest.mark.parametrize(
    ("tokens", "place"),
    [
        (["a", "b\nc"], r"'b\\nc' \(id 1\)"),
        (["a", "b", "c\r"], r"'c\\r' \(id 2\)"),
        (["\ufeffa"], r"'\\ufeffa' \(id 0\)"),
        (["a", "bad\udcff"], r"'bad\\udcff' \(id 1\)"),
    ],
)
def test_what_text_cannot_hold(tokens: list[str], place: str, tmp_path: Path) -> None:
    v = ef.Vocabulary(tokens, **PLAIN)
    with pytest.raises(
        VocabularyError, match=f"(?s)a line of UTF-8 text.*received {place}: save as"
    ):
        v.save(tmp_path / "v.txt")
    assert not list(tmp_path.iterdir())


def test_saving_replaces_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    ef.Vocabulary(["a"]).save(path)
    with pytest.raises(FileError, match="overwrite=True"):
        ef.Vocabulary(["b"]).save(path)
    assert ef.Vocabulary.from_file(path).tokens[2:] == ("a",)
    ef.Vocabulary(["b"]).save(path, overwrite=True)
    assert ef.Vocabulary.from_file(path).tokens[2:] == ("b",)
    with pytest.raises(VocabularyError, match=r"saved as \.json .* or \.txt .*, received"):
        ef.Vocabulary(["b"]).save(tmp_path / "v.csv")
    with pytest.raises(VocabularyError, match=r"must be an embedfreeze\.Splitter"):
        ef.Vocabulary(["b"], splitter=str.split).save(tmp_path / "s.json")
    assert [path.name for path in tmp_path.iterdir()] == ["v.json"]
    with pytest.raises(VocabularyError, match="has its own settings, received padding: drop"):
        ef.Vocabulary.from_file(path, padding=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "reads version 1 .* received 2"),
        ({"tokens": None}, "a saved vocabulary has tokens, counts and settings"),
        ({"splitter": {"x": 1}}, "a saved vocabulary has tokens"),
        ({"padding": "none such"}, "none that is 'none such'"),
        ({"tokens": ["", "[UNK]", "a", "a"]}, "'a' as id 2 and as id 3"),
        ({"tokens": {"": 0, "[UNK]": 1}}, "tokens are a list, received {'': 0"),
        ({"tokens": ["", "[UNK]", 1, "a"]}, "tokens must be strings, received 1 as item 3"),
        ({"tokens": ["", "[UNK]", "\ud800"]}, "half a surrogate pair: '.ud800', item 3"),
        ({"counts": {"a": "x"}}, "counts must be integers, received 'x' for the token 'a'"),
        ({"counts": {"a": -1}}, "counts must not be negative, received -1 for the token 'a'"),
        ({"counts": "x"}, "a saved vocabulary has tokens, counts and settings"),
        ({"special": "[UNK]"}, "received one str"),
        ({"padding": 5}, "must be str, received 5 of int"),
    ],
)
def test_damaged_saved_vocabularies(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    ef.Vocabulary(["a"]).save(path)
    found = {**json.loads(path.read_bytes()), **change}
    with pytest.raises((VocabularyError, FormatError), match=rf"v\.json: .*{message}"):
        ef.Vocabulary.from_file(put(path, json.dumps(found).encode()))


def test_equality_with_callables() -> None:
    assert ef.Vocabulary(["a"], splitter=str.split) == ef.Vocabulary(["a"], splitter=str.split)
    assert ef.Vocabulary(["a"], splitter=str.split) != ef.Vocabulary(["a"])


def test_packed_lists_that_grow_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_SMALL_BYTES", 1 << 20)
    small = put(tmp_path / "small.txt.gz", gzip.compress(b"a" * (1 << 20)))
    plain = put(tmp_path / "words.txt", b"a" * (4 << 20))
    for path in (small, plain):
        assert len(ef.Vocabulary.from_file(path)) == 3
    path = put(tmp_path / "words.txt.gz", gzip.compress(plain.read_bytes()))
    with pytest.raises(FormatError, match="at most 1048576 bytes"):
        ef.Vocabulary.from_file(path)


def test_a_text_that_lost_its_settings(tmp_path: Path) -> None:
    v = ef.Vocabulary(["Good", "case"], counts={"Good": 5}, splitter=ef.Splitter(lowercase=False))
    path, beside = tmp_path / "v.txt", tmp_path / "v.settings.json"
    assert v.save(path) == (str(path), str(beside))
    assert v.save(tmp_path / "v.json") == (str(tmp_path / "v.json"),)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ef.Vocabulary.from_file(path).splitter == v.splitter
    beside.rename(tmp_path / "elsewhere.json")
    with pytest.warns(
        UserWarning, match=r"v\.txt: .* v\.settings\.json is not beside it"
    ) as caught:
        assert ef.Vocabulary.from_file(path).splitter != v.splitter
    assert [warning.filename for warning in caught] == [__file__]
    put(tmp_path / "plain.txt", b"Good\ncase\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ef.Vocabulary.from_file(path, splitter=v.splitter)
        ef.Vocabulary.from_file(tmp_path / "plain.txt")
    (tmp_path / "elsewhere.json").rename(beside)
    put(path, b"\n[UNK]\nGood\n")
    with pytest.raises(FormatError, match="whoever removes the settings loses counts, splitter"):
        ef.Vocabulary.from_file(path)
