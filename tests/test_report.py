"""The report: its numbers against NumPy and gensim, its page in a real browser, light and dark."""

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import DESKTOP, PHONE, browser, opened
from playwright.sync_api import Browser
from samples import child, put
from sklearn.decomposition import PCA

import embedfreeze as ef
from embedfreeze.cli import main
from embedfreeze.errors import FormatError, FrozenError, UnknownTokenError
from embedfreeze.reports.inline import INK
from embedfreeze.reports.page import STYLE
from embedfreeze.reports.rows import Rows

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data" / "glove.6B.50d.sample.txt"
MAIN = "import sys; from embedfreeze.cli import main; sys.exit(main())"
CASES = ["counted", "hostile", "sample", "tiny", "zeros"]
MEMORY = """
import sys
import embedfreeze as ef

def resident():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem")) * 1024

words = ef.Vocabulary.from_file(sys.argv[2])
table = ef.read(sys.argv[1])
level = resident()
found = ef.report(table, vocabulary=words, neighbours_of="t5")
print(resident() - level, found.coverage.found())
"""
EVIL = [
    "<script>document.title='gone'</script>",
    '"><img src=x onerror=alert(1)>',
    "&amp;",
    "$x^2$",
    "\u202eright to left",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u4e2d\u6587",
    "\U0001f600",
    "tab\there",
    "new\nline",
    "nul\0",
    "",
    " blank ",
    "x" * 500,
    "]]>",
    'url(#a) id="b"',
]


def embeddings_of(tokens: list[str], seed: int = 0, dim: int = 8) -> ef.Embeddings:
    matrix = np.random.default_rng(seed).normal(size=(len(tokens), dim)).astype(np.float32)
    return ef.Embeddings(tokens, matrix)


@pytest.fixture(scope="module")
def sample() -> ef.Embeddings:
    return ef.read(SAMPLE)


@pytest.fixture(scope="module")
def counted() -> ef.Vocabulary:
    counts = {"the": 90, "The": 20, "ive": 12, "film": 9, "qwertyuiop": 2}
    return ef.Vocabulary(list(counts), counts=counts)


@pytest.fixture(scope="module")
def pages() -> Iterator[Browser]:
    with browser() as found:
        yield found


