"""Transforms of the rows that were found: against plain NumPy, recorded, and off by default."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from samples import bits, glove_bytes, put, table

import embedfreeze as ef
from embedfreeze.aligning import gathering, moments
from embedfreeze.aligning.transforms import Transforms
from embedfreeze.errors import VocabularyError

Matrix = npt.NDArray[Any]
N, DIM = 60, 7
TOKENS = [f"t{i}" for i in range(N)]


def rows(dtype: str = "float32") -> Matrix:
    mixed = np.random.default_rng(5).standard_normal((N, DIM)) @ np.diag([5, 3, 2, 1, 1, 0.5, 0.1])
    return (mixed + np.arange(DIM)).astype(dtype)


E = ef.Embeddings(TOKENS, rows())
# A missing token, a collision and a special token, none of which may disturb what is learnt.
V = ef.Vocabulary([*TOKENS[:40], "zzz", "T7"])
IDS = np.array([*range(2, 42), 43])
WIDE = np.concatenate([rows()[:40], rows()[7:8]]).astype(np.float64)


def found_rows(a: ef.AlignedEmbeddings) -> Matrix:
    return a.matrix[IDS]


def is_close(a: Matrix, b: Matrix) -> bool:
    """For principal components alone, which another algorithm finds by other operations."""
    return np.allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.* values that are not finite")
def test_off_by_default_the_bytes_of_the_file_load(tmp_path: Path) -> None:
    matrix = table(20, 5)
    tokens = [b"t%d" % i for i in range(20)]
    path = put(tmp_path / "f.txt", glove_bytes(tokens, matrix))
    v = ef.Vocabulary([t.decode() for t in tokens])
    for options in ({}, {"dim": None, "normalize": None, "all_but_the_top": 0, "center": False}):
        a = ef.load(path, v, **options)
        assert bits(a.matrix[2:]) == bits(matrix)
        assert (a.provenance["transforms"], a.provenance["steps"]) == ({}, [])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_first_values_are_a_slice(dtype: str) -> None:
    for k in (1, 3, DIM):
        a = ef.align(ef.Embeddings(TOKENS, rows(dtype)), V, dim=k)
        assert bits(found_rows(a)) == bits(rows(dtype)[[*range(40), 7], :k])
        assert a.matrix.shape == (len(V), k)
        assert not a.matrix[[0, 1, 42]].any()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_l2_is_division_in_double_precision(dtype: str) -> None:
    wide = rows(dtype)[[*range(40), 7]].astype(np.float64)
    a = ef.align(ef.Embeddings(TOKENS, rows(dtype)), V, normalize="l2")
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    assert bits(found_rows(a)) == bits((wide / lengths).astype(dtype))


def test_l2_of_odd_rows() -> None:
    big = float(np.finfo(np.float32).max)
    odd = [[0, 0], [-0.0, 0], [1e-45, 0], [big, big], [np.nan, 1], [np.inf, 2], [3, 4]]
    matrix = np.array(odd, np.float32)
    tokens = [f"t{i}" for i in range(len(odd))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a = ef.align(ef.Embeddings(tokens, matrix), ef.Vocabulary(tokens), normalize="l2")
    half = np.float32(np.sqrt(0.5))
    unit = np.array([[1, 0], [half, half], [0.6, 0.8]], np.float32)
    assert bits(a.matrix[[2, 3, 6, 7]]) == bits(matrix[[0, 1, 4, 5]])
    assert bits(a.matrix[[4, 5, 8]]) == bits(unit)


def test_center_subtracts_the_mean_of_what_was_found() -> None:
    mean = WIDE.mean(axis=0)
    a = ef.align(E, V, center=True, oov="mean")
    assert bits(found_rows(a)) == bits((WIDE - mean).astype(np.float32))
    assert not a.matrix[0].any()
    after = found_rows(a).astype(np.float64)[[*range(40), 40]]
    assert bits(a.matrix[42]) == bits(after.mean(axis=0).astype(np.float32))


def test_special_rows_change_and_teach_nothing() -> None:
    v = ef.Vocabulary([*V.tokens[2:42], "T7"], unknown="t50")
    a = ef.align(E, v, center=True, special={"t50": "file"})
    mean = WIDE.mean(axis=0)
    assert bits(a.matrix[2:]) == bits((WIDE - mean).astype(np.float32))
    assert bits(a.matrix[1]) == bits((rows()[50].astype(np.float64) - mean).astype(np.float32))


def test_rows_that_are_not_finite_are_not_learnt_from() -> None:
    matrix = rows()
    matrix[3, 0], matrix[5, 1] = np.nan, -np.inf
    e, v = ef.Embeddings(TOKENS, matrix), ef.Vocabulary(TOKENS)
    clean = np.delete(matrix, [3, 5], axis=0)
    kept = [t for t in TOKENS if t not in ("t3", "t5")]
    for options in ({"center": True}, {"all_but_the_top": 2}, {"dim": 3, "reduce": "pca"}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            a = ef.align(e, v, **options)
        b = ef.align(ef.Embeddings(kept, clean), ef.Vocabulary(kept), **options)
        others = np.delete(a.matrix[2:], [3, 5], axis=0)
        assert bits(others) == bits(b.matrix[2:])
        assert not np.isfinite(a.matrix[[5, 7]]).all(axis=1).any()


def test_pca_is_a_singular_value_decomposition() -> None:
    """Another algorithm, so equal up to rounding; the signs follow our rule."""
    a = ef.align(E, V, dim=3, reduce="pca")
    centred = WIDE - WIDE.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:3]
    largest = np.abs(axes).argmax(axis=1)
    axes *= np.sign(axes[np.arange(3), largest])[:, None]
    assert is_close(found_rows(a), centred @ axes.T)
    spread = found_rows(a).astype(np.float64).std(axis=0)
    assert (np.diff(spread) < 0).all()


def test_all_but_the_top_is_a_projection() -> None:
    """By singular vectors instead of the covariance: equal up to rounding."""
    centred = WIDE - WIDE.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    for k in (1, 2, DIM - 1):
        expected = centred - centred @ axes[:k].T @ axes[:k]
        a = ef.align(E, V, all_but_the_top=k)
        assert is_close(found_rows(a), expected)
        b = ef.align(E, V, all_but_the_top=k, center=True)
        assert b.digest == a.digest  # the mean is subtracted once
        rank = np.linalg.matrix_rank(found_rows(a).astype(np.float64), tol=1e-3)
        assert rank == DIM - k


def test_the_order_of_what_is_done() -> None:
    """Components by another algorithm: equal up to rounding, except the plain steps."""
    mean = WIDE.mean(axis=0)
    cut = (WIDE - mean)[:, :4]
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    a = ef.align(E, V, normalize="l2", center=True, dim=4)
    assert bits(found_rows(a)) == bits((cut / lengths).astype(np.float32))
    assert a.provenance["steps"] == ["center", "dim=4 (first)", "normalize=l2"]

    _, _, axes = np.linalg.svd(WIDE - mean, full_matrices=False)
    b = ef.align(E, V, all_but_the_top=1, dim=2, reduce="pca", normalize="l2", center=True)
    expected = (WIDE - mean) @ axes[1:3].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert is_close(np.abs(found_rows(b)), np.abs(expected))
    assert b.provenance["steps"] == ["all_but_the_top=1", "dim=2 (pca)", "normalize=l2"]
    c = ef.align(E, V, all_but_the_top=1, dim=2)
    assert bits(c.matrix) == bits(ef.align(E, V, all_but_the_top=1).matrix[:, :2])


def test_more_components_than_rows() -> None:
    v = ef.Vocabulary(TOKENS[:3])
    a = ef.align(E, v, dim=6, reduce="pca")
    centred = rows()[:3].astype(np.float64) - rows()[:3].astype(np.float64).mean(axis=0)
    lengths = np.linalg.norm(a.matrix[2:].astype(np.float64), axis=1)
    assert is_close(lengths, np.linalg.norm(centred, axis=1))  # nothing but rotated
    for options in ({"dim": 6, "reduce": "pca"}, {"all_but_the_top": 3}, {"center": True}):
        one = ef.align(E, ef.Vocabulary(["t1"]), **options)
        assert np.abs(one.matrix).max() == 0
        none = ef.align(E, ef.Vocabulary(["zzz"]), **options)
        assert not none.matrix.any()


def test_pieces_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [ef.align(E, V, dim=3), ef.align(E, V, normalize="l2")]
    centred = ef.align(E, V, center=True)
    monkeypatch.setattr(moments, "CHUNK_ROWS", 7)
    monkeypatch.setattr(gathering, "CHUNK_ROWS", 3)
    parts = [ef.align(E, V, dim=3), ef.align(E, V, normalize="l2")]
    assert [a.digest for a in parts] == [a.digest for a in whole]
    apart = np.abs(ef.align(E, V, center=True).matrix - centred.matrix)
    assert apart.max() < 1e-6  # sums in another order


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"normalize": "l1"}, "normalize must be \"l2\" or None, received 'l1'"),
        ({"reduce": "last", "dim": 2}, "reduce must be one of first, pca, received 'last'"),
        ({"reduce": "pca"}, 'reduce="pca" needs dim='),
        ({"dim": 0}, "dim must be at least 1, received 0"),
        ({"dim": -3}, "dim must be at least 1, received -3"),
        ({"dim": DIM + 1}, f"dim must be at most {DIM}, that of the file, received {DIM + 1}"),
        ({"all_but_the_top": -1}, "all_but_the_top must not be negative"),
        ({"all_but_the_top": DIM}, f"all_but_the_top must be below {DIM}, the dim of the file"),
    ],
)
def test_wrong_transforms(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ef.align(E, V, **options)


def test_transforms_take_whole_numbers(tmp_path: Path) -> None:
    a = ef.align(E, V, dim=np.int64(3), all_but_the_top=np.uint8(1))
    assert a.digest == ef.align(E, V, dim=3, all_but_the_top=1).digest
    a.save(tmp_path / "s.safetensors")
    assert ef.read(tmp_path / "s.safetensors").provenance["transforms"]["dim"] == 3
    for options in ({"dim": 2.0}, {"all_but_the_top": "1"}):
        with pytest.raises(TypeError):
            ef.align(E, V, **options)


STEPS = {"center": True, "dim": 4, "normalize": "l2"}
NAMES = ["center", "dim=4 (first)", "normalize=l2"]


def test_provenance_stays_with_the_rows(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", glove_bytes([t.encode() for t in TOKENS], rows()))
    a = ef.load(path, V, seed=3, **STEPS)
    one, two, three = (tmp_path / f"{i}.safetensors" for i in range(3))
    a.save(one)
    ef.convert(one, two)
    ef.write(ef.read(two), three)
    expected = {
        "sources": ["f.txt"],
        "combine": "first",
        "match": ["exact", "lower"],
        "fold_file": False,
        "oov": "zeros",
        "special": {},
        "seed": 3,
        "transforms": dataclasses.asdict(Transforms(**STEPS)),
        "steps": NAMES,
    }
    for store in (one, two, three):
        e = ef.read(store)
        assert e.provenance == a.provenance == expected
        assert e.digest == a.digest
        assert ef.load(store, V).provenance["steps"] == NAMES
        notes = ef.inspect(store).notes
        assert f"its rows were transformed: {', '.join(NAMES)}" in notes
    assert not any("transformed" in note for note in ef.inspect(path).notes)


def test_provenance_of_a_source_is_not_lost(tmp_path: Path) -> None:
    one = tmp_path / "one.safetensors"
    ef.align(E, V, center=True).save(one)
    other = ef.Vocabulary(["t3", "t30"])
    loads = (
        lambda **o: ef.load(one, other, **o),
        lambda **o: ef.align(ef.read(one), other, **o),
        lambda **o: ef.load(one, other, dtype="float16", **o),
        lambda **o: ef.load(one, V, normalize="l2", **o),
    )
    for i, load in enumerate(loads):
        a = load()
        steps = ["center", "normalize=l2"] if i == 3 else ["center"]
        assert a.provenance["steps"] == steps
        assert a.provenance["origins"][0]["steps"] == ["center"]
        a.save(tmp_path / f"{i}.safetensors")
        told = ef.inspect(tmp_path / f"{i}.safetensors").notes
        assert any(note.endswith(", ".join(steps)) for note in told)
        with pytest.raises(VocabularyError, match=r"received one with center"):
            a.extend(["t50"], E)
    both = ef.align([E, ef.read(one)], other)
    assert both.provenance["steps"] == ["one.safetensors: center"]
    assert both.provenance["origins"][0] == {}


def test_a_store_of_this_vocabulary_can_be_transformed(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    ef.align(E, V).save(path)
    assert ef.load(path, V).sealed.guarantee == "watched"
    a = ef.load(path, V, normalize="l2")
    assert a.sealed.guarantee == "sealed"
    assert bits(a.matrix[IDS]) == bits(ef.align(E, V, normalize="l2").matrix[IDS])
