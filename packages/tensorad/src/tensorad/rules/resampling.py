"""Values in between: images resized and sampled at a grid, embeddings added up in bags, distances between all points.

What is linear, such as interpolation, has torch's own kernel for its cotangent, which is an op as well: its cotangent
is the interpolation again.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tensorad.op import composed, defrule, fused, linear
from tensorad.operands import plain
from tensorad.rules.indexing import add_along, embedding_sums
from tensorad.rules.reductions import norm_slope
from tensorad.tensor import Tensor

aten = torch.ops.aten
in_bags: Any = torch._embedding_bag  # pyright: ignore[reportPrivateImportUsage]
kernels: Any = torch._C._nn  # pyright: ignore[reportAttributeAccessIssue] # torch's own functions, below their Python
product: Any = math.prod  # of tensors too, though its type says numbers
SUM, MEAN, MAX = range(3)  # torch's numbers for how a bag becomes one row,
BILINEAR, NEAREST, BICUBIC = range(3)  # for how a value in between is made,
ZEROS, BORDER, REFLECTION = range(3)  # and for what is around an image
STEEPNESS = -0.75  # of the cubic that torch interpolates by, at 1

# fmt: off

# An image at the places of a grid.
defrule("grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)", "grid_sampler_2d", "grid_sampler_3d",
        joint=("input grid", lambda g, input, grid, input_shape, interpolation_mode, padding_mode, align_corners, wanted:
               sampler_pulls(g, input, grid, input_shape, wanted, interpolation_mode, padding_mode, align_corners)),
        needed_for={"input": "grid"})
linear("affine_grid_generator(theta, size, align_corners)", theta=lambda g, size, align_corners: affine_sums(g, size, align_corners))
affine_sums = linear("affine_sums(grid, size, corners)", function=aten.affine_grid_generator_backward.default,
                     grid=lambda g, size, corners: torch.affine_grid_generator(g, size, corners))

# Rows of a matrix, added up in bags. `found` is what torch found.
bagged = defrule("bagged(weight, shares, found, indices, offsets, mode, by_frequency, padding)",
                 function=lambda weight, shares, found, *_: (found[0], found[1:]),
                 weight=lambda g, weight_shape, shares, indices, offsets, mode, by_frequency, padding, residuals:
                 by_rows(g, weight_shape[0], shares, indices, offsets, mode, by_frequency, padding, *residuals),
                 shares=lambda g, weight, indices, offsets, mode, padding, residuals:
                 by_shares(g, weight, indices, offsets, mode, padding, *residuals)).call

# All distances between the rows of one matrix.
defrule("pdist(input, p=2)", "ops.aten._pdist_forward", input=lambda g, input, p, out: by_points(g, input, p, out))

# fmt: on


def interpolation(name: str, ndim: int, has_corners: bool) -> None:
    """Let one of torch's interpolations have its two rows, there and back; `has_corners`: it takes align_corners."""
    forward, back = getattr(kernels, name), getattr(aten, f"{name}_backward").default
    there = linear(
        f"{name}_there(input, size, settings)",
        function=lambda input, size, settings: forward(input, size, *settings),
        input=lambda g, input_shape, settings: and_back(g, input_shape, settings),
    )
    and_back = linear(
        f"{name}_back(input, shape, settings)",
        function=lambda input, shape, settings: back(input, input.shape[2:], shape, *settings),
        input=lambda g, input_shape, settings: there(g, input_shape[2:], settings),
    )
    names = ["align_corners"] * has_corners + (
        ["scales"] if ndim == 1 else ["scales_d", "scales_h", "scales_w"][-ndim:]
    )

    @composed(f"_C._nn.{name}", f"ops.aten.{name}")
    def call(input: Any, output_size: Any, *options: Any, **named: Any) -> Any:  # pyright: ignore[reportUnusedFunction]
        """In torch's two forms: with the scale along each dimension, or with a list of them in their place."""
        given = dict(zip(names, options, strict=False)) | named
        corners, *scales = [given.get(each) for each in names] if has_corners else [None, *map(given.get, names)]
        scales = given.get("scale_factors") or (scales[0] if isinstance(scales[0], list | tuple) else scales)
        if output_size is None:
            output_size = [int(size * scale) for size, scale in zip(input.shape[2:], scales, strict=True)]
        return there.call(input, output_size, (corners, *scales) if has_corners else tuple(scales))


for _ndim, _names, _has_corners in [
    (1, "upsample_nearest1d _upsample_nearest_exact1d", False),
    (2, "upsample_nearest2d _upsample_nearest_exact2d", False),
    (3, "upsample_nearest3d _upsample_nearest_exact3d", False),
    (1, "upsample_linear1d", True),
    (2, "upsample_bilinear2d upsample_bicubic2d", True),
    (2, "_upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa", True),
    (3, "upsample_trilinear3d", True),
]:
    for _name in _names.split():
        if hasattr(kernels, _name):  # the newest is not in every torch
            interpolation(_name, _ndim, _has_corners)


