"""The tokens whose vectors point most nearly the same way, by cosine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.embeddings import Embeddings
from embedfreeze.errors import UnknownTokenError, VocabularyError
from embedfreeze.formats import TableLike, embeddings_of
from embedfreeze.nearest import NearestSpellings
from embedfreeze.threads import spans, thread_count, thread_imap

__all__ = ["Near", "listed", "neighbours"]

TOGETHER = 32  # blocks whose nearest rows are brought together at a time
BLOCK_BYTES = 1 << 20  # of float64 rows in work, for each thread: they stay in the cache
Near = list[tuple[str, float]]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Nearest = tuple[Int64, npt.NDArray[np.float32]]  # rows and their cosines, the nearest first
_NOTHING: Nearest = (np.empty(0, np.int64), np.empty(0, np.float32))


@overload
def neighbours(  # type: ignore[overload-overlap]  # a str is an iterable of str, too
    embeddings: TableLike, tokens: str, n: int = ..., *, threads: int | None = ...
) -> Near: ...
@overload
def neighbours(
    embeddings: TableLike, tokens: Iterable[str], n: int = ..., *, threads: int | None = ...
) -> dict[str, Near]: ...
def neighbours(
    embeddings: TableLike,
    tokens: str | Iterable[str],
    n: int = 10,
    *,
    threads: int | None = None,
) -> Near | dict[str, Near]:
    """The nearest tokens by cosine, of one token or of each of several.

    The rows are gone through a block at a time, so that a mapped table of any size takes a few
    megabytes of memory, and what the neighbours of all tokens take. Cosines are computed in
    float64 from the exact values and rounded to float32 at the end; those of gensim's
    `most_similar` are float32 all the way and differ in the last digits.

    Parameters
    ----------
    embeddings : Embeddings, AlignedEmbeddings, or path
        Of any storage dtype. A path is read as `read` does, each time anew.
    tokens : str or iterable of str
        One token, or several.
    n : int
        How many neighbours of each.
    threads : int, optional
        Default: the cores that this process may run on.

    Returns
    -------
    list of (str, float), or dict of str to that list
        Neighbours and their cosines, the nearest first, equal ones in the order of their rows. The
        token itself is left out, and so are rows of zeros, or that are not finite, and those of a
        store that no source gave: of special tokens, and what a policy for missing tokens made.

    Raises
    ------
    UnknownTokenError
        The table has not the token; its near spellings are named.
    VocabularyError
        The token's own row has no direction: it is zeros, or not finite.

    Examples
    --------
    >>> import embedfreeze as ef
    >>> e = ef.read("data/glove.6B.50d.sample.txt")
    >>> [(token, round(cosine, 4)) for token, cosine in neighbours(e, "king", 3)]
    [('prince', 0.8236), ('queen', 0.7839), ('ii', 0.7746)]
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, received {n}")
    one = isinstance(tokens, str)
    asked = [tokens] if isinstance(tokens, str) else _asked(tokens)
    found = _found(embeddings_of(embeddings), asked, n, thread_count(threads)) if asked else {}
    return found[asked[0]] if one else found


def _asked(tokens: Iterable[str]) -> list[str]:
    given = list(tokens) if isinstance(tokens, Iterable) else [tokens]
    for token in given:
        if not isinstance(token, str):
            raise TypeError(
                f"tokens must be a str, or several, received {type(token).__name__}: name them; "
                "the tokens near a vector of your own are found by to_gensim().similar_by_vector"
            )
    return list(dict.fromkeys(given))


def listed(found: Mapping[str, Near]) -> dict[str, list[dict[str, Any]]]:
    """The neighbours of several tokens, ready for JSON."""
    return {
        token: [{"token": other, "cosine": cosine} for other, cosine in near]
        for token, near in found.items()
    }


