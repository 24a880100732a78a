"""Losses. Most are made of other ops as their definition says; a row stands where torch has a kernel of its own."""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.nn._reduction import get_enum, legacy_get_string

from tensorad.errors import ArgumentError, ShapeError
from tensorad.grad import Grad
from tensorad.op import composed, defrule, fused, linear
from tensorad.operands import plain
from tensorad.rules.reductions import log_softmax_pull
from tensorad.tensor import Tensor

aten = torch.ops.aten
KINDS = "none", "mean", "sum"
NONE, MEAN, SUM = range(3)  # torch's numbers for these

kernels: Any = torch._C._nn  # pyright: ignore[reportAttributeAccessIssue] # torch's own losses, below their Python

# fmt: off

# By torch's kernels, reduction and all. `spread` is the way back through it.
mse = defrule("mse_loss(input, target, kind)", function=kernels.mse_loss,
              input=lambda g, input, target, kind: mse_by_input(g, input, target, kind),
              target=lambda g, input, target, kind: mse_by_input(g, target, input, kind)).call
l1 = defrule("l1_loss(input, target, kind)", function=kernels.l1_loss,
             input=lambda g, input, target, kind: spread(g, (input - target).sgn().conj(), kind),
             target=lambda g, input, target, kind: spread(g, (target - input).sgn().conj(), kind)).call
smooth_l1 = defrule("smooth_l1_loss(input, target, kind, beta)", function=kernels.smooth_l1_loss,
                    input=lambda g, input, target, kind, beta: spread(g, ((input - target) / beta).clamp(-1, 1), kind),
                    target=lambda g, input, target, kind, beta: spread(g, ((target - input) / beta).clamp(-1, 1), kind)).call
huber = defrule("huber_loss(input, target, kind, delta)", function=kernels.huber_loss,
                input=lambda g, input, target, kind, delta: spread(g, (input - target).clamp(-delta, delta), kind),
                target=lambda g, input, target, kind, delta: spread(g, (target - input).clamp(-delta, delta), kind)).call
log_loss = defrule("binary_cross_entropy(input, target, weight, kind)", function=kernels.binary_cross_entropy,
                   input=lambda g, input, target, kind: spread(g, (input - target) / (input * (1 - input)).clamp(min=1e-12), kind),
                   target=lambda g, input, kind: spread(g, (1 - input).log().clamp(min=-100) - input.log().clamp(min=-100), kind)).call
logistic = defrule("logistic_loss(input, target, weight, pos_weight, kind)",
                   function=torch.binary_cross_entropy_with_logits,
                   input=lambda g, input, target, kind: spread(g, input.sigmoid() - target, kind),
                   target=lambda g, input, kind: spread(g, -input, kind)).call
soft_margin = defrule("soft_margin_loss(input, target, kind)", function=kernels.soft_margin_loss,
                      input=lambda g, input, target, kind: spread(g, -target * (-input * target).sigmoid(), kind),
                      target=lambda g, input, target, kind: spread(g, -input * (-input * target).sigmoid(), kind)).call
defrule("_C._nn.multi_margin_loss(input, target, p=1, margin=1.0, weight=None, reduction=1)",
        input=lambda g, input, target, p, margin, weight, reduction: multi_margin(g, input, target, p, margin, weight, reduction))
defrule("_C._nn.multilabel_margin_loss(input, target, reduction=1)", function=aten.multilabel_margin_loss_forward.default,
        input=lambda g, input, target, reduction, residuals: multilabel_margin(g, input, target, reduction, residuals))
defrule("_ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, zero_infinity=False)", outputs=True,
        log_probs=lambda g, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity, out:
        ctc_pull(g[0], log_probs, targets, input_lengths, target_lengths, blank, zero_infinity, *out))
raised = defrule("raised(input, floor)", function=torch.clamp_min, input=lambda g: g).call  # a clamp that passes every gradient on

# fmt: on


def spread(g: Any, slopes: Any, kind: int) -> Any:
    """The cotangents of a loss's operand, from that of the loss and the slopes of its values."""
    return slopes * (g / slopes.numel() if kind == MEAN else g)


def matched(input: Any, target: Any) -> Any:
    """The two in a common shape, with torch's warning if they had not the same."""
    if input.shape == target.shape:
        return input, target
    shapes = f"{tuple(target.shape)} and the input {tuple(input.shape)}"
    warnings.warn(f"the target size is {shapes}: they are broadcast, which is rarely meant in a loss", stacklevel=2)
    return torch.broadcast_tensors(input, target)


