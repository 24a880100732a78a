"""Random tensors: the shape first, then the distribution, then `generator=` for a stream of one's own."""

from collections.abc import Sequence
from typing import Any

import torch

from tensorad.operands import plain
from tensorad.tensor import Tensor


def uniform(shape: int | Sequence[int] = (), low: float = 0.0, high: float = 1.0, **options: Any) -> Tensor:
    """Values spread evenly over [low, high). Options: `generator`, `dtype`, `device`.

    >>> import torch, tensorad as ts
    >>> ts.random.uniform((2, 3), -1, 1, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3])
    """
    return Tensor(low + (high - low) * torch.rand(_shape(shape), **options))


def normal(shape: int | Sequence[int] = (), mean: float = 0.0, std: float = 1.0, **options: Any) -> Tensor:
    """Values of the normal distribution. Options: `generator`, `dtype`, `device`."""
    return Tensor(mean + std * torch.randn(_shape(shape), **options))


def bernoulli(shape: int | Sequence[int] = (), p: float = 0.5, **options: Any) -> Tensor:
    """Ones with probability `p`, zeros else, in a floating point dtype. Options: `generator`, `dtype`, `device`."""
    uniform = torch.rand(_shape(shape), **options)
    return Tensor((uniform < p).to(uniform.dtype))


def randint(shape: int | Sequence[int], low: int, high: int, **options: Any) -> Tensor:
    """Integers from `low` up to and without `high`. Options: `generator`, `dtype`, `device`."""
    return Tensor(torch.randint(low, high, _shape(shape), **options))


def _shape(shape: Any) -> tuple[int, ...]:
    shape = plain(shape)
    return (shape,) if isinstance(shape, int) else tuple(shape)
