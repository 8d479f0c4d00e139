"""Columns of an Arrow schema: which hold tokens and vectors, and their values as NumPy has them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError
from embedfreeze.files import Source, name_of
from embedfreeze.formats.base import ReadOptions
from embedfreeze.formats.dimensions import dimension_places
from embedfreeze.formats.texts.delimitedsample import TOKEN_NAMES
from embedfreeze.tokens import Tokens, UnicodeErrors

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ArrowColumns", "chosen_columns", "is_text", "row_lengths", "tokens_of", "values_of"]

SHOWN = 20
LARGEST_TOKENS = 1 << 28  # bytes in a batch: a dictionary can repeat long ones for nothing
PANDAS_INDEX = re.compile(r"__index_level_\d+__")
Refuse = Callable[[int, str], FormatError]


@dataclass(frozen=True)
class ArrowColumns:
    """Which columns of a table hold what.

    Attributes
    ----------
    token : str or None
        The column of the tokens; None if they are in a file of their own.
    values : tuple of str
        One column of lists, or a column for each dimension.
    lists : bool
        Is it one of lists?
    dim : int or None
        Values in a row, where the schema says it.
    notes : tuple of str
        What else there is to say.
    """

    token: str | None
    values: tuple[str, ...]
    lists: bool
    dim: int | None
    notes: tuple[str, ...] = ()


def _stored(kind: pa.DataType) -> pa.DataType:
    """The type behind an extension type and a dictionary."""
    kind = getattr(kind, "storage_type", kind)
    return getattr(kind, "value_type", kind) if str(kind).startswith("dictionary") else kind


def is_text(kind: pa.DataType) -> bool:
    """Strings, or bytes that may be strings, or a dictionary of them?"""
    known = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
    return str(_stored(kind)) in known


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_vectors(kind: pa.DataType) -> bool:
    import pyarrow as pa

    kind = getattr(kind, "storage_type", kind)
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_number(kind.value_type)
    return False


def _described(schema: pa.Schema, names: list[str]) -> str:
    kinds = (f"{name} ({schema.field(name).type})" for name in islice(names, SHOWN))
    return ", ".join(kinds) + (", ..." if len(names) > SHOWN else "") or "none"


def chosen_columns(source: Source, schema: pa.Schema, options: ReadOptions) -> ArrowColumns:
    """The columns of tokens and vectors that are named, or that alone can be meant.

    Raises
    ------
    FormatError
        There are none or several; they are listed.
    """
    names = [name for name, count in Counter(schema.names).items() if count == 1]
    texts = [name for name in names if is_text(schema.field(name).type)]
    token = _token_column(source, schema, texts, options)
    lists = [name for name in names if _is_vectors(schema.field(name).type)]
    if source.part is not None or lists:
        name = _list_column(source, schema, lists)
        kind = schema.field(name).type
        size = getattr(getattr(kind, "storage_type", kind), "list_size", None)
        return ArrowColumns(token, (name,), True, size, (f"vectors in column {name} ({kind})",))
    numbers = [
        name
        for name in names
        if _is_number(schema.field(name).type) and not PANDAS_INDEX.fullmatch(name)
    ]
    values = _dimensions(schema, numbers)
    if not values:
        raise FormatError(
            f"a column of lists of numbers, or one of numbers for each dimension, is needed, "
            f"received columns {_described(schema, names)}",
            path=source.name,
        )
    notes = [f"a column for each dimension, {values[0]} to {values[-1]}"]
    if left := sorted(set(numbers) - set(values)):
        notes.append(f"left out: {_described(schema, left)}")
    return ArrowColumns(token, tuple(values), False, len(values), tuple(notes))


def _token_column(
    source: Source, schema: pa.Schema, texts: list[str], options: ReadOptions
) -> str | None:
    if options.tokens is not None:
        name = name_of(options.tokens)
        return name if name in texts else None
    named = [name for name in texts if name.lower().encode() in TOKEN_NAMES]
    found = texts if len(texts) == 1 else named
    if len(found) == 1 or not texts:
        return found[0] if found else None
    raise FormatError(
        f"one column of strings is needed for the tokens, received {_described(schema, texts)}: "
        f"name one with tokens= (--tokens)",
        path=source.name,
    )


def _list_column(source: Source, schema: pa.Schema, lists: list[str]) -> str:
    found = lists if source.part is None else [name for name in lists if name == source.part]
    if len(found) == 1:
        return found[0]
    asked = "" if source.part is None else f", which is not {source.part!r}"
    raise FormatError(
        f"one column of lists of numbers is needed{asked}, received {_described(schema, lists)}: "
        f"name one with member= (--member)",
        path=source.name,
    )


def _dimensions(schema: pa.Schema, numbers: list[str]) -> list[str]:
    """Columns of numbers in the order of dimensions; whole numbers among floats are counts, ids."""
    import pyarrow as pa

    counted = dimension_places(numbers)
    if len(counted) == len(numbers):  # no names tell others apart
        floats = [name for name in numbers if pa.types.is_floating(schema.field(name).type)]
        numbers = floats or numbers
        counted = dimension_places(numbers)
    return [numbers[place] for place in counted]


def tokens_of(array: pa.Array, refuse: Refuse, unicode_errors: UnicodeErrors) -> Tokens:
    """The bytes of strings; `refuse` makes the error of a row."""
    import pyarrow as pa

    array = getattr(array, "storage", array)
    if array.null_count:
        row = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise refuse(row, "a token must be a string, received null")
    if isinstance(array, pa.DictionaryArray):
        known = tokens_of(array.dictionary, refuse, unicode_errors)
        rows = array.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        size = int(np.diff(known.offsets)[rows].sum()) if len(rows) else 0
        if size > LARGEST_TOKENS:
            raise refuse(0, f"tokens must be short, received {size} bytes for {len(rows)} rows")
        return known.take(rows)
    binary = array.cast(pa.large_binary())
    _, starts, data = binary.buffers()
    if starts is None:
        return Tokens(b"", np.zeros(1, np.int64), unicode_errors=unicode_errors)
    offsets = np.frombuffer(starts, np.int64)[binary.offset : binary.offset + len(binary) + 1]
    blob = bytes(memoryview(data or b"")[int(offsets[0]) : int(offsets[-1])])
    return Tokens(blob, offsets - offsets[0], unicode_errors=unicode_errors)


def _numbers(array: pa.Array, refuse: Refuse, dim: int) -> npt.NDArray[Any]:
    if array.null_count:
        row = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False))) // dim
        raise refuse(row, "a value must be a number, received null")
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def row_lengths(array: pa.Array) -> npt.NDArray[np.int64]:
    """How many values the lists of a column have, int64 [n]."""
    array = getattr(array, "storage", array)
    size = getattr(array.type, "list_size", None)
    if size is not None:
        return np.full(len(array), size, np.int64)
    offsets: npt.NDArray[Any] = array.offsets.to_numpy()
    return np.diff(offsets).astype(np.int64)


def values_of(
    batch: pa.RecordBatch, columns: ArrowColumns, dim: int, refuse: Refuse
) -> npt.NDArray[Any]:
    """The values of rows, [n, dim]; `refuse` makes the error of a row."""
    if not columns.lists:
        parts = [_numbers(batch.column(name), refuse, 1) for name in columns.values]
        return np.stack(parts, axis=1)
    array = batch.column(columns.values[0])
    array = getattr(array, "storage", array)
    if array.null_count:
        row = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise refuse(row, f"a vector must be {dim} numbers, received null")
    lengths = row_lengths(array)
    if (lengths != dim).any():
        row = int(np.argmax(lengths != dim))
        raise refuse(row, f"a vector must be {dim} numbers, received {lengths[row]}")
    return _numbers(array.flatten(), refuse, dim).reshape(len(array), dim)
