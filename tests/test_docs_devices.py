"""docs/devices.md runs, the program for several workers in two processes."""

from pathlib import Path

import pytest
from markdown_blocks import read_blocks, run_python_in_child
from two_workers import run_workers

import embedfreeze as ef

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "devices.md"


def test_python_blocks() -> None:
    child = run_python_in_child(PAGE, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    assert sum(block.language == "text" for block in read_blocks(PAGE)) == 6


@pytest.mark.slow
def test_the_program_for_several_workers(tmp_path: Path) -> None:
    (block,) = read_blocks(PAGE, "py")
    program = tmp_path / "worker.py"
    program.write_text(block.code, encoding="utf-8")
    embeddings = ef.read(ROOT / "data" / "glove.6B.50d.sample.txt", limit=100)
    stores = [tmp_path / f"worker{index}.safetensors" for index in range(2)]
    for store in stores:
        ef.write(embeddings, store)
    said = [run.splitlines() for run in run_workers(program, [[store] for store in stores])]
    assert said[0] == said[1]
    assert [line.split()[0] for line in said[0]] == ["loss", "loss", ef.read(stores[0]).digest]
