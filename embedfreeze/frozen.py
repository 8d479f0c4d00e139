"""FrozenEmbedding: a layer over a frozen table, and what a saved model holds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedfreeze.backend import keras, tf
from embedfreeze.coverage import Coverage
from embedfreeze.embedded import embedded_store, write_embedded
from embedfreeze.errors import EmbedFreezeError, FrozenError
from embedfreeze.guarded import GuardedLayer
from embedfreeze.lookup import lookup
from embedfreeze.ondevice import compiles, device_name, present
from embedfreeze.openrows import OpenRows, load_rows, save_rows
from embedfreeze.ordinary import ordinary_embedding
from embedfreeze.pooledlookup import (
    check_pooling,
    compiled_by_xla,
    pooled_sums,
    refuse_other_shapes,
)
from embedfreeze.pooling import MaskedPooling, SumMethod, masked_sum, of_sum
from embedfreeze.refusals import THAW, unwrapped, unwrapping
from embedfreeze.search import find_table, open_table, reference
from embedfreeze.table import live_tables
from embedfreeze.tablerecord import TableRecord
from embedfreeze.variable import FrozenVariable, frozen_scalar
from embedfreeze.vocabulary import Vocabulary
from embedfreeze.weights import refuse_weights, save_record

__all__ = [
    "FrozenEmbedding",
    "FrozenVariable",
    "frozen_scalar",
    "frozen_variables",
]

# Keras makes ids floats where a model declares no integer input; they are exact up to here.
_EXACT_IDS = {"bfloat16": 1 << 8, "float16": 1 << 11, "float32": 1 << 24, "float64": 1 << 53}


def frozen_variables(
    model: keras.layers.Layer | FrozenVariable,
) -> list[tuple[keras.layers.Layer | None, FrozenVariable]]:
    """The frozen variables of a model or layer, however deep, each once, with their layers.

    A variable that no layer lists as its own (one in a metric, say) comes with None.
    """
    if isinstance(model, FrozenVariable):
        return [(None, model)]
    found: dict[int, tuple[keras.layers.Layer | None, FrozenVariable]] = {}
    for layer in model._flatten_layers():
        kept = [layer.table] if isinstance(layer, GuardedLayer) else []
        for variable in kept + layer._trainable_variables + layer._non_trainable_variables:
            found.setdefault(id(variable), (layer, variable))
    for variable in model.variables:
        found.setdefault(id(variable), (None, variable))
    return [pair for pair in found.values() if isinstance(pair[1], FrozenVariable)]


@keras.saving.register_keras_serializable(package="embedfreeze")
class FrozenEmbedding(GuardedLayer):
    """Looks ids up in a frozen table.

    Parameters
    ----------
    source : AlignedEmbeddings, Embeddings of a store, or SealedMatrix
        The table, of any storage dtype; an int8 one has rows of `embedfreeze.storage`. A bare
        matrix serves, but without tokens a model cannot be saved.
    mask_padding : bool
        Make a mask that is False where the id is the vocabulary's padding, wherever that is.
        Without a vocabulary or its padding there is no mask.
    save : {"reference", "embed"}, optional
        What a `.keras` file holds: the digest and the place of the store, or the table itself.
        Default: a reference if there is a store. A `.weights.h5` file holds the digest alone.
    check_ids : bool
        Refuse ids below 0 or not below the number of rows: `EmbedFreezeError` in eager execution,
        `tf.errors.InvalidArgumentError` in graphs. Compiled by XLA, which cannot raise, the
        vectors of such ids are NaN. Unchecked, TensorFlow's own error is raised, and under XLA
        the nearest row is taken.
    pooling : {"mean", "sum", "sqrtn"}, optional
        Pool the vectors of each text as they are read, padding left out: the output is [batch, dim]
        and has no mask. What `MaskedPooling` of that method makes of the layer's vectors, in less
        than half the time and without the vectors of a batch in memory. Its sums are float32, in
        another order: of n tokens the two sums differ by at most n * 2**-23 times the sum of the
        magnitudes of what is added. Keras compiles such a model by XLA only if it is told to; XLA
        then adds in an order of its own, within the same bound. The table must be float32.
    trainable_oov : bool or sequence of int
        Train the rows of special tokens and of those that no source gave a vector, as the table's
        coverage tells them; or the rows with these ids. They are the variable `oov`, which begins
        with the table's values; all other rows stay frozen, and so does padding, which is masked.
        `trainable` of the layer and its models turns their training off and on.
    device : str
        ``"cpu"``: the table is read in place, and lookups on other devices move rows, not the
        table. ``"gpu"`` and others copy it there; see `FrozenVariable`. A saved layer whose device
        is not there is loaded with the table in place, and warns.
    name : str, optional
        Of the layer.
    **options
        Of `keras.layers.Layer`. Vectors are cast to the compute dtype after the lookup.

    Raises
    ------
    FrozenError
        `trainable=True` without rows to train; or `save="reference"` for a table that no store
        holds; or `trainable_oov=True` for one without coverage.
    TypeError
        The source is something else.
    EmbedFreezeError
        There is no such device; or `pooling` for a table that is not float32.

    Notes
    -----
    Input: int32 or int64 ids of any shape (also lists), with `pooling` [batch, length]. Output:
    vectors, the shape with dim added; with `pooling` [batch, dim].
    Setting `trainable` on the layer or its model never changes the table. Optimizers treat `oov` as
    any `Embedding`: momentum goes on to move rows that a batch lacks, and weight decay moves all.
    """

    def __init__(
        self,
        source: object,
        *,
        mask_padding: bool = True,
        save: Literal["reference", "embed"] | None = None,
        check_ids: bool = False,
        pooling: SumMethod | None = None,
        trainable_oov: bool | Sequence[int] = False,
        device: str = "cpu",
        name: str | None = None,
        **options: Any,
    ) -> None:
        trainable = options.pop("trainable", None)
        super().__init__(name=name, **options)
        self.autocast = False  # ids are no floats; a table is cast after the lookup
        # XLA cannot raise for bad ids, nor read another device's memory, nor sum rows as fast as
        # TensorFlow; this stops Keras from choosing it by itself.
        self.supports_jit = not check_ids and pooling is None and compiles(device_name(device))
        self.mask_padding = mask_padding
        self.check_ids = check_ids
        self.pooling: SumMethod | None = pooling
        with keras.name_scope(self.name):
            self.table = FrozenVariable(source, name="table", device=device)
        check_pooling(pooling, self.table.dtype)
        self._open = OpenRows.chosen(self.table, trainable_oov)
        if trainable and self._open is None:
            raise FrozenError(f"a FrozenEmbedding cannot have trainable=True; {THAW}")
        self.oov = self._oov_variable()
        self.trainable = self._open is not None and trainable is not False
        self.save_mode = self._save_mode(save)

    def _oov_variable(self) -> keras.Variable | None:
        if self._open is None:
            return None
        shape = (len(self.open_rows), self.table.dim)
        initial = self._open.initial(self.table, self.variable_dtype)
        return self.add_weight(shape=shape, initializer=initial, name="oov")

    def _save_mode(self, save: str | None) -> str:
        if save not in (None, "embed", "reference"):
            raise ValueError(f"save must be 'embed' or 'reference', received {save!r}")
        table = self.table.table
        if table is None:
            return save or "embed"
        if save == "reference" and table.store_path is None:
            raise FrozenError(
                "save='reference' refers to the store of a table, received one that no store "
                "holds: write the embeddings to a .safetensors file and read that, or leave it out"
            )
        return save or ("embed" if table.store_path is None else "reference")

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary whose ids are the rows, where there is one."""
        return self.table.vocabulary

    @property
    def tokens(self) -> Sequence[str] | None:
        """The tokens of the rows."""
        return self.table.tokens

    @property
    def coverage(self) -> Coverage | None:
        """Which ids found a row, where the table knows it; a saved model keeps it."""
        return None if self.table.table is None else self.table.table.coverage

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the SHA-256 of each 1 MiB block of the matrix."""
        return self.table.digest

    @property
    def open_rows(self) -> npt.NDArray[np.int32]:
        """Ids of the rows that are trained, ascending: row i of `oov` is that of `open_rows[i]`."""
        return np.zeros(0, np.int32) if self._open is None else self._open.ids

    # ---- lookup

    def __call__(self, inputs: Any, *args: Any, **options: Any) -> Any:
        if not (tf.is_tensor(inputs) or isinstance(inputs, keras.KerasTensor)):
            inputs = tf.convert_to_tensor(inputs)
        return super().__call__(inputs, *args, **options)

    def call(self, inputs: Any) -> Any:
        """Vectors [..., dim] of ids [...], or of texts [batch, dim], in the compute dtype."""
        ids = self._integer_ids(inputs)
        if self.pooling is None:
            return self._checked_vectors(ids, self.compute_dtype)
        return tf.cast(self._pooled(self.pooling, ids), self.compute_dtype)

    def _checked_vectors(self, ids: Any, dtype: str) -> Any:
        if not self.check_ids:
            return self._vectors(ids, dtype)
        inside = self._inside(ids)
        vectors = self._vectors(tf.where(inside, ids, 0), dtype)
        return tf.where(inside[..., tf.newaxis], vectors, np.nan)

    def _pooled(self, method: SumMethod, ids: Any) -> Any:
        """One vector a text, float32 [batch, dim]."""
        refuse_other_shapes(ids.shape, self.name)
        mask = self._mask(ids)
        kept = tf.ones_like(ids, tf.bool) if mask is None else mask
        tokens = kept[..., tf.newaxis]
        if compiled_by_xla():  # which keeps no vectors between lookup and sum, either
            sums = masked_sum(self._checked_vectors(ids, "float32"), tokens)
        else:
            kept = kept & self._inside(ids) if self.check_ids else kept
            sums = pooled_sums(self.table, self._open, self.oov, ids, kept)
        return of_sum(method, sums, tokens)

    def _vectors(self, ids: Any, dtype: str) -> Any:
        vectors = lookup(self.table, ids, dtype)
        return vectors if self._open is None else self._open.put(vectors, ids, self.oov)

    def _integer_ids(self, inputs: Any) -> Any:
        if inputs.dtype in (tf.int32, tf.int64):
            return inputs
        self._refuse_inexact(inputs.dtype)
        return tf.cast(inputs, tf.int64)

    def _refuse_inexact(self, dtype: Any) -> None:
        name = keras.backend.standardize_dtype(dtype)
        if "int" in name or _EXACT_IDS.get(name, 0) >= self.table.shape[0]:
            return
        raise unwrapped(
            EmbedFreezeError(
                f"layer {self.name!r} needs ids as int32 or int64 to tell {self.table.shape[0]} "
                f"rows apart, received {name}: declare the input as keras.Input(shape, "
                "dtype='int32') and encode texts with vocabulary.encode"
            )
        )

    def _inside(self, ids: Any) -> Any:
        """Which ids have a row; an error if one has not, as far as that can be raised."""
        rows = tf.cast(self.table.shape[0], ids.dtype)
        inside = (ids >= 0) & (ids < rows)
        message = f"layer {self.name!r} has rows 0 to {self.table.shape[0] - 1}"
        if not tf.executing_eagerly():
            check = tf.debugging.Assert(tf.reduce_all(inside), [f"{message}, received ids", ids])
            with tf.control_dependencies([check]):
                return tf.identity(inside)
        if not tf.reduce_all(inside):
            place = tf.where(~inside)[0].numpy().tolist()
            raise unwrapped(
                EmbedFreezeError(
                    f"{message}, received id {int(ids[tuple(place)])} at {place}: encode texts "
                    "with the vocabulary of the table"
                )
            )
        return inside

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Where ids are not padding, bool [...]; None without a padding id, and of pooled texts."""
        return None if self.pooling is not None else self._mask(inputs)

    def _mask(self, inputs: Any) -> Any:
        padding_id = self.table.padding_id if self.mask_padding else None
        return None if padding_id is None else keras.ops.not_equal(inputs, padding_id)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the ids with dim added; of pooled texts [batch, dim]."""
        return (*(input_shape if self.pooling is None else input_shape[:1]), self.table.dim)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Shape and dtype of the vectors; the table need not be there yet."""
        self._refuse_inexact(inputs.dtype)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    # ---- thawing

    def thaw(self, name: str | None = None) -> keras.layers.Embedding | keras.Sequential:
        """An ordinary trainable layer with the same vectors, those of `oov` too.

        Parameters
        ----------
        name : str, optional
            Of the new layer; default: this layer's.

        Returns
        -------
        keras.layers.Embedding
            Built, in this layer's dtype policy, with its mask: `mask_zero` for a padding id 0, a
            `MaskedEmbedding` for another. Its variable is a copy; this layer stays frozen. Of a
            layer with `pooling`, a `keras.Sequential` of it and a `MaskedPooling`.
        """
        name = name or self.name
        embedding = ordinary_embedding(
            (self.table.shape[0], self.table.dim),
            lambda ids: self._vectors(ids, self.variable_dtype),
            self.table.padding_id if self.mask_padding else None,
            name=name,
            dtype=self.dtype_policy,
        )
        if self.pooling is None:
            return embedding
        pooling = MaskedPooling(self.pooling, name="pooling", dtype=self.dtype_policy)
        return keras.Sequential([embedding, pooling], name=name)

    # ---- saving

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs; `table` says how to tell and where to find the table."""
        config = super().get_config()
        if self._open is None:
            del config["trainable"]
        if self.table.table is not None:
            live_tables.add(self.table.table)  # a clone takes this one, though others are equal
        return {
            **config,
            "mask_padding": self.mask_padding,
            "check_ids": self.check_ids,
            "pooling": self.pooling,
            "trainable_oov": False if self._open is None else self.open_rows.tolist(),
            "save": self.save_mode,
            "device": self.table.device,
            "table": self._saved_record().to_dict(),
        }

    def _saved_record(self) -> TableRecord:
        record = self.table.record
        return record.without_place() if self.save_mode == "embed" else reference(record)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FrozenEmbedding:
        """The layer over the same table.

        Raises
        ------
        FrozenError
            No table with the recorded digest is found, or another one was given.

        Warns
        -----
        UserWarning
            The layer's device is not there.
        """
        options = {**config, "device": present(config.get("device", "cpu"))}
        record = TableRecord.from_dict(options.pop("table", None))
        source = find_table(record, in_files=options["save"] == "reference")
        if source is not None and source.store_path is None:
            options["save"] = "embed"  # a table was given that no store holds
        layer: FrozenEmbedding = super().from_config({**options, "source": source or record})
        return layer

    def save_own_variables(self, store: Any) -> None:
        """Write what tells the table, and `oov`; the table is in its store or the assets."""
        save_record(store, self._saved_record())
        save_rows(store, self._open, self.oov)

    def load_own_variables(self, store: Any) -> None:
        """Compare what was saved of the table with this layer's, and take `oov`.

        Raises
        ------
        FrozenError
            The table or its tokens differ, or the weights are of another kind of layer. (Keras
            repeats the message in a `ValueError` of its own, save for a `FrozenModel`.)
        """
        with unwrapping():
            refuse_weights(store, self.table.record, self.name)
        load_rows(store, self._open, self.oov, self.name)

    def save_assets(self, dir_path: str) -> None:
        """Write the table into the `.keras` file, if it is to be embedded.

        Parameters
        ----------
        dir_path : str
            A folder that Keras puts into the file.
        """
        if self.save_mode == "embed" and self.table.table is not None:
            write_embedded(self.table.table, dir_path)

    def load_assets(self, dir_path: str | None) -> None:
        """Take the embedded table into sealed memory, unless this process has it.

        Parameters
        ----------
        dir_path : str or None
            The folder that `save_assets` wrote to; None where the file has none.
        """
        if self.table.table is None and dir_path is not None:
            record = self.table.record
            with unwrapping():
                live = find_table(record, in_files=False)  # perhaps taken for another layer
                table = live or open_table(record, embedded_store(dir_path), seal="copy")
            self.table.hold(table)
