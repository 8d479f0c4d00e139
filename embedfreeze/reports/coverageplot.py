"""A picture of a coverage: by stage, and by the size of the vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np

from embedfreeze.coverage import MISSING, Coverage
from embedfreeze.reports.figures import COLORS, new_figure, picture_bytes, picture_style

__all__ = ["draw_coverage", "draw_sizes", "draw_stages"]

TYPES, TOKENS = COLORS[:2]
SIZE = (10, 4)  # inches


def draw_coverage(coverage: Coverage, format: str) -> bytes:
    """The picture as PNG or SVG.

    Parameters
    ----------
    coverage : Coverage
        With counts it speaks of tokens, too.
    format : {"png", "svg"}
        Of the picture.

    Raises
    ------
    EmbedFreezeError
        matplotlib is not installed.
    """
    with picture_style():
        figure = new_figure(*SIZE)
        stages, sizes = figure.subplots(1, 2)
        draw_stages(stages, coverage)
        draw_sizes(sizes, coverage)
        return picture_bytes(figure, format)


def _kinds(coverage: Coverage) -> list[tuple[str, str]]:
    """What is spoken of, and its colour."""
    by_token = coverage.vocabulary.counts is not None
    return [("type", TYPES), ("token", TOKENS)] if by_token else [("type", TYPES)]


def draw_stages(axes: Any, coverage: Coverage) -> None:
    """How many types and tokens found a row in which stage, as bars."""
    kinds = _kinds(coverage)
    height = 0.8 / len(kinds)
    for k, (by, color) in enumerate(kinds):
        total = max(1, coverage.total(by))
        found = [coverage.found(stage, by=by) for stage in coverage.match]
        numbers = [*found, coverage.total(by) - sum(found)]
        places = np.arange(len(numbers)) + (k - (len(kinds) - 1) / 2) * height
        bars = axes.barh(
            places, [100 * n / total for n in numbers], height, color=color, label=f"{by}s"
        )
        axes.bar_label(bars, [f"{n:,} ({n / total:.1%})" for n in numbers], padding=4, fontsize=9)
    axes.set_yticks(range(len(coverage.match) + 1), [*coverage.match, "missing"])
    axes.invert_yaxis()
    axes.set_xlim(0, 100 * 1.35)  # room for the numbers
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_xlabel("percent of the vocabulary")
    axes.set_title("Rows found, by stage")
    if len(kinds) > 1:
        axes.legend(loc="lower right")


def draw_sizes(axes: Any, coverage: Coverage) -> None:
    """How many of the n first (the most frequent, where counts are known) found a row."""
    ids = np.flatnonzero(coverage.stage_of_id >= MISSING)
    counts = coverage.vocabulary.counts
    weights = {"type": np.ones(len(ids), np.int64)}
    if counts is not None:
        tokens = coverage.vocabulary.tokens
        weights["token"] = np.array([counts.get(tokens[i], 0) for i in ids.tolist()], np.int64)
        order = np.argsort(-weights["token"], kind="stable")
        ids, weights["token"] = ids[order], weights["token"][order]
    found = coverage.stage_of_id[ids] >= 0
    lowest = 1.0
    for by, color in _kinds(coverage):
        share = np.cumsum(weights[by] * found) / np.maximum(1, np.cumsum(weights[by]))
        lowest = min(lowest, float(share.min(initial=1)))
        axes.plot(np.arange(1, len(ids) + 1), 100 * share, color=color, label=f"{by}s")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(max(0, 10 * int(10 * lowest) - 10), 103)
    first = "the first n" if counts is None else "the n most frequent"
    axes.set_xlabel(f"n, {first} of {len(ids):,}")
    axes.set_ylabel("percent found")
    axes.set_title("Coverage by the size of the vocabulary")
    axes.grid(alpha=0.3)
    if counts is not None:
        axes.legend()
