"""Linear algebra: inverses, linear systems, determinants, decompositions, and what is made of them.

Where the literature writes adjoints, transposes stand here, since cotangents travel unconjugated: a formula of G = conj(g)
is conjugated as a whole. Rules that torch computes from a factorization of the forward pass (`residuals`) do so too on
torch tensors; on Tensors, for higher orders, they start from the matrix, which such a factorization hides.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch

from tensorad.errors import NoRuleError
from tensorad.node import recording
from tensorad.op import OPS, composed, defrule
from tensorad.operands import plain
from tensorad.tensor import Tensor

untyped: Any = torch  # for what its type stubs do not have
solve_triangular = torch.linalg.solve_triangular

# fmt: off

# Inverses and linear systems.
defrule("linalg.inv(A)", "inverse", A=lambda g, out: inverse_pull(g, out))
defrule("linalg.inv_ex(A, *, check_errors=False)", outputs=True, A=lambda g, out: inverse_pull(g[0], out[0]))
defrule("linalg.pinv(input, rcond=None, hermitian=False, *, atol=None, rtol=None)", input=lambda g, input, out: pinv_pull(g, input, out))
solve = defrule("linalg.solve(A, B, *, left=True)", function=lambda *args, **kwargs: solve_by_factors(*args, **kwargs),
                joint=("A B", lambda g, A, left, wanted, out, residuals: solve_pulls(g, A, left, wanted, out, residuals))).call
defrule("linalg.solve_ex(A, B, *, left=True, check_errors=False)", outputs=True,
        joint=("A B", lambda g, A, left, wanted, out: solve_pulls(g[0], A, left, wanted, out[0])))
triangular = defrule("linalg.solve_triangular(A, B, *, upper, left=True, unitriangular=False)",
        joint=("A B", lambda g, A, upper, left, unitriangular, wanted, out: triangular_pulls(g, A, upper, left, unitriangular, wanted, out))).call
defrule("cholesky_solve(input, input2, upper=False)",
        joint=("input input2", lambda g, input2, upper, wanted, out: cholesky_solve_pulls(g, input2, upper, wanted, out)))
defrule("cholesky_inverse(input, upper=False)", input=lambda g, input, upper, out:
        cholesky_factor_pull(-out.mT @ g @ out.mT, input, upper))
lu_solve = defrule("linalg.lu_solve(LU, pivots, B, *, left=True, adjoint=False)",
                   joint=("LU B", lambda g, LU, pivots, left, adjoint, wanted, out:
                          lu_solve_pulls(g, LU, pivots, left, adjoint, wanted, out))).call
least_squares = defrule("least_squares(A, B, solution, rcond)", function=lambda A, B, solution, rcond: solution,
                        joint=("A B", lambda g, A, B, rcond, wanted: least_squares_pulls(g, A, B, rcond, wanted))).call
least_sums = defrule("least_sums(A, B, solution, sums)", function=lambda A, B, solution, sums: sums,
                     joint=("A B solution", lambda g, A, B, solution, wanted: least_sums_pulls(g, A, B, solution, wanted))).call

# Determinants, and the matrix exponential.
defrule("linalg.det(A)", "det", function=lambda A: det_by_factors(A), A=lambda g, A, out, residuals: det_pull(g, A, out, *residuals))
defrule("logdet(input)", function=lambda input: logdet_by_factors(input),
        input=lambda g, input, out, residuals: logdet_pull(g.masked_fill(out.isnan(), 0), input, *residuals))
log_size = defrule("log_size(A, found)", function=lambda A, found: found, A=lambda g, A, residuals: logdet_pull(g, A, *residuals)).call
phase = defrule("phase(A, found)", function=lambda A, found: found, A=lambda g, A, out, residuals: phase_pull(g, A, out, *residuals)).call
defrule("linalg.matrix_exp(input)", "matrix_exp", input=lambda g, input: matrix_exp_pull(g, input))

# Decompositions into triangles.
defrule("linalg.cholesky(input, *, upper=False)", input=lambda g, upper, out: cholesky_pull(g, upper, out))
defrule("linalg.cholesky_ex(input, *, upper=False, check_errors=False)", outputs=True, input=lambda g, upper, out: cholesky_pull(g[0], upper, out[0]))
defrule("cholesky(input, upper=False)", input=lambda g, upper, out: cholesky_pull(g, upper, out))
defrule("linalg.lu(A, *, pivot=True)", outputs=True, A=lambda g, pivot, out: lu_pull(*g[1:], *out[1:], permutation=out[0] if pivot else None))
defrule("linalg.lu_factor(A, *, pivot=True)", outputs=True, A=lambda g, pivot, out: lu_factor_pull(g[0], out[0], out[1], pivot))
lu_factor_ex = defrule("linalg.lu_factor_ex(A, *, pivot=True, check_errors=False)", outputs=True,
                       A=lambda g, pivot, out: lu_factor_pull(g[0], out[0], out[1], pivot)).call
defrule("lu_unpack(LU_data, LU_pivots, unpack_data=True, unpack_pivots=True)", outputs=True,
        LU_data=lambda g, LU_data_shape, unpack_data: packed(*g[1:], shape=LU_data_shape) if unpack_data else None)
qr_factors = defrule("linalg.qr(A, mode='reduced')", outputs=True, A=lambda g, out: qr_pull(*g, *out)).call
defrule("linalg.householder_product(input, tau)", "orgqr",
        joint=("input tau", lambda g, input, tau, wanted: reflections_pulls(g, identity(g, *g.shape[-2:]), input, tau, wanted)))
ormqr = defrule("ormqr(input, tau, other, left=True, transpose=False)",
                joint=("input tau other", lambda g, input, tau, other, left, transpose, wanted:
                       ormqr_pulls(g, input, tau, other, left, transpose, wanted))).call

# Decompositions by eigenvalues and singular values.
eigh = defrule("linalg.eigh(input, UPLO='L')", outputs=True, input=lambda g, out: eigh_pull(*g, *out)).call
eig = defrule("linalg.eig(input)", outputs=True, input=lambda g, out: eig_pull(*g, *out)).call
svd = defrule("linalg.svd(A, full_matrices=True, *, driver=None)", outputs=True, A=lambda g, out: svd_pull(*g, *out)).call

# fmt: on


@composed("linalg.eigvalsh")
def eigvalsh(input: Any, UPLO: str = "L") -> Any:
    return eigh(input, UPLO)[0] if recording.get() else Tensor(torch.linalg.eigvalsh(plain(input), UPLO))


@composed("linalg.eigvals")
def eigvals(input: Any) -> Any:
    return eig(input)[0] if recording.get() else Tensor(torch.linalg.eigvals(plain(input)))


@composed("linalg.svdvals")
def svdvals(A: Any, *, driver: str | None = None) -> Any:
    if recording.get():
        return svd(A, False, driver=driver)[1]
    return Tensor(torch.linalg.svdvals(plain(A), driver=driver))


@composed("svd")
def svd_with_v(input: Any, some: bool = True, compute_uv: bool = True) -> Any:
    """With V in place of its adjoint, and zeros for vectors that are not computed."""
    if compute_uv:
        u, s, vh = svd(input, not some)
        return torch.return_types.svd((u, s, vh.mH))
    rows, columns = input.shape[-2:]
    zeros = [input.new_zeros(*input.shape[:-2], size, size) for size in (rows, columns)]
    return torch.return_types.svd((zeros[0], svdvals(input), zeros[1]))


@composed("_linalg_svd")
def svd_below(A: Any, full_matrices: bool = False, compute_uv: bool = True, *, driver: str | None = None) -> Any:
    """What torch's own functions call."""
    return svd(A, full_matrices, driver=driver) if compute_uv else (A[..., :0], svdvals(A, driver=driver), A[..., :0])