class Outline(HTMLParser):
    """The ids of a page, what its links lead to, and whether its elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if "href" in given else []
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    assert found.open == []
    return found


# What it finds.


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_norms_are_those_of_numpy(sample: ef.Embeddings, dtype: str) -> None:
    stored = sample.astype(dtype)
    values = np.stack([stored[token] for token in stored.tokens]).astype(np.float64)
    found = Rows.of(stored.matrix).norms
    np.testing.assert_allclose(found, np.linalg.norm(values, axis=1), rtol=1e-14)


def test_rows_to_look_at() -> None:
    matrix = np.array(
        [[1, 2], [0, 0], [1, 2], [np.nan, 1], [3, 4], [-0.0, 0], [3, 4], [1, 2], [np.inf, 0]],
        np.float32,
    )
    rows = Rows.of(matrix)
    assert rows.zero.tolist() == [1, 5]
    assert rows.not_finite.tolist() == [3, 8]
    assert rows.ordinary.tolist() == [0, 2, 4, 6, 7]
    assert [group.tolist() for group in rows.groups(9)] == [[0, 2, 7], [4, 6]]
    assert rows.to_dict() == {
        "norms": {"min": 5**0.5, "median": 5**0.5, "mean": (3 * 5**0.5 + 10) / 5, "max": 5.0},
        "zero_rows": 2,
        "not_finite_rows": 2,
        "repeated_rows": 3,
    }


def test_rows_of_subnormal_and_of_largest_values_have_a_length() -> None:
    info = np.finfo(np.float32)
    rows = Rows.of(np.array([[info.smallest_subnormal, 0], [info.max, info.max]], np.float32))
    assert rows.ordinary.tolist() == [0, 1]


def test_the_map_is_that_of_scikit_learn(sample: ef.Embeddings) -> None:
    found = ef.report(sample, points=150).map
    assert found is not None
    values = np.asarray(sample.matrix[:150], np.float64)
    oracle = PCA(2, svd_solver="full").fit(values)
    points = oracle.transform(values)
    signs = np.sign((points * found.points).sum(axis=0))
    np.testing.assert_allclose(found.points, points * signs, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.shares, oracle.explained_variance_ratio_, rtol=1e-9)
    assert found.tokens == list(sample.tokens)[:150]


@pytest.mark.parametrize(
    "matrix", [np.ones((2, 8)), np.ones((9, 8)), np.zeros((5, 3)), np.arange(9.0)[:, None] + 1]
)
def test_no_map_where_there_is_no_plane(matrix: Any) -> None:
    tokens = [f"t{i}" for i in range(len(matrix))]
    found = ef.report(ef.Embeddings(tokens, np.ascontiguousarray(matrix, np.float32)))
    assert found.map is None
    assert "There is no plane" in found.html


def test_the_most_frequent_tokens_come_first(sample: ef.Embeddings) -> None:
    counts = {"film": 5, "king": 50, "zzzz": 500, "music": 20}
    found = ef.report(sample, vocabulary=ef.Vocabulary(list(counts), counts=counts))
    assert found.map is not None
    assert found.map.tokens == ["king", "music", "film"]
    assert found.map.order == "most frequent tokens of the vocabulary"


def test_rows_without_a_direction_are_not_in_the_map() -> None:
    matrix = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    matrix[2], matrix[4, 1] = 0, np.nan
    found = ef.report(ef.Embeddings(list("abcdefghi"), matrix))
    assert found.map is not None
    assert found.map.tokens == list("abdfghi")


def test_neighbours_are_those_of_gensim(sample: ef.Embeddings) -> None:
    found = ef.report(sample, neighbours_of=["king", "music"])
    vectors = sample.to_gensim()
    for token, near in found.neighbours.items():
        oracle = vectors.most_similar(token, topn=10)
        assert [other for other, _ in near] == [other for other, _ in oracle]
    with pytest.raises(UnknownTokenError, match="kingg"):
        ef.report(sample, neighbours_of=["kingg"])


def test_coverage_has_its_spellings(sample: ef.Embeddings, counted: ef.Vocabulary) -> None:
    found = ef.report(SAMPLE, vocabulary=counted).to_dict()["coverage"]
    assert found["type"]["stages"] == {"exact": 2, "lower": 1}
    assert found["token"]["total"] == 133
    assert [m["token"] for m in found["missing"]] == ["ive", "qwertyuiop"]
    assert "five" in found["missing"][0]["nearest"]


def test_coverage_of_a_store_is_that_it_was_saved_with(
    counted: ef.Vocabulary, tmp_path: Path
) -> None:
    ef.load(SAMPLE, counted).save(tmp_path / "table.safetensors")
    found = ef.report(tmp_path / "table.safetensors")
    assert found.coverage is not None
    assert found.coverage.found(by="token") == 119


def test_coverage_copies_no_rows(tmp_path: Path) -> None:
    tokens = [f"t{i}" for i in range(200_000)]
    (tmp_path / "words.txt").write_text("\n".join(tokens), encoding="utf-8")
    matrix = np.ones((len(tokens), 200), np.float32)
    matrix[:, 0] = np.arange(len(tokens))
    ef.write(ef.Embeddings(tokens, matrix), tmp_path / "table.safetensors")
    told = child(MEMORY, tmp_path / "table.safetensors", tmp_path / "words.txt")
    used, found = map(int, told.split())
    assert found == len(tokens)
    assert used < matrix.nbytes


def test_rows_that_a_policy_filled_in_are_no_words(
    sample: ef.Embeddings, counted: ef.Vocabulary, tmp_path: Path
) -> None:
    aligned = ef.align(sample, counted, oov="mean", special={"[UNK]": "mean"})
    aligned.save(tmp_path / "table.safetensors")
    table = ef.read(tmp_path / "table.safetensors")
    found = ef.report(table, neighbours_of="film")
    assert [token for token, _ in found.neighbours["film"]] == ["the", "The"]
    assert ef.neighbours(table, "qwertyuiop", 1)  # what is asked for may be filled in


@pytest.mark.parametrize("options", [{"points": 0}, {"points": -1}, {"listed": 0}])
def test_numbers_that_make_no_sense(sample: ef.Embeddings, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be at least 1, received"):
        ef.report(sample, **options)


def test_tokens_that_are_no_utf8(tmp_path: Path) -> None:
    source = put(tmp_path / "latin.txt", b"caf\xe9 1 2 3\nking 3 4 5\nqueen 9 4 1\nx 1 1 0\n")
    ef.write(ef.read(source, unicode_errors="surrogateescape"), tmp_path / "t.safetensors")
    assert "caf\\udce9" in ef.report(tmp_path / "t.safetensors").html


# The proof.


def test_a_store_is_hashed(tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    embeddings = embeddings_of([f"t{i}" for i in range(20)])
    ef.write(embeddings, path)
    proof = ef.report(path).proof
    assert proof is not None
    assert (proof.tables[0].digest, proof.tables[0].how) == (embeddings.digest, "deep")
    raw = bytearray(path.read_bytes())
    raw[4096] ^= 1
    path.write_bytes(raw)
    with pytest.raises(FormatError):  # the inspection says it before the table is opened
        ef.report(path)


def test_aligned_rows_are_sealed(sample: ef.Embeddings, counted: ef.Vocabulary) -> None:
    aligned = ef.align(sample, counted)
    proof = ef.report(aligned).proof
    assert proof is not None
    assert proof.tables[0].guarantee == "sealed"
    assert proof.tables[0].digest == aligned.digest


def test_a_proof_of_a_model(sample: ef.Embeddings, counted: ef.Vocabulary, tmp_path: Path) -> None:
    aligned = ef.align(sample, counted)
    model = ef.build_model(aligned)
    proof = ef.verify(model)
    path = proof.save(tmp_path / "kept.json")
    assert ef.report(aligned, proof=path).proof == proof
    assert str(proof.tables[0].digest) in ef.report(aligned, proof=proof).html
    with pytest.raises(FrozenError, match="must speak of this table"):
        ef.report(sample, proof=proof)


def test_ordinary_memory_has_no_proof(sample: ef.Embeddings) -> None:
    found = ef.report(sample)
    assert found.proof is None
    assert "in no store and in no sealed memory" in found.html


# The page.


def hostile_report() -> ef.Report:
    embeddings = embeddings_of([*EVIL, *(f"t{i}" for i in range(40))])
    counts = {**dict.fromkeys(EVIL, 3), "<b>missing</b>": 7}
    vocabulary = ef.Vocabulary(list(counts), counts=counts, padding=None, unknown=None)
    return ef.report(embeddings, vocabulary=vocabulary, neighbours_of=EVIL[:3])


@pytest.fixture(scope="module")
def made(counted: ef.Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of several tables."""
    reports = {
        "sample": ef.report(SAMPLE),
        "counted": ef.report(SAMPLE, vocabulary=counted),
        "hostile": hostile_report(),
        "tiny": ef.report(embeddings_of(["one"], dim=1)),
        "zeros": ef.report(ef.Embeddings(["a", "b"], np.zeros((2, 3), np.float32))),
    }
    assert sorted(reports) == CASES
    folder = tmp_path_factory.mktemp("pages")
    for name, found in reports.items():
        found.save(folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in reports}


