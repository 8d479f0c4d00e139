"""Files of finalfusion, Magnitude and gensim that are damaged, or do harm to who runs them."""

import gzip
import os
import pickle
import sqlite3
import struct
from pathlib import Path

import numpy as np
from entries import Entry, Make, Read, Refused, holding
from samples import put

import embedfreeze as ef

WORDS = b"\4\0\0\0king\5\0\0\0queen"
VALUES = [[1, 2], [3, 4]]
NOT_OPENED = (
    "{path}: a Python pickle, as gensim's save() writes it, can run any code and is not opened: "
    "pass allow_pickle=True (--allow-pickle) if you trust who made it, or write the vectors in "
    "gensim with save_word2vec_format() and read that"
)
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


def fifu(
    words: bytes = WORDS,
    count: int = 2,
    rows: int = 2,
    *,
    named: tuple[int, ...] = (1, 2),
    kind: int = 1,
    dtype: int = 10,
    size: int | None = None,
) -> bytes:
    """A finalfusion file of a simple vocabulary and an array, of which single numbers lie."""
    data = struct.pack(f"<4sII{len(named)}I", b"FiFu", 0, len(named), *named)
    data += struct.pack("<IQQ", kind, 8 + len(words) if size is None else size, count) + words
    padding = 4 - (len(data) + 28) % 4
    values = np.array(VALUES, "<f4").tobytes()
    head = struct.pack("<IQQII", 2, 16 + padding + len(values), rows, 2, dtype)
    return data + head + bytes(padding) + values


def magnitude(*statements: str) -> Make:
    """A Magnitude file of two rows, after SQL was run on it."""

    def make(folder: Path) -> Path:
        database = sqlite3.connect(folder / "f", isolation_level=None)
        for statement in (
            "CREATE TABLE magnitude (key TEXT, dim_0 INTEGER, dim_1 INTEGER, magnitude REAL)",
            "CREATE TABLE magnitude_format (key TEXT, value INTEGER)",
            "INSERT INTO magnitude VALUES ('king', 6, 8, 10.0), ('queen', 8, 6, 10.0)",
            "INSERT INTO magnitude_format VALUES ('size', 2), ('dim', 2), ('precision', 1)",
            *statements,
        ):
            database.execute(statement)
        database.close()
        return folder / "f"

    return make


def cut(make: Make, size: int) -> Make:
    def cutting(folder: Path) -> Path:
        path = make(folder)
        return put(path, path.read_bytes()[:size])

    return cutting


