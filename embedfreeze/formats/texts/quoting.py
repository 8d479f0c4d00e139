"""Quoted fields of delimited text: cut tokens out of their quotes, and put them into some.

Source: RFC 4180. A field may stand in double quotes, which are doubled inside of it. Files that
were written without quoting have tokens with a quote all the same, so that one counts as quoted
only where its quotes close.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from embedfreeze import _kernel
from embedfreeze.errors import FormatError
from embedfreeze.tokens import Tokens

__all__ = ["has_open_quote", "quoted", "refuse_unreadable", "spellings", "unquoted"]

QUOTE = ord('"')
INNER = re.compile(rb'"((?:[^"]|"")*+)"')
CLOSED = re.compile(rb'"(?:[^"\n]|"")*+"(?=[^"]|\Z)')


def _without_quotes(token: bytes) -> bytes:
    found = INNER.fullmatch(token)
    return token if found is None else found[1].replace(b'""', b'"')


def unquoted(tokens: Tokens) -> Tokens:
    """The tokens, those in quotes without them."""
    starts = tokens.offsets[:-1][np.diff(tokens.offsets) > 1]
    blob = np.frombuffer(tokens.blob, np.uint8)
    if not (blob[starts] == QUOTE).any():
        return tokens
    spelled = [_without_quotes(tokens.bytes_at(row)) for row in range(len(tokens))]
    return Tokens.from_bytes(spelled, tokens.unicode_errors)


def quoted(token: bytes, delimiter: bytes) -> bytes:
    """A token as a field: in quotes where a reader would else cut or change it.

    A blank at its ends and an empty token are quoted too: some readers drop the one and take the
    other for a missing value.
    """
    plain = not any(mark in token for mark in (delimiter, b'"', b"\n", b"\r"))
    if plain and token and token.strip() == token:
        return token
    return b'"' + token.replace(b'"', b'""') + b'"'


def spellings(wanted: Tokens, delimiter: bytes, *, quotes: bool) -> Tokens:
    """What a scan for tokens must stop at: each spelling of them up to its first delimiter."""
    blob = bytes(wanted.blob)
    if delimiter not in blob and not quotes:
        return wanted
    ends = re.compile(b"[" + re.escape(delimiter) + b"\n]")
    words: dict[bytes, None] = {}
    for row in range(len(wanted)):
        token = wanted.bytes_at(row)
        words[ends.split(token, maxsplit=1)[0]] = None
        if quotes:
            field = b'"' + token.replace(b'"', b'""') + b'"'
            words[ends.split(field, maxsplit=1)[0]] = None
    return Tokens.from_bytes(list(words), "surrogateescape")


def has_open_quote(lines: bytes, delimiter: bytes, dim: int) -> bool:
    """Does a quoted token of these lines go on in the next line?

    A line that is a row as it stands is one: its token begins with a quote by chance.
    """
    for at in _lines_with_quotes(lines):
        if not CLOSED.match(lines, at):
            end = lines.find(b"\n", at)
            line = lines[at : len(lines) if end < 0 else end]
            if not _is_row(line, delimiter, dim):
                return True
    return False


def _lines_with_quotes(lines: bytes) -> Iterator[int]:
    """Where the lines begin that begin with a quote."""
    if b'"' not in lines:  # usual, and found out much faster
        return
    if lines.startswith(b'"'):
        yield 0
    at = 0
    while at := lines.find(b'\n"', at) + 1:
        yield at


def _is_row(line: bytes, delimiter: bytes, dim: int) -> bool:
    fields = line.removesuffix(b"\r").rsplit(delimiter, dim)
    return len(fields) == dim + 1 and all(map(_kernel.is_number, fields[1:]))


def refuse_unreadable(tokens: Tokens, first: int, delimiter: bytes) -> None:
    """`FormatError` for a token whose first line a reader might take for a row."""
    blob = tokens.blob
    if not _kernel.count_lines(blob, int(tokens.offsets[0]), int(tokens.offsets[-1])):
        return
    for row in range(len(tokens)):
        token = tokens.bytes_at(row)
        line = token.partition(b"\n")[0].removesuffix(b"\r").rpartition(delimiter)[2]
        if b"\n" in token and delimiter in token and _kernel.is_number(line):
            raise FormatError(
                f"a token with a line feed must not begin as a row does, received {token!r} as "
                f"row {first + row}: write a store (.safetensors) or HDF5"
            )
