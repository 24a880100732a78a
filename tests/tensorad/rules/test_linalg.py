"""Linear algebra against torch.autograd, and against other definitions of the same function where torch is no judge."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from expressions import bent, cases
from oracle import agree, by_tensorad, by_torch, listed, rand, slope

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
torch.linalg.matrix_power(regular(x), -2)        | 3,3 ; 2,3,3
regular(x).matrix_power(-1)                      | 3,3
torch.linalg.tensorinv(regular(x).reshape(3, 3, 9), ind=2) | 9,9
torch.corrcoef(x)                                | 3,5
torch.cov(x, correction=0)                       | 3,5
torch.linalg.vander(x)                           | 3 ; 2,3
"""
SYSTEMS = """
torch.linalg.solve(regular(x), y)                | 3,3 & 3 ; 3,3 & 3,2 ; 2,3,3 & 2,3,2 ; 2,3,3 & 3,2 ; 3,3 & 2,3,2
torch.linalg.solve(regular(x), y)                | 2,3,3 & 2,3 ; 2,3,3 & 3 ; 0,0 & 0,2 ; 0,3,3 & 0,3,1
torch.linalg.solve(regular(x), y, left=False)    | 3,3 & 2,3 ; 2,3,3 & 2,2,3
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


def spd(x: Any) -> Any:
    return x @ x.mH + torch.eye(x.shape[-1], dtype=x.dtype)


def regular(x: Any) -> Any:
    return x + 3 * torch.eye(x.shape[-1], dtype=x.dtype)


ALL = cases(INVERSES + SYSTEMS.strip() + DETERMINANTS + TRIANGLES.strip() + SPECTRA)
FIRST = list({case.values[0]: case for case in reversed(ALL)}.values())  # one case of each expression
REAL_ONLY = ("corrcoef", "cov", "triangular_solve")


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize(("expression", "shapes"), ALL)
def test_linear_algebra(expression: str, shapes: Any) -> None:
    agree_on(torch.float64, expression, shapes)


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize(("expression", "shapes"), FIRST)
def test_complex_linear_algebra(expression: str, shapes: Any) -> None:
    if not any(name in expression for name in REAL_ONLY):
        agree_on(torch.complex128, expression, shapes)


def agree_on(dtype: torch.dtype, expression: str, shapes: Any) -> None:
    function = bent(expression, "xy"[: len(shapes)], spd=spd, regular=regular)
    agree(function, *(rand(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes)), rtol=1e-7, atol=1e-9)


def gradient(function: Callable[..., Any], matrix: Any) -> Any:
    x = ts.tensor(matrix)
    with ts.Grad() as g:
        y = function(x)
    return g.gradient(y, x).data


def agree_with_slopes(function: Callable[..., Any], *arguments: Any) -> None:
    """Where torch is no judge: the first order against finite differences, the second against those of the first."""
    directions = [rand(*each.shape, seed=40 + place, dtype=each.dtype) for place, each in enumerate(arguments)]

    def along(gradients: Any) -> float:
        return sum((each.conj() * way).sum().real.item() for each, way in zip(gradients, directions, strict=True))

    found = by_tensorad(function, arguments, 2)[1]
    assert along(found[0]) == pytest.approx(slope(function, arguments, directions), rel=1e-6, abs=1e-8)
    firsts = lambda *moved: by_tensorad(function, moved, 1)[1][0]  # noqa: E731
    assert along(found[1]) == pytest.approx(slope(firsts, arguments, directions), rel=1e-6, abs=1e-8)


DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])


def by_leibniz(matrix: Any) -> Any:
    """The determinant as a sum over permutations: a polynomial, whose derivatives torch has right everywhere."""
    n, total = matrix.shape[-1], 0.0
    for places in permutations(range(n)):
        odd = sum(a > b for position, b in enumerate(places) for a in places[:position]) % 2
        term = matrix[..., 0, places[0]]
        for row in range(1, n):
            term = term * matrix[..., row, places[row]]
        total = total - term if odd else total + term
    return total


@DTYPES
@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
@pytest.mark.parametrize(("n", "rank"), [(n, rank) for n in range(1, 5) for rank in range(n + 1)])
def test_det_of_rank_n_minus_1_and_of_any_other_rank(n: int, rank: int, scale: float, dtype: torch.dtype) -> None:
    """To the third order, of a batch of matrices of this rank, and of a regular one among them."""
    batch = scale * rand(2, n, rank, dtype=dtype) @ rand(2, rank, n, seed=1, dtype=dtype)
    batch = torch.cat([batch, rand(1, n, n, seed=2, dtype=dtype)])
    ours, theirs = by_tensorad(torch.linalg.det, [batch], 3)[1], by_torch(by_leibniz, [batch], 3)[1]
    for mine, expected, near in zip(ours, theirs, (1e-12, 1e-9, 1e-6), strict=True):
        torch.testing.assert_close(mine, expected, rtol=near, atol=near * max(1, scale) ** n)


def test_det_of_a_singular_matrix_has_the_adjugate_for_its_gradient() -> None:
    expected = torch.tensor([[4.0, -2.0], [-2.0, 1.0]])
    torch.testing.assert_close(gradient(torch.det, [[1.0, 2.0], [2.0, 4.0]]), expected)
    assert gradient(torch.det, torch.zeros(1, 1)).item() == pytest.approx(1)
    assert gradient(torch.det, torch.zeros(2, 2)).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert gradient(torch.det, torch.full((2, 2), torch.nan)).isnan().all()


def test_slogdet_singular() -> None:
    singular = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    assert not gradient(lambda x: torch.slogdet(x)[1], singular).isfinite().any()
    assert not gradient(torch.logdet, singular).isfinite().any()


def test_a_sign_is_constant_and_the_logarithm_of_a_negative_determinant_is_nan() -> None:
    negative = torch.diag(torch.tensor([-1.0, 2.0], dtype=torch.float64))
    assert gradient(lambda x: torch.slogdet(x)[0], negative).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    agree(torch.logdet, negative)


@pytest.mark.parametrize("function", [torch.linalg.eigvalsh, lambda x: torch.linalg.eigh(x)[0], torch.linalg.svdvals])
def test_eigvalsh_and_svdvals_of_the_identity(function: Any) -> None:
    weights = torch.tensor([1.0, 2.0])
    assert gradient(lambda x: (function(x) * weights).sum(), torch.eye(2)).tolist() == [[1.0, 0.0], [0.0, 2.0]]


@pytest.mark.parametrize("function", [torch.linalg.eigh, lambda x: torch.linalg.svd(x)[::2]])
def test_eigh_vectors_repeated_and_svd_vectors_repeated(function: Any) -> None:
    weights = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert gradient(lambda x: (function(x)[1] * weights).sum(), torch.eye(2)).isnan().any()


@pytest.mark.parametrize("function", [torch.linalg.eigh, torch.linalg.eig, torch.linalg.svd])
def test_a_result_that_depends_on_the_phase_of_complex_vectors_is_refused(function: Any) -> None:
    x = ts.tensor(rand(3, 3, dtype=torch.complex128))
    with ts.Grad() as g:
        out = function(x)
        y = (out[0 if function is torch.linalg.svd else 1] * rand(3, 3, seed=1)).sum().imag
    with pytest.raises(ts.NoRuleError, match="phases"):
        g.gradient(y, x)


def test_the_columns_that_a_complete_qr_adds_are_refused() -> None:
    x = ts.tensor(rand(4, 2))
    with ts.Grad() as g:
        y = torch.linalg.qr(x, mode="complete")[0].sum()
    with pytest.raises(ts.NoRuleError, match="complete"):
        g.gradient(y, x)


@DTYPES
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
def test_qr_of_mode_r(shape: Any, dtype: torch.dtype) -> None:
    agree_with_slopes(lambda x: torch.linalg.qr(x, mode="r")[1], rand(*shape, dtype=dtype))


@DTYPES
@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_full_svd_vectors_that_span_what_the_others_do_not(shape: Any, dtype: torch.dtype) -> None:
    """Torch takes these for constants; the projection on what they span is as smooth as that on its complement."""

    def projection(x: Any) -> Any:
        u, _, vh = torch.linalg.svd(x)
        return u[:, 2:] @ u[:, 2:].mH if len(x) == 4 else vh[2:].mH @ vh[2:]

    agree_with_slopes(projection, rand(*shape, dtype=dtype))


def test_a_result_that_depends_on_the_basis_that_completes_an_svd_is_refused() -> None:
    x = ts.tensor(rand(4, 2))
    with ts.Grad() as g:
        y = (torch.linalg.svd(x)[0][:, 2:] * rand(4, 2, seed=1)).sum()
    with pytest.raises(ts.NoRuleError, match="basis"):
        g.gradient(y, x)
    agree_with_slopes(lambda x: torch.linalg.svd(x)[0], rand(4, 3))  # one vector more is no choice


@DTYPES
@pytest.mark.parametrize("upper", [False, True])
def test_a_triangle_that_is_not_read_has_gradient_0(upper: bool, dtype: torch.dtype) -> None:

    def real_on_diagonal(x: Any) -> Any:
        return x - torch.diag_embed(1j * x.diagonal().imag) if x.is_complex() else x

    factor = regular(rand(3, 3, dtype=dtype))
    agree_with_slopes(lambda x: torch.cholesky_inverse(real_on_diagonal(x), upper), factor)
    agree_with_slopes(
        lambda y, x: torch.cholesky_solve(y, real_on_diagonal(x), upper), rand(3, 2, seed=1, dtype=dtype), factor
    )


@DTYPES
@pytest.mark.parametrize("case", [((4, 2), (4, 3)), ((2, 4), (2, 3)), ((3, 4, 2), (3, 4, 1)), ((4, 2), (4,))])
@pytest.mark.parametrize("driver", ["gelsy", "gelsd"])
def test_least_squares(case: Any, driver: str, dtype: torch.dtype) -> None:
    """With the sums of squares that are left, where there are any."""
    A, B = (rand(*shape, seed=place, dtype=dtype) for place, shape in enumerate(case))
    agree_with_slopes(lambda A, B: torch.linalg.lstsq(A, B, driver=driver)[:2], A, B)


@DTYPES
@pytest.mark.parametrize("p", ["fro", "nuc", 1, -1, torch.inf, None, 2, -2])
def test_cond(p: Any, dtype: torch.dtype) -> None:
    """Torch has no gradient for most orders: it changes the inverse in place."""
    agree_with_slopes(lambda x: torch.linalg.cond(x, p), regular(rand(2, 3, 3, dtype=dtype)))
    assert torch.linalg.cond(ts.tensor(torch.zeros(0, 2, 2)), p).shape == (0,)


def test_condition_of_a_singular_matrix_is_infinite() -> None:
    assert torch.linalg.cond(ts.tensor([[1.0, 2.0], [2.0, 4.0]]), 1).item() == torch.inf


@pytest.mark.parametrize("increasing", [False, True])
@pytest.mark.parametrize("count", [None, 1, 2, 5])
def test_vander(count: int | None, increasing: bool) -> None:
    """Torch's has no second order: it writes powers into a matrix of ones."""
    x = rand(3)
    assert torch.equal(torch.vander(ts.tensor(x), count, increasing).data, torch.vander(x, count, increasing))
    agree_with_slopes(lambda x: torch.vander(x, count, increasing) * x[:, None], x)


