"""The verb `inspect`: what a file is, and what is odd or wrong about it, without loading it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from embedfreeze import storage
from embedfreeze.coverage import MISSING
from embedfreeze.embeddings import Embeddings
from embedfreeze.files import (
    SPOOL_LIMIT,
    PathLike,
    PathOrFile,
    Source,
    name_of,
)
from embedfreeze.formats.base import Format, Reading, ReadOptions
from embedfreeze.formats.folders import main_file
from embedfreeze.formats.inspecting.filenames import name_remark
from embedfreeze.formats.inspecting.remarks import Remark
from embedfreeze.formats.inspecting.scanning import Scan, quiet
from embedfreeze.formats.inspecting.scanning import scan as scan_rows
from embedfreeze.formats.verbs import open_reading
from embedfreeze.plainlines import bytes_told

__all__ = ["Inspection", "ends", "inspect", "kind_line", "without_path"]

FIRST = 5  # tokens that are shown
SUBWORDS = (
    'has vectors of n-grams: oov="subword" (--oov subword) makes rows of missing tokens, when '
    "aligned from this file"
)


@dataclass(frozen=True)
class Inspection:
    """What `inspect` finds out about a file.

    Attributes
    ----------
    path, format : str
        The file, and the name of its format.
    container, member : str or None
        What it is packed in, as "gzip", and which member of an archive was looked at.
    file_bytes : int or None
        None for a file object that does not tell.
    rows : int or None
        None where counting would mean decompressing the whole file, which was not asked for.
    dim : int
        Values in a row.
    dtype : str
        How rows are stored.
    first_tokens : tuple of str
        The first of them, with escapes for what is not UTF-8.
    notes : tuple of str
        What the format says of the file.
    findings : tuple of Remark
        What is odd about its rows, by kind; with ``scan=False`` about its name alone.
    problem : str or None
        Why the file cannot be loaded, where that shows behind its head.
    """

    path: str
    format: str
    container: str | None
    member: str | None
    file_bytes: int | None
    rows: int | None
    dim: int
    dtype: str
    first_tokens: tuple[str, ...]
    notes: tuple[str, ...]
    findings: tuple[Remark, ...] = ()
    problem: str | None = None

    @property
    def loadable(self) -> bool:
        """Whether `read` can read it."""
        return self.problem is None

    @property
    def matrix_bytes(self) -> int | None:
        """Bytes of the whole matrix in memory."""
        if self.rows is None:
            return None
        return self.rows * storage.row_bytes(self.dtype, self.dim)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {**asdict(self), "matrix_bytes": self.matrix_bytes, "loadable": self.loadable}

    def __str__(self) -> str:
        rows = "not counted (compressed)" if self.rows is None else f"{self.rows:,}"
        size = "" if self.matrix_bytes is None else f", {bytes_told(self.matrix_bytes)} in memory"
        lines = [
            f"{self.path}",
            kind_line(self.format, self.container, self.file_bytes),
            f"  rows    {rows}",
            f"  dim     {self.dim} ({self.dtype}{size})",
            f"  tokens  {' '.join(map(repr, self.first_tokens))} ...",
        ]
        lines += [f"  note    {note}" for note in self.notes]
        return "\n".join(lines + ends(self.findings, self.problem))

    def _repr_html_(self) -> str:
        from embedfreeze.htmltext import code, join, table
        from embedfreeze.notebook import facts_html

        in_memory = self.matrix_bytes
        found = {
            "format": f"{self.format} in {self.container}" if self.container else self.format,
            "member": self.member,
            "file": None if self.file_bytes is None else bytes_told(self.file_bytes),
            "rows": "not counted (compressed)" if self.rows is None else f"{self.rows:,}",
            "dim": f"{self.dim} ({self.dtype})",
            "in memory": None if in_memory is None else bytes_told(in_memory),
            "first tokens": join(map(code, self.first_tokens), " "),
            "cannot be loaded": self.problem,
        }
        said = [*self.notes, *(finding.message for finding in self.findings)]
        told = [table(["what is known of it"], [[one] for one in said])] if said else []
        return facts_html(self.path, found, *told)


def kind_line(format: str, container: str | None, file_bytes: int | None) -> str:
    """What a file is, as a line of a diagnosis."""
    packed = f" in {container}" if container else ""
    file = "" if file_bytes is None else f", {bytes_told(file_bytes)}"
    return f"  format  {format}{packed}{file}"


def ends(findings: tuple[Remark, ...], problem: str | None) -> list[str]:
    """The last lines of a diagnosis: what is odd, and what is wrong."""
    lines = [f"  found   {finding.message}" for finding in findings]
    return lines + ([] if problem is None else [f"  problem cannot be loaded: {problem}"])


def inspect(
    path: PathOrFile,
    *,
    format: str | None = None,
    member: str | None = None,
    tokens: PathLike | None = None,
    allow_pickle: bool = False,
    scan: bool = True,
    spool_limit: int | str = SPOOL_LIMIT,
) -> Inspection:
    """What a file is, and what is odd about it, without loading it.

    A file object is put back to where it stood; one that cannot seek is refused.

    Parameters
    ----------
    path, format, member, tokens, allow_pickle, spool_limit
        As for `read`.
    scan : bool
        Read all rows, in bounded memory, to say what is odd about them, and if the file can be
        loaded: that costs about as much as to convert it. False: look at its head alone.

    Returns
    -------
    Inspection
        What was found, to print.

    Raises
    ------
    FileError
        The file cannot be opened.
    FormatError
        Its head says that it cannot be loaded; the message says why. What is wrong behind its head
        is the `problem` of the result.

    Examples
    --------
    >>> inspect("data/glove.6B.50d.sample.txt").format
    'glove'
    """
    given = {"tokens": tokens, "allow_pickle": allow_pickle, "spool_limit": spool_limit}
    opened = partial(open_reading, path, format=format, member=member)
    notes: list[str] = []
    with quiet(notes, name_of(main_file(path, format))):
        first = _first_tokens(*opened(_shown(given, limit=FIRST)))
        source, found, reading = opened(_shown(given, on_bad_row="skip") if scan else _shown(given))
        with source:
            source.needed_again()
            again = partial(opened, _shown(given))
            scanned = scan_rows(source, reading, again) if scan else None
            if reading.ready is not None:
                reading.notes += _alignment_notes(reading.ready)
            if reading.subwords is not None:
                reading.notes.append(SUBWORDS)
            known = _inspection(source, found, reading, scanned)
    notes = [note for note in notes if note not in known["notes"] and note not in _said(known)]
    return Inspection(**{**known, "notes": (*known["notes"], *notes)}, first_tokens=first)


def _shown(given: dict[str, Any], **options: Any) -> ReadOptions:
    """Options under which any token can be shown."""
    return ReadOptions(unicode_errors="backslashreplace", **given, **options)


def _first_tokens(source: Source, _: Format, reading: Reading) -> tuple[str, ...]:
    with source:
        source.needed_again()
        return tuple(islice((t for batch in reading.batches for t in batch.tokens), FIRST))


def _inspection(
    source: Source, found: Format, reading: Reading, scanned: Scan | None
) -> dict[str, Any]:
    named = name_remark(source.path, found.name, source.container)
    findings = [] if named is None else [named]
    rows, problem = reading.rows, None
    if scanned is not None:
        findings += scanned.remarks
        problem = None if scanned.problem is None else without_path(scanned.problem, source.path)
        rows = scanned.rows if scanned.problem is None else rows
    return {
        "path": source.path,
        "format": found.name,
        "container": source.container,
        "member": source.member or source.part,
        "file_bytes": source.size or None,
        "rows": rows,
        "dim": reading.dim,
        "dtype": reading.dtype,
        "notes": tuple(reading.notes),
        "findings": tuple(findings),
        "problem": problem,
    }


def without_path(error: Exception, path: str) -> str:
    """What an error says, without the path that a diagnosis begins with."""
    return str(error).removeprefix(f"{path}: ")


def _said(known: dict[str, Any]) -> list[str]:
    return [finding.message for finding in known["findings"]]


def _alignment_notes(store: Embeddings) -> list[str]:
    """What a store says of the vocabulary that it was aligned to."""
    settings, record = store.special, store.alignment.coverage
    if settings is None:
        return []
    further = f", special {settings['special']}" if settings["special"] else ""
    notes = [
        f"aligned to a vocabulary: padding {settings['padding']!r}, unknown "
        f"{settings['unknown']!r}{further}"
    ]
    if record is not None:
        best = record.stages.max(axis=0)
        found, asked = np.count_nonzero(best >= 0), np.count_nonzero(best >= MISSING)
        notes.append(f"{found:,} of {asked:,} types found (ef.read(...).coverage tells more)")
    return notes
