"""Files on the network: a server of this process, and fsspec's own file system in memory."""

import gzip
import io
import threading
import uuid
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from samples import assert_is, child, glove_bytes, put, table

import embedfreeze as ef
from embedfreeze.cli import main
from embedfreeze.errors import FileError, FormatError, without_secrets
from embedfreeze.files import name_of, open_source
from embedfreeze.formats.side.tokens import side_tokens

TOKENS = [b"king", b"queen", b"caf\xc3\xa9"]
MATRIX = table(3, 4)
TEXT = glove_bytes(TOKENS, MATRIX)
LARGE = glove_bytes(
    [b"t%d" % i for i in range(20_000)], table(20_000, 40)
)  # some of fsspec's blocks


class Server(ThreadingHTTPServer):
    """Gives files; one whose path begins with /plain knows no ranges, /cut ends too early."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Who asked may have enough."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.asked: list[tuple[str, str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.give(body=False)

    def do_GET(self) -> None:
        self.give(body=True)

    def give(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((self.command, self.path, self.headers.get("Range")))
        kind, _, name = path.strip("/").partition("/")
        if kind == "forbidden":
            self.send_error(403)
            return
        if name not in self.server.files:
            self.send_error(404)
            return
        data, status = self.server.files[name], 200
        asked = self.headers.get("Range")
        if asked and kind == "ranges":
            low, _, high = asked.removeprefix("bytes=").partition("-")
            self.range = f"bytes {low}-{high}/{len(data)}"
            data, status = data[int(low) : int(high) + 1], 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", self.range)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data[: len(data) // 2] if kind == "cut" else data)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({}) as served:
        threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        yield served
        served.shutdown()


def url(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{path}"


@pytest.fixture
def memory() -> Iterator[str]:
    """The URL of a folder of its own in memory."""
    folder = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").mkdir(folder)
    yield folder
    fsspec.filesystem("memory").rm(folder, recursive=True)


def put_at(path: str, data: bytes) -> str:
    with fsspec.open(path, "wb") as file:
        file.write(data)
    return path


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file of each format."""
    folder = tmp_path_factory.mktemp("contents")
    e = ef.Embeddings([t.decode() for t in TOKENS], MATRIX)
    names = ["f.txt", "f.vec", "f.bin", "f.h5", "f.safetensors", "f.txt.gz", "f.bin.xz"]
    for name in names:
        ef.write(e, folder / name)
    made = {name: (folder / name).read_bytes() for name in names}
    return {**made, "f.zip": zipped({"a.txt": TEXT, "b.txt": b"x 1\n"})}


def check_all(place: str, contents: dict[str, bytes], folder: Path) -> None:
    """Read, load, inspect and convert what lies there."""
    for name in contents:
        path, member = f"{place}/{name}", "a.txt" if name == "f.zip" else None
        e = ef.read(path, member=member)
        assert_is(e, TOKENS, MATRIX)
        assert e.path is not None
        assert e.path.startswith(path)
        a = ef.load(path, ef.Vocabulary(["queen"], padding=None, unknown=None), member=member)
        assert (a.matrix[0] == MATRIX[1]).all()
        assert ef.inspect(path, member=member).dim == 4
        ef.convert(path, folder / "out.bin", member=member, on_duplicate="last", overwrite=True)
        assert_is(ef.read(folder / "out.bin"), TOKENS, MATRIX)


def test_all_from_memory(contents: dict[str, bytes], memory: str, tmp_path: Path) -> None:
    for name, data in contents.items():
        put_at(f"{memory}/{name}", data)
    check_all(memory, contents, tmp_path)


@pytest.mark.parametrize("kind", ["ranges", "plain"])
def test_all_from_a_server(
    kind: str, contents: dict[str, bytes], server: Server, tmp_path: Path
) -> None:
    if kind == "plain":  # without a way to its end
        contents = {name: data for name, data in contents.items() if name != "f.zip"}
    server.files.update(contents)
    check_all(url(server, kind), contents, tmp_path)


def test_a_store_is_sealed(contents: dict[str, bytes], memory: str) -> None:
    e = ef.read(put_at(f"{memory}/f.safetensors", contents["f.safetensors"]))
    assert e.sealed is not None
    assert (e.sealed.guarantee, e.sealed.path) == ("sealed", None)
    e.sealed.verify(deep=True)