@pytest.mark.parametrize("name", ["svd_lowrank", "pca_lowrank"])
def test_low_rank(name: str) -> None:
    """Both draw at random: from the same seed, the same."""

    def singular_values(x: Any) -> Any:
        torch.manual_seed(3)
        return getattr(torch, name)(x, q=2)[1]

    agree(singular_values, rand(4, 3), rtol=1e-6)


def test_no_context_no_vectors() -> None:
    x = rand(3, 3)
    assert torch.equal(torch.linalg.eigvalsh(ts.tensor(x)).data, torch.linalg.eigvalsh(x))
    assert torch.equal(torch.linalg.svdvals(ts.tensor(x)).data, torch.linalg.svdvals(x))
    assert torch.equal(torch.linalg.eigvals(ts.tensor(x)).data, torch.linalg.eigvals(x))


def test_third_order() -> None:
    x, y = regular(rand(3, 3)), rand(3, 2, seed=1)
    for function in torch.linalg.inv, lambda x: torch.linalg.cholesky(spd(x)), lambda x: torch.linalg.qr(x)[1]:
        agree(function, x, order=3, rtol=1e-7)
    agree(torch.linalg.solve, x, y, order=3, rtol=1e-7)
    agree(lambda x: torch.linalg.eigh(x)[1], x, order=3, rtol=1e-7)


