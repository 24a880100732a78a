"""Interpolation, grids, bags of embeddings and distances against torch.autograd, and against finite differences."""

from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, by_torch, rand, slope
from torch.nn import functional

import tensorad as ts

INTERPOLATIONS = """
functional.interpolate(x, 5)                                    | 2,3,4 ; 2,3,4,2 ; 1,2,3,2,2
functional.interpolate(x, scale_factor=1.7)                     | 2,3,4 ; 2,3,4,2 ; 1,2,3,2,2
functional.interpolate(x, scale_factor=1.7, recompute_scale_factor=True)    | 2,3,4 ; 2,3,4,2
functional.interpolate(x, 5, mode='nearest-exact')              | 2,3,4 ; 2,3,4,2 ; 1,2,3,2,2
functional.interpolate(x, scale_factor=0.6, mode='nearest-exact')           | 2,3,4 ; 2,3,4,2 ; 1,2,3,2,2
functional.interpolate(x, 7, mode='linear')                     | 2,3,4
functional.interpolate(x, scale_factor=1.7, mode='linear', align_corners=True)          | 2,3,4
functional.interpolate(x, (7, 2), mode='bilinear')              | 2,3,4,3
functional.interpolate(x, (7, 2), mode='bilinear', align_corners=True)      | 2,3,4,3
functional.interpolate(x, scale_factor=(1.7, 0.5), mode='bilinear')         | 2,3,4,3
functional.interpolate(x, scale_factor=(0.6, 0.5), mode='bilinear', antialias=True)     | 2,3,4,5
functional.interpolate(x, (7, 2), mode='bicubic')               | 2,3,4,3
functional.interpolate(x, scale_factor=1.7, mode='bicubic', align_corners=True)         | 2,3,4,3
functional.interpolate(x, (2, 7), mode='bicubic', antialias=True)           | 2,3,4,3
functional.interpolate(x, (2, 3, 5), mode='trilinear')          | 1,2,3,2,2
functional.interpolate(x, scale_factor=1.7, mode='trilinear', align_corners=True)       | 1,2,3,2,2
functional.upsample(x, scale_factor=2)                          | 2,3,4
functional.upsample_nearest(x, 5)                               | 2,3,4,2
functional.upsample_bilinear(x, scale_factor=2)                 | 2,3,4,2
torch.nn.Upsample(scale_factor=2, mode='bilinear')(x)           | 2,3,4,2
torch._C._nn.upsample_bilinear2d(x, [5, 6], False, 1.3, 2.1)    | 2,3,4,3
torch._C._nn.upsample_bilinear2d(x, [5, 6], align_corners=True, scales_w=2.1)   | 2,3,4,3
torch._C._nn.upsample_bilinear2d(x, None, False, [1.3, 2.1])    | 2,3,4,3
torch._C._nn.upsample_bilinear2d(x, None, align_corners=False, scale_factors=[1.3, 2.1])    | 2,3,4,3
torch._C._nn.upsample_nearest1d(x, [5], 1.3)                    | 2,3,4
torch.ops.aten.upsample_bicubic2d(x, [5, 6], True)              | 2,3,4,3
torch.affine_grid_generator(x, [2, 3, 4, 5], True)              | 2,2,3
functional.affine_grid(x, [2, 3, 4, 5], align_corners=False)    | 2,2,3
functional.affine_grid(x, (1, 1, 2, 3, 2), align_corners=False) | 1,3,4
"""


@pytest.mark.filterwarnings("ignore:.*upsample.* is deprecated")
@pytest.mark.parametrize(("expression", "shapes"), cases(INTERPOLATIONS))
def test_interpolations(expression: str, shapes: Any) -> None:
    agree(bent(expression, "x"), rand(*shapes[0]), order=3)


BAGS = [
    (options, mode, offsets)
    for mode in ("sum", "mean", "max")
    for offsets in (None, [0, 2, 2, 5], [0, 4])
    for options in ({}, {"padding_idx": 1}, {"padding_idx": -2}, {"scale_grad_by_freq": True}, {"sparse": True})
    if mode != "max" or not {"scale_grad_by_freq", "sparse"} & options.keys()
]


def bags(options: Any, mode: str, offsets: Any, **more: Any) -> Any:
    """Of six indices, bent by sin, by the weight and the factors."""
    indices = torch.tensor([1, 3, 1, 0, 3, 3])
    indices = indices.reshape(2, 3) if offsets is None else indices
    options = {"mode": mode, "offsets": None if offsets is None else torch.tensor(offsets)} | options | more

    def apply(weight: Any, factors: Any = None) -> Any:
        factors = factors.reshape(indices.shape) if factors is not None else None
        return functional.embedding_bag(indices, weight, per_sample_weights=factors, **options).sin()

    return apply