def sampler_kernel(g: Any, input: Any, grid: Any, shape: Any, wanted: Any, *options: Any) -> Any:
    """Which computes the grid's cotangent in any case: from zeros, if the image was not saved."""
    kernel = aten.grid_sampler_2d_backward if g.ndim == 4 else aten.grid_sampler_3d_backward
    return kernel.default(g, g.new_zeros(()).expand(shape) if input is None else input, grid, *options, wanted)


@fused(sampler_kernel)
def sampler_pulls(g: Any, input: Any, grid: Any, shape: Any, wanted: Any, *options: Any) -> tuple[Any, Any]:
    by_input = by_image(g, shape, grid, *options) if wanted[0] else None
    return by_input, by_grid(g, input, grid, *options) if wanted[1] else None


def by_image(g: Any, shape: Any, grid: Any, mode: int, padding: int, corners: bool) -> Any:
    """Each place's cotangent, in shares, to the pixels around it."""
    flat = (*shape[:2], math.prod(shape[2:]))
    total: Any = 0
    for pixel, weights, _ in neighbours(grid, shape[2:], mode, padding, corners):
        shares = (g * product(weights).unsqueeze(1)).flatten(2)
        total = total + add_along(shares, 2, pixel.expand(shares.shape), flat)
    return total.reshape(shape)


def by_grid(g: Any, input: Any, grid: Any, mode: int, padding: int, corners: bool) -> Any:
    """How the shares of the pixels around a place change as it moves, times what the pixels are to g."""
    flat = input.flatten(2)
    total: Any = 0
    for pixel, weights, slopes in neighbours(grid, input.shape[2:], mode, padding, corners):
        values = flat.gather(2, pixel.expand(*flat.shape[:2], pixel.shape[2])).reshape(g.shape)
        turned = [product([*weights[:place], slope, *weights[place + 1 :]]) for place, slope in enumerate(slopes)]
        total = total + (values * g).sum(1).unsqueeze(-1) * torch.stack(turned[::-1], -1)
    return total


def neighbours(
    grid: Any, sizes: Sequence[int], mode: int, padding: int, corners: bool
) -> Iterator[tuple[Any, list[Any], list[Any]]]:
    """The pixels that give a place its value: where they are in the flattened image, and along each dimension their
    weight and its slope in the grid. The last column of the grid is the first dimension of the image."""
    columns = reversed(range(len(sizes)))
    along = [taps(grid[..., k], size, mode, padding, corners) for k, size in zip(columns, sizes, strict=True)]
    for one in itertools.product(*along):
        flat: Any = 0
        for (pixel, _, _), size in zip(one, sizes, strict=True):
            flat = flat * size + pixel
        yield flat.flatten(1).unsqueeze(1), [weight for _, weight, _ in one], [slope for _, _, slope in one]


def taps(grid: Any, size: int, mode: int, padding: int, corners: bool) -> list[tuple[Any, Any, Any]]:
    """Along one dimension, the pixels around each place of the grid, their weights, and their slopes in the grid."""
    raw, scale = plain(grid), (size - 1 if corners else size) / 2
    x = (raw + 1) * scale - (0 if corners else 0.5)
    turn = torch.full_like(x, scale)
    if mode != BICUBIC:
        x, sign = onto_image(x, size, padding, corners)
        turn = turn * sign
    if mode == NEAREST:
        return [weighed(x.round(), torch.ones_like(x), torch.zeros_like(x), size, ZEROS, corners)]
    below = x.floor()
    t = (x - below) + turn * (grid - raw)  # the number alone, with what the grid has to say to it
    if mode == BILINEAR:
        shares = [(1 - t, -turn), (t, turn)]
        return [weighed(below + k, *share, size, ZEROS, corners) for k, share in enumerate(shares)]
    shares = [cubic_outside(t + 1), cubic_inside(t), cubic_inside(1 - t), cubic_outside(2 - t)]
    signs = turn, turn, -turn, -turn
    return [
        weighed(below + k - 1, weight, slope * sign, size, padding, corners)
        for k, ((weight, slope), sign) in enumerate(zip(shares, signs, strict=True))
    ]


def weighed(pixel: Any, weight: Any, slope: Any, size: int, padding: int, corners: bool) -> tuple[Any, Any, Any]:
    """The pixel as an index, with its weight and slope, which are 0 if it is none."""
    pixel = onto_image(pixel, size, padding, corners)[0]
    inside = (pixel >= 0) & (pixel < size)
    return pixel.where(inside, 0).long(), weight * inside, slope * inside


