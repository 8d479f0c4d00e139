"""gensim's own files: a Python pickle, and large arrays as NPY beside it.

They are opened by gensim itself, and only when the caller allows it: a pickle can run any code.
Vectors are written as `KeyedVectors.save` does that puts them apart: ``<name>`` and
``<name>.vectors.npy``. Source: https://radimrehurek.com/gensim/models/keyedvectors.html.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.embeddings import keyed_vectors, vectors_of_gensim
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.files import Output, Source
from embedfreeze.formats.arrays.npy import write_values
from embedfreeze.formats.arrays.npyheader import header_bytes
from embedfreeze.formats.arrays.rows import BATCH_BYTES, row_batches
from embedfreeze.formats.base import Batch, Format, Reading, ReadOptions, Rows, Writer
from embedfreeze.tokens import Tokens

__all__ = ["GENSIM"]

# An opcode and the number of the protocol; or a dict, a list, an object of protocols 0 and 1.
PICKLE = re.compile(rb"\x80[\2-\5]|\([dl]p\d+\n|[}\]]q\0|ccopy_reg\n")
PACKED_AS = {".gz": "gzip", ".bz2": "bzip2"}  # suffixes that gensim itself unpacks
UNPACKED_BY_NAME = (*PACKED_AS, ".xz", ".zst")
MOST_ROWS = 10**18
NOT_OPENED = (
    "a Python pickle, as gensim's save() writes it, can run any code and is not opened: pass "
    "allow_pickle=True (--allow-pickle) if you trust who made it, or write the vectors in gensim "
    "with save_word2vec_format() and read that"
)
# What unpickling, and what gensim does after it, raises over files of other classes and versions.
FAILURES = (
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def sniff(source: Source) -> bool:
    """A pickle, whatever is in it: that is known when it was run."""
    return PICKLE.match(source.head) is not None


def _name_for_gensim(source: Source) -> str:
    """A name by which gensim opens what the source holds.

    Only under its own name does it find the arrays beside a file; what is packed otherwise than
    gensim packs is unpacked into a file without a name.
    """
    name = source.located or ""
    suffix = os.path.splitext(name)[1]
    packed = PACKED_AS.get(suffix)
    if name and packed == source.container and (packed or suffix not in UNPACKED_BY_NAME):
        return os.path.abspath(name)
    if source.buffer is not None:
        return source.input.link
    return f"/proc/self/fd/{source.as_file().fileno()}"


@contextmanager
def _understood(source: Source) -> Iterator[None]:
    import pickle

    try:
        yield
    except (*FAILURES, pickle.PickleError) as error:
        if isinstance(error, FileError):
            raise
        if isinstance(error, AttributeError) and error.name == "_load_specials":
            raise FormatError(
                f"the pickle must hold vectors or a model of gensim, received a "
                f"{type(error.obj).__name__}: save the vectors with KeyedVectors.save()",
                path=source.name,
            ) from None
        raise FormatError(
            f"the pickle must be one that the installed gensim opens, received "
            f"{type(error).__name__}: {error}; arrays that gensim put beside the file must be "
            f"there under their names, and files of gensim 3 may have to be saved anew with it",
            path=source.name,
        ) from error


def _vectors(source: Source, loaded: Any) -> tuple[Tokens, npt.NDArray[Any]]:
    try:
        return vectors_of_gensim(loaded)
    except EmbedFreezeError as error:
        raise FormatError(f"the pickle's {error}", path=source.name) from None


def read(source: Source, options: ReadOptions) -> Reading:
    """Read vectors, or those of a model, that gensim has saved."""
    if not options.allow_pickle:
        raise FormatError(NOT_OPENED, path=source.name)
    keyed_vectors()
    from gensim.utils import SaveLoad

    name = _name_for_gensim(source)
    with _understood(source):
        loaded = SaveLoad.load(name, mmap=None if name.endswith(tuple(PACKED_AS)) else "r")
    tokens, vectors = _vectors(source, loaded)
    if isinstance(vectors, np.memmap):
        source.guard(vectors._mmap)  # type: ignore[attr-defined]
    tokens.unicode_errors = options.unicode_errors
    rows = options.limited(len(tokens))
    reading = Reading(vectors.shape[1], options.rows_dtype, rows)
    reading.notes.append(f"a pickle of {type(loaded).__name__}, vectors of {vectors.dtype}")

    def fill(matrix: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> None:
        with np.errstate(over="ignore"):
            matrix[:] = vectors[rows]

    step = max(1, BATCH_BYTES // (4 * reading.dim))
    reading.batches = row_batches(source, options, reading, tokens, fill, step)
    reading.subwords = _subwords(loaded)
    return reading


def _subwords(loaded: Any) -> Callable[[Tokens], npt.NDArray[np.float32]] | None:
    """What gives vectors of n-grams, where the file has them."""
    from gensim.models.fasttext import FastTextKeyedVectors

    vectors = getattr(loaded, "wv", loaded)
    if not isinstance(vectors, FastTextKeyedVectors) or not vectors.bucket:
        return None

    def subwords(tokens: Tokens) -> npt.NDArray[np.float32]:
        matrix = np.zeros((len(tokens), vectors.vector_size), np.float32)
        for row in range(len(tokens)):
            with suppress(UnicodeDecodeError):  # what is no text has no n-grams
                matrix[row] = vectors.get_vector(tokens.bytes_at(row).decode())
        return matrix

    return subwords


def write(rows: Rows, output: Output) -> None:
    """Write `KeyedVectors`, and beside the target their array."""
    keys: list[str] = []

    def kept() -> Iterator[Batch]:
        for batch in rows.batches:
            keys.extend(batch.tokens.escaped())
            yield batch

    dtype, side = storage.working_dtype(rows.dtype), output.beside(f"{output.name}.vectors.npy")
    side.write(header_bytes(dtype, (MOST_ROWS, rows.dim)))
    count = write_values(replace(rows, batches=kept()), side, dtype)
    side.seek(0)
    side.write(header_bytes(dtype, (count, rows.dim)))  # as long as before: NumPy leaves room
    vectors = keyed_vectors()(rows.dim, dtype=dtype)
    vectors.index_to_key = keys
    vectors.key_to_index = {key: row for row, key in enumerate(keys)}
    vectors.next_index = count
    vectors.lifecycle_events = None  # nor is there a date in the file
    del vectors.vectors
    for kind in ("__numpys", "__scipys", "__ignoreds", "__recursive_saveloads"):
        setattr(vectors, kind, ["vectors"] if kind == "__numpys" else [])
    vectors.save(output.file)


GENSIM = Format("gensim", sniff, read, Writer((".kv",), write, packable=False))
