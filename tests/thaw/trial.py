"""One attempt on one subject in one mode, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

import embedfreeze as ef
from embedfreeze.errors import EmbedFreezeError, FrozenBytesChanged
from thaw import subjects
from thaw.subjects import BATCH, IDS, LABELS, Kind, Mode, Subject

# Outcomes. Those of the stock subjects may end in the error that Keras or TensorFlow raised.
CHANGED, UNCHANGED, REFUSED, CAUGHT = "CHANGED", "unchanged", "refused", "caught"
DIES, NONE = "the process dies", "does not apply"
Expected = str | Mapping[str, str]


@cache
def batches(number: int) -> tf.data.Dataset:
    """So many batches of texts; one data set for all models, as it takes long to make."""
    return tf.data.Dataset.from_tensor_slices((IDS, LABELS)).batch(BATCH, True).take(number)


@dataclass
class Trial:
    """A subject that an attempt may do anything to."""

    subject: Subject
    mode: Mode
    happened: int | tuple[int, int] | None = None  # the steps after which a check must find it
    options: dict[str, Any] = field(default_factory=dict)  # of compile

    @property
    def model(self) -> keras.Model:
        return self.subject.model

    @property
    def layer(self) -> Any:
        return self.subject.layer

    @property
    def variable(self) -> Any:
        return self.subject.variable

    @property
    def tf_variable(self) -> Any:
        return self.subject.tf_variable

    @property
    def handle(self) -> Any:
        return self.tf_variable.handle

    def again(self, **options: Any) -> None:
        """Replace the subject by a new one whose layer has these options."""
        self.subject = subjects.subject(self.subject.kind, self.subject.folder, **options)

    # ---- training

    def compile(self, **options: Any) -> None:
        model, run = self.model, self.mode.run
        model.compile(
            **{"optimizer": keras.optimizers.SGD(0.1), "loss": "mse", **self.options, **options},
            run_eagerly=run == "eager",
            jit_compile=run == "jit",
            steps_per_execution=self.mode.steps,
        )

    def fit(self, *callbacks: keras.callbacks.Callback, epochs: int = 1, **options: Any) -> None:
        """Two executions an epoch."""
        callbacks = [*callbacks, ef.FreezeGuard()] if self.subject.kind == "guarded" else callbacks
        self.model.fit(
            batches(2 * self.mode.steps),
            epochs=epochs,
            **{"verbose": 0, "shuffle": False, "callbacks": list(callbacks), **options},
        )

    def train(self, *callbacks: keras.callbacks.Callback, **options: Any) -> None:
        """Compile with these options, and fit."""
        self.compile(**options)
        self.fit(*callbacks)

    def inside(self, act: Callable[[], object], **options: Any) -> None:
        """Train a model that does this in each step."""
        self.begin()
        self.subject.within.act = act
        try:
            self.train(**options)
        finally:
            self.subject.within.act = None

    def during(self, act: Callable[[], object], **options: Any) -> None:
        """Train, and do this once, from a callback, before the second execution."""
        self.begin(1 + self.mode.steps)
        self.train(_Before(self.mode.steps, act), **options)

    def by_hand(self, step: Callable[[], object], steps: int | None = None) -> None:
        """Run a step of the user's own as one execution, and look whether all is as it was."""

        def execution() -> None:
            for _ in range(steps or self.mode.steps):
                step()

        run = self.mode.run
        if run != "eager":
            execution = tf.function(execution, autograph=False, jit_compile=run == "jit")
        execution()
        if self.subject.ours:
            ef.verify(self.model)

    def begin(self, first: int = 1) -> None:
        """The execution that begins with this step, counted from 1, is to find what happens."""
        self.happened = first if self.mode.steps == 1 else (first, first + self.mode.steps - 1)


class _Before(keras.callbacks.Callback):  # type: ignore[misc]
    """Acts once, before a batch."""

    def __init__(self, batch: int, act: Callable[[], object]) -> None:
        super().__init__()
        self.batch = batch
        self.act: Callable[[], object] | None = act

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == self.batch and self.act is not None:
            act, self.act = self.act, None
            act()


@dataclass(frozen=True)
class Attempt:
    """One way to thaw, and what must come of it.

    Attributes
    ----------
    title : str
        For the table.
    act : callable
        Does it, to the subject of a trial.
    stock, variable : str or dict
        What happens to a stock `Embedding(trainable=False)` and to a `tf.Variable`: CHANGED or
        UNCHANGED, with the name of the error behind it in parentheses, if there is one. A dict
        names the run modes that differ; "" stands for the others.
    ours : str or dict
        UNCHANGED, REFUSED or CAUGHT, for each of `kinds`.
    kinds : tuple of str
        Which of ours it is tried on.
    runs : tuple of str
        The run modes that make sense, where not all do, with the reason in `note`.
    note : str
        For the table.
    """

    title: str
    act: Callable[[Trial], object]
    stock: Expected = CHANGED
    variable: Expected = CHANGED
    ours: Expected = REFUSED
    kinds: Sequence[Kind] = ("ours",)
    runs: Sequence[str] = ("eager", "graph", "jit")
    note: str = ""

    @property
    def mark(self) -> str:
        """What the title is marked with: a control changes neither stock subject in any mode."""
        told = {*_values(self.stock), *_values(self.variable)}
        if told == {NONE}:
            return " (ours alone)"
        changes = any(outcome.startswith(CHANGED) for outcome in told)
        return "" if changes else " (control)"

    def expected(self, kind: Kind, run: str) -> str:
        """The outcome that must come of it."""
        told = self.stock if kind == "stock" else self.variable if kind == "variable" else self.ours
        if isinstance(told, str):
            return told
        for key in (f"{kind} {run}", kind, run):
            if key in told:
                return told[key]
        return told[""]


def _values(told: Expected) -> list[str]:
    return [told] if isinstance(told, str) else list(told.values())


class Died(RuntimeError):
    """A child process was ended by this signal."""


ERRORS = (
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    KeyError,
    OSError,
    tf.errors.OpError,
)


def outcome(attempt: Attempt, kind: Kind, mode: Mode, folder: Path) -> str:
    """What an attempt does to a new subject; for ours, an AssertionError if it is none of three."""
    trial = Trial(subjects.subject(kind, folder), mode)
    error = None
    try:
        attempt.act(trial)
    except ERRORS as raised:
        error = raised
    if trial.subject.ours:
        return _of_ours(trial, error)
    told = CHANGED if trial.subject.is_changed() else UNCHANGED
    return told if error is None else f"{told} ({type(error).__name__})"


def _of_ours(trial: Trial, error: Exception | None) -> str:
    if isinstance(error, FrozenBytesChanged):
        assert error.step in (trial.happened, None), f"found after {error.step}: {error}"
        return CAUGHT
    ef.verify(trial.model, deep=True)
    assert not trial.subject.is_changed(), f"changed unseen ({error!r})"
    if error is None:
        return UNCHANGED
    if isinstance(error, Died):
        return f"{DIES} ({error})"
    if isinstance(error, EmbedFreezeError):
        assert has_remedy(str(error)), f"no remedy: {error}"
        return REFUSED
    return f"{UNCHANGED} ({type(error).__name__})"


def has_remedy(message: str) -> bool:
    """Does a message end in what to do?"""
    words = ("give ", "build ", "call ", "thaw", "write ", "use ", "load ", "save ", "store")
    return any(word in message.replace(":", ";").rpartition("; ")[2] for word in words)