class Bomb:
    """What ends the process when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (66,)


def lone_pickle(folder: Path) -> Path:
    """KeyedVectors whose array is gone."""
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(2)
    vectors.add_vectors(["king", "queen"], np.array(VALUES, np.float32))
    vectors.save(str(folder / "f"), separately=["vectors"])
    (folder / "f.vectors.npy").unlink()
    return folder / "f"


DAMAGED = "the file is damaged, get it again"
LIBRARIES = [
    Entry("a finalfusion file", holding(fifu()), Read([b"king", b"queen"], VALUES)),
    Entry(
        "a finalfusion file of 2^60 words",
        holding(fifu(count=2**60)),
        Refused(
            "{path}: byte offset 32: 1152921504606846976 words must fit 17 bytes, received "
            "too many: "
            f"{DAMAGED}"
        ),
    ),
    Entry(
        "a word of 4 GB",
        holding(fifu(b"\xff" * 4 + WORDS[4:])),
        Refused(
            f"{{path}}: byte offset 40: a string must end before byte 57, received a longer "
            f"one: {DAMAGED}"
        ),
    ),
    Entry(
        "an array of 2^60 rows",
        holding(fifu(rows=2**60)),
        Refused(
            "{path}: byte offset 88: an array must fit its chunk, which ends at byte 104, received "
            f"float32 [1152921504606846976, 2]: {DAMAGED}"
        ),
    ),
    Entry(
        "an array of a row too few",
        holding(fifu(rows=1)),
        Refused(
            "{path}: byte offset 32: the array must have a row for each of 2 words and 0 "
            "buckets of "
            f"n-grams, received 1: {DAMAGED}"
        ),
    ),
    Entry(
        "an array of a dtype that there is not",
        holding(fifu(dtype=99)),
        Refused(
            "{path}: byte offset 81: the values must be of dtype 10 (float32), received 99: "
            "write the "
            "file with float32 values"
        ),
    ),
    Entry(
        "a chunk of 2^63 bytes",
        holding(fifu(size=2**63)),
        Refused(
            "{path}: byte offset 20: chunk 1 must end before byte 104, received "
            "9223372036854775808 "
            f"bytes: {DAMAGED}"
        ),
    ),
    Entry(
        "a vocabulary without words",
        holding(fifu(kind=9, named=(9, 2))),
        Refused(
            "{path}: a finalfusion file must hold one vocabulary of words, received a floret one, "
            "without words: write the words and their vectors as text or word2vec binary"
        ),
    ),
    Entry(
        "norms that are named and not there",
        holding(fifu(named=(1, 2, 6))),
        Refused(
            "{path}: byte offset 108: the chunks that the header names must be there, "
            "received none "
            "of kind 6: the file is cut off at byte 108, get it again"
        ),
    ),
    Entry("a Magnitude file", magnitude(), Read([b"king", b"queen"], [[6, 8], [8, 6]])),
    Entry(
        "a view that never ends in place of Magnitude's table",
        magnitude(
            "DROP TABLE magnitude",
            f"CREATE VIEW magnitude AS {ENDLESS} SELECT i AS key, 1 AS dim_0, 1 AS dim_1 FROM n",
        ),
        Refused(
            "{path}: an SQLite file must be Magnitude's, with the plain tables magnitude and "
            "magnitude_format, received table magnitude_format, view magnitude: export it as text"
        ),
    ),
    Entry(
        "a column that computes a gigabyte",
        magnitude(
            "DROP TABLE magnitude",
            "CREATE TABLE magnitude (key TEXT, dim_0 AS (zeroblob(1000000000)))",
        ),
        Refused(
            "{path}: the table magnitude must have the columns key, dim_0 ... and magnitude, "
            "none of "
            "them computed, received key, dim_0: it is not Magnitude's, or newer"
        ),
    ),
    Entry(
        "a trigger on what is only read",
        magnitude("CREATE TRIGGER harm AFTER INSERT ON magnitude BEGIN DELETE FROM magnitude; END"),
        Read([b"king", b"queen"], [[6, 8], [8, 6]]),
    ),
    Entry(
        "a database cut in its last page",
        cut(magnitude(), 12000),
        Refused(
            "{path}: byte offset 12000: the header promises 3 pages of 4096 bytes, received 12000 "
            "bytes: the file is truncated, get it again"
        ),
    ),
    Entry(
        "a value that is text",
        magnitude("UPDATE magnitude SET dim_1 = 'x'"),
        Refused(
            f"{{path}}: row 0: values must be numbers, received (6, b'x', 10.0) ...: {DAMAGED}"
        ),
    ),
    Entry(
        "a precision of a thousand million",
        magnitude("UPDATE magnitude_format SET value = 1000000000 WHERE key = 'precision'"),
        Refused(
            "{path}: magnitude_format must say dim 2, as the table has, and a precision of 0 "
            "to 30, "
            "received size 2, dim 2, precision 1000000000: get the file again"
        ),
    ),
    Entry("a pickle that ends the process", holding(pickle.dumps(Bomb())), Refused(NOT_OPENED)),
    Entry(
        "the same under gzip",
        holding(gzip.compress(pickle.dumps(Bomb(), 2)), "f.bin"),
        Refused(NOT_OPENED),
    ),
    Entry(
        "a pickle of a list, though it may be opened",
        holding(pickle.dumps([1, 2])),
        Refused(
            "{path}: the pickle must hold vectors or a model of gensim, received a list: save the "
            "vectors with KeyedVectors.save()"
        ),
        only=lambda path, _: ef.read(path, allow_pickle=True),
    ),
    Entry(
        "vectors of gensim without their array",
        lone_pickle,
        Refused(
            "{path}: the pickle must be one that the installed gensim opens, received "
            "FileNotFoundError: {...}.vectors.npy'; arrays that gensim put beside the file must be "
            "there under their names, and files of gensim 3 may have to be saved anew with it"
        ),
        only=lambda path, _: ef.read(path, allow_pickle=True),
    ),
]
