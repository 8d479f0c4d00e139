"""`embedfreeze convert`: one embedding file into another."""

from __future__ import annotations

import argparse

from embedfreeze.commands.arguments import (
    add_json,
    add_reading,
    add_rows,
    format_name,
    input_of,
    need_sources,
    rows_of,
    standard,
)
from embedfreeze.commands.parsing import describe, options_of
from embedfreeze.commands.terminal import show, tell
from embedfreeze.commands.words import add_vocabulary, vocabulary_of
from embedfreeze.convert import convert
from embedfreeze.vocabulary import Vocabulary

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "Convert an embedding file into another format, whatever its size.",
        "convert glove.6B.300d.txt glove.safetensors",
        "convert vectors.bin.gz small.vec --limit 100000",
        "convert - - --to word2vec < glove.txt > vectors.bin",
    )
    parser.add_argument("source", metavar="SRC", help="a path or URL, or - for standard input")
    parser.add_argument(
        "target",
        metavar="DST",
        help="- for standard output; a name that ends in .gz .bz2 .xz .zst or .zip compresses",
    )
    add_reading(parser)
    written = options_of(parser, "what is written")
    written.add_argument(
        "--to", dest="to_format", type=format_name, metavar="FORMAT", help="default: by DST's name"
    )
    add_vocabulary(parser, "only the tokens of this file, without the special ones")
    add_rows(parser)
    add_json(parser)
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> None:
    piped = options.target == "-"
    if piped and options.json:
        options.json = False  # nor is the error printed there
        raise ValueError(
            "--json prints on standard output, which DST - fills with data: name a file as DST"
        )
    need_sources(options.source)
    vocabulary = None
    if options.vocabulary is not None:
        vocabulary = _ordinary(vocabulary_of(options.vocabulary, options))
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
    if piped:
        tell(str(done))
    else:
        show(options, done, done.to_dict())


def _ordinary(vocabulary: Vocabulary) -> Vocabulary:
    """The tokens that are looked up in a file: as in `embedfreeze align`, no special ones."""
    special = set(vocabulary.special_tokens)
    tokens = [token for token in vocabulary.tokens if token not in special]
    return Vocabulary(tokens, padding=None, unknown=None)
