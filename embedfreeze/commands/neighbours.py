"""`embedfreeze neighbours`: the nearest tokens of a table."""

from __future__ import annotations

import argparse
import json

from embedfreeze.commands.arguments import add_reading, add_rows, add_table, positive, table_of
from embedfreeze.cosines import neighbours
from embedfreeze.plainlines import plain_table, shown_token

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_table(parser)
    parser.add_argument("words", metavar="WORD", nargs="+", help="a token of the table")
    parser.add_argument(
        "-n", type=positive, default=10, metavar="N", help="how many of each; default: 10"
    )
    parser.add_argument("--json", action="store_true", help="for a program")
    add_reading(parser)
    add_rows(parser, replaced=None)
    parser.set_defaults(run=_neighbours)


def _neighbours(options: argparse.Namespace) -> None:
    found = neighbours(table_of(options), options.words, options.n, threads=options.threads)
    if options.json:
        listed = {
            token: [{"token": other, "cosine": cosine} for other, cosine in near]
            for token, near in found.items()
        }
        print(json.dumps(listed))
        return
    for token, near in found.items():
        print(shown_token(token))
        if near:
            rows = [("", shown_token(other), f"{cosine:.4f}") for other, cosine in near]
            print(plain_table(rows, left=2))
