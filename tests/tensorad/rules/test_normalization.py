"""Normalizations against torch.autograd: values, gradients and running statistics."""

from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, by_torch, rand
from torch.nn import functional

import tensorad as ts

ALONG_THE_LAST_DIMENSIONS = """
functional.layer_norm(x, (3,))              | 3 ; 2,3 ; 0,3
functional.layer_norm(x, (3,), y)           | 2,3 & 3
functional.layer_norm(x, [3], weight=y, bias=z)     | 2,3 & 3 & 3 ; 5,2,3 & 3 & 3 ; 0,3 & 3 & 3
functional.layer_norm(x, (2, 3), y, z, 0.1) | 4,2,3 & 2,3 & 2,3
torch.layer_norm(x, (3,), y, z)             | 2,3 & 3 & 3
functional.rms_norm(x, (3,))                | 3 ; 2,3 ; 0,3
functional.rms_norm(x, (3,), weight=y)      | 2,3 & 3 ; 5,2,3 & 3
functional.rms_norm(x, [2, 3], y, eps=0.1)  | 4,2,3 & 2,3
torch.rms_norm(x, (3,), y)                  | 2,3 & 3
"""


@pytest.mark.parametrize(("expression", "shapes"), cases(ALONG_THE_LAST_DIMENSIONS))
def test_along_the_last_dimensions(expression: str, shapes: Any) -> None:
    agree(
        bent(expression, "xyz"[: len(shapes)]),
        *(rand(*shape, low=-2, high=2, seed=n) for n, shape in enumerate(shapes)),
    )


def test_layer_norm_with_a_bias_alone() -> None:
    """Torch has no second order here."""
    function, inputs = bent("functional.layer_norm(x, (3,), bias=y)", "xy"), [rand(2, 3), rand(3, seed=1)]
    agree(function, *inputs, order=1)
    assert all(each.isfinite().all() for each in by_tensorad(function, inputs, 2)[1][1])


def test_layer_norm_to_third_order() -> None:
    """Against its definition: torch's own third derivative of its kernel is off by more than its size."""

    def kernel(x: Any, w: Any, b: Any) -> Any:
        return functional.layer_norm(x, (3,), w, b).sin()

    def definition(x: Any, w: Any, b: Any) -> Any:
        centred = x - x.mean(-1, keepdim=True)
        return (centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w + b).sin()

    inputs = [rand(2, 3), rand(3, seed=1), rand(3, seed=2)]
    for ours, right in zip(by_tensorad(kernel, inputs, 3)[1], by_torch(definition, inputs, 3)[1], strict=True):
        torch.testing.assert_close(ours, right, rtol=1e-9, atol=1e-11)


def test_rms_norm_to_third_order() -> None:
    agree(lambda x, w: functional.rms_norm(x, (3,), w).sin(), rand(2, 3), rand(3, seed=1), order=3)


def test_layer_norm_of_a_constant_row_is_flat_where_it_can_be() -> None:
    _, [[gradient]] = by_tensorad(lambda x: functional.layer_norm(x, (3,)), [torch.ones(1, 3, dtype=torch.float64)])
    assert gradient.isfinite().all()
    assert gradient.sum().item() == pytest.approx(0, abs=1e-6)


def test_half_precision_rms_norm_does_not_overflow() -> None:
    x = ts.tensor(torch.tensor([300.0, 400.0], dtype=torch.float16))
    with ts.Grad() as g:
        y = functional.rms_norm(x, (2,))
    expected = torch.autograd.functional.jacobian(
        lambda v: functional.rms_norm(v, (2,)).sum(), torch.tensor([300.0, 400.0])
    )
    torch.testing.assert_close(g.gradient(y, x).data.float(), expected, rtol=1e-2, atol=1e-5)
