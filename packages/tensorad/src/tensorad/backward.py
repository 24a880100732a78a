"""The backward pass: from a target, against the edges, to the sources.

One loop for every order. With no context open it runs the rules on torch tensors; with one open it runs the same rules
on Tensors, which are recorded like any other op, and so the gradient can be differentiated in turn.
"""

from collections.abc import Set
from typing import TYPE_CHECKING, Any

import torch

from tensorad.errors import MutationError, RuleError
from tensorad.node import Node, get_number, version
from tensorad.outputs import Parts
from tensorad.site import line_of, name_of
from tensorad.tensor import Tensor

if TYPE_CHECKING:
    from tensorad.grad import Grad


def backward(owner: "Grad", target: Node, seed: Any, sources: Set[Node]) -> dict[Node, Any]:
    """The cotangents of `sources`, for a target whose own cotangent is `seed`: a torch tensor, or a Tensor to record.

    Only nodes that `owner` recorded are walked through, and of those only the ones on a path from a source to the
    target; every other node is a leaf. A source that nothing reaches is left out of the result.
    """
    recorded = isinstance(seed, Tensor)
    order, useful = between(owner, target, sources)
    cotangents: dict[Node, Any] = {target: seed}
    sums: set[Node] = set()  # nodes whose cotangent is a sum made here and held by nobody else: added to in place
    for node in reversed(order):
        g = cotangents.get(node) if node in sources else cotangents.pop(node, None)
        if g is None:  # every rule on the way here said that nothing flows: an exact zero
            continue
        op, saved = node.op, node.saved
        assert op is not None
        if version(saved) != node.version:
            raise mutated(node)
        if recorded:
            saved = op.lift(node)
        if op.outputs:
            g = g.filled(node.shape)
        exact = node.exact
        for parent, pull in zip(node.parents, op.separate(g, saved, node) if op.joint else op.pulls):  # noqa: B905
            if parent in useful:
                pulled = pull(g, saved)
                if pulled is None:
                    continue
                if not exact:
                    pulled = fit(pulled, parent, node)
                if parent not in cotangents:
                    cotangents[parent] = pulled
                elif parent in sums:
                    cotangents[parent] += pulled
                else:
                    cotangents[parent] = cotangents[parent] + pulled
                    if not recorded:
                        sums.add(parent)
    return cotangents


def between(owner: "Grad", target: Node, sources: Set[Node]) -> tuple[list[Node], set[Node]]:
    """The nodes, in the order they were made, through which a source flows on to `target`.

    The second result is those nodes and the sources together: where a cotangent is worth sending.
    """
    todo = [target] if owner in target.contexts else []  # a target that is a source may be a leaf to this owner
    reached = set(todo)
    while todo:
        for parent in todo.pop().parents:
            if parent is not None and parent not in reached and owner in parent.contexts:
                reached.add(parent)
                todo.append(parent)
    order: list[Node] = []
    useful = set(sources)
    for node in sorted(reached, key=get_number):
        for parent in node.parents:
            if parent in useful:
                useful.add(node)
                order.append(node)
                break
    return order, useful


def fit(g: Any, parent: Node, node: Node) -> Any:
    """Undo what broadcasting and promotion did to an operand: `g` in the shape and dtype of `parent`."""
    if type(g) is Parts:
        return g
    if not hasattr(g, "shape"):
        raise RuleError(f"the rule of {name_of(node)} returned a {type(g).__name__}, not a tensor")
    if g.shape != parent.shape:
        try:
            g = g.sum_to_size(parent.shape)
        except RuntimeError as error:
            raise RuleError(
                f"the rule of {name_of(node)} returned a cotangent of shape {tuple(g.shape)} "
                f"for an operand of shape {tuple(parent.shape)}"
            ) from error
    if g.dtype != parent.dtype:
        g = torch.real(g) if g.dtype.is_complex and not parent.dtype.is_complex else g
        g = g.to(parent.dtype)
    return g


def mutated(node: Node) -> MutationError:
    return MutationError(
        f"a value that {name_of(node)} saved {line_of(node)} was changed in place since, so its derivative would be "
        "wrong. Change a copy (t.clone()), or ask for the gradient before the change"
    )
