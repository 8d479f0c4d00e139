"""The table of formats, in the order in which a file's content is asked.

A format is a module with a `Format`, and a line here. Other packages add theirs by an entry point
of the group ``embedfreeze.formats`` whose value is a `Format`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from embedfreeze.formats.base import Format

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["FORMATS", "FormatTable"]

ENTRY_POINTS = "embedfreeze.formats"
# Signatures before text, and text before word2vec binary, whose header line word2vec text has too.
BUILT_IN = {
    "store": "stores.store:STORE",
    "model2vec": "tensors.model2vec:MODEL2VEC",
    "safetensors": "tensors.safetensors:SAFETENSORS",
    "hdf5": "hdf5.generic:HDF5",
    "allennlp": "hdf5.allennlp:ALLENNLP",
    "finalfusion": "finalfusion.fifu:FINALFUSION",
    "magnitude": "magnitude.rows:MAGNITUDE",
    "gensim": "gensimfiles:GENSIM",
    "tensorflow": "tfcheckpoint:TENSORFLOW",
    "spacy": "spacy.vectors:SPACY",
    "npy": "arrays.npy:NPY",
    "npz": "arrays.npz:NPZ",
    "fasttext": "fasttext.words:FASTTEXT",
    "parquet": "arrow.rows:PARQUET",
    "arrow": "arrow.rows:ARROW",
    "json": "jsons.rows:JSON",
    "glove": "texts.glove:GLOVE",
    "word2vec-text": "texts.word2vec_text:WORD2VEC_TEXT",
    "projector": "texts.projector:PROJECTOR",
    "csv": "texts.delimited:CSV",
    "tsv": "texts.delimited:TSV",
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

            points = [p for p in entry_points(group=ENTRY_POINTS) if p.name not in BUILT_IN]
            found = {point.name: _loaded(point) for point in points}
            self._others = {name: loaded for name, loaded in found.items() if loaded is not None}
        return self._others


def _loaded(point: EntryPoint) -> Format | None:
    """The format of another package; one that cannot be loaded must not end the work of others."""
    try:
        found = point.load()
        if not isinstance(found, Format) or found.name != point.name:
            raise TypeError(f"a Format of that name is needed, received {found!r}")
    except (ImportError, AttributeError, TypeError) as error:
        warnings.warn(
            f"the format {point.name!r} of another package is left out, {point.value} cannot be "
            f"loaded ({error}): update or remove that package",
            stacklevel=2,
        )
        return None
    return found


FORMATS = FormatTable()
