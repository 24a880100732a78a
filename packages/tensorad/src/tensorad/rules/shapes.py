"""Views and copies that keep the values: shapes, dimensions, joining and cutting, types and devices, padding."""

import functools
from collections.abc import Sequence
from typing import Any

import torch

from tensorad.errors import NoRuleError
from tensorad.node import differentiable
from tensorad.op import OPS, composed, constant, defrule, linear
from tensorad.operands import plain
from tensorad.rules.indexing import add_rows, along, getitem, index_select, put_at
from tensorad.tensor import TABLE, Tensor

reshaping = functools.partial(linear, input=lambda g, input_shape: g.reshape(input_shape))
spreading = functools.partial(linear, input=lambda g: g)  # the engine sums over what was broadcast
copying = functools.partial(linear, input=lambda g, input_shape: summed_copies(g, input_shape))
cutting = functools.partial(linear, outputs=True, input=lambda g, input_shape: joined(g, input_shape))
moving = functools.partial(linear, input=lambda g, residuals: g if g.device == residuals else g.to(residuals))

# fmt: off

# The numbers stay in their order.
reshape = reshaping("reshape(input, *shape)", function=torch.Tensor.reshape).call
view = reshaping("view(input, *shape)", function=torch.Tensor.view).call
reshaping("view_as(input, other)")
reshaping("reshape_as(input, other)")
flatten = reshaping("flatten(input, start_dim=0, end_dim=-1)").call
reshaping("unflatten(input, dim, sizes)")
reshaping("ravel(input)")
reshaping("squeeze(input, dim=None)")
unsqueeze = reshaping("unsqueeze(input, dim)").call
atleast = tuple(reshaping(f"{name}(input)").call for name in ("atleast_1d", "atleast_2d", "atleast_3d"))

# Broadcasting, and its undoing.
expand = spreading("expand(input, *size)").call
spreading("expand_as(input, other)")
spreading("broadcast_to(input, size)")
linear("sum_to_size(input, *size)", input=lambda g, input_shape: g.expand(input_shape))
copying("repeat(input, *repeats)")
copying("tile(input, *dims)", function=torch.Tensor.tile)

# The dimensions in another order. `*more` is for x.permute(1, 0) beside torch.permute(x, (1, 0)).
linear("transpose(input, dim0, dim1)", "swapdims", input=lambda g, dim0, dim1: g.transpose(dim0, dim1))
linear("swapaxes(input, axis0, axis1)", input=lambda g, axis0, axis1: g.transpose(axis0, axis1))
linear("permute(input, dims, *more)", function=torch.Tensor.permute,
       input=lambda g, dims, more: g.permute(inverse(dims, more)))
linear("movedim(input, source, destination)", "moveaxis",
       input=lambda g, source, destination: g.movedim(destination, source))
linear("t(input)", input=lambda g: g.t())
linear("T(input)", function=lambda input: input.T, input=lambda g: g.T)
linear("mT(input)", function=lambda input: input.mT, input=lambda g: g.mT)
linear("H(input)", function=lambda input: input.H, input=lambda g: g.H)
linear("mH(input)", function=lambda input: input.mH, input=lambda g: g.mH)
linear("adjoint(input)", input=lambda g: g.mH)

# The values in another order.
linear("flip(input, dims, *more)", function=torch.Tensor.flip, input=lambda g, dims, more: g.flip(dims, *more))
linear("fliplr(input)", input=lambda g: g.fliplr())
linear("flipud(input)", input=lambda g: g.flipud())
linear("roll(input, shifts, dims=())", input=lambda g, shifts, dims: g.roll(negated(shifts), dims))
linear("rot90(input, k=1, dims=(0, 1))", input=lambda g, k, dims: g.rot90(-k, dims))

# Joining.
cat = linear("cat(tensors, dim=0)", "concat", "concatenate", function=lambda tensors, dim=0: with_shapes(tensors, dim),
             joint=("tensors", lambda g, residuals, dim: cut(g, residuals, dim))).call
stack = linear("stack(tensors, dim=0)", "ops.aten._stack", joint=("tensors", lambda g, dim: g.unbind(dim))).call

