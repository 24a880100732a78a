"""Python's operators and torch's properties on Tensors, as ops of the table; and the forms that replace a value."""

from collections.abc import Callable
from typing import Any

import torch

from tensorad.errors import ShapeError
from tensorad.op import OPS
from tensorad.tensor import TABLE, Tensor

_BINARY = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "pow": "pow",
    "mod": "remainder",
    "floordiv": "floor_divide",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
_OTHERS = {"neg": "neg", "pos": "positive", "abs": "abs", "invert": "bitwise_not", "getitem": "getitem"}
_OTHERS |= {name: name for name in ("lt", "le", "gt", "ge", "eq", "ne")}


def _reflected(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: call(other, self)


def _in_place(call: Callable[..., Any]) -> Callable[..., Any]:
    def replace(self: Tensor, other: Any) -> Tensor:
        """The name keeps its Tensor, as in torch, and the Tensor gets a new value: what used the old one keeps that."""
        value = call(self, other)
        if value.shape != self.shape or value.dtype != self.dtype:
            raise ShapeError(
                f"an augmented assignment keeps shape and dtype, but would turn {tuple(self.shape)} {self.dtype} into "
                f"{tuple(value.shape)} {value.dtype}: write x = x + y instead of x += y"
            )
        return self._become(value)

    return replace


def _setitem(self: Tensor, index: Any, value: Any) -> None:
    """t[i] = v: `t` becomes a new value, which depends on the old one and on `v`; earlier results keep the old one."""
    self._become(OPS["setitem"](self, index, value))


for _dunder, _name in _BINARY.items():
    if _name not in OPS: continue
    _call = OPS[_name]
    for _prefix, _form in (("", _call), ("r", _reflected(_call)), ("i", _in_place(_call))):
        setattr(Tensor, f"__{_prefix}{_dunder}__", _form)
    for _method in (f"__{_dunder}__", f"__r{_dunder}__"):
        if hasattr(torch.Tensor, _method):
            TABLE[getattr(torch.Tensor, _method)] = _call if "__r" not in _method else _reflected(_call)
for _dunder, _name in _OTHERS.items():
    if _name not in OPS: continue
    setattr(Tensor, f"__{_dunder}__", OPS[_name])
    TABLE[getattr(torch.Tensor, f"__{_dunder}__")] = OPS[_name]
Tensor.__setitem__ = _setitem  # pyright: ignore[reportAttributeAccessIssue]

for _name in ("T", "mT", "H", "mH", "real", "imag"):
    if _name not in OPS: continue
    setattr(Tensor, _name, property(OPS[_name]))
