"""What an editor tells the author of a program that uses this package, asked of pyright."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import embedfreeze as ef

ROOT = Path(__file__).parents[1]
CASE = ROOT / "tests" / "typing_case.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("pyright") is None, reason="pyright is one of the dev extra"
    ),
]


def revealed(program: Path) -> dict[int, str]:
    """What `reveal_type` shows of each line of a program without mistakes."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pyright", "--outputjson"),
            *("--pythonpath", sys.executable, "--pythonversion", "3.12", program),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert [one for one in found if one["severity"] != "information"] == []
    return {
        one["range"]["start"]["line"]: re.fullmatch(r'Type of ".*" is "(.*)"', one["message"])[1]  # type: ignore[index]
        for one in found
    }


def test_a_program_shows_the_types_that_its_author_expects() -> None:
    lines = CASE.read_text(encoding="utf-8").splitlines()
    expected = {
        number: line.rpartition("  # ")[2]
        for number, line in enumerate(lines)
        if line.startswith("reveal_type(")
    }
    found = revealed(CASE)
    assert len(expected) > 25
    assert {n: re.sub(r"^ndarray\[.*", "ndarray", told) for n, told in found.items()} == expected


def test_late_names_have_types(tmp_path: Path) -> None:
    """They are resolved by a `__getattr__`, which would make anything of any name."""
    program = tmp_path / "names.py"
    names = ef.__all__
    lines = ["import embedfreeze as ef", *(f"reveal_type(ef.{name})" for name in names)]
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = revealed(program)
    told = {name: found[i] for i, name in enumerate(names, start=1)}
    for name, shown in told.items():
        kind = getattr(ef, name)
        if name == "errors":
            assert shown == 'Module("embedfreeze.errors")'
        elif isinstance(kind, type):
            assert shown == f"type[{name}]"
        else:
            assert shown.startswith(("(", "Overload[")), (name, shown)
