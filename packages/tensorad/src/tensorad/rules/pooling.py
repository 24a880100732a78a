"""Pooling: averages and maxima over windows, given or adapted to the output's size or drawn, and the way back.

Averages are linear. A maximum is linear too, once it is known where it was taken: that place gets the cotangent, which
is torch's convention for ties. Kernels for two dimensions serve one dimension as well. What torch writes in Python, such
as `lp_pool2d`, is made of these.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from tensorad.call import Op
from tensorad.op import ROWS, composed, defrule, linear
from tensorad.operands import plain
from tensorad.rules.reductions import selecting

aten = torch.ops.aten
functional = torch.nn.functional
kernels: Any = torch._C._nn  # pyright: ignore[reportAttributeAccessIssue] # torch's own, below their Python


def sending(signature: str, count: int) -> Op:
    """One of torch's ways back from maxima, which sends g to the `indices` in the last `count` dimensions."""
    kernel = getattr(aten, signature.partition("(")[0]).default
    return linear(f"ops.aten.{signature}", function=kernel, grad_output=lambda g, indices: picked(g, indices, count))


# fmt: off

# Averages. The cotangent has a kernel, which of its second argument reads the shape, and whose own cotangent is an average.
linear("avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True)",
       input=lambda g, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad:
       average_1d_back(g, blank(g, input_shape), kernel_size, stride, padding, ceil_mode, count_include_pad))
linear("avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None)",
       "ops.aten.avg_pool2d", input=lambda g, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override:
       average_2d_back(g, blank(g, input_shape), kernel_size, stride or (), padding, ceil_mode, count_include_pad, divisor_override))
linear("avg_pool3d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None)",
       "ops.aten.avg_pool3d", input=lambda g, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override:
       average_3d_back(g, blank(g, input_shape), kernel_size, stride or (), padding, ceil_mode, count_include_pad, divisor_override))
average_2d_back = linear("ops.aten.avg_pool2d_backward(grad_output, input, *geometry)", function=aten.avg_pool2d_backward.default,
                         grad_output=lambda g, geometry: kernels.avg_pool2d(g, *geometry))
average_3d_back = linear("ops.aten.avg_pool3d_backward(grad_output, input, *geometry)", function=aten.avg_pool3d_backward.default,
                         grad_output=lambda g, geometry: kernels.avg_pool3d(g, *geometry))

# Averages over as many windows as there shall be values; over everything, where there shall be one.
linear("adaptive_avg_pool1d(input, output_size)", input=lambda g, input_shape: evenly(g, input_shape, 1)
       if g.shape[-1:] == (1,) else flat(adaptive_2d_back(high(g), high(blank(g, input_shape)))))
linear("nn.functional.adaptive_avg_pool2d(input, output_size)", "_C._nn.adaptive_avg_pool2d", "_adaptive_avg_pool2d",
       input=lambda g, input_shape: evenly(g, input_shape, 2)
       if g.shape[-2:] == (1, 1) else adaptive_2d_back(g, blank(g, input_shape)))
linear("nn.functional.adaptive_avg_pool3d(input, output_size)", "_C._nn.adaptive_avg_pool3d", "_adaptive_avg_pool3d",
       input=lambda g, input_shape: evenly(g, input_shape, 3)
       if g.shape[-3:] == (1, 1, 1) else adaptive_3d_back(g, blank(g, input_shape)))
adaptive_2d_back = linear("ops.aten._adaptive_avg_pool2d_backward(grad_output, input)", function=aten._adaptive_avg_pool2d_backward.default,
                          grad_output=lambda g, grad_output_shape: kernels.adaptive_avg_pool2d(g, grad_output_shape[-2:]))
adaptive_3d_back = linear("ops.aten._adaptive_avg_pool3d_backward(grad_output, input)", function=aten._adaptive_avg_pool3d_backward.default,
                          grad_output=lambda g, grad_output_shape: kernels.adaptive_avg_pool3d(g, grad_output_shape[-3:]))

