"""What a gradient call takes and gives: targets and sources are checked, seeds made, results put together."""

import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import torch

from tensorad import tree
from tensorad.call import Op
from tensorad.errors import (
    ArgumentError,
    ContextError,
    NotDifferentiableError,
    ShapeError,
    UnconnectedError,
    UnconnectedWarning,
)
from tensorad.node import Contexts, Node, differentiable
from tensorad.operands import lifted, plain
from tensorad.tensor import Tensor
from tensorad.why import cut_path, not_recorded, why

if TYPE_CHECKING:
    from tensorad.grad import Grad

Unconnected = Literal["zero", "none", "raise"] | None

_SUMMED = "; without a cotangent the sum of the target's elements is differentiated"
_gradient = Op("gradient(input)", {"input": lambda g: g}, lambda data: data).call


def checked(context: "Grad", target: Any, sources: Any, unconnected: Unconnected) -> tuple[list[Any], Any, set[Node]]:
    """The sources as a list, their structure, and their nodes; or the error for what is wrong with the arguments."""
    if context.opened is None:
        raise ContextError("this Grad was never entered, so it has recorded nothing: `with Grad() as g: ...`")
    if unconnected not in (None, "zero", "none", "raise"):
        raise ArgumentError(f"unconnected must be 'zero', 'none' or 'raise', not {unconnected!r}")
    given, structure = tree.flatten(sources)
    wanted = sources_of(target, given, sources)
    nodes: Any = {source.node or source.leaf() for source in wanted}
    recorded = target.node in nodes or (target.node and context in target.node.contexts)
    if not recorded and unconnected is None:
        raise not_recorded(context, target)
    return wanted, structure, nodes


def sources_of(target: Any, given: list[Any], sources: Any) -> list[Any]:
    """The sources, parameters as the Tensors that they are to tensorad; or the error for what is wrong with them."""
    for index, value in enumerate(given):
        if isinstance(value, torch.Tensor) and (value.grad_fn is not None or value._base is not None):
            raise ArgumentError(
                f"the source{tree.path(sources, index)} is what torch computed from another tensor, or a view of one: "
                "ask for that one"
            )
    wanted = lifted(given)
    check(target, wanted, sources)
    return wanted


def check(target: Any, wanted: list[Any], sources: Any) -> None:
    """That target and sources are Tensors with derivatives, or an error that says which is not."""
    for index, value in enumerate([*wanted, target]):
        if type(value) is Tensor and differentiable(value.data.dtype):
            continue
        is_target = index == len(wanted)
        what = "the target" if is_target else f"the source{tree.path(sources, index)}"
        if not isinstance(value, Tensor):
            kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
            if isinstance(value, Iterator):
                hint = "an iterator can be read only once: make a list or a dict of it"
            elif isinstance(value, torch.nn.Module):
                hint = "give its parameters, dict(model.named_parameters())"
            elif not is_target:
                hint = "make it one with tensorad.tensor(...), before it is used, or let it require grad"
            elif isinstance(value, torch.Tensor):
                hint = "no Tensor was among what torch computed it from: give the model one, model(tensorad.tensor(x))"
            else:
                hint = "a gradient is of one Tensor"
            raise ArgumentError(f"{what} is not a tensorad.Tensor but of type {kind}: {hint}")
        remedy = (
            "differentiate what it is computed from, where that is floating point"
            if is_target
            else "make it with dtype=tensorad.float32, or convert it with .to(tensorad.float32) before it is used"
        )
        raise NotDifferentiableError(
            f"{what} has dtype {value.dtype}, and only floating point and complex values have derivatives: {remedy}"
        )


def seed_of(target: Tensor, cotangent: Any, contexts: Contexts, hint: str = _SUMMED) -> Any:
    """What the target is seeded with: a Tensor if the pass is to be recorded, else a torch tensor."""
    if cotangent is None:
        seed = torch.ones_like(target.data)
        if contexts:
            seed = Tensor(seed)
            seed.name = "seed"  # what pictures of the recorded pass call it
        return seed
    seed = fitting("cotangent", cotangent, target, contexts, hint)
    return seed.conj_physical() if target.dtype.is_complex else seed


def fitting(what: str, value: Any, tensor: Tensor, contexts: Contexts, hint: str = "") -> Any:
    """A cotangent or tangent of `tensor` as the passes take it: a Tensor if they are recorded, else a torch tensor."""
    try:
        found = value if isinstance(value, Tensor) else torch.as_tensor(plain(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"a {what} is a Tensor or something to make one of, not {value!r}") from error
    if found.shape != tensor.shape:
        raise ShapeError(
            f"the {what} has shape {tuple(found.shape)} and its value {tuple(tensor.shape)}: they must agree{hint}"
        )
    if found.is_complex() and not tensor.dtype.is_complex:
        raise ArgumentError(f"a complex {what} for a value of dtype {tensor.dtype}")
    if found.dtype != tensor.dtype or found.device != tensor.device:  # else a needless op would be recorded
        found = found.to(dtype=tensor.dtype, device=tensor.device)
    return plain(found) if not contexts else found if isinstance(found, Tensor) else Tensor(found)


def result_for(
    context: "Grad", target: Tensor, source: Tensor, g: Any, unconnected: Unconnected, contexts: Contexts
) -> Tensor | None:
    """What a source gets: its cotangent `g`, in torch's convention, or what stands for no connection."""
    if g is not None:
        g = g.conj_physical() if g.dtype.is_complex else g
    elif unconnected == "raise":
        raise UnconnectedError(why(context, target, source))
    elif unconnected == "none":
        return None
    else:
        g = torch.zeros_like(source.data)
        if unconnected is None and (cut := cut_path(context, target, source)):
            inlined = sys.version_info >= (3, 12)  # comprehensions, such as the one that calls this
            warnings.warn(cut, UnconnectedWarning, stacklevel=3 if inlined else 4)
    return as_result(g, contexts)


def as_result(g: Any, contexts: Contexts) -> Tensor:
    """A derivative as the user gets it.

    It is a value of the contexts around it even where it is a constant (d/dx of 3 x), so that asking them for its
    derivative gives zeros and not an error.
    """
    g = g if isinstance(g, Tensor) else Tensor(g)
    return _gradient(g) if contexts else g


def arranged(results: list[Any], structure: Any, sources: Any, cotangent: Any) -> Any:
    """The results in the structure of `sources`; the bare one if that is a list or tuple of one Tensor."""
    unalias(results, [cotangent])
    alone = type(sources) in (list, tuple) and len(sources) == 1 and isinstance(sources[0], Tensor | torch.Tensor)
    return results[0] if alone else tree.unflatten(structure, results)


def unalias(results: list[Any], cotangents: list[Any]) -> None:
    """Give each gradient memory of its own: the rule of `a + b` sends the very same cotangent to both."""
    used = {_storage(plain(each)) for each in cotangents if isinstance(each, Tensor | torch.Tensor)}
    for result in results:
        if result is not None and (storage := _storage(result.data)) is not None:
            if storage in used:
                result.data = result.data.clone()
            used.add(storage)


def _storage(tensor: torch.Tensor) -> int | None:
    try:
        return tensor.untyped_storage().data_ptr()
    except NotImplementedError:  # under torch.vmap
        return None
