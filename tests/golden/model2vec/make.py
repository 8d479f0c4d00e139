"""Makes the golden models with model2vec 0.10: `python tests/golden/model2vec/make.py`.

``plain`` has a vector for each token, ``quantised`` two vectors, the row of each token and its
weight, as `quantize_vocabulary` makes them.
"""

from pathlib import Path

import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer, models, pre_tokenizers

FOLDER = Path(__file__).parent
TOKENS = ["[UNK]", "king", "caf\u00e9", "queen"]


def main() -> None:
    vocab = {token: i for i, token in enumerate(TOKENS)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    values = np.random.default_rng(0).standard_normal((4, 3))
    plain = StaticModel(values.astype(np.float32), tokenizer)
    plain.save_pretrained(FOLDER / "plain")
    weights = np.array([1e-4, 0.3, 0.7, 1.1])
    quantised = StaticModel(
        values[:2].astype(np.float32),
        tokenizer,
        weights=weights,
        token_mapping=np.array([0, 1, 0, 1]),
    )
    quantised.save_pretrained(FOLDER / "quantised")
    for card in FOLDER.glob("*/README.md"):
        card.unlink()


if __name__ == "__main__":
    main()
