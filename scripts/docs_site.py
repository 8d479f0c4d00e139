"""Hooks of MkDocs: what is written to be read in the repository becomes a page of the site.

The Markdown files of this repository link to each other by their places in it, and stand in it
once. Here, as the site is built (``mkdocs.yml`` names this file):

- files outside of ``docs/`` become pages (`PLACES`), and the help of every command one page;
- an include is replaced by the section that it names. In the repository it is a link::

      <!-- include: ../README.md#formats -->
      The [table of formats](../README.md#formats).
      <!-- end of include -->

- links follow to where a file or a section stands in the site. A file of the repository that is no
  page, such as a source, is named instead;
- the options of code blocks (``raises=``, ``status=``, ``file=``), which are for the tests, become
  titles of the blocks;
- drawings (SVG) stand in their pages, so that they take on the colours of the page, and tables in
  boxes that scroll, also by keys.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
COMMAND_LINE = "reference/command-line.md"
# Files of the repository outside of docs/, and where they stand in the site.
PLACES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/growth.png": "benchmarks/growth.png",
    "benchmarks/notes.md": "benchmarks/notes.md",
    "benchmarks/results.md": "benchmarks/results.md",
    "benchmarks/results.png": "benchmarks/results.png",
    "benchmarks/storage.md": "benchmarks/storage.md",
    "data/README.md": "data.md",
    "tests/fuzz/README.md": "changed-files.md",
    "tests/hostile/README.md": "hostile-files.md",
}

INCLUDE = re.compile(
    r"^<!-- include: (?P<file>[^ #]+)(?:#(?P<section>\S+))? -->\n.*?^<!-- end of include -->$",
    re.MULTILINE | re.DOTALL,
)
FENCED = re.compile(r"^(?P<fence> *```+)(?P<first>.*)\n(?:.*\n)*?(?P=fence) *$", re.MULTILINE)
HEADING = re.compile(r"^(#+) +(.+?) *$", re.MULTILINE)
OPTION = re.compile(r"(raises|status|file)=(\S+)")
TITLES = {"raises": "raises {}", "status": "ends with exit status {}", "file": "{}"}
CODE = r"^ *```[^\n]*\n.*?^ *``` *$|`[^`\n]+`"
LINK = re.compile(
    rf"(?P<code>{CODE})|\[(?P<text>[^\[\]]*)\]\((?P<target>[^()\s]+)\)", re.MULTILINE | re.DOTALL
)
SEARCH = 'data-md-component="search" role="dialog"'
TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
SCROLLED = '<div class="scrolled" role="group" aria-label="Table" tabindex="0">{}</div>'
DRAWING = re.compile(r'<img alt="[^"]*" src="(?P<name>[^"]+\.svg)" ?/?>')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not stand in ``docs/``."""
    for source, place in PLACES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, COMMAND_LINE, content=command_line()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The text of a page as the site has it."""
    place = page.file.src_uri
    source = next((name for name in PLACES if PLACES[name] == place), DOCS + place)
    return titled(placed(included(markdown, source), source, place))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its drawings inside, and its tables in boxes."""
    folder = ROOT / DOCS / dirname(page.file.src_uri)
    html = DRAWING.sub(lambda found: (folder / found["name"]).read_text(encoding="utf-8"), html)
    return TABLE.sub(lambda found: SCROLLED.format(found[0]), html)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """The page with a name for its search, which the theme leaves out."""
    return output.replace(SEARCH, SEARCH + ' aria-label="Search"')


def included(markdown: str, source: str) -> str:
    """The text of the file `source` with the sections that it includes."""

    def of(found: re.Match[str]) -> str:
        file = normpath(join(dirname(source), found["file"]))
        text = section((ROOT / file).read_text(encoding="utf-8"), found["section"])
        return LINK.sub(lambda link: _moved(link, file, source), text)

    return INCLUDE.sub(of, markdown)


def section(markdown: str, anchor: str | None) -> str:
    """What stands under a heading, without it; under the first one, up to the next, by default.

    Raises
    ------
    ValueError
        No heading has this anchor.
    """
    headings = list(HEADING.finditer(_without_code(markdown)))
    for place, heading in enumerate(headings):
        if anchor is None or slug(heading[2]) == anchor:
            deeper = len(heading[1]) if anchor else len(markdown)
            ends = [h.start() for h in headings[place + 1 :] if len(h[1]) <= deeper]
            return markdown[heading.end() : ends[0] if ends else None].strip()
    raise ValueError(f"an include must name a heading of the file, received {anchor!r}")


