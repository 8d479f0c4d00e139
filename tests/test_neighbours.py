"""The nearest tokens: against float64 sums without rounding, and against gensim."""

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from gensim.models import KeyedVectors
from samples import child, glove_bytes, put

import embedfreeze as ef
from embedfreeze.cli import main
from embedfreeze.errors import EmbedFreezeError, UnknownTokenError

GLOVE = Path(__file__).parents[1] / "data" / "glove.6B.50d.sample.txt"
WORDS = ["king", "the", "2003", "queen", "paris"]


def cosine(a: list[float], b: list[float]) -> float:
    """Rounded once, at the end, to float32."""
    product = math.fsum(x * y for x, y in zip(a, b, strict=True))
    lengths = [math.sqrt(math.fsum(x * x for x in each)) for each in (a, b)]
    return float(np.float32(product / (lengths[0] * lengths[1])))


def exact(e: ef.Embeddings, token: str, n: int) -> list[tuple[str, float]]:
    rows = e.astype("float32").matrix.astype(np.float64).tolist()
    own = e.index(token)
    found = [(-cosine(row, rows[own]), i) for i, row in enumerate(rows) if i != own and any(row)]
    return [(e.tokens[i], -value) for value, i in sorted(found)[:n]]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("block", [800, 1 << 20])
def test_they_are_exact(dtype: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedfreeze.cosines.BLOCK_BYTES", block)
    e = ef.read(GLOVE, dtype=dtype, limit=1500)
    for n in (1, 7):
        found = ef.neighbours(e, WORDS[:3], n)
        assert found == {word: exact(e, word, n) for word in WORDS[:3]}


def test_gensim_finds_the_same() -> None:
    e = ef.read(GLOVE)
    oracle = KeyedVectors.load_word2vec_format(GLOVE, no_header=True)
    found = ef.neighbours(e, WORDS, 25)
    for word in WORDS:
        near = oracle.most_similar(word, topn=25)
        assert [token for token, _ in found[word]] == [token for token, _ in near]
        difference = [abs(a - b) for (_, a), (_, b) in zip(found[word], near, strict=True)]
        assert max(difference) < 5e-7  # a few of float32's last digits


@pytest.mark.parametrize("threads", [1, 2])
def test_equal_ones_come_in_the_order_of_rows(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedfreeze.cosines.BLOCK_BYTES", 8 * 3 * 4)  # four rows
    row = np.array([[0.1, -0.2, 0.3]], np.float32)
    e = ef.Embeddings([f"w{i}" for i in range(23)], np.repeat(row, 23, axis=0))
    near = ef.neighbours(e, "w9", 12, threads=threads)
    assert near == [(f"w{i}", 1.0) for i in (*range(9), 10, 11, 12)]


def test_rows_without_direction_are_none() -> None:
    rows = [[1, 0], [0, 0], [np.nan, 1], [np.inf, 1], [-1, 0], [1e-45, 0], [3e38, 3e38]]
    e = ef.Embeddings(list("abcdefg"), np.array(rows, np.float32))
    half = float(np.float32(math.sqrt(0.5)))
    assert ef.neighbours(e, "a", 99) == [("f", 1.0), ("g", half), ("e", -1.0)]
    for token in "bcd":
        with pytest.raises(EmbedFreezeError, match=f"received that of '{token}'"):
            ef.neighbours(e, token)


def test_a_token_alone_has_none() -> None:
    e = ef.Embeddings(["a"], np.ones((1, 2), np.float32))
    assert ef.neighbours(e, "a") == []
    assert ef.neighbours(e, []) == {}
    assert ef.neighbours(e, ["a", "a"]) == {"a": []}
    with pytest.raises(ValueError, match="n must be at least 1"):
        ef.neighbours(e, "a", 0)


def test_tokens_that_are_not_utf8_are_shown() -> None:
    tokens = ef.Tokens.from_bytes([b"a", b"\xff"], "strict")
    e = ef.Embeddings(tokens, np.ones((2, 2), np.float32))
    assert ef.neighbours(e, "a") == [("\udcff", 1.0)]


def test_an_unknown_token_is_told_with_what_is_near() -> None:
    e = ef.read(GLOVE)
    with pytest.raises(UnknownTokenError, match=r"'kng' \(near it: 'king', .*\), 'zzzzzz': check"):
        ef.neighbours(e, ["king", "kng", "zzzzzz"])


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("neighbours", GLOVE, "king", "queen", "-n", 2) == 0
    assert capsys.readouterr() == (
        "king\n  prince  0.8236\n  queen   0.7839\nqueen\n  lady       0.8051\n"
        "  elizabeth  0.7873\n",
        "",
    )
    assert run("neighbours", GLOVE, "king", "-n", 3, "--json", "--dtype", "int8") == 0
    listed = json.loads(capsys.readouterr().out)
    near = ef.neighbours(ef.read(GLOVE, dtype="int8"), "king", 3)
    assert listed == {"king": [{"token": token, "cosine": value} for token, value in near]}
    assert run("neighbours", GLOVE, "kng") == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("embedfreeze: error: each token must be in the table, received 'kng'")
    values = np.ones((3, 2), np.float32)
    text = glove_bytes([b"a", b"''", "b\u00a0".encode()], values)
    odd = put(tmp_path / "odd.vec", b"3 2\n" + text)
    assert run("neighbours", odd, "a") == 0
    assert capsys.readouterr().out == "a\n  \"''\"     1.0000\n  'b\\xa0'  1.0000\n"


ONE_FILE = ["t.bin", "t.h5", "t.safetensors", "t.parquet", "t.csv.gz", "t.fifu"]


@pytest.mark.parametrize("name", ONE_FILE)
def test_any_readable_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    e = ef.read(GLOVE, limit=200)
    ef.write(e, tmp_path / name)
    assert run("neighbours", tmp_path / name, "year", "--json", "-n", 3) == 0
    listed = json.loads(capsys.readouterr().out)["year"]
    assert [(near["token"], near["cosine"]) for near in listed] == ef.neighbours(e, "year", 3)
    assert run("evaluate", tmp_path / name, "--skip-analogies", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pairs"] == json.loads(json.dumps(ef.evaluate(e, analogies=[]).to_dict()))["pairs"]
    assert run("projector", tmp_path / name, tmp_path / "logs") == 0
    assert ef.read(tmp_path / "logs" / "vectors.tsv").digest == e.digest


MEMORY = """
import sys, threading, time
import embedfreeze as ef
def private():
    fields = dict(line.split(":") for line in open("/proc/self/status"))
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))
e = ef.read(sys.argv[1])
ef.neighbours(e, "w7", 2)
before, most, done = private(), 0, False
def watch():
    global most
    while not done:
        most = max(most, private())
        time.sleep(0.001)
watcher = threading.Thread(target=watch)
watcher.start()
near = ef.neighbours(e, [f"w{i}" for i in range(int(sys.argv[2]))], 100)
done = True
watcher.join()
print(most - before, len(near))
"""


@pytest.mark.parametrize("asked", [1, 100])
def test_a_mapped_table_is_not_copied(asked: int, tmp_path: Path) -> None:
    """240 MB of rows; the measure is what a child takes beyond what its first call took."""
    rows, dim = 200_000, 300
    values: npt.NDArray[np.float32] = np.random.default_rng(0).random((rows, dim), np.float32)
    ef.write(ef.Embeddings([f"w{i}" for i in range(rows)], values), tmp_path / "t.safetensors")
    kilobytes, near = map(int, child(MEMORY, tmp_path / "t.safetensors", asked).split())
    assert near == asked
    assert kilobytes < 32_000
