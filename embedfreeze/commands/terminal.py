"""What a command says to people, and to programs that read it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["one_line", "show", "tell"]


def one_line(text: str) -> str:
    """A message as a line of its own, of which nothing reaches a terminal as a command.

    Examples
    --------
    >>> one_line("a file\\n  of two lines \\x1b[31m")
    'a file of two lines \\\\x1b[31m\\n'
    """
    joined = " ".join(filter(None, (part.strip() for part in text.split("\n"))))
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in joined) + "\n"


def tell(text: str) -> None:
    """A line on standard error, where there is one and somebody reads it."""
    try:
        if sys.stderr is not None:
            sys.stderr.write(one_line(text))
            sys.stderr.flush()
    except (OSError, ValueError):  # the reader went away, or the stream is closed
        pass


def show(options: argparse.Namespace, told: object, found: Mapping[str, Any]) -> None:
    """What was done: text for people, or with ``--json`` one object for a program."""
    import json

    print(json.dumps(found) if options.json else told)
