"""HDF5: one 2-D float dataset and its tokens, in a 1-D string dataset or a text file beside it.

AllenNLP's layout is a dataset ``embedding`` without tokens; row 0 is then the padding, which
AllenNLP's own vocabulary file leaves out. Sources: https://docs.allennlp.org and the HDF5 group's
file format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError
from embedfreeze.files import Source
from embedfreeze.formats.base import Batch, Format, Place, Reading, ReadOptions, Rows
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import read_lines

__all__ = ["HDF5"]

MAGIC = b"\x89HDF\r\n\x1a\n"
BATCH_BYTES = 16 << 20
CHUNK_BYTES = 1 << 20
TOKEN_ROWS = 1 << 16
ALLENNLP_PADDING = b"@@PADDING@@"


def sniff(source: Source) -> bool:
    """The signature of HDF5?"""
    return source.head.startswith(MAGIC)


def _datasets(file: Any) -> dict[str, Any]:
    """The datasets of a file by name; links to other files are not followed."""
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(visit)
    return found


def _is_string(dataset: Any) -> bool:
    import h5py

    return dataset.ndim == 1 and h5py.check_string_dtype(dataset.dtype) is not None


def _is_matrix(dataset: Any) -> bool:
    return bool(dataset.ndim == 2 and dataset.dtype.kind == "f" and dataset.shape[1] > 0)


def _described(found: dict[str, Any]) -> str:
    return ", ".join(f"{n} {list(d.shape)} {d.dtype}" for n, d in found.items()) or "none"


def _matrix(source: Source, found: dict[str, Any]) -> Any:
    member = source.member if source.container != "zip" else None
    if member is not None:
        dataset = found.get(member.strip("/"))
        if dataset is None or not _is_matrix(dataset):
            raise FormatError(
                f"member must name a 2-D dataset of floats, received {member!r}; the file has "
                f"{_described(found)}",
                path=source.name,
            )
    else:
        candidates = {name: dataset for name, dataset in found.items() if _is_matrix(dataset)}
        if len(candidates) != 1:
            raise FormatError(
                f"one 2-D dataset of floats is needed unless member= (--member) names one, "
                f"received {_described(candidates or found)}",
                path=source.name,
            )
        dataset = next(iter(candidates.values()))
    return _own(source, dataset)


def _own(source: Source, dataset: Any) -> Any:
    """A dataset that lies in this file and in no other."""
    if dataset.external or dataset.is_virtual:
        raise FormatError(
            f"dataset {dataset.name} lies in other files, which are not opened: copy it into one",
            path=source.name,
        )
    return dataset


def _dataset_tokens(source: Source, dataset: Any, options: ReadOptions) -> Tokens:
    dataset = _own(source, dataset)
    blob, sizes = bytearray(), [np.zeros(1, np.int64)]
    for low, high in spans(0, len(dataset), TOKEN_ROWS):  # as Python objects they take much memory
        encoded = dataset[low:high].tolist()
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
    strings = {name: dataset for name, dataset in found.items() if _is_string(dataset)}
    if options.tokens is None:
        fitting = {name: dataset for name, dataset in strings.items() if len(dataset) == rows}
        if len(fitting) != 1:
            raise FormatError(
                f"one dataset of {rows} strings is needed for the tokens, received "
                f"{_described(fitting or strings)}: name a dataset or a text file of one token a "
                f"line with tokens= (--tokens)",
                path=source.name,
            )
        tokens = _dataset_tokens(source, next(iter(fitting.values())), options)
    elif options.tokens.strip("/") in strings:
        tokens = _dataset_tokens(source, strings[options.tokens.strip("/")], options)
    else:
        tokens = _side_file_tokens(options.tokens, rows, options, reading)
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
    except OSError as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"HDF5 cannot open the file ({error}): it is damaged or cut off, get it again",
            path=source.name,
        ) from error


def read(source: Source, options: ReadOptions) -> Reading:
    """Read a dataset of floats (any width and byte order) and its tokens."""
    found = _datasets(_open(source))
    matrix = _matrix(source, found)
    dim, rows = int(matrix.shape[1]), options.limited(len(matrix))
    reading = Reading(dim, options.dtype or "float32", rows)
    tokens = _tokens(source, found, matrix, options, reading)
    reading.notes.append(f"dataset {matrix.name} of {matrix.dtype}")
    reading.batches = _batches(source, options, reading, matrix, tokens)
    return reading


def _batches(
    source: Source, options: ReadOptions, reading: Reading, matrix: Any, tokens: Tokens
) -> Iterator[Batch]:
    for low, high in spans(0, reading.rows or 0, max(1, BATCH_BYTES // (4 * reading.dim))):
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
    try:
        if len(rows) == high - low and dataset.dtype == matrix.dtype:
            dataset.read_direct(matrix, np.s_[low:high])
        else:  # NumPy converts: HDF5 makes 0.5 of the float64 next below 1
            matrix[:] = dataset[low:high][rows - low]
    except OSError as error:
        raise FormatError(
            f"HDF5 cannot read rows {low} to {high} of {dataset.name} ({error}): the file is "
            f"damaged or a filter is missing",
            path=source.name,
        ) from error

    def place(row: int) -> Place:
        return {"row": int(rows[row])}

    position = source.size * high // len(dataset)
    return Batch(tokens.take(rows), matrix, position, place).checked(source.name)


def write(rows: Rows, file: IO[bytes]) -> None:
    """Write the dataset ``embedding`` [n, dim] and the dataset ``tokens`` of UTF-8 strings [n]."""
    import h5py

    string = h5py.string_dtype("utf-8")
    with h5py.File(file, "w", libver="earliest") as out:
        chunk = max(1, CHUNK_BYTES // (np.dtype(rows.dtype).itemsize * rows.dim))
        vectors = out.create_dataset(
            "embedding",
            (0, rows.dim),
            rows.dtype,
            maxshape=(None, rows.dim),
            chunks=(chunk, rows.dim),
        )
        tokens = out.create_dataset(
            "tokens", (0,), string, maxshape=(None,), chunks=(max(chunk, 1024),)
        )
        n = 0
        for batch in rows.batches:
            _refuse_nul(batch.tokens, n)
            last = n + len(batch.tokens)
            vectors.resize(last, axis=0)
            tokens.resize(last, axis=0)
            vectors[n:last] = batch.matrix
            spelled = [batch.tokens.bytes_at(i) for i in range(last - n)]
            tokens[n:last] = np.array(spelled, dtype=object)
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


HDF5 = Format("hdf5", (".h5", ".hdf5"), sniff, read, write)
