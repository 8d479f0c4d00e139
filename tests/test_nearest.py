"""The spellings within one edit, against brute force."""

import gzip
import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import child, put

import embedfreeze as ef
from embedfreeze import nearest
from embedfreeze.errors import FileError
from embedfreeze.nearest import NearestSpellings, within_one_edit
from embedfreeze.tokens import Tokens


def edits(token: str, letters: str) -> set[str]:
    """Everything that one edit makes of a token, and the token."""
    cuts = [(token[:i], token[i:]) for i in range(len(token) + 1)]
    return {
        token,
        *(head + tail[1:] for head, tail in cuts if tail),
        *(head + tail[1] + tail[0] + tail[2:] for head, tail in cuts if len(tail) > 1),
        *(head + c + tail[1:] for head, tail in cuts if tail for c in letters),
        *(head + c + tail for head, tail in cuts for c in letters),
    }


LETTERS = "ab\u00e9\U0001f600\udcff"
WORDS = st.text(st.sampled_from(LETTERS), max_size=6)


@given(a=WORDS, b=WORDS)
def test_one_edit_is_what_edits_make(a: str, b: str) -> None:
    assert within_one_edit(a, b) == (b in edits(a, LETTERS))
    assert within_one_edit(b, a) == within_one_edit(a, b)


@given(
    wanted=st.lists(WORDS, max_size=8, unique=True),
    tokens=st.lists(WORDS, max_size=20),
    cuts=st.lists(st.integers(0, 20), max_size=3),
    most=st.integers(1, 3),
    part=st.sampled_from([1, 3, 1000]),
)
def test_search_is_brute_force(
    wanted: list[str], tokens: list[str], cuts: list[int], most: int, part: int
) -> None:
    search = NearestSpellings(wanted, most=most)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "PART", part)
        for low, high in pairwise(sorted({0, *cuts, len(tokens)})):
            search.add(Tokens.from_strings(tokens[low:high]))
    for word in wanted:
        near = [t for t in dict.fromkeys(tokens) if t != word and t in edits(word, LETTERS)]
        assert search.found[word] == near[:most]


def test_very_long_tokens_have_no_near_spelling() -> None:
    long = "x" * nearest.LONGEST
    search = NearestSpellings([long, long + "y", "ab"])
    search.add(Tokens.from_strings([long[1:], long, long + "yz", "ac"]))
    assert search.found == {long: [long[1:]], long + "y": [], "ab": ["ac"]}


TEXT = (
    b"the 1 1\nrecieve 2 2\nreceive 3 3\nrecive 4 4\nKing 5 5\nab 6 6\nba 7 7\nab\xc3\xa9 8 8\n"
    b"ab 9 9\n"
)


@pytest.mark.parametrize(
    ("wanted", "row"),
    [("receivee", 3), ("eceive", 3), ("recieves", 2), ("receve", 2), ("hte", 1), ("king", 5)],
)
def test_the_earliest_row_within_one_edit(wanted: str, row: int, tmp_path: Path) -> None:
    path, v = put(tmp_path / "f.txt", TEXT), ef.Vocabulary(["the", wanted])
    a = ef.load(path, v, oov="nearest")
    assert a.matrix[:, 0].tolist() == [0, 0, 1, row]
    assert a.coverage.stage_of_id.tolist() == [-2, -2, 0, 2]
    assert a.coverage.match == ("exact", "lower", "nearest")
    spelling = ["the", "recieve", "receive", "recive", "King"][row - 1]
    assert a.coverage.found_as[3] == spelling
    assert (a.coverage.found("nearest"), a.coverage.missing()) == (1, [])


