"""Figures as SVG inside of a page: with its font and colours, in light and in dark."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

from embedfreeze.htmltext import Html
from embedfreeze.reports.figures import Chart, picture_style

__all__ = ["inline_svg"]

# Colours of a figure that become those of the page it stands in.
INK, PAPER = "#010203", "#fdfcfb"
_INKED = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color")
_STYLE = {
    **dict.fromkeys((*_INKED, "lines.color"), INK),
    "axes.facecolor": "none",
    "grid.color": INK,
    "legend.edgecolor": INK,
    "legend.facecolor": PAPER,
    "svg.fonttype": "none",  # text that can be searched, in a font of the reader's
}
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_DROPPED = {f"{_SVG}metadata", f"{_SVG}style"}


def inline_svg(chart: Chart, name: str) -> Html:
    """A chart as an SVG element.

    Parameters
    ----------
    chart : Chart
        What is drawn.
    name : str
        Stands before each id, so that those of several charts in a page differ.
    """
    out = io.BytesIO()
    with picture_style(_STYLE):
        chart.figure().savefig(out, format="svg", facecolor="none", metadata={"Date": None})
    root = ElementTree.fromstring(out.getvalue())  # noqa: S314 (matplotlib wrote it just now)
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in _DROPPED]:
            parent.remove(child)
    for found in root.iter():
        _adapt(found, name)
    for side in ("width", "height"):
        del root.attrib[side]  # the view box stays: it is as wide as the page lets it be
    root.attrib.update({"role": "img", "aria-label": chart.label})
    return Html(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))


def _adapt(found: ElementTree.Element, name: str) -> None:
    """The element as a page has it: no prefix, ids of its own, the page's ink, paper and font."""
    found.tag = found.tag.removeprefix(_SVG)
    if "id" in found.attrib:
        found.set("id", f"{name}-{found.get('id')}")
    if _LINK in found.attrib:
        found.set("href", found.attrib.pop(_LINK).replace("#", f"#{name}-"))
    if "clip-path" in found.attrib:
        found.set("clip-path", found.attrib["clip-path"].replace("#", f"#{name}-"))
    if "style" in found.attrib:
        style = found.attrib["style"].replace(INK, "currentColor").replace(PAPER, "var(--paper)")
        found.set("style", re.sub(r"font-family:[^;]*;? ?", "", style))
