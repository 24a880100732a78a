"""Products of vectors and matrices against torch.autograd, in every form and with every kind of operand."""

from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, rand

import tensorad as ts

PRODUCTS = """
x @ y                           | 3 & 3 ; 2,3 & 3 ; 3 & 3,2 ; 2,3 & 3,4 ; 0,3 & 3,2 ; 2,0 & 0,3 ; 2,0 & 0 ; 1,1 & 1,1
x @ y                           | 5,2,3 & 3 ; 3 & 5,3,2 ; 5,2,3 & 3,4 ; 2,3 & 5,3,4 ; 5,2,3 & 5,3,4 ; 0,2,3 & 3,4
x @ y                           | 5,2,3 & 1,3,4 ; 4,1,2,3 & 5,3,2 ; 1,2,3 & 4,5,3,2 ; 2,3 & 4,5,3,2 ; 4,5,2,3 & 3
x @ y                           | 3 & 4,5,3,2
torch.matmul(x, y)              | 2,3 & 3,4 ; 3 & 3
x.matmul(y)                     | 2,3 & 3,4 ; 5,2,3 & 3
torch.linalg.matmul(x, y)       | 2,3 & 3,4
x.__matmul__(y)                 | 2,3 & 3,4
torch.matmul(input=x, other=y)  | 2,3 & 3,4
torch.mm(x, y)                  | 2,3 & 3,4 ; 0,3 & 3,2 ; 2,0 & 0,3
x.mm(mat2=y)                    | 2,3 & 3,4
torch.bmm(x, y)                 | 5,2,3 & 5,3,4 ; 0,2,3 & 0,3,2
x.bmm(y)                        | 5,2,3 & 5,3,4
torch.mv(x, y)                  | 2,3 & 3 ; 0,3 & 3 ; 2,0 & 0
x.mv(y)                         | 2,3 & 3
torch.dot(x, y)                 | 3 & 3 ; 0 & 0
x.dot(y)                        | 3 & 3
torch.vdot(x, y)                | 3 & 3
torch.linalg.vecdot(x, y)       | 3 & 3 ; 3,3 & 3 ; 2,3 & 2,3 ; 2,3 & 3 ; 4,1,3 & 2,3
torch.linalg.vecdot(x, y, dim=0)| 3,2 & 3,2 ; 3,1 & 3,4
torch.inner(x, y)               | 3 & 3 ; 2,3 & 3 ; 2,3 & 4,3 ; 5,2,3 & 4,3 ; & 2,3 ; 2,3 & ; &
x.inner(y)                      | 2,3 & 4,3
torch.outer(x, y)               | 3 & 2 ; 0 & 2 ; 1 & 1
torch.ger(x, y)                 | 3 & 2
x.outer(y)                      | 3 & 2
torch.kron(x, y)                | 2,3 & 4,2 ; 2 & 3 ; 2,3 & 2 ; 3 & 2,2 ; 2,1,3 & 3,2 ; & 2,3 ; 0,2 & 2,3
x.kron(y)                       | 2,3 & 4,2
torch.linalg.cross(x, y)        | 3 & 3 ; 2,3 & 2,3 ; 2,3 & 1,3 ; 0,3 & 0,3
torch.linalg.cross(x, y, dim=0) | 3,2 & 3,2
torch.cross(x, y, dim=1)        | 2,3 & 2,3
x.cross(y, -1)                  | 2,3 & 2,3
torch.tensordot(x, y, 1)        | 2,3 & 3,4 ; 3 & 3 ; 4,2,3 & 3,2
torch.tensordot(x, y, dims=2)   | 4,2,3 & 2,3,5 ; 2,3 & 2,3
torch.tensordot(x, y, ([1], [0]))  | 2,1 & 3,1 ; 1,3 & 1,3
torch.tensordot(x, y, 0)        | 2,3 & 4 ; & 2
torch.tensordot(x, y, ([0, 2], [1, 0]))     | 2,4,3 & 3,2,5 ; 2,4,3 & 3,2
torch.tensordot(x, y, dims=([-1], [-2]))    | 2,3 & 4,3,2 ; 2,1 & 4,3,2 ; 2,3 & 4,1,2
torch.tensordot(x, y, torch.tensor([[1], [0]]))  | 2,3 & 3,2
"""
SUMS_OF_PRODUCTS = """
functional.linear(x, y)                 | 2,3 & 4,3 ; 3 & 4,3 ; 5,2,3 & 4,3 ; 2,3 & 3 ; 3 & 3 ; 5,2,3 & 3 ; 0,3 & 4,3
functional.linear(x, y, z)              | 2,3 & 4,3 & 4 ; 3 & 4,3 & 4 ; 5,2,3 & 4,3 & 4 ; 0,3 & 4,3 & 4
functional.linear(x, y, z)              | 6,5,2,3 & 4,3 & 4
functional.linear(x, weight=y, bias=z)  | 2,3 & 4,3 & 4
functional.linear(x, y, bias=None)      | 2,3 & 4,3
functional.bilinear(x, y, z)            | 5,2 & 5,3 & 4,2,3 ; 2 & 3 & 4,2,3 ; 6,5,2 & 6,5,3 & 4,2,3
functional.bilinear(x, y, z, w)         | 5,2 & 5,3 & 4,2,3 & 4 ; 0,2 & 0,3 & 4,2,3 & 4
torch.addmm(x, y, z)                    | 2,4 & 2,3 & 3,4 ; 4 & 2,3 & 3,4 ; 2,1 & 2,3 & 3,4 ; & 2,3 & 3,4
torch.addmm(x, y, z)                    | 0,4 & 0,3 & 3,4
torch.addmm(x, y, z, beta=2, alpha=0.5) | 2,4 & 2,3 & 3,4
x.addmm(y, z, beta=0)                   | 2,4 & 2,3 & 3,4
torch.addmv(x, y, z, beta=2, alpha=0.5) | 2 & 2,3 & 3 ; 1 & 2,3 & 3
x.addmv(y, z)                           | 2 & 2,3 & 3
torch.addr(x, y, z, beta=2, alpha=0.5)  | 2,3 & 2 & 3 ; 3 & 2 & 3
x.addr(y, z)                            | 2,3 & 2 & 3
torch.baddbmm(x, y, z, beta=2, alpha=3) | 5,2,4 & 5,2,3 & 5,3,4 ; 2,4 & 5,2,3 & 5,3,4
x.baddbmm(y, z)                         | 5,2,4 & 5,2,3 & 5,3,4
torch.addbmm(x, y, z, beta=2, alpha=3)  | 2,4 & 5,2,3 & 5,3,4 ; 4 & 5,2,3 & 5,3,4
x.addbmm(y, z)                          | 2,4 & 5,2,3 & 5,3,4
torch.linalg.multi_dot([x, y])          | 2,3 & 3,4
torch.linalg.multi_dot([x, y, z])       | 2,3 & 3,4 & 4,2 ; 3 & 3,4 & 4,2 ; 2,3 & 3,4 & 4 ; 3 & 3,4 & 4
torch.linalg.multi_dot((x, y, z, w))    | 2,3 & 3,4 & 4,2 & 2,5
torch.chain_matmul(x, y, z)             | 2,3 & 3,4 & 4,2
torch.matrix_power(x, 0)                | 3,3 ; 2,3,3
torch.matrix_power(x, 1)                | 3,3
torch.matrix_power(x, 2)                | 3,3 ; 2,3,3
torch.matrix_power(x, 5)                | 3,3
x.matrix_power(7)                       | 3,3
torch.linalg.matrix_power(x, n=10)      | 2,2
"""
EINSUMS = """
torch.einsum('ij,jk->ik', x, y)         | 2,3 & 3,4 ; 0,3 & 3,4
torch.einsum('ij,jk', x, y)             | 2,1 & 3,1 ; 2,3 & 3,4 ; 2,3 & 1,4 ; 2,1 & 3,4
torch.einsum('ij, jk -> ki', [x, y])    | 2,3 & 3,4
torch.einsum('i,j->ij', x, y)           | 2 & 3
torch.einsum('i,i', x, y)               | 3 & 3
torch.einsum('b...ij,bjk->b...ik', x, y)| 2,3,4 & 2,4,3
torch.einsum('...ij,...jk', x, y)       | 2,3 & 3,4 ; 5,2,3 & 3,4 ; 5,2,3 & 5,3,4 ; 5,1,2,3 & 4,3,2 ; 1,2,3 & 5,3,4
torch.einsum('...i,i->...', x, y)       | 3 & 3 ; 2,3 & 3 ; 5,2,3 & 3
torch.einsum('...i,...i->i', x, y)      | 5,2,3 & 2,3
torch.einsum('ij,kl->il', x, y)         | 2,3 & 4,2
torch.einsum('ii', x)                   | 3,3
torch.einsum('ii->i', x)                | 3,3
torch.einsum('iij->ji', x)              | 3,3,2
torch.einsum('iii->', x)                | 2,2,2
torch.einsum('ij->ji', x)               | 2,3
torch.einsum('ij->', x)                 | 2,3
torch.einsum('ba', x)                   | 2,3
torch.einsum('...->', x)                | 2,3
torch.einsum('ii,ij->j', x, y)          | 3,3 & 3,2
torch.einsum('i,j,k->ijk', x, y, z)     | 2 & 3 & 2
torch.einsum('bn,anm,bm->ba', x, y, z)  | 2,3 & 5,3,4 & 2,4
torch.einsum('...a,ab,b...->...', x, y, z)      | 2,3 & 3,4 & 4,2
torch.einsum('ij,jk,kl,lm->im', x, y, z, w)     | 2,3 & 3,2 & 2,3 & 3,2
torch.einsum(x, [0, 1], y, [1, 2], [2, 0])      | 2,3 & 3,4
torch.einsum(x, [..., 0, 1], y, [..., 1, 2])    | 5,2,3 & 3,4
"""


