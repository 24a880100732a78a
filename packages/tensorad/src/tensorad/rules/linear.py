"""Products of vectors and matrices: matmul and its kin, linear layers, contractions by name (einsum)."""

import functools
import string
from collections.abc import Sequence
from typing import Any

import torch

from tensorad.op import composed, defrule

# fmt: off

# Two operands. `left` and `right` are the cases of matmul with vectors and batches.
matmul = defrule("matmul(input, other)", "linalg.matmul",
                 input=lambda g, input_shape, other: g @ other.mT if other.ndim == 2 else left(g, other, input_shape),
                 other=lambda g, input, other_shape: input.mT @ g if input.ndim == 2 else right(g, input, other_shape),
                 forward={"input": lambda t, other: t @ other, "other": lambda t, input: input @ t}).call
defrule("mm(input, mat2)", input=lambda g, mat2: g @ mat2.mT, mat2=lambda g, input: input.mT @ g,
        forward={"input": lambda t, mat2: t @ mat2, "mat2": lambda t, input: input @ t})
defrule("bmm(input, mat2)", input=lambda g, mat2: g @ mat2.mT, mat2=lambda g, input: input.mT @ g,
        forward={"input": lambda t, mat2: t @ mat2, "mat2": lambda t, input: input @ t})
defrule("mv(input, vec)", input=lambda g, vec: torch.outer(g, vec), vec=lambda g, input: input.mT @ g,
        forward={"input": lambda t, vec: t @ vec, "vec": lambda t, input: input @ t})
defrule("dot(input, tensor)", input=lambda g, tensor: g * tensor, tensor=lambda g, input: g * input,
        forward={"input": lambda t, tensor: t @ tensor, "tensor": lambda t, input: input @ t})
defrule("vdot(input, other)", input=lambda g, other: (g * other).conj(), other=lambda g, input: g * input.conj())
defrule("linalg.vecdot(x, y, *, dim=-1)",
        x=lambda g, y, dim: (g.unsqueeze(dim) * y).conj(), y=lambda g, x, dim: g.unsqueeze(dim) * x.conj())
defrule("outer(input, vec2)", "ger", input=lambda g, vec2: g @ alike(vec2, g), vec2=lambda g, input: g.mT @ alike(input, g))
defrule("kron(input, other)",
        input=lambda g, input_shape, other: torch.tensordot(blocks(g, input_shape, other.shape), padded(other, g), g.ndim),
        other=lambda g, input, other_shape: torch.tensordot(padded(input, g), blocks(g, input.shape, other_shape), g.ndim))
cross = defrule("linalg.cross(input, other, *, dim=-1)",
                input=lambda g, other, dim: torch.linalg.cross(other, g, dim=dim),
                other=lambda g, input, dim: torch.linalg.cross(g, input, dim=dim)).call
tensordot = defrule("tensordot(a, b, dims=2)",
                    a=lambda g, a_shape, b, dims: contracted(g, contraction(len(a_shape), b.ndim, dims), 0, (a_shape, b.shape), b),
                    b=lambda g, a, b_shape, dims: contracted(g, contraction(a.ndim, len(b_shape), dims), 1, (a.shape, b_shape), a),
                    forward={"a": lambda t, b, dims: torch.tensordot(t, b, dims), "b": lambda t, a, dims: torch.tensordot(a, t, dims)}).call

# A product and a sum.
defrule("nn.functional.linear(input, weight, bias=None)",
        input=lambda g, weight: g @ weight if weight.ndim == 2 else g.unsqueeze(-1) * weight,
        weight=lambda g, input, weight_shape: g.mT @ input if g.ndim == 2 == input.ndim else turned(g, input, weight_shape),
        bias=lambda g: g,
        forward={"input": lambda t, weight: torch.nn.functional.linear(t, weight),
                 "weight": lambda t, input: torch.nn.functional.linear(input, t), "bias": lambda t: t})
