"""Writing a folder that model2vec loads: vectors, a tokenizer that numbers them, configuration.

The tokenizer cuts texts at ASCII's white space and gives each word the row of its token, all others
the unknown token. Where the rows have none of the usual names, a row of zeros is added for it
behind them; the configuration says so, and the reader here leaves it out.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import numpy as np

from embedfreeze import storage
from embedfreeze.errors import FormatError
from embedfreeze.files import Output
from embedfreeze.formats.arrays.npy import write_values
from embedfreeze.formats.base import Batch, Rows
from embedfreeze.tokens import Tokens

__all__ = ["ADDED", "CONFIG", "EMBEDDINGS", "TOKENIZER", "refuse", "write"]

MODEL, TOKENIZER, CONFIG, MODULES = (
    "model.safetensors",
    "tokenizer.json",
    "config.json",
    "modules.json",
)
EMBEDDINGS = "embeddings"
ADDED = "embedfreeze_added_tokens"
UNKNOWN = ("[UNK]", "<unk>")
HEADER_BYTES = 256
CODES = {"float32": "F32", "float16": "F16"}
# Not all that Unicode calls white space: GloVe's tokens hold U+00A0 and U+0085.
WHITE_SPACE = re.compile(r"[\t-\r ]+")
TOKENIZER_PARTS: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {
        "type": "Split",
        "pattern": {"Regex": WHITE_SPACE.pattern},
        "behavior": "Removed",
        "invert": False,
    },
    "post_processor": None,
    "decoder": None,
}
MODULE = {
    "idx": 0,
    "name": "0",
    "path": ".",
    "type": "sentence_transformers.models.StaticEmbedding",
}


class _Tokenizer:
    """Writes a tokenizer.json while tokens come.

    Parameters
    ----------
    file : file
        Open for writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._count = 0
        self._candidates = Tokens.from_strings(UNKNOWN)
        self._unknown: set[int] = set()
        parts = json.dumps(TOKENIZER_PARTS).removesuffix("}")
        self._write(f'{parts}, "model": {{"type": "WordLevel", "vocab": {{')

    def _write(self, text: str) -> None:
        self._file.write(text.encode())

    def add(self, tokens: Tokens) -> None:
        self._unknown |= set(self._candidates.find(tokens).tolist())
        for i, token in enumerate(tokens, start=self._count):
            comma = "," if i else ""
            self._write(f"{comma}\n{json.dumps(token, ensure_ascii=False)}: {i}")
        self._count += len(tokens)

    @property
    def unknown(self) -> str | None:
        """The token of unknown words, if it came."""
        return next((name for i, name in enumerate(UNKNOWN) if i in self._unknown), None)

    def finish(self) -> None:
        self._write(f'\n}}, "unk_token": {json.dumps(self.unknown)}}}}}\n')


def write(rows: Rows, output: Output) -> None:
    """Write the four files of a model; equal rows give equal bytes."""
    tokenizer = _Tokenizer(output.beside(TOKENIZER))
    model = output.beside(MODEL)
    dtype = storage.working_dtype(rows.dtype)  # model2vec has no bfloat16, and int8 no scales
    added: list[str] = []
    model.seek(HEADER_BYTES)
    count = write_values(replace(rows, batches=_numbered(rows, tokenizer, added)), model, dtype)
    tokenizer.finish()
    size = count * rows.dim * np.dtype(dtype).itemsize
    entry = {"dtype": CODES[dtype], "shape": [count, rows.dim], "data_offsets": [0, size]}
    header = json.dumps({EMBEDDINGS: entry}).encode()
    model.seek(0)
    model.write(struct.pack("<Q", HEADER_BYTES - 8) + header.ljust(HEADER_BYTES - 8))
    config = {"model_type": "model2vec", "normalize": False, "embedding_dtype": dtype}
    _write_json(output.beside(CONFIG), {**config, **({ADDED: added} if added else {})})
    _write_json(output.beside(MODULES), [MODULE])


def _write_json(file: IO[bytes], content: Any) -> None:
    file.write(json.dumps(content, indent=1).encode() + b"\n")


def _numbered(rows: Rows, tokenizer: _Tokenizer, added: list[str]) -> Iterator[Batch]:
    """The rows, whose tokens get their numbers, and one for unknown words where there is none."""
    for batch in rows.batches:
        tokenizer.add(batch.tokens)
        yield batch
    if tokenizer.unknown is None:
        added.append(UNKNOWN[0])
        tokens = Tokens.from_strings(added)
        tokenizer.add(tokens)
        zeros = storage.empty(1, rows.dim, rows.dtype)
        zeros[:] = 0
        yield Batch(tokens, zeros, 0, lambda row: {"row": row})


def refuse(tokens: Tokens, first: int) -> None:
    """Refuse tokens that the tokenizer would never give."""
    row = tokens.first_not_utf8()
    if row is None:
        row = next((i for i, t in enumerate(tokens) if not t or WHITE_SPACE.search(t)), None)
    if row is not None:
        raise FormatError(
            f"the tokenizer of a model2vec folder cuts UTF-8 texts at spaces, tabs and line ends: "
            f"it cannot give an empty token, one with any of these or one that is not UTF-8, "
            f"received {tokens.bytes_at(row)!r} as row {first + row}: write a store (.safetensors)"
        )