@pytest.mark.filterwarnings("ignore:torch.chain_matmul is deprecated")
@pytest.mark.parametrize(("expression", "shapes"), cases(PRODUCTS) + cases(SUMS_OF_PRODUCTS) + cases(EINSUMS))
def test_products(expression: str, shapes: Any) -> None:
    agree(bent(expression, "xyzw"[: len(shapes)]), *(rand(*shape, seed=seed) for seed, shape in enumerate(shapes)))


CONSTANTS = (
    "x @ y|functional.linear(x, y)|torch.addmm(x, x, y)|torch.einsum('ij,jk->ik', x, y)|torch.tensordot(x, y, 1)"
)


@pytest.mark.parametrize("expression", CONSTANTS.split("|"))
@pytest.mark.parametrize("constant", [0, 1])
def test_torch_tensors_beside_tensors_are_constants(expression: str, constant: int) -> None:
    """On either side, for matrices whose third factor is themselves: the engine sees one operand, torch's both."""
    fixed = rand(3, 3, seed=5)
    names = ("x", "y") if constant else ("y", "x")
    function = bent(f"(lambda {names[0]}, {names[1]}: {expression})(a, fixed)", "a", fixed=fixed)
    agree(function, rand(3, 3))


def test_cross_takes_the_first_dimension_of_size_three() -> None:
    with pytest.warns(UserWarning, match="linalg.cross"):
        torch.cross(rand(3, 2, 3), rand(3, 2, 3, seed=1))
    x, y = ts.tensor(rand(2, 3, 3)), rand(2, 3, 3, seed=1)
    with ts.Grad() as g:
        z = torch.cross(x, y)
    assert torch.equal(z.data, torch.linalg.cross(x.data, y, dim=1))
    assert torch.equal(g.gradient(z, x).data, torch.linalg.cross(y, torch.ones_like(y), dim=1))


