"""The command line as people meet it: help, mistakes, interrupts, pipes, and programs that read."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import glove_bytes, put, table

import embedfreeze as ef
from embedfreeze import cli

ROOT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-m", "embedfreeze"]
MATRIX = np.nan_to_num(table(3, 2))
TEXT = glove_bytes([b"king", b"queen", b"caf\xc3\xa9"], MATRIX)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a file of vectors, a vocabulary, texts and a store."""
    put(tmp_path / "v.txt", TEXT)
    put(tmp_path / "words.txt", b"king\nzzzz\n")
    put(tmp_path / "texts.txt", b"king queen\nking\n" * 50)
    ef.load(tmp_path / "v.txt", ef.Vocabulary(["king", "queen"])).save(tmp_path / "t.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(*arguments: str | bytes, **how: Any) -> "subprocess.CompletedProcess[bytes]":
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 120, **how}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **how.pop("env", {})}
    return subprocess.run([*PROGRAM, *arguments], check=False, env=environment, **how)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """The one line that a mistake is answered with."""
    try:
        ended = cli.main(arguments)
    except SystemExit as error:
        ended = error.code
    out, err = capsys.readouterr()
    assert (ended, out) == (status, "")
    assert re.fullmatch(r"embedfreeze: error: [^\n]+\n", err)
    return err


