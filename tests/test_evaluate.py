"""Word similarity and analogies: gensim's own numbers on vectors that gensim read itself."""

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.test.utils import datapath
from samples import child, put

import embedfreeze as ef
from embedfreeze.cli import main
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError

GLOVE = Path(__file__).parents[1] / "data" / "glove.6B.50d.sample.txt"
WORDSIM, SIMLEX = datapath("wordsim353.tsv"), datapath("simlex999.txt")
QUESTIONS = datapath("questions-words.txt")
CAPITALS = b": capitals\nking queen man woman\nparis france rome italy\n"


def of_gensim(vectors: Any, path: str, **options: Any) -> tuple[float, ...]:
    pearson, spearman, oov = vectors.evaluate_word_pairs(path, **options)
    return (*map(float, (*pearson, *spearman)), float(oov))


def numbers(score: Any) -> tuple[float, ...]:
    share = float(score.total - score.used) / score.total * 100
    return score.pearson, score.pearson_p, score.spearman, score.spearman_p, share


@pytest.fixture(scope="module")
def oracle() -> Any:
    return KeyedVectors.load_word2vec_format(GLOVE, no_header=True)


@pytest.mark.parametrize("rows", [300_000, 3_000])
def test_the_numbers_are_those_of_gensim(oracle: Any, rows: int) -> None:
    found = ef.evaluate(ef.read(GLOVE), restrict_vocab=rows)
    for score, path in zip(found.pairs, (WORDSIM, SIMLEX), strict=True):
        assert numbers(score) == of_gensim(oracle, path, restrict_vocab=rows)
    accuracy, sections = oracle.evaluate_word_analogies(QUESTIONS, restrict_vocab=rows)
    (score,) = found.analogies
    assert score.accuracy == accuracy
    listed = [(s.name, s.correct, s.used - s.correct) for s in score.sections]
    expected = [(s["section"], len(s["correct"]), len(s["incorrect"])) for s in sections]
    assert listed == expected[:-1]
    assert ("Total accuracy", score.correct, score.used - score.correct) == expected[-1]
    assert (score.total, found.searched) == (19_544, min(rows, 7_074))


def test_case_and_norms_are_those_of_gensim(oracle: Any) -> None:
    found = ef.evaluate(ef.read(GLOVE), case_sensitive=True)
    for score, path in zip(found.pairs, (WORDSIM, SIMLEX), strict=True):
        assert numbers(score) == of_gensim(oracle, path, case_insensitive=False)
    accuracy, _ = oracle.evaluate_word_analogies(QUESTIONS, case_insensitive=False)
    assert found.analogies[0].accuracy == accuracy
    assert found.analogies[0].used < ef.evaluate(ef.read(GLOVE)).analogies[0].used


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_any_storage_dtype(dtype: str, tmp_path: Path) -> None:
    ef.convert(GLOVE, tmp_path / "t.safetensors", dtype=dtype)
    e = ef.read(tmp_path / "t.safetensors")
    assert e.dtype == dtype
    oracle = KeyedVectors(e.dim)
    oracle.add_vectors(list(e.tokens), e.astype("float32").matrix)
    found = ef.evaluate(e, pairs=[WORDSIM], analogies=[])
    assert numbers(found.pairs[0]) == of_gensim(oracle, WORDSIM)


