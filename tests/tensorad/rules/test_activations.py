"""Activations, dropout and embeddings against torch.autograd, and the activations at their corners."""

import math
from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, rand, slope
from torch.nn import functional

import tensorad as ts

ELEMENTWISE = """
relu | relu6 | leaky_relu | leaky_relu 0.3 | leaky_relu -0.5 | elu | elu 0.7 | elu -0.7 | selu | celu | celu 0.5 | gelu
silu | mish | softplus | softplus 2 | softplus 2 1 | softplus 0.5 1 | softsign | hardtanh | hardtanh -0.5 0.7
hardswish | hardshrink | hardshrink 0.3 | softshrink | softshrink 0.3 | tanhshrink | threshold 0.2 0.5
threshold -0.3 -2 | logsigmoid | rrelu | rrelu 0.2 0.6 | sigmoid | tanh
"""
ELEMENTWISE_CASES = [tuple(row.split()) for row in ELEMENTWISE.replace("\n", "|").split("|") if row.strip()]
NEEDS_NO_TORCH_NN = "relu rrelu celu selu prelu hardshrink threshold sigmoid tanh".split()


@pytest.mark.parametrize("row", ELEMENTWISE_CASES, ids=" ".join)
def test_elementwise(row: tuple[str, ...]) -> None:
    name, numbers = row[0], [float(number) for number in row[1:]]
    for seed, shape in enumerate([(), (7,), (2, 3, 4), (0, 2)]):
        agree(lambda x: getattr(functional, name)(x, *numbers), rand(*shape, low=-4, high=4, seed=seed))
    if name in NEEDS_NO_TORCH_NN:
        agree(lambda x: getattr(torch, name)(x, *numbers), rand(3, low=-4, high=4))
    if hasattr(torch.Tensor, name):
        agree(lambda x: getattr(x, name)(*numbers), rand(3, low=-4, high=4))


SMOOTH = "elu selu celu gelu silu mish softplus softsign tanhshrink logsigmoid".split()


@pytest.mark.parametrize("name", [*SMOOTH, "hardsigmoid"])
def test_elementwise_by_finite_differences(name: str) -> None:
    function, x, direction = getattr(functional, name), rand(9, low=-2.9, high=2.9), rand(9, seed=1)
    _, [[gradient]] = by_tensorad(function, [x])
    assert (gradient * direction).sum().item() == pytest.approx(slope(function, [x], [direction]), rel=1e-6)


@pytest.mark.parametrize("name", SMOOTH)
def test_third_order(name: str) -> None:
    """Torch has third derivatives of these, from formulas of its own."""
    agree(getattr(functional, name), rand(5, low=-3, high=3), order=3, rtol=1e-8)


FAR = [-800.0, -40.0, 40.0, 800.0]


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_ones_far_out(name: str) -> None:
    """No overflow on the side that is not taken turns into a NaN, at any order."""
    _, orders = by_tensorad(getattr(functional, name), [torch.tensor(FAR, dtype=torch.float64)], order=3)
    assert all(gradient.isfinite().all() for [gradient] in orders)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate: str) -> None:
    for shape in [(), (2, 3), (0,)]:
        agree(lambda x: functional.gelu(x, approximate=approximate), rand(*shape, low=-4, high=4), order=3, rtol=1e-8)


def derivatives(function: Any, points: tuple[float, ...]) -> list[list[float]]:
    """First and second derivative at `points`."""
    x = ts.tensor(points, dtype=torch.float64)
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            y = function(x)
        first = inner.gradient(y, x)
    return [first.tolist(), outer.gradient(first, x).tolist()]


@pytest.mark.parametrize(
    ("function", "points", "first", "second"),
    [
        (functional.relu, (0.0,), [0], [0]),
        (functional.relu6, (0.0, 6.0), [0, 0], [0, 0]),
        (functional.hardtanh, (-1.0, 1.0), [0, 0], [0, 0]),
        (functional.elu, (0.0,), [1], [1]),
        (lambda x: functional.elu(x, 2.0), (0.0,), [2], [2]),
        (lambda x: functional.celu(x, 2.0), (0.0,), [1], [0.5]),
        (functional.selu, (0.0,), [1.0507009873554805 * 1.6732632423543772], [1.0507009873554805 * 1.6732632423543772]),
        (functional.leaky_relu, (0.0,), [0.01], [0]),
        (lambda x: functional.prelu(x, torch.tensor([0.3], dtype=torch.float64)), (0.0,), [0.3], [0]),
        (functional.hardswish, (-3.0, 3.0), [0, 1], [0, 0]),
        (functional.hardsigmoid, (-3.0, 0.0, 3.0), [0, 1 / 6, 0], [0, 0, 0]),
        (functional.hardshrink, (-0.5, 0.0, 0.5), [0, 0, 0], [0, 0, 0]),
        (functional.softshrink, (-0.5, 0.0, 0.5), [0, 0, 0], [0, 0, 0]),
        (lambda x: functional.threshold(x, 0.5, 9.0), (0.5,), [0], [0]),
        (lambda x: functional.softplus(x, 1, 3.0), (3.0, 3.1), [1 / (1 + math.exp(-3)), 1], None),
        (functional.softsign, (0.0,), [1], [0]),
        (functional.silu, (0.0,), [0.5], [0.5]),
        (functional.gelu, (0.0,), [0.5], [math.sqrt(2 / math.pi)]),
        (functional.logsigmoid, (0.0,), [0.5], [-0.25]),
    ],
)
def test_corners(function: Any, points: tuple[float, ...], first: list[float], second: list[float] | None) -> None:
    """The rows of CONVENTIONS.md, and torch's side of every other corner."""
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    [torchs] = torch.autograd.grad(function(x).sum(), x)
    found = derivatives(function, points)
    assert found[0] == pytest.approx(first) == torchs.tolist()
    assert second is None or found[1] == pytest.approx(second)


