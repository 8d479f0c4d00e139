"""NPY and NPZ: bit-equal to NumPy in any order and width, tokens beside or inside, both written."""

import contextlib
import gzip
import io
import itertools
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from samples import ODD_TOKENS, assert_is, bits, put, spelled, table

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError
from embedfreeze.formats.arrays import batches as arrays
from embedfreeze.formats.arrays import npz, npzarchive, npzwriter
from embedfreeze.tokens import Tokens

GOLDEN = Path(__file__).parent / "golden"
TOKENS = [*ODD_TOKENS, "", "New York", "last"]
STRINGS = [token for token in TOKENS if token]
DTYPES = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]


def saved(path: Path, matrix: npt.NDArray[Any], tokens: list[str] = TOKENS) -> Path:
    """An array, and the tokens beside it."""
    np.save(path, matrix)
    put(path.with_suffix(".tokens.json"), json.dumps(tokens).encode())
    return path


def refused(path: Path, words: str, **options: Any) -> None:
    with pytest.raises(FileError, match=words) as caught:
        ef.read(path, **options)
    assert str(path) in str(caught.value)


def matrix_of(dtype: str, order: str, rows: int = len(TOKENS), dim: int = 6) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):
        return np.asarray(table(rows, dim).astype(dtype), order="F" if order == "F" else "C")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("batch", [1, 100, 1 << 24])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_values_are_those_of_numpy(
    dtype: str, order: str, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "BATCH_BYTES", batch)
    monkeypatch.setattr(arrays, "COLUMN_BYTES", batch)
    matrix = matrix_of(dtype, order)
    path = saved(tmp_path / "m.npy", matrix)
    expected = np.load(path).astype(np.float32)
    assert_is(ef.read(path), TOKENS, expected)
    assert_is(ef.read(path, limit=7), TOKENS[:7], expected[:7])
    a = ef.load(path, ef.Vocabulary([TOKENS[9], "none", TOKENS[2]], unknown=None, padding=None))
    assert bits(a.matrix[[0, 2]]) == bits(expected[[9, 2]])


@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_packed_and_from_memory(dtype: str, order: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.npy", matrix_of(dtype, order))
    expected = np.load(path).astype(np.float32)
    beside = path.with_suffix(".tokens.json")
    packed = put(tmp_path / "m.npy.gz", gzip.compress(path.read_bytes()))
    assert_is(ef.read(packed), TOKENS, expected)
    assert_is(ef.read(packed, limit=3), TOKENS[:3], expected[:3])
    assert_is(ef.read(io.BytesIO(path.read_bytes()), tokens=beside), TOKENS, expected)
    a = ef.load(packed, ef.Vocabulary([TOKENS[9]], unknown=None, padding=None))
    assert bits(a.matrix) == bits(expected[9:10])
    cut = put(tmp_path / "m.npy.gz", gzip.compress(path.read_bytes()[:-5]))
    refused(cut, "the header promises", tokens=beside)


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
def test_float16_stays(tmp_path: Path) -> None:
    matrix = matrix_of("<f2", "C")
    path = saved(tmp_path / "m.npy", matrix)
    assert_is(ef.read(path, dtype="float16"), TOKENS, matrix)
    ef.convert(path, tmp_path / "n.npy", dtype="float16")
    assert (tmp_path / "n.npy").read_bytes() == path.read_bytes()


ARRAYS: list[tuple[Any, str]] = [
    (np.array([["a", 1]], object), "pickled Python objects, which can run any code"),
    (np.zeros((2, 3), np.int8), r"\[2, 3\] int8, integers, which may be quantised"),
    (np.zeros((2, 3), np.uint16), "integers"),
    (np.zeros((2, 3), complex), "complex numbers"),
    (np.zeros((2, 3), bool), "truth values"),
    (np.zeros((2, 3), "V2"), "such as bfloat16"),
    (np.zeros(2, [("w", "S3"), ("v", "<f4", 3)]), "records of fields"),
    (np.zeros((2, 3), "<U3"), "strings"),
    (np.zeros((2, 3), "M8[s]"), "dates"),
    (np.zeros((2, 3), np.longdouble), "floats of a size that only some computers have"),
    (np.zeros(2, np.float32), r"received \[2\] float32: save it as one row"),
    (np.zeros((2, 3, 4), np.float32), r"received \[2, 3, 4\] float32"),
    (np.zeros((2, 0), np.float32), r"received \[2, 0\] float32"),
    (np.float32(1), r"received \[\] float32"),
]


@pytest.mark.parametrize(("array", "words"), ARRAYS)
def test_other_arrays(array: npt.NDArray[Any], words: str, tmp_path: Path) -> None:
    refused(saved(tmp_path / "m.npy", array, ["a", "b"]), words)
    np.savez(tmp_path / "m.npz", m=array)
    refused(tmp_path / "m.npz", words)


def header(text: str, version: bytes = b"\1\0", length: int | None = None) -> bytes:
    size = len(text) if length is None else length
    return (
        b"\x93NUMPY"
        + version
        + struct.pack("<H" if version[0] == 1 else "<I", size)
        + text.encode()
    )


HEADERS = [
    b"\x93NUMPY",
    b"\x93NUMPY\1",
    header("", length=60000),
    header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)"),
    header("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -4)}"),
    header("{'descr': '<f4', 'fortran_order': False, 'shape': (3.0, 4)}"),
    header("{'descr': '<f4', 'fortran_order': 1, 'shape': (3, 4)}"),
    header("{'descr': '<f4', 'shape': (3, 4)}"),
    header("{'descr': 'what', 'fortran_order': False, 'shape': (3, 4)}"),
    header("(" * 5000),
    header("[" * 200 + "]" * 200),
    header("{" + "'a':" * 3000),
    header("1L" * 100),
    header("__import__('os')"),
    header("x" * 70000, b"\2\0"),
    header("", b"\2\0", 1 << 31),
    header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}", b"\3\0"),
    header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}", b"\x09\0"),
]


