"""All attempts, by theme, with their numbers."""

from __future__ import annotations

from dataclasses import dataclass

from thaw import (
    copies,
    files,
    graphs,
    layers,
    loads,
    memory,
    optimizers,
    private,
    processes,
    toggles,
    writes,
)
from thaw.subjects import Kind
from thaw.trial import NONE, Attempt

# A number, once given, stays: new attempts stand at the end of their part.
PARTS: dict[int, tuple[str, list[Attempt]]] = {
    100: ("Optimizers", optimizers.ATTEMPTS),
    200: ("Switches and tapes", toggles.ATTEMPTS),
    300: ("Writes", writes.ATTEMPTS),
    400: ("Writes that hide in a graph", graphs.ATTEMPTS),
    500: ("Loading, callbacks and copies", [*loads.ATTEMPTS, *copies.ATTEMPTS]),
    600: (
        "What Keras does to layers, subclasses and private attributes",
        [*layers.ATTEMPTS, *private.ATTEMPTS],
    ),
    700: ("Memory, descriptors and processes", [*memory.ATTEMPTS, *processes.ATTEMPTS]),
    800: ("The file of the table", files.ATTEMPTS),
}
ATTEMPTS: dict[int, Attempt] = {
    base + i: attempt for base, (_, part) in PARTS.items() for i, attempt in enumerate(part, 1)
}


@dataclass(frozen=True)
class Case:
    """An attempt, and which subject it is tried on."""

    number: int
    kind: Kind

    @property
    def attempt(self) -> Attempt:
        return ATTEMPTS[self.number]

    def __str__(self) -> str:
        return f"{self.number}-{self.kind}"


def cases(*kinds: Kind) -> list[Case]:
    """All pairs of an attempt and a subject that it is meant for; `ours` are all of its kinds."""
    found = []
    for number, attempt in ATTEMPTS.items():
        for kind in kinds:
            meant: tuple[Kind, ...] = tuple(attempt.kinds) if kind == "ours" else (kind,)
            found += [Case(number, one) for one in meant if attempt.expected(one, "") != NONE]
    return found
