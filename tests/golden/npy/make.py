"""Makes the golden files of NPY and NPZ with NumPy 2.4: `python tests/golden/npy/make.py`.

Three tokens of different lengths, and values that are exact in float16, so that all files hold the
same matrix. ``written.npz`` alone comes from this package.
"""

import json
from pathlib import Path

import numpy as np

import embedfreeze as ef

FOLDER = Path(__file__).parent
TOKENS = ["king", "caf\u00e9", "New York"]
MATRIX = np.array([[0.5, -1.25, 3.0, 0.0], [1.0, 2.0, -0.0, 0.125], [-8.0, 4.5, 0.75, 1.5]])


def main() -> None:
    np.save(FOLDER / "big.npy", MATRIX.astype(">f8"))
    (FOLDER / "big.tokens.json").write_text(json.dumps(TOKENS))
    np.save(FOLDER / "columns.npy", np.asfortranarray(MATRIX.astype("<f4")))
    (FOLDER / "columns.tokens.txt").write_text("".join(f"{t}\r\n" for t in TOKENS), newline="")
    np.save(FOLDER / "half.npy", MATRIX.astype("<f2"))
    (FOLDER / "half.vocab.json").write_text(json.dumps({t: i for i, t in enumerate(TOKENS)}))
    np.save(FOLDER / "list.npy", MATRIX.astype("<f4"))
    (FOLDER / "list.tokens.tsv").write_text("n\tword\n" + "".join(f"1\t{t}\n" for t in TOKENS))
    archives = FOLDER.parent / "npz"
    matrix, encoded = MATRIX.astype("<f4"), [t.encode() for t in TOKENS]
    np.savez(archives / "words.npz", vectors=matrix, words=np.array(TOKENS), n=np.arange(2))
    columns = np.asfortranarray(matrix)
    np.savez_compressed(archives / "bytes.npz", vectors=columns, vocab=np.array(encoded))
    ef.write(ef.Embeddings(TOKENS, matrix), archives / "written.npz", overwrite=True)


if __name__ == "__main__":
    main()
