"""docs/saving.md runs."""

from pathlib import Path

from markdown_blocks import read_blocks, run_python_in_child

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "saving.md"


def test_python_blocks() -> None:
    child = run_python_in_child(PAGE, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    blocks = read_blocks(PAGE, "python")
    assert len(blocks) == len(read_blocks(PAGE, "text"))
    assert [block.raises for block in blocks if block.raises] == [
        "FrozenError",
        "FrozenBytesChanged",
    ]
