"""The audit of traced functions: operations in a graph that would write to a frozen variable.

A check after a step sees what was written. It cannot see a write in a branch that was not taken
yet, so each graph that takes a frozen variable's handle is searched once it is traced: whatever
takes the handle, in the graph and in the functions it calls, must be an operation that only reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embedfreeze.backend import op_def_registry, tf

__all__ = ["Write", "find_writes", "outermost"]

# What may be done with a handle. All that is not listed counts as a write: operations that write
# are many, and other libraries add their own.
_READS = frozenset(
    [
        "DisableCopyOnRead",
        "ReadVariableOp",
        "ResourceGather",
        "ResourceGatherNd",
        "VarIsInitializedOp",
        "VariableShape",
    ]
)
# Their outputs are their inputs, position by position (`Switch` has its first on both outputs).
_PASSES = frozenset(["Enter", "Exit", "Identity", "IdentityN", "Merge", "NextIteration", "Switch"])
# Calls of other functions: where the arguments begin among the inputs, and the attributes that name
# the functions.
_CALLS: Mapping[str, tuple[int, Sequence[str]]] = {
    "Case": (1, ["branches"]),
    "If": (1, ["then_branch", "else_branch"]),
    "PartitionedCall": (0, ["f"]),
    "StatefulPartitionedCall": (0, ["f"]),
    "StatelessCase": (1, ["branches"]),
    "StatelessIf": (1, ["then_branch", "else_branch"]),
    "StatelessWhile": (0, ["cond", "body"]),
    "SymbolicGradient": (0, ["f"]),
    "While": (0, ["cond", "body"]),
}
Place = tuple[str, int]  # a tensor: the node that makes it, and which of its outputs it is


@dataclass(frozen=True)
class Write:
    """An operation that would write to a variable.

    Attributes
    ----------
    operation : str
        Its name.
    kind : str
        Its type, such as ``"AssignVariableOp"``.
    function : str
        The traced function it stands in.
    """

    operation: str
    kind: str
    function: str


def outermost(graph: Any) -> Any:
    """The traced function's graph that holds a graph of a branch or of an inner function."""
    while isinstance(getattr(graph, "outer_graph", None), tf.__internal__.FuncGraph):
        graph = graph.outer_graph
    return graph


def find_writes(graph: Any, placeholder: str) -> list[Write]:
    """The operations that would write to a variable, in a traced function and in all it calls.

    Parameters
    ----------
    graph : FuncGraph
        Of a function that is traced to its end, the outermost one.
    placeholder : str
        The operation in it that stands for the variable's handle.
    """
    definition = graph.as_graph_def()
    library = {function.signature.name: function for function in definition.library.function}
    return list(_Search(library).writes(definition.node, {(placeholder, 0)}, graph.name))


class _Search:
    """Follows a handle through a graph and the functions it calls."""

    def __init__(self, library: Mapping[str, Any]) -> None:
        self._library = library
        self._seen: set[tuple[str, frozenset[int]]] = set()
        self._outputs: dict[tuple[str, frozenset[int]], list[int]] = {}

    def writes(self, nodes: Sequence[Any], held: set[Place], function: str) -> Iterator[Write]:
        """Those among the nodes of a function in which the tensors `held` are the handle."""
        self._pass_on(nodes, held)
        for node in nodes:
            taken = [number for number, place in enumerate(_inputs(node)) if place in held]
            if not taken or node.op in _READS or node.op in _PASSES:
                continue
            callees = list(self._callees(node, taken))
            if not callees:
                yield Write(node.name, node.op, function)
            for callee in callees:
                if callee not in self._seen:
                    self._seen.add(callee)
                    body, inner = self._body(*callee)
                    yield from self.writes(body.node_def, inner, callee[0])

    def _pass_on(self, nodes: Sequence[Any], held: set[Place]) -> None:
        """Add what hands the handle on, until nothing is added: loops lead back."""
        before = -1
        while len(held) > before:
            before = len(held)
            for node in nodes:
                if node.op in _PASSES or node.op in _CALLS:
                    self._pass_through(node, held)

    def _pass_through(self, node: Any, held: set[Place]) -> None:
        taken = [number for number, place in enumerate(_inputs(node)) if place in held]
        if not taken:
            return
        if node.op == "Switch":
            held.update([(node.name, 0), (node.name, 1)])
        elif node.op in _PASSES:
            held.update((node.name, number) for number in taken)
        else:
            held.update((node.name, number) for number in self._returned(node, taken))

    def _returned(self, node: Any, taken: Sequence[int]) -> Iterator[int]:
        """Which outputs of a call are the handle again."""
        for callee in self._callees(node, taken):
            if callee not in self._outputs:
                self._outputs[callee] = []  # what a function that calls itself has then
                body, held = self._body(*callee)
                self._pass_on(body.node_def, held)
                names = [output.name for output in body.signature.output_arg]
                places = [_place(body.ret[name]) for name in names]
                self._outputs[callee] = [i for i, place in enumerate(places) if place in held]
            yield from self._outputs[callee]

    def _callees(self, node: Any, taken: Sequence[int]) -> Iterator[tuple[str, frozenset[int]]]:
        """The functions that a node calls with the handle, and which of their arguments it is."""
        if node.op in _CALLS:
            first, attributes = _CALLS[node.op]
            for attribute in attributes:
                for name in _functions(node, attribute):
                    if name in self._library:
                        yield name, frozenset(number - first for number in taken)
            return
        for attribute, behind in _captured(node, taken):
            for name in _functions(node, attribute):
                if name in self._library:
                    count = len(self._library[name].signature.input_arg)
                    yield name, frozenset(count - number for number in behind)

    def _body(self, name: str, arguments: frozenset[int]) -> tuple[Any, set[Place]]:
        """A function, and the tensors in it that are the handle."""
        function = self._library[name]
        names = [argument.name for argument in function.signature.input_arg]
        return function, {(names[number], 0) for number in arguments}


def _functions(node: Any, attribute: str) -> list[str]:
    value = node.attr[attribute]
    return [function.name for function in value.list.func or [value.func]]


def _captured(node: Any, taken: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    """Functions that an operation keeps, such as `MapDataset`, with tensors that they captured.

    These are a list among the inputs of the operation, and the last arguments of the function. The
    list of a function `f` among several is called ``f_other_arguments``.

    Yields
    ------
    str
        The attribute that names the function.
    list of int
        Where the handle is among the arguments, counted from behind: 1 is the last.
    """
    definition = op_def_registry.get(node.op)
    if definition is None:
        return
    functions = [attr.name for attr in definition.attr if attr.type in ("func", "list(func)")]
    first = 0
    for argument in definition.input_arg:
        count = _length(node, argument)
        behind = [first + count - number for number in taken if first <= number < first + count]
        first += count
        if behind and argument.type_list_attr:
            own = [name for name in functions if argument.name.startswith(f"{name}_")]
            for attribute in own or functions:
                yield attribute, behind


def _length(node: Any, argument: Any) -> int:
    """How many tensors an input of an operation stands for."""
    if argument.type_list_attr:
        return len(node.attr[argument.type_list_attr].list.type)
    return node.attr[argument.number_attr].i if argument.number_attr else 1


def _inputs(node: Any) -> list[Place]:
    """The tensors a node takes; its last inputs only order operations."""
    return [_place(text) for text in node.input if not text.startswith("^")]


def _place(text: str) -> Place:
    """Of ``name``, of ``name:output`` in a graph, and of ``name:list:output`` in a function."""
    name, *rest = text.split(":")
    return name, int(rest[-1]) if rest else 0
