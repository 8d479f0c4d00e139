"""A user's program as an editor sees it: test_typing.py asks pyright for the types it reveals."""

from pathlib import Path
from typing import reveal_type

import numpy as np

import embedfreeze as ef

e = ef.read(Path("glove.txt"), limit=10)
v = ef.Vocabulary.from_texts(["a text"])
a = ef.load("glove.txt", v, oov="mean")
model = ef.build_model(a, pooling="mean", hidden_units=[64])

reveal_type(e)  # Embeddings
reveal_type(e.tokens)  # Tokens
reveal_type(e.tokens[0])  # str
reveal_type(e.dim)  # int
reveal_type(e.digest)  # str
reveal_type(e["king"])  # ndarray
reveal_type(e.index("king"))  # int
reveal_type(e.vocabulary)  # Vocabulary | None
reveal_type(e.coverage)  # Coverage | None
reveal_type(v)  # Vocabulary
reveal_type(v.encode(["a text"]))  # ndarray
reveal_type(v.padding_id)  # int | None
reveal_type(v.tokens)  # tuple[str, ...]
reveal_type(v.counts)  # dict[str, int] | None
reveal_type(a)  # AlignedEmbeddings
reveal_type(a.coverage)  # Coverage | None
reveal_type(a.vocabulary)  # Vocabulary
reveal_type(a.save("t.safetensors"))  # None
reveal_type(ef.align(e, v))  # AlignedEmbeddings
reveal_type(model)  # FrozenModel
reveal_type(ef.FrozenEmbedding(a))  # FrozenEmbedding
reveal_type(ef.FrozenVariable(a))  # FrozenVariable
reveal_type(ef.FreezeGuard().proof())  # FreezeProof
reveal_type(ef.verify(model))  # FreezeProof
reveal_type(ef.verify("model.keras").to_json())  # str
reveal_type(ef.convert("a.txt", "b.bin"))  # Conversion
reveal_type(ef.inspect("a.txt"))  # Inspection
reveal_type(ef.count_corpus("a.txt"))  # CorpusCounts
reveal_type(ef.count_corpus("a.txt")["king"])  # int
reveal_type(ef.Embeddings(e.tokens, np.zeros((1, 2), np.float32)).rows(["a"]))  # ndarray
reveal_type(ef.errors.FormatError("x").line)  # int | None
