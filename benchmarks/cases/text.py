"""Text: reading all of it, and the rows of a vocabulary."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Any

import numpy as np

from benchmarks.measuring import Result, digest, measured, read_words
from benchmarks.suite import Bar, Case, figure, share_of_speed, times_faster

LOOP = "a Python loop"


def ours(path: str, *_: str) -> Result:
    """All of a file, by `embedfreeze.read`."""
    import embedfreeze as ef

    result: Result = {}
    with measured(result, path):
        read = ef.read(path)
    return digest(result, read.matrix, read.tokens)


def _polars(path: str, *_: str) -> Result:
    import polars as pl

    result: Result = {}
    with measured(result, path):
        frame = pl.read_csv(
            path, separator=" ", has_header=False, quote_char=None, schema=columns(path, pl)
        )
        words = frame["token"].to_list()
        matrix = frame.drop("token").to_numpy(order="c")
    return digest(result, matrix, words)


def columns(path: str, pl: Any) -> dict[str, object]:
    """The types of the columns, which saves polars from looking for them."""
    with open(path, "rb") as file:
        dim = file.readline().count(b" ")
    return {"token": pl.String} | {f"v{i}": pl.Float32 for i in range(dim)}


def _pyarrow(path: str, *_: str) -> Result:
    from pyarrow import csv

    result: Result = {}
    with measured(result, path):
        table = csv.read_csv(path, *arrow_options(path))
        words = table.column(0).to_pylist()
        matrix = np.empty((table.num_rows, table.num_columns - 1), np.float32)
        for column in range(matrix.shape[1]):
            matrix[:, column] = table.column(column + 1).to_numpy()
    return digest(result, matrix, words)


def arrow_options(path: str) -> tuple[object, object, object]:
    """How pyarrow reads such text fastest: all cores, given types, blocks of 8 MiB."""
    import pyarrow as pa
    from pyarrow import csv

    with open(path, "rb") as file:
        names = ["token", *(f"v{i}" for i in range(file.readline().count(b" ")))]
    types = {name: pa.float32() for name in names[1:]} | {"token": pa.string()}
    return (
        csv.ReadOptions(use_threads=True, block_size=8 << 20, column_names=names),
        csv.ParseOptions(delimiter=" ", quote_char=False),
        csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    )


def _pandas(path: str, *_: str) -> Result:
    import pandas as pd

    result: Result = {}
    with measured(result, path):
        with open(path, "rb") as file:
            dim = file.readline().count(b" ")
        frame = pd.read_csv(
            path,
            sep=" ",
            header=None,
            quoting=3,
            engine="c",
            na_filter=False,
            memory_map=True,
            low_memory=False,
            dtype={0: str} | dict.fromkeys(range(1, dim + 1), np.float32),
        )
        words = frame[0].tolist()
        matrix = np.ascontiguousarray(frame.iloc[:, 1:].to_numpy())
    return digest(result, matrix, words)


def gensim(path: str, *_: str) -> Result:
    """All of a file, by gensim."""
    from gensim.models import KeyedVectors

    result: Result = {}
    with measured(result, path):
        vectors = KeyedVectors.load_word2vec_format(path, no_header=True)
    return digest(result, vectors.vectors, vectors.index_to_key)


def _finalfusion(path: str, *_: str) -> Result:
    from finalfusion.compat import load_text

    result: Result = {}
    with measured(result, path):
        embeddings = load_text(path)
        matrix = np.ascontiguousarray(embeddings.storage)
    return digest(result, matrix, embeddings.vocab.words)


def _reach(path: str, *_: str) -> Result:
    from reach import Reach

    result: Result = {}
    with measured(result, path):
        vectors = Reach.load(path)
        matrix = np.ascontiguousarray(vectors.vectors, dtype=np.float32)
    return digest(result, matrix, vectors.sorted_items)


def _bare(path: str, library: str) -> Result:
    parse = ctypes.CDLL(library).bare_parse
    parse.argtypes = (ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_void_p)
    parse.restype = ctypes.c_long
    result: Result = {}
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        dim = file.readline().count(b" ")
        # A page more than the file, so that eight bytes may be read at its end.
        room = np.empty((size // (2 * dim) + 1, dim), np.float32)
        with measured(result, path), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            text = np.frombuffer(mapped, np.uint8)
            rows = parse(text.ctypes.data, size, dim, room.ctypes.data)
            matrix = room[:rows]
            del text
    return digest(result, matrix)


def our_rows(path: str, words: str) -> Result:
    """The rows of a vocabulary, by `embedfreeze.load`."""
    import embedfreeze as ef

    vocabulary = ef.Vocabulary(read_words(words), padding=None, unknown=None)
    result: Result = {}
    with measured(result, path):
        aligned = ef.load(path, vocabulary)
    result["above_matrix_mb"] = max(0.0, result["private_mb"] - aligned.matrix.nbytes / 1e6)
    return digest(result, aligned.matrix, aligned.tokens)


def _polars_rows(path: str, words: str) -> Result:
    import polars as pl

    wanted = read_words(words)
    result: Result = {}
    with measured(result, path):
        scan = pl.scan_csv(
            path, separator=" ", has_header=False, quote_char=None, schema=columns(path, pl)
        )
        frame = scan.filter(pl.col("token").is_in(wanted)).collect(engine="streaming")
        at = {word: row for row, word in enumerate(frame["token"].to_list())}
        matrix = frame.drop("token").to_numpy(order="c")[[at[word] for word in wanted]]
    return digest(result, matrix, wanted)


def _pyarrow_rows(path: str, words: str) -> Result:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    wanted = read_words(words)
    result: Result = {}
    with measured(result, path):
        known = pa.array(wanted)
        batches = csv.open_csv(path, *arrow_options(path))
        table = pa.Table.from_batches(
            [batch.filter(pc.is_in(batch.column(0), value_set=known)) for batch in batches],
            schema=batches.schema,
        )
        at = {word: row for row, word in enumerate(table.column(0).to_pylist())}
        matrix = np.empty((table.num_rows, table.num_columns - 1), np.float32)
        for column in range(matrix.shape[1]):
            matrix[:, column] = table.column(column + 1).to_numpy()
        matrix = matrix[[at[word] for word in wanted]]
    return digest(result, matrix, wanted)


def _python_rows(path: str, words: str) -> Result:
    """The loop that projects write themselves, at its best: bytes, and only wanted lines split."""
    wanted = read_words(words)
    result: Result = {}
    with measured(result, path):
        rows = {word.encode(): row for row, word in enumerate(wanted)}
        with open(path, "rb", buffering=1 << 20) as file:
            dim = file.readline().count(b" ")
            file.seek(0)
            matrix = np.empty((len(wanted), dim), np.float32)
            for line in file:
                row = rows.get(line[: line.find(b" ")])
                if row is not None:
                    matrix[row] = line.split(b" ")[1:]
    return digest(result, matrix, wanted)


def _reach_rows(path: str, words: str) -> Result:
    from reach import Reach

    wanted = read_words(words)
    result: Result = {}
    with measured(result, path):
        vectors = Reach.load(path, wordlist=tuple(wanted))
        rows = [vectors.items[word] for word in wanted]
        matrix = np.ascontiguousarray(vectors.vectors[rows], dtype=np.float32)
    return digest(result, matrix, wanted)


FAST = {
    "embedfreeze": ours,
    "bare C": _bare,
    "polars": _polars,
    "pyarrow": _pyarrow,
    "pandas": _pandas,
}
FULL_BARS = (
    Bar("against the fastest peer", 4, times_faster(without=("bare C",))),
    Bar("of the bare parser's speed", 70, share_of_speed("bare C"), "%"),
)

CASES = [
    Case(
        "text, 300 MB, all",
        lambda inputs: [inputs.glove(), inputs.bare_parser()],
        {**FAST, "gensim": gensim, "finalfusion": _finalfusion, "reach": _reach},
        (*FULL_BARS, Bar("against gensim", 150, times_faster("gensim"))),
        same=("polars", "gensim", "reach"),
        references=("bare C",),
    ),
    Case(
        "text, 1 GB, all",
        lambda inputs: [inputs.glove(4), inputs.bare_parser()],
        FAST,
        FULL_BARS,
        same=("polars",),
        references=("bare C",),
    ),
    Case(
        "text, 1 GB, 20,000 tokens",
        lambda inputs: [inputs.glove(4), inputs.vocabulary(inputs.glove(4))],
        {
            "embedfreeze": our_rows,
            "polars": _polars_rows,
            "pyarrow": _pyarrow_rows,
            LOOP: _python_rows,
            "reach": _reach_rows,
        },
        (
            Bar("against the fastest library", 100, times_faster(without=(LOOP,))),
            Bar("against a Python loop", 1, times_faster(LOOP)),
            Bar("of the file a second", 5000, figure("mb_a_second"), "MB"),
            Bar("private memory above the matrix", 100, figure("above_matrix_mb"), "MB", False),
        ),
        same=("polars", LOOP, "reach"),
        references=(LOOP,),
    ),
]
