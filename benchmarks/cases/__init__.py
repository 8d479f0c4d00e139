"""The cases, a module a group; each lists its `CASES`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from benchmarks.suite import Case


def all_cases() -> Iterator[Case]:
    """Every case, in the order of the modules' names."""
    for module in pkgutil.iter_modules(__path__):
        yield from importlib.import_module(f"{__name__}.{module.name}").CASES


def find_case(name: str) -> Case:
    """The case of a name."""
    return next(case for case in all_cases() if case.name == name)
