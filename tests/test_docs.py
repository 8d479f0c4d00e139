"""Every page of docs/ runs and prints what it says, in Python and on the command line."""

from pathlib import Path

import pytest
from markdown_blocks import read_blocks, run_consoles, run_python_in_child
from two_workers import run_workers

import embedfreeze as ef

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Blocks whose output is held to the page's; a block that lost its output would check nothing.
OUTPUTS = {
    "aligning.md": 16,
    "batch.md": 10,
    "devices.md": 6,
    "looking.md": 10,
    "partly-trainable.md": 6,
    "saving.md": 9,
    "speed.md": 3,
    "storage.md": 6,
    "three-ideas.md": 18,
}
IN_ORDER = {"batch.md", "looking.md"}  # pages whose console blocks run between those of Python
RAISED = {"saving.md": ["FrozenError", "FrozenBytesChanged"]}


def test_all_pages_with_code_are_here() -> None:
    assert sorted(OUTPUTS) == [p.name for p in sorted(DOCS.glob("*.md")) if read_blocks(p)]


@pytest.mark.parametrize("name", OUTPUTS)
def test_python_blocks(name: str, tmp_path: Path) -> None:
    page = DOCS / name
    out = tmp_path if name in IN_ORDER else None
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
    assert "dim     50 (int8, 0.4 MB in memory)" in converted.stdout


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