# From the cotangents of maxima to that of what they were taken from; the way back picks them out again.
max_2d_back = sending("max_pool2d_with_indices_backward(grad_output, input, size, stride, padding, dilation, ceil_mode, indices)", 2)
max_3d_back = sending("max_pool3d_with_indices_backward(grad_output, input, size, stride, padding, dilation, ceil_mode, indices)", 3)
adaptive_max_2d_back = sending("adaptive_max_pool2d_backward(grad_output, input, indices)", 2)
adaptive_max_3d_back = sending("adaptive_max_pool3d_backward(grad_output, input, indices)", 3)
fractional_2d_back = sending("fractional_max_pool2d_backward(grad_output, input, kernel_size, output_size, indices)", 2)
fractional_3d_back = sending("fractional_max_pool3d_backward(grad_output, input, kernel_size, output_size, indices)", 3)

# Values put where maxima were found, among zeros.
defrule("_C._nn.max_unpool2d(input, indices, output_size)", "ops.aten.max_unpool2d",
        function=lambda input, indices, output_size: unpooled(kernels.max_unpool2d, input, indices, output_size),
        input=lambda g, residuals: picked(g, residuals[0], 2, residuals[1]))
defrule("_C._nn.max_unpool3d(input, indices, output_size, stride, padding)", "ops.aten.max_unpool3d",
        function=lambda input, indices, *sizes: unpooled(kernels.max_unpool3d, input, indices, *sizes),
        input=lambda g, residuals: picked(g, residuals[0], 3, residuals[1]))

# fmt: on


def by_window(name: str, function: Callable[..., Any], back: Callable[..., Any]) -> Callable[..., Any]:
    """An op with the results (values, indices), of the `function` on torch tensors that finds both.

    `back` takes g, a tensor of the input's shape, the geometry and the indices.
    """
    both = selecting(name, lambda g, input_shape, residuals, place: back(g, blank(g, input_shape), *place, residuals))

    def call(input: Any, *geometry: Any, **unsaved: Any) -> tuple[Any, Any]:
        return both(input, function(plain(input), *geometry, **unsaved), geometry)

    return call


