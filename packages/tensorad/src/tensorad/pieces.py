"""How a function without a rule is differentiated: through the pieces that torch makes it of.

What torch writes in Python is run once more on the Tensors themselves. What it writes in C++ is run on `Piece`s, torch
tensors that stand for Tensors: each function that it calls below arrives in `__torch_dispatch__`, where the table is
asked for its rule. So only primitives need one.
"""

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import optree
import torch
from torch._jit_internal import boolean_dispatch, boolean_dispatched

from tensorad.conversions import note_cut
from tensorad.errors import NoRuleError
from tensorad.missing import in_place, no_rule, refuse_autograd, writes
from tensorad.node import differentiable
from tensorad.op import wrapped
from tensorad.operands import keywords, lifted, plain
from tensorad.tensor import TABLE, Tensor


def through_pieces(function: Any) -> Callable[..., Any]:
    """What answers for `function`, which has no rule: its pieces, or NoRuleError."""
    refuse_autograd(function)
    return functools.partial(_write if writes(function) else _call, function)


def _call(function: Any, *args: Any, **kwargs: Any) -> Any:
    args, kwargs = lifted(args), lifted(kwargs)
    if body := _body(function):
        return body(*args, **kwargs)
    try:
        return _tensors(function(*_pieces(args), **_pieces(kwargs)))
    except NoRuleError as error:
        raise no_rule(function, str(error)) from error


def _write(function: Any, receiver: Any, *args: Any, **kwargs: Any) -> Any:
    """A change in place of a torch tensor, such as a parameter: under torch.no_grad(), by the numbers of Tensors."""
    if isinstance(receiver, Tensor) or torch.is_grad_enabled():
        raise in_place(function.__name__, receiver)
    note_cut(function.__name__)
    return function(receiver, *plain(args), **keywords(kwargs))


class Piece(torch.Tensor):
    """A Tensor in the form of a torch.Tensor, for torch's own code: with no memory, and one value after another."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAssignmentType]
    tensor: Tensor  # the Tensor that it stands for now
    shared: bool  # whether it is a view of another piece, or has one: a change in place would have to reach both

    @staticmethod
    def __new__(cls, tensor: Tensor, shared: bool = False) -> "Piece":
        """A piece that stands for `tensor`."""
        data = tensor.data
        if data.layout is not torch.strided:
            raise NoRuleError("a sparse tensor cannot be taken through it: t.to_dense() can")
        piece: Any = torch.Tensor._make_wrapper_subclass(
            cls, data.shape, data.stride(), data.storage_offset(), None, data.dtype, data.layout, data.device
        )
        piece.tensor, piece.shared = tensor, shared
        return piece

    def __repr__(self, **options: Any) -> str:
        return f"Piece({self.tensor!r})"

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """What a function of torch's lower level gives on pieces: its row's call, its own pieces, or NoRuleError."""
        with _conjugates():
            return cls._given(op, args, kwargs or {})

    @classmethod
    def _given(cls, op: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        given: Any = (args, kwargs)
        pieces = [each for each in optree.tree_leaves(given) if isinstance(each, Piece)]
        if op._schema.is_mutable:
            return _replaced(op, args, kwargs)
        if call := next((TABLE[each] for each in _names(op.overloadpacket) if each in TABLE), None):
            out = call(*_tensors(args), **_tensors(kwargs))
        elif not any(differentiable(each.dtype) for each in pieces) or _asks(op):
            out = wrapped(op(*_data(args), **_data(kwargs)))
        elif op._can_decompose():
            return op.decompose(*args, **kwargs)
        else:
            raise NoRuleError(f"{op} has none")
        if op.is_view:
            for each in pieces:
                each.shared = True
        return _pieces(out, op.is_view)


def _conjugates() -> Any:
    """A block in which torch does what t.conj() only notes: down where pieces arrive, it does not."""
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in _LAZY:
        excluded = excluded.remove(key)
    return torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded)


_LAZY = torch._C.DispatchKey.Conjugate, torch._C.DispatchKey.Negative


def _asks(op: Any) -> bool:
    """Whether an op gives no tensor, but something like a bool or a size. A number that it gives is a constant."""
    kinds = [str(each.type) for each in op._schema.returns]
    if "number" in kinds:
        note_cut(op.overloadpacket.__name__)
    return not any("Tensor" in kind for kind in kinds)


def _replaced(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A change in place of a piece, as a new value for it."""
    piece, *others = args
    name = op.overloadpacket.__name__
    packet = getattr(torch.ops.aten, name[:-1], None) if name.endswith("_") else None
    if packet is None or not isinstance(piece, Piece) or piece.shared:
        raise NoRuleError(f"{op} changes a tensor in place, and what sees the change cannot be told")
    value = packet(Piece(piece.tensor), *others, **kwargs).tensor
    piece.tensor = value.to(piece.dtype) if value.dtype != piece.dtype else value
    return piece


