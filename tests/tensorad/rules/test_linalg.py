"""Linear algebra against torch.autograd, and against other definitions of the same function where torch is no judge."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, by_torch, project, rand, slope

import tensorad as ts

# `spd(x)` is x x^H + 1, positive definite; `regular(x)` is x + 3, far from singular.
INVERSES = """
torch.linalg.inv(regular(x))                     | 3,3 ; 2,3,3 ; 1,1 ; 0,0 ; 0,3,3
torch.inverse(regular(x))                        | 3,3
regular(x).inverse()                             | 3,3
torch.linalg.inv_ex(regular(x))[0]               | 3,3 ; 2,3,3
torch.linalg.inv_ex(regular(x), check_errors=True).inverse | 3,3
torch.linalg.pinv(x)                             | 3,3 ; 2,3 ; 4,2 ; 2,3,2 ; 0,3
torch.linalg.pinv(spd(x), hermitian=True)        | 3,3
torch.linalg.pinv(x @ x.mT, rtol=1e-10)          | 4,2
torch.linalg.pinv(x, 1e-10)                      | 4,2
torch.pinverse(x)                                | 4,2
x.pinverse()                                     | 2,4
torch.linalg.matrix_power(regular(x), -3)        | 3,3 ; 2,3,3
torch.linalg.tensorinv(regular(x).reshape(3, 3, 9), ind=2) | 9,9
torch.linalg.cond(regular(x), 'fro')             | 3,3
torch.linalg.cond(regular(x), 1)                 | 3,3
torch.corrcoef(x)                                | 3,5
torch.cov(x, correction=0)                       | 3,5
torch.vander(x, N=3)                             | 3
torch.linalg.vander(x)                           | 3 ; 2,3
"""
SYSTEMS = """
torch.linalg.solve(regular(x), y)                | 3,3 & 3 ; 3,3 & 3,2 ; 2,3,3 & 2,3,2 ; 2,3,3 & 3,2 ; 3,3 & 2,3,2
torch.linalg.solve(regular(x), y)                | 2,3,3 & 2,3 ; 2,3,3 & 3 ; 0,0 & 0,2 ; 0,3,3 & 0,3,1
torch.linalg.solve(regular(x), y, left=False)    | 3,3 & 2,3 ; 2,3,3 & 2,3
torch.linalg.solve(A=regular(x).mT, B=y)         | 3,3 & 3,2
torch.linalg.solve_ex(regular(x), y)[0]          | 3,3 & 3 ; 3,3 & 3,2 ; 2,3,3 & 3,2
torch.linalg.solve_ex(regular(x), y, left=False).result | 3,3 & 2,3
torch.linalg.tensorsolve(regular(x).reshape(2, 2, 2, 2), y) | 4,4 & 2,2
torch.linalg.solve_triangular(regular(x), y, upper=True)    | 3,3 & 3,2 ; 2,3,3 & 3,2 ; 3,3 & 2,3,2
torch.linalg.solve_triangular(regular(x), y, upper=False)   | 3,3 & 3,2
torch.linalg.solve_triangular(x, y, upper=True, left=False, unitriangular=True)  | 3,3 & 2,3
torch.linalg.solve_triangular(x, y, upper=False, unitriangular=True)             | 3,3 & 3,2
torch.triangular_solve(y, regular(x))[0]         | 3,3 & 3,2
y.triangular_solve(regular(x), upper=False, transpose=True).solution  | 3,3 & 3,2
torch.cholesky_solve(y, torch.linalg.cholesky(spd(x)))            | 3,3 & 3,2 ; 2,3,3 & 2,3,2
y.cholesky_solve(torch.linalg.cholesky(spd(x), upper=True), True) | 3,3 & 3,2
torch.cholesky_inverse(torch.linalg.cholesky(spd(x)))             | 3,3 ; 2,3,3
torch.cholesky_inverse(torch.cholesky(spd(x), upper=True), upper=True) | 3,3
torch.linalg.lu_solve(*torch.linalg.lu_factor(regular(x)), y)     | 3,3 & 3,2 ; 2,3,3 & 3,2
torch.linalg.lu_solve(*torch.linalg.lu_factor(regular(x)), y, left=False)               | 3,3 & 2,3
torch.linalg.lu_solve(*torch.linalg.lu_factor(regular(x)), y, adjoint=True)             | 3,3 & 3,2
torch.linalg.lu_solve(*torch.linalg.lu_factor(regular(x)), y, left=False, adjoint=True) | 3,3 & 2,3
y.lu_solve(*torch.linalg.lu_factor(regular(x)))  | 3,3 & 3,2
torch.linalg.lstsq(x, y).solution                | 4,2 & 4,3 ; 2,4 & 2,3 ; 3,4,2 & 3,4,1 ; 4,2 & 4
"""
DETERMINANTS = """
torch.linalg.det(x)                              | 3,3 ; 2,3,3 ; 1,1 ; 0,0 ; 0,3,3 ; 4,2,3,3
x.det()                                          | 3,3
torch.det(x.mT)                                  | 3,3
torch.linalg.slogdet(x)                          | 3,3 ; 2,3,3 ; 0,0
torch.slogdet(x).logabsdet                       | 3,3
x.slogdet()[1]                                   | 2,2
torch.logdet(spd(x))                             | 3,3 ; 2,3,3
spd(x).logdet()                                  | 3,3
torch.linalg.matrix_exp(x)                       | 3,3 ; 2,3,3 ; 1,1 ; 0,0
x.matrix_exp()                                   | 3,3
"""
TRIANGLES = """
torch.linalg.cholesky(spd(x))                    | 3,3 ; 2,3,3 ; 1,1 ; 0,0
torch.linalg.cholesky(spd(x), upper=True)        | 3,3
torch.linalg.cholesky_ex(spd(x)).L               | 3,3
torch.linalg.cholesky_ex(spd(x), upper=True)[0]  | 2,3,3
torch.cholesky(spd(x))                           | 3,3
spd(x).cholesky(True)                            | 3,3
torch.linalg.lu(x)[1:]                           | 3,3 ; 2,4 ; 4,2 ; 2,3,3 ; 2,2,4 ; 2,4,2 ; 0,0 ; 0,3
torch.linalg.lu_factor(x)[0]                     | 3,3 ; 2,4 ; 4,2 ; 2,3,3
torch.linalg.lu_factor_ex(x).LU                  | 3,3 ; 2,4,2
torch.lu(x)[0]                                   | 3,3
x.lu()[0]                                        | 2,4
torch.lu_unpack(*torch.linalg.lu_factor(x))[1:]  | 3,3 ; 2,4 ; 4,2 ; 2,3,3
torch.linalg.qr(x)                               | 3,3 ; 2,4 ; 4,2 ; 2,3,3 ; 2,2,4 ; 2,4,2 ; 0,3 ; 3,0
torch.linalg.qr(x, mode='complete')              | 3,3 ; 2,4
torch.qr(x)                                      | 4,2
x.qr(some=False)                                 | 2,4
torch.linalg.householder_product(x, x[..., 0, :]) | 3,3 ; 4,2 ; 2,4,2
torch.linalg.householder_product(x, x[0, :2])    | 4,3
torch.orgqr(x, 0 * x[0])                         | 4,2
torch.ormqr(x, x[0], y)                          | 4,2 & 4,3 ; 3,3 & 3,2
torch.ormqr(x, x[0], y, transpose=True)          | 4,2 & 4,3
torch.ormqr(x, x[0], y, left=False)              | 4,2 & 3,4
x.ormqr(x[0], y, False, True)                    | 4,2 & 3,4
"""
# Products that an eigenvector's sign or phase does not change.
SPECTRA = """
torch.linalg.eigvalsh(x)                         | 3,3 ; 2,3,3 ; 1,1 ; 0,0
torch.linalg.eigvalsh(x + x.mT, 'U')             | 3,3
torch.linalg.eigh(x)[0]                          | 3,3
torch.linalg.eigh(x)[1].abs()                    | 3,3 ; 2,3,3 ; 1,1
torch.linalg.eigh(x, UPLO='U')[1].abs()          | 3,3
torch.linalg.eigvals(x).abs()                    | 3,3 ; 2,3,3
torch.linalg.eig(x)[0].abs()                     | 3,3
torch.linalg.eig(x)[1].abs()                     | 3,3 ; 2,3,3
torch.linalg.svdvals(x)                          | 3,3 ; 2,4 ; 4,2 ; 2,3,3 ; 0,3
torch.linalg.svd(x)[1]                           | 3,3 ; 2,4
torch.linalg.svd(x, full_matrices=False)[0].abs()| 3,3 ; 2,4 ; 4,2 ; 2,4,2
torch.linalg.svd(x, full_matrices=False).Vh.abs()| 3,3 ; 2,4 ; 4,2
[each.abs() for each in torch.linalg.svd(x, full_matrices=False)] | 3,3 ; 2,4 ; 4,2 ; 2,2,3
(lambda u, s, v: (u * s.exp()) @ v.mH)(*torch.svd(x))             | 3,3 ; 4,2 ; 2,4
x.svd(compute_uv=False)[1]                       | 4,2
torch.linalg.norm(x, 'nuc')                      | 3,3 ; 4,2
x.norm('nuc')                                    | 3,3
torch.linalg.matrix_norm(x, 2)                   | 3,3 ; 2,4
torch.linalg.matrix_norm(x, -2, (0, 2), keepdim=True) | 3,2,4
torch.linalg.matrix_norm(x, 'nuc', (2, 0))       | 3,2,4
torch.linalg.matrix_norm(x, 1)                   | 3,3 ; 2,3,4
torch.linalg.matrix_norm(x, float('inf'), (0, 2))| 3,2,4
torch.linalg.matrix_norm(x, -1, (2, 0))          | 3,2,4
torch.linalg.matrix_norm(x, -float('inf'), keepdim=True) | 2,3,4
torch.linalg.cond(x)                             | 3,3
torch.linalg.cond(x, -2)                         | 3,3
"""
# What torch makes of parts that other files have rules for, or that are not defined for complex numbers.
REAL_ONLY = ("cond", "corrcoef", "cov", "triangular_solve")


def spd(x: Any) -> Any:
    return x @ x.mH + torch.eye(x.shape[-1], dtype=x.dtype)


def regular(x: Any) -> Any:
    return x + 3 * torch.eye(x.shape[-1], dtype=x.dtype)


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize(
    ("expression", "shapes"), cases(INVERSES + SYSTEMS.strip() + DETERMINANTS + TRIANGLES.strip() + SPECTRA)
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_linear_algebra(expression: str, shapes: Any, dtype: torch.dtype) -> None:
    if dtype.is_complex and any(name in expression for name in REAL_ONLY):
        return
    function = bent(expression, "xy"[: len(shapes)], spd=spd, regular=regular)
    agree(function, *(rand(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes)), rtol=1e-7, atol=1e-9)
