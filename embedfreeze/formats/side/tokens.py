r"""The tokens of a matrix that lie in a file of their own, in whatever form people have it.

``.json``: a list of tokens, a map of tokens to rows, or a Hugging Face tokenizer.json. ``.csv``,
``.tsv``, ``.parquet``: a column. Any other: one token a line. Each may be packed, and nothing is
stripped from a token.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.errors import FileError, FormatError
from embedfreeze.files import PathLike, Source, name_of, open_source, split_packed
from embedfreeze.files.containers import CONTAINERS
from embedfreeze.formats.base import ReadOptions
from embedfreeze.formats.side.lists import Listing, column_listing, json_listing, text_listing
from embedfreeze.tokens import Tokens
from embedfreeze.vocabularies.tokenizerjson import tokenizer_ids

__all__ = ["TokenRows", "listed_tokens", "side_tokens", "token_rows", "tokens_beside"]

TABLES = ("csv", "tsv", "parquet")
BESIDE = tuple(
    f"{end}.{form}"
    for end in (".tokens", ".vocab", ".words")
    for form in ("json", "txt", "tsv", "csv", "parquet")
)
TOKENIZER = re.compile(rb'"(model|added_tokens|normalizer|pre_tokenizer)"\s*:\s*[\[{n]')
ARRAY, PICKLE, PICKLE_END = re.compile(rb"\x93NUMPY[\1-\3]\0"), re.compile(rb"\x80[\2-\5]"), b"."
SPARE_LINES = 1 << 16  # so many too many are read, and then counted as tokens
HEAD_BYTES = 4096  # of a tokenizer.json: the names of its parts begin there
PARQUET_ROWS = 1 << 16
SAMPLE_ROWS = 1000
TWO_COLUMNS = re.compile(rb".*\t.*")
COUNTED = re.compile(rb"[^ ]+ \d+")


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Tokens, and the rows that they belong to.

    Attributes
    ----------
    tokens : Tokens
        n tokens, by rising row.
    rows : numpy.ndarray
        int64 [n]: their rows, each but once.
    """

    tokens: Tokens
    rows: npt.NDArray[np.int64]


def side_tokens(path: PathLike, rows: int, options: ReadOptions) -> Tokens:
    """The tokens of a matrix, one for each row, in the order of the rows.

    Parameters
    ----------
    path : str or os.PathLike
        The file; of one with columns, ``:name`` or ``:place`` (from 0) behind it names one.
    rows : int
        Rows of the whole matrix.
    options : ReadOptions
        How tokens that are not UTF-8 are shown.

    Raises
    ------
    FileError
        The file cannot be read.
    FormatError
        It holds no tokens, or not one for each row.
    """
    return _in_order(_listing(path, rows, options), rows, name_of(path))


def listed_tokens(path: PathLike, rows: int, options: ReadOptions) -> Tokens:
    """The tokens as `side_tokens` gives them, of a list of any length.

    For a reader whose format leaves out tokens by a rule of its own.

    Raises
    ------
    FileError, FormatError
        As for `side_tokens`, but for the number of tokens.
    """
    listing = _listing(path, rows, options)
    return _tokens(listing, rows) if listing.rows is None else _in_order(listing, rows, path)


def token_rows(path: PathLike, rows: int, options: ReadOptions) -> TokenRows:
    """The tokens of a matrix of which some rows may have none, such as those of a tokenizer.

    A list must still have a token for each row; a map of tokens to rows may leave some out.

    Raises
    ------
    FileError, FormatError
        As for `side_tokens`; a row that a token names must be there.
    """
    listing = _listing(path, rows, options)
    if listing.rows is None:
        return TokenRows(_in_order(listing, rows, path), np.arange(rows))
    return _by_row(listing, listing.rows, rows, name_of(path))


