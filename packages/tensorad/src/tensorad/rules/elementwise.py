"""Elementwise functions: arithmetic, powers, exponentials, trigonometry, rounding, selection, special functions."""

import math
from typing import Any, NoReturn

import torch

from tensorad.errors import NoRuleError
from tensorad.op import OPS, composed, defrule, fused, linear
from tensorad.tensor import TABLE, Tensor

SQRT_PI = math.sqrt(math.pi)
LN2 = math.log(2)
LN10 = math.log(10)

# fmt: off

# Arithmetic. What the operators mean comes first; torch.add and torch.sub, with their alpha=, are dispatched below.
add = linear("add(input, other)", "__add__", input=lambda g: g, other=lambda g: g).call
sub = linear("sub(input, other)", "__sub__", input=lambda g: g, other=lambda g: -g).call
add_scaled = linear("add_scaled(input, other, alpha)", function=lambda a, b, alpha: torch.add(a, b, alpha=alpha),
                    input=lambda g: g, other=lambda g, alpha: g * alpha).call
linear("rsub(input, other, *, alpha=1)", input=lambda g, alpha: g * -alpha, other=lambda g: g)
mul = defrule("mul(input, other)", "multiply", input=lambda g, other: g * other, other=lambda g, input: g * input).call
div = defrule("true_divide(input, other)", input=lambda g, other: g / other, other=lambda g, out, other: -g * (out / other)).call
div_rounded = defrule("div_rounded(input, other, mode)", function=lambda a, b, mode: torch.div(a, b, rounding_mode=mode),
                      input=lambda g: torch.zeros_like(g), other=lambda g: torch.zeros_like(g)).call
linear("neg(input)", "negative", input=lambda g: -g)
linear("positive(input)", input=lambda g: g)
defrule("reciprocal(input)", input=lambda g, out: -g * out * out)
defrule("square(input)", input=lambda g, input: g * (2 * input))
defrule("addcmul(input, tensor1, tensor2, *, value=1)", input=lambda g: g,
        tensor1=lambda g, tensor2, value: g * tensor2 * value, tensor2=lambda g, tensor1, value: g * tensor1 * value)
defrule("addcdiv(input, tensor1, tensor2, *, value=1)", input=lambda g: g,
        tensor1=lambda g, tensor2, value: g * value / tensor2,
        tensor2=lambda g, tensor1, tensor2, value: -g * value * tensor1 / (tensor2 * tensor2))
defrule("lerp(input, end, weight)", input=lambda g, weight: g * (1 - weight), end=lambda g, weight: g * weight,
        weight=lambda g, input, end: g * (end - input))
linear("deg2rad(input)", input=lambda g: g * (math.pi / 180))
linear("rad2deg(input)", input=lambda g: g * (180 / math.pi))

# Remainders: constant steps of the quotient have no slope.
defrule("remainder(input, other)", input=lambda g: g, other=lambda g, input, other: -g * torch.floor(input / other))
defrule("fmod(input, other)", input=lambda g: g, other=lambda g, input, other: -g * torch.trunc(input / other))

# Powers, exponentials and logarithms. The derivative by a base never meets log, nor the one by an exponent a 0 ** -1.
pow = defrule("pow(input, exponent)",
              input=lambda g, input, exponent: g * power_slope(input, exponent),
              exponent=lambda g, input, exponent, out: g * exponent_slope(input, exponent, out)).call
defrule("float_power(input, exponent)",
        input=lambda g, input, exponent: g * power_slope(input, exponent),
        exponent=lambda g, input, exponent, out: g * exponent_slope(input, exponent, out))
