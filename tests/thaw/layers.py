"""What Keras does to layers: LoRA, quantization, dtype policies; and subclasses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from thaw import subjects
from thaw.subjects import OTHER, Subject
from thaw.trial import CAUGHT, CHANGED, UNCHANGED, Attempt, Trial

Act = Callable[[Trial], None]
ATTRIBUTE_ERROR = f"{UNCHANGED} (AttributeError)"


def then_train(change: Callable[[Trial], object]) -> Act:
    def act(trial: Trial) -> None:
        trial.begin()
        change(trial)
        trial.train()

    return act


def lora(trial: Trial) -> None:
    trial.layer.enable_lora(2)
    trial.layer.trainable = True
    trial.train()


def lora_from_the_start(trial: Trial) -> None:
    trial.again(lora_rank=2)
    trial.layer.trainable = True
    trial.train()


def quantized(mode: str) -> Act:
    return then_train(lambda trial: trial.layer.quantize(mode))


def model_quantized(mode: str) -> Act:
    return then_train(lambda trial: trial.model.quantize(mode))


def with_policy(policy: Any) -> Act:
    return then_train(lambda trial: setattr(trial.layer, "dtype_policy", policy))


def made_with(dtype: str) -> Act:
    def act(trial: Trial) -> None:
        trial.again(dtype=dtype)
        trial.train()

    return act


def under_a_policy(name: str) -> Act:
    """The whole model is made under a policy of the process."""

    def act(trial: Trial) -> None:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(name)
        try:
            trial.again()
            trial.train()
        finally:
            keras.config.set_dtype_policy(before)

    return act


def under_floatx(trial: Trial) -> None:
    keras.config.set_floatx("float16")
    try:
        under_a_policy("float16")(trial)
    finally:
        keras.config.set_floatx("float32")


def under_a_map(trial: Trial) -> None:
    mixed = keras.dtype_policies.get("mixed_float16")
    trial.again(dtype=keras.dtype_policies.DTypePolicyMap("float32", {"words": mixed}))
    trial.train()


def made_of(change: Callable[[type], dict[str, Any]]) -> Act:
    """A subclass of the layer's class, with these methods."""

    def act(trial: Trial) -> None:
        kind, folder = trial.subject.kind, trial.subject.folder
        layer = subjects.words(kind, folder)
        parent = type(layer)
        trial.subject = Subject(kind, subjects.network(kind, layer), folder)
        trial.begin()
        layer.__class__ = type("Sub", (parent,), change(parent))
        try:
            trial.train()
        finally:  # the lookups that follow are to tell of the table
            layer.__class__ = parent

    return act


def assigning_call(parent: type) -> dict[str, Any]:
    def call(self: Any, ids: Any) -> Any:
        _table(self).assign(OTHER)
        return parent.call(self, ids)

    return {"call": call}


def raw_call(parent: type) -> dict[str, Any]:
    def call(self: Any, ids: Any) -> Any:
        handle = _table(self).handle
        tf.raw_ops.AssignVariableOp(resource=handle, value=tf.constant(OTHER))
        return parent.call(self, ids)

    return {"call": call}


def listing_it(parent: type) -> dict[str, Any]:
    """Says that all of its variables are trainable."""
    return {"trainable_variables": property(lambda self: [_table(self)])}


def _table(layer: Any) -> Any:
    return layer._embeddings if hasattr(layer, "_embeddings") else layer.table


def of_error(name: str) -> str:
    return f"{UNCHANGED} ({name})"


SAME = {"stock": UNCHANGED, "variable": UNCHANGED, "ours": UNCHANGED}
FLOAT8 = {"eager": of_error("ValueError"), "": UNCHANGED}
NOT_IMPLEMENTED = of_error("NotImplementedError")
QUANTIZATION = [
    Attempt("`enable_lora`, and `layer.trainable = True`", lora, variable=ATTRIBUTE_ERROR),
    Attempt(
        "`lora_rank=2` when the layer is made, and `trainable = True`",
        lora_from_the_start,
        variable=of_error("ValueError"),
    ),
    *(
        Attempt(f"`layer.quantize({mode!r})`", quantized(mode), stock=stock, variable=variable)
        for mode, stock, variable in (
            ("int8", CHANGED, NOT_IMPLEMENTED),
            ("int4", CHANGED, NOT_IMPLEMENTED),
            ("float8", NOT_IMPLEMENTED, NOT_IMPLEMENTED),
            ("gptq", of_error("ValueError"), of_error("ValueError")),
            ("awq", of_error("ValueError"), of_error("ValueError")),
        )
    ),
    *(
        Attempt(f"`model.quantize({mode!r})`", model_quantized(mode), **{**SAME, "stock": CHANGED})
        for mode in ("int8", "int4")
    ),
    Attempt(
        "`model.quantize('float8')`",
        model_quantized("float8"),
        **dict.fromkeys(SAME, FLOAT8),
        note="of the dense layer, for which Keras fails in eager mode",
    ),
]
POLICIES = [
    *(
        Attempt(f"`layer.dtype_policy = {policy!r}`", with_policy(policy), **SAME)
        for policy in ("float16", "mixed_float16", "mixed_bfloat16")
    ),
    Attempt(
        "`layer.dtype_policy = 'int8_from_float32'`",
        with_policy("int8_from_float32"),
        variable=NOT_IMPLEMENTED,
    ),
    *(
        Attempt(f"`dtype={dtype!r}` when the layer is made", made_with(dtype), **expected)
        for dtype, expected in (
            ("float16", {**SAME, "stock": CHANGED}),
            ("bfloat16", {**SAME, "stock": CHANGED}),
            ("float64", {**SAME, "stock": CHANGED}),
            ("mixed_float16", SAME),
            ("mixed_bfloat16", SAME),
            ("int8_from_float32", {"variable": NOT_IMPLEMENTED}),
            ("int4_from_float32", {"stock": of_error("ValueError"), "variable": NOT_IMPLEMENTED}),
            ("float8_from_float32", {"stock": NOT_IMPLEMENTED, "variable": NOT_IMPLEMENTED}),
        )
    ),
    *(
        Attempt(f"a model made under the policy {name!r}", under_a_policy(name), **expected)
        for name, expected in (
            ("float16", {**SAME, "stock": CHANGED}),
            ("mixed_float16", SAME),
            ("mixed_bfloat16", SAME),
        )
    ),
    Attempt(
        "a model made under `set_floatx('float16')`",
        under_floatx,
        **{**SAME, "stock": CHANGED},
    ),
    Attempt("a `DTypePolicyMap` with mixed_float16 for the layer", under_a_map, **SAME),
]
SUBCLASSES = [
    Attempt("a subclass whose `call` assigns", made_of(assigning_call)),
    Attempt("a subclass whose `call` writes by an operation", made_of(raw_call), ours=CAUGHT),
    Attempt("a subclass that lists the variable as trainable", made_of(listing_it), **SAME),
]
ATTEMPTS = [*QUANTIZATION, *POLICIES, *SUBCLASSES]
