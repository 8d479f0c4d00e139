"""The store: every byte of it, and what a broken one can do (nothing)."""

import gzip
import hashlib
import itertools
import json
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from samples import ODD_TOKENS, assert_is, bits, put, table

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FileError, FormatError, FrozenBytesChanged
from embedfreeze.files import open_source
from embedfreeze.formats import ReadOptions
from embedfreeze.formats.stores import store

MIB = 1 << 20
TOKENS = [*ODD_TOKENS, "", "New York", "nul\0", "\n"]


def parts(path: Path) -> tuple[int, dict[str, Any], dict[str, bytes]]:
    """Header length, header, and the bytes of each tensor."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    tensors = {
        name: data[8 + length + entry["data_offsets"][0] : 8 + length + entry["data_offsets"][1]]
        for name, entry in header.items()
        if name != "__metadata__"
    }
    return length, header, tensors


def token_hash(token: bytes) -> int:
    """The hash "embedfreeze-1", as the store's description gives it."""
    top = 2**64
    golden = 0x9E3779B97F4A7C15

    def mix(h: int, word: int) -> int:
        h = (h ^ word) * golden % top
        return h ^ h >> 32

    h = mix(0x243F6A8885A308D3, len(token))
    for at in range(0, len(token), 8):
        h = mix(h, int.from_bytes(token[at : at + 8].ljust(8, b"\0"), "little"))
    h = h * 0xBF58476D1CE4E5B9 % top
    return h ^ h >> 29


def digests_of(values: bytes) -> list[bytes]:
    return [hashlib.sha256(values[i : i + MIB]).digest() for i in range(0, len(values), MIB)]


def rest_digest_of(header: dict[str, Any], tensors: dict[str, bytes]) -> str:
    """What the README says of it, by the order of the offsets."""
    header = json.loads(json.dumps(header))
    header["__metadata__"].pop("rest_digest", None)
    told = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    names = sorted(tensors, key=lambda name: header[name]["data_offsets"])
    rest = b"".join(tensors[name] for name in names if name != "vectors")
    return hashlib.sha256(told + rest).hexdigest()


@pytest.mark.parametrize(
    ("rows", "dim", "dtype"),
    [(1, 1, "float32"), (30, 7, "float32"), (5000, 77, "float32"), (9000, 59, "float16")],
)
def test_every_byte_is_as_described(rows: int, dim: int, dtype: str, tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((rows, dim)).astype(dtype)
    tokens = [f"token{i}" for i in range(rows - 1)] + [""]
    path = tmp_path / "f.safetensors"
    ef.write(ef.Embeddings(tokens, matrix, "source/of.txt"), path)
    length, header, tensors = parts(path)
    rest_digest = rest_digest_of(header, tensors)
    metadata = header.pop("__metadata__")
    encoded = [t.encode() for t in tokens]

    assert list(tensors) == [
        *("token_offsets", "token_index", "block_digests", "vectors", "token_bytes")
    ]
    ends = [header[name]["data_offsets"] for name in tensors]
    assert ends[0][0] == 0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))  # no holes
    assert 8 + length + ends[-1][1] == path.stat().st_size
    assert (8 + length + header["vectors"]["data_offsets"][0]) % 4096 == 0
    assert (8 + length) % 8 == 0
    raw = path.read_bytes()[8 : 8 + length]
    assert raw.startswith(b"{")
    assert set(raw[raw.rindex(b"}") + 1 :]) <= {0x20}

    assert tensors["vectors"] == bits(matrix)
    assert header["vectors"]["shape"] == [rows, dim]
    assert header["vectors"]["dtype"] == {"float32": "F32", "float16": "F16"}[dtype]
    assert tensors["token_bytes"] == b"".join(encoded)
    offsets = np.cumsum([0, *map(len, encoded)]).astype("<i8")
    assert tensors["token_offsets"] == offsets.tobytes()
    blocks = digests_of(bits(matrix))
    assert tensors["block_digests"] == b"".join(blocks)
    digest = hashlib.sha256(b"".join(blocks)).hexdigest()
    assert metadata == {
        "format": "embedfreeze-store",
        "format_version": "1",
        "hash": "embedfreeze-1",
        "digest": digest,
        "creator": f"embedfreeze {ef.__version__}",
        "source": "of.txt",
        "rest_digest": rest_digest,
    }
    assert ef.read(path).digest == digest

    slots = np.frombuffer(tensors["token_index"], "<i4")
    assert len(slots) & (len(slots) - 1) == 0
    assert len(slots) >= 2 * rows
    for row in range(0, rows, 97):
        slot = token_hash(encoded[row]) % len(slots)
        while slots[slot] != row:
            assert slots[slot] >= 0
            slot = (slot + 1) % len(slots)
    assert sorted(slots[slots >= 0]) == list(range(rows))

    loaded = safetensors.numpy.load_file(path)
    assert bits(loaded["vectors"]) == bits(matrix)
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata() == metadata


