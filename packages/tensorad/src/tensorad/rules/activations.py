"""Activations and other functions of torch.nn.functional that work entry by entry: corners, smooth ones, dropout.

Where torch has a kernel for a cotangent, that is several times faster than the formula; `fused` puts the two together.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch

from tensorad.errors import ArgumentError
from tensorad.op import OPS, composed, defrule, fused, linear, register
from tensorad.operands import lifted, plain
from tensorad.operators import replace_value
from tensorad.rules.normalization import along_channels

aten = torch.ops.aten
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, arXiv 1706.02515


# fmt: off

# With corners: piecewise linear, flat or steep. A corner gets the slope on the side that torch takes.
defrule("relu(input)", input=lambda g, out: above(g, out, 0))
defrule("relu6(input)", input=lambda g, out: between(g, out, 0, 6))
defrule("hardtanh(input, min_val=-1.0, max_val=1.0)", input=lambda g, out, min_val, max_val: between(g, out, min_val, max_val))
defrule("threshold(input, threshold, value)", input=lambda g, input, threshold: above(g, input, threshold))
defrule("hardshrink(input, lambd=0.5)", input=lambda g, input, lambd: outside(g, input, lambd))
defrule("softshrink(input, lambd=0.5)", input=lambda g, out: outside(g, out, 0))
leaky_relu = defrule("leaky_relu(input, negative_slope=0.01)", input=lambda g, input, negative_slope: leaky(g, input, negative_slope)).call
defrule("hardsigmoid(input)", input=lambda g, input: hardsigmoid(g, input))
defrule("hardswish(input)", input=lambda g, input: hardswish(g, input))
prelu_of_like = defrule("_prelu_kernel(input, weight)", joint=("input weight", lambda g, input, weight, wanted: prelu_slopes(g, input, weight, wanted))).call

# Smooth ones.
defrule("elu(input, alpha=1.0)", input=lambda g, input, alpha: elu(g, input, alpha, 1, 1))
defrule("celu(input, alpha=1.0)", input=lambda g, input, alpha: elu(g, input, alpha, 1, 1 / alpha))
defrule("selu(input)", input=lambda g, input: elu(g, input, SELU_ALPHA, SELU_SCALE, 1))
defrule("gelu(input, approximate='none')", input=lambda g, input, approximate: (gelu if approximate == "none" else gelu_by_tanh)(g, input))
defrule("silu(input)", input=lambda g, input: silu(g, input))
defrule("mish(input)", input=lambda g, input: mish(g, input))
defrule("softplus(input, beta=1, threshold=20)", input=lambda g, input, beta, threshold: softplus(g, input, beta, threshold))
defrule("logsigmoid(input)", function=aten.log_sigmoid_forward.default, input=lambda g, input, residuals: logsigmoid(g, input, residuals))
defrule("softsign(input)", input=lambda g, input: softsign(g, input))

# At random.
dropped = defrule("dropped(input, p, drawn, alpha)", function=lambda *args: drop(*args), input=lambda g, residuals: g * residuals).call
defrule("native_dropout(input, p, train)", outputs=True,
        input=lambda g, p, train, out: g[0] if train is False else g[0] * out[1] * (1 / (1 - p) if p < 1 else 0))
linear("native_dropout_backward(grad_output, mask, scale)", "ops.aten.native_dropout_backward",
       "ops.aten.native_dropout_backward.default",
       function=aten.native_dropout_backward.default, grad_output=lambda g, mask, scale: g * mask * scale)
rrelu_training = defrule("rrelu_training(input, lower, upper)", function=lambda *args: steepen(*args),
                         input=lambda g, residuals: g * residuals).call

# fmt: on


@composed("tanhshrink")
def tanhshrink(input: Any) -> Any:
    return input - input.tanh()


@composed("prelu")
def prelu(input: Any, weight: Any) -> Any:
    """With one weight for all, or one for each place along dimension 1."""
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or weight.shape.numel() not in (1, channels) or weight.dtype != input.dtype:
        return torch.prelu(plain(input), plain(weight))  # torch's own error
    return prelu_of_like(input, along_channels(weight, input) if input.ndim else weight.reshape(()))


@composed("rrelu")
def rrelu(input: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Any:
    if not -math.inf < lower <= upper < math.inf:
        return torch.rrelu(plain(input), lower, upper, training)  # torch's own error
    return rrelu_training(input, lower, upper) if training else leaky_relu(input, (lower + upper) / 2)


def dropout(drawn: int | None, alpha: bool, default: bool) -> Callable[..., Any]:
    """A kind of dropout: in the first `drawn` dimensions (None: in all) every place has a draw of its own."""

    def call(input: Any, p: float = 0.5, training: bool = default, train: bool | None = None) -> Any:
        if not 0 <= p <= 1:
            raise ArgumentError(f"a dropout probability is between 0 and 1, not {p}")
        if not (training if train is None else train) or p == 0 or not input.numel():
            return input
        return input * 0 if p == 1 else dropped(input, p, drawn, alpha)

    return call


composed("dropout")(dropout(None, False, True))
composed("alpha_dropout")(dropout(None, True, False))
feature_dropout = composed("feature_dropout", "dropout2d")(dropout(2, False, True))


@composed("dropout3d")
def dropout3d(input: Any, p: float = 0.5, training: bool = True) -> Any:
    return feature_dropout(input, p, training) if input.ndim == 5 else dropout3d(input.unsqueeze(0), p, training)[0]


composed("dropout1d")(dropout(-1, False, True))
composed("feature_alpha_dropout")(dropout(2, True, False))


@composed("gumbel_softmax")
def gumbel_softmax(logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Any:
    """With `hard`, the value is 1 at the maximum and 0 elsewhere, the derivative that of the soft one: Jang et al. 2017."""
    noise = torch.empty_like(plain(logits), memory_format=torch.legacy_contiguous_format).exponential_().log()
    soft = ((logits - noise) / tau).softmax(dim)
    if not hard:
        return soft
    found = plain(soft)
    ones = torch.zeros_like(found).scatter_(dim, found.max(dim, keepdim=True)[1], 1.0)
    return ones - found + soft


def allow_inplace(name: str) -> Callable[..., Any]:
    """The op of that name with torch's `inplace=`: where it is true, the argument gets the result as its new value."""

    @functools.wraps(OPS[name])
    def function(input: Any, *args: Any, inplace: bool = False, **kwargs: Any) -> Any:
        value = OPS[name](input, *args, **kwargs)
        return replace_value(lifted(input), value) if inplace else value

    return function


