"""GuardedLayer: a layer over a frozen table, without the ways in which Keras changes layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from embedfreeze.backend import keras
from embedfreeze.errors import FrozenError, QuantizationRefused
from embedfreeze.refusals import THAW, unwrapped
from embedfreeze.variable import FrozenVariable

__all__ = ["GuardedLayer"]

# What `keras.layers.Embedding` takes to make, change or constrain values, and what to do instead.
_OF_EMBEDDING = {
    "embeddings_constraint": "frozen values need none",
    "embeddings_initializer": "give the values as its source",
    "embeddings_regularizer": "frozen values need none",
    "input_dim": "give a table as its source",
    "lora_alpha": "thaw the layer with layer.thaw() to adapt it",
    "lora_rank": "thaw the layer with layer.thaw() to adapt it",
    "mask_zero": "give mask_padding=",
    "output_dim": "give a table as its source",
    "quantization_config": "store the table as int8",
    "weights": "give a table as its source",
}


class GuardedLayer(keras.layers.Layer):  # type: ignore[misc]
    """A layer whose attribute `table`, once set, stays; that is not adapted and not quantized.

    Parameters
    ----------
    **options
        Of `keras.layers.Layer`.

    Raises
    ------
    FrozenError
        The options are those of `keras.layers.Embedding`, or the dtype policy quantizes.
    """

    _keep: Callable[[], FrozenVariable]

    def __init__(self, **options: Any) -> None:
        for name in sorted(_OF_EMBEDDING.keys() & options):
            raise FrozenError(
                f"a frozen layer looks values up that are there, received {name}=: "
                f"{_OF_EMBEDDING[name]}"
            )
        super().__init__(**options)
        del self.quantize  # Keras' wrapper around the method refuses some calls in its own words
        self._refuse_quantization(self.dtype_policy)

    # ---- its table

    @property
    def table(self) -> FrozenVariable:
        """The table; it is set once."""
        return self._keep()

    @table.setter
    def table(self, table: FrozenVariable) -> None:
        self._keep = lambda: table  # out of reach of what Keras does to the variables it tracks

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "table" and "_keep" in vars(self):
            self._refuse("its table cannot be set")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name == "table":
            self._refuse("its table cannot be deleted")
        super().__delattr__(name)

    # ---- what Keras does to layers

    @property
    def dtype_policy(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The policy: vectors are cast to its compute dtype after the lookup."""
        return super().dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        self._refuse_quantization(keras.dtype_policies.get(value))
        of_keras: Any = keras.layers.Layer.dtype_policy
        of_keras.fset(self, value)

    def _refuse_quantization(self, policy: Any) -> None:
        if self.path and isinstance(policy, keras.dtype_policies.DTypePolicyMap):
            policy = policy[self.path]
        if policy.quantization_mode is not None:
            self.quantize()

    def quantize(self, *_: Any, **__: Any) -> NoReturn:
        """Refused; a model that quantizes all of its layers warns, and passes over this one."""
        raise unwrapped(
            QuantizationRefused(
                f"layer {self.name!r} has a frozen table, which is not quantized: store the table "
                "as int8, or give the layer a dtype policy that does not quantize"
            )
        )

    def enable_lora(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        self._refuse("LoRA would change its vectors")

    def _refuse(self, rule: str) -> NoReturn:
        raise unwrapped(FrozenError(f"frozen layer {self.name!r}: {rule}; {THAW}"))
