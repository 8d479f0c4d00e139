"""Coverage: the numbers by type and by token, and the table that shows them."""

import gc
import io
import json
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import put

import embedfreeze as ef
from embedfreeze.coverage import Collision, Coverage
from embedfreeze.errors import FileError, FormatError


def covered(tmp_path: Path, counts: dict[str, int] | None, **options: object) -> Coverage:
    path = put(tmp_path / "f.txt", b"king 1 1\nqueen 2 2\nthe 3 3\n[UNK] 4 4\nking 5 5\n")
    v = ef.Vocabulary(["king", "King", "zzz", "yyy", "the"], counts=counts)
    found = ef.load(path, v, **options).coverage
    assert found is not None
    return found


COUNTS = {"king": 5, "King": 2, "zzz": 1, "yyy": 30, "the": 62, "elsewhere": 1000}


def test_by_type(tmp_path: Path) -> None:
    c = covered(tmp_path, None)
    assert (c.total(), c.found(), c.found("exact"), c.found("lower")) == (5, 3, 2, 1)
    assert c.share() == 0.6
    assert c.missing() == [("zzz", None), ("yyy", None)]
    assert c.missing(1) == [("zzz", None)]
    assert c.missing_ids.tolist() == [4, 5]
    assert c.stage_of_id.tolist() == [-2, -2, 0, 1, -1, -1, 0]
    assert c.special_in_file == ("[UNK]",)
    assert c.repeated == 1
    assert c.to_dict() == {
        "source": str(tmp_path / "f.txt"),
        "type": {"total": 5, "found": 3, "stages": {"exact": 2, "lower": 1}},
        "missing": [
            {"token": "zzz", "count": None, "nearest": None},
            {"token": "yyy", "count": None, "nearest": None},
        ],
        "collisions": [{"spelling": "king", "tokens": ["king", "King"]}],
        "n_collisions": 1,
        "duplicates": {"king": 1},
        "n_duplicates": 1,
        "special_in_file": ["[UNK]"],
        "sources": [],
    }
    assert repr(c) == "3 of 5 types found"
    for call in (
        lambda: c.total("token"),
        lambda: c.found(by="token"),
        lambda: c.share(by="token"),
    ):
        with pytest.raises(ValueError, match="needs a vocabulary with counts"):
            call()
    with pytest.raises(ValueError, match="stage must be one of exact, lower, received 'stem'"):
        c.found("stem")


def test_by_token(tmp_path: Path) -> None:
    c = covered(tmp_path, COUNTS)
    assert (c.total("token"), c.found(by="token")) == (100, 69)
    assert (c.found("exact", by="token"), c.found("lower", by="token")) == (67, 2)
    assert c.share(by="token") == 0.69
    assert c.missing() == [("yyy", 30), ("zzz", 1)]
    assert c.to_dict()["token"] == {"total": 100, "found": 69, "stages": {"exact": 67, "lower": 2}}


def test_table(tmp_path: Path) -> None:
    assert str(covered(tmp_path, COUNTS)).split("\n") == [
        "stage    types        tokens",
        "exact        2  40.0%    67  67.0%",
        "lower        1  20.0%     2   2.0%",
        "found        3  60.0%    69  69.0%",
        "missing      2  40.0%    31  31.0%",
        "most frequent missing: 'yyy' (30), 'zzz' (1)",
        "1 rows serve several tokens: 'king' for 'king', 'King'",
        "1 tokens that the file repeats: 'king'",
        "special tokens that the file has too (its rows are not taken): '[UNK]'",
    ]
    assert str(covered(tmp_path, None, match=("lower",))).split("\n") == [
        "stage    types",
        "lower        3  60.0%",
        "found        3  60.0%",
        "missing      2  40.0%",
        "missing: 'zzz', 'yyy'",
        "1 rows serve several tokens: 'king' for 'king', 'King'",
        "1 tokens that the file repeats: 'king'",
        "special tokens that the file has too (its rows are not taken): '[UNK]'",
    ]


def test_an_empty_vocabulary_is_covered() -> None:
    v = ef.Vocabulary([], counts={})
    c = Coverage(v, ("exact",), np.array([-2, -2], np.int8))
    assert (c.total(), c.share(), c.share(by="token"), c.missing()) == (0, 1.0, 1.0, [])
    assert "%" not in str(c)


