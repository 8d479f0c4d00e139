"""Changed files of every format: errors of this library or a result, in little time and memory.

``make test SELECT=fuzz`` runs 100,000 cases of each format; README.md says more.
"""

import bz2
import gzip
import lzma
import os
import random
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from campaign import PROGRAM, Result, campaign, first_cases
from cases import MORE_MEMORY, case
from mutations import CHANGES, mutate
from samples import child
from seeds import SUBJECTS, seeds_of

CASES = int(os.environ.get("FUZZ_CASES", "100000"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
FEW = 40
FOUND = Path(__file__).with_name("found")
UNREADABLE = ("gensim",)  # a pickle is not opened: every case is refused


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    results = first_cases(SUBJECTS, FEW, tmp_path_factory.mktemp("failures"))
    return {result.subject: result for result in results}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_few_cases(subject: str, few: dict[str, Result]) -> None:
    result = few[subject]
    assert result.failed == [], str(result)
    assert result.refused
    assert result.read or subject in UNREADABLE
    assert result.grown_mib <= MORE_MEMORY >> 20


@pytest.mark.fuzz
@pytest.mark.parametrize("subject", SUBJECTS)
def test_many_cases(subject: str, tmp_path: Path) -> None:
    result = campaign(subject, CASES, SEED, Path(os.environ.get("FUZZ_FAILURES", tmp_path)))
    print(result)
    assert result.failed == [], str(result)


def test_what_was_found_before() -> None:
    """Cases that failed once; those of hangs would not end."""
    places = sorted(path.parent for path in FOUND.rglob("case.json"))
    assert places
    done = subprocess.run(
        [sys.executable, PROGRAM, "again", *places], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(map(str, places))


# ---- archives of absurd ratios -------------------------------------------------------------------

PIECE = 1 << 20
BOMB_PIECES = 400


def _zip(path: Path, piece: bytes) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("f.txt", "w", force_zip64=True) as file,
    ):
        for _ in range(BOMB_PIECES):
            file.write(piece)


def _streamed(kind: Callable[..., Any], **options: int) -> Callable[[Path, bytes], None]:
    def pack(path: Path, piece: bytes) -> None:
        with kind(path, "wb", **options) as file:
            for _ in range(BOMB_PIECES):
                file.write(piece)

    return pack


PACKERS = {
    "gz": _streamed(gzip.GzipFile, compresslevel=1),
    "zip": _zip,
    "bz2": _streamed(bz2.BZ2File),
    "xz": _streamed(lzma.LZMAFile, preset=0),
}
READ_BOMB = """
import resource, sys, warnings
import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError

ef.read("data/glove.6B.50d.sample.txt")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]), resource.RLIM_INFINITY))
for verb in (ef.read, ef.inspect, lambda path: ef.load(path, ef.Vocabulary(["a"]))):
    try:
        verb(sys.argv[1])
    except EmbedFreezeError as error:
        print(str(error)[-200:])
"""


@pytest.mark.parametrize(
    "packer",
    ["gz", *(pytest.param(name, marks=pytest.mark.slow) for name in ("zip", "bz2", "xz"))],
)
@pytest.mark.parametrize("byte", [b"\0", b"\n", pytest.param(b"9", marks=pytest.mark.slow)])
def test_bombs(packer: str, byte: bytes, tmp_path: Path) -> None:
    """400 MB of one byte are refused, in less memory than that."""
    path = tmp_path / f"f.{packer}"
    PACKERS[packer](path, byte * PIECE)
    assert path.stat().st_size < 4 << 20
    told = child(READ_BOMB, path, MORE_MEMORY, MALLOC_ARENA_MAX="1")
    assert len(told.splitlines()) == 3


# ---- the harness itself --------------------------------------------------------------------------


def test_cases_are_the_same_for_the_same_numbers(tmp_path: Path) -> None:
    seeds = seeds_of("word2vec", tmp_path)
    for number in range(20):
        one, two = (case("word2vec", seeds, 5, number) for _ in range(2))
        assert (one.data, one.format, one.options) == (two.data, two.format, two.options)
    assert len({case("word2vec", seeds, 5, number).data for number in range(200)}) > 150


def test_every_change_changes_something() -> None:
    data = bytes(range(1, 200)) + b" 123 456 "
    for change in CHANGES:
        made = set()
        for number in range(50):
            changed = bytearray(data)
            change(changed, random.Random(number), [data[::-1]])
            made.add(bytes(changed))
        assert len(made) > 5


def test_packed_data_is_changed_inside() -> None:
    packed = gzip.compress(b"king 1 2\n" * 50)
    inner = set()
    for number in range(60):
        changed = mutate(packed, random.Random(number), [b"x"])
        with suppress(OSError, EOFError, zlib.error):  # many are damaged
            inner.add(gzip.decompress(changed))
    assert len(inner) > 5


FAULTY = """
import sys
sys.path[:0] = sys.argv[3:]
import os, time
import cases
from pathlib import Path
from embedfreeze.formats import FORMATS

kind = sys.argv[2]
def verbs(path, format, options):
    def verb():
        if b"token7" in Path(path).read_bytes():
            return
        if kind == "error":
            raise IndexError("found")
        if kind == "crash":
            os.abort()
        if kind == "memory":
            bytearray(1 << 30)
        if kind == "left":
            faults.append(open(path))
        while kind == "hang":
            pass
    yield verb

faults = []
cases.SECONDS = 0.1
cases.verbs = verbs
folder = Path(sys.argv[1])
seeds = cases.seeds_of("glove", folder / "seeds")
run = cases.Run(folder, folder / "failures", "glove", seeds, 0)
cases.tempfile.tempdir = str(folder)
with cases.little_memory():
    run.cases(0, 6)
print(*run.failed, sep="\\n")
"""


@pytest.mark.parametrize(
    ("kind", "said"),
    [("error", "IndexError: found"), ("memory", "MemoryError"), ("hang", "Hang"), ("left", "left")],
)
def test_a_fault_is_found(kind: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "seeds").mkdir()
    here = Path(__file__).parent
    assert said in child(FAULTY, tmp_path, kind, here)
    assert list((tmp_path / "failures" / "glove").iterdir())


@pytest.mark.slow
def test_a_crash_and_a_hang_of_a_library_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of their own, as a campaign has them."""
    import campaign as module

    monkeypatch.setattr(module, "BUSY", 0.5)
    for kind in ("os.abort()", "signal.pthread_sigmask(0, [signal.SIGPROF]); exec('while 1: 0')"):
        program = tmp_path / "program.py"
        program.write_text(
            f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r})\n"
            f"import os, signal, cases\n"
            f"real = cases.case\n"
            f"def case(subject, seeds, seed, number):\n"
            f"    if number == 3: {kind}\n"
            f"    return real(subject, seeds, seed, number)\n"
            f"cases.case = case\n"
            f"cases.main(*sys.argv[1:])\n",
            encoding="utf-8",
        )
        monkeypatch.setattr(module, "PROGRAM", program)
        result = campaign("glove", 6, 0, tmp_path / kind[:4])
        assert [path.name for path in result.failed] == ["3"]
