"""The tokens of a matrix in HDF5: strings in the file, Keras' vocabulary, or a file beside it."""

from __future__ import annotations

import os
from typing import Any

from embedfreeze.errors import FormatError
from embedfreeze.files import PathLike, Source, name_of
from embedfreeze.formats.base import Reading, ReadOptions
from embedfreeze.formats.hdf5.chosen import Chosen
from embedfreeze.formats.hdf5.keras import KerasModel
from embedfreeze.formats.hdf5.layout import described, is_strings, unusable_labels
from embedfreeze.formats.hdf5.pandas import REMEDY, labels_said
from embedfreeze.formats.hdf5.strings import dataset_tokens
from embedfreeze.formats.side.layers import layer_tokens
from embedfreeze.formats.side.tokens import listed_tokens, side_tokens, tokens_beside
from embedfreeze.tokens import Tokens

__all__ = ["PADDING", "chosen_tokens"]

PADDING = b"@@PADDING@@"
EMBEDDING, VOCABULARY = "/embedding", "tokens.txt"  # as AllenNLP names them


def chosen_tokens(source: Source, chosen: Chosen, options: ReadOptions, reading: Reading) -> Tokens:
    """A token for each row; fewer where a vocabulary of Keras leaves rows at the end unused.

    Raises
    ------
    FileError
        A file of tokens cannot be read.
    FormatError
        There are no tokens, or not as many as rows.
    """
    if options.tokens is not None:
        tokens = _named_tokens(source, chosen, name_of(options.tokens), options, reading)
    elif chosen.model is not None:
        tokens = _vocabulary_tokens(source, chosen, chosen.model, options, reading)
    elif chosen.frame is not None:
        tokens = _frame_tokens(source, chosen, chosen.frame, options)
    else:
        tokens = _strings_tokens(source, chosen, options, reading)
    rows = chosen.matrix.rows
    if len(tokens) == rows or (chosen.model is not None and 0 < len(tokens) < rows):
        return tokens
    raise FormatError(
        f"each row needs a token, received {len(tokens)} tokens for {rows} rows of "
        f"{chosen.matrix.name}: name others with tokens= (--tokens)",
        path=source.name,
    )


def _named_tokens(
    source: Source, chosen: Chosen, name: str, options: ReadOptions, reading: Reading
) -> Tokens:
    """Those of a dataset, a vocabulary, or a file."""
    dataset = chosen.found.get(name.strip("/"))
    if dataset is not None and is_strings(dataset):
        return dataset_tokens(source, dataset, options.unicode_errors)
    if chosen.model is not None:
        if name in chosen.model.vocabularies:
            return _of_vocabulary(chosen, chosen.model, name, options, reading)
        return layer_tokens(source, chosen.matrix.rows, options)
    if chosen.frame is not None:
        return side_tokens(name, chosen.matrix.rows, options)
    return _side_file_tokens(name, chosen.matrix.rows, options, reading)


def _side_file_tokens(path: PathLike, rows: int, options: ReadOptions, reading: Reading) -> Tokens:
    tokens = listed_tokens(path, rows, options)
    if len(tokens) != rows - 1:
        return tokens
    reading.notes.append(f"row 0 has no line in {path}: it is taken as {PADDING!r}")
    return Tokens.joined([Tokens.from_bytes([PADDING], options.unicode_errors), tokens])


# ---- where the caller names none


def _strings_tokens(
    source: Source, chosen: Chosen, options: ReadOptions, reading: Reading
) -> Tokens:
    rows = chosen.matrix.rows
    strings = {name: dataset for name, dataset in chosen.found.items() if is_strings(dataset)}
    fitting = {name: dataset for name, dataset in strings.items() if len(dataset) == rows}
    if len(fitting) == 1:
        return dataset_tokens(source, next(iter(fitting.values())), options.unicode_errors)
    beside = None if fitting else _beside(source, chosen)
    if beside is None:
        raise FormatError(
            f"one dataset of {rows} strings is needed for the tokens, received "
            f"{described(fitting or strings)}{unusable_labels(chosen.found, rows)}: name a dataset "
            f"or a text file of one token a line with tokens= (--tokens)",
            path=source.name,
        )
    reading.notes.append(f"tokens are those of {beside}")
    return _side_file_tokens(beside, rows, options, reading)


def _beside(source: Source, chosen: Chosen) -> str | None:
    """The file of tokens beside the file, also one of AllenNLP's vocabulary."""
    beside = tokens_beside(source)
    if beside is None and source.located is not None and chosen.matrix.name == EMBEDDING:
        named = os.path.join(os.path.dirname(source.located), VOCABULARY)
        beside = named if os.path.isfile(named) else None
    return beside


def _frame_tokens(
    source: Source, chosen: Chosen, frame: dict[str, Any], options: ReadOptions
) -> Tokens:
    if chosen.matrix.labels is not None:
        return dataset_tokens(source, chosen.matrix.labels, options.unicode_errors)
    beside = tokens_beside(source)
    if beside is None:
        raise FormatError(
            f"the rows of a frame of pandas must have strings as labels, received "
            f"{labels_said(frame)}: {REMEDY}, or name a file of tokens with tokens= (--tokens)",
            path=source.name,
        )
    return side_tokens(beside, chosen.matrix.rows, options)


def _vocabulary_tokens(
    source: Source, chosen: Chosen, model: KerasModel, options: ReadOptions, reading: Reading
) -> Tokens:
    rows, known = chosen.matrix.rows, model.vocabularies
    different = {tuple(tokens): name for name, tokens in known.items() if len(tokens) <= rows}
    exact = {tokens: name for tokens, name in different.items() if len(tokens) == rows}
    fitting = exact or different
    if not fitting:
        return layer_tokens(source, rows, options)
    if len(fitting) > 1:
        told = ", ".join(f"{name} ({len(known[name])} tokens)" for name in fitting.values())
        raise FormatError(
            f"one vocabulary is needed for the {rows} rows of {chosen.matrix.name}, received "
            f"{told}: name one with tokens= (--tokens)",
            path=source.name,
        )
    return _of_vocabulary(chosen, model, next(iter(fitting.values())), options, reading)


def _of_vocabulary(
    chosen: Chosen, model: KerasModel, name: str, options: ReadOptions, reading: Reading
) -> Tokens:
    tokens, rows = model.vocabularies[name], chosen.matrix.rows
    reading.notes.append(f"tokens are the vocabulary {name}")
    if len(tokens) < rows:
        reading.notes.append(
            f"rows {len(tokens)} to {rows - 1} have no token in it and are left out"
        )
    return Tokens.from_bytes(tokens, options.unicode_errors)
