"""`Grad(check="corners")`: what each row of the conventions table notices, and what it does not."""

import contextlib
import io
import itertools
import linecache
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from databases import close, copied, data, gradients, method, name_of, operators, seed, tensors
from oracle import differentiable, project
from torch.utils import _pytree as pytree

import tensorad as ts
from tensorad.call import Op
from tensorad.conventions import CONVENTIONS
from tensorad.op import OPS, ROWS
from tensorad.rules.segments import segments

functional = torch.nn.functional
F64 = torch.float64
ROW = {row.where: row for row in CONVENTIONS}
Function = Callable[..., Any]


def real(*values: Any) -> list[torch.Tensor]:
    return [torch.tensor(value, dtype=F64) for value in values]


def apart(x: Any) -> Any:
    """A weight for each entry, no two alike: so that cotangents of a tie differ."""
    return x * torch.arange(1.0, x.shape.numel() + 1, dtype=F64).reshape(x.shape)


def rrelu(x: Any) -> Any:
    return functional.rrelu(x, training=True)


HALF = real([0.5, -0.5, 1.0])
TIED = real([[3.0, 3.0, 0.0], [1.0, 2.0, 3.0]])
EYE = [torch.eye(2, dtype=F64)]
PLACES = torch.tensor([0, 0, 1])
UNPOOLED = torch.tensor([[[1, 1, 0]]])
# Where of the table: the function, its arguments, and the indices of the entries that are reported.
CASES: dict[str, list[tuple[Function, list[torch.Tensor], list[tuple[int, ...]]]]] = {
    "`abs(x)` at 0": [(torch.abs, real([0.0, -1.0, -0.0]), [(0,), (2,)]), (torch.abs, real(0.0), [()])],
    "`relu(x)` at 0": [(torch.relu, real([-1.0, 0.0, 2.0]), [(1,)])],
    "`relu6(x)` at 0 and 6": [(functional.relu6, real([0.0, 1.0, 6.0]), [(0,), (2,)])],
    "`leaky_relu(x)` at 0": [(functional.leaky_relu, real([1.0, 0.0]), [(1,)])],
    "`prelu(x, 0.25)` at 0, by x": [(functional.prelu, real([[1.0, 0.0]], [0.25]), [(0, 1)])],
    "`rrelu(x, training=True)` at 0": [(rrelu, real([1.0, 0.0]), [(1,)])],
    "`hardtanh(x)` at 1": [(functional.hardtanh, real([1.0, 0.0, -1.0]), [(0,), (2,)])],
    "`hardshrink(x)` at 0.5": [(functional.hardshrink, HALF, [(0,), (1,)])],
    "`softshrink(x)` at 0.5": [(functional.softshrink, HALF, [(0,), (1,)])],
    "`threshold(x, t, value)` at t": [(lambda x: functional.threshold(x, 1.0, 5.0), real([1.0, 2.0]), [(0,)])],
    "`hardsigmoid(x)` at −3 and 3": [(functional.hardsigmoid, real([-3.0, 0.0, 3.0]), [(0,), (2,)])],
    "`hardswish(x)` at −3; at 3": [(functional.hardswish, real([-3.0, 0.0, 3.0]), [(0,), (2,)])],
    "`elu(x, alpha=2)` at 0": [(lambda x: functional.elu(x, 2.0), real([0.0, 1.0]), [(0,)])],
    "`selu(x)` at 0": [(functional.selu, real([0.0, 1.0]), [(0,)])],
    "`clamp` at a bound": [
        (lambda x: x.clamp(0, 1), real([0.0, 0.5, 1.0]), [(0,), (2,)]),
        (lambda x, low: x.clamp(low), real([0.0, 0.5], [[0.0], [0.5]]), [(0, 0), (1, 1)]),
        (lambda x, high: x.clamp(max=high), real([0.0, 0.5], 0.5), [(1,)]),
        (lambda x: torch.clamp_min(x, 0), real([0.0]), [(0,)]),
    ],
    "`logit(x, eps)` at eps and 1 − eps": [(lambda x: torch.logit(x, 0.25), real([0.25, 0.5, 0.75]), [(0,), (2,)])],
    "`sign(x)` at 0": [(torch.sign, real([0.0, 1.0]), [(0,)]), (torch.sgn, real([0.0, 1.0]), [(0,)])],
    "`floor(x)`, `ceil(x)` at an integer": [
        (torch.floor, real([-2.0, 0.0, 0.5, math.inf]), [(0,), (1,)]),
        (torch.ceil, real([-2.0, 0.0, 0.5, math.inf]), [(0,), (1,)]),
    ],
    "`round(x)` at an integer and a half": [
        (torch.round, real([-2.5, 0.5, 1.0]), [(0,), (1,)]),
        (lambda x: torch.round(x, decimals=1), real([0.25, 0.5]), [(0,)]),
    ],
    "`trunc(x)` at an integer but 0": [(torch.trunc, real([0.0, 0.5, 2.0]), [(2,)])],
    "`frac(x)` at an integer but 0": [(torch.frac, real([0.0, 0.5, 2.0]), [(2,)])],
    "`div(x, y)`, rounded, where x / y is an integer": [
        (lambda x, y: torch.div(x, y, rounding_mode="floor"), real([0.0, 3.0, 4.0], [2.0, 2.0, 2.0]), [(0,), (2,)]),
        (lambda x: torch.div(x, 2, rounding_mode="trunc"), real([0.0, 3.0, 4.0]), [(2,)]),
    ],
    "`remainder(4, 2)`": [(torch.remainder, real([0.0, 3.0, 4.0], 2.0), [(0,), (2,)])],
    "`fmod(4, 2)`": [(torch.fmod, real([0.0, 3.0, 4.0], 2.0), [(2,)])],
    "`frexp(x)`: the mantissa at a power of 2": [(lambda x: torch.frexp(x)[0], real([0.0, 3.0, -4.0]), [(2,)])],
    "`heaviside(0, 0.5)`": [(torch.heaviside, real([0.0, 1.0], 0.5), [(0,)])],
    "`copysign(x, 2)` at 0": [(lambda x: torch.copysign(x, 2.0), real([0.0, 1.0]), [(0,)])],
    "`copysign(2, y)` at 0": [(torch.copysign, real([2.0, 2.0], [0.0, 1.0]), [(0,)])],
    "`nan_to_num` at NaN or inf": [(torch.nan_to_num, real([math.nan, 1.0, -math.inf]), [(0,), (2,)])],
    "2-norm of the zero vector": [
        (lambda x: x.norm(dim=1), real([[0.0, 0.0], [0.0, 1.0]]), [(0,)]),
        (torch.linalg.norm, real([[0.0, 0.0]]), [()]),
        (torch.dist, real([1.0, 2.0], [1.0, 2.0]), [()]),
        (torch.linalg.matrix_norm, real([[[0.0, 0.0]], [[1.0, 0.0]]]), [(0,)]),
    ],
    "1-norm of [0, 1]": [
        (lambda x: torch.linalg.vector_norm(x, 1), real([0.0, 1.0]), [(0,)]),
        (lambda x: torch.linalg.vector_norm(x, 1, 0), real([[0.0, 1.0], [1.0, 1.0]]), [(0, 0)]),
        (lambda x: torch.linalg.vector_norm(x, 1, (0, 2)), real([[[0.0], [1.0]], [[1.0], [1.0]]]), [(0, 0, 0)]),
    ],
    "inf-norm of [1, −1, 0]": [
        (lambda x: torch.linalg.vector_norm(x, math.inf), real([1.0, -1.0, 0.0]), [(0,), (1,)]),
        (lambda x: torch.linalg.vector_norm(x, -math.inf, 1), real([[3.0, 0.0], [3.0, 1.0]]), [(0, 1)]),
    ],
    "3-norm of the zero vector": [(lambda x: torch.linalg.vector_norm(x, 3), real([0.0, 0.0]), [()])],
    "0.5-norm of [0, 1]": [(lambda x: torch.linalg.vector_norm(x, 0.5), real([0.0, 1.0]), [(0,)])],
    "`cdist` of equal points": [(torch.cdist, real([[0.0, 1.0], [2.0, 3.0]], [[0.0, 1.0]]), [(0, 0)])],
    "`pdist` of equal points": [
        (torch.pdist, real([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0]]), [(1,)]),
        (lambda x: torch.pdist(x, 1.0), real([[0.0, 1.0], [2.0, 3.0], [0.0, 4.0]]), [(1,)]),
        (lambda x: torch.pdist(x, math.inf), real([[0.0, 1.0], [2.0, 3.0], [0.0, 4.0]]), [(0,)]),
    ],
    "`hypot(0, 0)`": [(torch.hypot, real([0.0, 0.0], [0.0, 1.0]), [(0,)])],
    "`std` of equal values": [
        (torch.std, real([0.1, 0.1, 0.1]), [()]),  # which is not 0, by rounding
        (lambda x: x.std(1), real([[2.0, 2.0], [2.0, 3.0]]), [(0,)]),
        (lambda x: x.std((0, 2), keepdim=True), real([[[2.0], [3.0]], [[2.0], [4.0]]]), [(0, 0, 0)]),
        (lambda x: torch.std_mean(x, False)[0], real([2.0, 2.0]), [()]),
    ],
    "`normalize` of the zero vector": [
        (functional.normalize, real([[0.0, 0.0], [0.0, 1.0]]), [(0, 0), (0, 1)]),
        (functional.cosine_similarity, real([[0.0, 0.0]], [[2.0, 1.0]]), [(0, 0), (0, 1)]),
    ],
    "`renorm` of a vector whose norm is the bound": [
        (lambda x: x.renorm(2, 0, 5.0), real([[3.0, 4.0], [1.0, 1.0]]), [(0, 0)])
    ],
    "`max(x)` of [1, 1, 0]": [
        (torch.max, real([1.0, 1.0, 0.0]), [(0,), (1,)]),
        (torch.min, real([[1.0, 0.0], [0.0, 2.0]]), [(0, 1), (1, 0)]),
    ],
    "`max(x, dim)`: values of [1, 1, 0]": [
        (lambda x: x.max(1)[0], TIED, [(0, 0), (0, 1)]),
        (lambda x: x.min(1, keepdim=True)[0], real([[1.0, 1.0, 2.0], [1.0, 2.0, 2.0]]), [(0, 0), (0, 1)]),
    ],
    "`amax`, `amin`, a tie": [
        (torch.amax, TIED, [(0, 0), (0, 1), (1, 2)]),
        (lambda x: x.amax(1), TIED, [(0, 0), (0, 1)]),
        (lambda x: x.amin((0, 1), keepdim=True), real([[1.0, 1.0]]), [(0, 0), (0, 1)]),
        (lambda x: torch.aminmax(x, dim=0)[1], real([[1.0, 2.0], [1.0, 3.0]]), [(0, 0), (1, 0)]),
    ],
    "`maximum`, `minimum`, a tie": [
        (torch.maximum, real([0.0, 1.0], [[0.0], [2.0]]), [(0, 0)]),
        (torch.minimum, real([0.0, 1.0], [0.0, 2.0]), [(0,)]),
    ],
    "`fmax`, `fmin`, a tie": [
        (torch.fmax, real([0.0, 1.0], [0.0, 2.0]), [(0,)]),
        (torch.fmin, real([0.0, 1.0], [0.0, 2.0]), [(0,)]),
    ],
    "`median(x)` of [1, 1, 0]": [
        (torch.median, real([1.0, 1.0, 0.0]), [(0,), (1,)]),
        (torch.nanmedian, real([1.0, 1.0, math.nan, 0.0]), [(0,), (1,)]),
    ],
    "`median(x, dim)`, `kthvalue(x, 2)`: values of [1, 1, 0]; `mode(x)`": [
        (lambda x: x.median(1)[0], TIED, [(0, 0), (0, 1)]),
        (lambda x: x.nanmedian(1)[0], TIED, [(0, 0), (0, 1)]),
        (lambda x: x.kthvalue(2, 1)[0], TIED, [(0, 0), (0, 1)]),
        (lambda x: x.mode(1)[0], TIED, [(0, 0), (0, 1)]),
    ],
    "`sort` of [1, 1, 0], weighted with [1, 10, 100]": [
        (lambda x: apart(x.sort()[0]), real([1.0, 1.0, 0.0, 1.0]), [(1,), (2,), (3,)]),
        (lambda x: apart(x.sort(0, descending=True)[0]), real([[1.0, 1.0], [1.0, 0.0]]), [(0, 0), (1, 0)]),
        (lambda x: apart(x.msort()), real([math.inf, math.inf]), [(0,), (1,)]),
        (lambda x: x.quantile(0.5), real([1.0, 1.0, 0.0]), [(1,), (2,)]),
    ],
    "`cummax(x, 0)`: values of [1, 1, 0]": [
        (lambda x: x.cummax(0)[0], real([1.0, 1.0, 0.0, 2.0, 1.0, 2.0]), [(1,), (2,), (5,)]),
        (lambda x: x.cummin(1)[0], real([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), [(1, 2)]),
    ],
    "`max_pool1d(x, 2)` of [1, 1]": [
        (lambda x: functional.max_pool1d(x, 2), real([[[1.0, 1.0, 0.0, 1.0]]]), [(0, 0, 0)]),
        (lambda x: functional.max_pool1d(x, 2, 1, 1, return_indices=True)[0], real([[[1.0, 1.0, 0.0]]]), [(0, 0, 1)]),
        (lambda x: functional.max_pool2d(x, 2, 1), real([[[0.0, 1.0, 2.0], [0.0, 1.0, 1.0]]]), [(0, 0, 0)]),
        (lambda x: functional.max_pool3d(x, 2, ceil_mode=True), real([[[[[1.0, 1.0, 1.0]]]]]), [(0, 0, 0, 0, 0)]),
        (lambda x: functional.adaptive_max_pool1d(x, 2), real([[[1.0, 1.0, 0.0]]]), [(0, 0, 0)]),
        (lambda x: functional.adaptive_max_pool2d(x, 1), real([[[1.0, 1.0], [0.0, 0.0]]]), [(0, 0, 0)]),
    ],
    "`max_unpool1d` of two equal values at one place": [
        (lambda x: functional.max_unpool1d(x, UNPOOLED, 2, 1), real([[[2.0, 2.0, 3.0]]]),
         [(0, 0, 0, 0), (0, 0, 1, 0)])
    ],
    "`topk`, k = 1, of [1, 1, 1]": [
        (lambda x: x.topk(2)[0], real([1.0, 2.0, 1.0]), [(1,)]),
        (lambda x: x.topk(1, 0, largest=False)[0], TIED, []),
        (lambda x: x.topk(2, 0)[0], real([[1.0, 2.0], [1.0, 3.0]]), [(0, 0), (1, 0)]),
    ],
    "`scatter_reduce` by amax of 1 and [1, 0]": [
        (lambda x, y: x.scatter_reduce(0, PLACES, y, "amax"), real([1.0, 2.0], [1.0, 0.0, 1.0]), [(0,)]),
        (lambda x, y: x.index_reduce(0, PLACES[1:], y, "amin", include_self=False), real([2.0, 2.0], [2.0, 3.0]), []),
        (lambda x, y: x.index_reduce(0, PLACES[:2], y, "amin", include_self=False), real([1.0, 2.0], [3.0, 3.0]),
         [(0,)]),
    ],
    "`segment_reduce` by max of [1, 1, 0]": [
        (lambda x: torch.segment_reduce(x, "max", lengths=torch.tensor([2, 1])), real([1.0, 1.0, 1.0]), [(0,), (1,)])
    ],
    "`pow(0, 0)`": [
        (lambda x: x**0, real([0.0, 1.0]), [(0,)]),
        (lambda y: 0**y, real([0.0, 1.0]), [(0,)]),
        (torch.float_power, real([0.0, 0.0], [0.0, 2.0]), [(0,)]),
    ],
    "`xlogy(0, y)` at y ≤ 0, by the first": [(lambda x: torch.xlogy(x, 0), real([0.0, 1.0]), [(0,)])],
    "`special.xlog1py(0, y)` at y ≤ −1, by the first": [
        (lambda x: torch.special.xlog1py(x, -1), real([0.0, 1.0]), [(0,)])
    ],
    "`atan2(0, 0)`": [(torch.atan2, real([0.0, 0.0], [0.0, 1.0]), [(0,)])],
    "`special.i0e(x)` at 0": [(torch.special.i0e, real([0.0, 1.0]), [(0,)])],
    "`eigvalsh` of the identity, weighted with [1, 2]": [
        (lambda x: apart(torch.linalg.eigvalsh(x)), EYE, [(0,), (1,)]),
        (lambda x: apart(torch.linalg.eigh(x)[0]), [torch.diag(real([1.0, 2.0, 1.0])[0])], [(0,), (1,)]),
    ],
    "`eigh`, vectors of a repeated value": [(lambda x: torch.linalg.eigh(x)[1], EYE, [(0,), (1,)])],
    "`eig`, vectors of a repeated value": [(lambda x: torch.linalg.eig(x)[1].abs(), EYE, [(0,), (1,)])],
    "`svd`, vectors of a repeated value": [
        (lambda x: torch.linalg.svd(x, False)[0], EYE, [(0,), (1,)]),
        (lambda x: torch.linalg.svd(x)[2], real([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), [(0,), (1,)]),
    ],
    "`svdvals` of the identity, weighted with [1, 2]": [
        (lambda x: apart(torch.linalg.svdvals(x)), EYE, [(0,), (1,)]),
        (lambda x: torch.linalg.matrix_norm(x, 2), real([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 2.0]]), []),
    ],
    "`svdvals` of [[0]]": [(lambda x: torch.linalg.matrix_norm(x, "nuc"), real([[1.0, 1.0], [1.0, 1.0]]), [(1,)])],
    "`l1_loss(x, y)` where x = y": [
        (functional.l1_loss, real([[1.0, 2.0]], [[1.0, 3.0]]), [(0, 0)]),
        (lambda x, y: functional.l1_loss(x, y, reduction="none"), real([1.0, 2.0], [1.0, 3.0]), [(0,)]),
        (lambda x, y: functional.smooth_l1_loss(x, y, beta=0.0), real([1.0, 2.0], [1.0, 3.0]), [(0,)]),
    ],
    "`multi_margin_loss(x, y)` where a margin is just kept": [
        (lambda x: functional.multi_margin_loss(x, torch.tensor([0, 1])), real([[1.0, 0.0], [1.0, 5.0]]), [(0, 1)]),
        (lambda x: functional.multi_margin_loss(x, PLACES[1:], reduction="none"), real([[1.0, 0.0], [1.0, 2.0]]),
         [(0, 1), (1, 0)]),
        (lambda x: functional.multi_margin_loss(x, torch.tensor(0)), real([1.0, 0.0]), [(1,)]),
    ],
    "`multilabel_margin_loss(x, y)` where a margin is just kept": [
        (lambda x: functional.multilabel_margin_loss(x, torch.tensor([[2, 0, -1, 1]])), real([[1.0, 1.0, 3.0, 0.0]]),
         [(0, 3)])
    ],
    "`abs(z)` at 0": [(torch.abs, [torch.tensor([0j, 1j])], [(0,)])],
    "`sgn(z)` at 0": [(lambda z: torch.sgn(z).real, [torch.tensor([0j, 1j])], [(0,)])],
    "`angle(z)` at 0": [(torch.angle, [torch.tensor([0j, 1j])], [(0,)]), (torch.angle, real([0.0, 1.0]), [(0,)])],
}  # fmt: skip
EACH = [(where, *case) for where in CASES for case in CASES[where]]


