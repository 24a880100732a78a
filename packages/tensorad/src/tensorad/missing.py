"""What Tensors do not have: methods that change in place, and functions without a rule. Each says what to type."""

from collections.abc import Callable
from typing import Any

import torch

from tensorad.errors import InPlaceError, NoRuleError

_ABOUT_THE_DATA = set(
    "size dim stride numel nelement nbytes itemsize element_size is_floating_point is_complex is_contiguous layout "
    "is_cuda is_cpu is_sparse is_quantized is_meta get_device storage_offset untyped_storage data_ptr is_signed".split()
)


def missing_attribute(tensor: Any, name: str) -> Any:
    """What `tensor.name` gives for a name that no op has attached."""
    if name in _ABOUT_THE_DATA:
        return getattr(tensor.data, name)
    if name.startswith("__") or not hasattr(torch.Tensor, name):
        raise AttributeError(f"a Tensor has no attribute {name!r}, and neither has torch.Tensor")
    return _refusal(name)


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


def no_rule(function: Any) -> NoRuleError | InPlaceError:
    """The error for a torch function that the table does not know, with the lines that would add it."""
    name = getattr(function, "__name__", str(function))
    if (name.endswith("_") and not name.startswith("__")) or name == "__setitem__":
        return InPlaceError(
            f"torch's {name} would write a Tensor into a torch.Tensor, which keeps no graph: make the receiver a "
            "Tensor first, t = tensorad.tensor(...), then t[i] = v"
        )
    where = getattr(function, "__module__", None) or "torch"
    return NoRuleError(
        f"{where}.{name} has no derivative rule. If you know it, add it in two lines, with the function's own argument "
        f'names:\n    import tensorad as ts\n    ts.defrule("{name}(input)", input=lambda g, input: g * ...)'
    )
