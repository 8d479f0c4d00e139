"""LockedVariable: a real tf.Variable over sealed memory that refuses every change.

TensorFlow reads the memory in place. Each way to write moves a variable to other memory and leaves
the sealed bytes as they are, so the address of a variable tells whether it was changed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from embedfreeze.backend import ResourceVariable, keras, tf
from embedfreeze.errors import EmbedFreezeError, FrozenBytesChanged, FrozenError
from embedfreeze.table import Table, first_difference

__all__ = ["THAW", "LockedVariable", "unwrapped"]

THAW = (
    "give optimizers model.trainable_variables; to train these values, thaw them on purpose: give "
    "the matrix to an ordinary keras.layers.Embedding with set_weights"
)
E = TypeVar("E", bound=EmbedFreezeError)


def unwrapped(error: E) -> E:
    """Tell autograph and Keras not to replace an error by one of theirs without its fields."""
    vars(error).update(ag_pass_through=True, _keras_call_info_injected=True)
    return error


def _refusing(method: str) -> Callable[..., NoReturn]:
    def refuse(self: LockedVariable, *_: Any, **__: Any) -> NoReturn:
        self._refuse(f"{method}() is refused")

    refuse.__name__ = method
    return refuse


class LockedVariable(ResourceVariable):  # type: ignore[misc]
    """A non-trainable `tf.Variable` over sealed memory, without a copy.

    Dense reads and lookups see the sealed memory itself. `assign` of the same bytes does nothing;
    everything else that writes raises `FrozenError`.

    Parameters
    ----------
    table : Table
        The memory, its shape and its tokens.
    path : str
        Name of the variable, after the names of the layers that hold it and a slash each.
    owner : keras.Variable
        What graphs list in its place, as SavedModels would else hold the table twice.
    """

    def __init__(self, table: Table, path: str, owner: keras.Variable) -> None:
        self.table = table
        self.path = path
        self._owner = weakref.ref(owner)
        # The memory is the host's; on another device the variable would be a copy.
        with tf.init_scope(), tf.device("CPU:0"):
            super().__init__(_shared_tensor(table), trainable=False, name=path)

    # ---- reading

    def _read_variable_op(self, no_copy: bool = False) -> Any:
        graph = tf.compat.v1.get_default_graph()
        if hasattr(graph, "watch_variable"):
            graph.watch_variable(owner if (owner := self._owner()) is not None else self)
        return self._read()

    def _read(self) -> Any:
        return tf.raw_ops.ReadVariableOp(resource=self.handle, dtype=self.dtype)

    def sparse_read(self, indices: Any, name: str | None = None) -> Any:
        """Rows at `indices`. TensorFlow's own way copies the whole variable first."""
        return tf.nn.embedding_lookup(self.read_value(), indices, name=name)

    def gather_nd(self, indices: Any, name: str | None = None) -> Any:
        """Slices at `indices`, as `tf.gather_nd`, without a copy of the variable."""
        return tf.gather_nd(self.read_value(), indices, name=name)

    def numpy(self) -> Any:
        """The value as a read-only array over the same memory."""
        return self._memory()[()]

    def _memory(self) -> npt.NDArray[Any]:
        if not tf.executing_eagerly():
            self._refuse("its memory has no address in a graph: call this outside of tf.function")
        return np.asarray(memoryview(self._read()))

    def __deepcopy__(self, memo: dict[int, Any]) -> LockedVariable:
        return self

    # ---- proof

    def check(self) -> None:
        """Check in constant time that the variable is the guarded memory.

        Raises
        ------
        FrozenBytesChanged
            It is not; names the row and token where the original bytes survive.
        """
        if self._memory().__array_interface__["data"][0] != self.table.sealed.address:
            self._explain_new_address()
        self._verify_memory(deep=False)

    def verify(self, deep: bool = False) -> None:
        """`check`, and with `deep` also compare all bytes, by digest."""
        self.check()
        if deep:
            self._verify_memory(deep=True)

    def _verify_memory(self, deep: bool) -> None:
        try:
            self.table.sealed.verify(deep)
        except FrozenBytesChanged as error:
            self._report(str(error), row=error.row, block=error.block, cause=error)

    def _explain_new_address(self) -> None:
        """Something replaced the memory: an error if the bytes differ, else it is put back."""
        found, original = self._memory(), self.table.sealed.array
        if found.size != original.size:
            self._report(f"its shape is now {list(found.shape)}")
        row = first_difference(found.reshape(original.shape), original)
        if row is not None:
            self._report("it was overwritten; the sealed original differs", row=row)
        # An operation on the handle copied the variable; TensorFlow goes on copying until told.
        tf.raw_ops.DisableCopyOnRead(resource=self.handle)
        tf.raw_ops.AssignVariableOp(resource=self.handle, value=_shared_tensor(self.table))

    def _report(
        self,
        message: str,
        *,
        row: int | None = None,
        block: int | None = None,
        cause: FrozenBytesChanged | None = None,
    ) -> NoReturn:
        token = self.table.token(row)
        where = "" if row is None else f" (row {row}" + (f", token {token!r})" if token else ")")
        error = FrozenBytesChanged(
            f"frozen variable {self.path!r} must keep its bytes: {message}{where}",
            layer=self.path.rpartition("/")[0].rpartition("/")[2] or None,
            row=row,
            token=token,
            block=block,
        )
        raise unwrapped(error) from cause

    # ---- refusals

    def assign(
        self,
        value: Any,
        use_locking: bool | None = None,
        name: str | None = None,
        read_value: bool = True,
    ) -> LockedVariable | None:
        """Do nothing if the value has the same bytes, which are compared without a copy.

        Raises
        ------
        FrozenError
            The value differs, or is symbolic, so that its bytes are not known yet.
        """
        self._refuse_other_bytes(_host_array(value))
        return self if read_value else None

    def _refuse_other_bytes(self, found: Any) -> None:
        if found is None:
            self._refuse("a value computed in a graph cannot be assigned")
        if tuple(found.shape) != self.table.shape:
            self._refuse(
                f"only equal bytes can be assigned, received shape {list(found.shape)} where it "
                f"has {list(self.table.shape)}"
            )
        original = self.table.sealed.array
        rows = found if len(found.shape) == 2 else np.asarray(found).reshape(original.shape)
        row = first_difference(rows, original)
        if row is not None:
            token = self.table.token(row)
            spelled = "" if token is None else f" (token {token!r})"
            self._refuse(f"only equal bytes can be assigned, received others in row {row}{spelled}")

    def _refuse(self, rule: str) -> NoReturn:
        raise unwrapped(FrozenError(f"frozen variable {self.path!r}: {rule}; {THAW}"))

    def _restore_from_tensors(self, restored_tensors: dict[str, Any]) -> None:
        (value,) = restored_tensors.values()
        self.assign(value)

    @property
    def trainable(self) -> bool:
        """Always False."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value:
            self._refuse("trainable=True is refused")

    def __reduce__(self) -> NoReturn:
        self._refuse("pickling is refused: save the model that holds it")

    assign_add = _refusing("assign_add")
    assign_sub = _refusing("assign_sub")
    batch_scatter_update = _refusing("batch_scatter_update")
    scatter_add = _refusing("scatter_add")
    scatter_div = _refusing("scatter_div")
    scatter_max = _refusing("scatter_max")
    scatter_min = _refusing("scatter_min")
    scatter_mul = _refusing("scatter_mul")
    scatter_nd_add = _refusing("scatter_nd_add")
    scatter_nd_max = _refusing("scatter_nd_max")
    scatter_nd_min = _refusing("scatter_nd_min")
    scatter_nd_sub = _refusing("scatter_nd_sub")
    scatter_nd_update = _refusing("scatter_nd_update")
    scatter_sub = _refusing("scatter_sub")
    scatter_update = _refusing("scatter_update")
    _strided_slice_assign = _refusing("strided slice assignment")


def _shared_tensor(table: Table) -> Any:
    """A tensor that is the sealed memory; it keeps the mapping alive."""
    alias = table.sealed.dlpack_alias().reshape(table.shape)
    return tf.experimental.dlpack.from_dlpack(alias.__dlpack__())


def _host_array(value: Any) -> Any:
    """The value as an array in memory or in a file, not copied; None if it is symbolic."""
    if isinstance(value, keras.Variable):
        value = value.value
    if isinstance(value, tf.Variable):
        value = value.read_value()
    if isinstance(value, tf.__internal__.EagerTensor):
        return np.asarray(memoryview(value)) if value.dtype != tf.bfloat16 else value.numpy()
    if tf.is_tensor(value) or isinstance(value, keras.KerasTensor):
        return None
    return value if hasattr(value, "shape") else np.asarray(value)
