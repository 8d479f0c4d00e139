"""Make the files of this folder with gensim: ``python tests/golden/gensim/make.py``."""

from pathlib import Path

import numpy as np
from gensim.models import FastText, KeyedVectors, Word2Vec

HERE = Path(__file__).parent
WORDS = ["king", "queen", "caf\u00e9", "New York", ""]
TEXTS = [["king", "queen", "caf\u00e9"]] * 4


def vectors() -> KeyedVectors:
    """Rows of any values under odd keys."""
    found = KeyedVectors(4)
    rows = np.random.default_rng(3).standard_normal((len(WORDS), 4)).astype(np.float32)
    found.add_vectors(WORDS, rows)
    return found


def main() -> None:
    """Make all files; without the events that gensim would note, which hold paths and dates."""
    whole, apart = vectors(), vectors()
    small = {"vector_size": 3, "min_count": 1, "workers": 1, "seed": 1}
    model = Word2Vec(TEXTS, **small)
    subwords = FastText(TEXTS, bucket=20, **small).wv
    for found in (whole, apart, model, subwords):
        found.lifecycle_events = None
    whole.save(str(HERE / "whole.kv"))
    apart.save(str(HERE / "apart.kv"), separately=["vectors"])
    model.save(str(HERE / "word2vec.model"))
    subwords.save(str(HERE / "fasttext.kv"))


if __name__ == "__main__":
    main()
