"""Pooled rows, by the compiled kernel, against plain NumPy.

Buffers end at a page that may not be touched, as in test_kernel.py; these tests run under the
sanitizers too.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernel import guarded

from embedfreeze import _kernel

SUM, MAXIMUM = 0, 1
Float32 = npt.NDArray[np.float32]


def pooled(values: Float32, ids: Any, splits: Any, how: int, weights: Any = ()) -> Float32:
    dim = values.shape[1]
    target = np.full((len(splits) - 1, dim), 7, np.float32)
    _kernel.pool_rows(
        guarded(values.tobytes()),
        dim,
        guarded(np.array(ids, np.int32).tobytes()),
        guarded(np.array(splits, np.int64).tobytes()),
        guarded(np.array(weights, np.float32).tobytes()),
        how,
        target,
    )
    return target


def one_by_one(values: Float32, ids: Any, splits: Any, how: int, weights: Any = ()) -> Float32:
    """The same, a row at a time."""
    result = np.zeros((len(splits) - 1, values.shape[1]), np.float32)
    for i in range(len(result)):
        for n, k in enumerate(ids[splits[i] : splits[i + 1]]):
            row = values[k] * np.float32(weights[k]) if len(weights) else values[k]
            if how == SUM:
                result[i] += row
            else:
                result[i] = np.maximum(result[i], row) if n else row
    return result


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def cases(draw: Any) -> tuple[Any, ...]:
    rows, dim = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    numbers = st.lists(FLOATS, min_size=rows * dim, max_size=rows * dim)
    values = np.array(draw(numbers), np.float32).reshape(rows, dim)
    lengths = draw(st.lists(st.integers(0, 5), max_size=6))
    splits = np.cumsum([0, *lengths]).tolist()
    n = splits[-1]
    ids = draw(st.lists(st.integers(0, rows - 1), min_size=n, max_size=n))
    weights = draw(st.sampled_from([(), tuple(range(1, rows + 1)), (0.1,) * rows]))
    return values, ids, splits, draw(st.sampled_from([SUM, MAXIMUM])), weights


@given(cases())
def test_pooled_rows_are_those_of_a_row_at_a_time(case: tuple[Any, ...]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        expected = one_by_one(*case)
    found = pooled(*case)
    np.testing.assert_array_equal(found, expected)
    assert found[found != 0].tobytes() == expected[expected != 0].tobytes()


def test_a_nan_is_the_maximum_wherever_it_stands() -> None:
    values = np.array([[1.0], [np.nan], [2.0]], np.float32)
    for ids in ([0, 1, 2], [1, 0, 2], [0, 2, 1]):
        assert np.isnan(pooled(values, ids, [0, 3], MAXIMUM)).all()


@pytest.mark.parametrize("ids", [[3], [-1], [0, 1 << 30]])
def test_ids_without_a_row_are_refused(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="an id has no row"):
        pooled(np.ones((3, 2), np.float32), ids, [0, len(ids)], SUM)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({1: 0}, "dim must be at least 1"),
        ({1: -4}, "dim must be at least 1"),
        ({3: np.array([0, 9], np.int64)}, "leaves the blob"),
        ({3: np.array([2, 1], np.int64)}, "leaves the blob"),
        ({3: b""}, "offsets needs"),
        ({4: np.ones(2, np.float32)}, "weights needs 3 items"),
        ({6: np.ones(1, np.float32)}, "pooled needs 2 items"),
        ({0: np.ones(9, np.uint8)[1:]}, "is not aligned"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[int, Any], message: str) -> None:
    good: list[Any] = [
        np.ones((3, 2), np.float32),
        2,
        np.array([0, 1], np.int32),
        np.array([0, 2], np.int64),
        b"",
        SUM,
        np.empty((1, 2), np.float32),
    ]
    _kernel.pool_rows(*good)
    with pytest.raises(ValueError, match=message):
        _kernel.pool_rows(*[changes.get(i, argument) for i, argument in enumerate(good)])