def test_third_order() -> None:
    agree(bent("x @ y @ x"), rand(3, 3), rand(3, 3, seed=1), rand(1), order=3)
    agree(
        bent("functional.linear(torch.einsum('ij,jk,kl->il', x, y, x), y)"),
        rand(3, 3),
        rand(3, 3, seed=1),
        rand(1),
        order=3,
    )


def test_a_bias_is_summed_over_every_row() -> None:
    x, w, b = rand(2, 3), rand(4, 3, seed=1), ts.tensor(torch.zeros(4))
    with ts.Grad() as g:
        y = torch.nn.functional.linear(x.float(), w.float(), b)
    assert g.gradient(y, b).tolist() == [2.0, 2.0, 2.0, 2.0]


def test_weights_used_by_a_batch_get_one_product_and_not_one_per_matrix() -> None:
    """(b, m, k) @ (k, n): the weight's cotangent is a product of matrices of b m rows."""
    x, w = rand(50, 2, 3), ts.tensor(rand(3, 4))
    with ts.Grad() as g:
        y = x @ w
    expected = x.reshape(100, 3).T @ torch.ones(100, 4, dtype=torch.float64)
    torch.testing.assert_close(g.gradient(y, w).data, expected)


def test_mixed_dtypes_are_refused_as_by_torch() -> None:
    with pytest.raises(RuntimeError, match="dtype"):
        torch.matmul(ts.tensor(rand(2, 2)), rand(2, 2, dtype=torch.float32))