def onto_image(x: Any, size: int, padding: int, corners: bool) -> tuple[Any, Any]:
    """Where an image of `size` pixels, continued as `padding` says, has what is at x; and the slope of that in x."""
    slope = torch.ones_like(x)
    if padding == ZEROS:
        return x, slope
    # There and back again, between the first pixel and the last, or between their outer edges.
    if padding == REFLECTION:
        low, span = (0, size - 1) if corners else (-0.5, size)
        if span == 0:
            return torch.zeros_like(x), torch.zeros_like(x)
        distance = (x - low).abs()
        back = (distance / span).floor() % 2 == 1
        rest = distance.fmod(span)
        slope = torch.where(back, -slope, slope).where(x >= low, torch.where(back, slope, -slope))
        x = torch.where(back, span - rest, rest) + low
    return x.clamp(0, size - 1), slope * ((x > 0) & (x < size - 1))


def cubic_inside(d: Any) -> tuple[Any, Any]:
    """Of the cubic through 1 at 0 and 0 at 1, and its slope: Keys 1981, Cubic Convolution Interpolation, equation 4."""
    a, b = STEEPNESS + 2, STEEPNESS + 3
    return (a * d - b) * d * d + 1, (3 * a * d - 2 * b) * d


def cubic_outside(d: Any) -> tuple[Any, Any]:
    """The same from 1 to 2."""
    return STEEPNESS * (((d - 5) * d + 8) * d - 4), STEEPNESS * ((3 * d - 10) * d + 8)


@composed("_C._VariableFunctions.embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(
    weight: Any, indices: Any, offsets: Any, scale_grad_by_freq: bool = False, mode: int = SUM, sparse: bool = False,
    per_sample_weights: Any = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> tuple[Any, ...]:  # fmt: skip
    """The gradient is dense, whatever `sparse` says. The other three results are torch's own notes, integers."""
    indices, offsets = plain(indices), plain(offsets)
    padding = -1 if padding_idx is None else padding_idx % weight.shape[0]
    found = in_bags(
        plain(weight), indices, offsets, scale_grad_by_freq, mode, False, plain(per_sample_weights), include_last_offset,
        padding,
    )  # fmt: skip
    out = bagged(weight, per_sample_weights, found, indices, offsets, mode, scale_grad_by_freq, padding)
    return out, *map(Tensor, found[1:])


def rows_kernel(
    g: Any,
    count: int,
    shares: Any,
    indices: Any,
    offsets: Any,
    mode: int,
    by_frequency: bool,
    padding: int,
    *found: Any,
) -> Any:
    return aten._embedding_bag_backward.default(
        g, indices, offsets, *found, count, by_frequency, mode, False, shares, padding
    )


@fused(rows_kernel)
def by_rows(
    g: Any, count: int, shares: Any, indices: Any, offsets: Any, mode: int, by_frequency: bool, padding: int,
    _: Any, sizes: Any, largest: Any,
) -> Any:  # fmt: skip
    """To each row the cotangents of the bags that it is in; of the largest, to the one that torch chose."""
    if mode == MAX:
        return add_along(g.masked_fill((sizes == 0).unsqueeze(-1), 0), 0, largest, (count, g.shape[1]))
    if mode == MEAN:
        g = g / sizes.clamp(min=1).unsqueeze(-1)
    rows = g.index_select(0, bag_of(indices, offsets))
    return embedding_sums(
        rows if shares is None else rows * shares.unsqueeze(-1), indices, count, padding, by_frequency
    )


@fused(
    lambda g, weight, indices, offsets, mode, padding, bags, *_: (
        aten._embedding_bag_per_sample_weights_backward.default(g, weight, indices, offsets, bags, mode, padding)
    )
)
def by_shares(g: Any, weight: Any, indices: Any, offsets: Any, mode: int, padding: int, *_: Any) -> Any:
    products = g.index_select(0, bag_of(indices, offsets)) * weight.index_select(0, indices)
    return products.sum(-1).masked_fill(indices == padding, 0)


def bag_of(indices: Any, offsets: Any) -> Any:
    """The bag that each index is in, by where the bags begin."""
    places = torch.arange(len(indices), dtype=offsets.dtype, device=offsets.device)
    return torch.searchsorted(offsets, places, right=True) - 1


def distances_kernel(g: Any, input: Any, p: float, out: Any) -> Any:
    if not (g.numel() and input.numel()):  # which the kernel does not survive
        return torch.zeros_like(input)
    return aten._pdist_backward.default(g.contiguous(), input, p, out)


@fused(distances_kernel)
def by_points(g: Any, input: Any, p: float, out: Any) -> Any:
    one, other = torch.triu_indices(len(input), len(input), 1, device=input.device)
    pull = norm_slope(g, input.index_select(0, one) - input.index_select(0, other), p, -1, out)
    return g.new_zeros(input.shape).index_add(0, one, pull).index_add(0, other, -pull)
