"""Coverage: which ids of a vocabulary found a row in a file, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.errors import FileError
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = ["MISSING", "NOT_ASKED", "SPECIAL", "Collision", "Coverage", "spellings_of"]

MISSING = -1
SPECIAL = -2
NOT_ASKED = -3
SHOWN = 5  # tokens in a line of what `print` shows
MOST_NEAR = 3  # spellings of one token
Stages = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Collision:
    """Several tokens of the vocabulary that share one row of the file."""

    spelling: str
    tokens: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Coverage:
    """Which ids found a row, in which match stage, by type and by token.

    A type is a different token; where the vocabulary knows how often each occurs in the user's
    texts, coverage by token weighs each type with that.

    Attributes
    ----------
    vocabulary : Vocabulary
        Whose ids were looked up. Special tokens are not.
    match : tuple of str
        The match stages in their order.
    stage_of_id : numpy.ndarray
        int8 [ids]: index into `match`; -1 is missing, -2 a special token, -3 was not looked up
        because an earlier source has it.
    special_in_file : tuple of str
        Special tokens that the file has too; their rows were not taken unless asked for.
    duplicates : dict of str to int
        Tokens that found a row and have more of them in the file; how many more.
    found_as : Tokens or None
        [ids]: the file's spelling of a row's token where the vocabulary spells it otherwise, else
        empty. None if there is no such id.
    source : str or None
        Where the rows come from.
    sources : tuple of Coverage
        One for each source, where there are several.
    known_nearest : dict of str to list of str
        What `nearest` has looked up so far.
    file_tokens : callable or None
        Gives the tokens of the file once more, where it can still be read.
    has_subwords : bool
        Whether the file that was read has vectors of n-grams; a store does not keep that.

    Examples
    --------
    >>> v = Vocabulary(["king", "King", "zzzz"], counts={"king": 5, "King": 2, "zzzz": 1})
    >>> stages = np.array([-2, -2, 0, 1, -1], np.int8)
    >>> print(Coverage(v, ("exact", "lower"), stages))
    stage    types        tokens
    exact        1  33.3%     5  62.5%
    lower        1  33.3%     2  25.0%
    found        2  66.7%     7  87.5%
    missing      1  33.3%     1  12.5%
    most frequent missing: 'zzzz' (1)
    """

    vocabulary: Vocabulary
    match: tuple[str, ...]
    stage_of_id: Stages
    special_in_file: tuple[str, ...] = ()
    duplicates: dict[str, int] = field(default_factory=dict)
    found_as: Tokens | None = None
    source: str | None = None
    sources: tuple[Coverage, ...] = ()
    known_nearest: dict[str, list[str]] = field(default_factory=dict, repr=False)
    file_tokens: Callable[[], Iterable[Tokens]] | None = field(default=None, repr=False)
    has_subwords: bool = False

    @classmethod
    def combined(
        cls, parts: Sequence[Coverage], known_nearest: dict[str, list[str]] | None = None
    ) -> Coverage:
        """The coverage of several sources, of which for each id the first that has it counts.

        Parameters
        ----------
        parts : sequence of Coverage
            One for each source, in their order.
        known_nearest : dict of str to list of str, optional
            What `nearest` has found before.

        Returns
        -------
        Coverage
            Of all of them.
        """
        first = parts[0]
        if len(parts) == 1:
            return first
        every = np.stack([part.stage_of_id for part in parts])
        owner = np.argmax(every >= 0, axis=0)
        given = every[owner, np.arange(every.shape[1])]
        stages = np.where(given >= 0, given, every.max(axis=0))
        return cls(
            first.vocabulary,
            first.match,
            stages,
            tuple(dict.fromkeys(t for part in parts for t in part.special_in_file)),
            {t: n for part in reversed(parts) for t, n in part.duplicates.items()},
            _chosen_spellings(parts, owner),
            ", ".join(part.source for part in parts if part.source is not None) or None,
            tuple(parts),
            known_nearest or {},
            has_subwords=any(part.has_subwords for part in parts),
        )

    @classmethod
    def extended(cls, old: Coverage | None, new: Coverage, vocabulary: Vocabulary) -> Coverage:
        """The coverage of a vocabulary that is an old one and, behind it, a new one.

        Parameters
        ----------
        old : Coverage or None
            That of the first ids, where it is known.
        new : Coverage
            That of the ids behind them.
        vocabulary : Vocabulary
            The one that has all of these ids.

        Returns
        -------
        Coverage
            For that vocabulary.
        """
        n = len(vocabulary) - len(new.stage_of_id)
        parts = [new._moved(vocabulary, n)]
        if old is not None:
            parts = [*(p._moved(vocabulary, 0) for p in old.sources or (old,)), *parts]
        names = tuple(dict.fromkeys(name for part in parts for name in part.match))
        known = None if old is None else dict(old.known_nearest)
        return cls.combined([part._renumbered(names) for part in parts], known)

    def _moved(self, vocabulary: Vocabulary, first: int) -> Coverage:
        """For a longer vocabulary, in which these ids begin at `first`."""
        n = len(self.stage_of_id)
        stages = np.full(len(vocabulary), NOT_ASKED, np.int8)
        stages[first : first + n] = self.stage_of_id
        found_as = self.found_as
        if found_as is not None:
            sizes = np.zeros(len(vocabulary), np.int64)
            sizes[first : first + n] = np.diff(found_as.offsets)
            offsets = np.concatenate([found_as.offsets[:1], sizes]).cumsum()
            found_as = Tokens(found_as.blob, offsets, unicode_errors="surrogateescape")
        return replace(
            self,
            vocabulary=vocabulary,
            stage_of_id=stages,
            found_as=found_as,
            known_nearest=dict(self.known_nearest),
        )

    def _renumbered(self, match: tuple[str, ...]) -> Coverage:
        """With the indices of a longer tuple of match stages."""
        numbers = np.array([match.index(name) for name in self.match], np.int8)
        stages = self.stage_of_id.copy()
        stages[stages >= 0] = numbers[stages[stages >= 0]]
        return replace(self, match=match, stage_of_id=stages)

    @property
    def found_ids(self) -> npt.NDArray[np.int64]:
        """Ordinary ids that have a row of a file, rising."""
        return np.flatnonzero(self.stage_of_id >= 0)

    @property
    def repeated(self) -> int:
        """Rows of the file that repeat a token which found a row."""
        return sum(self.duplicates.values())

    @cached_property
    def _counts(self) -> npt.NDArray[np.int64] | None:
        counts = self.vocabulary.counts
        if counts is None:
            return None
        return np.array([counts.get(token, 0) for token in self.vocabulary.tokens], np.int64)

    def _number(self, chosen: npt.NDArray[np.bool_], by: str) -> int:
        if by not in ("type", "token"):
            raise ValueError(f"by must be one of type, token, received {by!r}")
        if by == "type":
            return int(np.count_nonzero(chosen))
        if self._counts is None:
            raise ValueError("coverage by token needs a vocabulary with counts: make it from texts")
        return int(self._counts[chosen].sum())

    def total(self, by: str = "type") -> int:
        """Number of ordinary types that were looked up, or of tokens with ``by="token"``.

        Parameters
        ----------
        by : {"type", "token"}
            What is counted.

        Returns
        -------
        int
            How many there are.
        """
        return self._number(self.stage_of_id >= MISSING, by)

    def found(self, stage: str | None = None, *, by: str = "type") -> int:
        """How many types (tokens, with ``by="token"``) found a row, in one stage or in any.

        Parameters
        ----------
        stage : str, optional
            One of `match`; default: all of them.
        by : {"type", "token"}
            What is counted.

        Returns
        -------
        int
            How many there are.
        """
        chosen = self.stage_of_id >= 0
        if stage is not None and stage not in self.match:
            raise ValueError(f"stage must be one of {', '.join(self.match)}, received {stage!r}")
        if stage is not None:
            chosen = self.stage_of_id == self.match.index(stage)
        return self._number(chosen, by)

    def share(self, *, by: str = "type") -> float:
        """Found types (tokens) as a share of all; 1.0 for an empty vocabulary.

        Parameters
        ----------
        by : {"type", "token"}
            What is counted.

        Returns
        -------
        float
            From 0 to 1.
        """
        total = self.total(by)
        return self.found(by=by) / total if total else 1.0

    @cached_property
    def missing_ids(self) -> npt.NDArray[np.int64]:
        """Ids without a row in the file, rising."""
        return np.flatnonzero(self.stage_of_id == MISSING)

    def missing(self, n: int | None = None) -> list[tuple[str, int | None]]:
        """Tokens without a row and their counts (or None), the most frequent first.

        Parameters
        ----------
        n : int, optional
            At most so many; default: all.

        Returns
        -------
        list of (str, int or None)
            Each token and how often it occurs.
        """
        ids = self.missing_ids
        if self._counts is not None:
            ids = ids[np.argsort(-self._counts[ids], kind="stable")]
        tokens, counts = self.vocabulary.tokens, self._counts
        return [(tokens[i], None if counts is None else int(counts[i])) for i in ids[:n]]

    def nearest(self, n: int | None = 20) -> dict[str, list[str]]:
        """The file's spellings within one edit of the most frequent missing tokens.

        The tokens of the file are read once more, unless a call before or the store knows them.

        Parameters
        ----------
        n : int, optional
            How many missing tokens; None for all.

        Returns
        -------
        dict of str to list of str
            Up to three spellings each, the earliest in the file first. Of a coverage out of a
            store, whose file is no longer at hand, only what was looked up before it was saved.

        Raises
        ------
        FileError
            The file can be read no second time.
        """

        asked = [token for token, _ in self.missing(n)]
        fresh = [token for token in asked if token not in self.known_nearest]
        if fresh:
            self.known_nearest.update(self._looked_up(fresh))
        known = self.known_nearest
        return {token: known[token] for token in asked if token in known}

    def _looked_up(self, tokens: list[str]) -> dict[str, list[str]]:
        """Near spellings of tokens in all sources that were asked for them and are at hand."""
        found: dict[str, list[str]] = {token: [] for token in tokens}
        parts = self.sources or (self,)
        for part in parts:
            stages, index = part.stage_of_id, part.vocabulary.index
            asked = [token for token in found if stages[index(token)] == MISSING]
            if part.file_tokens is None:  # nobody can tell
                found = {token: near for token, near in found.items() if token not in asked}
            elif asked:
                near_of = _nearest_in(part.file_tokens(), asked, MOST_NEAR * len(parts))
                for token, near in near_of.items():
                    found[token] = list(dict.fromkeys([*found[token], *near]))[:MOST_NEAR]
        return found

    @cached_property
    def collisions(self) -> tuple[Collision, ...]:
        """Tokens of the vocabulary that share a row of the file, in the order of their ids."""
        if self.sources:
            return tuple(found for part in self.sources for found in part.collisions)
        if self.found_as is None:
            return ()
        tokens, groups = self.vocabulary.tokens, dict[str, list[str]]()
        otherwise = np.diff(self.found_as.offsets) > 0
        for i in np.flatnonzero(otherwise).tolist():
            groups.setdefault(self.found_as[i], []).append(tokens[i])
        for spelling, group in groups.items():
            if spelling in self.vocabulary:
                i = self.vocabulary.index(spelling)
                if self.stage_of_id[i] >= 0 and not otherwise[i]:
                    group.insert(0, spelling)
        return tuple(
            Collision(spelling, tuple(group)) for spelling, group in groups.items() if group[1:]
        )

    def to_dict(self, n: int | None = 20) -> dict[str, Any]:
        """The numbers, and of each kind at most `n` tokens (None: all), ready for JSON."""
        kinds = ["type"] if self._counts is None else ["type", "token"]
        numbers = {
            by: {
                "total": self.total(by),
                "found": self.found(by=by),
                "stages": {stage: self.found(stage, by=by) for stage in self.match},
            }
            for by in kinds
        }
        missing = [
            {"token": token, "count": count, "nearest": self.known_nearest.get(token)}
            for token, count in self.missing(n)
        ]
        return {
            "source": self.source,
            **numbers,
            "missing": missing,
            "collisions": [
                {"spelling": c.spelling, "tokens": list(c.tokens)} for c in self.collisions[:n]
            ],
            "n_collisions": len(self.collisions),
            "duplicates": dict(list(self.duplicates.items())[:n]),
            "n_duplicates": len(self.duplicates),
            "special_in_file": list(self.special_in_file),
            "sources": [part.to_dict(n) for part in self.sources],
        }

    def to_markdown(self, n: int = 20, *, nearest: bool = True) -> str:
        """A report: tables of the stages, of the sources and of the most frequent missing tokens.

        Parameters
        ----------
        n : int
            How many missing tokens, collisions and duplicates are listed.
        nearest : bool
            Look the file through for spellings within one edit of them (see `nearest`). Where
            that is not possible, as with a pipe, the report says so.

        Returns
        -------
        str
            Markdown, with a line end behind it.
        """
        from embedfreeze.coveragereport import markdown

        note = None
        try:
            if nearest:
                self.nearest(n)
        except FileError as error:
            note = f"spellings could not be looked up: {error}"
        return markdown(self.to_dict(n), note)

    def __repr__(self) -> str:
        return f"{self.found()} of {self.total()} types found"

    def _repr_html_(self) -> str:
        from embedfreeze.notebook import coverage_html

        return coverage_html(self.to_dict(SHOWN))

    def __str__(self) -> str:
        from embedfreeze.coveragereport import plain

        return plain(self.to_dict(SHOWN))


def spellings_of(part: Coverage) -> Tokens:
    """`found_as` of a source, with an empty spelling for each id where there is none."""
    if part.found_as is not None:
        return part.found_as
    return Tokens(b"", np.zeros(len(part.stage_of_id) + 1, np.int64))


def _nearest_in(parts: Iterable[Tokens], wanted: list[str], most: int) -> dict[str, list[str]]:
    from embedfreeze.nearest import NearestSpellings  # loading rows does not need it

    search = NearestSpellings(wanted, most=most)
    for tokens in parts:
        search.add(tokens)
    return search.found


def _chosen_spellings(parts: Sequence[Coverage], owner: npt.NDArray[np.int64]) -> Tokens | None:
    """For each id its spelling in the source that gave its row."""
    if all(part.found_as is None for part in parts):
        return None
    joined = Tokens.joined([spellings_of(part) for part in parts])
    return joined.take(owner * len(owner) + np.arange(len(owner)))
