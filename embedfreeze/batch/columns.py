"""Columns of what batch jobs write: what one holds, and its values in memory."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FormatError

__all__ = [
    "Block",
    "Column",
    "Ragged",
    "Rebatcher",
    "Values",
    "block_rows",
    "checked_block",
    "checked_columns",
    "joined",
    "part",
    "taken",
    "text_bytes",
    "texts_of",
]

Dtype = Literal["float32", "int32", "int64", "str"]
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Column:
    """What one column holds.

    Attributes
    ----------
    name : str
        Letters, digits, ``_`` and ``-``.
    dtype : {"float32", "int32", "int64", "str"}
        Of its values.
    shape : tuple of int or None
        ``()``: one value a record. ``(dim,)``: a row of so many. ``(None,)``: a row of its own
        length a record. Of texts there is one a record.
    """

    name: str
    dtype: Dtype
    shape: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"the name of a column must have letters, digits, _ and - alone, received "
                f"{self.name!r:.60}"
            )
        if self.dtype not in get_args(Dtype):
            raise ValueError(
                f"the dtype of column {self.name!r} must be one of {', '.join(get_args(Dtype))}, "
                f"received {self.dtype!r:.60}"
            )
        size = self.shape[0] if self.shape else None
        fits = size is None or (type(size) is int and size >= 1)
        if len(self.shape) > 1 or not fits or (self.is_text and self.shape):
            raise ValueError(
                f"the shape of column {self.name!r} must be () or, of numbers, (size,) or (None,), "
                f"received {self.shape!r:.60}"
            )

    @property
    def is_text(self) -> bool:
        return self.dtype == "str"

    @property
    def is_ragged(self) -> bool:
        return self.shape == (None,)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Of one value behind the other: that of a record, or of one value of a ragged row."""
        return tuple(size for size in self.shape if size is not None)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, found: Any) -> Column:
        """What `to_dict` wrote down; `ValueError`, `KeyError` or `TypeError` if it is not that."""
        return cls(found["name"], found["dtype"], tuple(found["shape"]))


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different lengths, as `tf.RaggedTensor` has them.

    Attributes
    ----------
    values : numpy.ndarray
        Those of all rows, one behind the other.
    row_splits : numpy.ndarray
        Where row i begins, and the last one ends: int64 [n + 1], from 0 on.
    """

    values: npt.NDArray[Any]
    row_splits: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[Any], dtype: Any) -> Ragged:
        """Rows, each a sequence of numbers.

        Examples
        --------
        >>> Ragged.of([[5, 6], [], [7]], np.int32).row_splits
        array([0, 2, 2, 3])
        """
        values = [np.asarray(row, dtype) for row in rows]
        return cls(np.concatenate([np.empty(0, dtype), *values]), _splits([len(v) for v in values]))

    def __len__(self) -> int:
        return len(self.row_splits) - 1

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row %= len(self)
        return self.values[self.row_splits[row] : self.row_splits[row + 1]]


Values = npt.NDArray[Any] | Ragged | list[str]
Block = dict[str, Values]


def _splits(lengths: npt.ArrayLike) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def part(values: Values, start: int, stop: int) -> Values:
    """Consecutive records of a column."""
    if not isinstance(values, Ragged):
        return values[start:stop]
    splits = values.row_splits[start : stop + 1]
    return Ragged(values.values[splits[0] : splits[-1]], splits - splits[0])


def joined(parts: Sequence[Values]) -> Values:
    """One column out of several, of which there is one at least; a single one is not copied."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, list):
        return [text for one in parts if isinstance(one, list) for text in one]
    if not isinstance(first, Ragged):
        return np.concatenate(parts)  # type: ignore[arg-type]
    rows = [one for one in parts if isinstance(one, Ragged)]
    lengths = np.concatenate([np.diff(one.row_splits) for one in rows])
    return Ragged(np.concatenate([one.values for one in rows]), _splits(lengths))


