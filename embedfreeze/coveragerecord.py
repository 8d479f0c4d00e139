"""A coverage as a store holds it: JSON, and arrays beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedfreeze.coverage import NOT_ASKED, Coverage, spellings_of
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

__all__ = ["CoverageRecord", "coverage_of_record", "record_of_coverage"]


@dataclass(frozen=True, eq=False)
class CoverageRecord:
    """What a store holds of a coverage.

    Attributes
    ----------
    notes : dict
        Ready for JSON.
    stages : numpy.ndarray
        int8 [sources, ids], `Coverage.stage_of_id` of each source.
    found_as : Tokens or None
        [sources * ids], `Coverage.found_as` of each source, one behind the other.
    """

    notes: dict[str, Any]
    stages: npt.NDArray[np.int8]
    found_as: Tokens | None


def record_of_coverage(coverage: Coverage) -> CoverageRecord:
    """What `coverage_of_record` needs."""
    parts = coverage.sources or (coverage,)
    notes = {
        "match": list(coverage.match),
        "sources": [
            {
                "source": part.source and os.path.basename(part.source),
                "special_in_file": list(part.special_in_file),
                "duplicates": part.duplicates,
            }
            for part in parts
        ],
        "nearest": coverage.known_nearest,
    }
    found_as = None
    if any(part.found_as is not None for part in parts):
        found_as = Tokens.joined([spellings_of(part) for part in parts])
    return CoverageRecord(notes, np.stack([part.stage_of_id for part in parts]), found_as)


def coverage_of_record(vocabulary: Vocabulary, record: CoverageRecord) -> Coverage:
    """The coverage that a store holds; `ValueError` where that cannot be."""
    n, match = len(vocabulary), tuple(record.notes["match"])
    _check_arrays(record, len(match))
    known = {token: list(near) for token, near in record.notes["nearest"].items()}
    parts = [
        Coverage(
            vocabulary,
            match,
            record.stages[i],
            tuple(part["special_in_file"]),
            dict(part["duplicates"]),
            None if record.found_as is None else record.found_as.part(i * n, (i + 1) * n),
            part["source"],
            known_nearest=known if len(record.stages) == 1 else {},
        )
        for i, part in enumerate(record.notes["sources"])
    ]
    return Coverage.combined(parts, known)


def _check_arrays(record: CoverageRecord, n_match: int) -> None:
    """The arrays of a file are not trusted."""
    stages, found_as = record.stages, record.found_as
    if stages.size and not NOT_ASKED <= stages.min() <= stages.max() < n_match:
        raise ValueError(f"stages must be from {NOT_ASKED} to {n_match - 1}")
    if found_as is not None:
        offsets, size = found_as.offsets, len(found_as.blob)
        if offsets[0] or offsets[-1] != size or (offsets[:-1] > offsets[1:]).any():
            raise ValueError(f"offsets of spellings must rise from 0 to {size}")
