"""What was found of a table, for a report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from embedfreeze import storage
from embedfreeze.cosines import Near, listed
from embedfreeze.coverage import Coverage
from embedfreeze.embeddings import Embeddings
from embedfreeze.formats.inspecting.inspection import Inspection
from embedfreeze.proof import FreezeProof
from embedfreeze.reports.charts import draw_map, draw_norms
from embedfreeze.reports.coverageplot import draw_sizes, draw_stages
from embedfreeze.reports.figures import Chart
from embedfreeze.reports.rows import Rows
from embedfreeze.reports.tokenmap import TokenMap

__all__ = ["Findings"]

WIDE, SQUARE = (5.4, 3.6), (7.6, 6.4)  # inches
ENDS = 5  # tokens with the shortest and the longest vectors


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found of a table.

    Attributes
    ----------
    name : str
        Of the file, or of what it is.
    embeddings : Embeddings
        The table.
    rows : Rows
        The norms of its rows, and which are zero, not finite or equal.
    inspection : Inspection or None
        What the file is, and what is odd about it; None of a table that was made in memory.
    coverage : Coverage or None
        Which ids of a vocabulary found a row.
    map : TokenMap or None
        The most frequent tokens in the plane.
    neighbours : dict of str to list of (str, float)
        The nearest tokens of some, with their cosines.
    proof : FreezeProof or None
        That the table is what it was; None where nothing keeps it from being changed.
    listed : int
        How many missing tokens are listed.
    """

    name: str
    embeddings: Embeddings
    rows: Rows
    inspection: Inspection | None
    coverage: Coverage | None
    map: TokenMap | None
    neighbours: dict[str, Near]
    proof: FreezeProof | None
    listed: int

    @property
    def version(self) -> str:
        """Of the package that made it."""
        return version("embedfreeze")

    @property
    def shortest(self) -> list[str]:
        """The tokens with the shortest vectors that are not zero, the shortest first."""
        return self._by_norm(1)

    @property
    def longest(self) -> list[str]:
        """The tokens with the longest vectors, the longest first."""
        return self._by_norm(-1)

    def _by_norm(self, sign: int) -> list[str]:
        ordinary = self.rows.ordinary
        order = np.argsort(sign * self.rows.norms[ordinary], kind="stable")[:ENDS]
        return [self.embeddings.tokens[i] for i in ordinary[order].tolist()]

    @property
    def charts(self) -> dict[str, Chart]:
        """What there is to draw, by name."""
        found = {}
        if self.coverage is not None:
            stages = partial(draw_stages, coverage=self.coverage)
            found["coverage-stages"] = Chart(stages, WIDE, "Coverage by stage, as in the table")
            sizes = partial(draw_sizes, coverage=self.coverage)
            told = "Share of the n first tokens that have a row, for growing n"
            found["coverage-sizes"] = Chart(sizes, WIDE, told)
        if len(self.rows.ordinary):
            norms = partial(draw_norms, rows=self.rows)
            found["norms"] = Chart(norms, WIDE, "Histogram of the lengths of the vectors")
        if self.map is not None:
            told = f"Map of {len(self.map.tokens)} tokens by principal component analysis"
            found["map"] = Chart(partial(draw_map, found=self.map), SQUARE, told)
        return found

    def to_dict(self) -> dict[str, Any]:
        """The numbers and the tokens of the page, ready for JSON."""
        embeddings = self.embeddings
        dtypes = storage.DTYPES
        return {
            "name": self.name,
            "n_rows": len(embeddings),
            "dim": embeddings.dim,
            "dtype": embeddings.dtype,
            "memory_bytes": {
                d: len(embeddings) * storage.row_bytes(d, embeddings.dim) for d in dtypes
            },
            "file": None if self.inspection is None else self.inspection.to_dict(),
            "coverage": None if self.coverage is None else self.coverage.to_dict(self.listed),
            "rows": self.rows.to_dict(),
            "shortest": self.shortest,
            "longest": self.longest,
            "map": None if self.map is None else self.map.to_dict(),
            "neighbours": listed(self.neighbours),
            "proof": None if self.proof is None else self.proof.to_dict(),
        }
