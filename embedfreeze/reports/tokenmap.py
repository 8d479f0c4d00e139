"""Some rows of a table in the plane, by principal component analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TokenMap", "map_of"]

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TokenMap:
    """Tokens in the plane of the two directions in which their rows differ most.

    Attributes
    ----------
    tokens : list of str
        n tokens.
    points : numpy.ndarray
        float64 [n, 2], around their mean, in the units of the rows.
    shares : tuple of float
        Of the variance, what each of the two directions shows.
    order : str
        Which tokens they are, in words.
    """

    tokens: list[str]
    points: Float64
    shares: tuple[float, float]
    order: str

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "order": self.order,
            "variance_shares": list(self.shares),
            "points": [
                {"token": token, "x": x, "y": y}
                for token, (x, y) in zip(self.tokens, self.points.tolist(), strict=True)
            ],
        }


def map_of(tokens: list[str], values: npt.NDArray[np.float32], order: str) -> TokenMap | None:
    """The map of the rows of some tokens.

    Parameters
    ----------
    tokens : list of str
        n tokens.
    values : numpy.ndarray
        [n, dim], finite.
    order : str
        Which tokens they are, in words.

    Returns
    -------
    TokenMap or None
        None where there is no plane: fewer than three rows or two values a row, or equal rows.
        The sign of each direction is such that its largest value is positive, so the same rows
        give the same map.
    """
    if min(values.shape[0] - 1, values.shape[1]) < 2:
        return None
    centred = values.astype(np.float64)
    centred -= centred.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    variance = singular**2
    if not variance[0] > 0:
        return None
    plane = directions[:2]
    signs = np.sign(plane[[0, 1], np.abs(plane).argmax(axis=1)])
    first, second = (variance[:2] / variance.sum()).tolist()
    return TokenMap(tokens, centred @ (plane * signs[:, None]).T, (first, second), order)
