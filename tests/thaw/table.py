"""Writes docs/thawing.md: `PYTHONPATH=tests python -m thaw.table`."""

from __future__ import annotations

from pathlib import Path

from thaw.attempts import ATTEMPTS, PARTS
from thaw.trial import NONE, Attempt, Expected

PAGE = Path(__file__).parents[2] / "docs" / "thawing.md"
# Themes that stand elsewhere than their numbers say: optimizers come after switches and writes.
PLACES = {100: 450}
COLUMNS = "| number | attempt | stock `Embedding` | `tf.Variable` | ours |"
NAMES = {
    "ours": "sealed",
    "guarded": "with a `FreezeGuard`",
    "watched": "watched",
    "copied": '`seal="copy"`',
    "eager": "eager",
    "graph": "graph",
    "jit": "jit",
}
HEAD = """# Ways to thaw, and what comes of them

A frozen table can be thawed by accident in many ways, and on purpose in more. Each row below is one
of them. A test makes the same small model over three subjects and really does it:

* **stock `Embedding`**: `keras.layers.Embedding(..., trainable=False)`, given the matrix;
* **`tf.Variable`**: `tf.Variable(matrix, trainable=False)`, with `tf.gather`, in a small layer;
* **ours**: `FrozenEmbedding`, over sealed memory unless the row says otherwise; where the memory or
  the file matters, over a *watched* store too (mapped from its file), and over one that was read
  with `seal="copy"`.

Training is `fit` in each of the three ways in which Keras runs a step: eager (`run_eagerly=True`),
graph (the default) and jit (`jit_compile=True`); each with one and with five steps an execution
(`steps_per_execution`). Keras accepts `run_eagerly=True` together with `steps_per_execution=5`: it
then runs five eager steps before it calls back. Steps by hand are run as they are, in a
`tf.function`, and in one with `jit_compile=True`. A row holds in all six modes unless it says
otherwise (with five steps an execution, one row in eight is tried on the stock subjects, and all on
ours). What is done *in a callback* is done between two executions of one `fit`.

Of a stock subject, **CHANGED** means that afterwards the bytes of the table differ, or that the
layer gives other vectors, or that a copy or a clone of the model does. A row in which neither stock
subject changes in any mode is marked as a control, and one about what only ours has (a descriptor,
a mapped file) as ours alone. The three outcomes of ours:

* **unchanged**: nothing is raised, every byte is the same (the test hashes them), and lookups give
  the same vectors (in a lower precision, where the layer's dtype policy asks for that);
* **refused**: `FrozenError`, whose message ends in a remedy, and every byte is the same;
* **caught**: `FrozenBytesChanged` after the very execution in which it happened, from `fit` or, for
  steps by hand, from `embedfreeze.verify`; its `step` is that execution's.

An error in parentheses is one of Keras, TensorFlow, NumPy or the operating system, which refuse
something before it comes to the variable. *The process dies*: the kernel ended a child process that
tried, as it protects the memory; in this one nothing changed.

Numbers are names: each attempt keeps its own, in whatever order the sections stand. This page is
written by `PYTHONPATH=tests python -m thaw.table`; a test fails if it is not up to date, and others
if an outcome is not the one below.
"""
LIMITS = """## What this does not promise

* **Only `deep` sees other memory at the same address** (`MAP_FIXED` over the mapping), where
  address and seals stay; and two changes of a watched store after which all that the kernel tells
  of the file is as it was: writes of a process that mapped it, writable, before it was opened; and
  an edit in the very clock tick (some milliseconds) in which it was opened, which does not change
  its times. `check="deep"`, `FreezeGuard("deep")` and `embedfreeze.verify(model, deep=True)` hash
  every byte.
* **A watched store is taken as it is when it is opened**: only its header is read, and a check
  compares the file with what it was then. Whether its vectors have the digest in the header is
  found by `deep`, or by `seal="copy"`, which compares them when the store is read.
* **A watched store that is cut ends the process** (`SIGBUS`) as soon as something reads behind the
  new end. Read a store that others may write to with `seal="copy"`: it is then copied into sealed
  memory, and whatever happens to the file is harmless. Where a check comes before the read, it says
  so in words.
* **A store through a writable view ends the process** (`SIGSEGV`): `tensor._numpy()`, the `Inplace`
  operations of TensorFlow and raw addresses are past all that Python can refuse.
* **A check looks when an execution ends.** Within one execution the table may differ, and what was
  computed from it then is not taken back: with `steps_per_execution=5` up to five steps. Other
  bytes that are put back before the execution ends were there, unseen.
* **A traced function is searched for writes if it asks the variable for its handle**, as every
  lookup does, and once: `fit` of a model that was refused searches again, a `tf.function` of your
  own does not. A function that only uses a handle taken elsewhere is not searched; what it writes
  is found when it runs.
* **An error that is not ours can come first**: where a step itself fails, no check follows it. The
  next one does.
* **The proof is of the table**, not of the code around it: a layer's `call` that is replaced, or a
  model that scales the vectors, computes something else from the same bytes.
* **Code that rewrites this library's own objects** (its classes, the functions of its modules, the
  private attributes that hold what is compared with what) can make any check say anything.
"""


def told(outcome: Expected, kinds: tuple[str, ...]) -> str:
    """An outcome in a cell; those that differ by mode or subject one after the other."""
    if isinstance(outcome, str):
        return NONE if outcome == NONE else outcome
    groups: dict[str, list[str]] = {}
    for key, value in outcome.items():
        groups.setdefault(value, []).append(" ".join(NAMES[part] for part in key.split()))
    rest = [value for value, names in groups.items() if names == [""]]
    named = [f"{', '.join(filter(None, n))}: {v}" for v, n in groups.items() if n != [""]]
    if kinds and set(outcome) >= set(kinds):
        rest = []
    return "; ".join([*named, *(f"else {value}" if named else value for value in rest)])


def row(number: int, attempt: Attempt) -> str:
    """A row of the table."""
    kinds = tuple(attempt.kinds)
    cells = [told(attempt.stock, ()), told(attempt.variable, ()), told(attempt.ours, kinds)]
    if isinstance(attempt.ours, str) and kinds != ("ours",):
        cells[2] = f"{', '.join(NAMES[kind] for kind in kinds)}: {cells[2]}"
    if len(attempt.runs) < 3:
        cells[2] += f" ({', '.join(attempt.runs)} only)"
    if attempt.note:
        cells[2] += f"; {attempt.note}"
    return f"| {number} | {attempt.title}{attempt.mark} | {' | '.join(cells)} |"


def described() -> str:
    """The whole page."""
    lines = [HEAD, LIMITS]
    for base in sorted(PARTS, key=lambda base: PLACES.get(base, base)):
        title, part = PARTS[base]
        lines += [f"## {title}", "", COLUMNS, "| --- | --- | --- | --- | --- |"]
        lines += [row(number, ATTEMPTS[number]) for number in range(base + 1, base + len(part) + 1)]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(described(), encoding="utf-8")
