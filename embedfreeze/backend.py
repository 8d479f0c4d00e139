"""Keras on TensorFlow, or a clear error: other modules import both from here."""

from __future__ import annotations

import os

from embedfreeze.errors import EmbedFreezeError

__all__ = [
    "Functional",
    "ResourceVariable",
    "colocate_with",
    "in_xla_context",
    "keras",
    "op_def_registry",
    "tf",
]


def _refuse_other_keras() -> None:
    """Before anything of Keras is imported: a wrong backend may not even be installed."""
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise EmbedFreezeError(
            "frozen variables need Keras on TensorFlow, received the environment variable "
            f"KERAS_BACKEND={backend!r}: unset it, or set it to 'tensorflow', before Python starts"
        )
    legacy = os.environ.get("TF_USE_LEGACY_KERAS", "")
    if legacy.lower() in ("1", "true"):
        raise EmbedFreezeError(
            "frozen variables need Keras 3, received the environment variable "
            f"TF_USE_LEGACY_KERAS={legacy!r}, which selects Keras 2: unset it before Python starts"
        )


_refuse_other_keras()

try:
    import keras
    import tensorflow as tf

    # Keras names the class of functional models nowhere else.
    from keras.src.models.functional import Functional

    # What the inputs of an operation are; TensorFlow says it nowhere else.
    from tensorflow.python.framework import op_def_registry

    # The public one, of `tf.compat.v1`, logs a warning.
    from tensorflow.python.framework.ops import colocate_with

    # What TensorFlow itself asks when it traces a function; it says it nowhere else.
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext as in_xla_context

    # tf.Variable itself is abstract; this is the class of every variable outside a strategy.
    from tensorflow.python.ops.resource_variable_ops import ResourceVariable
except ModuleNotFoundError as error:
    raise EmbedFreezeError(
        f"frozen variables need TensorFlow, and Keras on it, received: {error}: install tensorflow "
        "and keras, and let keras.json name no other backend"
    ) from error
if keras.backend.backend() != "tensorflow":
    raise EmbedFreezeError(
        f"frozen variables need Keras on TensorFlow, received the backend "
        f"{keras.backend.backend()!r} from keras.json: set KERAS_BACKEND='tensorflow' before "
        "Python starts"
    )
