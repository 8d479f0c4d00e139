"""`embedfreeze report`: a page that shows a table."""

from __future__ import annotations

import argparse
import os

from embedfreeze.commands.arguments import (
    add_json,
    add_reading,
    add_rows,
    add_table,
    need_sources,
    positive,
    read_twice,
    rows_of,
)
from embedfreeze.commands.parsing import describe, options_of
from embedfreeze.commands.terminal import show
from embedfreeze.commands.words import add_match, add_vocabulary, vocabulary_of
from embedfreeze.errors import without_secrets
from embedfreeze.files import check_folder, check_output, refuse_input
from embedfreeze.reports.reporting import report

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "Make a page to look at: coverage, norms, odd rows, a map of tokens, a proof.",
        "report glove.6B.50d.txt",
        "report glove.6B.50d.txt --vocabulary words.txt -o page.html",
        "report table.safetensors --neighbours king,queen --pictures charts",
    )
    add_table(parser)
    written = options_of(parser, "what is written")
    written.add_argument(
        "-o", "--output", metavar="FILE", help="the page; default: the table's name with .html"
    )
    written.add_argument("--pictures", metavar="FOLDER", help="the charts as PNG files, too")
    shown = options_of(parser, "what is shown")
    shown.add_argument(
        "--neighbours",
        metavar="TOKEN,...",
        type=lambda text: text.split(","),
        help="tokens whose neighbours are listed; default: some frequent words",
    )
    shown.add_argument(
        "--proof", metavar="FILE", help="the proof of a model that holds the table, as .json"
    )
    shown.add_argument(
        "--points", type=positive, default=200, metavar="N", help="tokens in the map; default: 200"
    )
    add_vocabulary(parser, "show the coverage of this one")
    add_match(parser)
    add_reading(parser)
    add_rows(parser, replaced="the output")
    add_json(parser)
    parser.set_defaults(run=_report)


def _page_of(table: str) -> str:
    """The name of a table's page."""
    name = os.path.basename(without_secrets(table).rstrip("/"))
    return "report.html" if table == "-" else f"{name}.html"


def _report(options: argparse.Namespace) -> None:
    words, page = options.vocabulary, options.output or _page_of(options.table)
    if "-" in (page, options.pictures):
        raise ValueError("a report is written into files, received - (standard output): name one")
    need_sources(options.table, words, options.proof)
    check_output(page, overwrite=options.force)
    refuse_input(page, options.table, words, options.proof, options.tokens)
    if options.pictures is not None:
        check_folder(options.pictures, overwrite=options.force)
    vocabulary = None if words is None else vocabulary_of(words, options)
    with read_twice(options.table, options) as table:
        found = report(
            table,
            vocabulary=vocabulary,
            match=options.match,
            neighbours_of=options.neighbours,
            proof=options.proof,
            points=options.points,
            format=options.from_format,
            member=options.member,
            **rows_of(options),
        )
    found.save(page, overwrite=options.force)
    pictures = []
    if options.pictures is not None:
        pictures = found.save_pictures(options.pictures, overwrite=options.force)
    told = "\n".join([page, *pictures])
    show(options, told, {"page": page, "pictures": pictures, **found.to_dict()})
