"""Elementwise rules against torch.autograd and finite differences, and at the points where they have corners."""

import math
from typing import Any

import pytest
import torch
from oracle import agree, by_tensorad, project, rand, slope

import tensorad as ts

SHAPES = [(), (3,), (2, 3), (0,)]

# name, the interval on which it is smooth
UNARY = """
neg -2 2 | positive -2 2 | reciprocal 0.5 2 | square -2 2 | exp -2 2 | exp2 -2 2 | expm1 -2 2 | log 0.1 3 | log2 0.1 3
log10 0.1 3 | log1p -0.5 3 | sqrt 0.1 3 | rsqrt 0.1 3 | sin -3 3 | cos -3 3 | tan -1.2 1.2 | asin -0.9 0.9
acos -0.9 0.9 | atan -3 3 | sinh -2 2 | cosh -2 2 | tanh -2 2 | asinh -2 2 | acosh 1.2 4 | atanh -0.9 0.9
sinc 0.1 2.5 | abs 0.1 2 | sign 0.1 2 | sgn -2 -0.1 | floor 0.1 0.9 | ceil 0.1 0.9 | round 0.1 0.4 | trunc 0.1 0.9
frac 0.1 0.9 | deg2rad -90 90 | rad2deg -2 2 | sigmoid -3 3 | logit 0.1 0.9 | erf -2 2 | erfc -2 2 | erfinv -0.9 0.9
lgamma 0.5 4 | digamma 0.5 4 | i0 -3 3 | nan_to_num -2 2 | special.erfcx -1 3 | special.ndtr -2 2
special.log_ndtr -3 3 | special.ndtri 0.1 0.9 | special.entr 0.1 2 | special.i1 0.1 3 | special.i0e 0.1 3
special.i1e 0.1 3 | special.expit -2 2 | special.psi 0.5 3 | special.gammaln 0.5 3
arcsin -0.9 0.9 | arccos -0.9 0.9 | arctan -2 2 | arcsinh -2 2 | arccosh 1.2 3 | arctanh -0.9 0.9 | negative -2 2
absolute 0.1 2 | fix 0.1 0.9
"""
UNARY_CASES = [tuple(row.split()) for row in UNARY.replace("\n", "|").split("|") if row.strip()]

BINARY = """
add -2 2 | sub -2 2 | subtract -2 2 | mul -2 2 | multiply -2 2 | div 0.5 2 | true_divide 0.5 2 | divide 0.5 2
remainder 0.3 0.9 | fmod 0.3 0.9 | pow 0.3 2 | float_power 0.3 2 | logaddexp -2 2 | logaddexp2 -2 2 | xlogy 0.3 2
special.xlog1py 0.3 2 | atan2 0.2 2 | arctan2 0.2 2 | hypot 0.2 2 | maximum -2 2 | minimum -2 2 | fmax -2 2 | fmin -2 2
copysign 0.2 2 | ldexp -1 1 | nextafter -2 2
"""
BINARY_CASES = [tuple(row.split()) for row in BINARY.replace("\n", "|").split("|") if row.strip()]


def find(name: str) -> Any:
    return getattr(torch.special, name.removeprefix("special.")) if "." in name else getattr(torch, name)


@pytest.mark.parametrize(("name", "low", "high"), UNARY_CASES)
def test_unary(name: str, low: str, high: str) -> None:
    for seed, shape in enumerate(SHAPES):
        agree(find(name), rand(*shape, low=float(low), high=float(high), seed=seed), rtol=1e-7)
    if hasattr(torch.Tensor, name):
        agree(lambda x: getattr(x, name)(), rand(2, 3, low=float(low), high=float(high)), rtol=1e-7)


@pytest.mark.parametrize(("name", "low", "high"), UNARY_CASES)
def test_unary_by_finite_differences(name: str, low: str, high: str) -> None:
    x, direction = rand(2, 3, low=float(low), high=float(high)), rand(2, 3, seed=9)
    expected = slope(find(name), [x], [direction])
    _, [[gradient]] = by_tensorad(find(name), [x])
    assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("name", "low", "high"), BINARY_CASES)