@pytest.mark.parametrize("data", HEADERS)
def test_damaged_headers(data: bytes, tmp_path: Path) -> None:
    put(tmp_path / "m.tokens.txt", b"a\nb\nc\n")
    refused(put(tmp_path / "m.npy", data), "must begin with a header of NumPy's")


def test_sizes_that_the_file_does_not_bear(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.npy", table(3, 4), ["a", "b", "c"])
    data = path.read_bytes()
    refused(put(path, data[:-5]), r"promises 3 rows of 4 values, 48 bytes, received 43 \(2 rows\)")
    claim = header("{'descr': '<f4', 'fortran_order': False, 'shape': (10**15, 4)}")
    refused(put(path, claim), "must begin with a header")
    claim = header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**15}, 4)}}")
    refused(put(path, claim), "promises 1000000000000000 rows")
    claim = header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': (3, {10**15})}}")
    refused(put(tmp_path / "m.npy.gz", gzip.compress(claim)), "at most 16777216 bytes")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bytes_behind_the_array(tmp_path: Path) -> None:
    """numpy.save appends to a file that is open; NumPy reads the first array."""
    path = saved(tmp_path / "m.npy", table(3, 4), ["a", "b", "c"])
    put(path, path.read_bytes() + b"more")
    assert_is(ef.read(path), ["a", "b", "c"], table(3, 4))
    assert any("4 bytes behind the array" in note for note in ef.inspect(path).notes)
    packed = put(tmp_path / "m.npy.gz", gzip.compress(path.read_bytes()))
    with pytest.warns(UserWarning, match="more bytes behind its rows"):
        ef.read(packed)


