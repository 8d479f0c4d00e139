"""The entries of a JSON file, taken out of it block by block."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from embedfreeze.errors import FormatError
from embedfreeze.files import Source, release_pages
from embedfreeze.formats.jsons.shapes import BLANK, Shape
from embedfreeze.formats.texts.layout import BOM

__all__ = ["SHOWN", "Entry", "entries_of"]

BLOCK_BYTES = 4 << 20
LONGEST_ENTRY = 1 << 26
SHOWN = 40  # bytes of what was received, in a message


@dataclass(frozen=True)
class Entry:
    """An entry of a JSON file.

    Attributes
    ----------
    token : bytes
        What its string stands for.
    numbers : bytes
        What stands between the brackets.
    offset : int
        Where it begins.
    position : int
        Bytes of the file on the disk that were read with it.
    """

    token: bytes
    numbers: bytes
    offset: int
    position: int


class _Reader:
    """Takes entries out of a source, block by block."""

    def __init__(self, source: Source, shape: Shape) -> None:
        self.source = source
        self.shape = shape
        self.data = b""
        self.at = self.offset = 0  # in the data, and of the data in the file
        self.ended = False
        self.blocks = self._blocks()

    def _blocks(self) -> Iterator[bytes]:
        buffer = self.source.buffer
        if buffer is None:
            for block in self.source.blocks():
                yield bytes(block)
            return
        for low in range(0, len(buffer), BLOCK_BYTES):
            yield buffer[low : low + BLOCK_BYTES]
            release_pages(buffer, low, min(low + BLOCK_BYTES, len(buffer)))

    def more(self) -> bool:
        """Read on; False at the end of the file. What is kept doubles, so that this is linear."""
        kept = self.data[self.at :]
        if len(kept) > LONGEST_ENTRY:
            raise self.error(f"an entry must be at most {LONGEST_ENTRY} bytes, received a longer")
        self.offset += self.at
        self.at = 0
        parts, size = [kept], len(kept)
        while not self.ended and size < max(BLOCK_BYTES, 2 * len(kept)):
            block = next(self.blocks, b"")
            parts.append(block)
            size += len(block)
            self.ended = not block
        self.data = b"".join(parts)
        return size > len(kept)

    def error(self, message: str) -> FormatError:
        """The error of what stands where the reader is."""
        return FormatError(message, path=self.source.name, offset=self.offset + self.at)

    def skip_blank(self) -> None:
        while True:
            found = BLANK.match(self.data, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.data) or not self.more():
                return

    def take(self, mark: bytes) -> bool:
        """Go behind a character, if it is the next one; blanks before it are skipped."""
        self.skip_blank()
        if not mark or self.data[self.at : self.at + 1] != mark:
            return False
        self.at += 1
        return True

    def next_entry(self) -> re.Match[bytes]:
        while True:
            found = self.shape.entry.match(self.data, self.at)
            if found or not self.more():
                break
        if found is None:
            here = self.data[self.at : self.at + SHOWN]
            raise self.error(
                f"an entry must be as in {self.shape.shown}, received {here!r}"
                + (": the file is cut off, get it again" if not here else ": mend the file")
            )
        return found

    def entries(self) -> Iterator[Entry]:
        """All entries, then the end of the file."""
        shape = self.shape
        if self.source.head.startswith(BOM):
            self.more()
            self.at = len(BOM)
        self.take(shape.opening)
        while not self.at_end():
            found = self.next_entry()
            position = self.offset + found.end()
            if self.source.buffer is None:
                position = self.source.position
            token, numbers = found["token"], found["numbers"]
            yield Entry(self.text_of(token), numbers, self.offset + self.at, position)
            self.at = found.end()
            if shape.separator and not self.take(shape.separator):
                self.end()
                return

    def at_end(self) -> bool:
        """Is there nothing left of a file without a closing character?"""
        self.skip_blank()
        return not self.shape.closing and self.at == len(self.data)

    def end(self) -> None:
        """The closing character, and nothing behind it."""
        closed = self.take(self.shape.closing)
        self.skip_blank()
        if not closed or self.at < len(self.data):
            here = self.data[self.at : self.at + SHOWN]
            wanted = "nothing" if closed else f"{self.shape.closing.decode()!r} or ','"
            raise self.error(
                f"{wanted} must stand behind an entry, received {here!r}: the file is damaged or "
                f"cut off, get it again"
            )

    def text_of(self, string: bytes) -> bytes:
        """The bytes that a JSON string stands for."""
        if b"\\" not in string:
            return string[1:-1]
        try:
            text: str = json.loads(string.decode("utf-8", "surrogateescape"), strict=False)
            return text.encode("utf-8", "surrogateescape")
        except (ValueError, UnicodeEncodeError) as error:
            raise self.error(
                f"a token must be a JSON string, received {string[:SHOWN]!r} ({error}): mend it"
            ) from None


def entries_of(source: Source, shape: Shape) -> Iterator[Entry]:
    """The entries of a source in the order of the file; `FormatError` where it is none."""
    return _Reader(source, shape).entries()
