"""What callers give: a table in each of its shapes, and what is taken for one by mistake."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError

SAMPLE = "data/glove.6B.50d.sample.txt"
COUNTS = {"king": 5, "queen": 9, "river": 2, "zzzz": 1}


@pytest.fixture(scope="module")
def aligned() -> ef.AlignedEmbeddings:
    return ef.load(SAMPLE, ef.Vocabulary.from_counts(COUNTS))


@pytest.fixture(scope="module")
def shapes(
    aligned: ef.AlignedEmbeddings, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The same table, however it may be given."""
    path = tmp_path_factory.mktemp("shapes") / "t.safetensors"
    aligned.save(path)
    return {"aligned": aligned, "path": path, "str": str(path), "store": ef.read(path)}


def written(table: Any, folder: Path) -> list[bytes]:
    ef.write(table, folder / "t.npz", overwrite=True)
    ef.write(table, folder / "t.safetensors", overwrite=True)
    found = ef.read(folder / "t.safetensors")
    assert found.vocabulary is not None
    assert found.vocabulary.counts == COUNTS
    assert found.coverage is not None
    return [(folder / "t.npz").read_bytes(), found.matrix.tobytes()]


def projected(table: Any, folder: Path) -> list[bytes]:
    assert ef.write_projector(table, folder / "logs", overwrite=True).order == "count"
    return [(folder / "logs" / name).read_bytes() for name in ("vectors.tsv", "metadata.tsv")]


def scored(table: Any, folder: Path) -> list[Any]:
    (folder / "pairs.tsv").write_text("king\tqueen\t8\nking\triver\t1\nqueen\triver\t2\n")
    found = ef.evaluate(table, pairs=[folder / "pairs.tsv"], analogies=[])
    return [found.rows, found.searched, found.pairs]


VERBS: dict[str, Callable[[Any, Path], Any]] = {
    "neighbours": lambda table, _: ef.neighbours(table, ["king", "river"], 2),
    "evaluate": scored,
    "write_projector": projected,
    "write": written,
    "report": lambda table, _: ef.report(table).to_dict()["neighbours"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_each_shape_of_a_table_is_taken(verb: str, shapes: dict[str, Any], tmp_path: Path) -> None:
    expected = VERBS[verb](shapes["store"], tmp_path)
    assert expected
    for name, table in shapes.items():
        assert VERBS[verb](table, tmp_path) == expected, name


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("given", [None, 5, {"king": [1.0]}, np.ones((2, 2))], ids=str)
def test_what_is_no_table(verb: str, given: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"a path.*, received {type(given).__name__}$"):
        VERBS[verb](given, tmp_path)


@pytest.mark.parametrize("verb", [*VERBS, "align", "load", "read", "convert", "inspect"])
def test_vectors_of_gensim_are_told_the_way(verb: str, tmp_path: Path) -> None:
    vectors = ef.Embeddings(["king"], np.ones((1, 3), np.float32)).to_gensim()
    v = ef.Vocabulary(["king"])
    verbs: dict[str, Callable[[Any, Path], Any]] = {
        **VERBS,
        "align": lambda table, _: ef.align(table, v),
        "load": lambda table, _: ef.load(table, v),
        "read": lambda table, _: ef.read(table),
        "convert": lambda table, folder: ef.convert(table, folder / "t.npz"),
        "inspect": lambda table, _: ef.inspect(table),
    }
    with pytest.raises(TypeError, match="received KeyedVectors: .*Embeddings.from_gensim$"):
        verbs[verb](vectors, tmp_path)


E = ef.Embeddings(["king", "queen"], np.eye(2, 4, dtype=np.float32))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ef.Vocabulary.from_texts([["a", "b"]]), r"texts must be str, received \['a', 'b'"),
        (lambda: ef.Vocabulary.from_texts([float("nan")]), "texts must be str, received nan"),
        (lambda: ef.neighbours(E, E["king"]), "tokens must be a str, or several, received float32"),
        (lambda: ef.neighbours(E, 5), "tokens must be a str, or several, received int"),  # type: ignore[call-overload]
        (lambda: E[5], "a key must be a token or a list of tokens, received int: rows by"),  # type: ignore[call-overload]
        (lambda: E[0:2], "a key must be a token or a list of tokens, received slice"),  # type: ignore[call-overload]
        (lambda: E[["king", 1]], "tokens must be str, received 1 of int as item 1"),  # type: ignore[list-item]
        (lambda: E.rows([None]), "tokens must be str, received None of NoneType as item 0"),  # type: ignore[list-item]
        (lambda: ef.Embeddings(E.matrix, ["king", "queen"]), "a matrix .*, received list: give"),  # type: ignore[arg-type]
        (lambda: ef.Embeddings(["king"], [[1.0]]), "a matrix must be a NumPy array .* list"),  # type: ignore[arg-type]
        (lambda: ef.read(SAMPLE, limit="3"), "limit must be a whole number, received '3' of str"),
        (lambda: ef.read(SAMPLE, limit=2.5), "limit must be a whole number, received 2.5"),
        (lambda: ef.read(SAMPLE, threads="2"), "threads must be a whole number, received '2'"),
        (lambda: ef.align(SAMPLE, ef.Vocabulary([])), "align needs Embeddings, received str: read"),  # type: ignore[arg-type]
        (lambda: ef.convert(SAMPLE, "t.npz", to="npz"), "its own are from_format, to_format, mem"),
        (lambda: ef.read(SAMPLE, fmt="glove"), "its own are format, member, and those of reading"),
    ],
)
def test_mistakes_are_named(call: Callable[[], object], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()


def test_integers_of_numpy_are_numbers() -> None:
    assert len(ef.read(SAMPLE, limit=np.int64(3), threads=np.int32(1))) == 3


def test_texts_in_place_of_files(aligned: ef.AlignedEmbeddings, tmp_path: Path) -> None:
    for call in (ef.count_corpus, lambda texts: ef.encode(aligned, texts, tmp_path / "out")):
        with pytest.raises(FileError, match="a king: no such file, .*: name files of texts; texts"):
            call(["a king", "a river"])


def test_tables_are_not_pickled(aligned: ef.AlignedEmbeddings) -> None:
    for table in (aligned, E, aligned.to_embeddings()):
        for copied in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match="save the table as a store .* and read that"):
                copied(table)
        assert len(copy.copy(table)) == len(table)


def test_names_of_other_formats_are_refused(aligned: ef.AlignedEmbeddings, tmp_path: Path) -> None:
    for name in ("zz.bin", "zz.txt", "zz", "zz.safetensors.gz"):
        with pytest.raises(FileError, match=f"{name}: .* written as a store: name it"):
            aligned.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    aligned.save(tmp_path / "zz.SafeTensors")
    assert len(ef.read(tmp_path / "zz.SafeTensors")) == len(aligned)


def test_each_writer_names_its_own_option(tmp_path: Path) -> None:
    for call in (lambda path: ef.convert(SAMPLE, path), lambda path: ef.write(E, path)):
        with pytest.raises(FileError, match=r"format= \(of convert to_format=, --to\) names"):
            call(tmp_path / "none")
    with pytest.raises(EmbedFreezeError):
        ef.write("none.txt", tmp_path / "t.npz")
