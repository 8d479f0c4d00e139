"""Where a model is saved, which Keras tells no layer, and what is added to its exports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from embedfreeze.backend import keras
from embedfreeze.frozen import frozen_variables
from embedfreeze.search import saving_in
from embedfreeze.servedrecord import ServedTable, write_served

__all__ = ["record_tables", "saving_to"]


@contextmanager
def saving_to(path: Any, *, as_folder: bool = False) -> Iterator[Any]:
    """While a model is saved: references to stores are relative to the folder of its file.

    Parameters
    ----------
    path : path
        Where the model is saved, as it was given to Keras.
    as_folder : bool
        Keras writes a folder.

    Yields
    ------
    path
        What to give to Keras, which loses the assets of a folder whose path is relative.
    """
    if not isinstance(path, str | os.PathLike) or "://" in os.fspath(path):
        yield path  # it lies elsewhere than in this file system
        return
    whole = os.path.abspath(path)
    with saving_in(os.path.dirname(whole)):
        yield whole if as_folder else path


def record_tables(model: keras.Model, folder: str | os.PathLike[str]) -> None:
    """Write what tells the tables of a model into the SavedModel that was made of it."""
    served = [
        ServedTable.of(layer and layer.name, variable.tf_variable.table)
        for layer, variable in frozen_variables(model)
    ]
    write_served(os.fspath(folder), served)
