"""Own ops: a pair of functions, right at every order, with residuals that are not silently constants."""

import gc
from typing import Any

import pytest
import torch
from oracle import agree, rand

import tensorad as ts
from tensorad.tensor import Tensor


@ts.primitive
def scaled_sine(x: Any, scale: Any) -> Any:
    """x -> scale * sin(x)."""
    return scale * torch.sin(x)


scaled_sine.defvjp(
    lambda x, scale: (scale * torch.sin(x), (torch.cos(x), torch.sin(x), scale)),
    lambda g, residuals: (g * residuals[2] * residuals[0], (g * residuals[1]).sum()),
)


def either(x: Any, scale: Any) -> Any:
    return scaled_sine(x, scale) if isinstance(x, Tensor) else scaled_sine.function(x, scale)


def test_to_third_order() -> None:
    """The cosine is a residual that depends on x: taken as a constant, the second order would be wrong."""
    agree(either, rand(4), rand(seed=1), order=3)


def test_outside_of_contexts_and_on_torch_tensors() -> None:
    assert scaled_sine(torch.zeros(2), 3.0).tolist() == [0, 0]
    assert scaled_sine.__doc__ == "x -> scale * sin(x)."
    assert scaled_sine.__name__ == "scaled_sine"


def test_a_constant_argument() -> None:
    x = ts.tensor(0.0)
    with ts.Grad() as g:
        y = scaled_sine(x, 3.0)
    assert g.gradient(y, x).item() == 3


def test_no_derivative_yet() -> None:
    @ts.primitive
    def bare(x: Any) -> Any:
        return x * 2

    x = ts.tensor(1.0)
    assert bare(x).item() == 2
    with ts.Grad(), pytest.raises(ts.RuleError, match=r"bare.defvjp\(fwd, bwd\)"):
        bare(x)


def test_a_wrong_number_of_cotangents() -> None:
    @ts.primitive
    def both(x: Any, y: Any) -> Any:
        return x * y

    both.defvjp(lambda x, y: (x * y, None), lambda g, _: (g,))
    x = ts.tensor(1.0)
    with ts.Grad() as g:
        z = both(x, x)
    with pytest.raises(ts.RuleError, match="1 cotangents for 2 arguments"):
        g.gradient(z, x)


def test_none_for_an_argument_without_derivative() -> None:
    @ts.primitive
    def first(x: Any, y: Any) -> Any:
        return x * 1

    first.defvjp(lambda x, y: (x * 1, None), lambda g, _: (g, None))
    x, y = ts.tensor(1.0), ts.tensor(2.0)
    with ts.Grad() as g:
        z = first(x, y)
    assert [each.item() for each in g.gradient(z, [x, y])] == [1, 0]


def bad(fwd: Any) -> Any:
    p = ts.primitive(lambda x: x * 1)
    return p.defvjp(fwd, lambda g, _: (g,))


def test_a_wrong_fwd_says_so() -> None:
    x, w = ts.tensor([1.0, 2.0]), ts.tensor(2.0)
    with ts.Grad():
        with pytest.raises(ts.RuleError, match=r"must return a tuple \(output, residuals\), not a Tensor"):
            bad(lambda x: x * 1)(x)
        with pytest.raises(ts.RuleError, match="must be one of its arguments"):
            bad(lambda x: (x * w, None))(x)
        with pytest.raises(ts.RuleError, match="not a tuple"):
            bad(lambda x: ((x, x), None))(x)
        with pytest.raises(ts.ArgumentError, match="list of Tensors"):
            bad(lambda x: (x, None))([x, x])
    gc.collect()  # an op and its call hold each other, and this one's holds w


def test_a_random_fwd_is_refused_where_it_runs_again() -> None:
    generator = torch.Generator().manual_seed(0)

    def fwd(x: Any) -> Any:
        mask = torch.rand(8, generator=generator)
        return x * mask, mask

    p = ts.primitive(lambda x: x)
    p.defvjp(fwd, lambda g, mask: (g * mask,))
    x = ts.tensor(torch.ones(8))
    with ts.Grad(), ts.Grad() as g:
        y = p(x)
        with pytest.raises(ts.RuleError, match="is it random"):
            g.gradient(y, x)
    assert g.gradient(y, x).tolist() == y.tolist()