def relied_on(function: Function, values: list[torch.Tensor], weight: float = 1.0) -> Any:
    """What the gradients of `function` relied on, with all its outputs weighted, by all its arguments."""
    inputs = [ts.tensor(value) for value in values]
    with ts.Grad(check="corners") as g:
        out = function(*inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ts.ConventionWarning)
        g.gradient(out, inputs, cotangent=torch.full(out.shape, weight, dtype=out.dtype), unconnected="zero")
    return g.corners()


def test_each_row_that_can_tell_has_a_case() -> None:
    assert {row.where for row in CONVENTIONS if row.corner} == {*CASES}


@pytest.mark.parametrize(("where", "function", "values", "indices"), EACH)
def test_at_the_corner_it_is_reported(where: str, function: Function, values: Any, indices: Any) -> None:
    found = [each for each in relied_on(function, values) if each.row.where == where]
    assert [each.indices for each in found] == [indices] * bool(indices)
    for each in found:
        assert each.count == len(indices) == each.mask.sum()
        assert all(len(value) == each.count for value in each.values.values())
        assert "test_corners.py" in each.line
        assert each.row is ROW[where]
        assert each.row.ours.replace("*", "") in repr(each)


@pytest.mark.parametrize(("where", "function", "values", "indices"), EACH)
def test_with_a_cotangent_of_zero_it_is_not(where: str, function: Function, values: Any, indices: Any) -> None:
    assert len(relied_on(function, values, 0.0)) == 0