def tokens_beside(source: Source, located: str | None = None) -> str | None:
    """The file of tokens beside a matrix ``<stem>.*``, such as ``<stem>.tokens.json``, if any.

    The matrix is the source's, unless it is `located` in another file.

    Raises
    ------
    FileError
        There are several.
    """
    located = source.located if located is None else located
    if located is None:
        return None
    stem = os.path.splitext(split_packed(located)[0])[0]
    suffixes = ("", *(container.suffix for container in CONTAINERS))
    names = [stem + end + packed for end in BESIDE for packed in suffixes]
    found = [name for name in names if os.path.isfile(name)]
    if len(found) > 1:
        raise FileError(
            f"one file of tokens must stand beside a matrix, received "
            f"{', '.join(map(os.path.basename, found))}: name one with tokens= (--tokens)",
            path=source.name,
        )
    return found[0] if found else None


def _form(name: str) -> str:
    return os.path.splitext(split_packed(name)[0])[1].lower().removeprefix(".")


def _split(name: str) -> tuple[str, str | None]:
    """The file, and the column that is named behind it."""
    file, colon, column = name.rpartition(":")
    named = colon and not os.path.exists(name) and _form(file) in TABLES
    return (file, column) if named else (name, None)


def _listing(path: PathLike, rows: int, options: ReadOptions) -> Listing:
    name, column = _split(os.fsdecode(path))
    form, errors = _form(name), options.unicode_errors
    with open_source(name) as source:
        if form == "parquet":
            return Listing(_parquet_tokens(source, column, options))
        data = source.whole()
        if form == "json":
            if TOKENIZER.search(data[:HEAD_BYTES]):
                return _tokenizer_listing(name, options)
            return json_listing(data, name, errors)
        if form in TABLES:
            return column_listing(data, form, column, name, errors)
        _refuse_packed(data, name)
        _refuse_too_many_lines(data, rows, name)
        listing = text_listing(data, errors)
        _refuse_columns(listing.tokens, name)
        return listing


def _refuse_packed(data: Any, path: str) -> None:
    """Whatever lines a NumPy array or a pickle may be cut into, they are no tokens."""
    is_array = ARRAY.match(data) is not None
    if is_array or (PICKLE.match(data) is not None and data[-1:] == PICKLE_END):
        kind = "a NumPy array" if is_array else "a pickle, which is not opened"
        raise FormatError(
            f"tokens must be text with one in each line, received {kind}: write them as text, with "
            f'"\\n".join(tokens), or as JSON',
            path=path,
        )


def _refuse_too_many_lines(data: Any, rows: int, path: str) -> None:
    """What packed data may hold without end is counted before it takes memory."""
    lines = _kernel.count_lines(data, 0, len(data))
    if rows and lines > 2 * rows + SPARE_LINES:
        raise FormatError(
            f"each row needs a token, received {lines} lines for {rows} rows: name another file "
            f"with tokens= (--tokens)",
            path=path,
        )


def _refuse_columns(tokens: Tokens, path: str) -> None:
    """Lines that all hold a token and its number are a table; taken whole, no word is found."""
    first = [tokens.bytes_at(row) for row in range(min(len(tokens), SAMPLE_ROWS))]
    for pattern, least in ((TWO_COLUMNS, 2), (COUNTED, 4)):
        if len(first) >= least and all(map(pattern.fullmatch, first)):
            raise FormatError(
                f"a text file of tokens must have nothing but a token in each line, received "
                f"{first[0]!r}, and lines like it: write the tokens alone (or as JSON, if they are "
                f"so), or call it .tsv and name a column, as in tokens='words.tsv:0' (--tokens)",
                path=path,
                line=1,
            )


