"""Vocabulary: the tokens of a model in id order, and the splitter that cuts texts into them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import UnknownTokenError, VocabularyError
from embedfreeze.files import PathLike
from embedfreeze.sealed import sha256
from embedfreeze.splitters import (
    DEFAULT_SPLITTER,
    SplitterLike,
    splitter_config,
)
from embedfreeze.vocabularies import arguments
from embedfreeze.vocabularies.arguments import checked_counts, checked_tokens
from embedfreeze.vocabularies.sources import VocabularySources, options_of

__all__ = ["Vocabulary"]


class Vocabulary(VocabularySources):
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
    unknown_buckets : int
        How many ids unknown tokens share by their hash, as with Keras' `num_oov_indices`: those
        of `unknown` and of the first special tokens.
    unknown_salt : two int, optional
        The key of that hash, as Keras' `salt`.

    Raises
    ------
    TypeError
        `tokens` or `special` is one str.
    VocabularyError
        A token is not a str or stands twice (its places are named), a special token stands among
        the tokens, a count is negative or not an integer, or there are fewer special tokens than
        buckets.

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
        unknown_buckets: int = 1,
        unknown_salt: Sequence[int] | None = None,
    ) -> None:
        self.padding = padding
        self.unknown = unknown
        self.special: tuple[str, ...] = tuple(checked_tokens(special, "special tokens"))
        self.splitter = splitter
        self.counts: dict[str, int] | None = None if counts is None else checked_counts(counts)
        self.unknown_buckets = unknown_buckets
        salt = None if unknown_salt is None else tuple(unknown_salt)
        self.unknown_salt: tuple[int, ...] | None = salt
        named, listed = self.special_tokens, checked_tokens(tokens, "tokens")
        checked_tokens(named, "padding and unknown")
        if special_first and tuple(listed[: len(named)]) != named:
            listed = [*named, *listed]
        self.tokens: tuple[str, ...] = tuple(listed)
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            arguments.refuse_duplicates(self.tokens, len(named) if special_first else 0)
        arguments.check_special(named, self._ids)
        self._check_buckets()

    def _check_buckets(self) -> None:
        most = 0 if self.unknown is None else 1 + len(self.special)
        if not 1 <= self.unknown_buckets <= max(1, most):
            raise VocabularyError(
                "unknown_buckets must be from 1 to the number of unknown and special tokens, "
                f"{most}, received {self.unknown_buckets}"
            )

    @property
    def padding_id(self) -> int | None:
        """Id of the padding token, or None."""
        return None if self.padding is None else self._ids[self.padding]

    @property
    def unknown_id(self) -> int | None:
        """Id of the token that stands for unknown ones, or None."""
        return None if self.unknown is None else self._ids[self.unknown]

    @property
    def unknown_ids(self) -> tuple[int, ...]:
        """Ids that unknown tokens get: none, one, or one for each bucket."""
        if self.unknown is None:
            return ()
        names = (self.unknown, *self.special[: self.unknown_buckets - 1])
        return tuple(self._ids[token] for token in names)

    @cached_property
    def lookup(self) -> Mapping[str, int]:
        """Ids of the tokens that `encode` finds by name.

        Where unknown tokens share several ids, their names are hashed like any unknown token.
        """
        if self.unknown_buckets == 1:
            return self._ids
        unknown = set(self.unknown_ids)
        return {token: i for token, i in self._ids.items() if i not in unknown}

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
        digest = sha256()
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
        mine, theirs = self.settings(), other.settings()
        same = self.tokens == other.tokens and self.splitter == other.splitter
        return same and mine == theirs

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens, padding={self.padding!r}, unknown={self.unknown!r})"

    def _repr_html_(self) -> str:
        from itertools import islice

        from embedfreeze.notebook import SHOWN_TOKENS, vocabulary_html

        special = dict(zip(self.special_tokens, self.special_ids, strict=True))
        counts = {} if self.counts is None else self.counts
        ordinary = ((i, token) for i, token in enumerate(self.tokens) if token not in special)
        shown = [(i, token, counts.get(token)) for i, token in islice(ordinary, SHOWN_TOKENS)]
        return vocabulary_html(len(self), special, shown)

    def index(self, token: str) -> int:
        """Id of a token; `UnknownTokenError` (a `KeyError`) if it has none.

        Parameters
        ----------
        token : str
            The one that is looked for.

        Returns
        -------
        int
            From 0.
        """
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

        Returns
        -------
        numpy.ndarray
            int32 [texts, length].

        Raises
        ------
        VocabularyError
            Texts of different lengths need a padding token.
        UnknownTokenError
            A token is not in a vocabulary without an unknown token.
        """
        several = arguments.several(texts, "texts")
        rows = self.id_rows(self.splitter(text)[:max_length] for text in several)
        length = max_length if max_length is not None else max(map(len, rows), default=0)
        if self.padding_id is None and any(len(row) != length for row in rows):
            raise VocabularyError(
                "texts of different lengths need a padding token: give the vocabulary padding="
            )
        ids = np.full((len(rows), length), self.padding_id or 0, dtype=np.int32)
        for row, known in zip(ids, rows, strict=True):
            row[: len(known)] = known
        return ids

    def id_rows(self, texts: Iterable[Sequence[str]]) -> list[list[int]]:
        """Ids of the tokens of texts that are cut already.

        Parameters
        ----------
        texts : iterable of sequence of str
            The tokens of each text.

        Returns
        -------
        list of list of int
            The ids of each text, without padding.

        Raises
        ------
        UnknownTokenError
            A token is not in a vocabulary without an unknown token.
        """
        if self.unknown is None:
            return [[self.index(token) for token in tokens] for tokens in texts]
        if self.unknown_buckets > 1:
            return self._hashed_rows(list(texts))
        find, unknown = self._ids.get, self._ids[self.unknown]
        return [[find(token, unknown) for token in tokens] for tokens in texts]

    def _hashed_rows(self, texts: list[Sequence[str]]) -> list[list[int]]:
        """Ids where several stand for unknown tokens; one call hashes all of these."""
        from embedfreeze.vocabularies.tokeras import bucket_numbers

        known, unknown = self.lookup, self.unknown_ids
        missing = sorted({token for tokens in texts for token in tokens if token not in known})
        numbers = bucket_numbers(missing, len(unknown), self.unknown_salt) if missing else []
        hashed = {token: unknown[n] for token, n in zip(missing, numbers, strict=True)}
        return [[known[t] if t in known else hashed[t] for t in tokens] for tokens in texts]

    def decode(self, ids: npt.ArrayLike) -> list[list[str]]:
        """Tokens of rows of ids [texts, length], without the padding.

        Parameters
        ----------
        ids : array of int
            [texts, length].

        Returns
        -------
        list of list of str
            The tokens of each text.

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
        return [t for t in self.tokens if t not in special and t not in self.splitter(t)]

    def settings(self) -> dict[str, Any]:
        """All but the tokens and counts, ready for JSON; a splitter that is a callable is None."""
        settings: dict[str, Any] = {
            "padding": self.padding,
            "unknown": self.unknown,
            "special": list(self.special),
            "splitter": splitter_config(self.splitter),
        }
        if self.unknown_buckets > 1:
            settings["unknown_buckets"] = self.unknown_buckets
            settings["unknown_salt"] = list(self.unknown_salt) if self.unknown_salt else None
        return settings

    @classmethod
    def from_settings(
        cls,
        tokens: Iterable[str],
        settings: Mapping[str, Any],
        counts: Mapping[str, int] | None = None,
    ) -> Self:
        """The vocabulary of tokens in id order, special ones included, and of its `settings`.

        Parameters
        ----------
        tokens : iterable of str
            In id order.
        settings : mapping
            What `settings` gave.
        counts : mapping of str to int, optional
            How often each token occurs.

        Returns
        -------
        Vocabulary
            With these ids.
        """
        return cls(tokens, **{**options_of(settings), "counts": counts})

    def extended(
        self, tokens: Iterable[str], counts: Mapping[str, int] | None = None
    ) -> Vocabulary:
        """A vocabulary with more tokens, whose ids come after the last one.

        Parameters
        ----------
        tokens : iterable of str
            The new ones.
        counts : mapping of str to int, optional
            How often they occur.

        Returns
        -------
        Vocabulary
            A new one; this one stays as it is.

        Raises
        ------
        VocabularyError
            A token has an id already.
        """
        more = checked_tokens(tokens, "tokens")
        known = self.counts is not None or counts is not None
        merged = {**(self.counts or {}), **(counts or {})} if known else None
        longer = Vocabulary.from_settings([*self.tokens, *more], self.settings(), merged)
        longer.splitter = self.splitter  # which may be a callable
        return longer

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
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """The vocabulary that `to_dict` wrote down.

        Parameters
        ----------
        config : mapping
            What `to_dict` gave.

        Returns
        -------
        Vocabulary
            Equal to the one that was written down.
        """
        return cls.from_settings(config["tokens"], config)

    def save(self, path: PathLike, *, overwrite: bool = False) -> tuple[str, ...]:
        """Write the vocabulary to a file, whole or not at all; `from_file` reads it back.

        Parameters
        ----------
        path : str or os.PathLike
            ``.json`` keeps everything. ``.txt`` has one token a line in id order. Where there are
            counts, they, the special tokens and the splitter stand in a file beside it,
            ``<stem>.settings.json``; else they are to be given again when it is read (and
            ``special_first=False`` where special tokens are not the first ones).
        overwrite : bool
            Replace a file that is there.

        Returns
        -------
        tuple of str
            The files that were written, one or two, which are to be kept together.

        Raises
        ------
        FileError
            The file exists, or cannot be written.
        VocabularyError
            The name ends otherwise, the splitter is a callable (``.json``), or a token holds
            what a line of text cannot (``.txt``).

        Examples
        --------
        >>> v = Vocabulary(["good", "case"], counts={"good": 5, "case": 2})
        >>> v.save("vocabulary.json"), v.save("vocabulary.txt")
        (('vocabulary.json',), ('vocabulary.txt', 'vocabulary.settings.json'))
        >>> Vocabulary.from_file("vocabulary.json") == v
        True
        """
        from embedfreeze.vocabularies.vocabularyfiles import write_file

        settings = {**self.settings(), "counts": self.counts}
        return write_file(path, self.tokens, settings, overwrite=overwrite)

    def to_keras(self, kind: str = "lookup") -> Any:
        """A Keras layer with the same ids.

        Parameters
        ----------
        kind : {"lookup", "vectorization"}
            A `keras.layers.StringLookup`, which takes tokens, or a
            `keras.layers.TextVectorization`, which takes texts and cuts them as the splitter.
            To load a model with the latter where the splitter has no equal in Keras, import
            `embedfreeze.graphtext` first.

        Returns
        -------
        keras.layers.StringLookup or keras.layers.TextVectorization
            With its vocabulary.

        Raises
        ------
        VocabularyError
            Keras cannot number tokens so: padding has id 0 (in a `TextVectorization` it is ``""``)
            and unknown tokens follow it; or cannot cut texts so.

        Examples
        --------
        >>> v = Vocabulary(["good", "case"])
        >>> v.to_keras("vectorization")(["Good case!", "bad"]).numpy().tolist()
        [[2, 3], [1, 0]]
        """
        from embedfreeze.vocabularies.parts import Parts
        from embedfreeze.vocabularies.tokeras import to_layer

        parts = Parts(
            self.tokens,
            self.padding,
            self.unknown,
            self.special,
            self.splitter,
            None,
            self.unknown_buckets,
            self.unknown_salt,
        )
        return to_layer(parts, kind)
