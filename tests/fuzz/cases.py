"""Cases: a seed, changed, is read, inspected and loaded; a run of them in this process, bounded.

As a program it is one process of a campaign (campaign.py), which a crash may end:
``python cases.py run FOLDER FAILURES SUBJECT,... SEED FIRST COUNT``. A case that was saved runs by
``python cases.py again CASE ...``.
"""

import contextlib
import gc
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutations import mutate
from seeds import PACKED, Seed, seeds_of

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError

__all__ = ["Case", "Run", "case", "verbs"]

SECONDS = 5  # of processor time that a case may take
# Address space that reading a file of at most LONGEST bytes (mutations.py) may take more than the
# libraries have: room for the blocks of a stream and what a MiB decompresses to, not for what a
# header claims.
MORE_MEMORY = 256 << 20
TOGETHER = 100  # cases between two looks at what they leave behind
VOCABULARY = ("token3", "caf\u00e9", "none", "a-b")


class Hang(BaseException):
    """A case takes too long."""


@dataclass(frozen=True)
class Case:
    """A seed of which one file is changed, and how it is read."""

    subject: str
    number: int
    seed: Seed
    changed: str
    data: bytes
    format: str | None
    options: dict[str, Any]


def case(subject: str, seeds: list[Seed], seed: int, number: int) -> Case:
    """The same case for the same numbers, as long as the seeds are the same."""
    chance = random.Random(f"{subject} {seed} {number}")
    chosen = chance.choice(seeds)
    changed = chosen.changed[0] if chance.random() < 0.6 else chance.choice(chosen.changed)
    others = [s.files[s.changed[0]] for s in seeds]
    data = mutate(chosen.files[changed], chance, others)
    named = subject != PACKED and chance.random() < 0.7
    options: dict[str, Any] = dict(chosen.options)
    if chance.random() < 0.3:
        options["unicode_errors"] = chance.choice(("surrogateescape", "replace"))
    if chance.random() < 0.2:
        options["on_bad_row"] = "skip"
    if chance.random() < 0.1:
        options["limit"] = chance.choice((0, 1, 5))
    if chance.random() < 0.1:
        options["dtype"] = chance.choice(("float16", "bfloat16", "int8"))
    return Case(subject, number, chosen, changed, data, subject if named else None, options)


def verbs(path: Path, format: str | None, options: dict[str, Any]) -> Iterator[Callable[[], Any]]:
    """What is done with a file."""

    def read() -> None:
        found = ef.read(path, format=format, **options)
        assert len(list(found.tokens.escaped())) == len(found) == len(found.matrix)

    def load() -> None:
        v = ef.Vocabulary(list(VOCABULARY))
        kept = {n: o for n, o in options.items() if n != "dtype"}
        assert len(ef.load(path, v, format=format, **kept).matrix) == len(v)

    yield read
    chosen = {n: o for n, o in options.items() if n in ("member", "tokens")}
    yield lambda: ef.inspect(path, format=format, **chosen)
    yield load


