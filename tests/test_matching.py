"""Match stages and file-side folding, against references that know nothing of how they work."""

import gzip
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import bits, glove_bytes, pipe, put, table, word2vec_bytes

import embedfreeze as ef
from embedfreeze.aligning import sources
from embedfreeze.aligning.folds import FOLDS, stages_of
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.formats import word2vec as binary_format
from embedfreeze.formats.texts import text as text_format
from embedfreeze.tokens import Tokens

# ---- the stages, each against its own reference ------------------------------------------------


def by_category(text: str, category: str, new: str) -> str:
    return "".join(new if unicodedata.category(c) == category else c for c in text)


def titled(text: str) -> str:
    """The first letter of each word is a capital; marks and inner apostrophes end no word."""
    result, inside = "", False
    for i, c in enumerate(text):
        if c.isalpha():
            result += c.lower() if inside else c.title()
            inside = True
            continue
        mark = unicodedata.category(c) == "Mn"
        quote = c in "'\u2019" and text[i + 1 : i + 2].isalpha()
        result, inside = result + c, inside and (mark or quote)
    return result


def unmarked(text: str) -> str:
    body = text
    for marker in ("##", "\u2581", "\u0120"):
        if text.startswith(marker) and text != marker:
            body = text[len(marker) :]
            break
    for marker in ("</w>", "@@"):
        if body.endswith(marker) and body != marker:
            return body[: -len(marker)]
    return body


def without_accents(text: str) -> str:
    return unicodedata.normalize("NFC", by_category(unicodedata.normalize("NFD", text), "Mn", ""))


REFERENCES: dict[str, Callable[[str], str]] = {
    "exact": lambda text: text,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "casefold": lambda text: text.casefold(),
    "nfc": lambda text: unicodedata.normalize("NFC", text),
    "nfkc": lambda text: unicodedata.normalize("NFKC", text),
    "strip_accents": without_accents,
    "digits": lambda text: by_category(text, "Nd", "#"),
    "digits0": lambda text: by_category(text, "Nd", "0"),
    "underscore": lambda text: "_".join(text.split(" ")),
    "piece": unmarked,
}

ODD = [
    *("", "king", "KING", "\u039f\u0394\u039f\u03a3", "\u039f\u0394\u039f\u03a3\n\u039f", "\u03a3"),
    *("I", "\u0130", "i\u0307", "\u0131", "\u00df", "\u1e9e", "STRASSE", "\u01c4", "\u01c5"),
    *("cafe\u0301", "caf\u00e9", "\u0301a", "\u0345", "\u1100\u1161\u11a8", "\uac01", "\u1161"),
    *("\u0663\u0664", "\u0967", "\u00bd", "\u00b2", "\u2460", "3d", "1999-2000", "\U0001d7d8"),
    *("don't", "don\u2019t", "O'Neill", "'tis", "rock 'n' roll", "new york-based", "a_b", "a b"),
    *("x\u2028y", "\x00", "a\nb", "\n", "a\n##b", "##a\nb", "a@@\n", "\r", "\udcff", "a\udcc3b"),
    *("##ing", "\u2581the", "\u0120the", "the</w>", "the@@", "##", "\u2581", "\u0120", "</w>"),
    *("@@", "##</w>", "###", "@@@@", "\ufb01", "\u212b", "\u00c5", "\u0344", "E\u0301COLE x"),
]
CHARACTERS = st.characters() | st.sampled_from(
    "aA'\n #@\u03a3\u0301\u1161\u00df\u0131\u06633\u2581"
)
TEXTS = st.sampled_from(ODD) | st.text(CHARACTERS, max_size=8)
NAMES = st.lists(st.sampled_from(sorted(FOLDS)), min_size=1, max_size=3).map("+".join)


