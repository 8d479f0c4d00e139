"""What was measured: kept in results.json, told in results.md."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.suite import OURS, Bar, Case, Runs

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
BESIDE_PEERS = ("embedfreeze", "numpy", "tensorflow", "keras", "h5py")
WARM, COLD, GROWTH = "warm", "cold", "growth"
# What the table of a case shows, and how; other figures of a run stand below it.
COLUMNS = {
    "cpu_seconds": "CPU",
    "private_mb": "private MB",
    "resident_mb": "resident MB",
    "mb_a_second": "MB/s",
}
NOT_FIGURES = ("seconds", "runs", "rows", "digest")
STEEP = 1.1  # the slope from which a curve counts as worse than linear: noise reaches less
Results = dict[str, dict[str, Any]]
Entry = dict[str, Any]

HEAD = """\
# Benchmark results

Made by `make bench`. Each measurement is a fresh process on a warm page cache; the contenders of a
case take turns, and the medians are reported. Every peer runs at its fastest documented setting
with all cores ([cases/](cases)), readers end in one C-contiguous float32 matrix plus its tokens,
and those that read exactly must come to the digest of our result, or the run ends. Memory is the
peak above the level before the work: private is RssAnon + RssShmem, resident is VmRSS. "Times ours"
is what a contender takes (time, or what else a case counts), divided by what embedfreeze takes.
Contenders in italics are no peers but bounds: they do less. Notes on what falls short:
[notes.md](notes.md).
"""
COLD_TEXT = """\
The same, after the kernel was asked to forget the files' pages (`posix_fadvise`, DONTNEED). Below a
virtual machine its host may still have the file in memory, so this is not the speed of a disk.
"""
GROWTH_TEXT = """\
Slopes are those of the last three points in a log-log plot: 1 is linear, 0 constant; over cores
-1 is perfect.

![How the cost grows](growth.png)
"""


def peers() -> list[str]:
    """The names of requirements.txt."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    names = (re.match(r"[A-Za-z][\w.-]*", line) for line in lines)
    return [name[0] for name in names if name]


def is_installed(name: str) -> bool:
    """Is there a package of that name?"""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def left_out(contenders: Iterable[str]) -> list[str]:
    """The contenders that carry the name of a peer that is not installed."""
    missing = [name for name in peers() if not is_installed(name)]
    return [name for name in contenders if any(peer in name.lower() for peer in missing)]


def machine() -> str:
    """What it ran on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{next(models, platform.machine())}, {cores} cores, {memory:.0f} GiB; "
        f"Linux {platform.release()}; Python {platform.python_version()}; {versions()}"
    )


def versions() -> str:
    """The versions of what takes part."""
    found = []
    for name in (*BESIDE_PEERS, *peers()):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def entry(scale: float, repeats: int, **content: Any) -> Entry:
    """Something that was measured now and here."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return {"date": today, "machine": machine(), "scale": scale, "repeats": repeats, **content}


def load(folder: Path, known: Collection[str]) -> Results:
    """What was measured before of the known cases and curves."""
    path = folder / "results.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        part: {name: entry for name, entry in found.get(part, {}).items() if name in known}
        for part in (WARM, COLD, GROWTH)
    }


def save(folder: Path, results: Results) -> None:
    """Keep it."""
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (folder / "results.json").write_text(text, encoding="utf-8")


def merged(before: Results, part: str, name: str, found: Entry) -> Results:
    """The results with one entry put into a part; the others stay as they are."""
    return {**before, part: {**before[part], name: found}}


@dataclass(frozen=True)
class Verdict:
    """A bar, and what was measured."""

    case: str
    bar: Bar
    found: float | None

    @property
    def word(self) -> str:
        if self.found is None:
            return "not measured"
        return "holds" if self.bar.holds(self.found) else "**MISSES**"

    @property
    def line(self) -> str:
        measured = "" if self.found is None else f"{number(self.found)} {self.bar.unit}"
        return row(self.case, self.bar.what, self.bar.wish, measured, self.word)


def verdicts(case: Case, runs: Runs) -> list[Verdict]:
    """Each bar of a case; one whose peer was left out is not measured."""
    return [Verdict(case.name, bar, measured(bar, runs)) for bar in case.bars]


def measured(bar: Bar, runs: Runs) -> float | None:
    """What a bar comes to; None where contenders that it needs took no part."""
    try:
        return bar.measure(runs)
    except (KeyError, ValueError):
        return None


def ratios(case: Case, runs: Runs) -> dict[str, float]:
    """What each other contender takes, divided by what we take."""
    ours = runs[OURS][case.counts]
    return {
        name: run[case.counts] / ours
        for name, run in runs.items()
        if name != OURS and case.counts in run and ours
    }


