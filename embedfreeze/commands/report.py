"""`embedfreeze report`: a page that shows a table."""

from __future__ import annotations

import argparse
import json
import os
from typing import BinaryIO

from embedfreeze.commands.arguments import add_reading, add_rows, positive, rows_of, standard
from embedfreeze.files import check_folder, check_output, spooled_input
from embedfreeze.report.reporting import report
from embedfreeze.vocabulary import Vocabulary

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("table", metavar="TABLE", help="a path or URL, or - for standard input")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the page; default: the table's name with .html"
    )
    parser.add_argument("--pictures", metavar="FOLDER", help="the charts as PNG files, too")
    parser.add_argument("--vocabulary", metavar="FILE", help="show the coverage of this one")
    parser.add_argument(
        "--tokenizer", action="store_true", help="the vocabulary is a Hugging Face tokenizer.json"
    )
    parser.add_argument(
        "--neighbours",
        metavar="TOKEN,...",
        type=lambda text: text.split(","),
        help="tokens whose neighbours are listed; default: some frequent words",
    )
    parser.add_argument(
        "--proof", metavar="FILE", help="the proof of a model that holds the table, as .json"
    )
    parser.add_argument(
        "--points", type=positive, default=200, help="tokens in the map; default: 200"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers, for a program")
    add_reading(parser)
    add_rows(parser)
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> None:
    if options.table != "-":
        return _write(options.table, options)
    with spooled_input(standard("stdin"), options.spool_limit) as file:  # it is gone through again
        return _write(file, options)


def _write(table: str | BinaryIO, options: argparse.Namespace) -> None:
    name = "report" if options.table == "-" else os.path.basename(options.table.rstrip("/"))
    page = options.output or f"{name}.html"
    check_output(page, overwrite=options.force)
    if options.pictures is not None:
        check_folder(options.pictures, overwrite=options.force)
    make = Vocabulary.from_tokenizer if options.tokenizer else Vocabulary.from_file
    found = report(
        table,
        vocabulary=None if options.vocabulary is None else make(options.vocabulary),
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
    if options.json:
        print(json.dumps({"page": page, "pictures": pictures, **found.to_dict()}))
        return
    print("\n".join([page, *pictures]))