def test_every_stage_has_a_reference() -> None:
    assert {*REFERENCES, "title"} == set(FOLDS)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_stage_is_its_reference(name: str) -> None:
    stage = stages_of([name])[0]
    every = [chr(c) for c in range(0x3200)] + ODD
    assert stage.fold_all(every) == [REFERENCES[name](text) for text in every]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't", "Don't"),
        ("DON\u2019T", "Don\u2019t"),
        ("o'neill", "O'neill"),
        ("new york-based", "New York-Based"),
        ("NEW YORK", "New York"),
        ("e\u0301cole", "E\u0301cole"),
        ("cafe\u0301s x\u0327y", "Cafe\u0301s X\u0327y"),
        ("\u01c6a", "\u01c5a"),
        ("\u039f\u0394\u039f\u03a3 \u03c3", "\u039f\u03b4\u03bf\u03c2 \u03a3"),
        ("3d 1st", "3D 1St"),
        ("'tis", "'Tis"),
        ("a_b", "A_B"),
        ("x\u2028y\x00z", "X\u2028Y\x00Z"),
        ("", ""),
    ],
)
def test_title(text: str, expected: str) -> None:
    assert FOLDS["title"](text) == expected


@given(text=st.text(st.sampled_from("aBc d'-3\u00e9\u00c9\u0301\u0416\u0436\u2019"), max_size=10))
def test_title_is_its_reference(text: str) -> None:
    assert FOLDS["title"](text) == titled(text)


@given(tokens=st.lists(TEXTS, max_size=6), name=NAMES)
def test_folding_many_is_folding_each(tokens: list[str], name: str) -> None:
    stage = stages_of([name])[0]
    folds = [FOLDS[part] for part in name.split("+")]
    expected = []
    for token in tokens:
        for fold in folds:
            token = fold(token)
        expected.append(token)
    assert stage.fold_all(tokens) == expected
    assert [stage.fold_all([token])[0] for token in tokens] == expected


def test_names_of_stages() -> None:
    def found(token: str) -> str:
        return token

    class Stem:
        def __call__(self, token: str) -> str:
            return token

    match = ["exact", str.lower, "lower", found, lambda t: t, lambda t: t, Stem(), "piece+lower"]
    assert [stage.name for stage in stages_of(match)] == [
        *("exact", "lower (2)", "lower", "found (2)", "<lambda>", "<lambda> (2)", "Stem"),
        "piece+lower",
    ]


@pytest.mark.parametrize(
    "match",
    [
        *("exact", (), ("stem",), ("exact", "exact"), ("lower+",), ("+lower",), ("lower+stem",)),
        *(("lower+upper", "lower+upper"), ("exact", 1), ("Lower",), ("",), (None,), (b"lower",)),
    ],
)
def test_wrong_stages(match: object) -> None:
    with pytest.raises(ValueError, match=r"match must be some of exact, lower, .*, received"):
        stages_of(match)  # type: ignore[arg-type]


def embeddings(*tokens: str) -> ef.Embeddings:
    """Row i holds i + 1."""
    rows = np.arange(1, len(tokens) + 1, dtype=np.float32)
    return ef.Embeddings(list(tokens), np.repeat(rows[:, None], 2, axis=1))


def rows_of(a: ef.AlignedEmbeddings) -> list[float]:
    return [float(row[0]) for i, row in enumerate(a.matrix) if i not in a.vocabulary.special_ids]


def test_callables() -> None:
    e, v = embeddings("color", "gray", "b"), ef.Vocabulary(["colour", "grey", "a"])
    american = {"colour": "color", "grey": "gray"}
    a = ef.align(e, v, match=("exact", lambda t: american.get(t, t), lambda t: "b"))
    assert rows_of(a) == [1, 2, 3]
    assert a.coverage.match == ("exact", "<lambda>", "<lambda> (2)")
    assert a.coverage.found("<lambda> (2)") == 1
    with pytest.raises(
        EmbedFreezeError,
        match=r"a match stage must give str, received bytes from 'encode' for the token 'colour'",
    ):
        ef.align(e, v, match=(str.encode,))  # type: ignore[arg-type]

    def broken(token: str) -> str:
        raise LookupError(token)

    for fold_file in (False, True):
        with pytest.raises(LookupError, match="colour"):
            ef.align(e, v, match=(broken,), fold_file=fold_file)
    with pytest.raises(EmbedFreezeError, match="half of a character"):
        ef.align(e, v, match=(lambda t: "\ud800",))


