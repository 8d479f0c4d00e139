"""docs/aligning.md runs, in Python and on the command line."""

from pathlib import Path

from markdown_blocks import read_blocks, run_consoles, run_python_in_child

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "aligning.md"


def test_python_blocks() -> None:
    child = run_python_in_child(PAGE, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    assert (
        len(read_blocks(PAGE, "python")) == sum(b.language == "text" for b in read_blocks(PAGE)) + 1
    )


def test_console_blocks(tmp_path: Path) -> None:
    aligned, helped = run_consoles(PAGE, ROOT, tmp_path)
    assert (aligned.returncode, helped.returncode) == (0, 0), aligned.stderr
    assert "strip_accents      1  33.3%" in aligned.stdout
    assert "rows    5" in aligned.stdout
    assert "exit status" in helped.stdout
    names = ["coverage.md", "table.safetensors", "words.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "coverage.md").read_text().startswith("# Coverage of 3 types")
