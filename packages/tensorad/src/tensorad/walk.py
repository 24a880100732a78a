"""The one walk through a graph that all questions about it share; the backward loop has its own, which is faster."""

from collections.abc import Callable, Iterable

from tensorad.node import Node


def ancestors(nodes: Iterable[Node | None], through: Callable[[Node], bool] = lambda node: True) -> list[Node]:
    """`nodes` and all that they were computed from, the nearest first; nothing behind those that `through` refuses."""
    found = [*dict.fromkeys(node for node in nodes if node is not None)]
    seen = {*found}
    for node in found:  # which grows
        for parent in node.parents if through(node) else ():
            if parent is not None and parent not in seen:
                seen.add(parent)
                found.append(parent)
    return found
