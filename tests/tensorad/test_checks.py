"""Grad(check="nan"), masked gradients, and what both cost when they are off."""

from typing import Any

import pytest
import torch
from oracle import agree, rand

import tensorad as ts


def test_the_first_op_forward() -> None:
    x = ts.tensor([1.0, -1.0, 4.0])
    where = r"sqrt at test_checks.py:\d+ \('.*x.sqrt\(\).*'\) made a NaN in 1 of 3 entries: \[1\], where input is -1"
    with ts.Grad(check="nan"), pytest.raises(ts.NonFiniteError, match=f"{where}, in the forward pass"):
        x.sqrt().log()


def test_an_infinity_too() -> None:
    with pytest.raises(FloatingPointError, match=r"log .* made an infinity, where input is 0"), ts.Grad(check="nan"):
        ts.tensor(0.0).log()


def test_the_first_rule_backward_with_the_line_of_its_op() -> None:
    x = ts.tensor([1.0, 0.0, 4.0])
    with ts.Grad(check="nan") as g:
        y = x.sqrt()
        z = (y * 3).sum()
    rule = r"the rule of sqrt at .*'y = x.sqrt\(\)'.*made an infinity in 1 of 3 entries: \[1\]"
    where = "where the cotangent g is 3 and out is 0, in the backward pass of order 1"
    with pytest.raises(ts.NonFiniteError, match=f"{rule}, {where}"):
        g.gradient(z, x)


def test_the_order_is_told() -> None:
    x = ts.tensor([1.0, 0.0])
    contexts = [ts.Grad(check="nan") for _ in range(3)]
    with contexts[2], contexts[1], contexts[0]:
        level = (x**2.5).sum()
        level = contexts[0].gradient(level, x)
        level = contexts[1].gradient(level, x)
        with pytest.raises(ts.NonFiniteError, match=r"backward pass of order 3"):
            contexts[2].gradient(level, x)


def test_a_gradient_of_an_inner_context_is_watched_by_the_outer_one() -> None:
    x = ts.tensor(0.0)
    with ts.Grad(check="nan"), ts.Grad() as inner:
        y = x.sqrt()
        with pytest.raises(ts.NonFiniteError, match=r"the rule of sqrt .* backward pass of order 1"):
            inner.gradient(y, x)


def test_what_only_hands_it_on_is_not_to_blame() -> None:
    x = ts.tensor([1.0, 2.0, float("nan")])
    with ts.Grad(check="nan") as g:
        masked = x[:2].masked_fill(ts.tensor([False, True]), float("-inf"))
        y = masked.softmax(0).sum() + (x * 2).sum() + torch.full((2,), float("inf")).sum()
    assert g.gradient(y, x).tolist()[:2] == [2, 2]


def test_a_nan_of_infinities_is_made_there() -> None:
    x = ts.tensor([1.0, 2.0])
    with pytest.raises(ts.NonFiniteError, match=r"softmax .* made a NaN in 2 of 2 entries"), ts.Grad(check="nan"):
        x.masked_fill(x > 0, float("-inf")).softmax(0)


def test_ops_with_several_outputs_and_jacobians() -> None:
    x = ts.tensor([4.0, 0.0])
    with ts.Grad(check="nan") as g:
        low, high = x.sqrt().split(1)
        y = torch.cat([high, low])
    with pytest.raises(ts.NonFiniteError, match="the rule of sqrt"):
        g.jacobian(y, x)
    matrix = ts.tensor([[1.0, 0.0], [0.0, 1.0]])
    with ts.Grad(check="nan") as g:
        left = torch.linalg.svd(matrix)[0]
    with pytest.raises(ts.NonFiniteError, match=r"the rule of linalg.svd"):
        g.gradient(left, matrix, cotangent=torch.tensor([[0.0, 1.0], [2.0, 0.0]]))


def test_all_is_well_where_all_is_finite() -> None:
    x = ts.tensor(rand(3))
    with ts.Grad() as plain:
        y = (x.exp() * x).sum()
    with ts.Grad(check="nan") as g:
        y2 = (x.exp() * x).sum()
    assert torch.equal(g.gradient(y2, x).data, plain.gradient(y, x).data)


def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(ts.ArgumentError, match="check is one of 'nan'"):
        ts.Grad(check="everything")


def test_off_it_is_not_there() -> None:
    assert ts.Grad().watchers == ()


WHERE: list[Any] = [
    lambda x: torch.where(x > 0, x.log(), 0.0),
    lambda x: torch.where(x > 0, x.sqrt() * x.log(), x),
    lambda x: torch.where(x > 0, torch.logdet(x.reshape(1, 1)), 0.0),
    lambda x: torch.where(x > 0, (1 / x).sum(), x),
]


@pytest.mark.parametrize("number", range(len(WHERE)))
def test_a_masked_gradient_stops_at_zeros(number: int) -> None:
    x = ts.tensor(0.0)
    with ts.Grad() as g:
        y = WHERE[number](x)
    assert torch.isnan(g.gradient(y, x).data)
    assert g.gradient(y, x, masked=True).item() in (0, 1)
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            y = WHERE[number](x)
        dx = inner.gradient(y, x, masked=True)
    assert outer.gradient(dx, x, masked=True).item() == 0


def test_where_nothing_is_zero_a_masked_gradient_is_the_gradient() -> None:
    x = ts.tensor(rand(3, 4, low=0.1))
    with ts.Grad() as g:
        low, high = torch.split(x, [1, 2])
        y = (torch.cat([low.log() * high, high.exp()]) @ rand(4, 2)).std()
    torch.testing.assert_close(g.gradient(y, x, masked=True).data, g.gradient(y, x).data)
    agree(lambda x: x.log().sum(), rand(3, low=0.1))


def test_the_third_order_is_told_where_only_the_argument_is_saved() -> None:
    x = ts.tensor(0.0)
    contexts = [ts.Grad(check="nan") for _ in range(3)]
    with contexts[2], contexts[1], contexts[0]:
        level = contexts[1].gradient(contexts[0].gradient(x**2.5, x), x)
        with pytest.raises(ts.NonFiniteError, match=r"backward pass of order 3"):
            contexts[2].gradient(level, x)


@pytest.mark.parametrize(
    ("values", "f", "words"),
    [
        ([float("nan"), -1.0], torch.log, r"log .*a NaN in 1 of 2 entries: \[1\]"),
        ([-float("inf"), 0.0], torch.reciprocal, r"reciprocal .*an infinity in 1 of 2 entries: \[1\]"),
        ([-float("inf"), 1000.0], torch.exp, r"exp .*an infinity in 1 of 2 entries: \[1\]"),
    ],
)
def test_what_is_not_finite_already_hides_no_other_entry(values: list[float], f: Any, words: str) -> None:
    with pytest.raises(ts.NonFiniteError, match=words), ts.Grad(check="nan"):
        f(ts.tensor(values))


def test_forward_mode_is_watched_and_names_the_line_of_the_op() -> None:
    with pytest.raises(ts.NonFiniteError, match=r"tangent of sqrt at test_checks.py:\d+ .*forward mode"):
        with ts.Grad(check="nan"):
            ts.jvp(lambda x: torch.sqrt(x), (ts.tensor(0.0),), (1.0,))


def test_ops_that_forward_mode_records_belong_to_the_line_of_the_op() -> None:
    x = ts.tensor(0.5)
    with ts.Grad() as g:
        y = ts.jvp(lambda x: torch.sin(x), (x,), (1.0,))[1]
    assert "<string>" not in g.why(y, x)
    assert "cos at test_checks.py" in g.why(y, x)
