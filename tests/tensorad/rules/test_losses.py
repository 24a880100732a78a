"""Losses against torch.autograd, in every reduction, weight and shape, and by differences where it has no rule."""

import functools
from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, by_torch, rand, slope
from torch.nn import functional

import tensorad as ts

REDUCTIONS = "none", "mean", "sum"
# `r` is each reduction in turn; x is in (-2, 2), y in (0, 1), w in (0.5, 1.5), s is a sign.
OF_TWO = """
functional.mse_loss(x, y, reduction=r)                          | 3,4 & 3,4 ; & ; 0,2 & 0,2
functional.mse_loss(x, y, reduction=r, weight=w)                | 3,4 & 3,4
functional.l1_loss(x, y, reduction=r)                           | 3,4 & 3,4 ; &
functional.smooth_l1_loss(x, y, reduction=r)                    | 3,4 & 3,4 ; &
functional.smooth_l1_loss(x, y, reduction=r, beta=0.5)          | 3,4 & 3,4
functional.smooth_l1_loss(x, y, reduction=r, beta=0.0)          | 3,4 & 3,4
functional.huber_loss(x, y, reduction=r)                        | 3,4 & 3,4
functional.huber_loss(x, y, reduction=r, delta=0.5)             | 3,4 & 3,4
functional.huber_loss(x, y, reduction=r, weight=w)              | 3,4 & 3,4
functional.binary_cross_entropy(x.sigmoid(), y, reduction=r)    | 3,4 & 3,4 ; & ; 0,2 & 0,2
functional.binary_cross_entropy(x.sigmoid(), y, w, reduction=r) | 3,4 & 3,4
functional.binary_cross_entropy_with_logits(x, y, reduction=r)  | 3,4 & 3,4 ; & ; 0,2 & 0,2
functional.binary_cross_entropy_with_logits(x, y, weight=w, reduction=r)                   | 3,4 & 3,4
functional.binary_cross_entropy_with_logits(x, y, reduction=r, pos_weight=w[0])            | 3,4 & 3,4
functional.binary_cross_entropy_with_logits(x, y, weight=w, reduction=r, pos_weight=w)     | 3,4 & 3,4
functional.kl_div(x, y, reduction=r)                            | 3,4 & 3,4
functional.kl_div(x, y, reduction='batchmean')                  | 3,4 & 3,4
functional.kl_div(x, y, reduction=r, log_target=True)           | 3,4 & 3,4
functional.poisson_nll_loss(x, y, reduction=r)                  | 3,4 & 3,4
functional.poisson_nll_loss(x, 3 * y, full=True, reduction=r)   | 3,4 & 3,4
functional.poisson_nll_loss(x.exp(), y, log_input=False, eps=0.1, reduction=r)  | 3,4 & 3,4
functional.gaussian_nll_loss(x, y, w, reduction=r)              | 3,4 & 3,4
functional.gaussian_nll_loss(x, y, 0.7, full=True, reduction=r) | 3,4 & 3,4
functional.gaussian_nll_loss(x, y, w[:, 0], eps=1.0, reduction=r)       | 3,4 & 3,4
functional.soft_margin_loss(x, s, reduction=r) + 0 * y          | 3,4 & 3,4
functional.multilabel_soft_margin_loss(x, y, reduction=r)       | 3,4 & 3,4
functional.multilabel_soft_margin_loss(x, y, w, reduction=r)    | 3,4 & 3,4
functional.margin_ranking_loss(x, y, s, reduction=r)            | 3,4 & 3,4
functional.margin_ranking_loss(x, y, s, 0.5, reduction=r)       | 3,4 & 3,4
functional.hinge_embedding_loss(x + y, s, reduction=r)          | 3,4 & 3,4
functional.hinge_embedding_loss(x + y, s, margin=0.3, reduction=r)      | 3,4 & 3,4
functional.cosine_embedding_loss(x, y, s[:, 0], reduction=r)    | 3,4 & 3,4
functional.cosine_embedding_loss(x, y, s[:, 0], 0.2, reduction=r)       | 3,4 & 3,4
functional.cosine_embedding_loss(x, y, s[0], reduction=r)       | 4 & 4
functional.triplet_margin_loss(x, y, x * y, reduction=r)        | 3,4 & 3,4
functional.triplet_margin_loss(x, y, x * y, margin=2.0, p=3, swap=True, reduction=r)     | 3,4 & 3,4
functional.mse_loss(x, y, size_average=False)                   | 3,4 & 3,4
functional.cross_entropy(x, y.softmax(-1), reduction=r)         | 4 & 4
functional.cross_entropy(x, y, reduction=r)                     | 3,4 & 3,4 ; 3,4,2 & 3,4,2 ; 2,4,3,2 & 2,4,3,2
functional.cross_entropy(x, y, torch.arange(4.0), reduction=r)  | 3,4 & 3,4 ; 2,4,3,2 & 2,4,3,2
functional.cross_entropy(x, y, reduction=r, label_smoothing=0.2)        | 3,4 & 3,4
functional.cross_entropy(x, y, torch.arange(4.0), reduction=r, label_smoothing=0.2)      | 3,4 & 3,4
"""
MAY_WARN = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides", "ignore:size_average and reduce args")


