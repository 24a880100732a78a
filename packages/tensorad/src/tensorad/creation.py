"""New tensors: from numbers, lists, arrays and torch tensors, or filled."""

from collections.abc import Callable
from typing import Any

import torch

from tensorad.conversions import taken_out
from tensorad.errors import ArgumentError
from tensorad.op import OPS, register
from tensorad.operands import keywords, plain
from tensorad.tensor import Tensor


def tensor(
    data: Any, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None, name: str | None = None,
    **others: Any,
) -> Tensor:  # fmt: skip
    """A Tensor of the values of `data`, which are copied: a change of `data` afterwards does not reach it.

    Args:
        data: a number, a nest of lists of numbers, a numpy array, a torch tensor (a parameter too), or a Tensor, whose
            graph is left behind. A list that holds Tensors is stacked, and depends on them.
        dtype: by default that of `data`; torch's default dtype for Python floats.
        device: by default that of `data`.
        name: what pictures and messages call it.
        others: torch's further options, such as `requires_grad`: there are none here, and the error says why.

    Returns:
        A Tensor of the shape of `data`: `()` for a number.

    Raises:
        ArgumentError: for an option that it does not have.
        TypeError: torch's, for what is no number. For lists of different lengths, it is a ValueError.

    Examples:
        >>> import tensorad as ts
        >>> ts.tensor([1.0, 2.0])
        Tensor([1., 2.])
        >>> ts.tensor(6, dtype=ts.float64, name="x")
        Tensor(6., dtype=torch.float64)
    """
    if others:
        raise ArgumentError(
            f"tensor() takes no {', '.join(others)}: any Tensor of a floating point dtype can be differentiated by, in "
            "a context that is open while it is used (with tensorad.Grad() as g: ...)"
        )
    if isinstance(data, list | tuple) and any(isinstance(value, Tensor) for value in _values(data)):
        made = OPS["stack"]([value if isinstance(value, Tensor) else tensor(value) for value in data])
        made = made.to(dtype=dtype or made.dtype, device=device or made.device)
    else:
        if isinstance(data, Tensor):
            data = taken_out(data, "tensorad.tensor()")
        if isinstance(data, torch.Tensor):
            made = Tensor(data.detach().to(dtype=dtype, device=device, copy=True))
        else:
            made = Tensor(torch.tensor(data, dtype=dtype, device=device))
    if name is not None:
        made.name = name
    return made


def _values(nest: Any) -> list[Any]:
    return [each for value in nest for each in (_values(value) if isinstance(value, list | tuple) else [value])]


def _creator(function: Callable[..., Any]) -> Callable[..., Any]:
    def create(*args: Any, **kwargs: Any) -> Any:
        made = function(*plain(args), **keywords(kwargs))
        return Tensor(made.detach() if made.requires_grad else made)

    create.__name__ = create.__qualname__ = function.__name__
    create.__doc__ = f"torch.{function.__name__}, as a Tensor: a constant, of torch's own arguments."
    return create


def attach() -> None:
    """Put torch's own creation functions and methods into the table."""
    for name in "zeros ones full empty arange linspace logspace eye zeros_like ones_like full_like empty_like".split():
        register(name, _creator(getattr(torch, name)))
    for name in "rand_like randn_like new_zeros new_ones new_full new_empty new_tensor".split():
        register(name, _creator(getattr(torch, name, None) or getattr(torch.Tensor, name)))
