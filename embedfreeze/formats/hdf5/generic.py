"""HDF5: one matrix, and its tokens in the file or in one beside it.

Written as the dataset ``embedding`` [n, dim] and the dataset ``tokens`` of strings [n]. Read are
any datasets that can be told apart (`chosen`), frames of pandas (`pandas`), the weights of Keras
(`keras`), and AllenNLP's ``embedding`` without tokens (`allennlp`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from embedfreeze import storage
from embedfreeze.errors import FileError, FormatError
from embedfreeze.files import Output, PatientFile, Source
from embedfreeze.formats.arrays.rows import BATCH_BYTES, row_batches
from embedfreeze.formats.base import Batch, Format, Reading, ReadOptions, Rows, Writer
from embedfreeze.formats.hdf5.chosen import Chosen, choose
from embedfreeze.formats.hdf5.file import HeapCheckedFile
from embedfreeze.formats.hdf5.kerasparts import MAIN
from embedfreeze.formats.hdf5.layout import datasets, understood
from embedfreeze.formats.hdf5.tokens import chosen_tokens
from embedfreeze.tokens import Tokens

__all__ = ["HDF5", "read", "sniff", "write_vectors"]

MAGIC = b"\x89HDF\r\n\x1a\n"
CHUNK_BYTES = 1 << 20


def sniff(source: Source) -> bool:
    """The signature of HDF5?"""
    return source.head.startswith(MAGIC)


def _open(source: Source) -> Any:
    import h5py

    try:
        file = HeapCheckedFile(source.as_file(), source.whole())
        return source.resources.enter_context(h5py.File(file, "r"))
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        if isinstance(error, FileError):
            raise
        raise FormatError(
            f"HDF5 cannot open the file ({error}): it is damaged or cut off, get it again",
            path=source.name,
        ) from error


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a matrix of floats (any width and byte order) and its tokens."""
    file = _open(source)
    with understood(source, "the description of its datasets"):
        chosen = choose(source, file, datasets(source, file))
        matrix = chosen.matrix
        reading = Reading(matrix.dim, options.rows_dtype, None)
        if chosen.note is not None:
            reading.notes.append(chosen.note)
        tokens = chosen_tokens(source, chosen, options, reading)
        reading.rows = options.limited(len(tokens))
    reading.notes += _notes(chosen, tokens)
    step = max(1, BATCH_BYTES // (4 * reading.dim))
    step = max(1, step // matrix.chunk_rows) * matrix.chunk_rows  # a chunk is unpacked but once
    reading.batches = row_batches(
        source, options, reading, tokens, partial(matrix.fill, source), step
    )
    return reading


def _notes(chosen: Chosen, tokens: Tokens) -> Iterator[str]:
    what = "dataset" if chosen.frame is None else "frame of pandas"
    yield f"{what} {chosen.matrix.name} of {chosen.matrix.dtypes}"
    if chosen.matrix.integers:
        yield "its integers are read as the floats that are equal to them, without a scale"
    if len(tokens) and tokens.bytes_at(0).startswith(b"/c/"):
        yield (
            "tokens are names of ConceptNet, such as /c/en/king: a language, then a term, whose "
            "digits may stand as #"
        )


@contextmanager
def _target(output: Output) -> Iterator[tuple[PatientFile, Any]]:
    import h5py

    with PatientFile(output.file) as patient, h5py.File(patient, "w", libver="earliest") as out:
        yield patient, out


def _chunk_rows(rows: Rows) -> int:
    itemsize = np.dtype(storage.working_dtype(rows.dtype)).itemsize
    return max(1, CHUNK_BYTES // (itemsize * rows.dim))


def write_vectors(rows: Rows, output: Output, tokens: Callable[[Any, int, Batch], None]) -> None:
    """Write the dataset ``embedding`` [n, dim], and the tokens of each batch another way.

    Parameters
    ----------
    tokens : callable
        Takes the opened file, the number of a batch's first row, and the batch.
    """
    dtype = storage.working_dtype(rows.dtype)  # HDF5 has no bfloat16, and int8 no scales
    with _target(output) as (patient, out):
        vectors = out.create_dataset(
            "embedding",
            (0, rows.dim),
            dtype,
            maxshape=(None, rows.dim),
            chunks=(_chunk_rows(rows), rows.dim),
        )
        n = 0
        for batch in rows.batches:
            last = n + len(batch.tokens)
            vectors.resize(last, axis=0)
            encoded = rows.dtype in storage.ENCODED
            vectors[n:last] = storage.decode(batch.matrix) if encoded else batch.matrix
            tokens(out, n, batch)
            patient.check()
            n = last
        if rows.source is not None:
            out.attrs["source"] = rows.source


def write(rows: Rows, output: Output) -> None:
    """Write the dataset ``embedding`` [n, dim] and the dataset ``tokens`` of UTF-8 strings [n]."""
    chunk = max(_chunk_rows(rows), 1024)

    def tokens(out: Any, first: int, batch: Batch) -> None:
        import h5py

        if "tokens" not in out:
            string = h5py.string_dtype("utf-8")
            out.create_dataset("tokens", (0,), string, maxshape=(None,), chunks=(chunk,))
        spelled = [batch.tokens.bytes_at(i) for i in range(len(batch.tokens))]
        out["tokens"].resize(first + len(spelled), axis=0)
        out["tokens"][first:] = np.array(spelled, dtype=object)

    write_vectors(rows, output, tokens)


def _refuse_nul(tokens: Tokens, first: int) -> None:
    if b"\0" in bytes(tokens.blob[int(tokens.offsets[0]) : int(tokens.offsets[-1])]):
        row = next(i for i in range(len(tokens)) if b"\0" in tokens.bytes_at(i))
        raise FormatError(
            f"HDF5 cannot hold a token with a NUL byte, received {tokens.bytes_at(row)!r} as row "
            f"{first + row}: write a store (.safetensors)"
        )


HDF5 = Format(
    "hdf5",
    sniff,
    read,
    Writer((".h5", ".hdf5"), write, _refuse_nul),
    main=(MAIN,),
    parts=True,
)
