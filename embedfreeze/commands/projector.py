"""`embedfreeze projector`: what TensorBoard's Embedding Projector shows."""

from __future__ import annotations

import argparse
import json

from embedfreeze.commands.arguments import add_reading, add_rows, add_table, positive, table_of
from embedfreeze.formats.inspecting.inspection import inspect
from embedfreeze.report.projector import TOP, check_projector, write_projector

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
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
    parser.add_argument("--json", action="store_true", help="say for a program what was written")
    add_reading(parser)
    add_rows(parser, replaced="what is written into LOGDIR")
    parser.set_defaults(run=_projector)


def _projector(options: argparse.Namespace) -> None:
    check_projector(options.folder, overwrite=options.force)
    if options.limit is None and _first_rows_do(options):
        options.limit = options.top
    table = table_of(options)
    done = write_projector(table, options.folder, top=options.top, overwrite=options.force)
    print(json.dumps(done.to_dict()) if options.json else done)


def _first_rows_do(options: argparse.Namespace) -> bool:
    """Whether nothing behind the first rows is needed: only a store may have counts."""
    if options.table == "-":  # it can be looked at only once
        return False
    found = inspect(
        options.table,
        format=options.from_format,
        member=options.member,
        tokens=options.tokens,
        allow_pickle=options.allow_pickle,
        scan=False,
        spool_limit=options.spool_limit,
    )
    return found.format != "store"
