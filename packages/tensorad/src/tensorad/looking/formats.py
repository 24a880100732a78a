"""The same graph in many forms: as text, for Graphviz and Mermaid, and as data for a page."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tensorad.looking.folding import Group
from tensorad.looking.seen import Seen, shape_text

if TYPE_CHECKING:
    from tensorad.looking.graph import Graph, GraphNode

_OPS = 6  # of the ops of a folded group, those that are counted
_IN_DOT = {"folded": "box3d", "target": "doubleoctagon", "source": "ellipse", "leaf": "ellipse", "node": "box"}
_IN_MERMAID = {"folded": "[[{}]]", "target": "([{}])", "source": "({})", "leaf": "({})", "node": "[{}]"}


def printed(seen: Seen) -> Iterator[str]:
    """The lines of the text: a node each, or a folded group."""
    for event, depth, thing in seen.nested():
        indent = "  " * depth
        if event == "open":
            yield f"{indent}{thing.title}:"
        elif event == "thing" and isinstance(thing, Group):
            numbers = thing.numbers
            ops = Counter(seen.graph.nodes[number - 1].op or "leaf" for number in numbers).most_common()
            counted = ", ".join(f"{count} {op}" for op, count in ops[:_OPS]) + ", …" * (len(ops) > _OPS)
            span = f"#{min(numbers)} to #{max(numbers)}"
            yield f"{indent}{span}  {f'{thing.title}: ' * (thing.title != span)}{counted}"
        elif event == "thing":
            yield f"{indent}{seen.graph.nodes[thing - 1]}"


def dot(seen: Seen) -> str:
    """What is seen, in Graphviz's language."""

    def thing(name: str, each: Any) -> str:
        label = _quoted("\n".join(seen.label(each)))
        return f"{name} [label={label}, shape={_IN_DOT[seen.kind(each)]}];"

    def edge(start: str, end: str, label: str) -> str:
        return f"{start} -> {end}" + f" [label={_quoted(label)}]" * bool(label) + ";"

    opened = lambda number, title: f"subgraph cluster_{number} {{ label={_quoted(title)};"  # noqa: E731
    body = _in_language(seen, opened, "}", thing, edge)
    return "\n".join(["digraph {", "  node [fontsize=11]; edge [fontsize=9];", *body, "}"])


def mermaid(seen: Seen) -> str:
    """What is seen, in Mermaid's language."""

    def thing(name: str, each: Any) -> str:
        return name + _IN_MERMAID[seen.kind(each)].format(_for_mermaid("\n".join(seen.label(each))))

    def edge(start: str, end: str, label: str) -> str:
        return f"{start} -->|{_for_mermaid(label)}| {end}" if label else f"{start} --> {end}"

    opened = lambda number, title: f"subgraph s{number}[{_for_mermaid(title)}]"  # noqa: E731
    return "\n".join(["flowchart TD", *_in_language(seen, opened, "end", thing, edge)])


def _in_language(
    seen: Seen,
    opened: Callable[[int, str], str],
    closed: str,
    thing: Callable[[str, Any], str],
    edge: Callable[..., str],
) -> Iterator[str]:
    """What is seen, line by line: groups and what stands in them, then the edges."""
    names = {each: f"n{place}" for place, each in enumerate(seen.things)}
    for number, (event, depth, each) in enumerate(seen.nested()):
        indent = "  " * (depth + 1)
        if event == "thing":
            yield indent + thing(names[each], each)
        else:
            yield indent + (opened(number, each.title) if event == "open" else closed)
    for ends in seen.edges:
        yield "  " + edge(names[ends[0]], names[ends[1]], seen.edge_label(ends))


def trace(graph: "Graph") -> dict[str, Any]:
    """The graph as plain data for a page: lists, dicts, numbers and text, as JSON has them."""
    return {
        "title": f"graph of {graph.title}",
        "nodes": [_node_data(node) for node in graph.nodes],
        "groups": _group_data(graph.groups),
        "target": graph.target,
        "sources": [{"label": label, "node": number} for label, number in graph.sources],
        "steps": None,
        "editable": False,
    }


def _quoted(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
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