@ts.primitive
def power(x: Any, y: Any) -> Any:
    return x**3 * y**2


power.defvjp(
    lambda x, y: (x**3 * y**2, (x**2, x, y)),
    lambda g, residuals: (
        3 * g * residuals[0] * residuals[2] ** 2,
        2 * g * residuals[1] ** 3 * residuals[2],
    ),
)
row = ts.defrule(
    "tested_power(x, y)",
    function=lambda x, y: x**3 * y**2,
    x=lambda g, x, y: 3 * g * x**2 * y**2,
    y=lambda g, x, y: 2 * g * x**3 * y,
)
OWN = {"primitive": power, "row": row.call}


def derivatives(function: Any, by: Any, order: int) -> list[Any]:
    """The derivatives of the sum of `function()` by `by`, from the first to that of `order`."""
    if not order:
        return [function()]
    with ts.Grad() as g:
        found = derivatives(function, by, order - 1)
    return [*found, g.gradient(found[-1], by)]


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_every_order_against_closed_forms(kind: str, dtype: Any) -> None:
    own = OWN[kind]
    x, y = ts.tensor(rand(3, low=0.5).to(dtype)), ts.tensor(rand(3, low=0.5, seed=1).to(dtype))
    a, b = x.data, y.data
    expected = {
        "x": [a**3 * b**2, 3 * a**2 * b**2, 6 * a * b**2, 6 * b**2, 0 * b],
        "y": [a**3 * b**2, 2 * a**3 * b, 2 * a**3, 0 * b, 0 * b],
    }
    for name, by in (("x", x), ("y", y)):
        for found, closed in zip(derivatives(lambda: own(x, y), by, 4), expected[name], strict=True):
            assert found.dtype == dtype
            torch.testing.assert_close(found.data.abs(), closed.abs())  # conjugated, by turns, for complex numbers
    for constant in (y.data, y.data.numpy()):
        _, first, second = derivatives(lambda constant=constant: own(x, constant), x, 2)
        torch.testing.assert_close(second.data.abs(), (6 * a * b**2).abs())
        torch.testing.assert_close(first.data.abs(), (3 * a**2 * b**2).abs())


@pytest.mark.parametrize("kind", OWN)
def test_constants_numbers_and_broadcasting(kind: str) -> None:
    own = OWN[kind]
    x, y = rand(2, 3), rand(3, seed=1)
    on = lambda x, y: own(x, y) if Tensor in (type(x), type(y)) else x**3 * y**2  # noqa: E731
    agree(on, x, y, order=3)
    agree(lambda x: on(x, 2.0), x, order=3)
    agree(lambda y: on(x, y), y, order=3)
    agree(lambda x: on(x.exp(), x[0].sin()) * x, x, order=3)
    agree(on, rand(2, 3, dtype=torch.complex128), rand(3, seed=1, dtype=torch.complex128), order=3)
    agree(on, rand(2, 3, dtype=torch.complex128), y, order=3)


@pytest.mark.parametrize("kind", OWN)
def test_on_torch_tensors_under_a_context_and_without_one(kind: str) -> None:
    own, x, y = OWN[kind], rand(2, 3), rand(3, seed=1)
    assert torch.equal(own(x, y).data, x**3 * y**2)
    with ts.Grad():
        value = own(x, y)
    assert value.node is None
    assert torch.equal(value.data, x**3 * y**2)
    parameter = torch.nn.Parameter(y.clone())
    with ts.Grad() as g:
        value = own(x, parameter)
    torch.testing.assert_close(g.gradient(value, parameter).data, (2 * x**3 * y).sum(0))


def doubled_square(intermediate: Any) -> Any:
    """pytorch#58509: (2 x) ** 2, whose backward uses 2 x; `intermediate` is how fwd computes that."""
    return ts.primitive(lambda x: (2 * x) ** 2).defvjp(
        lambda x: ((2 * x) ** 2, intermediate(x)), lambda g, doubled: (4 * g * doubled,)
    )


