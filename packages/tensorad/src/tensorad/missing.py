"""What Tensors do not have: methods that change in place, and functions without a rule. Each says what to type."""

import inspect
from typing import Any

import torch

from tensorad.errors import InPlaceError, NoRuleError

_ABOUT_THE_DATA = set(
    "size dim stride numel nelement nbytes itemsize element_size is_floating_point is_complex is_contiguous layout "
    "is_cuda is_cpu is_sparse is_quantized is_meta is_nested get_device storage_offset untyped_storage data_ptr "
    "is_signed".split()
)


_TORCHS_AUTOGRAD = set("grad grad_fn requires_grad is_leaf backward retain_grad retains_grad register_hook".split())
_ASK_A_CONTEXT = "gradients are return values here: with tensorad.Grad() as g: ..., then g.gradient(target, sources)"


def missing_attribute(tensor: Any, name: str) -> Any:
    """What `tensor.name` gives for a name that no op has attached."""
    if name in _ABOUT_THE_DATA:
        return getattr(tensor.data, name)
    if name in _TORCHS_AUTOGRAD:
        raise AttributeError(f"a Tensor has no {name}: {_ASK_A_CONTEXT}")
    if name.startswith("__") or not hasattr(torch.Tensor, name):
        raise AttributeError(f"a Tensor has no attribute {name!r}, and neither has torch.Tensor")
    if not callable(getattr(torch.Tensor, name)):  # a property
        value = getattr(tensor.data, name)
        if isinstance(value, torch.Tensor):
            raise no_rule(getattr(torch.Tensor, name), "it is a property of torch's own")
        return value

    def method(*args: Any, **kwargs: Any) -> Any:
        return type(tensor).__torch_function__(getattr(torch.Tensor, name), (), (tensor, *args), kwargs)

    return method


def without_out(kwargs: dict[str, Any]) -> dict[str, Any]:
    """`kwargs` without `out=None`, which torch's own Python passes along; an error for any other `out`."""
    if "out" not in kwargs:
        return kwargs
    if kwargs["out"] is not None:
        raise InPlaceError("out= would write into a tensor that is there, and Tensors are values: use the result")
    return {name: value for name, value in kwargs.items() if name != "out"}


_AUGMENTED = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()


def writes(function: Any) -> bool:
    """Whether a torch function changes its first argument in place."""
    name = getattr(function, "__name__", "")
    return (name.endswith("_") and not name.startswith("__")) or name == "__setitem__" or name[3:-2] in _AUGMENTED


def in_place(name: str, receiver: Any) -> InPlaceError:
    """The error for a function that would change `receiver` in place, with what to type instead."""
    if isinstance(receiver, torch.Tensor):
        return InPlaceError(
            f"torch's {name} would write a Tensor into a torch.Tensor, which keeps no graph: make the receiver a "
            "Tensor first, t = tensorad.tensor(...), then t[i] = v; to write numbers only, do it under torch.no_grad()"
        )
    if name == "requires_grad_":
        return InPlaceError(f"a Tensor needs no requires_grad: {_ASK_A_CONTEXT}")
    other = f"write `t = t.{name[:-1]}(...)`" if hasattr(torch.Tensor, name[:-1]) else "give t a new value, t = ..."
    return InPlaceError(
        f"{name}() would change a Tensor in place, and Tensors are values: {other}, or `t[i] = v` to replace a part; "
        f"to change the memory behind it, use `t.data.{name}(...)`"
    )


def refuse_autograd(function: Any) -> None:
    """Raise the error for a function of torch's own autograd."""
    name, module = getattr(function, "__name__", str(function)), getattr(function, "__module__", None) or ""
    if "autograd" in module or name in _TORCHS_AUTOGRAD:
        full = f"{module}.{name}" if "autograd" in module else torch.overrides.resolve_name(function) or f"torch.{name}"
        raise NoRuleError(f"{full} is torch's own autograd, which knows nothing of Tensors; {_ASK_A_CONTEXT}")


def no_rule(function: Any, piece: str) -> NoRuleError:
    """The error for a torch function without a rule, with the lines that would add it; `piece` says what it needs."""
    full = torch.overrides.resolve_name(function) or f"torch.{getattr(function, '__name__', function)}"
    short = full.removeprefix("torch.").removeprefix("Tensor.")
    names = _arguments(function)
    first, several = names[0], ", outputs=True" * _has_several_outputs(short)
    return NoRuleError(
        f"{full} has no derivative rule ({piece}). If you know it, add it in two lines, with a rule for each argument "
        "that has a derivative:\n    import tensorad as ts\n"
        f'    ts.defrule("{short}({", ".join(names)})"{several}, {first}=lambda g, {first}: g * ...)'
    )


def _arguments(function: Any) -> list[str]:
    """The names of the arguments of a torch function, as far as torch tells."""
    known = torch.overrides.get_testing_overrides().get(function)
    parameters = inspect.signature(known).parameters if known else {}
    return [name for name in parameters if name not in ("self", "out")] or ["input"]


def _has_several_outputs(name: str) -> bool:
    packet = getattr(torch.ops.aten, name.replace(".", "_"), None)
    return packet is not None and any(len(schema.returns) > 1 for schema in packet._schemas.values())
