"""`embedfreeze align`: its options, exit statuses, what it prints, and its reports."""

import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from samples import bits, child, put

import embedfreeze as ef
from embedfreeze.cli import main

TEXT = b"the 1 2\nKing 3 4\nking 5 6\nqueen 7 8\nnew_york 9 10\n[UNK] 11 12\n"
WORDS = b"king\nQUEEN\nnew york\nkingg\nzzz\n"
TOKENS = WORDS.decode().split("\n")[:-1]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return put(tmp_path / "f.txt", TEXT)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return put(tmp_path / "words.txt", WORDS)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], status: int, *arguments: object) -> str:
    """The one line that an error is."""
    capsys.readouterr()
    assert run("align", *arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("embedfreeze: error: ")
    assert err.count("\n") == 1
    return err


def test_align(
    source: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "t.safetensors"
    assert run("align", source, target, "--vocabulary", words) == 0
    out, err = capsys.readouterr()
    a = ef.load(source, ef.Vocabulary(TOKENS))
    assert out == f"{a.coverage}\n{target}: 7 rows of 2, digest {a.digest}\n"
    assert err == ""
    e = ef.read(target)
    assert (e.digest, list(e.tokens), e.vocabulary) == (a.digest, list(a.tokens), a.vocabulary)
    assert (e.coverage.to_dict()["type"], e.provenance) == (
        a.coverage.to_dict()["type"],
        a.provenance,
    )


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ("--match exact,lower,underscore --oov mean", {"match": 3, "oov": "mean"}),
        ("--oov normal --seed 7", {"oov": "normal", "seed": 7}),
        ("--oov hash --seed -1", {"oov": "hash", "seed": -1}),
        ("--oov nearest", {"oov": "nearest"}),
        ("--match upper+lower --fold-file", {"match": ("upper+lower",), "fold_file": True}),
        ("--normalize l2 --center", {"normalize": "l2", "center": True}),
        ("--dim 1", {"dim": 1}),
        ("--dim 1 --reduce pca --all-but-the-top 1", {"dim": 1, "reduce": "pca", "all": 1}),
        ("--dtype float16 --threads 1 --from glove", {"dtype": "float16", "format": "glove"}),
        ("--limit 3 --on-duplicate error", {"limit": 3}),
    ],
)
def test_options_are_those_of_load(
    arguments: str, options: dict[str, object], source: Path, words: Path, tmp_path: Path
) -> None:
    target = tmp_path / "t.safetensors"
    assert run("align", source, target, "--vocabulary", words, *arguments.split()) == 0
    if options.get("match") == 3:
        options = {**options, "match": ("exact", "lower", "underscore")}
    if "all" in options:
        options = {**options, "all_but_the_top": options["all"]}
        del options["all"]
    a = ef.load(source, ef.Vocabulary(TOKENS), **options)
    e = ef.read(target)
    assert bits(e.matrix) == bits(a.matrix)
    assert e.provenance == a.provenance


def test_several_sources(source: Path, words: Path, tmp_path: Path) -> None:
    other = put(tmp_path / "g.txt", b"zzz 1 1\nking 9 9\n")
    one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    assert run("align", source, other, one, "--vocabulary", words) == 0
    assert ef.read(one).matrix[[2, 6]].tolist() == [[5, 6], [1, 1]]
    assert run("align", source, other, two, "--vocabulary", words, "--combine", "concat") == 0
    assert ef.read(two).matrix[2].tolist() == [5, 6, 9, 9]
    assert ef.read(two).provenance["sources"] == ["f.txt", "g.txt"]


def test_vocabularies(source: Path, tmp_path: Path) -> None:
    table = put(tmp_path / "v.csv", b"token,count\nking,5\nzzz,3\n")
    target = tmp_path / "t.safetensors"
    assert run("align", source, target, "--vocabulary", table) == 0
    assert ef.read(target).coverage.share(by="token") == 0.625
    ids = put(tmp_path / "v.json", json.dumps({"king": 2, "queen": 0, "the": 1}).encode())
    assert run("align", source, target, "--vocabulary", ids, "--force") == 0
    assert list(ef.read(target).tokens) == ["queen", "the", "king"]
    tokenizer = {
        "added_tokens": [],
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "king": 1}, "unk_token": "[UNK]"},
    }
    pieces = put(tmp_path / "tokenizer.json", json.dumps(tokenizer).encode())
    done = run("align", source, target, "--vocabulary", pieces, "--tokenizer", "--force")
    assert done == 0
    assert list(ef.read(target).tokens)[:2] == ["[UNK]", "king"]


