"""CSV and TSV: rows of fields between commas, semicolons, bars, tabs, or any number of blanks.

The content tells the delimiter, whether there is a header row, and the columns: one of tokens, and
the values in all others. Source: RFC 4180, and what pandas, polars, R and spreadsheets write.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import IO

from embedfreeze.errors import FormatError
from embedfreeze.files import HEAD_BYTES, Output, Source, name_of
from embedfreeze.formats.base import Format, Reading, ReadOptions, Rows, Writer
from embedfreeze.formats.dimensions import dimension_places
from embedfreeze.formats.texts.delimitedrows import DelimitedColumns, ExactRows
from embedfreeze.formats.texts.delimitedsample import (
    BLANKS,
    ROW_NUMBERS,
    DelimitedSample,
    sample_of,
)
from embedfreeze.formats.texts.layout import TextLayout
from embedfreeze.formats.texts.quoting import quoted, refuse_unreadable
from embedfreeze.formats.texts.text import read_text, windows
from embedfreeze.formats.texts.writer import formatted
from embedfreeze.tokens import Tokens

__all__ = ["CSV", "TSV", "read_sample", "sampled"]

COMMAS = (b",", b";", b"|")
TABS = (b"\t", BLANKS)
NAMES = {b"\t": "tabs", BLANKS: "blanks", b",": "commas", b";": "semicolons", b"|": "bars"}


def sampled(source: Source) -> DelimitedSample | None:
    """What the first rows of a source say, if it is delimited."""
    return sample_of(source.head, complete=len(source.head) < HEAD_BYTES)


def sniff(source: Source, *, delimiters: tuple[bytes, ...]) -> bool:
    """Rows with a token and one of the delimiters?"""
    sample = sampled(source)
    if sample is None or sample.delimiter not in delimiters:
        return False
    return not sample.bare and not sample.counts


def read(source: Source, options: ReadOptions, *, delimiters: tuple[bytes, ...]) -> Reading:
    """Read a delimited file; what is odd about its columns is noted."""
    sample = sampled(source)
    if sample is None or sample.delimiter not in delimiters:
        wanted = " or ".join(NAMES[delimiter] for delimiter in delimiters)
        raise FormatError(
            f"rows must be a token and numbers with {wanted} between them, received none: leave "
            f"format= (--from) out to have the format recognised",
            path=source.name,
        )
    columns = _columns(source, sample, options)
    reading = read_sample(source, options, sample, columns)
    reading.notes += _notes(sample, columns)
    if whole := _whole_numbers(sample, columns):
        shown = ", ".join(_shown(sample, column) for column in whole)
        reading.warn(
            source.name,
            f"the whole numbers of column {shown} are read as values of the vectors, whose others "
            f"have fractions; if they are counts or ids, take that column out of the file",
        )
    return reading


def read_sample(
    source: Source, options: ReadOptions, sample: DelimitedSample, columns: DelimitedColumns
) -> Reading:
    """Read the chosen columns of a delimited file: at full speed where no field needs more care."""
    exact = ExactRows(source, options, columns)
    header = source.head[: sample.start - 1] if sample.lines else None
    layout = TextLayout(
        columns.dim, sample.start, header, sample.declared_rows, sample.delimiter, quotes=True
    )
    first = columns.token == 0 and columns.values == tuple(range(1, sample.width))
    if first and sample.bare_numbers and not columns.decimal_comma and columns.delimiter != BLANKS:
        return read_text(source, options, layout, exact.batches)
    reading = Reading(columns.dim, options.rows_dtype, None)
    reading.batches = exact.batches(reading, windows(source, layout), options.limit)
    return reading


def _shown(sample: DelimitedSample, column: int) -> str:
    """A column's name, or its number; with the first field."""
    field = sample.rows[0][column][:20].decode("utf-8", "backslashreplace")
    name = sample.names[column].decode("utf-8", "backslashreplace") if sample.names else ""
    return f"{name or column + 1} ({field!r}, ...)"


def _token_column(source: Source, sample: DelimitedSample, options: ReadOptions) -> int:
    """The column of the tokens: the one that is named, or the only one that can be."""
    if options.tokens is not None:
        name = name_of(options.tokens)
        spelled = name.encode("utf-8", "surrogateescape")
        if sample.names.count(spelled) == 1:
            return sample.names.index(spelled)
        if name.isascii() and name.isdigit() and 1 <= int(name) <= sample.width:
            return int(name) - 1
    elif sample.token is not None:
        return sample.token
    listed = ", ".join(_shown(sample, column) for column in sample.texts[:20] or [0])
    asked = "" if options.tokens is None else f", which is not {name_of(options.tokens)!r}"
    raise FormatError(
        f"one column of text is needed for the tokens{asked}, received {listed}: name one, or "
        f"its number from 1, with tokens= (--tokens)",
        path=source.name,
        line=sample.lines or None,
    )


