"""Gathering rows from one or several sources, in the order of a vocabulary's ids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedfreeze import storage
from embedfreeze.aligning.filling import NEAREST, SUBWORD, Filler, OwnStore, Target, Wish
from embedfreeze.aligning.folds import Stage
from embedfreeze.aligning.moments import CHUNK_ROWS
from embedfreeze.aligning.sources import RowSource, no_subwords
from embedfreeze.aligning.transforms import Transforms
from embedfreeze.aligning.unknown import Policies
from embedfreeze.coverage import Coverage
from embedfreeze.embeddings import Embeddings
from embedfreeze.threads import spans
from embedfreeze.vocabulary import Vocabulary

__all__ = ["Combine", "Gathered", "Request", "gather", "gather_or_own"]

Combine = Literal["first", "concat"]


@dataclass(frozen=True, eq=False)
class Request:
    """What `load` was asked for, apart from the sources and the vocabulary.

    `dtype` is what the rows are stored as in the end, if that was said.
    """

    stages: tuple[Stage, ...]
    fold_file: bool
    policies: Policies
    transforms: Transforms
    combine: Combine = "first"
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.combine not in ("first", "concat"):
            raise ValueError(f"combine must be one of first, concat, received {self.combine!r}")

    @property
    def nearest(self) -> bool:
        return self.policies.oov == "nearest"

    @property
    def subword(self) -> bool:
        return self.policies.oov == SUBWORD

    @property
    def stage_names(self) -> tuple[str, ...]:
        """As coverage shows them; the nearest spelling, or n-grams, come last."""
        last = (NEAREST.name,) if self.nearest else (SUBWORD,) if self.subword else ()
        return (*(stage.name for stage in self.stages), *last)

    def suits(self, own: Embeddings) -> bool:
        """Are the rows of a store those that were asked for? The default asks for what it has."""
        if self.dtype not in (None, own.dtype):
            return False
        policies, made = self.policies.described(), own.provenance
        if policies["oov"] in ("normal", "hash") and policies["seed"] != made.get("seed"):
            return False
        return policies["oov"] in ("zeros", "error", made.get("oov"))

    def described(
        self, sources: Sequence[RowSource], origins: Sequence[dict[str, Any]]
    ) -> dict[str, Any]:
        """Ready for JSON; of the files the names, and how the rows of a store were made."""
        names = [os.path.basename(source.name) for source in sources]
        earlier = [
            step if len(names) == 1 else f"{name}: {step}"
            for name, origin in zip(names, origins, strict=True)
            for step in origin.get("steps", [])
        ]
        return {
            "sources": names,
            **({"origins": list(origins)} if any(origins) else {}),
            "combine": self.combine,
            "match": list(self.stage_names),
            "fold_file": self.fold_file,
            **self.policies.described(),
            "transforms": asdict(self.transforms) if self.transforms.steps else {},
            "steps": [*earlier, *self.transforms.steps],
        }


@dataclass(frozen=True, eq=False)
class Gathered:
    """The rows that were found, in the order of the ids.

    Attributes
    ----------
    target : Target
        Holds the rows [ids, dim]; zeros where no row was found.
    has_row : numpy.ndarray
        bool [ids].
    coverage : Coverage
        How they were found.
    origins : tuple of dict
        How the rows of each source were made, where it is a store that says so.
    dtype : str, optional
        What the rows are stored as unless something else is asked for.
    """

    target: Target
    has_row: npt.NDArray[np.bool_]
    coverage: Coverage
    origins: tuple[dict[str, Any], ...]
    dtype: str | None = None

    def complete(self, vocabulary: Vocabulary, policies: Policies) -> None:
        """Fill the other rows."""
        found, unknown = self.coverage.found_ids, np.flatnonzero(~self.has_row)
        policies.fill(self.target.array, vocabulary, found, unknown)
        policies.place_vectors(self.target.array, vocabulary)


def gather_or_own(
    vocabulary: Vocabulary, sources: Sequence[RowSource], request: Request
) -> Gathered | OwnStore:
    """As `gather`; but a single store that was saved with this very vocabulary is the result.

    Unless its rows are to be transformed, or what was missing is to be filled otherwise: then they
    are looked up as in any other file. Where rows of special tokens are to be others it is copied.
    """
    if len(sources) > 1 or request.transforms.steps:
        return gather(vocabulary, sources, request)
    target = Target(len(vocabulary), sealed=True)
    filler = _filler(vocabulary, sources[0], request, target, np.zeros(len(vocabulary), bool))
    own = filler.fill(request.suits, subwords=request.subword)
    if own is None:
        return _checked(_finished([filler], request, target), vocabulary, sources, request)
    coverage = own.embeddings.coverage_of(vocabulary)
    if coverage is not None:
        _refuse_missing(coverage, sources, request)
    if not request.policies.special:
        return own
    if coverage is None:
        return gather(vocabulary, sources, request)
    return _copied(own.embeddings, coverage, request)


def _copied(own: Embeddings, coverage: Coverage, request: Request) -> Gathered:
    """The rows of a store, but for those of special tokens that are to be others."""
    others = request.policies.not_from_file(coverage.vocabulary)
    target, has_row = Target(len(own), sealed=True), np.ones(len(own), bool)
    target.start(own.dim, storage.working_dtype(own.dtype), own.path or "")
    storage.encode(own.matrix, target.array)
    target.array[others], has_row[others] = 0, False
    return Gathered(target, has_row, coverage, (own.provenance,), own.dtype)


def gather(vocabulary: Vocabulary, sources: Sequence[RowSource], request: Request) -> Gathered:
    """Look the ids up in the sources, and transform the rows that they find.

    Raises
    ------
    UnknownTokenError
        With ``oov="error"``.
    """
    steps = request.transforms.steps
    target = Target(len(vocabulary), sealed=not steps)
    find = _side_by_side if request.combine == "concat" else _first_wins
    gathered = find(vocabulary, sources, request, target)
    gathered = _checked(gathered, vocabulary, sources, request)
    return _transformed(gathered, request.transforms) if steps else gathered


def _checked(
    gathered: Gathered, vocabulary: Vocabulary, sources: Sequence[RowSource], request: Request
) -> Gathered:
    _refuse_missing(gathered.coverage, sources, request)
    return gathered


def _refuse_missing(coverage: Coverage, sources: Sequence[RowSource], request: Request) -> None:
    """Refuse missing tokens if they are an error."""
    names = ", ".join(source.name for source in sources)
    missing = [coverage.vocabulary.tokens[i] for i in coverage.missing_ids]
    request.policies.refuse_missing(missing, names)


def _filler(
    vocabulary: Vocabulary,
    source: RowSource,
    request: Request,
    target: Target,
    has_row: npt.NDArray[np.bool_],
) -> Filler:
    """For the ids that have no row yet."""
    if request.nearest or request.subword:
        source.needed_again()
    ordinary = ~has_row
    ordinary[list(vocabulary.special_ids)] = False
    special = np.array(request.policies.from_file(vocabulary), np.int64)
    wish = Wish(
        request.stages, np.flatnonzero(ordinary), special[~has_row[special]], request.fold_file
    )
    return Filler(vocabulary, wish, target, source)


def _finished(fillers: Sequence[Filler], request: Request, target: Target) -> Gathered:
    has_row = np.logical_or.reduce([filler.has_row for filler in fillers])
    for filler in fillers if request.nearest else ():
        filler.fill_nearest(np.flatnonzero(~has_row))
        has_row |= filler.has_row
    for filler in _with_subwords(fillers) if request.subword else ():
        filler.fill_subwords(np.flatnonzero(~has_row))
        has_row |= filler.has_row
    wanted = request.policies.from_file(fillers[0].vocabulary)
    coverage = Coverage.combined(
        [filler.coverage(request.stage_names, wanted) for filler in fillers]
    )
    return Gathered(target, has_row, coverage, tuple(filler.provenance for filler in fillers))


def _with_subwords(fillers: Sequence[Filler]) -> list[Filler]:
    able = [filler for filler in fillers if filler.has_subwords()]
    if not able:
        raise no_subwords(", ".join(filler.source.name for filler in fillers))
    return able


def _first_wins(
    vocabulary: Vocabulary, sources: Sequence[RowSource], request: Request, target: Target
) -> Gathered:
    """Each id takes its row from the first source that has one."""
    has_row, fillers = np.zeros(len(vocabulary), bool), list[Filler]()
    for source in sources:
        fillers.append(_filler(vocabulary, source, request, target, has_row))
        fillers[-1].fill(subwords=request.subword and len(sources) == 1)
        has_row |= fillers[-1].has_row
    return _finished(fillers, request, target)


def _side_by_side(
    vocabulary: Vocabulary, sources: Sequence[RowSource], request: Request, target: Target
) -> Gathered:
    """Each source gives its part of every row; a part that it has not follows the policy."""
    parts = [
        _first_wins(vocabulary, [source], request, Target(len(vocabulary), sealed=False))
        for source in sources
    ]
    has_row = np.logical_or.reduce([part.has_row for part in parts])
    arrays = [part.target.array for part in parts]
    ends = np.cumsum([array.shape[1] for array in arrays]).tolist()
    for part, array, end in zip(parts, arrays, ends, strict=True):
        policies = request.policies.of_columns(end - array.shape[1], end, ends[-1])
        unknown = np.flatnonzero(has_row & ~part.has_row)
        policies.fill(array, vocabulary, part.coverage.found_ids, unknown)
    target.start(ends[-1], str(np.result_type(*arrays)), sources[0].name)
    np.concatenate(arrays, axis=1, out=target.array)
    origins = tuple(origin for part in parts for origin in part.origins)
    coverage = Coverage.combined([part.coverage for part in parts])
    return Gathered(target, has_row, coverage, origins)


def _transformed(gathered: Gathered, transforms: Transforms) -> Gathered:
    array, dim = gathered.target.array, gathered.target.dim
    transforms.refuse(dim)
    fitted = transforms.fit(array, gathered.coverage.found_ids)
    target = Target(len(array), sealed=True)
    target.start(transforms.dim or dim, gathered.target.dtype, "")
    rows = np.flatnonzero(gathered.has_row)
    for low, high in spans(0, len(rows), CHUNK_ROWS):
        target.array[rows[low:high]] = fitted.apply(array[rows[low:high]])
    return replace(gathered, target=target)
