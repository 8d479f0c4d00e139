"""The page of a report: one file of HTML without scripts, that asks no network for anything."""

from __future__ import annotations

from embedfreeze.htmltext import Html, element
from embedfreeze.reports.findings import Findings
from embedfreeze.reports.sections import numbers_of, sections_of

__all__ = ["page_of"]

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
    parts = list(sections_of(report))
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
        numbers_of(report),
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