def test_tokens_that_do_not_match(tmp_path: Path) -> None:
    path = tmp_path / "m.npy"
    np.save(path, np.ones((3, 4), np.float32))
    refused(path, r"no file of them stands beside it: name one .* or call it <stem>\.tokens\.json")
    put(tmp_path / "m.tokens.txt", b"a\nb\n")
    with pytest.raises(FormatError, match=r"m\.tokens\.txt: each row .* 2 tokens for 3 rows"):
        ef.read(path)
    other = put(tmp_path / "words.txt", b"a\nb\nc\n")
    assert ef.read(path, tokens=other).tokens[:] == ["a", "b", "c"]
    with pytest.raises(FileError, match="given for a npy file|for a npy file"):
        ef.read(path, member="x")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_written_as_numpy_writes(dtype: str, tmp_path: Path) -> None:
    matrix = np.linspace(-3, 3, 4 * len(TOKENS), dtype=np.float32).reshape(-1, 4)
    made = ef.read(saved(tmp_path / "m.npy", matrix), dtype=dtype)
    ef.write(made, tmp_path / "w.npy")
    values = ef.storage.decode(made.matrix) if dtype != "float16" else made.matrix
    np.save(tmp_path / "o.npy", values)
    assert (tmp_path / "w.npy").read_bytes() == (tmp_path / "o.npy").read_bytes()
    assert json.loads((tmp_path / "w.tokens.json").read_bytes()) == TOKENS
    assert_is(ef.read(tmp_path / "w.npy", dtype=str(values.dtype)), TOKENS, values)
    ef.write(made, tmp_path / "w.npy.gz", overwrite=True)
    assert (
        gzip.decompress((tmp_path / "w.npy.gz").read_bytes()) == (tmp_path / "o.npy").read_bytes()
    )
    assert_is(ef.read(tmp_path / "w.npy.gz", dtype=str(values.dtype)), TOKENS, values)


def test_tokens_that_json_cannot_hold(tmp_path: Path) -> None:
    e = ef.Embeddings(Tokens.from_bytes([b"a", b"caf\xe9"], "replace"), table(2, 3))
    with pytest.raises(FormatError, match=r"not UTF-8, received b'caf\\xe9' as row 1: write"):
        ef.write(e, tmp_path / "w.npy")
    assert not list(tmp_path.iterdir())


# NPZ


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_archives(
    dtype: str, order: str, save: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "BATCH_BYTES", 100)
    monkeypatch.setattr(npz, "STRING_BYTES", 1 << 11)
    matrix, path = matrix_of(dtype, order, len(STRINGS)), tmp_path / "m.npz"
    expected = matrix.astype(np.float32)
    for words in (np.array(STRINGS), np.array([t.encode() for t in STRINGS])):
        save(path, n=np.arange(9), vectors=matrix, words=words)
        assert_is(ef.read(path), STRINGS, expected)
        assert_is(ef.read(path, limit=3), STRINGS[:3], expected[:3])
        a = ef.load(path, ef.Vocabulary([STRINGS[9]], unknown=None, padding=None))
        assert bits(a.matrix) == bits(expected[9:10])
    assert_is(ef.read(io.BytesIO(path.read_bytes())), STRINGS, expected)
    packed = put(tmp_path / "m.npz.gz", gzip.compress(path.read_bytes()))
    assert_is(ef.read(packed), STRINGS, expected)


def test_members(tmp_path: Path) -> None:
    matrix, path = table(len(STRINGS), 4), tmp_path / "m.npz"
    words = np.array(STRINGS)
    arrays = {"a": matrix, "b": matrix + 1, "w": words.astype(">U40"), "v": words, "n": words[:3]}
    np.savez(path, **arrays)
    refused(path, rf"one 2-D array of floats is needed unless member= .* a \[{len(STRINGS)}, 4\]")
    refused(path, "one array of 25 strings is needed", member="a")
    refused(path, "member must name an array, received 'x'; the archive has a", member="x")
    refused(path, "the array w must be floats", member="w")
    refused(path, "tokens must be an array of strings", member="a", tokens="b")
    refused(path, "received 3 tokens in n for 25 rows", member="a", tokens="n")
    for member in ("b", "b.npy"):
        for tokens in ("v", "w.npy"):
            assert_is(ef.read(path, member=member, tokens=tokens), STRINGS, matrix + 1)
    side = put(tmp_path / "words.json", json.dumps(STRINGS).encode())
    assert_is(ef.read(path, member="a", tokens=side), STRINGS, matrix)
    np.savez(path, a=matrix)
    refused(path, "one array of 25 strings is needed for the tokens, received a")
    put(tmp_path / "m.tokens.json", side.read_bytes())
    assert_is(ef.read(path), STRINGS, matrix)
    np.savez(path, a=matrix, w=words.astype(object))
    (tmp_path / "m.tokens.json").unlink()
    refused(path, "pickled objects can run any code and are not opened: save words with dtype=str")