@MAY_WARN
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("expression", "shapes"), cases(OF_TWO))
def test_of_two(expression: str, shapes: Any, reduction: str) -> None:
    first, second = shapes
    sign = torch.where(rand(*first, seed=3) > 0, 1.0, -1.0).double()
    function = bent(
        expression.replace("arange(4.0)", "arange(4.0).double()"),
        "xy",
        r=reduction,
        w=rand(*first, low=0.5, high=1.5, seed=2),
        s=sign,
    )
    agree(function, rand(*first, low=-2, high=2), rand(*second, low=0.05, high=0.95, seed=1), rtol=1e-8)


CLASSES = """
functional.cross_entropy(x, t, reduction=r)
functional.cross_entropy(x, t, w, reduction=r)
functional.cross_entropy(x, target=t, weight=w, reduction=r, ignore_index=1)
functional.cross_entropy(x, t, reduction=r, label_smoothing=0.3)
functional.cross_entropy(x, t, w, reduction=r, label_smoothing=0.3, ignore_index=1)
functional.nll_loss(x, t, reduction=r)
functional.nll_loss(x, t, w, reduction=r, ignore_index=1)
functional.nll_loss(x, target=t, weight=w, reduction=r)
"""


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(4,), (5, 4), (5, 4, 2), (2, 4, 3, 2), (2, 4, 2, 1, 3), (0, 4)], ids=str)
@pytest.mark.parametrize("expression", CLASSES.strip().splitlines())
def test_of_classes(expression: str, shape: Any, reduction: str) -> None:
    sizes = shape[:1] + shape[2:] if len(shape) > 1 else ()
    target = torch.randint(0, 4, sizes, generator=torch.Generator().manual_seed(2))
    weight = rand(4, low=0.5, high=1.5, seed=1)
    agree(bent(expression, "x", t=target, w=weight, r=reduction), rand(*shape, low=-2, high=2))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_targets_and_weights_may_be_tensors(name: str, reduction: str) -> None:
    """Weights are differentiated by, too, which torch refuses to do."""
    x, weight, target = rand(5, 3), rand(3, low=0.5, high=1.5, seed=1), torch.tensor([0, 2, 1, 2, 2])

    def function(x: Any, weight: Any) -> Any:
        wrapped = ts.tensor(target) if isinstance(x, ts.Tensor) else target
        return getattr(functional, name)(x, wrapped, weight, reduction=reduction, ignore_index=1)

    [value], [[by_x, by_weight]] = by_tensorad(function, [x, weight])
    torch.testing.assert_close(value, function(x, weight))
    directions = [rand(5, 3, seed=5), rand(3, seed=6)]
    expected = slope(function, [x, weight], directions)
    found = (by_x * directions[0]).sum() + (by_weight * directions[1]).sum()
    assert found.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["mse_loss", "cross_entropy", "huber_loss"])
def test_third_order(name: str) -> None:
    target = torch.tensor([0, 2]) if name == "cross_entropy" else rand(2, 3, seed=1)
    agree(lambda x: getattr(functional, name)(x, target).exp(), rand(2, 3), order=3)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_broadcast_targets(name: str) -> None:
    x, y = rand(3, 1), rand(1, 4, seed=1)
    function = getattr(functional, name)
    with pytest.warns(UserWarning, match="target size"):
        _, ours = by_tensorad(function, [x, y])
    with pytest.warns(UserWarning, match="target size"):
        _, torchs = by_torch(function, [x, y])
    for one, other in zip(ours[0], torchs[0], strict=True):
        torch.testing.assert_close(one, other)


def gradient(function: Any, *points: float) -> list[float]:
    x = ts.tensor(points, dtype=torch.float64)
    with ts.Grad() as g:
        y = function(x)
    return g.gradient(y, x).tolist()


