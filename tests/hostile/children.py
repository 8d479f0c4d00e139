"""Entries that need a process of their own: little memory, no rights, small files, a full disk."""

import ctypes
import io
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path

from catalogue import ENTRIES
from checking import Place, check

import embedfreeze as ef
from embedfreeze.cli import main

NOBODY = 65534
MORE_MEMORY = 1 << 30  # address space, above what a first use of the libraries takes
LARGEST_FILE = 8192
NEW_NAMESPACE, PRIVATE, AT_ONCE = 0x00020000, 0x44000, 2  # CLONE_NEWNS, MS_REC | MS_PRIVATE, ...
SKIPPED = 77


def run(where: str, numbers: list[int]) -> None:
    """Check some entries, and print the number of each that is as it must be."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        root = Path(name)
        root.chmod(0o777)
        if where == "child":
            warm_up(root)
            limit_memory()
        if where == "nobody":
            warm_up(root)
            become_nobody()
        for number in numbers:
            (root / str(number)).mkdir()
            check(ENTRIES[number], root / str(number), AROUND.get(where, nullcontext))
            print(number, flush=True)
        os.seteuid(os.getuid())


def warm_up(root: Path) -> None:
    """The libraries are not what is limited, and the package may lie where only root may read."""
    (root / "warm.txt").write_bytes(b"a 1 2\nb 3 4\n")
    for name in ("warm.h5", "warm.bin"):
        ef.convert(root / "warm.txt", root / name)
        ef.inspect(root / name)
        ef.read(root / name)
        ef.load(root / name, ef.Vocabulary(["a"]))
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            main(["convert", str(root / name), str(root / "warm.safetensors"), "--force"])


def limit_memory() -> None:
    """What a file only claims cannot be allocated."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    limit = int(status.split("VmSize:")[1].split()[0]) * 1024 + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def become_nobody() -> None:
    """Root may read and write everything."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)


@contextmanager
def small_files(_: Place) -> Iterator[None]:
    """No file may grow beyond some bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(place: Place) -> Iterator[None]:
    """Targets go to a file system of 16 kB that this process alone sees."""
    libc, out = ctypes.CDLL(None, use_errno=True), os.fsencode(place.out)
    if (
        libc.unshare(NEW_NAMESPACE)
        or libc.mount(b"none", b"/", None, PRIVATE, None)
        or libc.mount(b"tmpfs", out, b"tmpfs", 0, b"size=16k")
    ):
        print("no right to mount a small file system", file=sys.stderr)
        raise SystemExit(SKIPPED)
    try:
        yield
    finally:
        libc.umount2(out, AT_ONCE)


AROUND = {"small": small_files, "disk": small_disk}