# Cutting: one node for all pieces.
split = cutting("split(input, split_size, dim=0)", function=torch.Tensor.split).call
cutting("split_with_sizes(input, split_sizes, dim=0)", "unsafe_split_with_sizes")
cutting("tensor_split(input, indices_or_sections=None, dim=0)")
cutting("chunk(input, chunks, dim=0)", "unsafe_chunk")
cutting("hsplit(input, indices_or_sections=None)")
cutting("vsplit(input, indices_or_sections=None)")
cutting("dsplit(input, indices_or_sections=None)")
unbind = linear("unbind(input, dim=0)", outputs=True, input=lambda g, dim: torch.stack(g, dim)).call
linear("select(input, dim, index)", input=lambda g, input_shape, dim, index: put_at(g, along(dim, index), input_shape))
linear("narrow(input, dim, start, length)", input=lambda g, input_shape, dim, start, length:
       put_at(g, along(dim, span(input_shape[dim], start, length)), input_shape))
unfold = linear("Tensor.unfold(input, dimension, size, step)", "ops.aten.unfold",  # `unfold` alone would be nn.functional's as well
                input=lambda g, input_shape, dimension, size, step: overlapped(g, input_shape, dimension, size, step))
Tensor.unfold = unfold.call  # pyright: ignore[reportAttributeAccessIssue]

# Diagonals and triangles.
take_diagonal = linear("diagonal(input, offset=0, dim1=0, dim2=1)",
                       input=lambda g, input_shape, offset, dim1, dim2:
                       torch.diagonal_scatter(g.new_zeros(input_shape), g, offset, dim1, dim2)).call
diag_embed = linear("diag_embed(input, offset=0, dim1=-2, dim2=-1)",
                    input=lambda g, offset, dim1, dim2: g.diagonal(offset, dim1, dim2)).call
linear("tril(input, diagonal=0)", input=lambda g, diagonal: g.tril(diagonal))
linear("triu(input, diagonal=0)", input=lambda g, diagonal: g.triu(diagonal))

# Copies, and parts of complex numbers.
clone = linear("clone(input, *, memory_format=None)", input=lambda g: g).call
linear("contiguous(input, *, memory_format=None)", input=lambda g: g)
linear("resolve_conj(input)", input=lambda g: g)
linear("resolve_neg(input)", input=lambda g: g)
linear("conj(input)", "ops.aten._conj", input=lambda g: g.conj())
linear("conj_physical(input)", "ops.aten._conj_physical", input=lambda g: g.conj_physical())
linear("real(input)", input=lambda g: g)
linear("imag(input)", function=lambda input: input.imag, input=lambda g: g * -1j)
make_complex = linear("complex(real, imag)", real=lambda g: g, imag=lambda g: g * 1j).call
linear("view_as_real(input)", input=lambda g: torch.view_as_complex(g.contiguous()).conj())
linear("view_as_complex(input)", input=lambda g: torch.view_as_real(g.conj_physical()))
defrule("angle(input)", input=lambda g, input: g * angle_slope(input))
constant("detach")

# Types and devices. The engine casts a cotangent back; the device is saved.
to = moving("to(input, *target)",
            function=lambda input, *target, **options: (input.to(*target, **options), input.device)).call
moving("type_as(input, other)", function=lambda input, other: (input.type_as(other), input.device))

# Padding.
pad_with = defrule("constant_pad_nd(input, pad, value=0)",
                   input=lambda g, pad: torch.constant_pad_nd(g, [-width for width in pad])).call
pad_again = linear("pad(input, pad, mode, value)",
                   input=lambda g, input_shape, pad, mode: unpadded(g, input_shape, pad, mode)).call

# fmt: on


def conversion(target: Any) -> Any:
    """The method `t.double()` and the like: `t.to(target)`."""

    def convert(input: Any, device: Any = None, **kwargs: Any) -> Any:
        """Convert to the dtype, or move to the device, that the method is named after: a case of `to`."""
        return to(input, target if device is None else device, **kwargs)

    return convert


_targets = {"cpu": "cpu", "cuda": "cuda", "char": torch.int8, "byte": torch.uint8}
for _name in "float double half bfloat16 cfloat cdouble chalf int long short bool".split():
    _targets[_name] = getattr(torch, _name)
for _name, _target in _targets.items():  # methods only: as `ts.float` and the like, these names are dtypes
    TABLE[getattr(torch.Tensor, _name)] = _method = conversion(_target)
    setattr(Tensor, _name, _method)


@composed("pad")
def pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    if mode == "constant":
        return pad_with(input, pad, 0 if value is None else value)
    return pad_again(input, pad, mode, value)


@composed("type")
def type_of(input: Any, dtype: Any = None, **kwargs: Any) -> Any:
    if dtype is None:
        return plain(input).type()
    return to(input, torch.empty(0).type(dtype).dtype if isinstance(dtype, str) else dtype, **kwargs)


