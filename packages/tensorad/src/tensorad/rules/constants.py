"""Ops whose results have no derivative, declared so: comparisons, tests, places, counts, random draws."""

from collections.abc import Callable
from typing import Any

import torch

from tensorad.errors import NoRuleError
from tensorad.node import differentiable, recording
from tensorad.op import OPS, ROWS, composed, constant
from tensorad.tensor import Tensor

constant(*"eq ne lt le gt ge equal not_equal less less_equal greater greater_equal isclose allclose".split())
constant(*"isnan isinf isfinite isposinf isneginf isreal isin signbit is_nonzero".split())
constant(*"logical_and logical_or logical_xor logical_not".split())
constant(*"bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift bitwise_right_shift".split())
constant(*"argmax argmin argsort nonzero argwhere searchsorted bucketize count_nonzero any all".split())
constant(*"gcd lcm nonzero_static histc floor_divide one_hot".split())
constant(*"bernoulli binomial multinomial normal poisson randint_like tril_indices triu_indices".split())
constant("unique", "unique_consecutive")


def refused(name: str) -> Callable[..., Any]:
    """The constant of this name, but an error where numbers with derivatives are recorded: torch has none for it."""
    answer = OPS[name]

    def call(input: Any, *args: Any, **kwargs: Any) -> Any:
        contexts = recording.get()
        recorded = contexts and (torch.is_grad_enabled() or not contexts.follows)
        if recorded and isinstance(input, Tensor) and differentiable(input.dtype):
            raise NoRuleError(
                f"torch.{name} has no derivative, in torch neither: call it on t.data, for a constant, or find the "
                "places of its elements there and pick them out of t"
            )
        return answer(input, *args, **kwargs)

    return call


for _name in "unique", "unique_consecutive":
    composed(_name)(refused(_name))
    ROWS[OPS[_name]] = None  # no derivative: a constant
