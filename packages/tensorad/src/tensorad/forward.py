"""Forward mode: tangents, which go with the values from the sources to the target, op by op.

The rule of an op takes the cotangent of its output to the cotangents of its operands, and is linear in it. Transposed,
it takes the tangents of the operands to the tangent of the output: so there is no second table. And transposing a
linear function that is there as a program is what reverse mode does (`_transposed`): run the rule on any cotangent,
record what it does, and go back through that, from the tangents of the operands to the cotangent.

`Forward` works out tangents while a program runs, and keeps no graph; `forward` goes through a recording.
"""

import functools
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any
from weakref import WeakKeyDictionary

import torch

from tensorad.backward import backward, between
from tensorad.call import Op
from tensorad.mutation import mutated, version
from tensorad.node import Contexts, Entry, Node, recording
from tensorad.operands import plain
from tensorad.several import bundle, cotangent_of, outputs_of, part, tangent_of
from tensorad.tensor import Tensor
from tensorad.watching import Watcher


class Recorder(Entry):
    """A context for the engine's own recordings: of rules, and of passes."""

    records = True

    def __init__(self) -> None:
        self.cuts: dict[Any, str] = {}
        self.grad_mode = False  # it records under torch.no_grad() too

    def __enter__(self) -> "Recorder":
        super().__enter__()
        self.grad_mode = False
        return self


class Forward(Watcher, Entry):
    """A span in which tangents go along with the values, of some given ones and of all that is computed from them.

    To a Forward, what was made before it opened is a constant, apart from the given ones: it is nested like a Grad.
    What a tangent is computed by is recorded by the contexts around, and not by this one or those inside of it.
    """

    records = True
    watchers = property(lambda self: (self,))  # pyright: ignore[reportAssignmentType]

    def __init__(self, tangents: dict[Node, Any]) -> None:
        self.cuts: dict[Any, str] = {}
        # A value that is dropped takes its tangent along.
        self.tangents: WeakKeyDictionary[Node, Any] = WeakKeyDictionary(tangents)

    def __enter__(self) -> "Forward":
        self.outer = recording.get()
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.tangents.clear()  # what made them, if it was recorded, knows this context: that would be a cycle

    def tangent(self, node: Node | None) -> Any:
        """The tangent of the value that `node` made, inside the block; None where it is a constant."""
        if node is None:
            return None
        if node.op is part and node not in self.tangents:  # parts are made without a call
            whole = self.tangent(node.parents[0])
            return whole and whole.by_place.get(node.saved[1])
        return self.tangents.get(node)

    def made(self, tensor: Tensor, args: Any, kwargs: Any) -> None:
        """Work out the tangent of what an op has just made, and forget how it was made if nobody else needs that.

        Of nested ones the outermost is first: to the others, the value of the op has its tangent already.
        """
        node: Any = tensor.node
        tangents = [self.tangent(parent) for parent in node.parents]
        if any(tangent is not None for tangent in tangents):
            # What is recorded of this has the op's own line.
            outer = Contexts(self.outer.entries, self.outer.site or node.site) if self.outer else self.outer
            token = recording.set(outer)
            try:
                if node.op.own_tangent and not _entry_by_entry(node):
                    found = _applied(node, args, kwargs, tangents)
                else:
                    found = push(node, node.op.lift(node) if self.outer else node.saved, tangents)
            finally:
                recording.reset(token)
            if found is not None:
                self.tangents[node] = found
                for watcher in node.contexts.watchers:
                    watcher.pushed(node, found, tangents)
        if node.contexts.watchers[-1] is self and all(isinstance(each, Forward) for each in node.contexts):
            node.op, node.parents, node.saved, node.version = None, (), (), 0


def forward(owner: object, target: Node, sources: dict[Node, Any]) -> Any:
    """The tangent of `target`, for those of `sources`, through what `owner` recorded; None if nothing arrives."""
    recorded = bool(recording.get())
    tangents: dict[Any, Any] = dict(sources)
    for node in between(owner, target, {*sources})[0]:
        if version(node.saved) != node.version:
            raise mutated(node)
        if node not in tangents:
            saved = node.op.lift(node) if recorded else node.saved
            found = push(node, saved, [tangents.get(parent) for parent in node.parents])
            if found is not None:
                tangents[node] = found
    return tangents.get(target)


