"""The documentation site: built strictly, whole, and faults in its pages are found."""

import functools
import inspect
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docs_site
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import DESKTOP, PHONE, browser, opened
from markdown_blocks import read_blocks, run_python_in_child
from markdown_it import MarkdownIt
from playwright.sync_api import Page
from test_layers import LEVELS

import embedfreeze as ef
from embedfreeze.cli import COMMANDS

ROOT = Path(__file__).parents[1]
# What the site is made of.
SOURCES = ["mkdocs.yml", "README.md", "docs", "embedfreeze", "scripts/docs_site.py"]


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def anchors(page: Path) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8")))


# --- the built site


def test_every_public_name_is_on_a_page_of_the_reference(site: Path) -> None:
    found = set().union(*(anchors(page) for page in (site / "reference").glob("*.html")))
    places = {name: f"embedfreeze.{module}.{name}" for name, module in ef._LATE.items()}
    assert set(ef.__all__) - set(places) == {"errors"}
    errors = [name for name in ef.errors.__all__ if isinstance(getattr(ef.errors, name), type)]
    assert len(errors) > 5
    wanted = {*places.values(), *(f"embedfreeze.errors.{name}" for name in errors)}
    assert wanted - found == set()


def test_the_page_of_a_name_says_what_its_docstring_says(site: Path) -> None:
    page = unescape((site / "reference" / "aligning.html").read_text(encoding="utf-8"))
    shown = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))
    first = (ef.load.__doc__ or "").splitlines()[0]
    assert first
    assert first in shown
    assert inspect.signature(ef.load).parameters.keys() <= set(re.findall(r"\w+", shown))


