"""The report of the benchmarks tells what was measured, also what is missed; nothing is run."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import growth, report, run  # noqa: E402
from benchmarks.cases import all_cases, find_case  # noqa: E402
from benchmarks.inputs import Inputs  # noqa: E402
from benchmarks.suite import OURS, Bar, Case, Runs, median_of, times_faster  # noqa: E402


def made_up(name: str, *bars: Bar, peers: tuple[str, ...] = ("slow", "slower")) -> Case:
    """A case that nothing can run."""

    def never(*_: str) -> Any:
        raise AssertionError("a test of the report runs nothing")

    return Case(name, lambda _: [], dict.fromkeys((OURS, *peers), never), bars)


def entry_of(**seconds: float) -> report.Entry:
    """What was measured of contenders."""
    runs = {name: {"seconds": value, "runs": [value]} for name, value in seconds.items()}
    runs[OURS]["private_mb"] = 12.0
    return {
        **{"date": "2000-01-01", "machine": "a machine", "scale": 1.0, "repeats": 5},
        **{"left_out": [], "runs": runs},
    }


def told(*pairs: tuple[Case, report.Entry]) -> str:
    """The report of entries."""
    warm = {case.name: entry for case, entry in pairs}
    results = {report.WARM: warm, report.COLD: {}, report.GROWTH: {}}
    return report.report([case for case, _ in pairs], results)


def test_a_missed_bar_is_shown_as_missed() -> None:
    case = made_up("reading", Bar("against all", 4, times_faster()), Bar("x", 2, times_faster()))
    text = told((case, entry_of(embedfreeze=1.0, slow=3.0, slower=30.0)))
    assert "| reading | against all | at least 4 times | 3 times | **MISSES** |" in text
    assert "| reading | x | at least 2 times | 3 times | holds |" in text
    assert "Of 2 bars 1 hold, 1 are missed and 0 were not measured." in text


def test_a_bar_may_be_an_upper_one() -> None:
    bar = Bar("memory", 10, lambda runs: float(runs[OURS]["private_mb"]), "MB", at_least=False)
    text = told((made_up("reading", bar), entry_of(embedfreeze=1.0, slow=3.0)))
    assert "| reading | memory | at most 10 MB | 12 MB | **MISSES** |" in text


def fails(error: Exception) -> Callable[[Runs], float]:
    def measure(_: Runs) -> float:
        raise error

    return measure


@pytest.mark.parametrize(
    "measure", [times_faster("gone"), fails(KeyError("gone")), fails(ValueError("no peer"))]
)
def test_a_bar_without_its_peer_is_not_measured(measure: Callable[[Runs], float | None]) -> None:
    case = made_up("reading", Bar("against gone", 4, measure))
    entry = {**entry_of(embedfreeze=1.0), "left_out": ["gone"]}
    text = told((case, entry))
    assert "| reading | against gone | at least 4 times |  | not measured |" in text
    assert "Left out: gone, which is not installed." in text


def test_the_table_of_a_case() -> None:
    text = told((made_up("reading"), entry_of(embedfreeze=0.5, slow=2.0, slower=1e-4)))
    assert "| embedfreeze | 500 ms |  | 12 |  |  |  |" in text
    assert "| slow | 2 s |  |  |  |  | 4 |" in text
    assert "| slower | 100 µs |" in text


def test_a_peer_is_left_out_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "is_installed", lambda name: name != "polars")
    contenders = [OURS, "polars", "polars, streaming", "gensim"]
    assert report.left_out(contenders) == ["polars", "polars, streaming"]
    case = made_up("reading", peers=("polars", "gensim"))
    assert list(run.without(case, ["polars"]).contenders) == [OURS, "gensim"]


def test_merging_keeps_what_else_was_measured(tmp_path: Path) -> None:
    old = {"reading": entry_of(embedfreeze=1.0), "gone": entry_of(embedfreeze=1.0)}
    report.save(tmp_path, {report.WARM: old, report.COLD: old, report.GROWTH: {}})
    before = report.load(tmp_path, {"reading", "writing"})
    new = report.entry(0.5, 1, left_out=[], runs=entry_of(embedfreeze=2.0)["runs"])
    after = report.merged(before, report.WARM, "writing", new)
    assert list(after[report.WARM]) == ["reading", "writing"]
    assert after[report.WARM]["reading"] == old["reading"]
    assert after[report.WARM]["writing"]["date"] > "2020"
    assert list(after[report.COLD]) == ["reading"]
    report.save(tmp_path, after)
    assert report.load(tmp_path, {"reading", "writing"}) == after


def test_results_of_an_older_form_count_as_none(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"text full": {}}', encoding="utf-8")
    assert report.load(tmp_path, {"text full"}) == {"warm": {}, "cold": {}, "growth": {}}


@pytest.mark.parametrize(
    ("power", "told_as"), [(1.0, "none"), (1.3, "text over rows"), (0.0, "none")]
)
def test_growth_worse_than_linear_is_named(power: float, told_as: str) -> None:
    points = [[10.0**n, 1e-3 * 10 ** (power * n)] for n in range(4)]
    entry = {**entry_of(embedfreeze=1.0), "series": {"text": points}}
    lines = report.told_of_growth({"rows": entry})
    assert f"| {power:.2f} |" in lines[2]
    assert f"Worse than linear (a slope over 1.1): {told_as}." in lines


def test_runs_that_differ_are_refused() -> None:
    runs = [{"seconds": 1.0, "digest": "a"}, {"seconds": 3.0, "digest": "a"}]
    assert median_of(runs)["seconds"] == 2.0
    with pytest.raises(SystemExit, match="digest differs"):
        median_of([*runs, {"seconds": 1.0, "digest": "b"}])


def test_every_case_is_whole() -> None:
    cases = list(all_cases())
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    for case in cases:
        assert OURS in case.contenders, case.name
        assert set(case.same) | set(case.references) <= set(case.contenders), case.name
        assert find_case(case.name) == case


def test_every_module_of_cases_is_listed() -> None:
    listed = {case.name for case in all_cases()}
    modules = {path.stem for path in (ROOT / "benchmarks" / "cases").glob("*.py")} - {"__init__"}
    assert len(modules) >= 5
    for module in modules:
        cases = import_module(f"benchmarks.cases.{module}").CASES
        assert cases, module
        assert {case.name for case in cases} <= listed


def test_the_curves_use_contenders_that_exist(tmp_path: Path) -> None:
    for curve in growth.CURVES.values():
        for point in curve(Inputs(tmp_path, 0.01)):
            assert point.contender in find_case(point.case).contenders


def test_cases_are_chosen_by_words(capsys: pytest.CaptureFixture[str]) -> None:
    run.main(["--list", "--only", "lookups"])
    assert "lookups" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no case is named"):
        run.main(["--list", "--only", "no such case"])
