"""Counts of a corpus, in one process and in several, against Python's Counter."""

import json
import os
import random
import signal
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from samples import put

import embedfreeze as ef
from embedfreeze.batch import counting, lined
from embedfreeze.batch.processes import process_imap
from embedfreeze.cli import main
from embedfreeze.errors import FormatError, VocabularyError
from embedfreeze.splitters import ASCII_WHITE_SPACE, WHITE_SPACE, all_tokens

SENTENCES = Path(__file__).parents[1] / "data" / "sentences.tsv"
TEXTS = [line.split("\t")[2] for line in SENTENCES.read_text("utf-8").split("\n")[1:-1]]


def zipf(n: int, seed: int = 0) -> list[str]:
    """Texts of tokens, of which few are frequent and many occur once."""
    rng = random.Random(seed)
    words = [f"w{int(rng.paretovariate(0.6))}" for _ in range(n)]
    return [" ".join(words[low : low + 9]) for low in range(0, n, 9)]


def ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("splitter", [ef.Splitter(), ef.Splitter(ngrams=(1, 2)), str.split])
def test_counts_are_those_of_a_counter(
    splitter: counting.SplitterLike, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lined, "PART_BYTES", 20_000)
    expected = Counter(chain.from_iterable(map(splitter, TEXTS)))
    found = ef.count_corpus(SENTENCES, splitter=splitter, processes=processes)
    assert list(found.items()) == ranked(expected)
    assert (found.n_texts, found.n_tokens) == (len(TEXTS), expected.total())
    assert (found.n_types, found.skipped) == (len(expected), 0)
    few = ef.count_corpus(SENTENCES, splitter=splitter, min_count=3, max_size=50)
    assert list(few.items()) == [item for item in ranked(expected) if item[1] > 2][:50]
    assert (few.n_types, few.n_tokens) == (found.n_types, found.n_tokens)
    texts = put(tmp_path / "t.txt", "\n".join(TEXTS).encode())
    assert dict(ef.count_corpus(texts, splitter=splitter, processes=processes)) == expected


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("most", [1, 50, 700])
def test_counts_are_exact_beyond_what_memory_holds(
    most: int, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lined, "PART_BYTES", 20_000)
    monkeypatch.setattr(counting, "RUN_TOKENS", 100)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    texts = zipf(8000)
    path = put(tmp_path / "t.txt", "\n".join(texts).encode())
    expected = Counter(" ".join(texts).split())
    found = ef.count_corpus(path, processes=processes, most_tokens=most)
    assert list(found.items()) == ranked(expected)
    assert (found.n_types, found.n_tokens) == (len(expected), expected.total())
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("separators", [WHITE_SPACE, ASCII_WHITE_SPACE, "[^a-z]+", "", None])
@pytest.mark.parametrize("delete", [None, ef.Splitter().delete, "\n|-"])
@pytest.mark.parametrize("lowercase", [True, False, "ascii"])
def test_all_at_once_is_one_after_the_other(
    lowercase: bool, delete: str | None, separators: str | None
) -> None:
    splitter = ef.Splitter(lowercase, delete, separators)
    # A sigma at the end of a word is another letter in lower case.
    texts = [
        "",
        "\u039f\u03a3",
        "\u03a3A b\u0085c",
        "New-York\u2028x",
        " \t",
        "end\r",
        "A.B'c\u00a0d",
    ]
    expected = [token for text in texts for token in splitter(text)]
    assert all_tokens(splitter, texts) == expected


def test_bad_records_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lined, "PART_BYTES", 9)
    path = put(tmp_path / "t.jsonl", b'{"text": "a b"}\n{"text": 1}\n[]\n{"text": "b"}\n')
    with pytest.raises(FormatError, match=r"t\.jsonl: line 2: 'text' must be a text"):
        ef.count_corpus(path, processes=2)
    told = r"2 bad records were left out, the first: .*line 2: 'text' must be"
    with pytest.warns(UserWarning, match=told):
        found = ef.count_corpus(path, on_bad_record="skip", processes=2)
    assert (dict(found), found.n_texts, found.skipped) == ({"b": 2, "a": 1}, 2, 2)


def test_a_corpus_without_texts(tmp_path: Path) -> None:
    empty = put(tmp_path / "empty.txt", b"")
    with pytest.raises(VocabularyError, match="must have texts, received none in"):
        ef.count_corpus(empty)
    some = put(tmp_path / "some.txt", b"\n\n")
    found = ef.count_corpus([empty, some])
    assert (len(found), found.n_texts, repr(found)) == (
        0,
        2,
        "CorpusCounts(0 of 0 tokens, which occur 0 times in 2 texts)",
    )


