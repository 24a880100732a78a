"""Values that depend on others through a closure: what a checkpoint, and a batched pass, are to the graph."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from tensorad.node import Node
from tensorad.several import JointOpWithOutputs
from tensorad.tensor import Tensor
from tensorad.walk import ancestors


def boundary(outputs: Iterable[Tensor], started: int) -> tuple[list[Node], list[Node]]:
    """The nodes from before number `started` that `outputs` depend on, and those made since."""
    reached = ancestors([output.node or output.leaf() for output in outputs], lambda node: node.number >= started)
    return [node for node in reached if node.number < started], [node for node in reached if node.number >= started]


def depending(
    op: JointOpWithOutputs,
    values: Sequence[torch.Tensor],
    sources: Sequence[Node],
    pull: Callable[[Sequence[Any], Sequence[bool]], list[Any]],
    given: Sequence[Any],
) -> list[Any]:
    """Tensors of `values` that depend on the nodes `sources` through `pull`, and on nothing else.

    `pull(g, wanted)` takes a cotangent for each value to one for each source, of which those are needed that are
    wanted. What it uses of torch tensors is `given`, so that a change in place is noticed.
    """
    nothing = torch.empty(0)
    return op.call([Tensor(nothing, source) for source in sources], list(values), pull, list(given))


def opaque(name: str) -> JointOpWithOutputs:
    """An op for `depending`, by the name that messages have for it."""
    rule = lambda g, pull, given, wanted: pull(g, wanted)  # noqa: E731
    return JointOpWithOutputs(
        f"{name}(tensors, values, pull, given)", {"tensors": rule}, lambda tensors, values, *_: values
    )
