"""The gradients at corners, ties and poles, beside torch's and JAX's: what `tensorad.rule` says of an op.

docs/conventions.md has the same rows, and the policy behind them.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from tensorad.rules.losses import in_rows
from tensorad.rules.reductions import kept
from tensorad.rules.segments import segment_shares


class Convention(NamedTuple):
    """What the gradient is at a hard point: a row of the table of conventions.

    Attributes:
        ops: the names of the ops that it is about, with spaces between them.
        where: the point, in words.
        torch: what the gradient is there in torch.
        jax: what it is in JAX; a dash where there is no such function.
        ours: what it is here; `≠` marks where that departs from torch's on purpose.
        corner: which entries sit there, where the value is a choice; None where `check="corners"` looks for none. Its
            parameters say what it needs, as those of a rule.
        by: the operands whose gradients it is about; all of them, if left out.
    """

    ops: str
    where: str
    torch: str
    jax: str
    ours: str
    # Which entries sit there, where the value is a choice: not at a pole, and not where it is exact. Its parameters say
    # what it needs, as those of a rule: arguments of the op, `out`, or the op's `name`; a row is about the ops that have
    # them. It gives a mask of the output's shape (for what works entry by entry), an Entries, a list of these, or None.
    corner: Callable[..., Any] | None = None
    by: str = ""


class Entries(NamedTuple):
    """Entries that sit on a corner or in a tie, and how to tell from a cotangent which of them a gradient relied on."""

    mask: torch.Tensor
    of: str  # of what: an operand by its name, or the output
    values: torch.Tensor  # of the mask's shape: what stands there
    # From a batch of cotangents: which entries one of them makes count, as something that broadcasts to (batch, *mask).
    relied: Callable[[torch.Tensor], torch.Tensor] | None = None  # None: those at the same place that are not 0
    output: int = 0  # the number of the output whose cotangent it is, where the op has several


OUTPUT = "the output"


# fmt: off

CONVENTIONS = [
    Convention("abs", "`abs(x)` at 0", "0", "1", "0", lambda input: zero(input, complex=False)),
    Convention("relu", "`relu(x)` at 0", "0", "0", "0", lambda input: input == 0),
    Convention("relu6", "`relu6(x)` at 0 and 6", "0", "0", "0", lambda input: (input == 0) | (input == 6)),
    Convention("leaky_relu", "`leaky_relu(x)` at 0", "0.01", "1", "0.01: the slope of the left side", lambda input, negative_slope: None if negative_slope == 1 else input == 0),
    Convention("prelu _prelu_kernel", "`prelu(x, 0.25)` at 0, by x", "0.25", "–", "0.25", lambda input, weight: (input == 0) & (weight != 1), by="input"),
    Convention("rrelu rrelu_training", "`rrelu(x, training=True)` at 0", "the slope that was drawn", "–", "the slope that was drawn", lambda input: input == 0),
    Convention("maximum", "`maximum(x, 0)` at 0, by x", "0.5", "0.5", "0.5: a tie with a constant is a tie"),
    Convention("hardtanh", "`hardtanh(x)` at 1", "0", "1", "0", lambda input, min_val, max_val: (input == min_val) | (input == max_val)),
    Convention("hardshrink", "`hardshrink(x)` at 0.5", "0", "–", "0", lambda input, lambd: input.abs() == lambd),
    Convention("softshrink", "`softshrink(x)` at 0.5", "0", "–", "0", lambda input, lambd: input.abs() == lambd),
    Convention("threshold", "`threshold(x, t, value)` at t", "0", "–", "0", lambda input, threshold: input == threshold),
    Convention("hardsigmoid", "`hardsigmoid(x)` at −3 and 3", "0", "0", "0", lambda input: input.abs() == 3),
    Convention("hardswish", "`hardswish(x)` at −3; at 3", "0; 1", "0; 1", "0; 1", lambda input: input.abs() == 3),
    Convention("elu", "`elu(x)` at 0", "1", "1", "1"),
    Convention("elu", "`elu(x, alpha=2)` at 0", "2", "2", "2: the slope of the left side", lambda input, alpha: None if alpha == 1 else input == 0),
    Convention("selu", "`selu(x)` at 0", "1.758", "1.758", "1.758: the slope of the left side", lambda input: input == 0),
    Convention("clamp clip", "`clamp` at a bound", "1", "0.5 (`lax.clamp`: 0)", "1", lambda input, min, max: at_bound(input, min, max)),
    Convention("logit", "`logit(x, eps)` at eps and 1 − eps", "1 / (x (1 − x))", "–", "1 / (x (1 − x))", lambda input, eps: None if eps is None else (input == eps) | (input == 1 - eps)),
    Convention("sign sgn", "`sign(x)` at 0", "0", "0", "0", lambda input: zero(input, complex=False)),
    Convention("floor ceil", "`floor(x)`, `ceil(x)` at an integer", "0", "0", "0", lambda input, out: (input == out) & input.isfinite()),
    Convention("round", "`round(x)` at an integer and a half", "0", "0", "0", lambda input, decimals: halfway(input * 10**decimals)),
    Convention("trunc", "`trunc(x)` at an integer but 0", "0", "0", "0", lambda input, out: (input == out) & (input != 0) & input.isfinite()),
    Convention("frac", "`frac(x)` at an integer but 0", "1", "1", "1", lambda input, out: (out == 0) & (input != 0)),
    Convention("div div_rounded", "`div(x, y)`, rounded, where x / y is an integer", "0; 0", "0; 0", "0; 0", lambda input, other, mode: jump_of_quotient(input / other, mode)),
    Convention("remainder", "`remainder(4, 2)`", "1; −2", "1; −2", "1; −2: the right side", lambda out: out == 0),
    Convention("fmod", "`fmod(4, 2)`", "1; −2", "1; −2", "1; −2", lambda input, out: (out == 0) & (input != 0)),
    Convention("frexp", "`frexp(x)`: the mantissa at a power of 2", "0.25 at 2", "0.25", "0.25 at 2: the right side", lambda out: out[0].abs() == 0.5),
    Convention("heaviside", "`heaviside(0, 0.5)`", "has no rule", "0; 1", "0; 1 **≠**", lambda input: input == 0, by="input"),
    Convention("copysign", "`copysign(x, 2)` at 0", "0", "1", "0", lambda input: input == 0, by="input"),
    Convention("copysign", "`copysign(2, y)` at 0", "0", "0", "0", lambda input, other: (other == 0) & (input != 0), by="other"),
    Convention("nan_to_num", "`nan_to_num` at NaN or inf", "0", "0", "0", lambda input: ~input.isfinite()),
    Convention("sqrt", "`sqrt(x)` at 0", "inf", "inf", "inf"),
    Convention("sqrt", "`sqrt(x * x)` at 0", "NaN", "NaN", "NaN: inf times 0. `abs(x)` or `norm(x)` say what is meant"),
    Convention("norm linalg.vector_norm", "2-norm of the zero vector", "0", "NaN", "0", lambda ord, out: Entries(out == 0, OUTPUT, out) if ord == 2 else None),
    Convention("norm linalg.vector_norm", "1-norm of [0, 1]", "[0, 1]", "[1, 1]", "[0, 1]", lambda input, ord, dim, out: along(input == 0, input, out, dim) if ord == 1 else None),
    Convention("norm linalg.vector_norm", "inf-norm of [1, −1, 0]", "[0.5, −0.5, 0]", "the same", "[0.5, −0.5, 0]: split evenly", lambda input, ord, dim, out: extremes_of_norm(input, ord, dim, out)),
    Convention("norm linalg.vector_norm", "3-norm of the zero vector", "0", "NaN", "0", lambda ord, out: Entries(out == 0, OUTPUT, out) if 1 < ord < math.inf and ord != 2 else None),
    Convention("norm linalg.vector_norm", "0.5-norm of [0, 1]", "[0, 1]", "[inf, 1]", "[0, 1]", lambda input, ord, dim, out: along(input == 0, input, out, dim) if -math.inf < ord < 1 else None),
    Convention("dist cdist", "`cdist` of equal points", "0; 0", "–", "0; 0", lambda out: Entries(out == 0, OUTPUT, out)),
    Convention("pdist", "`pdist` of equal points", "0", "–", "0", lambda input, p, out: equal_points(input, p, out)),
    Convention("linalg.norm linalg.matrix_norm", "Frobenius norm of the zero matrix", "0", "NaN", "0"),
    Convention("hypot", "`hypot(0, 0)`", "NaN", "0.5; 0.5", "0; 0 **≠**, as for the norm", lambda input, other: (input == 0) & (other == 0)),
    Convention("std std_mean", "`std` of equal values", "0", "NaN", "0", lambda input, dim, out: equal_values(input, dim, out)),
    Convention("std", "`std` of one value, corrected", "NaN", "NaN", "NaN, as the value itself"),
    Convention("var", "`var` of equal values", "0", "0", "0"),
    Convention("nn.functional.normalize cosine_similarity per_length", "`normalize` of the zero vector", "1e12", "–", "1e12", lambda length, eps: length <= eps),
    Convention("cosine_similarity", "`cosine_similarity` of 0 and v", "1e8", "–", "1e8"),
    Convention("renorm shrinking", "`renorm` of a vector whose norm is the bound", "1", "–", "1: it is left as it is", lambda length, bound: length == bound),
    Convention("max min", "`max(x)` of [1, 1, 0]", "[0.5, 0.5, 0]", "the same", "split evenly", lambda input, out, found=None: tied(input, out) if found is None else None),
    Convention("max min", "`max(x, dim)`: values of [1, 1, 0]", "[1, 0, 0]", "split", "[1, 0, 0]: the entry whose index is returned", lambda input, found, place: tied(input, found[0], place)),
    Convention("amax amin aminmax", "`amax`, `amin`, a tie", "split", "split", "split evenly", lambda input, out, dim: tied(input, out, dim)),
    Convention("maximum minimum", "`maximum`, `minimum`, a tie", "0.5; 0.5", "0.5; 0.5", "0.5; 0.5", lambda input, other: input == other),
    Convention("fmax fmin", "`fmax`, `fmin`, a tie", "1; 0 (fwd 0; 1)", "0; 1", "0.5; 0.5 **≠**", lambda input, other: input == other),
    Convention("maximum", "`maximum(NaN, 1)`", "1; 1 (fwd 0; 1)", "0; 0", "1; 0 **≠**: the NaN is the result, and takes all"),
    Convention("median", "`median` of four values", "the lower one: [0, 1, 0, 0]", "mean of the two", "the lower one"),
    Convention("median nanmedian", "`median(x)` of [1, 1, 0]", "[0.5, 0.5, 0]", "[1, 0, 0]", "[0.5, 0.5, 0]: split evenly", lambda input, out, found=None: tied(input, out) if found is None else None),
    Convention("median nanmedian kthvalue mode", "`median(x, dim)`, `kthvalue(x, 2)`: values of [1, 1, 0]; `mode(x)`", "[1, 0, 0]; [0, 1, 0]", "–", "[1, 0, 0]; [0, 1, 0]: the entry whose index is returned", lambda input, found, place: tied(input, found[0], place)),
    Convention("sort msort quantile nanquantile", "`sort` of [1, 1, 0], weighted with [1, 10, 100]", "[10, 100, 1]", "the same", "[10, 100, 1]: by index", lambda found, place: neighbours(found[0], place)),
    Convention("cummax cummin", "`cummax(x, 0)`: values of [1, 1, 0]", "[1, 2, 0]", "[2, 1, 0]", "[1, 2, 0]: by index, the last one", lambda input, found, place: repeated_extremes(input, found[0], place)),
    Convention("max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d", "`max_pool1d(x, 2)` of [1, 1]", "[1, 0]", "–", "[1, 0]: by index", lambda name, input, out, kernel_size=None, stride=None, padding=0, dilation=1, ceil_mode=False, place=None: tied_in_window(name, input, out, place or (kernel_size, stride or (), padding, dilation, ceil_mode))),
    Convention("max_unpool1d max_unpool2d max_unpool3d _C._nn.max_unpool2d _C._nn.max_unpool3d", "`max_unpool1d` of two equal values at one place", "1; 1 (mass 2)", "–", "0.5; 0.5 **≠**", lambda input, indices, output_size, out: rivals(input, indices, out, len(output_size))),
    Convention("topk", "`topk`, k = 1, of [1, 1, 1]", "[1, 0, 0]", "the same", "[1, 0, 0]: by index", lambda input, found, place: repeated(input, found[0], place)),
    Convention("scatter_reduce index_reduce scatter_extreme", "`scatter_reduce` by amax of 1 and [1, 0]", "0.5; [0.5, 0]", "the same", "0.5; [0.5, 0]: split evenly", lambda input, dim, index, src, include_self, out: tied_at_index(input, dim, index, src, include_self, out)),
    Convention("segment_reduce segments", "`segment_reduce` by max of [1, 1, 0]", "[0.5, 0.5, 0]", "the same", "[0.5, 0.5, 0]: split evenly", lambda input, reduce, lengths, offsets, dim, initial, out: tied_in_segment(input, reduce, lengths, offsets, dim, initial, out)),
    Convention("pow float_power", "`pow(0, 0)`", "0; 0", "NaN; 0", "0; 0", lambda input, exponent: (input == 0) & (exponent == 0)),
    Convention("pow", "`pow(0, 0.5)`", "inf; 0", "the same (fwd NaN)", "inf; 0"),
    Convention("pow", "`pow(0, 1)`, `pow(0, 2)`, `pow(0, 3)`", "1; 0, then 0; 0 twice", "the same", "the same"),
    Convention("pow", "`pow(0, -1)`", "−inf; −inf", "−inf; NaN", "−inf; −inf"),
    Convention("pow", "`pow(-2, 2)`", "−4; NaN", "−4; NaN", "−4; NaN, and just −4 where the exponent is a constant: the NaN is then not computed"),
    Convention("pow", "`pow(-2, 0.5)`", "NaN; NaN", "the same", "NaN; NaN"),
    Convention("pow", "`x**0` and `x**0.0` at 0", "0; 0", "0; NaN", "0; 0"),
    Convention("pow", "`0**y` at y = 0 or 2", "0", "0", "0"),
    Convention("log", "`log(x)` at 0", "inf", "inf", "inf"),
    Convention("log", "`log(x)` at −1, where the value is NaN", "−1", "−1", "−1"),
    Convention("xlogy", "`x * log(x)` at 0", "NaN", "NaN", "NaN: 0 times inf"),
    Convention("xlogy", "`xlogy(0, y)` at y ≤ 0, by the first", "0", "−inf, NaN", "0", lambda input, other: (input == 0) & (other <= 0), by="input"),
    Convention("special.xlog1py", "`special.xlog1py(0, y)` at y ≤ −1, by the first", "0", "−inf, NaN", "0", lambda input, other: (input == 0) & (other <= -1), by="input"),
    Convention("logaddexp", "`logaddexp(inf, inf)`", "NaN", "1; 1, mass 2", "NaN"),
    Convention("logaddexp", "`logaddexp(1000, 0)`, second derivative", "NaN", "–", "0 **≠**"),
    Convention("log1p softplus", "`log(1 + exp(x))` at 1000", "NaN", "NaN", "NaN; `softplus(x)` gives 1"),
    Convention("prod", "`prod` of [0, 2, 3]", "[6, 0, 0]", "the same", "[6, 0, 0]"),
    Convention("prod", "`prod` of [0, 0, 3], also at second order", "[0, 0, 0], right", "the same", "[0, 0, 0], right"),
    Convention("where", "`where(x > 0, log(x), 0)` at 0", "NaN", "NaN", "NaN: the branch not taken has slope inf, and 0 times inf is NaN"),
    Convention("where", "the same in forward mode", "0", "0", "0: a tangent takes the branch that was taken, a cotangent goes back through both"),
    Convention("where", "`where(x > 0, log(where(x > 0, x, 1)), 0)` at 0", "0", "0", "0: the way out"),
    Convention("atan2", "`atan2(0, 0)`", "0; −0 (fwd NaN)", "NaN", "0; −0", lambda input, other: (input == 0) & (other == 0)),
    Convention("asin acos", "`asin(x)`, `acos(x)` at 1", "inf, −inf", "the same", "inf, −inf"),
    Convention("sinc", "`sinc(x)` at 0; its second derivative", "0; NaN", "0; −π²/3", "0; −π²/3 **≠**"),
    Convention("special.i0e", "`special.i0e(x)` at 0", "0", "0", "0", lambda input: input == 0),
    Convention("lgamma", "`lgamma(x)` at 0", "−inf", "NaN", "−inf"),
    Convention("softmax", "`softmax` of [0, −inf]", "[0, 0]", "the same", "[0, 0]"),
    Convention("softmax", "`softmax`, all −inf", "NaN", "NaN", "NaN"),
    Convention("log_softmax", "`log_softmax` of [0, −inf], first entry", "[0, 0]", "the same", "[0, 0]"),
    Convention("logsumexp", "`logsumexp` of [0, −inf]", "[1, 0]", "the same", "[1, 0]"),
    Convention("logsumexp", "`logsumexp`, all −inf", "NaN", "NaN", "NaN"),
    Convention("linalg.eigvalsh linalg.eigh", "`eigvalsh` of the identity, weighted with [1, 2]", "diag(1, 2)", "the same", "the same; it depends on the basis that was found", lambda out: neighbours(out[0], -1, near(out[0]))),
    Convention("linalg.eigh", "`eigh`, vectors of a repeated value", "NaN", "NaN", "NaN", lambda out: vectors(out[0], 1, -2)),
    Convention("linalg.eig", "`eig`, vectors of a repeated value", "NaN", "has no rule", "NaN", lambda out: vectors(out[0], 1, -2)),
    Convention("svd linalg.svd", "`svd`, vectors of a repeated value", "NaN", "NaN", "NaN", lambda out: [vectors(out[1], 0, -2), vectors(out[1], 2, -1)]),
    Convention("linalg.svdvals linalg.svd", "`svdvals` of the identity, weighted with [1, 2]", "diag(1, 2)", "the same", "the same", lambda out: neighbours(out[1], -1, near(out[1]), output=1)),
    Convention("linalg.svdvals linalg.svd", "`svdvals` of [[0]]", "1", "1", "1: the sign of the vectors that were found", lambda out: Entries(out[1] <= near(out[1]), OUTPUT, out[1], output=1)),
    Convention("det linalg.det", "`det` of a matrix of rank n − 1", "0, which is wrong; right with `create_graph`", "right: the adjugate", "the adjugate **≠**"),
    Convention("slogdet linalg.slogdet", "`slogdet` of a singular matrix", "inf of both signs", "opposite signs of inf", "NaN or inf"),
    Convention("cholesky_solve cholesky_inverse", "`cholesky_solve`, `cholesky_inverse`: the triangle that is not read", "not 0", "–", "0 **≠**"),
    Convention("as_strided_scatter", "`as_strided_scatter`, by the input", "the entries that are overwritten get it", "–", "the entries that are kept get it **≠**"),
    Convention("ctc_loss", "`ctc_loss(log_probs)`", "right behind a `log_softmax` only: it adds `exp(log_probs)`", "–", "the derivative **≠**; the same as torch's behind a `log_softmax`"),
    Convention("linear_cross_entropy", "`linear_cross_entropy` in chunks, second derivative", "0", "–", "that of the whole **≠**"),
    Convention("_weight_norm", "`torch._weight_norm`, second derivative", "wrong", "–", "right **≠**"),
    Convention("l1_loss", "`l1_loss(x, y)` where x = y", "0; 0", "–", "0; 0", lambda input, target: input == target),
    Convention("multi_margin_loss _C._nn.multi_margin_loss", "`multi_margin_loss(x, y)` where a margin is just kept", "0", "–", "0", lambda input, target, p, margin: just_kept(input, target, margin) if p == 1 else None),
    Convention("multilabel_margin_loss _C._nn.multilabel_margin_loss", "`multilabel_margin_loss(x, y)` where a margin is just kept", "0", "–", "0", lambda input, target: just_kept_by_labels(input, target)),
    Convention("abs", "`abs(z)` at 0", "0", "0", "0", lambda input: zero(input, complex=True)),
    Convention("sgn", "`sgn(z)` at 0", "0", "0", "0", lambda input: zero(input, complex=True)),
    Convention("angle", "`angle(z)` at 0", "0", "NaN", "0", lambda input: input == 0),
    Convention("abs", "`abs(z)` at 3 + 4i", "0.6 + 0.8i", "0.6 − 0.8i", "0.6 + 0.8i"),
    Convention("real", "real part of z² at 1 + 2i", "2 − 4i", "2 + 4i", "2 − 4i"),
]

# fmt: on


def zero(x: torch.Tensor, complex: bool) -> torch.Tensor | None:
    """Where x is 0, if it is complex, or if it is real."""
    return x == 0 if x.is_complex() == complex else None


def at_bound(x: Any, low: Any, high: Any) -> torch.Tensor:
    """Where a clamp has its corners; the lower one counts for nothing where it is above the upper one, which wins."""
    if low is None or high is None:
        return x == (low if high is None else high)
    return ((x == low) | (x == high)) & (torch.as_tensor(low <= high, device=x.device))


def halfway(x: torch.Tensor) -> torch.Tensor:
    """Where rounding jumps."""
    return x - x.floor() == 0.5


def jump_of_quotient(quotient: torch.Tensor, mode: str) -> torch.Tensor:
    """Where a rounded quotient jumps: at integers, though not at 0 where it is rounded towards 0 from both sides."""
    return (quotient == quotient.round()) & quotient.isfinite() & ((quotient != 0) | (mode == "floor"))


def along(mask: torch.Tensor, input: torch.Tensor, out: torch.Tensor, dim: Any) -> Entries:
    """Entries of the input of a reduction: they count where the cotangent of what they are reduced to is not 0."""
    shape = kept(out, input.shape, dim).shape
    return Entries(mask, "input", input, lambda g: (g != 0).reshape(-1, *shape or [1] * input.ndim))


def tied(input: torch.Tensor, values: torch.Tensor, dim: Any = None) -> Entries:
    """Entries of the input that equal the value that was selected from them, where there are several."""
    value = kept(values, input.shape, dim)
    same = input == value
    return along(same & (same.long().sum_to_size(value.shape) > 1), input, values, dim)


def extremes_of_norm(input: torch.Tensor, ord: float, dim: Any, out: torch.Tensor) -> Entries | None:
    """Entries that share being the largest (or smallest) in absolute value, or are that and 0."""
    if abs(ord) != math.inf:
        return None
    sizes = input.abs()
    return along(tied(sizes, out, dim).mask | ((sizes == kept(out, sizes.shape, dim)) & (sizes == 0)), input, out, dim)


def equal_values(input: torch.Tensor, dim: Any, out: Any) -> Entries | None:
    """Standard deviations of several values that are all the same, even if rounding makes them other than 0."""
    out = out[0] if isinstance(out, tuple) else out
    if input.numel() == out.numel():
        return None
    mask = out == 0
    if not input.is_complex():
        low, high = (
            function(input, () if dim is None or isinstance(dim, bool) else dim)
            for function in (torch.amin, torch.amax)
        )
        mask = mask | (low == high).reshape(out.shape)
    return Entries(mask, OUTPUT, out)


def equal_points(input: torch.Tensor, p: float, out: torch.Tensor) -> Entries:
    """Distances between points that are equal, or for p of at most 1 or infinity, at a corner of the norm."""
    one, other = torch.triu_indices(len(input), len(input), 1, device=input.device)
    sizes = (input[one] - input[other]).abs()
    mask = out == 0
    if p <= 1:
        mask = mask | (sizes == 0).any(-1)
    elif p == math.inf:
        mask = mask | ((sizes == out.unsqueeze(-1)).sum(-1) > 1)
    return Entries(mask, OUTPUT, out)


def neighbours(values: torch.Tensor, dim: int, tolerance: Any = 0, output: int = 0) -> Entries | None:
    """Sorted values that equal a neighbour along `dim`: they count where the cotangents of the two differ.

    Where those are the same, it does not matter in which order the values stand.
    """
    if not values.ndim:
        return None
    dim = dim % values.ndim - values.ndim
    count = values.shape[dim] - 1
    one, other = values.narrow(dim, 0, count), values.narrow(dim, 1, count)
    equal = (one == other) | ((one - other).abs() <= tolerance)  # infinities are equal, and differ by NaN
    next_one = torch.cat([equal, torch.zeros_like(values.narrow(dim, 0, 1), dtype=torch.bool)], dim)

    def relied(g: torch.Tensor) -> torch.Tensor:
        differ = next_one & ~torch.isclose(g, g.roll(-1, dim), rtol=torch.finfo(g.dtype).eps ** 0.5, atol=0)
        return differ | differ.roll(1, dim)

    return Entries(next_one | next_one.roll(1, dim), OUTPUT, values, relied, output)


def repeated(input: torch.Tensor, values: torch.Tensor, dim: int) -> Entries | None:
    """Values that were selected along `dim` and that stand there more than once."""
    if not input.ndim:
        return None
    rows, found = (each.movedim(dim, -1).double().contiguous() for each in (input, values))
    rows = rows.sort()[0]
    count = torch.searchsorted(rows, found, right=True) - torch.searchsorted(rows, found)
    return Entries(((count > 1) & (found == found)).movedim(-1, dim), OUTPUT, values)


def repeated_extremes(input: torch.Tensor, values: torch.Tensor, dim: int) -> Entries | None:
    """Running extremes that were reached more than once."""
    if not input.ndim:
        return None
    dim = dim % input.ndim
    count = input.shape[dim]
    place = torch.arange(count, device=input.device).reshape([-1 if each == dim else 1 for each in range(input.ndim)])
    before = torch.cat([torch.full_like(values.narrow(dim, 0, 1), math.nan), values.narrow(dim, 0, count - 1)], dim)
    first = place.where(values != before, 0).cummax(dim)[0]
    again = place.where((input == values) & (values == before), -1).cummax(dim)[0]
    return Entries(again > first, OUTPUT, values)


def tied_in_window(name: str, input: torch.Tensor, out: torch.Tensor, geometry: Any) -> Entries:
    """Maxima of windows that have them at several places.

    Told from where they are found if of equal entries the first is a little larger, and if the last one is.
    """
    ordered, order = input.flatten().sort()
    rank = torch.zeros_like(order).scatter(0, order[1:], (ordered[1:] != ordered[:-1]).long().cumsum(0))
    place = torch.arange(len(order), device=input.device)
    function = getattr(torch.nn.functional, f"{name}_with_indices")
    keys = [(rank * len(order) + each).double().reshape(input.shape) for each in (place, place.flip(0))]
    last, first = (function(key, *geometry)[1] for key in keys)
    return Entries(last != first, OUTPUT, out)


def rivals(input: torch.Tensor, indices: torch.Tensor, out: torch.Tensor, count: int) -> Entries:
    """Values that an unpooling was to put at one place, and that are equal: `count` dimensions are unpooled."""
    rows, values, places = (each.flatten(-count) for each in (out, input, indices))
    kept_there = rows.gather(-1, places) == values
    number = torch.zeros_like(rows, dtype=torch.long).scatter_add(-1, places, kept_there.long()).gather(-1, places)
    mask = (kept_there & (number > 1)).reshape(input.shape)
    there = lambda g: (g != 0).flatten(-count).gather(-1, places.expand(len(g), *places.shape))  # noqa: E731
    return Entries(mask, "input", input, lambda g: there(g).reshape(-1, *input.shape))


def tied_at_index(
    input: torch.Tensor, dim: int, index: torch.Tensor, src: torch.Tensor, include_self: bool, out: torch.Tensor
) -> Entries:
    """Places whose extreme is reached by several of what was there and what was scattered there."""
    used = src[tuple(slice(size) for size in index.shape)]
    mine = (input == out) if include_self else (input == out).scatter(dim, index, False)
    theirs = used == out.gather(dim, index)
    return Entries(mine.long().scatter_add(dim, index, theirs.long()) > 1, OUTPUT, out)


def tied_in_segment(
    input: torch.Tensor, reduce: str, lengths: Any, offsets: Any, dim: int, initial: Any, out: torch.Tensor
) -> Entries | None:
    """Entries that share being the extreme of their segment: each gets a part of the cotangent."""
    if reduce not in ("max", "min"):
        return None
    share = segment_shares(torch.ones_like(out), input, reduce, lengths, offsets, dim % input.ndim, initial, out)
    return Entries((share > 0) & (share < 1), "input", input, any_cotangent)


def any_cotangent(g: torch.Tensor) -> torch.Tensor:
    """All entries count where any cotangent is not 0: for what is not told more exactly."""
    return (g != 0).reshape(len(g), -1).any(1)


def near(values: torch.Tensor) -> torch.Tensor:
    """How much eigenvalues or singular values are off by rounding."""
    return values.abs().amax(-1, True) * values.shape[-1] * torch.finfo(values.dtype).eps


def vectors(values: torch.Tensor, output: int, rows: int) -> Entries:
    """Eigenvalues, or singular values, that are repeated: they count where a cotangent of their vectors is not 0.

    The vectors are that `output`, and `rows` is the dimension of it that their components are in.
    """
    close = (values.unsqueeze(-1) - values.unsqueeze(-2)).abs() <= near(values).unsqueeze(-1)
    return Entries(close.sum(-1) > 1, OUTPUT, values, lambda g: (g != 0).any(rows)[..., : values.shape[-1]], output)


def just_kept(input: torch.Tensor, target: torch.Tensor, margin: float) -> Entries:
    """Classes whose score is below that of the target by the margin and nothing else."""
    rows = in_rows(input)
    own = target.reshape(-1, 1)
    mask = (margin - rows.gather(1, own) + rows == 0).scatter(1, own, False)
    return Entries(mask.reshape(input.shape), "input", input, per_row(input))


def just_kept_by_labels(input: torch.Tensor, target: torch.Tensor) -> Entries:
    """As `just_kept`, with a margin of 1, for each of the classes that a row names, up to a negative one."""
    rows, labels = in_rows(input), in_rows(target)
    used = (labels >= 0).long().cumprod(1).bool()
    own = labels.clamp(min=0)
    targets = torch.zeros_like(rows, dtype=torch.long).scatter_add(1, own, used.long()) > 0
    gaps = 1 - rows.gather(1, own).unsqueeze(-1) + rows.unsqueeze(1)
    mask = ((gaps == 0) & used.unsqueeze(-1)).any(1) & ~targets
    return Entries(mask.reshape(input.shape), "input", input, per_row(input))


def per_row(input: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """What counts in a loss of rows, by its value for each of them, or by the one for all."""
    return lambda g: (g != 0).unsqueeze(-1) if g.ndim == input.ndim else any_cotangent(g)
