"""What becomes of rows that no file gives: the policies, and the rows of special tokens."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import bits, put

import embedfreeze as ef
from embedfreeze.aligning import unknown
from embedfreeze.errors import EmbedFreezeError, UnknownTokenError, VocabularyError

Matrix = npt.NDArray[Any]
FOUND = [f"t{i}" for i in range(40)]


def rows(n: int, dim: int, dtype: str = "float32") -> Matrix:
    values = np.random.default_rng(n).standard_normal((n, dim)) * 3 + 1
    return values.astype(dtype)


def normal_rows(found: Matrix, n: int, seed: int) -> Matrix:
    """What the policy says, over all of it at once."""
    wide = found.astype(np.float64)
    finite = wide[np.isfinite(wide).all(axis=1)]
    drawn = np.random.default_rng(seed).standard_normal((n, found.shape[1]))
    return (drawn * finite.std(axis=0) + finite.mean(axis=0)).astype(found.dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("seed", [0, 7, 2**63])
def test_normal_is_numpy(dtype: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown, "CHUNK_ROWS", 3)
    matrix = rows(40, 5, dtype)
    order = [*FOUND[:20], *(f"new{i}" for i in range(10)), *FOUND[:19:-1], "last"]
    v = ef.Vocabulary(order, special=["[CLS]"])
    a = ef.align(ef.Embeddings(FOUND, matrix), v, oov="normal", seed=seed)
    missing = [i for i in range(1, len(v)) if v.tokens[i] not in FOUND]
    assert [v.tokens[i] for i in missing[:2]] == ["[UNK]", "[CLS]"]
    found = a.matrix[[i for i in range(len(v)) if v.tokens[i] in FOUND]]
    assert bits(a.matrix[missing]) == bits(normal_rows(found, len(missing), seed))
    assert not a.matrix[0].any()
    again = ef.align(ef.Embeddings(FOUND, matrix), v, oov="normal", seed=seed)
    assert again.digest == a.digest
    other = ef.align(ef.Embeddings(FOUND, matrix), v, oov="normal", seed=seed + 1)
    assert other.digest != a.digest


@pytest.mark.parametrize("seed", [-1, 2**64 - 1, np.int64(-1), np.uint8(255)])
def test_any_whole_number_is_a_seed(seed: Any, tmp_path: Path) -> None:
    e, v = ef.Embeddings(FOUND, rows(40, 2)), ef.Vocabulary(["t1", "x"])
    for oov in ("normal", "hash"):
        a = ef.align(e, v, oov=oov, seed=seed)
        b = ef.align(e, v, oov=oov, seed=int(seed) % 2**64)
        assert a.digest == b.digest
        a.save(tmp_path / f"{oov}.safetensors")
        kept = ef.read(tmp_path / f"{oov}.safetensors").provenance
        assert (kept["oov"], kept["seed"]) == (oov, int(seed))
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError):
            ef.align(e, v, oov="hash", seed=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("oov", ["mean", "normal"])
def test_rows_that_are_not_finite_poison_nothing(oov: str) -> None:
    matrix = rows(6, 3)
    matrix[1, 0], matrix[3, 2], matrix[4] = np.nan, np.inf, -np.inf
    e = ef.Embeddings(FOUND[:6], matrix)
    a = ef.align(e, ef.Vocabulary([*FOUND[:6], "x", "y"]), oov=oov, seed=1)
    clean = matrix[[0, 2, 5]]
    if oov == "normal":
        expected = normal_rows(clean, 3, 1)
    else:
        expected = np.repeat(clean.astype(np.float64).mean(axis=0)[None], 3, axis=0)
    assert bits(a.matrix[[1, 8, 9]]) == bits(expected.astype(np.float32))
    assert bits(a.matrix[2:8]) == bits(matrix)


@pytest.mark.parametrize("oov", ["zeros", "mean", "normal", "nearest"])
def test_no_row_at_all_is_found(oov: Any) -> None:
    for matrix in (rows(3, 2), np.full((3, 2), np.nan, np.float32)):
        e = ef.Embeddings(["one", "two", "three"], matrix)
        a = ef.align(e, ef.Vocabulary(["xxxxx"]), oov=oov)
        assert a.matrix.tolist() == [[0, 0]] * 3
        assert a.coverage.missing() == [("xxxxx", None)]
    nan = ef.Embeddings(["one"], np.full((1, 2), np.nan, np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ef.align(nan, ef.Vocabulary(["one", "x"]), oov="mean").matrix[3].tolist() == [0, 0]


def test_a_mean_counts_each_id() -> None:
    e = ef.Embeddings(["king", "queen"], np.array([[3], [9]], np.float32))
    a = ef.align(e, ef.Vocabulary(["king", "King", "queen", "x"]), oov="mean")
    assert a.matrix[:, 0].tolist() == [0, 5, 3, 3, 9, 5]


def test_error_names_what_is_missing(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"king 1 1\n")
    v = ef.Vocabulary(["king", *(f"x{i}" for i in range(6))], special=["[CLS]"])
    with pytest.raises(UnknownTokenError) as caught:
        ef.load(path, v, oov="error")
    assert str(caught.value) == (
        f"{path}: each token must have a row, received 6 without: 'x0', 'x1', 'x2', 'x3', 'x4', "
        "...; take them out of the vocabulary, or choose another oov= (--oov)"
    )
    assert isinstance(caught.value, KeyError)
    a = ef.load(path, ef.Vocabulary(["king", "King"]), oov="error")
    assert a.matrix[:, 0].tolist() == [0, 0, 1, 1]


# ---- callables ---------------------------------------------------------------------------------

MADE = np.array([[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "made",
    [
        MADE.astype(np.float32),
        MADE.astype(np.float64),
        MADE.astype(np.uint8),
        MADE.astype(">f4"),
        np.asfortranarray(MADE),
        np.repeat(MADE, 2, axis=1)[:, ::2],
        MADE.tolist(),
        [np.array([1, 2]), (3, 4)],
    ],
)
def test_a_callable_makes_rows(made: Any) -> None:
    asked = []

    def make(tokens: list[str]) -> Any:
        asked.append(tokens)
        return made

    e, v = ef.Embeddings(["a"], rows(1, 2)), ef.Vocabulary(["y", "a", "x"], special=["[CLS]"])
    a = ef.align(e, v, oov=make)
    assert asked == [["y", "x"]]
    assert a.matrix[[3, 5]].tolist() == MADE.tolist()
    assert a.matrix[:3].tolist() == [[0, 0]] * 3
    assert a.matrix.dtype == np.float32
    assert a.provenance["oov"] == "make"
    ef.align(e, ef.Vocabulary(["a"]), oov=make)
    assert len(asked) == 1  # nothing is missing, nothing is asked


@pytest.mark.parametrize(
    ("made", "received"),
    [
        (np.zeros((2, 3)), r"float64 \[2, 3\]"),
        (np.zeros((1, 2)), r"float64 \[1, 2\]"),
        (np.zeros(4), r"float64 \[4\]"),
        (np.zeros((2, 2), bool), r"bool \[2, 2\]"),
        (np.zeros((2, 2), complex), r"complex128 \[2, 2\]"),
        ([["a", "b"]] * 2, r"<U1 \[2, 2\]"),
        (None, r"object \[\]"),
    ],
)
def test_a_callable_must_make_a_row_for_each(made: Any, received: str) -> None:
    e, v = ef.Embeddings(["a"], rows(1, 2)), ef.Vocabulary(["x", "y"])
    with pytest.raises(
        EmbedFreezeError,
        match=rf"oov= must give numbers \[2, 2\], a row for each token, received {received}",
    ):
        ef.align(e, v, oov=lambda _: made)


def test_a_callable_may_give_up() -> None:
    def give_up(tokens: list[str]) -> Matrix:
        raise LookupError(tokens[0])

    with pytest.raises(LookupError, match="x"):
        ef.align(ef.Embeddings(["a"], rows(1, 2)), ef.Vocabulary(["x"]), oov=give_up)
    a = ef.align(
        ef.Embeddings(["a"], rows(1, 2, "float16")),
        ef.Vocabulary(["x"]),
        oov=lambda tokens: np.full((len(tokens), 2), 1 / 3),
    )
    assert bits(a.matrix[2]) == bits(np.full(2, 1 / 3).astype(np.float16))


# ---- special tokens ----------------------------------------------------------------------------


def special_vocabulary() -> ef.Vocabulary:
    """Special tokens at ids 2, 4, 0, 5; padding is at 4."""
    return ef.Vocabulary(
        ["[SEP]", "king", "[UNK]", "zzz", "<pad>", "[CLS]", "queen"],
        padding="<pad>",
        unknown="[UNK]",
        special=["[SEP]", "[CLS]"],
        special_first=False,
    )


E = ef.Embeddings(
    ["queen", "[SEP]", "<pad>", "king", "[cls]"],
    np.array([[4, 8], [5, 5], [6, 6], [2, 2], [7, 7]], np.float32),
)


def test_special_rows_at_any_ids() -> None:
    v = special_vocabulary()
    given: dict[str, Any] = {"[UNK]": "mean", "[SEP]": "file", "[CLS]": [0.5, -1]}
    a = ef.align(E, v, special=given)
    assert a.matrix.tolist() == [[5, 5], [2, 2], [3, 5], [0, 0], [0, 0], [0.5, -1], [4, 8]]
    assert a.coverage.special_in_file == ("<pad>",)
    assert a.coverage.stage_of_id.tolist() == [-2, 0, -2, -1, -2, -2, 0]
    assert a.provenance["special"] == {"[UNK]": "mean", "[SEP]": "file", "[CLS]": "vector"}
    plain = ef.align(E, v)
    assert plain.matrix.tolist() == [[0, 0], [2, 2], *[[0, 0]] * 4, [4, 8]]
    assert plain.coverage.special_in_file == ("<pad>", "[SEP]")
    message = r"embeddings: no row for the special tokens '\[CLS\]': theirs are as oov= says"
    with pytest.warns(UserWarning, match=message) as caught:
        absent = ef.align(E, v, special={"[CLS]": "file"}, oov="mean")
    assert [warning.filename for warning in caught] == [__file__]
    assert absent.matrix[[0, 2, 3, 4, 5]].tolist() == [*[[3, 5]] * 3, [0, 0], [3, 5]]


@pytest.mark.parametrize("row", ["zeros", "mean", "normal", "hash"])
@pytest.mark.parametrize("oov", ["zeros", "mean", "normal", "hash", "nearest"])
def test_each_policy_for_one_special_token(row: Any, oov: Any) -> None:
    v = special_vocabulary()
    a = ef.align(E, v, special={"[CLS]": row}, oov=oov, seed=3)
    same = ef.align(E, v, oov=row, seed=3)
    if row != "normal":
        assert bits(a.matrix[5]) == bits(same.matrix[5])
    elif oov != "normal":  # it is the only draw
        assert bits(a.matrix[5]) == bits(normal_rows(E.matrix[[0, 3]], 1, 3))
    rest = ef.align(E, v, oov=oov, seed=3)
    if "normal" not in (row, oov):
        assert bits(a.matrix[[0, 1, 2, 3, 4, 6]]) == bits(rest.matrix[[0, 1, 2, 3, 4, 6]])
    assert not a.matrix[4].any()


@given(
    oov=st.sampled_from(["zeros", "mean", "normal", "hash", "nearest"]),
    center=st.booleans(),
    normalize=st.sampled_from([None, "l2"]),
    combine=st.sampled_from(["first", "concat"]),
    twice=st.booleans(),
)
def test_the_padding_row_is_zeros(
    oov: Any, center: bool, normalize: Any, combine: Any, twice: bool
) -> None:
    v = special_vocabulary()
    a = ef.align(
        [E, E] if twice else [E],
        v,
        oov=oov,
        combine=combine,
        center=center,
        normalize=normalize,
        special={"[UNK]": "mean", "[SEP]": "file"},
    )
    assert a.dim == (4 if combine == "concat" and twice else 2)
    assert not a.matrix[4].any()


def test_special_rows_that_are_refused() -> None:
    v = special_vocabulary()
    for token, row, told in (
        ("<pad>", [1, 1], "the padding row is zeros, received another for '<pad>': leave it out"),
        ("<pad>", "zeros", "the padding row is zeros"),
        ("king", "mean", r"special= gives rows to special tokens, received 'king'.*'\[SEP\]'"),
        ("[sep]", "mean", r"received '\[sep\]'"),
    ):
        with pytest.raises(VocabularyError, match=told):
            ef.align(E, v, special={token: row})
    with pytest.raises(VocabularyError, match="whose special tokens are none"):
        ef.align(E, ef.Vocabulary(["a"], padding=None, unknown=None), special={"a": "mean"})
    for name in ("error", "nearest", "callable", "", "File"):
        with pytest.raises(
            ValueError,
            match=r"must be one of zeros, mean, normal, hash, file, or a vector, received .* for",
        ):
            ef.align(E, v, special={"[UNK]": name})
    for wrong in ([1], [1, 2, 3], [[1, 2]], 5):
        with pytest.raises(EmbedFreezeError, match=r"must be a vector \[2\], received \["):
            ef.align(E, v, special={"[UNK]": wrong})


def test_a_store_of_this_very_vocabulary_takes_special_rows_too(tmp_path: Path) -> None:
    v = special_vocabulary()
    path = tmp_path / "s.safetensors"
    ef.align(E, v, oov="hash").save(path)
    own = ef.load(path, v)
    assert own.sealed.guarantee == "watched"
    a = ef.load(path, v, special={"[UNK]": [9, 9], "[SEP]": "file"})
    assert a.sealed.guarantee == "sealed"
    assert a.matrix[2].tolist() == [9, 9]
    ordinary = [1, 3, 6]
    assert bits(a.matrix[ordinary]) == bits(own.matrix[ordinary])
    assert bits(a.matrix[0]) == bits(own.matrix[0])


def test_policies_in_several_sources() -> None:
    other = ef.Embeddings(["[CLS]", "zzz", "[SEP]"], rows(3, 2))
    v = special_vocabulary()
    a = ef.align([E, other], v, special={"[CLS]": "file", "[SEP]": "file"}, oov="error")
    assert bits(a.matrix[[5, 3]]) == bits(other.matrix[:2])
    assert a.matrix[0].tolist() == [5, 5]
    assert a.coverage.special_in_file == ("<pad>",)


def test_what_is_recorded_is_json() -> None:
    class Maker:
        def __call__(self, tokens: list[str]) -> Matrix:
            return np.zeros((len(tokens), 2))

    a = ef.align(E, special_vocabulary(), oov=Maker(), special={"[UNK]": np.ones(2)}, seed=5)
    assert json.loads(json.dumps(a.provenance)) == a.provenance
    assert (a.provenance["oov"], a.provenance["seed"]) == ("Maker", 5)
