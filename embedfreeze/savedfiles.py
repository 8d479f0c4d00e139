"""What a saved model says about its tables and holds of them, read without building the model.

A `.keras` file is a zip archive of ``config.json``, ``model.weights.h5`` and the files of layers in
``assets`` (https://keras.io/api/models/model_saving_apis/model_saving_and_loading/); the same may
lie in a folder. Nothing in it is trusted: a member is only ever written to a name of ours.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, Any

from embedfreeze.embedded import STORE
from embedfreeze.errors import FileError, FormatError, reason
from embedfreeze.files.containers import damage
from embedfreeze.tablerecord import TableRecord
from embedfreeze.weights import load_record

__all__ = [
    "CONFIG",
    "SERVED",
    "WEIGHTS",
    "KerasFiles",
    "SavedTable",
    "config_tables",
    "damaged_parts",
    "loadable",
    "no_saved_model",
    "weights_tables",
]

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
SERVED = "saved_model.pb"
_ZIP = b"PK\x03\x04"
_CLASS = "embedfreeze>FrozenEmbedding"
_NO_RECORD = "weights must hold the record of a table, received no such thing"
_LARGEST_RECORD = 16 << 20
# What h5py, json and zipfile raise of damaged files, beside what `damage` knows.
_DAMAGE = (KeyError, RuntimeError, UnicodeDecodeError, json.JSONDecodeError)
_BOMB_BYTES, _BOMB_RATIO = 256 << 20, 100


@dataclass(frozen=True)
class SavedTable:
    """A layer of a saved model, and what tells its table."""

    layer: str | None
    record: TableRecord


@contextmanager
def damaged_parts(path: str) -> Iterator[None]:
    """Errors of the libraries that read a saved model become those of a damaged file.

    Raises
    ------
    FileError
        The file cannot be opened.
    FormatError
        Its content is not that of a saved model.
    """
    try:
        yield
    except FileError as error:
        if error.path is not None:
            raise
        raise FormatError(str(error), path=path) from error
    except OSError as error:
        if error.errno is not None:
            raise FileError(f"cannot be read: {reason(error)}", path=path) from error
        raise _damaged(path, error) from error
    except (*damage(), *_DAMAGE) as error:  # type: ignore[misc]
        raise _damaged(path, error) from error


def no_saved_model(path: str, expected: str) -> FormatError:
    """The error of a file that is there, and no archive or HDF5 file.

    Parameters
    ----------
    path : str
        The file.
    expected : str
        What it should be.
    """
    with damaged_parts(path), open(path, "rb") as file:
        head = file.read(len(_ZIP))
    if head == _ZIP or (not head and path.endswith(".keras")):
        said = "is no whole .keras file (a zip without its end): it is cut off or damaged"
        return FormatError(f"{said}, save it again", path=path)
    return FormatError(
        f"a saved model must be {expected}, received another file: name one of those", path=path
    )


@contextmanager
def loadable(path: str) -> Iterator[None]:
    """While Keras loads: its errors of files that are no models, or damaged, are ours.

    Raises
    ------
    FormatError
        What is there is no `.keras` or HDF5 file, cut off or damaged.
    """
    if os.path.exists(path):
        _refuse_unloadable(path)
    try:
        yield
    except zipfile.BadZipFile as error:
        raise _damaged(path, error) from error


def _refuse_unloadable(path: str) -> None:
    if os.path.isdir(path):
        if os.path.exists(os.path.join(path, SERVED)) and CONFIG not in os.listdir(path):
            raise FormatError(
                f"a model that is loaded must be a .keras file, received the folder of a "
                f"SavedModel ({SERVED}): load the file that model.save wrote, or the folder with "
                "tf.saved_model.load",
                path=path,
            )
    elif not zipfile.is_zipfile(path) and not path.endswith((".h5", ".hdf5")):
        raise no_saved_model(path, "a .keras file")
    elif zipfile.is_zipfile(path):
        with damaged_parts(path), closing(KerasFiles(path)) as files:
            files.need(CONFIG)


def _damaged(path: str, error: Exception) -> FormatError:
    return FormatError(
        f"a saved model must be one that can be read ({error}): the file is damaged or cut off, "
        "save the model again",
        path=path,
    )


class KerasFiles:
    """The files in a `.keras` archive, or in a folder that holds the same.

    Parameters
    ----------
    path : str
        The archive or folder.

    Attributes
    ----------
    names : list of str
        Of the files, with slashes.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._archive = None if os.path.isdir(path) else zipfile.ZipFile(path)
        if self._archive is not None:
            self.names = [info.filename for info in self._archive.infolist()]
        else:
            self.names = [
                os.path.relpath(os.path.join(folder, name), path)
                for folder, _, names in os.walk(path)
                for name in names
            ]

    def close(self) -> None:
        """The archive, if there is one."""
        if self._archive is not None:
            self._archive.close()

    @property
    def stores(self) -> list[str]:
        """The files that are tables."""
        return sorted(n for n in self.names if n.startswith("assets/") and n.endswith(f"/{STORE}"))

    def need(self, name: str) -> None:
        """`FormatError` if a file is not there."""
        if name not in self.names:
            raise FormatError(f"a saved model must hold {name}, received one without it")

    def config(self) -> Any:
        """The description of the model."""
        self.need(CONFIG)
        with self._opened(CONFIG) as file:
            return json.loads(file.read())

    def extract(self, name: str, target: str) -> str:
        """Write a copy of a file to `target`, a part at a time."""
        self.need(name)
        with self._opened(name) as file, open(target, "wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
        return target

    def _opened(self, name: str) -> IO[bytes]:
        if self._archive is None:
            return open(os.path.join(self.path, name), "rb")
        info = self._archive.getinfo(name)
        if info.file_size > max(_BOMB_BYTES, _BOMB_RATIO * info.compress_size):
            raise FormatError(
                f"what Keras packs is not compressed, received {name!r}, {info.file_size} bytes "
                f"in {info.compress_size}: the file was made to harm, get it again"
            )
        return self._archive.open(info)


def config_tables(config: Any) -> list[SavedTable]:
    """The tables that the description of a model names, however deep.

    Raises
    ------
    FormatError
        The record of a table is damaged.
    """
    found, pending = [], [config]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            inner = node.get("config")
            if isinstance(inner, dict) and _is_frozen(node, inner):
                record = TableRecord.from_dict(inner.get("table"))
                found.append(SavedTable(_name(inner.get("name")), record))
            pending += node.values()
        elif isinstance(node, list):
            pending += node
    return found[::-1]  # the order of the model


def _is_frozen(node: dict[str, Any], config: dict[str, Any]) -> bool:
    """One of our layers, or of a class that a user derived from it."""
    table = config.get("table")
    derived = isinstance(table, dict) and {"digest", "tokens_digest"} <= table.keys()
    return derived or node.get("registered_name") == _CLASS


def _name(value: object) -> str | None:
    return value if isinstance(value, str) else None


def weights_tables(path: str) -> list[SavedTable]:
    """The tables that weights tell of.

    Raises
    ------
    FormatError
        The record of a table is damaged.
    OSError, RuntimeError
        As h5py raises them: the file is no HDF5, or damaged.
    """
    import h5py

    found: list[SavedTable] = []

    def visit(_: str, group: Any) -> None:
        if isinstance(group, h5py.Group) and {"digest", "table"} <= set(group.keys()):
            dataset = group["table"]
            if not isinstance(dataset, h5py.Dataset) or dataset.size is None:
                raise FormatError(_NO_RECORD)
            if dataset.size > _LARGEST_RECORD:
                raise FormatError(_NO_RECORD)
            if dataset.external or dataset.is_virtual or dataset.dtype != "uint8":
                raise FormatError("the record of a table must lie in the file, as bytes")
            record = load_record({"table": dataset[...]})
            if record is not None:
                found.append(SavedTable(_name(group.attrs.get("name")), record))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found
