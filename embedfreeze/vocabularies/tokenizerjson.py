"""The ids of a Hugging Face ``tokenizer.json``: JSON is all that reading them needs."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from typing import Any

from embedfreeze.errors import FormatError, VocabularyError
from embedfreeze.splitters import TokenizerSplitter
from embedfreeze.vocabularies.arguments import PADDING_NAMES, UNKNOWN_NAMES, checked_tokens
from embedfreeze.vocabularies.lines import read_bytes
from embedfreeze.vocabularies.parts import (
    Parts,
    fill_gaps,
    ids_of_special,
    in_id_order,
    tokens_by_id,
)

__all__ = ["from_tokenizer", "tokenizer_ids"]


def from_tokenizer(source: Any, named: Mapping[str, Any], depth: int) -> Parts:
    """What a vocabulary with the ids of a tokenizer is made of.

    Parameters
    ----------
    source : str, os.PathLike, file object, or tokenizers.Tokenizer
        The file, or what holds the same JSON.
    named : mapping
        `padding`, `unknown` and `special`, where the caller names them.
    depth : int
        Calls up to the caller, whom the warning is for.

    Raises
    ------
    FormatError
        The file is not a tokenizer.json.
    VocabularyError
        Two tokens share an id, or a token has two.
    """
    text, name = _text(source)
    ids, config = _ids(text, name)
    tokens = tokens_by_id(ids)
    padding, unknown, special = _special(config, ids, named)
    wanted = [padding, unknown, *special]
    ids_of_special(tokens, [token for token in wanted if token is not None])
    gaps = fill_gaps(tokens)
    if gaps:
        warnings.warn(
            f"{name}: {len(gaps)} ids have no token and get special placeholder tokens: "
            f"{', '.join(gaps[:5])}{', ...' if len(gaps) > 5 else ''}",
            stacklevel=depth + 1,
        )
    return Parts(
        tokens=in_id_order(tokens),
        padding=padding,
        unknown=unknown,
        special=[*special, *gaps],
        splitter=TokenizerSplitter(text),
    )


def tokenizer_ids(source: Any) -> dict[str, int]:
    """The tokens of a tokenizer, the added ones too, and their ids; ids may have gaps.

    Raises
    ------
    FormatError
        The file is not a tokenizer.json.
    VocabularyError
        An added token has another id than the library gives it.
    """
    return _ids(*_text(source))[0]


def _text(source: Any) -> tuple[str, str]:
    """The JSON, and what to call its source in messages."""
    if hasattr(source, "to_str"):
        return str(source.to_str()), "tokenizer"
    if hasattr(source, "read"):
        data, name = source.read(), str(getattr(source, "name", "tokenizer"))
    else:
        data, name = read_bytes(source), os.fspath(source)
    try:
        return data if isinstance(data, str) else data.decode("utf-8"), name
    except UnicodeDecodeError as error:
        raise FormatError("JSON must be UTF-8", path=name, offset=error.start) from error


def _ids(text: str, name: str) -> tuple[dict[str, int], dict[str, Any]]:
    try:
        config = json.loads(text)
        vocab, added = config["model"]["vocab"], config.get("added_tokens") or []
        unigram = not isinstance(vocab, dict)
        ids = _ids_of_list([piece for piece, _ in vocab], name) if unigram else vocab
        _add_tokens(ids, [(entry["content"], entry["id"]) for entry in added], name)
    except VocabularyError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"a tokenizer.json has model.vocab and added_tokens, received {text[:60]!r} "
            f"({type(error).__name__}: {error}): is it another of the tokenizer's files?",
            path=name,
        ) from error
    return ids, config


def _ids_of_list(pieces: list[str], name: str) -> dict[str, int]:
    ids: dict[str, int] = {}
    for i, piece in enumerate(pieces):
        if ids.setdefault(piece, i) != i:
            raise VocabularyError(
                f"{name}: tokens must differ, received {piece!r} as id {ids[piece]} and as id {i}"
            )
    return ids


def _add_tokens(ids: dict[str, int], added: list[tuple[str, int]], name: str) -> None:
    """Number the added tokens as the library does, which counts up from the model's size."""
    following = len(ids)
    for token, said in added:
        i = ids.get(token, following)
        following += token not in ids
        if i != said:
            raise VocabularyError(
                f"{name}: the tokenizers library gives the added token {token!r} the id {i}, and "
                f"the file says {said}: number the model's tokens without gaps, and save the file "
                "again with the library"
            )
        ids[token] = i


def _special(
    config: dict[str, Any], ids: dict[str, int], named: Mapping[str, Any]
) -> tuple[str | None, str | None, list[str]]:
    """Padding, unknown, and further special tokens: as named, else as the file says."""
    added = [t["content"] for t in config.get("added_tokens") or [] if t.get("special")]
    padding = named.get("padding", _padding(config, ids, added))
    unknown = named.get("unknown", _unknown(config, ids, added))
    if padding is not None and padding == unknown:
        raise VocabularyError(
            f"padding and unknown must be different tokens, received {padding!r} for both: name "
            "another one with padding= (it gets a new id) or unknown=, or leave one out with None"
        )
    further = dict.fromkeys([*added, *checked_tokens(named.get("special", ()), "special tokens")])
    return padding, unknown, [token for token in further if token not in (padding, unknown)]


def _padding(config: dict[str, Any], ids: dict[str, int], added: list[str]) -> str | None:
    said = (config.get("padding") or {}).get("pad_token")
    return said if said in ids else _first(PADDING_NAMES, added)


def _unknown(config: dict[str, Any], ids: dict[str, int], added: list[str]) -> str | None:
    model = config["model"]
    said = model.get("unk_token")
    if model.get("unk_id") is not None:
        said = model["vocab"][model["unk_id"]][0]
    return said if said in ids else _first(UNKNOWN_NAMES, added)


def _first(names: tuple[str, ...], added: list[str]) -> str | None:
    return next((name for name in names if name in added), None)
