"""word2vec binary: reading all of it, and the rows of a vocabulary."""

from __future__ import annotations

import mmap
from collections.abc import Callable

import numpy as np

from benchmarks.cases.text import LOOP, our_rows, ours
from benchmarks.inputs import LARGE_DIM
from benchmarks.measuring import Result, digest, measured, read_words
from benchmarks.suite import Bar, Case, figure, share_of_speed, times_faster


def _gensim(path: str) -> Result:
    from gensim.models import KeyedVectors

    result: Result = {}
    with measured(result, path):
        vectors = KeyedVectors.load_word2vec_format(path, binary=True)
    return digest(result, vectors.vectors, vectors.index_to_key)


def _finalfusion(path: str) -> Result:
    """It scales every vector to unit length, which is part of what it does."""
    from finalfusion.compat import load_word2vec

    result: Result = {}
    with measured(result, path):
        embeddings = load_word2vec(path)
        matrix = np.ascontiguousarray(embeddings.storage)
    return digest(result, matrix, embeddings.vocab.words)


def _numpy_copy(path: str) -> Result:
    """As many bytes as the matrix has, copied out of the mapped file."""
    result: Result = {}
    with open(path, "rb") as file:
        rows = int(file.readline().split()[0])
        with measured(result, path), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            view = np.frombuffer(mapped, np.uint8, rows * LARGE_DIM * 4)
            matrix = view.copy()
            del view
    return {**result, "rows": len(matrix) // (LARGE_DIM * 4)}


def _gensim_rows(path: str, words: str) -> Result:
    from gensim.models import KeyedVectors

    wanted = read_words(words)
    result: Result = {}
    with measured(result, path):
        vectors = KeyedVectors.load_word2vec_format(path, binary=True)
        matrix = vectors.vectors[[vectors.key_to_index[word] for word in wanted]]
    return digest(result, matrix, wanted)


def _finalfusion_rows(path: str, words: str) -> Result:
    from finalfusion.compat import load_word2vec

    wanted = read_words(words)
    result: Result = {}
    with measured(result, path):
        embeddings = load_word2vec(path)
        rows = [embeddings.vocab.word_index[word] for word in wanted]
        matrix = embeddings.storage[rows] * embeddings.norms[rows, np.newaxis]
    return digest(result, np.ascontiguousarray(matrix), wanted)


def _python_rows(path: str, words: str) -> Result:
    """The loop that projects write themselves, at its best: a step over each vector."""
    wanted = read_words(words)
    result: Result = {}
    with measured(result, path):
        rows = {word.encode(): row for row, word in enumerate(wanted)}
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            count, dim = (int(field) for field in file.readline().split())
            matrix = np.empty((len(wanted), dim), np.float32)
            at, size = file.tell(), 4 * dim
            for _ in range(count):
                space = mapped.find(b" ", at)
                row = rows.get(mapped[at:space].lstrip(b"\n"))
                if row is not None:
                    matrix[row] = np.frombuffer(mapped, "<f4", dim, space + 1)
                at = space + 1 + size
    return digest(result, matrix, wanted)


FULL_BARS = (
    Bar("of NumPy's speed of copying", 80, share_of_speed("NumPy copy"), "%"),
    Bar("against gensim", 8, times_faster("gensim")),
)
Contenders = dict[str, Callable[..., Result]]
FULL: Contenders = {
    "embedfreeze": ours,
    "NumPy copy": _numpy_copy,
    "gensim": _gensim,
    "finalfusion": _finalfusion,
}
VOCABULARY_PEERS: Contenders = {
    "gensim": _gensim_rows,
    "finalfusion": _finalfusion_rows,
    LOOP: _python_rows,
}

SIZES = ((1, "1.2"), (3, "3.6"))  # times 1.2 GB, and what that is


def _peers(times: int, contenders: Contenders) -> Contenders:
    """finalfusion, which takes a minute for 3.6 GB, reads the smaller file only."""
    return {name: run for name, run in contenders.items() if times == 1 or name != "finalfusion"}


CASES = [
    Case(
        f"word2vec binary, {size} GB, all",
        lambda inputs, times=times: [inputs.binary(times)],
        _peers(times, FULL),
        FULL_BARS,
        same=("gensim",),
        references=("NumPy copy",),
    )
    for times, size in SIZES
] + [
    Case(
        f"word2vec binary, {size} GB, 20,000 tokens",
        lambda inputs, times=times: [
            inputs.binary(times),
            inputs.vocabulary(inputs.binary(times)),
        ],
        _peers(times, {"embedfreeze": our_rows, **VOCABULARY_PEERS}),
        (
            Bar("against the fastest library", 20, times_faster(without=(LOOP,))),
            Bar("against a Python loop", 1, times_faster(LOOP)),
            Bar("private memory above the matrix", 100, figure("above_matrix_mb"), "MB", False),
        ),
        same=("gensim", LOOP),
        references=(LOOP,),
    )
    for times, size in SIZES
]
