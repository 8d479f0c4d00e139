"""Make the folders of this folder with spaCy: ``python tests/golden/spacy/make.py``.

Beside each stands ``<folder>.npz``: tokens, and what spaCy says of them.
"""

from pathlib import Path

import numpy as np
from spacy.strings import StringStore
from spacy.vectors import Vectors

HERE = Path(__file__).parent
TOKENS = ["king", "Queen", "café", "漢字", "a b", "DATE", "number", "\u2028", "x" * 40]
ASKED = [*TOKENS, "unseen", "漢", "y", "\U0001f600\U0001f600"]


def save(vectors: Vectors, name: str, asked: list[str]) -> None:
    vectors.to_disk(HERE / name)
    rows = np.array([vectors[token] for token in asked])
    np.savez(HERE / f"{name}.npz", tokens=np.array(asked), rows=rows)


def table() -> Vectors:
    """Keys that share a row, a row without a key, and a key whose string is not listed."""
    data = np.random.default_rng(3).standard_normal((12, 4)).astype(np.float32)
    vectors = Vectors(strings=StringStore(TOKENS), data=data)
    for row, token in enumerate(TOKENS):
        vectors.add(token, row=11 - row)
    vectors.add("king", row=3)
    vectors.add("not listed", row=5)
    return vectors


def floret(**settings: object) -> Vectors:
    data = np.random.default_rng(4).standard_normal((20, 4)).astype(np.float32)
    return Vectors(strings=StringStore(ASKED), data=data, mode="floret", **settings)


def main() -> None:
    save(table(), "table", TOKENS)
    usual = floret(minn=2, maxn=3, hash_count=2, hash_seed=2166136261, bow="<", eow=">")
    save(usual, "floret", ASKED)
    odd = floret(minn=0, maxn=5, hash_count=4, hash_seed=7, bow="«", eow="")
    save(odd, "floret-odd", ASKED)


if __name__ == "__main__":
    main()
