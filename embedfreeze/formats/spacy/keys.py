"""The keys of spaCy's vectors: hashes of strings, the numbers of its symbols, and a map to rows.

A key is MurmurHash64A of the string's UTF-8 with seed 1, but for some words that spaCy uses as
symbols, such as "DATE" or "number", whose key is a small number; ``key2row`` is a MessagePack map
of keys to rows. Sources: ``strings.pyx``, ``symbols.pyx`` and ``vectors.pyx`` of
https://github.com/explosion/spaCy, and https://github.com/msgpack/msgpack/blob/master/spec.md.
Such a map is read here, in bounds, rather than by a library that would be one more to install.
"""

from __future__ import annotations

import struct
from array import array

import numpy as np
import numpy.typing as npt

from embedfreeze import _kernel
from embedfreeze.errors import FormatError
from embedfreeze.tokens import Tokens

__all__ = ["MAP_BYTES", "SYMBOLS", "keys_of", "map_head", "packed_map", "read_map"]

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]
SEED = 1
_NAMES = (
    ["", "IS_ALPHA IS_ASCII IS_DIGIT IS_LOWER IS_PUNCT IS_SPACE IS_TITLE IS_UPPER LIKE_URL"],
    ["LIKE_NUM LIKE_EMAIL IS_STOP IS_OOV_DEPRECATED IS_BRACKET IS_QUOTE IS_LEFT_PUNCT"],
    ["IS_RIGHT_PUNCT IS_CURRENCY", *(f"FLAG{i}" for i in range(19, 64))],
    ["ID ORTH LOWER NORM SHAPE PREFIX SUFFIX LENGTH CLUSTER LEMMA POS TAG DEP ENT_IOB ENT_TYPE"],
    ["HEAD SENT_START SPACY PROB LANG ADJ ADP ADV AUX CONJ CCONJ DET INTJ NOUN NUM PART PRON"],
    ["PROPN PUNCT SCONJ SYM VERB X EOL SPACE", *(f"DEPRECATED{i:03}" for i in range(1, 277))],
    ["PERSON NORP FACILITY ORG GPE LOC PRODUCT EVENT WORK_OF_ART LANGUAGE LAW DATE TIME PERCENT"],
    ["MONEY QUANTITY ORDINAL CARDINAL acomp advcl advmod agent amod appos attr aux auxpass cc"],
    ["ccomp complm conj cop csubj csubjpass dep det dobj expl hmod hyph infmod intj iobj mark"],
    ["meta neg nmod nn npadvmod nsubj nsubjpass num number oprd obj obl parataxis partmod pcomp"],
    ["pobj poss possessive preconj prep prt punct quantmod relcl rcmod root xcomp acl ENT_KB_ID"],
    ["MORPH ENT_ID IDX _"],
)
SYMBOLS = Tokens.from_strings(n for line in _NAMES for names in line for n in names.split(" "))
MAP_BYTES = 5  # before the entries of a map of any size
_ENTRY_BYTES = 2  # at least
_NUMBERS = {  # by the first byte of a number: what follows
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}
_SIZES = {0xDE: struct.Struct(">H"), 0xDF: struct.Struct(">I")}
_STORED = np.dtype([("u64", "u1"), ("key", ">u8"), ("u32", "u1"), ("row", ">u4")])


def keys_of(tokens: Tokens) -> UInt64:
    """The key of each token, uint64 [n]."""
    keys = np.empty(len(tokens), np.uint64)
    _kernel.murmur_tokens(tokens.blob, tokens.offsets, SEED, keys)
    symbols = SYMBOLS.find(tokens)
    return np.where(symbols >= 0, symbols.astype(np.uint64), keys)


def read_map(data: bytes, path: str) -> tuple[UInt64, Int64]:
    """Keys and rows of a map, in the order of the file.

    Raises
    ------
    FormatError
        It is no map of whole numbers to whole numbers.
    """
    count, at = _count(data, path)
    if count > (len(data) - at) // _ENTRY_BYTES:
        raise _no_map(path, at, f"{count} entries in {len(data) - at} bytes")
    keys, rows = array("Q"), array("q")
    try:
        for _ in range(count):
            key, at = _number(data, at, path)
            row, at = _number(data, at, path)
            keys.append(key)
            rows.append(row)
    except OverflowError:
        raise _no_map(path, at, "a key below 0 or a row above 2^63") from None
    if at < len(data):
        raise _no_map(path, at, "more bytes behind it")
    return np.array(keys, np.uint64), np.array(rows, np.int64)


def _count(data: bytes, path: str) -> tuple[int, int]:
    first = data[0] if data else 0
    if first & 0xF0 == 0x80:
        return first & 0x0F, 1
    size = _SIZES.get(first)
    if size is None or len(data) < 1 + size.size:
        raise _no_map(path, 0, repr(data[:8]))
    return size.unpack_from(data, 1)[0], 1 + size.size


def _number(data: bytes, at: int, path: str) -> tuple[int, int]:
    """A number, and where the next one begins."""
    first = data[at] if at < len(data) else 0xC1  # which means nothing
    if first < 0x80:
        return first, at + 1
    layout = _NUMBERS.get(first)
    if layout is None or at + 1 + layout.size > len(data):
        raise _no_map(path, at, repr(data[at : at + 9]))
    return layout.unpack_from(data, at + 1)[0], at + 1 + layout.size


def _no_map(path: str, at: int, received: str) -> FormatError:
    return FormatError(
        f"key2row must be a MessagePack map of keys to rows, received {received}: the file is "
        f"truncated or damaged, get it again",
        path=path,
        offset=at,
    )


def map_head(count: int) -> bytes:
    """The start of a map; `MAP_BYTES`."""
    return struct.pack(">BI", 0xDF, count)


def packed_map(keys: UInt64, first: int) -> bytes:
    """Entries of a map, of keys to the rows from `first` on."""
    entries = np.empty(len(keys), _STORED)
    entries["u64"], entries["u32"] = 0xCF, 0xCE
    entries["key"], entries["row"] = keys, np.arange(first, first + len(keys))
    return entries.tobytes()
