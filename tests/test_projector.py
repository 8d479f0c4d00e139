"""What TensorBoard's Embedding Projector reads: by its own readers, and in a real browser."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from browser import browser, opened
from google.protobuf import text_format
from samples import ODD_TOKENS, bits, child, glove_bytes, put, spelled, table
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.plugins.projector.projector_plugin import _read_tensor_tsv_file

import embedfreeze as ef
from embedfreeze.cli import main
from embedfreeze.errors import EmbedFreezeError, FileError
from embedfreeze.plainlines import shown_token

GLOVE = Path(__file__).parents[1] / "data" / "glove.6B.50d.sample.txt"
NAMES = ["metadata.tsv", "projector_config.pbtxt", "vectors.tsv"]


def finite(rows: int, dim: int) -> np.ndarray:
    values = table(rows, dim)
    return np.where(np.isfinite(values), values, np.float32(1))


def config_of(folder: Path) -> ProjectorConfig:
    config = ProjectorConfig()
    text_format.Parse((folder / "projector_config.pbtxt").read_text("utf-8"), config)
    return config


def labels_of(folder: Path) -> list[str]:
    return (folder / "metadata.tsv").read_bytes().decode().removesuffix("\n").split("\n")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_tensorboard_reads_the_values_to_the_bit(dtype: str, tmp_path: Path) -> None:
    matrix = finite(40, 5) if dtype == "float32" else finite(40, 5).clip(-6e4, 6e4)
    words = [f"w{i}" for i in range(40)]
    e = ef.Embeddings(words, matrix, path='a/n\u00e9 "x"\\.txt').astype(dtype)
    done = ef.write_projector(e, tmp_path / "logs", top=30)
    assert (done.rows, done.dim, done.order, done.left_out) == (30, 5, "row", 0)
    (shown,) = config_of(tmp_path / "logs").embeddings
    assert shown.tensor_name == 'n\u00e9 "x"\\.txt'
    assert list(shown.tensor_shape) == [30, 5]
    vectors = _read_tensor_tsv_file(str(tmp_path / "logs" / shown.tensor_path))
    assert bits(vectors) == bits(e.astype("float32").matrix[:30])
    assert shown.metadata_path == "metadata.tsv"
    assert labels_of(tmp_path / "logs") == words[:30]
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == NAMES


def test_the_own_reader_reads_them_too(tmp_path: Path) -> None:
    e = ef.read(GLOVE, limit=200)
    ef.write_projector(e, tmp_path)
    again = ef.read(tmp_path / "vectors.tsv")
    assert again.digest == e.digest


def test_every_token_has_one_line_of_its_own(tmp_path: Path) -> None:
    tokens = [*ODD_TOKENS, "", " ", "a\nb", "''", '"', "''''"]
    spellings = [token.encode() for token in tokens] + [b"\xff\xfe"]
    e = ef.Embeddings(
        ef.Tokens.from_bytes(spellings, "strict"), np.ones((len(spellings), 3), np.float32)
    )
    ef.write_projector(e, tmp_path)
    labels = labels_of(tmp_path)
    assert len(labels) == len(set(labels)) == len(spellings)
    for label, token in zip(labels, tokens, strict=False):
        assert label == token or label == repr(token)
        assert label.strip() == label != ""
        assert "\t" not in label
    assert labels[0] == "king"
    assert labels[-1] == "'\\udcff\\udcfe'"


def test_of_a_store_with_counts_the_most_frequent(tmp_path: Path) -> None:
    counts = {"the": 5, "king": 9, "zzz": 7, "queen": 4, "a": 1}
    aligned = ef.load(GLOVE, ef.Vocabulary.from_counts(counts))
    aligned.save(tmp_path / "table.safetensors")
    store = ef.read(tmp_path / "table.safetensors")
    assert main(
        ["projector", str(tmp_path / "table.safetensors"), str(tmp_path / "logs"), "--top", "4"]
    ) == 0  # fmt: skip
    lines = [line.split("\t") for line in labels_of(tmp_path / "logs")]
    assert lines == [["Token", "Count"], ["king", "9"], ["zzz", "7"], ["the", "5"], ["queen", "4"]]
    vectors = _read_tensor_tsv_file(str(tmp_path / "logs" / "vectors.tsv"))
    assert bits(vectors) == bits(store[["king", "zzz", "the", "queen"]])
    again = ef.read(tmp_path / "logs" / "vectors.tsv")
    assert spelled(again) == [b"king", b"zzz", b"the", b"queen"]


def test_rows_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    matrix = np.array([[1, 2, 3], [np.nan, 0, 0], [3, np.inf, 1], [5, 6, 7]], np.float32)
    e = ef.Embeddings(["a", "b", "c", "d"], matrix)
    done = ef.write_projector(e, tmp_path / "logs")
    assert (done.rows, done.left_out) == (2, 2)
    assert "2 left out" in str(done)
    assert labels_of(tmp_path / "logs") == ["a", "d"]
    vectors = _read_tensor_tsv_file(str(tmp_path / "logs" / "vectors.tsv"))
    assert bits(vectors) == bits(matrix[[0, 3]])
    with pytest.raises(EmbedFreezeError, match="received 1 rows of which none is"):
        ef.write_projector(ef.Embeddings(["b"], matrix[1:2]), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_less_than_three_values_are_refused(tmp_path: Path) -> None:
    """TensorBoard shows two as no points at all, and of one value it finds no tensor."""
    e = ef.Embeddings(["a"], np.ones((1, 2), np.float32))
    with pytest.raises(EmbedFreezeError, match="at least 3 values.*received 2"):
        ef.write_projector(e, tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_replaced_unasked(name: str, tmp_path: Path) -> None:
    e = ef.read(GLOVE, limit=5)
    (tmp_path / "events.out.tfevents.1").write_bytes(b"logs")
    mine = put(tmp_path / name, b"mine")
    with pytest.raises(FileError, match=r"exists: pass overwrite=True \(--force\)"):
        ef.write_projector(e, tmp_path)
    assert mine.read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 2
    ef.write_projector(e, tmp_path, overwrite=True)
    assert labels_of(tmp_path) == list(e.tokens)
    assert (tmp_path / "events.out.tfevents.1").read_bytes() == b"logs"


def test_an_error_leaves_no_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embedfreeze.reports.projector.write_vectors", fail)
    with pytest.raises(FileError, match="No space left"):
        ef.write_projector(ef.read(GLOVE, limit=5), tmp_path / "new" / "logs")
    assert list(tmp_path.rglob("logs")) == []


@pytest.mark.parametrize("folder", ["file", "file/logs", "https://host/logs"])
def test_folders_that_cannot_be(folder: str, tmp_path: Path) -> None:
    put(tmp_path / "file", b"")
    place = folder if "://" in folder else str(tmp_path / folder)
    with pytest.raises(FileError):
        ef.write_projector(ef.read(GLOVE, limit=5), place)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [b"w%d" % i for i in range(9000)]
    source = put(tmp_path / "f.txt", glove_bytes(words, finite(9000, 4)) + b"bad line\n")
    logs = tmp_path / "logs"
    call = ["projector", str(source), str(logs), "--top", "2"]
    call += ["--limit", "9000"]  # else all is read, bad lines too
    assert main([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(logs),
        "files": ["projector_config.pbtxt", "vectors.tsv", "metadata.tsv"],
        "rows": 2,
        "dim": 4,
        "order": "row",
        "left_out": 0,
    }
    assert main(call) == 3
    assert "exists" in capsys.readouterr().err
    assert main([*call, "--force"]) == 0
    assert f"tensorboard --logdir {logs}" in capsys.readouterr().out
    assert main(["projector", str(source), str(tmp_path / "all")]) == 4
    assert not (tmp_path / "all").exists()


def test_duplicates_are_left_out_before_the_first_rows_are_chosen(tmp_path: Path) -> None:
    source = put(tmp_path / "f.txt", b"a 1 2 3\na 4 5 6\nb 7 8 9\nc 1 1 1\na 2 2 2\n")
    for rule, row in (("first", "1\t2\t3"), ("last", "2\t2\t2")):
        logs = tmp_path / rule
        assert (
            main(["projector", str(source), str(logs), "--top", "2", "--on-duplicate", rule]) == 0
        )
        labels = (logs / "metadata.tsv").read_text().split()
        vectors = (logs / "vectors.tsv").read_text().splitlines()
        assert row in vectors or "a" not in labels
        assert len(labels) == len(vectors) == 2
        assert vectors == {"first": [row, "7\t8\t9"], "last": ["7\t8\t9", "1\t1\t1"]}[rule]


def test_the_table_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "logs"
    ef.write_projector(ef.read(GLOVE, limit=5), logs)
    before = (logs / "vectors.tsv").read_bytes()
    call = ["projector", str(logs / "vectors.tsv"), str(logs), "--top", "2", "--force"]
    assert main(call) == 3
    assert "vectors.tsv: is one of the files that are read" in capsys.readouterr().err
    assert (logs / "vectors.tsv").read_bytes() == before


def test_neither_tensorflow_nor_tensorboard_is_needed(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['tensorboard'] = None\n"
        "import embedfreeze as ef\n"
        "print(ef.write_projector(ef.read(sys.argv[1], limit=5), sys.argv[2]).rows)"
    )
    assert child(code, GLOVE, tmp_path / "logs") == "5\n"


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """The address of a TensorBoard over a folder."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--load_fast=false"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        found = (re.search(r"http://127\.0\.0\.1:\d+/", line) for line in process.stderr)
        yield next(filter(None, found))[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.slow
def test_tensorboard_shows_the_points_and_their_neighbours(tmp_path: Path) -> None:
    sample = ef.read(GLOVE, limit=300)
    odd = ["", " ", "a\tb", "a\nb", "caf\u00e9", "caf\u00e9s", "\u65e5\u672c", "\u65e5\u66dc"]
    e = ef.Embeddings([*odd, *sample.tokens], np.vstack([-sample.matrix[:8], sample.matrix]))
    ef.write_projector(e, tmp_path)
    expected = [token for token, _ in ef.neighbours(e, "year", 10)]
    with (
        tensorboard(tmp_path) as address,
        browser() as chromium,
        opened(chromium, f"{address}#projector") as shown,
    ):
        inside = shown.page.frame_locator("iframe").frame_locator("iframe")
        inside.get_by_text("Points: 308").wait_for(timeout=60_000)
        inside.get_by_text("Dimension: 50").wait_for()
        panel = inside.locator("vz-projector-inspector-panel")
        search = panel.locator("input").first
        matches = panel.locator(".matches-list .label")
        for start, first in [("'a", 2), ("caf", 4), ("\u65e5", 6)]:  # it lists no single match
            search.fill(start)
            matches.get_by_text(shown_token(odd[first]), exact=True).wait_for()
            assert matches.all_inner_texts() == list(map(shown_token, odd[first : first + 2]))
        inside.get_by_text("Spherize data").click()  # off: else the mean is taken away
        search.fill("year")
        matches.get_by_text("year", exact=True).click()
        near = panel.locator(".nn-list .label")
        near.get_by_text(expected[0], exact=True).wait_for()
        assert near.all_inner_texts()[:10] == expected
        assert shown.left == []
