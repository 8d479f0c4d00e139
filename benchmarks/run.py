"""Run the benchmarks and write results.md, results.json and two pictures beside this file.

`make bench`, or for a quick look `make bench BENCH_ARGS="--scale 0.05 --repeats 1"`. A long suite
can be run in parts: cases that do not run keep what results.json says of them, with its date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import growth, plots, report
from benchmarks.cases import all_cases
from benchmarks.inputs import Inputs
from benchmarks.suite import OURS, Case, run_case

HERE = Path(__file__).parent


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="WORD", help="cases named with one of these")
    parser.add_argument("--list", action="store_true", help="name the cases and run none")
    parser.add_argument("--scale", type=float, default=1.0, help="of the inputs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--inputs", type=Path, default=HERE / "inputs", help="folder, about 25 GB")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument(
        "--cold", action="store_true", help="cases that read files, on a cold page cache"
    )
    parser.add_argument(
        "--growth",
        action=argparse.BooleanOptionalAction,
        help="how the cost grows; default: unless --only or --cold is given",
    )
    return parser.parse_args(arguments)


def chosen(cases: Iterable[Case], words: Sequence[str] | None) -> list[Case]:
    """Cases whose names contain one of the words; all without words."""
    return [case for case in cases if not words or any(word in case.name for word in words)]


def without(case: Case, names: Sequence[str]) -> Case:
    """A case without some contenders."""
    kept = {name: run for name, run in case.contenders.items() if name not in names}
    return replace(case, contenders=kept, same=[name for name in case.same if name in kept])


def reads_files(runs: report.Runs) -> bool:
    """Are bytes of files a part of what was measured?"""
    return "mb_a_second" in runs[OURS]


def measure_case(case: Case, inputs: Inputs, options: argparse.Namespace) -> report.Entry:
    """The entry of one case."""
    missing = report.left_out(case.contenders)
    for name in missing:
        print(f"{case.name}: {name} is left out, it is not installed", flush=True)
    runs = run_case(without(case, missing), inputs, options.repeats, cold=options.cold)
    return report.entry(options.scale, options.repeats, left_out=missing, runs=runs)


def measure(cases: Sequence[Case], options: argparse.Namespace) -> report.Results:
    """Run what was asked for; each result is kept as soon as it is there."""
    inputs = Inputs(options.inputs, options.scale)
    results = report.load(options.out, {case.name for case in cases} | set(growth.CURVES))
    part = report.COLD if options.cold else report.WARM
    selected = chosen(cases, options.only)
    if options.cold:
        warm = results[report.WARM]
        selected = [c for c in selected if c.name not in warm or reads_files(warm[c.name]["runs"])]
    for case in selected:
        found = measure_case(case, inputs, options)
        if options.cold and not reads_files(found["runs"]):
            continue
        results = report.merged(results, part, case.name, found)
        report.save(options.out, results)
    if options.growth or (options.growth is None and not options.only and not options.cold):
        for over in growth.CURVES:
            series = growth.measure(over, inputs, options.repeats)
            found = report.entry(options.scale, options.repeats, series=series)
            results = report.merged(results, report.GROWTH, over, found)
            report.save(options.out, results)
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then write the results."""
    options = parsed(arguments)
    cases = list(all_cases())
    selected = chosen(cases, options.only)
    if not selected:
        raise SystemExit(f"no case is named with one of {options.only}: see --list")
    if options.list:
        print("\n".join(case.name for case in selected))
        return
    for folder in (options.inputs, options.out):
        folder.mkdir(parents=True, exist_ok=True)
    results = measure(cases, options)
    text = report.report(cases, results)
    (options.out / "results.md").write_text(text, encoding="utf-8")
    plots.draw_results(options.out / "results.png", cases, results[report.WARM])
    if results[report.GROWTH]:
        plots.draw_growth(options.out / "growth.png", results[report.GROWTH])
    print(text)


if __name__ == "__main__":
    main()
