"""Where a frozen variable has its table, and how it is told that the bytes there are the table's.

The table of a variable stays where it is, or is copied to a device (`embedfreeze.ondevice`).
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from embedfreeze.backend import tf
from embedfreeze.table import Table

__all__ = ["HOST", "InPlace", "Placement", "host_memory", "read_whole", "shared_tensor"]

HOST = "CPU:0"


class Placement(Protocol):
    """Where a variable has its table.

    Attributes
    ----------
    device : str
        Kind and number, as in ``"CPU:0"``.
    how : {"address", "device"}
        What a check compares: the address of the memory, or a digest computed on the device.
    """

    device: str
    how: Literal["address", "device"]

    def tensor(self) -> Any:
        """What the variable is made of."""

    def unchanged(self, variable: Any) -> bool:
        """Whether the variable surely has the bytes of the table; called eagerly."""
        ...

    def rows(self, value: Any) -> Any:
        """A value of the variable as [rows, dim], to be compared slice by slice."""

    def gather(self, value: Any, ids: Any) -> Any:
        """Rows of a value of the variable, gathered where it is, eagerly and in graphs."""

    def put_back(self, variable: Any) -> bool:
        """Mend a variable whose bytes are equal after all; False if that must not be."""
        ...


class InPlace:
    """The variable is the table's own memory: every way to write moves it to another address.

    Parameters
    ----------
    table : Table
        What the variable holds.
    """

    device = HOST
    how: Literal["address", "device"] = "address"

    def __init__(self, table: Table) -> None:
        self._table = table

    def tensor(self) -> Any:
        return shared_tensor(self._table)

    def unchanged(self, variable: Any) -> bool:
        memory = host_memory(read_whole(variable))
        return bool(memory.__array_interface__["data"][0] == self._table.sealed.address)

    def rows(self, value: Any) -> Any:
        return host_memory(value).reshape(self._table.sealed.array.shape)

    def gather(self, value: Any, ids: Any) -> Any:
        return tf.nn.embedding_lookup(value, ids)

    def put_back(self, variable: Any) -> bool:
        # An operation on the handle copied the variable; TensorFlow goes on copying until told.
        tf.raw_ops.DisableCopyOnRead(resource=variable.handle)
        tf.raw_ops.AssignVariableOp(resource=variable.handle, value=self.tensor())
        return True


def shared_tensor(table: Table) -> Any:
    """A tensor that is the sealed memory; it keeps the mapping alive."""
    alias = table.sealed.dlpack_alias().reshape(table.shape)
    if table.dtype != "bfloat16":
        return tf.experimental.dlpack.from_dlpack(alias.__dlpack__())
    bits = alias.view(np.uint16)  # NumPy's DLPack has no bfloat16; the bitcast shares the memory
    return tf.bitcast(tf.experimental.dlpack.from_dlpack(bits.__dlpack__()), tf.bfloat16)


def host_memory(tensor: Any) -> npt.NDArray[Any]:
    """An eager tensor of the CPU as a read-only array over the same memory."""
    if tensor.dtype != tf.bfloat16:
        return np.asarray(memoryview(tensor))
    array: npt.NDArray[Any] = np.asarray(tensor._numpy()).view()  # no buffers of bfloat16
    array.flags.writeable = False
    return array


def read_whole(variable: Any) -> Any:
    """The whole value of a `tf.Variable`, without a copy, and unknown to tapes and strategies."""
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
