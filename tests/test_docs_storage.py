"""docs/storage.md runs, in Python and on the command line."""

from pathlib import Path

from markdown_blocks import read_blocks, run_consoles, run_python_in_child

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "storage.md"


def test_python_blocks() -> None:
    child = run_python_in_child(PAGE, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    assert (
        len(read_blocks(PAGE, "python")) == sum(b.language == "text" for b in read_blocks(PAGE)) + 1
    )


def test_console_blocks(tmp_path: Path) -> None:
    (converted,) = run_consoles(PAGE, ROOT, tmp_path)
    assert converted.returncode == 0, converted.stderr
    assert "7,074 rows of 50" in converted.stdout
    assert "dim     50 (int8, 0.4 MB in memory)" in converted.stdout
