"""What is to be known about the values of a file, found while its batches come by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel, storage
from embedfreeze.formats.base import Batch
from embedfreeze.formats.inspecting.remarks import Collected, Remark
from embedfreeze.formats.inspecting.tokenscan import ENOUGH

__all__ = ["ValueScan", "hashes_of_rows"]

UNIT = 2e-3  # how far the length of a vector may be from 1: float16 rounds
Float32 = npt.NDArray[np.float32]
UInt64 = npt.NDArray[np.uint64]


def _are_float16(values: Float32) -> bool:
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16) == values).all())


def _are_bfloat16(values: Float32) -> bool:
    return not (np.ascontiguousarray(values).view(np.uint32) & 0xFFFF).any()


def _are_integers(values: Float32) -> bool:
    return bool((np.rint(values) == values).all())


# What all values of a float32 file may be; one value that is not ends the question.
ALL: dict[str, tuple[Callable[[Float32], bool], str]] = {
    "integer-values": (
        _are_integers,
        "all values are whole numbers: they may be quantised, and need their scale",
    ),
    "float16-values": (
        _are_float16,
        'all values are those of float16: dtype="float16" halves the memory, exactly',
    ),
    "bfloat16-values": (
        _are_bfloat16,
        'all values are those of bfloat16: dtype="bfloat16" halves the memory, exactly',
    ),
}


@dataclass(eq=False)
class ValueScan:
    """Looks at the values of each batch; `remarks` says what it found."""

    stored: str
    rows: int = 0
    shortest: float = np.inf
    longest: float = 0.0
    zero: Collected = field(default_factory=Collected)
    constant: Collected = field(default_factory=Collected)
    hashes: list[UInt64] = field(default_factory=list)
    may_be: set[str] = field(default_factory=lambda: set(ALL))

    def add(self, batch: Batch) -> None:
        """Look at the values of the next batch."""
        values = storage.decode(batch.matrix).astype(np.float32, copy=False)
        if not len(values):
            return
        self.may_be = {name for name in self.may_be if ALL[name][0](values)}
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            squares = np.einsum("ij,ij->i", values, values)
        flat = np.flatnonzero(values[:, 0] == values[:, -1])
        flat = flat[(values[flat] == values[flat, :1]).all(axis=1)]
        zero = values[flat, 0] == 0
        self.zero.add(flat[zero], batch.tokens, batch.place)
        if values.shape[1] > 1:
            self.constant.add(flat[~zero], batch.tokens, batch.place)
        finite = np.delete(squares, flat[zero])
        if finite.size:
            self.shortest = min(self.shortest, float(finite.min()))
            self.longest = max(self.longest, float(finite.max()))
        self.hashes.append(
            hashes_of_rows(np.delete(batch.matrix, flat, axis=0) if flat.size else batch.matrix)
        )
        self.rows += len(values)

    def remarks(self) -> Iterator[Remark]:
        """What was found."""
        if found := self.zero if self.zero.count else None:
            share = f"{found.count:,} ({found.count / self.rows:.1%})".replace("%", " %")
            first = f"the first is {found.token!r} {found.where}"
            yield found.remark("zero-rows", f"zero rows: {share}; {first}")
        if found := self.constant if self.constant.count else None:
            share = f"{found.count:,} ({found.count / self.rows:.1%})".replace("%", " %")
            message = f"rows with one value throughout: {share}; the first is {found.token!r}"
            yield found.remark("constant-rows", f"{message} {found.where}")
        repeated = self._repeated()
        if repeated:
            share = f"{repeated:,} ({repeated / self.rows:.1%})".replace("%", " %")
            message = f"rows that repeat the vector of another: {share}, without zero rows"
            yield Remark("repeated-vectors", message, repeated)
        if self.rows >= ENOUGH:
            yield from self._of_all()

    def _repeated(self) -> int:
        """Rows whose bytes are those of an earlier one; 64 bits of hash tell rows apart."""
        every = np.sort(np.concatenate([np.empty(0, np.uint64), *self.hashes]))
        return int(np.count_nonzero(every[1:] == every[:-1]))

    def _of_all(self) -> Iterator[Remark]:
        if abs(self.shortest - 1) < UNIT and abs(self.longest - 1) < UNIT:
            yield Remark("unit-length", "vectors are unit length", self.rows - self.zero.count)
        for name, (_, message) in ALL.items():
            if name in self.may_be and self.stored == "float32" and self.longest:
                yield Remark(name, message)
                return


def hashes_of_rows(matrix: npt.NDArray[Any]) -> UInt64:
    """A hash of each row's bytes, uint64 [n]."""
    n, size = len(matrix), matrix.itemsize * matrix.shape[1]
    hashes = np.empty(n, np.uint64)
    blob = np.ascontiguousarray(matrix).view(np.uint8).reshape(-1)
    _kernel.hash_tokens(blob, np.arange(n + 1, dtype=np.int64) * size, hashes)
    return hashes
