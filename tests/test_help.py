"""`help()` of every public name is complete: parameters, results, and no member without a word."""

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pytest

import embedfreeze as ef
from embedfreeze import errors


def names_of(thing: Any) -> set[str]:
    """The parameters of its signature; `_` and `__` take what is not used."""
    found = inspect.signature(thing).parameters
    return {name for name in found if name not in {"self", "cls"} and name.strip("_")}


def sections(doc: str) -> dict[str, str]:
    """The sections of a numpydoc docstring; what stands before them is under ""."""
    parts = re.split(r"^([A-Z]\w+)\n-{3,}\n", inspect.cleandoc(doc), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def documented(section: str) -> set[str]:
    """The names that the entries of a section begin with."""
    heads = re.findall(r"^(\S[^:\n]*?)(?: :.*)?$", section, flags=re.MULTILINE)
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def of_package(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("embedfreeze")


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that classes of this package give a class."""
    for name in dir(kind):
        owner = next((base for base in kind.__mro__ if name in vars(base)), None)
        if name.startswith("_") or owner is None or not of_package(owner):
            continue
        member = vars(owner)[name]
        if isinstance(member, staticmethod | classmethod):
            yield name, member.__func__
        elif inspect.isfunction(member) or isinstance(member, property | cached_property):
            yield name, member


def inherited(kind: type, name: str) -> str | None:
    """The docstring, or that of the class which asks for the method."""
    for base in kind.__mro__:
        doc = getattr(vars(base).get(name), "__doc__", None)
        if doc:
            return str(doc)
    return None


def from_elsewhere(kind: type, name: str) -> bool:
    """Whether another library says what the method takes and gives, such as Keras of a layer."""
    return any(name in vars(base) and not of_package(base) for base in kind.__mro__)


PUBLIC = [getattr(ef, name) for name in ef.__all__ if name != "errors"]
ERRORS = [vars(errors)[name] for name in errors.__all__]
FUNCTIONS = [thing for thing in [*PUBLIC, *ERRORS] if not isinstance(thing, type)]
CLASSES = [thing for thing in [*PUBLIC, *ERRORS] if isinstance(thing, type)]
MEMBERS = [(kind, name, member) for kind in CLASSES for name, member in members(kind)]


def check(thing: Any, doc: str) -> None:
    """The docstring has a sentence, each parameter, and what is returned.

    One of a single sentence may name its parameters in it, and its result with it; a section that
    is there has every parameter.
    """
    found = sections(doc)
    first = found[""].strip().partition("\n\n")[0]
    assert re.search(r"[.:]$", first), first
    told = documented(found.get("Parameters", "")) | documented(found.get("Attributes", ""))
    hinted = set(re.findall(r"`+([A-Za-z_]\w*)", found[""]))
    for name in names_of(thing):
        assert name in told | hinted or "Parameters, errors and result are those of" in doc, name
    kinds = [parameter.kind for parameter in inspect.signature(thing).parameters.values()]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        assert documented(found.get("Parameters", "")) <= names_of(thing)
    annotated = inspect.signature(thing).return_annotation
    if annotated not in (None, "None", "NoReturn", inspect.Signature.empty):
        short = "Parameters" not in found
        assert short or "Returns" in found


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda thing: thing.__name__)
def test_functions(function: Any) -> None:
    check(function, function.__doc__ or "")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda thing: thing.__name__)
def test_classes(kind: Any) -> None:
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")  # what a dataclass makes up
    found = sections(kind.__doc__)
    assert re.search(r"\.$", found[""].strip().partition("\n\n")[0])
    if "__init__" in vars(kind):
        told = documented(found.get("Parameters", "")) | documented(found.get("Attributes", ""))
        missing = names_of(kind) - told - set(re.findall(r"`+([A-Za-z_]\w*)", found[""]))
        assert missing == set()


@pytest.mark.parametrize(
    ("kind", "name", "member"),
    MEMBERS,
    ids=[f"{kind.__name__}.{name}" for kind, name, _ in MEMBERS],
)
def test_members(kind: Any, name: str, member: Any) -> None:
    doc = member.__doc__ or inherited(kind, name)
    assert doc, "no docstring"
    if inspect.isfunction(member) and member.__doc__ and not from_elsewhere(kind, name):
        check(member, doc)


def test_the_walk_finds_what_there_is() -> None:
    found = {f"{kind.__name__}.{name}" for kind, name, _ in MEMBERS}
    assert {
        "Embeddings.astype",
        "Vocabulary.from_keras",
        "Coverage.missing_ids",
        "FreezeGuard.proof",
        "FrozenEmbedding.call",
    } <= found
    assert len(MEMBERS) > 120
