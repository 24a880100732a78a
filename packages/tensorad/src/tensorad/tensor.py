"""The Tensor: a value, and the Node that made it if it was recorded.

A Tensor is a thin wrapper around a torch.Tensor and answers `__torch_function__`, so torch's functions, its own
methods and tensorad's functions are one op, looked up in one table. Operators and methods are attached by the table.
"""

# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false, reportAssignmentType=false

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from tensorad.conversions import Conversions
from tensorad.errors import InPlaceError
from tensorad.missing import missing_attribute, no_rule
from tensorad.node import Node, new_leaf, next_number

if TYPE_CHECKING:  # to a type checker, a Tensor has what a torch.Tensor has: the table attaches operators and methods
    from torch import Tensor as _LikeTorch
else:
    _LikeTorch = object


class Tensor(Conversions, _LikeTorch):
    """A value that tensorad can differentiate: `data`, the backing torch.Tensor, and `node`, how it was made.

    Make one with `tensorad.tensor(...)`; ops on Tensors return Tensors. A Tensor is a value: nothing but `t[i] = v`,
    `t += v` and their like, which replace it by a new value, ever changes it. Equality is elementwise, hashing by
    identity. `born` counts the values that were made under no context, so that errors can say when.
    """

    __slots__ = ("__weakref__", "born", "data", "node")
    __array_ufunc__ = None  # numpy's operators leave `array * t` to us
    data: torch.Tensor
    node: Node | None
    born: int

    def __init_subclass__(cls) -> None:
        raise TypeError("a Tensor cannot be subclassed: wrap it, or write functions of it")

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            return missing_attribute(self, name)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = TABLE.get(function)
        if call is None:
            raise no_rule(function)
        if kwargs and kwargs.get("out") is not None:
            raise InPlaceError("out= would write into a tensor that is there, and Tensors are values: use the result")
        return call(*args, **kwargs) if kwargs else call(*args)

    shape = property(lambda self: self.data.shape, doc="The sizes, as a torch.Size.")
    dtype = property(lambda self: self.data.dtype, doc="The torch dtype.")
    device = property(lambda self: self.data.device, doc="The torch device.")
    ndim = property(lambda self: self.data.ndim, doc="The number of dimensions.")

    @property
    def name(self) -> str | None:
        """What pictures and messages call this value: given to `ts.tensor(..., name=...)`, or set."""
        return self.node.name if self.node else None

    @name.setter
    def name(self, name: str | None) -> None:
        (self.node or new_leaf(self)).name = name

    def __repr__(self) -> str:
        return "T" + repr(self.data)[1:]

    def __format__(self, spec: str) -> str:
        return format(self.data, spec) if spec else repr(self)

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.unbind(0) if self.ndim else self.data)  # torch's own error for a scalar

    def __contains__(self, value: object) -> bool:
        return plain(value) in self.data


def replace_value(tensor: Tensor, value: Tensor) -> Tensor:
    """Let `tensor` be another value from here on: what was computed from the old one keeps the old one."""
    name = tensor.name
    tensor.data, tensor.node = value.data, value.node
    tensor.born = value.born if value.node is None else value.node.number
    if name:
        tensor.name = name
    return tensor


def unrecorded(data: Any) -> Tensor:
    """The Tensor of a value that no context records."""
    tensor = Tensor()
    tensor.data, tensor.node, tensor.born = data, None, next_number()
    return tensor


def plain(value: Any) -> Any:
    """`value` as torch takes it: Tensors replaced by their data, in lists and tuples too.

    A torch tensor that requires grad is detached, so that torch's own autograd records nothing. Memory that belongs to
    numpy is copied: a change there would go unnoticed and make a saved value, and so a gradient, wrong.
    """
    kind = type(value)
    if kind is Tensor:
        return value.data
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return kind(map(plain, value))
    if isinstance(value, torch.Tensor):
        value = value.detach() if value.requires_grad else value
        return value if value.untyped_storage().resizable() else value.clone()
    if isinstance(value, (tuple, list)):  # a named tuple, say: torch takes any
        return tuple(map(plain, value))
    if kind.__module__ == "numpy" and isinstance(value, sys.modules["numpy"].ndarray):
        return torch.tensor(value)
    return value


_PLAIN = {int, float, bool, complex, str, type(None), slice, type(...), torch.dtype, torch.device, torch.Size}
TABLE: dict[Any, Callable[..., Any]] = {}  # every torch function with a rule -> what answers for it on Tensors


def restored(data: Any, node: Node | None) -> Any:
    """The Tensor of `node` again, from its data; data without a node is a constant and stays as it is."""
    if node is None or data is None:
        return data
    tensor = Tensor()
    tensor.data, tensor.node = data, node
    return tensor


def keywords(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments as torch takes them: without Tensors, and under torch's own names."""
    return {name: plain(value) for name, value in torchs_names(kwargs).items()}


def torchs_names(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments under torch's own names: `dim` where numpy, and torch too, also says `axis`."""
    return {_NUMPY_NAMES.get(name, name): value for name, value in kwargs.items()}


_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}
