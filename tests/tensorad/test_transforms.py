"""The derivatives of functions against torch.func's: one by one, in all nests, and where perturbations get confused."""

import itertools
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from oracle import rand
from torch import nn

import tensorad as ts
from tensorad.node import recording

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.func.jvp's own, at its first call


def agree(ours: Any, torchs: Any, rtol: float = 1e-8, atol: float = 1e-10) -> None:
    """Assert that two nests have the same structure, and the same numbers; and that ours keeps no graph."""
    mine, structure = ts.tree.flatten(ours)
    theirs, expected = ts.tree.flatten(torchs)
    assert structure == expected
    for one, other in zip(mine, theirs, strict=True):
        assert isinstance(one, ts.Tensor)
        assert one.node is None or recording.get()
        torch.testing.assert_close(one.data, other, rtol=rtol, atol=atol)


# Nests of transforms. Each step makes a scalar function of a vector of another one. Inside, what is differentiated
# depends on the outer argument too, through a closure: a nest that mixes up the two gets other numbers.


def explicit(f: Any, x: Any) -> Any:
    y = x * 1
    with ts.Grad() as g:
        out = f(y)
    return g.gradient(out, y, unconnected="zero")


V, A, B = rand(3, seed=1), rand(3, seed=2), rand(3, 3, seed=3)
F = torch.func
STEPS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {  # by tensorad, by torch.func
    "grad": (lambda f, x: (ts.grad(f)(x) * A).sum(), lambda f, x: (F.grad(f)(x) * A).sum()),
    "vjp": (
        lambda f, x: (ts.vjp(f, x)[1](ts.ones((), dtype=ts.float64))[0] * A).sum(),
        lambda f, x: (F.vjp(f, x)[1](torch.ones((), dtype=torch.float64))[0] * A).sum(),
    ),
    "jvp": (lambda f, x: ts.jvp(f, (x,), (V,))[1], lambda f, x: F.jvp(f, (x,), (V,))[1]),
    "linearize": (lambda f, x: ts.linearize(f, x)[1](V), lambda f, x: F.jvp(f, (x,), (V,))[1]),
    "jacobian, reverse": (
        lambda f, x: (ts.jacobian(f, mode="reverse")(x) * A).sum(),
        lambda f, x: (F.jacrev(f)(x) * A).sum(),
    ),
    "jacobian, forward": (
        lambda f, x: (ts.jacobian(f, mode="forward")(x) * A).sum(),
        lambda f, x: (F.jacrev(f)(x) * A).sum(),
    ),
    "hessian": (lambda f, x: (ts.hessian(f)(x) * B).sum(), lambda f, x: (F.jacrev(F.jacrev(f))(x) * B).sum()),
    "hvp": (
        lambda f, x: (ts.hvp(f, (x,), (V,)) * A).sum(),
        lambda f, x: (F.jvp(F.grad(f), (x,), (V,))[1] * A).sum(),
    ),
    "Grad": (lambda f, x: (explicit(f, x) * A).sum(), lambda f, x: (F.grad(f)(x) * A).sum()),
}


def base(x: Any) -> Any:
    return (torch.sin(x * x.roll(1)) + torch.exp(-x) * x.flip(0)).sum() + x.prod()


def nest(names: tuple[str, ...], which: int) -> Any:
    """The outermost name first; `which` is 0 for tensorad, 1 for torch."""
    f = base
    for name in reversed(names):

        def step(x: Any, f: Any = f, name: str = name) -> Any:
            return STEPS[name][which](lambda y: f(y) * (1 + (x * y).sum()) + f(x) * y.prod(), x.sin())

        f = step
    return f


def orders(names: tuple[str, ...]) -> int:
    return sum(1 + (name in ("hessian", "hvp")) for name in names)


def some(depth: int, count: int) -> list[tuple[str, ...]]:
    """Nests of this depth to at most the fourth order, chosen once and for all."""
    nests = [names for names in itertools.product(STEPS, repeat=depth) if orders(names) <= 4]
    return random.Random(depth).sample(nests, count)


@pytest.mark.parametrize(
    "names", [(name,) for name in STEPS] + list(itertools.product(STEPS, repeat=2)), ids=" of ".join
)
def test_nests_of_two(names: tuple[str, ...]) -> None:
    x = rand(3)
    agree(nest(names, 0)(ts.tensor(x)), nest(names, 1)(x))


