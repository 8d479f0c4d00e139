"""Which columns of a table are the dimensions of its vectors, and in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["dimension_places"]

COUNTED = re.compile(r"(.*?)(\d{1,9})")  # no more digits: a name can be all digits


def dimension_places(names: Sequence[str]) -> list[int]:
    """The places of the columns that are dimensions, in their order.

    Those whose names count from 0 or 1 without a gap (``d0``, ``d1``, ...), if more than half do,
    in the order of the numbers; else all, as they stand.
    """
    groups: dict[str, list[tuple[int, int]]] = {}
    for place, name in enumerate(names):
        if found := COUNTED.fullmatch(name):
            groups.setdefault(found[1], []).append((int(found[2]), place))
    counted = [sorted(group) for group in groups.values() if len(group) > 1]
    largest = max(filter(_counts, counted), key=len, default=[])
    if 2 * len(largest) <= len(names):
        return list(range(len(names)))
    return [place for _, place in largest]


def _counts(group: list[tuple[int, int]]) -> bool:
    low = group[0][0]
    return low in (0, 1) and [number - low for number, _ in group] == list(range(len(group)))