def test_errors_are_torchs() -> None:
    singular = ts.tensor(torch.zeros(2, 2))
    with pytest.raises(torch.linalg.LinAlgError, match="singular"):
        torch.linalg.solve(singular, singular)
    with pytest.raises(torch.linalg.LinAlgError, match="singular"):
        torch.linalg.inv(singular)
    with pytest.raises(torch.linalg.LinAlgError, match="positive-definite"):
        torch.linalg.cholesky(singular)
    with pytest.raises(RuntimeError, match="square"):
        torch.linalg.det(ts.tensor(rand(2, 3)))
    with pytest.raises(RuntimeError, match="not supported"):
        torch.linalg.matrix_norm(singular, "frob")
    with pytest.raises(RuntimeError, match="must be different"):
        torch.linalg.matrix_norm(singular, 2, (1, -1))


@pytest.mark.filterwarnings("ignore:torch.qr is deprecated")
@pytest.mark.parametrize(
    "name",
    "det inverse slogdet logdet matrix_exp qr svd linalg.matrix_exp linalg.eigh linalg.eigvalsh "
    "linalg.cholesky linalg.pinv linalg.cond linalg.norm linalg.matrix_norm linalg.vector_norm".split(),
)
def test_matrices_by_keyword(name: str) -> None:
    a = rand(3, 3)
    a = a @ a.mT + torch.eye(3)

    def function(a: Any) -> Any:
        return [each.abs() for each in listed(eval(f"torch.{name}")(input=a @ a.mT))]

    agree(function, a, rtol=1e-6)


@pytest.mark.parametrize("name", ["det", "inv", "slogdet", "qr", "svd"])
def test_matrices_by_the_keyword_of_torch_linalg(name: str) -> None:
    def function(a: Any) -> Any:
        return [each.abs() for each in listed(getattr(torch.linalg, name)(A=a))]

    agree(function, rand(3, 3), rtol=1e-6)
