"""Pretrained word embeddings in TensorFlow models, frozen by the kernel and proven to stay so."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from embedfreeze import errors
from embedfreeze.align import AlignedEmbeddings, align, load
from embedfreeze.convert import Conversion, convert
from embedfreeze.coverage import Coverage
from embedfreeze.embeddings import Embeddings
from embedfreeze.formats import read, write
from embedfreeze.splitters import Splitter
from embedfreeze.tokens import Tokens
from embedfreeze.vocabulary import Vocabulary

if TYPE_CHECKING:
    from embedfreeze.formats.inspecting.inspection import Inspection, inspect
    from embedfreeze.frozen import FrozenEmbedding
    from embedfreeze.hyperparameter import Hyperparameter
    from embedfreeze.model import build_model, load_model
    from embedfreeze.proof import FreezeProof
    from embedfreeze.thawing import thaw
    from embedfreeze.training import FreezeGuard, train_step, verify
    from embedfreeze.variable import FrozenVariable, frozen_scalar

# Names that need TensorFlow or are rarely used, and where they live; a module loads when its name
# is first used.
_LATE = {
    "FreezeGuard": "training",
    "FreezeProof": "proof",
    "FrozenEmbedding": "frozen",
    "FrozenVariable": "variable",
    "Hyperparameter": "hyperparameter",
    "Inspection": "formats.inspecting.inspection",
    "build_model": "model",
    "frozen_scalar": "variable",
    "inspect": "formats.inspecting.inspection",
    "load_model": "model",
    "thaw": "thawing",
    "train_step": "training",
    "verify": "training",
}

__all__ = [
    "AlignedEmbeddings",
    "Conversion",
    "Coverage",
    "Embeddings",
    "FreezeGuard",
    "FreezeProof",
    "FrozenEmbedding",
    "FrozenVariable",
    "Hyperparameter",
    "Inspection",
    "Splitter",
    "Tokens",
    "Vocabulary",
    "align",
    "build_model",
    "convert",
    "errors",
    "frozen_scalar",
    "inspect",
    "load",
    "load_model",
    "read",
    "thaw",
    "train_step",
    "verify",
    "write",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("embedfreeze")
    if name not in _LATE:
        raise AttributeError(f"module 'embedfreeze' has no attribute {name!r}")
    value = getattr(import_module(f"embedfreeze.{_LATE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