@pytest.mark.parametrize("name", CASES)
def test_the_page_is_whole(made: dict[str, Path], name: str) -> None:
    page = made[name].read_text(encoding="utf-8")
    found = outline(page)
    assert len(found.ids) == len(set(found.ids))
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert "<script" not in page
    assert "http" not in re.sub(r"http-equiv|http://www.w3.org/\S+", "", page)
    assert INK not in page


def test_the_same_table_gives_the_same_page() -> None:
    tokens = [f"t{i}" for i in range(30)]
    assert ef.report(embeddings_of(tokens)).html == ef.report(embeddings_of(tokens)).html


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("name", CASES)
def test_in_a_browser(
    pages: Browser,
    made: dict[str, Path],
    tmp_path: Path,
    name: str,
    size: tuple[int, int],
    dark: bool,
) -> None:
    with opened(pages, made[name].as_uri(), size, dark=dark) as found:
        page = found.page
        assert found.complaints == []
        assert found.left == []
        assert page.title().startswith("Embeddings of ")
        width, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width <= window, "the page scrolls sideways"
        violations = Axe().run(page).response["violations"]  # contrast is among its rules
        assert [(v["id"], v["nodes"][0]["html"]) for v in violations] == []
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") is not dark
        assert found.picture(tmp_path / "page.png").stat().st_size > 10_000


