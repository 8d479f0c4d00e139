"""The table of formats, in the order in which a file's content is asked.

A format is a module with a `Format`, and a line here. Other packages add theirs by an entry point
of the group ``embedfreeze.formats`` whose value is a `Format`, or by `register`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from embedfreeze.formats.base import Format

__all__ = ["FORMATS", "FormatTable"]

ENTRY_POINTS = "embedfreeze.formats"
# Signatures before text, and text before word2vec binary, whose header line word2vec text has too.
BUILT_IN = {
    "store": "store:STORE",
    "hdf5": "hdf5:HDF5",
    "glove": "glove:GLOVE",
    "word2vec-text": "word2vec_text:WORD2VEC_TEXT",
    "word2vec": "word2vec:WORD2VEC",
}


class FormatTable(Mapping[str, Format]):
    """Formats by name; the module of one is imported when it is needed."""

    def __init__(self) -> None:
        self._loaded: dict[str, Format] = {}
        self._others: dict[str, Format] | None = None

    def __getitem__(self, name: str) -> Format:
        if name not in self._loaded and name in BUILT_IN:
            module, _, attribute = BUILT_IN[name].partition(":")
            found = import_module(f"embedfreeze.formats.{module}")
            self._loaded[name] = getattr(found, attribute)
        return self._loaded[name] if name in BUILT_IN else self.others[name]

    def __iter__(self) -> Iterator[str]:
        yield from BUILT_IN
        yield from self.others

    def __len__(self) -> int:
        return len(BUILT_IN) + len(self.others)

    def __contains__(self, name: object) -> bool:
        return name in BUILT_IN or name in self.others

    @property
    def others(self) -> dict[str, Format]:
        """The formats of other packages; they are looked for once, after those of this one."""
        if self._others is None:
            from importlib.metadata import entry_points

            found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
            self._others = {n: p.load() for n, p in found.items() if n not in BUILT_IN}
        return self._others


FORMATS = FormatTable()
