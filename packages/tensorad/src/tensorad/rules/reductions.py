"""Functions along dimensions: sums, products, norms, extremes, order statistics, running totals, softmax."""

import math
from collections.abc import Callable
from typing import Any

import torch

from tensorad.call import Op
from tensorad.grad import Grad
from tensorad.node import recording
from tensorad.op import OPS, ROWS, composed, defrule, fused, linear, register
from tensorad.operands import keywords, plain
from tensorad.rules.elementwise import nonzero
from tensorad.rules.indexing import add_along
from tensorad.tensor import Tensor

# torch's own kernels, which do in one pass what their rules, below, say in several.
softmax_pull = torch._softmax_backward_data  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
log_softmax_pull = torch._log_softmax_backward_data  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

# fmt: off

# Sums and means. What was reduced is `kept`, as by keepdim=True, so that it broadcasts to the operand.
linear("sum(input, dim=None, keepdim=False, *, dtype=None)",
       input=lambda g, input_shape, dim: kept(g, input_shape, dim).expand(input_shape))
defrule("nansum(input, dim=None, keepdim=False, *, dtype=None)",
        input=lambda g, input, dim: kept(g, input.shape, dim) * ~input.isnan())
linear("mean(input, dim=None, keepdim=False, *, dtype=None)",
       input=lambda g, input_shape, dim: kept(g / group_size(g, input_shape), input_shape, dim).expand(input_shape))
defrule("nanmean(input, dim=None, keepdim=False, *, dtype=None)",
        input=lambda g, input, dim: shared(g, ~input.isnan(), dim))
linear("trace(input)", input=lambda g, input_shape: g * torch.eye(*input_shape, dtype=g.dtype, device=g.device))

# Variances. `var(x, False)` means unbiased=False.
defrule("var(input, dim=None, unbiased=None, keepdim=False, *, correction=None)",
        input=lambda g, input, dim, unbiased, correction: deviation(g, input, dim, unbiased, correction))
defrule("std(input, dim=None, unbiased=None, keepdim=False, *, correction=None)",
        input=lambda g, input, dim, unbiased, correction, out:
        deviation(root_slope(g, out), input, dim, unbiased, correction))
defrule("var_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None)", outputs=True,
        input=lambda g, input, dim, unbiased, correction: deviation(g[0], input, dim, unbiased, correction, g[1]))
defrule("std_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None)", outputs=True,
        input=lambda g, input, dim, unbiased, correction, out:
        deviation(root_slope(g[0], out[0]), input, dim, unbiased, correction, g[1]))

# Products: right where factors are 0, at every order.
defrule("prod(input, dim=None, keepdim=False, *, dtype=None)",
        input=lambda g, input, dim, out: product_slope(g, input, dim, out))
defrule("cumprod(input, dim, *, dtype=None)",
        input=lambda g, input, dim, out: running_product_slope(g, input, dim, out))

# Norms, and all distances between two sets of points.
vector_norm = defrule("linalg.vector_norm(input, ord=2, dim=None, keepdim=False, *, dtype=None)",
                      input=lambda g, input, ord, dim, out: norm_slope(g, input, ord, dim, out)).call
distances = defrule("cdist(x1, x2)", x1=lambda g, x1, x2, out: pulls(quotient(g, out), x1, x2),
                    x2=lambda g, x1, x2, out: pulls(quotient(g, out).mT, x2, x1)).call

# What is divided by its length, or by eps where it is shorter; and the factor that makes what is too long fit a bound.
per_length = defrule("per_length(input, length, eps)", function=lambda input, length, eps: input / length.clamp(min=eps),
                     input=lambda g, length, eps: g / length.clamp(min=eps),
                     length=lambda g, length, eps, out: -g * (out / length.clamp(min=eps)).where(length >= eps, 0)).call
shrinking = defrule("shrinking(length, bound)",  # 1e-7 is torch's, and so is the division: a number over a tensor would round twice
                    function=lambda length, bound: torch.where(length > bound, torch.full_like(length, bound) / (length + 1e-7), 1.0),
                    length=lambda g, length, bound: g * (-bound / (length + 1e-7).square()).where(length > bound, 0)).call

