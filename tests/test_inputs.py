"""What can be read: paths of any kind, open files, memory; and files that are cut meanwhile."""

import bz2
import functools
import gzip
import importlib
import io
import lzma
import os
import random
import socket
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from samples import assert_is, bits, child, glove_bytes, put, table

import embedfreeze as ef
from embedfreeze import formats
from embedfreeze.errors import FileError, FormatError, FrozenBytesChanged
from embedfreeze.files import open_source
from embedfreeze.formats import word2vec
from embedfreeze.formats.base import ReadOptions
from embedfreeze.formats.hdf5 import generic as hdf5
from embedfreeze.formats.texts import text
from embedfreeze.tokens import Tokens

TOKENS = [b"king", b"queen", b"caf\xc3\xa9"]
MATRIX = table(3, 4)
SUFFIXES = [".txt", ".vec", ".bin", ".h5", ".safetensors"]
WORDS = ef.Vocabulary(["queen", "nobody"])


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same table in each format."""
    folder = tmp_path_factory.mktemp("contents")
    e = ef.Embeddings([t.decode() for t in TOKENS], MATRIX)
    for suffix in SUFFIXES:
        ef.write(e, folder / f"f{suffix}")
    return {suffix: (folder / f"f{suffix}").read_bytes() for suffix in SUFFIXES}


class Plain:
    """A path that is neither str nor Path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


class InBytes(Plain):
    def __fspath__(self) -> bytes:  # type: ignore[override]
        return bytes(self.path)


class Slow:
    """The least that a file object can be: `read`, a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 3) if size >= 0 else 3)


# ---- every kind of file object -------------------------------------------------------------------


@contextmanager
def fed(data: bytes, out: Any, end: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Another thread writes the data and closes."""

    def feed() -> None:
        with out:
            out.write(data)
        end()

    writer = threading.Thread(target=feed)
    writer.start()
    yield
    writer.join(10)


@contextmanager
def piped(data: bytes, _: Path) -> Iterator[Any]:
    out, into = os.pipe()
    with fed(data, os.fdopen(into, "wb")), os.fdopen(out, "rb") as file:
        yield file


@contextmanager
def from_socket(data: bytes, _: Path) -> Iterator[Any]:
    ours, theirs = socket.socketpair()
    end = functools.partial(theirs.shutdown, socket.SHUT_WR)
    with theirs, fed(data, theirs.makefile("wb"), end), ours, ours.makefile("rb") as file:
        yield file


def of_tempfile(make: Callable[[], Any]) -> Callable[[bytes, Path], Any]:
    def opened(data: bytes, _: Path) -> Any:
        file = make()
        file.write(data)  # and not flushed
        file.seek(0)
        return file

    return opened


def packed(pack: Callable[[bytes], bytes], opener: Any) -> Callable[[bytes, Path], Any]:
    return lambda data, path: opener(put(path, pack(data)), "rb")


def in_mode(mode: str, buffering: int = -1) -> Callable[[bytes, Path], Any]:
    return lambda data, path: open(put(path, data), mode, buffering=buffering)


def of_zip(data: bytes, path: Path) -> Any:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", data)
    return zipfile.ZipFile(path).open("member")


def of_tar(data: bytes, path: Path) -> Any:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("member")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return tarfile.open(path).extractfile("member")