@pytest.mark.parametrize(("options", "mode", "offsets"), BAGS)
def test_bags(options: Any, mode: str, offsets: Any) -> None:
    """Torch has no second order of these: it is that of the same sums, made of ops that have one."""
    weight = rand(5, 2)
    agree_but_sparse(bags(options, mode, offsets), weight)
    if "scale_grad_by_freq" not in options:  # whose gradient is not that of any function
        definition = by_definition(options, mode, offsets)
        for ours, right in zip(
            by_tensorad(bags(options, mode, offsets), [weight], 2)[1], by_torch(definition, [weight], 2)[1], strict=True
        ):
            torch.testing.assert_close(ours, right)


def agree_but_sparse(function: Any, weight: Any) -> None:
    """`agree`, at first order, but for torch's own sparse gradients, which tensorad makes dense."""
    source = weight.clone().requires_grad_()
    output = function(source)
    seed = rand(*output.shape, seed=4)
    expected = torch.autograd.grad((output * seed).sum(), source)[0].to_dense()
    x = ts.tensor(weight)
    with ts.Grad() as g:
        y = function(x)
        z = (y * seed).sum()
    assert torch.equal(y.data, output)
    torch.testing.assert_close(g.gradient(z, x).data, expected)


def by_definition(options: Any, mode: str, offsets: Any, with_factors: bool = False) -> Any:
    """Bag by bag."""
    indices, padding = [1, 3, 1, 0, 3, 3], options.get("padding_idx", -9)
    padding = padding % 5 if padding != -9 else padding
    starts = [0, 3] if offsets is None else offsets
    ends = [*starts[1:], 6]

    def apply(weight: Any, factors: Any = None) -> Any:
        found = []
        for start, end in zip(starts, ends, strict=True):
            chosen = [place for place in range(start, end) if indices[place] != padding]
            if not chosen:
                found.append(weight.new_zeros(weight.shape[1]))
                continue
            rows = torch.stack([weight[indices[k]] * (1 if factors is None else factors[k]) for k in chosen])
            found.append({"sum": rows.sum(0), "mean": rows.mean(0), "max": rows.max(0).values}[mode])
        return torch.stack(found).sin()

    return apply


@pytest.mark.parametrize("offsets", [None, [0, 2, 2, 5], [0, 4]])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}])
def test_bags_with_a_factor_for_each_index(options: Any, offsets: Any) -> None:
    inputs = [rand(5, 2), rand(6, seed=1)]
    agree(bags(options, "sum", offsets), *inputs, order=1)
    ours = by_tensorad(bags(options, "sum", offsets), inputs, 2)[1]
    for mine, right in zip(ours, by_torch(by_definition(options, "sum", offsets), inputs, 2)[1], strict=True):
        torch.testing.assert_close(mine, right)


def test_bags_in_other_forms() -> None:
    """The end of the last bag as an offset of its own; torch.embedding_bag, with its four results; single precision."""
    indices, offsets = torch.tensor([1, 3, 1, 0, 3, 3]), torch.tensor([0, 2, 6])
    for mode in ("sum", "mean", "max"):
        agree(
            lambda w, mode=mode: functional.embedding_bag(indices, w, offsets, mode=mode, include_last_offset=True),
            rand(5, 2), order=1,
        )  # fmt: skip
        by_tensorad(
            lambda w, mode=mode: functional.embedding_bag(
                indices, w, offsets, mode=mode, include_last_offset=True
            ).sin(),
            [rand(5, 2)],
            2,
        )
    agree(lambda w: torch.embedding_bag(w, indices, offsets)[0], rand(5, 2), order=1)
    agree(lambda w: torch.embedding_bag(w, indices.int(), offsets.int(), mode=1)[0], rand(5, 2), order=1)
    x = ts.tensor(rand(5, 2, dtype=torch.float32))  # for which torch has a shorter way, with fewer notes
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            y = (functional.embedding_bag(indices, x, offsets, mode="sum") ** 2).sum()
        d = inner.gradient(y, x)
    assert outer.gradient(d, x).tolist() == [[8, 8], [12, 12], [0, 0], [20, 20], [0, 0]]


def test_a_bag_does_not_change_the_weight() -> None:
    with pytest.raises(ts.InPlaceError):
        functional.embedding_bag(torch.tensor([[0]]), ts.tensor(rand(2, 2)), max_norm=0.1)


MODES = [
    (mode, padding, corners)
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for corners in (False, True)
]


