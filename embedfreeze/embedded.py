"""How a table lies in a model's own file: as a store, once, or as a link to that one."""

from __future__ import annotations

import json
import os
from typing import Any

from embedfreeze.errors import FormatError
from embedfreeze.files import FileIdentity
from embedfreeze.table import Table

__all__ = ["LINK", "STORE", "embedded_store", "linked", "write_embedded"]

STORE = "table.safetensors"
LINK = "table.json"
_ASSETS = "assets"  # what Keras calls the folder with the files of all layers
# Where each table was last written to, and which file that is, by its key: for other layers of the
# same model.
_last_written: dict[tuple[str, str, str], tuple[str, FileIdentity]] = {}


def write_embedded(table: Table, folder: str) -> None:
    """Write a table into a layer's folder among the assets of a model that is being saved.

    A table that another layer of the model wrote before is not written again.

    Raises
    ------
    FrozenError
        The table has no tokens.
    """
    key, target = table.record.key, os.path.join(folder, STORE)
    written, root = _last_written.get(key), _assets_of(folder)
    if written is not None and _written_now(*written, root):
        link = {"table": os.path.relpath(written[0], folder)}
        with open(os.path.join(folder, LINK), "w", encoding="utf-8") as file:
            json.dump(link, file)
        return
    table.save(target)
    _last_written[key] = os.path.abspath(target), FileIdentity.at(target)


def _assets_of(folder: str) -> str | None:
    """The folder of all assets, of which Keras tells a layer only its own part."""
    head, name = os.path.split(os.path.abspath(folder))
    while name and name != _ASSETS:
        head, name = os.path.split(head)
    return os.path.join(head, name) if name else None


def _written_now(path: str, identity: FileIdentity, root: str | None) -> bool:
    """Whether a table was written while this model was saved: Keras makes a new folder each time,
    and removes that of a `.keras` file when it is packed."""
    if root is None or os.path.commonpath([root, path]) != root or not os.path.exists(path):
        return False
    return FileIdentity.at(path) == identity


def embedded_store(folder: str) -> str:
    """The store of a layer, given its folder among the assets of a model that is being loaded.

    Raises
    ------
    FormatError
        A link cannot be read, or leads out of the assets.
    """
    link = os.path.join(folder, LINK)
    if os.path.exists(os.path.join(folder, STORE)) or not os.path.exists(link):
        return os.path.join(folder, STORE)
    with open(link, "rb") as file:
        target = linked(file.read(), link)
    store, root = os.path.normpath(os.path.join(folder, target)), _assets_of(folder)
    if root is None or os.path.commonpath([root, store]) != root:
        raise FormatError(
            f"a link must stay in the model's file, received {target!r}: the file is damaged or "
            "was made to harm, get it again",
            path=link,
        )
    return store


def linked(content: bytes, name: str) -> str:
    """The relative path of which a link is made.

    Raises
    ------
    FormatError
        It is no link.
    """
    try:
        found: Any = json.loads(content)
        target: Any = found["table"]
        if not isinstance(target, str) or os.path.isabs(target):
            raise ValueError(f"{target!r:.60} is no relative path")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(
            f"a link must be JSON with a table ({error}): the file is damaged, get it again",
            path=name,
        ) from error
    return target
