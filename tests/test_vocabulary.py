"""Vocabulary: ids and special tokens, files and texts, encoding and decoding."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import ODD_TOKENS, put

import embedfreeze as ef
from embedfreeze.errors import FileError, FormatError, UnknownTokenError, VocabularyError


def test_ids() -> None:
    v = ef.Vocabulary(["good", "case"])
    assert v.tokens == ("", "[UNK]", "good", "case")
    assert (v.padding_id, v.unknown_id, v.special_ids, len(v)) == (0, 1, (0, 1), 4)
    assert list(v) == list(v.tokens)
    assert "case" in v
    assert "Case" not in v
    assert v.index("case") == 3
    with pytest.raises(UnknownTokenError, match="no token 'bad'"):
        v.index("bad")
    assert ef.Vocabulary(v.tokens) == v  # a list that has its special tokens is taken as it is


@pytest.mark.parametrize(
    ("options", "tokens", "ids"),
    [
        ({"padding": None, "unknown": None}, ("a",), (None, None)),
        ({"padding": None}, ("[UNK]", "a"), (None, 0)),
        ({"unknown": None}, ("", "a"), (0, None)),
        ({"padding": "<pad>", "unknown": "<unk>"}, ("<pad>", "<unk>", "a"), (0, 1)),
        ({"padding": "[UNK]", "unknown": ""}, ("[UNK]", "", "a"), (0, 1)),
    ],
)
def test_special_tokens(
    options: dict[str, str | None], tokens: tuple[str, ...], ids: tuple[int | None, int | None]
) -> None:
    v = ef.Vocabulary(["a"], **options)
    assert v.tokens == tokens
    assert (v.padding_id, v.unknown_id) == ids


def test_tokens_must_differ() -> None:
    with pytest.raises(VocabularyError, match=r"received 'a' as id 2 and as id 4"):
        ef.Vocabulary(["a", "b", "a"])
    with pytest.raises(VocabularyError, match=r"special token '\[UNK\]' \(id 1\).*token \(id 3\)"):
        ef.Vocabulary(["a", "[UNK]"])
    with pytest.raises(VocabularyError, match=r"special token '' \(id 0\).*\(id 2\).*padding="):
        ef.Vocabulary([""])
    with pytest.raises(VocabularyError, match="special token 'x'"):
        ef.Vocabulary(["a"], padding="x", unknown="x")


def test_from_file(tmp_path: Path) -> None:
    plain = [t for t in ODD_TOKENS if not t.startswith("\ufeff")]
    data = "\n".join(plain).encode()
    for tail in (b"", b"\n"):
        v = ef.Vocabulary.from_file(put(tmp_path / "v.txt", data + tail))
        assert v.tokens[2:] == tuple(plain)
    windows = put(tmp_path / "w.txt", b"\xef\xbb\xbfone\r\n two \r\nthree\r\n")
    assert ef.Vocabulary.from_file(windows, padding=None).tokens == (
        *("[UNK]", "one", " two ", "three"),
    )
    whole = put(tmp_path / "k.txt", b"\n[UNK]\nthe\n")  # as Keras' get_vocabulary gives it
    assert ef.Vocabulary.from_file(whole).tokens == ("", "[UNK]", "the")
    assert len(ef.Vocabulary.from_file(put(tmp_path / "e.txt", b""))) == 2


def test_bad_files(tmp_path: Path) -> None:
    path = put(tmp_path / "v.txt", b"a\nb\nc\nb\n")
    with pytest.raises(
        VocabularyError, match=f"{re.escape(str(path))}.*'b' on line 2 and on line 4"
    ):
        ef.Vocabulary.from_file(path)
    with pytest.raises(FormatError, match="line 2: tokens must be UTF-8") as caught:
        ef.Vocabulary.from_file(put(path, b"a\ncaf\xe9\n"))
    assert (caught.value.path, caught.value.line) == (str(path), 2)
    with pytest.raises(VocabularyError, match=r"special token '\[UNK\]'"):
        ef.Vocabulary.from_file(put(path, b"a\n[UNK]\n"))
    with pytest.raises(FileError, match="cannot be read"):
        ef.Vocabulary.from_file(tmp_path)


def test_from_texts_and_counts() -> None:
    v = ef.Vocabulary.from_texts(["b a, b!", "C c c", ""])
    assert v.tokens[2:] == ("c", "b", "a")
    assert v.counts == {"c": 3, "b": 2, "a": 1}
    assert ef.Vocabulary.from_texts(["b a b"], min_count=2).tokens[2:] == ("b",)
    counts = {"x": 1, "b": 2, "a": 2, "": 9, "[UNK]": 5}
    with pytest.warns(UserWarning, match=r"special tokens, '' \(9 times\), '\[UNK\]' \(5 times\)"):
        assert ef.Vocabulary.from_counts(counts).tokens[2:] == ("a", "b", "x")
    with pytest.warns(UserWarning, match="special tokens"):
        assert ef.Vocabulary.from_counts(counts, max_size=1).tokens[2:] == ("a",)
    with pytest.warns(UserWarning, match="special tokens"):
        assert ef.Vocabulary.from_counts(counts, max_size=0).tokens == ("", "[UNK]")
    bare = ef.Vocabulary.from_counts(counts, padding=None, unknown=None)
    assert bare.tokens == ("", "[UNK]", "a", "b", "x")
    with pytest.raises(TypeError, match="received one str"):
        ef.Vocabulary.from_texts("one text")


def test_encode() -> None:
    v = ef.Vocabulary(["good", "case"])
    ids = v.encode(["Good case", "bad, BAD good!", "", " \u3000\u2028 "])
    assert ids.dtype == np.int32
    assert ids.tolist() == [[2, 3, 0], [1, 1, 2], [0, 0, 0], [0, 0, 0]]
    assert v.encode(["good good good", "case"], max_length=2).tolist() == [[2, 2], [3, 0]]
    assert v.encode(["good"], max_length=3).tolist() == [[2, 0, 0]]
    assert v.encode([]).shape == (0, 0)
    assert v.encode([], max_length=4).shape == (0, 4)
    with pytest.raises(TypeError, match="received one str"):
        v.encode("good")
    bare = ef.Vocabulary(["good", "case"], padding=None, unknown=None)
    assert bare.encode(["good case", "case good"]).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(VocabularyError, match="need a padding token"):
        bare.encode(["good", "good case"])
    with pytest.raises(UnknownTokenError, match="no token 'bad'"):
        bare.encode(["bad"])
    with pytest.raises(VocabularyError, match="padding"):
        bare.encode(["good"], max_length=2)


def test_decode() -> None:
    v = ef.Vocabulary(["good", "case"])
    assert v.decode([[2, 3, 0], [1, 0, 0]]) == [["good", "case"], ["[UNK]"]]
    assert v.decode([2, 3]) == [["good", "case"]]
    assert v.decode(np.zeros((0, 3), int)) == []
    for ids in ([[-1]], [[4]], [[2, 3], [0, 99]]):
        with pytest.raises(VocabularyError, match="ids must be from 0 to 3"):
            v.decode(ids)


WORDS = st.lists(st.sampled_from(["good", "case", "other", "caf\u00e9"]), max_size=5)


@given(texts=st.lists(WORDS, max_size=4))
def test_decode_undoes_encode(texts: list[list[str]]) -> None:
    v = ef.Vocabulary(["good", "case", "caf\u00e9"])
    known = [[t if t in v else "[UNK]" for t in text] for text in texts]
    assert v.decode(v.encode(map(" ".join, texts))) == known


@pytest.mark.parametrize("padding_first", [True, False])
def test_there_and_back(padding_first: bool) -> None:
    v = ef.Vocabulary(
        ODD_TOKENS,
        padding="[PAD]" if padding_first else None,
        unknown="[UNK]",
        splitter=ef.Splitter(lowercase=False, delete=None, separators="[^a-z]+"),
        counts={"king": 3},
    )
    again = ef.Vocabulary.from_dict(v.to_dict())
    assert again == v
    assert again.digest == v.digest
    assert again.splitter == v.splitter
    assert again.special_ids == v.special_ids
    assert v != ef.Vocabulary(ODD_TOKENS, padding="[PAD]")
    with pytest.raises(VocabularyError, match=r"must be an embedfreeze\.Splitter"):
        ef.Vocabulary(["a"], splitter=str.split).to_dict()


def test_digest_tells_where_tokens_end() -> None:
    def digest(*tokens: str) -> str:
        return ef.Vocabulary(tokens, padding=None, unknown=None).digest

    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("c", "ab")}) == 4


def test_splitter() -> None:
    split = ef.Splitter()
    assert split("A\u00a0B\u3000c\u2028D\u0085e\tf\x1cg  h") == list("abcdefgh")
    assert split("\u0130I\u00c9") == ["i\u0307i\u00e9"]
    assert split("rock'n'roll, e-mail; 3.5!") == ["rocknroll", "email", "35"]
    assert split("") == split("...") == []
    assert ef.Splitter(lowercase=False)("Ab") == ["Ab"]
    for name in ("delete", "separators"):
        with pytest.raises(VocabularyError, match=f"{name} must be a regular expression.*'\\['"):
            ef.Splitter(**{name: "["})


def test_unreachable_tokens() -> None:
    v = ef.Vocabulary(["good", "Good", "don't", "New York", "caf\u00e9"])
    assert v.unreachable() == ["Good", "don't", "New York"]