for _name in (
    "relu relu6 leaky_relu rrelu elu celu selu silu mish hardtanh hardswish hardsigmoid threshold "
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"
).split():
    register(f"nn.functional.{_name}", allow_inplace(_name))


@fused(aten.threshold_backward.default)
def above(g: Any, x: Any, threshold: float) -> Any:
    return g.masked_fill(x <= threshold, 0)


@fused(aten.hardtanh_backward.default)
def between(g: Any, x: Any, low: float, high: float) -> Any:
    return g.masked_fill((x <= low) | (x >= high), 0)


@fused(aten.hardshrink_backward.default)
def outside(g: Any, x: Any, bound: float) -> Any:
    return g.masked_fill((x >= -bound) & (x <= bound), 0)


@fused(lambda g, x, slope: aten.leaky_relu_backward.default(g, x, slope, False))
def leaky(g: Any, x: Any, slope: float) -> Any:
    return g.where(x > 0, g * slope)


@fused(aten.hardsigmoid_backward.default)
def hardsigmoid(g: Any, x: Any) -> Any:
    return g.masked_fill(~((x > -3) & (x < 3)), 0) / 6  # 0 at NaN, as the kernel


@fused(aten.hardswish_backward.default)
def hardswish(g: Any, x: Any) -> Any:
    return (g * (x / 3 + 0.5)).where(x < 3, g).masked_fill(x <= -3, 0)


