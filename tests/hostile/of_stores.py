"""Entries of damaged stores: headers, shapes, offsets, index, digests."""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from entries import Entry, Make, Read, Refused, holding
from of_text import KINGS, VALUES
from samples import put

import embedfreeze as ef
from embedfreeze import storage
from embedfreeze.errors import FrozenBytesChanged

MATRIX = np.array(VALUES, np.float32)
BFLOAT16 = storage.converted(MATRIX, "bfloat16")
INT8 = storage.converted(MATRIX, "int8")
OTHER_REST = Refused(
    "{path}: what lies beside the matrix must have the recorded digest {...}, received {...}: the "
    "file is damaged or no store of this library, get it or make it again"
)
NO_ROW = (
    "no token of the vocabulary has a row in {path}: check that they are the same language and "
    "spelling; match=('exact',) (--match)"
)


def healthy(folder: Path, matrix: np.ndarray = MATRIX) -> bytes:
    path = folder / "healthy.safetensors"
    ef.write(ef.Embeddings([token.decode() for token in KINGS], matrix), path)
    data = path.read_bytes()
    path.unlink()
    return data


def parts(data: bytes) -> tuple[int, dict[str, Any]]:
    """Where the tensors start, and the header."""
    (length,) = struct.unpack("<Q", data[:8])
    return 8 + length, json.loads(data[8 : 8 + length])


def with_header(change: Callable[[dict[str, Any]], object], matrix: np.ndarray = MATRIX) -> Make:
    """A store whose header is changed, and stays as long as it was."""

    def make(folder: Path) -> Path:
        data = healthy(folder, matrix)
        base, header = parts(data)
        change(header)
        text = json.dumps(header).encode().ljust(base - 8)
        assert len(text) == base - 8
        return put(folder / "f.safetensors", data[:8] + text + data[base:])

    return make


def with_text(old: bytes, new: bytes) -> Make:
    """A store whose header has another text, and stays as long as it was."""

    def make(folder: Path) -> Path:
        data = healthy(folder)
        base, _ = parts(data)
        assert data.count(old, 8, base) == 1
        text = data[8:base].replace(old, new).rstrip().ljust(base - 8)
        return put(folder / "f.safetensors", data[:8] + text + data[base:])

    return make


def with_tensor(name: str, change: Callable[[np.ndarray], np.ndarray], dtype: str) -> Make:
    """A store with other values in one of its tensors."""

    def make(folder: Path) -> Path:
        data = bytearray(healthy(folder))
        base, header = parts(data)
        low, high = (base + offset for offset in header[name]["data_offsets"])
        data[low:high] = change(np.frombuffer(data[low:high], dtype)).astype(dtype).tobytes()
        return put(folder / "f.safetensors", bytes(data))

    return make


def changed(cut: Callable[[bytes], bytes]) -> Make:
    return lambda folder: put(folder / "f.safetensors", cut(healthy(folder)))


def another(folder: Path) -> Path:
    safetensors.numpy.save_file({"embedding.weight": MATRIX}, folder / "f.safetensors")
    return folder / "f.safetensors"


