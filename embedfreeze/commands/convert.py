"""`embedfreeze convert`: one embedding file into another."""

from __future__ import annotations

import argparse
import sys

from embedfreeze.commands.arguments import (
    add_reading,
    add_rows,
    format_name,
    input_of,
    rows_of,
    standard,
)
from embedfreeze.convert import convert
from embedfreeze.vocabulary import Vocabulary

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("source", metavar="SRC", help="a path or URL, or - for standard input")
    parser.add_argument(
        "target",
        metavar="DST",
        help="- for standard output; a name that ends in .gz .bz2 .xz .zst or .zip compresses",
    )
    add_reading(parser)
    parser.add_argument(
        "--to", dest="to_format", type=format_name, metavar="FORMAT", help="default: by DST's name"
    )
    parser.add_argument(
        "--vocabulary", metavar="FILE", help="only the tokens of this file, one a line"
    )
    add_rows(parser)
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> None:
    vocabulary = None
    if options.vocabulary is not None:
        vocabulary = Vocabulary.from_file(options.vocabulary, padding=None, unknown=None)
    piped = options.target == "-"
    done = convert(
        input_of(options.source),
        standard("stdout") if piped else options.target,
        from_format=options.from_format,
        to_format=options.to_format,
        member=options.member,
        vocabulary=vocabulary,
        overwrite=options.force,
        **rows_of(options),
    )
    print(done, file=sys.stderr if piped else sys.stdout)
