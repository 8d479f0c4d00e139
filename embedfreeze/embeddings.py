"""Embeddings: tokens and their matrix, immutable, in file order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.coverage import MISSING, Coverage
from embedfreeze.coveragerecord import CoverageRecord, coverage_of_record
from embedfreeze.errors import EmbedFreezeError, FormatError, UnknownTokenError
from embedfreeze.sealed import SealedMatrix, block_digests, combine_digests, told_memory
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = [
    "Alignment",
    "Embeddings",
    "keyed_vectors",
    "provenance_stored_as",
    "vectors_of_gensim",
]


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

    def stored_as(self, dtype: str) -> Alignment:
        """The same, after the rows were stored in another dtype."""
        return replace(self, provenance=provenance_stored_as(self.provenance, dtype))

    @cached_property
    def filled(self) -> npt.NDArray[np.bool_] | None:
        """bool [n]: rows of ordinary tokens that no source gave; None where that is not known."""
        if self.coverage is None:
            return None
        filled: npt.NDArray[np.bool_] = self.coverage.stages.max(axis=0) == MISSING
        return filled

    @cached_property
    def found(self) -> npt.NDArray[np.bool_] | None:
        """bool [n]: rows that a source gave to an ordinary token; None where that is not known."""
        if self.coverage is None:
            return None
        found: npt.NDArray[np.bool_] = self.coverage.stages.max(axis=0) >= 0
        return found


def provenance_stored_as(provenance: dict[str, Any], dtype: str) -> dict[str, Any]:
    """The provenance of rows that were stored in another dtype at the end: all of these dtypes."""
    return {**provenance, "storage": [*provenance.get("storage", []), dtype]}


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Tokens and their matrix, as every reader returns and every writer takes them.

    Parameters
    ----------
    tokens : Tokens or sequence of str
        n different tokens in file order.
    matrix : numpy.ndarray
        What is stored, C-contiguous: float32, float16 or bfloat16 [n, dim], or int8 [n, dim + 4],
        whose last four columns are the scale of the row (`embedfreeze.storage` tells more). Row i
        belongs to token i. It is made read-only.
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
        matrix = self.matrix
        if not isinstance(matrix, np.ndarray):
            raise TypeError(
                f"a matrix must be a NumPy array [n, dim], received {type(matrix).__name__}: give "
                "the tokens first and then numpy.asarray(matrix, numpy.float32)"
            )
        if not isinstance(self.tokens, Tokens):
            object.__setattr__(self, "tokens", Tokens.from_strings(self.tokens))
        known = matrix.ndim == 2 and str(matrix.dtype) in storage.DTYPES
        if not known or not matrix.flags.c_contiguous:
            raise EmbedFreezeError(
                f"a matrix must be C-contiguous [n, dim] of {', '.join(storage.DTYPES[:-1])}, or "
                f"[n, dim + {storage.SCALE_BYTES}] of int8, received {matrix.dtype} "
                f"{list(matrix.shape)}"
            )
        storage.dim_of(self.dtype, matrix.shape[1])  # refuses int8 without scales
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
        return storage.dim_of(self.dtype, self.matrix.shape[1])

    @property
    def dtype(self) -> str:
        """How the rows are stored: "float32", "float16", "bfloat16" or "int8"."""
        return str(self.matrix.dtype)

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
        """The coverage that a store holds, for a vocabulary of equal tokens.

        Parameters
        ----------
        vocabulary : Vocabulary
            One of the tokens of the rows, in their order.

        Returns
        -------
        Coverage or None
            None where the store holds none.
        """
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
        """Whether this is a store that was saved with this very vocabulary.

        Parameters
        ----------
        vocabulary : Vocabulary
            The one that is asked for.

        Returns
        -------
        bool
            Whether tokens, ids and settings are equal.
        """
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
        return f"Embeddings({len(self)} x {self.dim} {self.dtype}{where})"

    def _repr_html_(self) -> str:
        from embedfreeze.notebook import SHOWN_TOKENS, rows_html
        from embedfreeze.plainlines import bytes_told

        memory = "ordinary memory" if self.sealed is None else told_memory(self.sealed)
        known = self.sealed is not None and self.sealed.digest_known
        found = {
            "dtype": self.dtype,
            "memory": f"{bytes_told(self.matrix.nbytes)}, {memory}",
            "path": self.path,
            "digest": self.digest if known else None,
        }
        tokens = [self.tokens[i] for i in range(min(len(self), SHOWN_TOKENS))]
        values = storage.decode(self.matrix[: len(tokens)])
        return rows_html("Embeddings", (len(self), self.dim), found, tokens, values)

    def index(self, token: str) -> int:
        """Row of a token; `UnknownTokenError` (a `KeyError`) if there is none.

        Parameters
        ----------
        token : str
            The one that is looked for.

        Returns
        -------
        int
            Counted from 0.
        """
        return self.tokens.index(token)

    def rows(self, tokens: Sequence[str]) -> npt.NDArray[np.int32]:
        """Row of each token, int32 [tokens]; -1 where there is none.

        Parameters
        ----------
        tokens : sequence of str
            n tokens.

        Returns
        -------
        numpy.ndarray
            int32 [n].

        Examples
        --------
        >>> e = Embeddings(["king", "queen"], np.array([[1, 2], [3, 4]], dtype=np.float32))
        >>> e.rows(["queen", "prince"]).tolist()
        [1, -1]
        """
        return self.tokens.find(tokens)

    @overload
    def __getitem__(self, tokens: str) -> npt.NDArray[Any]: ...
    @overload
    def __getitem__(self, tokens: Sequence[str]) -> npt.NDArray[Any]: ...
    def __getitem__(self, tokens: str | Sequence[str]) -> npt.NDArray[Any]:
        """The vector of a token [dim] (no copy), or of several [tokens, dim] (a copy).

        Of int8 the values, float32: always a copy.
        """
        if isinstance(tokens, str):
            return self._values(self.matrix[self.index(tokens)])
        if not isinstance(tokens, Sequence | np.ndarray):
            raise TypeError(
                f"a key must be a token or a list of tokens, received {type(tokens).__name__}: "
                "rows by number are in .matrix"
            )
        rows = self.rows(tokens)
        if (rows < 0).any():
            missing = [token for token, row in zip(tokens, rows, strict=True) if row < 0]
            raise UnknownTokenError(
                f"the table has no token {missing[0]!r} ({len(missing)} of {len(rows)} missing)"
            )
        return self._values(self.matrix[rows])

    def _values(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return storage.decode(rows) if self.dtype == "int8" else rows

    def astype(self, dtype: str) -> Embeddings:
        """These embeddings with their rows stored in another dtype, in ordinary memory.

        Parameters
        ----------
        dtype : {"float32", "float16", "bfloat16", "int8"}
            The one wanted; these embeddings themselves are returned if they have it.

        Returns
        -------
        Embeddings
            With the same tokens in the same order.

        Raises
        ------
        FormatError
            A value is finite but would not be in float16 or bfloat16, or is not finite and would be
            int8: the row and token are named.

        Examples
        --------
        >>> e = Embeddings(["king"], np.array([[127, -2.25]], np.float32)).astype("int8")
        >>> e.matrix.tolist(), e["king"].tolist()  # the scale is 1.0
        ([[127, -2, 0, 0, -128, 63]], [127.0, -2.0])
        """
        if storage.checked_dtype(dtype) == self.dtype:
            return self
        matrix = storage.converted(self.matrix, dtype, refuse=self.refuse_row)
        return replace(self, matrix=matrix, sealed=None, alignment=self.alignment.stored_as(dtype))

    def refuse_row(self, row: int, rule: str) -> FormatError:
        """The error of a row that breaks a rule.

        Parameters
        ----------
        row : int
            Counted from 0.
        rule : str
            What must hold, what was received and what to do.

        Returns
        -------
        FormatError
            To be raised.
        """
        return FormatError(f"token {self.tokens[row]!r}: {rule}", path=self.path, row=row)

    def to_gensim(self) -> Any:
        """A `gensim.models.KeyedVectors` over the same memory; of bfloat16 and int8 a copy.

        gensim cannot write into memory that it shares with these embeddings.

        Raises
        ------
        EmbedFreezeError
            gensim is not installed.
        """
        encoded = self.dtype in storage.ENCODED
        matrix = storage.decode(self.matrix) if encoded else self.matrix
        vectors = keyed_vectors()(self.dim, dtype=matrix.dtype)
        vectors.index_to_key = list(self.tokens)
        vectors.key_to_index = {token: i for i, token in enumerate(vectors.index_to_key)}
        vectors.next_index = len(self)
        vectors.vectors = matrix
        return vectors

    @classmethod
    def from_gensim(cls, source: Any) -> Embeddings:
        """The vectors of gensim, over the same memory where they are float32 or float16.

        Parameters
        ----------
        source : gensim.models.KeyedVectors
            Or a model that has them as ``.wv`` or ``.kv``, such as `Word2Vec`.

        Returns
        -------
        Embeddings
            They cannot be written through; but whoever has `source` can, and then its memory is
            theirs too: ``Embeddings.from_gensim(source).astype(...)``, `align` and `write` make
            copies. Of float64, and of rows that do not lie one behind the other, it is a copy,
            float64 rounded to float32.

        Raises
        ------
        EmbedFreezeError
            A key is no text, or there are not as many rows as keys.

        Examples
        --------
        >>> e = Embeddings(["king"], np.array([[1, 2]], np.float32))
        >>> again = Embeddings.from_gensim(e.to_gensim())
        >>> list(again.tokens), np.shares_memory(again.matrix, e.matrix)
        (['king'], True)
        """
        tokens, matrix = vectors_of_gensim(source)
        if str(matrix.dtype) not in storage.DTYPES:
            matrix = matrix.astype(np.float32)
        return cls(tokens, np.ascontiguousarray(matrix))


def keyed_vectors() -> Any:
    """The class `gensim.models.KeyedVectors`; `EmbedFreezeError` where gensim is missing."""
    try:
        from gensim.models import KeyedVectors
    except ImportError as error:
        raise EmbedFreezeError(
            f'gensim is needed and cannot be imported ({error}): pip install "embedfreeze[gensim]"'
        ) from error
    return KeyedVectors


def vectors_of_gensim(source: Any) -> tuple[Tokens, npt.NDArray[Any]]:
    """The keys of gensim's vectors, or of a model's, and their rows [n, dim] as they are."""
    found = next((getattr(source, n) for n in ("wv", "kv") if hasattr(source, n)), source)
    keys, matrix = getattr(found, "index_to_key", None), getattr(found, "vectors", None)
    if not isinstance(keys, list) or not isinstance(matrix, np.ndarray):
        raise EmbedFreezeError(
            f"vectors must be gensim's KeyedVectors, or those of a model as .wv or .kv, received "
            f"{type(source).__module__}.{type(source).__qualname__}"
        )
    for row, key in enumerate(keys):
        if not isinstance(key, str):
            raise EmbedFreezeError(
                f"keys must be text, received {key!r} in row {row}: give gensim's vectors keys of "
                f"str"
            )
    if matrix.ndim != 2 or matrix.dtype.kind != "f" or len(matrix) < len(keys):
        raise EmbedFreezeError(
            f"each of {len(keys)} keys must have a row of floats, received {matrix.dtype} "
            f"{list(matrix.shape)}"
        )
    return Tokens.from_strings(keys), matrix[: len(keys)]
