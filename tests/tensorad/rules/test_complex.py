"""Complex numbers against torch.autograd, in every family: products, sums, shapes, places, and functions elementwise.

Each is tried at the first order alone, where torch's own kernels run, and at the second, where formulas do.
"""

import math
from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, rand, slope

import tensorad as ts

ELEMENTWISE = """
neg positive reciprocal square exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh
asinh acosh atanh sinc abs sgn angle sigmoid conj conj_physical resolve_conj resolve_neg real imag
absolute negative arcsin arccos arctan arcsinh arccosh arctanh clone special.expit special.exp2 special.expm1
special.log1p special.sinc nn.functional.softsign nn.functional.tanhshrink
nn.functional.sigmoid nn.functional.tanh
"""
# Of two operands, each of them real or complex.
MIXED = """
x + y | 2,3 & 2,3 ; 2,1 & 3
x - y | 2,3 & 2,3 ; 2,1 & 3
x * y | 2,3 & 2,3 ; 2,1 & 3
x / y | 2,3 & 2,3 ; 2,1 & 3
x ** y | 2,3 & 2,3 ; 2,1 & 3
torch.rsub(x, y) | 3 & 3
torch.add(x, y, alpha=2) | 3 & 3
torch.sub(x, y, alpha=2) | 3 & 3
torch.float_power(x, y) | 3 & 3
torch.addcmul(x, y, x, value=2) | 3 & 3
torch.addcdiv(x, y, x, value=2) | 3 & 3
torch.cat([x, y]) | 2,3 & 3,3
torch.stack([x, y], 1) | 3 & 3
torch.hstack([x, y]) | 3 & 2
torch.block_diag(x, y) | 2,3 & 1,2
torch.outer(x, y) | 3 & 2
torch.ger(x, y) | 3 & 2
torch.kron(x, y) | 2,3 & 4,2 ; 2 & 3
functional.l1_loss(x, y) | 2,3 & 2,3
functional.l1_loss(x, y, reduction='sum') | 2,3 & 2,3
functional.l1_loss(x, y, reduction='none') | 2,3 & 2,3
functional.pairwise_distance(x, y) | 2,3 & 2,3
"""
SCALARS = """
x + 2j | 3
x - (1 + 2j) | 3
(1 + 2j) - x | 3
x * 2j | 2,3
x / (1 + 2j) | 3
(1 + 2j) / x | 3
x ** (1 + 0.5j) | 3
(0.5 + 2j) ** x | 3
x ** 2 | 3
x ** 0 | 3
x ** -1.5 | 3
torch.pow(2j, x) | 3
torch.where(torch.tensor([True, False, True]), x, 2j) | 3
torch.where(torch.tensor([True, False, True]), 1 - 2j, x) | 3
x.masked_fill(torch.tensor([True, False, True]), 2.0) | 3
"""
PRODUCTS = """
x @ y | 3 & 3 ; 2,3 & 3 ; 3 & 3,2 ; 2,3 & 3,4 ; 5,2,3 & 3,4 ; 2,3 & 5,3,4 ; 5,2,3 & 5,3,4 ; 5,2,3 & 3
torch.mm(x, y) | 2,3 & 3,2
torch.bmm(x, y) | 2,2,3 & 2,3,2
torch.mv(x, y) | 2,3 & 3
torch.dot(x, y) | 3 & 3
torch.vdot(x, y) | 3 & 3
torch.linalg.vecdot(x, y) | 3 & 3 ; 2,3 & 3 ; 3,3 & 3
torch.inner(x, y) | 3 & 3 ; 2,3 & 4,3
torch.outer(x, y) | 3 & 2
torch.kron(x, y) | 2,2 & 2,3
torch.tensordot(x, y, 1) | 2,3 & 3,2
torch.einsum('ij,jk->ik', x, y) | 2,3 & 3,4
torch.einsum('ii,ij->j', x, y) | 3,3 & 3,2
torch.einsum('ij,jk,kl->il', x, y, x) | 2,3 & 3,2
torch.linalg.multi_dot([x, y, x]) | 2,3 & 3,2
torch.linalg.cross(x, y) | 2,3 & 2,3
torch.matrix_power(x, 2) + y | 3,3 & 3,3
functional.linear(x, y) | 2,3 & 4,3 ; 3 & 4,3
functional.linear(x, y, y[:, 0]) | 2,3 & 4,3
torch.addmm(x, x, y, beta=2, alpha=0.5) | 3,3 & 3,3
torch.addmm(x, x, y, beta=2j, alpha=1 - 1j) | 3,3 & 3,3
torch.addmv(y, x, y, alpha=2j) | 3,3 & 3
torch.addr(x, y, y, alpha=2j) | 3,3 & 3
torch.baddbmm(x, x, y, beta=2j) | 2,3,3 & 2,3,3
torch.addbmm(x[0], x, y, alpha=2j) | 2,3,3 & 2,3,3
torch.lerp(x, y, 0.3) | 3 & 3
torch.lerp(x, y, x) | 3 & 3
torch.logaddexp(x, y) | 3 & 3
"""
REDUCTIONS = """
x.sum() | 2,3 ;
x.sum(1) | 2,3
x.mean((0, 1), keepdim=True) | 2,3
torch.trace(x) | 3,3
x.prod() | 2,3
x.prod(1) | 2,3
x.cumsum(0) | 3,2
x.cumprod(1) | 2,3
x.logcumsumexp(1) | 2,3
x.logsumexp(1) | 2,3
x.logsumexp((0, 1)) | 2,3
x.var() | 2,3
x.var(1, correction=0) | 2,3
x.std(1) | 2,3
torch.var_mean(x, 1) | 2,3
torch.std_mean(x, 0) | 3,2
torch.linalg.vector_norm(x) | 2,3
torch.linalg.vector_norm(x, 1, 1) | 2,3
torch.linalg.vector_norm(x, 3, 0) | 3,2
torch.linalg.vector_norm(x, 0.5) | 3
torch.linalg.vector_norm(x, -1.5) | 3
torch.linalg.vector_norm(x, math.inf, 1) | 2,3
torch.linalg.vector_norm(x, -math.inf, 1) | 2,3
torch.norm(x) | 2,3
torch.linalg.norm(x) | 3
torch.linalg.matrix_norm(x) | 2,3
functional.normalize(x, dim=1) | 2,3
torch.renorm(x, 2, 0, 0.7) | 2,3
torch.diff(x, 2) | 2,4
x.diff(dim=0) | 3,2
"""
PLACES = """
x[1] | 2,3
x[:, [0, 2, 0]] | 2,3
x[x.real > 0.5] | 2,3
x.gather(1, torch.tensor([[0, 0], [2, 1]])) | 2,3
x.index_select(1, torch.tensor([2, 2])) | 2,3
x.take(torch.tensor([0, 5])) | 2,3
x.scatter_add(1, torch.tensor([[0, 0], [2, 1]]), x[:, :2]) | 2,3
x.index_add(0, torch.tensor([1]), x[:1], alpha=2) | 2,3
x.index_fill(0, torch.tensor([1]), 2.0) | 2,3
x.masked_select(torch.tensor([True, False, True])) | 2,3
x.reshape(3, 2).mT | 2,3
x.mH | 2,3
x.H | 2,3
torch.adjoint(x) | 2,2,3
x.flip(0).roll(1, 1) | 2,3
x.repeat(2, 1) | 2,3
x.expand(2, 3) | 3
x.split(2, 1) | 2,3
x.unbind(0) | 2,3
x.diagonal() | 3,3
torch.diag_embed(x) | 2,3
x.tril() | 3,3
x.unfold(1, 2, 1) | 2,4
functional.pad(x, (1, 2)) | 2,3
functional.pad(x, (1, 2), mode='reflect') | 2,4
functional.pad(x, (1, 2), mode='circular') | 2,4
torch.fft.fft(x) | 2,4
"""
# What torch refuses to differentiate by, or gets wrong (index_add with a complex alpha).
BY_DIFFERENCES = """
functional.silu(x) + y | 3 & 3
torch.nan_to_num(x * y) | 3 & 3
functional.bilinear(x, y, z) | 2,3 & 2,2 & 4,3,2
torch.where(torch.tensor([True, False, True]), x.real, y) | 3 & 3
torch.where(torch.tensor([True, False, True]), x, y.imag) | 3 & 3
torch.dist(x.real, y) | 3 & 3
x.index_add(0, torch.tensor([1]), y, alpha=2j) | 2,3 & 1,3
"""
PARTS = """
x.real * x.imag | 3
x.real.sin() + x.imag ** 2 | 3
x.conj() * x | 2,3
(x.conj() @ x.mT) | 2,3
torch.view_as_real(x).square() | 3 ; 2,3
torch.view_as_complex(torch.view_as_real(x) * 2) | 3
torch.view_as_complex(torch.stack([x.imag, x.real], -1)) | 6 ; 2,3
torch.polar(x.abs(), x.angle()) | 3
torch.polar(x.real, x.imag) | 3
torch.complex(x.imag, x.real) | 3
x.abs() ** 2 | 3
x.sgn() * x.angle() | 3
torch.real(x).exp() | 3
torch.imag(x).exp() | 3
x.conj().imag | 3
x.conj_physical().resolve_conj() | 3
x.conj().resolve_conj().abs() | 3
x.to(torch.complex64).to(torch.complex128) | 3
x.real.to(torch.complex128) | 3
x.real.cdouble() * 1j | 3
"""