@functools.cache
def _names(packet: Any) -> list[Any]:
    """Under what keys the table may know an op of torch's lower level: itself, and the functions of its name."""
    found = [packet]
    for prefix, space in _SPACES:
        if packet.__name__.startswith(prefix):
            found.append(getattr(space, packet.__name__.removeprefix(prefix), packet))
    return found


_SPACES = [("linalg_", torch.linalg), ("fft_", torch.fft), ("special_", torch.special), ("", torch), ("", torch.Tensor)]


def _pieces(value: Any, shared: bool = False) -> Any:
    return _map(lambda each: Piece(each, shared) if isinstance(each, Tensor) else each, value)


def _tensors(value: Any) -> Any:
    return _map(lambda each: each.tensor if isinstance(each, Piece) else each, value)


def _data(value: Any) -> Any:
    return _map(lambda each: each.tensor.data if isinstance(each, Piece) else each, value)


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    return optree.tree_map(function, value, none_is_leaf=True)


@functools.cache
def _body(function: Any) -> Callable[..., Any] | None:
    """A function that torch writes in Python, without the question whether `__torch_function__` should have it."""
    if function in boolean_dispatched:  # two functions in one, told apart by an argument such as `return_indices`
        both: dict[str, Any] = boolean_dispatched[function]
        argument = both["arg_name"], both["index"], both["default"]
        return boolean_dispatch(*argument, _body(both["if_true"]), _body(both["if_false"]), None, None)
    if not isinstance(function, FunctionType) or function.__module__ not in _IN_PYTHON:
        return None
    names = function.__globals__ | _UNASKED
    body = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    body.__kwdefaults__ = function.__kwdefaults__
    return body


_IN_PYTHON = ("torch.functional", "torch.nn.functional")
_UNASKED: dict[str, Any] = dict.fromkeys(
    ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"), lambda *args: False
)
_UNASKED["_none_or_dtype"] = lambda value: getattr(value, "dtype", None)  # torch's own insists on a torch.Tensor


_apply: Any = vars(torch.autograd.Function)["apply"].__func__


def _apply_to_torchs(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """`torch.autograd.Function.apply`: on Tensors it would run the forward and lose the backward, without a word."""
    if any(isinstance(each, Tensor) for each in (*args, *kwargs.values())):
        raise NoRuleError(
            f"{cls.__name__} is a torch.autograd.Function, whose backward tensorad cannot call: write it as an op, "
            "@tensorad.primitive with defvjp(fwd, bwd)"
        )
    return _apply(cls, *args, **kwargs)


def attach() -> None:
    """Let Tensors go through pieces where they meet a function without a rule, and not into torch's own Functions."""
    Tensor.through_pieces = staticmethod(through_pieces)
    setattr(torch.autograd.Function, "apply", classmethod(_apply_to_torchs))  # noqa: B010 - for the type checker
