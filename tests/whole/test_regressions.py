"""The mistakes that small engines make, each of which an early version of this one made: none may come back."""

import collections
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracle import agree, rand

import tensorad as ts

Point = collections.namedtuple("Point", "a b")


def test_a_bias_gets_a_gradient_of_its_own_shape() -> None:
    agree(lambda x, w, b: (x @ w) + b, rand(2, 4), rand(4, 2, seed=1), rand(2, seed=2))
    b = ts.tensor([0.0, 0.0])
    with ts.Grad() as g:
        y = (ts.ones(3, 2) + b).sum()
    assert g.gradient(y, b).tolist() == [3, 3]


@pytest.mark.parametrize("function", [torch.maximum, torch.minimum, lambda a, b: torch.where(a > 0.2, a, b)])
def test_selection_undoes_broadcasting(function: Any) -> None:
    agree(function, rand(3, 2), rand(2, seed=1))


def test_sum_along_a_dimension_is_not_transposed() -> None:
    agree(lambda x: x.sum(axis=1) * torch.arange(3.0), rand(3, 3))


@pytest.mark.parametrize(
    "shapes", [((2, 3, 4), (2, 4, 5)), ((3, 4), (4,)), ((4,), (4, 3)), ((4,), (4,)), ((2, 1, 3, 4), (5, 4, 2))]
)
def test_matmul_of_batches_and_vectors(shapes: Any) -> None:
    agree(torch.matmul, rand(*shapes[0]), rand(*shapes[1], seed=1))


def test_second_derivatives() -> None:
    agree(torch.tanh, rand(3))
    agree(torch.prod, torch.tensor([0.0, 2.0, 3.0], dtype=torch.float64))
    agree(torch.prod, rand(4))
    agree(lambda x: x**2, torch.zeros(2, dtype=torch.float64))


def test_gradients_after_the_block_and_of_the_target_itself() -> None:
    x = ts.tensor(3.0)
    with ts.Grad() as g:
        y = x * x
    assert g.gradient(y, x).item() == 6
    assert g.gradient(x, [x]).item() == 1


def test_sources_in_every_nest() -> None:
    a, b = ts.tensor(2.0), ts.tensor(3.0)
    with ts.Grad() as g:
        y = a * b
    assert g.gradient(y, a).item() == 3
    assert g.gradient(y, {"a": a})["a"].item() == 3
    assert g.gradient(y, Point(a, b)).b.item() == 2


OPS = {
    "mean": torch.mean,
    "max": lambda x: x.max(),
    "min along": lambda x: x.min(dim=1).values,
    "cat": lambda x: torch.cat([x, x * x], dim=1),
    "stack": lambda x: torch.stack([x, x * x]),
    "indexing": lambda x: x[0] * x[:, 1:2] + x[..., None].sum(),
    "squeeze": lambda x: x.unsqueeze(0).squeeze(0) ** 2,
    "broadcast_to": lambda x: torch.broadcast_to(x, (4, 2, 3)) ** 2,
    "where of a comparison": lambda x: torch.where(x > 0, x * x, x),
    "cross entropy": lambda x: F.cross_entropy(x, torch.tensor([0, 2])),
}


@pytest.mark.parametrize("name", OPS)
def test_ops_that_used_to_crash(name: str) -> None:
    agree(OPS[name], rand(2, 3))


def test_creation_that_used_to_crash() -> None:
    assert ts.tensor([1.0, 2.0]).tolist() == [1, 2]
    assert ts.full_like(ts.zeros(2), 3.0).tolist() == [3, 3]


def test_a_change_of_dtype_keeps_the_graph() -> None:
    x = ts.tensor([1.0, 2.0])
    with ts.Grad() as g:
        y = (x.to(ts.float64) ** 2).sum()
    gradient = g.gradient(y, x)
    assert (gradient.tolist(), gradient.dtype) == ([2, 4], torch.float32)


def test_inner_tapes_are_freed_when_their_values_are() -> None:
    x = ts.tensor(2.0)
    with ts.Grad():
        with ts.Grad():
            y = x * x * x
        node = weakref.ref(y.node)
        del y
        assert node() is None