@composed("view")
def view_values(input: Any, *shape: Any, dtype: torch.dtype | None = None) -> Any:
    if dtype is None and not (shape and isinstance(shape[0], torch.dtype)):
        return view(input, *shape)
    kind: torch.dtype = dtype or shape[0]
    if kind == input.dtype:
        return view(input, input.shape)
    if differentiable(kind):
        raise NoRuleError(f"view({kind}) reads the bits as other numbers: no derivative; to convert, t.to({kind})")
    return Tensor(plain(input).view(kind))


@composed("split", "unsafe_split")
def split_by(tensor: Any, split_size_or_sections: Any = None, dim: int = 0, *, split_size: Any = None) -> Any:
    return split(tensor, split_size if split_size_or_sections is None else split_size_or_sections, dim)


@composed("unbind")
def unbind_any(input: Any, dim: int = 0) -> Any:
    return unbind(input, dim) if input.shape[dim] else ()


@composed("broadcast_tensors")
def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    tensors = listed(tensors)
    shape = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))
    return tuple(expand(tensor, shape) for tensor in tensors)


@composed("atleast_1d")
def atleast_1d(*tensors: Any) -> Any:
    return each_atleast(0, tensors)


@composed("atleast_2d")
def atleast_2d(*tensors: Any) -> Any:
    return each_atleast(1, tensors)


@composed("atleast_3d")
def atleast_3d(*tensors: Any) -> Any:
    return each_atleast(2, tensors)


def each_atleast(place: int, tensors: tuple[Any, ...]) -> Any:
    if len(tensors) == 1 and not isinstance(tensors[0], tuple | list):
        return atleast[place](tensors[0])
    return tuple(map(atleast[place], listed(tensors)))


def listed(tensors: Any) -> tuple[Any, ...]:
    """The tensors of f(a, b) and of f([a, b]) alike."""
    return tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else tuple(tensors)


@composed("hstack")
def hstack(tensors: Any) -> Any:
    rows = [atleast[0](tensor) for tensor in tensors]
    return cat(rows, 0 if rows[0].ndim == 1 else 1)


@composed("vstack", "row_stack")
def vstack(tensors: Any) -> Any:
    return cat([atleast[1](tensor) for tensor in tensors])


@composed("dstack")
def dstack(tensors: Any) -> Any:
    return cat([atleast[2](tensor) for tensor in tensors], 2)


@composed("column_stack")
def column_stack(tensors: Any) -> Any:
    return cat([reshape(tensor, -1, 1) if tensor.ndim < 2 else tensor for tensor in tensors], 1)


@composed("block_diag")
def block_diag(*tensors: Any) -> Any:
    blocks = [atleast[1](tensor) for tensor in listed(tensors)]
    widths = [block.shape[1] for block in blocks]
    return cat([pad(block, (sum(widths[:place]), sum(widths[place + 1 :]))) for place, block in enumerate(blocks)])


@composed("meshgrid")
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    tensors = listed(tensors)
    order = list(range(len(tensors)))
    if indexing == "xy" and len(tensors) > 1:
        order[:2] = 1, 0
    sizes = [tensors[place].numel() for place in order]
    return tuple(
        expand(reshape(tensor, [-1 if place == number else 1 for place in order]), sizes)
        for number, tensor in enumerate(tensors)
    )


for _name in ("atleast_1d", "atleast_2d", "atleast_3d", "meshgrid"):
    TABLE[getattr(torch._VF, _name)] = OPS[_name]  # what torch's function of this name calls if it is given one list


@composed("cartesian_prod")
def cartesian_prod(*tensors: Any) -> Any:
    given: Any = listed(tensors)
    return stack([flatten(grid) for grid in meshgrid(*given)], 1) if len(given) > 1 else reshape(given[0], -1)


@composed("combinations")
def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    places = torch.arange(len(input), device=input.device)
    return getitem(input, torch.combinations(places, r, with_replacement))


@composed("repeat_interleave")
def repeat_interleave(input: Any, repeats: Any = None, dim: Any = None, *, output_size: Any = None) -> Any:
    if repeats is None:
        return Tensor(torch.repeat_interleave(plain(input), output_size=output_size))
    input, dim = (flatten(input), 0) if dim is None else (input, dim % input.ndim)
    if isinstance(repeats, int):
        copies = [-1] * (dim + 1) + [repeats] + [-1] * (input.ndim - dim - 1)
        return flatten(expand(unsqueeze(input, dim + 1), copies), dim, dim + 1)
    places = torch.arange(input.shape[dim], device=input.device)
    return index_select(input, dim, places.repeat_interleave(plain(repeats), output_size=output_size))


