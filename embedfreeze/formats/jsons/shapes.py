"""The shapes that JSON of embeddings has, each as the pattern of an entry."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["SHAPES", "Shape", "is_json", "shape_of"]

STRING = rb'"(?:[^"\\]++|\\.)*+"'
NUMBERS = rb"(?P<numbers>[^\]]*+)"
TOKEN = rb"(?P<token>" + STRING + rb")"
START = rb"\[\s*+(?=[-\d.NIn])"  # of a list of numbers


def _spaced(*parts: bytes) -> bytes:
    return rb"\s*+".join(parts)


@dataclass(frozen=True)
class Shape:
    """How the entries of a file look.

    Attributes
    ----------
    shown : str
        An example.
    opening, closing : bytes
        Before the first and after the last entry.
    separator : bytes
        Between entries.
    entry : re.Pattern
        One entry.
    """

    shown: str
    opening: bytes
    entry: re.Pattern[bytes]
    separator: bytes
    closing: bytes

    @property
    def head(self) -> re.Pattern[bytes]:
        """The beginning of a file up to the numbers of its first entry."""
        pattern = self.entry.pattern.partition(NUMBERS)[0]
        return re.compile(rb"\s*+" + re.escape(self.opening) + rb"\s*+" + pattern, re.DOTALL)


def _record(first: bytes, second: bytes) -> re.Pattern[bytes]:
    colon = _spaced(STRING, rb":", b"")
    parts = (rb"\{", colon + first, rb",", colon + second, rb"\}")
    return re.compile(_spaced(*parts), re.DOTALL)


VECTOR = _spaced(START + NUMBERS, rb"\]")
PAIR = re.compile(_spaced(TOKEN, rb":", VECTOR), re.DOTALL)
LISTED = re.compile(_spaced(rb"\[", TOKEN, rb",", VECTOR, rb"\]"), re.DOTALL)
FLAT = re.compile(_spaced(rb"\[", TOKEN, rb",", rb"(?=[-\d.NIn])" + NUMBERS, rb"\]"), re.DOTALL)
SINGLE = re.compile(_spaced(rb"\{", TOKEN, rb":", VECTOR, rb"\}"), re.DOTALL)
RECORDS = (_record(TOKEN, VECTOR), _record(VECTOR, TOKEN))
SHAPES = (
    Shape('{"token": [0.1, 0.2], ...}', b"{", PAIR, b",", b"}"),
    Shape('[["token", [0.1, 0.2]], ...]', b"[", LISTED, b",", b"]"),
    Shape('[["token", 0.1, 0.2], ...]', b"[", FLAT, b",", b"]"),
    *(Shape('[{"token": "a", "vector": [0.1, 0.2]}, ...]', b"[", r, b",", b"]") for r in RECORDS),
    *(Shape('lines of {"token": "a", "vector": [0.1, 0.2]}', b"", r, b"", b"") for r in RECORDS),
    Shape('lines of {"token": [0.1, 0.2]}', b"", SINGLE, b"", b""),
)
MAYBE = re.compile(rb"\s*(\{\s*" + STRING + rb"\s*:|\[\s*[\[{]\s*\")", re.DOTALL)
BLANK = re.compile(rb"[ \t\r\n]*+")


def shape_of(head: bytes) -> Shape | None:
    """The shape of a file that begins so, if it is one that is known."""
    found = [shape for shape in SHAPES if shape.head.match(head)]
    lined = [s for s in found if not s.opening and _is_lined(s, head)]
    found = lined or found
    return found[0] if found else None


def _is_lined(shape: Shape, head: bytes) -> bool:
    """Does the first entry end its line, as in lines of JSON?"""
    entry = shape.entry.match(head.lstrip(b" \t\r\n"))
    return entry is not None and entry.string[entry.end() :].lstrip(b" \t\r\n")[:1] in (b"{", b"")


def is_json(head: bytes) -> bool:
    """Does a file that begins so hold an object, or a list of lists or objects?"""
    return MAYBE.match(head) is not None
