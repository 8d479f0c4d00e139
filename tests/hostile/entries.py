"""What an entry of the catalogue is: a hostile file, and what each way of reading it must do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from samples import put

from embedfreeze.errors import FormatError

Make = Callable[[Path], Path]


@dataclass(frozen=True)
class Refused:
    """One error.

    `message` is the whole text: `{path}` stands for the file, `{out}` for the folder of the
    target, `{formats}` for the names of all formats, `{targets}` for the ends of file names that
    they are written under, and `{...}` for words of another library
    (h5py, zlib, Python), which differ from version to version.
    """

    message: str
    kind: type[Exception] = FormatError


@dataclass(frozen=True)
class Read:
    """Exactly these tokens, values and warnings, in this order."""

    tokens: Sequence[bytes]
    values: Any
    warnings: tuple[str, ...] = ()

    @property
    def matrix(self) -> np.ndarray:
        """The values [n, dim], float32 unless they are an array already."""
        found = np.array(self.values) if isinstance(self.values, np.ndarray) else None
        return np.array(self.values, np.float32) if found is None else found

    def quiet(self) -> "Read":
        """The same without a warning."""
        return Read(self.tokens, self.values)


Outcome = Refused | Read


@dataclass(frozen=True)
class Entry:
    """A hostile file.

    Attributes
    ----------
    name : str
        What is wrong with it.
    make : callable
        Makes it in a folder, and gives its path.
    outcome : Outcome
        Of `read`, and of the other three where they say nothing else.
    load, inspect, convert : Outcome, optional
        `load` gets a vocabulary of three of the tokens that must be found, else of "king" and
        "queen"; `convert` runs through the command line into a store.
    options : dict
        For all four.
    where : str
        "child" needs a process of its own with little memory, "nobody" one without rights,
        "small" one that may not write large files, "disk" one on a small disk.
    piped : bool
        The bytes of the file come through a named pipe.
    only : callable, optional
        What is called with the path and a folder for targets, instead of the four.
    status : int, optional
        Exit status of `convert`, where the kind of the error does not say it.
    """

    name: str
    make: Make
    outcome: Outcome
    load: Outcome | None = None
    inspect: Outcome | None = None
    convert: Outcome | None = None
    options: dict[str, Any] = field(default_factory=dict)
    where: str = "here"
    piped: bool = False
    only: Callable[[Path, Path], object] | None = None
    status: int | None = None


def holding(data: bytes, name: str = "f") -> Make:
    """A file of these bytes."""
    return lambda folder: put(folder / name, data)
