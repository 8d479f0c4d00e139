"""`embedfreeze align`: a store with the rows of a vocabulary."""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from typing import Any

from embedfreeze.align import AlignedEmbeddings, load
from embedfreeze.aligning.folds import FOLDS
from embedfreeze.aligning.unknown import OOV_NAMES, SPECIAL_NAMES
from embedfreeze.commands.arguments import add_reading, add_rows, count, input_of, positive, rows_of
from embedfreeze.errors import FileError
from embedfreeze.files import atomic_output, check_output
from embedfreeze.formats import check_target
from embedfreeze.report.coverageplot import draw_coverage
from embedfreeze.report.figures import PICTURES
from embedfreeze.vocabulary import Vocabulary

__all__ = ["add_options"]


def _add_special(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--padding", metavar="TOKEN", help="default: '', or as the file says")
    parser.add_argument("--unknown", metavar="TOKEN", help="default: [UNK], or as the file says")
    parser.add_argument("--special", metavar="TOKEN", action="append", help="a further one")
    parser.add_argument(
        "--special-listed",
        action="store_true",
        help="the special tokens stand in the list of tokens, with the ids of their places",
    )
    parser.add_argument(
        "--no-special", action="store_true", help="no padding and no unknown token unless named"
    )
    parser.add_argument(
        "--special-row",
        metavar="TOKEN=ROW",
        type=_special_row,
        action="append",
        default=[],
        help=f"the row of a special token: {', '.join(SPECIAL_NAMES)}",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "sources",
        metavar="SRC",
        nargs="+",
        help="paths or URLs, or - for standard input; behind them the vocabulary: tokens, one a "
        "line, or .csv, .tsv, .json",
    )
    parser.add_argument("target", metavar="DST", help="a store (.safetensors)")
    parser.add_argument("--vocabulary", metavar="FILE", help="the vocabulary, wherever you like")
    parser.add_argument(
        "--tokenizer", action="store_true", help="the vocabulary is a Hugging Face tokenizer.json"
    )
    parser.add_argument(
        "--match",
        type=lambda text: tuple(text.split(",")),
        default=("exact", "lower"),
        metavar="STAGE,...",
        help=f"in this order, joined by + where one follows another: {', '.join(FOLDS)}",
    )
    _add_special(parser)
    parser.add_argument("--fold-file", action="store_true", help="fold the file's tokens, too")
    parser.add_argument("--oov", choices=OOV_NAMES, default="zeros", help="rows of missing tokens")
    parser.add_argument("--seed", type=int, default=0, help="of --oov normal and hash")
    parser.add_argument("--combine", choices=["first", "concat"], default="first")
    parser.add_argument("--normalize", choices=["l2"])
    parser.add_argument("--center", action="store_true")
    parser.add_argument("--dim", type=positive, help="keep this many values of a row")
    parser.add_argument("--reduce", choices=["first", "pca"], default="first")
    parser.add_argument("--all-but-the-top", type=count, default=0, metavar="N")
    parser.add_argument(
        "--report",
        metavar="FILE",
        action="append",
        default=[],
        help="coverage, as .md, .json, .png or .svg; may be given several times",
    )
    add_reading(parser)
    add_rows(parser)
    parser.set_defaults(run=partial(_align, parser))


def _align(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    sources, listed = list(options.sources), options.vocabulary
    if listed is None and len(sources) < 2:
        parser.error("the following arguments are required: a vocabulary, before DST")
    listed = sources.pop() if listed is None else listed
    make = Vocabulary.from_tokenizer if options.tokenizer else Vocabulary.from_file
    names = ("match", "fold_file", "oov", "seed", "combine")
    transforms = ("normalize", "center", "dim", "reduce", "all_but_the_top")
    if check_target(options.target) != "store":
        raise FileError(
            "an aligned table is written as a store: name it *.safetensors (convert it then)",
            path=options.target,
        )
    if options.target in options.report:
        raise FileError("the report needs another name than the table", path=options.target)
    for path in (options.target, *options.report):
        check_output(path, overwrite=options.force)
    aligned = load(
        [input_of(source) for source in sources],
        make(listed, **_special(options)),
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
    if aligned.coverage is not None:
        print(aligned.coverage)
    print(f"{options.target}: {len(aligned):,} rows of {aligned.dim}, digest {aligned.digest}")


def _special(options: argparse.Namespace) -> dict[str, Any]:
    """The special tokens of the vocabulary that were named."""
    named = {name: getattr(options, name) for name in ("padding", "unknown", "special")}
    given = {name: token for name, token in named.items() if token is not None}
    if options.special_listed:
        given["special_first"] = False
    return {"padding": None, "unknown": None, **given} if options.no_special else given


def _special_row(text: str) -> tuple[str, str]:
    token, equals, row = text.rpartition("=")
    if not equals or row not in SPECIAL_NAMES:
        raise argparse.ArgumentTypeError(
            f"TOKEN=ROW is needed, ROW one of {', '.join(SPECIAL_NAMES)}, received {text!r}"
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
