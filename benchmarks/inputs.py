"""The input files of the benchmarks, generated once, the same on every machine.

The text files have the shape of GloVe 6B 100d: rows of 100 values with up to six significant
digits, 341,479 of them about 300 MB. Sizes can be scaled for a quick look.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice, pairwise, product
from pathlib import Path

import h5py
import numpy as np

import embedfreeze as ef

GLOVE_ROWS, GLOVE_DIM = 341_479, 100
BINARY_ROWS, STORE_ROWS, LARGE_DIM = 1_000_000, 3_000_000, 300
VOCABULARY = 20_000
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", dtype=np.uint8)
CORPUS_WORDS, CORPUS_EXPONENT = 4_000_000, 1.05
CONSONANTS, VOWELS, ENDS = b"bcdfghjklmnpqrst", b"aeiou", ("", "", "n", "s", "t", "r", "l", "m")
ODD_ENDS = ("\u00e9", "\u00df", "\u0436", "\u00c9")  # one word in 64 ends in one of these
MARKS = np.frombuffer(b",,,,;:)!?'", dtype=np.uint8)
CORPUS_TOKENS, CORPUS_DIM = 100_000, 50
LABELS = ("news", "sports", "culture", "science")
SENTENCES = 200_000  # of a corpus that are made at a time


def tokens(rows: int) -> ef.Tokens:
    """Different lower-case words; frequent (early) ones are shorter, as in real files."""
    random = np.random.default_rng(1)
    width = 2 + np.minimum(np.log2(np.arange(rows) + 2), 12).astype(np.int64) // 2
    letters = LETTERS[random.integers(0, 26, int(width.sum()))]
    ends = np.cumsum(width)
    words = [bytes(letters[end - size : end]) for size, end in zip(width, ends, strict=True)]
    return ef.Tokens.from_bytes([b"%s%x" % (w, i) for i, w in enumerate(words)], "strict")


def matrix(rows: int, dim: int) -> np.ndarray:
    """Normal values, float32."""
    return np.random.default_rng(2).standard_normal((rows, dim), dtype=np.float32) * 0.4


def _rounded(values: np.ndarray) -> np.ndarray:
    """Up to five significant digits, as GloVe's files have them."""
    scale = 10.0 ** (4 - np.floor(np.log10(np.abs(values).astype(np.float64) + 1e-12)))
    return (np.round(values * scale) / scale).astype(np.float32)


