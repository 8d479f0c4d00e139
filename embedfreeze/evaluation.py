"""How well vectors agree with people: word similarity and analogies, by gensim's evaluators."""

from __future__ import annotations

import contextlib
import io
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embedfreeze.batch.progress import shown_bar
from embedfreeze.embeddings import Embeddings, keyed_vectors
from embedfreeze.errors import FormatError
from embedfreeze.files import PathLike, name_of
from embedfreeze.formats import TableLike, embeddings_of
from embedfreeze.scores import AnalogyScore, AnalogySection, Evaluation, PairScore
from embedfreeze.threads import spans
from embedfreeze.vocabularies.lines import read_bytes

__all__ = ["RESTRICT_VOCAB", "evaluate"]

RESTRICT_VOCAB = 300_000  # gensim's own default
NORM_ROWS = 1 << 12  # at a time
PAIRS, ANALOGIES = ("wordsim353.tsv", "simlex999.txt"), ("questions-words.txt",)
Fold = Callable[[str], str]


def evaluate(
    embeddings: TableLike,
    *,
    pairs: Sequence[PathLike] | None = None,
    analogies: Sequence[PathLike] | None = None,
    restrict_vocab: int = RESTRICT_VOCAB,
    case_sensitive: bool = False,
) -> Evaluation:
    """Word similarity and analogies, by gensim's own evaluators on the same memory.

    Questions with a word that the table has not are left out, and counted. Rows of a store that a
    policy for missing tokens filled in, and those of special tokens, take no part.

    Parameters
    ----------
    embeddings : Embeddings, AlignedEmbeddings, or path
        A path is read as `read` does. Rows that are not float32 are copied to it, exactly.
    pairs : sequence of path, optional
        Files of judgements: two words and a number a line, with tabs between. Default: WordSim-353
        and SimLex-999, which gensim brings.
    analogies : sequence of path, optional
        Files of questions: four words a line, below lines such as ``: capitals``. Default: Google's
        questions-words, which gensim brings. They take long on a large table; ``[]`` for none.
    restrict_vocab : int
        Only the first so many rows take part, as in gensim.
    case_sensitive : bool
        Default: as in gensim, words are compared in upper case, and the first row counts.

    Returns
    -------
    Evaluation
        Scores with what share of the pairs and questions they rest on; it prints as tables.

    Raises
    ------
    EmbedFreezeError
        gensim is not installed.
    FormatError
        A file has no pair or no question in it.

    Examples
    --------
    >>> import embedfreeze as ef
    >>> e = ef.read("data/glove.6B.50d.sample.txt")
    >>> result = evaluate(e, analogies=[])
    >>> result.pairs[0].used, round(result.pairs[0].spearman, 4)
    (202, 0.554)
    """
    if restrict_vocab < 1:
        raise ValueError(f"restrict_vocab must be at least 1, received {restrict_vocab}")
    keyed_vectors()  # that gensim is missing is said before anything is read
    given = _of_gensim(PAIRS) if pairs is None else pairs
    asked = _of_gensim(ANALOGIES) if analogies is None else analogies
    pair_files = [_Pairs.read(path) for path in given]
    question_files = [_Questions.read(path) for path in asked]
    embeddings = embeddings_of(embeddings)
    kept = _searched(embeddings, restrict_vocab)
    fold = str if case_sensitive else str.upper
    known = {fold(token) for token in kept.tokens}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows of zeros, and of values that are all the same
        vectors = _vectors(kept)
        return Evaluation(
            embeddings.path,
            len(embeddings),
            embeddings.dim,
            len(kept),
            tuple(file.score(vectors, known, fold) for file in pair_files),
            tuple(file.score(vectors, known, fold) for file in question_files),
        )


def _of_gensim(names: Sequence[str]) -> list[str]:
    from gensim.test.utils import datapath

    return [datapath(name) for name in names]


def _searched(embeddings: Embeddings, restrict_vocab: int) -> Embeddings:
    """The rows that take part, as float32: over the same memory where they are that already."""
    n = min(len(embeddings), restrict_vocab)
    tokens, matrix = embeddings.tokens.escaped().part(0, n), embeddings.matrix[:n]
    found = embeddings.alignment.found
    if found is not None and not found[:n].all():
        rows = np.flatnonzero(found[:n])
        tokens, matrix = tokens.take(rows), matrix[rows]
    return Embeddings(tokens, matrix).astype("float32")


