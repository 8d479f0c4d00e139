"""What an import brings, and that functions keep their names whatever is imported before."""

import subprocess
import sys

import pytest

import embedfreeze


def printed(code: str) -> str:
    """What a new process prints."""
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return child.stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "import embedfreeze",
        "import embedfreeze.cli",
        "from embedfreeze.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_numpy_is_loaded_when_it_is_needed(code: str) -> None:
    assert printed(f"{code}\nimport sys\nprint('numpy' in sys.modules)").endswith("False")


@pytest.mark.parametrize(
    "before",
    ["", "import embedfreeze.align, embedfreeze.convert", "ef.load", "ef.Conversion", "ef.read"],
)
@pytest.mark.parametrize("name", ["align", "convert", "read", "inspect"])
def test_functions_are_not_hidden_by_the_modules_they_live_in(before: str, name: str) -> None:
    code = f"import embedfreeze as ef\n{before}\nprint(ef.{name}.__name__, callable(ef.{name}))"
    assert printed(code) == f"{name} True"


def test_errors_need_no_import_of_their_own() -> None:
    assert printed("import embedfreeze\nprint(embedfreeze.errors.FileError.__name__)") == (
        "FileError"
    )


def test_dir_lists_what_is_public() -> None:
    code = "import embedfreeze as ef\nprint(*dir(ef))"
    for used in ("", "\nef.FreezeGuard; ef.read\nprint(*dir(ef))"):
        names = printed(code + used).splitlines()[-1].split()
        plain = [name for name in names if not name.startswith("__")]
        assert plain == sorted(embedfreeze.__all__)
        assert {"__all__", "__doc__", "__version__"} < set(names)
