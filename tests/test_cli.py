"""The command line: every option, exit statuses, what is printed where, and a terminal."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from samples import assert_is, child, glove_bytes, put, spelled, table, word2vec_bytes

import embedfreeze as ef
from embedfreeze import errors
from embedfreeze.cli import main

RUN = "import sys; from embedfreeze.cli import main; sys.exit(main(sys.argv[1:]))"
MATRIX = np.nan_to_num(table(3, 2))  # finite: nothing is warned of
TOKENS = [b"king", b"queen", b"caf\xc3\xa9"]
TEXT = glove_bytes(TOKENS, MATRIX)

# Formats of one file, whose content says which it is; test_round_trips.py goes over all.
ONE_FILE = ["store", "hdf5", "glove", "word2vec-text", "word2vec"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return put(tmp_path / "source.txt", TEXT)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 3) -> str:
    """The one line that an error is; 3 is the status of files, 4 of their content, 5 of tokens."""
    capsys.readouterr()
    assert run(*arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("embedfreeze: error: ")
    assert err.count("\n") == 1
    return err


def diagnosed(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 4) -> str:
    """What `inspect` prints of a file that cannot be loaded: that is its work, and no error."""
    capsys.readouterr()
    assert run(*arguments) == status
    out, err = capsys.readouterr()
    assert err == ""
    assert "  problem cannot be loaded: " in out
    return out


def test_convert(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "target.bin"
    assert run("convert", source, target) == 0
    out, err = capsys.readouterr()
    assert out == f"{source} (glove) -> {target} (word2vec): 3 rows of 2\n"
    assert err == ""
    assert_is(ef.read(target), TOKENS, MATRIX)
    assert "exists: pass overwrite=True (--force)" in refused(capsys, "convert", source, target)
    target.write_bytes(b"old")
    assert run("convert", source, target, "--force") == 0
    assert_is(ef.read(target), TOKENS, MATRIX)


@pytest.mark.parametrize("name", ONE_FILE)
def test_formats(name: str, source: Path, tmp_path: Path) -> None:
    assert run("convert", source, tmp_path / "target", "--to", name) == 0
    assert ef.inspect(tmp_path / "target").format == name
    assert run("convert", tmp_path / "target", tmp_path / "b.bin", "--from", name) == 0
    assert_is(ef.read(tmp_path / "b.bin"), TOKENS, MATRIX)


def test_options_of_reading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = b"a 1 1\nb 2 2\nbad\na 3 3\ncaf\xe9 4 4\nc 5 5\n"
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        archive.writestr("one.txt", text)
        archive.writestr("two.txt", TEXT)
    source, target = tmp_path / "f.zip", tmp_path / "t.bin"
    assert "needs member=" in refused(capsys, "convert", source, target)
    options: list[object] = ["convert", source, target, "--member", "one.txt", "--force"]
    assert "line 3" in refused(capsys, *options, status=4)
    options += ["--on-bad-row", "skip"]
    assert "line 5: tokens must be UTF-8" in refused(capsys, *options, status=4)
    options += ["--unicode-errors", "surrogateescape"]
    assert run(*options) == 0
    out, err = capsys.readouterr()
    assert out.endswith("4 rows of 2 (left out: 1 repeated, 1 bad rows)\n")
    assert err.startswith("embedfreeze: warning: ")
    assert "1 bad row was skipped, the first at line 3" in err
    e = ef.read(target, unicode_errors="surrogateescape")
    assert spelled(e) == [b"a", b"b", b"caf\xe9", b"c"]
    assert "tokens must differ" in refused(capsys, *options, "--on-duplicate", "error", status=4)
    assert run(*options, "--on-duplicate", "last", "--limit", "4", "--threads", "1") == 0
    assert_is(ef.read(target), ["b", "a"], np.array([[2, 2], [3, 3]], np.float32))
    words = put(tmp_path / "words.txt", b"c\r\nzzz\r\na\r\n")
    assert run(*options, "--vocabulary", words) == 0
    assert spelled(ef.read(target)) == [b"a", b"c"]
    stored = tmp_path / "t.safetensors"
    assert run("convert", source, stored, "--member", "two.txt", "--dtype", "float16") == 0
    assert ef.read(stored).matrix.dtype == np.float16


def test_options_of_hdf5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["embedding"], file["other"] = MATRIX, MATRIX * 2
    words = put(tmp_path / "words.txt", b"\n".join(TOKENS))
    target = tmp_path / "t.bin"
    given: list[object] = ["convert", tmp_path / "f.h5", target]
    assert "--member" in refused(capsys, *given, status=4)
    assert "--tokens" in refused(capsys, *given, "--member", "other", status=4)
    options = ["--member", "other", "--tokens", words]
    assert run("convert", tmp_path / "f.h5", target, *options) == 0
    assert_is(ef.read(target), TOKENS, MATRIX * 2)
    given = ["inspect", tmp_path / "f.h5", "--member", "other"]
    assert "--tokens" in diagnosed(capsys, *given)
    assert run("inspect", tmp_path / "f.h5", *options, "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["convert"],
        ["convert", "a"],
        ["inspect"],
        ["unknown"],
        ["convert", "a", "b.bin", "--from", "unknown"],
        ["convert", "a", "b.bin", "--limit", "-1"],
        ["convert", "a", "b.bin", "--limit", "x"],
        ["convert", "a", "b.bin", "--limit", "1.5"],
        ["convert", "a", "b.bin", "--threads", "0"],
        ["convert", "a", "b.bin", "--dtype", "float64"],
        ["convert", "a", "b.bin", "--on-bad-row", "maybe"],
        ["convert", "a", "b.bin", "--unicode-errors", "maybe"],
    ],
)
def test_wrong_calls(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("embedfreeze: error: ")
    assert err.endswith(" --help)\n")
    assert err.count("\n") == 1


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["convert", "--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for option in (
        *("--from", "--to", "--member", "--limit", "--vocabulary", "--dtype", "--on-bad-row"),
        *("--on-duplicate", "--unicode-errors", "--force"),
    ):
        assert option in told


def test_errors(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "t.bin"
    assert "No such file" in refused(capsys, "convert", tmp_path / "none", target)
    assert "No such file" in diagnosed(capsys, "inspect", tmp_path / "none", status=3)
    assert "Is a directory" in diagnosed(capsys, "inspect", tmp_path, status=3)
    empty = put(tmp_path / "empty", b"")
    assert "the file is empty" in diagnosed(capsys, "inspect", empty, status=3)
    assert "the name must end in" in refused(capsys, "convert", source, tmp_path / "t.what")
    assert "cannot be compressed" in refused(
        capsys, "convert", source, tmp_path / "t.safetensors.gz"
    )
    missing = tmp_path / "words.txt"
    assert "words.txt" in refused(capsys, "convert", source, target, "--vocabulary", missing)
    put(missing, b"a\nb\na\n")
    assert "line 1 and on line 3" in refused(
        capsys, "convert", source, target, "--vocabulary", missing, status=5
    )
    header_alone = put(tmp_path / "h", b"3 2\n")
    assert "header says" not in diagnosed(capsys, "inspect", header_alone)
    refused(capsys, "convert", header_alone, target, status=4)
    assert not target.exists()


def test_statuses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of error has its own; `--help` lists them all."""
    expected: list[tuple[BaseException, int]] = [
        (errors.FormatError("x"), 4),
        (errors.FileError("x"), 3),
        (errors.VocabularyError("x"), 5),
        (errors.UnknownTokenError("x"), 5),
        (errors.FrozenError("x"), 1),
        (errors.FrozenBytesChanged("x"), 6),
        (errors.EmbedFreezeError("x"), 1),
        (MemoryError("x"), 1),
        (OSError("x"), 1),
        (ValueError("x"), 2),
        (KeyboardInterrupt(), 130),
    ]
    for error, status in expected:

        def fail(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("embedfreeze.commands.convert.convert", fail)
        assert run("convert", __file__, "y") == status
        line = "interrupted" if status == 130 else "error: x"
        assert capsys.readouterr() == ("", f"embedfreeze: {line}\n")
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    listed = re.findall(r"(?:: |, |,\n)(\d+) [a-z]", told[told.index("exit status:") :])
    assert set(map(int, listed)) == {0, *(status for _, status in expected)}


def test_inspect_text(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", source) == 0
    assert capsys.readouterr().out.split("\n") == [
        str(source),
        f"  format  glove, {len(TEXT)} bytes",
        "  rows    3",
        "  dim     2 (float32, 24 bytes in memory)",
        "  tokens  'king' 'queen' 'caf\u00e9' ...",
        "  found   zero rows: 1 (33.3 %); the first is 'king' on line 1",
        "",
    ]
    ef.convert(source, tmp_path / "f.vec.gz")
    assert run("inspect", tmp_path / "f.vec.gz") == 0
    told = capsys.readouterr().out
    assert "word2vec-text in gzip" in told
    assert "  rows    3\n" in told
    assert "the header says '3 2'" in told
    assert run("inspect", tmp_path / "f.vec.gz", "--no-scan") == 0
    assert "not counted (compressed)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ONE_FILE)
def test_inspect_json(
    name: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f"
    ef.convert(source, path, to_format=name)
    assert run("inspect", path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("notes") is not None
    assert [finding["kind"] for finding in found.pop("findings")] == ["zero-rows"]
    assert found == {
        "loadable": True,
        "problem": None,
        "path": str(path),
        "format": name,
        "container": None,
        "member": None,
        "file_bytes": path.stat().st_size,
        "rows": 3,
        "dim": 2,
        "dtype": "float32",
        "first_tokens": ["king", "queen", "caf\u00e9"],
        "matrix_bytes": 24,
    }


def test_inspect_shows_any_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path / "f", word2vec_bytes([b"\xff", b"a\tb", b"\x1b[31m"], MATRIX))
    assert run("inspect", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["first_tokens"] == ["\\xff", "a\tb", "\x1b[31m"]
    assert run("inspect", path) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told  # nothing of a file reaches the terminal as a command
    assert "'\\\\xff' 'a\\tb' '\\x1b[31m'" in told


def test_a_terminal_that_knows_ascii_alone(source: Path, tmp_path: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    assert "'caf\\xe9'" in child(RUN, "inspect", source, **ascii_only)
    found = json.loads(child(RUN, "inspect", source, "--json", **ascii_only))
    assert found["first_tokens"][2] == "caf\u00e9"
    strange = os.fsdecode(bytes(tmp_path) + b"/caf\xe9.bin")
    child(RUN, "convert", source, strange, **ascii_only)
    child(RUN, "inspect", strange)


def test_a_pipe_shows_no_bar_and_closes_early(source: Path, tmp_path: Path) -> None:
    code = "import embedfreeze.formats.progress as p; p.PATIENCE = 0\n" + RUN
    done = subprocess.run(
        [sys.executable, "-c", code, "convert", source, tmp_path / "t.bin"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    read, write = os.pipe()
    os.close(read)  # as `| head -0` does
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "inspect", source], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err


def shown_on_a_terminal(*arguments: object) -> bytes:
    """What a command that ends well writes on standard error, where that is a terminal."""
    code = "import embedfreeze.formats.progress as p; p.PATIENCE = 0\n" + RUN
    parent, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "TQDM_MININTERVAL": "0"},  # short work shows each step, too
    )
    os.close(terminal)
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and select.select([parent], [], [], 60)[0]:
        try:
            piece = os.read(parent, 4096)
        except OSError:  # the terminal is closed
            break
        shown += piece
    os.close(parent)
    assert process.wait(60) == 0
    return shown


def test_a_terminal_shows_a_bar(source: Path, tmp_path: Path) -> None:
    shown = shown_on_a_terminal("convert", source, tmp_path / "t.bin")
    assert b"convert" in shown
    assert b"%" in shown


def test_nothing_loads_tensorflow(source: Path, tmp_path: Path) -> None:
    code = """
import sys
from embedfreeze.cli import main
source, folder = sys.argv[1:]
for name in ("a.bin", "a.vec", "a.h5", "a.safetensors"):
    assert main(["convert", source, f"{folder}/{name}"]) == 0
    assert main(["inspect", f"{folder}/{name}"]) == 0
print(sorted({"tensorflow", "keras", "gensim", "pandas"} & set(sys.modules)))
"""
    assert child(code, source, tmp_path).split("\n")[-2] == "[]"


def test_ctrl_c_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = """
import sys
import embedfreeze.formats.texts.word2vec_text as text
from embedfreeze.cli import main
def interrupted(*_):
    raise KeyboardInterrupt
text.check_written = interrupted
print(main(["convert", sys.argv[1], sys.argv[2]]))
"""
    source = put(tmp_path / "f.txt", TEXT)
    assert child(code, source, tmp_path / "t.vec") == "130\n"
    assert os.listdir(tmp_path) == ["f.txt"]