def test_golden_bytes(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "golden" / "store.safetensors"
    matrix = table(len(TOKENS), 3)
    e = ef.read(golden)
    assert_is(e, TOKENS, matrix)
    assert [e.index(t) for t in TOKENS] == list(range(len(TOKENS)))
    v = ef.Vocabulary(TOKENS, padding="[PAD]", unknown="king2")
    assert ef.align(e, v).coverage.found() == len(TOKENS)
    ef.write(ef.Embeddings(TOKENS, matrix), tmp_path / "new.safetensors")
    _, new_header, new = parts(tmp_path / "new.safetensors")
    _, old_header, old = parts(golden)
    assert new == old
    # The old one was written before there was a digest of the rest.
    assert new_header["__metadata__"].pop("rest_digest") == rest_digest_of(new_header, new)
    assert_is(ef.read(golden, seal="copy"), TOKENS, matrix)
    new_header["__metadata__"].pop("creator")
    old_header["__metadata__"].pop("creator")
    assert new_header == old_header


def test_reading_maps_and_watches(tmp_path: Path) -> None:
    matrix = table(len(TOKENS), 3)
    path = tmp_path / "f.safetensors"
    ef.write(ef.Embeddings(TOKENS, matrix), path)
    e = ef.read(path)
    assert_is(e, TOKENS, matrix)
    assert e.sealed is not None
    assert e.sealed.guarantee == "watched"
    assert e.matrix.__array_interface__["data"][0] == e.sealed.address
    assert e.sealed.address % 4096 == 0
    assert not e.matrix.flags.writeable
    assert "zzz" not in e
    copy = ef.read(path, seal="copy")
    assert copy.sealed is not None
    assert copy.sealed.guarantee == "sealed"
    assert_is(copy, TOKENS, matrix)
    limited = ef.read(path, limit=3)
    assert_is(limited, TOKENS[:3], matrix[:3])
    assert "New York" not in limited
    small = np.arange(6, dtype=np.float32).reshape(2, 3)
    ef.write(ef.Embeddings(["a", "b"], small), path, overwrite=True)
    assert_is(ef.read(path, dtype="float16"), ["a", "b"], small.astype(np.float16))
    assert_is(e, TOKENS, matrix)  # the replaced file stays mapped as it was


def test_aligned_tables_come_back_with_their_vocabulary(tmp_path: Path) -> None:
    e = ef.Embeddings(["king", "queen"], table(2, 3))
    v = ef.Vocabulary(["queen", "zzz", "King"], splitter=ef.Splitter(lowercase=False))
    a = ef.align(e, v, oov="hash")
    path = tmp_path / "a.safetensors"
    a.save(path)
    assert json.loads(parts(path)[1]["__metadata__"]["vocabulary"]) == {
        "padding": "",
        "unknown": "[UNK]",
        "special": [],
        "padding_id": 0,
        "unknown_id": 1,
        "splitter": {
            "lowercase": False,
            "delete": ef.Splitter().delete,
            "separators": ef.Splitter().separators,
        },
    }
    stored = ef.read(path)
    assert stored.vocabulary == v
    assert stored.digest == a.digest
    again = ef.load(path, v)
    assert again.sealed.guarantee == "watched"  # in place, not copied
    assert bits(again.matrix) == bits(a.matrix)
    other = ef.load(path, ef.Vocabulary(["King"]))
    assert other.sealed.guarantee == "sealed"
    assert bits(other.matrix[2]) == bits(a.matrix[4])
    with pytest.raises(FileError, match="exists"):
        a.save(path)
    odd = ef.align(e, ef.Vocabulary(["queen"], splitter=str.split))
    with pytest.raises(EmbedFreezeError, match=r"splitter.*must be an embedfreeze\.Splitter"):
        odd.save(tmp_path / "odd.safetensors")
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_more_rows_than_were_expected_move_the_matrix(tmp_path: Path) -> None:
    """A stream does not say how many rows it has."""
    tokens = [f"token{i}" for i in range(30_000)]
    matrix = np.random.default_rng(0).standard_normal((30_000, 2)).astype(np.float32)
    text = "".join(f"{t} {a!r} {b!r}\n" for t, (a, b) in zip(tokens, matrix.tolist(), strict=True))
    put(tmp_path / "f.gz", gzip.compress(text.encode(), 1))
    ef.convert(tmp_path / "f.gz", tmp_path / "f.safetensors")
    assert_is(ef.read(tmp_path / "f.safetensors"), tokens, matrix)
    assert bits(safetensors.numpy.load_file(tmp_path / "f.safetensors")["vectors"]) == bits(matrix)


@pytest.mark.parametrize("batch", [4, 4 * 7 * 100, MIB])
def test_blocks_are_hashed_whatever_the_batches(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = np.random.default_rng(0).standard_normal((3000, 140)).astype(np.float32)  # 1.6 MiB
    tokens = [f"t{i}" for i in range(3000)]
    ef.write(ef.Embeddings(tokens, matrix), tmp_path / "a.safetensors")
    monkeypatch.setattr(store, "BATCH_BYTES", batch)
    ef.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    for name in "ab":
        blocks = parts(tmp_path / f"{name}.safetensors")[2]["block_digests"]
        assert blocks == b"".join(digests_of(bits(matrix)))


@pytest.mark.parametrize("seal", ["watch", "copy"])
def test_a_store_that_is_replaced_while_it_is_opened(seal: str, tmp_path: Path) -> None:
    first, second = table(3, 2), table(3, 2) + 1
    path, other = tmp_path / "f.safetensors", tmp_path / "g.safetensors"
    ef.write(ef.Embeddings(["a", "b", "c"], first), path)
    ef.write(ef.Embeddings(["x", "y", "z"], second), other)
    with open_source(path) as source:
        os.replace(other, path)
        e = store.open_store(source, ReadOptions(seal=seal))  # type: ignore[arg-type]
    assert_is(e, ["a", "b", "c"], first)
    assert e.sealed is not None
    e.sealed.verify(deep=True)
    assert_is(ef.read(path), ["x", "y", "z"], second)


def test_a_copy_needs_the_file_no_longer(tmp_path: Path) -> None:
    tokens, matrix = [f"token{i}" for i in range(3000)], table(3000, 2)
    path = tmp_path / "f.safetensors"
    ef.write(ef.Embeddings(tokens, matrix), path)
    e = ef.read(path, seal="copy")
    assert e.sealed is not None
    assert (e.sealed.guarantee, e.sealed.path) == ("sealed", str(path))
    os.truncate(path, 1)
    assert_is(e, tokens, matrix)
    assert e.index("token2999") == 2999
    e.sealed.verify(deep=True)


def test_a_source_whose_name_is_not_utf8(tmp_path: Path) -> None:
    source = put(tmp_path / os.fsdecode(b"d\xff.txt"), b"king 1 2\n")
    path = tmp_path / "f.safetensors"
    ef.convert(source, path)
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata()["source"] == "d\\udcff.txt"
        assert bits(file.get_tensor("vectors")) == bits(np.array([[1, 2]], np.float32))
    ef.load(source, ef.Vocabulary(["king"])).save(tmp_path / "g.safetensors")
    with safetensors.safe_open(tmp_path / "g.safetensors", "numpy") as file:
        assert file.metadata()["source"] == "d\\udcff.txt"
    stored = ef.read(tmp_path / "g.safetensors", seal="copy").coverage
    assert stored is not None
    assert stored.source == source.name


def test_repeated_tokens_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="tokens must differ.*'a'"):
        ef.write(ef.Embeddings(["a", "b", "a"], table(3, 2)), tmp_path / "f.safetensors")
    assert os.listdir(tmp_path) == []


def test_a_packed_store_is_held_in_sealed_memory(tmp_path: Path) -> None:
    e = ef.Embeddings(["a"], table(1, 2))
    for name in ("f.safetensors.gz", "f.safetensors.zip"):
        with pytest.raises(FileError, match="cannot be compressed"):
            ef.write(e, tmp_path / name)
    ef.write(e, tmp_path / "f.safetensors")
    data = (tmp_path / "f.safetensors").read_bytes()
    packed = put(tmp_path / "f.gz", gzip.compress(data))
    read = ef.read(packed, spool_limit=len(data))
    assert_is(read, ["a"], e.matrix)
    assert read.sealed.guarantee == "sealed"
    with pytest.raises(FileError, match="held in memory, which may take"):
        ef.read(packed, spool_limit=len(data) - 1)


# ---- broken stores ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("healthy") / "f.safetensors"
    ef.write(ef.Embeddings(TOKENS, table(len(TOKENS), 3)), path)
    return path


def with_header(path: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The store with another header of the same length."""
    length, header, _ = parts(path)
    change(header)
    text = json.dumps(header).encode().ljust(length)
    assert len(text) == length
    data = path.read_bytes()
    return put(target, data[:8] + text + data[8 + length :])


def entry_changes() -> list[Any]:
    """Each field of each tensor's entry, replaced by each of these."""
    names = ["token_offsets", "token_index", "block_digests", "vectors", "token_bytes"]
    replacements = {
        "dtype": ["F64", "BF16", "I8", None, 5, [], "f32"],
        "shape": [[], [-1, 3], [-27, -3], [1], [27, 3, 1], [2**62, 4], [1.5], ["3"], None, 7, {}],
        "data_offsets": [
            *([0, 0], [-8, 8], [8, 0], [0, 2**63], [1, 2], [0], [], None, "ab", 3),
            *(["a", "b"], [0.5, 9], [float("inf"), 1], [float("nan"), 1], [[0], [1]], {}),
        ],
    }
    return [
        pytest.param(name, field, value, id=f"{name}-{field}-{value}")
        for name in names
        for field, values in replacements.items()
        for value in values
    ]


@pytest.mark.parametrize(("name", "field", "value"), entry_changes())
def test_a_changed_entry(
    name: str, field: str, value: object, healthy: Path, tmp_path: Path
) -> None:
    path = with_header(healthy, tmp_path / "f", lambda h: h[name].__setitem__(field, value))
    with pytest.raises(FormatError) as caught:
        ef.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h.pop("__metadata__"), "must be a store"),
        (lambda h: h.__setitem__("__metadata__", []), "must be a store"),
        (lambda h: h["__metadata__"].pop("format"), "must be a store"),
        (lambda h: h["__metadata__"].__setitem__("format", "pt"), "must be a store"),
        (lambda h: h["__metadata__"].__setitem__("format_version", "2"), "version 1"),
        (lambda h: h["__metadata__"].__setitem__("hash", "other"), "hash embedfreeze-1"),
        (lambda h: h["__metadata__"].__setitem__("digest", "0" * 64), "recorded digest"),
        (lambda h: h["__metadata__"].pop("digest"), "recorded digest"),
        (lambda h: h["__metadata__"].__setitem__("vocabulary", "{"), "vocabulary"),
        (lambda h: h["__metadata__"].__setitem__("vocabulary", "[]"), "vocabulary"),
        (lambda h: h["__metadata__"].__setitem__("vocabulary", 7), "vocabulary"),
        (lambda h: h.pop("vectors"), "tensor vectors"),
        (lambda h: h.pop("token_bytes"), "tensor token_bytes"),
        (lambda h: h.__setitem__("vectors", []), "tensor vectors"),
        (lambda h: h["vectors"].__setitem__("shape", [3, len(TOKENS)]), "tensors of 3 rows"),
        (lambda h: h["vectors"].__setitem__("shape", [3 * len(TOKENS)]), "vectors must be floats"),
    ],
)
def test_a_changed_header(
    change: Callable[[dict[str, Any]], object], words: str, healthy: Path, tmp_path: Path
) -> None:
    path = with_header(healthy, tmp_path / "f", change)
    with pytest.raises(FormatError, match=words):
        ef.read(path)


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<Q", 2**63) + b"{",
        struct.pack("<Q", 10**8 + 1) + b"{}",
        struct.pack("<Q", 1000) + b"{}",
        struct.pack("<Q", 2) + b"{}" + b" " * 90,
        struct.pack("<Q", 20) + b"{" + b" " * 90,
        struct.pack("<Q", 90) + b"{\xff" + b" " * 90,
        struct.pack("<Q", 200_000) + b'{"a":' + b"[" * 200_000,
        struct.pack("<Q", 9000) + b'{"a":' + b"1" * 9000,
    ],
)
def test_a_header_that_is_none(head: bytes, tmp_path: Path) -> None:
    for options in ({}, {"format": "store"}):
        with pytest.raises(FormatError):
            ef.read(put(tmp_path / "f", head), **options)