@composed("diag")
def diag(input: Any, diagonal: int = 0) -> Any:
    if input.ndim not in (1, 2):
        return torch.diag(plain(input), diagonal)  # torch's own error
    return diag_embed(input, diagonal) if input.ndim == 1 else take_diagonal(input, diagonal)


@composed("diagflat")
def diagflat(input: Any, offset: int = 0) -> Any:
    return diag_embed(flatten(input), offset)


@composed("linalg.diagonal")
def linalg_diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    return take_diagonal(A, offset, dim1, dim2)


@composed("polar")
def polar(abs: Any, angle: Any) -> Any:
    return make_complex(abs * angle.cos(), abs * angle.sin())


def summed_copies(g: Any, shape: Any) -> Any:
    """The sum over the copies that `repeat` or `tile` made of a tensor of this shape."""
    sizes = (1,) * (g.ndim - len(shape)) + tuple(shape)
    apart = [part for total, size in zip(g.shape, sizes, strict=True) for part in (total // max(size, 1), size)]
    return g.reshape(apart).sum(tuple(range(0, len(apart), 2))) if apart else g


def inverse(dims: Any, more: tuple[int, ...]) -> list[int]:
    """The permutation that undoes the one by `dims`."""
    order = [dims, *more] if isinstance(dims, int) else dims
    places = [dim % len(order) for dim in order]
    return sorted(range(len(order)), key=places.__getitem__)


def negated(shifts: Any) -> Any:
    return [-shift for shift in shifts] if isinstance(shifts, Sequence) else -shifts


def with_shapes(tensors: Any, dim: int) -> tuple[torch.Tensor, list[torch.Size]]:
    return torch.cat(tensors, dim), [tensor.shape for tensor in tensors]


def cut(g: Any, shapes: list[Any], dim: int) -> list[Any]:
    """`g` in pieces of these shapes. An empty vector may be joined to anything, and gets an empty vector."""
    pieces = g.split([shape[dim] if len(shape) == g.ndim else 0 for shape in shapes], dim)
    return [piece if len(shape) == g.ndim else g.new_zeros(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def joined(pieces: Any, shape: Any) -> Any:
    """The pieces of a tensor of this shape together again: along the dimension in which they are smaller."""
    first = pieces[0]
    for dim, (size, whole) in enumerate(zip(first.shape, shape, strict=True)):
        if size != whole:
            return torch.cat(pieces, dim)
    return first  # and the others, if any, are empty


def span(size: int, start: Any, length: int) -> slice:
    """The slice that narrow takes out of a dimension of this size."""
    start = int(start) + size if start < 0 else int(start)
    return slice(start, start + length)


def overlapped(g: Any, shape: Any, dim: int, size: int, step: int) -> Any:
    """The sum of the windows that unfold made along `dim`, each at its place."""
    if not shape:
        return g.reshape(shape)
    dim %= len(shape)
    places = torch.arange(shape[dim], device=g.device).unfold(0, size, step).flatten()
    return add_rows(g.movedim(-1, dim + 1).flatten(dim, dim + 1), dim, places, shape)


def angle_slope(input: Any) -> Any:
    """What turns a change of z into one of its angle: -i / z, 0 for 0 and for real numbers."""
    if not input.is_complex():
        return torch.zeros_like(input)
    return (-1j / input.masked_fill(input == 0, 1)).masked_fill(input == 0, 0)


def unpadded(g: Any, shape: Any, widths: Sequence[int], mode: str) -> Any:
    """What the padding of a tensor of this shape sends back: each value gets the sum over its copies."""
    for number in range(len(widths) // 2):
        dim = g.ndim - 1 - number
        size, (before, after) = shape[dim], widths[2 * number : 2 * number + 2]
        places = torch.arange(-before, size + after, device=g.device)
        if mode == "circular":  # what negative widths cut off is gone before the rest goes round
            first, last = max(-before, 0), size - max(-after, 0)
            places = first + (places - first) % (last - first)
        elif mode == "replicate":
            places = places.clamp(0, size - 1)
        else:
            places = size - 1 - (size - 1 - places.abs()).abs()
        g = add_rows(g, dim, places, (*g.shape[:dim], size, *g.shape[dim + 1 :]))
    return g
