"""Writes to the memory itself: through views, by address, through the kernel."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from thaw.children import in_child
from thaw.subjects import DIM, OTHER
from thaw.trial import CAUGHT, DIES, NONE, UNCHANGED, Attempt, Trial

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
LIBC.mprotect.argtypes = LIBC.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
MAP_FIXED, MADV_REMOVE = 0x10, 9
KINDS = ("ours", "watched")
DIED = f"{DIES} (SIGSEGV)"
Act = Callable[[Trial], object]


def view(trial: Trial) -> np.ndarray[Any, Any]:
    """The memory of the variable, as the private method of tensors shows it, writable."""
    variable = trial.tf_variable
    value = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
    found: np.ndarray[Any, Any] = value._numpy()
    return found


def address(trial: Trial) -> int:
    return int(view(trial).__array_interface__["data"][0])


def pages(trial: Trial) -> tuple[int, int]:
    """The first page of the table, and how many bytes it is."""
    where = address(trial)
    return where - where % mmap.PAGESIZE, mmap.PAGESIZE


# ---- views


def through_the_tensor(trial: Trial) -> None:
    view(trial)[0] = 9


def through_asarray(trial: Trial) -> None:
    np.asarray(trial.tf_variable.read_value())[0] = 9


def through_numpy(trial: Trial) -> None:
    trial.variable.numpy()[0] = 9


def made_writable(trial: Trial) -> None:
    array = np.asarray(trial.variable)
    array.flags.writeable = True
    array[0] = 9


def through_dlpack(trial: Trial) -> None:
    array = np.from_dlpack(trial.tf_variable.read_value())
    array[0] = 9


def through_the_matrix(trial: Trial) -> None:
    """The matrix that the variable was made of."""
    matrix = trial.variable.sealed.array
    matrix.flags.writeable = True


def through_the_alias(trial: Trial) -> None:
    trial.variable.sealed.dlpack_alias()[0] = 9


def inplace(name: str) -> Act:
    def act(trial: Trial) -> None:
        value = tf.raw_ops.ReadVariableOp(resource=trial.handle, dtype=tf.float32)
        getattr(tf.raw_ops, name)(x=value, i=[0], v=tf.fill((1, DIM), 9.0))

    return act


# ---- by address


def moved_into(trial: Trial) -> None:
    ctypes.memmove(address(trial), OTHER.ctypes.data, OTHER.nbytes)


def through_proc(trial: Trial) -> None:
    """Where debuggers write, past the protection of private pages."""
    where = address(trial)
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(where)
        memory.write(OTHER.tobytes())


class Span(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def by_the_kernel(trial: Trial) -> None:
    """process_vm_writev(2), as another process with the same rights could call it."""
    theirs, ours = Span(address(trial), OTHER.nbytes), Span(OTHER.ctypes.data, OTHER.nbytes)
    spans = (ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
    _checked(LIBC.process_vm_writev(os.getpid(), *spans))


def protection_lifted(trial: Trial) -> None:
    first, size = pages(trial)
    _checked(LIBC.mprotect(first, size, mmap.PROT_READ | mmap.PROT_WRITE))
    moved_into(trial)


def hole_punched(trial: Trial) -> None:
    first, size = pages(trial)
    _checked(LIBC.madvise(first, size, MADV_REMOVE))


def _checked(status: int) -> None:
    if status < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mapped_over(trial: Trial) -> None:
    """Other memory at the same address: what only a digest sees."""
    first, size = pages(trial)
    flags = MAP_FIXED | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    assert LIBC.mmap(first, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) == first
    ctypes.memmove(first, OTHER.ctypes.data, OTHER.nbytes)


def deeply_checked(act: Act) -> Act:
    def attempt(trial: Trial) -> None:
        trial.model.check = "deep"
        trial.during(lambda: act(trial))

    return attempt


def unmapped(trial: Trial) -> None:
    first, size = pages(trial)
    _checked(LIBC.munmap(first, size))
    trial.layer([[1, 2, 3]])


def dying(act: Act) -> Act:
    """A stock subject survives; ours would take this process with it."""

    def attempt(trial: Trial) -> None:
        if trial.subject.ours:
            in_child(trial, lambda: act(trial))
        else:
            act(trial)

    return attempt


def in_training(act: Act) -> Act:
    """Ours in training; stock subjects before it, when their memory is not a copy of a copy yet."""

    def attempt(trial: Trial) -> None:
        if trial.subject.ours:
            trial.during(lambda: act(trial))
        else:
            act(trial)

    return attempt


NOT_STOCK = {"stock": NONE, "variable": NONE}
EAGER = {"runs": ("eager",), "note": "beside the execution modes: there is no step in it"}
IN_CHILD = {**EAGER, "kinds": KINDS}
OS_ERROR = f"{UNCHANGED} (OSError)"
PERMISSION = f"{UNCHANGED} (PermissionError)"
VALUE_ERROR = f"{UNCHANGED} (ValueError)"
VIEWS = [
    Attempt("a store through `_numpy()`", dying(through_the_tensor), ours=DIED, **IN_CHILD),
    Attempt(
        "a store through `np.asarray(tensor)`",
        in_training(through_asarray),
        *(VALUE_ERROR, VALUE_ERROR, VALUE_ERROR),
        kinds=KINDS,
    ),
    Attempt(
        "a store through `variable.numpy()`",
        in_training(through_numpy),
        *(UNCHANGED, UNCHANGED, VALUE_ERROR),
        kinds=KINDS,
    ),
    Attempt(
        "`np.asarray(variable).flags.writeable = True`, and a store",
        in_training(made_writable),
        *(UNCHANGED, UNCHANGED, VALUE_ERROR),
        kinds=KINDS,
    ),
    Attempt(
        "`matrix.flags.writeable = True`",
        in_training(through_the_matrix),
        ours=VALUE_ERROR,
        kinds=KINDS,
        **NOT_STOCK,
    ),
    Attempt(
        "a store through `np.from_dlpack(tensor)`",
        in_training(through_dlpack),
        *(VALUE_ERROR, VALUE_ERROR, VALUE_ERROR),
        kinds=KINDS,
    ),
    Attempt(
        "a store through the alias that TensorFlow is given",
        dying(through_the_alias),
        ours=DIED,
        **NOT_STOCK,
        **IN_CHILD,
    ),
    *(
        Attempt(
            f"`tf.raw_ops.{name}` on what was read", dying(inplace(name)), ours=DIED, **IN_CHILD
        )
        for name in ("InplaceUpdate", "InplaceAdd", "InplaceSub")
    ),
]
ADDRESSES = [
    Attempt("`ctypes.memmove` to the address", dying(moved_into), ours=DIED, **IN_CHILD),
    Attempt("a write to `/proc/self/mem`", in_training(through_proc), ours=OS_ERROR, kinds=KINDS),
    Attempt("`process_vm_writev`", in_training(by_the_kernel), ours=OS_ERROR, kinds=KINDS),
    Attempt(
        "`mprotect`, and a store", in_training(protection_lifted), ours=PERMISSION, kinds=KINDS
    ),
    Attempt(
        "`madvise(MADV_REMOVE)`",
        in_training(hole_punched),
        ours=PERMISSION,
        kinds=KINDS,
        **NOT_STOCK,
    ),
    Attempt("`munmap`, and a lookup", dying(unmapped), ours=DIED, **NOT_STOCK, **IN_CHILD),
    Attempt(
        "`MAP_FIXED` over the mapping, with `check='deep'`",
        deeply_checked(mapped_over),
        ours=CAUGHT,
        kinds=KINDS,
        note="the address and the guard stay, so that only `deep` sees it",
        **NOT_STOCK,
    ),
]
ATTEMPTS = [*VIEWS, *ADDRESSES]
