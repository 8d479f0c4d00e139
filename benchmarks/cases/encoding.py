"""Features of a corpus: pooled vectors of every text, with labels, in files."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from functools import partial
from typing import Any

import numpy as np

from benchmarks.inputs import LABELS
from benchmarks.measuring import Result, measured
from benchmarks.suite import Bar, Case, Runs

ONE = "embedfreeze, 1 process"
PLAIN = "vocabulary.encode and NumPy"


def encoded(corpus: str, table: str, **options: Any) -> Result:
    """`embedfreeze.encode`, with all cores."""
    import embedfreeze as ef

    encode = ef.encode
    result: Result = {}
    out = tempfile.mkdtemp(dir=os.path.dirname(corpus))
    try:
        with measured(result, corpus):
            manifest = encode(
                table, corpus, f"{out}/features", label="label", label_names=LABELS, **options
            )
        return {**result, "rows": manifest.texts, "digest": digest_of(f"{out}/features")}
    finally:
        shutil.rmtree(out)


def digest_of(folder: str) -> str:
    """Of the features and labels of all shards, in their order."""
    found = hashlib.sha256()
    for name in sorted(os.listdir(folder)):
        if name.endswith(".npy"):
            found.update(np.load(f"{folder}/{name}", mmap_mode="r"))
    return found.hexdigest()[:16]


def on_ray(corpus: str, table: str) -> Result:
    """On a cluster of Ray's on this machine, which is there before the clock runs."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", log_to_driver=False, logging_level="ERROR")
    try:
        return encoded(corpus, table, engine="ray")
    finally:
        ray.shutdown()


def plain(corpus: str, table: str) -> Result:
    """As one writes it by hand, in one process: a batch of texts at a time, the mean by a mask."""
    import embedfreeze as ef

    result: Result = {}
    with measured(result, corpus):
        embeddings = ef.read(table)
        vocabulary, matrix = embeddings.vocabulary, embeddings.matrix
        n, features = 0, []
        with open(corpus, encoding="utf-8", newline="\n") as lines:
            next(lines)
            texts: list[str] = []
            for line in lines:
                texts.append(line.rstrip("\n").split("\t")[2])
                if len(texts) == 1024:
                    features.append(means(vocabulary.encode(texts), matrix))
                    n += len(texts)
                    texts = []
            if texts:
                features.append(means(vocabulary.encode(texts), matrix))
        found = np.concatenate(features)
    return {**result, "rows": len(found)}


def means(ids: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Of the vectors of each text, padding left out."""
    kept = (ids != 0)[..., None]
    total = np.where(kept, matrix[ids], np.float32(0)).sum(axis=1, dtype=np.float32)
    return total / np.maximum(kept.sum(axis=1), 1).astype(np.float32)


def against_one(runs: Runs) -> float | None:
    """How many times as fast all cores are as one process."""
    return runs[ONE]["seconds"] / runs["embedfreeze"]["seconds"] if ONE in runs else None


CASES = [
    Case(
        "encode a corpus, 1 GB",
        lambda inputs: [inputs.labelled_corpus(1000), inputs.corpus_table(1000)],
        {
            "embedfreeze": encoded,
            ONE: partial(encoded, processes=1),
            "embedfreeze, Ray": on_ray,
            PLAIN: plain,
        },
        (Bar("all cores against one process", 1, against_one),),
        same=(ONE, "embedfreeze, Ray"),
    )
]
