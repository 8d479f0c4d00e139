"""FrozenEmbedding: a layer over a frozen table, and what a saved model holds of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from embedfreeze.backend import keras, tf
from embedfreeze.errors import EmbedFreezeError, FrozenError
from embedfreeze.locked import THAW, unwrapped
from embedfreeze.search import find_table, open_table
from embedfreeze.table import TableRecord
from embedfreeze.variable import FrozenVariable, frozen_scalar
from embedfreeze.vocabulary import Vocabulary

__all__ = [
    "FrozenEmbedding",
    "FrozenVariable",
    "frozen_scalar",
    "frozen_variables",
]

_STORED_AS = "table.safetensors"
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
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            found.setdefault(id(variable), (layer, variable))
    for variable in model.variables:
        found.setdefault(id(variable), (None, variable))
    return [pair for pair in found.values() if isinstance(pair[1], FrozenVariable)]


@keras.saving.register_keras_serializable(package="embedfreeze")
class FrozenEmbedding(keras.layers.Layer):  # type: ignore[misc]
    """Looks ids up in a frozen table.

    Parameters
    ----------
    source : AlignedEmbeddings, Embeddings of a store, or SealedMatrix
        The table [rows, dim]. A bare matrix serves, but without tokens a model cannot be saved.
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
    name : str, optional
        Of the layer.
    **options
        Of `keras.layers.Layer`. Vectors are cast to the compute dtype after the lookup.

    Raises
    ------
    FrozenError
        `trainable=True`; or `save="reference"` for a table that no store holds.
    TypeError
        The source is something else.

    Notes
    -----
    Input: int32 or int64 ids of any shape (also lists). Output: vectors, the shape with dim added.
    Setting `trainable` on the layer or its model changes nothing.
    """

    def __init__(
        self,
        source: object,
        *,
        mask_padding: bool = True,
        save: Literal["reference", "embed"] | None = None,
        check_ids: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        if options.pop("trainable", False):
            raise FrozenError(f"a FrozenEmbedding cannot have trainable=True; {THAW}")
        super().__init__(name=name, trainable=False, **options)
        self.autocast = False  # ids are no floats; a table is cast after the lookup
        # XLA cannot raise for bad ids, nor read the host's memory from a GPU; this stops Keras from
        # choosing it by itself.
        self.supports_jit = not (check_ids or tf.config.list_physical_devices("GPU"))
        self.mask_padding = mask_padding
        self.check_ids = check_ids
        with keras.name_scope(self.name):
            self.table = FrozenVariable(source, name="table")
        self.save_mode = self._save_mode(save)

    def _save_mode(self, save: str | None) -> str:
        table = self.table.table
        if save == "embed" or table is None:
            return save or "embed"
        if table.store_path is not None and save in (None, "reference"):
            return "reference"
        if save is None:
            return "embed"
        raise FrozenError(
            f"save must be 'embed', or 'reference' for a table in a store, received {save!r}: "
            "write the embeddings to a .safetensors file and read that"
        )

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The vocabulary whose ids are the rows, where there is one."""
        return self.table.vocabulary

    @property
    def tokens(self) -> Sequence[str] | None:
        """The tokens of the rows."""
        return self.table.tokens

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over the SHA-256 of each 1 MiB block of the matrix."""
        return self.table.digest

    # ---- lookup

    def __call__(self, inputs: Any, *args: Any, **options: Any) -> Any:
        if not (tf.is_tensor(inputs) or isinstance(inputs, keras.KerasTensor)):
            inputs = tf.convert_to_tensor(inputs)
        return super().__call__(inputs, *args, **options)

    def call(self, inputs: Any) -> Any:
        """Vectors [..., dim] of ids [...], in the compute dtype."""
        ids = self._integer_ids(inputs)
        if not self.check_ids:
            return tf.cast(tf.gather(self.table, ids), self.compute_dtype)
        inside = self._inside(ids)
        vectors = tf.gather(self.table, tf.where(inside, ids, 0))
        vectors = tf.where(inside[..., tf.newaxis], vectors, np.nan)
        return tf.cast(vectors, self.compute_dtype)

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

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where ids are not padding, bool [...]; None without a padding id."""
        padding_id = self.table.padding_id if self.mask_padding else None
        return None if padding_id is None else keras.ops.not_equal(inputs, padding_id)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the ids with dim added."""
        return (*input_shape, self.table.shape[1])

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Shape and dtype of the vectors; the table need not be there yet."""
        self._refuse_inexact(inputs.dtype)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    # ---- saving

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs; `table` says how to tell and where to find the table."""
        config = super().get_config()
        del config["trainable"]
        record = self.table.record
        if self.save_mode == "embed":
            record = replace(record, path=None, absolute_path=None)
        return {
            **config,
            "mask_padding": self.mask_padding,
            "check_ids": self.check_ids,
            "save": self.save_mode,
            "table": record.to_dict(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FrozenEmbedding:
        """The layer over the same table.

        Raises
        ------
        FrozenError
            No table with the recorded digest is found, or another one was given.
        """
        options = dict(config)
        record = TableRecord(**options.pop("table"))
        source = find_table(record, in_files=options["save"] == "reference")
        if source is not None and source.store_path is None:
            options["save"] = "embed"  # a table was given that no store holds
        layer: FrozenEmbedding = super().from_config({**options, "source": source or record})
        return layer

    def save_own_variables(self, store: Any) -> None:
        """Write the digest; the table is in its store or among the assets."""
        store["digest"] = np.frombuffer(bytes.fromhex(self.digest), dtype=np.uint8)

    def load_own_variables(self, store: Any) -> None:
        """Compare the digest that was saved with the table's.

        Raises
        ------
        FrozenError
            They differ, or the weights are of another kind of layer. (Keras repeats the message
            in a `ValueError` of its own.)
        """
        found = "none"
        if "digest" in set(store.keys()):
            found = np.asarray(store["digest"], dtype=np.uint8).tobytes().hex()
        if found != self.digest:
            raise unwrapped(
                FrozenError(
                    f"layer {self.name!r} has a table with the digest {self.digest}, received "
                    f"weights with the digest {found}: build the model with their table"
                )
            )

    def save_assets(self, dir_path: str) -> None:
        """Write the table into the `.keras` file, if it is to be embedded."""
        if self.save_mode == "embed" and self.table.table is not None:
            self.table.table.save(os.path.join(dir_path, _STORED_AS))

    def load_assets(self, dir_path: str | None) -> None:
        """Take the embedded table into sealed memory, unless this process has it."""
        if self.table.table is None and dir_path is not None:
            record, path = self.table.record, os.path.join(dir_path, _STORED_AS)
            live = find_table(record, in_files=False)  # perhaps taken for another layer
            self.table.hold(live or open_table(record, path, seal="copy"))