@pytest.mark.parametrize("names", some(3, 60) + some(4, 30), ids=" of ".join)
def test_nests_of_three_and_four(names: tuple[str, ...]) -> None:
    x = rand(3)
    agree(nest(names, 0)(ts.tensor(x)), nest(names, 1)(x), rtol=1e-7, atol=1e-8)


SCALAR: dict[str, Callable[[Any], Any]] = {
    "grad": ts.grad,
    "vjp": lambda f: lambda x: ts.vjp(f, x)[1](1.0)[0],
    "jvp": lambda f: lambda x: ts.jvp(f, (x,), (1.0,))[1],
    "linearize": lambda f: lambda x: ts.linearize(f, x)[1](1.0),
    "jacobian, reverse": lambda f: ts.jacobian(f, mode="reverse"),
    "jacobian, forward": lambda f: ts.jacobian(f, mode="forward"),
    "Grad": lambda f: lambda x: explicit(f, x),
}


@pytest.mark.parametrize("names", list(itertools.product(SCALAR, repeat=3)), ids=" of ".join)
def test_the_third_derivative_of_a_power(names: tuple[str, ...]) -> None:
    f = lambda x: x**5  # noqa: E731
    for name in names:
        f = SCALAR[name](f)
    assert f(ts.tensor(2.0, dtype=ts.float64)).item() == 60 * 4


@pytest.mark.parametrize("seed", range(20))
def test_the_fourth_derivative_of_an_exponential(seed: int) -> None:
    names = random.Random(seed).choices(list(SCALAR), k=4)
    f = lambda x: ts.exp(2 * x)  # noqa: E731
    for name in names:
        f = SCALAR[name](f)
    torch.testing.assert_close(f(ts.tensor(0.5, dtype=ts.float64)).data, 16 * torch.tensor(1.0).double().exp())


# Perturbation confusion: two derivatives that are under way at once must keep their arguments apart.

MODES = [name for name in SCALAR if "jacobian" not in name]
PAIRS = pytest.mark.parametrize(("outer", "inner"), list(itertools.product(MODES, repeat=2)))


@PAIRS
def test_siskind_and_pearlmutter_2005(outer: str, inner: str) -> None:
    """d/dx (x * d/dy (x + y)) at 1 is 1; it comes out as 2 where x and y share a perturbation."""
    f = lambda x: x * SCALAR[inner](lambda y: x + y)(ts.tensor(1.0))  # noqa: E731
    assert SCALAR[outer](f)(ts.tensor(1.0)).item() == 1.0


@PAIRS
def test_the_inner_function_is_a_constant(outer: str, inner: str) -> None:
    """d/dx (x * d/dy x): the inner derivative is 0, however x looks like the inner argument."""
    f = lambda x: x * SCALAR[inner](lambda y: x)(x)  # noqa: E731
    assert SCALAR[outer](f)(ts.tensor(3.0)).item() == 0.0


@PAIRS
def test_the_inner_function_is_of_the_outer_argument(outer: str, inner: str) -> None:
    """d/dx (x * d/dy (x * y) at y = x): x * x, so 2 x."""
    f = lambda x: x * SCALAR[inner](lambda y: x * y)(x)  # noqa: E731
    assert SCALAR[outer](f)(ts.tensor(3.0)).item() == 6.0


@PAIRS
def test_manzyuk_et_al_2019_a_derivative_that_escapes(outer: str, inner: str) -> None:
    """The derivative by x of a function of functions: what escapes is differentiated again, by another y.

    s(x)(h) = h(. + x), and D s 0 is the derivative operator: D s 0 (D s 0 h) is the second derivative of h.
    """

    def shift(h: Any, y: Any) -> Any:
        return lambda x: h(y + x)

    def by_shift(mode: str, h: Any) -> Any:
        return lambda y: SCALAR[mode](shift(h, y))(ts.tensor(0.0, dtype=ts.float64))

    found = by_shift(outer, by_shift(inner, ts.exp))(ts.tensor(1.0, dtype=ts.float64))
    torch.testing.assert_close(found.data, torch.tensor(1.0).double().exp())