def test_equal_counts_stay_in_the_order_of_ids(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"a 1\nb 2\n")
    tokens = [f"t{i}" for i in range(500)]
    v = ef.Vocabulary(tokens, counts={token: i % 3 for i, token in enumerate(tokens)})
    missing = ef.load(path, v).coverage
    assert missing is not None
    assert [t for t, _ in missing.missing()] == [*tokens[2::3], *tokens[1::3], *tokens[::3]]
    assert str(missing).split("\n")[-1].count("(2)") == 5


# ---- against brute force -----------------------------------------------------------------------

WORDS = st.sampled_from(
    ["king", "King", "KING", "quEEn", "queen", "zzz", "the", "<s>", "\u00e9", "E"]
)


@given(
    tokens=st.lists(WORDS, min_size=1, max_size=12),
    wanted=st.lists(WORDS, max_size=8, unique=True),
    counts=st.none() | st.dictionaries(WORDS, st.integers(0, 50)),
    match=st.permutations(["exact", "lower", "upper", "strip_accents+upper"]),
)
def test_every_number_is_counted(
    tokens: list[str], wanted: list[str], counts: dict[str, int] | None, match: list[str]
) -> None:
    folds = {
        "exact": str,
        "lower": str.lower,
        "upper": str.upper,
        "strip_accents+upper": lambda t: t.replace("\u00e9", "e").upper(),
    }
    v = ef.Vocabulary([t for t in wanted if t != "<s>"], special=["<s>"], counts=counts)
    text = "".join(f"{t} {i} {i}\n" for i, t in enumerate(tokens)).encode()
    c = ef.load(io.BytesIO(text), v, match=match).coverage
    assert c is not None
    how = {}
    for token in v.tokens[3:]:
        stages = [name for name in match if folds[name](token) in tokens]
        how[token] = (stages[0], folds[stages[0]](token)) if stages else None
    weight = counts or {}
    for by, size in (("type", lambda t: 1), ("token", lambda t: weight.get(t, 0))):
        if by == "token" and counts is None:
            continue
        assert c.total(by) == sum(size(t) for t in how)
        assert c.found(by=by) == sum(size(t) for t in how if how[t])
        for name in match:
            assert c.found(name, by=by) == sum(size(t) for t in how if how[t] and how[t][0] == name)
    missing = [t for t in how if how[t] is None]
    order = sorted(missing, key=lambda t: -weight.get(t, 0))
    assert c.missing() == [(t, None if counts is None else weight.get(t, 0)) for t in order]
    for i, token in enumerate(v.tokens[3:], 3):
        other = how[token] is not None and how[token][1] != token
        assert (c.found_as is not None and c.found_as[i] != "") == other
        assert not other or c.found_as[i] == how[token][1]
    shared: dict[str, list[str]] = {}
    for token, found in how.items():
        if found:
            shared.setdefault(found[1], []).append(token)
    groups = {s: sorted(g) for s, g in shared.items() if len(g) > 1}
    assert {x.spelling: sorted(x.tokens) for x in c.collisions} == groups
    assert c.special_in_file == (("<s>",) if "<s>" in tokens else ())
    used = {found[1] for found in how.values() if found}
    repeated = {t: tokens.count(t) - 1 for t in used if tokens.count(t) > 1}
    assert c.duplicates == repeated
    assert c.repeated == sum(repeated.values())
    assert json.loads(json.dumps(c.to_dict(None)))["n_duplicates"] == len(repeated)


# ---- as people and programs read it ------------------------------------------------------------


def test_to_dict_is_json_whatever_the_tokens(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"a\xff 1 1\nA\xff 2 2\na\xff 3 3\n")
    v = ef.Vocabulary(["a\udcff", "x\udcfe\n"])
    c = ef.load(path, v, unicode_errors="surrogateescape").coverage
    told = json.loads(json.dumps(c.to_dict()))
    assert told["missing"] == [{"token": "x\udcfe\n", "count": None, "nearest": None}]
    assert told["duplicates"] == {"a\udcff": 1}
    assert "'x\\udcfe\\n'" in str(c)
    assert "`'x\\udcfe\\n'`" in c.to_markdown()
    c.to_markdown().encode()