def check_same_shape(input: Any, target: Any) -> None:
    if input.shape != target.shape:
        raise ShapeError(
            f"the target has shape {tuple(target.shape)} and the input {tuple(input.shape)}: they must agree"
        )


def named(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The name of the reduction that is asked for, in one of torch's two ways."""
    return reduction if size_average is None and reduce is None else legacy_get_string(size_average, reduce)


def reduced(values: Any, reduction: str, total: Any = None) -> Any:
    """The loss: the values, their sum, or their mean, over `total` or else their number."""
    if reduction == "mean":
        return values.mean() if total is None else values.sum() / total
    if reduction not in ("none", "sum"):
        raise ArgumentError(f"reduction must be 'none', 'mean' or 'sum', not {reduction!r}")
    return values.sum() if reduction == "sum" else values


def loss(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`composed`, for a function that gives a loss value by value: the caller says how they are reduced."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(
            *args: Any, reduction: str = "mean", size_average: Any = None, reduce: Any = None, **options: Any
        ) -> Any:
            return reduced(function(*args, **options), named(reduction, size_average, reduce))

        return composed(f"nn.functional.{name}")(functools.wraps(function)(call))

    return decorate


def weighted(op: Any, input: Any, target: Any, reduction: str, weight: Any) -> Any:
    """The loss that `op` computes, with each element's part in it given by `weight`, and the mean by their sum."""
    input, target = matched(input, target)
    if weight is None:
        return op(input, target, get_enum(reduction))
    return reduced(op(input, target, NONE) * weight, reduction, weight.sum())


@composed("mse_loss")
def mse_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean", weight: Any = None
) -> Any:
    return weighted(mse, input, target, named(reduction, size_average, reduce), weight)


@composed("l1_loss")
def l1_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean", weight: Any = None
) -> Any:
    return weighted(l1, input, target, named(reduction, size_average, reduce), weight)


@composed("smooth_l1_loss")
def smooth_l1_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean", beta: float = 1.0
) -> Any:
    input, target = matched(input, target)
    kind = get_enum(named(reduction, size_average, reduce))
    return smooth_l1(input, target, kind, beta) if beta else l1(input, target, kind)


@composed("huber_loss")
def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    input, target = matched(input, target)
    if weight is None:
        return huber(input, target, get_enum(reduction), delta)
    return reduced(huber(input, target, NONE, delta) * weight, reduction)


@composed("binary_cross_entropy")
def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Any:
    check_same_shape(input, target)
    reduction = named(reduction, size_average, reduce)
    if weight is None:
        return log_loss(input, target, None, get_enum(reduction))
    return reduced(log_loss(input, target, None, NONE) * weight, reduction)