def test_an_array_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npzarchive, "MOST_ARRAYS", 4)
    np.savez(tmp_path / "m.npz", **{f"w{i}": np.ones(3, np.float32) for i in range(5)})
    refused(tmp_path / "m.npz", "at most 4 arrays, received 5: save all vectors as one matrix")


def embeddings(tokens: list[bytes]) -> ef.Embeddings:
    return ef.Embeddings(Tokens.from_bytes(tokens, "surrogateescape"), table(len(tokens), 3))


def test_written_archive(tmp_path: Path) -> None:
    """Strings of NumPy's where they hold every token."""
    for dtype in ("float32", "float16"):
        e = embeddings([token.encode() for token in TOKENS])
        e = ef.Embeddings(e.tokens, e.matrix.clip(-9, 9).astype(dtype))
        path = tmp_path / f"{dtype}.npz"
        ef.write(e, path)
        with np.load(path) as found:  # no pickle
            assert found["tokens"].tolist() == TOKENS
            assert found["tokens"].dtype.kind == "U"
            assert found["vectors"].dtype == dtype
            assert bits(found["vectors"]) == bits(e.matrix)
        assert_is(ef.read(path, dtype=dtype), TOKENS, e.matrix)
        ef.write(e, tmp_path / "again.npz", overwrite=True)
        assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None


