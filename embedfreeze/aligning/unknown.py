"""Policies for the rows of tokens that a file has not, and of special tokens."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.aligning.moments import CHUNK_ROWS, deviation_of, finite_rows, mean_of
from embedfreeze.errors import EmbedFreezeError, UnknownTokenError, VocabularyError
from embedfreeze.threads import spans
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = ["OOV_NAMES", "SPECIAL_NAMES", "Oov", "Policies", "SpecialRow"]

PolicyName = Literal["zeros", "mean", "normal", "hash", "error", "nearest", "subword"]
Maker = Callable[[list[str]], npt.ArrayLike]
Oov = PolicyName | Maker
SpecialRow = Literal["zeros", "mean", "normal", "hash", "file"] | npt.ArrayLike
OOV_NAMES: tuple[str, ...] = get_args(PolicyName)
SPECIAL_NAMES = ("zeros", "mean", "normal", "hash", "file")
HASH_SCALE = 2.0**-24  # 24 random bits become a float32 in [-0.5, 0.5) without rounding
Int64 = npt.NDArray[np.int64]
Matrix = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Policies:
    """What the rows become that no file gives.

    Parameters
    ----------
    oov : str or callable
        For ordinary tokens, as `load` describes it. Special tokens but the padding follow it too
        if it is "zeros", "mean", "normal" or "hash", and are zeros otherwise.
    special : mapping of str to str or array-like
        For single special tokens: one of those four, "file" (the file's row, or else as `oov`
        says), or a vector [dim].
    seed : int
        For "normal" and "hash".
    """

    oov: Oov = "zeros"
    special: Mapping[str, SpecialRow] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if not callable(self.oov) and self.oov not in OOV_NAMES:
            raise ValueError(
                f"oov must be one of {', '.join(OOV_NAMES)}, or a callable, received {self.oov!r}"
            )
        object.__setattr__(self, "seed", operator.index(self.seed))  # NumPy's are no JSON
        if not isinstance(self.special, Mapping):
            raise TypeError(
                f"special must map special tokens to rows, received {self.special!r}: "
                f'write {{"[UNK]": "mean"}}'
            )
        for token, row in self.special.items():
            if isinstance(row, str) and row not in SPECIAL_NAMES:
                raise ValueError(
                    f"the row of a special token must be one of {', '.join(SPECIAL_NAMES)}, or a "
                    f"vector, received {row!r} for {token!r}"
                )

    def described(self) -> dict[str, Any]:
        """Ready for JSON; callables by their names."""
        name = getattr(self.oov, "__name__", type(self.oov).__name__)
        return {
            "oov": self.oov if isinstance(self.oov, str) else name,
            "special": {t: r if isinstance(r, str) else "vector" for t, r in self.special.items()},
            "seed": self.seed,
        }

    def refuse(self, vocabulary: Vocabulary) -> None:
        """`VocabularyError` if a row is given for what is no special token, or for the padding."""
        for token in self.special:
            if token == vocabulary.padding:
                raise VocabularyError(
                    f"the padding row is zeros, received another for {token!r}: leave it out"
                )
            if token not in vocabulary.special_tokens:
                raise VocabularyError(
                    f"special= gives rows to special tokens, received {token!r}: name it with "
                    f"special= of the vocabulary, whose special tokens are "
                    f"{', '.join(map(repr, vocabulary.special_tokens)) or 'none'}"
                )

    def from_file(self, vocabulary: Vocabulary) -> list[int]:
        """Ids of the special tokens whose rows the file gives, if it has them."""
        return [
            vocabulary.index(token)
            for token, row in self.special.items()
            if isinstance(row, str) and row == "file"
        ]

    def not_from_file(self, vocabulary: Vocabulary) -> list[int]:
        """Ids of the other special tokens that are given rows."""
        given = set(self.from_file(vocabulary))
        return [i for i in map(vocabulary.index, self.special) if i not in given]

    def refuse_missing(self, missing: Sequence[str], source: str) -> None:
        """`UnknownTokenError` if a missing token is an error."""
        if self.oov == "error" and missing:
            shown = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
            raise UnknownTokenError(
                f"{source}: each token must have a row, received {len(missing)} without: {shown}; "
                f"take them out of the vocabulary, or choose another oov= (--oov)"
            )

    def fill(self, matrix: Matrix, vocabulary: Vocabulary, found: Int64, unknown: Int64) -> None:
        """Fill the rows of unknown ids of a matrix [ids, dim] of zeros.

        Parameters
        ----------
        matrix : numpy.ndarray
            The rows of the `found` ids are there.
        vocabulary : Vocabulary
            Whose ids are the rows.
        found, unknown : numpy.ndarray
            int64, ids. The padding is in neither, or stays zeros.
        """
        special = np.isin(unknown, np.array(vocabulary.special_ids, np.int64), kind="table")
        name: str = self.oov if isinstance(self.oov, str) else "callable"
        groups: dict[str, list[int]] = {name: unknown[~special].tolist()}
        for i in unknown[special].tolist():
            groups.setdefault(self._special_row(vocabulary, i), []).append(i)
        for name, ids in groups.items():
            if ids and name in _FILLERS:
                _FILLERS[name](matrix, vocabulary, found, np.array(sorted(ids)), self)

    def _special_row(self, vocabulary: Vocabulary, i: int) -> str:
        token = vocabulary.tokens[i]
        row = self.special.get(token, self.oov)
        if isinstance(row, str) and row == "file":  # which has none
            row = self.oov
        return "zeros" if token == vocabulary.padding or not isinstance(row, str) else row

    def of_columns(self, low: int, high: int, dim: int) -> Policies:
        """For the columns low to high - 1 of rows [dim] that several sources give together.

        Hashed values are then those of whole rows; a callable makes whole rows.
        """
        oov = self.oov
        if isinstance(oov, str):
            return replace(self, seed=self.seed + low)
        return replace(self, oov=lambda tokens: _made(oov, tokens, dim)[:, low:high])

    def place_vectors(self, matrix: Matrix, vocabulary: Vocabulary) -> None:
        """Put the vectors that the caller gave into the rows of their special tokens."""
        for token, row in self.special.items():
            if isinstance(row, str):
                continue
            vector = np.asarray(row)
            if vector.shape != matrix.shape[1:] or vector.dtype.kind not in "fiu":
                raise EmbedFreezeError(
                    f"the row of a special token must be a vector [{matrix.shape[1]}], received "
                    f"{list(vector.shape)} of {vector.dtype} for {token!r}"
                )
            matrix[vocabulary.index(token)] = vector


def _fill_mean(matrix: Matrix, _: Vocabulary, found: Int64, ids: Int64, __: Policies) -> None:
    matrix[ids] = mean_of(matrix, finite_rows(matrix, found))


def _fill_normal(
    matrix: Matrix, _: Vocabulary, found: Int64, ids: Int64, policies: Policies
) -> None:
    rows = finite_rows(matrix, found)
    mean = mean_of(matrix, rows)
    deviation = deviation_of(matrix, rows, mean)
    random = np.random.default_rng(policies.seed % 2**64)
    for low, high in spans(0, len(ids), CHUNK_ROWS):
        drawn = random.standard_normal((high - low, matrix.shape[1]))
        matrix[ids[low:high]] = drawn * deviation + mean


def _fill_hash(
    matrix: Matrix, vocabulary: Vocabulary, _: Int64, ids: Int64, policies: Policies
) -> None:
    tokens = Tokens.from_strings(vocabulary.tokens[i] for i in ids)
    for low, high in spans(0, len(ids), CHUNK_ROWS):
        part = tokens.part(low, high)
        matrix[ids[low:high]] = _hashed_rows(part, matrix.shape[1], policies.seed)


def _fill_callable(
    matrix: Matrix, vocabulary: Vocabulary, _: Int64, ids: Int64, policies: Policies
) -> None:
    if not isinstance(policies.oov, str):  # as the table of fillers has it
        tokens = [vocabulary.tokens[i] for i in ids.tolist()]
        matrix[ids] = _made(policies.oov, tokens, matrix.shape[1])


def _made(make: Maker, tokens: list[str], dim: int) -> Matrix:
    """The rows [tokens, dim] that a callable makes, checked."""
    rows = np.asarray(make(tokens))
    expected = (len(tokens), dim)
    if rows.shape != expected or rows.dtype.kind not in "fiu":
        raise EmbedFreezeError(
            f"the callable of oov= must give numbers {list(expected)}, a row for each token, "
            f"received {rows.dtype} {list(rows.shape)}"
        )
    return rows


_FILLERS = {
    "mean": _fill_mean,
    "normal": _fill_normal,
    "hash": _fill_hash,
    "callable": _fill_callable,
}


def _hashed_rows(tokens: Tokens, dim: int, seed: int) -> npt.NDArray[np.float32]:
    """Rows in [-0.5, 0.5) that depend on the token and the seed alone, the same everywhere.

    Each value is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) of the token's hash, the seed and
    the column, of which the highest 24 bits become a float without rounding.
    """
    hashes = np.empty(len(tokens), dtype=np.uint64)
    _kernel.hash_tokens(tokens.blob, tokens.offsets, hashes)
    golden = 0x9E3779B97F4A7C15
    start = np.uint64((seed * golden) % 2**64)
    steps = np.arange(1, dim + 1, dtype=np.uint64) * np.uint64(golden)
    x = (hashes + start)[:, None] + steps
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    centred = (x >> np.uint64(40)).astype(np.int32) - (1 << 23)
    rows: npt.NDArray[np.float32] = centred.astype(np.float32) * np.float32(HASH_SCALE)
    return rows
