"""The page of a report: one file of HTML without scripts, that asks no network for anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from embedfreeze import storage
from embedfreeze.coveragereport import stage_rows
from embedfreeze.htmltext import Html, code, element, facts, join, table
from embedfreeze.plainlines import bytes_told
from embedfreeze.reports.charts import draw_map, draw_norms
from embedfreeze.reports.coverageplot import draw_sizes, draw_stages
from embedfreeze.reports.findings import Findings
from embedfreeze.reports.inline import inline_svg

__all__ = ["page_of"]

SHOWN = 5  # tokens in a line, groups in a table
WIDE, SQUARE = (5.4, 3.6), (7.6, 6.4)  # inches
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1a1c1e; --soft: #53585d;
  --line: #c9cdd2; --card: #f5f6f8; --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e8eaed; --soft: #a9b0b7;
  --line: #3d444b; --card: #1d2125; --link: #8ab8f0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1.5rem 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { max-width: 70ch; margin: .5rem 0; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -100rem; }
.skip:focus { position: static; display: inline-block; padding: .5rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; padding: 0; }
nav a { display: inline-block; padding: .35rem 0; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: .75rem; margin: 1rem 0; }
.numbers div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem; }
.numbers dt { color: var(--soft); font-size: .85rem; }
.numbers dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr));
  gap: 1.5rem; }
.lists { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr));
  gap: 0 2rem; }
.scroll { overflow-x: auto; max-width: 100%; }
figure { margin: 1rem 0; }
figcaption, .note { color: var(--soft); font-size: .9rem; max-width: 70ch; }
svg { display: block; width: 100%; height: auto; font-family: "DejaVu Sans", Verdana, sans-serif; }
svg * { stroke-linejoin: round; }
.map svg { min-width: 42rem; max-width: 64rem; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace;
  font-size: .92em; }
.tokens code { display: inline-block; border: 1px solid var(--line); border-radius: .3rem;
  padding: 0 .35em; margin: .05rem 0; max-width: 100%; overflow-wrap: anywhere; }
.scroll th, .scroll td { overflow-wrap: break-word !important; }
.digest { overflow-wrap: anywhere; }
footer { margin-top: 3rem; padding-bottom: 2rem; color: var(--soft); font-size: .9rem; }
@media (max-width: 40rem) { table { font-size: .9rem; } }
@media print { nav, .skip { display: none; } section { break-inside: avoid; } }
"""


def page_of(report: Findings) -> str:
    """The page, as text to be written as UTF-8."""
    parts = [part for part in _sections(report) if part is not None]
    links = [element("li", element("a", title, href=f"#{name}")) for name, title, _ in parts]
    title = f"Embeddings of {report.name}"
    head = [
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        element("title", title),
        element("style", Html(STYLE)),
    ]
    header = element(
        "header",
        element("a", "Skip to the report", href="#main", class_="skip"),
        element("h1", title),
        element("nav", element("ul", *links), aria_label="Contents"),
    )
    main = element(
        "main",
        _numbers(report),
        *(
            element("section", element("h2", title, id=name), *content)
            for name, title, content in parts
        ),
        id="main",
        tabindex="-1",
    )
    footer = element("footer", f"Made by embedfreeze {report.version}.")
    body = element("body", header, main, footer)
    html = element("html", element("head", *head), body, lang="en")
    return f"<!doctype html>\n{html}\n"


Section = tuple[str, str, list[Html]]


def _sections(report: Findings) -> Iterator[Section | None]:
    yield "file", "The file", list(_file(report))
    if report.coverage is not None:
        yield "coverage", "Coverage", list(_coverage(report))
    yield "norms", "Norms", list(_norms(report))
    yield "rows", "Rows to look at", list(_rows(report))
    yield "map", "Map of tokens", list(_map(report))
    if report.neighbours:
        yield "neighbours", "Nearest neighbours", list(_neighbours(report))
    yield "memory", "Memory", list(_memory(report))
    yield "proof", "Freeze proof", list(_proof(report))


