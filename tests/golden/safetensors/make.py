"""Makes the golden files of safetensors with the safetensors library 0.6 and tokenizers 0.22.

``python tests/golden/safetensors/make.py``. Values are exact in float16 and bfloat16, so that all
files hold the same rows. ``sentence/`` is what StaticEmbedding.save of sentence-transformers writes
(read in its version 6.2: the state dict, so one tensor ``embedding.weight``, and the tokenizer),
written by hand, since that library needs PyTorch.
"""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

FOLDER = Path(__file__).parent
TOKENS = ["[UNK]", "king", "caf\u00e9", "New York"]
MATRIX = np.array(
    [[0.0, 0.0, 0.0], [0.5, -1.25, 3.0], [1.0, 2.0, -0.0], [-8.0, 4.5, 0.75]], np.float32
)


def tokenizer(path: Path) -> None:
    vocab = {token: i for i, token in enumerate(TOKENS[:3])}
    made = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_tokens(TOKENS[3:])
    made.save(str(path), pretty=False)


def main() -> None:
    encoded = [token.encode() for token in TOKENS]
    padded = np.array(encoded, "S12").view(np.uint8).reshape(4, 12)
    save_file({"vectors": MATRIX.astype("f2"), "words": padded}, FOLDER / "padded.safetensors")
    blob = np.frombuffer(b"".join(encoded), np.uint8)
    offsets = np.cumsum([0, *map(len, encoded)])
    save_file(
        {"w": MATRIX.astype("f8"), "token_bytes": blob, "token_offsets": offsets},
        FOLDER / "offsets.safetensors",
    )
    bfloat16 = MATRIX.astype(ml_dtypes.bfloat16)
    others = {"dense.weight": np.ones((3, 3), np.float32), "dense.bias": np.ones(3, np.float32)}
    save_file(
        {"bert.embeddings.word_embeddings.weight": bfloat16, **others},
        FOLDER / "bert.safetensors",
    )
    (FOLDER / "bert.vocab.txt").write_text("".join(f"{token}\n" for token in TOKENS))
    folder = FOLDER / "sentence" / "0_StaticEmbedding"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"embedding.weight": MATRIX}, folder / "model.safetensors")
    tokenizer(folder / "tokenizer.json")
    module = {"idx": 0, "name": "0", "path": folder.name}
    module["type"] = "sentence_transformers.models.StaticEmbedding"
    (FOLDER / "sentence" / "modules.json").write_text(json.dumps([module]))
    (FOLDER / "sentence" / "config_sentence_transformers.json").write_text("{}")


if __name__ == "__main__":
    main()
