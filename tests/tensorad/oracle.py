"""Independent judges of a gradient: torch.autograd, and finite differences. Neither shares a line with the engine."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

import tensorad as ts

Function = Callable[..., Any]


def agree(function: Function, *arguments: Any, order: int = 2, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    """Assert that tensorad and torch.autograd differentiate `function` alike, up to `order`, on random cotangents.

    `arguments` are given to `function` as they are, but for floating point and complex torch tensors, which are
    differentiated by: as Tensors for tensorad, as tensors that require grad for torch. `function` may return a tensor
    or a tuple or list of tensors.
    """
    values, ours = by_tensorad(function, arguments, order)
    expected_values, theirs = by_torch(function, arguments, order)
    for value, expected in zip(values, expected_values, strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=0, equal_nan=True)
    for level, (mine, torchs) in enumerate(zip(ours, theirs, strict=True), start=1):
        for place, (one, other) in enumerate(zip(mine, torchs, strict=True)):
            torch.testing.assert_close(
                one, other, rtol=rtol, atol=atol, equal_nan=True,
                msg=lambda text, level=level, place=place: f"order {level}, argument {place}: {text}",
            )  # fmt: skip


def by_tensorad(function: Function, arguments: Sequence[Any], order: int = 1) -> tuple[list[Any], list[list[Any]]]:
    """The outputs of `function`, and for each order the gradients by its differentiable arguments, as torch tensors."""
    inputs = [ts.tensor(value) if differentiable(value) else value for value in arguments]
    sources = [value for value in inputs if isinstance(value, ts.Tensor)]
    contexts = [ts.Grad() for _ in range(order)]
    for context in contexts:
        context.__enter__()
    found = []
    try:
        outputs = listed(function(*inputs))
        level = outputs
        for context in reversed(contexts):
            target = project(level)
            context.__exit__(None, None, None)
            level = context.gradient(target, tuple(sources), unconnected="zero")
            level = list(level) if isinstance(level, tuple) else [level]
            found.append([each.data for each in level])
    finally:
        for context in contexts:
            context.__exit__(None, None, None)  # again, to no effect, where all went well
    assert all(source.data._version == 0 for source in sources), "an argument was changed in place"
    return [output.data for output in outputs], found


def by_torch(function: Function, arguments: Sequence[Any], order: int = 1) -> tuple[list[Any], list[list[Any]]]:
    """The same by torch.autograd, with zeros where it says None."""
    inputs = [value.detach().clone().requires_grad_() if differentiable(value) else value for value in arguments]
    sources = [value for value, given in zip(inputs, arguments, strict=True) if differentiable(given)]
    outputs = listed(function(*inputs))
    level, found = outputs, []
    for number in range(order):
        target = project(level)
        if target.requires_grad:
            gradients = torch.autograd.grad(target, sources, create_graph=number < order - 1, allow_unused=True)
        else:
            gradients = [None] * len(sources)
        level = [
            torch.zeros_like(source) if each is None else each for each, source in zip(gradients, sources, strict=True)
        ]
        found.append([each.detach() for each in level])
    return [output.detach() for output in outputs], found


def slope(function: Function, arguments: Sequence[Any], directions: Sequence[Any], step: float = 1e-6) -> float:
    """The derivative of `project(function(...))` along `directions`, by central differences."""

    def moved(sign: float) -> Any:
        inputs = [
            value + sign * step * direction if differentiable(value) else value
            for value, direction in zip(arguments, directions, strict=True)
        ]
        return project(listed(function(*inputs))).item()

    return (moved(1.0) - moved(-1.0)) / (2 * step)


def project(tensors: Sequence[Any], seed: int = 7) -> Any:
    """A real number of the differentiable ones among `tensors`: their sum, weighted at random but always alike."""
    generator = torch.Generator().manual_seed(seed)
    total: Any = 0.0
    for tensor in filter(differentiable, tensors):
        dtype = torch.promote_types(tensor.dtype, torch.float32)
        term = (tensor * torch.randn(tuple(tensor.shape), generator=generator, dtype=dtype)).sum()
        total = total + (term.real if term.is_complex() else term)
    return total


def listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, tuple | list) else [outputs]


def differentiable(value: Any) -> bool:
    return isinstance(value, torch.Tensor | ts.Tensor) and (value.is_floating_point() or value.is_complex())


def rand(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 0, dtype: Any = torch.float64) -> Any:
    """A random float64 tensor: the same for the same arguments."""
    return low + (high - low) * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
