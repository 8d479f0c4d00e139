"""`embedfreeze inspect`: what an embedding file is."""

from __future__ import annotations

import argparse

from embedfreeze.commands.arguments import add_json, add_reading, read_twice
from embedfreeze.commands.parsing import describe
from embedfreeze.commands.terminal import show
from embedfreeze.formats.inspecting.diagnosis import Refusal, diagnose

__all__ = ["add_options"]

CONTENT, OTHER = "FormatError", 1
STATUSES = {"FileError": 3, CONTENT: 4}  # by the kind of the error, as those of all commands


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "Say what an embedding file is, what is odd in it, and if it can be loaded.",
        "inspect glove.6B.50d.txt",
        "inspect vectors.zip --member vectors/de.vec --json",
        "inspect hf://user/repository/model.safetensors --no-scan",
    )
    parser.add_argument("path", metavar="PATH", help="a path or URL, or - for standard input")
    add_reading(parser)
    parser.add_argument(
        "--no-scan", dest="scan", action="store_false", help="look at its head alone, not its rows"
    )
    add_json(parser)
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    """The diagnosis is the output, also that of a file that is missing or damaged."""
    with read_twice(options.path, options) as path:
        found = diagnose(
            path,
            format=options.from_format,
            member=options.member,
            tokens=options.tokens,
            allow_pickle=options.allow_pickle,
            scan=options.scan,
            spool_limit=options.spool_limit,
        )
    show(options, found, found.to_dict())
    if found.loadable:
        return 0
    return STATUSES.get(found.error, OTHER) if isinstance(found, Refusal) else STATUSES[CONTENT]
