"""The Tensor: a value, and the Node that made it if it was recorded.

A Tensor is a thin wrapper around a torch.Tensor and answers `__torch_function__`, so torch's functions, its own
methods and tensorad's functions are one op, looked up in one table. Operators and methods are attached by the table.
"""

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from tensorad.conversions import Conversions
from tensorad.missing import without_out
from tensorad.node import Node, differentiable, next_number

TABLE: dict[Any, Callable[..., Any]] = {}  # every torch function with a rule -> what answers for it on Tensors
_leaf_lock = threading.Lock()


class Tensor(Conversions):
    """A value that tensorad can differentiate: `data`, the backing torch.Tensor, and `node`, how it was made.

    Make one with `tensorad.tensor(...)`; ops on Tensors return Tensors. A Tensor is a value: nothing but `t[i] = v`,
    `t += v` and their like, which replace it by a new value, ever changes it. Equality is elementwise, hashing by
    identity. It has the operators and the methods of a torch.Tensor for which the table has an op, and others of these
    where torch makes them of such. It cannot be subclassed.

    Args:
        data: the torch tensor, which is not copied; `tensor` copies.
        node: what made it; None for a value that nothing recorded.

    Attributes:
        data: the backing torch.Tensor. A change of it in place is noticed where a rule needs the value.
        node: the Node that made it, or the leaf that it is to the contexts that have used it; else None.
        shape: the sizes, as a torch.Size.
        dtype: the torch dtype.
        device: the torch device.
        ndim: the number of dimensions.
        born: when a value was made that nothing recorded, so that errors can say when: a number of the same counter.
        label: the name of a value that can have no node: of integers or booleans.

    Examples:
        >>> import torch, tensorad as ts
        >>> x = ts.tensor([1.0, 2.0], name="x")
        >>> 2 * x.sin() + torch.ones(2), (x[0] > 1).item()
        (Tensor([2.6829, 2.8186]), False)
    """

    __slots__ = ("__weakref__", "born", "data", "label", "node")
    through_pieces: ClassVar[Callable[..., Any]]  # what answers for a function without a rule: see pieces.py

    def __init__(self, data: torch.Tensor, node: Node | None = None) -> None:
        self.data, self.node = data, node
        if node is None:
            self.born = next_number()

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        call = TABLE.get(function) or cls.through_pieces(function)
        return call(*args, **without_out(kwargs)) if kwargs else call(*args)

    def leaf(self) -> Node | None:
        """The node of a value that nothing recorded, once it takes part in a recording; None for integers."""
        with _leaf_lock:  # two threads may meet the same weight: it must not become two leaves
            if self.node is None and differentiable(self.data.dtype):
                self.node = Node(self.born, None, frozenset(), (), (), 0, self.data.shape, self.data.dtype)
            return self.node
