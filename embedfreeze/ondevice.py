"""Tables copied to a device, and the digest that is computed there.

TensorFlow owns such memory and may write to it in place, so its address proves nothing. A check
sums each word of the table (32 bits, the last one padded with zeros) times an odd 64-bit factor of
its own, modulo 2**64: multilinear hashing, as of Carter and Wegman (Universal classes of hash
functions, 1979) and of Lemire and Kaser (Strongly universal string hashing is fast, 2014). The
factors are made by SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number
generators, 2014) from a seed that each process draws at random. An odd number times a difference
below 2**32 is never 0 modulo 2**64, so one changed word always shows; any other change escapes one
sum with a probability of at most 2**-32, and the two independent sums of a digest with at most
2**-64.
"""

from __future__ import annotations

import re
import secrets
import warnings
from typing import Any, Literal

import numpy as np

from embedfreeze.backend import colocate_with, tf
from embedfreeze.errors import EmbedFreezeError
from embedfreeze.placement import HOST, InPlace, Placement, read_whole, shared_tensor
from embedfreeze.table import Table

__all__ = ["SEEDS", "OnDevice", "compiles", "device_digest", "device_name", "placed", "present"]

SEEDS = np.frombuffer(secrets.token_bytes(16), dtype=np.uint64)  # of the two sums
_WORD_BYTES = 4
_CHUNK = 4 << 20  # bytes, a multiple of eight
_NAME = re.compile(r"(?:/.*)?(?:device:)?(cpu|gpu)(?::(\d+))?", re.IGNORECASE)


def device_name(device: str) -> str:
    """Kind and number of a device, as in ``"GPU:0"``, from ``"gpu"`` or a longer name.

    Raises
    ------
    EmbedFreezeError
        It names neither a CPU nor a GPU.
    """
    found = _NAME.fullmatch(device) if isinstance(device, str) else None
    if found is None:
        raise EmbedFreezeError(
            "device must be 'cpu' or 'gpu', with a number where there are several, as in 'gpu:1', "
            f"received {device!r}"
        )
    return f"{found[1].upper()}:{int(found[2] or 0)}"


def _devices() -> list[str]:
    return [device.name.rpartition("device:")[2] for device in tf.config.list_logical_devices()]


def present(device: str) -> str:
    """The device that a saved layer named; with a warning the CPU, if there is no such device.

    Warns
    -----
    UserWarning
        There is no such device.
    """
    name = device_name(device)
    if name == HOST or name in _devices():
        return name
    warnings.warn(
        f"the table was saved for the device {name!r}, which is not there: it is read in place on "
        "the CPU; the values are the same",
        stacklevel=2,
    )
    return HOST


def placed(table: Table, device: str) -> Placement:
    """In place on the CPU, else copied to the device.

    Raises
    ------
    EmbedFreezeError
        There is no such device.
    """
    name = device_name(device)
    if name == HOST:
        return InPlace(table)
    if name not in _devices():
        raise EmbedFreezeError(
            f"device must be one that TensorFlow has ({', '.join(_devices())}), received {name!r}: "
            "give device='cpu', with which the table is read in place"
        )
    return OnDevice(table, name)


