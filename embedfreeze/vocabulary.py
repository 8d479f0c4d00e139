"""Vocabulary: the tokens of a model in id order, and the splitter that cuts texts into them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FileError, FormatError, UnknownTokenError, VocabularyError
from embedfreeze.splitters import (
    DEFAULT_SPLITTER,
    SplitterLike,
    splitter_config,
    splitter_from_config,
)

__all__ = ["Vocabulary", "read_lines"]


class Vocabulary:
    """The tokens of a model in id order, with its special tokens.

    Parameters
    ----------
    tokens : iterable of str
        In id order, without the special tokens, which come before them; a list that already
        begins with the special tokens (as Keras' `get_vocabulary` gives it) is taken as it is.
    padding, unknown : str or None
        Special tokens. Padding has id 0 and unknown the id after it, as in Keras'
        `TextVectorization`; None leaves one out.
    special : iterable of str
        Further special tokens, with the ids after those two. Special tokens are not looked up in
        embedding files: `load` has policies for their rows.
    special_first : bool
        False says that the special tokens stand among `tokens` already, with any ids.
    splitter : Splitter or callable
        Cuts a text into tokens, for `encode`.
    counts : mapping of str to int, optional
        How often each token occurs in the user's texts; coverage can then speak of tokens.

    Raises
    ------
    VocabularyError
        A token stands twice (both places are named), or a special token stands among the tokens.

    Examples
    --------
    >>> v = Vocabulary(["good", "case"])
    >>> v.encode(["Good case", "bad"]).tolist()
    [[2, 3], [1, 0]]
    >>> v.decode([[2, 3], [1, 0]])
    [['good', 'case'], ['[UNK]']]
    """

    def __init__(
        self,
        tokens: Iterable[str],
        *,
        padding: str | None = "",
        unknown: str | None = "[UNK]",
        special: Iterable[str] = (),
        special_first: bool = True,
        splitter: SplitterLike = DEFAULT_SPLITTER,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        self.padding = padding
        self.unknown = unknown
        self.special = tuple(special)
        self.splitter = splitter
        self.counts = None if counts is None else dict(counts)
        named, listed = self.special_tokens, list(tokens)
        if special_first and tuple(listed[: len(named)]) != named:
            listed = [*named, *listed]
        self.tokens: tuple[str, ...] = tuple(listed)
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            self._refuse_duplicates(len(named) if special_first else 0)
        for token in named:
            if token not in self._ids:
                raise VocabularyError(
                    f"with special_first=False the tokens must hold the special tokens, received "
                    f"none that is {token!r}: name others with padding=, unknown= and special="
                )

    def _refuse_duplicates(self, n_special: int) -> None:
        first: dict[str, int] = {}
        for i, token in enumerate(self.tokens):
            if token in first:
                if first[token] < n_special:
                    raise VocabularyError(
                        f"the special token {token!r} (id {first[token]}) is also an ordinary "
                        f"token (id {i}): rename one with padding=, unknown= or special="
                    )
                raise VocabularyError(
                    f"tokens must differ, received {token!r} as id {first[token]} and as id {i}"
                )
            first[token] = i

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        *,
        min_count: int = 1,
        max_size: int | None = None,
        **options: Any,
    ) -> Vocabulary:
        """Tokens by falling count, equal counts in alphabetical order.

        Parameters
        ----------
        counts : mapping of str to int
            How often each token occurs.
        min_count : int
            Rarer tokens are left out.
        max_size : int, optional
            Largest number of tokens, the special ones not counted.
        **options
            As for `Vocabulary`.
        """
        special = {
            options.get("padding", ""),
            options.get("unknown", "[UNK]"),
            *options.get("special", ()),
        }
        kept = [
            (token, count)
            for token, count in counts.items()
            if count >= min_count and token not in special
        ]
        kept.sort(key=lambda item: (-item[1], item[0]))
        return cls((token for token, _ in kept[:max_size]), counts=counts, **options)

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        *,
        splitter: SplitterLike = DEFAULT_SPLITTER,
        **options: Any,
    ) -> Vocabulary:
        """Count the tokens of texts; the options are those of `from_counts`."""
        if isinstance(texts, str):
            raise TypeError("texts must be an iterable of str, received one str: put it in a list")
        counts = Counter(chain.from_iterable(map(splitter, texts)))
        return cls.from_counts(counts, splitter=splitter, **options)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Any) -> Vocabulary:
        r"""Read a UTF-8 text file with one token a line, in id order.

        Lines end at ``\n`` (one ``\r`` before it belongs to the line end); nothing else is
        stripped. The options are those of `Vocabulary`.

        Raises
        ------
        FileError
            The file cannot be read.
        FormatError
            A line is not UTF-8.
        VocabularyError
            A token stands on two lines.
        """
        name = os.fspath(path)
        tokens = [_decode_line(line, i, name) for i, line in enumerate(read_lines(path), start=1)]
        first: dict[str, int] = {}
        for i, token in enumerate(tokens, start=1):
            if first.setdefault(token, i) != i:
                raise VocabularyError(
                    f"{name}: tokens must differ, received {token!r} on line {first[token]} and "
                    f"on line {i}: remove one"
                )
        return cls(tokens, **options)

    @property
    def padding_id(self) -> int | None:
        """Id of the padding token, or None."""
        return None if self.padding is None else self._ids[self.padding]

    @property
    def unknown_id(self) -> int | None:
        """Id of the token that stands for unknown ones, or None."""
        return None if self.unknown is None else self._ids[self.unknown]

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The special tokens: padding, unknown, further ones."""
        named = (self.padding, self.unknown, *self.special)
        return tuple(token for token in named if token is not None)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of the special tokens, in the order of `special_tokens`."""
        return tuple(self._ids[token] for token in self.special_tokens)

    @cached_property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the tokens in id order, each preceded by its length."""
        digest = hashlib.sha256()
        for token in self.tokens:
            data = token.encode("utf-8", "surrogateescape")
            digest.update(len(data).to_bytes(8, "little") + data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens, padding={self.padding!r}, unknown={self.unknown!r})"

    def index(self, token: str) -> int:
        """Id of a token; `UnknownTokenError` (a `KeyError`) if it has none."""
        try:
            return self._ids[token]
        except KeyError:
            raise UnknownTokenError(f"the vocabulary has no token {token!r}") from None

    def encode(
        self, texts: Iterable[str], *, max_length: int | None = None
    ) -> npt.NDArray[np.int32]:
        """Ids of the tokens of texts, int32 [texts, length], padded at the end.

        Parameters
        ----------
        texts : iterable of str
            One text a row.
        max_length : int, optional
            Longer texts are cut, shorter ones padded to it. Default: the longest text.

        Raises
        ------
        VocabularyError
            Texts of different lengths need a padding token.
        UnknownTokenError
            A token is not in a vocabulary without an unknown token.
        """
        if isinstance(texts, str):
            raise TypeError("texts must be an iterable of str, received one str: put it in a list")
        rows = [self._encode_one(text)[:max_length] for text in texts]
        length = max_length if max_length is not None else max(map(len, rows), default=0)
        if self.padding_id is None and any(len(row) != length for row in rows):
            raise VocabularyError(
                "texts of different lengths need a padding token: give the vocabulary padding="
            )
        ids = np.full((len(rows), length), self.padding_id or 0, dtype=np.int32)
        for row, known in zip(ids, rows, strict=True):
            row[: len(known)] = known
        return ids

    def _encode_one(self, text: str) -> list[int]:
        if self.unknown_id is None:
            return [self.index(token) for token in self.splitter(text)]
        find, unknown = self._ids.get, self.unknown_id
        return [find(token, unknown) for token in self.splitter(text)]

    def decode(self, ids: npt.ArrayLike) -> list[list[str]]:
        """Tokens of rows of ids [texts, length], without the padding.

        Raises
        ------
        VocabularyError
            An id is negative or not below the number of tokens.
        """
        rows = np.atleast_2d(np.asarray(ids))
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self)):
            raise VocabularyError(
                f"ids must be from 0 to {len(self) - 1}, received {rows.min()} to {rows.max()}"
            )
        padding = self.padding_id
        return [[self.tokens[i] for i in row if i != padding] for row in rows.tolist()]

    def unreachable(self) -> list[str]:
        """Ordinary tokens that the splitter can never produce, so that no text finds them."""
        special = set(self.special_tokens)
        return [t for t in self.tokens if t not in special and self.splitter(t) != [t]]

    def settings(self) -> dict[str, Any]:
        """All but the tokens and counts, ready for JSON; a splitter that is a callable is None."""
        return {
            "padding": self.padding,
            "unknown": self.unknown,
            "special": list(self.special),
            "splitter": splitter_config(self.splitter),
        }

    @classmethod
    def from_settings(
        cls,
        tokens: Iterable[str],
        settings: Mapping[str, Any],
        counts: Mapping[str, int] | None = None,
    ) -> Vocabulary:
        """The vocabulary of tokens in id order, special ones included, and of its `settings`."""
        return cls(
            tokens,
            padding=settings["padding"],
            unknown=settings["unknown"],
            special=settings["special"],
            special_first=False,
            splitter=splitter_from_config(settings["splitter"]),
            counts=counts,
        )

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` needs, ready for JSON.

        Raises
        ------
        VocabularyError
            The splitter is a callable of the user's, which cannot be written down.
        """
        settings = self.settings()
        if settings["splitter"] is None:
            raise VocabularyError(
                f"a splitter that is saved must be an embedfreeze.Splitter, received "
                f"{self.splitter!r}"
            )
        return {"tokens": list(self.tokens), **settings}

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary that `to_dict` wrote down."""
        return cls.from_settings(config["tokens"], config)


def read_lines(path: str | os.PathLike[str]) -> list[bytes]:
    r"""The lines of a file without the ``\n`` or ``\r\n`` that ends them, and without a BOM.

    Raises
    ------
    FileError
        The file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", path=os.fspath(path)) from error
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def _decode_line(line: bytes, number: int, path: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"tokens must be UTF-8, received {line!r}", path=path, line=number
        ) from error
