"""Any readable format to any writable one, in batches: memory does not grow with the matrix."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from embedfreeze.embeddings import Alignment
from embedfreeze.errors import FormatError
from embedfreeze.files import PathLike, PathOrFile, name_of
from embedfreeze.formats import (
    Batch,
    Duplicates,
    FirstRows,
    ReadOptions,
    Rows,
    check_target,
    open_reading,
    tracked,
    warn_of_skipped,
    write_rows,
)
from embedfreeze.plainlines import counted
from embedfreeze.tokens import Tokens, TokensBuilder
from embedfreeze.vocabulary import Vocabulary

__all__ = ["Conversion", "convert"]


@dataclass(frozen=True)
class Conversion:
    """What `convert` did.

    Attributes
    ----------
    source, target : str
        What was read and what was written.
    source_format, target_format : str
        Names of their formats.
    rows, dim : int
        Of the target.
    dropped : int
        Rows left out because they repeat a token.
    skipped : int
        Bad rows left out.
    """

    source: str
    source_format: str
    target: str
    target_format: str
    rows: int
    dim: int
    dropped: int
    skipped: int

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON.

        Returns
        -------
        dict
            Of the attributes.
        """
        return asdict(self)

    def __str__(self) -> str:
        left_out = [
            f"{number} {what}"
            for number, what in ((self.dropped, "repeated"), (self.skipped, "bad"))
            if number
        ]
        rows = "row" if self.dropped + self.skipped == 1 else "rows"
        tail = f" (left out: {', '.join(left_out)} {rows})" if left_out else ""
        return (
            f"{self.source} ({self.source_format}) -> {self.target} ({self.target_format}): "
            f"{counted(self.rows, 'row')} of {self.dim}{tail}"
        )


def convert(
    source: PathOrFile,
    target: PathLike | BinaryIO,
    *,
    from_format: str | None = None,
    to_format: str | None = None,
    member: str | None = None,
    vocabulary: Vocabulary | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Conversion:
    """Convert an embedding file. The target appears whole or not at all.

    Parameters
    ----------
    source : str, os.PathLike or binary file object
        A file that `read` can read. A file object must be able to seek for ``on_duplicate="last"``.
    target : str, os.PathLike or binary file object
        One that `write` can write; into an open file it is copied when it is whole.
    from_format, to_format : str, optional
        Default: by the source's content, and by the target's name.
    member : str, optional
        The member of an archive, or the dataset of an HDF5 file.
    vocabulary : Vocabulary, optional
        Only rows of its tokens, as they are spelled, in the order of the file.
    overwrite : bool
        Replace a target that exists.
    **options
        As for `read`.

    Returns
    -------
    Conversion
        What was done, to print.

    Raises
    ------
    FileError, FormatError
        As for `read` and `write`.
    FrozenBytesChanged
        The source is a store whose matrix does not have its recorded digest. A store is hashed as
        a whole before it is converted; of what lies beside the matrix the error is `FormatError`.

    Warns
    -----
    UserWarning
        The source has vectors of n-grams, as fastText has, which no other file holds.
    """
    target_format = check_target(target, to_format)
    chosen = ReadOptions.of(convert, options)
    if vocabulary is not None:
        chosen = replace(chosen, wanted=Tokens.from_strings(vocabulary.tokens))

    def opened() -> _Stream:
        return _Stream(source, chosen, from_format, member)

    choice = _choice(name_of(source), chosen, opened)
    with opened() as stream:
        reading = stream.reading
        name = os.path.basename(name_of(source))
        batches = stream.batches(choice.keep)
        if reading.sealed is not None:
            reading.sealed.verify_store(stream.source.name)
        rows = Rows(
            reading.dim,
            reading.dtype,
            reading.rows,
            batches,
            name,
            alignment=Alignment(provenance=reading.alignment.provenance),
            index=choice.index,
        )
        write_rows(rows, target, format=target_format, overwrite=overwrite)
        warn_of_skipped(stream.source.name, reading)
        if reading.subwords is not None:
            warnings.warn(
                f"{stream.source.name}: vectors of n-grams are not converted, only those of "
                'tokens: keep the file, and align from it with oov="subword" (--oov subword)',
                stacklevel=2,
            )
        return Conversion(
            source=name_of(source),
            source_format=stream.format.name,
            target=name_of(target),
            target_format=target_format,
            rows=stream.kept,
            dim=reading.dim,
            dropped=stream.seen - stream.kept,
            skipped=reading.skipped,
        )


Mask = np.ndarray[Any, np.dtype[np.bool_]]
Keep = Callable[[Batch, int], Mask]


@dataclass(frozen=True)
class _Choice:
    """Which rows of a batch stay, by its first row's number; their tokens, if these are known."""

    keep: Keep
    index: TokensBuilder | None = None


class _Stream:
    """A source that is open, and the batches of it that are kept."""

    def __init__(
        self, path: PathOrFile, options: ReadOptions, format: str | None, member: str | None
    ) -> None:
        opened = open_reading(path, options, format=format, member=member)
        self.source, self.format, self.reading = opened
        self.wanted = options.wanted
        self.seen = self.kept = 0

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *error: Any) -> None:
        self.source.__exit__(*error)

    def wanted_batches(self) -> Iterator[Batch]:
        for batch in tracked(self.source, self.reading, "convert"):
            if self.wanted is not None:
                batch = _chosen(batch, self.wanted.find(batch.tokens) >= 0)
            yield batch

    def batches(self, keep: Keep) -> Iterator[Batch]:
        """Batches of wanted rows; a file without any is an error."""
        for batch in self.wanted_batches():
            kept = _chosen(batch, keep(batch, self.seen))
            self.seen += len(batch.tokens)
            self.kept += len(kept.tokens)
            if len(kept.tokens):
                yield kept
        if not self.kept:
            raise FormatError("has no rows that are wanted", path=self.source.name)


def _chosen(batch: Batch, mask: Mask) -> Batch:
    if mask.all():
        return batch
    rows = np.flatnonzero(mask)
    return Batch(
        batch.tokens.take(rows),
        batch.matrix[rows],
        batch.position,
        lambda row: batch.place(int(rows[row])),
    )


def _choice(path: str, options: ReadOptions, opened: Callable[[], _Stream]) -> _Choice:
    """Which rows `on_duplicate` keeps."""
    if options.on_duplicate != "last":
        first_rows = FirstRows(path, options)
        return _Choice(lambda batch, _: first_rows.add(batch), first_rows.index)

    with opened() as stream:  # which row is the last is known at the end only
        stream.source.needed_again()
        duplicates = Duplicates(stream.source.name, options)
        for batch in stream.wanted_batches():
            duplicates.add(batch)
        dropped = duplicates.dropped()
    return _Choice(
        lambda batch, first: ~np.isin(np.arange(first, first + len(batch.tokens)), dropped)
    )
