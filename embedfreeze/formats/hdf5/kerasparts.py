"""What lies beside the weights of a saved Keras model: in its archive, or in its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from embedfreeze.errors import FileError, FormatError
from embedfreeze.files import Source
from embedfreeze.files.containers import damage, damaged

if TYPE_CHECKING:
    import zipfile

__all__ = ["CONFIG", "LARGEST_PART", "MAIN", "Parts", "opened_parts"]

CONFIG = "config.json"
MAIN = "model.weights.h5"
LARGEST_PART = 64 << 20
LARGEST_RATIO = 100  # Keras packs nothing


@dataclass(frozen=True, eq=False)
class Parts:
    """The files of a model; there are none beside weights alone.

    Attributes
    ----------
    names : list of str
        With slashes, in order.
    """

    path: str
    names: list[str] = field(default_factory=list)
    _archive: zipfile.ZipFile | None = None

    def read(self, name: str, most: int = LARGEST_PART) -> bytes:
        """What a file holds, which may be so many bytes.

        Raises
        ------
        FormatError
            It is larger than any of a model.
        """
        with self._open(name) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise self._too_large(name, len(data))
        return data

    def _open(self, name: str) -> IO[bytes]:
        if self._archive is None:
            return open(os.path.join(self.path, name), "rb")
        info = self._archive.getinfo(name)
        if info.file_size > LARGEST_PART or info.file_size > LARGEST_RATIO * info.compress_size:
            raise self._too_large(name, info.file_size)
        return self._archive.open(info)

    def _too_large(self, name: str, size: int) -> FormatError:
        return FormatError(
            f"a part of a Keras model beside its weights, and all vocabularies together, must have "
            f"at most {LARGEST_PART} bytes and not be packed, received {name} of {size}: name "
            f"tokens in another file with tokens= (--tokens)",
            path=self.path,
        )


@contextmanager
def opened_parts(source: Source) -> Iterator[Parts]:
    """The files beside the weights that are read.

    Raises
    ------
    FormatError
        The archive is damaged.
    """
    import zipfile

    try:
        if source.container == "zip":
            whole = source.input.raw if source.input.regular is None else source.input.link
            with zipfile.ZipFile(whole) as archive:
                yield Parts(source.path, archive.namelist(), archive)
        elif source.located is not None and os.path.basename(source.located) == MAIN:
            folder = os.path.dirname(source.located)
            yield Parts(folder, sorted(_files_of(folder)))
        else:
            yield Parts(source.path)
    except FileError:
        raise
    except (*damage(), RuntimeError, KeyError, ValueError) as error:  # type: ignore[misc]
        raise damaged(source.path, source.container, error) from error


def _files_of(folder: str) -> Iterator[str]:
    if os.path.isfile(os.path.join(folder, CONFIG)):
        yield CONFIG
    for inner, _, names in os.walk(os.path.join(folder, "assets")):
        for name in names:
            yield os.path.relpath(os.path.join(inner, name), folder)
