"""`embedfreeze neighbours`: the nearest tokens of a table."""

from __future__ import annotations

import argparse
import os

from embedfreeze.commands.arguments import (
    add_json,
    add_reading,
    add_rows,
    add_table,
    positive,
    refuse_swapped,
    table_of,
)
from embedfreeze.commands.parsing import describe
from embedfreeze.commands.terminal import show
from embedfreeze.cosines import listed, neighbours
from embedfreeze.plainlines import plain_table, shown_token

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "List the tokens whose vectors point most nearly the same way.",
        "neighbours glove.6B.50d.txt king queen",
        "neighbours table.safetensors king -n 3 --json",
    )
    add_table(parser)
    parser.add_argument("words", metavar="WORD", nargs="+", help="a token of the table")
    parser.add_argument(
        "-n", type=positive, default=10, metavar="N", help="how many of each; default: 10"
    )
    add_reading(parser)
    add_rows(parser, replaced=None)
    add_json(parser)
    parser.set_defaults(run=_neighbours)


def _neighbours(options: argparse.Namespace) -> None:
    if not os.path.exists(options.table):
        refuse_swapped(options.table, options.words[-1])
    found = neighbours(table_of(options), options.words, options.n, threads=options.threads)
    lines = []
    for token, near in found.items():
        lines.append(shown_token(token))
        if near:
            rows = [("", shown_token(other), f"{cosine:.4f}") for other, cosine in near]
            lines.append(plain_table(rows, left=2))
    show(options, "\n".join(lines), listed(found))