@pytest.mark.parametrize(
    "shapes", [((), ()), ((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (3,)), ((), (2,)), ((0, 3), (3,))]
)
def test_binary(name: str, low: str, high: str, shapes: Any) -> None:
    inputs = [rand(*shape, low=float(low), high=float(high), seed=seed) for seed, shape in enumerate(shapes)]
    agree(find(name), *inputs, rtol=1e-7)


@pytest.mark.parametrize(("name", "low", "high"), BINARY_CASES)
def test_binary_by_finite_differences(name: str, low: str, high: str) -> None:
    inputs = [rand(2, 3, low=float(low), high=float(high), seed=1), rand(3, low=float(low), high=float(high), seed=2)]
    directions = [rand(2, 3, seed=3), rand(3, seed=4)]
    expected = slope(find(name), inputs, directions)
    _, [gradients] = by_tensorad(find(name), inputs)
    found = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("name", "low", "high"), BINARY_CASES)
def test_binary_with_a_number(name: str, low: str, high: str) -> None:
    if name in (
        "true_divide",
        "div",
        "divide",
        "add",
        "sub",
        "mul",
        "pow",
        "remainder",
        "fmod",
        "float_power",
        "xlogy",
    ):
        agree(lambda x: find(name)(x, 0.7), rand(3, low=float(low), high=float(high)), rtol=1e-7)


OPERATORS = {
    "x + y": lambda x, y: x + y,
    "x - y": lambda x, y: x - y,
    "x * y": lambda x, y: x * y,
    "x / y": lambda x, y: x / y,
    "x ** y": lambda x, y: x**y,
    "x % y": lambda x, y: x % y,
    "2 + x": lambda x, y: 2 + x * y,
    "2 - x": lambda x, y: 2 - x * y,
    "2 / x": lambda x, y: 2 / x * y,
    "2 ** x": lambda x, y: 2**x * y,
    "-x, +x, abs(x)": lambda x, y: -x + +y + abs(x),
}


@pytest.mark.parametrize("form", OPERATORS)
def test_operators(form: str) -> None:
    x, y = rand(2, 3, low=0.5, high=2), rand(3, low=0.5, high=2, seed=1)
    agree(OPERATORS[form], x, y)
    agree(lambda x: OPERATORS[form](x, y), x)  # a torch tensor on the right,
    agree(lambda y: OPERATORS[form](x, y), y)  # and on the left
    agree(lambda y: OPERATORS[form](x.numpy(), y) if isinstance(y, ts.Tensor) else OPERATORS[form](x, y), y)


CALLS = {
    "add alpha": lambda x, y: torch.add(x, y, alpha=2.5),
    "sub alpha": lambda x, y: x.sub(y, alpha=2.5),
    "div floor": lambda x, y: torch.div(x, y, rounding_mode="floor") * x,
    "div trunc": lambda x, y: torch.div(x, y, rounding_mode="trunc") * y,
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=3),
    "addcdiv": lambda x, y: torch.addcdiv(y, x, y, value=3),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
    "lerp weight": lambda x, y: torch.lerp(x, y, y * x),
    "where": lambda x, y: torch.where(x > 1, x, y) * torch.where(x > y, 0.0, y),
    "where method": lambda x, y: x.where(x > y, y),
    "clamp": lambda x, y: (
        torch.clamp(x, 0.8, 1.5) + y.clamp(min=1) + y.clip(max=1.2) + x.clamp_min(0.9) + y.clamp_max(1)
    ),
    "clamp by tensors that cross": lambda x, y: torch.clamp(3 * x - 4, x, 2 - y) + torch.clamp(-x, y, 1 - x),
    "clamp by tensors": lambda x, y: torch.clamp(x * 2, y, y + 1) + torch.clamp(x, min=y) + torch.clamp(x, max=y),
    "clip": lambda x, y: torch.clip(x, 0.8, 1.5),
    "polygamma": lambda x, y: torch.polygamma(1, x) + torch.special.polygamma(2, y),
    "mvlgamma": lambda x, y: torch.mvlgamma(x + 2, 2),
    "round decimals": lambda x, y: torch.round(x, decimals=1) * y,
    "logit eps": lambda x, y: torch.logit(x / 2.1, eps=0.3),
    "nan_to_num": lambda x, y: torch.nan_to_num(x, nan=1.0),
    "rsub": lambda x, y: torch.rsub(x, y),
    "xlogy of a number": lambda x, y: torch.xlogy(2, x),
    "pow of a number": lambda x, y: torch.pow(2, x) + torch.pow(x, 3) + torch.float_power(x, 2),
}