def test_stages_are_tried_in_order() -> None:
    v = ef.Vocabulary(["\u00c9t\u00e9"])
    e = embeddings("ETE", "ete", "\u00c9T\u00c9", "\u00e9t\u00e9", "Ete")
    for match, row in (
        (("exact", "lower", "upper"), 4),
        (("upper", "lower"), 3),
        (("strip_accents", "lower"), 5),
        (("strip_accents+lower", "lower"), 2),
        (("exact", "upper+strip_accents"), 1),
        (("nfkc",), 0),
    ):
        a = ef.align(e, v, match=match)
        assert rows_of(a) == [row], match


# ---- the file's side ---------------------------------------------------------------------------

Rows = list[tuple[str, int]]  # spelling, number


def kept_rows(tokens: Sequence[str], keep: str) -> Rows:
    """What `read` keeps of the rows of a file, in its order."""
    numbered = list(enumerate(tokens))
    number = {t: i for i, t in (numbered if keep == "last" else numbered[::-1])}
    return [(t, i) for i, t in numbered if number[t] == i]


def reference(rows: Rows, token: str, match: Sequence[str], fold_file: bool) -> int | None:
    """Stage by stage: the row spelled so, else with `fold_file` the earliest that folds alike."""
    if fold_file and (exact := dict(rows).get(token)) is not None:
        return exact
    for name in match:
        fold = FOLDS[name]
        for spelling, number in rows:
            if (fold(spelling) if fold_file else spelling) == fold(token):
                return number
    return None


# Few, so that many fold alike.
SPELLINGS = st.sampled_from(
    [
        *("king", "King", "KING", "kIng", "\u00c9t\u00e9", "\u00e9t\u00e9", "ete", "ETE"),
        *("new york", "New York", "new", "1", "\u0661", "\u1e9e", "ss", "\udcffK"),
    ]
)
STAGES = st.lists(
    st.sampled_from(["exact", "lower", "casefold", "nfkc", "strip_accents", "digits0", "title"]),
    min_size=1,
    max_size=3,
    unique=True,
)
PATHS = st.sampled_from(["text", "gzip", "binary", "hdf5", "store", "memory"])


def written(tokens: list[str], matrix: npt.NDArray[np.float32], kind: str, folder: Path) -> Path:
    encoded = [t.encode("utf-8", "surrogateescape") for t in tokens]
    text = b"%d %d\n" % matrix.shape + glove_bytes(encoded, matrix)
    if kind == "binary":
        return put(folder / "f.bin", word2vec_bytes(encoded, matrix))
    return put(folder / "f.txt", gzip.compress(text, 1) if kind == "gzip" else text)


def loaded(
    path: Path, v: ef.Vocabulary, kind: str, keep: str, match: Sequence[str], fold_file: bool
) -> list[ef.AlignedEmbeddings]:
    options = {"on_duplicate": keep, "unicode_errors": "surrogateescape"}
    if kind in ("hdf5", "store"):
        packed = path.with_suffix(".h5" if kind == "hdf5" else ".safetensors")
        ef.convert(path, packed, **options)
        path = packed
    e = ef.read(path, **options)
    both = [ef.align(e, v, match=match, fold_file=fold_file)]
    if kind != "memory":
        both.append(ef.load(path, v, match=match, fold_file=fold_file, **options))
    return both


