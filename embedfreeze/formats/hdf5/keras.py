"""Weights and models that Keras saved: which dataset is an embedding layer's, and its tokens.

Keras 3 saves ``layers/<name>/vars/<i>``, alone in a ``.weights.h5`` or in a ``.keras`` archive with
the model's description (``config.json``) and the vocabularies of its layers (``assets/``). Keras 2
saves ``<layer>/<weight>``, at the root or in ``model_weights``. Nothing of a model is built.
Sources: keras/src/saving and keras/src/legacy/saving.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from embedfreeze.files import Source
from embedfreeze.formats.candidates import Candidate, Kind, kind_of
from embedfreeze.formats.hdf5.kerasparts import CONFIG, LARGEST_PART, opened_parts

__all__ = ["KerasModel", "candidate", "is_keras", "keras_model"]

WEIGHTS = "model_weights"
SPECIAL = ["", "[UNK]"]
LOOKUPS = ("TextVectorization", "StringLookup")
MOST_SPECIAL = 1 << 20  # tokens of all layers that stand there as a number of them alone
_VOCABULARY = re.compile(r"assets/.*vocabulary\.txt", re.DOTALL)
_VARIABLE = re.compile(r"(^|/)vars/\d+$")


def is_keras(file: Any, found: dict[str, Any]) -> bool:
    """Does a file hold weights as Keras lays them out?"""
    groups = [file, file[WEIGHTS]] if f"{WEIGHTS}/" in _folders(found) else [file]
    listed = any(
        name in group.attrs for group in groups for name in ("layer_names", "layer_names0")
    )
    return listed or any(_VARIABLE.search(name) for name in found)


def _folders(found: dict[str, Any]) -> set[str]:
    return {name[: name.find("/") + 1] for name in found}


# ---- what the description of a model tells


@dataclass(frozen=True)
class KerasModel:
    """What the description of a model tells.

    Attributes
    ----------
    classes : dict of str to str
        Of layers, by their names.
    places : dict of str to str
        The names of layers, by the group of their weights in a file of Keras 3.
    vocabularies : dict of str to list of bytes
        Tokens in the order of their ids, by the names of layers or of files.
    """

    classes: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    vocabularies: dict[str, list[bytes]] = field(default_factory=dict)


def keras_model(source: Source) -> KerasModel:
    """What is known of the model whose weights a file holds, from what lies beside it.

    Raises
    ------
    FormatError
        An archive is damaged, or holds a part that no model has.
    """
    model = KerasModel()
    with opened_parts(source) as parts:
        if CONFIG in parts.names:
            _describe(model, parts.read(CONFIG))
        left = LARGEST_PART  # of all together
        for name in filter(_VOCABULARY.fullmatch, parts.names):
            vocabulary = parts.read(name, left)
            model.vocabularies[name] = vocabulary.split(b"\n")
            left -= len(vocabulary)
    return model


def _describe(model: KerasModel, described: bytes) -> None:
    """Note the layers of a description, however deep; one that is no JSON tells nothing."""
    try:
        config = json.loads(described)
    except (ValueError, RecursionError):
        return
    model.places.update(_places(config))
    left = MOST_SPECIAL + len(described)  # each other token takes more than a byte
    for kind, inner in _layers(config):
        name = inner.get("name")
        if not isinstance(name, str):
            continue
        model.classes[name] = kind
        tokens = _vocabulary(kind, inner)
        left -= len(tokens)
        if tokens and left >= 0:
            model.vocabularies[name] = [token.encode("utf-8", "surrogatepass") for token in tokens]


def _layers(config: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Class and arguments of everything that a description names."""
    pending = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            kind, inner = node.get("class_name"), node.get("config")
            if isinstance(kind, str) and isinstance(inner, dict):
                yield kind, inner
            pending += reversed(node.values())
        elif isinstance(node, list):
            pending += reversed(node)


def _places(config: Any) -> dict[str, str]:
    """Where the layers of a model have their weights: Keras 3 numbers those of a class."""
    places: dict[str, str] = {}
    numbers: Counter[str] = Counter()
    inner = config.get("config") if isinstance(config, dict) else None
    listed = inner.get("layers") if isinstance(inner, dict) else None
    for layer in listed if isinstance(listed, list) else []:
        for kind, arguments in islice(_layers(layer), 1):
            place = f"layers/{_snake_case(kind)}"
            number, numbers[place] = numbers[place], numbers[place] + 1
            places[f"{place}_{number}" if number else place] = str(arguments.get("name"))
    return places


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _vocabulary(kind: str, config: dict[str, Any]) -> list[str]:
    """The tokens of a layer by id, the special ones first, as its get_vocabulary() gives them."""
    known = config.get("vocabulary")
    if kind not in LOOKUPS or not isinstance(known, list):
        return []
    tokens = [token for token in known if isinstance(token, str)]
    special = SPECIAL if kind == "TextVectorization" else _special(config)
    if len(tokens) != len(known):
        return []
    return tokens if tokens[: len(special)] == special else [*special, *tokens]


def _special(config: dict[str, Any]) -> list[str]:
    mask, unknown, buckets = (
        config.get(key) for key in ("mask_token", "oov_token", "num_oov_indices")
    )
    count = buckets if isinstance(buckets, int) and 0 <= buckets < 1 << 16 else 1
    name = unknown if isinstance(unknown, str) else SPECIAL[1]
    return ([mask] if isinstance(mask, str) else []) + [name] * count


# ---- which dataset


def candidate(name: str, dataset: Any, model: KerasModel) -> Candidate:
    """A dataset as a candidate, with what its names tell of it."""
    layer = _layer(name, model)
    kind: Kind = kind_of(name)
    if kind in ("matrix", "kernel") and model.classes.get(layer or "", "").endswith("Embedding"):
        kind = "embedding"
    known_as = layer if layer and f"/{layer}/" not in f"/{name}" else None
    return Candidate(name, tuple(map(int, dataset.shape)), str(dataset.dtype), kind, known_as)


def _layer(name: str, model: KerasModel) -> str | None:
    """The name of the layer that a dataset belongs to."""
    if _VARIABLE.search(name):
        return model.places.get(_VARIABLE.sub("", name))
    return name.removeprefix(f"{WEIGHTS}/").split("/")[0]
