"""Makes the files of this folder: pairs for the TensorBoard projector, spelled by hand.

``vectors.tsv`` has metadata of one column, ``words_tensor.tsv`` of two, as gensim's word2vec2tensor
names them.
"""

from pathlib import Path

HERE = Path(__file__).parent
TOKENS = ["king", "New York", "caf\u00e9", "2003"]
VALUES = [[0.5, -0.25, 1e-05], [1.0, 2.0, 3.0], [0.1, -0.2, 0.3], [0.7, -0.0, 0.9]]


def main() -> None:
    vectors = "".join("\t".join(map(repr, row)) + "\n" for row in VALUES)
    (HERE / "vectors.tsv").write_bytes(vectors.encode())
    (HERE / "metadata.tsv").write_bytes("".join(t + "\n" for t in TOKENS).encode())
    (HERE / "words_tensor.tsv").write_bytes(vectors.replace("\n", "\r\n").encode())
    lines = ["Count\tWord", *(f"{i}\t{token}" for i, token in enumerate(TOKENS))]
    (HERE / "words_metadata.tsv").write_bytes("\n".join(lines).encode())


if __name__ == "__main__":
    main()
