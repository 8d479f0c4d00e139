"""The command line: it parses, calls and prints."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, BinaryIO, cast

from embedfreeze.align import AlignedEmbeddings, load
from embedfreeze.aligning.folds import FOLDS
from embedfreeze.aligning.unknown import OOV_NAMES, SPECIAL_NAMES
from embedfreeze.convert import convert
from embedfreeze.errors import (
    EmbedFreezeError,
    FileError,
    FormatError,
    UnknownTokenError,
    VocabularyError,
)
from embedfreeze.files import (
    SPOOL_LIMIT,
    atomic_output,
    byte_count,
    check_output,
    spooled_input,
)
from embedfreeze.formats import FORMATS, check_target
from embedfreeze.formats.inspecting.diagnosis import diagnose
from embedfreeze.storage import DTYPES
from embedfreeze.vocabulary import Vocabulary

__all__ = ["STATUSES", "main"]

DONE, FAILED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130
# What ends a command, and the exit status it has then: the first kind that fits counts.
STATUSES: dict[type[BaseException], int] = {
    FormatError: 4,
    FileError: 3,
    VocabularyError: 5,
    UnknownTokenError: 5,
    EmbedFreezeError: FAILED,
    MemoryError: FAILED,
    OSError: FAILED,  # such as no memory for a mapping
    ValueError: WRONG_CALL,  # options that contradict each other
}
STATUS_HELP = """\
exit status:
  0    done
  1    any other error, also of memory; or the reader of the output had enough; `inspect`: the file
       cannot be loaded, and the output says why
  2    a wrong call
  3    a file cannot be opened, found, created or replaced
  4    the content of a file is bad
  5    tokens or a vocabulary contradict each other
  130  interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status says which kind of error ended it, as ``--help`` lists.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.
    """
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    if isinstance(sys.stdout, io.TextIOWrapper):  # a token may be more than the terminal can show
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        status: int | None = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
        return FAILED
    except tuple(STATUSES) as error:
        print(f"embedfreeze: error: {str(error) or 'out of memory'}", file=sys.stderr)
        return next(status for kind, status in STATUSES.items() if isinstance(error, kind))
    except KeyboardInterrupt:
        print("embedfreeze: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status or DONE


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"embedfreeze: warning: {message}", file=sys.stderr)


def _count(text: str) -> int:
    """A number of things, in digits."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"a whole number is needed, received {text!r}")
    return int(text)


def _positive(text: str) -> int:
    """At least one thing."""
    if not _count(text):
        raise argparse.ArgumentTypeError("at least 1 is needed, received 0")
    return int(text)


def _bytes(text: str) -> int:
    """A number of bytes, also as 8G."""
    try:
        return byte_count(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _input(name: str) -> str | BinaryIO:
    """A path, or standard input for ``-``."""
    return name if name != "-" else _standard("stdin")


def _standard(name: str) -> BinaryIO:
    stream = getattr(getattr(sys, name), "buffer", None)
    if stream is None:
        raise FileError("is closed: name a file", path=f"<{name}>")
    return cast(BinaryIO, stream)


def _format(text: str) -> str:
    """The name of a format."""
    if text not in FORMATS:
        raise argparse.ArgumentTypeError(
            f"one of {', '.join(FORMATS)} is needed, received {text!r}"
        )
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="embedfreeze",
        description="Pretrained word embeddings: convert, inspect, and freeze them in TensorFlow.",
        epilog=STATUS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_convert(commands.add_parser("convert", help="convert an embedding file"))
    _add_align(commands.add_parser("align", help="a store with the rows of your vocabulary"))
    _add_inspect(
        commands.add_parser(
            "inspect", help="say what an embedding file is, and if it can be loaded"
        )
    )
    _add_demo(commands.add_parser("demo", help="the main job on the bundled real sample"))
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="from_format", type=_format, metavar="FORMAT", help="default: by content"
    )
    parser.add_argument(
        "--member", help="member of an archive, dataset of an HDF5 file, or both: MEMBER:DATASET"
    )
    parser.add_argument(
        "--tokens", help="what holds the tokens inside of the file, or a file that lists them"
    )
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="read a Python pickle, which can run any code: only if you trust who made it",
    )
    parser.add_argument(
        "--spool-limit",
        type=_bytes,
        default=SPOOL_LIMIT,
        metavar="BYTES",
        help=f"what may be unpacked into a temporary file, such as 8G; default: "
        f"{SPOOL_LIMIT >> 30}G",
    )