@pytest.mark.parametrize("form", CALLS)
def test_calls(form: str) -> None:
    agree(CALLS[form], rand(2, 3, low=0.5, high=2), rand(3, low=0.5, high=2, seed=1), rtol=1e-7)


def test_a_number_modulo_a_tensor() -> None:
    """torch.autograd refuses this one."""
    assert gradients(lambda x: 2.5 % x, 0.7) == [-3]


def gradients(function: Any, *values: float) -> list[float]:
    """Of the sum of `function`, at one point."""
    xs = [ts.tensor(value, dtype=torch.float64) for value in values]
    with ts.Grad() as g:
        y = function(*xs)
    return [each.item() for each in g.gradient(y, [*xs, ts.tensor(0.0)], unconnected="zero")[:-1]]


def second(function: Any, value: float) -> float:
    x = ts.tensor(value, dtype=torch.float64)
    with ts.Grad() as g2:
        with ts.Grad() as g1:
            y = function(x)
        dx = g1.gradient(y, x)
    return g2.gradient(dx, x).item()


inf, nan = math.inf, math.nan
CORNERS: dict[str, tuple[Any, tuple[float, ...], list[float]]] = {
    "abs(0)": (torch.abs, (0,), [0]),
    "maximum(x, 0) at 0": (torch.maximum, (0, 0), [0.5, 0.5]),
    "minimum tie": (torch.minimum, (1, 1), [0.5, 0.5]),
    "fmax tie": (torch.fmax, (1, 1), [0.5, 0.5]),
    "fmin tie": (torch.fmin, (1, 1), [0.5, 0.5]),
    "maximum(nan, 1)": (torch.maximum, (nan, 1), [1, 0]),
    "maximum(1, nan)": (torch.maximum, (1, nan), [0, 1]),
    "fmax(nan, 1)": (torch.fmax, (nan, 1), [0, 1]),
    "sqrt(0)": (torch.sqrt, (0,), [inf]),
    "sqrt(x x) at 0": (lambda x: torch.sqrt(x * x), (0,), [nan]),
    "hypot(0, 0)": (torch.hypot, (0, 0), [0, 0]),
    "clamp at its bounds": (lambda x: torch.clamp(x, 0, 1), (1,), [1]),
    "clip at its bound": (lambda x: torch.clip(x, min=0), (0,), [1]),
    "pow(0, 0)": (torch.pow, (0, 0), [0, 0]),
    "pow(0, 0.5)": (torch.pow, (0, 0.5), [inf, 0]),
    "pow(0, 1)": (torch.pow, (0, 1), [1, 0]),
    "pow(0, 2)": (torch.pow, (0, 2), [0, 0]),
    "pow(0, 3)": (torch.pow, (0, 3), [0, 0]),
    "pow(0, -1)": (torch.pow, (0, -1), [-inf, -inf]),
    "pow(-2, 2)": (torch.pow, (-2, 2), [-4, nan]),
    "pow(-2, 2), constant exponent": (lambda x: x**2, (-2,), [-4]),
    "pow(-2, 0.5)": (torch.pow, (-2, 0.5), [nan, nan]),
    "x ** 0 at 0": (lambda x: x**0, (0,), [0]),
    "x ** 0.0 at 0": (lambda x: x**0.0, (0,), [0]),
    "0 ** y at 0": (lambda y: 0**y, (0,), [0]),
    "0 ** y at 2": (lambda y: 0**y, (2,), [0]),
    "where(x > 0, log x, 0) at 0": (lambda x: torch.where(x > 0, torch.log(x), 0.0), (0,), [nan]),
    "double where": (lambda x: torch.where(x > 0, torch.log(torch.where(x > 0, x, 1.0)), 0.0), (0,), [0]),
    "atan2(0, 0)": (torch.atan2, (0, 0), [0, 0]),
    "log(0)": (torch.log, (0,), [inf]),
    "log(-1)": (torch.log, (-1,), [-1]),
    "x log x at 0": (lambda x: x * torch.log(x), (0,), [nan]),
    "sign(0)": (torch.sign, (0,), [0]),
    "floor(1)": (torch.floor, (1,), [0]),
    "round(0.5)": (torch.round, (0.5,), [0]),
    "heaviside(0, 0.5)": (torch.heaviside, (0, 0.5), [0, 1]),
    "sinc(0)": (torch.sinc, (0,), [0]),
    "asin(1)": (torch.asin, (1,), [inf]),
    "acos(1)": (torch.acos, (1,), [-inf]),
    "lgamma(0)": (torch.lgamma, (0,), [-inf]),
    "logaddexp(inf, inf)": (torch.logaddexp, (inf, inf), [nan, nan]),
    "log(1 + exp(x)) at 1000": (lambda x: torch.log(1 + torch.exp(x)), (1000,), [nan]),
    "nan_to_num(nan)": (torch.nan_to_num, (nan,), [0]),
    "nan_to_num(inf)": (torch.nan_to_num, (inf,), [0]),
    "i1(0)": (torch.special.i1, (0,), [0.5]),
}


