"""Entries of NumPy arrays, of safetensors files of others, of models, and of their tokens."""

import io
import json
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
from entries import Entry, Make, Read, Refused
from of_text import KINGS, VALUES
from samples import put

MATRIX = np.array(VALUES, np.float32)
WORDS = [token.decode() for token in KINGS]
NAME_ANOTHER = "name another file with tokens= (--tokens)"
NO_HEADER = "an array must begin with a header of NumPy's, versions 1 and 2 ({...}): the file is "
CLAIM = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }"


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def beside(data: bytes, tokens: bytes, form: str = "json", name: str = "f.npy") -> Make:
    """A file, and its tokens beside it."""

    def make(folder: Path) -> Path:
        put(folder / f"f.tokens.{form}", tokens)
        return put(folder / name, data)

    return make


def array(array: np.ndarray) -> Make:
    return beside(npy(array), json.dumps(WORDS).encode())


def listed(tokens: object) -> Make:
    return beside(npy(MATRIX), json.dumps(tokens).encode())


def claimed(shape: str) -> Make:
    text = (CLAIM % shape).encode()
    head = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text
    return beside(head + MATRIX.tobytes(), json.dumps(WORDS).encode())


def archive(**arrays: np.ndarray) -> Make:
    def make(folder: Path) -> Path:
        np.savez(folder / "f.npz", **arrays)
        return folder / "f.npz"

    return make


