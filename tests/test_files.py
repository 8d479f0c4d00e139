"""Opening what is packed, damaged or missing; writing whole files or none."""

import gc
import gzip
import io
import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from samples import assert_is, bits, child, glove_bytes, put, table, word2vec_bytes

import embedfreeze as ef
from embedfreeze import files
from embedfreeze.errors import FileError, FormatError

TOKENS = [b"king", b"queen", b"caf\xc3\xa9"]
MATRIX = table(3, 4)
TEXT = glove_bytes(TOKENS, MATRIX)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def refused(
    path: Path | str, words: str, kind: type[Exception] = FileError, **options: str
) -> None:
    with pytest.raises(FileError, match=words) as caught:
        ef.read(path, **options)
    assert type(caught.value) is kind
    assert isinstance(caught.value, OSError)
    assert str(path) in str(caught.value)


# ---- opening -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["f.txt", "f.bin", "f.gz", "f", "f.h5"])
@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        gzip.compress(TEXT),
        gzip.compress(TEXT[:30]) + gzip.compress(TEXT[30:]),  # two members are one stream
        zipped({"glove.txt": TEXT}),
        zipped({"glove.txt": TEXT}, zipfile.ZIP_STORED),
        zipped({"glove.txt": TEXT}, zipfile.ZIP_LZMA),
        zipped({"folder/": b"", "folder/glove.txt": TEXT, "__MACOSX/._glove.txt": b"junk"}),
        zipped({"folder/.DS_Store": b"junk", "folder/glove.txt": TEXT}),
    ],
    ids=["plain", "gzip", "two gzips", "zip", "stored", "lzma", "macosx", "finder"],
)
def test_content_decides_and_not_the_name(name: str, data: bytes, tmp_path: Path) -> None:
    path = put(tmp_path / name, data)
    assert_is(ef.read(path), TOKENS, MATRIX)
    assert_is(ef.read(str(path)), TOKENS, MATRIX)
    a = ef.load(path, ef.Vocabulary(["queen"]))
    assert bits(a.matrix[2]) == bits(MATRIX[1])


def test_archives_of_several_members(tmp_path: Path) -> None:
    path = put(tmp_path / "f.zip", zipped({"a.txt": TEXT, "b.txt": TEXT.replace(b"king", b"KING")}))
    refused(
        path, r"needs member= \(--member\) unless it has one member, received 2: a\.txt, b\.txt"
    )
    assert ef.read(path, member="b.txt").tokens[0] == "KING"
    assert ef.read(path, member="b.txt").path == f"{path}:b.txt"
    assert ef.inspect(path, member="a.txt").member == "a.txt"
    refused(path, r"has no member 'c\.txt'; it has a\.txt, b\.txt", member="c.txt")
    refused(put(tmp_path / "none.zip", zipped({})), "received 0: none")
    mac = put(tmp_path / "mac.zip", zipped({"__MACOSX/a": TEXT}))
    refused(mac, "received 0")
    assert_is(ef.read(mac, member="__MACOSX/a"), TOKENS, MATRIX)
    bad = put(tmp_path / "bad.zip", zipped({"a.txt": TEXT.replace(b" ", b" x", 1)}))
    with pytest.raises(FormatError, match=rf"{bad}:a\.txt: line 1, column 2"):
        ef.read(bad)


def test_a_member_of_what_has_none(tmp_path: Path) -> None:
    for data in (TEXT, gzip.compress(TEXT)):
        refused(
            put(tmp_path / "f", data), "received 'x' for a glove file: leave it out", member="x"
        )


