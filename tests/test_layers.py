"""The way of the data is one direction: a file imports only from the levels above its own line."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "embedfreeze"

# Top to bottom. A package stands for its modules, which may import each other (without a circle).
LEVELS = [
    "errors",
    "plainlines",
    "htmltext",
    "coveragereport",
    "notebook",
    "backend",
    "threads",
    "storage",
    "_kernel",
    "tokens",
    "files",
    "checkpoints",
    "sealed",
    "splitters",
    "graphtext",
    "vocabularies",
    "vocabulary",
    "nearest",
    "coverage",
    "coveragerecord",
    "embeddings",
    "formats",
    "cosines",
    "aligning",
    "align",
    "convert",
    "batch",
    "scores",
    "evaluation",
    "tablerecord",
    "table",
    "search",
    "embedded",
    "weights",
    "servedrecord",
    "proof",
    "refusals",
    "audit",
    "placement",
    "ondevice",
    "locked",
    "variable",
    "guarded",
    "pooling",
    "lookup",
    "openrows",
    "pooledlookup",
    "ordinary",
    "frozen",
    "stored",
    "thawing",
    "modelinputs",
    "checks",
    "textids",
    "tokenweights",
    "textvectors",
    "head",
    "dataset",
    "savedfiles",
    "model",
    "assembling",
    "savedmodels",
    "checklog",
    "training",
    "hyperparameter",
    "demo",
    "reports",
    "commands",
    "cli",
    "__main__",
    "__init__",
]
# The modules that import TensorFlow as they are imported. Those above `audit` never import it, or
# one of these, but for the LATE ones; those below (`cli`, `__init__`) and the LATE ones only when a
# call needs it.
WITH_TENSORFLOW = [
    "backend",
    "graphtext",
    *LEVELS[LEVELS.index("audit") : LEVELS.index("demo") + 1],
]
LATE = ["vocabularies.tokeras"]


@dataclass(frozen=True)
class Import:
    """One imported module, the line where it stands, and whether importing the file runs it."""

    target: str
    line: int
    lazy: bool


def module_name(path: Path) -> str:
    """`formats.glove` of the file formats/glove.py, `formats` of formats/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


SOURCES = sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")])
MODULES = {module_name(path): path for path in SOURCES}


def resolve(name: str) -> str:
    """A dotted name as the module that holds it: `embedfreeze.errors.FileError` is `errors`."""
    head, _, rest = name.partition(".")
    if head != "embedfreeze":
        return name
    while rest and rest not in MODULES and rest not in LEVELS:
        rest = rest.rpartition(".")[0]
    return f"embedfreeze.{rest or '__init__'}"


def named_by(node: ast.AST) -> list[str]:
    """The dotted names that one node of a syntax tree imports; relative ones are not used here."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = "embedfreeze" if node.level else node.module
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
        ("import_module", "__import__")
    ):
        return [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
    return []


def imports(source: str) -> Iterator[Import]:
    """All imports of a source, those inside functions and for type checkers too."""
    tree = ast.parse(source)
    lazy = {id(node) for block in ast.walk(tree) if waits(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        for name in named_by(node):
            yield Import(resolve(name), getattr(node, "lineno", 0), id(node) in lazy)


def waits(node: ast.AST) -> bool:
    """Whether what is inside does not run when the file is imported."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test).endswith("TYPE_CHECKING")
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def level(module: str) -> int:
    """The line of a module in LEVELS; ValueError for a file that the list does not know."""
    return LEVELS.index(module.split(".")[0])


def upward(source: str, module: str) -> list[str]:
    """Imports of the package that run up the list, or from a package's module to its table."""
    found = []
    for item in imports(source):
        if not item.target.startswith("embedfreeze."):
            continue
        target = item.target.removeprefix("embedfreeze.")
        sibling = level(target) == level(module) and "." in target
        if level(target) >= level(module) and not sibling:
            found.append(f"{module}, line {item.line}: imports {target}")
    return found