def max_pool(count: int, function: Callable[..., Any], back: Callable[..., Any]) -> None:
    """The op max_pool in `count` dimensions, under the names that torch has for it."""
    name = f"max_pool{count}d"
    both = by_window(name, function, back)
    # Where nobody asks for the indices, which is nearly always, an op of one output: a tenth of a small step's time.
    op = Op(
        f"{name}(input, kernel_size, stride, padding, dilation, ceil_mode)",
        {
            "input": lambda g, input_shape, kernel_size, stride, padding, dilation, ceil_mode, residuals: back(
                g, blank(g, input_shape), kernel_size, stride or (), padding, dilation, ceil_mode, residuals
            )
        },
        function,
    )
    ROWS[maxima := op.call] = op

    def with_indices(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
        return_indices: bool = True,
    ) -> Any:  # fmt: skip
        return both(input, kernel_size, () if stride is None else stride, padding, dilation, ceil_mode)

    def call(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:  # fmt: skip
        chosen = with_indices if return_indices else maxima
        return chosen(input, kernel_size, stride, padding, dilation, ceil_mode)

    composed(name)(call)
    composed(f"{name}_with_indices", f"_C._nn.{name}_with_indices", f"ops.aten.{name}_with_indices")(with_indices)


def adaptive_max_pool(count: int, function: Callable[..., Any], back: Callable[..., Any]) -> None:
    """The op adaptive_max_pool in `count` dimensions, under the names that torch has for it."""
    name = f"adaptive_max_pool{count}d"
    both = by_window(name, function, lambda g, input, output_size, indices: back(g, input, indices))

    def with_indices(input: Any, output_size: Any, return_indices: bool = True) -> Any:
        return both(input, output_size)

    def call(input: Any, output_size: Any, return_indices: bool = False) -> Any:
        found = both(input, output_size)
        return found if return_indices else found[0]

    composed(name, f"{name}_with_indices", f"_C._nn.{name}", f"ops.aten.{name}")(with_indices)
    composed(f"nn.functional.{name}")(call)


def fractional_max_pool(count: int, function: Callable[..., Any], back: Callable[..., Any]) -> None:
    """The op fractional_max_pool in `count` dimensions, with what torch's functions draw as its last argument."""
    name = f"fractional_max_pool{count}d"
    both = by_window(name, function, back)

    @composed(f"_C._nn.{name}", f"ops.aten.{name}")
    def call(input: Any, kernel_size: Any, output_size: Any, random_samples: Any) -> Any:
        return both(input, kernel_size, output_size, random_samples=plain(random_samples))


def average_1d_back(g: Any, input: Any, size: Any, stride: Any, padding: Any, *more: Any) -> Any:
    return flat(average_2d_back(high(g), high(input), *high_sizes(size, stride, padding), *more, None))


def max_1d_back(g: Any, input: Any, size: Any, stride: Any, padding: Any, dilation: Any, *more: Any) -> Any:
    *sizes, (_, step) = *high_sizes(size, stride, padding), pair(1, dilation)
    ceil_mode, indices = more
    return flat(max_2d_back(high(g), high(input), *sizes, (1, step), ceil_mode, high(indices)))


def adaptive_max_1d_back(g: Any, input: Any, indices: Any) -> Any:
    return flat(adaptive_max_2d_back(high(g), high(input), high(indices)))


max_pool(1, torch.max_pool1d_with_indices, max_1d_back)
max_pool(2, kernels.max_pool2d_with_indices, max_2d_back)
max_pool(3, kernels.max_pool3d_with_indices, max_3d_back)
adaptive_max_pool(1, functional.adaptive_max_pool1d_with_indices, adaptive_max_1d_back)
adaptive_max_pool(2, functional.adaptive_max_pool2d_with_indices, adaptive_max_2d_back)
adaptive_max_pool(3, functional.adaptive_max_pool3d_with_indices, adaptive_max_3d_back)
fractional_max_pool(2, kernels.fractional_max_pool2d, fractional_2d_back)
fractional_max_pool(3, kernels.fractional_max_pool3d, fractional_3d_back)


def blank(g: Any, shape: Any) -> Any:
    """For an argument of which a kernel reads no more than the shape: a tensor with the memory of one number."""
    return g.new_empty_strided(shape, (0,) * len(shape))


def high(value: Any) -> Any:
    """A row as a plane of height 1."""
    return value.unsqueeze(-2)


def flat(value: Any) -> Any:
    """A plane of height 1 as a row."""
    return value.squeeze(-2)


def pair(height: int, width: Any) -> tuple[int, int]:
    return height, width if isinstance(width, int) else width[0]


def high_sizes(kernel_size: Any, stride: Any, padding: Any) -> tuple[Any, Any, Any]:
    """Of a window for rows, what does the same to planes of height 1."""
    return pair(1, kernel_size), pair(1, stride or kernel_size), pair(0, padding)


def evenly(g: Any, shape: Any, count: int) -> Any:
    """The cotangent of a mean over the last `count` dimensions, which g has as ones."""
    return (g / math.prod(shape[-count:])).expand(shape)


def picked(values: Any, indices: Any, count: int, shares: Any = None) -> Any:
    """What `values` has at the `indices`, which number its last `count` dimensions as one; only a share, if told so."""
    found = values.flatten(-count).gather(-1, indices.flatten(-count)).reshape(indices.shape)
    return found if shares is None else found * shares


def unpooled(function: Callable[..., Any], input: Any, indices: Any, output_size: Any, *more: Any) -> Any:
    """What `function` puts together, with the indices, and the shares that values have in a place given to several.

    One value is kept there, and those that equal it are maxima of windows that overlap: each has an equal share in it.
    """
    out, count = function(input, indices, output_size, *more), len(output_size)
    rows, places = out.flatten(-count), indices.flatten(-count)
    taken = torch.zeros_like(rows, dtype=torch.bool).scatter_(-1, places, True)
    if int(taken.sum()) == places.numel():
        return out, (indices, None)
    kept = (rows.gather(-1, places) == input.flatten(-count)).to(input.dtype)
    rivals = torch.zeros_like(rows).scatter_add_(-1, places, kept).gather(-1, places)
    return out, (indices, (kept / rivals.clamp(min=1)).reshape(input.shape))