def corpus_words() -> tuple[bytearray, np.ndarray, np.ndarray]:
    """Different words of syllables: all of them, where each starts [n], and its bytes [n].

    A mark and a place for what separates words follow each of them. Frequent words are shorter.
    """
    syllables = [bytes([c, v]) for c in CONSONANTS for v in VOWELS]
    ends = [(ODD_ENDS[i // 64 % 4] if i % 64 == 0 else ENDS[i % 8]).encode() for i in range(256)]
    longer = chain.from_iterable(product(syllables, repeat=n) for n in count(1))
    words = map(b"".join, islice(longer, CORPUS_WORDS))
    spelled = [word + ends[i * 2_654_435_761 % 2**32 >> 24] for i, word in enumerate(words, 1)]
    size = np.fromiter(map(len, spelled), np.int64, CORPUS_WORDS)
    return bytearray(b", ".join(spelled) + b", "), np.cumsum(size + 2) - size - 2, size


def sentences(megabytes: float) -> Iterator[tuple[memoryview, np.ndarray]]:
    """Text of about that size, sentences of 5 to 40 words a line; where each of them starts.

    How often a word occurs falls with its rank (Zipf), so that new words never end. Some words have
    a capital, a punctuation mark behind them, or a letter that is not ASCII.
    """
    words, start, size = corpus_words()
    random = np.random.default_rng(4)
    left, power = int(megabytes * 1e6), 1 - CORPUS_EXPONENT
    while left > 0:
        last = np.cumsum(random.integers(5, 41, SENTENCES)) - 1
        n = int(last[-1]) + 1
        drawn = 1 + random.random(n) * (float(CORPUS_WORDS) ** power - 1)
        rank = np.minimum(drawn ** (1 / power), CORPUS_WORDS).astype(np.int64) - 1
        marked = random.random(n) < 0.08
        marked[last] = True
        spans = np.stack([start[rank], size[rank] + 1 + marked], axis=1)
        text = ef.Tokens.from_spans(words, spans)
        letters, at = np.frombuffer(text.blob, np.uint8), text.offsets
        letters[at[1:][marked] - 2] = MARKS[random.integers(0, len(MARKS), int(marked.sum()))]
        letters[at[1:] - 1] = ord(" ")
        letters[at[1:][last] - 2], letters[at[1:][last] - 1] = ord("."), ord("\n")
        capital = random.random(n) < 0.03
        capital[0], capital[last[:-1] + 1] = True, True
        letters[at[:-1][capital]] -= 32
        starts = np.append(0, at[1:][last])
        kept = int(np.searchsorted(starts, left)) if left < starts[-1] else SENTENCES
        yield text.blob[: starts[kept]], starts[: kept + 1]
        left -= int(starts[kept])


@dataclass(frozen=True)
class Inputs:
    """A folder of input files, at a scale; each is made when it is first asked for."""

    folder: Path
    scale: float = 1.0

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """The file of a name; one that could not be completed is made again."""
        path = self.folder / name
        if not path.exists():
            unfinished = self.folder / f"unfinished-{name}"
            unfinished.unlink(missing_ok=True)
            make(unfinished)
            unfinished.rename(path)
        return path

    def rows(self, rows: int) -> int:
        """So many rows, scaled."""
        return max(1, int(rows * self.scale))

    def target(self, name: str) -> Path:
        """Where a contender writes."""
        return self.folder / f"target-{name}"

    def glove(self, times: int = 1) -> Path:
        """GloVe text of about 300 MB times `times`."""
        rows = self.rows(GLOVE_ROWS) * times
        return self.text(rows, GLOVE_DIM)

    def text(self, rows: int, dim: int) -> Path:
        """GloVe text."""
        embeddings = lambda: ef.Embeddings(tokens(rows), _rounded(matrix(rows, dim)))  # noqa: E731
        return self.made(f"text-{rows}-{dim}.txt", lambda path: ef.write(embeddings(), path))

    def binary(self, times: int = 1) -> Path:
        """word2vec binary of 1.2 GB times `times`."""
        rows = self.rows(BINARY_ROWS) * times
        return self.dense("bin", rows, LARGE_DIM)

    def store(self, megabytes: float | None = None) -> Path:
        """A store of 3.6 GB, or of the size asked for."""
        rows = STORE_ROWS if megabytes is None else int(megabytes * 1e6) // (4 * LARGE_DIM)
        return self.dense("safetensors", self.rows(rows), LARGE_DIM)

    def dense(self, suffix: str, rows: int, dim: int) -> Path:
        """A file of normal vectors in one of our formats."""
        return self.made(
            f"{suffix}-{rows}-{dim}.{suffix}",
            lambda path: ef.write(ef.Embeddings(tokens(rows), matrix(rows, dim)), path),
        )

    def hdf5(self, **options: object) -> Path:
        """Half a gigabyte of HDF5 with tokens beside, as others write it."""
        rows = self.rows(BINARY_ROWS // 2)
        name = "-".join(["hdf5", str(rows), *(str(value) for value in options.values())])

        def make(path: Path) -> None:
            with h5py.File(path, "w") as file:
                file.create_dataset("vectors", data=matrix(rows, LARGE_DIM), **options)
                file.create_dataset("tokens", data=list(tokens(rows)), dtype=h5py.string_dtype())

        return self.made(f"{name}.h5", make)

    def npy(self) -> Path:
        """A matrix as NumPy saves it, with its tokens in a text file beside it."""
        rows = self.rows(BINARY_ROWS)

        def make(path: Path) -> None:
            with path.open("wb") as file:
                np.save(file, matrix(rows, LARGE_DIM))
            side = path.with_name(f"npy-{rows}.tokens.txt")
            side.write_text("".join(f"{token}\n" for token in tokens(rows)), encoding="utf-8")

        return self.made(f"npy-{rows}.npy", make)

    def gzipped(self) -> Path:
        """The text of 300 MB, packed by gzip."""
        source = self.glove()
        return self.made(f"{source.name}.gz", lambda path: ef.convert(source, path))

    def zstandard(self) -> Path:
        """The text of 300 MB, packed by zstd."""
        source = self.glove()
        return self.made(f"{source.name}.zst", lambda path: ef.convert(source, path))

    def vocabulary(self, of: Path, words: int = VOCABULARY) -> Path:
        """A vocabulary file of tokens drawn from a file."""

        def make(path: Path) -> None:
            known = ef.read(of).tokens
            rows = np.random.default_rng(3).permutation(len(known))[:words]
            lines = "".join(f"{known[int(row)]}\n" for row in rows)
            path.write_text(lines, encoding="utf-8")

        return self.made(f"{of.name}.{words}.words", make)

    def corpus(self, megabytes: float) -> Path:
        """A text on each line, about so many MB."""

        def make(path: Path) -> None:
            with path.open("wb") as file:
                for text, _ in sentences(megabytes * self.scale):
                    file.write(text)

        return self.made(f"corpus-{megabytes * self.scale:g}.txt", make)

    def labelled_corpus(self, megabytes: float) -> Path:
        """The same texts as TSV, with an id and a label before each."""

        def make(path: Path) -> None:
            random, first = np.random.default_rng(5), 0
            with path.open("wb") as file:
                file.write(b"id\tlabel\ttext\n")
                for text, starts in sentences(megabytes * self.scale):
                    labels = random.integers(0, len(LABELS), len(starts) - 1).tolist()
                    file.writelines(
                        b"%d\t%s\t%s" % (first + i, LABELS[label].encode(), text[low:high])
                        for i, (label, (low, high)) in enumerate(
                            zip(labels, pairwise(starts.tolist()), strict=True)
                        )
                    )
                    first += len(labels)

        return self.made(f"corpus-{megabytes * self.scale:g}.tsv", make)

    def corpus_table(self, megabytes: float) -> Path:
        """Vectors of the most frequent tokens of those texts, aligned to them."""

        def make(path: Path) -> None:
            counts = ef.count_corpus(self.corpus(megabytes), max_size=CORPUS_TOKENS)
            vocabulary = ef.Vocabulary.from_counts(counts)
            values = matrix(len(counts), CORPUS_DIM)
            ef.align(ef.Embeddings(list(counts), values), vocabulary).save(path)

        return self.made(f"corpus-{megabytes * self.scale:g}.safetensors", make)

    def bare_parser(self) -> Path:
        """The bare parser as a program."""
        source = Path(__file__).parent / "bare.c"
        compiler = ["cc", "-O3", "-march=native", "-pthread", "-shared", "-fPIC", str(source)]

        def make(path: Path) -> None:
            subprocess.run([*compiler, "-o", str(path)], check=True)

        return self.made("bare.so", make)