@pytest.mark.parametrize("token", [b"nul\0", b"\0", b"caf\xe9", "\u20ac".encode() * 257])
def test_any_token_in_an_archive(token: bytes, tmp_path: Path) -> None:
    e = embeddings([b"king", token, b"", b"\0a"])
    ef.write(e, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as found:
        blob, offsets = found["token_bytes"], found["token_offsets"]
        pieces = [blob[a:b].tobytes() for a, b in itertools.pairwise(offsets)]
    assert pieces == spelled(e)
    assert_is(ef.read(tmp_path / "m.npz", unicode_errors="replace"), pieces, e.matrix)


def test_the_longest_string(tmp_path: Path) -> None:
    longest = ["\u20ac" * npzwriter.MOST_CHARACTERS, "\U0001f600\u20ac", "a"]
    ef.write(embeddings([token.encode() for token in longest]), tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as found:
        assert found["tokens"].tolist() == longest
        assert found["tokens"].dtype == "<U256"


def test_a_large_archive_overtakes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are moved to where they belong in the file that they stand in."""
    monkeypatch.setattr(npzwriter, "COPY_BYTES", 64)
    rows = 3000
    e = ef.Embeddings([f"t{i}" for i in range(rows)], table(rows, 7))
    ef.write(e, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as found:
        assert bits(found["vectors"]) == bits(e.matrix)


def test_damaged_archives(tmp_path: Path) -> None:
    e = embeddings([b"king", b"queen"])
    path = tmp_path / "m.npz"
    ef.write(e, path)
    data = path.read_bytes()
    for cut in (30, 100, 250, len(data) - 30, len(data) - 1):
        refused(put(path, data[:cut]), "")
    at = data.index(bits(e.matrix))
    flipped = bytearray(data)
    flipped[at] ^= 1
    refused(put(path, bytes(flipped)), "Bad CRC-32")


def claiming(path: Path, name: str, sizes: dict[int, int]) -> None:
    """Change what the directory of an archive says of a member: packed (20) and full size (24)."""
    data = bytearray(path.read_bytes())
    at = data.index(name.encode(), data.index(b"PK\1\2")) - 46
    for offset, size in sizes.items():
        data[at + offset : at + offset + 4] = struct.pack("<I", size)
    put(path, bytes(data))


@pytest.mark.parametrize("short", ["vectors", "words"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_member_that_ends_early(order: str, short: str, tmp_path: Path) -> None:
    """Its checksum is that of the bytes there are; nothing is made up for the others."""
    path, matrix = tmp_path / "m.npz", np.asarray(table(40, 30), order="F" if order == "F" else "C")
    members = {"vectors": matrix, "words": np.array([f"word{i}" for i in range(40)])}
    sizes = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in members.items():
            out = io.BytesIO()
            np.save(out, array)
            sizes[name] = len(out.getvalue())
            archive.writestr(f"{name}.npy", out.getvalue()[: -400 if name == short else None])
    claiming(path, f"{short}.npy", {24: sizes[short]})
    refused(path, "truncated|must have .* bytes, received|Bad CRC|cannot be read to its end")


def test_a_member_that_claims_more_than_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez(path, vectors=table(4, 3), words=np.array(["a", "b", "c", "d"]))
    claiming(path, "vectors.npy", {20: 1 << 30, 24: 1 << 30})
    refused(path, "the bytes of an array must lie in the archive, received 1073741824")


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings(packing: int, tmp_path: Path) -> None:
    out = io.BytesIO()
    np.save(out, table(2, 3))
    with zipfile.ZipFile(tmp_path / "m.npz", "w", packing) as archive:
        archive.writestr("m.npy", out.getvalue())
    refused(tmp_path / "m.npz", "must be stored or deflated")


@pytest.mark.parametrize("name", ["npy/big.npy", "npy/columns.npy", "npz/words.npz"])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_changed_bytes(name: str, tmp_path: Path) -> None:
    """An error of this package, or the rows; no warning of NumPy's own about the header."""
    source = GOLDEN / name
    seed, rng = source.read_bytes(), np.random.default_rng(0)
    path = tmp_path / source.name
    for beside in source.parent.glob(f"{source.stem}.tokens.*"):
        put(tmp_path / beside.name, beside.read_bytes())
    for _ in range(200):
        data = bytearray(seed)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        put(path, bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.2 else data))
        with contextlib.suppress(EmbedFreezeError):
            assert len(ef.read(path, unicode_errors="replace")) <= 4


@pytest.mark.parametrize("name", ["npy/big.npy", "npy/columns.npy", "npy/half.npy", "npy/list.npy"])
def test_golden_arrays(name: str) -> None:
    matrix = np.load(GOLDEN / name).astype(np.float32)
    assert_is(ef.read(GOLDEN / name), ["king", "caf\u00e9", "New York"], matrix)


@pytest.mark.parametrize("name", ["npz/words.npz", "npz/bytes.npz", "npz/written.npz"])
def test_golden_archives(name: str) -> None:
    matrix = np.load(GOLDEN / "npy/big.npy").astype(np.float32)
    assert_is(ef.read(GOLDEN / name), ["king", "caf\u00e9", "New York"], matrix)


@pytest.mark.large
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory(order: str, tmp_path: Path) -> None:
    """A gigabyte in either order is converted in bounded memory."""
    import subprocess
    import sys

    rows, dim, path = 1_300_000, 200, tmp_path / "m.npy"
    shape = (rows, dim)
    out = np.lib.format.open_memmap(path, "w+", np.float32, shape, fortran_order=order == "F")
    flat = out.T if order == "F" else out
    for low in range(0, len(flat), max(1, len(flat) // 50)):
        part = flat[low : low + max(1, len(flat) // 50)]
        part[:] = np.arange(part.size, dtype=np.float32).reshape(part.shape) % 1000 + low
    del out, flat
    put(tmp_path / "m.tokens.txt", "".join(f"t{i}\n" for i in range(rows)).encode())
    code = (
        "import re, sys, threading, time\n"
        "import embedfreeze as ef\n"
        "def now():\n"
        "    text = open('/proc/self/status').read()\n"
        "    return sum(int(n) for n in re.findall(r'Rss(?:Anon|Shmem):\\s+(\\d+)', text)) >> 10\n"
        "start = peak = now()\n"
        "def watch():\n"
        "    global peak\n"
        "    while True:\n"
        "        peak = max(peak, now())\n"
        "        time.sleep(0.01)\n"
        "threading.Thread(target=watch, daemon=True).start()\n"
        "ef.convert(sys.argv[1], sys.argv[2])\n"
        "print(peak - start)\n"
    )
    for target in ("w.npy", "w.npz"):
        command = [sys.executable, "-c", code, str(path), str(tmp_path / target)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert int(done.stdout.split()[-1]) < 300
        (tmp_path / target).unlink()
