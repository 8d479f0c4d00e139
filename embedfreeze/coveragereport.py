"""A coverage as people read it, from what `Coverage.to_dict` gives: plain text, or Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from embedfreeze.plainlines import shown_token

__all__ = ["markdown", "plain", "stage_rows"]

Report = Mapping[str, Any]


def _kinds(report: Report) -> list[str]:
    """What the report counts: types, and tokens where it can."""
    return [by for by in ("type", "token") if by in report]


def _lines(report: Report) -> dict[str, list[int]]:
    """The lines of the table of stages: for each kind a number."""
    kinds = [report[by] for by in _kinds(report)]
    lines = {stage: [kind["stages"][stage] for kind in kinds] for stage in kinds[0]["stages"]}
    lines["found"] = [kind["found"] for kind in kinds]
    lines["missing"] = [kind["total"] - kind["found"] for kind in kinds]
    return lines


def _share(number: int, total: int) -> str:
    """A number as a share of all; there is none of nothing."""
    return f"{number / total:.1%}" if total else "-"


def plain(report: Report) -> str:
    """The table of stages, and notes."""
    return "\n".join([_plain_table(report), *_notes(report)])


def _plain_table(report: Report) -> str:
    kinds, table = _kinds(report), _lines(report)
    totals = [report[by]["total"] for by in kinds]
    width = max(5, *(len(str(total)) for total in totals))
    first = max(7, *map(len, table))
    lines = [f"{'stage':<{first}}  " + "".join(f"{by + 's':<{width + 8}}" for by in kinds).rstrip()]
    for name, numbers in table.items():
        cells = (
            f"{number:>{width}} {_share(number, total):>6} "
            for number, total in zip(numbers, totals, strict=True)
        )
        lines.append((f"{name:<{first}}  " + "".join(cells)).rstrip())
    return "\n".join(lines)


def _notes(report: Report) -> list[str]:
    notes = [
        f"from {part['source']}: {part['type']['found']} of the {part['type']['total']} types "
        "looked up there"
        for part in report["sources"]
    ]
    if report["missing"]:
        first = "most frequent missing" if "token" in report else "missing"
        notes.append(f"{first}: {', '.join(map(_missing, report['missing']))}")
    if report["collisions"]:
        shown = (f"{c['spelling']!r} for {_reprs(c['tokens'])}" for c in report["collisions"])
        notes.append(f"{report['n_collisions']} rows serve several tokens: {'; '.join(shown)}")
    if report["duplicates"]:
        listed = _reprs(report["duplicates"])
        notes.append(f"{report['n_duplicates']} tokens that the file repeats: {listed}")
    if report["special_in_file"]:
        tokens = _reprs(report["special_in_file"])
        notes.append(f"special tokens that the file has too (its rows are not taken): {tokens}")
    return notes


def _reprs(tokens: Iterable[str]) -> str:
    return ", ".join(map(repr, tokens))


def _missing(entry: dict[str, Any]) -> str:
    inside = [] if entry["count"] is None else [str(entry["count"])]
    inside += [f"near {_reprs(entry['nearest'])}"] if entry["nearest"] else []
    return repr(entry["token"]) + (f" ({'; '.join(inside)})" if inside else "")


def markdown(report: Report, note: str | None = None) -> str:
    """The tables and lists in Markdown; the note stands with the missing tokens."""
    where = "" if report["source"] is None else f" in {_code(report['source'])}"
    collisions = [f"{_code(c['spelling'])}: {_codes(c['tokens'])}" for c in report["collisions"]]
    repeated = [f"{_code(token)}: {more} more" for token, more in report["duplicates"].items()]
    special = list(map(_code, report["special_in_file"]))
    parts = [
        f"# Coverage of {report['type']['total']:,} types{where}",
        _stage_table(report),
        _source_table(report),
        _missing_table(report, note),
        _list("rows serve several tokens", collisions, report["n_collisions"]),
        _list("tokens that the file repeats", repeated, report["n_duplicates"]),
        _list("special tokens that the file has too, whose rows are not taken", special),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _code(token: str) -> str:
    """A token as code in a table's cell; its repr where Markdown would change or hide it."""
    text = repr(token) if set("`|") & set(token) else shown_token(token)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if len(fence) > 1 else f"`{text}`"


def _codes(tokens: Iterable[str]) -> str:
    return ", ".join(map(_code, tokens))


def _table(head: Sequence[str], body: Iterable[Sequence[str]], numbers: int) -> str:
    """A table; the `numbers` columns behind the first stand to the right."""
    marks = ["---:" if 1 <= i <= numbers else "---" for i in range(len(head))]
    cells = ([cell.replace("|", "\\|") for cell in row] for row in [head, marks, *body])
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def stage_rows(report: Report) -> tuple[list[str], list[list[str]]]:
    """The head and the lines of a table of stages."""
    kinds = _kinds(report)
    totals = [report[by]["total"] for by in kinds]
    body = [
        [name]
        + [
            cell
            for number, total in zip(numbers, totals, strict=True)
            for cell in (f"{number:,}", _share(number, total))
        ]
        for name, numbers in _lines(report).items()
    ]
    return ["stage", *(cell for by in kinds for cell in (f"{by}s", "share"))], body


def _stage_table(report: Report) -> str:
    head, rows = stage_rows(report)
    body = [
        [name if re.fullmatch(r"[\w+]+", name) else _code(name), *numbers]
        for name, *numbers in rows
    ]
    return _table(head, body, numbers=len(head))


def _source_table(report: Report) -> str:
    body = [
        [_code(str(p["source"])), f"{p['type']['total']:,}", f"{p['type']['found']:,}"]
        for p in report["sources"]
    ]
    return _table(["source", "types looked up", "found"], body, numbers=2) if body else ""


def _missing_table(report: Report, note: str | None) -> str:
    if not report["missing"]:
        return ""
    counted = "token" in report
    body = [
        [_code(entry["token"])]
        + ([f"{entry['count']:,}"] if counted else [])
        + [_codes(entry["nearest"] or ())]
        for entry in report["missing"]
    ]
    head = ["token", *(["count"] if counted else []), "nearest spellings"]
    n = report["type"]["total"] - report["type"]["found"]
    title = f"## {n:,} missing types" + (", the most frequent first" if counted else "")
    told = [] if note is None else [_code(note)]
    return "\n\n".join([title, _table(head, body, numbers=int(counted)), *told])


def _list(title: str, items: list[str], n: int | None = None) -> str:
    if not items:
        return ""
    n = len(items) if n is None else n
    more = [f"- and {n - len(items):,} more"] if n > len(items) else []
    return "\n".join([f"## {n:,} {title}", "", *(f"- {item}" for item in items), *more])