@PAIRS
def test_a_closure_made_inside_a_derivative(outer: str, inner: str) -> None:
    """A function that was made while an outer derivative was open, and keeps its x, is differentiated by its own y."""
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(lambda y: x * x * y)
        return SCALAR[inner](kept[-1])(x * 2) * x  # x**3

    assert SCALAR[outer](f)(ts.tensor(2.0)).item() == 12.0
    assert SCALAR[inner](kept.pop())(ts.tensor(1.0)).item() == 4.0  # x is a number now


# One by one, with torch.func's signatures.


class Pair(NamedTuple):
    left: Any
    right: Any


def mixed(x: Any, y: Any, scale: float = 1.0) -> Any:
    return scale * (torch.sin(x) @ y + (x * x).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("argnums", [0, 1, -1, (0,), (1, 0), (0, 1), (-1,)])
def test_argnums(argnums: Any, dtype: torch.dtype) -> None:
    x, y = rand(3, dtype=dtype), rand(3, seed=1, dtype=dtype)
    close = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {}
    agree(ts.grad(mixed, argnums)(x, y, scale=2.0), F.grad(mixed, argnums)(x, y, scale=2.0), **close)
    found, expected = ts.value_and_grad(mixed, argnums)(x, y), F.grad_and_value(mixed, argnums)(x, y)
    agree(found, expected[::-1], **close)
    vector = lambda x, y: x.outer(y) * x.exp()  # noqa: E731
    for mode in ("auto", "reverse", "forward"):
        agree(ts.jacobian(vector, argnums, mode=mode)(x, y), F.jacrev(vector, argnums)(x, y), **close)
    agree(ts.hessian(mixed, argnums)(x, y), F.hessian(mixed, argnums)(x, y), **close)


def test_has_aux() -> None:
    x = rand(3)
    f = lambda x: ((x**3).sum(), {"square": x * x})  # noqa: E731
    for (found, aux), (expected, torchs) in (
        (ts.grad(f, has_aux=True)(x), F.grad(f, has_aux=True)(x)),
        (ts.jacobian(f, has_aux=True)(x), F.jacrev(f, has_aux=True)(x)),
        (ts.jvp(f, (x,), (V,), has_aux=True)[1:], F.jvp(f, (x,), (V,), has_aux=True)[1:]),
    ):
        agree(found, expected)
        agree(aux["square"], torchs["square"])
    (value, aux), gradient = ts.value_and_grad(f, has_aux=True)(x)
    agree([value, aux["square"], gradient], [(x**3).sum(), x * x, 3 * x * x])
    value, pull, aux = ts.vjp(f, x, has_aux=True)
    agree([value, aux["square"], *pull(1.0)], [(x**3).sum(), x * x, 3 * x * x])
    assert ts.grad(lambda x: (x.sum(), "no Tensor"), has_aux=True)(x)[1] == "no Tensor"


def of_nests(given: Any) -> Any:
    (a, b), c = given["pair"], given["list"][0]
    return {"sum": a.sum() * c, "more": (a * b, c.exp())}


NEST = {"pair": Pair(rand(2), rand(2, seed=1)), "list": [rand(seed=2)]}


def test_nests_in_and_out() -> None:
    tangents = ts.tree.map(lambda each: each + 1, NEST)
    out, pull = ts.vjp(of_nests, NEST)
    expected, torchs_pull = F.vjp(of_nests, NEST)
    agree(out, expected)
    agree(pull(tangents_of(expected)), torchs_pull(tangents_of(expected)))
    agree(ts.jvp(of_nests, (NEST,), (tangents,)), F.jvp(of_nests, (NEST,), (tangents,)))
    agree(ts.linearize(of_nests, NEST)[1](tangents), F.jvp(of_nests, (NEST,), (tangents,))[1])
    for mode in ("auto", "reverse", "forward"):
        agree(ts.jacobian(of_nests, mode=mode)(NEST), F.jacrev(of_nests)(NEST))
    total = lambda given: of_nests(given)["more"][0].sum() + of_nests(given)["sum"] ** 2  # noqa: E731
    agree(ts.grad(total)(NEST), F.grad(total)(NEST))
    agree(ts.hessian(total)(NEST), F.hessian(total)(NEST))
    agree(ts.hvp(total, (NEST,), (tangents,)), F.jvp(F.grad(total), (NEST,), (tangents,))[1])


def tangents_of(nest: Any) -> Any:
    return ts.tree.map(lambda each: 2 * each + 1, nest)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0), (2, 3)])