SEEKABLE: dict[str, Callable[[bytes, Path], Any]] = {
    "open": in_mode("rb"),
    "unbuffered": in_mode("rb", buffering=0),
    "read and write": in_mode("r+b"),
    "TemporaryFile": of_tempfile(tempfile.TemporaryFile),
    "NamedTemporaryFile": of_tempfile(tempfile.NamedTemporaryFile),
    "SpooledTemporaryFile": of_tempfile(tempfile.SpooledTemporaryFile),
    "BytesIO": lambda data, _: io.BytesIO(data),
    "gzip": packed(gzip.compress, gzip.open),
    "bz2": packed(bz2.compress, bz2.open),
    "lzma": packed(lzma.compress, lzma.open),
    "zip": of_zip,
    "tar": of_tar,
}
ONCE: dict[str, Callable[[bytes, Path], Any]] = {"pipe": piped, "socket": from_socket}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", [*SEEKABLE, *ONCE])
def test_file_objects(kind: str, suffix: str, contents: dict[str, bytes], tmp_path: Path) -> None:
    opened = {**SEEKABLE, **ONCE}[kind]
    with opened(contents[suffix], tmp_path / "f") as file:
        assert_is(ef.read(file), TOKENS, MATRIX)
        assert not file.closed
    with opened(contents[suffix], tmp_path / "f") as file:
        a = ef.load(file, WORDS)
        assert bits(a.matrix[2]) == bits(MATRIX[1])
        assert not a.matrix[3].any()
    with opened(contents[suffix], tmp_path / "f") as file:
        done = ef.convert(file, tmp_path / "out.bin", overwrite=True)
        assert (done.rows, done.target) == (3, str(tmp_path / "out.bin"))
    assert_is(ef.read(tmp_path / "out.bin"), TOKENS, MATRIX)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_object_with_nothing_but_read(suffix: str, contents: dict[str, bytes]) -> None:
    assert_is(ef.read(Slow(contents[suffix])), TOKENS, MATRIX)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", SEEKABLE)
def test_reading_starts_where_the_object_stands(
    kind: str, suffix: str, contents: dict[str, bytes], tmp_path: Path
) -> None:
    for before in (b"\x1f\x8b", b"x" * 4096, b"a line\n" * 1000):
        with SEEKABLE[kind](before + contents[suffix], tmp_path / "f") as file:
            file.seek(len(before))
            assert_is(ef.read(file), TOKENS, MATRIX)
            file.seek(len(before))
            found = ef.inspect(file)
            assert (found.rows or 3, found.dim, file.tell()) == (3, 4, len(before))
            options: dict[str, Any] = {"on_duplicate": "last", "overwrite": True}
            assert ef.convert(file, tmp_path / "out.bin", **options).rows == 3


