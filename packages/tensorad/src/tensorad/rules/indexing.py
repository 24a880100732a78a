"""Picking and placing values: `t[index]`, `t[index] = value`, gather and scatter, masks.

Picking is linear, and its transpose adds the cotangent up, in zeros, at the places that were picked. Each way of
picking has an internal op for that, whose rule picks again: so every order works, and the zeros are not copied.
"""

import operator
from typing import Any

import torch

from tensorad.errors import ArgumentError, NoRuleError
from tensorad.op import composed, defrule, linear
from tensorad.operands import plain
from tensorad.rules.linear import scaled

# fmt: off

# Python's index: integers, slices, None, `...`, masks, arrays of places, and mixtures.
getitem = linear("getitem(input, index)", function=operator.getitem,
                 input=lambda g, input_shape, index: put_at(g, index, input_shape)).call
put_at = linear("put_at(input, index, shape)", function=lambda g, index, shape: added_at(g, index, shape),
                input=lambda g, index: g[index])
setitem = linear("setitem(input, index, value)", function=lambda input, index, value: assigned(input, index, value),
                 input=lambda g, index: setitem(g, index, 0),
                 value=lambda g, index, value_shape: with_ones(g[index], value_shape))
index_put = linear("index_put(input, indices, values, accumulate=False)", "ops.aten._unsafe_index_put",
                   function=torch.ops.aten.index_put.default,  # torch.index_put takes no None for a dimension that is not indexed
                   input=lambda g, indices, accumulate: g if accumulate else setitem(g, with_slices(indices), 0),
                   values=lambda g, indices, values_shape: with_ones(g[with_slices(indices)], values_shape)).call

# Along one dimension, at the places in a vector.
index_select = linear("index_select(input, dim, index)",
                      input=lambda g, input_shape, dim, index: add_rows(g, dim, index, input_shape)).call
add_rows = linear("add_rows(input, dim, index, shape)", input=lambda g, dim, index: g.index_select(dim, index),
                  function=lambda g, dim, index, shape: g.new_zeros(shape).index_add_(dim, index, g))
linear("index_add(input, dim, index, source, *, alpha=1)", input=lambda g: g,
       source=lambda g, dim, index, alpha, source_shape:
       scaled(g.index_select(dim, index), alpha).reshape(source_shape))
linear("index_copy(input, dim, index, source)", input=lambda g, dim, index: g.index_fill(dim, index, 0),
       source=lambda g, dim, index, source_shape: g.index_select(dim, index).reshape(source_shape))
linear("index_fill(input, dim, index, value)", input=lambda g, dim, index: g.index_fill(dim, index, 0),
       value=lambda g, dim, index: g.where(torch.zeros_like(g, dtype=torch.bool).index_fill(dim, index, True), 0))
linear("select_scatter(input, src, dim, index)", input=lambda g, dim, index: setitem(g, along(dim, index), 0),
       src=lambda g, dim, index: g.select(dim, index))
linear("slice_scatter(input, src, dim=0, start=None, end=None, step=1)",
       input=lambda g, dim, start, end, step: setitem(g, along(dim, slice(start, end, step)), 0),
       src=lambda g, dim, start, end, step: g[along(dim, slice(start, end, step))])
linear("diagonal_scatter(input, src, offset=0, dim1=0, dim2=1)",
       input=lambda g, src_shape, offset, dim1, dim2: g.diagonal_scatter(g.new_zeros(src_shape), offset, dim1, dim2),
       src=lambda g, offset, dim1, dim2: g.diagonal(offset, dim1, dim2))

# Along one dimension, at a place for each element.
gather = linear("gather(input, dim, index, *, sparse_grad=False)",
                input=lambda g, input_shape, dim, index: add_along(g, dim, index, input_shape)).call
add_along = linear("add_along(input, dim, index, shape)", input=lambda g, dim, index: g.gather(dim, index),
                   function=lambda g, dim, index, shape: g.new_zeros(shape).scatter_add_(dim, index, g))
scatter_add = linear("scatter_add(input, dim, index, src)", input=lambda g: g,
                     src=lambda g, dim, index, src_shape: in_corner(g.gather(dim, index), src_shape)).call
scatter_into = linear("scatter(input, dim, index, src)", input=lambda g, dim, index: g.scatter(dim, index, 0),
                      src=lambda g, dim, index, src_shape: in_corner(g.gather(dim, index), src_shape)).call