@composed("_linalg_eigh")
def eigh_below(A: Any, UPLO: str = "L", compute_v: bool = True) -> Any:
    """What torch's own functions call."""
    return eigh(A, UPLO) if compute_v else (eigvalsh(A, UPLO), A[..., :0])


@composed("_linalg_solve_ex")
def solve_below(A: Any, B: Any, *, left: bool = True, check_errors: bool = False) -> Any:
    """What torch's own functions call."""
    factors, pivots, info = lu_factor_ex(A, check_errors=check_errors)
    return solve(A, B, left=left), factors, pivots, info


@composed("linalg.qr")
def linalg_qr(A: Any, mode: str = "reduced") -> Any:
    """Mode 'r' has R as 'reduced' has it, and an empty Q."""
    if mode != "r":
        return qr_factors(A, mode)
    return untyped.return_types.linalg_qr((A.new_zeros(0), qr_factors(A)[1]))


@composed("qr")
def qr(input: Any, some: bool = True) -> Any:
    return torch.return_types.qr(qr_factors(input, "reduced" if some else "complete"))


@composed("linalg.slogdet", "slogdet")
def slogdet(A: Any) -> Any:
    """As two ops, since as a rule only the logarithm is used."""
    data = plain(A)
    sign, logarithm, *factors = untyped._linalg_slogdet(data)
    factors.append(transposed(data))
    return untyped.return_types.linalg_slogdet((phase(A, (sign, factors)), log_size(A, (logarithm, factors))))


