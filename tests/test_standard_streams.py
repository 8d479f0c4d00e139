"""`-` is standard input and standard output, of the command as it is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from samples import assert_is, glove_bytes, put, table

import embedfreeze as ef

TOKENS = [b"king", b"queen", b"caf\xc3\xa9"]
MATRIX = table(3, 4)
TEXT = glove_bytes(TOKENS, MATRIX)
RUN = [sys.executable, "-c", "import sys; from embedfreeze.cli import main; sys.exit(main())"]


def run(
    *arguments: str | Path, given: bytes | None = b"", folder: Path, **how: object
) -> subprocess.CompletedProcess[bytes]:
    """The command; its temporary files go to a folder."""
    return subprocess.run(
        [*RUN, *map(str, arguments)],
        input=given,
        capture_output=True,
        timeout=120,
        env={**os.environ, "TMPDIR": str(folder)},
        **how,  # type: ignore[call-overload]
    )


def test_from_standard_input_to_standard_output(tmp_path: Path) -> None:
    done = run("convert", "-", "-", "--to", "word2vec", given=TEXT, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_is(ef.read(put(tmp_path / "f.bin", done.stdout)), TOKENS, MATRIX)
    assert b"<stdin> (glove) -> <stdout> (word2vec): 3 rows of 4\n" in done.stderr
    with open(tmp_path / "f.bin", "rb") as redirected, open(tmp_path / "g.npy", "wb") as out:
        again = subprocess.run(
            [*RUN, "convert", "-", "-", "--to", "hdf5"], stdin=redirected, stdout=out, timeout=120
        )
    assert again.returncode == 0
    assert_is(ef.read(tmp_path / "g.npy"), TOKENS, MATRIX)
    assert sorted(os.listdir(tmp_path)) == ["f.bin", "g.npy"]


def test_inspect_and_align(tmp_path: Path) -> None:
    done = run("inspect", "-", given=TEXT, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"<stdin>\n  format  glove")
    words, target = put(tmp_path / "words.txt", b"queen\n"), tmp_path / "t.safetensors"
    done = run("align", "-", target, "--vocabulary", words, given=TEXT, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (ef.read(target)["queen"] == MATRIX[1]).all()
    refused = run("inspect", "-", "--spool-limit", "10", given=TEXT, folder=tmp_path)
    assert refused.returncode == 3
    assert b"<stdin>: it must be unpacked into a temporary file" in refused.stderr
    assert sorted(os.listdir(tmp_path)) == ["t.safetensors", "words.txt"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["convert", "-", "-"], 3, b"<stdout>: the name must end in .* unless .*--to"),
        (["convert", "-", "-", "--to", "npy"], 3, b"<stdout>: needs .* beside it"),
        (["convert", "-", "-", "--to", "glove", "--spool-limit", "x"], 2, b"500M or 8G"),
        (["convert", "nowhere", "-", "--to", "glove"], 3, b"nowhere: cannot be read"),
    ],
)
def test_what_is_refused_prints_nothing(
    arguments: list[str], status: int, words: bytes, tmp_path: Path
) -> None:
    import re

    done = run(*arguments, given=TEXT, folder=tmp_path)
    assert (done.returncode, done.stdout) == (status, b"")
    assert re.search(words, done.stderr), done.stderr


@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
def test_a_reader_that_has_enough(
    unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    source = put(
        tmp_path / "f.txt", glove_bytes([b"t%d" % i for i in range(9000)], table(9000, 30))
    )
    command = [*RUN, "convert", str(source), "-", "--to", "word2vec-text"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"9000 30\n"
        process.stdout.close()
        _, error = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"rror" not in error


@pytest.mark.parametrize("unbuffered", [pytest.param("", marks=pytest.mark.slow), "1"])
def test_all_comes_through_a_pipe(
    unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output without a buffer takes a part of what it is given."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    data = glove_bytes([b"t%d" % i for i in range(9000)], table(9000, 30))
    done = run("convert", "-", "-", "--to", "npz", given=data, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(ef.read(put(tmp_path / "f.npz", done.stdout))) == 9000


def test_no_standard_input(tmp_path: Path) -> None:
    command = " ".join([sys.executable, "-c", f"'{RUN[2]}'", "convert - - --to glove <&-"])
    done = subprocess.run(command, shell=True, capture_output=True, timeout=120)
    assert done.returncode == 3
    assert b"<stdin>: is closed: name a file" in done.stderr