defrule("bilinear(input1, input2, weight, bias=None)",
        input1=lambda g, input2, weight: torch.einsum("...o,oij,...j->...i", g, weight, input2),
        input2=lambda g, input1, weight: torch.einsum("...o,oij,...i->...j", g, weight, input1),
        weight=lambda g, input1, input2: torch.einsum("...o,...i,...j->oij", g, input1, input2), bias=lambda g: g)
defrule("addmm(input, mat1, mat2, *, beta=1, alpha=1)", input=lambda g, beta: scaled(g, beta),
        mat1=lambda g, mat2, alpha: scaled(g @ mat2.mT, alpha), mat2=lambda g, mat1, alpha: scaled(mat1.mT @ g, alpha),
        forward={"input": lambda t, beta: scaled(t, beta), "mat1": lambda t, mat2, alpha: scaled(t @ mat2, alpha),
                 "mat2": lambda t, mat1, alpha: scaled(mat1 @ t, alpha)})
defrule("addmv(input, mat, vec, *, beta=1, alpha=1)", input=lambda g, beta: scaled(g, beta),
        mat=lambda g, vec, alpha: scaled(torch.outer(g, vec), alpha), vec=lambda g, mat, alpha: scaled(mat.mT @ g, alpha),
        forward={"input": lambda t, beta: scaled(t, beta), "mat": lambda t, vec, alpha: scaled(t @ vec, alpha),
                 "vec": lambda t, mat, alpha: scaled(mat @ t, alpha)})
defrule("addr(input, vec1, vec2, *, beta=1, alpha=1)", input=lambda g, beta: scaled(g, beta),
        vec1=lambda g, vec2, alpha: scaled(g @ vec2, alpha), vec2=lambda g, vec1, alpha: scaled(g.mT @ vec1, alpha))
defrule("baddbmm(input, batch1, batch2, *, beta=1, alpha=1)", input=lambda g, beta: scaled(g, beta),
        batch1=lambda g, batch2, alpha: scaled(g @ batch2.mT, alpha), batch2=lambda g, batch1, alpha: scaled(batch1.mT @ g, alpha),
        forward={"input": lambda t, beta: scaled(t, beta), "batch1": lambda t, batch2, alpha: scaled(t @ batch2, alpha),
                 "batch2": lambda t, batch1, alpha: scaled(batch1 @ t, alpha)})
defrule("addbmm(input, batch1, batch2, *, beta=1, alpha=1)", input=lambda g, beta: scaled(g, beta),
        batch1=lambda g, batch2, alpha: scaled(g @ batch2.mT, alpha), batch2=lambda g, batch1, alpha: scaled(batch1.mT @ g, alpha))

# Many operands. Two have an op of their own, so that what only the cotangent of a constant needs is not saved.
multi_dot = defrule("linalg.multi_dot(tensors)", joint=("tensors", lambda g, tensors, wanted: multi_dot_cotangents(g, tensors, wanted))).call
einsum_of_two = defrule("einsum_of_two(input, other, equation)", function=lambda a, b, equation: torch.einsum(equation, a, b),
                        input=lambda g, input_shape, other, equation: contracted(g, equation, 0, (input_shape, other.shape), other),
                        other=lambda g, input, other_shape, equation: contracted(g, equation, 1, (input.shape, other_shape), input),
                        forward={"input": lambda t, other, equation: torch.einsum(equation, t, other),
                                 "other": lambda t, input, equation: torch.einsum(equation, input, t)}).call
einsum_of_many = defrule("einsum_of_many(equation, tensors)", function=lambda equation, tensors: torch.einsum(equation, *tensors),
                         joint=("tensors", lambda g, equation, tensors, wanted: einsum_cotangents(g, equation, tensors, wanted))).call

# fmt: on


