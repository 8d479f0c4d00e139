"""The ways to make a vocabulary of something else: what `Vocabulary` inherits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Self, TypeVar

from embedfreeze.errors import VocabularyError
from embedfreeze.files import PathLike
from embedfreeze.splitters import DEFAULT_SPLITTER, SplitterLike, splitter_from_config
from embedfreeze.vocabularies.arguments import (
    checked_counts,
    checked_text,
    checked_tokens,
    several,
    warn_of_special,
    warn_of_unnamed,
)

if TYPE_CHECKING:
    from embedfreeze.vocabularies.parts import Parts

__all__ = ["VocabularySources", "options_of"]

T = TypeVar("T")


class VocabularySources(ABC):
    """Constructors of `Vocabulary`, each of which imports what it alone needs."""

    @abstractmethod
    def __init__(self, tokens: Iterable[str], **options: Any) -> None:
        """Tokens in id order, and the options of `Vocabulary`."""

    @classmethod
    @abstractmethod
    def from_settings(
        cls,
        tokens: Iterable[str],
        settings: Mapping[str, Any],
        counts: Mapping[str, int] | None = None,
    ) -> Self:
        """The vocabulary of tokens in id order, special ones included, and of its `settings`."""

    @classmethod
    def _of(cls, parts: Parts) -> Self:
        options = dict(vars(parts))
        return cls(options.pop("tokens"), special_first=False, **options)

    @classmethod
    def from_ids(
        cls,
        ids: Mapping[str, int],
        *,
        padding: str | None = None,
        unknown: str | None = None,
        special: Iterable[str] = (),
        **options: Any,
    ) -> Self:
        """A map of tokens to ids, which they keep.

        Parameters
        ----------
        ids : mapping of str to int
            The special tokens may be in it, with any ids.
        padding, unknown, special
            As for `Vocabulary`, but none unless named. Those that the map does not have get the
            ids that are free, the lowest first, and then the ids behind the last.
        **options
            `splitter` and `counts` of `Vocabulary`.

        Returns
        -------
        Vocabulary
            The tokens with their ids.

        Raises
        ------
        VocabularyError
            An id is not an integer, negative, that of two tokens, or missing.

        Examples
        --------
        >>> import embedfreeze as ef
        >>> ef.Vocabulary.from_ids({"good": 1, "case": 2}, padding="", unknown="[UNK]").tokens
        ('', 'good', 'case', '[UNK]')
        """
        from embedfreeze.vocabularies.parts import ids_of_special, in_id_order, tokens_by_id

        further = checked_tokens(special, "special tokens")
        tokens = tokens_by_id(ids)
        ids_of_special(tokens, [t for t in (padding, unknown, *further) if t is not None])
        named = {"padding": padding, "unknown": unknown, "special": further}
        return cls(in_id_order(tokens), special_first=False, **named, **options)

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        *,
        min_count: int = 1,
        max_size: int | None = None,
        **options: Any,
    ) -> Self:
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

        Returns
        -------
        Vocabulary
            The tokens with their ids.

        Raises
        ------
        VocabularyError
            A count is negative or not an integer.

        Warns
        -----
        UserWarning
            A special token was counted: its occurrences get the special token's id.

        Examples
        --------
        >>> import embedfreeze as ef
        >>> ef.Vocabulary.from_counts({"case": 2, "good": 5, "rare": 1}, min_count=2).tokens
        ('', '[UNK]', 'good', 'case')
        """
        return cls._counted(counts, min_count, max_size, options)

    @classmethod
    def _counted(
        cls,
        counts: Mapping[str, int],
        min_count: int,
        max_size: int | None,
        options: dict[str, Any],
    ) -> Self:
        options["special"] = special = checked_tokens(options.get("special", ()), "special tokens")
        named = {options.get("padding", ""), options.get("unknown", "[UNK]"), *special}
        checked = checked_counts(counts)
        warn_of_special(checked, sorted(named - {None}), depth=3)
        kept = [(t, n) for t, n in checked.items() if n >= min_count and t not in named]
        kept.sort(key=lambda item: (-item[1], item[0]))
        return cls((token for token, _ in kept[:max_size]), counts=checked, **options)

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        *,
        splitter: SplitterLike = DEFAULT_SPLITTER,
        min_count: int = 1,
        max_size: int | None = None,
        **options: Any,
    ) -> Self:
        """Count the tokens of texts; the options are those of `from_counts`.

        Parameters
        ----------
        texts : iterable of str
            What is counted.
        splitter : Splitter or callable
            What cuts a text into tokens.
        min_count, max_size, **options
            As for `from_counts`.

        Returns
        -------
        Vocabulary
            The tokens with their ids.

        Raises
        ------
        TypeError
            A text is no str.

        Examples
        --------
        >>> import embedfreeze as ef
        >>> ef.Vocabulary.from_texts(["Good case.", "A good value!"]).tokens
        ('', '[UNK]', 'good', 'a', 'case', 'value')
        """
        checked = map(checked_text, several(texts, "texts"))
        counts = Counter(chain.from_iterable(map(splitter, checked)))
        return cls._counted(counts, min_count, max_size, {**options, "splitter": splitter})

    @classmethod
    def from_file(
        cls,
        path: PathLike,
        *,
        format: str | None = None,
        column: str | int | None = None,
        id_column: str | int | None = None,
        count_column: str | int | None = None,
        header: bool | None = None,
        **options: Any,
    ) -> Self:
        r"""Read a file that lists tokens; it may be compressed (``.gz``, ``.zip``).

        ``.csv``
            RFC 4180: what holds a comma, a quotation mark or a line end is quoted.
        ``.tsv``
            One tab between two fields, nothing is quoted.
        ``.json``
            A list of tokens, a map of tokens to ids, or what `save` wrote.
        any other
            One token a line, in id order. Lines end at ``\n`` (one ``\r`` before it belongs to
            the line end). What `save` wrote beside it, ``<stem>.settings.json``, holds too, where
            an option does not say otherwise.

        Everything is UTF-8, and nothing is stripped from a token.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        format : {"txt", "csv", "tsv", "json"}, optional
            Default: by the name.
        column, id_column, count_column : str or int, optional
            The columns of CSV and TSV, by name or by place from 0. By default they are found in a
            header row by their usual names: token, word, term; id, index; count, frequency, freq.
        header : bool, optional
            Whether CSV and TSV begin with names of columns. Default: where a column is named by
            a str, or the first row has a usual name for the tokens and no number.
        **options
            As for `Vocabulary`; as for `from_ids` where the file gives ids; none for what `save`
            wrote as ``.json``.

        Returns
        -------
        Vocabulary
            The tokens with their ids.

        Raises
        ------
        FileError
            The file cannot be read.
        FormatError
            Its content is not what its format asks for, or its columns cannot be told.
        VocabularyError
            A token stands at two places, both named, or ids are not 0, 1, 2, ...

        Warns
        -----
        UserWarning
            A text begins with ``""`` and ``"[UNK]"``, as `save` writes it, and has no settings
            beside it: splitter and counts are the default ones, unless they are given.

        Examples
        --------
        >>> import embedfreeze as ef, pathlib
        >>> path = pathlib.Path("words.csv")
        >>> _ = path.write_text("word,count\ngood,5\ncase,2\n", encoding="utf-8")
        >>> v = ef.Vocabulary.from_file(path)
        >>> v.tokens, v.counts
        (('', '[UNK]', 'good', 'case'), {'good': 5, 'case': 2})
        """
        from embedfreeze.vocabularies.tables import Columns
        from embedfreeze.vocabularies.vocabularyfiles import read_file, warn_of_no_settings

        columns = Columns(column, id_column, count_column, header)
        found = _with_path(path, lambda: read_file(path, format, columns))
        if isinstance(found, Mapping):
            if named := ", ".join(sorted(options)):
                raise VocabularyError(
                    f"{path}: a saved vocabulary has its own settings, received {named}: drop them"
                )
            return _with_path(path, lambda: cls._restored(found))
        if found.counts is not None:
            options["counts"] = found.by_token(found.counts)
        if (ids := found.by_token(found.ids)) is not None:
            return _with_path(path, lambda: cls.from_ids(ids, **options))
        if (settings := found.settings) is None:
            told = not {"splitter", "counts"}.isdisjoint(options)
            if found.unit == "line" and found.tokens[:2] == ["", "[UNK]"] and not told:
                warn_of_no_settings(path, depth=2)
        else:
            options = {**_with_path(path, lambda: options_of(settings)), **options}
        made = _with_path(path, lambda: cls(found.tokens, **options))
        warn_of_unnamed(found.tokens, options, str(path))
        return made

    @classmethod
    def _restored(cls, found: Mapping[str, Any]) -> Self:
        try:
            return cls.from_settings(found["tokens"], found, found["counts"])
        except VocabularyError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _not_saved(error) from error

    @classmethod
    def from_keras(
        cls,
        layer: Any,
        *,
        splitter: SplitterLike | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> Self:
        """The ids of a `keras.layers.TextVectorization` or `StringLookup`.

        The mask token is the padding token. Several ids for unknown tokens (`num_oov_indices`)
        have the tokens ``[UNK]``, ``[UNK:1]``, ..., all special, and `encode` chooses among them
        by the layer's hash. A layer that counts tokens (`output_mode="multi_hot"` and others) has
        no padding, and ids are its columns. `output_sequence_length` is the `max_length` of
        `encode`.

        Parameters
        ----------
        layer : keras.layers.TextVectorization or keras.layers.StringLookup
            With a vocabulary: adapted, given or loaded.
        splitter : Splitter or callable, optional
            Default: texts are cut as the layer cuts them; a `StringLookup` does not. Where the
            layer holds callables, the splitter asks the layer and cannot be saved.
        counts : mapping of str to int, optional
            As for `Vocabulary`.

        Returns
        -------
        Vocabulary
            The tokens with their ids.

        Raises
        ------
        VocabularyError
            The layer is of another kind, or has no vocabulary yet.

        Examples
        --------
        >>> import embedfreeze as ef, keras
        >>> layer = keras.layers.StringLookup(vocabulary=["good", "case"], num_oov_indices=2)
        >>> v = ef.Vocabulary.from_keras(layer)
        >>> v.tokens
        ('[UNK]', '[UNK:1]', 'good', 'case')
        >>> v.encode(["case", "bad"]).tolist() == layer([["case"], ["bad"]]).numpy().tolist()
        True
        """
        from embedfreeze.vocabularies.fromkeras import from_layer

        parts = from_layer(layer)
        return cls._of(_replaced(parts, splitter, counts))

    @classmethod
    def from_tokenizer(
        cls,
        source: Any,
        *,
        splitter: SplitterLike | None = None,
        counts: Mapping[str, int] | None = None,
        **special: Any,
    ) -> Self:
        """The ids of a Hugging Face ``tokenizer.json``, of any model.

        `encode` needs the `tokenizers` library, and gives the ids of
        ``tokenizer.encode(text, add_special_tokens=False)``. Ids without a token get special
        placeholder tokens.

        Parameters
        ----------
        source : str, os.PathLike, file object, or tokenizers.Tokenizer
            The file, or what holds the same JSON.
        splitter, counts
            As for `Vocabulary`; by default texts are cut as the file says.
        padding, unknown : str or None, optional
            Default: as the file says (its padding, the model's unknown token), else a special
            added token of a usual name such as ``[PAD]`` or ``<unk>``. A token that the file does
            not have gets the lowest free id, or the next one.
        special : iterable of str, optional
            Further special tokens, besides the special added tokens of the file.

        Returns
        -------
        Vocabulary
            The tokens with their ids.

        Raises
        ------
        FileError, FormatError
            The file cannot be read, or is not a tokenizer.json.
        VocabularyError
            Two tokens share an id, or a token has two.

        Warns
        -----
        UserWarning
            Ids have no token.
        """
        from embedfreeze.vocabularies.tokenizerjson import from_tokenizer

        if unexpected := special.keys() - {"padding", "unknown", "special"}:
            raise TypeError(f"from_tokenizer got unexpected arguments {sorted(unexpected)}")
        parts = from_tokenizer(source, special, depth=2)
        return cls._of(_replaced(parts, splitter, counts))

    @classmethod
    def from_gensim(cls, source: Any, **options: Any) -> Self:
        """The ids, and where there are any the counts, of a gensim object.

        Parameters
        ----------
        source : gensim.corpora.Dictionary, gensim.models.KeyedVectors, or a model with `wv`
            Counts are `cfs`, or the attribute ``count`` of the vectors.
        **options
            As for `from_ids`: no padding and no unknown token unless named, and those that gensim
            does not have get ids behind the last.

        Returns
        -------
        Vocabulary
            The tokens with their ids.

        Raises
        ------
        VocabularyError
            The object is of another kind, or its ids have gaps (`Dictionary.compactify` closes
            them).

        Examples
        --------
        >>> import embedfreeze as ef, gensim
        >>> dictionary = gensim.corpora.Dictionary([["good", "case"], ["good"]])
        >>> v = ef.Vocabulary.from_gensim(dictionary, padding="")
        >>> v.tokens, v.counts
        (('case', 'good', ''), {'case': 1, 'good': 2})
        """
        from embedfreeze.vocabularies.fromgensim import ids_and_counts

        ids, counts = ids_and_counts(source)
        if counts is not None:
            options.setdefault("counts", checked_counts(counts))
        return cls.from_ids(ids, **options)


def options_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `Vocabulary` that its `settings` stand for, and the counts beside them.

    Raises
    ------
    VocabularyError
        Something is missing or of another kind.
    """
    try:
        return {
            "padding": settings["padding"],
            "unknown": settings["unknown"],
            "special": settings["special"],
            "special_first": False,
            "splitter": splitter_from_config(settings["splitter"]),
            "counts": settings.get("counts"),
            "unknown_buckets": settings.get("unknown_buckets", 1),
            "unknown_salt": settings.get("unknown_salt"),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_saved(error) from error


def _not_saved(error: Exception) -> VocabularyError:
    return VocabularyError(
        f"a saved vocabulary has tokens, counts and settings ({error!r}): save it again"
    )


def _replaced(
    parts: Parts, splitter: SplitterLike | None, counts: Mapping[str, int] | None
) -> Parts:
    given: dict[str, Any] = {"splitter": splitter, "counts": counts}
    return replace(parts, **{k: v for k, v in given.items() if v is not None})


def _with_path(path: PathLike, make: Callable[[], T]) -> T:
    """Say in the errors of a vocabulary which file it was made of."""
    try:
        return make()
    except VocabularyError as error:
        raise VocabularyError(f"{path}: {error}") from error
