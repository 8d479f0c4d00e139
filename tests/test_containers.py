"""What files are packed in: compressions and archives, around any format, read and written."""

import bz2
import contextlib
import gzip
import importlib
import io
import lzma
import os
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import assert_is, child, glove_bytes, put, table

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.files import open_source, split_packed
from embedfreeze.files.tararchive import TarReader

zstd = importlib.import_module(
    "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
)

TOKENS = [b"king", b"queen", b"caf\xc3\xa9"]
MATRIX = table(3, 4)
TEXT = glove_bytes(TOKENS, MATRIX)
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd.compress,
}
NAMES = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "zstd"}
DAMAGED = "cannot be read to its end.*damaged or cut off, get it again"


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(members: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def summed(header: bytearray) -> bytes:
    """A tar header with the sum that fits."""
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    return bytes(header)


def pipe(data: bytes) -> Any:
    """The reading end of a pipe that gives some bytes."""
    out, into = os.pipe()

    def fill() -> None:
        with contextlib.suppress(BrokenPipeError), open(into, "wb") as file:
            file.write(data)

    threading.Thread(target=fill, daemon=True).start()
    return open(out, "rb")


# ---- compressions --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", PACK)
def test_compressed_files(suffix: str, tmp_path: Path) -> None:
    pack = PACK[suffix]
    for data in (pack(TEXT), pack(TEXT[:30]) + pack(TEXT[30:])):  # two streams are one
        path = put(tmp_path / "f", data)
        assert_is(ef.read(path), TOKENS, MATRIX)
        assert_is(ef.read(io.BytesIO(data)), TOKENS, MATRIX)
        with pipe(data) as file:
            assert_is(ef.read(file), TOKENS, MATRIX)
    with open_source(path) as source:
        assert (source.container, source.member, source.part) == (NAMES[suffix], None, None)
        assert source.size == len(data)


@pytest.mark.parametrize("suffix", PACK)
def test_damaged_compressed_files(suffix: str, tmp_path: Path) -> None:
    rows = glove_bytes([b"t%d" % i for i in range(900)], table(900, 30))
    data = PACK[suffix](rows)
    middle = len(data) // 2
    changed = (
        data[:middle] + bytes(255 - b for b in data[middle : middle + 20]) + data[middle + 20 :]
    )
    for bad in (data[:middle], data[:-1], data[:7], changed, data + b"more", data + data[:20]):
        with pytest.raises(FormatError, match=f"the {NAMES[suffix]} data {DAMAGED}"):
            ef.read(put(tmp_path / "f", bad))


def test_padding_and_skippable_frames(tmp_path: Path) -> None:
    data = lzma.compress(TEXT) + bytes(8) + lzma.compress(b"new 1 2 3 4\n") + bytes(4)
    assert len(ef.read(put(tmp_path / "f", data))) == 4
    note = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    for data in (note + zstd.compress(TEXT), zstd.compress(TEXT) + note):
        assert_is(ef.read(put(tmp_path / "f", data)), TOKENS, MATRIX)


def test_dictionaries_that_are_claimed_to_be_huge(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 300 << 20}]
    data = lzma.compress(TEXT, filters=filters)
    with pytest.raises(FormatError, match="asks for more memory than unpacking may take.*unpack"):
        ef.read(put(tmp_path / "f", data))
    options = {zstd.CompressionParameter.window_log: 28}
    compressor = zstd.ZstdCompressor(options=options)
    data = compressor.compress(TEXT) + compressor.flush()
    with pytest.raises(FormatError, match="asks for more memory than unpacking may take.*unpack"):
        ef.read(put(tmp_path / "f", data))


WITHOUT_ZSTD = """
import sys
sys.modules["backports.zstd"] = sys.modules["compression.zstd"] = None
import embedfreeze as ef
for call in (lambda: ef.read(sys.argv[1]), lambda: ef.convert(sys.argv[2], sys.argv[3])):
    try:
        call()
    except ef.errors.FileError as error:
        print(error)
"""


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "f.zst", zstd.compress(TEXT))
    plain = put(tmp_path / "f.txt", TEXT)
    told = child(WITHOUT_ZSTD, path, plain, tmp_path / "g.txt.zst").splitlines()
    words = 'zstd data needs a library: pip install "embedfreeze[zstd]"'
    assert told == [f"{path}: {words}", f"{tmp_path / 'g.txt.zst'}: {words}"]
    assert sorted(os.listdir(tmp_path)) == ["f.txt", "f.zst"]


