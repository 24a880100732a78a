"""torch.nn modules with Tensors for their parameters."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from tensorad.errors import ArgumentError
from tensorad.operands import lifted


def functional_call(module: torch.nn.Module, params: Mapping[str, Any], args: Any = (), kwargs: Any = None) -> Any:
    """Call `module` with other parameters and buffers than its own, by the names of `module.named_parameters()`.

    A module can also just be called on Tensors: its parameters are sources as they are. This is for other values, or
    other orders, than a module holds, and for modules that compute with their parameters alone (`self.a @ self.b`,
    weight normalization): there torch would work on its own tensors, out of sight.

    Args:
        module: any torch.nn.Module. It has its own parameters again when the call returns, or raises.
        params: for any names of parameters or buffers, Tensors or torch tensors to be there instead. Parameters that
            are tied, one tensor under several names, stay tied if one of the names is given.
        args: the tuple of the module's arguments, or its only one.
        kwargs: its keyword arguments.

    Returns:
        What the module returns. While the call lasts, the module holds the other values: other threads must not use it.

    Raises:
        ArgumentError: if `params` is no dict by name; for a name that the module does not have; for different values
            for what is tied together.

    Examples:
        >>> import torch, tensorad as ts
        >>> layer = torch.nn.Linear(2, 1, bias=False)
        >>> params = {"weight": ts.tensor([[3.0, 4.0]])}
        >>> with ts.Grad() as g:
        ...     y = ts.functional_call(layer, params, torch.ones(2))
        >>> g.gradient(y, params)
        {'weight': Tensor([[1., 1.]])}
    """
    with _replaced(module, params):
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))


@contextmanager
def _replaced(module: torch.nn.Module, params: Mapping[str, Any]) -> Generator[None]:
    slots = _slots(module)
    if not hasattr(params, "keys"):
        raise ArgumentError(f"params is a dict by name, dict(module.named_parameters()), not a {type(params).__name__}")
    if unknown := params.keys() - slots.keys():
        raise ArgumentError(f"the module has no parameter or buffer {sorted(unknown)}; it has {sorted(slots)}")
    values: dict[int, Any] = {}  # by what they stand in for
    for name, value in params.items():
        held, key = slots[name]
        if values.setdefault(id(held[key]), value) is not value:
            tied = [each for each, (other, its) in slots.items() if each in params and other[its] is held[key]]
            raise ArgumentError(f"{tied} are names of one tensor, tied together: give one value for all")
    values = lifted(values)
    before = [(held, key, held[key]) for held, key in slots.values() if id(held[key]) in values]
    try:
        for held, key, own in before:
            held[key] = values[id(own)]
        yield
    finally:
        for held, key, own in before:
            held[key] = own
        for each in module.modules():
            if isinstance(each, torch.nn.RNNBase):  # it keeps a list of its weights, which it made anew for the call
                each._update_flat_weights()


def _slots(module: torch.nn.Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Where each parameter and buffer is held, by its full name: a dict of some submodule, and the key there."""
    return {
        f"{path}.{key}" if path else key: (held, key)
        for path, each in module.named_modules(remove_duplicate=False)
        for held in (each._parameters, each._buffers)
        for key, value in held.items()
        if value is not None
    }
