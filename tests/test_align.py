"""One pass over a file, or the whole table first: the same rows, those of a ten-line reference."""

import gzip
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import bits, glove_bytes, put, table, word2vec_bytes

import embedfreeze as ef
from embedfreeze.aligning import filling, unknown
from embedfreeze.errors import EmbedFreezeError, FormatError

STAGES = {"exact": str, "lower": str.lower}


def reference(
    tokens: Sequence[str],
    matrix: npt.NDArray[np.float32],
    v: ef.Vocabulary,
    match: Sequence[str],
    keep: str,
) -> tuple[npt.NDArray[np.float32], list[int]]:
    """Rows and stages as a dict would find them."""
    order = range(len(tokens)) if keep == "last" else reversed(range(len(tokens)))
    rows = {tokens[i]: i for i in order}
    result = np.zeros((len(v), matrix.shape[1]), np.float32)
    stages = [-1] * len(v)
    for i, token in enumerate(v.tokens):
        if i in v.special_ids:
            stages[i] = -2
            continue
        for stage, name in reversed(list(enumerate(match))):
            if (row := rows.get(STAGES[name](token))) is not None:
                result[i], stages[i] = matrix[row], stage
    return result, stages


WORDS = st.sampled_from(
    [
        *("king", "King", "KING", "kIng", "\u00c9t\u00e9", "\u00e9t\u00e9", "\u0130", "i\u0307"),
        *("New York", "new york", "New", "york", "new", "NEW", "new jersey", "New ", " new"),
        *("", "[UNK]", "[unk]", "<pad>", "a\u00a0b", "1", "2 3", "\u1e9e", "\u00df"),
    ]
)
MATCHES = st.sampled_from([("exact",), ("lower",), ("exact", "lower"), ("lower", "exact")])
VOCABULARIES = st.tuples(
    st.lists(WORDS, max_size=12, unique=True),
    st.sampled_from(["", None, "<pad>", "new"]),
    st.sampled_from(["[UNK]", None, "king", "[unk]"]),
).map(
    lambda parts: ef.Vocabulary(
        [t for t in parts[0] if t not in parts[1:]], padding=parts[1], unknown=parts[2]
    )
)


@given(
    tokens=st.lists(WORDS, min_size=1, max_size=20),
    v=VOCABULARIES,
    match=MATCHES,
    keep=st.sampled_from(["first", "last"]),
    kind=st.sampled_from(["text", "gzip", "binary", "store", "hdf5"]),
)
def test_load_is_align_of_read_is_the_reference(
    tokens: list[str],
    v: ef.Vocabulary,
    match: tuple[str, ...],
    keep: str,
    kind: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if kind == "binary":
        tokens = [t.replace(" ", "_") for t in tokens]
    matrix = table(len(tokens), 3)
    encoded = [t.encode() for t in tokens]
    path = tmp_path_factory.mktemp("align") / "f"
    text = b"%d 3\n" % len(tokens) + glove_bytes(encoded, matrix)
    if kind == "binary":
        put(path, word2vec_bytes(encoded, matrix))
    else:
        put(path, gzip.compress(text) if kind == "gzip" else text)
    expected, stages = reference(tokens, matrix, v, match, keep)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind in ("store", "hdf5"):
            packed = path.with_suffix(".h5" if kind == "hdf5" else ".safetensors")
            ef.convert(path, packed, on_duplicate=keep)
            path = packed
        one = ef.load(path, v, match=match, on_duplicate=keep)
        two = ef.align(ef.read(path, on_duplicate=keep), v, match=match)
    for a in (one, two):
        assert bits(a.matrix) == bits(expected)
        assert a.coverage is not None
        assert a.coverage.stage_of_id.tolist() == stages
        special = [v.tokens[i] for i in v.special_ids]
        assert list(a.coverage.special_in_file) == [t for t in special if t in tokens]
        assert a.sealed.guarantee == "sealed"
        assert not a.matrix.flags.writeable
    assert one.digest == two.digest


def small(tmp_path: Path) -> Path:
    rows = b"the 1 1\nKing 2 2\nking 3 3\nqueen 4 4\nNew York 5 5\n[UNK] 6 6\n 7 7\nnew york 8 8\n"
    return put(tmp_path / "f.txt", rows)


def first_values(a: ef.AlignedEmbeddings) -> dict[str, float]:
    return dict(zip(a.tokens, a.matrix[:, 0].tolist(), strict=True))


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (("exact", "lower"), {"King": 2, "KING": 3, "Queen": 4, "New York": 5, "NEW YORK": 8}),
        (("exact",), {"King": 2, "KING": 0, "Queen": 0, "New York": 5, "NEW YORK": 0}),
        (("lower",), {"King": 3, "KING": 3, "Queen": 4, "New York": 8, "NEW YORK": 8}),
        (("lower", "exact"), {"King": 3, "KING": 3, "Queen": 4, "New York": 8, "NEW YORK": 8}),
    ],
)
def test_match_orders(match: tuple[str, ...], expected: dict[str, int], tmp_path: Path) -> None:
    v = ef.Vocabulary(list(expected))
    for a in (
        ef.load(small(tmp_path), v, match=match),
        ef.align(ef.read(small(tmp_path)), v, match=match),
    ):
        assert first_values(a) == {"": 0, "[UNK]": 0, **expected}
        assert a.coverage.special_in_file == ("", "[UNK]")  # and their rows are not taken