# Without dimensions: at places in the flattened tensor.
take = linear("take(input, index)", input=lambda g, input_shape, index: add_flat(g, index, input_shape)).call
add_flat = linear("add_flat(input, index, shape)", input=lambda g, index: g.take(index),
                  function=lambda g, index, shape: g.new_zeros(shape).put_(index, g, accumulate=True))
put = linear("put(input, index, source, accumulate=False)",
             input=lambda g, index, accumulate: g if accumulate else g.put(index, g.new_zeros(index.shape)),
             source=lambda g, index, source_shape: g.take(index).reshape(source_shape)).call

# Rows of a table. It is not called linear: the row at `padding_idx` is a constant to the rule, and not to the function.
embedding = defrule("embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False)",
                    weight=lambda g, weight_shape, indices, padding_idx, scale_grad_by_freq:
                    embedding_sums(g, indices, weight_shape[0], padding_idx, scale_grad_by_freq),
                    forward={"weight": lambda t, indices, padding_idx, scale_grad_by_freq:
                             embedding_shares(t, indices, padding_idx, scale_grad_by_freq)}).call
embedding_sums = linear("embedding_sums(g, indices, count, padding, by_frequency)", function=torch.ops.aten.embedding_dense_backward,
                        g=lambda g, indices, padding, by_frequency: embedding_shares(g, indices, padding, by_frequency))

# Where a mask says.
linear("masked_fill(input, mask, value)", input=lambda g, mask: g.masked_fill(mask, 0),
       value=lambda g, mask: g.where(mask, 0))
linear("masked_select(input, mask)", input=lambda g, input_shape, mask: put_masked(g, mask, input_shape).sum_to_size(input_shape))
put_masked = linear("put_masked(input, mask, shape)", input=lambda g, mask: g.masked_select(mask),
                    function=lambda g, mask, shape: added_where(g, mask, shape))
linear("masked_scatter(input, mask, source)", input=lambda g, mask: g.masked_fill(mask, 0),
       source=lambda g, mask, source_shape: first_of(g.masked_select(mask), source_shape))

# fmt: on


@composed("as_strided")
def as_strided(input: Any, size: Any, stride: Any, storage_offset: int | None = None) -> Any:
    return take(input, strided_places(plain(input), size, stride, storage_offset))


@composed("as_strided_scatter")
def as_strided_scatter(input: Any, src: Any, size: Any, stride: Any, storage_offset: int | None = None) -> Any:
    return put(input, strided_places(plain(input), size, stride, storage_offset), src)


def strided_places(data: torch.Tensor, size: Any, stride: Any, storage_offset: int | None) -> torch.Tensor:
    """Where in `data`, flattened, the elements are that as_strided picks."""
    if not data.is_contiguous():
        raise NoRuleError("as_strided has a derivative rule for contiguous tensors only: call .contiguous() first")
    offset = 0 if storage_offset is None else storage_offset - data.storage_offset()
    return torch.arange(data.numel(), device=data.device).as_strided(size, stride, offset)


@composed("take_along_dim")
def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Any:
    if dim is None:
        return take(input, indices.flatten())
    indices = torch.where(indices < 0, indices + input.shape[dim], indices)
    shape = torch.broadcast_shapes(_without(input.shape, dim), _without(indices.shape, dim))
    return gather(input.expand(_with(shape, dim, input)), dim, indices.expand(_with(shape, dim, indices)))


def _without(shape: Any, dim: int) -> tuple[int, ...]:
    return (*shape[: dim % len(shape)], 1, *shape[dim % len(shape) + 1 :])


def _with(shape: Any, dim: int, like: Any) -> tuple[int, ...]:
    return (*shape[: dim % len(shape)], like.shape[dim], *shape[dim % len(shape) + 1 :])


def along(dim: int, index: Any) -> tuple[Any, ...]:
    """The index that is `index` in dimension `dim` and all of the others."""
    return (slice(None),) * dim + (index,) if dim >= 0 else (..., index) + (slice(None),) * (-dim - 1)


def with_slices(indices: Any) -> tuple[Any, ...]:
    """Python's index for what torch's own functions take, where None is a dimension that is not indexed."""
    return tuple(slice(None) if index is None else index for index in indices)


def with_ones(g: Any, shape: Any) -> Any:
    """`g` with leading dimensions of size 1 where `shape` has more: an assigned value may have too many of them."""
    return g.reshape((1,) * (len(shape) - g.ndim) + tuple(g.shape)) if len(shape) > g.ndim else g