@pytest.mark.parametrize("more", [8, 64, 4088])
def test_a_matrix_that_begins_at_no_page(more: int, healthy: Path, tmp_path: Path) -> None:
    data = healthy.read_bytes()
    length = parts(healthy)[0]
    moved = struct.pack("<Q", length + more) + data[8 : 8 + length] + b" " * more
    path = put(tmp_path / "f", moved + data[8 + length :])
    with pytest.raises(FormatError, match="at a multiple of 4096"):
        ef.read(path)


def test_another_safetensors_file(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"w": table(3, 2)}, tmp_path / "f.safetensors")
    with pytest.raises(FormatError, match="must be a store of this library, received another"):
        ef.read(tmp_path / "f.safetensors", format="store")


def test_every_truncation_is_found(healthy: Path, tmp_path: Path) -> None:
    data = healthy.read_bytes()
    sizes = {*range(1, 40), *range(40, len(data), 97), *range(len(data) - 40, len(data))}
    for size in sorted(sizes):
        with pytest.raises(FormatError):
            ef.read(put(tmp_path / "f", data[:size]), format="store")


def use(path: Path) -> None:
    """All that can be done with a store."""
    e = ef.read(path, unicode_errors="backslashreplace")
    [e.index(t) for t in TOKENS if t in e]
    list(e.tokens)
    ef.load(path, ef.Vocabulary(TOKENS[:5], padding=None))
    ef.inspect(path)
    ef.read(path, limit=len(TOKENS) - 1, unicode_errors="backslashreplace")
    ef.convert(path, path.with_name("out.h5"), overwrite=True, unicode_errors="surrogateescape")