def complex_rand(*shape: int, seed: int = 0) -> Any:
    """Away from poles and from the branch cuts, on the real axis, of logarithms and the like."""
    return torch.complex(rand(*shape, low=0.2, high=0.8, seed=seed), rand(*shape, low=0.2, seed=seed + 50))


def at_both_orders(function: Any, *arguments: Any) -> None:
    agree(function, *arguments, order=1)
    agree(function, *arguments, rtol=1e-8)


@pytest.mark.parametrize("name", ELEMENTWISE.split())
def test_elementwise(name: str) -> None:
    for seed, shape in enumerate([(), (3,), (2, 3), (0,)]):
        at_both_orders(bent(f"torch.{name}(x)", "x"), complex_rand(*shape, seed=seed))


@pytest.mark.parametrize(("expression", "shapes"), cases(MIXED))
@pytest.mark.parametrize("kinds", ["cc", "rc", "cr"])
def test_real_operands_meet_complex_ones(expression: str, shapes: Any, kinds: str) -> None:
    """The cotangent of a real operand is real: the engine takes the part that it can use."""
    operands = [complex_rand(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    operands = [each if kind == "c" else each.real for each, kind in zip(operands, kinds, strict=True)]
    at_both_orders(bent(expression, "xy"), *operands)


@pytest.mark.parametrize(("expression", "shapes"), cases(SCALARS))
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_complex_scalars(expression: str, shapes: Any, kind: str) -> None:
    operand = complex_rand(*shapes[0])
    at_both_orders(bent(expression, "x"), operand if kind == "complex" else operand.real)


@pytest.mark.parametrize(("expression", "shapes"), cases(PRODUCTS) + cases(REDUCTIONS) + cases(PLACES) + cases(PARTS))
def test_other_families(expression: str, shapes: Any) -> None:
    operands = [complex_rand(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    at_both_orders(bent(expression, "xy"[: len(shapes)], math=math), *operands)


@pytest.mark.parametrize(("expression", "shapes"), cases(BY_DIFFERENCES))
def test_what_torch_cannot_judge(expression: str, shapes: Any) -> None:
    """At the second order, the derivative of the first-order gradient, along a direction."""
    function = bent(expression, "xyz"[: len(shapes)])
    operands = [complex_rand(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    directions = [complex_rand(*shape, seed=seed + 9) for seed, shape in enumerate(shapes)]
    gradients = lambda *arguments: by_tensorad(function, arguments)[1][0]  # noqa: E731
    _, found = by_tensorad(function, operands, order=2)
    for level, lower in zip(found, (function, gradients), strict=True):
        pairs = zip(level, directions, strict=True)
        along = sum((each * direction.conj()).sum().real.item() for each, direction in pairs)
        assert along == pytest.approx(slope(lower, operands, directions), rel=1e-5, abs=1e-8)


def test_nan_to_num_of_a_complex_number_with_a_nan_in_one_part() -> None:
    assert gradient(lambda z: (torch.nan_to_num(z) * (1 - 2j)).real, complex(math.nan, 1)) == 2j


def test_third_order() -> None:
    agree(bent("x.tanh() * x.conj().sigmoid()", "x"), complex_rand(3), order=3)
    agree(bent("functional.softsign(x @ x.mH)", "x"), complex_rand(2, 2), order=3)


def gradient(function: Any, z: complex) -> complex:
    x = ts.tensor(z, dtype=torch.complex128)
    with ts.Grad() as g:
        y = function(x)
    return g.gradient(y, x).item()


def test_complex_abs_3_4j() -> None:
    assert gradient(torch.abs, 3 + 4j) == pytest.approx(0.6 + 0.8j)


def test_complex_abs_0() -> None:
    assert gradient(torch.abs, 0) == 0
    assert gradient(torch.linalg.vector_norm, 0) == 0


@pytest.mark.parametrize("name", ["abs", "sgn", "angle"])
def test_second_order_at_complex_0(name: str) -> None:
    """For sgn and angle torch has NaN."""
    zeros = torch.zeros(2, dtype=torch.complex128)
    assert by_tensorad(getattr(torch, name), [zeros], 2)[1][1][0].tolist() == [0, 0]


def test_complex_angle_0() -> None:
    assert gradient(torch.angle, 0) == 0


def test_re_z2_at_1_2j() -> None:
    assert gradient(lambda z: (z * z).real, 1 + 2j) == pytest.approx(2 - 4j)
    assert gradient(lambda z: torch.real(z**2), 1 + 2j) == pytest.approx(2 - 4j)


def test_softsign_0_and_l1_loss_of_equals() -> None:
    assert gradient(lambda z: torch.nn.functional.softsign(z).real, 0) == 1
    assert gradient(lambda z: torch.nn.functional.l1_loss(z, z.detach()), 1 + 2j) == 0


def test_gradients_have_the_kind_of_their_source() -> None:
    x, z = ts.tensor(2.0), ts.tensor(1 + 2j)
    with ts.Grad() as g:
        y = (x * z * z).imag
    by_x, by_z = g.gradient(y, (x, z))
    assert (by_x.dtype, by_z.dtype) == (torch.float32, torch.complex64)
    assert (by_x.item(), by_z.item()) == (pytest.approx(4.0), pytest.approx(8 + 4j))
