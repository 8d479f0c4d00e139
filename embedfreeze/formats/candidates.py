"""Which of the matrices that a file holds is the one with a row for each token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

__all__ = ["Candidate", "Kind", "described", "kind_of", "likely"]

Kind = Literal["embedding", "matrix", "kernel", "optimizer"]  # the likeliest first
SHOWN = 20  # in a message
_OPTIMIZER = re.compile(
    r"(^|/)(optimizer|optimizer_weights|training)/|/\.OPTIMIZER_SLOT/"
    r"|(^|/)(Adam|AdamW|Adamax|Nadam|SGD|Adagrad|Adadelta|RMSprop|RMSProp|Momentum|Ftrl|Lion"
    r"|ExponentialMovingAverage)(_\d+)?(/|$)"
    r"|_(momentum|velocity|accumulator)(:0)?$"
)
_KERNEL = re.compile(
    r"(^|/)(kernel|recurrent_kernel|depthwise_kernel|pointwise_kernel|weights)(:0)?$"
    r"|(^|/)(dense|lstm|gru|simple_rnn|conv[123]d)(_\d+)?/(cell/)?vars/"
)
_EMBEDDING = re.compile(r"embeddings?(_\d+)?(:0)?(/|$)|(^|/)word_embeddings", re.IGNORECASE)
_SAID = {"embedding": "embedding layer", "matrix": "", "kernel": "kernel", "optimizer": "optimizer"}


@dataclass(frozen=True)
class Candidate:
    """A matrix in a file.

    Attributes
    ----------
    name : str
        By which `member` chooses it.
    shape : tuple of int
        Rows and values in each.
    dtype : str
        Of the values in the file.
    kind : str
        What it belongs to, as far as its names tell.
    known_as : str or None
        What else it is called.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: Kind = "matrix"
    known_as: str | None = None

    def __str__(self) -> str:
        told = ", ".join(filter(None, (self.known_as, _SAID[self.kind])))
        return f"{self.name} {list(self.shape)} {self.dtype}{f' ({told})' if told else ''}"


def kind_of(*names: str | None) -> Kind:
    """What a variable belongs to, by its names in Keras and TensorFlow."""
    known = [name for name in names if name]
    if any(_OPTIMIZER.search(name) for name in known):
        return "optimizer"
    if any(_KERNEL.search(name) for name in known):
        return "kernel"
    return "embedding" if any(_EMBEDDING.search(name) for name in known) else "matrix"


def likely(candidates: Sequence[Candidate]) -> Candidate | None:
    """The only candidate, or the only one of an embedding layer."""
    if len(candidates) == 1:
        return candidates[0]
    found = [one for one in candidates if one.kind == "embedding"]
    return found[0] if len(found) == 1 else None


def described(candidates: Sequence[Candidate]) -> str:
    """Candidates for a message, the likeliest first, as many as it has room for."""
    order = list(_SAID)
    ranked = sorted(candidates, key=lambda one: order.index(one.kind))
    shown = ", ".join(map(str, islice(ranked, SHOWN)))
    return shown + (", ..." if len(ranked) > SHOWN else "") or "none"
