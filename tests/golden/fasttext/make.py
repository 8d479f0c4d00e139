"""Make the fastText models of this folder, and what fastText itself says of them.

Run with fasttext-wheel installed: ``python tests/golden/fasttext/make.py``. Beside each model
stands ``<model>.npy``: the vectors, by ``get_word_vector``, of its words in their order and behind
them of the tokens of unknown.txt. The models of older layouts are made from new ones by cutting
out what they did not have; fastText does not load those without a magic number, which hold the same
values.
"""

import random
import struct
import tempfile
from pathlib import Path
from typing import Any

import fasttext
import numpy as np

HERE = Path(__file__).parent
SYLLABLES = ["ka", "lo", "mi", "té", "ßu", "да", "漢", "\U0001f600", "ne", "r"]
UNKNOWN = [
    "kalox",
    "unseen",
    "x",
    "éé",
    "漢字",
    "</s>",
    "a b",
    "__label__new",
    "",
    "lololololololo",
]
HEAD = struct.Struct("<2i12id3iqq")


def words(n: int) -> list[bytes]:
    chosen = random.Random(5)
    made = {"".join(chosen.choices(SYLLABLES, k=chosen.randint(1, 4))) for _ in range(n)}
    return [*(word.encode() for word in sorted(made)), b"caf\xe9", b"\x80\x80x", b"end\xc3"]


def corpus(path: Path, n: int, *, labelled: bool) -> str:
    chosen = random.Random(7)
    known = words(n)
    lines = []
    for i in range(0, len(known), 3):
        label = b"__label__%d " % (i % 2) if labelled else b""
        lines.append(label + b" ".join([*known[i : i + 3], *chosen.choices(known, k=3)]))
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


def filled(model: Any) -> Any:
    """With one thread fastText fills but a tenth of the rows before it trains: these are drawn."""
    shape = model.get_input_matrix().shape
    rows = np.random.default_rng(11).standard_normal(shape).astype(np.float32)
    model.set_matrices(rows, model.get_output_matrix())
    return model


def save(model: Any, name: str) -> None:
    model.save_model(str(HERE / name))
    save_vectors(model, name)


def save_vectors(model: Any, name: str) -> None:
    asked = [*entries(HERE / name), *(token.encode() for token in UNKNOWN)]
    rows = [model.get_word_vector(token) for token in asked]  # bytes go to C++ as they are
    np.save(HERE / f"{name}.npy", np.array(rows, np.float32))


def entries(path: Path) -> list[bytes]:
    data, found = path.read_bytes(), []
    at, n_words = HEAD.size, HEAD.unpack_from(data)[16]
    for _ in range(n_words):
        end = data.index(b"\0", at)
        found.append(data[at:end])
        at = end + 10
    return found


def older(name: str, target: str) -> None:
    """The layout before version 11: no magic number, no pruning, no marks of quantised matrices."""
    data = (HERE / name).read_bytes()
    at = HEAD.size
    for _ in range(struct.unpack_from("<i", data, 64)[0]):
        at = data.index(b"\0", at) + 10
    m, n = struct.unpack_from("<2q", data, at + 1)
    rows = at + 1 + 16 + 4 * m * n
    (HERE / target).write_bytes(
        data[8 : HEAD.size - 8] + data[HEAD.size : at] + data[at + 1 : rows] + data[rows + 1 :]
    )


def main() -> None:
    (HERE / "unknown.txt").write_text("\n".join(UNKNOWN), encoding="utf-8")
    usual = {"dim": 4, "epoch": 3, "thread": 1, "verbose": 0, "minCount": 1, "lr": 0.5}
    with tempfile.TemporaryDirectory() as folder:
        text = corpus(Path(folder, "text"), 60, labelled=False)
        labelled = corpus(Path(folder, "labelled"), 60, labelled=True)
        many = corpus(Path(folder, "many"), 400, labelled=True)
        train, classify = fasttext.train_unsupervised, fasttext.train_supervised
        save(filled(train(text, bucket=50, **usual)), "skipgram.bin")
        save(filled(train(text, model="cbow", bucket=7, minn=1, maxn=2, **usual)), "cbow.bin")
        save(filled(train(text, bucket=50, minn=0, maxn=0, **usual)), "words.bin")
        save(filled(classify(labelled, bucket=50, minn=2, maxn=3, **usual)), "supervised.bin")
        save(filled(classify(labelled, **usual)), "labels.bin")
        model = filled(classify(many, bucket=300, minn=2, maxn=3, **usual))
        model.quantize(dsub=2)
        save(model, "quantised.ftz")
        model = filled(classify(many, bucket=300, minn=2, maxn=3, **{**usual, "dim": 5}))
        model.quantize(input=many, qnorm=True, cutoff=300, dsub=2)
        save(model, "pruned.ftz")
    older("skipgram.bin", "older.bin")
    data = (HERE / "supervised.bin").read_bytes()
    (HERE / "version11.bin").write_bytes(data[:4] + struct.pack("<i", 11) + data[8:])
    model = fasttext.load_model(str(HERE / "version11.bin"))
    save_vectors(model, "version11.bin")


if __name__ == "__main__":
    main()