# ---- archives ------------------------------------------------------------------------------------

TAR_FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@pytest.mark.parametrize("format", TAR_FORMATS, ids=["ustar", "gnu", "pax"])
@pytest.mark.parametrize("suffix", ["", *PACK])
def test_tar_archives(suffix: str, format: int, tmp_path: Path) -> None:
    long = "folder/" * 13 + "x" * 90 + ".txt"  # more than the 100 bytes of a header
    data = tarred({long: TEXT}, format)
    data = PACK[suffix](data) if suffix else data
    path = put(tmp_path / "f", data)
    for source in (path, io.BytesIO(data), pipe(data)):
        assert_is(ef.read(source), TOKENS, MATRIX)
    with open_source(path) as opened:
        assert opened.container == (f"tar.{suffix}" if suffix else "tar")
        assert opened.member == long
    two = tarred({"a.txt": b"x 1\n", "b/c.txt": TEXT, "d.txt": b"y 2\n"}, format)
    two = PACK[suffix](two) if suffix else two
    path = put(tmp_path / "f", two)
    for source in (path, io.BytesIO(two), pipe(two)):
        assert_is(ef.read(source, member="b/c.txt"), TOKENS, MATRIX)
    with pytest.raises(
        FileError, match=r"one member, received 3: a\.txt, b/c\.txt, d\.txt"
    ) as caught:
        ef.read(path)
    assert caught.value.path == str(path)
    assert ef.read(path, member="./b/c.txt").path == f"{path}:b/c.txt"
    with pytest.raises(FileError, match=r"no member 'e'; it has a\.txt, b/c\.txt, d\.txt"):
        ef.read(path, member="e")
    with pipe(two) as file, pytest.raises(FileError, match="received 3") as caught:
        ef.read(file)
    assert caught.value.path is not None