@dataclass
class Run:
    """Cases of one subject, one after the other, in a folder of their own."""

    folder: Path
    failures: Path
    subject: str
    seeds: list[Seed]
    seed: int
    read: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    _laid: Seed | None = None

    def lay(self, one: Case) -> Path:
        """Put the files of a case down."""
        inside = self.folder / "case"
        if self._laid is not one.seed:
            shutil.rmtree(inside, ignore_errors=True)
            for name, data in one.seed.files.items():
                (inside / name).parent.mkdir(parents=True, exist_ok=True)
                (inside / name).write_bytes(data)
            self._laid = one.seed
        (inside / one.changed).write_bytes(one.data)
        return inside / one.seed.main

    def one(self, one: Case) -> None:
        """A case, whose failure is saved."""
        path = self.lay(one)
        try:
            with timed():
                for verb in verbs(path, one.format, placed(one.options, self.folder / "case")):
                    self.attempt(verb)
        except (Exception, Hang) as error:  # noqa: BLE001 (whatever it is, it is a finding)
            self.save(one, "".join(traceback.format_exception(error)))
        if len(one.seed.files) > 1:
            path = self.folder / "case" / one.changed
            path.unlink(missing_ok=True)
            path.write_bytes(one.seed.files[one.changed])

    def attempt(self, verb: Callable[[], Any]) -> None:
        try:
            verb()
        except EmbedFreezeError:
            self.refused += 1
        else:
            self.read += 1

    def save(self, one: Case, told: str) -> None:
        """Put a case that failed where it stays; one of a kind is enough."""
        kind = " | ".join(told.strip().splitlines()[-3:]).partition(" [")[0]
        if kind not in self.failed:
            self.failed.append(kind)
            save(self.failures, one, told)

    def cases(self, first: int, count: int) -> None:
        """Run the cases `first` to `first + count - 1`."""
        for low in range(first, first + count, TOGETHER):
            numbers = range(low, min(low + TOGETHER, first + count))
            if not self.together(numbers):
                for number in numbers:  # which of them was it?
                    self.together(range(number, number + 1), blame=True)

    def together(self, numbers: range, *, blame: bool = False) -> bool:
        """Some cases; False if they leave something open or behind."""
        before = left_behind()
        one = None
        for number in numbers:
            (self.folder / "number").write_text(f"{self.subject} {number}", encoding="utf-8")
            one = case(self.subject, self.seeds, self.seed, number)
            self.one(one)
        after = left_behind()
        if blame and one is not None and after[0] > before[0]:
            self.save(one, f"left behind: from [{before}] to [{after}]")
        return after[0] <= before[0]


def placed(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The options of a seed whose files lie in a folder."""
    tokens = options.get("tokens")
    if tokens is None or not (folder / tokens).exists():
        return options
    return {**options, "tokens": folder / tokens}


def left_behind() -> tuple[int, list[str]]:
    """Open descriptors and temporary files: how many, and their names."""
    gc.collect()  # what only a circle of objects holds is no leak
    found = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
    found += os.listdir(tempfile.gettempdir())
    return len(found), [os.path.realpath(name) for name in found]


def save(failures: Path, one: Case, told: str) -> None:
    """The files of a case, and what to say of it."""
    place = failures / one.subject / str(one.number)
    for name, data in {**one.seed.files, one.changed: one.data}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    about = {"main": one.seed.main, "format": one.format, "options": one.options, "told": told}
    about |= {"seed": one.seed.name, "changed": one.changed}
    (place / "case.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


@contextmanager
def timed() -> Iterator[None]:
    def late(*_: object) -> None:
        raise Hang(f"more than {SECONDS} seconds of processor time")

    earlier = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)


@contextmanager
def little_memory() -> Iterator[None]:
    """What a file only claims cannot be allocated."""
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def warm(run: Run) -> None:
    """Healthy files are read, so that libraries are loaded before memory is limited."""
    for seed in run.seeds:
        data = seed.files[seed.changed[0]]
        for format in (None, run.subject):
            if format != PACKED:
                options = {"unicode_errors": "replace", **seed.options}
                one = Case(run.subject, -1, seed, seed.changed[0], data, format, options)
                run.one(one)
    run.read = run.refused = 0


def run_subject(
    folder: Path, failures: Path, subject: str, seed: int, first: int, count: int
) -> None:
    """Cases of one subject; what is printed is what came of them."""
    for name in ("temporary", "seeds"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    run = Run(folder, failures, subject, seeds_of(subject, folder / "seeds"), seed)
    warm(run)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with little_memory():
        run.cases(first, count)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    told = {"subject": subject, "read": run.read, "refused": run.refused, "grown_mib": grown}
    print(json.dumps(told), flush=True)


def again(place: Path) -> None:
    """Run a saved case; an error that is not one of this library is raised."""
    about = json.loads((place / "case.json").read_text(encoding="utf-8"))
    for verb in verbs(place / about["main"], about["format"], placed(about["options"], place)):
        with contextlib.suppress(EmbedFreezeError), timed():
            verb()
    print(place, flush=True)


def main(mode: str, *arguments: str) -> None:
    warnings.simplefilter("ignore")
    if mode == "again":
        for place in arguments:
            again(Path(place))
        return
    folder, failures, subjects, *numbers = arguments
    tempfile.tempdir = str(Path(folder) / "temporary")
    for subject in subjects.split(","):
        run_subject(Path(folder), Path(failures), subject, *map(int, numbers))


if __name__ == "__main__":
    main(*sys.argv[1:])
