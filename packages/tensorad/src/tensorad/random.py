"""Random tensors: the shape first, then the distribution, then `generator=` for a stream of one's own."""

from collections.abc import Sequence
from typing import Any

import torch

from tensorad.operands import plain
from tensorad.tensor import Tensor


def uniform(shape: int | Sequence[int] = (), low: float = 0.0, high: float = 1.0, **options: Any) -> Tensor:
    """Values spread evenly over [low, high), in torch's default dtype: a constant to all contexts.

    Args:
        shape: the sizes, or one size; by default, a scalar.
        low: the least value.
        high: the bound from above.
        options: torch's `generator`, `dtype` and `device`.

    Examples:
        >>> import torch, tensorad as ts
        >>> ts.random.uniform((2, 3), -1, 1, generator=torch.Generator().manual_seed(0))
        Tensor([[-0.0075,  0.5364, -0.8230],
                [-0.7359, -0.3852,  0.2682]])
    """
    return Tensor(low + (high - low) * torch.rand(_shape(shape), **options))


def normal(shape: int | Sequence[int] = (), mean: float = 0.0, std: float = 1.0, **options: Any) -> Tensor:
    """Values of the normal distribution, in torch's default dtype: a constant to all contexts.

    Args:
        shape: the sizes, or one size; by default, a scalar.
        mean: the mean.
        std: the standard deviation.
        options: torch's `generator`, `dtype` and `device`.

    Examples:
        >>> import torch, tensorad as ts
        >>> ts.random.normal(2, std=0.1, generator=torch.Generator().manual_seed(0))
        Tensor([ 0.1541, -0.0293])
    """
    return Tensor(mean + std * torch.randn(_shape(shape), **options))


def bernoulli(shape: int | Sequence[int] = (), p: float = 0.5, **options: Any) -> Tensor:
    """Ones with probability `p`, zeros else, in torch's default dtype: a constant to all contexts.

    Args:
        shape: the sizes, or one size; by default, a scalar.
        p: the probability.
        options: torch's `generator`, `dtype` and `device`.

    Examples:
        >>> import torch, tensorad as ts
        >>> ts.random.bernoulli(4, 0.5, generator=torch.Generator().manual_seed(0))
        Tensor([1., 0., 1., 1.])
    """
    uniform = torch.rand(_shape(shape), **options)
    return Tensor((uniform < p).to(uniform.dtype))


def randint(shape: int | Sequence[int], low: int, high: int, **options: Any) -> Tensor:
    """Integers from `low` up to and without `high`, of dtype int64.

    Args:
        shape: the sizes, or one size.
        low: the least value.
        high: the bound from above, itself left out.
        options: torch's `generator`, `dtype` and `device`.

    Examples:
        >>> import torch, tensorad as ts
        >>> ts.random.randint(4, 0, 10, generator=torch.Generator().manual_seed(0))
        Tensor([4, 9, 3, 0])
    """
    return Tensor(torch.randint(low, high, _shape(shape), **options))


def _shape(shape: Any) -> tuple[int, ...]:
    shape = plain(shape)
    return (shape,) if isinstance(shape, int) else tuple(shape)
