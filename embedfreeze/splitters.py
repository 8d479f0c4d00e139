"""Splitters: what cuts a text into tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from embedfreeze.errors import FrozenError, VocabularyError

__all__ = [
    "DEFAULT_SPLITTER",
    "PUNCTUATION",
    "WHITE_SPACE",
    "Splitter",
    "SplitterLike",
    "splitter_config",
    "splitter_from_config",
]

# What Keras' "lower_and_strip_punctuation" deletes, and what str.split() splits at. Both are
# written out because \s and \w mean other characters to Python than to TensorFlow's RE2.
PUNCTUATION = r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']"""
WHITE_SPACE = "[\t-\r\x1c-\x20\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"


@dataclass(frozen=True)
class Splitter:
    r"""How a text becomes tokens, in Python and inside a TensorFlow graph alike.

    Parameters
    ----------
    lowercase : bool
        Lower-case the text first (Unicode, as `str.lower`).
    delete : str or None
        Regular expression of what is deleted next. The default is the punctuation that Keras'
        `TextVectorization` strips.
    separators : str
        Regular expression of what stands between tokens. The default is Unicode white space.

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
    """

    lowercase: bool = True
    delete: str | None = PUNCTUATION
    separators: str = WHITE_SPACE

    def __post_init__(self) -> None:
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
    def _patterns(self) -> tuple[re.Pattern[str] | None, re.Pattern[str]]:
        delete = None if self.delete is None else re.compile(self.delete, re.ASCII)
        return delete, re.compile(self.separators, re.ASCII)

    def __call__(self, text: str) -> list[str]:
        """The tokens of one text, never empty ones."""
        delete, separators = self._patterns
        if self.lowercase:
            text = text.lower()
        if delete is not None:
            text = delete.sub("", text)
        return [token for token in separators.sub("\0", text).split("\0") if token]


SplitterLike = Callable[[str], list[str]]
DEFAULT_SPLITTER = Splitter()


def splitter_config(splitter: SplitterLike) -> dict[str, Any] | None:
    """What `splitter_from_config` needs, ready for JSON; None for a callable of the user's."""
    return asdict(splitter) if isinstance(splitter, Splitter) else None


def splitter_from_config(config: dict[str, Any] | None) -> SplitterLike:
    """The splitter that was written down; one that could not be refuses to split."""
    return _lost_splitter if config is None else Splitter(**config)


def _lost_splitter(text: str) -> list[str]:
    raise FrozenError(
        "this vocabulary was saved without its splitter, a callable that cannot be written down: "
        f"split texts yourself and look tokens up with vocabulary.index, received {text!r}"
    )
