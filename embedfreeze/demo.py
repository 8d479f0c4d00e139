"""The main job on the bundled real sample: load, freeze, train, prove, save, reload, classify."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from embedfreeze.align import AlignedEmbeddings, load
from embedfreeze.backend import keras
from embedfreeze.errors import EmbedFreezeError, FileError
from embedfreeze.model import FrozenModel, build_model, load_model
from embedfreeze.splitters import Splitter
from embedfreeze.training import verify
from embedfreeze.vocabulary import Vocabulary

__all__ = ["classify", "run"]

EMBEDDINGS = "glove.6B.50d.sample.txt"
SENTENCES = "sentences.tsv"
SPLITTER = Splitter(delete=None, separators="[^a-z0-9']+")
SPLITS = 5
HELD_OUT = 0.2
BATCH = 32
AGAIN = [sys.executable, "-m", "embedfreeze", "demo", "--classify"]


@dataclass(frozen=True)
class Sentences:
    """Labelled sentences.

    Attributes
    ----------
    texts : list of str
        n sentences.
    labels : numpy.ndarray
        float32 [n]: 0 is negative, 1 positive.
    """

    texts: list[str]
    labels: npt.NDArray[np.float32]

    @classmethod
    def from_file(cls, path: str) -> Sentences:
        """Read the columns ``text`` and ``label`` of a TSV file."""
        try:
            with open(path, encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        except OSError as error:
            raise FileError(
                f"cannot be read: {error.strerror}; run this in the checkout, or name the folder "
                f"of the sample with --data",
                path=path,
            ) from error
        labels = np.array([row["label"] for row in rows], dtype=np.float32)
        return cls([row["text"] for row in rows], labels)

    def split(self, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows to train on and rows to test on, each label in both as often as in all."""
        random = np.random.default_rng(seed)
        train, test = [], []
        for label in np.unique(self.labels):
            rows = random.permutation(np.flatnonzero(self.labels == label))
            cut = round(HELD_OUT * len(rows))
            test.append(rows[:cut])
            train.append(rows[cut:])
        return random.permutation(np.concatenate(train)), np.concatenate(test)


def _model(aligned: AlignedEmbeddings, inputs: str) -> FrozenModel:
    return build_model(
        aligned,
        pooling="attention",
        hidden_units=[64],
        dropout=0.5,
        inputs="text" if inputs == "text" else "ids",
        optimizer=keras.optimizers.Adam(0.003),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )


def _fit(model: keras.Model, x: Any, labels: Any, epochs: int, what: str) -> None:
    with tqdm(total=epochs, desc=what, unit="epoch", disable=None, leave=False) as bar:
        step = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: bar.update())
        quiet: Any = 0  # Keras' own default makes a str of it
        model.fit(x, labels, BATCH, epochs, verbose=quiet, callbacks=[step])


def _accuracy(aligned: AlignedEmbeddings, sentences: Sentences, seed: int, epochs: int) -> float:
    """Train on one split and measure on what it held out."""
    keras.utils.set_random_seed(seed)
    train, test = sentences.split(seed)
    ids = aligned.vocabulary.encode(sentences.texts)
    model = _model(aligned, "ids")
    _fit(model, ids[train], sentences.labels[train], epochs, f"split {seed}")
    logits = np.asarray(model(ids[test]))[:, 0]
    return float(np.mean((logits > 0) == sentences.labels[test]))


def _check_cost(model: keras.Model, times: int = 1000) -> float:
    """Microseconds of one check of a model's table."""
    verify(model)
    start = time.perf_counter()
    for _ in range(times):
        verify(model)
    return (time.perf_counter() - start) / times * 1e6


def run(data: str, *, epochs: int = 20) -> None:
    """The demo; sentences on standard input are classified at its end.

    Parameters
    ----------
    data : str
        Folder of the sample files.
    epochs : int
        Of each training.

    Raises
    ------
    FileError
        The sample is not there.
    EmbedFreezeError
        The process that loads the saved model failed.
    """
    sentences = Sentences.from_file(os.path.join(data, SENTENCES))
    vocabulary = Vocabulary.from_texts(sentences.texts, splitter=SPLITTER)
    print(f"{len(sentences.texts)} real sentences, {len(vocabulary)} ids")
    aligned = load(os.path.join(data, EMBEDDINGS), vocabulary)
    print(f"\n{EMBEDDINGS}, read for this vocabulary into {aligned.sealed.guarantee} memory:")
    print(aligned.coverage)
    before = aligned.digest
    print(f"\nTraining on {SPLITS} splits (80 % to train, 20 % to test), every step checked")
    accuracies = []
    for seed in range(SPLITS):
        accuracies.append(_accuracy(aligned, sentences, seed, epochs))
        print(f"  split {seed}: accuracy {accuracies[-1]:.3f}", flush=True)
    print(f"accuracy {np.mean(accuracies):.3f} (mean of {SPLITS} splits)")
    with tempfile.TemporaryDirectory(prefix="embedfreeze-") as folder:
        path = _train_and_save(aligned, sentences, epochs, folder)
        print(f"digest before {before}")
        print(f"digest after  {aligned.digest}", flush=True)
        print(f"saved {os.path.getsize(path) / 1e6:.1f} MB; a new process loads it", flush=True)
        status = subprocess.run([*AGAIN, path]).returncode
    if status:
        raise EmbedFreezeError(f"the new process ended with status {status}: it says why")


def _train_and_save(
    aligned: AlignedEmbeddings, sentences: Sentences, epochs: int, folder: str
) -> str:
    """A model from text to logits, trained on all sentences, in a file."""
    keras.utils.set_random_seed(0)
    texts = keras.ops.convert_to_tensor(sentences.texts)
    model = _model(aligned, "text")
    _fit(model, texts, sentences.labels, epochs, "all")
    verify(model, deep=True)
    print(f"cost of the check {_check_cost(model):.0f} microseconds a step")
    path = os.path.join(folder, "sentiment.keras")
    model.save(path)
    return path


def classify(path: str, lines: Iterator[str] | Sequence[str]) -> None:
    """Load a model and print for each line whether it is positive or negative."""
    model = load_model(path)
    verify(model, deep=True)
    if sys.stdin.isatty():
        print("Type a sentence and Enter (Ctrl-D ends):", flush=True)
    for line in lines:
        text = line.strip()
        if text:
            logit = float(model(keras.ops.convert_to_tensor([text]))[0, 0])
            positive = 1 / (1 + np.exp(-logit))
            label = "positive" if logit > 0 else "negative"
            print(f"{label} ({positive:.2f})  {text}", flush=True)
