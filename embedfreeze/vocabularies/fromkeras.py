"""The ids of Keras' `TextVectorization` and `StringLookup`, without importing Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embedfreeze.errors import VocabularyError
from embedfreeze.splitters import ASCII_WHITE_SPACE, PUNCTUATION, Splitter, SplitterLike
from embedfreeze.vocabularies.parts import Parts, fill_gaps, new_name

__all__ = ["LayerSplitter", "from_layer"]

STANDARDIZE: dict[str | None, dict[str, Any]] = {
    None: {"lowercase": False, "delete": None},
    "lower": {"lowercase": "ascii", "delete": None},
    "strip_punctuation": {"lowercase": False, "delete": PUNCTUATION},
    "lower_and_strip_punctuation": {"lowercase": "ascii", "delete": PUNCTUATION},
}
SPLIT = {None: None, "whitespace": ASCII_WHITE_SPACE, "character": ""}


@dataclass(frozen=True, eq=False)
class LayerSplitter:
    """Cuts texts by asking a `TextVectorization`, for callables that only it can call."""

    layer: Any

    def __call__(self, text: str) -> list[str]:
        """The tokens of one text."""
        found = self.layer._preprocess([text.encode("utf-8", "surrogateescape")])
        rows = found.to_list() if hasattr(found, "to_list") else found.numpy().tolist()
        tokens = rows[0] if isinstance(rows[0], list) else rows
        return [token.decode("utf-8", "surrogateescape") for token in tokens]


def from_layer(layer: Any) -> Parts:
    """What a vocabulary with the ids of the layer is made of.

    Raises
    ------
    VocabularyError
        The layer is of another kind, or has no vocabulary yet.
    """
    lookup = getattr(layer, "_lookup_layer", layer)
    if getattr(lookup, "vocabulary_dtype", None) != "string" or not hasattr(layer, "get_config"):
        raise VocabularyError(
            "a vocabulary can be made of a keras.layers.TextVectorization or StringLookup, "
            f"received {layer!r}"
        )
    if not int(lookup.lookup_table.size()):
        raise VocabularyError(
            f"the layer must have a vocabulary, received {layer.name!r} without one: call adapt "
            "or set_vocabulary first"
        )
    return _numbered(lookup.get_config(), _table(lookup), _splitter(layer, lookup))


def _table(lookup: Any) -> dict[int, str]:
    """Ids and tokens of the layer's table, which has no special tokens.

    `get_vocabulary` would take NUL from the ends of tokens.
    """
    keys, values = (part.numpy().tolist() for part in lookup.lookup_table.export())
    pairs = zip(keys, values, strict=True) if lookup.invert else zip(values, keys, strict=True)
    return {i: token.decode("utf-8", "surrogateescape") for i, token in pairs}


def _numbered(config: dict[str, Any], ordinary: dict[int, str], splitter: SplitterLike) -> Parts:
    mask, buckets = config["mask_token"], config["num_oov_indices"]
    if config["output_mode"] != "int":
        mask = None  # it has no column
    # The mask is looked up first: the same token in the table is never found.
    tokens = {i: token for i, token in ordinary.items() if token != mask}
    taken = {*tokens.values()}
    if mask is not None:
        tokens[0] = mask
        taken.add(mask)
    unknown = _unknown_names(config["oov_token"] or "[UNK]", buckets, taken)
    first = int(mask is not None)
    tokens.update(enumerate(unknown, start=first))
    gaps = fill_gaps(tokens)
    return Parts(
        tokens=[tokens[i] for i in sorted(tokens)],
        padding=mask,
        unknown=unknown[0] if unknown else None,
        special=[*unknown[1:], *gaps],
        splitter=splitter,
        unknown_buckets=max(1, buckets),
        unknown_salt=config.get("salt") if buckets > 1 else None,
    )


def _unknown_names(name: str, buckets: int, taken: set[str]) -> list[str]:
    """Different names of the ids of unknown tokens, which all have one name in Keras."""
    end = name[-1:] if name.endswith(("]", ">")) else ""
    numbered = [name, *(f"{name.removesuffix(end)}:{i}{end}" for i in range(1, buckets))]
    return [new_name(one, taken) for one in numbered[:buckets]]


def _splitter(layer: Any, lookup: Any) -> SplitterLike:
    if lookup is layer:
        return Splitter(lowercase=False, delete=None, separators=None)
    config = layer.get_config()
    standardize, split, ngrams = config["standardize"], config["split"], config["ngrams"]
    own = getattr(split, "splitter", None)  # of a layer that `to_keras` made
    if isinstance(own, Splitter) and standardize is None and ngrams is None:
        return own
    if callable(standardize) or callable(split):
        return LayerSplitter(layer)
    sizes = tuple(range(1, ngrams + 1)) if isinstance(ngrams, int) else tuple(ngrams or ())
    return Splitter(**STANDARDIZE[standardize], separators=SPLIT[split], ngrams=sizes)
