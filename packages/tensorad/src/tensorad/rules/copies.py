"""Functions of torch's lower level, which come up when a function is taken to pieces, and the `_copy` forms of views."""

from collections.abc import Callable
from typing import Any

import torch

from tensorad.op import OPS, composed, constant, linear
from tensorad.rules.elementwise import where
from tensorad.rules.indexing import along, getitem, index_put, put_at, with_slices
from tensorad.rules.shapes import clone, pad_again, reshape, to, unfold

# fmt: off

linear("ops.aten.alias(input)", "ops.aten.lift", "ops.aten.lift_fresh", "ops.aten._neg_view", input=lambda g: g)
linear("ops.aten.slice(input, dim=0, start=None, end=None, step=1)", input=lambda g, input_shape, dim, start, end, step:
       put_at(g, along(dim, slice(start, end, step)), input_shape))
linear("ops.aten.copy(input, src, non_blocking=False)", input=lambda g: torch.zeros_like(g), src=lambda g: g)
linear("ops.aten.zero(input)", input=lambda g: torch.zeros_like(g))
linear("fill(input, value)", input=lambda g: torch.zeros_like(g), value=lambda g: g)
constant("ops.aten.new_empty_strided")

# fmt: on


@composed("ops.aten._to_copy")
def to_copy(input: Any, *, dtype: Any = None, device: Any = None, memory_format: Any = None, **others: Any) -> Any:
    return to(input, device or input.device, dtype or input.dtype, copy=True, memory_format=memory_format)


@composed("ops.aten._unsafe_view", "ops.aten._reshape_copy", "ops.aten._reshape_alias")
def reshape_to(input: Any, size: Any, stride: Any = None) -> Any:
    return reshape(input, size)


@composed("ops.aten.index", "ops.aten._unsafe_index")
def index(input: Any, indices: Any) -> Any:
    return getitem(input, with_slices(indices))


@composed("ops.aten._unsafe_masked_index")
def masked_index(input: Any, mask: Any, indices: Any, fill: Any) -> Any:
    return where(mask, getitem(input, with_slices(clamped(indices, input.shape))), fill)


@composed("ops.aten._unsafe_masked_index_put_accumulate")
def masked_index_put_accumulate(input: Any, mask: Any, indices: Any, values: Any) -> Any:
    return index_put(input, clamped(indices, input.shape), where(mask, values, 0), True)


def clamped(indices: Any, shape: Any) -> list[Any]:
    """The indices, moved into the tensor where they are outside of it."""
    pairs = zip(indices, shape, strict=False)
    return [index if index is None else index.clamp(-size, size - 1) for index, size in pairs]


def copied(call: Callable[..., Any]) -> Callable[..., Any]:
    """The `_copy` form of a view: the same values in memory of their own."""

    def copy(*args: Any, **kwargs: Any) -> Any:
        out = call(*args, **kwargs)
        if isinstance(out, tuple):
            return tuple(clone(each, memory_format=torch.contiguous_format) for each in out)
        return clone(out, memory_format=torch.contiguous_format)

    return copy


def padding(mode: str) -> Callable[..., Any]:
    """Padding with values of the tensor itself, as torch's kernels take it."""
    return lambda input, pad: pad_again(input, pad, mode, None)


_VIEWS = """as_strided diagonal expand narrow permute select split split_with_sizes squeeze t transpose unbind unsqueeze
    view view_as_complex view_as_real"""
_plain = {name: OPS[name] for name in _VIEWS.split()} | {"unfold": unfold, "_conj": OPS["conj"]}
_plain |= {name: OPS[f"ops.aten.{name}"] for name in ("alias", "slice", "lift_fresh")}
for _name, _call in _plain.items():
    composed(f"ops.aten.{_name}_copy")(copied(_call))
constant("ops.aten.detach_copy")

for _name, _mode in ("reflection", "reflect"), ("replication", "replicate"):
    for _count in "123":
        composed(f"ops.aten.{_name}_pad{_count}d")(padding(_mode))
