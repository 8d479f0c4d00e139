"""Every page of docs/formats/ runs, its Python and its console blocks in the order of the page.

Python has ``out``, the command line ``$OUT``: a folder for what is written. Both run in the
repository's folder, and a ``text`` block behind a block is what it prints.
"""

from pathlib import Path

import pytest
from markdown_blocks import read_blocks, run_python_in_child, with_includes

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "formats"
PAGES = sorted(page.name for page in FOLDER.glob("*.md"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page(name: str, tmp_path: Path) -> None:
    page = FOLDER / name
    assert read_blocks(page, "python", "console"), "a page shows how it is done"
    (out := tmp_path / "out").mkdir()
    child = run_python_in_child(with_includes(page, tmp_path), cwd=ROOT, out=out)
    assert child.returncode == 0, child.stderr
