"""Pretrained word embeddings in TensorFlow models, frozen by the kernel and proven to stay so."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from embedfreeze import errors

if TYPE_CHECKING:
    from embedfreeze.align import AlignedEmbeddings, align, load
    from embedfreeze.assembling import assemble
    from embedfreeze.batch.counting import CorpusCounts, count_corpus
    from embedfreeze.batch.encoding import encode
    from embedfreeze.convert import Conversion, convert
    from embedfreeze.cosines import neighbours
    from embedfreeze.coverage import Coverage
    from embedfreeze.dataset import dataset
    from embedfreeze.embeddings import Embeddings
    from embedfreeze.evaluation import evaluate
    from embedfreeze.formats import read, write
    from embedfreeze.formats.inspecting.inspection import Inspection, inspect
    from embedfreeze.frozen import FrozenEmbedding
    from embedfreeze.head import build_head
    from embedfreeze.hyperparameter import Hyperparameter
    from embedfreeze.model import build_model, load_model
    from embedfreeze.proof import FreezeProof
    from embedfreeze.reports.historyplot import plot_history
    from embedfreeze.reports.projector import ProjectorFiles, write_projector
    from embedfreeze.reports.reporting import Report, report
    from embedfreeze.scores import Evaluation
    from embedfreeze.splitters import Splitter
    from embedfreeze.thawing import thaw
    from embedfreeze.tokens import Tokens
    from embedfreeze.tokenweights import TokenWeights
    from embedfreeze.training import FreezeGuard, train_step, verify
    from embedfreeze.variable import FrozenVariable, frozen_scalar
    from embedfreeze.vocabulary import Vocabulary

# The names and where they live: a module, and all that it needs, loads when one of its names is
# first used.
_LATE = {
    "AlignedEmbeddings": "align",
    "Conversion": "convert",
    "CorpusCounts": "batch.counting",
    "Coverage": "coverage",
    "Embeddings": "embeddings",
    "Evaluation": "scores",
    "FreezeGuard": "training",
    "FreezeProof": "proof",
    "FrozenEmbedding": "frozen",
    "FrozenVariable": "variable",
    "Hyperparameter": "hyperparameter",
    "Inspection": "formats.inspecting.inspection",
    "ProjectorFiles": "reports.projector",
    "Report": "reports.reporting",
    "Splitter": "splitters",
    "TokenWeights": "tokenweights",
    "Tokens": "tokens",
    "Vocabulary": "vocabulary",
    "align": "align",
    "assemble": "assembling",
    "build_head": "head",
    "build_model": "model",
    "convert": "convert",
    "count_corpus": "batch.counting",
    "dataset": "dataset",
    "encode": "batch.encoding",
    "evaluate": "evaluation",
    "frozen_scalar": "variable",
    "inspect": "formats.inspecting.inspection",
    "load": "align",
    "load_model": "model",
    "neighbours": "cosines",
    "plot_history": "reports.historyplot",
    "read": "formats",
    "report": "reports.reporting",
    "thaw": "thawing",
    "train_step": "training",
    "verify": "training",
    "write": "formats",
    "write_projector": "reports.projector",
}

__all__ = [
    "AlignedEmbeddings",
    "Conversion",
    "CorpusCounts",
    "Coverage",
    "Embeddings",
    "Evaluation",
    "FreezeGuard",
    "FreezeProof",
    "FrozenEmbedding",
    "FrozenVariable",
    "Hyperparameter",
    "Inspection",
    "ProjectorFiles",
    "Report",
    "Splitter",
    "TokenWeights",
    "Tokens",
    "Vocabulary",
    "align",
    "assemble",
    "build_head",
    "build_model",
    "convert",
    "count_corpus",
    "dataset",
    "encode",
    "errors",
    "evaluate",
    "frozen_scalar",
    "inspect",
    "load",
    "load_model",
    "neighbours",
    "plot_history",
    "read",
    "report",
    "thaw",
    "train_step",
    "verify",
    "write",
    "write_projector",
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
    dunder = [name for name in globals() if name.startswith("__") and name.endswith("__")]
    return sorted({*dunder, "__version__", *__all__})


class _Package(ModuleType):
    """This module: a function keeps its name where the import system would put a module there.

    `align` and `convert` live in modules that are called like them, and Python enters each
    submodule into its package as it is loaded.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _LATE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