def entry_of(name: str, **fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda header: header[name].update(fields)


def shift(header: dict[str, Any], name: str, by: int) -> None:
    header[name]["data_offsets"] = [offset + by for offset in header[name]["data_offsets"]]


def one_byte_less(header: dict[str, Any]) -> None:
    low, high = header["token_bytes"]["data_offsets"]
    header["token_bytes"].update(data_offsets=[low, high - 1], shape=[high - 1 - low])


def longer(data: bytes) -> bytes:
    return data + b"more"


def of_header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def swapped(slots: np.ndarray) -> np.ndarray:
    """Each row in the slot of another."""
    return np.where(slots >= 0, (slots + 1) % 3, slots)


def deep_vocabulary(folder: Path) -> Path:
    data = healthy(folder)
    base, header = parts(data)
    header["__metadata__"]["vocabulary"] = "[" * 100_000
    text = json.dumps(header).encode()
    text = text.ljust(len(text) + -(8 + len(text) + header["vectors"]["data_offsets"][0]) % 4096)
    return put(folder / "f.safetensors", struct.pack("<Q", len(text)) + text + data[base:])


STORES = [
    Entry(
        "a store cut in its header",
        changed(lambda data: data[:500]),
        Refused(
            "{path}: the header must lie in the file, received one of 16280 bytes in a "
            "file of 500: the file is damaged or no store of this library, get it or "
            "make it again"
        ),
    ),
    Entry(
        "a store cut in its matrix",
        changed(lambda data: data[:-20]),
        Refused(
            "{path}: the tensor vectors [3, 2] does not fit its bytes in the file: the "
            "file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a store with bytes behind it",
        changed(longer),
        Refused(
            "{path}: tensors must lie one behind the other, received "
            "the end of the file at byte 16424 where the one before it ends at 16420: the "
            "file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a header of 2^63 bytes",
        holding(struct.pack("<Q", 2**63) + b"{}"),
        Refused(
            "{path}: the content is b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80{}': get the "
            "file again, or name its format with format= (--from) if you know it; it must be "
            "one of {formats}"
        ),
    ),
    Entry(
        "a header beyond the end of the file",
        holding(struct.pack("<Q", 10**7) + b"{}"),
        Refused(
            "{path}: the header must lie in the file, received one of 10000000 bytes in "
            "a file of 10: the file is damaged, get it again"
        ),
    ),
    Entry(
        "a header that is not JSON",
        holding(of_header(b"{king 1 2}")),
        Refused("{path}: the header must be JSON ({...}): the file is damaged, get it again"),
    ),
    Entry(
        "a header that is not UTF-8",
        holding(of_header(b'{"\xff": 1}')),
        Refused("{path}: the header must be JSON ({...}): the file is damaged, get it again"),
    ),
    Entry(
        "a header that nests 100,000 deep",
        holding(of_header(b'{"a":' + b"[" * 100_000)),
        Refused("{path}: the header must be JSON ({...}): the file is damaged, get it again"),
    ),
    Entry(
        "a key that stands twice",
        with_text(b'"vectors":', b'"token_index":1,"vectors":'),
        Refused(
            "{path}: the header must be JSON (the key 'token_index' stands twice): the "
            "file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "NaN in a header",
        with_text(b'"shape":[3,2]', b'"shape":[NaN,2]'),
        Refused(
            "{path}: the header must be JSON (NaN is no number of JSON): the file is "
            "damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a shape below zero",
        with_header(entry_of("vectors", shape=[-3, -2])),
        Refused(
            "{path}: the tensor vectors [-3, -2] does not fit its bytes in the file: the "
            "file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a shape of 10^18 rows",
        with_header(entry_of("vectors", shape=[10**18, 2])),
        Refused(
            "{path}: the tensor vectors [1000000000000000000, 2] does not fit its bytes "
            "in the file: the file is damaged or no store of this library, get it or "
            "make it again"
        ),
        where="child",
    ),
    Entry(
        "an offset below zero",
        with_header(entry_of("token_offsets", data_offsets=[-8, 24])),
        Refused(
            "{path}: the tensor token_offsets [4] does not fit its bytes in the file: "
            "the file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "an offset beyond the file",
        with_header(entry_of("vectors", data_offsets=[10**9, 10**9 + 24])),
        Refused(
            "{path}: the tensor vectors [3, 2] does not fit its bytes in the file: the "
            "file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a dtype of another width",
        with_header(entry_of("vectors", dtype="F16")),
        Refused(
            "{path}: the tensor vectors [3, 2] does not fit its bytes in the file: the "
            "file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a dtype that stores do not have",
        with_header(entry_of("vectors", dtype="F64")),
        Refused(
            "{path}: the tensor vectors [3, 2] does not fit its bytes in the file: the "
            "file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "tensors that overlap",
        with_header(lambda h: shift(h, "token_index", -8)),
        Refused(
            "{path}: tensors must lie one behind the other, received "
            "token_index at byte 16312 where the one before it ends at 16320: the "
            "file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a byte that no tensor has",
        with_header(one_byte_less),
        Refused(
            "{path}: tensors must lie one behind the other, received "
            "the end of the file at byte 16420 where the one before it ends at 16419: the "
            "file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a matrix that is missing",
        with_header(lambda h: h.pop("vectors")),
        Refused(
            "{path}: the header must describe the tensor vectors: the file is damaged or "
            "no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "offsets of tokens that fall",
        with_tensor("token_offsets", lambda a: a[::-1], "<i8"),
        Refused(
            "{path}: row 0: offsets of tokens must rise from 0 to 12, received 12 and 9: "
            "the file is damaged, get it again"
        ),
        load=Refused(
            "{path}: the index of the tokens must lead to tokens, received one that does "
            "not: the file is damaged, get it again"
        ),
        inspect=Refused(
            "{path}: token_offsets must rise from 0 to 12: the file is damaged or no "
            "store of this library, get it or make it again"
        ),
        convert=OTHER_REST,
    ),
    Entry(
        "offsets of tokens outside of the file",
        with_tensor("token_offsets", lambda a: a + 2**60, "<i8"),
        Refused(
            "{path}: row 0: offsets of tokens must rise from 0 to 12, received "
            "1152921504606846976 and 1152921504606846980: the file is damaged, get it "
            "again"
        ),
        load=Refused(
            "{path}: the index of the tokens must lead to tokens, received one that does "
            "not: the file is damaged, get it again"
        ),
        inspect=Refused(
            "{path}: token_offsets must rise from 0 to 12: the file is damaged or no "
            "store of this library, get it or make it again"
        ),
        convert=OTHER_REST,
    ),
    Entry(
        "an index without a free slot",
        with_tensor("token_index", lambda a: np.where(a < 0, 0, a), "<i4"),
        Refused(
            "{path}: the index of the tokens must lead to tokens, received one that does "
            "not: the file is damaged, get it again"
        ),
        only=lambda path, _: ef.load(path, ef.Vocabulary(["king", "prince"])),
    ),
    Entry(
        "an index of rows that do not exist",
        with_tensor("token_index", lambda a: np.where(a < 0, a, 10**9), "<i4"),
        Refused(
            "{path}: the index of the tokens must lead to tokens, received one that does "
            "not: the file is damaged, get it again"
        ),
        inspect=Read(KINGS, VALUES),
        convert=OTHER_REST,
    ),
    Entry(
        "an index with rows below -1",
        with_tensor("token_index", lambda a: np.full_like(a, -7), "<i4"),
        Refused(
            "{path}: the index of the tokens must lead to tokens, received one that does "
            "not: the file is damaged, get it again"
        ),
        inspect=Read(KINGS, VALUES),
        convert=OTHER_REST,
    ),
    Entry(
        "tokens that are not UTF-8 in a store",
        with_tensor("token_bytes", lambda a: a | 0x80, "u1"),
        Refused(
            "{path}: row 0: tokens must be UTF-8, received b'\\xeb\\xe9\\xee\\xe7': pass "
            'unicode_errors="replace" or "surrogateescape" (--unicode-errors) to take it'
        ),
        load=Read([], [], (NO_ROW,)),
        inspect=Read([b"\xeb\xe9\xee\xe7", b"\xf1\xf5\xe5\xe5\xee", b"\xed\xe1\xee"], VALUES),
        convert=OTHER_REST,
    ),
    Entry(
        "a digest of another matrix",
        with_header(lambda h: h["__metadata__"].update(digest="0" * 64)),
        Refused(
            "{path}: the block digests must have the recorded digest "
            "0000000000000000000000000000000000000000000000000000000000000000, received "
            "e0fc5b2d41456fa269a8cdbe62c4fefe4787689141fad80247786cfa9f575e8e: the file "
            "is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a changed value, sealed and verified",
        with_tensor("vectors", lambda a: a + 1, "<f4"),
        Refused(
            "{path}: the bytes 0 to 1048576 of the matrix (block 0) do not have their "
            "recorded digest: get the file or make it again",
            FrozenBytesChanged,
        ),
        only=lambda path, _: ef.read(path, seal="copy"),
    ),
    Entry(
        "a changed value, verified later",
        with_tensor("vectors", lambda a: a + 1, "<f4"),
        Refused(
            "the bytes 0 to 1048576 of the matrix (block 0) do not have their recorded digest",
            FrozenBytesChanged,
        ),
        only=lambda path, _: ef.read(path).sealed.verify(deep=True),
    ),
    Entry(
        "a store of a later version",
        with_header(lambda h: h["__metadata__"].update(format_version="2")),
        Refused(
            "{path}: the store must have version 1 and hash embedfreeze-1, received '2' "
            "and 'embedfreeze-1': the file is damaged or no store of this library, get "
            "it or make it again"
        ),
    ),
    Entry(
        "a vocabulary that cannot be read",
        with_header(lambda h: h["__metadata__"].update(vocabulary="[")),
        Refused(
            "{path}: the vocabulary cannot be read ({...}): the file is damaged or no "
            "store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a vocabulary that nests 100,000 deep",
        deep_vocabulary,
        Refused(
            "{path}: the vocabulary cannot be read ({...}): the file is damaged or no "
            "store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a safetensors file without tokens",
        another,
        Refused(
            "{path}: the tokens of the 3 rows of embedding.weight must lie beside the file, in "
            "tokenizer.json, vocab.json, vocab.txt or <stem>.tokens.json, received none of these: "
            "name a file or a tensor of them with tokens= (--tokens); the file has "
            "embedding.weight [3, 2] F32"
        ),
    ),
    Entry(
        "a packed store",
        lambda folder: put(folder / "f.gz", gzip.compress(healthy(folder))),
        Read(KINGS, VALUES),
    ),
    Entry(
        "a changed token, sealed and verified",
        with_tensor("token_bytes", lambda a: a + 1, "u1"),
        OTHER_REST,
        only=lambda path, _: ef.read(path, seal="copy"),
    ),
    Entry(
        "a coverage of another shape",
        with_header(lambda h: h["__metadata__"].update(coverage="[]")),
        Refused(
            "{path}: the coverage cannot be read (the coverage must be an object, received "
            "[]): the file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "a provenance of another shape",
        with_header(lambda h: h["__metadata__"].update(provenance='{"steps": "l2"}')),
        Refused(
            "{path}: the provenance cannot be read (steps of the provenance cannot be "
            "'l2'): the file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "bfloat16 in the bytes of float32",
        with_header(entry_of("vectors", dtype="BF16")),
        Refused(
            "{path}: the tensor vectors [3, 2] does not fit its bytes in the file: the "
            "file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "bfloat16 behind the start of a page",
        with_header(lambda h: shift(h, "vectors", 2), BFLOAT16),
        Refused(
            "{path}: vectors must be floats [n, dim], or int8 [n, dim + 4], at a multiple of "
            "4096: the file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "rows of int8 that are a scale alone",
        with_header(entry_of("vectors", dtype="I8", shape=[3, 4]), MATRIX[:, :1].copy()),
        Refused(
            "{path}: rows of int8 must be values and 4 bytes of a scale, received vectors "
            "[3, 4]: the file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "rows of int8 that are shorter than a scale",
        with_header(entry_of("vectors", shape=[6, 3]), INT8),
        Refused(
            "{path}: rows of int8 must be values and 4 bytes of a scale, received vectors "
            "[6, 3]: the file is damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "rows of int8 of another number",
        with_header(entry_of("vectors", shape=[2, 9]), INT8),
        Refused(
            "{path}: the tensors of 2 rows must be [('I64', (3,)), ('U8', (1, 32)), ('U8', "
            "(12,))], received [('I64', (4,)), ('U8', (1, 32)), ('U8', (12,))]: the file is "
            "damaged or no store of this library, get it or make it again"
        ),
    ),
    Entry(
        "float32 that is called int8, sealed and verified",
        with_header(entry_of("vectors", dtype="I8", shape=[3, 8])),
        OTHER_REST,
        only=lambda path, _: ef.read(path, seal="copy"),
    ),
]
