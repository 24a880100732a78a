"""Jacobians inside of other derivatives: batched passes that are recorded, to order 4, in both modes."""

import gc
from typing import Any

import pytest
import torch
from oracle import rand

import tensorad as ts
from tensorad.node import Node

A = rand(3, 3, seed=2)
reverse, forward = torch.func.jacrev, torch.func.jacfwd


def f(x: Any) -> Any:
    """Ops of all kinds: elementwise, matrix products, with several outputs and with a list of operands."""
    low, high = torch.split(x, [1, 2])
    joined = torch.cat([low * high[:1], x[1:]])
    return torch.tanh(A @ x) * x.sum() + (x * x).cumsum(0).exp() * 0.1 + joined * x.max()


# fmt: off
# ruff: noqa: E501
NESTS: list[tuple[Any, Any]] = [
    (lambda f: ts.jacobian(ts.jacobian(f)), lambda f: reverse(reverse(f))),
    (lambda f: ts.jacobian(ts.jacobian(f, mode="forward"), mode="forward"), lambda f: reverse(reverse(f))),
    (lambda f: ts.jacobian(ts.jacobian(f, mode="forward")), lambda f: reverse(reverse(f))),
    (lambda f: ts.jacobian(ts.jacobian(f), mode="forward"), lambda f: reverse(reverse(f))),
    (lambda f: ts.jacobian(ts.jacobian(ts.jacobian(f))), lambda f: reverse(reverse(reverse(f)))),
    (lambda f: ts.jacobian(ts.hessian(lambda x: f(x).sum())), lambda f: reverse(reverse(reverse(lambda x: f(x).sum())))),
    (lambda f: ts.grad(lambda x: (ts.jacobian(f)(x) ** 2).sum()), lambda f: torch.func.grad(lambda x: (reverse(f)(x) ** 2).sum())),
    (lambda f: ts.hessian(lambda x: (ts.jacobian(f)(x) ** 2).sum()), lambda f: torch.func.hessian(lambda x: (reverse(f)(x) ** 2).sum())),
    (lambda f: lambda x: ts.jvp(ts.jacobian(f), (x,), (A[0],))[1], lambda f: lambda x: torch.func.jvp(reverse(f), (x,), (A[0],))[1]),
    (lambda f: lambda x: ts.jvp(ts.hessian(lambda x: f(x).sum()), (x,), (A[0],))[1],
     lambda f: lambda x: torch.func.jvp(torch.func.hessian(lambda x: f(x).sum()), (x,), (A[0],))[1]),
    (lambda f: ts.jacobian(lambda x: ts.vjp(f, x)[1](A[1])[0], chunk_size=2), lambda f: reverse(lambda x: torch.func.vjp(f, x)[1](A[1])[0])),
]
# fmt: on


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("number", range(len(NESTS)))
def test_nests(number: int) -> None:
    ours, torchs = NESTS[number]
    x = rand(3, seed=3)
    torch.testing.assert_close(ours(f)(ts.tensor(x)).data, torchs(f)(x))


def test_the_fourth_order() -> None:
    tensor = lambda x: ts.jacobian(ts.jacobian(ts.jacobian(ts.jacobian(lambda x: (x**5).sum()))))(x)  # noqa: E731
    x = rand(2, low=0.5)
    expected = torch.zeros(2, 2, 2, 2, dtype=torch.float64)
    for place in range(2):
        expected[place, place, place, place] = 120 * x[place]
    torch.testing.assert_close(tensor(ts.tensor(x)).data, expected)


def test_a_recorded_pass_is_one_node_however_many_rows() -> None:
    def count(rows: int) -> int:
        x = ts.tensor(rand(rows))
        with ts.Grad() as outer:
            with ts.Grad() as inner:
                y = x.sin() * x.sum()
            before = sum(type(each) is Node for each in gc.get_objects())
            matrix = inner.jacobian(y, x)
            made = sum(type(each) is Node for each in gc.get_objects()) - before
        torch.testing.assert_close(
            outer.gradient(matrix, x).data,
            -x.data.sin() * x.data.sum() + x.data.cos() * rows + x.data.cos().sum(),
        )
        return made

    assert count(4) == count(40) < 10


def test_explicit_contexts_chunks_and_several_sources() -> None:
    x, w = ts.tensor(rand(3)), ts.tensor(rand(2, 3, seed=1))

    def function(x: Any, w: Any) -> Any:
        return torch.sigmoid(w @ x) * x.prod()

    expected = torch.func.jacrev(lambda x, w: torch.func.jacrev(function, argnums=(0, 1))(x, w), argnums=1)(
        x.data, w.data
    )
    for chunk in (None, 1, 3):
        with ts.Grad() as outer:
            with ts.Grad() as inner:
                y = function(x, w)
            first = inner.jacobian(y, (x, w), chunk_size=chunk)
        for found, right in zip(first, expected, strict=True):
            torch.testing.assert_close(outer.jacobian(found, w, chunk_size=chunk).data, right)


def test_batch_jacobians_can_be_differentiated_too() -> None:
    x = ts.tensor(rand(4, 2))
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            y = (x**3).cumsum(1)
        matrices = inner.batch_jacobian(y, x)
    expected = torch.zeros(4, 2, 2, dtype=torch.float64)
    for row, column in ((0, 0), (1, 0), (1, 1)):
        expected[:, row, column] = 3 * x.data[:, column] ** 2
    torch.testing.assert_close(matrices.data, expected)
    counts = torch.tensor([2.0, 1.0], dtype=torch.float64)  # how often each entry of x appears in a sample's matrix
    torch.testing.assert_close(outer.gradient(matrices, x).data, 6 * x.data * counts)