defrule("exp(input)", input=lambda g, out: g * out)
defrule("exp2(input)", "special.exp2", input=lambda g, out: g * out * LN2)
defrule("expm1(input)", input=lambda g, out: g * (out + 1))
defrule("log(input)", input=lambda g, input: g / input)
defrule("log2(input)", input=lambda g, input: g / (input * LN2))
defrule("log10(input)", input=lambda g, input: g / (input * LN10))
defrule("log1p(input)", input=lambda g, input: g / (input + 1))
defrule("sqrt(input)", input=lambda g, out: g / (2 * out))
defrule("rsqrt(input)", input=lambda g, out: g * out * out * out * -0.5)
defrule("logaddexp(input, other)", input=lambda g, input, other: g * (input - other).sigmoid(), other=lambda g, input, other: g * (other - input).sigmoid())
defrule("logaddexp2(input, other)", input=lambda g, input, other: g * ((input - other) * LN2).sigmoid(), other=lambda g, input, other: g * ((other - input) * LN2).sigmoid())
defrule("ldexp(input, other)", input=lambda g, other: g * torch.exp2(other), other=lambda g, out: g * out * LN2)
defrule("xlogy(input, other)", input=lambda g, input, other: xlogy_slope(g, input, torch.xlogy(torch.ones_like(g), other), other <= 0), other=lambda g, input, other: g * input / other)
defrule("special.xlog1py(input, other)", input=lambda g, input, other: xlogy_slope(g, input, torch.special.xlog1py(torch.ones_like(g), other), other <= -1), other=lambda g, input, other: g * input / (other + 1))

# Trigonometric and hyperbolic functions and their inverses.
defrule("sin(input)", input=lambda g, input: g * input.cos())
defrule("cos(input)", input=lambda g, input: -g * input.sin())
defrule("tan(input)", input=lambda g, out: g * (1 + out * out))
defrule("asin(input)", "arcsin", input=lambda g, input: g * (1 - input * input).rsqrt())
defrule("acos(input)", "arccos", input=lambda g, input: -g * (1 - input * input).rsqrt())
defrule("atan(input)", "arctan", input=lambda g, input: g / (1 + input * input))
defrule("sinh(input)", input=lambda g, input: g * input.cosh())
defrule("cosh(input)", input=lambda g, input: g * input.sinh())
defrule("tanh(input)", input=lambda g, out: tanh_pull(g, out))
defrule("asinh(input)", "arcsinh", input=lambda g, input: g * (input * input + 1).rsqrt())
defrule("acosh(input)", "arccosh", input=lambda g, input: g * ((input - 1).rsqrt() * (input + 1).rsqrt()))
defrule("atanh(input)", "arctanh", input=lambda g, input: g / (1 - input * input))
defrule("sinc(input)", input=lambda g, input: g * sinc_slope(input))
defrule("atan2(input, other)", "arctan2", input=lambda g, input, other: g * (other / nonzero(input * input + other * other)),
        other=lambda g, input, other: -g * (input / nonzero(input * input + other * other)))
defrule("hypot(input, other)", input=lambda g, input, out: g * (input / nonzero(out)), other=lambda g, other, out: g * (other / nonzero(out)))

# Signs, rounding and other functions with corners and jumps: 0 on the steps, the mean of both sides at an even corner.
defrule("abs(input)", "absolute", input=lambda g, input: g * input.sgn().conj())
defrule("sign(input)", input=lambda g: torch.zeros_like(g))
defrule("sgn(input)", input=lambda g, input, out: sgn_slope(g, input, out))
defrule("floor(input)", input=lambda g: torch.zeros_like(g))
defrule("ceil(input)", input=lambda g: torch.zeros_like(g))
defrule("round(input, *, decimals=0)", input=lambda g: torch.zeros_like(g))
defrule("trunc(input)", "fix", input=lambda g: torch.zeros_like(g))
defrule("frac(input)", input=lambda g: g)
defrule("heaviside(input, values)", input=lambda g: torch.zeros_like(g), values=lambda g, input: g * (input == 0))
defrule("copysign(input, other)", input=lambda g, input, out: g * (input.sgn() * out.sgn()), other=lambda g: torch.zeros_like(g))
defrule("nan_to_num(input, nan=None, posinf=None, neginf=None)", input=lambda g, input: where_finite(g, input))
defrule("nextafter(input, other)", input=lambda g: g, other=lambda g: torch.zeros_like(g))
defrule("frexp(input)", outputs=True, input=lambda g, out: g[0] * (-out[1].to(g[0].dtype)).exp2())

