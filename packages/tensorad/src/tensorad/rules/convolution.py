"""Convolutions, and rearrangements of patches, pixels and channels.

A convolution is linear in its input and in its weight, and the cotangent of either is linear in g and in the other. So
there are three functions, `convolve`, `by_input` and `by_weight`, each of which has the other two for its derivatives.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tensorad.op import composed, defrule, linear
from tensorad.rules.normalization import per_channel
from tensorad.rules.shapes import overlapped
from tensorad.tensor import Tensor

aten = torch.ops.aten

# fmt: off

# The `geometry` is what torch.convolution takes: stride, padding, dilation, transposed, output_padding, groups.
convolve = defrule("convolve(input, weight, geometry)",
                   function=lambda input, weight, geometry: by_parts(convolution, input, weight, geometry),
                   input=lambda g, input_shape, weight, geometry: by_input(g, weight, input_shape, geometry),
                   weight=lambda g, input, weight_shape, geometry: by_weight(g, input, weight_shape, geometry))
by_input = defrule("convolution_by_input(g_out, weight, shape, geometry)",
                   function=lambda g, weight, shape, geometry: by_parts(input_kernel, g, weight, shape, geometry),
                   g_out=lambda g, weight, geometry: convolve(g, weight, geometry),
                   weight=lambda g, g_out, weight_shape, geometry: by_weight(g_out, g, weight_shape, geometry))
by_weight = defrule("convolution_by_weight(g_out, input, shape, geometry)",
                    function=lambda g, input, shape, geometry: by_parts(weight_kernel, g, input, shape, geometry),
                    g_out=lambda g, input, geometry: convolve(input, g, geometry),
                    input=lambda g, g_out, input_shape, geometry: by_input(g_out, g, input_shape, geometry))

# As users call them, with a batch or without, with numbers for lists and words for widths.
for _count in 1, 2, 3:
    defrule(f"conv{_count}d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1)",
            joint=("input weight bias", lambda g, input, weight, input_shape, weight_shape, stride, padding, dilation, groups, wanted:
                   pulls(g, input, weight, input_shape, weight_shape, wanted, *straight(weight_shape, stride, padding, dilation, groups))),
            needed_for={"input": "weight", "weight": "input"},
            forward={"input weight bias": lambda tangents, input, weight, weight_shape, stride, padding, dilation, groups:
                     pushed(tangents, input, weight, len(weight_shape) - 2, stride, padding, dilation, groups)})
    defrule(f"conv_transpose{_count}d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1)",
            joint=("input weight bias", lambda g, input, weight, input_shape, weight_shape, stride, padding, output_padding, groups, dilation, wanted:
                   pulls(g, input, weight, input_shape, weight_shape, wanted, transposed(stride, padding, output_padding, groups, dilation))),
            needed_for={"input": "weight", "weight": "input"})
torch_convolution = defrule("convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)",
                            joint=("input weight bias",
                                   lambda g, input, weight, input_shape, weight_shape, stride, padding, dilation, transposed, output_padding, groups, wanted:
                                   pulls(g, input, weight, input_shape, weight_shape, wanted,
                                         (stride, padding, dilation, transposed, output_padding, groups))),
                            needed_for={"input": "weight", "weight": "input"}).call
defrule("conv_tbc(input, weight, bias, pad=0)",  # time first, channels last: the permutations lead to conv1d's order
        input=lambda g, input_shape, weight, pad: by_input(
            g.permute(1, 2, 0), weight.permute(2, 1, 0), [input_shape[place] for place in (1, 2, 0)], along_time(pad)).permute(2, 0, 1),
        weight=lambda g, input, weight_shape, pad: by_weight(
            g.permute(1, 2, 0), input.permute(1, 2, 0), weight_shape[::-1], along_time(pad)).permute(2, 1, 0),
        bias=lambda g: g.sum((0, 1)))

# Patches, pixels, channels.
linear("nn.functional.unfold(input, kernel_size, dilation=1, padding=0, stride=1)", "_C._nn.im2col", "ops.aten.im2col",
       input=lambda g, input_shape, kernel_size, dilation, padding, stride:
       torch.nn.functional.fold(g, input_shape[-2:], kernel_size, dilation, padding, stride))
linear("nn.functional.fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1)", "_C._nn.col2im", "ops.aten.col2im",
       input=lambda g, kernel_size, dilation, padding, stride:
       torch.nn.functional.unfold(g, kernel_size, dilation, padding, stride))
linear("unfold_copy(input, dimension, size, step)",
       input=lambda g, input_shape, dimension, size, step: overlapped(g, input_shape, dimension, size, step))
linear("pixel_shuffle(input, upscale_factor)",  # reshaped, as torch forgets to shuffle the shape of what is empty
       input=lambda g, input_shape, upscale_factor: torch.pixel_unshuffle(g, upscale_factor).reshape(input_shape))
linear("pixel_unshuffle(input, downscale_factor)",
       input=lambda g, input_shape, downscale_factor: torch.pixel_shuffle(g, downscale_factor).reshape(input_shape))
linear("channel_shuffle(input, groups)", "native_channel_shuffle",
       input=lambda g, input_shape, groups: torch.channel_shuffle(g, max(input_shape[1] // groups, 1)))

# fmt: on


@composed("_convolution")
def convolution_with_flags(*args: Any) -> Any:
    """torch.convolution, with what else a backend may want to know at the end."""
    return torch_convolution(*args[:9])


@composed("ops.aten.convolution_backward")
def convolution_backward(
    grad_output: Any, input: Any, weight: Any, bias_sizes: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, output_mask: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """The cotangents of input, weight and bias that the mask asks for, None in place of the others."""
    geometry = stride, padding, dilation, transposed, output_padding, groups
    return (
        by_input.call(grad_output, weight, input.shape, geometry) if output_mask[0] else None,
        by_weight.call(grad_output, input, weight.shape, geometry) if output_mask[1] else None,
        pull_bias(grad_output, weight.shape) if output_mask[2] else None,
    )


def convolution(input: Any, weight: Any, geometry: Any) -> Any:
    return torch.convolution(input, weight, None, *geometry)


def input_kernel(g: Any, weight: Any, shape: Any, geometry: Any) -> Any:
    """Of the input, the kernel reads nothing but the shape."""
    return aten.convolution_backward.default(g, g.new_empty(shape), weight, None, *geometry, (True, False, False))[0]


def weight_kernel(g: Any, input: Any, shape: Any, geometry: Any) -> Any:
    """Of the weight, the kernel reads nothing but the shape."""
    return aten.convolution_backward.default(g, input, g.new_empty(shape), None, *geometry, (False, True, False))[1]


def by_parts(product: Callable[..., Any], a: Any, b: Any, *args: Any) -> Any:
    """`product`, which is linear in a and in b, of complex ones by their real and imaginary parts: torch has no more."""
    if not a.is_complex():
        return product(a, b, *args)
    real = product(a.real, b.real, *args) - product(a.imag, b.imag, *args)
    return torch.complex(real, product(a.real, b.imag, *args) + product(a.imag, b.real, *args))


def pulls(
    g: Any, input: Any, weight: Any, shape: Any, weight_shape: Any, wanted: Sequence[bool], geometry: Any,
    margins: Sequence[int] | None = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """The cotangents of input, weight and bias, those that are wanted; from one kernel where it takes the case."""
    fits = margins is None and g.ndim == len(weight_shape) and not isinstance(g, Tensor) and not g.is_complex()
    # For a bias, the kernel computes the weight's cotangent too. And it takes input and weight: one may not be saved.
    if fits and (wanted[1] or not wanted[2]) and input is not None and weight is not None:
        return aten.convolution_backward.default(g, input, weight, g.shape[1:2], *geometry, wanted)
    return (
        pull_input(g, shape, weight, geometry, margins) if wanted[0] else None,
        pull_weight(g, input, weight_shape, geometry, margins) if wanted[1] else None,
        pull_bias(g, weight_shape) if wanted[2] else None,
    )


def pushed(tangents: Sequence[Any], input: Any, weight: Any, count: int, *geometry: Any) -> Any:
    """The tangent of a convolution: of the one factor's tangent with the other, both ways, and of the bias."""
    by_input, by_weight, by_bias = tangents
    product = (torch.conv1d, torch.conv2d, torch.conv3d)[count - 1]
    shares = [] if by_input is None else [product(by_input, weight, None, *geometry)]
    shares += [] if by_weight is None else [product(input, by_weight, None, *geometry)]
    shares += [] if by_bias is None else [by_bias.reshape(-1, *(1,) * count)]
    return functools.reduce(operator.add, shares)


