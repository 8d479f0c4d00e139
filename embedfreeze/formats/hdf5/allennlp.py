"""AllenNLP's HDF5: a dataset ``embedding`` [n, dim], and a text file of its tokens beside it.

In the file of a vocabulary row 0 is the padding and has no line. It is read as any HDF5 file;
written is ``<stem>.tokens.txt``, in which the padding's line is left out, too. Source: the modules
vocabulary and token_embedders/embedding of https://github.com/allenai/allennlp.
"""

from __future__ import annotations

import os
from typing import Any

from embedfreeze.errors import FormatError
from embedfreeze.files import Output
from embedfreeze.formats.base import Batch, Format, Rows, Writer, refuse_packed_lines
from embedfreeze.formats.hdf5.generic import read, sniff, write_vectors
from embedfreeze.formats.hdf5.tokens import PADDING
from embedfreeze.tokens import Tokens

__all__ = ["ALLENNLP"]

TOKENS_SUFFIX = ".tokens.txt"
BOM = b"\xef\xbb\xbf"


def write(rows: Rows, output: Output) -> None:
    """Write the dataset, and beside it one token a line."""
    listed = output.beside(os.path.splitext(output.name)[0] + TOKENS_SUFFIX)

    def tokens(_: Any, first: int, batch: Batch) -> None:
        spelled = [batch.tokens.bytes_at(i) for i in range(len(batch.tokens))]
        if first == 0 and len(spelled) > 1 and spelled[0] == PADDING:
            del spelled[0]
        listed.write(b"".join(token + b"\n" for token in spelled))

    write_vectors(rows, output, tokens)


def _refuse_unreadable(tokens: Tokens, first: int) -> None:
    """Refuse tokens that no line is."""
    if not first:
        refuse_packed_lines(tokens)
        if len(tokens) > 1 and tokens.bytes_at(0) == PADDING:
            refuse_packed_lines(tokens.part(1, len(tokens)))
    blob = bytes(tokens.blob[int(tokens.offsets[0]) : int(tokens.offsets[-1])])
    if b"\n" not in blob and b"\r" not in blob and BOM not in blob:
        return
    for row in range(len(tokens)):
        token = tokens.bytes_at(row)
        starts_file = first + row < 2 and token.startswith(BOM)
        if b"\n" in token or token.endswith(b"\r") or starts_file:
            raise FormatError(
                f"a list of one token a line cannot hold one with a line feed, with a carriage "
                f"return at its end, or with a byte order mark in front, received {token!r} as "
                f"row {first + row}: write a store (.safetensors) or HDF5"
            )


ALLENNLP = Format(
    "allennlp", sniff, read, Writer((), write, _refuse_unreadable, packable=False), parts=True
)
