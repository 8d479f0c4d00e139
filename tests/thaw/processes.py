"""What is done to the descriptor of the memory, and by forked processes."""

from __future__ import annotations

import os
from contextlib import suppress

import tensorflow as tf

from embedfreeze.errors import FrozenBytesChanged
from thaw.children import in_child
from thaw.memory import IN_CHILD, KINDS, NOT_STOCK, OS_ERROR, PERMISSION, in_training
from thaw.subjects import OTHER
from thaw.trial import CAUGHT, UNCHANGED, Attempt, Trial


def descriptor_written(trial: Trial) -> None:
    sealed = trial.variable.sealed
    os.pwrite(sealed._fd, OTHER.tobytes(), sealed.offset)


def descriptor_opened_anew(trial: Trial) -> None:
    fd = os.open(f"/proc/self/fd/{trial.variable.sealed._fd}", os.O_RDWR)
    try:
        os.pwrite(fd, OTHER.tobytes(), 0)
    finally:
        os.close(fd)


def descriptor_cut(trial: Trial) -> None:
    fd = os.open(f"/proc/self/fd/{trial.variable.sealed._fd}", os.O_RDWR)
    try:
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def descriptor_closed(trial: Trial) -> None:
    """As programs do that become daemons: every descriptor of the process."""
    sealed = trial.variable.sealed
    sealed._close.detach()
    os.close(sealed._fd)


def descriptor_given_away(trial: Trial) -> None:
    """Closed, and opened again for another file."""
    with open(os.devnull, "rb") as other:
        os.dup2(other.fileno(), trial.variable.sealed._fd)


def write(trial: Trial) -> None:
    tf.raw_ops.AssignVariableOp(resource=trial.handle, value=OTHER)


def forked(trial: Trial) -> None:
    in_child(trial, lambda: write(trial))


def forked_and_trained(trial: Trial) -> None:
    """A child writes to its table; this process goes on, and has its own."""

    def child_writes() -> None:
        with suppress(FrozenBytesChanged):
            in_child(trial, lambda: write(trial))
        trial.subject.differs = False

    trial.during(child_writes)


DESCRIPTORS = [
    Attempt(
        "`pwrite` to the descriptor", in_training(descriptor_written), ours=OS_ERROR, **NOT_STOCK
    ),
    Attempt(
        "`pwrite` to the descriptor, opened anew",
        in_training(descriptor_opened_anew),
        ours=PERMISSION,
        **NOT_STOCK,
    ),
    Attempt(
        "`ftruncate` of the descriptor, opened anew",
        in_training(descriptor_cut),
        ours=PERMISSION,
        **NOT_STOCK,
    ),
]
GONE = [
    *(
        Attempt(
            f"the descriptor is closed{title}",
            in_training(act),
            ours=CAUGHT,
            kinds=KINDS,
            **NOT_STOCK,
        )
        for title, act in (
            ("", descriptor_closed),
            (", and its number given to another file", descriptor_given_away),
        )
    ),
]
PROCESSES = [
    Attempt("a forked child writes by an operation", forked, ours=CAUGHT, **IN_CHILD),
    Attempt(
        "a forked child writes, this process goes on",
        forked_and_trained,
        *(UNCHANGED, UNCHANGED, UNCHANGED),
        kinds=KINDS,
    ),
]
ATTEMPTS = [*DESCRIPTORS, *GONE, *PROCESSES]