@given(data=st.data())
def test_flipped_bytes_never_crash(
    data: st.DataObject, healthy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw = bytearray(healthy.read_bytes())
    length, header, _ = parts(healthy)
    base = 8 + length
    interesting = [(0, 900)] + [
        (base + entry["data_offsets"][0], base + entry["data_offsets"][1])
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    for _ in range(data.draw(st.integers(1, 4))):
        low, high = data.draw(st.sampled_from(interesting))
        raw[data.draw(st.integers(low, high - 1))] = data.draw(st.integers(0, 255))
    path = put(tmp_path_factory.mktemp("flip") / "f", raw)
    try:
        use(path)
    except EmbedFreezeError:
        return
    low, high = interesting[4]
    if raw[low:high] != healthy.read_bytes()[low:high]:
        with pytest.raises(FrozenBytesChanged, match="block 0"):
            ef.read(path, seal="copy")
        sealed = ef.read(path).sealed
        assert sealed is not None
        sealed.verify()
        with pytest.raises(FrozenBytesChanged, match="block 0"):
            sealed.verify(deep=True)


@pytest.mark.parametrize(
    "offsets",
    [
        [0] * 28,
        [2**62] * 28,
        [-1] * 28,
        [3] * 27 + [108],
        list(range(28, 0, -1)),
        [0, -(2**63), 2**63 - 1] + [5] * 25,
    ],
)
def test_offsets_that_lead_elsewhere(offsets: list[int], healthy: Path, tmp_path: Path) -> None:
    length, header, _ = parts(healthy)
    n = len(TOKENS) + 1
    assert n == len(offsets)
    start = 8 + length + header["token_offsets"]["data_offsets"][0]
    raw = bytearray(healthy.read_bytes())
    raw[start : start + 8 * n] = struct.pack(f"<{n}q", *offsets)
    path = put(tmp_path / "f", raw)
    e = ef.read(path)
    if (offsets[0] == 0 and max(offsets) == 0) or offsets[-1] == 108:  # they lead to other tokens
        assert "king" not in e
    else:
        with pytest.raises(FormatError, match="the index of the tokens must lead to tokens"):
            assert "king" in e
    with pytest.raises(EmbedFreezeError):
        ef.convert(path, tmp_path / "out.txt")
    assert sorted(os.listdir(tmp_path)) == ["f"]


def test_an_index_without_a_free_slot_ends(healthy: Path, tmp_path: Path) -> None:
    length, header, tensors = parts(healthy)
    start = 8 + length + header["token_index"]["data_offsets"][0]
    for row in (0, 2**31 - 1, -2, -(2**31)):
        raw = bytearray(healthy.read_bytes())
        slots = len(tensors["token_index"]) // 4
        raw[start : start + 4 * slots] = struct.pack("<i", row) * slots
        e = ef.read(put(tmp_path / "f", raw))
        for tokens in (["zzzz"], ["New York", "king"], ["king", "zzzz"]):
            with pytest.raises(FormatError, match="the index of the tokens must lead to tokens"):
                e.tokens.find(tokens)


# ---- what lies beside the matrix ----------------------------------------------------------------


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with everything that one can hold."""
    folder = tmp_path_factory.mktemp("aligned")
    texts = (b"king 1 2\nQueen 3 4\nking 5 6\n[UNK] 7 8\n", b"QUEEN 3 4\nprinces 5 6\n")
    sources = [put(folder / f"{i}.txt", text) for i, text in enumerate(texts)]
    v = ef.Vocabulary(["king", "QUEEN", "prince"], counts={"king": 5, "prince": 2})
    a = ef.load(sources, v, match=("exact", "title"), normalize="l2")
    assert a.coverage is not None
    assert a.coverage.nearest() == {"prince": ["princes"]}
    a.save(folder / "f.safetensors")
    return folder / "f.safetensors"


def answers(path: Path) -> list[object]:
    """All that a store says, of a copy that was held to its digests."""
    e = ef.read(path, seal="copy", unicode_errors="surrogateescape")
    v, counts = e.vocabulary, e.alignment.counts
    return [
        *(list(e.tokens), e.tokens.find(list(e.tokens)).tolist(), bits(e.matrix), e.digest),
        *(v, v and v.counts, None if counts is None else counts.tolist()),
        *(e.coverage and e.coverage.to_dict(None), e.provenance),
    ]


@pytest.mark.parametrize("name", ["healthy", "aligned"])
def test_a_changed_byte_is_found_or_means_nothing(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    healthy: Path = request.getfixturevalue(name)
    data, expected = healthy.read_bytes(), answers(healthy)
    base = 8 + parts(healthy)[0]
    text = data.rindex(b"}", 0, base) + 1
    refused = 0
    for at in [*range(0, text, 5), text, base - 1, *range(base, len(data), 3)]:
        raw = bytearray(data)
        raw[at] ^= 1 << at % 8
        try:
            assert answers(put(tmp_path / "f.safetensors", raw)) == expected
        except EmbedFreezeError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    "name",
    [
        *("token_offsets", "token_index", "token_bytes", "token_counts", "match_stages"),
        *("spelling_offsets", "spelling_bytes"),
    ],
)
def test_every_tensor_is_held_to_the_digest(name: str, aligned: Path, tmp_path: Path) -> None:
    length, header, _ = parts(aligned)
    low, high = header[name]["data_offsets"]
    for at in (low, high - 1):
        raw = bytearray(aligned.read_bytes())
        raw[8 + length + at] ^= 1
        path = put(tmp_path / "f", raw)
        with pytest.raises(FormatError, match="must have the recorded digest .*, received "):
            ef.read(path, seal="copy")
        ef.read(path)  # opening only maps


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", ["token_bytes", "vectors"])
def test_whoever_reads_all_of_a_store_checks_both_digests(
    name: str, packed: bool, aligned: Path, tmp_path: Path
) -> None:
    length, header, _ = parts(aligned)
    raw = bytearray(aligned.read_bytes())
    raw[8 + length + header[name]["data_offsets"][0]] ^= 1
    path = put(tmp_path / "f.safetensors", gzip.compress(raw) if packed else raw)
    target = tmp_path / "g.txt"
    kind = FormatError if name == "token_bytes" else FrozenBytesChanged
    told = f"{path}: .*recorded digest"
    with pytest.raises(kind, match=told):
        ef.convert(path, target)
    with pytest.raises(kind, match=told):
        ef.convert(path, target, limit=1, dtype="float16")
    assert not target.exists()
    problem = ef.inspect(path).problem
    assert problem is not None
    assert "recorded digest" in problem
    assert ef.inspect(path, scan=False).loadable
    with pytest.raises(kind, match="recorded digest"):
        ef.report(path)
    e = ef.read(path)  # opening only maps
    with pytest.raises(kind, match="recorded digest"):
        ef.report(e)
    own = ef.align(e, ef.Vocabulary(["king"]))
    assert ef.report(own).proof is not None  # a table of its own


def test_a_store_that_serves_as_it_is_is_proved_as_a_whole(aligned: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "f.safetensors", aligned.read_bytes())
    vocabulary = ef.read(path).vocabulary
    served = ef.load(path, vocabulary)
    assert served.sealed.guarantee == "watched"
    assert ef.report(served).proof is not None
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    with pytest.raises(FormatError, match="must have the recorded digest"):
        ef.report(served)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(creator="someone"), "the recorded digest .*, received"),
        (lambda m: m.update(more="more"), "the recorded digest .*, received"),
        (lambda m: m.update(rest_digest="0" * 64), "the recorded digest 0*, received"),
        (lambda m: m.update(rest_digest=None, x=1), "must have a rest_digest beside 'rest_digest'"),
        (lambda m: m.update(resd_digest=m.pop("rest_digest")), "beside 'resd_digest'"),
    ],
)
def test_metadata_are_held_to_the_digest(
    change: Callable[[dict[str, Any]], object], words: str, aligned: Path, tmp_path: Path
) -> None:
    path = with_header(aligned, tmp_path / "f", lambda h: change(h["__metadata__"]))
    with pytest.raises(FormatError, match=words):
        ef.read(path, seal="copy")
    assert len(ef.read(path)) == 5


def test_a_store_without_the_digest_opens(aligned: Path, tmp_path: Path) -> None:
    path = with_header(
        aligned, tmp_path / "f", lambda header: header["__metadata__"].pop("rest_digest")
    )
    assert answers(path) == answers(aligned)


def test_a_header_that_nests_deep(aligned: Path, tmp_path: Path) -> None:
    """Deeper than can be written down once more, or read."""
    length, _, _ = parts(aligned)
    data = aligned.read_bytes()
    for depth in (10, 400, 900, 990, 1500, 3000):
        nested = b'{"' + b"padding" + b'":' + b"[" * depth + b"]" * depth + b","
        text = data[8 : 8 + length].rstrip().replace(b'{"__metadata__"', nested + b'"__metadata__"')
        raw = data[:8] + text.ljust(length) + data[8 + length :]
        with pytest.raises(FormatError):
            ef.read(put(tmp_path / "f", raw), seal="copy")


# Each key of the notes that the library uses, with values that it cannot have.
WRONG_NOTES = {
    "coverage": {
        (): [5, [], "x"],
        ("match",): [None, "exact", [1], {}],
        ("sources",): [None, [], {}, ["a"], 5],
        ("sources", 0, "source"): [5, ["x"]],
        ("sources", 0, "special_in_file"): [None, "x", [None]],
        ("sources", 0, "duplicates"): [None, [], {"a": "b"}, {"a": 1.5}, {"a": True}],
        ("nearest",): [None, [], {"prince": "princes"}, {"prince": [5]}],
    },
    "provenance": {
        (): [5, [], None],
        ("steps",): [None, "x", [5], {}],
        ("sources",): [5, "x", [None]],
        ("extended",): [{}, "x", [[]], 1],
        ("transforms",): [5, [], {"unknown": 1}, {"center": True}],
        ("transforms", "center"): [None, 1, "x"],
        ("transforms", "all_but_the_top"): [None, -1, 1.0, True],
        ("transforms", "dim"): [0, -1, "x", 1.5],
        ("transforms", "reduce"): [None, "x", [], "pca"],
        ("transforms", "normalize"): [1, "x", []],
    },
    "vocabulary": {
        (): [5, [], None],
        ("padding",): [5, [], {}],
        ("special",): [None, 5, "ab", [5], {"a": 1}],
        ("splitter",): [5, "x", [], {"lowercase": 1}, {"tokenizer": 5}],
    },
}


@pytest.mark.parametrize(
    ("key", "place", "value"),
    [
        pytest.param(key, place, value, id=f"{key}-{'-'.join(map(str, place))}-{value}")
        for key, places in WRONG_NOTES.items()
        for place, values in places.items()
        for value in values
    ],
)
def test_notes_of_another_shape(
    key: str, place: tuple[Any, ...], value: object, aligned: Path, tmp_path: Path
) -> None:
    def change(header: dict[str, Any]) -> None:
        holder = {"notes": json.loads(header["__metadata__"][key])}
        *way, last = ("notes", *place)
        inner: Any = holder
        for step in way:
            inner = inner[step]
        inner[last] = value
        header["__metadata__"][key] = json.dumps(holder["notes"])

    path = with_header(aligned, tmp_path / "f", change)
    with pytest.raises(FormatError, match="cannot be read") as caught:
        ef.read(path)
    assert str(path) in str(caught.value)


def test_an_edit_while_in_use_is_noticed(healthy: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "f", healthy.read_bytes())
    e = ef.read(path)
    assert e.sealed is not None
    e.sealed.check()
    raw = path.read_bytes()
    at = raw.index(bits(table(len(TOKENS), 3))[:24])
    with open(path, "r+b") as file:
        file.seek(at + 5)
        file.write(b"\xaa")
    with pytest.raises(FrozenBytesChanged, match="block 0"):
        e.sealed.check()


def test_threads_look_up_at_once(healthy: Path) -> None:
    e = ef.read(healthy)
    results: list[list[int]] = []

    def look() -> None:
        results.append([e.index(t) for t in TOKENS * 50])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(len(TOKENS))) * 50] * 4