def test_wrong_calls(tmp_path: Path) -> None:
    path, v = small(tmp_path), ef.Vocabulary(["king"])
    with pytest.raises(
        TypeError, match=r"load needs a Vocabulary, received NoneType.*embedfreeze\.read"
    ):
        ef.load(path)
    with pytest.raises(TypeError, match="load needs a Vocabulary, received list"):
        ef.load(path, ["king"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="align needs a Vocabulary"):
        ef.align(ef.read(path), None)  # type: ignore[arg-type]
    for match in ((), ("exact", "stem"), "exact"):
        with pytest.raises(ValueError, match="match must be some of exact, lower"):
            ef.load(path, v, match=match)
    with pytest.raises(
        ValueError,
        match="oov must be one of zeros, mean, normal, hash, error, nearest, subword, or a "
        "callable, received 'random'",
    ):
        ef.load(path, v, oov="random")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ef.load(path, v, shuffle=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, v: ef.load(p, v, normalise="l2"), "load has no option 'normalise'; its own"),
        (lambda p, v: ef.load(p, v, wanted=None), "load has no option 'wanted'"),
        (lambda p, _: ef.read(p, sep=","), "read has no option 'sep'"),
        (lambda p, v: ef.load(bytes(p), v), "received bytes"),
        (lambda p, v: ef.load(p, v, special=["[UNK]"]), "special must map special tokens to rows"),
        (lambda *_: ef.Vocabulary({"a": 1}), r"received a map: use Vocabulary\.from_ids"),
        (lambda *_: ef.Vocabulary(["a"], special="[CLS]"), "received one str: put it in a list"),
    ],
)
def test_wrong_types_name_the_remedy(call: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=message):
        call(small(tmp_path), ef.Vocabulary(["king"]))


@pytest.mark.parametrize("match", ["lower", str.lower, None])
def test_stages_come_in_a_list(match: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="put it in a list"):
        ef.load(small(tmp_path), ef.Vocabulary(["king"]), match=match)


def test_repeated_tokens_are_errors_when_asked(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"a 1 1\nb 2 2\na 3 3\nb 4 4\n")
    with pytest.raises(
        FormatError, match=r"f\.txt: line 4: tokens must differ, received 'b' again"
    ):
        ef.load(path, ef.Vocabulary(["b"]), on_duplicate="error")
    a = ef.load(path, ef.Vocabulary(["b"]))
    assert a.coverage.repeated == 1
    assert first_values(a)["b"] == 2


def test_rows_that_are_not_wanted_are_not_checked(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"a 1 1\nb x y\nbad\xff 2\nc 4 4\n")
    a = ef.load(path, ef.Vocabulary(["a", "c"]))
    assert first_values(a) == {"": 0, "[UNK]": 0, "a": 1, "c": 4}
    with pytest.raises(FormatError, match="line 2, column 3"):
        ef.load(path, ef.Vocabulary(["a", "b"]))


# ---- unknown tokens --------------------------------------------------------------------------


def test_zeros_and_mean(tmp_path: Path) -> None:
    v = ef.Vocabulary(["king", "zzz", "queen", "KING"])
    for load in (
        lambda **o: ef.load(small(tmp_path), v, **o),
        lambda **o: ef.align(ef.read(small(tmp_path)), v, **o),
    ):
        assert first_values(load()) == {
            "": 0,
            "[UNK]": 0,
            "king": 3,
            "zzz": 0,
            "queen": 4,
            "KING": 3,
        }
        mean = float(np.float32(10 / 3))
        assert first_values(load(oov="mean")) == {
            **{"": 0, "[UNK]": mean, "king": 3, "zzz": mean, "queen": 4, "KING": 3}
        }
    nothing = ef.load(small(tmp_path), ef.Vocabulary(["x"]), oov="mean")
    assert not nothing.matrix.any()
    bare = ef.load(small(tmp_path), ef.Vocabulary([], padding=None), oov="mean")
    assert bare.matrix.tolist() == [[0, 0]]


