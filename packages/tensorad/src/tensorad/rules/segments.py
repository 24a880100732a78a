"""Reductions by group: scatter_reduce, index_reduce and bincount, by index, and segment_reduce, of neighbours."""

import functools
from typing import Any

import torch

from tensorad.op import composed, defrule, fused, linear
from tensorad.operands import plain
from tensorad.rules.indexing import in_corner, scatter_add, scatter_into
from tensorad.rules.reductions import same

# fmt: off

scatter_extreme = defrule("scatter_extreme(input, dim, index, src, reduce, include_self)",
                          function=lambda input, dim, index, src, reduce, include_self:
                          torch.scatter_reduce(input, dim, index, src, reduce, include_self=include_self),
                          joint=("input src", lambda g, input, dim, index, src, include_self, wanted, out:
                                 extreme_shares(g, input, dim, index, src, include_self, wanted, out))).call
scatter_product = defrule("scatter_product(input, dim, index, src, include_self)",
                          function=lambda input, dim, index, src, include_self:
                          torch.scatter_reduce(input, dim, index, src, "prod", include_self=include_self),
                          joint=("input src", lambda g, input, dim, index, src, include_self, wanted:
                                 factor_shares(g, input, dim, index, src, include_self, wanted))).call
segments = defrule("segments(input, reduce, lengths, offsets, dim, unsafe, initial)",
                   function=lambda input, reduce, lengths, offsets, dim, unsafe, initial: torch.segment_reduce(
                       input, reduce, lengths=lengths, offsets=offsets, axis=dim, unsafe=unsafe, initial=initial),
                   input=lambda g, input, reduce, lengths, offsets, dim, initial, out:
                   segment_pull(g, input, reduce, lengths, offsets, dim % input.ndim, initial, out)).call
linear("bincount(input, weights=None, minlength=0)", weights=lambda g, input: g[input.long()])  # uint8 would be a mask

# fmt: on