def early(source: str, module: str) -> list[str]:
    """Imports of TensorFlow in a file that is read before TensorFlow is needed."""
    if module in WITH_TENSORFLOW:
        return []
    names = ("tensorflow", "keras", *(f"embedfreeze.{name}" for name in WITH_TENSORFLOW))
    never = level(module) < level("audit") and module not in LATE
    return [
        f"{module}, line {item.line}: imports {item.target}"
        for item in imports(source)
        if f"{item.target}.".startswith(tuple(f"{name}." for name in names))
        and (never or not item.lazy)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_down(module: str) -> None:
    assert upward(MODULES[module].read_text(encoding="utf-8"), module) == []


def test_no_circle_among_modules() -> None:
    graph = {
        module: {
            item.target.removeprefix("embedfreeze.")
            for item in imports(path.read_text(encoding="utf-8"))
            if item.target.startswith("embedfreeze.") and module != "__init__"
        }
        for module, path in MODULES.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) >= len(MODULES)


@pytest.mark.parametrize(
    "source",
    [
        "import embedfreeze.align",
        "import embedfreeze",
        "from embedfreeze import cli",
        "from embedfreeze import read",
        "from embedfreeze.align import AlignedEmbeddings",
        "from . import frozen",
        "def f():\n    from embedfreeze.frozen import FrozenVariable",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import embedfreeze.model",
        "import importlib\nimportlib.import_module('embedfreeze.training')",
    ],
)
def test_checker_finds_an_upward_import(source: str) -> None:
    assert len(upward(source, "sealed")) == 1


@pytest.mark.parametrize(
    ("module", "source", "problems"),
    [
        ("sealed", "from embedfreeze.errors import FileError\nimport embedfreeze.threads", 0),
        ("formats.glove", "from embedfreeze.formats import sniff", 1),
        ("formats.glove", "from embedfreeze.align import align", 1),
        ("formats.glove", "from embedfreeze.embeddings import Embeddings", 0),
        ("formats", "from embedfreeze.formats.texts.glove import read", 0),
        ("align", "from embedfreeze.formats import read", 0),
        ("__init__", "from embedfreeze.cli import main", 0),
    ],
)
def test_checker_knows_up_from_down(module: str, source: str, problems: int) -> None:
    assert len(upward(source, module)) == problems


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_level(module: str) -> None:
    assert module.split(".")[0] in LEVELS


@pytest.mark.parametrize("module", MODULES)
def test_tensorflow_is_imported_late(module: str) -> None:
    assert early(MODULES[module].read_text(encoding="utf-8"), module) == []


@pytest.mark.parametrize(
    ("module", "source", "problems"),
    [
        ("align", "def f():\n    import tensorflow as tf", 1),
        ("vocabulary", "from keras.layers import TextVectorization", 1),
        ("vocabulary", "def f():\n    from embedfreeze.graphtext import GraphSplitter", 1),
        ("vocabularies.fromkeras", "def f():\n    from embedfreeze.backend import keras", 1),
        ("vocabularies.tokeras", "from embedfreeze.backend import keras", 1),
        ("vocabularies.tokeras", "def f():\n    from embedfreeze.backend import keras", 0),
        ("cli", "import tensorflow.keras", 1),
        ("__init__", "from embedfreeze.frozen import FrozenVariable", 1),
        ("__init__", "if TYPE_CHECKING:\n    from embedfreeze.frozen import FrozenVariable", 0),
        ("frozen", "import tensorflow as tf", 0),
        ("cli", "def f():\n    import tensorflow as tf", 0),
    ],
)
def test_checker_finds_an_early_tensorflow(module: str, source: str, problems: int) -> None:
    assert len(early(source, module)) == problems


CHILD = """
import json, sys
import embedfreeze
import embedfreeze.cli
late = ("tensorflow", "keras", "gensim", "h5py", "ml_dtypes")
heavy = [name for name in late if name in sys.modules]
missing = [name for name in embedfreeze.__all__ if getattr(embedfreeze, name, None) is None]
print(json.dumps({"heavy": heavy, "missing": missing, "unlisted":
    [name for name in embedfreeze.__all__ if name not in dir(embedfreeze)]}))
"""


def test_import_is_light_and_every_name_resolves() -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, timeout=120
    )
    report = json.loads(child.stdout.splitlines()[-1])
    assert report == {"heavy": [], "missing": [], "unlisted": []}
