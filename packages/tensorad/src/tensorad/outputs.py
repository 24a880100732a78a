"""Ops with several outputs (sort, split): how they fit nodes that have one.

The node of such an op stands for all its outputs together, and each output is a node of its own, the op `part`, whose
only parent is that whole. So the backward loop meets nothing new: what a part sends to the whole is a `Parts`, and
Parts from different outputs add up like any cotangents.
"""

from collections.abc import Callable
from typing import Any

from tensorad.node import Node, differentiable
from tensorad.tensor import Tensor, restored


class Outputs:
    """The values of an op with several outputs, standing as one where a node has one output."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self.shape = tuple(value.shape for value in values)
        dtypes = [value.dtype for value in values]
        self.dtype = next(filter(differentiable, dtypes), dtypes[0])


class Parts:
    """The cotangent of a whole: what its outputs have sent so far, by their place."""

    def __init__(self, by_place: dict[int, Any]) -> None:
        self.by_place = by_place

    def __add__(self, other: "Parts") -> "Parts":
        # In place, since each Parts was made by one pull and is held by nobody else: so a tensor's rows, one by one,
        # cost what they cost together.
        for place, g in other.by_place.items():
            self.by_place[place] = self.by_place[place] + g if place in self.by_place else g
        return self

    def filled(self, shapes: tuple[Any, ...]) -> tuple[Any, ...]:
        """One cotangent per output, zeros where none arrived."""
        some = next(iter(self.by_place.values()))
        return tuple(
            self.by_place[place] if place in self.by_place else some.new_zeros(shape)
            for place, shape in enumerate(shapes)
        )


def gathering(function: Callable[..., Any]) -> Callable[..., Outputs]:
    """`function`, returning its outputs as one."""
    return lambda *args, **kwargs: Outputs(function(*args, **kwargs))


def spreading(call: Callable[..., Tensor], part: Callable[..., Tensor]) -> Callable[..., Any]:
    """`call`, returning its outputs one by one again, in torch's own kind of tuple or list."""
    return lambda *args, **kwargs: parts(call(*args, **kwargs), part)


def parts(whole: Tensor, part: Callable[..., Tensor]) -> Any:
    """The outputs that the Outputs in `whole` holds, each a Tensor."""
    values: Any = whole.data.values
    made = [part(whole, place) for place in range(len(values))]
    for each in made:
        if each.node and whole.node:
            each.node.contexts = whole.node.contexts
    return type(values)(made)


def lifted(values: Any, node: Node, part: Callable[..., Tensor]) -> Any:
    """The outputs of `node` again, as Tensors, from the saved `values`."""
    whole: Any = Outputs(values)
    return parts(restored(whole, node), part)
