"""What torch is given for what the user passed: the data of Tensors, in torch's own argument names.

And what the graph is given: torch tensors that require grad, such as the parameters of a torch.nn.Module, are leaves.
"""

import sys
import threading
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from tensorad.conversions import note_cut, taken_out
from tensorad.errors import ArgumentError
from tensorad.node import Node, recording
from tensorad.tensor import TABLE, Tensor

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


_leaves = WeakTensorKeyDictionary()  # torch tensors that require grad -> their leaves
_leaves_lock = threading.Lock()  # two threads may meet the same parameter: it must not become two leaves


def leaf_of(value: Any) -> Node | None:
    """The leaf of an operand that is no Tensor but a torch tensor that requires grad; None for a constant.

    A view of such a tensor, `module.weight[:2]`, is made by torch, but what it is made of can be told: it is recorded.
    """
    if type(value) in INERT or not isinstance(value, torch.Tensor) or not value.requires_grad:
        return None
    base: Any = value._base
    if value.grad_fn is not None or (base is not None and base.requires_grad):
        if base is None or not base.requires_grad or base.grad_fn is not None or base.dtype != value.dtype:
            raise _unseen(value)
        if value.is_conj() or value.is_neg():  # the memory holds other numbers
            raise _unseen(value)
        place = value.storage_offset() - base.storage_offset()
        return TABLE[torch.as_strided](lifted(base), value.shape, value.stride(), place).node
    with _leaves_lock:
        leaf = _leaves.get(value)
        # A module's .double() gives its parameters another dtype. The number is 0: older than any context.
        if leaf is None or leaf.dtype != value.dtype or leaf.shape != value.shape:
            leaf = _leaves[value] = Node(0, None, frozenset(), (), (), 0, value.shape, value.dtype)
        return leaf


def _unseen(value: torch.Tensor) -> ArgumentError:
    name = value.grad_fn.name() if value.grad_fn else "a leaf"
    return ArgumentError(
        f"torch itself computed a tensor of shape {tuple(value.shape)} from tensors that require grad ({name}), out of "
        "sight of tensorad. If this is inside a torch.nn.Module, call it as tensorad.functional_call(module, "
        "dict(module.named_parameters()), args). Elsewhere, use tensorad's functions: tensorad.square(p) for p**2. "
        "If it is to be a constant, use its .detach()"
    )


def cut(how: str, out: Any) -> Tensor:
    """A result that is a constant although an operand was none; contexts that record note the line, for `why`."""
    note_cut(how)
    return Tensor(out)


def lifted(value: Any) -> Any:
    """`value` with parameters, also those in lists, tuples and dicts, as the Tensors that they are to tensorad."""
    kind = type(value)
    if kind is Tensor or kind in INERT:
        return value
    if kind is list or kind is tuple:
        return kind(map(lifted, value))
    if kind is dict:
        return {name: lifted(each) for name, each in value.items()}
    if isinstance(value, torch.Tensor) and value.requires_grad:
        return Tensor(plain(value), leaf_of(value) if value.is_leaf or recording.get() else None)
    return value


def options(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments that are no operands, as torch takes them. A Tensor among them is a constant, and `why` says so."""
    values = *args, *kwargs.values()
    if INERT.issuperset(map(type, values)):
        return args, torchs_names(kwargs)
    for value in values:
        if type(value) is Tensor:
            taken_out(value, "an argument without a rule")
    return plain(args), keywords(kwargs) if kwargs else kwargs


def keywords(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments as torch takes them: without Tensors, and under torch's own names."""
    return {name: plain(value) for name, value in torchs_names(kwargs).items()}


def torchs_names(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments under torch's own names: `dim` where numpy, and torch too, also says `axis`."""
    if _NUMPY_NAMES.keys().isdisjoint(kwargs):
        return kwargs
    return {_NUMPY_NAMES.get(name, name): value for name, value in kwargs.items()}
