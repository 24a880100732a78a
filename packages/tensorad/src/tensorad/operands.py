"""What torch is given for what the user passed: the data of Tensors, in torch's own argument names."""

import sys
from typing import Any

import torch

from tensorad.conversions import taken_out
from tensorad.tensor import Tensor

# Types of arguments that hold no tensor.
INERT: set[type] = {int, float, bool, complex, str, type(None), slice, type(...), torch.dtype, torch.device, torch.Size}
_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def plain(value: Any) -> Any:
    """`value` as torch takes it: Tensors replaced by their data, in lists and tuples too.

    A torch tensor that requires grad is detached, so that torch's own autograd records nothing. Memory that belongs to
    numpy is copied: a change there would go unnoticed and make a saved value, and so a gradient, wrong.
    """
    kind = type(value)
    if kind is Tensor:
        return value.data
    if kind in INERT:
        return value
    if kind is list or kind is tuple:
        return kind(map(plain, value))
    if isinstance(value, torch.Tensor):
        value = value.detach() if value.requires_grad else value
        try:
            return value if value.untyped_storage().resizable() else value.clone()
        except NotImplementedError:  # torch.vmap's tensors have no storage of their own
            return value
    if isinstance(value, (tuple, list)):  # a named tuple, say: torch takes any
        return tuple(map(plain, value))
    if kind.__module__ == "numpy" and isinstance(value, sys.modules["numpy"].ndarray):
        return torch.tensor(value)
    return value


def options(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments that are no operands, as torch takes them. A Tensor among them is a constant, and `why` says so."""
    for value in (*args, *kwargs.values()):
        if type(value) is Tensor:
            taken_out(value, "an argument without a rule")
    return plain(args), keywords(kwargs) if kwargs else kwargs


def keywords(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments as torch takes them: without Tensors, and under torch's own names."""
    return {name: plain(value) for name, value in torchs_names(kwargs).items()}


def torchs_names(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments under torch's own names: `dim` where numpy, and torch too, also says `axis`."""
    return {_NUMPY_NAMES.get(name, name): value for name, value in kwargs.items()}