@pytest.mark.parametrize("point", CORNERS)
def test_corner(point: str) -> None:
    function, values, expected = CORNERS[point]
    assert gradients(function, *values) == pytest.approx(expected, nan_ok=True)


SECOND: dict[str, tuple[Any, float, float]] = {
    "x ** 1 at 0": (lambda x: x**1, 0, 0),
    "x ** 2 at 0": (lambda x: x**2, 0, 2),
    "x ** 3 at 0": (lambda x: x**3, 0, 0),
    "abs at 0": (torch.abs, 0, 0),
    "sinc at 0": (torch.sinc, 0, -(math.pi**2) / 3),
    "tanh at 1": (torch.tanh, 1, -2 * math.tanh(1) * (1 - math.tanh(1) ** 2)),
    "square at 0": (torch.square, 0, 2),
}


@pytest.mark.parametrize("point", SECOND)
def test_second_derivative(point: str) -> None:
    function, value, expected = SECOND[point]
    assert second(function, value) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["maximum", "minimum", "fmax", "fmin"])
def test_mass_is_conserved(name: str) -> None:
    x, y = torch.tensor([1.0, 2.0, 3.0, nan]), torch.tensor([2.0, 2.0, 1.0, nan])
    a, b = ts.tensor(x), ts.tensor(y)
    with ts.Grad() as g:
        out = getattr(torch, name)(a, b)
    da, db = g.gradient(out, (a, b))
    torch.testing.assert_close((da + db).data, torch.ones(4))


def test_a_constant_exponent_never_meets_log() -> None:
    x = ts.tensor([-2.0, 0.0, 2.0])
    with ts.Grad() as g:
        y = x ** torch.tensor([2.0, 3.0, 2.0])
    assert g.gradient(y, x).tolist() == [-4.0, 0.0, 4.0]


def test_agreement_of_a_recorded_pass() -> None:
    """The same values whether an outer context records the pass or not."""
    for name, low, high in UNARY_CASES:
        x = ts.tensor(rand(4, low=float(low), high=float(high)))
        with ts.Grad() as g:
            y = project([find(name)(x)])
        plain = g.gradient(y, x)
        with ts.Grad():
            recorded = g.gradient(y, x)
        torch.testing.assert_close(plain.data, recorded.data, rtol=1e-14, atol=1e-15)


# Functions without a derivative in torch, and where they are smooth.
OURS = """
special.bessel_j0 -3 3 | special.bessel_j1 -3 3 | special.bessel_y0 0.3 4 | special.bessel_y1 0.3 4
special.modified_bessel_i0 -3 3 | special.modified_bessel_i1 -3 3 | special.modified_bessel_k0 0.3 4
special.modified_bessel_k1 0.3 4 | special.scaled_modified_bessel_k0 0.3 4 | special.scaled_modified_bessel_k1 0.3 4
special.spherical_bessel_j0 -3 3
"""


