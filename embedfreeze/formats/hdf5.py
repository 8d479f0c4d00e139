"""HDF5: one 2-D float dataset and its tokens, in a 1-D string dataset or a text file beside it.

AllenNLP's layout is a dataset ``embedding`` without tokens; row 0 is then the padding, which
AllenNLP's own vocabulary file leaves out. Sources: https://docs.allennlp.org and the HDF5 group's
file format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.errors import FileError, FormatError
from embedfreeze.files import Output, PatientFile, Source, name_of
from embedfreeze.formats.base import Batch, Format, Place, Reading, ReadOptions, Rows, Writer
from embedfreeze.formats.hdf5layout import (
    chosen_matrix,
    datasets,
    described,
    is_strings,
    own,
    understood,
    unusable_labels,
)
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens
from embedfreeze.vocabularies.lines import read_lines

__all__ = ["HDF5"]

MAGIC = b"\x89HDF\r\n\x1a\n"
BATCH_BYTES = 16 << 20
CHUNK_BYTES = 1 << 20
TOKEN_ROWS = 1 << 16
ALLENNLP_PADDING = b"@@PADDING@@"


def sniff(source: Source) -> bool:
    """The signature of HDF5?"""
    return source.head.startswith(MAGIC)


def _dataset_tokens(source: Source, dataset: Any, options: ReadOptions) -> Tokens:
    import h5py

    dataset = own(source, dataset)
    stored = dataset.id.get_type()
    padded = not stored.is_variable_str() and stored.get_strpad() == h5py.h5t.STR_SPACEPAD
    rows = max(1, min(TOKEN_ROWS, BATCH_BYTES // dataset.dtype.itemsize))
    blob, sizes = bytearray(), [np.zeros(1, np.int64)]
    for low, high in spans(0, len(dataset), rows):  # as Python objects they take much memory
        with understood(source, f"the strings {low} to {high} of {dataset.name}"):
            encoded = dataset[low:high].reshape(-1).tolist()
        if padded:
            encoded = [token.rstrip(b" ") for token in encoded]
        blob += b"".join(encoded)
        sizes.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
    offsets = np.cumsum(np.concatenate(sizes))
    return Tokens(blob, offsets, unicode_errors=options.unicode_errors)


def _side_file_tokens(path: str, rows: int, options: ReadOptions, reading: Reading) -> Tokens:
    lines = read_lines(path)
    if len(lines) == rows - 1:
        reading.notes.append(f"row 0 has no line in {path}: it is taken as {ALLENNLP_PADDING!r}")
        lines.insert(0, ALLENNLP_PADDING)
    return Tokens.from_bytes(lines, options.unicode_errors)


def _tokens(
    source: Source, found: dict[str, Any], matrix: Any, options: ReadOptions, reading: Reading
) -> Tokens:
    rows = len(matrix)
    strings = {name: dataset for name, dataset in found.items() if is_strings(dataset)}
    if options.tokens is None:
        fitting = {name: dataset for name, dataset in strings.items() if len(dataset) == rows}
        if len(fitting) != 1:
            raise FormatError(
                f"one dataset of {rows} strings is needed for the tokens, received "
                f"{described(fitting or strings)}{unusable_labels(found, rows)}: name a dataset "
                f"or a text file of one token a line with tokens= (--tokens)",
                path=source.name,
            )
        tokens = _dataset_tokens(source, next(iter(fitting.values())), options)
    elif (name := name_of(options.tokens)).strip("/") in strings:
        tokens = _dataset_tokens(source, strings[name.strip("/")], options)
    else:
        tokens = _side_file_tokens(name, rows, options, reading)
    if len(tokens) != rows:
        raise FormatError(
            f"each row needs a token, received {len(tokens)} tokens for {rows} rows of "
            f"{matrix.name}: name others with tokens= (--tokens)",
            path=source.name,
        )
    return tokens


def _open(source: Source) -> Any:
    import h5py

    try:
        return source.resources.enter_context(h5py.File(source.as_file(), "r"))
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        if isinstance(error, FileError):
            raise
        raise FormatError(
            f"HDF5 cannot open the file ({error}): it is damaged or cut off, get it again",
            path=source.name,
        ) from error


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a dataset of floats (any width and byte order) and its tokens."""
    file = _open(source)
    with understood(source, "the description of its datasets"):
        found = datasets(source, file)
        matrix = chosen_matrix(source, found, file)
        dim, rows = int(matrix.shape[1]), options.limited(len(matrix))
        reading = Reading(dim, options.rows_dtype, rows)
        tokens = _tokens(source, found, matrix, options, reading)
    reading.notes.append(f"dataset {matrix.name} of {matrix.dtype}")
    reading.batches = _batches(source, options, reading, matrix, tokens)
    return reading


