"""`embedfreeze align`: a store with the rows of a vocabulary."""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from typing import Any

from embedfreeze.align import AlignedEmbeddings, load
from embedfreeze.aligning.unknown import OOV_NAMES, SPECIAL_NAMES
from embedfreeze.commands.arguments import (
    add_json,
    add_reading,
    add_rows,
    count,
    input_of,
    need_sources,
    positive,
    refuse_swapped,
    rows_of,
)
from embedfreeze.commands.parsing import describe, did_you_mean, options_of
from embedfreeze.commands.terminal import show
from embedfreeze.commands.words import add_match, add_vocabulary, vocabulary_of
from embedfreeze.errors import FileError
from embedfreeze.files import atomic_output, check_output, refuse_input
from embedfreeze.formats import check_store_name
from embedfreeze.plainlines import counted
from embedfreeze.reports.coverageplot import draw_coverage
from embedfreeze.reports.figures import PICTURES

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "Write a store with the rows of your vocabulary, and tell which tokens found one.",
        "align glove.6B.50d.txt words.txt table.safetensors",
        "align glove.txt more.vec words.txt t.safetensors --match nfc",
        "align model.bin words.txt t.safetensors --oov subword",
    )
    parser.add_argument(
        "sources",
        metavar="SRC",
        nargs="+",
        help="paths or URLs, or - for standard input; behind them the vocabulary: tokens, one a "
        "line, or .csv, .tsv, .json",
    )
    parser.add_argument("target", metavar="DST", help="a store (.safetensors)")
    words = add_vocabulary(parser, "the vocabulary, wherever you like")
    words.add_argument(
        "--special-row",
        metavar="TOKEN=ROW",
        type=_special_row,
        action="append",
        default=[],
        help=f"the row of a special token: {', '.join(SPECIAL_NAMES)}",
    )
    matching = add_match(parser)
    matching.add_argument("--fold-file", action="store_true", help="fold the file's tokens, too")
    matching.add_argument(
        "--oov", choices=OOV_NAMES, default="zeros", help="rows of missing tokens; default: zeros"
    )
    matching.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of --oov normal and hash; default: 0"
    )
    matching.add_argument(
        "--combine",
        choices=["first", "concat"],
        default="first",
        help="of several sources: the first that has a token, or their rows side by side",
    )
    _add_transforms(parser)
    add_reading(parser)
    add_rows(parser)
    parser.add_argument(
        "--report",
        metavar="FILE",
        action="append",
        default=[],
        help="coverage, as .md, .json, .png or .svg; may be given several times",
    )
    add_json(parser)
    parser.set_defaults(run=partial(_align, parser))


def _add_transforms(parser: argparse.ArgumentParser) -> None:
    group = options_of(parser, "what is done to the rows that were found")
    group.add_argument("--normalize", choices=["l2"], help="to a length of 1")
    group.add_argument("--center", action="store_true", help="take their mean off")
    group.add_argument("--dim", type=positive, metavar="N", help="keep this many values of a row")
    group.add_argument(
        "--reduce",
        choices=["first", "pca"],
        default="first",
        help="which --dim keeps: the first values, or principal components",
    )
    group.add_argument(
        "--all-but-the-top",
        type=count,
        default=0,
        metavar="N",
        help="take off the N principal components that all rows share",
    )


def _align(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    sources, listed = list(options.sources), options.vocabulary
    if listed is None and len(sources) < 2:
        parser.error("the following arguments are required: a vocabulary, before DST")
    listed = sources.pop() if listed is None else listed
    names = ("match", "fold_file", "oov", "seed", "combine")
    transforms = ("normalize", "center", "dim", "reduce", "all_but_the_top")
    check_store_name(options.target)
    if options.target in options.report:
        raise FileError("the report needs another name than the table", path=options.target)
    need_sources(*sources, listed)
    if options.from_format is None and "-" not in sources:
        refuse_swapped(sources[0], listed)
    for path in (options.target, *options.report):
        check_output(path, overwrite=options.force)
        refuse_input(path, *sources, listed, options.tokens)
    for path in options.report:
        refuse_input(path, options.target)
    aligned = load(
        [input_of(source) for source in sources],
        vocabulary_of(listed, options),
        special=dict(options.special_row),
        format=options.from_format,
        member=options.member,
        **{name: getattr(options, name) for name in (*names, *transforms)},
        **rows_of(options),
    )
    reports = {path: _report(aligned, path) for path in options.report}
    aligned.save(options.target, overwrite=options.force)
    for path, report in reports.items():
        with atomic_output(path, overwrite=options.force) as file:
            file.write(report)
    show(options, _told(aligned, options), _found(aligned, options))


def _told(aligned: AlignedEmbeddings, options: argparse.Namespace) -> str:
    rows = counted(len(aligned), "row")
    done = f"{options.target}: {rows} of {aligned.dim}, digest {aligned.digest}"
    coverage = aligned.coverage
    if coverage is None:
        return done
    advice = ""
    if coverage.has_subwords and len(coverage.missing_ids) and options.oov != "subword":
        advice = "\n--oov subword makes rows of the missing tokens from the n-grams of the file"
    return f"{coverage}{advice}\n{done}"


def _found(aligned: AlignedEmbeddings, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "target": options.target,
        "rows": len(aligned),
        "dim": aligned.dim,
        "dtype": aligned.dtype,
        "digest": aligned.digest,
        "coverage": None if aligned.coverage is None else aligned.coverage.to_dict(),
        "reports": options.report,
    }


def _special_row(text: str) -> tuple[str, str]:
    token, equals, row = text.rpartition("=")
    if not equals or row not in SPECIAL_NAMES:
        raise argparse.ArgumentTypeError(
            f"TOKEN=ROW is needed, ROW one of {', '.join(SPECIAL_NAMES)}, received {text!r}"
            f"{did_you_mean(row, SPECIAL_NAMES)}"
        )
    return token, row


def _report(aligned: AlignedEmbeddings, path: str) -> bytes:
    coverage = aligned.coverage
    if coverage is None:  # of a store that was written without one
        raise FileError("there is no coverage to report: the source is its own table", path=path)
    kind = os.path.splitext(path)[1].lower()
    if kind in PICTURES:
        return draw_coverage(coverage, kind[1:])
    text = coverage.to_markdown()  # looks spellings up, also for JSON
    if kind == ".json":
        text = json.dumps(coverage.to_dict(), indent=1)
    return text.encode("utf-8", "backslashreplace")