# Selection: what each operand receives adds up to g. Ties are split evenly, and a NaN takes all.
defrule("maximum(input, other)", input=lambda g, input, other: g * share(input, other, torch.gt), other=lambda g, input, other: g * share(other, input, torch.gt))
defrule("minimum(input, other)", input=lambda g, input, other: g * share(input, other, torch.lt), other=lambda g, input, other: g * share(other, input, torch.lt))
defrule("fmax(input, other)", input=lambda g, input, other: g * share(input, other, torch.gt, numbers=True), other=lambda g, input, other: g * share(other, input, torch.gt, numbers=True))
defrule("fmin(input, other)", input=lambda g, input, other: g * share(input, other, torch.lt, numbers=True), other=lambda g, input, other: g * share(other, input, torch.lt, numbers=True))
where = linear("where(condition, input, other)", input=lambda g, condition: g.where(condition, 0), other=lambda g, condition: torch.where(condition, 0, g)).call
clamp = defrule("clamp(input, min=None, max=None)", "clip",
        input=lambda g, input, min, max: g.where(inside(input, min, max), 0),
        min=lambda g, input, min, max: g.where(below(input, min, max), 0),
        max=lambda g, input, min, max: g.where(above(input, min, max), 0)).call

# Special functions. DLMF is the Digital Library of Mathematical Functions, with the number of the formula.
defrule("sigmoid(input)", "special.expit", input=lambda g, out: sigmoid_pull(g, out))
defrule("logit(input, eps=None)", "special.logit", input=lambda g, input, eps: logit_slope(g, input, eps))
defrule("erf(input)", input=lambda g, input: g * (2 / SQRT_PI) * (-input * input).exp())  # DLMF 7.2.1
defrule("erfc(input)", input=lambda g, input: g * (-2 / SQRT_PI) * (-input * input).exp())  # DLMF 7.2.2
defrule("erfinv(input)", input=lambda g, out: g * (SQRT_PI / 2) * (out * out).exp())  # DLMF 7.2.1, of the inverse
defrule("special.erfcx(input)", input=lambda g, input, out: g * (2 * input * out - 2 / SQRT_PI))  # DLMF 7.10.1
defrule("special.ndtr(input)", input=lambda g, input: g * (input * input * -0.5).exp() / math.sqrt(2 * math.pi))
defrule("special.ndtri(input)", input=lambda g, out: g * (out * out * 0.5).exp() * math.sqrt(2 * math.pi))
defrule("special.log_ndtr(input)", input=lambda g, input, out: g * (input * input * -0.5 - out).exp() / math.sqrt(2 * math.pi))
defrule("special.entr(input)", input=lambda g, input: g * (-1 - input.log()))
defrule("lgamma(input)", "special.gammaln", input=lambda g, input: g * torch.digamma(input))  # DLMF 5.2.2
defrule("mvlgamma(input, p)", "special.multigammaln", input=lambda g, input, p: g * sum(torch.digamma(input - j / 2) for j in range(p)))  # DLMF 35.3.4
defrule("digamma(input)", "special.digamma", "special.psi", input=lambda g, input: g * torch.polygamma(1, input))  # DLMF 5.15.1
polygamma = defrule("polygamma(n, input)", "special.polygamma", input=lambda g, n, input: g * torch.polygamma(n + 1, input)).call  # DLMF 5.15.1
defrule("i0(input)", "special.i0", input=lambda g, input: g * torch.special.i1(input))  # DLMF 10.29.3
defrule("special.i1(input)", input=lambda g, input, out: g * (torch.i0(input) - out / nonzero(input)).where(input != 0, 0.5))  # DLMF 10.29.2
defrule("special.i0e(input)", input=lambda g, input, out: g * (torch.special.i1e(input) - input.sgn() * out))  # DLMF 10.29.3
defrule("special.i1e(input)", input=lambda g, input, out: g * (torch.special.i0e(input) - out * (input.sgn() + 1 / nonzero(input))).where(input != 0, 0.5))  # DLMF 10.29.2
defrule("igamma(input, other)", "special.gammainc", input=lambda g: unknown("igamma", "input"), other=lambda g, input, other: g * gamma_density(input, other))
defrule("igammac(input, other)", "special.gammaincc", input=lambda g: unknown("igammac", "input"), other=lambda g, input, other: -g * gamma_density(input, other))
defrule("special.zeta(input, other)", input=lambda g: unknown("zeta", "input"), other=lambda g, input, other: g * (-input * torch.special.zeta(input + 1, other)))  # DLMF 25.11.17
defrule("special.bessel_j0(input)", input=lambda g, input: g * -torch.special.bessel_j1(input))  # DLMF 10.6.3
defrule("special.bessel_j1(input)", input=lambda g, input, out: g * (torch.special.bessel_j0(input) - out / nonzero(input)).where(input != 0, 0.5))  # DLMF 10.6.2
defrule("special.bessel_y0(input)", input=lambda g, input: g * -torch.special.bessel_y1(input))  # DLMF 10.6.3
defrule("special.bessel_y1(input)", input=lambda g, input, out: g * (torch.special.bessel_y0(input) - out / input))  # DLMF 10.6.2
defrule("special.modified_bessel_i0(input)", input=lambda g, input: g * torch.special.i1(input))  # DLMF 10.29.3
defrule("special.modified_bessel_i1(input)", input=lambda g, input, out: g * (torch.i0(input) - out / nonzero(input)).where(input != 0, 0.5))  # DLMF 10.29.2
defrule("special.modified_bessel_k0(input)", input=lambda g, input: g * -torch.special.modified_bessel_k1(input))  # DLMF 10.29.3
defrule("special.modified_bessel_k1(input)", input=lambda g, input, out: g * (-torch.special.modified_bessel_k0(input) - out / input))  # DLMF 10.29.2
defrule("special.scaled_modified_bessel_k0(input)", input=lambda g, input, out: g * (out - torch.special.scaled_modified_bessel_k1(input)))  # DLMF 10.29.3
defrule("special.scaled_modified_bessel_k1(input)", input=lambda g, input, out: g * (out - torch.special.scaled_modified_bessel_k0(input) - out / input))  # DLMF 10.29.2
defrule("special.spherical_bessel_j0(input)", input=lambda g, input: g * sinc_slope(input / math.pi) / math.pi)  # DLMF 10.49.3