def slug(heading: str) -> str:
    """The anchor that code hosts, and this site, give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def placed(markdown: str, source: str, place: str) -> str:
    """The text of `source`, which stands at `place` in the site, with links that hold there."""
    return LINK.sub(lambda link: _followed(link, source, place), markdown)


def titled(markdown: str) -> str:
    """The text with the options of its code blocks as titles."""

    def of(found: re.Match[str]) -> str:
        language, _, options = found["first"].strip().partition(" ")
        said = ", ".join(TITLES[name].format(value) for name, value in OPTION.findall(options))
        block = found[0][len(found["fence"]) + len(found["first"]) :]
        return f"{found['fence']}{language}" + (f' title="{said}"' if said else "") + block

    return FENCED.sub(of, markdown)


def command_line() -> str:
    """A page with the help of all commands, as the terminal shows it."""
    from embedfreeze.cli import COMMANDS

    parts = [
        "# The command line\n\nWhat `embedfreeze COMMAND --help` prints.",
        _help_block(),
        *(f"## {name}\n\n{_help_block(name)}" for name in COMMANDS),
    ]
    return "\n\n".join(parts) + "\n"


def _help_block(*command: str) -> str:
    program = "import sys\nfrom embedfreeze.cli import main\nsys.exit(main())"
    shown = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program, *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
    )
    return f"```text\n{shown.stdout.rstrip()}\n```"


def _without_code(markdown: str) -> str:
    """The text with its code blocks blanked, so that a comment in one is no heading."""
    return FENCED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), markdown)


def _moved(link: re.Match[str], file: str, source: str) -> str:
    """A link of `file` as `source` has to spell it."""
    if link["code"] or _leads_away(link["target"]):
        return link[0]
    target = link["target"]
    inside = normpath(join(dirname(file), target)) if target[0] != "#" else file + target
    return f"[{link['text']}]({relpath(inside, dirname(source) or '.')})"


def _followed(link: re.Match[str], source: str, place: str) -> str:
    """A link of `source` as the page at `place` has to spell it."""
    if link["code"] or _leads_away(link["target"]) or link["target"].startswith("#"):
        return link[0]
    target, mark, anchor = link["target"].partition("#")
    file = normpath(join(dirname(source), target))
    if file == "README.md":
        found, anchor = _place_of_section(anchor)
        mark = "#" if anchor else ""
    else:
        found = _place_of_file(file)
    if found:
        return f"[{link['text']}]({relpath(found, dirname(place) or '.')}{mark}{anchor})"
    if (ROOT / file).exists():
        named = link["text"].strip("`").rstrip("/") == Path(file).name
        return f"`{file}`" if named else f"{link['text']} (`{file}`)"
    return link[0]


def _leads_away(target: str) -> bool:
    return bool(re.match(r"[a-z][a-z0-9+.-]*:", target))


def _place_of_file(file: str) -> str | None:
    """Where a file of the repository stands in the site, or a folder's page."""
    if file.startswith(DOCS) and (ROOT / file / "index.md").is_file():
        return f"{file.removeprefix(DOCS)}/index.md"
    if file.startswith(DOCS) and (ROOT / file).is_file():
        return file.removeprefix(DOCS)
    return PLACES.get(file)


def _place_of_section(anchor: str) -> tuple[str, str]:
    """The page that includes a section of the README, and the anchor there; else the first page.

    An anchor that the README does not have stays, so that the build complains of it.
    """
    readme = _without_code((ROOT / "README.md").read_text(encoding="utf-8"))
    if anchor and anchor not in {slug(heading) for _, heading in HEADING.findall(readme)}:
        return "index.md", anchor
    for page in sorted((ROOT / DOCS).rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        for found in INCLUDE.finditer(text):
            if anchor and found["section"] == anchor and found["file"].endswith("README.md"):
                above = HEADING.findall(_without_code(text[: found.start()]))
                inner = slug(above[-1][1]) if len(above) > 1 else ""
                return page.relative_to(ROOT / DOCS).as_posix(), inner
    return "index.md", ""