OFF_GRAPH = {
    "numpy()": lambda x: torch.from_numpy(x.numpy() * 2),
    "tolist()": lambda x: 2 * torch.tensor(x.tolist(), dtype=torch.float64),
    "item()": lambda x: torch.stack([torch.tensor(2 * each.item(), dtype=torch.float64) for each in x]),
    "float()": lambda x: torch.tensor([2 * float(each) for each in x], dtype=torch.float64),
    "tensorad.tensor()": lambda x: 2 * ts.tensor(x) if isinstance(x, Tensor) else 2 * x,
}


def test_an_intermediate_of_torch_functions_is_right_at_every_order() -> None:
    x = ts.tensor(rand(3))
    values = derivatives(lambda: doubled_square(lambda x: 2 * x)(x), x, 3)[1:]
    torch.testing.assert_close(values[0].data, 8 * x.data)
    assert [each.tolist() for each in values[1:]] == [[8, 8, 8], [0, 0, 0]]


@pytest.mark.parametrize("how", OFF_GRAPH)
def test_an_intermediate_off_the_graph_raises_at_the_second_order_only(how: str) -> None:
    p, x = doubled_square(OFF_GRAPH[how]), ts.tensor(rand(3))
    with ts.Grad() as g2:
        with ts.Grad() as g:
            y = p(x)
            inside = g.gradient(y, x)  # recorded by g itself, and never differentiated
        dx = g.gradient(y, x)
        mixed = (dx * x).sum()
    for first in (inside, dx, g.gradient(y, x)):
        torch.testing.assert_close(first.data, 8 * x.data)
    words = rf"computed off the graph, by {how.replace('()', '')}\(\) at test_primitive.py:\d+ \('.*x"
    with pytest.raises(ts.RuleError, match=words):
        g2.gradient(dx, x)
    with pytest.raises(ts.RuleError, match="cannot be differentiated again"):
        g2.gradient(mixed, x)


def test_numbers_of_constants_and_constants_on_purpose_do_not_raise() -> None:
    def fwd(x: Any, scale: Any) -> Any:
        return scale * x**2, (x, float(scale), ts.stop_gradient(x.max()) if isinstance(x, Tensor) else x.max())

    p = ts.primitive(lambda x, scale: scale * x**2)
    p.defvjp(fwd, lambda g, residuals: (2 * g * residuals[1] * residuals[0] + 0 * residuals[2], None))
    x = ts.tensor(rand(3))
    for scale in (ts.tensor(2.0), torch.tensor(2.0), 2.0):
        _, dx, d2x = derivatives(lambda scale=scale: p(x, scale), x, 2)
        torch.testing.assert_close(dx.data, 4 * x.data)
        assert d2x.tolist() == [4, 4, 4]


def test_a_residual_that_is_no_tensor_is_told_by_why() -> None:
    p, x = doubled_square(lambda x: (x.data if isinstance(x, Tensor) else x) * 2), ts.tensor(rand(3))
    with ts.Grad() as g2:
        with ts.Grad() as g:
            y = p(x)
        dx = g.gradient(y, x)
    assert g2.gradient(dx, x, unconnected="zero").tolist() == [0, 0, 0]
    assert "residual 0 of <lambda> at test_primitive.py" in g2.why(dx, x)


def test_of_several_numbers_the_one_at_fault_is_named() -> None:
    def fwd(x: Any, scale: Any) -> Any:
        number = float(scale)
        return x**2 * number, (x.tolist(), number)

    p = ts.primitive(lambda x, scale: x**2 * scale)
    p.defvjp(fwd, lambda g, residuals: (2 * g * g.new_tensor(residuals[0]) * residuals[1], None))
    x, scale = ts.tensor(rand(3)), ts.tensor(2.0)
    with ts.Grad() as g2:
        with ts.Grad() as g:
            y = p(x, scale)
        dx = g.gradient(y, x)
    with pytest.raises(ts.RuleError, match=r"by tolist\(\) at"):
        g2.gradient(dx, x)
    with pytest.raises(ts.RuleError, match=r"by float\(\) at"):
        g2.gradient(dx, scale)