@pytest.mark.parametrize("kind", ["open", "BytesIO", "read and write", "gzip"])
@pytest.mark.parametrize("suffix", [".txt", ".vec", ".bin", ".h5"])
def test_packed_content_in_an_object(
    kind: str, suffix: str, contents: dict[str, bytes], tmp_path: Path
) -> None:
    """What is packed is recognised, whatever it comes out of, and also behind other bytes."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", contents[suffix])
        file.writestr("b", b"other")
    for data, member in ((gzip.compress(contents[suffix]), None), (archive.getvalue(), "a")):
        with SEEKABLE[kind](data, tmp_path / "f") as file:
            assert_is(ef.read(file, member=member), TOKENS, MATRIX)
        with SEEKABLE[kind](b"before" + data, tmp_path / "f") as file:
            file.seek(6)
            assert ef.inspect(file, member=member).dim == 4
            assert_is(ef.read(file, member=member), TOKENS, MATRIX)


def test_packed_content_in_a_pipe(contents: dict[str, bytes], tmp_path: Path) -> None:
    with piped(gzip.compress(contents[".txt"]), tmp_path) as file:
        assert_is(ef.read(file), TOKENS, MATRIX)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packing:
        packing.writestr("a", contents[".txt"])
    with (
        piped(archive.getvalue(), tmp_path) as file,
        pytest.raises(FileError, match="a zip archive is read from its end: write it to a file"),
    ):
        ef.read(file)


def test_a_real_file_is_mapped_and_keeps_its_place(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", glove_bytes(TOKENS, MATRIX))
    for mode in ("rb", "r+b"):
        with open(path, mode) as file, open_source(file) as source:
            assert source.buffer is not None
            assert (source.path, source.located, file.tell()) == (str(path), str(path), 0)
    with open(path, "rb") as file:
        path.unlink()  # the name is no longer needed
        for _ in range(2):
            assert_is(ef.read(file), TOKENS, MATRIX)
        with open_source(file) as source:
            assert (source.buffer is not None, source.located) == (True, None)
    with gzip.open(put(path, gzip.compress(b"a 1\n"))) as file, open_source(file) as source:
        assert source.buffer is None  # its descriptor is that of the compressed bytes


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_caller_may_go_on_with_the_object(
    suffix: str, contents: dict[str, bytes], tmp_path: Path
) -> None:
    """Its buffer and the position of its descriptor stay in step, whatever was read through it."""
    for kind in ("open", "unbuffered", "read and write", "TemporaryFile"):
        with SEEKABLE[kind](contents[suffix], tmp_path / "f") as file:
            ef.inspect(file)
            assert_is(ef.read(file), TOKENS, MATRIX)
            file.seek(0)
            assert file.read(10) + file.read() == contents[suffix]


def test_an_object_may_be_closed_while_its_store_is_in_use(
    contents: dict[str, bytes], tmp_path: Path
) -> None:
    path = put(tmp_path / "f.safetensors", contents[".safetensors"])
    with open(path, "rb") as file:
        e = ef.read(file)
    assert e.sealed is not None
    assert (e.sealed.guarantee, e.sealed.path) == ("watched", str(path))
    e.sealed.verify(deep=True)
    assert_is(e, TOKENS, MATRIX)
    with open(path, "rb") as file:
        path.unlink()
        e = ef.read(file)
    assert e.sealed is not None
    assert (e.sealed.guarantee, e.sealed.path) == ("watched", None)
    assert_is(e, TOKENS, MATRIX)


@pytest.mark.parametrize("seal", ["watch", "copy"])
def test_a_store_out_of_a_stream_is_sealed(seal: str, contents: dict[str, bytes]) -> None:
    file = io.BytesIO(contents[".safetensors"])
    e = ef.read(file, seal=seal)
    file.getbuffer()[:] = bytes(len(file.getbuffer()))
    assert e.sealed is not None
    assert (e.sealed.guarantee, e.path, e.sealed.path) == ("sealed", "<BytesIO>", None)
    e.sealed.verify(deep=True)
    assert_is(e, TOKENS, MATRIX)
    assert e.sealed.address % 64 == 0
    damaged = bytearray(contents[".safetensors"])
    damaged[damaged.index(MATRIX.tobytes())] ^= 1
    if seal == "copy":
        with pytest.raises(FrozenBytesChanged, match="do not have their recorded digest"):
            ef.read(io.BytesIO(damaged), seal=seal)


def test_inspect_puts_the_object_back(contents: dict[str, bytes], tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        file = io.BytesIO(contents[suffix])
        found = ef.inspect(file)
        assert (found.path, found.file_bytes) == ("<BytesIO>", len(contents[suffix]))
        assert (found.first_tokens, file.tell()) == (("king", "queen", "caf\u00e9"), 0)
        assert_is(ef.read(file), TOKENS, MATRIX)
    with gzip.open(put(tmp_path / "f", gzip.compress(contents[".bin"]))) as file:
        found = ef.inspect(file)
        assert (found.path, found.container, found.file_bytes) == (str(tmp_path / "f"), None, None)
        assert "format  word2vec\n" in str(found)


def test_an_error_puts_the_object_back(contents: dict[str, bytes]) -> None:
    file = io.BytesIO(b"before" + contents[".bin"][:-2])
    file.seek(6)
    for _ in range(2):
        with pytest.raises(FormatError, match="<BytesIO>: byte offset .* truncated"):
            ef.read(file)
        assert file.tell() == 6
    nonsense = io.BytesIO(b"\x00\x01\x02\x03 nonsense")
    for call in (ef.read, ef.inspect):
        with pytest.raises(FormatError, match="<BytesIO>: the content is "):
            call(nonsense)
        assert nonsense.tell() == 0


def test_what_is_read_once_is_not_read_twice(contents: dict[str, bytes], tmp_path: Path) -> None:
    words = "a file object that cannot seek can be read once: write it to a file first"
    with piped(contents[".txt"], tmp_path) as file, pytest.raises(FileError, match=words):
        ef.inspect(file)
    with piped(contents[".txt"], tmp_path) as file, pytest.raises(FileError, match=words):
        ef.convert(file, tmp_path / "f.bin", on_duplicate="last")
    assert os.listdir(tmp_path) == []


# ---- what is refused -----------------------------------------------------------------------------


def test_text_files_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"a 1\n")
    words = r"open for reading bytes, received the text file .*: open it with mode \"rb\""
    with open(path, encoding="utf-8") as file, pytest.raises(TypeError, match=words):
        ef.read(file)
    with pytest.raises(TypeError, match=words):
        ef.load(io.StringIO("a 1\n"), WORDS)
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8") as wrapped:
        wrapped.write("a 1\n")
        wrapped.seek(0)
        with pytest.raises(TypeError, match=words):
            ef.inspect(wrapped)


@pytest.mark.parametrize("wrong", [b"f.txt", bytearray(b"f.txt"), 3, None, ["f.txt"], object()])
def test_what_is_no_file_is_refused(wrong: Any) -> None:
    words = f"a path or an open binary file is needed, received {type(wrong).__name__}"
    with pytest.raises(TypeError, match=words) as caught:
        ef.read(wrong)
    assert ("io.BytesIO" in str(caught.value)) == isinstance(wrong, bytes | bytearray)


def test_objects_that_cannot_be_read(tmp_path: Path) -> None:
    path = put(tmp_path / "f.txt", b"a 1\n")
    with open(path, "rb") as closed:
        pass
    with pytest.raises(FileError, match=rf"{path}: cannot be read: .*closed"):
        ef.read(closed)
    with open(tmp_path / "new", "wb") as file, pytest.raises(FileError, match="new: cannot be re"):
        ef.read(file)
    with pytest.raises(FileError, match=r"a\0b: cannot be read: embedded null byte"):
        ef.read("a\0b")
    gone = io.BytesIO(b"a 1\n")
    gone.seek(10)
    for empty in (io.BytesIO(), gone):
        with pytest.raises(FileError, match=r"<BytesIO>: the file is empty, or was read to its en"):
            ef.read(empty)
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb", buffering=0) as waiting:
        ours.setblocking(False)
        with pytest.raises(FileError, match="cannot be read: it does not wait for its data"):
            ef.read(waiting)


def test_data_that_stops_coming_is_no_end(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb", buffering=0) as file:
        theirs.sendall(b"king 1 2\n")
        ours.setblocking(False)
        with pytest.raises(FormatError, match="cannot be read to its end .*does not wait"):
            ef.read(file)


# ---- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path, Plain, InBytes])
def test_any_path(kind: Callable[[Path], Any], tmp_path: Path) -> None:
    path, target = put(tmp_path / "f.txt", glove_bytes(TOKENS, MATRIX)), tmp_path / "t"
    assert_is(ef.read(kind(path)), TOKENS, MATRIX)
    assert ef.read(kind(path)).path == str(path)
    assert ef.inspect(kind(path)).path == str(path)
    a = ef.load(kind(path), WORDS)
    a.save(kind(target / "a.safetensors") if target.mkdir() else kind(tmp_path / "a.safetensors"))
    assert len(ef.read(tmp_path / "a.safetensors")) == 4
    done = ef.convert(kind(path), kind(target / "b.bin"), to_format="word2vec")
    assert (done.source, done.target) == (str(path), str(target / "b.bin"))
    ef.write(ef.read(path), kind(target / "c.vec"))
    assert_is(ef.read(target / "c.vec"), TOKENS, MATRIX)
    with pytest.raises(FileError, match=f"{target}/none: cannot be read") as caught:
        ef.read(kind(target / "none"))
    assert caught.value.path == str(target / "none")


def test_entries_of_folders(tmp_path: Path) -> None:
    put(tmp_path / "f.txt", glove_bytes(TOKENS, MATRIX))
    for folder in (str(tmp_path), bytes(tmp_path)):
        with os.scandir(folder) as entries:
            for entry in entries:
                assert_is(ef.read(entry), TOKENS, MATRIX)


def test_tokens_of_hdf5_in_any_path(tmp_path: Path, contents: dict[str, bytes]) -> None:
    words = put(tmp_path / "words.txt", b"a\nb\nc\n")
    path = put(tmp_path / "f.h5", contents[".h5"])
    assert_is(ef.read(path, tokens=words), ["a", "b", "c"], MATRIX)
    assert ef.inspect(path, tokens=Plain(words)).first_tokens == ("a", "b", "c")


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    e = ef.Embeddings(["a"], table(1, 2))
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "link.txt").symlink_to("/dev/null")
    for target in ("pipe.txt", "link.txt"):
        for overwrite, words in ((True, "is a device or a pipe"), (False, "exists")):
            with pytest.raises(FileError, match=words):
                ef.write(e, tmp_path / target, overwrite=overwrite)
    assert sorted(os.listdir(tmp_path)) == ["link.txt", "pipe.txt"]


# ---- files that are cut while they are read ------------------------------------------------------

ROWS = 40_000
BIG = table(ROWS, 8)
BIG_TOKENS = [b"token%d" % i for i in range(ROWS)]


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A table of some MB in each format."""
    folder = tmp_path_factory.mktemp("big")
    e = ef.Embeddings([t.decode() for t in BIG_TOKENS], BIG)
    for suffix in SUFFIXES:
        ef.write(e, folder / f"f{suffix}")
    found = {suffix: (folder / f"f{suffix}").read_bytes() for suffix in SUFFIXES}
    return {**found, ".txt.gz": gzip.compress(found[".txt"], 1)}


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BATCH_BYTES", 1 << 18)
    monkeypatch.setattr(text, "SCAN_BYTES", 1 << 18)
    monkeypatch.setattr(text, "STREAM_BYTES", 1 << 18)
    monkeypatch.setattr(word2vec, "BATCH_BYTES", 1 << 16)
    monkeypatch.setattr(hdf5, "BATCH_BYTES", 1 << 16)


