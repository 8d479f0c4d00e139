"""FrozenVariable: sealed memory as a variable that Keras tracks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from embedfreeze.backend import keras
from embedfreeze.errors import FrozenError
from embedfreeze.locked import LockedVariable
from embedfreeze.ondevice import device_name
from embedfreeze.proof import How
from embedfreeze.refusals import NeverTrainable, unwrapped
from embedfreeze.sealed import SealedMatrix, seal_array
from embedfreeze.storage import numpy_dtype
from embedfreeze.table import Table, live_tables
from embedfreeze.tablerecord import TableRecord
from embedfreeze.vocabulary import Vocabulary

__all__ = ["FrozenVariable", "frozen_scalar"]


class FrozenVariable(NeverTrainable, keras.Variable):  # type: ignore[misc]
    """A `keras.Variable` over sealed memory: never trainable, never written, never copied.

    A layer or model that holds one lists it in `weights` and `non_trainable_weights`. Assigning
    the bytes it has does nothing; everything else that would change it raises `FrozenError`.
    `trainable = True` on a layer or model leaves it as it is; on the variable it is refused.

    Parameters
    ----------
    source : AlignedEmbeddings, Embeddings of a store, or SealedMatrix
        The memory: float32, float16 or bfloat16 [rows, dim], or int8 [rows, dim + 4] with the scale
        of each row (`embedfreeze.storage`). The variable is the matrix as it is stored; a layer's
        lookup makes vectors of it.
    name : str, optional
        Of the variable.
    device : str
        ``"cpu"``: the memory is read in place. ``"gpu"``, ``"gpu:1"`` or another CPU, as in
        ``"cpu:1"``: it is copied there, and what `check` compares is a digest computed on the
        device, which takes longer for a larger table (docs/devices.md).

    Raises
    ------
    TypeError
        The source is not in sealed or watched memory.
    EmbedFreezeError
        There is no such device.
    """

    def __init__(self, source: object, name: str | None = None, device: str = "cpu") -> None:
        self._refuse_second("_held")
        self.device: str = device_name(device)
        self._locked: LockedVariable | None = None
        self._held = source if isinstance(source, TableRecord) else Table.of(source)
        super().__init__(
            self._refuse_unloaded,
            shape=tuple(self._held.shape),
            dtype=self._held.dtype,
            trainable=False,
            autocast=False,
            name=name,
        )
        if isinstance(self._held, Table):
            self.hold(self._held)

    def _initialize_with_initializer(self, initializer: Any) -> None:
        self._initializer = initializer
        self._value: Any = None

    def _initialize(self, value: Any) -> NoReturn:
        self._refuse("it is made of its table, received another value")

    def _deferred_initialize(self) -> None:
        """Made inside a Keras scope without state, the variable has its memory nonetheless."""

    def _refuse_unloaded(self, *_: Any, **__: Any) -> NoReturn:
        raise unwrapped(
            FrozenError(
                f"frozen variable {self.path!r} waits for its table, which belongs in the "
                "model's .keras file: load one that is whole with embedfreeze.load_model"
            )
        )

    def hold(self, table: Table) -> None:
        """Take the table that a variable of a half-loaded model waits for.

        Parameters
        ----------
        table : Table
            The one with the recorded digest.

        Raises
        ------
        FrozenError
            It has a table.
        """
        if self._locked is not None:
            self._refuse("it has a table, received another")
        self._held = table
        self._value = self._locked = LockedVariable(table, self.path, self, self.device)
        live_tables.add(table)

    # ---- what it holds

    @property
    def record(self) -> TableRecord:
        """What a saved model says about the table."""
        return self._held if isinstance(self._held, TableRecord) else self._held.record

    @property
    def table(self) -> Table | None:
        """The table, or None while a half-loaded model waits for it."""
        return self._held if isinstance(self._held, Table) else None

    @property
    def tf_variable(self) -> LockedVariable:
        """The variable that TensorFlow sees: a `tf.Variable`, locked."""
        if self._locked is None:
            self._refuse_unloaded()
        return self._locked

    @property
    def sealed(self) -> SealedMatrix:
        """The memory, its guarantee and its digest."""
        return self.tf_variable.table.sealed

    @property
    def tokens(self) -> Sequence[str] | None:
        """The tokens of the rows, where there are any."""
        return self.tf_variable.table.tokens

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary whose ids are the rows, where there is one."""
        return self.tf_variable.table.vocabulary

    @property
    def dim(self) -> int:
        """Values in a row: of an int8 table, without the four bytes of the scale."""
        return self._held.dim

    @property
    def padding_id(self) -> int | None:
        """The vocabulary's padding id, where there is one."""
        return self._held.padding_id

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the SHA-256 of each 1 MiB block of the matrix."""
        return self.record.digest

    @property
    def how(self) -> How:
        """What `check` compares."""
        return self.tf_variable.placement.how

    def check(self) -> None:
        """Check outside of graphs, and in place in constant time, that the bytes are the same.

        Raises
        ------
        FrozenBytesChanged
            They are not. The row and token are named where the original bytes survive.
        """
        self.verify()

    def verify(self, deep: bool = False) -> None:
        """`check`, and with `deep` also compare all bytes, by digest."""
        self.tf_variable.verify(deep)
        if self._value is not self._locked:
            self.tf_variable.report("another variable was put in its place")

    # ---- reads that do not copy

    def sparse_read(self, indices: Any, name: str | None = None) -> Any:
        """Rows at `indices`; `tf.gather` asks for them here.

        Parameters
        ----------
        indices : tensor
            Of integers, of any shape.
        name : str, optional
            Of the operation.

        Returns
        -------
        tf.Tensor
            The shape of the indices with dim added.
        """
        return self.tf_variable.sparse_read(indices, name=name)

    def gather_nd(self, indices: Any, name: str | None = None) -> Any:
        """Slices at `indices`; `tf.gather_nd` asks for them here.

        Parameters
        ----------
        indices : tensor
            As for `tf.gather_nd`.
        name : str, optional
            Of the operation.

        Returns
        -------
        tf.Tensor
            The slices.
        """
        return self.tf_variable.gather_nd(indices, name=name)

    def numpy(self) -> Any:
        """The value as a read-only array over the same memory."""
        return self.tf_variable.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"<FrozenVariable path={self.path}, shape={tuple(self.shape)}, dtype={self.dtype}>"

    # ---- writes that are refused

    def assign(self, value: Any) -> Any:
        """Do nothing if the value has the same bytes, else raise `FrozenError`.

        Parameters
        ----------
        value : array or tensor
            Of the shape of the table.

        Returns
        -------
        array or tensor
            The value.
        """
        self.tf_variable.assign(value)
        return value

    _direct_assign = assign

    def assign_add(self, value: Any) -> NoReturn:  # pyright: ignore[reportReturnType]
        """Refused."""
        self.tf_variable.assign_add(value)

    def assign_sub(self, value: Any) -> NoReturn:  # pyright: ignore[reportReturnType]
        """Refused."""
        self.tf_variable.assign_sub(value)

    # Optimizers of tf.compat.v1 take a tf.Variable; of one of Keras they ask these things first.

    def get_shape(self) -> NoReturn:
        """Refused."""
        self._refuse("optimizers of tf.compat.v1 are refused")

    @property
    def _in_graph_mode(self) -> NoReturn:
        self.get_shape()

    @property
    def _unique_id(self) -> NoReturn:
        self.get_shape()

    def _export_to_saved_model_graph(
        self, object_map: Any, tensor_map: Any, options: Any, **options_: Any
    ) -> Any:
        """Keras would make a second variable here, and so write the table twice."""
        resources = self.tf_variable._export_to_saved_model_graph(
            object_map, tensor_map, options, **options_
        )
        object_map[self] = object_map[self.tf_variable]
        return resources


def frozen_scalar(value: float, dtype: str = "float32", name: str | None = None) -> FrozenVariable:
    """A frozen constant.

    Parameters
    ----------
    value : float
        Its value.
    dtype : str
        Of the variable.
    name : str, optional
        Of the variable.

    Returns
    -------
    FrozenVariable
        Of shape [].

    Examples
    --------
    >>> five = frozen_scalar(5.0)
    >>> float(five), five.trainable
    (5.0, False)
    """
    sealed = seal_array(np.full((1, 1), value, dtype=numpy_dtype(dtype)))
    return FrozenVariable(Table(sealed, shape=()), name=name)