def test_mean_is_taken_in_double_precision(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((1000, 3)).astype(np.float32)
    tokens = [f"t{i}" for i in range(1000)]
    a = ef.align(ef.Embeddings(tokens, matrix), ef.Vocabulary(tokens), oov="mean")
    exact = np.array([sum(map(float, column)) / 1000 for column in matrix.T])
    assert np.abs(a.matrix[1] - exact).max() <= np.spacing(np.float32(exact.max()))


def splitmix(token: bytes, seed: int, column: int) -> float:
    """The description of the hash policy, in Python's integers."""
    top = 2**64
    golden = 0x9E3779B97F4A7C15
    h = 0x243F6A8885A308D3
    for word in (
        len(token),
        *(
            int.from_bytes(token[i : i + 8].ljust(8, b"\0"), "little")
            for i in range(0, len(token), 8)
        ),
    ):
        h = (h ^ word) * golden % top
        h ^= h >> 32
    h = h * 0xBF58476D1CE4E5B9 % top
    h ^= h >> 29
    x = (h + seed * golden + (column + 1) * golden) % top
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % top
    x = (x ^ x >> 27) * 0x94D049BB133111EB % top
    x ^= x >> 31
    return ((x >> 40) - 2**23) / 2**24


@pytest.mark.parametrize("seed", [0, 1, 12345, -1, 2**70])
def test_hash_is_what_it_says(seed: int, tmp_path: Path) -> None:
    v = ef.Vocabulary(["king", "zzz", "caf\u00e9", "a longer token than eight bytes", "12345678"])
    a = ef.load(small(tmp_path), v, oov="hash", seed=seed)
    assert first_values(a)["king"] == 3
    assert not a.matrix[0].any()  # padding
    for i, token in enumerate(v.tokens):
        if i != 0 and token != "king":
            expected = [splitmix(token.encode(), seed, column) for column in range(2)]
            assert a.matrix[i].tolist() == expected
    assert (np.abs(a.matrix[3:]) <= 0.5).all()


GOLDEN_HASHES = [[0x3D7FA260, 0xBEB5D248], [0xBE558E0C, 0xBE651BC0]]


def test_golden_hashes(tmp_path: Path) -> None:
    a = ef.load(small(tmp_path), ef.Vocabulary(["zzz"]), oov="hash", seed=7)
    assert a.matrix[1:].view(np.uint32).tolist() == GOLDEN_HASHES


def test_hash_does_not_depend_on_order_or_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [f"unknown{i}" for i in range(300)]
    one = ef.load(small(tmp_path), ef.Vocabulary(tokens), oov="hash")
    monkeypatch.setattr(unknown, "CHUNK_ROWS", 7)
    monkeypatch.setattr(filling, "COPY_BYTES", 1)
    two = ef.load(small(tmp_path), ef.Vocabulary(tokens[::-1]), oov="hash", threads=5)
    assert bits(one.matrix[2:]) == bits(two.matrix[:1:-1])
    assert len(np.unique(one.matrix[:, 0])) > 290
    half = ef.load(small(tmp_path), ef.Vocabulary(tokens), oov="hash", dtype="float16")
    assert bits(half.matrix) == bits(one.matrix.astype(np.float16))


def test_result(tmp_path: Path) -> None:
    a = ef.load(small(tmp_path), ef.Vocabulary(["king", "zzz"]))
    assert (len(a), a.dim, a.tokens, a.source) == (
        4,
        2,
        a.vocabulary.tokens,
        str(tmp_path / "f.txt"),
    )
    assert repr(a) == "AlignedEmbeddings(4 x 2 float32, sealed, 1 of 2 types found)"
    a.sealed.verify(deep=True)
    with pytest.raises(ValueError, match="read-only"):
        a.matrix[0] = 1
    with pytest.raises(EmbedFreezeError, match="each id needs a row, received 3 ids and 4 rows"):
        ef.AlignedEmbeddings(a.sealed, ef.Vocabulary(["x"]))


@pytest.mark.parametrize("copy", [1, 17, 10_000])
def test_many_ids_of_one_row(copy: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "COPY_BYTES", copy)
    spellings = ["king", "King", "KING", "kING", "kInG", "KiNg"]
    matrix = table(1, 3)
    path = put(tmp_path / "f.txt", glove_bytes([b"king"], matrix) + b"other 1 2 3\n")
    a = ef.load(path, ef.Vocabulary(spellings))
    assert bits(a.matrix[2:]) == bits(np.repeat(matrix, 6, axis=0))
    assert a.coverage.found("exact") == 1
    assert a.coverage.found("lower") == 5


def test_a_vocabulary_of_which_nothing_is_found(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"king 1 2\nqueen 3 4\n[UNK] 5 6\n")
    v = ef.Vocabulary(["\u043a\u043e\u0440\u043e\u043b\u044c", "x"])
    told = r"no token of the vocabulary has a row in .*f\.txt: check .*match=\('exact', 'lower'\)"
    for call in (
        lambda: ef.load(path, v),
        lambda: ef.align(ef.read(path), v, special={"[UNK]": "file"}),
    ):
        with pytest.warns(UserWarning, match=told) as caught:
            call()
        assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ef.load(path, ef.Vocabulary(["king", "x"]))
        ef.load(path, ef.Vocabulary([]))
        ef.load(path, ef.Vocabulary(["kings"]), oov="nearest")  # all of them found one
