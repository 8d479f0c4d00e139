"""What a command says to people, and to programs that read it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["one_line", "show", "tell", "without_noise"]


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

    print(json.dumps(found, allow_nan=False) if options.json else told)


@contextmanager
def without_noise() -> Iterator[None]:
    """Keep off standard error what native code writes there, such as TensorFlow as it is imported.

    It is written all the same where the import fails, because it may say why.
    """
    import tempfile

    with tempfile.TemporaryFile() as noise:
        kept = os.dup(2)
        os.dup2(noise.fileno(), 2)
        try:
            yield
        except Exception:
            noise.seek(0)
            os.write(kept, noise.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
