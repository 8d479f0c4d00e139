"""`kill -9` at any moment: no target, or the whole target; the next run works and cleans up.

A process that has imported the package forks, the fork converts or aligns and is killed. Most
moments are random; others are those before and after each step that gives a file its name.
"""

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from samples import assert_is, child, glove_bytes, put, table

import embedfreeze as ef
from embedfreeze.files import atomic_output, hidden

CONVERSIONS = ["t.vec", "t.bin", "t.safetensors", "t.h5", "t.txt.gz"]
SEVERAL = ["folder", "several"]  # files, which appear in one step or one by one
OF_FORMATS = ["t.npy", "model2vec"]  # the same with what formats write
JOBS = [*CONVERSIONS, "aligned.safetensors", "loaded.safetensors", *SEVERAL, *OF_FORMATS]

DRIVER = """
import json, os, random, shutil, signal, sys, time
import h5py
import embedfreeze as ef
from embedfreeze.cli import main
from embedfreeze.files import atomic_files, atomic_folder, outputfolder

given = json.loads(sys.argv[1])
folder, name, overwrite = given["folder"], given["name"], given["overwrite"]
source, target = f"{folder}/source.txt", f"{folder}/{name}"
parts = [f"{target}/{part}" for part in "abc"] if name == "folder" else [target]
if name == "several":  # the target stands last
    parts = [f"{folder}/a", f"{folder}/b", target]
elif name == "t.npy":
    parts = [f"{folder}/t.tokens.json", target]
elif name == "model2vec":
    made = ("config.json", "model.safetensors", "modules.json", "tokenizer.json")
    parts = [f"{target}/{part}" for part in made]
names = sorted({os.path.relpath(part, folder).split("/")[0] for part in parts})
words = ef.Vocabulary([f"token{i}" for i in range(0, 4000, 2)])
random = random.Random(given["seed"])
if given["hidden"]:  # as on a file system that does not know O_TMPFILE
    real_open = os.open
    def refusing(path, flags, *rest, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return real_open(path, flags, *rest, **more)
    os.open = refusing

def job(force):
    if name.startswith("aligned"):
        ef.align(ef.read(source), words).save(target, overwrite=force)
    elif name.startswith("loaded"):
        ef.load(source, words).save(target, overwrite=force)
    elif name in ("folder", "several"):
        with (atomic_folder if name == "folder" else atomic_files)(target, overwrite=force) as made:
            for part in parts[: len(parts) - (name == "several")]:
                made.beside(os.path.basename(part)).write(part.encode() * 40_000)
            if name == "several":
                made.file.write(target.encode() * 40_000)
    else:
        how = ["--to", name] if name == "model2vec" else []
        status = main(["convert", source, target, *how, *(["--force"] if force else [])])
        assert status == 0, status

def forked(force, prepare=lambda: None):
    pid = os.fork()
    if pid:
        return pid
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        prepare()
        job(force)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)

def content():
    if not os.path.exists(target):
        return None
    assert not os.path.isdir(target) or len(os.listdir(target)) == len(parts), os.listdir(target)
    return [open(part, "rb").read() for part in parts]

def reset():
    for part in names:
        if os.path.isdir(f"{folder}/{part}"):
            shutil.rmtree(f"{folder}/{part}")
        elif os.path.exists(f"{folder}/{part}"):
            os.unlink(f"{folder}/{part}")
    for part in parts if overwrite else ():
        os.makedirs(os.path.dirname(part), exist_ok=True)
        open(part, "wb").write(b"old")

STEPS = ("link", "rename", "replace", "unlink", "mkdir", "rmdir", "fsync")

def counted(calls, kill_at):
    # Each step is two moments, before and after; at the chosen one this process dies.
    def around(real):
        def step(*args, **more):
            for moment in (0, 1):
                if calls[0] == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                calls[0] += 1
                if not moment:
                    result = real(*args, **more)
            return result
        return step
    for step in STEPS:
        setattr(os, step, around(getattr(os, step)))
    outputfolder._exchange = around(outputfolder._exchange)

def undisturbed():
    reset()
    start = time.perf_counter()
    assert os.waitpid(forked(overwrite), 0)[1] == 0
    return time.perf_counter() - start

def number_of_moments():
    reset()
    out, into = os.pipe()
    calls = [0]
    def prepare():
        counted(calls, -1)
        real = os._exit
        def leave(status):
            os.write(into, str(calls[0]).encode())
            real(status)
        os._exit = leave
    assert os.waitpid(forked(overwrite, prepare), 0)[1] == 0
    return int(os.read(out, 100))

took = min(undisturbed() for _ in range(3))
whole, old = content(), [b"old"] * len(parts) if overwrite else None
allowed = [old, whole, None] if name in ("several", "t.npy") else [old, whole]
if given["kills"]:
    moments = [random.random() * took * 1.1 for _ in range(given["kills"])]
else:
    moments = range(number_of_moments())
seen = {"killed": 0, "before": 0, "whole": 0, "left": 0}
for moment in moments:
    reset()
    if given["kills"]:
        pid = forked(overwrite)
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
    else:
        pid = forked(overwrite, lambda: counted([0], moment))
    seen["killed"] += os.waitpid(pid, 0)[1] == signal.SIGKILL
    found = content()
    assert found in allowed, (moment, found and list(map(len, found)))
    seen["whole" if found == whole else "before"] += 1
    left = set(os.listdir(folder)) - {"source.txt", *names}
    assert all(entry.startswith(".embedfreeze-") for entry in left), left
    seen["left"] += bool(left)
    assert os.waitpid(forked(overwrite or found == whole), 0)[1] == 0
    assert content() == whole
    assert sorted(os.listdir(folder)) == sorted(["source.txt", *names]), os.listdir(folder)
print(json.dumps(seen))
"""