def push(node: Node, saved: Any, tangents: Sequence[Any]) -> Any:
    """The tangent of what `node` made, from its operands' (None: a constant) and what it saved, lifted or not."""
    op = node.op
    if op.pushes:
        pushed = _pushes(op)
        if not op.joint:
            return _total(map(_given, pushed, tangents, repeat(saved)), node)
        found = pushed[0](tangents, saved)
        return found if isinstance(found, list) else like(found, node)
    if _entry_by_entry(node):
        spread = [None if tangent is None else like(tangent, node) for tangent in tangents]
        return _total(map(_given, op.pulls, spread, repeat(saved)), node)
    return _transposed(node, saved, tangents)


def _entry_by_entry(node: Node) -> bool:
    """Whether an entry of a cotangent is only multiplied by a number: that of a tangent is multiplied by the same."""
    return node.op.elementwise and not any(each and each.dtype.is_complex for each in (node, *node.parents))


def _applied(node: Node, args: Sequence[Any], kwargs: dict[str, Any], tangents: Sequence[Any]) -> Any:
    """The tangent of what a linear op made: what it makes of the tangents, and of zeros for operands without one."""
    op, args = node.op, list(args)
    places = _operand_places(op)
    if op.operands == ["tensors"]:
        args[places[0]] = list(map(_or_zeros, tangents, args[places[0]]))
    else:
        for place, tangent in zip(places, tangents, strict=True):
            args[place] = _or_zeros(tangent, args[place])
    made, recorded = op.call(*args, **kwargs), bool(recording.get())
    outputs = made if isinstance(made, tuple) else [made]
    return tangent_of(node, [each if recorded else each.data for each in outputs])


def _or_zeros(tangent: Any, operand: Any) -> Any:
    if tangent is not None or operand is None:
        return tangent
    return 0 if isinstance(operand, int | float | complex) else torch.zeros_like(torch.as_tensor(plain(operand)))


def _given(function: Any, tangent: Any, saved: Any) -> Any:
    return None if tangent is None else function(tangent, saved)


def _total(shares: Iterable[Any], node: Node) -> Any:
    """The sum of what the operands contribute to the tangent of `node`; None if none does."""
    total: Any = None
    for share in shares:
        if share is not None:
            total = like(share, node) if total is None else total + like(share, node)
    return total


def _transposed(node: Node, saved: Any, tangents: Sequence[Any]) -> Any:
    """`push`, by reverse mode through the rule: whatever the op, the number of its operands and of its outputs."""
    device = next(tangent for tangent in tangents if tangent is not None).device
    blanks = [Tensor(torch.zeros(shape, dtype=dtype, device=device)) for shape, dtype in outputs_of(node)]
    sources: Any = [blank.leaf() for blank in blanks]
    recorder, outer = Recorder(), recording.get()
    token = recording.set(Contexts((*outer.entries, recorder), outer.site or node.site))
    try:
        pulled = _pulled(node, cotangent_of(node, blanks), saved, tangents)
        target = bundle.call([each for each, _ in pulled]).node
    finally:
        recording.reset(token)
    if target is None:  # the rule says that nothing flows
        return None
    found = backward(recorder, target, [like(tangent, each) for each, tangent in pulled], {*sources})
    return tangent_of(node, [found.get(source) for source in sources])


def _pulled(node: Node, g: Any, saved: Any, tangents: Sequence[Any]) -> list[tuple[Any, Any]]:
    """What the rules send to each operand that has a tangent, and that tangent."""
    wanted: Any = {parent for parent, tangent in zip(node.parents, tangents, strict=True) if tangent is not None}
    pulls = node.op.separate(g, saved, node, wanted) if node.op.joint else node.op.pulls
    pairs = [(_given(pull, g, saved), tangent) for pull, tangent in zip(pulls, tangents, strict=True)
             if tangent is not None]  # fmt: skip
    return [(pulled, tangent) for pulled, tangent in pairs if type(pulled) is Tensor]


def like(tangent: Any, other: Any) -> Any:
    """`tangent` in the shape and dtype of `other`: what broadcasting and promotion did to the operand."""
    if tangent.shape != other.shape:
        tangent = tangent.expand(other.shape)
    if tangent.dtype != other.dtype:
        tangent = (tangent.real if tangent.dtype.is_complex and not other.dtype.is_complex else tangent).to(other.dtype)
    return tangent


@functools.cache
def _pushes(op: Op) -> list[Any]:
    """The forward rules of an op, one per operand, each taking what it names out of the values that a node saved."""
    return [op.reading(rule) for rule in op.pushes.values()]


@functools.cache
def _operand_places(op: Op) -> list[int]:
    """Where the operands stand among the arguments."""
    return [*map([each.partition("=")[0] for each in op.arguments.split(", ")].index, op.operands)]
