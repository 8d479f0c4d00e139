"""What a case is, and how it is run."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.inputs import Inputs

Run = dict[str, Any]
Runs = dict[str, Run]
OURS = "embedfreeze"
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Bar:
    """What a case asks for: a number that must be at least, or at most, `asked`."""

    what: str
    asked: float
    measure: Callable[[Runs], float | None]
    unit: str = "times"
    at_least: bool = True

    def holds(self, found: float) -> bool:
        return found >= self.asked if self.at_least else found <= self.asked

    @property
    def wish(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.asked:,.4g} {self.unit}"


@dataclass(frozen=True)
class Case:
    """A measurement: its name, its input, what counts, and who takes part.

    Contenders are functions of the input's paths, run in a process of their own each time. Those
    named in `same` must come to our digest.
    """

    name: str
    input: Callable[[Inputs], Sequence[Path | str]]
    contenders: dict[str, Callable[..., Run]]
    bars: Sequence[Bar] = ()
    counts: str = "seconds"
    same: Sequence[str] = ()
    references: Sequence[str] = field(default=())  # no peers: what bounds the work


def fastest_peer(case_runs: Runs, references: Sequence[str] = ()) -> float:
    """The least seconds of a peer."""
    peers = (run["seconds"] for name, run in case_runs.items() if name not in (OURS, *references))
    return float(min(peers))


def times_faster(peer: str | None = None, *, without: Sequence[str] = ()) -> Callable[[Runs], Any]:
    """How many times as long a peer takes as we do; without a name, the fastest."""

    def measure(runs: Runs) -> float | None:
        if peer is not None and peer not in runs:
            return None
        slow = fastest_peer(runs, without) if peer is None else runs[peer]["seconds"]
        return float(slow / runs[OURS]["seconds"])

    return measure


def times_as_long(reference: str) -> Callable[[Runs], float]:
    """How many times as long we take as a reference."""
    return lambda runs: float(runs[OURS]["seconds"] / runs[reference]["seconds"])


def share_of_speed(reference: str) -> Callable[[Runs], float]:
    """Our speed as a percentage of a reference's."""
    return lambda runs: float(100 * runs[reference]["seconds"] / runs[OURS]["seconds"])


def figure(key: str, scale: float = 1) -> Callable[[Runs], float]:
    """A number of our own run."""
    return lambda runs: float(runs[OURS][key] * scale)


def run_once(case: str, contender: str, arguments: Sequence[str], *, cold: bool = False) -> Run:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.measuring", case, contender, *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    # An installed package has its bytecode, as the peers do.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if cold:
        environment["EMBEDFREEZE_BENCH_COLD"] = "1"
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    result: Run = json.loads(done.stdout.splitlines()[-1])
    return result


def run_case(case: Case, inputs: Inputs, repeats: int, *, cold: bool = False) -> Runs:
    """Medians of each contender's numbers, the contenders taking turns."""
    arguments = [str(path) for path in case.input(inputs)]
    found: dict[str, list[Run]] = {name: [] for name in case.contenders}
    for number in range(repeats):
        for name, runs in found.items():
            runs.append(run_once(case.name, name, arguments, cold=cold))
            print(f"{case.name:36} {name:14} {number + 1}: {runs[-1][case.counts]:.6g}", flush=True)
    medians = {name: median_of(runs) for name, runs in found.items()}
    for name in case.same:
        if medians[name]["digest"] != medians[OURS]["digest"]:
            raise SystemExit(f"{case.name}: {name} and {OURS} come to different results")
    return medians


def median_of(runs: list[Run]) -> Run:
    """The median of every number; other values must be the same in all runs."""
    merged: Run = {}
    for key, first in runs[0].items():
        values = [run[key] for run in runs]
        if isinstance(first, float):
            merged[key] = statistics.median(values)
        elif len(set(values)) == 1:
            merged[key] = first
        else:
            raise SystemExit(f"{key} differs between runs: {values}")
    return {**merged, "runs": [run["seconds"] for run in runs]}