def _vectors(kept: Embeddings) -> Any:
    """gensim's vectors, with the norms that it would compute in a copy of the whole matrix."""
    vectors = kept.to_gensim()
    norms = np.empty(len(kept), np.float32)
    for low, high in spans(0, len(kept), NORM_ROWS):
        norms[low:high] = np.linalg.norm(kept.matrix[low:high], axis=1)
    vectors.norms = norms
    return vectors


def _text(path: PathLike) -> str:
    name, data = name_of(path), read_bytes(path)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(
            f"words must be UTF-8, received {data[error.start : error.end]!r}: convert the file",
            path=name,
            offset=error.start,
        ) from None


@contextlib.contextmanager
def _copied(text: str) -> Iterator[str]:
    """The path of a file for gensim, which reads nothing else; the text may have been packed."""
    with tempfile.TemporaryDirectory(prefix="embedfreeze-") as folder:
        path = os.path.join(folder, "lines.txt")
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        yield path


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class _Pairs:
    """A file of judgements: what gensim takes of it."""

    name: str
    text: str
    pairs: list[tuple[str, str]]
    bad_lines: int

    @classmethod
    def read(cls, path: PathLike) -> _Pairs:
        text, pairs, bad = _text(path), list[tuple[str, str]](), 0
        for line in io.StringIO(text, newline=None):
            if line.startswith("#") or not line.strip():
                continue
            try:
                one, other, judged = line.split("\t")
                float(judged)
                pairs.append((one, other))
            except ValueError:
                bad += 1
        if not pairs:
            raise FormatError(
                "lines must be two words and a number with tabs between, received none such: mend "
                "the file",
                path=name_of(path),
            )
        return cls(os.path.basename(name_of(path)), text, pairs, bad)

    def score(self, vectors: Any, known: set[str], fold: Fold) -> PairScore:
        used = sum(fold(a) in known and fold(b) in known for a, b in self.pairs)
        score = PairScore(self.name, len(self.pairs), used, self.bad_lines)
        if used < 2:
            return score
        with _copied(self.text) as path:
            pearson, spearman, _ = vectors.evaluate_word_pairs(
                path, restrict_vocab=len(vectors), case_insensitive=fold is not str
            )
        return replace(
            score,
            pearson=_number(pearson[0]),
            pearson_p=_number(pearson[1]),
            spearman=_number(spearman[0]),
            spearman_p=_number(spearman[1]),
        )


@dataclass(frozen=True)
class _Questions:
    """A file of analogies: what gensim takes of it."""

    name: str
    text: str
    sections: list[tuple[str, list[list[str]]]]
    bad_lines: int

    @classmethod
    def read(cls, path: PathLike) -> _Questions:
        text, sections, bad = _text(path), list[tuple[str, list[list[str]]]](), 0
        for number, line in enumerate(text.split("\n"), start=1):
            if line.startswith(": "):
                sections.append((line.lstrip(": ").strip(), []))
            elif not line.strip():
                continue
            elif not sections:
                raise FormatError(
                    f"questions must stand below a line such as ': capitals', received "
                    f"{line[:40]!r} above the first: mend the file",
                    path=name_of(path),
                    line=number,
                )
            elif len(words := line.split()) == 4:
                sections[-1][1].append(words)
            else:
                bad += 1
        if not any(questions for _, questions in sections):
            raise FormatError(
                "lines must be four words below a line such as ': capitals', received none such: "
                "mend the file",
                path=name_of(path),
            )
        return cls(os.path.basename(name_of(path)), text, sections, bad)

    def score(self, vectors: Any, known: set[str], fold: Fold) -> AnalogyScore:
        used = [
            sum(all(fold(word) in known for word in words) for words in questions)
            for _, questions in self.sections
        ]
        correct = [0] * len(used)
        if any(used):
            correct = self._correct(vectors, sum(used), fold)
        parts = tuple(
            AnalogySection(name, len(questions), *numbers)
            for (name, questions), *numbers in zip(self.sections, used, correct, strict=True)
        )
        total = sum(part.total for part in parts)
        return AnalogyScore(self.name, total, sum(used), sum(correct), self.bad_lines, parts)

    def _correct(self, vectors: Any, used: int, fold: Fold) -> list[int]:
        """Right answers in each section."""
        answer = vectors.most_similar
        with _copied(self.text) as path, shown_bar(used, "analogies", " questions") as bar:

            def counted(*arguments: Any, **options: Any) -> Any:
                bar(1)
                return answer(*arguments, **options)

            vectors.most_similar = counted  # gensim asks once for each question
            try:
                _, sections = vectors.evaluate_word_analogies(
                    path, restrict_vocab=len(vectors), case_insensitive=fold is not str
                )
            finally:
                del vectors.most_similar
        return [len(section["correct"]) for section in sections[:-1]]
