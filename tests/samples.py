"""What the tests of files share: tables, and files made by hand, without the package."""

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

import embedfreeze as ef

GENSIM_DATA = "test/test_data"

# Every spelling that some reader of embeddings is known to break.
ODD_TOKENS = [
    "king",
    "Queen",
    "caf\u00e9",
    "a\u00a0b",
    "\u3000",
    "x\u2028y",
    "\u0085",
    "\u200b",
    "tab\tbed",
    "cr\rcr",
    "\x0b\x0c",
    "#",
    '"quoted"',
    "12",
    "3.5e2",
    "1999-2000",
    "nan",
    "emoji\U0001f600",
    "</s>",
    "\ufeffbom",
    "\\",
    "-",
    "\x1c",
]


def table(rows: int, dim: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Values of many sizes [rows, dim], some of them special."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, dim)) * 10.0 ** rng.integers(-8, 8, (rows, dim))
    matrix = values.astype(np.float32)
    special = [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 3.4028235e38, 1.17549435e-38]
    flat = matrix.reshape(-1)
    flat[: min(len(flat), len(special))] = special[: len(flat)]
    return matrix


def bits(matrix: npt.NDArray[np.generic]) -> bytes:
    """The bytes of the values: equal bytes are equal values, NaN and -0.0 too."""
    return np.ascontiguousarray(matrix).tobytes()


def spelled(embeddings: ef.Embeddings) -> list[bytes]:
    """The tokens as bytes."""
    return [embeddings.tokens.bytes_at(row) for row in range(len(embeddings))]


def assert_is(
    embeddings: ef.Embeddings, tokens: Sequence[bytes | str], matrix: npt.NDArray[np.generic]
) -> None:
    """Tokens byte-equal, values bit-equal."""
    assert spelled(embeddings) == [t.encode() if isinstance(t, str) else t for t in tokens]
    assert embeddings.matrix.shape == matrix.shape
    assert embeddings.matrix.dtype == matrix.dtype
    assert bits(embeddings.matrix) == bits(matrix)


def glove_bytes(
    tokens: Sequence[bytes], matrix: npt.NDArray[np.float32], end: bytes = b"\n"
) -> bytes:
    """GloVe text; nine digits are enough for every float32."""
    rows = (
        b" ".join([token, *(b"%.9g" % value for value in row.tolist())]) + end
        for token, row in zip(tokens, matrix, strict=True)
    )
    return b"".join(rows)


def word2vec_bytes(
    tokens: Sequence[bytes], matrix: npt.NDArray[np.float32], after: bytes = b"\n"
) -> bytes:
    """word2vec binary, as the C program (with a line feed after each row) or gensim write it."""
    head = b"%d %d\n" % matrix.shape
    return head + b"".join(
        token + b" " + struct.pack(f"<{len(row)}f", *row) + after
        for token, row in zip(tokens, matrix, strict=True)
    )


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@contextmanager
def pipe(path: Path, data: bytes) -> Iterator[Path]:
    """A named pipe that another thread writes data into."""
    os.mkfifo(path)

    def feed() -> None:
        try:
            with open(path, "wb") as file:
                file.write(data)
        except BrokenPipeError:
            pass

    writer = threading.Thread(target=feed)
    writer.start()
    try:
        yield path
    finally:
        writer.join(10)


def child(code: str, *arguments: object, timeout: float = 120, **env: str) -> str:
    """Standard output of a new Python process; its failure fails the test."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def canonical(patterns: Sequence[int]) -> npt.NDArray[np.float32]:
    """Float32 of these bits, NaN without the payload that no text can spell."""
    words = np.array(patterns, np.uint32)
    values = words.view(np.float32).copy()
    nan = np.isnan(values)
    values.view(np.uint32)[nan] = (words[nan] & np.uint32(0x80000000)) | np.uint32(0x7FC00000)
    return values


def tables(alphabet: st.SearchStrategy[str]) -> st.SearchStrategy[ef.Embeddings]:
    """Small tables of different tokens and values of any bits."""

    def build(tokens: list[str], dim: int) -> st.SearchStrategy[ef.Embeddings]:
        n = len(tokens) * dim
        words = st.lists(st.integers(0, 2**32 - 1), min_size=n, max_size=n)
        return words.map(
            lambda found: ef.Embeddings(tokens, canonical(found).reshape(len(tokens), dim))
        )

    names = st.lists(alphabet, min_size=1, max_size=6, unique=True)
    return st.tuples(names, st.integers(1, 4)).flatmap(lambda pair: build(*pair))