@pytest.mark.parametrize("fold_file", [False, True])
@pytest.mark.parametrize("keep", ["first", "last"])
@given(
    tokens=st.lists(SPELLINGS, min_size=5, max_size=14),
    wanted=st.lists(SPELLINGS, min_size=4, max_size=12, unique=True),
    match=STAGES,
    kind=PATHS,
    batch=st.sampled_from([1, 2, 3, 1000]),
)
def test_matching_is_the_reference(
    tokens: list[str],
    wanted: list[str],
    match: list[str],
    keep: str,
    kind: str,
    fold_file: bool,
    batch: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if kind == "binary":
        tokens = [t.replace(" ", "_") for t in tokens]
    matrix = table(len(tokens), 3)
    path = written(tokens, matrix, kind, tmp_path_factory.mktemp("fold"))
    rows, expected = kept_rows(tokens, keep), np.zeros((len(wanted), 3), np.float32)
    numbers = [reference(rows, token, match, fold_file) for token in wanted]
    for i, number in enumerate(numbers):
        if number is not None:
            expected[i] = matrix[number]
    v = ef.Vocabulary(wanted, padding=None, unknown=None)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(sources, "PIECE_ROWS", batch)
        patch.setattr(text_format, "BATCH_BYTES", 8 * 3 * batch)
        patch.setattr(text_format, "SCAN_BYTES", 30 * batch)
        patch.setattr(binary_format, "BATCH_BYTES", 4 * 3 * batch)
        for a in loaded(path, v, kind, keep, match, fold_file):
            assert bits(a.matrix) == bits(expected)
            spelled = a.coverage.found_as
            for i, number in enumerate(numbers):
                assert (a.coverage.stage_of_id[i] >= 0) == (number is not None)
                other = number is not None and tokens[number] != wanted[i]
                assert (spelled is not None and spelled[i] != "") == other
                assert not other or spelled[i] == tokens[number]


def test_which_row_wins() -> None:
    e = embeddings("KING", "King", "king", "Paris", "PARIS", "The")
    for wanted, row in (("king", 3), ("King", 2), ("kING", 1), ("paris", 4), ("PARIS", 5)):
        v = ef.Vocabulary([wanted])
        assert rows_of(ef.align(e, v, fold_file=True)) == [row], wanted
        assert rows_of(ef.align(e, v, match=("lower",), fold_file=True)) == [row], wanted
    both = ef.Vocabulary(["the", "THE"])
    assert rows_of(ef.align(e, both)) == [0, 0]
    assert rows_of(ef.align(e, both, fold_file=True)) == [6, 6]


@pytest.mark.parametrize("piece", [1, 2, 3])
def test_the_earliest_row_wins_in_whatever_pieces(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "PIECE_ROWS", piece)
    e = embeddings("x", "Ete", "KING", "King", "ETE", "kIng", "king", "king's")
    v = ef.Vocabulary(["kING", "\u00e9t\u00e9", "king", "kinG"])
    a = ef.align(e, v, match=("exact", "strip_accents+lower"), fold_file=True)
    assert rows_of(a) == [3, 2, 7, 3]
    assert a.coverage.found_as[2:] == ["KING", "Ete", "", "KING"]


def test_an_earlier_stage_beats_an_earlier_row() -> None:
    e, v = embeddings("CAFE\u0301", "cafe", "Caf\u00e9"), ef.Vocabulary(["caf\u00e9"])
    assert rows_of(ef.align(e, v, match=("strip_accents", "lower"), fold_file=True)) == [2]
    assert rows_of(ef.align(e, v, match=("lower", "strip_accents"), fold_file=True)) == [3]
    a = ef.align(e, v, match=("exact", "nfc+lower"), fold_file=True)
    assert rows_of(a) == [1]
    assert a.coverage.stage_of_id.tolist() == [-2, -2, 1]
    assert a.coverage.found_as[2] == "CAFE\u0301"


@pytest.mark.filterwarnings("ignore:.* rows? repeats? an earlier token")
def test_the_last_of_repeated_rows_may_come_behind_another_spelling(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"king 1 1\nKing 2 2\nking 3 3\nPARIS 4 4\n")
    v = ef.Vocabulary(["KING", "paris"])
    for keep, rows, repeated in (("first", [1, 4], {"king": 1}), ("last", [2, 4], {})):
        a = ef.load(path, v, fold_file=True, on_duplicate=keep)
        assert rows_of(a) == rows_of(ef.align(ef.read(path, on_duplicate=keep), v, fold_file=True))
        assert rows_of(a) == rows
        assert a.coverage.duplicates == repeated
    with pytest.raises(FormatError, match=r"line 3: tokens must differ, received 'king' again"):
        ef.load(path, v, fold_file=True, on_duplicate="error")


def test_folding_the_file_parses_every_row(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"King 1 1\nbad x y\nqueen 2 2\n")
    v = ef.Vocabulary(["king"])
    assert rows_of(ef.load(path, v)) == [0]
    with pytest.raises(FormatError, match="line 2"):
        ef.load(path, v, fold_file=True)
    with pytest.warns(UserWarning, match="1 bad row was skipped, the first at line 2"):
        a = ef.load(path, v, fold_file=True, on_bad_row="skip")
    assert rows_of(a) == [1]


def test_special_tokens_are_not_folded() -> None:
    e = embeddings("[unk]", "[UNK]", "king")
    v = ef.Vocabulary(["King"])
    a = ef.align(e, v, match=("lower",), fold_file=True, special={"[UNK]": "file"})
    assert a.matrix[:, 0].tolist() == [0, 2, 3]
    b = ef.align(embeddings("[unk]", "king"), v, fold_file=True, special={"[UNK]": "file"})
    assert b.matrix[:, 0].tolist() == [0, 0, 2]


def test_a_token_of_the_file_that_is_a_special_one_may_serve_others() -> None:
    v = ef.Vocabulary(["[unk]", "<PAD>"], padding="<pad>")
    a = ef.align(embeddings("[UNK]", "<pad>"), v, match=("exact", "upper", "lower"))
    assert a.matrix[:, 0].tolist() == [0, 0, 1, 2]
    assert a.coverage.special_in_file == ("<pad>", "[UNK]")
    assert a.coverage.found_as[2:] == ["[UNK]", "<pad>"]


def test_tokens_of_a_store_with_line_feeds(tmp_path: Path) -> None:
    tokens = ["a\nB", "\n", "##x\ny", "x\n##y", "\x00", "K\u2028l", "\udcff\nq"]
    ef.write(embeddings(*tokens), tmp_path / "s.safetensors")
    v = ef.Vocabulary(["A\nb", "\n", "x\ny", "##x\n##y", "\x00", "k\u2028L", "\udcff\nQ"])
    a = ef.load(tmp_path / "s.safetensors", v, match=("exact", "piece+lower"), fold_file=True)
    assert rows_of(a) == [1, 2, 3, 4, 5, 6, 7]


def test_bytes_that_are_no_text_match_as_they_are(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"caf\xe9 1 1\nCAF\xe9 2 2\nking 3 3\n")
    v = ef.Vocabulary(["caf\udce9", "Caf\udce9", "king"])
    for fold_file in (False, True):
        a = ef.load(path, v, unicode_errors="surrogateescape", fold_file=fold_file)
        assert rows_of(a) == [1, 1, 3]
        with pytest.raises(FormatError, match="line 1: tokens must be UTF-8"):
            ef.load(path, v, fold_file=fold_file)


def test_pieces_find_their_words() -> None:
    v = ef.Vocabulary(["##ing", "\u2581The", "\u0120the", "the</w>", "the@@", "##", "\u2581", "@@"])
    e = embeddings("ing", "the", "The", "##")
    a = ef.align(e, v, match=("exact", "piece", "piece+lower"))
    assert rows_of(a) == [1, 3, 2, 2, 2, 4, 0, 0]
    lower = ef.align(embeddings("ing", "the"), v, match=("exact", "piece", "piece+lower"))
    assert lower.coverage.stage_of_id.tolist()[2:] == [1, 2, 1, 1, 1, -1, -1, -1]


def test_a_pipe_can_be_folded_but_not_read_twice(tmp_path: Path) -> None:
    data, v = b"KING 1 1\nKing 2 2\n", ef.Vocabulary(["king"])
    with pipe(tmp_path / "one", data) as path:
        assert rows_of(ef.load(path, v, fold_file=True)) == [1]
    with (
        pytest.raises(FileError, match="a pipe can be read once: write it to a file first"),
        pipe(tmp_path / "two", data) as path,
        open(path, "rb"),
    ):
        ef.load(path, v, fold_file=True, on_duplicate="last")


def test_many_rows_in_many_pieces() -> None:
    n = 3 * sources.PIECE_ROWS // 2
    tokens = [f"T{i % (n // 3)}" + "x" * (i // (n // 3)) for i in range(n)]
    matrix = np.arange(n, dtype=np.float32)[:, None]
    wanted = [f"t{i}xx" for i in range(0, n // 3, 7)]
    a = ef.align(ef.Embeddings(tokens, matrix), ef.Vocabulary(wanted), fold_file=True)
    assert Tokens.from_strings(wanted) == Tokens.from_strings(a.tokens[2:])
    rows = 2 * (n // 3) + np.arange(0, n // 3, 7)
    assert bits(a.matrix[2:, 0]) == bits(rows.astype(np.float32))
