"""What a folder of features holds: the file ``manifest.json``, written when a job is finished."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedfreeze.batch.columns import Column, checked_columns
from embedfreeze.batch.shards import SHARD_FORMATS
from embedfreeze.errors import FileError, FormatError, reason
from embedfreeze.files import PathLike, atomic_output, name_of

__all__ = ["MANIFEST", "Manifest"]

MANIFEST = "manifest.json"
_FORMAT, _VERSION = "embedfreeze-features", 1


@dataclass(frozen=True)
class Manifest:
    """What a folder of features holds.

    Attributes
    ----------
    output : str
        Name of the format of the shards.
    columns : list of Column
        What each record has.
    shards : list of dict
        In the order of the corpus: ``name``, the stem of the files; ``texts``, its records;
        ``skipped``, bad records that were left out.
    job : dict
        What made it.
    """

    output: str
    columns: list[Column]
    shards: list[dict[str, Any]]
    job: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.output not in SHARD_FORMATS:
            raise ValueError(
                f"output must be one of {', '.join(SHARD_FORMATS)}, received {self.output!r:.60}"
            )
        checked_columns(self.columns)
        names = [_checked_shard(shard) for shard in self.shards]
        if len(set(names)) != len(names):
            raise ValueError("shards must have different names")
        if not isinstance(self.job, Mapping):
            raise ValueError(f"job must be a mapping, received {self.job!r:.60}")

    @property
    def texts(self) -> int:
        """Records of all shards."""
        return sum(shard["texts"] for shard in self.shards)

    @classmethod
    def read(cls, folder: PathLike) -> Manifest:
        """The manifest of a folder.

        Raises
        ------
        FileError
            There is none: the job is not finished, or the folder is another one.
        FormatError
            It is damaged, or was written by a newer version.
        """
        path = os.path.join(name_of(folder), MANIFEST)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            raise FileError(
                "is missing, so the job that writes this folder is not finished: run the same "
                "embedfreeze encode again, which goes on where it ended, or check the path",
                path=path,
            ) from None
        except OSError as error:
            raise FileError(f"cannot be read: {reason(error)}", path=path) from error
        try:
            return cls._from_dict(json.loads(data), path)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            if isinstance(error, FileError):
                raise
            raise FormatError(
                f"the manifest cannot be read ({type(error).__name__}: {error!s:.200}): it is "
                f"damaged, or that of another program: run embedfreeze encode into another folder",
                path=path,
            ) from error

    @classmethod
    def _from_dict(cls, found: Any, path: str) -> Manifest:
        if found["format"] != _FORMAT:
            raise ValueError(f"the format must be {_FORMAT}, received {found['format']!r:.60}")
        if type(found["version"]) is int and found["version"] > _VERSION:
            raise FormatError(
                f"the manifest must have version {_VERSION}, received {found['version']}: it was "
                f"written by a newer embedfreeze, install that one",
                path=path,
            )
        if type(found["version"]) is not int or found["version"] != _VERSION:
            raise ValueError(f"the version must be {_VERSION}, received {found['version']!r:.60}")
        columns = [Column.from_dict(column) for column in found["columns"]]
        return cls(found["output"], columns, list(found["shards"]), found["job"])

    def write(self, folder: PathLike) -> None:
        """Write it into its folder, replacing one there; equal content gives equal bytes.

        Raises
        ------
        FileError
            It cannot be written.
        """
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "output": self.output,
            "columns": [column.to_dict() for column in self.columns],
            "shards": self.shards,
            "job": self.job,
        }
        with atomic_output(os.path.join(name_of(folder), MANIFEST), overwrite=True) as file:
            file.write(json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")


def _checked_shard(shard: Any) -> str:
    """The name of a shard, which names files of the folder and nothing else."""
    name = shard["name"]
    if not isinstance(name, str) or os.path.basename(name) != name or "\0" in name or not name:
        raise ValueError(f"a shard must have the name of a file, received {name!r:.60}")
    for key in ("texts", "skipped"):
        if type(shard[key]) is not int or shard[key] < 0:
            raise ValueError(
                f"{key} of shard {name!r:.60} must be a number, received {shard[key]!r:.60}"
            )
    return name
