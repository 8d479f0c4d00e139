"""HTML for notebooks and reports: text becomes HTML here, and nowhere else.

What these functions return is `Html`; what is not `Html` is escaped before it is put anywhere, so
that no token, path or name can become an element or a script.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape as escape_markup

from embedfreeze.plainlines import shown_token

__all__ = ["Html", "cell", "code", "element", "escape", "facts", "join", "panel", "table"]

LONGEST_TOKEN = 61  # characters, with the dots
# Greys that are seen on white and on black, and the colours of the page for all else.
_LINE = "1px solid rgba(128,128,128,.45)"
_CELL = f"padding:.2em .7em;border-bottom:{_LINE};vertical-align:top;background:transparent"
_WORD = f"{_CELL};text-align:left;overflow-wrap:anywhere"
_NUMBER = f"{_CELL};text-align:right;font-variant-numeric:tabular-nums"
_TABLE = "border-collapse:collapse;margin:.4em 0;color:inherit;background:transparent"
_PANEL = "color:inherit;overflow-x:auto;max-width:100%;line-height:1.4"


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: str) -> Html:
    """Text as HTML shows it: markup escaped, and visible what is no printable character.

    Unprintable are also what turns the direction of a line, and the half of a character that no
    page can be encoded with.

    Examples
    --------
    >>> escape("<b>&\\n\\ud800")
    '&lt;b&gt;&amp;\\\\n\\\\ud800'
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return Html(escape_markup(text))


def cell(content: object) -> Html:
    """`Html` as it is; anything else as escaped text."""
    return content if isinstance(content, Html) else escape(str(content))


def element(name: str, *content: object, **attributes: str) -> Html:
    """An element; of attributes that Python keeps for itself, as ``class_``, the end is cut.

    Examples
    --------
    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return Html(f"<{name}{said}>{join(content)}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Html:
    """Parts one behind the other."""
    return Html(escape(between).join(map(cell, parts)))


def code(token: str) -> Html:
    """A token as `shown_token` has it, whose direction does not turn that of its neighbours.

    Of a page of text that somebody took for a token it is the beginning.
    """
    text = shown_token(token, LONGEST_TOKEN)
    return element("code", element("bdi", text), style="background:transparent")


def table(
    head: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[int] = (),
    caption: str | None = None,
) -> Html:
    """A table whose first column is the heads of its rows.

    Parameters
    ----------
    head : sequence
        What stands above each column; empty for a table without that line.
    rows : iterable of sequences
        The cells.
    numbers : sequence of int
        Columns, from 0, that stand to the right.
    caption : str, optional
        What the table shows.
    """

    def style(column: int) -> str:
        return _NUMBER if column in numbers else _WORD

    lines = [
        element("th", found, scope="col", style=style(column)) for column, found in enumerate(head)
    ]
    body = [
        element(
            "tr",
            element("th", first, scope="row", style=f"{style(0)};font-weight:normal"),
            *(element("td", found, style=style(i)) for i, found in enumerate(rest, start=1)),
        )
        for first, *rest in rows
    ]
    return element(
        "table",
        *([] if caption is None else [element("caption", caption, style="text-align:left")]),
        *([element("thead", element("tr", *lines))] if lines else []),
        element("tbody", *body),
        style=_TABLE,
    )


def facts(found: Mapping[str, object]) -> Html:
    """A table of names and what they are; None is left out."""
    return table((), [(name, value) for name, value in found.items() if value is not None])


def panel(title: object, *parts: object) -> Html:
    """A title, and what stands below it, for the output of a notebook's cell."""
    head = element("div", element("strong", title))
    return element("div", head, *parts, style=_PANEL)
