"""Every entry of the catalogue of hostile files, and the page that describes them."""

import subprocess
import sys
from pathlib import Path

import pytest
from catalogue import ENTRIES, PARTS, README, described
from checking import check
from mutants import NAMES

HERE = Path(__file__).parent
SKIPPED = 77
CHILD = """
import sys
sys.path[:0] = sys.argv[1:3]
from children import run
run(sys.argv[3], list(map(int, sys.argv[4:])))
"""


def numbers(where: str) -> list[int]:
    return [number for number, entry in ENTRIES.items() if entry.where == where]


@pytest.mark.parametrize("number", numbers("here"))
def test_an_entry(number: int, tmp_path: Path) -> None:
    check(ENTRIES[number], tmp_path)


@pytest.mark.parametrize("where", ["child", "nobody", "small", "disk"])
def test_entries_in_a_process_of_their_own(where: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, HERE, HERE.parent, where, *map(str, numbers(where))],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(number) for number in numbers(where)]


def test_bytes_changed_at_random(tmp_path: Path) -> None:
    """Other seeds by hand: `python tests/hostile/mutants.py FOLDER SEED`."""
    done = subprocess.run(
        [sys.executable, HERE / "mutants.py", tmp_path, "1"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(NAMES)


def test_the_page_is_up_to_date() -> None:
    assert README.read_text(encoding="utf-8") == described()


def test_each_entry_has_a_name_of_its_own() -> None:
    names = [entry.name for entry in ENTRIES.values()]
    assert len(names) == len(set(names))
    assert len(names) >= 75
    assert max(len(part) for _, part in PARTS.values()) < 100  # no number stands for two
