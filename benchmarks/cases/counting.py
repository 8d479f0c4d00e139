"""Counting how often each token occurs in a corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from benchmarks.measuring import Result, measured
from benchmarks.suite import Bar, Case, Runs, times_faster

ONE = "embedfreeze, 1 process"
SCIKIT_LEARN = "scikit-learn"
DELETED = str.maketrans(dict.fromkeys("!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"))


def cut(text: str) -> list[str]:
    """The tokens of a text, as `embedfreeze.Splitter()` has them, at their fastest in Python."""
    return text.lower().translate(DELETED).split()


def counted(result: Result, counts: Mapping[str, int]) -> Result:
    """What was counted, in an order that does not depend on who counted."""
    lines = (f"{token} {counts[token]}\n" for token in sorted(counts))
    found = hashlib.sha256("".join(lines).encode())
    return {**result, "digest": found.hexdigest()[:16], "rows": len(counts)}


def ours(path: str, processes: int | None = None) -> Result:
    """`embedfreeze.count_corpus`, with all cores."""
    import embedfreeze as ef

    count = ef.count_corpus
    result: Result = {}
    with measured(result, path):
        counts = count(path, processes=processes)
    return counted(result, counts)


def _one_process(path: str) -> Result:
    return ours(path, 1)


def _scikit_learn(path: str) -> Result:
    """`CountVectorizer` with one callable in place of its three steps, the sum of its columns."""
    from sklearn.feature_extraction.text import CountVectorizer

    result: Result = {}
    with measured(result, path), open(path, encoding="utf-8", newline="\n") as texts:
        vectorizer = CountVectorizer(analyzer=cut, dtype=np.int32)
        totals = np.asarray(vectorizer.fit_transform(texts).sum(axis=0))[0]
    names: Iterable[str] = vectorizer.get_feature_names_out().tolist()
    return counted(result, dict(zip(names, totals.tolist(), strict=True)))


def _gensim(path: str) -> Result:
    """`Dictionary`, which takes tokens and counts them; it may keep all of them."""
    from gensim.corpora import Dictionary

    result: Result = {}
    with measured(result, path), open(path, encoding="utf-8", newline="\n") as texts:
        dictionary = Dictionary(map(cut, texts), prune_at=None)
    return counted(result, {dictionary[i]: n for i, n in dictionary.cfs.items()})


def one_process_faster(runs: Runs) -> float:
    """How many times as long the fastest peer takes as we do in one process."""
    peers = [runs[name]["seconds"] for name in (SCIKIT_LEARN, "gensim") if name in runs]
    return float(min(peers) / runs[ONE]["seconds"])


CASES = [
    Case(
        "count a corpus, 100 MB",
        lambda inputs: [inputs.corpus(100)],
        {
            "embedfreeze": ours,
            ONE: _one_process,
            SCIKIT_LEARN: _scikit_learn,
            "gensim": _gensim,
        },
        (
            Bar("against scikit-learn", 3, times_faster(SCIKIT_LEARN)),
            Bar("against gensim", 3, times_faster("gensim")),
            Bar("in one process against the fastest", 3, one_process_faster),
        ),
        same=(ONE, SCIKIT_LEARN, "gensim"),
    )
]