def test_shapes(shape: tuple[int, ...]) -> None:
    x, t = rand(*shape), rand(*shape, seed=1)
    f = lambda x: torch.sin(x) * x.sum()  # noqa: E731
    total = lambda x: f(x).sum()  # noqa: E731
    agree(ts.grad(total)(x), F.grad(total)(x))
    agree(ts.jvp(f, (x,), (t,)), F.jvp(f, (x,), (t,)))
    agree(ts.linearize(f, x)[1](t), F.jvp(f, (x,), (t,))[1])
    agree(ts.vjp(f, x)[1](t), F.vjp(f, x)[1](t))
    agree(ts.hvp(total, (x,), (t,)), F.jvp(F.grad(total), (x,), (t,))[1])
    matrix = torch.autograd.functional.jacobian(f, x) if x.numel() else x.new_zeros(shape * 2)
    for mode in ("auto", "reverse", "forward"):
        for chunk_size in (None, 1, 2, 3, 100):
            agree(ts.jacobian(f, mode=mode, chunk_size=chunk_size)(x), matrix)
    hessian = torch.autograd.functional.hessian(total, x) if x.numel() else matrix
    agree(ts.hessian(total, chunk_size=2)(x), hessian)


def test_complex_values() -> None:
    z, t = rand(3, dtype=torch.complex128), rand(3, seed=1, dtype=torch.complex128)
    f = lambda z: (z.exp() * z.conj()).cumsum(0)  # noqa: E731
    real = lambda z: f(z).abs().sum()  # noqa: E731
    agree(ts.grad(real)(z), F.grad(real)(z))
    agree(ts.jvp(f, (z,), (t,)), F.jvp(f, (z,), (t,)))
    agree(ts.linearize(f, z)[1](t), F.jvp(f, (z,), (t,))[1])
    agree(ts.vjp(f, z)[1](t), F.vjp(f, z)[1](t))
    agree(ts.jvp(ts.grad(real), (z,), (t,)), F.jvp(F.grad(real), (z,), (t,)))
    with pytest.raises(ts.ArgumentError, match="Jacobian is of real values"):
        ts.jacobian(f)(z)


