"""The command line: it parses, calls and prints."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from embedfreeze.commands.parsing import CommandLineParser
from embedfreeze.commands.terminal import tell
from embedfreeze.errors import (
    EmbedFreezeError,
    FileError,
    FormatError,
    FrozenBytesChanged,
    UnknownTokenError,
    VocabularyError,
    reason,
)

__all__ = ["COMMANDS", "STATUSES", "main"]

DONE, FAILED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130
# What ends a command, and the exit status it has then: the first kind that fits counts.
STATUSES: dict[type[BaseException], int] = {
    FormatError: 4,
    FileError: 3,
    VocabularyError: 5,
    UnknownTokenError: 5,
    FrozenBytesChanged: 6,
    EmbedFreezeError: FAILED,
    MemoryError: FAILED,
    OSError: FAILED,  # such as no memory for a mapping
    ValueError: WRONG_CALL,  # options that contradict each other
}
PLACES = ("path", "line", "column", "offset", "row", "layer", "token", "block")  # of errors
COMMANDS = {
    "inspect": "say what an embedding file is, and if it can be loaded",
    "convert": "convert an embedding file",
    "vocabulary": "the tokens of your texts, by how often they occur",
    "align": "a store with the rows of your vocabulary",
    "encode": "your texts as ids or pooled vectors, in files to train on",
    "verify": "hash every frozen byte of a saved model or a store",
    "report": "a page to look at: coverage, norms, a map of tokens, a proof",
    "neighbours": "the nearest tokens by cosine",
    "evaluate": "word similarity and analogies: do the vectors agree with people",
    "projector": "what TensorBoard's Embedding Projector shows",
    "demo": "the main job on the bundled real sample",
}
# It fits a terminal of 24 lines, with the line of the next call: docs/commandline.md tells more.
HELP = """\
usage: embedfreeze [--help] [--version] COMMAND ...
Pretrained word embeddings: convert, inspect, and freeze them in TensorFlow.

commands, each with its own --help:
{commands}

examples:
  embedfreeze inspect glove.6B.50d.txt
  embedfreeze align glove.6B.50d.txt words.txt table.safetensors
  embedfreeze verify model.keras --json

exit status: 0 done, 1 other error, 2 wrong call, 3 file, 4 content of a file,
5 tokens or vocabulary, 6 frozen bytes changed, 130 interrupted
"""


def main(
    arguments: Sequence[str] | None = None, *, begin: Callable[[], object] = lambda: None
) -> int:
    """Run a command; the exit status says which kind of error ended it, as ``--help`` lists.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.
    begin : callable
        Called when the words are understood and all is imported, before the work.

    Returns
    -------
    int
        The exit status.
    """
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    if isinstance(sys.stdout, io.TextIOWrapper):  # a token may be more than the terminal can show
        sys.stdout.reconfigure(errors="backslashreplace")
    options = argparse.Namespace()
    try:
        return _run(arguments, begin, options)
    except BrokenPipeError:  # the reader, such as `head`, has enough
        status = FAILED
    except tuple(STATUSES) as error:
        tell(f"embedfreeze: error: {_said(error)}")
        status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
        if getattr(options, "json", False):
            _print_error(error, status, getattr(options, "found", {}))
    except KeyboardInterrupt:
        tell("embedfreeze: interrupted")
        status = INTERRUPTED
    _drop_unwritten()
    return status


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is None:
        return reason(error)
    return str(error) or "out of memory"


def _print_error(error: BaseException, status: int, found: Mapping[str, Any]) -> None:
    """An error as an object of JSON, with what a command has `found` out before it."""
    import json

    places = {name: place for name in PLACES if (place := getattr(error, name, None)) is not None}
    kind = {"error": type(error).__name__, "message": _said(error), "status": status}
    with contextlib.suppress(OSError):  # the error may be that nothing can be written there
        print(json.dumps({**found, **kind, **places}, default=int))


def _run(
    arguments: Sequence[str] | None, begin: Callable[[], object], options: argparse.Namespace
) -> int:
    """Call the command; its options are put into `options`."""
    try:
        _parser().parse_args(arguments, options)
        begin()
        status: int | None = options.run(options)
    finally:  # also behind a help that was asked for
        if sys.stdout is not None:
            sys.stdout.flush()
    return status or DONE


def _drop_unwritten() -> None:
    """What could not be written is not tried again, with a complaint, as Python ends."""
    if (stream := sys.stdout) is None:
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _show_warning(message: Warning | str, *_: object) -> None:
    tell(f"embedfreeze: warning: {message}")


def _version() -> str:
    """The versions that a report of a mistake needs; nothing is imported for it."""
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    found = []
    for name, shown in (("tensorflow", "TensorFlow"), ("keras", "Keras"), ("numpy", "NumPy")):
        try:
            found.append(f"{shown} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {shown}")
    told = ", ".join([f"Python {python_version()}", *found])
    return f"embedfreeze {version('embedfreeze')} ({told})"


class _ShowVersion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(_version())
        parser.exit()


class _Parser(CommandLineParser):
    """The parser of what stands before the command."""

    def parse_known_args(self, *arguments: Any) -> Any:  # type: ignore[override]
        words = sys.argv[1:] if not arguments or arguments[0] is None else list(arguments[0])
        if words[:1] == ["help"]:
            words = [*words[1:], "--help"]
        before = next((i for i, word in enumerate(words) if word[:1] != "-"), len(words))
        self.refuse_unknown_options(words[:before])
        return super().parse_known_args(words, *arguments[1:])

    def format_help(self) -> str:
        commands = "\n".join(f"  {name:<10}  {told}" for name, told in COMMANDS.items())
        return HELP.format(commands=commands)


class _CommandParser(CommandLineParser):
    """The parser of a command.

    Its options are added when it is called: what they need takes longer to load than the rest of
    ``embedfreeze --help`` takes.
    """

    def parse_known_args(self, *arguments: Any) -> Any:  # type: ignore[override]
        name = self.prog.split()[-1]
        import_module(f"embedfreeze.commands.{name}").add_options(self)
        self.refuse_unknown_options(arguments[0])
        options, more = super().parse_known_args(self.options_first(arguments[0]), *arguments[1:])
        if more := [word for word in more if word != "--"]:
            self.error(f"received more words than it takes: {' '.join(more)}")
        return options, more


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="embedfreeze")
    parser.add_argument("--version", nargs=0, action=_ShowVersion)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_CommandParser)
    for name, told in COMMANDS.items():
        commands.add_parser(name, help=told, description=f"{told.capitalize()}.")
    return parser