def _columns(source: Source, sample: DelimitedSample, options: ReadOptions) -> DelimitedColumns:
    token = _token_column(source, sample, options)
    values = [c for c, number in enumerate(sample.is_number) if number and c != token]
    if len(values) > 1 and token != 0 and values[0] == 0 and _counts_rows(sample):
        values.pop(0)
    if not values:
        raise FormatError("rows must have numbers beside the token", path=source.name)
    if sample.names and sample.delimiter != BLANKS:  # blanks are cut from the end of a line
        names = [sample.names[column].decode("latin-1") for column in values]
        values = [values[place] for place in dimension_places(names)]
    return DelimitedColumns(
        sample.delimiter, sample.width, token, tuple(values), sample.decimal_comma
    )


def _whole_numbers(sample: DelimitedSample, columns: DelimitedColumns) -> list[int]:
    """Columns with a name whose values are whole, and not the same, where most have fractions."""
    if not sample.names or sample.names[columns.values[-1]][-1:].isdigit():  # d0, d1, ...
        return []
    spelled = {c: {row[c].strip() for row in sample.rows} for c in columns.values}
    whole = [c for c, fields in spelled.items() if all(f.isdigit() for f in fields)]
    found = [c for c in whole if len(spelled[c]) > 1]
    return found if 2 * len(whole) < len(spelled) else []


def _counts_rows(sample: DelimitedSample) -> bool:
    """Does the first column, which has no name, number the rows?"""
    named = bool(sample.names) and sample.names[0].lower() not in ROW_NUMBERS
    numbers = [row[0] for row in sample.rows]
    counted = ([b"%d" % (low + i) for i in range(len(numbers))] for low in (0, 1))
    return not named and len(numbers) > 1 and numbers in counted


def _notes(sample: DelimitedSample, columns: DelimitedColumns) -> list[str]:
    notes = [f"{NAMES[sample.delimiter]} between the fields"]
    if sample.declared_rows is None:
        notes[0] += ", a header row" if sample.names else ", no header row"
    if columns.token:
        notes.append(f"tokens in column {_shown(sample, columns.token)}")
    used = {columns.token, *columns.values}
    if left := [_shown(sample, c) for c in range(sample.width) if c not in used]:
        notes.append(f"left out: column {', '.join(left)}")
    if list(columns.values) != sorted(columns.values):
        notes.append("columns in the order of the numbers in their names")
    if sample.decimal_comma:
        notes.append("the numbers have decimal commas")
    return notes


def _fields(tokens: Tokens, delimiter: bytes) -> Tokens:
    """Tokens as fields, in quotes where they need some."""
    spelled = [quoted(tokens.bytes_at(row), delimiter) for row in range(len(tokens))]
    return Tokens.from_bytes(spelled, tokens.unicode_errors)


def write(rows: Rows, output: Output, *, delimiter: bytes) -> None:
    """Write a header row ``token, d0, d1, ...`` and the rows."""
    names = [b"token", *(b"d%d" % i for i in range(rows.dim))]
    output.file.write(delimiter.join(names) + b"\n")
    for batch in rows.batches:
        for text in formatted(_fields(batch.tokens, delimiter), batch.matrix, delimiter):
            output.file.write(text)
    _check_written(output.file, delimiter, names)


def _check_written(file: IO[bytes], delimiter: bytes, names: list[bytes]) -> None:
    file.seek(0)
    head = file.read(HEAD_BYTES)
    sample = sample_of(head, complete=len(head) < HEAD_BYTES)
    if sample is None or (sample.delimiter, sample.names) != (delimiter, tuple(names)):
        raise FormatError(
            "a delimited file cannot hold these tokens: its first lines look like another one to "
            "a reader; write a store (.safetensors) or HDF5"
        )


def _format(name: str, suffix: str, delimiters: tuple[bytes, ...], written: bytes) -> Format:
    refuse: Callable[[Tokens, int], None] = partial(refuse_unreadable, delimiter=written)
    return Format(
        name,
        partial(sniff, delimiters=delimiters),
        partial(read, delimiters=delimiters),
        Writer((suffix,), partial(write, delimiter=written), refuse),
    )


CSV = _format("csv", ".csv", COMMAS, b",")
TSV = _format("tsv", ".tsv", TABS, b"\t")
