"""What other processes do to the file of the table. Stock subjects read it once, when made."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import embedfreeze as ef
from thaw import subjects
from thaw.children import in_child
from thaw.subjects import OTHER, TOKENS
from thaw.trial import CAUGHT, DIES, NONE, UNCHANGED, Attempt, Trial

KINDS = ("watched", "copied")
EDIT = """
import os, sys
path, start = sys.argv[1], int(sys.argv[2])
before = os.stat(path)
with open(path, "r+b") as file:
    file.seek(start)
    file.write(b"edited")
if sys.argv[3:]:
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
"""
COPY = """
import sys
with open(sys.argv[1], "rb") as file:
    data = file.read()
with open(sys.argv[2], sys.argv[3]) as file:
    file.write(data)
    file.truncate()
"""
Act = Callable[[Trial], object]


def elsewhere(code: str, *arguments: object) -> None:
    """Run a program in another process."""
    command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60)


def start(trial: Trial) -> int:
    """Where the matrix begins in the file."""
    sealed = ef.read(trial.subject.store).sealed
    assert sealed is not None
    return sealed.offset


def other_store(trial: Trial) -> str:
    path = str(trial.subject.folder / "other.safetensors")
    if not os.path.exists(path):
        ef.write(ef.Embeddings(TOKENS, OTHER), path)
    return path


def edited(trial: Trial) -> None:
    elsewhere(EDIT, trial.subject.store, start(trial))


def edited_in_secret(trial: Trial) -> None:
    elsewhere(EDIT, trial.subject.store, start(trial), "put the time back")


def rewritten(trial: Trial) -> None:
    """All of its bytes, without cutting it first."""
    elsewhere(COPY, other_store(trial), trial.subject.store, "r+b")


def written_anew(trial: Trial) -> None:
    """Cut to nothing first, as `open(path, "wb")` does."""
    elsewhere(COPY, other_store(trial), trial.subject.store, "wb")


def replaced(trial: Trial) -> None:
    """By another file of its name: what is mapped is the old one."""
    os.replace(other_store(trial), trial.subject.store)


def deleted(trial: Trial) -> None:
    os.unlink(trial.subject.store)


def touched(trial: Trial) -> None:
    os.utime(trial.subject.store)
    os.chmod(trial.subject.store, 0o640)
    os.link(trial.subject.store, trial.subject.folder / "link")


def extended(trial: Trial) -> None:
    elsewhere("import sys; open(sys.argv[1], 'ab').write(b'more')", trial.subject.store)


def cut(trial: Trial) -> None:
    os.truncate(trial.subject.store, 100)


def written_through_an_older_map(trial: Trial) -> None:
    """A writer that mapped the file before us: nothing that tells of the file changes at once."""
    first = start(trial)
    with open(trial.subject.store, "r+b") as file:
        writable = mmap.mmap(file.fileno(), 0)
    trial.model.check = "deep"

    def act() -> None:
        writable[first : first + 6] = b"edited"

    trial.during(act)


def made_again(act: Act) -> Act:
    """Ours in training; stock subjects when they are made again, of what the file is then."""

    def attempt(trial: Trial) -> None:
        if trial.subject.ours:
            trial.during(lambda: act(trial))
            return
        subjects.write_store(trial.subject.folder)
        act(trial)
        values = ef.read(trial.subject.store).matrix
        table = trial.layer.embeddings if trial.subject.kind == "stock" else trial.layer.table
        table.assign(values)

    return attempt


def cut_and_looked_up(trial: Trial) -> None:
    """In a child, which may die of it, on a file of its own."""
    aside = trial.subject.folder / "whole"
    shutil.copyfile(trial.subject.store, aside)

    def act() -> None:
        cut(trial)
        trial.layer([[1, 2, 3]])

    try:
        in_child(trial, act)
    finally:
        with open(trial.subject.store, "r+b") as file:
            file.write(aside.read_bytes())


HARMLESS = {"watched": CAUGHT, "copied": UNCHANGED, "": UNCHANGED}
SAME = {"stock": UNCHANGED, "variable": UNCHANGED, "ours": UNCHANGED, "kinds": KINDS}
NOT_STOCK = {"stock": NONE, "variable": NONE}
NOTE = "stock subjects: made again of what the file is then"
ATTEMPTS = [
    *(
        Attempt(title, made_again(act), ours=HARMLESS, kinds=KINDS, note=NOTE)
        for title, act in (
            ("another process edits the store", edited),
            ("another process edits the store, and puts its time back", edited_in_secret),
            ("another process rewrites the store in place", rewritten),
            ("another process writes the store anew", written_anew),
        )
    ),
    Attempt(
        "another store is put in its place",
        made_again(replaced),
        ours=UNCHANGED,
        kinds=KINDS,
        note=f"{NOTE}; ours keeps the file that it has mapped",
    ),
    Attempt(
        "the store is deleted",
        lambda trial: trial.during(lambda: deleted(trial)),
        ours=UNCHANGED,
        kinds=KINDS,
        **NOT_STOCK,
    ),
    Attempt("the store gets another time, other rights, another link", made_again(touched), **SAME),
    Attempt(
        "another process adds to the end of the store",
        lambda trial: trial.during(lambda: extended(trial)),
        ours=UNCHANGED,
        kinds=KINDS,
        **NOT_STOCK,
    ),
    Attempt(
        "a writer with an older map of the store, with `check='deep'`",
        written_through_an_older_map,
        ours=HARMLESS,
        kinds=KINDS,
        note="nothing that the kernel tells of the file changes at once: only `deep` sees it",
        **NOT_STOCK,
    ),
    Attempt(
        "the store is cut, and a vector is looked up",
        cut_and_looked_up,
        ours={"watched": f"{DIES} (SIGBUS)", "": UNCHANGED},
        kinds=KINDS,
        runs=("eager",),
        note="in a child: the kernel ends a process that reads behind the end of a file",
        **NOT_STOCK,
    ),
]
