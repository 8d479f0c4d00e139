"""Texts out of a corpus, and what is done with records that hold none."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from embedfreeze.errors import FormatError

__all__ = ["BadRecords", "Columns", "LabelDtype", "OnBadRecord", "Part", "Texts", "gathered"]

Name = str | int
OnBadRecord = Literal["error", "skip"]
LabelDtype = Literal["int64", "float32"]
LABEL_LIMIT = 1 << 63


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
    label_names : tuple of str, optional
        What labels are called; each becomes its place among them. Default: labels are numbers.
    label_dtype : {"int64", "float32"}
        Of labels that are numbers.
    """

    text: Name | None = None
    label: Name | None = None
    id: Name | None = None
    header: bool | None = None
    label_names: tuple[str, ...] | None = None
    label_dtype: LabelDtype = "int64"

    @property
    def has_header(self) -> bool:
        if self.header is not None:
            return self.header
        given = [name for name in (self.text, self.label, self.id) if name is not None]
        return not given or any(isinstance(name, str) for name in given)

    @property
    def label_kind(self) -> LabelDtype:
        """The dtype of labels: a place among names is a whole number."""
        return self.label_dtype if self.label_names is None else "int64"

    def record(self, values: list[Any]) -> list[Any]:
        """A record as it is handed on: its text, its label as a number, its id as a text.

        Raises
        ------
        ValueError
            The text is none, or the label is no number or has none of the names.
        """
        if not isinstance(values[0], str):
            name = "text" if self.text is None else self.text
            raise ValueError(f"{name!r} must be a text, received {values[0]!r:.60}")
        if self.label is not None:
            values[1] = self._label(values[1])
        if self.id is not None:
            values[-1] = _id(values[-1])
        return values

    def _label(self, found: Any) -> int | float:
        if self.label_names is not None:
            if str(found) not in self.label_names:
                raise ValueError(
                    f"a label must be one of {', '.join(self.label_names)}, received {found!r:.60}"
                )
            return self.label_names.index(str(found))
        number, as_float = _number(found), self.label_dtype == "float32"
        if abs(number) < LABEL_LIMIT and (as_float or number == int(number)):
            return float(number) if as_float else int(number)
        kind = "a number" if as_float else "a whole number"
        raise ValueError(f"a label must be {kind}, received {found!r:.60}")


def _number(found: Any) -> int | float:
    """A number, or NaN for what is none; whole numbers are exact."""
    if isinstance(found, str) and "_" in found:
        return math.nan
    with suppress(TypeError, ValueError):
        whole = found if isinstance(found, float) else int(found)
        if isinstance(found, str) or whole == found:  # a decimal is cut
            return whole
    with suppress(TypeError, ValueError):
        return float(found)
    return math.nan


def _id(found: Any) -> str:
    if not isinstance(found, str | int):
        raise ValueError(f"an id must be a text or a whole number, received {found!r:.60}")
    try:
        str(found).encode()
    except UnicodeEncodeError:
        raise ValueError(f"an id must be UTF-8, received {found!r:.60}") from None
    return str(found)


@dataclass(frozen=True, eq=False)
class Texts:
    """Records that follow each other in a file.

    Attributes
    ----------
    texts : list of str
        One a record.
    labels : list of int or of float, or None
        Where they were asked for.
    ids : list of str or None
        Where they were asked for.
    """

    texts: list[str]
    labels: list[int] | list[float] | None = None
    ids: list[str] | None = None

    def part(self, start: int, stop: int) -> Texts:
        """Some of them."""
        if (start, stop) == (0, len(self.texts)):
            return self
        labels, ids = self.labels, self.ids
        return Texts(
            self.texts[start:stop],
            None if labels is None else labels[start:stop],
            None if ids is None else ids[start:stop],
        )


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
