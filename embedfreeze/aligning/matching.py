"""What is looked for in a file: the spellings, and the ids that want the row of each."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from embedfreeze.aligning.folds import Stage
from embedfreeze.tokens import Tokens, TokensBuilder
from embedfreeze.vocabulary import Vocabulary

__all__ = ["Found", "Lookup", "Wishes", "lookups_of"]

Int64 = npt.NDArray[np.int64]
Columns = list[tuple[Int64, Int64, Int64]]  # keys, ids, ranks


@dataclass(frozen=True, eq=False)
class Wishes:
    """Which id wants the row of which key, and how much.

    Attributes
    ----------
    keys, ids, ranks : numpy.ndarray
        int64 [wishes], sorted by key. Of the rows that an id is offered it takes the one of the
        lowest rank.
    starts : numpy.ndarray
        int64 [keys + 1]: the wishes of key k are ``starts[k]`` to ``starts[k + 1] - 1``.
    """

    ids: Int64
    ranks: Int64
    starts: Int64

    @classmethod
    def of(cls, columns: Columns, n_keys: int) -> Wishes:
        keys, ids, ranks = map(np.concatenate, zip(*columns, strict=True))
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(n_keys + 1))
        return cls(ids[order], ranks[order], starts)

    def any_of(self, keys: Int64) -> npt.NDArray[np.bool_]:
        """Which of some keys (or -1) an id wants."""
        return self._wanted[keys]

    @cached_property
    def _wanted(self) -> npt.NDArray[np.bool_]:
        return np.diff(self.starts, append=self.starts[-1]) > 0  # the last is that of key -1

    def of_keys(self, keys: Int64) -> tuple[Int64, Int64]:
        """The wishes of some keys, and for each wish which of the keys it is."""
        counts = self.starts[keys + 1] - self.starts[keys]
        which = np.repeat(np.arange(len(keys)), counts)
        first = np.repeat(self.starts[keys] - np.cumsum(counts) + counts, counts)
        return first + np.arange(len(which)), which


@dataclass(frozen=True, eq=False)
class Found:
    """Rows of a batch that are offered to ids, in the order of the batch."""

    rows: Int64
    ids: Int64
    ranks: Int64


@dataclass(frozen=True, eq=False)
class Lookup:
    """Keys that the file's tokens are looked up among, as they are spelled or folded.

    Attributes
    ----------
    stage : Stage or None
        Folds the file's tokens first; None takes them as they are.
    keys : Tokens
        What they are compared with.
    wishes : Wishes
        Who wants the row of a key.
    """

    stage: Stage | None
    keys: Tokens
    wishes: Wishes

    def find(self, tokens: Tokens) -> Int64:
        """The key of each token, or -1."""
        if self.stage is not None:
            tokens = Tokens.from_strings(self.stage.fold_all(list(tokens.escaped())))
        return self.keys.find(tokens).astype(np.int64)

    def offers(self, rows: Int64, keys: Int64) -> Found:
        """The ids that want the rows, whose keys these are."""
        wishes, which = self.wishes.of_keys(keys)
        return Found(rows[which], self.wishes.ids[wishes], self.wishes.ranks[wishes])


class _Columns:
    """Collects wishes while the stages are gone through."""

    def __init__(self, expected: int) -> None:
        self.keys = TokensBuilder(expected)
        self.columns: Columns = []

    def add(self, spellings: Sequence[str], ids: Int64, ranks: Int64) -> None:
        self.columns.append((self.keys.number(Tokens.from_strings(spellings)), ids, ranks))

    def lookup(self, stage: Stage | None = None) -> Lookup:
        keys = self.keys.finish(np.empty(0, np.int64), "surrogateescape")
        return Lookup(stage, keys, Wishes.of(self.columns, len(keys)))


def lookups_of(
    vocabulary: Vocabulary,
    stages: Sequence[Stage],
    ids: Int64,
    *,
    special: Int64,
    fold_file: bool = False,
) -> list[Lookup]:
    """What to look for. The first lookup takes the file's tokens as they are spelled.

    A wish of stage s has the rank 2s where the file spells the token as the vocabulary does, else
    2s + 1. The keys of the first lookup hold all special tokens too, so that they are noticed.

    Parameters
    ----------
    vocabulary : Vocabulary
        Whose tokens are looked for.
    stages : sequence of Stage
        In the caller's order.
    ids : numpy.ndarray
        int64, the ordinary ids that need a row.
    special : numpy.ndarray
        int64, ids of special tokens that take the file's row of exactly their spelling.
    fold_file : bool
        Fold the file's tokens as well.
    """
    spelled, exact = [vocabulary.tokens[i] for i in ids.tolist()], False
    plain, folded = _Columns(len(vocabulary)), []
    plain.add([vocabulary.tokens[i] for i in special.tolist()], special, np.zeros_like(special))
    for s, stage in enumerate(stages):
        if (stage.is_exact or fold_file) and not exact:
            plain.add(spelled, ids, np.full_like(ids, 2 * s))
            exact = True
        if stage.is_exact:
            continue
        spellings = stage.fold_all(spelled)
        if fold_file:
            columns = _Columns(len(ids))
            columns.add(spellings, ids, np.full_like(ids, 2 * s + 1))
            folded.append(columns.lookup(stage))
            continue
        changed = np.fromiter(map(operator.ne, spellings, spelled), np.int64, len(spelled))
        # What the fold leaves as it is was wished for if an exact stage came before.
        chosen = np.flatnonzero(changed) if exact else np.arange(len(spelled))
        plain.add([spellings[j] for j in chosen.tolist()], ids[chosen], 2 * s + changed[chosen])
    plain.keys.number(Tokens.from_strings(vocabulary.special_tokens))
    return [plain.lookup(), *folded]