def by_keyword(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, whose first argument is A by the page of torch.linalg, for a function that takes it as `input`."""

    @functools.wraps(call)
    def function(*args: Any, **kwargs: Any) -> Any:
        return call(kwargs.pop("input"), **kwargs) if "input" in kwargs else call(*args, **kwargs)

    return function


@composed("linalg.cond")
def cond(input: Any, p: Any = None) -> Any:
    if not input.numel():
        return input.new_zeros(input.shape[:-2])
    if p in (None, 2, -2):
        values = svdvals(input)
        largest, least = values[..., 0], values[..., -1]
        return least / largest if p == -2 else largest / least
    inverse, info = torch.linalg.inv_ex(input)
    inverse = inverse.masked_fill((info > 0)[..., None, None], torch.inf)
    return torch.linalg.matrix_norm(input, p) * torch.linalg.matrix_norm(inverse, p)


@composed("vander")
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    count = len(x) if N is None else N
    if count < 2:  # ones at most
        return Tensor(torch.vander(plain(x), N))
    powers = torch.linalg.vander(x, N=count)
    return powers if increasing else powers.flip(-1)


@composed("pinverse")
def pinverse(input: Any, rcond: float = 1e-15) -> Any:
    return torch.linalg.pinv(input, rcond)


@composed("lu_solve")
def lu_solve_in_torchs_order(b: Any, LU_data: Any, LU_pivots: Any) -> Any:
    return lu_solve(LU_data, LU_pivots, b)


@composed("triangular_solve")
def triangular_solve(b: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False) -> Any:
    matrix = A.mT if transpose else A
    solution = triangular(matrix, b, upper=upper != transpose, unitriangular=unitriangular)
    return torch.return_types.triangular_solve((solution, A.clone()))


@composed("linalg.lstsq")
def lstsq(A: Any, B: Any, rcond: float | None = None, *, driver: str | None = None) -> Any:
    found = torch.linalg.lstsq(plain(A), plain(B), rcond, driver=driver)
    solution = least_squares(A, B, found.solution, rcond)
    sums = least_sums(A, B, solution, found.residuals) if found.residuals.numel() else Tensor(found.residuals)
    return untyped.return_types.linalg_lstsq((solution, sums, Tensor(found.rank), Tensor(found.singular_values)))


def identity(like: Any, rows: int, columns: int | None = None) -> Any:
    return torch.eye(rows, rows if columns is None else columns, dtype=like.dtype, device=like.device)


def arrived(g: Any) -> bool:
    """Whether anything depends on an output: a zero that was not computed stands for nothing."""
    return (isinstance(g, Tensor) and g.node is not None) or bool(plain(g).any())


def differences(values: Any) -> Any:
    """values[j] - values[i] as denominators, inf on the diagonal so that quotients are 0 there."""
    found = values.unsqueeze(-2) - values.unsqueeze(-1)
    return found.masked_fill(torch.eye(values.shape[-1], dtype=torch.bool, device=values.device), torch.inf)


def check_phase(turned: Any, *cotangents: Any) -> None:
    """Raise if a result changes with the phases of complex vectors: its slopes in them are imaginary parts of `turned`."""
    if turned.is_complex() and turned.numel():
        size = max(plain(g).abs().max() for g in cotangents)
        if plain(turned).diagonal(0, -2, -1).imag.abs().max() > 1e-3 * size:
            raise NoRuleError(
                "the result depends on the phases of eigenvectors or singular vectors, which are arbitrary, so it has no "
                "derivative; use them in ways that a factor exp(i phi) does not change, such as v.abs()"
            )


def inverse_pull(g: Any, inverse: Any) -> Any:
    return -(inverse.mT @ g @ inverse.mT)


def pinv_pull(g: Any, A: Any, P: Any) -> Any:
    """Golub and Pereyra 1973: three terms, for A as it is and for what A maps to, or from, zero."""
    Q, B, h = P.conj(), A.conj(), g.mH
    rows = h @ Q @ P.mT
    columns = P.mT @ Q @ h
    return rows - B @ (Q @ rows) + columns - (columns @ Q) @ B - P.mT @ g @ P.mT


def solve_by_factors(A: Any, B: Any, *, left: bool = True) -> Any:
    out, LU, pivots, info = untyped._linalg_solve_ex(A, B, left=left)
    untyped._linalg_check_errors(info, "torch.linalg.solve", is_matrix=A.ndim == 2)
    return out, (LU, pivots)


def solve_pulls(g: Any, A: Any, left: bool, wanted: Any, X: Any, residuals: Any = None) -> tuple[Any, Any]:
    """For A X = B: A^T gB = g, gA = -gB X^T (Giles 2008)."""
    if g.ndim == A.ndim - 1:  # a vector
        slope, g = solve_pulls(g.unsqueeze(-1), A, left, wanted, X.unsqueeze(-1), residuals)
        return slope, g.squeeze(-1)
    if residuals is None or isinstance(g, Tensor):
        g = torch.linalg.solve(A.mT, g, left=left)
    else:
        g = by_factors(g, *residuals, left=left)
    return by_system(g, X, left) if wanted[0] else None, g


def by_system(g: Any, X: Any, left: bool) -> Any:
    """The cotangent of A in A X = B, or in X A = B, from that of B."""
    return -(g @ X.mT if left else X.mT @ g)


def by_factors(g: Any, LU: Any, pivots: Any, left: bool = True, adjoint: bool = False) -> Any:
    """The cotangent of B in op(A) X = B, by the factors of A; op is the adjoint, or nothing."""
    return torch.linalg.lu_solve(LU, pivots, g.conj(), left=left, adjoint=not adjoint).conj()


def lu_solve_pulls(g: Any, LU: Any, pivots: Any, left: bool, adjoint: bool, wanted: Any, X: Any) -> Any:
    """From the cotangent of A = P L U, that of L is P^T gA U^T, and that of U is L^T P^T gA."""
    g = by_factors(g, LU, pivots, left, adjoint)
    if not wanted[0]:
        return None, g
    slope = by_system(g, X, left)
    permutation, lower, upper = torch.lu_unpack(LU, pivots)
    slope = permutation.mT @ (slope.mH if adjoint else slope)
    return (slope @ upper.mT).tril(-1) + (lower.mT @ slope).triu(), g


def triangular_pulls(g: Any, A: Any, upper: bool, left: bool, unitriangular: bool, wanted: Any, X: Any) -> Any:
    """As for any linear system, and nothing for the triangle, or the diagonal, that was not read."""
    g = solve_triangular(A.mT, g, upper=not upper, left=left, unitriangular=unitriangular)
    if not wanted[0]:
        return None, g
    slope = by_system(g, X, left)
    return slope.triu(int(unitriangular)) if upper else slope.tril(-int(unitriangular)), g


def cholesky_solve_pulls(g: Any, factor: Any, upper: bool, wanted: Any, X: Any) -> tuple[Any, Any]:
    g = torch.cholesky_solve(g.conj(), factor, upper).conj()
    return g, cholesky_factor_pull(by_system(g, X, True), factor, upper) if wanted[1] else None


def cholesky_factor_pull(g: Any, factor: Any, upper: bool) -> Any:
    """The cotangent of L from that of L L^H, or of U from that of U^H U; 0 in the triangle that is not read."""
    both = g + g.mH
    return (factor.triu().conj() @ both).triu() if upper else (both @ factor.tril().conj()).tril()


def least_squares_pulls(g: Any, A: Any, B: Any, rcond: float | None, wanted: Any) -> tuple[Any, Any]:
    """Through the solution as pinv(A) B."""
    if g.ndim == A.ndim - 1:
        slope, g = least_squares_pulls(g.unsqueeze(-1), A, B.unsqueeze(-1), rcond, wanted)
        return slope, g.squeeze(-1)
    P = torch.linalg.pinv(A, rtol=rcond)
    return pinv_pull(g @ B.mT, A, P) if wanted[0] else None, P.mT @ g


def least_sums_pulls(g: Any, A: Any, B: Any, solution: Any, wanted: Any) -> tuple[Any, Any, None]:
    """For the squares of A X - B, summed. At its least value, a sum does not change with X."""
    if solution.ndim == A.ndim - 1:
        slope, g, _ = least_sums_pulls(g, A, B.unsqueeze(-1), solution.unsqueeze(-1), wanted)
        return slope, g.squeeze(-1), None
    slope = 2 * g.unsqueeze(-2) * (A @ solution - B).conj()
    return slope @ solution.mT if wanted[0] else None, -slope, None


def transposed(A: Any) -> bool:
    """Whether torch, for the determinant of A, factors its transpose: contiguous and real, it needs no copy for that."""
    return A.is_contiguous() and not A.is_complex()


def det_by_factors(A: Any) -> Any:
    out, LU, pivots = untyped._linalg_det(A)
    return out, (LU, pivots, transposed(A))


def det_pull(g: Any, A: Any, out: Any, LU: Any, pivots: Any, adjoint: bool) -> Any:
    """g times the adjugate, transposed: the inverse times the determinant where there is an inverse."""
    if A.numel():
        low, high = LU.diagonal(0, -2, -1).abs().aminmax(dim=-1)
        singular = low <= high * torch.finfo(A.dtype).eps ** 0.5
        if singular.any() and (singular & high.isfinite()).any():
            return g[..., None, None] * adjugate(A).mT
    return (g * out)[..., None, None] * inverse_transposed(g, A, LU, pivots, adjoint)


def adjugate(A: Any) -> Any:
    """The adjugate of matrices of any rank, at every order.

    With M the matrix A bordered by its singular vectors for small singular values, so that M is regular, N its inverse,
    and T the block of N at the border, det A = det M det T (Jacobi's identity), and A^-1 is N11 - N12 T^-1 N21.
    """
    u, s, vh = torch.linalg.svd(plain(A))
    n, largest = s.shape[-1], s[..., :1]
    border = int((s <= 1e-3 * largest).sum(-1).max())
    scale = largest.masked_fill(largest == 0, 1).unsqueeze(-1)
    upper = torch.cat([A, u[..., n - border :] * scale], -1)
    lower = torch.cat([vh[..., n - border :, :] * scale, u.new_zeros(*u.shape[:-2], border, border)], -1)
    M = torch.cat([upper, lower], -2)
    N = torch.linalg.inv(M)
    T = N[..., n:, n:]
    adjugate_T = adjugate_of_few(T)
    det_T = trace(T @ adjugate_T) / border
    inner = det_T * N[..., :n, :n] - N[..., :n, n:] @ adjugate_T @ N[..., n:, :n]
    return torch.linalg.det(M)[..., None, None] * inner


def adjugate_of_few(T: Any) -> Any:
    """The adjugate of small matrices, as a polynomial: the recursion of Faddeev and Le Verrier."""
    size = T.shape[-1]
    found = unit = identity(T, size).expand(T.shape)
    for step in range(1, size):
        product = T @ found
        found = trace(product) / step * unit - product
    return found


def trace(matrices: Any) -> Any:
    return matrices.diagonal(0, -2, -1).sum(-1)[..., None, None]


def logdet_by_factors(A: Any) -> Any:
    """NaN where the determinant is negative."""
    sign, logarithm, LU, pivots = untyped._linalg_slogdet(A)
    out = sign.log() + logarithm if A.is_complex() else logarithm.masked_fill(sign == -1, torch.nan)
    return out, (LU, pivots, transposed(A))


def logdet_pull(g: Any, A: Any, LU: Any, pivots: Any, adjoint: bool) -> Any:
    """d log det A = tr(A^-1 dA): of a complex one, the real part moves the logarithm of the absolute value."""
    return g[..., None, None] * inverse_transposed(g, A, LU, pivots, adjoint)


def phase_pull(g: Any, A: Any, sign: Any, LU: Any, pivots: Any, adjoint: bool) -> Any:
    """The imaginary part turns the sign of a complex determinant; a real one stays as it is."""
    return logdet_pull(1j * (g * sign).imag, A, LU, pivots, adjoint) if A.is_complex() else None


def inverse_transposed(g: Any, A: Any, LU: Any, pivots: Any, adjoint: bool) -> Any:
    if isinstance(g, Tensor):
        return torch.linalg.inv_ex(A)[0].mT
    return by_factors(identity(A, A.shape[-1]), LU, pivots, adjoint=adjoint)


def matrix_exp_pull(g: Any, A: Any) -> Any:
    """The exponential of [[A^T, g], [0, A^T]] has it in its upper right block (Mathias 1996)."""
    n = A.shape[-1]
    upper, lower = torch.cat([A.mT, g], -1), torch.cat([torch.zeros_like(A), A.mT], -1)
    return torch.linalg.matrix_exp(torch.cat([upper, lower], -2))[..., :n, n:]


def cholesky_pull(g: Any, upper: bool, factor: Any) -> Any:
    """Murray 2016, arXiv 1602.07527, for the lower factor: L^-H Phi(L^H G) L^-1, made Hermitian."""
    if upper:
        g, factor = g.mH, factor.mH
    inner = factor.mT @ g
    inner = (inner.tril() + inner.tril(-1).mH) / 2
    half = solve_triangular(factor.mT, inner, upper=True)
    return solve_triangular(factor.conj(), half, upper=False, left=False)


def lu_pull(g_lower: Any, g_upper: Any, lower: Any, upper: Any, permutation: Any) -> Any:
    """For A = P L U, the triangles of L^-1 P^T dA U^-1 are L^-1 dL and dU U^-1; what is not square has one more block."""
    rows, columns = lower.shape[-2], upper.shape[-1]
    size = min(rows, columns)
    L, U = lower[..., :size, :], upper[..., :size]
    by_lower, by_upper = L.mT @ g_lower[..., :size, :], g_upper[..., :size] @ U.mT
    if columns > size:
        by_lower = by_lower - g_upper[..., size:] @ upper[..., size:].mT
    if rows > size:
        by_upper = by_upper - lower[..., size:, :].mT @ g_lower[..., size:, :]
    inner = solve_triangular(L.mT, by_lower.tril(-1) + by_upper.triu(), upper=True, unitriangular=True)
    found = solve_triangular(U.mT, inner, upper=False, left=False)
    if columns > size:
        beside = solve_triangular(L.mT, g_upper[..., size:], upper=True, unitriangular=True)
        found = torch.cat([found, beside], -1)
    if rows > size:
        beneath = solve_triangular(U.mT, g_lower[..., size:, :], upper=False, left=False)
        found = torch.cat([found, beneath], -2)
    return found if permutation is None else permutation @ found


def lu_factor_pull(g: Any, LU: Any, pivots: Any, pivot: bool) -> Any:
    permutation, lower, upper = torch.lu_unpack(LU, pivots, True, pivot)
    size = lower.shape[-1]
    return lu_pull(g[..., :size].tril(-1), g[..., :size, :].triu(), lower, upper, permutation if pivot else None)


def packed(g_lower: Any, g_upper: Any, shape: Any) -> Any:
    """The cotangents of L and U in one matrix: nothing for L's diagonal, which is 1."""
    rows, columns = shape[-2:]
    size = min(rows, columns)
    g_lower, g_upper = g_lower.tril(-1), g_upper.triu()
    square = g_lower[..., :size, :] + g_upper[..., :size]
    if columns > size:
        return torch.cat([square, g_upper[..., size:]], -1)
    return torch.cat([square, g_lower[..., size:, :]], -2) if rows > size else square


def qr_pull(g_q: Any, g_r: Any, Q: Any, R: Any) -> Any:
    """Walter and Lehmann 2010, arXiv 1009.6112; where A is wide, what is right of the square is Q^H times it."""
    rows, columns = Q.shape[-2], R.shape[-1]
    if Q.shape[-1] > columns:
        raise NoRuleError(
            "the columns of Q beyond those of A, which mode='complete' adds, are arbitrary and have no derivative"
        )
    if columns > rows:
        beside = g_r[..., rows:]
        square = qr_pull(g_q + (Q @ R[..., rows:]).conj() @ beside.mH, g_r[..., :rows], Q, R[..., :rows])
        return torch.cat([square, Q.conj() @ beside], -1)
    inner = g_r @ R.mT - Q.mT @ g_q
    upper = inner.triu(1)
    diagonal = torch.diag_embed(torch.real(inner.diagonal(0, -2, -1)).to(inner.dtype))
    g = g_q + Q.conj() @ (upper + upper.mH + diagonal)
    return solve_triangular(R.mT, g, upper=False, left=False)


def reflections_pulls(left: Any, right: Any, input: Any, tau: Any, wanted: Any) -> tuple[Any, Any]:
    """Cotangents of Householder vectors and factors, from that of Q, which is `left` times the transpose of `right`.

    Q = 1 - V T V^H with T = (1 + D N)^-1 D, where D is diagonal with tau and N the strict upper triangle of V^H V
    (Schreiber and Van Loan 1989; in this form, Puglisi 1992).
    """
    count = tau.shape[-1]
    left = left.conj()
    V = input[..., :count].tril(-1) + identity(input, input.shape[-2], count)
    N = (V.mH @ V).triu(1)
    unit, D = identity(input, count), tau.unsqueeze(-1)
    B = unit + D * N
    T = solve_triangular(B, torch.diag_embed(tau), upper=True)
    by_left, by_right = V.mH @ left, V.mH @ right
    g_T = solve_triangular(B.mH, -by_left @ by_right.mH, upper=False)
    g_tau = (g_T * (unit - N @ T).conj()).sum(-1).conj() if wanted[1] else None
    if not wanted[0]:
        return None, g_tau
    g_N = -(D.conj() * g_T @ T.mH).triu(1)
    g_V = V @ (g_N + g_N.mH) - left @ (by_right.mH @ T.mH) - right @ (by_left.mH @ T)
    g_input = g_V.tril(-1)
    if input.shape[-1] > count:
        g_input = torch.cat([g_input, torch.zeros_like(input[..., count:])], -1)
    return g_input.conj(), g_tau


def ormqr_pulls(g: Any, input: Any, tau: Any, other: Any, left: bool, transpose: bool, wanted: Any) -> Any:
    """Q times `other` is linear in `other`; in Q, an outer product of g and `other`, in the order that their place asks."""
    by_other = ormqr(input, tau, g.conj(), left, not transpose).conj() if wanted[2] else None
    if not (wanted[0] or wanted[1]):
        return None, None, by_other
    factors = (g, other) if left else (other.mT, g.mT)
    if transpose:  # Q^H is conjugated
        factors = factors[1].conj(), factors[0].conj()
    return *reflections_pulls(*factors, input, tau, wanted), by_other


def eigh_pull(g_values: Any, g_vectors: Any, values: Any, V: Any) -> Any:
    """Giles 2008, "An extended collection of matrix derivative results"."""
    if not arrived(g_vectors):
        return (V.conj() * g_values.unsqueeze(-2)) @ V.mT
    turned = V.mT @ g_vectors
    check_phase(turned, g_vectors)
    inner = (turned - turned.mH) / 2 / differences(values) + torch.diag_embed(g_values)
    return V.conj() @ inner @ V.mT


def eig_pull(g_values: Any, g_vectors: Any, values: Any, V: Any) -> Any:
    """As for Hermitian matrices, but vectors that are not orthogonal keep their length by a change along themselves."""
    inner = torch.diag_embed(g_values)
    if arrived(g_vectors):
        turned = V.mT @ g_vectors
        check_phase(turned, g_vectors)
        lengths = torch.real(turned.diagonal(0, -2, -1)).unsqueeze(-2)
        inner = inner + (turned - V.mT @ (V.conj() * lengths)) / differences(values)
    return torch.linalg.solve(V.mT, inner @ V.mT)


def svd_pull(g_u: Any, g_s: Any, g_vh: Any, U: Any, S: Any, Vh: Any) -> Any:
    """Townsend 2016, "Differentiating the singular value decomposition"; here with complex and with full matrices."""
    size, rows, columns = S.shape[-1], U.shape[-2], Vh.shape[-1]
    by_u, by_vh = arrived(g_u), arrived(g_vh)
    u, vh = U[..., :size].conj(), Vh[..., :size, :].conj()
    if not (by_u or by_vh):
        return (u * g_s.unsqueeze(-2)) @ vh
    if U.shape[-1] > size:
        g_u = g_u[..., :size] + from_others(g_u[..., size:], U[..., size:].conj(), u)
    if Vh.shape[-2] > size:
        g_vh = g_vh[..., :size, :] + from_others(g_vh[..., size:, :].mH, Vh[..., size:, :].mT, vh.mH).mH
    u_turned, v_turned = u.mH @ g_u, vh @ g_vh.mH
    check_phase(u_turned + v_turned, g_u, g_vh)
    inner, by_squares = torch.diag_embed(g_s), differences(S * S)
    if by_u:
        inner = inner + (u_turned - u_turned.mH) / by_squares * S.unsqueeze(-2)
    if by_vh:
        inner = inner + S.unsqueeze(-1) * ((v_turned - v_turned.mH) / by_squares)
    if by_u and u.is_complex():
        inner = inner + torch.diag_embed(1j * u_turned.diagonal(0, -2, -1).imag / S)
    found = u @ inner @ vh
    if rows > size and by_u:
        outside = g_u / S.unsqueeze(-2)
        found = found + (outside - u @ (u.mH @ outside)) @ vh
    if columns > size and by_vh:
        outside = g_vh / S.unsqueeze(-1)
        found = found + u @ (outside - (outside @ vh.mH) @ vh)
    return found


def from_others(g: Any, others: Any, vectors: Any) -> Any:
    """What vectors of a full basis owe to those that complete it, `others`: these span what the former do not."""
    turned = others.mH @ g
    size = plain(g).abs().max() if g.numel() else 0
    if turned.numel() and plain(turned - turned.mH).abs().max() > 1e-3 * size:
        raise NoRuleError(
            "the vectors that full_matrices=True adds are an arbitrary basis of what the others do not span, and the "
            "result depends on that choice, so it has no derivative; full_matrices=False leaves them out"
        )
    return -others @ (g.mH @ vectors)


for _name in "det inverse slogdet".split():
    composed(_name)(by_keyword(OPS[_name]))