@pytest.mark.parametrize("name", ["relu", "relu6", "elu", "silu", "hardtanh", "leaky_relu", "dropout"])
def test_inplace_gives_the_name_the_new_value(name: str) -> None:
    """What used the old value keeps it; the user's torch tensor is not written to."""
    source = torch.tensor([-2.0, 3.0], dtype=torch.float64)
    x = ts.tensor(source)
    with ts.Grad() as g:
        hidden = x * 2
        kept = hidden * 3
        torch.manual_seed(0)
        out = getattr(functional, name)(hidden, inplace=True)
        total = (kept + hidden).sum()
    assert out is hidden
    torch.manual_seed(0)
    assert torch.equal(hidden.data, getattr(functional, name)(source * 2))
    assert torch.equal(kept.data, source * 6)
    expected = by_torch_sum(name, source)
    torch.testing.assert_close(g.gradient(total, x).data, expected)


def by_torch_sum(name: str, source: Any) -> Any:
    x = source.clone().requires_grad_()
    torch.manual_seed(0)
    return torch.autograd.grad((x * 6 + getattr(functional, name)(x * 2)).sum(), x)[0]


OTHERS = """
functional.glu(x)                           | 4 ; 3,2 ; 2,0
functional.glu(x, dim=0)                    | 4,3
functional.prelu(x, y)                      | 3 & 1 ; 2,3 & 3 ; 2,3 & 1 ; 2,3,4 & 3 ; 2,3,4,2 & 1 ; 0,3 & 3
torch.prelu(x, y)                           | 2,3 & 3
x.prelu(y)                                  | 2,3 & 3
functional.embedding(i, x)                  | 5,2 ; 5,1
functional.embedding(i, x, padding_idx=1)   | 5,2
functional.embedding(i, x, padding_idx=-2)  | 5,2
functional.embedding(i, x, padding_idx=3, sparse=False) | 5,2
functional.embedding(i[0, 0], x)            | 5,2
torch.embedding(x, i)                       | 5,2
"""


@pytest.mark.parametrize(("expression", "shapes"), cases(OTHERS))
def test_others(expression: str, shapes: Any) -> None:
    inputs = [rand(*shape, low=-2, high=2, seed=seed) for seed, shape in enumerate(shapes)]
    agree(bent(expression, "xyz"[: len(shapes)], i=torch.tensor([[1, 3, 1], [0, 3, 3]])), *inputs)


FIRST_ORDER = """
functional.embedding(i, x, scale_grad_by_freq=True)   | 5,2
functional.embedding(i[:0], x)                        | 5,2
"""


@pytest.mark.parametrize(("expression", "shapes"), cases(FIRST_ORDER))
def test_where_torch_has_no_right_second_order(expression: str, shapes: Any) -> None:
    inputs = [rand(*shape, low=-2, high=2, seed=seed) for seed, shape in enumerate(shapes)]
    function = bent(expression, "xy"[: len(shapes)], i=torch.tensor([[1, 3, 1], [0, 3, 3]]))
    agree(function, *inputs, order=1)
    assert all(each.isfinite().all() for each in by_tensorad(function, inputs, 2)[1][1])


def test_embedding_counts_every_use_of_a_row() -> None:
    weight = ts.tensor(rand(3, 2))
    with ts.Grad() as g:
        rows = functional.embedding(torch.tensor([0, 2, 2]), weight)
    assert g.gradient(rows, weight).tolist() == [[1, 1], [0, 0], [2, 2]]
    with ts.Grad() as g:
        rows = functional.embedding(torch.tensor([0, 2, 2]), weight, padding_idx=2)
    assert g.gradient(rows, weight).tolist() == [[1, 1], [0, 0], [0, 0]]


def test_embedding_by_tensors_of_indices() -> None:
    weight = ts.tensor(rand(3, 2))
    assert torch.equal(functional.embedding(ts.tensor([0, 2]), weight).data, weight.data[[0, 2]])


def test_embedding_refuses_to_change_its_weight() -> None:
    with pytest.raises(ts.ArgumentError, match="max_norm"):
        functional.embedding(torch.tensor([0]), ts.tensor(rand(3, 2)), max_norm=1.0)


