"""Splitters: what cuts a text into tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any, Literal, TypeGuard

from embedfreeze.errors import FrozenError, VocabularyError

__all__ = [
    "ASCII_WHITE_SPACE",
    "DEFAULT_SPLITTER",
    "MARK",
    "PUNCTUATION",
    "WHITE_SPACE",
    "Splitter",
    "SplitterLike",
    "TokenizerSplitter",
    "all_tokens",
    "byte_table",
    "cuts_at_lines",
    "splitter_config",
    "splitter_from_config",
    "token_rows",
]

# What Keras' "lower_and_strip_punctuation" deletes, what str.split() splits at, and what Keras'
# "whitespace" splits at. They are written out because \s and \w mean other characters to Python
# than to TensorFlow's RE2.
PUNCTUATION = r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']"""
WHITE_SPACE = "[\t-\r\x1c-\x20\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
ASCII_WHITE_SPACE = "[\t-\r ]+"

# Half a surrogate pair stands between tokens for a moment: no UTF-8 text can hold it.
MARK = "\ud800"
_PUNCTUATION_BYTES = bytes(c for c in range(128) if re.match(PUNCTUATION, chr(c)))
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True)
class Splitter:
    r"""How a text becomes tokens, in Python and inside a TensorFlow graph alike.

    Parameters
    ----------
    lowercase : bool or "ascii"
        Lower-case the text first: all of Unicode, as `str.lower`, or A to Z alone, as Keras'
        `TextVectorization`.
    delete : str or None
        Regular expression of what is deleted next. The default is the punctuation that Keras'
        `TextVectorization` strips.
    separators : str or None
        Regular expression of what stands between tokens. The default is Unicode white space. An
        empty expression makes every character a token; None makes the whole text one token, even
        an empty text.
    ngrams : tuple of int
        Sizes of the runs of neighbouring tokens that are given, each joined by spaces, one size
        after the other. Without any, the tokens themselves.

    Raises
    ------
    VocabularyError
        An expression cannot be compiled, or an argument is none of those above.

    Notes
    -----
    Expressions are Python's `re` with the ASCII flag, so that ``\w`` and ``\s`` mean what they
    mean to RE2, which TensorFlow uses.

    Examples
    --------
    >>> Splitter()("Good case, Excellent value.")
    ['good', 'case', 'excellent', 'value']
    >>> Splitter(delete=None, separators="[^a-z0-9']+")("Don't, please!")
    ["don't", 'please']
    >>> Splitter(ngrams=(1, 2))("New York City")
    ['new', 'york', 'city', 'new york', 'york city']
    """

    lowercase: bool | Literal["ascii"] = True
    delete: str | None = PUNCTUATION
    separators: str | None = WHITE_SPACE
    ngrams: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.lowercase not in (True, False, "ascii"):
            raise VocabularyError(
                f"lowercase must be True, False or 'ascii', received {self.lowercase!r}"
            )
        object.__setattr__(self, "ngrams", tuple(self.ngrams))  # JSON has lists only
        if not all(isinstance(size, int) and size > 0 for size in self.ngrams):
            raise VocabularyError(f"ngrams must be positive integers, received {self.ngrams!r}")
        for name in ("delete", "separators"):
            pattern = getattr(self, name)
            if pattern is None:
                continue
            try:
                re.compile(pattern, re.ASCII)
            except re.error as error:
                raise VocabularyError(
                    f"{name} must be a regular expression, received {pattern!r}: {error}"
                ) from error

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
        delete, separators = (
            None if pattern is None else re.compile(pattern, re.ASCII)
            for pattern in (self.delete, self.separators)
        )
        return delete, separators

    def __call__(self, text: str) -> list[str]:
        """The tokens of one text: never empty ones, unless `separators` is None."""
        return self._cut(self.prepared(text))

    def prepared(self, text: str) -> str:
        """A text in lower case, without what is deleted: only separators stand between tokens.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        str
            What `separators` then cut.
        """
        delete, _ = self._patterns
        if self.lowercase:
            text = text.translate(_ASCII_LOWER) if self.lowercase == "ascii" else text.lower()
        if self.delete == PUNCTUATION:  # ASCII alone: a quarter of the time of an expression
            kept = text.encode("utf-8", "surrogatepass").translate(None, _PUNCTUATION_BYTES)
            return kept.decode("utf-8", "surrogatepass")
        return text if delete is None else delete.sub("", text)

    def _cut(self, text: str) -> list[str]:
        """The tokens of a text that was prepared."""
        _, separators = self._patterns
        if separators is None:
            tokens = [text]
        elif self.separators == WHITE_SPACE:
            tokens = text.split()  # a quarter of the time
        else:
            tokens = [token for token in separators.sub(MARK, text).split(MARK) if token]
        return self._runs(tokens) if self.ngrams else tokens

    def _runs(self, tokens: list[str]) -> list[str]:
        return [
            " ".join(tokens[first : first + size])
            for size in self.ngrams
            for first in range(len(tokens) - size + 1)
        ]


