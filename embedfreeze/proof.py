"""FreezeProof: what was checked, how, and what it says, to read, to compare and to keep."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

from embedfreeze.errors import FileError, FormatError, reason
from embedfreeze.files import FileIdentity, atomic_output
from embedfreeze.sealed import SEALS, LateDigest
from embedfreeze.table import Table
from embedfreeze.tablerecord import TableRecord

__all__ = ["FreezeProof", "How", "TableProof", "kept_proof"]

_FORMAT = "embedfreeze-proof"
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
    guarantee : {"sealed", "watched", "copied", "stored"}
        What holds the bytes: the kernel, in sealed memory; nothing, in a file that is watched, in
        a copy on a device, or in one inside of a saved model.
    how : {"address", "deep", "device"}
        What was compared: address and guard of the memory, every byte, or a digest on a device.
    device : str
        Where the table is, as in ``"CPU:0"``.
    address : int or None
        Where the memory starts in this process; None for copies and for what was read from a file.
    file : FileIdentity or None
        Of a watched file.
    path : str or None
        Of the store, where there is one.
    trained_rows : int
        Rows of which the layer takes trained values instead.
    """

    layer: str | None
    shape: tuple[int, ...]
    dtype: str
    guarantee: Literal["sealed", "watched", "copied", "stored"]
    how: How
    find_digest: Callable[[], str] = field(repr=False)
    device: str = "CPU:0"
    address: int | None = None
    file: FileIdentity | None = None
    path: str | None = None
    trained_rows: int = 0

    @classmethod
    def of(cls, layer: str | None, table: Table, how: How) -> TableProof:
        """Of a table whose own memory was just checked."""
        sealed = table.sealed
        return cls(
            layer=layer,
            shape=(table.shape[0], table.dim) if table.shape else (),
            dtype=table.dtype,
            guarantee=sealed.guarantee,
            how=how,
            find_digest=sealed.digest_finder(),
            file=sealed.identity if sealed.guarantee == "watched" else None,
            path=sealed.path,
        )

    @classmethod
    def inside(cls, layer: str | None, record: TableRecord) -> TableProof:
        """Of a table inside of a saved model, every byte of which was just hashed."""
        return cls(
            layer=layer,
            shape=(record.shape[0], record.dim) if record.shape else (),
            dtype=record.dtype,
            guarantee="stored",
            how="deep",
            find_digest=lambda: record.digest,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "find_digest": partial(str, self.digest)}

    def at(self, address: int, trained_rows: int) -> TableProof:
        """Of a table in place in the memory of this process."""
        return replace(self, address=address, trained_rows=trained_rows)

    def copied_to(self, device: str, trained_rows: int) -> TableProof:
        """Of a copy on a device, which was compared with the table."""
        return replace(
            self, guarantee="copied", device=device, file=None, trained_rows=trained_rows
        )

    @cached_property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the SHA-256 of each 1 MiB block of the matrix.

        Of a watched file that was not hashed it is the recorded one. That of memory which no file
        has a digest of is computed when it is first asked for.
        """
        return self.find_digest()

    @property
    def digest_known(self) -> bool:
        """Whether `digest` is at hand, and nothing has to be hashed for it."""
        found = self.find_digest
        return "digest" in self.__dict__ or not isinstance(found, LateDigest) or found.known

    @property
    def complete(self) -> bool:
        """Whether nothing that was checked can have changed unseen."""
        return self.guarantee == "sealed" or self.how != "address"

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
            "how": self.how,
            "seals": self.seals,
            "device": self.device,
            "address": self.address,
            "file": None if self.file is None else asdict(self.file),
            "path": self.path,
            "trained_rows": self.trained_rows,
            "digest": self.digest,
            "digest_is": "verified" if self.complete else "recorded",
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> TableProof:
        """What `to_dict` wrote; `KeyError`, `TypeError` or `ValueError` if it is not that."""
        digest, file = found["digest"], found["file"]
        if not isinstance(digest, str):
            raise ValueError(f"a digest must be text, received {digest!r:.60}")
        names = {one.name for one in fields(cls)} - {"find_digest", "shape", "file"}
        return cls(
            shape=tuple(found["shape"]),
            file=None if file is None else FileIdentity(**file),
            find_digest=lambda: digest,
            **{name: found[name] for name in names},
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TableProof) and self.to_dict() == other.to_dict()

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __str__(self) -> str:
        name = "the variable" if self.address else "the table"
        name = name if self.layer is None else f"layer {self.layer!r}"
        shape = " x ".join(map(str, self.shape)) or "scalar"
        digest = "digest" if self.complete else "recorded digest"
        trained = f", {self.trained_rows} of its rows are trained instead"
        return (
            f"{name} ({shape} {self.dtype}, {self._memory()}, {digest} {self.digest}"
            f"{trained if self.trained_rows else ''}): {self._way()}"
        )

    def facts(self) -> dict[str, object]:
        """For a table of people; no bytes are hashed for it."""
        digest = self.digest if self.digest_known else "not computed"
        return {
            "layer": self.layer,
            "shape": " x ".join(map(str, self.shape)) or "scalar",
            "dtype": self.dtype,
            "memory": self._memory(),
            "checked": self._way(),
            "digest" if self.complete else "recorded digest": digest,
            "file": self.path,
            "trained rows": self.trained_rows or None,
        }

    def _memory(self) -> str:
        if self.guarantee == "stored":
            return "inside the saved model"
        if self.guarantee == "copied":
            return f"a copy on {self.device}"
        memory = "sealed memory" if self.guarantee == "sealed" else "a watched file"
        return memory if self.address is None else f"{memory} at {self.address:#x}"

    def _way(self) -> str:
        if self.how == "deep":
            return "by the digest of every byte"
        if self.how == "device":
            return "by a digest computed on the device"
        guard = "seals" if self.guarantee == "sealed" else "the identity of the file"
        return f"by address and {guard}"


@dataclass(frozen=True)
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
        """Write it as JSON, beside or into a saved model, where `verify` of that model finds it.

        Parameters
        ----------
        path : path
            Of the saved model: a folder gets the file ``freeze-proof.json``, a file a neighbour of
            its name with ``.proof.json`` behind it. Or a name that ends in ``.json``, which is
            taken as it is. An older proof there is replaced.

        Returns
        -------
        str
            Where it was written.

        Raises
        ------
        FileError
            There is no such saved model, or the file cannot be written.
        """
        name = os.fspath(path)
        target = name if name.endswith(".json") else _proof_path(name)
        if target != name and not os.path.exists(name):
            raise FileError(
                "a proof is kept with a saved model, and there is none: save the model first, or "
                "give a name that ends in .json",
                path=name,
            )
        with atomic_output(target, overwrite=True) as file:
            file.write(self.to_json().encode() + b"\n")
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FreezeProof:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
            Of the file itself, as `save` returned it.

        Returns
        -------
        FreezeProof
            Equal to the one that was saved.

        Raises
        ------
        FileError
            The file cannot be read.
        FormatError
            It is no proof.
        """
        name = os.fspath(path)
        try:
            with open(name, "rb") as file:
                found = json.loads(file.read())
            if found["format"] != _FORMAT:
                raise ValueError(f"the format must be {_FORMAT}, received {found['format']!r:.60}")
            tables = tuple(map(TableProof.from_dict, found["tables"]))
            return cls(found["model"], tables, found["steps"])
        except OSError as error:
            raise FileError(f"cannot be read: {reason(error)}", path=name) from error
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise FormatError(
                f"the proof of a model cannot be read ({error}): it is damaged, delete it or make "
                "it again with its save",
                path=name,
            ) from error

    def _repr_html_(self) -> str:
        from embedfreeze.notebook import proof_html

        return proof_html(self.summary, (table.facts() for table in self.tables))

    def __str__(self) -> str:
        return f"{self.summary}: {'; '.join(map(str, self.tables))}"

    @property
    def summary(self) -> str:
        """What was found, in a sentence without the tables."""
        steps = f", over {self.steps} checked training step{'s' if self.steps > 1 else ''}"
        said = f"no change of the frozen bytes of {self.model!r} was found"
        if all(table.complete for table in self.tables):
            said = f"no frozen byte of {self.model!r} changed"
        return f"{said}{steps if self.steps else ''}"


def _proof_path(model: str) -> str:
    if os.path.isdir(model):
        return os.path.join(model, "freeze-proof.json")
    return f"{model}.proof.json"


def kept_proof(model: str) -> FreezeProof | None:
    """The proof that was saved with a saved model, if one was."""
    path = _proof_path(model)
    return FreezeProof.load(path) if os.path.exists(path) else None
