"""Pooling against torch.autograd: averages, maxima, and the way back, with every option."""

from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, rand
from torch.nn import functional

import tensorad as ts

AVERAGES = """
functional.avg_pool1d(x, 2)                                         | 2,3,7 ; 3,7 ; 0,3,7
functional.avg_pool1d(x, (3,), stride=(2,), padding=(1,), ceil_mode=True, count_include_pad=False)  | 2,3,8 ; 3,7
torch.avg_pool1d(x, 3, 1, 1)                                        | 2,3,5
functional.avg_pool2d(x, 2)                                         | 2,3,5,4 ; 3,5,4 ; 0,3,5,4
functional.avg_pool2d(x, (3, 2), stride=2, padding=1)               | 2,3,6,5
functional.avg_pool2d(x, 3, 2, 1, True, False)                      | 2,3,6,5
functional.avg_pool2d(x, 3, stride=1, divisor_override=2)           | 2,3,5,4
functional.avg_pool3d(x, 2)                                         | 2,3,4,5,4 ; 3,4,5,4
functional.avg_pool3d(x, 2, (2, 1, 1), 1, True, False, 3)           | 2,3,4,5,4
functional.adaptive_avg_pool1d(x, 3)                                | 2,3,7 ; 3,7 ; 2,3,2
functional.adaptive_avg_pool1d(x, 1)                                | 2,3,7
functional.adaptive_avg_pool2d(x, 3)                                | 2,3,7,5 ; 3,7,5 ; 0,3,7,5
functional.adaptive_avg_pool2d(x, (None, 2))                        | 2,3,4,5
functional.adaptive_avg_pool2d(x, 1)                                | 2,3,4,5 ; 3,4,5
functional.adaptive_avg_pool3d(x, (2, None, 3))                     | 2,3,4,3,5 ; 3,4,3,5
functional.adaptive_avg_pool3d(x, output_size=1)                    | 2,3,4,3,5
functional.lp_pool1d(x + 2, 2, 3)                                   | 2,3,7 ; 3,7
functional.lp_pool1d(x, 3, 2, 1, True)                              | 2,3,7
functional.lp_pool2d(x + 2, 2.5, 2)                                 | 2,3,5,4
functional.lp_pool2d(x, float("inf"), 2)                            | 2,3,5,4
functional.lp_pool3d(x, 2, 2, stride=1)                             | 1,2,3,4,3
"""
MAXIMA = """
functional.max_pool1d(x, 2)                                         | 2,3,7 ; 3,7
torch.max_pool1d(x, 3, 2, 1, 2, True)                               | 2,3,9
functional.max_pool1d(x, (3,), stride=(1,), padding=(1,))           | 2,3,6
functional.max_pool2d(x, 2)                                         | 2,3,5,4 ; 3,5,4 ; 0,3,5,4
functional.max_pool2d(x, (3, 2), 2, 1, ceil_mode=True)              | 2,3,6,5
functional.max_pool2d(x, 2, stride=1, dilation=(2, 1))              | 2,3,6,5
torch.max_pool2d(x, 3, 1)                                           | 2,3,6,5
functional.max_pool3d(x, 2)                                         | 2,2,4,5,4 ; 2,4,5,4
functional.max_pool3d(x, 2, 1, 1, (1, 2, 1), True)                  | 1,2,4,5,4
functional.max_pool1d(x, 3, 2, return_indices=True)[0]              | 2,3,7 ; 3,7
functional.max_pool2d(x, 3, 2, 1, return_indices=True)[0]           | 2,3,6,5
functional.max_pool3d(x, 2, None, return_indices=True)[0]           | 2,2,4,5,4
functional.max_pool2d_with_indices(x, 3, 2)[0]                      | 2,3,6,5
torch.max_pool1d_with_indices(x, 3)[0]                              | 2,3,7
functional.adaptive_max_pool1d(x, 3)                                | 2,3,7 ; 3,7
torch.adaptive_max_pool1d(x, (2,))[0]                               | 2,3,7
functional.adaptive_max_pool2d(x, (2, None))                        | 2,3,5,4 ; 3,5,4
functional.adaptive_max_pool2d(x, 3, return_indices=True)[0]        | 2,3,5,4
functional.adaptive_max_pool3d(x, 2)                                | 2,3,3,5,4 ; 3,3,5,4
functional.adaptive_max_pool3d(x, (1, 2, None), True)[0]            | 2,3,3,5,4
functional.fractional_max_pool2d(x, 2, output_size=3, _random_samples=s2)           | 2,3,7,6
functional.fractional_max_pool2d(x, (2, 3), output_ratio=(0.5, 0.5), _random_samples=s2)   | 2,3,7,6
functional.fractional_max_pool3d(x, 2, output_size=(2, 3, 2), _random_samples=s3)   | 2,3,5,6,4
functional.fractional_max_pool3d(x, 2, 2, None, True, s3)[0]                        | 2,3,5,6,4
"""


