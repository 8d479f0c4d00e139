"""`embedfreeze projector`: what TensorBoard's Embedding Projector shows."""

from __future__ import annotations

import argparse

from embedfreeze.commands.arguments import (
    add_json,
    add_reading,
    add_rows,
    add_table,
    need_sources,
    positive,
    table_of,
)
from embedfreeze.commands.parsing import describe
from embedfreeze.commands.terminal import show
from embedfreeze.reports.projector import TOP, check_projector, write_projector

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "Write what TensorBoard's Embedding Projector shows: tensorboard --logdir LOGDIR.",
        "projector glove.6B.50d.txt logs",
        "projector table.safetensors logs --top 2000 --force",
    )
    add_table(parser)
    parser.add_argument("folder", metavar="LOGDIR", help="a folder, made if it is missing")
    parser.add_argument(
        "--top",
        type=positive,
        default=TOP,
        metavar="N",
        help=f"so many tokens: the most frequent of a store with counts, else the first rows; "
        f"default: {TOP:,}",
    )
    add_reading(parser)
    add_rows(parser, replaced="what is written into LOGDIR")
    add_json(parser)
    parser.set_defaults(run=_projector)


def _projector(options: argparse.Namespace) -> None:
    need_sources(options.table)
    check_projector(options.folder, overwrite=options.force, read=(options.table, options.tokens))
    table = table_of(options)
    done = write_projector(table, options.folder, top=options.top, overwrite=options.force)
    show(options, done, done.to_dict())
