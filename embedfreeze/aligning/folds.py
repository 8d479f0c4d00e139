"""Match stages: the folds that bring the spelling of a vocabulary and that of a file together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import chain, count

from embedfreeze.errors import EmbedFreezeError

__all__ = ["FOLDS", "Fold", "Match", "Stage", "stages_of"]

Fold = Callable[[str], str]
Match = Sequence[str | Fold] | str
# Letters, with the combining marks on them, and apostrophes between letters.
_MARKS = r"\u0300-\u036f\u0483-\u0487\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_LETTERS = rf"[^\W\d_](?:[^\W\d_]|[{_MARKS}])*"
_WORD = re.compile(rf"{_LETTERS}(?:['\u2019]{_LETTERS})*")
_DIGIT = re.compile(r"\d")
# What WordPiece, SentencePiece, byte-level BPE, subword-nmt and fastBPE mark pieces with. A piece
# that is its marker alone keeps it.
_PIECE = re.compile(r"(?:##|[\u2581\u0120])?(.+?)(?:</w>|@@)?", re.DOTALL)


def _title(text: str) -> str:
    return _WORD.sub(lambda word: word[0].capitalize(), text)


def _strip_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    kept = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFC", kept)


def _underscore(text: str) -> str:
    return text.replace(" ", "_")


def _piece(text: str) -> str:
    found = _PIECE.fullmatch(text)
    return text if found is None else found[1]


FOLDS: dict[str, Fold] = {
    "exact": str,
    "lower": str.lower,
    "upper": str.upper,
    "title": _title,
    "casefold": str.casefold,
    "nfc": partial(unicodedata.normalize, "NFC"),
    "nfkc": partial(unicodedata.normalize, "NFKC"),
    "strip_accents": _strip_accents,
    "digits": partial(_DIGIT.sub, "#"),
    "digits0": partial(_DIGIT.sub, "0"),
    "underscore": _underscore,
    "piece": _piece,
}
_BY_LINE = FOLDS.keys() - {"piece"}
_RESERVED = ("found", "missing", "nearest")  # lines of a coverage


@dataclass(frozen=True)
class Stage:
    """One way in which an id may find its row.

    Attributes
    ----------
    name : str
        As coverage shows it.
    fold : callable
        From str to str.
    by_line : bool
        Folding lines that are joined by line feeds gives the folded lines.
    """

    name: str
    fold: Fold
    by_line: bool

    @property
    def is_exact(self) -> bool:
        """Does it leave every token as it is?"""
        return self.fold is FOLDS["exact"]

    def fold_all(self, tokens: Sequence[str]) -> list[str]:
        """The folded tokens; all at once where the fold allows it, which is ten times as fast."""
        if self.is_exact:
            return list(tokens)
        if self.by_line:
            folded = self.fold("\n".join(tokens)).split("\n")
            if len(folded) == len(tokens):  # else a token holds a line feed
                return folded
        return list(map(self._checked, tokens))

    def _checked(self, token: str) -> str:
        folded = self.fold(token)
        if not isinstance(folded, str):
            raise EmbedFreezeError(
                f"a match stage must give str, received {type(folded).__name__} from "
                f"{self.name!r} for the token {token!r}"
            )
        return folded


def _compose(folds: Sequence[Fold], text: str) -> str:
    return reduce(lambda folded, fold: fold(folded), folds, text)


def _stage(step: str | Fold, taken: Collection[str]) -> Stage:
    if isinstance(step, str):
        folds = [FOLDS[name] for name in step.split("+")]
        fold = folds[0] if len(folds) == 1 else partial(_compose, folds)
        return Stage(step, fold, by_line=_BY_LINE.issuperset(step.split("+")))
    name = getattr(step, "__name__", type(step).__name__)
    names = chain([name], (f"{name} ({i})" for i in count(2)))
    return Stage(next(free for free in names if free not in taken), step, by_line=False)


def stages_of(match: Match) -> tuple[Stage, ...]:
    """The stages of `match=`, in the caller's order.

    Parameters
    ----------
    match : sequence of str or callable
        Names out of `FOLDS`; ``"piece+lower"`` folds twice, from left to right.

    Raises
    ------
    ValueError
        No stage, or one that is neither a known name nor a callable, or one named twice.
    """
    if isinstance(match, str) or not isinstance(match, Iterable):
        raise ValueError(
            f"match must be some of {', '.join(FOLDS)} in a list, as ['exact', 'lower'], received "
            f"{match!r}: put it in a list"
        )
    steps = tuple(match)
    known = all(
        callable(step) or (isinstance(step, str) and set(step.split("+")) <= FOLDS.keys())
        for step in steps
    )
    named = [step for step in steps if isinstance(step, str)]
    if not steps or not known or len(set(named)) != len(named):
        raise ValueError(
            f"match must be some of {', '.join(FOLDS)}, each once, joined by + where one follows "
            f"another, or callables from str to str, received {match!r}"
        )
    stages: list[Stage] = []
    for step in steps:
        stages.append(_stage(step, {*_RESERVED, *named, *(stage.name for stage in stages)}))
    return tuple(stages)