X = ts.tensor([1.0, 2.0])
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no scalar": (lambda: ts.grad(ts.sin)(X), ts.ShapeError, r"returns a scalar, and sin returned"),
    "a nest for a scalar": (lambda: ts.grad(lambda x: (x.sum(), x))(X), ts.ShapeError, "scalar"),
    "argnums too large": (lambda: ts.grad(torch.sum, 1)(X), ts.ArgumentError, "argnums=1"),
    "integers": (lambda: ts.grad(torch.sum)(ts.tensor([1, 2])), ts.NotDifferentiableError, "int64"),
    "a string": (lambda: ts.grad(torch.sum)("x"), ts.ArgumentError, "'x'"),
    "no pair": (lambda: ts.grad(torch.sum, has_aux=True)(X), ts.ArgumentError, "has_aux"),
    "a string returned": (lambda: ts.vjp(lambda x: "x", X), ts.ArgumentError, "returns Tensors"),
    "tangents alone": (lambda: ts.jvp(ts.sin, X, X), ts.ArgumentError, "a tuple of primals"),
    "too few tangents": (lambda: ts.jvp(ts.add, (X, X), (X,)), ts.ArgumentError, "tangents are a nest"),
    "a tangent too long": (lambda: ts.jvp(ts.sin, (X,), (ts.ones(3),)), ts.ShapeError, r"\(3,\)"),
    "a complex tangent": (lambda: ts.jvp(ts.sin, (X,), (X * 1j,)), ts.ArgumentError, "complex tangent"),
    "cotangents of another structure": (lambda: ts.vjp(ts.sin, X)[1]((X,)), ts.ArgumentError, "cotangents"),
    "a cotangent too long": (lambda: ts.vjp(ts.sin, X)[1](ts.ones(3)), ts.ShapeError, r"\(3,\)"),
    "an unknown mode": (lambda: ts.jacobian(ts.sin, mode="sideways"), ts.ArgumentError, "mode"),  # type: ignore[arg-type]
    "hvp of no scalar": (lambda: ts.hvp(ts.sin, (X,), (X,)), ts.ShapeError, "scalar"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said(what: str) -> None:
    call, error, message = WRONG[what]
    with pytest.raises(error, match=message):
        call()


def test_the_parameters_of_a_module() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = rand(5, 3)
    own = dict(module.named_parameters())
    plain = {name: value.detach() for name, value in own.items()}
    loss = lambda params, x: ts.functional_call(module, params, (x,)).square().sum()  # noqa: E731
    torchs = lambda params, x: F.functional_call(module, params, (x,)).square().sum()  # noqa: E731
    expected = F.grad(torchs)(plain, x)
    agree(ts.grad(loss)(plain, x), expected)
    agree(ts.grad(loss)(own, x), expected)
    tangents = {name: torch.ones_like(value) for name, value in plain.items()}
    agree(ts.jvp(loss, (plain, x), (tangents, x)), F.jvp(torchs, (plain, x), (tangents, x)))
    product = F.jvp(lambda p: F.grad(torchs)(p, x), (plain,), (tangents,))[1]
    agree(ts.hvp(lambda p: loss(p, x), (own,), (tangents,)), product)


# Jacobians of what a context has recorded.


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 3, 100])
@pytest.mark.parametrize("inside", [False, True])
def test_jacobians_of_a_context(chunk_size: int | None, inside: bool) -> None:
    x, w = ts.tensor(rand(4, 3)), ts.tensor(rand(3, 2, seed=1))
    with ts.Grad() as g:
        hidden = x @ w
        y = hidden.sin() * hidden.sum(1, keepdim=True)
        early = g.jacobian(y, {"x": x, "rest": (w, [hidden])}, chunk_size=chunk_size)
    late = g.jacobian(y, {"x": x, "rest": (w, [hidden])}, chunk_size=chunk_size)
    of_hidden = lambda hidden: hidden.sin() * hidden.sum(1, keepdim=True)  # noqa: E731
    by_x, by_w = F.jacrev(lambda x, w: of_hidden(x @ w), (0, 1))(x.data, w.data)
    expected = {"x": by_x, "rest": (by_w, [F.jacrev(of_hidden)(hidden.data)])}
    found = early if inside else late
    for one, other in zip(ts.tree.flatten(found)[0], ts.tree.flatten(expected)[0], strict=True):
        torch.testing.assert_close(one.data, other)
    samples = g.batch_jacobian(y, [x, hidden], chunk_size=chunk_size)
    rows = torch.arange(4)
    torch.testing.assert_close(samples[0].data, by_x[rows, :, rows])
    torch.testing.assert_close(samples[1].data, expected["rest"][1][0][rows, :, rows])


def test_jacobians_of_what_was_not_recorded() -> None:
    x, other = ts.tensor([1.0, 2.0]), ts.tensor([3.0])
    early = x * 2
    with ts.Grad() as g:
        y = x**2
    assert g.jacobian(y, [x, other])[1].tolist() == [[0.0], [0.0]]
    assert g.jacobian(x, x).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(ts.NotRecordedError):
        g.jacobian(early, x)
    with pytest.raises(ts.ShapeError, match="number of samples"):
        g.batch_jacobian(y, other)


def test_a_jacobian_is_a_value_of_the_contexts_around() -> None:
    x = ts.tensor(rand(3))
    with ts.Grad() as outer:
        with ts.Grad() as inner:
            y = x**3
        matrix = inner.jacobian(y, x)
        rows = inner.batch_jacobian(y, x)
    torch.testing.assert_close(outer.gradient(matrix, x).data, 6 * x.data)
    torch.testing.assert_close(outer.gradient(rows, x).data, 6 * x.data)


# What is left of a transform.


@pytest.mark.parametrize("name", STEPS)
def test_results_outside_of_contexts_keep_no_graph(name: str) -> None:
    found = STEPS[name][0](base, ts.tensor(rand(3)))
    assert isinstance(found, ts.Tensor)
    assert found.node is None