def test_the_memory_is_shared_and_stays_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    e = ef.read(GLOVE)
    before, seen = e.matrix.tobytes(), []
    evaluator = KeyedVectors.evaluate_word_pairs

    def spied(self: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(np.shares_memory(self.vectors, e.matrix) and not self.vectors.flags.writeable)
        return evaluator(self, *arguments, **options)

    monkeypatch.setattr(KeyedVectors, "evaluate_word_pairs", spied)
    ef.evaluate(e, analogies=[])
    assert seen == [True, True]
    assert e.matrix.tobytes() == before


def test_rows_that_were_filled_in_take_no_part(tmp_path: Path, oracle: Any) -> None:
    lines = Path(WORDSIM).read_text("utf-8").splitlines()
    pairs = [line.split("\t")[:2] for line in lines if not line.startswith("#")]
    words = sorted({word.lower() for pair in pairs for word in pair})
    aligned = ef.load(GLOVE, ef.Vocabulary(words), oov="normal")
    aligned.save(tmp_path / "t.safetensors")
    (score,) = ef.evaluate(ef.read(tmp_path / "t.safetensors"), pairs=[WORDSIM], analogies=[]).pairs
    assert numbers(score) == of_gensim(oracle, WORDSIM)


def test_own_files(tmp_path: Path, oracle: Any) -> None:
    lines = b"# a comment\t x\t1\nking\tqueen\t9\r\nman\twoman\t7.5\n\nbad\n"
    lines += b"king\tcar\tmuch\nking\tcar\t1\n"
    pairs = put(tmp_path / "p.tsv", lines + b"zzzzz\tking\t3\n")
    packed = put(tmp_path / "p.tsv.gz", gzip.compress(pairs.read_bytes()))
    questions = put(tmp_path / "q.txt", CAPITALS + b"three words only\n\n: none\n")
    found = ef.evaluate(ef.read(GLOVE), pairs=[pairs, packed], analogies=[questions])
    assert [(p.total, p.used, p.bad_lines) for p in found.pairs] == [(4, 3, 2)] * 2
    for score in found.pairs:
        assert numbers(score) == of_gensim(oracle, str(pairs))
    (score,) = found.analogies
    accuracy, sections = oracle.evaluate_word_analogies(str(questions))
    assert score.accuracy == accuracy
    assert [(s.name, s.total, s.used, s.correct) for s in score.sections] == [
        ("capitals", 2, 2, len(sections[0]["correct"])),
        ("none", 0, 0, 0),
    ]
    assert (score.bad_lines, score.sections[1].accuracy) == (1, None)


@pytest.mark.parametrize(
    ("text", "used"), [(b"zzzz\tyyyy\t1\n", 0), (b"king\tqueen\t1\n", 1), (b"a\tof\t1\n" * 3, 3)]
)
def test_too_little_to_correlate(text: bytes, used: int, tmp_path: Path) -> None:
    pairs = put(tmp_path / "p.tsv", text)
    questions = put(tmp_path / "q.txt", b": x\nzzzz yyyy xxxx wwww\n")
    found = ef.evaluate(ef.read(GLOVE), pairs=[pairs], analogies=[questions])
    score = found.pairs[0]
    assert (score.used, score.pearson, score.spearman) == (used, None, None)
    assert (found.analogies[0].used, found.analogies[0].accuracy) == (0, None)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["pairs"][0]["spearman"] is None
    assert told["analogies"][0]["accuracy"] is None
    assert "q.txt: none used, as the table lacks their words" in str(found)
    assert ("p.tsv: none used" in str(found)) == (used == 0)


def test_rows_of_zeros_and_what_is_not_finite_warn_of_nothing(tmp_path: Path) -> None:
    e = ef.read(GLOVE, limit=3000)
    matrix = e.matrix.copy()
    matrix[e.index("king")] = 0
    matrix[e.index("man")] = np.nan
    changed = ef.Embeddings(e.tokens, matrix)
    questions = put(tmp_path / "q.txt", CAPITALS)
    found = ef.evaluate(changed, pairs=[WORDSIM], analogies=[questions])
    assert found.analogies[0].used == 1 + ("rome" in e and "italy" in e)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        (b"king\tqueen\n", "two words and a number", None),
        (b"# only\n", "two words and a number", None),
        (b"k\xff\tq\t1\n", r"UTF-8, received b'\\xff'", None),
    ],
)
def test_files_of_pairs_that_are_none(
    text: bytes, said: str, line: int | None, tmp_path: Path
) -> None:
    path = put(tmp_path / "p.tsv", text)
    with pytest.raises(FormatError, match=said) as caught:
        ef.evaluate(ef.read(GLOVE, limit=9), pairs=[path], analogies=[])
    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [(b"a b c d\n", "line 1: questions must stand below"), (b": x\na b c\n", "must be four words")],
)
def test_files_of_questions_that_are_none(text: bytes, said: str, tmp_path: Path) -> None:
    path = put(tmp_path / "q.txt", text)
    with pytest.raises(FormatError, match=said):
        ef.evaluate(ef.read(GLOVE, limit=9), pairs=[], analogies=[path])


def test_wrong_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    e = ef.read(GLOVE, limit=9)
    with pytest.raises(FileError, match="No such file"):
        ef.evaluate(e, pairs=[tmp_path / "none"])
    with pytest.raises(ValueError, match="restrict_vocab must be at least 1"):
        ef.evaluate(e, restrict_vocab=0)
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(EmbedFreezeError, match=r'pip install "embedfreeze\[gensim\]"'):
        ef.evaluate(e)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_the_command(tmp_path: Path, oracle: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", GLOVE, "--skip-analogies") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        f"7,074 of 7,074 rows of {GLOVE} took part",
        "",
        "similarity      pairs  used  share  Spearman  Pearson",
        "wordsim353.tsv    353   202  57.2%    0.5540   0.5767",
        "simlex999.txt     999   447  44.7%    0.2838   0.3059",
    ]
    questions = put(tmp_path / "q.txt", CAPITALS)
    call = ["evaluate", GLOVE, "--pairs", WORDSIM, "--analogies", questions]
    assert run(*call, "--restrict-vocab", 5000, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    found = ef.evaluate(ef.read(GLOVE), pairs=[WORDSIM], analogies=[questions], restrict_vocab=5000)
    assert told == json.loads(json.dumps(found.to_dict()))
    assert told["analogies"][0]["sections"][0]["used"] == 2
    assert told["pairs"][0]["spearman"] == of_gensim(oracle, WORDSIM, restrict_vocab=5000)[2]
    assert run(*call, "--skip-analogies") == 2
    assert "--skip-analogies" in capsys.readouterr().err
    assert run("evaluate", GLOVE, "--pairs", tmp_path / "none") == 3


def test_a_bar_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    e = ef.read(GLOVE)
    shown, piped = Terminal(), io.StringIO()
    monkeypatch.setattr("embedfreeze.batch.progress.PATIENCE", 0)
    monkeypatch.setattr(sys, "stderr", shown)
    ef.evaluate(e, pairs=[])
    assert "analogies:" in shown.getvalue()
    assert "/3051 " in shown.getvalue()
    monkeypatch.setattr(sys, "stderr", piped)
    ef.evaluate(e, pairs=[])
    assert piped.getvalue() == ""


def test_tensorflow_is_not_needed() -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "import embedfreeze as ef\n"
        "e = ef.read(sys.argv[1], limit=3000)\n"
        "print(ef.evaluate(e).analogies[0].used > 0)"
    )
    assert child(code, GLOVE) == "True\n"
