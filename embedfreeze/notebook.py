"""What a notebook shows of an object: tables of plain HTML, out of what is at hand already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from embedfreeze.coveragereport import stage_rows
from embedfreeze.htmltext import Html, code, facts, join, panel, table

__all__ = [
    "SHOWN_TOKENS",
    "coverage_html",
    "facts_html",
    "proof_html",
    "rows_html",
    "vocabulary_html",
]

SHOWN_TOKENS = 5
SHOWN_VALUES = 5


def rows_html(
    kind: str,
    size: tuple[int, int],
    found: Mapping[str, object],
    tokens: Sequence[str],
    values: Any,
) -> str:
    """A table of vectors: facts, and its first rows with their first values.

    Parameters
    ----------
    kind : str
        What the object is called.
    size : tuple of int
        Rows and dim.
    found : mapping
        Facts to list; None is left out.
    tokens : sequence of str
        Those of the first rows, n of them.
    values : numpy.ndarray
        The values of these rows, [n, dim].
    """
    rows, dim = size
    shown = min(dim, SHOWN_VALUES)
    more = ["\u2026"] if dim > shown else []
    head = ["token", *range(shown), *more]
    body = [
        [code(token), *(f"{float(value):.4g}" for value in vector[:shown]), *more]
        for token, vector in zip(tokens, values, strict=True)
    ]
    told = f"the first {len(tokens)} of {rows:,} rows" if len(tokens) < rows else None
    first = table(head, body, numbers=range(1, len(head)), caption=told) if body else Html()
    return panel(f"{kind}: {rows:,} rows of {dim}", facts(found), first)


def facts_html(title: str, found: Mapping[str, object], *tables: Html) -> str:
    """Facts, of which None is left out, and what stands below them."""
    return panel(title, facts(found), *tables)


def vocabulary_html(
    size: int, special: Mapping[str, int], shown: Sequence[tuple[int, str, int | None]]
) -> str:
    """A vocabulary: special tokens and their ids, then the first ordinary ones."""
    counted = any(count is not None for *_, count in shown)
    body = [
        [number, code(token), *([f"{count or 0:,}"] if counted else [])]
        for number, token, count in shown
    ]
    head = ["id", "token", *(["count"] if counted else [])]
    ids = (join([code(token), f" {number}"]) for token, number in special.items())
    found = {"special tokens": join(ids, ", ") or "none"}
    first = table(head, body, numbers=[0, 2], caption="its first ordinary tokens")
    return panel(f"Vocabulary: {size:,} tokens", facts(found), first if body else "")


def coverage_html(report: Mapping[str, Any]) -> str:
    """A coverage as `Coverage.to_dict` gives it: the table of stages, and what is missing."""
    head, body = stage_rows(report)
    types = report["type"]
    return panel(
        f"Coverage: {types['found']:,} of {types['total']:,} types found",
        table(head, body, numbers=range(1, len(head))),
        facts(_coverage_facts(report)),
    )


def _coverage_facts(report: Mapping[str, Any]) -> dict[str, object]:
    missing = [
        code(entry["token"])
        if entry["count"] is None
        else join([code(entry["token"]), f" ({entry['count']:,})"])
        for entry in report["missing"]
    ]
    sources = [
        join([part["source"] or "unnamed", f": {part['type']['found']:,} found"])
        for part in report["sources"]
    ]
    special = join(map(code, report["special_in_file"]), ", ")
    return {
        "source": join(sources, "; ") if sources else report["source"],
        "most frequent missing" if "token" in report else "missing": join(missing, ", ") or None,
        "rows that serve several tokens": report["n_collisions"] or None,
        "tokens that the file repeats": report["n_duplicates"] or None,
        "special tokens that the file has too": special or None,
    }


def proof_html(said: str, tables: Iterable[Mapping[str, object]]) -> str:
    """What a proof says, and the facts of each table."""
    return panel(said, *map(facts, tables))
