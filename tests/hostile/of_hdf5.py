"""Entries of HDF5 files: which datasets, labels, links, shapes that nothing fills."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from entries import Entry, Make, Read, Refused
from of_text import KINGS, VALUES
from samples import put

MATRIX = np.array(VALUES, np.float32)
STRING = h5py.string_dtype("utf-8")


def made(fill: Callable[[h5py.File], object]) -> Make:
    def make(folder: Path) -> Path:
        with h5py.File(folder / "f.h5", "w") as file:
            fill(file)
        return folder / "f.h5"

    return make


def usual(file: h5py.File, matrix: str = "v", tokens: str = "t") -> None:
    file[matrix] = MATRIX
    file.create_dataset(tokens, data=KINGS, dtype=STRING)


def several(file: h5py.File) -> None:
    usual(file)
    file["model/other"] = MATRIX * 2


def attributes(file: h5py.File) -> None:
    file["v"] = MATRIX
    file["v"].attrs["words"] = np.array(KINGS)


def pickled(file: h5py.File) -> None:
    """As PyTables keeps an array of objects."""
    file["v"] = MATRIX
    labels = file.create_dataset("axis1", (1,), h5py.vlen_dtype(np.uint8))
    labels[0] = np.frombuffer(pickle.dumps(KINGS), np.uint8)
    labels.attrs["PSEUDOATOM"] = b"object"


def opaque(file: h5py.File) -> None:
    file["v"] = MATRIX
    file["t"] = np.array(KINGS, "V9")


def compound(file: h5py.File) -> None:
    rows = [(token, row) for token, row in zip(KINGS, MATRIX.tolist(), strict=True)]
    file["table"] = np.array(rows, [("token", "S9"), ("vector", "f4", (2,))])


def brain_floats(file: h5py.File) -> None:
    """bfloat16: 16 bits, 8 of them of exponent."""
    stored = h5py.h5t.IEEE_F32LE.copy()
    stored.set_fields(15, 7, 8, 0, 7)
    stored.set_size(2)
    stored.set_ebias(127)
    space = h5py.h5s.create_simple((3, 2))
    h5py.h5d.create(file.id, b"v", stored, space)
    file.create_dataset("t", data=KINGS, dtype=STRING)


def outside(folder: Path) -> Path:
    """Data in a file beside it: with another name that would be any file of this machine."""
    raw = put(folder / "raw", MATRIX.tobytes())
    with h5py.File(folder / "f.h5", "w") as file:
        file.create_dataset("v", (3, 2), "f4", external=[(str(raw), 0, 24)])
        file.create_dataset("t", data=KINGS, dtype=STRING)
    return folder / "f.h5"


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "v", (3, 2))
    file.create_virtual_dataset("v", layout)
    file.create_dataset("t", data=KINGS, dtype=STRING)


def links(file: h5py.File) -> None:
    file["v"] = h5py.ExternalLink("other.h5", "/v")
    file["loop"] = h5py.SoftLink("/loop")
    file.create_dataset("t", data=KINGS, dtype=STRING)


def circle(file: h5py.File) -> None:
    usual(file, "model/v", "model/t")
    file["model/again"] = file["/"]
    file["alias"] = h5py.SoftLink("/model/v")


def unwritten(file: h5py.File) -> None:
    usual(file, "small", "few")
    file.create_dataset("v", (10**9, 300), "f4", chunks=(1000, 300))
    file.create_dataset("t", (10**9,), STRING, chunks=(1000,))
    del file["small"]


def unwritten_tokens(file: h5py.File) -> None:
    file.create_dataset("v", (10**8, 1), "f2", chunks=(10**8, 1), compression="gzip")
    file["v"][0, 0] = 1
    file.create_dataset("t", (10**8,), STRING, chunks=(1000,))


def wide_labels(file: h5py.File) -> None:
    file["v"] = MATRIX
    labels = np.array(KINGS, "S1000000")
    file.create_dataset("t", data=labels, chunks=(1,), compression="gzip")


def spoiled(folder: Path) -> Path:
    """A chunk whose checksum does not fit."""
    with h5py.File(folder / "f.h5", "w") as file:
        file.create_dataset("v", data=MATRIX, chunks=(3, 2), fletcher32=True)
        file.create_dataset("t", data=KINGS, dtype=STRING)
        at = file["v"].id.get_chunk_info(0).byte_offset
    data = bytearray((folder / "f.h5").read_bytes())
    data[at] ^= 1
    return put(folder / "f.h5", bytes(data))


def cut(folder: Path) -> Path:
    path = made(usual)(folder)
    return put(path, path.read_bytes()[:1000])


def labels_of(data: list[bytes]) -> Callable[[h5py.File], Any]:
    def fill(file: h5py.File) -> None:
        file["v"] = MATRIX
        file["t"] = np.array(data)

    return fill


def infinite(file: h5py.File) -> None:
    file["v"] = np.array([[1, np.inf], [3, 4], [np.nan, 6]])
    file["t"] = np.array(KINGS)


HDF5_FILES = [
    Entry(
        "no dataset at all",
        made(lambda file: None),
        Refused(
            "{path}: one 2-D dataset of floats is needed unless member= (--member) names "
            "one, received none"
        ),
    ),
    Entry(
        "no dataset of two dimensions",
        made(lambda file: file.update(v=MATRIX[0], w=VALUES)),
        Refused(
            "{path}: one 2-D dataset of floats is needed unless member= (--member) names "
            "one, received v [2] float32, w [3, 2] int64"
        ),
    ),
    Entry(
        "several matrices",
        made(several),
        Refused(
            "{path}: one 2-D dataset of floats is needed unless member= (--member) names "
            "one, received model/other [3, 2] float32, v [3, 2] float32"
        ),
    ),
    Entry(
        "several matrices, one named",
        made(several),
        Read(KINGS, [[2, 4], [6, 8], [10, 12]]),
        options={"member": "model/other"},
    ),
    Entry(
        "a matrix that the file has not",
        made(several),
        Refused(
            "{path}: member must name a 2-D dataset of floats, received 'embedding'; the "
            "file has model/other [3, 2] float32, t [3] strings, v [3, 2] float32"
        ),
        options={"member": "embedding"},
    ),
    Entry(
        "no labels",
        made(lambda file: file.update(v=MATRIX)),
        Refused(
            "{path}: one dataset of 3 strings is needed for the tokens, received none: "
            "name a dataset or a text file of one token a line with tokens= (--tokens)"
        ),
    ),
    Entry(
        "labels in an attribute",
        made(attributes),
        Refused(
            "{path}: one dataset of 3 strings is needed for the tokens, received none "
            "and attributes v@words, which are not read: name a dataset or a text file "
            "of one token a line with tokens= (--tokens)"
        ),
    ),
    Entry(
        "labels as pickled objects",
        made(pickled),
        Refused(
            "{path}: one dataset of 3 strings is needed for the tokens, received none "
            "and pickled objects in axis1, which can run any code and are not opened: "
            "name a dataset or a text file of one token a line with tokens= (--tokens)"
        ),
    ),
    Entry(
        "labels as opaque bytes",
        made(opaque),
        Refused(
            "{path}: one dataset of 3 strings is needed for the tokens, received none "
            "and pickled objects in t, which can run any code and are not opened: name a "
            "dataset or a text file of one token a line with tokens= (--tokens)"
        ),
    ),
    Entry(
        "fewer labels than rows",
        made(labels_of(KINGS[:2])),
        Refused(
            "{path}: one dataset of 3 strings is needed for the tokens, received t [2] "
            "strings: name a dataset or a text file of one token a line with tokens= "
            "(--tokens)"
        ),
    ),
    Entry(
        "fewer labels than rows, named",
        made(labels_of(KINGS[:2])),
        Refused(
            "{path}: each row needs a token, received 2 tokens for 3 rows of /v: name "
            "others with tokens= (--tokens)"
        ),
        options={"tokens": "t"},
    ),
    Entry(
        "labels that are not UTF-8",
        made(labels_of([b"king", b"caf\xe9", b"man"])),
        Refused(
            "{path}: row 1: tokens must be UTF-8, received b'caf\\xe9': pass "
            'unicode_errors="replace" or "surrogateescape" (--unicode-errors) to take it'
        ),
        load=Read([b"king"], [[1, 2]]),
        inspect=Read([b"king", b"caf\xe9", b"man"], VALUES),
    ),
    Entry(
        "repeated labels",
        made(labels_of([b"king", b"queen", b"king"])),
        Read(
            [b"king", b"queen"],
            [[1, 2], [3, 4]],
            (
                "{path}: 1 row repeats an earlier token (the first is 'king'); of each token "
                "the first row is kept",
            ),
        ),
        load=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
        convert=Read([b"king", b"queen"], [[1, 2], [3, 4]]),
    ),
    Entry(
        "values that are not finite",
        made(infinite),
        Read(
            KINGS,
            [[1, np.inf], [3, 4], [np.nan, 6]],
            (
                "{path}: 2 rows have values that are not finite (nan or inf), which are kept "
                "as they are; the first is 'king' at row 0",
            ),
        ),
    ),
    Entry(
        "a table of compound rows",
        made(compound),
        Refused(
            "{path}: one 2-D dataset of floats is needed unless member= (--member) names "
            "one, received table [3] [('token', 'S9'), ('vector', '<f4', (2,))]"
        ),
    ),
    Entry(
        "floats that NumPy has not",
        made(brain_floats),
        Refused(
            "{path}: dataset /v must hold IEEE floats of 16, 32 or 64 bits, received "
            "floats of 16 bits with 8 of exponent (bfloat16 has 16 and 8): convert it to "
            "float32 first"
        ),
    ),
    Entry(
        "data in another file",
        outside,
        Refused("{path}: dataset /v lies in other files, which are not opened: copy it into one"),
    ),
    Entry(
        "a virtual dataset",
        made(virtual),
        Refused("{path}: dataset /v lies in other files, which are not opened: copy it into one"),
    ),
    Entry(
        "links to another file and to themselves",
        made(links),
        Refused(
            "{path}: one 2-D dataset of floats is needed unless member= (--member) names "
            "one, received t [3] strings (links are not followed: loop -> /loop, v -> "
            "other.h5:/v)"
        ),
    ),
    Entry("groups in a circle, and a link inside of the file", made(circle), Read(KINGS, VALUES)),
    Entry(
        "a shape of 10^9 rows that nobody wrote",
        made(unwritten),
        Refused(
            "{path}: a dataset must hold what its shape says, received /v [1000000000, "
            "300] of 1200000000000 bytes, of which 0 were ever written: its writer was "
            "cut off, or the shape is wrong"
        ),
        where="child",
    ),
    Entry(
        "10^8 labels that nobody wrote",
        made(unwritten_tokens),
        Refused(
            "{path}: a dataset must hold what its shape says, received /t [100000000] of "
            "800000000 bytes, of which 0 were ever written: its writer was cut off, or "
            "the shape is wrong"
        ),
        where="child",
    ),
    Entry("labels of a megabyte", made(wide_labels), Read(KINGS, VALUES), where="child"),
    Entry(
        "a chunk with a wrong checksum",
        spoiled,
        Refused(
            "{path}: HDF5 cannot read rows 0 to 3 of /v ({...}): the file is damaged or "
            "a filter is missing, get the file again"
        ),
        load=Refused(
            "{path}: HDF5 cannot read rows 0 to 2 of /v ({...}): the file is damaged or "
            "a filter is missing, get the file again"
        ),
    ),
    Entry(
        "a cut HDF5 file",
        cut,
        Refused(
            "{path}: HDF5 cannot open the file ({...}): it is damaged or cut off, get it again"
        ),
    ),
    Entry(
        "the signature of HDF5 alone",
        lambda folder: put(folder / "f", b"\x89HDF\r\n\x1a\n"),
        Refused(
            "{path}: HDF5 cannot open the file ({...}): it is damaged or cut off, get it again"
        ),
    ),
]
