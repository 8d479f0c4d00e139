"""HDF5 that pandas wrote, as ConceptNet Numberbatch's: pandas itself is the other reader."""

import contextlib
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from samples import ODD_TOKENS, assert_is, bits, put

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FormatError

pd = pytest.importorskip("pandas")
pytest.importorskip("tables")

GOLDEN = Path(__file__).parent / "golden" / "hdf5"
WORDS = ["king", "caf\u00e9", "a\u00a0b", "New York"]


def values(rows: int, dim: int, dtype: str = "float32") -> Any:
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 100, (rows, dim)).astype(dtype)
    return rng.standard_normal((rows, dim)).astype(dtype)


def save(frame: Any, path: Path, key: str = "mat", **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that labels are pickled
        frame.to_hdf(path, key=key, **{"mode": "w", "format": "fixed", **options})
    return path


def refused(path: Path, words: str, **options: Any) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        ef.read(path, **options)
    assert str(path) in str(caught.value)


def test_numberbatch() -> None:
    """mini.h5 in small, written by make.py: integers, and tokens that name concepts."""
    path = GOLDEN / "numberbatch.h5"
    frame = pd.read_hdf(path)
    expected = frame.to_numpy().astype(np.float32)
    assert frame.to_numpy().dtype == np.int8
    assert bits(expected) == bits(np.arange(-10, 10, dtype=np.float32))
    assert_is(ef.read(path), [*frame.index], expected)
    assert_is(ef.read(path, member="mat", limit=2), [*frame.index[:2]], expected[:2])
    notes = " ".join(ef.inspect(path).notes)
    assert "frame of pandas /mat of int8" in notes
    assert "without a scale" in notes
    assert "names of ConceptNet" in notes


def test_columns_of_two_dtypes() -> None:
    path = GOLDEN / "frame.h5"
    frame = pd.read_hdf(path)
    assert {str(dtype) for dtype in frame.dtypes} == {"float32", "float64"}
    expected = np.stack([frame[c].to_numpy().astype(np.float32) for c in frame], axis=1)
    assert_is(ef.read(path), [*frame.index], expected)
    half = np.stack([frame[c].to_numpy().astype(np.float16) for c in frame], axis=1)
    assert_is(ef.read(path, dtype="float16"), [*frame.index], half)
    a = ef.load(path, ef.Vocabulary(["New York", "king"]))
    assert bits(a.matrix[2:]) == bits(expected[[3, 0]])
    assert ef.inspect(path).notes == ("frame of pandas /frame of float32, float64",)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "int64", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("complib", [None, "zlib"])
def test_frames_of_numbers(dtype: str, complib: str | None, tmp_path: Path) -> None:
    tokens = [*dict.fromkeys([*WORDS, *ODD_TOKENS])]
    matrix = values(len(tokens), 6, dtype)
    options = {} if complib is None else {"complib": complib, "complevel": 9}
    path = save(pd.DataFrame(matrix, index=tokens), tmp_path / "f.h5", **options)
    assert [*pd.read_hdf(path).index] == tokens
    expected = matrix.astype(np.float32)
    assert_is(ef.read(path), tokens, expected)
    a = ef.load(path, ef.Vocabulary([tokens[7], tokens[2]]))
    assert bits(a.matrix[2:]) == bits(expected[[7, 2]])


def test_labels_of_columns(tmp_path: Path) -> None:
    """They matter only where they tell the order."""
    matrix = values(4, 3)
    for columns in (["z", "a", "m"], [3, 1, 2], [(1, "x"), (1, "y"), (2, "x")]):
        path = save(pd.DataFrame(matrix, WORDS, columns), tmp_path / "f.h5")
        assert_is(ef.read(path), WORDS, matrix)
    for columns in (["z", "a", "m"], [3, 1, 2]):
        frame = pd.DataFrame(matrix, WORDS, columns)
        frame[columns[1]] = frame[columns[1]].astype("float64")
        path = save(frame, tmp_path / "f.h5")
        assert_is(ef.read(path), WORDS, matrix)


def test_damaged_columns(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"

    def changed(name: str, data: Any) -> None:
        put(path, (GOLDEN / "frame.h5").read_bytes())
        with h5py.File(path, "a") as file:
            attrs = {**file["frame/axis0"].attrs}
            del file[f"frame/{name}"]
            if data is not None:
                file[f"frame/{name}"] = data
                file[f"frame/{name}"].attrs.update({"transposed": attrs["transposed"]})

    for name, data, words in [
        ("block0_items", np.array(["d0", "d2", "d9"], "S2"), "columns in block0_values that axis0"),
        ("block0_items", np.array(["d0", "d2", "d1"], "S2"), "named twice or not at all"),
        ("block0_items", np.array(["d0", "d2"], "S2"), "must be named by numbers or strings"),
        ("axis0", None, "must be named by numbers or strings in axis0"),
        ("block1_values", np.zeros((3, 2)), "received blocks of 3 and 4 rows"),
        ("block1_values", np.zeros((4, 2), "c8"), "numbers alone beside its labels"),
        ("axis1", np.zeros(4), "received labels of float64.*set_index"),
        ("axis1", np.array(["a", "b"], "S2"), "received 2 tokens for 4 rows"),
        ("axis1", None, "received several levels of labels"),
    ]:
        changed(name, data)
        refused(path, words)


def test_what_pandas_pickled_is_not_opened(tmp_path: Path) -> None:
    matrix = values(4, 3)
    path = save(pd.DataFrame(matrix, pd.Index([w.encode() for w in WORDS])), tmp_path / "f.h5")
    refused(path, "labels that pandas pickled, which can run any code and are not opened")
    listed = put(tmp_path / "tokens.txt", "\n".join(WORDS).encode())
    assert_is(ef.read(path, tokens=listed), WORDS, matrix)
    put(tmp_path / "f.tokens.txt", listed.read_bytes())
    assert_is(ef.read(path), WORDS, matrix)
    refused_column = save(
        pd.DataFrame(matrix, columns=[*"abc"]).assign(token=WORDS), tmp_path / "g.h5"
    )
    refused(refused_column, r"block\d_values of pickled objects, which are not opened.*set_index")


def test_other_labels(tmp_path: Path) -> None:
    matrix = values(4, 3)
    path = save(pd.DataFrame(matrix), tmp_path / "f.h5")
    refused(path, r"must have strings as labels, received labels of int64.*set_index\('token'\)")
    levels = pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, "a"), (2, "b")])
    path = save(pd.DataFrame(matrix, levels), tmp_path / "f.h5")
    refused(path, "several levels of labels")
    path = save(pd.DataFrame(matrix, WORDS), tmp_path / "f.h5", encoding="latin-1")
    refused(path, "labels must be in UTF-8, received latin-1")
    path = save(pd.DataFrame(matrix, WORDS), tmp_path / "f.h5", format="table")
    refused(path, "a frame that pandas wrote with format='table'.*format='fixed'")