@composed("nn.functional.binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:  # fmt: skip
    check_same_shape(input, target)
    reduction = named(reduction, size_average, reduce)
    if weight is pos_weight is None:
        return logistic(input, target, None, None, get_enum(reduction))
    if pos_weight is None:
        values = logistic(input, target, None, None, NONE)
    else:
        values = (1 - target) * input - ((pos_weight - 1) * target + 1) * torch.nn.functional.logsigmoid(input)
    return reduced(values if weight is None else values * weight, reduction)


@composed("_VF.binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits_by_kind(
    input: Any, target: Any, weight: Any = None, pos_weight: Any = None, reduction: int = NONE
) -> Any:
    """torch's own function of this name, which takes the reduction as a number and by default has none."""
    return binary_cross_entropy_with_logits(input, target, weight, None, None, KINDS[reduction], pos_weight)


@composed("soft_margin_loss")
def soft_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Any:
    return soft_margin(input, target, get_enum(named(reduction, size_average, reduce)))


@composed("cross_entropy")
def cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: Any = None, ignore_index: int = -100, reduce: Any = None,
    reduction: str = "mean", label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    """Of classes by number, or by probability where the target has the shape of the input."""
    shape, reduction = input.shape, named(reduction, size_average, reduce)
    by_kernel = type(input) is Tensor and type(weight) is not Tensor and not label_smoothing
    if by_kernel and len(shape) > 1 and target.shape != shape:
        return entropy(input, target, weight, get_enum(reduction), ignore_index)
    dim = min(1, input.ndim - 1)
    logs = input.log_softmax(dim)
    hard: Any = None
    if target.shape != input.shape:
        hard = nll_loss(logs, target, weight, ignore_index=ignore_index, reduction=reduction)
        if not label_smoothing:
            return hard
    count = input.shape[dim]
    along = None if weight is None else weight.reshape([-1] + [1] * (input.ndim - dim - 1))
    if target.shape == input.shape:
        target = target * (1 - label_smoothing) + label_smoothing / count if label_smoothing else target
        values = logs * target if along is None else logs * target * along
        return -(
            reduced(values.sum(dim), "none")
            if reduction == "none"
            else reduced(values, reduction, input.numel() / count)
        )
    used = target != ignore_index
    smooth = (-(logs if along is None else logs * along).sum(dim)).masked_fill(~used, 0)
    total = used.sum() if weight is None else weight[target.masked_select(used)].sum()
    return (1 - label_smoothing) * hard + reduced(smooth, reduction, total) * (label_smoothing / count)


def nll_rows(kind: str, of_softmax: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The ops of torch's kernels nll_loss and nll_loss2d, of logarithms and of what a log_softmax is taken of.

    Each row's derivative is linear, and that one's is the row again.
    """
    forward, backward = getattr(aten, f"{kind}_forward").default, getattr(aten, f"{kind}_backward").default
    cotangent = fused(backward)(
        linear(
            f"{kind}_cotangent(cotangent, input, target, weight, kind, ignored, total)",
            function=backward,
            cotangent=lambda g, target, weight, kind, ignored: torch.nn.functional.nll_loss(
                g, target, weight, None, ignored, None, KINDS[kind]
            ),
        ).call
    )
    of_logs = defrule(
        f"{kind}(input, target, weight, kind, ignored)",
        function=forward,
        input=lambda g, input, target, weight, kind, ignored, residuals:
        cotangent(g, input, target, weight, kind, ignored, residuals),
    ).call  # fmt: skip
    return of_logs, defrule(
        f"{of_softmax}(input, target, weight, kind, ignored)",
        function=forward,
        input=lambda g, input, target, weight, kind, ignored, residuals:
        through_softmax(cotangent, g, input, target, weight, kind, ignored, residuals),
    ).call  # fmt: skip


nll_of_rows, entropy_of_rows = nll_rows("nll_loss", "cross_entropy_of_rows")
nll_of_images, entropy_of_images = nll_rows("nll_loss2d", "cross_entropy_of_images")


def entropy(input: Any, target: Any, weight: Any, kind: int, ignored: int) -> Any:
    """The cross entropy as one op: of the logarithms, in the input's place.

    The input itself need not be kept. All derivatives of log_softmax are the same at its own value, which differs from
    the input by a shift.
    """
    logs = Tensor(torch.log_softmax(input.data, 1), input.node or input.leaf())
    return nll(logs, target, weight, kind, ignored, entropy_of_rows, entropy_of_images)


def through_softmax(cotangent: Callable[..., Any], g: Any, input: Any, *args: Any) -> Any:
    """The cotangent of what a log_softmax was taken of; on torch tensors, `input` is that log_softmax already."""
    logs = input.log_softmax(1) if isinstance(input, Tensor) else input
    return log_softmax_pull(cotangent(g, logs, *args), logs, 1, logs.dtype)


@composed("nll_loss")
def nll_loss(
    input: Any, target: Any, weight: Any = None, size_average: Any = None, ignore_index: int = -100, reduce: Any = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    reduction = named(reduction, size_average, reduce)
    if isinstance(weight, Tensor):
        return nll_of_weights(input, target, weight, ignore_index, reduction)
    return nll(input, target, weight, get_enum(reduction), ignore_index)


def nll(
    input: Any, target: Any, weight: Any, kind: int, ignored: int, of_rows: Any = nll_of_rows,
    of_images: Any = nll_of_images,
) -> Any:  # fmt: skip
    """By torch's kernels, which are for 1, 2 and 4 dimensions."""
    ndim = input.ndim
    if ndim <= 2:
        return of_rows(input, target, weight, kind, ignored)
    if ndim == 4:
        return of_images(input, target, weight, kind, ignored)
    count, classes, *sizes = input.shape
    image = 1, math.prod(sizes)
    out = of_images(input.reshape(count, classes, *image), target.reshape(count, *image), weight, kind, ignored)
    return out.reshape(target.shape) if kind == NONE else out


def nll_of_weights(input: Any, target: Any, weight: Any, ignored: int, reduction: str) -> Any:
    """With weights that may be differentiated by, for which torch has no kernel."""
    dim = min(1, input.ndim - 1)
    used = target != ignored
    index = target.masked_fill(~used, 0)
    share = weight[index] * used
    return reduced(-share * input.gather(dim, index.unsqueeze(dim)).squeeze(dim), reduction, share.sum())


@fused(aten.mse_loss_backward.default)
def mse_by_input(g: Any, input: Any, target: Any, kind: int) -> Any:
    difference = input - target
    return g * difference * (2 / max(difference.numel(), 1) if kind == MEAN else 2)


@composed("nn.functional.kl_div")
def kl_div(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    values = target.exp() * (target - input) if log_target else torch.xlogy(target, target) - target * input
    reduction = named(reduction, size_average, reduce)
    return (
        values.sum() / (input.shape[0] if input.ndim else 1) if reduction == "batchmean" else reduced(values, reduction)
    )


@loss("poisson_nll_loss")
def poisson_nll_loss(input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8) -> Any:
    """With `full`, Stirling's approximation of log(target!) is added."""
    values = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if not full:
        return values
    return values + (target * target.log() - target + 0.5 * (2 * math.pi * target).log()).masked_fill(target <= 1, 0)


@loss("gaussian_nll_loss")
def gaussian_nll_loss(input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6) -> Any:
    if isinstance(var, float | int):
        var = torch.full_like(input, var)
    if (var < 0).any():
        raise ArgumentError("a variance is negative")
    if var.shape == input.shape[:-1] != input.shape:
        var = var.unsqueeze(-1)
    if var.ndim != input.ndim:
        raise ShapeError(f"var has shape {tuple(var.shape)} and the input {tuple(input.shape)}: they must agree")
    var = raised(var, eps)
    values = 0.5 * (var.log() + (input - target) ** 2 / var)
    return values + 0.5 * math.log(2 * math.pi) if full else values


@loss("multilabel_soft_margin_loss")
def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None) -> Any:
    values = -(target * torch.nn.functional.logsigmoid(input) + (1 - target) * torch.nn.functional.logsigmoid(-input))
    return (values if weight is None else values * weight).sum(-1) / input.shape[-1]


@loss("margin_ranking_loss")
def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0) -> Any:
    return (-target * (input1 - input2) + margin).clamp(min=0)


@loss("hinge_embedding_loss")
def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0) -> Any:
    return torch.where(target != 1, (margin - input).clamp(min=0), 0) + torch.where(target != -1, input, 0)


