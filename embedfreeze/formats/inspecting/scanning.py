"""A file is read from its first row to its last, and what is odd about it is collected."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from embedfreeze.errors import EmbedFreezeError, FormatError
from embedfreeze.files import Source
from embedfreeze.formats.base import Format, Reading
from embedfreeze.formats.inspecting.remarks import Remark
from embedfreeze.formats.inspecting.tokenscan import TokenScan
from embedfreeze.formats.inspecting.valuescan import ValueScan
from embedfreeze.formats.progress import tracked

__all__ = ["Scan", "quiet", "scan"]

Opened = tuple[Source, Format, Reading]
HEADER_ROWS = re.compile(r"the header says \d+ rows, found \d+")  # as the readers of text say


@dataclass(frozen=True, eq=False)
class Scan:
    """What reading a whole file showed.

    Attributes
    ----------
    rows : int
        Rows that were read.
    problem : EmbedFreezeError or None
        What ends the reading of the file.
    remarks : list of Remark
        What is odd about it.
    """

    rows: int
    problem: EmbedFreezeError | None
    remarks: list[Remark] = field(default_factory=list)


@contextmanager
def quiet(notes: list[str], path: str) -> Iterator[None]:
    """Warnings become notes: what a diagnosis says is not said twice."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        message = str(warning.message).removeprefix(f"{path}: ")
        if message not in notes:
            notes.append(message)


def scan(source: Source, reading: Reading, again: Callable[[], Opened]) -> Scan:
    """Read all batches; bad rows are counted, and what is said of the first is what `again` says.

    `reading` skips bad rows; `again` opens the file anew and refuses them.
    """
    tokens, values = TokenScan(), ValueScan(reading.dtype)
    problem: EmbedFreezeError | None = None
    try:
        for batch in tracked(source, reading, "inspect"):
            tokens.add(batch)
            values.add(batch)
        if reading.sealed is not None:
            reading.sealed.verify_store(source.name)
        if not tokens.rows:
            problem = FormatError("has no rows", path=source.name)
    except EmbedFreezeError as error:
        problem = error.with_traceback(None)  # whose frames would keep the file open
    remarks = [*_bad_rows(reading), *_of_reading(reading)]
    if tokens.rows:
        remarks += [*tokens.remarks(), *values.remarks()]
    if reading.skipped:
        problem = _first_error(again) or problem
    return Scan(tokens.rows, problem, remarks)


def _first_error(again: Callable[[], Opened]) -> EmbedFreezeError | None:
    try:
        source, _, reading = again()
        with source:
            for _ in reading.batches:
                pass
    except EmbedFreezeError as error:
        return error
    return None


def _bad_rows(reading: Reading) -> Iterator[Remark]:
    if reading.first_skipped is not None:
        (kind, value), *_ = reading.first_skipped.items()
        message = (
            f"bad rows: {reading.skipped:,}; the first is at {kind} {value}: "
            f'on_bad_row="skip" (--on-bad-row skip) leaves them out'
        )
        yield Remark("bad-rows", message, reading.skipped, place=dict(reading.first_skipped))


def _of_reading(reading: Reading) -> Iterator[Remark]:
    """What the reader found, which need not stand among the notes, too."""
    for note in list(reading.notes):
        if HEADER_ROWS.match(note):
            reading.notes.remove(note)
            yield Remark("header-rows", note)
    for _, found in sorted(reading.findings.items()):
        if str(found) in reading.notes:
            reading.notes.remove(str(found))
        yield Remark(found.kind, str(found), found.count, found.token, dict(found.place))