def test_a_function_that_fails_leaves_nothing_open() -> None:
    def fails(x: Any) -> Any:
        raise ZeroDivisionError(x.shape)

    for name in STEPS:
        with pytest.raises(ZeroDivisionError):
            STEPS[name][0](fails, ts.tensor(rand(3)))
        assert not recording.get().entries


def test_an_argument_is_not_changed_by_its_function() -> None:
    x = ts.tensor([1.0, 2.0])

    def changes(x: Any) -> Any:
        x *= 3
        x[0] = 7.0
        return (x * x).sum()

    assert ts.grad(changes)(x).tolist() == [0.0, 36.0]
    assert ts.jvp(changes, (x,), (ts.ones(2),))[1].item() == 36.0
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("chunk_size", [-1, 0, 1.5, "2"])
def test_a_chunk_is_a_row_or_more(chunk_size: Any) -> None:
    x = ts.tensor([1.0, 2.0])
    for transform in (ts.jacobian, ts.hessian):
        with pytest.raises(ts.ArgumentError, match="1 or more, or None for all"):
            transform(lambda x: (x**2).sum(), chunk_size=chunk_size)(x)


@pytest.mark.parametrize("argnums", [[0], None, "x", 0.0, slice(1)])
def test_argnums_are_numbers(argnums: Any) -> None:
    with pytest.raises(ts.ArgumentError, match="number of an argument, or a tuple"):
        ts.grad(lambda x: x, argnums)(1.0)


def test_integers_among_the_outputs_and_cuts_beside_the_point() -> None:
    x = ts.tensor([1.0, 3.0])

    def f(x: Any) -> Any:
        largest = x.max().item()  # for a log, say
        return x * 2, x.argmax(), ts.tensor(largest)

    out, vjp_fn = ts.vjp(f, x)
    assert out[1].item() == 1
    assert vjp_fn((torch.ones(2), None, 1.0))[0].tolist() == [2, 2]
    assert ts.jacobian(lambda x: f(x)[::2])(x)[0].tolist() == [[2, 0], [0, 2]]


def test_a_complex_value_has_no_gradient_without_a_cotangent() -> None:
    with pytest.raises(ts.ArgumentError, match=r"\.real"):
        ts.grad(lambda x: x * (1 + 2j))(2.0)


def test_a_module_that_uses_its_own_parameters_is_told() -> None:
    module = torch.nn.Linear(2, 1)
    params, x = dict(module.named_parameters()), torch.ones(3, 2)
    with pytest.warns(ts.UnconnectedWarning, match="functional_call"):
        found = ts.grad(lambda params: module(ts.tensor(x)).sum())(params)
    assert found["weight"].tolist() == [[0, 0]]
    found = ts.grad(lambda params: ts.functional_call(module, params, ts.tensor(x)).sum())(params)
    assert found["weight"].tolist() == [[3, 3]]


def test_under_torchs_vmap() -> None:
    """A gradient for each sample: on torch tensors in and out."""
    w, xs = torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 0.5], [2.0, 1.0], [0.0, 3.0]])
    loss = lambda w, x: ((w * x).sum() ** 2).sin()  # noqa: E731
    found = torch.vmap(lambda x: ts.grad(loss)(w, x).data)(xs)
    expected = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(w, xs)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("transform", [ts.jvp, ts.hvp])
def test_primals_are_a_tuple(transform: Any) -> None:
    with pytest.raises(ts.ArgumentError, match=r"f, \(x,\), \(t,\)"):
        transform(lambda x: x.sum(), ts.tensor([3.0]), ts.tensor([1.0]))


def test_a_primitive_whose_rule_leaves_the_graph_raises_in_every_nest() -> None:
    @ts.primitive
    def cube(x: Any) -> Any:
        return x**3

    cube.defvjp(lambda x: (x**3, float(x)), lambda g, value: (g * 3 * value**2,))
    assert ts.grad(cube)(0.5).item() == 0.75
    for nest in (
        lambda: ts.grad(ts.grad(cube))(0.5),
        lambda: ts.jvp(ts.grad(cube), (0.5,), (1.0,)),
        lambda: ts.grad(lambda x: ts.jvp(cube, (x,), (1.0,))[1])(0.5),
    ):
        with pytest.raises(ts.RuleError, match="off the graph"):
            nest()
