"""Every page of docs/ runs and prints what it says, in Python and on the command line."""

from pathlib import Path

import pytest
from markdown_blocks import read_blocks, run_consoles, run_python_in_child, with_includes
from two_workers import run_workers

import embedfreeze as ef

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Blocks whose output is held to the page's; a block that lost its output would check nothing.
# Sections that a page includes are counted too: they are run as the site shows them.
OUTPUTS = {
    "aligning.md": 16,
    "architecture.md": 1,
    "batch.md": 10,
    "devices.md": 6,
    "freezing.md": 6,
    "getting-embeddings.md": 4,
    "index.md": 3,
    "looking.md": 10,
    "migration.md": 8,
    "partly-trainable.md": 6,
    "reports.md": 3,
    "saving.md": 9,
    "serving.md": 3,
    "speed.md": 3,
    "storage.md": 6,
    "three-ideas.md": 18,
}
# Pages whose console blocks run between those of Python.
IN_ORDER = {
    "batch.md",
    "getting-embeddings.md",
    "index.md",
    "looking.md",
    "migration.md",
    "reports.md",
    "serving.md",
}
# Python that is shown and not run: a program for several processes, run by a test of its own, and
# code of libraries that are gone.
NOT_RUN = {"devices.md": 1, "migration.md": 3}
RAISED = {"saving.md": ["FrozenError", "FrozenBytesChanged"]}


def test_all_pages_with_code_are_here(tmp_path: Path) -> None:
    pages = [page for page in DOCS.rglob("*.md") if read_blocks(with_includes(page, tmp_path))]
    folders = {page.parent for page in pages}
    assert folders == {DOCS, DOCS / "formats"}  # the latter's run in test_docs_formats
    assert sorted(OUTPUTS) == sorted(page.name for page in pages if page.parent == DOCS)


def test_what_is_not_run() -> None:
    found = {page.name: len(read_blocks(page, "py")) for page in DOCS.rglob("*.md")}
    assert {name: count for name, count in found.items() if count} == NOT_RUN
    blocks = [block for page in DOCS.rglob("*.md") for block in read_blocks(page)]
    languages = {block.language for block in blocks if not block.file}
    assert languages == {"python", "console", "text", "py"}
    for block in read_blocks(DOCS / "migration.md", "py"):
        compile(block.code, "migration.md", "exec")


@pytest.mark.parametrize("name", OUTPUTS)
def test_python_blocks(name: str, tmp_path: Path) -> None:
    page = with_includes(DOCS / name, tmp_path / "page")
    out = None
    if name in IN_ORDER:
        (out := tmp_path / "out").mkdir()
    child = run_python_in_child(page, cwd=ROOT, out=out)
    assert child.returncode == 0, child.stderr
    assert sum(block.language == "text" for block in read_blocks(page)) == OUTPUTS[name]


@pytest.mark.parametrize("name", ["aligning.md", "saving.md", "storage.md"])
def test_almost_every_block_has_its_output(name: str) -> None:
    blocks = read_blocks(DOCS / name, "python")
    assert len(blocks) - OUTPUTS[name] == (name != "saving.md")
    raised = [block.raises for block in blocks if block.raises]
    assert raised == RAISED.get(name, raised)


def test_console_blocks_of_aligning(tmp_path: Path) -> None:
    aligned, helped = run_consoles(DOCS / "aligning.md", ROOT, tmp_path)
    assert (aligned.returncode, helped.returncode) == (0, 0), aligned.stderr
    assert "strip_accents      1  33.3%" in aligned.stdout
    assert "rows    5" in aligned.stdout
    assert "exit status" in helped.stdout
    names = ["coverage.md", "table.safetensors", "words.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "coverage.md").read_text().startswith("# Coverage of 3 types")


def test_console_block_of_storage(tmp_path: Path) -> None:
    (converted,) = run_consoles(DOCS / "storage.md", ROOT, tmp_path)
    assert converted.returncode == 0, converted.stderr
    assert "7,074 rows of 50" in converted.stdout
    assert "dim     50 (int8, 382.0 kB in memory)" in converted.stdout


@pytest.mark.slow
def test_the_program_for_several_workers(tmp_path: Path) -> None:
    (block,) = read_blocks(DOCS / "devices.md", "py")
    program = tmp_path / "worker.py"
    program.write_text(block.code, encoding="utf-8")
    embeddings = ef.read(ROOT / "data" / "glove.6B.50d.sample.txt", limit=100)
    stores = [tmp_path / f"worker{index}.safetensors" for index in range(2)]
    for store in stores:
        ef.write(embeddings, store)
    said = [run.splitlines() for run in run_workers(program, [[store] for store in stores])]
    assert said[0] == said[1]
    assert [line.split()[0] for line in said[0]] == ["loss", "loss", ef.read(stores[0]).digest]
