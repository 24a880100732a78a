"""Normalizations: of layers, batches, groups and instances, by mean and variance or by size.

Training runs on torch's kernels, both ways. Their cotangents are formulas of the input for higher orders, in which the
mean and the factor that the forward pass left behind are computed again, since they depend on the input too.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch._prims_common import suggest_memory_format
from torch.nn import functional

from tensorad.op import composed, defrule, fused
from tensorad.operands import INERT, plain
from tensorad.operators import replace_value
from tensorad.rules.linear import alike
from tensorad.tensor import Tensor

aten = torch.ops.aten
# torch's own complaints about a batch in which a channel has a single value.
check_batch: Any = functional._verify_batch_size  # pyright: ignore[reportAttributeAccessIssue]
check_space: Any = functional._verify_spatial_size  # pyright: ignore[reportAttributeAccessIssue]
weight_norm_forward: Any = torch._weight_norm_interface  # pyright: ignore[reportPrivateImportUsage]
batch_norm_forward: Any = torch._batch_norm_impl_index  # pyright: ignore[reportPrivateImportUsage]


class Notes(tuple[Any, ...]):
    """What a kernel leaves for its way back: memory that nobody else has, so that no change has to be looked for."""


INERT.add(Notes)

# fmt: off

# Along the last dimensions.
normalized_layer = defrule("layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-05, cudnn_enable=True)",
                           function=lambda *args, **kwargs: normalize_layer(*args, **kwargs),
                           joint=("input weight bias", lambda g, input, weight, bias, eps, wanted, residuals:
                                  layer_norm_pulls(g, input, weight, bias, eps, wanted, *residuals))).call
defrule("rms_norm(input, normalized_shape, weight=None, eps=None)", function=lambda *args, **kwargs: normalize_rms(*args, **kwargs),
        input=lambda g, input, weight, residuals: rms_norm_by_input(g if weight is None else g * weight, input, *residuals),
        weight=lambda g, input, residuals: g * (input * inverse_rms(g, input, *residuals)))

# By the norms along all dimensions but the first or the last: Salimans and Kingma 2016, arXiv 1602.07868.
normalized_weight = defrule("normalized_weight(v, size, dim)", function=lambda *args: normalize_weight(*args),
                            joint=("v size", lambda g, v, size, dim, wanted, residuals: weight_norm_pulls(g, v, size, dim, wanted, *residuals))).call

# Along the batch, for each channel or group of channels.
normalized_batch = defrule("normalized_batch(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled)",
                           function=lambda *args: normalize_batch(*args),
                           joint=("input weight bias", lambda g, input, weight, wanted, residuals:
                                  batch_norm_pulls(g, input, weight, wanted, *residuals))).call
normalized_groups = defrule("group_norm(input, num_groups, weight=None, bias=None, eps=1e-05, cudnn_enabled=True)",
                            function=lambda *args, **kwargs: normalize_groups(*args, **kwargs),
                            joint=("input weight bias", lambda g, input, num_groups, weight, wanted, residuals:
                                   group_norm_pulls(g, input, weight, wanted, num_groups, *residuals))).call
defrule("native_group_norm(input, weight, bias, N, C, HxW, group, eps)", outputs=True,
        joint=("input weight bias", lambda g, input, weight, group, eps, wanted, out:
               native_group_norm_pulls(g, input, weight, wanted, group, eps, *out[1:])))

# fmt: on


@composed("batch_norm")
def batch_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any,
    training: bool, momentum: float, eps: float, cudnn_enabled: bool = True,
) -> Any:  # fmt: skip
    """In training the running statistics are updated: torch tensors in place, as by torch, Tensors by a new value."""
    if type(running_mean) is not Tensor and type(running_var) is not Tensor:
        return normalized_batch(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled)
    if training:
        copies = plain(running_mean).clone(), plain(running_var).clone()
        out = batch_norm(input, weight, bias, *copies, training, momentum, eps, cudnn_enabled)
        update(running_mean, copies[0])
        update(running_var, copies[1])
        return out
    scale = (along_channels(running_var, input) + eps).rsqrt()
    out = (input - along_channels(running_mean, input)) * scale
    out = out if weight is None else out * along_channels(weight, input)
    return out if bias is None else out + along_channels(bias, input)


@composed("nn.functional.batch_norm")
def batch_norm_in_layer(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if training:
        check_batch(input.shape)
    if eps < 0 or (training and eps == 0):
        raise ValueError(f"batch_norm eps must be positive in training, and never negative, but is {eps}")
    return batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_is_on())


def with_statistics(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any,
    training: bool, momentum: float, eps: float,
) -> tuple[Any, ...]:  # fmt: skip
    """The normalized batch, and what it was normalized by: constants, as torch has it."""
    statistics = torch.native_batch_norm(plain(input), None, None, None, None, True, momentum, eps)[1:]
    if not training:
        statistics = statistics[0].new_empty(0), statistics[0].new_empty(0)
    out = batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)
    return out, *map(Tensor, statistics)


composed("native_batch_norm")(with_statistics)


@composed("_native_batch_norm_legit")
def native_batch_norm_legit(input: Any, weight: Any, bias: Any, *rest: Any, **options: Any) -> tuple[Any, ...]:
    """`rest` begins with the running statistics, or with `training` where there are none."""
    rest = rest if len(rest) + len(options) == 5 else (None, None, *rest)
    return with_statistics(input, weight, bias, *rest, **options)


@composed("_native_batch_norm_legit_no_training")
def native_batch_norm_no_training(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, momentum: float, eps: float
) -> tuple[Any, ...]:
    return with_statistics(input, weight, bias, running_mean, running_var, False, momentum, eps)


@composed("ops.aten._batch_norm_with_update")
def batch_norm_with_update(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, momentum: float, eps: float
) -> tuple[Any, ...]:
    """The last result is what cudnn reserves for its own way back: nothing."""
    found = with_statistics(input, weight, bias, running_mean, running_var, True, momentum, eps)
    return *found, Tensor(plain(input).new_empty(0, dtype=torch.uint8))


@composed("instance_norm")
def instance_norm(
    input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any,
    use_input_stats: bool, momentum: float, eps: float, cudnn_enabled: bool = True,
) -> Any:  # fmt: skip
    """As a batch of one, in which every channel of every item is a channel; the running statistics are their means."""
    count, channels, *space = input.shape
    weight, bias, mean, variance = (
        None if each is None else each.repeat(count) for each in (weight, bias, running_mean, running_var)
    )
    items = input.reshape(1, count * channels, *space)
    out = batch_norm(items, weight, bias, mean, variance, use_input_stats, momentum, eps, cudnn_enabled)
    if use_input_stats and running_mean is not None:
        update(running_mean, plain(mean).reshape(count, channels).mean(0))
        update(running_var, plain(variance).reshape(count, channels).mean(0))
    return out.reshape(input.shape)


@composed("nn.functional.instance_norm")
def instance_norm_in_layer(
    input: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if use_input_stats:
        check_space(input.shape)
    return instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_is_on())


@composed("nn.functional.group_norm")
def group_norm_in_layer(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    shape = input.shape
    if len(shape) > 1:
        check_batch([shape[0] * shape[1] // num_groups, num_groups, *shape[2:]])
    return normalized_groups(input, num_groups, weight, bias, eps, cudnn_is_on())


@composed("native_layer_norm")
def native_layer_norm(input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, ...]:
    """The normalized layer, and what it was normalized by: constants, as torch has it."""
    statistics = torch.native_layer_norm(plain(input), normalized_shape, None, None, eps)[1:]
    return normalized_layer(input, normalized_shape, weight, bias, eps), *map(Tensor, statistics)


@composed("_weight_norm")
def weight_norm(v: Any, g: Any, dim: int = 0) -> Any:
    if dim in (0, v.ndim - 1):  # where torch has a kernel
        return normalized_weight(v, g, dim)
    return v * (g / torch.norm_except_dim(v, 2, dim))


def cudnn_is_on() -> bool:
    return torch.backends.cudnn.enabled  # pyright: ignore[reportReturnType]


def update(running: Any, value: Any) -> None:
    """Give a running statistic its new value: a torch tensor in place, as torch does, a Tensor as a value."""
    if type(running) is Tensor:
        replace_value(running, Tensor(value.to(running.dtype)))
    else:
        running.copy_(value)


def normalize_layer(
    input: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enable: bool = True
) -> Any:
    out, mean, scale = torch.native_layer_norm(input, shape, weight, bias, eps)
    return out, Notes((shape, mean, scale))


def layer_norm_kernel(
    g: Any, input: Any, weight: Any, bias: Any, eps: float, wanted: Any, shape: Any, mean: Any, scale: Any
) -> Any:
    return aten.native_layer_norm_backward.default(g, input, shape, mean, scale, weight, bias, wanted)


@fused(layer_norm_kernel)
def layer_norm_pulls(
    g: Any, input: Any, weight: Any, bias: Any, eps: float, wanted: Any, shape: Any, mean: Any, scale: Any
) -> Any:
    dims = tuple(range(-len(shape), 0))
    normal, scale = standardized(input, dims, eps) if wanted[0] or wanted[1] else (None, None)
    return (
        alike(across(g if weight is None else g * weight, normal, dims) * scale, input) if wanted[0] else None,
        g * normal if wanted[1] else None,
        g,
    )


def across(g: Any, normal: Any, dims: Any) -> Any:
    """`g` without its parts along 1 and along the normalized input: neither changes what is normalized."""
    return g - g.mean(dims, keepdim=True) - normal * (g * normal).mean(dims, keepdim=True)


def standardized(x: Any, dims: Any, eps: float) -> tuple[Any, Any]:
    """x with mean 0 and variance 1, nearly, along `dims`, and the factor that gave it that variance."""
    centred = x - x.mean(dims, keepdim=True)
    scale = (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
    return centred * scale, scale


def normalize_weight(v: Any, size: Any, dim: int) -> Any:
    out, norms = weight_norm_forward(v.contiguous(), size.contiguous(), dim)
    return out, Notes((norms,))


def weight_norm_kernel(g: Any, v: Any, size: Any, dim: int, wanted: Any, norms: Any) -> Any:
    return aten._weight_norm_interface_backward.default(g.contiguous(), v.contiguous(), size.contiguous(), norms, dim)


@fused(weight_norm_kernel)
def weight_norm_pulls(g: Any, v: Any, size: Any, dim: int, wanted: Any, norms: Any) -> Any:
    """For the direction, `g` without its part along it."""
    norms = torch.norm_except_dim(v, 2, dim)
    along = (g * v).sum_to_size(norms.shape) / norms
    return (g - v * (along / norms)) * (size / norms) if wanted[0] else None, along


def normalize_batch(
    input: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn: bool,
) -> Any:
    """As torch.batch_norm, and what its way back needs."""
    found = batch_norm_forward(input, weight, bias, mean, variance, training, momentum, eps, cudnn)
    out, used_mean, scale, reserve, backend = found
    if training:
        # The kernel counts no version when it changes them: without one, a value saved before would pass for unchanged.
        torch.autograd.graph.increment_version(tuple(each for each in (mean, variance) if each is not None))
        mean = variance = None
    else:  # copies: the next batch of training changes them
        mean, variance = mean.clone(), variance.clone()
    return out, Notes((training, eps, mean, variance, used_mean, scale, reserve, backend))


def batch_norm_kernel(
    g: Any, input: Any, weight: Any, wanted: Any, training: bool, eps: float,
    mean: Any, variance: Any, used_mean: Any, scale: Any, reserve: Any, backend: int,
) -> Any:  # fmt: skip
    if not g.numel():  # for which the forward pass had no statistics
        return g, g.new_zeros(g.shape[1:2]), g.new_zeros(g.shape[1:2])
    return aten._batch_norm_impl_index_backward.default(
        backend, input, g, weight, mean, variance, used_mean, scale, training, eps, wanted, reserve
    )


@fused(batch_norm_kernel)
def batch_norm_pulls(
    g: Any, input: Any, weight: Any, wanted: Any, training: bool, eps: float, mean: Any, variance: Any, *_: Any
) -> Any:
    dims = [0, *range(2, input.ndim)]
    by_bias = per_channel(g) if wanted[2] else None
    if not (wanted[0] or wanted[1]):
        return None, None, by_bias
    if training:
        normal, scale = standardized(input, dims, eps)
    else:
        scale = (along_channels(variance, g) + eps).rsqrt()
        normal = (input - along_channels(mean, g)) * scale
    by_weight = per_channel(g * normal) if wanted[1] else None
    if not wanted[0]:
        return None, by_weight, by_bias
    inner = g if weight is None else g * along_channels(weight, g)
    return alike((across(inner, normal, dims) if training else inner) * scale, input), by_weight, by_bias


def along_channels(values: Any, like: Any) -> Any:
    """One value for each channel, which broadcasts to what has channels in dimension 1."""
    return values.reshape([1, -1] + [1] * (like.ndim - 2)) if like.ndim > 1 else values


def per_channel(values: Any, channels: int = 1) -> Any:
    """The sums of what belongs to a channel: over all dimensions but that of the channels."""
    return values.sum([dim for dim in range(values.ndim) if dim != channels])


def normalize_groups(
    input: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Any:
    if input.ndim < 2 or groups < 1 or input.shape[1] % groups:
        return torch.group_norm(input, groups, weight, bias, eps), None  # which says what is wrong
    input = in_its_format(input, input)
    out, mean, scale = torch.native_group_norm(input, weight, bias, *sizes(input), groups, eps)
    return out, Notes((eps, mean, scale))


def in_its_format(value: Any, input: Any) -> Any:
    """`value` in memory as the kernels expect it: on CPU with the channels last where `input` has them so."""
    if input.is_contiguous() or not input.is_cpu:
        return value.contiguous()
    return value.contiguous(memory_format=suggest_memory_format(input))


def sizes(input: Any) -> tuple[int, int, int]:
    """Of the batch, its channels, and the space behind them."""
    return input.shape[0], input.shape[1], math.prod(input.shape[2:])


def group_norm_kernel(
    g: Any, input: Any, weight: Any, wanted: Any, groups: int, eps: float, mean: Any, scale: Any
) -> Any:
    input = in_its_format(input, input)
    g = in_its_format(g, input)
    alone = wanted[2] and weight is None  # the kernel has no bias without a weight
    wanted = wanted[0], wanted[1], wanted[2] and not alone
    pulls = aten.native_group_norm_backward.default(g, input, mean, scale, weight, *sizes(input), groups, wanted)
    return (*pulls[:2], per_channel(g)) if alone else pulls


@fused(group_norm_kernel)
def group_norm_pulls(
    g: Any, input: Any, weight: Any, wanted: Any, groups: int, eps: float, mean: Any, scale: Any
) -> Any:
    by_bias = per_channel(g) if wanted[2] else None
    if not (wanted[0] or wanted[1]):
        return None, None, by_bias
    shape = grouped(input.shape, groups)
    normal, scale = standardized(input.reshape(shape), -1, eps)
    by_weight = per_channel(g * normal.reshape(input.shape)) if wanted[1] else None
    if not wanted[0]:
        return None, by_weight, by_bias
    inner = g if weight is None else g * along_channels(weight, g)
    by_input = across(inner.reshape(shape), normal, -1) * scale
    return alike(by_input, input).reshape(input.shape), by_weight, by_bias


def native_group_norm_pulls(
    g: Any, input: Any, weight: Any, wanted: Any, groups: int, eps: float, mean: Any, scale: Any
) -> Any:
    by_input, *others = group_norm_pulls(g[0], input, weight, wanted, groups, eps, mean, scale)
    return by_input + statistics_pull(g[1], g[2], input, mean, scale) if wanted[0] else None, *others


def grouped(shape: Sequence[int], groups: int) -> tuple[int, int, int]:
    """The shape with one dimension for all that is normalized together."""
    return shape[0], groups, math.prod(shape[1:]) // groups


def statistics_pull(by_mean: Any, by_scale: Any, input: Any, mean: Any, scale: Any) -> Any:
    """What the mean of each group and the factor that gave it variance 1 have to say to the input."""
    shape = grouped(input.shape, scale.shape[1])
    values = input.reshape(shape)
    pull = by_mean.unsqueeze(-1) - (by_scale * scale**3).unsqueeze(-1) * (values - mean.unsqueeze(-1))
    return (pull / shape[-1]).reshape(input.shape)


def normalize_rms(input: Any, shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    if not fitting(input.shape, shape, weight):
        torch.rms_norm(input, shape, weight, eps)  # torch's own error
    out, scale = aten._fused_rms_norm.default(input, shape, weight, eps)
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return out, Notes((tuple(range(-len(shape), 0)), eps, scale))


def fitting(input_shape: Any, shape: Any, weight: Any) -> bool:
    """Whether `shape` is that of the input's last dimensions, and of the weight: the kernel does not ask."""
    if not isinstance(shape, list | tuple) or not shape or input_shape[-len(shape) :] != tuple(shape):
        return False
    return weight is None or weight.shape == input_shape[-len(shape) :]


def inverse_rms(g: Any, input: Any, dims: Any, eps: float, scale: Any) -> Any:
    """The factor that the forward pass multiplied by; from the input again where its own derivative is wanted."""
    return (input.square().mean(dims, keepdim=True) + eps).rsqrt() if isinstance(g, Tensor) else scale


def rms_norm_by_input(g: Any, input: Any, dims: Any, eps: float, scale: Any) -> Any:
    scale = inverse_rms(g, input, dims, eps, scale)
    normal = input * scale
    return alike(scale * (g - normal * (g * normal).mean(dims, keepdim=True)), input)
