"""Make the files of this folder: ``python tests/golden/finalfusion/make.py``.

All but ``by_hand.fifu`` and ``rust.fifu`` are written by the finalfusion package.
"""

import struct
from pathlib import Path

import numpy as np
from finalfusion import Embeddings
from finalfusion.metadata import Metadata
from finalfusion.norms import Norms
from finalfusion.storage import NdArray, QuantizedArray
from finalfusion.storage.quantized import PQ
from finalfusion.subword import FastTextIndexer, FinalfusionHashIndexer
from finalfusion.vocab import FastTextVocab, FinalfusionBucketVocab, SimpleVocab, Vocab

HERE = Path(__file__).parent
WORDS = ["king", "queen", "caf\u00e9", "\u6771\u4eac", "New York", ""]
DIM = 4
RNG = np.random.default_rng(5)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def quantized(rows: int, *, project: bool, scale: bool) -> QuantizedArray:
    projection = floats(DIM, DIM) if project else None
    norms = np.abs(floats(rows)) if scale else None
    codes = RNG.integers(0, 3, (rows, 2)).astype(np.uint8)
    return QuantizedArray(PQ(floats(2, 3, DIM // 2), projection), codes, norms)


def put(name: str, vocabulary: Vocab, *, codes: bool = False, norms: bool = True) -> None:
    rows = vocabulary.upper_bound
    array = quantized(rows, project=True, scale=True) if codes else NdArray(floats(rows, DIM))
    Embeddings(
        array,
        vocabulary,
        Norms(np.abs(floats(len(WORDS)))) if norms else None,
        Metadata({"made": "for tests", "model": {"dims": DIM}}) if norms else None,
    ).write(HERE / f"{name}.fifu")


def by_hand() -> bytes:
    """Two words, a bucket vocabulary of two buckets, an array; README.md explains the bytes."""
    words = b"".join(struct.pack("<I", len(word)) + word for word in (b"hi", b"you"))
    vocabulary = struct.pack("<QIII", 2, 1, 2, 1) + words
    rows = np.array([[1, 2], [3, 4], [5, 6], [8, 6]], "<f4").tobytes()
    head = struct.pack("<4sIIII", b"FiFu", 0, 2, 3, 2)
    head += struct.pack("<IQ", 3, len(vocabulary)) + vocabulary
    padding = 4 - (len(head) + 12 + 16) % 4
    array = struct.pack("<QII", 4, 2, 10) + bytes(padding) + rows
    return head + struct.pack("<IQ", 2, len(array)) + array


def as_rust_writes(data: bytes) -> bytes:
    """finalfusion for Rust counts the rows of n-grams in the length of an explicit vocabulary."""
    size, _, ngrams = struct.unpack_from("<QQQ", data, 24)
    return data[:24] + struct.pack("<Q", size + 8 * ngrams) + data[32:]


def main() -> None:
    """Make all files."""
    buckets = FinalfusionBucketVocab(WORDS, FinalfusionHashIndexer(4, 2, 4))
    fasttext = FastTextVocab(WORDS, FastTextIndexer(23, 3, 6))
    put("simple", SimpleVocab(WORDS))
    put("buckets", buckets)
    put("fasttext", fasttext)
    put("explicit", fasttext.to_explicit(), norms=False)
    put("quantized", buckets, codes=True)
    (HERE / "rust.fifu").write_bytes(as_rust_writes((HERE / "explicit.fifu").read_bytes()))
    (HERE / "by_hand.fifu").write_bytes(by_hand())


if __name__ == "__main__":
    main()
