"""What leaves the graph: numbers, arrays and copies, which are constants to whatever is computed from them."""

from typing import TYPE_CHECKING, Any

import torch

from tensorad.node import Node, differentiable, leaf, next_number, recording
from tensorad.site import caller


def taken_out(tensor: Any, how: str) -> torch.Tensor:
    """The data of `tensor`, taken out of the graph: contexts that record note the line, for `why`."""
    if differentiable(tensor.data.dtype):
        note_cut(how)
    return tensor.data


def note_cut(how: str) -> None:
    """Let the contexts that record remember the user's line, where `how` made a constant of a value."""
    if contexts := recording.get():
        site = caller()
        for context in contexts:
            context.cuts[site] = how


class Conversions:
    """The half of Tensor that turns values into something else."""

    __slots__ = ()
    if TYPE_CHECKING:
        data: torch.Tensor
        node: Node | None

        @property
        def name(self) -> str | None: ...

    def item(self) -> Any:
        """The value of a one-element Tensor, as a Python number."""
        return taken_out(self, "item()").item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return taken_out(self, "tolist()").tolist()

    def numpy(self) -> Any:
        """The values as a numpy array that shares memory, and so is read-only; copy it to change it."""
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

    def __copy__(self) -> Any:
        copy = _rebuild(type(self), self.data, None)
        copy.node = self.node or leaf(self)  # pyright: ignore[reportArgumentType]
        return copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        memo[id(self)] = copy = _rebuild(type(self), self.data.clone(), self.name)
        return copy

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.data, self.name)


def _rebuild(kind: Any, data: torch.Tensor, name: str | None) -> Any:
    """A Tensor of `data` that nothing recorded."""
    tensor = kind()
    tensor.data, tensor.node, tensor.born = data, None, next_number()
    if name is not None:
        tensor.name = name
    return tensor