@fused(lambda g, x, weight, wanted: aten._prelu_kernel_backward.default(g, x, weight))
def prelu_slopes(g: Any, x: Any, weight: Any, wanted: Any) -> tuple[Any, Any]:
    """The kernel is faster with both than these are with one."""
    return g.where(x > 0, g * weight) if wanted[0] else None, (g * x).masked_fill(x > 0, 0) if wanted[1] else None


@fused(lambda g, x, alpha, scale, input_scale: aten.elu_backward.default(g, alpha, scale, input_scale, False, x))
def elu(g: Any, x: Any, alpha: float, scale: float, input_scale: float) -> Any:
    # Clamped, as exp would overflow above.
    below = g * (x.clamp(max=0) * input_scale).exp() * (alpha * scale * input_scale)
    return below.where(x <= 0, g * scale)


@fused(aten.gelu_backward.default)
def gelu(g: Any, x: Any) -> Any:
    """d/dx x P(x) = P(x) + x p(x), with P and p of the standard normal distribution."""
    return g * ((1 + (x / math.sqrt(2)).erf()) / 2 + x * (x * x / -2).exp() / math.sqrt(2 * math.pi))


@fused(lambda g, x: aten.gelu_backward.default(g, x, approximate="tanh"))
def gelu_by_tanh(g: Any, x: Any) -> Any:
    """d/dx x (1 + tanh u) / 2, u = sqrt(2 / pi) (x + 0.044715 x**3): Hendrycks and Gimpel 2016, arXiv 1606.08415."""
    t = (math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)).tanh()
    return g * ((1 + t) + x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)) / 2


@fused(aten.silu_backward.default)
def silu(g: Any, x: Any) -> Any:
    s = x.sigmoid()
    return g * (s + x * s * (1 - s))


@fused(aten.mish_backward.default)
def mish(g: Any, x: Any) -> Any:
    """d/dx x t for t = tanh(softplus(x))."""
    t = torch.nn.functional.softplus(x).tanh()
    return g * (t + x * (1 - t * t) * x.sigmoid())


@fused(aten.softplus_backward.default)
def softplus(g: Any, x: Any, beta: float, threshold: float) -> Any:
    return g.where(x * beta > threshold, g * (x * beta).sigmoid())


@fused(aten.log_sigmoid_backward.default)
def logsigmoid(g: Any, x: Any, buffer: Any) -> Any:
    return g * (-x).sigmoid()


def softsign(g: Any, input: Any) -> Any:
    """For x / (1 + |x|): of complex numbers, |x| changes with the part of a change of x that lies along x."""
    denominator = 1 + input.abs()
    if not input.is_complex():
        return g / denominator.square()
    return g / denominator - (g * input).real / denominator.square() * input.sgn().conj()


def drop(input: Any, p: float, drawn: int | None, alpha: bool) -> Any:
    """The input after dropout, and the noise it was multiplied by. Drawn as torch does: a seed gives the same values.

    Alpha dropout keeps mean and variance of what comes from a selu: Klambauer et al. 2017, arXiv 1706.02515.
    """
    if input.is_cuda and drawn is None and not alpha:  # torch draws in a kernel of its own there
        out, mask = torch.native_dropout(input, p, True)
        return out, mask.to(input.dtype).div_(1 - p)
    kept = input.shape[:drawn]
    noise = torch.empty_like(input) if drawn is None else input.new_empty(kept + (1,) * (input.ndim - len(kept)))
    noise.bernoulli_(1 - p)
    if not alpha:
        noise.div_(1 - p)
        return input * noise, noise
    low = SELU_ALPHA * SELU_SCALE
    scale = 1 / math.sqrt((low * low * p + 1) * (1 - p))
    shift = noise.sub(1).mul_(low * scale).add_(low * scale * p)
    noise.mul_(scale)
    return input * noise + shift, noise


def steepen(input: Any, lower: float, upper: float) -> Any:
    """The rrelu of training, and the slopes that it drew."""
    slopes = torch.empty_like(input)
    return aten.rrelu_with_noise.default(input, slopes, lower, upper, True), slopes
