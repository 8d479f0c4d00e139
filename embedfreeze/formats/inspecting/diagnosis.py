"""A diagnosis of any file: what it is, or why it cannot be loaded."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from typing import Any

from embedfreeze.errors import EmbedFreezeError, FormatError
from embedfreeze.files import PathOrFile, name_of, open_source
from embedfreeze.formats.folders import main_file
from embedfreeze.formats.inspecting.filenames import name_remark
from embedfreeze.formats.inspecting.inspection import (
    Inspection,
    ends,
    inspect,
    kind_line,
    without_path,
)
from embedfreeze.formats.inspecting.remarks import Remark
from embedfreeze.formats.table import FORMATS

__all__ = ["Refusal", "diagnose"]

KERAS = (".keras", ".weights.h5")


@dataclass(frozen=True)
class Refusal:
    """What is known of a file that cannot be loaded.

    Attributes
    ----------
    problem : str
        What is wrong, where, and what to do.
    error : str
        The kind of the error that `read` raises.
    format, container : str or None
        What its content was recognised as, before that.
    place : dict
        Where it is wrong: ``line`` and ``column`` (1-based), byte ``offset`` or ``row``.
    """

    path: str
    problem: str
    error: str
    format: str | None = None
    container: str | None = None
    file_bytes: int | None = None
    place: dict[str, int] = field(default_factory=dict)
    findings: tuple[Remark, ...] = ()
    loadable: bool = False

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        kind = self.format or "none that is known"
        lines = [self.path]
        if self.file_bytes is not None:
            lines.append(kind_line(kind, self.container, self.file_bytes))
        return "\n".join(lines + ends(self.findings, self.problem))


def diagnose(path: PathOrFile, **options: Any) -> Inspection | Refusal:
    """`inspect`, which says of any file that cannot be loaded why, instead of raising that."""
    try:
        return inspect(path, **options)
    except EmbedFreezeError as error:
        return _refusal(path, options, error)


def _refusal(path: PathOrFile, options: dict[str, Any], error: EmbedFreezeError) -> Refusal:
    name = name_of(path)
    known: dict[str, Any] = {}
    with contextlib.suppress(EmbedFreezeError):
        known = _recognised(path, options.get("format"), options.get("member"))
    places = ("line", "column", "offset", "row") if isinstance(error, FormatError) else ()
    given = {place: getattr(error, place) for place in places}
    return Refusal(
        name,
        without_path(error, name),
        type(error).__name__,
        place={place: value for place, value in given.items() if value is not None},
        **{
            **known,
            "findings": (
                *known.get("findings", ()),
                *_pickles(error, known.get("format")),
                *_models(error, name),
            ),
        },
    )


def _pickles(error: EmbedFreezeError, format: str | None) -> list[Remark]:
    """What is a pickle, or an archive that holds one."""
    if format == "gensim":
        return [Remark("pickle", "pickle: not opened")]
    if "data.pkl" in str(error):  # among the members of an archive
        message = "a PyTorch file, pickle: not opened; save its table in PyTorch as safetensors"
        return [Remark("pickle", message)]
    return []


def _models(error: EmbedFreezeError, path: str) -> list[Remark]:
    """A model that Keras saved, none of whose weights is a table that can be read."""
    if not isinstance(error, FormatError) or not path.lower().endswith(KERAS):
        return []
    message = "a saved Keras model: embedfreeze verify checks its frozen tables"
    return [Remark("keras-model", message)]


def _recognised(path: PathOrFile, format: str | None, member: str | None) -> dict[str, Any]:
    """What can be said of a file that cannot be loaded."""
    with open_source(main_file(path, format), member) as source:
        source.needed_again()
        known = FORMATS.recognised(source) if format is None else FORMATS[format]
        found = None if known is None else known.name
        named = name_remark(source.path, found, source.container)
        return {
            "format": found,
            "container": source.container,
            "file_bytes": source.size or None,
            "findings": () if named is None else (named,),
        }