@loss("cosine_embedding_loss")
def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0) -> Any:
    lengths = ((input1 * input1).sum(-1) + 1e-12) * ((input2 * input2).sum(-1) + 1e-12)
    cosine = (input1 * input2).sum(-1) / lengths.sqrt()
    return torch.where(target == 1, 1 - cosine, 0) + torch.where(target == -1, (cosine - margin).clamp(min=0), 0)


@loss("triplet_margin_loss")
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
) -> Any:
    def distance(one: Any, other: Any) -> Any:
        return torch.linalg.vector_norm(one - other + eps, p, dim=-1)

    far = distance(anchor, negative)
    far = torch.minimum(far, distance(positive, negative)) if swap else far
    return (margin + distance(anchor, positive) - far).clamp(min=0)


@fused(aten.multi_margin_loss_backward.default)
def multi_margin(g: Any, input: Any, target: Any, p: int, margin: float, weight: Any, kind: int) -> Any:
    """Each class that is not the target pushes against it while it is less than the margin below."""
    rows = in_rows(input)
    own = torch.nn.functional.one_hot(target.reshape(-1), rows.shape[1]).bool()
    short = (margin - rows.masked_fill(~own, 0).sum(1, True) + rows).clamp(min=0).masked_fill(own, 0)
    slopes = (2 * short if p == 2 else (plain(short) > 0).to(g.dtype)) / rows.shape[1]
    slopes = slopes if weight is None else slopes * weight[target.reshape(-1, 1)]
    slopes = slopes - own * slopes.sum(1, True)
    return spread_over_rows(g, slopes, kind).reshape(input.shape)


def multilabel_margin(g: Any, input: Any, target: Any, kind: int, is_target: Any) -> Any:
    """The kernel's slopes, which are constant between the corners, times g."""
    if not isinstance(g, Tensor):
        return aten.multilabel_margin_loss_backward.default(g, input, target, kind, is_target)
    x = plain(input)
    slopes = aten.multilabel_margin_loss_backward.default(x.new_ones(()), x, target, SUM, is_target)
    return spread_over_rows(g, in_rows(slopes), kind).reshape(x.shape)