@pytest.mark.parametrize("kind", ["ranges", "plain"])
@pytest.mark.parametrize("packed", [False, True])
def test_files_of_several_blocks(kind: str, packed: bool, server: Server) -> None:
    server.files["f"] = gzip.compress(LARGE, 1) if packed else LARGE
    path = url(server, f"{kind}/f")
    e = ef.read(path)
    assert (len(e), e.tokens[19_999]) == (20_000, "t19999")
    with open_source(path) as source:
        assert source.size == len(server.files["f"])
        for block in source.blocks():
            assert len(block)
        assert source.position == source.size


def test_a_zip_of_several_blocks(server: Server) -> None:
    server.files["f"] = zipped({"a.txt": LARGE, "b.txt": TEXT})
    assert_is(ef.read(url(server, "ranges/f"), member="b.txt"), TOKENS, MATRIX)
    large = zipfile.ZIP_STORED
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", large) as archive:
        archive.writestr("a.txt", LARGE)
    server.files["f"] = out.getvalue()
    with pytest.raises(FileError, match="a zip archive is read from its end: write it to a file"):
        ef.read(url(server, "plain/f"))


def test_only_the_beginning_is_fetched(server: Server) -> None:
    server.files["f"] = LARGE * 3
    with open_source(url(server, "ranges/f")) as source:
        assert source.head == LARGE[: 1 << 20]
    fetched = sum(
        int(high) - int(low) + 1
        for _, _, asked in server.asked
        if asked
        for low, high in [asked.removeprefix("bytes=").split("-")]
    )
    assert fetched < len(LARGE)


def test_vocabularies_and_side_files(memory: str, server: Server) -> None:
    server.files["v.txt"] = b"one\ntwo\n"
    put_at(f"{memory}/v.csv.gz", gzip.compress(b"token,id\none,0\ntwo,1\n"))
    for path in (url(server, "plain/v.txt"), f"{memory}/v.csv.gz"):
        v = ef.Vocabulary.from_file(path, padding=None, unknown=None)
        assert v.tokens == ("one", "two")
    tokens = side_tokens(url(server, "plain/v.txt?a=b"), 2, ef.formats.base.ReadOptions())
    assert list(tokens) == ["one", "two"]


# ---- what is refused -----------------------------------------------------------------------------


def test_failures_name_the_url_without_credentials(server: Server) -> None:
    server.files["bad.txt"] = TEXT + b"x 1 2\n"
    server.files["v.csv"] = b"token,id\none,x\n"
    server.files["cut"] = LARGE
    host = url(server, "")
    secret = host.replace("http://", "http://me:secret@")
    for path, words in (
        ("ranges/none.txt", "cannot be read: there is no such file: check the path"),
        ("forbidden/f.txt", "cannot be read: .*403.*check the path and your rights"),
        ("ranges/bad.txt", "line 4"),
        ("cut/cut", "cannot be read"),
    ):
        calls = [ef.read, ef.inspect, ef.Vocabulary.from_file]
        for call in calls[:1] if "bad" in path or "cut" in path else calls:
            with pytest.raises(FileError, match=words) as caught:
                call(f"{secret}{path}?signature=secret&x=secret")
            assert caught.value.path == host + path
            assert str(caught.value).startswith(host + path)
            error: BaseException | None = caught.value
            while error is not None:
                assert "secret" not in f"{error}"
                error = None if error.__suppress_context__ else error.__context__
    with pytest.raises(FormatError) as told:
        ef.Vocabulary.from_file(f"{secret}ranges/v.csv?signature=secret")
    assert "secret" not in str(told.value)
    assert told.value.path == host + "ranges/v.csv"


def test_a_server_that_is_not_there(server: Server) -> None:
    path = url(server, "f.txt")
    server.server_close()
    server.shutdown()
    with pytest.raises(FileError, match="cannot be read: Client.*check the path") as caught:
        ef.read(path + "?key=secret")
    assert "secret" not in str(caught.value)


def test_protocols_that_are_not_known() -> None:
    with pytest.raises(FileError, match="cannot be read: ValueError: .*nothing.*check the path"):
        ef.read("nothing://host/f.txt")


def test_targets_are_local(memory: str) -> None:
    e = ef.Embeddings(["a"], table(1, 2))
    for name in ("f.txt", "f.safetensors"):
        with pytest.raises(FileError, match="is on the network: write a file, then copy it there"):
            ef.write(e, f"{memory}/{name}")
    assert fsspec.filesystem("memory").find(memory) == []