# fmt: on


@composed("add")
def add_or_add_scaled(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    return add(input, other) if alpha == 1 else add_scaled(input, other, alpha)


@composed("sub", "subtract")
def sub_or_sub_scaled(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    return sub(input, other) if alpha == 1 else add_scaled(input, other, -alpha)


@composed("clamp_min")
def clamp_from_below(input: Any, min: Any) -> Any:
    return clamp(input, min)


@composed("clamp_max")
def clamp_from_above(input: Any, max: Any) -> Any:
    return clamp(input, None, max)


@composed("where")
def where_or_places(condition: Any, input: Any = None, other: Any = None) -> Any:
    return OPS["nonzero"](condition, as_tuple=True) if input is None else where(condition, input, other)


def where_of_a_value(input: Any, condition: Any, other: Any) -> Any:
    """The method, which puts the value before the condition."""
    return where(condition, input, other)


Tensor.where = TABLE[torch.Tensor.where] = where_of_a_value  # pyright: ignore[reportAttributeAccessIssue]


def polygamma_of_order(input: Any, n: int) -> Any:
    """The method takes the two in the other order."""
    return polygamma(n, input)


Tensor.polygamma = TABLE[torch.Tensor.polygamma] = polygamma_of_order  # pyright: ignore[reportAttributeAccessIssue]


@composed("div", "divide")
def divide(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    return div(input, other) if rounding_mode is None else div_rounded(input, other, rounding_mode)


@fused(lambda g, out: torch.ops.aten.tanh_backward.default(g, out.conj()))  # which conjugates its second argument
def tanh_pull(g: Any, out: Any) -> Any:
    return g * (1 - out * out)


@fused(lambda g, out: torch.ops.aten.sigmoid_backward.default(g, out.conj()))
def sigmoid_pull(g: Any, out: Any) -> Any:
    return g * (out * (1 - out))


def nonzero(value: Any) -> Any:
    """`value` with 1 for 0: a denominator whose numerator is 0 there, and stays 0 instead of NaN at every order."""
    return value.masked_fill(value == 0, 1)


def power_slope(base: Any, exponent: Any) -> Any:
    """d/db b**e = e b**(e-1), and 0 for e = 0 whatever b is."""
    if isinstance(exponent, torch.Tensor | Tensor):
        zero = exponent == 0
        return (exponent * base ** exponent.masked_fill(zero, 2).sub(1)).masked_fill(zero, 0)
    if exponent == 0:
        return torch.zeros_like(base)
    return 2 * base if exponent == 2 else exponent * base ** (exponent - 1)


def exponent_slope(base: Any, exponent: Any, out: Any) -> Any:
    """d/de b**e = b**e log b, and 0 for b = 0 where b**e is 0 or 1 (e >= 0)."""
    if not isinstance(base, torch.Tensor | Tensor):
        base = torch.as_tensor(base, dtype=out.dtype)
    flat = (base == 0) & (exponent.real >= 0 if exponent.is_complex() else exponent >= 0)
    return (out * base.masked_fill(flat, 1).log()).masked_fill(flat, 0)


def gamma_density(shape: Any, x: Any) -> Any:
    """d/dx of the regularized incomplete gamma function: DLMF 8.8.13."""
    return (torch.xlogy(shape - 1, x) - x - torch.lgamma(shape)).exp()


def unknown(function: str, operand: str) -> NoReturn:
    """The rule of an operand whose derivative is no function that torch has."""
    raise NoRuleError(f"{function} has no derivative rule for its argument {operand!r}: torch has no function for it")


def xlogy_slope(g: Any, factor: Any, logarithm: Any, at_pole: Any) -> Any:
    """g times the logarithm, but 0 where the factor is 0 and the logarithm has a pole: x log y is 0 on that whole line."""
    return (g * logarithm).masked_fill((factor == 0) & at_pole, 0)


def sinc_slope(x: Any) -> Any:
    """d/dx sin(pi x) / (pi x), with its even limits at 0: value 0, second derivative -pi**2 / 3.

    Near 0, where the formula is a difference of large numbers, the Taylor series of sinc stands in.
    """
    near = x.abs() < 1e-3
    y = x.masked_fill(near, 1)
    far = ((math.pi * y).cos() - torch.sinc(y)) / y
    square = (math.pi * x) ** 2
    series = math.pi**2 * x * (-1 / 3 + square * (1 / 30 - square / 840))
    return torch.where(near, series, far)


def sgn_slope(g: Any, input: Any, out: Any) -> Any:
    """0 for real numbers and at 0; for z / |z|, the part of g across z, over |z|."""
    if not input.is_complex():
        return torch.zeros_like(g)
    along = torch.real(g * out)
    return ((g - along * out.conj()) / nonzero(input.abs())).masked_fill(input == 0, 0)


def where_finite(g: Any, input: Any) -> Any:
    """g where the input is a number, in its real and imaginary part each for itself."""
    if not input.is_complex():
        return g * torch.isfinite(input)
    return torch.complex(g.real * torch.isfinite(input.real), g.imag * torch.isfinite(input.imag))


def share(mine: Any, theirs: Any, wins: Any, numbers: bool = False) -> Any:
    """How much of g the operand `mine` gets: half in a tie, all if it wins, else nothing.

    A NaN wins, and two tie; where `numbers` are preferred (fmax, fmin) it loses.
    """
    nan, other_nan = mine != mine, theirs != theirs
    won = wins(mine, theirs) | (other_nan if numbers else nan)
    return torch.where((mine == theirs) | (nan & other_nan), 0.5, won * 1.0)


def inside(x: Any, low: Any, high: Any) -> Any:
    """Where clamping left x as it is, the bounds included."""
    if low is None or high is None:
        return x >= low if high is None else x <= high
    return (x >= low) & (x <= high)


def below(x: Any, low: Any, high: Any) -> Any:
    """Where clamp returns its lower bound: not where the upper one is smaller still, since that one wins."""
    return x < low if high is None else (x < low) & (low <= high)


def above(x: Any, low: Any, high: Any) -> Any:
    """Where clamp returns its upper bound."""
    return x > high if low is None else (x > high) | (low > high)


def logit_slope(g: Any, x: Any, eps: float | None) -> Any:
    """1 / (x (1 - x)) where x is inside [eps, 1 - eps], 0 where it was clamped to that; NaN outside [0, 1] with no eps."""
    slope = g / (x * (1 - x))
    if eps is None:
        return slope.masked_fill((x < 0) | (x > 1), math.nan)
    return slope.where((x >= eps) & (x <= 1 - eps), 0)
