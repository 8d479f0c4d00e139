"""FreezeProof: what was checked, how, and what it says, to read, to compare and to keep."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from embedfreeze.errors import FormatError
from embedfreeze.files import atomic_output
from embedfreeze.sealed import SEALS, FileIdentity
from embedfreeze.table import Table

__all__ = ["FreezeProof", "How", "TableProof", "kept_digests"]

_FORMAT = "embedfreeze-proof"
_MEMORY = {
    "sealed": "sealed memory",
    "watched": "a watched file",
    "stored": "inside the saved model",
}
_HOW = {
    "address": "by address and guard of the memory",
    "deep": "by the digest of every byte",
    "device": "by a digest computed on the device",
}
How = Literal["address", "deep", "device"]


@dataclass(frozen=True, eq=False)
class TableProof:
    """What was found of one frozen table.

    Attributes
    ----------
    layer : str or None
        The layer that holds it.
    shape : tuple of int
        Of the table, [rows, dim], or [] for a scalar.
    dtype : str
        Of the values as they are stored.
    guarantee : {"sealed", "watched", "stored"}
        What the kernel promises of the memory; "stored" is a copy inside of a saved model.
    how : {"address", "deep", "device"}
        What was compared.
    address : int or None
        Where the memory starts in this process; None for what was read from a file.
    file : FileIdentity or None
        Of a watched file.
    path : str or None
        Of the store, where there is one.
    """

    layer: str | None
    shape: tuple[int, ...]
    dtype: str
    guarantee: Literal["sealed", "watched", "stored"]
    how: How
    find_digest: Callable[[], str]
    address: int | None = None
    file: FileIdentity | None = None
    path: str | None = None

    @classmethod
    def of(
        cls, layer: str | None, table: Table, how: How, address: int | None = None
    ) -> TableProof:
        """Of a table that was just checked, at its address in this process if it is in use."""
        sealed = table.sealed
        return cls(
            layer=layer,
            shape=table.shape,
            dtype=table.dtype,
            guarantee=sealed.guarantee,
            how=how,
            find_digest=lambda: sealed.digest,
            address=address,
            file=sealed.identity if sealed.guarantee == "watched" else None,
            path=sealed.path,
        )

    @cached_property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the SHA-256 of each 1 MiB block of the matrix.

        That of memory which no file has a digest of is computed when it is first asked for.
        """
        return self.find_digest()

    @property
    def seals(self) -> list[str]:
        """The seals that were found in place."""
        return list(SEALS) if self.guarantee == "sealed" else []

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "layer": self.layer,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "guarantee": self.guarantee,
            "seals": self.seals,
            "address": self.address,
            "file": None if self.file is None else asdict(self.file),
            "path": self.path,
            "digest": self.digest,
            "how": self.how,
        }

    def __str__(self) -> str:
        name = "the variable" if self.layer is None else f"layer {self.layer!r}"
        shape = " x ".join(map(str, self.shape)) or "scalar"
        place = "" if self.address is None else f" at {self.address:#x}"
        return (
            f"{name} ({shape} {self.dtype}, {_MEMORY[self.guarantee]}{place}, digest "
            f"{self.digest}): {_HOW[self.how]}"
        )


@dataclass(frozen=True, eq=False)
class FreezeProof:
    """That the frozen tables of a model are what they were: `verify` and `FreezeGuard` give it.

    Attributes
    ----------
    model : str
        Name of the model, layer or variable, or the path of a saved model.
    tables : tuple of TableProof
        One for each frozen table.
    steps : int
        After how many training steps (or after executions of how many) the tables were checked,
        each time with this outcome; 0 if no training was watched.

    Examples
    --------
    ``print(verify(model, deep=True))``
    """

    model: str
    tables: tuple[TableProof, ...]
    steps: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "format": _FORMAT,
            "model": self.model,
            "steps": self.steps,
            "tables": [table.to_dict() for table in self.tables],
        }

    def to_json(self) -> str:
        """As JSON, indented."""
        return json.dumps(self.to_dict(), indent=2)

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write it as JSON beside or into a saved model, where `verify` of that model finds it.

        Parameters
        ----------
        path : path
            Of the saved model: a folder gets the file ``freeze-proof.json``, a file a neighbour of
            its name with ``.proof.json`` behind it. An older proof there is replaced.

        Returns
        -------
        str
            Where it was written.

        Raises
        ------
        FileError
            The file cannot be written.
        """
        target = proof_path(os.fspath(path))
        with atomic_output(target, overwrite=True) as file:
            file.write(self.to_json().encode() + b"\n")
        return target

    def __str__(self) -> str:
        watched = f", over {self.steps} checked training steps" if self.steps else ""
        tables = "; ".join(map(str, self.tables))
        return f"no frozen byte of {self.model!r} changed{watched}: {tables}"


def proof_path(model: str) -> str:
    """Where the proof of a saved model lies."""
    if os.path.isdir(model):
        return os.path.join(model, "freeze-proof.json")
    return f"{model}.proof.json"


def kept_digests(model: str) -> dict[str | None, set[str]]:
    """What the proof kept with a saved model says: the digests of the tables of each layer.

    Raises
    ------
    FormatError
        It cannot be read.
    """
    path, found = proof_path(model), defaultdict[str | None, set[str]](set)
    if not os.path.exists(path):
        return found
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
        if content["format"] != _FORMAT:
            raise ValueError(f"the format must be {_FORMAT}, received {content['format']!r:.60}")
        for table in content["tables"]:
            found[table["layer"]].add(table["digest"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(
            f"the proof of a model cannot be read ({error}): it is damaged, delete it or make it "
            "again with its save",
            path=path,
        ) from error
    return found