@pytest.mark.parametrize(("where", "function", "values", "indices"), EACH)
def test_away_from_the_corner_it_is_not(where: str, function: Function, values: Any, indices: Any) -> None:
    generator = torch.Generator().manual_seed(3)
    away = [
        value.nan_to_num(0.0, 1e3, -1e3) + 1e-3 * (0.5 + torch.rand(value.shape, generator=generator, dtype=F64))
        for value in values
    ]
    if where.startswith("`median(x, dim)"):  # the most frequent of different values is a tie, of all of them
        assert not [each for each in relied_on(function, away) if each.op != "mode"]
    elif any(each.row.where == where for each in relied_on(function, away)):
        raise AssertionError(relied_on(function, away))


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (functional.elu, real([0.0])),
        (functional.celu, real([0.0])),
        (torch.var, real([1.0, 1.0])),
        (lambda x: x.std(0, correction=0), real([[1.0, 2.0]])),
        (torch.prod, real([0.0, 0.0])),
        (torch.linalg.det, real([[1.0, 2.0], [2.0, 4.0]])),
        (torch.sort, real([1.0, 1.0])),
        (torch.linalg.eigvalsh, EYE),
        (lambda x: torch.linalg.matrix_norm(x, "nuc"), EYE),
        (lambda x: torch.linalg.matrix_norm(x, 2), EYE),
        (functional.smooth_l1_loss, real([1.0], [0.0])),
        (functional.huber_loss, real([1.0], [0.0])),
        (torch.sinc, real([0.0])),
        (lambda x: x.clamp(3, 1), real([1.0, 3.0])),
        (lambda x: functional.leaky_relu(x, 1.0), real([0.0])),
        (torch.atan2, real([0.0], [-1.0])),
        (lambda x: torch.xlogy(x, 2.0), real([0.0])),
        (torch.maximum, real([math.nan], [math.nan])),
        (lambda x: x.sqrt(), real([0.0])),
        (lambda x: x.softmax(0), real([0.0, 0.0])),
    ],
)
def test_what_is_exact_or_a_pole_is_not_a_convention(function: Function, values: Any) -> None:
    found = relied_on(lambda *xs: function(*xs)[0] if function is torch.sort else function(*xs), values)
    assert [each for each in found if each.op not in ("amax",)] == [], found