DROPOUTS = """
functional.dropout(x)                       | 50 ; 3,4 ; 0,3
functional.dropout(x, 0.3)                  | 50
functional.dropout(x, p=0.3, training=False)| 5
functional.dropout(x, 0.0)                  | 5
functional.dropout(x, 1.0)                  | 5
functional.alpha_dropout(x, 0.3, training=True)     | 50
functional.alpha_dropout(x, 0.3)            | 5
functional.dropout1d(x, 0.4)                | 4,5,3 ; 8,3
functional.dropout2d(x, 0.4)                | 4,5,3,2
functional.dropout3d(x, 0.4)                | 4,5,3,2,1 ; 4,3,2,2
functional.feature_alpha_dropout(x, 0.4, training=True) | 4,5,3
torch.dropout(x, 0.3, True)                 | 50
torch.dropout(x, 0.3, train=False)          | 5
torch.feature_dropout(x, 0.3, True)         | 4,5,3
torch.alpha_dropout(x, 0.3, True)           | 50
functional.rrelu(x, 0.1, 0.5, training=True)| 50
"""


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("expression", "shapes"), cases(DROPOUTS))
def test_random_ones_draw_what_torch_draws(expression: str, shapes: Any, dtype: Any) -> None:
    function = bent(expression, "x")

    def seeded(x: Any) -> Any:
        torch.manual_seed(3)
        return function(x), torch.rand(3)[0] * x.sum()  # the stream goes on where torch's does

    def flat(x: Any) -> list[Any]:
        outputs, after = seeded(x)
        return [*outputs, after]

    agree(flat, rand(*shapes[0], dtype=dtype), rtol=1e-5 if dtype == torch.float32 else 1e-9)


def test_dropout_draws_once_for_value_and_gradient() -> None:
    x = ts.tensor(torch.ones(100))
    with ts.Grad() as g:
        y = functional.dropout(x, 0.5)
    assert set(y.tolist()) == {0.0, 2.0}
    assert torch.equal(g.gradient(y, x).data, y.data)


def test_dropout_that_drops_nothing_is_no_op() -> None:
    x = ts.tensor(torch.ones(3))
    assert functional.dropout(x, training=False) is x
    assert functional.dropout(x, 0.0) is x


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_dropout_checks_its_probability(p: float) -> None:
    with pytest.raises(ts.ArgumentError, match="between 0 and 1"):
        functional.dropout(ts.tensor([1.0]), p)


def test_one_hot_is_a_constant() -> None:
    assert functional.one_hot(ts.tensor([0, 2]), 3).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_an_activation_saves_what_the_next_layer_keeps_anyway() -> None:
    x = ts.tensor(rand(4))
    with ts.Grad():
        y = ts.relu(x * 2)
    assert y.node.saved[0] is y.data


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("train", [True, False])
def test_native_dropout(p: float, train: bool) -> None:
    def function(x: Any) -> Any:
        torch.manual_seed(0)
        return torch.native_dropout(x, p, train)[0].sin()

    agree(function, rand(3, 4))


def test_native_dropout_backward() -> None:
    mask = rand(3, 4) > 0
    agree(lambda g: torch.ops.aten.native_dropout_backward(g, mask, 2.0).sin(), rand(3, 4, seed=1))


def test_native_dropout_trains_where_nothing_is_said() -> None:
    """torch scales the values, but not the gradient."""
    x = ts.tensor(torch.ones(8))
    with ts.Grad() as g:
        torch.manual_seed(0)
        y = torch.native_dropout(x, 0.5, None)[0]
    assert sorted(set(y.tolist())) == [0, 2]
    assert g.gradient(y, x).tolist() == y.tolist()


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("dim", [-1, 0])
def test_gumbel_softmax(hard: bool, dim: int) -> None:
    def function(x: Any) -> Any:
        torch.manual_seed(1)
        return functional.gumbel_softmax(x, tau=0.5, hard=hard, dim=dim)

    agree(function, rand(3, 4), rtol=1e-7)
    agree(function, rand(4, 3).mT, rtol=1e-7)


@pytest.mark.parametrize(
    "expression",
    [
        "functional.prelu(x, w[:, None])",
        "functional.prelu(x, w[:2])",
        "functional.prelu(x, w.float())",
        "functional.prelu(x[0, 0], w)",
        "functional.rrelu(x, 0.5, 0.1)",
        "functional.rrelu(x, 0.5, 0.1, True)",
        "torch.rrelu(x, 0.1, float('inf'))",
    ],
)
def test_arguments_that_do_not_fit_are_torchs_error(expression: str) -> None:
    x, w = rand(2, 3), rand(3)
    with pytest.raises(RuntimeError) as torchs:
        eval(expression)
    x, w = ts.tensor(x), ts.tensor(w)
    with pytest.raises(RuntimeError) as ours:
        eval(expression)
    assert str(ours.value) == str(torchs.value)