def killed(folder: Path, name: str, *, rows: int, kills: int = 0, **how: Any) -> dict[str, int]:
    """What `kills` kills at random moments led to, or one kill at each step if that is 0."""
    tokens = [b"token%d" % i for i in range(rows)]
    put(folder / "source.txt", glove_bytes(tokens, table(rows, 30)))
    settings = {"hidden": False, "overwrite": False, "seed": name, **how}
    given = {"folder": str(folder), "name": name, "kills": kills, **settings}
    seen: dict[str, int] = json.loads(child(DRIVER, json.dumps(given)).splitlines()[-1])
    assert seen["before"] + seen["whole"] >= max(kills, seen["killed"])
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [False, True], ids=["unnamed", "hidden"])
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize("name", JOBS)
def test_kills_at_random_moments(name: str, overwrite: bool, hidden: bool, tmp_path: Path) -> None:
    seen = killed(tmp_path, name, rows=3000, kills=20, overwrite=overwrite, hidden=hidden)
    assert seen["killed"] > 0
    assert seen["before"] > 0


@pytest.mark.parametrize(
    ("name", "overwrite", "hidden"),
    [
        ("t.vec", False, False),
        ("t.h5", True, False),
        ("t.txt.gz", False, True),
        ("aligned.safetensors", True, True),
    ],
)
def test_a_few_kills(name: str, overwrite: bool, hidden: bool, tmp_path: Path) -> None:
    seen = killed(tmp_path, name, rows=2000, kills=5, overwrite=overwrite, hidden=hidden)
    assert seen["killed"] > 0


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        *(
            (name, hidden)
            for name in ("t.txt.gz", "loaded.safetensors")
            for hidden in (False, True)
        ),
        *((name, False) for name in SEVERAL),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in SEVERAL),
        *(pytest.param(name, False, marks=pytest.mark.slow) for name in OF_FORMATS),
    ],
)
def test_a_kill_at_each_step(name: str, overwrite: bool, hidden: bool, tmp_path: Path) -> None:
    """Before and after each link, rename, unlink and fsync."""
    seen = killed(tmp_path, name, rows=20, overwrite=overwrite, hidden=hidden)
    assert seen["killed"] >= 6
    assert min(seen["before"], seen["whole"]) > 0
    assert (seen["left"] > 0) == (hidden or overwrite or name in ("folder", "model2vec"))


# ---- whose a temporary file is -------------------------------------------------------------------

