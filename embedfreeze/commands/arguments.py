"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from embedfreeze.commands.parsing import checked_choice, options_of
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import EmbedFreezeError, FileError
from embedfreeze.files import SPOOL_LIMIT, byte_count, is_remote, open_source, spooled_input
from embedfreeze.formats import FORMATS, read
from embedfreeze.formats.folders import main_file
from embedfreeze.storage import DTYPES

__all__ = [
    "add_json",
    "add_reading",
    "add_rows",
    "add_table",
    "bytes_of",
    "count",
    "format_name",
    "input_of",
    "need_sources",
    "positive",
    "read_twice",
    "refuse_swapped",
    "rows_of",
    "standard",
    "table_of",
]


COUNT = re.compile(r"(-?[0-9]{1,18})([kKmM]?)")
THOUSANDS = {"": 1, "k": 1000, "m": 1_000_000}


def count(text: str, least: int = 0) -> int:
    """A number of things, in digits; 10k are ten thousand, 2M are two million."""
    found = COUNT.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"a whole number such as 500, 10k or 2M is needed, received {text!r}"
        )
    number = int(found[1]) * THOUSANDS[found[2].lower()]
    if number < least:
        raise argparse.ArgumentTypeError(f"at least {least} is needed, received {text}")
    return number


def positive(text: str) -> int:
    """At least one thing."""
    return count(text, 1)


def bytes_of(text: str) -> int:
    """A number of bytes, also as 8G."""
    try:
        return byte_count(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def input_of(name: str) -> str | BinaryIO:
    """A path, or standard input for ``-``."""
    return name if name != "-" else standard("stdin")


def need_sources(*names: str | None) -> None:
    """See that files are there, before there is a word on the target: of others it costs too much.

    Raises
    ------
    FileError
        One is not.
    """
    for name in names:
        if name not in (None, "-") and not is_remote(name) and not os.path.exists(name):
            open_source(main_file(name)).close()  # a name may stand for others, as a prefix does


def refuse_swapped(table: str, other: str) -> None:
    """Refuse two names in the wrong order: the first is no table, and the second is one.

    Of what is no file, such as a pipe, which can be read only once, nothing is said.

    Raises
    ------
    FileError
        They are.
    """
    if any(map(_is_read_once, (table, other))):
        return
    if not _is_table(table) and _is_table(other):
        raise FileError(
            f"is no table of vectors, which {other} is: name the table before it", path=table
        )


def _is_read_once(name: str) -> bool:
    plain = os.path.isfile(name) or os.path.isdir(name) or not os.path.exists(name)
    return name == "-" or is_remote(name) or not plain


def _is_table(name: str) -> bool:
    """Is it a file that a reader recognises?"""
    try:
        with open_source(main_file(name)) as source:
            return FORMATS.recognised(source) is not None
    except EmbedFreezeError:
        return False


def standard(name: str) -> BinaryIO:
    """The bytes of "stdin" or "stdout"."""
    stream = getattr(getattr(sys, name), "buffer", None)
    if stream is None:
        raise FileError("is closed: name a file", path=f"<{name}>")
    return cast(BinaryIO, stream)


def format_name(text: str) -> str:
    """The name of a format."""
    return checked_choice(text, FORMATS)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Options of what is read, and as what."""
    group = options_of(parser, "what is read")
    group.add_argument(
        "--from", dest="from_format", type=format_name, metavar="FORMAT", help="default: by content"
    )
    group.add_argument(
        "--member", help="member of an archive, dataset of an HDF5 file, or both: MEMBER:DATASET"
    )
    group.add_argument(
        "--tokens", help="what holds the tokens inside of the file, or a file that lists them"
    )
    group.add_argument(
        "--allow-pickle",
        action="store_true",
        help="read a Python pickle, which can run any code: only if you trust who made it",
    )
    group.add_argument(
        "--spool-limit",
        type=bytes_of,
        default=SPOOL_LIMIT,
        metavar="BYTES",
        help=f"what may be unpacked into a temporary file, such as 8G; default: "
        f"{SPOOL_LIMIT >> 30}G",
    )


def add_rows(parser: argparse.ArgumentParser, *, replaced: str | None = "DST") -> None:
    """Options of `ReadOptions`; `rows_of` gathers them. What is `replaced` has ``--force``."""
    rows = options_of(parser, "which rows, and as what")
    rows.add_argument(
        "--limit", type=positive, metavar="N", help="only the first N rows, such as 10k"
    )
    rows.add_argument("--dtype", choices=DTYPES, help="how the rows are stored")
    rows.add_argument(
        "--on-bad-row", choices=["error", "skip"], default="error", help="default: error"
    )
    rows.add_argument(
        "--on-duplicate",
        choices=["first", "last", "error"],
        default="first",
        help="which row of a token that the file repeats; default: first",
    )
    rows.add_argument(
        "--unicode-errors",
        choices=["strict", "replace", "ignore", "surrogateescape", "backslashreplace"],
        default="strict",
        help="what becomes of tokens that are no UTF-8; default: strict, an error",
    )
    rows.add_argument("--threads", type=positive, metavar="N", help="default: all cores")
    if replaced is not None:
        written = options_of(parser, "what is written")
        written.add_argument(
            "--force", action="store_true", help=f"replace {replaced} if it exists"
        )


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option of `terminal.show`."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, for a program to read"
    )


@contextmanager
def read_twice(name: str, options: argparse.Namespace) -> Iterator[str | BinaryIO]:
    """A path, or for ``-`` a file of what comes from standard input, which can be gone through."""
    if name != "-":
        yield name
        return
    with spooled_input(standard("stdin"), options.spool_limit) as file:
        yield file


def rows_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options of `ReadOptions`, by name."""
    names = ("tokens", "limit", "dtype", "on_bad_row", "on_duplicate", "unicode_errors", "threads")
    return {name: getattr(options, name) for name in (*names, "allow_pickle", "spool_limit")}


def add_table(parser: argparse.ArgumentParser) -> None:
    """The table that a command looks at; `table_of` reads it."""
    parser.add_argument("table", metavar="TABLE", help="a path or URL, or - for standard input")


def table_of(options: argparse.Namespace) -> Embeddings:
    """The table that is named, read as the options say."""
    return read(
        input_of(options.table),
        format=options.from_format,
        member=options.member,
        **rows_of(options),
    )
