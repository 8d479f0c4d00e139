"""Entries of the system: paths, rights, disks, pipes, targets, and what cannot be written."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from entries import Entry, Make, Read, Refused, holding
from of_binary import WHOLE
from of_packed import ROWS
from of_text import KINGS, THREE, VALUES
from samples import put

import embedfreeze as ef
from embedfreeze.errors import FileError, VocabularyError
from embedfreeze.formats import ReadOptions, open_reading


def folder_itself(folder: Path) -> Path:
    (folder / "f.txt").mkdir()
    return folder / "f.txt"


def link_to_itself(folder: Path) -> Path:
    (folder / "f").symlink_to("f")
    return folder / "f"


def without_rights(folder: Path) -> Path:
    path = put(folder / "f.txt", THREE)
    path.chmod(0)
    return path


def device(name: str) -> Make:
    return lambda _: Path("/dev") / name


def shrinks(path: Path, _: Path) -> None:
    """The file is cut when it is open and its first rows are not yet read."""
    source, _, reading = open_reading(path, ReadOptions(threads=1))
    with source:
        os.truncate(path, 4096)
        list(reading.batches)


def converts(target: str, **options: object) -> Callable[[Path, Path], object]:
    return lambda path, out: ef.convert(path, out / target, **options)


def into_a_folder_without_rights(path: Path, out: Path) -> None:
    out.chmod(0o555)
    try:
        ef.convert(path, out / "t.bin")
    finally:
        out.chmod(0o755)


def writes(tokens: list[str], target: str) -> Callable[[Path, Path], object]:
    matrix = np.arange(2 * len(tokens), dtype=np.float32).reshape(-1, 2)
    return lambda path, out: ef.write(ef.Embeddings(tokens, matrix), out / target)


def opened_as_text(path: Path, _: Path) -> None:
    with open(path, encoding="utf-8") as file:
        ef.read(file)


def padding_is_unknown(path: Path, _: Path) -> None:
    ef.Vocabulary(["king"], padding="<pad>", unknown="<pad>")


NOTHING = holding(THREE)
PIPED = "{path}: a pipe can be read once: write it to a file first"
CUT = (
    "{path}: byte offset 32: the header promises 3 rows of 2 values, received 2 whole rows and 8 "
    "bytes: the file is truncated at byte 40, get it again (or read what is there with limit=2, "
    "--limit)"
)

SYSTEMS = [
    Entry(
        "a file that is not there",
        lambda folder: folder / "none.txt",
        Refused("{path}: cannot be read: No such file or directory: check the path", FileError),
    ),
    Entry(
        "a folder that is not there",
        lambda folder: folder / "none" / "f.txt",
        Refused("{path}: cannot be read: No such file or directory: check the path", FileError),
    ),
    Entry(
        "a folder",
        folder_itself,
        Refused("{path}: cannot be read: Is a directory: name a file in it", FileError),
    ),
    Entry(
        "a link to itself",
        link_to_itself,
        Refused(
            "{path}: cannot be read: Too many levels of symbolic links: "
            "check the path, a link leads to itself",
            FileError,
        ),
    ),
    Entry(
        "a path with a NUL",
        lambda folder: folder / "a\0b",
        Refused("{path}: cannot be read: embedded null byte", FileError),
        only=lambda path, _: ef.read(path),
    ),
    Entry(
        "a file without the right to read it",
        without_rights,
        Refused(
            "{path}: cannot be read: Permission denied: change the rights, or name another place",
            FileError,
        ),
        where="nobody",
    ),
    Entry(
        "a device without end",
        device("zero"),
        Refused(
            "{path}: the content is "
            f"{bytes(24)!r}...: "
            "get the file again, or name its format with format= (--from) if you know it; "
            "it must be one of {formats}"
        ),
    ),
    Entry(
        "a device without bytes",
        device("null"),
        Refused(
            "{path}: the file is empty, or was read to its end before: seek(0) goes back", FileError
        ),
    ),
    Entry(
        "text through a named pipe",
        NOTHING,
        Read(KINGS, VALUES),
        inspect=Refused(PIPED, FileError),
        piped=True,
    ),
    Entry(
        "a cut binary file through a named pipe",
        holding(WHOLE[:-6]),
        Refused(CUT),
        inspect=Refused(PIPED, FileError),
        piped=True,
    ),
    Entry(
        "a cut binary file in memory",
        holding(WHOLE[:-6]),
        Refused(
            "<BytesIO>: byte offset 32: the header promises 3 rows of 2 values, received "
            "2 whole rows and 8 bytes: the file is truncated at byte 40, get it again "
            "(or read what is there with limit=2, --limit)"
        ),
        only=lambda path, _: ef.read(io.BytesIO(path.read_bytes())),
    ),
    Entry(
        "a file that is opened as text",
        NOTHING,
        Refused(
            "a file must be open for reading bytes, received the text file {path}: open "
            'it with mode "rb" (or wrap encoded bytes in io.BytesIO)',
            TypeError,
        ),
        only=opened_as_text,
    ),
    Entry(
        "text that shrinks while it is read",
        holding(ROWS),
        Refused(
            "{path}: the file shrank from 89482 to 4096 bytes while it was read: wait "
            "until what writes it has ended, then read it again"
        ),
        only=shrinks,
    ),
    Entry(
        "a target that exists",
        NOTHING,
        Refused("{out}/old: exists: pass overwrite=True (--force) to replace it", FileError),
        only=converts("old", to_format="word2vec"),
    ),
    Entry(
        "a target that is a folder",
        NOTHING,
        Refused("{out}: is a directory: name a file in it", FileError),
        only=converts(".", to_format="word2vec"),
    ),
    Entry(
        "a target in a folder that is not there",
        NOTHING,
        Refused(
            "{out}/none/t.bin: cannot be written: No such file or directory: check the path",
            FileError,
        ),
        only=converts("none/t.bin"),
    ),
    Entry(
        "a target without a known ending",
        NOTHING,
        Refused(
            "{out}/t.what: the name must end in one of {targets} unless format= (of convert "
            "to_format=, --to) names the format",
            FileError,
        ),
        only=converts("t.what"),
    ),
    Entry(
        "a target in a folder without rights",
        NOTHING,
        Refused(
            "{out}/t.bin: cannot be written: Permission denied: "
            "change the rights, or name another place",
            FileError,
        ),
        where="nobody",
        only=into_a_folder_without_rights,
    ),
    Entry(
        "a target beyond the limit of a file",
        holding(ROWS),
        Refused(
            "{out}/t.bin: cannot be written: File too large: "
            "raise the limit of file sizes (ulimit -f)",
            FileError,
        ),
        where="small",
        only=converts("t.bin"),
    ),
    Entry(
        "a target on a full disk",
        holding(ROWS),
        Refused(
            "{out}/t.bin: cannot be written: No space left on device: "
            "free space there, or name another place",
            FileError,
        ),
        where="disk",
        only=converts("t.bin"),
    ),
    Entry(
        "a packed target on a full disk",
        holding(ROWS),
        Refused(
            "{out}/t.txt.gz: cannot be written: No space left on device: "
            "free space there, or name another place",
            FileError,
        ),
        where="disk",
        only=converts("t.txt.gz"),
    ),
    Entry(
        "a store on a full disk",
        holding(ROWS),
        Refused(
            "{out}/t.safetensors: cannot be written: No space left on device: "
            "free space there, or name another place",
            FileError,
        ),
        where="disk",
        only=converts("t.safetensors"),
    ),
    Entry(
        "a line feed in a token of a text",
        NOTHING,
        Refused(
            "{out}/t.txt: a text file cannot hold a token with a line feed, received "
            "b'b\\nc' as row 1: write a store (.safetensors) or HDF5"
        ),
        only=writes(["a", "b\nc"], "t.txt"),
    ),
    Entry(
        "tokens of a text that are numbers",
        NOTHING,
        Refused(
            "{out}/t.txt: a text file cannot hold these tokens: they look like numbers, "
            "a header or a byte order mark to a reader; write a store (.safetensors) or "
            "HDF5"
        ),
        only=writes([f"room {i}" for i in range(99)], "t.txt"),
    ),
    Entry(
        "a space in a token of word2vec binary",
        NOTHING,
        Refused(
            "{out}/t.bin: a word2vec binary file cannot hold a token with a space or a "
            "line feed at its start, received b'New York' as row 0: write a store "
            "(.safetensors) or HDF5"
        ),
        only=writes(["New York"], "t.bin"),
    ),
    Entry(
        "a NUL in a token of HDF5",
        NOTHING,
        Refused(
            "{out}/t.h5: HDF5 cannot hold a token with a NUL byte, received b'nul\\x00' "
            "as row 1: write a store (.safetensors)"
        ),
        only=writes(["a", "nul\0"], "t.h5"),
    ),
    Entry(
        "a repeated token of a store",
        NOTHING,
        Refused("{out}/t.safetensors: tokens must differ, received b'a' twice: leave one out"),
        only=writes(["a", "b", "a"], "t.safetensors"),
    ),
    Entry(
        "no rows to write",
        NOTHING,
        Refused("{out}/t.txt: a file must have rows, received none to write"),
        only=writes([], "t.txt"),
    ),
    Entry(
        "a vocabulary file with a repeated token",
        holding(b"king\nqueen\nking\n"),
        Refused(
            "{path}: tokens must differ, received 'king' on line 1 and on line 3: remove one",
            VocabularyError,
        ),
        only=lambda path, _: ef.Vocabulary.from_file(path),
    ),
    Entry(
        "special tokens that are one",
        NOTHING,
        Refused(
            "the special token '<pad>' (id 0) is also an ordinary token (id 1): rename "
            "one with padding=, unknown= or special=, or say that special tokens stand in the "
            "list: special_first=False (--special-listed)",
            VocabularyError,
        ),
        only=padding_is_unknown,
    ),
]
