"""Counts of a corpus, in one process and in several, against Python's Counter."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import put

import embedfreeze as ef
from embedfreeze.batch import counting, lined, tally
from embedfreeze.batch.corpus import Corpus
from embedfreeze.batch.processes import process_imap
from embedfreeze.cli import main
from embedfreeze.errors import FormatError, VocabularyError
from embedfreeze.splitters import ASCII_WHITE_SPACE, WHITE_SPACE, all_tokens, byte_table, token_rows

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


def test_a_cut_emoji_does_not_lose_a_vocabulary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "t.jsonl", b'{"text": "good \\ud83d case"}\n')
    out = tmp_path / "v.txt"
    assert main(["vocabulary", str(path), "-o", str(out)]) == 0
    printed = capsys.readouterr()
    assert "1 token with half of a character left out, the first: '\\ud83d'" in printed.err
    assert "2 of 3 tokens" in printed.out
    assert list(ef.Vocabulary.from_file(out)) == ["", "[UNK]", "case", "good"]


@pytest.mark.parametrize("kind", ["text", "jsonl", "russian"])
def test_threads_count_what_the_kernel_cuts(kind: str, tmp_path: Path) -> None:
    """The rest is counted in processes; the counts are the same."""
    texts = ["\u0434\u043e\u043c " * 9 if kind == "russian" else "good case"] * 300
    lines = [json.dumps({"text": text}) for text in texts] if kind == "jsonl" else texts
    path = put(tmp_path / f"t.{kind}", "\n".join(lines).encode())
    corpus = Corpus.of(path)
    assert counting._kernel_counts(corpus, corpus.parts(), ef.Splitter()) == (kind == "text")
    assert ef.count_corpus(path, processes=2) == Counter(" ".join(texts).split())


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("most", [1, 50, 700])
def test_counts_are_exact_beyond_what_memory_holds(
    most: int, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lined, "PART_BYTES", 20_000)
    monkeypatch.setattr(counting, "RUN_TOKENS", 100)
    monkeypatch.setattr(counting, "MOST_FILES", 2)
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


ODD_CHARACTERS = (
    "\x00\x1c\x1f \t\n\r\u0085\u00a0\u2028\u03a3\u0130\u00df\ud800\U0001f600'.-AZaz\x7f"
)
odd_texts = st.lists(
    st.one_of(st.text(max_size=20), st.text(st.sampled_from(ODD_CHARACTERS), max_size=12)),
    max_size=8,
)
kernel_splitters = st.builds(
    ef.Splitter,
    st.sampled_from([True, False, "ascii"]),
    st.sampled_from([None, ef.Splitter().delete]),
    st.sampled_from([WHITE_SPACE, ASCII_WHITE_SPACE]),
)


@given(st.one_of(st.just(ef.Splitter()), kernel_splitters), st.lists(odd_texts, max_size=3))
def test_the_kernel_counts_what_the_splitter_gives(
    splitter: ef.Splitter, batches: list[list[str]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "PIECE_TOKENS", 2)
        counter, found = tally.TextCounter(splitter), tally.Tally()
    expected: Counter[str] = Counter()
    for texts in batches:
        counter.count(texts, found)
        expected.update(token for text in texts for token in splitter(text))
    assert byte_table(splitter) is not None
    assert len(found) == len(expected)
    assert dict(tally.items_of(*found.taken())) == expected
    assert len(found) == 0


def test_every_character_is_counted_as_the_splitter_has_it() -> None:
    texts = [f"A{chr(i)}b {chr(i)}" for i in range(0x3100)]
    for splitter in (ef.Splitter(), ef.Splitter("ascii", None, ASCII_WHITE_SPACE)):
        found = tally.Tally()
        tally.TextCounter(splitter).count(texts, found)
        expected = Counter(token for text in texts for token in splitter(text))
        assert dict(tally.items_of(*found.taken())) == expected


words = st.text(st.sampled_from("ab\x00\u00e9\ud800\U0001f600"), max_size=4)
long_words = st.builds(lambda n, end: "x" * n + end, st.integers(0, 300), words)


@given(st.dictionaries(st.one_of(words, long_words), st.integers(1, 3), max_size=40))
def test_the_order_is_that_of_python(counts: dict[str, int]) -> None:
    found = tally.Tally()
    found.add_strings([token for token, count in counts.items() for _ in range(count)])
    tokens, numbers = found.taken()
    order = tally.in_order(tokens, numbers)
    assert list(tally.items_of(tokens.take(order), numbers[order])) == ranked(Counter(counts))


@given(st.one_of(st.builds(ef.Splitter, ngrams=st.just((1, 2))), kernel_splitters), odd_texts)
def test_rows_of_tokens_are_those_of_each_text(splitter: ef.Splitter, texts: list[str]) -> None:
    assert token_rows(splitter, texts) == [splitter(text) for text in texts]


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
    assert token_rows(splitter, texts) == [splitter(text) for text in texts]
    assert token_rows(splitter, [*texts, "a\nb"]) == [*map(splitter, texts), splitter("a\nb")]


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


def test_no_process_is_started_without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def items() -> Iterator[int]:
        raise OSError("no items")
        yield 1

    started: list[int] = []
    monkeypatch.setattr("loky.get_reusable_executor", lambda *_, **__: started.append(1))
    with pytest.raises(OSError, match="no items"):
        list(process_imap(killed_once, items(), 2))  # type: ignore[arg-type]
    assert list(process_imap(killed_once, [], 2)) == []
    assert not started


def test_an_error_does_not_wait_for_what_other_threads_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = put(tmp_path / "bad.txt", b"\xff")
    long = put(tmp_path / "long.txt", b"a b\n" * 20_000)
    monkeypatch.setattr(lined, "BLOCK_BYTES", 4)
    read: list[bytes] = []
    decoded = lined.LinedReader._decoded

    def slow(reader: lined.LinedReader, block: bytes, first: int) -> lined.Lines:
        if block != b"\xff":
            read.append(block)
            time.sleep(0.001)
        return decoded(reader, block, first)

    monkeypatch.setattr(lined.LinedReader, "_decoded", slow)
    with pytest.raises(FormatError, match="must be UTF-8"):
        ef.count_corpus([bad, long], processes=2)
    assert len(read) < 5000


STAYS = """
import os, pathlib, time
def stay(text):
    pathlib.Path(str(os.getpid()) + ".at-work").touch()
    time.sleep(60)