SOME = ef.Vocabulary(["token0", "token7", "token39999"])
WANTED = Tokens.from_bytes(BIG_TOKENS[::7], "strict")


@pytest.mark.parametrize("wanted", [None, WANTED], ids=["all", "wanted"])
@pytest.mark.parametrize("part", [0.0, 0.2, 0.999])
@pytest.mark.parametrize("suffix", [".txt", ".vec", ".bin", ".h5", ".txt.gz"])
@pytest.mark.parametrize("as_object", [False, True], ids=["path", "object"])
@pytest.mark.usefixtures("small_batches")
def test_a_file_that_is_cut_between_batches(
    suffix: str, part: float, wanted: Any, as_object: bool, big: dict[str, bytes], tmp_path: Path
) -> None:
    path = put(tmp_path / f"f{suffix}", big[suffix])
    size = int(len(big[suffix]) * part)
    opened: Any = open(path, "rb") if as_object else path  # noqa: SIM115
    source, _, reading = formats.open_reading(opened, ReadOptions(wanted=wanted, threads=2))
    rows = 0

    def rest() -> None:
        nonlocal rows
        with source:
            for batch in reading.batches:
                rows += len(batch.tokens)
                os.truncate(path, size)

    words = f"{path}: the file shrank from {len(big[suffix])} to {size} bytes while it was read: "
    with pytest.raises(FormatError, match=words):
        rest()
    if as_object:
        opened.close()
    assert 0 < rows < ROWS


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("suffix", [".txt", ".vec", ".bin", ".h5"])
def test_a_cut_is_told_before_what_it_leads_to(
    suffix: str, big: dict[str, bytes], tmp_path: Path
) -> None:
    """The rows that are zeros now are bad rows, no rows, or rows that HDF5 fails to read."""
    path = put(tmp_path / "f", big[suffix])
    source, _, reading = formats.open_reading(path, ReadOptions(threads=1))
    os.truncate(path, 5000)
    with pytest.raises(FormatError, match="the file shrank from"), source:
        list(reading.batches)
    path = put(tmp_path / "g", big[suffix])
    source = open_source(path)
    os.truncate(path, 5000)
    with pytest.raises(FormatError, match="the file shrank from"), source:
        raise FormatError("another reason")