def test_to_dict_cuts_its_lists() -> None:
    e = ef.Embeddings(["a", "b"], np.ones((2, 1), np.float32))
    c = ef.align(e, ef.Vocabulary(["a", "A", "b", "B", *"cdefg"])).coverage
    few = c.to_dict(1)
    assert (len(few["missing"]), len(few["collisions"]), few["n_collisions"]) == (1, 1, 2)
    assert [x["token"] for x in c.to_dict(None)["missing"]] == list("cdefg")
    assert "- and 1 more" in c.to_markdown(1)
    assert "5 missing types" in c.to_markdown(1)


CELL = re.compile(r"(?<!\\)\|")
ODD = ["a|b", "`", "``", "a`b|c``d", "x\ny", " ", "", "\u00a0", "*x*", "<b>", "\\|", "\u200b", "|"]


def unquoted(code: str) -> str:
    """The content of a code span, as CommonMark reads it in a cell of a table."""
    code = code.replace("\\|", "|")
    fence = re.match("`+", code)
    assert fence is not None
    inside = code[len(fence[0]) : -len(fence[0])]
    assert code == fence[0] + inside + fence[0]
    assert fence[0] not in re.findall("`+", inside)
    if inside[0] == inside[-1] == " " and inside.strip():
        inside = inside[1:-1]
    return inside


def test_markdown_shows_any_token(tmp_path: Path) -> None:
    ef.write(
        ef.Embeddings([f"{t}q" for t in ODD], np.ones((len(ODD), 1), np.float32)), tmp_path / "f.h5"
    )
    c = ef.load(tmp_path / "f.h5", ef.Vocabulary(ODD, padding=None), match=("exact",)).coverage
    report = c.to_markdown()
    table = report.split("## 13 missing types\n\n")[1].split("\n")[2:-1]
    assert len(table) == len(ODD)
    for line, token in zip(table, ODD, strict=True):
        assert line.isprintable()
        cells = CELL.split(line)[1:-1]
        assert len(cells) == 2, line
        shown = unquoted(cells[0].strip())
        assert shown in (token, repr(token))
        if not token.isprintable() or token.strip() != token or not token:
            assert shown == repr(token)
        assert cells[1].strip(), token


def test_markdown_of_collisions_and_duplicates(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"a|b 1\na|b 2\na|b 3\n[UNK] 4\n")
    c = ef.load(path, ef.Vocabulary(["A|B", "a|b", "A|b"])).coverage
    assert c.to_markdown().split("\n\n") == [
        f"# Coverage of 3 types in `{path}`",
        "| stage | types | share |\n| --- | ---: | ---: |\n| exact | 1 | 33.3% |\n"
        "| lower | 2 | 66.7% |\n| found | 3 | 100.0% |\n| missing | 0 | 0.0% |",
        "## 1 rows serve several tokens",
        "- `'a|b'`: `'a|b'`, `'A|B'`, `'A|b'`",
        "## 1 tokens that the file repeats",
        "- `'a|b'`: 2 more",
        "## 1 special tokens that the file has too, whose rows are not taken",
        "- `[UNK]`\n",
    ]


def test_markdown_of_stages_and_sources(tmp_path: Path) -> None:
    def a_fold(token: str) -> str:
        return token

    a_fold.__name__ = "a|<fold>"
    one, two = put(tmp_path / "1.txt", b"a 1\n"), put(tmp_path / "2.txt", b"b 2\n")
    v = ef.Vocabulary(["a", "b", "c"], counts={"a": 5000, "b": 3})
    c = ef.load([one, two], v, match=("exact", lambda t: t, a_fold, "strip_accents")).coverage
    report = c.to_markdown(nearest=False).split("\n\n")
    assert report[1].split("\n")[2:6] == [
        "| exact | 2 | 66.7% | 5,003 | 100.0% |",
        "| `<lambda>` | 0 | 0.0% | 0 | 0.0% |",
        "| `'a\\|<fold>'` | 0 | 0.0% | 0 | 0.0% |",
        "| strip_accents | 0 | 0.0% | 0 | 0.0% |",
    ]
    assert report[2].split("\n")[2:] == [f"| `{one}` | 3 | 1 |", f"| `{two}` | 2 | 1 |"]
    assert report[4].split("\n")[2] == "| `c` | 0 |  |"
    assert c.known_nearest == {}


