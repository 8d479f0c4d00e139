"""`embedfreeze evaluate`: word similarity and analogies."""

from __future__ import annotations

import argparse

from embedfreeze.commands.arguments import (
    add_json,
    add_reading,
    add_rows,
    add_table,
    positive,
    table_of,
)
from embedfreeze.commands.parsing import describe, options_of
from embedfreeze.commands.terminal import show
from embedfreeze.evaluation import RESTRICT_VOCAB, evaluate

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "Say how well the vectors agree with people: word similarity and analogies.",
        "evaluate glove.6B.50d.txt",
        "evaluate table.safetensors --skip-analogies --json",
        "evaluate table.safetensors --pairs mine.tsv",
    )
    add_table(parser)
    asked = options_of(parser, "what is asked")
    asked.add_argument(
        "--pairs",
        metavar="FILE",
        action="append",
        help="judgements: two words and a number a line, with tabs between; may be given several "
        "times; default: WordSim-353 and SimLex-999",
    )
    asked.add_argument(
        "--analogies",
        metavar="FILE",
        action="append",
        help="questions: four words a line, below lines such as ': capitals'; may be given several "
        "times; default: Google's questions-words",
    )
    asked.add_argument(
        "--skip-analogies", action="store_true", help="they take long on a large table"
    )
    asked.add_argument(
        "--restrict-vocab",
        type=positive,
        default=RESTRICT_VOCAB,
        metavar="N",
        help=f"only the first N rows take part; default: {RESTRICT_VOCAB:,}",
    )
    asked.add_argument(
        "--case-sensitive", action="store_true", help="default: words are compared in upper case"
    )
    add_reading(parser)
    add_rows(parser, replaced=None)
    add_json(parser)
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
    show(options, found, found.to_dict())
