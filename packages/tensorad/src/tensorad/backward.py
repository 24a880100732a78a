"""The backward pass: from a target, against the edges, to the sources.

One loop for every order. With no context open it runs the rules on torch tensors; with one open it runs the same rules
on Tensors, which are recorded like any other op, and so the gradient can be differentiated in turn.
"""

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from tensorad.mutation import mutated, version
from tensorad.node import Node, recording
from tensorad.site import misfit


def backward(owner: object, target: Node, seed: Any, sources: set[Node], wrap: Any = None) -> dict[Node, Any]:
    """The cotangents of `sources`, for a target whose own cotangent is `seed`: a torch tensor, or a Tensor to record.

    Only nodes that `owner` recorded are walked through, and of those only the ones on a path from a source to the
    target; every other node is a leaf. A source that nothing reaches is left out of the result. `wrap(node, pulls)`,
    where it is given, says what runs in the place of a node's pulls: a check of what they return, a mask, a picture.
    """
    list(stepwise(between(owner, target, sources), cotangents := {target: seed}, sources, wrap))  # without a stop
    return cotangents


def stepwise(way: Any, cotangents: dict[Node, Any], sources: set[Node], wrap: Any = None) -> Iterator[Node]:
    """The loop, on a way found by `between`. It stops before each node, whose own cotangent is complete by then.

    `cotangents` has the target's at first. Who goes step by step may look at them at each stop, and change them.
    """
    recorded, (order, wanted) = bool(recording.get()), way
    sums: set[Node] = set()  # nodes whose cotangent is a sum made here and held by nobody else: added to in place
    for node in reversed(order):
        yield node
        g = cotangents.get(node) if node in sources else cotangents.pop(node, None)
        if g is None:  # every rule on the way here said that nothing flows: an exact zero
            continue
        if version(node.saved) != node.version:
            raise mutated(node)
        op, saved = node.op, node.op.lift(node) if recorded else node.saved
        pulls = op.separate(g, saved, node, wanted) if op.joint else op.pulls
        for parent, pull in zip(node.parents, wrap(node, pulls) if wrap else pulls):  # noqa: B905
            if parent in wanted and (pulled := pull(g, saved)) is not None:
                if not op.elementwise or parent.shape != node.shape or parent.dtype is not node.dtype:
                    pulled = fit(pulled, parent, node)
                if parent not in cotangents:
                    cotangents[parent] = pulled
                elif parent in sums:
                    cotangents[parent] += pulled
                else:
                    cotangents[parent] = cotangents[parent] + pulled
                    if not recorded:
                        sums.add(parent)


def between(owner: object, target: Node, sources: set[Node]) -> tuple[list[Node], set[Node]]:
    """The nodes, in the order they were made, through which a source flows on to `target`.

    The second result is those nodes and the sources together: where a cotangent is wanted.
    """
    # A target that is a source may be a leaf to this owner.
    reached: list[Any] = [target] if owner in target.contexts else []
    seen = {None, *reached}
    for node in reached:  # which grows
        for parent in node.parents:
            if parent not in seen and owner in parent.contexts:
                seen.add(parent)
                reached.append(parent)
    order, wanted = list[Node](), set(sources)
    for node in sorted(reached, key=attrgetter("number")):
        if not wanted.isdisjoint(node.parents):
            wanted.add(node)
            order.append(node)
    return order, wanted


def fit(g: Any, parent: Node, node: Node) -> Any:
    """Undo what broadcasting and promotion did to an operand: `g` in the shape and dtype of `parent`."""
    try:
        g = g if g.shape == parent.shape else g.sum_to_size(parent.shape)
        if g.dtype != parent.dtype:
            g = (g.real if g.dtype.is_complex and not parent.dtype.is_complex else g).to(parent.dtype)
        return g
    except (AttributeError, RuntimeError) as error:
        raise misfit(g, parent, node) from error