def test_a_source_that_is_gone(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"king 1 1\n")
    c = ef.load(path, ef.Vocabulary(["kin", "zzz"])).coverage
    kept = ef.load(path, ef.Vocabulary(["kin", "zzz"])).coverage
    assert kept.nearest() == {"kin": ["king"], "zzz": []}
    path.unlink()
    with pytest.raises(FileError, match=r"f\.txt: cannot be read: No such file or directory"):
        c.nearest()
    told = c.to_markdown()
    assert "spellings could not be looked up: " in told
    assert "No such file" in told
    assert "| `kin` |  |" in told
    assert kept.nearest() == {"kin": ["king"], "zzz": []}  # known from the call before
    assert "| `kin` | `king` |" in kept.to_markdown()
    assert c.to_markdown(nearest=False).count("could not") == 0


def test_a_bad_row_that_was_not_needed_does_not_spoil_the_report(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"king 1 1\nbad x\nqueen 2 2\n")
    c = ef.load(path, ef.Vocabulary(["king", "quen"])).coverage
    with pytest.raises(FormatError, match="line 2"):
        c.nearest()
    assert "line 2" in c.to_markdown()


# ---- in a store --------------------------------------------------------------------------------


def test_a_store_keeps_it(tmp_path: Path) -> None:
    text = b"king 1 1\nking 2 2\nqueen 3 3\n[UNK] 4 4\nCAF\xc3\x89 5 5\nquean 6 6\n"
    path = put(tmp_path / "f.txt", text)
    tokens = ["king", "King", "caf\u00e9", "queeen", "x\ny", "zzz"]
    v = ef.Vocabulary(tokens, counts={"king": 7, "zzz": 9, "queeen": 1, "not here": 4})
    a = ef.load(path, v, match=("exact", "lower", "strip_accents"), fold_file=True)
    assert a.coverage.nearest(2) == {"zzz": [], "queeen": ["queen"]}
    a.save(tmp_path / "s.safetensors")
    path.unlink()
    for c in (
        ef.read(tmp_path / "s.safetensors").coverage,
        ef.load(tmp_path / "s.safetensors", v).coverage,
    ):
        assert c is not None
        told = {**a.coverage.to_dict(), "source": "f.txt"}
        assert c.to_dict() == told
        assert c.stage_of_id.tolist() == a.coverage.stage_of_id.tolist()
        assert c.stage_of_id.dtype == np.int8
        assert c.found_as == a.coverage.found_as
        assert [c.found_as[i] for i in (3, 4)] == ["king", "CAF\u00c9"]
        assert c.collisions == a.coverage.collisions == (Collision("king", ("king", "King")),)
        assert c.duplicates == {"king": 1}
        assert c.nearest(2) == {"zzz": [], "queeen": ["queen"]}
        assert "x\ny" not in c.nearest()  # never looked up, and its file is gone
        assert str(c) == str(a.coverage)
        assert c.vocabulary.counts in (v.counts, {"king": 7, "zzz": 9, "queeen": 1})


def test_other_counts_weigh_a_kept_coverage(tmp_path: Path) -> None:
    path, target = put(tmp_path / "f.txt", b"a 1\n"), tmp_path / "s.safetensors"
    ef.load(path, ef.Vocabulary(["a", "b"], counts={"a": 1, "b": 1})).save(target)
    mine = ef.load(target, ef.Vocabulary(["a", "b"], counts={"a": 9, "b": 1}))
    assert mine.sealed.guarantee == "watched"
    assert mine.coverage.share(by="token") == 0.9
    bare = ef.load(target, ef.Vocabulary(["a", "b"]))
    assert bare.coverage.missing() == [("b", None)]
    assert ef.read(target).coverage.share(by="token") == 0.5


