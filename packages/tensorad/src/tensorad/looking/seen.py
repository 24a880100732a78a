"""What is to be seen of a graph: of thousands of nodes, those in open groups, and the groups that are folded."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tensorad.looking.folding import Group

if TYPE_CHECKING:
    from tensorad.looking.graph import Graph, GraphNode


class Seen:
    """What is to be seen of a graph: groups that are open, and in them nodes and folded groups; and the edges between.

    Attributes:
        things: node or folded group -> the open groups that it stands in, the outermost first.
        edges: pairs of things -> the names of the operands.
    """

    def __init__(self, graph: "Graph", whole: bool) -> None:
        self.graph = graph
        self.things: dict[int | Group, tuple[Group, ...]] = dict(self._things(graph.groups, (), whole))
        standing: dict[int, Any] = {}  # node -> the thing that it is, or is folded into
        for thing in self.things:
            standing |= dict.fromkeys(thing.numbers, thing) if isinstance(thing, Group) else {thing: thing}
        self.edges: dict[tuple[Any, Any], list[str]] = {}
        for node in graph.nodes:
            for operand, number in node.inputs:
                ends = standing[number], standing[node.number]
                if ends[0] is not ends[1]:
                    self.edges.setdefault(ends, []).append(operand)

    def _things(self, group: Group, path: tuple[Group, ...], whole: bool) -> Iterator[tuple[Any, tuple[Group, ...]]]:
        for part in group.parts:
            if isinstance(part, Group) and (part.open or whole):
                yield from self._things(part, (*path, part), whole)
            else:
                yield part, path

    def label(self, thing: "int | Group") -> list[str]:
        """The lines that stand on a node or on a folded group."""
        if isinstance(thing, Group):
            return [*filter(None, [thing.title]), f"{len(thing.numbers)} nodes"]
        node = self.graph.nodes[thing - 1]
        op = node.short_op
        first = f"{node.name} = {op}" if node.name and op else node.name or op or "leaf"
        return [first, shape_text(node)]

    def kind(self, thing: "int | Group") -> str:
        """What it is drawn as: "folded", "target", "source", "leaf" or "node"."""
        if isinstance(thing, Group):
            return "folded"
        if thing == self.graph.target:
            return "target"
        if any(thing == number for _, number in self.graph.sources):
            return "source"
        return "node" if self.graph.nodes[thing - 1].op else "leaf"

    def edge_label(self, ends: tuple[Any, Any]) -> str:
        """The operands that an edge stands for, where its end is a node of several inputs."""
        thing = ends[1]
        if isinstance(thing, Group) or len(self.graph.nodes[thing - 1].inputs) < 2:
            return ""
        return ", ".join(dict.fromkeys(self.edges[ends]))

    def nested(self) -> Iterator[tuple[str, int, Any]]:
        """What happens from top to bottom, and how deep inside: "open" a group, a "thing", "close" a group."""
        path: tuple[Group, ...] = ()
        for thing, groups in [*self.things.items(), (None, ())]:
            same = next((depth for depth, (a, b) in enumerate(zip(path, groups, strict=False)) if a is not b),
                        min(len(path), len(groups)))  # fmt: skip
            yield from (("close", depth, path[depth]) for depth in range(len(path) - 1, same - 1, -1))
            yield from (("open", depth, groups[depth]) for depth in range(same, len(groups)))
            path = groups
            if thing is not None:
                yield "thing", len(groups), thing


def shape_text(node: "GraphNode") -> str:
    """Such as `(2, 3) float32`."""
    shapes = ", ".join(map(str, node.shape)) if node.shape and isinstance(node.shape[0], tuple) else str(node.shape)
    return f"{shapes} {str(node.dtype).removeprefix('torch.')}"