WRITER = """
import os, sys
from embedfreeze.files import atomic_output
real = os.open
def refusing(path, flags, *rest, **more):
    if flags & os.O_TMPFILE == os.O_TMPFILE:
        raise OSError(95, "Operation not supported")
    return real(path, flags, *rest, **more)
os.open = refusing
with atomic_output(sys.argv[1]) as file:
    file.write(b"half")
    print("started", flush=True)
    sys.stdin.readline()
    file.write(b" and half")
"""


def hidden_files(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".embedfreeze-")]


def test_files_of_living_processes_are_left_alone(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("living", "killed")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "started\n"
    e = ef.Embeddings(["a"], table(1, 2))
    ef.write(e, tmp_path / "one.bin")
    assert len(hidden_files(tmp_path)) == 2
    writers[1].kill()
    writers[1].communicate()
    assert len(hidden_files(tmp_path)) == 2
    ef.write(e, tmp_path / "two.bin")
    assert len(hidden_files(tmp_path)) == 1
    writers[0].communicate("\n", timeout=60)
    assert writers[0].returncode == 0
    assert (tmp_path / "living").read_bytes() == b"half and half"
    assert sorted(os.listdir(tmp_path)) == ["living", "one.bin", "two.bin"]


def test_only_our_own_names_are_removed(tmp_path: Path) -> None:
    left = ".embedfreeze-0123456789abcdef"
    kept = [
        *(".embedfreeze-", ".embedfreeze-notes", "embedfreeze-0123456789abcdef", left + "0"),
        *(left[:-1] + "g", left.upper(), left + ".txt", left + "\n"),
    ]
    for name in [left, *kept]:
        put(tmp_path / name, b"x")
    (tmp_path / left.replace("0", "1")).mkdir()
    (tmp_path / (left + ".folders")).mkdir()
    put(tmp_path / (left.replace("0", "2") + ".folder"), b"x")
    (tmp_path / left.replace("0", "2")).symlink_to(tmp_path / kept[1])
    os.mkfifo(tmp_path / left.replace("0", "3"))
    before = set(os.listdir(tmp_path))
    with atomic_output(tmp_path / "new") as file:
        file.write(b"new")
    assert set(os.listdir(tmp_path)) == before - {left} | {"new"}


def remove_left_behind(folder: Path) -> None:
    with hidden.opened(str(folder)) as opened:
        hidden.remove_left_behind(opened)


def test_a_file_that_is_locked_stays(tmp_path: Path) -> None:
    path = put(tmp_path / ".embedfreeze-0123456789abcdef", b"x")
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        remove_left_behind(tmp_path)
        assert path.exists()
    remove_left_behind(tmp_path)
    assert not path.exists()


@pytest.mark.parametrize("when", ["created", "opened by the other"])
def test_a_file_that_is_taken_for_one_left_behind(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its creation and its lock another run may remove it, or be about to."""
    real, calls = hidden.lock, []

    def late(file: Any) -> bool:
        calls.append(file.name)
        if len(calls) > 1:
            return real(file)
        if when == "created":
            remove_left_behind(tmp_path)
            return real(file)
        with open(tmp_path / file.name, "rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            taken = real(file)
            os.unlink(tmp_path / file.name)
        return taken

    monkeypatch.setattr(hidden, "lock", late)
    with hidden.opened(str(tmp_path)) as folder, hidden.hidden_file(folder) as file:
        assert (len(calls), file.name) == (2, calls[1])
        assert os.path.samestat(os.stat(tmp_path / file.name), os.fstat(file.fileno()))
    assert os.listdir(tmp_path) == []


def test_many_writers_with_hidden_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them clean up all the time, and nobody loses a file."""
    real = os.open

    def refusing(path: str, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(25):
                with atomic_output(tmp_path / str(number), overwrite=i > 0) as file:
                    file.write(b"%d %d" % (number, i))
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        str(number): b"%d 24" % number for number in range(6)
    }


def test_what_is_left_behind_does_not_stop_a_run(tmp_path: Path) -> None:
    e = ef.Embeddings(["a"], table(1, 2))
    for name in "0123":
        put(tmp_path / f".embedfreeze-{name * 16}", b"x")
    ef.write(e, tmp_path / "f.bin")
    assert os.listdir(tmp_path) == ["f.bin"]
    assert_is(ef.read(tmp_path / "f.bin"), ["a"], e.matrix)
