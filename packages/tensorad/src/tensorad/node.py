"""The graph: nodes, the edges between them, and the switch that says who is recording.

A `Node` is one recorded application of an op. Its edges are its `parents`: the nodes of the operands. Nodes take the
next number of one counter as they are made, so sorting by number is a topological order, and no walk needs recursion.
"""

import itertools
import operator
import threading
from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from tensorad.call import Op
    from tensorad.grad import Grad
    from tensorad.site import Site
    from tensorad.tensor import Tensor

next_number = itertools.count(1).__next__
get_number = operator.attrgetter("number")
_TorchTensor = torch.Tensor  # a global is found faster than an attribute, and these lines run at every op


class Contexts(frozenset["Grad"]):
    """The Grads that record now. `entries` is all that is open, outermost first, `stop_gradient` blocks among it.

    A node keeps the Contexts it was recorded under, so asking whether a Grad owns a node is one membership test however
    deep the nesting. The numbers alone could not tell: another thread, or another task, takes numbers in between.
    While a gradient is recorded, `site` is the line that asked for it, and all that is recorded then belongs there.
    """

    __slots__ = ("entries", "site")
    entries: tuple[object, ...]
    site: "Site | None"

    @classmethod
    def of(cls, grads: "Iterable[Grad]", entries: tuple[object, ...], site: "Site | None" = None) -> "Contexts":
        contexts = cls(grads)
        contexts.entries, contexts.site = entries, site
        return contexts


# Threads start with nothing open, and each asyncio task has its own value: that is what a context variable is for.
recording: ContextVar[Contexts] = ContextVar("recording", default=Contexts.of((), ()))  # noqa: B039 - it is immutable


class Node:
    """One recorded application of an op, or a leaf (no op, no parents): a value that no open context recorded."""

    __slots__ = (
        "__weakref__",
        "contexts",
        "dtype",
        "exact",
        "name",
        "number",
        "op",
        "parents",
        "saved",
        "shape",
        "site",
        "version",
    )
    number: int
    op: "Op | None"
    contexts: frozenset["Grad"]
    parents: "tuple[Node | None, ...]"  # one per operand that the op can be differentiated by; None for a constant
    saved: tuple[Any, ...]  # the values that the rules name, on raw torch tensors
    version: int  # the sum of torch's version counters of `saved`, to notice a change in place
    shape: Any  # of the output; of a tuple of outputs, the tuple of them
    dtype: Any
    exact: bool  # every operand has the shape and dtype of the output: nothing to undo on the way back
    site: "Site | None"  # the user's line: turned into words only when somebody asks
    name: str | None

    def __repr__(self) -> str:
        return f"<Node {self.number}: {self.op.name if self.op else 'leaf'}>"


_UNCHANGING = {type(None), int, float, bool, complex, str, torch.Size, torch.dtype, torch.device}
_leaf_lock = threading.Lock()


def leaf(tensor: "Tensor") -> Node | None:
    """The node of a tensor that nothing recorded, made when it first takes part in a recording; None for integers."""
    return new_leaf(tensor) if differentiable(tensor.data.dtype) else None


def new_leaf(tensor: "Tensor") -> Node:
    with _leaf_lock:  # two threads may meet the same weight: it must not become two leaves
        if tensor.node is None:
            node = Node()
            node.number, node.op, node.contexts, node.parents, node.saved = tensor.born, None, frozenset(), (), ()
            node.version, node.exact, node.site, node.name = 0, True, None, None
            node.shape, node.dtype = tensor.data.shape, tensor.data.dtype
            tensor.node = node
        return tensor.node


def differentiable(dtype: torch.dtype) -> bool:
    """Whether values of this dtype have derivatives: floating point and complex numbers do."""
    return dtype.is_floating_point or dtype.is_complex


def version(values: Iterable[Any]) -> int:
    """The sum of torch's version counters over the tensors in `values`: it grows when one is changed in place."""
    total = 0
    for value in values:
        kind = type(value)
        if kind is _TorchTensor or (kind not in _UNCHANGING and isinstance(value, _TorchTensor)):
            try:
                total += value._version
            except RuntimeError:  # made under torch.inference_mode(), which keeps no counter
                continue
        elif kind not in _UNCHANGING and isinstance(value, (tuple, list, dict)):
            total += version(value.values() if isinstance(value, dict) else value)
    return total