def in_corner(g: Any, shape: Any) -> Any:
    """Zeros of `shape` with `g` in the corner at 0: scatter may use a part of its source only."""
    return g if g.shape == shape else put_at(g, tuple(slice(size) for size in g.shape), shape)


def first_of(g: Any, shape: Any) -> Any:
    """Zeros of `shape` whose first elements are the vector `g`."""
    return in_corner(g, (shape.numel(),)).reshape(shape)


def assigned(input: Any, index: Any, value: Any) -> Any:
    """A copy of `input` with `value` at `index`."""
    out = input.clone()
    out[index] = value
    return out


def added_where(g: Any, mask: Any, shape: Any) -> Any:
    """Zeros, of the shape that `shape` and the mask broadcast to, with the vector `g` where the mask says."""
    zeros = g.new_zeros(torch.broadcast_shapes(shape, mask.shape))
    return zeros.masked_scatter_(mask, g)


def added_at(g: Any, index: Any, shape: Any) -> Any:
    """Zeros of `shape` to which `g` is added at `index`."""
    zeros = g.new_full(shape, 0)  # what new_zeros makes, in two thirds of the time
    items = index if type(index) is tuple else (index,)
    kinds = set(map(type, items))
    if kinds <= _BASIC or all(map(_picks_once, items)):
        zeros[index] = g
    elif kinds == _TENSORS:
        zeros.index_put_(items, g, accumulate=True)
    elif type(index) is list:  # may mean an array of places or a tuple: let torch say which
        places = torch.arange(zeros.numel(), device=g.device).reshape(shape)[index]
        zeros.put_(places, g, accumulate=True)
    else:
        basic, arrays = _parted(items, zeros)
        _add_at(zeros[basic], arrays, g, True)
    return zeros


_BASIC = {int, bool, slice, type(...), type(None)}
_TENSORS = {torch.Tensor}
_add_at = torch.ops.aten.index_put_.default  # index_put_, but it takes None for a dimension that is not indexed


def _picks_once(item: Any) -> bool:
    """Whether this part of an index picks no place twice: all but arrays of places."""
    if isinstance(item, torch.Tensor):
        return item.ndim == 0 or item.dtype is torch.bool
    return not isinstance(item, list | tuple)


def _parted(items: tuple[Any, ...], input: torch.Tensor) -> tuple[tuple[Any, ...], list[torch.Tensor | None]]:
    """An index in two: a basic one, which makes a view, and for each dimension of that an array of places, or None."""
    items = tuple(_array(item, input.device) if isinstance(item, list | tuple) else item for item in items)
    spans = [_span(item) for item in items]
    basic: list[Any] = []
    arrays: list[torch.Tensor | None] = []
    for item, span in zip(items, spans, strict=True):
        if item is ...:
            basic += [slice(None)] * (input.ndim - sum(spans))
            arrays += [None] * (input.ndim - sum(spans))
        elif isinstance(item, torch.Tensor) and item.ndim:
            basic += [slice(None)] * span
            arrays.append(item)
        elif item is True or item is False or (isinstance(item, torch.Tensor) and item.dtype is torch.bool):
            basic.append(None)
            arrays.append(torch.as_tensor([bool(item)], device=input.device))
        else:
            basic.append(item)
            arrays += [None] * (item is None or isinstance(item, slice))
    return tuple(basic), arrays


def _array(item: Any, device: torch.device) -> torch.Tensor:
    """A list of places or a mask as a tensor; an empty list holds places too, although torch makes it floats."""
    array = torch.as_tensor(item, device=device)
    return array.long() if array.is_floating_point() else array


def _span(item: Any) -> int:
    """How many dimensions this part of an index takes."""
    if isinstance(item, torch.Tensor):
        return item.ndim if item.dtype is torch.bool else 1
    return 0 if item is None or item is ... or isinstance(item, bool) else 1


@composed("nn.functional.embedding")
def embedding_in_layer(
    input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Any:  # fmt: skip
    if max_norm is not None:
        raise ArgumentError("max_norm= would change the weight in place: renormalize its rows before the lookup")
    padding = -1 if padding_idx is None else padding_idx % weight.shape[0]
    return embedding(weight, input, padding, scale_grad_by_freq)


def embedding_shares(g: Any, indices: Any, padding: int, by_frequency: bool) -> Any:
    """Each index's row of g, weighted as `embedding_sums` adds it: 0 for padding, or 1 over the index's frequency."""
    rows = torch.embedding(g, indices).masked_fill((indices == padding).unsqueeze(-1), 0)
    return rows / indices.flatten().bincount()[indices].unsqueeze(-1) if by_frequency else rows