@pytest.mark.parametrize(
    "function",
    [
        lambda x: functional.hinge_embedding_loss(x, torch.tensor([-1, -1]), margin=2.0),
        lambda x: functional.margin_ranking_loss(x, torch.zeros(2, dtype=F64), torch.ones(2), margin=2.0),
        lambda x: functional.triplet_margin_loss(x, x + 1, x + 1, margin=0.0),
    ],
)
def test_hinges_are_told_by_the_clamp_that_they_are_made_of(function: Function) -> None:
    (corner,) = relied_on(function, real([2.0, 3.0]))
    assert corner.row.where == "`clamp` at a bound"
    assert "test_corners.py" in corner.line


def test_only_the_operand_that_is_asked_for_counts() -> None:
    x, values = ts.tensor([0.0]), ts.tensor([0.5])
    with ts.Grad(check="corners") as g:
        y = ts.heaviside(x, values)
    g.gradient(y, values)
    assert len(g.corners()) == 0
    with pytest.warns(ts.ConventionWarning):
        g.gradient(y, x)
    assert len(g.corners()) == 1


def test_one_warning_says_how_many_and_where() -> None:
    x = ts.tensor([0.0, 1.0])
    with ts.Grad(check="corners") as g:
        y = x.relu() + x.abs()
    with pytest.warns(ts.ConventionWarning) as caught:
        g.gradient(y, x)
    (warning,) = caught
    assert "in 2 places, the first of them: relu at test_corners.py" in str(warning.message)
    assert "g.corners() lists" in str(warning.message)
    assert warning.filename == __file__
    assert len(g.corners()) == 2


