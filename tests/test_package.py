"""What is installed: version, metadata, the command, and the examples in docstrings."""

import configparser
import doctest
import importlib
import os
import re
import statistics
import subprocess
import sys
from importlib.metadata import entry_points, metadata, version
from pathlib import Path

import numpy as np
import pytest

import embedfreeze
from embedfreeze.cli import main

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "embedfreeze"
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in PACKAGE.rglob("*.py")
)


def test_installed_version_is_that_of_the_checkout() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert version("embedfreeze") == config["metadata"]["version"]


def test_changelog_knows_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", text, flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert version("embedfreeze") in headings


def test_metadata() -> None:
    about = metadata("embedfreeze")
    assert about["License-Expression"] == "Apache-2.0"
    assert about["Requires-Python"] == ">=3.11"
    (command,) = entry_points(group="console_scripts", name="embedfreeze")
    assert command.value == "embedfreeze.__main__:run"


def test_kernel_serves_every_later_python() -> None:
    kernel = importlib.import_module("embedfreeze._kernel")
    assert kernel.__file__ is not None
    assert kernel.__file__.endswith(".abi3.so")


def test_script_is_the_convert_command(tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_bytes(b"king 1 2.5\nqueen -3 1e-7\n")
    script = [sys.executable, str(ROOT / "scripts" / "convert_embeddings.py")]
    subprocess.run([*script, str(source), str(tmp_path / "script.bin")], check=True, timeout=60)
    assert main(["convert", str(source), str(tmp_path / "command.bin")]) == 0
    written = (tmp_path / "script.bin").read_bytes()
    assert written == (tmp_path / "command.bin").read_bytes()
    assert written.startswith(b"2 2\nking ")


# What only some calls need: other formats and vocabularies, reports, hashes, searches.
NOT_LOADED = [
    "embedfreeze.coveragereport",
    "embedfreeze.formats.texts.badrow",
    "embedfreeze.formats.inspecting.inspection",
    "embedfreeze.formats.inspecting.strangers",
    "embedfreeze.nearest",
    "embedfreeze.vocabularies.fromgensim",
    "embedfreeze.vocabularies.fromkeras",
    "embedfreeze.vocabularies.listed",
    "embedfreeze.vocabularies.parts",
    "embedfreeze.vocabularies.tables",
    "embedfreeze.vocabularies.tokenizerjson",
    "embedfreeze.vocabularies.tokeras",
    "embedfreeze.vocabularies.vocabularyfiles",
    *("argparse", "csv", "gzip", "h5py", "gensim", "hashlib", "importlib.metadata", "keras"),
    *("lzma", "tempfile", "tensorflow", "tokenizers", "tqdm", "zipfile"),
]
IMPORT = """
import sys, time
start = time.perf_counter()
import numpy
middle, before = time.perf_counter(), set(sys.modules)
import embedfreeze
print(middle - start, time.perf_counter() - middle, *set(sys.modules) - before)
"""


def test_import_is_short(tmp_path: Path) -> None:
    """At most 1.5 times as long as NumPy, says the design; the bound of 2 is for noisy machines."""
    # Whether bytecode may be written is the caller's; without it the source is compiled each time.
    cached = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}

    def one() -> list[str]:
        command = [sys.executable, "-c", IMPORT]
        return subprocess.run(
            command, env=cached, capture_output=True, text=True, check=True, timeout=60
        ).stdout.split()

    children = [one() for _ in range(8)][1:]  # the first writes the bytecode
    numpy_alone, ours = (statistics.median(float(c[i]) for c in children) for i in (0, 1))
    assert ours < numpy_alone  # together at most twice NumPy's time
    assert [name for name in NOT_LOADED if name in children[0]] == []


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")  # examples read the samples, and may write
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(
        importlib.import_module(name.removesuffix(".__init__")),
        extraglobs={"np": np, "ef": embedfreeze},
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert result.failed == 0
