"""The audit of traced functions: operations in a graph that would write to a frozen variable.

A check after a step sees what was written. It cannot see a write in a branch that was not taken
yet, so each graph that takes a frozen variable's handle is searched once it is traced: whatever
takes the handle, in the graph and in the functions it calls, must be an operation that only reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embedfreeze.backend import tf

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


def find_writes(graph: Any, handle: Any) -> list[Write]:
    """The operations that would write to a variable, in a traced function and in all it calls.

    Parameters
    ----------
    graph : FuncGraph
        Of a function that is traced to its end, the outermost one.
    handle : tf.Tensor
        Of the variable, as an eager tensor.
    """
    held = {(inner.op.name, 0) for outer, inner in graph.captures if outer is handle}
    if not held:
        return []
    definition = graph.as_graph_def()
    library = {function.signature.name: function for function in definition.library.function}
    return list(_Search(library).writes(definition.node, held, graph.name))


class _Search:
    """Follows a handle through a graph and the functions it calls."""

    def __init__(self, library: Mapping[str, Any]) -> None:
        self._library = library
        self._seen: set[tuple[str, frozenset[int]]] = set()

    def writes(self, nodes: Sequence[Any], held: set[Place], function: str) -> Iterator[Write]:
        """Those among the nodes of a function in which the tensors `held` are the handle."""
        self._pass_on(nodes, held)
        for node in nodes:
            taken = [number for number, place in enumerate(_inputs(node)) if place in held]
            if not taken or node.op in _READS or node.op in _PASSES:
                continue
            if node.op in _CALLS:
                yield from self._called(node, taken)
            else:
                yield Write(node.name, node.op, function)

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
        for name, arguments in self._callees(node, taken):
            function = self._library[name]
            held = self._arguments(function, arguments)
            self._pass_on(function.node_def, held)
            for number, output in enumerate(function.signature.output_arg):
                if _place(function.ret[output.name]) in held:
                    yield number

    def _called(self, node: Any, taken: Sequence[int]) -> Iterator[Write]:
        for name, arguments in self._callees(node, taken):
            if (name, arguments) not in self._seen:
                self._seen.add((name, arguments))
                function = self._library[name]
                held = self._arguments(function, arguments)
                yield from self.writes(function.node_def, held, name)

    def _callees(self, node: Any, taken: Sequence[int]) -> Iterator[tuple[str, frozenset[int]]]:
        """The functions that a node calls, each with the numbers of the arguments taken."""
        first, attributes = _CALLS[node.op]
        arguments = frozenset(number - first for number in taken)
        for attribute in attributes:
            value = node.attr[attribute]
            for function in value.list.func or [value.func]:
                if function.name in self._library:
                    yield function.name, arguments

    def _arguments(self, function: Any, numbers: frozenset[int]) -> set[Place]:
        names = [argument.name for argument in function.signature.input_arg]
        return {(names[number], 0) for number in numbers}


def _inputs(node: Any) -> list[Place]:
    """The tensors a node takes; its last inputs only order operations."""
    return [_place(text) for text in node.input if not text.startswith("^")]


def _place(text: str) -> Place:
    """Of ``name``, of ``name:output`` in a graph, and of ``name:list:output`` in a function."""
    name, *rest = text.split(":")
    return name, int(rest[-1]) if rest else 0