def _numbers(report: Findings) -> Html:
    """The few numbers that most people look for."""
    found = {
        "rows": f"{len(report.embeddings):,}",
        "dim": f"{report.embeddings.dim:,}",
        "dtype": report.embeddings.dtype,
        "memory": bytes_told(report.embeddings.matrix.nbytes),
    }
    if report.coverage is not None:
        found["coverage by type"] = f"{report.coverage.share():.1%}"
        if report.coverage.vocabulary.counts is not None:
            found["coverage by token"] = f"{report.coverage.share(by='token'):.1%}"
    pairs = (
        element("div", element("dt", name), element("dd", said)) for name, said in found.items()
    )
    return element("dl", *pairs, class_="numbers")


def _scroll(content: Html, label: str) -> Html:
    """What may be wider than the page scrolls by itself, also by the keyboard."""
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def _chart(drawn: Html, caption: str = "", *, kind: str = "chart") -> Html:
    said = [element("figcaption", caption)] if caption else []
    return element("figure", drawn, *said, class_=kind)


def _tokens(found: Sequence[str]) -> Html:
    return element("span", join(map(code, found), " "), class_="tokens")


def _file(report: Findings) -> Iterator[Html]:
    embeddings, found = report.embeddings, report.inspection
    first = _tokens([embeddings.tokens[i] for i in range(min(SHOWN, len(embeddings)))])
    if found is None:
        yield facts({"path": embeddings.path or "none: made in memory", "first tokens": first})
        return
    packed = f" in {found.container}" if found.container else ""
    yield _scroll(
        facts(
            {
                "path": found.path,
                "format": f"{found.format}{packed}",
                "member": found.member,
                "size": None if found.file_bytes is None else bytes_told(found.file_bytes),
                "first tokens": first,
            }
        ),
        "What the file is",
    )
    said = [*found.notes, *(finding.message for finding in found.findings)]
    said += [] if found.problem is None else [f"rows that were skipped: {found.problem}"]
    if said:
        yield element("h3", "What is to be known of it")
        yield element("ul", *(element("li", line) for line in said))


def _coverage(report: Findings) -> Iterator[Html]:
    coverage = report.coverage
    assert coverage is not None  # noqa: S101
    found = coverage.to_dict(report.listed)
    head, body = stage_rows(found)
    yield _scroll(table(head, body, numbers=range(1, len(head))), "Coverage by stage")
    stages = inline_svg(
        partial(draw_stages, coverage=coverage), WIDE, "stages", "Coverage by stage, as the table"
    )
    sizes = inline_svg(
        partial(draw_sizes, coverage=coverage),
        WIDE,
        "sizes",
        "Share of the n first tokens that have a row, for growing n",
    )
    yield element("div", _chart(stages), _chart(sizes), class_="charts")
    if found["missing"]:
        yield from _missing(found)
    if found["collisions"]:
        yield element("h3", f"Rows that serve several tokens: {found['n_collisions']:,}")
        rows = [(code(c["spelling"]), _tokens(c["tokens"])) for c in found["collisions"]]
        yield _scroll(table(["in the file", "in the vocabulary"], rows), "Shared rows")


def _missing(found: dict[str, Any]) -> Iterator[Html]:
    counted = "token" in found
    yield element("h3", "Most frequent missing tokens" if counted else "Missing tokens")
    rows = [
        [
            code(entry["token"]),
            *([f"{entry['count']:,}"] if counted else []),
            _near(entry["nearest"]),
        ]
        for entry in found["missing"]
    ]
    head = ["token", *(["count"] if counted else []), "spellings of the file within one edit"]
    yield _scroll(table(head, rows, numbers=[1] if counted else []), "Missing tokens")


def _near(spellings: list[str] | None) -> object:
    if spellings is None:
        return "not looked up"
    return _tokens(spellings) if spellings else "none"


