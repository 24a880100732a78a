"""The same graph in many forms: as text, for Graphviz and Mermaid, as a picture, and as data for a page."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorad.errors import ArgumentError
from tensorad.looking.folding import Group
from tensorad.notebook import Shown, page

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


class Saved(Shown):
    """What can be saved to a file, in the form that the file's name asks for."""

    def save(self, path: str | Path) -> Path:
        """Write it to a file: `.html` is a page that stands alone, `.json` the data, `.txt` the text.

        A graph can also be `.svg`, a picture, `.dot`, for Graphviz, or `.mmd`, for Mermaid; the flow of a gradient is
        `.png`, `.svg` or `.pdf`, and no page; a derivation also `.tex`.

        Returns:
            the path.

        Raises:
            ArgumentError: for another ending.
            MissingPackageError: if a form needs a package that is not installed.
        """
        path, forms = Path(path), self._forms()
        if path.suffix not in forms:
            raise ArgumentError(f"it can be saved as {', '.join(sorted(forms))}, and not as {path.name!r}")
        made = forms[path.suffix]()
        path.write_bytes(made if isinstance(made, bytes) else made.encode())
        return path

    def _forms(self) -> dict[str, Callable[[], str | bytes]]:
        """What makes a file, by the ending of its name."""
        return {".html": lambda: page(self.trace()), ".json": lambda: json.dumps(self.trace()), ".txt": self.__repr__}


class Pictures(Saved):
    """How a Graph is printed, drawn, and saved."""

    title: str
    nodes: "list[GraphNode]"
    groups: Group
    target: int
    sources: list[tuple[str, int]]

    def __repr__(self: Any) -> str:
        return "\n".join(self._lines())

    def _lines(self: Any) -> Iterator[str]:
        for event, depth, thing in Seen(self, whole=False).nested():
            indent = "  " * depth
            if event == "open":
                yield f"{indent}{thing.title}:"
            elif event == "thing" and isinstance(thing, Group):
                numbers = thing.numbers
                ops = Counter(self.nodes[number - 1].op or "leaf" for number in numbers).most_common()
                counted = ", ".join(f"{count} {op}" for op, count in ops[:_OPS]) + ", …" * (len(ops) > _OPS)
                span = f"#{min(numbers)} to #{max(numbers)}"
                yield f"{indent}{span}  {f'{thing.title}: ' * (thing.title != span)}{counted}"
            elif event == "thing":
                yield f"{indent}{self.nodes[thing - 1]}"

    def to_dot(self: Any, *, whole: bool = False) -> str:
        """The graph in Graphviz's language, folded as it is printed, or `whole`."""
        seen = Seen(self, whole)
        names = {thing: f"n{place}" for place, thing in enumerate(seen.things)}
        lines = ["digraph {", "  rankdir=LR; node [fontsize=11]; edge [fontsize=9];"]
        for event, depth, thing in seen.nested():
            indent = "  " * (depth + 1)
            if event == "open":
                lines.append(f"{indent}subgraph cluster_{len(lines)} {{ label={_quoted(thing.title)};")
            elif event == "close":
                lines.append(f"{indent}}}")
            else:
                label = _quoted("\n".join(seen.label(thing)))
                lines.append(f"{indent}{names[thing]} [label={label}, shape={_IN_DOT[seen.kind(thing)]}];")
        for ends in seen.edges:
            label = seen.edge_label(ends)
            lines.append(f"  {names[ends[0]]} -> {names[ends[1]]}" + f" [label={_quoted(label)}]" * bool(label) + ";")
        return "\n".join([*lines, "}"])

    def to_mermaid(self: Any, *, whole: bool = False) -> str:
        """The graph in Mermaid's language, folded as it is printed, or `whole`."""
        seen = Seen(self, whole)
        names = {thing: f"n{place}" for place, thing in enumerate(seen.things)}
        lines = ["flowchart LR"]
        for event, depth, thing in seen.nested():
            indent = "  " * (depth + 1)
            if event == "open":
                lines.append(f"{indent}subgraph s{len(lines)}[{_for_mermaid(thing.title)}]")
            elif event == "close":
                lines.append(f"{indent}end")
            else:
                label = _for_mermaid("\n".join(seen.label(thing)))
                lines.append(indent + names[thing] + _IN_MERMAID[seen.kind(thing)].format(label))
        for ends in seen.edges:
            label = seen.edge_label(ends)
            arrow = f"-->|{_for_mermaid(label)}|" if label else "-->"
            lines.append(f"  {names[ends[0]]} {arrow} {names[ends[1]]}")
        return "\n".join(lines)

    def to_svg(self: Any, *, whole: bool = False) -> str:
        """The graph as a picture, folded as it is printed, or `whole`.

        Raises:
            MissingPackageError: without the package that lays graphs out: `pip install 'tensorad[pictures]'`.
        """
        from tensorad.looking.svg import svg

        return svg(Seen(self, whole))

    def trace(self: Any) -> dict[str, Any]:
        """The graph as plain data for a page: lists, dicts, numbers and text, as JSON has them."""
        return {
            "title": f"graph of {self.title}",
            "nodes": [_node_data(node) for node in self.nodes],
            "groups": _group_data(self.groups),
            "target": self.target,
            "sources": [{"label": label, "node": number} for label, number in self.sources],
            "steps": None,
            "editable": False,
        }

    def _forms(self: Any) -> dict[str, Callable[[], str | bytes]]:
        drawn = {".svg": self.to_svg, ".dot": self.to_dot, ".mmd": self.to_mermaid}
        return super()._forms() | drawn


_OPS = 6  # of the ops of a folded group, those that are counted
_IN_DOT = {"folded": "box3d", "target": "doubleoctagon", "source": "ellipse", "leaf": "ellipse", "node": "box"}
_IN_MERMAID = {"folded": "[[{}]]", "target": "([{}])", "source": "({})", "leaf": "({})", "node": "[{}]"}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _for_mermaid(text: str) -> str:
    """In quotes, with everything that could be markup as its number."""
    escaped = "".join(
        each if each.isalnum() or each in " .,=()_×…" else f"#{ord(each)};" for each in text.replace("\n", "\0")
    )
    return f'"{escaped}"'.replace("#0;", "<br>")


def _node_data(node: "GraphNode") -> dict[str, Any]:
    shape, _, dtype = shape_text(node).rpartition(" ")
    return {
        "id": node.number, "op": node.short_op, "name": node.name, "shape": shape, "dtype": dtype, "value": node.value,
        "line": node.line, "code": node.code, "inputs": [list(each) for each in node.inputs],
        "recorded": list(node.contexts), "rule": node.formulas, "symbol": node.symbol,
    }  # fmt: skip


def _group_data(group: Group) -> dict[str, Any]:
    children = [_group_data(part) if isinstance(part, Group) else part for part in group.parts]
    return {
        "title": group.title,
        "kind": group.kind,
        "open": group.open,
        "size": len(group.numbers),
        "children": children,
    }
