"""Writing a folder of vectors that spaCy loads, in its usual mode: a row for each key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from embedfreeze import storage
from embedfreeze.files import Output, move_body
from embedfreeze.formats.arrays.npy import write_values
from embedfreeze.formats.arrays.npyheader import HEADER_BYTES, header_bytes
from embedfreeze.formats.base import Batch, Rows, only_utf8
from embedfreeze.formats.spacy.keys import MAP_BYTES, keys_of, map_head, packed_map

__all__ = ["CONFIG", "KEYS", "STRINGS", "VECTORS", "refuse", "write"]

VECTORS, KEYS, STRINGS, CONFIG = "vectors", "key2row", "strings.json", "vectors.cfg"


def write(rows: Rows, output: Output) -> None:
    """Write the four files of `spacy.vectors.Vectors.from_disk`, and of a vocabulary's."""
    strings, keys, vectors = (output.beside(name) for name in (STRINGS, KEYS, VECTORS))
    dtype = storage.working_dtype(rows.dtype)  # NumPy has no bfloat16, and int8 no scales
    keys.seek(MAP_BYTES)
    vectors.seek(HEADER_BYTES)
    count = write_values(replace(rows, batches=_keyed(rows, strings, keys)), vectors, dtype)
    keys.seek(0)
    keys.write(map_head(count))
    header = header_bytes(dtype, (count, rows.dim))
    if len(header) != HEADER_BYTES:
        move_body(vectors, HEADER_BYTES, len(header))
    vectors.seek(0)
    vectors.write(header)
    output.beside(CONFIG).write(json.dumps({"mode": "default"}, indent=2).encode() + b"\n")


def _keyed(rows: Rows, strings: IO[bytes], keys: IO[bytes]) -> Iterator[Batch]:
    """The rows, whose tokens are listed and whose keys are mapped as they come."""
    separator, first = "[\n", 0
    for batch in rows.batches:
        for token in batch.tokens:
            strings.write(f"{separator}{json.dumps(token, ensure_ascii=False)}".encode())
            separator = ",\n"
        keys.write(packed_map(keys_of(batch.tokens), first))
        first += len(batch.tokens)
        yield batch
    strings.write(b"\n]\n")


refuse = only_utf8("spaCy's strings")
