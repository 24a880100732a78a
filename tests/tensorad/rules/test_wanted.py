"""A cotangent that nobody wants is not computed, also where one rule serves all operands."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import project, rand
from torch.utils._python_dispatch import TorchDispatchMode

import tensorad as ts

ALL_ORDERS = """
functional.layer_norm(x, (4,), y, z)                          | 3,4 & 4 & 4
functional.batch_norm(x, None, None, y, z, training=True)     | 3,4 & 4 & 4 ; 3,4,5 & 4 & 4
functional.batch_norm(x, torch.zeros(4).double(), torch.ones(4).double(), y, z) | 3,4 & 4 & 4
functional.group_norm(x, 2, y, z)                             | 3,4,5 & 4 & 4
torch.native_group_norm(x, y, z, 3, 4, 5, 2, 1e-5)            | 3,4,5 & 4 & 4
functional.conv2d(x, y, z, padding=1)                         | 2,4,5,5 & 3,4,3,3 & 3
functional.conv1d(x, y, z, padding="same")                    | 2,4,5 & 3,4,3 & 3 ; 4,5 & 3,4,3 & 3
functional.conv_transpose2d(x, y, z)                          | 2,4,5,5 & 4,3,2,2 & 3
torch.convolution(x, y, z, [1], [0], [1], False, [0], 1)      | 2,4,5 & 3,4,2 & 3
functional.scaled_dot_product_attention(x, y, z)              | 3,4 & 5,4 & 5,4
functional.scaled_dot_product_attention(x, x, y, z)           | 3,4 & 3,4 & 3,3
torch.linalg.solve(x, y)                                      | 3,3 & 3,2
torch.linalg.solve_ex(x, y)[0]                                | 3,3 & 3,2
torch.linalg.solve_triangular(x, y, upper=True)               | 3,3 & 3,2
torch.cholesky_solve(x, y)                                    | 3,2 & 3,3
torch.linalg.lu_solve(x, torch.arange(1, 4).int(), y)         | 3,3 & 3,2
torch.linalg.lstsq(x, y)[0]                                   | 4,3 & 4,2
torch.linalg.lstsq(x, y)[1]                                   | 4,3 & 4,2
torch.linalg.householder_product(x, y)                        | 4,3 & 3
torch.ormqr(x, y, z)                                          | 4,3 & 3 & 4,2
torch.linalg.multi_dot([x, y, z])                             | 2,3 & 3,4 & 4,5
torch.einsum("ij,jk,kl->il", x, y, z)                         | 2,3 & 3,4 & 4,5
functional.grid_sample(x, y, align_corners=False)             | 2,3,4,5 & 2,3,3,2
torch.scatter_reduce(x, 0, torch.tensor([0, 2, 2]), y, "amax") | 4 & 3
torch.scatter_reduce(x, 0, torch.tensor([0, 2, 2]), y, "prod") | 4 & 3
torch.lstm(x, (torch.ones(1, 2, 3).double(),) * 2, [y, z], False, 1, 0., True, False, False)[0] | 4,2,3 & 12,3 & 12,3
torch.gru(x, torch.ones(1, 2, 3).double(), [y, z], False, 1, 0., True, False, False)[0]         | 4,2,3 & 9,3 & 9,3
torch.rnn_tanh(x, torch.ones(1, 2, 3).double(), [y, z], False, 1, 0., True, False, False)[0]    | 4,2,3 & 3,3 & 3,3
"""
# At first order, torch's kernels for these give all cotangents at once.
HIGHER_ORDERS = """
functional.scaled_dot_product_attention(x, y, z)              | 2,2,3,4 & 2,2,5,4 & 2,2,5,4
functional.prelu(x, y)                                        | 3,4 & 1 ; 3,4 & 4
torch._weight_norm(x, y)                                      | 3,4 & 3,1
"""


class Work(TorchDispatchMode):
    """Counts the numbers in all results of torch's functions, below the Tensors."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **kwargs or {})
        for each in out if isinstance(out, tuple | list) else [out]:
            self.count += each.numel() if isinstance(each, torch.Tensor) else 0
        return out


with Work():  # the first one imports parts of torch, whose exceptions would keep a test's frame alive
    torch.ones(1)


def gradients(function: Any, operands: list[Any], asked: list[int], order: int) -> tuple[list[Any], int]:
    """The gradients by the operands of these numbers, recorded for another order, and the work of that."""
    inputs = [ts.tensor(each) for each in operands]
    with ts.Grad():
        with ts.Grad() as g:
            y = project(function(*inputs))
        with ts.stop_gradient() if order == 1 else nullcontext(), Work() as work:
            found = g.gradient(y, {place: inputs[place] for place in asked})
    return [each.data for each in found.values()], work.count


def check(expression: str, shapes: Any, order: int) -> None:
    operands = [rand(*shape, seed=n, low=0.2) + torch.eye(*shape[-2:])[: shape[-2]] if len(shape) == 2 else
                rand(*shape, seed=n, low=0.2) for n, shape in enumerate(shapes)]  # fmt: skip
    function = bent(expression, "xyz"[: len(operands)])
    together, all_work = gradients(function, operands, [*range(len(operands))], order)
    works = []
    for place, right in enumerate(together):
        [alone], work = gradients(function, operands, [place], order)
        torch.testing.assert_close(alone, right, rtol=1e-10, atol=1e-12)
        works.append(work)
    assert max(works) <= all_work > min(works)  # some cotangents are a step on the way to another


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("expression", "shapes"), cases(ALL_ORDERS))
def test_what_is_not_asked_for_is_not_computed(expression: str, shapes: Any, order: int) -> None:
    check(expression, shapes, order)


@pytest.mark.parametrize(("expression", "shapes"), cases(HIGHER_ORDERS))
def test_what_is_not_asked_for_is_not_computed_for_higher_orders(expression: str, shapes: Any) -> None:
    check(expression, shapes, 2)


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("functional.conv2d(x, weight)", 1),
        ("functional.conv_transpose2d(x, weight)", 1),
        ("functional.grid_sample(x, grid, align_corners=False)", 1),
    ],
)
def test_an_image_is_not_kept_for_a_constant(expression: str, kept: int) -> None:
    constants = {"weight": rand(4, 4, 1, 1), "grid": rand(2, 3, 3, 2)}
    x = ts.tensor(rand(2, 4, 5, 5))
    with ts.Grad():
        y = eval(expression, {"functional": torch.nn.functional, "x": x, **constants})
    assert sum(isinstance(each, torch.Tensor) for each in y.node.saved) == kept
