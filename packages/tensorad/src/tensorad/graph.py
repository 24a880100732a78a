"""`g.graph(target)`: what a context recorded on the way to a target, as plain data, and as text."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from tensorad.node import Node
from tensorad.several import Shapes
from tensorad.site import line_of, name_of
from tensorad.walk import ancestors

if TYPE_CHECKING:
    from tensorad.grad import Grad

_WHOLE = 40  # nodes; of more, those of one line of the program are told together


class GraphNode(NamedTuple):
    """A node of a graph: `inputs` has the numbers of the nodes that it was made of, by the names of the operands."""

    number: int
    op: str | None  # None for a leaf: a value that the context did not record
    name: str | None
    shape: Any
    dtype: Any
    line: str  # the user's
    inputs: list[tuple[str, int]]

    def __str__(self) -> str:
        operands = ", ".join(f"{operand}=#{number}" for operand, number in self.inputs)
        what = f"{self.op}({operands})" if self.op else "leaf"
        label = f"{self.name} = " * (self.name is not None)
        return f"#{self.number}  {label}{what}, shape {self.shape}  {self.line}".rstrip()


class Graph(NamedTuple):
    """The nodes, in the order in which they were made: print it, or go through `nodes`."""

    nodes: list[GraphNode]

    def __repr__(self) -> str:
        if len(self.nodes) <= _WHOLE:
            return "\n".join(map(str, self.nodes))
        together = groupby(self.nodes, key=lambda node: node.line)
        return "\n".join(_together(line, list(nodes)) for line, nodes in together)


def _together(line: str, nodes: Sequence[GraphNode]) -> str:
    if len(nodes) == 1:
        return str(nodes[0])
    ops = ", ".join(f"{count} {op}" for op, count in Counter(node.op or "leaf" for node in nodes).items())
    return f"#{nodes[0].number} to #{nodes[-1].number}  {ops}  {line}".rstrip()


def graph(context: "Grad", target: Node) -> Graph:
    """What `context` recorded on the way to `target`, and the leaves that it starts from."""
    reached = sorted(ancestors([target], lambda node: context in node.contexts), key=lambda node: node.number)
    numbers = {node: place for place, node in enumerate(reached, 1)}
    return Graph([_described(context, node, numbers) for node in reached])


def _described(context: "Grad", node: Node, numbers: dict[Node, int]) -> GraphNode:
    shape = tuple(map(tuple, node.shape)) if isinstance(node.shape, Shapes) else tuple(node.shape)
    if context not in node.contexts:
        return GraphNode(numbers[node], None, node.name, shape, node.dtype, "", [])
    # An op with a list of operands has them by their places.
    names = node.op.operands if node.op.operands != ["tensors"] else map(str, range(len(node.parents)))
    inputs = [(name, numbers[parent]) for name, parent in zip(names, node.parents, strict=True) if parent in numbers]
    return GraphNode(numbers[node], name_of(node), node.name, shape, node.dtype, line_of(node), inputs)
