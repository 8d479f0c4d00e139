"""A picture of a training: loss and metrics, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from embedfreeze.errors import EmbedFreezeError
from embedfreeze.files import PathLike, check_output
from embedfreeze.reports.figures import (
    COLORS,
    new_figure,
    picture_format,
    picture_style,
    save_figure,
)

__all__ = ["plot_history"]

PANEL = (4.6, 3.6)  # inches, of each measure
ACROSS = 3  # panels in a row
VALIDATION = "val_"
Curves = Mapping[str, Sequence[float]]


def plot_history(history: Any, path: PathLike | None = None, *, overwrite: bool = False) -> Any:
    """Draw what `fit` recorded: a panel for each measure, with its curve of validation.

    Parameters
    ----------
    history : keras.callbacks.History or mapping
        What `fit` returns, or its ``.history``: for each measure its value after each epoch.
    path : path, optional
        Save the picture there, as .png or .svg; equal histories give equal bytes.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    matplotlib.figure.Figure
        It belongs to no window, whatever matplotlib's settings are.

    Raises
    ------
    EmbedFreezeError
        matplotlib is not installed, or the history holds no epoch.
    FileError
        The path names neither kind of picture, or it cannot be written.

    Examples
    --------
    ``plot_history(model.fit(x, y, epochs=20, validation_split=0.1), "history.png")``
    """
    curves, epochs = _curves(history), _epochs(history)
    if path is not None:  # before there is anything to save
        picture_format(path)
        check_output(path, overwrite=overwrite)
    with picture_style():
        names = list(dict.fromkeys(name.removeprefix(VALIDATION) for name in curves))
        names.sort(key=lambda name: name != "loss")  # first, the others as they come
        across = min(ACROSS, len(names))
        down = -(-len(names) // across)
        figure = new_figure(PANEL[0] * across, PANEL[1] * down)
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            _draw(axes, name, curves, epochs)
        for axes in panels[len(names) :]:
            axes.remove()
    if path is not None:
        save_figure(figure, path, overwrite=overwrite)
    return figure


def _curves(history: Any) -> Curves:
    curves = getattr(history, "history", history)
    if not isinstance(curves, Mapping):
        raise TypeError(
            f"history must be what fit returns, or its .history, received "
            f"{type(history).__name__}: pass one of them"
        )
    found = {name: list(values) for name, values in curves.items() if len(values)}
    if not found:
        raise EmbedFreezeError("a history must have an epoch to draw, received none: train first")
    return found


def _epochs(history: Any) -> list[int]:
    """The numbers of the epochs, from 1; a fit that was continued does not begin there."""
    known = [epoch + 1 for epoch in getattr(history, "epoch", ())]
    return known or list(range(1, 1 + max(map(len, _curves(history).values()))))


def _draw(axes: Any, name: str, curves: Curves, epochs: list[int]) -> None:
    """The panel of a measure."""
    parts = {"training": name, "validation": VALIDATION + name}
    for (label, part), color, marker in zip(parts.items(), COLORS, "os", strict=False):
        if values := curves.get(part):
            every = max(1, len(epochs) // len(values))  # of fit's validation_freq
            shown = epochs[every - 1 :: every][: len(values)]
            axes.plot(shown, values, color=color, marker=marker, markersize=3, label=label)
    axes.set_title(name)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if len(axes.lines) > 1:
        axes.legend()