# Running totals, and differences.
linear("cumsum(input, dim, *, dtype=None)", input=lambda g, dim: sums_from(g, dim))
defrule("logcumsumexp(input, dim)", input=lambda g, input, dim, out: running_shares(g, input, dim, out))
differences = linear("diff(input, n=1, dim=-1)",
                     input=lambda g, input_shape, n, dim: undo_differences(g, input_shape, n, dim)).call

# Softmax and its kin.
defrule("logsumexp(input, dim, keepdim=False)", "special.logsumexp",
        input=lambda g, input, dim, out: kept(g, input.shape, dim) * shares(input, dim, out))
softmax = defrule("softmax(input, dim, dtype=None)", "special.softmax",
                  input=lambda g, dim, out: softmax_pull(g, out, dim, g.dtype),
                  forward={"input": lambda t, dim, out: out * (t - (out * t).sum(dim, True))}).call
log_softmax = defrule("log_softmax(input, dim, dtype=None)", "special.log_softmax",
                      input=lambda g, dim, out: log_softmax_pull(g, out, dim, g.dtype),
                      forward={"input": lambda t, dim, out: t - (out.exp() * t).sum(dim, True)}).call
defrule("_softmax(input, dim, half_to_float)", input=lambda g, dim, out: softmax_pull(g, out, dim, g.dtype))
defrule("_log_softmax(input, dim, half_to_float)", input=lambda g, dim, out: log_softmax_pull(g, out, dim, g.dtype))
defrule("_softmax_backward_data(grad_output, output, dim, input_dtype)",
        grad_output=lambda g, output, dim: softmax_pull(g, output, dim, g.dtype),
        output=lambda g, grad_output, output, dim:
        g * (grad_output - (grad_output * output).sum(dim, True)) - grad_output * (g * output).sum(dim, True))
defrule("_log_softmax_backward_data(grad_output, output, dim, input_dtype)",
        grad_output=lambda g, output, dim: g - (g * output.exp()).sum(dim, True),
        output=lambda g, grad_output, output, dim: -g * output.exp() * grad_output.sum(dim, True))
defrule("glu(input, dim=-1)", input=lambda g, input, dim: glu(g, input, dim))

# Selection by value: elements that are equal get equal shares.
amax = defrule("amax(input, dim=(), keepdim=False)",
               input=lambda g, input, dim, out: shared(g, largest(input, out, dim), dim)).call
amin = defrule("amin(input, dim=(), keepdim=False)",
               input=lambda g, input, dim, out: shared(g, smallest(input, out, dim), dim)).call
max_of_all = defrule("max(input)", input=lambda g, input, out: shared(g, largest(input, out))).call
min_of_all = defrule("min(input)", input=lambda g, input, out: shared(g, smallest(input, out))).call
median_of_all = defrule("median(input)", input=lambda g, input, out: shared(g, same(input, out))).call
nanmedian_of_all = defrule("nanmedian(input)", input=lambda g, input, out: shared(g, same(input, out))).call

# fmt: on


def selecting(name: str, rule: Callable[..., Any]) -> Callable[..., Any]:
    """What gives the results (values, indices) on Tensors, of an input, what was `found` in it, and the `place`.

    The node is that of the values alone, and saves the indices alone, with what the rule needs of the place, which is
    the dimension or the windows that the indices count in.
    """
    op = Op(f"{name}(input, found, place)", {"input": rule}, lambda input, found, place: found)
    ROWS[values := op.call] = op
    return lambda input, found, place: type(found)((values(input, found, place), Tensor(found[1])))