def test_a_store_without_coverage_has_none(tmp_path: Path) -> None:
    e = ef.Embeddings(["a"], np.ones((1, 1), np.float32))
    ef.write(e, tmp_path / "s.safetensors")
    again = ef.read(tmp_path / "s.safetensors")
    assert (again.coverage, again.vocabulary, again.provenance) == (None, None, {})
    a = ef.align(e, ef.Vocabulary(["a"]))
    ef.AlignedEmbeddings(a.sealed, a.vocabulary).save(tmp_path / "t.safetensors")
    loaded = ef.load(tmp_path / "t.safetensors", a.vocabulary)
    assert loaded.coverage is None
    assert ef.read(tmp_path / "t.safetensors").vocabulary == a.vocabulary


def test_a_spelling_may_be_empty(tmp_path: Path) -> None:
    e = ef.Embeddings([""], np.full((1, 1), 3, np.float32))
    a = ef.align(e, ef.Vocabulary(["a"], padding=None), match=(lambda _: "",))
    assert a.matrix[:, 0].tolist() == [0, 3]
    a.save(tmp_path / "s.safetensors")
    assert ef.read(tmp_path / "s.safetensors").coverage.stage_of_id.tolist() == [-2, 0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"match\\"', b'"mutch\\"'),
        (b'"nearest\\"', b'"nearesd\\"'),
        (b'"duplicates\\": {}', b'"duplicates\\": 17'),
        (b'"special_in_file\\"', b'"special_in_fold\\"'),
        (b'"source\\"', b'"sourze\\"'),
    ],
)
def test_damaged_notes_of_a_store(old: bytes, new: bytes, tmp_path: Path) -> None:
    v = ef.Vocabulary(["a"])
    ef.align(ef.Embeddings(["a"], np.ones((1, 1), np.float32)), v).save(tmp_path / "s.safetensors")
    data = (tmp_path / "s.safetensors").read_bytes()
    place = data.index(b'"coverage"')
    assert old in data[place:]
    put(tmp_path / "s.safetensors", data[:place] + data[place:].replace(old, new, 1))
    for call in (
        lambda: ef.read(tmp_path / "s.safetensors").coverage,
        lambda: ef.load(tmp_path / "s.safetensors", v),
    ):
        with pytest.raises(FormatError, match="the coverage cannot be read"):
            call()


@pytest.mark.parametrize(
    ("name", "place", "value", "told"),
    [
        ("match_stages", 0, 1, "stages must be from -3 to 0"),
        ("match_stages", 0, 0xFC, "stages must be from -3 to 0"),
        ("spelling_offsets", 6, 0x7F, "offsets of spellings must rise from 0 to 1"),
        ("spelling_offsets", 8, 9, "offsets of spellings must rise from 0 to 1"),
        ("spelling_offsets", 15, 0xFF, "offsets of spellings must rise from 0 to 1"),
    ],
)
def test_damaged_arrays_of_a_store(
    name: str, place: int, value: int, told: str, tmp_path: Path
) -> None:
    path, v = tmp_path / "s.safetensors", ef.Vocabulary(["A"], padding=None)
    e = ef.Embeddings(["a"], np.ones((1, 1), np.float32))
    ef.align(e, v, match=("lower",)).save(path)
    data = bytearray(path.read_bytes())
    end = 8 + int.from_bytes(data[:8], "little")
    data[end + json.loads(data[8:end])[name]["data_offsets"][0] + place] = value
    put(path, bytes(data))
    assert ef.read(path).matrix.tolist() == [[0], [1]]
    for call in (lambda: ef.read(path).coverage, lambda: ef.load(path, v)):
        with pytest.raises(FormatError, match=f"the coverage cannot be read .*{told}"):
            call()


def test_a_coverage_holds_no_matrix() -> None:
    e = ef.Embeddings(["king"], np.ones((1, 3), np.float32))
    matrix = weakref.ref(e.matrix)
    c = ef.align(e, ef.Vocabulary(["kin"])).coverage
    del e
    gc.collect()
    assert matrix() is None
    assert c.nearest() == {"kin": ["king"]}


def test_by_is_type_or_token() -> None:
    e = ef.Embeddings(["king"], np.ones((1, 3), np.float32))
    c = ef.align(e, ef.Vocabulary(["kin"], counts={"kin": 3})).coverage
    for by in ("tokens", "types", ""):
        with pytest.raises(ValueError, match="by must be one of type, token, received"):
            c.share(by=by)