@dataclass(frozen=True)
class TokenizerSplitter:
    """Cuts texts as a Hugging Face tokenizer does, special tokens not added.

    What the file says of truncation and padding holds too.

    Parameters
    ----------
    json : str
        What a ``tokenizer.json`` holds.

    Raises
    ------
    VocabularyError
        On the first text: the `tokenizers` library is not installed.
    """

    json: str

    def __getstate__(self) -> dict[str, str]:
        return {"json": self.json}  # other processes make a tokenizer of their own

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise VocabularyError(
                "texts are cut as a tokenizer.json says by the tokenizers library, received: "
                f'{error}: pip install "embedfreeze[tokenizers]"'
            ) from error
        return Tokenizer.from_str(self.json)

    def __call__(self, text: str) -> list[str]:
        """The tokens of one text.

        They are looked up by id: a piece that the model does not know is its unknown token.
        """
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [self._tokenizer.id_to_token(i) for i in ids]

    def __repr__(self) -> str:
        return f"TokenizerSplitter({len(self.json)} characters of JSON)"


SplitterLike = Callable[[str], list[str]]
DEFAULT_SPLITTER = Splitter()


def _folds_characters(splitter: SplitterLike) -> TypeGuard[Splitter]:
    """Does what a text becomes before it is cut not depend on what stands beyond a line feed?"""
    return isinstance(splitter, Splitter) and splitter.delete in (None, PUNCTUATION)


def cuts_at_lines(splitter: SplitterLike) -> TypeGuard[Splitter]:
    """Do line feeds separate tokens, and does nothing look beyond them?"""
    return (
        _folds_characters(splitter)
        and not splitter.ngrams
        and splitter.separators in (WHITE_SPACE, ASCII_WHITE_SPACE)
    )


def all_tokens(splitter: SplitterLike, texts: Sequence[str]) -> list[str]:
    """The tokens of several texts, one behind the other.

    Where line feeds separate tokens and nothing looks beyond them, all are cut at once.
    """
    if cuts_at_lines(splitter):
        return splitter("\n".join(texts))
    return [token for text in texts for token in splitter(text)]


def token_rows(splitter: SplitterLike, texts: Sequence[str]) -> list[list[str]]:
    """The tokens of each of several texts.

    Where nothing looks beyond line feeds, all are lower-cased and rid of what is deleted at once.
    """
    if _folds_characters(splitter):
        folded = splitter.prepared("\n".join(texts)).split("\n")
        if len(folded) == len(texts):  # no text holds a line feed
            return [splitter._cut(text) for text in folded]
    return [splitter(text) for text in texts]


def byte_table(splitter: SplitterLike) -> bytes | None:
    """What `_kernel.cut_tokens` makes of each byte, to cut ASCII as a splitter does.

    Pieces between ASCII white space that hold other characters are left to the splitter. None for
    one that cannot be repeated so.
    """
    if not cuts_at_lines(splitter):
        return None
    return bytes(map(partial(_byte_of, splitter), range(128))) + b"\t" * 128


def _byte_of(splitter: Splitter, code: int) -> int:
    """What a splitter makes of an ASCII character: another one, a separator, or nothing."""
    tokens = splitter(f"0{chr(code)}0")
    if len(tokens) == 2:
        return ord(" ")
    return ord(tokens[0][1]) if len(tokens[0]) == 3 else ord("\n")


def splitter_config(splitter: SplitterLike) -> dict[str, Any] | None:
    """What `splitter_from_config` needs, ready for JSON; None for a callable of the user's."""
    if isinstance(splitter, TokenizerSplitter):
        return {"tokenizer": splitter.json}
    if not isinstance(splitter, Splitter):
        return None
    config = asdict(splitter)
    ngrams = config.pop("ngrams")
    return {**config, "ngrams": list(ngrams)} if ngrams else config


def splitter_from_config(config: dict[str, Any] | None) -> SplitterLike:
    """The splitter that was written down; one that could not be refuses to split."""
    if config is None:
        return _lost_splitter
    return TokenizerSplitter(config["tokenizer"]) if "tokenizer" in config else Splitter(**config)


def _lost_splitter(text: str) -> list[str]:
    raise FrozenError(
        "this vocabulary was saved without its splitter, a callable that cannot be written down: "
        f"split texts yourself and look tokens up with vocabulary.index, received {text!r}"
    )