def test_exit_statuses(
    source: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "t.safetensors"
    call: list[object] = [source, target, "--vocabulary", words]
    told = refused(capsys, 5, *call, "--oov", "error")
    assert "each token must have a row, received 3 without: 'new york', 'kingg', 'zzz';" in told
    assert "(--oov)" in told
    assert "match must be some of" in refused(capsys, 2, *call, "--match", "exact,exact")
    assert "dim must be at most 2" in refused(capsys, 2, *call, "--dim", "3")
    assert 'reduce="pca" needs dim=' in refused(capsys, 2, *call, "--reduce", "pca")
    assert "No such file" in refused(capsys, 3, tmp_path / "no", *call[1:])
    assert "No such file" in refused(capsys, 3, source, target, "--vocabulary", tmp_path / "no")
    bad = put(tmp_path / "bad.txt", TEXT + b"kingg x 1\n")
    assert "line 7, column 2" in refused(capsys, 4, bad, *call[1:])
    wide = put(tmp_path / "wide.txt", b"a 1 2 3\n")
    assert 'combine="concat"' in refused(capsys, 4, source, wide, *call[1:])
    twice = put(tmp_path / "twice.txt", b"king\nking\n")
    assert "king" in refused(capsys, 5, source, target, "--vocabulary", twice)
    assert "is written as a store" in refused(
        capsys, 3, source, tmp_path / "t.txt", "--vocabulary", words
    )
    assert not target.exists()
    for wrong in (
        [source, target],
        [source, "--vocabulary", words],
        [*call, "--oov", "random"],
        [*call, "--match", "exact,stem"],
        [*call, "--match", ""],
        [*call, "--combine", "add"],
        [*call, "--dim", "0"],
        [*call, "--all-but-the-top", "-1"],
        [*call, "--normalize", "l1"],
        [*call, "--seed", "x"],
    ):
        with pytest.raises(SystemExit) as caught:
            run("align", *wrong)
        assert caught.value.code == 2


def test_reports(
    source: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "t.safetensors"
    call: list[object] = [source, target, "--vocabulary", words, "--force"]
    assert run("align", *call, "--report", tmp_path / "r.md") == 0
    a = ef.load(source, ef.Vocabulary(TOKENS))
    assert (tmp_path / "r.md").read_text(encoding="utf-8") == a.coverage.to_markdown()
    assert "| `kingg` | `king` |" in (tmp_path / "r.md").read_text(encoding="utf-8")
    assert ef.read(target).coverage.nearest()["kingg"] == ["king"]
    assert run("align", *call, "--report", tmp_path / "r.json") == 0
    assert json.loads((tmp_path / "r.json").read_bytes())["type"]["found"] == 2


def test_the_vocabulary_may_stand_before_the_target(
    source: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named, placed = tmp_path / "named.safetensors", tmp_path / "placed.safetensors"
    assert run("align", source, source, named, "--vocabulary", words) == 0
    assert run("align", source, source, words, placed) == 0
    assert placed.read_bytes() == named.read_bytes()
    with pytest.raises(SystemExit, match="2"):
        run("align", source, tmp_path / "other.safetensors")
    assert "required: a vocabulary, before DST" in capsys.readouterr().err


@pytest.mark.parametrize("counts", [None, {"king": 7, "zzz": 2}])
def test_pictures(counts: dict[str, int] | None, source: Path, tmp_path: Path) -> None:
    ef.Vocabulary(TOKENS, counts=counts).save(tmp_path / "v.json")
    reports = [tmp_path / name for name in ("r.png", "r.SVG", "r.json")]
    call = ["align", source, tmp_path / "v.json", tmp_path / "t.safetensors"]
    assert run(*call, *(part for path in reports for part in ("--report", path))) == 0
    picture = image.imread(reports[0])
    assert picture.shape[:2] == (520, 1300)
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 20
    svg = reports[1].read_text("utf-8")
    assert svg.startswith("<?xml")
    assert ("tokens" in svg) == (counts is not None)
    assert json.loads(reports[2].read_bytes())["type"]["found"] == 2
    again = tmp_path / "again"
    again.mkdir()
    assert run(*call, "--force", "--report", again / "r.svg", "--report", again / "r.png") == 0
    assert (again / "r.svg").read_text("utf-8") == svg
    assert (again / "r.png").read_bytes() == reports[0].read_bytes()


def test_pictures_need_a_library(
    source: Path,
    words: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    target = tmp_path / "t.safetensors"
    told = refused(capsys, 1, source, words, target, "--report", tmp_path / "r.png")
    assert 'pip install "embedfreeze[report]"' in told
    assert not target.exists()


def test_what_exists_is_said_before_anything_is_read(
    source: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, target = put(tmp_path / "r.md", b"mine"), tmp_path / "t.safetensors"
    source = put(tmp_path / "no", b"no vectors")  # which would be said as it is read
    call: list[object] = [source, target, "--vocabulary", words, "--report", report]
    told = refused(capsys, 3, *call)
    assert told.endswith("r.md: exists: pass overwrite=True (--force) to replace it\n")
    report.unlink()
    put(target, b"mine")
    assert "t.safetensors: exists" in refused(capsys, 3, *call)
    assert target.read_bytes() == b"mine"
    assert not report.exists()


def test_its_own_store(
    source: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    assert run("align", source, one, "--vocabulary", words) == 0
    assert run("align", one, two, "--vocabulary", words, "--report", tmp_path / "r.md") == 0
    assert ef.read(two).digest == ef.read(one).digest
    assert ef.read(two).provenance == ef.read(one).provenance
    a = ef.load(source, ef.Vocabulary(TOKENS))
    ef.AlignedEmbeddings(a.sealed, a.vocabulary).save(tmp_path / "bare.safetensors")
    capsys.readouterr()
    bare = tmp_path / "bare.safetensors"
    assert run("align", bare, two, "--vocabulary", words, "--force") == 0
    assert capsys.readouterr().out == f"{two}: 7 rows of 2, digest {a.digest}\n"
    assert "there is no coverage to report" in refused(
        capsys, 3, bare, tmp_path / "3.safetensors", "--vocabulary", words, "--report", "r.md"
    )
    assert not (tmp_path / "3.safetensors").exists()


def test_a_pipe_as_source(words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=lambda: (tmp_path / "fifo").write_bytes(TEXT), daemon=True)
    writer.start()
    target, report = tmp_path / "t.safetensors", tmp_path / "r.md"
    call: list[object] = [tmp_path / "fifo", target, "--vocabulary", words]
    assert run("align", *call, "--report", report) == 0
    writer.join(10)
    assert "a pipe can be read once" in report.read_text(encoding="utf-8")
    assert "a pipe can be read once" in refused(capsys, 3, *call, "--oov", "nearest", "--force")


def test_nothing_loads_tensorflow(source: Path, words: Path, tmp_path: Path) -> None:
    code = """
import sys
from embedfreeze.cli import main
assert main(["align", *sys.argv[1:]]) == 0
print(sorted({"tensorflow", "keras", "gensim", "h5py", "pandas"} & set(sys.modules)))
"""
    told = child(code, source, tmp_path / "t.safetensors", "--vocabulary", words)
    assert told.split("\n")[-2] == "[]"


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("align", "--help")
    told = capsys.readouterr().out
    for option in (
        *("--vocabulary", "--tokenizer", "--match", "--fold-file", "--oov", "--seed", "--combine"),
        *("--normalize", "--center", "--dim", "--reduce", "--all-but-the-top", "--report"),
        *("--from", "--member", "--tokens", "--limit", "--dtype", "--on-bad-row", "--force"),
    ):
        assert option in told


MEMORY = """
import sys
import numpy as np
import embedfreeze as ef

def resident():
    fields = dict(line.split(":") for line in open("/proc/self/status"))
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem")) * 1024

v = ef.Vocabulary([f"token{i}" for i in range(0, 30_000, 300)])
ef.load(sys.argv[2], v)
before = resident()
kept = [ef.load(sys.argv[1], v, fold_file=fold_file) for fold_file in (False, True)]
print(resident() - before)
"""


def test_little_stays_in_memory(tmp_path: Path) -> None:
    """A rough check of what stays; tests/test_memory.py measures the peak."""
    tail = b" 0.25" * 300 + b"\n"
    big = put(tmp_path / "f.txt", b"".join(b"Token%d" % i + tail for i in range(30_000)))
    few = put(tmp_path / "g.txt", b"token0" + tail)
    assert int(child(MEMORY, big, few)) < 20_000_000 < np.float32().itemsize * 300 * 30_000


def test_special_tokens_are_named_on_the_command_line(source: Path, tmp_path: Path) -> None:
    ids = put(tmp_path / "ids.json", b'{"king": 3, "[UNK]": 0, "<s>": 2}')
    target = tmp_path / "t.safetensors"
    options = ["--unknown", "[UNK]", "--padding", "<pad>", "--special", "<s>"]
    rows = ["--special-row", "[UNK]=file", "--special-row", "<s>=mean"]
    assert run("align", source, target, "--vocabulary", ids, *options, *rows) == 0
    e = ef.read(target)
    assert list(e.tokens) == ["[UNK]", "<pad>", "<s>", "king"]
    assert e.vocabulary.special_ids == (1, 0, 2)
    assert e.matrix.tolist() == [[11, 12], [0, 0], [5, 6], [5, 6]]


def test_no_special_tokens(source: Path, words: Path, tmp_path: Path) -> None:
    target = tmp_path / "t.safetensors"
    assert run("align", source, target, "--vocabulary", words, "--no-special") == 0
    assert list(ef.read(target).tokens) == TOKENS


@pytest.mark.parametrize("row", ["[UNK]", "[UNK]=nearest", "="])
def test_a_row_of_a_special_token_must_be_a_policy(
    source: Path, words: Path, tmp_path: Path, row: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(
            "align", source, tmp_path / "t.safetensors", "--vocabulary", words, "--special-row", row
        )
    assert ended.value.code == 2
    assert "TOKEN=ROW is needed" in capsys.readouterr().err


def test_special_tokens_that_stand_in_the_list(source: Path, tmp_path: Path) -> None:
    words = put(tmp_path / "bert.txt", b"<pad>\n<unused>\n<unk>\nking\n")
    target = tmp_path / "t.safetensors"
    named = ["--padding", "<pad>", "--unknown", "<unk>", "--special", "<unused>"]
    assert run("align", source, target, "--vocabulary", words, *named, "--special-listed") == 0
    e = ef.read(target)
    assert list(e.tokens) == ["<pad>", "<unused>", "<unk>", "king"]
    assert (e.vocabulary.padding_id, e.vocabulary.unknown_id) == (0, 2)


def test_special_tokens_that_nobody_named(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = put(tmp_path / "words.txt", b"<pad>\n<unk>\nking\n")
    assert run("align", source, tmp_path / "t.safetensors", "--vocabulary", words) == 0
    assert "words.txt: '<pad>', '<unk>' in the list look like special tokens" in (
        capsys.readouterr().err
    )


def test_a_report_beside_the_table(
    source: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "t.safetensors"
    options = (source, target, "--vocabulary", words, "--force", "--report")
    assert "another name than the table" in refused(capsys, 3, *options, target)
    assert "No such file or directory" in refused(capsys, 3, *options, tmp_path / "none" / "c.md")
    assert not target.exists()
    capsys.readouterr()
    assert run("align", *options[:-1]) == 0
    assert run("inspect", target) == 0
    out = capsys.readouterr().out
    assert "note    aligned to a vocabulary: padding '', unknown '[UNK]'" in out
    assert "note    2 of 5 types found" in out


def test_a_vocabulary_without_words(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "t.safetensors"
    listed = put(tmp_path / "words.txt", b"\n[UNK]\n")
    told = refused_with_notes(capsys, source, listed, target)
    assert "words.txt: a vocabulary must have an ordinary token, received none" in told
    assert not target.exists()
    (tmp_path / "empty.txt").touch()
    assert run("align", source, tmp_path / "empty.txt", target) != 0


def refused_with_notes(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run("align", *arguments) == 5
    return capsys.readouterr().err
