"""What each storage dtype costs and keeps, on real vectors; writes storage.md beside this file.

Memory is the bytes of the table. Accuracy is measured on the values that a lookup gives: Spearman's
correlation with what people said of pairs of words (WordSim-353 and SimLex-999, as gensim ships
them, by gensim's own `evaluate_word_pairs`); how many of a token's ten nearest neighbours by cosine
are those of float32; and the largest difference of a value. `python benchmarks/storage.py` takes
the bundled sample; with another file as its argument it prints the table alone.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import embedfreeze as ef
from embedfreeze import storage

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "data" / "glove.6B.50d.sample.txt"
TARGET = HERE / "storage.md"
PAIRS = {"WordSim-353": "wordsim353.tsv", "SimLex-999": "simlex999.txt"}
TOKENS, NEIGHBOURS = 1000, 10
PORTION = 250
VERSIONS = ("embedfreeze", "numpy", "ml_dtypes", "gensim", "scipy")


@dataclass(frozen=True)
class Row:
    """What was measured of one dtype."""

    dtype: str
    nbytes: int
    correlations: tuple[float, ...]
    overlap: float
    error: float


def correlations(e: ef.Embeddings) -> dict[str, tuple[float, int]]:
    """Spearman's correlation with each data set, and the pairs that count, of float32 vectors."""
    from gensim.test.utils import datapath

    vectors, found = e.astype("float32").to_gensim(), {}
    for name, file in PAIRS.items():
        _, spearman, missing = vectors.evaluate_word_pairs(datapath(file))
        lines = Path(datapath(file)).read_text(encoding="utf-8").splitlines()
        pairs = sum(1 for line in lines if line and not line.startswith("#"))
        found[name] = float(spearman[0]), round(pairs * (1 - missing / 100))
    return found


def neighbours(matrix: np.ndarray) -> np.ndarray:
    """The nearest rows by cosine of the first rows [TOKENS, NEIGHBOURS], without themselves."""
    values = matrix.astype(np.float64)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-30)
    found = []
    for low in range(0, min(TOKENS, len(values)), PORTION):
        rows = np.arange(low, min(low + PORTION, TOKENS, len(values)))
        cosines = values[rows] @ values.T
        cosines[np.arange(len(rows)), rows] = -2
        found.append(np.argpartition(-cosines, NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
    return np.concatenate(found)


def measured(e: ef.Embeddings, dtype: str, nearest: np.ndarray) -> Row:
    """All that is said of one dtype; `nearest` are the neighbours of float32."""
    made = e.astype(dtype)
    values = storage.decode(made.matrix)
    same = [len(np.intersect1d(*pair)) for pair in zip(nearest, neighbours(values), strict=True)]
    return Row(
        dtype,
        made.matrix.nbytes,
        tuple(value for value, _ in correlations(made).values()),
        float(np.mean(same)) / NEIGHBOURS,
        float(np.abs(values.astype(np.float64) - e.matrix).max()),
    )


def table(e: ef.Embeddings) -> str:
    """The table in Markdown."""
    nearest = neighbours(e.matrix)
    pairs = [f"{name} ({count} pairs)" for name, (_, count) in correlations(e).items()]
    head = ["dtype", "bytes of the table", "of float32", *pairs, "same neighbours", "largest error"]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for dtype in storage.DTYPES:
        row = measured(e, dtype, nearest)
        cells = [row.dtype, f"{row.nbytes:,}", f"{row.nbytes / e.matrix.nbytes:.1%}"]
        cells += [f"{value:.4f}" for value in row.correlations]
        cells += [f"{row.overlap:.2%}", f"{row.error:.2g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(e: ef.Embeddings) -> str:
    """The whole of storage.md."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    return f"""# Storage dtypes

{versions}.

Made by `python benchmarks/storage.py` from the bundled sample, {len(e):,} rows of {e.dim} values of
GloVe. The correlations are Spearman's with what people said, over the pairs of which the sample has
both words: what counts is how they differ from those of float32. Neighbours are the {NEIGHBOURS}
nearest by cosine of the first {TOKENS:,} tokens. Nothing here is a timing.

{table(e)}
"""


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", help="another embedding file; the table is printed")
    parser.add_argument("--limit", type=int, help="at most this many rows of it")
    options = parser.parse_args()
    if options.path is not None:
        print(table(ef.read(options.path, dtype="float32", limit=options.limit)))
        return
    TARGET.write_text(page(ef.read(SAMPLE)), encoding="utf-8")
    print(TARGET.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
