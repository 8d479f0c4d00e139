"""The command line: it parses, calls and prints."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from embedfreeze.errors import (
    EmbedFreezeError,
    FileError,
    FormatError,
    UnknownTokenError,
    VocabularyError,
)

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
COMMANDS = {
    "convert": "convert an embedding file",
    "align": "a store with the rows of your vocabulary",
    "vocabulary": "the tokens of your texts, by how often they occur",
    "encode": "your texts as ids or pooled vectors, in files to train on",
    "report": "a page to look at: coverage, norms, a map of tokens, neighbours, a proof",
    "inspect": "say what an embedding file is, and if it can be loaded",
    "neighbours": "the nearest tokens by cosine",
    "evaluate": "word similarity and analogies: how well vectors agree with people",
    "projector": "what TensorBoard's Embedding Projector shows",
    "demo": "the main job on the bundled real sample",
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
    try:
        options = _parser().parse_args(arguments)
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


class _CommandParser(argparse.ArgumentParser):
    """The parser of a command.

    Its options are added when it is called: what they need takes longer to load than the rest of
    ``embedfreeze --help`` takes.
    """

    def parse_known_args(self, *arguments: Any) -> Any:  # type: ignore[override]
        name = self.prog.split()[-1]
        import_module(f"embedfreeze.commands.{name}").add_options(self)
        return super().parse_known_args(*arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="embedfreeze",
        description="Pretrained word embeddings: convert, inspect, and freeze them in TensorFlow.",
        epilog=STATUS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", parser_class=_CommandParser
    )
    for name, told in COMMANDS.items():
        commands.add_parser(name, help=told)
    return parser
