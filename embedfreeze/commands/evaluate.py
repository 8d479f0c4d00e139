"""`embedfreeze evaluate`: word similarity and analogies."""

from __future__ import annotations

import argparse
import json

from embedfreeze.commands.arguments import add_reading, add_rows, add_table, positive, table_of
from embedfreeze.evaluation import RESTRICT_VOCAB, evaluate

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_table(parser)
    parser.add_argument(
        "--pairs",
        metavar="FILE",
        action="append",
        help="judgements: two words and a number a line, with tabs between; may be given several "
        "times; default: WordSim-353 and SimLex-999",
    )
    parser.add_argument(
        "--analogies",
        metavar="FILE",
        action="append",
        help="questions: four words a line, below lines such as ': capitals'; may be given several "
        "times; default: Google's questions-words",
    )
    parser.add_argument(
        "--skip-analogies", action="store_true", help="they take long on a large table"
    )
    parser.add_argument(
        "--restrict-vocab",
        type=positive,
        default=RESTRICT_VOCAB,
        metavar="N",
        help=f"only the first N rows take part; default: {RESTRICT_VOCAB:,}",
    )
    parser.add_argument(
        "--case-sensitive", action="store_true", help="default: words are compared in upper case"
    )
    parser.add_argument("--json", action="store_true", help="for a program")
    add_reading(parser)
    add_rows(parser, replaced=None)
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    if options.skip_analogies and options.analogies:
        raise ValueError("--analogies names what --skip-analogies leaves out: give one of them")
    found = evaluate(
        table_of(options),
        pairs=options.pairs,
        analogies=[] if options.skip_analogies else options.analogies,
        restrict_vocab=options.restrict_vocab,
        case_sensitive=options.case_sensitive,
    )
    print(json.dumps(found.to_dict(), allow_nan=False) if options.json else found)
