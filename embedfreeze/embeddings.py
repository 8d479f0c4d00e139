"""Embeddings: tokens and their matrix, immutable, in file order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from embedfreeze.coverage import MISSING, Coverage
from embedfreeze.coveragerecord import CoverageRecord, coverage_of_record
from embedfreeze.errors import EmbedFreezeError, FormatError, UnknownTokenError
from embedfreeze.sealed import SealedMatrix, block_digests, combine_digests
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = ["DTYPES", "Alignment", "Embeddings"]

DTYPES = ("float32", "float16")


@dataclass(frozen=True, eq=False)
class Alignment:
    """What is known of rows that were aligned to a vocabulary, beside tokens and values.

    Attributes
    ----------
    counts : numpy.ndarray or None
        int64 [n]: how often each token occurs in the user's texts; -1 where that is not known.
    coverage : CoverageRecord or None
        Which ids found a row, and how.
    provenance : dict
        How the matrix was made, ready for JSON.
    """

    counts: npt.NDArray[np.int64] | None = None
    coverage: CoverageRecord | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def filled(self) -> npt.NDArray[np.bool_] | None:
        """bool [n]: rows of ordinary tokens that no source gave; None where that is not known."""
        if self.coverage is None:
            return None
        filled: npt.NDArray[np.bool_] = self.coverage.stages.max(axis=0) == MISSING
        return filled


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Tokens and their matrix, as every reader returns and every writer takes them.

    Parameters
    ----------
    tokens : Tokens or sequence of str
        n different tokens in file order.
    matrix : numpy.ndarray
        float32 or float16 [n, dim], C-contiguous; row i belongs to token i. It is made read-only.
    path : str, optional
        Where it was read from.
    sealed : SealedMatrix, optional
        The memory that holds the matrix, where that is a mapped store.
    special : dict, optional
        The settings of the vocabulary that a store was saved with.
    alignment : Alignment
        What the store says of how its rows came about.

    Raises
    ------
    EmbedFreezeError
        Shape, dtype or the number of tokens do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> e = Embeddings(["king", "queen"], np.array([[1, 2], [3, 4]], dtype=np.float32))
    >>> e["queen"].tolist(), "prince" in e, e[["queen", "king"]].tolist()
    ([3.0, 4.0], False, [[3.0, 4.0], [1.0, 2.0]])
    """

    tokens: Tokens
    matrix: npt.NDArray[Any]
    path: str | None = None
    sealed: SealedMatrix | None = None
    special: dict[str, Any] | None = None
    alignment: Alignment = Alignment()

    def __post_init__(self) -> None:
        if not isinstance(self.tokens, Tokens):
            object.__setattr__(self, "tokens", Tokens.from_strings(self.tokens))
        matrix = self.matrix
        if matrix.ndim != 2 or matrix.dtype not in DTYPES or not matrix.flags.c_contiguous:
            raise EmbedFreezeError(
                f"a matrix must be C-contiguous [n, dim] of {' or '.join(DTYPES)}, received "
                f"{matrix.dtype} {list(matrix.shape)}"
            )
        if len(self.tokens) != len(matrix):
            raise EmbedFreezeError(
                f"each row needs a token, received {len(self.tokens)} tokens and {len(matrix)} rows"
            )
        view = matrix.view()
        view.flags.writeable = False
        object.__setattr__(self, "matrix", view)

    @property
    def dim(self) -> int:
        """Values in a row."""
        return int(self.matrix.shape[1])

    @cached_property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the SHA-256 of each 1 MiB block of the matrix."""
        if self.sealed is not None:
            return self.sealed.digest
        return combine_digests(block_digests(self.matrix))

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary whose ids are the rows, where a store was saved with one."""
        if self.special is None:
            return None
        numbers, counts = self.alignment.counts, None
        if numbers is not None:
            pairs = zip(self.tokens, numbers.tolist(), strict=True)
            counts = {token: count for token, count in pairs if count >= 0}
        return Vocabulary.from_settings(self.tokens, self.special, counts)

    @property
    def coverage(self) -> Coverage | None:
        """Which ids of `vocabulary` found a row, where a store was saved with that."""
        return None if self.vocabulary is None else self.coverage_of(self.vocabulary)

    def coverage_of(self, vocabulary: Vocabulary) -> Coverage | None:
        """The coverage that a store holds, for a vocabulary of equal tokens."""
        record = self.alignment.coverage
        if record is None:
            return None
        try:
            return coverage_of_record(vocabulary, record)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"the coverage cannot be read ({error!r}): the file is damaged, get it or make it "
                f"again",
                path=self.path,
            ) from error

    @property
    def provenance(self) -> dict[str, Any]:
        """How the matrix was made, where a store was saved with that: sources, transforms."""
        return self.alignment.provenance

    def belongs_to(self, vocabulary: Vocabulary) -> bool:
        """Is this a store that was saved with this very vocabulary?"""
        return (
            self.sealed is not None
            and self.special is not None
            and len(self) == len(vocabulary)
            and vocabulary.settings() == self.special
            and self.vocabulary == vocabulary
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.tokens

    def __repr__(self) -> str:
        where = f", from {self.path}" if self.path else ""
        return f"Embeddings({len(self)} x {self.dim} {self.matrix.dtype}{where})"

    def index(self, token: str) -> int:
        """Row of a token; `UnknownTokenError` (a `KeyError`) if there is none."""
        return self.tokens.index(token)

    @overload
    def __getitem__(self, tokens: str) -> npt.NDArray[Any]: ...
    @overload
    def __getitem__(self, tokens: Sequence[str]) -> npt.NDArray[Any]: ...
    def __getitem__(self, tokens: str | Sequence[str]) -> npt.NDArray[Any]:
        """The vector of a token [dim] (no copy), or of several [tokens, dim] (a copy)."""
        if isinstance(tokens, str):
            return self.matrix[self.index(tokens)]  # type: ignore[no-any-return]
        rows = self.tokens.find(tokens)
        if (rows < 0).any():
            missing = [token for token, row in zip(tokens, rows, strict=True) if row < 0]
            raise UnknownTokenError(
                f"the table has no token {missing[0]!r} ({len(missing)} of {len(rows)} missing)"
            )
        return self.matrix[rows]

    def to_gensim(self) -> Any:
        """A `gensim.models.KeyedVectors` over the same memory."""
        from gensim.models import KeyedVectors

        vectors = KeyedVectors(self.dim, dtype=self.matrix.dtype)
        vectors.index_to_key = list(self.tokens)
        vectors.key_to_index = {token: i for i, token in enumerate(vectors.index_to_key)}
        vectors.vectors = self.matrix
        return vectors
