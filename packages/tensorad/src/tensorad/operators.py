"""Python's operators and torch's properties on Tensors, as ops of the table; and the forms that replace a value."""

from collections.abc import Callable
from typing import Any

import torch

from tensorad.errors import ShapeError
from tensorad.op import OPS
from tensorad.tensor import TABLE, Tensor

_BINARY = {
    "add": "__add__",
    "sub": "__sub__",
    "mul": "mul",
    "truediv": "true_divide",
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
_OTHERS = {"neg": "neg", "pos": "positive", "abs": "abs", "invert": "bitwise_not", "getitem": "getitem"} | {
    name: name for name in ("lt", "le", "gt", "ge", "eq", "ne")
}


def _reflected(name: str) -> Callable[..., Any]:
    return lambda self, other: OPS[name](other, self)


def _in_place(name: str) -> Callable[..., Any]:
    def replace(self: Tensor, other: Any) -> Tensor:
        """The name keeps its Tensor, as in torch, and the Tensor gets a new value: what used the old one keeps that."""
        value = OPS[name](self, other)
        if value.shape != self.shape or value.dtype != self.dtype:
            raise ShapeError(
                f"an augmented assignment keeps shape and dtype, but would turn {tuple(self.shape)} {self.dtype} into "
                f"{tuple(value.shape)} {value.dtype}: write x = x + y instead of x += y"
            )
        return replace_value(self, value)

    return replace


def replace_value(tensor: Tensor, value: Tensor) -> Tensor:
    """Let `tensor` be another value from here on: what was computed from the old one keeps the old one."""
    name = tensor.name
    tensor.data, tensor.node = value.data, value.node
    tensor.born = value.node.number if value.node else value.born
    if name:
        tensor.name = name
    return tensor


def _setitem(self: Tensor, index: Any, value: Any) -> None:
    """t[i] = v: `t` becomes a new value, which depends on the old one and on `v`; earlier results keep the old one."""
    replace_value(self, OPS["setitem"](self, index, value))


def attach() -> None:
    """Give Tensor its operators, in all their forms, and torch's own Tensors the answer for ours on the other side."""
    for dunder, name in _BINARY.items():
        call = OPS[name]
        reflected = _reflected(name)
        setattr(Tensor, f"__{dunder}__", call)
        setattr(Tensor, f"__r{dunder}__", reflected)
        setattr(Tensor, f"__i{dunder}__", _in_place(name))
        TABLE[getattr(torch.Tensor, f"__{dunder}__")] = call
        if hasattr(torch.Tensor, f"__r{dunder}__"):
            TABLE[getattr(torch.Tensor, f"__r{dunder}__")] = reflected
    for dunder, name in _OTHERS.items():
        setattr(Tensor, f"__{dunder}__", OPS[name])
        TABLE[getattr(torch.Tensor, f"__{dunder}__")] = OPS[name]
    for name in ("T", "mT", "H", "mH", "real", "imag"):
        setattr(Tensor, name, property(OPS[name]))
    setattr(Tensor, "__setitem__", _setitem)  # noqa: B010