def test_the_command_reads_urls(
    contents: dict[str, bytes], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files.update(contents)
    target = tmp_path / "t.vec"
    assert main(["convert", url(server, "plain/f.bin") + "?key=secret", str(target)]) == 0
    assert_is(ef.read(target), TOKENS, MATRIX)
    assert main(["inspect", url(server, "ranges/f.bin.xz") + "?key=secret"]) == 0
    assert main(["inspect", url(server, "ranges/none") + "?key=secret"]) != 0
    told = capsys.readouterr()
    assert "secret" not in told.out + told.err


MISSING = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1:3]))
import embedfreeze as ef
for path in sys.argv[3:]:
    try:
        ef.read(path)
    except ef.errors.FileError as error:
        print(error)
"""


def test_missing_libraries_are_named() -> None:
    told = child(MISSING, "fsspec", "x", "https://me:secret@host/f", "s3://b/f").splitlines()
    words = 'needs a library that is missing: pip install "embedfreeze[remote]"'
    assert told == [f"https://host/f: https:// {words}", f"s3://b/f: s3:// {words}"]
    told = child(MISSING, "s3fs", "aiohttp", "s3://b/f", "http://h/f").splitlines()
    assert told == [f"s3://b/f: s3:// {words} s3fs", f"http://h/f: http:// {words}"]


def test_protocols_that_need_more() -> None:
    """The extra has no library for Azure, and the tables of fsspec need more than a URL."""
    told = child(MISSING, "adlfs", "x", "az://a/b", "reference://x", "hf://").splitlines()
    assert told[0] == "az://a/b: az:// needs a library that is missing: " + (
        "Install adlfs to access Azure Datalake Gen2 and Azure Blob Storage"
    )
    assert told[1].startswith("reference://x: cannot be read: TypeError: ")
    assert told[2].startswith("hf://: cannot be read: NotImplementedError: ")


HUGGING_FACE = """
import json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
data = open(sys.argv[1], "rb").read()
FILE = {"type": "file", "oid": "0" * 40, "size": len(data), "path": "f.txt"}
class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass
    def do_GET(self):
        status, content = 200, data
        if self.path.startswith("/api/"):
            known = [FILE] if "/tree/" in self.path else {"id": "me/data", "sha": "1" * 40}
            content = json.dumps(known).encode()
        elif asked := self.headers.get("Range"):
            low, _, high = asked.removeprefix("bytes=").partition("-")
            status, content = 206, data[int(low) : int(high) + 1]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_address[1]}"
os.environ["HF_HOME"] = sys.argv[2]
import embedfreeze as ef
e = ef.read("hf://datasets/me/data/f.txt")
print(e.digest, e.path)
"""


@pytest.mark.slow
def test_hugging_face_through_its_library(tmp_path: Path) -> None:
    """With a server of ours that answers as the hub does."""
    path = put(tmp_path / "f.txt", TEXT)
    told = child(HUGGING_FACE, path, tmp_path / "home")
    assert told.split() == [ef.read(path).digest, "hf://datasets/me/data/f.txt"]


NO_HUB = """
import os, sys
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nothing listens there
os.environ["HF_HOME"] = sys.argv[1]
import embedfreeze as ef
try:
    ef.read("hf://datasets/me/data/f.txt")
except ef.errors.FileError as error:
    print(error)
"""


def test_hugging_face_cannot_be_reached(tmp_path: Path) -> None:
    told = child(NO_HUB, tmp_path / "home")
    assert told.startswith("hf://datasets/me/data/f.txt: cannot be read: ConnectError: ")


LAZY = """
import sys, embedfreeze
embedfreeze.read(sys.argv[1])
print([name for name in ("fsspec", "aiohttp", "gzip") if name in sys.modules])
"""


def test_the_libraries_are_imported_when_they_are_needed(tmp_path: Path) -> None:
    assert child(LAZY, put(tmp_path / "f.txt", TEXT)) == "[]\n"


def test_names_without_secrets() -> None:
    assert name_of("s3://key:secret@bucket/a?b=c#d") == "s3://bucket/a"
    assert without_secrets("hf://datasets/me/data@main/f.txt") == "hf://datasets/me/data@main/f.txt"
    assert without_secrets("a?b@c#d") == "a?b@c#d"
    assert without_secrets("https://h/a\n?x=\nsecret") == "https://h/a\n"


@pytest.mark.parametrize("protocol", ["s3", "gs", "http", "https", "hf"])
def test_fsspec_knows_the_protocols(protocol: str) -> None:
    """Which file systems there are is a reason to use it."""
    assert protocol in fsspec.available_protocols()
