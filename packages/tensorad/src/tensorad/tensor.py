"""The Tensor: a value, and the Node that made it if it was recorded.

A Tensor is a thin wrapper around a torch.Tensor and answers `__torch_function__`, so torch's functions, its own
methods and tensorad's functions are one op, looked up in one table. Operators and methods are attached by the table.
"""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from tensorad.errors import InPlaceError, NoRuleError
from tensorad.node import Node, caller, new_leaf, next_number, recording


class Tensor:
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

    if TYPE_CHECKING:  # the table attaches operators and methods, see op.register and operators.py

        def __getattr__(self, name: str) -> Any: ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = Any
        __rpow__ = __matmul__ = __rmatmul__ = __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = __neg__ = Any
        __pos__ = __abs__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = __invert__ = __and__ = __or__ = Any
        __xor__ = __rand__ = __ror__ = __rxor__ = __iadd__ = __isub__ = __imul__ = __itruediv__ = Any
    else:

        def __getattr__(self, name: str) -> Any:
            if name in _ABOUT_THE_DATA:
                return getattr(self.data, name)
            if name.startswith("__") or not hasattr(torch.Tensor, name):
                raise AttributeError(f"a Tensor has no attribute {name!r}, and neither has torch.Tensor")
            return _refusal(name)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = TABLE.get(function)
        if call is None:
            raise no_rule(function)
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

    def __iter__(self) -> Iterator["Tensor"]:
        return iter(self.unbind(0) if self.ndim else self.data)  # torch's own error for a scalar

    def __contains__(self, value: object) -> bool:
        return plain(value) in self.data

    # What leaves the graph: numbers and arrays are constants to whatever is computed from them.
    def _leave(self, how: str) -> torch.Tensor:
        for context in recording.get() if self.node else ():
            context.cuts[caller()] = how
        return self.data

    def item(self) -> Any:
        """The value of a one-element Tensor, as a Python number."""
        return self._leave("item()").item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self._leave("tolist()").tolist()

    def numpy(self) -> Any:
        """The values as a numpy array that shares memory, and so is read-only; copy it to change it."""
        array = self._leave("numpy()").numpy()
        array.flags.writeable = False
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        return self._leave("__dlpack__()").clone().__dlpack__(**options)  # a copy: its taker may write to it

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self._leave("float()"))

    def __int__(self) -> int:
        return int(self._leave("int()"))

    def __complex__(self) -> complex:
        return complex(self._leave("complex()"))

    def __index__(self) -> int:
        return self.data.__index__()

    def __copy__(self) -> "Tensor":
        return unrecorded(self.data)._become(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tensor":
        memo[id(self)] = copy = unrecorded(self.data.clone())
        if self.name:
            copy.name = self.name
        return copy

    def __reduce__(self) -> Any:
        return _rebuild, (self.data, self.name)

    def _become(self, value: "Tensor") -> "Tensor":
        """Let this Tensor be another value from here on: what was computed from the old one keeps the old one."""
        self.data, self.node = value.data, value.node
        self.born = value.born if value.node is None else value.node.number
        return self


def _rebuild(data: torch.Tensor, name: str | None) -> Tensor:
    tensor = unrecorded(data)
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
    if kind.__module__ == "numpy" and isinstance(value, sys.modules["numpy"].ndarray):
        return torch.tensor(value)
    return value


_PLAIN = {int, float, bool, complex, str, type(None), slice, type(...), torch.dtype, torch.device, torch.Size}
TABLE: dict[Any, Callable[..., Any]] = {}  # every torch function with a rule -> what answers for it on Tensors
_ABOUT_THE_DATA = set(
    "size dim stride numel nelement nbytes itemsize element_size is_floating_point is_complex is_contiguous layout "
    "is_cuda is_cpu is_sparse is_quantized is_meta get_device storage_offset untyped_storage data_ptr is_signed".split()
)


def _refusal(name: str) -> Callable[..., Any]:
    """What a torch method that Tensors do not have does when it is called: say what to type instead."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        if name.endswith("_"):
            raise InPlaceError(
                f"{name}() would change a Tensor in place, and Tensors are values: write `t = t.{name[:-1]}(...)`, or "
                f"`t[i] = v` to replace a part; to change the memory behind it, use `t.data.{name}(...)`"
            )
        raise no_rule(getattr(torch.Tensor, name))

    return refuse


def no_rule(function: Any) -> NoRuleError:
    """The error for a torch function that the table does not know, with the lines that would add it."""
    name = getattr(function, "__name__", str(function))
    if name.endswith("_") and not name.startswith("__") or name == "__setitem__":
        return InPlaceError(  # type: ignore[return-value]
            f"torch's {name} would write a Tensor into a torch.Tensor, which keeps no graph: make the receiver a Tensor "
            "first, t = tensorad.tensor(...), then t[i] = v"
        )
    where = getattr(function, "__module__", None) or "torch"
    return NoRuleError(
        f"{where}.{name} has no derivative rule. If you know it, add it in two lines, with the function's own argument "
        f'names:\n    import tensorad as ts\n    ts.defrule("{name}(input)", input=lambda g, input: g * ...)'
    )
