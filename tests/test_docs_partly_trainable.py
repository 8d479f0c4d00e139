"""docs/partly-trainable.md runs and prints what it says."""

from pathlib import Path

from markdown_blocks import read_blocks, run_python_in_child

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "partly-trainable.md"


def test_the_page_runs() -> None:
    child = run_python_in_child(PAGE, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    assert sum(block.language == "text" for block in read_blocks(PAGE)) == 6