def test_the_warning_of_a_jacobian_is_at_the_user_s_line_too() -> None:
    x = ts.tensor([0.0, 1.0])
    with ts.Grad(check="corners") as g:
        y = x.relu()
    with pytest.warns(ts.ConventionWarning) as caught:
        g.jacobian(y, x)
    assert [each.filename for each in caught] == [__file__]
    assert g.corners()[0].indices == [(0,)]


def test_several_gradients_add_up() -> None:
    x = ts.tensor([0.0, 0.0, 1.0])
    with ts.Grad(check="corners") as g:
        y = x.relu()
    for place in (0, 0, 1, 2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            g.gradient(y, x, cotangent=torch.eye(3)[place])
        assert len(caught) == (place < 2)
    (corner,) = g.corners()
    assert corner.indices == [(0,), (1,)]
    assert corner.values["input"].tolist() == [0.0, 0.0]


def test_without_a_corner_and_without_the_check() -> None:
    x = ts.tensor([1.0, 0.0])
    with ts.Grad(check="corners") as g, ts.Grad(name="plain") as h:
        y = x.sin()
    g.gradient(y, x)
    assert repr(g.corners()) == str(g.corners()) == "no gradient relied on a convention"
    with pytest.raises(ts.ContextError, match=r'plain did not look for corners: .*Grad\(check="corners"\)'):
        h.corners()


def test_an_outer_context_sees_what_inner_gradients_rely_on() -> None:
    x = ts.tensor([0.0, 2.0])
    with ts.Grad(check="corners") as outer:
        with ts.Grad(check="corners") as inner:
            y = x.relu() * (x + 1)
            with pytest.warns(ts.ConventionWarning) as caught:
                dx = inner.gradient(y, x)
        assert len(caught) == 1
        assert "inner.corners()" in str(caught[0].message)
    assert len(inner.corners()) == len(outer.corners()) == 1
    with pytest.warns(ts.ConventionWarning, match=r"outer.corners\(\)"):
        outer.gradient(dx, x)
    assert len(inner.corners()) == 1


def test_contexts_with_and_without_the_check() -> None:
    x = ts.tensor([0.0, 2.0])
    with ts.Grad() as outer:
        with ts.Grad(check="corners") as inner:
            y = x.abs()
        with pytest.warns(ts.ConventionWarning):
            inner.gradient(y, x)
    outer.gradient(y, x)  # not a word: it was not asked to look
    assert len(inner.corners()) == 1


def test_second_order() -> None:
    x = ts.tensor([0.0, 2.0])
    with ts.Grad(check="corners") as g2:
        with ts.Grad() as g1:
            y = x.abs()
            with pytest.warns(ts.ConventionWarning, match=r"g2.corners\(\)"):
                dx = g1.gradient(y, x)
    assert [each.op for each in g2.corners()] == ["abs"]
    with pytest.warns(ts.ConventionWarning):
        g2.gradient(dx, x)
    assert [each.op for each in g2.corners()] == ["abs", "sgn"]
    assert "dx = g1.gradient(y, x)" in g2.corners()[1].line  # the rule's own op


def test_forward_mode_says_nothing() -> None:
    with ts.Grad(check="corners") as g:
        ts.jvp(torch.relu, (ts.tensor([0.0]),), (ts.tensor([1.0]),))
    assert len(g.corners()) == 0


def test_a_parameter_and_a_module() -> None:
    layer = torch.nn.Linear(2, 2)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    with ts.Grad(check="corners") as g:
        y = torch.nn.functional.relu(layer(ts.tensor([[1.0, 2.0]]))).sum()
    with pytest.warns(ts.ConventionWarning):
        g.gradient(y, dict(layer.named_parameters()))
    assert g.corners()[0].op == "relu"


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 2)])
def test_empty_tensors(shape: Any) -> None:
    for function in (torch.relu, torch.abs, lambda x: x.sort(-1)[0], lambda x: torch.linalg.vector_norm(x)):
        assert len(relied_on(function, [torch.zeros(shape)])) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_small_floats(dtype: torch.dtype) -> None:
    x = torch.tensor([1.0, 1.0, 0.0], dtype=dtype)
    for function in (torch.relu, torch.max, lambda x: x.topk(1)[0], lambda x: apart(x.sort()[0].double())):
        assert len(relied_on(function, [x])) == 1


