"""The judges are judged: rules that are wrong in the usual ways must not pass them."""

from typing import Any

import pytest
import torch
from oracle import agree, by_tensorad, rand, slope

import tensorad.backward
from tensorad.call import Op
from tensorad.tensor import Tensor


def wrong(function: Any, **options: Any) -> Any:
    """A function that runs torch's on torch tensors, and on Tensors an op with the given rules."""
    op = Op("wrong(input, other)", options.pop("rules"), function, **options)
    return lambda a, b: op.call(a, b) if isinstance(a, Tensor) or isinstance(b, Tensor) else function(a, b)


WRONG = {
    "a wrong sign": wrong(torch.sub, rules={"input": lambda g: g, "other": lambda g: g}),
    "a forgotten factor": wrong(torch.mul, rules={"input": lambda g: g, "other": lambda g, input: g * input}),
    "operands swapped": wrong(
        torch.mul, rules={"input": lambda g, input: g * input, "other": lambda g, other: g * other}
    ),
    "a second order dropped": wrong(
        torch.mul,
        rules={
            "input": lambda g, other: g * (other.data if isinstance(other, Tensor) else other),
            "other": lambda g, input: g * input,
        },
    ),
    "an operand forgotten": wrong(torch.mul, rules={"input": lambda g, other: g * other}),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_rule_fails_against_torch(fault: str) -> None:
    try:
        agree(WRONG[fault], rand(3), rand(3, seed=1))
    except AssertionError:
        return
    pytest.fail(f"{fault} went unnoticed")


def test_a_right_rule_passes() -> None:
    right = wrong(torch.mul, rules={"input": lambda g, other: g * other, "other": lambda g, input: g * input})
    agree(right, rand(3), rand(3, seed=1), order=3)


def test_a_forgotten_broadcast_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the engine does in `fit`, left out."""
    monkeypatch.setattr(tensorad.backward, "fit", lambda g, parent, node: g)
    agree(torch.mul, rand(2, 3), rand(2, 3, seed=1))
    with pytest.raises((AssertionError, RuntimeError)):
        agree(torch.mul, rand(2, 3), rand(3, seed=1))


def test_finite_differences_notice_too() -> None:
    inputs, directions = [rand(3), rand(3, seed=1)], [rand(3, seed=2), rand(3, seed=3)]
    expected = slope(torch.sub, inputs, directions)
    _, [gradients] = by_tensorad(WRONG["a wrong sign"], inputs)
    found = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
    assert found != pytest.approx(expected, rel=1e-3)
    assert isinstance(tensorad.tensor(1.0), Tensor)