def _found(embeddings: Embeddings, asked: list[str], n: int, threads: int) -> dict[str, Near]:
    rows = _rows(embeddings, asked)
    directions = _directions(embeddings, asked, rows)
    search = _Search(embeddings.matrix, embeddings.alignment.found, rows, directions, n)
    step = max(1, BLOCK_BYTES // (8 * max(1, embeddings.dim)))
    best = [[_NOTHING] for _ in asked]
    blocks = thread_imap(search.block, spans(0, len(embeddings), step), threads)
    for number, block in enumerate(blocks, start=1):
        for known, near in zip(best, block, strict=True):
            known.append(near)
        if number % TOGETHER == 0:
            best = [[_nearest_of(known, n)] for known in best]
    spelled = embeddings.tokens.escaped()
    return {
        token: [(spelled[row], cosine) for row, cosine in _listed(_nearest_of(known, n))]
        for token, known in zip(asked, best, strict=True)
    }


def _rows(embeddings: Embeddings, asked: list[str]) -> Int64:
    rows = embeddings.rows(asked)
    missing = [token for token, row in zip(asked, rows.tolist(), strict=True) if row < 0]
    if missing:
        search = NearestSpellings(missing)
        search.add(embeddings.tokens)
        told = ", ".join(_told(token, search.found[token]) for token in missing)
        raise UnknownTokenError(
            f"each token must be in the table, received {told}: check the spelling"
        )
    return rows.astype(np.int64)


def _told(token: str, near: list[str]) -> str:
    return f"{token!r}" + (f" (near it: {', '.join(map(repr, near))})" if near else "")


def _directions(embeddings: Embeddings, asked: list[str], rows: Int64) -> Float64:
    """The vectors of tokens, as long as 1 [tokens, dim]."""
    vectors = storage.decode(embeddings.matrix[rows]).astype(np.float64)
    with np.errstate(all="ignore"):
        vectors /= np.sqrt(_squares(vectors))[:, None]
    for token, vector in zip(asked, vectors, strict=True):
        if not np.isfinite(vector).all():
            raise VocabularyError(
                f"a row must point somewhere to have neighbours, received that of {token!r}, which "
                f"is zeros or not finite: ask for another token"
            )
    return vectors


def _squares(rows: Float64) -> Float64:
    squares: Float64 = np.einsum("ij,ij->i", rows, rows)
    return squares


@dataclass(frozen=True)
class _Search:
    """What is looked for: the nearest `n` of each of several directions."""

    matrix: npt.NDArray[Any]
    found: npt.NDArray[np.bool_] | None
    own: Int64
    directions: Float64
    n: int

    def block(self, span: tuple[int, int]) -> list[Nearest]:
        """For each direction the nearest rows of a block and their cosines, the nearest first."""
        low, high = span
        rows = storage.decode(self.matrix[low:high]).astype(np.float64)
        with np.errstate(all="ignore"):  # one by one: a product of matrices would start threads
            products = np.stack([rows @ direction for direction in self.directions])
            cosines = products / np.sqrt(_squares(rows))
        cosines[~np.isfinite(cosines)] = -np.inf
        if self.found is not None:
            cosines[:, ~self.found[low:high]] = -np.inf
        mine = np.flatnonzero((self.own >= low) & (self.own < high))
        cosines[mine, self.own[mine] - low] = -np.inf
        return [self._nearest(each, low) for each in cosines.astype(np.float32)]

    def _nearest(self, cosines: npt.NDArray[np.float32], low: int) -> Nearest:
        least = -np.inf
        if self.n < len(cosines):
            least = np.partition(cosines, -self.n)[-self.n]
        rows = np.flatnonzero((cosines >= least) & (cosines > -np.inf))
        rows = rows[np.argsort(-cosines[rows], kind="stable")[: self.n]]
        return rows + low, cosines[rows]


def _nearest_of(blocks: Sequence[Nearest], n: int) -> Nearest:
    """The nearest rows of several blocks; of equal ones, those of an earlier block come first."""
    rows = np.concatenate([block[0] for block in blocks])
    cosines = np.concatenate([block[1] for block in blocks])
    order = np.argsort(-cosines, kind="stable")[:n]
    return rows[order], cosines[order]


def _listed(nearest: Nearest) -> Iterator[tuple[int, float]]:
    rows, cosines = nearest
    return zip(rows.tolist(), cosines.tolist(), strict=True)
