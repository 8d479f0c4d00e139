"""What a notebook shows of the objects that people hold, and the HTML that it is made of."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedfreeze as ef
from embedfreeze import htmltext
from embedfreeze.proof import FreezeProof, TableProof
from embedfreeze.table import Table


def test_escape_leaves_no_markup_and_nothing_unseen() -> None:
    hostile = '<script>alert("1")</script>&\'\x00\x1b[31m\u202e\ud800\n'
    told = htmltext.escape(hostile)
    assert not set("<>\"'\x00\x1b\u202e\ud800\n") & set(told)
    assert "\\u202e\\ud800\\n" in told
    assert told.encode()
    assert htmltext.escape("plain caf\u00e9") == "plain caf\u00e9"


@pytest.mark.parametrize("hostile", ["<b>", '"><img src=x>', "a&b"])
def test_only_html_is_taken_as_it_is(hostile: str) -> None:
    safe = htmltext.escape(hostile)
    assert htmltext.cell(htmltext.Html(hostile)) == hostile
    assert htmltext.element("p", hostile, title=hostile) == f'<p title="{safe}">{safe}</p>'
    assert htmltext.join([hostile, 1], hostile) == f"{safe}{safe}1"
    shown = htmltext.panel(
        hostile,
        htmltext.table([hostile], [[hostile, hostile]], caption=hostile, numbers=[1]),
        htmltext.facts({hostile: hostile, "left out": None}),
        htmltext.code(hostile),
    )
    assert hostile not in shown
    assert shown.count(safe) == 8
    assert "left out" not in shown


HOSTILE = "<script>alert(1)</script>"
EVIL = [HOSTILE, "\u202eevil", "", "half\udcff", "&amp;", "ordinary", "one more"]


class Checker(HTMLParser):
    """Every element closed in order; what a page would load or run; the text that is shown."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.scopes: list[str | None] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.add(tag)
        assert {name for name, _ in attrs} <= {"style", "scope"}
        assert not any("url(" in (value or "") for _, value in attrs)
        if tag == "th":
            self.scopes.append(dict(attrs).get("scope"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


ALLOWED = {
    *("div", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td", "code", "bdi"),
}


def shown(thing: Any) -> str:
    """The text of what a notebook shows, which is sound HTML without anything of its own."""
    html = thing._repr_html_()
    assert isinstance(html, str)
    html.encode()
    found = Checker(html)
    assert found.seen <= ALLOWED
    assert set(found.scopes) <= {"row", "col"}
    assert len(html) < 20_000
    return found.text


def matrix(rows: int, dim: int = 8) -> np.ndarray:
    return np.arange(rows * dim, dtype=np.float32).reshape(rows, dim) / 3


def test_embeddings() -> None:
    e = ef.Embeddings(EVIL, matrix(7), path="/tmp/<b>.txt")
    told = shown(e)
    for part in (HOSTILE, "\\u202eevil", "''", "half\\udcff", "&amp;", "/tmp/<b>.txt"):
        assert part in told
    assert "ordinary" in told  # the memory; not the token, which is the sixth
    assert "one more" not in told
    assert "float32" in told
    assert "224 bytes, ordinary memory" in told
    assert "0.3333" in told
    assert "digest" not in told  # nobody has hashed it


def test_a_page_of_text_as_a_token_is_cut() -> None:
    told = shown(ef.Embeddings(["x" * 100_000], matrix(1)))
    assert "x" * 60 + "\u2026" in told
    assert "x" * 61 not in told


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("rows", [0, 1, 5, 6])
def test_embeddings_of_any_size(dtype: str, rows: int) -> None:
    told = shown(ef.Embeddings(EVIL[:rows], matrix(rows)).astype(dtype))
    assert f"{rows} rows of 8" in told
    assert dtype in told
    assert ("the first 5 of 6 rows" in told) == (rows == 6)


def test_a_store_shows_its_recorded_digest_and_hashes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = ef.align(ef.Embeddings(EVIL[4:], matrix(3)), ef.Vocabulary(["ordinary", HOSTILE]))
    monkeypatch.setattr("embedfreeze.sealed.block_digests", refuse)
    told = shown(a)
    assert "sealed memory" in told
    assert HOSTILE in told
    assert "digest" not in told
    proof = FreezeProof("m", (TableProof.of("layer", Table.of(a), "address"),))
    assert "not computed" in shown(proof)
    monkeypatch.undo()
    digest = a.digest
    assert digest in shown(a)
    assert digest in shown(proof)
    a.save(tmp_path / "t.safetensors")
    monkeypatch.setattr("embedfreeze.sealed.block_digests", refuse)
    e = ef.read(tmp_path / "t.safetensors")
    told = shown(e)
    assert digest in told
    assert "a mapped file that is watched" in told
    assert str(tmp_path / "t.safetensors") in told
    proof = FreezeProof(HOSTILE, (TableProof.of(HOSTILE, Table.of(e), "address"),), steps=3)
    told = shown(proof)
    assert f"recorded digest{digest}" in told
    assert told.startswith(f"no change of the frozen bytes of '{HOSTILE}' was found, over 3 ")


def refuse(*_: object) -> None:
    raise AssertionError("hashed")


def test_coverage() -> None:
    e = ef.Embeddings(["king", HOSTILE, "queen"], matrix(3))
    tokens = {"king": 5, "King": 2, HOSTILE: 1, "zzzz": 4, "<i>": 1}
    a = ef.align(e, ef.Vocabulary.from_counts(tokens))
    told = shown(a.coverage)
    assert told.startswith("Coverage: 3 of 5 types found")
    assert "zzzz (4), <i> (1)" in told
    assert "exact240.0%646.2%" in told
    assert "rows that serve several tokens1" in told
    two = ef.align([e, ef.Embeddings(["zzzz"], matrix(1), path=HOSTILE)], a.vocabulary)
    assert f"{HOSTILE}: 1 found" in shown(two.coverage)
    assert "1 of 1 types found" in shown(ef.align(e, ef.Vocabulary(["king"])).coverage)
    empty = ef.align(e, ef.Vocabulary([])).coverage
    assert empty is not None
    assert empty.share() == 1.0
    assert "exact0-lower0-found0-missing0-" in shown(empty)
    assert str(empty).splitlines()[1].split() == ["exact", "0", "-"]
    assert "| exact | 0 | - |" in empty.to_markdown()


def test_vocabulary() -> None:
    told = shown(ef.Vocabulary([*EVIL[:2], "plain"], special=["<s>"]))
    assert told.startswith("Vocabulary: 6 tokens")
    assert "'' 0, [UNK] 1, <s> 2" in told
    assert f"3{HOSTILE}" in told
    assert "count" not in told
    assert "plain1,000" in shown(ef.Vocabulary.from_counts({"plain": 1000}))
    assert "none" in shown(ef.Vocabulary([], padding=None, unknown=None))


def test_evaluation(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("king\tqueen\t8\nking\triver\t1\nqueen\triver\t2\n")
    (tmp_path / "none.tsv").write_text("a\tb\t8\n")
    (tmp_path / "q.txt").write_text(": kinds\nking queen river king\n")
    e = ef.Embeddings(["king", "queen", "river"], matrix(3), path=HOSTILE)
    files = [tmp_path / "p.tsv", tmp_path / "none.tsv"]
    told = shown(ef.evaluate(e, pairs=files, analogies=[tmp_path / "q.txt"]))
    assert told.startswith(f"Evaluation of {HOSTILE}")
    assert "took part3 of 3 rows of 8" in told
    assert "none usednone" in told
    assert "p.tsv33100.0%" in told
    assert "q.txt11100.0%" in told


def test_inspection(tmp_path: Path) -> None:
    path = tmp_path / "<b>.txt"
    path.write_text(f"{HOSTILE} 1 2\nking 3 4\nking 5 6\n")
    told = shown(ef.inspect(path))
    assert told.startswith(str(path))
    for part in ("rows3", "dim2 (float32)", "in memory24 bytes", HOSTILE, "repeated tokens: 1"):
        assert part in told
    path.write_text("king 1 2\n" * 200 + "river 5 x\n")
    assert "cannot be loaded" in shown(ef.inspect(path))


def test_report(tmp_path: Path) -> None:
    e = ef.Embeddings([HOSTILE, "ordinary", "zero"], np.diag(np.float32([1, 1, 0])))
    a = ef.align(e, ef.Vocabulary(["ordinary", HOSTILE, "missing"]))
    report = ef.report(a)
    told = shown(report)
    assert told.startswith("Report of embeddings: 5 rows of 3")
    assert "coverage2 of 3 types found" in told
    assert "rows of zeros3" in told
    assert "proofno frozen byte of 'embeddings' changed" in told
    assert "the page" in told
    assert repr(report) == "Report('embeddings', 5 x 3 float32)"
    a.save(tmp_path / "t.safetensors")
    assert repr(ef.report(tmp_path / "t.safetensors")) == "Report('t.safetensors', 5 x 3 float32)"
