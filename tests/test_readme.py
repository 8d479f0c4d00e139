"""Every command and block of README.md runs as it stands."""

import re
from pathlib import Path

import pytest
from markdown_blocks import read_blocks, run_consoles, run_python_in_child

from embedfreeze.formats import FORMATS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "README.md"


def test_python_blocks() -> None:
    child = run_python_in_child(PAGE, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    assert len(read_blocks(PAGE, "python")) >= 5


def test_console_block(tmp_path: Path) -> None:
    (done,) = run_consoles(PAGE, ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rows    7,074" in done.stdout
    assert '"container": "gzip"' in done.stdout
    assert "no frozen byte of" in done.stdout
    assert '"pairs": ' in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("words.")) == [
        "features",
        "logs",
        "report.html",
        "sample.safetensors",
        "sample.txt.gz",
        "table.safetensors",
    ]


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    # Running them here would set up an environment within the tests; CI runs them as they stand.
    commands = [block.code.split() for block in read_blocks(PAGE, "bash")]
    assert commands == [["make", "demo"], ["make", "test"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{target}: " in makefile for _, target in commands)


@pytest.mark.parametrize(
    "name", ["data/README.md", "benchmarks/results.md", "docs/three-ideas.md", "docs/aligning.md"]
)
def test_linked_files_exist(name: str) -> None:
    assert f"]({name})" in PAGE.read_text(encoding="utf-8")
    assert (ROOT / name).is_file()


def test_the_table_of_formats_is_that_of_the_package() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## Formats")[2].partition("## Pages")[0]
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| [")]
    written: dict[str, set[str]] = {}
    for names, _, targets, _ in rows:
        for name, page in re.findall(r"\[`([\w-]+)`\]\((\S+)\)", names):
            assert (ROOT / page).is_file()
            written[name] = set(re.findall(r"`([^`]+)`", targets))
    assert set(written) == set(FORMATS)
    for name, found in FORMATS.items():
        suffixes = found.writer.suffixes if found.writer else ()
        expected = set(suffixes) or ({f"--to {name}"} if found.writer else set())
        assert expected <= written[name], name
        named = {suffix for f in FORMATS.values() if f.writer for suffix in f.writer.suffixes}
        assert expected or not written[name] & named, name
