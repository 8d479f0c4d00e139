"""What the tests of `embedfreeze encode` share: a table, runs of the command, what they leave."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import embedfreeze as ef
from embedfreeze.cli import main

COMMAND = "import sys; from embedfreeze.cli import main; sys.exit(main())"
WORDS = ["good", "case", "bad", "value", "caf\u00e9", "\u03bf\u03c2", "the", "a", "b", "end"]


def aligned(dim: int = 4, seed: int = 0, **settings: Any) -> ef.AlignedEmbeddings:
    """A table of some words, aligned to a vocabulary."""
    matrix = np.random.default_rng(seed).standard_normal((len(WORDS), dim)).astype(np.float32)
    vocabulary = ef.Vocabulary(WORDS, counts=dict.fromkeys(WORDS, 7), **settings)
    return ef.align(ef.Embeddings(WORDS, matrix), vocabulary)


def encoded(*arguments: object) -> int:
    """The exit status of the command, run here."""
    return main(["encode", *map(str, arguments), "--processes", "1"])


def started(*arguments: object, **how: Any) -> "subprocess.Popen[str]":
    """The command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "encode", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **how,
    )


def ran(*arguments: object, **how: Any) -> "subprocess.CompletedProcess[str]":
    """The command to its end."""
    process = started(*arguments, **how)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def end(process: "subprocess.Popen[str]", number: int) -> tuple[int, str]:
    """Send a signal to the group of a process; its exit status and standard error."""
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=120)
    if number == signal.SIGKILL:  # what would remove them was killed as well
        for left in Path("/dev/shm").glob(f"sem.loky-{process.pid}-*"):
            left.unlink(missing_ok=True)
    return process.returncode, err


def workers_of(process: "subprocess.Popen[str]") -> list[int]:
    """The processes that work for one, which are not loky's or Python's trackers."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text("utf-8").rpartition(")")[2].split()
                command = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == process.pid and b"popen_loky_posix" in command:
                found.append(int(name))
    return found


def content(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def records(folder: Path) -> dict[str, Any]:
    """The columns of a folder, all shards together."""
    from embedfreeze.batch.columns import joined
    from embedfreeze.batch.manifest import Manifest
    from embedfreeze.batch.shards import read_shard

    found = Manifest.read(folder)
    blocks = [
        read_shard(found.output, folder, shard["name"], found.columns) for shard in found.shards
    ]
    return {
        column.name: joined([block[column.name] for block in blocks]) for column in found.columns
    }
