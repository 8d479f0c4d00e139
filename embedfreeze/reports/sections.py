"""The sections of a report's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from embedfreeze import storage
from embedfreeze.coveragereport import stage_rows
from embedfreeze.htmltext import Html, code, element, facts, join, table
from embedfreeze.plainlines import bytes_told
from embedfreeze.reports.findings import Findings
from embedfreeze.reports.inline import inline_svg

__all__ = ["numbers_of", "sections_of"]

SHOWN = 5  # tokens in a line, groups in a table
Section = tuple[str, str, list[Html]]


def sections_of(report: Findings) -> Iterator[Section]:
    """The sections of a report."""
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


def numbers_of(report: Findings) -> Html:
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


def _chart(report: Findings, name: str) -> Html:
    return element("figure", inline_svg(report.charts[name], name), class_=name)


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
    stages, sizes = (_chart(report, name) for name in ("coverage-stages", "coverage-sizes"))
    yield element("div", stages, sizes, class_="charts")
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
    ends = {"shortest": report.shortest, "longest": report.longest}
    numbers = [(name, f"{value:.4g}") for name, value in found.items()]
    yield element(
        "div",
        _chart(report, "norms"),
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
    groups = rows.groups(SHOWN)
    repeated = [names[int(group[1])] for group in groups]
    share = f"{rows.repeated / max(1, n):.1%}"
    lines.append(("rows that repeat another", f"{rows.repeated:,}", share, _tokens(repeated)))
    head = ["kind", "rows", "share", "the first"]
    yield _scroll(table(head, lines, numbers=[1, 2]), "Rows to look at")
    if groups:
        yield element("h3", "Tokens with one and the same vector")
        body = [(f"{len(group):,}", _some(report, group.tolist())) for group in groups]
        yield _scroll(table(["tokens", "the first"], body), "Equal vectors")


def _some(report: Findings, rows: Sequence[int]) -> Html:
    return _tokens([report.embeddings.tokens[row] for row in rows[:SHOWN]])


def _map(report: Findings) -> Iterator[Html]:
    found = report.map
    if found is None:
        yield element("p", "There is no plane: it takes three different rows of two values.")
        return
    shares = " and ".join(f"{share:.0%}" for share in found.shares)
    caption = (
        f"Each point is one of the {len(found.tokens):,} {found.order}, in the two directions in "
        f"which their vectors differ most (principal component analysis; {shares} of the variance)."
        " Names that would cover another are left out."
    )
    yield _scroll(_chart(report, "map"), "Map of tokens")
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
