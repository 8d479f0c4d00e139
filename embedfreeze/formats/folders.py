"""What is opened when a folder, or the common beginning of several files, is named."""

from __future__ import annotations

import os

from embedfreeze.errors import FileError
from embedfreeze.files import PathOrFile, name_of
from embedfreeze.formats.table import FORMATS

__all__ = ["main_file"]

MANIFEST = "manifest.json"  # of a folder of features
PREFIX_ENDS = (".index",)  # of the files that a TensorFlow checkpoint's prefix stands for


def main_file(path: PathOrFile, format: str | None = None) -> PathOrFile:
    """The file to open for a path: of a folder, the one that a format names.

    Raises
    ------
    FileError
        No format knows a file of the folder, or several are known.
    """
    if not isinstance(path, str | os.PathLike):
        return path
    name = name_of(path)
    if os.path.isdir(name):
        return _of_folder(name, format)
    if not os.path.lexists(name):
        for end in PREFIX_ENDS:
            if os.path.isfile(name + end):
                return name + end
    return path


def _of_folder(folder: str, format: str | None) -> str:
    formats = FORMATS.values() if format is None else [FORMATS[format]]
    known = list(dict.fromkeys(inner for f in formats for inner in f.main))
    found = [i for i in known if os.path.isfile(os.path.join(folder, i))]
    if not found and os.path.isfile(os.path.join(folder, MANIFEST)):
        raise FileError(
            "is a folder of features, as embedfreeze encode writes, not one of a table: "
            "embedfreeze.dataset reads it",
            path=folder,
        )
    if not found:
        raise FileError("cannot be read: Is a directory: name a file in it", path=folder)
    if len(found) > 1:
        raise FileError(
            f"a folder must hold one table, received {', '.join(found)}: name one of these files",
            path=folder,
        )
    return os.path.join(folder, found[0])
