"""Every way to thaw a table is tried, on stock subjects and on ours; docs/thawing.md says so."""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from thaw import optimizers
from thaw.attempts import ATTEMPTS, PARTS, Case, cases
from thaw.subjects import MODES, Mode
from thaw.table import PAGE, described
from thaw.trial import CAUGHT, CHANGED, DIES, REFUSED, UNCHANGED, outcome

from embedfreeze.errors import EmbedFreezeError

GRAPH = Mode("graph", 1)
# What Keras and TensorFlow warn of: these are attempts.
pytestmark = pytest.mark.filterwarnings("ignore")


def fails(case: Case, mode: Mode) -> str | None:
    """What is wrong, if an attempt does not come out as its row says."""
    expected = case.attempt.expected(case.kind, mode.run)
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = outcome(case.attempt, case.kind, mode, Path(folder))
        except (AssertionError, EmbedFreezeError, tf.errors.OpError) as error:
            found = f"{type(error).__name__}: {error}"
    if found == expected:
        return None
    return f"{case} {mode}, {case.attempt.title}: must be {expected!r}, is {found!r}"


def fast_mode(case: Case) -> Mode:
    return GRAPH if "graph" in case.attempt.runs else Mode(case.attempt.runs[0], 1)


@pytest.mark.parametrize("case", cases("ours"), ids=str)
def test_ours(case: Case) -> None:
    assert fails(case, fast_mode(case)) is None


@pytest.mark.parametrize("case", cases("stock", "variable")[::32], ids=str)
def test_stock_subjects(case: Case) -> None:
    """One in thirty-two; `test_all_in_all_modes` tries them all."""
    assert fails(case, fast_mode(case)) is None


def failures(meant: list[Case], mode: Mode, base: int = 0) -> list[str]:
    """What is wrong with those cases that make sense in a mode, of one part of the page or all."""
    chosen = [
        case
        for case in meant
        if mode.run in case.attempt.runs and (not base or 0 < case.number - base < 100)
    ]
    return [failure for case in chosen if (failure := fails(case, mode))]


@pytest.mark.slow
@pytest.mark.parametrize("base", PARTS)
@pytest.mark.parametrize("mode", [Mode("eager", 1), Mode("jit", 1)], ids=str)
def test_ours_in_the_other_modes(mode: Mode, base: int) -> None:
    assert failures(cases("ours"), mode, base) == []


def marked(mode: Mode) -> Any:
    """All modes together take some ten minutes."""
    return pytest.param(mode, marks=pytest.mark.slow if mode == GRAPH else pytest.mark.exhaustive)


@pytest.mark.parametrize("base", PARTS)
@pytest.mark.parametrize("mode", map(marked, MODES), ids=str)
def test_all_in_all_modes(mode: Mode, base: int) -> None:
    """With several steps an execution, of the stock subjects one in eight."""
    stock = cases("stock", "variable")[:: 1 if mode.steps == 1 else 8]
    assert failures([*cases("ours"), *stock], mode, base) == []


@pytest.mark.parametrize("mode", map(marked, [GRAPH, Mode("jit", 5)]), ids=str)
def test_a_plain_model_with_a_guard(mode: Mode) -> None:
    """What is caught is caught by `FreezeGuard`, too."""
    meant = [
        Case(number, "guarded")
        for number, attempt in ATTEMPTS.items()
        if attempt.kinds == ("ours",)
        and mode.run in attempt.runs
        and attempt.expected("ours", mode.run) == CAUGHT
    ]
    assert len(meant) > 60
    assert failures(meant, mode) == []


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == described()


def test_every_optimizer_of_keras_is_tried() -> None:
    shipped = {
        name
        for name, kind in vars(keras.optimizers).items()
        if inspect.isclass(kind) and issubclass(kind, keras.optimizers.Optimizer)
    }
    assert shipped - {"Optimizer"} == {*optimizers.NAMES, *optimizers.WRAPPERS}


def test_no_row_says_that_ours_changes() -> None:
    """Another's error is one that the stock subjects meet as well, or guards the memory."""
    for number, attempt in ATTEMPTS.items():
        for run in attempt.runs:
            found = {attempt.expected(kind, run) for kind in attempt.kinds}
            if 700 < number < 900:
                others = {told for told in found if told.startswith((f"{UNCHANGED} (", DIES))}
            else:
                others = {attempt.expected("stock", run), attempt.expected("variable", run)}
                others.discard(CHANGED)
            assert found <= {UNCHANGED, REFUSED, CAUGHT} | others, number


def test_each_attempt_has_a_title_of_its_own() -> None:
    for title, part in PARTS.values():
        titles = [attempt.title for attempt in part]
        assert len(titles) == len(set(titles)), title
        assert len(part) < 100  # no number stands for two