"""


def is_running(process: int) -> bool:
    """Does a process run? One that ended may wait for its parent to notice."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text("utf-8")
    except FileNotFoundError:
        return False


def started_by(process: int) -> list[int]:
    """The processes of loky that another one started."""
    children = Path(f"/proc/{process}/task/{process}/children")
    started = [int(child) for child in children.read_text("ascii").split()]
    commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in started]
    return [child for child, c in zip(started, commands, strict=True) if b"LokyProcess" in c]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("at_work", [False, True])
def test_an_interrupt_ends_all_processes_without_a_word(at_work: bool, tmp_path: Path) -> None:
    (tmp_path / "stays.py").write_text(STAYS, "utf-8")
    put(tmp_path / "t.txt", b"a\nb\n" * 10)
    code = "import sys; from embedfreeze.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["t.txt", "t.txt", "-o", "v.txt", "--tokenizer", "stays:stay", "--processes", "2"]
    with subprocess.Popen(
        [sys.executable, "-c", code, "vocabulary", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(ef.__file__).parents[1])},
    ) as command:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("*.at-work")) if at_work else started_by(command.pid)) < 2:
            assert command.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        workers = started_by(command.pid)
        os.killpg(command.pid, signal.SIGINT)
        interrupted = time.monotonic()
        told = command.communicate(timeout=30)
    assert (command.returncode, *told) == (130, b"", b"embedfreeze: interrupted\n")
    assert time.monotonic() - interrupted < 5
    assert len(workers) == 2
    assert not any(map(is_running, workers))
    assert not (tmp_path / "v.txt").exists()


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
