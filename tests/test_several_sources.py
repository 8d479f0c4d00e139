"""Several sources (the first that has a token, or side by side), and tables that grow."""

import gc
import io
import json
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import bits, glove_bytes, put, table

import embedfreeze as ef
from embedfreeze.errors import FileError, FormatError, UnknownTokenError, VocabularyError

Matrix = npt.NDArray[Any]
WORDS = st.sampled_from(["king", "King", "KING", "queen", "Queen", "the", "zzz", "[UNK]", "a b"])
SOURCES = st.lists(st.lists(WORDS, min_size=1, max_size=6, unique=True), min_size=1, max_size=3)


def made(tokens: Sequence[str], dim: int, seed: int) -> ef.Embeddings:
    return ef.Embeddings(list(tokens), table(len(tokens), dim, seed))


def stage_in(e: ef.Embeddings, token: str) -> int:
    """0 as it is spelled, 1 in small letters, -1 not at all."""
    return 0 if token in e else 1 if token.lower() in e else -1


@pytest.mark.filterwarnings("ignore:.* values that are not finite")
@given(
    lists=SOURCES,
    wanted=st.lists(WORDS.filter(lambda t: t != "[UNK]"), max_size=6, unique=True),
    files=st.booleans(),
)
def test_the_first_source_wins(
    lists: list[list[str]],
    wanted: list[str],
    files: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    several = [made(tokens, 2, i) for i, tokens in enumerate(lists)]
    v = ef.Vocabulary(wanted)
    expected = np.zeros((len(v), 2), np.float32)
    stages = np.full((len(several), len(v)), -3)
    stages[:, :2] = -2
    for i, token in enumerate(wanted, 2):
        for s, e in enumerate(several):
            stages[s, i] = stage_in(e, token)
            if stages[s, i] >= 0:
                expected[i] = e[token if stages[s, i] == 0 else token.lower()]
                break
    if files:
        folder = tmp_path_factory.mktemp("several")
        paths = [
            put(folder / f"{i}.txt", glove_bytes([t.encode() for t in e.tokens], e.matrix))
            for i, e in enumerate(several)
        ]
        a = ef.load(paths, v)
    else:
        a = ef.align(several, v)
    assert bits(a.matrix) == bits(expected)
    parts = a.coverage.sources or (a.coverage,)
    assert [part.stage_of_id.tolist() for part in parts] == stages.tolist()
    found = [max((s for s in column if s >= 0), default=-1) for column in stages[:, 2:].T]
    assert a.coverage.stage_of_id.tolist() == [-2, -2, *found]
    assert a.coverage.special_in_file == (("[UNK]",) if any("[UNK]" in e for e in several) else ())


@given(
    lists=SOURCES,
    wanted=st.lists(WORDS.filter(lambda t: t != "[UNK]"), max_size=6, unique=True),
    oov=st.sampled_from(["zeros", "hash"]),
)
def test_side_by_side(lists: list[list[str]], wanted: list[str], oov: Any) -> None:
    several = [made(tokens, 1 + i, i) for i, tokens in enumerate(lists)]
    v = ef.Vocabulary(wanted)
    dim = sum(e.dim for e in several)
    # What no source has is a row of the policy, and a part is that part of such a row.
    expected = ef.align(made(["nothing"], dim, 0), v, oov=oov, seed=5).matrix.copy()
    for i, token in enumerate(wanted, 2):
        low = 0
        for e in several:
            stage = stage_in(e, token)
            if stage >= 0:
                expected[i, low : low + e.dim] = e[token if stage == 0 else token.lower()]
            low += e.dim
    a = ef.align(several, v, combine="concat", oov=oov, seed=5)
    assert bits(a.matrix) == bits(expected)
    have = [max(stage_in(e, t) for e in several) >= 0 for t in wanted]
    assert (a.coverage.stage_of_id[2:] >= 0).tolist() == have


def ab(dtype: str = "float32") -> list[ef.Embeddings]:
    one = ef.Embeddings(["a", "b"], np.array([[1, 2], [3, 4]], dtype))
    two = ef.Embeddings(["b", "c"], np.array([[10, 20, 30], [40, 50, 60]], dtype))
    return [one, two]


V = ef.Vocabulary(["a", "b", "c", "d"])


def test_parts_follow_the_policy() -> None:
    a = ef.align(ab(), V, combine="concat", oov="mean")
    assert a.matrix[2].tolist() == [1, 2, 25, 35, 45]  # the mean of the rows that part has
    assert a.matrix[3].tolist() == [3, 4, 10, 20, 30]
    assert a.matrix[4].tolist() == [2, 3, 40, 50, 60]
    assert a.matrix[[1, 5]].tolist() == [[2, 3, 25, 35, 45]] * 2
    assert not a.matrix[0].any()
    asked: list[list[str]] = []

    def make(tokens: list[str]) -> Matrix:
        asked.append(tokens)
        return np.array([[-1, -2, -3, -4, -5]] * len(tokens))

    b = ef.align(ab(), V, combine="concat", oov=make)
    assert b.matrix[2:].tolist() == [
        [1, 2, -3, -4, -5],
        [3, 4, 10, 20, 30],
        [-1, -2, 40, 50, 60],
        [-1, -2, -3, -4, -5],
    ]
    assert asked == [["c"], ["a"], ["d"]]
    with pytest.raises(UnknownTokenError, match=r"received 1 without: 'd'"):
        ef.align(ab(), V, combine="concat", oov="error")
    whole = ef.Vocabulary(["a", "b", "c"])
    assert not ef.align(ab(), whole, combine="concat", oov="error").matrix[2, 2:].any()


def test_special_rows_side_by_side() -> None:
    one = ef.Embeddings(["[UNK]", "[S]", "a"], np.array([[1], [2], [3]], np.float32))
    two = ef.Embeddings(["[S]", "[T]"], np.array([[4], [5]], np.float32))
    v = ef.Vocabulary(["a"], special=["[S]", "[T]", "[V]"])
    given: dict[str, Any] = {"[S]": "file", "[T]": "file", "[UNK]": "file", "[V]": [8, 9]}
    a = ef.align([one, two], v, combine="concat", special=given)
    assert a.matrix.tolist() == [[0, 0], [1, 0], [2, 4], [0, 5], [8, 9], [3, 0]]
    assert a.coverage.special_in_file == ()


def test_values_of_two_widths_side_by_side() -> None:
    wide, narrow = ab()[0], ab("float16")[1]
    a = ef.align([wide, narrow], V, combine="concat")
    assert a.matrix.dtype == np.float32
    assert bits(a.matrix) == bits(ef.align(ab(), V, combine="concat").matrix)
    both = ef.align(ab("float16"), V, combine="concat")
    assert both.matrix.dtype == np.float16


def test_sources_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(
        FormatError,
        match=r"so all need one dim and dtype, received 3 x float32 after 2 x float32: pass "
        r'combine="concat"',
    ):
        ef.align(ab(), V)
    narrow = ef.Embeddings(["c"], np.ones((1, 2), np.float16))
    with pytest.raises(FormatError, match=r'2 x float16 after 2 x float32: .* dtype="float32"'):
        ef.align([ab()[0], narrow], V)
    paths = [put(tmp_path / "1.txt", b"a 1 2\n"), put(tmp_path / "2.txt", b"c 1 2 3\n")]
    with pytest.raises(FormatError, match=r"2\.txt: the first source that has a token"):
        ef.load(paths, V)
    for nothing in ([], ()):
        with pytest.raises(ValueError, match="at least one source is needed, received none"):
            ef.align(nothing, V)
        with pytest.raises(ValueError, match="at least one source is needed, received none"):
            ef.load(nothing, V, combine="concat")
    with pytest.raises(ValueError, match="combine must be one of first, concat, received 'add'"):
        ef.align(ab(), V, combine="add")  # type: ignore[arg-type]
    for wrong in ("f.txt", ["f.txt"], [np.ones((2, 2))]):
        with pytest.raises(TypeError, match="align needs Embeddings, received (str|ndarray)"):
            ef.align(wrong, V)  # type: ignore[arg-type]


def test_one_source_in_a_list_is_that_source(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"a 1 2\nb 3 4\n")
    for combine in ("first", "concat"):
        a = ef.load([path], V, combine=combine)
        assert a.digest == ef.load(path, V).digest
        assert a.coverage.sources == ()
    store = tmp_path / "s.safetensors"
    ef.load(path, V).save(store)
    assert ef.load((store,), V).sealed.guarantee == "watched"


def test_several_sources_saved_and_read(tmp_path: Path) -> None:
    counts = {"a": 4, "B": 3, "c": 2, "dd": 1}
    v = ef.Vocabulary(["a", "B", "c", "dd"], counts=counts)
    (tmp_path / "folder").mkdir()
    one = put(tmp_path / "1.txt", b"a 1 2\n[UNK] 0 0\na 9 9\n")
    two = put(tmp_path / "folder" / "2.txt", b"b 3 4\na 7 7\n[UNK] 5 5\nd 1 1\n")
    a = ef.load([one, two], v)
    a.coverage.nearest()
    a.save(tmp_path / "s.safetensors")
    e = ef.read(tmp_path / "s.safetensors")
    again = ef.load(tmp_path / "s.safetensors", v)
    for c in (e.coverage, again.coverage):
        expected = json.loads(json.dumps(a.coverage.to_dict()).replace(str(tmp_path), ""))
        told = json.loads(json.dumps(c.to_dict()))
        expected["source"] = "1.txt, 2.txt"
        for part, name in zip(expected["sources"], ("1.txt", "2.txt"), strict=True):
            part["source"] = name
        assert told == expected
        near = {"c": ["a", "b", "d"], "dd": ["d"]}
        assert c.nearest() == a.coverage.nearest() == near
        tables = [report.split("\n\n") for report in (c.to_markdown(), a.coverage.to_markdown())]
        assert tables[0][1] == tables[1][1]
        assert tables[0][3:] == tables[1][3:]
        assert [p.stage_of_id.tolist() for p in c.sources] == [
            p.stage_of_id.tolist() for p in a.coverage.sources
        ]
        assert c.found_as == a.coverage.found_as
        assert c.found_as is not None
        assert c.found_as[3] == "b"
    header = (tmp_path / "s.safetensors").read_bytes()[:4096]
    assert b'"source":"1.txt, 2.txt"' in header
    assert str(tmp_path).encode() not in header
    again.save(tmp_path / "t.safetensors")
    third = ef.read(tmp_path / "t.safetensors")
    assert third.coverage.to_dict() == e.coverage.to_dict()
    assert third.provenance == a.provenance


def test_nearest_spellings_of_a_part_are_its_own(tmp_path: Path) -> None:
    one, two = put(tmp_path / "1.txt", b"kinq 1\n"), put(tmp_path / "2.txt", b"kingx 2\n")
    a = ef.load([one, two], ef.Vocabulary(["king", "kinqs"]))
    first, second = a.coverage.sources
    assert second.nearest() == {"king": ["kingx"], "kinqs": []}
    assert first.nearest() == {"king": ["kinq"], "kinqs": ["kinq"]}
    assert a.coverage.nearest() == {"king": ["kinq", "kingx"], "kinqs": ["kinq"]}


def test_what_is_learnt_later_stays_out_of_the_older_coverage(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"king 1\nlad 2\n")
    a = ef.load(path, ef.Vocabulary(["kin"]))
    assert a.coverage.nearest() == {"kin": ["king"]}
    b = a.extend(["lady"], path)
    assert b.coverage.nearest() == {"kin": ["king"], "lady": ["lad"]}
    assert b.coverage.sources[0].known_nearest == a.coverage.known_nearest == {"kin": ["king"]}
    b.coverage.sources[0].known_nearest["kin"] = []
    assert a.coverage.nearest() == {"kin": ["king"]}


# ---- tables that grow --------------------------------------------------------------------------

TEXT = b"king 1 1\nqueen 2 4\nPrince 3 9\nthe 4 16\nlad 5 25\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return put(tmp_path / "f.txt", TEXT)


def test_extend_leaves_the_old_rows(source: Path) -> None:
    v = ef.Vocabulary(["king", "zzz", "Queen"], counts={"king": 3, "zzz": 2})
    a = ef.load(source, v, oov="hash", special={"[UNK]": [7, 7]})
    before = (bits(a.matrix), a.digest, a.tokens, a.coverage.to_dict(), json.dumps(a.provenance))
    b = a.extend(["the", "Lad", "yyy"], source, counts={"the": 9, "yyy": 5}, oov="mean")
    assert b.tokens == (*a.tokens, "the", "Lad", "yyy")
    assert bits(b.matrix[:5]) == bits(a.matrix)
    mean = np.array([[1, 1], [2, 4], [4, 16], [5, 25]], np.float64).mean(axis=0)
    assert b.matrix[5:].tolist() == [[4, 16], [5, 25], mean.tolist()]
    assert b.vocabulary.counts == {"king": 3, "zzz": 2, "the": 9, "yyy": 5}
    assert b.coverage.stage_of_id.tolist() == [-2, -2, 0, -1, 1, 0, 1, -1]
    assert [part.stage_of_id.tolist() for part in b.coverage.sources] == [
        [-2, -2, 0, -1, 1, -3, -3, -3],
        [-3, -3, -3, -3, -3, 0, 1, -1],
    ]
    assert b.coverage.missing() == [("yyy", 5), ("zzz", 2)]
    assert [b.coverage.found_as[i] for i in (4, 6)] == ["queen", "lad"]
    assert (b.coverage.total(), b.coverage.found()) == (6, 4)
    assert b.sealed.guarantee == "sealed"
    after = (bits(a.matrix), a.digest, a.tokens, a.coverage.to_dict(), json.dumps(a.provenance))
    assert after == before
    assert a.vocabulary.counts == {"king": 3, "zzz": 2}


def test_extend_again_and_save(source: Path, tmp_path: Path) -> None:
    a = ef.load(source, ef.Vocabulary(["king"]))
    other = ef.Embeddings(["PRINCE", "x"], np.array([[8, 8], [9, 9]], np.float32))
    b = a.extend(["lad"], source, match=("lower",)).extend(["prince"], other, fold_file=True)
    assert b.matrix[:, 0].tolist() == [0, 0, 1, 5, 8]
    assert len(b.coverage.sources) == 3
    assert b.coverage.match == ("exact", "lower")
    assert b.coverage.stage_of_id.tolist() == [-2, -2, 0, 1, 1]
    assert [step["tokens"] for step in b.provenance["extended"]] == [1, 1]
    assert [step["sources"] for step in b.provenance["extended"]] == [["f.txt"], ["embeddings"]]
    b.save(tmp_path / "s.safetensors")
    e = ef.read(tmp_path / "s.safetensors")
    assert e.provenance == b.provenance
    assert e.coverage.stage_of_id.tolist() == b.coverage.stage_of_id.tolist()
    again = ef.load(tmp_path / "s.safetensors", b.vocabulary)
    assert again.sealed.guarantee == "watched"
    c = again.extend(["queens"], source, oov="nearest")
    assert c.matrix[:, 0].tolist() == [0, 0, 1, 5, 8, 2]
    assert c.coverage.match == ("exact", "lower", "nearest")
    assert c.coverage.found("nearest") == 1
    assert again.sealed.verify(deep=True) is None
    assert bits(c.matrix[:5]) == bits(b.matrix)


def test_extend_by_nothing(source: Path) -> None:
    a = ef.load(source, ef.Vocabulary(["king", "zzz"]))
    b = a.extend([], source)
    assert (b.tokens, b.digest, repr(b.coverage)) == (a.tokens, a.digest, repr(a.coverage))


def test_extend_refuses_tokens_that_have_an_id(source: Path) -> None:
    a = ef.load(source, ef.Vocabulary(["king"]))
    for tokens in (["king"], ["[UNK]"], [""], ["x", "y", "x"]):
        with pytest.raises(VocabularyError, match=r"tokens must differ, received .* as id"):
            a.extend(tokens, source)
    with pytest.raises(ValueError, match="at least one source is needed"):
        a.extend(["x"], [])


def test_extend_refuses_other_rows(source: Path, tmp_path: Path) -> None:
    a = ef.load(source, ef.Vocabulary(["king"]))
    wide = put(tmp_path / "wide.txt", b"lad 1 2 3\n")
    with pytest.raises(
        FormatError,
        match=r"wide\.txt: new rows must be 2 x float32 as those of the table are, received "
        "3 x float32",
    ):
        a.extend(["lad"], wide)
    half = ef.load(source, ef.Vocabulary(["king"]), dtype="float16")
    with pytest.raises(FormatError, match=r'received 2 x float32: .* pass dtype="float16"'):
        half.extend(["lad"], source)
    assert half.extend(["lad"], source, dtype="float16").matrix[3].tolist() == [5, 25]
    with pytest.raises(UnknownTokenError, match=r"received 1 without: 'zzz'"):
        a.extend(["lad", "zzz"], source, oov="error")


def test_extend_repeats_what_was_done_row_by_row(source: Path) -> None:
    for options in ({"normalize": "l2"}, {"dim": 1}, {"dim": 1, "normalize": "l2"}):
        short = ef.load(source, ef.Vocabulary(["king", "queen"]), **options)
        long = ef.load(source, ef.Vocabulary(["king", "queen", "lad", "the"]), **options)
        b = short.extend(["lad", "the"], source)
        assert b.digest == long.digest
        assert b.provenance["extended"][0]["steps"] == long.provenance["steps"]
    for options in ({"center": True}, {"all_but_the_top": 1}, {"dim": 1, "reduce": "pca"}):
        a = ef.load(source, ef.Vocabulary(["king", "queen"]), **options)
        with pytest.raises(
            VocabularyError,
            match=rf"received one with {next(iter(options))}.*: load it anew with the longer",
        ):
            a.extend(["lad"], source)


def test_extend_keeps_the_splitter_and_the_special_tokens(source: Path) -> None:
    def split(text: str) -> list[str]:
        return text.split("|")

    v = ef.Vocabulary(
        ["x", "[S]", "<p>", "u"],
        padding="<p>",
        unknown="u",
        special=["[S]"],
        special_first=False,
        splitter=split,
    )
    b = ef.load(source, v).extend(["lad"], source)
    assert b.vocabulary.splitter is split
    assert b.vocabulary.special_ids == v.special_ids == (2, 3, 1)
    assert b.vocabulary.encode(["lad|x|nothing"]).tolist() == [[4, 0, 3]]


def test_extend_gives_a_callable_the_new_tokens(source: Path) -> None:
    asked: list[list[str]] = []

    def make(tokens: list[str]) -> Matrix:
        asked.append(tokens)
        return np.full((len(tokens), 2), len(asked))

    a = ef.load(source, ef.Vocabulary(["king", "zzz"]), oov=make)
    b = a.extend(["lad", "yyy"], source, oov=make)
    assert asked == [["zzz"], ["yyy"]]
    assert b.matrix[:, 0].tolist() == [0, 0, 1, 1, 5, 2]


def test_extend_of_a_table_without_coverage(source: Path) -> None:
    a = ef.load(source, ef.Vocabulary(["king"]))
    bare = ef.AlignedEmbeddings(a.sealed, a.vocabulary)
    b = bare.extend(["lad", "zzz"], source, oov="mean")
    assert b.matrix[:, 0].tolist() == [0, 0, 1, 5, 5]
    assert b.coverage.stage_of_id.tolist() == [-3, -3, -3, 0, -1]


# ---- stores as sources -----------------------------------------------------------------------


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A store of `the` and `of`; `cat` was filled by a policy, and so were the special tokens."""
    path = tmp_path / "filled.safetensors"
    text = put(tmp_path / "a.txt", b"the 1 1\nof 2 2\n")
    ef.load(text, ef.Vocabulary(["the", "of", "cat"]), oov="mean").save(path)
    return path


def test_a_filled_row_is_no_row_of_its_token(filled: Path, tmp_path: Path) -> None:
    other = put(tmp_path / "b.txt", b"cat 7 7\n")
    v = ef.Vocabulary(["the", "cat"])
    a = ef.load([filled, other], v)
    assert a.matrix[2:].tolist() == [[1, 1], [7, 7]]
    assert [part.found() for part in a.coverage.sources] == [1, 1]
    for options in ({}, {"fold_file": True}, {"dtype": "float16"}, {"limit": 5}):
        alone = ef.load(filled, v, **options)
        assert alone.coverage.missing() == [("cat", None)]
        assert alone.matrix[2:].tolist() == [[1, 1], [0, 0]]
    assert ef.align(ef.read(filled), v, oov="mean").matrix[3].tolist() == [1, 1]
    with pytest.raises(UnknownTokenError, match="received 1 without: 'cat'"):
        ef.load(filled, v, oov="error")
    grown = ef.load(other, ef.Vocabulary(["x"]), oov="zeros").extend(["cat"], filled)
    assert grown.coverage.missing() == [("x", None), ("cat", None)]
    assert grown.coverage.nearest() == {"x": [], "cat": []}


def test_its_own_store_is_what_was_asked_for(filled: Path) -> None:
    v = ef.Vocabulary(["the", "of", "cat"])
    saved = ef.load(filled, v)
    assert (saved.sealed.guarantee, saved.matrix[4].tolist()) == ("watched", [1.5, 1.5])
    same = ef.load(filled, v, oov="mean")
    assert same.sealed.guarantee == "watched"
    other = ef.load(filled, v, oov="hash", seed=3)
    assert other.sealed.guarantee == "sealed"
    assert bits(other.matrix[4]) == bits(ef.align(ef.read(filled), v, oov="hash", seed=3).matrix[4])
    assert other.matrix[2:4].tolist() == [[1, 1], [2, 2]]
    with pytest.raises(UnknownTokenError, match="received 1 without: 'cat'"):
        ef.load(filled, v, oov="error")
    marked = ef.load(filled, v, special={"[UNK]": [9, 9]})
    assert marked.matrix.tolist() == [[0, 0], [9, 9], [1, 1], [2, 2], [1.5, 1.5]]
    assert marked.coverage.missing() == [("cat", None)]


def test_extend_takes_rows_that_went_through_the_same(filled: Path, tmp_path: Path) -> None:
    text = put(tmp_path / "c.txt", b"dog 3 4\n")
    unit = tmp_path / "unit.safetensors"
    ef.load(text, ef.Vocabulary(["dog"]), normalize="l2").save(unit)
    plain = ef.load(text, ef.Vocabulary([]))
    with pytest.raises(
        VocabularyError, match=r"rows with \['normalize=l2'\] for a table with \[\]"
    ):
        plain.extend(["dog"], unit)
    assert plain.extend(["dog", "the"], [text, filled]).matrix[2:].tolist() == [[3, 4], [1, 1]]


def test_nearest_spellings_are_not_made_up(filled: Path, tmp_path: Path) -> None:
    text = put(tmp_path / "c.txt", b"dog 3 4\n")
    a = ef.load(filled, ef.Vocabulary(["the", "of", "cat"])).extend(["dig"], text)
    assert a.coverage.nearest() == {"dig": ["dog"]}  # of cat nobody can tell
    assert [entry["nearest"] for entry in a.coverage.to_dict()["missing"]] == [None, ["dog"]]


def test_nearest_spellings_are_those_of_the_file_that_was_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "f.txt", b"dog 3 4\n")
    monkeypatch.chdir(tmp_path)
    v = ef.Vocabulary(["dig"])
    relative, absolute = ef.load("f.txt", v), ef.load(path, v)
    monkeypatch.chdir("/")
    assert relative.coverage.nearest() == {"dig": ["dog"]}
    put(path, b"digs 3 4\n")
    with pytest.raises(FileError, match=r"f\.txt: was changed since it was loaded: load it again"):
        absolute.coverage.nearest()
    file = io.BytesIO(b"dog 3 4\n")
    held = ef.load(file, v)
    file.seek(3)
    assert (held.coverage.nearest(), file.tell()) == ({"dig": ["dog"]}, 3)
    gone = ef.load(io.BytesIO(b"dog 3 4\n"), v)
    with pytest.raises(FileError, match="the file object is gone"):
        gone.coverage.nearest()


@pytest.mark.parametrize("kind", ["path", "file"])
def test_a_coverage_keeps_no_source_alive(kind: str, tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"dog 3 4\n")
    if kind == "path":
        e = ef.read(path)
        a, held = ef.align(e, ef.Vocabulary(["dig"])), weakref.ref(e)
        del e
    else:
        file = io.BytesIO(path.read_bytes())
        a, held = ef.load(file, ef.Vocabulary(["dig"])), weakref.ref(file)
        del file
    gc.collect()
    assert held() is None
    if kind == "path":
        assert a.coverage.nearest() == {"dig": ["dog"]}
