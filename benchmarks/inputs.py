"""The input files of the benchmarks, generated once, the same on every machine.

The text file has the shape of GloVe 6B 100d: 341,479 rows of 100 values with up to six significant
digits, about 300 MB. Sizes can be scaled for a quick look.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import embedfreeze as ef

GLOVE_ROWS, GLOVE_DIM = 341_479, 100
BINARY_ROWS, STORE_ROWS, LARGE_DIM = 1_000_000, 3_000_000, 300
VOCABULARY = 20_000
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", dtype=np.uint8)


def tokens(rows: int) -> ef.Tokens:
    """Different lower-case words; frequent (early) ones are shorter, as in real files."""
    random = np.random.default_rng(1)
    width = 2 + np.minimum(np.log2(np.arange(rows) + 2), 12).astype(np.int64) // 2
    letters = LETTERS[random.integers(0, 26, int(width.sum()))]
    ends = np.cumsum(width)
    words = [bytes(letters[end - size : end]) for size, end in zip(width, ends, strict=True)]
    return ef.Tokens.from_bytes([b"%s%x" % (w, i) for i, w in enumerate(words)], "strict")


def matrix(rows: int, dim: int) -> np.ndarray:
    """Normal values, float32."""
    return np.random.default_rng(2).standard_normal((rows, dim), dtype=np.float32) * 0.4


def _rounded(values: np.ndarray) -> np.ndarray:
    """Up to five significant digits, as GloVe's files have them."""
    scale = 10.0 ** (4 - np.floor(np.log10(np.abs(values).astype(np.float64) + 1e-12)))
    return (np.round(values * scale) / scale).astype(np.float32)


def glove(folder: Path, scale: float, times: int = 1) -> Path:
    """GloVe text of about 300 MB times `times`."""
    path = folder / f"glove-{scale:g}-{times}.txt"
    rows = int(GLOVE_ROWS * scale) * times
    if not path.exists():
        ef.write(ef.Embeddings(tokens(rows), _rounded(matrix(rows, GLOVE_DIM))), path)
    return path


def binary(folder: Path, scale: float) -> Path:
    """word2vec binary of 1.2 GB."""
    path = folder / f"word2vec-{scale:g}.bin"
    rows = int(BINARY_ROWS * scale)
    if not path.exists():
        ef.write(ef.Embeddings(tokens(rows), matrix(rows, LARGE_DIM)), path)
    return path


def store(folder: Path, scale: float, megabytes: float | None = None) -> Path:
    """A store of 3.6 GB, or of the size asked for."""
    rows = int(STORE_ROWS * scale) if megabytes is None else int(megabytes * 1e6) // 1200
    path = folder / f"store-{rows}.safetensors"
    if not path.exists():
        ef.write(ef.Embeddings(tokens(rows), matrix(rows, LARGE_DIM)), path)
    return path


def vocabulary(of: Path) -> Path:
    """A vocabulary file of 20,000 tokens drawn from a file."""
    path = of.with_suffix(".vocabulary.txt")
    if not path.exists():
        known = ef.read(of).tokens
        rows = np.random.default_rng(3).permutation(len(known))[:VOCABULARY]
        path.write_text("".join(f"{known[int(row)]}\n" for row in rows), encoding="utf-8")
    return path