def killed_once(item: tuple[Path, int]) -> int:
    """A process that reaches item 3 first is killed there."""
    marker, number = item
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_a_killed_process_changes_nothing(tmp_path: Path) -> None:
    items = [(tmp_path / "killed", i) for i in range(8)]
    assert list(process_imap(killed_once, items, 2)) == [i * i for i in range(8)]
    assert (tmp_path / "killed").exists()


def test_processes_that_are_always_killed_end_the_work() -> None:
    def killed(_: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(Exception, match="terminated"):
        list(process_imap(killed, [1], 2))


def test_processes_must_be_some() -> None:
    with pytest.raises(ValueError, match="processes must be at least 1, received 0"):
        ef.count_corpus(SENTENCES, processes=0)


# ---- the command ---------------------------------------------------------------------------------


def made(out: Path, *arguments: str) -> ef.Vocabulary:
    assert main(["vocabulary", str(SENTENCES), "-o", str(out), *arguments]) == 0
    return ef.Vocabulary.from_file(out)


def test_the_command_is_the_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = ef.count_corpus(SENTENCES, min_count=2, max_size=100)
    expected = ef.Vocabulary.from_counts(counts)
    for name in ("v.txt", "v.json"):
        v = made(tmp_path / name, "--min-count", "2", "--max-size", "100")
        assert (v, v.counts) == (expected, dict(counts))
        assert f"{name}: 100 of 5,400 tokens, which are " in capsys.readouterr().out
    assert main(["vocabulary", str(SENTENCES), "-o", str(tmp_path / "v.txt")]) == 3
    assert "exists" in capsys.readouterr().err


def cut(text: str) -> list[str]:
    return text.split("o")


def test_tokenizers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, splitter in (
        (["--tokenizer", "whitespace"], ef.Splitter(lowercase=False, delete=None)),
        (["--tokenizer", "whitespace", "--lowercase"], ef.Splitter(delete=None)),
        (["--no-lowercase"], ef.Splitter(lowercase=False)),
        (["--separators", "[^a-z]+"], ef.Splitter(separators="[^a-z]+")),
    ):
        v = made(tmp_path / "v.json", *arguments, "--force")
        assert v.splitter == splitter
        assert v.counts == Counter(chain.from_iterable(map(splitter, TEXTS)))
    monkeypatch.syspath_prepend(Path(__file__).parent)
    v = made(tmp_path / "f.txt", "--tokenizer", "test_counting:cut", "--processes", "2")
    assert v.counts == Counter(chain.from_iterable(map(cut, TEXTS)))


def test_a_hugging_face_tokenizer(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"good": 0, "the": 1, "[UNK]": 2}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    v = made(tmp_path / "v.txt", "--tokenizer", str(tmp_path / "tokenizer.json"), "--unknown", "u")
    expected = Counter(chain.from_iterable(tokenizer.encode(text).tokens for text in TEXTS))
    assert v.counts == expected
    assert v.encode(["the good x"]).tolist() == [[v.index(t) for t in ("the", "good", "[UNK]")]]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--tokenizer", "no_such_module:f"], 5, "must be a function of a module: No module"),
        (["--tokenizer", "json:no"], 5, "must be a function of a module: module 'json' has no"),
        (["--tokenizer", "json:__name__"], 5, "must be a function, received 'json'"),
        (["--tokenizer", "nothing.json"], 3, "nothing.json"),
        (["--tokenizer", "json:loads", "--lowercase"], 2, "leave them out"),
        (["--separators", "("], 5, "separators must be a regular expression"),
        (["--column", "none"], 4, "one column named 'none'"),
    ],
)
def test_wrong_calls(
    arguments: list[str],
    status: int,
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "v.txt"
    assert main(["vocabulary", str(SENTENCES), "-o", str(out), *arguments]) == status
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_something_else_than_a_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = put(tmp_path / "other.json", json.dumps({"a": 1}).encode())
    arguments = ["vocabulary", str(SENTENCES), "-o", str(tmp_path / "v.txt"), "--tokenizer"]
    assert main([*arguments, str(other)]) == 5
    assert "must be keras, whitespace, a tokenizer.json" in capsys.readouterr().err


def test_counts_reach_the_coverage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "v.txt")
    sample = SENTENCES.with_name("glove.6B.50d.sample.txt")
    out = tmp_path / "table.safetensors"
    assert main(["align", str(sample), str(out), "--vocabulary", str(tmp_path / "v.txt")]) == 0
    assert "found     4848  89.8% 34543  97.8%" in capsys.readouterr().out