def test_corners() -> None:
    """Where two pieces meet, torch's side; and no NaN where a probability is 0 or 1."""
    zero = torch.zeros(3, dtype=torch.float64)
    assert gradient(lambda x: functional.l1_loss(x, zero, reduction="sum"), -1, 0, 1) == [-1, 0, 1]
    assert gradient(lambda x: functional.smooth_l1_loss(x, zero, reduction="sum"), -1, 0, 1) == [-1, 0, 1]
    assert gradient(lambda x: functional.huber_loss(x, zero, reduction="sum"), -1, 0, 1) == [-1, 0, 1]
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert gradient(lambda x: functional.binary_cross_entropy(x, ends, reduction="sum"), 0, 1) == [0, 0]
    assert gradient(lambda x: functional.binary_cross_entropy(x, 1 - ends, reduction="sum"), 0, 1) == [-1e12, 1e12]
    far = gradient(lambda x: functional.binary_cross_entropy_with_logits(x, ends, reduction="sum"), -1000, 1000)
    assert far == [0, 0]
    assert gradient(lambda x: functional.soft_margin_loss(x, 1 - 2 * ends, reduction="sum"), 1000, 1000) == [0, 1]


def test_cross_entropy_is_the_softmax_less_one_at_the_class() -> None:
    x = ts.tensor([1.0, 2.0, 3.0])
    with ts.Grad() as g:
        loss = functional.cross_entropy(x, torch.tensor(2))
    expected = x.data.softmax(0) - torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(g.gradient(loss, x).data, expected)


def test_cross_entropy_with_a_class_that_cannot_be() -> None:
    found = gradient(lambda x: functional.cross_entropy(x, torch.tensor(0)), 0, -float("inf"))
    assert found == [0, 0]


def test_a_loss_of_nothing_is_nan_without_an_error() -> None:
    x = ts.tensor(torch.zeros(2, 3))
    with ts.Grad() as g:
        loss = functional.cross_entropy(x, torch.tensor([-100, -100]))
    assert loss.data.isnan()
    assert g.gradient(loss, x).shape == (2, 3)


def test_losses_under_their_own_names() -> None:
    x, y = ts.tensor(rand(2, 3)), rand(2, 3, seed=1)
    assert torch.equal(ts.mse_loss(x, y).data, functional.mse_loss(x.data, y))
    weighted = (x.data - y).abs() * y.exp()
    assert torch.equal(ts.l1_loss(x, y, weight=y.exp()).data, weighted.sum() / y.exp().sum())
    assert torch.equal(
        ts.cross_entropy(x, torch.tensor([0, 1])).data, functional.cross_entropy(x.data, torch.tensor([0, 1]))
    )


def test_wrong_arguments() -> None:
    x = ts.tensor(rand(2, 3))
    with pytest.raises(ValueError, match="not a valid value for reduction"):
        functional.mse_loss(x, x, reduction="average")
    with pytest.raises(ts.ArgumentError, match="reduction must be"):
        functional.hinge_embedding_loss(x, torch.ones(2, 3), reduction="average")
    with pytest.raises(ts.ArgumentError, match="variance"):
        functional.gaussian_nll_loss(x, x, -torch.ones(2, 3))
    with pytest.raises(ts.ShapeError, match="var"):
        functional.gaussian_nll_loss(x, x, torch.ones(3))
    for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits"):
        with pytest.raises(ts.ShapeError, match="must agree"):
            getattr(functional, name)(x, torch.ones(3))