def test_the_page_of_the_command_line_is_what_the_commands_print(site: Path) -> None:
    page = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    shown = [unescape(re.sub(r"<[^>]+>", "", code)) for code in code_blocks(page)]
    assert len(shown) == 1 + len(COMMANDS)
    for name, said in zip([None, *COMMANDS], shown, strict=True):
        printed = subprocess.run(
            ["embedfreeze", *([name] if name else []), "--help"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={
                **os.environ,
                "COLUMNS": "80",
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
        ).stdout
        assert said.strip() == printed.strip(), name


def code_blocks(page: str) -> list[str]:
    return re.findall(r"<code[^>]*>(?:<a [^>]*></a>)?((?:(?!</code>).)*)</code></pre>", page, re.S)


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    loaded = r'<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)="((?:https?:)?//[^"]*)"'
    for page in pages:
        assert re.findall(loaded, page.read_text(encoding="utf-8")) == [], page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\(['\"]?(?:https?:)?//", sheet.read_text(encoding="utf-8")) == []


class Shape(HTMLParser):
    """How many of each element there are in what a page says."""

    COUNTED = frozenset({"h1", "h2", "h3", "h4", "li", "tr", "pre", "blockquote", "em", "strong"})

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.COUNTED:
            self.found[tag] += 1
        if tag == "a" and "headerlink" not in (dict(attrs).get("class") or ""):
            self.found["a"] += "href" in dict(attrs)


def shape(html: str) -> Counter[str]:
    parser = Shape()
    parser.feed(html)
    return parser.found


def pages_of_the_site() -> Iterator[tuple[str, str]]:
    """Each page's source in the repository, and its place."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        place = page.relative_to(ROOT / "docs").as_posix()
        if not place.startswith("reference/"):
            yield f"docs/{place}", place
    yield from (pair for pair in docs_site.PLACES.items() if pair[1].endswith(".md"))


@pytest.mark.parametrize(("source", "place"), pages_of_the_site())
def test_a_page_is_the_one_that_a_code_host_shows(site: Path, source: str, place: str) -> None:
    """By the same elements; the site's Markdown wants blank lines where others do not."""
    text = docs_site.included((ROOT / source).read_text(encoding="utf-8"), source)
    text = docs_site.placed(text, source, place)
    expected = shape(MarkdownIt("commonmark").enable("table").render(text))
    page = (site / place).with_suffix(".html").read_text(encoding="utf-8")
    article = page.partition("<article")[2].partition("</article>")[0]
    assert shape(article) == expected


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("index.html", "Put pretrained word embeddings"),  # the README's first lines
        ("index.html", '<span class="n">vocabulary</span>'),  # and its code, in colours
        ("formats/store.html", "token_offsets"),
        ("formats/index.html", 'href="magnitude.html"'),
        ("freezing.html", "F_SEAL_WRITE"),
        ("freezing.html", '<span class="filename">raises FrozenBytesChanged</span>'),
        ("batch.html", '<span class="filename">ends with exit status 4</span>'),
        ("batch.html", '<span class="filename">train.py</span>'),
        ("architecture.html", '<title id="flow-title">The way of the data</title>'),
        ("architecture.html", "<code>tests/test_layers.py</code>"),
        ("speed.html", 'href="benchmarks/results.html"'),
        ("data.html", 'href="formats/index.html"'),
    ],
)
def test_what_the_hooks_make(site: Path, page: str, words: str) -> None:
    assert words in (site / page).read_text(encoding="utf-8")


# --- faults


@pytest.mark.slow
def test_faults_end_the_build(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in [*SOURCES, *docs_site.PLACES]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    faults = {
        "docs/speed.md": "[gone](nowhere.md)",
        "docs/saving.md": "[gone](aligning.md#99-nowhere)",
        "docs/storage.md": "[gone](#nowhere-here)",
        "docs/batch.md": "[gone](../README.md#no-such-section)",
        "docs/reference/batch.md": "::: embedfreeze.batch.no_such_name",
    }
    for name, fault in faults.items():
        with (copy / name).open("a", encoding="utf-8") as page:
            page.write(f"\n{fault}\n")
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0
    said = done.stderr
    assert "no_such_name" in said
    (copy / "docs/reference/batch.md").write_text("# Batch\n", encoding="utf-8")
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0
    said = done.stderr
    for words in ("nowhere.md", "#99-nowhere", "#nowhere-here", "#no-such-section"):
        assert words in said


# --- the hooks alone


def test_a_section_ends_at_the_next_heading_of_its_depth() -> None:
    text = "# T\nfirst\n\n## A b, c\none\n```\n## no\n```\n### Deep\ntwo\n\n## B\nthree\n"
    assert docs_site.section(text, None) == "first"
    assert docs_site.section(text, "a-b-c") == "one\n```\n## no\n```\n### Deep\ntwo"
    assert docs_site.section(text, "deep") == "two"
    assert docs_site.section(text, "b") == "three"
    with pytest.raises(ValueError, match="must name a heading of the file, received 'no'"):
        docs_site.section(text, "no")


@pytest.mark.parametrize(
    ("link", "followed"),
    [
        ("[a](saving.md#serving)", "[a](../saving.md#serving)"),
        ("[a](formats/csv.md)", "[a](csv.md)"),
        ("[a](formats)", "[a](index.md)"),
        ("[a](../data/README.md)", "[a](../data.md)"),
        ("![a](../benchmarks/results.png)", "![a](../benchmarks/results.png)"),
        ("[`s`](../README.md#the-store-to-the-byte)", "[`s`](store.md#to-the-byte)"),
        ("[a](../README.md#formats)", "[a](index.md)"),
        ("[a](../README.md)", "[a](../index.md)"),
        ("[`cli.py`](../embedfreeze/cli.py)", "`embedfreeze/cli.py`"),
        ("[the program](../embedfreeze/cli.py)", "the program (`embedfreeze/cli.py`)"),
        ("[a](#here)", "[a](#here)"),
        ("[a](https://example.org/x.md)", "[a](https://example.org/x.md)"),
        ("[a](nowhere.md)", "[a](nowhere.md)"),
        ("`[a](saving.md)`", "`[a](saving.md)`"),
        ("```text\n[a](saving.md)\n```", "```text\n[a](saving.md)\n```"),
    ],
)
def test_links_follow(link: str, followed: str) -> None:
    assert docs_site.placed(link, "docs/page.md", "formats/page.md") == followed


def test_the_options_of_blocks_become_titles() -> None:
    text = "```python raises=KeyError\n{}[0]\n```\n\n```text\n``` x\n```\n"
    last = "```console status=3\n$ x\n```"
    assert docs_site.titled(text + last) == (
        '```python title="raises KeyError"\n{}[0]\n```\n\n```text\n``` x\n```\n'
        '```console title="ends with exit status 3"\n$ x\n```'
    )


# --- what the new pages say


def test_the_table_of_modules_is_in_the_order_of_the_layers() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = text.partition("## The modules")[2].partition("\n## ")[0].splitlines()
    cells = [row.split("|")[2] for row in rows if row.startswith("| ")]
    named = [LEVELS.index(name) for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert len(named) > 30
    assert named == sorted(named)


def test_the_commands_of_contributing_are_there() -> None:
    page = ROOT / "CONTRIBUTING.md"
    text = page.read_text(encoding="utf-8")
    (block,) = read_blocks(page, "bash")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = [*block.code.splitlines(), *re.findall(r"`((?:\w+=\w+ )?make [^`]+)`", text)]
    targets = {word for line in commands for word in line.split() if re.fullmatch(r"[a-z]+", word)}
    assert targets - {"make"} == {"install", "check", "test", "docs", "bench", "demo"}
    assert all(f"\n{target}: " in makefile for target in targets - {"make"})
    marked = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    selected = set(re.findall(r"SELECT=(\w+)", text))
    assert selected == {"slow", "large", "exhaustive", "fuzz"}
    assert all(f'"{marker}: ' in marked for marker in selected)
    assert run_python_in_child(page, cwd=ROOT).returncode == 0


# --- in a browser


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A page that is left does not wait for its pictures."""


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(site))
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def serious(page: Page) -> list[tuple[str, list[str]]]:
    """What keeps people from reading the page, by the rules of axe."""
    found = Axe().run(page).response["violations"]
    return [
        (fault["id"], [str(node["target"]) for node in fault["nodes"]])
        for fault in found
        if fault["impact"] in {"serious", "critical"}
    ]


LOOKED_AT = [
    "index.html",
    "migration.html",
    "formats/index.html",
    "reference/files.html",
    "architecture.html",
    "data.html",
]


def palette(page: Page) -> str | None:
    return page.locator("body").get_attribute("data-md-color-scheme")


@pytest.mark.slow
@pytest.mark.parametrize("dark_phone", [False, True], ids=["dark desktop", "dark phone"])
def test_pages_on_a_phone_and_on_a_desk(served: str, dark_phone: bool) -> None:
    with browser() as chromium:
        for name in LOOKED_AT:
            for size in (PHONE, DESKTOP):
                dark = (size == PHONE) == dark_phone
                with opened(chromium, f"{served}/{name}", size, dark=dark) as found:
                    found.page.wait_for_selector("article h1")
                    assert palette(found.page) == ("slate" if dark else "default")
                    assert found.page.evaluate("document.documentElement.scrollWidth") == size[0]
                    assert serious(found.page) == [], (name, size, dark)
                    assert (found.complaints, found.left) == ([], []), name


@pytest.mark.slow
def test_a_wide_table_scrolls_in_its_box_and_by_keys(served: str) -> None:
    with browser() as chromium, opened(chromium, f"{served}/data.html", PHONE) as found:
        box = found.page.locator(".scrolled").nth(1)
        assert box.evaluate("box => box.scrollWidth > 2 * box.clientWidth")
        box.focus()
        found.page.keyboard.press("ArrowRight")
        found.page.wait_for_function("box => box.scrollLeft > 0", arg=box.element_handle())


@pytest.mark.slow
def test_search_the_switch_of_colours_and_the_drawing(served: str) -> None:
    with browser() as chromium, opened(chromium, f"{served}/index.html") as found:
        page = found.page
        page.get_by_placeholder("Search").click()
        page.keyboard.type("F_SEAL_WRITE")
        results = page.locator(".md-search-result__item a[href*='freezing.html']")
        results.first.wait_for(state="attached")
        page.goto(f"{served}/architecture.html")
        drawing = page.get_by_role("img", name="The way of the data")
        colour = "element => getComputedStyle(element).color"
        before = drawing.evaluate(colour)
        page.get_by_title("Dark colours").click()
        page.wait_for_selector('body[data-md-color-scheme="slate"]')
        assert (
            before != drawing.evaluate(colour) == page.locator("article p").first.evaluate(colour)
        )
        assert (found.complaints, found.left) == ([], [])


@pytest.mark.slow
def test_the_site_can_be_read_from_a_folder(site: Path) -> None:
    with browser() as chromium, opened(chromium, (site / "index.html").as_uri()) as found:
        found.page.locator("article").get_by_role("link", name="aligning", exact=True).click()
        found.page.wait_for_url("**/aligning.html")
        assert found.page.locator("article h1").inner_text().startswith("Aligning")
        assert found.left == []
