"""Normalizations: of layers, batches, groups and instances, by mean and variance or by size.

Training runs on torch's kernels, both ways. Their cotangents are formulas of the input for higher orders, in which the
mean and the factor that the forward pass left behind are computed again, since they depend on the input too.
"""

from typing import Any

import torch

from tensorad.op import defrule, fused
from tensorad.tensor import Tensor

aten = torch.ops.aten

# fmt: off

# Along the last dimensions.
defrule("layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-05, cudnn_enable=True)",
        function=lambda *args, **kwargs: normalize_layer(*args, **kwargs),
        joint=("input weight bias", lambda g, input, weight, bias, eps, residuals: layer_norm(g, input, weight, bias, eps, *residuals)))
defrule("rms_norm(input, normalized_shape, weight=None, eps=None)", function=lambda *args, **kwargs: normalize_rms(*args, **kwargs),
        input=lambda g, input, weight, residuals: rms_norm_by_input(g if weight is None else g * weight, input, *residuals),
        weight=lambda g, input, residuals: g * (input * inverse_rms(g, input, *residuals)))

# fmt: on


def normalize_layer(
    input: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enable: bool = True
) -> Any:
    out, mean, scale = torch.native_layer_norm(input, shape, weight, bias, eps)
    return out, (shape, mean, scale)


def layer_norm_kernel(g: Any, input: Any, weight: Any, bias: Any, eps: float, shape: Any, mean: Any, scale: Any) -> Any:
    wanted = [True, weight is not None, bias is not None]
    return aten.native_layer_norm_backward.default(g, input, shape, mean, scale, weight, bias, wanted)


@fused(layer_norm_kernel)
def layer_norm(g: Any, input: Any, weight: Any, bias: Any, eps: float, shape: Any, mean: Any, scale: Any) -> Any:
    """For the input, g without its parts along 1 and along the normalized input: neither changes the output."""
    dims = tuple(range(-len(shape), 0))
    normal, scale = standardized(input, dims, eps)
    inner = g if weight is None else g * weight
    part = inner - inner.mean(dims, keepdim=True) - normal * (inner * normal).mean(dims, keepdim=True)
    return scale * part, g * normal, g


def standardized(x: Any, dims: Any, eps: float) -> tuple[Any, Any]:
    """x with mean 0 and variance 1, nearly, along `dims`, and the factor that gave it that variance."""
    centred = x - x.mean(dims, keepdim=True)
    scale = (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
    return centred * scale, scale


def normalize_rms(input: Any, shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    out, scale = aten._fused_rms_norm.default(input, shape, weight, eps)
    return out, (tuple(range(-len(shape), 0)), torch.finfo(input.dtype).eps if eps is None else eps, scale)


def inverse_rms(g: Any, input: Any, dims: Any, eps: float, scale: Any) -> Any:
    """The factor that the forward pass multiplied by; from the input again where its own derivative is wanted."""
    return (input.square().mean(dims, keepdim=True) + eps).rsqrt() if isinstance(g, Tensor) else scale


def rms_norm_by_input(g: Any, input: Any, dims: Any, eps: float, scale: Any) -> Any:
    scale = inverse_rms(g, input, dims, eps, scale)
    normal = input * scale
    return scale * (g - normal * (g * normal).mean(dims, keepdim=True))
