"""The table of formats, in the order in which a file's content is asked.

A format is a module with a `Format`, and a line here. Other packages add theirs by an entry point
of the group ``embedfreeze.formats`` whose value is a `Format`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from embedfreeze.files import Source
from embedfreeze.formats.base import Format

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["FORMATS", "FormatTable"]

ENTRY_POINTS = "embedfreeze.formats"


@dataclass(frozen=True)
class BuiltIn:
    """Where a format is, and what rules out that a file is of it without an import of its module.

    Whether a file is of the format is for its `sniff` to say.

    Attributes
    ----------
    where : str
        ``module:ATTRIBUTE`` in this package.
    begins : bytes
        A pattern that the start of every file of the format matches,
    named : str
        but for those whose names match this one.
    """

    where: str
    begins: bytes = b""
    named: str = "(?!)"  # no name

    def may_be(self, source: Source) -> bool:
        """Can the source be of the format?"""
        begins = re.match(self.begins, source.head, re.DOTALL)
        named = begins or re.fullmatch(self.named, source.located or "", re.DOTALL)
        return named is not None


SAFETENSORS_START = rb".{8}\{"
HDF5_START = rb"\x89HDF"
NUMPY_START = rb"\x93NUMPY"
CHECKPOINT_NAMES = r".+(\.pb|\.index|\.data-\d{5}-of-\d{5})"
# Signatures before text, and text before word2vec binary, whose header line word2vec text has too.
BUILT_IN = {
    "store": BuiltIn("stores.store:STORE", SAFETENSORS_START),
    "model2vec": BuiltIn("tensors.model2vec:MODEL2VEC", SAFETENSORS_START),
    "safetensors": BuiltIn("tensors.safetensors:SAFETENSORS", SAFETENSORS_START),
    "hdf5": BuiltIn("hdf5.generic:HDF5", HDF5_START),
    "allennlp": BuiltIn("hdf5.allennlp:ALLENNLP", HDF5_START),
    "finalfusion": BuiltIn("finalfusion.fifu:FINALFUSION", rb"FiFu"),
    "magnitude": BuiltIn("magnitude.rows:MAGNITUDE", rb"SQLite"),
    "gensim": BuiltIn("gensimfiles:GENSIM", rb"[\x80(}\]c]"),
    "tensorflow": BuiltIn(
        "tfcheckpoint:TENSORFLOW", rb"\0\0|model_checkpoint_path:", CHECKPOINT_NAMES
    ),
    "spacy": BuiltIn("spacy.vectors:SPACY", NUMPY_START),
    "npy": BuiltIn("arrays.npy:NPY", NUMPY_START),
    "npz": BuiltIn("arrays.npz:NPZ", rb"PK"),
    "fasttext": BuiltIn("fasttext.words:FASTTEXT", rb"\xba\x16O/|..\0\0"),
    "parquet": BuiltIn("arrow.rows:PARQUET", rb"PAR1"),
    "arrow": BuiltIn("arrow.rows:ARROW", rb"ARROW1|FEA1|\xff\xff\xff\xff"),
    "json": BuiltIn("jsons.rows:JSON", rb"(\xef\xbb\xbf)?\s*[\[{]"),
    "glove": BuiltIn("texts.glove:GLOVE"),
    "word2vec-text": BuiltIn("texts.word2vec_text:WORD2VEC_TEXT"),
    "projector": BuiltIn("texts.projector:PROJECTOR"),
    "csv": BuiltIn("texts.delimited:CSV"),
    "tsv": BuiltIn("texts.delimited:TSV"),
    "word2vec": BuiltIn("word2vec:WORD2VEC", rb"\s*\d"),
}


class FormatTable(Mapping[str, Format]):
    """Formats by name; the module of one is imported when it is needed."""

    def __init__(self) -> None:
        self._loaded: dict[str, Format] = {}
        self._others: dict[str, Format] | None = None

    def __getitem__(self, name: str) -> Format:
        if name not in self._loaded and name in BUILT_IN:
            module, _, attribute = BUILT_IN[name].where.partition(":")
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

    def recognised(self, source: Source) -> Format | None:
        """The first format whose files have such content."""
        for name in self:
            if name not in BUILT_IN or BUILT_IN[name].may_be(source):
                found = self[name]
                if found.sniff(source):
                    return found
        return None

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
