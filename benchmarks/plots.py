"""The pictures: how long peers take beside us, and how the cost grows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import Entry, duration, measured, number, of, ratios, slope
from benchmarks.suite import Case

# Okabe and Ito's colours, which people with any colour vision tell apart.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SERIES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (RED, "D"))
AXES = {
    "rows": "rows of 50 values",
    "dim": "values in a row, 50,000 rows",
    "vocabulary": "tokens of the vocabulary, out of 1.4 million",
    "threads": "cores",
}


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 10, "svg.hashsalt": "embedfreeze"})
    return pyplot


def draw_results(path: Path, cases: Iterable[Case], entries: Mapping[str, Entry]) -> None:
    """A bar a case up to its best peer, and a mark for each other contender."""
    known = [(case, ratios(case, entries[case.name]["runs"])) for case in of(cases, entries)]
    known = [(case, times) for case, times in known if set(times) - set(case.references)]
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(
        figsize=(10, 1.1 + 0.34 * max(1, len(known))), layout="constrained"
    )
    for height, (case, times) in enumerate(known):
        _draw_case(axes, height, case, times, entries[case.name]["runs"])
    _finish_results(axes, [case.name for case, _ in known])
    figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})
    pyplot.close(figure)


def _draw_case(axes: Any, height: int, case: Case, times: dict[str, float], runs: Any) -> None:
    peers = {name: ratio for name, ratio in times.items() if name not in case.references}
    best = min(peers, key=lambda name: peers[name])
    found = [(bar, measured(bar, runs)) for bar in case.bars]
    missed = any(value is not None and not bar.holds(value) for bar, value in found)
    color = RED if missed else BLUE
    axes.barh(
        height,
        peers[best] - 1,
        left=1,
        height=0.62,
        color=color,
        hatch="///" if missed else None,
        edgecolor="white",
        linewidth=0,
        zorder=2,
    )
    for name, ratio in times.items():
        if name != best:
            shape = (
                {"marker": "|", "color": "black"}
                if name in case.references
                else {"marker": "o", "facecolor": "white", "edgecolor": color}
            )
            axes.scatter(ratio, height, s=34, zorder=4, **shape)
    axes.annotate(
        f"{number(peers[best])} × {best}",
        (max(1, *times.values()), height),
        (7, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        zorder=5,
    )


def _finish_results(axes: Any, names: list[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import FuncFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.5), high * 6)
    axes.axvline(1, color="black", linewidth=1.2, zorder=3)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="x", color="#dddddd", zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(
        "what others take, embedfreeze being 1 (time, or memory if that counts; log scale)"
    )
    handles = [
        Patch(facecolor=BLUE, label="best peer"),
        Patch(facecolor=RED, hatch="///", edgecolor="white", label="best peer, a bar is missed"),
        Line2D([], [], marker="o", linestyle="", mfc="white", mec=BLUE, label="other peers"),
        Line2D([], [], marker="|", linestyle="", color="black", label="a bound, no peer"),
    ]
    axes.figure.legend(handles=handles, loc="outside upper right", ncols=4, frameon=False)


def draw_growth(path: Path, curves: Mapping[str, Entry]) -> None:
    """A panel for each quantity."""
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(2, 2, figsize=(10, 7.6), layout="constrained")
    for axes, (over, entry) in zip(panels.flat, curves.items(), strict=False):
        _draw_curves(axes, over, entry["series"])
    for axes in panels.flat[len(curves) :]:
        axes.set_visible(False)
    figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})
    pyplot.close(figure)


def _draw_curves(axes: Any, over: str, series: Mapping[str, Any]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    for (color, marker), (name, points) in zip(SERIES, series.items(), strict=False):
        at, seconds = zip(*points, strict=True)
        label = f"{name}: slope {slope(points):.2f}"
        axes.plot(at, seconds, color=color, marker=marker, markersize=5, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    if over in {"dim", "threads"}:
        places = [at for at, _ in next(iter(series.values()))]
        axes.set_xticks(places, [f"{at:g}" for at in places])
        axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    axes.set_ylim(10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(AXES[over])
    axes.grid(color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
