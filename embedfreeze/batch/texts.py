"""Texts out of a corpus, and what is done with records that hold none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from embedfreeze.errors import FormatError

__all__ = ["BadRecords", "Columns", "OnBadRecord", "Part", "Texts", "gathered"]

Name = str | int
OnBadRecord = Literal["error", "skip"]


@dataclass(frozen=True)
class Columns:
    """Where a record has what: names, or places from 0.

    Attributes
    ----------
    text : str or int, optional
        Default: the one called "text", or the only one.
    label, id : str or int, optional
        Carried along where they are named.
    header : bool, optional
        Do CSV and TSV files begin with names? Default: yes, unless places are given alone.
    """

    text: Name | None = None
    label: Name | None = None
    id: Name | None = None
    header: bool | None = None

    @property
    def has_header(self) -> bool:
        if self.header is not None:
            return self.header
        given = [name for name in (self.text, self.label, self.id) if name is not None]
        return not given or any(isinstance(name, str) for name in given)


@dataclass(frozen=True, eq=False)
class Texts:
    """Records that follow each other in a file.

    Attributes
    ----------
    texts : list of str
        One a record.
    labels, ids : list or None
        As the file has them, where they were asked for.
    """

    texts: list[str]
    labels: list[Any] | None = None
    ids: list[Any] | None = None


@dataclass
class BadRecords:
    """Refuses records, or counts those that are left out.

    Attributes
    ----------
    path : str
        The file, for messages.
    on_bad_record : {"error", "skip"}
        What to do.
    count : int
        Records left out so far.
    first : str or None
        What was wrong with the first of them.
    """

    path: str
    on_bad_record: OnBadRecord
    count: int = 0
    first: str | None = None

    def add(self, rule: str, **place: int) -> None:
        """A record that breaks a rule; `FormatError` unless it may be skipped."""
        if self.on_bad_record == "error":
            raise FormatError(
                f'{rule}: mend it, or leave such records out with on_bad_record="skip" '
                f"(--on-bad-record skip)",
                path=self.path,
                **place,
            )
        self.count += 1
        if self.first is None:
            self.first = str(FormatError(rule, path=self.path, **place))


def gathered(records: list[list[Any]], columns: Columns) -> Texts:
    """Records, each a text, then a label and an id where those are asked for, side by side."""
    texts, *more = map(list, zip(*records, strict=True)) if records else ([], [], [])
    labels = None if columns.label is None else more.pop(0)
    return Texts(texts, labels, None if columns.id is None else more.pop(0))


@dataclass(frozen=True)
class Part:
    """A piece of a corpus that is read by one process.

    Attributes
    ----------
    path : str
        The file.
    start, stop : int or None
        Bytes of the file, from the start of a line to the end of one, or row groups; None reads
        the file as a stream.
    size : int
        Bytes on the disk, for a progress bar.
    """

    path: str
    start: int | None = None
    stop: int | None = None
    size: int = field(default=0, compare=False)
