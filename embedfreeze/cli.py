"""The command line: it parses, calls and prints."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import warnings
from collections.abc import Sequence

from embedfreeze.convert import convert
from embedfreeze.errors import EmbedFreezeError
from embedfreeze.formats import FORMATS, inspect
from embedfreeze.vocabulary import Vocabulary

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 for an error, 2 for a wrong call.

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
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
        return 1
    except (EmbedFreezeError, MemoryError) as error:
        print(f"embedfreeze: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("embedfreeze: interrupted", file=sys.stderr)
        return 130
    return 0


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="embedfreeze",
        description="Pretrained word embeddings: convert, inspect, and freeze them in TensorFlow.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_convert(commands.add_parser("convert", help="convert an embedding file"))
    _add_inspect(commands.add_parser("inspect", help="say what an embedding file is"))
    _add_demo(commands.add_parser("demo", help="the main job on the bundled real sample"))
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="from_format", choices=FORMATS, help="default: by content")
    parser.add_argument("--member", help="member of an archive, or dataset of an HDF5 file")


def _add_tokens(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", help="HDF5: dataset of the tokens, or a file, one a line")


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("target", metavar="DST", help="a name that ends in .gz or .zip compresses")
    _add_reading(parser)
    parser.add_argument("--to", dest="to_format", choices=FORMATS, help="default: by DST's name")
    _add_tokens(parser)
    parser.add_argument("--limit", type=_count, help="at most this many rows from the start")
    parser.add_argument(
        "--vocabulary", metavar="FILE", help="only the tokens of this file, one a line"
    )
    parser.add_argument("--dtype", choices=["float32", "float16"])
    parser.add_argument("--on-bad-row", choices=["error", "skip"], default="error")
    parser.add_argument("--on-duplicate", choices=["first", "last", "error"], default="first")
    parser.add_argument(
        "--unicode-errors",
        choices=["strict", "replace", "ignore", "surrogateescape", "backslashreplace"],
        default="strict",
    )
    parser.add_argument("--threads", type=_positive)
    parser.add_argument("--force", action="store_true", help="replace DST if it exists")
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> None:
    vocabulary = None
    if options.vocabulary is not None:
        vocabulary = Vocabulary.from_file(options.vocabulary, padding=None, unknown=None)
    done = convert(
        options.source,
        options.target,
        from_format=options.from_format,
        to_format=options.to_format,
        member=options.member,
        vocabulary=vocabulary,
        overwrite=options.force,
        tokens=options.tokens,
        limit=options.limit,
        dtype=options.dtype,
        on_bad_row=options.on_bad_row,
        on_duplicate=options.on_duplicate,
        unicode_errors=options.unicode_errors,
        threads=options.threads,
    )
    print(done)


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH")
    _add_reading(parser)
    _add_tokens(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    found = inspect(
        options.path, format=options.from_format, member=options.member, tokens=options.tokens
    )
    print(json.dumps(found.to_dict()) if options.json else found)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="data", help="folder of the bundled sample")
    parser.add_argument("--epochs", type=int, default=20)
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start is chatty
    from embedfreeze.demo import run

    run(options.data, epochs=options.epochs)
