"""Many cases of each format, in processes of their own: what crashes or hangs one is saved, too.

``python tests/fuzz/campaign.py --cases 100000 --failures FOLDER [FORMAT ...]``
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cases import case, save
from seeds import SUBJECTS, seeds_of

__all__ = ["Result", "campaign", "first_cases"]

BUSY = 15  # seconds of processor time for one case that no signal ends: a library is in a circle
WAITING = 300  # seconds of the clock: it waits for something
PROGRAM = Path(__file__).with_name("cases.py")


@dataclass
class Result:
    """What came of the cases of a subject."""

    subject: str
    cases: int
    read: int = 0
    refused: int = 0
    grown_mib: int = 0
    failed: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        failed = "".join(f"\n  {path}: {_last_line(path)}" for path in self.failed)
        return (
            f"{self.subject}: {self.cases:,} cases, {self.read:,} calls gave a result, "
            f"{self.refused:,} were refused, {self.grown_mib} MiB more memory, "
            f"{len(self.failed)} kinds of failures{failed}"
        )


def _last_line(path: Path) -> str:
    told = json.loads((path / "case.json").read_text(encoding="utf-8"))["told"]
    return str(told).strip().splitlines()[-1][:300]


def campaign(subject: str, cases: int, seed: int, failures: Path) -> Result:
    """Run cases of one subject; their failures are saved in a folder."""
    result = Result(subject, cases)
    failures.mkdir(parents=True, exist_ok=True)
    with _folder() as folder:
        first = 0
        while first < cases:
            ended = _process(folder, failures, subject, seed, first, cases - first)
            if ended is None:
                break
            first = _crashed(folder, failures, subject, seed, ended) + 1
        _add(folder, {subject: result})
    return _with_failures(result, failures)


def first_cases(subjects: Sequence[str], cases: int, failures: Path) -> list[Result]:
    """A few cases of each subject, all in one process."""
    found = {subject: Result(subject, cases) for subject in subjects}
    failures.mkdir(parents=True, exist_ok=True)
    with _folder() as folder:
        if _process(folder, failures, ",".join(subjects), 0, 0, cases) is not None:
            return [campaign(subject, cases, 0, failures) for subject in subjects]
        _add(folder, found)
    return [_with_failures(result, failures) for result in found.values()]


def _with_failures(result: Result, failures: Path) -> Result:
    if (failures / result.subject).is_dir():
        result.failed = sorted((failures / result.subject).iterdir())
    return result


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder in memory, where there is one."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="embedfreeze-fuzz-", dir=memory) as name:
        yield Path(name)


def _process(
    folder: Path, failures: Path, subjects: str, seed: int, first: int, count: int
) -> str | None:
    """Run cases in a process; how it ended, if not well."""
    arguments = ["run", folder, failures, subjects, seed, first, count]
    env = {**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    with open(folder / "output", "w+b") as output:
        child = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", PROGRAM, *map(str, arguments)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
        )
        stalled = not _watched(child, folder / "number")
        if not stalled and child.returncode == 0:
            return None
        output.seek(0)
        why = "it hangs" if stalled else f"the process ended with {child.returncode}"
        return f"{output.read()[-8000:].decode(errors='replace')}\n{why}"


def _watched(child: subprocess.Popen[bytes], number: Path) -> bool:
    """Wait for a process as long as it goes on."""
    number.write_text("", encoding="utf-8")
    at, since, used = "", time.monotonic(), 0.0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.3)
            return True
        now = number.read_text(encoding="utf-8")
        if now != at:
            at, since, used = now, time.monotonic(), _processor_time(child)
        busy = _processor_time(child) - used > BUSY and at
        if busy or time.monotonic() - since > WAITING:
            child.kill()
            child.wait()
            return False


def _processor_time(child: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _crashed(folder: Path, failures: Path, subject: str, seed: int, told: str) -> int:
    """Save the case that ended a process; its number."""
    at = (folder / "number").read_text(encoding="utf-8")
    if not at:
        raise RuntimeError(f"the process for {subject} cannot start:\n{told}")
    made, number = folder / "again", int(at.split()[1])
    made.mkdir(exist_ok=True)
    save(failures, case(subject, seeds_of(subject, made), seed, number), told)
    return number


def _add(folder: Path, results: dict[str, Result]) -> None:
    """What the last process counted."""
    for line in (folder / "output").read_bytes().splitlines():
        if line.startswith(b'{"subject"'):
            counted = json.loads(line)
            result = results[counted["subject"]]
            result.read, result.refused = counted["read"], counted["refused"]
            result.grown_mib = counted["grown_mib"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", default=SUBJECTS, metavar="FORMAT")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failures", type=Path, required=True)
    options = parser.parse_args()
    failed = 0
    for subject in options.subjects:
        result = campaign(subject, options.cases, options.seed, options.failures)
        print(result, flush=True)
        failed += len(result.failed)
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