def _batches(
    source: Source, options: ReadOptions, reading: Reading, matrix: Any, tokens: Tokens
) -> Iterator[Batch]:
    step = max(1, BATCH_BYTES // (4 * reading.dim))
    if matrix.chunks is not None:  # a chunk is unpacked whole, so that it should be but once
        step = max(1, step // matrix.chunks[0]) * matrix.chunks[0]
    for low, high in spans(0, reading.rows or 0, step):
        kept = _wanted_rows(tokens, low, high, options)
        if len(kept):
            yield _batch(source, reading, matrix, tokens, kept)


def _wanted_rows(
    tokens: Tokens, low: int, high: int, options: ReadOptions
) -> npt.NDArray[np.int64]:
    rows = np.arange(low, high)
    if options.wanted is None:
        return rows
    return rows[options.wanted.find(tokens.take(rows)) >= 0]


def _batch(
    source: Source,
    reading: Reading,
    dataset: Any,
    tokens: Tokens,
    rows: npt.NDArray[np.int64],
) -> Batch:
    low, high = int(rows[0]), int(rows[-1]) + 1
    matrix = reading.allocate(len(rows), reading.dim, reading.dtype)
    with understood(source, f"rows {low} to {high} of {dataset.name}"):
        if len(rows) == high - low and dataset.dtype == matrix.dtype:
            dataset.read_direct(matrix, np.s_[low:high])
        else:  # NumPy converts: HDF5 makes 0.5 of the float64 next below 1
            matrix[:] = dataset[low:high][rows - low]

    def place(row: int) -> Place:
        return {"row": int(rows[row])}

    position = source.size * high // len(dataset)
    return Batch(tokens.take(rows), matrix, position, place).checked(source.name)


def write(rows: Rows, output: Output) -> None:
    """Write the dataset ``embedding`` [n, dim] and the dataset ``tokens`` of UTF-8 strings [n]."""
    import h5py

    string = h5py.string_dtype("utf-8")
    with PatientFile(output.file) as patient, h5py.File(patient, "w", libver="earliest") as out:
        dtype = storage.working_dtype(rows.dtype)  # HDF5 has no bfloat16, and int8 no scales
        chunk = max(1, CHUNK_BYTES // (np.dtype(dtype).itemsize * rows.dim))
        vectors = out.create_dataset(
            "embedding",
            (0, rows.dim),
            dtype,
            maxshape=(None, rows.dim),
            chunks=(chunk, rows.dim),
        )
        tokens = out.create_dataset(
            "tokens", (0,), string, maxshape=(None,), chunks=(max(chunk, 1024),)
        )
        n = 0
        for batch in rows.batches:
            last = n + len(batch.tokens)
            vectors.resize(last, axis=0)
            tokens.resize(last, axis=0)
            encoded = rows.dtype in storage.ENCODED
            vectors[n:last] = storage.decode(batch.matrix) if encoded else batch.matrix
            spelled = [batch.tokens.bytes_at(i) for i in range(last - n)]
            tokens[n:last] = np.array(spelled, dtype=object)
            patient.check()
            n = last
        if rows.source is not None:
            out.attrs["source"] = rows.source


def _refuse_nul(tokens: Tokens, first: int) -> None:
    if b"\0" in bytes(tokens.blob[int(tokens.offsets[0]) : int(tokens.offsets[-1])]):
        row = next(i for i in range(len(tokens)) if b"\0" in tokens.bytes_at(i))
        raise FormatError(
            f"HDF5 cannot hold a token with a NUL byte, received {tokens.bytes_at(row)!r} as row "
            f"{first + row}: write a store (.safetensors)"
        )


HDF5 = Format("hdf5", sniff, read, Writer((".h5", ".hdf5"), write, _refuse_nul), parts=True)