@pytest.mark.parametrize(("expression", "shapes"), cases(AVERAGES) + cases(MAXIMA))
def test_pooling(expression: str, shapes: Any) -> None:
    samples = {f"s{count}": rand(2, 3, count, low=0, seed=3) for count in (2, 3)}
    agree(bent(expression, "x", **samples), rand(*shapes[0]))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_third_order(count: int) -> None:
    x = rand(1, 2, *[6, 5, 4][:count])
    for name, size in ("avg_pool", 2), ("max_pool", 2), ("adaptive_avg_pool", 3), ("adaptive_max_pool", 3):
        agree(bent(f"functional.{name}{count}d(x, {size})", "x"), x, order=3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_indices_are_torchs(count: int) -> None:
    x = rand(2, 3, *[7, 6, 5][:count])
    for name in "max_pool", "adaptive_max_pool":
        function = getattr(functional, f"{name}{count}d")
        values, indices = function(ts.tensor(x), 2, return_indices=True)
        expected = function(x, 2, return_indices=True)
        assert torch.equal(values.data, expected[0])
        assert torch.equal(indices.data, expected[1])


def test_windows_are_drawn_as_torch_draws_them() -> None:
    x = rand(2, 3, 9, 9)
    torch.manual_seed(1)
    expected = functional.fractional_max_pool2d(x, 2, output_size=4)
    torch.manual_seed(1)
    assert torch.equal(functional.fractional_max_pool2d(ts.tensor(x), 2, output_size=4).data, expected)


def pulled(function: Any, values: list[float]) -> Any:
    """The gradient of the sum of what `function` makes of a row."""
    x = ts.tensor([[values]], dtype=torch.float64)
    with ts.Grad() as g:
        y = function(x).sum()
    return g.gradient(y, x)[0, 0].tolist()


def test_of_equal_maxima_the_one_that_the_index_names_gets_it() -> None:
    assert pulled(lambda x: functional.max_pool1d(x, 2), [1, 1, 0, 0]) == [1, 0, 1, 0]
    assert pulled(lambda x: functional.adaptive_max_pool1d(x, 2), [1, 1, 0, 0]) == [1, 0, 1, 0]


def test_a_maximum_of_windows_that_overlap_gets_the_sum() -> None:
    assert pulled(lambda x: functional.max_pool1d(x, 2, 1), [0, 3, 1]) == [0, 2, 0]


def test_the_norm_of_a_window_of_zeros_has_gradient_zero() -> None:
    gradient = pulled(lambda x: functional.lp_pool1d(x, 2, 2), [0, 0, 3, 4])
    assert gradient == pytest.approx([0, 0, 0.6, 0.8])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_way_back_from_maxima(count: int) -> None:
    shape = [6, 4, 4][:count]
    unpool = getattr(functional, f"max_unpool{count}d")
    _, indices = getattr(functional, f"max_pool{count}d")(rand(2, 3, *shape), 2, return_indices=True)

    def back(x: Any) -> Any:
        return unpool(x.sin(), indices, 2, output_size=shape).sin()

    agree(back, rand(*indices.shape, seed=1), order=3)
    agree(bent("unpool(x[0], indices[0], 2)", "x", unpool=unpool, indices=indices), rand(*indices.shape))


def test_a_place_that_several_maxima_share() -> None:
    """Star: torch sends the cotangent to each of them, and a change of x to its place twice, where it arrives once."""

    def there_and_back(x: Any) -> Any:
        return functional.max_unpool1d(*functional.max_pool1d(x, 2, 1, return_indices=True), 2, 1)

    assert pulled(there_and_back, [0, 3, 1]) == [0, 1, 0]
    source = torch.tensor([[[0.0, 3.0, 1.0]]], requires_grad=True)
    assert torch.autograd.grad(there_and_back(source).sum(), source)[0].tolist() == [[[0, 2, 0]]]
    x, indices = ts.tensor([[[3.0, 3.0, 1.0]]]), torch.tensor([[[1, 1, 0]]])
    with ts.Grad() as outer:
        with ts.Grad() as g:
            y = (functional.max_unpool1d(x, indices, 1) ** 2).sum()
        first = g.gradient(y, x)
        total = first.sum()
    assert first.tolist() == [[[3, 3, 2]]]
    assert outer.gradient(total, x).tolist() == [[[1, 1, 2]]]


def test_torchs_own_backward_functions() -> None:
    back = torch.ops.aten
    x, indices = rand(1, 2, 4, 4), functional.max_pool2d(rand(1, 2, 4, 4), 2, return_indices=True)[1]
    options = [2, 2], [2, 2], [0, 0]
    for function in (
        lambda g: back.max_pool2d_with_indices_backward(g, x, *options, [1, 1], False, indices),
        lambda g: back.avg_pool2d_backward(g, x, *options, False, True, None),
        lambda g: back._adaptive_avg_pool2d_backward(g, x),
        lambda g: back.adaptive_max_pool2d_backward(g, x, indices),
    ):
        agree(lambda g, function=function: function(g.sin()).sin(), rand(1, 2, 2, 2))


def test_only_indices_are_kept() -> None:
    x = ts.tensor(rand(1, 1, 4, 4))
    with ts.Grad():
        y = functional.max_pool2d(x, 2)
        z = functional.avg_pool2d(x, 2)
    saved = [value for each in (y, z) for value in each.node.saved if isinstance(value, torch.Tensor)]
    assert [value.dtype for value in saved] == [torch.int64]


def test_integers_have_maxima_but_no_gradient() -> None:
    with ts.Grad():
        y = functional.max_pool1d(ts.tensor([[1, 3, 2, 0]]), 2)
    assert y.tolist() == [[3, 2]]
    assert y.node is None


def test_images_with_channels_last() -> None:
    x = rand(2, 3, 5, 4).contiguous(memory_format=torch.channels_last)
    for name in "max_pool2d", "avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool2d":
        agree(bent(f"functional.{name}(x, 2)", "x"), x)


def test_wrong_options_raise_what_torch_raises() -> None:
    with pytest.raises(RuntimeError, match="stride"):
        functional.max_pool2d(ts.tensor(rand(1, 1, 4, 4)), 2, 0)
    with pytest.raises(RuntimeError, match="pad"):
        functional.avg_pool2d(ts.tensor(rand(1, 1, 4, 4)), 2, 2, 3)
