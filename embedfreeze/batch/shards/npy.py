"""Shards as NPY files, one an array, which are mapped."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from embedfreeze.batch.columns import Column
from embedfreeze.batch.shards.arrays import (
    ArraysReader,
    StoredArrays,
    array_specs,
    described,
    mapped_array,
)
from embedfreeze.batch.shards.base import ShardFormat, Write, understood
from embedfreeze.files import Output
from embedfreeze.formats.arrays.npyheader import HEADER_BYTES, header_bytes

__all__ = ["NPY"]


def _files(stem: str, columns: Sequence[Column]) -> list[str]:
    return [f"{stem}.{spec.name}.npy" for spec in array_specs(columns)]


@contextmanager
def _writing(output: Output, names: list[str], columns: Sequence[Column]) -> Iterator[Write]:
    specs = array_specs(columns)
    files = {
        spec.name: output.file if name == output.name else output.beside(name)
        for spec, name in zip(specs, names, strict=True)
    }
    for file in files.values():
        file.seek(HEADER_BYTES)
    arrays = StoredArrays(files, columns)
    yield arrays.write
    for spec, shape in described(arrays, specs):
        files[spec.name].seek(0)
        files[spec.name].write(header_bytes(spec.dtype, shape))


@contextmanager
def _opened(folder: str, stem: str, columns: Sequence[Column]) -> Iterator[ArraysReader]:
    arrays = {}
    for spec, name in zip(array_specs(columns), _files(stem, columns), strict=True):
        path = os.path.join(folder, name)
        with understood(path), open(path, "rb") as file:
            arrays[spec.name] = mapped_array(file)
    yield ArraysReader(arrays, columns)


NPY = ShardFormat(_files, _writing, _opened)