def test_integers_and_bools_among_the_arguments() -> None:
    assert len(relied_on(lambda x: torch.maximum(x, torch.tensor([0, 5])), real([0.0, 1.0]))) == 1
    assert len(relied_on(lambda x: torch.maximum(x, torch.tensor([False, True])), real([0.0, 2.0]))) == 1
    assert len(relied_on(lambda x: x ** torch.tensor([0, 1]), real([0.0, 0.0]))) == 1


def test_under_vmap_nothing_fails() -> None:
    def function(data: torch.Tensor) -> torch.Tensor:
        x = ts.tensor(data)
        with ts.Grad(check="corners") as g:
            y = x.relu() + x.max()
        found = g.gradient(y, x).data

        reports.append(repr(g.corners()))
        return found

    reports: list[str] = []
    assert torch.vmap(function)(torch.zeros(2, 3)).shape == (2, 3)
    assert reports[0].endswith(
        "not looked at: values inside of torch.vmap, and others that are no tensors of plain numbers"
    )


def test_a_user_s_own_op_of_a_name_in_the_table() -> None:
    cube = ts.primitive(lambda x: x**3)
    cube.__name__ = "relu"
    cube.defvjp(lambda x: (x**3, x), lambda g, x: (3 * g * x**2,))
    assert len(relied_on(cube, real([0.0]))) == 0