@pytest.mark.parametrize("row", OURS.replace("\n", "|").strip("| ").split("|"))
def test_bessel_functions(row: str) -> None:
    """Both orders by finite differences, the second of the first."""
    name, low, high = row.split()
    x, direction = rand(2, 3, low=float(low), high=float(high)), rand(2, 3, seed=9)
    function = find(name)
    expected = slope(function, [x], [direction]), slope(lambda x: gradient(function, x), [x], [direction])
    _, [[first], _] = by_tensorad(function, [x], order=2)
    assert (first * direction).sum().item() == pytest.approx(expected[0], rel=1e-6)
    _, [[second]] = by_tensorad(lambda x: recorded(function, x), [x])
    assert (second * direction).sum().item() == pytest.approx(expected[1], rel=1e-6)


def recorded(function: Any, x: Any) -> Any:
    """The gradient of the sum of function(x), as an op of whoever records."""
    with ts.Grad() as g:
        y = function(x)
    return g.gradient(y, x)


def gradient(function: Any, x: torch.Tensor) -> torch.Tensor:
    return recorded(function, ts.tensor(x)).data


def test_bessel_functions_at_zero() -> None:
    x = torch.tensor([0.0])
    assert gradient(torch.special.bessel_j0, x).item() == 0
    assert gradient(torch.special.bessel_j1, x).item() == 0.5
    assert gradient(torch.special.modified_bessel_i1, x).item() == 0.5
    assert gradient(torch.special.spherical_bessel_j0, x).item() == 0


@pytest.mark.parametrize("function", [torch.igamma, torch.igammac, torch.special.gammainc, torch.special.zeta])
def test_functions_with_one_derivative_of_two(function: Any) -> None:
    shape, x = rand(2, 3, low=1.5, high=3), rand(3, low=0.3, high=2, seed=1)
    agree(lambda x: function(shape, x), x)
    with ts.Grad() as g:
        y = function(a := ts.tensor(shape), ts.tensor(x))
    with pytest.raises(ts.NoRuleError, match="argument 'input'"):
        g.gradient(y, a)


def test_frexp() -> None:
    x = torch.tensor([0.3, -5.0, 1.0, 100.0], dtype=torch.float64)
    agree(lambda x: torch.frexp(x)[0].sin(), x)
    mantissa, exponent = ts.tensor(x).frexp()
    assert (mantissa[1].item(), exponent.tolist()) == (-0.625, [-1, 3, 1, 7])


def test_logaddexp_of_infinities() -> None:
    """As torch at first order; its second is NaN wherever the difference of the two is large."""
    inf = math.inf
    pairs = (-inf, 0.0), (0.0, -inf), (inf, 0.0), (0.0, inf), (1000.0, 0.0), (-inf, inf)
    for function in (torch.logaddexp, torch.logaddexp2):
        for one, other in pairs:
            x, y = ts.tensor(one), ts.tensor(other)
            with ts.Grad() as outer:
                with ts.Grad() as g:
                    z = function(x, y)
                first = g.gradient(z, (x, y))
            assert [each.item() for each in first] == [one > other, other > one]
            assert [each.item() for each in outer.gradient(first[0], (x, y))] == [0, 0]
        assert gradient(lambda x: function(x, x), torch.tensor(inf)).isnan()  # noqa: B023


def test_nextafter_is_its_input_but_for_the_last_bit() -> None:
    """Also where both are equal, and torch gives neither anything."""
    x, y = ts.tensor([1.0, 2.0]), ts.tensor([1.0, 3.0])
    with ts.Grad() as g:
        z = torch.nextafter(x, y)
    assert [each.tolist() for each in g.gradient(z, [x, y])] == [[1, 1], [0, 0]]


def test_polygamma_as_a_method_takes_its_order_behind() -> None:
    agree(lambda x: x.polygamma(1) + x.polygamma(n=2), rand(3, low=0.5, high=2))