@pytest.mark.parametrize("seal", ["watch", "copy"])
def test_a_store_that_is_cut_while_it_is_loaded(
    seal: str, big: dict[str, bytes], tmp_path: Path
) -> None:
    path = put(tmp_path / "f.safetensors", big[".safetensors"])
    source, _, reading = formats.open_reading(path, ReadOptions(seal=seal))  # type: ignore[arg-type]
    assert reading.ready is not None
    e = reading.ready
    os.truncate(path, 4096)
    with pytest.raises(FormatError, match=r"shrank from \d+ to 4096 bytes"), source:
        ef.align(e, WORDS)


def test_a_file_that_was_cut_and_filled_again(big: dict[str, bytes], tmp_path: Path) -> None:
    """Its size tells nothing; the pages that were missing do."""
    path = put(tmp_path / "f.bin", big[".bin"])
    source, _, reading = formats.open_reading(path, ReadOptions())
    assert source.buffer is not None
    os.truncate(path, 0)
    assert source.buffer[100_000] == 0
    path.write_bytes(big[".bin"])
    with pytest.raises(FormatError, match="a part of the file could not be read: it was cut"):
        list(reading.batches)
    source.close()


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("options", [{}, {"on_duplicate": "last"}, {"vocabulary": SOME}])
def test_nothing_is_converted_of_a_file_that_is_cut(
    options: dict[str, Any], big: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converting = importlib.import_module("embedfreeze.convert")
    real = converting.tracked

    def cutting(*arguments: Any) -> Iterator[Any]:
        for batch in real(*arguments):
            yield batch
            os.truncate(tmp_path / "f.txt", 1 << 18)

    monkeypatch.setattr(converting, "tracked", cutting)
    put(tmp_path / "f.txt", big[".txt"])
    with pytest.raises(FormatError, match="the file shrank"):
        ef.convert(tmp_path / "f.txt", tmp_path / "t.bin", **options)
    assert os.listdir(tmp_path) == ["f.txt"]


CUTTING = """
import os, random, sys, threading, time
import embedfreeze as ef
from embedfreeze.formats import verbs
path, kept, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
data, random = open(kept, "rb").read(), random.Random(seed)
words = ef.Vocabulary(["token7", "token39999", "token20000"])
calls = {
    "read": lambda: ef.read(path).digest,
    "load": lambda: ef.load(path, words).digest,
    "convert": lambda: ef.convert(path, path + ".bin", overwrite=True).rows,
}
opened, real = threading.Event(), verbs.open_source
def opening(*arguments):
    source = real(*arguments)
    opened.set()
    return source
verbs.open_source = opening
whole, took = {}, {}
for name, call in calls.items():
    open(path, "wb").write(data)
    start = time.perf_counter()
    whole[name], took[name] = call(), time.perf_counter() - start
seen = 0
for i in range(24):
    name = list(calls)[i % 3]
    open(path, "wb").write(data)
    size = random.choice([0, 1, 4096, len(data) // 2, len(data) - 100])
    opened.clear()
    def cut():
        opened.wait()
        time.sleep(random.random() * took[name] * 0.7)
        os.truncate(path, size)
    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        assert calls[name]() == whole[name], name
    except ef.errors.FormatError as error:
        assert f"the file shrank from {len(data)} to {size} bytes" in str(error), error
        seen += 1
    cutter.join()
print(seen)
"""


@pytest.mark.parametrize("suffix", [".txt", ".bin", ".h5"])
def test_a_file_that_is_cut_at_any_moment(
    suffix: str, big: dict[str, bytes], tmp_path: Path
) -> None:
    """In a process of its own, which a SIGBUS would end."""
    kept = put(tmp_path / "kept", big[suffix])
    out = child(CUTTING, tmp_path / "f", kept, random.Random(suffix).randrange(1000))
    assert int(out) > 0
    assert sorted(os.listdir(tmp_path)) == ["f", "f.bin", "kept"]


def test_a_file_of_many_batches_in_an_object(big: dict[str, bytes], tmp_path: Path) -> None:
    path = put(tmp_path / "f.bin", big[".bin"])
    with open(path, "rb") as file:
        e = ef.read(file)
    assert bits(e.matrix) == bits(BIG)