def _add_rows(parser: argparse.ArgumentParser) -> None:
    """Options of `ReadOptions`; `_rows` gathers them."""
    parser.add_argument("--limit", type=_count, help="at most this many rows from the start")
    parser.add_argument("--dtype", choices=DTYPES, help="how the rows are stored")
    parser.add_argument("--on-bad-row", choices=["error", "skip"], default="error")
    parser.add_argument("--on-duplicate", choices=["first", "last", "error"], default="first")
    parser.add_argument(
        "--unicode-errors",
        choices=["strict", "replace", "ignore", "surrogateescape", "backslashreplace"],
        default="strict",
    )
    parser.add_argument("--threads", type=_positive)
    parser.add_argument("--force", action="store_true", help="replace DST if it exists")


def _rows(options: argparse.Namespace) -> dict[str, Any]:
    names = ("tokens", "limit", "dtype", "on_bad_row", "on_duplicate", "unicode_errors", "threads")
    return {name: getattr(options, name) for name in (*names, "allow_pickle", "spool_limit")}


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC", help="a path or URL, or - for standard input")
    parser.add_argument(
        "target",
        metavar="DST",
        help="- for standard output; a name that ends in .gz .bz2 .xz .zst or .zip compresses",
    )
    _add_reading(parser)
    parser.add_argument(
        "--to", dest="to_format", type=_format, metavar="FORMAT", help="default: by DST's name"
    )
    parser.add_argument(
        "--vocabulary", metavar="FILE", help="only the tokens of this file, one a line"
    )
    _add_rows(parser)
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> None:
    vocabulary = None
    if options.vocabulary is not None:
        vocabulary = Vocabulary.from_file(options.vocabulary, padding=None, unknown=None)
    piped = options.target == "-"
    done = convert(
        _input(options.source),
        _standard("stdout") if piped else options.target,
        from_format=options.from_format,
        to_format=options.to_format,
        member=options.member,
        vocabulary=vocabulary,
        overwrite=options.force,
        **_rows(options),
    )
    print(done, file=sys.stderr if piped else sys.stdout)


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


def _add_align(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", metavar="SRC", nargs="+", help="paths or URLs, or - for standard input"
    )
    parser.add_argument("target", metavar="DST", help="a store (.safetensors)")
    parser.add_argument(
        "--vocabulary",
        metavar="FILE",
        required=True,
        help="tokens, one a line, or .csv, .tsv, .json",
    )
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
    parser.add_argument("--dim", type=_positive, help="keep this many values of a row")
    parser.add_argument("--reduce", choices=["first", "pca"], default="first")
    parser.add_argument("--all-but-the-top", type=_count, default=0, metavar="N")
    parser.add_argument("--report", metavar="FILE", help="coverage, as .md or .json")
    _add_reading(parser)
    _add_rows(parser)
    parser.set_defaults(run=_align)


def _align(options: argparse.Namespace) -> None:
    make = Vocabulary.from_tokenizer if options.tokenizer else Vocabulary.from_file
    names = ("match", "fold_file", "oov", "seed", "combine")
    transforms = ("normalize", "center", "dim", "reduce", "all_but_the_top")
    if check_target(options.target) != "store":
        raise FileError(
            "an aligned table is written as a store: name it *.safetensors (convert it then)",
            path=options.target,
        )
    if options.report == options.target:
        raise FileError("the report needs another name than the table", path=options.report)
    for path in filter(None, (options.target, options.report)):
        check_output(path, overwrite=options.force)
    aligned = load(
        [_input(source) for source in options.sources],
        make(options.vocabulary, **_special(options)),
        special=dict(options.special_row),
        format=options.from_format,
        member=options.member,
        **{name: getattr(options, name) for name in (*names, *transforms)},
        **_rows(options),
    )
    report = None if options.report is None else _report(aligned, options.report)
    aligned.save(options.target, overwrite=options.force)
    if report is not None:
        with atomic_output(options.report, overwrite=options.force) as file:
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
    text = coverage.to_markdown()  # looks spellings up, also for JSON
    if path.endswith(".json"):
        text = json.dumps(coverage.to_dict(), indent=1)
    return text.encode("utf-8", "backslashreplace")


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="a path or URL, or - for standard input")
    _add_reading(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.add_argument(
        "--no-scan", dest="scan", action="store_false", help="look at its head alone, not its rows"
    )
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    """The diagnosis is the output, also that of a file that is missing or damaged."""
    if options.path != "-":
        return _diagnose(options.path, options)
    with spooled_input(_standard("stdin"), options.spool_limit) as file:  # it is gone through again
        return _diagnose(file, options)


def _diagnose(path: str | BinaryIO, options: argparse.Namespace) -> int:
    found = diagnose(
        path,
        format=options.from_format,
        member=options.member,
        tokens=options.tokens,
        allow_pickle=options.allow_pickle,
        scan=options.scan,
        spool_limit=options.spool_limit,
    )
    print(json.dumps(found.to_dict()) if options.json else found)
    return DONE if found.loadable else FAILED


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="data", help="folder of the bundled sample")
    parser.add_argument("--epochs", type=int, default=20)
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start is chatty
    from embedfreeze.demo import run

    run(options.data, epochs=options.epochs)