def row(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Three digits, without powers of ten."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    for size, unit in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds * 1e9)} ns"


def told_of(case: Case, entry: Entry) -> list[str]:
    """The lines of one case."""
    runs, times = entry["runs"], ratios(case, entry["runs"])
    columns = {case.counts: case.counts.replace("_", " "), **COLUMNS}
    columns.pop("seconds", None)
    lines = [
        f"### {case.name}",
        "",
        f"{entry['date']}, median of {entry['repeats']}"
        + ("." if entry["scale"] == 1 else f", inputs scaled by {entry['scale']:g}."),
        "",
        row("contender", "wall", *columns.values(), "times ours"),
        row(*["---"] * (len(columns) + 3)),
    ]
    for name, run in runs.items():
        shown = f"*{name}*" if name in case.references else name
        figures = [cell(key, run[key]) if key in run else "" for key in columns]
        ratio = number(times[name]) if name in times else ""
        lines.append(row(shown, duration(run["seconds"]), *figures, ratio))
    for name in entry["left_out"]:
        lines += ["", f"Left out: {name}, which is not installed."]
    others = {
        key: value
        for key, value in runs[OURS].items()
        if key not in (*NOT_FIGURES, *columns) and isinstance(value, int | float)
    }
    if others:
        told = ", ".join(
            f"{key.replace('_', ' ')} {number(value)}" for key, value in others.items()
        )
        lines += ["", f"Also, of {OURS}: {told}."]
    return [*lines, ""]


def cell(key: str, value: float) -> str:
    """A figure of a run."""
    if key.endswith("seconds"):
        return duration(value)
    return f"{value:,.0f}" if key in COLUMNS else number(value)


def told_of_bars(cases: Sequence[Case], entries: Mapping[str, Entry]) -> list[str]:
    """All bars, counted and listed."""
    found = [verdict for case in cases for verdict in verdicts(case, entries[case.name]["runs"])]
    counts = {word: sum(v.word == word for v in found) for word in ("holds", "**MISSES**")}
    unmeasured = len(found) - sum(counts.values())
    lines = [
        f"Of {len(found)} bars {counts['holds']} hold, {counts['**MISSES**']} are missed and "
        f"{unmeasured} were not measured."
    ]
    if any(entry["scale"] != 1 for entry in entries.values()):
        lines.append("Bars are meant for whole inputs; some of these were scaled.")
    table = [
        row("case", "bar", "asked", "measured", ""),
        row(*["---"] * 5),
        *(verdict.line for verdict in found),
    ]
    return [*lines, "", *table, ""]


def told_of_growth(curves: Mapping[str, Entry]) -> list[str]:
    """The slope of each curve, and which are too steep."""
    lines = [row("over", "what", "from", "to", "slope"), row(*["---"] * 5)]
    steep = []
    for over, entry in curves.items():
        for name, points in entry["series"].items():
            found = slope(points)
            ends = [f"{at:,.0f}: {duration(seconds)}" for at, seconds in (points[0], points[-1])]
            lines.append(row(over, name, *ends, f"{found:.2f}"))
            if found > STEEP:
                steep.append(f"{name} over {over}")
    told = ", ".join(steep) or "none"
    return [*lines, "", f"Worse than linear (a slope over {STEEP:g}): {told}.", ""]


def slope(points: Sequence[Sequence[float]]) -> float:
    """Of the last three points, in a log-log plot."""
    import numpy as np

    at, seconds = np.log(np.array(points[-3:], np.float64)).T
    return float(np.polyfit(at, seconds, 1)[0]) if len(at) > 1 else 0.0


def told_of_machines(results: Results) -> list[str]:
    """Where the entries were measured, and when."""
    dates: dict[str, set[str]] = {}
    for part in results.values():
        for entry in part.values():
            dates.setdefault(entry["machine"], set()).add(entry["date"])
    return [f"- {', '.join(sorted(days))}: {where}." for where, days in dates.items()]


def told_of_cases(cases: Sequence[Case], entries: Mapping[str, Entry]) -> list[str]:
    """The tables of those cases that were measured."""
    return [line for case in of(cases, entries) for line in told_of(case, entries[case.name])]


def of(cases: Iterable[Case], entries: Mapping[str, Entry]) -> list[Case]:
    """Those cases that have an entry."""
    return [case for case in cases if case.name in entries]


def report(cases: Sequence[Case], results: Results) -> str:
    """The results as Markdown."""
    warm, cold, curves = results[WARM], results[COLD], results[GROWTH]
    lines = [HEAD, *told_of_machines(results), ""]
    lines += ["![Time of others, embedfreeze being 1](results.png)", "", "## Bars", ""]
    lines += told_of_bars(of(cases, warm), warm)
    lines += ["## Cases", "", *told_of_cases(cases, warm)]
    if curves:
        lines += ["## How the cost grows", "", GROWTH_TEXT, *told_of_growth(curves)]
    if cold:
        lines += ["## With a cold page cache", "", COLD_TEXT, *told_of_cases(cases, cold)]
    return "\n".join(lines)