def test_hostile_tokens_are_shown_as_text(pages: Browser, made: dict[str, Path]) -> None:
    with opened(pages, made["hostile"].as_uri()) as found:
        text = found.page.inner_text("#main")
        assert "<script>document.title='gone'</script>" in text
        assert "<b>missing</b>" in text
        assert "$x^2$" in found.page.locator("svg").last.text_content()
        assert found.page.locator("img, script").count() == 0
        assert found.page.title() == "Embeddings of a table in memory"


def test_by_keyboard(pages: Browser, made: dict[str, Path]) -> None:
    with opened(pages, made["sample"].as_uri(), PHONE) as found:
        page = found.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
        assert page.locator(".skip").bounding_box()["x"] >= 0
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        seen = []
        for _ in range(12):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        assert "Map of tokens" in seen
        page.locator("[aria-label='Map of tokens']").focus()
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        for _ in range(100):  # smooth scrolling; no wait_for_function under the policy
            if page.evaluate("document.activeElement.scrollLeft") > 0:
                break
            page.wait_for_timeout(50)
        else:
            pytest.fail("the arrow keys do not scroll the map")


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_colours_of_charts_are_seen_on_both_papers(made: dict[str, Path]) -> None:
    # axe looks at text; WCAG 2.1 asks 3:1 of graphics (success criterion 1.4.11).
    papers = re.findall(r"--paper: (#\w{6})", STYLE)
    page = made["counted"].read_text(encoding="utf-8")
    colors = set(re.findall(r"(?:fill|stroke): (#\w{6})", page))
    assert (len(papers), len(colors)) == (2, 2)
    for paper in papers:
        for color in colors:
            dark, light = sorted([luminance(paper), luminance(color)])
            assert (light + 0.05) / (dark + 0.05) >= 3


# On the command line.


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, folder = tmp_path / "page.html", tmp_path / "pictures"
    words = put(tmp_path / "words.txt", b"the\nfilm\ngood\nzzzz\n")
    given = [SAMPLE, "--vocabulary", words, "-o", page, "--pictures", folder]
    assert run("report", *given, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["page"] == str(page)
    assert [Path(path).name for path in found["pictures"]] == [
        "coverage-stages.png",
        "coverage-sizes.png",
        "norms.png",
        "map.png",
    ]
    assert all(Path(p).read_bytes().startswith(b"\x89PNG") for p in found["pictures"])
    assert found["coverage"]["type"]["found"] == 3
    expected = ef.report(SAMPLE, vocabulary=ef.Vocabulary.from_file(words))
    assert page.read_text(encoding="utf-8") == expected.html
    assert run("report", *given) == 3
    assert "--force" in capsys.readouterr().err
    assert run("report", *given, "--force") == 0
    assert capsys.readouterr().out.splitlines() == [str(page), *found["pictures"]]


def test_command_from_standard_input(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", MAIN, "report", "-", "--json"],
        input=SAMPLE.read_bytes(),
        capture_output=True,
        cwd=tmp_path,
        check=True,
    )
    assert json.loads(child.stdout)["n_rows"] == 7074
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_broken_file_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = put(tmp_path / "broken.txt", SAMPLE.read_bytes()[:50_000])
    assert run("report", source, "-o", tmp_path / "page.html") == 4
    assert "broken.txt" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["broken.txt"]


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    put(tmp_path / "mine.txt", b"mine")
    assert run("report", SAMPLE, "-o", tmp_path / "p.html", "--pictures", tmp_path) == 3
    assert not (tmp_path / "p.html").exists()


@pytest.mark.parametrize("format", ["word2vec", "hdf5", "npz", "json", "parquet"])
def test_any_readable_file(sample: ef.Embeddings, format: str, tmp_path: Path) -> None:
    ef.write(ef.read(SAMPLE, limit=60), tmp_path / "table", format=format)
    found = ef.report(tmp_path / "table").to_dict()
    assert (found["n_rows"], found["file"]["format"]) == (60, format)
    assert found["rows"] == ef.report(ef.read(SAMPLE, limit=60)).to_dict()["rows"]


def test_an_open_file() -> None:
    assert ef.report(BytesIO(SAMPLE.read_bytes())).to_dict()["n_rows"] == 7074


def test_nothing_is_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hostile_report().html