def pull_input(g: Any, shape: Any, weight: Any, geometry: Any, margins: Sequence[int] | None = None) -> Any:
    """The cotangent of a convolution's input; `margins` is how much longer it was made first, at each end."""
    if g.ndim < weight.ndim:
        return pull_input(g.unsqueeze(0), (1, *shape), weight, geometry, margins).squeeze(0)
    if margins is None:
        return by_input(g, weight, shape, geometry)
    longer = [size + more for size, more in zip(shape, [0, 0, *margins[:0:-2]], strict=True)]
    return torch.constant_pad_nd(by_input(g, weight, longer, geometry), [-each for each in margins])


def pull_weight(g: Any, input: Any, shape: Any, geometry: Any, margins: Sequence[int] | None = None) -> Any:
    """The cotangent of a convolution's weight."""
    if margins is not None:
        input = torch.constant_pad_nd(input, margins)
    if input.ndim < len(shape):
        g, input = g.unsqueeze(0), input.unsqueeze(0)
    return by_weight(g, input, shape, geometry)


def pull_bias(g: Any, weight_shape: Any) -> Any:
    """The cotangent of a convolution's bias."""
    return per_channel(g, g.ndim - len(weight_shape) + 1)


def straight(weight_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> tuple[Any, Any]:
    """The geometry of a convolution, as torch.convolution takes it, and the margins to be added to the input first.

    To give as much as was put in, 'same' needs an odd padding where a kernel's reach is odd. Half of it, rounded down,
    goes to both sides, and the one more to the far end.
    """
    dilation, margins = listed(dilation), None
    if padding == "valid":
        padding = 0
    elif padding == "same":
        sizes = weight_shape[2:]
        steps = dilation if len(dilation) == len(sizes) else dilation * len(sizes)
        reach = [step * (size - 1) for step, size in zip(steps, sizes, strict=True)]
        padding = [each // 2 for each in reach]
        if any(each % 2 for each in reach):
            margins = [width for each in reversed(reach) for width in (0, each % 2)]
    return (listed(stride), listed(padding), dilation, False, (0,), groups), margins


def transposed(stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any) -> tuple[Any, ...]:
    """The geometry of a transposed convolution, as torch.convolution takes it."""
    return listed(stride), listed(padding), listed(dilation), True, listed(output_padding), groups


def along_time(padding: int) -> tuple[Any, ...]:
    """The geometry of a convolution in one dimension that has a padding only."""
    return (1,), (padding,), (1,), False, (0,), 1


def listed(value: Any) -> Any:
    """A number for all dimensions as torch.convolution takes it: as a tuple of one."""
    return (value,) if isinstance(value, int) else value