def test_damaged_packing(tmp_path: Path) -> None:
    big = glove_bytes([b"t%d" % i for i in range(3000)], table(3000, 30))
    packed = gzip.compress(big)
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0xFF
    words = "cannot be read to its end.*damaged or cut off, get it again"
    for data in (
        *(packed[: len(packed) // 2], packed[:-5], packed[:20], packed[:5], damaged),
        packed[:-8] + b"\0" * 8,  # wrong checksum
        packed[:2],
    ):
        refused(put(tmp_path / "f", data), words, FormatError)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        data = zipped({"a": big}, method)
        refused(put(tmp_path / "f", data[: len(data) // 2]), words, FormatError)
        for place in (100, len(data) // 3, len(data) // 2):
            broken = bytearray(data)
            broken[place : place + 40] = b"\xaa" * 40
            refused(put(tmp_path / "f", broken), words, FormatError)
    refused(put(tmp_path / "f", b"PK\x03\x04junk"), words, FormatError)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    refused(tmp_path / "none.txt", "cannot be read: No such file")
    refused(tmp_path, "cannot be read: Is a directory")
    refused(put(tmp_path / "empty.txt", b""), "the file is empty")
    refused(tmp_path / "empty.txt" / "x", "cannot be read: Not a directory")
    refused(
        put(tmp_path / "f.gz", gzip.compress(b"")),
        "the content is nothing: its download",
        FormatError,
    )
    for call in (
        lambda: ef.load(tmp_path / "none", ef.Vocabulary([])),
        lambda: ef.inspect(tmp_path / "none"),
        lambda: ef.convert(tmp_path / "none", tmp_path / "x.bin"),
        lambda: ef.Vocabulary.from_file(tmp_path / "none"),
    ):
        with pytest.raises(FileError, match="No such file") as caught:
            call()
        assert caught.value.path == str(tmp_path / "none")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", TEXT)
    path.chmod(0)
    refused(path, "cannot be read: Permission denied")


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    plain = put(tmp_path / "f.txt", TEXT)
    packed = put(tmp_path / "f.gz", gzip.compress(TEXT))
    bad = put(tmp_path / "bad.txt", TEXT + b"x\n")
    ef.convert(plain, tmp_path / "f.h5")

    def everything() -> None:
        for path in (plain, packed, tmp_path / "f.h5"):
            ef.read(path)
            ef.load(path, ef.Vocabulary(["king"]))
            ef.inspect(path)
            ef.convert(path, tmp_path / "out.bin", overwrite=True)
        for call in (ef.read, ef.inspect):
            with pytest.raises(FormatError):
                call(put(tmp_path / "junk", b"junk"))
        with pytest.raises(FormatError):
            ef.read(bad)
        with pytest.raises(FormatError):
            ef.convert(bad, tmp_path / "other.bin")

    def descriptors() -> int:
        gc.collect()  # what other tests left in cycles is not counted
        return len(os.listdir("/proc/self/fd"))

    everything()
    before = descriptors()
    for _ in range(5):
        everything()
    assert descriptors() == before


# ---- writing -----------------------------------------------------------------------------------


class Trouble(Exception):
    pass


def write_half(path: Path, error: type[BaseException], overwrite: bool = False) -> None:
    with files.atomic_output(path, overwrite=overwrite) as file:
        file.write(b"half")
        raise error


@pytest.mark.parametrize("error", [Trouble, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("suffix", [".txt", ".txt.gz", ".txt.zip"])
def test_an_error_leaves_nothing(error: type[BaseException], suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"f{suffix}"
    with pytest.raises(FileError if error is OSError else error):
        write_half(path, error)
    assert os.listdir(tmp_path) == []
    path.write_bytes(b"old")
    with pytest.raises(FileError if error is OSError else error):
        write_half(path, error, overwrite=True)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"old"


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"old")
    e = ef.Embeddings(["a"], table(1, 2))
    with pytest.raises(FileError, match=r"exists: pass overwrite=True \(--force\)"):
        ef.write(e, path)
    assert path.read_bytes() == b"old"
    ef.write(e, path, overwrite=True)
    assert_is(ef.read(path), ["a"], e.matrix)
    assert os.listdir(tmp_path) == ["f.txt"]


def test_a_target_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"

    def race() -> None:
        with files.atomic_output(path) as file:
            file.write(b"mine")
            path.write_bytes(b"theirs")

    with pytest.raises(FileError, match="exists"):
        race()
    assert path.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["f.txt"]


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    e = ef.Embeddings(["a"], table(1, 2))
    put(tmp_path / "file", b"x")
    (tmp_path / "folder.txt").mkdir()
    for path, words in (
        (tmp_path / "none" / "f.txt", "cannot be written: No such file"),
        (tmp_path / "file" / "f.txt", "cannot be written: Not a directory"),
        (tmp_path / "folder.txt", "is a directory"),
        (tmp_path / ("x" * 252 + ".txt"), "cannot be written: File name too long"),
        (tmp_path / "f.unknown", r"the name must end in one of \.safetensors"),
        (tmp_path / "f.gz", "the name must end in one of"),
        (tmp_path / "noname", "the name must end in one of"),
    ):
        for overwrite in (False, True):
            with pytest.raises(FileError, match=words) as caught:
                ef.write(e, path, overwrite=overwrite)
            assert str(path) in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.txt"]
    ef.write(e, tmp_path / "f.unknown", format="glove")
    ef.write(e, tmp_path / ("y" * 251 + ".txt"), overwrite=True)  # the longest name there can be


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
@pytest.mark.parametrize("named", [False, True])
def test_permissions_follow_the_umask(
    umask: int, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named:
        without_unnamed_files(monkeypatch)
    before = os.umask(umask)
    try:
        ef.write(ef.Embeddings(["a"], table(1, 2)), tmp_path / "f.txt")
        ef.write(ef.Embeddings(["a"], table(1, 2)), tmp_path / "f.txt", overwrite=True)
        ef.write(ef.Embeddings(["a"], table(1, 2)), tmp_path / "f.txt.gz")
    finally:
        os.umask(before)
    for name in ("f.txt", "f.txt.gz"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask
    assert sorted(os.listdir(tmp_path)) == ["f.txt", "f.txt.gz"]


def without_unnamed_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that does not know O_TMPFILE."""
    real = os.open

    def refusing(path: str, flags: int, *rest: object, **more: object) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)


def test_file_systems_without_unnamed_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_unnamed_files(monkeypatch)
    e = ef.Embeddings(["a"], table(1, 2))
    for overwrite in (False, True):
        ef.write(e, tmp_path / "f.bin", overwrite=overwrite)
        with pytest.raises(Trouble):
            write_half(tmp_path / "f.bin", Trouble, overwrite=True)
        assert os.listdir(tmp_path) == ["f.bin"]
        assert_is(ef.read(tmp_path / "f.bin"), ["a"], e.matrix)


def test_file_systems_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_unnamed_files(monkeypatch)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first, second = (ef.Embeddings([t], table(1, 2)) for t in "ab")
    ef.write(first, tmp_path / "f.bin")
    with pytest.raises(FileError, match="exists"):
        ef.write(second, tmp_path / "f.bin")
    assert_is(ef.read(tmp_path / "f.bin"), ["a"], first.matrix)
    ef.write(second, tmp_path / "f.bin", overwrite=True)
    assert_is(ef.read(tmp_path / "f.bin"), ["b"], second.matrix)
    assert os.listdir(tmp_path) == ["f.bin"]


def test_links(tmp_path: Path) -> None:
    """A link is replaced like any file; what it points to stays."""
    e = ef.Embeddings(["a"], table(1, 2))
    real = put(tmp_path / "real", b"real")
    link = tmp_path / "link.txt"
    link.symlink_to(real)
    with pytest.raises(FileError, match="exists"):
        ef.write(e, link)
    ef.write(e, link, overwrite=True)
    assert real.read_bytes() == b"real"
    assert not link.is_symlink()
    dangling = tmp_path / "dangling.txt"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileError, match="exists"):
        ef.write(e, dangling)
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "other").symlink_to(folder)
    ef.write(e, tmp_path / "other" / "f.txt")
    assert os.listdir(folder) == ["f.txt"]


def test_paths_relative_to_the_folder_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    e = ef.Embeddings(["a"], table(1, 2))
    ef.write(e, "f.txt")
    (tmp_path / "sub").mkdir()
    ef.write(e, "sub/../g.txt")
    assert sorted(os.listdir()) == ["f.txt", "g.txt", "sub"]


def test_many_writers_of_one_file(tmp_path: Path) -> None:
    """One of them wins; each of those that may replace wins once; no reader sees half a file."""
    path = tmp_path / "f.bin"
    tables = [ef.Embeddings([f"t{i}"], np.full((1, 20_000), i, np.float32)) for i in range(8)]
    ef.write(tables[0], path)
    results: list[str] = []

    def work(i: int, overwrite: bool) -> None:
        try:
            ef.write(tables[i], path if overwrite else tmp_path / "new.bin", overwrite=overwrite)
            results.append("wrote")
        except FileError as error:
            results.append(str(error))

    def look() -> None:
        for _ in range(30):
            e = ef.read(path)
            assert (e.matrix == int(e.tokens[0][1:])).all()
        results.append("read")

    jobs: list[Callable[[], None]] = [look, look]
    jobs += [lambda i=i: work(i, True) for i in range(8)]
    jobs += [lambda i=i: work(i, False) for i in range(8)]
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count("read") == 2
    assert results.count("wrote") == 9
    assert sum("exists" in result for result in results) == 7
    assert sorted(os.listdir(tmp_path)) == ["f.bin", "new.bin"]


def test_equal_input_gives_equal_packed_bytes(tmp_path: Path) -> None:
    e = ef.Embeddings(["a"], table(1, 2))
    for name in ("f.txt.gz", "f.txt.zip", "f.bin.gz"):
        ef.write(e, tmp_path / name)
        first = (tmp_path / name).read_bytes()
        time.sleep(0.01)
        ef.write(e, tmp_path / name, overwrite=True)
        assert (tmp_path / name).read_bytes() == first
        assert_is(ef.read(tmp_path / name), ["a"], e.matrix)
    with zipfile.ZipFile(tmp_path / "f.txt.zip") as archive:
        assert archive.namelist() == ["f.txt"]
        assert archive.testzip() is None


CONVERT = """
import sys, embedfreeze as ef
print("started", flush=True)
ef.convert(sys.argv[1], sys.argv[2], overwrite=True)
print("done", flush=True)
"""


@pytest.mark.parametrize("suffix", [".vec", ".safetensors", ".h5", ".txt.gz"])
def test_a_killed_conversion_leaves_nothing(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    row = b" 0.123456 -0.234567" * 50 + b"\n"
    with open(source, "wb") as file:
        for i in range(0, 40_000, 1000):
            file.write(b"".join(b"token%d" % (i + j) + row for j in range(1000)))
    target = put(tmp_path / f"target{suffix}", b"old")
    for delay in (0.0, 0.03, 0.1):
        process = subprocess.Popen(
            [sys.executable, "-c", CONVERT, str(source), str(target)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert sorted(os.listdir(tmp_path)) == ["source.txt", target.name]
        if target.read_bytes() != b"old":  # the machine was faster than the signal
            assert len(ef.read(target)) == 40_000
            target.write_bytes(b"old")


def fill(folder: str) -> None:
    """In a process of its own: a file system of 1 MiB, and a file that does not fit."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if os.unshare(0x00020000) if hasattr(os, "unshare") else libc.unshare(0x00020000):
        os._exit(77)
    if libc.mount(b"none", b"/", None, 0x44000, None):  # private, so that it stays with us
        os._exit(77)
    if libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"size=1m"):
        os._exit(77)
    e = ef.Embeddings([f"t{i}" for i in range(1000)], np.ones((1000, 1000), np.float32))
    for name in ("f.bin", "f.txt", "f.safetensors", "f.h5"):
        try:
            ef.write(e, os.path.join(folder, name))
        except FileError as error:
            if "cannot be written: No space left" not in str(error):
                raise
        else:
            os._exit(1)
        if os.listdir(folder):
            os._exit(2)
    os._exit(0)


def test_a_full_disk(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=fill, args=(str(tmp_path),))
    process.start()
    process.join(60)
    if process.exitcode == 77:
        pytest.skip("no right to mount a small file system")
    assert process.exitcode == 0


def test_temporary_files_of_packed_hdf5_go_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    e = ef.Embeddings(["a", "b"], table(2, 3))
    ef.write(e, tmp_path / "f.h5.gz")
    assert_is(ef.read(tmp_path / "f.h5.gz"), ["a", "b"], e.matrix)
    assert os.listdir(spool) == []


TOO_LARGE = """
import contextlib, io, json, os, resource, sys
from embedfreeze.cli import main
source, folder = sys.argv[1:]
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
told = {}
for name in sorted(os.listdir(folder)):
    with contextlib.redirect_stderr(io.StringIO()) as error:
        status = main(["convert", source, os.path.join(folder, name), "--force"])
    told[name] = [status, error.getvalue()]
print(json.dumps(told))
"""


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """A limit on the size of files, which every process may set for itself, stands for it."""
    tokens = [b"%d" % i for i in range(5000)]
    source = put(tmp_path / "f.bin", word2vec_bytes(tokens, np.ones((5000, 9), np.float32)))
    folder = tmp_path / "targets"
    folder.mkdir()
    names = ["t.bin", "t.h5", "t.safetensors", "t.txt", "t.txt.gz", "t.vec", "t.vec.zip"]
    for name in names:
        put(folder / name, b"old")
    told = json.loads(child(TOO_LARGE, source, folder))
    assert sorted(told) == names
    for name, (status, message) in told.items():
        assert status == 3
        assert message.startswith(f"embedfreeze: error: {folder / name}: cannot be written: ")
        assert message.count("\n") == 1
        assert "File too large" in message
        assert (folder / name).read_bytes() == b"old"
    assert sorted(os.listdir(folder)) == names


NOBODY = """
import contextlib, io, json, os, sys
from embedfreeze.cli import main
os.chdir(sys.argv[1])
# What these import may be out of reach below.
main(["convert", "f.txt", "open/first.safetensors"])
main(["convert", "f.txt", "open/none.bin", "--vocabulary", "f.txt"])
main(["inspect", "f.txt"])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
told = []
for arguments in json.loads(sys.argv[2]):
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        status = main(arguments)
    told.append([status, (out if arguments[0] == "inspect" else error).getvalue()])
print(json.dumps(told))
"""


@pytest.fixture
def guarded_folder(tmp_path: Path) -> Iterator[Path]:
    """Files and folders that others may not read or change."""
    modes = {"open": 0o777, "closed": 0o555, "locked": 0, "sticky": 0o1777}
    put(tmp_path / "f.txt", TEXT)
    put(tmp_path / "secret.txt", TEXT).chmod(0)
    for name, mode in modes.items():
        (tmp_path / name).mkdir()
        put(tmp_path / name / "old.bin", b"old")
        (tmp_path / name).chmod(mode)
    put(tmp_path / "sticky" / ".embedfreeze-0123456789abcdef", b"of another user").chmod(0o600)
    tmp_path.chmod(0o755)
    yield tmp_path
    for name in modes:
        (tmp_path / name).chmod(0o777)


def test_no_permission(guarded_folder: Path) -> None:
    denied = "Permission denied"
    cases: list[tuple[list[str], int, str]] = [
        (
            ["inspect", "secret.txt"],
            3,
            f"secret.txt\n  problem cannot be loaded: cannot be read: {denied}",
        ),
        (["convert", "secret.txt", "open/t.bin"], 3, f"secret.txt: cannot be read: {denied}"),
        (["inspect", "locked/old.bin"], 3, f"cannot be read: {denied}"),
        (["convert", "f.txt", "locked/t.bin"], 3, f"locked/t.bin: cannot be written: {denied}"),
        (["convert", "f.txt", "closed/t.bin"], 3, f"closed/t.bin: cannot be written: {denied}"),
        (["convert", "f.txt", "closed/old.bin", "--force"], 3, f"cannot be written: {denied}"),
        (["convert", "f.txt", "open/t.bin", "--vocabulary", "secret.txt"], 3, denied),
        (["convert", "f.txt", "open/t.bin"], 0, ""),
        (["convert", "f.txt", "sticky/t.bin"], 0, ""),
    ]
    if os.geteuid() == 0:
        refused = (3, "sticky/old.bin: cannot be written: Operation not permitted")
        cases.append((["convert", "f.txt", "sticky/old.bin", "--force"], *refused))
    calls = json.dumps([arguments for arguments, _, _ in cases])
    told = json.loads(child(NOBODY, guarded_folder, calls).splitlines()[-1])
    for (arguments, status, words), (found, message) in zip(cases, told, strict=True):
        lines = 2 if arguments[0] == "inspect" else int(status > 0)
        said = [line for line in message.splitlines() if ": warning: " not in line]
        assert (found, len(said)) == (status, lines), (arguments, message)
        assert words in message
    (guarded_folder / "locked").chmod(0o777)
    contents = {name: sorted(os.listdir(guarded_folder / name)) for name in ("closed", "locked")}
    assert contents == {"closed": ["old.bin"], "locked": ["old.bin"]}
    assert sorted(os.listdir(guarded_folder / "open")) == ["first.safetensors", "old.bin", "t.bin"]
    others = [".embedfreeze-0123456789abcdef"] if os.geteuid() == 0 else []
    assert sorted(os.listdir(guarded_folder / "sticky")) == [*others, "old.bin", "t.bin"]


def test_the_folder_of_the_process_may_change_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    for hidden in (False, True):
        monkeypatch.chdir(tmp_path)
        if hidden:
            without_unnamed_files(monkeypatch)
        with files.atomic_output("f", overwrite=hidden) as file:
            file.write(b"%d" % hidden)
            os.chdir("other")
        assert (tmp_path / "f").read_bytes() == b"%d" % hidden
        assert os.listdir(tmp_path / "other") == []