def taken(values: Values, rows: npt.NDArray[np.int64]) -> Values:
    """Records of a column, in any order."""
    if isinstance(values, list):
        return [values[row] for row in rows.tolist()]
    if not isinstance(values, Ragged):
        return values[rows]
    lengths = np.diff(values.row_splits)[rows]
    splits = _splits(lengths)
    begun = np.repeat(values.row_splits[rows] - splits[:-1], lengths)
    return Ragged(values.values[begun + np.arange(splits[-1])], splits)


class Rebatcher:
    """Cuts records into blocks of one size, however they come.

    Parameters
    ----------
    size : int
        Records in a block.
    """

    def __init__(self, size: int) -> None:
        self._size, self._waiting, self._count = size, list[Block](), 0

    def add(self, block: Block) -> Iterator[Block]:
        """The blocks that are full with these records; the others of them are copied, and wait."""
        n, low = block_rows(block), 0
        while n - low >= self._size - self._count:
            high = low + self._size - self._count
            self._waiting.append({name: part(v, low, high) for name, v in block.items()})
            yield from self.rest()
            low = high
        if low < n:
            left = np.arange(low, n)
            self._waiting.append({name: taken(values, left) for name, values in block.items()})
            self._count += n - low

    def rest(self) -> Iterator[Block]:
        """What waits for more, if there is something."""
        waiting, self._waiting, self._count = self._waiting, [], 0
        if waiting:
            yield {name: joined([block[name] for block in waiting]) for name in waiting[0]}


def block_rows(block: Block) -> int:
    """Records of a block."""
    return len(next(iter(block.values())))


def text_bytes(texts: list[str]) -> Ragged:
    """Texts as UTF-8: uint8 values, and where each begins.

    Raises
    ------
    FormatError
        A text holds half of a surrogate pair, which is no character.
    """
    try:
        encoded = [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise FormatError(
            f"a text must be one that UTF-8 can hold, received {error.object!r:.60}: mend it, or "
            f"leave the column out"
        ) from None
    return Ragged(np.frombuffer(b"".join(encoded), np.uint8), _splits([len(e) for e in encoded]))


def texts_of(found: Ragged) -> list[str]:
    """The texts of `text_bytes`; `ValueError` if they are not UTF-8."""
    blob, ends = found.values.tobytes(), found.row_splits.tolist()
    return [blob[low:high].decode() for low, high in itertools.pairwise(ends)]


def checked_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Columns, of which there are some, each with a name of its own."""
    names = [column.name for column in columns]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"columns must be some with different names, received {names}")
    return tuple(columns)


def checked_block(columns: Sequence[Column], batch: Mapping[str, Any]) -> Block:
    """The values of a batch, if they are those of the columns.

    Raises
    ------
    ValueError
        They are not: another dtype or shape, columns of different lengths.
    """
    if set(batch) != {column.name for column in columns}:
        raise ValueError(
            f"a batch must have the columns {[column.name for column in columns]}, received "
            f"{[*batch]}"
        )
    block = {column.name: _checked(column, batch[column.name]) for column in columns}
    lengths = {name: len(values) for name, values in block.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must have the same number of records, received {lengths}")
    return block


def _checked(column: Column, values: Any) -> Values:
    if column.is_text:
        texts = list(values)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"column {column.name!r} must be of str, received {texts!r:.60}")
        return texts
    if column.is_ragged:
        if not isinstance(values, Ragged):
            raise ValueError(f"column {column.name!r} must be Ragged, received {type(values)}")
        flat, splits = _checked_array(column, values.values), np.asarray(values.row_splits)
        if (
            splits.dtype != np.int64
            or splits.ndim != 1
            or not len(splits)
            or (splits[0], splits[-1]) != (0, len(flat))
            or (np.diff(splits) < 0).any()
        ):
            raise ValueError(
                f"row_splits of column {column.name!r} must be int64 and rise from 0 to the "
                f"{len(flat)} values, received {splits!r:.60}"
            )
        return Ragged(flat, splits)
    return _checked_array(column, values)


def _checked_array(column: Column, values: Any) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.dtype != column.dtype or array.shape[1:] != column.row_shape or not array.ndim:
        raise ValueError(
            f"column {column.name!r} must be {column.dtype} {['n', *column.row_shape]}, received "
            f"{array.dtype} {[*array.shape]}"
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
