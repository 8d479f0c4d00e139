"""The folder of a job: what is done in it, and that one job alone works on it."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from embedfreeze.batch.columns import Column
from embedfreeze.batch.manifest import MANIFEST, Manifest
from embedfreeze.batch.shards import shard_files
from embedfreeze.errors import FileError
from embedfreeze.files import atomic_output
from embedfreeze.files.hidden import lock, opened, remove_left_behind
from embedfreeze.files.output import errors_of

__all__ = ["TABLE", "WEIGHTS", "JobFolder", "ShardRecord"]

JOB, PROGRESS, WEIGHTS, TABLE = "job.json", "progress.jsonl", "weights.npy", "table.safetensors"
SHARD = re.compile(r"part-(\d{5,})(?:-(\d{5,}))?")
SHARD_FILE = re.compile(
    SHARD.pattern + r"\.(?:npz|parquet|tfrecord|h5|[\w-]+(?:\.values|\.row_splits)?\.npy)", re.ASCII
)
KEYS = {"table", "corpus", "features"}  # of what a job is described by
REPLACED = {"job": "is being replaced"}  # job.json, while what another job left is removed


@dataclass(frozen=True)
class ShardRecord:
    """What is known of a shard that is done.

    Attributes
    ----------
    name : str
        Of its files, but for their ends.
    texts, skipped : int
        Records in it, and those that were left out.
    first_skipped : str or None
        What was wrong with the first of them.
    """

    name: str
    texts: int
    skipped: int = 0
    first_skipped: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not SHARD.fullmatch(self.name):
            raise ValueError(f"a shard must have the name of one, received {self.name!r:.60}")
        if any(type(n) is not int or n < 0 for n in (self.texts, self.skipped)):
            raise ValueError(f"{self.name} must have numbers of texts, received {self!r:.200}")
        if not isinstance(self.first_skipped, str | None):
            raise ValueError(f"{self.name} must tell of a record, received {self!r:.200}")

    @property
    def place(self) -> tuple[int, ...]:
        """Where it stands in the corpus: names with more digits come later."""
        found = SHARD.fullmatch(self.name)
        return tuple(int(number) for number in found.groups() if number) if found else ()


class JobFolder:
    """A folder that one job writes shards into, in any number of runs.

    While a job is under way the folder has ``job.json``, which says what it is, and
    ``progress.jsonl`` with a line for each shard that is done. At its end ``manifest.json`` takes
    their place.

    Attributes
    ----------
    path : str
        The folder.
    finished : Manifest or None
        Where the job was finished already.
    done : dict
        A `ShardRecord` for each shard that is done, by its name.
    """

    def __init__(self, path: str, output: str, columns: Sequence[Column]) -> None:
        self.path, self.output, self.columns = path, output, columns
        self.finished: Manifest | None = None
        self.done: dict[str, ShardRecord] = {}

    @classmethod
    @contextmanager
    def opened(
        cls,
        path: str,
        job: dict[str, Any],
        output: str,
        columns: Sequence[Column],
        *,
        overwrite: bool,
    ) -> Iterator[JobFolder]:
        """The folder of a job, made where it is missing; what is done of this job stays.

        Raises
        ------
        FileError
            Another process works on it; or it holds another job and `overwrite` is false, or files
            of somebody else; or it cannot be written.
        """
        folder = cls(path, output, columns)
        with contextlib.ExitStack() as held:
            with errors_of(path):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path)
                if not os.path.isdir(path):
                    raise FileError("is a file: name a folder", path=path)
                fd = held.enter_context(opened(path))
                if not lock(fd):
                    raise FileError(
                        "another job works on this folder: wait for its end, or name another",
                        path=path,
                    )
                remove_left_behind(fd)
                folder._take(json.loads(json.dumps(job)), overwrite)
            yield folder

    def _take(self, job: dict[str, Any], overwrite: bool) -> None:
        found = self._found_job()
        overwrite = overwrite or (found is not None and not self._has_results())
        if found is not None and found != job and not overwrite:
            other = ", ".join(name for name in job if found.get(name) != job[name])
            raise FileError(
                f"holds another job, which differs in: {other or 'its version'}: name another "
                f"folder, or pass overwrite=True (--force) to replace what is in it",
                path=self.path,
            )
        if found is None or found != job:
            self._clear(overwrite and found is not None)
            self.write_json(JOB, job)
            return
        if os.path.exists(self.file(MANIFEST)):
            self._take_finished(job)
        else:
            self.done = self._read_progress()

    def _take_finished(self, job: dict[str, Any]) -> None:
        """A finished job whose files are there stays; else what is missing is made again."""
        manifest = Manifest.read(self.path)
        there = [shard for shard in manifest.shards if self._is_there(shard["name"])]
        weighted = job.get("weights") is None or os.path.exists(self.file(WEIGHTS))
        if len(there) == len(manifest.shards) and weighted:
            self.finished = manifest
            self._remove_working_files()  # which a kill behind the manifest leaves
            return
        self._remove(PROGRESS)
        self.write_json(JOB, job)
        for shard in there:
            self.record(ShardRecord(shard["name"], shard["texts"], shard["skipped"]))
        os.unlink(self.file(MANIFEST))

    def _found_job(self) -> dict[str, Any] | None:
        """What the folder is of; None for one that is of no job."""
        if os.path.exists(self.file(MANIFEST)):
            return Manifest.read(self.path).job
        try:
            with open(self.file(JOB), encoding="utf-8") as file:
                found = json.load(file)
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        ours = isinstance(found, dict) and (found == REPLACED or found.keys() >= KEYS)
        return found if ours else None

    def _has_results(self) -> bool:
        """Is a shard done?"""
        with contextlib.suppress(FileNotFoundError):
            return os.path.getsize(self.file(PROGRESS)) > 0
        return os.path.exists(self.file(MANIFEST))

    def _clear(self, overwrite: bool) -> None:
        """Remove what another job left; `FileError` for what is somebody else's."""
        names = sorted(os.listdir(self.path))
        own = (MANIFEST, JOB, PROGRESS, WEIGHTS, TABLE)
        others = [name for name in names if name not in own and not SHARD_FILE.fullmatch(name)]
        if others or (names and not overwrite):
            raise FileError(
                f"is not empty, it holds {(others or names)[0]}: name a new folder", path=self.path
            )
        if names:  # one who is killed while he removes them leaves a folder that is known as ours
            self.write_json(JOB, REPLACED)
            self._remove(MANIFEST)  # what is left without one is no result
            self._remove(*(name for name in names if name != JOB))

    def _remove(self, *names: str) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.file(name))

    def _read_progress(self) -> dict[str, ShardRecord]:
        """The shards that are done; a line that a killed run left unfinished is cut off."""
        done, whole = {}, 0
        with open(self.file(PROGRESS), "a+b") as file:
            file.seek(0)
            for line in file:
                try:
                    record = ShardRecord(**json.loads(line))
                except (ValueError, TypeError, RecursionError):
                    break
                if not line.endswith(b"\n"):
                    break
                done[record.name] = record
                whole += len(line)
            file.truncate(whole)
        return {name: record for name, record in done.items() if self._is_there(name)}

    def _is_there(self, name: str) -> bool:
        if not SHARD.fullmatch(name):
            return False
        files = shard_files(self.output, name, self.columns)
        return all(os.path.exists(self.file(file)) for file in files)

    def file(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.path, name)

    def write_json(self, name: str, content: Any) -> None:
        """Write a file of JSON, whole or not at all."""
        with atomic_output(self.file(name), overwrite=True) as file:
            file.write(json.dumps(content, indent=2, sort_keys=True).encode() + b"\n")

    def record(self, shard: ShardRecord) -> None:
        """A shard is done."""
        self.done[shard.name] = shard
        with errors_of(self.path), open(self.file(PROGRESS), "ab") as file:
            file.write(json.dumps(asdict(shard)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def in_order(self) -> list[ShardRecord]:
        """The shards that are done, in the order of the corpus."""
        return sorted(self.done.values(), key=lambda record: record.place)

    def finish(self, job: dict[str, Any]) -> Manifest:
        """All shards are done: write the manifest, with the shards in their order."""
        shards = [
            {"name": record.name, "texts": record.texts, "skipped": record.skipped}
            for record in self.in_order()
        ]
        manifest = Manifest(self.output, list(self.columns), shards, job)
        manifest.write(self.path)
        self._remove_working_files()
        return manifest

    def _remove_working_files(self) -> None:
        """What a finished job does not need; without ``job.json`` there is nothing of that kind."""
        if os.path.exists(self.file(JOB)):
            self._remove(PROGRESS, TABLE, JOB)