def in_rows(input: Any) -> Any:
    """The input as a matrix, of one row for each sample."""
    return input.reshape(-1, *input.shape[-1:] or [1])


def spread_over_rows(g: Any, slopes: Any, kind: int) -> Any:
    """As `spread`, for a loss with a value for each row."""
    return slopes * (g.reshape(-1, 1) if kind == NONE else g / slopes.shape[0] if kind == MEAN else g)


@composed("linear_cross_entropy")
def linear_cross_entropy(
    input: Any, linear_weight: Any, target: Any, *, linear_bias: Any = None, weight: Any = None,
    reduction: str = "mean", ignore_index: int | None = None, label_smoothing: float = 0.0, options: Any = None,
) -> Any:  # fmt: skip
    """Whole, whatever the options say about chunks: torch's chunks have a gradient in them, and no second one."""
    bias = None if linear_bias is None else linear_bias.flatten()
    logits = torch.nn.functional.linear(input, linear_weight.flatten(0, -2), bias)
    if linear_weight.ndim > 2:
        logits = logits.unflatten(-1, tuple(linear_weight.shape[:-1]))
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(
        logits, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing
    )


def ctc_pull(
    g: Any,
    log_probs: Any,
    targets: Any,
    steps: Any,
    lengths: Any,
    blank: int,
    zero_infinity: bool,
    out: Any,
    alpha: Any,
) -> Any:
    """By torch's kernel, without what it adds for a log_softmax before it: that has a rule of its own.

    For higher orders, the derivative of the parts that the loss is made of.
    """
    steps, lengths = (torch.as_tensor(each).reshape(-1).cpu() for each in (steps, lengths))
    if isinstance(g, Tensor):
        lost = plain(out).isinf()
        log_probs = log_probs if isinstance(log_probs, Tensor) else Tensor(log_probs)
        with Grad() as context:
            values = ctc_by_parts(log_probs, targets, steps, lengths, blank)
        g = g.masked_fill(lost, 0 if zero_infinity else math.nan)
        return context.gradient(values, log_probs, cotangent=g)
    pulled = aten._ctc_loss_backward.default(
        g, log_probs, targets, steps.tolist(), lengths.tolist(), out, alpha, blank, zero_infinity
    )
    past = torch.arange(len(log_probs)).unsqueeze(1) >= steps
    past = (past.to(out.device) | (out.isinf() & zero_infinity)).unsqueeze(-1)
    return pulled - (log_probs.exp() * g.unsqueeze(-1)).masked_fill(past, 0)


def ctc_by_parts(log_probs: Any, targets: Any, steps: Any, lengths: Any, blank: int) -> Any:
    """The loss by its recursion over time, Graves et al. 2006: over each target with a blank around every letter."""
    rows = targets if targets.ndim == 2 else targets.split(lengths.tolist())
    rows = [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
    letters = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=blank).long()
    labels = letters.new_full((len(letters), 2 * letters.shape[1] + 1), blank)
    labels[:, 1::2] = letters
    new = labels != blank
    new[:, 2:] &= labels[:, 2:] != labels[:, :-2]
    emitted = log_probs.gather(2, labels.expand(len(log_probs), -1, -1))
    never = -1e30  # a logarithm of 0, but one whose logsumexp has a derivative
    steps, lengths = steps.to(labels.device), lengths.to(labels.device)
    alpha = emitted[0].masked_fill(torch.arange(labels.shape[1], device=labels.device) > 1, never)
    for t in range(1, len(log_probs)):
        ways = [alpha, shifted(alpha, 1, never), shifted(alpha, 2, never).masked_fill(~new, never)]
        alpha = torch.where((t < steps).unsqueeze(1), torch.stack(ways).logsumexp(0) + emitted[t], alpha)
    ends = [2 * lengths, (2 * lengths - 1).clamp(min=0)]
    last = alpha.gather(1, torch.stack(ends, 1))
    last = last.masked_fill(torch.stack([lengths < 0, lengths < 1], 1), never)
    return -last.logsumexp(1)


def shifted(rows: Any, count: int, value: float) -> Any:
    """The rows with their elements `count` places on, and `value` in the places that this leaves."""
    return torch.cat([rows.new_full((rows.shape[0], count), value), rows], 1)[:, : rows.shape[1]]