def test_nothing_is_kept_alive() -> None:
    x = ts.tensor([0.0])
    with ts.Grad(check="corners") as g:
        y = x.relu()
    (watcher,) = g.watchers
    assert len(watcher.sitting) == 1  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.warns(ts.ConventionWarning):
        g.gradient(y, x)
    del y
    assert len(watcher.sitting) == 0  # pyright: ignore[reportAttributeAccessIssue]
    assert len(g.corners()) == 1


def test_long_reports_are_cut() -> None:
    x = ts.tensor(torch.zeros(9))
    with ts.Grad(check="corners") as g:
        y = sum(x.relu() for _ in range(30))
    with pytest.warns(ts.ConventionWarning):
        g.gradient(y, x)
    text = repr(g.corners())
    assert len(g.corners()) == 30
    assert text.endswith("... and 10 more")
    assert "9 entries of the output at [0], [1], [2], [3], [4], ..., where input = 0\n" in text
    (corner,) = relied_on(torch.floor, [torch.arange(9.0)])
    assert repr(corner).splitlines()[0].endswith("where input = 0, 1, 2, 3, 4, ...")


def test_the_predicates_name_what_their_ops_have() -> None:
    """Each predicate is about some op of each name, unless functions made of other ops have that name."""
    ops: dict[str, list[set[str]]] = {}
    for op in [each for each in ROWS.values() if isinstance(each, Op)]:
        names = {part.split("=")[0].strip() for part in op.arguments.split(",")}
        ops.setdefault(op.name, []).append(names | {"out", "name"})
    assert segments  # which is among them
    for row in [row for row in CONVENTIONS if row.corner]:
        code = row.corner.__code__
        needs = {*code.co_varnames[: code.co_argcount - len(row.corner.__defaults__ or ())]}
        found = [needs <= names for name in row.ops.split() for names in ops.get(name, [])]
        assert any(found), row.where
        for name in row.ops.split():
            op = ROWS.get(OPS.get(name))  # pyright: ignore[reportArgumentType]
            assert name in ops or not isinstance(op, Op) or op.name in row.ops.split(), (row.where, name)


