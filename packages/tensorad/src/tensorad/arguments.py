"""What a gradient call takes and gives: targets and sources are checked, seeds made, results given their own memory."""

from typing import Any

import torch

from tensorad import tree
from tensorad.errors import ArgumentError, NotDifferentiableError, ShapeError
from tensorad.node import Contexts, differentiable
from tensorad.tensor import Tensor, plain, unrecorded


def check(target: Any, wanted: list[Any], sources: Any) -> None:
    """That target and sources are Tensors with derivatives, or an error that says which is not."""
    for index, value in enumerate([*wanted, target]):
        if type(value) is Tensor and differentiable(value.data.dtype):
            continue
        is_target = index == len(wanted)
        what = "the target" if is_target else f"the source{tree.path(sources, index)}"
        if not isinstance(value, Tensor):
            kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
            hint = (
                "a gradient is of one Tensor"
                if is_target
                else "make it one with tensorad.tensor(...), before it is used"
            )
            raise ArgumentError(f"{what} is not a tensorad.Tensor but of type {kind}: {hint}")
        raise NotDifferentiableError(
            f"{what} has dtype {value.dtype}, and only floating point and complex values have derivatives: "
            "make it with dtype=tensorad.float32, or convert it with .to(tensorad.float32) before it is used"
        )


def seed_of(target: Tensor, cotangent: Any, contexts: Contexts) -> Any:
    """What the target is seeded with: a Tensor if the pass is to be recorded, else a torch tensor."""
    if cotangent is None:
        seed = torch.ones_like(target.data)
    else:
        try:
            seed = cotangent if isinstance(cotangent, Tensor) else torch.as_tensor(plain(cotangent))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentError(f"a cotangent is a Tensor or something to make one of, not {cotangent!r}") from error
        if seed.shape != target.shape:
            raise ShapeError(
                f"the cotangent has shape {tuple(seed.shape)} and the target {tuple(target.shape)}: they must agree; "
                "without a cotangent the sum of the target's elements is differentiated"
            )
        if seed.is_complex() and not target.dtype.is_complex:
            raise ArgumentError(f"a complex cotangent for a target of dtype {target.dtype}")
        seed = seed.to(dtype=target.dtype, device=target.device)
        seed = seed.conj_physical() if seed.is_complex() else seed
    return plain(seed) if not contexts else seed if isinstance(seed, Tensor) else unrecorded(seed)


def unalias(results: list[Any], cotangent: Any) -> None:
    """Give each gradient memory of its own: the rule of `a + b` sends the very same cotangent to both."""
    given = plain(cotangent)
    taken = {given.untyped_storage().data_ptr()} if isinstance(given, torch.Tensor) else set[int]()
    for result in results:
        if result is not None:
            storage = result.data.untyped_storage().data_ptr()
            if storage in taken:
                result.data = result.data.clone()
            taken.add(storage)