def _norms(report: Findings) -> Iterator[Html]:
    rows = report.rows
    found = rows.to_dict()["norms"]
    if found is None:
        yield element("p", "No row has a length: all are zero, or hold values that are not finite.")
        return
    chart = inline_svg(
        partial(draw_norms, rows=rows), WIDE, "norms", "Histogram of the lengths of the vectors"
    )
    ends = {"shortest": report.shortest, "longest": report.longest}
    numbers = [(name, f"{value:.4g}") for name, value in found.items()]
    yield element(
        "div",
        _chart(chart),
        element(
            "div",
            table(["norm", "value"], numbers, numbers=[1]),
            *(element("p", f"The {name}: ", _tokens(tokens)) for name, tokens in ends.items()),
        ),
        class_="charts",
    )


def _rows(report: Findings) -> Iterator[Html]:
    rows, names = report.rows, report.embeddings.tokens
    n = len(report.embeddings)
    kinds = {"zero rows": rows.zero, "rows that are not finite": rows.not_finite}
    lines = [
        (name, f"{len(found):,}", f"{len(found) / max(1, n):.1%}", _some(report, found.tolist()))
        for name, found in kinds.items()
    ]
    repeated = [names[int(group[1])] for group in rows.groups[:SHOWN]]
    share = f"{rows.repeated / max(1, n):.1%}"
    lines.append(("rows that repeat another", f"{rows.repeated:,}", share, _tokens(repeated)))
    head = ["kind", "rows", "share", "the first"]
    yield _scroll(table(head, lines, numbers=[1, 2]), "Rows to look at")
    if rows.groups:
        yield element("h3", "Tokens with one and the same vector")
        groups = [(f"{len(group):,}", _some(report, group.tolist())) for group in rows.groups]
        yield _scroll(table(["tokens", "the first"], groups[:SHOWN]), "Equal vectors")


def _some(report: Findings, rows: Sequence[int]) -> Html:
    return _tokens([report.embeddings.tokens[row] for row in rows[:SHOWN]])


def _map(report: Findings) -> Iterator[Html]:
    found = report.map
    if found is None:
        yield element("p", "There is no plane: it takes three different rows of two values.")
        return
    chart = inline_svg(
        partial(draw_map, found=found),
        SQUARE,
        "map",
        f"Map of {len(found.tokens)} tokens by principal component analysis",
    )
    shares = " and ".join(f"{share:.0%}" for share in found.shares)
    caption = (
        f"Each point is one of the {len(found.tokens):,} {found.order}, in the two directions in "
        f"which their vectors differ most (principal component analysis; {shares} of the variance)."
        " Names that would cover another are left out."
    )
    yield _scroll(_chart(chart, kind="chart map"), "Map of tokens")
    yield element("p", caption, class_="note")


def _neighbours(report: Findings) -> Iterator[Html]:
    yield element("p", "The most similar tokens by the cosine of the angle between vectors.")
    lists = []
    for token, near in report.neighbours.items():
        rows = [(code(other), f"{similarity:.3f}") for other, similarity in near]
        listed = table(["token", "cosine"], rows, numbers=[1])
        lists.append(element("div", element("h3", code(token)), listed))
    yield element("div", *lists, class_="lists")


def _memory(report: Findings) -> Iterator[Html]:
    embeddings = report.embeddings
    yield element(
        "p",
        f"What the {len(embeddings):,} rows of {embeddings.dim:,} values take in memory, and in a "
        "store, by how they are stored; a table that nothing trains needs no more than it was "
        "made with.",
    )
    rows = []
    for dtype in storage.DTYPES:
        size = len(embeddings) * storage.row_bytes(dtype, embeddings.dim)
        name = f"{dtype}, as this table" if dtype == embeddings.dtype else dtype
        rows.append((name, bytes_told(size)))
    yield table(["dtype", "memory"], rows, numbers=[1])


def _proof(report: Findings) -> Iterator[Html]:
    if report.proof is None:
        yield element(
            "p",
            "None: these rows are in no store and in no sealed memory, so anything may change "
            "them. ",
            element("code", "embedfreeze convert"),
            " makes a store of the file, ",
            element("code", "embedfreeze align"),
            " one of your vocabulary.",
        )
        return
    yield element("p", str(report.proof), class_="digest")