def bomb(folder: Path) -> Path:
    """A gigabyte of zeros is called one array, and takes a megabyte."""
    shape = f"{10**7}, 25"
    text = (CLAIM % shape).encode()
    with zipfile.ZipFile(folder / "f.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        with packed.open("vectors.npy", "w") as member:
            member.write(b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text)
            for _ in range(1000):
                member.write(bytes(10**6))
        packed.writestr("words.npy", npy(np.array(WORDS)))
    return folder / "f.npz"


def flipped(folder: Path) -> Path:
    path = archive(vectors=MATRIX, words=np.array(WORDS))(folder)
    data = bytearray(path.read_bytes())
    data[data.index(MATRIX.tobytes())] ^= 1
    return put(path, bytes(data))


def tensors(tokens: Sequence[str] = WORDS, **arrays: np.ndarray) -> Make:
    def make(folder: Path) -> Path:
        put(folder / "vocab.txt", "".join(f"{token}\n" for token in tokens).encode())
        safetensors.numpy.save_file(arrays, folder / "f.safetensors")
        return folder / "f.safetensors"

    return make


def model(ids: dict[str, int], **arrays: np.ndarray) -> Make:
    def make(folder: Path) -> Path:
        content = {"added_tokens": [], "model": {"type": "WordLevel", "vocab": ids}}
        put(folder / "tokenizer.json", json.dumps(content).encode())
        safetensors.numpy.save_file(arrays, folder / "model.safetensors")
        return folder / "model.safetensors"

    return make


IDS = {token: i for i, token in enumerate(WORDS)}
ARRAYS = [
    Entry(
        "an array of Python objects, which are a pickle",
        array(np.array([["a", 1]], object)),
        Refused(
            "{path}: the array must be floats of 16, 32 or 64 bits [rows, dim], received pickled "
            "Python objects, which can run any code and are not opened: save numbers with "
            "numpy.save(path, matrix.astype('float32')), and words with dtype=str"
        ),
    ),
    Entry(
        "an array of int8",
        array(np.ones((3, 2), np.int8)),
        Refused(
            "{path}: the array must be floats of 16, 32 or 64 bits [rows, dim], received [3, 2] "
            "int8, integers, which may be quantised values whose scale is not in the file: save "
            "it as float32"
        ),
    ),
    Entry("an array by columns", array(np.asfortranarray(MATRIX)), Read(KINGS, VALUES)),
    Entry("an array of big-endian float64", array(MATRIX.astype(">f8")), Read(KINGS, VALUES)),
    Entry(
        "an array that is cut",
        beside(npy(MATRIX)[:-3], json.dumps(WORDS).encode()),
        Refused(
            "{path}: byte offset 149: the header promises 3 rows of 2 values, 24 bytes, received "
            "21 (2 rows): the file is truncated, get it again"
        ),
    ),
    Entry(
        "an array that claims 10^15 rows",
        claimed(f"{10**15}, 2"),
        Refused(
            "{path}: byte offset 108: the header promises 1000000000000000 rows of 2 values, "
            "8000000000000000 bytes, received 24 (3 rows): the file is truncated, get it again"
        ),
    ),
    Entry(
        "an array of a shape below zero",
        claimed("-3, -2"),
        Refused("{path}: byte offset 0: " + NO_HEADER + "damaged or no array, get it again"),
    ),
    Entry(
        "a header of an array that nests 1,000 deep",
        claimed("(" * 1000),
        Refused("{path}: byte offset 0: " + NO_HEADER + "damaged or no array, get it again"),
    ),
    Entry(
        "fewer tokens than an array has rows",
        listed(WORDS[:2]),
        Refused(
            "{...}f.tokens.json: each row needs a token, received 2 tokens for 3 rows: "
            + NAME_ANOTHER
        ),
    ),
    Entry(
        "a map of tokens in which two name one row",
        listed({WORDS[0]: 0, WORDS[1]: 1, WORDS[2]: 1}),
        Refused(
            "{...}f.tokens.json: tokens must name different rows, received row 1 for "
            f"{KINGS[1]!r} and for {KINGS[2]!r}: " + NAME_ANOTHER
        ),
    ),
    Entry(
        "a list of tokens that nests 100,000 deep",
        beside(npy(MATRIX), b"[" * 100_000),
        Refused(
            "{...}f.tokens.json: byte offset 1: the JSON of a side file must be a list of tokens, "
            f"or a map of tokens to rows, received b'{'[' * 40}': " + NAME_ANOTHER
        ),
    ),
    Entry(
        "an archive with two matrices",
        archive(a=MATRIX, b=MATRIX, words=np.array(WORDS)),
        Refused(
            "{path}: one 2-D array of floats is needed unless member= (--member) names one, "
            "received a [3, 2] float32, b [3, 2] float32"
        ),
    ),
    Entry(
        "an archive whose words are a pickle",
        archive(vectors=MATRIX, words=np.array(WORDS, object)),
        Refused(
            "{path}: one array of 3 strings is needed for the tokens, received vectors [3, 2] "
            "float32, words [3] object: name an array or a file of them with tokens= (--tokens); "
            "pickled objects can run any code and are not opened: save words with dtype=str"
        ),
    ),
    Entry(
        "an archive with a changed value",
        flipped,
        Refused(
            "{path}: the zip data cannot be read to its end (Bad CRC-32 for file 'vectors.npy'): "
            "it is damaged or cut off, get it again"
        ),
    ),
    Entry(
        "a gigabyte of zeros in an archive of a megabyte",
        bomb,
        Refused(
            "{path}: one array of 10000000 strings is needed for the tokens, received vectors "
            "[10000000, 25] float32, words [3] <U{...}: name an array or a file of them with "
            "tokens= (--tokens)"
        ),
    ),
    Entry(
        "two tables in a safetensors file",
        tensors(one=MATRIX, two=MATRIX),
        Refused(
            "{path}: one 2-D tensor of floats is needed unless member= (--member) names one, "
            "received {...}"
        ),
    ),
    Entry(
        "a vocabulary of another model",
        tensors(WORDS[:2], table=MATRIX),
        Refused(
            "{...}vocab.txt: each row needs a token, received 2 tokens for 3 rows: " + NAME_ANOTHER
        ),
    ),
    Entry(
        "a tokenizer with more tokens than rows",
        model({**IDS, "more": 3}, embeddings=MATRIX),
        Refused(
            "{...}tokenizer.json: the rows that tokens name must be those of the matrix, 0 to 2, "
            "received 3 for b'more' (and 0 more such tokens of 4): " + NAME_ANOTHER
        ),
    ),
    Entry(
        "a model that maps a token beyond its rows",
        model(IDS, embeddings=MATRIX, mapping=np.array([0, 1, 3])),
        Refused(
            "{path}: mapping must name rows of the 3, received {...}: it is no model of model2vec, "
            "name its tensor with format='safetensors' (--from) and member= (--member)"
        ),
    ),
    Entry(
        "a model with rows that no token has",
        model(IDS, embeddings=np.concatenate([MATRIX, MATRIX])),
        Read(KINGS, VALUES),
    ),
]
