"""The check after a training step, against comparing all bytes, and as a share of the step."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any

from benchmarks.cases import training
from benchmarks.measuring import Result, per_call
from benchmarks.suite import Bar, Case, figure

CALLS = 2000
SIZES: dict[str, float | None] = {"10 MB": 10, "500 MB": 500, "3.6 GB": None}


def ours(path: str) -> Result:
    """The check, and the step of `build_model` as Keras runs it unless told otherwise: by XLA."""
    import embedfreeze as ef

    table = training.table(path)
    model = ef.build_model(table, hidden_units=[training.UNITS])
    result: Result = {}
    per_call(result, model.get_layer("embedding").table.check, CALLS)
    step = training.trained(model, table.matrix, jit=True)["seconds"]
    return {**result, "step_seconds": step, "percent_of_step": 100 * result["seconds"] / step}


def hashed(path: str) -> Result:
    """SHA-256 of all blocks, on all cores."""
    import embedfreeze as ef

    return few_calls(partial(ef.FrozenVariable(ef.read(path)).verify, deep=True))


def compared(path: str) -> Result:
    """C's `memcmp` with a copy, which is a second table in memory."""
    import embedfreeze as ef

    matrix = ef.read(path).matrix
    copy = matrix.copy()
    memcmp = ctypes.CDLL(None).memcmp
    memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

    def work() -> None:
        if memcmp(matrix.ctypes.data, copy.ctypes.data, matrix.nbytes):
            raise SystemExit("the copy differs")

    return few_calls(work)


def few_calls(work: Any) -> Result:
    """Seconds a call, of a few."""
    result: Result = {}
    per_call(result, work, 3)
    return result


BARS = (
    Bar("the check", 50, figure("seconds", 1e6), "microseconds", False),
    Bar("of a training step", 1, figure("percent_of_step"), "%", False),
)

CASES = [
    Case(
        f"check per step, {name}",
        lambda inputs, megabytes=megabytes: [inputs.store(megabytes)],  # type: ignore[misc]
        {"embedfreeze": ours, "SHA-256, all bytes": hashed, "memcmp, all bytes": compared},
        BARS,
    )
    for name, megabytes in SIZES.items()
]