@pytest.mark.filterwarnings("ignore:.* rows? repeats? an earlier token")
def test_every_way_to_the_nearest(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", TEXT)
    packed = put(tmp_path / "f.txt.gz", gzip.compress(TEXT))
    store = tmp_path / "f.safetensors"
    ef.convert(path, store)
    v = ef.Vocabulary(["the", "abb", "zzzz", "eh", "[UNQ]", "x"])
    expected = [0, 0, 1, 6, 0, 0, 0, 0]
    for a in (
        ef.load(path, v, oov="nearest"),
        ef.load(packed, v, oov="nearest"),
        ef.load(store, v, oov="nearest"),
        ef.load(io.BytesIO(TEXT), v, oov="nearest"),
        ef.load(path, v, oov="nearest", threads=1, on_duplicate="first"),
        ef.load(path, v, oov="nearest", fold_file=True),
        ef.align(ef.read(path), v, oov="nearest"),
        ef.load([path, store], v, oov="nearest"),
    ):
        assert a.matrix[:, 0].tolist() == expected
        assert a.coverage.missing() == [("zzzz", None), ("eh", None), ("[UNQ]", None), ("x", None)]
    assert ef.load(path, v, oov="nearest", on_duplicate="last").matrix[3, 0] == 9


def test_a_later_source_may_have_the_nearest(tmp_path: Path) -> None:
    one, two = (
        put(tmp_path / "1.txt", b"the 1 1\n"),
        put(tmp_path / "2.txt", b"kings 2 2\nthee 3 3\n"),
    )
    v = ef.Vocabulary(["the", "king", "thex", "queen"])
    a = ef.load([one, two], v, oov="nearest")
    assert a.matrix[2:, 0].tolist() == [1, 2, 1, 0]
    assert [part.found("nearest") for part in a.coverage.sources] == [1, 1]
    assert a.coverage.found("nearest") == 2
    both = ef.load([one, two], v, oov="nearest", combine="concat")
    assert both.matrix[2:, [0, 2]].tolist() == [[1, 3], [0, 2], [1, 3], [0, 0]]


def test_it_is_an_edit_of_what_the_vocabulary_spells() -> None:
    e = ef.Embeddings(["kin", "KINGS"], np.array([[1], [2]], np.float32))
    a = ef.align(e, ef.Vocabulary(["KING", "Kin"]), oov="nearest", match=("exact",))
    assert a.matrix[2:, 0].tolist() == [2, 1]


def test_special_tokens_get_no_nearest_row() -> None:
    e = ef.Embeddings(["UNK]", "a"], np.ones((2, 1), np.float32))
    a = ef.align(e, ef.Vocabulary(["a"]), oov="nearest")
    assert a.matrix[:, 0].tolist() == [0, 0, 1]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"caf\xe9s 1 1\nking 2 2\n")
    v = ef.Vocabulary(["caf\udce9", "kin"])
    a = ef.load(path, v, oov="nearest", unicode_errors="surrogateescape")
    assert a.matrix[2:, 0].tolist() == [1, 2]


def test_a_pipe_is_refused_before_it_waits_for_ever(tmp_path: Path) -> None:
    code = """
import os, sys, threading
import embedfreeze as ef
from embedfreeze.errors import FileError
fifo = sys.argv[1]
os.mkfifo(fifo)
def feed():
    with open(fifo, "wb") as file:
        file.write(b"king 1 1\\nkings 2 2\\n")
def loaded(*tokens, **options):
    threading.Thread(target=feed, daemon=True).start()
    return ef.load(fifo, ef.Vocabulary(tokens), **options)
a = loaded("king", "kin")
print(a.matrix[2:, 0].tolist())
for call in (a.coverage.nearest, lambda: loaded("king", oov="nearest")):
    try:
        call()
    except FileError as error:
        print(str(error).removeprefix(fifo))
print(a.coverage.to_markdown().split("\\n")[-2].replace(fifo, ""))
"""
    told = child(code, tmp_path / "fifo", timeout=30)
    refused = ": a pipe can be read once: write it to a file first"
    assert told.splitlines() == [
        "[1.0, 0.0]",
        *(refused, refused),
        f"`spellings could not be looked up: {refused}`",
    ]


def test_a_file_object_is_put_back(tmp_path: Path) -> None:
    v = ef.Vocabulary(["hte"])
    file = io.BytesIO(b"##" + TEXT)
    file.seek(2)
    a = ef.load(file, v)
    assert a.coverage.nearest() == {"hte": ["the"]}
    with open(put(tmp_path / "f", TEXT), "rb") as opened:
        b = ef.load(opened, v)
        assert b.coverage.nearest() == {"hte": ["the"]}
    closed = io.BytesIO(TEXT)
    again = ef.load(closed, v)
    closed.close()
    with pytest.raises(FileError, match="closed"):
        again.coverage.nearest()


def test_nothing_is_missing_and_nothing_is_read_again(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", TEXT + b"bad\n")
    a = ef.load(path, ef.Vocabulary(["the"]), oov="nearest")
    assert a.matrix[2, 0] == 1
    assert a.coverage.nearest() == {}
