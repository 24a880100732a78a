"""Ops with several outputs (split), and ops with one rule for several operands (cat): how they fit the others.

The node of an op with several outputs stands for all of them together, and each output is a node of its own, the op
`part`, whose only parent is that whole. So the backward loop meets nothing new: what a part sends to the whole is a
`Parts`, and Parts from different outputs add up like any cotangents.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from tensorad.call import Op
from tensorad.node import Node, differentiable, next_number
from tensorad.operands import INERT
from tensorad.site import miscounted
from tensorad.tensor import Tensor


class Shapes(tuple[torch.Size, ...]):
    """The shapes of all outputs: one object, handed on from the whole to its parts, and compared as such."""

    dtypes: list[torch.dtype]
    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__


INERT.add(Shapes)


class Outputs:
    """The values of an op with several outputs, standing as one where a node has one output."""

    dtype = torch.get_default_dtype()  # of no meaning: each part has its own, and an integer one is recorded no further

    def __init__(self, values: Any, shape: Shapes | None = None) -> None:
        self.values = values
        if shape is None:
            shape = Shapes([value.shape for value in values])
            shape.dtypes = [value.dtype for value in values]
        self.shape = shape


class Parts:
    """The cotangent of a whole: what its outputs have sent so far, by their place."""

    dtype = Outputs.dtype

    def __init__(self, shape: Shapes, by_place: dict[int, Any]) -> None:
        self.shape, self.by_place = shape, by_place

    def __add__(self, other: "Parts") -> "Parts":
        return Parts(self.shape, dict(self.by_place)).__iadd__(other)

    def __iadd__(self, other: "Parts") -> "Parts":
        for place, g in other.by_place.items():
            self.by_place[place] = self.by_place[place] + g if place in self.by_place else g
        return self

    def filled(self) -> tuple[Any, ...]:
        """One cotangent per output, zeros where none arrived."""
        some = next(iter(self.by_place.values()))
        return tuple(
            self.by_place[place] if place in self.by_place else some.new_zeros(shape)
            for place, shape in enumerate(self.shape)
        )


class OpWithOutputs(Op):
    """An op with several outputs: its rules are given a tuple of cotangents, its call returns torch's kind of tuple."""

    def __init__(self, signature: str, rules: Mapping[str, Callable[..., Any]], function: Callable[..., Any]) -> None:
        super().__init__(signature, rules, function)
        self.computed = function
        standing = _standing_beside if "residuals" in self.saves else Outputs  # the outputs as one
        self.function = lambda *args, **kwargs: standing(function(*args, **kwargs))
        self.written.__globals__["function"] = self.function
        self.call = lambda *args, **kwargs: parts(self.written(*args, **kwargs))
        self.call.__name__ = self.call.__qualname__ = self.name

    @cached_property
    def pulls(self) -> list[Callable[[Any, Any], Any]]:
        """The rules, of the cotangents of all outputs."""
        return [lambda g, saved, pull=pull: pull(g.filled(), saved) for pull in super().pulls]

    def _saved(self, name: str) -> str:
        expression = super()._saved(name)
        return expression.replace("out", "out.values", 1) if name == "out" else expression

    def lift(self, node: Node) -> list[Any]:
        """What the rules are given when they are recorded: `out` is each output, as a Tensor that knows its origin."""
        lifted: list[Any] = super().lift(node)
        for place, name in enumerate(self.saves):
            if name == "out" and node.saved[place] is not None:
                lifted[place].data = Outputs(node.saved[place], node.shape)
                lifted[place] = parts(lifted[place])
        return lifted


def parts(whole: Tensor) -> Any:
    """The outputs that the Outputs in `whole` holds, each a Tensor: without the detour of a call of `part`."""
    values: Any = whole.data.values
    node: Any = whole.node
    made = [*map(Tensor, values)]
    for place, value in enumerate(values if node else ()):
        shape, dtype = value.shape, value.dtype
        if differentiable(dtype):  # made again for a rule, later than the whole, they belong to what recorded that
            parents, saved = (node,), (node.shape, place)
            made[place].node = Node(next_number(), part, node.contexts, parents, saved, 0, shape, dtype, node.site)
    return type(values)(made)


def _standing_beside(result: Any) -> Any:
    return Outputs(result[0]), result[1]


part = Op(
    "part(whole, place)",
    {"whole": lambda g, whole_shape, place: Parts(whole_shape, {place: g})},
    lambda whole, place: whole.values[place],
)
part.pushes = {"whole": lambda tangent, place: tangent.by_place.get(place)}


class JointOp(Op):
    """An op with one rule for all operands, which returns a cotangent for each; `tensors` stands for a list of them."""

    joint = True
    needed_for: Mapping[str, str] = {}  # operands that the rule needs for the cotangent of one other only

    def separate(self, g: Any, saved: Any, node: Node, wanted: set[Node]) -> list[Callable[[Any, Any], Any]]:
        """The one pull as one per operand, each of which gives its share of the common result.

        A rule that names `wanted` is told which cotangents are: a tuple of bools, in the order of the operands.
        """
        if "wanted" in self.saves:
            saved = list(saved)
            saved[self.saves.index("wanted")] = tuple(map(wanted.__contains__, node.parents))
        shares = self.pulls[0](g, saved)
        if len(shares) != len(node.parents):
            raise miscounted(len(shares), node)
        return [lambda g, saved, share=share: share for share in shares]

    def _saved(self, name: str) -> str:
        if name in self.needed_for:
            return f"{name}_data if parents[{self.operands.index(self.needed_for[name])}] else None, "
        return "None, " if name == "wanted" else super()._saved(name)

    def _parents(self) -> str:
        if self.operands != ["tensors"]:
            return super()._parents()
        return "tuple([(each.node or each.leaf()) if type(each) is Tensor else leaf_of(each) for each in tensors])"

    def lift(self, node: Node) -> list[Any]:
        """What the rule is given when it is recorded, each of `tensors` with its own origin."""
        lifted = super().lift(node)
        if "tensors" in self.saves:
            place = self.saves.index("tensors")
            pairs = zip(node.saved[place], node.parents, strict=True)
            lifted[place] = tuple(Tensor(value, parent) if parent else value for value, parent in pairs)
        return lifted


class JointOpWithOutputs(OpWithOutputs, JointOp):
    """An op with several outputs and one rule for all operands: of all cotangents, a cotangent for each."""


# Several values as one target: its cotangent is the list of theirs.
bundle = JointOp("bundle(tensors)", {"tensors": lambda g: g}, Outputs)
bundle.pushes = {"tensors": lambda tangents: list(tangents)}


def outputs_of(node: Node) -> list[tuple[torch.Size, torch.dtype]]:
    """The shape and the dtype of each output of `node`, or of its only one."""
    if not isinstance(node.shape, Shapes):
        return [(node.shape, node.dtype)]
    return [
        (shape, dtype if differentiable(dtype) else Outputs.dtype)
        for shape, dtype in zip(node.shape, node.shape.dtypes, strict=True)
    ]


def cotangent_of(node: Node, outputs: Sequence[Any]) -> Any:
    """The cotangent of `node`, from one for each output."""
    return Parts(node.shape, dict(enumerate(outputs))) if isinstance(node.shape, Shapes) else outputs[0]


def tangent_of(node: Node, outputs: Sequence[Any]) -> Any:
    """The tangent of `node`, from one for each output, None where it is a constant."""
    if not isinstance(node.shape, Shapes):
        return outputs[0]
    by_place = {place: each for place, each in enumerate(outputs) if each is not None}
    return Parts(node.shape, by_place) if by_place else None