def helped(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


# ---- help


def test_help_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lines = helped(capsys).splitlines()
    assert len(lines) <= 23  # and the line of the next call
    assert max(map(len, lines)) <= 80
    for name, told in cli.COMMANDS.items():
        assert any(line.split() == [name, *told.split()] for line in lines)
    assert sum(line.startswith("  embedfreeze ") for line in lines) in range(2, 5)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_a_command(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = helped(capsys, command)
    lines = told.splitlines()
    assert lines[0].startswith(f"usage: embedfreeze {command} [options]")
    sentence = told.split("\n\n")[1]
    assert re.fullmatch(r"[A-Z][^.\n]+\.", sentence)
    head, _, examples = told.partition("\nexamples:\n")
    calls = examples.splitlines()
    assert 1 <= len(calls) <= 3
    assert all(call.startswith(f"  embedfreeze {command}") for call in calls)
    assert max(map(len, lines)) <= 80
    titles = re.findall(r"^[a-z].*:$", head, re.MULTILINE)
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_option_says_what_it_is_for(command: str) -> None:
    for action in options_of(command):
        assert action.help, action  # that of a hidden one is argparse.SUPPRESS


def options_of(command: str) -> list[Any]:
    """The options of a command, as its module adds them."""
    from importlib import import_module

    from embedfreeze.commands.parsing import CommandLineParser

    parser = CommandLineParser(prog=f"embedfreeze {command}")
    import_module(f"embedfreeze.commands.{command}").add_options(parser)
    return parser._actions


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_examples_are_calls_that_are_understood(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    seen = []
    told = helped(capsys, command) + helped(capsys)
    for line in re.findall(rf"^  embedfreeze ({command}\b.*)$", told, re.MULTILINE):
        words = shlex.split(line.partition(" < ")[0].partition(" > ")[0])
        seen.append(cli._parser().parse_args(words))
    assert seen


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import keras
    import tensorflow as tf

    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    python = ".".join(map(str, sys.version_info[:3]))
    assert said == (
        f"embedfreeze {ef.__version__} (Python {python}, TensorFlow {tf.__version__}, "
        f"Keras {keras.__version__}, NumPy {np.__version__})\n"
    )


def test_help_and_version_load_nothing_large() -> None:
    code = """
import sys
from embedfreeze.__main__ import run
for words in (["--help"], ["--version"], ["convrt"], ["--hlep"]):
    sys.argv[1:] = words
    try: run()
    except SystemExit: pass
print(sorted({"numpy", "tensorflow", "keras", "h5py"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.endswith("\n[]\n")


# ---- mistakes


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["convrt", "a", "b"], "there is no command 'convrt': did you mean convert?"),
        (["Align"], "there is no command 'Align': did you mean align?"),
        (["--versoin"], "there is no option --versoin: did you mean --version?"),
        (["inspect", "a", "--jsn"], "there is no option --jsn: did you mean --json?"),
        (["inspect", "a", "--jso"], "there is no option --jso: did you mean --json?"),
        (["convert", "--form", "glove", "a"], "there is no option --form: did you mean --from?"),
        (["convert", "a", "b", "--limt=3"], "there is no option --limt: did you mean --limit?"),
        (["convert", "a", "b", "--from", "glov"], "did you mean glove?"),
        (["convert", "a", "b", "--to", "npyy"], "did you mean npy?"),
        (["convert", "a", "b", "--dtype", "flot16"], "did you mean float16?"),
        (["convert", "a", "b", "--on-duplicate", "frist"], "did you mean first?"),
        (["align", "a", "b", "c", "--match", "exact,lowr"], "'lowr': did you mean lower?"),
        (["align", "a", "b", "c", "--match", "nfc+casefld"], "did you mean casefold?"),
        (["align", "a", "b", "c", "--oov", "zeroes"], "did you mean zeros?"),
        (["align", "a", "b", "c", "--special-row", "[UNK]=maen"], "did you mean mean?"),
        (["vocabulary", "a", "-o", "b", "--format", "jsnl"], "did you mean jsonl?"),
        (["encode", "t", "a", "-o", "b", "--features", "maen"], "did you mean mean?"),
        (["encode", "t", "a", "-o", "b", "--engine", "loacl"], "did you mean local?"),
        (["verify"], "the following arguments are required: MODEL (see embedfreeze verify --help)"),
        (["inspect", "a", "b"], "received more words than it takes: b (see embedfreeze inspect"),
        ([], "are required: COMMAND (see embedfreeze --help)"),
        (["xyzzy"], "there is no command 'xyzzy' (see embedfreeze --help)"),
        (["inspect", "a", "-x"], "there is no option -x"),
    ],
)
def test_what_was_meant(words: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert meant in refused(capsys, *words)


def test_what_looks_like_an_option_and_is_none(folder: Path) -> None:
    assert cli.main(["align", "v.txt", "words.txt", "o.safetensors", "--seed", "-3"]) == 0
    assert cli.main(["align", "v.txt", "o2.safetensors", "--vocabulary=words.txt"]) == 0
    assert cli.main(["vocabulary", "texts.txt", "-oshort.txt", "--padding=-x"]) == 0
    assert "-x" in (folder / "short.txt").read_text().split("\n")
    os.rename("v.txt", "-v.txt")
    assert cli.main(["inspect", "--", "-v.txt"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "two\nlines", "b.bin"],
        ["convert", "v.txt", "none/b.bin"],
        ["convert", "v.txt", "two\nlines/b.bin"],
        ["convert", "v.txt", "v.txt/b.bin"],
        ["convert", "v.txt", "/proc/b.bin"],
        ["convert", ".", "b.bin"],
        ["convert", "v.txt", "."],
        ["convert", "", "b.bin"],
        ["convert", "v.txt", ""],
        ["convert", "\x1b[31mred", "b.bin"],
        ["convert", "v.txt", "b.bin", "--vocabulary", "none"],
        ["convert", b"caf\xe9", "b.bin"],
        ["convert", b"v.txt", "b.bin", b"--member=\xff"],
        ["convert", "t.safetensors", "-", "--to", "glove", "--json"],
        ["align", "v.txt", "words.txt", "none/t.safetensors"],
        ["align", "v.txt", "v.txt", "words.txt", "o.bin"],
        ["align", "v.txt", b"caf\xe9", "o.safetensors"],
        ["align", "v.txt", "words.txt", "o.safetensors", "--report", "none/r.md"],
        ["align", "v.txt", "words.txt", "o.safetensors", "--special", "a", "--special", "a"],
        ["vocabulary", "none*", "-o", "o.txt"],
        ["vocabulary", "texts.txt", "-o", "none/o.txt"],
        ["vocabulary", "texts.txt", "-o", "o.txt", "--separators", "("],
        ["vocabulary", "texts.txt", "-o", "o.txt", "--tokenizer", "json:nothing"],
        ["vocabulary", "texts.txt", "-o", "o.txt", "--tokenizer", "nothing:at.all"],
        ["encode", "none", "texts.txt", "-o", "out"],
        ["encode", "v.txt", "texts.txt", "-o", "out"],
        ["encode", "t.safetensors", "none", "-o", "out"],
        ["encode", "t.safetensors", "texts.txt", "-o", "v.txt"],
        ["encode", "t.safetensors", "texts.txt", "-o", "none/out/deep"],
        ["verify", "none.safetensors"],
        ["verify", "v.txt"],
        ["verify", "."],
        ["verify", "t.safetensors", "--table", "t.safetensors"],
        ["verify", b"\xff.keras"],
        ["demo", "--data", "none"],
        ["demo", "--epochs", "0"],
        ["c\nd"],
        [b"\xff"],
    ],
)
def test_a_broken_call_is_one_line(
    words: list[str | bytes], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.listdir())
    try:
        status = cli.main(list(map(os.fsdecode, words)))
    except SystemExit as error:
        status = int(str(error.code))
    assert status in {1, 2, 3, 4, 5}
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(r"embedfreeze: error: [^\n\x1b]{10,}\n", err), err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ["align", "v.txt", "words.txt", "--seed", "-3", "o.safetensors"],
        ["align", "v.txt", "--force", "v.txt", "--oov=zeros", "words.txt", "o.safetensors"],
        ["vocabulary", "-oo.txt", "texts.txt", "--min-count", "2", "words.txt"],
        ["vocabulary", "texts.txt", "-o", "o.txt", "words.txt", "--no-lowercase", "v.txt"],
        ["encode", "t.safetensors", "-o", "out", "texts.txt", "--to", "npz", "words.txt"],
        ["neighbours", "n.txt", "king", "-n", "3", "queen"],
        ["neighbours", "n.txt", "king", "-n3", "--", "queen"],
        ["report", "--points", "3", "v.txt", "-o", "o.html"],
        ["convert", "v.txt", "--limit=2", "o.bin"],
    ],
)
def test_options_stand_anywhere(words: list[str], folder: Path) -> None:
    put(folder / "n.txt", b"king 1 2 3\nqueen 2 3 4\n")
    assert cli.main(words) == 0
    options = cli._parser().parse_args(words)
    given = getattr(options, "corpus", getattr(options, "words", []))
    assert not [word for word in given if word[:1] == "-"]
    if "words" in options:
        assert given == ["king", "queen"]


def test_words_behind_two_dashes_are_no_options(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = cli._parser().parse_args(["neighbours", "-n", "3", "v.txt", "--", "-n", "--json"])
    assert (options.words, options.n, options.json) == (["-n", "--json"], 3, False)
    for words in (["inspect", "a", "--", "-b"], ["demo", "--", "x"]):
        said = refused(capsys, *words)
        assert "received more words than it takes: " + words[-1] in said
    assert "--limit: expected one argument" in refused(capsys, "convert", "a", "b", "--limit")
    assert "there is no option --forse" in refused(capsys, "convert", "a", "--forse", "b")


# ---- files that are read are not replaced


@pytest.mark.parametrize(
    "words",
    [
        ["report", "v.txt", "-o", "v.txt"],
        ["report", "v.txt", "-o", "./v.txt"],
        ["report", "v.txt", "-o", "link.txt"],
        ["report", "v.txt", "--vocabulary", "words.txt", "-o", "words.txt"],
        ["report", "v.txt", "--proof", "words.txt", "-o", "words.txt"],
        ["align", "v.txt", "words.txt", "o.safetensors", "--report", "words.md"],
        ["align", "t.safetensors", "words.txt", "t.safetensors"],
        ["align", "v.txt", "words.txt", "t.safetensors", "--report", "t.md"],
    ],
)
def test_what_is_read_is_not_replaced(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.symlink("v.txt", "link.txt")
    os.symlink("words.txt", "words.md")
    os.symlink("t.safetensors", "t.md")
    before = {name: Path(name).read_bytes() for name in os.listdir()}
    said = refused(capsys, *words, "--force", status=3)
    assert "is one of the files that are read: name another" in said
    assert {name: Path(name).read_bytes() for name in os.listdir()} == before


def test_a_page_is_not_named_by_a_secret(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from embedfreeze.commands.report import _page_of

    assert _page_of("https://me:pw@host/a/t.txt?signature=SECRET") == "t.txt.html"
    assert _page_of("-") == "report.html"
    assert "standard output" in refused(capsys, "report", "v.txt", "-o", "-")
    assert not os.path.exists("-")


def test_a_missing_source_is_told_before_a_target_that_exists(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["convert", "none", "v.txt"],
        ["align", "none", "words.txt", "t.safetensors"],
        ["align", "v.txt", "none", "t.safetensors"],
        ["report", "none", "-o", "v.txt"],
        ["vocabulary", "none", "-o", "words.txt"],
        ["projector", "none", "."],
    ):
        assert "none: " in refused(capsys, *words, status=3)


# ---- what was mixed up


def test_words_in_the_wrong_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["align", "words.txt", "v.txt", "o.safetensors"],
        ["encode", "texts.txt", "t.safetensors", "-o", "out"],
        ["neighbours", "king", "v.txt"],
        ["neighbours", "king", "-n", "3", "queen", "t.safetensors"],
    ):
        said = refused(capsys, *words, status=3)
        assert f"{words[1]}: is no table of vectors, which " in said
        assert said.endswith("is: name the table before it\n")
    assert "king: cannot be read" in refused(capsys, "neighbours", "king", "queen", status=3)


def test_texts_are_no_vocabulary(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder / "rows.tsv", b"source\tlabel\ttext\nshop\t1\tGreat phone!\n")
    counts = "; if these are texts, embedfreeze vocabulary counts their tokens\n"
    said = refused(capsys, "align", "v.txt", "texts.txt", "o.safetensors", status=5)
    assert "received 'king queen' on line 1 and on line 3: remove one" in said
    assert said.endswith(counts)
    said = refused(capsys, "align", "v.txt", "rows.tsv", "o.safetensors", status=4)
    assert "received 3 columns, of which none is called token or so: " in said
    assert said.endswith(counts)
    put(folder / "twice.txt", b"king\nking\n")
    assert counts not in refused(capsys, "align", "v.txt", "twice.txt", "o.safetensors", status=5)


def test_inspect_says_what_else_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder / "listed.txt", b"\n[UNK]\nking\nqueen\n")
    put(folder / "numbers.txt", b"1\n2\n3\n4\n")
    assert cli.main(["encode", "t.safetensors", "texts.txt", "-o", "out"]) == 0
    ef.build_model(ef.read("t.safetensors")).save("m.keras")
    capsys.readouterr()
    for name, status, what in (
        ("listed.txt", 4, "the content is a list of tokens without numbers: "),
        ("numbers.txt", 4, "the content is b'1\\n2\\n3\\n4\\n': get the file again"),
        ("out", 3, "is a folder of features, as embedfreeze encode writes"),
        ("m.keras", 4, "found   a saved Keras model: embedfreeze verify checks"),
    ):
        assert cli.main(["inspect", name]) == status
        assert what in capsys.readouterr().out


def test_bytes_that_are_no_text_are_not_all_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(folder / "model.bin", b"\xff" * 500)
    said = refused(capsys, "vocabulary", "model.bin", "-o", "o.txt", status=4)
    assert f"received {bytes([255] * 12)!r}...: " in said


def test_a_header_that_is_read_as_a_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = b"label,review\n1,a good phone\n0,not so good\n"
    put(folder / "rows.csv", rows)
    put(folder / "rows.tsv", rows.replace(b",", b"\t"))
    put(folder / "bare.csv", rows.partition(b"\n")[2])
    call = ["vocabulary", "-o", "o.txt", "--force", "--column", "1"]
    for name in ("rows.csv", "rows.tsv"):
        assert cli.main([*call, name]) == 0
        warned = f"embedfreeze: warning: {name}: the first row, 'label', 'review', is read as a"
        err = capsys.readouterr().err
        assert err.startswith(warned)
        assert "(--header, or --no-header)" in err
        assert err.count("\n") == 1
        for how in ("--header", "--no-header"):
            assert cli.main([*call, name, how]) == 0
            assert capsys.readouterr().err == ""
    assert cli.main([*call, "bare.csv"]) == 0
    assert capsys.readouterr().err == ""


def test_tokenizers_are_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["vocabulary", "texts.txt", "-o", "o.txt", "--tokenizer"]
    said = refused(capsys, *call, "spacy", status=3)
    assert "--tokenizer must be keras, whitespace, a tokenizer.json or MODULE:FUNCTION" in said
    assert "did you mean whitespace?" in refused(capsys, *call, "witespace", status=3)


def test_numbers_of_things(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["convert", "v.txt", "o.bin", "--limit"]
    assert "at least 1 is needed, received -5" in refused(capsys, *call, "-5")
    assert "at least 1 is needed, received 0" in refused(capsys, *call, "0")
    for text in ("ten", "10x", "1.5", "", "\u0663", "1kk"):
        said = refused(capsys, *call, text)
        assert f"a whole number such as 500, 10k or 2M is needed, received {text!r}" in said
    limits = {"7": 7, "10k": 10_000, "10K": 10_000, "2M": 2_000_000}
    for text, limit in limits.items():
        assert cli._parser().parse_args([*call, text]).limit == limit


def test_one_of_a_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder / "one.txt", b"king 1 2\nking 1 2\nqueen 1\nman 3 4\n")
    assert cli.main(["neighbours", "one.txt", "king", "--on-bad-row", "skip"]) == 0
    err = capsys.readouterr().err
    assert "one.txt: 1 row repeats an earlier token" in err
    assert "one.txt: 1 bad row was skipped, the first at line 3" in err
    capsys.readouterr()
    put(folder / "text.txt", b"king\n")
    call = ["encode", "t.safetensors", "text.txt", "-o", "out"]
    for done in ("", "already done, "):
        assert cli.main(call) == 0
        assert capsys.readouterr().out == f"out: {done}1 text in 1 shard: features float32[2]\n"
    assert cli.main([*call, "--features", "ragged", "--force"]) == 0
    assert "already" not in capsys.readouterr().out


def test_help_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words, same in ((["help"], []), (["help", "convert"], ["convert"])):
        with pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert caught.value.code == 0
        assert capsys.readouterr().out == helped(capsys, *same)
    assert "there is no command 'convrt'" in refused(capsys, "help", "convrt")


def test_convert_reads_a_vocabulary_with_its_settings(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["vocabulary", "texts.txt", "-o", "listed.txt"]) == 0
    put(folder / "n.txt", b"[UNK] 0 1\nking 1 2\nman 2 3\nqueen 3 4\n")
    capsys.readouterr()
    assert cli.main(["convert", "n.txt", "o.txt", "--vocabulary", "listed.txt"]) == 0
    assert capsys.readouterr().err == ""
    assert Path("o.txt").read_bytes() == b"king 1 2\nqueen 3 4\n"
    put(folder / "own.txt", b"<unk>\nking\n")
    assert cli.main(["convert", "n.txt", "o2.txt", "--vocabulary", "own.txt"]) == 0
    assert "'<unk>' in the list looks like a special token, and comes" in capsys.readouterr().err
    named = ["--unknown=<unk>", "--special-listed", "--no-special"]
    assert cli.main(["convert", "n.txt", "o3.txt", "--vocabulary=own.txt", *named]) == 0
    assert capsys.readouterr().err == ""


def test_tokens_that_point_nowhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder / "n.txt", b"zero 0 0\nking 1 2\nqueen 2 3\n")
    said = refused(capsys, "neighbours", "n.txt", "zero", status=5)
    assert "received that of 'zero', which is zeros or not finite" in said
    found = ["report", "n.txt", "--neighbours", "king,zero", "-o", "o.html", "--json"]
    assert cli.main(found) == 0
    out, err = capsys.readouterr()
    assert list(json.loads(out)["neighbours"]) == ["king"]
    assert err.startswith("embedfreeze: warning: a row must point somewhere to have neighbours: 'z")
    assert "(near it: 'king')" in refused(
        capsys, "report", "n.txt", "--neighbours", "kng", "-o", "o2.html", status=5
    )


# ---- streams


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [
        (["inspect", "v.txt"], "1"),
        (["inspect", "v.txt"], ""),
        (["convert", "v.txt", "o.bin", "--force"], ""),
        (["align", "v.txt", "words.txt", "o.safetensors", "--force"], ""),
        (["vocabulary", "texts.txt", "-o", "o.txt", "--force"], ""),
        (["encode", "t.safetensors", "texts.txt", "-o", "out", "--force"], ""),
        (["verify", "t.safetensors"], ""),
        (["--help"], "1"),
        (["align", "--help"], ""),
        (["--version"], ""),
    ],
)
def test_streams_that_are_full_closed_or_left(
    words: list[str], unbuffered: str, folder: Path
) -> None:
    env = {"PYTHONUNBUFFERED": unbuffered}
    called(*words, env=env)  # what is done already is said otherwise
    whole = called(*words, env=env)
    assert (whole.returncode, whole.stderr) == (0, b"")
    assert whole.stdout
    with open("/dev/full", "wb") as full:
        done = called(*words, env=env, stdout=full)
    assert done.returncode == 1
    assert re.fullmatch(rb"embedfreeze: error: No space left on device: [^\n]+\n", done.stderr)
    read, write = os.pipe()
    os.close(read)
    done = called(*words, env=env, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
    for closed in (0, 1, 2):
        done = called(*words, env=env, preexec_fn=lambda number=closed: os.close(number))
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == (b"" if closed == 1 else whole.stdout)


def test_a_file_never_gets_the_number_of_a_closed_stream(folder: Path) -> None:
    """Else what is printed would land in it."""
    done = called("convert", "v.txt", "o.vec", preexec_fn=lambda: os.closerange(0, 3))
    assert done.returncode == 0
    assert (folder / "o.vec").read_bytes().startswith(b"3 2\nking ")
    assert len(ef.read("o.vec")) == 3


@pytest.mark.parametrize("how", [{"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}, {"TERM": "dumb"}, {}])
def test_a_pipe_gets_no_colours(how: dict[str, str]) -> None:
    if "FORCE_COLOR" in how and sys.version_info >= (3, 14):
        pytest.skip("argparse colours its help for those who ask so")
    for words in (["--help"], ["align", "--help"], ["convrt"]):
        done = called(*words, env=how)
        assert b"\x1b" not in done.stdout + done.stderr


# ---- interrupts


READY = """
import sys
def hook(event, arguments):
    if event == "import" and arguments[0] == "embedfreeze.cli":
        sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.addaudithook(hook)
from embedfreeze.__main__ import run
sys.exit(run())
"""


def interrupted(words: list[str], delay: float) -> tuple[int, str]:
    """Status and standard error of a command that all of its processes are told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", READY, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.parametrize(
    ("words", "longest"),
    [
        (["convert", "large.txt", "o.safetensors", "--force"], 0.5),
        (["align", "large.txt", "words.txt", "o.safetensors", "--force", "--oov", "nearest"], 0.6),
        (["inspect", "large.txt"], 0.5),
        (["vocabulary", "corpus.txt", "-o", "o.txt", "--force", "--processes", "2"], 1.0),
        (["encode", "t.safetensors", "corpus.txt", "-o", "out", "--processes", "2"], 1.0),
        (["verify", "t.safetensors"], 0.3),
    ],
)
def test_ctrl_c_at_any_moment(words: list[str], longest: float, folder: Path) -> None:
    """Quiet, and soon: killed by the signal while Python starts, else one line and 130."""
    rows = b"".join(b"t%d 1.25 2.5 3.75 5\n" % i for i in range(300_000))
    put(folder / "large.txt", rows + b"king 1 2 3 4\n")
    put(folder / "corpus.txt", b"king queen and others\n" * 400_000)
    draw = random.Random(7)
    ends = set()
    for moment in range(8):
        status, err = interrupted(words, draw.uniform(0, longest) if moment else 0)
        lines = [line for line in err.splitlines() if "what is done stays in out" not in line]
        assert (status, lines) in [
            (0, []),  # it was done before
            (-signal.SIGINT, []),
            (130, []),
            (130, ["embedfreeze: interrupted"]),
        ], err
        ends.add(status)
    assert ends & {130, -signal.SIGINT}
    assert not [name for name in os.listdir(folder) if "tmp" in name]


@pytest.mark.parametrize("module", ["argparse", "numpy", "embedfreeze.align", "json", "mmap"])
def test_ctrl_c_while_a_module_is_imported(module: str, folder: Path) -> None:
    code = f"""
import os, signal, sys
def hook(event, arguments):
    if event == "import" and arguments[0] == {module!r} and "embedfreeze" in sys.modules:
        os.kill(os.getpid(), signal.SIGINT)
from embedfreeze.__main__ import run
sys.modules.pop({module!r}, None)
sys.addaudithook(hook)
sys.exit(run())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "align", "v.txt", "words.txt", "o.safetensors"],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) in [
        (-signal.SIGINT, b""),
        (130, b"embedfreeze: interrupted\n"),
    ]
    assert not os.path.exists("o.safetensors")


def test_an_interrupt_that_an_import_makes_an_error_of() -> None:
    """As NumPy does while its core is imported."""
    code = """
import os, signal, sys
import embedfreeze.commands.demo
from embedfreeze.__main__ import run
def work(options):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise ImportError("could not import") from None
embedfreeze.commands.demo._demo = work
sys.argv[1:] = ["demo"]
sys.exit(run())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (130, b"embedfreeze: interrupted\n")


def test_an_ignored_interrupt_stays_ignored(folder: Path) -> None:
    """As that of a program in the background."""
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from embedfreeze.__main__ import run
os.kill(os.getpid(), signal.SIGINT)
status = run()
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
sys.exit(status)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", "v.txt"],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, b"")


# ---- programs that read


def printed(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> dict[str, Any]:
    assert cli.main([*words, "--json"]) == status
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_json_of_every_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "convert", "v.txt", "o.bin", "--limit", "2") == {
        "source": "v.txt",
        "source_format": "glove",
        "target": "o.bin",
        "target_format": "word2vec",
        "rows": 2,
        "dim": 2,
        "dropped": 0,
        "skipped": 0,
    }
    a = ef.load("v.txt", ef.Vocabulary.from_file("words.txt"))
    assert a.coverage is not None
    assert printed(capsys, "align", "v.txt", "words.txt", "o.safetensors", "--report", "r.md") == {
        "target": "o.safetensors",
        "rows": 4,
        "dim": 2,
        "dtype": "float32",
        "digest": a.digest,
        "coverage": json.loads(
            json.dumps(ef.read("o.safetensors").coverage.to_dict())  # type: ignore[union-attr]
        ),
        "reports": ["r.md"],
    }
    found = printed(capsys, "vocabulary", "texts.txt", "-o", "o.txt", "--max-size", "1")
    counts = ef.count_corpus("texts.txt")
    assert found == {
        "target": "o.txt",
        "settings": "o.settings.json",
        "tokens": 1,
        "occurrences": counts["king"],
        "n_types": counts.n_types,
        "n_tokens": counts.n_tokens,
        "n_texts": counts.n_texts,
        "skipped": 0,
    }
    found = printed(capsys, "encode", "t.safetensors", "texts.txt", "-o", "out")
    columns = [{"name": "features", "dtype": "float32", "shape": [2]}]
    assert found == {
        "target": "out",
        "format": "npy",
        "texts": 100,
        "skipped": 0,
        "shards": 1,
        "columns": columns,
    }
    assert printed(capsys, "inspect", "o.bin")["rows"] == 2
    assert printed(capsys, "inspect", "none", status=3)["loadable"] is False


def test_json_of_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(folder / "bad.txt", b"king 1 2\nqueen 3 x\n" + TEXT)
    for words, status in (
        (["convert", "none", "o.bin"], 3),
        (["convert", "bad.txt", "o.bin"], 4),
        (["convert", "v.txt", "o.nothing"], 3),
        (["neighbours", "v.txt", "kng"], 5),
        (["report", "v.txt", "-o", "-"], 2),
        (["verify", "words.txt"], 1),
        (["evaluate", "v.txt", "--skip-analogies", "--analogies", "a"], 2),
    ):
        found = cli.main([*words, "--json"])
        out, err = capsys.readouterr()
        told = json.loads(out)
        assert (found, told["status"]) == (told["status"], status) or words[0] == "verify"
        assert err == f"embedfreeze: error: {told['message']}\n"
        assert told["error"].endswith("Error")
    assert cli.main(["convert", "bad.txt", "o.bin", "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    assert (told["error"], told["path"], told["line"]) == ("FormatError", "bad.txt", 2)
    assert set(told) <= {"error", "message", "status", "path", "line", "column"}
    done = called("convert", "t.safetensors", "-", "--to", "glove", "--json")
    assert (done.returncode, done.stdout) == (2, b"")
    with open("/dev/full", "wb") as full:
        done = called("inspect", "v.txt", "--json", stdout=full, env={"PYTHONUNBUFFERED": "1"})
    assert done.returncode == 1
    assert re.fullmatch(rb"embedfreeze: error: No space left on device: [^\n]+\n", done.stderr)


# ---- verify


def test_verify_a_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = ef.read("t.safetensors").digest
    assert cli.main(["verify", "t.safetensors"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("no frozen byte of 't.safetensors' changed: the table (4 x 2 float32")
    assert digest in told
    found = printed(capsys, "verify", "t.safetensors")
    assert found["verified"] is True
    assert found["tables"][0]["digest"] == digest
    assert found["tables"][0]["how"] == "deep"


def changed(path: Path, tensor: str) -> Path:
    """A copy of a store with one bit of a tensor flipped."""
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[:8], "little")
    data[8 + size + json.loads(data[8 : 8 + size])[tensor]["data_offsets"][0]] ^= 1
    return put(path.with_name(f"{tensor}.safetensors"), bytes(data))


def test_verify_a_store_that_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = changed(folder / "t.safetensors", "vectors")
    assert "(block 0) do not have" in refused(capsys, "verify", str(path), status=6)
    assert cli.main(["verify", str(path), "--json"]) == 6
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["verified"], found["block"], found["model"]) == (False, 0, str(path))
    assert found["problem"] in err
    assert (found["error"], found["status"]) == ("FrozenBytesChanged", 6)
    assert found["message"] == found["problem"]
    for tensor in ("token_bytes", "token_index", "block_digests"):
        path = changed(folder / "t.safetensors", tensor)
        assert "recorded digest" in refused(capsys, "verify", str(path), status=4)


def test_verify_a_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ef.build_model(ef.read("t.safetensors"))
    model.save("m.keras")
    found = printed(capsys, "verify", "m.keras")
    assert found["tables"][0]["digest"] == ef.read("t.safetensors").digest
    os.mkdir("elsewhere")
    os.rename("t.safetensors", "elsewhere/t.safetensors")
    assert "table" in refused(capsys, "verify", "m.keras", status=3)
    assert cli.main(["verify", "m.keras", "--search", "elsewhere"]) == 0
    assert cli.main(["verify", "m.keras", "--table", "elsewhere/t.safetensors"]) == 0
    capsys.readouterr()
    path = changed(folder / "elsewhere" / "t.safetensors", "vectors")
    told = refused(capsys, "verify", "m.keras", "--table", str(path), status=6)
    assert "layer" in told
