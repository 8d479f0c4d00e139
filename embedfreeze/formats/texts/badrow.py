"""What is wrong with a row of text, where, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from embedfreeze.errors import FormatError

__all__ = ["NOT_A_NUMBER", "BadRow"]

TOO_FEW, NOT_A_NUMBER = 1, 2  # the reasons of the kernel's parse_rows
HEADER_LIKE = re.compile(rb"[+-]?\d+ [+-]?\d+\s*")


@dataclass(frozen=True)
class BadRow:
    """A line of text that is no row.

    Attributes
    ----------
    line : bytes
        Without its line feed.
    number : int
        1-based.
    last : bool
        No other line with content follows.
    delimiter : bytes
        What stands between its fields.
    """

    line: bytes
    number: int
    last: bool
    delimiter: bytes = b" "

    def error(
        self, path: str, dim: int, reason: int, good: int, column: int | None = None
    ) -> FormatError:
        """The error, where `good` fields from the right are numbers."""
        line = self.line.removesuffix(b"\r").removesuffix(self.delimiter)
        if not line.strip():
            received = "a blank line"
        elif reason == NOT_A_NUMBER:
            column = column or line.count(self.delimiter) + 1 - good
            field = line.rsplit(self.delimiter, good)[0].rpartition(self.delimiter)[2]
            received = f"{_shown(field)} where a number must stand"
        else:
            received = f"{good} numbers"
        return FormatError(
            f"a row must be a token and {dim} numbers, received {received}: "
            f"{self._remedy(line, dim, reason)}",
            path=path,
            line=self.number,
            column=column,
        )

    def _remedy(self, line: bytes, dim: int, reason: int) -> str:
        if reason == TOO_FEW and line.strip():
            if self.last:
                return "this is the last row: the file was probably cut off, get it again"
            if self.number == 1 and HEADER_LIKE.fullmatch(line):
                return (
                    f"if this is a header, it must be the number of rows and {dim}; mend it, or "
                    f"take it out"
                )
        return 'mend the file, or skip such rows with on_bad_row="skip" (--on-bad-row skip)'


def _shown(field: bytes) -> str:
    """A field, as far as a message has room for it."""
    text = field[:40].decode("utf-8", "backslashreplace")
    return repr(text) + ("..." if len(field) > 40 else "") if field else "an empty field"
