"""What a file is that is none of the formats: known by its first bytes, and what to do then."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from embedfreeze.files import HEAD_BYTES, Source
from embedfreeze.formats.texts.delimitedsample import sample_of
from embedfreeze.formats.texts.layout import FLORET, MAC_LINES, SAMPLE_LINES, other_separator

__all__ = ["Stranger", "stranger"]

SAMPLE_BYTES = 1 << 16
FEWEST = 3  # tokens of a list
DOUBLES = 64  # looked at to recognise GloVe's own binary
LARGEST_WEIGHT = 100.0
DOWNLOAD = "the download went wrong, get the file itself"
UNPACK = "unpack it first; gz, bz2, xz, zst, zip and tar are read as they are"


@dataclass(frozen=True)
class Stranger:
    """A kind of file that is none of embeddings, and what to do about it."""

    what: str
    remedy: str


UTF16 = Stranger("text in UTF-16 or UTF-32", "convert it to UTF-8, for example with iconv")
STARTS: tuple[tuple[bytes, Stranger], ...] = (
    (b"\xff\xfe", UTF16),
    (b"\xfe\xff", UTF16),
    (b"\0\0\xfe\xff", UTF16),
    (
        b"version https://git-lfs.github.com/spec/",
        Stranger("a Git LFS pointer, not the file", 'fetch the file with "git lfs pull"'),
    ),
    (b"BZh", Stranger("bzip2 data inside of packed data", "unpack it once")),
    (b"\xfd7zXZ\0", Stranger("xz data inside of packed data", "unpack it once")),
    (b"\x28\xb5\x2f\xfd", Stranger("zstd data inside of packed data", "unpack it once")),
    (b"7z\xbc\xaf\x27\x1c", Stranger("a 7z archive", UNPACK)),
    (b"Rar!", Stranger("a RAR archive", UNPACK)),
    (b"\x1f\x8b", Stranger("gzip data inside of an archive or of gzip data", "unpack it once")),
    (b"PK\x03\x04", Stranger("a zip archive inside of an archive or of gzip data", "unpack it")),
    (b"\x7fELF", Stranger("a program", "name the embedding file itself")),
    (b"%PDF", Stranger("a PDF document", "name the embedding file itself")),
    (b"\x89PNG", Stranger("a picture", "name the embedding file itself")),
    (b"\xff\xd8\xff", Stranger("a picture", "name the embedding file itself")),
    (b"GGUF", Stranger("a GGUF model", "write its table of tokens as safetensors")),
)
PATTERNS: tuple[tuple[re.Pattern[bytes], Stranger], ...] = (
    (
        re.compile(rb"\s*<(!doctype|html|head|body|\?xml|script)\b", re.IGNORECASE),
        Stranger("a web page or XML", DOWNLOAD),
    ),
    (
        re.compile(rb"\s*[\[{]\s*[\"\[{\d-]"),
        Stranger("JSON", 'write its rows as {"token": [0.1, 0.2], ...}'),
    ),
    (
        re.compile(rb"[^\n]*\n[^\n]*[,;\t]\"\[\s*-?[\d.]"),
        Stranger(
            "a table whose vectors are text in one column",
            "write a column for each value, or JSON, or Parquet",
        ),
    ),
    (
        re.compile(rb"[^\n]*[\t ,;|][\[(]\s*[+-]?[\d.]"),
        Stranger(
            "rows whose numbers stand in brackets",
            'take the brackets out, or write JSON, {"token": [0.1, 0.2], ...}',
        ),
    ),
    (
        re.compile(FLORET),
        Stranger(
            "floret's table of buckets, whose rows belong to no tokens",
            'make a folder of it with "python -m spacy init vectors LANG FILE FOLDER --mode '
            'floret", and name that',
        ),
    ),
    (
        re.compile(rb"(?s).{257}ustar"),
        Stranger("a tar archive inside of an archive", "unpack it once"),
    ),
    (re.compile(rb"(?:[^\0]\0){8}|(?:\0[^\0]){8}"), UTF16),
)
TOKENS_ALONE = Stranger(
    "a list of tokens without numbers",
    "name it with tokens= (--tokens) where the values are, or with --vocabulary",
)
GLOVE_BINARY = Stranger(
    "what may be GloVe's own binary (float64 without tokens)",
    "read the text file that GloVe writes beside it (-binary 0 or 2)",
)


def _are_tokens_alone(head: bytes) -> bool:
    """Lines of one word each, as a vocabulary has them, which may have one empty token?"""
    lines = head.removesuffix(b"\n").split(b"\n", SAMPLE_LINES)[:SAMPLE_LINES]
    words = [word for line in lines for word in line.split()]
    several = any(len(line.split()) > 1 for line in lines)
    named = sum(word[:1].isalpha() or word[:1] >= b"\x80" for word in words)
    return not several and FEWEST <= len(words) >= len(lines) - 1 and 2 * named > len(words)


def _is_glove_binary(source: Source) -> bool:
    """Nothing but float64 of a usual size for a weight?"""
    head = source.head[: 8 * DOUBLES]
    if len(head) < 8 * DOUBLES or source.head.isascii():
        return False
    sizes = np.abs(np.frombuffer(head, "<f8"))
    return bool(((sizes < LARGEST_WEIGHT) & (sizes > 1 / LARGEST_WEIGHT**4)).all())


def stranger(source: Source) -> Stranger:
    """What a source is that no format recognises."""
    head = source.head[:SAMPLE_BYTES]
    if not head:
        return Stranger("nothing", "its download or copy may have been cut off")
    for start, known in STARTS:
        if head.startswith(start):
            return known
    for pattern, known in PATTERNS:
        if pattern.match(head):
            return known
    if _is_glove_binary(source):
        return GLOVE_BINARY
    sample = sample_of(source.head, complete=len(source.head) < HEAD_BYTES)
    if sample is not None and sample.counts:
        return Stranger(
            "tokens and whole numbers, which may be counts",
            "name the format with format= (--from csv, or tsv) if these are vectors",
        )
    if b"\0" not in head and _are_tokens_alone(head):
        return TOKENS_ALONE
    if separator := other_separator(head):
        lines = "separate fields by single spaces and end lines by line feeds"
        one = "separate all fields alike, the token from the first number, too"
        return Stranger(f"rows with {separator}", lines if separator == MAC_LINES else one)
    return Stranger(
        f"{head[:24]!r}{'...' if len(head) > 24 else ''}",
        "get the file again, or name its format with format= (--from) if you know it",
    )