@pytest.mark.parametrize(("mode", "padding", "corners"), MODES)
@pytest.mark.parametrize("ndim", [2, 3])
def test_grid_sample(mode: str, padding: str, corners: bool, ndim: int) -> None:
    """Within the image and far out of it, at both orders; torch has the first one only."""
    if mode == "bicubic" and ndim == 3:
        return

    def function(image: Any, grid: Any) -> Any:
        return functional.grid_sample(image, grid, mode, padding, corners).sin()

    image, grid = rand(2, 3, *(4, 5, 2)[:ndim]), rand(2, *(3, 2, 2)[:ndim], ndim, low=-3, high=3, seed=1)
    agree(function, image, grid, order=1)
    expected = by_torch(function, [image, grid])[1][0]
    _, [recorded, second] = by_tensorad(function, [image, grid], 2)
    for ours, torchs in zip(recorded, expected, strict=True):
        torch.testing.assert_close(ours, torchs)
    directions = [rand(*image.shape, seed=2), rand(*grid.shape, seed=3)]
    measured = slope(lambda *args: by_torch(function, args)[1][0], [image, grid], directions)
    found = sum((each * direction).sum().item() for each, direction in zip(second, directions, strict=True))
    assert found == pytest.approx(measured, rel=1e-5, abs=1e-7)
    constant_image = lambda grid: function(image, grid)  # noqa: E731
    constant_grid = lambda image: function(image, grid)  # noqa: E731
    for place, (partial, source) in enumerate([(constant_grid, image), (constant_image, grid)]):
        agree(partial, source, order=1)
        [[one], [two]] = by_tensorad(partial, [source], 2)[1]
        torch.testing.assert_close(one, expected[place])
        direction = directions[place]
        measured = slope(lambda arg, partial=partial: by_torch(partial, [arg])[1][0], [source], [direction])
        assert (two * direction).sum().item() == pytest.approx(measured, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("mode", "padding", "corners"), MODES)
def test_grid_sample_on_pixels_and_edges(mode: str, padding: str, corners: bool) -> None:
    """Where the grid hits pixels, edges and the middle between pixels, and images of one pixel: torch's side."""
    places = torch.tensor([-2.0, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0], dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(places, places, indexing="ij"), -1).unsqueeze(0)

    def function(image: Any, grid: Any) -> Any:
        return functional.grid_sample(image, grid, mode, padding, corners)

    for image in (rand(1, 2, 4, 4), rand(1, 2, 3, 5), rand(1, 1, 1, 2)):
        expected = by_torch(function, [image, grid])[1][0]
        recorded = by_tensorad(function, [image, grid], 2)[1][0]
        for ours, torchs in zip(recorded, expected, strict=True):
            torch.testing.assert_close(ours, torchs)


def test_grid_samplers_by_number() -> None:
    image, grid = rand(1, 2, 3, 4), rand(1, 2, 2, 2, seed=1)
    agree(lambda image, grid: torch.grid_sampler(image, grid, 0, 1, True), image, grid, order=1)
    agree(lambda image, grid: torch.grid_sampler_2d(image, grid, 2, 0, False), image, grid, order=1)
    image, grid = rand(1, 2, 3, 4, 2), rand(1, 2, 2, 2, 3, seed=1)
    agree(lambda image, grid: torch.grid_sampler_3d(image, grid, 1, 2, False), image, grid, order=1)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, float("inf")])
def test_pdist(p: float) -> None:
    """Torch has no second order; the lengths of all differences have."""

    def definition(x: Any) -> Any:
        one, other = torch.triu_indices(len(x), len(x), 1)
        return torch.linalg.vector_norm(x[one] - x[other], p, -1).sin()

    x = rand(4, 3)
    agree(lambda x: functional.pdist(x, p).sin(), x, order=1)
    for mine, right in zip(
        by_tensorad(lambda x: torch.pdist(x, p).sin(), [x], 2)[1], by_torch(definition, [x], 2)[1], strict=True
    ):
        torch.testing.assert_close(mine, right)


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (2, 0)])
def test_pdist_of_nothing(shape: Any) -> None:
    """Torch's own gradient of no points ends the process."""
    [distances], [[first], [second]] = by_tensorad(torch.pdist, [rand(*shape)], 2)
    assert torch.equal(distances, torch.pdist(rand(*shape)))
    assert torch.equal(first, torch.zeros(shape, dtype=torch.float64))
    assert torch.equal(second, torch.zeros(shape, dtype=torch.float64))


def test_pdist_of_equal_points() -> None:
    """norm₂(0 vector): 0."""
    x = ts.tensor(torch.ones(2, 3))
    with ts.Grad() as outer:
        with ts.Grad() as g:
            y = torch.pdist(x)
        d = g.gradient(y, x)
    assert d.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert outer.gradient(d, x).data.isfinite().all()