def agree_with_differences(function: Any, x: Any) -> None:
    """torch has no second derivative here: the second order is compared with differences of torch's first."""

    def first(x: Any) -> Any:
        return by_torch(function, [x])[1][0][0]

    direction = rand(*x.shape, seed=11)
    found = by_tensorad(function, [x], 2)[1][1][0]
    assert (found * direction).sum().item() == pytest.approx(slope(first, [x], [direction]), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("weight", [None, rand(5, low=0.5, high=1.5, seed=1)], ids=["alike", "weighted"])
def test_multi_margin_loss(p: int, weight: Any, reduction: str) -> None:
    target = torch.tensor([0, 2, 4, 1])
    options = {"p": p, "margin": 0.7, "weight": weight, "reduction": reduction}
    rows = bent("functional.multi_margin_loss(x, t, **options)", "x", t=target, options=options)
    row = bent("functional.multi_margin_loss(x, t, **options)", "x", t=target[1], options=options)
    for function, x in ((rows, rand(4, 5)), (row, rand(5))):
        agree(function, x, order=1)
        agree_with_differences(function, x)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_multilabel_margin_loss(reduction: str) -> None:
    target = torch.tensor([[0, 2, -1, 1, 1], [1, -1, 0, 0, 0], [-1, 0, 0, 0, 0], [0, 1, 2, 3, 4]])
    rows = bent("functional.multilabel_margin_loss(x, t, reduction=r)", "x", t=target, r=reduction)
    row = bent("functional.multilabel_margin_loss(x, t, reduction=r)", "x", t=target[0], r=reduction)
    for function, x in ((rows, rand(4, 5)), (row, rand(5))):
        agree(function, x, order=1)
        agree_with_differences(function, x)


SPEECH = """
functional.ctc_loss(x, torch.tensor([[1, 2, 3], [1, 1, 4]]), (6, 5), (3, 2), reduction=r)
functional.ctc_loss(x, torch.tensor([[1, 2, 3], [1, 1, 4]]), torch.tensor([6, 5]), torch.tensor([3, 2]), reduction=r)
functional.ctc_loss(x, torch.tensor([1, 2, 1, 1]), (6, 5), (2, 2), reduction=r)
functional.ctc_loss(x, torch.tensor([1, 1, 1, 1]), (6, 2), (2, 2), reduction=r, zero_infinity=True)
functional.ctc_loss(x, torch.tensor([1, 1, 2]), (6, 6), (3, 0), blank=4, reduction=r)
functional.ctc_loss(x[:, 0], torch.tensor([1, 2]), torch.tensor(6), torch.tensor(2), reduction=r)
"""


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("expression", SPEECH.strip().splitlines())
def test_ctc_loss(expression: str, reduction: str) -> None:
    after_softmax = bent(expression.replace("x", "x.log_softmax(-1)", 1), "x", r=reduction)
    agree(after_softmax, rand(6, 2, 5), order=1)
    agree_with_differences(after_softmax, rand(6, 2, 5))


def test_ctc_loss_by_what_are_not_logarithms_of_a_softmax() -> None:
    """torch's own gradient is right only behind a log_softmax: it adds exp(log_probs)."""
    function = bent("functional.ctc_loss(x, torch.tensor([[1, 2], [1, 1]]), (6, 5), (2, 2))", "x")
    x, direction = rand(6, 2, 5, low=-2), rand(6, 2, 5, seed=1)
    found = (by_tensorad(function, [x])[1][0][0] * direction).sum().item()
    wrong = (by_torch(function, [x])[1][0][0] * direction).sum().item()
    assert found == pytest.approx(slope(function, [x], [direction]), rel=1e-6)
    assert abs(found - wrong) > 0.01


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_linear_cross_entropy_in_chunks_is_that_of_the_whole(reduction: str) -> None:
    """At the second order torch's chunks give zeros, without an error."""
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=2)
    form = "functional.linear_cross_entropy(x, y, t, linear_bias=z, reduction=r, options=o)"
    operands = rand(4, 3), rand(5, 3, seed=1), rand(5, seed=2)
    names = {"t": torch.tensor([0, 2, 4, 1]), "r": reduction}
    chunked, whole = bent(form, o=options, **names), bent(form, o=None, **names)
    agree(whole, *operands)
    _, (first, second) = by_tensorad(chunked, operands, 2)
    torch.testing.assert_close(first, by_torch(chunked, operands)[1][0])
    torch.testing.assert_close([first, second], by_torch(whole, operands, 2)[1])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("swap", [True, False])
def test_triplet_margin_with_distance_loss(reduction: str, swap: bool) -> None:
    form = "functional.triplet_margin_with_distance_loss(x, y, z, distance_function=d, swap=s, reduction=r)"
    operands = rand(3, 4), rand(3, 4, seed=1), rand(3, 4, seed=2)
    for distance in (None, lambda one, other: (one - other).square().sum(-1)):
        agree(bent(form, d=distance, s=swap, r=reduction), *operands)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_torchs_functions_that_take_the_reduction_as_a_number(kind: int) -> None:
    """`torch.kl_div` is not `torch.nn.functional.kl_div`: by default, it reduces nothing."""
    x, y, z = (rand(3, 4, seed=seed, low=0.1) for seed in range(3))
    signs = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    for names, operands in (
        (("kl_div", "hinge_embedding_loss", "binary_cross_entropy_with_logits"), (x, y)),
        (("triplet_margin_loss", "margin_ranking_loss"), (x, y, z)),
        (("cosine_embedding_loss",), (x, y, signs)),
    ):
        for name in names:
            agree(getattr(torch, name), *operands)
            agree(functools.partial(getattr(torch, name), reduction=kind), *operands)


@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 3), (2, 4, 3, 2)])
def test_a_cross_entropy_is_one_op_that_keeps_no_input(shape: Any) -> None:
    """It keeps the logarithms, at which log_softmax has the derivatives that it has at the input: at every order."""
    target = torch.randint(4, (shape[0], *shape[2:]), generator=torch.Generator().manual_seed(0))
    agree(lambda x: functional.cross_entropy(x, target).exp(), rand(*shape, low=2, high=9), order=3)
    x = ts.tensor(rand(*shape))
    with ts.Grad():
        node = functional.cross_entropy(x * 1, target).node
    found = []
    while node.parents:
        found.append(node.op.name)
        assert not any(isinstance(each, torch.Tensor) and torch.equal(each, x.data) for each in node.saved)
        node = node.parents[0]
    assert found[-1] == "mul"
    assert {"log_softmax", "nll_loss"}.isdisjoint(found)
