"""Models with ordinary trainable embeddings in the place of frozen ones, for a second phase."""

from __future__ import annotations

import tempfile
from typing import Any

from embedfreeze.backend import Functional, keras
from embedfreeze.errors import FrozenError
from embedfreeze.frozen import FrozenEmbedding

__all__ = ["thaw"]


def thaw(model: keras.layers.Layer) -> Any:
    """A copy of a model with an ordinary trainable `Embedding` for each `FrozenEmbedding`.

    Parameters
    ----------
    model : keras.Model or FrozenEmbedding
        A functional or sequential model, with others of the kind in it at any depth; or the layer
        alone, for which it is ``layer.thaw()``.

    Returns
    -------
    keras.Model, keras.Sequential or keras.layers.Embedding
        Not compiled, all weights copied, names kept. A functional model of a class of your own
        comes out as a `keras.Model`. The original is left as it is.

    Raises
    ------
    FrozenError
        The model holds no `FrozenEmbedding`; or holds one in a layer or model whose `call` is
        written in Python, where it cannot be replaced from outside.
    TypeError
        It is neither a model nor a `FrozenEmbedding`.

    Examples
    --------
    ``tuned = embedfreeze.thaw(model)``, and on with a lower rate:
    ``tuned.compile(keras.optimizers.Adam(1e-5), loss)``, ``tuned.fit(x, y)``.
    """
    if isinstance(model, FrozenEmbedding):
        return model.thaw()
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"only a Keras model or a FrozenEmbedding can be thawed, received "
            f"{type(model).__name__}: give the model that holds the layer"
        )
    if not _holds_frozen(model):
        raise FrozenError(
            f"a model that is thawed must hold a FrozenEmbedding, received {model.name!r} without "
            "one: compile it and train it as it is"
        )
    copy = _Copy()
    thawed = copy.of(model)
    copy.weights()
    return thawed


def _holds_frozen(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Layer) and any(
        isinstance(part, FrozenEmbedding) for part in layer._flatten_layers()
    )


def _entry(given: keras.KerasTensor) -> keras.KerasTensor:
    """An input of the copy; Keras would not keep the name of one that got it from Keras."""
    made: Any = given
    layer = made._keras_history.operation
    return type(layer).from_config(layer.get_config()).output


class _Copy:
    """One copy of a model: what the model uses in several places, its copy does, too."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, Any]] = {}

    def of(self, layer: Any) -> Any:
        """The copy of a layer, model or operation, made when it is first asked for."""
        if id(layer) not in self._made:
            self._made[id(layer)] = (layer, self._new(layer))
        return self._made[id(layer)][1]

    def _new(self, layer: Any) -> Any:
        if isinstance(layer, FrozenEmbedding):
            return layer.thaw()
        if isinstance(layer, keras.Sequential):
            return self._sequential(layer)
        if isinstance(layer, Functional):
            # Of a compiled model Keras would compile the clone, with slots for the whole table.
            plain = keras.Model(layer.input, layer.output, name=layer.name)
            entries = keras.tree.map_structure(_entry, plain.input)
            return keras.models.clone_model(plain, entries, clone_function=self.of)
        if _holds_frozen(layer):
            raise FrozenError(
                "thaw replaces the layers of functional and sequential models, received the "
                f"{type(layer).__name__} {layer.name!r} with a FrozenEmbedding in it: make a new "
                "one with embedding.thaw() in its place, and copy the weights of its other layers"
            )
        return type(layer).from_config(layer.get_config())

    def _sequential(self, model: keras.Sequential) -> keras.Sequential:
        entry = [_entry(model.inputs[0])] if model.built else []
        return keras.Sequential([*entry, *map(self.of, model.layers)], name=model.name)

    def weights(self) -> None:
        """Give each copied layer the weights of its original."""
        models = FrozenEmbedding | Functional | keras.Sequential  # done, or done by their layers
        for old, new in self._made.values():
            if isinstance(old, keras.layers.Layer) and not isinstance(old, models):
                new.set_weights(old.get_weights())
                for part, copied in zip(old._flatten_layers(), new._flatten_layers(), strict=True):
                    _copy_state(part, copied)


def _copy_state(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """What Keras' preprocessing layers learned, and keep beside their weights."""
    if hasattr(old, "save_assets") and hasattr(new, "load_assets"):
        with tempfile.TemporaryDirectory(prefix="embedfreeze-") as folder:
            old.save_assets(folder)
            new.load_assets(folder)
    if hasattr(new, "finalize_state"):
        new.finalize_state()
