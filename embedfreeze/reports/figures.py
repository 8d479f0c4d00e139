"""Figures of matplotlib: made without a window, saved to the same bytes each time."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from embedfreeze.errors import EmbedFreezeError, FileError
from embedfreeze.files import PathLike, atomic_output, name_of

__all__ = [
    "COLORS",
    "PICTURES",
    "Chart",
    "new_figure",
    "picture_bytes",
    "picture_format",
    "picture_style",
    "save_figure",
]

PICTURES = (".png", ".svg")
# Okabe and Ito's colours, which people with any colour vision tell apart; the first two are seen
# on white and on black.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DPI = 130  # dots an inch, of PNG
_NOTHING = {"png": {"Software": None}, "svg": {"Date": None}}  # what would differ each time


def _matplotlib(module: str) -> Any:
    """A module of matplotlib; `EmbedFreezeError` where that is missing."""
    try:
        import_module("matplotlib")
        return import_module(module)
    except ModuleNotFoundError as error:
        raise EmbedFreezeError(
            f'pictures need matplotlib, received: {error}: pip install "embedfreeze[report]"'
        ) from error


@contextmanager
def picture_style(settings: Mapping[str, Any] = MappingProxyType({})) -> Iterator[None]:
    """matplotlib's own settings, whatever the user's are, and further ones.

    Text is of one size and is no mathematics, and the names in SVG do not change from run to run.

    Raises
    ------
    EmbedFreezeError
        matplotlib is not installed.
    """
    ours = {"svg.hashsalt": "embedfreeze", "font.size": 10, "text.parse_math": False, **settings}
    with (
        _matplotlib("matplotlib.style").context(["default", ours]),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box stands for it
        yield


def new_figure(width: float, height: float) -> Any:
    """A figure of that many inches; it opens no window, whatever the caller's settings are.

    Raises
    ------
    EmbedFreezeError
        matplotlib is not installed.
    """
    figure = _matplotlib("matplotlib.figure").Figure((width, height), layout="constrained")
    _matplotlib("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure


@dataclass(frozen=True)
class Chart:
    """A figure of one chart, not drawn yet.

    Attributes
    ----------
    draw : callable
        Draws it on the axes that it is given.
    size : tuple of float
        Width and height, in inches.
    label : str
        What it shows, for who does not see it.
    """

    draw: Callable[[Any], None]
    size: tuple[float, float]
    label: str

    def figure(self) -> Any:
        """A new figure of it, to be made and saved under `picture_style`."""
        figure = new_figure(*self.size)
        self.draw(figure.subplots())
        return figure


def picture_bytes(figure: Any, format: str) -> bytes:
    """The figure as "png" or "svg"; equal figures give equal bytes."""
    out = io.BytesIO()
    with picture_style():
        figure.savefig(out, format=format, dpi=DPI, facecolor="white", metadata=_NOTHING[format])
    return out.getvalue()


def picture_format(path: PathLike) -> str:
    """The format that a file's name asks for: "png" or "svg"; `FileError` for another."""
    name = name_of(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in PICTURES:
        raise FileError(
            f"the name of a picture must end in {' or '.join(PICTURES)}, received {suffix!r}: "
            "rename it",
            path=name,
        )
    return suffix[1:]


def save_figure(figure: Any, path: PathLike, *, overwrite: bool = False) -> None:
    """Write a figure as PNG or SVG, as the name says; the file appears whole or not at all.

    Raises
    ------
    FileError
        The name asks for neither, the file exists and `overwrite` is false, or it cannot be
        written.
    """
    picture = picture_bytes(figure, picture_format(path))
    with atomic_output(path, overwrite=overwrite) as file:
        file.write(picture)
