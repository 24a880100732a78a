"""What a Tensor is to the rest of Python: text, a number, a sequence, an array, something to copy and to pickle.

What leaves the graph (numbers, arrays, copies) is a constant to whatever is computed from it.
"""

# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false, reportAssignmentType=false

from collections.abc import Iterator
from contextvars import ContextVar
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch

from tensorad.missing import missing_attribute
from tensorad.node import Node, differentiable, recording
from tensorad.site import Site, caller

if TYPE_CHECKING:  # to a type checker, a Tensor has what a torch.Tensor has: the table attaches operators and methods
    from torch import Tensor as _LikeTorch
else:
    _LikeTorch = object


# While the functions of a primitive run on Tensors: what they take out of the graph, how, and where.
watched: ContextVar[list[tuple[Any, str, Site]] | None] = ContextVar("watched", default=None)


def taken_out(tensor: Any, how: str) -> torch.Tensor:
    """The data of `tensor`, taken out of the graph: contexts that record note the line, for `why`."""
    if differentiable(tensor.data.dtype):
        note_cut(how)
        if (taken := watched.get()) is not None:
            taken.append((tensor, how, caller()))
    return tensor.data


def note_cut(how: str) -> None:
    """Let the contexts that record remember the user's line, where `how` made a constant of a value."""
    if contexts := recording.get():
        site = caller()
        for context in contexts:
            context.cuts[site] = how


class Conversions(_LikeTorch):
    """The half of Tensor that other programs see; the other half is what the engine needs."""

    __slots__ = ()
    __array_ufunc__ = None  # numpy's operators leave `array * t` to us
    if TYPE_CHECKING:
        data: torch.Tensor
        node: Node | None

        label: str | None

        def leaf(self) -> Node | None: ...

    else:
        __getattr__ = missing_attribute

    def __init_subclass__(cls) -> None:
        if Conversions not in cls.__bases__:
            raise TypeError("a Tensor cannot be subclassed: wrap it, or write functions of it")

    shape = property(attrgetter("data.shape"), doc="The sizes, as a torch.Size.")
    dtype = property(attrgetter("data.dtype"), doc="The torch dtype.")
    device = property(attrgetter("data.device"), doc="The torch device.")
    ndim = property(attrgetter("data.ndim"), doc="The number of dimensions.")

    @property
    def name(self) -> str | None:
        """What pictures and messages call this value: given to `ts.tensor(..., name=...)`, or set."""
        return self.node.name if self.node else getattr(self, "label", None)

    @name.setter
    def name(self, name: str | None) -> None:
        if node := self.node or self.leaf():
            node.name = name
        else:
            self.label = name

    def __repr__(self) -> str:
        return "T" + repr(self.data)[1:]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.unbind(0) if self.ndim else self.data)  # torch's own error for a scalar

    def item(self) -> Any:
        """The value of a Tensor of one element, as a Python number, which is a constant to all contexts.

        Raises:
            RuntimeError: torch's, if it has several elements.
        """
        return taken_out(self, "item()").item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers, which are constants to all contexts; of a scalar, a number."""
        return taken_out(self, "tolist()").tolist()

    def numpy(self) -> Any:
        """The values as a numpy array that shares memory, and so is read-only; copy it to change it.

        It is a constant to all contexts.
        """
        array = taken_out(self, "numpy()").numpy()
        array.flags.writeable = False
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        return taken_out(self, "__dlpack__()").clone().__dlpack__(**options)  # a copy: its taker may write to it

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(taken_out(self, "float()"))

    def __int__(self) -> int:
        return int(taken_out(self, "int()"))

    def __complex__(self) -> complex:
        return complex(taken_out(self, "complex()"))

    def __index__(self) -> int:
        return self.data.__index__()

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, value: object) -> bool:
        return (value.data if isinstance(value, Conversions) else value) in self.data

    def __format__(self, spec: str) -> str:
        return format(self.data, spec) if spec else repr(self)

    def __copy__(self) -> Any:
        return type(self)(self.data, self.node or self.leaf())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        memo[id(self)] = copy = _rebuild(type(self), self.data.clone(), self.name)
        return copy

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.data, self.name)


def _rebuild(kind: Any, data: torch.Tensor, name: str | None) -> Any:
    """A Tensor of `data` that nothing recorded."""
    tensor = kind(data)
    if name is not None:
        tensor.name = name
    return tensor
