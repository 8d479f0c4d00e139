"""The charts of a report: norms, and a map of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from embedfreeze.plainlines import shown_token
from embedfreeze.reports.figures import COLORS
from embedfreeze.reports.rows import Rows
from embedfreeze.reports.tokenmap import TokenMap

__all__ = ["draw_map", "draw_norms"]

BINS = 60
LONGEST = 24  # characters of a label
DOT = 2  # points around the middle of a point
# Where a label may stand, seen from its point: its own anchor, and the way there in points.
SIDES = (
    ("left", "center", 4, 0),
    ("right", "center", -4, 0),
    ("center", "bottom", 0, 4),
    ("center", "top", 0, -4),
)
Box = tuple[float, float, float, float]


def draw_norms(axes: Any, rows: Rows) -> None:
    """How many rows have which length; rows of zeros and ones that are not finite are left out."""
    lengths = rows.norms[rows.ordinary]
    axes.hist(lengths, bins=BINS, color=COLORS[0])
    middle = float(np.median(lengths))
    axes.axvline(middle, color=COLORS[1], linestyle="--", label=f"median {middle:.3g}")
    axes.set_xlabel("length of the vector (Euclidean norm)")
    axes.set_ylabel("rows")
    axes.set_title("Distribution of norms")
    axes.legend()


def draw_map(axes: Any, found: TokenMap) -> None:
    """The tokens at their points; a name without room is left out, the later ones first."""
    first, second = found.shares
    axes.set_xlabel(f"first principal component ({first:.0%} of the variance)")
    axes.set_ylabel(f"second ({second:.0%})")
    axes.set_title(f"The {len(found.tokens):,} {found.order}", loc="left")
    axes.margins(0.08)
    axes.scatter(*found.points.T, s=9, color=COLORS[0], linewidths=0)
    figure = axes.figure
    figure.draw_without_rendering()  # settles where the axes are
    figure.set_layout_engine("none")
    pixels = 72 / figure.dpi
    places = axes.transData.transform(found.points) * pixels
    frame = axes.get_window_extent()
    inside = (frame.x0 * pixels, frame.y0 * pixels, frame.x1 * pixels, frame.y1 * pixels)
    taken = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in places.tolist()]
    for token, point, place in zip(found.tokens, found.points, places.tolist(), strict=True):
        text = _label(axes, shown_token(token, LONGEST), point)
        size = text.get_window_extent()
        free = _free_side(place, (size.width * pixels, size.height * pixels), inside, taken)
        if free is None:
            text.remove()
            continue
        side, box = free
        taken.append(box)
        text.set(ha=side[0], va=side[1])
        text.set_position(side[2:])


def _label(axes: Any, text: str, point: Any) -> Any:
    return axes.annotate(text, point, (0, 0), textcoords="offset points", fontsize=8)


def _free_side(
    place: list[float], size: tuple[float, float], inside: Box, taken: list[Box]
) -> tuple[tuple[str, str, int, int], Box] | None:
    """The first side where a label of a size is inside of the frame and covers no other."""
    for side, box in _boxes(place, size):
        within = inside[0] <= box[0] and inside[1] <= box[1]
        within = within and box[2] <= inside[2] and box[3] <= inside[3]
        if within and not any(_meet(box, other) for other in taken):
            return side, box
    return None


def _boxes(
    place: list[float], size: tuple[float, float]
) -> Iterator[tuple[tuple[str, str, int, int], Box]]:
    (x, y), (width, height) = place, size
    for side in SIDES:
        left = x + side[2] - {"left": 0, "center": width / 2, "right": width}[side[0]]
        low = y + side[3] - {"bottom": 0, "center": height / 2, "top": height}[side[1]]
        yield side, (left, low, left + width, low + height)


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