def test_several_frames(tmp_path: Path) -> None:
    one, two = values(4, 3), values(4, 5)
    path = save(pd.DataFrame(one, WORDS), tmp_path / "f.h5", "one")
    save(pd.DataFrame(two, WORDS[::-1]), path, "deep/two", mode="a")
    refused(path, r"received deep/two \(a frame of pandas\), one \(a frame of pandas\)")
    assert_is(ef.read(path, member="one"), WORDS, one)
    assert_is(ef.read(path, member="/deep/two"), WORDS[::-1], two)
    with h5py.File(path, "a") as file:
        del file["deep"]
        file["vectors"] = two
    refused(path, r"one \(a frame of pandas\), vectors \[4, 5\] float32")
    assert_is(ef.read(path, member="vectors", tokens="one/axis1"), WORDS, two)


def test_integers_that_a_caller_names(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["q"] = values(4, 3, "int8")
        file["words"] = np.array(WORDS, dtype=object)
    refused(tmp_path / "f.h5", r"one 2-D dataset of floats.*q \[4, 3\] int8")
    expected = values(4, 3, "int8").astype(np.float32)
    assert_is(ef.read(tmp_path / "f.h5", member="q"), WORDS, expected)
    assert any("without a scale" in n for n in ef.inspect(tmp_path / "f.h5", member="q").notes)


@pytest.mark.parametrize("name", ["numberbatch.h5", "frame.h5"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_changed_bytes(name: str, tmp_path: Path) -> None:
    """Whatever stands there: a table, or an error of this package."""
    rng = np.random.default_rng(1)
    data = (GOLDEN / name).read_bytes()
    for _ in range(300):
        changed = bytearray(data)
        for place in rng.integers(8, len(data), rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        path = put(tmp_path / "f.h5", changed)
        with contextlib.suppress(EmbedFreezeError):
            ef.read(path, unicode_errors="replace")
