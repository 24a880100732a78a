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