def by_index(
    function: Callable[..., Any],
    dim_of: Callable[..., Any],
    of_all: Callable[..., Any] | None = None,
    of_two: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """An op with the results (values, indices) along a dimension: the element at an index gets its cotangent.

    `dim_of` the arguments is the dimension; `of_all` and `of_two` answer for the overloads without a dimension, and with
    a second tensor in its place.
    """
    both = selecting(function.__name__, lambda g, input_shape, residuals, place: put(g, place, residuals, input_shape))

    def call(input: Any, *args: Any, **kwargs: Any) -> Any:
        if of_all and not (args or kwargs):
            return of_all(input)
        if of_two and ("other" in kwargs or (args and isinstance(args[0], Tensor | torch.Tensor))):
            return of_two(input, *args, **kwargs)
        args, kwargs = plain(args), keywords(kwargs)
        return both(input, function(plain(input), *args, **kwargs), dim_of(*args, **kwargs))

    register(function.__name__, call)
    return call


by_index(torch.max, lambda dim, keepdim=False: dim, max_of_all, OPS["maximum"])
by_index(torch.min, lambda dim, keepdim=False: dim, min_of_all, OPS["minimum"])
by_index(torch.median, lambda dim, keepdim=False: dim, median_of_all)
by_index(torch.nanmedian, lambda dim, keepdim=False: dim, nanmedian_of_all)
by_index(torch.mode, lambda dim=-1, keepdim=False: dim)
by_index(torch.kthvalue, lambda k, dim=-1, keepdim=False: dim)
by_index(torch.topk, lambda k, dim=-1, largest=True, sorted=True: dim)
by_index(torch.cummax, lambda dim: dim)
by_index(torch.cummin, lambda dim: dim)
sort = by_index(torch.sort, lambda dim=-1, descending=False, stable=False: dim)


@composed("aminmax")
def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> Any:
    dims = () if dim is None else dim
    return torch.return_types.aminmax((amin(input, dims, keepdim), amax(input, dims, keepdim)))


@composed("msort")
def msort(input: Any) -> Any:
    return sort(input, 0)[0]


@composed("quantile")
def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    return ranked(input, q, dim, keepdim, interpolation, skip_nan=False)


@composed("nanquantile")
def nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Any:
    return ranked(input, q, dim, keepdim, interpolation, skip_nan=True)


def ranked(input: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip_nan: bool) -> Any:
    """Quantiles, interpolated between sorted elements. A row that ends in NaN is NaN, or is as long as its numbers."""
    q = q if isinstance(q, Tensor | torch.Tensor) else torch.as_tensor(q, dtype=input.dtype, device=input.device)
    rows = sort(input.reshape(-1) if dim is None or not input.ndim else input.movedim(dim, -1))[0]
    nan = plain(rows).isnan()
    last = (~nan).sum(-1, True).sub(1).clamp(min=0) if skip_nan else rows.shape[-1] - 1
    ranks = q.reshape(-1) * last
    ranks = ranks if skip_nan else torch.where(nan[..., -1:], last, ranks)
    step = getattr(plain(ranks), {"higher": "ceil", "nearest": "round"}.get(interpolation, "floor"))()
    values = rows.gather(-1, step.long())
    if interpolation in ("linear", "midpoint"):
        weight = ranks - step if interpolation == "linear" else torch.full_like(step, 0.5)
        values = values.lerp(rows.gather(-1, plain(ranks).ceil().long()), weight)
    values = values.movedim(-1, 0)
    if keepdim:
        values = (
            values.reshape(-1, *[1] * input.ndim)
            if dim is None or not input.ndim
            else values.unsqueeze(dim if dim < 0 else dim + 1)
        )
    return values if q.ndim else values.squeeze(0)


@composed("norm")
def norm(
    input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: None = None, dtype: Any = None
) -> Any:
    if p == "nuc":
        return matrix_norm(input, p, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


@composed("linalg.norm")
def linalg_norm(
    input: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, out: None = None, dtype: Any = None
) -> Any:
    dims = input.ndim if dim is None else 1 if isinstance(dim, int) else len(dim)
    if ord is not None and dims == 2:
        return matrix_norm(input, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(input, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


@composed("linalg.matrix_norm")
def matrix_norm(input: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None) -> Any:
    if ord == "fro":
        return vector_norm(input, 2, dim, keepdim, dtype=dtype)
    order: Any = ord if isinstance(ord, str) else abs(ord)
    if order not in ("nuc", 1, 2, math.inf) or input.ndim < 2 or len({each % input.ndim for each in dim}) != 2:
        return torch.linalg.matrix_norm(plain(input), ord, dim, keepdim)  # torch's own error
    matrix = input if dtype is None else input.to(dtype)
    row, column = (each % input.ndim for each in dim)
    if order in (1, math.inf):  # the largest sum of a column, or of a row
        summed, other = (row, column) if order == 1 else (column, row)
        sums = vector_norm(matrix, 1, summed, keepdim)
        other -= (summed < other) and not keepdim
        return (amax if ord == order else amin)(sums, other, keepdim)
    last = (row, column) == (input.ndim - 2, input.ndim - 1)
    values = torch.linalg.svdvals(matrix if last else matrix.movedim((row, column), (-2, -1)))
    found = values.sum(-1) if ord == "nuc" else (amax if ord == order else amin)(values, -1)
    return found.unsqueeze(min(row, column)).unsqueeze(max(row, column)) if keepdim else found


@composed("dist")
def dist(input: Any, other: Any, p: float = 2) -> Any:
    return vector_norm(input - other, p)


@composed("pairwise_distance")
def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


@composed("cdist")
def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str | None = None) -> Any:
    return distances(x1, x2) if p == 2 else vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


@composed("normalize")
def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: None = None) -> Any:
    return per_length(input, vector_norm(input, p, dim, True), eps)


@composed("cosine_similarity")
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    x1, x2 = torch.broadcast_tensors(x1, x2) if x1.shape != x2.shape else (x1, x2)
    one, other = (per_length(x, vector_norm(x, 2, dim, True), eps) for x in (x1, x2))
    return (one * other).sum(dim)


@composed("renorm")
def renorm(input: Any, p: float, dim: int, maxnorm: float) -> Any:
    lengths = vector_norm(input, p, [each for each in range(input.ndim) if each != dim % input.ndim], True)
    return input * shrinking(lengths, maxnorm)


@composed("diff")
def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    parts = [part for part in (prepend, input, append) if part is not None] if n else [input]  # as torch has it
    return differences(OPS["cat"](parts, dim) if len(parts) > 1 else input, n, dim)


@composed("trapezoid", "trapz")
def trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Any:
    if x is not None:
        return areas(y, x, dim).sum(dim) / 2
    if not y.shape[dim]:
        return y.sum(dim)
    return (y.sum(dim) - (y.select(dim, 0) + y.select(dim, -1)) * 0.5) * dx


@composed("cumulative_trapezoid")
def cumulative_trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Any:
    if x is not None:
        return areas(y, x, dim).cumsum(dim) / 2
    return neighbours(y, dim).cumsum(dim) * (dx / 2)


def areas(y: Any, x: Any, dim: int) -> Any:
    """Twice the areas of the trapezoids under y over x, which may be a vector for all rows."""
    x = x.reshape([-1] + [1] * ((-dim if dim < 0 else y.ndim - dim) - 1)) if x.ndim == 1 else x
    return neighbours(y, dim) * x.diff(dim=dim if dim < 0 else dim - y.ndim)


def neighbours(y: Any, dim: int) -> Any:
    """The sum of each value and the next."""
    count = max(y.shape[dim] - 1, 0)
    return y.narrow(dim, 0, count) + y.narrow(dim, y.shape[dim] - count, count)


@composed("nn.functional.softmax")
def softmax_module(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    return softmax(input, implicit(dim, input.ndim), dtype)


@composed("nn.functional.log_softmax")
def log_softmax_module(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    return log_softmax(input, implicit(dim, input.ndim), dtype)


@composed("softmin")
def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    return softmax(-input, implicit(dim, input.ndim), dtype)


def implicit(dim: int | None, ndim: int) -> int:
    """The dimension that torch's modules take where none is given."""
    return (0 if ndim in (0, 1, 3) else 1) if dim is None else dim


def kept(g: Any, shape: Any, dim: Any) -> Any:
    """What a reduction of `shape` gave, with its reduced dimensions back as ones, so that it broadcasts."""
    if g.ndim in (0, len(shape)):
        return g
    if not isinstance(dim, tuple | list):
        return g.unsqueeze(dim)
    reduced = {each % len(shape) for each in dim}
    return g.reshape([1 if place in reduced else size for place, size in enumerate(shape)])


def group_size(g: Any, shape: Any) -> float:
    """How many elements of `shape` a reduction makes into one of g."""
    return shape.numel() / max(g.shape.numel(), 1)


def deviation(g: Any, input: Any, dim: Any, unbiased: bool | None, correction: float | None, mean_g: Any = None) -> Any:
    """The cotangent of var's operand, plus that of a mean with the cotangent `mean_g`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    count = group_size(g, input.shape)
    freedom = count - ((unbiased is not False) if correction is None else correction)
    g = g * (2 / freedom if freedom > 0 else math.inf)
    pulled = kept(g, input.shape, dim) * (input - input.mean(dim, True)).conj()
    return pulled if mean_g is None else pulled + kept(mean_g / count, input.shape, dim)


def root_slope(g: Any, out: Any) -> Any:
    """The cotangent of sqrt's operand, and 0 for sqrt(0), which here is the std of a constant."""
    return (g / (2 * nonzero(out))).masked_fill(out == 0, 0)


def product_slope(g: Any, input: Any, dim: int | None, out: Any) -> Any:
    """g times the product of the other factors: by a division, or if a factor is 0, of those before and those after."""
    if not (input.data == 0).any():
        return kept(g * out, input.shape, dim) / input
    rows, dim = (input.reshape(-1), 0) if dim is None or not input.ndim else (input, dim)
    others = before(rows.cumprod(dim), dim) * before(rows.flip(dim).cumprod(dim), dim).flip(dim)
    return kept(g, input.shape, dim) * others.reshape(input.shape)


def running_product_slope(g: Any, input: Any, dim: int, out: Any) -> Any:
    """As `product_slope`: the factors before an element, times the later g's, each times the factors up to its own."""
    if not (input.data == 0).any():
        return sums_from(g * out, dim) / input
    return before(out, dim) * recurrence(g, later(input, dim), dim) if g.ndim else g


def sums_from(g: Any, dim: int) -> Any:
    """For each element, the sum of g from there to the end."""
    return g.flip(dim).cumsum(dim).flip(dim)


def running_shares(g: Any, input: Any, dim: int, out: Any) -> Any:
    """The sum of the later g's, each times exp(input - its out), in steps that are at most 1: nothing overflows."""
    return recurrence(g, (out - later(out, dim, fill=math.inf)).exp(), dim) * (input - out).exp()


def undo_differences(g: Any, shape: Any, n: int, dim: int) -> Any:
    """The transpose of the n-th differences: those of g among zeros, with every second sign changed."""
    n = min(n, shape[dim])
    zeros = g.new_zeros([n if place == dim % len(shape) else size for place, size in enumerate(shape)])
    return (-1) ** n * torch.cat([zeros, g, zeros], dim).diff(n, dim)


def recurrence(g: Any, factor: Any, dim: int) -> Any:
    """s with s[i] = g[i] + factor[i] * s[i + 1], in log n passes that double their reach (Hillis and Steele, 1986)."""
    reach = 1
    while g.ndim and reach < g.shape[dim]:
        g = g + factor * later(g, dim, reach)
        factor = factor * later(factor, dim, reach)
        reach *= 2
    return g


def later(x: Any, dim: int, steps: int = 1, fill: float = 0.0) -> Any:
    """The element `steps` further on, and `fill` past the end."""
    if not x.ndim:
        return torch.full_like(x, fill)
    steps = min(steps, x.shape[dim])
    rest = x.narrow(dim, steps, x.shape[dim] - steps)
    return torch.cat([rest, torch.full_like(x.narrow(dim, 0, steps), fill)], dim)


def before(x: Any, dim: int) -> Any:
    """The element before, and 1 at the start."""
    return torch.cat([torch.ones_like(x.narrow(dim, 0, 1)), x.narrow(dim, 0, x.shape[dim] - 1)], dim)


def norm_slope(g: Any, x: Any, ord: float, dim: Any, out: Any) -> Any:
    """g times the gradient of a vector norm, which is 0 at the zero vector."""
    if ord == 2:
        return kept(quotient(g, out), x.shape, dim) * x.conj()
    if ord == 0:
        return torch.zeros_like(x)
    sign = x.sgn().conj()
    if ord == 1:
        return kept(g, x.shape, dim) * sign
    if abs(ord) == math.inf:
        return shared(g, (largest if ord > 0 else smallest)(x.abs(), out, dim), dim) * sign
    size = x.abs() if ord > 1 else nonzero(x.abs())
    g = g.masked_fill(out == 0, 0) if ord < 0 else g  # it stays 0, whatever the others are
    return kept(g * nonzero(out) ** (1 - ord), x.shape, dim) * (sign * size ** (ord - 1))


def quotient(g: Any, out: Any) -> Any:
    """g / out. Where out is 0, any number will do at first order, since it is multiplied by x = 0.

    The next order differentiates that x, and needs the limit, if there is one, as for norm(x) ** 2, where g is 2 out:
    the slope of g in out, by l'Hopital's rule. A context that has recorded both knows it. It is 0 for other g.
    """
    zero = out == 0
    ratio = g / (out + zero)
    if isinstance(out, Tensor) and out.node and zero.any():
        owners = [each for each in recording.get() & out.node.contexts if isinstance(each, Grad)]
        for owner in sorted(owners, key=lambda grad: grad.opened or 0):
            return torch.where(zero, owner.gradient(g, out, unconnected="zero"), ratio)
    return ratio


def pulls(weight: Any, mine: Any, theirs: Any) -> Any:
    """For each row of `mine`, the weighted sum of its differences from all rows of `theirs`."""
    return mine * weight.sum(-1, True) - weight @ theirs


def shared(g: Any, mask: Any, dim: Any = None) -> Any:
    """g in equal shares for the elements in `mask`."""
    return mask * (kept(g, mask.shape, dim) / mask.sum(dim, True))


def largest(input: Any, out: Any, dim: Any = None) -> Any:
    """Where the maximum `out` is reached; NaN counts as infinity."""
    return ~(input < kept(out, input.shape, dim).nan_to_num(math.inf, math.inf, -math.inf))


def smallest(input: Any, out: Any, dim: Any = None) -> Any:
    """Where the minimum `out` is reached; NaN counts as minus infinity."""
    return ~(input > kept(out, input.shape, dim).nan_to_num(-math.inf, math.inf, -math.inf))


def same(input: Any, out: Any) -> Any:
    """Where the selected value `out` stands, be it a number or NaN."""
    return (input == out) | (input.isnan() & out.isnan())


def shares(input: Any, dim: Any, out: Any) -> Any:
    """exp(input) over its sum, whose logarithm is `out`: along one dimension, torch's softmax has it in one pass."""
    if isinstance(dim, int) and not input.is_complex():
        return input.softmax(dim)
    return (input - kept(out, input.shape, dim)).exp()


def put(g: Any, dim: int, index: Any, shape: Any) -> Any:
    """Zeros of `shape`, with g added at `index` along `dim`."""
    if g.ndim < len(shape):
        g, index = g.unsqueeze(dim), index.unsqueeze(dim)
    return add_along(g, dim, index, shape)


@fused(torch.ops.aten.glu_backward.default)
def glu(g: Any, input: Any, dim: int) -> Any:
    """For a * sigmoid(b), with a and b the halves of the input."""
    a, b = input.chunk(2, dim)
    s = b.sigmoid()
    return torch.cat([g * s, g * a * s * (1 - s)], dim)