def _tokenizer_listing(path: str, options: ReadOptions) -> Listing:
    ids = tokenizer_ids(path)
    bad = next((t for t, i in ids.items() if not isinstance(t, str) or type(i) is not int), None)
    try:
        if bad is not None:
            raise ValueError(f"{ids[bad]!r:.40} for {bad!r:.40}")
        tokens = Tokens.from_strings(ids)
        rows = np.fromiter(ids.values(), np.int64, len(ids))
    except (ValueError, OverflowError) as error:
        raise FormatError(
            f"a tokenizer.json must map strings to ids, received {error}: name another file with "
            f"tokens= (--tokens)",
            path=path,
        ) from error
    tokens.unicode_errors = options.unicode_errors
    return Listing(tokens, rows)


def _tokens(listing: Listing, rows: int) -> Tokens:
    """The tokens without what their number shows to be the name of a column."""
    tokens = listing.tokens
    named = listing.named and len(tokens) == rows + 1
    return tokens.part(1, len(tokens)) if named else tokens


def _in_order(listing: Listing, rows: int, path: PathLike) -> Tokens:
    name = name_of(path)
    if listing.rows is None:
        tokens = _tokens(listing, rows)
        if len(tokens) != rows:
            raise FormatError(
                f"each row needs a token, received {len(tokens)} tokens for {rows} rows: name "
                f"another file with tokens= (--tokens)",
                path=name,
            )
        return tokens
    found = _by_row(listing, listing.rows, rows, name)
    if len(found.rows) != rows:
        missing = np.setdiff1d(np.arange(rows), found.rows)
        raise FormatError(
            f"each row needs a token, received {len(found.rows)} tokens for {rows} rows, none for "
            f"{_shown(missing)}: name another file with tokens= (--tokens)",
            path=name,
        )
    return found.tokens


def _shown(rows: npt.NDArray[np.int64]) -> str:
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:5].tolist()))}{more}"


def _by_row(listing: Listing, given: npt.NDArray[np.int64], rows: int, path: str) -> TokenRows:
    order = np.argsort(given, kind="stable")
    ordered = given[order]
    beyond = np.flatnonzero((given < 0) | (given >= rows))
    if beyond.size:
        token, row = listing.tokens.bytes_at(int(beyond[0])), given[beyond[0]]
        raise FormatError(
            f"the rows that tokens name must be those of the matrix, 0 to {rows - 1}, received "
            f"{row} for {token!r} (and {beyond.size - 1} more such tokens of {len(given)}): name "
            f"another file with tokens= (--tokens)",
            path=path,
        )
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if twice.size:
        one, other = (listing.tokens.bytes_at(int(order[twice[0] + i])) for i in (0, 1))
        raise FormatError(
            f"tokens must name different rows, received row {ordered[twice[0]]} for {one!r} and "
            f"for {other!r}: name another file with tokens= (--tokens)",
            path=path,
        )
    return TokenRows(listing.tokens.take(order), ordered)


def _parquet_tokens(source: Source, column: str | None, options: ReadOptions) -> Tokens:
    """The one column of strings, or the one that is named."""
    from embedfreeze.formats.arrow.columns import tokens_of
    from embedfreeze.formats.arrow.tables import parquet_table, understood

    table = parquet_table(source)
    name = _parquet_column(table.schema, column, source.name)
    parts = [Tokens.from_bytes([], options.unicode_errors)]
    with understood(source, "Parquet"):
        for piece in table.pieces([name], PARQUET_ROWS, lambda *_: True):

            def refuse(row: int, rule: str, first: int = piece.first) -> FormatError:
                return FormatError(rule, path=source.name, row=first + row)

            parts.append(tokens_of(piece.rows.column(0), refuse, options.unicode_errors))
    return Tokens.joined(parts)


def _parquet_column(schema: Any, column: str | None, path: str) -> str:
    from embedfreeze.formats.arrow.columns import is_text

    names: list[str] = [field.name for field in schema if is_text(field.type)]
    found = names if column is None else [name for name in names if name == column]
    if len(found) != 1:
        raise FormatError(
            f"one column of strings is needed for the tokens, received {names or 'none'}: name "
            f"one behind the file, as in tokens={path + ':token'!r} (--tokens)",
            path=path,
        )
    return found[0]