@composed("scatter")
def scatter(input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Any:
    src = value if src is None else src
    if reduce is None:
        return scatter_into(input, dim, index, src)
    if isinstance(src, int | float | complex):
        src = torch.full(index.shape, src, dtype=input.dtype, device=input.device)
    return scatter_add(input, dim, index, src) if reduce == "add" else scatter_product(input, dim, index, src, True)


@composed("scatter_reduce")
def scatter_reduce(input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Any:
    if reduce in ("amax", "amin"):
        return scatter_extreme(input, dim, index, src, reduce, include_self)
    if reduce == "prod":
        return scatter_product(input, dim, index, src, include_self)
    total = scatter_add(input if include_self else scatter_into(input, dim, index, 0), dim, index, src)
    if reduce == "sum":
        return total
    ones = torch.ones_like(plain(input))
    ones = ones if include_self else ones.scatter(dim, plain(index), 0)
    return total / ones.scatter_add(dim, plain(index), torch.ones_like(plain(src))).clamp(min=1)


@composed("index_reduce")
def index_reduce(input: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True) -> Any:
    sizes = [-1 if place == dim % input.ndim else 1 for place in range(source.ndim)]
    places = index.reshape(sizes).expand(source.shape)
    return scatter_reduce(input, dim, places, source, reduce, include_self=include_self)


@composed("segment_reduce")
def segment_reduce(
    data: Any, reduce: str, *, lengths: Any = None, indices: Any = None, offsets: Any = None, axis: int = 0,
    unsafe: bool = False, initial: Any = None,
) -> Any:  # fmt: skip
    """By lengths or offsets; torch has no segments by indices yet."""
    return segments(data, reduce, lengths, offsets, axis, unsafe, initial)


def extreme_shares(
    g: Any, input: Any, dim: int, index: Any, src: Any, include_self: bool, wanted: Any, out: Any
) -> tuple[Any, Any]:
    """Each value that is the largest (or smallest) of its place gets a part of g, the same for all of them."""
    used = src[tuple(slice(size) for size in index.shape)]
    candidate = torch.ones_like(out) if include_self else torch.ones_like(out).scatter(dim, index, 0)
    mine = (input == out) * candidate
    theirs = (used == out.gather(dim, index)) * torch.ones_like(used)
    share = g / mine.scatter_add(dim, index, theirs)
    by_src = in_corner(share.gather(dim, index) * theirs, src.shape) if wanted[1] else None
    return share * mine if wanted[0] else None, by_src


def factor_shares(
    g: Any, input: Any, dim: int, index: Any, src: Any, include_self: bool, wanted: Any
) -> tuple[Any, Any]:
    """Each factor gets g times the others of its place, of which the element there before is one."""
    used = src[tuple(slice(size) for size in index.shape)]
    first = input if include_self else input.scatter(dim, index, 1)
    own = torch.arange(input.numel(), device=input.device).reshape(input.shape)
    groups = torch.cat([own.flatten(), own.gather(dim, index).flatten()])
    shares = g.flatten()[groups] * other_factors(torch.cat([first.flatten(), used.flatten()]), groups)
    by_src = in_corner(shares[input.numel() :].reshape(used.shape), src.shape) if wanted[1] else None
    if not wanted[0]:
        return None, by_src
    mine = shares[: input.numel()].reshape(input.shape)
    return mine if include_self else mine.scatter(dim, index, 0), by_src


def segment_shares(
    g: Any, data: Any, reduce: str, lengths: Any, offsets: Any, dim: int, initial: float | None, out: Any
) -> Any:
    """What the elements get of their segment's g, extremes that are equal in equal shares."""
    starts = torch.cat([torch.zeros_like(lengths[..., :1]), lengths.cumsum(-1)], -1) if offsets is None else offsets
    places = torch.arange(data.shape[dim], device=data.device).expand(data.shape[: dim + 1])
    number = torch.searchsorted(starts.contiguous(), places.contiguous(), right=True) - 1
    number = number.reshape(number.shape + (1,) * (data.ndim - dim - 1)).expand(data.shape)
    inside = (number >= 0) & (number < out.shape[dim])
    index = number.clamp(0, out.shape[dim] - 1)
    g = g.gather(dim, index).where(inside, 0)
    if reduce == "sum":
        return g
    if reduce == "prod":
        groups = torch.arange(out.numel(), device=data.device).reshape(out.shape).gather(dim, index).flatten()
        others = other_factors(data.where(inside, 1).flatten(), groups).reshape(data.shape)
        return g * others * (1 if initial is None else initial)
    chosen = inside if reduce == "mean" else inside & same(data, out.gather(dim, index))
    count = g.new_zeros(out.shape).scatter_add(dim, index, chosen.to(g.dtype))
    return (g / count.gather(dim, index).clamp(min=1)).where(chosen, 0)  # not 0/0 where none is, also transposed


def segment_kernel(g: Any, data: Any, reduce: str, lengths: Any, offsets: Any, dim: int, initial: Any, out: Any) -> Any:
    """torch's kernel, which shares out what is positive, and gives each of several extremes all of a negative g."""
    options = {"lengths": lengths, "offsets": offsets, "axis": dim, "initial": initial}
    pull = functools.partial(torch.ops.aten._segment_reduce_backward.default, **options)
    if reduce in ("max", "min"):
        return pull(g.clamp(min=0), out, data, reduce) - pull((-g).clamp(min=0), out, data, reduce)
    return pull(g.contiguous(), out, data, reduce)


segment_pull = fused(segment_kernel)(segment_shares)


def other_factors(values: Any, groups: Any) -> Any:
    """For each value, the product of the others in its group: of those before and those after, if one is 0."""
    if not (values.data == 0).any():
        return values.new_ones(values.shape).scatter_reduce(0, groups, values, "prod")[groups] / values
    order = groups.argsort(stable=True)
    values, groups = values[order], groups[order]
    others = factors_before(values, groups) * factors_before(values.flip(0), groups.flip(0)).flip(0)
    return others[order.argsort()]


def factors_before(values: Any, groups: Any) -> Any:
    """The product of the values before each in its group, where groups stand together (Hillis and Steele, 1986)."""
    reach = 1
    while reach < len(values):
        values = torch.cat([values[:reach], values[reach:] * within(values, groups, reach)])
        reach *= 2
    return torch.cat([torch.ones_like(values[:1]), within(values, groups, 1)])


def within(values: Any, groups: Any, reach: int) -> Any:
    """For each place from `reach` on, the value that far before it, or 1 if that is in another group."""
    return values[:-reach].where(groups[reach:] == groups[:-reach], 1)
