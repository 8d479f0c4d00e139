"""LockedVariable: a real tf.Variable over sealed memory that refuses every change.

TensorFlow reads the memory in place, or, on another device, a copy of it. Where the table is, and
how a check tells that a variable still has its bytes, is its `placement`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from embedfreeze.audit import find_writes, outermost
from embedfreeze.backend import ResourceVariable, colocate_with, keras, tf
from embedfreeze.errors import EmbedFreezeError, FrozenBytesChanged, FrozenError
from embedfreeze.ondevice import placed
from embedfreeze.placement import HOST, host_memory, read_whole
from embedfreeze.refusals import NeverTrainable, unwrapped
from embedfreeze.table import Table, first_difference

__all__ = ["LockedVariable"]


def _refusing(method: str) -> Callable[..., NoReturn]:
    def refuse(self: LockedVariable, *_: Any, **__: Any) -> NoReturn:
        self._refuse(f"{method}() is refused")

    refuse.__name__ = method
    return refuse


class LockedVariable(NeverTrainable, ResourceVariable):  # type: ignore[misc]
    """A non-trainable `tf.Variable` over sealed memory, without a copy, or over a copy on a device.

    Dense reads and lookups see that memory itself. `assign` of the same bytes does nothing;
    everything else that writes raises `FrozenError`.

    Parameters
    ----------
    table : Table
        The memory, its shape and its tokens.
    path : str
        Name of the variable, after the names of the layers that hold it and a slash each.
    owner : keras.Variable
        What graphs list in its place, as SavedModels would else hold the table twice.
    device : str
        ``"CPU:0"``, where the memory is, or the device that it is copied to.
    """

    def __init__(self, table: Table, path: str, owner: keras.Variable, device: str = HOST) -> None:
        self._refuse_second("table")
        self.table = table
        self.placement = placed(table, device)
        self.path = path
        self._owner = weakref.ref(owner)
        # Graphs that were not searched for writes yet, and what stands for the handle there.
        self._untold: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        with tf.init_scope(), tf.device(self.placement.device):
            super().__init__(self.placement.tensor(), trainable=False, name=path)

    @property
    def handle(self) -> Any:
        """What operations take to read the variable, and to write to it: the graphs are noted."""
        if not tf.executing_eagerly():
            graph = outermost(tf.compat.v1.get_default_graph())
            if isinstance(graph, tf.__internal__.FuncGraph):  # not the file of a SavedModel
                self._untold[graph] = graph.capture(self._handle).op.name
        return self._handle

    # ---- reading

    def _read_variable_op(self, no_copy: bool = False) -> Any:
        graph = tf.compat.v1.get_default_graph()
        if hasattr(graph, "watch_variable"):
            graph.watch_variable(owner if (owner := self._owner()) is not None else self)
        return read_whole(self)

    def sparse_read(self, indices: Any, name: str | None = None) -> Any:
        """Rows at `indices`. TensorFlow's own way copies the whole variable first."""
        # Gathered where the table is: read_value() would move the table to where the ids are.
        return self.placement.gather(self._read_variable_op(), indices)

    def gather_nd(self, indices: Any, name: str | None = None) -> Any:
        """Slices at `indices`, as `tf.gather_nd`, without a copy of the variable."""
        value = self._read_variable_op()
        with colocate_with(value):
            return tf.gather_nd(value, indices, name=name)

    def numpy(self) -> Any:
        """The value as a read-only array over the same memory."""
        self._refuse_graphs()
        return host_memory(read_whole(self))[()]

    def _refuse_graphs(self) -> None:
        if not tf.executing_eagerly():
            raise unwrapped(
                FrozenError(
                    f"frozen variable {self.path!r} has no address in a graph: call this outside "
                    "of tf.function"
                )
            )

    # ---- proof

    def check(self) -> None:
        """Check that the variable is the guarded memory, or on a device that the copy is the same.

        The former takes constant time; the latter reads the copy once.

        Raises
        ------
        FrozenBytesChanged
            It is not; names the row and token where the original bytes survive.
        FrozenError
            A function traced since the last check holds an operation that would write to it.
        """
        self._refuse_graphs()
        if not self._surely_unchanged():
            self._refuse_other_value()
            if not self.placement.put_back(self):
                self.report("it was changed, and changed back while it was compared")
        self._verify_memory(deep=False)
        while self._untold:
            self._search_for_writes(*self._untold.popitem())

    def _surely_unchanged(self) -> bool:
        try:
            return self.placement.unchanged(self)
        except tf.errors.OpError:
            self.report("an operation destroyed the variable of TensorFlow")

    def _search_for_writes(self, graph: Any, placeholder: str) -> None:
        for write in find_writes(graph, placeholder):
            self._refuse(
                f"no traced function may write to it, received the operation {write.operation!r} "
                f"({write.kind}) in the function {write.function!r}, found before it changed "
                "anything"
            )

    def verify(self, deep: bool = False) -> None:
        """`check`, and with `deep` also compare all bytes, by digest."""
        self.check()
        if deep:
            self._verify_memory(deep=True)
            self._refuse_other_value()

    def _verify_memory(self, deep: bool) -> None:
        try:
            self.table.sealed.verify(deep)
        except FrozenBytesChanged as error:
            self.report(str(error), row=error.row, block=error.block, cause=error)

    def _refuse_other_value(self) -> None:
        """`FrozenBytesChanged` if the variable differs from the sealed original."""
        value, original = read_whole(self), self.table.sealed.array
        if tuple(value.shape) != self.table.shape:
            self.report(f"its shape is now {list(value.shape)}")
        with tf.device(self.placement.device):  # slices of the value are made where it is
            row = first_difference(self.placement.rows(value), original)
        if row is not None:
            self.report("it was overwritten; the sealed original differs", row=row)

    def report(
        self,
        message: str,
        *,
        row: int | None = None,
        block: int | None = None,
        cause: FrozenBytesChanged | None = None,
    ) -> NoReturn:
        """Raise `FrozenBytesChanged` with what was found."""
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
        try:
            self._refuse_other_bytes(_host_array(value))
        except (TypeError, ValueError) as error:
            if isinstance(error, EmbedFreezeError):
                raise
            self._refuse(f"only equal bytes can be assigned, received no numbers ({error})")
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

    def _restore_from_tensors(self, restored_tensors: dict[str, Any]) -> None:
        (value,) = restored_tensors.values()
        self.assign(value)

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


def _host_array(value: Any) -> Any:
    """The value as an array in memory or in a file, not copied; None if it is symbolic."""
    if isinstance(value, keras.Variable):
        value = value.value
    if isinstance(value, tf.Variable):
        value = value.read_value()
    if isinstance(value, tf.__internal__.EagerTensor):
        return host_memory(value)
    if tf.is_tensor(value) or isinstance(value, keras.KerasTensor):
        return None
    return value if hasattr(value, "shape") else np.asarray(value)