def compiles(device: str) -> bool:
    """Whether XLA can read a table there.

    It compiles for one device, a GPU where there is one, and not for the replicas of a strategy.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return False
    return device == ("GPU:0" if tf.config.list_logical_devices("GPU") else HOST)


class OnDevice:
    """The variable is a copy of the table: a digest tells whether it still has its bytes.

    Parameters
    ----------
    table : Table
        What the variable holds; the original stays where it is.
    device : str
        Kind and number, as in ``"GPU:0"``.

    Raises
    ------
    EmbedFreezeError
        The table is one of int8 whose dim is not a multiple of four.
    """

    how: Literal["address", "device"] = "device"

    def __init__(self, table: Table, device: str) -> None:
        self._table = table
        self.device = device
        _refuse_odd(table)
        with tf.init_scope():
            self._digest = device_digest(shared_tensor(table), HOST)

    def tensor(self) -> Any:
        with tf.device(HOST):
            original = shared_tensor(self._table)
        with tf.device(self.device):
            copied = tf.identity(original)
            # From one CPU to another, TensorFlow has handed on the same memory.
            return tf.raw_ops.DeepCopy(x=copied) if "CPU" in self.device else copied

    def unchanged(self, variable: Any) -> bool:
        # An operation on the handle may have told TensorFlow to copy the variable at each read.
        tf.raw_ops.DisableCopyOnRead(resource=variable.handle)
        value = read_whole(variable)
        if value.shape != self._table.shape:
            return False
        return device_digest(value, self.device) == self._digest

    def rows(self, value: Any) -> Any:
        return tf.reshape(value, self._table.sealed.array.shape)

    def gather(self, value: Any, ids: Any) -> Any:
        if value.dtype != tf.int8:
            return tf.nn.embedding_lookup(value, ids)
        # There is no gather of int8 on GPUs. XLA keeps every bit of float32, not so of bfloat16.
        with colocate_with(value):
            words = tf.bitcast(tf.reshape(value, [*value.shape[:1], -1, _WORD_BYTES]), tf.float32)
        rows = tf.bitcast(tf.nn.embedding_lookup(words, ids), tf.int8)
        return tf.reshape(rows, tf.concat([tf.shape(rows)[:-2], value.shape[1:]], axis=0))

    def put_back(self, variable: Any) -> bool:
        return False


def _refuse_odd(table: Table) -> None:
    if table.dtype == "int8" and table.shape[1] % _WORD_BYTES:
        raise EmbedFreezeError(
            f"a table of int8 on a device must have a dim that is a multiple of {_WORD_BYTES}, "
            f"received {table.dim}: give device='cpu', or store it as float16"
        )


# ---- the digest


def device_digest(values: Any, device: str) -> bytes:
    """The digest of a tensor, computed on a device and in one pass over it.

    Parameters
    ----------
    values : tf.Tensor
        Of any shape and any type of numbers.
    device : str
        Where it is.

    Returns
    -------
    bytes
        16 bytes: equal for equal bits on every device, others in each process.
    """
    with tf.device(device):
        seeds = tf.constant(SEEDS)
        # The same memory as integers: XLA takes bfloat16 for float32, which changes NaNs.
        bits = tf.bitcast(values, f"uint{8 * min(values.dtype.size, _WORD_BYTES)}")
        # Called itself, a function warns that it is traced again for each shape.
        sums_of: Any = _sums  # a `tf.function`, whatever the types say
        program = sums_of.get_concrete_function(bits, seeds)
        sums: bytes = program(bits, seeds).numpy().tobytes()
    return sums


# One program of XLA needs no memory of the table's size beside the table. One by one, operations
# would: and TensorFlow, which sums no uint64 on GPUs, would send the table to the CPU.
@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _sums(bits: Any, seeds: Any) -> Any:
    bits = tf.reshape(bits, [-1])
    size = bits.shape[0]
    chunk = min(_CHUNK // bits.dtype.size, size) or 1
    end = size - size % chunk
    sums = tf.zeros_like(seeds)
    if end:
        _, sums = tf.while_loop(
            lambda start, _: start < end,
            lambda start, sums: (start + chunk, sums + _part(bits, start, chunk, seeds)),
            (tf.constant(0, tf.int64), sums),
        )
    return sums + _part(bits, tf.constant(end, tf.int64), size - end, seeds)


def _part(bits: Any, start: Any, size: int, seeds: Any) -> Any:
    """The share in the sums [2] of `size` integers from `start` on."""
    in_each = _WORD_BYTES // bits.dtype.size
    words = tf.slice(bits, [start], [size])
    if in_each > 1:
        words = tf.reshape(tf.pad(words, [[0, -size % in_each]]), [-1, in_each])
        words = tf.bitcast(words, tf.uint32)
    first = start // in_each + 1
    places = tf.cast(first + tf.range(words.shape[0], dtype=tf.int64), tf.uint64)
    factors = _factors(seeds[:, tf.newaxis], places)
    return tf.reduce_sum(tf.cast(words, tf.uint64) * factors, axis=1)


def _factors(seeds: Any, places: Any) -> Any:
    """SplitMix64's numbers at these places (from 1) of its sequences, made odd."""
    mixed = seeds + places * tf.constant(0x9E3779B97F4A7C15, tf.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ _shifted(mixed, shift)) * tf.constant(factor, tf.uint64)
    return (mixed ^ _shifted(mixed, 31)) | tf.constant(1, tf.uint64)


def _shifted(values: Any, by: int) -> Any:
    return tf.bitwise.right_shift(values, tf.constant(by, tf.uint64))