@composed("einsum")
def einsum(equation: Any, *operands: Any) -> Any:
    if not isinstance(equation, str):
        return einsum(*spelled(equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    return einsum_of_two(*operands, equation) if len(operands) == 2 else einsum_of_many(equation, operands)


@composed("chain_matmul")
def chain_matmul(*matrices: Any) -> Any:
    return multi_dot(list(matrices))


@composed("inner")
def inner(input: Any, other: Any) -> Any:
    return tensordot(input, other, ([-1], [-1])) if input.ndim and other.ndim else input * other


@composed("cross")
def cross_along_first_three(input: Any, other: Any, dim: int | None = None) -> Any:
    return cross(input, other, dim=list(input.shape).index(3) if dim is None else dim)


@composed("matrix_power", "linalg.matrix_power")
def matrix_power(input: Any, n: int) -> Any:
    """By squaring: as many products as n has binary digits, and as many again for the ones among them."""
    if n == 0:
        return torch.eye(input.shape[-1], dtype=input.dtype, device=input.device).expand(input.shape) + 0 * input
    power, result = input if n > 0 else torch.linalg.inv(input), None
    for digit in reversed(bin(abs(n))[2:]):
        if digit == "1":
            result = power if result is None else matmul(result, power)
        power = matmul(power, power)
    return result


def left(g: Any, other: Any, shape: Sequence[int]) -> Any:
    """The cotangent of a in a @ b, where b is a vector or a batch."""
    if other.ndim == 1:
        return g.unsqueeze(-1) * other
    if len(shape) == 1:
        return (g.unsqueeze(-2) @ other.mT).squeeze(-2)
    if len(shape) == 2:  # summed over the batch at once, where a product per matrix would need memory for all of them
        return torch.einsum("...mn,...kn->mk", g, other)
    return g @ other.mT


def right(g: Any, input: Any, shape: Sequence[int]) -> Any:
    """The cotangent of b in a @ b, where a is a vector or a batch."""
    if input.ndim == 1:
        return input * g if len(shape) == 1 else input.unsqueeze(-1) * g.unsqueeze(-2)
    if len(shape) <= 2:
        return input.flatten(0, -2).mT @ (g.flatten() if len(shape) == 1 else g.flatten(0, -2))
    return input.mT @ g


def turned(g: Any, input: Any, shape: Sequence[int]) -> Any:
    """The cotangent of a linear layer's weight, which stands transposed to b in a @ b."""
    return right(g, input, shape) if len(shape) == 1 else right(g, input, shape).mT


def scaled(g: Any, factor: Any) -> Any:
    return g if factor == 1 else g * factor


def alike(value: Any, other: Any) -> Any:
    """`value` in the dtype of the other, be that complex or less precise: matrix products, say, do not promote."""
    return value if value.dtype is other.dtype else value.to(other.dtype)


def padded(value: Any, g: Any) -> Any:
    """`value` with leading dimensions of size 1, up to as many as g has."""
    return alike(value, g).reshape((1,) * (g.ndim - value.ndim) + tuple(value.shape))


def blocks(g: Any, outer: Sequence[int], inner: Sequence[int]) -> Any:
    """A Kronecker product's cotangent with the dimensions of the first factor, then those of the second."""
    n = g.ndim
    outer, inner = (1,) * (n - len(outer)) + tuple(outer), (1,) * (n - len(inner)) + tuple(inner)
    pairs = g.reshape([size for pair in zip(outer, inner, strict=True) for size in pair])
    return pairs.permute([*range(0, 2 * n, 2), *range(1, 2 * n, 2)])


def multi_dot_cotangents(g: Any, tensors: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
    """For each factor, the ones before it transposed, times g, times the ones behind it transposed."""
    first, *_, last = tensors
    chain = [
        first.unsqueeze(0) if first.ndim == 1 else first,
        *tensors[1:-1],
        last.unsqueeze(1) if last.ndim == 1 else last,
    ]
    turned = [each.mT for each in reversed(chain)]
    g = g.reshape(chain[0].shape[0], chain[-1].shape[1])
    count = len(chain)
    return [
        torch.linalg.multi_dot([*turned[count - place :], g, *turned[: count - place - 1]]).reshape(each.shape)
        if wanted[place]
        else None
        for place, each in enumerate(tensors)
    ]


def contraction(a_ndim: int, b_ndim: int, dims: Any) -> str:
    """A tensordot as the equation of an einsum."""
    if isinstance(dims, torch.Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        dims = [*range(a_ndim - dims, a_ndim)], [*range(dims)]
    a, b = list(string.ascii_letters[:a_ndim]), list(string.ascii_letters[a_ndim : a_ndim + b_ndim])
    free_a = [letter for place, letter in enumerate(a) if place not in [dim % a_ndim for dim in dims[0]]]
    free_b = [letter for place, letter in enumerate(b) if place not in [dim % b_ndim for dim in dims[1]]]
    for mine, theirs in zip(*dims, strict=True):
        b[theirs] = a[mine]
    return f"{''.join(a)},{''.join(b)}->{''.join(free_a + free_b)}"


def spelled(*arguments: Any) -> tuple[Any, ...]:
    """The other form of an einsum, a list of places behind every operand, as an equation and operands."""

    def term(places: Sequence[Any]) -> str:
        return "".join("..." if place is ... else string.ascii_letters[place] for place in places)

    terms = ",".join(map(term, arguments[1::2]))
    operands = arguments[: len(arguments) // 2 * 2 : 2]
    return (f"{terms}->{term(arguments[-1])}" if len(arguments) % 2 else terms), *operands


def einsum_cotangents(g: Any, equation: str, tensors: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
    shapes = tuple(each.shape for each in tensors)
    return [
        contracted(g, equation, place, shapes, *tensors[:place], *tensors[place + 1 :]) if asked else None
        for place, asked in enumerate(wanted)
    ]


def contracted(g: Any, equation: str, place: int, shapes: Sequence[Any], *others: Any) -> Any:
    """The cotangent of one operand of an einsum: g and the other operands, contracted to its letters."""
    adjoint, extras = adjoint_of(equation, place, tuple(map(len, shapes)))
    shape = shapes[place]
    made = [g.new_ones(1) if dim is None else torch.eye(shape[dim], dtype=g.dtype, device=g.device) for dim in extras]
    found = torch.einsum(adjoint, g, *others, *made)
    # A letter that only this operand has was summed, and one that is 1 elsewhere broadcast: all along it get the same.
    return found if found.shape == shape else found.expand(torch.broadcast_shapes(found.shape, shape))


@functools.cache
def adjoint_of(equation: str, place: int, ndims: tuple[int, ...]) -> tuple[str, list[int | None]]:
    """The equation of an einsum's derivative by its operand number `place`, and the operands that it takes beyond g and
    the others: an identity matrix of the size of a dimension whose letter came before (`ii->i`), or a 1 (None)."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow:
        output = "..." + "".join(letter for letter in sorted({*inputs} - {*".,"}) if inputs.count(letter) == 1)
    unused = [letter for letter in string.ascii_letters if letter not in equation]
    hidden = [ndim - len(term) + 3 if "..." in term else 0 for term, ndim in zip(terms, ndims, strict=True)]
    dots = "".join(unused.pop() for _ in range(max(hidden)))
    terms = [term.replace("...", dots[len(dots) - count :]) for term, count in zip(terms, hidden, strict=True)]
    mine = terms.pop(place)
    terms.insert(0, output.replace("...", dots))
    wanted, extras = "", list[int | None]()
    for dim, letter in enumerate(mine):
        if letter in wanted:
            terms.append(letter + unused[-1])
            extras.append(dim)
            letter = unused.pop()
        elif not any(letter in term for term in terms):
            terms.append(letter)
            extras.append(None)
        wanted += letter
    return f"{','.join(terms)}->{wanted}", extras