def test_what_is_no_member_of_a_tar(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind, name in (
            (tarfile.DIRTYPE, "folder"),
            (tarfile.SYMTYPE, "link"),
            (tarfile.LNKTYPE, "hard"),
            (tarfile.FIFOTYPE, "pipe"),
            (tarfile.CHRTYPE, "device"),
            (tarfile.GNUTYPE_SPARSE, "sparse"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name in ("/etc/passwd", "../out.txt", "a/../../b", "folder/._f.txt", "__MACOSX/f"):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"x 1\n"))
        info = tarfile.TarInfo("./folder/f.txt")
        info.size = len(TEXT)
        archive.addfile(info, io.BytesIO(TEXT))
    path = put(tmp_path / "f.tar", out.getvalue())
    assert ef.read(path).path == f"{path}:folder/f.txt"
    assert_is(ef.read(path, member="folder/f.txt"), TOKENS, MATRIX)
    for name in ("link", "hard", "/etc/passwd", "../out.txt", "folder", "device", "sparse"):
        with pytest.raises(FileError, match=r"has no member .*; it has folder/f\.txt$"):
            ef.read(path, member=name)
    assert ef.read(path, member="folder/._f.txt").tokens[0] == "x"


def test_lists_of_members_are_bounded(tmp_path: Path) -> None:
    names = {f"{i}-" + "n" * 5000 + ("\n" if i == 1 else ""): b"x 1\n" for i in range(3000)}
    for data in (zipped(names), tarred(names)):
        with pytest.raises(FileError, match=r"received 3000: 0-nnn") as caught:
            ef.read(put(tmp_path / "f", data))
        assert len(str(caught.value)) < 3000
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(", ...")


def test_damaged_tars(tmp_path: Path) -> None:
    data = tarred({"a.txt": b"x 1\n" * 1000, "b.txt": TEXT})
    second = data.index(b"b.txt")
    claims = bytearray(data[:512])
    claims[124:136] = b"77777777777\0"
    for bad in (
        data[: second - 600],
        data[: second + 100],
        data[:second] + b"x" + data[second + 1 :],
        summed(claims) + data[512:],
    ):
        with pytest.raises(FormatError, match=f"the tar data {DAMAGED}"):
            ef.read(put(tmp_path / "f", bad))
    pax = tarred({"n" * 200: TEXT})
    assert ef.read(put(tmp_path / "f", pax)).path == f"{tmp_path / 'f'}:{'n' * 200}"
    for bad in (
        pax.replace(b"path=", b"path:"),
        pax.replace(b"210 path", b"x10 path"),
        pax.replace(b"210 path", b"004 path"),
    ):
        assert bad != pax
        with pytest.raises(FormatError, match=f"the tar data {DAMAGED}"):
            ef.read(put(tmp_path / "f", bad))


def test_a_header_of_many_records_takes_no_time(tmp_path: Path) -> None:
    """A pax header of as many records as it can have."""
    records = b"5 a=\n" * 209_000 + b"\0"
    head = bytearray(tarred({"n" * 200: b""})[:512])
    head[124:136] = b"%011o\0" % len(records)
    whole = summed(head) + records + bytes(-len(records) % 512) + tarred({"f": TEXT})
    path = put(tmp_path / "f", whole)
    started = time.process_time()
    with open_source(path) as source:
        assert source.member == "f"
    assert time.process_time() - started < 1.5


BASES = [
    tarred({"a": b"x" * 700, "folder/" * 15 + "n" * 30: TEXT}, format) for format in TAR_FORMATS
]


@given(st.sampled_from(BASES), st.data())
def test_changed_tars_are_read_or_refused(base: bytes, data: st.DataObject) -> None:
    changed = bytearray(base)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    if data.draw(st.booleans()):  # let the sums fit, so that what is behind them is read
        for low in range(0, len(changed) - 511, 512):
            block = changed[low : low + 512]
            if any(block[:100]) and any(block[100:108]):
                changed[low : low + 512] = summed(block)
    try:
        reader = TarReader(io.BytesIO(changed))
        for _ in reader:
            while reader.readinto(memoryview(bytearray(100))):
                pass
    except (OSError, EOFError):
        pass


def test_members_of_a_zip_are_no_larger_than_they_say(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        rows = glove_bytes([b"t%d" % i for i in range(3000)], table(3000, 5))
        path = put(tmp_path / "f", zipped({"a.txt": rows}, method))
        assert len(ef.read(path)) == 3000


def test_a_member_and_a_part_of_it(tmp_path: Path) -> None:
    e = ef.Embeddings(["a", "b"], table(2, 3))
    other = ef.Embeddings(["c", "d"], table(2, 3))
    import h5py

    path = tmp_path / "two.h5"
    with h5py.File(path, "w") as file:
        for name, made in (("one", e), ("two", other)):
            file[f"{name}/vectors"] = made.matrix
            file[f"{name}/tokens"] = np.array([t.encode() for t in made.tokens], dtype=object)
    data = path.read_bytes()
    for pack in (zipped, tarred):
        packed = put(tmp_path / "f", pack({"x.h5": data, "y:z.h5": data}))
        for name in ("x.h5", "y:z.h5"):
            found = ef.read(packed, member=f"{name}:/two/vectors", tokens="/two/tokens")
            assert_is(found, [b"c", b"d"], other.matrix)
        single = put(tmp_path / "g", pack({"x.h5": data}))
        found = ef.read(single, member=":/two/vectors", tokens="/two/tokens")
        assert_is(found, [b"c", b"d"], other.matrix)
        with pytest.raises(FileError, match=r"no member '/two/vectors'; it has x\.h5"):
            ef.read(single, member="/two/vectors")
    with open_source(packed, "y:z.h5:a:b") as source:
        assert (source.member, source.part) == ("y:z.h5", "a:b")


def test_archives_that_are_formats(tmp_path: Path) -> None:
    arrays = put(tmp_path / "f", zipped({"a.npy": b"1", "b.npy": b"2"}))
    with open_source(arrays, "b") as source:
        assert (source.container, source.member, source.part) == (None, None, "b")
        assert source.buffer is not None
        assert source.head.startswith(b"PK")
    model = {"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b"weights"}
    keras = put(tmp_path / "m.keras", zipped(model))
    with open_source(keras) as source:
        assert (source.container, source.member, source.part) == ("zip", "model.weights.h5", None)
        assert source.head == b"weights"
    with open_source(keras, "layers/x") as source:
        assert (source.member, source.part) == ("model.weights.h5", "layers/x")
    with open_source(keras, "config.json") as source:
        assert source.head == b"{}"
    mixed = put(tmp_path / "f", zipped({"a.npy": b"1", "b.txt": b"2"}))
    with pytest.raises(FileError, match="received 2"):
        open_source(mixed)
    torch = put(
        tmp_path / "m.pt", zipped({"m/data.pkl": b"1", "m/data/0": b"2", "m/version": b"3"})
    )
    with pytest.raises(
        FileError, match=r"a PyTorch file, pickle: not opened; .* safetensors.torch.save_file"
    ):
        open_source(torch)


@pytest.mark.parametrize("token", [b"BZh", b"BZh9", b"FEA1"])
def test_tokens_that_begin_as_packed_data_or_tables_do(token: bytes, tmp_path: Path) -> None:
    path = put(tmp_path / "f", glove_bytes([token], MATRIX[:1]))
    assert_is(ef.read(path), [token.decode()], MATRIX[:1])


# ---- limits --------------------------------------------------------------------------------------


def test_what_is_spooled_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    e = ef.Embeddings([f"t{i}" for i in range(3000)], table(3000, 30))
    path = tmp_path / "f.h5.gz"
    ef.write(e, path)
    size = len(gzip.decompress(path.read_bytes()))
    assert_is(ef.read(path, spool_limit=size), [t.encode() for t in e.tokens], e.matrix)
    for limit in (size - 1, "1K"):
        with pytest.raises(
            FileError, match=r"larger: .*pass spool_limit= \(--spool-limit\)"
        ) as told:
            ef.read(path, spool_limit=limit)
        assert type(told.value) is FileError
        assert f"{spool}, which may have {1024 if limit == '1K' else limit} bytes" in str(
            told.value
        )
        assert str(told.value).startswith(f"{path}: it must be unpacked")
    for wrong in ("x", "-1", "1.5G", True, "8GB", ""):
        with pytest.raises(ValueError, match="a number of bytes such as 500M or 8G"):
            ef.read(path, spool_limit=wrong)
    assert os.listdir(spool) == []


BOMB = r"""
import re, sys
from embedfreeze.files import open_source
def peak():  # of this program: getrusage counts what the process was before it, too
    return int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
base = peak()
for path in sys.argv[1:]:
    total = 0
    with open_source(path) as source:
        for block in source.blocks():
            total += len(block)
            if total >= 100 << 20:
                break
    assert total >= 100 << 20, total
print((peak() - base) // 1024)
"""


def test_bombs_are_unpacked_in_bounded_memory(tmp_path: Path) -> None:
    """Files of some kilobytes, of which one block holds all of 128 MiB."""
    piece = bytes(16 << 20)
    head = tarfile.TarInfo("a")
    head.size = 8 * len(piece)
    bombs = {suffix: PACK[suffix](piece) * 8 for suffix in ("bz2", "xz", "zst")}
    bombs["tar.zst"] = PACK["zst"](head.tobuf()) + bombs["zst"]
    paths = [put(tmp_path / name, data) for name, data in bombs.items()]
    assert all(path.stat().st_size < 200_000 for path in paths)
    assert int(child(BOMB, *paths)) < 60  # MB


@pytest.mark.slow
@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_bombs_are_unpacked_in_bounded_memory(method: int, tmp_path: Path) -> None:
    path = put(tmp_path / "f", zipped({"a": bytes(400 << 20)}, method))
    assert int(child(BOMB, path)) < 150  # MB


def test_a_header_that_is_a_bomb(tmp_path: Path) -> None:
    """A pax header claims a gigabyte."""
    head = bytearray(tarred({"n" * 200: b""})[:512])
    head[124:136] = b"%011o\0" % (1 << 30)
    path = put(tmp_path / "f", bz2.compress(summed(head) + bytes(4 << 20)))
    with pytest.raises(FormatError, match="may have 1048576 bytes, received one of 1073741824"):
        ef.read(path)


# ---- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [*PACK, "zip"])
def test_packed_targets(suffix: str, tmp_path: Path) -> None:
    e = ef.Embeddings([t.decode() for t in TOKENS], MATRIX)
    for name in (f"f.txt.{suffix}", f"f.bin.{suffix.upper()}", f"f.h5.{suffix}"):
        path = tmp_path / name
        ef.write(e, path)
        assert_is(ef.read(path), TOKENS, MATRIX)
        first = path.read_bytes()
        ef.write(e, path, overwrite=True)
        assert path.read_bytes() == first or name.startswith("f.h5")
        with open_source(path) as source:
            assert source.container == {**NAMES, "zip": "zip"}[suffix]
    unpack = {
        "gz": gzip.decompress,
        "bz2": bz2.decompress,
        "xz": lzma.decompress,
        "zst": zstd.decompress,
        "zip": lambda data: zipfile.ZipFile(io.BytesIO(data)).read("f.txt"),
    }[suffix]
    ef.write(e, tmp_path / "plain.txt")
    packed = (tmp_path / f"f.txt.{suffix}").read_bytes()
    assert unpack(packed) == (tmp_path / "plain.txt").read_bytes()
    with pytest.raises(FileError, match="a store target cannot be compressed: drop the suffix"):
        ef.write(e, tmp_path / f"f.safetensors.{suffix}")


def test_suffixes_of_packed_names() -> None:
    assert split_packed("a.b.GZ") == ("a.b", ".gz")
    assert split_packed("folder.gz/name") == ("folder.gz/name", "")
    assert split_packed("a.tar") == ("a.tar", "")


@pytest.mark.parametrize("suffix", [*PACK, "zip"])
def test_packed_vocabularies(suffix: str, tmp_path: Path) -> None:
    v = ef.Vocabulary(["one", "two"])
    path = tmp_path / f"v.json.{suffix}"
    v.save(path)
    assert ef.Vocabulary.from_file(path).tokens == v.tokens
    data = b"token,id\none,0\ntwo,1\n"
    path = put(
        tmp_path / f"v.csv.{suffix}",
        zipped({"v.csv": data}) if suffix == "zip" else PACK[suffix](data),
    )
    assert ef.Vocabulary.from_file(path, padding=None, unknown=None).tokens == ("one", "two")


# ---- all together --------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", [*PACK, "zip", "tar", "tar.zst"])
def test_any_format_in_any_container(packing: str, tmp_path: Path) -> None:
    e = ef.Embeddings(["a", "b\u00a0c"], table(2, 3))
    for name in ("f.txt", "f.vec", "f.bin", "f.h5"):
        ef.write(e, tmp_path / name, overwrite=True)
        data = (tmp_path / name).read_bytes()
        if packing == "zip":
            packed = zipped({name: data})
        elif packing.startswith("tar"):
            packed = tarred({name: data})
            packed = zstd.compress(packed) if packing == "tar.zst" else packed
        else:
            packed = PACK[packing](data)
        path = put(tmp_path / "packed", packed)
        assert_is(ef.read(path), [b"a", "b\u00a0c".encode()], e.matrix)
        a = ef.load(path, ef.Vocabulary(["b\u00a0c"], padding=None, unknown=None))
        assert (a.matrix[0] == e.matrix[1]).all()
        ef.convert(path, tmp_path / "again.bin", overwrite=True)
        assert_is(ef.read(tmp_path / "again.bin"), [b"a", "b\u00a0c".encode()], e.matrix)


@pytest.mark.parametrize("pack", [zipped, tarred, lambda members: PACK["xz"](tarred(members))])
def test_changed_archives(pack: Callable[[dict[str, bytes]], bytes], tmp_path: Path) -> None:
    data = pack({"a.txt": TEXT})
    generator = np.random.default_rng(7)
    outcomes = set()
    for _ in range(150):
        changed = bytearray(data)
        for at in generator.integers(0, len(data), 2):
            changed[at] = generator.integers(256)
        try:
            ef.read(io.BytesIO(changed))
            outcomes.add("read")
        except EmbedFreezeError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"} or outcomes == {"refused"}