def test_the_example_on_the_page_prints_what_it_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text()
    ((code, expected),) = re.findall(r"```python\n(.*?)```.*?```text\n(.*?)```", page, flags=re.DOTALL)
    linecache.cache["example.py"] = (len(code), None, code.splitlines(keepends=True), "example.py")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.warns(ts.ConventionWarning, match="in 2 places"):
        exec(compile(code, "example.py", "exec"), {})
    assert printed.getvalue() == expected


# All of torch's own database: no error comes out of the check, and the gradients are the same.


def differentiated(op: Any, sample: Any, check: Any) -> list[Any]:
    """The gradients of a random projection of a sample's outputs, at first order and at second."""
    values, form = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
    inputs = [
        ts.tensor(value.detach()) if isinstance(value, torch.Tensor) and value.requires_grad else copied(value, False)
        for value in values
    ]
    given, args, kwargs = pytree.tree_unflatten(inputs, form)
    sources = [each for each in inputs if isinstance(each, ts.Tensor)]
    torch.manual_seed(7)
    with ts.Grad(check=check) as outer:
        with ts.Grad(check=check) as inner:
            out = method(op.op, given)(given, *args, **kwargs)
            process = sample.output_process_fn_grad
            total = project(tensors(pytree.tree_leaves(process(out) if process else out)), 1)
        if not (sources and isinstance(total, ts.Tensor) and differentiable(total)):
            return []
        first = gradients(inner, total, sources)
        again = project([each for each in first if each is not None], 2)
    second = gradients(outer, again, sources) if isinstance(again, ts.Tensor) and again.node else []
    if check:
        repr(inner.corners())
        repr(outer.corners())
    return [*data(first), *data(second)]


def disagreeing(op: Any, dtype: torch.dtype, cap: int | None) -> tuple[int, list[str]]:
    """How many samples of an entry were compared, and those at which the check changes a gradient, or fails."""
    compared, wrong = 0, []
    seed()
    for number, sample in enumerate(itertools.islice(op.sample_inputs("cpu", dtype, requires_grad=True), cap)):
        try:
            expected = differentiated(op, sample, ())
        except Exception:  # which is about the sample, and not about the check
            continue
        compared += 1
        try:
            found = differentiated(op, sample, "corners")
        except Exception as error:
            wrong.append(f"{name_of(op)} sample {number}: {type(error).__name__}: {error}")
            continue
        if len(found) != len(expected) or not all(map(close, found, expected)):
            wrong.append(f"{name_of(op)} sample {number}: another gradient")
    return compared, wrong


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [F64, torch.complex128])
def test_the_check_changes_no_gradient_of_the_database(dtype: torch.dtype) -> None:
    found = [disagreeing(op, dtype, 1) for op in operators(dtype)[dtype.is_complex :: 3]]  # of every third entry
    assert [each for _, wrong in found for each in wrong] == []
    assert sum(compared for compared, _ in found) > 0.9 * len(found)
